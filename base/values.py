"""One Python value, checked and converted to one SQL type.

``convert`` takes what a program, a parameter or a quoted literal gives (an int for a BIGINT, ISO text for a DATE, a
``timedelta`` for an INTERVAL) and returns the value that Arrow's array of that type takes. Nothing is lost on the way:
what does not fit exactly is refused, apart from text or a float that is rounded to the nearest REAL or DOUBLE, as
everywhere. Text is read as PostgreSQL reads it, in the ISO forms only.

``Refused`` is what goes wrong. It has two wordings, because the value alone is not always what the user looks at: a
literal gets PostgreSQL's sentence, a row gets ``column "amount", row 3: "abc" is not a valid integer``.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import struct
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import pyarrow as pa

from . import documents
from .errors import Invalid, LimitExceeded, WeftError
from .intervals import parse_interval
from .limits import VALUE_BYTES_MAX
from .types import (
    BIGINT,
    BOOLEAN,
    BYTEA,
    DATE,
    DOUBLE,
    INTEGER,
    INTERVAL,
    JSON,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    UNKNOWN,
    UUID,
    Kind,
    Type,
    array_of,
    numeric,
)

UTC: Final = dt.UTC
EPOCH: Final = dt.datetime(1970, 1, 1)


class Refused(Exception):
    """A value that its type cannot hold. ``plain`` follows a column and row; ``error()`` stands alone."""

    def __init__(self, plain: str, *, postgres: str | None = None, sqlstate: str = "22P02") -> None:
        super().__init__(plain)
        self.plain = plain
        self.postgres = postgres or plain
        self.sqlstate = sqlstate

    def error(self, message: str | None = None) -> WeftError:
        """The error to raise, with PostgreSQL's wording unless told."""
        kind = LimitExceeded if self.sqlstate == "54000" else Invalid
        return kind(message or self.postgres, sqlstate=self.sqlstate)


def literal_value(value: object, type: Type) -> object:
    """``value`` as ``type`` holds it: a parameter or a quoted literal. Raises Invalid with PostgreSQL's wording."""
    try:
        return convert(value, type)
    except Refused as refused:
        raise refused.error() from None


