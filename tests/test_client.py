"""The remote client where it differs from an embedded database: addresses, connections, sessions, big results.

What both must do alike is in test_conformance.py.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import inspect
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import weftdb
from breaking_proxy import BreakingProxy
from server_child import ForkedServer, Zygote, free_port
from weftdb.base import interface
from weftdb.base.errors import Closed, Conflict, Invalid, LimitExceeded, NotFound, Unavailable
from weftdb.client import reads as reads_module
from weftdb.client import wire as wire_module
from weftdb.client.connection import RemoteDatabase
from weftdb.client.reads import RemoteSnapshot, RemoteTransaction
from weftdb.client.table import RemoteTable
from weftdb.client.writer import RemoteWriter
from weftdb.engine.changes import Commit
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


def contents(db: RemoteDatabase) -> list[int]:
    return [row[0] for row in db.execute("SELECT k FROM t ORDER BY k").rows()]


@pytest.mark.parametrize(
    ("remote", "protocol"),
    [
        (RemoteDatabase, interface.Database),
        (RemoteTransaction, interface.Transaction),
        (RemoteSnapshot, interface.Snapshot),
        (RemoteTable, interface.Table),
        (RemoteWriter, interface.Writer),
    ],
)
def test_the_client_has_the_public_interface_with_its_parameters(remote: type, protocol: type) -> None:
    for name, wanted in inspect.getmembers(protocol):
        if name.startswith("_"):
            continue
        found = inspect.getattr_static(remote, name)
        if isinstance(inspect.getattr_static(protocol, name), property):
            assert isinstance(found, property), name
        elif name != "writer":
            parameters = [(p.name, p.kind, p.default) for p in inspect.signature(wanted).parameters.values()]
            assert [(p.name, p.kind, p.default) for p in inspect.signature(found).parameters.values()] == parameters, (
                name
            )


# -- connecting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["", "localhost", "http://x", "weft://", "weft://a b", "weft://x:99999", "weft://x:1/y", 5]
)
def test_what_is_no_address_is_invalid(url: str) -> None:
    with pytest.raises(Invalid, match="not an address"):
        weftdb.connect(url)


def test_an_address_where_nobody_listens_is_named_soon() -> None:
    port = free_port()
    began = time.monotonic()
    with pytest.raises(Unavailable, match=f"weft://127.0.0.1:{port}.*refused"):
        weftdb.connect(f"weft://127.0.0.1:{port}")
    assert time.monotonic() - began < 4


def test_something_that_is_no_server_is_given_up(server: Server) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        began = time.monotonic()
        with pytest.raises(Unavailable):
            weftdb.connect(f"weft://127.0.0.1:{silent.getsockname()[1]}", timeout=0.5)
        assert time.monotonic() - began < 3


def test_closing_twice_is_allowed_and_everything_else_is_closed(server: Server, db: RemoteDatabase) -> None:
    other = weftdb.connect(server.address)
    table = other.table("t")
    transaction = other.transaction()
    snapshot = other.snapshot()
    other.close()
    other.close()
    for use in (
        lambda: other.execute("SELECT 1"),
        lambda: other.version,
        lambda: other.table("t"),
        lambda: other.transaction(),
        lambda: table.get(1),
        lambda: table.put((1, "x", 1)),
        lambda: transaction.commit(),
        lambda: transaction.execute("SELECT 1"),
        lambda: snapshot.execute("SELECT 1"),
        lambda: table.writer().put((1, "x", 1)) or table.writer().flush(),
    ):
        with pytest.raises(Closed):
            use()


def test_the_client_needs_no_engine() -> None:
    """A client's process loads neither compiler nor relational executor: it starts fast and stays small."""
    heavy = "'numba', 'duckdb', 'sqlglot', 'lmdb'"
    code = f"import sys, weftdb; weftdb.connect; print([name for name in ({heavy}) if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_same_client_finds_a_server_that_was_restarted(tmp_path: Path, zygote: Zygote) -> None:
    child = ForkedServer(tmp_path / "data", zygote)
    with child, weftdb.connect(child.url) as db:
        db.execute("CREATE TABLE t (k bigint PRIMARY KEY, v text)")
        table = db.table("t")
        table.put((1, "one"))
        child.kill()
        with pytest.raises(Unavailable, match=f"127.0.0.1:{child.port}"):
            db.execute("SELECT 1")
        child.start()
        assert table.get(1) == {"k": 1, "v": "one"}
        assert db.execute("SELECT count(*) FROM t").scalar() == 1
        assert child.stop() == 0


