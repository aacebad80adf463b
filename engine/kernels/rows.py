"""One row by its primary key: found in the parts of a cell, newest first, and its values laid out, all in one call.

A *door* (uint64) says where everything is; engine/row_reads.py makes it:

    parts, columns
    per part     0 | memtable header | 0 | 0
                 1 | search header (kernels/search.py) | overlay header | no row began after this version
    per column   identifier, bytes of a value: 1, 2, 4, 8, 16, or 0 where they vary

    memtable header    address of the header of the index's slots, address of the table of chunks (kernels/index.py)
    slots header       address of the directory, shift
    overlay header     address of the bitmap of ended rows, or 0; no row ended after this version; all others ended at
                       this version; 1 where it is not known what ended
    doors of a chunk   (field 7 of its header) how many; then by column identifier the addresses of the values, or of
                       their offsets (int32) where they vary, of validity or 0, of the bytes of values that vary

Why it may follow these addresses: it keeps the interpreter's lock from beginning to end. Whoever replaces an array
writes the new address before letting go of the old array, both with that lock; so none that is named here goes away
meanwhile. What kernels without the lock write beside is what they write beside every reader (memtable.py, overlay.py).

The row goes to ``out``: a word per column (two for 16 bytes), integers and bits of floats with their sign extended, of
values that vary where their bytes end; then a byte per column (below), padded to whole words; then those bytes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit, types
from numba.extending import intrinsic as _intrinsic
from numba.np.numpy_support import carray

from ...storage.kernels.blocks import fetch, fetch_high, fetch_valid, place, span_at
from ...storage.kernels.decoding import copy
from ...storage.kernels.memory import load8, load16, load32, load64
from .encoding import xxh64
from .index import visible_one
from .runs import header_of
from .search import lower_bound, passes

intrinsic: Any = _intrinsic

ABSENT: Final = 0
FOUND: Final = 1
PARTLY: Final = 2
"""Found, and not all of its columns are ``VALUE``."""

UNSURE: Final = -1
"""It takes more than a look: a block that was not verified, ends that have to be looked up, versions of one row."""

VALUE: Final = 0
NULL: Final = 1
OLDER: Final = 2
"""The row is older than the column."""

UNVERIFIED: Final = 3


@intrinsic
def pointer_to(typing_context: Any, address: Any) -> Any:
    """An address as pointer to uint64."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint64)(types.uint64), build


@njit(cache=True)
def row_in_memtable(memtable: Any, hashed: Any, words: Any, version: Any) -> Any:
    """The row of the key visible at ``version``, MISSING or HIDDEN, as kernels/index.py says; never STALE, since no
    chunk comes while the interpreter's lock is held.
    """
    slots = load64(memtable)
    directory = carray(pointer_to(load64(slots)), 1)
    table = carray(pointer_to(load64(memtable + np.uint64(8))), 1)
    return visible_one(directory, load64(slots + np.uint64(8)), table, 65_536, hashed, words, version)


@njit(cache=True)
def row_in_segment(index: Any, overlay: Any, last_begin: Any, hashed: Any, words: Any, version: Any) -> Any:
    """The same in a segment, or -4: unsure."""
    if load64(overlay + np.uint64(24)) != np.uint64(0):
        return np.int64(-4)
    blocks = load64(index + np.uint64(40))
    if blocks != np.uint64(0) and not passes(load64(index + np.uint64(32)), blocks, hashed):
        return np.int64(-1)
    if last_begin > version:
        return np.int64(-4)
    sought = np.zeros((np.int64(load64(index + np.uint64(64))) + 1, 3), np.uint64)
    row, exact = lower_bound(index, words, 0, words.size, sought, np.zeros(3, np.int64))
    if row < 0:
        return np.int64(-4)
    if not exact or row >= np.int64(load64(index)):
        return np.int64(-1)
    bits = load64(overlay)
    ended = np.int64(load64(overlay + np.uint64(16))) <= version
    if bits != np.uint64(0) and not ended:
        word = load64(bits + (np.uint64(row >> 6) << np.uint64(3)))
        if (word >> np.uint64(row & 63)) & np.uint64(1) != np.uint64(0):
            if np.int64(load64(overlay + np.uint64(8))) > version:
                return np.int64(-4)
            ended = True
    return np.int64(-3) if ended else row


