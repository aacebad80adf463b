"""One row that everybody adds to: no transaction is refused, and nothing is lost, whatever way the deltas come."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from soak import FACTOR
from weftdb.base.interface import Database

WRITERS = 16
ADDS = 30 * FACTOR


def test_sixteen_writers_add_to_one_row_without_a_conflict(database: Database) -> None:
    """By calls, by transactions that read it first, and by pipelined writers, all at once."""
    database.execute("CREATE TABLE counters (id INT PRIMARY KEY, n BIGINT DEFAULT 0, total NUMERIC(20, 2) DEFAULT 0)")
    start = threading.Barrier(WRITERS)

    def by_calls() -> None:
        counters = database.table("counters")
        for _ in range(ADDS):
            counters.add(1, n=1, total="0.01")

    def by_transactions() -> None:
        for _ in range(ADDS):
            with database.transaction() as transaction:
                counters = transaction.table("counters")
                counters.get(1)
                counters.add(1, n=1, total="0.01")

    def by_a_writer() -> None:
        with database.table("counters").writer() as writer:
            for _ in range(ADDS):
                writer.add(1, n=1, total="0.01")

    ways: tuple[Callable[[], None], ...] = (by_calls, by_transactions, by_a_writer, by_a_writer)

    def run(at: int) -> None:
        start.wait()
        ways[at % len(ways)]()

    with ThreadPoolExecutor(WRITERS) as pool:
        for done in [pool.submit(run, at) for at in range(WRITERS)]:
            done.result()
    [(n, total)] = database.execute("SELECT n, total FROM counters").rows()
    assert n == WRITERS * ADDS
    assert total * 100 == WRITERS * ADDS
