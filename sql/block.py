"""The state of a session's transaction: none, open, or failed; and the clock of the statement that runs.

    idle ──BEGIN──► open ──COMMIT, ROLLBACK──► idle
                     │ a statement fails
                     ▼
                   failed ──COMMIT or ROLLBACK (both roll back)──► idle

A block is *implicit* where several statements of one text belong together without a BEGIN. The engine's transaction is
begun by the first statement that needs it, so BEGIN is free and an idle client pins nothing.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from ..base.errors import Invalid
from ..engine.clock import monotonic
from ..engine.database import Engine
from ..engine.transaction import Transaction
from .relational import Cancel

TIMED_OUT: Final = "canceling statement due to statement timeout"


@dataclass(slots=True, kw_only=True)
class Block:
    """One transaction of a session.

    ``held``: it belongs to a program's transaction object, and SQL texts cannot end it. ``altered``: it changed
    definitions, so plans in the cache do not fit it. ``id`` names it in the log, so that its outcome is found again.
    """

    engine: Engine
    isolation: str
    read_only: bool
    explicit: bool
    held: bool = False
    failed: bool = False
    altered: bool = False
    id: str | None = None
    opened: Transaction | None = None

    @property
    def transaction(self) -> Transaction:
        if self.opened is None:
            self.opened = self.engine.begin(read_only=self.read_only, id=self.id)
        return self.opened

    def check_usable(self) -> None:
        """Raise Invalid (25P02) after a statement of the block has failed."""
        if self.failed:
            raise Invalid(
                "current transaction is aborted, commands ignored until end of transaction block",
                hint="ROLLBACK, and begin again.",
                sqlstate="25P02",
            )

    def commit(self) -> int:
        """Commit and return the version. Raises Conflict."""
        if self.opened is None:
            return self.engine.version
        return self.opened.commit().version

    def rollback(self) -> None:
        if self.opened is not None:
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
