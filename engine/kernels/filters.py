"""Kernels of filters that say "certainly not here": split-block Bloom filters over uint64 hashes.

A filter is uint64[4 * blocks]. A hash picks one block of 32 bytes (one half of a cache line) by its upper 32 bits, and
one bit in each of the block's eight 32-bit lanes by its lower 32: lane ``i`` has bit ``(low * SALTS[i]) >> 27``. At ten
bits a key some 1 % of foreign hashes pass. Source: "Split block Bloom filters" (Apple, 2021), as in Parquet.

A block's number is ``upper * blocks >> 32``, so a filter of half as many blocks is this one with neighbours ORed: who
does not know beforehand how many keys will come makes the filter for the most that may, and shrinks it afterwards by
what stands in it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

BITS_PER_KEY = 10
BLOCK_BITS = 256


def blocks_for(keys: int) -> int:
    """Blocks for ``keys`` keys; five significant bits, so that a filter can be halved until it is small."""
    blocks = max(1, -(-keys * BITS_PER_KEY // BLOCK_BITS))
    shift = max(0, blocks.bit_length() - 5)
    return -(-blocks >> shift) << shift


def empty_filter(keys: int) -> np.ndarray:
    """A filter with room for ``keys`` keys, and none in it."""
    return np.zeros(4 * blocks_for(keys), np.uint64)


def build(hashes: np.ndarray) -> np.ndarray:
    """The filter of these hashes (uint64[n])."""
    filter = empty_filter(len(hashes))
    add(filter, hashes)
    return filter


def shrunk(filter: np.ndarray) -> np.ndarray:
    """The filter in as few blocks as its keys need; itself where it cannot be halved."""
    blocks = len(filter) // 4
    needed = math.ceil(estimate(filter)) * BITS_PER_KEY
    while blocks % 2 == 0 and blocks // 2 * BLOCK_BITS >= needed:
        filter = halved(filter)
        blocks //= 2
    return filter


@njit(nogil=True, cache=True)
def lanes(low: Any, first: Any, second: Any) -> Any:
    """The bits of two neighbouring lanes, as they lie in a uint64; ``low`` is 32 bits wide."""
    mask = np.uint64(0xFFFFFFFF)
    one = ((low * first) & mask) >> np.uint64(27)
    other = ((low * second) & mask) >> np.uint64(27)
    return (np.uint64(1) << one) | (np.uint64(1) << (other + np.uint64(32)))


@njit(nogil=True, cache=True)
def block_of(hashed: Any, blocks: Any) -> Any:
    return ((hashed >> np.uint64(32)) * blocks) >> np.uint64(32)


@njit(nogil=True, cache=True)
def add(filter: Any, hashes: Any) -> Any:
    """Put hashes into the filter. A hash equal to the one before it is there already: runs cost nothing.

    Blocks are touched some ahead: loads that wait for nobody overlap. What is returned keeps them from being dropped.
    """
    blocks = np.uint64(filter.size >> 2)
    warm = np.uint64(0)
    for start in range(0, hashes.size, 128):
        stop = min(start + 128, hashes.size)
        for index in range(start, stop):
            warm ^= filter[np.int64(block_of(hashes[index], blocks)) << 2]
        for index in range(start, stop):
            hashed = hashes[index]
            if index > 0 and hashed == hashes[index - 1]:
                continue
            low = hashed & np.uint64(0xFFFFFFFF)
            at = np.int64(block_of(hashed, blocks)) << 2
            filter[at] |= lanes(low, np.uint64(0x47B6137B), np.uint64(0x44974D91))
            filter[at + 1] |= lanes(low, np.uint64(0x8824AD5B), np.uint64(0xA2B7289D))
            filter[at + 2] |= lanes(low, np.uint64(0x705495C7), np.uint64(0x2DF1424B))
            filter[at + 3] |= lanes(low, np.uint64(0x9EFC4947), np.uint64(0x5C6BFB31))
    return warm


@njit(nogil=True, cache=True)
def probe(filter: Any, hashes: Any, result: Any) -> None:
    """Whether each hash may be in the filter, as uint8 0 or 1: never 0 for one that is."""
    blocks = np.uint64(filter.size >> 2)
    for index in range(hashes.size):
        hashed = hashes[index]
        low = hashed & np.uint64(0xFFFFFFFF)
        at = np.int64(block_of(hashed, blocks)) << 2
        absent = lanes(low, np.uint64(0x47B6137B), np.uint64(0x44974D91)) & ~filter[at]
        absent |= lanes(low, np.uint64(0x8824AD5B), np.uint64(0xA2B7289D)) & ~filter[at + 1]
        absent |= lanes(low, np.uint64(0x705495C7), np.uint64(0x2DF1424B)) & ~filter[at + 2]
        absent |= lanes(low, np.uint64(0x9EFC4947), np.uint64(0x5C6BFB31)) & ~filter[at + 3]
        result[index] = absent == np.uint64(0)


@njit(nogil=True, cache=True)
def ones_of(value: Any) -> Any:
    """How many bits of a uint64 are 1."""
    value -= (value >> np.uint64(1)) & np.uint64(0x5555555555555555)
    value = (value & np.uint64(0x3333333333333333)) + ((value >> np.uint64(2)) & np.uint64(0x3333333333333333))
    value = (value + (value >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (value * np.uint64(0x0101010101010101)) >> np.uint64(56)


@njit(nogil=True, cache=True)
def estimate(filter: Any) -> Any:
    """About how many different hashes were put in: k keys leave a lane's bit at 0 with probability (31/32)^k."""
    total = 0.0
    for block in range(filter.size >> 2):
        ones = np.uint64(0)
        for word in range(4):
            ones += ones_of(filter[4 * block + word])
        share = min(np.float64(ones) / 256.0, 0.995)
        total += math.log(1.0 - share) / math.log(31.0 / 32.0)
    return total


@njit(nogil=True, cache=True)
def halved(filter: Any) -> Any:
    """The same filter in half as many blocks; their number is even."""
    smaller = np.empty(filter.size >> 1, np.uint64)
    for block in range(smaller.size >> 2):
        for word in range(4):
            smaller[4 * block + word] = filter[8 * block + word] | filter[8 * block + 4 + word]
    return smaller
