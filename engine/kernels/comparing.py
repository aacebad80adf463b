"""Kernels that compare encoded keys that stand one after the other: for ``weft check``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def compare_neighbours(words: Any, offsets: Any, width: Any, result: Any) -> None:
    """``result[i]`` (int8) is -1, 0 or 1: key i below, equal to or above key i + 1, by their bytes.

    Keys of one width take ``width`` words each; else key i is ``words[offsets[i]:offsets[i + 1]]``.
    """
    for index in range(result.size):
        if width > 0:
            start, middle, stop = index * width, (index + 1) * width, (index + 2) * width
        else:
            start, middle, stop = offsets[index], offsets[index + 1], offsets[index + 2]
        order = 0
        for word in range(min(middle - start, stop - middle)):
            left, right = words[start + word], words[middle + word]
            if left != right:
                for byte in range(8):
                    shift = np.uint64(8 * byte)
                    low = (left >> shift) & np.uint64(255)
                    high = (right >> shift) & np.uint64(255)
                    if low != high:
                        order = -1 if low < high else 1
                        break
                break
        if order == 0 and middle - start != stop - middle:
            order = -1 if middle - start < stop - middle else 1
        result[index] = order
