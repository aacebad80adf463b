"""The sessions that span calls, each held for a lease; and the short ones of calls that name none.

    name ──► Held(session, lease, calls using it)          the name is a secret: who knows it may use it
                 │ use(): one call at a time, renews the lease
                 └ reaper thread: lease over and no call inside → roll back, release, forget

What always holds: a held session has at most one statement running; it never ends under a running call; their number
is limited by SESSIONS_MAX, which those that have ended do not count for.

A client whose connection broke during COMMIT asks again, this server or the one that comes after a crash. A
transaction's name is its id in the log, so what was committed is found there; this server remembers, in memory, also
the ends that left nothing in the log (errors, commits without a write). A name holds the version at which it was given,
which tells whether the log's ids reach back that far: if they do and do not have it, it was not committed.

What it does not do: it keeps no state of a transaction itself. That is the ``Session``'s.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from ..base.errors import Closed, Invalid, LimitExceeded, WeftError
from ..base.limits import SESSIONS_ENDED_MAX, SESSIONS_MAX, TRANSACTION_LEASE_SECONDS
from ..base.result import Result
from ..engine.changes import UNKNOWN_OUTCOME
from ..engine.clock import monotonic, new_uuid
from ..engine.database import Engine
from ..proto.failures import from_detail, to_detail
from ..proto.weftdb.v1.kv_pb2 import WriteResponse
from ..proto.weftdb.v1.transactions_pb2 import BeginRequest, SessionResponse
from ..proto.weftdb.v1.types_pb2 import ErrorDetail
from ..sql.session import Session
from .gate import LOG, Call
from .results import Results

_LEASE_SECONDS_MIN: Final = 0.1


@dataclass(slots=True, kw_only=True)
class Held:
    """One session under a lease. ``lock`` is held while a statement runs, ``calls`` counts all who still use it."""

    session: Session
    kind: str
    principal: str
    lease_seconds: float
    expires: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    calls: int = 0
    over: bool = False  # committed, or rolled back by an error at the commit
    answered: tuple[str, WriteResponse] = ("", WriteResponse())  # to its last write with an id, see once.py


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A session in the hands of one call. ``unlock`` lets the session's next call in while this one streams rows.

    ``held`` is None for a session of the call's own.
    """

    session: Session
    unlock: Callable[[], None]
    held: Held | None = None


