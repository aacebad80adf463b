"""Scans: filters, what pruning leaves out, and that it never leaves out a row."""

from __future__ import annotations

import dataclasses
import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import soak
import typed_values
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.base import types
from weftdb.engine.cells import TableStore
from weftdb.engine.expression.node import Call, Expression, Literal
from weftdb.engine.expression.node import Column as ColumnNode
from weftdb.engine.schema import Column, Table

DAY = 86_400_000_000
START = datetime.datetime(2024, 1, 1)
TABLE = Table(
    id=1,
    name="t",
    columns=(
        Column(id=1, name="key", type=types.INTEGER, nullable=False),
        Column(id=2, name="time", type=types.TIMESTAMP, nullable=False),
        Column(id=3, name="amount", type=types.INTEGER),
        Column(id=4, name="ref", type=types.UUID),
    ),
    primary_key=(1, 2),
    key=(1,),
    time=2,
    every=DAY,
    shards=4,
    next_column_id=5,
)
NAMED = dataclasses.replace(
    TABLE,
    columns=(*TABLE.columns, Column(id=5, name="name", type=types.TEXT, nullable=False)),
    primary_key=(5, 1, 2),
    key=(5, 1),
    every=3 * DAY,
    next_column_id=6,
)
UNSLICED = dataclasses.replace(TABLE, every=None, shards=1)
NODES = {column.name: ColumnNode(id=column.id, type=column.type, name=column.name) for column in TABLE.columns}


def compare(function: str, name: str, *values: Any, mirrored: bool = False) -> Expression:
    literals = [Literal(value=value, type=NODES[name].type) for value in values]
    arguments = (*literals, NODES[name]) if mirrored else (NODES[name], *literals)
    return Call(function=function, arguments=arguments, type=types.BOOLEAN)


def both(*conditions: Expression) -> Expression:
    return Call(function="and", arguments=conditions, type=types.BOOLEAN)


def rows_of(count: int) -> list[dict[str, Any]]:
    return [
        {
            "key": n % 7,
            "time": START + datetime.timedelta(hours=5 * n),
            "amount": None if n % 5 == 0 else n,
            "ref": None,
        }
        for n in range(count)
    ]


def stored(rows: list[dict[str, Any]], table: Table = TABLE) -> TableStore:
    store = TableStore(table)
    by_name = {column.name: column.type for column in table.columns}
    store.apply_put(typed_values.batch_of(rows, table.arrow_schema, by_name), version=1)
    return store


def result(store: TableStore, filter: Expression | None, columns: list[int] | None = None) -> list[dict[str, Any]]:
    scan = store.scan(version=1, columns=columns, filter=filter)
    rows = [row for batch in scan.batches() for row in batch.to_pylist()]
    return sorted(rows, key=lambda row: tuple(str(value) for value in row.values()))


COMPARE = {
    "equal": lambda a, b: a == b,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "greater": lambda a, b: a > b,
    "greater_equal": lambda a, b: a >= b,
}


@st.composite
def conditions(draw: st.DrawFn) -> list[tuple[str, str, tuple[Any, ...], bool]]:
    drawn: list[tuple[str, str, tuple[Any, ...], bool]] = []
    for _ in range(draw(st.integers(0, 4))):
        name = draw(st.sampled_from(("key", "time", "amount")))
        hours = st.integers(-30, 330)
        value = hours.map(lambda h: START + datetime.timedelta(hours=h)) if name == "time" else st.integers(-1, 8)
        function = draw(st.sampled_from((*COMPARE, "in_list")))
        values = tuple(draw(st.lists(value, min_size=1, max_size=3))) if function == "in_list" else (draw(value),)
        drawn.append((function, name, values, function != "in_list" and draw(st.booleans())))
    return drawn


def holds(row: dict[str, Any], condition: tuple[str, str, tuple[Any, ...], bool]) -> bool:
    function, name, values, mirrored = condition
    value = row[name]
    if value is None:
        return False
    if function == "in_list":
        return value in values
    return COMPARE[function](values[0], value) if mirrored else COMPARE[function](value, values[0])


@given(conditions(), st.sampled_from((TABLE, NAMED, UNSLICED)))
@settings(max_examples=soak.many(80, 200), deadline=None)
def test_a_filtered_scan_returns_exactly_the_rows_for_which_the_filter_is_true(
    drawn: list[tuple[str, str, tuple[Any, ...], bool]], table: Table
) -> None:
    rows = [row | {"name": "x" * 9 * row["key"]} if table is NAMED else row for row in rows_of(60)]
    store = stored(rows, table)
    parts = [compare(function, name, *values, mirrored=mirrored) for function, name, values, mirrored in drawn]
    filter = both(*parts) if len(parts) > 1 else parts[0] if parts else None
    expected = [row for row in rows if all(holds(row, condition) for condition in drawn)]
    assert result(store, filter) == sorted(expected, key=lambda row: tuple(str(value) for value in row.values()))


