"""``bench aggregate``: ingest with aggregates that are kept inside the commit, and what reading and keeping them takes.

The events of ``bench ingest`` in the same commits, durable in the same way, while none, either or both of two views
are kept: count and sum of amounts per device, and per minute and kind. WeftDB's views are exact inside the commit;
beside it ClickHouse with two views of AggregatingMergeTree, which gets their parts written by the same insert. Rounds
take turns, and one store is open at a time. Every view of every system must come to what its rows come to, computed
anew from the data.

Then what a view is for, and what it costs beside time:

- one group read by its key, embedded, and DuckDB's scan of the base table for the same question;
- a *hot* group that changes in every commit, 20 times fewer commits than rows, each of one row: what its table takes in
  memory while they come, and how many of its versions are kept, with history (10 minutes) and after a flush without;
- bytes of a group in memory and on disk, and how fast a view of rows that are there is made.

Goals: with both views at least half the rate without, and at least 2,000,000 rows/s; a group read in at most 100 µs
(p99), at least 100 times faster than the scan (the goal is stated for a scan of 20,000,000 rows).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import weftdb
from weftdb.bench import inside
from weftdb.bench.clickhouse import ClickHouseStore
from weftdb.bench.data import commits, events
from weftdb.bench.duck import DuckStore
from weftdb.bench.report import Goal, Line, Report, figure
from weftdb.bench.systems import Missing, Store, WrongAnswer
from weftdb.bench.weft import WeftStore
from weftdb.bench.workload import Size, available, fresh, in_turn, seconds_of

DEVICE: Final = "per_device"
MINUTE: Final = "per_minute"
KEYS: Final = {DEVICE: ("device",), MINUTE: ("minute", "kind")}
REFERENCE: Final = "WeftDB, no views"
BOTH: Final = "WeftDB, both views"
_READS: Final = 20_000
_SCANS: Final = 50
_COMMITS_SHARE: Final = 20
_SAMPLES: Final = 100
_QUERIES: Final = {
    DEVICE: "SELECT device, count(*) AS n, sum(amount) AS total FROM events GROUP BY device",
    MINUTE: "SELECT time_bucket('1 minute', event_time) AS minute, kind, count(*) AS n, sum(amount) AS total"
    " FROM events GROUP BY 1, 2",
}
_STATES: Final = {
    DEVICE: ("device", "device"),
    MINUTE: ("toStartOfMinute(event_time) AS minute, kind", "minute, kind"),
}


class Aggregating(Store, Protocol):
    """A store that keeps ``views``."""

    views: tuple[str, ...]

    def groups(self, view: str) -> pa.Table:
        """The groups of a view: its keys, ``n`` and ``total``, in any order."""
        ...


class WeftViews(WeftStore):
    """WeftDB, with views that are made before the first row."""

    def __init__(self, *views: str) -> None:
        super().__init__()
        self.views = views
        self.name = _name("WeftDB", views)

    def open(self, folder: Path) -> None:
        super().open(folder)
        for view in self.views:
            make_view(self.database, view)

    def groups(self, view: str) -> pa.Table:
        return self.execute(f"SELECT * FROM {view}")


class ClickHouseViews(ClickHouseStore):
    """ClickHouse, with views of AggregatingMergeTree."""

    def __init__(self, *views: str) -> None:
        super().__init__(sync=True)
        self.views = views
        self.name = _name("ClickHouse", views)

    def open(self, folder: Path) -> None:
        super().open(folder)
        for view in self.views:
            columns, keys = _STATES[view]
            self.execute(
                f"CREATE MATERIALIZED VIEW IF NOT EXISTS bench.{view} ENGINE = AggregatingMergeTree ORDER BY ({keys})"
                " SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
                f" AS SELECT {columns}, countState() AS n, sumState(amount) AS total FROM bench.events GROUP BY {keys}"
            )

    def groups(self, view: str) -> pa.Table:
        keys = ", ".join(KEYS[view])
        query = f"SELECT {keys}, countMerge(n) AS n, sumMerge(total) AS total FROM bench.{view} GROUP BY {keys}"
        found = self.execute(query)
        if view == MINUTE:  # seconds since 1970
            minutes = found["minute"].cast(pa.int64()).to_numpy() * 1_000_000
            found = found.set_column(0, "minute", pa.array(minutes).cast(pa.timestamp("us")))
        return found


MAKERS: Final[tuple[Callable[[], Store], ...]] = (
    WeftViews,
    partial(WeftViews, DEVICE),
    partial(WeftViews, MINUTE),
    partial(WeftViews, DEVICE, MINUTE),
    ClickHouseViews,
    partial(ClickHouseViews, DEVICE, MINUTE),
)


@dataclass(slots=True)
class _Runs:
    """One store's rounds, and seconds of every commit."""

    store: Any
    rates: list[float] = field(default_factory=list[float])
    commits: list[float] = field(default_factory=list[float])


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
            report.lines.append(Line(label=name, unit="rows/s", samples=tuple(runs.rates), ratio=ratio, note=note))
        if base is not None and BOTH in rates:
            report.goals += [
                Goal(text="both views, share of the rate without", wanted=0.5, value=rates[BOTH] / base),
                Goal(text="both views, rows/s", wanted=2_000_000, value=rates[BOTH]),
            ]
            theirs = rates.get(_name("ClickHouse", (DEVICE, MINUTE)))
            if theirs is not None:
                report.goals.append(Goal(text="both views, x ClickHouse", wanted=1.0, value=rates[BOTH] / theirs))

    def _report_reads(self, report: Report, store: WeftViews) -> None:
        """One group by its key, and the scan that answers the same."""
        devices = np.random.default_rng(1).permutation(pc.unique(self._table["device"]).to_numpy())  # pyright: ignore[reportAttributeAccessIssue]
        wanted = recomputed(self._table, DEVICE)
        answers = dict(zip(wanted["device"].to_pylist(), wanted["n"].to_pylist(), strict=True))
        query = f"SELECT n, total FROM {DEVICE} WHERE device = $1"
        asked = [int(device) for device in np.resize(devices, min(_READS, 10 * len(devices)))]

        def read(device: int) -> list[tuple[Any, ...]]:
            return store.database.execute(query, [device]).rows()

        microseconds = [1e6 * seconds for seconds in _timed(read, asked, answers)]
        duck = DuckStore(primary_key=False)
        folder = fresh(self._folder / "duck")
        duck.open(folder)
        try:
            duck.append("events", self._table)
            connection = duck.cursor()
            scan = "SELECT count(*), sum(amount) FROM events WHERE device = ?"
            scans = _timed(lambda device: connection.execute(scan, [device]).fetchall(), asked[:_SCANS], answers)
        finally:
            duck.close()
        p50, p99 = np.percentile(microseconds, [50, 99]).tolist()
        ratio = statistics.median(scans) * 1e6 / p50
        report.lines += [
            Line(label="one group by key, p50", unit="µs", samples=(p50,), note="execute with a parameter, embedded"),
            Line(label="one group by key, p99", unit="µs", samples=(p99,)),
            Line(
                label="DuckDB's scan for one group",
                unit="µs",
                samples=tuple(1e6 * seconds for seconds in scans),
                note=f"of {self._size.rows:,} rows, without an index; {ratio:,.0f} times p50",
            ),
        ]
        report.goals += [
            Goal(text="one group by key, p99, µs", wanted=100, value=p99, at_most=True),
            Goal(text="one group by key, x DuckDB's scan", wanted=100, value=ratio),
        ]

    def _report_groups(self, report: Report, store: WeftViews) -> None:
        """Views of rows that are there: how fast they are made, and what a group takes that has one version."""
        store.settle()
        for view in KEYS:
            seconds = seconds_of(partial(make_view, store.database, view))
            groups, memory, _ = kept(store.database, view)
            inside.seal(store.database)
            disk = kept(store.database, view)[2]
            where = f"{memory / groups:.0f} bytes each in memory" if memory else "in segments at once"
            note = f"{groups:,} groups: {where}, {disk / groups:.1f} bytes each on disk"
            rate = self._size.rows / seconds
            report.lines.append(Line(label=f"{view} made of rows", unit="rows/s", samples=(rate,), note=note))

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
                    f" {kept(store.database, 'hot')[2]:,} bytes on disk"
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
                memory.append(kept(self.database, "hot")[1])
        seconds = time.perf_counter() - begin
        found = self.database.execute("SELECT * FROM hot").rows()
        if found != [(1, self._commits, self._commits / 4)]:
            raise WrongAnswer(f"the hot group is {found} after {self._commits:,} commits")
        return memory or [kept(self.database, "hot")[1]], seconds

    @property
    def versions(self) -> int:
        """Versions of the group's row that are kept."""
        return inside.versions_of(self.database, "hot")

    def close(self) -> None:
        if self.database is not None:
            self.database.close()


