"""PostgreSQL as a peer: a private cluster in the store's folder, on a free port of the loopback interface.

The cluster is made by ``initdb`` and served by ``postgres`` (under /usr/lib/postgresql or on the path), as user
``postgres`` where we are root, since PostgreSQL refuses root. Durability is its default (``fsync`` and
``synchronous_commit`` on); beyond the defaults it gets 512 MB of shared buffers and room for 4 GB of log, so that
checkpoints do not fall into the middle of a run.

Rows go in by binary COPY, one per commit, its bytes prepared outside the clock: nothing is faster. Gets go through
psycopg with a prepared statement on one connection.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from weftdb.bench.data import Event, Totals
from weftdb.bench.systems import Missing, Window, in_order

try:
    import psycopg
except ImportError:
    psycopg = None

# One row of COPY BINARY: number of fields, then each field's length and big-endian bytes.
_ROW = np.dtype(
    [
        ("fields", ">i2"),
        *(("device_bytes", ">i4"), ("device", ">i8")),
        *(("time_bytes", ">i4"), ("time", ">i8")),
        *(("kind_bytes", ">i4"), ("kind", ">i2")),
        *(("amount_bytes", ">i4"), ("amount", ">f8")),
    ]
)
_COLUMNS = "device BIGINT, event_time TIMESTAMP, kind SMALLINT, amount DOUBLE PRECISION"
_PRIMARY_KEY = "PRIMARY KEY (device, event_time)"
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_TRAILER = b"\xff\xff"
_SERIES = "SELECT * FROM events WHERE device = %s AND event_time >= %s AND event_time < %s"
_EPOCH_2000_MICROSECONDS = 946_684_800_000_000
_SETTINGS = ("shared_buffers=512MB", "max_wal_size=4GB", "listen_addresses=127.0.0.1", "unix_socket_directories=")


class PostgresStore:
    """PostgreSQL in a process of its own, over TCP on the loopback interface."""

    note = "COPY BINARY, fsync and synchronous_commit on; gets by psycopg over TCP"

    def __init__(self) -> None:
        if psycopg is None:
            raise Missing("package psycopg is not installed (pip install 'psycopg[binary]')")
        self._programs = programs()
        self.name = f"PostgreSQL {server_version(self._programs)}"
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Any = None

    def open(self, folder: Path) -> None:
        self.open_database(folder)
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS events ({_COLUMNS}, {_PRIMARY_KEY})")

    def open_database(self, folder: Path) -> None:
        """Only the server, without the table; for a bulk load."""
        data = folder / "postgres"
        if not data.exists():
            self._initialize(data)
        for attempt in range(3):
            try:
                self._start(data)
                break
            except Missing:
                if attempt == 2:  # a port that was free may be taken before the server has it
                    raise

    def _start(self, data: Path) -> None:
        port = _free_port()
        with (data.parent / "postgres.log").open("ab") as log:
            settings = [part for setting in _SETTINGS for part in ("-c", setting)]
            command = [str(self._programs / "postgres"), "-D", str(data), "-p", str(port), *settings]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **_unprivileged())
        self._connection = self._connect(port)

    @property
    def port(self) -> int:
        return self._connection.info.port

    def execute(self, sql: str) -> Any:
        return self._connection.execute(sql)

    def _initialize(self, data: Path) -> None:
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(data, user.pw_uid, user.pw_gid)
        command = [str(self._programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "bench", "-E", "UTF8"]
        done = subprocess.run([*command, "--locale=C"], capture_output=True, text=True, check=False, **_unprivileged())
        if done.returncode != 0:
            raise Missing(f"initdb failed: {done.stderr.strip().splitlines()[-1:]}")

    def _connect(self, port: int) -> Any:
        deadline = time.monotonic() + 20
        while True:
            try:
                return psycopg.connect(
                    f"host=127.0.0.1 port={port} user=bench dbname=postgres", autocommit=True, prepare_threshold=0
                )
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline or (self._process and self._process.poll() is not None):
                    self.close()
                    raise Missing(f"the server did not start: {error}") from error
                time.sleep(0.05)

    def prepare(self, batch: pa.RecordBatch) -> bytes:
        return _COPY_HEADER + self._rows(batch) + _COPY_TRAILER

    def _rows(self, batch: pa.RecordBatch) -> bytes:
        rows = np.zeros(batch.num_rows, _ROW)
        rows["fields"], rows["device_bytes"], rows["time_bytes"], rows["kind_bytes"], rows["amount_bytes"] = (
            4,
            8,
            8,
            2,
            8,
        )
        rows["device"] = batch["device"].to_numpy()
        rows["time"] = batch["event_time"].cast(pa.int64()).to_numpy() - _EPOCH_2000_MICROSECONDS
        rows["kind"] = batch["kind"].to_numpy()
        rows["amount"] = batch["amount"].to_numpy()
        return rows.tobytes()

    def write(self, prepared: bytes) -> None:
        with self._connection.cursor() as cursor, cursor.copy("COPY events FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(prepared)

    def finish(self) -> None:
        """Nothing is pending: each COPY is a commit."""

    def prepare_key(self, event: Event) -> tuple[Any, ...]:
        return (event.device, event.event_time)

    def get(self, key: tuple[Any, ...]) -> Any:
        query = "SELECT * FROM events WHERE device = %s AND event_time = %s"
        return self._connection.execute(query, key).fetchone()

    def decode(self, row: Any) -> Event | None:
        return None if row is None else Event(device=row[0], event_time=row[1], kind=row[2], amount=row[3])

    def prepare_keys(self, events: Sequence[Event]) -> tuple[Any, ...]:
        return ([event.device for event in events], [event.event_time for event in events])

    def get_many(self, keys: tuple[Any, ...]) -> list[Any]:
        keys_given = "unnest(%s::bigint[], %s::timestamp[]) k (d, t)"
        query = f"SELECT e.* FROM events e JOIN {keys_given} ON device = d AND event_time = t"
        return self._connection.execute(query, keys).fetchall()

    def load_history(self, batches: pa.RecordBatchReader) -> None:
        """All rows in one COPY, the key added afterwards, vacuumed and analyzed: outside every clock."""
        self._connection.execute(f"CREATE TABLE events ({_COLUMNS})")
        with self._connection.cursor() as cursor, cursor.copy("COPY events FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(_COPY_HEADER)
            for batch in batches:
                copy.write(self._rows(batch))
            copy.write(_COPY_TRAILER)
        self._connection.execute("SET maintenance_work_mem = '1GB'")
        self._connection.execute(f"ALTER TABLE events ADD {_PRIMARY_KEY}")
        self._connection.execute("VACUUM ANALYZE events")
        self._connection.execute("CHECKPOINT")

    def series(self, window: Window) -> list[tuple[Any, ...]]:
        return self._connection.execute(_SERIES, (window.device, window.lower, window.upper)).fetchall()

    def decode_series(self, answer: list[tuple[Any, ...]]) -> list[Event]:
        return in_order(Event(device=row[0], event_time=row[1], kind=row[2], amount=row[3]) for row in answer)

    def rows_count(self) -> int:
        return self._connection.execute("SELECT count(*) FROM events").fetchone()[0]

    def totals(self) -> Totals:
        query = "SELECT count(*), sum(device)::bigint, sum(kind)::bigint, sum(amount) FROM events"
        rows, devices, kinds, amounts = self._connection.execute(query).fetchone()
        return Totals(rows=rows, devices=devices or 0, kinds=kinds or 0, amounts=amounts or 0.0)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)  # "fast shutdown": sessions are ended, a checkpoint is made
            self._process.wait(timeout=60)
            self._process = None


def programs() -> Path:
    """The folder with ``initdb`` and ``postgres``, the newest version's where there are several."""
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True
    )
    found = shutil.which("initdb")
    for folder in [*folders, *([Path(found).resolve().parent] if found else [])]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise Missing("no initdb and postgres under /usr/lib/postgresql/*/bin or on the path (apt-get install postgresql)")


def server_version(folder: Path) -> str:
    """``15.18`` out of ``postgres (PostgreSQL) 15.18 (Debian …)``."""
    output = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return output.split(")", 1)[1].split()[0]


def _unprivileged() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        raise Missing("PostgreSQL refuses to run as root, and there is no user postgres") from None
    return {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": "/"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
