"""SIGKILL at random moments of an ingest: what was acknowledged is there, and nothing is there by half.

Each round starts a real ``weft serve`` on the same folder, checks what the rounds before left, and writes until the
server is killed at a random moment, by two clients at once:

- a writer puts batches of ``BATCH_ROWS`` rows that carry their batch's number: a batch is there whole or not at all,
  and is there if it was acknowledged;
- transactions move money between accounts and note it in a second table: the sum never changes, each account has what
  the notes say, and each acknowledged transfer is noted.

The servers are forked from a process that has loaded the code, so that a round is not mostly imports; test_writer.py
and test_client.py kill and restart ``weft serve`` itself.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest
import soak
import weftdb
from server_child import ForkedServer, ServerChild, Zygote
from weftdb.base.errors import Closed, Conflict, Unavailable
from weftdb.client.connection import RemoteDatabase

ROUNDS = soak.many(12, 25)
BATCH_ROWS = 50
ACCOUNTS = 10
START = 1_000


@dataclass
class Promises:
    """What the server has acknowledged so far."""

    batches: set[int] = field(default_factory=set)
    transfers: set[int] = field(default_factory=set)
    next_batch: int = 0
    next_transfer: int = 0


@pytest.mark.timeout(120 * soak.FACTOR)
def test_kills_lose_nothing_and_leave_nothing_by_half(tmp_path: Path, zygote: Zygote) -> None:
    chance = random.Random(20_261_122)
    child = ForkedServer(tmp_path / "data", zygote)
    promises = Promises()
    with child, weftdb.connect(child.url) as db:
        create(db)
    for _ in range(ROUNDS):
        with child, weftdb.connect(child.url) as db:
            check(db, promises)
            write_until_killed(child, db, promises, seconds=chance.uniform(0.0, 0.4), seed=chance.randrange(2**31))
    with child, weftdb.connect(child.url) as db:
        check(db, promises)
    assert len(promises.batches) > ROUNDS
    assert len(promises.transfers) > ROUNDS


def create(db: RemoteDatabase) -> None:
    db.execute("CREATE TABLE events (batch bigint, place integer, v text, PRIMARY KEY (batch, place))")
    db.execute("CREATE TABLE accounts (id integer PRIMARY KEY, balance bigint)")
    db.execute("CREATE TABLE transfers (id bigint PRIMARY KEY, source integer, target integer, amount bigint)")
    db.table("accounts").insert([(id, START) for id in range(ACCOUNTS)])


def check(db: RemoteDatabase, promises: Promises) -> None:
    batches = db.execute("SELECT batch, count(*), min(place), max(place) FROM events GROUP BY batch").rows()
    assert all(row[1:] == (BATCH_ROWS, 0, BATCH_ROWS - 1) for row in batches), "a batch is there by half"
    assert promises.batches <= {row[0] for row in batches}, "an acknowledged batch is lost"
    balances = dict(db.execute("SELECT id, balance FROM accounts").rows())
    expected = dict.fromkeys(range(ACCOUNTS), START)
    noted: set[int] = set()
    for id, source, target, amount in db.execute("SELECT id, source, target, amount FROM transfers").rows():
        expected[source] -= amount
        expected[target] += amount
        noted.add(id)
    assert balances == expected, "a transaction is there by half"
    assert promises.transfers <= noted, "an acknowledged transaction is lost"


def write_until_killed(
    child: ServerChild, db: RemoteDatabase, promises: Promises, *, seconds: float, seed: int
) -> None:
    threads = [
        threading.Thread(target=ingest, args=(db, promises)),
        threading.Thread(target=transfer, args=(db, promises, random.Random(seed))),
    ]
    for thread in threads:
        thread.start()
    timer = threading.Event()
    timer.wait(seconds)
    child.kill()
    db.close()  # else the client would look for the server a while
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive()


def ingest(db: RemoteDatabase, promises: Promises) -> None:
    """Batches until the connection breaks; what the writer counts as acknowledged is a promise."""
    first = promises.next_batch
    writer = db.table("events").writer(retry_seconds=0)
    try:
        while True:
            number = promises.next_batch
            promises.next_batch += 1
            writer.put(
                pa.table(
                    {
                        "batch": pa.array([number] * BATCH_ROWS, pa.int64()),
                        "place": pa.array(range(BATCH_ROWS), pa.int32()),
                        "v": [f"{number} {place}" for place in range(BATCH_ROWS)],
                    }
                )
            )
    except (Unavailable, Closed):
        pass
    finally:
        assert writer.rows_acknowledged % BATCH_ROWS == 0
        promises.batches |= set(range(first, first + writer.rows_acknowledged // BATCH_ROWS))


def transfer(db: RemoteDatabase, promises: Promises, chance: random.Random) -> None:
    """Transactions until the connection breaks; a commit that returned is a promise."""
    while True:
        number = promises.next_transfer
        promises.next_transfer += 1
        source, target = chance.sample(range(ACCOUNTS), 2)
        amount = chance.randrange(1, 20)
        try:
            with db.transaction() as transaction:
                accounts = transaction.table("accounts")
                for id, change in ((source, -amount), (target, amount)):
                    row = accounts.get(id)
                    assert row is not None
                    accounts.update(id, balance=row["balance"] + change)  # type: ignore[operator]
                transaction.table("transfers").insert((number, source, target, amount))
        except Conflict:
            continue
        except (Unavailable, Closed):
            return
        promises.transfers.add(number)
