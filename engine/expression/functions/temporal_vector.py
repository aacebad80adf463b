"""``time_bucket`` over Arrow arrays: whole-number arithmetic on microseconds, for widths without months."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ....base.errors import Invalid
from .plain import interval_span
from .vector import NotVectorized

_MONDAY: Final = 946_857_600_000_000  # 2000-01-03 in microseconds since 1970

assert dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=_MONDAY) == dt.datetime(2000, 1, 3)


def bucket(width: Any, moments: Any, origin: Any = None) -> Any:
    """The starts of the buckets. ``width`` and ``origin`` are scalars, or this is not vectorized."""
    if not isinstance(width, pa.Scalar) or isinstance(moments, pa.Scalar) or origin is not None or not width.is_valid:
        raise NotVectorized
    span = width.as_py()
    if span.months:
        raise NotVectorized
    step = interval_span(span)
    if step <= 0:
        raise Invalid("time_bucket: the width must be greater than zero", sqlstate="22023")
    micros = pc.subtract(moments.cast(pa.int64()), _MONDAY)
    remainder = pc.subtract(micros, pc.multiply(pc.divide(micros, step), step))
    floored = pc.subtract(micros, pc.if_else(pc.less(remainder, 0), pc.add(remainder, step), remainder))
    return pc.add(floored, _MONDAY).cast(moments.type)
