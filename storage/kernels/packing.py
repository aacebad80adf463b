"""Kernels that encode: from plain values to blocks and their directory entries, see blocks.py for the forms.

A block is first widened to 64-bit integers, its NULLs replaced by the value before them so that they cost nothing,
then measured, then written in the smallest form that reads fast:

- CONSTANT where all values are the same;
- RUNS where that saves a quarter of the packed size, with runs of four and more on average;
- PACKED otherwise, base and scale being the minimum and the greatest common divisor of the distances from it; unless it
  would take the plain width, or the values are floats: then PLAIN, which can be read in place.
- Values of 16 bytes are treated as their low word where the high one is but its sign, else WIDE.

Zones come from zones.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .blocks import packed_bytes
from .memory import get8, get16, get32, get64, put8, put16, put32, put64
from .zones import float_zone, prefix, text_zone, wide_zone


@njit(nogil=True, cache=True)
def bit_length(value: Any) -> Any:
    """Bits that it takes to write a uint64, as int64."""
    bits = np.int64(0)
    while value != np.uint64(0):
        value >>= np.uint64(1)
        bits += 1
    return bits


@njit(nogil=True, cache=True)
def rounded(bits: Any) -> Any:
    """The width to store ``bits`` bits in: a machine width where that costs at most an eighth."""
    if bits >= 56:
        return np.int64(64)
    for width in (8, 16, 32):
        if bits <= width and 8 * bits >= 7 * width:
            return np.int64(width)
    return max(bits, np.int64(1))


@njit(nogil=True, cache=True)
def widen(values: Any, size: Any, valid: Any, count: Any, words: Any) -> Any:
    """Values as int64 in ``words``, NULLs as the value before (the first value, where there is none); returns NULLs."""
    if size == 8:
        for index in range(count):
            words[index] = np.int64(get64(values, index))
    elif size == 4:
        for index in range(count):
            words[index] = np.int64(np.int32(get32(values, index)))
    elif size == 2:
        for index in range(count):
            words[index] = np.int64(np.int16(get16(values, index)))
    elif size == 1:
        for index in range(count):
            words[index] = np.int64(get8(values, index))
    else:
        for index in range(count):
            words[index] = np.int64(get64(values, 2 * index))
    nulls = np.int64(0)
    if valid != np.uint64(0):
        for index in range(count):
            nulls += np.int64(get8(valid, index) == np.uint8(0))
        if nulls > 0:
            last = np.int64(0)
            for index in range(count):
                if get8(valid, index) != np.uint8(0):
                    last = words[index]
                    break
            for index in range(count):
                if get8(valid, index) == np.uint8(0):
                    words[index] = last
                last = words[index]
    return nulls


@njit(nogil=True, cache=True)
def wide(values: Any, valid: Any, count: Any) -> Any:
    """Whether some 16-byte value is more than its low word with the sign extended."""
    for index in range(count):
        high = np.int64(get64(values, 2 * index)) >> np.int64(63)
        if np.int64(get64(values, 2 * index + 1)) != high and (
            valid == np.uint64(0) or get8(valid, index) != np.uint8(0)
        ):
            return True
    return False


@njit(nogil=True, cache=True)
def measure(words: Any, count: Any) -> Any:
    """(minimum, maximum, runs) of int64 ``words[:count]``."""
    low = words[0]
    high = words[0]
    for index in range(count):
        low = min(low, words[index])
        high = max(high, words[index])
    runs = np.int64(1)
    for index in range(1, count):
        runs += np.int64(words[index] != words[index - 1])
    return low, high, runs


@njit(nogil=True, cache=True)
def inverse_of(odd: Any) -> Any:
    """The inverse of an odd uint64 modulo 2^64, by Newton's iteration."""
    inverse = odd
    for _ in range(5):
        inverse *= np.uint64(2) - odd * inverse
    return inverse


