"""Kernels that find the first or the last living row of a range of keys: in memtables and in segments.

Ranges are pairs of encoded keys, the first key of it and the one behind it, both maybe cut short: bytes behind the end
of one count as 0. Keys have one width in words, or word offsets where it varies (key_encoding.py).

A *run* is rows of a memtable (uint32 locators) in the order of their keys. Beside it stand its *steps*, where to go on
from a row that has ended: ``ahead`` the place of a later row, ``behind`` how many earlier ones there are to look at. A
row that has ended never lives again, so who went over ended rows makes their steps lead to where he arrived: each is
gone over once, and then a few times more (as find does in Tarjan's disjoint sets, 1975).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ...storage.kernels.memory import load32, load64
from .encoding import swap_bytes
from .index import end_of
from .search import lower_bound

NONE, CURRENT, SEEK = -1, -2, -3
"""Where the extreme value of a group comes from: nowhere, from before, from a seek. Else the place of a value."""


@njit(nogil=True, cache=True)
def words_of(table: Any, width: Any, locator: Any) -> Any:
    """Where the key of a memtable's row stands (an address), and how many words it has."""
    header = table[locator >> np.uint32(16)]
    offset = np.uint64(locator & np.uint32(0xFFFF))
    address, offsets = load64(header), load64(header + np.uint64(8))
    if offsets == np.uint64(0):
        return address + offset * np.uint64(8 * width), np.int64(width)
    first = np.uint64(load32(offsets + offset * np.uint64(4)))
    last = np.uint64(load32(offsets + offset * np.uint64(4) + np.uint64(4)))
    return address + first * np.uint64(8), np.int64(last - first)


@njit(nogil=True, cache=True)
def is_before(table: Any, width: Any, locator: Any, words: Any, start: Any, stop: Any) -> Any:
    """Whether the key of a row is before ``words[start:stop]``."""
    address, count = words_of(table, width, locator)
    for word in range(max(count, stop - start)):
        own = swap_bytes(load64(address + np.uint64(8 * word))) if word < count else np.uint64(0)
        sought = swap_bytes(words[start + word]) if start + word < stop else np.uint64(0)
        if own != sought:
            return own < sought
    return False


@njit(nogil=True, cache=True)
def comes_first(table: Any, width: Any, left: Any, right: Any) -> Any:
    """Whether the key of one row of a memtable is before that of another."""
    one, one_count = words_of(table, width, left)
    other, other_count = words_of(table, width, right)
    for word in range(max(one_count, other_count)):
        a = swap_bytes(load64(one + np.uint64(8 * word))) if word < one_count else np.uint64(0)
        b = swap_bytes(load64(other + np.uint64(8 * word))) if word < other_count else np.uint64(0)
        if a != b:
            return a < b
    return False


@njit(nogil=True, cache=True)
def lives(table: Any, locator: Any) -> Any:
    """Whether a memtable's row has not ended."""
    end = end_of(table[locator >> np.uint32(16)], np.uint64(locator & np.uint32(0xFFFF)))
    return end == np.int64(0x7FFFFFFFFFFFFFFF)


@njit(nogil=True, cache=True)
def place_in_run(table: Any, width: Any, run: Any, words: Any, start: Any, stop: Any) -> Any:
    """The first place in a run whose key is not before ``words[start:stop]``."""
    low, high = np.int64(0), np.int64(run.size)
    while low < high:
        middle = (low + high) >> 1
        if is_before(table, width, run[middle], words, start, stop):
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=True)
def step_ahead(table: Any, run: Any, ahead: Any, place: Any) -> Any:
    """The first place from ``place`` on whose row lives; as many as there are where none does."""
    at = place
    while at < run.size and not lives(table, run[at]):
        at = np.int64(ahead[at])
    while place < at:
        following = np.int64(ahead[place])
        ahead[place] = np.uint32(at)
        place = following
    return at


@njit(nogil=True, cache=True)
def step_behind(table: Any, run: Any, behind: Any, place: Any) -> Any:
    """The last place up to ``place`` whose row lives, or -1."""
    at = place
    while at >= 0 and not lives(table, run[at]):
        at = np.int64(behind[at]) - 1
    while place > at:
        following = np.int64(behind[place]) - 1
        behind[place] = np.uint32(at + 1)
        place = following
    return at


