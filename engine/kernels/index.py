"""Kernels of the primary-key index and of version chains: open addressing over one uint64 a slot.

    slot       tag (upper 32 bits: the hash's upper 32, at least 1) | row locator (lower 32 bits); 0 is an empty slot
    locator    chunk << 16 | offset inside the chunk
    directory  per partition the address of its slots and their number - 1; tag >> shift is a tag's partition
    position   tag & (slots - 1), then the next slots in turn; so a larger table is filled without reading any key

Chunks are reached by address. ``table`` holds, per chunk, the address of its header, a uint64 array of addresses:

    0 key words           1 word offsets of variable keys (uint32), or 0      2 begin deltas (uint32)   3 base version
    4 end versions or 0   5 previous locators (uint32; NONE ends a chain) or 0   6 delta flags (uint8) or 0

Every field is written once, before a slot that needs it is published by a store with release order; readers load slots
with acquire order. So whoever finds a locator finds the row's key, begin version and chain. A reader whose table is
too short for a locator it meets stops there and reports the row; its caller captures again.

Loads and stores through addresses are intrinsics (storage/kernels/memory.py). Bounds checks do not see them; the
property tests compare every kernel with a dictionary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic as _intrinsic

from ...storage.kernels.memory import load8, load32, load64, store32, store64

intrinsic: Any = _intrinsic

MISSING = -1
STALE = -2
HIDDEN = -3
"""A version of the row had begun at the version asked for, and had ended: no older one is visible."""

NONE = 0xFFFFFFFF
"""No previous version: the last locator, which no row ever has."""


@intrinsic
def load_acquire(typing_context: Any, address: Any) -> Any:
    """The uint64 at an address (aligned), loaded before all later loads."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load_atomic(pointer, ordering="acquire", align=8)

    return types.uint64(types.uint64), build


@intrinsic
def store_release(typing_context: Any, address: Any, value: Any) -> Any:
    """Store a uint64 at an address (aligned), after all earlier stores."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        builder.store_atomic(arguments[1], pointer, ordering="release", align=8)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), build


@njit(nogil=True, cache=True)
def tag_of(hashed: Any) -> Any:
    tag = hashed >> np.uint64(32)
    return tag if tag != np.uint64(0) else np.uint64(1)


@njit(nogil=True, cache=True)
def slot_of(directory: Any, shift: Any, tag: Any) -> Any:
    """The address of the slot where a tag's row stands, if none before it took the place."""
    at = (tag >> np.uint64(shift)) << np.uint64(1)
    return directory[at] + ((tag & directory[at + np.uint64(1)]) << np.uint64(3))


@njit(nogil=True, cache=True)
def probe(
    directory: Any, shift: Any, table: Any, chunks: Any, tag: Any, words: Any, start: Any, count: Any
) -> Any:  # fmt: skip
    """The newest row with key ``words[start:start + count]``, MISSING or STALE; and the address of its slot."""
    at = (tag >> np.uint64(shift)) << np.uint64(1)
    slots, mask = directory[at], directory[at + np.uint64(1)]
    position = tag & mask
    while True:
        place = slots + (position << np.uint64(3))
        slot = load_acquire(place)
        if slot == np.uint64(0):
            return np.int64(-1), place
        if slot >> np.uint64(32) == tag:
            row = slot & np.uint64(0xFFFFFFFF)
            chunk = np.int64(row >> np.uint64(16))
            if chunk >= chunks:
                return np.int64(-2), place
            offset = row & np.uint64(0xFFFF)
            header = table[chunk]
            address = load64(header)
            offsets = load64(header + np.uint64(8))
            equal = True
            if offsets == np.uint64(0):
                address += offset * np.uint64(count) * np.uint64(8)
            else:
                first = np.uint64(load32(offsets + offset * np.uint64(4)))
                last = np.uint64(load32(offsets + offset * np.uint64(4) + np.uint64(4)))
                equal = np.int64(last - first) == count
                address += first * np.uint64(8)
            at = 0
            while equal and at < count:
                equal = load64(address + np.uint64(8 * at)) == words[start + at]
                at += 1
            if equal:
                return np.int64(row), place
        position = (position + np.uint64(1)) & mask


