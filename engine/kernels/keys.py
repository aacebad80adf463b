"""Sets of integers that lie close together, as bits: what one side of a join tells the other (engine/join_keys.py).

All arguments are integers, addresses among them, so each kernel is compiled once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ...storage.kernels.memory import get8, get16, get32, get64, put8, put64


@njit(nogil=True, cache=True)
def put_keys(values: Any, count: Any, first: Any, words: Any) -> None:
    """Set the bits of ``count`` integers (int64) at ``values``, each counted from ``first`` on, in ``words``."""
    values, words = np.uint64(values), np.uint64(words)
    for index in range(count):
        place = get64(values, index) - np.uint64(first)
        at = np.int64(place >> np.uint64(6))
        put64(words, at, get64(words, at) | (np.uint64(1) << (place & np.uint64(63))))


@njit(nogil=True, cache=True)
def has_key(value: Any, first: Any, words: Any, places: Any) -> Any:
    """1 where ``value`` has a bit in ``words``, else 0; ``places`` bits are there."""
    place = np.uint64(value) - first
    inside = place < places
    place = place if inside else np.uint64(0)
    word = get64(words, np.int64(place >> np.uint64(6))) >> (place & np.uint64(63))
    return np.uint8(word & np.uint64(1)) & np.uint8(inside)


@njit(nogil=True, cache=True)
def keep_keys(values: Any, size: Any, count: Any, first: Any, words: Any, words_count: Any, mask: Any) -> None:
    """Bytes of ``mask`` become 0 where the integer of ``size`` bytes at ``values`` has no bit in ``words``."""
    values, words, mask, first = np.uint64(values), np.uint64(words), np.uint64(mask), np.uint64(first)
    places = np.uint64(words_count) * np.uint64(64)
    if size == 8:
        for index in range(count):
            found = has_key(get64(values, index), first, words, places)
            put8(mask, index, get8(mask, index) & found)
    elif size == 4:
        for index in range(count):
            found = has_key(np.int64(np.int32(get32(values, index))), first, words, places)
            put8(mask, index, get8(mask, index) & found)
    else:
        for index in range(count):
            found = has_key(np.int64(np.int16(get16(values, index))), first, words, places)
            put8(mask, index, get8(mask, index) & found)
