"""Money moves while analytics run: at every snapshot the total is the same, in the base rows and in the aggregate."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from weftdb.base.errors import Conflict
from weftdb.base.interface import Database

ACCOUNTS = 8
TOTAL = ACCOUNTS * 100
TRANSFERS = 25


def test_the_total_is_the_same_at_every_snapshot(database: Database) -> None:
    database.execute("CREATE TABLE accounts (id BIGINT PRIMARY KEY, branch INT NOT NULL, balance NUMERIC(12, 2))")
    database.execute(
        "CREATE MATERIALIZED VIEW branches AS SELECT branch, sum(balance) AS total FROM accounts GROUP BY branch"
    )
    database.table("accounts").insert([(id, id % 3, 100) for id in range(ACCOUNTS)])
    done = threading.Event()
    reads: list[int] = []

    def transfer_money(seed: int) -> None:
        choice = random.Random(seed)
        for _ in range(TRANSFERS):
            source, target = choice.sample(range(ACCOUNTS), 2)
            move_surely(database, source=source, target=target, cents=choice.randint(1, 5000))

    def read_totals() -> None:
        while not done.is_set() or not reads:
            with database.snapshot() as snapshot:
                base = snapshot.execute("SELECT sum(balance), count(*) FROM accounts").rows()
                aggregate = snapshot.execute("SELECT sum(total) FROM branches").scalar()
            assert base == [(TOTAL, ACCOUNTS)]
            assert aggregate == TOTAL
            reads.append(1)

    def transfer_all() -> None:
        run_all([lambda seed=seed: transfer_money(seed) for seed in range(3)])
        done.set()

    run_all([transfer_all, read_totals])
    assert database.execute("SELECT sum(balance) FROM accounts").scalar() == TOTAL


def move(database: Database, *, source: int, target: int, cents: int) -> None:
    """Half by key-value calls, half by SQL, in one transaction."""
    with database.transaction() as transaction:
        row = transaction.table("accounts").get(source)
        assert row is not None
        transaction.table("accounts").update(source, balance=row["balance"] - cents)
        transaction.execute("UPDATE accounts SET balance = balance + $1 WHERE id = $2", [cents, target])


def move_surely(database: Database, *, source: int, target: int, cents: int) -> None:
    for _ in range(500):
        try:
            return move(database, source=source, target=target, cents=cents)
        except Conflict:
            continue
    raise AssertionError("500 conflicts in a row")


def run_all(works: list[Callable[[], None]]) -> None:
    errors: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