@njit(nogil=True, cache=True)
def upsert(
    directory: Any, shift: Any, entries: Any, table: Any, chunks: Any, hashes: Any, words: Any, offsets: Any,
    width: Any, first: Any, start: Any, replaced: Any, touched: Any,
) -> Any:  # fmt: skip
    """Make rows ``first + i`` the newest of their keys, for i from ``start`` on; returns (next i, rows of new keys).

    Rows of new keys are counted in ``entries`` (int64), by partition.

    The rows stand in one chunk, complete but for their previous locators. ``replaced[i]`` gets the locator of the row
    before, or NONE; ``touched`` a 1 for the chunk of each. Returns early at the first row that needs a previous locator
    while its chunk has no array for them: the caller makes it and goes on from there.
    """
    inserted = 0
    chunk = first >> 16
    previous = load64(table[chunk] + np.uint64(40))
    warm = np.uint64(0)
    for index in range(start, hashes.size):
        if (index - start) & 255 == 0:
            # Loads that wait for nobody overlap; the probes below find their slots in the cache.
            for ahead in range(index, min(index + 256, hashes.size)):
                warm ^= load64(slot_of(directory, shift, tag_of(hashes[ahead])))
        tag = tag_of(hashes[index])
        if offsets.size > 0:
            at = offsets[index]
            count = offsets[index + 1] - at
        else:
            at = index * width
            count = width
        row, place = probe(directory, shift, table, chunks, tag, words, at, count)
        locator = np.uint64(first + index)
        if row < 0:
            replaced[index] = np.uint32(0xFFFFFFFF)
            entries[tag >> np.uint64(shift)] += 1
            inserted += 1
        else:
            if previous == np.uint64(0):
                return index, inserted, warm
            store32(previous + (locator & np.uint64(0xFFFF)) * np.uint64(4), np.uint32(row))
            replaced[index] = np.uint32(row)
            touched[row >> 16] = 1
        store_release(place, (tag << np.uint64(32)) | locator)
    return hashes.size, inserted, warm


@njit(nogil=True, cache=True)
def find(
    directory: Any, shift: Any, table: Any, chunks: Any, hashes: Any, words: Any, offsets: Any, width: Any,
    start: Any, rows: Any,
) -> Any:  # fmt: skip
    """Put the newest row of each key into ``rows`` (int64), or MISSING; returns n, or the index of a stale row."""
    warm = np.uint64(0)
    for index in range(start, hashes.size):
        if (index - start) & 255 == 0 and hashes.size > 1:
            for ahead in range(index, min(index + 256, hashes.size)):
                warm ^= load64(slot_of(directory, shift, tag_of(hashes[ahead])))
        if offsets.size > 0:
            at = offsets[index]
            count = offsets[index + 1] - at
        else:
            at = index * width
            count = width
        row, _ = probe(directory, shift, table, chunks, tag_of(hashes[index]), words, at, count)
        if row == -2:
            return index, warm
        rows[index] = row
    return hashes.size, warm


@njit(nogil=True, cache=True)
def begin_of(header: Any, offset: Any) -> Any:
    begins = load64(header + np.uint64(16))
    return np.int64(load64(header + np.uint64(24))) + np.int64(load32(begins + offset * np.uint64(4)))


@njit(nogil=True, cache=True)
def end_of(header: Any, offset: Any) -> Any:
    ends = load64(header + np.uint64(32))
    if ends == np.uint64(0):
        return np.int64(0x7FFFFFFFFFFFFFFF)
    return np.int64(load64(ends + offset * np.uint64(8)))


@njit(nogil=True, cache=True)
def previous_of(header: Any, offset: Any) -> Any:
    previous = load64(header + np.uint64(40))
    if previous == np.uint64(0):
        return np.int64(-1)
    row = load32(previous + offset * np.uint64(4))
    return np.int64(-1) if row == np.uint32(0xFFFFFFFF) else np.int64(row)


@njit(nogil=True, cache=True)
def delta_of(header: Any, offset: Any) -> Any:
    deltas = load64(header + np.uint64(48))
    return deltas != np.uint64(0) and load8(deltas + offset) != np.uint8(0)


@njit(nogil=True, cache=True)
def visible(table: Any, version: Any, rows: Any) -> None:
    """Replace each newest row by its version that is visible at ``version``; else by HIDDEN, or by MISSING where all of
    its versions here began later, so that an older part may have one.
    """
    for index in range(rows.size):
        row = rows[index]
        while row >= 0:
            header = table[row >> 16]
            offset = np.uint64(row & 0xFFFF)
            if begin_of(header, offset) <= version:
                if end_of(header, offset) <= version:
                    row = np.int64(-3)
                break
            row = previous_of(header, offset)
        rows[index] = row


