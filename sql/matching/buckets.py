"""Buckets of time: which are made of which, and where the bounds of a window fall in them.

    time_bucket('1 hour', at)   hours from 2000-01-03          date_trunc('month', at)   months
    at::date                    days                            extract(dow FROM at)      says the same all day

What is the same all through each bucket of a view is computed of the bucket's start (``constant_in``): a day of hours,
a month of days, the hour of day of quarters of an hour. A window of time is whole buckets and what is beside them: the
rows of its ends, or, less the rows before and behind it, all buckets that it touches (``Cut``). Windows are cut at
microseconds; moments are counted from 1970.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from ...base.types import Kind, Type
from ...base.values import EPOCH
from ...engine.expression.functions.plain import interval_span
from ...engine.expression.node import Call, Cast, Expression, Literal
from ...engine.expression.tree import nameless

_MICRO: Final = dt.timedelta(microseconds=1)
_SECOND: Final = 1_000_000
DAY: Final = 86_400 * _SECOND
_MONDAY: Final = (dt.datetime(2000, 1, 3) - EPOCH) // _MICRO
_CLOCKS: Final = {
    "microseconds": 1,
    "milliseconds": 1000,
    "second": _SECOND,
    "minute": 60 * _SECOND,
    "hour": 3600 * _SECOND,
    "day": DAY,
    "week": 7 * DAY,
}
_CALENDAR: Final = {"month": 1, "quarter": 3, "year": 12}
_FIELDS: Final = {
    "minute": "minute", "hour": "hour", "day": "day", "dow": "day", "isodow": "day", "doy": "day", "week": "day",
    "isoyear": "day", "month": "month", "quarter": "month", "year": "year",
}  # fmt: skip
_TIMES: Final = (Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.DATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """``width`` in microseconds and from ``origin`` on, or, ``by_month``, in months from the year 0 on."""

    width: int
    origin: int = 0
    by_month: bool = False

    @property
    def has_days(self) -> bool:
        """Whether no day lies in two of these, or none of these in two days."""
        return self.by_month or (self.origin % DAY == 0 and (self.width % DAY == 0 or DAY % self.width == 0))

    def made_of(self, other: Buckets) -> bool:
        """Whether each bucket of ``other`` lies in one of these."""
        if other.by_month and not self.by_month:
            return False
        if self.by_month and not other.by_month:
            return DAY % other.width == 0 and (other.origin % DAY) % other.width == 0
        return self.width % other.width == 0 and (self.origin - other.origin) % other.width == 0

    def floor(self, moment: int) -> int:
        """The start of the bucket that holds a moment. Raises OverflowError beyond the calendar."""
        if not self.by_month:
            return moment - (moment - self.origin) % self.width
        day = EPOCH + moment * _MICRO
        return _month(self._number(day))

    def ceil(self, moment: int) -> int:
        """The first start of a bucket that is not before a moment. Raises OverflowError beyond the calendar."""
        start = self.floor(moment)
        if start == moment:
            return start
        if not self.by_month:
            return start + self.width
        return _month(self._number(EPOCH + start * _MICRO) + self.width)

    def _number(self, day: dt.datetime) -> int:
        months = day.year * 12 + day.month - 1
        return months - (months - self.origin) % self.width


def _month(number: int) -> int:
    try:
        return (dt.datetime(number // 12, number % 12 + 1, 1) - EPOCH) // _MICRO
    except ValueError:
        raise OverflowError("beyond the calendar") from None


def buckets_of(node: Expression) -> tuple[Expression, Buckets] | None:
    """The moment that an expression cuts to the start of its bucket, and the buckets; None for other expressions."""
    if isinstance(node, Cast) and node.type.kind is Kind.DATE and node.argument.type.kind is Kind.TIMESTAMP:
        return nameless(node.argument), Buckets(width=DAY)
    if not isinstance(node, Call) or len(node.arguments) != 2 or not isinstance(node.arguments[0], Literal):
        return None
    given, moment = node.arguments
    assert isinstance(given, Literal), "seen above"
    if moment.type.kind not in _TIMES:
        return None
    if node.function == "time_bucket":
        found = _of_interval(given.value)
        if found is not None and moment.type.kind is Kind.DATE and not found.has_days:
            return None  # a DATE says the day that such a bucket begins in, and not when
    else:
        found = _of_unit(given.value) if node.function == "date_trunc" else None
    return None if found is None else (nameless(moment), found)


def constant_in(node: Expression) -> tuple[Expression, Buckets] | None:
    """The moment that an expression is about, and buckets in which it is the same all through."""
    if isinstance(node, Call) and node.function in ("extract", "date_part") and len(node.arguments) == 2:
        field, moment = node.arguments
        unit = _FIELDS.get(str(field.value).lower()) if isinstance(field, Literal) else None
        found = None if unit is None or moment.type.kind not in _TIMES else _of_unit(unit)
        return None if found is None else (nameless(moment), found)
    return buckets_of(node)


def _of_interval(width: Any) -> Buckets | None:
    if not isinstance(width, pa.MonthDayNano) or width.nanoseconds % 1000 or interval_span(width) <= 0:
        return None
    if not width.months:
        return Buckets(width=interval_span(width), origin=_MONDAY)
    return None if width.days or width.nanoseconds else Buckets(width=width.months, origin=2000 * 12, by_month=True)


def _of_unit(unit: Any) -> Buckets | None:
    unit = str(unit).lower()
    if unit in _CALENDAR:
        return Buckets(width=_CALENDAR[unit], by_month=True)
    return Buckets(width=_CLOCKS[unit], origin=_MONDAY if unit == "week" else 0) if unit in _CLOCKS else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A bound ``at`` the start of a bucket, and moments ``beside`` it, from and before: the rows that are then added
    (``sign`` 1), or taken away (-1).
    """

    at: int
    beside: tuple[int, int]
    sign: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Moments from ``start`` on and before ``stop``; None: without a bound."""

    start: int | None = None
    stop: int | None = None

    def within(self, function: str, value: object) -> Window | None:
        """What a comparison with a constant leaves of it; None where the constant is no moment."""
        moment, step = _micros(value)
        if moment is None:
            return None
        match function:
            case "greater_equal" | "greater":
                moment += step if function == "greater" else 0
                return Window(start=moment if self.start is None else max(self.start, moment), stop=self.stop)
            case "less" | "less_equal":
                moment += step if function == "less_equal" else 0
                return Window(start=self.start, stop=moment if self.stop is None else min(self.stop, moment))
            case _:
                return None

    def cut_at_start(self, buckets: Buckets) -> tuple[Cut, ...]:
        """Where whole buckets can begin; none where it has no start. Raises OverflowError beyond the calendar."""
        if self.start is None:
            return ()
        low, high = buckets.floor(self.start), buckets.ceil(self.start)
        inside = Cut(at=high, beside=(self.start, high), sign=1)
        return inside, Cut(at=low, beside=(low, self.start), sign=-1)

    def cut_at_stop(self, buckets: Buckets) -> tuple[Cut, ...]:
        """Where whole buckets can end; none where it has no stop. Raises OverflowError beyond the calendar."""
        if self.stop is None:
            return ()
        low, high = buckets.floor(self.stop), buckets.ceil(self.stop)
        inside = Cut(at=low, beside=(low, self.stop), sign=1)
        return inside, Cut(at=high, beside=(self.stop, high), sign=-1)

    @property
    def is_empty(self) -> bool:
        return self.start is not None and self.stop is not None and self.start >= self.stop

    def conditions(self, subject: Expression, make: Any) -> list[Expression]:
        """As comparisons of ``subject``, each made by ``make(function, subject, literal)``."""
        found: list[Expression] = []
        for function, moment in (("greater_equal", self.start), ("less", self.stop)):
            if moment is not None:
                found.append(make(function, subject, Literal(value=_value(moment, subject.type), type=subject.type)))
        return found


def _micros(value: object) -> tuple[int | None, int]:
    """A moment, and the least step to the next one of its type."""
    if isinstance(value, dt.datetime):
        plain = value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)
        return (plain - EPOCH) // _MICRO, 1
    if isinstance(value, dt.date):
        return (value - EPOCH.date()).days * DAY, DAY
    return None, 0


def _value(moment: int, type: Type) -> object:
    """A moment as a value of a type. Raises OverflowError beyond the calendar."""
    found = EPOCH + moment * _MICRO
    if type.kind is Kind.DATE:
        assert found.time() == dt.time(), f"{found} is no midnight: buckets of days begin at one"
        return found.date()
    return found if type.kind is Kind.TIMESTAMP else found.replace(tzinfo=dt.UTC)


__all__ = ["Buckets", "Cut", "Window", "buckets_of", "constant_in"]
