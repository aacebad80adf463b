"""Clients that make a history for the checker (elle.py): random transactions, noted as the client saw them.

    play()          one client, until it is told to stop: lists and registers, by key-value calls and SQL in turn
    ClientChild     the same in a process of its own, to be killed; it notes into a file (this module as a script)
    read_all()      the last transaction of a history: everything, after everybody has ended

A transaction is noted twice: as UNKNOWN before its commit is asked for, and with its outcome after. A client that dies
before the first note has asked for no commit. Keys move on (``Plan.keys`` at a time), so that lists stay short.
"""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import weftdb
from elle import Append, Outcome, Read, Step, Txn, Write
from weftdb.base.errors import Closed, Conflict, Unavailable
from weftdb.base.interface import Database, Transaction
from weftdb.client.connection import RemoteDatabase

TABLES: Final = (
    "CREATE TABLE lists (id BIGINT PRIMARY KEY, items TEXT NOT NULL)",
    "CREATE TABLE registers (id BIGINT PRIMARY KEY, value BIGINT NOT NULL)",
)
REGISTERS: Final = 1_000_000_000
"""Keys from here on are registers."""

_APPEND: Final = (
    "INSERT INTO lists VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET items = lists.items || ' ' || excluded.items"
)
_WRITE: Final = "INSERT INTO registers VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET value = excluded.value"

Note = Callable[[tuple[int, int], Txn], None]
"""Keeps a transaction under (client, number); the later note of one replaces the earlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What clients do. ``keys`` are in use at a time, for ``keys_last`` transactions of each client."""

    level: str = "snapshot"
    keys: int = 6
    keys_last: int = 60
    steps_max: int = 5
    pause_max: float = 0.002
    abort_share: float = 0.05


def play(database: Database, *, plan: Plan, seed: int, client: int, note: Note, stop: Callable[[], bool]) -> None:
    """Transactions one after the other until ``stop``; a server that is away is waited for."""
    chance = random.Random(seed)
    values = itertools.count(client * 10**9 + 1)
    for number in itertools.count():
        if stop():
            return
        _transaction(database, plan, chance, values, number, lambda txn, at=(client, number): note(at, txn))


def _transaction(
    database: Database,
    plan: Plan,
    chance: random.Random,
    values: Iterator[int],
    number: int,
    note: Callable[[Txn], None],
) -> None:
    begin = time.monotonic_ns()
    steps: list[Step] = []

    def noted(outcome: Outcome) -> None:
        note(Txn(begin=begin, end=time.monotonic_ns(), outcome=outcome, steps=tuple(steps)))

    try:
        transaction = database.transaction(isolation=plan.level)
        first = number // plan.keys_last * plan.keys
        for _ in range(chance.randint(1, plan.steps_max)):
            key = first + chance.randrange(plan.keys)
            if chance.random() < 0.3:
                steps += _register_step(transaction, chance, key + REGISTERS, values)
            else:
                steps += _list_step(transaction, chance, plan, key, values)
            if chance.random() < 0.1:
                steps += _undone_step(transaction, chance, plan, key, values)
            if chance.random() < 0.3:
                time.sleep(chance.uniform(0, plan.pause_max))
        wanted = chance.random() >= plan.abort_share
        if not wanted:
            transaction.rollback()
    except Conflict:
        wanted = False
    except (Unavailable, Closed):
        wanted = False
        time.sleep(0.01)
    noted(Outcome.UNKNOWN if wanted else Outcome.ABORTED)
    if wanted:
        noted(_commit(transaction))


def _commit(transaction: Transaction) -> Outcome:
    try:
        transaction.commit()
    except Conflict:
        return Outcome.ABORTED
    except Closed as error:
        return Outcome.ABORTED if "nothing of it was committed" in str(error) else Outcome.UNKNOWN
    except Unavailable:
        return Outcome.UNKNOWN
    return Outcome.COMMITTED


