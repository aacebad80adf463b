"""Values as text, as PostgreSQL prints them.

One column at a time, from Arrow: ``format_column`` gives the text of each value, None for NULL. Dates and times come
from Arrow's own formatter and not from Python's ``datetime``, which ends at the year 9999.

    boolean          t, f                          timestamp        2017-01-01 11:53:26.5
    real, double     0.1, 1e+20, NaN, Infinity     timestamptz      2017-01-01 11:53:26+00 (always in UTC)
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

import numpy as np
import pyarrow as pa

from ..base.intervals import interval_text
from ..base.types import Kind, Type

_DOUBLE_DIGITS: Final = 15
_REAL_DIGITS: Final = 6


def format_column(column: pa.Array | pa.ChunkedArray, type: Type) -> list[str | None]:
    """The text of every value of ``column``; None stands for NULL."""
    match type.kind:
        case Kind.SMALLINT | Kind.INTEGER | Kind.BIGINT:
            return _each(column, str)
        case Kind.BOOLEAN:
            return _each(column, lambda value: "t" if value else "f")
        case Kind.DOUBLE:
            return _each(column, format_double)
        case Kind.REAL:
            return _each(column, format_real)
        case Kind.NUMERIC:
            return _each(column, lambda value: format(value, "f"))
        case Kind.TEXT | Kind.VARCHAR | Kind.JSON | Kind.UUID | Kind.UNKNOWN:
            return _each(column, str)
        case Kind.BYTEA:
            return _each(column, lambda value: f"\\x{value.hex()}")
        case Kind.DATE:
            return _each(column.cast(pa.utf8()), _era)
        case Kind.TIME:
            return _each(column.cast(pa.utf8()), _short_fraction)
        case Kind.TIMESTAMP:
            return _each(column.cast(pa.utf8()), lambda text: _era(_short_fraction(text)))
        case Kind.TIMESTAMPTZ:
            local = column.cast(pa.timestamp("us")).cast(pa.utf8())
            return _each(local, lambda text: _era(_short_fraction(text) + "+00"))
        case Kind.INTERVAL:
            return _each(column, lambda value: interval_text(value.months, value.days, value.nanoseconds // 1000))
        case Kind.ARRAY:
            assert type.element is not None, "an array type has an element type"
            element = type.element
            return [
                None
                if value is None
                else _format_array(format_column(pa.array(value, element.arrow), element), element)
                for value in column.to_pylist()
            ]
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


def is_right_aligned(type: Type) -> bool:
    """Whether tables show values of this type at the right: numbers."""
    return type.is_numeric


def _each(column: pa.Array | pa.ChunkedArray, text: Callable[[Any], str]) -> list[str | None]:
    return [None if value is None else text(value) for value in column.to_pylist()]


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


def _short_fraction(text: str) -> str:
    """Without the zeros at the end of the fraction of a second, and without its point where nothing is left."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def _era(text: str) -> str:
    """Years before 1 as PostgreSQL counts them: year 0 is 1 BC."""
    match = re.match(r"-?\d+", text)
    assert match is not None, f"a date begins with its year: {text!r}"
    year = int(match[0])
    if year > 0:
        return text
    return f"{1 - year:04}{text[match.end() :]} BC"


def _format_array(elements: list[str | None], type: Type) -> str:
    quote = str if type.kind is Kind.ARRAY else _quote_element
    return "{" + ",".join("NULL" if element is None else quote(element) for element in elements) + "}"


def _quote_element(text: str) -> str:
    """An array element, in double quotes where PostgreSQL's reader would misread it bare."""
    if text and text.upper() != "NULL" and not re.search(r'[\s{},"\\]', text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
