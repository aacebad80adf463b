"""Rows that are made of the newest ones with their keys: where those are, what they add, and who takes their place.

The words and headers are those of kernels/index.py, where the general ways are; here each key is looked up once, to
read its newest row, replace it and end it. Only the writer calls these, so no row is ever stale.

``locate`` goes in blocks: loads that wait for nobody overlap, and what they bring is in the cache when it is needed.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from ...storage.kernels.memory import load8, load16, load32, load64, store32, store64
from .accumulate import carried
from .index import probe, slot_of, store_release, tag_of

BLOCK: Final = 128
"""Keys that are looked up together."""


@njit(nogil=True, cache=True)
def locate(
    directory: Any, shift: Any, table: Any, chunks: Any, hashes: Any, words: Any, offsets: Any, width: Any,
    rows: Any, places: Any,
) -> Any:  # fmt: skip
    """The newest row of each key into ``rows`` (int64), or MISSING; into ``places`` (uint64) the address of its slot,
    or of an empty one where it would stand if no other new key came before.
    """
    warm = np.uint64(0)
    for start in range(0, hashes.size, BLOCK):
        stop = min(start + BLOCK, hashes.size)
        for index in range(start, stop):
            place = slot_of(directory, shift, tag_of(hashes[index]))
            places[index] = place
            warm ^= load64(place)
        for index in range(start, stop):
            slot = load64(places[index])
            row = slot & np.uint64(0xFFFFFFFF)
            if slot >> np.uint64(32) == tag_of(hashes[index]) and np.int64(row >> np.uint64(16)) < chunks:
                header = table[row >> np.uint64(16)]
                word = (row & np.uint64(0xFFFF)) * np.uint64(width)
                if offsets.size > 0:
                    word = np.uint64(load32(load64(header + np.uint64(8)) + (row & np.uint64(0xFFFF)) * np.uint64(4)))
                warm ^= load64(load64(header) + word * np.uint64(8))
        for index in range(start, stop):
            if offsets.size > 0:
                at = offsets[index]
                count = offsets[index + 1] - at
            else:
                at = index * width
                count = width
            tag = tag_of(hashes[index])
            rows[index], places[index] = probe(directory, shift, table, chunks, tag, words, at, count)
    return warm


@njit(nogil=True, cache=True)
def has_ended(header: Any, offset: Any) -> Any:
    """Whether a row of a chunk has an end."""
    ends = load64(header + np.uint64(32))
    return ends != np.uint64(0) and load64(ends + offset * np.uint64(8)) != np.uint64(0x7FFFFFFFFFFFFFFF)


@njit(nogil=True, cache=True)
def add_living(table: Any, rows: Any, columns: Any, last: Any, heaps: Any, sums: Any, alive: Any, varied: Any) -> Any:
    """Add to ``sums`` (uint64[limbs, n]) the integers of the ``rows`` (int64 or negative) that have not ended.

    Limb l is column ``columns[l]``, 64 bits wide and never NULL; ``last[l]`` says where an integer's last limb is: no
    carry goes beyond it. ``alive`` (bool[n]) is set for those rows. Of those that have a value in one of the columns
    ``heaps`` the places go to ``varied`` (int64[n]); returns how many.
    """
    found = 0
    for index in range(rows.size):
        row = rows[index]
        if row < 0:
            continue
        header, offset = table[row >> 16], np.uint64(row & 0xFFFF)
        if has_ended(header, offset):
            continue
        alive[index] = True
        doors, carry = load64(header + np.uint64(56)) + np.uint64(8), np.uint64(0)
        for limb in range(columns.size):
            values = load64(doors + np.uint64(24) * np.uint64(columns[limb]))
            value = load64(values + offset * np.uint64(8))
            sums[limb, index], carry = carried(sums[limb, index], value, carry)
            if last[limb]:
                carry = np.uint64(0)
        some = False
        for heap in range(heaps.size):
            valid = load64(doors + np.uint64(24) * np.uint64(heaps[heap]) + np.uint64(8))
            some |= valid == np.uint64(0) or load8(valid + offset) != np.uint8(0)
        if some:
            varied[found] = index
            found += 1
    return found


@njit(nogil=True, cache=True)
def read_living(table: Any, rows: Any, places: Any, column: Any, size: Any, words: Any, valid: Any) -> None:
    """What the ``rows`` (int64 or negative) that have not ended hold in a column of values of ``size`` bytes.

    Row i is that of key ``places[i]`` (empty: i). The value goes to the key's place in ``words`` (uint64[n, 1], or two
    words), the upper bits of a narrow one being 0; ``valid`` (uint8[n]) becomes 1 there unless it is NULL.
    """
    for index in range(rows.size):
        row = rows[index]
        if row < 0:
            continue
        header, offset = table[row >> 16], np.uint64(row & 0xFFFF)
        if has_ended(header, offset):
            continue
        door = load64(header + np.uint64(56)) + np.uint64(8) + np.uint64(24) * np.uint64(column)
        there = load64(door + np.uint64(8))
        if there != np.uint64(0) and load8(there + offset) == np.uint8(0):
            continue
        place = places[index] if places.size else index
        valid[place] = 1
        value = load64(door) + offset * np.uint64(size)
        if size == 8:
            words[place, 0] = load64(value)
        elif size == 4:
            words[place, 0] = np.uint64(load32(value))
        elif size == 2:
            words[place, 0] = np.uint64(load16(value))
        elif size == 1:
            words[place, 0] = np.uint64(load8(value))
        else:
            words[place, 0] = load64(value)
            words[place, 1] = load64(value + np.uint64(8))


@njit(nogil=True, cache=True)
def take_place(
    directory: Any, shift: Any, entries: Any, table: Any, hashes: Any, rows: Any, places: Any, first: Any, version: Any
) -> Any:  # fmt: skip
    """Make rows ``first + i`` the newest of their keys, all different, as ``locate`` found them; those before end.

    The rows stand in one chunk, complete but for their previous locators, for which it has an array where any key was
    known; the chunks of rows that end have arrays of end versions. Keys that were not known are counted in ``entries``
    by partition. Returns how many keys were new, and how many rows ended.
    """
    inserted = ended = 0
    previous = load64(table[first >> 16] + np.uint64(40))
    for index in range(hashes.size):
        tag, place, row = tag_of(hashes[index]), places[index], rows[index]
        locator = np.uint64(first + index)
        if row < 0:
            partition = (tag >> np.uint64(shift)) << np.uint64(1)
            slots, mask = directory[partition], directory[partition + np.uint64(1)]
            while load64(place) != np.uint64(0):
                place = slots + (((((place - slots) >> np.uint64(3)) + np.uint64(1)) & mask) << np.uint64(3))
            entries[tag >> np.uint64(shift)] += 1
            inserted += 1
        else:
            store32(previous + (locator & np.uint64(0xFFFF)) * np.uint64(4), np.uint32(row))
        store_release(place, (tag << np.uint64(32)) | locator)
        if row >= 0:
            end = load64(table[row >> 16] + np.uint64(32)) + np.uint64(row & 0xFFFF) * np.uint64(8)
            if load64(end) == np.uint64(0x7FFFFFFFFFFFFFFF):
                store64(end, np.uint64(version))
                ended += 1
    return inserted, ended