@njit(cache=True)
def value_in_chunk(doors: Any, id: Any, size: Any, offset: Any) -> Any:
    """(state, first word or address, second word or length) of a column's value in a chunk."""
    if id >= load64(doors):
        return OLDER, np.uint64(0), np.uint64(0)
    door = doors + np.uint64(8) + id * np.uint64(24)
    values, valid = load64(door), load64(door + np.uint64(8))
    if values == np.uint64(0):
        return OLDER, np.uint64(0), np.uint64(0)
    if valid != np.uint64(0) and load8(valid + offset) == np.uint8(0):
        return NULL, np.uint64(0), np.uint64(0)
    values += size * offset
    if size == np.uint64(0):
        first = np.uint64(load32(values + np.uint64(4) * offset))
        length = np.uint64(load32(values + np.uint64(4) * offset + np.uint64(4))) - first
        return VALUE, load64(door + np.uint64(16)) + first, length
    if size == np.uint64(8):
        return VALUE, load64(values), np.uint64(0)
    if size == np.uint64(4):
        return VALUE, np.uint64(np.int64(np.int32(load32(values)))), np.uint64(0)
    if size == np.uint64(2):
        return VALUE, np.uint64(np.int64(np.int16(load16(values)))), np.uint64(0)
    if size == np.uint64(1):
        return VALUE, np.uint64(load8(values)), np.uint64(0)
    return VALUE, load64(values), load64(values + np.uint64(8))


@njit(cache=True)
def value_in_segment(index: Any, id: Any, size: Any, row: Any) -> Any:
    """The same in a segment."""
    column = header_of(index, id + np.uint64(2))
    if column <= np.uint64(1):
        return (UNVERIFIED if column == np.uint64(0) else OLDER), np.uint64(0), np.uint64(0)
    block, entry, at = place(column, row)
    if load8(load64(column + np.uint64(16)) + block) == np.uint8(0):
        return UNVERIFIED, np.uint64(0), np.uint64(0)
    section = load64(column)
    if not fetch_valid(entry, section, at):
        return NULL, np.uint64(0), np.uint64(0)
    if size == np.uint64(0):
        address, length = span_at(column, row)
        return VALUE, address, length
    second = fetch_high(entry, section, at) if size == np.uint64(16) else np.uint64(0)
    return VALUE, fetch(entry, section, at), second


@njit(cache=True)
def read_row(door: Any, key: Any, version: Any, out: Any) -> Any:
    """Lay out the row with the encoded primary key ``key`` (bytes) visible at ``version`` in ``out`` (bytearray).

    Returns ABSENT, FOUND, PARTLY or UNSURE; or, as a number below those, how many bytes ``out`` has to have.
    """
    words = np.frombuffer(key, np.uint64)
    hashed = xxh64(words, 0, words.size, np.uint64(0xFFFFFFFFFFFFFFFF))
    row = np.int64(-1)
    part = np.int64(2)
    behind = part + 4 * np.int64(door[0])
    while part < behind:
        if door[part] == np.uint64(0):
            row = row_in_memtable(door[part + 1], hashed, words, version)
        else:
            last_begin = np.int64(door[part + 3])
            row = row_in_segment(door[part + 1], door[part + 2], last_begin, hashed, words, version)
        if row != -1:
            break
        part += 4
    if row < 0:
        return UNSURE if row == -4 else ABSENT
    where, offset = door[part + 1], np.uint64(row)
    in_chunk = door[part] == np.uint64(0)
    if in_chunk:
        header = load64(load64(where + np.uint64(8)) + (np.uint64(row >> 16) << np.uint64(3)))
        where, offset = load64(header + np.uint64(56)), np.uint64(row & 0xFFFF)
    laid = np.frombuffer(out, np.uint8)
    fields = np.frombuffer(out, np.uint64)
    columns = np.int64(door[1])
    at, partly = 0, False
    first_state = 0
    for column in range(columns):
        first_state += 2 if door[behind + 2 * column + 1] == np.uint64(16) else 1
    first_state *= 8
    end = first_state + (columns + 7) // 8 * 8
    for column in range(columns):
        id, size = door[behind + 2 * column], door[behind + 2 * column + 1]
        if in_chunk:
            state, first, second = value_in_chunk(where, id, size, offset)
        else:
            state, first, second = value_in_segment(where, id, size, offset)
        if state == UNVERIFIED:
            return UNSURE
        laid[first_state + column] = state
        partly |= state != VALUE
        if size == np.uint64(0):
            length = np.int64(second)
            if end + length <= laid.size:
                copy(first, length, np.uint64(laid.ctypes.data) + np.uint64(end))
            end += length
            first = np.uint64(end)
        fields[at] = first
        at += 1
        if size == np.uint64(16):
            fields[at] = second
            at += 1
    if end > laid.size:
        return -end
    return PARTLY if partly else FOUND
