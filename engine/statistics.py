"""What is known of a table's rows without reading them: how many, how many different values, how many NULLs, from where
to where. Plans are judged by it; no answer depends on it.

    rows              counted by every commit
    distinct values   sketches that every segment of 1,024 rows or more has (storage/kernels/sketch.py), joined
    NULLs, zones      of the segments' columns, counted when they were written; of the event time those of all segments
    memtables         a sample of the newest rows, sketched when it is asked for

So nobody ever has to run a command, and what came a moment ago counts. The largest segments speak for the others, a
sample for the memtables, as if all rows drew their values from one urn (``of_all_rows``). Rows that have ended count
among values, zones and NULLs until a merge.

Statistics of a column are made when they are first asked for, in a millisecond or two, and kept with the table's cells
until their parts change or the rows by a tenth. A query that reads few rows is not worth that, and goes by what there
is (``made``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Final

import numpy as np

from ..base.errors import WeftError
from ..base.types import Kind
from ..storage.column_values import FixedValues, Values, VariableValues
from ..storage.encoding import HIGHEST, LOWEST, Encoder, add_to_sketch, count_of, new_entries, order_of, physical_of
from ..storage.kernels import sketch
from .cell import Cells
from .column_store import VariableColumn
from .layout import DAY
from .memtable import Chunk, Memtable
from .part import Part
from .schema import Column, Table
from .segment import Segment
from .shares import Shares

SEGMENTS_LOOKED_AT: Final = 128
SAMPLE_ROWS: Final = 4_096
_NUMBERS: Final = count(1)
UNIQUE_FROM: Final = 0.9
"""Where so many rows have a value of their own, all are taken to: sketches are not more exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnStatistics:
    """``distinct``: different values but NULL, about. ``low`` and ``high`` are places of values (zones.py), closed;
    None where there is no value, or their order is not known.
    """

    distinct: int
    null_fraction: float
    low: int | None
    high: int | None


class TableStatistics:
    """Statistics of a table at one moment. ``rows`` counts those that live now; ``shares``: what conditions kept;
    ``number``: the same while those of the columns are the same.
    """

    def __init__(
        self, rows: int, columns: Mapping[int, ColumnStatistics], shares: Shares | None = None, *, number: int = 0
    ) -> None:
        self.rows = rows
        self.columns = columns
        self.shares = shares
        self.number = number

    def made(self) -> TableStatistics:
        """The same with those columns alone of which all is known: for who has less to do than to ask all segments."""
        columns = self.columns.made if isinstance(self.columns, CellStatistics) else self.columns
        return TableStatistics(self.rows, columns, self.shares, number=self.number)


NOTHING_KNOWN: Final = TableStatistics(0, {})


class CellStatistics(Mapping[int, ColumnStatistics]):
    """The columns' statistics by identifier, made one by one."""

    def __init__(self, table: Table, cells: Cells) -> None:
        self.rows = cells.rows_count
        self.number = next(_NUMBERS)
        self._table = table
        self._parts_made = cells.next_part
        self._columns = table.by_id
        parts = [part for cell in cells.all() for part in cell.parts]
        self._times = _times_of(table, parts)
        self._segments = sorted((part for part in parts if isinstance(part, Segment)), key=lambda one: -one.rows_count)[
            :SEGMENTS_LOOKED_AT
        ]
        self._memtables = [part for part in parts if isinstance(part, Memtable)]
        self._rows_in_parts = sum(_rows_of(part) for part in parts)
        self.made: dict[int, ColumnStatistics] = {}

    def is_of(self, table: Table, cells: Cells) -> bool:
        """Whether it still speaks of these cells."""
        same = self._table is table and self._parts_made == cells.next_part
        return same and abs(cells.rows_count - self.rows) * 10 <= self.rows

    def __getitem__(self, id: int) -> ColumnStatistics:
        found = self.made.get(id)
        if found is None:
            found = self.made[id] = self._of(self._columns[id])
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def _of(self, column: Column) -> ColumnStatistics:
        seen = _Seen(column)
        for segment in self._segments:
            with suppress(WeftError):  # damage is for those who read rows
                seen.segment(segment)
        seen.sample(self._memtables)
        if self._times is not None and self._table.time == column.id:
            seen.extend(*self._times)
        return seen.statistics(rows=self._rows_in_parts, living=self.rows)


