"""Queries of all sorts of types, buckets and time zones: the same rows from views as from their table.

test_view_matching.py asks more shapes of queries; this one asks what values may do to them: buckets that do not lie
in one another, DATEs beside moments, scales of NUMERIC, REAL, time zones of the reader.
"""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
import soak
from from_rows import from_rows

DDL = """CREATE TABLE t (id BIGINT PRIMARY KEY, az TIMESTAMPTZ, at TIMESTAMP, d DATE, r REAL, y DOUBLE PRECISION,
n NUMERIC(10,2), m NUMERIC(12,4), s SMALLINT, u UUID, b BYTEA, c VARCHAR(4), tx TEXT, f BOOLEAN)"""
FILL = """INSERT INTO t SELECT g,
CASE WHEN g % 17 > 0 THEN timestamptz '2026-03-20 00:00Z' + g * interval '97 minutes' END,
timestamp '2026-01-20' + g * interval '53 minutes', date '2026-01-01' + g % 75, (g % 7) * 0.1::real,
CASE WHEN g % 11 = 0 THEN 'NaN'::double precision ELSE (g % 6) * 0.5::double precision END, (g % 9) * 0.25,
(g % 9) * 0.0025, g % 4, ('00000000-0000-0000-0000-00000000000' || g % 3)::uuid, decode('0' || g % 3, 'hex'),
'ab' || g % 2, CASE WHEN g % 8 > 0 THEN 'x' || g % 3 END, g % 3 = 0 FROM generate_series(1, 700) g"""
KEYS = (
    "time_bucket('1 hour', az)", "time_bucket('1 day', az)", "time_bucket('1 day', az, 'Europe/Berlin')",
    "date_trunc('day', az, 'UTC')", "date_trunc('hour', at)", "at::date", "date_trunc('week', at)",
    "time_bucket('36 hours', at)", "time_bucket('90 minutes', at)", "time_bucket('1 month', at)",
    "date_trunc('month', at)", "time_bucket('15 days', at)", "time_bucket('1 day', at, interval '2 hours')",
    "extract(hour FROM at)", "d", "time_bucket('1 week', d)", "time_bucket('2 days', d)", "time_bucket('36 hours', d)",
    "r", "r::double precision", "y", "y * 2", "n", "n::numeric(12,4)", "m", "n + m", "s", "s * 2", "s::bigint", "u",
    "b", "c", "tx", "lower(tx)", "f",
)  # fmt: skip
ASKED = {
    "az": ("date_trunc('day', az)", "time_bucket('1 day', az)", "time_bucket('6 hours', az)", "az::date",
           "extract(hour FROM az)", "date_trunc('month', az)", "time_bucket('1 day', az, 'Europe/Berlin')"),
    "at": ("date_trunc('day', at)", "at::date", "date_trunc('month', at)", "extract(dow FROM at)",
           "time_bucket('3 days', at)", "time_bucket('1 week', at)", "date_trunc('week', at)", "extract(week FROM at)",
           "time_bucket('30 days', at)", "extract(hour FROM at)", "date_trunc('quarter', at)",
           "date_trunc('year', at)"),
    "d": ("d", "time_bucket('1 week', d)", "date_trunc('month', d::timestamp)", "extract(dow FROM d)", "d + 1",
          "time_bucket('4 days', d)", "d::timestamp", "extract(month FROM d)"),
    "r": ("r", "r::double precision", "r > 0.3"), "y": ("y", "y + 1", "y::text", "y > 0.5"),
    "n": ("n", "n::numeric(12,4)", "n * 2", "n::int", "n > 1", "round(n)"), "m": ("m", "m::numeric(10,2)"),
    "s": ("s", "s % 2", "s::int", "s / 2", "s::text"), "u": ("u", "u::text"), "b": ("b",),
    "c": ("c", "c || 'x'", "length(c)"), "tx": ("tx", "upper(tx)", "coalesce(tx, 'none')", "tx IS NULL"),
    "f": ("f", "NOT f"),
}  # fmt: skip
CONDITIONS = {
    "az": ("az >= '2026-03-25 10:00'", "az < '2026-04-02 03:30+02'", "az::date > '2026-03-28'"),
    "at": ("at >= '2026-01-23 10:30'", "at < '2026-02-11'", "at > '2026-01-31' AND at <= '2026-02-05 12:00'",
           "at::date = '2026-02-01'", "at >= date '2026-02-01'", "date_trunc('month', at) = '2026-02-01'"),
    "d": ("d >= '2026-01-10'", "d < '2026-03-01' AND d > '2026-01-31'", "d = '2026-02-02'", "d <= '2026-02-28'",
          "d >= timestamp '2026-01-10 12:00'"),
    "r": ("r > 0.2", "r = 0.3::real", "r = 0.3"), "y": ("y > 0", "y = 0", "y <> 'NaN'"),
    "n": ("n > 0.5", "n = 0.50", "n IN (0.25, 1)"), "m": ("m > 0.0025",), "s": ("s > 1", "s IN (1, 3)", "s > 1.5"),
    "u": ("u = '00000000-0000-0000-0000-000000000001'",), "b": ("b IS NOT NULL",), "c": ("c = 'ab1'", "c <> 'ab0 '"),
    "tx": ("tx = 'x1'", "tx LIKE 'x%'", "tx IS NULL", "tx > 'x0'"), "f": ("f", "NOT f", "f IS NOT TRUE"),
}  # fmt: skip
AGGREGATES = (
    "count(*)", "count(tx)", "sum(s)", "avg(n)", "sum(n)", "sum(y)", "min(az)", "max(d)", "min(tx)",
    "count(DISTINCT r)", "min(y)", "max(r)", "bool_or(f)", "sum(r)", "avg(r)", "count(DISTINCT tx)", "min(n)",
    "max(at)", "count(y)", "sum(m)",
)  # fmt: skip
WHERES = ("", "", "s > 0", "tx IS NOT NULL", "n > 0.25", "f", "at >= '2026-01-25'", "d < '2026-03-01'", "y > 0")
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata")


