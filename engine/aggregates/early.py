"""Changes of groups that are made of rows before they commit: it takes the rows alone, and no lock.

    commit asked for ─► rows ─► difference per view (helpers) ┊ apply: rows that go, the newest groups + difference
                    └─► validate, append to the log ──────────┊

``apply`` uses a difference (difference.py) only if it is that of the very rows and the very view that it has before it;
else, and where the log is replayed, it makes it itself. Both are the same function of the rows. Large transactions
group all that they put (``EarlyLoad``); rows that they replace or delete are looked up and grouped by the commit.

    rows ─ hash of the group ─► parts (_Whole) ─► a difference of each part, which has no group of another

So values are grouped once, a part at a time, which the cache holds; to group them as they come and once more what that
came to took three times as long, since nearly all values of many rows are different.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from ...base.errors import LimitExceeded, WeftError
from ...base.limits import VIEW_EARLY_BYTES_MAX
from ..beside import Task
from ..clock import monotonic
from .definition import Maintained
from .difference import Difference, combined, difference_of, pieces, sorted_by
from .folded import CHANGE_ROWS

if TYPE_CHECKING:
    from ..request import TableChanges

ROWS_MIN: Final = 4_096
"""Fewer rows are grouped faster than they are handed over."""

_PIECE_ROWS: Final = 4 * CHANGE_ROWS
"""Groups and values that are applied at once. A part has about ``CHANGE_ROWS`` rows, so it mostly stays whole."""


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
        bytes_max = VIEW_EARLY_BYTES_MAX // max(len(views), 1)
        wholes = {view.id: _Whole(view, rows_count=rows_count, bytes_max=bytes_max) for view in views}
        columns = sorted({id for view in views for id in view.reads})
        for batch in rows(columns) if views else ():
            for id, whole in list(wholes.items()):
                with suppress(WeftError):
                    whole.add(batch)
                    continue
                del wholes[id]  # too many groups; or rows that cannot be grouped, which the commit will tell
        self._pieces: dict[int, tuple[Maintained, list[Difference]]] = {}
        for id, whole in wholes.items():
            with suppress(WeftError):
                self._pieces[id] = whole.view, whole.pieces()
        self.seconds = (monotonic() - began) / max(len(views), 1)  # of each view

    def pieces_of(self, view: Maintained) -> list[Difference] | None:
        """What the rows come to, in pieces with different groups; None where that is not known."""
        made = self._pieces.get(view.id)
        return None if made is None or made[0] is not view else made[1]


class _Whole:
    """What the rows come to that ``add`` is given.

    Rows of a view with values, of which most are different ones, are kept until there are many, in parts by the hashes
    of their groups; what a part comes to has no group of another. All other rows are grouped as they come.
    """

    def __init__(self, view: Maintained, *, rows_count: int, bytes_max: int) -> None:
        self.view = view
        self._rows_bytes_max = bytes_max // 4
        self._bytes_max = bytes_max - self._rows_bytes_max
        apart = view.value_views and view.keys
        self._bits = min((rows_count // CHANGE_ROWS).bit_length(), 16) if apart else 0
        self._rows: list[tuple[pa.RecordBatch, Sequence[int]]] = []  # and where each part begins
        self._rows_bytes = 0
        self._parts: list[list[Difference]] = [[] for _ in range(1 << self._bits)]
        self._bytes_count = 0

    def add(self, rows: pa.RecordBatch) -> None:
        """Raises LimitExceeded where it is too much."""
        rows, _ = self.view.grouper.kept(rows.select([str(id) for id in self.view.reads]), 1)
        if not self._bits:
            self._group(self._parts[0], rows)
            return
        numbers = (self.view.grouper.hashes_of(rows) >> np.uint64(64 - self._bits)).astype(np.uint16)
        order, bounds = sorted_by(numbers, len(self._parts))
        self._rows.append((rows.take(pa.array(order)), bounds))
        self._rows_bytes += rows.nbytes
        if self._rows_bytes > self._rows_bytes_max:
            self._group_rows()

    def pieces(self) -> list[Difference]:
        """All of it. Raises LimitExceeded."""
        self._group_rows()
        parts = [combined(self.view, part) for part in self._parts if part]
        return [piece for part in parts for piece in pieces(part, rows_max=_PIECE_ROWS)]

    def _group_rows(self) -> None:
        if not self._rows:
            return
        for number, part in enumerate(self._parts):
            own = [rows.slice(bounds[number], bounds[number + 1] - bounds[number]) for rows, bounds in self._rows]
            self._group(part, pa.concat_batches(own))
        self._rows, self._rows_bytes = [], 0

    def _group(self, part: list[Difference], rows: pa.RecordBatch) -> None:
        if not rows.num_rows:
            return
        part.append(difference_of(self.view, rows, 1))
        self._bytes_count += part[-1].bytes_count
        if self._bytes_count > self._bytes_max:
            for other in filter(None, self._parts):
                other[:] = [combined(self.view, other)]
            self._bytes_count = sum(each.bytes_count for part in self._parts for each in part)
            if self._bytes_count > self._bytes_max // 2:
                raise LimitExceeded(f"the groups of a large transaction take {self._bytes_count:,} bytes")


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
