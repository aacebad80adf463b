"""How many rows a filter keeps, about: from statistics, without reading rows. Plans are judged by it, nothing else.

    column = c          (1 - NULLs) / distinct values; nothing where c lies outside of the column's values
    column IN (…)       the sum of these
    column < c, …       the part of [low, high] that lies below; both ends of a range count once, together
    IS NULL             the NULLs
    AND, OR             as if the columns had nothing to do with each other
    anything else       a third

Places of values (zones.py) stand for the values: of numbers and times they are the values, of text the first eight
bytes, of floats a scale that is finer near zero and therefore is undone first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from ..base.types import Kind, Type
from .expression.node import Call, Column, Expression, Literal
from .expression.tree import conjuncts
from .statistics import ColumnStatistics, TableStatistics
from .zones import comparison, place_range

UNKNOWN: Final = 1 / 3
"""Of a condition that nothing is known of."""

EQUAL: Final = 0.01
"""Of an equality where the number of values is not known."""


def rows_expected(filter: Expression | None, statistics: TableStatistics, *, rows_max: int) -> int:
    """How many rows a scan with this filter returns, about. ``rows_max``: it will look at no more."""
    if filter is None:
        return rows_max
    rows = statistics.rows or rows_max
    return min(rows_max, max(round(rows * selectivity(filter, statistics)), 1 if rows_max else 0))


def selectivity(filter: Expression, statistics: TableStatistics) -> float:
    """The part of the rows for which ``filter`` is true, about: 0 to 1."""
    match filter:
        case Literal():
            return 1.0 if filter.value is True else 0.0
        case Call(function="and"):
            return selectivity_of_all(conjuncts(filter), statistics)
        case Call(function="or"):
            none = 1.0
            for part in filter.arguments:
                none *= 1.0 - selectivity(part, statistics)
            return 1.0 - none
        case Call(function="is_null"):
            column = filter.arguments[0]
            known = statistics.columns.get(column.id) if isinstance(column, Column) else None
            return EQUAL if known is None else known.null_fraction
        case _:
            return selectivity_of_all((filter,), statistics)


def selectivity_of_all(parts: Sequence[Expression], statistics: TableStatistics) -> float:
    """The part of the rows for which all of these are true."""
    found = 1.0
    ranges: dict[int, tuple[float, float]] = {}
    for part in parts:
        compared = comparison(part)
        known = None if compared is None else statistics.columns.get(compared[0].id)
        if compared is None:
            nested = isinstance(part, Call) and part.function in ("or", "is_null")
            found *= selectivity(part, statistics) if nested or isinstance(part, Literal) else UNKNOWN
            continue
        column, function, literals = compared
        if function in ("equal", "in_list"):
            each = [EQUAL if known is None else _equal(literal, column.type, known) for literal in literals]
            found *= min(sum(each), 1.0)
        elif known is None or known.low is None or known.high is None:
            found *= UNKNOWN
        else:
            low, high = ranges.get(column.id, (0.0, 1.0))
            at = _position(literals[0], column.type, known.low, known.high)
            if at is None:
                found *= UNKNOWN
            elif function in ("less", "less_equal"):
                ranges[column.id] = low, min(high, at)
            else:
                ranges[column.id] = max(low, at), high
    for id, (low, high) in ranges.items():
        known = statistics.columns[id]
        one = 1.0 / max(known.distinct, 1) if low <= high else 0.0  # a range that is hit has one value at least
        found *= (1.0 - known.null_fraction) * max(high - low, one)
    return found


def _equal(literal: Literal, type: Type, known: ColumnStatistics) -> float:
    if literal.value is None:
        return 0.0
    places = place_range(literal.value, type)
    if places is not None and known.low is not None and known.high is not None:
        low, high, _ = places
        if low > high or high < known.low or low > known.high:
            return 0.0
    return (1.0 - known.null_fraction) / max(known.distinct, 1)


def _position(literal: Literal, type: Type, low: int, high: int) -> float | None:
    """Where in ``[low, high]`` a value lies, 0 to 1; None where there is no telling."""
    places = None if literal.value is None else place_range(literal.value, type)
    if places is None:
        return None
    first, last, at = (_number(place, type) for place in (low, high, places[0]))
    if not (np.isfinite(first) and np.isfinite(last) and first < last):
        return None if at == first else float(at > first)
    return min(max((at - first) / (last - first), 0.0), 1.0)


def _number(place: int, type: Type) -> float:
    """A number in whose scale the values are."""
    if type.kind in (Kind.REAL, Kind.DOUBLE):
        bits = place if place >= 0 else place ^ 0x7FFFFFFFFFFFFFFF
        return float(np.int64(bits).view(np.float64))
    return float(place)
