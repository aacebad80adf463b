"""The rows of a table for which a condition is true that zones know nothing of, read late.

    some views, far apart ─► most rows pass? then the executor is as fast
    all views ─► rows that are visible and pass ─► their other columns, for these alone

What scans hand to the executor is filtered by comparisons with constants alone (sieve.py); with a condition that
computes all columns of all rows would be handed over. Needs no compiler. Every row is asked: where the condition fails
for one, the executor says what that means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from ..expression.node import Expression
from ..layout import Layout
from ..scan_plan import Plan
from ..schema import Column
from .condition import Condition
from .late import late_rows
from .ranks import View, stretches_of
from .shape import NotCovered
from .work import Counting

SHARE: Final = 16
"""Where more than one row in so many passes, the executor filters: that it reads all columns of all rows then costs
little more."""
LOOKED_AT: Final = 6
"""Views that tell how many rows pass."""
FEW_ROWS: Final = 1 << 17
"""So many rows may pass whatever their share is."""


class Passing:
    def __init__(self, plan: Plan, layout: Layout, *, version: int, condition: Expression, work: Counting) -> None:
        self._version = version
        self._condition = Condition(condition, layout)
        self._work = work
        self._stretches = stretches_of(plan, layout, whole=True)
        self._tasks = [
            (number, block) for number, stretch in enumerate(self._stretches) for block in range(stretch.blocks_count)
        ]
        self.rows_read = sum(self._stretches[number].rows_count(block) for number, block in self._tasks)

    def rows(self, columns: Sequence[Column], names: Sequence[str]) -> pa.Table:
        """The rows, as they lie. Raises NotCovered, LimitExceeded, Corrupt."""
        known: dict[tuple[int, int], np.ndarray] = {}
        if len(self._tasks) > 2 * LOOKED_AT:
            first = self._tasks[:: -(-len(self._tasks) // LOOKED_AT)]
            known = dict(zip(first, self._work.all(self._look, first), strict=True))
            looked_at = sum(self._stretches[number].rows_count(block) for number, block in first)
            passed = sum(map(len, known.values()))
            if passed * SHARE > looked_at and passed * self.rows_read > FEW_ROWS * looked_at:
                raise NotCovered("many rows pass")
        rest = [task for task in self._tasks if task not in known]
        known |= zip(rest, self._work.all(self._look, rest), strict=True)
        of_stretches: dict[int, list[np.ndarray]] = {}
        for number, block in self._tasks:
            rows = known[number, block]
            if len(rows):
                of_stretches.setdefault(number, []).append(rows)
        found = [(self._stretches[number], np.concatenate(rows)) for number, rows in of_stretches.items()]
        return late_rows(found, columns, names, work=self._work)

    def _look(self, task: tuple[int, int]) -> np.ndarray:
        """The rows of a view that are visible and pass, counted in its segment or chunk."""
        number, block = task
        stretch = self._stretches[number]
        rows, count = stretch.rows(block, self._version)
        view = View(stretch, block, count)
        passing = self._condition.passing(view, rows) + view.first
        return self._work.made(passing.nbytes, lambda: passing)
