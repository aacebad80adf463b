"""Kernels that bring rows into the order of a segment: out of the chunks of memtables, and out of several segments.

A row of chunks is named ``chunk << 16 | row``, as in the index; arrays of addresses have one entry a chunk. Addresses
are not checked: the caller keeps the arrays behind them alive.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ...storage.kernels.memory import get8, get16, get32, get64, put8, put16, put32, put64


@njit(nogil=True, cache=True)
def name_rows(counts: Any, keep: Any, items: Any) -> Any:
    """Name the rows of chunks with ``counts`` (int64) rows, last row first; returns how many.

    ``keep`` (uint8) says of each row, counted over all chunks, whether it is wanted; empty: all are.
    """
    before = np.int64(0)
    for chunk in range(counts.size):
        before += counts[chunk]
    at = 0
    for chunk in range(counts.size - 1, -1, -1):
        before -= counts[chunk]
        for row in range(counts[chunk] - 1, -1, -1):
            if keep.size == 0 or keep[before + row] != 0:
                items[at] = np.uint32((chunk << 16) | row)
                at += 1
    return at


@njit(nogil=True, cache=True)
def places_of(items: Any, firsts: Any, places: Any) -> None:
    """places[n] = i where items[i] is row n, counted over all chunks; ``firsts`` (int64) is each chunk's first n."""
    for index in range(items.size):
        item = items[index]
        places[firsts[np.int64(item >> np.uint32(16))] + np.int64(item & np.uint32(0xFFFF))] = np.int32(index)


@njit(nogil=True, cache=True)
def gather_fixed(addresses: Any, items: Any, start: Any, stop: Any, size: Any, target: Any) -> None:
    """Copy values of ``size`` bytes of rows ``items[start:stop]`` to the array at ``target``."""
    for index in range(start, stop):
        item = items[index]
        source = addresses[np.int64(item >> np.uint32(16))]
        row = np.int64(item & np.uint32(0xFFFF))
        at = np.int64(index - start)
        if size == 8:
            put64(target, at, get64(source, row))
        elif size == 4:
            put32(target, at, get32(source, row))
        elif size == 2:
            put16(target, at, get16(source, row))
        elif size == 1:
            put8(target, at, get8(source, row))
        else:
            put64(target, at * 2, get64(source, row * 2))
            put64(target, at * 2 + 1, get64(source, row * 2 + 1))


@njit(nogil=True, cache=True)
def gather_flags(addresses: Any, items: Any, start: Any, stop: Any, default: Any, target: Any) -> Any:
    """Copy one byte a row to ``target`` (uint8), ``default`` where the chunk's address is 0; returns how many are 0."""
    zeros = 0
    for index in range(start, stop):
        item = items[index]
        source = addresses[np.int64(item >> np.uint32(16))]
        flag = np.uint8(default)
        if source != np.uint64(0):
            flag = get8(source, np.int64(item & np.uint32(0xFFFF)))
        target[index - start] = flag
        zeros += flag == np.uint8(0)
    return zeros


@njit(nogil=True, cache=True)
def gather_begins(addresses: Any, bases: Any, items: Any, start: Any, stop: Any, target: Any) -> None:
    """Begin versions (int64): the chunk's base (int64) and the row's uint32 above it."""
    for index in range(start, stop):
        item = items[index]
        chunk = np.int64(item >> np.uint32(16))
        begin = get32(addresses[chunk], np.int64(item & np.uint32(0xFFFF)))
        target[index - start] = bases[chunk] + np.int64(begin)


@njit(nogil=True, cache=True)
def gather_lengths(offsets: Any, items: Any, start: Any, stop: Any, target: Any) -> None:
    """Running ends (int64[n + 1]) of values, or keys, of variable width; ``offsets`` are addresses of 32-bit arrays."""
    end = np.int64(0)
    target[0] = end
    for index in range(start, stop):
        item = items[index]
        source = offsets[np.int64(item >> np.uint32(16))]
        row = np.int64(item & np.uint32(0xFFFF))
        end += np.int64(get32(source, row + 1)) - np.int64(get32(source, row))
        target[index - start + 1] = end


@njit(nogil=True, cache=True)
def gather_bytes(offsets: Any, heaps: Any, items: Any, start: Any, stop: Any, target: Any) -> None:
    """Copy the bytes of values of variable width one after another; ``offsets`` are addresses of int32 arrays."""
    cursor = 0
    for index in range(start, stop):
        item = items[index]
        chunk = np.int64(item >> np.uint32(16))
        row = np.int64(item & np.uint32(0xFFFF))
        heap = heaps[chunk]
        for at in range(np.int64(get32(offsets[chunk], row)), np.int64(get32(offsets[chunk], row + 1))):
            target[cursor] = get8(heap, at)
            cursor += 1


@njit(nogil=True, cache=True)
def gather_keys(addresses: Any, items: Any, start: Any, stop: Any, width: Any, target: Any) -> None:
    """Copy keys of ``width`` words to ``target`` (uint64, flat)."""
    cursor = 0
    for index in range(start, stop):
        item = items[index]
        source = addresses[np.int64(item >> np.uint32(16))]
        first = np.int64(item & np.uint32(0xFFFF)) * width
        for word in range(width):
            target[cursor] = get64(source, first + word)
            cursor += 1


@njit(nogil=True, cache=True)
def gather_variable_keys(addresses: Any, offsets: Any, items: Any, start: Any, stop: Any, target: Any) -> None:
    """Copy keys of variable width to ``target`` (uint64, flat)."""
    cursor = 0
    for index in range(start, stop):
        item = items[index]
        chunk = np.int64(item >> np.uint32(16))
        row = np.int64(item & np.uint32(0xFFFF))
        for at in range(np.int64(get32(offsets[chunk], row)), np.int64(get32(offsets[chunk], row + 1))):
            target[cursor] = get64(addresses[chunk], at)
            cursor += 1
