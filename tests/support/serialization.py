"""Which transactions could not have committed: the graph of who must come before whom, in full.

Transactions read rows at their snapshot and write others. A history of committed ones is serializable where this graph
has no cycle (Adya): who wrote a row before another read or wrote it, and who read it before another wrote it. So a
refusal was needed where the transaction would have closed a cycle, and needless where not.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from weftdb.base.errors import Conflict
from weftdb.engine.changes import Isolation
from weftdb.engine.database import Engine
from weftdb.engine.transaction import Transaction
from weftdb.sql.session import Session


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A transaction: what it read at version ``snapshot``, and wrote at version ``commit``."""

    reads: frozenset[int]
    writes: frozenset[int]
    snapshot: int
    commit: int

    def precedes(self, other: Attempt) -> bool:
        """Whether it must come before ``other``."""
        if self is other:
            return False
        seen = self.commit <= other.snapshot and bool(self.writes & other.reads)
        overwritten = self.commit < other.commit and bool(self.writes & other.writes)
        missed = other.commit > self.snapshot and bool(self.reads & other.writes)
        return seen or overwritten or missed


def in_a_cycle(attempt: Attempt, others: Sequence[Attempt]) -> bool:
    """Whether it and ``others`` must come before each other."""
    reached: set[int] = set()
    front = [attempt]
    while front:
        one = front.pop()
        for place, other in enumerate(others):
            if place not in reached and one.precedes(other):
                if other.precedes(attempt):
                    return True
                reached.add(place)
                front.append(other)
    return False


@dataclass(frozen=True, kw_only=True)
class Rate:
    """``conflicts`` are refusals because of what was read, ``needless`` those that closed no cycle."""

    transactions: int
    conflicts: int
    needless: int
    cycles: int


def needless(*, seed: int, transactions: int, keys: int, sides: int = 8) -> Rate:
    """Transactions of ``sides`` clients that each read two rows of ``keys``, and write one of those or another."""
    chance = random.Random(seed)
    committed: list[Attempt] = []
    conflicts = unneeded = cycles = done = 0
    with Engine.open(None) as engine:
        Session(engine).execute("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
        open_ones: list[tuple[Transaction, set[int]]] = []
        while done < transactions:
            if len(open_ones) < sides:
                open_ones.append((engine.begin(isolation=Isolation.SERIALIZABLE), set()))
            place = chance.randrange(len(open_ones))
            transaction, read = open_ones[place]
            table = transaction.catalog.table("t")
            if len(read) < 2:
                read.add(chance.randint(1, keys))
                for id in read:
                    transaction.get(table, (id,))
                continue
            done += 1
            del open_ones[place]
            written = chance.choice([*read, chance.randint(1, keys)])
            transaction.put(table, pa.RecordBatch.from_pylist([{"id": written, "v": done}], schema=table.arrow_schema))
            snapshot = transaction.version
            attempt = Attempt(
                reads=frozenset(read), writes=frozenset([written]), snapshot=snapshot, commit=engine.version + 1
            )
            closes = in_a_cycle(attempt, committed)
            try:
                transaction.commit()
            except Conflict as error:
                if error.kind == "read":
                    conflicts += 1
                    unneeded += not closes
            else:
                cycles += closes
                committed.append(attempt)
        for transaction, _ in open_ones:
            transaction.rollback()
    return Rate(transactions=transactions, conflicts=conflicts, needless=unneeded, cycles=cycles)
