"""Making a materialized view on rows that there are: progress, cancellation, a crash, and writers beside."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import soak
import weftdb
from from_rows import from_rows
from server_child import Zygote
from weftdb.base.errors import Unavailable
from weftdb.engine.aggregates import build, folded
from weftdb.engine.aggregates.build import BuildingView
from weftdb.engine.aggregates.groups import Grouper
from weftdb.engine.check import check_folder
from weftdb.engine.database import Engine
from weftdb.engine.schema import Table
from weftdb.engine.snapshot import Snapshot
from weftdb.engine.transaction import Transaction
from weftdb.server.service import serve

Database = Any

DDL = "CREATE TABLE t (k BIGINT, id BIGINT, x INT, y DOUBLE PRECISION, PRIMARY KEY (k, id))"
VIEW = "CREATE MATERIALIZED VIEW v AS SELECT k, x, count(*) AS n, sum(y) AS sy FROM t GROUP BY k, x"
ROWS = 200_000


def fill(on: Database, first: int, last: int) -> None:
    on.execute(
        "INSERT INTO t SELECT g % 1000, g, g % 7, g * 0.5 FROM generate_series($1::bigint, $2::bigint) g", [first, last]
    )


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with weftdb.open(tmp_path / "data", maintenance=False) as database:
        database.execute(DDL)
        fill(database, 1, ROWS)
        yield database


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Grouping begins with the second batch only when the event is set."""
    go, began = threading.Event(), list[int]()
    change_of = Grouper.change_of

    def waits(self: Grouper, *arguments: Any) -> Any:
        began.append(1)
        if len(began) > 1:
            go.wait(0.05)
        return change_of(self, *arguments)

    monkeypatch.setattr(Grouper, "change_of", waits)
    return go


def test_progress_is_seen_until_the_view_is_there(db: Database, slow: threading.Event) -> None:
    thread = threading.Thread(target=lambda: db.execute(VIEW))
    thread.start()
    seen: list[Any] = []
    try:
        deadline = time.monotonic() + 30
        while thread.is_alive() and time.monotonic() < deadline and len({row[4] for row in seen}) < 3:
            query = "SELECT kind, name, table_name, phase, rows_done, rows_total, age_seconds > 0 FROM weft_builds"
            seen += db.execute(query).rows()
    finally:
        slow.set()
        thread.join()
    assert {row[:3] for row in seen} == {("materialized view", "v", "t")}
    done = [row[4] for row in seen]
    assert done == sorted(done)
    assert any(0 < rows < ROWS for rows in done)
    assert {row[5] for row in seen} == {ROWS}
    assert "reading rows" in {row[3] for row in seen}
    assert db.execute("SELECT count(*) FROM weft_builds").scalar() == 0
    assert db.execute("VERIFY MATERIALIZED VIEW v").rows() == []


def test_an_index_shows_its_progress_too(db: Database) -> None:
    with db.transaction() as txn:
        txn.execute("CREATE INDEX by_x ON t (x)")
        txn.execute(VIEW)
        query = "SELECT kind, name, phase, rows_done = rows_total FROM weft_builds ORDER BY kind"
        assert db.execute(query).rows() == [
            ("index", "by_x", "waiting for the commit", True),
            ("materialized view", "v", "waiting for the commit", True),
        ]
    assert db.execute("SELECT count(*) FROM weft_builds").scalar() == 0


def nothing_left(db: Database) -> None:
    assert db.execute("SHOW TABLES").rows() == [("t", "table")]
    assert db.execute("SELECT count(*) FROM weft_builds").scalar() == 0
    assert db.execute("SELECT count(*) FROM weft_transactions").scalar() == 0
    state = db.engine._state
    assert state.catalog.relation("t").guards == ()
    fill(db, 500_000, 500_010)
    db.execute(VIEW)
    assert db.execute("VERIFY MATERIALIZED VIEW v").rows() == []


@pytest.mark.usefixtures("slow")
def test_a_time_out_leaves_nothing_behind(db: Database) -> None:
    with pytest.raises(Unavailable, match="statement timeout"):
        db.execute(VIEW, settings={"statement_timeout": "70ms"})
    nothing_left(db)


@pytest.mark.usefixtures("slow")
def test_an_index_can_be_cancelled(db: Database) -> None:
    with pytest.raises(Unavailable, match="statement timeout"):
        db.execute("CREATE INDEX by_x ON t (x)", settings={"statement_timeout": "10ms"})
    nothing_left(db)


