"""to_char, to_date, to_timestamp: PostgreSQL's patterns, translated when the query is bound.

The pattern must be a constant: it becomes one of DuckDB's ``strftime`` patterns, or for numbers a ``format``. Patterns
are read greedily, longest first, as PostgreSQL does; text in double quotes and punctuation stand for themselves. A
pattern with a part that has no exact translation (``RM``, ``CC``, ``TH``, ``TM``, …) is refused by name, never guessed.

    to_char(at, 'YYYY-MM-DD HH24:MI:SS.MS')     →  strftime(at, '%Y-%m-%d %H:%M:%S.%g')
    to_char(1234.5, 'FM999,990.00')             →  a DuckDB format with two digits, grouped
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from ....base.errors import Invalid
from .duck import quote
from .model import Function, Rendering, function, overload

# PostgreSQL's part → (DuckDB's directive, plain Python); longest match first
_PARTS: Final[dict[str, tuple[str, Callable[[dt.datetime], str]]]] = {
    "YYYY": ("%Y", lambda x: f"{x.year:04}"),
    "HH24": ("%H", lambda x: f"{x.hour:02}"),
    "HH12": ("%I", lambda x: f"{(x.hour - 1) % 12 + 1:02}"),
    "IYYY": ("%G", lambda x: f"{x.isocalendar()[0]:04}"),
    "DDD": ("%j", lambda x: f"{x.timetuple().tm_yday:03}"),
    "Mon": ("%b", lambda x: _MONTHS[x.month - 1][:3]),
    "DD": ("%d", lambda x: f"{x.day:02}"),
    "Dy": ("%a", lambda x: _DAYS[x.weekday()][:3]),
    "HH": ("%I", lambda x: f"{(x.hour - 1) % 12 + 1:02}"),
    "IW": ("%V", lambda x: f"{x.isocalendar()[1]:02}"),
    "MI": ("%M", lambda x: f"{x.minute:02}"),
    "MM": ("%m", lambda x: f"{x.month:02}"),
    "MS": ("%g", lambda x: f"{x.microsecond // 1000:03}"),
    "SS": ("%S", lambda x: f"{x.second:02}"),
    "US": ("%f", lambda x: f"{x.microsecond:06}"),
    "YY": ("%y", lambda x: f"{x.year % 100:02}"),
    "ID": ("%u", lambda x: str(x.isoweekday())),
    "AM": ("%p", lambda x: "AM" if x.hour < 12 else "PM"),
    "PM": ("%p", lambda x: "AM" if x.hour < 12 else "PM"),
}
# With FM in front: without leading zeros and padding.
_TRIMMED: Final[dict[str, tuple[str, Callable[[dt.datetime], str]]]] = {
    "DD": ("%-d", lambda x: str(x.day)),
    "MM": ("%-m", lambda x: str(x.month)),
    "HH24": ("%-H", lambda x: str(x.hour)),
    "HH12": ("%-I", lambda x: str((x.hour - 1) % 12 + 1)),
    "HH": ("%-I", lambda x: str((x.hour - 1) % 12 + 1)),
    "MI": ("%-M", lambda x: str(x.minute)),
    "SS": ("%-S", lambda x: str(x.second)),
    "DDD": ("%-j", lambda x: str(x.timetuple().tm_yday)),
    "Month": ("%B", lambda x: _MONTHS[x.month - 1]),
    "Day": ("%A", lambda x: _DAYS[x.weekday()]),
}
_MONTHS: Final = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS: Final = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

_WORDS: Final = (*_PARTS, "Month", "Day")
_CASED: Final = frozenset(("Mon", "Dy", "Month", "Day"))
_TOKEN: Final = re.compile(
    r'"(?P<text>[^"]*)"|(?P<fm>FM|fm)?(?P<part>YYYY|yyyy|HH24|hh24|HH12|hh12|IYYY|iyyy|Month|DDD|ddd|Mon|Day|DD|dd|Dy|HH|hh'
    r"|IW|iw|MI|mi|MM|mm|MS|ms|SS|ss|US|us|YY|yy|ID|id|AM|PM)|(?P<other>[^A-Za-z\"])",
)

_Piece = tuple[str, Callable[[dt.datetime], str]]


def _date_pieces(pattern: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    place = 0
    trimmed = False
    while place < len(pattern):
        match = _TOKEN.match(pattern, place)
        if match is None:
            raise _unsupported("to_char", pattern, pattern[place:])
        place = match.end()
        if match["part"] is None:
            literal = match["text"] if match["text"] is not None else match["other"]
            pieces.append((literal.replace("%", "%%"), lambda _, literal=literal: literal))
            continue
        part = match["part"] if match["part"] in _CASED else match["part"].upper()
        trimmed = match["fm"] is not None
        piece = _TRIMMED.get(part) if trimmed else None
        piece = piece or _PARTS.get(part)
        if piece is None:  # Month and Day are padded with blanks to nine characters
            raise _unsupported("to_char", pattern, part, hint=f"Write FM{part}, which is not padded.")
        pieces.append(piece)
    return pieces


def _unsupported(name: str, pattern: str, part: str, *, hint: str | None = None) -> Invalid:
    message = f'{name}: the pattern "{pattern}" is not supported at "{part}"'
    return Invalid(message, hint=hint or f"Supported are {', '.join(_WORDS)} and punctuation.", sqlstate="0A000")


def _char_of_moment(source: str) -> Callable[[Rendering], str]:
    def render(r: Rendering) -> str:
        pattern = "".join(directive for directive, _ in _date_pieces(r.constant(1)))
        moment = f"timezone('UTC', {r[0]})" if source == "timestamptz" else r[0]
        return f"strftime({moment}, {quote(pattern)})"

    return render


def _char_naive(moment: dt.datetime, pattern: str) -> str:
    return "".join(write(moment) for _, write in _date_pieces(pattern))


# -- numbers ---------------------------------------------------------------------------------------------------------

_NUMBER: Final = re.compile(r"(?P<fm>FM)?(?P<whole>[90,]*[90])(?:(?P<point>\.)(?P<fraction>[90]*))?")


def _number_format(pattern: str) -> tuple[int, int, int, bool]:
    """Digits before the point, of these forced as zeros, digits after it, grouped by commas."""
    match = _NUMBER.fullmatch(pattern)
    if match is None:
        hint = "Supported are 9 and 0, groups of three with commas, one point, and FM in front."
        raise _unsupported("to_char", pattern, pattern, hint=hint)
    whole, fraction = match["whole"], match["fraction"] or ""
    digits = whole.replace(",", "")
    grouped = "," in whole
    if match["fm"] is None or "9" in fraction or (grouped and not re.fullmatch(r"[90]{1,3}(,[90]{3})*", whole)):
        hint = "Write it with FM in front and 0 after the point, as FM999,990.00."
        raise _unsupported("to_char", pattern, pattern, hint=hint)
    zeros = len(digits) - digits.index("0") if "0" in digits else 0
    if grouped and zeros > 1:
        raise _unsupported("to_char", pattern, pattern, hint="Use one 0 before the point with commas.")
    return len(digits), zeros if "." in pattern else max(zeros, 1), len(fraction), grouped


def _char_of_number(x: Decimal, pattern: str) -> str:
    places, zeros, scale, grouped = _number_format(pattern)
    rounded = abs(x).quantize(Decimal(1).scaleb(-scale), rounding=ROUND_HALF_UP)
    whole, _, fraction = f"{rounded:f}".partition(".")
    if len(whole) > places:
        return ("-" if x < 0 else "") + re.sub("[90]", "#", pattern.removeprefix("FM"))
    whole = "" if whole == "0" else whole
    whole = whole.rjust(zeros, "0")
    if grouped and whole:
        whole = f"{int(whole):,}"
    text = whole + ("." + fraction if "." in pattern else "")
    return ("-" if x < 0 and rounded else "") + text


def _number_template(r: Rendering) -> str:
    places, zeros, scale, grouped = _number_format(r.constant(1))
    pattern = r.constant(1).removeprefix("FM")
    x = f"CAST(abs({r[0]}) AS DECIMAL(38,{scale}))"
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
        return f"timezone('UTC', {moment})" if target == "timestamptz" else f"CAST({moment} AS DATE)"

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
            overload("timestamp, text -> text", _char_of_moment("timestamp"), naive=_char_naive, constants=(1,)),
            overload("timestamptz, text -> text", _char_of_moment("timestamptz"), naive=_char_naive, constants=(1,)),
            overload("numeric, text -> text", _number_template, naive=_char_of_number, constants=(1,)),
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
