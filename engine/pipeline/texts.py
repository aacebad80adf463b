"""Numbers of texts: each different text of a column has one, the same in all segments, and it is remembered.

    a segment's dictionary ──────────────► uint32[codes]: the number of each code ┐
    a segment's rows without a dictionary ─► uint32[rows]: the number of each row  ├─ texts, each once: bytes and ends
    rows of a memtable's chunk, as they come ─► uint32[rows]                       ┘

So keys of groups are numbers, and a condition is asked once of each different text, in however many segments it stands.

Numbers are given in the order in which texts are met, and never change: whoever knows ``count`` numbers reads the first
``count`` texts, whatever is added meanwhile, without a lock. Segments never change either, so what is remembered of one
is right as long as it lives, and goes with it. A query that finds segments whose texts have no numbers gives them some
first, with all its threads (engine/kernels/texts.py): dictionaries are in the order of their bytes, so most texts are
the next ones of another dictionary, and 4 M of them in 43 dictionaries take 40 ms. Rows of memtables that have come
since the last query get theirs so, too: each once, those of all chunks together, 7 to 20 ns a text and thread.

Columns that were not asked for the longest time are forgotten where there is no room, as a whole; and a column more
than half of whose texts are in no segment any more begins anew.
"""

from __future__ import annotations

import enum
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from ...base.limits import TEXT_COLUMNS_MAX, TEXT_ROWS_AT_ONCE
from ...storage.column_values import VariableValues, address_of
from ...storage.kernels.sketch import estimate
from ..column_store import VariableColumn
from ..held import Held
from ..kernels.texts import add_texts, find_texts, place_texts
from ..schema import Column
from .shape import NotCovered

if TYPE_CHECKING:
    from ..memtable import Chunk
    from ..segment import Segment
    from .work import Threads

UNIT_ROWS: Final = 1 << 16
UNIT_FIRST: Final = 1 << 10
"""Rows without a dictionary that are numbered at once; the first of all are few, so that the commonest texts are known
before there is room for a text of each row."""
UNIT_FRESH: Final = 1 << 14
"""Of a chunk: nothing is copied for them, so that units may be small enough to keep all threads busy."""
UNIT_ALONE: Final = 1 << 12
"""Fewer texts are not worth handing to a thread."""
TEXTS_FEW: Final = 1 << 16
"""So many texts may be in no segment any more."""

HEAP_MAX: Final = (1 << 31) - 16


class Full(NotCovered):
    """There is no room for the texts of a column."""

    def __init__(self, column: Column) -> None:
        super().__init__(f"{column.name} has too many different values")


class Many(NotCovered):
    """Numbers for so many rows without a dictionary take longer than the question is worth."""


