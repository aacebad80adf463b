"""Queries that materialized views answer for their tables: the same rows as from the tables, or no view is taken."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import soak
import weftdb
from from_rows import from_rows, from_views
from weftdb.base.errors import Invalid
from weftdb.base.types import BOOLEAN, INTEGER, TEXT, Type, numeric
from weftdb.engine.aggregates import rollup
from weftdb.engine.aggregates.groups import Grouper
from weftdb.engine.expression.node import Call, Column, Expression, Literal
from weftdb.sql.matching import run, ways
from weftdb.sql.matching.buckets import Buckets, Window
from weftdb.sql.matching.implied import follows

Database = Any

DDL = """CREATE TABLE t (k INT NOT NULL, at TIMESTAMP NOT NULL, id BIGINT NOT NULL, x INT, y DOUBLE PRECISION,
z NUMERIC(20,3), s TEXT, d DATE, flag BOOLEAN, PRIMARY KEY (k, at, id))
WITH (key = 'k', time = 'at', every = '7 days', shards = 2)"""

# -- what conditions and buckets say --------------------------------------------------------------------------------

X = Column(id=1, type=INTEGER)
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")


def condition(draw: random.Random, depth: int = 2) -> Expression:
    """About a column x that is a number from 0 to 6, or NULL."""
    kinds = ("compare", "compare", "in", "null", "not null", "and", "or", "not", "is true")
    kind = draw.choice(kinds) if depth else "compare"
    match kind:
        case "not":
            return Call(function="not", arguments=(condition(draw, depth - 1),), type=BOOLEAN)
        case "is true":
            return Call(
                function=draw.choice(("is_true", "is_false")), arguments=(condition(draw, depth - 1),), type=BOOLEAN
            )
        case "in":
            values = [Literal(value=draw.randint(0, 6), type=INTEGER) for _ in range(draw.randint(1, 3))]
            return Call(function="in_list", arguments=(X, *values), type=BOOLEAN)
        case "null":
            return Call(function="is_null", arguments=(X,), type=BOOLEAN)
        case "not null":
            null = Call(function="is_null", arguments=(X,), type=BOOLEAN)
            other = Call(function="is_not_null", arguments=(X,), type=BOOLEAN)
            return draw.choice((other, Call(function="not", arguments=(null,), type=BOOLEAN)))
        case "and" | "or":
            parts = tuple(condition(draw, depth - 1) for _ in range(draw.randint(2, 3)))
            return Call(function=kind, arguments=parts, type=BOOLEAN)
        case _:
            value = Literal(value=draw.randint(0, 6), type=INTEGER)
            sides = (X, value) if draw.random() < 0.8 else (value, X)
            return Call(function=draw.choice(COMPARISONS), arguments=sides, type=BOOLEAN)


def holds(part: Expression, x: int | None) -> bool | None:
    """What it says of a value; None for unknown."""
    match part:
        case Call(function="and"):
            said = [holds(each, x) for each in part.arguments]
            return False if False in said else None if None in said else True
        case Call(function="or"):
            said = [holds(each, x) for each in part.arguments]
            return True if True in said else None if None in said else False
        case Call(function="not"):
            said_of = holds(part.arguments[0], x)
            return None if said_of is None else not said_of
        case Call(function="is_true"):
            return holds(part.arguments[0], x) is True
        case Call(function="is_false"):
            return holds(part.arguments[0], x) is False
        case Call(function="is_null"):
            return x is None
        case Call(function="is_not_null"):
            return x is not None
        case Call(function="in_list"):
            return None if x is None else any(each.value == x for each in part.arguments[1:])  # type: ignore[union-attr]
        case Call():
            a, b = (x if isinstance(each, Column) else each.value for each in part.arguments)  # type: ignore[union-attr]
            if a is None or b is None:
                return None
            return {
                "equal": a == b, "not_equal": a != b, "less": a < b, "less_equal": a <= b, "greater": a > b,
                "greater_equal": a >= b,
            }[part.function]  # fmt: skip
        case _:
            raise AssertionError(part)


def test_what_follows_is_true_where_the_others_are() -> None:
    draw = random.Random(soak.SEED)
    said = 0
    for _ in range(3_000 * soak.FACTOR):
        wanted, given = condition(draw), [condition(draw) for _ in range(draw.randint(1, 3))]
        if follows(wanted, given):
            said += 1
            for x in (None, *range(-1, 8)):
                assert holds(wanted, x) is True or any(holds(part, x) is not True for part in given), (wanted, given, x)
    assert said > 200


def test_what_is_seen_to_follow() -> None:
    def compare(function: str, value: int) -> Expression:
        return Call(function=function, arguments=(X, Literal(value=value, type=INTEGER)), type=BOOLEAN)

    assert follows(compare("greater", 7), [compare("greater", 9)])
    assert follows(compare("greater", 7), [compare("greater_equal", 8), compare("less", 3)])
    assert not follows(compare("greater", 7), [compare("greater_equal", 7)])
    assert follows(compare("not_equal", 7), [compare("less", 7)])
    assert follows(compare("less_equal", 7), [compare("equal", 7)])
    both = Call(function="or", arguments=(compare("equal", 3), compare("equal", 4)), type=BOOLEAN)
    assert follows(compare("less", 5), [both])
    assert follows(both, [compare("equal", 4)])
    assert not follows(compare("less", 4), [both])
    few = Call(function="in_list", arguments=(X, *(part.arguments[1] for part in both.arguments)), type=BOOLEAN)
    assert follows(both, [few])
    assert not follows(both, [Call(function="in_list", arguments=(*few.arguments, X), type=BOOLEAN)])
    null = Call(function="is_null", arguments=(X,), type=BOOLEAN)
    there = Call(function="is_not_null", arguments=(X,), type=BOOLEAN)
    assert follows(there, [Call(function="not", arguments=(null,), type=BOOLEAN)])
    assert not follows(there, [null])


def test_conditions_of_null_and_of_other_types_say_nothing_and_like_says_that_there_is_something() -> None:
    def compare(value: object, type: Type) -> Expression:
        return Call(function="greater", arguments=(X, Literal(value=value, type=type)), type=BOOLEAN)

    seven = compare(7, INTEGER)
    assert not follows(seven, [compare(None, INTEGER)])
    assert not follows(compare(None, INTEGER), [seven])
    assert not follows(seven, [compare("9", TEXT)])
    assert not follows(seven, [compare(9, numeric(5, 0))])
    some = Call(function="in_list", arguments=(X, *(Literal(value=n, type=INTEGER) for n in (8, 9))), type=BOOLEAN)
    assert follows(seven, [some])
    assert not follows(some, [seven])
    s, other = Column(id=2, type=TEXT), Column(id=3, type=TEXT)
    like = Call(function="like", arguments=(s, Literal(value="a%", type=TEXT)), type=BOOLEAN)
    assert follows(Call(function="is_not_null", arguments=(s,), type=BOOLEAN), [like])
    assert not follows(Call(function="is_not_null", arguments=(other,), type=BOOLEAN), [like])


FOLLOWS = (
    ("x > 5", "x >= 6"), ("x >= 6", "x > 5"), ("x < 6", "x <= 5"), ("x <> 5", "x > 5"), ("x = 6", "x > 5 AND x < 7"),
    ("x IN (1, 2, 3)", "x BETWEEN 1 AND 3"), ("x BETWEEN 1 AND 3", "x IN (1, 3)"), ("x > 5", "NOT (x < 6)"),
    ("x IN (1, 3)", "x IN (1, 2, 3) AND x <> 2"), ("x < 2 OR x > 3", "x IN (1, 2, 3, 4) AND x NOT IN (2, 3)"),
    ("NOT (x <= 5)", "x > 5"), ("x NOT IN (1, 2)", "x > 2"), ("x <> 1", "x NOT IN (1, 2)"), ("f", "f = true"),
    ("d > '2026-01-01'", "d >= '2026-01-02'"), ("f = true", "f"), ("f", "f IS TRUE"), ("NOT f", "f = false"),
    ("d IN ('2026-01-01', '2026-01-02')", "d BETWEEN '2026-01-01' AND '2026-01-02'"), ("f IS FALSE", "NOT f"),
    ("f IS NOT NULL", "f"), ("at > '2026-01-01'", "at >= '2026-01-01 00:00:00.000001'"),
    ("y = 2", "y >= 2 AND y <= 2"),
    ("x < 2 OR y < 2", "NOT (x >= 2 AND y >= 2)"),
)  # fmt: skip
FOLLOWS_NOT = (
    ("x > 5", "x >= 5"), ("x IN (1, 2)", "x BETWEEN 1 AND 3"), ("x IN (1, 3)", "x IN (1, 2, 3)"),
    ("f", "f IS NOT FALSE"), ("y > 5", "y >= 6.5 OR y = 5"), ("NOT f", "f IS NOT TRUE"), ("x NOT IN (1, 2)", "x > 1"),
    ("y IN (1, 2)", "y BETWEEN 1 AND 2"),
    ("d > '2026-01-01'", "d >= '2026-01-01'"), ("x <> 2", "x NOT IN (1, 3)"),
    ("x < 2 OR y < 2", "NOT (x >= 2) OR y < 3"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "given", "answers"), [*((*f, True) for f in FOLLOWS), *((*f, False) for f in FOLLOWS_NOT)]
)
def test_what_a_view_leaves_out_a_query_must_leave_out_too(
    db: Database, wanted: str, given: str, answers: bool
) -> None:
    db.execute("CREATE TABLE u (id INT PRIMARY KEY, x INT, d DATE, at TIMESTAMP, f BOOLEAN, y DOUBLE PRECISION)")
    db.execute(
        "INSERT INTO u SELECT i, nullif(i % 9, 0), '2025-12-31'::date + i % 4, '2026-01-01'::timestamp + i % 3 * "
        "interval '1 microsecond', CASE i % 3 WHEN 0 THEN true WHEN 1 THEN false END, i % 5 "
        "FROM generate_series(1, 99) AS g(i)"
    )
    db.execute(
        "CREATE MATERIALIZED VIEW w AS SELECT x, d, at, f, y, count(*) AS n FROM u "
        f"WHERE {wanted} GROUP BY x, d, at, f, y"
    )
    query = f"SELECT count(*), count(*) FILTER (WHERE {wanted}) FROM u WHERE {given}"
    assert any("View w answers" in line for line in explained(db, query)) == answers
    assert from_views(db, query).rows() == from_rows(db, query).rows()


BUCKETS = (
    Buckets(width=3_600_000_000),
    Buckets(width=86_400_000_000),
    Buckets(width=7 * 86_400_000_000, origin=946_857_600_000_000),
    Buckets(width=5 * 86_400_000_000, origin=946_857_600_000_000),
    Buckets(width=1, by_month=True),
    Buckets(width=3, by_month=True),
    Buckets(width=12, by_month=True),
    Buckets(width=5, origin=24_000, by_month=True),
)


SHIFTED = (
    Buckets(width=7 * 86_400_000_000),
    Buckets(width=10 * 86_400_000_000, origin=946_857_600_000_000),
    Buckets(width=10 * 86_400_000_000, origin=946_857_600_000_000 + 86_400_000_000),
    Buckets(width=3_600_000_000, origin=1_800_000_000),
    Buckets(width=6, origin=2, by_month=True),
)
"""Widths that divide one another, and beginnings that do not meet."""


def test_buckets_are_those_of_the_functions(db: Database) -> None:
    draw = random.Random(soak.SEED)
    epoch = dt.datetime(1970, 1, 1)
    texts = (
        "date_trunc('hour', at)", "at::date", "date_trunc('week', at)", "time_bucket('5 days', at)",
        "date_trunc('month', at)", "date_trunc('quarter', at)", "date_trunc('year', at)", "time_bucket('5 months', at)",
    )  # fmt: skip
    moments = [epoch + dt.timedelta(microseconds=draw.randint(-(10**16), 4 * 10**15)) for _ in range(200)]
    rows = ", ".join(f"('{moment}'::timestamp)" for moment in moments)
    found = db.execute(
        f"SELECT {', '.join(f'({text})::timestamp' for text in texts)} FROM (VALUES {rows}) v(at)"
    ).rows()
    for moment, starts in zip(moments, found, strict=True):
        micros = (moment - epoch) // dt.timedelta(microseconds=1)
        for buckets, start in zip(BUCKETS, starts, strict=True):
            assert epoch + buckets.floor(micros) * dt.timedelta(microseconds=1) == start, (moment, buckets)
            assert buckets.floor(micros) <= micros <= buckets.ceil(micros)
            assert buckets.floor(buckets.ceil(micros)) == buckets.ceil(micros)


def test_what_is_made_of_what() -> None:
    draw = random.Random(soak.SEED)
    moments = [draw.randint(-(10**16), 4 * 10**15) for _ in range(300)]
    for coarse, fine in itertools.product((*BUCKETS, *SHIFTED), repeat=2):
        starts = [coarse.floor(moment) for moment in moments]  # what is cut elsewhere differs there at once
        same = all(coarse.floor(fine.floor(moment)) == coarse.floor(moment) for moment in (*moments, *starts))
        assert coarse.made_of(fine) == same, (coarse, fine)


def test_a_window_is_its_whole_buckets_and_its_ends() -> None:
    draw = random.Random(soak.SEED)
    for _ in range(2_000):
        buckets = draw.choice(BUCKETS)
        start = draw.choice((None, draw.randint(-(10**15), 10**15)))
        window = Window(start=start, stop=draw.choice((None, draw.randint(start or 0, 2 * 10**15))))
        starts, stops = window.cut_at_start(buckets) or (None,), window.cut_at_stop(buckets) or (None,)
        for cuts in itertools.product(starts, stops):
            low, high = (None if cut is None else cut.at for cut in cuts)
            whole = Window(start=low, stop=high)
            if whole.is_empty:
                continue
            near = [at for cut in cuts if cut is not None for at in (cut.at, *cut.beside)]
            for moment in (at + draw.choice((-1, 0, 1, draw.randint(-(10**10), 10**10))) for at in near * 4):
                told = int(_within(buckets.floor(moment), whole))
                told += sum(cut.sign * (cut.beside[0] <= moment < cut.beside[1]) for cut in cuts if cut is not None)
                assert told == _within(moment, window)


def test_bounds_of_windows() -> None:
    day = 86_400_000_000
    window = Window().within("less_equal", dt.date(1970, 1, 31))
    assert window == Window(stop=31 * day), "the last day of a month ends it"
    months = Buckets(width=1, by_month=True)
    assert {(cut.at, cut.beside) for cut in window.cut_at_stop(months)} == {(31 * day, (31 * day, 31 * day))}
    assert Window().within("greater", dt.date(1970, 1, 31)) == Window(start=31 * day)
    zoned = dt.datetime(1970, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=5)))
    assert Window().within("less", zoned) == Window(stop=19 * 3_600_000_000)
    first, last = (
        (moment - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)
        for moment in (dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23))
    )
    months = Buckets(width=7, origin=24_000, by_month=True)
    with pytest.raises(OverflowError):
        months.floor(first)
    with pytest.raises(OverflowError):
        months.ceil(last)


def _within(moment: int, window: Window) -> bool:
    return (window.start is None or window.start <= moment) and (window.stop is None or moment < window.stop)


# -- random queries over random views -------------------------------------------------------------------------------

KEYS = {
    "k": ("k", "k % 2", "k + 1", "-k"),
    "s": ("s", "coalesce(s, 'none')", "upper(s)"),
    "flag": ("flag", "NOT flag"),
    "d": ("d", "date_trunc('month', d)", "extract(dow FROM d)"),
    "time_bucket('1 hour', at)": (
        "time_bucket('1 hour', at)", "time_bucket('6 hours', at)", "time_bucket('1 day', at)", "at::date",
        "date_trunc('week', at)", "date_trunc('month', at)", "extract(hour FROM at)", "extract(isodow FROM at)",
        "floor(extract(epoch FROM at) / 7200) * 7200", "to_char(at, 'Dy HH24')", "date_trunc('day', at::timestamptz)",
    ),
    "at::date": ("at::date", "date_trunc('month', at)", "date_trunc('day', at)", "extract(year FROM at)"),
    "date_trunc('month', at)": ("date_trunc('month', at)", "date_trunc('quarter', at)", "time_bucket('1 year', at)"),
    "time_bucket('2 days', at)": ("time_bucket('2 days', at)", "time_bucket('4 days', at)"),
}  # fmt: skip
"""What a view may group by, and what may be computed of that."""

TIMES = ("time_bucket('1 hour', at)", "at::date", "date_trunc('month', at)", "time_bucket('2 days', at)")
AGGREGATES = (
    "count(*)", "count(x)", "sum(x)", "avg(x)", "sum(y)", "avg(y)", "sum(z)", "bool_or(x > 0)", "count(s)", "min(x)",
    "max(y)", "count(DISTINCT s)", "max(s)", "min(z)", "max(at)", "stddev(x)", "var_pop(z)",
    "variance(CASE WHEN y < 9 THEN y END)", "first(x, at)", "last(s, at)", "last(y, x)", "first(z, d)",
)  # fmt: skip
FILTERS = ("", "", "", " FILTER (WHERE x > 0)", " FILTER (WHERE k > 1)", " FILTER (WHERE s = 'a')")
CONDITIONS = ("", "", "x > 0", "s IS NOT NULL", "k > 0", "x > 0 AND s = 'a'", "k IN (1, 2)")
NARROWER = {
    "": "", "x > 0": "x > 0", "s IS NOT NULL": "s = 'a'", "k > 0": "k > 1", "x > 0 AND s = 'a'": "s = 'a' AND x > 0",
    "k IN (1, 2)": "k = 2",
}  # fmt: skip
OF_KEYS = {"k": ("k = 2", "k > 1", "k IN (0, 3)"), "s": ("s = 'a'", "s IS NULL", "s < 'b'"), "flag": ("flag",)}


@dataclass(frozen=True)
class Grouped:
    keys: tuple[str, ...]
    values: tuple[str, ...]
    where: str
    source: str = "t"

    @property
    def text(self) -> str:
        columns = [f"{key} AS k{place}" for place, key in enumerate(self.keys)]
        columns += [f"{value} AS a{place}" for place, value in enumerate(self.values)]
        where = f" WHERE {self.where}" if self.where else ""
        grouped = f" GROUP BY {', '.join(self.keys)}" if self.keys else ""
        return f"SELECT {', '.join(columns)} FROM {self.source}{where}{grouped}"


def a_view(draw: random.Random) -> Grouped:
    keys = draw.sample(sorted(KEYS), draw.randint(1, 3))
    values = [draw.choice(AGGREGATES) + draw.choice(FILTERS) for _ in range(draw.randint(1, 4))]
    return Grouped(tuple(keys), tuple(dict.fromkeys(values)), draw.choice(CONDITIONS))


def moment(draw: random.Random) -> str:
    exact = draw.choice(("00:00", "00:00", "03:00", "04:17:01.5"))
    return f"'2026-0{draw.randint(1, 3)}-{draw.randint(10, 14)} {exact}'"


def a_query(draw: random.Random, views: list[Grouped]) -> Grouped:
    """Mostly one that a view might answer."""
    if not views or draw.random() < 0.15:
        return a_view(draw)
    of = draw.choice(views)
    keys = [draw.choice(KEYS[key]) for key in of.keys if draw.random() < 0.6]
    values = draw.sample(of.values, draw.randint(1, len(of.values)))
    conditions = [NARROWER[of.where]]
    for key in of.keys:
        if key in OF_KEYS and draw.random() < 0.3:
            conditions.append(draw.choice(OF_KEYS[key]))
        if key in OF_KEYS and draw.random() < 0.3:
            values.append(f"count(*) FILTER (WHERE {draw.choice(OF_KEYS[key])})")
        if key in TIMES and draw.random() < 0.6:
            conditions.append(f"at {draw.choice(('>', '>='))} {moment(draw)}")
        if key in TIMES and draw.random() < 0.4:
            conditions.append(f"at {draw.choice(('<', '<='))} {moment(draw)}")
    if draw.random() < 0.1:
        conditions.append(draw.choice(("x > 1", "id > 5", "y < 3")))
    return Grouped(
        tuple(dict.fromkeys(keys)), tuple(dict.fromkeys(values)), " AND ".join(part for part in conditions if part)
    )


def a_row(draw: random.Random) -> str:
    values = (
        str(draw.randint(0, 3)),
        f"'2026-0{draw.randint(1, 3)}-{draw.randint(10, 14)} 0{draw.randint(0, 9)}:"
        f"{draw.choice(('00', '17:01.5', '59'))}'",
        str(draw.randint(1, 30)),
        draw.choice(("NULL", "0", "1", "-5", "2000000000")),
        draw.choice(("NULL", "0.1", "-2.5", "1e300", "'NaN'", "-0.0")),
        draw.choice(("NULL", "1.5", "-99999999999.999")),
        draw.choice(("NULL", "'a'", "'b'", "''")),
        draw.choice(("NULL", "'2026-01-01'", "'1999-12-31'")),
        draw.choice(("NULL", "true", "false")),
    )
    return f"({', '.join(values)})"


def a_change(draw: random.Random) -> str:
    match draw.choice(("insert", "insert", "insert", "update", "delete")):
        case "insert":
            rows = {f"{row.split(',')[0]}{row.split(',')[1]}{row.split(',')[2]}": row for row in map(a_row, [draw] * 9)}
            return f"INSERT INTO t VALUES {', '.join(rows.values())} ON CONFLICT DO NOTHING"
        case "update":
            return f"UPDATE t SET {draw.choice(('x = 7', 's = NULL', 'y = y + 1', 'flag = NOT flag'))} WHERE id % 3 = 1"
        case _:
            return f"DELETE FROM t WHERE id % 5 = {draw.randint(0, 4)}"


def bag(rows: list[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: tuple((v is None, str(v)) for v in row if not isinstance(v, float)))


def same(ours: list[Any], theirs: list[Any], scale: float) -> bool:
    """Floats to 1e-9 of themselves or of the sum of absolutes, all else exactly; rows in any order."""
    if len(ours) != len(theirs):
        return False
    for left, right in zip(bag(ours), bag(theirs), strict=True):
        for a, b in zip(left, right, strict=True):
            if isinstance(a, float) and isinstance(b, float):
                if a != b and not (math.isnan(a) and math.isnan(b)) and not abs(a - b) <= 1e-9 * max(scale, abs(b)):
                    return False
            elif a != b:
                return False
    return True


class World:
    """A database with views, that is asked. ``matched``: how many queries views answered."""

    def __init__(self, draw: random.Random, path: Path) -> None:
        self.draw, self.path, self.matched = draw, path, 0
        self.db = weftdb.open(path)
        self.db.execute(DDL)
        self.views: dict[str, Grouped] = {}

    def step(self) -> None:
        draw = self.draw
        what = draw.choices(("write", "view", "drop", "flush", "restart"), (6, 2, 0.5, 1, 0.5))[0]
        match what:
            case "write":
                self.db.execute(self.change())
            case "view" if len(self.views) < 4:
                name, view = f"v{draw.randint(0, 10**9)}", a_view(draw)
                self.db.execute(f"CREATE MATERIALIZED VIEW {name} AS {view.text}")
                self.views[name] = view
            case "drop" if self.views:
                name = draw.choice(sorted(self.views))
                self.db.execute(f"DROP MATERIALIZED VIEW {name}")
                del self.views[name]
            case "flush":
                self.db.engine.maintenance.flush()
            case "restart":
                self.db.close()
                self.db = weftdb.open(self.path)
            case _:
                pass
        scale = (
            float(from_rows(self.db, "SELECT coalesce(sum(abs(y)) FILTER (WHERE y < 1e308), 0) FROM t").scalar()) + 1
        )
        for _ in range(4):
            self.ask(self.db, self.query(), scale)
        with self.db.transaction() as txn:
            if draw.random() < 0.3:
                txn.execute(self.change())
            self.ask(txn, self.query(), scale + 1e302)

    def query(self) -> Grouped:
        return a_query(self.draw, list(self.views.values()))

    def change(self) -> str:
        return a_change(self.draw)

    def ask(self, on: Any, query: Grouped, scale: float) -> None:
        theirs = from_rows(on, query.text).rows()
        ours = from_views(on, query.text).rows()
        assert same(ours, theirs, scale), (query.text, {n: v.text for n, v in self.views.items()}, ours, theirs)
        plan = from_views(on, f"EXPLAIN {query.text}").rows()
        self.matched += any(" answers for " in line for (line,) in plan)


STEPS = 12 if soak.FACTOR == 1 else 25


def worlds(count: int) -> Iterator[int]:
    return iter(range(1000 * soak.SEED, 1000 * soak.SEED + count))


@pytest.mark.parametrize("seed", list(worlds(2 * soak.FACTOR)))
def test_views_answer_as_their_tables_do(seed: int, tmp_path: Path) -> None:
    world = World(random.Random(seed), tmp_path / "data")
    try:
        for _ in range(STEPS):
            world.step()
    finally:
        world.db.close()
    assert world.matched > 1


GRAINS = {
    "months": "date_trunc('month', at)", "days": "time_bucket('1 day', at)", "hours": "time_bucket('1 hour', at)",
    "two_days": "time_bucket('2 days', at)",
}  # fmt: skip
KEPT = "count(*), count(x), sum(x), sum(y), sum(z), bool_or(x > 0)"
KEPT_VALUES = "min(x), max(y), count(DISTINCT s)"


def test_buckets_beside_larger_ones_come_from_other_views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups for nothing, rows dear: so the ends of months are days, and theirs hours, wherever that can be."""
    monkeypatch.setattr(ways, "GROUPS_PER_READ", 0)
    monkeypatch.setattr(ways, "FINER_FROM", 0)
    monkeypatch.setattr(ways, "GROUPS_PER_ROW", 10**6)
    monkeypatch.setattr(ways, "ROWS_PER_GROUP", 1e-9)
    seen = {"pieces": 0, "levels": 0, "taken away": 0, "added": 0}

    def chosen(matched: Any, reader: Any, moment: Any) -> Any:
        way, why = ways.way_of(matched, reader, moment)
        seen["pieces"] += way is not None and len(way.pieces) > 1
        seen["levels"] += way is not None and len({piece.roll.view.name for piece in way.pieces}) > 2
        seen["taken away"] += way is not None and any(end.sign < 0 for end in way.ends)
        seen["added"] += way is not None and any(end.sign > 0 for end in way.ends)
        return way, why

    monkeypatch.setattr(run, "way_of", chosen)
    draw = random.Random(soak.SEED)
    with weftdb.open(tmp_path / "data") as db:
        db.execute(DDL)
        for name, bucket in GRAINS.items():
            where = draw.choice(("", " WHERE k > 0", f" WHERE at >= {moment(draw)}"))
            query = f"SELECT {bucket}, k, s, {KEPT}, {KEPT_VALUES} FROM t{where} GROUP BY 1, 2, 3"
            names = ", ".join(f"c{place}" for place in range(12))
            db.execute(f"CREATE MATERIALIZED VIEW {name} ({names}) AS {query}")
        for number in range(40 * soak.FACTOR):
            db.execute(a_change(draw))
            if draw.random() < 0.1:
                db.engine.maintenance.flush()
            keys = draw.choice(("", "k", "date_trunc('month', at)", "time_bucket('4 days', at), s", "upper(s)"))
            kept = KEPT if draw.random() < 0.7 else f"{KEPT}, {KEPT_VALUES}"
            bounds = [f"at >= {moment(draw)}", f"at < {moment(draw)}", f"at > {moment(draw)}"]
            where = " AND ".join([*draw.sample(bounds, draw.randint(1, 3)), draw.choice(("k > 0", "s = 'a'", "true"))])
            query = f"SELECT {keys and keys + ','} {kept} FROM t WHERE {where}{keys and ' GROUP BY ' + keys}"
            absolutes = "SELECT coalesce(sum(abs(y)) FILTER (WHERE y < 1e308), 0) FROM t"
            scale = float(from_rows(db, absolutes).scalar()) + 1
            monkeypatch.setattr(rollup, "CHANGE_ROWS", (2, 1 << 16)[number % 2])
            assert same(from_views(db, query).rows(), from_rows(db, query).rows(), scale), query
    assert seen.pop("levels") > 0
    assert min(seen.values()) > 3, seen


