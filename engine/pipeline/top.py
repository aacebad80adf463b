"""The first rows of a table in some order, read late: sort keys first, all other columns for the rows that are wanted.

    sources   what a scan looks at: blocks of segments, chunks of memtables, rows found by their key
      ─ the one whose zones promise the first row goes first ─► ranks of its rows in the first key, the next, …
      ─► rows that are not behind the last of the best so far ─► for which the condition is true ─► the best so far
    └─ until the next source promises nothing better ─► their places, in order

A rank is an int64 that sorts as ORDER BY wants, ascending: the place of a value (zones.py), turned round for DESC; NULL
is least or greatest. So zones of blocks are ranks, too, and where a sort key is the event time, or has many values, a
few blocks are all that is read. Needs no compiler.

Ranks of text tell of the first eight bytes alone. Where such a key is not *exact*, keys behind it are not looked at and
all rows that tie with the last one are kept; otherwise the place of a row settles what no key does, so that the answer
is the same each time. Whoever is given the rows sorts them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa

from ...base.errors import WeftError
from ...base.types import Kind, Type
from ...storage.column_values import FixedValues, VariableValues, array_of, constant_array, values_of
from ...storage.encoding import HIGHEST, LOWEST
from ..column_store import FixedColumn
from ..expression.evaluate import Context, evaluate_filter
from ..expression.node import Expression
from ..gather import Picked, batch_of, gathered
from ..layout import Layout
from ..memtable import Chunk
from ..projection import Projection, missing_value
from ..prune import column_ids, conjuncts
from ..scan_plan import Plan
from ..schema import Column
from ..segment import Segment
from ..sieve import Sieve
from ..zones import zone_test
from .describe import FLOATS, INTEGERS
from .shape import NotCovered

TOP_MAX: Final = 1 << 16
"""More rows are the executor's to sort."""
TIES_MAX: Final = 1 << 17
"""So many rows are kept where a key that is not exact ties."""
FEW: Final = 8
"""Where less than one row in so many is left, a column is read for those alone."""

LATER_ROWS: Final = 4_096
LATER_BLOCKS: Final = 16
"""Rows whose first key is good, and the blocks that they are of, are looked at further when there are so many."""

_NAN: Final = 0x7FF8000000000000
_TEXTS: Final = frozenset((Kind.TEXT, Kind.VARCHAR))
_WIDE: Final = np.dtype(np.int64)
_CODE: Final = np.dtype(np.int32)
_HEAD: Final = 8
_PLACE: Final = 32
"""A row's place: the number of its source, shifted by so many bits, and its row there."""

Ranks: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SortKey:
    """``column``: the identifier of one of the table's."""

    column: int
    descending: bool
    nulls_first: bool


