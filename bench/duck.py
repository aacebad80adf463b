"""DuckDB as a peer: its own file, its own write-ahead log, its Arrow scan as the way in.

Each commit is one ``INSERT … SELECT`` from the Arrow batch in autocommit, the fastest way in that is one durable
commit: DuckDB writes the rows to its log and syncs it before the statement returns (seen with strace: one fdatasync or
fsync of the ``.wal`` file per statement). Settings are DuckDB's defaults: checkpoints at 16 MB of log, all cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from weftdb.bench.data import Event, Totals
from weftdb.bench.systems import Missing, Window, in_order

try:
    import duckdb
except ImportError:  # pragma: no cover - duckdb is a dependency of weftdb itself
    duckdb = None

_COLUMNS = "device BIGINT, event_time TIMESTAMP, kind SMALLINT, amount DOUBLE"
_SERIES = "SELECT * FROM events WHERE device = ? AND event_time >= ? AND event_time < ?"
_STATEMENTS = {
    "insert": "INSERT INTO events SELECT * FROM batch",
    "replace": "INSERT OR REPLACE INTO events SELECT * FROM batch",
}


class DuckStore:
    """DuckDB on a file. ``write``: plain INSERT, or INSERT OR REPLACE where WeftDB's put is compared."""

    def __init__(self, *, primary_key: bool = True, write: Literal["insert", "replace"] = "insert") -> None:
        if duckdb is None:
            raise Missing("package duckdb is not installed")
        self._primary_key = primary_key
        self._statement = _STATEMENTS[write]
        self.name = {"insert": "DuckDB INSERT", "replace": "DuckDB INSERT OR REPLACE"}[write]
        if not primary_key:
            self.name += ", no primary key"
        self.note = "file, log synced per commit"
        self._connection: Any = None

    def open(self, folder: Path) -> None:
        self.open_database(folder)
        key = ", PRIMARY KEY (device, event_time)" if self._primary_key else ""
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS events ({_COLUMNS}{key})")

    def open_database(self, folder: Path, **settings: str | int) -> None:
        """Only the database, without the table; for the query workload."""
        self._connection = duckdb.connect(str(folder / "duck.db"), config=settings)

    def prepare(self, batch: pa.RecordBatch) -> pa.Table:
        return pa.Table.from_batches([batch])

    def write(self, prepared: pa.Table) -> None:
        # A registered view lives as long as the connection; registering anew per batch costs some microseconds.
        self._connection.register("batch", prepared)
        self._connection.execute(self._statement)

    def finish(self) -> None:
        """Nothing is pending: each write is a commit."""

    def prepare_key(self, event: Event) -> list[Any]:
        return [event.device, event.event_time]

    def get(self, key: list[Any]) -> Any:
        # fetchall, not fetchone: the connection refuses other work until a fetch has returned no rows.
        rows = self._connection.execute("SELECT * FROM events WHERE device = ? AND event_time = ?", key).fetchall()
        return rows[0] if rows else None

    def decode(self, row: Any) -> Event | None:
        return None if row is None else Event(device=row[0], event_time=row[1], kind=row[2], amount=row[3])

    def prepare_keys(self, events: Sequence[Event]) -> pa.Table:
        return pa.table(
            {
                "device": pa.array([event.device for event in events], pa.int64()),
                "event_time": pa.array([event.event_time for event in events], pa.timestamp("us")),
            }
        )

    def get_many(self, keys: pa.Table) -> pa.Table:
        self._connection.register("wanted", keys)
        return self.execute("SELECT e.* FROM events e JOIN wanted USING (device, event_time)")

    def load_history(self, batches: pa.RecordBatchReader) -> None:
        """All rows in one bulk insert, the key added afterwards, checkpointed: outside every clock."""
        self._connection.register("batches", batches)
        self._connection.execute(f"CREATE TABLE events ({_COLUMNS})")
        self._connection.execute("INSERT INTO events SELECT * FROM batches")
        self._connection.unregister("batches")
        if self._primary_key:
            self._connection.execute("ALTER TABLE events ADD PRIMARY KEY (device, event_time)")
        self._connection.execute("CHECKPOINT")

    def series(self, window: Window) -> list[tuple[Any, ...]]:
        return self._connection.execute(_SERIES, [window.device, window.lower, window.upper]).fetchall()

    def decode_series(self, answer: list[tuple[Any, ...]]) -> list[Event]:
        return in_order(Event(device=row[0], event_time=row[1], kind=row[2], amount=row[3]) for row in answer)

    def rows_count(self) -> int:
        return self._connection.execute("SELECT count(*) FROM events").fetchall()[0][0]

    def totals(self) -> Totals:
        query = "SELECT count(*), sum(device)::BIGINT, sum(kind)::BIGINT, sum(amount) FROM events"
        [(rows, devices, kinds, amounts)] = self._connection.execute(query).fetchall()
        return Totals(rows=rows, devices=devices or 0, kinds=kinds or 0, amounts=amounts or 0.0)

    def cursor(self) -> Any:
        """A connection to the same database, for another thread."""
        return self._connection.cursor()

    def execute(self, sql: str) -> pa.Table:
        """Any statement, for the query workload; rows as Arrow."""
        return self._connection.sql(sql).to_arrow_table()

    def load(self, name: str, columns: str, table: pa.Table) -> None:
        """A further table, outside every clock: ``CREATE TABLE name (columns``, then ``append``."""
        self._connection.execute(f"CREATE TABLE {name} ({columns}")
        self.append(name, table)

    def append(self, name: str, table: pa.Table) -> None:
        """One bulk insert, checkpointed."""
        self._connection.register("batch", table)
        self._connection.execute(f"INSERT INTO {name} SELECT * FROM batch")
        self._connection.unregister("batch")
        self._connection.execute("CHECKPOINT")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