def version_of(value: object, what: str) -> int:
    """A version that a caller gave as ``what``. Raises Invalid (22023) for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise Invalid(f"{what} is a version, not {value!r}", sqlstate="22023")
    return value


def convert(value: object, type: Type) -> Any:
    """``value`` as ``type`` holds it, NULL included. Raises Refused."""
    if value is None:
        return None
    if type.element is not None:
        return [convert(item, type.element) for item in array_items(value, type)]
    if hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = _from_numpy(value, type)
    return _CONVERTERS[type.kind](value, type)


def array_items(value: object, type: Type) -> Sequence[Any]:
    """The items of an array that was given as list, tuple, numpy array or text (``{1,2,NULL}``), not converted yet.

    Raises Refused, also for what has several dimensions.
    """
    assert type.element is not None, "an array type has an element type"
    if isinstance(value, str):
        return _items_in_text(value)
    if isinstance(value, list | tuple) and not isinstance(value, pa.MonthDayNano):
        if not type.element.is_json and any(isinstance(item, list) for item in value):
            raise _several_dimensions(value)
        return value
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        dimensions = getattr(value, "ndim", None)
        if dimensions == 1:
            plain = value.dtype.kind in "biuf"  # pyright: ignore[reportAttributeAccessIssue]
            return value.tolist() if plain else list(value)  # pyright: ignore
        if dimensions:
            raise _several_dimensions(value)
    raise syntax(value, type)


_SPACE: Final = r"[ \t\n\r\v\f]*"
_BARE: Final = r'(?:[^",{}\\ \t\n\r\v\f]|\\.)'
_ITEM: Final = re.compile(rf'{_SPACE}(?:"((?:[^"\\]|\\.)*)"|({_BARE}(?:{_SPACE}{_BARE})*)){_SPACE}([,}}])', re.DOTALL)
_OPENING: Final = re.compile(rf"{_SPACE}\{{{_SPACE}(\}})?")
_BOUNDS: Final = re.compile(rf"{_SPACE}(?:\[[0-9+: -]*\]{_SPACE})+={_SPACE}\{{")


def _items_in_text(text: str) -> list[str | None]:
    """``{a,"b c",NULL}`` as texts, as PostgreSQL reads it."""
    found = _OPENING.match(text)
    if found is None:
        if _BOUNDS.match(text):
            message = "bounds of an array's subscripts are not supported"
            raise Refused(message, sqlstate="0A000")
        raise _malformed(text)
    items: list[str | None] = []
    ended = found[1] is not None
    while not ended:
        item = _ITEM.match(text, found.end())
        if item is None:
            if text[found.end() :].startswith("{") and not items:
                raise _several_dimensions(text)
            raise _malformed(text)
        found = item
        quoted: str = item[1] or ""
        bare: str | None = item[2]
        if bare is not None and bare.upper() == "NULL":
            items.append(None)
        else:
            items.append(re.sub(r"(?s)\\(.)", r"\1", quoted if bare is None else bare))
        ended = item[3] == "}"
    if text[found.end() :].strip(" \t\n\r\v\f"):
        raise _malformed(text)
    return items


def _malformed(text: str) -> Refused:
    return Refused(f"malformed array literal: {shown(text)}", sqlstate="22P02")


def _several_dimensions(value: object) -> Refused:
    return Refused(f"{shown(value)}: an array of several dimensions is not supported", sqlstate="0A000")


def type_of_value(value: object) -> Type:
    """The natural SQL type of a Python value; UNKNOWN for None and text, as for a quoted literal. Raises Invalid."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int):
        if -(2**31) <= value < 2**31:
            return INTEGER
        return BIGINT if -(2**63) <= value < 2**63 else numeric(38, 0)
    if isinstance(value, Decimal):
        _, digits, exponent = value.as_tuple()
        if not isinstance(exponent, int):
            return DOUBLE
        scale = max(-exponent, 0)
        return numeric(max(len(digits) + max(exponent, 0), scale, 1), scale)
    if isinstance(value, dt.datetime):
        return TIMESTAMP if value.tzinfo is None else TIMESTAMPTZ
    if isinstance(value, list | tuple) and not isinstance(value, pa.MonthDayNano):
        return array_of(next((type_of_value(item) for item in value if item is not None), TEXT))
    for python, type in _NATURAL:
        if isinstance(value, python):
            return type
    if hasattr(value, "item"):
        return type_of_value(value.item())  # pyright: ignore[reportAttributeAccessIssue]
    raise Invalid(f"a Python {_name(value)} has no SQL type here", hint="See docs/types.md.", sqlstate="42804")


def shown(value: object) -> str:
    """A value in a message: text quoted, long values cut."""
    text = f'"{value}"' if isinstance(value, str) else "NULL" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "…" + ('"' if isinstance(value, str) else "")


def syntax(value: object, type: Type, *, sqlstate: str | None = None) -> Refused:
    """The value is not of this type at all."""
    what = shown(value) if isinstance(value, str) else f"{shown(value)} ({_name(value)})"
    quoted = shown(value) if isinstance(value, str) else f'"{shown(value)}"'
    code = sqlstate or ("22007" if type.kind in _TEMPORAL else "22P02")
    return Refused(
        f"{what} is not a valid {type}",
        postgres=f"invalid input syntax for type {_family(type)}: {quoted}",
        sqlstate=code,
    )


def out_of_range(value: object, type: Type) -> Refused:
    """The value is of the right sort but beyond what the type can hold."""
    quoted = shown(value) if isinstance(value, str) else f'"{shown(value)}"'
    if type.kind in _TEMPORAL:
        message = f"date/time field value out of range: {quoted}"
        return Refused(f"{shown(value)} is out of range for {type}", postgres=message, sqlstate="22008")
    value_word = "" if type.kind in (Kind.REAL, Kind.DOUBLE) else "value "
    message = f"{value_word}{quoted} is out of range for type {_family(type)}"
    return Refused(f"{shown(value)} is out of range for {type}", postgres=message, sqlstate="22003")


def _name(value: object) -> str:
    return value.__class__.__name__


def _family(type: Type) -> str:
    """PostgreSQL's name without precision, as its messages have it."""
    return {Kind.NUMERIC: "numeric", Kind.TIMESTAMP: "timestamp", Kind.TIME: "time"}.get(type.kind, str(type))


