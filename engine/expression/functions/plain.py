"""Plain Python behind the naive computations: comparison keys, LIKE as a regular expression, common errors."""

from __future__ import annotations

import functools
import math
import re
import uuid
from typing import Any

import pyarrow as pa

from ....base.errors import Invalid


def division_by_zero() -> Invalid:
    return Invalid("division by zero", sqlstate="22012")


def out_of_range(what: str) -> Invalid:
    return Invalid(f"{what} out of range", sqlstate="22003")


def compare_key(value: Any) -> Any:
    """Values of one type compare as their keys do: NaN equals itself and is above all, text by bytes."""
    if isinstance(value, float):
        return (1, 0.0) if math.isnan(value) else (0, value)
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, pa.MonthDayNano):
        return interval_span(value)
    if isinstance(value, uuid.UUID):
        return value.bytes
    if isinstance(value, list):
        return [(item is None, None if item is None else compare_key(item)) for item in value]
    return value


def interval_span(value: pa.MonthDayNano) -> int:
    """Microseconds with months of 30 days, by which PostgreSQL compares intervals."""
    return (value.months * 30 + value.days) * 86_400_000_000 + value.nanoseconds // 1000


@functools.lru_cache(maxsize=256)
def like_regex(pattern: str, *, escape: str = "\\", fold: bool = False) -> re.Pattern[str]:
    """LIKE's pattern. Raises Invalid (22025) for a lone escape at the end."""
    if len(escape) > 1:
        raise Invalid("invalid escape string", hint="Escape string must be empty or one character.", sqlstate="22025")
    parts: list[str] = []
    place = 0
    while place < len(pattern):
        letter = pattern[place]
        if letter == escape:
            place += 1
            if place == len(pattern):
                raise Invalid("LIKE pattern must not end with escape character", sqlstate="22025")
            parts.append(re.escape(pattern[place]))
        else:
            parts.append({"%": ".*", "_": "."}.get(letter) or re.escape(letter))
        place += 1
    return re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if fold else 0))
