"""DuckDB's error messages as PostgreSQL's, with their SQLSTATE.

Two sorts come: the texts that our templates raise by ``error('…')``, which are PostgreSQL's already, and DuckDB's own
for what it checks by itself (overflow, division by zero, casts). What is in neither table is not the user's fault:
``translate_error`` gives None, and the executor decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ....base.errors import Invalid

_INTEGERS: Final = {"INT16": "smallint", "INT32": "integer", "INT64": "bigint"}


def _overflow(match: re.Match[str]) -> tuple[str, str]:
    name = _INTEGERS.get(match["type"])
    return (f"{name} out of range" if name else "numeric field overflow"), "22003"


def _out_of_range(match: re.Match[str]) -> tuple[str, str]:
    name = _INTEGERS.get(match["type"].split("(")[0])
    return (f"{name} out of range" if name else "numeric field overflow"), "22003"


def _fixed(message: str, sqlstate: str) -> Callable[[re.Match[str]], tuple[str, str]]:
    return lambda match: (match.expand(message), sqlstate)


_DUCKDB: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], tuple[str, str]]], ...]] = tuple(
    (re.compile(pattern, re.DOTALL), translate)
    for pattern, translate in (
        (r"Division by zero in expression", _fixed("division by zero", "22012")),
        (r"Overflow in \w+ of (?P<type>\w+)", _overflow),
        (r"Overflow in division of", _fixed("bigint out of range", "22003")),
        (r"Overflow in negation of \w+ for (?P<type>\w+)|Overflow on .*?(?P<other>INT\d+)", lambda m: _overflow(m)),
        (r"can't be cast .*out of range for the destination type (?P<type>\w+)", _out_of_range),
        (r'Casting value ".*?" to type (?P<type>\w+).* failed: value is out of range', _out_of_range),
        (r"Could not cast value .* to DECIMAL", _fixed("numeric field overflow", "22003")),
        (r"Could not convert string ['\"](.*?)['\"] to (?P<type>INT\d+)", None),
        (r'invalid (?P<what>date|timestamp) field format: "(.*?)"', _fixed(r'invalid input syntax for type \1: "\2"', "22007")),
        (r'(?:date|timestamp|time) field value out of range: "(.*?)"', _fixed(r'date/time field value out of range: "\1"', "22008")),
        (r"(?:Date|Timestamp|TIMESTAMP|DATE)\S* (?:\w+ )*out of range", _fixed("timestamp out of range", "22008")),
        (r"Like pattern must not end with escape", _fixed("LIKE pattern must not end with escape character", "22025")),
        (r"Invalid escape string", _fixed("invalid escape string", "22025")),
        (r"Unknown TimeZone '(.*?)'", _fixed(r'time zone "\1" not recognized', "22023")),
        (r"(?:Malformed JSON|Invalid JSON)", _fixed("invalid input syntax for type json", "22P02")),
        (r"Could not convert string '(.*?)' to (?:UUID|INT128)", _fixed(r'invalid input syntax for type uuid: "\1"', "22P02")),
        (r"Could not convert string '(.*?)' to INTERVAL", _fixed(r'invalid input syntax for type interval: "\1"', "22007")),
        (r'Could not convert string "(.*?)" to DECIMAL', _fixed("numeric field overflow", "22003")),
        (r"More than one row returned by a subquery", _fixed("more than one row returned by a subquery used as an expression", "21000")),
    )
    if translate is not None
)

# PostgreSQL's own sentences, raised by the templates.
_OURS: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern), sqlstate)
    for pattern, sqlstate in (
        (r"division by zero", "22012"),
        (r"(?:smallint|integer|bigint|value|timestamp|interval|date) out of range.*", "22003"),
        (r"numeric field overflow.*", "22003"),
        (r"invalid input syntax for type (?:date|time|timestamp|interval).*", "22007"),
        (r"invalid input syntax for type .*", "22P02"),
        (r"value too long for type .*", "22001"),
        (r"zero raised to a negative power is undefined", "2201F"),
        (r"a negative number raised to a non-integer power yields a complex result", "2201F"),
        (r"cannot take square root of a negative number", "2201F"),
        (r"cannot take logarithm of (?:zero|a negative number)", "2201E"),
        (r"input is out of range", "22003"),
        (r"negative substring length not allowed", "22011"),
        (r"field position must not be zero", "22023"),
        (r"percentile value .* is not between 0 and 1", "22003"),
        (r"(?:null character not permitted|requested character .*|character number must be positive)", "54000"),
        (r"time_bucket: .*", "22023"),
        (r"lower bound .*|count must be .*", "2201G"),
        (r"invalid (?:escape string|regular expression).*", "2201B"),
    )
)


def translate_error(message: str) -> Invalid | None:
    """PostgreSQL's error for a DuckDB message, or None if it is none that a user's data can cause."""
    line = message.split("\n")[0]
    plain = re.sub(r"^[A-Z][A-Za-z -]* Error: ", "", line)
    for pattern, sqlstate in _OURS:
        if match := pattern.match(plain):
            return Invalid(match.group(), sqlstate=sqlstate)
    for pattern, translate in _DUCKDB:
        if match := pattern.search(plain):
            text, sqlstate = translate(match)
            return Invalid(text, sqlstate=sqlstate)
    return None
