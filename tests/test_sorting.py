"""The sorting kernels against Python's sort of the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.engine.kernels import sorting as kernels
from weftdb.engine.sort_rows import sort_rows


def words_of(keys: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(key.ljust(-(-len(key) // 8) * 8, b"\0") for key in keys), np.uint64)


def sorted_fixed(words: np.ndarray, width: int, items: np.ndarray) -> list[int]:
    """The order of keys of one width, as sealing puts the kernels together."""
    count = len(words) // width
    ones, zeros = np.zeros(width, np.uint64), np.zeros(width, np.uint64)
    kernels.observe(words, width, count, ones, zeros)
    runs, bits = kernels.runs_of(ones & zeros)
    order = np.arange(count, dtype=np.uint32)
    packed, keys, spare = (np.empty(count, np.uint64) for _ in range(3))
    for target in range(-(-bits // 64)):
        kernels.compress(words, width, items, runs, target, 0, packed)
        kernels.gather_words(packed, order, keys)
        kernels.radix(keys, order, 0, count, 0, min(64, bits - 64 * target), spare, np.empty(count, np.uint32))
    return items[order].tolist()


@st.composite
def fixed_keys(draw: st.DrawFn) -> list[bytes]:
    """Keys of one width that differ in some bits only, as the keys of a cell do."""
    width = draw(st.integers(1, 4)) * 8
    base = draw(st.binary(min_size=width, max_size=width))
    mask = int.from_bytes(draw(st.binary(min_size=width, max_size=width)), "big")
    mask &= int.from_bytes(draw(st.binary(min_size=width, max_size=width)), "big")
    values = draw(st.lists(st.integers(0, (1 << 8 * width) - 1), max_size=60))
    return [(int.from_bytes(base, "big") ^ (value & mask)).to_bytes(width, "big") for value in values] or [base]


@given(fixed_keys(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_keys_of_one_width_come_in_the_order_of_their_bytes_and_ties_as_they_came(keys: list[bytes], random) -> None:
    items = list(range(len(keys)))
    random.shuffle(items)
    expected = sorted(items, key=lambda item: keys[item])
    assert sorted_fixed(words_of(keys), len(keys[0]) // 8, np.array(items, np.uint32)) == expected


def test_many_keys_are_sorted_with_wide_digits() -> None:
    random = np.random.default_rng(1)
    words = random.integers(0, 2**64, 40_000, dtype=np.uint64).reshape(-1, 2)
    words[:, 0] &= np.uint64(0x0300000000000000)
    words[:, 1] &= np.uint64(0xFF3FF1FF00000000)
    keys = [row.tobytes() for row in words]
    expected = sorted(range(len(keys)), key=keys.__getitem__)
    assert sorted_fixed(words.reshape(-1), 2, np.arange(len(keys), dtype=np.uint32)) == expected


def check_sorted_rows(groups: list[np.ndarray], *, newest_first: bool) -> None:
    """``sort_rows`` over keys (uint64[n, width] as words lie), but for some, against Python's sort of their bytes."""
    kept = [np.arange(len(group) > 1, len(group), dtype=np.uint32) for group in groups]
    numbers = [(number, len(rows)) for number, rows in enumerate(kept)]
    names = [rows + np.uint32(number << 16) for number, rows in enumerate(kept)]
    if newest_first:
        numbers, names = numbers[::-1], [rows[::-1] for rows in names[::-1]]
    items = np.concatenate(names)
    keys = {(number << 16) + row: key.tobytes() for number, group in enumerate(groups) for row, key in enumerate(group)}
    expected = sorted(items.tolist(), key=keys.__getitem__)
    words = [group.reshape(-1) for group in groups]
    ordered, packed = sort_rows(items.copy(), numbers, words, [None] * len(groups), width=groups[0].shape[1])
    assert ordered.tolist() == expected
    if packed is not None:
        middle = len(items) // 2
        parts = packed.words(0, middle), packed.words(middle, len(items))
        assert b"".join(part.tobytes() for part in parts) == b"".join(keys[item] for item in expected)


