"""Integers of a batch as narrow as their range allows: what a log record stores of many rows.

    value = base + scale * offset        offsets are unsigned, of 1, 2 or 4 bytes; scale is 1, 1,000 or 1,000,000

Keys are dense, the event times of a commit lie close together and often count whole milliseconds: so a commit of
events takes two thirds of the bytes, and so does its sync. It costs a pass or two over each column. Values in NULL
slots count for the range like others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from .kernels.narrowing import divide

ROWS_MIN: Final = 256
"""Fewer rows are stored as they are: there is little to gain."""

_SCALES: Final = (1_000_000, 1_000)
_OFFSETS: Final = {1: np.uint8, 2: np.uint16, 4: np.uint32}
_INTEGERS: Final = {2: np.int16, 4: np.int32, 8: np.int64}


class Narrowed(NamedTuple):
    """How a column is stored; ``width`` is that of an offset in bytes."""

    column: int
    width: int
    base: int
    scale: int


def narrow(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Narrowed]]:
    """The batch with columns of offsets where that is narrower, and which columns these are."""
    done: list[Narrowed] = []
    if batch.num_rows < ROWS_MIN:
        return batch, done
    columns: list[pa.Array] = batch.columns
    for place, column in enumerate(columns):
        width = _width_of(column.type)
        if width:
            values = np.frombuffer(column.buffers()[1], _INTEGERS[width])[column.offset : column.offset + len(column)]
            narrower = _narrowed(values, place)
            if narrower is not None:
                offsets, how = narrower
                nulls = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
                columns[place] = pa.array(offsets, mask=nulls)
                done.append(how)
    return pa.RecordBatch.from_arrays(columns, schema=stored_schema(batch.schema, done)) if done else batch, done


def stored_schema(schema: pa.Schema, narrowed: Sequence[Narrowed]) -> pa.Schema:
    """The schema of what ``narrow`` made of a batch of this schema."""
    for how in narrowed:
        schema = schema.set(how.column, pa.field(str(how.column), pa.from_numpy_dtype(_OFFSETS[how.width])))
    return schema


def widen(batch: pa.RecordBatch, schema: pa.Schema, narrowed: Sequence[Narrowed]) -> pa.RecordBatch:
    """The batch that ``narrow`` was given, of this schema. Raises ValueError where a width is none of a column's."""
    if not narrowed:
        return batch
    columns: list[pa.Array] = batch.columns
    for how in narrowed:
        column, type = columns[how.column], schema.field(how.column).type
        width = _width_of(type)
        if not width:
            raise ValueError(f"column {how.column} of {type} cannot be narrow")
        validity, data = column.buffers()
        offsets = np.frombuffer(data, _OFFSETS[how.width], count=len(column))
        values = offsets.astype(np.uint64) * np.uint64(how.scale) + np.uint64(how.base % 2**64)
        wide = pa.py_buffer(values.view(np.int64).astype(_INTEGERS[width], copy=False))
        columns[how.column] = pa.Array.from_buffers(type, len(column), [validity, wide], null_count=column.null_count)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _width_of(type: pa.DataType) -> int:
    """Bytes of an integer, date or time; 0 for other types."""
    known = pa.types.is_signed_integer(type) or pa.types.is_temporal(type)
    return type.bit_width // 8 if known and type.bit_width in (16, 32, 64) else 0


def _narrowed(values: np.ndarray, column: int) -> tuple[np.ndarray, Narrowed] | None:
    """Offsets of ``values``, where they are narrower."""
    base = int(values.min())
    span = int(values.max()) - base
    distances = values.astype(np.int64, copy=False).view(np.uint64) - np.uint64(base % 2**64)
    for scale in _SCALES if span >= 2**32 else ():
        if span // scale < 2**32:
            offsets = np.empty(len(values), np.uint32)
            if divide(distances, scale, offsets):
                return offsets, Narrowed(column, 4, base, scale)
    width = next((width for width in _OFFSETS if span < 1 << (8 * width)), 8)
    if width >= values.itemsize:
        return None
    return distances.astype(_OFFSETS[width]), Narrowed(column, width, base, 1)
