"""A slow reader of segments, written after docs/storage.md and not after the code: plain Python on bytes.

``read(section)`` gives {column identifier: values}, where a value is an integer (of floats, its bits), a pair (low,
high) of words, or bytes; None where it is NULL.
"""

from __future__ import annotations

import struct
from typing import Any

SIZES = {1: 1, 2: 2, 3: 4, 4: 8, 5: 4, 6: 8, 7: 16, 8: 0}


def bits_of(data: bytes, bits: int, count: int) -> list[int]:
    """``count`` integers of ``bits`` bits, the lowest bit of the first byte first."""
    stream = int.from_bytes(data, "little")
    return [(stream >> (bits * index)) & ((1 << bits) - 1) for index in range(count)]


def words(count: int, bits: int) -> int:
    """Bytes of a packed stream."""
    return (count * bits + 63) // 64 * 8


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def block_of(section: bytes, entry: bytes, size: int) -> list[Any]:
    """The values of one block."""
    offset, length, nulls, base, scale, _, _, _, rows, encoding, bits, flags = struct.unpack("<QIIqqqqQIBBH", entry)
    block = section[offset : offset + length]
    values: list[Any]
    if encoding == 0:
        values = [base] * rows
    elif encoding == 1:
        values = [base + scale * number for number in bits_of(block, bits, rows)]
    elif encoding == 2:
        runs, end_bits, value_bits, _ = struct.unpack("<IBBH", block[:8])
        assert value_bits == bits
        ends = bits_of(block[8 : 8 + words(runs, end_bits)], end_bits, runs)
        numbers = bits_of(block[8 + words(runs, end_bits) :], bits, runs)
        values = []
        for end, number in zip(ends, numbers, strict=True):
            values += [base + scale * number] * (end - len(values))
    elif encoding == 3:
        step = bits // 8
        values = [int.from_bytes(block[at : at + step], "little") for at in range(0, rows * step, step)]
    elif encoding == 4:
        ends = bits_of(block[: words(rows + 1, bits)], bits, rows + 1)
        heap = block[words(rows + 1, bits) :]
        values = [heap[ends[row] : ends[row + 1]] for row in range(rows)]
    else:
        assert encoding == 5
        return nulled([struct.unpack_from("<QQ", block, 16 * row) for row in range(rows)], block, flags, nulls)
    if encoding != 4:
        if size == 16:
            pairs = [(value % 2**64, 2**64 - 1 if signed(value, 64) < 0 else 0) for value in values]
            return nulled(pairs, block, flags, nulls)
        width = 8 * size
        values = [value & 0xFF if size == 1 else signed(value, width) for value in values]
    return nulled(values, block, flags, nulls)


def nulled(values: list[Any], block: bytes, flags: int, nulls: int) -> list[Any]:
    if not flags & 1:
        assert not nulls
        return values
    there = bits_of(block[len(block) - words(len(values), 1) :], 1, len(values))
    assert there.count(0) == nulls > 0
    return [value if valid else None for value, valid in zip(values, there, strict=True)]


def read(section: bytes) -> dict[int, list[Any]]:
    """All values of all columns."""
    tail = struct.unpack("<4sHHQIIIIQQQQ", section[-64:])
    magic, number, zero, rows, blocks, block_rows, columns, _, directory, footer, length, _ = tail
    assert (magic, number, zero, length) == (b"WeSG", 1, 0, len(section))
    assert blocks == -(-rows // block_rows)
    result: dict[int, list[Any]] = {}
    for column in range(columns):
        fields = struct.unpack_from("<qBBHIQQQQQQQqqQ", section, footer + 96 * column)
        id, physical, _, flags, codes = fields[:5]
        dictionary_offset, dictionary_length = fields[9:11]
        values: list[Any] = []
        for block in range(blocks):
            at = directory + 64 * (column * blocks + block)
            values += block_of(section, section[at : at + 64], 4 if flags & 1 else SIZES[physical])
        if flags & 1:
            part = section[dictionary_offset : dictionary_offset + dictionary_length]
            ends = struct.unpack_from(f"<{codes + 1}I", part)
            heap = part[(4 * (codes + 1) + 7) // 8 * 8 :]
            values = [None if code is None else heap[ends[code] : ends[code + 1]] for code in values]
        result[id] = values
    return result
