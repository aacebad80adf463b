"""Money moves while analytics run: at every snapshot the total is the same, in the base rows and in the aggregate.

Also while rows go into segments, segments are merged, and the database is opened again.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path

import weftdb
from soak import FACTOR, SEED
from weftdb.base.errors import Conflict
from weftdb.base.interface import Database

ACCOUNTS = 8
TOTAL = ACCOUNTS * 100
TRANSFERS = 25


def test_the_total_is_the_same_at_every_snapshot(database: Database) -> None:
    open_accounts(database)
    assert transfer_and_read(database, transfers=TRANSFERS, seed=0) > 0


def test_the_total_is_the_same_while_segments_are_made_and_over_restarts(tmp_path: Path) -> None:
    for restart in range(2 * FACTOR):
        with weftdb.open(str(tmp_path / "data")) as database:
            if restart == 0:
                open_accounts(database)
            check_total(database)
            transfer_and_read(database, transfers=TRANSFERS, seed=SEED * 1000 + restart * 3, maintain=True)
            if restart % 2 == 0:
                database.execute("CHECKPOINT")  # the other time the log is what the restart reads


def open_accounts(database: Database) -> None:
    database.execute("CREATE TABLE accounts (id BIGINT PRIMARY KEY, branch INT NOT NULL, balance NUMERIC(12, 2))")
    database.execute(
        "CREATE MATERIALIZED VIEW branches AS SELECT branch, sum(balance) AS total FROM accounts GROUP BY branch"
    )
    database.table("accounts").insert([(id, id % 3, 100) for id in range(ACCOUNTS)])


def check_total(database: Database) -> None:
    """At one snapshot, in the base and in the aggregate."""
    with database.snapshot() as snapshot:
        base = snapshot.execute("SELECT sum(balance), count(*) FROM accounts").rows()
        aggregate = snapshot.execute("SELECT sum(total) FROM branches").scalar()
    assert base == [(TOTAL, ACCOUNTS)]
    assert aggregate == TOTAL


def transfer_and_read(database: Database, *, transfers: int, seed: int, maintain: bool = False) -> int:
    """Three clients move money, a fourth sums it and counts how often; a fifth makes segments and merges them."""
    done = threading.Event()
    reads: list[int] = []

    def transfer_money(seed: int) -> None:
        choice = random.Random(seed)
        for _ in range(transfers):
            source, target = choice.sample(range(ACCOUNTS), 2)
            move_surely(database, source=source, target=target, cents=choice.randint(1, 5000))

    def read_totals() -> None:
        while not done.is_set() or not reads:
            check_total(database)
            reads.append(1)

    def make_segments() -> None:
        while not done.wait(0.05):
            database.execute("CHECKPOINT")
            database.execute("VACUUM")

    def transfer_all() -> None:
        try:
            run_all([lambda at=at: transfer_money(seed + at) for at in range(3)])
        finally:
            done.set()

    run_all([transfer_all, read_totals, *([make_segments] if maintain else [])])
    check_total(database)
    return len(reads)


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
