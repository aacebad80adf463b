"""Parts of JSONB documents, found in their text without parsing it.

The one text of a document (base/documents.py) has a blank after each colon and comma and none elsewhere, and the text
of a part is a piece of the text of the whole. So a part is a *span*: its first byte and the one behind its last in the
data of an Arrow array; a first byte below 0 says that there is none. Nothing behind a row's last byte is looked at,
whatever the text is.

All arguments are integers, addresses among them, so each kernel is compiled once.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from ...storage.kernels.memory import get8, get32, get64, put8, put32, put64

QUOTE: Final = 0x22
BACKSLASH: Final = 0x5C
COMMA: Final = 0x2C
MINUS: Final = 0x2D
POINT: Final = 0x2E
ZERO: Final = 0x30
OPEN_LIST: Final = 0x5B
CLOSE_LIST: Final = 0x5D
OPEN_OBJECT: Final = 0x7B
CLOSE_OBJECT: Final = 0x7D

BY_KEY: Final = 1
"""A step into objects by a key."""
BY_INDEX: Final = 2
"""A step into arrays by an index."""
SCALARS: Final = 4
"""A scalar counts as an array of itself."""


@njit(nogil=True, cache=True)
def set_spans(offsets: Any, count: Any, starts: Any, ends: Any) -> None:
    """The rows of an Arrow array as spans: ``offsets`` are its int32[count + 1]."""
    offsets, starts, ends = np.uint64(offsets), np.uint64(starts), np.uint64(ends)
    for row in range(count):
        put64(starts, row, np.uint64(get32(offsets, row)))
        put64(ends, row, np.uint64(get32(offsets, row + 1)))


@njit(nogil=True, cache=True)
def string_end(data: Any, at: Any, end: Any) -> Any:
    """Behind the string whose opening quote is at ``at``."""
    at += 1
    while at < end:
        byte = get8(data, at)
        if byte == QUOTE:
            return at + 1
        at += 2 if byte == BACKSLASH else 1
    return end


@njit(nogil=True, cache=True)
def value_end(data: Any, at: Any, end: Any) -> Any:
    """Behind the value that begins at ``at``."""
    depth = 0
    while at < end:
        byte = get8(data, at)
        if byte == QUOTE:
            at = string_end(data, at, end)
            if depth == 0:
                return at
            continue
        if byte in (OPEN_LIST, OPEN_OBJECT):
            depth += 1
        elif byte in (CLOSE_LIST, CLOSE_OBJECT):
            if depth == 0:
                return at
            depth -= 1
            if depth == 0:
                return at + 1
        elif byte == COMMA and depth == 0:
            return at
        at += 1
    return end


@njit(nogil=True, cache=True)
def is_equal(data: Any, start: Any, end: Any, text: Any, size: Any) -> Any:
    """Whether a span has the ``size`` bytes at ``text``."""
    place = np.int64(0)
    while place < size and end - start == size and get8(data, start + place) == get8(text, place):
        place += 1
    return end - start == size == place


@njit(nogil=True, cache=True)
def member(data: Any, start: Any, end: Any, key: Any, size: Any) -> Any:
    """Where the value begins that an object has for a key, as JSON writes the key; -1 where it has none."""
    at = start + 1
    while at < end and get8(data, at) == QUOTE:
        behind = string_end(data, at, end)
        if is_equal(data, at, behind, key, size):
            return min(behind + 2, end)
        at = value_end(data, min(behind + 2, end), end) + 2
    return np.int64(-1)


@njit(nogil=True, cache=True)
def length(data: Any, start: Any, end: Any) -> Any:
    """How many items an array has."""
    at, count = start + 1, 0
    while at < end and get8(data, at) != CLOSE_LIST:
        count += 1
        at = value_end(data, at, end) + 2
    return count


@njit(nogil=True, cache=True)
def item(data: Any, start: Any, end: Any, index: Any) -> Any:
    """Where an item of an array begins; -1 where it has none."""
    if index < 0:
        index += length(data, start, end)
        if index < 0:
            return np.int64(-1)
    at = start + 1
    while at < end and get8(data, at) != CLOSE_LIST:
        if index == 0:
            return at
        index -= 1
        at = value_end(data, at, end) + 2
    return np.int64(-1)


@njit(nogil=True, cache=True)
def step(data: Any, starts: Any, ends: Any, count: Any, key: Any, size: Any, index: Any, ways: Any) -> None:
    """Go from each span to its part under the key (``size`` bytes at ``key``), or the index, as ``ways`` allow it."""
    data, starts, ends, key = np.uint64(data), np.uint64(starts), np.uint64(ends), np.uint64(key)
    for row in range(count):
        start, end = np.int64(get64(starts, row)), np.int64(get64(ends, row))
        if start < 0:
            continue
        found = np.int64(-1)
        first = get8(data, start) if start < end else np.uint8(0)
        if first == OPEN_OBJECT:
            if ways & BY_KEY:
                found = member(data, start, end, key, size)
        elif first == OPEN_LIST:
            if ways & BY_INDEX:
                found = item(data, start, end, index)
        elif ways & SCALARS and (index in (0, -1)):
            continue
        put64(starts, row, np.uint64(found))
        if found >= 0:
            put64(ends, row, np.uint64(value_end(data, found, end)))


@njit(nogil=True, cache=True)
def first_bytes(data: Any, starts: Any, ends: Any, count: Any, out: Any) -> None:
    """The first byte of each span, 0 where there is none."""
    data, starts, ends, out = np.uint64(data), np.uint64(starts), np.uint64(ends), np.uint64(out)
    for row in range(count):
        start, end = np.int64(get64(starts, row)), np.int64(get64(ends, row))
        put8(out, row, get8(data, start) if 0 <= start < end else np.uint8(0))


@njit(nogil=True, cache=True)
def lengths(data: Any, starts: Any, ends: Any, count: Any, out: Any) -> None:
    """How many items each array has (int32[count])."""
    data, starts, ends, out = np.uint64(data), np.uint64(starts), np.uint64(ends), np.uint64(out)
    for row in range(count):
        start, end = np.int64(get64(starts, row)), np.int64(get64(ends, row))
        put32(out, row, np.uint32(length(data, start, end) if start >= 0 else 0))


@njit(nogil=True, cache=True)
def number_size(data: Any, start: Any, end: Any) -> Any:
    """The bytes of a number without the zeros at the end of its fraction."""
    size = end - start
    for place in range(start, end):
        if get8(data, place) == POINT:
            while get8(data, start + size - 1) == ZERO:
                size -= 1
            return size - 1 if get8(data, start + size - 1) == POINT else size
    return size


@njit(nogil=True, cache=True)
def is_same(data: Any, start: Any, end: Any, text: Any, size: Any, number: Any) -> Any:
    """Whether a span is a scalar; if that is a number, ``size`` says where its fraction's zeros begin."""
    if number and start < end:
        first = get8(data, start)
        if first == MINUS or (first >= ZERO and first <= ZERO + 9):
            end = start + number_size(data, start, end)
    return is_equal(data, start, end, text, size)