def test_key_equality_reads_one_shard_and_a_time_range_its_slices() -> None:
    store = stored(rows_of(200))
    scan = store.scan(
        version=1,
        filter=both(
            compare("equal", "key", 3),
            compare("greater_equal", "time", START + datetime.timedelta(days=3)),
            compare("less", "time", START + datetime.timedelta(days=5)),
        ),
    )
    rows = [row for batch in scan.batches() for row in batch.to_pylist()]
    assert {row["key"] for row in rows} == {3}
    statistics = scan.statistics
    assert statistics.cells_total == statistics.cells_pruned + statistics.cells_read
    assert statistics.cells_read <= 2
    assert statistics.rows_returned == len(rows)
    assert statistics.rows_read < 20


def test_a_whole_primary_key_is_probed_not_scanned() -> None:
    rows = rows_of(200)
    store = stored(rows, dataclasses.replace(TABLE, every=None, shards=1))
    filter = both(compare("equal", "key", rows[9]["key"]), compare("equal", "time", rows[9]["time"], mirrored=True))
    scan = store.scan(version=1, filter=filter, columns=[3])
    assert [batch.to_pylist() for batch in scan.batches()] == [[{"amount": 9}]]
    assert scan.statistics.rows_read == 1
    assert scan.rows_estimate == 1
    assert list(store.scan(version=0, filter=filter).batches()) == []


def test_a_constant_that_a_key_column_cannot_hold_finds_nothing() -> None:
    column = Column(id=1, name="key", type=types.numeric(5, 2), nullable=False)
    table = Table(id=1, name="t", columns=(column,), primary_key=(1,), key=(1,), shards=4)
    store = stored([{"key": Decimal("1.23")}], table)
    node = ColumnNode(id=1, type=column.type, name="key")
    for value, found in ((Decimal("1.23"), 1), (Decimal("1.234"), 0)):
        literal = Literal(value=value, type=types.numeric(6, 3))
        filter = Call(function="equal", arguments=(node, literal), type=types.BOOLEAN)
        assert sum(batch.num_rows for batch in store.scan(version=1, filter=filter).batches()) == found


def test_chunks_outside_the_time_range_are_left_out() -> None:
    store = stored(rows_of(3_000), dataclasses.replace(TABLE, every=None, shards=1))
    by_name = {column.name: column.type for column in TABLE.columns}
    later = [row | {"time": row["time"] + datetime.timedelta(days=10_000)} for row in rows_of(5_000)]
    store.apply_put(typed_values.batch_of(later, TABLE.arrow_schema, by_name), version=1)
    scan = store.scan(version=1, filter=compare("less", "time", START + datetime.timedelta(hours=6)))
    assert sum(batch.num_rows for batch in scan.batches()) == 2
    assert scan.statistics.chunks_pruned > 0


def test_a_scan_is_repeatable_and_every_stream_is_fresh() -> None:
    store = stored(rows_of(50))
    scan = store.scan(version=1, columns=[3, 1], filter=compare("greater", "amount", 10))
    first, second = (pa.RecordBatchReader.from_stream(scan).read_all() for _ in range(2))
    assert first.equals(second)
    assert first.schema.names == ["amount", "key"]
    assert first.schema.equals(scan.schema)
    assert scan.statistics.passes == 2


def test_no_columns_at_all_still_count_rows() -> None:
    store = stored(rows_of(50))
    for filter in (None, compare("greater", "amount", 10)):
        scan = store.scan(version=1, columns=[], filter=filter)
        expected = 50 if filter is None else len([n for n in range(11, 50) if n % 5])
        assert sum(batch.num_rows for batch in scan.batches()) == expected


def test_every_type_comes_back_with_its_public_arrow_type() -> None:
    columns = tuple(
        Column(id=n, name=f"c{n}", type=type) for n, type in enumerate((types.BIGINT, *typed_values.EVERY_TYPE), 1)
    )
    table = Table(id=1, name="t", columns=columns, primary_key=(), next_column_id=len(columns) + 1)
    rows = [
        {
            column.name: None
            if n == 2
            else typed_values.samples_of(column.type)[n % len(typed_values.samples_of(column.type))]
            for column in columns
        }
        for n in range(6)
    ]
    store = stored(rows, table)
    read = pa.RecordBatchReader.from_stream(store.scan(version=1, row_ids=True)).read_all()
    assert read.schema.field("weft_row_id").type == pa.int64()
    by_name = {column.name: column.type for column in columns}
    expected = typed_values.batch_of(rows, table.arrow_schema, by_name)
    assert read.drop_columns(["weft_row_id"]).schema.equals(expected.schema)
    assert repr(read.drop_columns(["weft_row_id"]).to_pylist()) == repr(expected.to_pylist())
