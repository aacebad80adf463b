"""``bench large``: one transaction of 50,000,000 rows under a memory limit of 1 GB, while others commit.

A process of its own opens a database with ``memory_limit`` 1 GB and does, while a second thread commits 50 rows every
few milliseconds into the same table (devices that the large transactions do not touch), each commit timed:

    alone    nothing else, for some seconds: what the small commits take by themselves
    load     one transaction: ``insert`` of all rows in batches of 100,000 (``history``, as ``growth``), then its commit
    update   one statement: ``UPDATE events SET kind = kind + 1`` of a fifth of the rows

Another process begins the same load in an empty database and is killed half way: opened again, there is nothing of it.

What is stated: rows per second from the first insert to the end of the commit (making the rows apart), how long the
commit call itself took, the small commits' median and 99th percentile in each phase, and the peak of what the process
had allocated (anonymous pages; mapped files are the system's to take back).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import weftdb
from weftdb.bench.history import SCHEMA, History
from weftdb.bench.process import memory_of
from weftdb.bench.report import Goal, Line, Report
from weftdb.bench.systems import WrongAnswer
from weftdb.bench.weft import events_ddl
from weftdb.bench.workload import Size

MEMORY_LIMIT: Final = 10**9
CELLS: Final = "key = 'device', time = 'event_time', every = '30 days'"
BATCH_ROWS: Final = 100_000
SMALL_ROWS: Final = 50
SMALL_PAUSE_SECONDS: Final = 0.005
ALONE_SECONDS: Final = 5.0
SHARE: Final = 5
"""One row of so many is updated."""

_PHASES: Final = ("alone", "load", "update")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the child does. ``dies``: it loads half of the rows, and waits to be killed."""

    folder: str
    rows: int
    dies: bool = False

    @property
    def history(self) -> History:
        return History(rows=self.rows, rows_per_commit=min(BATCH_ROWS, self.rows))


class Large:
    """See the module."""

    name = "large"
    full = Size(rows=50_000_000, rounds=1)
    quick = Size(rows=2_000_000, rounds=1)

    def __init__(self, *, size: Size, folder: Path) -> None:
        self._plan = Plan(folder=str(folder / "large"), rows=size.rows)
        self._killed = Plan(folder=str(folder / "killed"), rows=size.rows, dies=True)
        self._left: int | None = None
        self._result: dict[str, Any] = {}

    def setup(self) -> None:
        """Nothing: the load is the measurement."""

    def run(self) -> Report:
        self._result, peak, mapped = _watch(self._plan)
        _watch(self._killed)
        with weftdb.open(str(Path(self._killed.folder) / "weft")) as database:
            self._left = database.execute("SELECT count(*) FROM events").scalar()
        return self._report(peak, mapped)

    def check(self) -> None:
        """The rows and the small ones are there, a fifth of them changed; of the killed load there is nothing."""
        if self._left != 0:
            raise WrongAnswer(f"{self._left:,} rows of a load that was killed half way are there")
        expected = self._plan.history.totals()
        result = self._result
        if result["rows"] != expected.rows or result["devices"] != expected.devices:
            raise WrongAnswer(f"the load wrote {result['rows']:,} rows, not {expected.rows:,}")
        if result["kinds"] != expected.kinds + result["updated"]:
            raise WrongAnswer(f"kinds sum to {result['kinds']:,}, not {expected.kinds + result['updated']:,}")
        if result["small_rows"] != result["small_written"]:
            raise WrongAnswer(f"{result['small_rows']:,} small rows are there, not {result['small_written']:,}")

    def close(self) -> None:
        """Nothing is open: each process has ended."""

    def _report(self, peak: float, mapped: float) -> Report:
        result = self._result
        report = Report(
            name=self.name,
            title=f"one large transaction under a limit of {MEMORY_LIMIT / 1e6:,.0f} MB, beside small commits",
            rows=self._plan.rows,
            rounds=1,
            reference="",
        )
        report.lines = [
            Line(
                label="load",
                unit="rows/s",
                samples=(self._plan.rows / result["load_seconds"],),
                note=f"{result['load_seconds']:.1f} s, of which {result['commit_seconds']:.2f} s in commit(); making"
                f" the rows took {result['making_seconds']:.1f} s more",
            ),
            Line(
                label="update",
                unit="rows/s",
                samples=(result["updated"] / result["update_seconds"],),
                note=f"{result['updated']:,} rows in {result['update_seconds']:.1f} s",
            ),
            *(self._commits(phase) for phase in _PHASES),
            Line(
                label="peak memory",
                unit="MB",
                samples=(peak * 2**20 / 1e6,),
                note=f"allocated; mapped files {mapped * 2**20 / 1e6:,.0f} MB",
            ),
        ]
        p99 = max(float(np.percentile(result[phase], 99)) for phase in ("load", "update"))
        report.goals = [
            Goal(text="p99 of small commits beside it, ms", wanted=20, value=p99 * 1e3, at_most=True),
            Goal(text="peak memory, MB", wanted=MEMORY_LIMIT / 1e6, value=peak * 2**20 / 1e6, at_most=True),
        ]
        report.notes = ["a load that was killed half way left nothing"] if self._left == 0 else []
        return report

    def _commits(self, phase: str) -> Line:
        seconds = np.array(self._result[phase])
        p50, p99, slowest = (float(np.percentile(seconds, share)) * 1e3 for share in (50, 99, 100))
        note = f"p99 {p99:.1f} ms, slowest {slowest:.0f} ms, of {len(seconds):,}"
        return Line(label=f"small commit, {phase}", unit="ms", samples=(p50,), note=note)


