"""ClickHouse as a peer: its ReplacingMergeTree, embedded by the package chdb, its Arrow scan as the way in.

Each commit is one ``INSERT … SELECT`` from the Arrow batch. What that promises is less than WeftDB or DuckDB do, and a
reader must know it to judge the figures:

- **No key is enforced.** ORDER BY (device, event_time) is how rows are sorted. A row that repeats a key is stored again
  and stays visible until some later merge, or for a reader who asks with FINAL and pays for it.
- **Durability only where it is asked for.** By default nothing is synced: a crash of the machine may lose inserts that
  were acknowledged. With ``sync`` the table says ``fsync_after_insert = 1, fsync_part_directory = 1``, and an insert
  syncs each file of its part and the part's folder before it returns (seen with strace: some ten fdatasync, none
  without). Merges are not synced in either case (``min_rows_to_fsync_after_merge`` is 0).
- **No transactions**, of several statements or several tables.

chdb allows one database per process, so each store has a process of its own, and its merges run in the background
there. A batch is prepared as an Arrow file in shared memory, which that process maps: handing it over costs less than
0.2 ms, in which it is no worse off than a system that is called directly. Answers come back the same way; how long a
query took, ``seconds``, is measured in that process, so that the way back is not counted.

``ClickHouseTables`` are what ``bench query`` asks: plain MergeTrees of rows that never change, in parts of a month,
ordered by key and event time, with LowCardinality where values are few, merged before they are asked.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from weftdb.bench.data import Event, Totals
from weftdb.bench.systems import Missing

_SYNC: Final = " SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
_SHARED_MEMORY: Final = Path("/dev/shm")


class ClickHouseStore:
    """A ReplacingMergeTree in a process of its own, on a folder."""

    def __init__(self, *, sync: bool = True) -> None:
        if importlib.util.find_spec("chdb") is None:
            raise Missing("package chdb is not installed (pip install chdb)")
        self._sync = sync
        self.name = "ClickHouse ReplacingMergeTree" + ("" if sync else ", not synced")
        self.note = "chdb, enforces no key; " + ("fsync_after_insert" if sync else "its default: no sync at all")
        self._process: subprocess.Popen[str] | None = None
        self._exchange: tempfile.TemporaryDirectory[str] | None = None
        self._files = 0
        self._seconds = 0.0

    def open(self, folder: Path) -> None:
        self.open_database(folder)
        self._ask(
            statement="CREATE TABLE IF NOT EXISTS bench.events"
            " (device Int64, event_time DateTime64(6, 'UTC'), kind Int16, amount Float64)"
            f" ENGINE = ReplacingMergeTree ORDER BY (device, event_time){_SYNC if self._sync else ''}"
        )

    def open_database(self, folder: Path) -> None:
        """Only the database, without the table."""
        memory = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else folder
        self._exchange = tempfile.TemporaryDirectory(prefix="weft-bench-", dir=memory)
        command = [sys.executable, "-m", "weftdb.bench.clickhouse", str(folder / "clickhouse")]
        with (folder / "clickhouse.stderr").open("ab") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        try:
            self._ask(statement="CREATE DATABASE IF NOT EXISTS bench ENGINE = Atomic")
        except RuntimeError as error:
            self.close()
            raise Missing(f"package chdb does not work here: {error}") from error

    def prepare(self, batch: pa.RecordBatch | pa.Table) -> Path:
        path = self._new_file()
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
            writer.write(batch)
        return path

    def write(self, prepared: Path) -> None:
        self._ask(insert=str(prepared))
        prepared.unlink()

    def finish(self) -> None:
        """Nothing is pending: an INSERT is in its part when it returns. Merges go on in the background."""

    def prepare_key(self, event: Event) -> Event:
        return event

    def get(self, key: Event) -> Any:
        where = f"device = {key.device} AND event_time = '{key.event_time:%Y-%m-%d %H:%M:%S.%f}'"
        rows = self.execute(f"SELECT * FROM bench.events FINAL WHERE {where}").to_pylist()
        return rows[0] if rows else None

    def decode(self, row: Any) -> Event | None:
        if row is None:
            return None
        moment: datetime = row["event_time"]
        return Event(**{**row, "event_time": moment.replace(tzinfo=None)})

    def prepare_keys(self, events: Sequence[Event]) -> None:
        return None

    def get_many(self, keys: None) -> None:
        return None

    def rows_count(self) -> int:
        return self.execute("SELECT count() AS rows FROM bench.events")["rows"][0].as_py()

    def totals(self) -> Totals:
        """Without FINAL: in the benchmark no key is written twice, so a row too many would show."""
        query = "SELECT count() AS rows, sum(device) AS devices, sum(kind) AS kinds, sum(amount) AS amounts"
        return Totals(**self.execute(f"{query} FROM bench.events").to_pylist()[0])

    def execute(self, sql: str) -> pa.Table:
        """Any statement; the rows of a query as Arrow, none of another."""
        path = self._new_file()
        self._ask(statement=sql, answer=str(path))
        content = path.read_bytes()
        path.unlink()
        return pa.ipc.open_stream(content).read_all() if content else pa.table({})

    @property
    def seconds(self) -> float:
        """How long the last statement took, in its own process."""
        return self._seconds

    def _new_file(self) -> Path:
        assert self._exchange is not None, "open() comes first"
        self._files += 1
        return Path(self._exchange.name) / f"{self._files}.arrow"

    def _ask(self, **request: str) -> None:
        """One request to the process. Raises RuntimeError for what it could not do."""
        process = self._process
        assert process is not None, "open() comes first"
        assert process.stdin is not None
        assert process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        answer = json.loads(line) if line else {"error": "its process has ended; see clickhouse.stderr"}
        if answer["error"]:
            raise RuntimeError(f"ClickHouse: {answer['error']}")
        self._seconds = answer["seconds"]

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(BrokenPipeError):
                process.communicate(timeout=60)  # the end of its input is the end
        if self._exchange is not None:
            self._exchange.cleanup()
            self._exchange = None


class ClickHouseTables(ClickHouseStore):
    """The tables of ``bench query``."""

    def __init__(self, *, threads: int, memory: int) -> None:
        super().__init__(sync=False)
        self.name = "ClickHouse"
        self._settings = {
            "max_threads": threads,
            "max_memory_usage": memory,
            "session_timezone": "'UTC'",
            "output_format_arrow_string_as_string": 1,
        }

    def open_database(self, folder: Path) -> None:
        super().open_database(folder)
        self._ask(statement="SET " + ", ".join(f"{name} = {value}" for name, value in self._settings.items()))
        self._ask(statement="USE bench")

    def create(self, name: str, columns: str, ending: str) -> None:
        """``ending``: what follows ENGINE = MergeTree."""
        self._ask(statement=f"CREATE TABLE bench.{name} ({columns}) ENGINE = MergeTree {ending}")

    def append(self, name: str, table: pa.Table) -> None:
        """One insert."""
        path = self.prepare(table)
        self._ask(insert=str(path), into=f"bench.{name}")
        path.unlink()

    def merge(self, name: str) -> None:
        """One part per partition, if it is not so yet."""
        self._ask(statement=f"OPTIMIZE TABLE bench.{name} FINAL")

    def ask(self, sql: str) -> pa.Table:
        """The rows of a query that names tables without their database; moments without their zone, which is UTC."""
        rows = self.execute(sql)
        for at, field in enumerate(rows.schema):
            if pa.types.is_timestamp(field.type) or pa.types.is_date(field.type):
                rows = rows.set_column(at, field.name, rows[field.name].cast(pa.timestamp("us")))
        return rows


def _serve(folder: str) -> None:
    """The process: one request per line of the input, per answer one line with its error (or none) and its seconds."""
    from chdb import session as sessions

    session = sessions.Session(folder)
    for line in sys.stdin:
        error, seconds = None, 0.0
        try:
            seconds = _do(session, **json.loads(line))
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
        print(json.dumps({"error": error, "seconds": seconds}), flush=True)
    session.close()


def _do(
    session: Any,
    *,
    insert: str | None = None,
    into: str = "bench.events",
    statement: str | None = None,
    answer: str | None = None,
) -> float:
    began = time.perf_counter()
    if insert is not None:
        with pa.memory_map(insert) as file:
            batch = pa.ipc.open_file(file).read_all()
            # Python(batch) finds the local variable of this name.
            session.query(f"INSERT INTO {into} SELECT * FROM Python(batch)")
            del batch
    if statement is None:
        return time.perf_counter() - began
    result = session.query(statement, "ArrowStream").bytes()
    seconds = time.perf_counter() - began
    if answer is not None:
        Path(answer).write_bytes(result)
    return seconds


if __name__ == "__main__":
    _serve(sys.argv[1])