@njit(nogil=True, cache=True)
def span(offsets: Any, width: Any, index: Any) -> Any:
    """Where a key's words begin and end."""
    if offsets.size > 0:
        return offsets[index], offsets[index + 1]
    return np.int64(index * width), np.int64((index + 1) * width)


@njit(nogil=True, cache=True)
def extreme_of_run(
    table: Any, key_width: Any, run: Any, ahead: Any, behind: Any, low: Any, low_offsets: Any, low_width: Any,
    high: Any, high_offsets: Any, high_width: Any, last: Any, best: Any,
) -> None:  # fmt: skip
    """Put the first (``last``: the last) living row of each range into ``best`` (int64) where it is more extreme."""
    for index in range(best.size):
        start, stop = span(low_offsets, low_width, index)
        first = place_in_run(table, key_width, run, low, start, stop)
        start, stop = span(high_offsets, high_width, index)
        end = place_in_run(table, key_width, run, high, start, stop)
        at = step_behind(table, run, behind, end - 1) if last else step_ahead(table, run, ahead, first)
        if at < first or at >= end:
            continue
        row = run[at]
        if best[index] >= 0:
            known = np.uint32(best[index])
            if last and not comes_first(table, key_width, known, row):
                continue
            if not last and not comes_first(table, key_width, row, known):
                continue
        best[index] = np.int64(row)


@njit(nogil=True, cache=True)
def extreme_of_rows(
    table: Any, key_width: Any, rows: Any, low: Any, low_offsets: Any, low_width: Any, high: Any, high_offsets: Any,
    high_width: Any, last: Any, best: Any,
) -> None:  # fmt: skip
    """The same of a few rows in no order."""
    for row in rows:
        if not lives(table, row):
            continue
        for index in range(best.size):
            if best[index] >= 0:
                known = np.uint32(best[index])
                first, second = (known, row) if last else (row, known)
                if not comes_first(table, key_width, first, second):
                    continue
            start, stop = span(low_offsets, low_width, index)
            if is_before(table, key_width, row, low, start, stop):
                continue
            start, stop = span(high_offsets, high_width, index)
            if is_before(table, key_width, row, high, start, stop):
                best[index] = np.int64(row)


@njit(nogil=True, cache=True)
def living(table: Any, rows: Any, found: Any) -> Any:
    """The rows (uint32) that have not ended into ``found``, in order; how many."""
    count = 0
    for row in rows:
        if lives(table, row):
            found[count] = row
            count += 1
    return count


@njit(nogil=True, cache=True)
def first_clear(bits: Any, start: Any, stop: Any) -> Any:
    """The first place from ``start`` to ``stop`` without a bit (uint64 words; no words: no bits), or -1."""
    if start >= stop:
        return np.int64(-1)
    if bits.size == 0:
        return start
    word = start >> 6
    free = ~bits[word] & (np.uint64(0xFFFFFFFFFFFFFFFF) << np.uint64(start & 63))
    while free == np.uint64(0):
        word += 1
        if word << 6 >= stop:
            return np.int64(-1)
        free = ~bits[word]
    at = word << 6
    while free & np.uint64(1) == np.uint64(0):
        free >>= np.uint64(1)
        at += 1
    return at if at < stop else np.int64(-1)


@njit(nogil=True, cache=True)
def last_clear(bits: Any, start: Any, stop: Any) -> Any:
    """The last such place, or -1."""
    if start >= stop:
        return np.int64(-1)
    if bits.size == 0:
        return stop - 1
    word = (stop - 1) >> 6
    free = ~bits[word] & (np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(63 - ((stop - 1) & 63)))
    while free == np.uint64(0):
        word -= 1
        if word < start >> 6:
            return np.int64(-1)
        free = ~bits[word]
    at = (word << 6) + 63
    while free >> np.uint64(63) == np.uint64(0):
        free <<= np.uint64(1)
        at -= 1
    return at if at >= start else np.int64(-1)


