"""Which blocks can hold a row for which a filter is true, seen from each block's zone: its least and greatest value.

A filter becomes a tree of tests over *places*: int64 numbers that keep the order of a type's values, as segments store
them per column and block (``storage.encoding.zone_of``). A test of a column is a set of disjoint closed intervals of
places; a block is kept where one of them meets the block's ``[low, high]``:

    x > 5 AND (y = 1 OR y IS NULL)    AllOf(ColumnTest(x, [6, max]), AnyOf(ColumnTest(y, [1, 1]), ColumnTest(y, nulls)))

    integers, dates, times    as stored                         NUMERIC             unscaled, clipped to int64
    REAL, DOUBLE              bits, in order; NaN is greatest    TEXT, BYTEA, UUID   the first eight bytes

Always true: a test keeps every block with a row for which the filter is true. It may keep others: text that is longer
than eight bytes, numbers beyond int64, and whatever is not ``column <op> literal`` (AND, OR, IN, IS NULL) say less than
they mean, never more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..base.types import Kind, Type
from ..storage.encoding import HIGHEST as PLACE_MAX
from ..storage.encoding import LOWEST as PLACE_MIN
from ..storage.encoding import zone_of
from .expression.node import Call, Column, Expression, Literal

MIRRORED: Final = {
    "equal": "equal",
    "less": "greater",
    "less_equal": "greater_equal",
    "greater": "less",
    "greater_equal": "less_equal",
}
"""Comparison functions of the function table, and each one's name with its arguments exchanged."""

_TEXTS: Final = frozenset((Kind.TEXT, Kind.VARCHAR))
_CUT: Final = frozenset((Kind.TEXT, Kind.VARCHAR, Kind.BYTEA, Kind.UUID))
_UNORDERED: Final = frozenset((Kind.INTERVAL, Kind.JSON, Kind.JSONB, Kind.ARRAY, Kind.UNKNOWN))


@dataclass(frozen=True, slots=True, kw_only=True)
class Zones:
    """Of one column, per block: least and greatest place of its values (int64[n]), and how many are NULL of how many.

    ``low`` and ``high`` of a block without values mean nothing.
    """

    low: np.ndarray
    high: np.ndarray
    nulls: np.ndarray
    rows: np.ndarray


