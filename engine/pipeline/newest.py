"""The first row of each group in some order, such as the newest of each customer, read late.

    views ─► rows that are visible and pass ─► number of their group, ranks (ranks.py) ─► the best of each group so far
    └─ in the end: the rows' other columns, for these alone

Groups are numbered by the values of their key columns: where these lie close together a group's number is told from
its values, as in packing.py, else it is looked up. A row's place settles what the order does not, so that the answer is
the same each time. Needs no compiler.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ...base.types import Kind
from ..expression.node import Expression
from ..kernels.newest import keep_best
from ..kernels.pieces import place_all
from ..layout import Layout
from ..scan_plan import Plan
from ..schema import Column
from .condition import Condition
from .describe import INTEGERS
from .late import late_rows
from .pieces import bounds_of
from .ranks import PLACE, Ranked, SortKey, Stretch, View, rejects_null, stretches_of
from .shape import NotCovered
from .work import Counting

GROUPS_MAX: Final = 1 << 24
"""Groups that have a number each, whether they are there or not."""
SPARSE: Final = 8
"""So many possible groups for one row are too many."""
LOOKED_UP_MAX: Final = 1 << 20
"""Rows of a table whose groups are looked up."""


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
        work: Counting,
    ) -> None:
        self._layout = layout
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
        self._groups = [_GroupKey(layout.by_id[id], plan, layout, self._stretches, version=version) for id in groups]
        count = 1
        for key in self._groups:
            key.stride = count
            count *= key.size
            if count >= 1 << 62:
                raise NotCovered("groups have too many values")
        self._table = None
        if count > GROUPS_MAX or count > SPARSE * plan.rows_count + 1_024:
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


class _GroupKey:
    """A column whose values make groups: ``size`` digits, the last of them NULL's."""

    def __init__(
        self, column: Column, plan: Plan, layout: Layout, stretches: Sequence[Stretch], *, version: int
    ) -> None:
        self._column = column
        self.stride = 1
        self._numbers: dict[int, np.ndarray] = {}
        if column.type.kind is Kind.TEXT:
            self._low, self.size = 0, self._number(stretches, version) + 1
        elif column.type.kind in INTEGERS:
            self._low, high = bounds_of(plan, layout, column.id, version=version)
            self.size = high - self._low + 2
        else:
            raise NotCovered(f"its groups are of {column.type}")

    def digits(self, view: View, rows: np.ndarray | None, number: int) -> np.ndarray:
        """What rows of a view add to the numbers of their groups."""
        if self._column.type.kind is Kind.TEXT:
            found = view.codes(self._column, rows)
            digits, valid = self._numbers[number][found.values], found.valid
        else:
            found = view.numbers(self._column, rows)
            digits, valid = found.values - self._low, found.valid
        if valid is not None:
            digits = np.where(valid.view(np.bool_), digits, self.size - 1)
        return digits * self.stride if self.stride > 1 else digits

    def _number(self, stretches: Sequence[Stretch], version: int) -> int:
        """Number the texts of all dictionaries; gives how many there are."""
        chunks: list[pa.Array] = []
        for stretch in stretches:
            texts = stretch.dictionary(self._column, version)
            if texts is None:
                raise NotCovered(f"{self._column.name} has too many different values")
            chunks.append(texts)
        encoded: Any = pa.chunked_array(chunks, pa.string()).dictionary_encode()
        at, indices = 0, encoded.combine_chunks()
        indices = indices.indices.to_numpy(zero_copy_only=False) if len(encoded) else np.empty(0, np.int64)
        for number, texts in enumerate(chunks):
            self._numbers[number] = np.zeros(len(texts) + 1, np.int64)
            self._numbers[number][:-1] = indices[at : at + len(texts)]
            at += len(texts)
        return int(indices.max(initial=-1)) + 1
