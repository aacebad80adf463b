"""The sessions that span calls, each held for a lease; and the short ones of calls that name none.

    name ──► Held(session, lease, calls using it)          the name is a secret: who knows it may use it
                 │ use(): one call at a time, renews the lease
                 └ reaper thread: lease over and no call inside → roll back, release, forget

What always holds: a held session has at most one statement running; it never ends under a running call; its number is
limited by SESSIONS_MAX; a transaction that ended keeps its outcome until its lease is over, so that a client whose
connection broke during COMMIT can ask again.

What it does not do: it keeps no state of a transaction itself. That is the ``Session``'s.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from ..base.errors import Closed, Invalid, LimitExceeded
from ..base.limits import SESSIONS_MAX, TRANSACTION_LEASE_SECONDS
from ..engine.clock import monotonic, new_uuid
from ..engine.database import Engine
from ..sql.session import Session
from .gate import LOG, Call

_LEASE_SECONDS_MIN: Final = 0.1
_EXPIRED_REMEMBERED: Final = 1_000


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
    outcome: int | None = None  # the version of the commit, once there is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A session in the hands of one call. ``unlock`` lets the session's next call in while this one streams rows."""

    session: Session
    unlock: Callable[[], None]


class Sessions:
    """All sessions of a server. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._mutex = threading.Lock()
        self._held: dict[str, Held] = {}
        self._expired: dict[str, str] = {}
        self._stop = threading.Event()
        self._reaper = threading.Thread(target=self._reap, name="weftdb-leases", daemon=True)
        self._reaper.start()

    def hold(self, session: Session, *, kind: str, principal: str, lease_seconds: float) -> tuple[str, float]:
        """Keep a session for later calls: its name and the lease granted. Raises LimitExceeded, and closes it then."""
        lease = min(max(lease_seconds, _LEASE_SECONDS_MIN) if lease_seconds > 0 else 1e9, TRANSACTION_LEASE_SECONDS)
        name = new_uuid()
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
        return name, lease

    @contextmanager
    def use(self, name: str, call: Call) -> Generator[Use]:
        """The session called ``name``, or a new one for an empty name, until the block ends.

        If the call is cancelled meanwhile, so is the session's running statement. Raises Closed for an unknown name.
        """
        if not name:
            session = Session(self._engine, principal=call.principal, single_call=True)
            try:
                with call.while_running(session.cancel):
                    yield Use(session=session, unlock=lambda: None)
            finally:
                session.close()
            return
        with self._using(name, call.principal) as held, _Lock(held.lock) as lock:
            if held.outcome is not None:
                raise Closed(f"the {held.kind} was committed already", hint="Begin a new one.")
            with call.while_running(lambda: held.session.cancel() if lock.held else None):
                yield Use(session=held.session, unlock=lock.release)

    def commit(self, name: str, call: Call) -> int:
        """Commit a held transaction and return its version; again, if it was committed already."""
        with self._using(name, call.principal) as held, held.lock:
            if held.outcome is not None:
                return held.outcome
            if held.kind != "transaction":
                raise Invalid(f"a {held.kind} cannot be committed", sqlstate="25000")
            try:
                version: int = held.session.commit()
            except BaseException:
                self._forget(name)  # failed or conflicting: it is rolled back
                raise
            finally:
                held.session.close()
            held.outcome = version
            return version

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
        for one in held:
            one.session.cancel()
            with one.lock:
                one.session.close()

    @contextmanager
    def _using(self, name: str, principal: str) -> Generator[Held]:
        """The held session, which cannot expire meanwhile; its lease begins anew when the block ends."""
        with self._mutex:
            held = self._held.get(name)
            if held is None or held.principal != principal:
                raise Closed(
                    self._expired.get(name, f'session "{name}" is not (or no longer) open on this server'),
                    hint="Begin a new transaction.",
                    sqlstate="25P03" if name in self._expired else None,
                )
            held.calls += 1
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
            with self._mutex:
                over = [name for name, held in self._held.items() if not held.calls and held.expires < now]
                ended = [self._held.pop(name) for name in over]
                for name, held in zip(over, ended, strict=True):
                    self._expired[name] = (
                        f"the {held.kind} ended: its lease of {held.lease_seconds:g} s was over before anybody used it"
                    )
                while len(self._expired) > _EXPIRED_REMEMBERED:
                    del self._expired[next(iter(self._expired))]
            for held in ended:
                try:
                    held.session.close()
                except Exception:
                    LOG.exception("closing an expired %s failed", held.kind)


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
