"""SELECT … FOR UPDATE and FOR SHARE: a locked row that another transaction changes is a Conflict; nobody waits."""

from __future__ import annotations

import itertools

import pyarrow as pa
import pytest
import weftdb
from grouped import in_one_group
from weftdb.base.errors import Conflict
from weftdb.base.interface import Database, Transaction
from weftdb.engine.changes import Commit
from weftdb.engine.database import Engine
from weftdb.sql.session import Session

LEVELS = ("read committed", "snapshot", "serializable")


@pytest.fixture
def db(database: Database) -> Database:
    database.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, v INT); CREATE TABLE log (n INT, v INT);"
        "CREATE VIEW view AS SELECT * FROM t;"
        "INSERT INTO t VALUES (1, 10), (2, 20), (3, 30); INSERT INTO log VALUES (1, 1), (2, 2)"
    )
    return database


def refused(transaction: Transaction | Session, sql: str) -> weftdb.WeftError:
    with pytest.raises(weftdb.WeftError) as caught:
        transaction.execute(sql)
    return caught.value


QUERIES = (
    "SELECT v FROM t WHERE id = 1 FOR UPDATE",
    "SELECT v FROM t WHERE v < 15 FOR NO KEY UPDATE NOWAIT",
    "SELECT v + 1 AS more FROM public.t AS x ORDER BY id LIMIT 1 FOR SHARE OF x",
    "SELECT t.v, sum(t.v) OVER () FROM t, log WHERE log.n = t.id AND t.id = 1 FOR KEY SHARE OF T",
    "WITH c AS (SELECT 1 AS n) SELECT * FROM t JOIN c ON c.n = t.id, generate_series(1, 2) AS g FOR UPDATE",
    "SELECT * FROM t LEFT JOIN log ON log.n = t.id WHERE t.id = 1 FOR UPDATE OF t FOR SHARE OF t",
)


@pytest.mark.parametrize("level", LEVELS)
def test_a_locked_row_must_not_change(db: Database, level: str) -> None:
    changes = (("UPDATE t SET v = v WHERE id = 2", False), ("UPDATE t SET v = v WHERE id = 1", True))
    for query, (change, met) in itertools.product(QUERIES, changes):
        with db.transaction(isolation=level) as txn:
            plain = query.partition(" FOR ")[0]
            before, locked = txn.execute(plain), txn.execute(query)
            assert sorted(before.rows()) == sorted(locked.rows())
            assert before.arrow().schema == locked.arrow().schema
            db.execute(change)
            if met:
                with pytest.raises(Conflict) as caught:
                    txn.commit()
                assert caught.value.sqlstate == "40001"
                assert (caught.value.table, caught.value.key) == ("t", (1,))
            elif level != "serializable":
                txn.commit()  # although it has written nothing: that is what it is for
            else:
                txn.rollback()


@pytest.mark.parametrize("level", ["read committed", "snapshot"])
def test_write_skew_is_prevented_by_locking_what_was_read(db: Database, level: str) -> None:
    one, two = (db.transaction(isolation=level) for _ in range(2))
    for txn in (one, two):
        assert len(txn.execute("SELECT v FROM t WHERE id IN (1, 2) FOR UPDATE").rows()) == 2
    one.table("t").update(1, v=0)
    two.table("t").update(2, v=0)
    one.commit()
    with pytest.raises(Conflict):
        two.commit()


def test_two_that_lock_one_row_and_write_others_both_commit(db: Database) -> None:
    one, two = (db.transaction() for _ in range(2))
    for txn, id in ((one, 2), (two, 3)):
        txn.execute("SELECT v FROM t WHERE id = 1 FOR UPDATE")
        txn.table("t").update(id, v=0)
    one.commit()
    two.commit()


def test_at_read_committed_what_came_before_the_lock_is_no_conflict(db: Database) -> None:
    for when, met in (("before", False), ("between", True)):
        with db.transaction(isolation="read committed") as txn:
            assert txn.execute("SELECT count(*) FROM t").scalar() == 3
            if when == "before":
                db.execute("UPDATE t SET v = v + 1 WHERE id = 1")
            txn.execute("SELECT v FROM t WHERE id = 1 FOR UPDATE")
            if when == "between":
                db.execute("UPDATE t SET v = v + 1 WHERE id = 1")
            txn.execute("SELECT v FROM t WHERE id = 1 FOR UPDATE")  # once more does not undo the first
            if met:
                with pytest.raises(Conflict):
                    txn.commit()
            else:
                txn.commit()


def test_rows_without_primary_key_are_locked_and_own_ones_are_nobody_elses(db: Database) -> None:
    for n, met in ((2, False), (1, True)):
        with db.transaction() as txn:
            txn.execute("INSERT INTO log VALUES (1, 7)")
            txn.execute("UPDATE t SET v = 31 WHERE id = 3")
            assert len(txn.execute("SELECT * FROM log WHERE n = 1 FOR UPDATE").rows()) == 2
            txn.execute("SELECT * FROM t WHERE id = 3 FOR UPDATE")
            db.execute(f"DELETE FROM log WHERE n = {n}")
            if met:
                with pytest.raises(Conflict) as caught:
                    txn.commit()
                assert caught.value.table == "log"
            else:
                txn.commit()
                db.execute("DELETE FROM log WHERE v = 7")


def test_a_lock_is_undone_by_rollback_to(db: Database) -> None:
    for undone in (True, False):
        with db.transaction() as txn:
            txn.savepoint("before")
            txn.execute("SELECT * FROM t FOR UPDATE")
            if undone:
                txn.rollback_to("before")
            txn.table("log").insert((3, 3))
            db.execute("UPDATE t SET v = v + 1")
            if undone:
                txn.commit()
            else:
                with pytest.raises(Conflict):
                    txn.commit()


