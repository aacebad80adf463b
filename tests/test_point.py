"""Statements of one row, found by its primary key: the same as by the ordinary way, which is taken for a new text."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from itertools import count
from typing import Any

import pyarrow as pa
import pytest
import weftdb
from every_type import DDL, EXTREMES, VALUES, plain
from weftdb.base.interface import Database, Transaction
from weftdb.base.result import Result
from weftdb.engine.database import Engine
from weftdb.sql.embedded import EmbeddedDatabase
from weftdb.sql.session import Session

_NUMBERS = count()
TABLE = "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT, n INT)"


@pytest.fixture
def db() -> EmbeddedDatabase:
    return weftdb.open()


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were run as a point read."""
    taken: list[str] = []
    original = Session._point

    def noted(self: Session, script: Any, parameters: Any) -> Result | None:
        result = original(self, script, parameters)
        if result is not None:
            taken.append(script.sources[0].text)
        return result

    monkeypatch.setattr(Session, "_point", noted)
    return taken


def ordinary(at: Database | Transaction, sql: str, parameters: list[object]) -> Result:
    """The result of a text that was never seen before."""
    return at.execute(f"{sql} -- {next(_NUMBERS)}", parameters)


def same(at: Any, sql: str, parameters: list[object], *, points: list[str]) -> list[tuple[Any, ...]]:
    """The rows that both ways agree on; ``sql`` must be a point read when it is run again."""
    at.execute(sql, parameters).rows()
    before = len(points)
    found, known = at.execute(sql, parameters), ordinary(at, sql, parameters)
    assert len(points) == before + 1, f"{sql} with {parameters} is no point read"
    assert found.schema == known.schema
    assert found.types == known.types
    assert found.version == known.version
    assert list(map(plain, found.rows())) == list(map(plain, known.rows()))
    assert found.arrow().equals(known.arrow(), check_metadata=True) or "NaN" in str(found.rows()).replace("nan", "NaN")
    return found.rows()


def test_values_of_every_type_are_those_of_a_scan(db: EmbeddedDatabase, points: list[str]) -> None:
    db.execute(DDL)
    names = ("id", *VALUES)
    rows = [dict(row, id=number) for number, row in enumerate(EXTREMES)]
    db.table("every_type").put([{name: row.get(name) for name in names} for row in rows])
    for number in range(len(rows) + 1):
        found = same(db, "SELECT * FROM every_type WHERE id = $1", [number], points=points)
        assert len(found) == (number < len(rows))


KEYS: dict[str, list[Any]] = {
    "SMALLINT": [0, -5, 32767, 40000],
    "INT": [0, 7, -(2**31), 2**31],
    "BIGINT": [1, 2**40, -(2**63), 2**63 - 1],
    "TEXT": ["", "a", "ä", "it's", "x" * 5000],
    "VARCHAR(3)": ["", "abc", "abcd"],
    "BYTEA": [b"", b"\x00\xff"],
    "DOUBLE PRECISION": [0.0, -0.0, 1.5, float("nan"), float("inf")],
}


@pytest.mark.parametrize("type", KEYS)
def test_a_key_of_any_type_finds_its_row_or_none(db: EmbeddedDatabase, type: str) -> None:
    db.execute(f"CREATE TABLE t (id {type} PRIMARY KEY, n INT)")
    for number, key in enumerate(KEYS[type]):
        try:
            db.table("t").put((key, number))
        except weftdb.Invalid:
            continue
    asked = [*KEYS[type], None, 1, 1.0, "1", True, b"1"]
    for key in asked * 2:  # twice: the second time the text is known for the class of the key
        outcomes = []
        for run in (db.execute, lambda sql, given: ordinary(db, sql, given)):
            try:
                outcomes.append([plain(row) for row in run("SELECT n, id FROM t WHERE id = $1", [key]).rows()])
            except weftdb.Invalid as error:
                outcomes.append(error.sqlstate)
        assert outcomes[0] == outcomes[1], key


def test_a_key_of_several_columns_may_be_parameters_and_literals(db: EmbeddedDatabase, points: list[str]) -> None:
    db.execute(
        "CREATE TABLE s (device INT, at TIMESTAMP, kind TEXT, n INT, PRIMARY KEY (device, at, kind))"
        " WITH (key = 'device', time = 'at', every = '1 day', shards = 3)"
    )
    moment = dt.datetime(2024, 3, 1, 12)
    db.table("s").put(
        [(d, moment + dt.timedelta(days=day), k, d * day) for d in range(5) for day in range(4) for k in "ab"]
    )
    text = "SELECT n, kind AS k, n FROM s WHERE kind = $1 AND device = $2 AND at = TIMESTAMP '2024-03-03 12:00'"
    assert same(db, text, ["b", 3], points=points) == [(6, "b", 6)]
    assert same(db, text, ["c", 3], points=points) == []
    reordered = text.replace("$1", "$0").replace("$2", "$1").replace("$0", "$2")
    assert same(db, reordered, [4, "a"], points=points) == [(8, "a", 8)]


