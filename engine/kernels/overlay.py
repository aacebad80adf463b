"""Kernels of overlays: the end versions of a segment's rows, as a bitmap of ended rows and a hash table of their ends.

    bits    uint64[(rows + 63) // 64]     bit r is set once row r has ended
    keys    uint32[2^k]                   r + 1, open addressing from r * 0x9E3779B1; 0 is an empty place
    ends    int64[2^k]                    the end version of the row in the same place

There is one writer. It stores an end before its key and the key before its bit, so whoever sees a bit finds the end; a
reader with a table from before it was enlarged may miss it, and then the row ended after that reader's version.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def place_of(keys: Any, row: Any) -> Any:
    """Where a row stands in the table, or where it would."""
    mask = np.uint64(keys.size - 1)
    key = np.uint32(row + 1)
    place = ((np.uint64(row) * np.uint64(0x9E3779B1)) >> np.uint64(7)) & mask
    while keys[place] != np.uint32(0) and keys[place] != key:
        place = (place + np.uint64(1)) & mask
    return place


@njit(nogil=True, cache=True)
def insert(keys: Any, ends: Any, bits: Any, rows: Any, versions: Any, added: Any) -> Any:
    """End the rows (int64, negative ones skipped) that have not ended; ``versions`` has one or as many. Flags those."""
    count = 0
    for index in range(rows.size):
        row = rows[index]
        added[index] = 0
        if row < 0 or (bits[row >> 6] >> np.uint64(row & 63)) & np.uint64(1):
            continue
        place = place_of(keys, row)
        ends[place] = versions[index] if versions.size > 1 else versions[0]
        keys[place] = np.uint32(row + 1)
        bits[row >> 6] |= np.uint64(1) << np.uint64(row & 63)
        added[index] = 1
        count += 1
    return count


@njit(nogil=True, cache=True)
def mark(bits: Any, layer: Any, rows: Any, added: Any) -> Any:
    """Set the bits of rows (int64, negative ones skipped) in ``layer``, but for those in ``bits``. Flags those."""
    count = 0
    for index in range(rows.size):
        row = rows[index]
        added[index] = 0
        if row < 0:
            continue
        word = row >> 6
        bit = np.uint64(1) << np.uint64(row & 63)
        if ((bits[word] | layer[word]) & bit) == np.uint64(0):
            layer[word] |= bit
            added[index] = 1
            count += 1
    return count


@njit(nogil=True, cache=True)
def look_up(keys: Any, ends: Any, bits: Any, rows: Any, found: Any) -> None:
    """The end version of each row (int64) into ``found``; rows that have not ended keep what stands there."""
    for index in range(rows.size):
        row = rows[index]
        if row >= 0 and (bits[row >> 6] >> np.uint64(row & 63)) & np.uint64(1):
            place = place_of(keys, row)
            if keys[place] != np.uint32(0):
                found[index] = ends[place]


@njit(nogil=True, cache=True)
def hide(keys: Any, ends: Any, bits: Any, start: Any, stop: Any, version: Any, exact: Any, mask: Any) -> Any:
    """Clear ``mask`` (uint8, rows ``start`` to ``stop``) where a row ended at or before ``version``; returns how many.

    Unless ``exact``, every end is known to be so early, and only the bits are read.
    """
    hidden = 0
    row = start
    while row < stop:
        word = bits[row >> 6] >> np.uint64(row & 63)
        if word == np.uint64(0):
            row = ((row >> 6) + 1) << 6
            continue
        last = min(stop, ((row >> 6) + 1) << 6)
        while row < last:
            if word & np.uint64(1):
                place = place_of(keys, row) if exact else np.uint64(0)
                if not exact or (keys[place] != np.uint32(0) and ends[place] <= version):
                    mask[row - start] = 0
                    hidden += 1
            word >>= np.uint64(1)
            row += 1
    return hidden


@njit(nogil=True, cache=True)
def collect(keys: Any, ends: Any, low: Any, high: Any, rows_out: Any, ends_out: Any) -> Any:
    """All rows that ended in (low, high], in no order; returns how many, or -1 where there is no room."""
    count = 0
    for place in range(keys.size):
        if keys[place] != np.uint32(0) and low < ends[place] <= high:
            if count == rows_out.size:
                return -1
            rows_out[count] = np.int64(keys[place]) - 1
            ends_out[count] = ends[place]
            count += 1
    return count


@njit(nogil=True, cache=True)
def rehash(keys: Any, ends: Any, new_keys: Any, new_ends: Any) -> None:
    """Move all of a table into a larger one, which is empty."""
    for place in range(keys.size):
        if keys[place] != np.uint32(0):
            other = place_of(new_keys, np.int64(keys[place]) - 1)
            new_ends[other] = ends[place]
            new_keys[other] = keys[place]
