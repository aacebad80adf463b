"""INSERT, UPDATE, DELETE: values into columns, conflicts, RETURNING, and what a failed statement leaves: nothing."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import weftdb
from weftdb.base.interface import Database
from weftdb.engine.transaction import Transaction


def refused(db: Any, sql: str, parameters: list[object] | None = None) -> weftdb.WeftError:
    """The error of a statement that must fail."""
    with pytest.raises(weftdb.WeftError) as caught:
        db.execute(sql, parameters or [])
    return caught.value


@pytest.fixture
def t(db: Database) -> Any:
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, a INT, b TEXT DEFAULT 'd', n NUMERIC(8,2))")
    db.execute("INSERT INTO t VALUES (1, 10, 'x', 1.5), (2, 20, 'y', 2.5), (3, 30, NULL, NULL)")
    return db


def rows(db: Database, columns: str = "*") -> list[tuple[Any, ...]]:
    return db.execute(f"SELECT {columns} FROM t ORDER BY id").rows()


# -- INSERT ----------------------------------------------------------------------------------------------------------


def test_insert_says_how_many(t: Database) -> None:
    result = t.execute("INSERT INTO t VALUES (4, 1, 'a', 0), (5, 2, 'b', 0)")
    assert (result.tag, result.rows_affected) == ("INSERT 0 2", 2)
    assert result.version == t.version
    assert result.rows() == []


def test_insert_with_a_column_list_or_fewer_values_fills_the_rest(t: Database) -> None:
    t.execute("INSERT INTO t (n, id) VALUES (7, 4)")
    t.execute("INSERT INTO t VALUES (5, 50)")
    assert rows(t)[3:] == [(4, None, "d", Decimal("7.00")), (5, 50, "d", None)]


def test_insert_with_default_in_some_rows(t: Database) -> None:
    t.execute("INSERT INTO t VALUES (4, DEFAULT, DEFAULT, DEFAULT), (5, 1, 'b', DEFAULT), (6, 1, DEFAULT, 1)")
    assert rows(t, "id, a, b")[3:] == [(4, None, "d"), (5, 1, "b"), (6, 1, "d")]
    result = t.execute("INSERT INTO t VALUES (9, 1, DEFAULT, 1), (8, 2, 'e', DEFAULT) RETURNING id, b")
    assert result.rows() == [(9, "d"), (8, "e")]


def test_insert_default_values(db: Database) -> None:
    db.execute("CREATE TABLE t (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a INT DEFAULT 5)")
    assert db.execute("INSERT INTO t DEFAULT VALUES").tag == "INSERT 0 1"
    assert db.execute("SELECT a FROM t").rows() == [(5,)]


def test_insert_from_a_query(t: Database) -> None:
    assert t.execute("INSERT INTO t SELECT id + 10, a, b, n FROM t WHERE a > 10").tag == "INSERT 0 2"
    assert rows(t, "id")[3:] == [(12,), (13,)]
    t.execute("WITH x AS (SELECT 99 AS id) INSERT INTO t (id, b) SELECT id, 'w' FROM x")
    t.execute("WITH x AS (SELECT 98 AS id) INSERT INTO t (id) VALUES ((SELECT id FROM x))")
    assert rows(t, "id, b")[-2:] == [(98, "d"), (99, "w")]
    assert t.execute("INSERT INTO t (id) SELECT 1 WHERE false").tag == "INSERT 0 0"


def test_untyped_literals_and_parameters_take_the_columns_types(db: Database) -> None:
    db.execute("CREATE TABLE t (id INT PRIMARY KEY, d DATE, at TIMESTAMPTZ, n NUMERIC(6,2), j JSON, b BOOLEAN)")
    db.execute("INSERT INTO t SELECT '1', '2024-01-02', '2024-01-02 03:04:05+00', '1.5', '{}', 'yes'")
    db.execute("INSERT INTO t VALUES ('2', '2024-01-02', '2024-01-02 03:04:05Z', '1.5', '{}', 'on')")
    db.execute(
        "INSERT INTO t SELECT $1, $2, $3, $4, $5, $6", [3, date(2024, 1, 2), "2024-01-02 03:04:05Z", 1.5, {}, True]
    )
    expected = (date(2024, 1, 2), datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), Decimal("1.50"), "{}", True)
    assert db.execute("SELECT d, at, n, j, b FROM t").rows() == [expected] * 3


def test_the_time_zone_of_the_session_reads_a_timestamptz(db: Database) -> None:
    db.execute("CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMPTZ)")
    db.execute(
        "SET timezone = 'Europe/Berlin';INSERT INTO t VALUES (1, '2024-06-01 12:00'), (2, TIMESTAMP '2024-06-01 12:00')"
    )
    noon = datetime(2024, 6, 1, 10, tzinfo=UTC)
    assert db.execute("SELECT at FROM t ORDER BY id").rows() == [(noon,), (noon,)]


def test_numbers_go_into_text_by_assignment(t: Database) -> None:
    t.execute("INSERT INTO t (id, b) VALUES (4, 1.50), (5, true), (6, -7)")
    t.execute("INSERT INTO t (id, b) SELECT 7, 1.50 UNION ALL SELECT 8, 2.25")
    t.execute("UPDATE t SET b = a WHERE id = 1")
    assert rows(t, "b") == [("10",), ("y",), (None,), ("1.50",), ("true",), ("-7",), ("1.50",), ("2.25",)]


@pytest.mark.parametrize(
    ("values", "sqlstate", "words"),
    [
        ("(4, 'abc', 'x', 1)", "22P02", ["a", "row 1", "abc"]),
        ("(4, 1, 'x', 1), (5, 'abc', 'x', 1)", "22P02", ["a", "row 2", "abc"]),
        ("(4, 2147483648, 'x', 1)", "22003", ["a", "row 1", "2147483648"]),
        ("(4, 1.5, 'x', 1)", "22P02", ["a", "row 1", "1.5"]),
        ("(4, true, 'x', 1)", "42804", ["a", "integer", "boolean"]),
        ("(4, 1, 'x', 1.234)", "22003", ["n", "row 1", "1.234"]),
        ("(4, 1, 'x', 1234567.5)", "22003", ["n", "1234567.5"]),
        ("(NULL, 1, 'x', 1)", "23502", ["id", "row 1"]),
        ("(4, DATE '2024-01-01', 'x', 1)", "42804", ["a", "integer", "date"]),
        ("(4, 1 + 1.5, 'x', 1)", "22P02", ["a", "row 1", "2.5"]),
        ("(4, 1, 'x', 1), (5, 1, 'x', round(1.0 / 3, 3))", "22003", ["n", "row 2", "0.333"]),
        ("(4, now(), 'x', 1)", "42804", ["a", "integer"]),
        ("(4, 1, 'x', 1, 5)", "42601", ["more expressions than target columns"]),
        ("(4, 1), (5)", "42601", ["same length"]),
        ("(4, nope)", "42703", ["nope"]),
        ("(4, 1 / 0)", "22012", ["division by zero"]),
        ("(4, $3)", "08P01", ["3 parameters, 0 were given"]),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_column_row_and_value(
    t: Database, values: str, sqlstate: str, words: list[str]
) -> None:
    error = refused(t, f"INSERT INTO t VALUES {values}")
    for word in words:
        assert word in str(error)
    assert error.sqlstate == sqlstate
    assert len(rows(t)) == 3


@pytest.mark.parametrize(
    ("sql", "sqlstate"),
    [
        ("INSERT INTO nope VALUES (1)", "42P01"),
        ("INSERT INTO t (id, nope) VALUES (1, 2)", "42703"),
        ("INSERT INTO t (id, id) VALUES (1, 2)", "42701"),
        ("INSERT INTO t (id, a) VALUES (4)", "42601"),
        ("INSERT INTO t (id, a) SELECT 4", "42601"),
        ("INSERT INTO t SELECT 1, 2, 3, 4, 5", "42601"),
        ("INSERT INTO t VALUES (1, 1, 'dup', 1)", "23505"),
        ("INSERT INTO t VALUES (7, 1, 'dup', 1), (7, 1, 'dup', 1)", "23505"),
        ("INSERT INTO t SELECT id, a, b, n FROM t", "23505"),
        ("INSERT OR REPLACE INTO t VALUES (1)", "0A000"),
        ("UPDATE t SET nope = 1", "42703"),
        ("UPDATE t SET a = 1, a = 2", "42601"),
        ("UPDATE t SET a = 'x' || b", "42804"),
        ("UPDATE t SET (a, b) = (1, 2, 3)", "42601"),
        ("UPDATE t SET a = 1 LIMIT 1", "0A000"),
        ("UPDATE t SET id = 1 WHERE id = 2", "23505"),
        ("UPDATE t SET id = 9", "23505"),
        ("UPDATE t SET t.a = 1", "42601"),
        ("UPDATE t SET a = nope", "42703"),
        ("UPDATE t SET id = NULL", "23502"),
        ("UPDATE t SET a = 5000000000 WHERE id = 1", "22003"),
        ("DELETE FROM t WHERE nope", "42703"),
        ("DELETE FROM t ORDER BY id", "0A000"),
        ("DELETE FROM nope", "42P01"),
        ("DELETE FROM t RETURNING nope", "42703"),
        ("INSERT INTO t VALUES (9) RETURNING nope", "42703"),
        ("UPDATE t SET a = 1 RETURNING nope", "42703"),
        ("SELECT * FROM (WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone) AS s", "0A000"),
    ],
)
def test_a_statement_that_fails_changes_nothing(t: Database, sql: str, sqlstate: str) -> None:
    before, version = rows(t), t.version
    error = refused(t, sql)
    assert error.sqlstate == sqlstate, str(error)
    assert rows(t) == before
    assert t.version == version


def test_a_duplicate_key_names_the_keys_values(db: Database) -> None:
    db.execute("CREATE TABLE t (k TEXT, d DATE, PRIMARY KEY (k, d)); INSERT INTO t VALUES ('a', '2024-01-01')")
    error = refused(db, "INSERT INTO t VALUES ('b', '2024-01-01'), ('a', '2024-01-01')")
    assert "(k, d)=(a, 2024-01-01)" in str(error)
    assert "row 2" in str(error)


# -- ON CONFLICT -----------------------------------------------------------------------------------------------------


def test_on_conflict_do_nothing_keeps_what_is_there(t: Database) -> None:
    result = t.execute(
        "INSERT INTO t VALUES (1, 0, 'new', 0), (4, 0, 'new', 0), (4, 1, 'again', 0) ON CONFLICT DO NOTHING"
    )
    assert result.tag == "INSERT 0 1"
    assert rows(t, "id, b") == [(1, "x"), (2, "y"), (3, None), (4, "new")]
    assert t.execute("INSERT INTO t (id) VALUES (4) ON CONFLICT (id) DO NOTHING RETURNING id").rows() == []
    assert t.execute("INSERT INTO t (id) VALUES (4) ON CONFLICT ON CONSTRAINT t_pkey DO NOTHING").rows_affected == 0


def test_on_conflict_do_update_sees_both_rows(t: Database) -> None:
    result = t.execute("""
        INSERT INTO t AS old VALUES (1, 5, 'n', 1), (2, 5, 'n', 1), (4, 5, 'n', 1)
        ON CONFLICT (id) DO UPDATE SET a = old.a + excluded.a, b = excluded.b || old.b WHERE old.a < 20
        RETURNING id, a, b
    """)
    assert sorted(result.rows()) == [(1, 15, "nx"), (4, 5, "n")]
    assert result.tag == "INSERT 0 2"
    assert rows(t, "a, b") == [(15, "nx"), (20, "y"), (30, None), (5, "n")]


def test_on_conflict_do_update_from_a_query(t: Database) -> None:
    t.execute("INSERT INTO t (id, a) SELECT id, 1 FROM t ON CONFLICT (id) DO UPDATE SET a = t.a + excluded.a")
    assert rows(t, "a, b") == [(11, "x"), (21, "y"), (31, None)]


@pytest.mark.parametrize(
    ("sql", "sqlstate"),
    [
        ("INSERT INTO t (id) VALUES (1), (1) ON CONFLICT (id) DO UPDATE SET a = 1", "21000"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT (a) DO NOTHING", "42P10"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT DO UPDATE SET a = 1", "42601"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET nope = 1", "42703"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET a = a + 1", "42702"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET n = 1.005", "22003"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 2", "23505"),
        ("INSERT INTO t (id) VALUES (1) ON DUPLICATE KEY UPDATE a = 1", "0A000"),
    ],
)
def test_a_conflict_clause_that_cannot_be_is_refused(t: Database, sql: str, sqlstate: str) -> None:
    before = rows(t)
    error = refused(t, sql)
    assert error.sqlstate == sqlstate, str(error)
    assert rows(t) == before


# -- UPDATE ----------------------------------------------------------------------------------------------------------


def test_update_sets_from_the_old_values(t: Database) -> None:
    result = t.execute("UPDATE t SET a = id, id = a WHERE id < 3")
    assert (result.tag, result.rows_affected) == ("UPDATE 2", 2)
    assert rows(t, "id, a") == [(3, 30), (10, 1), (20, 2)]


def test_update_can_shift_primary_keys(t: Database) -> None:
    t.execute("UPDATE t SET id = id + 1")
    assert rows(t, "id, a") == [(2, 10), (3, 20), (4, 30)]


def test_update_takes_lists_defaults_and_returning(t: Database) -> None:
    result = t.execute("UPDATE t SET (a, b) = (a + 1, 'z'), n = DEFAULT WHERE id = 1 RETURNING *, a * 2 AS twice")
    assert result.names == ("id", "a", "b", "n", "twice")
    assert result.rows() == [(1, 11, "z", None, 22)]
    t.execute("UPDATE t SET b = DEFAULT")
    assert rows(t, "b") == [("d",)] * 3


def test_update_from_another_table(t: Database) -> None:
    t.execute("CREATE TABLE u (id BIGINT, a INT); INSERT INTO u VALUES (1, 100), (1, 100), (3, 300), (9, 900)")
    result = t.execute("UPDATE t AS x SET a = x.a + u.a FROM u WHERE u.id = x.id")
    assert result.tag == "UPDATE 2"
    assert rows(t, "a") == [(110,), (20,), (330,)]
    t.execute("WITH w AS (SELECT 1 AS one) UPDATE t SET a = (SELECT one FROM w) WHERE id IN (SELECT one FROM w)")
    assert rows(t, "a") == [(1,), (20,), (330,)]


def test_returning_reads_what_from_and_using_join(t: Database) -> None:
    """PostgreSQL 15 gives these answers."""
    t.execute("CREATE TABLE u (k BIGINT, w TEXT); INSERT INTO u VALUES (1, 'one'), (3, 'three'), (9, 'nine')")
    result = t.execute("UPDATE t SET a = a + 1 FROM u WHERE u.k = t.id RETURNING *")
    assert result.names == ("id", "a", "b", "n", "k", "w")
    assert sorted(row[:2] + row[4:] for row in result.rows()) == [(1, 11, 1, "one"), (3, 31, 3, "three")]
    result = t.execute("UPDATE t SET b = w FROM u WHERE k = id AND k = $1 RETURNING t.id, upper(w) || b AS x, u.*", [3])
    assert (result.names, result.rows()) == (("id", "x", "k", "w"), [(3, "THREEthree", 3, "three")])
    sql = "UPDATE t SET a = s.n FROM (SELECT k AS id, length(w) AS n FROM u) s WHERE s.id = t.id RETURNING "
    assert t.execute(sql + "t.id, s.n, (SELECT max(w) FROM u WHERE k = s.id)").rows() == [
        (1, 3, "one"),
        (3, 5, "three"),
    ]
    assert refused(t, sql + "id").sqlstate == "42702"
    assert refused(t, sql + "nope").sqlstate == "42703"
    sql = "WITH c AS (SELECT 9 AS z) DELETE FROM t USING u, c WHERE k = id AND k < z RETURNING t.id, z, w"
    assert sorted(t.execute(sql).rows()) == [(1, 9, "one"), (3, 9, "three")]
    assert t.execute("DELETE FROM t USING u WHERE false RETURNING *").names == ("id", "a", "b", "n", "k", "w")


def test_returning_makes_json_of_whole_rows_of_any_table(t: Database) -> None:
    """PostgreSQL 15 gives these answers."""
    t.execute("CREATE TABLE u (k BIGINT PRIMARY KEY, w TEXT); INSERT INTO u VALUES (1, 'one'), (3, 'three')")

    def answer(sql: str) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        result = t.execute(sql)
        return result.names, sorted(result.rows())

    assert answer(
        "UPDATE t SET a = 0 FROM u WHERE k = id AND k = 1 "
        "RETURNING to_jsonb(u), row_to_json(u.*), json_build_object('u', u, 'a', t.a), to_jsonb(t) - 'n', u IS NULL"
    ) == (
        ("to_jsonb", "row_to_json", "json_build_object", "?column?", "?column?"),
        [
            (
                '{"k": 1, "w": "one"}',
                '{"k":1,"w":"one"}',
                '{"u" : {"k":1,"w":"one"}, "a" : 0}',
                '{"a": 0, "b": "x", "id": 1}',
                False,
            )
        ],
    )
    sql = "UPDATE t SET a = 1 FROM u LEFT JOIN u AS o ON o.k = u.k AND o.k > 1 WHERE u.k = id "
    assert answer(sql + "RETURNING id, to_jsonb(o) ->> 'w' AS w, u.k::text") == (
        ("id", "w", "k"),
        [(1, None, "1"), (3, "three", "3")],
    )
    sql = "DELETE FROM t USING u JOIN u AS o USING (k) WHERE k = id RETURNING "
    assert refused(t, sql + "*").sqlstate == "0A000"
    assert sorted(answer(sql + "o.*, to_jsonb(u)")[1]) == [
        (1, "one", '{"k": 1, "w": "one"}'),
        (3, "three", '{"k": 3, "w": "three"}'),
    ]
    t.execute("INSERT INTO t (id, a) VALUES (1, 5)")
    sql = "UPDATE t SET a = 7 FROM generate_series(0, 1) AS g WHERE g = id RETURNING id, g, to_json(t) ->> 'a' AS a"
    assert answer(sql) == (("id", "g", "a"), [(1, 1, "7")])


def test_parameters_may_stand_anywhere_and_are_counted(t: Database) -> None:
    result = t.execute("INSERT INTO t (id) SELECT $1::int UNION ALL SELECT $1 + 1 RETURNING id + $2", [7, 100])
    assert sorted(result.rows()) == [(107,), (108,)]
    assert t.execute("UPDATE t SET a = $2 WHERE id = $1 RETURNING a * $3", [1, 5, 2]).rows() == [(10,)]
    t.execute("INSERT INTO t (id, a) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET a = t.a + $3", [1, 0, 4])
    assert rows(t, "a")[0] == (9,)
    for parameters in ([], [1, 2]):
        for sql in ("INSERT INTO t (id) VALUES ($1)", "DELETE FROM t WHERE id = $1", "SELECT $1"):
            assert refused(t, sql, parameters).sqlstate == "08P01"


def test_update_of_nothing_changes_nothing(t: Database) -> None:
    version = t.version
    assert t.execute("UPDATE t SET a = 1 WHERE false").tag == "UPDATE 0"
    assert t.version == version


def test_excess_digits_are_refused_unless_rounded(t: Database) -> None:
    error = refused(t, "UPDATE t SET n = n / 7 WHERE id = 1")
    assert error.sqlstate == "22003"
    assert 'column "n", row 1' in str(error)
    t.execute("UPDATE t SET n = round(2 * n / 3, 2), a = round(a / 7.0)::int WHERE id = 1")
    assert rows(t, "a, n")[0] == (1, Decimal("1.00"))


# -- DELETE ----------------------------------------------------------------------------------------------------------


def test_delete_says_how_many_and_returns_what_was(t: Database) -> None:
    result = t.execute("DELETE FROM t WHERE a >= 20 RETURNING id, b")
    assert (result.tag, sorted(result.rows())) == ("DELETE 2", [(2, "y"), (3, None)])
    assert t.execute("DELETE FROM t").tag == "DELETE 1"
    assert t.execute("DELETE FROM t").tag == "DELETE 0"


def test_delete_using_another_table(t: Database) -> None:
    t.execute("CREATE TABLE u (id BIGINT, a INT); INSERT INTO u VALUES (1, 100), (1, 100), (3, 300)")
    assert t.execute("DELETE FROM t AS x USING u WHERE u.id = x.id").tag == "DELETE 2"
    assert rows(t, "id") == [(2,)]


# -- tables without primary key --------------------------------------------------------------------------------------


def test_rows_without_primary_key_are_changed_one_by_one(db: Database) -> None:
    db.execute("""
        CREATE TABLE log (device BIGINT, at TIMESTAMP, line TEXT)
        WITH (key = 'device', time = 'at', every = '1 day', shards = 2)
    """)
    db.execute("INSERT INTO log VALUES (1, '2024-01-01', 'a'), (1, '2024-01-01', 'a'), (2, '2024-01-05', 'b')")
    assert db.execute("UPDATE log SET line = 'c' WHERE device = 1").tag == "UPDATE 2"
    assert db.execute("UPDATE log SET at = at + INTERVAL '3 days', device = 5 WHERE device = 2").tag == "UPDATE 1"
    assert db.execute("SELECT device, line FROM log ORDER BY 1").rows() == [(1, "c"), (1, "c"), (5, "b")]
    with db.transaction() as txn:
        txn.execute("INSERT INTO log VALUES (7, '2024-01-01', 'mine')")
        assert txn.execute("UPDATE log SET line = 'ours' WHERE device = 7").tag == "UPDATE 1"
        assert txn.execute("DELETE FROM log WHERE line IN ('ours', 'b')").tag == "DELETE 2"
    assert db.execute("SELECT count(*), min(line) FROM log").rows() == [(2, "c")]
    assert db.execute("INSERT INTO log VALUES (1, '2024-01-01', 'x') ON CONFLICT DO NOTHING").tag == "INSERT 0 1"
    assert refused(db, "INSERT INTO log VALUES (1, NULL, 'x')").sqlstate == "23502"


# -- inside a transaction --------------------------------------------------------------------------------------------


def test_statements_of_a_transaction_see_the_ones_before(t: Database) -> None:
    with t.transaction() as txn:
        txn.execute("INSERT INTO t VALUES (4, 40, 'w', NULL)")
        txn.execute("UPDATE t SET a = a + 1 WHERE id >= 3")
        txn.execute("DELETE FROM t WHERE id = 1")
        txn.execute("INSERT INTO t VALUES (1, 0, 'back', NULL) ON CONFLICT (id) DO NOTHING")
        txn.execute("INSERT INTO t (id, a) VALUES (4, 0) ON CONFLICT (id) DO UPDATE SET a = t.a * 2")
        assert txn.execute("SELECT id, a FROM t ORDER BY id").rows() == [(1, 0), (2, 20), (3, 31), (4, 82)]
        assert rows(t, "id, a") == [(1, 10), (2, 20), (3, 30)]
    assert rows(t, "id, a") == [(1, 0), (2, 20), (3, 31), (4, 82)]


def test_now_is_one_moment_in_a_transaction(db: Database) -> None:
    db.execute("CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMPTZ DEFAULT now())")
    with db.transaction() as txn:
        txn.execute("INSERT INTO t (id) VALUES (1)")
        txn.execute("INSERT INTO t VALUES (2, now())")
        first = txn.execute("SELECT now()").scalar()
        assert txn.execute("SELECT DISTINCT at FROM t").rows() == [(first,)]


def test_a_large_insert_from_a_query_is_one_statement(db: Database) -> None:
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v DOUBLE PRECISION)")
    result = db.execute("INSERT INTO t SELECT x, x / 2.0::double precision FROM generate_series(1, 200000) AS g(x)")
    assert result.rows_affected == 200000
    assert db.execute("SELECT count(*), sum(id) FROM t").rows() == [(200000, 20000100000)]
    assert db.execute("UPDATE t SET v = v + 1 WHERE id % 2 = 0").rows_affected == 100000
    assert db.execute("DELETE FROM t WHERE id > 100").rows_affected == 199900


# -- statements of many pieces -----------------------------------------------------------------------------------------

PIECES = 300_000
"""Rows: more than two pieces of a statement that changes rows."""


@pytest.fixture
def many(db: Database) -> Database:
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, a INT, b TEXT)")
    made = f"generate_series(1, {PIECES}) AS g(x)"
    assert db.execute(f"INSERT INTO t SELECT x, x % 7, 'r' || x FROM {made}").rows_affected == PIECES
    return db


def test_primary_keys_shift_over_many_pieces(many: Database) -> None:
    assert many.execute("UPDATE t SET id = id + 1").rows_affected == PIECES
    found = many.execute("SELECT count(*), min(id), max(id), count(*) FILTER (WHERE a = (id - 1) % 7) FROM t").rows()
    assert found == [(PIECES, 2, PIECES + 1, PIECES)]


def test_a_statement_never_meets_its_own_pieces(many: Database) -> None:
    with many.transaction() as txn:
        assert txn.execute(f"INSERT INTO t SELECT id + {PIECES}, a, b FROM t").rows_affected == PIECES
        assert txn.execute("UPDATE t SET a = a + 100 WHERE a < 100").rows_affected == 2 * PIECES
        found = txn.execute("SELECT count(*), min(a), max(a) FROM t").rows()
        assert found == [(2 * PIECES, 100, 106)]
        assert txn.execute("DELETE FROM t WHERE id % 2 = 0").rows_affected == PIECES
        txn.execute("INSERT INTO t SELECT id + 1, a, b FROM t WHERE id % 2 = 1")
        assert txn.execute("SELECT count(*) FROM t").scalar() == 2 * PIECES
    assert many.execute("SELECT count(*), sum(id) FROM t").rows() == [(2 * PIECES, PIECES * (2 * PIECES + 1))]


def test_a_row_that_is_met_in_several_pieces_is_changed_once(many: Database) -> None:
    twice = f"(SELECT x % {PIECES} + 1 AS id FROM generate_series(1, {2 * PIECES}) AS g(x)) AS u"
    assert many.execute(f"UPDATE t SET a = a + 1000 FROM {twice} WHERE u.id = t.id").rows_affected == PIECES
    assert many.execute("SELECT min(a), max(a) FROM t").rows() == [(1000, 1006)]
    assert many.execute(f"DELETE FROM t USING {twice} WHERE u.id = t.id").rows_affected == PIECES
    assert many.execute("SELECT count(*) FROM t").scalar() == 0


def test_rows_without_primary_key_that_are_met_several_times_are_changed_once(db: Database) -> None:
    db.execute(f"CREATE TABLE t AS SELECT x AS id, 0 AS a FROM generate_series(1, {PIECES}) AS g(x)")
    twice = f"(SELECT x % {PIECES} + 1 AS id FROM generate_series(1, {2 * PIECES}) AS g(x)) AS u"
    with db.transaction() as txn:
        txn.execute(f"INSERT INTO t SELECT x, 0 FROM generate_series(1, {PIECES}) AS g(x)")
        assert txn.execute(f"UPDATE t SET a = a + 1 FROM {twice} WHERE u.id = t.id").rows_affected == 2 * PIECES
        assert txn.execute("SELECT count(*), min(a), max(a) FROM t").rows() == [(2 * PIECES, 1, 1)]
        assert txn.execute(f"DELETE FROM t USING {twice} WHERE u.id = t.id").rows_affected == 2 * PIECES
    assert db.execute("SELECT count(*) FROM t").scalar() == 0


def test_a_repeated_key_is_found_across_pieces(many: Database) -> None:
    repeated = (
        f"SELECT CASE WHEN x = {PIECES} THEN 1 ELSE x END + {PIECES}, 0, 'n' FROM generate_series(1, {PIECES}) AS g(x)"
    )
    error = refused(many, f"INSERT INTO t {repeated}")
    assert error.sqlstate == "23505"
    assert f"(id)=({PIECES + 1})" in str(error)
    assert refused(many, f"INSERT INTO t {repeated} ON CONFLICT (id) DO UPDATE SET a = 1").sqlstate == "21000"
    assert many.execute(f"INSERT INTO t {repeated} ON CONFLICT DO NOTHING").rows_affected == PIECES - 1
    assert many.execute("SELECT count(*) FROM t").scalar() == 2 * PIECES - 1


def test_a_late_piece_that_fails_leaves_nothing(many: Database) -> None:
    version = many.version
    error = refused(many, f"UPDATE t SET a = 1 / ({PIECES} - id)")
    assert error.sqlstate == "22012"
    error = refused(many, f"UPDATE t SET a = CASE WHEN id = {PIECES} THEN 3000000000 ELSE a END")
    assert error.sqlstate == "22003"
    assert "Rows are counted from row 262,145" in str(error)
    assert many.version == version
    assert many.execute("SELECT max(a) FROM t").scalar() == 6


def test_returning_over_many_pieces_is_one_answer(many: Database) -> None:
    result = many.execute("UPDATE t SET a = -1 WHERE id > 10 RETURNING id, a")
    assert (result.rows_affected, result.arrow().num_rows) == (PIECES - 10, PIECES - 10)
    result = many.execute("DELETE FROM t WHERE id > 5 RETURNING id + (SELECT count(*) FROM t) AS n")
    assert sorted(result.rows())[0] == (PIECES + 6,)


# -- UPDATE as delta --------------------------------------------------------------------------------------------------


@pytest.fixture
def counters(db: Database) -> Any:
    db.execute(
        "CREATE TABLE c (id INT PRIMARY KEY, name TEXT, n BIGINT NOT NULL DEFAULT 7, s SMALLINT, d NUMERIC(8,2),"
        " f DOUBLE PRECISION, CHECK (n < 1000000))"
    )
    db.execute(
        "INSERT INTO c VALUES (1, 'a', 10, 1, 1.5, 0.5), (2, 'b', 20, NULL, NULL, NULL), (3, 'a', 30, 3, 3.5, 1)"
    )
    return db


LEVELS = ("snapshot", "read committed")


def commutes(db: Any, sql: str, parameters: list[object] | None = None, *, isolation: str = "snapshot") -> bool:
    """Whether a transaction commits an UPDATE of row 1 although somebody added to it meanwhile."""
    txn = db.transaction(isolation=isolation)
    txn.execute(sql, parameters or [])
    db.table("c").add(1, n=5)
    try:
        txn.commit()
    except weftdb.Conflict:
        return False
    return True


@pytest.mark.parametrize(
    ("sql", "parameters", "shown"),
    [
        ("UPDATE c SET n = n + 1 WHERE id = 1", [], "Deltas: n = n + 1"),
        ("UPDATE c SET n = 1 + n WHERE id = 1", [], "Deltas: n = n + 1"),
        ("UPDATE c AS x SET n = x.n - $1 WHERE x.id = 1", [3], "Deltas: n = n - $1"),
        ("UPDATE c SET n = n + 2 * id, d = d - 0.25 WHERE id = 1", [], "Deltas: n = n + 2 * id, d = d - 0.25"),
        ("UPDATE c SET n = n - length(name) WHERE name LIKE 'a%'", [], "Deltas: n = n - length(name)"),
        ("UPDATE c SET s = s + 1, f = f + 0.25 WHERE id = 1 RETURNING id, name", [], "Deltas: s = s + 1, f = f + 0.25"),
    ],
)
@pytest.mark.parametrize("isolation", LEVELS)
def test_an_update_that_only_adds_commutes(
    counters: Database, sql: str, parameters: list[object], shown: str, isolation: str
) -> None:
    plan = [line for (line,) in counters.execute(f"EXPLAIN {sql}", parameters).rows()]
    assert plan[:2] == ["Update on c", f"  {shown}"]
    with counters.transaction() as txn:
        txn.execute(sql, parameters)
        expected = txn.execute("SELECT n FROM c WHERE id = 1").scalar()
        txn.rollback()
    assert commutes(counters, sql, parameters, isolation=isolation)
    assert counters.execute("SELECT n FROM c WHERE id = 1").scalar() == expected + 5


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("UPDATE c SET n = n + 1 WHERE n > 0", 'WHERE reads "n", which others may add to'),
        ("UPDATE c SET n = n + 1 WHERE d > 0", 'WHERE reads "d", which others may add to'),
        ("UPDATE c SET n = n + s WHERE id = 1", 'the amount reads "s", which others may add to'),
        ("UPDATE c SET n = n + 1, name = 'x' WHERE id = 1", '"name" is set to a value'),
        ("UPDATE c SET n = n + 1 WHERE id = 1 RETURNING n", 'RETURNING reads "n", which others may add to'),
        ("UPDATE c SET n = n + 1 WHERE id = 1 RETURNING *", "RETURNING reads *"),
        ("UPDATE c SET n = n + 1 WHERE id = (SELECT 1)", "it reads more than the row"),
        ("UPDATE c SET n = n + o.x FROM (VALUES (1)) AS o(x) WHERE id = o.x", "it reads more than the row"),
        ("UPDATE c SET id = id + 10 WHERE id = 1", '"id" is in the primary key'),
        ("UPDATE c SET n = n + 0.0 WHERE id = 1", '"n" is bigint, what is added numeric(1,1)'),
    ],
)
def test_an_update_that_reads_what_others_add_to_conflicts(counters: Database, sql: str, why: str) -> None:
    plan = [line.strip() for (line,) in counters.execute(f"EXPLAIN {sql}").rows()]
    assert plan[1] == f"No deltas: {why}"
    assert not any(commutes(counters, sql, isolation=isolation) for isolation in LEVELS)


@pytest.mark.parametrize(("where", "attempts"), [("id = 1", 1), ("id = 1 AND n > 0", 2)])
def test_a_statement_alone_that_adds_is_not_tried_again(
    counters: Database, monkeypatch: pytest.MonkeyPatch, where: str, attempts: int
) -> None:
    commit, calls = Transaction.commit, []

    def meanwhile(self: Transaction) -> Any:
        calls.append(self)
        if len(calls) == 1:
            counters.table("c").add(1, n=5)
        return commit(self)

    monkeypatch.setattr(Transaction, "commit", meanwhile)
    counters.execute(f"UPDATE c SET n = n + 1 WHERE {where}")
    assert len(calls) == attempts
    assert counters.execute("SELECT n FROM c WHERE id = 1").scalar() == 16


def test_who_reads_a_row_and_then_takes_from_it_conflicts_at_snapshot(counters: Database) -> None:
    first, second = counters.transaction(), counters.transaction()
    for txn in (first, second):
        assert txn.execute("SELECT n FROM c WHERE id = 1").scalar() >= 8
        txn.execute("UPDATE c SET n = n - 8 WHERE id = 1")
    plan = first.execute("EXPLAIN UPDATE c SET n = n - 8 WHERE id = 1").rows()
    assert plan[1][0].strip() == 'No deltas: its transaction has read "c", and relies on it'
    first.commit()
    with pytest.raises(weftdb.Conflict):
        second.commit()
    assert counters.execute("SELECT n FROM c WHERE id = 1").scalar() == 2


def _fails(txn: Any) -> None:
    with pytest.raises(weftdb.Invalid):
        txn.execute("UPDATE c SET n = n + 10000000 WHERE id = 1")


def _reads_and_goes_back(txn: Any) -> None:
    txn.savepoint("s")
    txn.execute("SELECT n FROM c")
    txn.rollback_to("s")


READS: dict[str, Any] = {
    "get": lambda txn: txn.table("c").get(1),
    "get_many": lambda txn: txn.table("c").get_many([1, 2]),
    "scan": lambda txn: txn.table("c").scan(),
    "select": lambda txn: txn.execute("SELECT n FROM c WHERE id = 1"),
    "as of": lambda txn: txn.execute(f"SELECT n FROM c AS OF {txn.version} WHERE id = 1"),
    "join": lambda txn: txn.execute("INSERT INTO other SELECT n FROM c"),
    "view": lambda txn: txn.execute("SELECT * FROM sums"),
    "update": lambda txn: txn.execute("UPDATE c SET n = n * 2 WHERE id = 3"),
    "upsert": lambda txn: txn.execute("INSERT INTO c VALUES (3) ON CONFLICT (id) DO UPDATE SET n = c.n"),
    "failure": _fails,
    "rolled back": _reads_and_goes_back,
}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("door", READS)
def test_an_update_of_a_table_that_its_transaction_reads_does_not_commute(
    counters: Database, door: str, first: bool
) -> None:
    counters.execute("CREATE TABLE other (n BIGINT); CREATE VIEW sums AS SELECT sum(n) FROM c")
    txn = counters.transaction()
    for step in (first, not first):
        if step:
            READS[door](txn)
        else:
            txn.execute("UPDATE c SET n = n + 1 WHERE id = 1")
    counters.table("c").add(1, n=5)
    with pytest.raises(weftdb.Conflict) as caught:
        txn.commit()
    assert (caught.value.table, caught.value.key) == ("c", (1,))
    assert counters.execute("SELECT n FROM c WHERE id = 1").scalar() == 15


def test_an_update_of_a_table_that_is_not_read_commutes(counters: Database) -> None:
    counters.execute("CREATE TABLE other (id BIGINT PRIMARY KEY, n BIGINT)")
    txn = counters.transaction()
    txn.execute("UPDATE c SET n = n + 1 WHERE id = 1")
    txn.execute("INSERT INTO other VALUES (1, 1)")
    txn.execute("UPDATE c SET n = n + 1 WHERE name = 'a' RETURNING id, name")
    txn.execute("UPDATE other SET n = n + 1 WHERE n > 0")
    txn.table("c").add(2, n=1)
    counters.execute("UPDATE c SET n = n + 5")
    txn.commit()
    assert counters.execute("SELECT n FROM c ORDER BY id").rows() == [(17,), (26,), (36,)]
    txn = counters.transaction()
    n = txn.table("c").get(1)["n"]
    txn.table("c").add(1, n=-n)  # add of a program is a delta whatever it has read
    counters.table("c").add(1, n=1)
    txn.commit()
    assert counters.execute("SELECT n FROM c WHERE id = 1").scalar() == 1


def test_what_a_transaction_saw_behind_its_update_is_what_it_commits(db: Database) -> None:
    """Three transactions take turns; a model of rows, of who read which table, and of deltas and whole rows decides."""
    rng = random.Random(11)
    rows = [(table, id) for table in ("a", "b") for id in (1, 2)]
    for table in ("a", "b"):
        db.execute(f"CREATE TABLE {table} (id INT PRIMARY KEY, n BIGINT); INSERT INTO {table} VALUES (1, 0), (2, 0)")
    values = dict.fromkeys(rows, 0)
    changed = {row: [(0, "put")] for row in rows}  # versions, and how
    outcomes: list[bool] = []
    for _ in range(25):
        open_ones = [(db.transaction(), set[str](), dict[tuple[str, int], tuple[int, str]]()) for _ in range(3)]
        begun = {id(one): one[0].version for one in open_ones}
        while open_ones:
            one = rng.choice(open_ones)
            txn, read, added = one
            table, key = row = rng.choice(rows)
            match rng.choice(["read", "add", "add", "alone", "commit"]):
                case "read":
                    txn.execute(f"SELECT n FROM {table} WHERE id = {key}").scalar()
                    read.add(table)
                case "add":
                    txn.execute(f"UPDATE {table} SET n = n + 1 WHERE id = {key}")
                    count, how = added.get(row, (0, "delta"))
                    added[row] = count + 1, "put" if table in read else how
                case "alone":
                    version = db.execute(f"UPDATE {table} SET n = n + 1 WHERE id = {key}").version
                    values[row] += 1
                    changed[row].append((version, "delta"))
                case _:
                    open_ones.remove(one)
                    may = all(
                        version <= begun[id(one)] or (how == "delta" and mine == "delta" and row[0] not in read)
                        for row, (_, mine) in added.items()
                        for version, how in changed[row]
                    )
                    try:
                        version = txn.commit()
                        outcomes.append(may)
                        assert may
                        for row, (count, how) in added.items():
                            values[row] += count
                            changed[row].append((version, how))
                    except weftdb.Conflict:
                        assert not may
                        outcomes.append(may)
            for table in ("a", "b"):
                found = dict(db.execute(f"SELECT id, n FROM {table}").rows())
                assert found == {id: values[table, id] for id in (1, 2)}
    assert {True, False} == set(outcomes)


def test_an_update_that_sets_says_nothing_of_deltas(counters: Database) -> None:
    plan = counters.execute("EXPLAIN UPDATE c SET n = 1 WHERE id = 1").arrow().column(0).to_pylist()
    assert not any("eltas" in line for line in plan)


def test_null_stays_null_when_something_is_added(counters: Database) -> None:
    counters.execute("UPDATE c SET s = s + 1, n = n + 1")
    counters.execute("UPDATE c SET n = n + $1 WHERE id = 1", [1])
    assert counters.execute("SELECT n, s FROM c ORDER BY id").rows() == [(12, 2), (21, None), (31, 4)]
    assert refused(counters, "UPDATE c SET n = n + NULL WHERE id = 1").sqlstate == "23502"
    counters.execute("UPDATE c SET d = d + NULL WHERE id = 1")
    assert counters.execute("SELECT d FROM c WHERE id = 1").scalar() is None


def test_what_is_added_is_checked_at_once_and_at_the_commit(counters: Database) -> None:
    assert refused(counters, "UPDATE c SET s = s + 32767 WHERE id = 1").sqlstate == "22003"
    assert refused(counters, "UPDATE c SET n = n + 1000000 WHERE id = 1").sqlstate == "23514"
    txn = counters.transaction()
    txn.execute("UPDATE c SET s = s + 32000 WHERE id = 1")
    counters.execute("UPDATE c SET s = s + 1000 WHERE id = 1")
    with pytest.raises(weftdb.Invalid) as caught:
        txn.commit()
    assert caught.value.sqlstate == "22003"
    assert counters.execute("SELECT s FROM c WHERE id = 1").scalar() == 1001


def test_deltas_and_whole_rows_come_to_the_same(db: Database) -> None:
    rng = random.Random(3)
    columns = "n BIGINT, s SMALLINT, d NUMERIC(12,3), f DOUBLE PRECISION"
    for table in ("a", "b"):
        db.execute(f"CREATE TABLE {table} (id INT PRIMARY KEY, name TEXT, {columns})")
        db.execute(
            f"INSERT INTO {table} SELECT i, 'n' || i % 3, i, CASE WHEN i % 5 > 0 THEN i END, i * 0.5, i FROM"
            " generate_series(1, 20) AS i"
        )
    for _ in range(25):
        column = rng.choice(["n", "s", "d", "f"])
        amount = rng.choice(["1", "id", "-length(name)", "NULL", "1.5", "$1", "0.25 + id", "2::smallint"])
        where = rng.choice(["id = 3", "id < 9", "name = 'n1'", "true", "id = 99"])
        parameters: list[object] = [rng.choice([2, -3])] if "$" in amount else []
        answers = []
        for table, forced in (("a", ""), ("b", "AND (SELECT true)")):
            sql = f"UPDATE {table} SET {column} = {column} {rng.choice('+')} {amount} WHERE {where} {forced}"
            try:
                answers.append(db.execute(sql, parameters).rows_affected)
            except weftdb.Invalid as error:
                answers.append(error.sqlstate)
        assert answers[0] == answers[1], (column, amount, where)
        assert db.execute("SELECT * FROM a ORDER BY id").rows() == db.execute("SELECT * FROM b ORDER BY id").rows()


def test_many_rows_are_written_whole(db: Database) -> None:
    db.execute("CREATE TABLE c (id INT PRIMARY KEY, n BIGINT)")
    db.execute("INSERT INTO c SELECT i, 0 FROM generate_series(1, 500) AS i")
    assert not commutes(db, "UPDATE c SET n = n + 1")
    db.execute("UPDATE c SET n = n + 1")
    assert db.execute("SELECT sum(n) FROM c").scalar() == 505
