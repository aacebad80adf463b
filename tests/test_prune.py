"""What a filter says about shards, event times, encoded keys and zones, against rows that are judged one by one."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import soak
import typed_values
from filtering import call, filters, is_true, literal, node, rows_of, tables
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.base import types
from weftdb.base.types import Type
from weftdb.engine.expression.evaluate import evaluate_filter
from weftdb.engine.expression.functions.plain import compare_key
from weftdb.engine.layout import Layout, microseconds_of_event
from weftdb.engine.prune import Pruning, prune, stored_time
from weftdb.engine.schema import ROW_ID, Column, Table
from weftdb.engine.zones import PLACE_MAX, PLACE_MIN, Zones, place_range


def in_ranges(pruning: Pruning, layout: Layout, row: dict[str, Any], row_id: int) -> bool:
    values = [row_id if column.id == ROW_ID else row[column.name] for column in layout.sort_columns]
    encoded = layout.sort_encoder.encode_one(values)
    hash = layout.key_hash([row[layout.by_id[id].name] for id in layout.table.key]) if layout.table.key else None
    found = [one for one in pruning.ranges or () if one.low <= encoded and (one.high is None or encoded < one.high)]
    assert len(found) <= 1, "ranges do not overlap"
    if not found:
        return False
    assert found[0].hash in (None, hash)
    return True


def zones_of_row(layout: Layout, row: dict[str, Any]) -> Any:
    """The zones of a block with this row alone."""

    def zones_of(id: int) -> Zones:
        column = layout.by_id[id]
        value = row[column.name]
        none = (0, 0, True)
        low, high, _ = none if value is None else place_range(value, column.type) or none
        return Zones(low=one(low), high=one(high), nulls=one(value is None), rows=one(1))

    return zones_of


def one(value: int) -> np.ndarray:
    return np.array([value], np.int64)


@given(st.data())
@settings(max_examples=soak.many(150, 400), deadline=None)
def test_no_row_for_which_a_filter_is_true_is_pruned_and_exact_ranges_hold_no_other(data: st.DataObject) -> None:
    table = data.draw(tables())
    filter = data.draw(filters(table))
    rows = data.draw(st.lists(rows_of(table), min_size=1, max_size=12))
    layout = Layout(table)
    pruning = prune(filter, layout)
    assert table.primary_key or not pruning.whole
    for number, (row, wanted) in enumerate(zip(rows, is_true(filter, table, rows), strict=True), 1):
        inside = pruning.ranges is None or in_ranges(pruning, layout, row, number)
        assert inside or not wanted
        if pruning.exact:
            assert inside == wanted
        if not wanted:
            continue
        if table.key:
            assert pruning.shards is None or layout.shard_of([row[layout.by_id[id].name] for id in table.key]) in (
                pruning.shards
            )
        if layout.time is not None and (time := row[layout.time.name]) is not None:
            stored = stored_time(time, layout.time.type.kind)
            assert pruning.keeps_times(stored, stored)
            if layout.sliced:
                slice_ = layout.slice_of(microseconds_of_event(time))
                assert pruning.slice_low is None or pruning.slice_low <= slice_
                assert pruning.slice_high is None or slice_ <= pruning.slice_high
        assert pruning.zones is None or pruning.zones.keeps(zones_of_row(layout, row), 1).all()
        if pruning.keys is not None:
            assert layout.sort_encoder.encode_one([row[c.name] for c in layout.sort_columns]) in pruning.keys


@given(st.data())
@settings(max_examples=soak.many(100, 200), deadline=None)
def test_places_keep_the_order_of_values(data: st.DataObject) -> None:
    type = data.draw(st.sampled_from([type for type in typed_values.EVERY_TYPE if place_range_or_none(type)]))
    first, second = data.draw(st.tuples(typed_values.values_of(type), typed_values.values_of(type)))
    if compare_key(first) > compare_key(second):
        first, second = second, first
    lower, higher = place_range(first, type), place_range(second, type)
    assert lower is not None
    assert higher is not None
    assert PLACE_MIN <= lower[0] <= higher[0] <= PLACE_MAX
    if compare_key(first) == compare_key(second):
        assert lower[:2] == higher[:2]
    elif lower[2] and higher[2]:
        assert lower[1] < higher[0]


def place_range_or_none(type: Type) -> object:
    return place_range(typed_values.samples_of(type)[0], type)


DAY = datetime.datetime(2024, 1, 1)
EVENTS = Table(
    id=1,
    name="t",
    columns=(
        Column(id=1, name="key", type=types.INTEGER, nullable=False),
        Column(id=2, name="time", type=types.TIMESTAMP, nullable=False),
        Column(id=3, name="amount", type=types.DOUBLE),
    ),
    primary_key=(1, 2),
    key=(1,),
    time=2,
    shards=4,
    next_column_id=4,
)
KEY, TIME, AMOUNT = (node(column) for column in EVENTS.columns)


def test_one_key_over_a_window_is_one_exact_range() -> None:
    filter = call(
        "and",
        call("equal", KEY, literal(7, types.INTEGER)),
        call("greater_equal", TIME, literal(DAY, types.TIMESTAMP)),
        call("less", TIME, literal(DAY + datetime.timedelta(hours=1), types.TIMESTAMP)),
    )
    pruning = prune(filter, Layout(EVENTS))
    assert pruning.ranges is not None
    (found,) = pruning.ranges
    assert (len(found.low), len(found.high or b"")) == (12, 12)
    assert found.low[:4] == bytes.fromhex("80000007")
    assert pruning.is_series
    assert pruning.exact
    assert not pruning.whole


def test_a_filter_on_another_column_is_not_exact_and_an_empty_window_has_no_range() -> None:
    seven = call("equal", KEY, literal(7, types.INTEGER))
    more = call("greater", AMOUNT, literal(1.0, types.DOUBLE))
    pruning = prune(call("and", seven, more), Layout(EVENTS))
    assert pruning.ranges is not None
    assert len(pruning.ranges) == 1
    assert not pruning.exact
    before = call("less", TIME, literal(DAY, types.TIMESTAMP))
    after = call("greater", TIME, literal(DAY, types.TIMESTAMP))
    assert prune(call("and", seven, before, after), Layout(EVENTS)).ranges == ()


def test_alternatives_that_overlap_become_one_range() -> None:
    seven = call("equal", KEY, literal(7, types.INTEGER))
    windows = [call("less", TIME, literal(DAY + datetime.timedelta(days=n), types.TIMESTAMP)) for n in (1, 2)]
    filter = call("or", *(call("and", seven, window) for window in windows))
    pruning = prune(filter, Layout(EVENTS))
    assert pruning.ranges is not None
    assert len(pruning.ranges) == 1
    assert pruning.exact


def test_more_combinations_than_allowed_use_fewer_columns() -> None:
    keys = call("in_list", KEY, *(literal(n, types.INTEGER) for n in range(100)))
    times = call("in_list", TIME, *(literal(DAY + datetime.timedelta(hours=n), types.TIMESTAMP) for n in range(100)))
    pruning = prune(call("and", keys, times), Layout(EVENTS))
    assert pruning.ranges is not None
    assert len(pruning.ranges) == 100
    assert not pruning.exact
    assert pruning.keys is None


def test_values_that_int64_or_a_prefix_cannot_say_keep_the_blocks_around_them() -> None:
    wide = types.numeric(38, 0)
    column = Column(id=1, name="n", type=wide)
    table = Table(id=1, name="t", columns=(column,), next_column_id=2)
    filter = call("greater", node(column), literal(10**30, wide))
    pruning = prune(filter, Layout(table))
    assert pruning.zones is not None
    top = Zones(low=one(0), high=one(PLACE_MAX), nulls=one(0), rows=one(9))
    low = Zones(low=one(0), high=one(10**18), nulls=one(0), rows=one(9))
    assert pruning.zones.keeps(lambda _: top, 1).all()
    assert not pruning.zones.keeps(lambda _: low, 1).any()


def test_blocks_of_nulls_alone_are_kept_for_is_null_only() -> None:
    nulls = Zones(low=one(0), high=one(0), nulls=one(5), rows=one(5))
    for filter, kept in (
        (call("equal", AMOUNT, literal(0.0, types.DOUBLE)), False),
        (call("is_null", AMOUNT), True),
        (call("or", call("is_null", AMOUNT), call("less", AMOUNT, literal(1.0, types.DOUBLE))), True),
    ):
        pruning = prune(filter, Layout(EVENTS))
        assert pruning.zones is not None
        assert pruning.zones.keeps(lambda _: nulls, 1).all() == kept


def test_the_evaluator_agrees_that_a_null_is_no_match() -> None:
    batch = pa.RecordBatch.from_pydict({"amount": pa.array([None], pa.float64())})
    filter = call("less_equal", AMOUNT, literal(float("nan"), types.DOUBLE))
    assert evaluate_filter(filter, batch, column_ids=[3]).to_pylist() == [False]
