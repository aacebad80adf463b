"""Aggregates as tools and people write them: CASE instead of FILTER, casts, constants, values of group columns.

Views answer them as their tables do, types included, and keep them as their queries say.
"""

from __future__ import annotations

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
OF_ROWS = ("x > 0", "y < 1", "z IS NULL", "x BETWEEN 1 AND 5", "b = 7")
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
        for _ in range(20):
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
    assert matched > 40, matched
