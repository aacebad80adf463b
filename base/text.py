"""Values as text, as PostgreSQL prints them.

One column at a time, from Arrow: ``text_column`` gives the text of each value, NULL for NULL; ``format_column`` the
same as a list. Arrow writes whole columns where it writes what PostgreSQL does; the values that it writes otherwise are
written one by one. Dates and times come from Arrow's own formatter and not from Python's ``datetime``, which ends at
the year 9999.

    boolean          t, f                          timestamp        2017-01-01 11:53:26.5
    real, double     0.1, 1e+20, NaN, Infinity     timestamptz      2017-01-01 11:53:26+00 (in UTC unless told)
    numeric          all digits of its scale       date, time       2017-01-01, 11:53:26
    bytea            \\x00ff                        interval         1 year 2 mons 3 days 04:05:06
    array            {1,2,NULL,"a b"}              uuid, json       as they are

Not here: PostgreSQL's settings that change the output (``datestyle``, ``intervalstyle``, ``bytea_output``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final, assert_never
from unicodedata import category, east_asian_width

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .intervals import interval_text
from .types import Kind, Type

_DOUBLE_DIGITS: Final = 15
_DOUBLE_PLAIN: Final = 1e10
"""Arrow writes doubles below this without an exponent; PostgreSQL those below 1e15."""
_REAL_DIGITS: Final = 6


def format_column(column: pa.Array | pa.ChunkedArray, type: Type, *, zone: str = "UTC") -> list[str | None]:
    """The text of every value of ``column``; None stands for NULL. ``zone``: see ``text_column``."""
    if isinstance(column, pa.ChunkedArray):
        return [text for chunk in column.chunks for text in format_column(chunk, type, zone=zone)]
    return text_column(column, type, zone=zone).to_pylist()


def text_column(column: pa.Array, type: Type, *, zone: str = "UTC") -> pa.Array:
    """The text of every value of ``column``, as utf8; moments by the clock of a time zone."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    match type.kind:
        case Kind.SMALLINT | Kind.INTEGER | Kind.BIGINT:
            return column.cast(pa.utf8())
        case Kind.BOOLEAN:
            return pc.if_else(column, "t", "f")
        case Kind.DOUBLE:
            size = pc.abs(column)
            plain = pc.and_(pc.greater_equal(size, 1e-4), pc.less(size, _DOUBLE_PLAIN))
            return _mended(column.cast(pa.utf8()), column, pc.invert(plain), format_double)
        case Kind.REAL:
            return _each(column, format_real)
        case Kind.NUMERIC:
            text = column.cast(pa.utf8())
            return _mended(text, column, pc.match_substring(text, "E"), lambda value: format(value, "f"))
        case Kind.TEXT | Kind.VARCHAR | Kind.JSON | Kind.JSONB | Kind.UNKNOWN:
            storage = column.storage if isinstance(column, pa.ExtensionArray) else column
            return storage.cast(pa.utf8())
        case Kind.UUID:
            return _each(column, str)
        case Kind.BYTEA:
            return _each(column, lambda value: f"\\x{value.hex()}")
        case Kind.DATE:
            return _in_our_era(column.cast(pa.utf8()))
        case Kind.TIME:
            return _short_fractions(column.cast(pa.utf8()))
        case Kind.TIMESTAMP:
            return _in_our_era(_short_fractions(column.cast(pa.timestamp("us")).cast(pa.utf8())))
        case Kind.TIMESTAMPTZ:
            local = column.cast(pa.timestamp("us"))
            if zone != "UTC":
                local = pc.local_timestamp(column.cast(pa.timestamp("us", zone)))
            offset = "+00" if zone == "UTC" else _offsets(local, column)
            return _in_our_era(pc.binary_join_element_wise(_short_fractions(local.cast(pa.utf8())), offset, ""))
        case Kind.INTERVAL:
            return _each(column, lambda value: interval_text(value.months, value.days, value.nanoseconds // 1000))
        case Kind.ARRAY:
            assert type.element is not None, "an array type has an element type"
            quoted = [
                None if text is None else _quote_element(text)
                for text in format_column(column.flatten(), type.element, zone=zone)
            ]
            return per_list(["NULL" if text is None else text for text in quoted], column, "{", "}")
        case _:
            assert_never(type.kind)


def format_double(value: float) -> str:
    """The shortest text that reads back as the same double; exponents below 1e-4 and from 1e+15 on."""
    text = repr(value)
    if len(text) <= _DOUBLE_DIGITS and "e" not in text and "n" not in text:
        return text.removesuffix(".0")  # Python and PostgreSQL differ from here on only
    return _format_float(value, text, _DOUBLE_DIGITS)


def format_real(value: float) -> str:
    """The shortest text that reads back as the same single-precision number; exponents from 1e+06 on."""
    return _format_float(value, str(np.float32(value)), _REAL_DIGITS)


def text_width(text: str) -> int:
    """How many columns of a terminal ``text`` takes: wide characters two, combining and invisible ones none."""
    if text.isascii():
        return len(text)
    return sum(0 if category(c) in _NO_WIDTH else 2 if east_asian_width(c) in "WF" else 1 for c in text)


_NO_WIDTH: Final = ("Mn", "Me", "Cf")


def is_right_aligned(type: Type) -> bool:
    """Whether tables show values of this type at the right: numbers."""
    return type.is_numeric


def _each(column: pa.Array, text: Callable[[Any], str]) -> pa.Array:
    return pa.array([None if value is None else text(value) for value in column.to_pylist()], pa.utf8())


def _mended(texts: pa.Array, column: pa.Array, wrong: pa.Array, text: Callable[[Any], str]) -> pa.Array:
    """``texts``, where ``wrong`` is true each value by itself."""
    wrong = pc.fill_null(wrong, False)
    if not pc.any(wrong).as_py():
        return texts
    return pc.replace_with_mask(texts, wrong, _each(column.filter(wrong), text))


def _format_float(value: float, shortest: str, digits_max: int) -> str:
    """Lay out the digits of ``shortest`` as PostgreSQL does: fixed while -4 <= exponent < ``digits_max``."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    mantissa, _, exponent_text = shortest.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = int(exponent_text or 0) + len(whole) - 1
    if whole == "0":
        exponent -= len(whole + fraction) - len(digits)
    digits = digits.rstrip("0")
    if not digits:
        return f"{sign}0"
    if -4 <= exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    if 0 <= exponent < digits_max:
        whole, fraction = digits[: exponent + 1].ljust(exponent + 1, "0"), digits[exponent + 1 :]
        return f"{sign}{whole}.{fraction}" if fraction else sign + whole
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{exponent:+03d}"


def _short_fractions(texts: pa.Array) -> pa.Array:
    """Without the zeros at the end of the fraction of a second, and without its point where nothing is left."""
    return pc.utf8_rtrim(pc.utf8_rtrim(texts, "0"), ".") if pc.any(pc.match_substring(texts, ".")).as_py() else texts


def _offsets(local: pa.Array, utc: pa.Array) -> pa.Array:
    """How far a clock is ahead of UTC: ``+00``, ``-03:30``."""
    microseconds = pc.subtract(local.cast(pa.int64()), utc.cast(pa.timestamp("us", "UTC")).cast(pa.int64()))
    ahead = pc.divide(microseconds, 1_000_000).dictionary_encode()
    return pa.DictionaryArray.from_arrays(ahead.indices, _each(ahead.dictionary, _offset)).cast(pa.utf8())


def _offset(seconds: int) -> str:
    minutes, second = divmod(abs(seconds), 60)
    hour, minute = divmod(minutes, 60)
    text = f"{'-' if seconds < 0 else '+'}{hour:02}"
    return text + f":{minute:02}" * bool(minute or second) + f":{second:02}" * bool(second)


def _in_our_era(texts: pa.Array) -> pa.Array:
    """Years before 1 as PostgreSQL counts them."""
    return _mended(texts, texts, pc.match_substring_regex(texts, r"^(-|0000)"), _era)


def _era(text: str) -> str:
    """Years before 1 as PostgreSQL counts them: year 0 is 1 BC."""
    match = re.match(r"-?\d+", text)
    assert match is not None, f"a date begins with its year: {text!r}"
    year = int(match[0])
    if year > 0:
        return text
    return f"{1 - year:04}{text[match.end() :]} BC"


def per_list(texts: list[str], column: pa.Array, opening: str, closing: str) -> pa.Array:
    """The texts of the items of a column of lists, one after another, as a text per list; NULL for NULL."""
    lists: list[str | None] = []
    at = 0
    for length in pc.list_value_length(column).to_pylist():
        lists.append(None if length is None else opening + ",".join(texts[at : at + length]) + closing)
        at += length or 0
    return pa.array(lists, pa.utf8())


def _quote_element(text: str) -> str:
    """An array element, in double quotes where PostgreSQL's reader would misread it bare."""
    if text and text.upper() != "NULL" and not re.search(r'[\s{},"\\]', text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
