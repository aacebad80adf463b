"""Blocks: how the values of one column of some rows lie in a segment, and how kernels read and write them.

A segment cuts its rows into blocks of ``BLOCK_ROWS`` (the last one is shorter). Per column and block there is one entry
of 64 bytes in the directory, which says where the block's bytes are and how to read them; docs/storage.md, "Segments",
has both byte by byte. Kernels read entries and blocks in place, by address:

    CONSTANT   nothing: each value is ``base``
    PACKED     value = base + scale * i, where i has ``bits`` bits; a stream of bits, the lowest first
    RUNS       u4 runs, u1 bits of an end, u1 bits of a value, two 0 | ends of the runs, packed | their i, packed
    PLAIN      the values as they are, of ``bits`` / 8 bytes each
    HEAP       rows + 1 offsets of ``bits`` bits, packed | the values' bytes
    WIDE       16 bytes a value

Each packed stream takes whole words of 8 bytes. Where ``flags`` has VALIDITY, the block's last bytes are a bitmap of
whole words, the lowest bit first, 1 where there is a value. Otherwise a packed block ends with 8 spare bytes. So an
unaligned load of 8 bytes at any value never leaves the block. Arithmetic wraps in 64 bits; ``base`` and all values
are integers with their sign extended (a BOOLEAN is 0 or 1, a float stands for its bits as an integer of its width).

Kernels take addresses as plain integers and have one compiled form each, whatever the column's type. Random access
goes through ``fetch`` and its kin, or by row number of the segment through a *column header* (``HEADER_*``). Nothing
here verifies checksums; who reads a block first has it verified, see ``storage/segment.py``.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from .memory import load8, load16, load32, load64

BLOCK_ROWS: Final = 16_384

DIRECTORY: Final = np.dtype(
    {
        "names": [
            *("offset", "length", "nulls", "base", "scale", "low", "high", "checksum"),
            *("rows", "encoding", "bits", "flags"),
        ],
        "formats": ["<u8", "<u4", "<u4", "<i8", "<i8", "<i8", "<i8", "<u8", "<u4", "u1", "u1", "<u2"],
        "offsets": [0, 8, 12, 16, 24, 32, 40, 48, 56, 60, 61, 62],
        "itemsize": 64,
    }
)
"""One entry of the directory. ``offset`` counts from the section's start; ``low`` and ``high`` are the zone."""

CONSTANT: Final = 0
PACKED: Final = 1
RUNS: Final = 2
PLAIN: Final = 3
HEAP: Final = 4
WIDE: Final = 5

VALIDITY: Final = 1
"""Flag of an entry: the block has NULLs, and a bitmap that says which."""

# A column header: uint64[8], made by SegmentReader, from which kernels reach everything of a column.
HEADER_SECTION: Final = 0  # address of the section's first byte: the base of all offsets
HEADER_DIRECTORY: Final = 1  # address of the column's entries
HEADER_VERIFIED: Final = 2  # address of one byte a block: 1 where its checksum was verified
HEADER_DICTIONARY: Final = 3  # address of the dictionary's offsets (u4[values + 1]), or 0
HEADER_BYTES: Final = 4  # address of the dictionary's bytes, or 0
HEADER_SHIFT: Final = 5  # a row's block is row >> shift
HEADER_ROWS: Final = 6  # rows of the segment
HEADER_SIZE: Final = 7  # bytes of a value: 1, 2, 4, 8, 16; 0 where they are variable


@njit(nogil=True, cache=True)
def unpacked(address: Any, bits: Any, index: Any) -> Any:
    """Integer ``index`` of the stream of ``bits``-bit integers at ``address``; all uint64."""
    if bits == np.uint64(64):
        return load64(address + index * np.uint64(8))
    at = index * bits
    word = load64(address + (at >> np.uint64(3))) >> (at & np.uint64(7))
    return word & ((np.uint64(1) << bits) - np.uint64(1))


@njit(nogil=True, cache=True)
def packed_bytes(count: Any, bits: Any) -> Any:
    """Bytes of ``count`` integers of ``bits`` bits, in whole words; all uint64."""
    return ((count * bits + np.uint64(63)) >> np.uint64(6)) << np.uint64(3)


