"""Numbers for keys: equal encoded keys get one number, counted from 0 in the order in which they come.

Open addressing by the keys' hashes. Keys have one width in words, or word offsets where it varies (key_encoding.py).
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
            if hashes[first] == hashes[row] and same(words, offsets, width, first, row):
                numbers[row] = found
                break
            slot = (slot + np.uint64(1)) & mask
    return count


@njit(nogil=True, cache=True, inline="always")
def same(words: Any, offsets: Any, width: Any, left: Any, right: Any) -> Any:
    """Whether two keys are equal."""
    if width:
        a, b, length = left * width, right * width, width
    else:
        a, b, length = offsets[left], offsets[right], offsets[left + 1] - offsets[left]
        if offsets[right + 1] - b != length:
            return False
    for word in range(length):  # noqa: SIM110 - any() over a generator is not compiled
        if words[a + word] != words[b + word]:
            return False
    return True
