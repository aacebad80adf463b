"""``bench minute``: transactions that stay open beside ingest, and then commit or not.

Events come in durable commits of 50,000 rows at a fixed rate, one million rows a second. Beside them three transactions
begin after the first commit, read and write, wait for the better part of the run, and commit while rows still come:

- **SNAPSHOT** updates a thousand of the first events, which nobody else touches: it commits. What it wrote is compared
  with all that came meanwhile, and what was ended since its snapshot must not have been dropped.
- **SERIALIZABLE** reads the first events of some devices (a window of event time, by key-value calls and by SQL), and
  writes what it found elsewhere: it commits, though millions of rows came to the same table and the same devices.
- **SNAPSHOT, overwritten** updates one event that another commit changes meanwhile: it is refused, or the others prove
  nothing.

At the full size that is a minute. What is measured is how long the three commits take; what came in time is printed.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import weftdb
from weftdb.bench.report import Goal, Line, Report
from weftdb.bench.systems import WrongAnswer
from weftdb.bench.weft import events_ddl
from weftdb.bench.workload import Size

RATE: Final = 1_000_000
_COMMIT_ROWS: Final = 50_000
_DEVICES: Final = 100_000
_ORIGIN: Final = datetime(2026, 1, 5)
_OLD: Final = 1_000
_OPEN_SHARE: Final = 0.95
"""The transactions commit when this share of the rows has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ending:
    """How one transaction ended."""

    committed: bool
    seconds: float


class Minute:
    """One table, one thread that loads it, three transactions."""

    name = "minute"
    full = Size(rows=60_000_000, rounds=1)
    quick = Size(rows=3_000_000, rounds=1)

    def __init__(self, *, size: Size, folder: Path) -> None:
        self._folder = folder
        self._commits = max(size.rows // _COMMIT_ROWS, 4)
        self.database: Any = None
        self._done = 0
        self._begin = 0.0
        self._seconds = 0.0
        self._error: BaseException | None = None
        self._endings: dict[str, _Ending] = {}
        chance = np.random.default_rng(1)
        self._devices = pa.array(np.sort(chance.integers(0, _DEVICES, _COMMIT_ROWS)))
        self._amounts = pa.array(chance.random(_COMMIT_ROWS))

    def setup(self) -> None:
        self.database = weftdb.open(str(self._folder / "weft"))
        self.database.execute(events_ddl("key = 'device', time = 'event_time', every = '1 hour'"))
        self.database.execute(
            "CREATE TABLE findings (device BIGINT PRIMARY KEY, events BIGINT, amount DOUBLE PRECISION)"
        )
        self._table = self.database.table("events")
        self._table.insert(self._batch(0))

    def run(self) -> Report:
        old = self._batch(0).slice(0, _OLD).to_pylist()
        ingest = threading.Thread(target=self._ingest)
        self._begin = time.perf_counter()
        ingest.start()
        try:
            writes = self.database.transaction()
            for row in old[1:]:
                writes.table("events").update((row["device"], row["event_time"]), amount=-1.0)
            overwritten = self.database.transaction()
            overwritten.table("events").update((old[0]["device"], old[0]["event_time"]), amount=-2.0)
            reads = self.database.transaction(isolation="serializable")
            self._find(reads)
            self._table.put({**old[0], "amount": -3.0})
            while self._done < self._commits * _OPEN_SHARE and ingest.is_alive():
                time.sleep(0.01)
            for name, transaction in (("writes", writes), ("reads", reads), ("overwritten", overwritten)):
                self._endings[name] = _commit(transaction)
        finally:
            ingest.join()
        if self._error is not None:
            raise self._error
        return self._report()

    def check(self) -> None:
        """What committed is there, what was refused is not, and no event is lost."""
        execute = self.database.execute
        found = {
            "events": execute("SELECT count(*) FROM events").scalar(),
            "of the writer": execute("SELECT count(*) FROM events WHERE amount = -1").scalar(),
            "of the one overwritten": execute("SELECT count(*) FROM events WHERE amount = -2").scalar(),
            "of the reader": execute("SELECT count(*) FROM findings").scalar(),
        }
        wanted = {
            "events": self._commits * _COMMIT_ROWS,
            "of the writer": (_OLD - 1) * self._endings["writes"].committed,
            "of the one overwritten": int(self._endings["overwritten"].committed),
            "of the reader": 2 * self._endings["reads"].committed,
        }
        if found != wanted:
            raise WrongAnswer(f"found {found}, wanted {wanted}")
        if self._endings["overwritten"].committed:
            raise WrongAnswer("a transaction committed whose row another had changed")

    def close(self) -> None:
        if self.database is not None:
            self.database.close()

    def _batch(self, number: int) -> pa.RecordBatch:
        """Events of 50 seconds, a millisecond each, in the order of their devices."""
        at = np.datetime64(_ORIGIN + timedelta(seconds=50 * number), "us")
        times = at + (np.arange(_COMMIT_ROWS) * 1000).astype("timedelta64[us]")
        kinds = pa.array(np.zeros(_COMMIT_ROWS, np.int16))
        columns = {"device": self._devices, "event_time": pa.array(times), "kind": kinds, "amount": self._amounts}
        return pa.record_batch(columns)

    def _ingest(self) -> None:
        """At most RATE rows a second; later commits come at once where earlier ones took too long."""
        try:
            for number in range(1, self._commits):
                due = self._begin + number * _COMMIT_ROWS / RATE
                time.sleep(max(due - time.perf_counter(), 0))
                self._table.insert(self._batch(number))
                self._done = number + 1
            self._seconds = time.perf_counter() - self._begin
        except BaseException as error:
            self._error = error

    def _find(self, transaction: Any) -> None:
        """Read the first events of the last two devices, and write down what they were."""
        until = _ORIGIN + timedelta(seconds=50)
        first, second = sorted(set(self._devices.to_pylist()))[-2:]
        rows = transaction.table("events").scan(key=first, time=(_ORIGIN, until)).read_all()
        sums = "SELECT count(*), sum(amount) FROM events WHERE device = $1 AND event_time < $2"
        [(count, amount)] = transaction.execute(sums, [second, until]).rows()
        transaction.table("findings").put([(first, rows.num_rows, 0.0), (second, count, amount)])

    def _report(self) -> Report:
        report = Report(
            name=self.name,
            title=f"transactions open beside ingest of {RATE:,} rows a second",
            rows=self._commits * _COMMIT_ROWS,
            rounds=1,
            reference="",
        )
        rate = (self._commits - 1) * _COMMIT_ROWS / self._seconds
        report.lines.append(Line(label="ingest", unit="rows/s", samples=(rate,), note=f"for {self._seconds:.1f} s"))
        for name, what in (
            ("writes", "SNAPSHOT, 999 rows written"),
            ("reads", "SERIALIZABLE, two windows read"),
            ("overwritten", "SNAPSHOT, its row overwritten"),
        ):
            ending = self._endings[name]
            note = "committed" if ending.committed else "refused"
            report.lines.append(Line(label=what, unit="ms to commit", samples=(ending.seconds * 1e3,), note=note))
            if name != "overwritten":
                report.goals.append(Goal(text=f"{what}: commits", wanted=1.0, value=float(ending.committed)))
        return report


def _commit(transaction: Any) -> _Ending:
    begin = time.perf_counter()
    try:
        transaction.commit()
        committed = True
    except weftdb.Conflict:
        committed = False
    return _Ending(committed=committed, seconds=time.perf_counter() - begin)
