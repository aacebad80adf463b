"""The transaction service: begin, commit, roll back, snapshots, and the leases that hold them."""

from __future__ import annotations

from ..base.errors import LimitExceeded
from ..base.limits import PARAMETERS_MAX
from ..engine.database import Engine
from ..proto.weftdb.v1.transactions_pb2 import (
    BeginRequest,
    CommitResponse,
    EmptyResponse,
    OpenSnapshotRequest,
    RenewRequest,
    RenewResponse,
    SessionRequest,
    SessionResponse,
    VersionResponse,
)
from ..sql.session import Session
from .convert import as_of
from .gate import Call
from .sessions import Sessions


class TransactionsService:
    """Methods of ``weftdb.v1.Transactions``."""

    def __init__(self, engine: Engine, sessions: Sessions, *, release: str) -> None:
        self._engine = engine
        self._sessions = sessions
        self._release = release

    def begin(self, request: BeginRequest, call: Call) -> SessionResponse:
        return self._sessions.begin(request, call)

    def commit(self, request: SessionRequest, call: Call) -> CommitResponse:
        return CommitResponse(version=self._sessions.commit(request.session, call))

    def rollback(self, request: SessionRequest, call: Call) -> EmptyResponse:
        with self._sessions.use(request.session, call) as use:
            use.session.rollback()
        self._sessions.close(request.session, call)
        return EmptyResponse()

    def open_snapshot(self, request: OpenSnapshotRequest, call: Call) -> SessionResponse:
        moment = as_of(request)
        session = Session(
            self._engine,
            principal=call.principal,
            as_of=self._engine.version if moment is None else moment,
            settings=dict(request.settings.values),
        )
        version = session.version
        name = self._sessions.new_name()
        lease = self._sessions.hold(
            session, name=name, kind="snapshot", principal=call.principal, lease_seconds=request.lease_seconds
        )
        return SessionResponse(session=name, version=version, lease_seconds=lease)

    def close(self, request: SessionRequest, call: Call) -> EmptyResponse:
        self._sessions.close(request.session, call)
        return EmptyResponse()

    def renew(self, request: RenewRequest, call: Call) -> RenewResponse:
        if len(request.sessions) > PARAMETERS_MAX:
            raise LimitExceeded(f"{len(request.sessions):,} sessions in one request, the limit is {PARAMETERS_MAX:,}")
        return RenewResponse(lost=self._sessions.renew(list(request.sessions)))

    def version(self, request: SessionRequest, call: Call) -> VersionResponse:
        if call.outside(request.session):
            return VersionResponse(version=self._engine.version, server=self._release)
        with self._sessions.use(request.session, call) as use:
            return VersionResponse(version=use.session.version, server=self._release)
