"""Systems that take commits while they are asked, and the writers that make them: for ``bench mixed``.

A writer counts its transactions in a row of its own, within the transaction, so that a reader sees how far it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from weftdb.bench import clicks, inside
from weftdb.bench.asked import MEMORY, THREADS
from weftdb.bench.data import STEP_MICROSECONDS
from weftdb.bench.duck import DuckStore
from weftdb.bench.query import DDL
from weftdb.bench.weft import WeftStore
from weftdb.bench.workload import fresh

WRITERS: Final = 2
COMMIT_ROWS: Final = 10_000
_COUNTERS: Final = "CREATE TABLE counters (writer BIGINT PRIMARY KEY, transactions BIGINT NOT NULL)"
_SEEN: Final = "SELECT transactions FROM counters ORDER BY writer"

Write = Callable[[pa.RecordBatch, int], None]
"""Commits rows together with the number of the writer's transaction."""
Read = Callable[[str], list[int]]
"""Asks a question; the counters of its snapshot, by writer."""


class System(Protocol):
    name: str

    def open(self, folder: Path, *, rows: int) -> None:
        """With the first ``rows`` clicks in it, and counters of 0."""
        ...

    def writer(self, number: int) -> Write: ...

    def reader(self) -> Read: ...

    def settle(self) -> None:
        """Until nothing is left to do in the background."""
        ...

    def count(self) -> int: ...

    def close(self) -> None: ...


class WeftMixed:
    name = "WeftDB"

    def __init__(self) -> None:
        self._store = WeftStore(memory_limit=MEMORY, threads=THREADS)

    def open(self, folder: Path, *, rows: int) -> None:
        self._store.open_database(fresh(folder / "weft"))
        self._store.execute(f"CREATE TABLE clicks ({DDL}")
        for chunk in clicks.chunks(rows):
            self._store.append("clicks", chunk.final)
        self._store.execute(_COUNTERS)
        self._store.database.table("counters").insert([(number, 0) for number in range(WRITERS)])
        self._store.settle()

    def writer(self, number: int) -> Write:
        database = self._store.database

        def write(rows: pa.RecordBatch, done: int) -> None:
            with database.transaction() as transaction:
                transaction.table("clicks").insert(rows)
                transaction.table("counters").update(number, transactions=done)

        return write

    def reader(self) -> Read:
        session = inside.session(self._store.database, {"weft.tier": "auto"})

        def read(sql: str) -> list[int]:
            session.execute("BEGIN READ ONLY")
            session.execute(sql).arrow()
            seen = session.execute(_SEEN).rows()
            session.execute("COMMIT")
            return [transactions for (transactions,) in seen]

        return read

    def settle(self) -> None:
        self._store.settle()
        inside.await_kernels(self._store.database)

    def count(self) -> int:
        return self._store.database.execute("SELECT count(*) FROM clicks").scalar()

    def close(self) -> None:
        self._store.close()


class DuckMixed:
    name = "DuckDB"

    def __init__(self) -> None:
        self._store = DuckStore()

    def open(self, folder: Path, *, rows: int) -> None:
        self._store.open_database(fresh(folder / "duck"), threads=THREADS, memory_limit=f"{MEMORY // 10**6}MB")
        self._store.execute(f"CREATE TABLE clicks ({clicks.COLUMNS})")
        for chunk in clicks.chunks(rows):
            self._store.append("clicks", chunk.final)
        self._store.execute("ALTER TABLE clicks ADD PRIMARY KEY (customer, event_time)")
        self._store.execute(_COUNTERS)
        for number in range(WRITERS):
            self._store.execute(f"INSERT INTO counters VALUES ({number}, 0)")
        self.settle()

    def writer(self, number: int) -> Write:
        cursor = self._store.cursor()

        def write(rows: pa.RecordBatch, done: int) -> None:
            cursor.register("batch", pa.Table.from_batches([rows]))
            cursor.execute("BEGIN")
            cursor.execute("INSERT INTO clicks SELECT * FROM batch")
            cursor.execute("UPDATE counters SET transactions = ? WHERE writer = ?", [done, number])
            cursor.execute("COMMIT")

        return write

    def reader(self) -> Read:
        cursor = self._store.cursor()

        def read(sql: str) -> list[int]:
            cursor.execute("BEGIN")
            cursor.sql(sql).to_arrow_table()
            seen = cursor.execute(_SEEN).fetchall()
            cursor.execute("COMMIT")
            return [transactions for (transactions,) in seen]

        return read

    def settle(self) -> None:
        self._store.execute("CHECKPOINT")

    def count(self) -> int:
        return self._store.execute("SELECT count(*) AS n FROM clicks")["n"][0].as_py()

    def close(self) -> None:
        self._store.close()


@dataclass(slots=True, kw_only=True)
class Writer:
    """One writer's transactions: ``acknowledged`` has the moment of each, the first counts 1."""

    write: Write
    batches: Iterator[pa.RecordBatch]
    acknowledged: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def once(self) -> None:
        batch = next(self.batches)
        began = time.perf_counter()
        self.write(batch, len(self.acknowledged) + 1)
        now = time.perf_counter()
        self.acknowledged.append(now)
        self.latencies.append(now - began)


@dataclass(slots=True, kw_only=True)
class Written:
    """What writers did in some seconds."""

    seconds: float
    rows: int
    latencies: list[float]


def write(writers: Sequence[Writer], *, until: Callable[[], bool], every: float = 0.0) -> Written:
    """All writers at once; with ``every`` each commits once in so many seconds, later ones at once where it is late."""
    begun = time.perf_counter()
    before = [len(writer.latencies) for writer in writers]

    def work(writer: Writer) -> None:
        number = 0
        while not until():
            time.sleep(max(begun + number * every - time.perf_counter(), 0))
            writer.once()
            number += 1

    with ThreadPoolExecutor(len(writers)) as threads:
        list(threads.map(work, writers))
    seconds = time.perf_counter() - begun
    latencies = [latency for writer, tail in zip(writers, before, strict=True) for latency in writer.latencies[tail:]]
    return Written(seconds=seconds, rows=len(latencies) * COMMIT_ROWS, latencies=latencies)


def writers_of(system: System, *, rows: int) -> list[Writer]:
    """The writers of a system that has its first ``rows`` clicks."""
    return [Writer(write=system.writer(number), batches=batches(number, rows=rows)) for number in range(WRITERS)]


def batches(number: int, *, rows: int) -> Iterator[pa.RecordBatch]:
    """Clicks after the first ``rows``, without end: one chunk again and again, each time later; a part per writer."""
    [chunk] = clicks.chunks(min(rows, clicks.CHUNK_ROWS // 4))
    count = chunk.final.num_rows
    parts = chunk.final.combine_chunks().to_batches(max_chunksize=COMMIT_ROWS)
    parts = [part for part in parts if part.num_rows == COMMIT_ROWS] or parts
    later = rows * STEP_MICROSECONDS
    while True:
        for at, batch in enumerate(parts):
            if at % WRITERS == number:
                yield _later(batch, later)
        later += count * STEP_MICROSECONDS


def _later(batch: pa.RecordBatch, microseconds: int) -> pa.RecordBatch:
    at = batch.schema.get_field_index("event_time")
    moments = pc.add(batch.column(at), pa.scalar(microseconds, pa.duration("us")))
    return batch.set_column(at, "event_time", moments)
