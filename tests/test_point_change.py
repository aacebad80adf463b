"""INSERT, UPDATE and DELETE of one row do what the ordinary way does: two databases, the same statements, both ways."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import soak
import weftdb
from weftdb.sql import dispatch, point_change
from weftdb.sql.embedded import EmbeddedDatabase

TABLE = """CREATE TABLE t (
    id BIGINT, part VARCHAR(3) DEFAULT 'x', n INT, big BIGINT NOT NULL DEFAULT 5, price NUMERIC(9, 2),
    ratio DOUBLE PRECISION, name TEXT, day DATE, flag BOOLEAN, PRIMARY KEY (id, part)
)"""

STATEMENTS = [
    "INSERT INTO t (id, part, n) VALUES ($1, $2, $3)",
    "INSERT INTO t (id, part, n, big) VALUES ($1, $2, $3, DEFAULT)",
    "INSERT INTO t (id, part, big, price, ratio, name, day, flag) VALUES"
    " ($1, $2, 7, -1.5, 2, 'it''s', '2024-02-29', TRUE)",
    "INSERT INTO t (id, part, n, big) VALUES ($1, $2, $3, 1) ON CONFLICT (id, part) DO NOTHING",
    "INSERT INTO t (id, part, n, big) VALUES ($1, $2, $3, 1) ON CONFLICT (part, id)"
    " DO UPDATE SET n = excluded.n, big = t.big + excluded.big, name = 'met'",
    "INSERT INTO t AS old (id, part, n, big) VALUES ($1, $2, $3, 1) ON CONFLICT (id, part)"
    " DO UPDATE SET n = old.n * 2 + excluded.n, ratio = old.ratio + 1.5",
    "UPDATE t SET n = $3 WHERE id = $1 AND part = $2",
    "UPDATE t SET n = n + $3 WHERE part = $2 AND id = $1",
    "UPDATE t SET big = big - $3, n = n + 1 WHERE id = $1 AND part = $2",
    "UPDATE t SET big = n, n = 3 WHERE id = $1 AND part = $2 AND $3 IS NOT NULL",
    "UPDATE t SET big = n * $3, name = name WHERE id = $1 AND part = $2",
    "UPDATE t SET price = price + $3, ratio = ratio - 0.1 WHERE id = $1 AND part = $2",
    "UPDATE t SET price = price * 1.1 WHERE id = $1 AND part = $2 AND n = $3",
    "UPDATE t AS u SET flag = NULL, day = '2023-01-01', name = $2, n = DEFAULT WHERE u.id = $1 AND u.part = $2"
    " AND $3 = $3",
    "UPDATE t SET part = 'y' WHERE id = $1 AND part = $2 AND n < $3",
    "UPDATE t SET id = id + 1 WHERE id = $1 AND part = $2 AND n <> $3",
    "UPDATE t SET n = $3 WHERE id = $1 OR part = $2",
    "UPDATE t SET ratio = $3 WHERE id = $1 AND part = $2",
    "DELETE FROM t WHERE id = $1 AND part = $2 AND n = $3",
    "DELETE FROM t USING (SELECT 1) AS one WHERE id = $1 AND part = $2 AND $3 = n",
]
DELETE = "DELETE FROM t WHERE id = $1 AND part = $2"
STATEMENTS += [
    "UPDATE t SET id = $3 WHERE id = $1 AND part = $2",
    "INSERT INTO t (id, part, n) VALUES ($1, $2, $3) ON CONFLICT (id, part) DO UPDATE SET id = excluded.id + 1",
    "INSERT INTO t (id, part, n) VALUES ($1, $2, $3) ON CONFLICT (id, part)"
    " DO UPDATE SET n = excluded.n WHERE t.n < excluded.n",
    "UPDATE t SET n = $3 WHERE id = $1::int AND part = $2",
    "UPDATE t SET n = $3 WHERE id = $1 AND part = $2::varchar(2)",
]

IDS: list[Any] = [1, 2, 3, 2**40]
PARTS: list[Any] = ["", "a", "bc", "bcd"]
NUMBERS: list[Any] = [0, 1, -7, 2**31 - 1, 2**62, 2**63 - 1, None, Decimal("1.25"), 2.5, "9", "nine", True]


def ways(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """How to switch the short way on (0) and off (1)."""

    def switch(way: int) -> None:
        monkeypatch.setattr(dispatch, "point_of", point_change.point_of if way == 0 else lambda *_: None)

    return switch


def outcome(run: Callable[[], Any]) -> Any:
    """What a caller sees, but for versions."""
    try:
        result = run()
    except weftdb.WeftError as error:
        return type(error).__name__, error.sqlstate, error.message
    return result.tag, result.rows_affected, result.rows()


def contents(db: EmbeddedDatabase) -> list[str]:
    return [repr(row) for row in db.execute("SELECT * FROM t ORDER BY id, part").rows()]


def drawn(chance: random.Random) -> tuple[str, list[Any]]:
    sql = chance.choice([*STATEMENTS, DELETE])
    given = [chance.choice(IDS), chance.choice(PARTS), chance.choice(NUMBERS)]
    if chance.random() < 0.03:
        given[chance.randrange(2)] = chance.choice([None, 1.0, "abcd", "1", b""])
    return sql, given if "$3" in sql else given[:2]


REFUSING = [
    "flag BOOLEAN CHECK (n > -5)",
    "flag BOOLEAN, UNIQUE (n, part)",
    "flag BOOLEAN, CHECK (big <> 4), UNIQUE (name)",
]


@pytest.mark.parametrize(("seed", "flag"), [*((seed, "flag BOOLEAN") for seed in range(3)), *enumerate(REFUSING, 3)])
def test_statements_of_one_row_do_the_same_both_ways(seed: int, flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chance, switch = random.Random(seed), ways(monkeypatch)
    databases = [weftdb.open(), weftdb.open()]
    for db in databases:
        db.execute(TABLE.replace("flag BOOLEAN", flag))
    for _ in range(soak.many(70, 120)):
        sql, given = drawn(chance)
        found = []
        for way, db in enumerate(databases):
            switch(way)
            found.append(outcome(lambda db=db, sql=sql, given=given: db.execute(sql, given)))
        assert found[0] == found[1], (sql, given)
        if chance.random() < 0.2:
            assert contents(databases[0]) == contents(databases[1]), (sql, given)
    assert contents(databases[0]) == contents(databases[1])


@pytest.mark.parametrize("isolation", ["snapshot", "serializable", "read committed"])
def test_statements_of_one_row_do_the_same_in_transactions(isolation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With others who commit beside them: the same conflicts, too, but for a delta that was none."""
    chance, switch = random.Random(isolation), ways(monkeypatch)
    databases = [weftdb.open(), weftdb.open()]
    for db in databases:
        db.execute(TABLE)
        db.table("t").put([{"id": id, "part": part, "n": 1} for id in IDS[:3] for part in PARTS])
    for _ in range(soak.many(15, 25)):
        mine = [drawn(chance) for _ in range(chance.randrange(1, 5))]
        others = [drawn(chance) for _ in range(chance.choice([0, 0, 1, 2]))]
        reads = chance.random() < 0.3
        found = []
        for way, db in enumerate(databases):
            switch(way)
            seen: list[Any] = []
            txn = db.transaction(isolation=isolation)
            if reads:
                seen.append(txn.execute("SELECT count(*) FROM t").scalar())
            for sql, given in mine:
                seen.append(outcome(lambda txn=txn, sql=sql, given=given: txn.execute(sql, given)))
            for sql, given in others:
                seen.append(outcome(lambda db=db, sql=sql, given=given: db.execute(sql, given)))
            seen.append(sorted(map(repr, txn.execute("SELECT * FROM t").rows())))
            try:
                txn.commit()
            except weftdb.Conflict:
                seen.append("conflict")
            found.append((seen, contents(db)))
        assert found[0] == found[1], (mine, others, reads)


