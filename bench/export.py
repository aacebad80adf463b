"""``bench export``: a full table as Arrow, read to its end batch by batch and forgotten, as a training loop does it.

Events with the low-cardinality text column, sealed into segments and settled. Ways out: ``table.scan()``, ``SELECT *``,
and ``table.export()``, which sorts by primary key; embedded, and over gRPC from a server in its own process. DuckDB's
reader over its own file is the reference. Bytes are those of the Arrow arrays; each system's are its own (a text costs
four bytes of offset more than its letters), so seconds are what is compared.

Estimate: 30 bytes a row; memory takes 10 GB/s and more, one gRPC stream of 1 MiB chunks 1.2 to 1.7 GB/s on two cores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import weftdb
from weftdb.bench import inside
from weftdb.bench.data import commits, events
from weftdb.bench.process import ServerProcess
from weftdb.bench.report import Goal, Line, Report
from weftdb.bench.systems import Missing, WrongAnswer
from weftdb.bench.workload import Size, fresh, in_turn

try:
    import duckdb
except ImportError:  # pragma: no cover - duckdb is a dependency of weftdb itself
    duckdb = None

REFERENCE = "DuckDB"
EMBEDDED_GB = 2.0
REMOTE_GB = 1.0

_DDL = (
    "CREATE TABLE events (device BIGINT, event_time TIMESTAMP, kind SMALLINT, amount DOUBLE PRECISION, channel TEXT,"
    " PRIMARY KEY (device, event_time)) WITH (key = 'device', time = 'event_time', every = '7 days')"
)
_DUCK_BATCH_ROWS = 65_536

Batches = Callable[[], Iterable[pa.RecordBatch]]


@dataclass(slots=True)
class _Way:
    """One way out of one system: seconds of each round, and what came out of the last one."""

    name: str
    note: str
    batches: Batches
    seconds: list[float] = field(default_factory=list)
    bytes: int = 0

    def drain(self) -> None:
        begin = time.perf_counter()
        self.bytes = sum(batch.nbytes for batch in self.batches())
        self.seconds.append(time.perf_counter() - begin)

    @property
    def rates(self) -> tuple[float, ...]:
        return tuple(self.bytes / seconds / 1e9 for seconds in self.seconds)


class Export:
    """Embedded ways in turn, then the server's, on the same folder."""

    name = "export"
    full = Size(rows=10_000_000, rounds=5)
    quick = Size(rows=2_000_000, rounds=3)

    def __init__(self, *, size: Size, folder: Path) -> None:
        self._size = size
        self._folder = fresh(folder / "export")
        self._data: pa.Table | None = None
        self._duck: Any = None
        self._database: Any = None
        self._server: ServerProcess | None = None
        self._embedded: list[_Way] = []
        self._remote: list[_Way] = []
        self._skipped: dict[str, str] = {}
        self._wrong: list[str] = []

    def setup(self) -> None:
        self._data = data = events(self._size.rows, channel=True)
        self._database = weftdb.open(str(self._folder / "weft"), durable=False)
        self._database.execute(_DDL)
        for batch in commits(data):
            self._database.table("events").insert(batch)
        inside.settle(self._database)
        self._embedded = _ways("WeftDB", self._database)
        try:
            self._embedded.append(self._duck_way(data))
        except Missing as reason:
            self._skipped[REFERENCE] = str(reason)

    def run(self) -> Report:
        for way in self._embedded:
            self._compare(way)
        for _, way in in_turn(self._embedded, rounds=self._size.rounds):
            way.drain()
        self._database.close()
        self._server = ServerProcess(self._folder / "weft")
        self._database = weftdb.connect(self._server.url)
        self._remote = _ways("WeftDB gRPC", self._database)
        for way in self._remote:
            self._compare(way)
        for _, way in in_turn(self._remote, rounds=self._size.rounds):
            way.drain()
        return self._report()

    def check(self) -> None:
        """Every way gave the rows that went in; looked at before its clock ran, which also warms it."""
        if self._wrong:
            raise WrongAnswer("; ".join(self._wrong))

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
        if self._server is not None:
            self._server.stop()
        if self._duck is not None:
            self._duck.close()

    def _duck_way(self, data: pa.Table) -> _Way:
        if duckdb is None:
            raise Missing("package duckdb is not installed")
        self._duck = duckdb.connect(str(self._folder / "duck.db"))
        self._duck.execute("CREATE TABLE events AS SELECT * FROM data")
        self._duck.execute("CHECKPOINT")

        def batches() -> Iterable[pa.RecordBatch]:
            return self._duck.sql("SELECT * FROM events").to_arrow_reader(_DUCK_BATCH_ROWS)

        return _Way(REFERENCE, "its own file, SELECT * as Arrow reader", batches)

    def _compare(self, way: _Way) -> None:
        assert self._data is not None, "setup() comes first"
        found = _fingerprint(way.batches())
        wanted = _fingerprint(self._data.to_batches())
        if found != wanted:
            self._wrong.append(f"{way.name}: {found} came out, {wanted} went in")

    def _report(self) -> Report:
        ways = [*self._embedded, *self._remote]
        reference = next((way for way in ways if way.name == REFERENCE), None)
        others = [way for way in self._embedded if way is not reference]
        return Report(
            name=self.name,
            title="A full table as Arrow",
            rows=self._size.rows,
            rounds=self._size.rounds,
            reference=REFERENCE if reference is not None else "",
            lines=[self._line(way, reference) for way in ways],
            goals=[
                Goal(text="embedded, GB/s", wanted=EMBEDDED_GB, value=_best(others)),
                Goal(text="over gRPC, GB/s", wanted=REMOTE_GB, value=_best(self._remote)),
            ],
            skipped=self._skipped,
        )

    def _line(self, way: _Way, reference: _Way | None) -> Line:
        seconds = _median(way.seconds)
        faster = None if reference is None or way is reference else _median(reference.seconds) / seconds
        figures = f"{self._size.rows / seconds / 1e6:,.1f} M rows/s, {way.bytes / 1e6:,.0f} MB"
        return Line(label=way.name, unit="GB/s", samples=way.rates, ratio=faster, note=f"{way.note}; {figures}")


def _best(ways: Iterable[_Way]) -> float:
    return max(_median(way.rates) for way in ways)


def _ways(name: str, database: Any) -> list[_Way]:
    table = database.table("events")
    return [
        _Way(f"{name} scan", "table.scan()", table.scan),
        _Way(f"{name} SELECT *", "execute(...).reader()", lambda: database.execute("SELECT * FROM events").reader()),
        _Way(f"{name} export", "table.export(), in order", table.export),
    ]


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _fingerprint(batches: Iterable[pa.RecordBatch]) -> tuple[int, int, int, int, int]:
    """Rows, and sums of what is exact: devices, kinds, cents, letters."""
    sums = [0, 0, 0, 0, 0]
    for batch in batches:
        if not batch.num_rows:
            continue
        cents = pc.round(pc.multiply(batch["amount"], 100.0)).cast(pa.int64())
        letters = pc.binary_length(batch["channel"])
        columns = (batch["device"], batch["kind"].cast(pa.int64()), cents, letters)
        sums[0] += batch.num_rows
        for place, column in enumerate(columns, 1):
            sums[place] += pc.sum(column).as_py()
    return sums[0], sums[1], sums[2], sums[3], sums[4]
