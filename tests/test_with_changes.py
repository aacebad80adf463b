"""WITH around INSERT, UPDATE and DELETE, and SET from a row: the same rows as statement by statement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import weftdb
from weftdb.base.errors import Invalid

A = [(number, f"a{number}") for number in range(6)]
B = [(number, f"b{number}") for number in range(4, 9)]


@pytest.fixture
def db() -> Iterator[weftdb.Database]:
    with weftdb.open() as database:
        for name, rows in (("a", A), ("b", B)):
            database.execute(f"CREATE TABLE {name} (id INT PRIMARY KEY, v TEXT)")
            database.table(name).put(rows)
        yield database


def state(db: weftdb.Database) -> tuple[list[Any], list[Any]]:
    return db.execute("SELECT * FROM a ORDER BY id").rows(), db.execute("SELECT * FROM b ORDER BY id").rows()


# The statement, what it returns, and the statements that say the same one after the other. Returned rows: PostgreSQL's.
CASES = [
    (
        "WITH gone AS (DELETE FROM a WHERE id < 2 RETURNING *) INSERT INTO b SELECT * FROM gone RETURNING id",
        [(0,), (1,)],
        ["INSERT INTO b SELECT * FROM a WHERE id < 2", "DELETE FROM a WHERE id < 2"],
    ),
    (
        "WITH u AS (UPDATE a SET v = upper(v) WHERE id >= 4 RETURNING id, v) "
        "SELECT u.id, u.v, b.v FROM u JOIN b USING (id) ORDER BY 1",
        [(4, "A4", "b4"), (5, "A5", "b5")],
        ["UPDATE a SET v = upper(v) WHERE id >= 4"],
    ),
    (
        "WITH n(id) AS (SELECT generate_series(100, 102)), i AS (INSERT INTO a SELECT id, 'new' FROM n RETURNING id), "
        "c AS (SELECT count(*) AS c FROM i) INSERT INTO b SELECT id + c, 'child' FROM i, c RETURNING id",
        [(103,), (104,), (105,)],
        [
            "INSERT INTO a SELECT generate_series(100, 102), 'new'",
            "INSERT INTO b SELECT generate_series(103, 105), 'child'",
        ],
    ),
    (
        "WITH u AS (UPDATE a SET v = 'x' WHERE id = 77 RETURNING id) "
        "INSERT INTO a SELECT 77, 'y' WHERE NOT EXISTS (SELECT 1 FROM u)",
        [],
        ["INSERT INTO a VALUES (77, 'y')"],
    ),
    (
        "WITH d AS (DELETE FROM b RETURNING id, v), s AS (SELECT max(v) AS m FROM d) "
        "UPDATE a SET v = s.m FROM s WHERE a.id = 0 RETURNING a.*",
        [(0, "b8")],
        ["UPDATE a SET v = (SELECT max(v) FROM b) WHERE id = 0", "DELETE FROM b"],
    ),
    (
        "WITH i AS (INSERT INTO b VALUES (50, 'q')), j AS (DELETE FROM a WHERE id = 1) SELECT 1",
        [(1,)],
        ["INSERT INTO b VALUES (50, 'q')", "DELETE FROM a WHERE id = 1"],
    ),
    (
        "WITH RECURSIVE t(n) AS (SELECT 60 UNION ALL SELECT n + 1 FROM t WHERE n < 62), "
        "i AS (INSERT INTO a SELECT n, 'r' FROM t RETURNING id) SELECT sum(id) FROM i",
        [(183,)],
        ["INSERT INTO a SELECT generate_series(60, 62), 'r'"],
    ),
    (
        "UPDATE a SET (v, id) = (SELECT b.v || '!', a.id + 1000 FROM b WHERE b.id = a.id) WHERE id > 3 RETURNING *",
        [(1004, "b4!"), (1005, "b5!")],
        ["UPDATE a SET v = b.v || '!', id = a.id + 1000 FROM b WHERE b.id = a.id"],
    ),
    (
        "UPDATE a SET (v) = (SELECT v FROM b WHERE b.id = a.id)",
        [],
        ["UPDATE a SET v = (SELECT v FROM b WHERE b.id = a.id)"],
    ),
]


@pytest.mark.parametrize(("sql", "rows", "steps"), CASES)
def test_one_statement_is_its_parts_one_after_the_other(
    db: weftdb.Database, sql: str, rows: list[Any], steps: list[str]
) -> None:
    with weftdb.open() as other:
        for name, given in (("a", A), ("b", B)):
            other.execute(f"CREATE TABLE {name} (id INT PRIMARY KEY, v TEXT)")
            other.table(name).put(given)
        for step in steps:
            other.execute(step)
        assert sorted(db.execute(sql).rows()) == rows
        assert state(db) == state(other)


def test_a_volatile_query_is_run_once_for_all_parts(db: weftdb.Database) -> None:
    sql = (
        "WITH r AS (SELECT random() AS x), i AS (INSERT INTO a SELECT 9, x::text FROM r RETURNING v) "
        "SELECT i.v = r.x::text FROM i, r"
    )
    assert db.execute(sql).rows() == [(True,)]


@pytest.mark.parametrize(
    ("sql", "state_", "message"),
    [
        ("WITH i AS (INSERT INTO a VALUES (9, 'x') RETURNING id) SELECT * FROM a", "0A000", 'reading "a"'),
        ("WITH u AS (UPDATE a SET v = 'x' RETURNING id) DELETE FROM a WHERE id = 1", "0A000", 'reading "a"'),
        ("WITH u AS (UPDATE a SET v = 'x' RETURNING id) DELETE FROM a", "0A000", 'reading "a"'),
        ("WITH i AS (INSERT INTO a VALUES (9, 'x')) SELECT * FROM i", "0A000", "does not have a RETURNING clause"),
        ("SELECT * FROM (WITH d AS (DELETE FROM a RETURNING id) SELECT * FROM d) AS s", "0A000", "inside a query"),
        ("WITH d AS (DELETE FROM a RETURNING 1 / (id - 3)) SELECT 1", "22012", "division by zero"),
        ("WITH i AS (INSERT INTO a VALUES (1, 'x') RETURNING id) SELECT * FROM i", "23505", "id"),
        ("UPDATE a SET (v, id) = (SELECT v FROM b)", "42601", "number of columns"),
        ("UPDATE a SET (v, id) = (SELECT v, id FROM b)", "21000", "more than one row"),
        ("UPDATE a SET (v, id) = (SELECT v, id FROM b LIMIT 1)", "0A000", "UPDATE … FROM"),
        ("UPDATE a SET (v, id) = (SELECT * FROM b)", "0A000", "Name the columns"),
    ],
)
def test_what_is_refused_changes_nothing(db: weftdb.Database, sql: str, state_: str, message: str) -> None:
    before = state(db)
    with pytest.raises(Invalid) as caught:
        db.execute(sql)
    assert caught.value.sqlstate == state_
    assert message in f"{caught.value} {caught.value.hint}"
    assert state(db) == before


def test_a_statement_that_writes_in_with_is_one_of_its_transaction(db: weftdb.Database) -> None:
    sql = "WITH d AS (DELETE FROM a WHERE id = $1 RETURNING *) INSERT INTO b SELECT id + 100, $2 FROM d"
    db.execute("BEGIN; WITH d AS (DELETE FROM a RETURNING id) SELECT * FROM d; ROLLBACK")
    assert state(db) == (A, B)
    with db.transaction() as txn:
        txn.execute(sql, [3, "moved"])
        assert txn.execute("SELECT v FROM b WHERE id = 103").rows() == [("moved",)]
    assert state(db) == (A[:3] + A[4:], [*B, (103, "moved")])
    with pytest.raises(Invalid, match="read-only"):
        db.execute("BEGIN READ ONLY; WITH d AS (DELETE FROM a RETURNING id) SELECT * FROM d; COMMIT")