def test_the_short_way_is_taken_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    original = dispatch.run_change

    def noted(tree: Any, *more: Any, **named: Any) -> Any:
        taken.append(tree.sql())
        return original(tree, *more, **named)

    monkeypatch.setattr(dispatch, "run_change", noted)
    db = weftdb.open()
    db.execute(TABLE)
    for sql in (*STATEMENTS[:9], STATEMENTS[10], STATEMENTS[11], DELETE):
        given = [1, "a", 3] if "$3" in sql else [1, "a"]
        db.execute("DELETE FROM t WHERE id = 1")
        db.table("t").put({"id": 1, "part": "a", "n": 1, "big": 2, "price": Decimal(1), "ratio": 1.0})
        taken.clear()
        if not sql.startswith("INSERT") or "CONFLICT" in sql:
            db.execute(sql, given)
        else:
            db.execute(DELETE, given[:2])
            db.execute(sql, given)
        assert not taken, sql


def test_rows_that_two_transactions_add_to_have_both_amounts() -> None:
    db = weftdb.open()
    db.execute("CREATE TABLE c (id INT PRIMARY KEY, n INT NOT NULL)")
    db.execute("INSERT INTO c VALUES (1, 0)")
    for _ in range(3):
        with db.transaction() as one, db.transaction() as other:
            for transaction in (one, other):
                assert transaction.execute("UPDATE c SET n = n + $2 WHERE id = $1", [1, 5]).rows_affected == 1
    assert db.execute("SELECT n FROM c").scalar() == 30
    one, other = db.transaction(), db.transaction()
    for transaction in (one, other):
        transaction.execute("SELECT n FROM c WHERE id = $1", [1])
        transaction.execute("UPDATE c SET n = n + $2 WHERE id = $1", [1, 5])
    one.commit()
    with pytest.raises(weftdb.Conflict):
        other.commit()
    assert db.execute("SELECT n FROM c").scalar() == 35


