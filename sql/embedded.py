"""The embedded database: ``weftdb.open``. The public interface as a thin encoder over ``Session``.

    db = weftdb.open("data")          a folder; a second open of it in this process returns a handle to the same engine
    db = weftdb.open()                in memory, gone with the last handle

One engine per folder and process, counted: it closes when its last handle does. Every call outside a transaction has a
session of its own, so a database may be used from any number of threads. A snapshot is one session, and so is a
transaction once it does more than read and write single rows; both are for one thread at a time.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

import pyarrow as pa

from ..base import interface
from ..base.arguments import check_text, settings_of
from ..base.batches import check_exported, exact
from ..base.errors import Closed, Invalid, nearest
from ..base.interface import Key, Keys, Rows, Written
from ..base.result import Result
from ..base.values import version_of
from ..engine.backup import EngineSource, back_up
from ..engine.check import check_engine
from ..engine.clock import AsOf
from ..engine.database import Engine
from ..engine.options import Options
from ..engine.schema import Table as Definition
from ..engine.transaction import Transaction
from ..storage.backup_folder import BackupFolder
from .access import LOCAL, closed_session
from .copy.files import ANYWHERE
from .feed import EmbeddedChanges
from .session import Session
from .settings import ISOLATION, isolation_name
from .writer import EmbeddedWriter


def open(path: str | Path | None = None, **options: Any) -> EmbeddedDatabase:
    """Open the database in folder ``path``, made if absent, or one in memory for None.

    ``options`` are the fields of ``engine.options.Options``: durable, memory_limit (bytes), history_seconds and others.
    A folder that is open already keeps those it was opened with; other ones are Invalid.

    Raises Unavailable when another process has the folder (its process id is in the message) or a newer version of
    WeftDB wrote it, Invalid for an unknown option, Corrupt when the log is damaged.
    """
    known = tuple(Options.__dataclass_fields__)
    for name in options:
        if name not in known:
            hint = nearest(name, known) or f"The options are {', '.join(known)}."
            raise Invalid(f'option "{name}" does not exist', hint=hint, sqlstate="22023")
    wanted = Options(**options)
    if path is None:
        return EmbeddedDatabase(_Shared(Engine.open(None, options=wanted), folder=None))
    folder = Path(path).expanduser().resolve()
    with _OPEN_LOCK:
        shared = _OPEN.get(folder)
        if shared is None:
            shared = _OPEN[folder] = _Shared(Engine.open(folder, options=wanted), folder=folder)
        elif options and wanted != shared.engine.options:
            raise Invalid(
                f"{folder} is open in this process with other options: {shared.engine.options}",
                hint="Close it first, or leave the options out.",
                sqlstate="55006",
            )
        return EmbeddedDatabase(shared)


class _Shared:
    """An engine and how many handles it has. Guarded by _OPEN_LOCK."""

    def __init__(self, engine: Engine, *, folder: Path | None) -> None:
        self.engine = engine
        self.folder = folder
        self.handles = 0

    def leave(self) -> None:
        with _OPEN_LOCK:
            self.handles -= 1
            if self.handles:
                return
            if self.folder is not None:
                _OPEN.pop(self.folder, None)
            self.engine.close()


class _Child(Protocol):
    """What is opened from a database and ends with it."""

    def abandon(self) -> None:
        """The database closes: end, without raising."""
        ...


C = TypeVar("C", bound=_Child)

_OPEN: Final[dict[Path, _Shared]] = {}
_OPEN_LOCK: Final = threading.Lock()


class EmbeddedDatabase(interface.Database):
    """See ``base.interface.Database``."""

    def __init__(self, shared: _Shared) -> None:
        shared.handles += 1
        self._shared: _Shared | None = shared
        self._children: weakref.WeakSet[_Child] = weakref.WeakSet()
        self._lock = threading.Lock()

    @property
    def engine(self) -> Engine:
        """The engine below: for the server, which serves it, and for tests. Raises Closed."""
        shared = self._shared
        if shared is None:
            raise Closed("the database is closed", hint="Open it again.")
        return shared.engine

    @property
    def version(self) -> int:
        return self.engine.version

    def execute(
        self,
        sql: str,
        parameters: Sequence[object] = (),
        /,
        *,
        timeout: float | None = None,
        at_least: int | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> Result:
        with self.session(settings) as session:
            return session.execute(sql, parameters, timeout=timeout, at_least=at_least)

    def session(self, settings: Mapping[str, object] | None = None) -> Session:
        """A session for one call."""
        given = None if settings is None else settings_of(settings)
        return Session(self.engine, single_call=True, files=ANYWHERE, settings=given)

    def newest_row(self, table: str, key: object) -> tuple[dict[str, Any] | None, int] | None:
        return self.engine.newest_row_of(table, key)

    def table(self, name: str, /) -> EmbeddedTable:
        check_text(name, "the name of a table")
        return EmbeddedTable(self, name)

    def transaction(
        self,
        *,
        isolation: str = "snapshot",
        read_only: bool = False,
        settings: Mapping[str, object] | None = None,
    ) -> EmbeddedTransaction:
        return self._child(
            EmbeddedTransaction(self.engine, isolation=isolation, read_only=read_only, settings=settings)
        )

    def snapshot(self, as_of: AsOf | None = None, *, settings: Mapping[str, object] | None = None) -> EmbeddedSnapshot:
        engine = self.engine
        point = engine.version if as_of is None else as_of
        session = Session(engine, as_of=point, files=ANYWHERE, settings=settings_of(settings or {}))
        return self._child(EmbeddedSnapshot(session))

    def changes(
        self, table: str, from_version: int | None = None, *, before: bool = False, name: str | None = None
    ) -> EmbeddedChanges:
        check_text(table, "the name of a table")
        after = None if from_version is None else version_of(from_version, "from_version")
        feed = self.engine.changes(table, after=after, before=before, name=name)
        return self._child(EmbeddedChanges(feed))

    def writer(self, table: str, *, name: str | None = None) -> EmbeddedWriter:
        """A writer that ends with the database."""
        return self._child(EmbeddedWriter(Session(self.engine), table, name=name))

    def backup(self, folder: str | Path, *, link: bool = False) -> int:
        """Back this database up into a folder, as ``weft backup`` does, beside everything else. Returns the version.

        ``link``: with hard links, where the folder is on the same disk. Not part of the interface: a client has the
        command. Raises Invalid for a database in memory and a folder that holds other things; Corrupt when a file is
        damaged; Unavailable when the disk refuses.
        """
        with (
            EngineSource(self.engine, server="embedded", links=link) as source,
            BackupFolder.create(folder) as target,
        ):
            return back_up(source, target).backup.version

    def check(self) -> list[str]:
        """What is wrong with what is on the disk, as ``weft check`` says it; empty when nothing is."""
        problems = check_engine(self.engine).problems
        return [f"{problem.where}: {problem.what} (affects {problem.affects})" for problem in problems]

    def _child(self, child: C) -> C:
        with self._lock:
            self._children.add(child)
        return child

    def close(self) -> None:
        with self._lock:
            shared, self._shared = self._shared, None
            children = list(self._children)
        if shared is None:
            return
        for child in children:
            child.abandon()
        shared.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Held:
    """A session that several calls share, as a block that does not close it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __enter__(self) -> Session:
        return self._session

    def __exit__(self, *_: object) -> None:
        pass