@njit(nogil=True, cache=True)
def keep_same(
    data: Any, starts: Any, ends: Any, count: Any, text: Any, size: Any, number: Any, items: Any, mask: Any
) -> None:
    """Clear ``mask`` (bytes) where a span is not a scalar, or with ``items`` is no array that has it."""
    data, starts, ends = np.uint64(data), np.uint64(starts), np.uint64(ends)
    text, mask = np.uint64(text), np.uint64(mask)
    for row in range(count):
        start, end = np.int64(get64(starts, row)), np.int64(get64(ends, row))
        found = False
        if start >= 0 and not items:
            found = is_same(data, start, end, text, size, number)
        elif 0 <= start < end and get8(data, start) == OPEN_LIST:
            at = start + 1
            while at < end and get8(data, at) != CLOSE_LIST:
                behind = value_end(data, at, end)
                if is_same(data, at, behind, text, size, number):
                    found = True
                    break
                at = behind + 2
        if not found:
            put8(mask, row, np.uint8(0))


@njit(nogil=True, cache=True)
def set_sizes(data: Any, starts: Any, ends: Any, count: Any, plain: Any, offsets: Any, valid: Any) -> Any:
    """Offsets (int32[count + 1]) and validity (bytes) of the texts that ``copy`` makes; their bytes, or -1: too many.

    ``plain``: a string is what it says, without quotes and escapes, and the JSON null is none.
    """
    data, starts, ends = np.uint64(data), np.uint64(starts), np.uint64(ends)
    offsets, valid = np.uint64(offsets), np.uint64(valid)
    total = np.int64(0)
    put32(offsets, 0, np.uint32(0))
    for row in range(count):
        start, end = np.int64(get64(starts, row)), np.int64(get64(ends, row))
        there = start >= 0
        if there:
            size = end - start
            first = get8(data, start) if plain and size else np.uint8(0)
            if first == QUOTE:
                size -= 2
                at = start + 1
                while at < end - 1:
                    if get8(data, at) == BACKSLASH:
                        skipped = 6 if get8(data, at + 1) == 0x75 else 2  # u
                        size -= skipped - 1
                        at += skipped
                    else:
                        at += 1
            elif first == 0x6E:  # null
                there = False
                size = np.int64(0)
            total += size
        if total > 0x7FFFFFFF:
            return np.int64(-1)
        put8(valid, row, np.uint8(there))
        put32(offsets, row + 1, np.uint32(total))
    return total


@njit(nogil=True, cache=True)
def copy(data: Any, starts: Any, count: Any, plain: Any, offsets: Any, out: Any) -> None:
    """The texts of the spans that begin at ``starts``, one after the other; see ``set_sizes``."""
    data, starts = np.uint64(data), np.uint64(starts)
    offsets, out = np.uint64(offsets), np.uint64(out)
    for row in range(count):
        at = np.int64(get64(starts, row))
        to, behind = np.int64(get32(offsets, row)), np.int64(get32(offsets, row + 1))
        if to == behind:
            continue
        if not (plain and get8(data, at) == QUOTE):
            for place in range(behind - to):
                put8(out, to + place, get8(data, at + place))
            continue
        at += 1
        while to < behind:
            byte = get8(data, at)
            at += 1
            if byte == BACKSLASH:
                letter = get8(data, at)
                at += 1
                if letter == 0x75:  # u: always of a control character
                    byte = np.uint8(16 * digit(get8(data, at + 2)) + digit(get8(data, at + 3)))
                    at += 4
                else:
                    byte = unescaped(letter)
            put8(out, to, byte)
            to += 1


@njit(nogil=True, cache=True)
def digit(letter: Any) -> Any:
    return letter - ZERO if letter <= ZERO + 9 else (letter | 0x20) - 0x61 + 10


@njit(nogil=True, cache=True)
def unescaped(letter: Any) -> Any:
    """What stands for a letter behind a backslash."""
    if letter == 0x6E:
        return np.uint8(0x0A)
    if letter == 0x74:
        return np.uint8(0x09)
    if letter == 0x72:
        return np.uint8(0x0D)
    if letter == 0x62:
        return np.uint8(0x08)
    if letter == 0x66:
        return np.uint8(0x0C)
    return np.uint8(letter)
