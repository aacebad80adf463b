"""Changes of groups that are made of rows before they commit: it takes the rows alone, and no lock.

    commit asked for ─► rows ─► difference per view (helpers) ┊ apply: rows that go, the newest groups + difference
                    └─► validate, append to the log ──────────┊

``apply`` uses a difference (difference.py) only if it is that of the very rows and the very view that it has before it;
else, and where the log is replayed, it makes it itself. Both are the same function of the rows. Large transactions
group all that they put (``EarlyLoad``); rows that they replace or delete are looked up and grouped by the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from ...base.errors import LimitExceeded, WeftError
from ...base.limits import VIEW_EARLY_BYTES_MAX
from ..beside import Task
from ..clock import monotonic
from .definition import Maintained
from .difference import Difference, combined, difference_of, pieces
from .folded import CHANGE_ROWS

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
            view.id: (view, Task(partial(_difference, view, rows)))
            for view in views
            if names.issuperset(map(str, view.reads))
        }

    def difference_of(self, view: Maintained) -> tuple[Difference, float] | None:
        """What all the rows come to, and the seconds that it took; None where that is not known."""
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
        wholes = {view.id: _Whole(view, bytes_max=VIEW_EARLY_BYTES_MAX // len(views)) for view in views}
        columns = sorted({id for view in views for id in view.reads})
        for batch in rows(columns) if views else ():
            for id, whole in list(wholes.items()):
                try:
                    whole.add(_difference(whole.view, batch)[0])
                except WeftError:  # too many groups; or rows that cannot be grouped, which the commit will tell
                    del wholes[id]
        self._pieces = {id: (whole.view, whole.pieces()) for id, whole in wholes.items()}
        self.seconds = (monotonic() - began) / max(len(views), 1)  # of each view

    def pieces_of(self, view: Maintained) -> list[Difference] | None:
        """What the rows come to, in pieces with different groups; None where that is not known."""
        made = self._pieces.get(view.id)
        return None if made is None or made[0] is not view else made[1]


class _Whole:
    """Differences that are added up: seldom, since values of many rows are mostly different ones."""

    def __init__(self, view: Maintained, *, bytes_max: int) -> None:
        self.view = view
        self._bytes_max = bytes_max
        self._differences: list[Difference] = []
        self._bytes_count = 0

    def add(self, difference: Difference) -> None:
        """Raises LimitExceeded where it is too much."""
        self._differences.append(difference)
        self._bytes_count += difference.bytes_count
        if self._bytes_count > self._bytes_max:
            self._differences = [combined(self.view, self._differences)]
            self._bytes_count = self._differences[0].bytes_count
            if self._bytes_count > self._bytes_max // 2:
                raise LimitExceeded(f"the groups of a large transaction take {self._bytes_count:,} bytes")

    def pieces(self) -> list[Difference]:
        found = self._differences
        return list(pieces(combined(self.view, found), rows_max=CHANGE_ROWS)) if found else []


def early_of(changes: TableChanges, views: Sequence[Maintained]) -> tuple[Early, ...]:
    """Of the batches that are put, those that are worth it."""
    from ..apply import named_by_id
    from ..conflict import row_ids_of

    return tuple(
        Early(rows, named_by_id(rows, row_ids_of(changes.table, rows)), views)
        for rows in changes.puts
        if rows.num_rows >= ROWS_MIN
    )


def _difference(view: Maintained, rows: pa.RecordBatch) -> tuple[Difference, float]:
    began = monotonic()
    difference = difference_of(view, rows.select([str(id) for id in view.reads]), 1)
    return difference, monotonic() - began