def _from_numpy(value: Any, type: Type) -> object:
    """A numpy scalar as a Python value; nanoseconds only where nothing is lost."""
    if value.dtype.kind == "M":
        exact = value.astype("datetime64[us]")
        if exact != value:
            raise Refused(f"{value} is not a whole number of microseconds", sqlstate="22008")
        return exact.item()
    if value.dtype.kind == "m":
        exact = value.astype("timedelta64[us]")
        if exact != value:
            raise Refused(f"{value} is not a whole number of microseconds", sqlstate="22008")
        return exact.item()
    return value.item()


_INTEGER_RANGE: Final = {Kind.SMALLINT: 2**15, Kind.INTEGER: 2**31, Kind.BIGINT: 2**63}


def _to_integer(value: object, type: Type) -> int:
    number: int
    if isinstance(value, bool):
        raise syntax(value, type)
    if isinstance(value, int):
        number = value
    elif isinstance(value, str):
        if not re.fullmatch(r"\s*[+-]?[0-9]+\s*", value, re.ASCII) or len(value) > 100:
            raise syntax(value, type)
        number = int(value)
    elif isinstance(value, float | Decimal):
        if not math.isfinite(value) or value != int(value):
            raise Refused(f"{shown(value)} is not a whole number, which {type} needs", sqlstate="22P02")
        number = int(value)
    else:
        raise syntax(value, type)
    limit = _INTEGER_RANGE[type.kind]
    if not -limit <= number < limit:
        raise out_of_range(value, type)
    return number


_FLOAT_TEXT: Final = re.compile(
    r"\s*[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|nan|inf|infinity)\s*", re.ASCII | re.IGNORECASE
)

_NONZERO_TEXT: Final = re.compile(r"[^1-9eE]*[1-9]")


def _to_float(value: object, type: Type) -> float:
    number: float
    if isinstance(value, bool):
        raise syntax(value, type)
    if isinstance(value, float):
        number = value
    elif isinstance(value, int):
        if abs(value) > 2**1023:
            raise out_of_range(value, type)
        number = float(value)
        if int(number) != value:
            raise Refused(f"{shown(value)} is not exact as {type}", sqlstate="22003")
    elif isinstance(value, Decimal):
        number = float(value)
        if math.isinf(number) and not value.is_infinite():
            raise out_of_range(value, type)
    elif isinstance(value, str):
        if not _FLOAT_TEXT.fullmatch(value):
            raise syntax(value, type)
        number = float(value)
        if math.isinf(number) and "inf" not in value.lower():
            raise out_of_range(value, type)
    else:
        raise syntax(value, type)
    if type.kind is Kind.REAL and math.isfinite(number):
        try:
            number = struct.unpack("<f", struct.pack("<f", number))[0]
        except OverflowError:
            raise out_of_range(value, type) from None
    if number == 0 and isinstance(value, str) and _NONZERO_TEXT.match(value):
        raise out_of_range(value, type)
    return number


def _to_numeric(value: object, type: Type) -> Decimal:
    if isinstance(value, bool):
        raise syntax(value, type)
    if isinstance(value, str):
        if not re.fullmatch(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?\s*", value, re.ASCII):
            if value.strip().lower() in ("nan", "inf", "infinity", "-inf", "-infinity", "+inf", "+infinity"):
                raise Refused(f"{shown(value)} has no place in {type}: it holds numbers only", sqlstate="22003")
            raise syntax(value, type)
        number = Decimal(value.strip())
    elif isinstance(value, int | Decimal):
        number = Decimal(value)
    elif isinstance(value, float):
        number = Decimal(repr(value))  # the shortest text that gives this float: what its author wrote
    else:
        raise syntax(value, type)
    if not number.is_finite():
        raise Refused(f"{shown(value)} has no place in {type}: it holds numbers only", sqlstate="22003")
    return _fit_numeric(value, number, type)


def _fit_numeric(value: object, number: Decimal, type: Type) -> Decimal:
    """``number`` with exactly the type's scale; excess digits are refused, never rounded."""
    assert type.precision is not None, "a NUMERIC type has a precision"
    assert type.scale is not None, "a NUMERIC type has a scale"
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int), "NaN and infinity were refused"
    if not number:
        return Decimal((0, (0,), -type.scale))
    if number.adjusted() >= type.precision - type.scale:
        raise Refused(
            f"{shown(value)} is out of range for {type}",
            postgres=f"numeric field overflow: {shown(value)} is out of range for {type}",
            sqlstate="22003",
        )
    excess = -exponent - type.scale
    if excess > 0:
        if any(digits[-excess:]):
            message = f"{shown(value)} has more than the {type.scale} digits after the point that {type} holds"
            raise Refused(message, sqlstate="22003")
        return Decimal((sign, digits[:-excess], -type.scale))
    return Decimal((sign, digits + (0,) * -excess, -type.scale))