@njit(nogil=True, cache=True)
def run_of(block: Any, row: Any) -> Any:
    """Which run of the RUNS block at ``block`` holds ``row``; all uint64."""
    bits = np.uint64(load8(block + np.uint64(4)))
    low = np.uint64(0)
    high = np.uint64(load32(block)) - np.uint64(1)
    while low < high:
        middle = (low + high) >> np.uint64(1)
        if unpacked(block + np.uint64(8), bits, middle) > row:
            high = middle
        else:
            low = middle + np.uint64(1)
    return low


@njit(nogil=True, cache=True)
def fetch(entry: Any, section: Any, row: Any) -> Any:
    """The value at ``row`` of the block of a directory ``entry`` (addresses and row uint64), as uint64.

    Integers and bits of floats with their sign extended; of WIDE values the low word; of dictionary columns the code.
    Not for HEAP (``fetch_span``). Says nothing about NULL (``fetch_valid``).
    """
    encoding = load8(entry + np.uint64(60))
    base = load64(entry + np.uint64(16))
    if encoding == np.uint8(0):
        return base
    block = section + load64(entry)
    bits = np.uint64(load8(entry + np.uint64(61)))
    if encoding == np.uint8(1):
        return base + load64(entry + np.uint64(24)) * unpacked(block, bits, row)
    if encoding == np.uint8(2):
        run = run_of(block, row)
        values = block + np.uint64(8)
        values += packed_bytes(np.uint64(load32(block)), np.uint64(load8(block + np.uint64(4))))
        return base + load64(entry + np.uint64(24)) * unpacked(values, bits, run)
    if encoding == np.uint8(5):
        return load64(block + row * np.uint64(16))
    if bits == np.uint64(64):
        return load64(block + row * np.uint64(8))
    if bits == np.uint64(32):
        return np.uint64(np.int64(np.int32(load32(block + row * np.uint64(4)))))
    if bits == np.uint64(16):
        return np.uint64(np.int64(np.int16(load16(block + row * np.uint64(2)))))
    return np.uint64(load8(block + row))


@njit(nogil=True, cache=True)
def fetch_high(entry: Any, section: Any, row: Any) -> Any:
    """The high word of a 16-byte value, as ``fetch`` gives the low one."""
    if load8(entry + np.uint64(60)) == np.uint8(5):
        return load64(section + load64(entry) + row * np.uint64(16) + np.uint64(8))
    return np.uint64(np.int64(fetch(entry, section, row)) >> np.int64(63))


@njit(nogil=True, cache=True)
def fetch_span(entry: Any, section: Any, row: Any) -> Any:
    """(address, length) of the bytes at ``row`` of a HEAP block; all uint64."""
    block = section + load64(entry)
    bits = np.uint64(load8(entry + np.uint64(61)))
    first = unpacked(block, bits, row)
    length = unpacked(block, bits, row + np.uint64(1)) - first
    rows = np.uint64(load32(entry + np.uint64(56)))
    return block + packed_bytes(rows + np.uint64(1), bits) + first, length


@njit(nogil=True, cache=True)
def fetch_valid(entry: Any, section: Any, row: Any) -> Any:
    """Whether there is a value at ``row`` of the block of a directory entry; False where it is NULL."""
    if load16(entry + np.uint64(62)) & np.uint16(1) == np.uint16(0):
        return True
    bitmap = section + load64(entry) + np.uint64(load32(entry + np.uint64(8)))
    bitmap -= packed_bytes(np.uint64(load32(entry + np.uint64(56))), np.uint64(1))
    return (load8(bitmap + (row >> np.uint64(3))) >> np.uint8(row & np.uint64(7))) & np.uint8(1) != np.uint8(0)


@njit(nogil=True, cache=True)
def place(header: Any, row: Any) -> Any:
    """(block, entry address, row inside of the block) of ``row`` of the segment; all uint64."""
    shift = load64(header + np.uint64(40))
    block = row >> shift
    return (
        block,
        load64(header + np.uint64(8)) + (block << np.uint64(6)),
        row & ((np.uint64(1) << shift) - np.uint64(1)),
    )


@njit(nogil=True, cache=True)
def span_at(header: Any, row: Any) -> Any:
    """(address, length) of the bytes at ``row`` of the segment, of a variable column, with a dictionary or without."""
    _, entry, at = place(header, row)
    section = load64(header)
    dictionary = load64(header + np.uint64(24))
    if dictionary == np.uint64(0):
        return fetch_span(entry, section, at)
    offset = dictionary + fetch(entry, section, at) * np.uint64(4)
    first = np.uint64(load32(offset))
    length = np.uint64(load32(offset + np.uint64(4))) - first
    return load64(header + np.uint64(32)) + first, length
