"""The groups of rows that exist when a materialized view is made, while others go on writing.

    snapshot ──► rows, some at a time ──► changes, combined ──► groups, in the transaction's write set (spills as any)
    commit   ──► rows that began and ended since ──► change ──► groups ──► again, until these are few
             ──► under the commit lock the last ones ──► one record: definition and groups

So the view is there at one version, exact, or (after a crash, a cancellation, an error) not at all; and nobody waits
for more than the last few rows. From that record on ``apply`` keeps the groups, also of what the same transaction
writes: the record has the groups first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...base.limits import VIEW_BUILD_BYTES_MAX
from ..schema import Table
from .definition import Maintained
from .folded import Folded

if TYPE_CHECKING:
    from ..progress import Progress
    from ..snapshot import Snapshot
    from ..transaction import Transaction


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
        folded = Folded(self.view, bytes_max=VIEW_BUILD_BYTES_MAX)
        for rows in snapshot.scan(self.base, columns=self._columns).batches():
            folded.add(self.view.grouper.change_of(rows.rename_columns(self._names), 1))
            progress.read(rows.num_rows)
        for groups in folded.groups():
            progress.enter("writing groups")
            transaction.put_groups(self.groups, groups)

    def catch_up(self, transaction: Transaction, now: Snapshot) -> int:
        """Make them right for the rows of ``now``; returns how many had changed."""
        folded, count = Folded(self.view, bytes_max=VIEW_BUILD_BYTES_MAX), 0
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
