"""``bench group``: one group of a view, read by its key, while the table that it is of grows.

The history of ``bench growth``, with a view that keeps count and sum of the amounts of each of its million devices.
When there are 1,000,000, 10,000,000 and 100,000,000 rows (of as many as ``--rows`` allows) the load pauses, what is in
memory is flushed and merged, and groups of devices drawn at random are asked for, one call at a time:

    embedded     ``execute`` with a parameter
    over gRPC    ``table.get`` and the same ``execute``, the server (``weft serve``) in a process of its own, beside a
                 bare call: the health check, which comes back from the same server without touching the database

DuckDB is asked for the same by a scan of the first 20,000,000 rows. All answers are compared with what the rows come
to. With ``--resume DIR`` the table stays in DIR and the next run goes on where it is: with the same ``--rows`` it only
reads.

Goals: at most 100 µs embedded and 2 ms by SQL over gRPC (p99) at the largest size; as fast there as at the smallest; at
least 100 times faster than the scan.
"""

from __future__ import annotations

import gc
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import pyarrow as pa
import weftdb
from grpc_health.v1 import health_pb2, health_pb2_grpc
from weftdb.bench.data import ROWS_PER_COMMIT, close
from weftdb.bench.duck import DuckStore
from weftdb.bench.growth import TIMED, VARIANTS
from weftdb.bench.history import SCHEMA, History
from weftdb.bench.process import ServerProcess
from weftdb.bench.report import Goal, Line, Report, figure
from weftdb.bench.systems import WrongAnswer
from weftdb.bench.views import DEVICE, WeftViews
from weftdb.bench.workload import Size, fresh, seconds_of

SIZES: Final = (1_000_000, 10_000_000)
SCANNED_ROWS: Final = 20_000_000
SELECT: Final = f"SELECT n, total FROM {DEVICE} WHERE device = $1"
SCAN: Final = "SELECT count(*), sum(amount) FROM events WHERE device = ?"

EMBEDDED: Final = "embedded, execute"
BARE: Final = "gRPC, a bare call"
GET: Final = "gRPC, table.get"
SQL: Final = "gRPC, execute"
READS: Final = 20_000
CALLS: Final = 4_000
_TURNS: Final = 8
_WARM: Final = 200
_SCANS: Final = 50


class Wanted:
    """What the groups must be: count and sum by device, which is the index."""

    def __init__(self, devices: int) -> None:
        """Of devices numbered up to ``devices``, and no rows."""
        self.rows = 0
        self.counts = np.zeros(devices + 1, np.int64)
        self.sums = np.zeros(devices + 1)

    def add(self, batch: Any) -> None:
        """Rows of ``events``."""
        devices, amounts = batch["device"].to_numpy(), batch["amount"].to_numpy()
        self.counts += np.bincount(devices, minlength=len(self.counts))
        self.sums += np.bincount(devices, amounts, len(self.sums))
        self.rows += batch.num_rows

    def devices(self, count: int) -> list[int]:
        """So many that are there, at random."""
        return np.random.default_rng(1).choice(np.flatnonzero(self.counts), count).tolist()

    def check(self, device: int, answer: tuple[int, float]) -> None:
        count, total = answer
        if count != self.counts[device] or not close(total, float(self.sums[device])):
            wanted = (int(self.counts[device]), float(self.sums[device]))
            raise WrongAnswer(f"device {device} has {wanted} as count and sum, read was {answer}")


Read = Callable[[int], tuple[int, float] | None]
"""Count and sum of one device; None from what reads nothing."""


def embedded(database: Any, wanted: Wanted, *, calls: int = READS) -> dict[str, list[float]]:
    """Seconds of each read in this process."""
    return _in_turns({EMBEDDED: _execute(database)}, wanted, calls=calls)


