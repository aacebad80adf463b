"""What can be asked remotely: a database, a transaction, a snapshot; and the leases that hold the latter two.

A transaction or snapshot is a session at the server, named by a secret and held for a lease. Each call renews it;
``Leases`` renews those of a client that thinks between its calls, so that a session lives as long as its client: when
the client dies, the server ends it a lease later.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from ..base.arguments import check_statement, check_text
from ..base.errors import Closed, Invalid, Unavailable, WeftError
from ..base.limits import COMMIT_RETRY_SECONDS, STATEMENT_BYTES_MAX
from ..base.result import Result
from ..proto.values import to_values
from ..proto.weftdb.v1.kv_pb2 import DescribeRequest, TableDescription
from ..proto.weftdb.v1.sql_pb2 import ExecuteRequest
from ..proto.weftdb.v1.transactions_pb2 import (
    BeginRequest,
    CommitResponse,
    EmptyResponse,
    RenewRequest,
    RenewResponse,
    SessionRequest,
    SessionResponse,
    VersionResponse,
)
from ..proto.weftdb.v1.types_pb2 import Settings
from .definitions import Definition, Definitions, definition_of
from .table import RemoteTable, checked
from .wire import Again, Wire
from .writer import RemoteWriter

_CLOSE_SECONDS: Final = 5.0


class RemoteReads:
    """Implements ``base.interface.Reads``. Closing is left to the subclasses."""

    def __init__(self, wire: Wire, definitions: Definitions | None) -> None:
        """``definitions``: those that are known of what it sees; None: none can be."""
        self.wire = wire
        self._definitions = definitions

    @property
    def session(self) -> str:
        """The session's name, empty for none. Raises Closed once it is over."""
        return ""

    @property
    def version(self) -> int:
        request = SessionRequest(session=self.session)
        return self.wire.ask("Transactions/Version", request, VersionResponse, again=Again.ALWAYS).version

    def execute(
        self,
        sql: str,
        parameters: Sequence[object] = (),
        /,
        *,
        timeout: float | None = None,
        at_least: int | None = None,
    ) -> Result:
        return self.run(sql, parameters, timeout=timeout, at_least=at_least)

    def run(
        self,
        sql: str,
        parameters: Sequence[object],
        *,
        timeout: float | None,
        at_least: int | None,
        settings: Settings | None = None,
    ) -> Result:
        """``execute``, with the settings of a text that is a session of its own."""
        check_statement(sql, parameters, timeout)
        if len(sql) > STATEMENT_BYTES_MAX:
            message = f"the SQL text has {len(sql):,} characters, the limit is {STATEMENT_BYTES_MAX:,}"
            raise Invalid(message, hint="Send data as parameters, or through a writer.", sqlstate="54000")
        request = ExecuteRequest(
            session=self.session,
            sql=sql,
            parameters=to_values(parameters),
            timeout_seconds=timeout,
            at_least=checked(at_least),
            settings=settings,
        )
        return self.wire.result("Sql/Execute", request, timeout=timeout, told=self._altered)

    def table(self, name: str, /) -> RemoteTable:
        check_text(name, "the name of a table")
        return RemoteTable(self, name)

    def known(self, table: str) -> Definition | None:
        """See ``table.Source``."""
        self.wire.check_open()
        return None if self._definitions is None else self._definitions.get(table)

    def describe(self, table: str) -> Definition:
        request = DescribeRequest(session=self.session, table=table)
        answer = self.wire.ask("KeyValue/Describe", request, TableDescription, again=Again.ALWAYS)
        found = definition_of(answer)
        if self._definitions is not None and answer.definitions >= 0:
            self._definitions.keep(table, found, version=answer.definitions)
        return found

    def _altered(self, version: int) -> None:
        """A statement was answered, and told what version of the catalog there is; see ResultAnswer."""
        if self._definitions is not None:
            self._definitions.note(version)

    def writer(self, table: RemoteTable, options: dict[str, Any]) -> RemoteWriter:
        raise Invalid(
            "a writer's batches commit one by one, which they cannot inside a transaction or snapshot",
            hint="Use the table's put here, or a writer of the database.",
            sqlstate="25001",
        )

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


