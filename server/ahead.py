"""The messages of a large result, made ahead of their sending.

gRPC takes the next message of a stream when the last one has left; meanwhile a thread reads and encodes what follows:

    scan, encode ──► queue of AHEAD messages ──► gRPC sends

A result of few messages never has a thread. Whoever stops early (the client cancels) waits for the message that is just
being made, so that nobody closes what the thread still reads.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Final

AHEAD: Final = 4
DIRECT: Final = 3
"""So many messages go out as they are made."""

_END: Final = object()


def made_ahead(messages: Iterator[bytes]) -> Iterator[bytes]:
    """The same messages in the same order; raises what making them raises, after those before."""
    for _ in range(DIRECT):
        message = next(messages, None)
        if message is None:
            return
        yield message
    waiting: queue.Queue[object] = queue.Queue(maxsize=AHEAD)
    stopped = threading.Event()

    def make() -> None:
        try:
            for message in messages:
                waiting.put(message)
                if stopped.is_set():
                    return
            waiting.put(_END)
        except BaseException as error:
            waiting.put(error)

    maker = threading.Thread(target=make, name="weftdb-ahead", daemon=True)
    maker.start()
    try:
        while (item := waiting.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            assert isinstance(item, bytes), "messages are bytes"
            yield item
    finally:
        stopped.set()
        while maker.is_alive():
            try:
                waiting.get(timeout=0.01)
            except queue.Empty:
                continue
        maker.join()
