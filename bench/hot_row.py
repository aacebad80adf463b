"""``bench hot``: one row that sixteen writers add to, all at once.

Every system does the same updates of one row, durable when the clock stops: WeftDB by pipelined writers (embedded, and
remote with a connection each) and by calls of ``add`` that return when they are committed; PostgreSQL by ``pgbench``
with as many clients, one update per transaction, and once more with a hundred of them sent together, which is its way
of doing what a writer does. The reference is one update per transaction: the lock of the row is held until the disk has
it, so no two share a sync.

No transaction may be refused (an error ends the run), and at the end the row must be the sum of what was acknowledged.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import weftdb
from weftdb.bench.oltp import WeftAccounts, WeftRemote
from weftdb.bench.pgbench import Pgbench
from weftdb.bench.report import Goal, Line, Report
from weftdb.bench.systems import Missing, Turn, WrongAnswer
from weftdb.bench.workload import Size, fresh, in_turn

WRITERS: Final = 16
_AT_ONCE: Final = 100


class System(Protocol):
    """One system with one account, number 0."""

    @property
    def name(self) -> str: ...

    @property
    def note(self) -> str: ...

    def open(self, folder: Path, *, accounts: int) -> None: ...

    def updates(self, count: int, *, clients: int) -> Turn:
        """Add 1 to account 0 ``count`` times, or a few times less so that all clients do as many."""
        ...

    def total(self) -> int: ...

    def close(self) -> None: ...


class WeftCalls(WeftAccounts):
    """One committed update per call."""

    name = "WeftDB embedded, calls"
    note = "table.add; each returns when it is committed"

    def updates(self, count: int, *, clients: int) -> Turn:
        each = count // clients

        def client() -> None:
            table = self.database.table("accounts")
            for _ in range(each):
                table.add(0, balance=1)

        return _timed(client, clients=clients, count=each * clients)


class WeftEmbeddedWriters(WeftAccounts):
    """Writers in this process."""

    name = "WeftDB embedded, writers"
    note = "writer.add"

    def updates(self, count: int, *, clients: int) -> Turn:
        each = count // clients
        return _timed(lambda: _write(self.database, each), clients=clients, count=each * clients)


class WeftRemoteWriters(WeftRemote):
    """Pipelined writers of a server, each with a connection of its own."""

    name = "WeftDB gRPC, writers"
    note = "writer.add, pipelined"

    def updates(self, count: int, *, clients: int) -> Turn:
        each = count // clients

        def client() -> None:
            with weftdb.connect(self._url) as database:
                _write(database, each)

        return _timed(client, clients=clients, count=each * clients)


class PgbenchUpdates(Pgbench):
    """PostgreSQL with one update per transaction."""

    note = "pgbench -M prepared, one UPDATE per transaction"


class PgbenchBatches(Pgbench):
    """PostgreSQL with many updates in one transaction, sent together."""

    note = f"{_AT_ONCE} updates in each transaction, pipelined"

    def __init__(self) -> None:
        super().__init__()
        self.name += ", batches"

    def updates(self, count: int, *, clients: int, at_once: int = _AT_ONCE) -> Turn:
        return super().updates(count, clients=clients, at_once=at_once)


MAKERS: Final[tuple[Callable[[], System], ...]] = (
    WeftEmbeddedWriters,
    WeftRemoteWriters,
    WeftCalls,
    PgbenchUpdates,
    PgbenchBatches,
)


@dataclass(slots=True)
class _Runs:
    system: System
    turns: list[Turn] = field(default_factory=list[Turn])

    @property
    def rates(self) -> tuple[float, ...]:
        return tuple(turn.transactions / turn.seconds for turn in self.turns)


class HotRow:
    """Every system in turn, round by round; ``rows`` of the size are the updates of a round."""

    name = "hot"
    full = Size(rows=100_000, rounds=3)
    quick = Size(rows=20_000, rounds=1)

    def __init__(self, *, size: Size, folder: Path, makers: Sequence[Callable[[], System]] = MAKERS) -> None:
        self._size = size
        self._folder = folder
        self._makers = makers
        self._skipped: dict[str, str] = {}
        self._runs: list[_Runs] = []

    @property
    def systems(self) -> list[System]:
        return [runs.system for runs in self._runs]

    @property
    def skipped(self) -> dict[str, str]:
        return self._skipped

    def setup(self) -> None:
        for at, maker in enumerate(self._makers):
            try:
                system = maker()
                system.open(fresh(self._folder / f"{at}"), accounts=1)
                self._runs.append(_Runs(system))
            except Missing as reason:
                self._skipped[getattr(maker, "__name__", str(maker))] = str(reason)

    def run(self) -> Report:
        for _, runs in in_turn(self._runs, rounds=self._size.rounds):
            runs.turns.append(runs.system.updates(self._size.rows, clients=WRITERS))
        report = Report(
            name=self.name,
            title=f"updates of one row by {WRITERS} writers",
            rows=self._size.rows,
            rounds=self._size.rounds,
            reference="PostgreSQL",
            skipped=self._skipped,
        )
        rates = {type(runs.system): statistics.median(runs.rates) for runs in self._runs}
        base = rates.get(PgbenchUpdates)
        for runs in self._runs:
            system, kind = runs.system, type(runs.system)
            ratio = None if base is None or kind is PgbenchUpdates else rates[kind] / base
            report.lines.append(Line(label=system.name, unit="/s", samples=runs.rates, ratio=ratio, note=system.note))
            if ratio is not None and kind in (WeftEmbeddedWriters, WeftRemoteWriters):
                report.goals.append(Goal(text=f"{system.name}, x PostgreSQL", wanted=5.0, value=ratio))
        return report

    def check(self) -> None:
        """Every acknowledged update counts once."""
        for runs in self._runs:
            wanted = sum(turn.transactions for turn in runs.turns)
            if (found := runs.system.total()) != wanted:
                raise WrongAnswer(f"{runs.system.name}: the row is {found}, acknowledged were {wanted}")

    def close(self) -> None:
        for runs in self._runs:
            runs.system.close()


def _write(database: Any, count: int) -> None:
    with database.table("accounts").writer() as writer:
        for _ in range(count):
            writer.add(0, balance=1)


def _timed(client: Callable[[], None], *, clients: int, count: int) -> Turn:
    """``client`` in as many threads at once. Raises what any of them raises."""
    start = threading.Barrier(clients + 1)

    def run() -> None:
        start.wait()
        client()

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(run) for _ in range(clients)]
        start.wait()
        begin = time.perf_counter()
        for each in running:
            each.result()
        return Turn(transactions=count, seconds=time.perf_counter() - begin)
