"""weftdb.open: folders, handles, options, threads, the embedded writer."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import weftdb
from weftdb.sql.embedded import EmbeddedDatabase
from weftdb.sql.session import Session
from weftdb.sql.writer import EmbeddedWriter

TABLE = "CREATE TABLE t (id BIGINT PRIMARY KEY, v INT, s TEXT)"


def test_a_folder_keeps_what_was_committed(tmp_path: Path) -> None:
    with weftdb.open(tmp_path / "data") as db:
        db.execute(TABLE)
        db.execute("CREATE VIEW big AS SELECT * FROM t WHERE v > 5")
        db.table("t").put([(1, 1, "a"), (2, 10, "b")])
        with db.transaction() as txn:
            txn.execute("UPDATE t SET v = v + 1")
        version = db.version
    with weftdb.open(tmp_path / "data") as db:
        assert db.version == version
        assert db.execute("SELECT id, v FROM big").rows() == [(2, 11)]
        assert db.table("t").get(1) == {"id": 1, "v": 2, "s": "a"}


def test_definitions_and_identities_survive_a_restart(tmp_path: Path) -> None:
    with weftdb.open(tmp_path) as db:
        db.execute("CREATE TABLE t (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v INT DEFAULT 5 CHECK (v > 0))")
        db.execute("INSERT INTO t DEFAULT VALUES")
        db.execute("ALTER TABLE t ADD COLUMN w TEXT DEFAULT 'old'")
        shown = db.execute("SHOW CREATE t").scalar()
    with weftdb.open(tmp_path) as db:
        assert db.execute("SHOW CREATE t").scalar() == shown
        db.execute("ALTER TABLE t ALTER COLUMN w SET DEFAULT 'new'")
        db.execute("INSERT INTO t (v) VALUES (6), (7)")
        rows = db.execute("SELECT id, v, w FROM t ORDER BY v").rows()
        assert [row[1:] for row in rows] == [(5, "old"), (6, "new"), (7, "new")]
        assert len({row[0] for row in rows}) == 3
        with pytest.raises(weftdb.Invalid):
            db.execute("INSERT INTO t (v) VALUES (-1)")


def test_a_second_open_returns_the_same_database(tmp_path: Path) -> None:
    first = weftdb.open(tmp_path)
    second = weftdb.open(str(tmp_path / "x" / ".."))
    first.execute(TABLE)
    second.table("t").put((1, 1, "x"))
    assert first.table("t").get(1) is not None
    first.close()
    with pytest.raises(weftdb.Closed):
        first.execute("SELECT 1")
    assert second.execute("SELECT count(*) FROM t").scalar() == 1
    second.close()
    with weftdb.open(tmp_path) as third:
        assert third.execute("SELECT count(*) FROM t").scalar() == 1


def test_databases_in_memory_are_apart() -> None:
    with weftdb.open() as first, weftdb.open() as second:
        first.execute(TABLE)
        with pytest.raises(weftdb.Invalid):
            second.table("t")


def test_options_are_checked_and_kept(tmp_path: Path) -> None:
    with pytest.raises(weftdb.Invalid, match="durable"):
        weftdb.open(tmp_path, durabel=False)
    with weftdb.open(tmp_path, durable=False):
        with pytest.raises(weftdb.Invalid, match="other options"):
            weftdb.open(tmp_path, durable=True)
        weftdb.open(tmp_path, durable=False).close()
        weftdb.open(tmp_path).close()


def test_another_process_is_told_who_has_the_folder(tmp_path: Path) -> None:
    with weftdb.open(tmp_path):
        code = f"""
            import weftdb
            try:
                weftdb.open({str(tmp_path)!r})
            except weftdb.Unavailable as error:
                print(error)
        """
        told = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=60
        )
        assert str(os.getpid()) in told.stdout


def test_closing_the_last_handle_ends_what_was_opened_from_it(tmp_path: Path) -> None:
    db = weftdb.open(tmp_path)
    db.execute(TABLE)
    snapshot, txn, writer = db.snapshot(), db.transaction(), db.table("t").writer()
    txn.table("t").put((1, 1, "lost"))
    writer.put((2, 2, "kept"))
    db.close()
    for use in (
        lambda: snapshot.execute("SELECT 1"),
        txn.commit,
        lambda: writer.put((3, 3, "x")),
        lambda: txn.table("t"),
    ):
        with pytest.raises(weftdb.Closed):
            use()
    with weftdb.open(tmp_path) as again:
        assert [row[0] for row in again.execute("SELECT id FROM t").rows()] == [2]


def test_a_streaming_result_of_a_closed_database_fails_cleanly() -> None:
    db = weftdb.open()
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY)")
    db.execute("INSERT INTO t SELECT x FROM generate_series(1, 3000000) AS g(x)")
    result = db.execute("SELECT id FROM t")
    db.close()
    with contextlib.suppress(weftdb.WeftError):
        assert result.arrow().num_rows == 3_000_000


def test_keyboard_interrupt_leaves_the_database_usable() -> None:
    code = """
        import signal, threading, os, time
        import weftdb
        db = weftdb.open()
        db.execute("SELECT 1")
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        try:
            db.execute("SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 1000000) b "
                       "WHERE (a * b) % 7 = 3")
        except KeyboardInterrupt:
            pass
        assert time.monotonic() - began < 10
        assert db.execute("SELECT 2").scalar() == 2
        print("usable")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "usable", done.stderr


