"""AS OF in SQL: the past beside the present, in queries, views and changes, and what it refuses."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest
import weftdb
from weftdb.base.interface import Database
from weftdb.engine.database import Engine
from weftdb.sql.session import Session


def open_snapshots(db: Database) -> int:
    """Pins besides the one of the question itself."""
    return int(db.execute("SELECT value FROM weft_metrics WHERE name = 'weft_snapshots_open'").scalar()) - 1


@pytest.fixture
def t(database: Database) -> Any:
    database.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, a INT)")
    return database


def test_every_form_reads_the_version_it_names(t: Database) -> None:
    version = t.execute("INSERT INTO t VALUES (1, 10), (2, 20)").version
    moment = datetime.now(UTC)
    t.execute("UPDATE t SET a = a + 1")
    t.execute("DELETE FROM t WHERE id = 2")
    text = f"'{moment.isoformat()}'"
    for clause, parameters in [
        (f"AS OF VERSION {version}", []),
        (f"FOR VERSION AS OF {version}", []),
        (f"AS OF {version}", []),
        (f"AS OF VERSION {version + 1} - 1", []),
        ("AS OF $1", [version]),
        ("AS OF VERSION $1", [version]),
        (f"AS OF TIMESTAMP {text}", []),
        (f"FOR SYSTEM_TIME AS OF {text}", []),
        (f"AS OF {text}", []),
        ("AS OF $1", [moment]),
        ("AS OF $1", [moment.replace(tzinfo=None)]),
        ("AS OF $1", [moment.isoformat()]),
        ("AS OF TIMESTAMP $1", [moment]),
    ]:
        for alias in ("", "AS o", "o"):
            found = t.execute(f"SELECT id, a FROM t {clause} {alias} ORDER BY id", parameters).rows()
            assert found == [(1, 10), (2, 20)], (clause, alias)
        assert t.execute(f"SELECT a FROM t {clause} WHERE id = 2", parameters).rows() == [(20,)]
    assert t.execute("SELECT a FROM t AS OF TIMESTAMP now() + interval '1 day'").rows() == [(11,)]
    assert t.execute("SELECT of.a FROM t AS of").rows() == [(11,)]


def test_a_time_without_a_zone_is_in_the_sessions_zone(t: Database) -> None:
    t.execute("INSERT INTO t VALUES (1, 10)")
    text = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
    t.execute("UPDATE t SET a = 11")
    assert t.execute(f"SELECT a FROM t AS OF '{text}'").rows() == [(10,)]
    assert t.execute(f"SET timezone = 'America/New_York'; SELECT a FROM t AS OF '{text}'").rows() == [(11,)]


def test_then_and_now_are_joined_and_the_past_is_written_back(t: Database) -> None:
    version = t.execute("INSERT INTO t VALUES (1, 10), (2, 20), (3, 30)").version
    t.execute("UPDATE t SET a = a * 2 WHERE id < 3")
    t.execute("DELETE FROM t WHERE id = 3")
    joined = f"SELECT n.id, n.a - o.a FROM t n JOIN t AS OF {version} o ON o.id = n.id ORDER BY 1"
    assert t.execute(joined).rows() == [(1, 10), (2, 20)]
    assert t.execute(f"SELECT (SELECT sum(a) FROM t AS OF {version}) - sum(a) FROM t").scalar() == 0
    t.execute(f"UPDATE t SET a = o.a FROM t AS OF {version} o WHERE o.id = t.id AND t.id = 1")
    t.execute("INSERT INTO t SELECT * FROM t AS OF $1 WHERE id = 3", [version])
    assert t.execute("SELECT * FROM t ORDER BY id").rows() == [(1, 10), (2, 40), (3, 30)]
    t.execute(f"CREATE TABLE copy AS SELECT * FROM t AS OF {version}")
    assert t.execute("SELECT sum(a) FROM copy").scalar() == 60


def test_names_and_columns_are_those_of_the_version(t: Database) -> None:
    version = t.execute("INSERT INTO t VALUES (1, 10)").version
    t.execute("ALTER TABLE t RENAME COLUMN a TO b")
    t.execute("ALTER TABLE t ADD COLUMN c TEXT DEFAULT 'x'")
    assert t.execute(f"SELECT * FROM t AS OF {version}").arrow().column_names == ["id", "a"]
    assert t.execute(f"SELECT o.a, n.b, n.c FROM t AS OF {version} o, t n").rows() == [(10, 10, "x")]
    t.execute("CREATE VIEW v AS SELECT id, b FROM t")
    with pytest.raises(weftdb.Invalid, match='relation "v" does not exist'):
        t.execute(f"SELECT * FROM v AS OF {version}")
    seen = t.execute("INSERT INTO t VALUES (2, 20, 'y')").version
    t.execute("DELETE FROM t")
    assert t.execute(f"SELECT * FROM v AS OF {seen} ORDER BY id").rows() == [(1, 10), (2, 20)]
    assert t.execute(f"SELECT count(*) FROM v, v AS OF {seen} o").scalar() == 0


def test_a_plan_that_is_kept_reads_the_version_of_each_execution(t: Database) -> None:
    versions = [t.execute("INSERT INTO t VALUES ($1, $1)", [n]).version for n in range(5)]
    for count, version in enumerate(versions, 1):
        assert t.execute("SELECT count(*) FROM t AS OF $1", [version]).scalar() == count
        assert t.execute("SELECT a FROM t AS OF $1 WHERE id = $2", [version, 3]).rows() == [(3,)][: count // 4]
    t.execute("ALTER TABLE t RENAME COLUMN a TO b")
    with pytest.raises(weftdb.Invalid, match='column "a" does not exist'):
        t.execute("SELECT a FROM t AS OF $1 WHERE id = $2", [t.version, 3])


def test_a_transaction_reads_the_past_without_its_own_writes(t: Database) -> None:
    version = t.execute("INSERT INTO t VALUES (1, 10)").version
    with t.transaction() as txn:
        txn.execute("UPDATE t SET a = 11")
        assert txn.execute(f"SELECT o.a, n.a FROM t n, t AS OF {version} o").rows() == [(10, 11)]
        later = t.execute("INSERT INTO t VALUES (2, 20)").version
        assert txn.execute("SELECT a FROM t AS OF $1", [datetime(2100, 1, 1)]).rows() == [(10,)]
    with t.snapshot() as snapshot:
        newer = t.execute("INSERT INTO t VALUES (3, 30)").version
        assert later < newer
        with pytest.raises(weftdb.Invalid, match="newer than what the statement reads") as caught:
            snapshot.execute(f"SELECT * FROM t AS OF {newer}")
        assert caught.value.sqlstate == "22023"


def test_explain_says_which_version(t: Database) -> None:
    version = t.execute("INSERT INTO t VALUES (1, 10)").version
    t.execute("UPDATE t SET a = 11")
    for analyze in ("", "ANALYZE"):
        plan = t.execute(f"EXPLAIN {analyze} SELECT * FROM t AS OF $1 o WHERE id = 1", [version]).rows()
        assert any(line.startswith(f"Primary Key Get on t AS OF VERSION {version} AS o  ") for (line,) in plan)
    with pytest.raises(weftdb.Invalid, match="needs the values of its parameters"):
        t.execute("EXPLAIN SELECT * FROM t AS OF $1")


@pytest.mark.parametrize(
    ("sql", "state", "message"),
    [
        ("SELECT * FROM t AS OF 1000000", "22023", "version 1000000 does not exist"),
        ("SELECT * FROM t AS OF VERSION -1", "22023", "version -1 does not exist"),
        ("SELECT * FROM t AS OF VERSION NULL", "22004", "AS OF NULL"),
        ("SELECT * FROM t AS OF VERSION 1.5", "42804", "a version must be type bigint, not type numeric"),
        ("SELECT * FROM t AS OF VERSION 'x'", "22P02", "invalid input syntax for type bigint"),
        ("SELECT * FROM t AS OF '2020-13-01'", "22008", "date/time field value out of range"),
        ("SELECT * FROM t AS OF VERSION id", "42703", 'column "id" does not exist'),
        ("SELECT * FROM t AS OF VERSION (SELECT 1)", "0A000", "AS OF takes a value that needs no query"),
        ("SELECT * FROM t AS OF VERSION", "42601", "syntax error"),
        ("SELECT * FROM t FOR SYSTEM_TIME BETWEEN 1 AND 2", "42601", "syntax error"),
        ("SELECT * FROM (SELECT 1 AS x) s AS OF 1", "42601", "syntax error"),
        ("WITH w AS (SELECT 1 AS x) SELECT * FROM w AS OF 1", "0A000", "a WITH query"),
        ("SELECT * FROM weft_tables AS OF 1", "0A000", "tells of this moment"),
        ("SELECT * FROM generate_series(1, 2) AS OF 1", "0A000", "VERSION in FROM"),
        ("CREATE VIEW v AS SELECT * FROM t AS OF 1", "0A000", "AS OF in a view"),
        ("CREATE MATERIALIZED VIEW v AS SELECT id, count(*) FROM t AS OF 1 GROUP BY id", "0A000", "AS OF in a view"),
        ("UPDATE t AS OF 1 SET a = 1", "0A000", "AS OF on the table that is written"),
        ("DELETE FROM t AS OF 1", "0A000", "AS OF on the table that is written"),
        ("INSERT INTO t AS OF 1 VALUES (1)", "42601", "syntax error"),
    ],
)
def test_what_is_no_past_is_refused(t: Database, sql: str, state: str, message: str) -> None:
    with pytest.raises(weftdb.Invalid, match=message) as caught:
        t.execute(sql)
    assert caught.value.sqlstate == state
    assert open_snapshots(t) == 0


def test_what_history_has_forgotten_is_refused_by_name() -> None:
    with weftdb.open(history_seconds=0) as db:
        db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY)")
        version = db.execute("INSERT INTO t VALUES (1)").version
        for n in range(3):
            db.execute("INSERT INTO t VALUES ($1)", [n + 2])
            db.execute("VACUUM")
        with pytest.raises(weftdb.Invalid, match="history goes back to version") as caught:
            db.execute(f"SELECT * FROM t AS OF {version}")
        assert caught.value.sqlstate == "72000"


def test_the_past_is_pinned_until_the_result_is_read_closed_or_forgotten() -> None:
    with Engine.open(None) as engine, Session(engine) as session:
        session.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, pad TEXT)")
        session.execute("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 200000) AS i")
        version = session.version
        session.execute("DELETE FROM t")

        def pins() -> int:
            return next(int(m.value) for m in engine.metrics() if m.name == "weft_snapshots_open")

        sql = f"SELECT * FROM t AS OF {version}"
        read = session.execute(sql)
        assert pins() == 2
        assert read.arrow().num_rows == 200_000
        assert pins() == 0
        closed = session.execute(sql)
        closed.close()
        assert pins() == 0
        forgotten = session.execute(sql)
        del forgotten
        assert pins() == 0
        with pytest.raises(weftdb.WeftError):
            session.execute(f"SELECT 1 / (id - id) FROM t AS OF {version}").arrow()
        assert pins() == 0
        session.begin()
        assert session.execute(sql).arrow().num_rows == 200_000
        assert pins() == 1
        session.rollback()
        assert pins() == 0


def test_random_changes_are_read_back_at_every_version(db: Database) -> None:
    rng = random.Random(7)
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, a INT)")
    model: dict[int, int] = {}
    kept = [(db.version, dict(model))]
    for step in range(60):
        id = rng.randrange(8)
        if rng.random() < 0.3:
            db.execute("DELETE FROM t WHERE id = $1", [id])
            model.pop(id, None)
        else:
            db.execute("INSERT INTO t VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET a = excluded.a", [id, step])
            model[id] = step
        kept.append((db.version, dict(model)))
        if step % 20 == 19:
            db.execute("VACUUM")
        version, then = rng.choice(kept)
        assert dict(db.execute("SELECT id, a FROM t AS OF $1", [version]).rows()) == then
        both = db.execute("SELECT n.id, o.a FROM t n LEFT JOIN t AS OF $1 o ON o.id = n.id", [version]).rows()
        assert dict(both) == {id: then.get(id) for id in model}