class Top:
    """The first ``count`` rows of what ``plan`` looks at for which ``condition`` is true. Making one raises NotCovered.

    ``check`` raises what stops the statement.
    """

    def __init__(
        self,
        plan: Plan,
        layout: Layout,
        *,
        version: int,
        keys: Sequence[SortKey],
        condition: Expression | None,
        count: int,
        check: Callable[[], None],
    ) -> None:
        if not 0 <= count <= TOP_MAX:
            raise NotCovered("many rows are wanted")
        self._layout = layout
        self._version = version
        self._count = count
        self._condition = condition
        self._tested = [layout.by_id[id] for id in sorted(column_ids(condition))]
        self._check = check
        self._parts = _parts_of(plan, layout)
        self._ranked, self.is_exact = self._keys(keys)
        self._sieves: dict[int, Sieve] = {}
        self._ranks = np.empty((0, len(self._ranked)), np.int64)
        self._places = np.empty(0, np.int64)
        self._last: Ranks | None = None
        self._later: list[np.ndarray] = []
        self._later_count = 0
        self.rows_read = 0
        self.blocks_read = 0

    def _picked(self) -> tuple[Picked, np.ndarray]:
        """The rows, and their places there (int64) in the order of the keys."""
        if self._count:
            self._search()
        order = np.lexsort((self._places, *self._ranks.T[::-1]))
        return _picked(self._parts, self._places[order])

    def rows(self, columns: Sequence[Column]) -> pa.RecordBatch:
        """The rows in the order of the keys. Raises NotCovered, Corrupt."""
        picked, order = self._picked()
        projection = Projection(columns)
        return gathered(picked, projection).take(pa.array(order)) if len(order) else projection.nothing

    def _keys(self, keys: Sequence[SortKey]) -> tuple[list[_Ranked], bool]:
        """The keys up to the first that is not exact, and whether that is all of them."""
        found: list[_Ranked] = []
        for key in keys:
            column = self._layout.by_id[key.column]
            if column.type.kind not in INTEGERS | FLOATS | _TEXTS | {Kind.BOOLEAN}:
                raise NotCovered(f"it is sorted by {column.type}")
            ranked = _Ranked(key, column, never_null=_rejects_null(self._condition, column))
            found.append(ranked)
            if not ranked.is_exact(self._parts):
                return found, False
        return found, True

    # The search.

    def _search(self) -> None:
        """Go through the sources, the most promising first."""
        heap: list[tuple[Ranks, int, int, bool]] = []
        for number, part in enumerate(self._parts):
            if part.count:
                heap.append((self._least(part), number, 0, part.blocks_count > 1))
        heapq.heapify(heap)
        while heap:
            least, number, block, whole = heap[0]
            part = self._parts[number]
            if self._is_behind(least, number << _PLACE | part.first(block)):
                break
            heapq.heappop(heap)
            if whole:
                for ranks, inner in self._blocks(part):
                    heapq.heappush(heap, (ranks, number, inner, False))
                continue
            self._check()
            self._look(part, number, block)
        self._settle()

    def _is_behind(self, least: Ranks, place: int) -> bool:
        """Whether no row is better that has at least these ranks, and this place."""
        if self._last is None:
            return False
        return (*least, place) > self._last if self.is_exact else least > self._last[:-1]

    def _least(self, part: _Part) -> Ranks:
        """Ranks that no row of a part is before."""
        found: list[int] = []
        for key in self._ranked:
            zone = part.zone(key.column)
            found.append(LOWEST if zone is None else key.least(*zone))
        return tuple(found)

    def _blocks(self, part: _Part) -> list[tuple[Ranks, int]]:
        columns: list[list[int]] = []
        for key in self._ranked:
            zones = part.zones(key.column)
            if zones is None:
                columns.append([LOWEST] * part.blocks_count)
                continue
            low, high, nulls = (side.tolist() for side in zones)
            columns.append([key.least(*one) for one in zip(low, high, nulls, strict=True)])
        ranks = list(zip(*columns, strict=True)) if columns else [()] * part.blocks_count
        return [(one, block) for block, one in enumerate(ranks)]

    def _look(self, part: _Part, number: int, block: int) -> None:
        """Take what is good of one block."""
        self.blocks_read += 1
        self.rows_read += part.rows_count(block)
        if self._last is None or not self._ranked or part.segment is None or part.chosen is not None:
            rows, count = part.rows(block, self._version)
            self._look_at(_View(part, block, count), rows, number)
            return
        start, stop = part.spans[block]
        view = _View(part, block, stop - start)
        rows = self._ranked[0].up_to(view, self._last[0])
        rows = rows[part.segment.visible_among(self._version, rows + start)]
        if len(rows) * FEW > view.count:
            self._look_at(view, rows, number)
            return
        if len(rows):
            self._later.append(rows + (start + (number << _PLACE)))
            self._later_count += len(rows)
        if self._later_count > LATER_ROWS or len(self._later) > LATER_BLOCKS:
            self._settle()

    def _settle(self) -> None:
        """Look at the other columns of rows whose first key is good, those of many blocks at once."""
        if not self._later:
            return
        places = np.concatenate(self._later)
        self._later, self._later_count = [], 0
        picked, order = _picked(self._parts, places)
        places = places[np.argsort(order)]
        columns = {column.id: column for column in (*self._tested, *(key.column for key in self._ranked))}
        batch = gathered(picked, Projection(list(columns.values())))
        if self._condition is not None:
            truth = self._truth(batch.select(range(len(self._tested))))
            batch, places = batch.filter(pa.array(truth)), places[truth]
        ids = list(columns)
        self._add([key.of_array(batch.column(ids.index(key.column.id))) for key in self._ranked], places)

    def _look_at(self, view: _View, rows: np.ndarray | None, number: int) -> None:
        """Take what is good of visible rows of one block; ``rows`` None: all."""
        if self._last is not None:
            rows = self._before(view, rows, number)
        if self._condition is not None:
            rows = self._passing(view, rows)
        if rows is not None and not len(rows):
            return
        ranks: list[np.ndarray] = []
        for key in self._ranked:
            found = key.of(view, rows)
            if not ranks and len(found) > self._count:
                least = found <= np.partition(found, self._count - 1)[self._count - 1]
                found = found[least]
                rows = np.flatnonzero(least) if rows is None else rows[least]
            ranks.append(found)
        if rows is None:
            rows = np.arange(view.count)
        if not ranks:
            rows = rows[: self._count]
        self._add(ranks, view.first + rows + (number << _PLACE))

    def _before(self, view: _View, rows: np.ndarray | None, number: int) -> np.ndarray:
        """Those of the rows that are not behind the last of the best."""
        assert self._last is not None, "there are enough"
        equal: np.ndarray | None = None
        for key, last in zip(self._ranked, self._last, strict=False):
            ranks = key.of(view, rows)
            kept = np.flatnonzero(ranks <= last if equal is None else (ranks <= last) | ~equal)
            ties = ranks[kept] == last
            if equal is not None:
                ties &= equal[kept]
            equal = ties
            rows = kept if rows is None else rows[kept]
            if not ties.any():
                return rows
        if rows is None:
            rows = np.arange(view.count)
        if not self.is_exact:
            return rows
        kept = view.first + rows + (number << _PLACE) < self._last[-1]
        return rows[kept if equal is None else kept | ~equal]

    def _passing(self, view: _View, rows: np.ndarray | None) -> np.ndarray:
        """Those of the rows for which the condition is true."""
        assert self._condition is not None, "there is a condition"
        if rows is None or len(rows) * FEW > view.count:
            mask = self._sieve(view)
            if mask is not None:
                if rows is not None:
                    mask = mask[rows]
                kept = np.flatnonzero(mask)
                rows = kept if rows is None else rows[kept]
        if rows is not None and not len(rows):
            return rows
        batch = batch_of(
            [view.array(column, rows) for column in self._tested],
            Projection(self._tested).schema,
            view.count if rows is None else len(rows),
        )
        kept = np.flatnonzero(self._truth(batch))
        return kept if rows is None else rows[kept]

    def _truth(self, batch: pa.RecordBatch) -> np.ndarray:
        """For which rows of the columns that it reads the condition is true (bool[n])."""
        assert self._condition is not None, "there is a condition"
        ids = [column.id for column in self._tested]
        try:
            found = evaluate_filter(self._condition, batch, column_ids=ids, context=Context(now=0, parameters=()))
        except WeftError as error:
            raise NotCovered(f"the condition fails: {error.message}") from None
        return found.to_numpy(zero_copy_only=False)

    def _sieve(self, view: _View) -> np.ndarray | None:
        """Which rows of a block of a segment can pass; None: nothing is known."""
        segment, part = view.part.segment, view.part
        if segment is None or part.chosen is not None:
            return None
        sieve = self._sieves.get(id(segment))
        if sieve is None:
            there = [column for column in self._tested if column.id in segment.description.columns]
            coded = {
                column.id
                for column in there
                if column.type.kind is Kind.TEXT and segment.reader.dictionary(column.id) is not None
            }
            readable = {column.id for column in there if column.type.kind in INTEGERS and part.fits(column)} | coded
            test = zone_test(self._condition, lambda column: self._layout.by_id[column].type)
            sieve = self._sieves[id(segment)] = Sieve(
                test, self._layout, filter=self._condition, readable=frozenset(readable), coded=frozenset(coded)
            )
        if sieve.is_open:
            return None
        return sieve.mask(segment, lambda column: view.numbers(self._layout.by_id[column]), count=view.count)

    def _add(self, ranks: Sequence[np.ndarray], places: np.ndarray) -> None:
        """Take rows among the best, and let go what is behind them."""
        count = self._count
        self._ranks = np.concatenate([self._ranks, np.column_stack(ranks) if ranks else np.empty((len(places), 0))])
        self._ranks = self._ranks.astype(np.int64, copy=False)
        self._places = np.concatenate([self._places, places])
        if len(self._places) < count:
            return
        order = np.lexsort((self._places, *self._ranks.T[::-1]))
        last = order[count - 1]
        self._last = (*self._ranks[last].tolist(), int(self._places[last]))
        if self.is_exact:
            kept = order[:count]
        else:
            ties = (self._ranks[order[count:]] == self._ranks[last]).all(axis=1)
            kept = order[: count + int(np.count_nonzero(ties))]
            if len(kept) > count + TIES_MAX:
                raise NotCovered("too many rows tie")
        self._ranks, self._places = self._ranks[kept], self._places[kept]


