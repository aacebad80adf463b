"""What a scan has to look at: decided once, since nothing of it changes while the scan lives.

    picked    rows found by their key, few: gathered into one batch
    chunks    of memtables: looked through and filtered; or some rows of one
    runs      rows of segments, some blocks at a time: decoded and filtered

    whole primary keys     each looked up in the parts of its cell, by index
    ranges of keys         in a segment found by bisection (behind its filter), and picked if few; in a memtable found
                           by the key's hash if the ranges are of whole keys, else its chunks are looked through
    anything else          blocks of segments whose zones meet the filter; chunks by event time

Always true: every row visible at the scan's version for which the filter is true is in exactly one of the three.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from ..base.types import Kind
from ..storage.kernels.blocks import BLOCK_ROWS
from .cell import Cell
from .chunk_order import Series
from .gather import GATHER_ROWS_MAX, Picked
from .layout import DAY, Layout, Probe
from .memtable import Chunk, Memtable
from .part import visible_rows
from .projection import missing_value
from .prune import KeyRange, Pruning
from .scan_statistics import ScanStatistics
from .segment import Segment
from .segment_index import find_ranges
from .zones import Zones, place_range

RUN_BLOCKS: Final = 8
"""Blocks that are read at once: 131,072 rows, a megabyte a column."""


@dataclass(slots=True)
class Run:
    """Rows ``start`` to ``stop`` of a segment, out of at most ``RUN_BLOCKS`` blocks."""

    segment: Segment
    start: int
    stop: int

    @property
    def blocks_count(self) -> int:
        return _blocks(self.start, self.stop, self.segment.reader.block_rows)


@dataclass(slots=True)
class Plan:
    """``exact``: the filter is true of all that was picked. ``chunks`` with rows (int64), or None for all visible."""

    picked: Picked = field(default_factory=Picked)
    chunks: list[tuple[Chunk, np.ndarray | None]] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    exact: bool = False

    @property
    def rows_count(self) -> int:
        """Rows to look at, visible or not."""
        chunks = sum(chunk.count if rows is None else len(rows) for chunk, rows in self.chunks)
        return self.picked.count + chunks + sum(run.stop - run.start for run in self.runs)


class Parts:
    """The parts of some cells as they stood when the scan was made.

    A memtable may grow while a scan lives; what comes later began after the scan's version.
    """

    __slots__ = ("_layout", "_pruning", "_scale", "_version", "cells", "chunks", "segments")

    def __init__(self, cells: Sequence[Cell], pruning: Pruning, layout: Layout, *, version: int) -> None:
        self._layout = layout
        self._pruning = pruning
        self._version = version
        self._scale = DAY if layout.time is not None and layout.time.type.kind is Kind.DATE else 1
        self.cells = [(cell, cell.parts) for cell in cells]
        self.segments: list[tuple[Cell, Segment]] = []
        self.chunks: list[tuple[Cell, Chunk]] = []
        for cell, parts in self.cells:
            for part in reversed(parts):
                if isinstance(part, Memtable):
                    self.chunks += [(cell, chunk) for chunk in part.chunks]
                else:
                    assert isinstance(part, Segment), "a part is a memtable or a segment"
                    self.segments.append((cell, part))

    @property
    def rows_count(self) -> int:
        """All rows, visible or not."""
        segments = sum(segment.rows_count for _, segment in self.segments)
        return segments + sum(chunk.count for _, chunk in self.chunks)

    def plan(self, statistics: ScanStatistics) -> Plan:
        """Raises Corrupt where a segment's index is damaged."""
        plan = Plan(exact=self._pruning.exact)
        chunks, segments = self._chunks_kept(), self._segments_kept()
        statistics.chunks_total = len(self.chunks)
        statistics.segments_total = len(self.segments)
        statistics.blocks_total = sum(_blocks(0, segment.rows_count, BLOCK_ROWS) for _, segment in self.segments)
        if self._pruning.whole:
            self._find_keys(plan)
        else:
            self._plan_chunks(plan, chunks)
            self._plan_segments(plan, segments)
        looked_at = len(plan.picked.chunks) + len(plan.chunks)
        statistics.chunks_pruned = statistics.chunks_total - looked_at
        kept = {id(run.segment): 0 for run in plan.runs} | {id(segment): 0 for segment, _ in plan.picked.segments}
        statistics.segments_pruned = statistics.segments_total - len(kept)
        blocks = sum(run.blocks_count for run in plan.runs) + plan.picked.blocks_count
        statistics.blocks_pruned = statistics.blocks_total - blocks
        return plan

    # Memtables.

    def _chunks_kept(self) -> list[tuple[Cell, Chunk]]:
        pruning, version = self._pruning, self._version
        return [
            (cell, chunk)
            for cell, chunk in self.chunks
            if chunk.count and chunk.base <= version and pruning.keeps_times(chunk.time_low, chunk.time_high)
        ]

    def _plan_chunks(self, plan: Plan, chunks: list[tuple[Cell, Chunk]]) -> None:
        if not self._pruning.is_series:
            plan.chunks = [(chunk, None) for _, chunk in chunks]
            return
        found: list[tuple[Chunk, np.ndarray]] = []
        for group, ranges in self._by_shard(chunks):
            series = Series([(chunk, chunk.count) for chunk in group], self._layout)
            for one in ranges:
                found += series.find(one, version=self._version)
        if sum(len(rows) for _, rows in found) > GATHER_ROWS_MAX:
            plan.chunks = list(found)
        elif self._layout.encoder is None:
            plan.chunks = list(found)  # found by hash alone
        else:
            plan.picked.chunks = found

    def _by_shard(self, chunks: list[tuple[Cell, Chunk]]) -> Iterator[tuple[list[Chunk], Sequence[KeyRange]]]:
        """Chunks with the ranges that can have rows in them."""
        ranges = self._pruning.ranges or ()
        if not self._layout.sharded or len(ranges) <= 1:
            if chunks and ranges:
                yield [chunk for _, chunk in chunks], ranges
            return
        groups: dict[int, list[Chunk]] = {}
        for cell, chunk in chunks:
            groups.setdefault(cell.shard, []).append(chunk)
        for shard, group in groups.items():
            if wanted := self._ranges_of(shard):
                yield group, wanted

    def _ranges_of(self, shard: int) -> Sequence[KeyRange]:
        """The ranges that can have rows in a shard."""
        ranges = self._pruning.ranges or ()
        if len(ranges) <= 1:
            return ranges
        return [one for one in ranges if self._is_in(one, shard)]

    def _is_in(self, one: KeyRange, shard: int) -> bool:
        return not self._layout.sharded or one.hash is None or one.hash % self._layout.table.shards == shard

    # Segments.

    def _segments_kept(self) -> list[tuple[Cell, Segment]]:
        pruning, scale, version = self._pruning, self._scale, self._version
        low = None if pruning.low is None else pruning.low * scale
        high = None if pruning.high is None else pruning.high * scale
        return [
            (cell, segment)
            for cell, segment in self.segments
            if segment.version_low <= version
            and (low is None or segment.time_high >= low)
            and (high is None or segment.time_low <= high)
        ]

    def _plan_segments(self, plan: Plan, segments: list[tuple[Cell, Segment]]) -> None:
        if self._pruning.ranges is None:
            for _, segment in segments:
                plan.runs += self._runs(segment, 0, segment.rows_count)
            return
        found = list(self._rows_in_ranges(segments))
        if plan.picked.count + sum(stop - start for _, start, stop in found) > GATHER_ROWS_MAX:
            for segment, start, stop in found:
                plan.runs += self._runs(segment, start, stop)
            return
        picked: dict[int, tuple[Segment, list[np.ndarray]]] = {}
        for segment, start, stop in found:
            mask = segment.visible(self._version, start, stop)
            rows = np.arange(start, stop) if mask is None else np.flatnonzero(mask) + start
            if len(rows):
                picked.setdefault(id(segment), (segment, []))[1].append(rows)
                plan.picked.blocks_count += _blocks(start, stop, segment.reader.block_rows)
        plan.picked.segments = [
            (segment, rows[0] if len(rows) == 1 else np.concatenate(rows)) for segment, rows in picked.values()
        ]

    def _rows_in_ranges(self, segments: list[tuple[Cell, Segment]]) -> Iterator[tuple[Segment, int, int]]:
        """The rows of segments that lie in the ranges: (segment, first, behind the last)."""
        for one in self._pruning.ranges or ():
            chosen = [segment for cell, segment in segments if self._is_in(one, cell.shard)]
            if not chosen:
                continue
            indexes = [segment.index for segment in chosen]
            starts, stops = find_ranges(indexes, one.low, one.high or b"", key_hash=one.hash)
            for segment, start, stop in zip(chosen, starts.tolist(), stops.tolist(), strict=True):
                if start < stop:
                    yield segment, start, stop

    def _runs(self, segment: Segment, start: int, stop: int) -> Iterator[Run]:
        """The rows of blocks that the filter's zones keep."""
        size, test = segment.reader.block_rows, self._pruning.zones
        kept = None
        if test is not None and (stop - start > size or stop - start == segment.rows_count):
            kept = test.keeps(lambda column: self._zones(segment, column), segment.reader.blocks_count)
        while start < stop:
            block = start // size
            if kept is not None and not kept[block]:
                start = (block + 1) * size
                continue
            last = block + 1
            while last < block + RUN_BLOCKS and last * size < stop and (kept is None or kept[last]):
                last += 1
            end = min(stop, last * size)
            yield Run(segment, start, end)
            start = end

    def _zones(self, segment: Segment, id: int) -> Zones | None:
        column = self._layout.by_id[id]
        if id in segment.description.columns:
            entries = segment.reader.directory(id)
            return Zones(low=entries["low"], high=entries["high"], nulls=entries["nulls"], rows=entries["rows"])
        count = np.ones(1, np.int64)
        value = missing_value(column)
        if value is None:
            return Zones(low=count, high=count, nulls=count, rows=count)
        places = place_range(value, column.type)
        if places is None:
            return None
        return Zones(low=count * places[0], high=count * places[1], nulls=count * 0, rows=count)

    # Whole primary keys.

    def _find_keys(self, plan: Plan) -> None:
        encoder = self._layout.encoder
        assert encoder is not None, "the table has a primary key"
        for cell, parts in self.cells:
            encoded = [one.padded for one in self._ranges_of(cell.shard)]
            if not encoded:
                continue
            keys = encoder.keys_of(encoded)
            probe = Probe(self._layout, values={}, keys=keys, row_ids=None, times=None, count=len(keys))
            for part, _, rows in visible_rows(parts, probe, version=self._version):
                if isinstance(part, Memtable):
                    numbers = rows >> 16
                    for number in np.unique(numbers).tolist():
                        plan.picked.chunks.append((part.chunks[number], rows[numbers == number] & 0xFFFF))
                else:
                    assert isinstance(part, Segment), "a part is a memtable or a segment"
                    plan.picked.segments.append((part, rows))
                    plan.picked.blocks_count += len(rows)


def _blocks(start: int, stop: int, size: int) -> int:
    """How many blocks of ``size`` rows ``start`` to ``stop`` stand in."""
    return (stop + size - 1) // size - start // size
