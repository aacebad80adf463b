"""Kernels that bring rows to their cells: which rows go where."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def slice_of(time: Any, every: Any, base: Any, phase: Any) -> Any:
    """floor((time - origin) / every), where origin = base * every + phase and 0 <= phase < every; cannot overflow."""
    quotient = time // every
    return quotient - base - (1 if time - quotient * every < phase else 0)


@njit(nogil=True, cache=True)
def place_of(slice_: Any, shard: Any, slices: Any, shard_of: Any, places: Any) -> Any:
    """Where the group of a cell stands in the hash table ``places``, or where it would."""
    mixed = (np.uint64(slice_) * np.uint64(0x9E3779B185EBCA87)) ^ (np.uint64(shard) * np.uint64(0xC2B2AE3D27D4EB4F))
    mask = np.uint64(places.size - 1)
    place = (mixed >> np.uint64(32)) & mask
    while places[place] >= 0 and not (slices[places[place]] == slice_ and shard_of[places[place]] == shard):
        place = (place + np.uint64(1)) & mask
    return place


@njit(nogil=True, cache=True)
def enlarged(array: Any, fill: Any) -> Any:
    larger = np.full(4 * array.size, fill, array.dtype)
    larger[: array.size] = array
    return larger


@njit(nogil=True, cache=True)
def assign_groups(
    row: Any,
    hashes: Any,
    times: Any,
    clock: Any,
    slices: Any,
    shard_of: Any,
    sizes: Any,
    places: Any,
    recent: Any,
    group_of: Any,
    groups: Any,
) -> Any:
    """Give rows from ``row`` on their group, up to the first that needs a new one while ``slices`` is full.

    Returns (that row or the end, groups). ``clock`` is (every, base, phase). Apart from ``route``, since a loop that
    may replace an array counts references to it at every step, which costs ten times the work itself.
    """
    every, base, phase = clock
    shards = recent.size
    power = shards & (shards - 1) == 0
    # Rows mostly come in order of event time: the group last seen of each shard, and the bounds of the last slice,
    # save nearly all look-ups and divisions.
    known = False
    low = np.int64(0)
    slice_ = np.int64(0)
    while row < group_of.size:
        shard = np.int64(0)
        if hashes.size > 0:
            shard = np.int64(hashes[row] & np.uint64(shards - 1) if power else hashes[row] % np.uint64(shards))
        if times.size > 0 and (not known or np.uint64(times[row]) - np.uint64(low) >= np.uint64(every)):
            slice_ = slice_of(times[row], every, base, phase)
            low = (slice_ + base) * every + phase
            # Unless the slice begins before what int64 can say, or ends behind it.
            known = low <= times[row] and low <= np.int64(0x7FFF_FFFF_FFFF_FFFF) - every
        group = recent[shard]
        if group < 0 or slices[group] != slice_:
            place = place_of(slice_, shard, slices, shard_of, places)
            group = places[place]
            if group < 0:
                if groups == slices.size:
                    return row, groups
                group = np.int32(groups)
                places[place] = group
                slices[group] = slice_
                shard_of[group] = shard
                groups += 1
            recent[shard] = group
        group_of[row] = group
        sizes[group] += 1
        row += 1
    return row, groups


@njit(nogil=True, cache=True)
def route(hashes: Any, shards: Any, times: Any, every: Any, base: Any, phase: Any) -> Any:
    """Group rows by cell: returns (slices, shards, starts, order), groups in the order in which they first appear.

    ``hashes`` (uint64[n]) is empty where there is one shard, ``times`` (int64[n]) where there is one slice. The rows
    of group ``g`` are ``order[starts[g]:starts[g + 1]]``, in their order; ``order`` is empty where there is one group.
    """
    count = max(hashes.size, times.size)
    places = np.full(16, -1, np.int32)
    slices = np.empty(8, np.int64)
    shard_of = np.empty(8, np.int64)
    sizes = np.zeros(8, np.int64)
    group_of = np.empty(count, np.int32)
    recent = np.full(shards, -1, np.int32)
    clock = (every, base, phase)
    row, groups = assign_groups(0, hashes, times, clock, slices, shard_of, sizes, places, recent, group_of, 0)
    while row < count:
        slices = enlarged(slices, 0)
        shard_of = enlarged(shard_of, 0)
        sizes = enlarged(sizes, 0)
        places = np.full(4 * places.size, -1, np.int32)
        for other in range(groups):
            places[place_of(slices[other], shard_of[other], slices, shard_of, places)] = other
        row, groups = assign_groups(
            row, hashes, times, clock, slices, shard_of, sizes, places, recent, group_of, groups
        )
    starts = np.zeros(groups + 1, np.int64)
    for group in range(groups):
        starts[group + 1] = starts[group] + sizes[group]
    if groups <= 1:
        return slices[:groups], shard_of[:groups], starts, np.empty(0, np.int64)
    cursors = starts[:-1].copy()
    order = np.empty(count, np.int64)
    for row in range(count):
        group = group_of[row]
        order[cursors[group]] = row
        cursors[group] += 1
    return slices[:groups], shard_of[:groups], starts, order
