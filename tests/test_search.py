"""Keys found in segments, against plain loops over the same rows."""

from __future__ import annotations

import bisect
import dataclasses
import datetime
from typing import Any

import numpy as np
import pytest
import soak
import sorted_rows
import typed_values
from hypothesis import given, settings
from hypothesis import strategies as st
from sorted_rows import Row
from weftdb.base import types
from weftdb.base.errors import Corrupt
from weftdb.base.rows import python_values
from weftdb.engine.expression.node import Literal
from weftdb.engine.key_encoding import Keys
from weftdb.engine.layout import Layout
from weftdb.engine.schema import ROW_ID, Column
from weftdb.engine.seal import seal
from weftdb.engine.segment_index import SegmentIndex, find_ranges, following, gather, rows_between
from weftdb.engine.sorted_keys import KeyHashes
from weftdb.storage.column_values import array_of
from weftdb.storage.kernels.blocks import CONSTANT, PACKED, RUNS
from weftdb.storage.segment import SegmentReader


def segment_of(layout: Layout, batches: list[list[Row]]) -> tuple[sorted_rows.Segment, list[Row]]:
    memtable = sorted_rows.filled(layout, batches)
    count = sum(map(len, batches))
    writer, output = sorted_rows.writer_of(count)
    seal(writer, layout, memtable.chunks)
    segment = sorted_rows.opened(writer, output, layout)
    return segment, segment.rows()


def keys_of(layout: Layout, rows: list[Row]) -> Keys:
    """The encoded sort keys of rows."""
    columns = [
        sorted_rows.values_by_id(layout, [row.values for row in rows])[column.id] for column in layout.sort_columns
    ]
    return layout.sort_encoder.encode(columns, count=len(rows))


def bytes_of(keys: Keys) -> list[bytes]:
    if not len(keys.offsets):
        return [words.tobytes() for words in keys.words.reshape(-1, keys.width)]
    return [keys.words[start:stop].tobytes() for start, stop in zip(keys.offsets, keys.offsets[1:], strict=False)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Layout, list[list[Row]], list[Row]]:
    """Rows of a segment, some of them often, so that their versions fill several blocks; and rows to ask for."""
    layout = Layout(draw(sorted_rows.tables()))
    batches = draw(sorted_rows.versions(layout))
    if layout.encoder is not None:
        many = draw(st.sampled_from([1, 1, 50, 130]))
        batches = [batch[:1] * many + batch[1:] for batch in batches]
    asked = [row for batch in draw(sorted_rows.versions(layout, first_id=20)) for row in batch]
    return layout, batches, [batches[0][0], *asked]


@given(cases())
@settings(max_examples=soak.many(50, 150), deadline=None)
def test_find_gives_the_newest_row_of_each_key(case: tuple[Layout, list[list[Row]], list[Row]]) -> None:
    layout, batches, asked = case
    segment, rows = segment_of(layout, batches)
    stored = bytes_of(keys_of(layout, rows))
    keys = keys_of(layout, asked)
    expected = [stored.index(key) if key in stored else -1 for key in bytes_of(keys)]
    assert segment.index.find(keys).tolist() == expected
    assert segment.index.find(keys_of(layout, rows)).tolist() == [stored.index(key) for key in stored]


@given(cases(), st.data())
@settings(max_examples=soak.many(50, 150), deadline=None)
def test_a_range_is_what_lies_between_two_keys_and_bounds_may_be_cut_short(
    case: tuple[Layout, list[list[Row]], list[Row]], data: st.DataObject
) -> None:
    layout, batches, asked = case
    segment, rows = segment_of(layout, batches)
    stored = bytes_of(keys_of(layout, rows))
    known = st.sampled_from(stored + bytes_of(keys_of(layout, asked)))

    def bound() -> bytes:
        key = data.draw(known)
        cut = key[: data.draw(st.integers(0, len(key)))]
        return following(cut) if data.draw(st.booleans()) else cut

    for _ in range(8):
        low, high = bound(), bound()
        start = bisect.bisect_left(stored, low)
        stop = bisect.bisect_left(stored, high) if high else len(stored)
        assert segment.index.range(low, high) == (start, max(start, stop)), (low, high)


