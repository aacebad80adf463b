"""Threads of a pipeline: all is done once, in order, by the caller too; and the first failure is what is raised."""

from __future__ import annotations

import threading
import time
from concurrent.futures import wait

import pytest
from weftdb.engine.pipeline import work
from weftdb.engine.pipeline.shape import NotCovered
from weftdb.engine.pipeline.work import Threads

THREADS = 3


def _threads() -> Threads:
    return Threads(THREADS, lambda: None)


def test_each_is_made_once_and_stands_in_its_place() -> None:
    done: list[int] = []

    def make(one: int) -> int:
        time.sleep(0.001 * (one % 3))
        done.append(one)
        return one * one

    assert _threads().all(make, range(50)) == [one * one for one in range(50)]
    assert sorted(done) == list(range(50))


def test_the_caller_does_it_alone_while_the_others_are_busy() -> None:
    free = threading.Event()
    busy = [work._pool(THREADS).submit(free.wait) for _ in range(THREADS)]
    try:
        assert set(_threads().all(lambda _: threading.get_ident(), range(20))) == {threading.get_ident()}
    finally:
        free.set()
        wait(busy)


def test_others_help_the_caller() -> None:
    together = threading.Barrier(THREADS, timeout=60)
    assert len(_threads().all(lambda _: together.wait(), range(THREADS))) == THREADS


def test_at_most_so_many_callers_take_part_and_the_rest_are_served() -> None:
    callers = [
        threading.Thread(target=lambda: made.append(_threads().all(lambda one: one, range(30)))) for _ in range(12)
    ]
    made: list[list[int]] = []
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert made == [list(range(30))] * 12
    slots = work._callers(THREADS)
    assert all(slots.acquire(blocking=False) for _ in range(THREADS)), "all who took part have left"
    assert not slots.acquire(blocking=False)
    assert _threads().all(lambda _: threading.current_thread().name, range(4))[0].startswith("weftdb-pipeline")
    slots.release(THREADS)


def test_the_first_failure_is_raised_and_what_was_not_begun_is_left() -> None:
    begun: list[int] = []

    def fail(one: int) -> None:
        begun.append(one)
        if one == 2:
            raise KeyError("the second")
        time.sleep(0.02)

    with pytest.raises(KeyError, match="the second"):
        _threads().all(fail, range(1_000))
    assert len(begun) < 100


def test_a_failure_of_a_helper_stops_the_caller() -> None:
    caller = threading.get_ident()
    failed = threading.Event()

    def fail(_: int) -> None:
        if threading.get_ident() != caller:
            failed.set()
            raise KeyError("a helper")
        failed.wait(60)

    with pytest.raises(KeyError, match="a helper"):
        _threads().all(fail, range(1_000))


def test_what_stops_the_statement_is_raised_before_each() -> None:
    left = iter(range(10))

    def check() -> None:
        if next(left, None) is None:
            raise NotCovered("stopped")

    made: list[int] = []
    with pytest.raises(NotCovered, match="stopped"):
        Threads(THREADS, check).all(made.append, range(100))
    assert len(made) == 10
