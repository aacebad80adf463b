"""What no pipeline computes, computed by the executor of groups that one made: the same as of rows."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
import weftdb
from weftdb.base.limits import PIPELINE_ROWS_MIN
from weftdb.sql.embedded import EmbeddedDatabase

ROWS = 2 * PIPELINE_ROWS_MIN
START = dt.datetime(2023, 12, 30)

ANSWERED = (
    "SELECT max(a), min(b), count(*) FROM t",
    "SELECT coalesce(a, b) AS k, count(*), avg(n), avg(s), avg(g), avg(p), sum(g), sum(p) FROM t GROUP BY 1 ORDER BY 1",
    "SELECT a || '/' || b AS k, count(n), min(n), max(at), min(x) FROM t GROUP BY 1 ORDER BY 1",
    "SELECT extract(week FROM at) AS w, count(*), max(a) FROM t GROUP BY 1 ORDER BY 1",
    "SELECT extract(DOY FROM at) AS w, extract(isoyear FROM at), count(*) FROM t GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT to_char(at, 'IYYY-IW') AS w, sum(n) FROM t GROUP BY 1 ORDER BY 1",
    "SELECT to_char(at, 'YYYY-MM-DD') AS d, sum(n) FROM t WHERE n > 0 GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5",
    "SELECT floor(p / 10) AS f, count(*), sum(n) FILTER (WHERE a = 'x') FROM t GROUP BY 1 ORDER BY 1",
    "SELECT width_bucket(p, -50, 50, 7) AS f, count(*) FROM t GROUP BY 1 HAVING avg(n) > 0 ORDER BY 1",
    "SELECT round(p) AS f, count(*) FROM t GROUP BY 1 ORDER BY 1 LIMIT 5",
    "SELECT GROUPING(a), a, b, count(*), sum(p), max(b) FROM t GROUP BY ROLLUP (a, b) ORDER BY 1, 2, 3",
    "SELECT GROUPING(a, b), count(*) FROM t WHERE n > 100 GROUP BY CUBE (a, b)",
    "SELECT count(*), avg(n), max(a), sum(p) FROM t WHERE upper(a) || b = 'XU'",
    "SELECT count(*), avg(n), max(a), sum(p) FROM t WHERE upper(a) || b = 'nothing'",
    "SELECT CASE WHEN n <> 0 THEN CAST(12 / n AS TEXT) ELSE a END AS k, count(*) FROM t GROUP BY 1 ORDER BY 1",
    "SELECT DISTINCT a || coalesce(b, '') AS k FROM t ORDER BY 1",
    "SELECT a, min(b) FILTER (WHERE n > 1), max(a || b) FROM t GROUP BY a ORDER BY a",
    "SELECT n, max(a) FILTER (WHERE a < 'y') FROM t GROUP BY n ORDER BY n",
    "SELECT to_char(at, 'YYYY-MM-DD HH24') AS h, count(*) FROM t WHERE at < '2024-01-03' GROUP BY 1 ORDER BY 1",
    "SELECT CASE WHEN n < 0 THEN CAST(n + 2147483647 AS TEXT) ELSE a END AS k, count(*) FROM t GROUP BY 1 ORDER BY 1",
    "SELECT d.name || t.a AS k, count(*), max(t.b) FROM t JOIN dim d ON t.n = d.id GROUP BY 1 ORDER BY 1",
)


@pytest.fixture(scope="module")
def db() -> Iterator[EmbeddedDatabase]:
    draw = random.Random(20)

    def some(*values: Any) -> list[Any]:
        return [draw.choice(values) for _ in range(ROWS)]

    with weftdb.open() as db:
        db.execute(
            "CREATE TABLE t (k BIGINT PRIMARY KEY, a TEXT, b TEXT, n INTEGER, s SMALLINT, g BIGINT, p NUMERIC(12,2),"
            " x DOUBLE PRECISION, at TIMESTAMP)"
        )
        db.execute("CREATE TABLE dim (id INTEGER PRIMARY KEY, name TEXT)")
        db.execute("INSERT INTO dim VALUES (1, 'one'), (2, 'two')")
        prices = [Decimal(number) / 100 for number in range(-5_000, 5_000, 37)]
        columns = {
            "k": list(range(ROWS)),
            "a": some("x", "y", None, "zz", ""),
            "b": some("u", None, "v"),
            "n": pa.array(some(None, 1, 2, -3, 0), pa.int32()),
            "s": pa.array(some(None, 1, 32_767), pa.int16()),
            "g": some(None, 2**40, 2**40 - 1, -(2**42)),
            "p": pa.array(some(None, *prices), pa.decimal128(12, 2)),
            "x": some(0.5, -0.0, None),
            "at": pa.array([START + minute * dt.timedelta(minutes=37) for minute in range(ROWS)], pa.timestamp("us")),
        }
        db.table("t").put(pa.table(columns))
        yield db


def ask(db: EmbeddedDatabase, tier: str, sql: str) -> Any:
    return db.execute(sql, settings={"weft.tier": tier})


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


@pytest.mark.parametrize("sql", ANSWERED)
def test_what_is_computed_of_groups_is_what_is_computed_of_rows(db: EmbeddedDatabase, sql: str) -> None:
    expected, found = (ask(db, tier, sql).arrow() for tier in ("relational", "pipeline"))
    if "LIMIT" in sql:
        assert found.equals(expected)
    else:  # rows of ROLLUP may have the same keys
        assert sorted(map(repr, _rows(found))) == sorted(map(repr, _rows(expected)))
    assert found.schema.equals(expected.schema, check_metadata=True)
    assert any(line.lstrip().startswith("Pipeline of t") for (line,) in ask(db, "pipeline", f"EXPLAIN {sql}").rows())


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT a || b, sum(x) FROM t GROUP BY 1", "groups by text"),  # who adds up sums of doubles rounds again
        ("SELECT CAST(x AS TEXT), count(*) FROM t GROUP BY 1", "groups by text"),  # '0' and '-0' are two, 0 and -0 one
        ("SELECT a || b || random(), count(*) FROM t GROUP BY 1", "another value for each row"),
        ("SELECT a || b, stddev(n) FROM t GROUP BY 1", "groups by text"),
        ("SELECT a || b, count(DISTINCT n), string_agg(a, ',') FROM t GROUP BY 1", "beside DISTINCT"),
    ],
)
def test_what_groups_do_not_say_is_left_to_rows(db: EmbeddedDatabase, sql: str, why: str) -> None:
    with pytest.raises(weftdb.Invalid, match=why):
        ask(db, "pipeline", sql).rows()


def test_many_values_are_left_to_the_executor_and_the_rest_of_the_query_is_not(db: EmbeddedDatabase) -> None:
    few = "SELECT CAST(n AS TEXT), count(*) FROM t GROUP BY 1"
    many = "SELECT CAST(k AS TEXT), count(*) FROM t GROUP BY 1"

    def lines(sql: str) -> list[str]:
        return [line.strip() for (line,) in ask(db, "auto", f"EXPLAIN ANALYZE {sql}").rows()]

    assert not any("may be many" in line for line in lines(few))
    days = "SELECT to_char(at, 'YYYY-MM-DD'), count(*) FROM t GROUP BY 1"
    assert not any("may be many" in line for line in lines(days))
    prices = "SELECT CAST(p AS TEXT) || a, count(*) FROM t GROUP BY 1"  # more than a sixteenth of the rows
    assert any("different values of p and a may be many" in line for line in lines(prices))
    assert any("different values of k may be many" in line for line in lines(many))
    both = f"SELECT n, count(*) FROM t GROUP BY 1 UNION ALL SELECT count(*), 0 FROM ({many}) y"
    assert any(line.startswith("Pipeline of t: 5 groups of") for line in lines(both))
    both = f"SELECT count(*) FROM ({many}) y UNION ALL SELECT count(DISTINCT n) FROM t"
    assert any("different values by bits" in line for line in lines(both))
    assert ask(db, "auto", f"SELECT count(*) FROM ({many}) y").scalar() == ROWS


def test_a_division_that_case_avoids_is_not_made_of_all_values(db: EmbeddedDatabase) -> None:
    with pytest.raises(weftdb.Invalid, match="division by zero"):
        ask(db, "pipeline", "SELECT CAST(12 / n AS TEXT), count(*) FROM t GROUP BY 1").rows()
    avoided = "SELECT CASE WHEN n > 0 THEN CAST(12 / n AS TEXT) END, count(*) FROM t GROUP BY 1"
    assert {key for key, _ in ask(db, "pipeline", avoided).rows()} == {"12", "6", None}
