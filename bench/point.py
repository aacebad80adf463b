"""``bench point``: statements and calls for one row, found by its primary key, one at a time.

WeftDB embedded and SQLite hold the same accounts (id, name, balance) on files, and are asked for the same ids in the
same order: a SELECT with a parameter, one with the id in its text (each text differs), ``table.get``, ``get_many`` of
1,000 keys per row; then changes of one row, all in one transaction, so that no sync is measured. SQLite does each of
them by the standard library's driver, with statements that it has prepared. Over the network there is WeftDB's server
in a process of its own.

The last lines are what the plan cache takes: to find the plan of a text that it has seen, and to make parameters of the
literals of one that it has not; and EXPLAIN of a join of ten tables, the executor's own planning included. Every answer
is checked against what was written.
"""

from __future__ import annotations

import gc
import random
import sqlite3
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import weftdb
from weftdb.bench import inside
from weftdb.bench.process import ServerProcess
from weftdb.bench.report import Goal, Line, Report
from weftdb.bench.systems import WrongAnswer
from weftdb.bench.workload import Size, fresh

REFERENCE: Final = f"SQLite {sqlite3.sqlite_version}"
_CALLS: Final = 3_000
_CHANGES: Final = 500
_KEYS_PER_CALL: Final = 1_000

SELECT: Final = "SELECT name, balance FROM accounts WHERE id = {}"
UPDATE: Final = "UPDATE accounts SET balance = {} WHERE id = {}"
ADD: Final = "UPDATE accounts SET balance = balance + {} WHERE id = {}"
UPSERT: Final = (
    "INSERT INTO accounts (id, name, balance) VALUES ({}, {}, {})"
    " ON CONFLICT (id) DO UPDATE SET balance = excluded.balance"
)
LONG: Final = (
    "SELECT count(*), min(balance), max(balance), sum(balance) FROM accounts WHERE id >= {} AND id < {} + 5"
    " AND name <> 'nobody' AND balance BETWEEN -1000000 AND 1000000000 AND name IN ('n1', 'n2', 'n3', 'n{}')"
)

JOIN: Final = (
    "EXPLAIN SELECT a0.name, count(*) FROM accounts a0 "
    + " ".join(f"JOIN accounts a{n} ON a{n}.id = a{n - 1}.id" for n in range(1, 10))
    + " WHERE a3.balance > {} AND a5.name = 'n1' GROUP BY a0.name ORDER BY 2"
)
_JOINS: Final = 20

Run = Callable[[int], object]