# -- calls -----------------------------------------------------------------------------------------------------------


def test_an_interrupt_cancels_the_statement_and_the_connection_stays(db: RemoteDatabase, server: Server) -> None:
    long = "SELECT count(*) FROM generate_series(1, 100000) a(x), generate_series(1, 1000000) b(y) WHERE x + y = -1"
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        db.execute(long)
    assert time.monotonic() - began < 5
    assert db.execute("SELECT 1").scalar() == 1
    gate = server._gate
    with gate._changed:
        assert gate._changed.wait_for(lambda: gate._running == 0, timeout=5)


def test_many_threads_may_share_a_database(db: RemoteDatabase) -> None:
    failed: list[BaseException] = []

    def run(base: int) -> None:
        try:
            table = db.table("t")
            for key in range(base, base + 20):
                table.put((key, str(key), 1))
                assert table.get(key) == {"k": key, "v": str(key), "n": 1}
                assert db.execute("SELECT v FROM t WHERE k = $1", [key]).scalar() == str(key)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(base,)) for base in range(0, 160, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert db.execute("SELECT count(*) FROM t").scalar() == 160


def test_a_big_result_streams_and_is_read_where_it_lies(db: RemoteDatabase) -> None:
    rows = 500_000
    result = db.execute(f"SELECT x AS a, x * 2 AS b FROM generate_series(1, {rows}) s(x)")
    first = None
    seen = total = 0
    for batch in result.reader():
        first = first or batch
        assert batch.nbytes <= 1.2 * 1024 * 1024
        for column in batch.columns:
            assert column.buffers()[1].address % 8 == 0
        seen += batch.num_rows
        total += int(np.sum(batch.column(0).to_numpy()))
    assert (seen, total) == (rows, rows * (rows + 1) // 2)


def test_an_error_in_the_middle_of_a_result_reaches_the_reader(db: RemoteDatabase) -> None:
    query = "SELECT 1 / (400000 - x) FROM generate_series(1, 500000) s(x)"
    with pytest.raises(Invalid, match="division by zero"):
        db.execute(query).arrow()


def test_a_write_larger_than_a_message_is_one_transaction(db: RemoteDatabase) -> None:
    count = 600_000
    table = pa.table({"k": np.arange(count), "v": ["x" * 120] * count})
    assert table.nbytes > 64 * 1024 * 1024
    before = db.version
    assert db.table("t").put(table).rows == count
    assert db.version == before + 1
    twice = pa.concat_tables(
        [pa.table({"k": np.arange(count, 2 * count), "v": ["y" * 120] * count}), table.slice(7, 1)]
    )
    with pytest.raises(Invalid) as caught:
        db.table("t").insert(twice)
    assert caught.value.sqlstate == "23505"
    assert db.execute("SELECT count(*) FROM t").scalar() == count


def test_a_value_at_the_limit_travels_both_ways(db: RemoteDatabase) -> None:
    text = "x" * (16 * 1024 * 1024)
    db.table("t").put((1, text, 0))
    row = db.table("t").get(1)
    assert row is not None
    assert row["v"] == text
    assert db.execute("SELECT v FROM t").scalar() == text
    with pytest.raises(LimitExceeded):
        db.table("t").put((2, text + "x", 0))


def test_a_statement_above_the_limit_is_refused_before_it_travels(db: RemoteDatabase) -> None:
    with pytest.raises(Invalid, match="limit"):
        db.execute("SELECT '" + "x" * (17 * 1024 * 1024) + "'")


def test_a_table_follows_alter_table(db: RemoteDatabase) -> None:
    table = db.table("t")
    table.put((1, "x", 1))
    db.execute("ALTER TABLE t ADD COLUMN extra text DEFAULT 'e'")
    assert table.schema.names == ["k", "v", "n", "extra"]
    table.put((2, "y", 2, "given"))
    db.execute("ALTER TABLE t DROP COLUMN n")
    table.put({"k": 3, "v": "z"})
    with pytest.raises(Invalid, match="n"):
        table.put({"k": 4, "n": 1})
    assert db.execute("SELECT * FROM t ORDER BY k").rows() == [(1, "x", "e"), (2, "y", "given"), (3, "z", "e")]


@pytest.mark.parametrize(
    "row",
    [
        (1, "x", 5),
        (1, None, None),
        {"k": 1},
        {"v": "x", "k": 1},
        (1, "x"),
        (1, "x", 5, 6),
        {"k": 1, "zz": 2},
        {"v": "no key"},
        {},
        (),
        (None, "x", 5),
        ("one", "x", 5),
        (2**63, "x", 5),
        (1, "x", 2**31),
        (1, "x", 1.5),
        (1, "x", True),
        (1, "\ud800", 5),
        (1, b"bytes", 5),
        (1, "x" * 100_000, 5),
        (np.int64(1), np.str_("x"), 5),
    ],
)
def test_one_row_as_values_is_what_it_is_as_arrow(db: RemoteDatabase, row: object) -> None:
    """A list of one row is made Arrow by the client; the row alone is not."""
    table = db.table("t")
    outcomes: list[object] = []
    for rows in (row, [row]):
        for write in (table.insert, table.put):
            try:
                outcomes.append(write(rows).rows)
            except Invalid as error:
                outcomes.append((error.sqlstate, error.message, error.hint))
            outcomes.append(table.scan().read_all().to_pylist())
            table.delete(1)
    assert outcomes[:4] == outcomes[4:]


@pytest.mark.parametrize(
    "key", [1, (1,), {"k": 1}, 2, "1", None, 1.0, 1.5, (), (1, 2), {}, {"v": 1}, {"k": 1, "v": "x"}]
)
def test_one_key_as_values_is_what_it_is_as_arrow(db: RemoteDatabase, key: object) -> None:
    table = db.table("t")
    outcomes: list[object] = []
    for keys in (key, [key]):
        table.put([(1, "x", 0), (3, "y", 0)])
        try:
            outcomes.append(table.delete(keys).rows)
        except Invalid as error:
            outcomes.append((error.sqlstate, error.message, error.hint))
        outcomes.append(contents(db))
    assert outcomes[:2] == outcomes[2:]


# -- sessions --------------------------------------------------------------------------------------------------------


def test_a_client_that_thinks_keeps_its_transaction(db: RemoteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    original = reads_module.Leases.keep

    def short(self: reads_module.Leases, session: reads_module.RemoteSession, *, lease_seconds: float) -> None:
        original(self, session, lease_seconds=0.6)

    monkeypatch.setattr(reads_module.Leases, "keep", short)
    monkeypatch.setattr("weftdb.server.sessions.TRANSACTION_LEASE_SECONDS", 0.6)
    with db.transaction() as transaction, db.snapshot() as snapshot:
        transaction.table("t").put((1, "x", 1))
        time.sleep(1.5)
        assert transaction.table("t").get(1) is not None
        assert snapshot.table("t").get(1) is None
    assert db.table("t").get(1) is not None


def test_a_transaction_of_a_client_that_died_ends_with_its_lease(
    server: Server, db: RemoteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weftdb.server.sessions.TRANSACTION_LEASE_SECONDS", 0.5)
    code = f"""
import os, weftdb
transaction = weftdb.connect({server.address!r}).transaction()
transaction.table("t").put((1, "x", 1))
print("written", flush=True)
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "written" in done.stdout
    sessions = server._sessions
    deadline = time.monotonic() + 5
    while sessions._held and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not sessions._held
    assert db.table("t").get(1) is None


def test_a_commit_whose_answer_is_lost_is_asked_for_again(server: Server, db: RemoteDatabase) -> None:
    with BreakingProxy(server.port) as proxy, weftdb.connect(f"weft://127.0.0.1:{proxy.port}") as through:
        for key in range(10):
            transaction = through.transaction()
            transaction.table("t").insert((key, "x", 0))
            proxy.break_after(20 + 25 * key)  # somewhere on the way there or back
            assert transaction.commit() <= db.version
            proxy.break_after(None)
    assert db.execute("SELECT count(*) FROM t").scalar() == 10


def test_a_write_whose_answer_is_lost_is_done_once(server: Server, db: RemoteDatabase) -> None:
    """Counters, rows that must not exist, a load of many messages; outside a transaction and inside of one."""
    for k in range(3):
        db.table("t").put((k, "x", 0))
    large = pa.table({"k": np.arange(100, 300_100), "v": pa.array(["y" * 20] * 300_000)})
    with BreakingProxy(server.port) as proxy, weftdb.connect(f"weft://127.0.0.1:{proxy.port}") as through:
        table = through.table("t")
        for number in range(12):
            with through.transaction() as transaction:
                inside = transaction.table("t")
                proxy.break_after(20 + 30 * number)  # somewhere on the way there or back
                assert table.add(0, n=1).rows == 1
                proxy.break_after(20 + 30 * number)
                assert inside.add(1, n=1).rows == 1
                proxy.break_after(20 + 30 * number)
                assert table.insert((10 + number, "new", number)).rows == 1
                proxy.break_after(20 + 30 * number)
                assert table.update(2, n=number).version <= db.version
                proxy.break_after(None)
        assert proxy.connections > 12
        proxy.break_after(5_000_000)
        assert table.insert(large).rows == 300_000
        proxy.break_after(None)
    assert db.execute("SELECT n FROM t WHERE k < 3 ORDER BY k").rows() == [(12,), (12,), (11,)]
    assert db.execute("SELECT count(*), sum(n) FROM t WHERE v = 'new'").rows() == [(12, 66)]
    assert db.execute("SELECT count(*) FROM t WHERE k >= 100").scalar() == 300_000


def test_every_write_of_a_table_has_an_id_in_the_log(server: Server, db: RemoteDatabase) -> None:
    table, ids = db.table("t"), server.engine._state.transaction_ids
    for write in (
        lambda: table.insert((1, "x", 0)),
        lambda: table.insert([(n, "x", 0) for n in range(2, 50)]),
        lambda: table.put({"k": 1, "v": "y"}),
        lambda: table.put(pa.table({"k": [60, 61]})),
        lambda: table.update(1, n=5),
        lambda: table.add(1, n=1),
        lambda: table.add(70, n=1, max=10),
        lambda: table.delete(70),
        lambda: table.delete([60, 61]),
        lambda: table.put(pa.table({"k": np.arange(100, 200_100), "v": ["y" * 20] * 200_000})),
    ):
        written = write()
        assert ids[next(reversed(ids))] == Commit(version=written.version, rows=written.rows)


def test_whether_a_write_was_done_is_not_known_when_nobody_answers(
    server: Server, db: RemoteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_module, "COMMIT_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(wire_module, "_TRIES_MAX", 2)
    with BreakingProxy(server.port) as proxy, weftdb.connect(f"weft://127.0.0.1:{proxy.port}") as through:
        table = through.table("t")
        original = server.engine.write_row

        def last_words(*arguments: object, **named: object) -> object:
            try:
                return original(*arguments, **named)  # type: ignore[arg-type]
            finally:
                proxy.refuse(True)
                proxy.break_all()

        monkeypatch.setattr(server.engine, "write_row", last_words)
        with pytest.raises(Unavailable, match="whether the rows were written is not known") as caught:
            table.put((1, "x", 0))
        assert caught.value.sqlstate == "08007"
        with pytest.raises(Unavailable, match="Nothing was sent") as caught:
            table.put((2, "x", 0))
        assert caught.value.sqlstate == "08006"
    assert contents(db) == [1]


def test_commits_and_writes_over_a_server_that_is_stopped_and_killed_are_applied_once(
    tmp_path: Path, zygote: Zygote
) -> None:
    with ForkedServer(tmp_path / "data", zygote) as child, weftdb.connect(child.url) as db:
        db.execute(
            "CREATE TABLE counters (k bigint PRIMARY KEY, n bigint); CREATE TABLE done (number bigint PRIMARY KEY)"
        )
        db.table("counters").put([(1, 0), (2, 0)])
        over = threading.Event()

        def kill_and_restart() -> None:
            chance = random.Random(5)
            for end in (child.stop, child.kill):
                time.sleep(chance.uniform(0.3, 0.6))
                end()
                child.start()
            over.set()

        killer = threading.Thread(target=kill_and_restart)
        killer.start()
        committed: set[int] = set()
        number = added = 0
        while not over.is_set():
            number += 1
            try:
                db.table("counters").add(2, n=1)
                added += 1
            except Unavailable as error:
                assert error.sqlstate != "08007", error  # the next server tells  # noqa: PT017
                time.sleep(0.02)
            try:
                transaction = db.transaction()
                transaction.table("counters").add(1, n=1)
                transaction.table("done").insert((number,))
            except (Closed, Unavailable):  # not committed: it never got so far
                time.sleep(0.02)
                continue
            try:
                transaction.commit()
            except Closed as error:
                assert "nothing of it was committed" in error.message  # noqa: PT017
                continue
            committed.add(number)
        killer.join()
        assert {row[0] for row in db.execute("SELECT number FROM done")} == committed
        assert db.execute("SELECT n FROM counters ORDER BY k").rows() == [(len(committed),), (added,)]
        assert len(committed) > 10


def test_a_commit_whose_outcome_is_not_known_may_be_asked_for_again(
    server: Server, db: RemoteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads_module, "COMMIT_RETRY_SECONDS", 0.0)
    with BreakingProxy(server.port) as proxy, weftdb.connect(f"weft://127.0.0.1:{proxy.port}") as through:
        transaction = through.transaction()
        transaction.table("t").insert((1, "x", 0))
        proxy.refuse(True)
        proxy.break_all()
        with pytest.raises(Unavailable) as caught:
            transaction.commit()
        assert caught.value.sqlstate == "08007"
        proxy.refuse(False)
        deadline = time.monotonic() + 10
        while db.table("t").get(1) is None and time.monotonic() < deadline:
            with contextlib.suppress(Unavailable):
                assert transaction.commit() == db.version
        with pytest.raises(Closed):
            transaction.commit()


def test_a_transaction_is_over_after_commit_and_rollback(db: RemoteDatabase) -> None:
    with db.transaction() as transaction:
        transaction.table("t").put((1, "x", 1))
        transaction.commit()
        with pytest.raises(Closed):
            transaction.execute("SELECT 1")
    with db.transaction() as transaction:
        transaction.table("t").put((2, "x", 1))
        transaction.rollback()
        with pytest.raises(Closed):
            transaction.commit()
    assert db.execute("SELECT k FROM t").rows() == [(1,)]


def test_the_loser_of_two_transactions_is_told_which_row(db: RemoteDatabase) -> None:
    db.table("t").put((7, "x", 0))
    first, second = db.transaction(), db.transaction()
    first.table("t").update(7, v="first")
    second.table("t").update(7, v="second")
    first.commit()
    with pytest.raises(Conflict, match="7"):
        second.commit()
    assert db.table("t").get(7) == {"k": 7, "v": "first", "n": 0}


def test_a_snapshot_reads_the_past_and_refuses_writes(db: RemoteDatabase) -> None:
    table = db.table("t")
    version = table.put((1, "old", 0)).version
    before = dt.datetime.now(dt.UTC)
    table.put((1, "new", 0))
    for as_of in (version, before):
        with db.snapshot(as_of=as_of) as snapshot:
            assert snapshot.version == version
            assert snapshot.table("t").get(1) == {"k": 1, "v": "old", "n": 0}
            with pytest.raises(Invalid) as caught:
                snapshot.table("t").put((2, "x", 0))
            assert caught.value.sqlstate == "25006"
            with pytest.raises(Invalid):
                snapshot.table("t").writer()
    with pytest.raises((NotFound, Invalid)):
        db.snapshot(as_of=10**9)
    with pytest.raises(Invalid):
        db.snapshot(as_of=1.5)  # type: ignore[arg-type]
