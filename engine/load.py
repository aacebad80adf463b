"""A load: rows put, inserted or deleted blindly, in any number of batches, all or nothing.

    with engine.load("events", Change.INSERT) as load:
        for batch in batches:
            load.add(batch)
        commit = load.commit()

It is one blind write: ordered by the sequencer, without a snapshot, never a conflict. While it fits into a record of
the log it is kept as it comes; beyond that it is a write set (write_set.py) that spills, and commits as large
transactions do (prepared.py). Where a unique index may refuse rows it is a transaction from there on, and may
conflict: what it has looked at must not change. Leaving the block without ``commit`` forgets everything.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import pyarrow as pa

from ..base.errors import Unavailable
from ..base.limits import RECORD_BYTES_MAX, RECORD_ROWS_MAX
from .changes import UNKNOWN_OUTCOME, Change, Commit, WriterToken
from .conflict import duplicate_key, key_at, key_columns, raise_duplicates_within
from .request import Request, TableChanges
from .schema import Table
from .spill import Workspace, check_size
from .transaction import Transaction
from .write_set import TableWrites

PIECE_ROWS: Final = 131_072
"""Rows that are taken at once: between them the write set may spill."""


class Load:
    """See the module. Not for several threads at once."""

    def __init__(
        self,
        table: Table,
        change: Change,
        *,
        complete: Callable[[pa.RecordBatch], pa.RecordBatch],
        commit: Callable[[Request], Commit],
        version: Callable[[], int],
        workspace: Workspace,
        begin: Callable[[], Transaction],
        token: WriterToken | None = None,
        id: str | None = None,
    ) -> None:
        """``change`` is INSERT, PUT or DELETE. ``complete`` makes full, checked rows. ``begin`` begins a transaction
        with this ``id``."""
        assert change in (Change.INSERT, Change.PUT, Change.DELETE), change
        self.table = table
        self.rows_count = 0
        self._change = change
        self._complete = complete
        self._commit = commit
        self._version = version
        self._workspace = workspace
        self._token = token
        self._id = id
        self._batches: list[pa.RecordBatch] = []
        self._bytes_count = 0
        self._writes: TableWrites | None = None
        self._begin = begin
        self._transaction: Transaction | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows (columns may be absent), or primary keys to delete. Raises Invalid, LimitExceeded, Unavailable."""
        for start in range(0, batch.num_rows, PIECE_ROWS):
            self._add(batch.slice(start, PIECE_ROWS))

    def commit(self) -> Commit:
        """Commit all of it. Raises Invalid (23505 where a primary key of an INSERT exists), and Unavailable; Conflict
        only for many rows of a table with a unique index."""
        if self._transaction is not None:
            return self._transaction.commit(token=self._token)
        if self._writes is None:
            changes = self._small()
        else:
            self._watch(self._writes)
            changes = self._writes.prepare(snapshot=None, inserts=self._change is Change.INSERT)
        if not changes.rows_count:
            return Commit(version=self._version(), rows=0)
        try:
            return self._commit(Request(changes=(changes,), token=self._token, transaction_id=self._id))
        except Unavailable as error:
            if self._writes is not None and error.sqlstate == UNKNOWN_OUTCOME:
                self._writes.abandon()
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Forget what was not committed. A second call does nothing."""
        self._batches.clear()
        if self._transaction is not None:
            self._transaction.rollback()
        writes, self._writes = self._writes, None
        if writes is not None:
            if writes.watch is not None:
                self._workspace.unwatch(writes.watch)
            writes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _add(self, piece: pa.RecordBatch) -> None:
        rows = key_columns(self.table, piece) if self._change is Change.DELETE else self._complete(piece)
        self._bytes_count += rows.nbytes
        self.rows_count += rows.num_rows
        check_size(self._workspace, self._bytes_count)
        if self._writes is None and self._bytes_count <= RECORD_BYTES_MAX and self.rows_count <= RECORD_ROWS_MAX:
            self._batches.append(rows)
            return
        if self.table.unique:
            if self._transaction is None:
                self._transaction = self._begin()
            for batch in (*self._batches, rows):
                self._write(self._transaction, batch)
            self._batches.clear()
            return
        if self._writes is None:
            self._writes = TableWrites(self.table, is_new=True, workspace=self._workspace)
            batches, self._batches = self._batches, []
            taken = 0
            for batch in batches:
                self._take(self._writes, batch, first=taken)
                taken += batch.num_rows
        self._take(self._writes, rows, first=self.rows_count - rows.num_rows)

    def _take(self, writes: TableWrites, rows: pa.RecordBatch, *, first: int) -> None:
        if writes.bytes_used + rows.nbytes > self._workspace.memory_bytes:
            self._watch(writes)
            writes.spill()
        match self._change:
            case Change.DELETE:
                writes.delete(rows)
            case Change.INSERT:
                if self.table.primary_key:
                    self._refuse_repeated(writes, rows, first=first)
                writes.put(rows, absent=True)
            case _:
                writes.put(rows)

    def _write(self, transaction: Transaction, rows: pa.RecordBatch) -> None:
        match self._change:
            case Change.DELETE:
                transaction.delete(self.table, rows)
            case Change.INSERT:
                transaction.insert(self.table, rows, overriding=True)
            case _:
                transaction.put(self.table, rows, overriding=True)

    def _refuse_repeated(self, writes: TableWrites, rows: pa.RecordBatch, *, first: int) -> None:
        """Raise Invalid (23505) where a primary key stands twice in the load."""
        keys = key_columns(self.table, rows)
        raise_duplicates_within(self.table, keys, first=first)
        repeated = writes.written_after(keys, 0)
        if repeated.any():
            row = int(repeated.argmax())
            raise duplicate_key(self.table, key_at(keys, row), row=first + row, within=True)

    def _watch(self, writes: TableWrites) -> None:
        if writes.watch is None:
            writes.watch, _ = self._workspace.watch(self.table)

    def _small(self) -> TableChanges:
        rows = self._batches if len(self._batches) < 2 else [pa.concat_batches(self._batches)]
        if self._change is Change.DELETE:
            return TableChanges(table=self.table, deletes=tuple(rows))
        return TableChanges(table=self.table, puts=tuple(rows), inserts=self._change is Change.INSERT)
