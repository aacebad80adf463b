"""The remote writer: order, batches, failures, and exactly once over broken connections and killed servers."""

from __future__ import annotations

import collections
import random
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest
import weftdb
from breaking_proxy import BreakingProxy
from server_child import ForkedServer, Zygote
from weftdb.base.errors import Closed, Invalid, Unavailable
from weftdb.client.connection import RemoteDatabase
from weftdb.engine.database import Engine
from weftdb.server.service import Server, serve


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(Engine.open(None), port=0) as running:
        yield running


@pytest.fixture
def db(server: Server) -> Iterator[RemoteDatabase]:
    with weftdb.connect(server.address) as db:
        db.execute("CREATE TABLE t (k bigint PRIMARY KEY, v text, n integer DEFAULT 5)")
        yield db
        db.execute("DROP TABLE t")


def contents(db: RemoteDatabase) -> list[tuple[object, ...]]:
    return db.execute("SELECT k, v, n FROM t ORDER BY k").rows()


def test_rows_of_every_sort_arrive_in_order(db: RemoteDatabase) -> None:
    class Row(NamedTuple):
        k: int
        v: str
        n: int

    with db.table("t").writer() as writer:
        writer.put((1, "one", 1))
        writer.put({"k": 2, "v": "two"})
        writer.put([(3, "three", 3), (4, "four", 4)])
        writer.put([{"k": 5, "n": 50}])
        writer.put(pa.table({"k": [6, 7], "v": ["six", "seven"]}))
        writer.put(Row(8, "eight", 8))
        writer.insert((9, "nine", 9))
        writer.delete(3)
        writer.delete([4, 5])
        writer.put((1, "uno", 11))
        writer.put((1, "eins", 12))
    assert writer.rows_acknowledged == 14
    assert contents(db) == [
        (1, "eins", 12),
        (2, "two", 5),
        (6, "six", 5),
        (7, "seven", 5),
        (8, "eight", 8),
        (9, "nine", 9),
    ]


def test_flush_returns_the_version_at_which_all_is_visible(db: RemoteDatabase) -> None:
    with db.table("t").writer() as writer:
        assert writer.flush() == db.version
        for key in range(1000):
            writer.put((key, "x", 0))
        version = writer.flush()
        assert writer.rows_acknowledged == 1000
        with db.snapshot(as_of=version) as snapshot:
            assert snapshot.execute("SELECT count(*) FROM t").scalar() == 1000


def test_a_row_that_lingers_is_written_by_itself(db: RemoteDatabase) -> None:
    with db.table("t").writer(linger=0.05) as writer:
        writer.put((1, "x", 1))
        deadline = time.monotonic() + 5
        while not writer.rows_acknowledged and time.monotonic() < deadline:
            time.sleep(0.01)
        assert writer.rows_acknowledged == 1
        assert db.table("t").get(1) is not None


def test_batches_have_as_many_rows_as_told(db: RemoteDatabase) -> None:
    before = db.version
    with db.table("t").writer(batch_rows=100, linger=10) as writer:
        for key in range(1000):
            writer.put((key, "x", 0))
        writer.flush()
        assert db.version == before + 10
        writer.put(pa.table({"k": range(1000, 1250), "v": ["y"] * 250}))
        writer.flush()
        assert db.version == before + 13


def test_wide_rows_make_smaller_batches(db: RemoteDatabase) -> None:
    with db.table("t").writer() as writer:
        writer.put(pa.table({"k": range(30), "v": ["x" * 1_000_000] * 30}))
    assert writer.rows_acknowledged == 30
    assert db.execute("SELECT sum(length(v)) FROM t").scalar() == 30_000_000


def test_a_failed_batch_names_its_rows_and_stops_those_after_it(db: RemoteDatabase) -> None:
    db.table("t").put((150, "there", 0))
    writer = db.table("t").writer(batch_rows=100, linger=10)
    with pytest.raises(Invalid, match=r"rows 101 to 200 of this writer were refused") as caught:
        insert_until_it_fails(writer)
    assert caught.value.sqlstate == "23505"
    assert writer.rows_acknowledged == 100
    assert db.execute("SELECT count(*) FROM t").scalar() == 101
    for key in range(2000, 2010):  # the failure was seen: it starts afresh
        writer.insert((key, "after", 0))
    writer.close()
    assert db.execute("SELECT count(*) FROM t WHERE v = 'after'").scalar() == 10
    assert db.execute("SELECT count(*) FROM t").scalar() == 111


def insert_until_it_fails(writer: object) -> None:
    for key in range(1000):
        writer.insert((key, "x", 0))  # type: ignore[attr-defined]
    writer.flush()  # type: ignore[attr-defined]


