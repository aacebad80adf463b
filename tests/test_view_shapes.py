"""Aggregates as tools and people write them: CASE instead of FILTER, casts, constants, values of group columns.

Views answer them as their tables do, types included, and keep them as their queries say.
"""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import pytest
import soak
from from_rows import from_rows, from_views
from weftdb.base.errors import Invalid

DDL = """CREATE TABLE t (id INT NOT NULL, at TIMESTAMP NOT NULL, k INT, s TEXT, f BOOLEAN, d DATE, x INT, b BIGINT,
y DOUBLE PRECISION, z NUMERIC(12,2), PRIMARY KEY (id, at)) WITH (key = 'id', time = 'at', every = '7 days')"""

KEYS = ("k", "s", "f", "d", "time_bucket('1 hour', at)")
OF_KEYS = {
    "k": ("k > 1", "k IN (0, 2)", "k IS NULL", "k % 2 = 0", "NOT (k = 1)"),
    "s": ("s = 'a'", "s IS NOT NULL", "s <> 'b'", "s LIKE 'a%'"),
    "f": ("f", "NOT f", "f IS NOT TRUE", "f IS NULL"),
    "d": ("d > '2026-01-02'", "extract(day FROM d) = 1", "d IS NULL"),
    "time_bucket('1 hour', at)": ("extract(hour FROM at) < 3", "at::date = '2026-01-02'"),
}
OF_ROWS = ("x > 0", "b IS NULL", "y < 1", "z IS NULL", "x BETWEEN 1 AND 5", "b = 7")
"""Conditions about more than group columns, some of which views keep."""
VALUES = ("x", "b", "y", "z")
OF_GROUPS = {
    "k": ("k", "k % 2", "-k", "coalesce(k, 7)"),
    "s": ("s", "upper(s)", "s || 'x'"),
    "f": ("f::int", "CASE WHEN f THEN 1 ELSE 0 END"),
    "d": ("d", "extract(month FROM d)", "date_trunc('month', d)"),
    "time_bucket('1 hour', at)": ("at::date", "date_trunc('hour', at)", "extract(hour FROM at)"),
}


def a_value(draw: random.Random) -> str:
    """A number of a row."""
    x = draw.choice(VALUES)
    return draw.choice((
        x, x, "1", "2", "1.5", "-3", "0", "NULL::int", f"coalesce({x}, 0)", "x::bigint", "x::numeric", "x::float",
        "b::float", "z::numeric(20,4)", "-z", "-y", "id",
    ))  # fmt: skip


def a_case(draw: random.Random, conditions: list[str]) -> str:
    c, e = draw.choice(conditions), draw.choice(conditions)
    x, y = a_value(draw), a_value(draw)
    return draw.choice((
        f"CASE WHEN {c} THEN 1 ELSE 0 END", f"CASE WHEN {c} THEN {x} END", f"CASE WHEN {c} THEN {x} ELSE 0 END",
        f"CASE WHEN {c} THEN {x} ELSE {y} END", f"CASE WHEN {c} THEN NULL ELSE {x} END",
        f"CASE WHEN {c} THEN {x} WHEN {e} THEN 0 ELSE {y} END", f"CASE WHEN {c} THEN 0 WHEN {e} THEN 2 END",
        f"CASE WHEN {c} THEN CASE WHEN {e} THEN {x} ELSE 1 END ELSE 0 END", f"coalesce(CASE WHEN {c} THEN {x} END, 0)",
        f"({c})::int", f"-(CASE WHEN {c} THEN z ELSE 0 END)", x,
    ))  # fmt: skip


def an_aggregate(draw: random.Random, conditions: list[str], groups: list[str]) -> str:
    kind = draw.choice(("sum", "sum", "count", "avg", "min", "distinct", "groups", "groups", "where"))
    filter = f" FILTER (WHERE {draw.choice(conditions)})" if draw.random() < 0.25 else ""
    match kind:
        case "min":
            c, x = draw.choice(conditions), draw.choice(VALUES)
            return f"{draw.choice(('min', 'max'))}(CASE WHEN {c} THEN {x} END){filter}"
        case "distinct":
            c, x = draw.choice(conditions), draw.choice(VALUES)
            return f"count(DISTINCT CASE WHEN {c} THEN {x} END){filter}"
        case "groups" if groups:
            how = draw.choice(("count(DISTINCT {})", "count(DISTINCT {})", "min({})", "max({})", "count({})"))
            return how.format(draw.choice(groups)) + filter
        case "where":
            return draw.choice(("count(*)", "bool_or({})", "bool_and({})")).format(draw.choice(conditions)) + filter
        case "sum" | "count" | "avg":
            return f"{kind}({a_case(draw, conditions)}){filter}"
        case _:
            return "count(*)"


