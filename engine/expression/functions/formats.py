"""to_char, to_date, to_timestamp: PostgreSQL's patterns.

A constant pattern that DuckDB can say by itself becomes one of its ``strftime`` patterns or a ``format`` when the query
is bound; any other is computed in Python (``number_format``, ``time_format``).

    to_char(at, 'YYYY-MM-DD HH24:MI:SS.MS')     →  strftime(at, '%Y-%m-%d %H:%M:%S.%g')
    to_char(1234.5, 'FM999,990.00')             →  a DuckDB format with two digits, grouped
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from ....base.errors import Invalid
from ....base.types import numeric
from .duck import quote, utc_clock, utc_moment
from .model import Function, Rendering, function, in_python, overload
from .number_format import char_of_float, char_of_number, digits_read, number_of_char
from .time_format import char_of_interval, char_of_moment

# The parts that DuckDB's strftime writes in the same way; longest match first. With FM in front: without zeros.
_DIRECTIVES: Final[dict[str, str]] = {
    "YYYY": "%Y", "HH24": "%H", "HH12": "%I", "IYYY": "%G", "DDD": "%j", "Mon": "%b", "DD": "%d", "Dy": "%a",
    "HH": "%I", "IW": "%V", "MI": "%M", "MM": "%m", "MS": "%g", "SS": "%S", "US": "%f", "YY": "%y", "ID": "%u",
    "AM": "%p", "PM": "%p",
}  # fmt: skip
_TRIMMED: Final[dict[str, str]] = {
    "DD": "%-d", "MM": "%-m", "HH24": "%-H", "HH12": "%-I", "HH": "%-I", "MI": "%-M", "SS": "%-S", "DDD": "%-j",
    "Month": "%B", "Day": "%A",
}  # fmt: skip
_CASED: Final = frozenset(("Mon", "Dy", "Month", "Day"))
_TOKEN: Final = re.compile(
    r'"(?P<text>[^"]*)"|(?P<fm>FM|fm)?(?P<part>YYYY|yyyy|HH24|hh24|HH12|hh12|IYYY|iyyy|Month|DDD|ddd|Mon|Day|DD|dd|Dy|HH|hh'
    r"|IW|iw|MI|mi|MM|mm|MS|ms|(?:SS|ss)(?![Ss])|US|us|YY|yy|(?:ID|id)(?![Dd])|AM|PM)(?P<suffix>TH|th)?|(?P<other>[^A-Za-z\"\\])",
)


def _directives(pattern: str) -> str | None:
    """A strftime pattern that means the same; None where there is none."""
    pieces: list[str] = []
    place = 0
    while place < len(pattern):
        match = _TOKEN.match(pattern, place)
        if match is None or match["suffix"]:
            return None
        place = match.end()
        if match["part"] is None:
            literal = match["text"] if match["text"] is not None else match["other"]
            pieces.append(literal.replace("%", "%%"))
            continue
        part = match["part"] if match["part"] in _CASED else match["part"].upper()
        piece = _TRIMMED.get(part) if match["fm"] is not None else None
        piece = piece or _DIRECTIVES.get(part)
        if piece is None or (match["fm"] is not None and part not in _TRIMMED):
            return None
        pieces.append(piece)
    return "".join(pieces)


def _unsupported(name: str, pattern: str, part: str) -> Invalid:
    message = f'{name}: the pattern "{pattern}" is not supported at "{part}"'
    return Invalid(message, hint=f"Supported are {', '.join(_READ)} and punctuation.", sqlstate="0A000")


def _char_of_moment(source: str) -> Callable[[Rendering], str]:
    """The common patterns by strftime, the others by ``time_format``."""

    def render(r: Rendering) -> str:
        pattern = r.literals.get(1)
        directives = _directives(pattern) if isinstance(pattern, str) else None
        if directives is None:
            return in_python(r)
        moment = utc_clock(r[0]) if source == "timestamptz" else r[0]
        return f"strftime({moment}, {quote(directives)})"

    return render


# -- numbers ---------------------------------------------------------------------------------------------------------

_NUMBER: Final = re.compile(r"FM(?P<whole>[90,]*[90])(?:(?P<point>\.)(?P<fraction>0*))?")


def _number_template(r: Rendering) -> str:
    """The commonest patterns in DuckDB's own words; the others by ``number_format``."""
    match = _NUMBER.fullmatch(str(r.literals.get(1)))
    if match is None:
        return in_python(r)
    whole, fraction, point = match["whole"], match["fraction"] or "", bool(match["point"])
    digits = whole.replace(",", "")
    grouped = "," in whole
    zeros = len(digits) - digits.index("0") if "0" in digits else 0
    if grouped and (zeros > 1 or not re.fullmatch(r"[90]{1,3}(,[90]{3})*", whole)):
        return in_python(r)
    return _plain_number(r, len(digits), zeros if point else max(zeros, 1), len(fraction), grouped=grouped)