class _Ranked:
    """A key and how its ranks are made."""

    def __init__(self, key: SortKey, column: Column, *, never_null: bool) -> None:
        self.column = column
        self._never_null = never_null
        self._descending = key.descending
        self._null = LOWEST if key.nulls_first else HIGHEST
        self._heads: dict[int, np.ndarray] = {}

    def is_exact(self, parts: Sequence[_Part]) -> bool:
        """Whether different values have different ranks. Raises NotCovered where they cannot be told from NULL."""
        if self.column.type.kind in _TEXTS:
            return all(part.has_short_texts(self.column) for part in parts)
        for part in parts:
            if not part.fits(self.column):
                raise NotCovered("a number may become too large")
        return True

    def least(self, low: int, high: int, nulls: int) -> int:
        """The least rank of values from ``low`` to ``high``, and of so many NULLs."""
        if low > high:  # all are NULL
            return HIGHEST if self._never_null else self._null
        found = ~high if self._descending else low
        return min(found, self._null) if nulls and not self._never_null else found

    def up_to(self, view: _View, last: int) -> np.ndarray:
        """The rows of a view whose rank is not behind ``last`` (int64[n])."""
        kind = self.column.type.kind
        if kind in _TEXTS or kind in FLOATS:
            return np.flatnonzero(self.of(view, None) <= last)
        values = view.numbers(self.column)
        found = values.values >= ~last if self._descending else values.values <= last
        if values.valid is not None:
            there = values.valid.view(np.bool_)
            if self._never_null or self._null > last:
                found &= there
            elif self._null <= last:
                found |= ~there
        return np.flatnonzero(found)

    def of_array(self, array: pa.Array) -> np.ndarray:
        """The ranks of an Arrow array's values."""
        values = values_of(array, self.column.type)
        if isinstance(values, VariableValues):
            values = FixedValues(_heads(values.offsets, values.data)[:-1], values.valid)
        return self._ranks(_wide(values, self.column.type))

    def of(self, view: _View, rows: np.ndarray | None) -> np.ndarray:
        """The rank of all rows of a view, or of some (int64[n])."""
        kind = self.column.type.kind
        if kind in _TEXTS:
            values = self._texts(view, rows)
        else:
            values = view.numbers(self.column, rows)
        return self._ranks(values)

    def _ranks(self, values: FixedValues) -> np.ndarray:
        found = values.values
        if self.column.type.kind in FLOATS:
            found = _places_of_reals(found)
        if self._descending:
            found = ~found
        if values.valid is not None:
            null = HIGHEST if self._never_null else self._null
            found = np.where(values.valid.view(np.bool_), found, null)
        return found

    def _texts(self, view: _View, rows: np.ndarray | None) -> FixedValues:
        segment = view.part.segment
        if segment is not None and self.column.id in segment.description.columns:
            dictionary = segment.reader.dictionary(self.column.id)
            if dictionary is not None:
                heads = self._heads.get(id(segment))
                if heads is None:
                    heads = self._heads[id(segment)] = _heads(dictionary.offsets, dictionary.data)
                codes = view.numbers(self.column, rows)
                return FixedValues(heads[codes.values], codes.valid)
        values = values_of(view.array(self.column, rows), self.column.type)
        assert isinstance(values, VariableValues), "text has a variable width"
        return FixedValues(_heads(values.offsets, values.data)[:-1], values.valid)


