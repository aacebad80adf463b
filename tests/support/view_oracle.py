"""What grouped queries say, in plain Python: the oracle of materialized views and of what they answer.

    Grouped ── text ───► SQL, for the database
            └─ answer ─► the same of rows (dicts by column), one at a time

Each expression stands here twice, as text and as a function of a row, and nothing is shared with the engine:
three-valued logic, integer division, buckets, exact sums (floats too, as integers of 2^-1074) and averages are done
over again. So a view's recomputation costs 0.1 ms, and knows nothing of parsers, plans, kernels or DuckDB.

An expression that cannot be computed raises Fails; a sum that its type cannot hold raises Overflows.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

Row = dict[str, Any]

_WIDE = Context(prec=80, rounding=ROUND_HALF_UP)
_UNIT = 1 << 1074
"""Any float is an integer times 1 / _UNIT."""
_ORIGIN = dt.datetime(2000, 1, 3)


class Fails(Exception):
    """An expression has no value for this row."""


class Overflows(Exception):
    """An aggregate's type cannot hold its value."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """An expression of a row. ``sort``: of its values, for what is aggregated; ``fallible``: it may raise Fails."""

    text: str
    of: Callable[[Row], Any]
    sort: str = ""
    fallible: bool = False

    def __repr__(self) -> str:
        return self.text


def column(name: str, sort: str) -> Term:
    return Term(text=name, of=lambda row: row[name], sort=sort)


def strict(text: str, sort: str, compute: Callable[..., Any], *names: str, fallible: bool = False) -> Term:
    """Of columns, NULL where one of them is."""

    def of(row: Row) -> Any:
        values = [row[name] for name in names]
        return None if None in values else compute(*values)

    return Term(text=text, of=of, sort=sort, fallible=fallible)


def both(left: Term | None, right: Term | None) -> Term | None:
    """AND; None is no condition."""
    if left is None or right is None:
        return left or right

    def of(row: Row) -> Any:
        said = (left.of(row), right.of(row))
        return False if False in said else None if None in said else True

    return Term(text=f"({left.text}) AND ({right.text})", of=of, fallible=left.fallible or right.fallible)


def whole(value: int, bits: int) -> int:
    """An integer of so many bits. Raises Fails."""
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise Fails
    return value


def divided(a: int, b: int) -> int:
    """Cut off towards zero. Raises Fails."""
    if b == 0:
        raise Fails
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def rest(a: int, b: int) -> int:
    return a - b * divided(a, b)


def bucket(width: dt.timedelta) -> Callable[[dt.datetime], dt.datetime]:
    return lambda at: _ORIGIN + (at - _ORIGIN) // width * width


def month(at: dt.datetime) -> dt.datetime:
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


# -- aggregates -----------------------------------------------------------------------------------------------------


