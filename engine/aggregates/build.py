"""The groups of rows that exist when a materialized view is made, while others go on writing.

    snapshot ──► rows, some at a time ──► changes, combined ──► groups, in the transaction's write set (spills as any)
    commit   ──► rows that began and ended since ──► change ──► groups ──► again, until these are few
             ──► under the commit lock the last ones ──► one record: definition and groups

So the view is there at one version, exact, or (after a crash, a cancellation, an error) not at all; and nobody waits
for more than the last few rows. From that record on ``apply`` keeps the groups, also of what the same transaction
writes: the record has the groups first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from ...base.errors import LimitExceeded
from ...base.limits import VIEW_BUILD_BYTES_MAX
from ..schema import Table
from .definition import Maintained

if TYPE_CHECKING:
    from ..progress import Progress
    from ..snapshot import Snapshot
    from ..transaction import Transaction

_CHANGE_ROWS: Final = 1 << 16
"""Rows, or groups, that are grouped at once."""


class BuildingView:
    """The groups of one view that a transaction makes. ``version``: that of the rows that they are right for."""

    def __init__(self, view: Maintained, groups: Table, base: Table, *, version: int) -> None:
        self.view = view
        self.groups = groups
        self.base = base
        self.version = version
        self.tables = frozenset((view.id,))
        self._columns = list(view.reads)
        self._names = [str(id) for id in self._columns]

    def write_all(self, transaction: Transaction, snapshot: Snapshot, progress: Progress) -> None:
        """Write the groups of all rows of the snapshot. Raises LimitExceeded, and Invalid for a row that fails."""
        folded = _Folded(self.view)
        for rows in snapshot.scan(self.base, columns=self._columns).batches():
            folded.add(self.view.grouper.change_of(rows.rename_columns(self._names), 1))
            progress.read(rows.num_rows)
        for groups in folded.groups():
            progress.enter("writing groups")
            transaction.put_groups(self.groups, groups)

    def catch_up(self, transaction: Transaction, now: Snapshot) -> int:
        """Make them right for the rows of ``now``; returns how many had changed."""
        folded, count = _Folded(self.view), 0
        for changes in now.store(self.base).changes(self.version, now.version, columns=self._columns):
            for rows, sign in ((changes.begun, 1), (changes.ended, -1)):
                if rows.num_rows:
                    count += rows.num_rows
                    rows = rows.select(range(len(self._columns))).rename_columns(self._names)
                    folded.add(self.view.grouper.change_of(rows, sign))
        self.version = now.version
        grouper = self.view.grouper
        for change in folded.groups():
            found, places = transaction.find_entries(self.groups, change.select(grouper.key_names))
            puts, gone = grouper.changed(change, found, places)
            transaction.delete_entries(self.groups, gone)
            transaction.put_groups(self.groups, puts)
        return count


class _Folded:
    """Changes that are added up, a few at a time, so that what is held is little more than the groups."""

    def __init__(self, view: Maintained) -> None:
        self._view = view
        self._changes: list[pa.RecordBatch] = []
        self._rows = 0
        self._folded_rows = 0  # of the first of them, which is what all before came to

    def add(self, change: pa.RecordBatch) -> None:
        if not change.num_rows:
            return
        self._changes.append(change)
        self._rows += change.num_rows
        if self._rows > 2 * self._folded_rows + _CHANGE_ROWS:
            self._fold()

    def groups(self) -> Iterator[pa.RecordBatch]:
        """The sums, some groups at a time."""
        self._fold()
        for change in self._changes:
            for start in range(0, change.num_rows, _CHANGE_ROWS):
                yield change.slice(start, _CHANGE_ROWS)

    def _fold(self) -> None:
        if len(self._changes) > 1:
            self._changes = [self._view.grouper.combined(self._changes)]
        self._rows = self._folded_rows = sum(change.num_rows for change in self._changes)
        held = sum(change.nbytes for change in self._changes)
        if held > VIEW_BUILD_BYTES_MAX:
            raise LimitExceeded(
                f"the materialized view has more than {self._rows:,} groups, which take {held:,} bytes to build; at "
                f"most {VIEW_BUILD_BYTES_MAX:,} may be held",
                hint="Group by fewer columns, or by wider buckets.",
            )