@njit(nogil=True, cache=True)
def extreme_of_segment(
    headers: Any, ended: Any, low: Any, low_offsets: Any, low_width: Any, high: Any, high_offsets: Any,
    high_width: Any, last: Any, start: Any, rows: Any, state: Any,
) -> Any:  # fmt: skip
    """Put the first (or last) row of each range whose bit in ``ended`` is 0 into ``rows`` (int64), or -1.

    For the one segment of ``headers``. Returns n, or the range with which to go on after verifying, see search.py.
    """
    header = headers[0]
    sought = np.zeros((np.int64(load64(header + np.uint64(64))) + 1, 3), np.uint64)
    for index in range(start, rows.size):
        begin, end = span(low_offsets, low_width, index)
        first, _ = lower_bound(header, low, begin, end, sought, state)
        if first < 0:
            return index
        begin, end = span(high_offsets, high_width, index)
        stop, _ = lower_bound(header, high, begin, end, sought, state)
        if stop < 0:
            return index
        rows[index] = last_clear(ended, first, stop) if last else first_clear(ended, first, stop)
    return rows.size


@njit(nogil=True, cache=True)
def compare_two(
    left: Any, left_offsets: Any, right: Any, right_offsets: Any, width: Any, index: Any, other_index: Any
) -> Any:  # fmt: skip
    """-1, 0 or 1 as a key of one array is before, at or after a key of another one."""
    start, stop = span(left_offsets, width, index)
    other, other_stop = span(right_offsets, width, other_index)
    for word in range(max(stop - start, other_stop - other)):
        a = swap_bytes(left[start + word]) if start + word < stop else np.uint64(0)
        b = swap_bytes(right[other + word]) if other + word < other_stop else np.uint64(0)
        if a != b:
            return -1 if a < b else 1
    return 0


@njit(nogil=True, cache=True)
def choose(words: Any, offsets: Any, width: Any, places: Any, last: Any, chosen: Any) -> None:
    """Of all keys with one place the first in order, or the last, into ``chosen`` (int64, by place, -1 to begin with);
    keys without a place (-1) are left out.
    """
    for index in range(places.size):
        place = places[index]
        if place < 0:
            continue
        known = chosen[place]
        if known < 0 or compare_two(words, offsets, words, offsets, width, index, known) == (1 if last else -1):
            chosen[place] = index


@njit(nogil=True, cache=True)
def decide(
    words: Any, offsets: Any, width: Any, groups: Any, before: Any, after: Any, known_words: Any, known_offsets: Any,
    known: Any, stays: Any, last: Any, sources: Any,
) -> None:  # fmt: skip
    """Where the first (or last) value of each group comes from, after some values have come and gone: ``sources``.

    Value i has the key at i in ``words``, belongs to ``groups[i]``, and was and is there so many times (all int64). The
    key of the extreme value until now stands at its group in ``known_words``, if there was one (``known``). A group
    that is gone itself (not ``stays``) has none.
    """
    for group in range(sources.size):
        sources[group] = -2 if known[group] else -1
    for index in range(groups.size):
        group = groups[index]
        if sources[group] == -2 and before[index] > 0 and after[index] <= 0:
            start, stop = span(offsets, width, index)
            other, other_stop = span(known_offsets, width, group)
            same = stop - start == other_stop - other
            at = 0
            while same and at < stop - start:
                same = words[start + at] == known_words[other + at]
                at += 1
            if same:
                sources[group] = -3
    for index in range(groups.size):
        group = groups[index]
        if before[index] > 0 or after[index] <= 0:
            continue
        found = sources[group]
        if found >= 0:
            order = compare_two(words, offsets, words, offsets, width, index, found)
        elif known[group]:
            order = compare_two(words, offsets, known_words, known_offsets, width, index, group)
        else:
            order = 1 if last else -1
        if order == (1 if last else -1):
            sources[group] = index
    for group in range(sources.size):
        if not stays[group]:
            sources[group] = -1


@njit(nogil=True, cache=True)
def decide_words(
    words: Any, groups: Any, before: Any, after: Any, known_words: Any, known: Any, stays: Any, last: Any, sources: Any
) -> None:
    """``decide`` where a value's place in the order is one word (int64), in the same order as its key."""
    for group in range(sources.size):
        sources[group] = -2 if known[group] else -1
    for index in range(groups.size):
        group = groups[index]
        if before[index] > 0 and after[index] <= 0 and known[group] and words[index] == known_words[group]:
            sources[group] = -3
    for index in range(groups.size):
        group = groups[index]
        if before[index] > 0 or after[index] <= 0:
            continue
        found, word = sources[group], words[index]
        if found < 0 and not known[group]:
            sources[group] = index
            continue
        other = words[found] if found >= 0 else known_words[group]
        if (word > other) if last else (word < other):
            sources[group] = index
    for group in range(sources.size):
        if not stays[group]:
            sources[group] = -1
