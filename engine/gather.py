"""Few rows out of many parts, as one batch: what a series read gives.

Each column is gathered from all parts into one array, so that the price of a read is that of its columns, not that of
the chunks and segments that its rows happen to lie in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from ..storage.column_values import FixedValues, Values, VariableValues, array_of, constant_array, values_of
from .column_store import CODES, ColumnStore, FixedColumn
from .projection import Projection, missing_value
from .schema import Column
from .segment_index import SegmentIndex, gather

if TYPE_CHECKING:
    from .memtable import Chunk
    from .segment import Segment

GATHER_ROWS_MAX: Final = 16_384
"""More rows are read a part at a time. As many distinct texts still have codes."""


@dataclass(kw_only=True)
class Picked:
    """Rows by part: offsets (int64) in chunks, row numbers (int64) in segments. ``blocks_count``: of the segments."""

    chunks: list[tuple[Chunk, np.ndarray]] = field(default_factory=list)
    segments: list[tuple[Segment, np.ndarray]] = field(default_factory=list)
    blocks_count: int = 0

    @property
    def count(self) -> int:
        return sum(len(rows) for _, rows in self.chunks) + sum(len(rows) for _, rows in self.segments)

    @cached_property
    def flat(self) -> tuple[list[SegmentIndex], np.ndarray, np.ndarray]:
        """The segments' indexes; and of each row (int64) the place of its segment, and its number there."""
        numbers = np.repeat(np.arange(len(self.segments)), [len(rows) for _, rows in self.segments])
        rows = np.concatenate([rows for _, rows in self.segments])
        return [segment.index for segment, _ in self.segments], numbers, rows


def gathered(picked: Picked, projection: Projection) -> pa.RecordBatch:
    """The rows, those of segments first."""
    count = picked.count
    arrays: list[pa.Array] = []
    for column in projection.columns:
        array = _column(picked, column, count)
        arrays.append(_encoded(array) if column.id in projection.coded else array)
    return batch_of(arrays, projection.schema, count)


def batch_of(arrays: list[pa.Array], schema: pa.Schema, count: int) -> pa.RecordBatch:
    """A batch, also of no columns at all."""
    if not arrays:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * count, pa.struct([])))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _column(picked: Picked, column: Column, count: int) -> pa.Array:
    pieces: list[Values] = []
    if picked.segments:
        indexes, numbers, rows = picked.flat
        pieces.append(gather(indexes, column, numbers, rows))
    for chunk, rows in picked.chunks:
        store = chunk.columns.get(column.id)
        pieces.append(_missing(column, len(rows)) if store is None else _taken(store, rows))
    return array_of(_joined(pieces), column.type) if pieces else constant_array(None, count, column.type)


def _taken(store: ColumnStore, rows: np.ndarray) -> Values:
    valid = None if store.valid is None else store.valid[rows]
    if isinstance(store, FixedColumn):
        return FixedValues(store.values.take(rows, axis=0), valid)
    return VariableValues(store.offsets, store.heap, store.valid).take(rows)


def _missing(column: Column, count: int) -> Values:
    return values_of(constant_array(missing_value(column), count, column.type), column.type)


def _joined(pieces: Sequence[Values]) -> Values:
    if len(pieces) == 1:
        return pieces[0]
    valid = None
    if any(piece.valid is not None for piece in pieces):
        valid = np.concatenate(
            [np.ones(_count(piece), np.uint8) if piece.valid is None else piece.valid for piece in pieces]
        )
    fixed = [piece.values for piece in pieces if isinstance(piece, FixedValues)]
    if fixed:
        return FixedValues(np.concatenate(fixed), valid)
    variable = [piece for piece in pieces if isinstance(piece, VariableValues)]
    lengths = np.concatenate([np.diff(piece.offsets) for piece in variable])
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    data = np.concatenate([piece.data[piece.offsets[0] : piece.offsets[-1]] for piece in variable])
    return VariableValues(offsets, data, valid)


def _count(values: Values) -> int:
    return len(values.values) if isinstance(values, FixedValues) else len(values.offsets) - 1


def _encoded(array: pa.Array) -> pa.DictionaryArray:
    encoded: Any = array.dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices.cast(CODES.index_type), encoded.dictionary)
