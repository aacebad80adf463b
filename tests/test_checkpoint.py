"""A checkpoint holds the whole state of apply: what the log said is known after it was trimmed, and after a restart."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import weftdb
from weftdb.base.errors import Invalid
from weftdb.engine import maintenance
from weftdb.engine.changes import Change, WriterToken
from weftdb.engine.database import Engine
from weftdb.engine.segment import Segment
from weftdb.sql.embedded import EmbeddedDatabase
from weftdb.storage.log import Entry
from weftdb.storage.storage import segment_name

MANUAL = {"maintenance": False}


def open_database(folder: Path, **options: object) -> EmbeddedDatabase:
    database = weftdb.open(folder / "data", **{**MANUAL, **options})
    assert isinstance(database, EmbeddedDatabase)
    return database


def entries(engine: Engine) -> list[Entry]:
    tail = engine.storage.log.tail()
    return list(engine.storage.log.read(tail)) if tail else []


def counters(*rows: tuple[int, int]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"k": k, "n": n} for k, n in rows], schema=COUNTERS)


COUNTERS = pa.schema([pa.field("k", pa.int64(), nullable=False), pa.field("n", pa.int64())])
CREATE = "CREATE TABLE counters (k BIGINT PRIMARY KEY, n BIGINT)"


def test_old_batches_and_transactions_are_known_after_the_log_was_trimmed(tmp_path: Path) -> None:
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        engine = database.engine
        token = WriterToken(writer="w", sequence=7)
        first = engine.write("counters", Change.ADD, counters((1, 5)), token=token)
        transaction = engine.begin(id="order 17")
        transaction.add(transaction.catalog.table("counters"), (1,), {"n": 100})
        second = transaction.commit()
        assert engine.flush()
        assert len(entries(engine)) == 1, "the tail is never trimmed, all before it is"
    with open_database(tmp_path) as database:
        engine = database.engine
        assert engine.write("counters", Change.ADD, counters((1, 5)), token=token) == first
        again = engine.begin(id="order 17")
        again.add(again.catalog.table("counters"), (1,), {"n": 100})
        assert again.commit() == second
        assert database.table("counters").get(1) == {"k": 1, "n": 105}


def test_the_past_is_as_it_was_after_checkpoint_and_restart(tmp_path: Path) -> None:
    """Rows, definitions and the map from wall clock to version, as far as history goes."""
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        database.table("counters").put([(1, 1), (2, 2)])
        before = database.execute("SELECT 1").version
        moment = datetime.now(UTC)
        database.execute("ALTER TABLE counters ADD COLUMN note TEXT DEFAULT 'new'")
        database.execute("ALTER TABLE counters DROP COLUMN n")
        database.table("counters").put([(1, "changed")])
        database.table("counters").delete([2])
        database.engine.flush()
        database.engine.compact()
    with open_database(tmp_path) as database:
        assert database.execute("SELECT * FROM counters").rows() == [(1, "changed")]
        for as_of in (before, moment):
            with database.snapshot(as_of=as_of) as snapshot:
                assert snapshot.execute("SELECT * FROM counters ORDER BY k").rows() == [(1, 1), (2, 2)]
                assert snapshot.table("counters").get(2) == {"k": 2, "n": 2}


def test_what_history_does_not_reach_is_refused_also_after_a_restart(tmp_path: Path) -> None:
    with open_database(tmp_path, history_seconds=0) as database:
        database.execute(CREATE)
        database.table("counters").put([(1, 1)])
        old = database.execute("SELECT 1").version
        database.table("counters").put([(1, 2)])
        with database.snapshot(as_of=old) as held:
            database.engine.flush()
            database.engine.compact()
            assert held.table("counters").get(1) == {"k": 1, "n": 1}
            with database.snapshot(as_of=old) as again:
                assert again.table("counters").get(1) == {"k": 1, "n": 1}, "somebody holds it"
        with pytest.raises(Invalid, match="history goes back to version"):
            database.snapshot(as_of=old)
    with (
        open_database(tmp_path, history_seconds=600) as database,
        pytest.raises(Invalid, match="history goes back to version"),
    ):
        database.snapshot(as_of=old)


def test_a_snapshot_keeps_what_it_sees_and_not_what_came_and_went_since(tmp_path: Path) -> None:
    with open_database(tmp_path, history_seconds=0) as database:
        database.execute(CREATE)
        table = database.table("counters")
        table.put([(k, 0) for k in range(100)])
        with database.snapshot() as held:
            for n in range(1, 20):
                table.put([(k, n) for k in range(100)])
                database.engine.flush()
            database.engine.compact()
            (segment,) = [s for s in segments_of(database) if s.rows_count > 1]
            assert segment.rows_count == 200, "the newest rows, and those that the snapshot sees"
            assert held.execute("SELECT count(*), sum(n) FROM counters").rows() == [(100, 0)]
        database.engine.compact()
        (segment,) = [s for s in segments_of(database) if s.rows_count > 1]
        assert segment.rows_count == 100
        assert database.execute("SELECT count(*), sum(n) FROM counters").rows() == [(100, 1900)]


def segments_of(database: EmbeddedDatabase) -> list[Segment]:
    table = database.engine.snapshot().catalog.table("counters")
    return database.engine._state.stores[table.id].segments


def test_dropped_tables_leave_the_disk_when_nobody_can_read_them(tmp_path: Path) -> None:
    with open_database(tmp_path, history_seconds=0) as database:
        database.execute(CREATE)
        database.table("counters").put([(k, k) for k in range(50_000)])
        database.engine.flush()
        held = database.snapshot()
        held.execute("SELECT 1")
        database.execute("DROP TABLE counters")
        database.engine.flush()
        database.engine.maintenance.release()
        assert held.execute("SELECT sum(n) FROM counters").scalar() == sum(range(50_000))
        before = bytes_of(tmp_path)
        held.close()
        database.engine.flush()
        assert database.engine.maintenance.release()
        while database.engine.maintenance.tidy():
            pass
        assert bytes_of(tmp_path) < before / 2
        database.execute(CREATE)
        assert database.execute("SELECT count(*) FROM counters").scalar() == 0
    with open_database(tmp_path) as database:
        assert database.execute("SELECT count(*) FROM counters").scalar() == 0


def test_a_segment_that_is_let_go_can_still_be_read_by_who_has_it(tmp_path: Path) -> None:
    """A scan takes the parts of a cell, and comes to the last of them when maintenance has removed its file."""
    with open_database(tmp_path, history_seconds=0) as database:
        database.execute(CREATE)
        for n in range(2):
            database.table("counters").put([(k, n) for k in range(1_000)])
            database.engine.flush()
    with open_database(tmp_path, history_seconds=0) as database:
        old = segments_of(database)[-1]
        assert old.living_count == 0
        database.table("counters").put((1, 7))
        database.engine.flush()
        assert database.engine.maintenance.release()
        assert old not in segments_of(database)
        while database.engine.maintenance._tidy(thoroughly=True):
            pass
        assert not any(file.name == segment_name(old.files[0]) for file in (tmp_path / "data" / "segments").iterdir())
        assert len(old.begins_of(np.arange(1_000))) == 1_000


def bytes_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in (folder / "data" / "segments").iterdir())


def test_a_database_that_nobody_writes_to_still_forgets(tmp_path: Path) -> None:
    """History moves with time, not with commits: a flush without new rows moves the floor."""
    with open_database(tmp_path, history_seconds=0) as database:
        database.execute(CREATE)
        database.table("counters").put([(1, 1)])
        database.table("counters").put([(1, 2)])
        database.engine.flush()
        assert not database.engine.flush(), "nothing to do"


def test_in_the_background_memtables_become_segments_and_few_of_them(tmp_path: Path) -> None:
    options = {"flush_bytes": 2 << 20, "memory_limit": 256 << 20, "durable": False, "maintenance": True}
    with open_database(tmp_path, **options) as database:
        engine = database.engine
        work = engine.maintenance.work
        deadline = time.monotonic() + 60

        def write(first: int, n: int) -> None:
            """Then maintenance has its turn, which on a machine with other work comes late."""
            keys = np.arange(first, first + 10_000)
            rows = pa.RecordBatch.from_arrays([pa.array(keys), pa.array(np.full(10_000, n))], schema=COUNTERS)
            engine.write("counters", Change.PUT, rows)
            while engine.budget.flush_due and time.monotonic() < deadline:
                time.sleep(0.002)

        database.execute(CREATE)
        for n in range(16):
            write(n * 5_000, n)
        while work.merges == 0 and time.monotonic() < deadline:
            write(0, 1)
        assert work.flushes > 2
        assert work.merges > 0
        assert work.failures == 0, work.last_failure
        rows = database.execute("SELECT count(*), min(k), max(k) FROM counters").rows()
        assert rows == [(85_000, 0, 84_999)]


def test_a_long_log_is_replayed_within_the_memory_limit(tmp_path: Path) -> None:
    """A log without checkpoints, as one that could not be flushed for long: opening it flushes on the way."""
    with open_database(tmp_path, durable=False) as database:
        database.execute(CREATE)
        for n in range(20):
            database.table("counters").put([(k, n) for k in range(n * 5_000, n * 5_000 + 10_000)])
        version = database.engine.version
        assert len(list(database.engine.storage.log.read(1))) > 20
    with open_database(tmp_path, flush_bytes=4 << 20, durable=False) as database:
        assert database.engine.version == version
        assert database.engine.maintenance.work.flushes > 0
        assert database.engine.bytes_used < 6 << 20
        rows = database.execute("SELECT count(*), sum(n) FROM counters").rows()
        assert rows == [(105_000, sum(n * 5_000 for n in range(20)) + 19 * 5_000)]


def test_many_open_slices_are_flushed_before_they_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of many slices, a few at a time, need little memory: it is their number that asks for a flush."""
    monkeypatch.setattr(maintenance, "SLICES_OPEN_MAX", 20)
    with open_database(tmp_path, durable=False, maintenance=True) as database:
        database.execute(
            "CREATE TABLE events (k BIGINT, t TIMESTAMP, PRIMARY KEY (k, t)) "
            "WITH (key = 'k', time = 't', every = '1 day')"
        )
        start = datetime(2024, 1, 1)
        database.table("events").put([(1, start + timedelta(days=n)) for n in range(15)])
        deadline = datetime.now(UTC) + timedelta(seconds=60)
        while database.engine.maintenance.work.flushes == 0:
            assert datetime.now(UTC) < deadline, "nothing was flushed"
        assert database.execute("SELECT count(*) FROM events").scalar() == 15
