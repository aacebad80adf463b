"""Scans for the relational executor: text of few distinct values comes as codes, and says the same as plain text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
import weftdb
from weftdb.base.types import BIGINT, BOOLEAN, TEXT, TIMESTAMP
from weftdb.engine.cells import TableStore
from weftdb.engine.column_store import CODES, DISTINCT_MAX
from weftdb.engine.expression.node import Call, Literal
from weftdb.engine.expression.node import Column as ColumnNode
from weftdb.engine.handover import HANDED_ROWS_MIN
from weftdb.engine.scan import Scan
from weftdb.engine.schema import Column, Table

TABLE = Table(
    id=200,
    name="events",
    columns=(
        Column(id=1, name="key", type=BIGINT, nullable=False),
        Column(id=2, name="time", type=TIMESTAMP, nullable=False),
        Column(id=3, name="channel", type=TEXT),
        Column(id=4, name="note", type=TEXT),
    ),
    primary_key=(1, 2),
    key=(1,),
    time=2,
    every=7 * 86_400_000_000,
)
ROWS = HANDED_ROWS_MIN + 3_000
CHANNELS = ("app", "web", "", None, "Straße")


def batch(numbers: Sequence[int], *, channels: Sequence[str | None] = CHANNELS) -> pa.RecordBatch:
    """Rows of these numbers: few channels, notes all different, times over several slices."""
    columns = [
        list(numbers),
        [number * 60_000_000 for number in numbers],
        [channels[number % len(channels)] for number in numbers],
        [f"note {number}" for number in numbers],
    ]
    arrays = [pa.array(values, column.type.arrow) for values, column in zip(columns, TABLE.columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=TABLE.arrow_schema)


@pytest.fixture
def store() -> TableStore:
    store = TableStore(TABLE)
    store.apply_put(batch(range(ROWS)), version=1)
    return store


def coded(scan: Scan) -> pa.Table:
    schema, batches = scan.handed()
    return pa.Table.from_batches(batches, schema=schema)


def plain(scan: Scan) -> pa.Table:
    return pa.Table.from_batches(scan.batches(), schema=scan.schema)


def rows(table: pa.Table) -> list[dict[str, object]]:
    return sorted(table.to_pylist(), key=lambda row: (row["key"], row["time"]))


def test_few_values_come_as_codes_many_as_plain_text_and_both_say_the_same(store: TableStore) -> None:
    scan = store.scan(version=1, columns=None, filter=None)
    table = coded(scan)
    assert table.schema.field("channel").type == CODES
    assert table.schema.field("note").type == pa.string()
    assert rows(table) == rows(plain(scan))
    assert table.equals(coded(scan)), "every pass is the same"


def test_a_small_scan_gives_plain_text() -> None:
    store = TableStore(TABLE)
    store.apply_put(batch(range(100)), version=1)
    assert coded(store.scan(version=1, columns=None, filter=None)).schema.field("channel").type == pa.string()


def test_deleted_and_replaced_rows_are_right_at_every_version(store: TableStore) -> None:
    keys = batch(range(0, ROWS, 3)).select(["key", "time"])
    store.apply_delete(keys, version=2)
    store.apply_put(batch(range(0, ROWS, 5), channels=("new",)), version=3)
    for version in (1, 2, 3):
        scan = store.scan(version=version, columns=None, filter=None)
        assert rows(coded(scan)) == rows(plain(scan))


def test_a_scan_keeps_its_schema_while_a_writer_brings_too_many_values(store: TableStore) -> None:
    before = store.scan(version=1, columns=None, filter=None)
    expected = coded(before)
    many = tuple(f"channel {number}" for number in range(3 * DISTINCT_MAX))
    more = np.random.default_rng(1).permutation(np.arange(ROWS, ROWS + 3 * DISTINCT_MAX)).tolist()
    store.apply_put(batch(more, channels=many), version=2)
    after = store.scan(version=2, columns=None, filter=None)
    assert coded(after).schema.field("channel").type == pa.string()
    assert rows(coded(after)) == rows(plain(after))
    assert coded(before).schema == expected.schema
    assert rows(coded(before)) == rows(expected)
    again = store.scan(version=1, columns=None, filter=None)
    assert rows(coded(again)) == rows(expected)


def test_a_filter_on_codes_may_leave_rows_to_the_executor_but_never_loses_one(store: TableStore) -> None:
    web = Call(function="equal", arguments=(ColumnNode(id=3, type=TEXT), Literal(value="web", type=TEXT)), type=BOOLEAN)
    scan = store.scan(version=1, columns=None, filter=web)
    found = [row for row in rows(coded(scan)) if row["channel"] == "web"]
    assert found == rows(plain(scan))
    assert len(found) == len([number for number in range(ROWS) if number % 5 == 1])
    other = store.scan(version=1, columns=[1, 2, 4], filter=web)
    assert len(rows(coded(other))) == ROWS, "the executor evaluates the filter, and asks for what it needs"


def test_a_value_that_only_deleted_rows_had_cannot_fail_a_query() -> None:
    with weftdb.open() as db:
        db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT)")
        table = pa.table({"id": range(ROWS), "v": ["no number" if number % 7 == 0 else "12" for number in range(ROWS)]})
        db.table("t").put(table)
        db.execute("DELETE FROM t WHERE v = 'no number'")
        assert db.execute("SELECT sum(v::int) / count(*) FROM t").scalar() == 12
        assert db.execute("SELECT count(*) FROM t WHERE v::int > 11").scalar() == ROWS - len(range(0, ROWS, 7))


def test_a_column_added_later_reads_as_plain_text(store: TableStore) -> None:
    more = Table(
        **{
            **{name: getattr(TABLE, name) for name in ("id", "name", "primary_key", "key", "time", "every")},
            "columns": (*TABLE.columns, Column(id=5, name="added", type=TEXT)),
            "schema_version": 2,
        }
    )
    scan = store.with_definition(more).scan(version=1, columns=None, filter=None)
    assert coded(scan).schema.field("added").type == pa.string()
    assert rows(coded(scan)) == rows(plain(scan))
