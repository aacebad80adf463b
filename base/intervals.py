"""PostgreSQL's interval text, both ways: months, days and microseconds that never mix.

An interval is three numbers. ``1 mon`` is not 30 days and ``1 day`` not 24 hours, so that ``date + interval`` can
follow the calendar; only fractions spill downwards, as PostgreSQL's do (``1.5 days`` is 1 day 12:00:00, ``0.5 mon``
is 15 days).

    parse_interval("1 year 2 mons -3 days 04:05:06.7")  ->  (14, -3, 14_706_700_000)
    interval_text(14, -3, 14_706_700_000)               ->  "1 year 2 mons -3 days +04:05:06.7"
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_SECOND: Final = 1_000_000
_DAY: Final = 86_400 * _SECOND

# unit → (months, days, microseconds) of one
_UNITS: Final[dict[str, tuple[int, int, int]]] = {
    **dict.fromkeys(("millennium", "millennia", "mil", "mils", "millenniums"), (12_000, 0, 0)),
    **dict.fromkeys(("century", "centuries", "c", "cent"), (1_200, 0, 0)),
    **dict.fromkeys(("decade", "decades", "dec", "decs"), (120, 0, 0)),
    **dict.fromkeys(("year", "years", "y", "yr", "yrs"), (12, 0, 0)),
    **dict.fromkeys(("quarter", "quarters"), (3, 0, 0)),
    **dict.fromkeys(("month", "months", "mon", "mons"), (1, 0, 0)),
    **dict.fromkeys(("week", "weeks", "w"), (0, 7, 0)),
    **dict.fromkeys(("day", "days", "d"), (0, 1, 0)),
    **dict.fromkeys(("hour", "hours", "h", "hr", "hrs"), (0, 0, 3600 * _SECOND)),
    **dict.fromkeys(("minute", "minutes", "m", "min", "mins"), (0, 0, 60 * _SECOND)),
    **dict.fromkeys(("second", "seconds", "s", "sec", "secs", ""), (0, 0, _SECOND)),
    **dict.fromkeys(("millisecond", "milliseconds", "ms", "msec", "msecs"), (0, 0, 1000)),
    **dict.fromkeys(("microsecond", "microseconds", "us", "usec", "usecs"), (0, 0, 1)),
}

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<clock>(?P<sign>[+-]?)(?P<h>\d+):(?P<m>\d{1,2})(?::(?P<s>\d{1,2}(?:\.\d*)?))?)"
    r"|(?P<span>[+-]?)(?P<years>\d+)-(?P<months>\d+)(?![\w.])"
    r"|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))\s*(?P<unit>[a-zA-Z]*))",
    re.ASCII,
)
_ISO: Final = re.compile(
    r"P(?:(?P<y>[+-]?[\d.]+)Y)?(?:(?P<mo>[+-]?[\d.]+)M)?(?:(?P<w>[+-]?[\d.]+)W)?(?:(?P<d>[+-]?[\d.]+)D)?"
    r"(?:T(?:(?P<h>[+-]?[\d.]+)H)?(?:(?P<mi>[+-]?[\d.]+)M)?(?:(?P<s>[+-]?[\d.]+)S)?)?",
    re.ASCII,
)
_ISO_UNITS: Final = {"y": "year", "mo": "month", "w": "week", "d": "day", "h": "hour", "mi": "minute", "s": "second"}


def parse_interval(text: str) -> tuple[int, int, int]:
    """Months, days, microseconds of PostgreSQL's or ISO 8601's interval text. Raises ValueError."""
    body = text.strip()
    if len(body) > 1000:
        raise ValueError("too long")
    if match := _ISO.fullmatch(body):
        parts = [(Decimal(number), _ISO_UNITS[name]) for name, number in match.groupdict().items() if number]
        if not parts:
            raise ValueError(f"no parts in {text!r}")
        return _total(parts)
    body = body.removeprefix("@").lstrip()
    ago = body.lower().endswith("ago")
    if ago:
        body = body[:-3].rstrip()
    if not body:
        raise ValueError("empty")
    totals = _total(_tokens(body))
    return (-totals[0], -totals[1], -totals[2]) if ago else totals


def _tokens(body: str) -> list[tuple[Decimal, str]]:
    parts: list[tuple[Decimal, str]] = []
    at = 0
    while at < len(body):
        match = _TOKEN.match(body, at)
        if match is None or match.end() == at:
            raise ValueError(f"not an interval at {body[at:]!r}")
        if match["clock"]:
            sign = -1 if match["sign"] == "-" else 1
            if int(match["m"]) > 59 or Decimal(match["s"] or 0) >= 61:
                raise ValueError("clock field out of range")
            if parts and parts[-1][1] == "":
                parts[-1] = (parts[-1][0], "day")  # "1 02:03:04" is one day and two hours
            parts += [(Decimal(sign * int(match["h"])), "hour"), (Decimal(sign * int(match["m"])), "minute")]
            parts.append((sign * Decimal(match["s"] or 0), "second"))
        elif match["years"]:  # SQL's "1-2": one year, two months
            sign = -1 if match["span"] == "-" else 1
            if int(match["months"]) > 11:
                raise ValueError("interval field out of range")
            parts += [(Decimal(sign * int(match["years"])), "year"), (Decimal(sign * int(match["months"])), "month")]
        else:
            parts.append((Decimal(match["number"]), match["unit"].lower()))
        at = match.end()
    return parts


def _total(parts: list[tuple[Decimal, str]]) -> tuple[int, int, int]:
    """The sum; a fraction of a month spills into days of 30, a fraction of a day into microseconds."""
    months, days, microseconds = 0, 0, Decimal(0)
    for number, unit in parts:
        if unit not in _UNITS:
            raise ValueError(f"unknown unit {unit!r}")
        per_months, per_days, per_microseconds = _UNITS[unit]
        if per_months:
            whole, fraction = _split(number * per_months)
            months += whole
            number, per_days = fraction, 30
            if per_months > 1:  # PostgreSQL rounds a fraction of a year to months
                months, number = months + round(fraction), Decimal(0)
        if per_days:
            whole, fraction = _split(number * per_days)
            days += whole
            microseconds += fraction * _DAY
        microseconds += Decimal(number) * per_microseconds if not per_days else 0
    return months, days, int(microseconds.to_integral_value())


def _split(number: Decimal) -> tuple[int, Decimal]:
    whole = int(number)
    return whole, number - whole


def interval_text(months: int, days: int, microseconds: int) -> str:
    """PostgreSQL's output (IntervalStyle postgres): ``1 year 2 mons -3 days +04:05:06.7``; ``00:00:00`` for none."""
    years, rest = int(months / 12), months - int(months / 12) * 12
    parts: list[str] = []
    negative = False
    for count, unit in ((years, "year"), (rest, "mon"), (days, "day")):
        if count:
            plus = "+" if negative and count > 0 else ""
            parts.append(f"{plus}{count} {unit}{'' if count == 1 else 's'}")
            negative = count < 0
    if microseconds or not parts:
        sign = "-" if microseconds < 0 else "+" if negative else ""
        seconds, fraction = divmod(abs(microseconds), _SECOND)
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        parts.append(sign + clock + (f".{fraction:06}".rstrip("0") if fraction else ""))
    return " ".join(parts)
