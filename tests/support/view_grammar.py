"""Random tables, views, queries and changes, each with its twin in Python (view_oracle.py).

Tables are small and their domains narrow, so that rows meet: primary keys are hit again, groups empty and come back,
the least value goes. NULL, NaN, infinities, -0.0 and the ends of types are among the values.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from operator import ge, gt, le, lt
from typing import Any

from view_oracle import (
    SPREADS,
    Aggregate,
    Grouped,
    Join,
    Row,
    Term,
    both,
    bucket,
    column,
    divided,
    month,
    rest,
    strict,
    whole,
)

DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)
TYPES = {
    "k": "BIGINT NOT NULL", "at": "TIMESTAMP NOT NULL", "id": "BIGINT NOT NULL", "x": "INT", "y": "DOUBLE PRECISION",
    "z": "NUMERIC(20,3)", "b": "BIGINT", "r": "REAL", "s": "TEXT", "d": "DATE", "flag": "BOOLEAN", "n": "SMALLINT",
}  # fmt: skip
COLUMNS = tuple(TYPES)
OTHERS = COLUMNS[3:]
ADDABLE = ("x", "y", "z", "b", "n")
PRIMARIES = (
    (("k", "at", "id"), " WITH (key = 'k', time = 'at', every = '14 days', shards = 2)"),
    (("k", "at", "id"), " WITH (key = 'k', time = 'at', every = '31 days')"),
    (("k", "id"), ""),
    (("id",), ""),
    ((), ""),
)
INDEXES = ("CREATE INDEX ON t (x, s)", "CREATE INDEX ON t (y) WHERE x > 0", "CREATE INDEX ON t (k, flag)")
SIDES = "CREATE TABLE dk (did INT PRIMARY KEY, city TEXT, grp INT)"


def ddl(primary: tuple[tuple[str, ...], str]) -> str:
    keys, options = primary
    columns = [f"{name} {type}" for name, type in TYPES.items()] + (
        [f"PRIMARY KEY ({', '.join(keys)})"] if keys else []
    )
    return f"CREATE TABLE t ({', '.join(columns)}){options}"


# -- values and rows ------------------------------------------------------------------------------------------------

DOMAINS: dict[str, tuple[Any, ...]] = {
    "x": (0, 1, -1, 7, 2**31 - 1, -(2**31), 12345),
    "b": (0, 3, -4, 2**63 - 1, 2**62, -(2**62), -(2**63)),
    "y": (0.1, -0.0, 0.0, 1e300, -1e300, 2.5, 1e-200, float("nan"), float("inf"), float("-inf"), 3.3, 0.7),
    "r": (0.1, 1.5, -3e38, 0.0, 0.3),
    "z": (Decimal(0), Decimal("1.5"), Decimal("-2.125"), Decimal("99999999999999999.999"), Decimal("0.001")),
    "s": ("a", "b", "ab", "", "é"),
    "d": (dt.date(2026, 1, 1), dt.date(1999, 12, 31), dt.date(2026, 2, 11)),
    "flag": (True, False),
    "n": (1, 2, 3, -7, 1, 2, 0),
}


def value(draw: random.Random, name: str) -> Any:
    match name:
        case "k":
            return draw.randint(0, 3)
        case "id":
            return draw.randint(1, 12)
        case "at":
            moment = dt.datetime(2026, draw.randint(1, 3), draw.choice((10, 11, 12)), draw.choice((0, 3, 9)))
            return moment + draw.choice((0, 0, 0, 1)) * dt.timedelta(minutes=17, seconds=1, microseconds=500_000)
        case _:
            domain = DOMAINS.get(name, (5, 6, -1))
            return None if draw.random() < 0.15 else draw.choice(domain)


def literal(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case int() | Decimal():
            return str(value)
        case float():
            return f"'{value}'"
        case _:
            return f"'{value}'"


def a_row(draw: random.Random) -> Row:
    return {name: value(draw, name) for name in COLUMNS}


def values(rows: Sequence[Row]) -> str:
    return ", ".join(f"({', '.join(map(literal, row.values()))})" for row in rows)


# -- what is asked of a row -----------------------------------------------------------------------------------------

X, Y, Z, B, N, R, S, D, FLAG, AT, K = (
    column(name, sort)
    for name, sort in (
        ("x", "int"), ("y", "float"), ("z", "numeric"), ("b", "big"), ("n", "int"), ("r", "real"), ("s", "text"),
        ("d", "date"), ("flag", "bool"), ("at", "time"), ("k", "big"),
    )
)  # fmt: skip
NUMBERS = (
    X, Y, Y, Z, B, N, R,
    strict("y * 0.5", "float", lambda y: y * 0.5, "y"),
    strict("z + 1", "numeric", lambda z: z + 1, "z"),
    strict("x::bigint * k", "big", lambda x, k: x * k, "x", "k"),
)  # fmt: skip
FALLIBLE = (
    strict("x * 2", "int", lambda x: whole(x * 2, 32), "x", fallible=True),
    strict("x / n", "int", divided, "x", "n", fallible=True),
    strict("abs(b)", "big", lambda b: whole(abs(b), 64), "b", fallible=True),
)
ORDERED = (
    *NUMBERS, S, D, AT,
    Term(text="coalesce(s, 'z')", of=lambda row: "z" if row["s"] is None else row["s"], sort="text"),
    strict("at + interval '1 day'", "time", lambda at: at + DAY, "at"),
)  # fmt: skip


def _either(row: Row) -> Any:
    y, flag = row["y"], row["flag"]
    low = None if y is None else y < 1
    return True if low is True or flag is True else None if low is None or flag is None else False


def _text_or_low(row: Row) -> Any:
    like = None if row["s"] is None else row["s"].startswith("a")
    low = None if row["y"] is None else row["y"] < 0
    return True if like is True or low is True else None if like is None or low is None else False


POSITIVE = strict("x > 0", "bool", lambda x: x > 0, "x")
TRUTHS = (FLAG, POSITIVE, Term(text="y < 1 OR flag", of=_either, sort="bool"))
NOT_NULL = Term(text="s IS NOT NULL", of=lambda row: row["s"] is not None)
IS_A = strict("s = 'a'", "bool", lambda s: s == "a", "s")
K_ABOVE_0, K_ABOVE_1 = (strict(f"k > {low}", "bool", lambda k, low=low: k > low, "k") for low in (0, 1))
K_LISTED, K_IS_2 = (
    strict("k IN (1, 2)", "bool", lambda k: k in (1, 2), "k"),
    strict("k = 2", "bool", lambda k: k == 2, "k"),
)
SEVENTH = strict("10 / n > 1", "bool", lambda n: divided(10, n) > 1, "n", fallible=True)
WHERES: tuple[tuple[Term | None, Term | None], ...] = (
    (None, None), (None, None), (None, None), (POSITIVE, POSITIVE), (NOT_NULL, IS_A), (NOT_NULL, NOT_NULL),
    (K_ABOVE_0, K_ABOVE_1), (both(POSITIVE, IS_A), both(IS_A, POSITIVE)), (K_LISTED, K_IS_2),
    (Term(text="s LIKE 'a%' OR y < 0", of=_text_or_low), Term(text="s LIKE 'a%' OR y < 0", of=_text_or_low)),
)  # fmt: skip
"""Conditions of views, and what a query may ask of their rows that follows from nothing less."""
FILTERS = (None, None, None, None, POSITIVE, FLAG, IS_A, K_ABOVE_1)


@dataclass(frozen=True)
class Step:
    """What is computed of one value: ``text`` with {} for it."""

    text: str
    of: Callable[[Any], Any]
    nulls: bool = False

    def after(self, text: str, of: Callable[[Row], Any]) -> Term:
        def computed(row: Row) -> Any:
            found = of(row)
            return self.of(found) if found is not None or self.nulls else None

        return Term(text=self.text.format(text), of=computed)


SAME = Step("{}", lambda value: value, nulls=True)
_OF_DAY = (
    SAME, Step("date_trunc('month', {})", month), Step("({})::date", lambda at: at.date()),
    Step("date_trunc('week', {})", bucket(7 * DAY)),
    Step("extract(isodow FROM {})", lambda at: Decimal(at.isoweekday())),
)  # fmt: skip
_OF_K = (SAME, Step("{} % 2", lambda k: rest(k, 2)), Step("{} + 1", lambda k: k + 1))
_OF_S = (
    SAME,
    Step("coalesce({}, 'none')", lambda s: "none" if s is None else s, nulls=True),
    Step("upper({})", str.upper),
)


@dataclass(frozen=True)
class Key:
    """What a view groups by: ``step`` of a column; ``coarser``: what may be computed of that column by who asks the
    table, and of the key by a view over the view.
    """

    column: str
    step: Step
    coarser: tuple[Step, ...] = (SAME,)

    @property
    def term(self) -> Term:
        return self.step.after(self.column, lambda row: row[self.column])

    def asked(self, step: Step) -> Term:
        """By who asks the table."""
        return (step if step is not SAME else self.step).after(self.column, lambda row: row[self.column])


def _time(text: str, of: Callable[[Any], Any], *coarser: Step) -> Key:
    return Key("at", Step(text, of), coarser)


KEYS = (
    Key("k", SAME, _OF_K),
    Key("k", Step("{} % 3", lambda k: rest(k, 3))),
    Key("s", SAME, _OF_S),
    Key("s", _OF_S[1]),
    Key("d", SAME, (SAME, Step("extract(dow FROM {})", lambda d: Decimal(d.isoweekday() % 7)))),
    Key("flag", SAME, (SAME, Step("NOT {}", lambda flag: not flag))),
    Key("n", SAME),
    Key("y", SAME),
    Key("z", SAME),
    Key("r", SAME),
    _time("time_bucket('1 hour', {})", bucket(HOUR), *_OF_DAY, Step("time_bucket('6 hours', {})", bucket(6 * HOUR)),
          Step("extract(hour FROM {})", lambda at: Decimal(at.hour))),
    _time("time_bucket('1 day', {})", bucket(DAY), *_OF_DAY),
    _time("time_bucket('1 month', {})", month, _OF_DAY[0], _OF_DAY[1]),
    _time("time_bucket('2 days', {})", bucket(2 * DAY), SAME, Step("time_bucket('4 days', {})", bucket(4 * DAY))),
)  # fmt: skip
OF_KEYS: dict[str, tuple[tuple[str, Callable[[Any], Any]], ...]] = {
    "k": (("{} = 2", lambda k: k == 2), ("{} > 1", lambda k: k > 1), ("{} IN (0, 3)", lambda k: k in (0, 3))),
    "s": (("{} = 'a'", lambda s: s == "a"), ("{} < 'b'", lambda s: s.encode() < b"b")),
    "flag": (("{}", lambda flag: flag),),
}
"""Conditions of key columns."""


def of_column(name: str, draw: random.Random) -> tuple[Step, Term]:
    """A condition, and the same of the table's column."""
    step = Step(*draw.choice(OF_KEYS[name]))
    return step, step.after(name, lambda row: row[name])


