"""``bench aggregate``: ingest with aggregates that are kept inside the commit, and what reading and keeping them takes.

The events of ``bench ingest`` in the same commits, durable in the same way, while none, either or both of two views
are kept: count and sum of amounts per device, and per minute and kind; and once with least and greatest amount per
device, for which WeftDB keeps all different amounts. WeftDB's views are exact inside the commit; beside it ClickHouse
with two views of AggregatingMergeTree, which gets their parts written by the same insert. Rounds take turns, and one
store is open at a time. Every view of every system must come to what its rows come to, computed anew from the data.

Then what a view is for, and what it costs beside time:

- one group read by its key, embedded and over gRPC, and DuckDB's scan of the base table for the same question, as in
  ``bench group``, which does that while a table grows to 100,000,000 rows;
- a *hot* group that changes in every commit, 20 times fewer commits than rows, each of one row: what its table takes in
  memory while they come, and how many of its versions are kept, with history (10 minutes) and after a flush without;
- bytes of a group, and of a different amount in it, in memory and on disk; how fast a view of rows that are there is
  made.

Goals: with both views at least half the rate without, and at least 2,000,000 rows/s; a group read in at most 100 µs
embedded and 2 ms over gRPC (p99), at least 100 times faster than the scan (the goal is stated for a scan of 20,000,000
rows).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import weftdb
from weftdb.bench import inside
from weftdb.bench.data import commits, events
from weftdb.bench.duck import DuckStore
from weftdb.bench.group import CALLS, EMBEDDED, READS, Wanted, embedded, goals, line, over_grpc, scan_line, scans
from weftdb.bench.report import Goal, Line, Report, figure
from weftdb.bench.systems import Missing, Store, WrongAnswer
from weftdb.bench.views import (
    DEVICE,
    EXTREMES,
    KEYS,
    MINUTE,
    ClickHouseViews,
    WeftViews,
    compare,
    make_view,
    name_of,
    recomputed,
)
from weftdb.bench.workload import Size, available, fresh, in_turn, seconds_of

REFERENCE: Final = "WeftDB, no views"
BOTH: Final = "WeftDB, both views"
_COMMITS_SHARE: Final = 20
_SAMPLES: Final = 100

MAKERS: Final[tuple[Callable[[], Store], ...]] = (
    WeftViews,
    partial(WeftViews, DEVICE),
    partial(WeftViews, MINUTE),
    partial(WeftViews, DEVICE, MINUTE),
    partial(WeftViews, EXTREMES),
    ClickHouseViews,
    partial(ClickHouseViews, DEVICE, MINUTE),
)


@dataclass(slots=True)
class _Runs:
    """One store's rounds, and seconds of every commit."""

    store: Any
    rates: list[float] = field(default_factory=list[float])
    commits: list[float] = field(default_factory=list[float])
    nanoseconds: list[float] = field(default_factory=list[float])
    """What its views cost inside of commits, per row and round; of WeftDB, which says so."""


