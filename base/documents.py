"""JSONB: JSON in the one text that PostgreSQL prints for it.

Keys by length, then by bytes, each once (the last one counts); one blank after every colon and comma; numbers as
NUMERIC prints them, with their digits after the point. Two equal documents have one text, but for numbers that differ
in trailing zeros alone (``1`` and ``1.0``).
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

from .limits import NUMERIC_EXPONENT_MAX

_escape: Final = json.encoder.encode_basestring


class Unwritable(ValueError):
    """What JSONB cannot hold: a zero byte, a lone surrogate, a number beyond any NUMERIC."""


def read(text: str) -> Any:
    """The document with its numbers exact. Raises ValueError, and RecursionError for one that is too deep."""
    return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def canonical(text: str) -> str:
    """JSON text as JSONB's text. Raises ValueError."""
    return write(read(text))


def write(value: Any) -> str:
    """JSONB's text of a document."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
                raise Unwritable("\\u0000 and lone surrogates cannot be converted to text")
            return _escape(value)
        case dict():
            keys = sorted(
                value, key=lambda key: (len(key.encode("utf-8", "surrogatepass")), key.encode("utf-8", "surrogatepass"))
            )
            return "{" + ", ".join(f"{write(key)}: {write(value[key])}" for key in keys) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(write, value)) + "]"
        case Decimal():
            if abs(value.adjusted()) > NUMERIC_EXPONENT_MAX:
                raise Unwritable("value overflows numeric format")
            plain = format(value, "f")
            return plain.removeprefix("-") if not value else plain
        case _:
            return str(value)