def select(keys: list[str], values: list[str], conditions: list[str]) -> str:
    columns = [
        *(f"{key} AS k{n}" for n, key in enumerate(keys)),
        *(f"{value} AS a{n}" for n, value in enumerate(values)),
    ]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    grouped = f" GROUP BY {', '.join(str(n) for n in range(1, len(keys) + 1))}" if keys else ""
    return f"SELECT {', '.join(columns)} FROM t{where}{grouped}"


def a_query(draw: random.Random, keys: list[str], values: list[str], where: str) -> str:
    asked, conditions = list[str](), [where] if where else []
    values = draw.sample(values, draw.randint(1, len(values)))
    for key in keys:
        for column in (name for name in ASKED if re.search(rf"\b{name}\b", key)):
            if draw.random() < 0.6:
                asked.append(draw.choice((*ASKED[column], key)))
            if draw.random() < 0.5:
                conditions.append(draw.choice(CONDITIONS[column]))
            if draw.random() < 0.2:
                values.append(f"count(*) FILTER (WHERE {draw.choice(CONDITIONS[column])})")
    return select(list(dict.fromkeys(asked)), values, conditions)


def shown(rows: list[Any]) -> list[str]:
    """Rows in any order, floats to nine digits: they are sums of few values of like size, or counted as they are."""

    def said(value: object) -> str:
        return f"{value:.9g}" if isinstance(value, float) else str(value)

    return sorted(" | ".join(map(said, row)) for row in rows)


@pytest.mark.parametrize("seed", range(1000 * soak.SEED, 1000 * soak.SEED + soak.FACTOR))
def test_values_of_all_types_come_to_the_same(db: Any, seed: int) -> None:
    draw, matched = random.Random(seed), 0
    db.execute(DDL)
    db.execute(FILL)
    for _ in range(3):
        views: list[tuple[list[str], list[str], str]] = []
        for number in range(3):
            keys, values = draw.sample(KEYS, draw.randint(1, 3)), draw.sample(AGGREGATES, draw.randint(2, 6))
            where = draw.choice(WHERES)
            text = select(keys, values, [where] if where else [])
            db.execute(f"CREATE OR REPLACE MATERIALIZED VIEW v{number} AS {text}")
            views.append((keys, values, where))
        for query in [a_query(draw, *draw.choice(views)) for _ in range(15)]:
            with db.snapshot(settings={"timezone": draw.choice(ZONES)}) as reader:
                plan = [line for (line,) in reader.execute(f"EXPLAIN {query}").rows()]
                matched += any(re.match(r"View \S+ answers for t", line) for line in plan)
                found = shown(reader.execute(query).rows())
                assert found == shown(from_rows(reader, query).rows()), (query, plan)
    assert matched > 3, "views answered some of it"
