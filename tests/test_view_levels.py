"""Materialized views over materialized views, minutes, hours, days, case by case; at random in test_view_model.py."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import weftdb
from from_rows import from_rows
from weftdb.base.errors import Invalid

DDL = """CREATE TABLE t (id INT PRIMARY KEY, k INT, s TEXT, at TIMESTAMP, x INT, y DOUBLE PRECISION, z NUMERIC(12,2),
flag BOOLEAN)"""
MINUTES = (
    "SELECT k, s, time_bucket('1 minute', at) AS minute, count(*) AS n, count(x) FILTER (WHERE flag) AS nx, "
    "sum(x) AS sx, sum(y) AS sy, sum(z) FILTER (WHERE k > 1) AS sz, bool_and(flag) AS every, avg(x) AS mean "
    "FROM t WHERE x IS NULL OR x > -5 GROUP BY 1, 2, 3"
)


def check(on: Any, name: str, query: str) -> int:
    """The view against its query, over the groups below; floats to 1e-9 of what they are sums of."""

    def ordered(rows: list[Any]) -> list[Any]:
        return sorted(rows, key=lambda row: [(v is None, str(v)) for v in row if not isinstance(v, float)])

    shown = ordered(on.execute(f"SELECT * FROM {name}").rows())
    right = ordered(from_rows(on, query).rows())
    assert len(shown) == len(right), (query, shown, right)
    for left, other in zip(shown, right, strict=True):
        for a, b in zip(left, other, strict=True):
            assert a == b or (isinstance(a, float) and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-6)), (query, a, b)
    return len(shown)


@pytest.fixture
def minutes(tmp_path: Path) -> Iterator[Any]:
    with weftdb.open(tmp_path / "data") as db:
        db.execute(DDL)
        db.execute(f"CREATE MATERIALIZED VIEW minutes AS {MINUTES}")
        yield db


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELECT k, sum(mean) AS m FROM minutes GROUP BY k", r"sum\(\) of avg\(\).*keep sum and count"),
        ("SELECT k, count(*) AS m FROM minutes GROUP BY k", r"take sum\(\) of its count"),
        ("SELECT k, max(n) AS m FROM minutes GROUP BY k", r"max\(\) of count\(\)"),
        ("SELECT k, sum(n) AS m FROM minutes WHERE n > 2 GROUP BY k", "WHERE is about more"),
        ("SELECT n, sum(sx) AS m FROM minutes GROUP BY n", "GROUP BY is about more"),
        ("SELECT k, sum(n + 1) AS m FROM minutes GROUP BY k", "no aggregate of the view below"),
        ("SELECT k, sum(n) FILTER (WHERE k > 1) AS m FROM minutes GROUP BY k", "put it into WHERE"),
        ("SELECT k, sum(DISTINCT n) AS m FROM minutes GROUP BY k", "DISTINCT or ORDER BY"),
        ("SELECT k, sum(sr) AS m FROM odd GROUP BY k", "sums of REAL are rounded"),
        ("SELECT k, sum(dx) AS m FROM odd GROUP BY k", r"sum\(\) of count\(\) cannot be told"),
        ("SELECT k, min(low) AS m FROM odd GROUP BY k", r"min\(\) of min\(\) cannot be told"),
        *(
            (f"SELECT k, sum(n) AS m FROM ({below}) AS q GROUP BY k", why)
            for below, why in (
                ("SELECT k, sum(n) AS n FROM minutes GROUP BY k HAVING sum(n) > 3", "more than groups"),
                ("SELECT DISTINCT k, n FROM minutes", "more than groups"),
                ("SELECT DISTINCT ON (k) k, n FROM minutes", "more than groups"),
                ("SELECT k, n FROM minutes LIMIT 3", "more than groups"),
                ("SELECT k, n FROM minutes OFFSET 3", "more than groups"),
                ("SELECT k, n FROM minutes WHERE n > 2", "reads more than groups"),
            )
        ),
    ],
)
def test_what_groups_do_not_tell_is_refused_with_the_reason(minutes: Any, query: str, why: str) -> None:
    minutes.execute(
        "CREATE MATERIALIZED VIEW odd AS SELECT k, s, sum(y::real) AS sr, count(DISTINCT x) AS dx, "
        "min(DISTINCT x) AS low FROM t GROUP BY k, s"
    )
    with pytest.raises(Invalid, match=why) as error:
        minutes.execute(f"CREATE MATERIALIZED VIEW w AS {query}")
    assert error.value.sqlstate == "0A000"


def test_buckets_and_filters_of_two_levels(minutes: Any) -> None:
    """Weeks do not lie in months: a week belongs to the month that it begins in."""
    minutes.execute(
        "CREATE MATERIALIZED VIEW weeks AS SELECT k, time_bucket('1 week', at) AS week, at::date AS day, "
        "time_bucket('1 day', at::date) AS date, count(*) AS n, sum(x) FILTER (WHERE x > 4) AS sx, "
        "sum(z) FILTER (WHERE k > 0) AS sz FROM t GROUP BY 1, 2, 3, 4"
    )
    levels = (
        "SELECT date_trunc('month', week) AS m, sum(n) AS n FROM weeks GROUP BY 1",
        "SELECT time_bucket('10 days', day) AS m, sum(n) AS n, sum(sx) AS sx FROM weeks GROUP BY 1",
        "SELECT date_trunc('month', day::timestamp) AS m, sum(sx) FILTER (WHERE k < 3) AS sx FROM weeks GROUP BY 1",
        "SELECT extract(dow FROM week) AS m, week + interval '3 days' AS d, sum(n) AS n FROM weeks GROUP BY 1, 2",
        "SELECT (week + interval '3 days')::date AS m, sum(sz) FILTER (WHERE k <> 2) AS sz FROM weeks GROUP BY 1",
        "SELECT week::date AS m, sum(n) AS n FROM weeks GROUP BY 1",
        "SELECT date_trunc('month', date::timestamp) AS m, sum(n) AS n FROM weeks GROUP BY 1",
        "SELECT date_trunc('month', day::timestamp) AS m, sum(n) AS n FROM weeks GROUP BY 1",
    )
    for number, query in enumerate(levels):
        minutes.execute(f"CREATE MATERIALIZED VIEW l{number} AS {query}")
    minutes.execute(
        "INSERT INTO t SELECT i, i % 4, 's', '2026-01-01'::timestamp + i * interval '7 hours', i % 9, i, i, true "
        "FROM generate_series(1, 300) AS g(i)"
    )
    for number, query in enumerate(levels):
        assert check(minutes, f"l{number}", query) > 1
        schemas = [minutes.execute(f"SELECT * FROM {of} AS q").arrow().schema for of in (f"l{number}", f"({query})")]
        assert schemas[0] == schemas[1], query
    query = "SELECT date_trunc('month', at) AS m, count(*) FROM t GROUP BY 1"
    lines = [line.strip() for (line,) in minutes.execute(f"EXPLAIN {query}").rows()]
    assert "View l2 answers for t, since" in lines, "months of days are months"
    assert sorted(minutes.execute(query).rows()) == sorted(from_rows(minutes, query).rows())


def test_a_view_below_is_needed(minutes: Any) -> None:
    minutes.execute("CREATE MATERIALIZED VIEW days AS SELECT minute::date AS day, sum(n) AS n FROM minutes GROUP BY 1")
    for text in ("DROP MATERIALIZED VIEW minutes", "DROP TABLE t", "ALTER TABLE t DROP COLUMN at"):
        with pytest.raises(Invalid, match="depends on"):
            minutes.execute(text)
    minutes.execute("INSERT INTO t VALUES (1, 1, 'a', '2026-01-01 10:00:30', 1, 1, 1, true)")
    assert minutes.execute("SELECT sum(n) FROM days").scalar() == 1
    minutes.execute("DROP MATERIALIZED VIEW minutes CASCADE")
    assert minutes.execute("SHOW TABLES").rows() == [("t", "table")]


def test_queries_of_the_table_are_answered_from_the_highest_level(minutes: Any) -> None:
    days = "SELECT minute::date AS day, sum(n) AS n, sum(sx) AS sx FROM minutes GROUP BY 1"
    minutes.execute(f"CREATE MATERIALIZED VIEW days AS {days}")
    minutes.execute(
        "INSERT INTO t SELECT i, i % 4, 's' || i % 3, '2026-01-01'::timestamp + i * interval '10 minutes', i % 50, i, "
        "i, true FROM generate_series(1, 3000) AS g(i)"
    )
    query = "SELECT date_trunc('month', at) AS m, avg(x) FROM t WHERE x IS NULL OR x > -5 GROUP BY 1"
    lines = [line for (line,) in minutes.execute(f"EXPLAIN {query}").rows()]
    assert "View days answers for t, since" in lines
    assert "  also View minutes could" in lines
    assert minutes.execute(query).rows() == from_rows(minutes, query).rows()


def test_a_plain_view_may_stand_between(minutes: Any) -> None:
    minutes.execute("CREATE VIEW some AS SELECT id, k AS part, x FROM t WHERE flag")
    minutes.execute("CREATE VIEW shown AS SELECT k, n AS rows, minute FROM minutes")
    for name, query, again in (
        (
            "a",
            "SELECT part, count(*) AS n, sum(x) AS s FROM some GROUP BY part",
            "some AS SELECT id, k AS part, 1 AS x",
        ),
        ("b", "SELECT k, sum(rows) AS n FROM shown GROUP BY k", "shown AS SELECT k, n + 1 AS rows, minute"),
    ):
        minutes.execute(f"CREATE MATERIALIZED VIEW {name} AS {query}")
        minutes.execute(
            "INSERT INTO t SELECT i, i % 4, 's', NULL, i, i, i, i % 3 = 0 FROM generate_series(1, 30) AS g(i)"
        )
        assert check(minutes, name, query) == 4
        minutes.execute("TRUNCATE t")
        with pytest.raises(Invalid, match="depends on"):
            minutes.execute(f"CREATE OR REPLACE VIEW {again} FROM {'t' if name == 'a' else 'minutes'}")
