"""A table with every type, and values of each."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

DDL = """
CREATE TABLE every_type (
    id BIGINT PRIMARY KEY, flag BOOLEAN, small SMALLINT, whole INTEGER, big BIGINT, single REAL,
    double DOUBLE PRECISION, exact NUMERIC(38, 9), cents NUMERIC(9, 2), words TEXT, short VARCHAR(12), bytes BYTEA,
    day DATE, clock TIME, stamp TIMESTAMP, moment TIMESTAMPTZ, span INTERVAL, identity UUID, document JSON,
    flags BOOLEAN[], wholes INTEGER[], doubles DOUBLE PRECISION[], prices NUMERIC(9, 2)[], tags TEXT[],
    codes VARCHAR(12)[],
    days DATE[], moments TIMESTAMPTZ[], spans INTERVAL[], identities UUID[], documents JSON[], blobs BYTEA[]
)"""

TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=12)
STAMPS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "flag": st.booleans(),
    "small": st.integers(-(2**15), 2**15 - 1),
    "whole": st.integers(-(2**31), 2**31 - 1),
    "big": st.integers(-(2**63), 2**63 - 1),
    "single": st.floats(width=32),
    "double": st.floats(),
    "exact": st.decimals(-(10**28), 10**28, places=9),
    "cents": st.decimals(-(10**6), 10**6, places=2),
    "words": TEXTS,
    "short": TEXTS,
    "bytes": st.binary(max_size=20),
    "day": st.dates(),
    "clock": st.times(),
    "stamp": STAMPS,
    "moment": STAMPS.map(lambda stamp: stamp.replace(tzinfo=UTC)),
    "span": st.tuples(st.integers(-999, 999), st.integers(-999, 999), st.integers(-(10**9), 10**9)).map(
        lambda parts: pa.MonthDayNano([parts[0], parts[1], parts[2] * 1000])
    ),
    "identity": st.uuids(),
    "document": st.sampled_from(["null", "{}", '{"a": [1, "ä"]}', "[1.50]", '"x"']),
}

VALUES |= {
    plural: st.lists(st.none() | VALUES[name], max_size=4)
    for plural, name in {
        "flags": "flag", "wholes": "whole", "doubles": "double", "prices": "cents", "tags": "words", "codes": "short",
        "days": "day", "moments": "moment", "spans": "span", "identities": "identity", "documents": "document",
        "blobs": "bytes",
    }.items()
}  # fmt: skip

ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}), min_size=1, max_size=4
)

EXTREMES: list[dict[str, Any]] = [
    dict.fromkeys(VALUES),
    {
        "flag": False, "small": -(2**15), "whole": 2**31 - 1, "big": -(2**63), "single": float("-inf"),
        "double": float("nan"), "exact": Decimal("9" * 29 + "." + "9" * 9), "cents": Decimal("-9999999.99"),
        "words": "", "short": "ß" * 12, "bytes": b"", "day": date.min, "clock": time.max, "stamp": datetime.min,
        "moment": datetime.max.replace(tzinfo=UTC), "span": pa.MonthDayNano([0, 0, 0]), "identity": uuid.UUID(int=0),
        "document": "[]", "flags": [], "wholes": [None], "doubles": [float("nan"), -0.0, None, float("inf")],
        "prices": [Decimal("-9999999.99"), None], "tags": ["", "NULL", None, '{"', "\\", "a,b", " x "],
        "codes": ["ß" * 12] * 300, "days": [date.min, date.max], "moments": [datetime.min.replace(tzinfo=UTC)],
        "spans": [pa.MonthDayNano([1, -2, 3000])], "identities": [uuid.UUID(int=2**128 - 1), None],
        "documents": ["[]", None, "null"], "blobs": [b"", b"\0", None],
    },
]  # fmt: skip


def plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Comparable: NaN equals NaN, and -0.0 is told from 0.0."""
    return tuple(
        repr(value) if isinstance(value, float) else plain(tuple(value)) if isinstance(value, list) else value
        for value in row
    )