def over_grpc(folder: Path, wanted: Wanted, *, calls: int = CALLS) -> dict[str, list[float]]:
    """Seconds of each call to a server on ``folder``, where no database may be open; it is in a process of its own."""
    server = ServerProcess(folder)
    try:
        database = weftdb.connect(server.url)
        table = database.table(DEVICE)
        channel = grpc.insecure_channel(server.url.removeprefix("weft://"))
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()

        def bare(device: int) -> None:
            health.Check(request)

        def get(device: int) -> tuple[int, float]:
            row = table.get(device)
            return row["n"], row["total"]

        seconds = _in_turns({BARE: bare, GET: get, SQL: _execute(database)}, wanted, calls=calls)
        channel.close()
        database.close()
        return seconds
    finally:
        server.stop()


def scans(duck: DuckStore, wanted: Wanted) -> list[float]:
    """Seconds of each of DuckDB's scans for one group."""
    connection = duck.cursor()
    return _timed(lambda device: connection.execute(SCAN, [device]).fetchall()[0], wanted.devices(_SCANS), wanted)


def line(label: str, seconds: Sequence[float]) -> Line:
    """The median in microseconds, and the tail."""
    p50, p90, p99, p999 = (1e6 * np.percentile(seconds, [50, 90, 99, 99.9])).tolist()
    note = f"p90 {figure(p90)}, p99 {figure(p99)}, p99.9 {figure(p999)}, of {len(seconds):,}"
    return Line(label=label, unit="µs", samples=(p50,), note=note)


def scan_line(scanned: Sequence[float], *, rows: int, ratio: float) -> Line:
    """DuckDB's scan for one group, beside reading it."""
    note = f"of {rows:,} rows, without an index; {ratio:,.0f} times one group by its key, embedded"
    return Line(label="DuckDB's scan", unit="µs", samples=tuple(1e6 * each for each in scanned), note=note)


def goals(seconds: dict[str, list[float]], *, ratio: float) -> list[Goal]:
    """Those of reading: its tails, and how many times faster than the scan it is."""
    p99 = {case: float(np.percentile(each, 99)) for case, each in seconds.items()}
    return [
        Goal(text="one group by key, p99, µs", wanted=100, value=1e6 * p99[EMBEDDED], at_most=True),
        Goal(text="one group by table.get over gRPC, p99, ms", wanted=2, value=1e3 * p99[GET], at_most=True),
        Goal(text="one group by SQL over gRPC, p99, ms", wanted=2, value=1e3 * p99[SQL], at_most=True),
        Goal(text="one group by key, x DuckDB's scan", wanted=100, value=ratio),
    ]


