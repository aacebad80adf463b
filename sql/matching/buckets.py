"""Buckets of time: which are made of which, and where the bounds of a window fall in them.

    time_bucket('1 hour', at)   hours from 2000-01-03          date_trunc('month', at)   months
    at::date                    days                            extract(dow FROM at)      says the same all day
    floor(extract(epoch FROM at) / 900), date_bin('15 minutes', at, …), to_char(at, 'YYYY-MM-DD HH24')

Times with and without time zone are moments: what is said in another time zone than UTC is bound as other
functions, so a cast among these types changes nothing. What is the same all through each bucket of a view is computed
of the bucket's start (``constant_in``): a day of hours, a month of days, the hour of day of quarters of an hour. A
window of time is whole buckets and what is beside them: the rows of its ends, or, less the rows before and behind it,
all buckets that it touches (``Cut``). Windows are cut at microseconds; moments are counted from 1970.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from ...base.types import TIMESTAMP, Kind, Type
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
_QUOTIENTS: Final = {"epoch": (_SECOND, None), "minute": (60 * _SECOND, 60), "hour": (3600 * _SECOND, 24)}
"""Fields that are divided into buckets: the width of one, and how many there are until they begin anew."""
_DIVISOR_MAX: Final = 10**8
"""Quotients of epochs have 16 digits behind the point, so a microsecond less is seen."""
_ZONED: Final = (Kind.TIMESTAMP, Kind.TIMESTAMPTZ)
_TIMES: Final = (*_ZONED, Kind.DATE)
_PATTERNS: Final = {
    "minute": "MI", "hour": "HH24|HH12|HH|AM|PM", "day": "DDD|DD|DAY|DY|D|IYYY|IYY|IY|IW|IDDD|ID|I|WW|W",
    "month": "MONTH|MON|MM|RM", "quarter": "Q", "year": "Y,YYY|YYYY|YYY|YY|Y|CC", "": "FM|TH|[^A-Z]",
}  # fmt: skip
"""The patterns of to_char by what they tell; letters that are none may be finer."""
_PATTERN: Final = re.compile("|".join(sorted("|".join(_PATTERNS.values()).split("|"), key=len, reverse=True)))
_UNIT_OF: Final = {pattern: unit for unit, patterns in _PATTERNS.items() for pattern in patterns.split("|")}


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
    while (same := _same_moment(node)) is not None:
        node = same
    if isinstance(node, Cast) and node.type.kind is Kind.DATE and node.argument.type.kind in _ZONED:
        return moment_of(node.argument), Buckets(width=DAY)
    match node:
        case Call(function="time_bucket", arguments=(Literal() as width, moment)):
            found = _of_interval(width.value)
            if found is not None and moment.type.kind is Kind.DATE and not found.has_days:
                return None  # a DATE says the day that such a bucket begins in, and not when
        case Call(function="date_bin", arguments=(Literal() as width, moment, Literal(value=dt.datetime() as origin))):
            found = _of_interval(width.value)
            start, _ = _micros(origin)
            found = None if found is None or found.by_month else replace(found, origin=start or 0)
        case Call(function="date_trunc", arguments=(Literal() as unit, moment)):
            found = _of_unit(unit.value)
        case _:
            return None
    return None if found is None or moment.type.kind not in _TIMES else (moment_of(moment), found)


def constant_in(node: Expression) -> tuple[Expression, Buckets] | None:
    """The moment that an expression is about, and buckets in which it is the same all through."""
    match node:
        case Call(function="extract" | "date_part", arguments=(Literal() as field, moment)):
            found = _of_unit(_FIELDS.get(str(field.value).lower()))
        case Call(function="to_char", arguments=(moment, Literal(value=str() as pattern))):
            found = _of_pattern(pattern)
        case Call(function="floor", arguments=(Call(function="divide", arguments=(Call() as field, divisor)),)):
            return _of_quotient(field, divisor)
        case Call(function="divide", arguments=(Cast(argument=Call() as field) as whole, divisor)):
            return _of_quotient(field, divisor) if whole.type.is_integer and not _is_epoch(field) else None
        case _:
            return buckets_of(node)
    return None if found is None or moment.type.kind not in _TIMES else (moment_of(moment), found)


def moment_of(node: Expression) -> Expression:
    """An expression without names, and without what leaves a moment the same."""
    node = nameless(node)
    while (same := _same_moment(node)) is not None:
        node = same
    if isinstance(node, Cast) and node.type.kind is Kind.TIMESTAMPTZ and node.argument.type.kind is Kind.DATE:
        return Cast(argument=node.argument, type=TIMESTAMP)
    return node


def _same_moment(node: Expression) -> Expression | None:
    """What a cast between times with and without time zone is of, and AT TIME ZONE 'UTC', which says the same."""
    match node:
        case Cast(argument=argument):
            pass
        case Call(function="timezone", arguments=(Literal(value="UTC"), argument)):
            pass
        case _:
            return None
    return argument if node.type.kind in _ZONED and argument.type.kind in _ZONED else None


def _of_quotient(field: Call, divisor: Expression) -> tuple[Expression, Buckets] | None:
    """Of floor(extract(minute FROM at) / 15) and its like."""
    if field.function not in ("extract", "date_part") or len(field.arguments) != 2:
        return None
    name, moment = field.arguments
    unit = _QUOTIENTS.get(str(name.value).lower()) if isinstance(name, Literal) else None
    number: Any = divisor.value if isinstance(divisor, Literal) else None
    if unit is None or moment.type.kind not in _TIMES or not isinstance(number, int | Decimal):
        return None
    if not 0 < number <= _DIVISOR_MAX or number % 1 or (unit[1] is not None and unit[1] % number):
        return None
    if _is_epoch(field) and field.type.kind is not Kind.NUMERIC:  # quotients of floats are rounded
        return None
    return moment_of(moment), Buckets(width=unit[0] * int(number))


def _is_epoch(field: Call) -> bool:
    return any(isinstance(part, Literal) and str(part.value).lower() == "epoch" for part in field.arguments)


def _of_pattern(pattern: str) -> Buckets | None:
    plain = re.sub(r'"[^"]*"', "", pattern).upper()
    units = {_UNIT_OF.get(part, "") for part in _PATTERN.findall(plain)}
    if _PATTERN.sub("", plain) or "\\" in plain:
        return None
    return next((_of_unit(unit) for unit in _PATTERNS if unit in units and unit), None)


def _of_interval(width: Any) -> Buckets | None:
    if not isinstance(width, pa.MonthDayNano) or interval_span(width) <= 0:
        return None
    if not width.months:
        return Buckets(width=interval_span(width), origin=_MONDAY)
    return Buckets(width=width.months, origin=2000 * 12, by_month=True)  # with days, too, it is an error where computed


def _of_unit(unit: Any) -> Buckets | None:
    """Of a unit's name; None where it is none."""
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


__all__ = ["Buckets", "Cut", "Window", "buckets_of", "constant_in", "moment_of"]
