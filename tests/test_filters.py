"""Split-block Bloom filters against a naive twin, and the share of foreign hashes that they let pass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.engine.kernels import filters

SALTS = (0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31)

hashes = st.lists(st.integers(0, 2**64 - 1), max_size=300)


def naive(hashed: int, blocks: int) -> set[tuple[int, int, int]]:
    """(block, lane, bit) of one hash."""
    block = (hashed >> 32) * blocks >> 32
    low = hashed & 0xFFFFFFFF
    return {(block, lane, (low * salt & 0xFFFFFFFF) >> 27) for lane, salt in enumerate(SALTS)}


def bits_of(filter: np.ndarray) -> set[tuple[int, int, int]]:
    lanes = filter.view(np.uint32).reshape(-1, 8).tolist()
    places = (
        (b, i, bit) for b, block in enumerate(lanes) for i in range(8) for bit in range(32) if block[i] >> bit & 1
    )
    return set(places)


def probed(filter: np.ndarray, values: list[int]) -> list[int]:
    result = np.empty(len(values), np.uint8)
    filters.probe(filter, np.array(values, np.uint64), result)
    return result.tolist()


@given(hashes, hashes)
@settings(max_examples=100, deadline=None)
def test_a_filter_holds_the_bits_of_its_hashes_and_no_others(inside: list[int], asked: list[int]) -> None:
    filter = filters.build(np.array(inside, np.uint64))
    expected = set().union(*(naive(hashed, len(filter) // 4) for hashed in inside))
    assert bits_of(filter) == expected
    assert probed(filter, asked) == [naive(hashed, len(filter) // 4) <= expected for hashed in asked]
    assert all(probed(filter, inside))


@given(hashes, st.integers(1, 50_000))
@settings(max_examples=100, deadline=None)
def test_a_filter_halved_is_the_filter_made_with_half_the_blocks(inside: list[int], room: int) -> None:
    filter = filters.empty_filter(room)
    filters.add(filter, np.array(inside, np.uint64))
    while len(filter) % 8 == 0:
        filter = filters.halved(filter)
        smaller = np.zeros(len(filter), np.uint64)
        filters.add(smaller, np.array(inside, np.uint64))
        assert filter.tolist() == smaller.tolist()


@pytest.mark.parametrize("keys", [1, 10, 1_000, 100_000])
def test_few_foreign_hashes_pass_and_a_filter_made_too_large_shrinks(keys: int) -> None:
    random = np.random.default_rng(keys)
    inside = random.integers(0, 2**64, keys, dtype=np.uint64)
    filter = filters.empty_filter(40 * keys)
    filters.add(filter, inside)
    assert abs(filters.estimate(filter) - keys) <= 0.02 * keys + 1
    small = filters.shrunk(filter)
    assert 1.0 <= len(small) * 64 / max(256, keys * filters.BITS_PER_KEY) < 2.2
    assert all(probed(small, inside.tolist()))
    foreign = random.integers(0, 2**64, 100_000, dtype=np.uint64)
    assert sum(probed(small, foreign.tolist())) < 2_000
    assert len(filters.build(inside)) * 64 < keys * filters.BITS_PER_KEY * 1.1 + 256


def test_shards_do_not_spoil_a_filter() -> None:
    """All hashes of a cell are equal modulo the number of shards."""
    random = np.random.default_rng(3)
    values = random.integers(0, 2**54, 20_000, dtype=np.uint64) << np.uint64(10) | np.uint64(77)
    filter = filters.build(values[:10_000])
    assert sum(probed(filter, values[10_000:].tolist())) < 200


def test_an_empty_filter_lets_nothing_pass() -> None:
    assert probed(filters.build(np.empty(0, np.uint64)), [0, 1, 2**64 - 1]) == [0, 0, 0]
