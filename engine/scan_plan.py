"""What a scan has to look at: decided once, since nothing of it changes while the scan lives.

    picked    rows found by their key, few: gathered into one batch
    chunks    of memtables: looked through and filtered; or some rows of one
    runs      rows of segments, some blocks at a time: decoded and filtered

    whole primary keys     each looked up in the parts of its cell, by index
    ranges of keys         in a segment found by bisection (behind its filter), and picked if few; in a memtable found
                           by the key's hash if the ranges are of whole keys, else its chunks are looked through
    short windows of time  in a segment picked if few, where its rows have an order of time (time_order.py)
    anything else          blocks of segments whose zones meet the filter; chunks by event time

Always true: every row visible at the scan's version for which the filter is true is in exactly one of the three.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from ..base.types import Kind
from ..storage.kernels.blocks import BLOCK_ROWS
from .cell import Cell
from .chunk_order import Series
from .gather import GATHER_ROWS_MAX, Picked, visible_in
from .layout import DAY, Layout, Probe
from .memtable import Chunk, Memtable
from .part import Part, visible_rows
from .projection import missing_value
from .prune import KeyRange, Pruning
from .scan_statistics import ScanStatistics
from .segment import Segment
from .segment_index import find_ranges
from .time_order import TimeOrders
from .zones import PLACE_MAX, PLACE_MIN, Zones, place_range

RUN_BLOCKS: Final = 8
"""Blocks that are read at once: 131,072 rows, a megabyte a column."""
RUN_BLOCKS_MAX: Final = 16
"""As many in a large scan: each run costs the handing over of the interpreter's lock, a few times."""
RUNS_MANY: Final = 16
"""A scan is large if it has more runs than this."""

Parts = Sequence[tuple[Cell, Sequence[Part]]]
"""Cells with their parts as they stood when the scan was made.

A memtable may grow while a scan lives; what comes later began after the scan's version.
"""


class Run:
    """Rows ``start`` to ``stop`` of a segment, out of at most ``RUN_BLOCKS_MAX`` blocks."""

    __slots__ = ("segment", "start", "stop")

    def __init__(self, segment: Segment, start: int, stop: int) -> None:
        self.segment = segment
        self.start = start
        self.stop = stop

    @property
    def blocks_count(self) -> int:
        return _blocks(self.start, self.stop, self.segment.reader.block_rows)


