"""Every type, through everything: log, cells, restart, SQL, gRPC, Arrow, and back, as the values that went in."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import weftdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from weftdb.base.interface import Database
from weftdb.engine.database import Engine
from weftdb.server.service import serve

DDL = """
CREATE TABLE every_type (
    id BIGINT PRIMARY KEY, flag BOOLEAN, small SMALLINT, whole INTEGER, big BIGINT, single REAL,
    double DOUBLE PRECISION, exact NUMERIC(38, 9), cents NUMERIC(9, 2), words TEXT, short VARCHAR(12), bytes BYTEA,
    day DATE, clock TIME, stamp TIMESTAMP, moment TIMESTAMPTZ, span INTERVAL, identity UUID, document JSON
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
        "document": "[]",
    },
]  # fmt: skip


class Places:
    """One folder, opened embedded and served, so that every value takes every road."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.next_id = 0
        self.expected: dict[int, tuple[Any, ...]] = {}
        self.open()
        self.remote.execute(DDL)

    def open(self) -> None:
        self.server = serve(Engine.open(self.folder), port=0)
        self.remote = weftdb.connect(self.server.address)

    def close(self) -> None:
        self.remote.close()
        self.server.stop(grace=5)

    def check(self, database: Database, ids: list[int]) -> None:
        table = database.table("every_type")
        names = ("id", *VALUES)
        queried = database.execute("SELECT * FROM every_type WHERE id >= $1 ORDER BY id", [min(ids)]).rows()
        scanned = sorted(weft_rows(table.scan(where=f"id >= {min(ids)}")))
        assert [plain(row) for row in queried] == [plain(self.expected[id]) for id in ids]
        assert [plain(row) for row in scanned] == [plain(self.expected[id]) for id in ids]
        for id in ids:
            row = table.get(id)
            assert row is not None
            assert plain(tuple(row[name] for name in names)) == plain(self.expected[id])


def weft_rows(reader: pa.RecordBatchReader) -> list[tuple[Any, ...]]:
    from weftdb.base.rows import python_rows
    from weftdb.base.types import type_of_field

    table = reader.read_all()
    return python_rows(table, [type_of_field(field) for field in table.schema])


def plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Comparable: NaN equals NaN, and -0.0 is told from 0.0."""
    return tuple(repr(value) if isinstance(value, float) else value for value in row)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    opened = Places(tmp_path_factory.mktemp("types") / "data")
    yield opened
    opened.close()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=ROWS, by_sql=st.booleans())
def test_values_come_back_over_grpc_as_they_went_in(places: Places, rows: list[dict[str, Any]], by_sql: bool) -> None:
    write(places, rows, by_sql=by_sql)


@pytest.mark.parametrize("by_sql", [False, True])
def test_extreme_values_come_back_as_they_went_in(places: Places, by_sql: bool) -> None:
    write(places, EXTREMES, by_sql=by_sql)


def test_all_values_survive_a_restart_and_are_the_same_embedded(places: Places) -> None:
    write(places, EXTREMES, by_sql=False)
    places.close()
    with weftdb.open(places.folder) as embedded:
        places.check(embedded, sorted(places.expected))
    places.open()
    places.check(places.remote, sorted(places.expected))


def write(places: Places, rows: list[dict[str, Any]], *, by_sql: bool) -> None:
    ids = list(range(places.next_id, places.next_id + len(rows)))
    places.next_id += len(rows)
    full = [{"id": id, **{name: row[name] for name in VALUES}} for id, row in zip(ids, rows, strict=True)]
    if by_sql:
        marks = ", ".join(f"${n}" for n in range(1, len(VALUES) + 2))
        for row in full:
            places.remote.execute(f"INSERT INTO every_type VALUES ({marks})", list(row.values()))
    else:
        places.remote.table("every_type").insert(full)
    places.expected |= {row["id"]: tuple(row.values()) for row in full}
    places.check(places.remote, ids)
