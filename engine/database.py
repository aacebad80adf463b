"""The engine: one commit log, the state that follows from it, and the doors to read and write.

    with Engine.open("data") as engine:
        transaction = engine.begin()
        ...
        transaction.commit()

Opening reads the manifest's checkpoint and replays the log after it. SQL, sessions and the network are above, see
``sql.session``.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from ..base.errors import Closed, Conflict, Invalid
from ..base.limits import NAME_BYTES_MAX, RECORD_BYTES_MAX, RECORD_ROWS_MAX, WRITER_ROWS_BITS
from ..base.rows import python_rows, python_values, to_keys
from ..storage.archive import Archive
from ..storage.log import CommitLog
from ..storage.storage import Storage
from ..storage.temporary import TemporaryFolder
from .aggregates.maintain import Cost, Served
from .apply import State
from .catalog import Catalog
from .changes import Change, Commit, Isolation, WriterToken
from .checkpoint import restore
from .clock import AsOf, wall_clock
from .conflict import key_columns
from .constraints import complete
from .contention import ConflictFacts, Contention
from .delta import NO_BOUNDS, Bounds, DefaultRows, Delta, check_addable
from .expression.evaluate import Context
from .feed import Feed
from .gauges import register_memory, register_meters
from .horizon import HoldFacts
from .identity import IdentityValues
from .idle import IdleTransactions
from .inventory import SegmentFacts, TableFacts, ViewFacts, index_facts, segment_facts, table_facts, view_facts
from .key_encoding import KeyEncoder
from .load import Load
from .maintenance import Maintenance
from .memory import Budget
from .metrics import Meters, Metric
from .named import NamedSnapshots, SnapshotFacts
from .options import Options
from .positions import PositionFacts, Positions
from .progress import Progress
from .request import Request, TableChanges
from .row_writes import RowWrites
from .schema import Index, Table, View
from .segment import Description
from .segment_files import SegmentFiles
from .sequencer import Sequencer
from .snapshot import SOMEONE, Holder, Pins, Snapshot
from .spill import Workspace
from .statistics import TableStatistics
from .transaction import Transaction, TransactionFacts

MICROSECONDS = 1_000_000

LOADED = (Change.INSERT, Change.PUT, Change.DELETE)
"""What may be done with more rows than a record of the log holds."""


class Engine:
    """One open database. Thread-safe. Close it, or use it as a context manager."""

    def __init__(self, *, storage: Storage, options: Options, keeps_log: bool = True) -> None:
        self.options = options
        self.storage = storage
        self.folder = storage.folder
        self.budget = Budget.of(options, flushes=self.folder is not None)
        self.meters = Meters()
        self.meters.include(self.budget.metrics)
        self._commits = self.meters.counter(
            "commits", "commits", "Transactions and blind writes committed; only grows."
        )
        self._conflicts = self.meters.counter("conflicts", "commits", "Commits refused with Conflict; only grows.")
        self._contention = Contention()
        self._rows_written = self.meters.counter(
            "rows_written", "rows", "Rows that commits wrote or deleted; only grows."
        )
        self.temporary = _temporary_folder(storage, options)
        self.files = SegmentFiles(storage)
        self._id_lock = threading.Lock()
        self._writers_lock = threading.Lock()
        self._closed = False
        self.shared: dict[object, object] = {}  # what the layers above keep once per engine
        self._on_close: list[Callable[[], object]] = []
        self._open_transactions: set[Transaction] = set()
        self._idle = IdleTransactions(lambda: [one for one in self._transactions() if not one.may_idle])
        position = self._restore()
        self._sequencer = Sequencer(
            log=storage.log, state=self._state, before_commit=self._before_commit, keeps_log=keeps_log
        )
        self.named = NamedSnapshots(
            state=self._state,
            pins=self._pins,
            open_snapshot=self.snapshot,
            commit=self._sequencer.commit,
            bytes_max=options.named_snapshots_bytes,
        )
        self.positions = Positions(
            state=self._state,
            pins=self._pins,
            commit=self._sequencer.commit,
            bytes_max=options.feed_positions_bytes,
        )
        self._identities = IdentityValues(open_snapshot=self.snapshot, commit=self._commit)
        self._workspace = Workspace(
            files=self.files,
            new_number=storage.new_number,
            memory_bytes=options.write_set_bytes or self.budget.write_set_bytes,
            bytes_max=options.max_transaction_bytes,
            watch=self._sequencer.watch,
            unwatch=self._sequencer.unwatch,
        )
        self.maintenance = Maintenance(
            state=self._state,
            sequencer=self._sequencer,
            storage=storage,
            files=self.files,
            pins=self._pins,
            budget=self.budget,
            options=options,
            named=self.named,
            positions=self.positions,
            position=position,
            version=self._state.version,
            archive=self._open_archive(),
        )
        self.maintenance.work.go_on(self._kept_work)
        register_memory(
            self.budget,
            state=self._state,
            sequencer=self._sequencer,
            maintenance=self.maintenance,
            files=storage.files,
            transactions=self._transactions,
        )
        register_meters(
            self.meters,
            state=self._state,
            sequencer=self._sequencer,
            maintenance=self.maintenance,
            pins=self._pins,
            transactions=self._transactions,
            idle=self._idle,
        )
        self._replay(position)
        self._next_id = self._state.next_id
        if options.maintenance and storage.read_only is None:
            self.maintenance.start()
        self.process = os.getpid()
        _open_engines.add(self)

    def _restore(self) -> int:
        """Take over the state of the last checkpoint. Returns its position in the log, 0 where there is none."""
        storage = self.storage
        if storage.read_only is None:
            storage.log.lease()
        data, entries = storage.manifest.load()
        position = floor = 0
        self._kept_work: dict[str, int] = {}
        if data is None:
            self._state = State()
        else:
            descriptions = [Description.decode(entry) for entry in entries.values()]
            restored = restore(data, descriptions, self.files)
            self._state, position, floor = restored.state, restored.position, restored.floor
            self._kept_work = restored.work
        self._state.files = self.files
        self._pins = Pins(self._state, floor=floor)
        return position

    def _replay(self, position: int) -> None:
        """Apply what the log has after ``position``; flush on the way where it would not fit into memory."""
        writable = self.storage.read_only is None
        for entry in self.storage.log.read(position + 1):
            self._state.apply(entry.record)
            if writable and self.budget.flush_due:
                self.maintenance.flush(position=entry.position)
        if writable:
            self.files.remove_strays()

    def _open_archive(self) -> Archive | None:
        """The folder for what is trimmed off the log. Raises Invalid where it holds that of another history."""
        if self.options.archive is None or self.folder is None or self.storage.read_only is not None:
            return None
        if Path(self.options.archive).expanduser().resolve().is_relative_to(self.folder.path.resolve()):
            raise Invalid(
                f"the archive {self.options.archive} lies in the data folder {self.folder.path}",
                hint="Name a folder elsewhere, best on another disk.",
            )
        archive = Archive.open(self.options.archive)
        archive.check_history(self.storage.log)
        return archive

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        *,
        options: Options | None = None,
        log: CommitLog | None = None,
        storage: Storage | None = None,
        read_only: bool = False,
    ) -> Engine:
        """Open the data folder ``path``, made if absent; None is a database in memory.

        ``log`` replaces the folder's, ``storage`` all of it. ``read_only``: whatever cannot be written is refused; also
        where the file system is read-only.

        Raises Unavailable when another process has the folder, Invalid when it is no data folder, Corrupt when log or
        manifest are damaged.
        """
        options = options or Options()
        keeps_log = path is not None or log is not None or storage is not None
        if storage is None:
            if path is None:
                storage = Storage.in_memory(log=log)
            else:
                storage = Storage.open(path, durable=options.durable, read_only=read_only, log=log)
        try:
            return cls(storage=storage, options=options, keeps_log=keeps_log)
        except BaseException:
            storage.close()
            raise

    @property
    def version(self) -> int:
        """The visible version: that of the last commit."""
        return self._state.version

    @property
    def bytes_used(self) -> int:
        """Bytes that the tables hold in memory."""
        return sum(store.bytes_used for store in list(self._state.stores.values()))

    def snapshot(self, as_of: AsOf | None = None, *, holder: Holder = SOMEONE) -> Snapshot:
        """Pin a version to read at: the newest, a version, the last one at or before a time (naive means UTC), or that
        of a named snapshot. ``holder`` is who reads, for those whom the pin is in the way of.

        Raises Invalid for a version that is yet to come, or that history does not reach back to; NotFound for a
        name that there is not, or that was given up (named.py).
        """
        self._check_open()
        return Snapshot(state=self._state, pins=self._pins, version=self._version_of(as_of), holder=holder)

    @property
    def definitions(self) -> int:
        """The version that changed a definition last."""
        return self._state.catalog.version

    def newest_row_of(self, name: str, key: object) -> tuple[dict[str, Any] | None, int] | None:
        """``newest_row`` of the table called ``name``, with a key as it was given; None also where it is not plain."""
        version = self._state.version
        catalog = self._state.catalog
        found = catalog.relations.get(name)
        table = found.rows if isinstance(found, View) else found
        if catalog.version > version or table is None:
            return None
        plain = table.shape.key(key)
        if not plain:
            return None
        if table.stored is None:
            return self._row_at(version, table, plain)
        row = self._row_at(version, table.stored, plain)
        return row if row is None or row[0] is None else (table.computed.row_of(row[0]), version)

    def newest_row(self, table: Table, key: tuple[Any, ...]) -> tuple[dict[str, Any] | None, int] | None:
        """The row with this primary key (plain values, see row_shape.py) now, and the version that it was read at.

        Nothing is pinned: what is seen at the newest version could be dropped meanwhile only after the floor of what
        can be read rose above that, and then, or where ``table`` is not the newest definition, the answer is None: a
        snapshot has to read it.
        """
        version = self._state.version
        catalog = self._state.catalog
        if catalog.version > version or (catalog.relations.get(table.name) is not table and not catalog.has(table)):
            return None
        return self._row_at(version, table, key)

    def _row_at(self, version: int, table: Table, key: tuple[Any, ...]) -> tuple[dict[str, Any] | None, int] | None:
        self._check_open()
        store = self._state.stores.get(table.id)
        if store is None or store.table is not table:
            return None
        row = store.get(key, version=version)
        if table.derived_from is not None:
            self._state.note_served(table, groups=1)
        return (row, version) if self._pins.floor <= version else None

    def note_served(self, view: str, *, groups: int) -> None:
        """A view has answered a query of its table, by so many groups and rows."""
        found = self._state.catalog.relations.get(view)
        if isinstance(found, View) and found.groups is not None:
            self._state.note_served(found.groups, groups=groups)

    def changes(self, table: str, *, after: int | None = None, before: bool = False, name: str | None = None) -> Feed:
        """The changes of a table that were committed after a version, see feed.py: the newest, unless told.

        ``name``: one whose position is kept, made here where there is none (positions.py), and ``after`` is where it
        is unless told; a table that was dropped is found by the name that keeps its last changes. ``before``: with the
        rows as they were before updates.

        Raises Invalid: 42P01 for no such table, 22023 for a version yet to come, and as ``Positions.open``.
        """
        self._check_open()
        dropped = None if name is None else self.positions.dropped(name, table)
        view = None if dropped is not None else self._state.catalog.relations.get(table)
        view = view if isinstance(view, View) else None
        definition = dropped or (view and view.groups) or self._state.catalog.table(table)
        newest = self._state.version
        if after is not None and not 0 <= after <= newest:
            raise Invalid(f"version {after} does not exist: the newest is {newest}", sqlstate="22023")
        if name is not None:
            position = self.positions.open(name, definition, version=after)
            after = position if after is None else after
        return Feed(
            state=self._state,
            pins=self._pins,
            positions=self.positions,
            wait_for_change=self._sequencer.wait_for_change,
            table=definition,
            position=newest if after is None else after,
            before=before,
            name=name,
            view=view,
        )

    def flush(self) -> bool:
        """Make a checkpoint now: all rows into segments, the log trimmed. Returns whether there was anything to do."""
        self._check_open()
        return self.maintenance.flush()

    def compact(self) -> None:
        """Merge every cell's segments into one now, without the row versions that nobody can read any more."""
        self._check_open()
        self.maintenance.compact()

    def retain(self) -> bool:
        """Drop the slices that tables do not keep any more, now. Returns whether there were any."""
        self._check_open()
        return self.maintenance.retain()

    def begin(
        self,
        *,
        isolation: Isolation = Isolation.SNAPSHOT,
        read_only: bool = False,
        id: str | None = None,
        principal: str = "",
        idle_limit: Callable[[], float | None] | None = None,
    ) -> Transaction:
        """Begin a transaction. ``id`` makes its commit repeatable: the same id again returns the first outcome.

        ``idle_limit`` says for how many seconds it may idle, None for ever; see idle.py for what its owner has to do.
        """
        self._check_open()
        transaction = Transaction(
            open_snapshot=partial(self._transaction_snapshot, Holder("transaction", principal), writes=not read_only),
            commit=self._commit,
            identities=self._identities.take,
            isolation=isolation,
            read_only=read_only,
            id=id,
            principal=principal,
            scratch=self.scratch,
            workspace=self._workspace,
            idle_limit=idle_limit,
            on_end=self._open_transactions.discard,
        )
        self._open_transactions.add(transaction)
        if idle_limit is not None:
            self._idle.begun()
        return transaction

    def idle_limit(self) -> float | None:
        """For how many seconds a transaction may idle, unless its session says otherwise; None for ever."""
        return self.options.idle_transaction_seconds or None

    def outcome_of(self, id: str, *, since: int) -> Commit | None:
        """What became of the transaction ``id``, which was begun at version ``since``; None: it has not committed.

        Raises Unavailable (08007) where nobody knows.
        """
        return self._sequencer.outcome_of_transaction(id, since=since)

    def write(
        self,
        table: str,
        change: Change,
        batch: pa.RecordBatch,
        *,
        token: WriterToken | None = None,
        bounds: Bounds = NO_BOUNDS,
        id: str | None = None,
    ) -> Commit:
        """Write a batch blindly: no snapshot, ordered by the sequencer, never a conflict but by the bounds of an ADD.

        INSERT and PUT take rows (columns may be absent), DELETE primary keys, ADD primary keys and amounts (columns
        named like the table's). UPDATE reads what it changes: use a transaction. All of the batch or nothing.
        ``id``: see ``begin``.
        """
        self._check_open()
        if change in LOADED and (batch.num_rows > RECORD_ROWS_MAX or batch.nbytes > RECORD_BYTES_MAX):
            with self.load(table, change, token=token, id=id) as load:
                load.add(batch)
                return load.commit()
        definition = self._state.catalog.table(table)
        changes = self._blind_changes(definition, change, batch, bounds=bounds)
        if not changes.rows_count:
            return Commit(version=self.version, rows=0)
        return self._commit(Request(changes=(changes,), token=token, transaction_id=id))

    def write_row(self, table: Table, change: Change, row: object, *, id: str | None = None) -> Commit | None:
        """INSERT or PUT one whole row (tuple or dict), or DELETE one primary key, blindly, as plain values.

        ``id``: see ``begin``. None: nothing was done, and ``write`` has to: where values are not plain (row_shape.py),
        for instance.
        """
        self._check_open()
        if not RowWrites.suits(table) or change not in LOADED:
            return None
        store = self._state.stores.get(table.id)
        plain = None if change is Change.DELETE else table.shape.row(row)
        key = table.shape.key(row) if plain is None and change is Change.DELETE else None
        key = table.shape.key_of(plain) if plain is not None else key
        if store is None or key is None:
            return None
        rows = RowWrites(table, store.layout)
        rows.write(key, plain)
        changes = TableChanges(table=table, rows=rows, inserts=change is Change.INSERT)
        return self._commit(Request(changes=(changes,), transaction_id=id))

    def add_row(
        self,
        table: Table,
        key: tuple[Any, ...],
        amounts: Mapping[str, Any],
        *,
        bounds: Bounds = NO_BOUNDS,
        id: str | None = None,
    ) -> Commit:
        """Add amounts to one row, blindly: ``write`` of an ADD for plain values (row_shape.py) of addable columns.

        ``id``: see ``begin``.
        """
        self._check_open()
        delta = Delta(
            table=table,
            key=key,
            encoded=self._encoder(table).encode_one(key),
            amounts=amounts,
            default=DefaultRows(table, [key], now=wall_clock(), identities=self._identities.take).at,
            bounds=bounds,
        )
        return self._commit(Request(changes=(TableChanges(table=table, deltas=(delta,)),), transaction_id=id))

    def wait_for(self, version: int, *, seconds: float) -> bool:
        """Wait until ``version`` is visible, at most so long; whether it is. Raises Closed, and Unavailable."""
        return self._sequencer.wait_for(version, seconds=seconds)

    def open_writer(self, name: str) -> int:
        """Take over the writer called ``name``: from now on tokens of whoever had it are refused with Closed.

        Returns what its sequence numbers go on after (see WriterToken). Raises Invalid for a name that is none.
        """
        self._check_open()
        if not 1 <= len(name.encode()) <= NAME_BYTES_MAX:
            raise Invalid(f"a writer's name has 1 to {NAME_BYTES_MAX} bytes, not {name!r}", sqlstate="42602")
        with self._writers_lock:
            opened = self._sequencer.last_sequence(name) + (1 << WRITER_ROWS_BITS)
            self._commit(Request(changes=(), token=WriterToken(writer=name, sequence=opened)))
            return self._sequencer.last_sequence(name)  # a batch of the one before may have come between

    def load(
        self,
        table: str,
        change: Change,
        *,
        token: WriterToken | None = None,
        id: str | None = None,
        overriding: bool = False,
    ) -> Load:
        """The same in many batches: INSERT, PUT or DELETE of any number of rows, all or nothing, see load.py.

        ``overriding`` lets explicit values into GENERATED ALWAYS columns.
        """
        self._check_open()
        definition = self._state.catalog.table(table)
        if change is not Change.INSERT:
            _require_primary_key(definition)
        return Load(
            definition,
            change,
            complete=lambda batch: self._complete(definition, batch, overriding=overriding),
            commit=self._commit,
            version=lambda: self.version,
            workspace=self._workspace,
            begin=lambda: self.begin(id=id),
            token=token,
            id=id,
        )

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

    def view_facts(self, catalog: Catalog) -> list[tuple[View, ViewFacts | None, Cost, Served]]:
        """What each materialized view takes, what keeping it has cost, and what it has spared reads."""
        return list(view_facts(catalog, self._state.stores, self._state.costs, self._state.served))

    def index_facts(self, catalog: Catalog) -> list[tuple[Table, Index, TableFacts]]:
        """What the indexes of a catalog's tables take in memory and on disk now, by table."""
        return list(index_facts(catalog, self._state.stores))

    def statistics(self, catalog: Catalog) -> list[tuple[Table, TableStatistics]]:
        """What is known of the rows of a catalog's tables, by name."""
        found = [table for table in catalog.relations.values() if isinstance(table, Table)]
        stores = self._state.stores
        return [
            (table, stores[table.id].with_definition(table).statistics())
            for table in sorted(found, key=lambda table: table.name)
            if table.id in stores
        ]

    def segment_facts(self, catalog: Catalog) -> list[SegmentFacts]:
        """The segments of a catalog's tables now: by table, slice and shard, newest first."""
        return list(segment_facts(catalog, self._state.stores))

    def transaction_facts(self) -> list[TransactionFacts]:
        """The transactions that are open now, the oldest first."""
        facts = [transaction.facts() for transaction in self._transactions() if not transaction.ended]
        return sorted(facts, key=lambda item: item.since)

    def builds(self) -> list[tuple[str, Progress]]:
        """The indexes and materialized views that are being made, the oldest first, and by whom."""
        found = [(one.principal, progress) for one in self._transactions() for progress in one.progress]
        return sorted(found, key=lambda item: item[1].since)

    def snapshot_facts(self) -> list[SnapshotFacts]:
        """The named snapshots by name, then the versions that readers hold and nobody has named."""
        return self.named.facts()

    def horizon_facts(self) -> list[HoldFacts]:
        """What keeps row versions that are no more, the oldest first: beyond that one, nothing can be read."""
        return self._pins.holds()

    def conflict_facts(self) -> list[ConflictFacts]:
        """What commits were refused for with Conflict, the most often first."""
        return self._contention.facts()

    def position_facts(self) -> list[PositionFacts]:
        """The named positions of feeds, by name."""
        return self.positions.facts()

    def close(self) -> None:
        """Finish the commit under way and let go of the folder. A second close does nothing."""
        if self._closed:
            return
        self._closed = True
        self._idle.stop()
        self.budget.stop(_closed())
        self._sequencer.stop(_closed())
        self.maintenance.stop()
        for call in self._on_close:
            call()
        self.storage.close()
        self.temporary.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _commit(self, request: Request) -> Commit:
        try:
            commit = self._sequencer.commit(request)
        except Conflict as error:
            self._conflicts.add()
            self._contention.note(error)
            raise
        self._commits.add()
        self._rows_written.add(commit.rows)
        self.maintenance.committed()
        return commit

    def scratch(self) -> Path:
        """A folder for what need not survive."""
        return self.temporary.path

    def _transaction_snapshot(self, holder: Holder, *, writes: bool) -> Snapshot:
        self._check_open()
        return Snapshot(state=self._state, pins=self._pins, writes=writes, holder=holder)

    def _before_commit(self, bytes_count: int) -> None:
        self.storage.check_writable()
        self.budget.before_commit(bytes_count)

    def _blind_changes(self, table: Table, change: Change, batch: pa.RecordBatch, *, bounds: Bounds) -> TableChanges:
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
                return TableChanges(table=table, deltas=tuple(self._deltas(table, batch, bounds=bounds)))
            case Change.UPDATE:
                raise Invalid("a blind write cannot UPDATE", hint="Use a transaction, or PUT whole rows.")

    def _deltas(self, table: Table, batch: pa.RecordBatch, *, bounds: Bounds) -> list[Delta]:
        key_names = [column.name for column in table.primary_key_columns]
        amount_names = [name for name in batch.schema.names if name not in key_names]
        check_addable(table, amount_names)
        given = batch.select([name for name in batch.schema.names if name in key_names])
        keys = to_keys(given, table.key_schema)
        amounts = {name: python_values(batch.column(name), table.by_name[name].type) for name in amount_names}
        key_values = python_rows(keys, [column.type for column in table.primary_key_columns])
        encode = self._encoder(table).encode_one
        starts = DefaultRows(table, key_values, now=wall_clock(), identities=self._identities.take)
        return [
            Delta(
                table=table,
                key=key,
                encoded=encode(key),
                amounts={name: values[row] for name, values in amounts.items()},
                default=partial(starts.at, row),
                bounds=bounds,
            )
            for row, key in enumerate(key_values)
        ]

    def _encoder(self, table: Table) -> KeyEncoder:
        store = self._state.stores.get(table.id)
        encoder = None if store is None else store.layout.encoder
        return KeyEncoder(table.primary_key_columns) if encoder is None else encoder

    def _complete(self, table: Table, batch: pa.RecordBatch, *, overriding: bool = False) -> pa.RecordBatch:
        context = Context(now=wall_clock())
        return complete(table, batch, context=context, identities=self._identities.take, overriding=overriding)

    def _version_of(self, as_of: AsOf | None) -> int | None:
        if as_of is None:
            return None
        if isinstance(as_of, str):
            return self.named.version_of(as_of)
        if isinstance(as_of, datetime):
            moment = as_of if as_of.tzinfo else as_of.replace(tzinfo=UTC)
            return self._state.clock.version_at(round(moment.timestamp() * MICROSECONDS))
        if isinstance(as_of, bool) or not isinstance(as_of, int):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise Invalid(
                f"as_of is a version (int), a datetime or the name of a snapshot, not {as_of!r}", sqlstate="22023"
            )
        if not 0 <= as_of <= self._state.version:
            raise Invalid(f"version {as_of} does not exist: the newest is {self._state.version}", sqlstate="22023")
        return as_of

    def _transactions(self) -> list[Transaction]:
        return list(self._open_transactions)

    def _check_open(self) -> None:
        if self._closed:
            raise _closed()


_open_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _close_all() -> None:
    """At the end of the process: what nobody closed."""
    for engine in list(_open_engines):
        if engine.process == os.getpid():  # a fork's engines are its parent's
            engine.close()


atexit.register(_close_all)


def _temporary_folder(storage: Storage, options: Options) -> TemporaryFolder:
    folder = storage.folder
    if folder is None or storage.read_only is not None or options.temp_directory is not None:
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
