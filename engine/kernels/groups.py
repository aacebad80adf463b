"""Grouping by many values: a small table that gives way, records by parts, and a table for each part.

    row ─ hash ─► place of a lane's table; another key stands there ─► that one's record goes to its part's pages
    lane's end ─► all of its table goes                                     ┊
    pages of lane after lane, one part at a time ─► the part's groups: slots (numbers by hash) and rows

A *record* is what is known of a key so far: its words, then the accumulators of the rows that were seen, the first of
which counts them, so that a record without rows is an empty place. The upper bits of a key's hash are its place in the
lane's table, the uppermost eight its part. So rows of one key that stand together, or of few keys, are one record; rows
of many keys are written once, in order, to places that the cache holds, and the groups of one part stay in the cache.

A part's pages are ``PAGE`` records each: page number p is the first of part p, ``chain`` has the next one of each page,
``ends`` the record that is written next in each part, and behind those the number of the next page that is free.

``layout``: int64[accumulators, 3]: what is done (``ADD`` …), the word in the record, the word in a group's row.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

PARTS: Final = 256
PAGE: Final = 128

ADD: Final = 0  # one word: counts
ADD_WIDE: Final = 1  # two words, the lower first
LEAST: Final = 2
GREATEST: Final = 3
ADD_REAL: Final = 4
LEAST_REAL: Final = 5  # NaN is greater than all else, and what a minimum begins with
GREATEST_REAL: Final = 6
ANY: Final = 7  # the first that is not 0


@njit(nogil=True, cache=True)
def hashed(word: Any, seed: Any) -> Any:
    """A hash of an integer, all bits of which depend on all of its bits; ``seed``: the hash of the words before."""
    mixed = np.uint64(word) ^ np.uint64(seed)
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    return mixed ^ (mixed >> np.uint64(32))


@njit(nogil=True, cache=True)
def next_page(end: Any, ends: Any, chain: Any) -> Any:
    """Where a part goes on whose page is full: ``end`` is the record behind its last."""
    page = ends[256]
    ends[256] = page + 1
    chain[(end - 1) >> 7] = page
    return page << 7


@njit(nogil=True, cache=True)
def give_way(table: Any, at: Any, width: Any, part: Any, pool: Any, ends: Any, chain: Any) -> None:
    """Write the record at word ``at`` of ``table`` (int64) behind the others of its part."""
    end = ends[part]
    target = np.uint64(end) * np.uint64(width)
    for word in range(np.uint64(width)):
        pool[target + word] = table[np.uint64(at) + word]
    end += 1
    ends[part] = next_page(end, ends, chain) if end & 127 == 0 else end


@njit(nogil=True, cache=True)
def give_way_all(table: Any, width: Any, words: Any, pool: Any, ends: Any, chain: Any) -> None:
    """Write all records of a lane's table, which is empty then. ``words``: of a key."""
    places = table.size // width
    for place in range(places):
        at = place * width
        if table[at + words] != 0:
            give_way(table, at, width, place * 256 // places, pool, ends, chain)
            table[at + words] = 0


@njit(nogil=True, cache=True)
def counts_of(ends: Any, chain: Any, counts: Any) -> None:
    """Add the number of records of each part of a lane to ``counts`` (int64)."""
    for part in range(256):
        page = part
        while page != ends[part] >> 7:
            counts[part] += 128
            page = chain[page]
        counts[part] += ends[part] & 127


@njit(nogil=True, cache=True)
def key_hash(records: Any, at: Any, words: Any) -> Any:
    """The hash of the key that begins at word ``at``."""
    found = hashed(records[at], np.uint64(0))
    for word in range(np.uint64(1), np.uint64(words)):
        found = hashed(records[at + word], found)
    return found


@njit(nogil=True, cache=True)
def place_again(slots: Any, groups: Any, used: Any, words: Any) -> None:
    """Numbers of the first ``used`` groups (int64[groups, words of a row]) into empty ``slots`` (uint32)."""
    mask = np.uint64(slots.size - 1)
    rows = groups.reshape(-1)
    for number in range(used):
        slot = key_hash(rows, np.uint64(number * groups.shape[1]), words) & mask
        while slots[slot] != 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = np.uint32(number + 1)


@njit(nogil=True, cache=True, inline="always")
def look_up(
    start: Any, count: Any, words: Any, width: Any, first: Any, pool: Any, slots: Any, rows: Any, row_words: Any,
    used: Any, hashes: Any, numbers: Any, places: Any,
) -> Any:  # fmt: skip
    """The rows of ``count`` records from word ``start`` on, into ``places``; returns how many groups there are then.

    Step by step for all of them, so that the processor waits for many at once: hashes, the numbers in their slots, the
    keys of those rows. Only whose key is not there, which is rare, is looked for slot by slot, or becomes a row.
    """
    mask = np.uint64(slots.size - 1)
    for record in range(count):
        hashes[record] = np.uint64(hashed(pool[start + record * width], np.uint64(0)))
    for word in range(np.uint64(1), words):
        for record in range(count):
            hashes[record] = np.uint64(hashed(pool[start + record * width + word], hashes[record]))
    for record in range(count):
        numbers[record] = slots[hashes[record] & mask]
    for record in range(count):
        there = np.uint64(numbers[record] != 0)
        places[record] = (np.uint64(numbers[record]) - there) * row_words
    others = np.uint64(0)
    for record in range(count):
        row, at = places[record], start + record * width
        same = (numbers[record] != 0) & (rows[row] == pool[at])
        for word in range(np.uint64(1), words):
            same &= rows[row + word] == pool[at + word]
        hashes[others], numbers[others] = hashes[record], np.uint32(record)
        others += np.uint64(not same)
    for other in range(others):
        record = np.uint64(numbers[other])
        at = start + record * width
        slot = hashes[other] & mask
        while True:
            number = slots[slot]
            if number == 0:
                row = np.uint64(used) * row_words
                used += 1
                slots[slot] = np.uint32(used)
                for word in range(row_words):
                    rows[row + word] = pool[at + word] if word < words else first[word]
                break
            row = np.uint64(number - 1) * row_words
            same = rows[row] == pool[at]
            for word in range(np.uint64(1), words):
                same &= rows[row + word] == pool[at + word]
            if same:
                break
            slot = (slot + np.uint64(1)) & mask
        places[record] = row
    return used


@njit(nogil=True, cache=True)
def merge(
    part: Any, words: Any, width: Any, layout: Any, first: Any, pool: Any, ends: Any, chain: Any, slots: Any,
    groups: Any, used: Any,
) -> Any:  # fmt: skip
    """The records of a part of one lane into its groups; returns how many there are then, of ``used`` before.

    ``first``: the row of a group before its first record. There is room for as many more groups as there are records,
    and for twice as many slots.
    """
    rows = groups.reshape(-1)
    reals, pool_reals = rows.view(np.float64), pool.view(np.float64)
    width, row_words = np.uint64(width), np.uint64(groups.shape[1])
    hashes, numbers, places = np.empty(128, np.uint64), np.empty(128, np.uint32), np.empty(128, np.uint64)
    page = part
    while True:
        last = page == ends[part] >> 7
        count = np.uint64(ends[part] & 127) if last else np.uint64(128)
        start = np.uint64(page << 7) * width
        if words == 1:
            used = look_up(
                start, count, np.uint64(1), width, first, pool, slots, rows, row_words, used, hashes, numbers, places
            )
        else:
            used = look_up(
                start, count, np.uint64(words), width, first, pool, slots, rows, row_words, used, hashes, numbers,
                places,
            )  # fmt: skip
        for accumulator in range(len(layout)):
            what = layout[accumulator, 0]
            source, target = start + np.uint64(layout[accumulator, 1]), np.uint64(layout[accumulator, 2])
            if what == 0:
                for record in range(count):
                    rows[places[record] + target] += pool[source + record * width]
            elif what == 1:
                for record in range(count):
                    value, at = pool[source + record * width], places[record] + target
                    total = np.uint64(rows[at]) + np.uint64(value)
                    rows[at + np.uint64(1)] += (value >> 63) + np.int64(total < np.uint64(value))
                    rows[at] = np.int64(total)
            elif what == 2:
                for record in range(count):
                    at = places[record] + target
                    rows[at] = min(rows[at], pool[source + record * width])
            elif what == 3:
                for record in range(count):
                    at = places[record] + target
                    rows[at] = max(rows[at], pool[source + record * width])
            elif what == 4:
                for record in range(count):
                    reals[places[record] + target] += pool_reals[source + record * width]
            elif what == 5:
                for record in range(count):
                    value, at = pool_reals[source + record * width], places[record] + target
                    if value < reals[at] or reals[at] != reals[at]:
                        reals[at] = value
            elif what == 6:
                for record in range(count):
                    value, at = pool_reals[source + record * width], places[record] + target
                    if value > reals[at] or value != value:
                        reals[at] = value
            else:
                for record in range(count):
                    at = places[record] + target
                    if rows[at] == 0:
                        rows[at] = pool[source + record * width]
        if last:
            return used
        page = chain[page]
