"""Which rows of a table began or ended between two versions: what a change feed sends, and what a read set is held
against.

    part            rows that began in (low, high]              rows that ended in (low, high]
    memtable        a run of each chunk: begins ascend          end versions of chunks where some row ended since
    segment         blocks whose zone of begin versions meets   its overlay's table, layers and rest

Parts, chunks and blocks in which nothing happened cost a comparison. What is found comes in pieces of a bounded number
of rows, however many changed. A row version that began and ended in the range is found twice.

Right for any range whose rows nobody may drop (``low`` is not below what history goes back to, or it is pinned for
one who writes), and whose ``high`` is visible; a concurrent writer adds what comes after ``high`` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from ..base.types import Kind
from .cell import Cells
from .layout import DAY, Layout
from .memtable import Chunk, Memtable
from .part import Part
from .projection import Projection
from .prune import Pruning
from .scan import cells_within
from .segment import BEGIN, Segment
from .segment_index import find_ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedRows:
    """Rows of one part by locator (int64), and the versions (int64) that they began and ended at."""

    begun: np.ndarray
    begun_at: np.ndarray
    ended: np.ndarray
    ended_at: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class CellChanges:
    """Some rows of a cell that began in the range, and some that ended, with these versions (int64).

    ``deltas`` (bool): which of those that began were made by commutative deltas.
    """

    slice: int
    shard: int
    begun: pa.RecordBatch
    begun_at: np.ndarray
    deltas: np.ndarray
    ended: pa.RecordBatch
    ended_at: np.ndarray


def cell_changes(
    cells: Cells, layout: Layout, projection: Projection, low: int, high: int, *, pruning: Pruning | None
) -> Iterator[CellChanges]:
    """The changed rows in (low, high] that ``pruning`` keeps, and maybe others. Raises Corrupt."""
    pruning = pruning or Pruning()
    for cell in cells_within(cells, pruning.slice_low, pruning.slice_high, pruning.shards):
        for part in cell.parts:
            spans = None if pruning.filter is None else _Spans(pruning, layout, shard=cell.shard)
            for rows in changed_rows(part, low, high, spans=spans):
                yield CellChanges(
                    slice=cell.slice,
                    shard=cell.shard,
                    begun=rows_at(part, projection, rows.begun),
                    begun_at=rows.begun_at,
                    deltas=part.describe(rows.begun)[2] if len(rows.begun) else _NO_FLAGS,
                    ended=rows_at(part, projection, rows.ended),
                    ended_at=rows.ended_at,
                )


def rows_at(part: Part, projection: Projection, rows: np.ndarray) -> pa.RecordBatch:
    """Rows of a part by locator (int64), in their order."""
    found = part.rows_at(projection, rows) if len(rows) else []
    if not found:
        return projection.nothing
    if len(found) == 1:
        return found[0][0]
    places = np.concatenate([places for _, places in found])
    return pa.concat_batches([batch for batch, _ in found]).take(pa.array(np.argsort(places)))


def changed_rows(part: Part, low: int, high: int, *, spans: _Spans | None = None) -> Iterator[ChangedRows]:
    """The rows of one part that began or ended in (low, high], in pieces. Raises Corrupt."""
    if part.changed_at <= low:
        return
    if isinstance(part, Memtable):
        for number, chunk in enumerate(list(part.chunks)):
            if spans is None or spans.keep_chunk(chunk):
                yield from _of_chunk(chunk, number << 16, low, high)
        return
    assert isinstance(part, Segment), "a part is a memtable or a segment"
    if part.version_low <= high and (spans is None or spans.keep_segment(part)):
        kept = [(0, part.rows_count)] if spans is None else spans.of(part)
        yield from _begun(part, low, high, kept)
        for rows, ends in part.overlay.between(low, high):
            if spans is not None:
                inside = _are_inside(rows, kept)
                rows, ends = rows[inside], ends[inside]
            if len(rows):
                yield ChangedRows(begun=_NO_ROWS, begun_at=_NO_ROWS, ended=rows, ended_at=ends)


def _of_chunk(chunk: Chunk, base: int, low: int, high: int) -> Iterator[ChangedRows]:
    stop = chunk.begun_at(high)
    start = chunk.begun_at(low)
    ended = _NO_ROWS
    ends = chunk.ends
    if ends is not None and chunk.ended_at > low:
        ends = ends[:stop]
        ended = np.flatnonzero((ends > low) & (ends <= high))
    if start < stop or len(ended):
        yield ChangedRows(
            begun=np.arange(base + start, base + stop, dtype=np.int64),
            begun_at=chunk.begins[start:stop].astype(np.int64) + chunk.base,
            ended=ended + base,
            ended_at=_NO_ROWS if ends is None else ends[ended],
        )


def _begun(segment: Segment, low: int, high: int, spans: Sequence[tuple[int, int]]) -> Iterator[ChangedRows]:
    """The rows that began in the range, a block at a time."""
    if segment.version_high <= low:
        return
    size = segment.reader.block_rows
    zones = None if segment.description.begin is not None else segment.reader.directory(BEGIN)
    for first, last in spans:
        for block in range(first // size, -(-last // size)):
            if zones is not None and not (zones["low"][block] <= high and zones["high"][block] > low):
                continue
            start, stop = max(first, block * size), min(last, (block + 1) * size)
            begins = segment.begins(start, stop)
            found = np.flatnonzero((begins > low) & (begins <= high))
            if len(found):
                yield ChangedRows(begun=found + start, begun_at=begins[found], ended=_NO_ROWS, ended_at=_NO_ROWS)


class _Spans:
    """Which rows a pruning keeps in the parts of one cell."""

    __slots__ = ("_high", "_layout", "_low", "_pruning", "_ranges")

    def __init__(self, pruning: Pruning, layout: Layout, *, shard: int) -> None:
        self._pruning = pruning
        self._layout = layout
        scale = DAY if layout.time is not None and layout.time.type.kind is Kind.DATE else 1
        self._low = None if pruning.low is None else pruning.low * scale
        self._high = None if pruning.high is None else pruning.high * scale
        self._ranges = None
        if pruning.ranges is not None:
            self._ranges = [
                one
                for one in pruning.ranges
                if not layout.sharded or one.hash is None or one.hash % layout.table.shards == shard
            ]

    def keep_chunk(self, chunk: Chunk) -> bool:
        return self._ranges != [] and self._pruning.keeps_times(chunk.time_low, chunk.time_high)

    def keep_segment(self, segment: Segment) -> bool:
        """``low`` and ``high`` in microseconds, as the description has them."""
        return (
            self._ranges != []
            and (self._low is None or segment.time_high >= self._low)
            and (self._high is None or segment.time_low <= self._high)
        )

    def of(self, segment: Segment) -> list[tuple[int, int]]:
        """Runs of rows, which ascend and do not overlap."""
        if self._ranges is None:
            return [(0, segment.rows_count)]
        found: list[tuple[int, int]] = []
        for one in self._ranges:
            starts, stops, count = find_ranges([segment.index], one.low, one.high or b"", key_hash=one.hash)
            if count:
                found.append((int(starts[0]), int(stops[0])))
        return found


def _are_inside(rows: np.ndarray, spans: Sequence[tuple[int, int]]) -> np.ndarray:
    """Which rows lie in one of the spans: bool[n]."""
    if not spans:
        return np.zeros(len(rows), np.bool_)
    starts, stops = np.array(spans, np.int64).T
    places = np.searchsorted(starts, rows, side="right") - 1
    return (places >= 0) & (rows < stops[places])


_NO_ROWS: Final = np.empty(0, np.int64)
_NO_FLAGS: Final = np.empty(0, np.bool_)
