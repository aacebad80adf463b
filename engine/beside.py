"""Work that a helper thread may do beside the writer: handed over early, and done by whoever comes to it first.

There are as many helpers as the process has cores besides the one that hands over; where there is one core, there are
none, and who needs the outcome does the work. So nothing depends on threads but time: a task is a function of what it
was given, and tasks that run at once touch different things.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Generic, TypeVar

from .options import machine_threads

Made = TypeVar("Made")


class Task(Generic[Made]):
    """``what`` is called once, at most."""

    __slots__ = ("_future", "_what")

    def __init__(self, what: Callable[[], Made]) -> None:
        helpers = _helpers()
        self._what = what
        self._future: Future[Made] | None = None if helpers is None else helpers.submit(what)

    def result(self) -> Made:
        """What came of it: begun here if no helper has begun. Raises what it raised."""
        future = self._future
        return self._what() if future is None or future.cancel() else future.result()

    def drop(self) -> None:
        """Nobody needs it; not to be begun any more."""
        if self._future is not None:
            self._future.cancel()


@cache
def _helpers() -> ThreadPoolExecutor | None:
    cores = machine_threads()
    return ThreadPoolExecutor(cores - 1, thread_name_prefix="weftdb-beside") if cores > 1 else None
