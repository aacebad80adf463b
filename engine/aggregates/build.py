"""The groups of rows that exist when a materialized view is made, while others go on writing.

    snapshot ──► rows, some at a time ──► changes, combined ──► groups, in the transaction's write set (spills as any)
    commit   ──► rows that began and ended since ──► change ──► groups ──► again, until these are few
             ──► under the commit lock the last ones ──► one record: definition and groups

So the view is there at one version, exact, or (after a crash, a cancellation, an error) not at all; and nobody waits
for more than the last few rows. From that record on ``apply`` keeps the groups, also of what the same transaction
writes: the record has the groups first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ...base.errors import Invalid, LimitExceeded
from ...base.limits import VIEW_BUILD_BYTES_MAX
from ...base.types import no_rows
from .. import interrupts
from ..cells import TableStore
from ..expression.evaluate import without_row
from ..indexes import NEWEST
from ..schema import Table
from .definition import Maintained
from .folded import CHANGE_ROWS, Folded
from .maintain import seek_in
from .values import Counted, counted, kept_of

if TYPE_CHECKING:
    from ..progress import Progress
    from ..snapshot import Snapshot
    from ..transaction import Transaction


class BuildingView:
    """The groups of one view that a transaction makes. ``version``: that of the rows that they are right for.

    The tables of its values (values.py) are held beside the transaction's writes: there the next value is sought where
    the extreme one of a group went meanwhile.
    """

    def __init__(self, view: Maintained, groups: Table, base: Table, *, version: int) -> None:
        self.view = view
        self.groups = groups
        self.base = base
        self.version = version
        self.tables = frozenset(table.id for table in view.tables)
        self._columns = list(view.reads)
        self._names = [str(id) for id in self._columns]
        self._values = [TableStore(values.table) for values in view.value_views]
        self._rounds = 0

    def write_all(self, transaction: Transaction, snapshot: Snapshot, progress: Progress) -> None:
        """Write the groups of all rows of the snapshot. Raises LimitExceeded, and Invalid for a row that fails."""
        folded = self._folded()
        for rows in snapshot.scan(self.base, columns=self._columns).batches():
            rows = rows.rename_columns(self._names)
            for part in folded:
                part.add(self._change_of(part.view, rows, 1))
            progress.read(rows.num_rows)
        progress.enter("writing groups")
        self._write(transaction, folded)

    def catch_up(self, transaction: Transaction, now: Snapshot) -> int:
        """Make them right for the rows of ``now``; returns how many had changed."""
        folded, count = self._folded(), 0
        for changes in now.store(self.base).changes(self.version, now.version, columns=self._columns):
            for rows, sign in ((changes.begun, 1), (changes.ended, -1)):
                if rows.num_rows:
                    count += rows.num_rows
                    rows = rows.select(range(len(self._columns))).rename_columns(self._names)
                    for part in folded:
                        part.add(self._change_of(part.view, rows, sign))
        self.version = now.version
        self._write(transaction, folded)
        return count

    def _change_of(self, view: Maintained, rows: pa.RecordBatch, sign: int) -> pa.RecordBatch:
        try:
            return view.grouper.change_of(rows, sign)
        except Invalid as error:
            raise Invalid(
                f'the view cannot be computed of a row of "{self.base.name}": {without_row(error)}',
                hint="Leave such rows out by WHERE, or compute something else of them by CASE.",
                sqlstate=error.sqlstate,
            ) from None

    def _folded(self) -> list[Folded]:
        return [Folded(view, bytes_max=VIEW_BUILD_BYTES_MAX) for view in self.view.parts]

    def _write(self, transaction: Transaction, folded: Sequence[Folded]) -> None:
        """Add changes of the groups, and of their values, to those that the transaction has written."""
        groups, *values = folded
        self._rounds += 1
        counts = [self._count(transaction, *pair) for pair in zip(values, self._values, strict=True)]
        grouper = self.view.grouper
        for change in [groups.whole()] if counts else groups.groups():  # all values are of one of these groups
            keys = change.select(grouper.key_names)
            had = grouper.had(change, *self._known(transaction, keys))
            kept = kept_of(self.view, keys, had, counts, [seek_in(store) for store in self._values])
            puts, gone = grouper.changed(change, had, kept)
            transaction.delete_entries(self.groups, gone)
            self._put(transaction, self.groups, puts)

    def _known(self, transaction: Transaction, keys: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray]:
        """The groups that are written already."""
        if self._rounds > 1:
            return transaction.find_entries(self.groups, keys)
        return no_rows(self.groups.arrow_schema), np.empty(0, np.int64)

    def _count(self, transaction: Transaction, folded: Folded, store: TableStore) -> Counted:
        """Write what has become of the values, and hold it."""
        change = folded.whole()
        keys = change.select(folded.view.grouper.key_names)
        values = counted(folded.view, change, *store.get_many(keys, version=NEWEST))
        puts, gone = values.puts, values.gone
        store.apply_delete(gone, version=self._rounds)
        store.apply_put(puts, version=self._rounds)
        if store.bytes_used > VIEW_BUILD_BYTES_MAX:
            raise LimitExceeded(
                f"the materialized view has more than {store.rows_count:,} different values in its groups, which take "
                f"{store.bytes_used:,} bytes to build; at most {VIEW_BUILD_BYTES_MAX:,} may be held",
                hint="Group by fewer columns, or by wider buckets.",
            )
        transaction.delete_entries(store.table, gone)
        self._put(transaction, store.table, puts)
        return values

    def _put(self, transaction: Transaction, table: Table, rows: pa.RecordBatch) -> None:
        for start in range(0, rows.num_rows, CHANGE_ROWS):
            interrupts.check()
            transaction.put_groups(table, rows.slice(start, CHANGE_ROWS))
