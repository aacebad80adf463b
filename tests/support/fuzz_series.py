"""Questions about time series, in WeftDB's words and, slowly, in PostgreSQL's."""

from __future__ import annotations

from typing import Final

from fuzz_queries import Maker
from fuzz_schema import TYPES, Query

_BUCKETS: Final = {
    "1 day": "date_bin('1 day', {}, TIMESTAMP '2000-01-03')",
    "7 days": "date_bin('7 days', {}, TIMESTAMP '2000-01-03')",
    "90 minutes": "date_bin('90 minutes', {}, TIMESTAMP '2000-01-03')",
    "1 month": "date_trunc('month', {})",
    "3 months": "date_trunc('quarter', {})",
    "1 year": "date_trunc('year', {})",
}
_RANGES: Final = (
    ("2024-02-28", "2024-03-03"),
    ("2024-01-11 05:00:00", "2024-01-13"),
    ("2024-02-10", "2024-02-14 01:00:00"),
)
_HERE: Final = "§"


def series_query(maker: Maker) -> Query | None:
    """None where no table has a time."""
    timed = [(table, c.name) for table in maker.tables for c in table.columns if c.type == "TIMESTAMP"]
    if not timed:
        return None
    table, time = maker.rng.choice(timed)
    source, maker.scope = maker._table(table)
    at = f"{maker.scope[0][0].split('.')[0]}.{time}"
    make = maker.rng.choice((_bucketed, _filled, _asof, _last, _sessions))
    made = make(maker, source, at, table.primary_key)
    maker.scope = []
    return made


def _bucketed(maker: Maker, source: str, at: str, key: tuple[str, ...]) -> Query:
    width, slow = maker.rng.choice(list(_BUCKETS.items()))
    outputs = f"count(*), {maker.aggregate('BIGINT')}, {maker.aggregate(maker.any_type())}"
    text = f"SELECT {_HERE}, {outputs} FROM {source} WHERE {maker.condition(1)} GROUP BY 1"
    return _two(maker, text, f"time_bucket('{width}', {at})", slow.format(at))


def _filled(maker: Maker, source: str, at: str, key: tuple[str, ...]) -> Query:
    """Gaps filled in, also with the last value before."""
    width = maker.rng.choice(("1 day", "7 days", "90 minutes"))
    lower, upper = maker.rng.choice(_RANGES)
    value = maker.aggregate(maker.rng.choice(("BIGINT", "TEXT", "DATE")))
    where = f"{at} >= TIMESTAMP '{lower}' AND {at} < TIMESTAMP '{upper}'"
    locf = maker.chance(0.5)
    shown = f"locf({value})" if locf else value
    fast = f"SELECT time_bucket_gapfill('{width}', {at}) AS b, {shown} FROM {source} WHERE {where} GROUP BY b"
    bin = "date_bin('%s', %s, TIMESTAMP '2000-01-03')"
    series = (
        f"generate_series({bin % (width, f'TIMESTAMP {lower!r}')}, TIMESTAMP '{upper}' - INTERVAL '0.000001 seconds',"
        f" INTERVAL '{width}') AS g (at)"
    )
    found = f"(SELECT {bin % (width, at)} AS b, {value} AS v FROM {source} WHERE {where} GROUP BY 1) AS f"
    if locf:
        before = f"LEFT JOIN LATERAL (SELECT f.v FROM {found} WHERE f.b <= g.at ORDER BY f.b DESC LIMIT 1) AS l ON true"
        slow = f"SELECT g.at, l.v FROM {series} {before}"
    else:
        slow = f"SELECT g.at, f.v FROM {series} LEFT JOIN {found} ON f.b = g.at"
    return Query(fast, slow=slow, may_fail=maker.failing)


def _asof(maker: Maker, source: str, at: str, key: tuple[str, ...]) -> Query | None:
    """The nearest row of another table; of several equally near ones only what they agree on is looked at."""
    columns = list(maker.scope)
    timed = [(table, c.name) for table in maker.tables for c in table.columns if c.type == "TIMESTAMP"]
    table, time = maker.rng.choice(timed)
    other, more = maker._table(table)
    right = f"{more[0][0].split('.')[0]}.{time}"
    pairs = [(a, b) for a, type in columns for b, of in more if type == of and a != at and b != right and type in TYPES]
    on = f"{' = '.join(maker.rng.choice(pairs))} AND " if pairs and maker.chance(0.7) else ""
    sign, function = maker.rng.choice((("<=", "max"), ("<", "max"), (">=", "min"), (">", "min")))
    left = maker.chance(0.5)
    outputs = ", ".join(text for text, _ in columns)
    join = "ASOF LEFT JOIN" if left else "ASOF JOIN"
    fast = f"SELECT {outputs}, {right} FROM {source} {join} {other} ON {on}{right} {sign} {at}"
    nearest = f"(SELECT {function}({right}) AS at FROM {other} WHERE {on}{right} {sign} {at}) AS n"
    found = "" if left else " WHERE n.at IS NOT NULL"
    return Query(fast, slow=f"SELECT {outputs}, n.at FROM {source} CROSS JOIN LATERAL {nearest}{found}")


def _last(maker: Maker, source: str, at: str, key: tuple[str, ...]) -> Query | None:
    """Of rows that have a key and a time, the last of each key."""
    if len(key) < 2 or not at.endswith(".moment"):
        return None
    name = at.split(".")[0]
    value = maker.rng.choice([text for text, type in maker.scope if type in TYPES])
    word, order = maker.rng.choice((("last", " DESC"), ("first", "")))
    text = f"SELECT {name}.k, {_HERE} FROM {source} WHERE {maker.condition(1)} GROUP BY {name}.k"
    return _two(maker, text, f"{word}({value}, {at})", f"(array_agg({value} ORDER BY {at}{order}))[1]")


def _sessions(maker: Maker, source: str, at: str, key: tuple[str, ...]) -> Query:
    """Rows of one time are in one session."""
    gap = maker.rng.choice(("1 day", "2 hours", "30 days"))
    name = at.split(".")[0]
    fast = f"SELECT {at}, session_number({at}, '{gap}') OVER (ORDER BY {at}) FROM {source} WHERE {at} IS NOT NULL"
    apart = f"CASE WHEN {at} - lag({at}) OVER (ORDER BY {at}) > INTERVAL '{gap}' THEN 1 ELSE 0 END"
    inner = f"SELECT {at} AS at, {apart} AS apart FROM {source} WHERE {at} IS NOT NULL"
    slow = f"SELECT {name}.at, 1 + sum({name}.apart) OVER (ORDER BY {name}.at) FROM ({inner}) AS {name}"
    return Query(fast, slow=slow)


def _two(maker: Maker, text: str, fast: str, slow: str) -> Query:
    return Query(text.replace(_HERE, fast), slow=text.replace(_HERE, slow), may_fail=maker.failing)