def test_definitions_and_writes_race_without_breaking(tmp_path: Path) -> None:
    with weftdb.open(tmp_path, durable=False) as db:
        db.execute(TABLE)
        errors: list[BaseException] = []
        stop = threading.Event()

        def write(start: int) -> None:
            table, n = db.table("t"), start
            while not stop.is_set():
                try:
                    table.put([{"id": n + k, "v": n} for k in range(10)])
                    n += 10
                except BaseException as error:
                    errors.append(error)
                    return

        threads = [threading.Thread(target=write, args=(k * 1_000_000,)) for k in range(2)]
        for thread in threads:
            thread.start()
        for k in range(10):
            db.execute(f"ALTER TABLE t ADD COLUMN c{k} INT DEFAULT {k}")
            assert db.execute(f"SELECT count(*) FROM t WHERE c{k} <> {k} OR c{k} IS NULL").scalar() == 0
            db.execute(f"ALTER TABLE t DROP COLUMN c{k}")
        stop.set()
        for thread in threads:
            thread.join()
        assert errors == []
        count = db.execute("SELECT count(*) FROM t").scalar()
    with weftdb.open(tmp_path) as db:
        assert db.execute("SELECT count(*) FROM t").scalar() == count


def test_a_column_is_set_not_null_or_a_null_gets_in_but_not_both(tmp_path: Path) -> None:
    with weftdb.open() as db:
        for round in range(10):
            db.execute("CREATE TABLE r (id BIGINT PRIMARY KEY, v INT)")
            start = threading.Barrier(2)

            def write(start: threading.Barrier = start) -> None:
                start.wait()
                for n in range(30):
                    try:
                        db.table("r").put({"id": n, "v": None})
                    except weftdb.WeftError:
                        return

            thread = threading.Thread(target=write)
            thread.start()
            start.wait()
            time.sleep(round * 0.0005)
            try:
                db.execute("ALTER TABLE r ALTER COLUMN v SET NOT NULL")
                altered = True
            except weftdb.WeftError:
                altered = False
            thread.join()
            nulls = db.execute("SELECT count(*) FROM r WHERE v IS NULL").scalar()
            assert not (altered and nulls), f"{nulls} NULLs in a NOT NULL column"
            db.execute("DROP TABLE r")


# -- the writer ------------------------------------------------------------------------------------------------------


@pytest.fixture
def db() -> Iterator[EmbeddedDatabase]:
    with weftdb.open() as opened:
        opened.execute(TABLE)
        yield opened


def writer_of(db: EmbeddedDatabase, *, batch_rows: int = 100, linger: float = 10.0) -> EmbeddedWriter:
    return EmbeddedWriter(Session(db.engine), "t", batch_rows=batch_rows, linger=linger)


def test_batches_are_committed_when_full_or_flushed(db: EmbeddedDatabase) -> None:
    with writer_of(db) as writer:
        before = db.version
        for n in range(250):
            writer.put((n, n, "x"))
        version = writer.flush()
        assert version == before + 3
        assert writer.rows_acknowledged == 250
        assert writer.flush() == version


def test_dicts_of_different_columns_go_into_batches_of_their_own(db: EmbeddedDatabase) -> None:
    with writer_of(db) as writer:
        row = {"id": 1, "v": 1}
        writer.put(row)
        row["id"] = 2
        writer.put(row)
        writer.put({"id": 3, "s": "only s"})
        writer.put((4, 4, "tuple"))
        writer.put([{"id": 5}, {"id": 6}])
    assert db.execute("SELECT id, v, s FROM t ORDER BY id").rows() == [
        (1, 1, None),
        (2, 1, None),
        (3, None, "only s"),
        (4, 4, "tuple"),
        (5, None, None),
        (6, None, None),
    ]


def test_rows_after_a_failure_are_dropped_until_it_was_seen(db: EmbeddedDatabase) -> None:
    writer = writer_of(db, batch_rows=1)
    writer.put((1, 1, "ok"))
    writer.flush()
    writer.put((2, "not a number", "bad"))
    deadline = time.monotonic() + 10
    with pytest.raises(weftdb.Invalid, match='column "v", row 1'):  # noqa: PT012
        while time.monotonic() < deadline:
            writer.put((3, 3, "dropped"))
            time.sleep(0.001)
    dropped = db.table("t").get(3)
    writer.put((4, 4, "after"))
    writer.close()
    assert dropped is None
    assert sorted(row[0] for row in db.execute("SELECT id FROM t").rows()) == [1, 4]
    assert writer.rows_acknowledged == 2


def test_a_writer_of_a_table_that_is_dropped_says_so(db: EmbeddedDatabase) -> None:
    writer = writer_of(db)
    writer.put((1, 1, "x"))
    writer.flush()
    db.execute("DROP TABLE t")
    writer.put((2, 2, "x"))
    with pytest.raises(weftdb.Invalid) as caught:
        writer.close()
    assert caught.value.sqlstate == "42P01"


def test_a_writer_takes_arrow_of_any_length(db: EmbeddedDatabase) -> None:
    source = db.execute("SELECT x AS id, 1 AS v, 'a' AS s FROM generate_series(1, 1050) AS g(x)")
    with writer_of(db) as writer:
        writer.put(source.arrow())
        writer.put(source.reader())
        with pytest.raises(weftdb.Invalid):
            writer.put(5)
    assert writer.rows_acknowledged == 2100
    assert db.execute("SELECT count(*) FROM t").scalar() == 1050
