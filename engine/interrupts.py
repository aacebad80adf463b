"""What may interrupt a thread of the engine, and where.

Ctrl-C between two instructions of ``apply`` would leave half a record in memory; so it waits until the end. Python
raises KeyboardInterrupt in the main thread only, wherever that happens to be. Inside ``deferred`` the signal is noted,
and delivered on the way out.

A statement that is cancelled, or whose time is over, must not go on waiting for memory before its commit. Who runs it
says so with ``cancellable``; who waits calls ``check`` now and then.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

_LOCAL = threading.local()


@contextmanager
def deferred() -> Generator[None]:
    """Hold SIGINT back while the block runs, where Python would raise it: in the main thread, with a Python handler."""
    handler = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    if not callable(handler):
        yield
        return
    received: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: received.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if received:
            handler(*received[0])


@contextmanager
def cancellable(check: Callable[[], None]) -> Generator[None]:
    """Have ``check``, which raises when this thread's work was cancelled, called by whoever waits inside the block."""
    before = getattr(_LOCAL, "check", None)
    _LOCAL.check = check
    try:
        yield
    finally:
        _LOCAL.check = before


def check() -> None:
    """Raise if this thread's work was cancelled."""
    found: Callable[[], None] | None = getattr(_LOCAL, "check", None)
    if found is not None:
        found()
