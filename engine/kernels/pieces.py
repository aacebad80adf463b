"""What generated kernels of pipelines call: values and validity of some rows of one block, into small buffers.

A *piece* is at most a block of rows of one segment, or a stretch of memory that an entry of a directory describes just
so (storage/kernels/blocks.py: PLAIN values, WIDE pairs, CONSTANT). ``entry`` and ``section`` are addresses, ``first``
is the row in the block that the piece begins with. Buffers hold ``count`` words: integers with their sign extended, the
bits of floats, codes, the low word of 16-byte values.

``chosen`` (uint64) are places of a buffer, ascending: where few rows are wanted, only theirs are read, to the same
places.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from ...storage.kernels.blocks import fetch, fetch_valid, unpacked
from ...storage.kernels.decoding import decode, unpack_valid
from ...storage.kernels.memory import (
    get8,
    get16,
    get32,
    get64,
    intrinsic,
    load8,
    load32,
    load64,
    ones64,
    prefetch,
    put64,
    put_bits,
    put_places,
)


@njit(nogil=True, cache=True)
def read_words(entry: Any, section: Any, first: Any, count: Any, out: Any) -> None:
    """Rows ``first`` to ``first + count`` of any fixed-width block into ``out`` (int64)."""
    target = np.uint64(out.ctypes.data)
    encoding = load8(entry + np.uint64(60))
    ask_ahead(entry, section, first, count)
    if encoding <= np.uint8(2):
        decode(entry, section, first, count, target)
        return
    block = section + load64(entry)
    if encoding == np.uint8(5):
        source = block + first * np.uint64(16)
        for index in range(count):
            put64(target, index, get64(source, 2 * index))
        return
    bits = load8(entry + np.uint64(61))
    if bits == np.uint8(64):
        source = block + first * np.uint64(8)
        for index in range(count):
            put64(target, index, get64(source, index))
    elif bits == np.uint8(32):
        source = block + first * np.uint64(4)
        for index in range(count):
            put64(target, index, np.uint64(np.int64(np.int32(get32(source, index)))))
    elif bits == np.uint8(16):
        source = block + first * np.uint64(2)
        for index in range(count):
            put64(target, index, np.uint64(np.int64(np.int16(get16(source, index)))))
    else:
        source = block + first
        for index in range(count):
            put64(target, index, np.uint64(get8(source, index)))


@njit(nogil=True, cache=True)
def ask_ahead(entry: Any, section: Any, first: Any, count: Any) -> None:
    """Have the memory behind ``count`` rows come nearer, which are read next: processors look no page ahead."""
    bits = np.uint64(load8(entry + np.uint64(61)))
    if load8(entry + np.uint64(60)) & np.uint8(1) != np.uint8(0):  # PACKED and PLAIN
        start = section + load64(entry) + (((first + np.uint64(count)) * bits) >> np.uint64(3))
        for line in range(0, (count * np.int64(bits)) >> 3, 64):
            prefetch(start + np.uint64(line))


@njit(nogil=True, cache=True)
def pick_words(entry: Any, section: Any, first: Any, chosen: Any, count: Any, out: Any) -> None:
    """The first ``count`` of the chosen rows (offsets from ``first``), each to its place in ``out`` (int64)."""
    bits = np.uint64(load8(entry + np.uint64(61)))
    if load8(entry + np.uint64(60)) == np.uint8(1) and bits != np.uint64(64):
        block = section + load64(entry)
        base, scale = load64(entry + np.uint64(16)), load64(entry + np.uint64(24))
        for place in range(count):
            row = chosen[place]
            out[row] = np.int64(base + scale * unpacked(block, bits, first + row))
        return
    for place in range(count):
        row = chosen[place]
        out[row] = np.int64(fetch(entry, section, first + row))


@njit(nogil=True, cache=True)
def read_valid(entry: Any, section: Any, first: Any, count: Any, known: Any, done: Any, out: Any) -> None:
    """One byte a row into ``out`` (uint8), 1 where there is a value.

    ``known``: the address of such bytes for the whole piece, of which ``done`` rows were read; 0: the block's bitmap.
    """
    if known != np.uint64(0):
        source = known + np.uint64(done)
        for index in range(count):
            out[index] = get8(source, index)
        return
    unpack_valid(entry, section, first, count, np.uint64(out.ctypes.data))


@njit(nogil=True, cache=True)
def pick_valid(entry: Any, section: Any, first: Any, chosen: Any, count: Any, known: Any, done: Any, out: Any) -> None:
    """The same of chosen rows."""
    if known != np.uint64(0):
        for place in range(count):
            row = chosen[place]
            out[row] = load8(known + np.uint64(done) + row)
        return
    for place in range(count):
        row = chosen[place]
        out[row] = np.uint8(fetch_valid(entry, section, first + row))


@njit(nogil=True, cache=True)
def keep_seen(hidden: Any, done: Any, count: Any, keep: Any) -> None:
    """A byte for each of ``count`` rows into ``keep`` (uint8, with room for a multiple of 64): 1 where it is visible.

    ``hidden``: a bit address (eight times that of a byte, and the bit in there), from which bits say which rows of the
    piece are not, of which ``done`` were seen; 0: none. Up to two words behind the rows' are read.
    """
    target = np.uint64(keep.ctypes.data)
    for index in range((count + 63) >> 6):
        word = np.uint64(0)
        if hidden != np.uint64(0):
            bit = hidden + np.uint64(done) + np.uint64(64 * index)
            shift = bit & np.uint64(7)
            # One more byte for what the shift leaves free; nothing of it where there is no shift.
            more = np.uint64(load8((bit >> np.uint64(3)) + np.uint64(8)))
            word = (load64(bit >> np.uint64(3)) >> shift) | ((more << np.uint64(1)) << (np.uint64(63) - shift))
        put_bits(~word, target + np.uint64(64 * index))


@njit(nogil=True, cache=True)
def places_of(flags: Any, count: Any, chosen: Any) -> Any:
    """The places of the first ``count`` bytes (uint8) that are not 0, ascending; returns how many there are.

    ``flags`` and ``chosen`` (uint64) have room for a multiple of eight.
    """
    source, target = np.uint64(flags.ctypes.data), np.uint64(chosen.ctypes.data)
    for index in range(count, (count + 7) & ~7):
        flags[index] = 0
    left = np.uint64(0)
    for index in range((count + 7) >> 3):
        at = np.uint64(index) * np.uint64(8)
        left += put_places(source + at, at, target + left * np.uint64(8))
    return np.int64(left)


@njit(nogil=True, cache=True)
def byte_at(address: Any, index: Any) -> Any:
    """Byte ``index`` (int64) of a table, as int64."""
    return np.int64(load8(np.uint64(address) + np.uint64(index)))


@njit(nogil=True, cache=True)
def word_at(address: Any, index: Any) -> Any:
    """Element ``index`` (int64) of a table of 32-bit integers that are not negative, as int64."""
    return np.int64(load32(address + np.uint64(index) * np.uint64(4)))


@njit(nogil=True, cache=True)
def word64_at(address: Any, index: Any) -> Any:
    """Element ``index`` (int64) of an array of int64 at an address."""
    return np.int64(load64(np.uint64(address) + np.uint64(index) * np.uint64(8)))


@njit(nogil=True, cache=True)
def shift_of(divisor: Any) -> Any:
    """The bits of ``divisor`` - 1 (int64, above 0), as uint64."""
    shift = np.uint64(0)
    while np.uint64(1) << shift < np.uint64(divisor):
        shift += np.uint64(1)
    return shift


@njit(nogil=True, cache=True)
def magic_of(divisor: Any) -> Any:
    """2 ^ (63 + shift) / divisor, rounded up or one more, as uint64: see ``divided``."""
    divisor = np.uint64(divisor)
    bits = np.uint64(63) + shift_of(divisor)
    found, rest = np.uint64(0), np.uint64(0)
    for bit in range(bits + np.uint64(1)):
        rest = rest + rest + np.uint64(bit == np.uint64(0))
        found += found
        if rest >= divisor:
            rest -= divisor
            found += np.uint64(1)
    return found + np.uint64(1)


@njit(nogil=True, cache=True)
def divided(value: Any, magic: Any, shift: Any) -> Any:
    """``value`` (int64) by a divisor, rounded down, without a division, which no vector unit has for integers.

    Granlund and Montgomery, "Division by Invariant Integers using Multiplication" (1994), theorem 4.2, for 63 bits:
    the upper 64 of twice the value times the magic number, as products of halves. Of a negative number the complement
    is divided.
    """
    sign = value >> np.int64(63)
    twice = np.uint64(value ^ sign) << np.uint64(1)
    half, lower = np.uint64(32), np.uint64(0xFFFFFFFF)
    low, high, magic_low, magic_high = twice & lower, twice >> half, magic & lower, magic >> half
    first = high * magic_low + ((low * magic_low) >> half)
    second = low * magic_high + (first & lower)
    product = high * magic_high + (first >> half) + (second >> half)
    return np.int64(product >> shift) ^ sign


@njit(nogil=True, cache=True)
def place_of(keys: Any, key: Any, used: Any) -> Any:
    """Where ``key`` (0 and above) stands in a table of keys plus one, of 2^k places; put there if it is new."""
    mask = np.uint64(keys.size - 1)
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    place = (mixed ^ (mixed >> np.uint64(32))) & mask
    while True:
        found = keys[place]
        if found == key + 1:
            return np.int64(place)
        if found == 0:
            keys[place] = key + 1
            used[0] += 1
            return np.int64(place)
        place = (place + np.uint64(1)) & mask


@njit(nogil=True, cache=True)
def place_all(keys: Any, more: Any, used: Any, places: Any) -> None:
    """``place_of`` of each of ``more`` (int64, keys plus one, 0: none, -1 then) into ``places`` (int64)."""
    for index in range(more.size):
        places[index] = np.int64(-1) if more[index] == 0 else place_of(keys, more[index] - 1, used)


@njit(nogil=True, cache=True)
def ranked(words: Any, places: Any, key: Any, none: Any) -> Any:
    """The number of ``key`` (uint64) among those that have a bit, ascending; ``none`` where it has no bit.

    ``words``: the address of pairs of 64 bits and how many are set before them; ``places``: how many bits there are,
    and one more that is not set. All but the result (int64) are uint64.
    """
    key = min(key, places)
    at = words + (key >> np.uint64(6)) * np.uint64(16)
    word, bit = load64(at), key & np.uint64(63)
    number = load64(at + np.uint64(8)) + ones64(word & ((np.uint64(1) << bit) - np.uint64(1)))
    return np.int64(number if (word >> bit) & np.uint64(1) else none)


@njit(nogil=True, cache=True)
def has_bit(words: Any, places: Any, key: Any) -> Any:
    """Whether ``ranked`` finds a key."""
    key = min(key, places)
    return (load64(words + (key >> np.uint64(6)) * np.uint64(16)) >> (key & np.uint64(63))) & np.uint64(1) != np.uint64(
        0
    )


@njit(nogil=True, cache=True)
def looked_up(keys: Any, mask: Any, key: Any, none: Any) -> Any:
    """The place of ``key`` in a table that ``place_of`` filled, at an address; ``none`` where it is not there."""
    mixed = key * np.uint64(0x9E3779B97F4A7C15)
    place = (mixed ^ (mixed >> np.uint64(32))) & mask
    while True:
        found = load64(keys + place * np.uint64(8))
        if found == key + np.uint64(1):
            return np.int64(place)
        if found == np.uint64(0):
            return np.int64(none)
        place = (place + np.uint64(1)) & mask


@njit(nogil=True, cache=True)
def put_ranks(keys: Any, words: Any) -> Any:
    """Make the table of ``ranked`` (uint64[n, 2], zeros) of keys (int64); returns how many different ones there are."""
    for index in range(keys.size):
        key = np.uint64(keys[index])
        words[np.int64(key >> np.uint64(6)), 0] |= np.uint64(1) << (key & np.uint64(63))
    before = np.uint64(0)
    for at in range(len(words)):
        words[at, 1] = before
        before += ones64(words[at, 0])
    return np.int64(before)


@njit(nogil=True, cache=True)
def ranks_of(keys: Any, words: Any, out: Any) -> None:
    """``ranked`` of keys (int64) that all have a bit, into ``out`` (int64)."""
    for index in range(keys.size):
        key = np.uint64(keys[index])
        at, bit = np.int64(key >> np.uint64(6)), key & np.uint64(63)
        below = words[at, 0] & ((np.uint64(1) << bit) - np.uint64(1))
        out[index] = np.int64(words[at, 1] + ones64(below))


@intrinsic
def _bits_of(typing_context: Any, value: Any) -> Any:
    """A float64 as the int64 of its bits."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), build


