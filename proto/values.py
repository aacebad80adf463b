"""Python values ↔ ``Value`` messages: parameters, keys, and single rows.

    value                       kind            back as
    None                        (none set)      None
    bool, int, float, str       boolean, integer, real, text
    int beyond 64 bits          numeric         int
    bytes, bytearray            bytea           bytes
    Decimal                     numeric         Decimal
    date, time                  date, time
    datetime                    timestamp       naive datetime
    datetime with a zone        timestamptz     datetime in UTC
    timedelta, MonthDayNano     interval        MonthDayNano
    UUID                        uuid            UUID
    dict                        json            dict
    list, tuple, numpy array    list            list
    numpy scalar                as its Python value, where nothing is lost

The types are no part of the message: the session converts a value to the exact type of its column or parameter, as it
does for an embedded database. Always true: ``from_value(to_value(x)) == x`` but for the two conversions named above.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import pyarrow as pa

from ..base.errors import Invalid
from .weftdb.v1.types_pb2 import Interval, Value, ValueList

_EPOCH: Final = dt.datetime(1970, 1, 1)
_EPOCH_UTC: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EPOCH_DAY: Final = dt.date(1970, 1, 1).toordinal()
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_DEPTH_MAX: Final = 16


def to_value(value: object) -> Value:
    """One Python value as a message. Raises Invalid for a class that has no SQL type."""
    encoder = _ENCODERS.get(value.__class__)
    if encoder is not None:
        return encoder(value)
    for python, slow in _SUBCLASSES:
        if isinstance(value, python):
            return slow(value)
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return to_value(_from_numpy(value))
    message = f"a Python {value.__class__.__name__} has no SQL type here"
    raise Invalid(message, hint="See docs/types.md.", sqlstate="42804")


def is_plain(value: object) -> bool:
    """Whether a value is the same to whoever gets it as a message: also its class, its time zone, and that it fits."""
    kind = value.__class__
    if kind is str or kind is bytes:
        return len(value) <= _PLAIN_BYTES_MAX and (kind is bytes or value.isascii() or _is_unicode(value))  # type: ignore[attr-defined, arg-type]
    if kind is int:
        return -(2**63) <= value < 2**63  # type: ignore[operator]
    if kind is dt.datetime or kind is dt.time:
        return value.tzinfo is None  # type: ignore[attr-defined]
    return kind in _PLAIN


def to_values(values: Iterable[object]) -> list[Value]:
    return [to_value(value) for value in values]


def from_value(message: Value, *, depth: int = 0) -> Any:
    """The Python value of a message. Raises Invalid for one that no client of ours makes."""
    kind = message.WhichOneof("kind")
    if kind is None:
        return None
    if depth > _DEPTH_MAX:
        raise Invalid(f"a value has arrays nested deeper than {_DEPTH_MAX}", sqlstate="22023")
    if kind == "list":
        return [from_value(item, depth=depth + 1) for item in message.list.values]
    try:
        return _DECODERS[kind](getattr(message, kind))
    except (ValueError, OverflowError, ArithmeticError, RecursionError) as error:
        raise Invalid(f"malformed {kind} value in the request: {error}", sqlstate="22P03") from None


def from_values(messages: Iterable[Value]) -> list[Any]:
    return [from_value(message) for message in messages]


def _integer(value: int) -> Value:
    if -(2**63) <= value < 2**63:
        return Value(integer=value)
    if abs(value) >= 10**1000:
        raise Invalid("an integer of more than 1,000 digits has no SQL type here", sqlstate="22003")
    return Value(numeric=str(value))


def _decimal(value: Decimal) -> Value:
    """A whole number gets a point at its end, else it could be read as an int beyond 64 bits."""
    text = str(value)
    return Value(numeric=text + "." if text.removeprefix("-").isdecimal() else text)


def _text(value: str) -> Value:
    try:
        return Value(text=value)
    except (UnicodeEncodeError, ValueError):
        raise Invalid("the text is not valid UTF-8: it has a lone surrogate", sqlstate="22021") from None


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _datetime(value: dt.datetime) -> Value:
    if getattr(value, "nanosecond", 0):  # pandas' Timestamp is a datetime that can hold nanoseconds
        raise Invalid(f"{value} is not a whole number of microseconds", sqlstate="22008")
    if value.tzinfo is None:
        return Value(timestamp=(value - _EPOCH) // _MICROSECOND)
    return Value(timestamptz=(value - _EPOCH_UTC) // _MICROSECOND)


def _time(value: dt.time) -> Value:
    if value.tzinfo is not None:
        raise Invalid(f"{value} has a time zone, which TIME cannot hold", sqlstate="22007")
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return Value(time=seconds * 1_000_000 + value.microsecond)


def _interval(value: pa.MonthDayNano) -> Value:
    return Value(interval=Interval(months=value.months, days=value.days, nanoseconds=value.nanoseconds))


def _timedelta(value: dt.timedelta) -> Value:
    if getattr(value, "nanoseconds", 0):
        raise Invalid(f"{value} is not a whole number of microseconds", sqlstate="22008")
    nanoseconds = (value.seconds * 1_000_000 + value.microseconds) * 1000
    return Value(interval=Interval(months=0, days=value.days, nanoseconds=nanoseconds))


def _json(value: dict[Any, Any]) -> Value:
    try:
        return Value(json=json.dumps(value, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"the value cannot be written as JSON: {error}", sqlstate="22P02") from None


def _list(value: Iterable[object]) -> Value:
    return Value(list=ValueList(values=to_values(value)))


def _from_numpy(value: Any) -> object:
    """A numpy scalar or array as Python values; nanoseconds only where nothing is lost."""
    if value.dtype.kind in "Mm":
        exact = value.astype(f"{value.dtype.str[1]}8[us]")
        if (exact != value).any():
            raise Invalid(f"{value} is not a whole number of microseconds", sqlstate="22008")
        value = exact
    plain = value.tolist()
    if plain.__class__ not in _ENCODERS:
        raise Invalid(f"a {value.dtype} of numpy has no SQL type here", sqlstate="42804")
    return plain


def _numeric(text: str) -> int | Decimal:
    if len(text) > 1100:
        raise ValueError("too many digits")
    if text.removeprefix("-").isdecimal() and abs(int(text)) >= 2**63:
        return int(text)
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text[:40]!r} is no number") from None


def _decode_time(microseconds: int) -> dt.time:
    if not 0 <= microseconds < 86_400_000_000:
        raise ValueError(f"{microseconds} is outside of a day")
    return (_EPOCH + dt.timedelta(microseconds=microseconds)).time()


def _decode_json(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _plain(value: Any) -> Any:
    return value


_ENCODERS: Final[dict[type, Callable[[Any], Value]]] = {
    type(None): lambda _: Value(),
    bool: lambda value: Value(boolean=value),
    int: _integer,
    float: lambda value: Value(real=value),
    str: _text,
    bytes: lambda value: Value(bytea=value),
    Decimal: _decimal,
    dt.datetime: _datetime,
    dt.date: lambda value: Value(date=value.toordinal() - _EPOCH_DAY),
    dt.time: _time,
    dt.timedelta: _timedelta,
    pa.MonthDayNano: _interval,
    uuid.UUID: lambda value: Value(uuid=value.bytes),
    dict: _json,
    list: _list,
    tuple: _list,
}

_PLAIN: Final = frozenset((type(None), bool, float, Decimal, dt.date, uuid.UUID))
_PLAIN_BYTES_MAX: Final = 65_536

_SUBCLASSES: Final[tuple[tuple[Any, Callable[[Any], Value]], ...]] = (
    (dt.datetime, _datetime),
    (dt.timedelta, _timedelta),
    ((bytearray, memoryview), lambda value: Value(bytea=bytes(value))),
    (bool, _ENCODERS[bool]),
    (int, lambda value: _integer(int(value))),
    (str, lambda value: _text(str.__str__(value))),
)

_DECODERS: Final[dict[str, Callable[[Any], Any]]] = {
    "boolean": _plain,
    "integer": _plain,
    "real": _plain,
    "text": _plain,
    "bytea": _plain,
    "numeric": _numeric,
    "date": lambda days: dt.date.fromordinal(days + _EPOCH_DAY),
    "time": _decode_time,
    "timestamp": lambda microseconds: _EPOCH + dt.timedelta(microseconds=microseconds),
    "timestamptz": lambda microseconds: _EPOCH_UTC + dt.timedelta(microseconds=microseconds),
    "interval": lambda span: pa.MonthDayNano([span.months, span.days, span.nanoseconds]),
    "uuid": lambda data: uuid.UUID(bytes=data),
    "json": _decode_json,
}