class Plan:
    """``exact``: the filter is true of all that was picked, and of all rows of runs. ``chunks`` with rows (int64), or
    None for all visible.

    Making one raises Corrupt where a segment's index is damaged.
    """

    __slots__ = (
        "_layout", "_orders", "_parts", "_pruning", "_run_blocks", "_version", "chunks", "exact", "picked", "runs",
    )  # fmt: skip

    def __init__(self, parts: Parts, pruning: Pruning, layout: Layout, *, version: int, orders: TimeOrders) -> None:
        self._orders = orders
        self._parts = parts
        self._pruning = pruning
        self._layout = layout
        self._version = version
        self._run_blocks = RUN_BLOCKS
        self.exact = pruning.exact
        self.picked = Picked()
        self.chunks: list[tuple[Chunk, np.ndarray | None]] = []
        self.runs: list[Run] = []
        if pruning.whole:
            self._find_keys()
            return
        segments, chunks = self._kept()
        if chunks:
            self._plan_chunks(chunks)
        if segments:
            self._plan_segments(segments)
        self._begin_small()

    @property
    def rows_count(self) -> int:
        """Rows to look at, visible or not."""
        chunks = sum(chunk.count if rows is None else len(rows) for chunk, rows in self.chunks)
        return self.picked.count + chunks + sum(run.stop - run.start for run in self.runs)

    def count(self, statistics: ScanStatistics) -> None:
        """Say what was left out."""
        parts = [part for _, parts in self._parts for part in parts]
        segments = [part for part in parts if isinstance(part, Segment)]
        statistics.segments_total = len(segments)
        statistics.blocks_total = sum(_blocks(0, segment.rows_count, BLOCK_ROWS) for segment in segments)
        statistics.chunks_total = sum(len(part.chunks) for part in parts if isinstance(part, Memtable))
        statistics.chunks_pruned = statistics.chunks_total - len(self.picked.chunks) - len(self.chunks)
        statistics.segments_pruned = statistics.segments_total - len(
            {id(run.segment) for run in self.runs} | set(map(id, self.picked.segments))
        )
        blocks = sum(run.blocks_count for run in self.runs) + self.picked.blocks_count
        statistics.blocks_total = max(statistics.blocks_total, blocks)
        statistics.blocks_pruned = statistics.blocks_total - blocks

    def _kept(self) -> tuple[list[tuple[int, Segment]], list[tuple[int, Chunk]]]:
        """Segments and chunks that can have visible rows in the range of event time, with their shards."""
        segments: list[tuple[int, Segment]] = []
        chunks: list[tuple[int, Chunk]] = []
        for shard, part in parts_within(
            self._parts, self._layout, self._pruning.low, self._pruning.high, version=self._version
        ):
            if isinstance(part, Segment):
                segments.append((shard, part))
            else:
                chunks.append((shard, part))
        return segments, chunks

    def _is_in(self, one: KeyRange, shard: int) -> bool:
        """Whether a shard can have rows in a range."""
        return not self._layout.sharded or one.hash is None or one.hash % self._layout.table.shards == shard

    # Memtables.

    def _plan_chunks(self, chunks: list[tuple[int, Chunk]]) -> None:
        if not self._pruning.is_series:
            self.chunks = [(chunk, None) for _, chunk in chunks]
            return
        found: list[tuple[Chunk, np.ndarray]] = []
        groups: dict[int, list[tuple[Chunk, int]]] = {}
        for shard, chunk in chunks:
            groups.setdefault(shard, []).append((chunk, chunk.count))
        for shard, group in groups.items():
            ranges = [one for one in self._pruning.ranges or () if self._is_in(one, shard)]
            if ranges:
                series = Series(group, self._layout)
                for one in ranges:
                    found += series.find(one, version=self._version)
        if self._layout.encoder is None or sum(len(rows) for _, rows in found) > GATHER_ROWS_MAX:
            self.chunks = list(found)  # without a primary key they were found by hash alone
        else:
            self.picked.chunks = found

    # Segments.

    def _plan_segments(self, segments: list[tuple[int, Segment]]) -> None:
        ranges = self._pruning.ranges
        blocks = sum(_blocks(0, segment.rows_count, BLOCK_ROWS) for _, segment in segments)
        self._run_blocks = min(max(blocks // RUNS_MANY, RUN_BLOCKS), RUN_BLOCKS_MAX)
        if ranges is None:
            for segment in self._without_windows(segments):
                self.runs += self._runs(segment, 0, segment.rows_count)
            return
        found: list[tuple[Segment, int, int]] = []
        for one in ranges:
            chosen = [segment for shard, segment in segments if self._is_in(one, shard)]
            indexes = [segment.index for segment in chosen]
            starts, stops, count = find_ranges(indexes, one.low, one.high or b"", key_hash=one.hash)
            if count:
                found += [
                    (segment, start, stop)
                    for segment, start, stop in zip(chosen, starts.tolist(), stops.tolist(), strict=True)
                    if start < stop
                ]
        count = sum([stop - start for _, start, stop in found])
        if 0 < count <= GATHER_ROWS_MAX:
            self._pick(found, count)
            return
        for segment, start, stop in found:
            self.runs += self._runs(segment, start, stop)

    def _without_windows(self, segments: list[tuple[int, Segment]]) -> list[Segment]:
        """Pick the rows of a short window of event time where their places are known; gives the other segments."""
        time, low, high = self._layout.time, self._pruning.low, self._pruning.high
        left: list[Segment] = []
        picked: list[tuple[Segment, np.ndarray]] = []
        count = 0
        for _, segment in segments:
            rows = None
            if time is not None and low is not None and high is not None:
                rows = self._orders.find(segment, time, low, high, rows_max=GATHER_ROWS_MAX - count)
            if rows is None:
                left.append(segment)
                continue
            rows = rows[segment.visible_among(self._version, rows)]
            count += len(rows)
            picked += [(segment, rows)] if len(rows) else []
        if count:
            self.picked.add_rows(picked)
            self.exact = False
        return left

    def _pick(self, found: list[tuple[Segment, int, int]], count: int) -> None:
        """Pick the visible ones of the ``count`` rows that were found."""
        segments = [segment for segment, _, _ in found]
        starts = np.array([start for _, start, _ in found], np.int64)
        stops = np.array([stop for _, _, stop in found], np.int64)
        visible = visible_in(segments, starts, stops, version=self._version)
        if visible is None or visible.any():
            self.picked.add_runs(segments, starts, stops, visible, rows_count=count)
            self.picked.blocks_count = sum(
                [_blocks(start, stop, segment.reader.block_rows) for segment, start, stop in found]
            )

    def _runs(self, segment: Segment, start: int, stop: int) -> Iterator[Run]:
        """The rows of blocks that the filter's zones keep."""
        size = segment.reader.block_rows
        kept = None
        if stop - start > size or stop - start == segment.rows_count:
            test = self._pruning.zones
            if test is not None:
                kept = test.keeps(lambda column: self._zones(segment, column), segment.reader.blocks_count)
        while start < stop:
            block = start // size
            if kept is not None and not kept[block]:
                start = (block + 1) * size
                continue
            last = block + 1
            while last < block + self._run_blocks and last * size < stop and (kept is None or kept[last]):
                last += 1
            end = min(stop, last * size)
            yield Run(segment, start, end)
            start = end

    def _begin_small(self) -> None:
        """Read one block first: whoever wants a few rows (LIMIT) has them with that."""
        if self.runs:
            first = self.runs[0]
            size = first.segment.reader.block_rows
            middle = (first.start // size + 1) * size
            if middle < first.stop:
                self.runs[:1] = [Run(first.segment, first.start, middle), Run(first.segment, middle, first.stop)]

    def _zones(self, segment: Segment, id: int) -> Zones:
        column = self._layout.by_id[id]
        if id in segment.description.columns:
            entries = segment.reader.directory(id)
            return Zones(low=entries["low"], high=entries["high"], nulls=entries["nulls"], rows=entries["rows"])
        value = missing_value(column)
        low, high, _ = (
            (0, 0, True) if value is None else place_range(value, column.type) or (PLACE_MIN, PLACE_MAX, True)
        )
        ones = np.ones(segment.reader.blocks_count, np.int64)
        return Zones(low=low * ones, high=high * ones, nulls=ones * (value is None), rows=ones)

    # Whole primary keys.

    def _find_keys(self) -> None:
        encoder = self._layout.encoder
        assert encoder is not None, "the table has a primary key"
        found: list[tuple[Segment, np.ndarray]] = []
        for cell, parts in self._parts:
            encoded = [one.padded for one in self._pruning.ranges or () if self._is_in(one, cell.shard)]
            if not encoded:
                continue
            keys = encoder.keys_of(encoded)
            probe = Probe(self._layout, values={}, keys=keys, row_ids=None, times=None, count=len(keys))
            for part, _, rows in visible_rows(parts, probe, version=self._version):
                if isinstance(part, Memtable):
                    numbers = rows >> 16
                    for number in np.unique(numbers).tolist():
                        self.picked.chunks.append((part.chunks[number], rows[numbers == number] & 0xFFFF))
                else:
                    assert isinstance(part, Segment), "a part is a memtable or a segment"
                    found.append((part, rows))
        if found:
            self.picked.add_rows(found)


def parts_within(
    parts: Parts, layout: Layout, low: int | None, high: int | None, *, version: int
) -> Iterator[tuple[int, Segment | Chunk]]:
    """Segments and chunks that can have rows visible at ``version`` with event times from ``low`` to ``high``, both
    included and as the column stores them (None: no bound), with their shards.
    """
    scale = DAY if layout.time is not None and layout.time.type.kind is Kind.DATE else 1
    least = None if low is None else low * scale
    greatest = None if high is None else high * scale
    for cell, own in parts:
        for part in reversed(own):
            if isinstance(part, Segment):
                description = part.description
                if (
                    description.version_low <= version < part.overlay.rest_end
                    and (least is None or description.time_high >= least)
                    and (greatest is None or description.time_low <= greatest)
                ):
                    yield cell.shard, part
                continue
            assert isinstance(part, Memtable), "a part is a memtable or a segment"
            for chunk in part.chunks:
                if (
                    chunk.count
                    and chunk.base <= version
                    and (low is None or chunk.time_high >= low)
                    and (high is None or chunk.time_low <= high)
                ):
                    yield cell.shard, chunk


def _blocks(start: int, stop: int, size: int) -> int:
    """How many blocks of ``size`` rows ``start`` to ``stop`` stand in."""
    return (stop + size - 1) // size - start // size
