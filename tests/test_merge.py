"""Merging segments, against Python's merge of their rows."""

from __future__ import annotations

import dataclasses
import datetime

import numpy as np
import pytest
import soak
import sorted_rows
import typed_values
from hypothesis import given, settings
from hypothesis import strategies as st
from sorted_rows import Row
from weftdb.base import types
from weftdb.engine import merge as merging
from weftdb.engine import seal as sealing
from weftdb.engine.expression.node import Literal
from weftdb.engine.key_encoding import Keys
from weftdb.engine.layout import Layout
from weftdb.engine.memtable import OPEN
from weftdb.engine.merge import Input, Merged, block_rows_of, merge
from weftdb.engine.schema import ROW_ID, Column, Table
from weftdb.engine.seal import seal
from weftdb.engine.segment import DELTA
from weftdb.storage import segment_writer

Part = tuple[sorted_rows.Segment, list[Row]]


def part_of(layout: Layout, batches: list[list[Row]]) -> Part:
    writer, output = sorted_rows.writer_of(sum(map(len, batches)))
    seal(writer, layout, sorted_rows.filled(layout, batches).chunks)
    segment = sorted_rows.opened(writer, output, layout)
    return segment, segment.rows()


def merged(
    layout: Layout, parts: list[Part], drops: list[list[bool] | None], *, before: int = 0
) -> tuple[sorted_rows.Segment, Merged]:
    inputs = [
        Input(reader=part[0].reader, drop=None if drop is None else np.array(drop, np.bool_))
        for part, drop in zip(parts, drops, strict=True)
    ]
    writer, output = sorted_rows.writer_of(sum(input.rows_kept for input in inputs))
    result = merge(writer, layout, inputs, normalize_before=before)
    return sorted_rows.opened(writer, output, layout), result


def naive(layout: Layout, parts: list[Part], drops: list[list[bool] | None]) -> list[tuple[int, int]]:
    """(part, row) of each row that is kept, in the order of the merged segment."""
    rows = [
        (number, row)
        for number, (part, drop) in enumerate(zip(parts, drops, strict=True))
        for row in range(len(part[1]))
        if drop is None or not drop[row]
    ]
    return sorted(rows, key=lambda place: sorted_rows.sort_key(layout, parts[place[0]][1][place[1]]))


def check(layout: Layout, parts: list[Part], drops: list[list[bool] | None], *, before: int) -> sorted_rows.Segment:
    segment, result = merged(layout, parts, drops, before=before)
    order = naive(layout, parts, drops)
    expected = [parts[number][1][row] for number, row in order]
    expected = [dataclasses.replace(row, begin=0 if row.begin <= before else row.begin) for row in expected]
    sorted_rows.assert_rows(segment.rows(), expected)
    places = {place: row for row, place in enumerate(order)}
    for number, (part, mapping) in enumerate(zip(parts, result.mappings, strict=True)):
        assert mapping.tolist() == [places.get((number, row), -1) for row in range(len(part[1]))]
    begins = [row.begin for row in expected]
    assert (result.rows_count, result.version_low, result.version_high) == (len(order), min(begins), max(begins))
    if layout.time is None:
        assert (result.time_low, result.time_high) == (OPEN, -OPEN)
    else:
        times = layout.times(sorted_rows.values_by_id(layout, [row.values for row in expected])).tolist()
        assert (result.time_low, result.time_high) == (min(times), max(times))
    keys = keys_of(layout, expected)
    found = segment.index.find(keys)
    assert found.tolist() == [first_of(keys, row) for row in range(len(keys))]
    return segment


def keys_of(layout: Layout, rows: list[Row]) -> Keys:
    values = sorted_rows.values_by_id(layout, [row.values for row in rows])
    return layout.sort_encoder.encode([values[column.id] for column in layout.sort_columns], count=len(rows))


def first_of(keys: Keys, row: int) -> int:
    """The first of the keys that equals this one; they are sorted."""
    return int(np.flatnonzero(keys.hashes == keys.hashes[row])[0])


@st.composite
def cases(draw: st.DrawFn) -> tuple[Layout, list[Part], list[list[bool] | None], int]:
    layout = Layout(draw(sorted_rows.tables()))
    parts: list[Part] = []
    begin, first_id = 1, 1
    for _ in range(draw(st.integers(1, 4))):
        batches = draw(sorted_rows.versions(layout, begin=begin, first_id=first_id))
        if layout.encoder is not None:
            batches[-1] = batches[-1] * draw(st.sampled_from([1, 1, 10]))
        begin, first_id = batches[-1][0].begin + 1, first_id + sum(map(len, batches))
        parts.insert(0, part_of(layout, batches))
    drops = [
        draw(st.none() | st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)).filter(lambda d: not all(d)))
        for _, rows in parts
    ]
    return layout, parts, drops, draw(st.integers(0, begin))


