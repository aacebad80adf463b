"""The first row of each group in some order, such as the newest of each customer, read late.

    views ─► rows that are visible and pass ─► number of their group, ranks (ranks.py) ─► the best of each group so far
    └─ in the end: the rows' other columns, for these alone

Groups are numbered by the values of their key columns, of texts by their numbers (texts.py): where these lie close
together a group's number is told from its values, as in packing.py, else it is looked up. A row's place settles what
the order does not, so that the answer is the same each time. Needs no compiler.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ...base.limits import NEWEST_GROUPS_MAX
from ...storage.column_values import constant_array, variable_of
from ..column_store import VariableColumn
from ..expression.node import Expression
from ..kernels.newest import keep_best
from ..kernels.pieces import place_all
from ..layout import Layout
from ..projection import missing_value
from ..scan_plan import Plan
from ..schema import Column
from .condition import Condition
from .describe import INTEGERS
from .late import late_rows
from .pieces import bounds_of
from .ranks import PLACE, Ranked, SortKey, Stretch, View, rejects_null, stretches_of
from .shape import NotCovered
from .texts import Need, Numbering, Numbers, Texts
from .work import Counting

SPARSE: Final = 8
"""With more possible groups for each row than so many, most places stay empty: making them takes longer than looking
groups up."""
LOOKED_UP_MAX: Final = 1 << 20
"""Groups are looked up by one thread at a time: with more rows the executor's threads are as fast."""


class Newest:
    """Making one raises NotCovered."""

    def __init__(
        self,
        plan: Plan,
        layout: Layout,
        *,
        version: int,
        groups: Sequence[int],
        keys: Sequence[SortKey],
        condition: Expression | None,
        texts: Texts,
        need: Need,
        work: Counting,
    ) -> None:
        self._version = version
        self._condition = None if condition is None else Condition(condition, layout)
        self._work = work
        self._stretches = stretches_of(plan, layout, whole=True)
        self._ranked: list[Ranked] = []
        for key in keys:
            column = layout.by_id[key.column]
            ranked = Ranked(key, column, never_null=rejects_null(condition, column))
            if not ranked.is_exact(self._stretches):
                raise NotCovered(f"{column.name} is long text")
            self._ranked.append(ranked)
        self._groups = [
            _TextKey(column, layout, self._stretches, version=version, texts=texts, need=need, work=work)
            if column.type.is_text
            else _IntegerKey(column, plan, layout, version=version)
            for column in map(layout.by_id.__getitem__, groups)
        ]
        count = 1
        for key in self._groups:
            key.stride = count
            count *= key.size
            if count >= 1 << 62:
                raise NotCovered("groups have too many values")
        self._table = None
        if count > NEWEST_GROUPS_MAX or count > SPARSE * plan.rows_count + 1_024:
            if plan.rows_count > LOOKED_UP_MAX:
                raise NotCovered("groups have too many values")
            count = 1 << max((2 * plan.rows_count).bit_length(), 4)
            self._table = self._work.made(8 * count, lambda: np.zeros(count, np.int64))
            self._used = np.zeros(1, np.int64)
        self._best_places = self._work.made(8 * count, lambda: np.full(count, -1, np.int64))
        self._best_ranks = self._work.made(8 * count * len(keys), lambda: np.empty((count, len(keys)), np.int64))
        self._lock = threading.Lock()
        self.rows_read = sum(
            stretch.rows_count(block) for stretch in self._stretches for block in range(stretch.blocks_count)
        )

    def rows(self, columns: Sequence[Column], names: Sequence[str]) -> pa.Table:
        """One row of each group. Raises NotCovered, LimitExceeded, Corrupt."""
        tasks = [
            (number, block) for number, stretch in enumerate(self._stretches) for block in range(stretch.blocks_count)
        ]
        self._work.all(self._look, tasks)
        places = np.sort(self._best_places.take(np.flatnonzero(self._best_places >= 0)))
        cuts = np.flatnonzero(np.diff(places >> PLACE)) + 1
        found = [
            (self._stretches[int(some[0] >> PLACE)], some & ((1 << PLACE) - 1))
            for some in np.split(places, cuts)
            if len(some)
        ]
        return late_rows(found, columns, names, work=self._work)

    def _look(self, task: tuple[int, int]) -> None:
        """Take the best rows of one view."""
        number, block = task
        stretch = self._stretches[number]
        rows, count = stretch.rows(block, self._version)
        view = View(stretch, block, count)
        if self._condition is not None:
            rows = self._condition.passing(view, rows)
        if rows is not None and not len(rows):
            return
        groups: Any = np.zeros(count if rows is None else len(rows), np.int64)
        for key in self._groups:
            groups += key.digits(view, rows, number)
        ranks = np.empty((len(groups), len(self._ranked)), np.int64)
        for place, ranked in enumerate(self._ranked):
            ranks[:, place] = ranked.of(view, rows)
        places = np.arange(count) if rows is None else rows
        places = places + (view.first + (number << PLACE))
        with self._lock:
            if self._table is not None:
                place_all(self._table, groups + 1, self._used, groups)
            keep_best(groups, ranks, places, self._best_ranks, self._best_places)


