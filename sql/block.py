"""The state of a session's transaction: none, open, or failed; and the clock of the statement that runs.

    idle ──BEGIN──► open ──COMMIT, ROLLBACK──► idle
                     │ a statement fails  ▲
                     ▼                    │ ROLLBACK TO a savepoint
                   failed ────────────────┘
                     └─────COMMIT or ROLLBACK (both roll back)──► idle

A statement that fails is undone alone. That the block then waits for a ROLLBACK is PostgreSQL's rule for BEGIN in a
text; a transaction object of a program goes on.

A block is *implicit* where several statements of one text belong together without a BEGIN. The engine's transaction is
begun by the first statement that needs it, so BEGIN is free and an idle client pins nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..base.errors import Invalid, LimitExceeded, nearest
from ..base.limits import SAVEPOINTS_MAX
from ..engine.clock import monotonic
from ..engine.database import Engine
from ..engine.savepoint import Savepoint
from ..engine.transaction import Transaction
from .cancel import TIMED_OUT
from .relational import Cancel
from .settings import ISOLATION, Saved, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A savepoint of a session: the engine's, and the settings of that moment."""

    name: str
    savepoint: Savepoint
    settings: Saved


@dataclass(slots=True, kw_only=True)
class Block:
    """One transaction of a session.

    ``held``: it belongs to a program's transaction object, and SQL texts cannot end it. ``altered``: it changed
    definitions, so plans in the cache do not fit it. ``isolation`` is a name in ISOLATION. ``id`` names the
    transaction in the log, so that its outcome is found again.
    """

    engine: Engine
    settings: Settings
    isolation: str
    read_only: bool
    explicit: bool
    held: bool = False
    failed: bool = False
    altered: bool = False
    id: str | None = None
    principal: str = ""
    opened: Transaction | None = None
    savepoints: list[Named] = field(default_factory=list[Named])
    _hidden: list[str] = field(default_factory=list[str])

    @property
    def transaction(self) -> Transaction:
        if self.opened is None:
            isolation = ISOLATION[self.isolation]
            self.opened = self.engine.begin(
                isolation=isolation,
                read_only=self.read_only,
                id=self.id,
                principal=self.principal,
                idle_limit=lambda: self.settings.idle_seconds,
            )
        return self.opened

    @property
    def behind(self) -> bool:
        """Whether views do not show what the transaction wrote, so that plans in the cache do not fit."""
        return self.opened is not None and bool(self.opened.behind)

    def take_over(self, begun: Transaction) -> None:
        """Go on with a transaction that was begun outside of the session; its settings hold from now on."""
        self.opened = begun
        begun.idle_limit = lambda: self.settings.idle_seconds

    def check_usable(self) -> None:
        """Raise Invalid (25P02) after a statement of the block has failed."""
        if self.failed:
            raise Invalid(
                "current transaction is aborted, commands ignored until end of transaction block",
                hint="ROLLBACK, and begin again; or ROLLBACK TO a savepoint.",
                sqlstate="25P02",
            )

    def savepoint(self, name: str) -> None:
        """Remember this moment; a name that is there already is hidden until the new one is released."""
        if len(self.savepoints) >= SAVEPOINTS_MAX:
            raise LimitExceeded(
                f"a transaction has at most {SAVEPOINTS_MAX:,} savepoints", hint="RELEASE those that are done."
            )
        with self.transaction.gate:
            made = self.transaction.savepoint()
        self.savepoints.append(Named(name=name, savepoint=made, settings=self.settings.saved()))

    def rollback_to(self, name: str) -> None:
        """Undo everything since the savepoint, which stays. Raises Invalid (3B001) for a name that there is not."""
        at = self._place_of(name)
        self._release_from(at + 1)
        with self.transaction.gate:
            self.transaction.rollback_to(self.savepoints[at].savepoint)
        self.settings.restore(self.savepoints[at].settings)
        self.failed = False

    def release(self, name: str) -> None:
        """Forget the savepoint and all after it; what was done since stays. Raises Invalid (3B001)."""
        self._release_from(self._place_of(name))

    @contextmanager
    def undone_alone(self) -> Generator[None]:
        """Undo what the block of code did if it raises. Inside, savepoints from before cannot be gone back to."""
        outer, self.savepoints = self.savepoints, []
        self._hidden = [named.name for named in outer]
        saved = self.settings.saved()
        try:
            with self.transaction.gate, self.transaction.undone_alone():
                yield
        except BaseException:
            self._release_from(0)
            self.settings.restore(saved)
            raise
        finally:
            self.savepoints = [*outer, *self.savepoints]
            self._hidden = []

    def _place_of(self, name: str) -> int:
        places = [at for at, named in enumerate(self.savepoints) if named.name == name]
        if not places:
            raise Invalid(
                f'savepoint "{name}" does not exist',
                hint="A text of several statements cannot go back to before its own start; run ROLLBACK TO by itself."
                if name in self._hidden
                else nearest(name, [named.name for named in self.savepoints]) or "SAVEPOINT makes one.",
                sqlstate="3B001",
            )
        return places[-1]

    def _release_from(self, at: int) -> None:
        with self.transaction.gate:
            for named in self.savepoints[at:]:
                self.transaction.release(named.savepoint)
        del self.savepoints[at:]

    def commit(self) -> int:
        """Commit and return the version. Raises Conflict."""
        if self.opened is None:
            return self.engine.version
        with self.opened.gate:
            return self.opened.commit().version

    def rollback(self) -> None:
        if self.opened is not None:
            with self.opened.gate:
                self.opened.rollback()


class Running:
    """One statement under way: its cancel token, and its time limit in seconds from now, None for no limit.

    The clock runs until ``finish``. ``streaming``: the statement's result is still being read, and finishes it.
    """

    def __init__(self, *, seconds: float | None) -> None:
        self.cancel = Cancel()
        self.streaming = False
        self._began = monotonic()
        self._timer: threading.Timer | None = None
        if seconds is not None:
            self._timer = threading.Timer(max(seconds, 0), self.cancel.cancel, kwargs={"reason": TIMED_OUT})
            self._timer.daemon = True
            self._timer.start()

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return monotonic() - self._began

    def finish(self) -> None:
        """Stop the clock. May be called again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
