"""``to_char`` of moments and intervals: PostgreSQL's patterns in full, in English.

    to_char(at, 'FMDay, DDth Month YYYY')          Month and Day are padded to nine characters without FM
    to_char(interval '36 hours', 'HH24:MI')        an interval's hours go on above 24

TM (localized names, unpadded), TZ and OF of moments without a zone are what the C locale and UTC give.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_ROMAN: Final = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fields:
    """What PostgreSQL takes a moment or an interval apart into."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    micro: int
    date: dt.date | None  # None of an interval
    zoned: bool = False


def char_of_moment(moment: dt.datetime, pattern: str) -> str:
    """``to_char(timestamp, text)``; TIMESTAMPTZ in UTC."""
    fields = _Fields(
        year=moment.year,
        month=moment.month,
        day=moment.day,
        hour=moment.hour,
        minute=moment.minute,
        second=moment.second,
        micro=moment.microsecond,
        date=moment.date(),
        zoned=moment.tzinfo is not None,
    )
    return _written(fields, pattern)


def char_of_interval(span: pa.MonthDayNano, pattern: str) -> str:
    """``to_char(interval, text)``."""
    micros = abs(span.nanoseconds) // 1000
    sign = -1 if span.nanoseconds < 0 else 1
    fields = _Fields(
        year=int(span.months / 12),
        month=span.months - int(span.months / 12) * 12,
        day=span.days,
        hour=sign * (micros // 3_600_000_000),
        minute=sign * (micros // 60_000_000 % 60),
        second=sign * (micros // 1_000_000 % 60),
        micro=sign * (micros % 1_000_000),
        date=None,
    )
    return _written(fields, pattern)


def _written(fields: _Fields, pattern: str) -> str:
    out: list[str] = []
    for text, write, fill, suffix in _parts(pattern):
        if write is None:
            out.append(text)
            continue
        shown = write(fields, fill)
        out.append(shown + (_ordinal(shown, suffix) if suffix else ""))
    return "".join(out)


_Write = Callable[[_Fields, bool], str]


def _number(width: int, value: Callable[[_Fields], int], *, sign_counts: bool = False) -> _Write:
    """Padded with zeros, unless FM; the minus sign is one of the characters or comes on top."""

    def write(fields: _Fields, fill: bool) -> str:
        number = value(fields)
        return str(number) if fill else f"{number:0{width + (number < 0 and not sign_counts)}d}"

    return write


def _twelve(hour: int) -> int:
    return (hour - 1) % 12 + 1 if hour >= 0 else -((-hour - 1) % 12 + 1) if hour % 12 else 12


def _name(names: Callable[[_Fields], str], change: Callable[[str], str], length: int | None) -> _Write:
    def write(fields: _Fields, fill: bool) -> str:
        name = change(names(fields))
        return name[:length] if length else name if fill else name.ljust(9)

    return write


def _month(fields: _Fields) -> str:
    return _MONTHS[fields.month - 1] if fields.month else ""


def _day(fields: _Fields) -> str:
    return _DAYS[fields.date.isoweekday() % 7] if fields.date else ""


def _iso(place: int) -> Callable[[_Fields], int]:
    return lambda fields: fields.date.isocalendar()[place] if fields.date else 0


def _of_year(fields: _Fields) -> int:
    return fields.date.timetuple().tm_yday if fields.date else (fields.year * 12 + fields.month) * 30 + fields.day


def _comma_year(fields: _Fields, fill: bool) -> str:
    del fill
    return f"{fields.year // 1000},{fields.year % 1000:03}"


def _seconds(fields: _Fields) -> int:
    return fields.hour * 3600 + fields.minute * 60 + fields.second


def _century(fields: _Fields, fill: bool) -> str:
    number = (fields.year + 99) // 100 if fields.date else fields.year // 100
    return str(number) if fill or not -99 <= number <= 99 else f"{number:02d}"


def _half(am: str, pm: str) -> _Write:
    return lambda fields, fill: pm if fields.hour > 0 and fields.hour % 24 >= 12 else am


def _roman(change: Callable[[str], str]) -> _Write:
    def write(fields: _Fields, fill: bool) -> str:
        name = change(_ROMAN[fields.month - 1]) if fields.month else ""
        return name if fill else name.ljust(4)

    return write


_JULIAN: Final = 1_721_425  # Julian day of the date before 0001-01-01
_FRACTIONS: Final[dict[str, _Write]] = {
    f"FF{digits}": (lambda fields, fill, digits=digits: f"{fields.micro:06}"[:digits]) for digits in range(1, 7)
}

_WRITERS: Final[dict[str, _Write]] = {
    "HH24": _number(2, lambda f: f.hour),
    "HH12": _number(2, lambda f: _twelve(f.hour)),
    "HH": _number(2, lambda f: _twelve(f.hour)),
    "MI": _number(2, lambda f: f.minute),
    "SS": _number(2, lambda f: f.second),
    "MS": _number(3, lambda f: f.micro // 1000),
    "US": _number(6, lambda f: f.micro),
    "SSSSS": _number(0, _seconds),
    "SSSS": _number(0, _seconds),
    "Y,YYY": _comma_year,
    "YYYY": _number(4, lambda f: f.year),
    "YYY": _number(3, lambda f: f.year % 1000),
    "YY": _number(2, lambda f: f.year % 100),
    "Y": _number(1, lambda f: f.year % 10),
    "IYYY": _number(4, _iso(0)),
    "IYY": _number(3, lambda f: _iso(0)(f) % 1000),
    "IY": _number(2, lambda f: _iso(0)(f) % 100),
    "I": _number(1, lambda f: _iso(0)(f) % 10),
    "MM": _number(2, lambda f: f.month),
    "DDD": _number(3, _of_year, sign_counts=True),
    "DD": _number(2, lambda f: f.day, sign_counts=True),
    "D": _number(0, lambda f: f.date.isoweekday() % 7 + 1 if f.date else 0),
    "IDDD": _number(3, lambda f: (_iso(1)(f) - 1) * 7 + _iso(2)(f)),
    "ID": _number(0, _iso(2)),
    "WW": _number(2, lambda f: (_of_year(f) - 1) // 7 + 1),
    "IW": _number(2, _iso(1)),
    "W": _number(0, lambda f: (f.day - 1) // 7 + 1),
    "Q": lambda fields, fill: str((fields.month - 1) // 3 + 1) if fields.month else "",
    "J": _number(0, lambda f: f.date.toordinal() + _JULIAN if f.date else 0),
    "CC": _century,
    "RM": _roman(str.upper),
    "rm": _roman(str.lower),
    "AM": _half("AM", "PM"),
    "PM": _half("AM", "PM"),
    "am": _half("am", "pm"),
    "pm": _half("am", "pm"),
    "A.M.": _half("A.M.", "P.M."),
    "P.M.": _half("A.M.", "P.M."),
    "a.m.": _half("a.m.", "p.m."),
    "p.m.": _half("a.m.", "p.m."),
    "AD": lambda fields, fill: "AD",
    "BC": lambda fields, fill: "AD",
    "ad": lambda fields, fill: "ad",
    "bc": lambda fields, fill: "ad",
    "A.D.": lambda fields, fill: "A.D.",
    "B.C.": lambda fields, fill: "A.D.",
    "a.d.": lambda fields, fill: "a.d.",
    "b.c.": lambda fields, fill: "a.d.",
    "TZH": lambda fields, fill: "+00",
    "TZM": lambda fields, fill: "00",
    "OF": lambda fields, fill: "+00",
    "TZ": lambda fields, fill: "UTC" if fields.zoned else "",
    "tz": lambda fields, fill: "utc" if fields.zoned else "",
    "MONTH": _name(_month, str.upper, None),
    "Month": _name(_month, str, None),
    "month": _name(_month, str.lower, None),
    "MON": _name(_month, str.upper, 3),
    "Mon": _name(_month, str, 3),
    "mon": _name(_month, str.lower, 3),
    "DAY": _name(_day, str.upper, None),
    "Day": _name(_day, str, None),
    "day": _name(_day, str.lower, None),
    "DY": _name(_day, str.upper, 3),
    "Dy": _name(_day, str, 3),
    "dy": _name(_day, str.lower, 3),
    **_FRACTIONS,
}
# Numbers may be written in lower case; names and words have forms of their own, above.
_ALL: Final[dict[str, _Write]] = {
    **{word.lower(): write for word, write in _WRITERS.items() if word.lower() not in _WRITERS},
    **_WRITERS,
}
_WORDS: Final = "|".join(re.escape(word) for word in sorted(_ALL, key=len, reverse=True))
_PART: Final = re.compile(
    rf'"(?P<quoted>(?:\\.|[^"\\])*)"?|(?P<fm>(?:FM|fm|TM|tm)*)(?P<part>{_WORDS})(?P<suffix>TH|th)?|\\(?P<escaped>")'
    r"|(?P<prefix>FM|fm|TM|tm|FX|fx)|(?P<other>.)",
    re.DOTALL,
)


@functools.lru_cache(maxsize=256)
def _parts(pattern: str) -> tuple[tuple[str, _Write | None, bool, str], ...]:
    """(text, None, ...) or ("", how to write it, with FM, suffix)."""
    parts: list[tuple[str, _Write | None, bool, str]] = []
    for match in _PART.finditer(pattern):
        if match["part"] is not None:
            parts.append(("", _ALL[match["part"]], bool(match["fm"]), match["suffix"] or ""))
        elif match["quoted"] is not None:
            parts.append((re.sub(r"\\(.)", r"\1", match["quoted"]), None, False, ""))
        elif match["prefix"] is None:
            parts.append((match["escaped"] or match["other"], None, False, ""))
    return tuple(parts)


def _ordinal(shown: str, suffix: str) -> str:
    digits = shown.strip()
    word = "th" if digits[-2:-1] == "1" else {"1": "st", "2": "nd", "3": "rd"}.get(digits[-1:], "th")
    return word.upper() if suffix == "TH" else word
