"""States of groups that have places: one added to another, which places have rows, and the k-th best of their values.

A state is int64[places * width]: of each place its accumulators behind one another, the first of which counts rows.
``what`` (int64[width]) says how each is added, in the words of kernels/groups.py; ``ANY`` is left alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def join_states(first: Any, second: Any, start: Any, stop: Any, what: Any) -> None:
    """Add places ``start`` to ``stop`` of ``second`` to those of ``first``. Sums fit in 64 bits."""
    width = np.uint64(what.size)
    begin, end = np.uint64(start) * width, np.uint64(stop) * width
    first_reals, second_reals = first.view(np.float64), second.view(np.float64)
    for accumulator in range(what.size):
        kind = what[accumulator]
        begin_at = begin + np.uint64(accumulator)
        if kind <= 1:
            for at in range(begin_at, end, width):
                first[at] += second[at]
        elif kind == 2:
            for at in range(begin_at, end, width):
                first[at] = min(first[at], second[at])
        elif kind == 3:
            for at in range(begin_at, end, width):
                first[at] = max(first[at], second[at])
        elif kind == 4:
            for at in range(begin_at, end, width):
                first_reals[at] += second_reals[at]
        elif kind == 5:
            for at in range(begin_at, end, width):
                value = second_reals[at]
                if value < first_reals[at] or first_reals[at] != first_reals[at]:
                    first_reals[at] = value
        elif kind == 6:
            for at in range(begin_at, end, width):
                value = second_reals[at]
                if value > first_reals[at] or value != value:
                    first_reals[at] = value


@njit(nogil=True, cache=True)
def places_with_rows(state: Any, width: Any, start: Any, stop: Any, out: Any) -> Any:
    """The places from ``start`` to ``stop`` that have rows, ascending, into ``out`` (int64); returns how many."""
    found, at = np.uint64(0), np.uint64(start) * np.uint64(width)
    for place in range(start, stop):
        out[found] = place
        found += np.uint64(state[at] != 0)
        at += np.uint64(width)
    return np.int64(found)


@njit(nogil=True, cache=True)
def take(state: Any, width: Any, accumulator: Any, places: Any, out: Any) -> None:
    """An accumulator of each of ``places`` into ``out`` (int64)."""
    for index in range(places.size):
        out[index] = state[np.uint64(places[index]) * np.uint64(width) + np.uint64(accumulator)]


@njit(nogil=True, cache=True)
def kth_greatest(values: Any, count: Any) -> Any:
    """The least of the ``count`` greatest values, none of which is NaN; there are at least so many.

    What is not above the k-th of those seen so far is looked at once; the others wait in a buffer, from which all but
    the k greatest are thrown out when it is full.
    """
    size = 4 * count + 1_024
    best = np.empty(size, values.dtype)
    filled = min(size, values.size)
    best[:filled] = values[:filled]
    best[:filled] = np.partition(best[:filled], filled - count)
    least = best[filled - count]
    best[:count] = best[filled - count : filled].copy()
    done, filled = filled, count
    for index in range(done, values.size):
        value = values[index]
        if value > least:
            best[filled] = value
            filled += 1
            if filled == size:
                best[:] = np.partition(best, size - count)
                least = best[size - count]
                best[:count] = best[size - count :].copy()
                filled = count
    return np.partition(best[:filled], filled - count)[filled - count]
