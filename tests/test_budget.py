"""The budget at work: flushes that it asks for, writers that wait, refusals, and what each part of the memory says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from weftdb import connect
from weftdb.base.errors import Closed, Invalid, LimitExceeded, Unavailable
from weftdb.base.limits import KIB, MIB
from weftdb.engine.changes import Change
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.server.service import serve
from weftdb.sql.session import Session

STEP = 20_000


def batch(first: int, *, width: int = 40) -> pa.RecordBatch:
    numbers = np.arange(first, first + STEP)
    return pa.record_batch({"a": numbers, "b": numbers * 2, "c": [f"{n:0{width}d}" for n in numbers]})


def opened(path: Path | None, **options: object) -> Engine:
    engine = Engine.open(path, options=Options(durable=False, **options))  # type: ignore[arg-type]
    Session(engine).execute("CREATE TABLE IF NOT EXISTS t (a BIGINT PRIMARY KEY, b BIGINT, c TEXT)")
    return engine


def metric(engine: Engine, name: str) -> float:
    return next(found.value for found in engine.metrics() if found.name == f"weft_{name}")


def count(engine: Engine) -> int:
    return Session(engine).execute("SELECT count(*) FROM t").scalar()


def fill(write: Callable[[int], object]) -> tuple[int, LimitExceeded]:
    """Write until it is refused: how often that went well, and the error."""
    for n in range(200):
        try:
            write(n)
        except LimitExceeded as error:
            return n, error
    raise AssertionError("nothing was refused")


def until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    waiting = threading.Event()
    for _ in range(int(seconds * 100)):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not happen")


def test_a_flush_moves_the_memory_of_rows_to_the_disk(tmp_path: Path) -> None:
    with opened(tmp_path / "data", maintenance=False) as engine:
        for n in range(5):
            engine.write("t", Change.PUT, batch(n * STEP))
        before = metric(engine, "memory_memtables_bytes")
        assert before > 5 * STEP * 60
        assert metric(engine, "checkpoint_lag_bytes") > 5 * STEP * 50
        assert engine.flush()
        assert metric(engine, "memory_memtables_bytes") < 100 * KIB
        assert metric(engine, "memory_frozen_bytes") == 0
        assert metric(engine, "memory_overlays_bytes") == 0
        assert metric(engine, "checkpoint_lag_bytes") == 0
        assert metric(engine, "checkpoint_version") == engine.version
        assert metric(engine, "flushed_rows") >= 5 * STEP
        engine.write("t", Change.PUT, batch(STEP // 2))
        assert 5 * STEP // 8 <= metric(engine, "memory_overlays_bytes") < 5 * STEP  # a bit a row at least
        assert count(engine) == 5 * STEP


def test_what_series_reads_keep_beside_the_rows_is_counted_until_the_rows_are_flushed(tmp_path: Path) -> None:
    with opened(tmp_path / "data", maintenance=False) as engine:
        session = Session(engine)
        session.execute("CREATE TABLE s (k BIGINT, at TIMESTAMP, n BIGINT, PRIMARY KEY (k, at)) WITH (time = 'at')")

        def add(first: int, count: int) -> None:
            ids = np.arange(first, first + count)
            times = pa.array(ids + 1_767_571_200_000_000, pa.timestamp("us"))
            engine.write("s", Change.PUT, pa.record_batch({"k": ids % 10, "at": times, "n": ids}))

        def read() -> int:
            return session.execute("SELECT count(*) FROM s WHERE k = 3").scalar()

        add(0, STEP)
        session.execute("SELECT sum(n) FROM s").scalar()
        assert metric(engine, "memory_orders_bytes") == 0
        assert read() == STEP // 10
        ordered = metric(engine, "memory_orders_bytes")
        assert 7 * STEP <= ordered < 12 * STEP
        assert read() == STEP // 10
        assert metric(engine, "memory_orders_bytes") == ordered
        add(STEP, 1_000)
        assert read() == STEP // 10 + 100
        assert ordered + 4 * 1_000 <= metric(engine, "memory_orders_bytes") < ordered + 12 * 1_000
        session.execute("ALTER TABLE s ADD COLUMN more TEXT")
        assert metric(engine, "memory_orders_bytes") > ordered, "also under another definition"
        assert engine.flush()
        assert read() == STEP // 10 + 100
        assert metric(engine, "memory_orders_bytes") == 0
        add(0, STEP)
        assert read() == STEP // 10 + 100
        assert metric(engine, "memory_orders_bytes") > 0
        session.execute("DROP TABLE s")


def test_what_a_flush_is_writing_counts_as_frozen_and_not_as_flushable(tmp_path: Path) -> None:
    with opened(tmp_path / "data", maintenance=False, flush_bytes=MIB) as engine:
        engine.write("t", Change.PUT, batch(0))
        assert engine.budget.flush_due
        seen: list[tuple[bool, float, float]] = []
        buffers: list[float] = []
        seal = engine.maintenance._seal

        def sealing(*arguments: object, **options: object) -> object:
            buffers.append(metric(engine, "memory_buffers_bytes"))
            return seal(*arguments, **options)  # type: ignore[arg-type]

        engine.maintenance._seal = sealing  # type: ignore[method-assign]
        write = engine.maintenance._write

        def watched(*arguments: object, **options: object) -> object:
            frozen, active = metric(engine, "memory_frozen_bytes"), metric(engine, "memory_memtables_bytes")
            seen.append((engine.budget.flush_due, frozen, active))
            return write(*arguments, **options)  # type: ignore[arg-type]

        engine.maintenance._write = watched  # type: ignore[method-assign]
        engine.flush()
        assert max(buffers) >= STEP * (48 + 40)
        assert metric(engine, "memory_buffers_bytes") == 0
        ((due, frozen, active),) = seen
        assert not due
        assert frozen > MIB
        assert active == 0


def test_the_budget_flushes_in_the_background_and_the_memory_stays_bounded(tmp_path: Path) -> None:
    limit = 48 * MIB
    with opened(tmp_path / "data", memory_limit=limit) as engine:
        most = 0.0
        for n in range(60):
            engine.write("t", Change.PUT, batch(n * STEP))
            most = max(most, metric(engine, "memory_used_bytes"))
        assert metric(engine, "flushes") >= 3
        assert most <= limit
        assert count(engine) == 60 * STEP
        until(lambda: metric(engine, "memory_memtables_bytes") < engine.budget.flush_bytes)
    with opened(tmp_path / "data", memory_limit=limit) as engine:
        assert count(engine) == 60 * STEP


def test_writers_wait_for_a_flush_that_is_slow(tmp_path: Path) -> None:
    with opened(tmp_path / "data", memory_limit=16 * MIB, maintenance=False) as engine:
        written = 0
        done = threading.Event()

        def write() -> None:
            nonlocal written
            for n in range(12):
                engine.write("t", Change.PUT, batch(n * STEP))
                written += 1
            done.set()

        thread = threading.Thread(target=write)
        thread.start()
        until(lambda: metric(engine, "stalled_now") == 1)
        assert 0 < written < 12
        assert metric(engine, "memory_used_bytes") <= 16 * MIB
        assert count(engine) == written * STEP
        Session(engine).execute("CREATE TABLE other (a BIGINT PRIMARY KEY)")
        while not done.is_set():
            engine.flush()
        thread.join()
        assert metric(engine, "stalls") >= 1
        assert metric(engine, "stall_seconds") > 0
        assert metric(engine, "stalled_now") == 0
        assert count(engine) == 12 * STEP


def test_a_commit_is_refused_when_nothing_is_flushed_and_can_be_repeated_later(tmp_path: Path) -> None:
    with opened(tmp_path / "data", memory_limit=8 * MIB, maintenance=False, stall_seconds=0.2) as engine:
        written, error = fill(lambda n: engine.write("t", Change.PUT, batch(n * STEP)))
        assert "after waiting 0 s" in str(error)
        assert "memtables" in str(error)
        assert count(engine) == written * STEP
        engine.flush()
        engine.write("t", Change.PUT, batch(written * STEP))
        assert count(engine) == (written + 1) * STEP
        assert metric(engine, "memory_refused") == 1


def test_who_waits_is_told_when_the_database_closes(tmp_path: Path) -> None:
    engine = opened(tmp_path / "data", memory_limit=8 * MIB, maintenance=False)
    errors: list[BaseException] = []

    def write() -> None:
        try:
            for n in range(100):
                engine.write("t", Change.PUT, batch(n * STEP))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    until(lambda: metric(engine, "stalled_now") == 1)
    engine.close()
    thread.join(10)
    assert [type(error) for error in errors] == [Closed]


def test_a_statement_that_waits_for_memory_ends_when_its_time_is_over_or_it_is_cancelled(tmp_path: Path) -> None:
    with opened(tmp_path / "data", memory_limit=8 * MIB, maintenance=False, stall_seconds=60) as engine:
        for n in range(2):
            engine.write("t", Change.PUT, batch(n * STEP))
        session = Session(engine)
        rows = "INSERT INTO t SELECT 1000000 + g, g, repeat('x', 100) FROM generate_series(1, 20000) g"
        with pytest.raises(Unavailable, match="statement timeout") as caught:
            session.execute(rows, timeout=0.3)
        assert caught.value.sqlstate == "57014"
        threading.Timer(0.3, session.cancel).start()
        with pytest.raises(Unavailable, match="user request"):
            session.execute(rows)
        assert metric(engine, "stalls") == 2
        assert metric(engine, "stalled_now") == 0
        assert count(engine) == 2 * STEP
        engine.flush()
        assert session.execute(rows).rows_affected == 20_000


def test_deltas_count_too(tmp_path: Path) -> None:
    """They make rows, though they carry none."""
    with Engine.open(options=Options(memory_limit=MIB)) as engine:
        Session(engine).execute("CREATE TABLE n (a BIGINT PRIMARY KEY, b BIGINT)")
        row = pa.record_batch({"a": np.arange(500), "b": np.ones(500, np.int64)})
        written, error = fill(lambda _: engine.write("n", Change.ADD, row))
        assert 0 < written < 100
        assert "memory_limit" in str(error)


def test_a_database_in_memory_counts_its_segments_and_refuses_at_the_limit() -> None:
    with opened(None, memory_limit=8 * MIB, maintenance=False) as engine:
        engine.write("t", Change.PUT, batch(0))
        engine.flush()
        assert metric(engine, "memory_segments_bytes") > STEP * 20
        assert metric(engine, "memory_memtables_bytes") < 100 * KIB
        _, error = fill(lambda n: (engine.write("t", Change.PUT, batch(n * STEP + STEP)), engine.flush()))
        assert "segments" in str(error)
        assert metric(engine, "memory_used_bytes") <= 8 * MIB
        assert metric(engine, "stalls") == 0


def test_outcomes_that_are_kept_for_retries_are_counted() -> None:
    with opened(None) as engine:
        for n in range(100):
            Session(engine).execute(f"INSERT INTO t VALUES ({n}, {n}, 'x')")
            transaction = engine.begin(id=f"transaction {n}")
            transaction.put(transaction.catalog.table("t"), pa.record_batch({"a": [n], "b": [n], "c": ["y"]}))
            transaction.commit()
        assert 100 * 200 <= metric(engine, "memory_outcomes_bytes") <= 100 * 300


def test_checkpoint_and_vacuum_flush_and_compact_at_once(tmp_path: Path) -> None:
    with opened(tmp_path / "data", maintenance=False, history_seconds=0) as engine:
        session = Session(engine)
        for n in range(3):
            engine.write("t", Change.PUT, batch(n * STEP // 2))
            assert session.execute("CHECKPOINT").tag == "CHECKPOINT"
        assert session.execute("SELECT count(*), sum(ended_rows) > 0 FROM weft_segments").rows() == [(3, True)]
        session.execute("BEGIN")
        with pytest.raises(Invalid, match="VACUUM cannot run inside a transaction block"):
            session.execute("VACUUM")
        session.execute("ROLLBACK")
        assert session.execute("VACUUM t").tag == "VACUUM"
        assert session.execute("SELECT rows, ended_rows FROM weft_segments").rows() == [(2 * STEP, 0)]
        assert count(engine) == 2 * STEP


def test_a_client_is_told_that_its_write_waited_in_vain(tmp_path: Path) -> None:
    engine = opened(tmp_path / "data", memory_limit=8 * MIB, maintenance=False, stall_seconds=0.1)
    with serve(engine, port=0) as server, connect(server.address) as db:
        _, error = fill(lambda n: db.table("t").put(pa.Table.from_batches([batch(n * STEP)])))
        assert error.sqlstate == "53200"
        assert "memtables" in str(error)
        assert "weft_metrics" in str(error.hint)
        db.execute("CHECKPOINT")
        db.table("t").put(pa.Table.from_batches([batch(0)]))
        assert db.execute("SELECT value FROM weft_metrics WHERE name = 'weft_memory_refused'").scalar() == 1
