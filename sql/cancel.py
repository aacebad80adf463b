"""Cancelling one statement, from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from ..base.errors import Unavailable

TIMED_OUT: Final = "canceling statement due to statement timeout"


class Cancel:
    """A switch that goes one way. One per statement, so that a late cancel cannot hit the next one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._callbacks: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        return self._reason is not None

    def cancel(self, reason: str = "canceling statement due to user request") -> None:
        """Stop the statement: whatever registered itself is told, once. The first reason stays."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called on cancel (at once if that was before); gives a function that takes it back."""
        with self._lock:
            waiting = self._reason is None
            if waiting:
                self._callbacks.append(callback)
        if not waiting:
            callback()

        def remove() -> None:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

        return remove

    def check(self) -> None:
        """Raise Unavailable (57014) if cancelled."""
        if self._reason is not None:
            raise self.error()

    def error(self) -> Unavailable:
        hint = "Raise statement_timeout (0: no limit), or the call's timeout." if self._reason == TIMED_OUT else None
        return Unavailable(self._reason or "canceling statement due to user request", hint=hint, sqlstate="57014")
