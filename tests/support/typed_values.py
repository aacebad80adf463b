"""Hypothesis strategies: Python values of every SQL type, few enough that keys repeat, with the corners among them."""

from __future__ import annotations

import datetime
import itertools
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st
from weftdb.base import types
from weftdb.base.types import Kind, Type

EVERY_TYPE: tuple[Type, ...] = (
    types.BOOLEAN,
    types.SMALLINT,
    types.INTEGER,
    types.BIGINT,
    types.REAL,
    types.DOUBLE,
    types.numeric(38, 9),
    types.numeric(5, 2),
    types.TEXT,
    types.varchar(10),
    types.BYTEA,
    types.DATE,
    types.TIME,
    types.TIMESTAMP,
    types.TIMESTAMPTZ,
    types.INTERVAL,
    types.UUID,
    types.JSON,
    types.JSONB,
    types.array_of(types.TEXT),
    types.array_of(types.SMALLINT),
    types.array_of(types.numeric(5, 2)),
    types.array_of(types.BOOLEAN),
    types.array_of(types.UUID),
    types.array_of(types.JSONB),
    types.array_of(types.TIMESTAMPTZ),
)

KEY_TYPES: tuple[Type, ...] = tuple(
    type for type in EVERY_TYPE if type.kind not in (Kind.INTERVAL, Kind.JSON, Kind.JSONB, Kind.ARRAY)
)

_FLOATS = (0.0, -0.0, 1.5, -2.5, float("inf"), float("-inf"), float("nan"), 2.0**-149, -(2.0**127))
_TIMES = tuple(
    datetime.datetime(*date)
    for date in ((1, 1, 1), (1969, 12, 31, 23, 59, 59, 999_999), (2000, 1, 3), (2024, 2, 29, 12), (9999, 12, 31))
)


def samples_of(type: Type) -> tuple[Any, ...]:
    """Some values of one type, its corners among them."""
    if type.element is not None:
        some = [value for value in samples_of(type.element) if value not in ("a\0", "a\0b")]
        return ([], [None], list(some), [some[0], None, some[0]], [some[-1]] * 200)
    match type.kind:
        case Kind.BOOLEAN:
            return (True, False)
        case Kind.SMALLINT:
            return (0, 1, -1, 2**15 - 1, -(2**15))
        case Kind.INTEGER:
            return (0, 1, -1, 2**31 - 1, -(2**31))
        case Kind.BIGINT:
            return (0, 1, -1, 2**63 - 1, -(2**63))
        case Kind.REAL | Kind.DOUBLE:
            return _FLOATS
        case Kind.NUMERIC:
            top = Decimal(10 ** (type.precision or 38) - 1)
            return tuple(
                value.scaleb(-(type.scale or 0), _wide())
                for value in (Decimal(0), Decimal(-1), top, top.copy_negate(), Decimal(7))
            )
        case Kind.TEXT | Kind.VARCHAR:
            return ("", "a", "a\0", "a\0b", "ab", "éß\U0001f600", "longer10ch")
        case Kind.JSON:
            return ("{}", '{"a": 1}', "null", "[1, 2]")
        case Kind.JSONB:
            return ("{}", '{"a": 1, "bb": [1, null]}', "null", "[1.50]")
        case Kind.BYTEA:
            return (b"", b"\0", b"\0\0", b"\0\xff", b"\xff", b"12345678", b"123456789")
        case Kind.DATE:
            return tuple(time.date() for time in _TIMES)
        case Kind.TIME:
            return (datetime.time(), datetime.time(23, 59, 59, 999_999), datetime.time(12, 30))
        case Kind.TIMESTAMP:
            return _TIMES
        case Kind.TIMESTAMPTZ:
            return tuple(time.replace(tzinfo=datetime.UTC) for time in _TIMES)
        case Kind.INTERVAL:
            return (pa.MonthDayNano([0, 0, 0]), pa.MonthDayNano([-1, 31, -(2**63)]), pa.MonthDayNano([12, -5, 10**9]))
        case _:
            return (uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID(int=0x0123456789ABCDEF0123456789ABCDEF))


def _wide() -> Any:
    import decimal

    return decimal.Context(prec=76)


def values_of(type: Type, *, nullable: bool = False) -> st.SearchStrategy[Any]:
    """Values of one type, None among them where ``nullable``."""
    strategy = st.sampled_from(samples_of(type))
    return st.none() | strategy if nullable else strategy


def array_of(values: list[Any], type: Type) -> pa.Array:
    """Python values as an Arrow array of the public type."""
    if type.element is not None:
        items = array_of([item for value in values for item in value or ()], type.element)
        lengths = [0 if value is None else len(value) for value in values]
        missing = pa.array([value is None for value in values], pa.bool_())
        offsets = pa.array([0, *itertools.accumulate(lengths)], pa.int32())
        return pa.ListArray.from_arrays(offsets, items, mask=missing)
    if type.kind is Kind.UUID:
        storage = pa.array([None if value is None else value.bytes for value in values], pa.binary(16))
        return pa.ExtensionArray.from_storage(type.arrow, storage)
    if type.is_json:
        return pa.ExtensionArray.from_storage(type.arrow, pa.array(values, pa.utf8()))
    return pa.array(values, type.arrow)


def batch_of(rows: list[dict[str, Any]], schema: pa.Schema, types_by_name: dict[str, Type]) -> pa.RecordBatch:
    """Dicts as one batch with ``schema``."""
    arrays = [array_of([row[name] for row in rows], types_by_name[name]) for name in schema.names]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
