"""Kernels of sketches that say about how many different values a column has.

A sketch is HyperLogLog with 256 registers of one byte, uint8[256]: the upper eight bits of a value's hash choose the
register, which keeps the greatest number of leading zeros, plus one, of the other 56. Sketches of two sets of rows are
joined by the greater of each register. The estimate is off by 6.5 % (one standard deviation), less where there are few
values: then it counts the registers that are still empty. Source: Flajolet et al., 2007; Heule et al., 2013.

Hashes stand behind what is in files: a value must hash as it always has (docs/storage.md, "Sketches").
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from .distinct import hash_bytes
from .memory import get8, get16, get32, get64

REGISTERS = 256


@njit(nogil=True, cache=True)
def note(registers: Any, hashed: Any) -> Any:
    """Put a hash (uint64) into the sketch."""
    hashed ^= hashed >> np.uint64(32)
    hashed *= np.uint64(0xD6E8FEB86659FD93)
    hashed ^= hashed >> np.uint64(32)
    hashed *= np.uint64(0xD6E8FEB86659FD93)
    hashed ^= hashed >> np.uint64(32)
    place = hashed >> np.uint64(56)
    rest = hashed << np.uint64(8)
    known = np.uint64(registers[place])
    if known and rest >> (np.uint64(64) - known):
        return  # fewer zeros than were seen, as it mostly is
    rank = np.uint8(1)
    while rank <= np.uint8(56) and not rest >> np.uint64(63):
        rest <<= np.uint64(1)
        rank += np.uint8(1)
    registers[place] = max(rank, registers[place])


@njit(nogil=True, cache=True)
def add_fixed(address: Any, size: Any, valid: Any, count: Any, registers: Any) -> Any:
    """Put ``count`` values of ``size`` bytes (1, 2, 4, 8, 16) at ``address`` into the sketch; ``valid`` is 0 or an
    address of as many bytes.
    """
    address, valid = np.uint64(address), np.uint64(valid)
    before, repeated = np.uint64(0), False
    for row in range(count):
        if valid != np.uint64(0) and get8(valid, row) == np.uint8(0):
            continue
        if size == 1:
            word = np.uint64(get8(address, row))
        elif size == 2:
            word = np.uint64(get16(address, row))
        elif size == 4:
            word = np.uint64(get32(address, row))
        elif size == 8:
            word = get64(address, row)
        else:
            word = get64(address, 2 * row) ^ (get64(address, 2 * row + 1) * np.uint64(0x9E3779B97F4A7C15))
        if repeated and word == before:
            continue  # sorted columns repeat themselves
        before, repeated = word, True
        note(registers, word)


@njit(nogil=True, cache=True)
def add_variable(offsets: Any, data: Any, valid: Any, count: Any, registers: Any) -> Any:
    """Put variable values into the sketch: int32 offsets (count + 1) at an address, bytes at another."""
    offsets, data, valid = np.uint64(offsets), np.uint64(data), np.uint64(valid)
    stop = np.int64(np.int32(get32(offsets, count)))
    for row in range(count):
        if valid != np.uint64(0) and get8(valid, row) == np.uint8(0):
            continue
        start = np.int64(np.int32(get32(offsets, row)))
        length = np.int64(np.int32(get32(offsets, row + 1))) - start
        note(registers, hash_bytes(data + np.uint64(start), length, stop - start))


def estimate(registers: np.ndarray) -> float:
    """About how many different values were put into a sketch (uint8[256])."""
    empty = int(np.count_nonzero(registers == 0))
    raw = 0.7213 / (1 + 1.079 / REGISTERS) * REGISTERS**2 / float(np.sum(np.ldexp(1.0, -registers.astype(np.int64))))
    if raw <= 2.5 * REGISTERS and empty:
        return REGISTERS * math.log(REGISTERS / empty)
    return raw