ZonesOf = Callable[[int], Zones]
"""The zones of a column, by its identifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnTest:
    """Values in one of the intervals ``[lows[i], highs[i]]``, disjoint and ascending; NULL if ``nulls``."""

    id: int
    lows: np.ndarray
    highs: np.ndarray
    nulls: bool = False

    def keeps(self, zones_of: ZonesOf, count: int) -> np.ndarray:
        zones = zones_of(self.id)
        kept = np.zeros(count, np.bool_)
        if len(self.lows):
            first = np.minimum(np.searchsorted(self.highs, zones.low), len(self.lows) - 1)
            kept = (self.highs[first] >= zones.low) & (self.lows[first] <= zones.high) & (zones.nulls < zones.rows)
        return kept | (zones.nulls > 0) if self.nulls else kept


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOf:
    parts: tuple[ZoneTest, ...]

    def keeps(self, zones_of: ZonesOf, count: int) -> np.ndarray:
        kept = np.ones(count, np.bool_)
        for part in self.parts:
            kept &= part.keeps(zones_of, count)
        return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOf:
    """Without parts nothing is kept."""

    parts: tuple[ZoneTest, ...]

    def keeps(self, zones_of: ZonesOf, count: int) -> np.ndarray:
        kept = np.zeros(count, np.bool_)
        for part in self.parts:
            kept |= part.keeps(zones_of, count)
        return kept


ZoneTest = ColumnTest | AllOf | AnyOf
"""``keeps(zones_of, count)``: which of ``count`` blocks may have rows, bool[count]."""


def zone_test(filter: Expression | None, types: Callable[[int], Type | None]) -> ZoneTest | None:
    """What zones can say about ``filter``; None: nothing. ``types``: of a column, None where there is none."""
    match filter:
        case Literal() if filter.value is not True:
            return AnyOf(parts=())
        case Call(function="and"):
            tests = [zone_test(part, types) for part in filter.arguments]
            parts = tuple(test for test in tests if test is not None)
            return AllOf(parts=parts) if len(parts) > 1 else parts[0] if parts else None
        case Call(function="or"):
            tests = [zone_test(part, types) for part in filter.arguments]
            branches = tuple(test for test in tests if test is not None)
            return AnyOf(parts=branches) if len(branches) == len(tests) else None
        case Call(function="is_null", arguments=(Column() as column,)) if types(column.id) is not None:
            return ColumnTest(id=column.id, lows=_NONE, highs=_NONE, nulls=True)
        case Call():
            return _comparison_test(filter, types)
        case _:
            return None


def comparison(call: Expression) -> tuple[Column, str, list[Literal]] | None:
    """``column <op> literal`` in either order, or ``column IN (literals)``; None for anything else.

    The types are the same but for text, and no arrays; no literal is NULL (which no comparison is ever true of; IN
    drops them).
    """
    if not isinstance(call, Call):
        return None
    function, arguments = call.function, call.arguments
    if function == "in_list":
        column, *constants = arguments
    elif function in MIRRORED:
        column, constant = arguments
        if isinstance(column, Literal):
            column, constant, function = constant, column, MIRRORED[function]
        constants = (constant,)
    else:
        return None
    if not isinstance(column, Column) or column.type.element is not None:
        return None
    kind = column.type.kind
    present: list[Literal] = []
    for constant in constants:
        if not isinstance(constant, Literal) or (constant.type.kind is not kind and not _are_texts(constant, column)):
            return None
        if constant.value is not None:
            present.append(constant)
        elif function != "in_list":
            return None
    return column, function, present


def place_range(value: Any, type: Type) -> tuple[int, int, bool] | None:
    """(low, high, exact): the places of stored values that equal ``value`` lie in [low, high]; None for no order.

    ``exact``: all values there equal it, and greater ones lie above. Where nothing can equal it low is high + 1.
    """
    if type.kind in _UNORDERED:
        return None
    if type.kind is Kind.REAL:
        value = float(np.float32(value))
    low, high = zone_of(type, value)
    if type.kind in _CUT:
        return low, low, False
    if high > low:
        return high, low, True  # such as 1.234 for NUMERIC(5,2)
    return low, high, PLACE_MIN < low < PLACE_MAX


def _comparison_test(call: Call, types: Callable[[int], Type | None]) -> ZoneTest | None:
    found = comparison(call)
    if found is None:
        return None
    column, function, literals = found
    type = types(column.id)
    if type is None or (type.kind is not column.type.kind and not (type.kind in _TEXTS and column.type.kind in _TEXTS)):
        return None
    intervals: list[tuple[int, int]] = []
    for literal in literals:
        places = place_range(literal.value, type)
        if places is None:
            return None
        intervals.append(_interval(function, *places))
    lows, highs = _disjoint(intervals)
    return ColumnTest(id=column.id, lows=lows, highs=highs)


def _interval(function: str, low: int, high: int, exact: bool) -> tuple[int, int]:
    """The places of values for which a comparison with [low, high] is true."""
    match function:
        case "equal" | "in_list":
            return low, high
        case "less":
            return PLACE_MIN, low - 1 if exact else high
        case "less_equal":
            return PLACE_MIN, high
        case "greater":
            return high + 1 if exact else low, PLACE_MAX
        case _:
            return low, PLACE_MAX


def _disjoint(intervals: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Intervals in order, those that overlap as one, the empty ones gone."""
    merged: list[list[int]] = []
    for low, high in sorted(interval for interval in intervals if interval[0] <= interval[1]):
        if merged and low <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], high)
        else:
            merged.append([low, high])
    return np.array([low for low, _ in merged], np.int64), np.array([high for _, high in merged], np.int64)


def columns_of(test: ZoneTest | None) -> Iterator[int]:
    """The columns whose zones a test asks for."""
    match test:
        case ColumnTest():
            yield test.id
        case AllOf() | AnyOf():
            for part in test.parts:
                yield from columns_of(part)
        case None:
            pass


def _are_texts(one: Expression, other: Expression) -> bool:
    return one.type.kind in _TEXTS and other.type.kind in _TEXTS


_NONE: Final = np.empty(0, np.int64)