def test_groups_that_are_being_written_can_be_cancelled(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    phases: set[str] = set()
    put = Transaction.put_groups

    def slow_put(transaction: Transaction, table: Table, rows: pa.RecordBatch) -> None:
        written.append(rows.num_rows)
        phases.add(db.execute("SELECT phase FROM weft_builds").scalar())
        time.sleep(0.05)
        put(transaction, table, rows)

    with monkeypatch.context() as patch:
        patch.setattr(build, "CHANGE_ROWS", 10)
        patch.setattr(Transaction, "put_groups", slow_put)
        with pytest.raises(Unavailable, match="statement timeout"):
            db.execute(VIEW, settings={"statement_timeout": "1s"})
    assert 0 < len(written) < 60, "7,000 groups are 700 pieces"
    assert phases == {"writing groups"}
    nothing_left(db)


def test_what_is_written_beside_a_build_is_caught_up_with_until_little_is_left(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that changed is two: the one that went, and the one that came."""
    caught_up: list[int] = []
    catch_up = BuildingView.catch_up

    def noted(self: BuildingView, transaction: Transaction, now: Snapshot) -> int:
        caught_up.append(db.execute("SELECT rows_after FROM weft_builds").scalar())
        return catch_up(self, transaction, now)

    monkeypatch.setattr(BuildingView, "catch_up", noted)
    for number, (changes, rounds) in enumerate(((600, [0, 1200, 1200]), (400, [0, 800]))):
        with db.transaction() as txn:
            txn.execute(VIEW.replace(" v ", f" v{number} "))
            db.execute("UPDATE t SET y = y + 1, x = x + 1 WHERE id <= $1", [changes])
        assert caught_up == rounds
        caught_up.clear()
        assert db.execute(f"VERIFY MATERIALIZED VIEW v{number}").rows() == []


def test_groups_with_values_may_be_more_than_are_written_at_once(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "CHANGE_ROWS", 100)
    monkeypatch.setattr(folded, "CHANGE_ROWS", 100)
    query = "SELECT k, min(y) AS low, count(DISTINCT x) AS xs, last(x, y) AS last FROM t GROUP BY k"
    db.execute(f"CREATE MATERIALIZED VIEW v AS {query}")
    assert sorted(db.execute("SELECT * FROM v").rows()) == sorted(from_rows(db, query).rows())
    assert db.execute("VERIFY MATERIALIZED VIEW v").rows() == []


@pytest.mark.usefixtures("slow")
def test_ctrl_c_leaves_nothing_behind(db: Database) -> None:
    import _thread

    timer = threading.Timer(0.1, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        db.execute(VIEW)
    timer.join()
    nothing_left(db)


@pytest.mark.usefixtures("slow")
def test_a_client_cancels_over_the_wire(tmp_path: Path) -> None:
    with serve(Engine.open(tmp_path / "data"), port=0) as server, weftdb.connect(server.address) as db:
        db.execute(DDL)
        fill(db, 1, ROWS)
        with pytest.raises(Unavailable):
            db.execute(VIEW, timeout=0.1)
        deadline = time.monotonic() + 20
        while db.execute("SELECT count(*) FROM weft_builds").scalar() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert db.execute("SHOW TABLES").rows() == [("t", "table")]
        db.execute(VIEW)
        assert db.execute("VERIFY MATERIALIZED VIEW v").rows() == []


CHILD = f"""
import sys, threading, weftdb
db = weftdb.open(sys.argv[1])
def write():
    number = int(sys.argv[2])
    while True:
        db.execute("INSERT INTO t SELECT g % 1000, g, g % 7, g * 0.5 FROM generate_series($1::bigint, $2::bigint) g",
                   [number, number + 99])
        number += 100
threading.Thread(target=write, daemon=True).start()
print("ready", flush=True)
while True:
    db.execute({VIEW.replace("CREATE", "CREATE OR REPLACE")!r})
    print("made", flush=True)
"""


@pytest.mark.timeout(120 * soak.FACTOR)
def test_a_killed_process_leaves_a_whole_view_or_none(tmp_path: Path, zygote: Zygote) -> None:
    folder, chance = tmp_path / "data", random.Random(soak.SEED)
    with weftdb.open(folder) as db:
        db.execute(DDL)
        fill(db, 1, ROWS)
    whole = 0
    for round in range(4 * soak.FACTOR):
        with zygote.popen(["-c", CHILD, str(folder), str(1_000_000 * (round + 1))]) as process:
            assert process.stdout.readline() == "ready\n"
            if round == 1:
                assert process.stdout.readline() == "made\n"
            time.sleep(chance.random())
            process.kill()
        assert [item for item in check_folder(folder).problems if "a crash left it" not in item.what] == []
        with weftdb.open(folder) as db:
            assert db.execute("SELECT count(*) FROM weft_builds").scalar() == 0
            if ("v", "materialized view") in db.execute("SHOW TABLES").rows():
                whole += 1
                result = db.execute("VERIFY MATERIALIZED VIEW v")
                assert result.rows() == [], result.notices
            else:
                assert db.execute("SELECT count(*) FROM weft_views").scalar() == 0
    assert whole