class _Part:
    """A segment from row ``start`` to ``stop``, in the blocks ``runs`` keep; or some rows of one; or a chunk's."""

    def __init__(
        self,
        *,
        segment: Segment | None = None,
        chunk: Chunk | None = None,
        spans: Sequence[tuple[int, int]] = (),
        chosen: np.ndarray | None = None,
        time: int | None = None,
    ) -> None:
        self.segment = segment
        self.chunk = chunk
        self.spans = spans
        """First row and the one after the last of each block."""
        self.chosen = chosen
        self.time = time
        """The column of event time, where chunks know its range."""

    @property
    def count(self) -> int:
        return 1 if self.chunk is not None or self.chosen is not None else len(self.spans)

    @property
    def blocks_count(self) -> int:
        return len(self.spans) if self.segment is not None and self.chosen is None else 1

    def first(self, block: int) -> int:
        """The row that is the first of a block."""
        return self.spans[block][0] if self.spans else 0

    def rows_count(self, block: int) -> int:
        """How many rows a block has, visible or not."""
        if self.chosen is not None:
            return len(self.chosen)
        if self.chunk is not None:
            return self.chunk.count
        start, stop = self.spans[block]
        return stop - start

    def rows(self, block: int, version: int) -> tuple[np.ndarray | None, int]:
        """Which rows of a block, counted from its first, are visible, None: all; and how many there are."""
        if self.chosen is not None:
            return self.chosen, int(self.chosen.max(initial=-1)) + 1
        if self.segment is not None:
            start, stop = self.spans[block]
            mask = self.segment.visible(version, start, stop)
            return (None if mask is None else np.flatnonzero(mask)), stop - start
        assert self.chunk is not None, "a part is of a segment or a chunk"
        count, rows = self.chunk.visible(version)
        return rows, count if rows is None else int(rows.max(initial=-1)) + 1

    def zones(self, column: Column) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Of each block the least and greatest place and how many are NULL; None: not known."""
        if self.segment is None or self.chosen is not None or column.id not in self.segment.description.columns:
            return None
        reader = self.segment.reader
        blocks = np.array([start for start, _ in self.spans], np.int64) // reader.block_rows
        entries = reader.directory(column.id)[blocks]
        return entries["low"], entries["high"], entries["nulls"]

    def zone(self, column: Column) -> tuple[int, int, int] | None:
        """The same of all blocks, or of more."""
        if self.chunk is not None and column.id == self.time:
            return self.chunk.time_low, self.chunk.time_high, 0
        if self.segment is None or column.id not in self.segment.description.columns:
            return None
        reader = self.segment.reader
        return (*reader.zone(column.id), reader.nulls_count(column.id))

    def fits(self, column: Column) -> bool:
        """Whether all numbers are in 64 bits and none of them is the least or greatest."""
        if column.type.kind in FLOATS | {Kind.BOOLEAN}:
            return True
        if self.segment is not None:
            if column.id not in self.segment.description.columns:
                return _is_inside(_missing(column, 1), column.type)
            low, high = self.segment.reader.zone(column.id)
            return low > high or (low > LOWEST and high < HIGHEST)
        assert self.chunk is not None, "a part is of a segment or a chunk"
        store = self.chunk.columns.get(column.id)
        if store is None:
            return _is_inside(_missing(column, 1), column.type)
        assert isinstance(store, FixedColumn), f"{column.name} has numbers"
        count = self.chunk.count
        return _is_inside(
            FixedValues(store.values[:count], None if store.valid is None else store.valid[:count]), column.type
        )

    def has_short_texts(self, column: Column) -> bool:
        """Whether the first bytes are all of each text, and tell it from NULL."""
        if self.segment is not None:
            if column.id not in self.segment.description.columns:
                return False
            dictionary = self.segment.reader.dictionary(column.id)
            return dictionary is not None and _are_short(dictionary.offsets, dictionary.data)
        return False


class _View:
    """One block of a part."""

    __slots__ = ("_known", "count", "first", "part")

    def __init__(self, part: _Part, block: int, count: int) -> None:
        self.part = part
        self.first = part.first(block)
        self.count = count
        self._known: dict[int, FixedValues] = {}

    def numbers(self, column: Column, rows: np.ndarray | None = None) -> FixedValues:
        """A column's numbers (int64; floats as such) or codes, of all rows or of some."""
        known = self._known.get(column.id)
        if known is None and rows is not None and len(rows) * FEW < self.count:
            return self._read(column, rows)
        if known is None:
            known = self._known[column.id] = self._read(column, None)
        return known if rows is None else known.take(rows)

    def array(self, column: Column, rows: np.ndarray | None) -> pa.Array:
        """A column as Arrow array."""
        segment, chunk = self.part.segment, self.part.chunk
        if chunk is not None:
            store = chunk.columns.get(column.id)
            if store is None:
                count = self.count if rows is None else len(rows)
                return constant_array(missing_value(column), count, column.type)
            return store.array(self.count, rows)
        assert segment is not None, "a part is of a segment or a chunk"
        if rows is None:
            return array_of(segment.values(column, self.first, self.first + self.count), column.type)
        if len(rows) * FEW < self.count:
            return segment.taken(column, rows + self.first)
        return array_of(segment.values(column, self.first, self.first + self.count).take(rows), column.type)

    def _read(self, column: Column, rows: np.ndarray | None) -> FixedValues:
        segment, chunk = self.part.segment, self.part.chunk
        count = self.count if rows is None else len(rows)
        if segment is not None:
            if column.id not in segment.description.columns:
                return _wide(_missing(column, count), column.type)
            reader = segment.reader
            if column.type.kind in FLOATS:
                if rows is None:
                    found = reader.read(column.id, column.type, self.first, self.first + count)
                else:
                    found = reader.take(column.id, column.type, rows + self.first)
                assert isinstance(found, FixedValues), "floats have one width"
                return found
            dtype = _CODE if column.type.is_text else _WIDE
            if rows is None:
                return reader.narrowed(column.id, self.first, self.first + count, dtype)
            return reader.take_narrowed(column.id, rows + self.first, dtype)
        assert chunk is not None, "a part is of a segment or a chunk"
        store = chunk.columns.get(column.id)
        if store is None:
            return _wide(_missing(column, count), column.type)
        assert isinstance(store, FixedColumn), f"{column.name} has numbers"
        values, valid = store.values[: self.count], None if store.valid is None else store.valid[: self.count]
        found = FixedValues(values, valid)
        return _wide(found if rows is None else found.take(rows), column.type)


