"""Messages that are made ahead of their sending: the same ones, in order, to the end or to where somebody stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from weftdb.server.ahead import AHEAD, DIRECT, made_ahead


def makers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "weftdb-ahead"]


@pytest.mark.parametrize("count", [0, 1, DIRECT, DIRECT + 1, 50])
def test_the_messages_are_the_same_and_few_need_no_thread(count: int) -> None:
    wanted = [str(i).encode() for i in range(count)]
    names: set[str] = set()

    def messages() -> Iterator[bytes]:
        for message in wanted:
            names.add(threading.current_thread().name)
            yield message

    assert list(made_ahead(messages())) == wanted
    assert ("weftdb-ahead" in names) == (count > DIRECT)
    assert not makers()


def test_no_more_is_made_ahead_than_the_limit() -> None:
    made = 0

    def messages() -> Iterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield b"x"

    stream = made_ahead(messages())
    for _ in range(DIRECT + 1):
        next(stream)
    time.sleep(0.1)
    assert made <= DIRECT + 1 + AHEAD + 1
    stream.close()
    assert not makers()


def test_an_error_comes_after_the_messages_before_it() -> None:
    def messages() -> Iterator[bytes]:
        yield from [b"a"] * 10
        raise ValueError("broken")

    stream = made_ahead(messages())
    got: list[bytes] = []
    with pytest.raises(ValueError, match="broken"):
        got.extend(stream)
    assert got == [b"a"] * 10
    assert not makers()


def test_who_stops_early_closes_nothing_that_is_still_read() -> None:
    closed_by: list[bool] = []

    def messages() -> Iterator[bytes]:
        inside = False
        try:
            while True:
                inside = True
                time.sleep(0.02)
                inside = False
                yield b"x"
        finally:
            closed_by.append(inside)

    source = messages()
    stream = made_ahead(source)
    for _ in range(DIRECT + 2):
        next(stream)
    stream.close()
    source.close()  # would raise "generator already executing" while the thread is in it
    assert closed_by == [False]
    assert not makers()