class Sessions:
    """All sessions of a server. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._mutex = threading.Lock()
        self._held: dict[str, Held] = {}
        self._ended: dict[str, int | ErrorDetail] = {}  # the version of the commit, or what to raise
        self.results = Results()
        self._stop = threading.Event()
        self._reaper = threading.Thread(target=self._reap, name="weftdb-leases", daemon=True)
        self._reaper.start()

    def new_name(self) -> str:
        """A name for a session: a secret, and the version of now."""
        return f"{new_uuid()}@{self._engine.version}"

    def begin(self, request: BeginRequest, call: Call) -> SessionResponse:
        """Begin a transaction and hold it."""
        session = Session(self._engine, principal=call.principal, settings=dict(request.settings.values))
        name = self.new_name()
        try:
            session.begin(isolation=request.isolation or "snapshot", read_only=request.read_only, id=name)
        except BaseException:
            session.close()
            raise
        lease = self.hold(
            session, name=name, kind="transaction", principal=call.principal, lease_seconds=request.lease_seconds
        )
        return SessionResponse(session=name, lease_seconds=lease)

    def hold(self, session: Session, *, name: str, kind: str, principal: str, lease_seconds: float) -> float:
        """Keep a session for later calls, and return the lease granted. Raises LimitExceeded, and closes it then."""
        lease = min(max(lease_seconds, _LEASE_SECONDS_MIN) if lease_seconds > 0 else 1e9, TRANSACTION_LEASE_SECONDS)
        with self._mutex:
            full = len(self._held) >= SESSIONS_MAX
            if not full:
                self._held[name] = Held(
                    session=session, kind=kind, principal=principal, lease_seconds=lease, expires=monotonic() + lease
                )
        if full:
            session.close()
            message = f"{SESSIONS_MAX} transactions and snapshots are open, as many as may be (SESSIONS_MAX)"
            raise LimitExceeded(message, hint="Close those that are not needed.")
        return lease

    @contextmanager
    def use(self, name: str, call: Call, *, settings: Mapping[str, str] | None = None) -> Generator[Use]:
        """The session called ``name``, or a new one for an empty name, until the block ends. A call that begins a
        transaction gets that, and its client its name. ``settings`` are for a new one.

        If the call is cancelled meanwhile, so is the session's running statement. Raises Closed for an unknown name.
        """
        if settings is not None and not call.outside(name):
            message = "settings were given with a call in a transaction or snapshot"
            raise Invalid(message, hint="SET them in it, or give them at its begin.", sqlstate="25001")
        if not name and call.begin is not None:
            begun = self.begin(call.begin, call)
            call.tell(begun)
            name = begun.session
        if not name:
            session = Session(self._engine, principal=call.principal, single_call=True, settings=settings)
            try:
                with call.while_running(session.cancel):
                    yield Use(session=session, unlock=lambda: None)
            finally:
                session.close()
            return
        with self._using(name, call.principal) as held:
            if held is None:
                raise self._gone(name)
            with _Lock(held.lock) as lock:
                if held.over:
                    raise self._gone(name)
                with call.while_running(lambda: held.session.cancel() if lock.held else None):
                    yield Use(session=held.session, unlock=lock.release, held=held)

    def answer(self, result: Result, use: Use, call: Call, *, definitions: int = 0) -> bytes:
        """The answer of a call that ends with this result; the session's next call may come in meanwhile."""
        use.unlock()
        cancel = use.session.cancel if use.held is None else lambda: None
        return self.results.answer(result, call, cancel=cancel, definitions=definitions)

    def commit(self, name: str, call: Call) -> int:
        """Commit a held transaction and return its version. The same again gives the first outcome, errors included.

        Raises Closed for what was not committed and is not here any more, Unavailable (08007) where nobody knows.
        """
        with self._using(name, call.principal) as held:
            if held is not None:
                with held.lock:
                    if not held.over:
                        return self._commit(name, held)
        return self._outcome(name)

    def close(self, name: str, call: Call) -> None:
        """Roll back or release, and forget. No error if there is no such session."""
        held = self._forget(name)
        if held is not None:
            held.session.cancel()
            with held.lock:
                held.session.close()

    def renew(self, names: Iterable[str]) -> list[str]:
        """Renew leases; returns the names that are not here."""
        lost: list[str] = []
        with self._mutex:
            for name in names:
                held = self._held.get(name)
                if held is None:
                    lost.append(name)
                else:
                    held.expires = monotonic() + held.lease_seconds
        return lost

    def close_all(self) -> None:
        """Roll everything back; for the end of the server."""
        self._stop.set()
        self._reaper.join()
        with self._mutex:
            held, self._held = list(self._held.values()), {}
        self.results.close_all()
        for one in held:
            one.session.cancel()
            with one.lock:
                one.session.close()

    def _commit(self, name: str, held: Held) -> int:
        if held.kind != "transaction":
            raise Invalid(f"a {held.kind} cannot be committed", sqlstate="25000")
        outcome: int | ErrorDetail | None = None
        try:
            outcome = held.session.commit()
            return outcome
        except WeftError as error:
            outcome = None if error.sqlstate == UNKNOWN_OUTCOME else to_detail(error)
            raise
        finally:
            held.over = True
            held.session.close()
            with self._mutex:
                self._held.pop(name, None)
                self._remember_end(name, outcome)

    def _outcome(self, name: str) -> int:
        """What became of a transaction that is not held any more."""
        with self._mutex:
            outcome = self._ended.get(name)
        if isinstance(outcome, int):
            return outcome
        if outcome is not None:
            raise from_detail(outcome)
        commit = self._engine.outcome_of(name, since=_version_in(name))
        if commit is None:
            message = "the transaction is not open on this server any more, and nothing of it was committed"
            raise Closed(message, hint="Begin a new transaction, and do the same again.")
        return commit.version

    def _gone(self, name: str) -> WeftError:
        """What to raise for the use of a session that is not (or no longer) held."""
        with self._mutex:
            outcome = self._ended.get(name)
        if isinstance(outcome, int):
            return Closed("the transaction was committed already", hint="Begin a new one.")
        if outcome is None:
            message = f'session "{name}" is not (or no longer) open on this server'
            return Closed(message, hint="Begin a new transaction.")
        error = from_detail(outcome)
        if isinstance(error, Closed):
            return error
        return Closed(f"the transaction ended when its commit failed: {error.message}", hint="Begin a new one.")

    def _remember_end(self, name: str, outcome: int | ErrorDetail | None) -> None:
        """Under the mutex: keep how a session ended, if that is known."""
        if outcome is not None:
            self._ended[name] = outcome
        while len(self._ended) > SESSIONS_ENDED_MAX:
            del self._ended[next(iter(self._ended))]

    @contextmanager
    def _using(self, name: str, principal: str) -> Generator[Held | None]:
        """The held session, which cannot expire meanwhile; its lease begins anew at the end. None: it is not here."""
        with self._mutex:
            held = self._held.get(name)
            if held is not None and held.principal != principal:
                held = None
            if held is not None:
                held.calls += 1
        if held is None:
            yield None
            return
        try:
            yield held
        finally:
            with self._mutex:
                held.calls -= 1
                held.expires = monotonic() + held.lease_seconds

    def _forget(self, name: str) -> Held | None:
        with self._mutex:
            return self._held.pop(name, None)

    def _reap(self) -> None:
        """End what nobody uses any more. A tick is short against the shortest sensible lease."""
        while not self._stop.wait(0.1):
            now = monotonic()
            self.results.reap(now)
            with self._mutex:
                over = [name for name, held in self._held.items() if not held.calls and held.expires < now]
                ended = [self._held.pop(name) for name in over]
                for name, held in zip(over, ended, strict=True):
                    message = f"the {held.kind} ended: its lease of {held.lease_seconds:g} s was over unused"
                    error = Closed(message, hint="Begin a new transaction.", sqlstate="25P03")
                    self._remember_end(name, to_detail(error))
            for held in ended:
                try:
                    held.session.close()
                except Exception:
                    LOG.exception("closing an expired %s failed", held.kind)


def _version_in(name: str) -> int:
    """The version at which a session's name was given; 0 for a name that is none."""
    version = name.rpartition("@")[2]
    return int(version) if version.isascii() and version.isdigit() and len(version) < 20 else 0


class _Lock:
    """A lock held by a block, which may let go of it early."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self.held = False

    def __enter__(self) -> _Lock:
        self._lock.acquire()
        self.held = True
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        if self.held:
            self.held = False
            self._lock.release()
