"""Threads of a pipeline: one thing done for each of many, in any order, and stopped as a whole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Final, TypeVar

import numpy as np

from ..held import Held
from .files import Kernel
from .order import Order
from .pieces import Morsel
from .program import Program
from .shape import NoRoom, NotCovered

One = TypeVar("One")
Made = TypeVar("Made")

NOWHERE: Final = np.zeros(1, np.int64)
"""Pages of records where none give way, bits where none are set."""


class Threads:
    """``check`` raises what stops the statement."""

    def __init__(self, threads: int, check: Callable[[], None]) -> None:
        self.threads = threads
        self._check = check
        self._stop = threading.Event()

    def all(self, what: Callable[[One], Made], of: Sequence[One]) -> list[Made]:
        """What is made of each, in their order. Raises the first failure; what was not begun is left then.

        The caller does what it can itself, and others help: so a thread that has to wait for a core, or for the
        interpreter, holds up no more than what it has taken.
        """
        if self.threads < 2 or len(of) < 2:
            return [what(one) for one in of]
        made: dict[int, Made] = {}
        failures: list[BaseException] = []
        turns = iter(range(len(of)))  # whose next one is given to one thread alone: the interpreter's lock is held

        def run() -> None:
            try:
                for turn in turns:
                    self.go_on()
                    made[turn] = what(of[turn])
            except BaseException as error:
                failures.append(error)
                self._stop.set()

        callers = _callers(self.threads)
        takes_part = callers.acquire(blocking=False)
        try:
            helpers = [_pool(self.threads).submit(run) for _ in range(min(self.threads, len(of)) - takes_part)]
            if takes_part:
                run()
            for helper in helpers:
                if not (takes_part and helper.cancel()):  # who has not begun yet would find nothing left
                    helper.result()
        except BaseException:
            self._stop.set()
            raise
        finally:
            if takes_part:
                callers.release()
        if failures:
            raise failures[0]
        return [made[turn] for turn in range(len(of))]

    def go_on(self) -> None:
        """Raises what stops the statement, and NotCovered where another thread has failed."""
        if self._stop.is_set():
            raise NotCovered("another lane was not covered")
        self._check()


class Counting(Threads):
    """Threads whose memory is counted. ``held``: that of pipelines."""

    def __init__(self, threads: int, check: Callable[[], None], held: Held) -> None:
        super().__init__(threads, check)
        self._held = held

    def made(self, bytes_count: int, make: Callable[[], np.ndarray]) -> np.ndarray:
        """An array of groups or of what comes to them. Raises NoRoom."""
        self._check_room(bytes_count)
        return self._held.keep(make())

    def counted(self, bytes_count: int) -> np.ndarray:
        """Stands for memory of so many bytes as long as it lives. Raises NoRoom."""
        self._check_room(bytes_count)
        return self._held.keep(np.empty(0), bytes_count)

    def _check_room(self, bytes_count: int) -> None:
        if not self._held.room(bytes_count):
            raise NoRoom("it needs more memory than pipelines may take")


class Work(Counting):
    """``given``: the kernel's arguments; ``order``: of its conditions.

    ``keeps_records``: the kernel leaves records where they are, and a lane's table is no table of records.
    """

    def __init__(
        self,
        *,
        kernel: Kernel,
        given: tuple[np.ndarray, np.ndarray],
        order: Order,
        threads: int,
        check: Callable[[], None],
        held: Held,
    ) -> None:
        super().__init__(threads, check, held)
        self.keeps_records = isinstance(kernel, Program)
        self._kernel = kernel
        self._given = given
        self._order = order

    def lane(
        self,
        lane: Sequence[Morsel],
        state: np.ndarray,
        pool: np.ndarray = NOWHERE,
        ends: np.ndarray = NOWHERE,
        chain: np.ndarray = NOWHERE,
    ) -> None:
        """Run the kernel over a lane's morsels. Raises NotCovered, Corrupt, and what ``check`` does."""
        asked = self._order.asked()
        for morsel in lane:
            self.go_on()
            words, kept = morsel.ready()
            if self._kernel(words, 0, len(words), *self._given, state, pool, ends, chain, asked) < 0:
                raise NotCovered("a float is out of range")
            asked = self._order.after(asked)
            del kept
        self._order.add(asked)


class Lent:
    """Arrays that lanes use one after the other: as many as there are lanes at once. Thread-safe."""

    def __init__(self, make: Callable[[], np.ndarray]) -> None:
        self._make = make
        self.all: list[np.ndarray] = []
        self._free: list[np.ndarray] = []
        self._lock = threading.Lock()

    @contextmanager
    def one(self, *, again: bool = True) -> Generator[np.ndarray]:
        """An array that nobody else has, and not even later but with ``again``. Raises what making one does."""
        with self._lock:
            array = self._free.pop() if self._free else None
        if array is None:
            array = self._make()
            self.all.append(array)
        yield array
        if again:
            with self._lock:
                self._free.append(array)


@cache
def _callers(threads: int) -> threading.BoundedSemaphore:
    """For callers that take part: with many statements at once, most wait, and memory is needed for few."""
    return threading.BoundedSemaphore(threads)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="weftdb-pipeline")
