"""Numbers for keys: equal ones get one number, counted from 0 in the order in which they come.

Open addressing. Encoded keys by their hashes: they have one width in words, or word offsets where it varies
(key_encoding.py). Keys of one word by the word itself (``number_words``), which is several times as fast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def number(words: Any, offsets: Any, width: Any, hashes: Any, slots: Any, numbers: Any, firsts: Any) -> Any:
    """The number of each key into ``numbers``, the place of its first into ``firsts`` (both int64[n]); how many.

    ``slots``: int64 zeros, a power of two of them and more than keys. ``offsets`` is empty where ``width`` is not 0.
    """
    assert slots.size & (slots.size - 1) == 0 and slots.size > hashes.size  # noqa: PT018
    mask = np.uint64(slots.size - 1)
    count = 0
    for row in range(hashes.size):
        slot = hashes[row] & mask
        while True:
            found = slots[slot] - 1
            if found < 0:
                slots[slot] = count + 1
                firsts[count] = row
                numbers[row] = count
                count += 1
                break
            first = firsts[found]
            if hashes[first] == hashes[row] and same(words, offsets, first, words, offsets, row, width):
                numbers[row] = found
                break
            slot = (slot + np.uint64(1)) & mask
    return count


@njit(nogil=True, cache=True)
def number_words(words: Any, valid: Any, slots: Any, held: Any, numbers: Any, firsts: Any) -> Any:
    """As ``number``, of words (int64[n]); those that are not ``valid`` (uint8[n], empty: all are) are one key.

    ``slots``: int32 zeros, a power of two of them and more than words. ``held`` (int64): as many, of anything.
    """
    assert slots.size & (slots.size - 1) == 0 and slots.size > words.size and slots.size == held.size  # noqa: PT018
    mask = np.uint64(slots.size - 1)
    count, none, last, last_number = 0, -1, np.int64(0), -1
    for row in range(words.size):
        if valid.size and not valid[row]:
            if none < 0:
                none, firsts[count] = count, row
                count += 1
            numbers[row] = none
            continue
        word = words[row]
        if last_number >= 0 and word == last:  # they often come in runs
            numbers[row] = last_number
            continue
        mixed = np.uint64(word) * np.uint64(0x9E3779B97F4A7C15)
        slot = (mixed ^ (mixed >> np.uint64(32))) & mask
        while slots[slot] and held[slot] != word:
            slot = (slot + np.uint64(1)) & mask
        if not slots[slot]:
            held[slot], firsts[count] = word, row
            count += 1
            slots[slot] = count
        last, last_number = word, slots[slot] - 1
        numbers[row] = last_number
    return count


@njit(nogil=True, cache=True)
def number_codes(codes: Any, slots: Any, numbers: Any, firsts: Any) -> Any:
    """As ``number``, of codes (int64[n]) from 0 and below the size of ``slots`` (int32 zeros)."""
    count = 0
    for row in range(codes.size):
        code = codes[row]
        if not slots[code]:
            firsts[count] = row
            count += 1
            slots[code] = count
        numbers[row] = slots[code] - 1
    return count


@njit(nogil=True, cache=True)
def look_up(
    words: Any, offsets: Any, width: Any, hashes: Any, slots: Any, firsts: Any,
    own_words: Any, own_offsets: Any, own_hashes: Any, numbers: Any,
) -> Any:  # fmt: skip
    """Into ``numbers`` (int64[n]) the number that each of the own keys has among others; -1: it is none of them.

    The others, ``slots`` and ``firsts`` are as ``number`` left them.
    """
    mask = np.uint64(slots.size - 1)
    for row in range(own_hashes.size):
        slot = own_hashes[row] & mask
        numbers[row] = -1
        while True:
            found = slots[slot] - 1
            if found < 0:
                break
            first = firsts[found]
            if hashes[first] == own_hashes[row] and same(words, offsets, first, own_words, own_offsets, row, width):
                numbers[row] = found
                break
            slot = (slot + np.uint64(1)) & mask


@njit(nogil=True, cache=True, inline="always")
def same(
    words: Any, offsets: Any, left: Any, other_words: Any, other_offsets: Any, right: Any, width: Any
) -> Any:  # fmt: skip
    """Whether two keys are equal."""
    if width:
        a, b, length = left * width, right * width, width
    else:
        a, b, length = offsets[left], other_offsets[right], offsets[left + 1] - offsets[left]
        if other_offsets[right + 1] - b != length:
            return False
    for word in range(length):  # noqa: SIM110 - any() over a generator is not compiled
        if words[a + word] != other_words[b + word]:
            return False
    return True