_TRUE_FALSE: Final[dict[str, bool]] = {
    **dict.fromkeys(("t", "tr", "tru", "true", "y", "ye", "yes", "on", "1"), True),
    **dict.fromkeys(("f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0"), False),
}


def _to_boolean(value: object, type: Type) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and (found := _TRUE_FALSE.get(value.strip().lower())) is not None:
        return found
    raise syntax(value, type)


def _to_text(value: object, type: Type) -> str:
    if not isinstance(value, str):
        raise syntax(value, type)
    return check_text(value, type)


def check_text(value: str, type: Type) -> str:
    """Refuse what text cannot hold: a zero byte, a lone surrogate, too many bytes or characters."""
    if "\0" in value:
        raise Refused("the text holds a zero byte (\\0), which text cannot hold", sqlstate="22021")
    try:
        length = len(value.encode())
    except UnicodeEncodeError as error:
        message = f"the text is not valid UTF-8: a lone surrogate at character {error.start + 1}"
        raise Refused(message, sqlstate="22021") from None
    check_bytes(length)
    if type.length is not None and len(value) > type.length:
        message = f"value too long for type {type}"
        plain = f"{shown(value)} has {len(value)} characters, {type} holds {type.length}"
        raise Refused(plain, postgres=message, sqlstate="22001")
    return value


def check_bytes(length: int) -> None:
    """Refuse one value above VALUE_BYTES_MAX."""
    if length > VALUE_BYTES_MAX:
        raise Refused(f"the value has {length:,} bytes, the limit is {VALUE_BYTES_MAX:,} per value", sqlstate="54000")


def _to_bytes(value: object, type: Type) -> bytes:
    if isinstance(value, str):
        data = _bytea_text(value, type)
    elif isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
    else:
        raise syntax(value, type)
    check_bytes(len(data))
    return data


def _bytea_text(value: str, type: Type) -> bytes:
    """PostgreSQL's hex form ``\\xDEADBEEF`` or its escape form (printable text, ``\\\\``, ``\\ooo``)."""
    if value.startswith("\\x"):
        try:
            return bytes.fromhex(value[2:])
        except ValueError:
            raise syntax(value, type) from None
    if re.fullmatch(r"(?:[^\\]|\\\\|\\[0-3][0-7]{2})*", value, re.DOTALL) is None:
        raise syntax(value, type)
    unescape: Callable[[re.Match[bytes]], bytes] = lambda m: b"\\" if m[1] == b"\\" else bytes([int(m[1], 8)])  # noqa: E731
    return re.sub(rb"\\(\\|[0-3][0-7]{2})", unescape, value.encode())


_DATE_TEXT: Final = re.compile(
    r"(\d{4,6})-(\d{1,2})-(\d{1,2})|(\d{4})(\d{2})(\d{2})|(\d{4})/(\d{1,2})/(\d{1,2})", re.ASCII
)
_TIME_TEXT: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?:\s*([AaPp][Mm]))?", re.ASCII)
_ZONE_TEXT: Final = re.compile(r"\s*(Z|z|[+-]\d{1,2}(?::?\d{2})?(?::\d{2})?|[A-Za-z][A-Za-z0-9_+/-]*)", re.ASCII)


def _to_date(value: object, type: Type) -> dt.date:
    if isinstance(value, dt.datetime):
        if value.tzinfo is not None or value.time() != dt.time():
            raise Refused(f"{shown(value)} has a time of day or a zone, which {type} cannot hold", sqlstate="22007")
        return value.date()
    if isinstance(value, dt.date):
        return value
    if isinstance(value, str):
        return _timestamp_text(value, type)[0].date()
    raise syntax(value, type)