def _list_step(
    transaction: Transaction, chance: random.Random, plan: Plan, key: int, values: Iterator[int]
) -> list[Step]:
    table = transaction.table("lists")
    # Read and written by two calls, an append is atomic only where both are at one snapshot.
    ways = ("append",) if plan.level == "read committed" else ("append", "get and put", "get and put", "get and put")
    match chance.choice(("get", "select", "scan", "several", *ways)):
        case "get":
            row = table.get(key)
            return [_read(key, row and row["items"])]
        case "select":
            return [_read(key, transaction.execute("SELECT items FROM lists WHERE id = $1", [key]).scalar())]
        case "scan":
            rows = table.scan(where=f"id = {key}").read_all()["items"].to_pylist()
            return [_read(key, rows[0] if rows else None)]
        case "several":
            keys = sorted({key, key // plan.keys * plan.keys, key // plan.keys * plan.keys + 1})
            among = f"id BETWEEN {keys[0]} AND {keys[-1]}"
            found = dict(transaction.execute(f"SELECT id, items FROM lists WHERE {among}").rows())
            return [_read(each, found.get(each)) for each in range(keys[0], keys[-1] + 1)]
        case "append":
            value = next(values)
            transaction.execute(_APPEND, [key, str(value)])
            return [Append(key, value)]
        case _:
            row = table.get(key)
            value = next(values)
            table.put((key, f"{row['items']} {value}" if row else str(value)))
            return [_read(key, row and row["items"]), Append(key, value)]


def _undone_step(
    transaction: Transaction, chance: random.Random, plan: Plan, key: int, values: Iterator[int]
) -> list[Step]:
    """Writes that a savepoint takes back: whoever reads them later read what nobody wrote."""
    transaction.savepoint("here")
    steps = _list_step(transaction, chance, plan, key, values)
    transaction.rollback_to("here")
    return [step for step in steps if isinstance(step, Read)]


def _register_step(transaction: Transaction, chance: random.Random, key: int, values: Iterator[int]) -> list[Step]:
    table = transaction.table("registers")
    found: Any = None
    if chance.random() < 0.5:
        row = table.get(key)
        found = row and row["value"]
    else:
        found = transaction.execute("SELECT value FROM registers WHERE id = $1", [key]).scalar()
    if chance.random() < 0.5:
        return [Read(key, found)]
    value = next(values)
    if chance.random() < 0.5:
        table.put((key, value))
    else:
        transaction.execute(_WRITE, [key, value])
    return [Read(key, found), Write(key, value)]


def _read(key: int, items: object) -> Read:
    assert items is None or isinstance(items, str)
    return Read(key, tuple(map(int, items.split())) if items else ())


def read_all(database: Database) -> Txn:
    """A transaction that reads everything, lists that nobody wrote excepted."""
    begin = time.monotonic_ns()
    with database.snapshot() as snapshot:
        lists = [_read(id, items) for id, items in snapshot.execute("SELECT id, items FROM lists").rows()]
        registers = [Read(id, value) for id, value in snapshot.execute("SELECT id, value FROM registers").rows()]
    return Txn(begin=begin, end=time.monotonic_ns(), outcome=Outcome.COMMITTED, steps=(*lists, *registers))


class ClientChild:
    """One client in a process of its own. ``kill`` it at any moment; ``history`` is what it noted until then."""

    def __init__(self, url: str, *, plan: Plan, seed: int, client: int, folder: Path) -> None:
        self._notes = folder / f"client-{client}.notes"
        given = pickle.dumps((url, plan, seed, client, str(self._notes)))
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE)
        assert self._process.stdin is not None
        self._process.stdin.write(given)
        self._process.stdin.close()

    def wait_until_busy(self) -> None:
        while not self._notes.exists() or not self._notes.stat().st_size:
            assert self._process.poll() is None, "the client ended by itself"
            time.sleep(0.01)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=30)

    def history(self) -> list[Txn]:
        noted: dict[tuple[int, int], Txn] = {}
        if self._notes.exists():
            with self._notes.open("rb") as file:
                while True:
                    try:
                        at, txn = pickle.load(file)
                    except (EOFError, pickle.UnpicklingError):
                        break  # the end, or the middle of a note
                    noted[at] = txn
        return list(noted.values())


def main() -> None:
    url, plan, seed, client, path = pickle.load(sys.stdin.buffer)
    with open(path, "wb", buffering=0) as file, _connected(url) as database:
        play(
            database,
            plan=plan,
            seed=seed,
            client=client,
            note=lambda at, txn: void(file.write(pickle.dumps((at, dataclasses.replace(txn, client=client))))),
            stop=lambda: False,
        )


def _connected(url: str) -> RemoteDatabase:
    while True:
        try:
            return weftdb.connect(url)
        except Unavailable:
            time.sleep(0.01)  # the server is being killed, too


def void(_: object) -> None:
    """A callable's result that nobody wants."""


if __name__ == "__main__":
    main()
