"""Few rows out of many parts, as one batch: what a series read gives.

Each column is gathered from all parts into one array, so that the price of a read is that of its columns, not that of
the chunks and segments that its rows happen to lie in. Segments give runs of rows: all columns of fixed width are
decoded by one kernel call; rows that are not visible are taken out afterwards, since mostly there are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from ..storage.column_values import (
    FixedValues,
    Values,
    VariableValues,
    array_of,
    constant_array,
    new_heap,
    values_of,
    width_of,
)
from .column_store import ColumnStore, FixedColumn, VariableColumn
from .kernels import runs as kernels
from .projection import FixedColumns, Projection, missing_bytes, missing_value
from .schema import Column
from .segment_index import gather, headers_of, rows_between, text_bytes

if TYPE_CHECKING:
    from .memtable import Chunk
    from .segment import Segment

GATHER_ROWS_MAX: Final = 16_384
"""More rows are read a part at a time. As many distinct texts still have codes of 16 bits (handover.py)."""


LONG_RUN: Final = 128
"""Runs of so many rows are decoded one by one: a row for itself costs ten times as much, a run a dozen calls."""


class Picked:
    """Rows by part: offsets (int64) in chunks; in segments, runs of rows ``starts[r]`` to ``stops[r]`` (int64).

    Run r is of ``segments[where[r]]``, or ``segments[r]`` where ``where`` is None. ``mask`` (bool) says which rows of
    the runs are visible, one after another; None: all. ``blocks_count``: theirs.
    """

    __slots__ = ("blocks_count", "chunks", "mask", "rows_count", "segments", "starts", "stops", "where")

    def __init__(self) -> None:
        self.chunks: list[tuple[Chunk, np.ndarray]] = []
        self.segments: list[Segment] = []
        self.where: np.ndarray | None = None
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
        self, segments: list[Segment], starts: np.ndarray, stops: np.ndarray, mask: np.ndarray | None, *,
        rows_count: int, where: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """The one time that segments are added; ``rows_count`` in all."""
        self.segments, self.starts, self.stops, self.mask = segments, starts, stops, mask
        self.rows_count, self.where = rows_count, where

    def add_rows(self, rows: Sequence[tuple[Segment, np.ndarray]]) -> None:
        """The same of single rows (int64) of segments."""
        lengths = [len(found) for _, found in rows]
        starts = np.concatenate([found for _, found in rows])
        where = np.repeat(np.arange(len(rows)), lengths)
        segments = [segment for segment, _ in rows]
        self.add_runs(segments, starts, starts + 1, None, rows_count=len(starts), where=where)
        self.blocks_count = len(starts)

    def segment_of(self, run: int) -> Segment:
        """Whose rows a run has."""
        return self.segments[run if self.where is None else int(self.where[run])]


def gathered(picked: Picked, projection: Projection) -> pa.RecordBatch:
    """The rows, those of segments first."""
    if picked.rows_count and picked.mask is None and not picked.chunks:
        found = _arrays_of_runs(picked, projection)
        return batch_of([found[column.id] for column in projection.columns], projection.schema, picked.rows_count)
    values_found = _values_of_runs(picked, projection) if picked.rows_count else {}
    arrays: list[pa.Array] = []
    for column in projection.columns:
        values = values_found.get(column.id)
        if picked.chunks or values is None:
            pieces = [] if values is None else [values]
            for chunk, rows in picked.chunks:
                store = chunk.columns.get(column.id)
                pieces.append(_missing(column, len(rows)) if store is None else _taken(store, rows))
            values = _joined(pieces)
        arrays.append(array_of(values, column.type))
    return batch_of(arrays, projection.schema, picked.count)


def bytes_of(picked: Picked, columns: Sequence[Column]) -> int:
    """How many bytes these columns of the rows have, whichever of them are visible. Raises Corrupt."""
    count = picked.rows_count + sum(len(rows) for _, rows in picked.chunks)
    size = 0
    for column in columns:
        size += count * width_of(column.type)
        if column.type.is_variable:
            if picked.rows_count:
                size += text_bytes([segment.index for segment in picked.segments], column, *_rows_of(picked))
            size += sum(chunk_text_bytes(chunk, column, rows) for chunk, rows in picked.chunks)
    return size


def chunk_text_bytes(chunk: Chunk, column: Column, rows: np.ndarray) -> int:
    """How many bytes the values of a column of variable width have in some rows."""
    store = chunk.columns.get(column.id)
    return store.bytes_of(rows) if isinstance(store, VariableColumn) else len(rows) * missing_bytes(column)


def visible_in(
    segments: Sequence[Segment], starts: np.ndarray, stops: np.ndarray, *, version: int
) -> np.ndarray | None:  # fmt: skip
    """Which rows of runs are visible at ``version``, one run after another (bool); None: all."""
    masks: dict[int, np.ndarray] = {}
    for place, segment in enumerate(segments):
        if segment.overlay.last_end or segment.description.version_high > version:
            start, stop = int(starts[place]), int(stops[place])
            mask = segment.visible(version, start, stop) if start < stop else None
            if mask is not None:
                masks[place] = mask.view(np.bool_)
    if not masks:
        return None
    lengths = enumerate((stops - starts).tolist())
    return np.concatenate([masks[place] if place in masks else np.ones(length, np.bool_) for place, length in lengths])


def batch_of(arrays: list[pa.Array], schema: pa.Schema, count: int) -> pa.RecordBatch:
    """A batch, also of no columns at all."""
    if not arrays:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * count, pa.struct([])))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _arrays_of_runs(picked: Picked, projection: Projection) -> dict[int, pa.Array]:
    """Of each column its values in all rows of the runs: slices of one buffer."""
    fixed, count = projection.fixed, picked.rows_count
    found: dict[int, pa.Array] = {}
    if fixed.columns:
        data, valid, state = _read(picked, fixed)
        at = 0
        for column, arrow, width, flags in zip(fixed.columns, fixed.arrow, fixed.widths, state[3:], strict=True):
            size = width * count
            if not flags and arrow is not None:
                found[column.id] = pa.Array.from_buffers(arrow, count, [None, data.slice(at, size)])
            at += (size + 7) & -8
        if len(found) < len(fixed.columns):
            values_found = _values_of(data, valid, state, fixed, count)
            found |= {id: array_of(values, projection.by_id[id].type) for id, values in values_found.items()}
    for column in projection.columns:
        if column.id not in found:
            found[column.id] = array_of(_gathered_one(picked, column), column.type)
    return found


def _values_of_runs(picked: Picked, projection: Projection) -> dict[int, Values]:
    """Of each column its values in the visible rows of the runs."""
    fixed = projection.fixed
    found: dict[int, Values] = {}
    if fixed.columns:
        found = _values_of(*_read(picked, fixed), fixed, picked.rows_count)
    for column in projection.columns:
        if column.id not in found:
            found[column.id] = _gathered_one(picked, column)
    if picked.mask is not None:
        order = np.flatnonzero(picked.mask)
        found = {id: values.take(order) for id, values in found.items()}
    return found


def _gathered_one(picked: Picked, column: Column) -> Values:
    """A column of variable width, or one that some segment is older than."""
    if picked.rows_count >= LONG_RUN * len(picked.starts):
        runs = zip(picked.starts.tolist(), picked.stops.tolist(), strict=True)
        return _joined([picked.segment_of(run).values(column, *rows) for run, rows in enumerate(runs)])
    where, rows = _rows_of(picked)
    places = {segment: place for place, segment in enumerate(dict.fromkeys(picked.segments))}
    if len(places) < len(picked.segments):  # many runs of few segments
        where = np.array([places[segment] for segment in picked.segments], np.int64)[where]
    return gather([segment.index for segment in places], column, where, rows)


def _rows_of(picked: Picked) -> tuple[np.ndarray, np.ndarray]:
    """(place in ``segments``, row), int64[n] each, of the rows of all runs."""
    where, rows = rows_between(picked.starts, picked.stops)
    return (where if picked.where is None else picked.where[where]), rows


def _read(picked: Picked, fixed: FixedColumns) -> tuple[pa.Buffer, np.ndarray, list[int]]:
    """The values of all columns one behind another, validity, and the state that the kernel left."""
    count, widths = picked.rows_count, fixed.widths
    of = {segment: segment.index for segment in set(picked.segments)}  # runs may be many, segments are few
    data: pa.Buffer = pa.py_buffer(np.empty(sum([(width * count + 7) & -8 for width in widths]), np.uint8))
    valid = np.empty((len(widths), count), np.uint8)
    state = np.zeros(3 + len(widths), np.int64)
    state[0] = count
    headers, out, valids = (
        headers_of([of[segment] for segment in picked.segments]),
        data.address,
        pa.py_buffer(valid).address,
    )
    if picked.where is not None:
        headers = headers[picked.where]
    while True:
        run = kernels.read_runs(headers, picked.starts, picked.stops, fixed.places, fixed.sizes, out, valids, state)
        if run < 0:
            return data, valid, state.tolist()
        column, block, index = int(state[1]), int(state[2]), of[picked.segment_of(run)]
        if block < 0:
            index.know(fixed.ids)
        else:
            index.reader.verify(fixed.ids[column], block)


def _values_of(
    data: pa.Buffer, valid: np.ndarray, state: list[int], fixed: FixedColumns, count: int
) -> dict[int, Values]:
    """What was read as arrays, but for columns that a segment is older than."""
    found: dict[int, Values] = {}
    at = 0
    for place, column in enumerate(fixed.columns):
        size, flags = fixed.widths[place] * count, state[3 + place]
        if not flags & 2:
            dtype, pair = fixed.dtypes[place], fixed.pairs[place]
            array = np.frombuffer(data, dtype, size // dtype.itemsize, at)
            found[column.id] = FixedValues(array.reshape(count, 2) if pair else array, valid[place] if flags else None)
        at += (size + 7) & -8
    return found


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
    data = new_heap(int(lengths.sum(dtype=np.int64)), count=len(lengths))
    np.concatenate([piece.data[piece.offsets[0] : piece.offsets[-1]] for piece in variable], out=data)
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return VariableValues(offsets, data, valid)


def _count(values: Values) -> int:
    return len(values.values) if isinstance(values, FixedValues) else len(values.offsets) - 1


_NONE: Final = np.empty(0, np.int64)
