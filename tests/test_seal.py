"""Sealing: rows of memtables as a segment, against Python's sort of the same rows."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import numpy as np
import pytest
import sorted_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from sorted_rows import Row
from weftdb.base import types
from weftdb.engine import seal as sealing
from weftdb.engine.expression.node import Literal
from weftdb.engine.kernels import filters
from weftdb.engine.layout import Layout
from weftdb.engine.memtable import OPEN
from weftdb.engine.schema import Column, Table
from weftdb.engine.seal import Sealed, seal
from weftdb.engine.sorted_keys import KeyHashes


def sealed(layout: Layout, chunks: list[Any], keep: list[bool] | None = None) -> tuple[sorted_rows.Segment, Sealed]:
    count = sum(keep) if keep is not None else sum(chunk.count for chunk in chunks)
    writer, output = sorted_rows.writer_of(count)
    mask = None if keep is None else np.array(keep, np.bool_)
    result = seal(writer, layout, chunks, keep=mask)
    return sorted_rows.opened(writer, output, layout), result


@st.composite
def cases(draw: st.DrawFn) -> tuple[Layout, list[list[Row]], list[bool] | None]:
    layout = Layout(draw(sorted_rows.tables()))
    batches = draw(sorted_rows.versions(layout))
    count = sum(map(len, batches))
    keep = draw(st.none() | st.lists(st.booleans(), min_size=count, max_size=count).filter(any))
    return layout, batches, keep


@given(cases())
@settings(max_examples=150, deadline=None)
def test_rows_come_by_sort_key_and_newest_first(case: tuple[Layout, list[list[Row]], list[bool] | None]) -> None:
    layout, batches, keep = case
    memtable = sorted_rows.filled(layout, batches)
    segment, result = sealed(layout, memtable.chunks, keep)
    arrived = [row for batch in batches for row in batch]
    kept = [place for place in range(len(arrived)) if keep is None or keep[place]]
    newest_first = kept[::-1]
    order = sorted(newest_first, key=lambda place: sorted_rows.sort_key(layout, arrived[place]))
    sorted_rows.assert_rows(segment.rows(), [arrived[place] for place in order])
    expected = {place: row for row, place in enumerate(order)}
    assert result.permutation.tolist() == [expected.get(place, -1) for place in range(len(arrived))]
    begins = [arrived[place].begin for place in kept]
    assert (result.rows_count, result.version_low, result.version_high) == (len(kept), min(begins), max(begins))
    check_index(layout, segment, [arrived[place] for place in order])
    if layout.time is None:
        assert result.time_low > result.time_high
    else:
        values = sorted_rows.values_by_id(layout, [arrived[place].values for place in kept])
        times = layout.times(values).tolist()
        assert (result.time_low, result.time_high) == (min(times), max(times))


def check_index(layout: Layout, segment: sorted_rows.Segment, rows: list[Row]) -> None:
    """Samples and filters are those of the rows."""
    reader = segment.reader
    values = sorted_rows.values_by_id(layout, [row.values for row in rows])
    keys = layout.sort_encoder.encode([values[column.id] for column in layout.sort_columns], count=len(rows))
    samples = keys.take(np.arange(0, len(rows), sorted_rows.BLOCK_ROWS))
    assert reader.sample_words is not None
    assert reader.sample_words.tolist() == samples.words.tolist()
    offsets = reader.sample_offsets
    assert (None if offsets is None else offsets.tolist()) == (
        samples.offsets.tolist() if len(samples.offsets) else None
    )
    if layout.encoder is None:
        assert reader.pk_filter is None
    else:
        assert reader.pk_filter is not None
        assert passed(reader.pk_filter, keys.hashes).all()
    table = layout.table
    if not table.key or table.key == table.primary_key:
        assert reader.key_filter is None
    else:
        encoder = KeyHashes(layout)
        hashes = encoder.of(keys, [partial(values.__getitem__, id) for id in table.key])
        expected = layout._shard_hashes(values, None, count=len(rows))
        assert hashes.tolist() == expected.tolist()
        assert reader.key_filter is not None
        assert passed(reader.key_filter, hashes).all()
        assert len(reader.key_filter) <= len(filters.build(np.unique(hashes))) * 2.5 + 4


def passed(filter: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    result = np.empty(len(hashes), np.uint8)
    filters.probe(filter.copy(), hashes, result)
    return result


def table_of(*columns: Column, primary_key: tuple[int, ...] = (1,)) -> Table:
    return Table(id=1, name="t", columns=columns, primary_key=primary_key, key=primary_key[:1])


KEY = Column(id=1, name="key", type=types.BIGINT, nullable=False)


@pytest.mark.parametrize("value", [None, "fill"])
def test_columns_that_were_added_are_filled_and_dropped_ones_left_out(value: str | None) -> None:
    missing = None if value is None else Literal(value=value, type=types.TEXT)
    added = Column(id=3, name="added", type=types.TEXT, missing=missing)
    before = Layout(table_of(KEY, Column(id=2, name="old", type=types.INTEGER)))
    after = Layout(table_of(KEY, added))
    memtable = sorted_rows.filled(before, [[Row({1: n, 2: n}, 1) for n in range(200)]])
    sorted_rows.filled(after, [[Row({1: 300 + n, 3: f"new {n % 3}"}, 2) for n in range(200)]], memtable)
    segment, _ = sealed(after, memtable.chunks)
    expected = [Row({1: n, 3: value}, 1) for n in range(200)]
    expected += [Row({1: 300 + n, 3: f"new {n % 3}"}, 2) for n in range(200)]
    sorted_rows.assert_rows(segment.rows(), expected)


@pytest.mark.parametrize("key_type", [types.BIGINT, types.TEXT, types.UUID])
def test_many_chunks_of_many_rows(key_type: types.Type) -> None:
    """More rows than one piece and one chunk have, keys of more than 64 varying bits among them."""
    from weftdb.engine.memtable import Memtable
    from weftdb.storage.column_values import FixedValues, VariableValues

    key = dataclasses.replace(KEY, type=key_type)
    layout = Layout(table_of(key, Column(id=2, name="n", type=types.INTEGER, nullable=False)))
    random = np.random.default_rng(5)
    count = 150_000
    numbers = random.integers(0, 2**40, (count, 2), dtype=np.uint64)
    arrays: Any = FixedValues(numbers, None)
    if key_type is types.BIGINT:
        arrays = FixedValues(numbers[:, 0].astype(np.int64), None)
    elif key_type is types.TEXT:
        encoded = [b"customer %d" % number for number in numbers[:, 0].tolist()]
        offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
        arrays = VariableValues(offsets, np.frombuffer(b"".join(encoded), np.uint8), None)
    values = {1: arrays, 2: FixedValues(np.arange(count, dtype=np.int32), None)}
    memtable = Memtable()
    memtable.append(layout, values, layout.encode(values, count=count), 0, count, version=1, delta=False)
    writer, output = sorted_rows.writer_of(count, block_rows=16_384)
    handled: list[int] = []
    result = seal(writer, layout, memtable.chunks, pause=handled.append)
    segment = sorted_rows.opened(writer, output, layout)
    stored = segment.reader.read(2, types.INTEGER, 0, count).values
    assert result.permutation[stored].tolist() == list(range(count))
    if key_type is types.TEXT:
        assert [encoded[n] for n in stored.tolist()] == sorted(encoded)
    elif key_type is types.BIGINT:
        assert (np.diff(numbers[stored, 0].astype(np.int64)) >= 0).all()
    else:
        ordered = [numbers[n].tobytes() for n in stored.tolist()]
        assert ordered == sorted(ordered)
    assert len(handled) >= 10
    assert max(handled) < 4_000_000
    assert (result.time_low, result.time_high) == (OPEN, -OPEN)


def test_long_values_are_handled_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "PIECE_BYTES_MAX", 10_000)
    monkeypatch.setattr(sealing, "COLUMN_BYTES_MAX", 100_000)
    layout = Layout(table_of(KEY, Column(id=2, name="note", type=types.TEXT)))
    rows = [Row({1: n, 2: str(n) * (2_000 if 500 < n < 510 else 3)}, 1) for n in range(1000)]
    sizes: list[int] = []
    writer, output = sorted_rows.writer_of(1000)
    seal(writer, layout, sorted_rows.filled(layout, [rows]).chunks, pause=sizes.append)
    sorted_rows.assert_rows(sorted_rows.opened(writer, output, layout).rows(), rows)
    assert sorted(sizes)[-2] < 20_000 < max(sizes) < 64 * 6_500
