"""Places of bits: a set of small numbers, as it was collected, becomes a list."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ...storage.kernels.memory import ones64


@njit(nogil=True, cache=True)
def places_set(words: Any, out: Any) -> None:
    """The places of the bits that are set in ``words`` (uint64), ascending, into ``out`` (int64), which has as many."""
    at = 0
    for number in range(words.size):
        word, first = words[number], np.int64(number) << 6
        while word != np.uint64(0):
            out[at] = first + np.int64(ones64((word & (~word + np.uint64(1))) - np.uint64(1)))
            word &= word - np.uint64(1)
            at += 1