class _Sessions(Protocol):
    """Where a table's calls get their session from."""

    def session(self) -> Session | _Held: ...

    def newest_row(self, table: str, key: object) -> tuple[dict[str, Any] | None, int] | None:
        """See ``Engine.newest_row``; None also where reads are not of the newest version."""
        ...

    def writer(self, table: str, *, name: str | None = None) -> EmbeddedWriter: ...


class _OneSession:
    """What transaction and snapshot have in common: one session for all calls."""

    @property
    def _session(self) -> Session:
        raise NotImplementedError

    def session(self) -> _Held:
        return _Held(self._session)

    def newest_row(self, table: str, key: object) -> None:
        return None

    def writer(self, table: str, *, name: str | None = None) -> EmbeddedWriter:
        raise Invalid(
            f'a writer of "{table}" cannot be part of a transaction or snapshot',
            hint="Use put, or the database's own table for a writer.",
            sqlstate="25001",
        )

    @property
    def version(self) -> int:
        return self._session.version

    def execute(
        self,
        sql: str,
        parameters: Sequence[object] = (),
        /,
        *,
        timeout: float | None = None,
        at_least: int | None = None,
    ) -> Result:
        return self._session.execute(sql, parameters, timeout=timeout, at_least=at_least)

    def __enter__(self) -> Self:
        return self


