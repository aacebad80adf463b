"""Kernels that find the rows of one key in a memtable's chunks, by the hash of its key columns.

The rows of a chunk that were ordered are in buckets, by the upper bits of their hash; a bucket's rows stand together,
in order of arrival. Rows that came later are the *tail*, looked at one by one. A *tag* is 32 other bits of the hash. An
order is reached by the address of its descriptor, a uint64 array:

    0 rows in buckets    1 bits of a bucket    2 starts (uint32[2^bits + 1])    3 rows (uint16)    4 tags (uint32)
    5 rows in the tail   6 their tags (uint32)

Chunk headers are those of kernels/index.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ...storage.kernels.memory import load8, load16, load32, load64
from .index import begin_of, end_of


@njit(nogil=True, cache=True)
def tags_of(hashes: Any, tags: Any) -> None:
    for index in range(hashes.size):
        tags[index] = np.uint32((hashes[index] >> np.uint64(16)) & np.uint64(0xFFFFFFFF))


@njit(nogil=True, cache=True)
def order_rows(hashes: Any, bits: Any, starts: Any, rows: Any, tags: Any) -> None:
    """Put rows 0 to n into 2^bits buckets; ``starts`` holds zeros."""
    shift = np.uint64(64 - bits)
    for index in range(hashes.size):
        starts[np.int64(hashes[index] >> shift) + 1] += np.uint32(1)
    for bucket in range(starts.size - 1):
        starts[bucket + 1] += starts[bucket]
    # Each bucket's start moves to its end while it is filled, and so becomes that of the next one.
    for index in range(hashes.size):
        bucket = np.int64(hashes[index] >> shift)
        at = starts[bucket]
        rows[at] = np.uint16(index)
        tags[at] = np.uint32((hashes[index] >> np.uint64(16)) & np.uint64(0xFFFFFFFF))
        starts[bucket] = at + np.uint32(1)
    for bucket in range(starts.size - 1, 0, -1):
        starts[bucket] = starts[bucket - 1]
    starts[0] = np.uint32(0)


@njit(nogil=True, cache=True)
def key_within(header: Any, offset: Any, width: Any, low: Any, high: Any, bounded: Any) -> Any:
    """Whether the encoded key of a row is at least ``low`` and, if ``bounded``, below ``high`` (uint8 arrays)."""
    words = load64(header)
    if width > 0:
        address = words + np.uint64(offset) * np.uint64(8 * width)
        length = 8 * width
    else:
        offsets = load64(header + np.uint64(8))
        first = load32(offsets + np.uint64(offset) * np.uint64(4))
        last = load32(offsets + np.uint64(offset) * np.uint64(4) + np.uint64(4))
        address = words + np.uint64(first) * np.uint64(8)
        length = np.int64(last - first) * 8
    for at in range(low.size):
        byte = load8(address + np.uint64(at)) if at < length else np.uint8(0)
        if byte != low[at]:
            if byte < low[at]:
                return False
            break
    if not bounded:
        return True
    for at in range(high.size):
        byte = load8(address + np.uint64(at)) if at < length else np.uint8(0)
        if byte != high[at]:
            return byte < high[at]
    return False


@njit(nogil=True, cache=True)
def taken(
    header: Any, offset: Any, count: Any, width: Any, low: Any, high: Any, bounded: Any, version: Any
) -> Any:  # fmt: skip
    """Whether a row is among the first ``count``, visible at ``version`` and, unless ``width`` is -1, in the range."""
    if offset >= count or begin_of(header, np.uint64(offset)) > version or end_of(header, np.uint64(offset)) <= version:
        return False
    return width < 0 or key_within(header, offset, width, low, high, bounded)


@njit(nogil=True, cache=True)
def find_series(
    headers: Any, orders: Any, counts: Any, hash: Any, width: Any, low: Any, high: Any, bounded: Any, version: Any,
    found: Any,
) -> Any:  # fmt: skip
    """Put chunk << 16 | offset of the key's rows visible at ``version`` into ``found``; returns how many there are.

    ``width`` is that of the encoded keys in words, 0 where it varies, -1 where chunks have no keys: then rows are not
    compared with the range. If there are more rows than room the rest is only counted.
    """
    tag = np.uint32((hash >> np.uint64(16)) & np.uint64(0xFFFFFFFF))
    total = 0
    for chunk in range(headers.size):
        header, order, count = headers[chunk], orders[chunk], counts[chunk]
        ordered = np.int64(load64(order))
        starts = load64(order + np.uint64(16))
        rows = load64(order + np.uint64(24))
        tags = load64(order + np.uint64(32))
        bucket = hash >> (np.uint64(64) - load64(order + np.uint64(8)))
        first = np.int64(load32(starts + np.uint64(4) * bucket))
        last = np.int64(load32(starts + np.uint64(4) * bucket + np.uint64(4)))
        for at in range(first, last):
            if load32(tags + np.uint64(4 * at)) == tag:
                offset = np.int64(load16(rows + np.uint64(2 * at)))
                if taken(header, offset, count, width, low, high, bounded, version):
                    if total < found.size:
                        found[total] = (chunk << 16) | offset
                    total += 1
        tail = load64(order + np.uint64(48))
        for at in range(np.int64(load64(order + np.uint64(40)))):
            if load32(tail + np.uint64(4 * at)) == tag:
                offset = ordered + at
                if taken(header, offset, count, width, low, high, bounded, version):
                    if total < found.size:
                        found[total] = (chunk << 16) | offset
                    total += 1
    return total
