"""``bench ingest``: how many rows per second become durable and readable.

2,000,000 rows of (BIGINT, TIMESTAMP, SMALLINT, DOUBLE) with primary key (device, event_time), in event-time order,
50,000 rows per durable commit. The clock runs from the first row handed over to the last commit acknowledged; making
the table and converting the input is outside it.

Two goals: embedded, at least 5 times DuckDB's rate with the same primary key and the same commits; over gRPC with one
client process, at least 500,000 rows/s in batches and 100,000 rows/s with ``writer.put(tuple)``.

``insert`` stands beside DuckDB's INSERT (both must find out that the key is new), ``put`` beside INSERT OR REPLACE.
Row at a time is measured on a quarter of the rows: one Python call each takes long enough.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from weftdb.bench.data import Event, commits, events, sample, totals_of
from weftdb.bench.duck import DuckStore
from weftdb.bench.postgres import PostgresStore
from weftdb.bench.report import Goal, Line, Report
from weftdb.bench.sqlite import SqliteStore
from weftdb.bench.systems import Missing, Store, check_store
from weftdb.bench.weft import WeftServer, WeftServerRows, WeftStore
from weftdb.bench.workload import Size, available, fresh, in_turn

REFERENCE = "DuckDB INSERT"
MAKERS: tuple[Callable[[], Store], ...] = (
    partial(WeftStore, write="insert"),
    partial(WeftStore, write="put"),
    WeftServer,
    WeftServerRows,
    DuckStore,
    partial(DuckStore, write="replace"),
    partial(DuckStore, primary_key=False),
    SqliteStore,
    PostgresStore,
)
_SAMPLE = 200


@dataclass(slots=True)
class _Runs:
    """One store's rounds: rows per second of each, and seconds of every single commit."""

    store: Store
    table: pa.Table
    rates: list[float] = field(default_factory=list)
    commits: list[float] = field(default_factory=list)


class Ingest:
    """Every store loads the same rows, round by round; after the last round the stores stay open for ``check``."""

    name = "ingest"
    full = Size(rows=2_000_000, rounds=3)
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
        fewer = table.slice(0, max(1, table.num_rows // 4))
        for store in available(self._makers, self._skipped):
            self._runs.append(_Runs(store, fewer if isinstance(store, WeftServerRows) else table))
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
            seconds, each = self._load(runs.store, runs.table)
            runs.rates.append(runs.table.num_rows / seconds)
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

    def _load(self, store: Store, table: pa.Table) -> tuple[float, list[float]]:
        store.open(fresh(self._folder / _folder_name(store.name)))
        prepared: list[Any] = [store.prepare(batch) for batch in commits(table)]
        each: list[float] = []
        begin = last = time.perf_counter()
        for batch in prepared:
            store.write(batch)
            now = time.perf_counter()
            each.append(now - last)
            last = now
        store.finish()
        return time.perf_counter() - begin, each

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
        if reference and "WeftDB insert" in rates:
            text = "embedded insert over DuckDB with the same primary key"
            report.goals.append(Goal(text=text, wanted=5, value=rates["WeftDB insert"] / reference))
        if reference and "WeftDB put" in rates and "DuckDB INSERT OR REPLACE" in rates:
            text = "embedded put over DuckDB INSERT OR REPLACE"
            report.goals.append(
                Goal(text=text, wanted=5, value=rates["WeftDB put"] / rates["DuckDB INSERT OR REPLACE"])
            )
        for name, wanted in (("WeftDB gRPC, batches", 500_000), ("WeftDB gRPC, writer.put(tuple)", 100_000)):
            if name in rates:
                report.goals.append(Goal(text=f"{name}, rows/s", wanted=wanted, value=rates[name]))
        return report


def never_written(present: Sequence[Event]) -> list[Event]:
    """Keys that no event has: the devices of some that exist, before time began."""
    return [
        Event(device=event.device, event_time=event.event_time - timedelta(days=10_000), kind=0, amount=0.0)
        for event in present[:20]
    ]


def _commit_note(runs: _Runs) -> str:
    if isinstance(runs.store, WeftServer) or not runs.commits:
        return ""
    return f"; commit {statistics.median(runs.commits) * 1e3:.0f} ms, slowest {max(runs.commits) * 1e3:.0f} ms"


def _folder_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())