@given(cases())
@settings(max_examples=soak.many(60, 150), deadline=None)
def test_rows_come_by_sort_key_and_those_of_newer_segments_first(
    case: tuple[Layout, list[Part], list[list[bool] | None], int],
) -> None:
    layout, parts, drops, before = case
    check(layout, parts, drops, before=before)


@given(cases(), st.sampled_from([2, 3, 20, 128]))
@settings(max_examples=40, deadline=None)
def test_keys_are_read_and_sorted_some_at_a_time(
    case: tuple[Layout, list[Part], list[list[bool] | None], int], rows: int
) -> None:
    layout, parts, drops, before = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "KEY_ROWS", rows)
        patch.setattr(merging, "KEY_ROWS_MIN", 2)
        patch.setattr(merging, "PIECE_ROWS", 128)
        check(layout, parts, drops, before=before)


START = datetime.datetime(2024, 1, 1)
COLUMNS = (
    Column(id=1, name="device", type=types.TEXT, nullable=False),
    Column(id=2, name="n", type=types.INTEGER, nullable=False),
    Column(id=3, name="note", type=types.TEXT),
)
TABLE = Table(id=1, name="t", columns=COLUMNS, primary_key=(1, 2), key=(1,), next_column_id=9)
LAYOUT = Layout(TABLE)


def rows_of(numbers: range, *, begin: int, notes: int) -> list[Row]:
    """Rows of which every seventh has no note."""
    return [Row({1: f"device {n % 5}", 2: n, 3: None if n % 7 == 0 else f"note {n % notes}"}, begin) for n in numbers]


def test_dictionaries_are_merged_and_text_without_one_gets_its_codes_too() -> None:
    few = part_of(LAYOUT, [rows_of(range(300), begin=5, notes=20)])
    other = part_of(LAYOUT, [rows_of(range(100, 400), begin=4, notes=33)])
    small = part_of(LAYOUT, [rows_of(range(20), begin=3, notes=1000)])
    assert few[0].reader.dictionary(3) is not None
    assert small[0].reader.dictionary(3) is None
    segment = check(LAYOUT, [few, other, small], [None, None, None], before=0)
    dictionary = segment.reader.dictionary(3)
    assert dictionary is not None
    assert len(dictionary.offsets) - 1 == 33
    assert segment.reader.dictionary(1) is not None


def test_a_dictionary_is_given_up_where_it_does_not_pay_any_more() -> None:
    few = part_of(LAYOUT, [rows_of(range(300), begin=5, notes=20)])
    many = part_of(LAYOUT, [rows_of(range(1000, 2000), begin=4, notes=10_000)])
    segment = check(LAYOUT, [few, many], [None, None], before=5)
    assert segment.reader.dictionary(3) is None


def test_rows_of_small_segments_get_a_dictionary_once_they_are_enough() -> None:
    parts = [part_of(LAYOUT, [rows_of(range(30 * n, 30 * n + 30), begin=9 - n, notes=25)]) for n in range(8)]
    assert parts[0][0].reader.dictionary(3) is None
    segment = check(LAYOUT, parts, [None] * 8, before=0)
    assert segment.reader.dictionary(3) is not None


@pytest.mark.parametrize("value", [None, "fill"])
@pytest.mark.parametrize("notes", [3, 100_000])
def test_columns_that_were_added_are_filled_and_dropped_ones_left_out(value: str | None, notes: int) -> None:
    missing = None if value is None else Literal(value=value, type=types.TEXT)
    added = Column(id=4, name="added", type=types.TEXT, missing=missing)
    after = Layout(dataclasses.replace(TABLE, columns=(*COLUMNS[:2], added)))
    old, old_rows = part_of(LAYOUT, [rows_of(range(200), begin=1, notes=20)])
    new_rows = [
        Row({1: row.values[1], 2: row.values[2], 4: row.values[3]}, 2)
        for row in rows_of(range(100, 300), begin=2, notes=notes)
    ]
    new = part_of(after, [new_rows])
    seen = [Row({1: row.values[1], 2: row.values[2], 4: value}, 1) for row in old_rows]
    check(after, [new, (old, seen)], [None, None], before=0)


@given(st.sampled_from(typed_values.EVERY_TYPE), st.data())
@settings(max_examples=60, deadline=None)
def test_a_column_of_any_type_is_filled(type: types.Type, data: st.DataObject) -> None:
    value = data.draw(typed_values.values_of(type, nullable=True))
    added = Column(id=4, name="added", type=type, missing=None if value is None else Literal(value=value, type=type))
    after = Layout(dataclasses.replace(TABLE, columns=(*COLUMNS, added)))
    old, old_rows = part_of(LAYOUT, [rows_of(range(50), begin=1, notes=20)])
    own = typed_values.values_of(type, nullable=True)
    new_rows = [Row({**row.values, 4: data.draw(own)}, 2) for row in rows_of(range(45, 55), begin=2, notes=20)]
    seen = [Row({**row.values, 4: value}, 1) for row in old_rows]
    check(after, [part_of(after, [new_rows]), (old, seen)], [None, None], before=0)