@njit(nogil=True, cache=True)
def divisor(words: Any, count: Any, low: Any) -> Any:
    """The greatest common divisor of all words[i] - low (not all of them 0), as uint64.

    A few values almost always tell; then a multiplication by the inverse of the odd part verifies the others (it is a
    multiple where the product, the quotient, is small enough), which is ten times faster than dividing.
    """
    common = np.uint64(0)
    index = 0
    while index < count and (common == np.uint64(0) or index < 32):
        other = np.uint64(words[index]) - np.uint64(low)
        while other != np.uint64(0):
            common, other = other, common % other
        index += 1
    while common > np.uint64(1):
        shift = np.uint64(0)
        while (common >> shift) & np.uint64(1) == np.uint64(0):
            shift += np.uint64(1)
        odd = common >> shift
        inverse = inverse_of(odd)
        largest = np.uint64(0xFFFFFFFFFFFFFFFF) // odd
        mask = (np.uint64(1) << shift) - np.uint64(1)
        failed = False
        for at in range(count):
            other = np.uint64(words[at]) - np.uint64(low)
            if (other & mask) != np.uint64(0) or other * inverse > largest:
                failed = True
                while other != np.uint64(0):
                    common, other = other, common % other
                break
        if not failed:
            break
    return common


@njit(nogil=True, cache=True)
def pack(words: Any, count: Any, base: Any, scale: Any, bits: Any, out: Any) -> Any:
    """Write (words[i] - base) / scale in ``bits`` bits each at ``out``; returns the bytes, in whole words."""
    shift = np.uint64(0)
    while (scale >> shift) & np.uint64(1) == np.uint64(0):
        shift += np.uint64(1)
    inverse = inverse_of(scale >> shift)
    total = packed_bytes(np.uint64(count), np.uint64(bits))
    if total > np.uint64(0):
        put64(out, np.int64(total >> np.uint64(3)) - 1, np.uint64(0))
    if bits == 8:
        for index in range(count):
            put8(out, index, np.uint8(((np.uint64(words[index]) - base) >> shift) * inverse))
    elif bits == 16:
        for index in range(count):
            put16(out, index, np.uint16(((np.uint64(words[index]) - base) >> shift) * inverse))
    elif bits == 32:
        for index in range(count):
            put32(out, index, np.uint32(((np.uint64(words[index]) - base) >> shift) * inverse))
    elif bits == 64:
        for index in range(count):
            put64(out, index, ((np.uint64(words[index]) - base) >> shift) * inverse)
    else:
        word = np.uint64(0)
        filled = np.int64(0)
        at = np.int64(0)
        for index in range(count):
            value = ((np.uint64(words[index]) - base) >> shift) * inverse
            word |= value << np.uint64(filled)
            filled += bits
            if filled >= 64:
                put64(out, at, word)
                at += 1
                filled -= 64
                # A shift by 64 has no meaning on this machine, so it is made of two.
                word = (value >> np.uint64(1)) >> np.uint64(bits - filled - 1)
        if filled > 0:
            put64(out, at, word)
    return total


@njit(nogil=True, cache=True)
def compact_runs(words: Any, count: Any, ends: Any) -> None:
    """The value of each run to the front of ``words``, the row after its last to ``ends``."""
    run = np.int64(0)
    for index in range(1, count):
        if words[index] != words[index - 1]:
            ends[run] = index
            # The value of run r is taken from before ``index``, and r < index: nothing is lost.
            words[run] = words[index - 1]
            run += 1
    ends[run] = count
    words[run] = words[count - 1]


@njit(nogil=True, cache=True)
def write_bitmap(valid: Any, count: Any, out: Any) -> Any:
    """The validity bitmap of a block at ``out``; returns its bytes."""
    total = np.int64(packed_bytes(np.uint64(count), np.uint64(1)))
    for at in range(total >> 3):
        word = np.uint64(0)
        for index in range(64 * at, min(64 * at + 64, count)):
            word |= np.uint64(get8(valid, index) != np.uint8(0)) << np.uint64(index & 63)
        put64(out, np.int64(at), word)
    return total


