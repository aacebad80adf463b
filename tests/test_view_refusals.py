"""What a materialized view cannot be: each refusal says the reason and the nearest view that can be kept, and that one
can be: it is made here, as it is printed, and where it says all that was asked it answers the query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import weftdb
from from_rows import from_rows, from_views

Database = Any

ROWS = """INSERT INTO t SELECT i % 3, timestamp '2026-01-01' + i * interval '50 minutes', i, i % 5, i % 7 * 0.5,
  's' || i % 4, date '2026-01-01' + i % 40, timestamptz '2026-01-01 00:00+00' + i * interval '50 minutes',
  i * interval '1 hour', ARRAY[i % 2] FROM generate_series(1, 300) AS g(i)"""


@pytest.fixture
def db() -> Iterator[Database]:
    with weftdb.open() as db:
        db.execute(
            "CREATE TABLE t (k INT NOT NULL, at TIMESTAMP NOT NULL, id INT NOT NULL, x INT, y DOUBLE PRECISION, "
            "s TEXT, d DATE, tz TIMESTAMPTZ, i INTERVAL, a INT[], PRIMARY KEY (k, at, id))"
        )
        db.execute("CREATE TABLE side (id INT PRIMARY KEY, city TEXT)")
        db.execute("INSERT INTO side VALUES (0, 'Ulm'), (1, 'Trier'), (2, NULL)")
        db.execute(ROWS)
        yield db


def same(db: Database, query: str) -> None:
    """Views say what rows say."""
    assert sorted(map(repr, from_views(db, query).rows())) == sorted(map(repr, from_rows(db, query).rows()))


def refused(db: Database, query: str) -> tuple[str, str]:
    """The reason, and the hint."""
    with pytest.raises(weftdb.Invalid) as error:
        db.execute(f"CREATE MATERIALIZED VIEW v AS {query}")
    assert error.value.sqlstate == "0A000"
    assert db.execute("SELECT count(*) FROM weft_views").scalar() == 0, "nothing is made in its place"
    return error.value.message.removeprefix('materialized view "v" cannot be kept: '), error.value.hint or ""


OF_QUERIES = "a part of its SELECT list is for queries alone"
ZONE = "what it computes depends on the session's time zone (date_trunc of a DATE does, of d::timestamp not)"
ANSWERED = (
    ("SELECT k, count(*) AS n FROM t GROUP BY k HAVING count(*) > 3", "it has more than groups: HAVING"),
    ("SELECT k, sum(x) AS n FROM t GROUP BY k ORDER BY k DESC LIMIT 2", "it has more than groups: ORDER BY, LIMIT"),
    ("SELECT DISTINCT k, s FROM t", "it does not group rows"),
    ("SELECT count(*) AS n, max(x) AS m FROM t", "it has no GROUP BY columns"),
    ("SELECT 1 AS one, count(*) AS n FROM t GROUP BY 1", "it groups by constants alone"),
    ("SELECT city, count(*) AS n FROM t JOIN side ON k = side.id GROUP BY city", "it joins tables"),
    ("SELECT k, count(*) AS n FROM t WHERE x IN (SELECT id FROM side) GROUP BY k", "it joins tables"),
    ("SELECT k, n FROM (SELECT k, count(*) AS n FROM t GROUP BY k) q", "it does not group rows"),
    ("SELECT k, count(*) AS n FROM t GROUP BY k UNION ALL SELECT 1, 2", "it does not group rows"),
    ("SELECT k, sum(count(*)) OVER (ORDER BY k) AS n FROM t GROUP BY k", OF_QUERIES),
    ("SELECT k, count(*) AS n FROM t WHERE at > now() - interval '1 day' GROUP BY k", "now() changes with time"),
    ("SELECT k, count(*) AS n FROM t WHERE tz <= current_timestamp GROUP BY k", "now() changes with time"),
    ("SELECT k, count(*) AS n FROM t WHERE d < current_date GROUP BY k", "now() changes with time"),
    ("SELECT date_trunc('month', d) AS m, count(*) AS n FROM t GROUP BY 1", ZONE),
    ("SELECT date_trunc('day', tz) AS m, count(*) AS n FROM t GROUP BY 1", ZONE),
    ("SELECT tz::date AS m, count(*) AS n FROM t WHERE x > 1 GROUP BY 1", ZONE),
)

NEAR = (
    ("SELECT k, s, count(*) AS n FROM t GROUP BY GROUPING SETS ((k), (s))", "it has grouping sets", "GROUP BY k, s"),
    ("SELECT k, median(x) AS m, sum(y) AS n FROM t GROUP BY k", "median is not kept per group", "GROUP BY k, x"),
    ("SELECT k, array_agg(x ORDER BY id) AS m FROM t GROUP BY k", "array_agg is not kept per group", "GROUP BY k, x"),
    ("SELECT k, sum(DISTINCT x) AS m FROM t GROUP BY k", "sum with DISTINCT or ORDER BY is not kept", "GROUP BY k, x"),
    ("SELECT k, mode() WITHIN GROUP (ORDER BY s) AS m FROM t GROUP BY k", "mode is not kept", "GROUP BY k, s"),
    ("SELECT k, bit_and(x) FILTER (WHERE y > 1) AS m FROM t GROUP BY k", "bit_and is not kept", "GROUP BY k, x, y"),
    ("SELECT k, approx_count_distinct(x) AS m FROM t GROUP BY k", "approx_count_distinct is not", "count(DISTINCT x)"),
    (
        "SELECT k, count(*) FILTER (WHERE at > now()) AS m FROM t GROUP BY k",
        "now() changes with time",
        "GROUP BY k, at",
    ),
    (
        "SELECT k, count(*) AS n FROM t WHERE tz > '2026-01-02' GROUP BY k",
        "what it computes depends on the session's time zone",
        "WHERE tz > '2026-01-02 00:00:00+00'",
    ),
)

ONLY_SAID = (
    ("SELECT extract(hour FROM tz) AS h, count(*) AS n FROM t GROUP BY 1", "what it computes depends", "Say the zone"),
    ("SELECT k, x FROM t", "it does not group rows", "Make it one SELECT with GROUP BY"),
    ("VALUES (1)", "it does not group rows", "Make it one SELECT with GROUP BY"),
    ("SELECT k, corr(x, y) AS c FROM t GROUP BY k", "corr is not kept per group", "Keep count(*) and the sums of x"),
    ("SELECT k, count(*) AS n FROM t WHERE random() < 0.5 GROUP BY k", "random() gives another", "Store its value"),
    ("SELECT k, count(*) AS n FROM t TABLESAMPLE BERNOULLI (9) GROUP BY k", "random() gives another", "Store its"),
    ("SELECT k, min(i) AS low FROM t GROUP BY k", "values of interval have no order", "extract(epoch FROM …)"),
    ("SELECT a, count(*) AS n FROM t GROUP BY a", "groups of integer[] have no order", "…::text"),
)


@pytest.mark.parametrize(("query", "reason"), ANSWERED)
def test_the_nearest_view_answers_the_query_that_was_refused(db: Database, query: str, reason: str) -> None:
    why, hint = refused(db, query)
    assert why == reason
    db.execute(hint.partition("This one can be kept: ")[2])
    lines = [line for (line,) in db.execute(f"EXPLAIN {query}").rows()]
    assert "View v answers for t, since" in lines, lines
    same(db, query)


@pytest.mark.parametrize(("query", "reason", "near"), NEAR)
def test_the_nearest_view_can_be_kept(db: Database, query: str, reason: str, near: str) -> None:
    why, hint = refused(db, query)
    assert why.startswith(reason)
    made = hint.partition("This one can be kept: ")[2]
    assert near in made
    db.execute(made)
    assert db.execute("SELECT maintained FROM weft_views").rows() == [(True,)]


@pytest.mark.parametrize(("query", "reason", "instead"), ONLY_SAID)
def test_without_a_nearest_view_the_hint_says_what_to_do(db: Database, query: str, reason: str, instead: str) -> None:
    why, hint = refused(db, query)
    assert why.startswith(reason)
    assert instead in hint
    assert "This one can be kept" not in hint


@pytest.mark.parametrize(
    "query",
    [
        "SELECT date_trunc('month', d::timestamp) AS m, count(*) AS n FROM t GROUP BY 1",
        "SELECT date_trunc('day', tz AT TIME ZONE 'UTC') AS m, count(*) AS n FROM t GROUP BY 1",
        "SELECT k, min(extract(epoch FROM i)) AS low FROM t GROUP BY k",
        "SELECT k, count(*) AS n, sum(x) AS a, sum(y) AS b, sum(x * x) AS c, sum(y * y) AS d, sum(x * y) "
        "FILTER (WHERE x IS NOT NULL AND y IS NOT NULL) AS e FROM t GROUP BY k",
        "SELECT a::text AS m, count(*) AS n FROM t GROUP BY 1",
    ],
)
def test_what_hints_say_instead_can_be_kept(db: Database, query: str) -> None:
    db.execute(f"CREATE MATERIALIZED VIEW v AS {query}")
    assert db.execute("SELECT maintained FROM weft_views").rows() == [(True,)]
    assert sorted(db.execute("SELECT * FROM v").rows()) == sorted(from_rows(db, query).rows())


@pytest.mark.parametrize(
    "key", ["date_trunc('hour', tz, 'UTC')", "date_trunc('hour', tz AT TIME ZONE 'UTC')", "time_bucket('1 hour', tz)"]
)
def test_times_in_utc_are_those_of_sessions_in_utc(db: Database, key: str) -> None:
    db.execute(f"CREATE MATERIALIZED VIEW v AS SELECT {key} AS hour, count(*) AS n, sum(x) AS total FROM t GROUP BY 1")
    for query in (
        "SELECT date_trunc('hour', tz), sum(x) FROM t GROUP BY 1",
        "SELECT date_trunc('day', tz, 'UTC'), sum(x) FROM t GROUP BY 1",
        "SELECT tz::date, count(*) FROM t GROUP BY 1",
        "SELECT (tz AT TIME ZONE 'UTC')::date, extract(hour FROM tz), count(*) FROM t GROUP BY 1, 2",
        "SELECT date_trunc('month', tz AT TIME ZONE 'UTC'), sum(x) FROM t WHERE tz >= '2026-01-02 03:04' GROUP BY 1",
        "SELECT count(*) FROM t WHERE tz AT TIME ZONE 'UTC' >= '2026-01-02 03:04' AND tz < '2026-01-04 05:06+00'",
    ):
        for zone in ("UTC", "Asia/Kolkata"):
            found = [
                db.execute(query, settings={"timezone": zone, "weft.match_views": on}).rows() for on in ("on", "off")
            ]
            assert sorted(map(repr, found[0])) == sorted(map(repr, found[1])), (query, zone)
        lines = [line for (line,) in db.execute(f"EXPLAIN {query}").rows()]
        assert "View v answers for t, since" in lines, lines


def test_a_view_that_explain_says_would_do_is_about_hours_of_a_time_that_moves(db: Database) -> None:
    db.execute("CREATE MATERIALIZED VIEW w AS SELECT x, count(*) AS n FROM t GROUP BY x")
    query = "SELECT k, sum(x) FROM t WHERE at > now() - interval '9000 days' AND s = 'a' GROUP BY k"
    lines = [line for (line,) in db.execute(f"EXPLAIN {query}").rows()]
    (made,) = [match[1] for line in lines if (match := re.search("this one would: (.*)", line))]
    assert made == (
        "CREATE MATERIALIZED VIEW name AS SELECT k, time_bucket('01:00:00', at), sum(x), count(x) FROM t WHERE s = 'a' "
        "GROUP BY k, time_bucket('01:00:00', at)"
    )
    db.execute(made)
    assert "View name answers for t, since" in [line for (line,) in db.execute(f"EXPLAIN {query}").rows()]
    same(db, query)


def test_the_view_that_explain_says_would_do_can_be_made(db: Database) -> None:
    db.execute("CREATE MATERIALIZED VIEW w AS SELECT x, count(*) AS n FROM t GROUP BY x")
    for query, some in (
        (
            "SELECT k, sum(x) FROM t WHERE extract(day FROM at) > extract(day FROM timestamp '2026-01-03') GROUP BY 1",
            True,
        ),
        ("SELECT extract(hour FROM tz), sum(x) FROM t GROUP BY 1", False),
        (
            "SELECT k, min(x::smallint) FILTER (WHERE x < 3) FROM t WHERE s = 's' AND (x > 1 OR at < now()) GROUP BY k",
            False,
        ),
        ("SELECT tz::date, min(y) FILTER (WHERE x > 1) FROM t GROUP BY 1", True),
    ):
        lines = [line for (line,) in db.execute(f"EXPLAIN {query}").rows()]
        made = [match[1] for line in lines if (match := re.search("this one would: (.*)", line))]
        assert len(made) == some, lines
        for statement in made:
            db.execute(statement)
            assert "View name answers for t, since" in [line for (line,) in db.execute(f"EXPLAIN {query}").rows()]
            same(db, query)
            db.execute("DROP MATERIALIZED VIEW name")


@pytest.mark.parametrize("condition", ["true", "1 = 1", "x > 1 AND 2 > 1", "'a' = 'a' AND (x > 1 AND true)"])
def test_a_condition_that_is_always_true_is_none(db: Database, condition: str) -> None:
    db.execute(
        f"CREATE MATERIALIZED VIEW v AS SELECT k, count(*) FILTER (WHERE true) AS n FROM t WHERE {condition} GROUP BY k"
    )
    for asked in ("x > 1", "x > 1 AND 3 > 2") if "x" in condition else ("", "true", "3 > 2 AND 'b' = 'b'"):
        query = f"SELECT k, count(*) FROM t {asked and 'WHERE'} {asked} GROUP BY k"
        assert "View v answers for t, since" in [line for (line,) in db.execute(f"EXPLAIN {query}").rows()]
        same(db, query)


def test_a_condition_that_is_never_true_or_fails_stays(db: Database) -> None:
    db.execute("CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n FROM t WHERE 1 = 2 GROUP BY k")
    assert db.execute("SELECT * FROM v").rows() == []
    query = "SELECT k, count(*) FROM t GROUP BY k"
    assert "View: none answers for t" in [line for (line,) in db.execute(f"EXPLAIN {query}").rows()]


def test_a_view_over_a_with_query_is_kept(db: Database) -> None:
    query = "WITH some AS (SELECT k, x + 1 AS more FROM t WHERE x > 1) SELECT k, sum(more) AS n FROM some GROUP BY k"
    db.execute(f"CREATE MATERIALIZED VIEW v AS {query}")
    db.execute("DELETE FROM t WHERE x = 3")
    assert db.execute("SELECT maintained FROM weft_views").rows() == [(True,)]
    assert sorted(db.execute("SELECT * FROM v").rows()) == sorted(from_rows(db, query).rows())
    assert db.execute("VERIFY MATERIALIZED VIEW v").rows() == []


@pytest.mark.parametrize(
    ("query", "answered"),
    [
        ("WITH q AS (SELECT * FROM t) SELECT k, count(*) FROM q GROUP BY k", True),
        (
            "WITH q AS (SELECT * FROM t WHERE k > 0), r AS (SELECT k AS a FROM q) SELECT a, count(*) FROM r GROUP BY a",
            True,
        ),
        ("WITH q AS MATERIALIZED (SELECT * FROM t) SELECT k, count(*) FROM q GROUP BY k", False),
        ("WITH q AS (SELECT k, count(*) AS n FROM t GROUP BY k) SELECT a.k, b.n FROM q a JOIN q b USING (k)", True),
    ],
)
def test_queries_of_with_queries_are_answered(db: Database, query: str, answered: bool) -> None:
    db.execute(
        "CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n, sum(x) AS total, count(x) AS some FROM t GROUP BY k"
    )
    lines = [line for (line,) in db.execute(f"EXPLAIN {query}").rows()]
    assert ("View v answers for t, since" in lines) == answered, lines
    same(db, query)


def test_a_with_query_of_random_numbers_is_read_once(db: Database) -> None:
    query = "WITH q AS (SELECT k, random() AS r FROM t) SELECT k, count(r) FROM q GROUP BY k"
    assert not any("inline_ctes" in line for (line,) in db.execute(f"EXPLAIN {query}").rows())


def test_explain_says_that_views_are_not_looked_at(db: Database) -> None:
    db.execute("CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n FROM t GROUP BY k")
    off = {"weft.match_views": "off"}
    said = "View: none is looked at, since weft.match_views is off"
    query = "SELECT count(*) FROM t"
    assert db.execute(f"EXPLAIN {query}", settings=off).rows()[0] == (said,)
    assert (said,) in db.execute(f"EXPLAIN ANALYZE {query}", settings=off).rows()
    assert said[6:] in db.execute(f"EXPLAIN (FORMAT JSON) {query}", settings=off).scalar()
    assert (said,) not in db.execute(f"EXPLAIN {query}").rows()
    assert (said,) not in db.execute("EXPLAIN SELECT count(*) FROM side", settings=off).rows(), "it has no views"