def test_rows_that_a_large_transaction_prepared_began_when_it_committed() -> None:
    first, second = (part_of(LAYOUT, [rows_of(range(n, n + 200), begin=1, notes=20)]) for n in (0, 100))
    inputs = [Input(reader=first[0].reader, begin=8), Input(reader=second[0].reader)]
    writer, output = sorted_rows.writer_of(400)
    result = merge(writer, LAYOUT, inputs, normalize_before=0)
    segment = sorted_rows.opened(writer, output, LAYOUT)
    assert (result.version_low, result.version_high) == (1, 8)
    begins = [row.begin for row in segment.rows()]
    assert [begins[row] for row in result.mappings[0]] == [8] * 200
    assert [begins[row] for row in result.mappings[1]] == [1] * 200


def test_begin_versions_that_nobody_tells_apart_and_flags_that_nobody_set_take_no_place() -> None:
    parts = [part_of(LAYOUT, [rows_of(range(500), begin=n, notes=20)]) for n in (9, 8)]
    segment = check(LAYOUT, parts, [None, None], before=9)
    sizes = {(size.column, size.encoding): size.bytes for size in segment.reader.sizes()}
    assert sizes[merging.BEGIN, "constant"] == sizes[DELTA, "constant"] == 0


def test_one_segment_is_written_again_without_the_rows_that_are_dropped() -> None:
    part = part_of(LAYOUT, [rows_of(range(1000), begin=1, notes=20)])
    drop = [n < 300 or n % 3 == 0 or n > 900 for n in range(1000)]
    check(LAYOUT, [part], [drop], before=1)


def test_rows_without_primary_key_come_by_key_time_and_row_id() -> None:
    columns = (
        Column(id=1, name="device", type=types.INTEGER),
        Column(id=2, name="time", type=types.TIMESTAMP),
    )
    layout = Layout(Table(id=1, name="t", columns=columns, key=(1,), time=2))
    second = datetime.timedelta(seconds=1)
    parts = [
        part_of(
            layout,
            [[Row({ROW_ID: 1000 * (3 - p) + n, 1: n % 3, 2: START + second * (n % 50)}, 3 - p) for n in range(200)]],
        )
        for p in range(3)
    ]
    check(layout, parts, [None, [n % 2 == 0 for n in range(200)], None], before=1)


def test_hundreds_of_segments_are_merged_at_once() -> None:
    parts = [part_of(LAYOUT, [rows_of(range(n % 7, n % 7 + 20), begin=500 - n, notes=20)]) for n in range(200)]
    drops = [None if n % 3 else [n % 2 == row % 2 for row in range(20)] for n in range(200)]
    check(LAYOUT, parts, drops, before=0)


@pytest.mark.parametrize(("length", "expected"), [(5, 256), (30, 256), (100, 64)])
def test_blocks_have_fewer_rows_where_values_are_long(
    monkeypatch: pytest.MonkeyPatch, length: int, expected: int
) -> None:
    monkeypatch.setattr(segment_writer, "_BLOCK_BYTES_MAX", 10_000)
    monkeypatch.setattr(sealing, "PIECE_BYTES_MAX", 20_000)
    parts: list[Part] = []
    for begin in (2, 1):
        rows = [Row({1: "device", 2: n, 3: f"{n:0{length}}"}, begin) for n in range(begin, 1000)]
        writer, output = sorted_rows.writer_of(len(rows), block_rows=256)
        seal(writer, LAYOUT, sorted_rows.filled(LAYOUT, [rows]).chunks)
        segment = sorted_rows.opened(writer, output, LAYOUT)
        parts.append((segment, segment.rows()))
    assert block_rows_of(LAYOUT, [Input(reader=part[0].reader) for part in parts]) == expected
    check(LAYOUT, parts, [None, None], before=0)


def test_the_caller_may_pause_between_pieces() -> None:
    parts = [part_of(LAYOUT, [rows_of(range(500), begin=n, notes=20)]) for n in (9, 8)]
    handled: list[int] = []
    writer, _ = sorted_rows.writer_of(1000)
    inputs = [Input(reader=part[0].reader) for part in parts]
    merge(writer, LAYOUT, inputs, normalize_before=0, pause=handled.append)
    assert len(handled) >= 2 + 5
    assert min(handled) > 0
