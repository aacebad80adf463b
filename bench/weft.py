"""WeftDB itself, embedded and behind a server in a process of its own; nothing but its public interface.

    WeftStore      weftdb.open(folder), one ``insert`` or ``put`` of an Arrow batch per durable commit
    WeftServer     weftdb.connect(url) to ``weft serve`` as a child, batches through one pipelined writer
    WeftServerRows the same, one ``writer.put(tuple)`` per row: the writer makes the batches

Durability is the default everywhere: a commit is written to the log in LMDB and synced before it is acknowledged. The
server applies what the writer sends in its own batches, so over the wire a commit may hold fewer or more rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import weftdb
from weftdb.bench import inside
from weftdb.bench.data import Event, Totals
from weftdb.bench.process import ServerProcess
from weftdb.bench.systems import Window, in_order

WEEKS = "key = 'device', time = 'event_time', every = '7 days'"
"""The cells of the events of ``data``; WITH clauses for other tables are in their workloads."""


def events_ddl(cells: str = WEEKS) -> str:
    """CREATE TABLE events, divided into cells as ``cells`` says."""
    return (
        "CREATE TABLE events (device BIGINT, event_time TIMESTAMP, kind SMALLINT, amount DOUBLE PRECISION,"
        f" PRIMARY KEY (device, event_time)) WITH ({cells})"
    )


SERIES = (
    "SELECT device, event_time, kind, amount FROM events WHERE device = $1 AND event_time >= $2 AND event_time < $3"
)


class WeftStore:
    """WeftDB in this process, on a folder."""

    def __init__(
        self, *, write: Literal["insert", "put"] = "insert", cells: str = WEEKS, **options: int | None
    ) -> None:
        self.name = f"WeftDB {write}"
        self.note = "embedded, log synced per commit"
        self._write_name: Literal["insert", "put"] = write
        self._cells = cells
        self._options = {name: value for name, value in options.items() if value is not None}
        self._database: Any = None
        self._table: Any = None

    def open(self, folder: Path) -> None:
        self.open_database(folder)
        self._make_table()

    def open_database(self, folder: Path) -> None:
        """Only the database, without the table; for the query workload."""
        self._database = weftdb.open(str(folder / "weft"), **self._options)

    @property
    def database(self) -> Any:
        assert self._database is not None, "open() comes first"
        return self._database

    def _make_table(self) -> None:
        try:
            self._table = self._database.table("events")
        except weftdb.Invalid:
            self._database.execute(events_ddl(self._cells))
            self._table = self._database.table("events")

    def prepare(self, batch: pa.RecordBatch) -> Any:
        return batch

    def write(self, prepared: Any) -> None:
        if self._write_name == "insert":
            self._table.insert(prepared)
        else:
            self._table.put(prepared)

    def finish(self) -> None:
        """Nothing is pending: each write is a commit."""

    def prepare_key(self, event: Event) -> tuple[Any, ...]:
        return (event.device, event.event_time)

    def get(self, key: tuple[Any, ...]) -> Any:
        return self._table.get(key)

    def decode(self, row: Any) -> Event | None:
        return None if row is None else Event(**{name: row[name] for name in Event.__slots__})

    def prepare_keys(self, events: Sequence[Event]) -> pa.Table:
        return pa.table(
            {
                "device": pa.array([event.device for event in events], pa.int64()),
                "event_time": pa.array([event.event_time for event in events], pa.timestamp("us")),
            }
        )

    def get_many(self, keys: pa.Table) -> pa.Table:
        return self._table.get_many(keys)

    def totals(self) -> Totals:
        return self.totals_in(self._database)

    def totals_in(self, reads: Any) -> Totals:
        """As the database, a transaction or a snapshot sees them."""
        # sum() of integers is NUMERIC in PostgreSQL, hence the int().
        query = "SELECT count(*), sum(device), sum(kind), sum(amount) FROM events"
        [(rows, devices, kinds, amounts)] = reads.execute(query).rows()
        return Totals(rows=rows, devices=int(devices or 0), kinds=int(kinds or 0), amounts=amounts or 0.0)

    def rows_count(self) -> int:
        return self._database.execute("SELECT count(*) FROM events").scalar()

    def seal(self) -> None:
        """Wait until every acknowledged row lies in a segment."""
        inside.seal(self._database)

    def settle(self) -> None:
        """The same, and until background work has nothing left to do."""
        inside.settle(self._database)

    def rest(self) -> None:
        """Do now what comes after a minute without commits."""
        inside.rest(self._database)

    def facts(self) -> dict[str, Any]:
        """What the database says about itself, as JSON: ``metrics``, ``segments`` per cell, ``columns`` of them."""
        return {
            "metrics": inside.metrics(self._database),
            "segments": inside.segments_of(self._database, "events"),
            "columns": inside.columns_of(self._database, "events"),
        }

    def series(self, window: Window) -> pa.Table:
        """One device's events in a window, by the table's own scan."""
        reader = self._table.scan(key=window.device, time=(window.lower, window.upper))
        return reader.read_all()

    def decode_series(self, answer: pa.Table) -> list[Event]:
        return in_order(Event(**row) for row in answer.to_pylist())

    def execute(self, sql: str) -> pa.Table:
        """Any statement, for the query workload; rows as Arrow."""
        return self._database.execute(sql).arrow()

    def load(self, name: str, columns: str, table: pa.Table) -> None:
        """A further table, outside every clock: ``CREATE TABLE name (columns``, then ``append``."""
        self._database.execute(f"CREATE TABLE {name} ({columns}")
        self.append(name, table)

    def append(self, name: str, table: pa.Table) -> None:
        """Put rows, a commit per 50,000."""
        target = self._database.table(name)
        for batch in table.combine_chunks().to_batches(max_chunksize=50_000):
            target.put(batch)

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


class WeftSql(WeftStore):
    """The same database asked by SQL; for ``bench series``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.name = "WeftDB SQL"
        self.note = "embedded, SELECT with parameters"

    def series(self, window: Window) -> list[tuple[Any, ...]]:
        return self._database.execute(SERIES, [window.device, window.lower, window.upper]).rows()

    def decode_series(self, answer: list[tuple[Any, ...]]) -> list[Event]:
        return in_order(Event(device=row[0], event_time=row[1], kind=row[2], amount=row[3]) for row in answer)


class WeftServer(WeftStore):
    """WeftDB behind ``weft serve``: this process is the one client."""

    def __init__(self, *, cells: str = WEEKS) -> None:
        super().__init__(write="put", cells=cells)
        self.name = "WeftDB gRPC, batches"
        self.note = "server in its own process, one client, one writer"
        self._server: ServerProcess | None = None
        self._writer: Any = None

    def open(self, folder: Path) -> None:
        self._server = ServerProcess(folder / "weft")
        self._database = weftdb.connect(self._server.url)
        self._make_table()

    @property
    def server(self) -> ServerProcess:
        assert self._server is not None, "open() comes first"
        return self._server

    def write(self, prepared: Any) -> None:
        if self._writer is None:
            self._writer = self._table.writer()
        self._writer.put(prepared)

    def finish(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def close(self) -> None:
        self.finish()
        super().close()
        if self._server is not None:
            self._server.stop()
            self._server = None


class WeftServerRows(WeftServer):
    """The same, row at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "WeftDB gRPC, writer.put(tuple)"
        self.note = "one Python call per row, batched by the writer"

    def prepare(self, batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
        return list(zip(*(column.to_pylist() for column in batch.columns), strict=True))

    def write(self, prepared: list[tuple[Any, ...]]) -> None:
        if self._writer is None:
            self._writer = self._table.writer()
        put = self._writer.put
        for row in prepared:
            put(row)
