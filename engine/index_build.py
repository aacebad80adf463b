"""The entries of rows that exist when an index is made.

    snapshot ──► rows, some at a time ──► entries ──► the transaction's write set (spills as any) ──► committed with it

Nobody may have changed the table between the snapshot and the commit, else the commit is a Conflict, and the statement
is run again.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from .indexes import by_id, columns_needed, entries_of, rows_with
from .schema import ROW_ID, Index, Table
from .transaction import Transaction


def build(transaction: Transaction, before: Table, after: Table, indexes: Sequence[Index]) -> None:
    """Write the entries of all rows of ``before`` into the new ``indexes`` of ``after``.

    Raises Invalid (23505) where rows meet in a unique index.
    """
    transaction.require_unchanged(before)
    ids = columns_needed(after)
    columns = [id for id in ids if id in before.by_id]
    for rows in transaction.scan(before, columns=columns, row_ids=ROW_ID in ids).batches():
        complete: pa.RecordBatch = rows_with(after, by_id(before, rows), ids)
        for index in indexes:
            transaction.put_entries(after, index, entries_of(after, index, complete))
