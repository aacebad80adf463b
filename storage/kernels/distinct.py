"""The kernel that numbers the different values of a column of text: an open-addressing table over their bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .memory import get8, get32, load64, put8, put32


@njit(nogil=True, cache=True)
def masked(address: Any, length: Any, room: Any) -> Any:
    """The first eight bytes at ``address`` as a word, zeros beyond ``length``; ``room`` bytes may be loaded."""
    if length >= 8:
        return load64(address)
    if room >= 8:
        return load64(address) & ((np.uint64(1) << np.uint64(8 * length)) - np.uint64(1))
    word = np.uint64(0)
    for at in range(length):
        word |= np.uint64(get8(address, at)) << np.uint64(8 * at)
    return word


@njit(nogil=True, cache=True)
def hash_bytes(address: Any, length: Any, room: Any) -> Any:
    """A hash of ``length`` bytes at ``address``; ``room`` bytes may be loaded."""
    hashed = np.uint64(length)
    for at in range(0, length, 8):
        hashed ^= masked(address + np.uint64(at), length - at, room - at)
        hashed *= np.uint64(0x9E3779B185EBCA87)
        hashed ^= hashed >> np.uint64(32)
    return hashed


@njit(nogil=True, cache=True)
def distinct(
    offsets: Any, data: Any, valid: Any, count: Any, limit: Any, bytes_max: Any, slots: Any, ends: Any, heap: Any,
    codes: Any,
) -> Any:  # fmt: skip
    """Number variable values in the order in which they first appear; returns how many, or -1 where there are too many.

    ``slots`` is zeros (uint64, a power of two, more than twice ``limit``); the values go to ``ends`` (int32[limit + 1],
    the first 0) and ``heap`` (``bytes_max`` and eight more). Codes are int32; of NULLs 0.
    """
    offsets, data, valid = np.uint64(offsets), np.uint64(data), np.uint64(valid)
    heap, codes = np.uint64(heap), np.uint64(codes)
    mask = np.uint64(slots.size - 1)
    found = np.int64(0)
    stop = np.int64(np.int32(get32(offsets, count)))
    for row in range(count):
        if valid != np.uint64(0) and get8(valid, row) == np.uint8(0):
            put32(codes, row, np.uint32(0))
            continue
        start = np.int64(np.int32(get32(offsets, row)))
        length = np.int64(np.int32(get32(offsets, row + 1))) - start
        hashed = hash_bytes(data + np.uint64(start), length, stop - start)
        hashed *= np.uint64(0xC2B2AE3D27D4EB4F)
        tag = hashed >> np.uint64(32)
        position = tag & mask
        while True:
            slot = slots[position]
            if slot == np.uint64(0):
                end = np.int64(ends[found]) + length
                if found == limit or end > bytes_max:
                    return np.int64(-1)
                for at in range(length):
                    put8(heap, ends[found] + at, get8(data, start + at))
                slots[position] = (tag << np.uint64(32)) | np.uint64(found + 1)
                put32(codes, row, np.uint32(found))
                found += 1
                ends[found] = end
                break
            if slot >> np.uint64(32) == tag:
                code = np.int64(slot & np.uint64(0xFFFFFFFF)) - 1
                other = np.int64(ends[code])
                equal = np.int64(ends[code + 1]) - other == length
                at = np.int64(0)
                while equal and at < length:
                    word = masked(data + np.uint64(start + at), length - at, stop - start - at)
                    equal = word == masked(heap + np.uint64(other + at), length - at, np.int64(8))
                    at += 8
                if equal:
                    put32(codes, row, np.uint32(code))
                    break
            position = (position + np.uint64(1)) & mask
    return found
