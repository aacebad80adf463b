"""Few rows out of many parts, as one batch: what a series read gives.

Each column is gathered from all parts into one array, so that the price of a read is that of its columns, not that of
the chunks and segments that its rows happen to lie in. Segments give runs of rows: all columns of fixed width are
decoded by one kernel call; rows that are not visible are taken out afterwards, since mostly there are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from ..storage.column_values import FixedValues, Values, VariableValues, array_of, constant_array, values_of
from .column_store import CODES, ColumnStore, FixedColumn
from .kernels import runs as kernels
from .projection import FixedColumns, Projection, missing_value
from .schema import Column
from .segment_index import gather, rows_between

if TYPE_CHECKING:
    from .memtable import Chunk
    from .segment import Segment

GATHER_ROWS_MAX: Final = 16_384
"""More rows are read a part at a time. As many distinct texts still have codes."""


class Picked:
    """Rows by part: offsets (int64) in chunks; in segments, rows ``starts[r]`` to ``stops[r]`` (int64) of ``runs[r]``.

    ``mask`` (bool) says which rows of the runs are visible, one after another; None: all. ``blocks_count``: theirs.
    """

    __slots__ = ("blocks_count", "chunks", "mask", "rows_count", "runs", "starts", "stops")

    def __init__(self) -> None:
        self.chunks: list[tuple[Chunk, np.ndarray]] = []
        self.runs: list[Segment] = []
        self.starts = self.stops = _NONE
        self.mask: np.ndarray | None = None
        self.rows_count = 0
        self.blocks_count = 0

    @property
    def count(self) -> int:
        """Rows that are visible."""
        chunks = sum(len(rows) for _, rows in self.chunks)
        return chunks + (self.rows_count if self.mask is None else int(np.count_nonzero(self.mask)))

    def add_runs(
        self, runs: list[Segment], starts: np.ndarray, stops: np.ndarray, mask: np.ndarray | None, *, rows_count: int
    ) -> None:
        """The one time that segments are added; ``rows_count`` in all."""
        self.runs, self.starts, self.stops, self.mask = runs, starts, stops, mask
        self.rows_count = rows_count


def gathered(picked: Picked, projection: Projection) -> pa.RecordBatch:
    """The rows, those of segments first."""
    found = _of_runs(picked, projection) if picked.rows_count else {}
    arrays: list[pa.Array] = []
    for column in projection.columns:
        values = found.get(column.id)
        if picked.chunks or values is None:
            pieces = [] if values is None else [values]
            for chunk, rows in picked.chunks:
                store = chunk.columns.get(column.id)
                pieces.append(_missing(column, len(rows)) if store is None else _taken(store, rows))
            values = _joined(pieces)
        array = array_of(values, column.type)
        arrays.append(_encoded(array) if column.id in projection.coded else array)
    return batch_of(arrays, projection.schema, picked.count)


def batch_of(arrays: list[pa.Array], schema: pa.Schema, count: int) -> pa.RecordBatch:
    """A batch, also of no columns at all."""
    if not arrays:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * count, pa.struct([])))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _of_runs(picked: Picked, projection: Projection) -> dict[int, Values]:
    """Of each column the values of the visible rows in the runs."""
    found: dict[int, Values] = {}
    fixed = projection.fixed
    if fixed.columns:
        arrays = fixed.empty(picked.rows_count)
        valid = np.empty((len(arrays), picked.rows_count), np.uint8)
        state = _read(picked, fixed, arrays, valid).tolist()
        for place, column in enumerate(fixed.columns):
            if not state[1 + place] & 2:
                found[column.id] = FixedValues(arrays[place], valid[place] if state[1 + place] else None)
    for column in projection.columns:
        if column.id not in found:
            indexes = [segment.index for segment in picked.runs]
            found[column.id] = gather(indexes, column, *rows_between(picked.starts, picked.stops))
    if picked.mask is not None:
        order = np.flatnonzero(picked.mask)
        found = {id: values.take(order) for id, values in found.items()}
    return found


def _read(picked: Picked, fixed: FixedColumns, arrays: list[np.ndarray], valid: np.ndarray) -> np.ndarray:
    """Fill ``arrays``, and of ``valid`` the rows of columns with NULLs; returns the kernel's state."""
    tables = np.array([segment.index.table(fixed.ids) for segment in picked.runs], np.uint64)
    outs = np.array([pa.py_buffer(array).address for array in arrays], np.uint64)
    first, count = pa.py_buffer(valid).address, picked.rows_count
    valids = np.array([first + place * count for place in range(len(arrays))], np.uint64)
    state = np.zeros(1 + len(arrays), np.int64)
    while True:
        run = kernels.read_runs(tables, picked.starts, picked.stops, fixed.places, fixed.sizes, outs, valids, state)
        if run < 0:
            return state
        column, block = int(state[0]) >> 32, int(state[0]) & 0xFFFFFFFF
        picked.runs[run].reader.verify(fixed.columns[column].id, block)


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


_NONE: Final = np.empty(0, np.int64)