@pytest.mark.parametrize(
    ("condition", "given", "found"),
    [
        ("id = $1::int", 2**40, "22003"),
        ("id = $1::smallint", 70_000, "22003"),
        ("id = $1::bigint::smallint", 70_000, "22003"),
        ("id = $1::bigint::smallint::bigint", 70_000, "22003"),
        ("id = $1::int", 70_000, [(70_000,)]),
        ("id = $1", 2**70, []),
    ],
)
def test_a_cast_refuses_the_second_time_what_it_refused_the_first(
    db: EmbeddedDatabase, condition: str, given: int, found: Any
) -> None:
    db.execute(TABLE)
    db.execute("INSERT INTO t VALUES (70000, 'a', 1)")
    for _ in range(3):
        try:
            answer = db.execute(f"SELECT id FROM t WHERE {condition}", [given]).rows()
        except weftdb.Invalid as error:
            answer = error.sqlstate
        assert answer == found


def test_a_cast_cuts_text_the_second_time_as_it_did_the_first(db: EmbeddedDatabase) -> None:
    db.execute("CREATE TABLE t (name TEXT PRIMARY KEY, n INT)")
    db.execute("INSERT INTO t VALUES ('abc', 1), ('abcdef', 2)")
    for type in ("varchar(3)", "varchar(3)::text"):
        for _ in range(3):
            assert db.execute(f"SELECT n FROM t WHERE name = $1::{type}", ["abcdef"]).rows() == [(1,)]


def test_a_literal_of_an_instant_is_read_in_the_time_zone_of_the_session(db: EmbeddedDatabase) -> None:
    db.execute("CREATE TABLE t (at TIMESTAMPTZ PRIMARY KEY, n INT)")
    db.execute("INSERT INTO t VALUES ('2024-01-01 00:00Z', 0), ('2024-01-01 05:00Z', 5)")
    session = Session(db.engine)
    for zone, n in (("UTC", 0), ("UTC", 0), ("America/New_York", 5), ("UTC", 0), ("America/New_York", 5)):
        session.execute(f"SET timezone = '{zone}'")
        assert session.execute("SELECT n FROM t WHERE at = '2024-01-01 00:00'").rows() == [(n,)]
        assert session.execute("SELECT n FROM t WHERE at = $1", ["2024-01-01 00:00"]).rows() == [(n,)]


def test_years_that_only_arrow_can_say_are_read(db: EmbeddedDatabase) -> None:
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, day DATE)")
    far = pa.array([20_000 * 365], pa.int32()).cast(pa.date32())
    db.table("t").put(pa.table({"id": pa.array([1]), "day": far}))
    for _ in range(2):
        assert db.execute("SELECT day FROM t WHERE id = 1").arrow().column(0).combine_chunks() == far


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM t WHERE id = $1 OR id = 2",
        "SELECT * FROM t WHERE id = $1 AND n = 1",
        "SELECT * FROM t WHERE id <= $1",
        "SELECT id + $1 FROM t WHERE id = $1",
        "SELECT count(*) FROM t WHERE id = $1",
        "SELECT * FROM t WHERE id = $1 LIMIT 0",
        "SELECT * FROM t WHERE id = $1 AND id = 2",
        "SELECT * FROM t WHERE id = $1 + 0",
        "SELECT a.* FROM t a JOIN t b USING (id) WHERE a.id = $1",
        "SELECT * FROM t AS OF VERSION 1 WHERE id = $1",
    ],
)
def test_what_is_more_than_a_key_goes_the_ordinary_way(db: EmbeddedDatabase, points: list[str], sql: str) -> None:
    db.execute(TABLE)
    db.table("t").put([(1, "a", 1), (2, "b", 2)])
    for key in (1, 2, 1):
        assert db.execute(sql, [key]).rows() == ordinary(db, sql, [key]).rows()
    assert not points


def test_a_definition_that_changed_is_not_read_by_the_old_one(db: EmbeddedDatabase, points: list[str]) -> None:
    db.execute(TABLE)
    db.table("t").put((1, "a", 5))
    sql = "SELECT * FROM t WHERE id = $1"
    table = db.table("t")
    assert same(db, sql, [1], points=points) == [(1, "a", 5)]
    db.execute("ALTER TABLE t ADD COLUMN x INT DEFAULT 9")
    assert db.execute(sql, [1]).rows() == ordinary(db, sql, [1]).rows() == [(1, "a", 5, 9)]
    assert table.get(1) == {"id": 1, "name": "a", "n": 5, "x": 9}
    db.execute("DROP TABLE t")
    with pytest.raises(weftdb.Invalid, match="does not exist"):
        db.execute(sql, [1])
    with pytest.raises(weftdb.Invalid, match="does not exist"):
        table.get(1)
    db.execute("CREATE TABLE t (name TEXT, id INT PRIMARY KEY)")
    db.table("t").put(("new", 1))
    assert same(db, sql, [1], points=points) == [("new", 1)]
    assert table.get(1) == {"name": "new", "id": 1}