def test_leaving_the_block_raises_what_the_last_batch_gave(db: RemoteDatabase) -> None:
    db.table("t").put((1, "there", 0))
    with pytest.raises(Invalid, match="refused"), db.table("t").writer() as writer:
        writer.insert((1, "again", 0))
    assert contents(db) == [(1, "there", 0)]


def test_an_exception_in_the_block_comes_first_and_what_was_put_is_flushed(db: RemoteDatabase) -> None:
    def put_and_fail() -> None:
        with db.table("t").writer() as writer:
            writer.put((1, "x", 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        put_and_fail()
    assert contents(db) == [(1, "x", 1)]


def test_a_row_that_does_not_fit_is_named_before_it_travels(db: RemoteDatabase) -> None:
    writer = db.table("t").writer()
    writer.put([(key, "x", 0) for key in range(10)])
    writer.put((10, "x", "many"))
    with pytest.raises(Invalid, match=r'batch from row 1 of this writer.*column "n", row 11'):
        writer.flush()
    writer.put((99, "x", 0))
    writer.close()
    assert contents(db) == [(99, "x", 0)]


def test_a_closed_writer_says_so(db: RemoteDatabase) -> None:
    writer = db.table("t").writer()
    writer.put((1, "x", 0))
    writer.close()
    writer.close()
    with pytest.raises(Closed):
        writer.put((2, "x", 0))
    with pytest.raises(Closed):
        writer.flush()


def test_a_table_that_changes_under_the_writer_is_followed(db: RemoteDatabase) -> None:
    with db.table("t").writer() as writer:
        writer.put((1, "x", 0))
        writer.flush()
        db.execute("ALTER TABLE t ADD COLUMN extra text DEFAULT 'e'")
        writer.put((2, "x", 0, "given"))
        writer.put({"k": 3, "extra": "also"})
        writer.flush()
    assert db.execute("SELECT k, extra FROM t ORDER BY k").rows() == [(1, "e"), (2, "given"), (3, "also")]


def test_closing_the_database_ends_its_writers(server: Server, db: RemoteDatabase) -> None:
    other = weftdb.connect(server.address)
    writer = other.table("t").writer()
    writer.put((1, "x", 0))
    writer.flush()
    other.close()
    with pytest.raises(Closed):
        writer.put((2, "x", 0))


def test_writers_are_independent(db: RemoteDatabase) -> None:
    def run(base: int) -> None:
        with db.table("t").writer(batch_rows=50) as writer:
            for key in range(base, base + 500):
                writer.put((key, str(base), 0))

    threads = [threading.Thread(target=run, args=(base,)) for base in range(0, 4000, 500)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.execute("SELECT count(*), count(DISTINCT v) FROM t").rows() == [(4000, 8)]


# -- broken connections ----------------------------------------------------------------------------------------------


def test_every_row_is_applied_once_over_a_connection_that_keeps_breaking(server: Server, db: RemoteDatabase) -> None:
    """Counters: a delta applied twice, or lost, would show. So would a put out of order."""
    chance = random.Random(3)
    db.execute("CREATE TABLE log (k bigint, at timestamp, v text) WITH (key = 'k', time = 'at')")  # no primary key
    with BreakingProxy(server.port) as proxy, weftdb.connect(f"weft://127.0.0.1:{proxy.port}") as through:
        start = datetime(2024, 1, 1)
        with through.table("log").writer(batch_rows=200, linger=0.005) as writer:
            for key in range(20_000):
                writer.insert((key, start + timedelta(seconds=key), "x" * (key % 50)))
                if key % 1000 == 500:
                    if chance.random() < 0.5:
                        proxy.break_all()
                    else:
                        proxy.break_after(chance.randrange(20_000))
        assert writer.rows_acknowledged == 20_000
        assert proxy.connections > 5
    assert db.execute("SELECT count(*), count(DISTINCT k), sum(length(v)) FROM log").rows() == [
        (20_000, 20_000, 490_000)
    ]
    db.execute("DROP TABLE log")


def test_reads_survive_a_broken_connection(server: Server, db: RemoteDatabase) -> None:
    db.table("t").put((1, "x", 0))
    with BreakingProxy(server.port) as proxy, weftdb.connect(f"weft://127.0.0.1:{proxy.port}") as through:
        table = through.table("t")
        for _ in range(5):
            proxy.break_all()
            assert table.get(1) == {"k": 1, "v": "x", "n": 0}
            assert through.version >= 1


def wait_until_answered(database: RemoteDatabase) -> None:
    """The channel waits longer after each refusal, on a busy machine longer than a writer that retries 0.5 s only."""
    while True:
        try:
            assert database.version >= 1
            return
        except Unavailable:
            time.sleep(0.05)


def test_a_writer_gives_up_when_nobody_answers_in_time(server: Server, db: RemoteDatabase) -> None:
    with BreakingProxy(server.port) as proxy, weftdb.connect(f"weft://127.0.0.1:{proxy.port}") as through:
        writer = through.table("t").writer(retry_seconds=0.5)
        writer.put((1, "x", 0))
        writer.flush()
        proxy.refuse(True)
        proxy.break_all()
        writer.put((2, "x", 0))
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"1 rows from row 2 on were not acknowledged"):
            writer.flush()
        assert time.monotonic() - began < 5
        proxy.refuse(False)
        wait_until_answered(through)
        writer.put((3, "x", 0))
        writer.close()
    assert {row[0] for row in contents(db)} >= {1, 3}


def test_a_slow_server_makes_the_writer_wait(server: Server, db: RemoteDatabase) -> None:
    """Back-pressure: the client holds at most the batches in flight and one that it gathers."""
    held = threading.Event()
    original = server.engine.write

    def slow(*arguments: object, **named: object) -> object:
        held.wait(10)
        return original(*arguments, **named)  # type: ignore[arg-type]

    server.engine.write = slow  # type: ignore[method-assign, assignment]
    try:
        writer = db.table("t").writer(batch_rows=10, linger=10)
        handed = collections.Counter[str]()

        def produce() -> None:
            for key in range(1000):
                writer.put((key, "x", 0))
                handed["rows"] += 1

        producer = threading.Thread(target=produce)
        producer.start()
        time.sleep(0.5)
        assert producer.is_alive()
        assert handed["rows"] < 100
        held.set()
        producer.join(timeout=20)
        writer.close()
    finally:
        held.set()
        del server.engine.write
    assert len(contents(db)) == 1000


# -- killed servers --------------------------------------------------------------------------------------------------


def test_a_program_that_starts_again_goes_on_with_its_writers_name(tmp_path: Path, zygote: Zygote) -> None:
    """Clients that are killed at any moment, and servers too: each number is added exactly once."""
    child = ForkedServer(tmp_path / "data", zygote)
    with child, weftdb.connect(child.url) as db:
        db.execute("CREATE TABLE totals (k bigint PRIMARY KEY, n bigint, rows bigint)")
        chance = random.Random(7)
        numbers, at = list(range(1, 6001)), 0
        for life in range(6):
            loader = weftdb.connect(child.url)
            writer = loader.table("totals").writer(name="loader", batch_rows=chance.randrange(20, 200), linger=0.002)
            assert writer.sequence >= at, "what was acknowledged is there"
            at = writer.sequence
            last = len(numbers) if life == 5 else min(at + chance.randrange(500, 1500), len(numbers))
            for number in numbers[at:last]:
                writer.add(number % 3, n=number, rows=1)
            if life == 5:
                writer.close()
                loader.close()
                break
            time.sleep(chance.uniform(0, 0.05))
            at = writer.sequence
            loader.close()  # what is on its way is given up, and may or may not be applied
            if life in (1, 3):
                child.kill()
                child.start()
        assert db.execute("SELECT sum(n), sum(rows) FROM totals").rows() == [(sum(numbers), len(numbers))]


def test_every_row_is_applied_once_over_a_server_that_is_stopped_and_killed(tmp_path: Path, zygote: Zygote) -> None:
    child = ForkedServer(tmp_path / "data", zygote)
    with child, weftdb.connect(child.url) as db:
        db.execute("CREATE TABLE log (k bigint, at timestamp) WITH (key = 'k', time = 'at')")  # no primary key: a
        done = threading.Event()  # repeat would be seen

        def kill_and_restart() -> None:
            chance = random.Random(5)
            for end in (child.stop, child.kill) * 2:  # in order, and not
                time.sleep(chance.uniform(0.2, 0.5))
                end()
                child.start()
            done.set()

        killer = threading.Thread(target=kill_and_restart)
        killer.start()
        rows = 0
        with db.table("log").writer(batch_rows=100, linger=0.005) as writer:
            while not done.is_set():
                writer.insert((rows, datetime(2024, 1, 1) + timedelta(seconds=rows)))
                rows += 1
                if rows % 100 == 0:
                    time.sleep(0.001)
        killer.join()
        assert writer.rows_acknowledged == rows
        assert db.execute("SELECT count(*), count(DISTINCT k) FROM log").rows() == [(rows, rows)]