def _char_of_number(x: Decimal | int, pattern: str) -> str:
    return char_of_number(Decimal(x), pattern)


def _plain_number(r: Rendering, places: int, zeros: int, scale: int, *, grouped: bool) -> str:
    pattern = str(r.constant(1)).removeprefix("FM")
    x = f"abs(CAST({r[0]} AS DECIMAL(38,{scale})))"
    whole = f"CAST(trunc({x}) AS HUGEINT)"
    shown = f"format('{{:,}}', {whole})" if grouped else f"CAST({whole} AS VARCHAR)"
    body = f"CASE WHEN {whole} = 0 THEN '' ELSE {shown} END"
    body = f"lpad({body}, CAST(greatest(length({body}), {zeros}) AS INTEGER), '0')" if zeros else body
    point = f" || '.' || right(CAST({x} AS VARCHAR), {scale})" if scale else (" || '.'" if "." in pattern else "")
    sign = f"CASE WHEN {r[0]} < 0 AND {x} <> 0 THEN '-' ELSE '' END"
    overflow = f"CASE WHEN {r[0]} < 0 THEN '-' ELSE '' END || {quote(re.sub('[90]', '#', pattern))}"
    limit = f"CAST(1{'0' * places} AS HUGEINT)"
    return f"CASE WHEN {whole} >= {limit} THEN {overflow} ELSE {sign} || {body}{point} END"


# -- reading ---------------------------------------------------------------------------------------------------------

_READ: Final = {
    "YYYY": "%Y",
    "MM": "%m",
    "DD": "%d",
    "HH24": "%H",
    "HH12": "%I",
    "MI": "%M",
    "SS": "%S",
    "US": "%f",
} | {
    "Mon": "%b",
    "Month": "%B",
    "AM": "%p",
    "PM": "%p",
    "YY": "%y",
    "DDD": "%j",
    "MS": "%g",
}


def _read_pattern(name: str, pattern: str) -> str:
    parts: list[str] = []
    place = 0
    while place < len(pattern):
        match = _TOKEN.match(pattern, place)
        if match is None:
            raise _unsupported(name, pattern, pattern[place:])
        place = match.end()
        if match["part"] is None:
            literal = match["text"] if match["text"] is not None else match["other"]
            parts.append(literal.replace("%", "%%"))
            continue
        part = match["part"] if match["part"] in _CASED else match["part"].upper()
        if part not in _READ:
            raise _unsupported(name, pattern, part)
        parts.append(_READ[part])
    return "".join(parts)


def _read(target: str) -> Callable[[Rendering], str]:
    def render(r: Rendering) -> str:
        moment = f"strptime({r[0]}, {quote(_read_pattern(r.function, r.constant(1)))})"
        return utc_moment(moment) if target == "timestamptz" else f"CAST({moment} AS DATE)"

    return render


def _parse(name: str, text: str, pattern: str) -> dt.datetime:
    directives = _read_pattern(name, pattern).replace("%g", "%f")
    try:
        return dt.datetime.strptime(text, directives)
    except ValueError:
        message = f'invalid value "{text}" for the pattern "{pattern}" of {name}'
        raise Invalid(message, sqlstate="22007") from None


_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def functions() -> tuple[Function, ...]:
    """to_char of moments and numbers, and the readers."""
    return (
        function(
            "to_char",
            overload("timestamp, text -> text", _char_of_moment("timestamp"), naive=char_of_moment, can_fail=True),
            overload("timestamptz, text -> text", _char_of_moment("timestamptz"), naive=char_of_moment, can_fail=True),
            *(
                overload(f"{kind}, text -> text", _number_template, naive=_char_of_number, can_fail=True)
                for kind in ("integer", "bigint", "numeric")
            ),
            overload("double, text -> text", in_python, naive=char_of_float, can_fail=True),
            overload("interval, text -> text", in_python, naive=char_of_interval, can_fail=True),
        ),
        function(
            "to_number",
            overload(
                "text, text -> numeric",
                in_python,
                result=lambda _: numeric(38, 10),
                literal_result=lambda _, literals: numeric(38, digits_read(str(literals.get(1)))),
                naive=number_of_char,
                constants=(1,),
                can_fail=True,
            ),
        ),
        function(
            "to_date",
            overload(
                "text, text -> date",
                _read("date"),
                naive=lambda text, pattern: _parse("to_date", text, pattern).date(),
                constants=(1,),
                can_fail=True,
            ),
        ),
        function(
            "to_timestamp",
            overload(
                "text, text -> timestamptz",
                _read("timestamptz"),
                naive=lambda text, pattern: _parse("to_timestamp", text, pattern).replace(tzinfo=dt.UTC),
                constants=(1,),
                can_fail=True,
            ),
            overload(
                "double -> timestamptz",
                "to_timestamp({0})",
                naive=lambda seconds: _EPOCH + dt.timedelta(microseconds=round(seconds * 1_000_000)),
                can_fail=True,
            ),
        ),
    )
