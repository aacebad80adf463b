"""Runs of rows out of many segments, all columns of fixed width in one call: what makes a series read cheap.

Run r is rows ``starts[r]`` to ``stops[r]`` of the segment whose search header is at ``indexes[r]``. That names the
table of the segment's columns (uint64): how many entries there are, then one a column: the address of its header
(storage/kernels/blocks.py says what that holds), 1 where the segment is older than the column, 0 where nobody has asked
for it yet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ...storage.kernels.blocks import fetch, fetch_high, fetch_valid
from ...storage.kernels.decoding import read_fixed
from ...storage.kernels.memory import load8, load32, load64, put8, put16, put32, put64


@njit(nogil=True, cache=True)
def header_of(index: Any, place: Any) -> Any:
    """The entry of a column in the table of a segment."""
    table = load64(index + np.uint64(112))
    if table == np.uint64(0) or np.uint64(place) >= load64(table):
        return np.uint64(0)
    return load64(table + np.uint64(8 * (place + 1)))


@njit(nogil=True, cache=True)
def fetch_rows(header: Any, size: Any, start: Any, count: Any, out: Any, valid: Any) -> None:
    """What ``read_fixed`` does, row by row."""
    section, entries = load64(header), load64(header + np.uint64(8))
    shift = load64(header + np.uint64(40))
    for index in range(count):
        row = np.uint64(start + index)
        entry = entries + ((row >> shift) << np.uint64(6))
        row &= (np.uint64(1) << shift) - np.uint64(1)
        value = fetch(entry, section, row)
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
            put64(out, 2 * index + 1, fetch_high(entry, section, row))
        if valid != np.uint64(0):
            put8(valid, index, np.uint8(fetch_valid(entry, section, row)))


@njit(nogil=True, cache=True)
def read_runs(
    indexes: Any, starts: Any, stops: Any, places: Any, sizes: Any, out: Any, valid: Any, state: Any
) -> Any:  # fmt: skip
    """Read the columns at ``places`` of the tables, of ``sizes`` bytes a value, runs one after another.

    ``state[0]`` says how many rows there are in all. The values of one column stand behind those of the column before,
    each column from a whole word on, at the address ``out``. ``state[3 + c]`` gets a 1 where column c has NULLs, whose
    validity then is at ``valid`` + c * rows, one byte a row; and a 2 where a run's segment has no such column.

    Returns -1; or a run, and the column in ``state[1]``: whose entry is to be made where ``state[2]`` is -1, else whose
    block ``state[2]`` is to be verified. Then begin again.
    """
    rows = state[0]
    out = np.uint64(out)
    for column in range(places.size):
        flags = np.int64(0)
        for run in range(starts.size):
            if starts[run] >= stops[run]:
                continue
            header = header_of(indexes[run], places[column])
            if header <= np.uint64(1):
                if header == np.uint64(0):
                    state[1], state[2] = column, -1
                    return run
                flags |= 2
                continue
            shift = load64(header + np.uint64(40))
            entries = load64(header + np.uint64(8))
            verified = load64(header + np.uint64(16))
            last = np.uint64(stops[run] - 1) >> shift
            block = np.uint64(starts[run]) >> shift
            while block <= last:
                if load8(verified + block) == np.uint8(0):
                    state[1], state[2] = column, np.int64(block)
                    return run
                if load32(entries + (block << np.uint64(6)) + np.uint64(12)) != np.uint32(0):
                    flags |= 1
                block += np.uint64(1)
        size = sizes[column]
        validity = np.uint64(valid) + np.uint64(column * rows) if flags & 1 else np.uint64(0)
        at = np.int64(0)
        for run in range(starts.size):
            count = stops[run] - starts[run]
            if count <= 0:
                continue
            header = header_of(indexes[run], places[column])
            if header > np.uint64(1):
                target = out + np.uint64(at * size)
                if count <= 16:  # unpacking a stream costs more than so many rows
                    fetch_rows(header, size, starts[run], count, target, validity)
                else:
                    read_fixed(header, size, starts[run], count, target, validity)
            if validity != np.uint64(0):
                validity += np.uint64(count)
            at += count
        out += np.uint64((rows * size + 7) & -8)
        state[3 + column] = flags
    return -1
