"""The index and routing kernels against dictionaries and plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from weftdb.base import types
from weftdb.engine.kernels import index as kernels
from weftdb.engine.kernels import routing
from weftdb.engine.key_encoding import Keys
from weftdb.engine.layout import Layout
from weftdb.engine.memtable import Memtable
from weftdb.engine.primary_index import PARTITIONS, PrimaryIndex
from weftdb.engine.schema import Column, Table
from weftdb.storage.column_values import FixedValues, Values, VariableValues

NO_OFFSETS = np.empty(0, np.int64)


def layout_of(type: types.Type) -> Layout:
    column = Column(id=1, name="key", type=type, nullable=False)
    return Layout(Table(id=1, name="t", columns=(column,), primary_key=(1,), key=(1,)))


def integers(values: list[int]) -> dict[int, Values]:
    return {1: FixedValues(np.array(values, np.int64), None)}


def texts(values: list[str]) -> dict[int, Values]:
    encoded = [value.encode() for value in values]
    offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
    return {1: VariableValues(offsets, np.frombuffer(b"".join(encoded), np.uint8), None)}


def colliding(keys: Keys, *, bits: int) -> Keys:
    """The same keys with hashes that have few different tags, so that probing has something to do."""
    hashes = (keys.hashes >> np.uint64(64 - bits)) << np.uint64(32)
    return Keys(keys.words, keys.offsets, keys.width, hashes)


@given(st.lists(st.lists(st.integers(-20, 20), min_size=1, max_size=30), max_size=8), st.booleans(), st.integers(0, 8))
@settings(max_examples=80, deadline=None)
def test_the_index_finds_the_newest_row_as_a_dictionary_does(
    batches: list[list[int]], variable: bool, bits: int
) -> None:
    layout = layout_of(types.TEXT if variable else types.BIGINT)
    memtable = Memtable()
    newest: dict[int, int] = {}
    chains: dict[int, list[int]] = {}
    row = 0

    def encoded(values: list[int]) -> tuple[dict[int, Values], Keys]:
        columns = texts(["x" * (value + 20) for value in values]) if variable else integers(values)
        return columns, colliding(layout.encode(columns, count=len(values)), bits=bits)

    for version, batch in enumerate(batches, 1):
        values, keys = encoded(batch)
        memtable.append(layout, values, keys, 0, len(batch), version=version, delta=False)
        for key in batch:
            newest[key] = row
            chains.setdefault(key, []).append(row)
            row += 1
    asked = list(range(-21, 22))
    asked[0] = -20
    rows = memtable.find_keys(encoded(asked)[1])
    assert [at if at < 0 else dense(memtable, at) for at in rows.tolist()] == [newest.get(key, -1) for key in asked]
    for version in range(len(batches) + 1):
        visible = rows.copy()
        kernels.visible(memtable.table, version, visible)
        begun = [sum(map(len, batches[:at])) for at in range(len(batches) + 1)][version]
        expected = [max((at for at in chains.get(key, []) if at < begun), default=-1) for key in asked]
        assert [at if at < 0 else dense(memtable, at) for at in visible.tolist()] == expected
    assert memtable.rows_count == len(newest) == memtable.index.entries_count


def dense(memtable: Memtable, locator: int) -> int:
    """The place of a row in order of arrival."""
    return sum(chunk.count for chunk in memtable.chunks[: locator >> 16]) + (locator & 0xFFFF)


def test_a_reader_with_a_short_table_is_told_where_to_capture_again() -> None:
    layout = layout_of(types.BIGINT)
    memtable = Memtable()
    for version, first in enumerate((0, 1_000), 1):
        values = integers(list(range(first, first + 1_000)))
        keys = layout.encode(values, count=1_000)
        memtable.append(layout, values, keys, 0, 1_000, version=version, delta=False)
    assert len(memtable.chunks) > 1
    keys = layout.encode(integers([5, 1_900, 6]), count=3)
    rows = np.empty(3, np.int64)
    directory, shift, *_ = memtable.index.slots
    stopped, _ = kernels.find(
        directory, shift, memtable.table, 1, keys.hashes, keys.words, NO_OFFSETS, keys.width, 0, rows
    )
    assert stopped == 1
    assert rows[0] == 5


@pytest.mark.parametrize(("rows_count", "bits"), [(120_000, 32), (30_000, 20), (3_000, 4)])
def test_an_index_grows_a_few_partitions_at_a_time(rows_count: int, bits: int) -> None:
    """With fewer ``bits`` there are only so many different tags, all of them in the first partition."""
    step = rows_count // 30
    layout = layout_of(types.BIGINT)
    memtable = Memtable()
    values = integers(list(range(rows_count)))
    keys = colliding(layout.encode(values, count=rows_count), bits=bits)
    before = memtable.index.slots
    for version, start in enumerate(range(0, rows_count, step), 1):
        memtable.append(layout, values, keys.slice(start, start + step), 0, step, version=version, delta=False)
        slots = memtable.index.slots
        if before.shift == slots.shift < 32:
            grown = sum(one is not other for one, other in zip(before.tables, slots.tables, strict=True))
            assert grown <= 2 * PARTITIONS * np.log2(1 + step / start) + 8, "not all of them at once"
        assert max(memtable.index.entries / [len(table) for table in slots.tables]) <= 0.71
        before = slots
    index = memtable.index
    assert index.entries_count == rows_count
    assert index.bytes_used == sum(table.nbytes for table in index.slots.tables)
    assert index.entries.tolist() == [np.count_nonzero(table) for table in index.slots.tables]
    assert len(index.slots.tables) == (PARTITIONS if rows_count > 22_000 else 1)
    assert [dense(memtable, row) for row in memtable.find_keys(keys).tolist()] == list(range(rows_count))


def test_keys_that_all_come_to_one_partition_have_room() -> None:
    tags = np.arange(1, 100_001, dtype=np.uint64)
    index = PrimaryIndex()
    for batch in np.split(tags << np.uint64(32), 10):
        index.reserve(batch)
        kernels.move(batch, index.slots.directory, index.slots.shift, index.entries)
        assert index.entries[0] <= 0.7 * len(index.slots.tables[0])
    assert len(index.slots.tables) == PARTITIONS
    assert index.entries_count == index.entries[0] == len(tags)


@given(
    st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1) | st.integers(-50, 50)), min_size=1),
    st.integers(1, 9),
    st.sampled_from((1, 7, 1_000, 86_400_000_000)),
    st.integers(-(2**60), 2**60),
)
@example([(0, 9_223_372_036_854_775_806), (0, -9_223_372_036_854_775_537)], 5, 1_000, -263)
@example([(0, -9_223_371_986_427_387_920), (0, 9_223_372_000_882_163_697)], 1, 86_400_000_000, 35_972_612_081)
@settings(max_examples=150, deadline=None)
def test_routing_groups_rows_as_plain_loops_do(
    rows: list[tuple[int, int]], shards: int, every: int, origin: int
) -> None:
    base, phase = divmod(origin, every)
    hashes = np.array([row[0] for row in rows], np.uint64) if shards > 1 else np.empty(0, np.uint64)
    times = np.array([row[1] for row in rows], np.int64)
    slices, shard_of, starts, order = routing.route(hashes, shards, times, every, base, phase)
    expected: dict[tuple[int, int], list[int]] = {}
    for at, (hashed, time) in enumerate(rows):
        slice_ = (time - origin) // every
        wrapped = (slice_ + 2**63) % 2**64 - 2**63
        expected.setdefault((wrapped, hashed % shards if shards > 1 else 0), []).append(at)
    assert list(zip(slices.tolist(), shard_of.tolist(), strict=True)) == list(expected)
    if len(expected) > 1:
        bounds = starts.tolist()
        groups = [order[start:stop].tolist() for start, stop in itertools.pairwise(bounds)]
        assert groups == list(expected.values())
