"""The entries of rows that exist when an index is made, while others go on writing.

    snapshot ──► rows, some at a time ──► entries ──► the transaction's write set (spills as any)
    commit   ──► rows that changed since ──► their entries ──► again, until these are few
             ──► under the commit lock the last ones ──► one record: definition and entries

``Building`` knows up to which version the entries are right. Rows that changed since are found by the cells as a feed
finds them; an entry of a row as it was then goes, one of the row as it is now comes. So nobody waits for more than the
last few rows, and from that record on ``apply`` keeps the entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from .indexes import by_id, columns_needed, entries_of, entry_keys, rows_with
from .schema import ROW_ID, ROW_ID_NAME, Index, Table

if TYPE_CHECKING:
    from .progress import Progress
    from .snapshot import Snapshot
    from .transaction import Transaction


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

    def write_all(self, transaction: Transaction, progress: Progress) -> None:
        """Write the entries of all rows that the transaction sees. Raises Invalid (23505) where rows meet."""
        rows_ids = ROW_ID in self._ids
        for rows in transaction.scan(self.before, columns=self._columns, row_ids=rows_ids).batches():
            self._put(transaction, rows)
            progress.read(rows.num_rows)

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
