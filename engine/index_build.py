"""The entries of rows that exist when an index is made, while others go on writing.

    snapshot ──► rows, some at a time ──► entries ──► the transaction's write set (spills as any)
    commit   ──► rows that changed since ──► their entries ──► again, until these are few
             ──► under the commit lock the last ones ──► one record: definition and entries

``Building`` knows up to which version the entries are right. Rows that changed since are found by the cells as a feed
finds them; an entry of a row as it was then goes, one of the row as it is now comes. So nobody waits for more than the
last few rows, and from that record on ``apply`` keeps the entries.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import pyarrow as pa

from .aggregates.build import BuildingView
from .aggregates.definition import Maintained
from .indexes import by_id, columns_needed, entries_of, entry_keys, rows_with
from .schema import ROW_ID, ROW_ID_NAME, Index, Table

if TYPE_CHECKING:
    from .snapshot import Snapshot
    from .transaction import Transaction

LAST_ROWS_MAX: Final = 1_000
"""Changed rows that are left for the commit lock."""

ROUNDS_MAX: Final = 20
"""How often what came meanwhile is caught up with before the commit lock is taken all the same."""


class Building:
    """Indexes of one table that a transaction makes. ``version``: that of the rows that they are right for."""

    def __init__(self, before: Table, after: Table, indexes: Sequence[Index], *, version: int) -> None:
        self.before = before
        self.after = after
        self.indexes = indexes
        self.tables = frozenset(index.id for index in indexes)
        self.version = version
        self._ids = columns_needed(after)
        self._columns = [id for id in self._ids if id in before.by_id]

    def write_all(self, transaction: Transaction) -> None:
        """Write the entries of all rows that the transaction sees. Raises Invalid (23505) where rows meet."""
        rows_ids = ROW_ID in self._ids
        for rows in transaction.scan(self.before, columns=self._columns, row_ids=rows_ids).batches():
            self._put(transaction, rows)

    def catch_up(self, transaction: Transaction, now: Snapshot) -> int:
        """Make them right for the rows of ``now``; returns how many had changed. Raises Invalid (23505)."""
        before, then = self.before, self.version
        store = now.store(before)
        found: list[pa.RecordBatch] = []
        for changes in store.changes(then, now.version, columns=self._columns):
            found += [rows.select(self._key_names) for rows in (changes.begun, changes.ended) if rows.num_rows]
        self.version = now.version
        if not found:
            return 0
        keys = pa.concat_batches(found)
        first = {key: row for row, key in enumerate(zip(*(c.to_pylist() for c in keys.columns), strict=True))}
        keys = keys.take(pa.array(np.array(list(first.values()), np.int64)))
        read = [id for id in self._ids if id == ROW_ID or id in before.by_id]
        old, _ = store.get_many(keys, version=then, columns=read)
        new, _ = store.get_many(keys, version=now.version, columns=read)
        gone = rows_with(self.after, by_id(before, old), self._ids)
        for index in self.indexes:
            entries = self.after.index_tables[index.id]
            transaction.delete_entries(entries, entry_keys(entries, entries_of(self.after, index, gone)))
        self._put(transaction, new)
        return keys.num_rows

    @property
    def _key_names(self) -> list[str]:
        return [ROW_ID_NAME if id == ROW_ID else self.before.by_id[id].name for id in self.before.row_key]

    def _put(self, transaction: Transaction, rows: pa.RecordBatch) -> None:
        complete = rows_with(self.after, by_id(self.before, rows), self._ids)
        for index in self.indexes:
            transaction.put_entries(self.after, index, entries_of(self.after, index, complete))


class Follows(Protocol):
    """What a transaction makes of the rows that there are, and what others write meanwhile changes."""

    tables: frozenset[int]

    def catch_up(self, transaction: Transaction, now: Snapshot) -> int: ...


class Made:
    """The indexes and materialized views that one transaction makes. ``ids``: of internal tables whose rows are logged,
    ``apply`` does not make them.
    """

    def __init__(self) -> None:
        self.ids: set[int] = set()
        self._building: list[Follows] = []

    @property
    def catches_up(self) -> bool:
        """Whether others may write rows for them."""
        return bool(self._building)

    def make(
        self, transaction: Transaction, before: Table, after: Table, indexes: Sequence[Index], *, catches_up: bool
    ) -> None:
        """Write the entries of all rows of ``before`` into ``indexes`` of ``after``. Raises Invalid (23505)."""
        building = Building(before, after, indexes, version=transaction.version)
        self.ids |= {index.id for index in indexes}
        building.write_all(transaction)
        if catches_up:
            self._building.append(building)

    def make_view(
        self, transaction: Transaction, view: Maintained, groups: Table, base: Table, snapshot: Snapshot
    ) -> None:
        """Write the groups of all rows of ``base`` in the snapshot."""
        building = BuildingView(view, groups, base, version=snapshot.version)
        self.ids |= building.tables
        building.write_all(transaction, snapshot)
        self._building.append(building)

    def come_near(
        self, transaction: Transaction, written: Collection[int], *, open_snapshot: Callable[[], Snapshot]
    ) -> None:
        """Catch up, until few rows are left for the commit lock."""
        for _ in range(ROUNDS_MAX if self._building else 0):
            if self.catch_up(transaction, written, open_snapshot=open_snapshot) <= LAST_ROWS_MAX:
                return

    def catch_up(
        self, transaction: Transaction, written: Collection[int], *, open_snapshot: Callable[[], Snapshot]
    ) -> int:
        """Make them right for what others have committed since; returns how many rows that were.

        ``written``: tables that the transaction has still written to, so not those of indexes that it has dropped.
        """
        made = [item for item in self._building if item.tables <= set(written)]
        if not made:
            return 0
        with open_snapshot() as now:
            return sum(item.catch_up(transaction, now) for item in made)
