"""Casts of one Python value, and PostgreSQL's text of a value: the oracle of ``functions.duck``'s cast templates.

``cast_value`` follows CAST: float to whole number rounds half to even, NUMERIC half away from zero, VARCHAR(n) cuts,
NUMERIC(p,s) rounds to its scale, text is read by ``base.values``. ``settle`` gives a computed value its type's range,
scale and float width, and raises what PostgreSQL raises.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import struct
import uuid
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import cache
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ...base.documents import canonical
from ...base.errors import Invalid
from ...base.intervals import interval_text
from ...base.types import TEXT, Kind, Type
from ...base.values import literal_value

_WIDE: Final = Context(prec=200)
_LIMIT: Final = {Kind.SMALLINT: 2**15, Kind.INTEGER: 2**31, Kind.BIGINT: 2**63}


def settle(value: Any, type: Type) -> Any:
    """A computed value as ``type`` holds it. Raises Invalid (22003) for overflow."""
    if value is None:
        return None
    match type.kind:
        case Kind.SMALLINT | Kind.INTEGER | Kind.BIGINT:
            return _ranged(int(value), type)
        case Kind.NUMERIC:
            return _rescaled(Decimal(value), type)
        case Kind.REAL:
            return _single(float(value))
        case Kind.DOUBLE:
            return float(value)
        case _:
            return value


def cast_value(value: Any, source: Type, target: Type) -> Any:
    """CAST(value AS target). Raises Invalid."""
    if value is None:
        return None
    if target.is_text:
        text = text_of(value, source)
        return text if target.length is None else text[: target.length]
    if source.is_text or source.kind is Kind.UNKNOWN:
        return _from_text(value, target)
    if source.kind is Kind.ARRAY and target.kind is Kind.ARRAY and source.element and target.element:
        return [cast_value(item, source.element, target.element) for item in value]
    convert = _CASTS.get((source.kind, target.kind))
    return settle(convert(value) if convert else value, target)


def _from_text(value: str, target: Type) -> Any:
    if target.kind is not Kind.NUMERIC:
        return literal_value(value, target)
    if not re.fullmatch(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,5})?\s*", value, re.ASCII):
        return literal_value(value, target)  # for its error
    return _rescaled(Decimal(value.strip()), target)


def _ranged(value: int, type: Type) -> int:
    limit = _LIMIT[type.kind]
    if not -limit <= value < limit:
        raise Invalid(f"{type} out of range", sqlstate="22003")
    return value


def _rescaled(value: Decimal, type: Type) -> Decimal:
    if not value.is_finite():
        raise Invalid("numeric field overflow", sqlstate="22003")
    rounded = value.quantize(_unit(type.scale or 0), rounding=ROUND_HALF_UP, context=_WIDE)
    if rounded and rounded.adjusted() >= (type.precision or 38) - (type.scale or 0):
        raise Invalid("numeric field overflow", sqlstate="22003")
    return rounded if rounded else abs(rounded)  # no negative zero


@cache
def _unit(scale: int) -> Decimal:
    return Decimal(1).scaleb(-scale)


def _single(value: float) -> float:
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        raise Invalid("value out of range: overflow", sqlstate="22003") from None


def _whole_from_float(value: float) -> int:
    if not math.isfinite(value):
        return 2**70  # out of every range: settle names the type
    return round(value)


def _naive(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC).replace(tzinfo=None)


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day)


def _time_of_span(span: pa.MonthDayNano) -> dt.time:
    return (dt.datetime(2000, 1, 1) + dt.timedelta(microseconds=span.nanoseconds // 1000 % 86_400_000_000)).time()


def _span_of_time(time: dt.time) -> pa.MonthDayNano:
    seconds = (time.hour * 60 + time.minute) * 60 + time.second
    return pa.MonthDayNano([0, 0, (seconds * 1_000_000 + time.microsecond) * 1000])


_WHOLE: Final = (Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT)

_CASTS: Final[dict[tuple[Kind, Kind], Callable[[Any], Any]]] = {
    **{(kind, whole): _whole_from_float for kind in (Kind.REAL, Kind.DOUBLE) for whole in _WHOLE},
    **{
        (Kind.NUMERIC, whole): lambda value: int(value.quantize(Decimal(1), rounding=ROUND_HALF_UP, context=_WIDE))
        for whole in _WHOLE
    },
    (Kind.DOUBLE, Kind.NUMERIC): lambda value: Decimal(f"{value:.15g}"),
    (Kind.REAL, Kind.NUMERIC): lambda value: Decimal(f"{value:.6g}"),
    (Kind.BOOLEAN, Kind.INTEGER): int,
    (Kind.INTEGER, Kind.BOOLEAN): bool,
    (Kind.DATE, Kind.TIMESTAMP): _midnight,
    (Kind.DATE, Kind.TIMESTAMPTZ): lambda day: _midnight(day).replace(tzinfo=dt.UTC),
    (Kind.TIMESTAMP, Kind.TIMESTAMPTZ): lambda moment: moment.replace(tzinfo=dt.UTC),
    (Kind.TIMESTAMP, Kind.DATE): lambda moment: moment.date(),
    (Kind.TIMESTAMP, Kind.TIME): lambda moment: moment.time(),
    (Kind.TIMESTAMPTZ, Kind.TIMESTAMP): _naive,
    (Kind.TIMESTAMPTZ, Kind.DATE): lambda moment: _naive(moment).date(),
    (Kind.TIMESTAMPTZ, Kind.TIME): lambda moment: _naive(moment).time(),
    (Kind.INTERVAL, Kind.TIME): _time_of_span,
    (Kind.TIME, Kind.INTERVAL): _span_of_time,
    (Kind.JSON, Kind.JSONB): canonical,
}


def text_of(value: Any, type: Type) -> str:
    """The text that PostgreSQL writes for the value."""
    match type.kind:
        case Kind.BOOLEAN:
            return "true" if value else "false"
        case Kind.NUMERIC:
            return format(value, "f")
        case Kind.REAL:
            return _float_text(value, single=True, plain_below=6)
        case Kind.DOUBLE:
            return _float_text(value, single=False, plain_below=15)
        case Kind.BYTEA:
            return "\\x" + bytes(value).hex()
        case Kind.TIMESTAMP:
            return _moment_text(value)
        case Kind.TIMESTAMPTZ:
            return _moment_text(_naive(value)) + "+00"
        case Kind.DATE:
            return value.isoformat()
        case Kind.TIME:
            return value.isoformat()[:8] + _fraction(value.microsecond)
        case Kind.INTERVAL:
            return interval_text(value.months, value.days, value.nanoseconds // 1000)
        case Kind.UUID:
            return str(value if isinstance(value, uuid.UUID) else uuid.UUID(bytes=value))
        case Kind.ARRAY:
            return "{" + ",".join(_item_text(item, type.element or TEXT) for item in value) + "}"
        case _:
            return str(value)


def _item_text(item: Any, type: Type) -> str:
    """An item within an array's text, quoted where it could be read otherwise."""
    if item is None:
        return "NULL"
    text = text_of(item, type)[:1] if type.kind is Kind.BOOLEAN else text_of(item, type)
    if text and text.lower() != "null" and not _SPECIAL.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_SPECIAL: Final = re.compile(r'[{}",\\ \t\n\r\v\f]')


def _moment_text(moment: dt.datetime) -> str:
    return moment.isoformat(" ")[:19] + _fraction(moment.microsecond)


def _fraction(microsecond: int) -> str:
    return f".{microsecond:06}".rstrip("0") if microsecond else ""


def _float_text(value: float, *, single: bool, plain_below: int) -> str:
    """The shortest digits that give the float back, plain between 1e-4 and 10^plain_below."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    shortest = np.format_float_scientific(np.float32(value) if single else value, trim="-")
    mantissa, exponent = shortest.split("e")
    power = int(exponent)
    if -5 < power < plain_below:
        return format(Decimal(shortest), "f")
    return f"{mantissa}e{power:+03}"