@njit(nogil=True, cache=True)
def key_of_real(value: Any) -> Any:
    """The bits of a float64, those of 0.0 also for -0.0, and the same for any NaN."""
    if value == 0.0:
        return np.int64(0)
    return np.int64(0x7FF8000000000000) if value != value else _bits_of(value)


@njit(nogil=True, cache=True)
def _since_march(day: Any) -> Any:
    """Of a day since 1970-01-01 (int64) from 0000-03-01 on: its year, and 2,141 times its day of that year; of years
    that begin in March (uint64).

    Cassio Neri, Lorenz Schneider, "Euclidean affine functions and their application to calendar algorithms": divisions
    are multiplications, months are digits.
    """
    quarters = np.uint64(4) * np.uint64(day + np.int64(719_468)) + np.uint64(3)
    century = quarters // np.uint64(146_097)
    product = np.uint64(2_939_745) * ((quarters - century * np.uint64(146_097)) | np.uint64(3))
    year = np.uint64(100) * century + (product >> np.uint64(32))
    return year, np.uint64(2_141) * ((product & np.uint64(0xFFFFFFFF)) // np.uint64(4 * 2_939_745))


@njit(nogil=True, cache=True)
def month_of(day: Any) -> Any:
    """Months since 1970-01 of a day since 1970-01-01 (int64), from the year 1 on."""
    year, within = _since_march(day)
    return np.int64(year * np.uint64(12) + ((within + np.uint64(197_913)) >> np.uint64(16))) - np.int64(12 * 1970 + 1)


@njit(nogil=True, cache=True)
def month_day_of(day: Any) -> Any:
    """The day of the month, from 1 on, of a day since 1970-01-01 (int64), from the year 1 on."""
    _, within = _since_march(day)
    return np.int64(((within + np.uint64(197_913)) & np.uint64(0xFFFF)) // np.uint64(2_141)) + np.int64(1)
