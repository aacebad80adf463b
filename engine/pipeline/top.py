"""The first rows of a table in some order, read late: sort keys first, all other columns for the rows that are wanted.

    sources   what a scan looks at: blocks of segments, chunks of memtables, rows found by their key
      ─ the one whose zones promise the first row goes first ─► ranks of its rows in the first key, the next, …
      ─► rows that are not behind the last of the best so far ─► for which the condition is true ─► the best so far
    └─ until the next source promises nothing better ─► their places, in order

Zones of blocks are ranks (ranks.py), too: so where a sort key is the event time, or has many values, a few blocks are
all that is read. Needs no compiler.

Keys behind one that is not exact are not looked at, and all rows that tie with the last one are kept; otherwise the
place of a row settles what no key does, so that the answer is the same each time. Whoever is given the rows sorts them.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import chain
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa

from ...base.limits import TOP_ROWS_MAX, TOP_TIES_MAX
from ...storage.encoding import LOWEST
from ..expression.node import Expression
from ..gather import bytes_of, gathered
from ..held import Held
from ..layout import Layout
from ..projection import Projection
from ..scan_plan import Plan
from ..schema import Column
from .condition import Condition
from .ranks import FEW, PLACE, Ranked, SortKey, Stretch, View, picked_at, rejects_null, stretches_of
from .shape import NotCovered
from .work import Counting

SELECT_FIRST: Final = 8
SELECT_BLOCKS: Final = 96
"""Blocks whose first key is looked at together: fewer at first, since what is found in them leaves less of the next."""
SELECT_AT_ONCE: Final = 16
"""So many of them by one thread."""
LATER_ROWS: Final = 4_096
LATER_BLOCKS: Final = 16
"""Rows whose first key is good, and the blocks that they are of, are looked at further when there are so many."""

Ranks: TypeAlias = tuple[int, ...]


class Top:
    """The first ``count`` rows of what ``plan`` looks at for which ``condition`` is true.

    Making one raises NotCovered.
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
        work: Counting,
    ) -> None:
        if not 0 <= count <= TOP_ROWS_MAX:
            raise NotCovered("many rows are wanted")
        self._layout = layout
        self._version = version
        self._count = count
        self._condition = None if condition is None else Condition(condition, layout)
        self._work = work
        self._stretches = stretches_of(plan, layout)
        self._ranked, self.is_exact = self._keys(keys, condition)
        self._ranks = np.empty((0, len(self._ranked)), np.int64)
        self._places = np.empty(0, np.int64)
        self._last: Ranks | None = None
        self._later: list[np.ndarray] = []
        self._later_count = 0
        self.rows_read = 0
        self.blocks_read = 0

    def rows(self, columns: Sequence[Column], names: Sequence[str]) -> pa.Table:
        """The rows in the order of the keys. Raises NotCovered, LimitExceeded, Corrupt."""
        if self._count:
            self._search()
        found = np.lexsort((self._places, *self._ranks.T[::-1]))
        picked, order = picked_at(self._stretches, self._places[found])
        projection = Projection(columns)
        size = bytes_of(picked, columns)
        gathering, counted = self._work.counted(size), self._work.counted(size)
        batch = gathered(picked, projection).take(pa.array(order)) if len(order) else projection.nothing
        del gathering
        table = pa.Table.from_batches([batch.rename_columns(list(names))])
        Held.until_freed(counted, table)
        return table

    def _keys(self, keys: Sequence[SortKey], condition: Expression | None) -> tuple[list[Ranked], bool]:
        """The keys up to the first that is not exact, and whether that is all of them."""
        found: list[Ranked] = []
        for key in keys:
            column = self._layout.by_id[key.column]
            ranked = Ranked(key, column, never_null=rejects_null(condition, column))
            found.append(ranked)
            if not ranked.is_exact(self._stretches):
                return found, False
        return found, True

    # The search.

    def _search(self) -> None:
        """Go through the sources, the most promising first."""
        heap: list[tuple[Ranks, int, int, bool]] = []
        for number, stretch in enumerate(self._stretches):
            if stretch.count:
                heap.append((self._least(stretch), number, 0, stretch.blocks_count > 1))
        heapq.heapify(heap)
        waiting: list[tuple[int, int]] = []
        most = min(SELECT_FIRST, SELECT_BLOCKS)
        while heap:
            least, number, block, whole = heap[0]
            stretch = self._stretches[number]
            if self._is_behind(least, number << PLACE | stretch.first(block)):
                break
            heapq.heappop(heap)
            if whole:
                for ranks, inner in self._blocks(stretch):
                    heapq.heappush(heap, (ranks, number, inner, False))
                continue
            if self._last is None or not self._ranked or not self._ranked[0].selects(stretch):
                self._work.go_on()
                self._look(stretch, number, block)
                continue
            waiting.append((number, block))
            if len(waiting) == most:
                self._select(waiting)
                waiting, most = [], min(2 * most, SELECT_BLOCKS)
        self._select(waiting)
        self._settle()

    def _is_behind(self, least: Ranks, place: int) -> bool:
        """Whether no row is better that has at least these ranks, and this place."""
        if self._last is None:
            return False
        return (*least, place) > self._last if self.is_exact else least > self._last[:-1]

    def _least(self, stretch: Stretch) -> Ranks:
        """Ranks that no row of a stretch is before."""
        found: list[int] = []
        for key in self._ranked:
            zone = stretch.zone(key.column)
            found.append(LOWEST if zone is None else key.least(*zone))
        return tuple(found)

    def _blocks(self, stretch: Stretch) -> list[tuple[Ranks, int]]:
        columns: list[list[int]] = []
        for key in self._ranked:
            zones = stretch.zones(key.column)
            if zones is None:
                columns.append([LOWEST] * stretch.blocks_count)
                continue
            low, high, nulls = (side.tolist() for side in zones)
            columns.append([key.least(*one) for one in zip(low, high, nulls, strict=True)])
        ranks = list(zip(*columns, strict=True)) if columns else [()] * stretch.blocks_count
        return [(one, block) for block, one in enumerate(ranks)]

    def _look(self, stretch: Stretch, number: int, block: int) -> None:
        """Take what is good of one block."""
        self.blocks_read += 1
        self.rows_read += stretch.rows_count(block)
        if self._last is None or not self._ranked:
            rows, count = stretch.rows(block, self._version)
            self._look_at(View(stretch, block, count), rows, number)
            return
        if stretch.segment is None or stretch.chosen is not None:
            rows, count = stretch.rows(block, self._version)
            view = View(stretch, block, count)
            if rows is None:  # a chunk, in which few rows may be good
                rows = self._ranked[0].up_to(view, self._last[0])
        else:
            start, stop = stretch.spans[block]
            view = View(stretch, block, stop - start)
            rows = self._visible(stretch, self._ranked[0].up_to(view, self._last[0]) + start) - start
        if len(rows) * FEW > view.count:
            self._look_at(view, rows, number)
            return
        if len(rows):
            self._later.append(view.first + rows + (number << PLACE))
            self._later_count += len(rows)
        if self._later_count > LATER_ROWS or len(self._later) > LATER_BLOCKS:
            self._settle()

    def _select(self, waiting: list[tuple[int, int]]) -> None:
        """Take what is good of many blocks of segments: what is not, by their first key, is never put anywhere."""
        if not waiting:
            return
        self._work.go_on()
        assert self._last is not None, "there are enough"
        waiting.sort()  # those of a segment together
        key, last = self._ranked[0], self._last[0]
        blocks = [(self._stretches[number], block) for number, block in waiting]
        self.blocks_read += len(blocks)
        self.rows_read += sum(stretch.rows_count(block) for stretch, block in blocks)
        pieces = [blocks[at : at + SELECT_AT_ONCE] for at in range(0, len(blocks), SELECT_AT_ONCE)]
        found = chain.from_iterable(self._work.all(lambda piece: key.selected(piece, last), pieces))
        of: dict[int, list[np.ndarray]] = {}
        for (number, block), (stretch, _), rows in zip(waiting, blocks, found, strict=True):
            if len(rows) * FEW <= stretch.rows_count(block):
                of.setdefault(number, []).append(rows)
                continue
            start, stop = stretch.spans[block]
            self._look_at(View(stretch, block, stop - start), self._visible(stretch, rows) - start, number)
        for number, parts in of.items():
            rows = self._visible(self._stretches[number], np.concatenate(parts))
            if len(rows):
                self._later.append(rows + (number << PLACE))
        self._settle()

    def _visible(self, stretch: Stretch, rows: np.ndarray) -> np.ndarray:
        """Those of a segment's rows that are visible."""
        assert stretch.segment is not None, "it has blocks"
        return rows[stretch.segment.visible_among(self._version, rows)] if len(rows) else rows

    def _settle(self) -> None:
        """Look at the other columns of rows whose first key is good, those of many blocks at once."""
        if not self._later:
            return
        places = np.concatenate(self._later)
        self._later, self._later_count = [], 0
        picked, order = picked_at(self._stretches, places)
        places = places[np.argsort(order)]
        tested = [] if self._condition is None else self._condition.columns
        columns = {column.id: column for column in (*tested, *(key.column for key in self._ranked))}
        batch = gathered(picked, Projection(list(columns.values())))
        if self._condition is not None:
            truth = self._condition.truth(batch.select(range(len(tested))))
            batch, places = batch.filter(pa.array(truth)), places[truth]
        ids = list(columns)
        self._add([key.of_array(batch.column(ids.index(key.column.id))) for key in self._ranked], places)

    def _look_at(self, view: View, rows: np.ndarray | None, number: int) -> None:
        """Take what is good of visible rows of one block; ``rows`` None: all."""
        if rows is not None and not len(rows):
            return
        if self._last is not None:
            rows = self._before(view, rows, number)
        if self._condition is not None:
            rows = self._condition.passing(view, rows)
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
        self._add(ranks, view.first + rows + (number << PLACE))

    def _before(self, view: View, rows: np.ndarray | None, number: int) -> np.ndarray:
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
        kept = view.first + rows + (number << PLACE) < self._last[-1]
        return rows[kept if equal is None else kept | ~equal]

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
            if len(kept) > count + TOP_TIES_MAX:
                raise NotCovered("too many rows tie")
        self._ranks, self._places = self._ranks[kept], self._places[kept]
