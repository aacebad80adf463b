"""Columns of rows that were chosen before: read for these alone, text by its codes where all of it has some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from ...base.types import Kind
from ...storage.column_values import array_of
from ..schema import Column
from .ranks import Stretch
from .work import Threads

_CODED: Final = pa.dictionary(pa.int32(), pa.string())


def late_rows(
    found: Sequence[tuple[Stretch, np.ndarray]], columns: Sequence[Column], names: Sequence[str], *, threads: Threads
) -> pa.Table:
    """The columns, under ``names``, of rows (int64) of stretches, in their order. Raises Corrupt."""
    coded = {column.id for column in columns if found and all(_is_coded(stretch, column) for stretch, _ in found)}
    schema = pa.schema(
        [
            column.field.with_name(name).with_type(_CODED if column.id in coded else column.field.type)
            for column, name in zip(columns, names, strict=True)
        ]
    )

    def batch(one: tuple[Stretch, np.ndarray]) -> pa.RecordBatch:
        stretch, rows = one
        arrays = [
            _codes(stretch, column, rows) if column.id in coded else stretch.taken(column, rows) for column in columns
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    return pa.Table.from_batches(threads.all(batch, found), schema)


def _is_coded(stretch: Stretch, column: Column) -> bool:
    segment = stretch.segment
    if segment is None or column.type.kind is not Kind.TEXT or column.id not in segment.description.columns:
        return False
    return segment.reader.dictionary(column.id) is not None


def _codes(stretch: Stretch, column: Column, rows: np.ndarray) -> pa.Array:
    segment = stretch.segment
    assert segment is not None, "only segments have dictionaries"
    dictionary = segment.reader.dictionary(column.id)
    assert dictionary is not None, f"{column.name} reads as codes"
    codes = segment.reader.take_narrowed(column.id, rows, np.dtype(np.int32))
    mask = None if codes.valid is None else codes.valid == 0
    return pa.DictionaryArray.from_arrays(
        pa.array(codes.values, mask=mask), array_of(dictionary, column.type), safe=False
    )
