"""Kernels that find keys in segments: filter first, then the sample keys, then inside of one block.

Keys are sought in their encoded form, from which a search takes one unsigned number per column of fixed width, and the
place of the text for one of variable width; rows are never encoded: their values are fetched from the encoded blocks
and brought into the same order. So one compiled form serves every table. A *search header* (uint64[16 + 4 * columns])
says how, all addresses; engine/segment_index.py makes it:

    0 rows            1 sample words          2 their offsets (uint64) or 0     3 words of a key, 0 where it varies
    4 pk filter       5 its blocks, or 0      6 key filter                      7 its blocks, or 0
    8 columns         9 blocks                14 table of its columns, or 0 (kernels/runs.py)
    from 16 on, per column of the sort key: column header (storage/kernels/blocks.py), kind (below), encoded bytes or
    values of its dictionary, 1 where it is nullable

A key sought may be cut short, as the bounds of a range are: bytes behind its end count as 0. The first row at or above
it is the same as that for the bytes given.

Kernels stop at a block that nobody has verified, and name it in ``state``: (segment, column, block). The caller has it
verified and goes on. A key not found is -1, see kernels/index.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ...storage.kernels.blocks import fetch, fetch_high, fetch_span, fetch_valid, packed_bytes, span_at, unpacked
from ...storage.kernels.memory import load8, load32, load64, put8, put16, put32, put64
from .encoding import swap_bytes
from .filters import lanes

UUID, SIGNED, UNSIGNED, FLOAT, NUMERIC, TEXT = range(6)
"""Kinds of columns: how their values are ordered."""


@njit(nogil=True, cache=True)
def passes(filter: Any, blocks: Any, hashed: Any) -> Any:
    """Whether the filter at an address may hold a hash."""
    block = ((hashed >> np.uint64(32)) * blocks) >> np.uint64(32)
    at = filter + block * np.uint64(32)
    low = hashed & np.uint64(0xFFFFFFFF)
    if lanes(low, np.uint64(0x47B6137B), np.uint64(0x44974D91)) & ~load64(at) != np.uint64(0):
        return False  # so it ends for three quarters of those that are not in the filter
    absent = lanes(low, np.uint64(0x8824AD5B), np.uint64(0xA2B7289D)) & ~load64(at + np.uint64(8))
    absent |= lanes(low, np.uint64(0x705495C7), np.uint64(0x2DF1424B)) & ~load64(at + np.uint64(16))
    absent |= lanes(low, np.uint64(0x9EFC4947), np.uint64(0x5C6BFB31)) & ~load64(at + np.uint64(24))
    return absent == np.uint64(0)


@njit(nogil=True, cache=True)
def byte_at(words: Any, start: Any, stop: Any, offset: Any) -> Any:
    """Byte ``offset`` of the key ``words[start:stop]``; 0 behind its end."""
    word = start + (offset >> 3)
    if word >= stop:
        return np.uint64(0)
    return (words[word] >> np.uint64(8 * (offset & 7))) & np.uint64(255)


@njit(nogil=True, cache=True)
def number_at(words: Any, start: Any, stop: Any, offset: Any, width: Any) -> Any:
    """The big-endian number of ``width`` (1 to 8) bytes at byte ``offset`` of a key."""
    word = start + (offset >> 3)
    shift = np.uint64(8 * (offset & 7))
    number = swap_bytes(words[word]) << shift if word < stop else np.uint64(0)
    if shift > np.uint64(0) and word + 1 < stop:
        number |= swap_bytes(words[word + 1]) >> (np.uint64(64) - shift)
    return number >> np.uint64(64 - 8 * width)


@njit(nogil=True, cache=True)
def compare_text(address: Any, length: Any, words: Any, start: Any, stop: Any, offset: Any) -> Any:
    """-1, 0 or 1 as the encoded bytes of a text lie before, at or after those at byte ``offset`` of a key."""
    start_at = np.int64(0)
    while np.int64(length) - start_at >= 8:
        # Eight bytes at once, as long as none is 0: those are escaped.
        own = swap_bytes(load64(address + np.uint64(start_at)))
        if (own - np.uint64(0x0101010101010101)) & ~own & np.uint64(0x8080808080808080) != np.uint64(0):
            break
        word = number_at(words, start, stop, offset, 8)
        if own != word:
            return -1 if own < word else 1
        start_at += 8
        offset += 8
    for at in range(start_at, np.int64(length)):
        byte = np.uint64(load8(address + np.uint64(at)))
        sought = byte_at(words, start, stop, offset)
        offset += 1
        if byte != sought:
            return -1 if byte < sought else 1
        if byte == np.uint64(0):
            if byte_at(words, start, stop, offset) != np.uint64(255):
                return 1
            offset += 1
    if byte_at(words, start, stop, offset) != np.uint64(0) or byte_at(words, start, stop, offset + 1) != np.uint64(0):
        return -1
    return 0


@njit(nogil=True, cache=True)
def code_of(column: Any, values: Any, words: Any, start: Any, stop: Any, offset: Any) -> Any:
    """Twice the first code, of ``values``, whose text is not before the one sought; plus 1 where it is that."""
    offsets, data = load64(column + np.uint64(24)), load64(column + np.uint64(32))
    low, high = np.int64(0), np.int64(values)
    exact = np.int64(0)
    while low < high:
        middle = (low + high) >> 1
        place = offsets + np.uint64(4 * middle)
        first = np.uint64(load32(place))
        length = np.uint64(load32(place + np.uint64(4))) - first
        order = compare_text(data + first, length, words, start, stop, offset)
        if order < 0:
            low = middle + 1
        else:
            high = middle
            if order == 0:
                exact = np.int64(1)
    return np.uint64(2 * low + exact)


@njit(nogil=True, cache=True)
def parse(header: Any, words: Any, start: Any, stop: Any, sought: Any) -> None:
    """Take a key apart: per column its NULL byte, and one or two numbers, or the offset of the text and its code.

    In one row more: 0 where nothing but zeros comes after the columns, as in every key; a bound may have more.
    """
    offset = 0
    for column in range(np.int64(load64(header + np.uint64(64)))):
        place = header + np.uint64(128 + 32 * column)
        kind, width = load64(place + np.uint64(8)), np.int64(load64(place + np.uint64(16)))
        null = np.uint64(0)
        if load64(place + np.uint64(24)) != np.uint64(0):
            null = byte_at(words, start, stop, offset)
            offset += 1
        sought[column, 0] = null
        if kind == np.uint64(5):
            sought[column, 1] = np.uint64(offset)
            if null == np.uint64(0):
                column_header = load64(place)
                if load64(column_header + np.uint64(24)) != np.uint64(0):
                    sought[column, 2] = code_of(column_header, width, words, start, stop, offset)
                while start + (offset >> 3) < stop:
                    offset += 1
                    if byte_at(words, start, stop, offset - 1) == np.uint64(0):
                        offset += 1
                        if byte_at(words, start, stop, offset - 1) != np.uint64(255):
                            break
        elif width == 16:
            sought[column, 1] = number_at(words, start, stop, offset, 8)
            sought[column, 2] = number_at(words, start, stop, offset + 8, 8)
            offset += 16
        else:
            sought[column, 1] = number_at(words, start, stop, offset, width)
            offset += width
    rest = np.uint64(0)
    while start + (offset >> 3) < stop:
        rest |= byte_at(words, start, stop, offset)
        offset += 1
    sought[sought.shape[0] - 1, 0] = rest


@njit(nogil=True, cache=True)
def ordered(value: Any, kind: Any, width: Any) -> Any:
    """A fetched value of up to 8 bytes as the number that its encoded bytes make."""
    bits = np.uint64(8 * width)
    sign = np.uint64(1) << (bits - np.uint64(1))
    mask = sign | (sign - np.uint64(1))
    value &= mask
    if kind == np.uint64(1):
        return value ^ sign
    if kind == np.uint64(3):
        infinity = np.uint64(0x7F800000) if width == 4 else np.uint64(0x7FF0000000000000)
        magnitude = value & (sign - np.uint64(1))
        if magnitude == np.uint64(0):
            value = np.uint64(0)
        elif magnitude > infinity:
            value = np.uint64(0x7FC00000) if width == 4 else np.uint64(0x7FF8000000000000)
        return (~value & mask) if (value & sign) != np.uint64(0) else value | sign
    return value


@njit(nogil=True, cache=True)
def compare_row(
    header: Any, block: Any, at: Any, sought: Any, words: Any, start: Any, stop: Any, known: Any
) -> Any:  # fmt: skip
    """-1, 0 or 1 as row ``at`` of ``block`` (uint64) lies before, at or after the key that was parsed to ``sought``.

    The first ``known`` columns are not looked at: they are those of the key.
    """
    for column in range(known, np.int64(load64(header + np.uint64(64)))):
        place = header + np.uint64(128 + 32 * column)
        column_header, kind = load64(place), load64(place + np.uint64(8))
        section = load64(column_header)
        entry = load64(column_header + np.uint64(8)) + (block << np.uint64(6))
        first = second = np.uint64(0)
        null = load64(place + np.uint64(24)) != np.uint64(0) and not fetch_valid(entry, section, at)
        if np.uint64(null) != sought[column, 0]:
            return -1 if np.uint64(null) < sought[column, 0] else 1
        if kind == np.uint64(5):
            if null:
                continue
            if load64(column_header + np.uint64(24)) != np.uint64(0):
                code = fetch(entry, section, at) * np.uint64(2) + np.uint64(1)
                if code != sought[column, 2]:
                    return -1 if code < sought[column, 2] else 1
                continue
            address, length = fetch_span(entry, section, at)
            order = compare_text(address, length, words, start, stop, np.int64(sought[column, 1]))
            if order != 0:
                return order
            continue
        width = np.int64(load64(place + np.uint64(16)))
        if not null:
            first = fetch(entry, section, at)
            if width < 16:
                first = ordered(first, kind, width)
            else:
                second = fetch_high(entry, section, at)
                if kind == np.uint64(4):
                    first, second = second ^ np.uint64(0x8000000000000000), first
                else:
                    first, second = swap_bytes(first), swap_bytes(second)
        if first != sought[column, 1]:
            return -1 if first < sought[column, 1] else 1
        if width == 16 and second != sought[column, 2]:
            return -1 if second < sought[column, 2] else 1
    return 0 if sought[sought.shape[0] - 1, 0] == np.uint64(0) else -1


@njit(nogil=True, cache=True)
def guessed(number: Any, top: Any, count: Any) -> Any:
    """Where ``number`` stands among ``count`` ascending numbers from 0 to ``top``, if they are spread evenly."""
    if number >= top:
        return count - 1
    return np.int64(np.float64(number) * np.float64(count - 1) / np.float64(top))


@njit(nogil=True, cache=True)
def first_from(stream: Any, bits: Any, count: Any, number: Any, top: Any) -> Any:
    """The first of ``count`` ascending packed integers that is not below ``number``; ``count`` if all are.

    The last one is about ``top``: most likely it is near a guess, so that few lines of memory are looked at.
    """
    low, high = np.int64(0), count
    at, step = guessed(number, top, count), np.int64(16)
    if unpacked(stream, bits, np.uint64(at)) < number:
        low = at + 1
        at = low + step
        while at < high and unpacked(stream, bits, np.uint64(at)) < number:
            low = at + 1
            step *= 4
            at = low + step
        high = min(high, at)
    else:
        high = at
        at -= step
        while at >= low and unpacked(stream, bits, np.uint64(at)) >= number:
            high = at
            step *= 4
            at -= step
        low = max(low, at + 1)
    while low < high:
        middle = (low + high) >> 1
        if unpacked(stream, bits, np.uint64(middle)) < number:
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=True)
def narrowed(header: Any, block: Any, start: Any, stop: Any, sought: Any) -> Any:
    """(low, high, known): a key's place in ``block`` is in [low, high], if it is in [start, stop].

    ``known`` is 1 where rows low to high have the key's first column, found in its encoded form: of integers, times and
    texts with a dictionary, neither NULL nor stored plainly. Elsewhere it is 0, and nothing was found.
    """
    place = header + np.uint64(128)
    kind, column_header = load64(place + np.uint64(8)), load64(place)
    entry = load64(column_header + np.uint64(8)) + (block << np.uint64(6))
    encoding = load8(entry + np.uint64(60))
    if load64(place + np.uint64(24)) != np.uint64(0) or encoding > np.uint8(2):
        return start, stop, 0
    exact = True
    if kind == np.uint64(1) and load64(place + np.uint64(16)) <= np.uint64(8):
        free = np.uint64(64) - np.uint64(8) * load64(place + np.uint64(16))
        sign = np.uint64(1) << (np.uint64(63) - free)
        value = np.int64((sought[0, 1] ^ sign) << free) >> np.int64(free)
    elif kind == np.uint64(5) and load64(column_header + np.uint64(24)) != np.uint64(0):
        value = np.int64(sought[0, 2] >> np.uint64(1))
        exact = (sought[0, 2] & np.uint64(1)) != np.uint64(0)
    else:
        return start, stop, 0
    base = np.int64(load64(entry + np.uint64(16)))
    if encoding == np.uint8(0):
        if base == value and exact:
            return start, stop, 1
        return (stop, stop, 1) if base < value else (start, start, 1)
    if value < base:
        return start, start, 1
    scale = load64(entry + np.uint64(24))
    distance = np.uint64(value) - np.uint64(base)
    number = distance // scale
    if number * scale != distance:
        number += np.uint64(1)
        exact = False
    bits = np.uint64(load8(entry + np.uint64(61)))
    if bits < np.uint64(64) and number >> bits != np.uint64(0):
        return stop, stop, 1
    stream = load64(column_header) + load64(entry)
    top = (load64(entry + np.uint64(40)) - np.uint64(base)) // scale  # of codes not true, but as good as any
    if encoding == np.uint8(1):
        rows = np.int64(load32(entry + np.uint64(56)))
        low = first_from(stream, bits, rows, number, top)
        high = low
        if exact:
            while high < min(low + 16, rows) and unpacked(stream, bits, np.uint64(high)) == number:
                high += 1
            if high == low + 16:
                high = first_from(stream, bits, rows, number + np.uint64(1), top)
    else:
        runs = np.int64(load32(stream))
        end_bits = np.uint64(load8(stream + np.uint64(4)))
        ends = stream + np.uint64(8)
        values = ends + packed_bytes(np.uint64(runs), end_bits)
        run = first_from(values, bits, runs, number, top)
        low = np.int64(unpacked(ends, end_bits, np.uint64(run - 1))) if run > 0 else np.int64(0)
        high = low
        if exact and run < runs and unpacked(values, bits, np.uint64(run)) == number:
            high = np.int64(unpacked(ends, end_bits, np.uint64(run)))
    low = min(max(low, start), stop)
    return low, min(max(high, low), stop), 1


@njit(nogil=True, cache=True)
def compare_sample(header: Any, block: Any, words: Any, start: Any, stop: Any) -> Any:
    """-1, 0 or 1 as the first key of ``block`` lies before, at or after the key ``words[start:stop]``."""
    address, offsets = load64(header + np.uint64(8)), load64(header + np.uint64(16))
    if offsets == np.uint64(0):
        count = np.int64(load64(header + np.uint64(24)))
        first = block * count
    else:
        first = np.int64(load64(offsets + np.uint64(8 * block)))
        count = np.int64(load64(offsets + np.uint64(8 * block + 8))) - first
    for word in range(max(count, stop - start)):
        own = sought = np.uint64(0)
        if word < count:
            own = swap_bytes(load64(address + np.uint64(8 * (first + word))))
        if start + word < stop:
            sought = swap_bytes(words[start + word])
        if own != sought:
            return -1 if own < sought else 1
    return 0


@njit(nogil=True, cache=True)
def unverified(header: Any, block: Any) -> Any:
    """The first column of the sort key whose ``block`` was not verified yet, or -1."""
    for column in range(np.int64(load64(header + np.uint64(64)))):
        column_header = load64(header + np.uint64(128 + 32 * column))
        if load8(load64(column_header + np.uint64(16)) + np.uint64(block)) == np.uint8(0):
            return column
    return -1


@njit(nogil=True, cache=True)
def lower_bound(header: Any, words: Any, start: Any, stop: Any, sought: Any, state: Any) -> Any:
    """The first row whose key is not before ``words[start:stop]``, and whether its key is that; (-1, False) to verify.

    In the block before the first one that begins at or above the key, or the first row of that one.
    """
    low, high = np.int64(0), np.int64(load64(header + np.uint64(72)))
    exact = False
    while low < high:
        middle = (low + high) >> 1
        order = compare_sample(header, middle, words, start, stop)
        if order < 0:
            low = middle + 1
        else:
            high = middle
            exact = order == 0
    if low == 0:
        return np.int64(0), exact
    block = low - 1
    column = unverified(header, block)
    if column >= 0:
        state[1], state[2] = column, block
        return np.int64(-1), False
    parse(header, words, start, stop, sought)
    shift = np.int64(load64(load64(header + np.uint64(128)) + np.uint64(40)))
    first = block << shift
    end = min(np.int64(load64(header)) - first, np.int64(1) << shift)
    low, high, known = narrowed(header, np.uint64(block), np.int64(1), end, sought)
    exact = exact and high == end
    while low < high:
        middle = (low + high) >> 1
        order = compare_row(header, np.uint64(block), np.uint64(middle), sought, words, start, stop, known)
        if order < 0:
            low = middle + 1
        else:
            high = middle
            exact = order == 0
    return first + low, exact


@njit(nogil=True, cache=True)
def find(headers: Any, hashes: Any, words: Any, offsets: Any, width: Any, start: Any, rows: Any, state: Any) -> Any:
    """Put the first row of each key, the newest, into ``rows`` (int64), or -1, for the one segment of ``headers``.

    Returns n, or the key with which to go on after verifying.
    """
    header = headers[0]
    filter, blocks = load64(header + np.uint64(32)), load64(header + np.uint64(40))
    if start == 0:
        for index in range(hashes.size):
            candidate = blocks == np.uint64(0) or passes(filter, blocks, hashes[index])
            rows[index] = -2 if candidate else -1
    sought = np.zeros((np.int64(load64(header + np.uint64(64))) + 1, 3), np.uint64)
    last = np.int64(load64(header))
    for index in range(start, hashes.size):
        if rows[index] != -2:
            continue
        if offsets.size > 0:
            first, stop = offsets[index], offsets[index + 1]
        else:
            first, stop = np.int64(index * width), np.int64((index + 1) * width)
        row, exact = lower_bound(header, words, first, stop, sought, state)
        if row < 0:
            return index
        rows[index] = row if exact and row < last else -1
    return hashes.size


@njit(nogil=True, cache=True)
def bound_behind(header: Any, row: Any, words: Any, sought: Any, state: Any) -> Any:
    """The first row from ``row`` on whose key is not before ``words``, most likely one of the next; -1 to verify.

    Steps that double find it in the row's block; where it is not there it is sought as any key is.
    """
    shift = load64(load64(header + np.uint64(128)) + np.uint64(40))
    rows = np.int64(load64(header))
    if row >= rows:
        return rows
    block = np.uint64(row) >> shift
    column = unverified(header, block)
    if column >= 0:
        state[1], state[2] = column, np.int64(block)
        return np.int64(-1)
    parse(header, words, 0, words.size, sought)
    first = np.int64(block << shift)
    end = min(rows - first, np.int64(1) << np.int64(shift))
    low, high, known = narrowed(header, block, row - first, end, sought)
    at, last, step = low, high, np.int64(1)
    while at < last:
        if compare_row(header, block, np.uint64(at), sought, words, 0, words.size, known) >= 0:
            high = at
            break
        low = at + 1
        at += step
        step *= 2
    while low < high:
        middle = (low + high) >> 1
        if compare_row(header, block, np.uint64(middle), sought, words, 0, words.size, known) < 0:
            low = middle + 1
        else:
            high = middle
    if low < end or first + end == rows:
        return first + low
    behind, _ = lower_bound(header, words, 0, words.size, sought, state)
    return behind


@njit(nogil=True, cache=True)
def find_ranges(headers: Any, hashed: Any, low: Any, high: Any, start: Any, starts: Any, stops: Any, state: Any) -> Any:
    """Rows of each segment from key ``low`` to before key ``high`` (words; cut short or empty: no bound).

    ``hashed`` (uint64[0 or 1]): the hash of the one key that all rows of the range have; segments whose key filter does
    not know it have none. Returns n, or the segment with which to go on after verifying; adds the rows found to
    ``state[3]``.
    """
    for segment in range(start, headers.size):
        header = headers[segment]
        starts[segment] = stops[segment] = 0
        if hashed.size > 0:
            blocks = load64(header + np.uint64(56))
            if blocks != np.uint64(0) and not passes(load64(header + np.uint64(48)), blocks, hashed[0]):
                continue
        sought = np.zeros((np.int64(load64(header + np.uint64(64))) + 1, 3), np.uint64)
        state[0] = segment
        first, _ = lower_bound(header, low, 0, low.size, sought, state)
        if first < 0:
            return segment
        last = np.int64(load64(header))
        if high.size > 0:
            last = bound_behind(header, first, high, sought, state)
            if last < 0:
                return segment
        starts[segment], stops[segment] = first, max(first, last)
        state[3] += stops[segment] - first
    return headers.size


@njit(nogil=True, cache=True)
def name_rows(starts: Any, stops: Any, segments: Any, rows: Any) -> None:
    """Rows ``starts[s]`` to ``stops[s]`` of each segment s, one after another: segment and row of each."""
    at = 0
    for segment in range(starts.size):
        for row in range(starts[segment], stops[segment]):
            segments[at] = segment
            rows[at] = row
            at += 1


@njit(nogil=True, cache=True)
def may_hold(headers: Any, hashes: Any, result: Any) -> None:
    """Whether the one segment of ``headers`` may have rows with keys of these hashes, as its key filter says."""
    blocks = load64(headers[0] + np.uint64(56))
    filter = load64(headers[0] + np.uint64(48))
    for index in range(hashes.size):
        result[index] = blocks == np.uint64(0) or passes(filter, blocks, hashes[index])


@njit(nogil=True, cache=True)
def check_verified(columns: Any, segments: Any, rows: Any, state: Any) -> Any:
    """Whether the blocks of all rows were verified; names the first that was not in ``state`` (segment, 0, block)."""
    for index in range(rows.size):
        column = columns[segments[index]]
        if column != np.uint64(0):
            block = np.uint64(rows[index]) >> load64(column + np.uint64(40))
            if load8(load64(column + np.uint64(16)) + block) == np.uint8(0):
                state[0], state[2] = segments[index], np.int64(block)
                return False
    return True


@njit(nogil=True, cache=True)
def gather_fixed(columns: Any, segments: Any, rows: Any, size: Any, target: Any, valid: Any) -> Any:
    """Values of ``size`` bytes of rows of some segments to the array at ``target``, validity to ``valid`` (uint8).

    ``columns`` has the address of each segment's column header, or 0: those rows are left as they are. Returns how many
    are NULL.
    """
    nulls = 0
    for index in range(rows.size):
        column = columns[segments[index]]
        if column == np.uint64(0):
            continue
        shift = load64(column + np.uint64(40))
        row = np.uint64(rows[index])
        section = load64(column)
        entry = load64(column + np.uint64(8)) + ((row >> shift) << np.uint64(6))
        row &= (np.uint64(1) << shift) - np.uint64(1)
        valid[index] = fetch_valid(entry, section, row)
        nulls += valid[index] == np.uint8(0)
        value = fetch(entry, section, row)
        if size == 8:
            put64(target, index, value)
        elif size == 4:
            put32(target, index, np.uint32(value))
        elif size == 2:
            put16(target, index, np.uint16(value))
        elif size == 1:
            put8(target, index, np.uint8(value))
        else:
            put64(target, 2 * index, value)
            put64(target, 2 * index + 1, fetch_high(entry, section, row))
    return nulls


@njit(nogil=True, cache=True)
def gather_spans(columns: Any, segments: Any, rows: Any, offsets: Any, valid: Any) -> Any:
    """Running ends (int64[n + 1]) of values of variable width, and validity, as ``gather_fixed``; returns NULLs."""
    nulls = 0
    offsets[0] = 0
    for index in range(rows.size):
        column = columns[segments[index]]
        length = np.int64(0)
        if column != np.uint64(0):
            shift = load64(column + np.uint64(40))
            row = np.uint64(rows[index])
            entry = load64(column + np.uint64(8)) + ((row >> shift) << np.uint64(6))
            valid[index] = fetch_valid(entry, load64(column), row & ((np.uint64(1) << shift) - np.uint64(1)))
            if valid[index] != np.uint8(0):
                length = np.int64(span_at(column, row)[1])
            else:
                nulls += 1
        offsets[index + 1] = offsets[index] + length
    return nulls


@njit(nogil=True, cache=True)
def gather_bytes(columns: Any, segments: Any, rows: Any, offsets: Any, heap: Any) -> None:
    """Copy the bytes of values whose running ends are known."""
    for index in range(rows.size):
        first, last = offsets[index], offsets[index + 1]
        if first < last:
            address, _ = span_at(columns[segments[index]], np.uint64(rows[index]))
            for at in range(last - first):
                heap[first + at] = load8(address + np.uint64(at))