@given(fixed_keys(), st.integers(1, 3), st.booleans())
@settings(max_examples=150, deadline=None)
def test_rows_of_several_groups_are_sorted_and_their_keys_made_again(
    keys: list[bytes], groups: int, newest_first: bool
) -> None:
    matrix = words_of(keys).reshape(len(keys), -1)
    parts = [part for part in np.array_split(matrix, groups) if len(part)]
    check_sorted_rows(parts, newest_first=newest_first)


@pytest.mark.parametrize("customers", [1, 40, 3_000, 1_000_000])
@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_series_are_sorted_by_their_customers_first(customers: int, newest_first: bool, late: bool) -> None:
    """Times rise, but for late ones, and repeat: the upper bits tell customers apart, the lower ones their events."""
    random = np.random.default_rng(customers)
    count = 20_000
    times = np.sort(random.integers(0, 2**40, count, np.uint64)) // np.uint64(8 * 10**6) * np.uint64(10**6)
    if late:
        times[::50] = times[random.integers(0, count, len(times[::50]))]
    keys = np.stack([random.integers(0, customers, count, np.uint64), times], axis=1).byteswap()
    check_sorted_rows(np.array_split(keys, 3), newest_first=newest_first)


def sorted_variable(groups: list[list[bytes]], items: np.ndarray) -> list[int]:
    words = [words_of(group) for group in groups]
    offsets = [np.cumsum([0, *(-(-len(key) // 8) for key in group)]).astype(np.uint32) for group in groups]
    kernels.sort_variable(addresses(words), addresses(offsets), items)
    return items.tolist()


def addresses(arrays: list[np.ndarray]) -> np.ndarray:
    return np.array([array.__array_interface__["data"][0] for array in arrays], np.uint64)


texts = st.builds(
    lambda prefix, text: (prefix + text).encode() + b"\0\0",
    st.sampled_from(["", "a", "http://www.example.com/", "http://www.example.com/0123456789"]),
    st.text("abz", max_size=12) | st.integers(0, 300).map(str),
)


@given(st.lists(st.lists(texts, max_size=40), min_size=1, max_size=4), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_keys_of_variable_width_come_in_the_order_of_their_bytes(groups: list[list[bytes]], times: int) -> None:
    groups = [group * times for group in groups]
    items = [(number << 16) + row for number, group in enumerate(groups) for row in range(len(group))][::-1]
    expected = sorted(items, key=lambda item: groups[item >> 16][item & 0xFFFF])
    assert sorted_variable(groups, np.array(items, np.uint32)) == expected


def test_many_keys_of_variable_width_are_split_into_groups_of_equal_words() -> None:
    random = np.random.default_rng(2)
    numbers = random.integers(0, 3_000, 20_000).tolist()
    keys = [b"customer-with-a-long-name-%d\0\0" % number for number in numbers]
    items = np.arange(len(keys), dtype=np.uint32)[::-1].copy()
    expected = sorted(items.tolist(), key=keys.__getitem__)
    assert sorted_variable([keys], items) == expected


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_runs_cover_every_varying_bit_once_and_keep_their_order(varying: list[int]) -> None:
    runs, total = kernels.runs_of(np.array(varying, np.uint64))
    covered: list[tuple[int, int]] = []
    place = 0
    for word, shift, bits, target, at in runs.tolist():
        assert (target * 64 + at, at + bits <= 64) == (place, True)
        covered += [(word, shift + bit) for bit in range(bits)]
        place += bits
    assert place == total == len(set(covered))
    assert covered == sorted(covered, key=lambda bit: (-bit[0], bit[1]))
    swapped = [int.from_bytes(word.to_bytes(8, "little"), "big") for word in varying]
    assert {(word, bit) for word, mask in enumerate(swapped) for bit in range(64) if mask >> bit & 1} <= set(covered)
