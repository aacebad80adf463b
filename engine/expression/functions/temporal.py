"""Dates, times, intervals: arithmetic, fields, truncation, buckets, zones.

TIMESTAMPTZ is shown, cut and taken apart in UTC, whatever the session's zone: one answer for everyone. ``time_bucket``
counts buckets of days and less from Monday 2000-01-03 and buckets of months from 2000-01-01, as slices do.
"""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import pyarrow as pa

from ....base.errors import Invalid
from ....base.limits import GAPFILL_BUCKETS_MAX
from ....base.types import Type, numeric
from .duck import utc_clock, utc_moment
from .model import Function, Overload, Rendering, Volatility, function, in_python, overload
from .plain import division_by_zero, interval_span, out_of_range

_DAY: Final = 86_400_000_000

PRELUDE: Final[tuple[str, ...]] = (
    "CREATE OR REPLACE MACRO weft_interval_months(x) AS (date_part('year', x) * 12 + date_part('month', x))",
    "CREATE OR REPLACE MACRO weft_interval_micros(x) AS (date_part('hour', x) * 3600000000 "
    "+ date_part('minute', x) * 60000000 + date_part('microsecond', x))",
    "CREATE OR REPLACE MACRO weft_time_micros(x) AS (date_part('hour', x) * 3600000000 "
    "+ date_part('minute', x) * 60000000 + date_part('microsecond', x))",
    # Periods by their lower end, half-open; one that is known by one end has that as its lower, and no other.
    "CREATE OR REPLACE MACRO weft_end(x, y) AS CASE WHEN x IS NOT NULL AND y IS NOT NULL THEN greatest(x, y) END",
    "CREATE OR REPLACE MACRO weft_meet(low, high, low2, high2) AS CASE "
    "WHEN low = low2 THEN CASE WHEN high IS NOT NULL AND high2 IS NOT NULL THEN true END "
    "WHEN low > low2 THEN CASE WHEN low < high2 THEN true "
    "WHEN high2 IS NOT NULL AND high IS NOT NULL THEN false END "
    "WHEN low < low2 THEN CASE WHEN low2 < high THEN true "
    "WHEN high IS NOT NULL AND high2 IS NOT NULL THEN false END END",
    "CREATE OR REPLACE MACRO weft_overlaps(start, stop, start2, stop2) AS "
    "weft_meet(least(start, stop), weft_end(start, stop), least(start2, stop2), weft_end(start2, stop2))",
    "CREATE OR REPLACE MACRO weft_trunc_years(x, years) AS CASE WHEN x IS NULL THEN NULL ELSE "
    "make_timestamp((date_part('year', x) - 1) // years * years + 1, 1, 1, 0, 0, 0.0) END",
    "CREATE OR REPLACE MACRO weft_bucket_width(x) AS CASE WHEN x <= INTERVAL '0' SECOND "
    "THEN error('time_bucket: the width must be greater than zero') "
    "WHEN weft_interval_months(x) <> 0 AND (date_part('day', x) <> 0 OR weft_interval_micros(x) <> 0) "
    "THEN error('time_bucket: an interval of months cannot have days or time') ELSE x END",
    "CREATE OR REPLACE MACRO weft_stride(x) AS CASE WHEN weft_interval_months(x) <> 0 "
    "THEN error('timestamps cannot be binned into intervals containing months or years') "
    "WHEN x <= INTERVAL '0' SECOND THEN error('stride must be greater than zero') ELSE x END",
    "CREATE OR REPLACE MACRO weft_whole_bucket(width, x) AS CASE WHEN width <= 0 "
    "THEN error('time_bucket: the width must be greater than zero') ELSE x - ((x % width) + width) % width END",
    "CREATE OR REPLACE MACRO weft_interval_divide(x, d) AS CASE WHEN d = 0 "
    "THEN error('division by zero') ELSE x / d END",
)


# -- plain Python ----------------------------------------------------------------------------------------------------