class RemoteSession(RemoteReads):
    """What transaction and snapshot share: a name, until it is over."""

    _noun = "session"

    def __init__(self, wire: Wire, leases: Leases, definitions: Definitions | None, name: str = "") -> None:
        super().__init__(wire, definitions)
        self._name = name
        self._leases = leases
        self._over: str | None = None

    @property
    def session(self) -> str:
        if self._over is not None:
            raise Closed(f"the {self._noun} was {self._over}", hint=f"Open a new {self._noun}.")
        return self._name

    def close(self) -> None:
        """Release it at the server. Never raises: what cannot be told is ended by the lease."""
        if self._over is not None:
            return
        self._end("closed")
        if not self._name:
            return
        with contextlib.suppress(WeftError):
            self.wire.ask(
                "Transactions/Close",
                SessionRequest(session=self._name),
                EmptyResponse,
                timeout=_CLOSE_SECONDS,
                again=Again.NEVER,
            )

    def known(self, table: str) -> Definition | None:
        assert self.session is not None, "it raises Closed"
        return super().known(table)

    def _end(self, how: str) -> None:
        self._over = how
        self._leases.drop(self)

    @property
    def name(self) -> str:
        """The secret, also when it is over."""
        return self._name


class RemoteSnapshot(RemoteSession):
    """Implements ``base.interface.Snapshot``."""

    _noun = "snapshot"

    def __init__(self, wire: Wire, leases: Leases, name: str) -> None:
        super().__init__(wire, leases, Definitions(), name)


class RemoteTransaction(RemoteSession):
    """Implements ``base.interface.Transaction``.

    It is begun by its first call, and has no name until that was answered. Where a connection broke and that call is
    sent again, it may have begun another one, which nobody knows and a lease ends.
    """

    _noun = "transaction"

    def __init__(self, wire: Wire, leases: Leases, definitions: Definitions, begin: BeginRequest) -> None:
        super().__init__(wire.beginning(begin, self.begun), leases, definitions)
        self._plain = wire
        self._of_all = definitions

    def begun(self, answer: SessionResponse) -> None:
        """It is there, and this is its name."""
        self._name = answer.session
        self.wire = self._plain
        self._leases.keep(self, lease_seconds=answer.lease_seconds)

    def _altered(self, version: int) -> None:
        if version < 0:
            self._definitions = None

    def commit(self) -> int:
        request = SessionRequest(session=self.session)
        if not self._name:
            version = self._plain.ask("Transactions/Version", request, VersionResponse, again=Again.ALWAYS).version
            self._end("committed already")
            return version
        if self._definitions is None:
            self._of_all.forget()
        try:
            version = self.wire.ask(
                "Transactions/Commit",
                request,
                CommitResponse,
                again=Again.ALWAYS,
                retry_seconds=COMMIT_RETRY_SECONDS,
            ).version
        except Unavailable as error:
            raise Unavailable(
                f"whether the transaction was committed is not known: {error.message}",
                hint="Call commit again when the server answers, to find out; it is committed once.",
                sqlstate="08007",
            ) from error
        except WeftError:
            self._end("rolled back when its commit failed")
            raise
        self._end("committed already")
        return version

    def rollback(self) -> None:
        request = SessionRequest(session=self.session)
        self._end("rolled back")
        if self._name:
            self.wire.ask("Transactions/Rollback", request, EmptyResponse, again=Again.ALWAYS)

    def savepoint(self, name: str, /) -> None:
        self.execute(f"SAVEPOINT {_quoted(name)}")

    def rollback_to(self, name: str, /) -> None:
        self.execute(f"ROLLBACK TO {_quoted(name)}")

    def release(self, name: str, /) -> None:
        self.execute(f"RELEASE {_quoted(name)}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if kind is None and self._over is None:
            self.commit()
        else:
            self.close()


def _quoted(name: str) -> str:
    """A name as SQL has it, whatever its characters."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


class Leases:
    """Renews the leases of all open sessions of one client, by one thread that starts with the first."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._changed = threading.Condition()
        self._open: dict[str, RemoteSession] = {}
        self._pause = 1e9
        self._thread: threading.Thread | None = None
        self._closed = False

    def keep(self, session: RemoteSession, *, lease_seconds: float) -> None:
        with self._changed:
            self._open[session.name] = session
            self._pause = min(self._pause, lease_seconds / 3)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="weftdb-leases", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def drop(self, session: RemoteSession) -> None:
        with self._changed:
            self._open.pop(session.name, None)

    def close(self) -> None:
        """Close all sessions, and renew no more."""
        with self._changed:
            self._closed = True
            sessions = list(self._open.values())
            self._changed.notify_all()
        for session in sessions:
            session.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed, timeout=self._pause)
                if self._closed:
                    return
                names = list(self._open)
            if names:
                with contextlib.suppress(WeftError):  # the next call on the session will say what is wrong
                    self._wire.ask(
                        "Transactions/Renew", RenewRequest(sessions=names), RenewResponse, timeout=self._pause
                    )
