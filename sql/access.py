"""How a session reaches the engine: its transaction, the snapshot it is pinned to, and retries.

Everything that a session does is one of three: ``read_now`` (read completely, then return), ``read_stream`` (a result
that keeps a pin of its own) and ``transact`` (write in the open transaction, or in one of its own that is tried again
after a Conflict). They decide what is read and written; sql/session.py only says what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Self, TypeVar

from ..base.errors import Closed, Conflict, Invalid
from ..base.limits import RETRY_SECONDS_MAX
from ..base.result import Result
from ..engine.changes import Isolation
from ..engine.clock import AsOf, sleep
from ..engine.database import Engine
from ..engine.delta import OUT_OF_BOUNDS
from ..engine.reader import Reader
from ..engine.snapshot import Holder, Snapshot
from ..engine.transaction import Transaction
from .block import Block, Running
from .execution import read_only_error
from .settings import ISOLATION, Settings, isolation_name
from .stream import Hold

T = TypeVar("T")

LOCAL: Final = "weft"
"""The principal of whoever needs no name: programs that embed the database."""

RETRY_PAUSES: Final = (0.0, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032)
"""Seconds before each further attempt; the last one repeats."""


class Access:
    """A principal's way to one engine. ``as_of``: every read is at that version, every write refused."""

    def __init__(
        self, engine: Engine, *, principal: str, as_of: AsOf | None, settings: Mapping[str, str] | None
    ) -> None:
        self.engine = engine
        self.principal = principal
        self.settings = Settings(settings, idle_seconds=engine.options.idle_transaction_seconds)
        self.block: Block | None = None
        self.commit_id: str | None = None  # of what the next call commits, outside a transaction: see ``Engine.begin``
        self._closed = False
        self.holder = Holder("statement", principal)
        self._pinned: Snapshot | None = None
        if as_of is not None:
            self._pinned = engine.snapshot(as_of, holder=Holder("snapshot", principal))

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def in_transaction(self) -> bool:
        return self.block is not None

    @property
    def status(self) -> str:
        """``idle``, ``transaction`` or ``failed``."""
        if self.block is None:
            return "idle"
        return "failed" if self.block.failed else "transaction"

    @property
    def definitions(self) -> int:
        """The version that changed a definition last; in a transaction -1 where it changed some itself, else 0."""
        if self.block is not None:
            return -1 if self.block.altered else 0
        return self.engine.definitions

    @property
    def version(self) -> int:
        """The version that reads see: the transaction's or snapshot's own, else the newest visible."""
        self.check_open()
        if self._pinned is not None:
            return self._pinned.version
        if self.block is None:
            return self.engine.version
        transaction = self.block.transaction
        with transaction.gate:
            return transaction.version

    def begin(
        self,
        isolation: str = "snapshot",
        read_only: bool = False,
        *,
        held: bool = True,
        id: str | None = None,
        begun: Transaction | None = None,
    ) -> None:
        """Begin a transaction. Raises Invalid: 25001 inside of one, 22023 for what is no level.

        ``held``: it is ended by ``commit`` and ``rollback`` only; COMMIT and ROLLBACK in a text are refused.
        ``id``: see ``Engine.begin``. ``begun`` is the engine's transaction, where it is under way already.
        """
        self.check_open()
        if self.block is not None and self.block.explicit:
            raise Invalid("there is already a transaction in progress", hint="End it first.", sqlstate="25001")
        level = isolation_name(isolation)
        block = self.block or self.open_block(explicit=True)
        block.explicit, block.isolation, block.held, block.id = True, level, held, id
        block.read_only = read_only or self._pinned is not None
        if begun is not None:
            block.take_over(begun)

    @property
    def held_transaction(self) -> Transaction:
        """The engine's transaction of the open block. Raises Closed, and Invalid in one that has failed."""
        self.check_open()
        assert self.block is not None, "whoever holds the transaction ends the block"
        self.block.check_usable()
        return self.block.transaction

    def open_block(self, *, explicit: bool) -> Block:
        self.block = Block(
            engine=self.engine,
            principal=self.principal,
            settings=self.settings,
            isolation=self.settings.get("default_transaction_isolation"),
            read_only=self.is_read_only,
            explicit=explicit,
        )
        self.settings.mark()
        return self.block

    def commit(self) -> int:
        """Commit and return the version. The transaction is over, also after an error. Raises Conflict.

        Raises Invalid: 25P01 without a transaction, 25P02 for one that has failed (it is rolled back).
        """
        self.check_open()
        block, self.block = self.block, None
        if block is None:
            raise Invalid("there is no transaction in progress", hint="BEGIN first.", sqlstate="25P01")
        try:
            block.check_usable()
            version = block.commit()
        except BaseException:
            block.rollback()
            self.settings.rollback()
            raise
        self.settings.commit()
        return version

    def rollback(self) -> None:
        """Forget everything that the transaction did; no error without one."""
        block, self.block = self.block, None
        if block is not None:
            block.rollback()
            self.settings.rollback()

    def savepoint(self, name: str) -> None:
        """Remember this moment of the open transaction. Raises Invalid: 25P01 without one, 25P02 in one that failed."""
        block = self._block_for("SAVEPOINT")
        block.check_usable()
        block.savepoint(name)

    def rollback_to(self, name: str) -> None:
        """Undo everything since the savepoint, also in a transaction that failed. Raises Invalid: 25P01, 3B001."""
        self._block_for("ROLLBACK TO SAVEPOINT").rollback_to(name)

    def release(self, name: str) -> None:
        """Forget the savepoint and those after it. Raises Invalid: 25P01, 25P02, 3B001."""
        block = self._block_for("RELEASE")
        block.check_usable()
        block.release(name)

    def _block_for(self, what: str) -> Block:
        self.check_open()
        if self.block is None or not self.block.explicit:
            raise Invalid(
                f"{what} can only be used in transaction blocks",
                hint="BEGIN first; in a program, take a transaction object.",
                sqlstate="25P01",
            )
        return self.block

    @property
    def pinned(self) -> bool:
        """Whether the session is a snapshot."""
        return self._pinned is not None

    def read_now(self, work: Callable[[Reader], T]) -> T:
        """Something that is read completely before this returns."""
        self.check_open()
        if self._pinned is not None:
            return work(self._pinned)
        if self.block is not None:
            self.block.check_usable()
            transaction = self.block.transaction
            with transaction.gate:
                transaction.refresh()
                return work(transaction)
        with self.engine.snapshot(holder=self.holder) as snapshot:
            return work(snapshot)

    def read_stream(self, work: Callable[[Reader, Callable[[], None] | None], Result], running: Running) -> Result:
        """A result that may be read later. ``work`` gets what to call when it has ended; None: read it at once."""
        self.check_open()
        if self.block is not None and self._pinned is None:
            self.block.check_usable()
            transaction = self.block.transaction
            with transaction.gate:
                transaction.refresh()
                result = work(transaction, None)
                result.arrow()
                return result
        version = None if self._pinned is None else self._pinned.version
        hold = Hold(self.engine.snapshot(version, holder=self.holder), running)
        try:
            return hold.follow(work(hold.snapshot, hold))
        except BaseException:
            hold()
            raise

    def transact(
        self,
        what: str,
        work: Callable[[Transaction], T],
        running: Running | None = None,
        *,
        at_once: Callable[[Transaction], T | None] | None = None,
    ) -> tuple[T, int]:
        """Run ``work`` in the open transaction, or in one of its own that is tried again after a Conflict.

        In the open transaction it is a statement: undone alone if it raises. ``at_once`` is a shorter way for single
        rows; None: it has done nothing.

        Returns what it returned and the version that made it visible (inside a transaction the one that it reads at).
        """
        self.check_writable(what)
        if self.block is not None:
            self.block.check_usable()
            transaction = self.block.transaction
            with transaction.gate:
                outcome = None if at_once is None else at_once(transaction)
                if outcome is not None:
                    return outcome, transaction.version
                with transaction.statement():
                    return work(transaction), transaction.version

        default = ISOLATION[self.settings.get("default_transaction_isolation")]
        serializable = default is Isolation.SERIALIZABLE  # of one statement, the other levels are the same

        def attempt() -> tuple[T, int]:
            transaction = self.engine.begin(
                isolation=default if serializable else Isolation.SNAPSHOT, principal=self.principal, id=self.commit_id
            )
            try:
                outcome = None if at_once is None else at_once(transaction)
                if outcome is None:
                    outcome = work(transaction)
                return outcome, transaction.commit().version
            finally:
                transaction.rollback()

        return self.retried(attempt, running)

    def retried(self, attempt: Callable[[], T], running: Running | None = None) -> T:
        """``attempt``, again after each Conflict until the time is over; but for that of a bound."""
        clock = Running(seconds=None) if running is None else running
        pauses = 0
        while True:
            try:
                return attempt()
            except Conflict as error:
                if error.sqlstate == OUT_OF_BOUNDS:
                    raise
                clock.cancel.check()
                pause = RETRY_PAUSES[min(pauses, len(RETRY_PAUSES) - 1)]
                if clock.age + pause > RETRY_SECONDS_MAX:
                    raise
                sleep(pause)
                pauses += 1

    def check_writable(self, what: str) -> None:
        self.check_open()
        if self.is_read_only if self.block is None else self.block.read_only:
            raise read_only_error(what)

    @property
    def is_read_only(self) -> bool:
        """Whether transactions are, unless they say otherwise; a statement outside of one is one."""
        return self._pinned is not None or self.settings.get("default_transaction_read_only") == "on"

    def check_open(self) -> None:
        if self._closed:
            raise closed_session()

    def close(self) -> None:
        """Roll back what is open and release the snapshot. Results that are being read stay readable."""
        if self._closed:
            return
        self.rollback()
        self._closed = True
        if self._pinned is not None:
            self._pinned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def closed_session() -> Closed:
    return Closed("the session, transaction or snapshot is closed", hint="Open a new one.")