class Point:
    """Each line: microseconds of one call, the median of a turn's calls."""

    name = "point"
    full = Size(rows=200_000, rounds=5)
    quick = Size(rows=20_000, rounds=3)

    def __init__(self, *, size: Size, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self._ids: list[int] = []

    def setup(self) -> None:
        """The accounts, in all three places."""
        rows = self._size.rows
        self._ids = random.Random(7).choices(range(rows), k=max(_CALLS, _KEYS_PER_CALL))
        folder = fresh(self._folder / "point")
        data = pa.table(
            {
                "id": pa.array(range(rows), pa.int64()),
                "name": [f"n{id}" for id in range(rows)],
                "balance": pa.array(range(rows), pa.int64()),
            }
        )
        ddl = "CREATE TABLE accounts (id BIGINT PRIMARY KEY, name TEXT, balance BIGINT)"
        self._weft = weftdb.open(folder / "weft")
        self._server = ServerProcess(folder / "served")
        self._remote = weftdb.connect(self._server.url)
        for database in (self._weft, self._remote):
            database.execute(ddl)
            database.table("accounts").put(data)
        self._table = self._weft.table("accounts")
        self._sqlite = sqlite3.connect(folder / "sqlite.db", isolation_level=None)
        self._sqlite.execute("PRAGMA journal_mode = WAL")
        self._sqlite.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, name TEXT, balance INTEGER)")
        self._sqlite.execute("BEGIN")
        self._sqlite.executemany("INSERT INTO accounts VALUES (?, ?, ?)", zip(*data.to_pydict().values(), strict=True))
        self._sqlite.execute("COMMIT")

    def run(self) -> Report:
        samples: dict[str, list[float]] = {}
        tails: dict[str, list[float]] = {}
        cases = self._cases()
        for label, call in cases:
            for id in self._ids[:100]:
                call(id)  # warm: what is remembered of a text, first connections
            samples[label], tails[label] = [], []
        for turn in range(self._size.rounds):
            for label, call in [*cases[turn % len(cases) :], *cases[: turn % len(cases)]]:
                self._turn(label, call, samples, tails)
            self._change(samples, tails)
            self._turn("plan of a join of ten tables", self._join, samples, tails, calls=_JOINS)
        return self._report(samples, tails)

    def _join(self, one: int) -> object:
        return self._weft.execute(JOIN.format(one)).rows()

    def _turn(
        self,
        label: str,
        call: Run,
        samples: dict[str, list[float]],
        tails: dict[str, list[float]],
        *,
        calls: int | None = None,
    ) -> None:
        seconds = _timed(call, self._ids[: calls or _CALLS])
        samples.setdefault(label, []).append(statistics.median(seconds) * 1e6)
        tails.setdefault(label, []).extend(seconds)

    def _cases(self) -> list[tuple[str, Run]]:
        weft, remote, sqlite, table = self._weft, self._remote, self._sqlite, self._table
        given, marked = SELECT.format("$1"), SELECT.format("?")
        remote_table = remote.table("accounts")
        numbers = iter(range(10**12, 10**13))
        session = weft.session()
        known = LONG.format(1, 1, 1)
        session.execute(known).close()
        return [
            (REFERENCE, lambda one: sqlite.execute(marked, (one,)).fetchone()),
            (f"{REFERENCE}, id in the text", lambda one: sqlite.execute(SELECT.format(one)).fetchone()),
            ("table.get", lambda one: table.get(one)),
            ("execute", lambda one: weft.execute(given, [one]).rows()),
            ("execute, id in the text", lambda one: weft.execute(SELECT.format(one)).rows()),
            ("gRPC table.get", lambda one: remote_table.get(one)),
            ("gRPC execute", lambda one: remote.execute(given, [one]).rows()),
            ("plan by exact text", lambda _: inside.find_plan(session, known)),
            ("normalization, one literal", lambda _: inside.lift(weft, SELECT.format(next(numbers)))),
            ("normalization, nine literals", lambda one: inside.lift(weft, LONG.format(one, next(numbers), one))),
        ]

    def _change(self, samples: dict[str, list[float]], tails: dict[str, list[float]]) -> None:
        """Changes of one row, each sort in a transaction of its own that is rolled back."""
        ids = self._ids[:_CHANGES]
        for name, text, order in (
            ("UPDATE to a value", UPDATE, lambda one: (one * 3, one)),
            ("UPDATE by adding", ADD, lambda one: (1, one)),
            ("upsert", UPSERT, lambda one: (one + self._size.rows // 2, "new", one)),
        ):
            count = text.count("{}")
            marked, given = text.format(*"?" * count), text.format(*(f"${n}" for n in range(1, count + 1)))
            self._sqlite.execute("BEGIN")
            seconds = _timed(lambda one, sql=marked, of=order: self._sqlite.execute(sql, of(one)), ids)
            self._sqlite.execute("ROLLBACK")
            samples.setdefault(f"{REFERENCE} {name}", []).append(statistics.median(seconds) * 1e6)
            tails.setdefault(f"{REFERENCE} {name}", []).extend(seconds)
            transaction = self._weft.transaction()
            seconds = _timed(lambda one, sql=given, of=order, at=transaction: at.execute(sql, of(one)), ids)
            transaction.rollback()
            samples.setdefault(name, []).append(statistics.median(seconds) * 1e6)
            tails.setdefault(name, []).extend(seconds)

    def check(self) -> None:
        """Every way gives the rows that were written, and none where there is none."""
        absent = self._size.rows
        for label, call in self._cases():
            if label.startswith(("normalization", "plan")):
                continue
            for id in [*self._ids[:300], absent]:
                answer: Any = call(id)
                if isinstance(answer, dict):
                    answer = (answer["name"], answer["balance"])
                elif isinstance(answer, list):
                    answer = answer[0] if answer else None
                if answer != (None if id == absent else (f"n{id}", id)):
                    raise WrongAnswer(f"{label}: account {id} is {answer}")
        found = self._many()
        wanted = self._ids[:_KEYS_PER_CALL]
        if found.column("balance").to_pylist() != wanted:
            raise WrongAnswer(f"get_many of {len(wanted):,} keys gave other rows, or another order")

    def _many(self) -> pa.Table:
        return self._table.get_many(pa.table({"id": pa.array(self._ids[:_KEYS_PER_CALL], pa.int64())}))

    def close(self) -> None:
        self._remote.close()
        self._server.stop()
        self._weft.close()
        self._sqlite.close()

    def _report(self, samples: dict[str, list[float]], tails: dict[str, list[float]]) -> Report:
        seconds = [_timed(lambda _: self._many(), range(20)) for _ in range(self._size.rounds)]
        samples["get_many, per row"] = [statistics.median(turn) / _KEYS_PER_CALL * 1e6 for turn in seconds]
        report = Report(
            name=self.name,
            title="one row by primary key, one call at a time",
            rows=self._size.rows,
            rounds=self._size.rounds,
            reference=REFERENCE,
        )
        middle = {label: statistics.median(values) for label, values in samples.items()}
        p99 = {label: sorted(values)[len(values) * 99 // 100] * 1e6 for label, values in tails.items()}
        for label, values in samples.items():
            base = _base_of(label)
            ratio = None if base is None else middle[base] / middle[label]
            note = f"p99 {p99[label]:.0f} µs" if label in p99 else "x is against one SELECT"
            report.lines.append(Line(label=label, unit="µs", samples=tuple(values), ratio=ratio, note=note))
        select = middle[REFERENCE]
        report.goals += [
            Goal(text="table.get, rate by SQLite's SELECT", wanted=1, value=select / middle["table.get"]),
            Goal(text="get_many per row, likewise", wanted=5, value=select / middle["get_many, per row"]),
            Goal(text="execute, likewise", wanted=1 / 3, value=select / middle["execute"]),
            Goal(text="gRPC execute, 99th percentile, ms", wanted=2, value=p99["gRPC execute"] / 1e3, at_most=True),
            Goal(
                text="plan of a join of ten tables, ms",
                wanted=50,
                value=middle["plan of a join of ten tables"] / 1e3,
                at_most=True,
            ),
            Goal(text="plan by exact text, µs", wanted=5, value=middle["plan by exact text"], at_most=True),
            Goal(
                text="normalization, µs",
                wanted=150,
                value=max(middle[f"normalization, {which}"] for which in ("one literal", "nine literals")),
                at_most=True,
            ),
        ]
        return report


def _base_of(label: str) -> str | None:
    """The line that a line is compared with."""
    if label.startswith((REFERENCE, "normalization", "plan")):
        return None
    return f"{REFERENCE} {label}" if label.startswith(("UPDATE", "upsert")) else REFERENCE


def _timed(call: Run, ids: Sequence[int]) -> list[float]:
    """Seconds of each call."""
    clock = time.perf_counter
    seconds: list[float] = []
    gc.collect()
    for id in ids:
        begin = clock()
        call(id)
        seconds.append(clock() - begin)
    return seconds
