"""Every type, through everything: log, cells, restart, SQL, gRPC, Arrow, and back, as the values that went in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import weftdb
from every_type import DDL, EXTREMES, ROWS, VALUES, plain
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from weftdb.base.interface import Database
from weftdb.engine.database import Engine
from weftdb.server.service import serve


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
            one = database.execute("SELECT * FROM every_type WHERE id = $1", [id])  # of one row: as values, no Arrow
            assert [plain(found) for found in one.rows()] == [plain(self.expected[id])]


def weft_rows(reader: pa.RecordBatchReader) -> list[tuple[Any, ...]]:
    from weftdb.base.rows import python_rows
    from weftdb.base.types import type_of_field

    table = reader.read_all()
    return python_rows(table, [type_of_field(field) for field in table.schema])


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
        places.remote.table("every_type").insert(full[0])  # one row goes as values, several as Arrow
        places.remote.table("every_type").insert(full[1:])
    places.expected |= {row["id"]: tuple(row.values()) for row in full}
    places.check(places.remote, ids)
