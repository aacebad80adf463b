"""Changes of groups that are made of rows before they commit: it takes the rows alone, and no lock.

    commit asked for ─► rows ─► change per view (helpers)     ┊ apply: rows that go, the newest groups + change
                    └─► validate, append to the log ──────────┊

``apply`` uses a change only if it is that of the very rows and the very view that it has before it; else, and where the
log is replayed, it makes the change itself. Both are the same function of the rows. Large transactions group all that
they put (``EarlyLoad``); rows that they replace or delete are looked up and grouped by the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from ...base.errors import LimitExceeded, WeftError
from ...base.limits import VIEW_EARLY_BYTES_MAX
from ..beside import Task
from ..clock import monotonic
from .definition import Maintained
from .folded import Folded

if TYPE_CHECKING:
    from ..request import TableChanges

ROWS_MIN: Final = 4_096
"""Fewer rows are grouped faster than they are handed over."""


class Early:
    """What ``batch``, rows that are about to be put, adds to groups. ``rows``: the same, named by identifier."""

    def __init__(self, batch: pa.RecordBatch, rows: pa.RecordBatch, views: Sequence[Maintained]) -> None:
        self.batch = batch
        self.rows_count = rows.num_rows
        names = set(rows.schema.names)
        self._tasks = {
            view.id: (view, Task(partial(_change, view, rows)))
            for whole in views
            for view in whole.parts
            if names.issuperset(map(str, view.reads))
        }

    def change_of(self, view: Maintained) -> tuple[pa.RecordBatch, float] | None:
        """The change that all the rows come to, and the seconds that it took; None where there is none."""
        made = self._tasks.get(view.id)
        if made is None or made[0] is not view:
            return None
        try:
            return made[1].result()
        except WeftError:  # rows that cannot be grouped are refused; if they are not, apply will tell
            return None

    def drop(self) -> None:
        """The rows do not come."""
        for _, task in self._tasks.values():
            task.drop()


class EarlyLoad:
    """What all rows that a large transaction puts add to groups. ``rows`` gives some columns of them, by identifier."""

    def __init__(
        self, rows: Callable[[Sequence[int]], Iterable[pa.RecordBatch]], rows_count: int, views: Sequence[Maintained]
    ) -> None:
        began = monotonic()
        self.rows_count = rows_count
        plain = [view for view in views if len(view.tables) == 1 + len(view.forgotten_parts)]
        folded = {view.id: Folded(view, bytes_max=VIEW_EARLY_BYTES_MAX) for view in plain}
        columns = sorted({id for view in plain for id in view.reads})
        for batch in rows(columns) if plain else ():
            for view in plain:
                if view.id in folded:
                    try:
                        folded[view.id].add(_change(view, batch)[0])
                    except WeftError:  # too many groups; or rows that cannot be grouped, which the commit will tell
                        del folded[view.id]
        self._changes: dict[int, tuple[Maintained, list[pa.RecordBatch]]] = {}
        for view in plain:
            if view.id in folded:
                with suppress(LimitExceeded):
                    self._changes[view.id] = view, list(folded[view.id].groups())
        self.seconds = (monotonic() - began) / max(len(plain), 1)  # of each view

    def changes_of(self, view: Maintained) -> list[pa.RecordBatch] | None:
        """The change that the rows come to, in pieces with different groups; None where there is none."""
        made = self._changes.get(view.id)
        return None if made is None or made[0] is not view else made[1]


def early_of(changes: TableChanges, views: Sequence[Maintained]) -> tuple[Early, ...]:
    """Of the batches that are put, those that are worth it."""
    from ..apply import named_by_id
    from ..conflict import row_ids_of

    return tuple(
        Early(rows, named_by_id(rows, row_ids_of(changes.table, rows)), views)
        for rows in changes.puts
        if rows.num_rows >= ROWS_MIN
    )


def _change(view: Maintained, rows: pa.RecordBatch) -> tuple[pa.RecordBatch, float]:
    began = monotonic()
    change = view.grouper.change_of(rows.select([str(id) for id in view.reads]), 1)
    return change, monotonic() - began