def a_row(draw: random.Random, id: int) -> str:
    values = (
        str(id), f"'2026-01-0{draw.randint(1, 3)} 0{draw.randint(0, 5)}:{draw.choice(('00', '13', '59:59.5'))}'",
        draw.choice(("NULL", "0", "1", "2", "3")), draw.choice(("NULL", "'a'", "'b'", "'ab'", "''")),
        draw.choice(("NULL", "true", "false")), draw.choice(("NULL", "'2026-01-01'", "'2026-02-03'")),
        draw.choice(("NULL", "0", "1", "-5", "2147483647", "-2147483648")),
        draw.choice(("NULL", "7", "-1", "9223372036854")),
        draw.choice(("NULL", "0.5", "-2.25", "1e15")), draw.choice(("NULL", "1.50", "-99999999.99", "0")),
    )  # fmt: skip
    return f"({', '.join(values)})"


def outcome(ask: Any, on: Any, query: str) -> Any:
    """Rows, to nine digits, with their types; or the error that it is."""
    try:
        found = ask(on, query)
        rows = [tuple(float(f"{v:.9g}") if isinstance(v, float) else v for v in row) for row in found.rows()]
        return sorted(rows, key=repr), found.arrow().schema.types
    except Invalid as error:
        return error.sqlstate


def view_of(draw: random.Random, conditions: list[str]) -> tuple[list[str], str]:
    """Group columns and query of a view that keeps much."""
    keys = draw.sample(KEYS, draw.randint(1, 3))
    values = [f"{how}({x}) AS {how}_{x}" for x in VALUES for how in ("sum", "count")]
    values += [f"count(DISTINCT {x}) AS d_{x}, min({x}) AS l_{x}, max({x}) AS h_{x}" for x in draw.sample(VALUES, 2)]
    for number in range(3):
        values.append(f"{an_aggregate(draw, conditions, [])} AS own_{number}")
    values.append("sum(x) FILTER (WHERE x > 0) AS some, count(*) FILTER (WHERE x > 0) AS n_some, sum(z) FILTER "
                  "(WHERE x > 0) AS z_some, sum(y) FILTER (WHERE y < 1) AS low, count(y) FILTER (WHERE y < 1) "
                  "AS n_low, count(*) FILTER (WHERE z IS NULL) AS without")  # fmt: skip
    columns = ", ".join([*(f"{key} AS g{place}" for place, key in enumerate(keys)), "count(*) AS n", *values])
    return keys, f"SELECT {columns} FROM t GROUP BY {', '.join(keys)}"


QUERIES = 10 if soak.FACTOR == 1 else 20


