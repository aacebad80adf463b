"""Transactions that nobody uses are rolled back: what they have written and pinned is in everybody's way.

    calls of the owner ──► Gate (one at a time, and when the last one ended) ◄── IdleTransactions, a thread

A transaction is idle between two calls of its owner, never inside of one, however long that takes. The thread ends it
only while it holds the gate, so a call either comes before the end, and goes on, or after it, and is told so (25P03).

Only transactions with a limit are watched: those that sessions hold. What is begun and ended in one call is not. The
thread starts with the first, and sleeps while there are none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from .clock import monotonic

if TYPE_CHECKING:
    from .transaction import Transaction

LOOK_SECONDS_MAX: Final = 1.0
"""A transaction's limit may be set anew while it idles; this is how late it is noticed."""

LOOK_SECONDS_MIN: Final = 0.01


class Gate:
    """Lets one thread at a time into a transaction. A thread that is in may enter again."""

    __slots__ = ("_lock", "_used_at")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._used_at: float | None = monotonic()

    @property
    def idle_seconds(self) -> float:
        """Since the last call ended; 0 while one runs. From any thread."""
        used_at = self._used_at
        return 0.0 if used_at is None else monotonic() - used_at

    def __enter__(self) -> None:
        self._lock.acquire()
        self._used_at = None

    def __exit__(self, *_: object) -> None:
        self._used_at = monotonic()
        self._lock.release()

    def run_if_idle(self, seconds: float, work: Callable[[], object]) -> bool:
        """Do ``work`` inside, if nobody was in for so long; whether it was done. Never waits."""
        if self.idle_seconds < seconds or not self._lock.acquire(blocking=False):
            return False
        try:
            if self.idle_seconds < seconds:
                return False
            work()
            return True
        finally:
            self._lock.release()


class IdleTransactions:
    """Ends transactions that idle for longer than they may. ``watched`` gives those that have a limit."""

    def __init__(self, watched: Callable[[], Sequence[Transaction]]) -> None:
        self._watched = watched
        self._lock = threading.Lock()
        self._begun = threading.Event()
        self._stopped = False
        self._sleeps = False
        self._thread: threading.Thread | None = None
        self.ended_count = 0

    def begun(self) -> None:
        """There is one more to watch."""
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._stopped:
                    self._thread = threading.Thread(target=self._run, name="weftdb-idle", daemon=True)
                    self._thread.start()
        if self._sleeps:
            self._begun.set()

    def stop(self) -> None:
        """End the thread; what is open stays open."""
        with self._lock:
            self._stopped = True
            thread = self._thread
        self._begun.set()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while not self._stopped:
            self._sleeps = True
            if not self._watched():
                self._begun.wait()
            self._sleeps = False
            self._begun.clear()
            pause = LOOK_SECONDS_MAX
            for transaction in self._watched():
                left = transaction.end_if_idle()
                self.ended_count += left == 0
                pause = min(pause, left or LOOK_SECONDS_MAX)
            if not self._stopped:
                self._begun.wait(max(pause, LOOK_SECONDS_MIN))