def _to_time(value: object, type: Type) -> dt.time:
    if isinstance(value, dt.time):
        if value.tzinfo is not None:
            raise Refused(f"{shown(value)} has a time zone, which {type} cannot hold", sqlstate="22007")
        return value
    if isinstance(value, str) and (match := _TIME_TEXT.fullmatch(value.strip())):
        return (dt.datetime(1970, 1, 1) + _time_of_day(match, value, type)).time()
    raise syntax(value, type)


def _to_timestamp(value: object, type: Type) -> dt.datetime:
    if isinstance(value, dt.datetime):
        _check_nanoseconds(value)
        if value.tzinfo is not None:
            message = f"{shown(value)} has a time zone, which {type} cannot hold: remove it, or use TIMESTAMPTZ"
            raise Refused(message, sqlstate="22007")
        return value
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day)
    if isinstance(value, str):
        return _timestamp_text(value, type)[0]
    raise syntax(value, type)


def _to_timestamptz(value: object, type: Type) -> dt.datetime:
    """Aware datetimes of any zone, as UTC; a naive one is taken as UTC."""
    if isinstance(value, str):
        naive, zone = _timestamp_text(value, type)
        value = naive.replace(tzinfo=zone or UTC)
    elif isinstance(value, dt.datetime):
        _check_nanoseconds(value)
    elif isinstance(value, dt.date):
        value = dt.datetime(value.year, value.month, value.day, tzinfo=UTC)
    else:
        raise syntax(value, type)
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise out_of_range(value, type) from None


def _check_nanoseconds(value: dt.datetime) -> None:
    """pandas' Timestamp is a datetime that can hold nanoseconds."""
    if getattr(value, "nanosecond", 0):
        raise Refused(f"{value} is not a whole number of microseconds", sqlstate="22008")


def _timestamp_text(text: str, type: Type) -> tuple[dt.datetime, dt.tzinfo | None]:
    """ISO text ``2024-01-31[ T]10:20:30.5+02`` as a naive datetime and its zone, if one is given."""
    rest = text.strip()
    if rest.lower() == "epoch":
        return EPOCH, UTC
    match = _DATE_TEXT.match(rest)
    if match is None:
        raise syntax(text, type)
    year, month, day = (int(part) for part in match.groups() if part is not None)
    try:
        moment = dt.datetime(year, month, day)
    except ValueError:
        raise out_of_range(text, type) from None
    rest = re.sub(r"^(?:[Tt]|\s+)", "", rest[match.end() :])
    if match := _TIME_TEXT.match(rest):
        try:
            moment += _time_of_day(match, text, type)
        except OverflowError:
            raise out_of_range(text, type) from None
        rest = rest[match.end() :]
    zone = None
    if rest and (match := _ZONE_TEXT.fullmatch(rest)):
        zone, rest = _zone(match[1], text, type), ""
    if rest:
        raise syntax(text, type)
    return moment, zone


def _time_of_day(match: re.Match[str], text: str, type: Type) -> dt.timedelta:
    hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
    if match[5]:
        if not 1 <= hour <= 12:
            raise out_of_range(text, type)
        hour = hour % 12 + (12 if match[5].lower() == "pm" else 0)
    nanoseconds = int((match[4] or "").ljust(9, "0"))
    microseconds = (nanoseconds + 500) // 1000
    span = dt.timedelta(hours=hour, minutes=minute, seconds=second, microseconds=microseconds)
    if minute > 59 or second > 60 or span > dt.timedelta(days=1) or (span.days and type.kind is Kind.TIME):
        raise out_of_range(text, type)
    return span