@pytest.mark.parametrize("seed", range(1000 * soak.SEED, 1000 * soak.SEED + 4 * soak.FACTOR))
def test_views_answer_aggregates_of_any_shape_as_their_tables_do(db: Any, seed: int) -> None:
    draw = random.Random(seed)
    db.execute(DDL)
    keys, view = view_of(draw, [*(part for key in KEYS for part in OF_KEYS[key]), *OF_ROWS])
    db.execute(f"CREATE MATERIALIZED VIEW v AS {view}")
    conditions = [part for key in keys for part in OF_KEYS[key]] * 2 + list(OF_ROWS)
    groups = [part for key in keys for part in OF_GROUPS[key]]
    matched = 0
    for step in range(6):
        match draw.choice(("insert", "insert", "insert", "delete", "update")) if step else "insert":
            case "insert":
                rows = ", ".join(a_row(draw, 100 * step + id) for id in range(draw.choice((2, 40))))
                db.execute(f"INSERT INTO t VALUES {rows}")
            case "delete":
                db.execute(
                    draw.choice(("DELETE FROM t", "DELETE FROM t WHERE id % 3 = 0", "DELETE FROM t WHERE s = 'a'"))
                )
            case _:
                db.execute(draw.choice(("UPDATE t SET x = NULL", "UPDATE t SET k = 1, z = NULL WHERE id % 2 = 0")))
        assert outcome(from_views, db, "SELECT * FROM v")[0] == outcome(from_rows, db, view)[0]
        for _ in range(QUERIES):
            values = [f"{an_aggregate(draw, conditions, groups)} AS a{n}" for n in range(draw.randint(1, 2))]
            by = draw.sample(keys, draw.randint(0, 1))
            where = [draw.choice(conditions[: len(conditions) - len(OF_ROWS)])] if draw.random() < 0.3 else []
            if "time_bucket('1 hour', at)" in keys and draw.random() < 0.3:
                where.append(f"at >= '2026-01-01 0{draw.randint(0, 4)}:{draw.choice(('00', '30'))}'")
            query = f"SELECT {', '.join([*by, *values])} FROM t" + (f" WHERE {' AND '.join(where)}" if where else "")
            query += f" GROUP BY {', '.join(by)}" if by else ""
            ours, theirs = outcome(from_views, db, query), outcome(from_rows, db, query)
            assert ours == theirs, (seed, view, query)
            matched += any("View v answers" in line for (line,) in db.execute(f"EXPLAIN {query}").rows())
    assert matched > 2 * QUERIES, matched


# -- times as tools write them ----------------------------------------------------------------------------------------

OF_HOURS = (
    "floor(extract(epoch FROM at) / 3600) * 3600", "to_timestamp(floor(extract(epoch FROM at) / 86400) * 86400)",
    "date_bin('6 hours', at, '2001-01-01 03:00')", "date_bin('1 hour', at, TIMESTAMP '1999-12-31')",
    "floor(extract(hour FROM at) / 6)", "extract(hour FROM at)::int / 4", "date_part('hour', at)::int / 12",
    "date_trunc('day', at) + floor(extract(hour FROM at) / 8) * interval '8 hours'",
    "date_trunc('day', at::timestamptz)", "date_trunc('month', at::date)::date", "at::timestamptz::date",
    "to_char(at, 'YYYY-MM-DD HH24:00')", "to_char(at, 'FMMonth DDth, IYYY \"week\" IW')", "to_char(at, 'Q/YY')",
    "to_char(at, 'hh12 am')", "to_char(at, 'DY')", "to_char(at::timestamptz, 'DDD')",
)  # fmt: skip
OF_LESS = (
    "floor(extract(epoch FROM at) / 1800)", "floor(extract(epoch FROM at) / 3601)", "to_char(at, 'SSSS')",
    "extract(epoch FROM at)::bigint / 3600", "floor(date_part('epoch', at) / 3600)", "to_char(at, 'YYYY US')",
    "floor(extract(epoch FROM at) / -3600)", "to_char(at, 'HH24:MI')", "extract(minute FROM at)::int / 15",
    "date_bin('1 hour', at, '2001-01-01 00:30')", "date_bin('90 minutes', at, '2001-01-01')", "to_char(at, s)",
)  # fmt: skip
MOMENTS = (
    "at > '2026-03-28 10:17'::timestamptz", "at::timestamptz >= '2026-03-28 10:00+00'", "at < now()",
    "at >= date_trunc('day', now()) - interval '30000 days'", "at::timestamptz < '2026-03-29 12:34:56.7+02'",
    "at > now() - interval '90 years'",
)  # fmt: skip


