"""``time_bucket``, ``date_trunc``, ``extract`` over Arrow arrays: whole numbers of microseconds, or of months."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....base.errors import Invalid
from .plain import interval_span
from .vector import NotVectorized

_MONDAY: Final = 946_857_600_000_000  # 2000-01-03 in microseconds since 1970
_FIRST: Final = 360  # 2000-01 in months since 1970
_STEPS: Final = {
    "microseconds": 1,
    "milliseconds": 1_000,
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
    "day": 86_400_000_000,
    "week": 604_800_000_000,
}
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12, "decade": 120}
_FIELDS: Final[dict[str, Callable[[Any], Any]]] = {
    "year": pc.year,
    "quarter": pc.quarter,
    "month": pc.month,
    "week": pc.iso_week,
    "day": pc.day,
    "dow": lambda moments: pc.day_of_week(moments, count_from_zero=True, week_start=7),
    "isodow": lambda moments: pc.day_of_week(moments, count_from_zero=False, week_start=1),
    "doy": pc.day_of_year,
    "hour": pc.hour,
    "minute": pc.minute,
}
_YEAR_ONE: Final = -12 * 1969
_LOW: Final = np.datetime64("0020-01-01", "us").astype(np.int64)
_HIGH: Final = np.datetime64("9999-12-31", "us").astype(np.int64)
"""Between these buckets of up to ten years begin in years that Python's moments have, as the naive forms need."""

assert dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=_MONDAY) == dt.datetime(2000, 1, 3)


def bucket(width: Any, moments: Any, origin: Any = None) -> Any:
    """The starts of the buckets. ``width`` is a scalar and there is no ``origin``, or this is not vectorized."""
    if not isinstance(width, pa.Scalar) or isinstance(moments, pa.Scalar) or origin is not None or not width.is_valid:
        raise NotVectorized
    span = width.as_py()
    if span.months:
        if span.days or span.nanoseconds or span.months < 0:
            raise NotVectorized  # the naive form says what is wrong
        return _months(moments, span.months, origin=_FIRST)
    step = interval_span(span)
    if step <= 0:
        raise Invalid("time_bucket: the width must be greater than zero", sqlstate="22023")
    return _floored(moments, step)


def trunc(unit_of: Callable[[Any], str]) -> Callable[[Any, Any], Any]:
    """``date_trunc`` of timestamps; ``unit_of`` gives a unit its one name."""

    def truncated(unit: Any, moments: Any) -> Any:
        if not isinstance(unit, pa.Scalar) or isinstance(moments, pa.Scalar) or not unit.is_valid:
            raise NotVectorized
        name = unit_of(unit.as_py())
        if name in _STEPS:
            return _floored(moments, _STEPS[name])
        if name in _MONTHS:
            return _months(moments, _MONTHS[name], origin=0)
        raise NotVectorized

    return truncated


def field(name: Any, moments: Any) -> Any:
    """``extract`` of fields that are whole numbers, as int64. ``name`` is a scalar, or this is not vectorized."""
    if not isinstance(name, pa.Scalar) or isinstance(moments, pa.Scalar) or not name.is_valid:
        raise NotVectorized
    found = _FIELDS.get(str(name.as_py()).lower())
    if found is None:
        raise NotVectorized
    return found(moments).cast(pa.int64())


def _floored(moments: Any, step: int) -> Any:
    """Multiples of ``step`` microseconds from a Monday."""
    micros = pc.subtract(moments.cast(pa.int64()), _MONDAY)
    remainder = pc.subtract(micros, pc.multiply(pc.divide(micros, step), step))
    floored = pc.subtract(micros, pc.if_else(pc.less(remainder, 0), pc.add(remainder, step), remainder))
    return pc.add(floored, _MONDAY).cast(moments.type)


def _months(moments: Any, step: int, *, origin: int) -> Any:
    """The first days of every ``step``-th month, counted from ``origin``, months since 1970."""
    from ...kernels.months import months_of  # with the compiler, which who only reads names does without

    whole = moments.cast(pa.int64())
    limits = pc.min_max(whole)
    low, high = limits["min"].as_py(), limits["max"].as_py()
    if low is None:
        return moments
    if low < _LOW or high > _HIGH or step > _MONTHS["decade"]:
        raise NotVectorized
    days = whole.fill_null(0).to_numpy() // _STEPS["day"]
    months = np.empty(len(days), np.int64)
    months_of(days, months)
    firsts = _first_days()[(months - origin) // step * step + origin - _YEAR_ONE] * _STEPS["day"]
    mask = moments.is_null().to_numpy(zero_copy_only=False) if moments.null_count else None
    return pa.array(firsts, pa.int64(), mask=mask).cast(moments.type)


@cache
def _first_days() -> np.ndarray:
    """Of each month from the year 1 to the year 9999 its first day since 1970-01-01: a megabyte."""
    return np.arange("0001-01", "10000-01", dtype="M8[M]").astype("M8[D]").view(np.int64)