class _IntegerKey:
    """A column of integers whose values make groups: ``size`` digits, the last of them NULL's."""

    def __init__(self, column: Column, plan: Plan, layout: Layout, *, version: int) -> None:
        if column.type.kind not in INTEGERS:
            raise NotCovered(f"its groups are of {column.type}")
        self._column = column
        self._low, high = bounds_of(plan, layout, column.id, version=version)
        self.size = high - self._low + 2
        self.stride = 1

    def digits(self, view: View, rows: np.ndarray | None, number: int) -> np.ndarray:
        """What rows of a view of a stretch add to the numbers of their groups."""
        del number
        found = view.numbers(self._column, rows)
        return _digits(found.values - self._low, found.valid, self)


class _TextKey:
    """A column of texts whose values make groups: digits are the texts' numbers (texts.py), the last one is NULL's."""

    def __init__(
        self,
        column: Column,
        layout: Layout,
        stretches: Sequence[Stretch],
        *,
        version: int,
        texts: Texts,
        need: Need,
        work: Counting,
    ) -> None:
        self._column = column
        self.stride = 1
        there = dict.fromkeys(
            stretch.segment
            for stretch in stretches
            if stretch.segment is not None and column.id in stretch.segment.description.columns
        )
        numbering = texts.of(layout.table.id, column, list(there), work, need=need)
        if numbering is None:
            raise NotCovered(f"{column.name} has too many different values")
        stores = [
            (store, stretch.rows(0, version)[1])
            for stretch in stretches
            if stretch.chunk is not None and isinstance(store := stretch.chunk.columns.get(column.id), VariableColumn)
        ]
        numbering.extend_rows(stores, work)
        self._numbers = [_numbers(stretch, column, numbering, version) for stretch in stretches]
        self.size = numbering.count + 1

    def digits(self, view: View, rows: np.ndarray | None, number: int) -> np.ndarray:
        """What rows of a view of a stretch add to the numbers of their groups."""
        of = self._numbers[number]
        if of.by_row:
            places: slice | np.ndarray = slice(view.first, view.first + view.count)
            if rows is not None:
                places = rows + view.first
            found, valid = of.numbers[places], None if of.valid is None else of.valid[places]
        else:
            codes = view.numbers(self._column, rows)
            found, valid = of.numbers[codes.values], codes.valid
        return _digits(found.astype(np.int64), valid, self)


def _numbers(stretch: Stretch, column: Column, numbering: Numbering, version: int) -> Numbers:
    """Of what codes a stretch has of its texts, or of its rows."""
    if stretch.segment is not None and (found := numbering.of(stretch.segment)) is not None:
        return found
    count = stretch.rows(0, version)[1] if stretch.segment is None else stretch.segment.rows_count
    store = None if stretch.chunk is None else stretch.chunk.columns.get(column.id)
    if isinstance(store, VariableColumn):
        found = numbering.of_rows(store, count)
        return replace(found, valid=None if store.valid is None else store.valid[:count])
    missing = numbering.of_values(variable_of(constant_array(missing_value(column), 1, column.type), column.type))
    valid = None if missing.valid is None else np.broadcast_to(missing.valid, count)
    return Numbers(numbers=np.broadcast_to(missing.numbers[:1], count), by_row=True, valid=valid)


def _digits(values: np.ndarray, valid: np.ndarray | None, key: _IntegerKey | _TextKey) -> np.ndarray:
    if valid is not None:
        values = np.where(valid.view(np.bool_), values, key.size - 1)
    return values * key.stride if key.stride > 1 else values
