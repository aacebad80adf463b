"""Commits that one record holds."""

from __future__ import annotations

import threading
from collections.abc import Callable

from weftdb.engine.database import Engine


def in_one_group(engine: Engine, *works: Callable[[], object]) -> list[object]:
    """Let all of them queue while the commit lock is held, so that one leader finds them together."""
    outcomes: list[object] = [None] * len(works)

    def run(index: int) -> None:
        try:
            outcomes[index] = works[index]()
        except Exception as error:
            outcomes[index] = error

    sequencer = engine._sequencer
    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(works))]
    with sequencer._commit_lock:
        for count, thread in enumerate(threads, 1):
            thread.start()
            while len(sequencer._queue) < count:
                threading.Event().wait(0.001)
    for thread in threads:
        thread.join()
    return outcomes
