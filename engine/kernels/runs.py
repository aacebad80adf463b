"""Runs of rows out of many segments, all columns of fixed width in one call: what makes a series read cheap.

Run r is rows ``starts[r]`` to ``stops[r]`` of the segment whose column headers stand in the table at ``tables[r]``: how
many there are, then their addresses by column (storage/kernels/blocks.py says what a header holds).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ...storage.kernels.decoding import read_fixed
from ...storage.kernels.memory import load8, load32, load64


@njit(nogil=True, cache=True)
def header_of(table: Any, place: Any) -> Any:
    """The address of a column's header, 0 where the segment is older than the column."""
    if np.uint64(place) >= load64(table):
        return np.uint64(0)
    return load64(table + np.uint64(8 * (place + 1)))


@njit(nogil=True, cache=True)
def read_runs(
    tables: Any, starts: Any, stops: Any, places: Any, sizes: Any, outs: Any, valids: Any, state: Any
) -> Any:  # fmt: skip
    """Read the columns at ``places`` of the tables, of ``sizes`` bytes a value, to ``outs``, runs one after another.

    ``state[1 + c]`` gets a 1 where column c has NULLs, whose validity then is at ``valids``, one byte a row; and a 2
    where a run's segment has no such column. Returns -1; or a run that holds a block of a column that was not verified,
    both named by ``state[0]`` (column << 32 | block): verify it, and begin again.
    """
    for column in range(places.size):
        flags = np.int64(0)
        for run in range(starts.size):
            header = header_of(tables[run], places[column])
            if starts[run] >= stops[run]:
                continue
            if header == np.uint64(0):
                flags |= 2
                continue
            shift = load64(header + np.uint64(40))
            entries = load64(header + np.uint64(8))
            verified = load64(header + np.uint64(16))
            last = np.uint64(stops[run] - 1) >> shift
            block = np.uint64(starts[run]) >> shift
            while block <= last:
                if load8(verified + block) == np.uint8(0):
                    state[0] = (column << 32) | np.int64(block)
                    return run
                if load32(entries + (block << np.uint64(6)) + np.uint64(12)) != np.uint32(0):
                    flags |= 1
                block += np.uint64(1)
        state[1 + column] = flags
        at = np.int64(0)
        size = sizes[column]
        for run in range(starts.size):
            count = stops[run] - starts[run]
            header = header_of(tables[run], places[column])
            if count > 0 and header != np.uint64(0):
                valid = valids[column] + np.uint64(at) if flags & 1 else np.uint64(0)
                read_fixed(header, size, starts[run], count, outs[column] + np.uint64(at * size), valid)
            at += count
    return -1
