"""JSON texts of a whole column at once: which of them are JSON, and JSONB's text of them (documents.py).

One pass over the bytes, without making values of them. What is seldom is left to ``documents``, row by row: escapes,
exponents, repeated keys, very deep or large documents, and all that is not JSON, for its error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from .kernel_caches import take_turns

take_turns()

DEPTH_MAX: Final = 32
MEMBERS_MAX: Final = 512
DIGITS_MAX: Final = 64
TEXT_BYTES_MAX: Final = 1 << 20
BYTES_MAX: Final = (1 << 31) - 1
"""What Arrow's offsets can count."""

_LITERALS: Final = np.frombuffer(b"truefalsenull", np.uint8)


def canonical_texts(texts: pa.Array, one: Callable[[int], str], *, keep: bool = False) -> pa.Array:
    """JSONB's texts of JSON texts (utf8); with ``keep`` the texts as they are, looked at.

    ``one`` gives that of a row for which it takes more; what it raises is raised here, for the first such row.
    """
    count = len(texts)
    _, offsets, data = texts.buffers()
    if not count or data is None:
        return texts
    starts = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + count + 1]
    given = np.frombuffer(data, np.uint8)
    out = np.empty(2 * int(starts[-1] - starts[0]), np.uint8)
    ends, odd = np.empty(count + 1, np.int64), np.empty(count, np.bool_)
    valid = np.ones(count, np.bool_) if not texts.null_count else texts.is_valid().to_numpy(zero_copy_only=False)
    _write_all(given, starts, np.ascontiguousarray(valid), _LITERALS, out, ends, odd)
    rows = np.flatnonzero(odd)
    made = texts
    if not keep:
        if ends[-1] > BYTES_MAX:
            return pa.array([one(row) if valid[row] else None for row in range(count)], pa.string())
        bits = pa.py_buffer(np.packbits(valid, bitorder="little")) if texts.null_count else None
        buffers = [bits, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(out[: ends[-1]])]
        made = pa.Array.from_buffers(pa.string(), count, buffers)
    if not len(rows):
        return made
    found = pa.array([one(row) for row in rows.tolist()], pa.string())
    return pc.replace_with_mask(made, pa.array(odd), found)


@njit(nogil=True, cache=True)
def _write_all(data: Any, starts: Any, valid: Any, literals: Any, out: Any, ends: Any, odd: Any) -> None:
    """JSONB's text of each row behind the other in ``out``, up to ``ends[row + 1]``; ``odd``: none was made."""
    members = np.empty((MEMBERS_MAX, 3), np.int64)  # of the objects that are open: first byte, end of key, end
    frames = np.empty((DEPTH_MAX, 2), np.int64)  # what is open: 1 for an object; the first of its members
    longest = np.int64(0)
    for row in range(len(odd)):
        longest = max(longest, np.int64(starts[row + 1]) - np.int64(starts[row]))
    spare = np.empty(2 * min(longest, TEXT_BYTES_MAX), np.uint8)
    ends[0] = 0
    for row in range(len(odd)):
        start, stop, at = np.int64(starts[row]), np.int64(starts[row + 1]), ends[row]
        odd[row] = False
        if valid[row]:
            end = np.int64(-1)
            if stop - start <= TEXT_BYTES_MAX:
                end = _write(data, start, stop, literals, out, at, spare, members, frames)
            odd[row] = end < 0
            at = max(at, end)
        ends[row + 1] = at


@njit(nogil=True, cache=True)
def _write(
    data: Any, at: Any, stop: Any, literals: Any, out: Any, to: Any, spare: Any, members: Any, frames: Any
) -> Any:
    """The text of one document, from ``to`` on; its end, or -1."""
    depth, count = 0, 0
    key_next = False
    while True:
        at = _skip(data, at, stop)
        if at >= stop:
            return -1
        byte = data[at]
        if key_next:
            if byte != 0x22 or count == MEMBERS_MAX:
                return -1
            members[count, 0] = to
            size = _string(data, at, stop, out, to)
            if size < 0:
                return -1
            at, to = _skip(data, at + size, stop), to + size
            members[count, 1] = to
            count += 1
            if at >= stop or data[at] != 0x3A:
                return -1
            out[to], out[to + 1] = 0x3A, 0x20
            at, to, key_next = at + 1, to + 2, False
            continue
        closed = False
        if byte == 0x7B or byte == 0x5B:
            if depth == DEPTH_MAX:
                return -1
            out[to] = byte
            to += 1
            frames[depth, 0], frames[depth, 1] = byte == 0x7B, count
            depth += 1
            at = _skip(data, at + 1, stop)
            if at >= stop:
                return -1
            if data[at] != byte + 2:
                key_next = byte == 0x7B
                continue
            closed = True
        elif byte == 0x22:
            size = _string(data, at, stop, out, to)
            if size < 0:
                return -1
            at, to = at + size, to + size
        else:
            size = _number(data, at, stop) if byte == 0x2D or byte <= 0x39 else _literal(data, at, stop, literals)
            if size < 0:
                return -1
            for place in range(size):
                out[to + place] = data[at + place]
            at, to = at + size, to + size
        # Behind a value, or at the end of what is open.
        while True:
            if not closed:
                at = _skip(data, at, stop)
                if depth == 0:
                    return to if at >= stop else -1
                if at >= stop:
                    return -1
                if frames[depth - 1, 0]:
                    members[count - 1, 2] = to
                if data[at] == 0x2C:
                    out[to], out[to + 1] = 0x2C, 0x20
                    at, to, key_next = at + 1, to + 2, frames[depth - 1, 0] == 1
                    break
                if data[at] != (0x7D if frames[depth - 1, 0] else 0x5D):
                    return -1
            depth -= 1
            first = frames[depth, 1]
            if frames[depth, 0] and not _sort(out, spare, members, first, count, to):
                return -1
            count = first
            out[to] = data[at]
            at, to = at + 1, to + 1
            closed = False


