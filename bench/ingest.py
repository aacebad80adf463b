"""``bench ingest``: how many rows per second become durable and readable.

20,000,000 rows of (BIGINT, TIMESTAMP, SMALLINT, DOUBLE) with primary key (device, event_time), in event-time order,
50,000 rows per durable commit: long enough that every system seals, checkpoints and merges many times while the clock
runs. It runs during the commits, from the first row to the last commit acknowledged; making the table and converting
the input is outside it. For WeftDB embedded there is a second, longer time, until the last of those rows lies in a
segment too (``sealed``); the goals are stated for that one, the peers are not asked for it.

Goals: embedded insert at least 8 times DuckDB's rate with the same primary key and the same commits, put at least 5
times its INSERT OR REPLACE, and insert ahead of ClickHouse's ReplacingMergeTree, which enforces no key at all; over
gRPC with one client process, at least 500,000 rows/s in batches and 100,000 rows/s with ``writer.put(tuple)``.

``insert`` stands beside DuckDB's INSERT (both must find out that the key is new), ``put`` beside INSERT OR REPLACE and
ReplacingMergeTree. Row at a time is measured on 500,000 rows at most, and so are SQLite and PostgreSQL on 5,000,000:
they take long enough, and more rows would only make them slower.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa
from weftdb.bench.clickhouse import ClickHouseStore
from weftdb.bench.data import commits, events, sample, totals_of
from weftdb.bench.duck import DuckStore
from weftdb.bench.postgres import PostgresStore
from weftdb.bench.report import Goal, Line, Report, figure
from weftdb.bench.sqlite import SqliteStore
from weftdb.bench.systems import Missing, Store, check_store, never_written
from weftdb.bench.weft import WeftServer, WeftServerRows, WeftStore
from weftdb.bench.workload import Size, available, fresh, in_turn, seconds_of

REFERENCE = "DuckDB INSERT"
MAKERS: tuple[Callable[[], Store], ...] = (
    partial(WeftStore, write="insert"),
    partial(WeftStore, write="put"),
    WeftServer,
    WeftServerRows,
    DuckStore,
    partial(DuckStore, write="replace"),
    partial(DuckStore, primary_key=False),
    ClickHouseStore,
    partial(ClickHouseStore, sync=False),
    SqliteStore,
    PostgresStore,
)
_RACES = (
    ("WeftDB insert", REFERENCE, 8.0),
    ("WeftDB put", "DuckDB INSERT OR REPLACE", 5.0),
    ("WeftDB insert", "ClickHouse ReplacingMergeTree", 1.0),
)
_RATES = {"WeftDB gRPC, batches": 500_000.0, "WeftDB gRPC, writer.put(tuple)": 100_000.0}
_SAMPLE = 200
_ROWS_MAX: dict[type[object], int] = {WeftServerRows: 500_000, SqliteStore: 5_000_000, PostgresStore: 5_000_000}


@dataclass(slots=True)
class _Runs:
    """One store's rounds: rows per second of each, the same until all is sealed, seconds of every single commit."""

    store: Store
    table: pa.Table
    rates: list[float] = field(default_factory=list)
    sealed: list[float] = field(default_factory=list)
    commits: list[float] = field(default_factory=list)