def _parts_of(plan: Plan, layout: Layout) -> list[_Part]:
    time = layout.time.id if layout.time is not None and layout.time.type.kind is not Kind.DATE else None
    spans: dict[int, tuple[Segment, list[tuple[int, int]]]] = {}
    for run in plan.runs:
        size = run.segment.reader.block_rows
        edges = [run.start, *range((run.start // size + 1) * size, run.stop, size), run.stop]
        spans.setdefault(id(run.segment), (run.segment, []))[1].extend(pairwise(edges))
    found = [_Part(segment=segment, spans=of) for segment, of in spans.values()]
    found += [_Part(chunk=chunk, chosen=rows, time=time) for chunk, rows in (*plan.chunks, *plan.picked.chunks)]
    picked = plan.picked
    if picked.runs:
        rows_of: dict[int, tuple[Segment, list[np.ndarray]]] = {}
        at = 0
        for segment, start, stop in zip(picked.runs, picked.starts.tolist(), picked.stops.tolist(), strict=True):
            rows = np.arange(start, stop)
            if picked.mask is not None:
                rows = rows[picked.mask[at : at + stop - start]]
            at += stop - start
            rows_of.setdefault(id(segment), (segment, []))[1].append(rows)
        found += [_Part(segment=segment, chosen=np.concatenate(rows)) for segment, rows in rows_of.values()]
    return found


def _picked(parts: Sequence[_Part], places: np.ndarray) -> tuple[Picked, np.ndarray]:
    """The rows at these places, those of segments first, and where each place is among them."""
    numbers, rows = places >> _PLACE, places & ((1 << _PLACE) - 1)
    inside = np.array([part.segment is not None for part in parts], np.bool_)[numbers]
    picked = Picked()
    order = np.empty(len(places), np.int64)
    at = np.flatnonzero(inside)
    if len(at):
        segments = [segment for number in numbers[at].tolist() if (segment := parts[number].segment) is not None]
        picked.add_runs(segments, rows[at], rows[at] + 1, None, rows_count=len(at))
        order[at] = np.arange(len(at))
    done = len(at)
    for number in np.unique(numbers[~inside]).tolist():
        chunk = parts[number].chunk
        assert chunk is not None, "a part is of a segment or a chunk"
        at = np.flatnonzero(numbers == number)
        picked.chunks.append((chunk, rows[at]))
        order[at] = np.arange(done, done + len(at))
        done += len(at)
    return picked, order


def _rejects_null(condition: Expression | None, column: Column) -> bool:
    """Whether the condition is not true where the column is NULL."""
    nothing = pa.RecordBatch.from_arrays([constant_array(None, 1, column.type)], names=["0"])
    for part in () if condition is None else conjuncts(condition):
        if column_ids(part) == {column.id} and not evaluate_filter(part, nothing, column_ids=[column.id])[0].as_py():
            return True
    return False


def _places_of_reals(values: np.ndarray) -> np.ndarray:
    """Floats as integers in their order; NaN is greatest, the two zeros are one."""
    bits = (values.astype(np.float64) + 0.0).view(np.int64)
    found = np.where(bits < 0, bits ^ HIGHEST, bits)
    return np.where(values != values, _NAN, found)


def _heads(offsets: np.ndarray, data: np.ndarray) -> np.ndarray:
    """The first bytes of each text as integers in their order, and one more: NULL may have any code."""
    starts, lengths = offsets[:-1].astype(np.int64), np.diff(offsets)
    heads = np.zeros((len(starts) + 1, _HEAD), np.uint8)
    for byte in range(_HEAD):
        longer = np.flatnonzero(lengths > byte)
        heads[longer, byte] = data[starts[longer] + byte]
    return (heads.view(">u8")[:, 0].astype(np.uint64) ^ np.uint64(1 << 63)).view(np.int64)


def _are_short(offsets: np.ndarray, data: np.ndarray) -> bool:
    lengths = np.diff(offsets)
    return bool(
        (lengths > 0).all() and (lengths <= _HEAD).all() and (data[int(offsets[0]) : int(offsets[-1])] != 0).all()
    )


def _missing(column: Column, count: int) -> FixedValues:
    values = values_of(constant_array(missing_value(column), count, column.type), column.type)
    assert isinstance(values, FixedValues), f"{column.name} has numbers"
    return values


def _wide(values: FixedValues, type: Type) -> FixedValues:
    """Numbers as int64; floats as they are."""
    if type.kind in FLOATS:
        return values
    found = values.values[:, 0].view(np.int64) if values.values.ndim == 2 else values.values.astype(np.int64)
    return FixedValues(found, values.valid)


def _is_inside(values: FixedValues, type: Type) -> bool:
    """Whether all numbers are in 64 bits and none of them is the least or greatest."""
    wide = _wide(values, type).values
    good = (wide > LOWEST) & (wide < HIGHEST)
    if values.values.ndim == 2:
        good &= values.values[:, 1].view(np.int64) == wide >> 63
    return bool((good if values.valid is None else good | ~values.valid.view(np.bool_)).all())
