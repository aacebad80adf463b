"""Ctrl-C while a query runs.

Python runs signal handlers between the main thread's bytecodes, and there are none while DuckDB computes. So the main
thread lends the work to another thread and waits for it, which a signal can interrupt; then the work is cancelled, seen
to its end, and KeyboardInterrupt goes on its way.

Other threads, a server's for instance, get no signals and do the work themselves. The loan costs about 50 microseconds,
so a query that never meets DuckDB (direct.py) goes without.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final, TypeVar

T = TypeVar("T")

_LENT: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="weftdb-query")
"""One is in use at a time; more when a finalizer runs a query while another one is waited for."""


def interruptible(work: Callable[[], T], *, cancel: Callable[[], None]) -> T:
    """``work()``. Where KeyboardInterrupt arrives meanwhile, ``cancel()`` must make it end soon."""
    if threading.current_thread() is not threading.main_thread():
        return work()
    future = _LENT.submit(work)
    try:
        return future.result()
    except KeyboardInterrupt:
        cancel()
        wait([future])
        raise
