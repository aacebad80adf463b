"""SQLite as a peer: a file in write-ahead mode, ``synchronous = FULL`` (the log is synced at every commit).

The table is ``WITHOUT ROWID``: the primary key is the tree itself, which is SQLite's best case both for the get by
primary key and for the size. Event times are kept as microseconds in an INTEGER, as SQLite has no type for them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from weftdb.bench.data import Event, Totals

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _microseconds(moment: datetime) -> int:
    return (moment.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


class SqliteStore:
    """SQLite on a file, through the standard library's driver."""

    name = f"SQLite {sqlite3.sqlite_version}"
    note = "executemany, WAL, synchronous=FULL"

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None

    @property
    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None, "open() comes first"
        return self._connection

    def open(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / "sqlite.db", isolation_level=None)
        self._open.execute("PRAGMA journal_mode = WAL")
        self._open.execute("PRAGMA synchronous = FULL")
        self._open.execute("PRAGMA cache_size = -500000")
        self._open.execute(
            "CREATE TABLE IF NOT EXISTS events (device INTEGER, event_time INTEGER, kind INTEGER, amount REAL,"
            " PRIMARY KEY (device, event_time)) WITHOUT ROWID"
        )

    def prepare(self, batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
        columns = [batch["device"], batch["event_time"].cast(pa.int64()), batch["kind"], batch["amount"]]
        return list(zip(*(column.to_pylist() for column in columns), strict=True))

    def write(self, prepared: list[tuple[Any, ...]]) -> None:
        self._open.execute("BEGIN")
        self._open.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", prepared)
        self._open.execute("COMMIT")

    def finish(self) -> None:
        """Nothing is pending: each write is a commit."""

    def prepare_key(self, event: Event) -> tuple[int, int]:
        return (event.device, _microseconds(event.event_time))

    def get(self, key: tuple[int, int]) -> Any:
        return self._open.execute("SELECT * FROM events WHERE device = ? AND event_time = ?", key).fetchone()

    def decode(self, row: Any) -> Event | None:
        if row is None:
            return None
        moment = (_EPOCH + row[1] * _MICROSECOND).replace(tzinfo=None)
        return Event(device=row[0], event_time=moment, kind=row[2], amount=row[3])

    def prepare_keys(self, events: Sequence[Event]) -> None:
        return None

    def get_many(self, keys: None) -> None:
        return None

    def rows_count(self) -> int:
        return self._open.execute("SELECT count(*) FROM events").fetchone()[0]

    def totals(self) -> Totals:
        query = "SELECT count(*), sum(device), sum(kind), sum(amount) FROM events"
        rows, devices, kinds, amounts = self._open.execute(query).fetchone()
        return Totals(rows=rows, devices=devices or 0, kinds=kinds or 0, amounts=amounts or 0.0)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