def test_where_nothing_may_be_written_nothing_is_locked(db: Database) -> None:
    query = "SELECT v FROM t WHERE id = 1 FOR UPDATE"
    assert db.execute(query).rows() == [(10,)]
    with db.transaction(read_only=True) as txn:
        assert refused(txn, query).sqlstate == "25006"
        txn.rollback()
    with db.snapshot() as snapshot, pytest.raises(weftdb.Invalid) as caught:
        snapshot.execute(query)
    assert caught.value.sqlstate == "25006"


# -- by way of the engine ----------------------------------------------------------------------------------------------


@pytest.fixture
def session() -> Session:
    opened = Session(Engine.open(None))
    opened.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 10), (2, 20), (3, 30)")
    return opened


@pytest.mark.parametrize(
    ("query", "sqlstate", "words"),
    [
        ("SELECT v FROM t FOR UPDATE SKIP LOCKED", "0A000", "SKIP LOCKED"),
        ("SELECT v FROM t FOR UPDATE WAIT 5", "0A000", "WAIT"),
        ("SELECT v FROM t FOR UPDATE OF log", "42P01", '"log"'),
        ("SELECT v FROM t AS x FOR UPDATE OF t", "42P01", '"t"'),
        ("SELECT count(*) FROM t FOR UPDATE", "0A000", "aggregate"),
        ("SELECT v FROM t GROUP BY v FOR UPDATE", "0A000", "GROUP BY"),
        ("SELECT DISTINCT v FROM t FOR UPDATE", "0A000", "DISTINCT"),
        ("(SELECT v FROM t) FOR UPDATE", "0A000", "parentheses"),
        ("VALUES (1) FOR UPDATE", "0A000", "VALUES"),
        ("SELECT 1 UNION SELECT 2 FOR UPDATE", "0A000", "FOR UPDATE"),
        ("SELECT * FROM (SELECT * FROM t FOR UPDATE) AS x", "0A000", "FOR UPDATE"),
        ("SELECT * FROM (SELECT * FROM t) AS x FOR UPDATE", "0A000", '"x" cannot be locked: it is no table'),
        ("WITH c AS (SELECT 1) SELECT * FROM C FOR UPDATE OF c", "0A000", '"c" cannot be locked'),
        ("SELECT * FROM view FOR UPDATE", "0A000", "view"),
        ("SELECT * FROM weft_tables FOR UPDATE", "0A000", "view"),
        ("SELECT * FROM t LEFT JOIN log ON n = id FOR UPDATE", "0A000", '"log" cannot be locked: it is on the null'),
        ("SELECT * FROM t RIGHT JOIN log ON n = id FOR SHARE OF t", "0A000", '"t" cannot be locked'),
        ("SELECT * FROM t AS x (a, b) FOR UPDATE", "0A000", '"x" cannot be locked'),
        ("SELECT * FROM t AS OF VERSION 1 FOR UPDATE", "0A000", "AS OF"),
        ("INSERT INTO log SELECT id, v FROM t FOR UPDATE", "0A000", "FOR UPDATE"),
        ("CREATE VIEW x AS SELECT id, v FROM t FOR UPDATE", "0A000", "FOR UPDATE"),
    ],
)
def test_what_cannot_be_locked_is_refused_by_name(session: Session, query: str, sqlstate: str, words: str) -> None:
    session.execute("CREATE TABLE log (n INT, v INT); CREATE VIEW view AS SELECT * FROM t")
    error = refused(session, query)
    assert error.sqlstate == sqlstate
    assert words in str(error)


def test_prepared_and_explained(session: Session) -> None:
    session.execute("PREPARE mine AS SELECT v FROM t WHERE id = $1 FOR UPDATE")
    for statement in ("EXECUTE mine(1)", "EXPLAIN ANALYZE SELECT v FROM t WHERE id = 1 FOR UPDATE"):
        session.execute("BEGIN")
        session.execute(statement)
        Session(session.engine).execute("UPDATE t SET v = 0 WHERE id = 1")
        with pytest.raises(Conflict):
            session.execute("COMMIT")
    lines = [line for (line,) in session.execute("EXPLAIN SELECT v FROM t AS x FOR UPDATE").rows()]
    assert lines[0] == "Lock rows of x"


def test_mates_in_a_group_that_lock_what_the_other_writes(session: Session) -> None:
    """Each record holds one of them; of those that lock and write different rows it holds both."""
    engine = session.engine
    for locked, outcome in (((1, 2), Conflict), ((3, 3), Commit)):
        commits = []
        for id in (1, 2):
            transaction = engine.begin()
            table = transaction.catalog.table("t")
            keys = pa.RecordBatch.from_pylist([{"id": key} for key in locked], schema=table.arrow_schema).select(["id"])
            transaction.lock(table, keys)
            transaction.put(table, pa.RecordBatch.from_pylist([{"id": id, "v": 0}], schema=table.arrow_schema))
            commits.append(transaction.commit)
        first, second = in_one_group(engine, *commits)
        assert {type(first), type(second)} == {Commit, outcome}


def test_more_than_is_noted_is_the_whole_table(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weftdb.engine.read_set.READ_KEYS_MAX", 2)
    for ids, met in (("1, 2", False), ("1, 2, 4", True)):
        session.begin()
        for id in ids.split(", "):
            Session(session.engine).put("t", (4, 0))
            session.execute(f"SELECT v FROM t WHERE id = {id} FOR UPDATE")
        Session(session.engine).put("t", (5, 0))
        if met:
            with pytest.raises(Conflict):
                session.commit()
        else:
            session.commit()
