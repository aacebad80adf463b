"""Kernels of the key encoding: column values to big-endian bytes in 8-byte words, and the XXH64 hash over the words.

A word is a ``uint64`` as this little-endian machine loads it: byte ``k`` of a key is bits ``8 * (k % 8)`` of word
``k // 8``. Constants are spelled ``np.uint64(...)`` in place: numba mixes a bare literal with uint64 into a float.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

RAW, SIGNED, UNSIGNED, FLOAT = 0, 1, 2, 3
"""What ``pack`` does with a value before its bytes are laid down, see ``docs/storage.md`` "Key encoding"."""


@njit(nogil=True, cache=True)
def swap_bytes(value: Any) -> Any:
    """Reverse the eight bytes of a uint64; LLVM makes one instruction of it."""
    low = np.uint64(0x00FF00FF00FF00FF)
    value = ((value & low) << np.uint64(8)) | ((value >> np.uint64(8)) & low)
    low = np.uint64(0x0000FFFF0000FFFF)
    value = ((value & low) << np.uint64(16)) | ((value >> np.uint64(16)) & low)
    return (value << np.uint64(32)) | (value >> np.uint64(32))


@njit(nogil=True, cache=True)
def pack(values: Any, valid: Any, transform: Any, offset: Any, words: Any) -> None:
    """OR the key bytes of ``values`` (n, unsigned, width 1 to 8) into ``words`` (n, w) at byte ``offset``.

    ``valid`` is empty or one byte a row; rows that are NULL keep their zeros.
    """
    bits = np.uint64(8 * values.itemsize)
    sign = np.uint64(1) << (bits - np.uint64(1))
    every_bit = sign | (sign - np.uint64(1))
    infinity = np.uint64(0x7F800000) if values.itemsize == 4 else np.uint64(0x7FF0000000000000)
    nan = np.uint64(0x7FC00000) if values.itemsize == 4 else np.uint64(0x7FF8000000000000)
    word = offset >> 3
    shift = np.uint64((offset & 7) * 8)
    spill = (offset & 7) + values.itemsize > 8
    for row in range(values.size):
        if valid.size > 0 and valid[row] == 0:
            continue
        value = np.uint64(values[row])
        if transform == 3:
            magnitude = value & (sign - np.uint64(1))
            if magnitude == np.uint64(0):
                value = np.uint64(0)
            elif magnitude > infinity:
                value = nan
            value = (~value & every_bit) if (value & sign) != np.uint64(0) else value | sign
        elif transform == 1:
            value ^= sign
        if transform != 0:
            value = swap_bytes(value) >> (np.uint64(64) - bits)
        words[row, word] |= value << shift
        if spill:
            words[row, word + 1] |= value >> (np.uint64(64) - shift)


@njit(nogil=True, cache=True)
def measure(offsets: Any, data: Any, valid: Any, lengths: Any) -> None:
    """Add to ``lengths`` (n, int64) the encoded bytes of values with ``offsets`` (n + 1, int32) into ``data``."""
    for row in range(lengths.size):
        if valid.size > 0 and valid[row] == 0:
            continue
        start, stop = offsets[row], offsets[row + 1]
        length = np.int64(stop - start) + 2
        for at in range(start, stop):
            if data[at] == 0:
                length += 1
        lengths[row] += length


@njit(nogil=True, cache=True)
def write_fixed(encoded: Any, width: Any, cursors: Any, heap: Any) -> None:
    """Copy the first ``width`` bytes of each row of ``encoded`` (n, bytes) to its cursor in ``heap``; advance it."""
    for row in range(cursors.size):
        cursor = cursors[row]
        for at in range(width):
            heap[cursor + at] = encoded[row, at]
        cursors[row] = cursor + width


@njit(nogil=True, cache=True)
def write_variable(offsets: Any, data: Any, valid: Any, cursors: Any, heap: Any) -> None:
    """Write each value escaped (0x00 as 0x00 0xFF) and terminated (0x00 0x00) at its cursor, and advance the cursor."""
    for row in range(cursors.size):
        if valid.size > 0 and valid[row] == 0:
            continue
        cursor = cursors[row]
        for at in range(offsets[row], offsets[row + 1]):
            byte = data[at]
            heap[cursor] = byte
            cursor += 1
            if byte == 0:
                heap[cursor] = np.uint8(255)
                cursor += 1
        heap[cursor] = np.uint8(0)
        heap[cursor + 1] = np.uint8(0)
        cursors[row] = cursor + 2


@njit(nogil=True, cache=True)
def rotate_left(value: Any, bits: Any) -> Any:
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@njit(nogil=True, cache=True)
def round_of(accumulator: Any, lane: Any) -> Any:
    accumulator += lane * np.uint64(0xC2B2AE3D27D4EB4F)
    return rotate_left(accumulator, 31) * np.uint64(0x9E3779B185EBCA87)


@njit(nogil=True, cache=True)
def merge_round(accumulator: Any, value: Any) -> Any:
    accumulator ^= round_of(np.uint64(0), value)
    return accumulator * np.uint64(0x9E3779B185EBCA87) + np.uint64(0x85EBCA77C2B2AE63)


@njit(nogil=True, cache=True)
def xxh64(words: Any, start: Any, stop: Any, mask: Any) -> Any:
    """XXH64, seed 0, of ``words[start:stop]``; the last word counts only in the bits of ``mask``.

    Source: the xxHash specification, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md, cut to inputs
    whose length is a multiple of eight bytes.
    """
    count = stop - start
    at = start
    if count >= 4:
        first = np.uint64(0x60EA27EEADC0B5D6)  # prime 1 + prime 2
        second = np.uint64(0xC2B2AE3D27D4EB4F)
        third = np.uint64(0)
        fourth = np.uint64(0x61C8864E7A143579)  # minus prime 1
        while stop - at >= 4:
            last = words[at + 3] & mask if at + 4 == stop else words[at + 3]
            first = round_of(first, words[at])
            second = round_of(second, words[at + 1])
            third = round_of(third, words[at + 2])
            fourth = round_of(fourth, last)
            at += 4
        hashed = rotate_left(first, 1) + rotate_left(second, 7) + rotate_left(third, 12) + rotate_left(fourth, 18)
        hashed = merge_round(hashed, first)
        hashed = merge_round(hashed, second)
        hashed = merge_round(hashed, third)
        hashed = merge_round(hashed, fourth)
    else:
        hashed = np.uint64(0x27D4EB2F165667C5)
    hashed += np.uint64(8) * np.uint64(count)
    while at < stop:
        word = words[at] & mask if at + 1 == stop else words[at]
        hashed ^= round_of(np.uint64(0), word)
        hashed = rotate_left(hashed, 27) * np.uint64(0x9E3779B185EBCA87) + np.uint64(0x85EBCA77C2B2AE63)
        at += 1
    hashed = (hashed ^ (hashed >> np.uint64(33))) * np.uint64(0xC2B2AE3D27D4EB4F)
    hashed = (hashed ^ (hashed >> np.uint64(29))) * np.uint64(0x165667B19E3779F9)
    return hashed ^ (hashed >> np.uint64(32))


@njit(nogil=True, cache=True)
def hash_fixed(words: Any, width: Any, length: Any, hashes: Any) -> None:
    """Hash the first ``length`` bytes of each key in ``words`` (n x ``width``, flat), zero-padded to whole words."""
    count = (length + 7) >> 3
    tail = length & 7
    mask = np.uint64(0xFFFFFFFFFFFFFFFF)
    if tail > 0:
        mask >>= np.uint64(64 - 8 * tail)
    for row in range(hashes.size):
        hashes[row] = xxh64(words, row * width, row * width + count, mask)


@njit(nogil=True, cache=True)
def hash_variable(words: Any, offsets: Any, hashes: Any) -> None:
    """Hash keys of different lengths; ``offsets`` (n + 1, int64) count words."""
    for row in range(hashes.size):
        hashes[row] = xxh64(words, offsets[row], offsets[row + 1], np.uint64(0xFFFFFFFFFFFFFFFF))