def _zone(name: str, text: str, type: Type) -> dt.tzinfo:
    if name in ("Z", "z") or name.upper() in ("UTC", "GMT"):
        return UTC
    if name[0] in "+-":
        digits = name[1:].replace(":", "").ljust(2, "0") if len(name) > 2 else "0" + name[1:]
        offset = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:4] or 0), seconds=int(digits[4:6] or 0))
        if offset >= dt.timedelta(hours=16):
            raise out_of_range(text, type)
        return dt.timezone(-offset if name[0] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        message = f'time zone "{name}" not recognized'
        raise Refused(f"{shown(text)}: {message}", postgres=message, sqlstate="22023") from None


def _to_interval(value: Any, type: Type) -> pa.MonthDayNano:
    if isinstance(value, pa.MonthDayNano):
        if value.nanoseconds % 1000:
            raise Refused(f"{shown(value)} is not a whole number of microseconds", sqlstate="22008")
        return value
    if isinstance(value, dt.timedelta):
        if getattr(value, "nanoseconds", 0):  # pandas
            raise Refused(f"{shown(value)} is not a whole number of microseconds", sqlstate="22008")
        return pa.MonthDayNano([0, value.days, (value.seconds * 1_000_000 + value.microseconds) * 1000])
    if isinstance(value, str):
        try:
            months, days, microseconds = parse_interval(value)
        except ValueError:
            raise syntax(value, type) from None
        limit = 2**31
        if not (-limit <= months < limit and -limit <= days < limit and abs(microseconds) < 2**63 // 1000):
            message = f"interval field value out of range: {shown(value)}"
            raise Refused(f"{shown(value)} is out of range for interval", postgres=message, sqlstate="22015")
        return pa.MonthDayNano([months, days, microseconds * 1000])
    raise syntax(value, type)


def _to_uuid(value: object, type: Type) -> uuid.UUID:
    if isinstance(value, uuid.UUID):
        return value
    if isinstance(value, bytes) and len(value) == 16:
        return uuid.UUID(bytes=value)
    if isinstance(value, str):
        digits = value.strip().removeprefix("{").removesuffix("}").replace("-", "")
        if re.fullmatch(r"[0-9a-fA-F]{32}", digits):
            return uuid.UUID(hex=digits)
    raise syntax(value, type)


def _to_json(value: object, type: Type) -> str:
    """Text is JSON text and stays as it is written; dicts, lists, numbers and truth values are dumped."""
    if isinstance(value, str):
        try:
            json.loads(value, parse_constant=_no_constant)
        except ValueError as error:
            message = f"invalid input syntax for type json: {error}"
            raise Refused(f"{shown(value)} is not valid JSON: {error}", postgres=message) from None
        except RecursionError:
            raise _too_deep(value) from None
        return check_text(value, TEXT)
    if isinstance(value, dict | list | tuple | int | float):
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise Refused(f"{shown(value)} cannot be written as JSON: {error}") from None
        return check_text(text, TEXT)
    raise syntax(value, type)


def _to_jsonb(value: object, type: Type) -> str:
    """JSON in PostgreSQL's one text of it."""
    try:
        return documents.canonical(_to_json(value, type))
    except documents.Unwritable as error:
        raise Refused(f"{shown(value)} cannot be JSONB: {error}", sqlstate="22P05") from None
    except RecursionError:
        raise _too_deep(value) from None


def _too_deep(value: object) -> Refused:
    return Refused(f"{shown(value)} is nested too deeply for JSON", sqlstate="54000")


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _to_unknown(value: object, type: Type) -> str:
    return check_text(value if isinstance(value, str) else str(value), type)


_TEMPORAL: Final = frozenset((Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.INTERVAL))

_CONVERTERS: Final[dict[Kind, Callable[[Any, Type], Any]]] = {
    Kind.BOOLEAN: _to_boolean,
    Kind.SMALLINT: _to_integer,
    Kind.INTEGER: _to_integer,
    Kind.BIGINT: _to_integer,
    Kind.REAL: _to_float,
    Kind.DOUBLE: _to_float,
    Kind.NUMERIC: _to_numeric,
    Kind.TEXT: _to_text,
    Kind.VARCHAR: _to_text,
    Kind.BYTEA: _to_bytes,
    Kind.DATE: _to_date,
    Kind.TIME: _to_time,
    Kind.TIMESTAMP: _to_timestamp,
    Kind.TIMESTAMPTZ: _to_timestamptz,
    Kind.INTERVAL: _to_interval,
    Kind.UUID: _to_uuid,
    Kind.JSON: _to_json,
    Kind.JSONB: _to_jsonb,
    Kind.UNKNOWN: _to_unknown,
}

_NATURAL: Final[tuple[tuple[Any, Type], ...]] = (
    (float, DOUBLE),
    (str, UNKNOWN),
    ((bytes, bytearray, memoryview), BYTEA),
    (dt.date, DATE),
    (dt.time, TIME),
    ((dt.timedelta, pa.MonthDayNano), INTERVAL),
    (uuid.UUID, UUID),
    (dict, JSON),
)