class EmbeddedTransaction(_OneSession, interface.Transaction):
    """See ``base.interface.Transaction``.

    Single rows are read and written in the engine's transaction itself; a session is made over it for the first call
    that needs one, and for settings. An application's small transaction never does, and costs half as much.
    """

    def __init__(
        self, engine: Engine, *, isolation: str, read_only: bool, settings: Mapping[str, object] | None = None
    ) -> None:
        """Raises Invalid (22023) for what is no level."""
        self._engine = engine
        check_text(isolation, "the isolation level")
        self._isolation = isolation_name(isolation)
        self._read_only = read_only
        self._begun: Transaction | None = None
        self._made: Session | None = None
        self._closed = False
        if settings:
            self._make(settings_of(settings))

    @property
    def _session(self) -> Session:
        """The session over the transaction. Raises Closed."""
        if self._made is None:
            self._check_open()
            return self._make({})
        return self._made

    def _make(self, settings: Mapping[str, str]) -> Session:
        session = Session(self._engine, files=ANYWHERE, settings=settings)
        session.begin(self._isolation, self._read_only, begun=self._begun)
        self._made = session
        return session

    def opened(self) -> Transaction:
        """The engine's transaction, for calls inside of its gate. Raises Closed."""
        if self._made is not None:
            return self._made.held_transaction
        if self._begun is None:
            self._check_open()
            self._begun = self._engine.begin(
                isolation=ISOLATION[self._isolation],
                read_only=self._read_only,
                principal=LOCAL,
                idle_limit=self._engine.idle_limit,
            )
        return self._begun

    def _check_open(self) -> None:
        if self._closed:
            raise closed_session()

    def table(self, name: str, /) -> EmbeddedTable:
        check_text(name, "the name of a table")
        return _TransactionTable(self, name)

    def commit(self) -> int:
        self._check_open()
        self._closed = True
        if self._made is not None:
            with self._made as session:
                return session.commit()
        if self._begun is None:
            return self._engine.version
        with self._begun.gate:
            return self._begun.commit().version

    def rollback(self) -> None:
        self._closed = True
        if self._made is not None:
            self._made.close()
        elif self._begun is not None:
            with self._begun.gate:
                self._begun.rollback()

    def close(self) -> None:
        self.rollback()

    def abandon(self) -> None:
        if self._made is not None:
            self._made.cancel()
        self.rollback()

    def savepoint(self, name: str, /) -> None:
        self._session.savepoint(name)

    def rollback_to(self, name: str, /) -> None:
        self._session.rollback_to(name)

    def release(self, name: str, /) -> None:
        self._session.release(name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if not self._closed:
            if kind is None:
                self.commit()
            else:
                self.rollback()


class EmbeddedSnapshot(_OneSession, interface.Snapshot):
    """See ``base.interface.Snapshot``."""

    def __init__(self, session: Session) -> None:
        self._made = session

    @property
    def _session(self) -> Session:
        return self._made

    def table(self, name: str, /) -> EmbeddedTable:
        check_text(name, "the name of a table")
        return EmbeddedTable(self, name)

    def close(self) -> None:
        self._made.close()

    def abandon(self) -> None:
        self._made.cancel()
        self._made.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


class EmbeddedTable(interface.Table):
    """See ``base.interface.Table``. Holds a name; the definition is looked up by each call."""

    def __init__(self, source: _Sessions, name: str) -> None:
        self._source = source
        self._name = name
        self._describe()

    def _describe(self) -> Definition:
        with self._source.session() as session:
            return session.describe(self._name)

    @property
    def name(self) -> str:
        return self._name

    @property
    def schema(self) -> pa.Schema:
        return self._describe().arrow_schema

    @property
    def primary_key(self) -> tuple[str, ...]:
        return tuple(column.name for column in self._describe().primary_key_columns)

    def insert(self, rows: Rows, /) -> Written:
        with self._source.session() as session:
            return session.insert(self._name, rows)

    def put(self, rows: Rows, /) -> Written:
        with self._source.session() as session:
            return session.put(self._name, rows)

    def update(self, key: Key, /, **changes: object) -> Written:
        with self._source.session() as session:
            return session.update(self._name, key, changes)

    def add(
        self,
        key: Key,
        amounts: Mapping[str, object] | None = None,
        /,
        *,
        min: object = None,
        max: object = None,
        **more: object,
    ) -> Written:
        with self._source.session() as session:
            return session.add(self._name, key, {**(amounts or {}), **more}, lower=min, upper=max)

    def delete(self, keys: Keys, /) -> Written:
        with self._source.session() as session:
            return session.delete(self._name, keys)

    def get(self, key: Key, /, *, at_least: int | None = None) -> dict[str, object] | None:
        found = None if at_least is not None else self._source.newest_row(self._name, key)
        if found is not None:
            return found[0]
        with self._source.session() as session:
            return session.get(self._name, key, at_least)

    def get_many(self, keys: Keys, /, *, at_least: int | None = None) -> pa.Table:
        with self._source.session() as session:
            return session.get_many(self._name, keys, at_least).arrow()

    def scan(
        self,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        key: object = None,
        time: tuple[object, object] | None = None,
        at_least: int | None = None,
    ) -> pa.RecordBatchReader:
        with self._source.session() as session:
            result = session.scan(self._name, columns=columns, where=where, key=key, time=time, at_least=at_least)
            return result.reader()

    def export(self, *, columns: Sequence[str] | None = None, at_least: int | None = None) -> pa.RecordBatchReader:
        check_exported(columns)
        with self._source.session() as session:
            return exact(session.export(self._name, columns=columns, at_least=at_least).reader())

    def writer(self, *, name: str | None = None) -> EmbeddedWriter:
        return self._source.writer(self._name, name=name)

    def __repr__(self) -> str:
        return f"<Table {self._name}>"


class _TransactionTable(EmbeddedTable):
    """A table inside a transaction: what is one row, given by plain values, goes to the engine's transaction at once.

    All else, and all that is to be refused, goes by the session.
    """

    def __init__(self, transaction: EmbeddedTransaction, name: str) -> None:
        self._transaction = transaction.opened()
        super().__init__(transaction, name)

    def _describe(self) -> Definition:
        transaction = self._transaction
        with transaction.gate:
            return transaction.readable(self._name)

    def insert(self, rows: Rows, /) -> Written:
        return self._put_row(rows, insert=True) or super().insert(rows)

    def put(self, rows: Rows, /) -> Written:
        return self._put_row(rows, insert=False) or super().put(rows)

    def _put_row(self, row: Rows, *, insert: bool) -> Written | None:
        transaction = self._transaction
        with transaction.gate:
            definition = transaction.table(self._name)
            done = transaction.put_row(definition, row, insert=insert)
            return Written(version=transaction.version, rows=1) if done else None

    def update(self, key: Key, /, **changes: object) -> Written:
        transaction = self._transaction
        with transaction.gate:
            definition = transaction.table(self._name)
            plain = definition.shape.key(key)
            if plain is not None and transaction.update_row(definition, plain, changes):
                return Written(version=transaction.version, rows=1)
        return super().update(key, **changes)

    def delete(self, keys: Keys, /) -> Written:
        transaction = self._transaction
        with transaction.gate:
            definition = transaction.table(self._name)
            plain = definition.shape.key(keys)
            if plain is not None and transaction.delete_row(definition, plain):
                return Written(version=transaction.version, rows=1)
        return super().delete(keys)

    def get(self, key: Key, /, *, at_least: int | None = None) -> dict[str, object] | None:
        transaction = self._transaction
        with transaction.gate:
            definition = transaction.readable(self._name)
            plain = definition.shape.key(key)
            if plain is not None and at_least is None:
                return transaction.get(definition, plain)
        return super().get(key, at_least=at_least)
