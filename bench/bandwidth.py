"""How many bytes a second this machine reads from memory: what no scan can be faster than.

Two threads (or as many as the systems get) sum an array of 64-bit integers that is far larger than the caches, a half
each; the best of some passes counts, since whatever else runs here only takes away from it.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numba
import numpy as np

_BYTES: Final = 512 * 2**20
_PASSES: Final = 5


def measured_bandwidth(*, threads: int, size: int = _BYTES) -> float:
    """Bytes a second."""
    values = np.ones(size // 8, np.int64)
    parts = np.array_split(values, threads)
    _sum(parts[0][:1])
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_PASSES):
            began = time.perf_counter()
            assert sum(pool.map(_sum, parts)) == len(values)
            best = min(best, time.perf_counter() - began)
    return values.nbytes / best


@numba.njit(nogil=True, cache=True)
def _sum(values: np.ndarray) -> int:
    total = 0
    for value in values:
        total += value
    return total
