"""Grouping by many values: the kernels of records, pages and parts against a dictionary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import soak
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.engine.kernels import groups
from weftdb.engine.kernels.groups import PAGE, PARTS, counts_of, give_way, give_way_all, key_hash, merge, place_again

LAYOUT = (groups.ADD, groups.ADD_WIDE, groups.LEAST, groups.GREATEST, groups.ADD_REAL, groups.LEAST_REAL,
          groups.GREATEST_REAL, groups.ANY)  # fmt: skip
REALS = (0.0, 1.5, -2.0, float("nan"), float("inf"))


def _parts_of(records: np.ndarray, words: int, *, places: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One lane: each record goes to its part, some of them by way of the lane's table."""
    count, width = records.shape
    pages = PARTS + count // PAGE + 1
    pool, chain = np.empty(pages * PAGE * width, np.int64), np.empty(pages, np.int64)
    ends = np.append(np.arange(PARTS) * PAGE, PARTS)
    flat, table = records.reshape(-1), np.zeros(places * width, np.int64)
    for number in range(count):
        hash = int(key_hash(flat, np.uint64(number * width), words))
        at = (hash >> 64 - (places.bit_length() - 1)) * width
        if table[at + words]:
            give_way(table, at, width, hash >> 56, pool, ends, chain)
        table[at : at + width] = records[number]
    give_way_all(table, width, words, pool, ends, chain)
    counts = np.zeros(PARTS, np.int64)
    counts_of(ends, chain, counts)
    assert counts.sum() == count
    return pool, ends, chain


def _naive(lanes: list[np.ndarray], words: int) -> dict[tuple[int, ...], list[Any]]:
    found: dict[tuple[int, ...], list[Any]] = {}
    for record in (record for lane in lanes for record in lane):
        values = [*record[words:].tolist()]
        values[4:7] = record.view(np.float64)[words + 4 : words + 7].tolist()
        row = found.get(tuple(record[:words].tolist()))
        if row is None:
            found[tuple(record[:words].tolist())] = values
            continue
        row[0] += values[0]
        row[1] += values[1]
        row[2], row[3] = min(row[2], values[2]), max(row[3], values[3])
        row[4] += values[4]
        low, high = row[5], row[6]
        row[5] = values[5] if low != low or values[5] < low else low
        row[6] = high if high != high or (values[6] == values[6] and values[6] <= high) else values[6]
        row[7] = row[7] or values[7]
    return found


@settings(max_examples=soak.many(40, 100), deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    words=st.integers(1, 3),
    keys=st.sampled_from([1, 40, 5_000]),
    rows=st.sampled_from([0, 1, 300, 3_000]),
)
def test_parts_hold_what_a_dictionary_holds(seed: int, words: int, keys: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    width = words + len(LAYOUT)
    lanes: list[np.ndarray] = []
    for _ in range(2):
        records = np.zeros((rows, width), np.int64)
        records[:, :words] = random.integers(0, keys, (rows, words)) % np.array([keys, 2, 3])[:words] - 1
        records[:, words] = random.integers(1, 4, rows)
        records[:, words + 1 :] = random.integers(-(1 << 63), (1 << 63) - 1, (rows, width - words - 1))
        records.view(np.float64)[:, words + 4 : words + 7] = random.choice(REALS, (rows, 3))
        records[:, -1] = random.integers(0, 2, rows) * 7
        lanes.append(records)
    pages = [_parts_of(records, words, places=256) for records in lanes]
    layout, target = [], words
    for place, what in enumerate(LAYOUT):
        layout.append((what, words + place, target))
        target += 1 + (what == groups.ADD_WIDE)
    first = np.zeros(target, np.int64)
    first[layout[2][2]], first[layout[3][2]] = (1 << 63) - 1, -(1 << 63)
    first.view(np.float64)[layout[5][2]], first.view(np.float64)[layout[6][2]] = np.nan, -np.inf
    found: dict[tuple[int, ...], list[Any]] = {}
    for part in range(PARTS):
        room = rows + 1
        slots, table, used = (
            np.zeros(1 << (4 * rows + 1).bit_length(), np.uint32),
            np.empty((room, target), np.int64),
            0,
        )
        for number, (pool, ends, chain) in enumerate(pages):
            if number:  # as if the table had become too small
                table = np.concatenate([table[:used], np.empty((room, target), np.int64)])
                slots = np.zeros(2 * slots.size, np.uint32)
                place_again(slots, table, used, words)
            used = merge(part, words, width, np.array(layout), first, pool, ends, chain, slots, table, used)
        for row in table[:used]:
            reals = row.view(np.float64)
            at = [line[2] for line in layout]
            wide = (int(row[at[1] + 1]) << 64) + int(row[at[1]].view(np.uint64))
            values = [int(row[at[0]]), wide, *(int(row[place]) for place in at[2:4])]
            values += [*(float(reals[place]) for place in at[4:7]), int(row[at[7]])]
            key = tuple(row[:words].tolist())
            assert key not in found, "a key has one group"
            found[key] = values
    with np.errstate(all="ignore"):
        expected = _naive(lanes, words)
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key][:4] == values[:4]
        assert found[key][7] == values[7]
        assert found[key][4:7] == pytest.approx(values[4:7], nan_ok=True)


def test_a_hash_tells_words_and_their_order_apart() -> None:
    words = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [-1, 0]], np.int64)
    hashes = {int(key_hash(words.reshape(-1), np.uint64(2 * number), 2)) for number in range(len(words))}
    assert len(hashes) == len(words)