@njit(cache=True)
def visible_one(directory: Any, shift: Any, table: Any, chunks: Any, hashed: Any, words: Any, version: Any) -> Any:
    """What ``find`` and then ``visible`` say of one key, or STALE. A microsecond's work: it keeps the interpreter's
    lock, which is dear to get back where many threads want it.
    """
    row, _ = probe(directory, shift, table, chunks, tag_of(hashed), words, 0, words.size)
    while row >= 0:
        header = table[row >> 16]
        offset = np.uint64(row & 0xFFFF)
        if begin_of(header, offset) <= version:
            return row if end_of(header, offset) > version else np.int64(-3)
        row = previous_of(header, offset)
    return row


@njit(nogil=True, cache=True)
def describe(table: Any, rows: Any, begins: Any, ends: Any, deltas: Any) -> None:
    """Begin, end and delta flag of each row; those of MISSING rows are left as they are."""
    for index in range(rows.size):
        row = rows[index]
        if row >= 0:
            header = table[row >> 16]
            offset = np.uint64(row & 0xFFFF)
            begins[index] = begin_of(header, offset)
            ends[index] = end_of(header, offset)
            deltas[index] = delta_of(header, offset)


@njit(nogil=True, cache=True)
def changed(table: Any, rows: Any, version: Any, ignore_deltas: Any, followings: Any, result: Any, done: Any) -> None:
    """Whether a put or delete (or delta, unless ignored) came after ``version``, walking back from each newest row.

    ``followings`` holds the begin of the version after it in a newer part (the largest int64 where there is none), and
    gets that of the oldest one here. Not ``done`` are rows whose versions here all began later, and missing ones: an
    older part goes on from there.
    """
    for index in range(rows.size):
        row = rows[index]
        following = followings[index]
        found = False
        decided = False
        while row >= 0 and not found:
            header = table[row >> 16]
            offset = np.uint64(row & 0xFFFF)
            begin = begin_of(header, offset)
            end = end_of(header, offset)
            if end > version and end < following:
                found = True
            elif begin <= version:
                decided = True
                break
            elif not ignore_deltas or not delta_of(header, offset):
                found = True
            following = begin
            row = previous_of(header, offset)
        result[index] = found
        done[index] = found or decided
        followings[index] = following


@njit(nogil=True, cache=True)
def end_rows(table: Any, rows: Any, version: Any) -> Any:
    """End the rows (uint32, NONE skipped) that have not ended; their chunks have end arrays. Returns how many ended."""
    ended = 0
    for index in range(rows.size):
        row = rows[index]
        if row == np.uint32(0xFFFFFFFF):
            continue
        ends = load64(table[row >> np.uint32(16)] + np.uint64(32))
        address = ends + np.uint64(row & np.uint32(0xFFFF)) * np.uint64(8)
        if load64(address) == np.uint64(0x7FFFFFFFFFFFFFFF):
            store64(address, np.uint64(version))
            ended += 1
    return ended


@njit(nogil=True, cache=True)
def crowded(hashes: Any, shift: Any, entries: Any, limits: Any, coming: Any, found: Any) -> Any:
    """The partitions that these keys, were all of them new, would fill beyond their limits: how many, and which.

    ``coming`` (int64, zeros) gets how many of the keys come to each.
    """
    count = 0
    for index in range(hashes.size):
        partition = np.int64(tag_of(hashes[index]) >> np.uint64(shift))
        coming[partition] += 1
        if entries[partition] + coming[partition] == limits[partition] + 1:
            found[count] = partition
            count += 1
    return count


@njit(nogil=True, cache=True)
def move(old: Any, directory: Any, shift: Any, entries: Any) -> None:
    """Move every slot of ``old`` to the partitions of ``directory``, which have room, and count them in ``entries``."""
    for at in range(old.size):
        slot = old[at]
        if slot != np.uint64(0):
            tag = slot >> np.uint64(32)
            partition = tag >> np.uint64(shift)
            slots, mask = directory[partition << np.uint64(1)], directory[(partition << np.uint64(1)) + np.uint64(1)]
            position = tag & mask
            while load64(slots + (position << np.uint64(3))) != np.uint64(0):
                position = (position + np.uint64(1)) & mask
            store64(slots + (position << np.uint64(3)), slot)
            entries[partition] += 1
