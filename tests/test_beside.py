"""Work that is handed to a helper is done once, by whoever comes to it first, and waits for no helper that is busy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from weftdb.engine import beside
from weftdb.engine.beside import Task


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """One helper, which is busy until the event is set."""
    helpers, until = ThreadPoolExecutor(1), threading.Event()
    monkeypatch.setattr(beside, "_helpers", lambda: helpers)
    helpers.submit(until.wait)
    yield until
    until.set()
    helpers.shutdown()


def test_who_needs_the_outcome_does_not_wait_for_a_helper_that_is_busy(busy: threading.Event) -> None:
    done_by = list[threading.Thread]()
    task = Task(lambda: done_by.append(threading.current_thread()))
    task.result()
    assert done_by == [threading.current_thread()]
    busy.set()
    beside._helpers().submit(int).result()
    assert len(done_by) == 1, "the helper does not do it again"


def test_what_nobody_needs_is_not_begun(busy: threading.Event) -> None:
    done = list[bool]()
    Task(lambda: done.append(True)).drop()
    busy.set()
    beside._helpers().submit(int).result()
    assert not done


def test_a_helper_does_it_and_what_it_raises_is_raised(busy: threading.Event) -> None:
    done_by, begun = list[threading.Thread](), threading.Event()

    def fail() -> None:
        done_by.append(threading.current_thread())
        begun.set()
        raise ValueError("as told")

    task = Task(fail)
    busy.set()
    assert begun.wait(20)
    with pytest.raises(ValueError, match="as told"):
        task.result()
    assert threading.current_thread() not in done_by
    assert len(done_by) == 1


def test_on_one_core_who_needs_it_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "_helpers", lambda: None)
    task = Task(lambda: threading.current_thread())
    task.drop()
    assert task.result() is threading.current_thread()