def _rounded(moment: dt.datetime | dt.time, digits: int) -> dt.datetime | dt.time:
    """Halves away from 2000-01-01, as PostgreSQL's; a time of day upwards."""
    step = 10 ** (6 - min(max(digits, 0), 6))
    if isinstance(moment, dt.time):
        day = dt.datetime.combine(dt.date(2000, 1, 1), moment)
        return (
            day + dt.timedelta(microseconds=(moment.microsecond + step // 2) // step * step - moment.microsecond)
        ).time()
    since = (moment - dt.datetime(2000, 1, 1, tzinfo=moment.tzinfo)) // dt.timedelta(microseconds=1)
    rounded = (abs(since) + step // 2) // step * step * (1 if since >= 0 else -1)
    return moment + dt.timedelta(microseconds=rounded - since)


def months_later(day: dt.date, months: int) -> dt.date:
    """The same day ``months`` later, or the month's last day."""
    total = day.year * 12 + day.month - 1 + months
    year, month = divmod(total, 12)
    if not 1 <= year <= 9999:
        raise out_of_range("timestamp")
    return day.replace(year=year, month=month + 1, day=min(day.day, calendar.monthrange(year, month + 1)[1]))


def _as_datetime(moment: Any) -> dt.datetime:
    return moment if isinstance(moment, dt.datetime) else dt.datetime(moment.year, moment.month, moment.day)


def add_interval(moment: Any, span: pa.MonthDayNano) -> Any:
    """A date, timestamp or timestamptz plus an interval: months first, then days, then time."""
    try:
        later: Any = months_later(_as_datetime(moment), span.months)
        return later + dt.timedelta(days=span.days, microseconds=span.nanoseconds // 1000)
    except OverflowError:
        raise out_of_range("timestamp") from None


def negated(span: pa.MonthDayNano) -> pa.MonthDayNano:
    return pa.MonthDayNano([-span.months, -span.days, -span.nanoseconds])


def _add_days(day: dt.date, days: int) -> dt.date:
    try:
        return day + dt.timedelta(days=days)
    except OverflowError:
        raise Invalid("date out of range", sqlstate="22008") from None


def _between(later: dt.datetime, earlier: dt.datetime) -> pa.MonthDayNano:
    """Days and time of one sign."""
    micros = (later - earlier) // dt.timedelta(microseconds=1)
    days = abs(micros) // _DAY * (1 if micros >= 0 else -1)
    return pa.MonthDayNano([0, days, (micros - days * _DAY) * 1000])


def _add_spans(a: pa.MonthDayNano, b: pa.MonthDayNano) -> pa.MonthDayNano:
    return pa.MonthDayNano([a.months + b.months, a.days + b.days, a.nanoseconds + b.nanoseconds])


def _time_micros(time: Any) -> int:
    return ((time.hour * 60 + time.minute) * 60 + time.second) * 1_000_000 + time.microsecond


def _time_of(micros: int) -> dt.time:
    return (dt.datetime(2000, 1, 1) + dt.timedelta(microseconds=micros % _DAY)).time()


def _shift_time(time: dt.time, span: pa.MonthDayNano) -> dt.time:
    return _time_of(_time_micros(time) + span.nanoseconds // 1000)


def _scale_span(span: pa.MonthDayNano, factor: float) -> pa.MonthDayNano:
    """PostgreSQL's interval_mul: fractions of months spill into days of 30, fractions of days into time."""
    months = span.months * factor
    days = span.days * factor
    whole_months, whole_days = int(months), int(days)
    month_days = round((months - whole_months) * 30, 6)
    spill_days = int(month_days)
    seconds = round((days - whole_days + month_days - spill_days) * 86_400, 6)
    if abs(seconds) >= 86_400:
        whole_days += int(seconds / 86_400)
        seconds -= int(seconds / 86_400) * 86_400
    micros = round(span.nanoseconds // 1000 * factor + seconds * 1_000_000)
    return pa.MonthDayNano([whole_months, whole_days + spill_days, micros * 1000])


def _divide_span(span: pa.MonthDayNano, divisor: float) -> pa.MonthDayNano:
    if divisor == 0:
        raise division_by_zero()
    return _scale_span(span, 1 / divisor)


def _age(later: dt.datetime, earlier: dt.datetime) -> pa.MonthDayNano:
    """PostgreSQL's age: whole months, days and time from the earlier to the later, of one sign."""
    if later < earlier:
        return negated(_age_forward(later, earlier))
    return _age_forward(earlier, later)


def _age_forward(start: dt.datetime, end: dt.datetime) -> pa.MonthDayNano:
    micros = _time_micros(end.timetz()) - _time_micros(start.timetz())
    days, months = end.day - start.day, (end.year - start.year) * 12 + end.month - start.month
    if micros < 0:
        micros, days = micros + _DAY, days - 1
    if days < 0:
        days += calendar.monthrange(start.year, start.month)[1]
        months -= 1
    return pa.MonthDayNano([months, days, micros * 1000])


def _combine(day: dt.date, time: dt.time) -> dt.datetime:
    return dt.datetime.combine(day, time)


# -- arithmetic: overloads of the operators --------------------------------------------------------------------------

_MOMENTS: Final = (("date", "timestamp"), ("timestamp", "timestamp"), ("timestamptz", "timestamptz"))


def _moved(kind: str, sign: str, moment: int = 0, span: int = 1) -> str:
    """A moment plus or minus an interval, given as these arguments."""
    if kind == "timestamptz":
        return utc_moment(f"{utc_clock(f'{{{moment}}}')} {sign} {{{span}}}")
    return f"({{{moment}}} {sign} {{{span}}})"


ADD: Final[tuple[Overload, ...]] = (
    overload("date, integer -> date", "({0} + {1})", naive=_add_days, can_fail=True),
    overload("integer, date -> date", "({1} + {0})", naive=lambda days, day: _add_days(day, days), can_fail=True),
    *(overload(f"{a}, interval -> {r}", _moved(a, "+"), naive=add_interval, can_fail=True) for a, r in _MOMENTS),
    *(
        overload(
            f"interval, {a} -> {r}",
            _moved(a, "+", 1, 0),
            naive=lambda span, moment: add_interval(moment, span),
            can_fail=True,
        )
        for a, r in _MOMENTS
    ),
    overload("interval, interval -> interval", "({0} + {1})", naive=_add_spans, can_fail=True),
    overload("time, interval -> time", "({0} + {1})", naive=_shift_time),
    overload("interval, time -> time", "({1} + {0})", naive=lambda span, time: _shift_time(time, span)),
    overload("date, time -> timestamp", "({0} + {1})", naive=_combine),
    overload("time, date -> timestamp", "({1} + {0})", naive=lambda time, day: _combine(day, time)),
)

SUBTRACT: Final[tuple[Overload, ...]] = (
    overload("date, date -> integer", "CAST({0} - {1} AS INTEGER)", naive=lambda a, b: (a - b).days),
    overload("date, integer -> date", "({0} - {1})", naive=lambda day, days: _add_days(day, -days), can_fail=True),
    *(
        overload(
            f"{a}, interval -> {r}", _moved(a, "-"), naive=lambda m, span: add_interval(m, negated(span)), can_fail=True
        )
        for a, r in _MOMENTS
    ),
    overload("timestamp, timestamp -> interval", "({0} - {1})", naive=_between),
    overload("timestamptz, timestamptz -> interval", f"({utc_clock('{0}')} - {utc_clock('{1}')})", naive=_between),
    overload(
        "interval, interval -> interval", "({0} - {1})", naive=lambda a, b: _add_spans(a, negated(b)), can_fail=True
    ),
    overload(
        "time, time -> interval",
        "to_microseconds(weft_time_micros({0}) - weft_time_micros({1}))",
        naive=lambda a, b: pa.MonthDayNano([0, 0, (_time_micros(a) - _time_micros(b)) * 1000]),
    ),
    overload("time, interval -> time", "({0} - {1})", naive=lambda time, span: _shift_time(time, negated(span))),
)

MULTIPLY: Final[tuple[Overload, ...]] = (
    overload("interval, double -> interval", "({0} * {1})", naive=_scale_span, can_fail=True),
    overload("double, interval -> interval", "({1} * {0})", naive=lambda f, span: _scale_span(span, f), can_fail=True),
)

DIVIDE: Final[tuple[Overload, ...]] = (
    overload("interval, double -> interval", "weft_interval_divide({0}, {1})", naive=_divide_span, can_fail=True),
)

NEGATE: Final[tuple[Overload, ...]] = (overload("interval -> interval", "(-{0})", naive=negated),)


# -- fields: extract and date_part -----------------------------------------------------------------------------------


def _time_parts(moment: Any) -> int:
    """Microseconds since midnight."""
    return _time_micros(moment) if not isinstance(moment, dt.date) or isinstance(moment, dt.datetime) else 0


def _signed(nanoseconds: int, unit: int, modulus: int) -> int:
    """A field of a time span: as of its absolute value, with its sign."""
    return abs(nanoseconds) // unit % modulus * (1 if nanoseconds >= 0 else -1)


def _epoch(moment: Any) -> Decimal:
    if isinstance(moment, dt.datetime):
        micros = (moment.replace(tzinfo=None) - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)
    elif isinstance(moment, dt.date):
        micros = (moment - dt.date(1970, 1, 1)).days * _DAY
    else:
        micros = _time_micros(moment)
    return Decimal(micros).scaleb(-6)


# field → (scale of extract's NUMERIC, DuckDB template, plain Python); for dates and timestamps, times from "hour" on
_FIELDS: Final[dict[str, tuple[int, str, Callable[[Any], Any]]]] = {
    "year": (0, "date_part('year', {0})", lambda x: x.year),
    "month": (0, "date_part('month', {0})", lambda x: x.month),
    "day": (0, "date_part('day', {0})", lambda x: x.day),
    "quarter": (0, "date_part('quarter', {0})", lambda x: (x.month + 2) // 3),
    "week": (0, "date_part('week', {0})", lambda x: x.isocalendar()[1]),
    "dow": (0, "date_part('dow', {0})", lambda x: x.isoweekday() % 7),
    "isodow": (0, "date_part('isodow', {0})", lambda x: x.isoweekday()),
    "doy": (0, "date_part('doy', {0})", lambda x: x.timetuple().tm_yday),
    "isoyear": (0, "date_part('isoyear', {0})", lambda x: x.isocalendar()[0]),
    "decade": (0, "date_part('decade', {0})", lambda x: x.year // 10),
    "century": (0, "date_part('century', {0})", lambda x: (x.year + 99) // 100),
    "millennium": (0, "date_part('millennium', {0})", lambda x: (x.year + 999) // 1000),
    "hour": (0, "date_part('hour', {0})", lambda x: _time_parts(x) // 3_600_000_000),
    "minute": (0, "date_part('minute', {0})", lambda x: _time_parts(x) // 60_000_000 % 60),
    "second": (
        6,
        "date_part('microsecond', {0}) * 0.000001",
        lambda x: Decimal(_time_parts(x) % 60_000_000).scaleb(-6),
    ),
    "milliseconds": (
        3,
        "date_part('microsecond', {0}) * 0.001",
        lambda x: Decimal(_time_parts(x) % 60_000_000).scaleb(-3),
    ),
    "microseconds": (0, "date_part('microsecond', {0})", lambda x: _time_parts(x) % 60_000_000),
    "epoch": (6, "epoch_us({0}) * 0.000001", _epoch),
}

_ALIASES: Final[dict[str, str]] = {
    **{f"{name}s": name for name in ("year", "month", "day", "week", "hour", "minute", "second", "decade")},
    "millisecond": "milliseconds",
    "microsecond": "microseconds",
    "centuries": "century",
    "millenniums": "millennium",
}

_LONG_NAMES: Final = {
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "time": "time without time zone",
}

_OF_TIME: Final = ("hour", "minute", "second", "milliseconds", "microseconds", "epoch")

_INTERVAL_MONTHS: Final = "weft_interval_months({0})"
_INTERVAL_FIELDS: Final[dict[str, tuple[int, str, Callable[[pa.MonthDayNano], Any]]]] = {
    "year": (0, "date_part('year', {0})", lambda x: int(x.months / 12)),
    "month": (0, "date_part('month', {0})", lambda x: x.months - int(x.months / 12) * 12),
    "day": (0, "date_part('day', {0})", lambda x: x.days),
    "hour": (0, "date_part('hour', {0})", lambda x: int(Decimal(x.nanoseconds) / 3_600_000_000_000)),
    "minute": (0, "date_part('minute', {0})", lambda x: _signed(x.nanoseconds, 60_000_000_000, 60)),
    "second": (
        6,
        "date_part('microsecond', {0}) * 0.000001",
        lambda x: Decimal(_signed(x.nanoseconds, 1000, 60_000_000)).scaleb(-6),
    ),
    "epoch": (
        6,
        "CAST(weft_interval_months({0}) // 12 * 31557600 + weft_interval_months({0}) % 12 * 2592000 "
        "+ date_part('day', {0}) * 86400 AS DECIMAL(20,0)) + weft_interval_micros({0}) * 0.000001",
        lambda x: (
            Decimal(
                int(x.months / 12) * 31_557_600 + (x.months - int(x.months / 12) * 12) * 2_592_000 + x.days * 86_400
            )
            + Decimal(x.nanoseconds).scaleb(-9)
        ),
    ),
}


def _field(name: Any, fields: Mapping[str, Any], type_name: str) -> Any:
    wanted = _ALIASES.get(str(name).lower(), str(name).lower())
    if wanted not in fields or (type_name == "time" and wanted not in _OF_TIME):
        known = (wanted in _FIELDS and "supported") or "recognized"
        message = f'unit "{str(name).lower()}" not {known} for type {_LONG_NAMES.get(type_name, type_name)}'
        raise Invalid(
            message, hint=f"Use one of {', '.join(_OF_TIME if type_name == 'time' else fields)}.", sqlstate="0A000"
        )
    return fields[wanted]


def _field_overloads(*, exact: bool) -> list[Overload]:
    """extract(field, source) is numeric, date_part the same as double precision."""
    from . import temporal_vector

    overloads: list[Overload] = []
    for source in ("timestamp", "timestamptz", "date", "time", "interval"):
        fields = _INTERVAL_FIELDS if source == "interval" else _FIELDS

        def render(r: Rendering, *, source: str = source, fields: Mapping[str, Any] = fields) -> str:
            moment = utc_clock(r[1]) if source == "timestamptz" else r[1]
            moment = f"CAST({moment} AS TIMESTAMP)" if source == "date" else moment
            scale, template, _ = _field(r.constant(0), fields, source)
            if source == "time" and _ALIASES.get(r.constant(0), r.constant(0)) == "epoch":
                template = "weft_time_micros({0}) * 0.000001"
            target = (r.t if r.result.scale else f"DECIMAL(20,{scale})") if exact else "DOUBLE"
            return f"CAST(({template.format(moment)}) AS {target})"

        def naive(field: str, moment: Any, *, source: str = source, fields: Mapping[str, Any] = fields) -> Any:
            value = _field(field, fields, source)[2](moment)
            return value if exact else float(value)

        def literal_result(
            types: Sequence[Type], literals: Mapping[int, object], *, source: str = source, fields: Any = fields
        ) -> Type:
            return numeric(20, _field(literals[0], fields, source)[0]) if 0 in literals else numeric(20, 6)

        overloads.append(
            overload(
                f"text, {source} -> {'numeric' if exact else 'double'}",
                render,
                literal_result=literal_result if exact else None,
                naive=naive,
                arrow=temporal_vector.field if source in ("timestamp", "timestamptz") else None,
                constants=(0,),
            )
        )
    return overloads


# -- date_trunc ------------------------------------------------------------------------------------------------------

_TRUNC_UNITS: Final = [
    "microseconds",
    "milliseconds",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
    "decade",
    "century",
    "millennium",
]


def _unit(name: Any, type_name: str = "timestamp without time zone") -> str:
    wanted = _ALIASES.get(str(name).lower(), str(name).lower())
    if wanted not in _TRUNC_UNITS:
        message = f'unit "{name}" not recognized for type {type_name}'
        raise Invalid(message, hint=f"Use one of {', '.join(_TRUNC_UNITS)}.", sqlstate="22023")
    return wanted


def _truncated(unit: str, moment: str) -> str:
    """DuckDB begins centuries with the year 2000, PostgreSQL with 2001."""
    if unit in ("century", "millennium"):
        return f"weft_trunc_years({moment}, {_YEARS[unit]})"
    return f"date_trunc('{unit}', {moment})"


def _trunc(r: Rendering) -> str:
    return _truncated(_unit(r.constant(0)), r[1])


def _trunc_zoned(r: Rendering) -> str:
    unit = _unit(r.constant(0), "timestamp with time zone")
    return utc_moment(_truncated(unit, utc_clock(r[1])))


_CLOCK_UNITS: Final = {
    "microseconds": 1,
    "milliseconds": 1000,
    "second": 10**6,
    "minute": 60 * 10**6,
    "hour": 3600 * 10**6,
}
_YEARS: Final = {"year": 1, "decade": 10, "century": 100, "millennium": 1000}


def _trunc_naive(unit: str, moment: dt.datetime) -> dt.datetime:
    unit = _unit(unit)
    if unit in _CLOCK_UNITS:
        micros = _time_micros(moment.timetz())
        return moment - dt.timedelta(microseconds=micros % _CLOCK_UNITS[unit])
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit == "day":
        return day
    if unit == "week":
        return day - dt.timedelta(days=day.weekday())
    if unit == "month":
        return day.replace(day=1)
    if unit == "quarter":
        return day.replace(day=1, month=(day.month - 1) // 3 * 3 + 1)
    years = _YEARS[unit]
    first = day.year // years * years if unit in ("year", "decade") else (day.year - 1) // years * years + 1
    return day.replace(day=1, month=1, year=max(first, 1))


def _trunc_overloads() -> list[Overload]:
    from . import temporal_vector

    return [
        overload(
            f"text, {kind} -> {kind}",
            render,
            naive=_trunc_naive,
            arrow=temporal_vector.trunc(_unit),
            constants=(0,),
        )
        for kind, render in (("timestamp", _trunc), ("timestamptz", _trunc_zoned))
    ]


# -- time_bucket -----------------------------------------------------------------------------------------------------

_MONDAY: Final = dt.datetime(2000, 1, 3)
_FIRST: Final = dt.datetime(2000, 1, 1)


def _bucket_origin(width: pa.MonthDayNano) -> dt.datetime:
    if width.months and (width.days or width.nanoseconds):
        raise Invalid("time_bucket: an interval of months cannot have days or time", sqlstate="22023")
    if interval_span(width) <= 0:
        raise Invalid("time_bucket: the width must be greater than zero", sqlstate="22023")
    return _FIRST if width.months else _MONDAY


def bucket(width: pa.MonthDayNano, moment: dt.datetime, origin: dt.datetime | None = None) -> dt.datetime:
    """The start of the bucket that holds ``moment``."""
    start = _bucket_origin(width) if origin is None else origin.replace(tzinfo=None)
    naive = moment.replace(tzinfo=None)
    if width.months:
        months = (naive.year - start.year) * 12 + naive.month - start.month
        months -= naive < months_later(start, months)  # type: ignore[operator]
        found: Any = months_later(start, months // width.months * width.months)
    else:
        step = dt.timedelta(microseconds=interval_span(width))
        found = start + (naive - start) // step * step
    return found.replace(tzinfo=moment.tzinfo)


def _bucket_date(width: pa.MonthDayNano, day: dt.date, origin: dt.date | None = None) -> dt.date:
    return bucket(width, _as_datetime(day), None if origin is None else _as_datetime(origin)).date()


def _bucket_sql(source: str) -> Callable[[Rendering], str]:
    """DuckDB's time_bucket has the same origins; its origin and width are handed on, in UTC."""

    def render(r: Rendering) -> str:
        width = r[0]
        if 0 in r.literals:
            _bucket_origin(r.literals[0])
        elif r.function == "time_bucket":
            width = f"weft_bucket_width({width})"
        moment = utc_clock(r[1]) if source == "timestamptz" else f"CAST({r[1]} AS TIMESTAMP)"
        origin = ""
        if len(r.arguments) == 3:
            origin = f", {utc_clock(r[2])}" if source == "timestamptz" else f", CAST({r[2]} AS TIMESTAMP)"
        bucketed = f"time_bucket({width}, {moment}{origin})"
        return utc_moment(bucketed) if source == "timestamptz" else f"CAST({bucketed} AS {r.t})"

    return render


def _bucket_overloads() -> list[Overload]:
    from . import temporal_vector

    return [
        overload(
            f"interval, {source}{origin} -> {source}",
            _bucket_sql(source),
            naive=_bucket_date if source == "date" else bucket,
            arrow=temporal_vector.bucket if source != "date" else None,
            can_fail=True,
        )
        for origin in (False, True)
        for source in ("timestamp", "timestamptz", "date")
        for origin in [f", {source}" if origin else ""]
    ]


def _in_group_by(r: Rendering) -> str:
    raise AssertionError("the binder makes rows of time_bucket_gapfill")


def _bucket_of_integers(kind: str) -> Overload:
    def naive(width: int, value: int, origin: int = 0) -> int:
        if width <= 0:
            raise Invalid("time_bucket: the width must be greater than zero", sqlstate="22023")
        return (value - origin) // width * width + origin

    return overload(f"{kind}, {kind} -> {kind}", "weft_whole_bucket({0}, {1})", naive=naive, can_fail=True)


def _gapfill_step(start: Any, stop: Any, step: Any) -> Any:
    """``step``. Raises Invalid (54000) where a range has too many of them."""
    size = step if isinstance(step, int) else interval_span(step)
    whole = stop - start if isinstance(step, int) else (stop - start) // dt.timedelta(microseconds=1)
    if size > 0 and whole // size > GAPFILL_BUCKETS_MAX:
        message = f"time_bucket_gapfill: the range has more than {GAPFILL_BUCKETS_MAX} buckets"
        raise Invalid(message, hint="Use wider buckets or a shorter range.", sqlstate="54000")
    return step


def _stride(width: pa.MonthDayNano) -> pa.MonthDayNano:
    if width.months:
        raise Invalid("timestamps cannot be binned into intervals containing months or years", sqlstate="0A000")
    if interval_span(width) <= 0:
        raise Invalid("stride must be greater than zero", sqlstate="22008")
    return width


def _date_bin(source: str) -> Callable[[Rendering], str]:
    of_bucket = _bucket_sql(source)

    def render(r: Rendering) -> str:
        return of_bucket(replace(r, arguments=(f"weft_stride({r[0]})", *r.arguments[1:])))

    return render


_FRACTION: Final = "CAST({0} - {1} AS DOUBLE) / ({3} - {1})"
_TIME_FRACTION: Final = "CAST(epoch_us({0}) - epoch_us({1}) AS DOUBLE) / (epoch_us({3}) - epoch_us({1}))"


def _interpolated(at: Any, at0: Any, value0: float, at1: Any, value1: float) -> float:
    return value0 + (value1 - value0) * ((at - at0) / (at1 - at0))


# -- zones and making ------------------------------------------------------------------------------------------------


def zone(name: str) -> dt.tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Invalid(f'time zone "{name}" not recognized', sqlstate="22023") from None


def _to_zone(name: str, moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(zone(name)).replace(tzinfo=None)


def _from_zone(name: str, moment: dt.datetime) -> dt.datetime:
    """A local time as a moment: one that comes twice is the later one, one left out counts by the time before."""
    first, second = (moment.replace(tzinfo=zone(name), fold=fold) for fold in (0, 1))
    earlier, later = first.utcoffset(), second.utcoffset()
    assert earlier is not None and later is not None, "a zone has an offset"  # noqa: PT018
    return (second if earlier > later else first).astimezone(dt.UTC)


def _add_in_zone(name: str, moment: dt.datetime, span: pa.MonthDayNano) -> dt.datetime:
    """Months and days by the zone's clock, then the time by itself."""
    later = moment
    for months, days in ((span.months, 0), (0, span.days)):
        if months or days:
            local = add_interval(_to_zone(name, later), pa.MonthDayNano([months, days, 0]))
            later = _from_zone(name, local)
    return add_interval(later, pa.MonthDayNano([0, 0, span.nanoseconds]))


def _text_in_zone(name: str, moment: dt.datetime) -> str:
    """A TIMESTAMPTZ as a session of the zone shows it: ``2024-07-01 02:00:00+02``."""
    local = moment.astimezone(zone(name))
    shown = local.replace(tzinfo=None).isoformat(" ")[:19]
    if local.microsecond:
        shown += f".{local.microsecond:06}".rstrip("0")
    offset = local.utcoffset()
    assert offset is not None, "a zone has an offset"
    seconds = abs(int(offset.total_seconds()))
    hours, rest = divmod(seconds, 3600)
    parts = f"{hours:02}" + (f":{rest // 60:02}" if rest else "") + (f":{rest % 60:02}" if rest % 60 else "")
    return f"{shown}{'-' if offset < dt.timedelta() else '+'}{parts}"


def _zoned(r: Rendering) -> str:
    if 0 in r.literals:
        zone(str(r.literals[0]))
    return f"timezone({r[0]}, {r[1]})"


def _trunc_span(unit: str, span: pa.MonthDayNano) -> pa.MonthDayNano:
    """An interval cut to a unit: what is smaller is zero."""
    unit = _unit(unit, "interval")
    months, days, micros = span.months, span.days, span.nanoseconds // 1000
    if unit == "week":
        hint = "Months usually have fractional weeks."
        raise Invalid('unit "week" not supported for type interval', hint=hint, sqlstate="0A000")
    if unit in _CLOCK_UNITS:
        return pa.MonthDayNano([months, days, _toward_zero(micros, _CLOCK_UNITS[unit]) * 1000])
    if unit == "day":
        return pa.MonthDayNano([months, days, 0])
    size = {"month": 1, "quarter": 3}.get(unit) or _YEARS[unit] * 12
    return pa.MonthDayNano([_toward_zero(months, size), 0, 0])


def _toward_zero(value: int, step: int) -> int:
    return abs(value) // step * step * (1 if value >= 0 else -1)


def _justified(high: int, low: int, size: int) -> tuple[int, int]:
    """``low`` carried over in whole ``size``s, both of one sign."""
    carried = abs(low) // size * (1 if low >= 0 else -1)
    high, low = high + carried, low - carried * size
    if high > 0 > low:
        return high - 1, low + size
    if high < 0 < low:
        return high + 1, low - size
    return high, low


def _justify_days(span: pa.MonthDayNano) -> pa.MonthDayNano:
    months, days = _justified(span.months, span.days, 30)
    return pa.MonthDayNano([months, days, span.nanoseconds])


def _justify_hours(span: pa.MonthDayNano) -> pa.MonthDayNano:
    days, micros = _justified(span.days, span.nanoseconds // 1000, _DAY)
    return pa.MonthDayNano([span.months, days, micros * 1000])


def _justify_interval(span: pa.MonthDayNano) -> pa.MonthDayNano:
    """Days and months of 24 hours and 30 days, all of one sign."""
    total = interval_span(span)
    sign = 1 if total >= 0 else -1
    days, micros = divmod(abs(total), _DAY)
    months, days = divmod(days, 30)
    return pa.MonthDayNano([sign * months, sign * days, sign * micros * 1000])


def _make_interval(
    years: int, months: int, weeks: int, days: int, hours: int, minutes: int, seconds: float
) -> pa.MonthDayNano:
    micros = (hours * 60 + minutes) * 60_000_000 + round(seconds * 1_000_000)
    try:
        return pa.MonthDayNano([years * 12 + months, weeks * 7 + days, micros * 1000])
    except (OverflowError, ValueError):
        raise out_of_range("interval") from None


def _make_time(hour: int, minute: int, second: float) -> dt.time:
    return _make_timestamp(2000, 1, 1, hour, minute, second).time()


def _overlaps(start1: Any, end1: Any, start2: Any, end2: Any) -> bool | None:
    """SQL's OVERLAPS with its NULLs: half-open, the ends in either order, a moment is a period."""
    pairs: list[tuple[Any, Any]] = []
    for start, end in ((start1, end1), (start2, end2)):
        low, high = (end, start) if start is None or (end is not None and start > end) else (start, end)
        if low is None:
            return None
        pairs.append((low, high))
    (a, a_end), (b, b_end) = pairs
    if a > b:
        (a, a_end), (b, b_end) = (b, b_end), (a, a_end)
    if a == b:
        return None if a_end is None or b_end is None else True
    if a_end is not None:
        return True if b < a_end else None if b_end is None else False
    return None


def _make_date(year: int, month: int, day: int) -> dt.date:
    try:
        return dt.date(year, month, day)
    except ValueError:
        raise Invalid(f"date field value out of range: {year}-{month:02}-{day:02}", sqlstate="22008") from None


def _make_timestamp(year: int, month: int, day: int, hour: int, minute: int, second: float) -> dt.datetime:
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60):
        raise Invalid(f"time field value out of range: {hour}:{minute:02}:{second:02g}", sqlstate="22008")
    micros = round(second * 1_000_000)
    day_start = _as_datetime(_make_date(year, month, day))
    return day_start + dt.timedelta(hours=hour, minutes=minute, microseconds=micros)


def _stable(name: str, result: str) -> Function:
    """A value of the session: evaluated once per statement and bound as a literal, never rendered."""

    def refuse(r: Rendering) -> str:
        raise AssertionError(f"{r.function}() is bound as session_literal before it is rendered")

    return function(name, overload(f"-> {result}", refuse), volatility=Volatility.STABLE)


STABLE_NAMES: Final[dict[str, str]] = {
    "now": "timestamptz",
    "current_timestamp": "timestamptz",
    "transaction_timestamp": "timestamptz",
    "statement_timestamp": "timestamptz",
    "current_date": "date",
    "localtimestamp": "timestamp",
    "localtime": "time",
}


_AGE_ZONED: Final = f"age({utc_clock('{0}')}, {utc_clock('{1}')})"


def functions() -> tuple[Function, ...]:
    """All functions of dates and times that are not operators."""
    return (
        function("extract", *_field_overloads(exact=True)),
        function("date_part", *_field_overloads(exact=False)),
        function(
            "date_trunc",
            *_trunc_overloads(),
            overload("text, interval -> interval", in_python, naive=_trunc_span, can_fail=True),
        ),
        function(
            "round_time",
            *(
                overload(f"{kind}, integer -> {kind}", in_python, naive=_rounded)
                for kind in ("timestamp", "timestamptz", "time")
            ),
            doc="to so many digits of a second: what a cast to TIMESTAMP(3) does",
        ),
        function("time_bucket", *_bucket_overloads(), *map(_bucket_of_integers, ("integer", "bigint"))),
        function(
            "time_bucket_gapfill",
            *(replace(one, duckdb=_in_group_by, naive=None, arrow=None) for one in _bucket_overloads()),
        ),
        function(
            "gapfill_step",
            *(
                overload(f"{at}, {at}, {step} -> {step}", in_python, naive=_gapfill_step, can_fail=True)
                for at, step in (
                    *((at, "interval") for at in ("timestamp", "timestamptz")),
                    *((kind, kind) for kind in ("integer", "bigint")),
                )
            ),
            doc="the step, if the range of a gap fill has not too many",
        ),
        function(
            "date_bin",
            *(
                overload(
                    f"interval, {source}, {source} -> {source}",
                    _date_bin(source),
                    naive=lambda width, moment, origin: bucket(_stride(width), moment, origin),
                    can_fail=True,
                )
                for source in ("timestamp", "timestamptz")
            ),
        ),
        function(
            "interpolate_between",
            *(
                overload(
                    f"{at}, {at}, double, {at}, double -> double",
                    "({2} + ({4} - {2}) * " + (_FRACTION if at == "bigint" else _TIME_FRACTION) + ")",
                    naive=_interpolated,
                )
                for at in ("timestamp", "timestamptz", "bigint")
            ),
            doc="the value at the first argument on the line between two points",
        ),
        function(
            "timezone",
            overload("text, timestamptz -> timestamp", _zoned, naive=_to_zone, can_fail=True),
            overload("text, timestamp -> timestamptz", _zoned, naive=_from_zone, can_fail=True),
        ),
        function(
            "add_in_zone",
            overload("text, timestamptz, interval -> timestamptz", in_python, naive=_add_in_zone, can_fail=True),
            doc="`timestamptz + interval` in a session of that zone",
        ),
        function(
            "text_in_zone",
            overload("text, timestamptz -> text", in_python, naive=_text_in_zone, can_fail=True),
            doc="a timestamptz as a session of that zone shows it",
        ),
        function(
            "age",
            overload("timestamp, timestamp -> interval", "age({0}, {1})", naive=_age),
            overload("timestamptz, timestamptz -> interval", _AGE_ZONED, naive=_age),
        ),
        *(
            function(name, overload("interval -> interval", in_python, naive=naive))
            for name, naive in (
                ("justify_days", _justify_days),
                ("justify_hours", _justify_hours),
                ("justify_interval", _justify_interval),
            )
        ),
        function(
            "isfinite",
            *(
                overload(f"{kind} -> boolean", "({0} IS NOT NULL OR NULL)", naive=lambda x: True)
                for kind in ("date", "timestamp", "timestamptz", "interval")
            ),
        ),
        function(
            "make_interval",
            overload(
                "integer, integer, integer, integer, integer, integer, double -> interval",
                in_python,
                naive=_make_interval,
                can_fail=True,
            ),
        ),
        function(
            "make_time",
            overload("integer, integer, double -> time", in_python, naive=_make_time, can_fail=True),
        ),
        function(
            "overlaps",
            *(
                overload(
                    f"{kind}, {kind}, {kind}, {kind} -> boolean",
                    "weft_overlaps({args})",
                    naive=_overlaps,
                    strict=False,
                )
                for kind in ("timestamp", "timestamptz", "time")
            ),
        ),
        function(
            "make_date",
            overload("integer, integer, integer -> date", "make_date({0}, {1}, {2})", naive=_make_date, can_fail=True),
        ),
        function(
            "make_timestamp",
            overload(
                "integer, integer, integer, integer, integer, double -> timestamp",
                "make_timestamp({args})",
                naive=_make_timestamp,
                can_fail=True,
            ),
        ),
        *(_stable(name, result) for name, result in STABLE_NAMES.items()),
        function("clock_timestamp", overload("-> timestamptz", "now()"), volatility=Volatility.VOLATILE),
    )