def test_transactions_and_snapshots_read_what_is_theirs(db: EmbeddedDatabase, points: list[str]) -> None:
    db.execute(TABLE)
    db.table("t").put([(1, "a", 1), (2, "b", 2)])
    sql = "SELECT name FROM t WHERE id = $1"
    assert same(db, sql, [1], points=points) == [("a",)]
    with db.snapshot() as old, db.transaction() as txn:
        assert txn.execute(sql, [1]).rows() == [("a",)]
        txn.execute("UPDATE t SET name = 'mine' WHERE id = 1")
        txn.table("t").delete(2)
        db.table("t").put((3, "c", 3))
        assert same(txn, sql, [1], points=points) == [("mine",)]
        assert same(txn, sql, [2], points=points) == []
        assert same(txn, sql, [3], points=points) == []
        assert same(old, sql, [1], points=points) == [("a",)]
        assert same(old, sql, [3], points=points) == []
        assert db.execute(sql, [3]).rows() == [("c",)]
    assert same(db, sql, [1], points=points) == [("mine",)]


def test_a_read_of_one_row_is_seen_by_serializable(db: EmbeddedDatabase, points: list[str]) -> None:
    db.execute(TABLE)
    db.table("t").put([(1, "a", 1), (2, "b", 2)])
    sql = "SELECT n FROM t WHERE id = $1"
    same(db, sql, [1], points=points)
    txn = db.transaction(isolation="serializable")
    assert txn.execute(sql, [1]).scalar() == 1
    txn.table("t").put((2, "b", 20))
    db.table("t").put((1, "a", 10))
    with pytest.raises(weftdb.Conflict):
        txn.commit()


def test_a_transaction_that_failed_waits_for_its_end(db: EmbeddedDatabase, points: list[str]) -> None:
    db.execute(TABLE)
    sql = "SELECT n FROM t WHERE id = 1"
    same(db, sql, [], points=points)
    session = Session(db.engine)
    session.execute("BEGIN")
    assert session.execute(sql).rows() == []
    with pytest.raises(weftdb.Invalid):
        session.execute("SELECT 1/0")
    with pytest.raises(weftdb.Invalid, match="aborted"):
        session.execute(sql)
    session.execute("ROLLBACK")
    assert session.execute(sql).rows() == []


def test_a_result_of_tuples_can_be_taken_in_every_form(db: EmbeddedDatabase, points: list[str]) -> None:
    db.execute(TABLE)
    db.table("t").put((1, "a", 1))

    def fresh() -> Result:
        return db.execute("SELECT name FROM t WHERE id = 1")

    fresh()
    forms: list[Callable[[Result], object]] = [
        Result.rows,
        Result.scalar,
        lambda r: r.arrow().to_pylist(),
        lambda r: r.reader().read_all().to_pylist(),
        list,
    ]
    wanted = [[("a",)], "a", [{"name": "a"}], [{"name": "a"}], [("a",)]]
    assert [form(fresh()) for form in forms] == wanted
    result = fresh()
    assert [form(result) for form in forms[:3]] == wanted[:3]
    assert result.rows() == [("a",)]
    streamed = fresh()
    list(streamed)
    with pytest.raises(weftdb.Closed):
        streamed.rows()
    closed = fresh()
    closed.close()
    with pytest.raises(weftdb.Closed):
        closed.rows()
    assert points


def test_the_newest_row_is_not_taken_where_history_may_have_been_dropped() -> None:
    with Engine.open(None) as engine:
        session = Session(engine)
        session.execute(TABLE)
        session.execute("INSERT INTO t VALUES (1, 'a', 1)")
        table = session.describe("t")
        assert engine.newest_row(table, (1,)) == ({"id": 1, "name": "a", "n": 1}, engine.version)
        engine._pins.floor = engine.version + 1
        assert engine.newest_row(table, (1,)) is None


def test_gets_beside_writes_and_merges_never_miss_a_row() -> None:
    db = weftdb.open(history_seconds=0)
    db.execute(TABLE)
    db.table("t").put([(id, "a", 0) for id in range(50)])
    table, stop, seen = db.table("t"), threading.Event(), 0

    def write() -> None:
        for n in range(1, 400):
            db.table("t").put((n % 50, "a", n))
            if n % 40 == 0:
                db.execute("VACUUM")
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    last: dict[int, int] = {}
    while not stop.is_set():
        for id in range(50):
            for row in (
                table.get(id),
                dict(
                    zip(("id", "name", "n"), db.execute("SELECT * FROM t WHERE id = $1", [id]).rows()[0], strict=True)
                ),
            ):
                assert row is not None
                assert row["n"] >= last.get(id, 0)
                last[id] = row["n"]
                seen += 1
    writer.join()
    assert seen