class Aggregate:
    """Every store loads the same rows, round by round; after the last the stores are opened again for ``check``."""

    name = "aggregate"
    full = Size(rows=2_000_000, rounds=5)
    quick = Size(rows=200_000, rounds=1)

    def __init__(self, *, size: Size, folder: Path, makers: Sequence[Callable[[], Store]] = MAKERS) -> None:
        self._size = size
        self._folder = folder
        self._makers = makers
        self._skipped: dict[str, str] = {}
        self._runs: list[_Runs] = []
        self._table = events(size.rows)

    @property
    def stores(self) -> list[Any]:
        return [runs.store for runs in self._runs]

    def setup(self) -> None:
        """Each store does one small load, so that nothing is measured cold."""
        for store in available(self._makers, self._skipped):
            runs = _Runs(store)
            try:
                self._load(runs, self._table.slice(0, 1_000))
                self._runs.append(_Runs(store))
            except Missing as reason:
                self._skipped[store.name] = str(reason)
            store.close()

    def run(self) -> Report:
        for _, runs in in_turn(self._runs, rounds=self._size.rounds):
            self._load(runs, self._table)
            runs.store.close()  # whose background would go on beside the others
        report = Report(
            name=self.name,
            title="ingest with views, 50,000 rows per durable commit",
            rows=self._size.rows,
            rounds=self._size.rounds,
            reference=REFERENCE,
            skipped=self._skipped,
        )
        self._report_rates(report)
        for runs in self._runs:
            runs.store.open(self._place(runs.store))
        by_name = {runs.store.name: runs.store for runs in self._runs}
        if BOTH in by_name and REFERENCE in by_name:
            self._report_reads(report, by_name[BOTH])
            self._report_groups(report, by_name[REFERENCE])
            self._report_hot(report)
        return report

    def check(self) -> None:
        """Every view of every system comes to what the rows come to: counts exactly, sums to 1e-9."""
        for view in KEYS:
            wanted = recomputed(self._table, view)
            for runs in self._runs:
                if view in runs.store.views:
                    compare(runs.store.name, view, runs.store.groups(view), wanted)

    def close(self) -> None:
        for runs in self._runs:
            runs.store.close()

    def _load(self, runs: _Runs, table: pa.Table) -> None:
        store = runs.store
        store.open(fresh(self._place(store)))
        each = [seconds_of(partial(store.write, prepared)) for prepared in map(store.prepare, commits(table))]
        runs.rates.append(table.num_rows / (sum(each) + seconds_of(store.finish)))
        runs.commits += each
        if isinstance(store, WeftViews):
            runs.nanoseconds.append(store.nanoseconds_per_row)

    def _place(self, store: Any) -> Path:
        return self._folder / "".join(letter if letter.isalnum() else "-" for letter in store.name.lower())

    def _report_rates(self, report: Report) -> None:
        rates = {runs.store.name: statistics.median(runs.rates) for runs in self._runs}
        base = rates.get(REFERENCE)
        for runs in self._runs:
            name, each = runs.store.name, sorted(runs.commits)
            ratio = None if base is None or name == REFERENCE else rates[name] / base
            p50, p99 = (each[len(each) * part // 100] * 1e3 for part in (50, 99))
            note = f"{runs.store.note}; commit {p50:.0f} ms, p99 {p99:.0f} ms"
            if any(runs.nanoseconds):
                note += f"; {statistics.median(runs.nanoseconds):.0f} ns a row for views, inside of commits"
            report.lines.append(Line(label=name, unit="rows/s", samples=tuple(runs.rates), ratio=ratio, note=note))
        if base is not None and BOTH in rates:
            report.goals += [
                Goal(text="both views, share of the rate without", wanted=0.5, value=rates[BOTH] / base),
                Goal(text="both views, rows/s", wanted=2_000_000, value=rates[BOTH]),
            ]
            theirs = rates.get(name_of("ClickHouse", (DEVICE, MINUTE)))
            if theirs is not None:
                report.goals.append(Goal(text="both views, x ClickHouse", wanted=1.0, value=rates[BOTH] / theirs))

    def _report_reads(self, report: Report, store: WeftViews) -> None:
        """One group by its key in this process, from a server in a process of its own, and by a scan."""
        wanted = Wanted(self._table["device"].to_numpy().max())
        wanted.add(self._table)
        seconds = embedded(store.database, wanted, calls=min(READS, self._size.rows // 10))
        store.close()
        calls = min(CALLS, max(1, self._size.rows // _COMMITS_SHARE))
        seconds |= over_grpc(self._place(store) / "weft", wanted, calls=calls)
        store.open(self._place(store))
        duck = DuckStore(primary_key=False)
        duck.open(fresh(self._folder / "duck"))
        try:
            duck.append("events", self._table)
            scanned = scans(duck, wanted)
        finally:
            duck.close()
        ratio = statistics.median(scanned) / statistics.median(seconds[EMBEDDED])
        report.lines += [line(f"one group: {case}", each) for case, each in seconds.items()]
        report.lines.append(scan_line(scanned, rows=self._size.rows, ratio=ratio))
        report.goals += goals(seconds, ratio=ratio)

    def _report_groups(self, report: Report, store: WeftViews) -> None:
        """Views of rows that are there: how fast they are made, and what a group takes that has one version."""
        store.settle()
        for view in KEYS:
            seconds = seconds_of(partial(make_view, store.database, view))
            memory = inside.kept_of(store.database, view)
            inside.seal(store.database)
            disk = inside.kept_of(store.database, view)
            notes = [_bytes_each(*each) for each in zip(("groups", "different amounts"), memory, disk, strict=False)]
            rate = self._size.rows / seconds
            line = Line(label=f"{view} made of rows", unit="rows/s", samples=(rate,), note="; ".join(notes))
            report.lines.append(line)

    def _report_hot(self, report: Report) -> None:
        """One group that changes in every commit."""
        commits = max(self._size.rows // _COMMITS_SHARE, 10)
        for label, count, options in (
            ("history of 10 minutes", commits, {}),
            ("no history", commits // 10, {"history_seconds": 0}),
        ):
            store = Hot(count, **options)
            try:
                memory, seconds = store.run(fresh(self._folder / "hot"))
                versions = store.versions
                inside.settle(store.database)
                note = (
                    f"{count:,} commits of one row on one group, {label}: at most {figure(max(memory) / 1e3)} kB in"
                    f" memory, {versions:,} versions; flushed and merged {store.versions:,} versions,"
                    f" {inside.kept_of(store.database, 'hot')[0].disk:,} bytes on disk"
                )
                report.lines.append(
                    Line(label="a hot group, bytes a commit", unit="bytes", samples=(max(memory) / count,), note=note)
                )
                report.lines.append(Line(label="its commits", unit="/s", samples=(count / seconds,)))
            finally:
                store.close()


class Hot:
    """A table whose rows are all of one group, and come one by one."""

    def __init__(self, commits: int, **options: int) -> None:
        self._commits = commits
        self._options = options
        self.database: Any = None

    def run(self, folder: Path) -> tuple[list[int], float]:
        """What the groups take in memory, some moments in the run; and its seconds."""
        self.database = weftdb.open(str(folder / "weft"), **self._options)
        self.database.execute("CREATE TABLE clicks (id BIGINT PRIMARY KEY, page BIGINT, amount DOUBLE PRECISION)")
        self.database.execute(
            "CREATE MATERIALIZED VIEW hot AS SELECT page, count(*) AS n, sum(amount) AS total FROM clicks GROUP BY page"
        )
        insert, memory = self.database.table("clicks").insert, list[int]()
        begin, every = time.perf_counter(), max(self._commits // _SAMPLES, 1)
        for number in range(self._commits):
            insert((number, 1, 0.25))
            if number % every == every - 1:
                memory.append(inside.kept_of(self.database, "hot")[0].memory)
        seconds = time.perf_counter() - begin
        found = self.database.execute("SELECT * FROM hot").rows()
        if found != [(1, self._commits, self._commits / 4)]:
            raise WrongAnswer(f"the hot group is {found} after {self._commits:,} commits")
        return memory or [inside.kept_of(self.database, "hot")[0].memory], seconds

    @property
    def versions(self) -> int:
        """Versions of the group's row that are kept."""
        return inside.versions_of(self.database, "hot")

    def close(self) -> None:
        if self.database is not None:
            self.database.close()


def _bytes_each(noun: str, memory: inside.Kept, disk: inside.Kept) -> str:
    """What the rows of an internal table take, before and after all of them were put into segments."""
    where = f"{memory.memory / memory.rows:.1f} bytes each in memory" if memory.memory else "in segments at once"
    return f"{disk.rows:,} {noun}: {where}, {disk.disk / disk.rows:.1f} bytes each on disk"
