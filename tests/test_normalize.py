"""Texts whose literals become parameters answer as they are written: each is run both ways."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from typing import Any

import pytest
import weftdb
from weftdb.sql.embedded import EmbeddedDatabase
from weftdb.sql.normalize import Shape, cut, liftable
from weftdb.sql.resources import resources_of
from weftdb.sql.session import Session

TABLE = """CREATE TABLE t (
    id BIGINT PRIMARY KEY, small SMALLINT, n INT, price NUMERIC(9, 2), ratio DOUBLE PRECISION, single REAL,
    name TEXT, short VARCHAR(3), day DATE, at TIMESTAMP, moment TIMESTAMPTZ, flag BOOLEAN
)"""

CONDITIONS = [
    "id = {i}", "{i} <> small", "n < {i} OR NOT (n >= {i})", "price = {i}", "price <= {d}", "ratio > {d}",
    "ratio = {i}", "single = {d}", "single <> {i}", "name = {s}", "name > {s} AND name <= {s}", "short = {s}",
    "short IN ({s}, {s})", "n IN ({i}, {i}, NULL)", "id IN ({i}, {d})", "id BETWEEN {i} AND {i}", "day = {t}",
    "at >= {t} AND at < {t}", "moment > {t}", "day BETWEEN {t} AND {t}", "n + {i} > {i}", "id = {s}", "price = {s}",
    "ratio = {s}", "flag = {s}", "name = {i}", "n = (SELECT max(n) FROM t AS u WHERE u.small = {i})",
    "EXISTS (SELECT 1 FROM t AS u WHERE u.n = t.n AND u.id > {i})", "day = {t}::date", "n % {i} = {i}",
    "at >= TIMESTAMP {t} AND at < timestamp {t}", "moment BETWEEN TIMESTAMPTZ {t} AND {t}::timestamptz",
    "at > DATE {t}", "day IN (DATE {t}, {t})", "day <= date {t} - {i}", "at < TIMESTAMP {t} + INTERVAL '36 hours'",
    "DATE {t} - day > {i}",
    "date_trunc('day', at) = TIMESTAMP WITHOUT TIME ZONE {t}", "moment > TIMESTAMP WITH TIME ZONE {t}",
    "moment <> CAST({t} AS TIMESTAMP)", "name = {t}::date::text", "(at, n) > (TIMESTAMP {t}, {i})",
    "at <> TIMESTAMP(0) {t}",
]  # fmt: skip

QUERIES = [
    "SELECT * FROM t WHERE {c}",
    "SELECT id, {i}, {s}, {d} FROM t WHERE {c} AND {c}",
    "SELECT n + {i} AS m, count(*) FROM t WHERE {c} GROUP BY n + {i}",
    "SELECT n, sum(price * {d}) FROM t WHERE {c} GROUP BY 1 HAVING count(*) > {i} ORDER BY 1 LIMIT {i}",
    "SELECT a.id, b.n FROM t AS a JOIN t AS b ON a.n = b.small AND b.id > {i} WHERE a.id < {i} ORDER BY 1, 2",
    "SELECT a.id, b.n FROM t AS a LEFT JOIN t AS b ON a.id = b.id AND b.n = {i} ORDER BY 1",
    "WITH x AS (SELECT * FROM t WHERE {c}) SELECT count(*), {i} FROM x WHERE {c}",
    "SELECT CASE WHEN {c} THEN {i} ELSE {d} END FROM t WHERE {c} UNION ALL SELECT {i} ORDER BY 1",
]

CHANGES = [
    "INSERT INTO t (id, n, price, ratio, name, day, at, moment) VALUES"
    " ({i}, {i}, {d}, {d}, {s}, {t}, {t}, {t}), ({i}, NULL, {i}, {i}, {s}, {t}, NULL, DEFAULT)",
    "INSERT INTO t (id, small, n, short) VALUES ({i}, {i}, {i}, {s})",
    "INSERT INTO t (id, n, price) VALUES ({i}, {i}, {d}) ON CONFLICT (id)"
    " DO UPDATE SET n = {i}, price = t.price + {i}, name = {s}",
    "UPDATE t SET n = {i}, name = {s} WHERE id = {i}",
    "UPDATE t SET n = n + {i}, price = price * {i} WHERE {c}",
    "UPDATE t SET ratio = {d}, single = {i}, day = {t} WHERE {c}",
    "UPDATE t SET ratio = ratio + {i}, short = {s} WHERE id = {i}",
    "DELETE FROM t WHERE id = {i}",
    "DELETE FROM t WHERE {c} AND n = {i}",
]

LITERALS = {
    "{i}": ["0", "1", "2", "3", "-1", "-2", "7", "2147483647", "2147483648", "-2147483648", "9223372036854775807"],
    "{d}": ["0.5", "1.25", "-2.50", "0.1", "3.14159265358979", "100.00"],
    "{s}": ["''", "'a'", "'b'", "'it''s'", "'ä'", "'long one'", "'1'", "'2'", "'true'", "' 2 '", "'-- x'"],
    "{t}": [
        "'2024-02-29'", "'2024-03-01'", "'2023-12-31 12:00'", "'1999-01-01'", "'no day'", "'2024-02-29T10:17:33.5Z'",
        "'2024-03-01 01:00:00+02'", "'2024-02-29 24:00'", "'infinity'", "'epoch'", "'now'", "'0044-03-15 BC'", "''",
    ],
}  # fmt: skip


def drawn(template: str, chance: random.Random) -> str:
    while "{c}" in template:
        template = template.replace("{c}", chance.choice(CONDITIONS), 1)
    for hole, values in LITERALS.items():
        while hole in template:
            common = values[:5] if hole in ("{i}", "{t}") and chance.random() < 0.8 else values
            template = template.replace(hole, chance.choice(common), 1)
    return template


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Literals are lifted from the first text of a shape on."""
    original = Shape.__init__

    def seen(self: Shape) -> None:
        original(self)
        self.seen = True

    monkeypatch.setattr(Shape, "__init__", seen)
    return iter(())