FIRST_KEYS = {
    "even": (types.BIGINT, lambda n: 7 * n - 500),
    "uneven": (types.BIGINT, lambda n: n**5 - 10**6),
    "wide": (types.BIGINT, lambda n: -(2**63) + n * (2**64 // 500) // 2**34 * 2**34),
    "narrow": (types.SMALLINT, lambda n: 65 * n - 2**15),
    "text": (types.TEXT, lambda n: f"d{n * n % 1_000:03} {n}"),
    "nullable": (types.INTEGER, lambda n: n),
}


@pytest.mark.parametrize("rows_each", [1, 3, 20, 150])
@pytest.mark.parametrize("name", FIRST_KEYS)
def test_keys_are_found_whatever_form_their_first_column_has(name: str, rows_each: int) -> None:
    type, value = FIRST_KEYS[name]
    keyed = name != "nullable"
    columns = (
        Column(id=1, name="k", type=type, nullable=not keyed),
        Column(id=2, name="n", type=types.INTEGER, nullable=False),
    )
    table = sorted_rows.Table(
        id=1, name="t", columns=columns, primary_key=(1, 2) if keyed else (), key=(1,) if keyed else (1, 2)
    )
    layout = Layout(table)
    random = np.random.default_rng(rows_each)
    keys = [value(n) for n in sorted(random.choice(500, min(500, 600 // rows_each + 2), replace=False).tolist())]
    rows = [Row({1: key, 2: 10 * n}, 1) for key in keys for n in range(rows_each + int(random.integers(3)))]
    if not keyed:
        rows = [Row({**row.values, ROW_ID: n}, 1) for n, row in enumerate(rows)]
    segment, rows = segment_of(layout, [rows])
    stored = bytes_of(keys_of(layout, rows))
    asked = sorted({near for key in keys for near in neighbours(key)} | set(keys))
    encoder = layout.sort_encoder
    for key in asked:
        prefix = encoder.encode_column(0, key)
        for low, high in ((-1, 5), (10, 11), (0, 10 * rows_each), (25, 2**31 - 1)):
            first, last = (prefix + encoder.encode_column(1, bound) for bound in (low, high))
            start = bisect.bisect_left(stored, first)
            assert segment.index.range(first, last) == (start, max(start, bisect.bisect_left(stored, last)))
        first, last = bisect.bisect_left(stored, prefix), bisect.bisect_left(stored, following(prefix))
        assert segment.index.range(prefix, following(prefix)) == (first, last)
    if keyed:
        wanted = keys_of(layout, [Row({1: key, 2: n}, 1) for key in asked for n in (0, 5, 10)])
        expected = [stored.index(key) if key in stored else -1 for key in bytes_of(wanted)]
        assert segment.index.find(wanted).tolist() == expected


def neighbours(key: Any) -> list[Any]:
    if isinstance(key, str):
        return [key[:-1], key + "0"]
    return [near for near in (key - 1, key + 1) if near >= -(2**15)]


def test_first_columns_have_every_form() -> None:
    """Which the test above relies on."""
    layout = Layout(dataclasses.replace(series_layout().table, columns=(INTEGER, COLUMNS[1])))
    start = typed_values.samples_of(types.TIMESTAMP)[2]
    found: set[int] = set()
    for each in (1, 20, 150):
        rows = [Row({1: n**3, 2: start + SECOND * m}, 1) for n in range(600 // each) for m in range(each)]
        segment, _ = segment_of(layout, [rows])
        found |= set(segment.reader.directory(1)["encoding"].tolist())
    assert found == {CONSTANT, PACKED, RUNS}


@pytest.mark.parametrize(
    ("prefix", "expected"), [(b"ab", b"ac"), (b"a\xff\xff", b"b"), (b"\xff", b""), (b"", b""), (b"\0\xff", b"\1")]
)
def test_following_is_the_least_behind_all_that_begin_with_a_prefix(prefix: bytes, expected: bytes) -> None:
    assert following(prefix) == expected


SECOND = datetime.timedelta(seconds=1)
INTEGER = Column(id=1, name="n", type=types.INTEGER, nullable=False)
COLUMNS = (
    Column(id=1, name="device", type=types.TEXT, nullable=False),
    Column(id=2, name="time", type=types.TIMESTAMP, nullable=False),
    Column(id=3, name="note", type=types.TEXT),
    Column(id=4, name="price", type=types.numeric(30, 2)),
)


def series_layout(*more: Column) -> Layout:
    table = sorted_rows.Table(
        id=1, name="t", columns=(*COLUMNS, *more), primary_key=(1, 2), key=(1,), time=2, next_column_id=9
    )
    return Layout(table)


def series(device: int, times: range) -> list[Row]:
    values = typed_values.samples_of(types.TIMESTAMP)[2]
    return [
        Row({1: f"device {device}", 2: values + SECOND * t, 3: None if t % 7 == 0 else f"note {t % 40}", 4: None}, 1)
        for t in times
    ]


def test_a_series_is_read_out_of_many_segments_at_once() -> None:
    layout = series_layout()
    parts = [segment_of(layout, [series(d, range(100 * n, 100 * n + 90))]) for n in range(5) for d in (n, 7)]
    indexes = [segment.index for segment, _ in parts]
    prefix = layout.sort_encoder.encode_one(("device 7", 0))[: len("device 7") + 2]
    hashed = int(KeyHashes(layout).of(keys_of(layout, series(7, range(1))), [lambda: devices(layout)])[0])
    for key_hash in (None, hashed):
        starts, stops, count = find_ranges(indexes, prefix, following(prefix), key_hash=key_hash)
        assert count == (stops - starts).sum()
        assert (stops - starts).tolist() == [0, 90] * 5
    sources, rows = rows_between(starts, stops)
    assert sources.tolist() == np.repeat(np.arange(10), stops - starts).tolist()
    assert rows.tolist() == [row for start, stop in zip(starts, stops, strict=True) for row in range(start, stop)]
    for column in COLUMNS:
        values = gather(indexes, column, sources, rows)
        expected = [parts[s][1][r].values[column.id] for s, r in zip(sources.tolist(), rows.tolist(), strict=True)]
        assert python_values(array_of(values, column.type), column.type) == expected


def devices(layout: Layout) -> Any:
    return sorted_rows.values_by_id(layout, [row.values for row in series(7, range(1))])[1]


@given(st.sampled_from(typed_values.EVERY_TYPE), st.data())
@settings(max_examples=soak.many(30, 80), deadline=None)
def test_gather_gives_values_of_any_type_also_in_segments_older_than_the_column(
    type: types.Type, data: st.DataObject
) -> None:
    value = data.draw(typed_values.values_of(type, nullable=True))
    added = Column(
        id=8, name="added", type=type, missing=Literal(value=value, type=type) if value is not None else None
    )
    old, new = series_layout(), series_layout(added)
    drawn = data.draw(st.lists(typed_values.values_of(type, nullable=True), min_size=90, max_size=90))
    rows = [Row({**row.values, 8: each}, 1) for row, each in zip(series(1, range(90)), drawn, strict=True)]
    first, second = segment_of(old, [series(1, range(90))])[0], segment_of(new, [rows])
    indexes = [SegmentIndex(first.reader, new), second[0].index]
    sources = np.array(data.draw(st.lists(st.integers(0, 1), min_size=1, max_size=20)), np.int64)
    places = np.array(data.draw(st.lists(st.integers(0, 89), min_size=len(sources), max_size=len(sources))), np.int64)
    values = gather(indexes, added, sources, places)
    found = python_values(array_of(values, type), type)
    for source, place, one in zip(sources.tolist(), places.tolist(), found, strict=True):
        assert sorted_rows.same(one, second[1][place].values[8] if source else value)


def test_what_a_search_touches_first_is_verified() -> None:
    layout = series_layout()
    memtable = sorted_rows.filled(layout, [series(n, range(100)) for n in range(8)])
    writer, output = sorted_rows.writer_of(800)
    seal(writer, layout, memtable.chunks)
    writer.finish()
    whole = SegmentReader.open(np.frombuffer(bytes(output.data), np.uint8), name="whole")
    asked = keys_of(layout, [series(n, range(50, 51))[0] for n in range(8)])
    assert SegmentIndex(whole, layout).find(asked).tolist() == [100 * n + 50 for n in range(8)]
    entry = whole.directory(2)[3]
    output.data[int(entry["offset"]) + 5] ^= 1
    damaged = SegmentReader.open(np.frombuffer(bytes(output.data), np.uint8), name="damaged")
    index = SegmentIndex(damaged, layout)
    block = 3 * sorted_rows.BLOCK_ROWS // 100
    for n in range(8):
        key = asked.take(np.array([n]))
        if n == block + 1:
            with pytest.raises(Corrupt, match="block 3 of column 2"):
                index.find(key)
        else:
            assert index.find(key).tolist() == [100 * n + 50]
    with pytest.raises(Corrupt, match="block 3 of column 2"):
        gather([index], COLUMNS[1], np.zeros(800, np.int64), np.arange(800))


def test_filters_answer_for_keys_that_are_not_there() -> None:
    layout = series_layout()
    segment, _ = segment_of(layout, [series(n, range(100)) for n in range(8)])
    index = segment.index
    foreign = keys_of(layout, [series(n, range(500, 501))[0] for n in range(8)] * 100)
    assert (index.find(foreign) == -1).all()
    hashes = np.arange(10_000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert index.may_hold(hashes).sum() < 300
    unfiltered = Layout(dataclasses.replace(layout.table, primary_key=(), key=(), time=2))
    rows = [dataclasses.replace(row, values={**row.values, ROW_ID: n}) for n, row in enumerate(series(1, range(9)))]
    assert segment_of(unfiltered, [rows])[0].index.may_hold(hashes[:3]).all()
