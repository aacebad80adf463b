"""Ctrl-C between two instructions of ``apply`` would leave half a record in memory; so it waits until the end.

Python raises KeyboardInterrupt in the main thread only, wherever that happens to be. Inside ``deferred`` the signal is
noted, and delivered on the way out.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred() -> Generator[None]:
    """Hold SIGINT back while the block runs, where Python would raise it: in the main thread, with a Python handler."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
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