class Need(enum.Enum):
    """What texts are wanted for.

    Rows without a dictionary are tested by the executor as fast as they get numbers, but grouped more slowly than by a
    kernel once they have some.
    """

    TESTS = "tests"
    KEYS = "keys"
    AT_ONCE = "at once"
    """However long it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """``numbers`` (uint32) by code, and one more that means nothing; ``by_row``: by row, there is no dictionary.

    ``valid`` says which rows have a text (uint8; None: all, or it is known elsewhere); of others the number is 0.
    ``more``: those of further chunks, by row, too.
    """

    numbers: np.ndarray
    by_row: bool
    valid: np.ndarray | None = None
    more: tuple[np.ndarray, ...] = ()


class Numbering:
    """The texts of one column. ``count``: how many have numbers."""

    def __init__(self, column: Column, texts: Texts) -> None:
        self.column = column
        self.count = 0
        self._texts = texts
        self._lock = threading.Lock()
        self._slots = np.zeros(1 << 10, np.uint64)
        self._ends = np.zeros(1 << 8, np.int32)
        self._heap = np.empty(1 << 12, np.uint8)
        self._segments: weakref.WeakKeyDictionary[Segment, Numbers] = weakref.WeakKeyDictionary()
        self._chunks: weakref.WeakKeyDictionary[VariableColumn, _Rows] = weakref.WeakKeyDictionary()

    def of(self, segment: Segment) -> Numbers | None:
        """None: its texts have no numbers yet."""
        return self._segments.get(segment)

    def array(self, count: int) -> pa.Array:
        """The first ``count`` texts, in place."""
        ends, heap = self._ends, self._heap
        return pa.Array.from_buffers(self.column.type.storage, count, [None, pa.py_buffer(ends), pa.py_buffer(heap)])

    @property
    def is_stale(self) -> bool:
        """Whether more than half of the texts are in no segment any more."""
        return self.count > TEXTS_FEW and self.count > 2 * sum(map(len, self._living()))

    @property
    def is_empty(self) -> bool:
        """Whether nothing that lives has its texts."""
        return not self._living()

    def of_values(self, values: VariableValues) -> Numbers:
        """Of any texts, for one query. Raises Full."""
        numbers = np.zeros(len(values.offsets), np.uint32)
        with self._lock:
            self._number(values, numbers[:-1])
        return Numbers(numbers=numbers, by_row=True, valid=values.valid)

    def of_rows(self, store: VariableColumn, count: int) -> Numbers:
        """Of the first ``count`` rows of a memtable's chunk. Raises Full.

        They are remembered: the next query gives numbers to the rows that have come since.
        """
        with self._lock:
            rows = self._rows_of(store)
            if rows.count < count:
                self._number(_values(store, rows.count, count), rows.numbers[rows.count : count])
                rows.count = count
        return Numbers(numbers=rows.numbers[:count], by_row=True)

    def of_chunks(self, chunks: Sequence[tuple[Chunk, int]]) -> tuple[Numbers, list[int]]:
        """Of the first rows of chunks, so many of each; and where each chunk's are. Raises Full."""
        numbers: list[np.ndarray] = []
        places: list[int] = []
        for chunk, count in chunks:
            store = chunk.columns[self.column.id]
            assert isinstance(store, VariableColumn), f"{self.column.name} is text"
            rows = self._chunks.get(store)
            if rows is None or rows.count < count:
                self.of_rows(store, count)
                rows = self._chunks[store]
            numbers.append(rows.numbers[:count])
            places.append(rows.address)
        return Numbers(numbers=numbers[0], by_row=True, more=tuple(numbers[1:])), places

    def extend_rows(self, stores: Sequence[tuple[VariableColumn, int]], threads: Threads) -> None:
        """Give numbers to the first rows of chunks, so many of each, with all threads. Raises Full, and what stops the
        statement.
        """
        self._acquire(threads)
        try:
            fresh = [(of, store, count) for store, count in stores if (of := self._rows_of(store)).count < count]
            if sum(count - of.count for of, _, count in fresh) < 2 * UNIT_ALONE:
                return  # whoever asks for them numbers them
            units = [
                _Fresh(of, store, of.count + start, of.count + stop)
                for of, store, count in fresh
                for start, stop in _cut(count - of.count, UNIT_FRESH)
            ]
            for together in (units[:1], units[1:]):  # the commonest texts are known after the first
                for unit, new in zip(together, threads.all(self._find_fresh, together), strict=True):
                    self._add(unit.values, unit.numbers, *new)
                    unit.of.count = unit.stop
        finally:
            self._lock.release()

    def extend(self, segments: Sequence[Segment], threads: Threads, *, rows_max: int) -> None:
        """Give numbers to what these segments have. Raises Full, Many, Corrupt, and what stops the statement.

        ``rows_max``: without a dictionary.
        """
        self._acquire(threads)
        try:
            missing = [segment for segment in segments if segment not in self._segments]
            dictionaries = threads.all(lambda segment: segment.reader.dictionary(self.column.id), missing)
            by_row = [segment for segment, of in zip(missing, dictionaries, strict=True) if of is None]
            if sum(segment.rows_count for segment in by_row) > rows_max:
                raise Many
            self._expect(by_row)
            units = [
                unit
                for segment, dictionary in zip(missing, dictionaries, strict=True)
                for unit in self._units(segment, dictionary)
            ]
            self._number_all(units, threads)
        finally:
            self._lock.release()

    def _acquire(self, threads: Threads) -> None:
        while not self._lock.acquire(timeout=0.05):
            threads.go_on()

    def _rows_of(self, store: VariableColumn) -> _Rows:
        """Which rows of a chunk have numbers."""
        rows = self._chunks.get(store)
        if rows is None:
            numbers = self._zeros(len(store.offsets))
            rows = self._chunks[store] = _Rows(numbers, address_of(numbers))
        return rows

    def _expect(self, segments: Sequence[Segment]) -> None:
        """Make room at once for as many texts as the sketches of these segments say. Raises Full."""
        rows, id = sum(segment.rows_count for segment in segments), self.column.id
        registers = [segment.reader.sketch(id) for segment in segments]
        known = [one for one in registers if one is not None]
        if rows > UNIT_ROWS and len(known) == len(registers):
            more = max(int(estimate(np.maximum.reduce(known))) - self.count, 0)
            size = sum(segment.reader.plain_bytes(id) for segment in segments)
            self._reserve(more, size * more // rows)

    def _number(self, values: VariableValues, numbers: np.ndarray) -> None:
        for start, stop in _cut(len(numbers), UNIT_ROWS):
            part, into = _part(values, start, stop), numbers[start:stop]
            self._add(part, into, *self._find(part, into, in_order=False))

    def _living(self) -> list[np.ndarray]:
        """All numbers that are remembered."""
        segments = [self._segments.get(key) for ref in self._segments.keyrefs() if (key := ref()) is not None]
        chunks = [self._chunks.get(key) for ref in self._chunks.keyrefs() if (key := ref()) is not None]
        return [of.numbers for of in (*segments, *chunks) if of is not None]

    def _units(self, segment: Segment, dictionary: VariableValues | None) -> list[_Unit]:
        if dictionary is not None:
            count = len(dictionary.offsets) - 1
            return [_Unit(segment, Numbers(numbers=self._zeros(count + 1), by_row=False), start=0, stop=count)]
        count = segment.rows_count
        has_null = segment.reader.nulls_count(self.column.id) > 0
        of = Numbers(numbers=self._zeros(count + 1), by_row=True, valid=self._kept(count) if has_null else None)
        return [_Unit(segment, of, start=start, stop=stop) for start, stop in _cut(count, UNIT_ROWS)]

    def _zeros(self, count: int) -> np.ndarray:
        numbers = self._kept(4 * count).view(np.uint32)
        numbers[-1] = 0
        return numbers

    def _number_all(self, units: Sequence[_Unit], threads: Threads) -> None:
        """As many at once as there are threads find those that have numbers; what is new is added one by one."""
        at = 0
        while at < len(units):
            threads.go_on()
            together = [units[at]] if units[at].count < UNIT_ALONE else units[at : at + threads.threads]
            at += len(together)
            for unit, (values, *new) in zip(together, threads.all(self._found, together), strict=True):
                self._add(values, unit.numbers, *new)
                if unit.stop == len(unit.of.numbers) - 1:
                    self._segments[unit.segment] = unit.of

    def _found(self, unit: _Unit) -> tuple[VariableValues, int, int]:
        values = unit.values(self.column)
        return (values, *self._find(values, unit.numbers, in_order=not unit.of.by_row))

    def _find_fresh(self, unit: _Fresh) -> tuple[int, int]:
        return self._find(unit.values, unit.numbers, in_order=False)

    def _find(self, values: VariableValues, numbers: np.ndarray, *, in_order: bool) -> tuple[int, int]:
        """How many texts have no number, and their bytes."""
        return find_texts(
            address_of(values.offsets), address_of(values.data), address_of(values.valid), len(values.offsets) - 1,
            in_order, self._slots, self._ends, address_of(self._heap), self.count, numbers,
        )  # fmt: skip

    def _add(self, values: VariableValues, numbers: np.ndarray, missing: int, size: int) -> None:
        if not missing:
            return
        self._reserve(missing, size)
        self.count = add_texts(
            address_of(values.offsets), address_of(values.data), len(values.offsets) - 1,
            self._slots, self._ends, address_of(self._heap), self.count, numbers,
        )  # fmt: skip

    def _reserve(self, more: int, size: int) -> None:
        """Room for so many texts and their bytes. What others read stays where it is."""
        count, used = self.count + more, int(self._ends[self.count]) + size + 8
        if used > HEAP_MAX:
            raise Full(self.column)
        if count >= len(self._ends):
            ends = self._kept(4 * max(count + 1, 2 * len(self._ends))).view(np.int32)
            ends[: self.count + 1] = self._ends[: self.count + 1]
            self._ends = ends
        if used > len(self._heap):
            heap = self._kept(min(max(used, 2 * len(self._heap)), HEAP_MAX))
            known = int(self._ends[self.count])
            heap[:known] = self._heap[:known]
            self._heap = heap
        if 2 * count > len(self._slots):
            slots = self._kept(8 << (2 * count - 1).bit_length()).view(np.uint64)
            slots[:] = 0
            place_texts(self._slots, slots)
            self._slots = slots

    def _kept(self, size: int) -> np.ndarray:
        """So many bytes, which are counted. Raises Full."""
        if not self._texts.has_room(size, beside=self):
            raise Full(self.column)
        return self._texts.held.keep(np.empty(size, np.uint8))


class Texts:
    """What is numbered of all columns of a database. Thread-safe. ``limit``: of bytes together."""

    def __init__(self, limit: int = 1 << 62) -> None:
        self.held = Held(limit)
        self._lock = threading.Lock()
        self._columns: OrderedDict[tuple[int, int], Numbering] = OrderedDict()
        self._refused: OrderedDict[tuple[int, int], weakref.WeakSet[Segment]] = OrderedDict()
        """Columns for which there was no room, and with which segments."""
        self._asked: dict[tuple[int, int], None] = {}
        """Columns that keys are made of."""

    def of(
        self, table: int, column: Column, segments: Sequence[Segment], threads: Threads, *, need: Need = Need.KEYS
    ) -> Numbering | None:
        """The numbering of a column, with the texts of these segments; None: there is no room for them, or no time.

        Raises Corrupt, and what stops the statement.
        """
        key = (table, column.id)
        with self._lock:
            numbering = self._columns.get(key)
            if numbering is None or numbering.is_stale:
                numbering = self._columns[key] = Numbering(column, self)
            self._columns.move_to_end(key)
            refused = self._refused.get(key)
        missing = [segment for segment in segments if numbering.of(segment) is None]
        if not missing:
            return numbering
        if refused and refused <= set(segments):
            return None
        try:
            numbering.extend(missing, threads, rows_max=self._rows_max(key, need))
        except Many:
            return None
        except Full:
            self._refuse(key, segments)
            return None
        self._tidy()
        return numbering

    def has_room(self, size: int, *, beside: Numbering) -> bool:
        """Whether so many bytes may be made: other columns are forgotten for them."""
        with self._lock:
            while not self.held.room(size):
                key = next((key for key, of in self._columns.items() if of is not beside), None)
                if key is None:
                    return False
                del self._columns[key]
        return True

    def forget(self) -> None:
        """Let go of all columns: of those that queries use, once these are done."""
        with self._lock:
            self._columns.clear()

    def _rows_max(self, key: tuple[int, int], need: Need) -> int:
        """How many rows without a dictionary may get numbers now: many for keys that are asked for again."""
        with self._lock:
            again = need is Need.KEYS and key in self._asked
            if need is Need.KEYS:
                self._asked[key] = None
            if len(self._asked) > TEXT_COLUMNS_MAX:
                del self._asked[next(iter(self._asked))]
        return 1 << 62 if again or need is Need.AT_ONCE else TEXT_ROWS_AT_ONCE

    def _refuse(self, key: tuple[int, int], segments: Sequence[Segment]) -> None:
        with self._lock:
            self._columns.pop(key, None)
            self._refused[key] = weakref.WeakSet(segments)
            self._refused.move_to_end(key)
            if len(self._refused) > TEXT_COLUMNS_MAX:
                self._refused.popitem(last=False)

    def _tidy(self) -> None:
        """Forget columns whose segments are gone, and those beyond the limit."""
        with self._lock:
            for key, numbering in list(self._columns.items())[:-1]:
                if numbering.is_empty or len(self._columns) > TEXT_COLUMNS_MAX:
                    del self._columns[key]


@dataclass(slots=True)
class _Rows:
    """Of a chunk: the first ``count`` have numbers, which are at ``address``."""

    numbers: np.ndarray
    address: int
    count: int = 0


class _Unit:
    """Texts that are numbered at once: a dictionary, or rows ``start`` to ``stop`` of a segment without one."""

    __slots__ = ("count", "numbers", "of", "segment", "start", "stop")

    def __init__(self, segment: Segment, of: Numbers, *, start: int, stop: int) -> None:
        self.segment = segment
        self.of = of
        self.start = start
        self.stop = stop
        self.count = stop - start
        self.numbers = of.numbers[start:stop]

    def values(self, column: Column) -> VariableValues:
        """The texts. Notes which rows have one. Raises Corrupt."""
        if not self.of.by_row:
            found = self.segment.reader.dictionary(column.id)
        else:
            found = self.segment.values(column, self.start, self.stop)
        assert isinstance(found, VariableValues), f"{column.name} is text"
        if self.of.valid is not None:
            self.of.valid[self.start : self.stop] = 1 if found.valid is None else found.valid
        return found


class _Fresh:
    """Rows ``start`` to ``stop`` of a chunk, that are numbered at once."""

    __slots__ = ("numbers", "of", "stop", "values")

    def __init__(self, of: _Rows, store: VariableColumn, start: int, stop: int) -> None:
        self.of = of
        self.stop = stop
        self.values = _values(store, start, stop)
        self.numbers = of.numbers[start:stop]


def _values(store: VariableColumn, start: int, stop: int) -> VariableValues:
    """Some rows of a chunk: they have come before."""
    valid = None if store.valid is None else store.valid[start:stop]
    return VariableValues(store.offsets[start : stop + 1], store.heap, valid)


def _cut(count: int, unit: int) -> list[tuple[int, int]]:
    """So many rows as units of at most ``unit`` rows."""
    edges = [0, *range(UNIT_FIRST, count, unit), count]
    return list(pairwise(edges)) if count else []


def _part(values: VariableValues, start: int, stop: int) -> VariableValues:
    valid = None if values.valid is None else values.valid[start:stop]
    return VariableValues(values.offsets[start : stop + 1], values.data, valid)
