"""DuckDB's error messages as PostgreSQL's, with their SQLSTATE.

Two sorts come: the texts that our templates raise by ``error('…')``, which are PostgreSQL's already, and DuckDB's own
for what it checks by itself (overflow, division by zero, casts). What is in neither table is not the user's fault:
``translate_error`` gives None, and the executor decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ....base.errors import Invalid, LimitExceeded

_INTEGERS: Final = {"INT16": "smallint", "INT32": "integer", "INT64": "bigint"}

_Translate = Callable[[re.Match[str]], tuple[str, str]]


def _overflow(match: re.Match[str]) -> tuple[str, str]:
    name = _INTEGERS.get(match["type"].split("(")[0])
    return (f"{name} out of range" if name else "numeric field overflow"), "22003"


def _text_overflow(match: re.Match[str]) -> tuple[str, str]:
    """The digits were checked before, so the text is a number that is too large."""
    return f'value "{match["text"]}" is out of range for type {_INTEGERS[match["type"]]}', "22003"


def _fixed(message: str, sqlstate: str) -> _Translate:
    return lambda match: (match.expand(message), sqlstate)


def _date(match: re.Match[str]) -> tuple[str, str]:
    year, month, day = (int(part) for part in match.groups())
    return f"date field value out of range: {year}-{month:02}-{day:02}", "22008"


def _time(match: re.Match[str]) -> tuple[str, str]:
    hour, minute, second = match.groups()
    return f"time field value out of range: {int(hour)}:{minute}:{float(second):02g}", "22008"


def _abs_or_divide(match: re.Match[str]) -> tuple[str, str]:
    """The one value without a positive counterpart tells its type."""
    names = {"-32768": "smallint", "-2147483648": "integer"}
    return f"{names.get(match['value'] or match['abs'], 'bigint')} out of range", "22003"


_ONE_ROW: Final = "more than one row returned by a subquery used as an expression"

_DUCKDB: Final[tuple[tuple[str, _Translate], ...]] = (
    (r"Division by zero in expression", _fixed("division by zero", "22012")),
    (r"Overflow in division of (?P<value>-\d+)|Overflow on abs\((?P<abs>-\d+)\)", _abs_or_divide),
    (r"Overflow in \w+ of (?P<type>\w+)", _overflow),
    (r"Overflow in HUGEINT|^Value out of range$", _fixed("numeric field overflow", "22003")),
    (r"can't be cast .*out of range for the destination type (?P<type>\w+)", _overflow),
    (r'Casting value ".*?" to type (?P<type>\w+).* failed: value is out of range', _overflow),
    (r"Failed to cast decimal value \S+ to type (?P<type>\w+)", _overflow),
    (r"Could not cast value .* to DECIMAL", _fixed("numeric field overflow", "22003")),
    (r'Could not convert string ["\'].*?["\'] to DECIMAL', _fixed("numeric field overflow", "22003")),
    (r"Could not convert string '(?P<text>.*?)' to (?P<type>INT(?:16|32|64))\b", _text_overflow),
    (r"Could not convert string '(.*?)' to UUID", _fixed(r'invalid input syntax for type uuid: "\1"', "22P02")),
    (r"Could not convert string '(.*?)' to INTERVAL", _fixed(r'invalid input syntax for type interval: "\1"', "22007")),
    (
        r'invalid (date|timestamp|time) field format: "(.*?)"',
        _fixed(r'invalid input syntax for type \1: "\2"', "22007"),
    ),
    (
        r'(?:date|timestamp|time) field value out of range: "(.*?)"',
        _fixed(r'date/time field value out of range: "\1"', "22008"),
    ),
    (r"Date out of range: (\d+)-(\d+)-(\d+)", _date),
    (r"Time out of range: (\d+):(\d+):([\d.]+)", _time),
    (r"Date out of range", _fixed("date out of range", "22008")),
    (
        r"Date and time not in timestamp range|[Tt]imestamp .*out of range|Epoch seconds out of range",
        _fixed("timestamp out of range", "22008"),
    ),
    (r"Like pattern must not end with escape", _fixed("LIKE pattern must not end with escape character", "22025")),
    (r"Invalid escape string", _fixed("invalid escape string", "22025")),
    (r"Unknown TimeZone '(.*?)'", _fixed(r'time zone "\1" not recognized', "22023")),
    (r"(?:Malformed|Invalid) JSON", _fixed("invalid input syntax for type json", "22P02")),
    (r"Invalid input for hex digit: (.)", _fixed(r'invalid hexadecimal digit: "\1"', "22023")),
    (
        r"Could not parse string \"(.*?)\" according to format specifier \"(.*?)\"",
        _fixed(r'invalid value "\1" for the pattern', "22007"),
    ),
    (r"factorial of a negative number is undefined", _fixed("factorial of a negative number is undefined", "22003")),
    (
        r"(?:missing|invalid|unexpected|no argument|bad) \S*(?: \S+)*: .*",
        _fixed(r"invalid regular expression: \g<0>", "2201B"),
    ),
    (r"More than one row returned by a subquery", _fixed(_ONE_ROW, "21000")),
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
        (r"field name must not be null", "22023"),
        (r"stride must be greater than zero", "22008"),
        (r"timestamps cannot be binned into intervals containing months or years", "0A000"),
        (r"\".*\" is out of range for type .*", "22003"),
        (r"lower bound .*|count must be .*", "2201G"),
        (r"invalid (?:escape string|regular expression).*", "2201B"),
    )
)


def translate_error(message: str) -> Invalid | LimitExceeded | None:
    """PostgreSQL's error for a DuckDB message, or None if it is none that a user's data can cause."""
    if match := re.search(r"\[WEFT (?P<state>\w{5})\] (?P<message>.*)", message):  # from expression.callback
        kind = LimitExceeded if match["state"].startswith("54") else Invalid
        return kind(match["message"], sqlstate=match["state"])
    line = message.split("\n")[0]
    plain = re.sub(r"^[A-Z][A-Za-z -]* Error: ", "", line)
    for pattern, sqlstate in _OURS:
        if match := pattern.match(plain):
            return Invalid(match.group(), sqlstate=sqlstate)
    for pattern, translate in _DUCKDB:
        if match := re.search(pattern, plain, re.DOTALL):
            text, sqlstate = translate(match)
            return Invalid(text, sqlstate=sqlstate)
    return None
