"""Kernels that find zones: the smallest and largest value of a block, as int64 in the order of the values.

The map depends on the column's ``order`` (``storage.encoding.Order``):

    0  none: the full zone                    3  DOUBLE: the same
    1  integers as they are                   4  integers of 16 bytes; beyond 64 bits the bounds of int64
    2  REAL as DOUBLE: its bits, those of     5  the first 8 of 16 bytes
       negatives reversed; -0.0 as 0.0,       6  the first 8 bytes of variable values, padded with 00 for the low
       one NaN, greatest                         and with FF for the high end

A block without values has an empty zone, low above high.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .memory import get8, get32, get64, load64, put32


@njit(nogil=True, cache=True)
def swapped(value: Any) -> Any:
    """The eight bytes of a uint64 in reverse; LLVM makes one instruction of it."""
    low = np.uint64(0x00FF00FF00FF00FF)
    value = ((value & low) << np.uint64(8)) | ((value >> np.uint64(8)) & low)
    low = np.uint64(0x0000FFFF0000FFFF)
    value = ((value & low) << np.uint64(16)) | ((value >> np.uint64(16)) & low)
    return (value << np.uint64(32)) | (value >> np.uint64(32))


@njit(nogil=True, cache=True)
def prefix(address: Any, length: Any, room: Any) -> Any:
    """(low, high): the first eight bytes at ``address`` as int64 in their order, padded with 00 and with FF.

    ``room`` bytes may be loaded from there.
    """
    missing = np.uint64(0)
    word = np.uint64(0)
    if length < 8:
        missing = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(8 * length)
    if room >= 8:
        word = swapped(load64(address)) & ~missing
    else:
        for at in range(8):
            byte = get8(address, np.int64(at)) if at < length else np.uint8(0)
            word = (word << np.uint64(8)) | np.uint64(byte)
    sign = np.uint64(0x8000000000000000)
    return np.int64(word ^ sign), np.int64((word | missing) ^ sign)


@njit(nogil=True, cache=True)
def float_order(bits: Any, sign: Any, infinity: Any, nan: Any) -> Any:
    """The bits of a float, sign-extended, as an integer in the order of floats: -0.0 as 0.0, one NaN, greatest."""
    magnitude = bits & ~sign
    if magnitude > infinity:
        return nan
    if bits >= 0:
        return bits
    return np.int64(0) if magnitude == 0 else bits ^ ~sign


@njit(nogil=True, cache=True)
def float_zone(words: Any, count: Any, order: Any) -> Any:
    """The zone of floats given by their bits in ``words`` (NULLs filled); see ``order`` above."""
    sign = np.int64(-0x80000000) if order == 2 else np.int64(-0x8000000000000000)
    infinity = np.int64(0x7F800000) if order == 2 else np.int64(0x7FF0000000000000)
    nan = np.int64(0x7FC00000) if order == 2 else np.int64(0x7FF8000000000000)
    low = np.int64(0x7FFFFFFFFFFFFFFF)
    high = np.int64(-0x8000000000000000)
    for index in range(count):
        place = float_order(words[index], sign, infinity, nan)
        low = min(low, place)
        high = max(high, place)
    if order == 2:
        single = np.empty(2, np.float32)
        double = np.empty(2, np.float64)
        for at in range(2):
            place = low if at == 0 else high
            put32(np.uint64(single.ctypes.data), at, np.uint32(place if place >= 0 else place ^ np.int64(0x7FFFFFFF)))
            double[at] = single[at]
        address = np.uint64(double.ctypes.data)
        sign, infinity, nan = -0x8000000000000000, 0x7FF0000000000000, 0x7FF8000000000000
        low = float_order(np.int64(get64(address, 0)), sign, infinity, nan)
        high = float_order(np.int64(get64(address, 1)), sign, infinity, nan)
        double[0] = 0.0  # numba frees an array after its last use, and an address is none
    return low, high


@njit(nogil=True, cache=True)
def wide_zone(values: Any, valid: Any, count: Any, order: Any) -> Any:
    """The zone of 16-byte values, at least one of which is not NULL."""
    low = np.int64(0x7FFFFFFFFFFFFFFF)
    high = np.int64(-0x8000000000000000)
    for index in range(count):
        if valid != np.uint64(0) and get8(valid, index) == np.uint8(0):
            continue
        word = np.int64(get64(values, 2 * index))
        if order == 5:
            word = np.int64(swapped(np.uint64(word)) ^ np.uint64(0x8000000000000000))
        else:
            upper = np.int64(get64(values, 2 * index + 1))
            if upper != word >> np.int64(63):
                word = np.int64(-0x8000000000000000) if upper < 0 else np.int64(0x7FFFFFFFFFFFFFFF)
        low = min(low, word)
        high = max(high, word)
    return low, high


@njit(nogil=True, cache=True)
def text_zone(offsets: Any, data: Any, valid: Any, first: Any, last: Any) -> Any:
    """The zone of variable values ``first`` to ``last``; empty where all are NULL."""
    low = np.int64(0x7FFFFFFFFFFFFFFF)
    high = np.int64(-0x8000000000000000)
    end = np.int64(np.int32(get32(offsets, last)))
    for index in range(first, last):
        if valid != np.uint64(0) and get8(valid, index) == np.uint8(0):
            continue
        start = np.int64(np.int32(get32(offsets, index)))
        length = np.int64(np.int32(get32(offsets, index + 1))) - start
        lower, upper = prefix(data + np.uint64(start), length, end - start)
        low = min(low, lower)
        high = max(high, upper)
    return low, high