def make_view(database: Any, view: str) -> None:
    """CREATE MATERIALIZED VIEW."""
    database.execute(f"CREATE MATERIALIZED VIEW IF NOT EXISTS {view} AS {_QUERIES[view]}")


def kept(database: Any, view: str) -> tuple[int, int, int]:
    """Groups of a view, and their bytes in memory and on disk."""
    query = "SELECT groups, memory_bytes, disk_bytes FROM weft_views WHERE view_name = $1"
    [(groups, memory, disk)] = database.execute(query, [view]).rows()
    return groups, memory, disk


def recomputed(table: pa.Table, view: str) -> pa.Table:
    """What a view should show of these rows."""
    if view == MINUTE:
        microseconds = table["event_time"].cast(pa.int64()).to_numpy()
        minutes = pa.array(microseconds - microseconds % 60_000_000).cast(pa.timestamp("us"))
        table = table.append_column("minute", minutes)
    sums = table.group_by(list(KEYS[view])).aggregate([("amount", "count"), ("amount", "sum")])
    return sums.select([*KEYS[view], "amount_count", "amount_sum"]).rename_columns([*KEYS[view], "n", "total"])


def compare(system: str, view: str, found: pa.Table, wanted: pa.Table) -> None:
    """Raise WrongAnswer unless both have the same groups: counts exactly, sums to 1e-9."""
    order = [(key, "ascending") for key in KEYS[view]]
    found, wanted = found.sort_by(order), wanted.sort_by(order)
    for name in (*KEYS[view], "n"):
        if not np.array_equal(_numbers(found[name]), _numbers(wanted[name])):
            raise WrongAnswer(f"{system}: {name} of {view} differs from that of the rows")
    sums, expected = _numbers(found["total"]), _numbers(wanted["total"])
    if not np.allclose(sums, expected, rtol=1e-9, atol=0):
        place = int(np.argmax(np.abs(sums - expected)))
        raise WrongAnswer(f"{system}: a sum of {view} is {sums[place]}, that of the rows {expected[place]}")


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
    return column.to_numpy()


def _timed(
    read: Callable[[int], list[tuple[Any, ...]]], devices: Sequence[int], answers: dict[int, int]
) -> list[float]:  # fmt: skip
    """Seconds of each read; raises WrongAnswer for a count that is not that of ``answers``."""
    seconds: list[float] = []
    for device in devices:
        begin = time.perf_counter()
        rows = read(device)
        seconds.append(time.perf_counter() - begin)
        if len(rows) != 1 or rows[0][0] != answers[device]:
            raise WrongAnswer(f"device {device} has {answers[device]} rows, read was {rows}")
    return seconds


def _name(system: str, views: Sequence[str]) -> str:
    short = {(): "no views", (DEVICE,): "per key", (MINUTE,): "per minute and kind"}
    return f"{system}, {short.get(tuple(views), 'both views')}"
