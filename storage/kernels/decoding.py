"""Kernels that decode: any run of rows, and any rows in any order, of one column of a segment in one call.

``header`` is the address of a column header (blocks.py). All arguments are plain integers, addresses among them, so
each kernel is compiled once. Outputs have room for what the docstrings say; ``valid`` is the address of one byte a row
or 0, where the caller knows that no value of the column is NULL. Blocks are verified before they are read; kernels
that take rows in any order check it and stop at the first row of a block that was not, so that the caller can have it
verified and go on from there.

Speed: values are unpacked as words of 64 bits, straight into the output where that is its width, else into a buffer of
``CHUNK`` values that stays in the first-level cache, and narrowed from there. So there is one loop per width in the
file and one per width in memory, instead of one per pair.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .blocks import fetch, fetch_high, fetch_valid, packed_bytes, place, run_of, span_at, unpacked
from .memory import (
    get8,
    get16,
    get32,
    get64,
    load8,
    load16,
    load32,
    load64,
    put8,
    put16,
    put32,
    put64,
    put_bits,
    put_eight,
    put_pairs,
)


@njit(nogil=True, cache=True)
def unpack(address: Any, bits: Any, first: Any, count: Any, base: Any, scale: Any, out: Any) -> None:
    """base + scale * i for ``count`` packed integers from number ``first`` on, as words at ``out``."""
    if bits == np.uint64(8):
        source = address + first
        for index in range(count):
            put64(out, index, base + scale * np.uint64(get8(source, index)))
    elif bits == np.uint64(16):
        source = address + first * np.uint64(2)
        for index in range(count):
            put64(out, index, base + scale * np.uint64(get16(source, index)))
    elif bits == np.uint64(32):
        source = address + first * np.uint64(4)
        for index in range(count):
            put64(out, index, base + scale * np.uint64(get32(source, index)))
    elif bits == np.uint64(64):
        source = address + first * np.uint64(8)
        for index in range(count):
            put64(out, index, base + scale * get64(source, index))
    else:
        mask = (np.uint64(1) << bits) - np.uint64(1)
        at = first * bits
        done = np.int64(0)
        if bits <= np.uint64(28) and first & np.uint64(7) == np.uint64(0):
            # Eight integers take ``bits`` bytes. Four loads, each of two of them, at the same places of every eight.
            source = address + (at >> np.uint64(3))
            two, four, six = np.uint64(2) * bits, np.uint64(4) * bits, np.uint64(6) * bits
            for index in range(count >> 3):
                put_pairs(
                    load64(source),
                    load64(source + (two >> np.uint64(3))) >> (two & np.uint64(7)),
                    load64(source + (four >> np.uint64(3))) >> (four & np.uint64(7)),
                    load64(source + (six >> np.uint64(3))) >> (six & np.uint64(7)),
                    bits,
                    base,
                    scale,
                    out + np.uint64(index) * np.uint64(64),
                )
                source += bits
            done = (count >> 3) << 3
            at += np.uint64(done) * bits
        elif bits <= np.uint64(57):
            source = address + (at >> np.uint64(3))
            for index in range(count >> 3):
                put_eight(source, at & np.uint64(7), bits, base, scale, out + np.uint64(index) * np.uint64(64))
                source += bits
            done = (count >> 3) << 3
            at += np.uint64(done) * bits
        for index in range(done, count):
            word = load64(address + (at >> np.uint64(3))) >> (at & np.uint64(7))
            put64(out, index, base + scale * (word & mask))
            at += bits


@njit(nogil=True, cache=True)
def fill(value: Any, first: Any, last: Any, out: Any) -> None:
    """Words ``first`` to ``last`` at ``out`` become ``value``."""
    for index in range(first, last):
        put64(out, index, value)


@njit(nogil=True, cache=True)
def decode(entry: Any, section: Any, first: Any, count: Any, out: Any) -> None:
    """Values ``first`` to ``first + count`` of a CONSTANT, PACKED or RUNS block, as words at ``out``."""
    encoding = load8(entry + np.uint64(60))
    base = load64(entry + np.uint64(16))
    if encoding == np.uint8(0):
        fill(base, np.int64(0), count, out)
        return
    scale = load64(entry + np.uint64(24))
    bits = np.uint64(load8(entry + np.uint64(61)))
    block = section + load64(entry)
    if encoding == np.uint8(1):
        unpack(block, bits, first, count, base, scale, out)
        return
    ends = block + np.uint64(8)
    end_bits = np.uint64(load8(block + np.uint64(4)))
    values = ends + packed_bytes(np.uint64(load32(block)), end_bits)
    run = run_of(block, first)
    done = np.int64(0)
    while done < count:
        end = min(np.int64(unpacked(ends, end_bits, run)) - np.int64(first), count)
        fill(base + scale * unpacked(values, bits, run), done, end, out)
        done = end
        run += np.uint64(1)


@njit(nogil=True, cache=True)
def narrow(source: Any, count: Any, size: Any, out: Any) -> None:
    """Words at ``source`` as values of ``size`` bytes at ``out``; 16 bytes by extending the sign."""
    if size == 1:
        for index in range(count):
            put8(out, index, np.uint8(get64(source, index)))
    elif size == 2:
        for index in range(count):
            put16(out, index, np.uint16(get64(source, index)))
    elif size == 4:
        for index in range(count):
            put32(out, index, np.uint32(get64(source, index)))
    else:
        for index in range(count):
            word = get64(source, index)
            put64(out, 2 * index, word)
            put64(out, 2 * index + 1, np.uint64(np.int64(word) >> np.int64(63)))


@njit(nogil=True, cache=True)
def copy(source: Any, count: Any, out: Any) -> None:
    """Copy ``count`` bytes."""
    words = count >> 3
    for index in range(words):
        put64(out, index, get64(source, index))
    for index in range(words << 3, count):
        put8(out, index, get8(source, index))


@njit(nogil=True, cache=True)
def copy_loosely(source: Any, count: Any, out: Any) -> None:
    """Copy ``count`` bytes, and up to seven more: both sides have room for them."""
    for index in range((count + 7) >> 3):
        put64(out, index, get64(source, index))


@njit(nogil=True, cache=True)
def unpack_valid(entry: Any, section: Any, first: Any, count: Any, valid: Any) -> None:
    """One byte a row, 1 where there is a value, for rows ``first`` to ``first + count`` of a block."""
    if load16(entry + np.uint64(62)) & np.uint16(1) == np.uint16(0):
        for index in range(count):
            put8(valid, index, np.uint8(1))
        return
    bitmap = section + load64(entry) + np.uint64(load32(entry + np.uint64(8)))
    bitmap -= packed_bytes(np.uint64(load32(entry + np.uint64(56))), np.uint64(1))
    if first & np.uint64(63) == np.uint64(0) and count & 63 == 0:
        source = bitmap + (first >> np.uint64(3))
        for index in range(count >> 6):
            put_bits(get64(source, index), valid + np.uint64(index) * np.uint64(64))
        return
    eights = count >> 3
    for index in range(eights):
        # Eight bits at once: a copy of the byte in each byte, of which byte k keeps bit k, as 0 or 1.
        at = first + np.uint64(8 * index)
        byte = np.uint64((np.uint64(load16(bitmap + (at >> np.uint64(3)))) >> (at & np.uint64(7))) & np.uint64(255))
        word = (byte * np.uint64(0x0101010101010101)) & np.uint64(0x8040201008040201)
        word = ((word + np.uint64(0x7F7F7F7F7F7F7F7F)) >> np.uint64(7)) & np.uint64(0x0101010101010101)
        put64(valid, index, word)
    for index in range(eights << 3, count):
        at = first + np.uint64(index)
        put8(
            valid, index, np.uint8((load8(bitmap + (at >> np.uint64(3))) >> np.uint8(at & np.uint64(7))) & np.uint8(1))
        )


@njit(nogil=True, cache=True)
def read_fixed(header: Any, size: Any, start: Any, count: Any, out: Any, valid: Any) -> None:
    """Rows ``start`` to ``start + count`` as values of ``size`` bytes at ``out``, and their validity."""
    header, out, valid = np.uint64(header), np.uint64(out), np.uint64(valid)
    section = load64(header)
    block_rows = np.int64(1) << np.int64(load64(header + np.uint64(40)))
    chunk = np.empty(1024, np.uint64)
    buffer = np.uint64(chunk.ctypes.data)
    done = np.int64(0)
    while done < count:
        _, entry, first = place(header, np.uint64(start + done))
        piece = min(count - done, block_rows - np.int64(first))
        target = out + np.uint64(done * size)
        encoding = load8(entry + np.uint64(60))
        if encoding == np.uint8(3) or encoding == np.uint8(5):
            copy(section + load64(entry) + first * np.uint64(size), piece * size, target)
        elif size == 8:
            decode(entry, section, first, piece, target)
        else:
            at = np.int64(0)
            while at < piece:
                some = min(piece - at, np.int64(1024))
                decode(entry, section, first + np.uint64(at), some, buffer)
                narrow(buffer, some, size, target + np.uint64(at * size))
                at += some
        if valid != np.uint64(0):
            unpack_valid(entry, section, first, piece, valid + np.uint64(done))
        done += piece
    chunk[0] = np.uint64(0)  # numba frees an array after its last use, and an address is none


@njit(nogil=True, cache=True)
def read_offsets(header: Any, start: Any, count: Any, offsets: Any, valid: Any) -> Any:
    """Offsets (int32[count + 1]) of rows ``start`` to ``start + count`` of a variable column; returns their bytes.

    NULLs have no bytes. The offsets are of no use where more than 2^31 - 1 bytes are returned.
    """
    header, offsets, valid = np.uint64(header), np.uint64(offsets), np.uint64(valid)
    section = load64(header)
    dictionary = load64(header + np.uint64(24))
    block_rows = np.int64(1) << np.int64(load64(header + np.uint64(40)))
    chunk = np.empty(1024, np.uint64)
    buffer = np.uint64(chunk.ctypes.data)
    put32(offsets, 0, np.uint32(0))
    total = np.uint64(0)
    done = np.int64(0)
    while done < count:
        _, entry, first = place(header, np.uint64(start + done))
        piece = min(count - done, block_rows - np.int64(first))
        if valid != np.uint64(0):
            unpack_valid(entry, section, first, piece, valid + np.uint64(done))
        block = section + load64(entry)
        bits = np.uint64(load8(entry + np.uint64(61)))
        base = np.uint64(0)
        if dictionary == np.uint64(0):
            base = total - unpacked(block, bits, first)
        at = np.int64(0)
        while at < piece:
            some = min(piece - at, np.int64(1024))
            target = offsets + np.uint64(4 * (done + at + 1))
            if dictionary == np.uint64(0):
                unpack(block, bits, first + np.uint64(at + 1), some, base, np.uint64(1), buffer)
                narrow(buffer, some, 4, target)
                total = chunk[some - 1]
            else:
                decode(entry, section, first + np.uint64(at), some, buffer)
                nulls = np.int64(0)
                if valid != np.uint64(0):
                    nulls = np.int64(load32(entry + np.uint64(12)))
                for index in range(some):
                    if nulls == 0 or get8(valid, done + at + index) != np.uint8(0):
                        code = np.int64(chunk[index])
                        total += np.uint64(get32(dictionary, code + 1) - get32(dictionary, code))
                    put32(target, index, np.uint32(total))
            at += some
        done += piece
    return np.int64(total)


@njit(nogil=True, cache=True)
def read_bytes(header: Any, start: Any, count: Any, offsets: Any, out: Any) -> None:
    """The bytes that ``read_offsets`` told of; ``out`` has room for eight more."""
    header, offsets, out = np.uint64(header), np.uint64(offsets), np.uint64(out)
    section = load64(header)
    dictionary = load64(header + np.uint64(24))
    heap = load64(header + np.uint64(32))
    block_rows = np.int64(1) << np.int64(load64(header + np.uint64(40)))
    chunk = np.empty(1024, np.uint64)
    buffer = np.uint64(chunk.ctypes.data)
    done = np.int64(0)
    while done < count:
        _, entry, first = place(header, np.uint64(start + done))
        piece = min(count - done, block_rows - np.int64(first))
        if dictionary == np.uint64(0):
            source, _ = span_at(header, np.uint64(start + done))
            cursor = np.int64(get32(offsets, done))
            copy(source, np.int64(get32(offsets, done + piece)) - cursor, out + np.uint64(cursor))
        else:
            at = np.int64(0)
            while at < piece:
                some = min(piece - at, np.int64(1024))
                decode(entry, section, first + np.uint64(at), some, buffer)
                cursor = np.int64(get32(offsets, done + at))
                for index in range(some):
                    end = np.int64(get32(offsets, done + at + index + 1))
                    if end > cursor:
                        source = heap + np.uint64(get32(dictionary, np.int64(chunk[index])))
                        copy_loosely(source, end - cursor, out + np.uint64(cursor))
                    cursor = end
                at += some
        done += piece


@njit(nogil=True, cache=True)
def rows_between(
    headers: Any, starts: Any, stops: Any, low: Any, high: Any, nulls: Any, found: Any, ends: Any
) -> None:  # fmt: skip
    """The rows of each run whose number is from ``low`` to ``high``, or NULL if ``nulls``.

    Run r is rows ``starts[r]`` to ``stops[r]`` of the column whose header is at ``headers[r]`` (uint64; blocks.py); its
    blocks are verified. All others are int64. Of a WIDE column the low word is looked at, as a signed number.

    ``found`` (int64, one more than there are rows in all runs) gets their numbers, those of run r end at ``ends[r]``.
    """
    chunk = np.empty(1024, np.int64)
    buffer = np.uint64(chunk.ctypes.data)
    at = np.int64(0)
    for run in range(starts.size):
        header = headers[run]
        section = load64(header)
        block_rows = np.int64(1) << np.int64(load64(header + np.uint64(40)))
        row = starts[run]
        while row < stops[run]:
            _, entry, first = place(header, np.uint64(row))
            count = min(stops[run] - row, block_rows - np.int64(first), np.int64(1024))
            if load8(entry + np.uint64(60)) <= np.uint8(2):
                decode(entry, section, first, count, buffer)
            else:
                for index in range(count):
                    put64(buffer, index, fetch(entry, section, first + np.uint64(index)))
            some = np.int64(0)
            for index in range(count):  # most have none, and this loop knows it eight at a time
                value = chunk[index]
                some += np.int64((value >= low) & (value <= high))
            if load16(entry + np.uint64(62)) & np.uint16(1) != np.uint16(0):
                if some != 0 or nulls != 0:
                    for index in range(count):
                        value = chunk[index]
                        inside = (value >= low) & (value <= high)
                        if inside or nulls != 0:
                            there = fetch_valid(entry, section, first + np.uint64(index))
                            found[at] = row + index
                            at += np.int64(inside if there else nulls != 0)
            elif some != 0:
                for index in range(count):
                    value = chunk[index]
                    found[at] = row + index
                    at += np.int64((value >= low) & (value <= high))
            row += count
        ends[run] = at
    chunk[0] = np.int64(0)  # numba frees an array after its last use, and an address is none


@njit(nogil=True, cache=True)
def take_fixed(header: Any, size: Any, rows: Any, start: Any, count: Any, out: Any, valid: Any) -> Any:
    """Rows (int64[count]) from number ``start`` on as values of ``size`` bytes.

    Returns the number of the first row of a block that was not verified, ``count``, or -1 for a row that is not there.
    """
    header, rows, out, valid = np.uint64(header), np.uint64(rows), np.uint64(out), np.uint64(valid)
    section = load64(header)
    verified = load64(header + np.uint64(16))
    rows_count = load64(header + np.uint64(48))
    for index in range(start, count):
        row = get64(rows, index)
        if row >= rows_count:
            return np.int64(-1)
        block, entry, at = place(header, row)
        if load8(verified + block) == np.uint8(0):
            return index
        value = fetch(entry, section, at)
        if size == 8:
            put64(out, index, value)
        elif size == 4:
            put32(out, index, np.uint32(value))
        elif size == 2:
            put16(out, index, np.uint16(value))
        elif size == 1:
            put8(out, index, np.uint8(value))
        else:
            put64(out, 2 * index, value)
            put64(out, 2 * index + 1, fetch_high(entry, section, at))
        if valid != np.uint64(0):
            put8(valid, index, np.uint8(fetch_valid(entry, section, at)))
    return count


@njit(nogil=True, cache=True)
def take_spans(header: Any, rows: Any, start: Any, count: Any, spans: Any, valid: Any) -> Any:
    """(address, length) of rows (int64[count]) from number ``start`` on, as pairs of words; NULLs have no bytes.

    Returns what ``take_fixed`` does.
    """
    header, rows, spans, valid = np.uint64(header), np.uint64(rows), np.uint64(spans), np.uint64(valid)
    section = load64(header)
    verified = load64(header + np.uint64(16))
    rows_count = load64(header + np.uint64(48))
    for index in range(start, count):
        row = get64(rows, index)
        if row >= rows_count:
            return np.int64(-1)
        block, entry, at = place(header, row)
        if load8(verified + block) == np.uint8(0):
            return index
        if valid != np.uint64(0):
            there = fetch_valid(entry, section, at)
            put8(valid, index, np.uint8(there))
            if not there:
                put64(spans, 2 * index, np.uint64(0))
                put64(spans, 2 * index + 1, np.uint64(0))
                continue
        address, length = span_at(header, row)
        put64(spans, 2 * index, address)
        put64(spans, 2 * index + 1, length)
    return count


@njit(nogil=True, cache=True)
def copy_spans(spans: Any, count: Any, offsets: Any, out: Any) -> None:
    """The bytes of spans one after another at ``out``, which has room for eight more, and their offsets (int32)."""
    spans, offsets, out = np.uint64(spans), np.uint64(offsets), np.uint64(out)
    cursor = np.int64(0)
    put32(offsets, 0, np.uint32(0))
    for index in range(count):
        length = np.int64(get64(spans, 2 * index + 1))
        copy_loosely(get64(spans, 2 * index), length, out + np.uint64(cursor))
        cursor += length
        put32(offsets, index + 1, np.uint32(cursor))