def _watch(plan: Plan) -> tuple[dict[str, Any], float, float]:
    """Run the child; its result, and the peaks of allocated and of mapped memory in MiB. Raises RuntimeError."""
    folder = Path(plan.folder)
    folder.mkdir(parents=True, exist_ok=True)
    errors = folder / "stderr"
    command = [sys.executable, "-m", "weftdb.bench.large", json.dumps(asdict(plan))]
    peak = mapped = 0.0
    with errors.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
        while process.poll() is None:
            with contextlib.suppress(OSError, KeyError):  # it may end at any moment
                memory = memory_of(process.pid)
                peak, mapped = max(peak, memory.anonymous), max(mapped, memory.file)
            if plan.dies and (folder / "half").exists():
                process.send_signal(signal.SIGKILL)
            time.sleep(0.02)
    result = folder / "result.json"
    if process.returncode not in ((0,) if not plan.dies else (-signal.SIGKILL,)):
        last = errors.read_text().strip().splitlines()[-5:]
        raise RuntimeError(f"the load failed: {' / '.join(last) or 'it printed nothing'}")
    return json.loads(result.read_text()) if result.exists() else {}, peak, mapped


# --- the child --------------------------------------------------------------------------------------------------------


class _Small:
    """Commits of some rows of devices below 0, one after another with a pause between, until it is stopped."""

    def __init__(self, table: Any) -> None:
        self.seconds: dict[str, list[float]] = {phase: [] for phase in _PHASES}
        self.phase = "alone"
        self.written = 0
        self._table = table
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        start = datetime(2025, 12, 1)
        while not self._stopping.wait(SMALL_PAUSE_SECONDS):
            first = self.written
            rows = {
                "device": pa.array(np.arange(-first - SMALL_ROWS, -first)),
                "event_time": pa.array([start + timedelta(seconds=first)] * SMALL_ROWS, pa.timestamp("us")),
                "kind": pa.array(np.zeros(SMALL_ROWS, np.int16)),
                "amount": pa.array(np.zeros(SMALL_ROWS)),
            }
            batch = pa.RecordBatch.from_pydict(rows, schema=SCHEMA)
            begin = time.perf_counter()
            self._table.insert(batch)
            self.seconds[self.phase].append(time.perf_counter() - begin)
            self.written += SMALL_ROWS


def _main(text: str) -> None:
    plan = Plan(**json.loads(text))
    folder = Path(plan.folder)
    with weftdb.open(str(folder / "weft"), memory_limit=MEMORY_LIMIT) as database:
        database.execute(events_ddl(CELLS))
        result = _die(plan, database, folder) if plan.dies else _work(plan, database)
    (folder / "result.json").write_text(json.dumps(result))


def _die(plan: Plan, database: Any, folder: Path) -> dict[str, Any]:
    with database.transaction() as transaction:
        for number in range(plan.history.commits_count // 2 + 1):
            transaction.table("events").insert(plan.history.commit(number))
        (folder / "half").touch()
        time.sleep(60)
        os._exit(1)


def _work(plan: Plan, database: Any) -> dict[str, Any]:
    small = _Small(database.table("events"))
    try:
        time.sleep(ALONE_SECONDS)
        small.phase = "load"
        load, commit, making = _load(plan, database)
        small.phase = "update"
        begin = time.perf_counter()
        updated = database.execute(
            f"UPDATE events SET kind = kind + 1 WHERE device > 0 AND device % {SHARE} = 0"
        ).rows_affected
        update = time.perf_counter() - begin
    finally:
        small.stop()
    query = "SELECT count(*), sum(device), sum(kind) FROM events WHERE device > 0"
    [(rows, devices, kinds)] = database.execute(query).rows()
    return {
        **small.seconds,
        "small_written": small.written,
        "small_rows": database.execute("SELECT count(*) FROM events WHERE device <= 0").scalar(),
        "load_seconds": load,
        "commit_seconds": commit,
        "making_seconds": making,
        "update_seconds": update,
        "updated": updated,
        "rows": rows,
        "devices": int(devices),
        "kinds": int(kinds),
    }


def _load(plan: Plan, database: Any) -> tuple[float, float, float]:
    """Seconds of the transaction without making rows, of its commit, and of making rows."""
    begin = time.perf_counter()
    making = 0.0
    transaction = database.transaction()
    table = transaction.table("events")
    for number in range(plan.history.commits_count):
        started = time.perf_counter()
        batch = plan.history.commit(number)
        making += time.perf_counter() - started
        table.insert(batch)
    started = time.perf_counter()
    transaction.commit()
    end = time.perf_counter()
    return end - begin - making, end - started, making


if __name__ == "__main__":
    _main(sys.argv[1])