@pytest.fixture
def groups_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever can be read as groups is, also where rows would be few."""
    monkeypatch.setattr(ways, "GROUPS_PER_READ", 0)
    monkeypatch.setattr(ways, "FINER_FROM", 0)


TEN_MINUTES = """CREATE TABLE e (at TIMESTAMP PRIMARY KEY, x INT);
INSERT INTO e SELECT TIMESTAMP '2026-01-01' + n * INTERVAL '10 minutes', n FROM generate_series(0, 999) AS r(n)"""


@pytest.mark.usefixtures("groups_for_nothing")
def test_rows_that_a_view_has_not_are_not_taken_out_of_it(db: Database) -> None:
    db.execute(TEN_MINUTES)
    kept = "SELECT time_bucket('1 day', at) AS day, count(*) AS n, sum(x) AS x FROM e WHERE at >= '2026-01-02 09:00'"
    db.execute(f"CREATE MATERIALIZED VIEW days AS {kept} GROUP BY 1")
    query = "SELECT count(*), sum(x) FROM e WHERE at >= '2026-01-02 11:00'"
    assert "View days answers for e, since" in [line for (line,) in from_views(db, f"EXPLAIN {query}").rows()]
    found = range(144 + 66, 1000)
    assert from_views(db, query).rows() == from_rows(db, query).rows() == [(len(found), sum(found))]
    by_day = query.replace("SELECT", "SELECT time_bucket('1 day', at),") + " GROUP BY 1 ORDER BY 1"
    assert from_views(db, by_day).rows() == from_rows(db, by_day).rows()


@pytest.mark.usefixtures("groups_for_nothing")
@pytest.mark.parametrize("piece", [2, 1 << 16])
@pytest.mark.parametrize("until", ["", " AND at < '2026-01-05 01:00'"])
def test_a_group_all_rows_of_which_are_taken_away_is_none(
    db: Database, monkeypatch: pytest.MonkeyPatch, piece: int, until: str
) -> None:
    """Of a query without groups there is one all the same."""
    monkeypatch.setattr(rollup, "CHANGE_ROWS", piece)
    db.execute(TEN_MINUTES.replace("x INT)", "k INT, x INT)").replace("minutes', n FROM", "minutes', 0, n FROM"))
    db.execute("UPDATE e SET k = 1 WHERE at >= '2026-01-02' AND at < '2026-01-02 01:00'")
    day = "time_bucket('1 day', at)"
    db.execute(
        f"CREATE MATERIALIZED VIEW days AS SELECT {day} AS day, k, count(*) AS n, sum(x) AS x FROM e GROUP BY 1, 2"
    )
    within = f"WHERE at >= '2026-01-02 01:00'{until}"
    last = 1000 if not until else 4 * 144 + 6
    for query, found in (
        (f"SELECT k, count(*), sum(x) FROM e {within} GROUP BY k", [(0, last - 150, sum(range(150, last)))]),
        (f"SELECT count(*), sum(x) FROM e {within} AND k = 1", [(0, None)]),
    ):
        assert "View days answers for e, since" in [line for (line,) in from_views(db, f"EXPLAIN {query}").rows()]
        assert from_views(db, query).rows() == from_rows(db, query).rows() == found


@pytest.mark.usefixtures("groups_for_nothing")
def test_buckets_of_two_views_are_of_the_same_things(db: Database) -> None:
    """One keeps the sum of a CASE, the other its branches."""
    db.execute(
        TEN_MINUTES.replace("x INT)", "k INT, x INT, y INT)").replace("minutes', n FROM", "minutes', n % 2, n, -1 FROM")
    )
    case = "sum(CASE WHEN k = 0 THEN x ELSE y END)"
    day, hour = "time_bucket('1 day', at)", "time_bucket('1 hour', at)"
    db.execute(f"CREATE MATERIALIZED VIEW days AS SELECT {day} AS start, {case} AS x FROM e GROUP BY 1")
    apart = "avg(x) AS x, avg(y) AS y"
    db.execute(f"CREATE MATERIALIZED VIEW hours AS SELECT {hour} AS start, k, {apart} FROM e GROUP BY 1, 2")
    query = f"SELECT {case} FROM e WHERE at >= '2026-01-02 22:30' AND at < '2026-01-06 01:30'"
    lines = [line for (line,) in from_views(db, f"EXPLAIN {query}").rows()]
    assert "View days answers for e, since" in lines
    assert "  also View hours could" in lines
    assert from_views(db, query).rows() == from_rows(db, query).rows()


@pytest.mark.usefixtures("groups_for_nothing")
@pytest.mark.parametrize(("width", "beside"), [("3 days", False), ("1 day", True)])
def test_buckets_beside_others_are_parts_of_these(db: Database, width: str, *, beside: bool) -> None:
    """A bucket of three days may lie in two months."""
    db.execute(TEN_MINUTES.replace("10 minutes", "3 hours"))
    for name, keys in (("months", "date_trunc('month', at)"), ("small", f"time_bucket('{width}', at), x")):
        aggregates = "count(*) AS n, sum(x) AS total"
        db.execute(f"CREATE MATERIALIZED VIEW {name} AS SELECT {keys}, {aggregates} FROM e GROUP BY {keys}")
    lines: list[str] = []
    for start, stop in itertools.product(range(25, 32), range(1, 6)):
        query = f"SELECT count(*), sum(x) FROM e WHERE at >= '2026-01-{start:02}' AND at < '2026-04-{stop:02} 03:00'"
        assert from_views(db, query).rows() == from_rows(db, query).rows(), query
        lines += [line for (line,) in from_views(db, f"EXPLAIN {query}").rows()]
    assert "View months answers for e, since" in lines
    assert ("  smaller buckets beside these come from small" in lines) == beside


@pytest.mark.usefixtures("groups_for_nothing")
def test_hours_beside_days_are_shown_and_counted(db: Database) -> None:
    db.execute(TEN_MINUTES)
    for name, bucket in (("days", "1 day"), ("hours", "1 hour")):
        query = f"SELECT time_bucket('{bucket}', at) AS start, count(*) AS n, sum(x) AS x FROM e GROUP BY 1"
        db.execute(f"CREATE MATERIALIZED VIEW {name} AS {query}")
    query = "SELECT count(*), sum(x) FROM e WHERE at >= '2026-01-02 11:05' AND at < '2026-01-05 13:25'"
    found = list(range(211, 657))
    assert from_views(db, query).rows() == from_rows(db, query).rows() == [(len(found), sum(found))]
    lines = [line for (line,) in from_views(db, f"EXPLAIN {query}").rows()]
    assert "View days answers for e, since" in lines
    assert "  smaller buckets beside these come from hours" in lines
    lines = [line for (line,) in from_views(db, f"EXPLAIN ANALYZE {query}").rows()]
    # Days 3 and 4; 11 to 24 and 0 to 13 o'clock; and before 11:05 one row less, from 13:00 on three more.
    assert any(re.match(r"  View days for e: 1 groups of 6 groups and rows", line) for line in lines), lines
    assert any(re.match(r"  View hours for e: 26 groups of 26 groups and rows", line) for line in lines), lines
    reads = dict(db.execute("SELECT view_name, reads FROM weft_views").rows())
    assert reads["days"] >= 2, reads
    assert reads["hours"] >= 2, reads


# -- the same, joined with small tables -------------------------------------------------------------------------------

DIMENSIONS = (
    "CREATE TABLE dk (did INT PRIMARY KEY, city TEXT, grp INT, w DOUBLE PRECISION)",
    "CREATE TABLE ds (sk TEXT, tag TEXT, rank INT)",
    "CREATE TABLE dks (a INT, b TEXT, note TEXT, PRIMARY KEY (a, b))",
)
"""``ds`` has NULL among its keys, and now and then a key twice."""

JOINS: dict[str, tuple[str, ...]] = {
    "k": ("JOIN dk ON k = did", "LEFT JOIN dk ON k = did", "LEFT JOIN dk ON k = did AND grp = 1",
          "JOIN dk ON k % 2 = did"),
    "s": ("JOIN ds ON s = sk", "LEFT JOIN ds ON s = sk", "LEFT JOIN ds ON s = sk AND rank > 0"),
}  # fmt: skip
OF_SIDES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "k": (
        ("city", "grp", "upper(city)", "k + grp", "coalesce(city, 'none')", "w"),
        ("grp = 1", "city IS NULL", "grp > k", "city = 'x' OR k = 2", "w > 0.5", "city LIKE 'x%'", "NOT (grp = k)"),
    ),
    "s": (
        ("tag", "rank", "s || tag"),
        ("rank = 1", "tag IS NULL", "tag <> s", "coalesce(rank, 7) > 1"),
    ),
}
"""What may be grouped by, and asked, of what is joined by a column."""

LOOKED_UP: dict[str, tuple[str, ...]] = {
    "k": (
        "k IN (SELECT did FROM dk WHERE grp = 1)", "k NOT IN (SELECT grp FROM dk)", "k IN (SELECT grp FROM dk)",
        "k NOT IN (SELECT grp FROM dk WHERE grp IS NOT NULL)", "k NOT IN (SELECT did FROM dk WHERE city = 'nowhere')",
        "EXISTS (SELECT 1 FROM dk WHERE did = k AND city = 'x')", "NOT EXISTS (SELECT 1 FROM dk WHERE did = k)",
        f"k IN ({', '.join(map(str, range(1, 60, 2)))})", f"k NOT IN ({', '.join(map(str, range(1, 60, 2)))})",
        f"k NOT IN ({', '.join(map(str, range(1, 60, 2)))}, NULL)", "k IN (SELECT a FROM dks)",
    ),
    "s": (
        "s IN (SELECT sk FROM ds)", "s NOT IN (SELECT sk FROM ds)", "s NOT IN (SELECT sk FROM ds WHERE sk IS NOT NULL)",
        "s NOT IN (SELECT sk FROM ds WHERE tag = 'nothing')", "NOT EXISTS (SELECT 1 FROM ds WHERE sk = s AND rank > 0)",
        "NOT (s IN (SELECT sk FROM ds WHERE rank = 1))", "s = ANY (SELECT tag FROM ds)",
        "s <> ALL (SELECT tag FROM ds)",
    ),
    "flag": ("flag IN (SELECT rank > 0 FROM ds)",),
    "d": ("d IN (SELECT '1999-12-31'::date)", "d NOT IN (SELECT '1999-12-31'::date FROM dk)"),
}  # fmt: skip
OF_BOTH = (
    "(k, s) IN (SELECT a, b FROM dks)", "(k, s) NOT IN (SELECT a, b FROM dks)",
    "NOT EXISTS (SELECT 1 FROM dks WHERE a = k AND b = s)",
)  # fmt: skip


def with_sides(draw: random.Random, query: Grouped, of: Grouped) -> Grouped:
    """A query of a view, joined by what the view groups by."""
    by = [key for key in of.keys if key in LOOKED_UP]
    source, keys, values = "t", list(query.keys), list(query.values)
    conditions = [query.where] if query.where else []
    for key in by:
        if key in JOINS and draw.random() < 0.6:
            source += f" {draw.choice(JOINS[key])}"
            given, asked = OF_SIDES[key]
            keys += draw.sample(given, draw.randint(0, 2))
            conditions += [f"({text})" for text in draw.sample(asked, draw.choice((0, 0, 1)))]
            if draw.random() < 0.3:
                values.append(f"count(*) FILTER (WHERE {draw.choice(asked)})")
            if draw.random() < 0.2:
                values.append(f"count({draw.choice(given)})")
            if draw.random() < 0.05:
                values.append("sum(x::bigint * grp)" if key == "k" else "sum(x::bigint * rank)")
        if draw.random() < 0.4:
            conditions.append(draw.choice(LOOKED_UP[key]))
    if {"k", "s"} <= set(by):
        if draw.random() < 0.3:
            source += draw.choice((" JOIN dks ON k = a AND s = b", " LEFT JOIN dks ON k = a AND s = b"))
            keys.append("note")
        if draw.random() < 0.3:
            conditions.append(draw.choice(OF_BOTH))
    return Grouped(tuple(dict.fromkeys(keys)), tuple(dict.fromkeys(values)), " AND ".join(conditions), source)


def change_of_sides(draw: random.Random) -> str:
    k, s = draw.randint(-1, 4), draw.choice(("NULL", "'a'", "'b'", "''", "'z'"))
    text, number = draw.choice(("NULL", "'x'", "'xy'", "'a'")), draw.choice(("NULL", "1", "2", "0"))
    match draw.choice(("dk", "dk", "dk", "ds", "ds", "dks", "update", "delete", "delete", "empty")):
        case "dk":
            w = draw.choice(("0.5", "NULL", "7"))
            return f"INSERT INTO dk VALUES ({k}, {text}, {number}, {w}) ON CONFLICT DO NOTHING"
        case "ds" if draw.random() < 0.9:
            known = f"SELECT 1 FROM ds WHERE sk IS NOT DISTINCT FROM {s}"
            return f"INSERT INTO ds SELECT {s}, {text}, {number} WHERE NOT EXISTS ({known})"
        case "ds":
            return f"INSERT INTO ds VALUES ({s}, {text}, {number})"
        case "dks":
            return f"INSERT INTO dks VALUES ({k}, {'chr(97)' if s == 'NULL' else s}, {text}) ON CONFLICT DO NOTHING"
        case "update":
            return f"UPDATE dk SET city = {text}, grp = {number} WHERE did % 2 = {draw.randint(0, 1)}"
        case "delete":
            return draw.choice((f"DELETE FROM dk WHERE did = {k}", f"DELETE FROM ds WHERE sk IS NULL OR sk = {s}"))
        case _:
            return draw.choice(("DELETE FROM ds", "DELETE FROM dks", "DELETE FROM dk"))


class Joined(World):
    """Most queries are joined with small tables, which change between them, too."""

    def __init__(self, draw: random.Random, path: Path) -> None:
        super().__init__(draw, path)
        self.with_sides = 0
        for text in DIMENSIONS:
            self.db.execute(text)
        for _ in range(12):
            self.db.execute(change_of_sides(draw))

    def step(self) -> None:
        self.db.execute(change_of_sides(self.draw))
        super().step()

    def change(self) -> str:
        return (change_of_sides if self.draw.random() < 0.5 else a_change)(self.draw)

    def query(self) -> Grouped:
        if not self.views:
            return super().query()
        of = self.draw.choice(list(self.views.values()))
        return with_sides(self.draw, a_query(self.draw, [of]), of)

    def ask(self, on: Any, query: Grouped, scale: float) -> None:
        before = self.matched
        super().ask(on, query, 4 * scale)
        self.with_sides += self.matched > before and query.text.count("SELECT") + query.text.count("JOIN") > 1


@pytest.mark.parametrize("seed", list(worlds(2 * soak.FACTOR)))
def test_views_answer_joins_as_their_tables_do(seed: int, tmp_path: Path) -> None:
    world = Joined(random.Random(seed), tmp_path / "data")
    try:
        for _ in range(STEPS):
            world.step()
    finally:
        world.db.close()
    assert world.with_sides > 1, (world.with_sides, world.matched)


# -- what is said, and when views are left out ----------------------------------------------------------------------


def explained(on: Any, query: str) -> list[str]:
    return [line.strip() for (line,) in on.execute(f"EXPLAIN {query}").rows()]


@pytest.fixture
def shop(db: Any) -> Any:
    db.execute(DDL)
    db.execute(
        "INSERT INTO t SELECT i % 7, '2026-01-01'::timestamp + i * interval '13 minutes', i, i % 11, i * 0.5, i, "
        "'s' || i % 3, '2026-01-01', i % 2 = 0 FROM generate_series(1, 5000) AS g(i)"
    )
    db.execute(
        "CREATE MATERIALIZED VIEW hourly AS SELECT s, time_bucket('1 hour', at) AS hour, count(*) AS n, sum(x) AS sx "
        "FROM t GROUP BY 1, 2"
    )
    db.execute("CREATE MATERIALIZED VIEW big AS SELECT k, sum(y) AS total FROM t WHERE x > 5 GROUP BY k")
    return db


def test_explain_prints_the_proof_and_what_is_missing(shop: Any) -> None:
    lines = explained(
        shop, "SELECT date_trunc('day', at), avg(x) FROM t WHERE s = 's1' AND at >= '2026-01-03 10:30' GROUP BY 1"
    )
    assert lines[2] == "View hourly answers for t, since"
    assert "s = 's1' is about whole groups: s = 's1'" in lines
    assert "at >= '2026-01-03 10:30:00': whole buckets from groups, the ends from rows" in lines
    assert "date_trunc('day', at) is computed of its groups: date_trunc('day', hour)" in lines
    assert "sum(x) is kept" in lines
    assert "not View big: it has only rows with x > 5" in lines
    assert lines[-1] == "Choice: Views, since their groups say all that is asked"
    lines = explained(shop, "SELECT k, sum(y) FROM t WHERE x > 6 GROUP BY k")
    assert "View: none answers for t" in lines
    assert "not View big: x > 6 is about more than its groups" in lines
    made = "SELECT k, sum(y), count(y) FROM t WHERE x > 6 GROUP BY k"
    assert f"this one would: CREATE MATERIALIZED VIEW name AS {made}" in lines


def test_the_view_that_explain_names_answers_the_query(shop: Any) -> None:
    query = "SELECT s, sum(y) FROM t WHERE z > 10 AND k = 3 GROUP BY s"
    made = next(line for line in explained(shop, query) if line.startswith("this one would: "))
    shop.execute(made.removeprefix("this one would: ").replace("VIEW name AS", "VIEW made AS"))
    assert "View made answers for t, since" in explained(shop, query)
    assert sorted(from_views(shop, query).rows()) == sorted(from_rows(shop, query).rows())


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT k, sum((x + 1) * 2 - (x - k)) FROM t GROUP BY k", "sum((x + 1) * 2 - (x - k))"),
        ("SELECT k, sum(2 - -x) FROM t WHERE s <> 'it''s' GROUP BY k", "s <> 'it''s'"),
        ("SELECT k, sum(x::bigint * (k + 1)) FROM t GROUP BY k", "(k + 1)::bigint"),
        (
            "SELECT \"Wert\", count(*) FROM t WHERE (x > 1 OR s = 's1') AND k > 0 GROUP BY 1",
            "(x > 1 OR s = 's1') AND k",
        ),
        (
            "SELECT k, min(x) FILTER (WHERE s = 's1' AND (x > 1 OR \"Wert\" = 1)) FROM t GROUP BY k",
            '(x > 1 OR "Wert" = 1)',
        ),
        ('SELECT count(*) FROM t WHERE "Wert" = 1', 'GROUP BY "Wert"'),
        ("SELECT extract(dow FROM at), count(*) FROM t GROUP BY 1", "extract(dow FROM at)"),
        (
            "SELECT k, count(*) FROM t WHERE at > timestamp '2026-01-02' + interval '1 day' GROUP BY k",
            "'1 day'::interval",
        ),
        ("SELECT k, count(*) FROM t WHERE (s IS NULL) = false GROUP BY k", "(s IS NULL) = false"),
        ("SELECT k, count(*) FROM t WHERE x IN (1,2,3,4,5,6,7,8,9,10,11,12) GROUP BY k", "GROUP BY k, x"),
        (
            "SELECT k, count(*) FROM t WHERE x IN (1, 2) AND s IS DISTINCT FROM 's1' GROUP BY k",
            "x IN (1, 2) AND s IS DIST",
        ),
        ("SELECT position('1' IN s) AS p, at::date, count(*) FROM t GROUP BY 1, 2", "position('1' IN s)"),
        ("SELECT k, sum(y) FROM t WHERE y <> 'NaN' GROUP BY k", "y <> 'NaN'"),
        ("SELECT s || 'a' || upper(s), count(*) FROM t WHERE NOT (s LIKE '%2') GROUP BY 1", "s || 'a' || upper(s)"),
    ],
)
def test_what_explain_proposes_means_what_was_asked(db: Any, query: str, said: str) -> None:
    db.execute(
        'CREATE TABLE t (id BIGINT PRIMARY KEY, k INT, at TIMESTAMP, x INT, s TEXT, "Wert" INT, y DOUBLE PRECISION);'
        "CREATE MATERIALIZED VIEW other AS SELECT k, count(*) FILTER (WHERE x > 7) AS n FROM t WHERE k > 2 GROUP BY k;"
        "INSERT INTO t SELECT g, g % 5, timestamp '2026-01-01' + g * interval '1 hour', g % 11, 's' || g % 3, g % 2, g "
        "FROM generate_series(1, 200) g"
    )
    made = next(line for line in explained(db, query) if line.startswith("this one would: "))
    assert said in made
    db.execute(made.removeprefix("this one would: ").replace("VIEW name AS", "VIEW made AS"))
    assert "View made answers for t, since" in explained(db, query)
    assert bag(from_views(db, query).rows()) == bag(from_rows(db, query).rows())


def test_windows_have_the_narrower_of_two_bounds(shop: Any) -> None:
    low, lower, high, higher = "'2026-01-05 10:30'", "'2026-01-04'", "'2026-01-20 11:59'", "'2026-01-22'"
    query = "SELECT s, count(*), sum(x) FROM t WHERE {} GROUP BY s ORDER BY s"
    right = from_rows(shop, query.format(f"at >= {low} AND at < {high}")).rows()
    for bounds in itertools.permutations((f"at >= {low}", f"at > {lower}", f"at < {high}", f"{higher} >= at")):
        text = query.format(" AND ".join(bounds))
        assert "View hourly answers for t, since" in explained(shop, text)
        assert from_views(shop, text).rows() == right, bounds


def test_a_window_is_cut_by_the_smallest_buckets_that_a_view_has(db: Database) -> None:
    """Here days lie in months, and a window within a month has whole days."""
    db.execute(TEN_MINUTES.replace("10 minutes", "2 hours"))
    keys = "date_trunc('month', at) AS month, time_bucket('1 hour', at) AS hour, time_bucket('1 day', at) AS day"
    db.execute(f"CREATE MATERIALIZED VIEW v AS SELECT {keys}, count(*) AS n, sum(x) AS x FROM e GROUP BY 1, 2, 3")
    query = "SELECT count(*), sum(x) FROM e WHERE at >= '2026-01-10 03:00' AND at < '2026-01-12 20:00'"
    found = range(110, 142)
    assert from_views(db, query).rows() == from_rows(db, query).rows() == [(len(found), sum(found))]
    lines = [line for (line,) in from_views(db, f"EXPLAIN ANALYZE {query}").rows()]
    assert any(line.startswith("  View v for e: 1 groups of 32 groups and rows") for line in lines), lines


@pytest.mark.parametrize("width", ["1 hour", "7 hours", "12 hours", "36 hours", "2 days"])
def test_dates_in_buckets_that_may_begin_within_a_day(db: Any, width: str) -> None:
    """A DATE does not say when in its day a bucket of 36 hours begins: no view answers for its window."""
    db.execute("CREATE TABLE e (id BIGINT PRIMARY KEY, d DATE, x INT)")
    db.execute("INSERT INTO e SELECT g, date '2026-01-01' + g % 40, g FROM generate_series(1, 4000) g")
    bucket = f"time_bucket('{width}', d)"
    db.execute(f"CREATE MATERIALIZED VIEW v AS SELECT {bucket} AS b, count(*) AS n FROM e GROUP BY 1")
    answered = list[bool]()
    for query in (
        *(
            f"SELECT count(*) FROM e WHERE d >= '2026-01-{first:02}' AND d <= '2026-01-{last:02}'"
            for first, last in itertools.product(range(1, 20, 6), range(20, 31, 3))
        ),
        *(f"SELECT {text}, count(*) FROM e GROUP BY 1" for text in ("date_trunc('month', d)", "extract(dow FROM d)")),
    ):
        answered.append("View v answers for e, since" in explained(db, query))
        assert bag(from_views(db, query).rows()) == bag(from_rows(db, query).rows()), query
    assert any(answered) == (width not in ("7 hours", "36 hours"))
    query = f"SELECT {bucket}, count(*) FROM e WHERE {bucket} > '2026-01-09' GROUP BY 1"
    assert "View v answers for e, since" in explained(db, query)
    assert bag(from_views(db, query).rows()) == bag(from_rows(db, query).rows())


def test_values_of_fewer_rows_are_not_those_of_all(shop: Any) -> None:
    shop.execute("CREATE MATERIALIZED VIEW few AS SELECT k, min(x) FILTER (WHERE x > 5) AS low FROM t GROUP BY k")
    for other in ("min(x)", "min(x) FILTER (WHERE x > 4)", "min(x) FILTER (WHERE x > 6)"):
        assert "View: none answers for t" in explained(shop, f"SELECT k, {other} FROM t GROUP BY k"), other
    query = "SELECT min(x) FILTER (WHERE x > 5 AND k = 2) FROM t"
    assert "View few answers for t, since" in explained(shop, query)
    assert from_views(shop, query).rows() == from_rows(shop, query).rows()


def test_no_view_answers_what_differs_from_row_to_row(shop: Any) -> None:
    for condition in ("random() < 2", "gen_random_uuid() IS NOT NULL", "clock_timestamp() > '2000-01-01'"):
        query = f"SELECT s, count(*) FROM t WHERE {condition} GROUP BY s ORDER BY s"
        assert not any(line.startswith("View ") for line in explained(shop, query)), query
    query = "SELECT s, count(*) FROM t WHERE at < now() + interval '1 day' GROUP BY s ORDER BY s"
    assert from_views(shop, query).rows() == from_rows(shop, query).rows()


def test_a_primary_key_is_counted_as_its_rows_are(shop: Any) -> None:
    query = "SELECT s, count(id), count(at) FROM t GROUP BY s ORDER BY s"
    assert "View hourly answers for t, since" in explained(shop, query)
    assert from_views(shop, query).rows() == from_rows(shop, query).rows()


def test_what_stands_around_the_groups_stays_what_it_is(shop: Any) -> None:
    for query in (
        "SELECT s, count(*) AS n FROM t GROUP BY s HAVING count(*) > 1666 ORDER BY n DESC, s LIMIT 2 OFFSET 1",
        "WITH a AS (SELECT s, sum(x) AS total FROM t GROUP BY s) SELECT max(total) FROM a",
        "SELECT s, count(*) FROM t GROUP BY s UNION ALL SELECT 'all', count(*) FROM t ORDER BY 1",
        "SELECT n.name, a.total FROM (VALUES ('s1', 'one')) AS n(s, name) JOIN "
        "(SELECT s, sum(x) AS total FROM t GROUP BY s) AS a USING (s)",
        "SELECT s, 100.0 * count(*) / (SELECT count(*) FROM t) FROM t GROUP BY s ORDER BY s",
        "SELECT DISTINCT s FROM t ORDER BY s",
        "SELECT extract(hour FROM at) h, count(*), rank() OVER (ORDER BY count(*) DESC) FROM t GROUP BY h ORDER BY h",
    ):
        assert any(line.startswith("View hourly answers") for line in explained(shop, query)), query
        assert from_views(shop, query).rows() == from_rows(shop, query).rows(), query


def test_a_way_that_was_chosen_is_that_of_its_constants(shop: Any) -> None:
    query = "SELECT count(*), sum(x) FROM t WHERE at >= $1 AND at < $2"
    start, off = dt.datetime(2026, 1, 3, 5), {"weft.match_views": "off"}
    for days in (1, 2, 9, 1):
        window = [start, start + dt.timedelta(days=days, hours=1)]
        right = shop.execute(query, window, settings=off).rows()
        assert shop.execute(query, window).rows() == right, days
        text = query.replace("$1", f"'{window[0]}'").replace("$2", f"'{window[1]}'")  # lifted from the second on
        assert shop.execute(text).rows() == right, days


def test_a_way_that_was_chosen_moves_with_the_statements_time(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    query = "SELECT count(*), sum(x) FROM t WHERE at >= now() - interval '1 day'"
    found: set[Any] = set()
    for hours in (0, 1, 30, 31):
        moment = dt.datetime(2026, 1, 5, 7, 30, tzinfo=dt.UTC) + dt.timedelta(hours=hours)
        monkeypatch.setattr("weftdb.sql.session.wall_clock", lambda moment=moment: round(moment.timestamp() * 1e6))
        rows = shop.execute(query).rows()
        assert rows == shop.execute(query, settings={"weft.match_views": "off"}).rows(), hours
        found |= set(rows)
    assert len(found) == 4, "fewer rows are asked for each time"


def test_parameters_decide_when_the_query_runs(shop: Any) -> None:
    query = "SELECT sum(y), count(*) FROM t WHERE x > $1 AND at < $2"
    shop.execute("CREATE MATERIALIZED VIEW daily AS SELECT at::date AS day, sum(y) AS sy FROM t WHERE x > 5 GROUP BY 1")
    for x, until in itertools.product((4, 5, 6), (dt.datetime(2026, 1, 20), dt.datetime(2026, 1, 20, 13, 14, 15))):
        found = shop.execute(query, [x, until]).rows()
        right = shop.execute(query, [x, until], settings={"weft.match_views": "off"}).rows()
        assert found == right
        plan = shop.execute(f"EXPLAIN {query}", [x, until]).rows()
        assert any(line.startswith("View daily answers") for (line,) in plan) == (x == 5)


def test_views_are_left_out_where_they_do_not_show_what_is_read(shop: Any) -> None:
    query = "SELECT s, count(*) FROM t GROUP BY s ORDER BY s"
    before = shop.execute(query).rows()
    with shop.transaction() as txn:
        assert "View hourly answers for t, since" in explained(txn, query)
        txn.execute("DELETE FROM t WHERE s = 's1'")
        assert "View: none is looked at, since this transaction has written to t" in explained(txn, query)
        assert [row[0] for row in txn.execute(query).rows()] == ["s0", "s2"]
        txn.rollback()
    version = shop.execute("SELECT count(*) FROM t").version
    shop.execute("DELETE FROM t WHERE s = 's0'")
    past = query.replace("FROM t", f"FROM t AS OF VERSION {version}")
    assert any("it reads the past" in line for line in explained(shop, past))
    assert shop.execute(past).rows() == before
    assert [row[0] for row in shop.execute(query).rows()] == ["s1", "s2"]
    off = [line for (line,) in from_rows(shop, f"EXPLAIN {query}").rows() if "View" in line]
    assert off == ["View: none is looked at, since weft.match_views is off"]


def test_a_sum_that_its_type_cannot_hold_is_an_error_from_views_too(shop: Any) -> None:
    shop.execute("CREATE TABLE u (k INT, b INT); CREATE MATERIALIZED VIEW v AS SELECT k, sum(b) AS s FROM u GROUP BY k")
    shop.execute("INSERT INTO u SELECT 1, 2147483647 FROM generate_series(1, 10)")
    assert from_views(shop, "SELECT sum(b) FROM u").rows() == [(21474836470,)]
    with pytest.raises(Invalid) as error:
        from_views(shop, "SELECT sum(b)::int FROM u")
    assert error.value.sqlstate == "22003"


def test_functions_of_floats_are_not_computed_of_groups_that_do_not_tell_0_from_minus_0(db: Any) -> None:
    db.execute("CREATE TABLE u (id INT PRIMARY KEY, y DOUBLE PRECISION)")
    db.execute("CREATE MATERIALIZED VIEW v AS SELECT y, count(*) AS n FROM u GROUP BY y")
    db.execute("INSERT INTO u VALUES (1, '0'), (2, '-0'), (3, '-0'), (4, 2.5)")
    by_text = "SELECT y::text, count(*) FROM u GROUP BY 1 ORDER BY 1"
    assert from_views(db, by_text).rows() == [("-0", 2), ("0", 1), ("2.5", 1)]
    by_value = "SELECT y, count(*) FROM u WHERE y < 1 GROUP BY y"
    assert "View v answers for u, since" in explained(db, by_value)
    assert from_views(db, by_value).rows() == [(0.0, 3)]


def test_many_conditions_are_decided_at_once() -> None:
    def either(place: int) -> Expression:
        parts = [
            Call(function="equal", arguments=(X, Literal(value=place + n, type=INTEGER)), type=BOOLEAN)
            for n in range(9)
        ]
        return Call(function="or", arguments=tuple(parts), type=BOOLEAN)

    wanted = Call(function="less", arguments=(X, Literal(value=5, type=INTEGER)), type=BOOLEAN)
    assert not follows(wanted, [either(place) for place in range(40)])


def test_views_count_the_queries_that_they_answer_for_their_tables(shop: Any) -> None:
    before = dict(shop.execute("SELECT view_name, reads FROM weft_views").rows())
    shop.execute("SELECT s, count(*) FROM t GROUP BY s").rows()
    shop.execute("SELECT s, count(*) FROM t GROUP BY s").rows()
    found = {name: (reads, saved) for name, reads, saved in shop.execute(
        "SELECT view_name, reads, rows_saved FROM weft_views"
    ).rows()}  # fmt: skip
    assert found["hourly"][0] == before["hourly"] + 2
    assert found["hourly"][1] > 2_000
    assert found["big"][0] == before["big"]


def test_groups_that_turn_out_to_be_too_many_are_left_to_those_who_spill(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "SELECT s, count(*) FROM t GROUP BY s ORDER BY s"
    right = from_rows(shop, query).rows()
    monkeypatch.setattr(run.Way, "is_worth", True)
    monkeypatch.setattr(run, "VIEW_GROUPS_MAX", 20)
    assert shop.execute(query).rows() == right
    lines = [line for (line,) in shop.execute(f"EXPLAIN ANALYZE {query}").rows()]
    assert any("turned out to be more than 20 groups" in line for line in lines), lines


def test_groups_are_added_up_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query of few groups does not hold all those of the view, and each of these is added up once."""
    monkeypatch.setattr(rollup, "PIECE", 100)
    folded, held = Grouper.folded, list[int]()

    def noted(self: Grouper, changes: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
        held.append(sum(change.num_rows for change in changes))
        return folded(self, changes)

    with weftdb.open(maintenance=False) as db:
        db.execute("CREATE TABLE t (k INT PRIMARY KEY, x INT)")
        db.execute("CREATE MATERIALIZED VIEW v AS SELECT k, sum(x) AS x FROM t GROUP BY k")
        for first in range(0, 1000, 40):
            db.execute("INSERT INTO t SELECT g, g FROM generate_series($1::int, $1::int + 39) g", [first])
            db.engine.maintenance.flush()  # a segment of 40 groups, and a batch
        monkeypatch.setattr(Grouper, "folded", noted)
        query = "SELECT k % 3, sum(x) FROM t GROUP BY 1 ORDER BY 1"
        assert from_views(db, query).rows() == from_rows(db, query).rows()
    assert held == [120, *[123] * 7, 43], held


def test_a_case_of_floats_is_not_computed_of_groups_either(db: Any) -> None:
    db.execute("CREATE TABLE u (id INT PRIMARY KEY, y DOUBLE PRECISION)")
    db.execute("CREATE MATERIALIZED VIEW v AS SELECT y, count(*) AS n FROM u GROUP BY y")
    db.execute("INSERT INTO u VALUES (1, '0'), (2, '-0')")
    query = "SELECT (CASE WHEN y < 1 THEN y END)::text, count(*) FROM u GROUP BY 1 ORDER BY 1"
    assert from_views(db, query).rows() == [("-0", 1), ("0", 1)]