@pytest.fixture
def hours(db: Any) -> Any:
    draw = random.Random(soak.SEED)
    starts = [dt.datetime(2026, 3, 28) + dt.timedelta(hours=draw.randint(-3000, 3000)) for _ in range(150)]
    starts += [
        dt.datetime(1969, 12, 31, 23),
        dt.datetime(1970, 1, 1),
        dt.datetime(1900, 2, 28, 5),
        dt.datetime(2000, 12, 31),
    ]
    moments = {start + step * dt.timedelta(microseconds=1) for start in starts for step in (-1, 0, 1, 1_799_999_999)}
    rows = ", ".join(f"({id}, '{moment}', 'HH24')" for id, moment in enumerate(moments))
    db.execute("CREATE TABLE t (id INT, at TIMESTAMP, s TEXT, PRIMARY KEY (id, at)) WITH (key = 'id', time = 'at')")
    db.execute(
        "CREATE MATERIALIZED VIEW v AS SELECT time_bucket('1 hour', at) AS hour, s, count(*) AS n FROM t GROUP BY 1, 2"
    )
    db.execute(f"INSERT INTO t VALUES {rows}")
    return db


@pytest.mark.parametrize(("key", "answers"), [*((key, True) for key in OF_HOURS), *((key, False) for key in OF_LESS)])
def test_what_is_the_same_all_hour_is_told_by_hours(hours: Any, key: str, answers: bool) -> None:
    query = f"SELECT {key}, count(*) FROM t GROUP BY 1"
    assert outcome(from_views, hours, query) == outcome(from_rows, hours, query)
    assert any("View v answers" in line for (line,) in hours.execute(f"EXPLAIN {query}").rows()) == answers


def test_a_day_in_parts_is_told_by_buckets_that_end_where_the_day_does(hours: Any) -> None:
    hours.execute("DROP MATERIALIZED VIEW v")
    hours.execute(
        "CREATE MATERIALIZED VIEW v AS SELECT time_bucket('6 hours', at) AS part, count(*) AS n FROM t GROUP BY 1"
    )
    for parts, answers in ((3, False), (4, False), (5, False), (6, True), (12, True), (18, False), (24, True)):
        for key in (f"floor(extract(hour FROM at) / {parts})", f"extract(hour FROM at)::int / {parts}"):
            query = f"SELECT {key}, count(*) FROM t GROUP BY 1"
            assert outcome(from_views, hours, query) == outcome(from_rows, hours, query), key
            plan = hours.execute(f"EXPLAIN {query}").rows()
            assert any("View v answers" in line for (line,) in plan) == answers, key


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize("condition", MOMENTS)
def test_windows_of_times_with_a_zone_are_windows_in_utc_alone(hours: Any, condition: str, zone: str) -> None:
    query, zoned = f"SELECT count(*) FROM t WHERE {condition}", {"timezone": zone}
    right = hours.execute(query, settings={**zoned, "weft.match_views": "off"}).rows()
    assert hours.execute(query, settings=zoned).rows() == right
    plan = hours.execute(f"EXPLAIN {query}", settings=zoned).rows()
    assert any("View v answers" in line for (line,) in plan) == (zone == "UTC")


@pytest.mark.parametrize("bucket", ["time_bucket('36 hours', d::timestamp)", "date_trunc('month', d::timestamp)", "d"])
def test_days_are_midnights_in_windows_and_buckets(db: Any, bucket: str) -> None:
    db.execute("CREATE TABLE t (id INT PRIMARY KEY, d DATE)")
    db.execute(f"CREATE MATERIALIZED VIEW v AS SELECT {bucket} AS bucket, count(*) AS n FROM t GROUP BY 1")
    db.execute(
        "INSERT INTO t SELECT i, nullif('2025-12-20'::date + i, '2026-01-09') FROM generate_series(1, 99) AS g(i)"
    )
    answered = 0
    for condition in (
        "d::timestamp > '2026-01-03 12:00'", "d::timestamp >= '2026-01-03'", "d >= '2026-02-01'",
        "d::timestamptz < now()", "d > '2026-01-03'::timestamptz",
        "d::timestamp < '2026-02-03 00:00:01' AND d::timestamp > '2026-01-30 23:00'",
    ):  # fmt: skip
        for key in ("1", "date_trunc('month', d)::date", "date_trunc('year', d::timestamp)", "to_char(d, 'YYYY')"):
            query = f"SELECT {key} AS key, count(*) FROM t WHERE {condition} GROUP BY key"
            assert outcome(from_views, db, query) == outcome(from_rows, db, query), query
            plan = db.execute(f"EXPLAIN {query}").rows()
            answered += any("View v answers" in line for (line,) in plan)
    assert answered > 3