class Group:
    """One table that grows, and pauses at each size."""

    name = "group"
    full = Size(rows=100_000_000, rounds=1)
    quick = Size(rows=1_000_000, rounds=1)

    def __init__(self, *, size: Size, folder: Path, reads: int = READS, calls: int = CALLS) -> None:
        self._reads = reads
        self._calls = calls
        self._rows = -(-size.rows // ROWS_PER_COMMIT) * ROWS_PER_COMMIT
        self._folder = folder / "group"
        self._history = History(rows=self.full.rows)
        self._wanted = Wanted(self._history.devices)
        self._store = WeftViews(DEVICE, cells=VARIANTS[TIMED])

    def setup(self) -> None:
        """The folder; where an earlier run left one, its rows stay."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._store.open(self._folder)

    def run(self) -> Report:
        report = Report(
            name=self.name,
            title="one group of a view by its key, one call at a time",
            rows=self._rows,
            rounds=1,
            reference="",
        )
        there = self._store.rows_count()
        middle: dict[int, float] = {}
        seconds: dict[str, list[float]] = {}
        for rows in (*(size for size in SIZES if there <= size < self._rows), self._rows):
            report.lines += self._grow(rows)
            seconds = self._read()
            report.lines += [line(f"{rows:,} rows: {case}", each) for case, each in seconds.items()]
            middle[rows] = statistics.median(seconds[EMBEDDED])
        scanned, of_rows = self._scans()
        ratio = statistics.median(scanned) / middle[self._rows]
        report.lines.append(scan_line(scanned, rows=of_rows, ratio=ratio))
        report.goals = goals(seconds, ratio=ratio)
        if SIZES[0] in middle and self._rows > SIZES[0]:
            text = f"one group by key, p50, by that of {SIZES[0]:,} rows"
            slower = middle[self._rows] / middle[SIZES[0]]
            report.goals.append(Goal(text=text, wanted=1.5, value=slower, at_most=True))
        return report

    def check(self) -> None:
        """All groups together come to all rows; each answer was compared when it was read."""
        [(groups, rows)] = self._store.database.execute(f"SELECT count(*), sum(n) FROM {DEVICE}").rows()
        wanted = (np.count_nonzero(self._wanted.counts), self._rows)
        if (groups, rows) != wanted:
            raise WrongAnswer(f"{groups:,} groups of {rows:,} rows are kept, not {wanted[0]:,} of {wanted[1]:,}")

    def close(self) -> None:
        self._store.close()

    def _grow(self, rows: int) -> list[Line]:
        """Write until there are so many, and let background work end."""
        there = self._store.rows_count()
        seconds = 0.0
        while self._wanted.rows < rows:
            batch = self._history.commit(self._wanted.rows // ROWS_PER_COMMIT)
            self._wanted.add(batch)
            if self._wanted.rows > there:
                seconds += seconds_of(partial(self._store.write, batch))
        self._store.settle()
        if not seconds:
            return []
        note = f"in commits of {ROWS_PER_COMMIT:,}, with the view; {there:,} were there"
        return [Line(label=f"up to {rows:,} rows", unit="rows/s", samples=((rows - there) / seconds,), note=note)]

    def _read(self) -> dict[str, list[float]]:
        seconds = embedded(self._store.database, self._wanted, calls=self._reads)
        self._store.close()
        seconds |= over_grpc(self._folder / "weft", self._wanted, calls=self._calls)
        self._store.open(self._folder)
        return seconds

    def _scans(self) -> tuple[list[float], int]:
        """Of DuckDB, over the first rows; and how many these are."""
        wanted = Wanted(self._history.devices)
        commits = min(self._rows, SCANNED_ROWS) // ROWS_PER_COMMIT

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in self._history.commits(0, commits):
                wanted.add(batch)
                yield batch

        folder = fresh(self._folder / "duck")
        duck = DuckStore(primary_key=False)
        duck.open_database(folder)
        try:
            duck.load_history(pa.RecordBatchReader.from_batches(SCHEMA, batches()))
            return scans(duck, wanted), wanted.rows
        finally:
            duck.close()
            shutil.rmtree(folder)


def _execute(database: Any) -> Read:
    def read(device: int) -> tuple[int, float]:
        [answer] = database.execute(SELECT, [device]).rows()
        return answer

    return read


def _in_turns(cases: dict[str, Read], wanted: Wanted, *, calls: int) -> dict[str, list[float]]:
    """Seconds of each call. Cases take turns, so that a busy moment of the machine meets all of them."""
    devices = wanted.devices(calls)
    for read in cases.values():
        _timed(read, devices[:_WARM], wanted)
    seconds: dict[str, list[float]] = {case: [] for case in cases}
    for turn in range(_TURNS):
        for case, read in cases.items():
            seconds[case] += _timed(read, devices[turn::_TURNS], wanted)
    return seconds


def _timed(read: Read, devices: Sequence[int], wanted: Wanted) -> list[float]:
    """Seconds of each read; raises WrongAnswer for what is not so."""
    gc.collect()  # not within a call that is timed
    seconds: list[float] = []
    for device in devices:
        begin = time.perf_counter()
        answer = read(device)
        seconds.append(time.perf_counter() - begin)
        if answer is not None:
            wanted.check(device, answer)
    return seconds