@njit(nogil=True, cache=True)
def finish(
    entry: Any, offset: Any, length: Any, rows: Any, nulls: Any, encoding: Any, bits: Any, base: Any, scale: Any,
    low: Any, high: Any,
) -> None:  # fmt: skip
    """Write a directory entry, all but the checksum."""
    put64(entry, 0, np.uint64(offset))
    put32(entry, 2, np.uint32(length))
    put32(entry, 3, np.uint32(nulls))
    put64(entry, 2, np.uint64(base))
    put64(entry, 3, np.uint64(scale))
    put64(entry, 4, np.uint64(low))
    put64(entry, 5, np.uint64(high))
    put32(entry, 14, np.uint32(rows))
    put8(entry, 60, np.uint8(encoding))
    put8(entry, 61, np.uint8(bits))
    put16(entry, 31, np.uint16(nulls > 0))


@njit(nogil=True, cache=True)
def encode_fixed(
    values: Any, size: Any, order: Any, valid: Any, count: Any, block_rows: Any, dictionary: Any, heap: Any,
    entries: Any, offset: Any, out: Any,
) -> Any:  # fmt: skip
    """Encode ``count`` values of ``size`` bytes as blocks at ``out``, which lie at ``offset`` of the section.

    Returns the bytes; ``out`` has room for ``encoded_bytes_max``. ``entries`` is the address of the first directory
    entry. ``dictionary`` and ``heap`` are addresses of offsets (int32) and bytes where the values are codes, for zones.
    """
    values, valid, entries, out = np.uint64(values), np.uint64(valid), np.uint64(entries), np.uint64(out)
    dictionary, heap = np.uint64(dictionary), np.uint64(heap)
    words = np.empty(block_rows, np.int64)
    ends = np.empty(block_rows, np.int64)
    written = np.int64(0)
    done = np.int64(0)
    while done < count:
        rows = min(count - done, np.int64(block_rows))
        source = values + np.uint64(done * size)
        there = valid + np.uint64(done) if valid != np.uint64(0) else np.uint64(0)
        entry = entries + np.uint64(64 * (done // block_rows))
        target = out + np.uint64(written)
        nulls = widen(source, size, there, rows, words)
        low, high, runs = measure(words, rows)
        base = low
        scale = np.uint64(1)
        span = np.uint64(high) - np.uint64(low)
        bits = rounded(bit_length(span))
        # The zone.
        if nulls == rows:
            low, high = np.int64(0x7FFFFFFFFFFFFFFF), np.int64(-0x8000000000000000)
        elif order == 0:
            low, high = np.int64(-0x8000000000000000), np.int64(0x7FFFFFFFFFFFFFFF)
        elif order == 2 or order == 3:
            low, high = float_zone(words, rows, order)
        elif order == 4 or order == 5:
            low, high = wide_zone(source, there, rows, order)
        elif order == 6:
            start = np.int64(get32(dictionary, low))
            length = np.int64(get32(dictionary, low + 1)) - start
            low, _ = prefix(heap + np.uint64(start), length, length)
            start = np.int64(get32(dictionary, high))
            length = np.int64(get32(dictionary, high + 1)) - start
            _, high = prefix(heap + np.uint64(start), length, length)
        # The form.
        plain = size == 16 and wide(source, there, rows)
        end_bits = rounded(bit_length(np.uint64(rows)))
        length = np.int64(0)
        if plain:
            encoding = np.int64(5)
            bits = np.int64(128)
            for index in range(2 * rows):
                put64(target, index, get64(source, index))
            length = 16 * rows
        elif runs == 1:
            encoding = np.int64(0)
            bits = np.int64(0)
        else:
            floats = order == 2 or order == 3
            if not floats and bits > 8:
                scale = divisor(words, rows, base)
                bits = rounded(bit_length(span // scale))
            narrow = min(8 * size, np.int64(64))
            packed = rows * (narrow if floats else min(bits, narrow))
            if 4 * runs <= rows and 4 * (runs * (bits + end_bits) + 192) <= 3 * packed:
                encoding = np.int64(2)
                compact_runs(words, rows, ends)
                put32(target, 0, np.uint32(runs))
                put8(target, 4, np.uint8(end_bits))
                put8(target, 5, np.uint8(bits))
                put16(target, 3, np.uint16(0))
                length = np.int64(8)
                length += np.int64(pack(ends, runs, np.uint64(0), np.uint64(1), end_bits, target + np.uint64(length)))
                length += np.int64(pack(words, runs, np.uint64(base), scale, bits, target + np.uint64(length)))
            elif size < 16 and (floats or bits >= narrow):
                encoding = np.int64(3)
                bits = narrow
                base = np.int64(0)
                scale = np.uint64(1)
                length = rows * size
                put64(target, (length + 7) // 8 - 1, np.uint64(0))
                for index in range(length >> 3):
                    put64(target, index, get64(source, index))
                for index in range((length >> 3) << 3, length):
                    put8(target, index, get8(source, index))
                length = (length + 7) & ~7
            else:
                encoding = np.int64(1)
                length = np.int64(pack(words, rows, np.uint64(base), scale, bits, target))
        if nulls > 0:
            length += write_bitmap(there, rows, target + np.uint64(length))
        elif encoding == 1 or encoding == 2:
            put64(target, length >> 3, np.uint64(0))
            length += 8
        finish(entry, offset + written, length, rows, nulls, encoding, bits, base, scale, low, high)
        written += length
        done += rows
    return written


@njit(nogil=True, cache=True)
def encode_variable(
    offsets: Any, data: Any, valid: Any, count: Any, block_rows: Any, entries: Any, offset: Any, out: Any
) -> Any:
    """Encode ``count`` variable values (offsets int32) as HEAP blocks at ``out``; otherwise as ``encode_fixed``."""
    offsets, data, valid = np.uint64(offsets), np.uint64(data), np.uint64(valid)
    entries, out = np.uint64(entries), np.uint64(out)
    ends = np.empty(block_rows + 1, np.int64)
    written = np.int64(0)
    done = np.int64(0)
    while done < count:
        rows = min(count - done, np.int64(block_rows))
        there = valid + np.uint64(done) if valid != np.uint64(0) else np.uint64(0)
        entry = entries + np.uint64(64 * (done // block_rows))
        target = out + np.uint64(written)
        nulls = np.int64(0)
        ends[0] = 0
        for index in range(rows):
            length = np.int64(np.int32(get32(offsets, done + index + 1))) - np.int64(
                np.int32(get32(offsets, done + index))
            )
            if there != np.uint64(0) and get8(there, index) == np.uint8(0):
                nulls += 1
                length = np.int64(0)
            ends[index + 1] = ends[index] + length
        bits = rounded(bit_length(np.uint64(ends[rows])))
        length = np.int64(pack(ends, rows + 1, np.uint64(0), np.uint64(1), bits, target))
        heap = target + np.uint64(length)
        length += (ends[rows] + 7) & ~7
        if ends[rows] > 0:
            put64(target, (length >> 3) - 1, np.uint64(0))
        if nulls == 0:
            source = data + np.uint64(get32(offsets, done))
            for index in range(ends[rows] >> 3):
                put64(heap, index, get64(source, index))
            for index in range((ends[rows] >> 3) << 3, ends[rows]):
                put8(heap, index, get8(source, index))
        else:
            for index in range(rows):
                source = data + np.uint64(get32(offsets, done + index))
                for at in range(ends[index + 1] - ends[index]):
                    put8(heap, ends[index] + at, get8(source, at))
        if nulls > 0:
            length += write_bitmap(there, rows, target + np.uint64(length))
        else:
            put64(target, length >> 3, np.uint64(0))
            length += 8
        low, high = text_zone(offsets, data, valid, done, done + rows)
        finish(entry, offset + written, length, rows, nulls, 4, bits, 0, 1, low, high)
        written += length
        done += rows
    return written