@njit(nogil=True, cache=True)
def _skip(data: Any, at: Any, stop: Any) -> Any:
    while at < stop and (data[at] == 0x20 or (0x09 <= data[at] <= 0x0A) or data[at] == 0x0D):
        at += 1
    return at


@njit(nogil=True, cache=True)
def _string(data: Any, at: Any, stop: Any, out: Any, to: Any) -> Any:
    """Copy a string with its quotes; how many bytes it has, or -1 where it has escapes or no end."""
    out[to] = 0x22
    place = at + 1
    while place < stop:
        byte = data[place]
        out[to + place - at] = byte
        if byte == 0x22:
            return place + 1 - at
        if byte == 0x5C or byte < 0x20:
            return -1
        place += 1
    return -1


@njit(nogil=True, cache=True)
def _number(data: Any, at: Any, stop: Any) -> Any:
    """How many bytes a number has, -1 where it is none, or has an exponent or a sign before zero."""
    place = at + 1 if data[at] == 0x2D else at
    whole = place
    zero = True
    while place < stop and 0x30 <= data[place] <= 0x39:
        zero &= data[place] == 0x30
        place += 1
    if place == whole or (data[whole] == 0x30 and place > whole + 1):
        return -1
    if place < stop and data[place] == 0x2E:
        place += 1
        fraction = place
        while place < stop and 0x30 <= data[place] <= 0x39:
            zero &= data[place] == 0x30
            place += 1
        if place == fraction:
            return -1
    if place < stop and data[place] | 0x20 == 0x65:
        return -1
    if (zero and whole > at) or place - at > DIGITS_MAX:
        return -1
    return place - at


@njit(nogil=True, cache=True)
def _literal(data: Any, at: Any, stop: Any, literals: Any) -> Any:
    """How many bytes true, false or null has, -1 where it is none of them."""
    first, size = 0, 4
    if data[at] == 0x66:
        first, size = 4, 5
    elif data[at] == 0x6E:
        first = 9
    if stop - at < size:
        return -1
    for place in range(size):
        if data[at + place] != literals[first + place]:
            return -1
    return size


@njit(nogil=True, cache=True)
def _compare(out: Any, members: Any, one: Any, other: Any) -> Any:
    """The keys of two members, by length, then by bytes: below 0, 0 or above it."""
    first, second = members[one, 0], members[other, 0]
    size = members[one, 1] - first
    difference = size - (members[other, 1] - second)
    place = np.int64(0)
    while difference == 0 and place < size:
        difference = np.int64(out[first + place]) - np.int64(out[second + place])
        place += 1
    return difference


@njit(nogil=True, cache=True)
def _sort(out: Any, spare: Any, members: Any, first: Any, last: Any, end: Any) -> Any:
    """Bring the members of the object that is being closed into their order; False where a key is there twice."""
    ordered = True
    for place in range(first + 1, last):
        difference = _compare(out, members, place - 1, place)
        if difference == 0:
            return False
        ordered &= difference < 0
    if ordered:
        return True
    begin = members[first, 0]
    for place in range(first + 1, last):
        at = place
        while at > first:
            difference = _compare(out, members, at - 1, at)
            if difference == 0:
                return False
            if difference < 0:
                break
            for field in range(3):
                members[at - 1, field], members[at, field] = members[at, field], members[at - 1, field]
            at -= 1
    for place in range(end - begin):
        spare[place] = out[begin + place]
    to = begin
    for place in range(first, last):
        if place > first:
            out[to], out[to + 1] = 0x2C, 0x20
            to += 2
        for at in range(members[place, 0] - begin, members[place, 2] - begin):
            out[to] = spare[at]
            to += 1
    return True