class _Seen:
    """What was seen of one column."""

    def __init__(self, column: Column) -> None:
        self._column = column
        self._registers = np.zeros(sketch.REGISTERS, np.uint8)
        self._sketched = 0
        self._rows = 0
        self._nulls = 0
        self._codes = 0
        self._low, self._high = HIGHEST, LOWEST

    def segment(self, segment: Segment) -> None:
        id, reader = self._column.id, segment.reader
        if id not in segment.description.columns:
            self._rows += segment.rows_count
            self._nulls += segment.rows_count if self._column.missing is None else 0
            return
        registers = reader.sketch(id)
        if registers is not None:
            np.maximum(self._registers, registers, out=self._registers)
            self._sketched += segment.rows_count
        elif self._sketched < SAMPLE_ROWS:
            count = min(segment.rows_count, SAMPLE_ROWS)
            add_to_sketch(self._registers, reader.read(id, self._column.type, 0, count))
            self._sketched += count
        self._rows += segment.rows_count
        self._nulls += reader.nulls_count(id)
        self.extend(*reader.zone(id))

    def sample(self, memtables: Sequence[Memtable]) -> None:
        """The newest rows of memtables."""
        left = SAMPLE_ROWS
        for memtable in memtables:
            for chunk in reversed(memtable.chunks):
                count = min(chunk.count, left)
                if not count or self._column.id not in chunk.columns:
                    continue
                values = _newest_of(chunk, self._column, count)
                add_to_sketch(self._registers, values)
                low, high, nulls = _zone_of(values, self._column)
                self.extend(low, high)
                self._sketched, self._rows, self._nulls = (
                    self._sketched + count,
                    self._rows + count,
                    self._nulls + nulls,
                )
                left -= count
                if not left:
                    return

    def statistics(self, *, rows: int, living: int) -> ColumnStatistics:
        """``rows``: of all parts, looked at or not."""
        distinct = of_all_rows(sketch.estimate(self._registers), seen=self._sketched, rows=rows)
        known = self._low <= self._high and (self._low, self._high) != (LOWEST, HIGHEST)
        return ColumnStatistics(
            distinct=min(round(distinct), max(living, 1)),
            null_fraction=self._nulls / self._rows if self._rows else 0.0,
            low=self._low if known else None,
            high=self._high if known else None,
        )

    def extend(self, low: int, high: int) -> None:
        """There are values between these places, both included."""
        if low <= high:
            self._low, self._high = min(self._low, low), max(self._high, high)


def of_all_rows(distinct: float, *, seen: int, rows: int) -> float:
    """How many different values ``rows`` rows have, where ``seen`` of them have ``distinct``.

    An urn of D values gives D (1 - exp(-n / D)) different ones in n draws: solved for D, and asked for all rows.
    """
    if rows <= seen or not distinct:
        return distinct
    part = distinct / seen
    if part >= UNIQUE_FROM:
        return distinct * rows / seen
    low, high = 0.0, 1.0 / part  # x = seen / D in (1 - exp(-x)) / x = part
    for _ in range(50):
        x = (low + high) / 2
        low, high = (low, x) if -math.expm1(-x) < part * x else (x, high)
    urn = seen / high
    return urn * -math.expm1(-rows / urn)


def statistics_of(table: Table, cells: Cells) -> TableStatistics:
    """The statistics of now: some microseconds where they are kept."""
    kept = cells.statistics
    if not isinstance(kept, CellStatistics) or not kept.is_of(table, cells):
        kept = cells.statistics = CellStatistics(table, cells)
    return TableStatistics(cells.rows_count, kept, cells.shares, number=kept.number)


def _times_of(table: Table, parts: Sequence[Part]) -> tuple[int, int] | None:
    """The least and the greatest event time, as places: windows of time are of the newest parts, seldom the largest."""
    if table.time is None:
        return None
    spans = [
        part.description if isinstance(part, Segment) else part
        for part in parts
        if isinstance(part, Segment | Memtable)
    ]
    there = [span for span in spans if span.time_low <= span.time_high]
    scale = DAY if table.by_id[table.time].type.kind is Kind.DATE else 1
    if not there:
        return None
    return min(span.time_low for span in there) // scale, max(span.time_high for span in there) // scale


def _rows_of(part: Part) -> int:
    return sum(chunk.count for chunk in part.chunks) if isinstance(part, Memtable) else part.rows_count


def _newest_of(chunk: Chunk, column: Column, count: int) -> Values:
    """The last ``count`` values of a chunk."""
    store, stop = chunk.columns[column.id], chunk.count
    valid = None if store.valid is None else store.valid[stop - count : stop]
    if isinstance(store, VariableColumn):
        return VariableValues(store.offsets[stop - count : stop + 1], store.heap, valid)
    return FixedValues(store.values[stop - count : stop], valid)


def _zone_of(values: Values, column: Column) -> tuple[int, int, int]:
    """(low, high, NULLs) of values: as a block of them would say."""
    count = count_of(values)
    block_rows = 1 << max(6, (count - 1).bit_length())
    encoder = Encoder(physical_of(column.type), order_of(column.type), block_rows=block_rows, dictionary=None)
    entries = new_entries(1)
    encoder.encode(values, 0, count, entries, 0)
    return int(entries["low"][0]), int(entries["high"][0]), int(entries["nulls"][0])
