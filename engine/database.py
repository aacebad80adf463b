"""The engine: one commit log, the state that follows from it, and the doors to read and write.

    with Engine.open("data") as engine:
        transaction = engine.begin()
        ...
        transaction.commit()

Opening replays the log; there is nothing else to recover. SQL, sessions and the network are above, see ``sql.session``.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from ..base.errors import Closed, Conflict, Invalid
from ..base.rows import python_rows, python_values
from ..storage.folder import DataFolder
from ..storage.lmdb_log import LmdbLog
from ..storage.log import CommitLog
from ..storage.memory_log import MemoryLog
from ..storage.temporary import TemporaryFolder
from .apply import State
from .catalog import Catalog
from .changes import Change, Commit, Isolation, WriterToken
from .clock import monotonic, wall_clock
from .conflict import key_columns
from .constraints import complete, fill
from .delta import Delta, check_addable
from .expression.evaluate import Context
from .identity import IdentityValues
from .inventory import TableFacts, table_facts
from .memory import Budget, Part
from .metrics import Meters, Metric
from .options import Options
from .schema import Table
from .sequencer import Request, Sequencer, TableChanges
from .snapshot import Pins, Snapshot
from .transaction import Transaction

MICROSECONDS = 1_000_000


class Engine:
    """One open database. Thread-safe. Close it, or use it as a context manager."""

    def __init__(
        self, *, log: CommitLog, options: Options, folder: DataFolder | None = None, keeps_log: bool = True
    ) -> None:
        self.options = options
        self.folder = folder
        self.budget = Budget.of(options, flushes=False)
        self.meters = Meters()
        self.temporary = _temporary_folder(folder, options)
        self._log = log
        self._state = State()
        self._pins = Pins()
        self._id_lock = threading.Lock()
        self._maintenance_lock = threading.Lock()
        self._closed = False
        self.shared: dict[object, object] = {}  # what the layers above keep once per engine
        self._on_close: list[Callable[[], object]] = []
        self._open_transactions: weakref.WeakSet[Transaction] = weakref.WeakSet()
        log.lease()
        for entry in log.read(1):
            self._state.apply(entry.record)
        self._next_id = self._state.next_id
        self._sequencer = Sequencer(log=log, state=self._state, has_room=self._has_room, keeps_log=keeps_log)
        self._identities = IdentityValues(open_snapshot=self.snapshot, commit=self._commit)
        self._register_gauges()

    @classmethod
    def open(
        cls, path: str | Path | None = None, *, options: Options | None = None, log: CommitLog | None = None
    ) -> Engine:
        """Open the data folder ``path``, made if absent; None is a database in memory. ``log`` replaces the folder's.

        Raises Unavailable when another process has the folder, Invalid when it is no data folder, Corrupt when the log
        is damaged.
        """
        options = options or Options()
        if path is None:
            return cls(log=log or MemoryLog(), options=options, keeps_log=log is not None)
        folder = DataFolder.open(Path(path))
        try:
            opened = log or LmdbLog.open(folder.path / "log", durable=options.durable)
            return cls(log=opened, options=options, folder=folder)
        except BaseException:
            folder.close()
            raise

    @property
    def version(self) -> int:
        """The visible version: that of the last commit."""
        return self._state.version

    @property
    def bytes_used(self) -> int:
        """Bytes that the tables hold in memory."""
        return sum(store.bytes_used for store in list(self._state.stores.values()))

    def snapshot(self, as_of: int | datetime | None = None) -> Snapshot:
        """Pin a version to read at: the newest, a version, or the last one at or before a time (naive means UTC)."""
        self._check_open()
        return Snapshot(state=self._state, pins=self._pins, version=self._version_of(as_of))

    def begin(
        self, *, isolation: Isolation = Isolation.SNAPSHOT, read_only: bool = False, id: str | None = None
    ) -> Transaction:
        """Begin a transaction. ``id`` makes its commit repeatable: the same id again returns the first outcome."""
        self._check_open()
        transaction = Transaction(
            open_snapshot=self.snapshot,
            commit=self._commit,
            identities=self._identities.take,
            isolation=isolation,
            read_only=read_only,
            id=id,
            scratch=lambda: self.temporary.path,
        )
        with self._id_lock:
            self._open_transactions.add(transaction)
        return transaction

    def write(self, table: str, change: Change, batch: pa.RecordBatch, *, token: WriterToken | None = None) -> Commit:
        """Write a batch blindly: no snapshot, ordered by the sequencer, never a conflict.

        INSERT and PUT take rows (columns may be absent), DELETE primary keys, ADD primary keys and amounts (columns
        named like the table's). UPDATE reads what it changes: use a transaction. All of the batch or nothing.
        """
        self._check_open()
        definition = self._state.catalog.table(table)
        changes = self._blind_changes(definition, change, batch)
        if not changes.rows_count:
            return Commit(version=self.version, rows=0)
        return self._commit(Request(changes=(changes,), token=token))

    def new_id(self) -> int:
        """An identifier for a new relation; never given out twice."""
        with self._id_lock:
            self._next_id = max(self._next_id, self._state.next_id) + 1
            return self._next_id - 1

    def on_close(self, call: Callable[[], object]) -> None:
        """Have ``call`` called when the engine closes, before it lets go of its folder."""
        self._on_close.append(call)

    def metrics(self) -> list[Metric]:
        """Numbers about the engine now, by name."""
        return self.meters.read()

    def table_facts(self, catalog: Catalog) -> list[TableFacts]:
        """What the tables of a catalog take in memory and on disk now, by name."""
        return list(table_facts(catalog, self._state.stores))

    def close(self) -> None:
        """Finish the commit under way and let go of the folder. A second close does nothing."""
        if self._closed:
            return
        self._closed = True
        self.budget.stop(_closed())
        self._sequencer.stop(_closed())
        for call in self._on_close:
            call()
        self._log.close()
        self.temporary.close()
        if self.folder is not None:
            self.folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _commit(self, request: Request) -> Commit:
        try:
            commit = self._sequencer.commit(request)
        except Conflict:
            self._conflicts.add()
            raise
        self._commits.add()
        self._rows_written.add(commit.rows)
        if self._state.dropped:
            self._release_dropped()
        return commit

    def _release_dropped(self) -> None:
        """Give back the memory of dropped tables that neither a pin nor the history needs."""
        before = wall_clock() - self.options.history_seconds * MICROSECONDS
        with self._maintenance_lock:
            self._state.release_dropped(before_wall=before, oldest_pin=self._pins.oldest(self.version))

    def _blind_changes(self, table: Table, change: Change, batch: pa.RecordBatch) -> TableChanges:
        match change:
            case Change.INSERT | Change.PUT:
                if change is Change.PUT:
                    _require_primary_key(table)
                return TableChanges(table=table, puts=(self._complete(table, batch),), inserts=change is Change.INSERT)
            case Change.DELETE:
                _require_primary_key(table)
                return TableChanges(table=table, deletes=(key_columns(table, batch),))
            case Change.ADD:
                _require_primary_key(table)
                return TableChanges(table=table, deltas=tuple(self._deltas(table, batch)))
            case Change.UPDATE:
                raise Invalid("a blind write cannot UPDATE", hint="Use a transaction, or PUT whole rows.")

    def _deltas(self, table: Table, batch: pa.RecordBatch) -> list[Delta]:
        key_names = [column.name for column in table.primary_key_columns]
        amount_names = [name for name in batch.schema.names if name not in key_names]
        check_addable(table, amount_names)
        keys = key_columns(table, batch)
        starts = fill(table, keys, context=Context(now=wall_clock()), identities=self._identities.take, overriding=True)
        amounts = {name: python_values(batch.column(name), table.by_name[name].type) for name in amount_names}
        key_values = python_rows(keys, [column.type for column in table.primary_key_columns])
        return [
            Delta(
                key=key,
                key_batch=keys.slice(row, 1),
                amounts={name: values[row] for name, values in amounts.items()},
                default_row=default_row,
            )
            for row, (key, default_row) in enumerate(zip(key_values, starts.to_pylist(), strict=True))
        ]

    def _complete(self, table: Table, batch: pa.RecordBatch) -> pa.RecordBatch:
        context = Context(now=wall_clock())
        return complete(table, batch, context=context, identities=self._identities.take)

    def _version_of(self, as_of: int | datetime | None) -> int:
        if as_of is None:
            return self._state.version
        if isinstance(as_of, datetime):
            moment = as_of if as_of.tzinfo else as_of.replace(tzinfo=UTC)
            return self._state.clock.version_at(round(moment.timestamp() * MICROSECONDS))
        if not 0 <= as_of <= self._state.version:
            raise Invalid(f"version {as_of} does not exist: the newest is {self._state.version}", sqlstate="22023")
        return as_of

    def _has_room(self, bytes_count: int) -> bool:
        return self.bytes_used + bytes_count <= self.options.memory_limit

    def _transactions(self) -> list[Transaction]:
        with self._id_lock:
            return list(self._open_transactions)

    def _register_gauges(self) -> None:
        budget, meters, opened = self.budget, self.meters, monotonic()
        self._commits = meters.counter("commits", "commits", "Transactions and blind writes committed; only grows.")
        self._conflicts = meters.counter("conflicts", "commits", "Commits refused with Conflict; only grows.")
        self._rows_written = meters.counter("rows_written", "rows", "Rows that commits wrote or deleted; only grows.")
        budget.register(
            "memtables", lambda: self.bytes_used, "Rows that are in memory, and their indexes.", part=Part.MEMTABLES
        )
        budget.register(
            "write_sets",
            lambda: sum(transaction.bytes_used for transaction in self._transactions()),
            "What open transactions have written and not committed.",
        )
        meters.include(budget.metrics)
        meters.gauge("version", "versions", "The visible version: that of the last commit.", lambda: self.version)
        meters.gauge("open_seconds", "seconds", "Since the database was opened.", lambda: monotonic() - opened)
        meters.gauge("snapshots_open", "snapshots", "Snapshots that are open.", lambda: len(self._pins))
        meters.gauge(
            "transactions_open",
            "transactions",
            "Transactions that are open.",
            lambda: sum(not transaction.ended for transaction in self._transactions()),
        )
        meters.gauge(
            "oldest_pin_lag_versions",
            "versions",
            "How far the oldest open snapshot is behind the visible version.",
            lambda: self.version - self._pins.oldest(self.version),
        )

    def _check_open(self) -> None:
        if self._closed:
            raise _closed()


def _temporary_folder(folder: DataFolder | None, options: Options) -> TemporaryFolder:
    if folder is None or options.temp_directory is not None:
        return TemporaryFolder(inside=options.temp_directory)
    return TemporaryFolder(folder.path / "tmp")


def _closed() -> Closed:
    return Closed("the database is closed", hint="Open it again.")


def _require_primary_key(table: Table) -> None:
    if not table.primary_key:
        raise Invalid(
            f'"{table.name}" has no primary key: only insert can write to it without a transaction',
            hint="Create the table with a primary key to put, add or delete by it.",
            sqlstate="55000",
        )