def outcome(db: EmbeddedDatabase, sql: str) -> Any:
    try:
        result = db.execute(sql)
        rows = result.rows() if "ORDER BY" in sql else sorted(map(repr, result.rows()))
    except weftdb.WeftError as error:
        return type(error).__name__, error.sqlstate, error.message, error.position
    return result.tag, result.rows_affected, result.names, result.types, rows


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("seed", range(3))
def test_texts_answer_the_same_with_their_literals_lifted(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    lifting, plain = weftdb.open(), weftdb.open()
    monkeypatch.setattr(resources_of(plain.engine), "lifted", lambda _: None)
    for db in (lifting, plain):
        db.execute(TABLE)
    for _ in range(150):
        sql = drawn(chance.choice([*QUERIES, *CHANGES]), chance)
        assert outcome(lifting, sql) == outcome(plain, sql), sql
    assert outcome(lifting, "SELECT * FROM t ORDER BY id") == outcome(plain, "SELECT * FROM t ORDER BY id")
    lifted = lifting.execute("SELECT value FROM weft_metrics WHERE name = 'weft_statements_lifted'").scalar()
    assert lifted > 50


CHARTS = [
    "SELECT time_bucket('1 hour', at) AS hour, count(*), sum(n) FROM e WHERE {w} GROUP BY 1 ORDER BY 1",
    "SELECT date_trunc('day', at) AS day, k, avg(n) FROM e WHERE {w} AND k IN ({s}, {s}) GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT k, count(*), sum(n) FROM e WHERE {w} AND k <> {s} GROUP BY 1 HAVING count(*) > {i} ORDER BY 1 LIMIT {i}",
    "SELECT count(*), sum(n) FILTER (WHERE k = {s}) FROM e WHERE {w}",
    "SELECT 'this' AS week, count(*) FROM e WHERE {w} UNION ALL SELECT 'last', count(*) FROM e WHERE {w} ORDER BY 1",
    "SELECT count(*), sum(n) FROM e WHERE k = {s} AND n > {i}",
    "SELECT time_bucket('1 day', at) AS day, count(*) FROM e WHERE k = {s} AND {w} GROUP BY 1 ORDER BY 1",
]
WINDOWS = [
    "at >= TIMESTAMP {m} AND at < TIMESTAMP {m}", "at >= {m}", "at BETWEEN {m} AND {m}", "at > {m}::timestamp",
    "at >= TIMESTAMP {m} - INTERVAL '3 days'", "at >= DATE {d} AND at < DATE {d} + 2", "NOT (at < TIMESTAMP {m})",
]  # fmt: skip


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("seed", range(2))
def test_moving_windows_answer_the_same_with_their_literals_lifted_views_included(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    lifting, plain = weftdb.open(), weftdb.open()
    monkeypatch.setattr(resources_of(plain.engine), "lifted", lambda _: None)
    start = dt.datetime(2024, 2, 27)

    def moment() -> dt.datetime:
        return start + dt.timedelta(seconds=chance.randrange(8 * 86_400), hours=chance.choice((0, 0, -30)))

    rows = [{"id": i, "at": moment(), "k": chance.choice("abc"), "n": chance.choice((None, 1, 5))} for i in range(400)]
    for db in (lifting, plain):
        db.execute("CREATE TABLE e (id BIGINT, at TIMESTAMP, k TEXT, n INT, PRIMARY KEY (id, at))")
        db.execute(
            "CREATE MATERIALIZED VIEW h AS SELECT time_bucket('1 hour', at) AS hour, k, count(*) AS rows, sum(n),"
            " count(n) FROM e GROUP BY 1, 2"
        )
        db.execute(
            "CREATE MATERIALIZED VIEW a AS SELECT time_bucket('1 day', at) AS day, count(*), sum(n) FROM e"
            " WHERE k = 'a' GROUP BY 1"
        )
        db.table("e").put(rows)
    holes = {"{s}": ["'a'", "'a'", "'b'", "'x'"], "{i}": ["0", "3", "50"]}
    for _ in range(120):
        sql = chance.choice(CHARTS)
        while "{w}" in sql:
            sql = sql.replace("{w}", chance.choice(WINDOWS), 1)
        for hole in ("{m}", "{d}", *holes):
            while hole in sql:
                at = moment().replace(minute=chance.choice((0, 17)), second=0)
                value = f"'{at:%Y-%m-%d}'" if hole == "{d}" else f"'{at}'"
                sql = sql.replace(hole, chance.choice(holes.get(hole, [value])), 1)
        assert outcome(lifting, sql) == outcome(plain, sql), sql
    lifted = lifting.execute("SELECT value FROM weft_metrics WHERE name = 'weft_statements_lifted'").scalar()
    reads = [dict(db.execute("SELECT view_name, reads FROM weft_views").rows()) for db in (lifting, plain)]
    assert lifted > 100
    assert reads[0] == reads[1]
    assert reads[0]["h"] > 20
    assert reads[0]["a"] > 0


def lift(text: str) -> tuple[str, list[object]]:
    pieces = cut(text)
    lifts = () if pieces is None else liftable(pieces)
    return (text, []) if pieces is None or not lifts else pieces.lift(lifts)


@pytest.mark.parametrize(
    ("text", "normal", "values"),
    [
        ("SELECT a FROM t WHERE b = 5", "SELECT a FROM t WHERE b = $1", [5]),
        ("SELECT a FROM t WHERE b = -5 AND 3 > c;\n", "SELECT a FROM t WHERE b = $1 AND $2 > c", [-5, 3]),
        ("select a2 from t where b1='it''s'", "select a2 from t where b1=$1", ["it's"]),
        ('SELECT "x 1" FROM t WHERE "it\'s 2" IN (1, 2)', 'SELECT "x 1" FROM t WHERE "it\'s 2" IN ($1, $2)', [1, 2]),
        ("SELECT 1, 'a', -2 FROM t LIMIT 5", None, []),
        ("SELECT a + 1 FROM t WHERE b - 5 = 3 GROUP BY a + 1 HAVING sum(b) = 4 ORDER BY 1 LIMIT 2", None, []),
        ("SELECT a FROM t WHERE b = 1.5 AND date_trunc('day', c) = '2024-01-01'", None, []),
        ("SELECT a FROM t WHERE b = INTERVAL '1 day' AND d = '5'::int AND c = TIMESTAMP(0) '2024-01-01'", None, []),
        ("SELECT DATE '2024-01-01' FROM t GROUP BY DATE '2024-01-01' HAVING max(c) > DATE '2024-01-01'", None, []),
        ("SELECT a FROM t WHERE f(DATE '2024-01-01') = a AND DATE '2024-01-01'::timestamp > c", None, []),
        (
            "SELECT a FROM t WHERE c >= TIMESTAMP '2024-03-01T10:17:33Z' AND c < timestamp with time zone '; -- 1e5'",
            "SELECT a FROM t WHERE c >= $1::TIMESTAMP AND c < $2::timestamp with time zone",
            ["2024-03-01T10:17:33Z", "; -- 1e5"],
        ),
        (
            "SELECT a FROM t WHERE c IN ('x'::date, CAST('y' AS date)) AND f(c) = (DATE  'z' - INTERVAL '1 day')",
            "SELECT a FROM t WHERE c IN ($1::date, CAST($2 AS date)) AND f(c) = ($3::DATE - INTERVAL '1 day')",
            ["x", "y", "z"],
        ),
        ("SELECT a FROM t WHERE date = '5' AND b > ''", "SELECT a FROM t WHERE date = $1 AND b > $2", ["5", ""]),
        ("SELECT a FROM t WHERE (b, c) = (1, 2) AND d LIKE 'x%' AND e = 1 + 1", None, []),
        ("SELECT sum(a) FILTER (WHERE b = 5 AND c > DATE '2024-01-01') FROM t", None, []),
        ("SELECT a FROM t WHERE b = $1 AND c = 5", None, []),
        ("SELECT a FROM t WHERE b = 5 -- six", None, []),
        ("SELECT a FROM t WHERE b = E'x' AND c = 5", None, []),
        ("SELECT a FROM t WHERE b = 'x' 'y'", None, []),
        ("SELECT a FROM t WHERE b = 1e5 AND c = 1", None, []),
        ("SELECT a FROM t WHERE b = 5; SELECT 6", None, []),
        ("CREATE TABLE x (a INT CHECK (a = 5))", None, []),
        ("SELECT a FROM t AS OF VERSION 5 WHERE b = 5", None, []),
        ("INSERT INTO t VALUES (1, -2.5), (x, 1 + 1)", "INSERT INTO t VALUES ($1, $2), (x, 1 + 1)", [1, "-2.5"]),
        ("UPDATE t SET a = 5, b = b * 2, c = 1 + 1", "UPDATE t SET a = $1, b = b * $2, c = 1 + 1", [5, 2]),
    ],
)  # fmt: skip
def test_what_is_lifted(text: str, normal: str | None, values: list[object]) -> None:
    found, given = lift(text)
    assert found == (text if normal is None else normal)
    assert [str(value) if not isinstance(value, int | str) else value for value in given] == values


def test_the_second_text_of_a_shape_is_lifted_and_takes_the_plan_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    db = weftdb.open()
    db.execute(TABLE)
    for id in range(20):
        db.execute(f"INSERT INTO t (id, n, name) VALUES ({id}, {id % 3}, 'n{id}')")
    texts: list[str] = []
    original = Session._run_script

    def noted(self: Session, script: Any, *more: Any) -> Any:
        texts.append(script.sources[0].text)
        return original(self, script, *more)

    monkeypatch.setattr(Session, "_run_script", noted)
    found = [db.execute(f"SELECT name FROM t WHERE id = {id}").scalar() for id in range(20)]
    assert found == [f"n{id}" for id in range(20)]
    assert texts == ["SELECT name FROM t WHERE id = 0", *["SELECT name FROM t WHERE id = $1"] * 19]
    texts.clear()
    db.execute("SELECT name FROM t WHERE id = 0")
    assert texts == ["SELECT name FROM t WHERE id = 0"]


@pytest.mark.usefixtures("at_once")
def test_an_error_points_into_the_text_as_it_was_written() -> None:
    db = weftdb.open()
    db.execute(TABLE)
    with pytest.raises(weftdb.Invalid) as caught:
        db.execute("SELECT id FROM t WHERE n = 5 AND nothing = 77")
    assert "nothing = 77" in caught.value.message
    with pytest.raises(weftdb.Invalid, match="no day"):
        db.execute("SELECT id FROM t WHERE day = 'no day'")
    with db.transaction() as txn:
        txn.execute("INSERT INTO t (id) VALUES (1)")
        with pytest.raises(weftdb.Invalid):
            txn.execute("INSERT INTO t (id, n) VALUES (2, 'x')")
        txn.execute("INSERT INTO t (id) VALUES (3)")
    session = Session(db.engine)
    session.execute("BEGIN")
    with pytest.raises(weftdb.Invalid):
        session.execute("INSERT INTO t (id, n) VALUES (4, 'x')")
    assert session.status == "failed"
    session.execute("ROLLBACK")
    assert db.execute("SELECT id FROM t ORDER BY id").rows() == [(1,), (3,)]


@pytest.mark.usefixtures("at_once")
def test_a_definition_that_changed_changes_what_a_literal_means() -> None:
    db = weftdb.open()
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v INT)")
    db.execute("INSERT INTO t (id, v) VALUES (1, 5)")
    assert db.execute("SELECT id FROM t WHERE v = '5'").scalar() == 1
    db.execute("DROP TABLE t")
    db.execute("CREATE TABLE t (id TEXT PRIMARY KEY, v TEXT)")
    db.execute("INSERT INTO t (id, v) VALUES (1, '05')")
    assert db.execute("SELECT id FROM t WHERE v = '05'").scalar() == "1"
    assert db.execute("SELECT id FROM t WHERE v = '6'").scalar() is None
