"""Kernels that pack the items of arrays into one run of bytes per array, and take them out again.

    items of one width    0, items                        an array without NULLs; an empty one is the byte 0 alone
                          1, a byte per item, items       1 where there is an item; a NULL item is zeros
    items that vary       per item its length plus one, seven bits a byte, the lowest first; its bytes.  NULL: 0

One array of values has one form, so equal bytes mean the same items. All addresses are uint64, 0 for none: offsets are
int32 (n + 1 of n arrays), validity is a byte per array or item.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .decoding import copy
from .memory import get8, get32, put8, put32


@njit(nogil=True, cache=True)
def pack_fixed(lists: Any, valid: Any, count: Any, items: Any, there: Any, width: Any, ends: Any, out: Any) -> Any:
    """Pack ``count`` arrays of items of ``width`` bytes to ``out``, and where each ends to ``ends``.

    ``items`` begin with the first item of the first array. Returns how many bytes they take; ``out`` 0:
    nothing is written but ``ends``.
    """
    lists, valid, items, there = np.uint64(lists), np.uint64(valid), np.uint64(items), np.uint64(there)
    ends, out = np.uint64(ends), np.uint64(out)
    at, base = np.int64(0), np.int64(get32(lists, 0))
    for row in range(count):
        if valid == np.uint64(0) or get8(valid, row) != np.uint8(0):
            start, stop = np.int64(get32(lists, row)) - base, np.int64(get32(lists, row + 1)) - base
            length, nulls = stop - start, False
            if there != np.uint64(0):
                for item in range(start, stop):
                    nulls = nulls or get8(there, item) == np.uint8(0)
            values = at + 1 + (length if nulls else np.int64(0))
            if out != np.uint64(0):
                put8(out, at, np.uint8(nulls))
                copy(items + np.uint64(start * width), length * width, out + np.uint64(values))
                for item in range(length if nulls else np.int64(0)):
                    is_there = get8(there, start + item) != np.uint8(0)
                    put8(out, at + 1 + item, np.uint8(is_there))
                    for byte in range(np.int64(0) if is_there else width):
                        put8(out, values + item * width + byte, np.uint8(0))
            at = values + length * width
        put32(ends, row + 1, np.uint32(at))
    return at


@njit(nogil=True, cache=True)
def unpack_fixed(ends: Any, data: Any, valid: Any, count: Any, width: Any, lists: Any, items: Any, there: Any) -> Any:
    """The inverse. Returns how many items there are, negative minus one where some are NULL.

    ``lists`` gets offsets of arrays; ``items`` 0: nothing is written but these.
    """
    ends, data, valid = np.uint64(ends), np.uint64(data), np.uint64(valid)
    lists, items, there = np.uint64(lists), np.uint64(items), np.uint64(there)
    place = np.int64(0)
    some = False
    put32(lists, 0, np.uint32(0))
    for row in range(count):
        start, stop = np.int64(get32(ends, row)), np.int64(get32(ends, row + 1))
        if stop > start and (valid == np.uint64(0) or get8(valid, row) != np.uint8(0)):
            nulls = get8(data, start) != np.uint8(0)
            some = some or nulls
            start += 1
            length = (stop - start) // (width + 1) if nulls else (stop - start) // width
            if items != np.uint64(0):
                if there != np.uint64(0):
                    for item in range(length):
                        put8(there, place + item, get8(data, start + item) if nulls else np.uint8(1))
                if nulls:
                    start += length
                copy(data + np.uint64(start), length * width, items + np.uint64(place * width))
            place += length
        put32(lists, row + 1, np.uint32(place))
    return -place - 1 if some else place


@njit(nogil=True, cache=True)
def pack_variable(
    lists: Any, valid: Any, count: Any, offsets: Any, items: Any, there: Any, ends: Any, out: Any
) -> Any:  # fmt: skip
    """As ``pack_fixed``, of items that lie between ``offsets`` (int32) in ``items``."""
    lists, valid, offsets = np.uint64(lists), np.uint64(valid), np.uint64(offsets)
    items, there, ends, out = np.uint64(items), np.uint64(there), np.uint64(ends), np.uint64(out)
    at, base = np.int64(0), np.int64(get32(lists, 0))
    for row in range(count):
        if valid == np.uint64(0) or get8(valid, row) != np.uint8(0):
            for item in range(np.int64(get32(lists, row)) - base, np.int64(get32(lists, row + 1)) - base):
                first = np.int64(get32(offsets, item))
                is_there = there == np.uint64(0) or get8(there, item) != np.uint8(0)
                length = np.int64(get32(offsets, item + 1)) - first if is_there else np.int64(0)
                rest = length + 1 if is_there else np.int64(0)
                while rest > 127:
                    if out != np.uint64(0):
                        put8(out, at, np.uint8(rest & 127 | 128))
                    rest >>= 7
                    at += 1
                if out != np.uint64(0):
                    put8(out, at, np.uint8(rest))
                    copy(items + np.uint64(first), length, out + np.uint64(at + 1))
                at += 1 + length
        put32(ends, row + 1, np.uint32(at))
    return at


@njit(nogil=True, cache=True)
def unpack_variable(
    ends: Any, data: Any, valid: Any, count: Any, lists: Any, offsets: Any, items: Any, there: Any, sizes: Any
) -> Any:  # fmt: skip
    """The inverse. ``sizes`` (int64[2]) gets how many items there are, and their bytes. Returns whether some are NULL.

    ``lists`` gets offsets of arrays; ``offsets`` 0: nothing is written but these.
    """
    ends, data, valid, lists = np.uint64(ends), np.uint64(data), np.uint64(valid), np.uint64(lists)
    offsets, items, there = np.uint64(offsets), np.uint64(items), np.uint64(there)
    place, cursor = np.int64(0), np.int64(0)
    some = False
    put32(lists, 0, np.uint32(0))
    if offsets != np.uint64(0):
        put32(offsets, 0, np.uint32(0))
    for row in range(count):
        at, stop = np.int64(get32(ends, row)), np.int64(get32(ends, row + 1))
        if valid != np.uint64(0) and get8(valid, row) == np.uint8(0):
            at = stop
        while at < stop:
            length, shift = np.int64(0), np.int64(0)
            while True:
                byte = np.int64(get8(data, at))
                at += 1
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128 or at >= stop:
                    break
            some = some or length == 0
            size = min(max(length - 1, np.int64(0)), stop - at)
            if offsets != np.uint64(0):
                copy(data + np.uint64(at), size, items + np.uint64(cursor))
                put32(offsets, place + 1, np.uint32(cursor + size))
                if there != np.uint64(0):
                    put8(there, place, np.uint8(length != 0))
            at += size
            cursor += size
            place += 1
        put32(lists, row + 1, np.uint32(place))
    sizes[0], sizes[1] = place, cursor
    return some
