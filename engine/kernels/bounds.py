"""What integers in memory lie between: one pass over values and validity, without the interpreter's lock."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from ...storage.kernels.memory import get8
from ...storage.kernels.packing import wide, widen

_AT_ONCE: Final = 1_024
_LEAST: Final = np.int64(-0x8000000000000000)
_GREATEST: Final = np.int64(0x7FFFFFFFFFFFFFFF)


@njit(nogil=True, cache=True)
def bounds_of(values: Any, size: Any, valid: Any, count: Any) -> Any:
    """(least, greatest, whether all are in 64 bits) of ``count`` integers of ``size`` bytes that are not NULL.

    ``values`` and ``valid`` are addresses; ``valid`` 0: none is NULL. The least is above the greatest where all are.
    """
    values, valid = np.uint64(values), np.uint64(valid)
    words = np.empty(_AT_ONCE, np.int64)
    low, high = _GREATEST, _LEAST
    for start in range(0, count, _AT_ONCE):
        number = min(_AT_ONCE, count - start)
        at = values + np.uint64(start * size)
        there = valid if valid == np.uint64(0) else valid + np.uint64(start)
        if size == 16 and wide(at, there, number):
            return low, high, False
        widen(at, size, np.uint64(0), number, words)
        if valid == np.uint64(0):
            for index in range(number):
                low, high = min(low, words[index]), max(high, words[index])
        else:
            for index in range(number):
                is_null = get8(there, index) == np.uint8(0)
                low = min(low, _GREATEST if is_null else words[index])
                high = max(high, _LEAST if is_null else words[index])
    return low, high, True
