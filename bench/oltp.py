"""``bench oltp``: small transactions, one after the other, by one client and by eight.

Every transaction is the same read-modify-write in all systems: begin, read the balance of one account drawn at random,
write it one higher, commit; durable when it returns. A transaction that conflicts is run again by its client and counts
once; its latency is that of all attempts. After the run the sum of all balances must be the number of transactions that
were acknowledged.

The same is done by ``add`` as well, which reads nothing and so never conflicts, and over gRPC by pipelined writers,
which acknowledge later than a call returns: their figures are updates per second of rows that were durable when the
clock stopped. Ratios are against PostgreSQL (``bench/pgbench.py``: a client in C, two threads) with as many clients;
clients of WeftDB and SQLite are threads of one Python process, which runs beside the server where there is one.

At half load: eight threads that begin transactions at half the rate that eight reached before, at fixed times; only the
commit is timed.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import weftdb
from weftdb.bench.pgbench import Pgbench
from weftdb.bench.process import ServerProcess
from weftdb.bench.report import Goal, Line, Report
from weftdb.bench.systems import Missing, Turn, WrongAnswer
from weftdb.bench.workload import Size, fresh, in_turn

CLIENTS: Final = (1, 8)
_SECONDS_PER_TURN: Final = 4.0
_COMMIT_MS_MAX: Final = 5.0
_TABLE: Final = "CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL)"


class System(Protocol):
    """One system with the table ``accounts``: ids from 0 on, balances that begin with 0."""

    @property
    def name(self) -> str: ...

    @property
    def note(self) -> str: ...

    def open(self, folder: Path, *, accounts: int) -> None: ...

    def turn(self, *, clients: int, seconds: float) -> Turn: ...

    def total(self) -> int:
        """The sum of all balances."""
        ...

    def close(self) -> None: ...


class WeftAccounts:
    """WeftDB in this process: transactions by key-value calls."""

    name = "WeftDB embedded"
    note = "transaction(), get, update, commit"

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()
        self._accounts = 0

    def open(self, folder: Path, *, accounts: int) -> None:
        self._accounts = accounts
        self.database: Any = self._open.enter_context(self._database(folder))
        self.database.execute(_TABLE)
        self.database.table("accounts").insert([(id, 0) for id in range(accounts)])

    def _database(self, folder: Path) -> Any:
        return weftdb.open(str(folder / "weft"))

    def turn(self, *, clients: int, seconds: float) -> Turn:
        return race([lambda at=at: self._client(at) for at in range(clients)], seconds=seconds)

    def _client(self, at: int) -> Callable[[], int]:
        chance = random.Random(at + time.monotonic_ns())
        accounts, begin = self._accounts, self.database.transaction

        def once() -> int:
            id = chance.randrange(accounts)
            conflicts = 0
            while True:
                try:
                    with begin() as transaction:
                        table = transaction.table("accounts")
                        table.update(id, balance=table.get(id)["balance"] + 1)
                    return conflicts
                except weftdb.Conflict:
                    conflicts += 1

        return once

    def half_load(self, *, rate: float, clients: int, seconds: float) -> list[float]:
        """Seconds that each commit took, at ``rate`` transactions per second in all."""
        commits: list[float] = []

        def client(at: int) -> None:
            chance = random.Random(at)
            start = time.perf_counter()
            for number in range(int(seconds * rate / clients)):
                due = start + (number + at / clients) * clients / rate
                time.sleep(max(due - time.perf_counter(), 0))
                id = chance.randrange(self._accounts)
                transaction = self.database.transaction()
                table = transaction.table("accounts")
                table.update(id, balance=table.get(id)["balance"] + 1)
                begin = time.perf_counter()
                with contextlib.suppress(weftdb.Conflict):
                    transaction.commit()
                    commits.append(time.perf_counter() - begin)

        threads = [threading.Thread(target=client, args=(at,)) for at in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return commits

    def total(self) -> int:
        return int(self.database.execute("SELECT sum(balance) FROM accounts").scalar())

    def close(self) -> None:
        self._open.close()


class WeftAdds(WeftAccounts):
    """The same by deltas: nothing is read, nothing conflicts."""

    name = "WeftDB embedded add"
    note = "table.add, one row per call"

    def _client(self, at: int) -> Callable[[], int]:
        chance = random.Random(at + time.monotonic_ns())
        accounts, table = self._accounts, self.database.table("accounts")

        def once() -> int:
            table.add(chance.randrange(accounts), balance=1)
            return 0

        return once


class WeftRemote(WeftAccounts):
    """WeftDB behind ``weft serve``; each client has a connection of its own."""

    name = "WeftDB gRPC"
    note = "the same calls over the network"

    def _database(self, folder: Path) -> Any:
        server = ServerProcess(folder / "weft")
        self._open.callback(server.stop)
        self._url = server.url
        return weftdb.connect(server.url)


class WeftWriters(WeftRemote):
    """Pipelined writers of a server: one update per call, batched by the writer."""

    name = "WeftDB gRPC writer"
    note = "writer.add(id, balance=1), pipelined"

    def turn(self, *, clients: int, seconds: float) -> Turn:
        counts = [0] * clients
        start = time.perf_counter()

        def client(at: int) -> None:
            chance = random.Random(at + time.monotonic_ns())
            with weftdb.connect(self._url) as database, database.table("accounts").writer() as writer:
                end = start + seconds
                while time.perf_counter() < end:
                    writer.add(chance.randrange(self._accounts), balance=1)
                    counts[at] += 1

        threads = [threading.Thread(target=client, args=(at,)) for at in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Turn(transactions=sum(counts), seconds=time.perf_counter() - start)


class SqliteAccounts:
    """SQLite on a file, in write-ahead mode, ``synchronous = FULL``; each client has a connection of its own."""

    name = f"SQLite {sqlite3.sqlite_version}"
    note = "BEGIN IMMEDIATE, SELECT, UPDATE, COMMIT"

    def __init__(self) -> None:
        self._path = ""
        self._accounts = 0

    def open(self, folder: Path, *, accounts: int) -> None:
        self._path, self._accounts = str(folder / "sqlite.db"), accounts
        with contextlib.closing(self._connect()) as connection:
            connection.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)")
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO accounts VALUES (?, 0)", [(id,) for id in range(accounts)])
            connection.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=60, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def turn(self, *, clients: int, seconds: float) -> Turn:
        with contextlib.ExitStack() as opened:
            return race([lambda at=at: self._client(at, opened) for at in range(clients)], seconds=seconds)

    def _client(self, at: int, opened: contextlib.ExitStack) -> Callable[[], int]:
        chance = random.Random(at + time.monotonic_ns())
        execute = opened.enter_context(contextlib.closing(self._connect())).execute
        accounts = self._accounts

        def once() -> int:
            id = chance.randrange(accounts)
            execute("BEGIN IMMEDIATE")
            balance = execute("SELECT balance FROM accounts WHERE id = ?", (id,)).fetchone()[0]
            execute("UPDATE accounts SET balance = ? WHERE id = ?", (balance + 1, id))
            execute("COMMIT")
            return 0

        return once

    def total(self) -> int:
        with contextlib.closing(self._connect()) as connection:
            return connection.execute("SELECT sum(balance) FROM accounts").fetchone()[0]

    def close(self) -> None:
        """Nothing is open between turns."""


def race(clients: Sequence[Callable[[], Callable[[], int]]], *, seconds: float) -> Turn:
    """All at once, each in a thread: transactions one after the other until the time is over.

    A client is made in its thread, and answers how often it conflicted.
    """
    latencies: list[list[float]] = [[] for _ in clients]
    conflicts = [0] * len(clients)
    errors: list[BaseException] = []
    ready = threading.Barrier(len(clients) + 1)

    def run(at: int) -> None:
        clock, mine = time.perf_counter, latencies[at]
        try:
            once = clients[at]()
            ready.wait()
            now, end = clock(), clock() + seconds
            while now < end:
                begin = now
                conflicts[at] += once()
                now = clock()
                mine.append(now - begin)
        except BaseException as error:
            errors.append(error)
            ready.abort()

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(clients))]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        ready.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    if errors:
        raise next((each for each in errors if not isinstance(each, threading.BrokenBarrierError)), errors[0])
    done = [latency for each in latencies for latency in each]
    return Turn(transactions=len(done), seconds=time.perf_counter() - start, latencies=done, conflicts=sum(conflicts))


MAKERS: Final[tuple[Callable[[], System], ...]] = (
    WeftAccounts,
    WeftAdds,
    WeftRemote,
    WeftWriters,
    Pgbench,
    SqliteAccounts,
)


@dataclass(slots=True)
class _Runs:
    system: System
    turns: dict[int, list[Turn]] = field(default_factory=lambda: {clients: [] for clients in CLIENTS})

    def rates(self, clients: int) -> tuple[float, ...]:
        return tuple(turn.transactions / turn.seconds for turn in self.turns[clients])


class Oltp:
    """Every system in turn, with one client and with eight, round by round."""

    name = "oltp"
    full = Size(rows=100_000, rounds=3)
    quick = Size(rows=20_000, rounds=1)

    def __init__(
        self,
        *,
        size: Size,
        folder: Path,
        makers: Sequence[Callable[[], System]] = MAKERS,
        seconds: float = _SECONDS_PER_TURN,
    ) -> None:
        self._size = size
        self._folder = folder
        self._makers = makers
        self._seconds = seconds
        self._skipped: dict[str, str] = {}
        self._runs: list[_Runs] = []
        self._commits: list[float] = []

    def setup(self) -> None:
        for at, maker in enumerate(self._makers):
            try:
                system = maker()
                self._runs.append(_Runs(system))
                system.open(fresh(self._folder / f"{at}"), accounts=self._size.rows)
            except Missing as reason:
                self._skipped[getattr(maker, "__name__", str(maker))] = str(reason)
                self._runs = [runs for runs in self._runs if type(runs.system) is not maker]

    @property
    def systems(self) -> list[System]:
        return [runs.system for runs in self._runs]

    @property
    def skipped(self) -> dict[str, str]:
        return self._skipped

    def run(self) -> Report:
        for _, runs in in_turn(self._runs, rounds=self._size.rounds):
            for clients in CLIENTS:
                runs.turns[clients].append(runs.system.turn(clients=clients, seconds=self._seconds))
        for runs in self._runs:
            if type(runs.system) is WeftAccounts:
                rate = statistics.median(runs.rates(8)) / 2
                self._commits = runs.system.half_load(rate=rate, clients=8, seconds=self._seconds)
        return self._report()

    def check(self) -> None:
        """Every acknowledged transaction counts once in the sum of the balances."""
        for runs in self._runs:
            wanted = sum(turn.transactions for turns in runs.turns.values() for turn in turns)
            wanted += len(self._commits) if type(runs.system) is WeftAccounts else 0
            if (found := runs.system.total()) != wanted:
                raise WrongAnswer(f"{runs.system.name}: balances sum to {found}, acknowledged were {wanted}")

    def close(self) -> None:
        for runs in self._runs:
            runs.system.close()

    def _report(self) -> Report:
        report = Report(
            name=self.name,
            title="read-modify-write transactions on accounts",
            rows=self._size.rows,
            rounds=self._size.rounds,
            reference="PostgreSQL",
            skipped=self._skipped,
        )
        rates = {
            (type(runs.system).__name__, clients): statistics.median(runs.rates(clients))
            for runs in self._runs
            for clients in CLIENTS
        }
        for clients in CLIENTS:
            base = rates.get(("Pgbench", clients))
            for runs in self._runs:
                kind = type(runs.system).__name__
                ratio = None if base is None or kind == "Pgbench" else rates[kind, clients] / base
                label = f"{runs.system.name}, {clients} client{'s' if clients > 1 else ''}"
                note = f"{_tail(runs.turns[clients])}; {runs.system.note}".removeprefix("; ")
                report.lines.append(Line(label=label, unit="/s", samples=runs.rates(clients), ratio=ratio, note=note))
        self._goals(report, rates)
        return report

    def _goals(self, report: Report, rates: dict[tuple[str, int], float]) -> None:
        weft, postgres = rates.get(("WeftAccounts", 8)), rates.get(("Pgbench", 8))
        for peer, name in (("Pgbench", "PostgreSQL"), ("SqliteAccounts", "SQLite")):
            if weft and (other := rates.get((peer, 8))):
                report.goals.append(Goal(text=f"embedded, 8 clients, x {name}", wanted=1.0, value=weft / other))
        if postgres and (writers := rates.get(("WeftWriters", 8))):
            report.goals.append(Goal(text="8 pipelined writers, x PostgreSQL", wanted=1.0, value=writers / postgres))
        if self._commits:
            value = _percentile(self._commits, 99) * 1e3
            text = "embedded, 8 clients at half load, p99 of a commit in ms"
            report.goals.append(Goal(text=text, wanted=_COMMIT_MS_MAX, value=value, at_most=True))


def _tail(turns: Sequence[Turn]) -> str:
    latencies = [latency for turn in turns for latency in turn.latencies]
    if not latencies:
        return ""
    figures = " / ".join(f"{_percentile(latencies, at) * 1e3:.2f}" for at in (50, 99, 99.9))
    conflicts = sum(turn.conflicts for turn in turns)
    return f"p50 / p99 / p99.9 {figures} ms" + (f", {conflicts} conflicts" if conflicts else "")


def _percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]