class Ingest:
    """Every store loads the same rows, round by round; after the last round the stores stay open for ``check``."""

    name = "ingest"
    full = Size(rows=20_000_000, rounds=1)
    quick = Size(rows=500_000, rounds=3)

    def __init__(self, *, size: Size, folder: Path, makers: Sequence[Callable[[], Store]] = MAKERS) -> None:
        self._size = size
        self._folder = folder
        self._makers = makers
        self._skipped: dict[str, str] = {}
        self._runs: list[_Runs] = []

    def setup(self) -> None:
        """Make the data, and let each store do one small load, so that nothing is measured cold."""
        table = events(self._size.rows)
        for store in available(self._makers, self._skipped):
            self._runs.append(_Runs(store, table.slice(0, _ROWS_MAX.get(type(store), table.num_rows))))
        for runs in list(self._runs):
            if isinstance(runs.store, WeftServer):
                continue  # a server warms up by itself before it opens its port
            try:
                self._load(runs.store, table.slice(0, 1_000))
            except Missing as reason:
                self._skipped[runs.store.name] = str(reason)
                self._runs.remove(runs)
            runs.store.close()

    def run(self) -> Report:
        for _, runs in in_turn(self._runs, rounds=self._size.rounds):
            runs.store.close()
            seconds, sealed, each = self._load(runs.store, runs.table)
            runs.rates.append(runs.table.num_rows / seconds)
            runs.sealed.append(runs.table.num_rows / sealed)
            runs.commits += each
            if len(runs.rates) < self._size.rounds:
                runs.store.close()
        return self._report()

    def check(self) -> None:
        """Count, sums and a sample of rows, on every store; and that rows never written are absent."""
        for runs in self._runs:
            present = sample(runs.table, _SAMPLE, seed=1)
            check_store(runs.store, expected=totals_of(runs.table), present=present, absent=never_written(present))

    def close(self) -> None:
        for runs in self._runs:
            runs.store.close()

    @property
    def stores(self) -> list[Store]:
        return [runs.store for runs in self._runs]

    def _load(self, store: Store, table: pa.Table) -> tuple[float, float, list[float]]:
        """Seconds of all commits, the same until all is sealed, and of each commit."""
        store.open(fresh(self._folder / _folder_name(store.name)))
        batches = commits(table)
        # The server works on while we prepare, so all is prepared before; else commit by commit, for 20 million rows
        # as tuples fit into no memory.
        pipelined = isinstance(store, WeftServer)
        ready = [store.prepare(batch) for batch in batches] if pipelined else map(store.prepare, batches)
        begin = time.perf_counter()
        each = [seconds_of(partial(store.write, prepared)) for prepared in ready]
        finishing = seconds_of(store.finish)
        seconds = time.perf_counter() - begin if pipelined else sum(each) + finishing
        sealing = seconds_of(store.seal) if isinstance(store, WeftStore) and not pipelined else 0.0
        return seconds, seconds + sealing, each

    def _report(self) -> Report:
        rates = {runs.store.name: statistics.median(runs.rates) for runs in self._runs}
        reference = rates.get(REFERENCE)
        report = Report(
            name=self.name,
            title="ingest, 50,000 rows per durable commit",
            rows=self._size.rows,
            rounds=self._size.rounds,
            reference=REFERENCE,
            skipped=self._skipped,
        )
        for runs in self._runs:
            ratio = None if reference is None or runs.store.name == REFERENCE else rates[runs.store.name] / reference
            report.lines.append(
                Line(
                    label=runs.store.name,
                    unit="rows/s",
                    samples=tuple(runs.rates),
                    ratio=ratio,
                    note=runs.store.note + _commit_note(runs),
                )
            )
        sealed = {runs.store.name: statistics.median(runs.sealed) for runs in self._runs}
        for ours, theirs, wanted in _RACES:
            if ours in sealed and theirs in rates:
                value = sealed[ours] / rates[theirs]
                report.goals.append(Goal(text=f"{ours}, all sealed, over {theirs}", wanted=wanted, value=value))
        for name, wanted in _RATES.items():
            if name in rates:
                report.goals.append(Goal(text=f"{name}, rows/s", wanted=wanted, value=rates[name]))
        return report


def _commit_note(runs: _Runs) -> str:
    if isinstance(runs.store, WeftServer) or not runs.commits:
        return f"; {runs.table.num_rows:,} rows"
    each = sorted(runs.commits)
    rows = f"; {runs.table.num_rows:,} rows" if type(runs.store) in _ROWS_MAX else ""
    p99, slowest = each[len(each) * 99 // 100], each[-1]
    note = (
        f"{rows}; commit {statistics.median(each) * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms, slowest {slowest * 1e3:.0f} ms"
    )
    if isinstance(runs.store, WeftStore):
        note += f"; all sealed: {figure(statistics.median(runs.sealed))} rows/s"
    return note


def _folder_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())