# -- views ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """``grouped``: over the rows of the table, whatever it stands over; ``keys``: what each key column is made of, no
    column where that is not known. ``retains``: it keeps what its table forgets.
    """

    grouped: Grouped
    keys: tuple[Key, ...]
    over: str | None = None
    retains: bool = False


def an_aggregate(draw: random.Random, more: Sequence[Term]) -> Aggregate:
    filter = draw.choice(FILTERS)
    number = draw.choice(FALLIBLE) if draw.random() < 0.03 else draw.choice((*NUMBERS, *more))
    match draw.choice(("count", "sum", "sum", "avg", "extreme", "extreme", "distinct", "bool", "spread", "by time")):
        case "count" if draw.random() < 0.5:
            return Aggregate(function="count", filter=filter, plus=draw.choice((0, 0, 1)))
        case "count" | "sum" | "avg" as function:
            return Aggregate(function=function, term=number, filter=filter)
        case "extreme":
            return Aggregate(function=draw.choice(("min", "max")), term=draw.choice(ORDERED), filter=filter)
        case "spread":
            return Aggregate(function=draw.choice(SPREADS), term=number, filter=filter)
        case "by time":
            time = draw.choice((AT, AT, *ORDERED))
            return Aggregate(
                function=draw.choice(("first", "last")), term=draw.choice(ORDERED), time=time, filter=filter
            )
        case "distinct":
            return Aggregate(function="count", term=draw.choice(ORDERED), filter=filter, distinct=True)
        case _:
            return Aggregate(function=draw.choice(("bool_and", "bool_or")), term=draw.choice(TRUTHS), filter=filter)


def a_view(draw: random.Random, more: Sequence[str] = (), *, retains: bool = False) -> View:
    """``more``: columns that were added."""
    keys = draw.sample(KEYS, draw.choice((1, 1, 1, 2, 2, 3)))
    if more and draw.random() < 0.3:
        keys[0] = Key(draw.choice(more), SAME)
    aggregates = [an_aggregate(draw, [column(name, "int") for name in more]) for _ in range(draw.randint(1, 4))]
    where = SEVENTH if draw.random() < 0.04 else draw.choice(WHERES)[0]
    grouped = Grouped(keys=tuple(key.term for key in keys), values=tuple(dict.fromkeys(aggregates)), where=where)
    order = list(grouped.names)
    draw.shuffle(order)
    return View(replace(grouped, order=tuple(order)), tuple(keys), retains=retains)


def a_level(draw: random.Random, name: str, below: View) -> View | None:
    """A view over the view ``name``; None where that one gives nothing to go on with."""
    lifted = [value.lifted(f"a{place}") for place, value in enumerate(below.grouped.values)]
    aggregates = [value for value in lifted if value is not None]
    if not aggregates:
        return None
    places = draw.sample(range(len(below.keys)), draw.randint(1, min(2, len(below.keys))))
    steps = [draw.choice(below.keys[place].coarser) for place in places]
    keys = [step.after(f"k{place}", below.grouped.keys[place].of) for place, step in zip(places, steps, strict=True)]
    asked = [place for place, key in enumerate(below.keys) if key.step is SAME and key.column in OF_KEYS]
    condition, more = "", None
    if asked and draw.random() < 0.3:
        place = draw.choice(asked)
        step, more = of_column(below.keys[place].column, draw)
        condition = step.text.format(f"k{place}")
    grouped = Grouped(
        keys=tuple(keys),
        values=tuple(draw.sample(aggregates, draw.randint(1, len(aggregates)))),
        where=both(below.grouped.where, more),
        source=name,
        condition=condition,
    )
    of_same = [below.keys[place] if step is SAME else Key("", SAME) for place, step in zip(places, steps, strict=True)]
    return View(grouped, tuple(of_same), over=name)


# -- queries that views may answer ----------------------------------------------------------------------------------


def _joined(kind: str, more: str = "", holds: Callable[[Row, Row], Any] = lambda row, other: True) -> Join:
    return Join(
        text=f" {kind} dk ON k = did{more}",
        table="dk",
        left=kind == "LEFT JOIN",
        of=lambda row, other: row["k"] == other["did"] and holds(row, other),
        columns=("did", "city", "grp"),
    )


JOINS = (
    _joined("JOIN"),
    _joined("LEFT JOIN"),
    _joined("LEFT JOIN", " AND grp = 1", lambda row, other: None if other["grp"] is None else other["grp"] == 1),
)
OF_SIDES = (
    column("city", "text"), column("grp", "int"), strict("k + grp", "big", lambda k, grp: k + grp, "k", "grp"),
    strict("upper(city)", "text", str.upper, "city"),
)  # fmt: skip
ASKED_OF_SIDES = (
    strict("grp = 1", "bool", lambda grp: grp == 1, "grp"),
    strict("city = 'x'", "bool", lambda city: city == "x", "city"),
    Term(text="city IS NULL", of=lambda row: row["city"] is None),
    strict("grp > k", "bool", lambda k, grp: grp > k, "k", "grp"),
)  # fmt: skip


def moment(draw: random.Random) -> dt.datetime:
    exact = draw.choice((0 * HOUR, 0 * HOUR, 3 * HOUR, 4 * HOUR + dt.timedelta(minutes=17, microseconds=1)))
    return dt.datetime(2026, draw.randint(1, 3), draw.randint(10, 13)) + exact


def a_window(draw: random.Random) -> Term:
    """From a moment on, before one, or between two."""
    low, high = sorted((moment(draw), moment(draw)))
    after, before = draw.choice(((">", low), (">=", low), (">=", low), None)), draw.choice((("<", high), ("<=", high)))
    compare: dict[str, Callable[[Any, Any], bool]] = {">": gt, ">=": ge, "<": lt, "<=": le}
    ends = [end for end in (after, before if after is None or draw.random() < 0.6 else None) if end is not None]
    return strict(
        " AND ".join(f"at {sign} '{bound}'" for sign, bound in ends),
        "bool",
        lambda at: all(compare[sign](at, bound) for sign, bound in ends),
        "at",
    )


def a_query(draw: random.Random, views: Sequence[View]) -> Grouped:
    """Mostly one that a view might answer."""
    views = [view for view in views if not view.retains]
    of = draw.choice(views) if views and draw.random() < 0.95 else a_view(draw)
    keys, values, join = [], list(of.grouped.values), None
    where = of.grouped.where
    if draw.random() < 0.25:
        where = next((narrow for wide, narrow in WHERES if wide is where), where)
    if draw.random() < 0.1:
        where = draw.choice(draw.choice(WHERES))
    values = [replace(value, over=("", 0)) for value in draw.sample(values, draw.randint(1, len(values)))]
    for key in of.keys:
        if key.column and draw.random() < 0.6:
            keys.append(key.asked(draw.choice(key.coarser)))
        if key.column in OF_KEYS and key.step is SAME and draw.random() < 0.3:
            where = both(where, of_column(key.column, draw)[1])
        if key.column in OF_KEYS and key.step is SAME and draw.random() < 0.3:
            values.append(Aggregate(function="count", filter=of_column(key.column, draw)[1]))
        if key.column == "k" and key.step is SAME and draw.random() < 0.4:
            join = draw.choice(JOINS)
            keys += draw.sample(OF_SIDES, draw.randint(0, 2))
            where = both(where, draw.choice((None, *ASKED_OF_SIDES)))
        if key.column == "at" and draw.random() < 0.7:
            where = both(where, a_window(draw))
    if draw.random() < 0.04:
        where = both(where, strict("id > 5", "bool", lambda known: known > 5, "id"))
    values = [value for value in values if not value.fallible] or [Aggregate(function="count")]
    where = None if where is not None and where.fallible else where
    distinct = {key.text: key for key in keys}
    return Grouped(keys=tuple(distinct.values()), values=tuple(dict.fromkeys(values)), where=where, join=join)


# -- changes --------------------------------------------------------------------------------------------------------

CONDITIONS = (
    "id % 3 = 1",
    "k = 2",
    "x > 0",
    "id < 5",
    "flag",
    "id = 3",
    "x = 7",
    "b > 0",
    "at < '2026-02-01'",
    "s IS NULL",
    "y > 1",
    "id = 7",
)
ASSIGNMENTS = (
    "x = x + 1", "y = -y", "k = (k + 1) % 4", "at = at + interval '1 day'", "at = at - interval '1 hour'",
    "id = id % 12 + 1", "s = coalesce(s, '') || 'a'", "flag = NOT flag", "n = n - 1", "b = -b", "z = z * 2",
)  # fmt: skip


def a_change(draw: random.Random, keys: tuple[str, ...]) -> str:
    """A statement that writes. ``keys``: the primary key."""
    rows = [a_row(draw) for _ in range(draw.randint(1, 6))]
    into = f"INSERT INTO t ({', '.join(COLUMNS)}) VALUES "
    where = draw.choice(CONDITIONS)
    kinds = (
        ["insert"] * 3
        + ["delete", "update", "update", "assign", "copy"]
        + (["upsert", "replace", "merge"] * 2 if keys else [])
    )
    match draw.choice(kinds):
        case "insert":
            return into + values(rows)
        case "upsert":
            return f"{into}{values(rows)} ON CONFLICT DO NOTHING"
        case "replace":
            once = list({tuple(row[name] for name in keys): row for row in rows}.values())
            changed = ", ".join(f"{name} = excluded.{name}" for name in draw.sample(OTHERS, 3))
            return f"{into}{values(once)} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}"
        case "merge":
            moved = ", ".join("id % 12 + 1 AS id" if name == "id" else name for name in COLUMNS)
            name, met = draw.choice(OTHERS), " AND ".join(f"t.{name} = n.{name}" for name in keys)
            return (
                f"MERGE INTO t USING (SELECT {moved} FROM t WHERE {where}) AS n ON {met} "
                f"WHEN MATCHED AND n.flag THEN DELETE WHEN MATCHED THEN UPDATE SET {name} = n.{name} "
                f"WHEN NOT MATCHED THEN INSERT ({', '.join(COLUMNS)}) "
                f"VALUES ({', '.join(f'n.{name}' for name in COLUMNS)})"
            )
        case "copy":
            moved = ", ".join("id + 3" if name == "id" else name for name in COLUMNS)
            return f"INSERT INTO t ({', '.join(COLUMNS)}) SELECT {moved} FROM t WHERE {where}" + (
                " ON CONFLICT DO NOTHING" if keys else " AND id < 6"
            )
        case "delete":
            return f"DELETE FROM t WHERE {where}"
        case "assign":
            return f"UPDATE t SET {draw.choice(ASSIGNMENTS)} WHERE {where}"
        case _:
            name = draw.choice(OTHERS)
            return f"UPDATE t SET {name} = {literal(value(draw, name))} WHERE {where}"


def a_change_of_sides(draw: random.Random) -> str:
    did, city, grp = draw.randint(0, 4), draw.choice(("NULL", "'x'", "'xy'")), draw.choice(("NULL", "0", "1", "2"))
    return draw.choice(
        (
            f"INSERT INTO dk VALUES ({did}, {city}, {grp}) ON CONFLICT DO NOTHING",
            f"UPDATE dk SET city = {city}, grp = {grp} WHERE did = {did}",
            f"DELETE FROM dk WHERE did = {did}",
        )
    )