def test_returning_and_defaults_with_expressions_go_the_ordinary_way() -> None:
    db = weftdb.open()
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, n INT DEFAULT 1 + 1, at TIMESTAMPTZ DEFAULT now())")
    assert db.execute("INSERT INTO t (id) VALUES (1) RETURNING n").rows() == [(2,)]
    db.execute("INSERT INTO t (id) VALUES (2)")
    assert db.execute("SELECT count(*) FROM t WHERE at IS NOT NULL AND n = 2").scalar() == 2
    assert db.execute("UPDATE t SET n = n + 1 WHERE id = 1 RETURNING id, n").rows() == [(1, 3)]
    assert db.execute("DELETE FROM t WHERE id = 1 RETURNING n").rows() == [(3,)]


def test_an_altered_table_is_written_by_its_new_definition() -> None:
    db = weftdb.open()
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, n INT)")
    insert, update = "INSERT INTO t (id, n) VALUES ($1, 1)", "UPDATE t SET n = n + 1 WHERE id = $1"
    db.execute(insert, [1])
    db.execute(update, [1])
    db.execute("ALTER TABLE t ADD COLUMN x INT DEFAULT 9")
    db.execute(insert, [2])
    db.execute(update, [2])
    db.execute(update, [1])
    assert db.execute("SELECT * FROM t ORDER BY id").rows() == [(1, 3, 9), (2, 2, 9)]
    with db.transaction() as txn:
        txn.execute("ALTER TABLE t DROP COLUMN x")
        txn.execute(insert, [3])
        txn.execute(update, [1])
    assert db.execute("SELECT * FROM t ORDER BY id").rows() == [(1, 4), (2, 2), (3, 1)]


def test_explain_says_where_a_change_needs_no_executor() -> None:
    with weftdb.open() as db:
        db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, n INT)")
        for sql, point in (
            ("UPDATE t SET n = 7 WHERE id = 1", True),
            ("DELETE FROM t WHERE id = $1", True),
            ("INSERT INTO t VALUES (1, 2)", True),
            ("UPDATE t SET n = 7 WHERE n = 1", False),
            ("INSERT INTO t SELECT 1, 2", False),
        ):
            lines = [line for (line,) in db.execute(f"EXPLAIN {sql}", [1] if "$1" in sql else []).rows()]
            assert any("changed without the executor" in line for line in lines) is point, sql
