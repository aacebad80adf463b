"""The kernel that finds a common divisor of the distances of integers from their minimum, see storage/narrow.py."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def divide(distances: Any, scale: Any, result: Any) -> Any:
    """``distances`` (uint64) divided by ``scale``, 1,000 or 1,000,000, into ``result`` (uint32); False where one is no
    multiple of it. The quotients fit.
    """
    # Divisors that the compiler knows become multiplications.
    if scale == 1_000:
        for index in range(distances.size):
            quotient = distances[index] // np.uint64(1_000)
            if quotient * np.uint64(1_000) != distances[index]:
                return False
            result[index] = np.uint32(quotient)
    else:
        for index in range(distances.size):
            quotient = distances[index] // np.uint64(1_000_000)
            if quotient * np.uint64(1_000_000) != distances[index]:
                return False
            result[index] = np.uint32(quotient)
    return True
