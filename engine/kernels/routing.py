"""Kernel of routing: rows to cells, and the order that brings the rows of a cell together."""

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
def route(hashes: Any, shards: Any, times: Any, every: Any, base: Any, phase: Any) -> Any:
    """Group rows by cell: returns (slices, shards, starts, order), groups in the order in which they first appear.

    ``hashes`` (uint64[n]) is empty where there is one shard, ``times`` (int64[n]) where there is one slice. The rows
    of group ``g`` are ``order[starts[g]:starts[g + 1]]``, in their order; ``order`` is empty where there is one group.
    """
    count = max(hashes.size, times.size)
    size = 16
    places = np.full(size, -1, np.int32)
    capacity = 8
    slices = np.empty(capacity, np.int64)
    shard_of = np.empty(capacity, np.int64)
    sizes = np.zeros(capacity, np.int64)
    group_of = np.empty(count, np.int32)
    groups = 0
    previous = -1
    low = np.int64(0)
    slice_ = np.int64(0)
    for row in range(count):
        shard = np.int64(0)
        if hashes.size > 0:
            shard = np.int64(hashes[row] % np.uint64(shards))
        if times.size > 0:
            # The slice of the row before, most of the time; the bound below it saves the division.
            since = np.uint64(times[row]) - np.uint64(low)
            if row == 0 or since >= np.uint64(every):
                slice_ = slice_of(times[row], every, base, phase)
                low = (slice_ + base) * every + phase
        if previous >= 0 and slices[previous] == slice_ and shard_of[previous] == shard:
            group_of[row] = previous
            sizes[previous] += 1
            continue
        mixed = (np.uint64(slice_) * np.uint64(0x9E3779B185EBCA87)) ^ (np.uint64(shard) * np.uint64(0xC2B2AE3D27D4EB4F))
        place = np.int64(mixed >> np.uint64(32)) & (size - 1)
        while True:
            group = places[place]
            if group < 0 or (slices[group] == slice_ and shard_of[group] == shard):
                break
            place = (place + 1) & (size - 1)
        if group < 0:
            if groups == capacity:
                capacity *= 4
                size *= 4
                wider = np.empty(capacity, np.int64)
                wider[:groups] = slices
                slices = wider
                wider = np.empty(capacity, np.int64)
                wider[:groups] = shard_of
                shard_of = wider
                wider = np.zeros(capacity, np.int64)
                wider[:groups] = sizes
                sizes = wider
                places = np.full(size, -1, np.int32)
                for other in range(groups):
                    again = (np.uint64(slices[other]) * np.uint64(0x9E3779B185EBCA87)) ^ (
                        np.uint64(shard_of[other]) * np.uint64(0xC2B2AE3D27D4EB4F)
                    )
                    place = np.int64(again >> np.uint64(32)) & (size - 1)
                    while places[place] >= 0:
                        place = (place + 1) & (size - 1)
                    places[place] = other
                place = np.int64(mixed >> np.uint64(32)) & (size - 1)
                while places[place] >= 0:
                    place = (place + 1) & (size - 1)
            group = np.int32(groups)
            places[place] = group
            slices[group] = slice_
            shard_of[group] = shard
            groups += 1
        group_of[row] = group
        sizes[group] += 1
        previous = np.int64(group)
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


@njit(nogil=True, cache=True)
def gather_variable(offsets: Any, data: Any, rows: Any, target_offsets: Any, at: Any, heap: Any) -> None:
    """Append values ``rows`` (int64) of (offsets int32, data) to a heap, after its ``at`` values.

    ``target_offsets[at]`` is the heap's used length; the caller made room for all.
    """
    cursor = target_offsets[at]
    for index in range(rows.size):
        row = rows[index]
        start, stop = offsets[row], offsets[row + 1]
        for byte in range(start, stop):
            heap[cursor] = data[byte]
            cursor += 1
        target_offsets[at + index + 1] = cursor
