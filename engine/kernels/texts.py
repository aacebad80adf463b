"""Numbering texts: an open-addressing table over their bytes, that grows (engine/pipeline/texts.py).

    slots (uint64, 2^k)   tag << 32 | number + 1, at tag & mask and behind; 0: free
    ends (int32), heap    text n is heap[ends[n]:ends[n + 1]]

Any number of threads find texts at one moment, while none is added. Texts to be numbered are ``count`` values as
storage has them: offsets (int32), data, and validity (a byte each, or address 0); all three are addresses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ...storage.kernels.distinct import hash_bytes, masked
from ...storage.kernels.memory import get8, get32, load64, put8


@njit(nogil=True, cache=True)
def tag_of(address: Any, length: Any, room: Any) -> Any:
    """The hash of a text, 32 bits as uint64."""
    return (hash_bytes(address, length, room) * np.uint64(0xC2B2AE3D27D4EB4F)) >> np.uint64(32)


@njit(nogil=True, cache=True)
def same_text(address: Any, length: Any, room: Any, ends: Any, heap: Any, number: Any) -> Any:
    """Whether text ``number`` has just these bytes. ``heap``: an address with eight bytes behind its last text."""
    start = np.int64(ends[number])
    if np.int64(ends[number + 1]) - start != length:
        return False
    other = heap + np.uint64(start)
    at = np.int64(0)
    while at + 8 <= length:
        if load64(address + np.uint64(at)) != load64(other + np.uint64(at)):
            return False
        at += 8
    left = length - at
    return left == 0 or masked(address + np.uint64(at), left, room - at) == masked(other + np.uint64(at), left, 8)


@njit(nogil=True, cache=True)
def find_texts(
    offsets: Any, data: Any, valid: Any, count: Any, in_order: Any, slots: Any, ends: Any, heap: Any, known: Any,
    numbers: Any,
) -> Any:  # fmt: skip
    """The number of each text into ``numbers`` (uint32), of NULL 0; how many have none (~0), and their bytes.

    ``known``: how many texts are numbered. ``in_order``: they probably follow one another as those that were numbered
    before did, as in dictionaries, which are in the order of their bytes: so the next two numbers are tried first.
    """
    offsets, data, valid, heap = np.uint64(offsets), np.uint64(data), np.uint64(valid), np.uint64(heap)
    mask = np.uint64(slots.size - 1)
    stop = np.int64(np.int32(get32(offsets, count)))
    missing, size, next = np.int64(0), np.int64(0), np.int64(0)
    for row in range(count):
        if valid != np.uint64(0) and get8(valid, row) == np.uint8(0):
            numbers[row] = np.uint32(0)
            continue
        start = np.int64(np.int32(get32(offsets, row)))
        length = np.int64(np.int32(get32(offsets, row + 1))) - start
        address, room = data + np.uint64(start), stop - start
        if in_order:
            guess = next
            while guess < min(next + 2, known) and not same_text(address, length, room, ends, heap, guess):
                guess += 1
            if guess < min(next + 2, known):
                numbers[row] = guess
                next = guess + 1
                continue
        tag = tag_of(address, length, room)
        position = tag & mask
        while True:
            slot = slots[position]
            if slot == np.uint64(0):
                numbers[row] = np.uint32(0xFFFFFFFF)
                missing += 1
                size += length
                break
            if slot >> np.uint64(32) == tag:
                number = np.int64(slot & np.uint64(0xFFFFFFFF)) - 1
                if same_text(address, length, room, ends, heap, number):
                    numbers[row] = number
                    if abs(number - next) < 64:
                        next = number + 1
                    break
            position = (position + np.uint64(1)) & mask
    return missing, size


@njit(nogil=True, cache=True)
def add_texts(
    offsets: Any, data: Any, count: Any, slots: Any, ends: Any, heap: Any, known: Any, numbers: Any
) -> Any:  # fmt: skip
    """Number the texts that ``find_texts`` gave none; returns how many are numbered then. There is room for all."""
    offsets, data, heap = np.uint64(offsets), np.uint64(data), np.uint64(heap)
    mask = np.uint64(slots.size - 1)
    stop = np.int64(np.int32(get32(offsets, count)))
    for row in range(count):
        if numbers[row] != np.uint32(0xFFFFFFFF):
            continue
        start = np.int64(np.int32(get32(offsets, row)))
        length = np.int64(np.int32(get32(offsets, row + 1))) - start
        address, room = data + np.uint64(start), stop - start
        tag = tag_of(address, length, room)
        position = tag & mask
        while True:
            slot = slots[position]
            if slot == np.uint64(0):
                end = np.int64(ends[known])
                for at in range(length):
                    put8(heap, end + at, get8(address, at))
                ends[known + 1] = end + length
                numbers[row] = known
                known += 1
                slots[position] = (tag << np.uint64(32)) | np.uint64(known)
                break
            if slot >> np.uint64(32) == tag:
                number = np.int64(slot & np.uint64(0xFFFFFFFF)) - 1
                if same_text(address, length, room, ends, heap, number):
                    numbers[row] = number
                    break
            position = (position + np.uint64(1)) & mask
    return known


@njit(nogil=True, cache=True)
def place_texts(before: Any, slots: Any) -> None:
    """Put what is in the slots ``before`` into more of them, which are free."""
    mask = np.uint64(slots.size - 1)
    for place in range(before.size):
        slot = before[place]
        if slot != np.uint64(0):
            position = (slot >> np.uint64(32)) & mask
            while slots[position] != np.uint64(0):
                position = (position + np.uint64(1)) & mask
            slots[position] = slot
