"""``weftdb.connect``: a remote database behind the same interface as an embedded one.

    db = weftdb.connect("weft://127.0.0.1:7401")

One ``RemoteDatabase`` is one gRPC channel, which reconnects by itself. It may be used from several threads.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ..base.arguments import check_text, settings_of
from ..base.errors import Invalid, Unavailable
from ..base.result import Result
from ..proto.weftdb.v1.transactions_pb2 import (
    BeginRequest,
    OpenSnapshotRequest,
    SessionRequest,
    SessionResponse,
    VersionResponse,
)
from ..proto.weftdb.v1.types_pb2 import Settings
from .admin import RemoteAdmin
from .definitions import Definitions
from .failures import no_answer
from .feed import RemoteChanges
from .reads import Leases, RemoteReads, RemoteSnapshot, RemoteTransaction
from .table import RemoteTable
from .wire import Again, Wire
from .writer import RemoteWriter

PORT_DEFAULT: Final = 7401
CONNECT_SECONDS: Final = 5.0

_URL: Final = re.compile(r"weft://(?P<host>\[[0-9a-fA-F:.%]+\]|[^\[\]:/?#@\s]+)(?::(?P<port>\d{1,5}))?/?")
_LEVELS: Final = ("snapshot", "repeatable read", "read committed", "serializable")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def connect(url: str, *, timeout: float = CONNECT_SECONDS) -> RemoteDatabase:
    """Connect to ``weft://host:port`` (port 7401 unless given), waiting at most ``timeout`` seconds.

    Raises Invalid for a malformed address, Unavailable, naming the address, when no server answers there.
    """
    match = _URL.fullmatch(str(url))
    if match is None or int(match["port"] or 1) > 65_535:
        raise Invalid(
            f"{url!r} is not an address of a server", hint="Give weft://host:port, for example weft://127.0.0.1:7401."
        )
    address = f"{match['host']}:{match['port'] or PORT_DEFAULT}"
    wire = Wire(target=f"dns:///{address}", address=address)
    try:
        wire.ask("Transactions/Version", SessionRequest(), VersionResponse, timeout=timeout, again=Again.NEVER)
    except Unavailable as error:
        wire.close()
        raise Unavailable(
            f"no WeftDB server answers at {url}: {error.message.removeprefix(no_answer(address))}",
            hint="Start one with: weft serve --data DIR",
            sqlstate="08001",
        ) from None
    except BaseException:
        wire.close()
        raise
    return RemoteDatabase(wire)


class RemoteDatabase(RemoteReads):
    """Implements ``base.interface.Database``."""

    def __init__(self, wire: Wire) -> None:
        self._shared = Definitions()
        super().__init__(wire, self._shared)
        self._leases = Leases(wire)
        self._children: weakref.WeakSet[RemoteWriter | RemoteChanges] = weakref.WeakSet()
        self._closed = False

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
        return self.run(sql, parameters, timeout=timeout, at_least=at_least, settings=_settings(settings))

    def transaction(
        self,
        *,
        isolation: str = "snapshot",
        read_only: bool = False,
        settings: Mapping[str, object] | None = None,
    ) -> RemoteTransaction:
        """Begun at the server by its first call; at once, where the server has to say whether there is such a level, or
        setting.
        """
        check_text(isolation, "the isolation level")
        request = BeginRequest(isolation=isolation, read_only=read_only, settings=_settings(settings or None))
        transaction = RemoteTransaction(self.wire, self._leases, self._shared, request)
        if isolation in _LEVELS and not settings:
            self.wire.check_open()
        else:
            transaction.begun(self.wire.ask("Transactions/Begin", request, SessionResponse, again=Again.ALWAYS))
        return transaction

    def snapshot(
        self, as_of: int | datetime | str | None = None, *, settings: Mapping[str, object] | None = None
    ) -> RemoteSnapshot:
        request = OpenSnapshotRequest(settings=_settings(settings))
        if isinstance(as_of, datetime):
            moment = as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of
            request.wall_clock = (moment - _EPOCH) // timedelta(microseconds=1)
        elif isinstance(as_of, str):
            request.name = as_of
        elif as_of is not None:
            request.version = _version(as_of)
        answer = self.wire.ask("Transactions/OpenSnapshot", request, SessionResponse, again=Again.ALWAYS)
        snapshot = RemoteSnapshot(self.wire, self._leases, answer.session)
        self._leases.keep(snapshot, lease_seconds=answer.lease_seconds)
        return snapshot

    def writer(self, table: RemoteTable, options: dict[str, Any]) -> RemoteWriter:
        writer = RemoteWriter(self.wire, table, **options)
        self._children.add(writer)
        return writer

    def changes(
        self, table: str, from_version: int | None = None, *, before: bool = False, name: str | None = None
    ) -> RemoteChanges:
        check_text(table, "the name of a table")
        feed = RemoteChanges(self.wire, table, from_version=from_version, before=before, name=name)
        self._children.add(feed)
        return feed

    @property
    def admin(self) -> RemoteAdmin:
        """The administrator's door, for ``weft check`` and ``weft backup``."""
        return RemoteAdmin(self.wire)

    def close(self) -> None:
        """Roll back open transactions, give up what writers have not sent, end feeds, and close the channel."""
        if self._closed:
            return
        self._closed = True
        self._leases.close()
        for child in list(self._children):
            child.abandon()
        self.wire.close()


def _settings(given: Mapping[str, object] | None) -> Settings | None:
    return None if given is None else Settings(values=settings_of(given))


def _version(as_of: object) -> int:
    if isinstance(as_of, bool) or not isinstance(as_of, int) or not -(2**63) <= as_of < 2**63:
        raise Invalid(
            f"as_of is a version (int), a datetime or the name of a snapshot, not {as_of!r}", sqlstate="22023"
        )
    return as_of