def exact(values: Iterable[float]) -> float:
    """The sum, rounded once. Raises Overflows."""
    values = list(values)
    if not all(map(math.isfinite, values)):
        finite_or_not = {value for value in values if not math.isfinite(value)}
        return finite_or_not.pop() if len(finite_or_not) == 1 else math.nan
    total = 0
    for value in values:
        over, under = value.as_integer_ratio()
        total += over * (_UNIT // under)
    try:
        return total / _UNIT
    except OverflowError:
        raise Overflows from None


def _sum(values: list[Any], sort: str) -> Any:
    match sort:
        case "float":
            return exact(values)
        case "real":
            total = exact(values)
            if math.isfinite(total) and not math.isfinite(_narrow(total)):
                raise Overflows
            return _narrow(total)
        case "int":
            return sum(values)
        case _:
            return reduce(_WIDE.add, values, Decimal(0)) if sort == "numeric" else Decimal(sum(values))


def _narrow(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def _mean(values: list[Any], sort: str) -> Any:
    if sort in ("float", "real"):
        return exact(values) / len(values)
    total = _WIDE.divide(reduce(_WIDE.add, map(Decimal, values), Decimal(0)), Decimal(len(values)))
    return total.quantize(Decimal("1e-16"), context=_WIDE)


def _spread(values: list[Any], freedom: int) -> float | None:
    """The double nearest to the variance. Raises Overflows."""
    if len(values) <= freedom:
        return None
    if not all(map(math.isfinite, values)):
        return math.nan
    numbers = [Fraction(value) for value in values]
    squares, total, count = sum(number * number for number in numbers), sum(numbers), len(numbers)
    try:
        return float((squares - total * total / count) / (count - freedom))
    except OverflowError:
        raise Overflows from None


def _root(spread: float | None) -> float | None:
    return None if spread is None else math.sqrt(spread)


def _order(value: Any) -> Any:
    """What values are ordered by: NaN is the greatest float, and equal to itself."""
    if isinstance(value, float):
        return (True, 0.0) if math.isnan(value) else (False, value)
    return value


def same_key(value: Any) -> Any:
    """A value as one of a group's key: 0.0 and -0.0 are one, and so is NaN."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value + 0.0
    return value


FOLDS: dict[str, Callable[[list[Any], str], Any]] = {
    "sum": _sum,
    "avg": _mean,
    "min": lambda values, _: min(values, key=_order),
    "max": lambda values, _: max(values, key=_order),
    "bool_and": lambda values, _: all(values),
    "bool_or": lambda values, _: any(values),
    "var_samp": lambda values, _: _spread(values, 1),
    "var_pop": lambda values, _: _spread(values, 0),
    "stddev": lambda values, _: _root(_spread(values, 1)),
    "stddev_pop": lambda values, _: _root(_spread(values, 0)),
}
SPREADS = ("var_samp", "var_pop", "stddev", "stddev_pop")
"""Of them a query of rows, which adds doubles up, may say anything where its squares are large."""
LIFTED = {"count": "sum", "sum": "sum", "min": "min", "max": "max", "bool_and": "bool_and", "bool_or": "bool_or"}
"""What a view over a view takes of one of its columns."""


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """``term`` None: rows are counted. ``time``: of ``first`` and ``last``. ``over``: the column of the view below that
    it is made of, and its depth.
    """

    function: str
    term: Term | None = None
    time: Term | None = None
    filter: Term | None = None
    distinct: bool = False
    plus: int = 0
    over: tuple[str, int] = ("", 0)

    @property
    def text(self) -> str:
        if self.over[1]:
            return f"{LIFTED[self.function]}({self.over[0]})"
        argument = "*" if self.term is None else self.term.text
        argument += "" if self.time is None else f", {self.time.text}"
        filter = "" if self.filter is None else f" FILTER (WHERE {self.filter.text})"
        more = f" + {self.plus}" if self.plus else ""
        return f"{self.function}({'DISTINCT ' if self.distinct else ''}{argument}){filter}{more}"

    @property
    def fallible(self) -> bool:
        return any(part is not None and part.fallible for part in (self.term, self.time, self.filter))

    def lifted(self, name: str) -> Aggregate | None:
        """The same as a view over ``name``, a view's column, has it; None where it cannot."""
        if self.function not in LIFTED or self.distinct or self.plus:
            return None
        return Aggregate(function=self.function, term=self.term, filter=self.filter, over=(name, self.over[1] + 1))

    def of(self, rows: Sequence[Row]) -> Any:
        term = self.term
        if self.filter is not None:
            holds = self.filter.of
            rows = [row for row in rows if holds(row) is True]
        if self.time is not None:
            return self._by_time(rows)
        values = rows if term is None else [value for row in rows if (value := term.of(row)) is not None]
        if self.function == "count":
            found = len(set(map(same_key, values))) if self.distinct else len(values)
            return Decimal(found) if self.over[1] else found + self.plus
        if not values:
            return None
        assert term is not None
        found = FOLDS[self.function](list(values), term.sort)
        return Decimal(found) if self.over[1] and self.function == "sum" and type(found) is int else found

    def _by_time(self, rows: Sequence[Row]) -> Any:
        """The value of the first or last row by time and value, NULL being the last value."""
        assert self.term is not None
        assert self.time is not None
        pairs = [(time, self.term.of(row)) for row in rows if (time := self.time.of(row)) is not None]
        if not pairs:
            return None
        places = [(_order(time), (True,) if value is None else (False, _order(value))) for time, value in pairs]
        return pairs[places.index(min(places) if self.function == "first" else max(places))][1]


# -- queries --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Join:
    """Rows joined with at most one of ``table`` each, by columns that are equal, under a condition of the partner."""

    text: str
    table: str
    left: bool
    of: Callable[[Row, Row], Any]
    columns: tuple[str, ...]

    def rows(self, rows: Iterable[Row], others: Sequence[Row]) -> list[Row]:
        found: list[Row] = []
        for row in rows:
            partners = [other for other in others if self.of(row, other) is True]
            found += [row | other for other in partners]
            if self.left and not partners:
                found.append(row | dict.fromkeys(self.columns))
        return found


Answer = dict[tuple[Any, ...], tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """A grouped SELECT: columns ``k0``, ``k1``, … and ``a0``, ``a1``, … in the order of ``order``."""

    keys: tuple[Term, ...]
    values: tuple[Aggregate, ...]
    where: Term | None = None
    join: Join | None = None
    order: tuple[str, ...] = ()
    source: str = "t"
    condition: str | None = None
    """The text of WHERE; None: that of ``where``, and where the two differ the view below has the rest."""

    @property
    def text(self) -> str:
        columns = {f"k{place}": key.text for place, key in enumerate(self.keys)}
        columns |= {f"a{place}": value.text for place, value in enumerate(self.values)}
        listed = ", ".join(f"{columns[name]} AS {name}" for name in self.names)
        condition = self.condition if self.condition is not None else self.where.text if self.where else ""
        where = f" WHERE {condition}" if condition else ""
        join = self.join.text if self.join else ""
        grouped = f" GROUP BY {', '.join(key.text for key in self.keys)}" if self.keys else ""
        return f"SELECT {listed} FROM {self.source}{join}{where}{grouped}"

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in order."""
        every = [f"k{place}" for place in range(len(self.keys))] + [f"a{place}" for place in range(len(self.values))]
        return self.order or tuple(every)

    @property
    def spreads(self) -> tuple[int, ...]:
        """The places of variances and deviations."""
        return tuple(place for place, value in enumerate(self.values) if value.function in SPREADS)

    def answer(self, rows: Iterable[Row], sides: dict[str, list[Row]] | None = None) -> Answer:
        """By key what the aggregates are. Raises Fails, Overflows."""
        if self.join is not None:
            assert sides is not None
            rows = self.join.rows(rows, sides[self.join.table])
        if self.where is not None:
            holds = self.where.of
            rows = [row for row in rows if holds(row) is True]
        groups: dict[tuple[Any, ...], list[Row]] = {} if self.keys else {(): []}
        keys = [key.of for key in self.keys]
        for row in rows:
            groups.setdefault(tuple([same_key(key(row)) for key in keys]), []).append(row)
        return {key: tuple([value.of(group) for value in self.values]) for key, group in groups.items()}

    def shown(self, rows: Iterable[Sequence[Any]]) -> Answer:
        """Rows of the columns as they came, in the same form."""
        names = self.names
        keys = [names.index(f"k{place}") for place in range(len(self.keys))]
        values = [names.index(f"a{place}") for place in range(len(self.values))]
        rows = list(rows)
        found = {tuple([same_key(row[p]) for p in keys]): tuple([row[p] for p in values]) for row in rows}
        assert len(found) == len(rows), ("groups are distinct", self.text, rows)
        return found


def differs(shown: Answer, right: Answer, *, scale: float = 0.0, without: Collection[int] = ()) -> Any:
    """The first difference, None if there is none: types count; floats may differ by 1e-9 of ``scale``.

    ``without``: places of values that are not compared.
    """
    if shown.keys() != right.keys():
        return {"groups": sorted(map(repr, shown.keys() ^ right.keys()))}
    for key, values in shown.items():
        for place, (a, b) in enumerate(zip(values, right[key], strict=True)):
            if place not in without and not _same(a, b, scale):
                return {"group": key, "value": place, "shown": a, "right": b}
    return None


def _same(a: Any, b: Any, scale: float) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= 1e-9 * scale
    return a == b and type(a) is type(b)
