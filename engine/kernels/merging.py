"""Kernels that bring rows into the order of a segment: out of the chunks of memtables, and out of several segments.

    chunks     a row is named ``chunk << 16 | row``, as in the index; arrays of addresses have one entry a chunk
    segments   a *plan* has an entry per row of all inputs, in the order of the merged rows: which input the next row is
               from, and its highest bit where that is dropped. It is uint8, or uint16 for more than 128 inputs

Addresses are not checked: the caller keeps the arrays behind them alive.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ...storage.kernels.memory import get8, get16, get32, get64, put8, put16, put32, put64
from .encoding import swap_bytes


@njit(nogil=True, cache=True)
def copy(source: Any, target: Any, length: Any) -> None:
    """Copy bytes from one address to another."""
    words = length >> 3
    for word in range(words):
        put64(target, word, get64(source, word))
    for at in range(words << 3, length):
        put8(target, at, get8(source, at))


@njit(nogil=True, cache=True)
def name_rows(counts: Any, keep: Any, items: Any, kept: Any) -> Any:
    """Name the rows of chunks with ``counts`` (int64) rows, last row first; returns how many.

    ``keep`` (uint8) says of each row, counted over all chunks, whether it is wanted; empty: all are. ``kept`` (int64)
    gets the rows wanted of each chunk.
    """
    before = np.int64(0)
    for chunk in range(counts.size):
        before += counts[chunk]
    at = 0
    for chunk in range(counts.size - 1, -1, -1):
        before -= counts[chunk]
        first = at
        for row in range(counts[chunk] - 1, -1, -1):
            if keep.size == 0 or keep[before + row] != 0:
                items[at] = np.uint32((chunk << 16) | row)
                at += 1
        kept[chunk] = at - first
    return at


@njit(nogil=True, cache=True)
def places_of(items: Any, firsts: Any, places: Any) -> None:
    """places[n] = i where items[i] is row n, counted over all chunks; ``firsts`` (int64) is each chunk's first n."""
    for index in range(items.size):
        item = items[index]
        places[firsts[np.int64(item >> np.uint32(16))] + np.int64(item & np.uint32(0xFFFF))] = np.int32(index)


@njit(nogil=True, cache=True)
def gather_fixed(addresses: Any, items: Any, start: Any, stop: Any, size: Any, target: Any) -> None:
    """Copy values of ``size`` bytes of rows ``items[start:stop]`` to the array at ``target``."""
    for index in range(start, stop):
        item = items[index]
        source = addresses[np.int64(item >> np.uint32(16))]
        row = np.int64(item & np.uint32(0xFFFF))
        at = np.int64(index - start)
        if size == 8:
            put64(target, at, get64(source, row))
        elif size == 4:
            put32(target, at, get32(source, row))
        elif size == 2:
            put16(target, at, get16(source, row))
        elif size == 1:
            put8(target, at, get8(source, row))
        else:
            put64(target, at * 2, get64(source, row * 2))
            put64(target, at * 2 + 1, get64(source, row * 2 + 1))


@njit(nogil=True, cache=True)
def gather_flags(addresses: Any, items: Any, start: Any, stop: Any, default: Any, target: Any) -> Any:
    """Copy one byte a row to ``target`` (uint8), ``default`` where the chunk's address is 0; returns how many are 0."""
    zeros = 0
    for index in range(start, stop):
        item = items[index]
        source = addresses[np.int64(item >> np.uint32(16))]
        flag = np.uint8(default)
        if source != np.uint64(0):
            flag = get8(source, np.int64(item & np.uint32(0xFFFF)))
        target[index - start] = flag
        zeros += flag == np.uint8(0)
    return zeros


@njit(nogil=True, cache=True)
def gather_begins(addresses: Any, bases: Any, items: Any, start: Any, stop: Any, target: Any) -> None:
    """Begin versions (int64): the chunk's base (int64) and the row's uint32 above it."""
    for index in range(start, stop):
        item = items[index]
        chunk = np.int64(item >> np.uint32(16))
        begin = get32(addresses[chunk], np.int64(item & np.uint32(0xFFFF)))
        target[index - start] = bases[chunk] + np.int64(begin)


@njit(nogil=True, cache=True)
def gather_lengths(offsets: Any, items: Any, start: Any, stop: Any, target: Any) -> None:
    """Running ends (int64[n + 1]) of values, or keys, of variable width; ``offsets`` are addresses of 32-bit arrays."""
    end = np.int64(0)
    target[0] = end
    for index in range(start, stop):
        item = items[index]
        source = offsets[np.int64(item >> np.uint32(16))]
        row = np.int64(item & np.uint32(0xFFFF))
        end += np.int64(get32(source, row + 1)) - np.int64(get32(source, row))
        target[index - start + 1] = end


@njit(nogil=True, cache=True)
def gather_bytes(offsets: Any, heaps: Any, items: Any, start: Any, stop: Any, target: Any) -> Any:
    """Copy the bytes of values of variable width one after another to the address ``target``.

    ``offsets`` are addresses of int32 arrays. Values are touched some ahead: loads that wait for nobody overlap; what
    is returned keeps them from being dropped.
    """
    cursor = np.uint64(target)
    warm = np.uint8(0)
    for index in range(start, stop):
        if (index - start) & 63 == 0:
            for ahead in range(index, min(index + 64, stop)):
                chunk = np.int64(items[ahead] >> np.uint32(16))
                row = np.int64(items[ahead] & np.uint32(0xFFFF))
                first = np.int64(get32(offsets[chunk], row))
                if first < np.int64(get32(offsets[chunk], row + 1)):
                    warm ^= get8(heaps[chunk], first)
        item = items[index]
        chunk = np.int64(item >> np.uint32(16))
        row = np.int64(item & np.uint32(0xFFFF))
        first = np.int64(get32(offsets[chunk], row))
        length = np.int64(get32(offsets[chunk], row + 1)) - first
        copy(heaps[chunk] + np.uint64(first), cursor, length)
        cursor += np.uint64(length)
    return warm


@njit(nogil=True, cache=True)
def gather_keys(addresses: Any, items: Any, start: Any, stop: Any, width: Any, target: Any) -> None:
    """Copy keys of ``width`` words to ``target`` (uint64, flat)."""
    cursor = 0
    for index in range(start, stop):
        item = items[index]
        source = addresses[np.int64(item >> np.uint32(16))]
        first = np.int64(item & np.uint32(0xFFFF)) * width
        for word in range(width):
            target[cursor] = get64(source, first + word)
            cursor += 1


@njit(nogil=True, cache=True)
def gather_variable_keys(addresses: Any, offsets: Any, items: Any, start: Any, stop: Any, target: Any) -> None:
    """Copy keys of variable width to ``target`` (uint64, flat)."""
    cursor = 0
    for index in range(start, stop):
        item = items[index]
        chunk = np.int64(item >> np.uint32(16))
        row = np.int64(item & np.uint32(0xFFFF))
        for at in range(np.int64(get32(offsets[chunk], row)), np.int64(get32(offsets[chunk], row + 1))):
            target[cursor] = get64(addresses[chunk], at)
            cursor += 1


@njit(nogil=True, cache=True)
def compare_keys(words: Any, offsets: Any, width: Any, one: Any, row: Any, other: Any, other_row: Any) -> Any:
    """-1, 0 or 1 as the key of ``row`` of input ``one`` lies before, at or after that of ``other_row`` of ``other``."""
    if width > 0:
        first, other_first = row * width, other_row * width
        count = width
    else:
        first, other_first = np.int64(get32(offsets[one], row)), np.int64(get32(offsets[other], other_row))
        count = np.int64(get32(offsets[one], row + 1)) - first
        count = min(count, np.int64(get32(offsets[other], other_row + 1)) - other_first)
    for word in range(count):
        left, right = get64(words[one], first + word), get64(words[other], other_first + word)
        if left != right:
            return -1 if swap_bytes(left) < swap_bytes(right) else 1
    return 0


@njit(nogil=True, cache=True)
def take_below(
    words: Any, offsets: Any, width: Any, rows: Any, stops: Any, last: Any, items: Any, takes: Any, unique: Any
) -> Any:
    """Name the rows (input << 16 | row, by input) whose keys come before all that are not here; returns how many.

    Where keys are ``unique``, the last one that is here does, too.

    Of each input, rows ``rows[i]`` to ``stops[i]`` are here; where ``last[i]`` is 0 there are more. Their keys stand at
    ``words[i]`` (addresses), ``width`` words each, or from word offset to word offset (uint32, at ``offsets[i]``) where
    it is 0. ``takes[i]`` gets the row behind the last that is named.
    """
    lowest, below = -1, 1 if unique else 0
    for entry in range(words.size):
        if last[entry] == 0 and (
            lowest < 0 or compare_keys(words, offsets, width, entry, stops[entry] - 1, lowest, stops[lowest] - 1) < 0
        ):
            lowest = entry
    count = 0
    for entry in range(words.size):
        low, high = rows[entry], stops[entry]
        if lowest >= 0:
            while low < high:
                middle = (low + high) >> 1
                if compare_keys(words, offsets, width, entry, middle, lowest, stops[lowest] - 1) < below:
                    low = middle + 1
                else:
                    high = middle
        takes[entry] = high
        for row in range(rows[entry], high):
            items[count] = np.uint32((entry << 16) | row)
            count += 1
    return count


@njit(nogil=True, cache=True)
def plan_rows(items: Any, drops: Any, plan: Any, at: Any, kept: Any, block_rows: Any, samples: Any) -> Any:
    """Put rows, in merged order, into the plan from place ``at`` on; returns (rows kept so far, samples taken).

    ``drops[i]`` is the address of a byte a row of input i, or 0. ``samples`` (int64[n, 2]) gets input and row of the
    first row of each block of ``block_rows`` kept rows.
    """
    dropped = 1 << (8 * plan.itemsize - 1)
    taken = 0
    for index in range(items.size):
        source, row = np.int64(items[index] >> np.uint32(16)), np.int64(items[index] & np.uint32(0xFFFF))
        mark = source
        if drops[source] != np.uint64(0) and get8(drops[source], row) != np.uint8(0):
            mark |= dropped
        else:
            if kept % block_rows == 0:
                samples[taken, 0], samples[taken, 1] = source, row
                taken += 1
            kept += 1
        plan[at + index] = mark
    return kept, taken


@njit(nogil=True, cache=True)
def merge_equal(words: Any, offsets: Any, width: Any, rows: Any, stops: Any, last: Any, items: Any, takes: Any) -> Any:
    """Name rows where ``take_below`` finds none, since a key has more versions than are here; returns how many.

    The rows of the lowest key that is here, input by input, up to one that may have more of them.
    """
    lowest = -1
    for entry in range(words.size):
        takes[entry] = rows[entry]
        if rows[entry] < stops[entry] and (
            lowest < 0 or compare_keys(words, offsets, width, entry, rows[entry], lowest, rows[lowest]) < 0
        ):
            lowest = entry
    count = 0
    for entry in range(words.size):
        row = rows[entry]
        while row < stops[entry] and compare_keys(words, offsets, width, entry, row, lowest, rows[lowest]) == 0:
            items[count] = np.uint32((entry << 16) | row)
            count += 1
            row += 1
        takes[entry] = row
        if row == stops[entry] and last[entry] == 0:
            break
    return count


@njit(nogil=True, cache=True)
def cut_plan(plan: Any, rows: Any, places: Any, cursors: Any) -> None:
    """Cut the plan into pieces of ``rows`` kept rows: where in the plan, and at which row of each input, each begins.

    ``places`` (int64[pieces + 1]) and ``cursors`` (int64[pieces + 1, inputs]) end with the end of the plan.
    """
    dropped = 1 << (8 * plan.itemsize - 1)
    cursor = np.zeros(cursors.shape[1], np.int64)
    kept = piece = 0
    for at in range(plan.size):
        mark = np.int64(plan[at])
        if mark < dropped:
            if kept % rows == 0:
                places[piece] = at
                cursors[piece] = cursor
                piece += 1
            kept += 1
        cursor[mark & (dropped - 1)] += 1
    places[piece] = plan.size
    cursors[piece] = cursor


@njit(nogil=True, cache=True)
def map_rows(plan: Any, addresses: Any) -> None:
    """Write the merged row of each row of each input, or -1 where it is dropped, to int32 arrays by address."""
    dropped = 1 << (8 * plan.itemsize - 1)
    cursor = np.zeros(addresses.size, np.int64)
    kept = 0
    for at in range(plan.size):
        source = np.int64(plan[at]) & (dropped - 1)
        row = cursor[source]
        cursor[source] = row + 1
        if np.int64(plan[at]) < dropped:
            put32(addresses[source], row, np.uint32(kept))
            kept += 1
        else:
            put32(addresses[source], row, np.uint32(0xFFFFFFFF))


@njit(nogil=True, cache=True)
def merge_fixed(plan: Any, start: Any, stop: Any, addresses: Any, size: Any, target: Any) -> None:
    """Values of ``size`` bytes of the kept rows of ``plan[start:stop]``, to the array at ``target``.

    Input i's values for this part of the plan stand at ``addresses[i]``, those of dropped rows among them.
    """
    dropped = 1 << (8 * plan.itemsize - 1)
    cursor = np.zeros(addresses.size, np.int64)
    at = np.int64(0)
    for place in range(start, stop):
        source = np.int64(plan[place]) & (dropped - 1)
        row = cursor[source]
        cursor[source] = row + 1
        if np.int64(plan[place]) >= dropped:
            continue
        if size == 8:
            put64(target, at, get64(addresses[source], row))
        elif size == 4:
            put32(target, at, get32(addresses[source], row))
        elif size == 2:
            put16(target, at, get16(addresses[source], row))
        elif size == 1:
            put8(target, at, get8(addresses[source], row))
        else:
            put64(target, 2 * at, get64(addresses[source], 2 * row))
            put64(target, 2 * at + 1, get64(addresses[source], 2 * row + 1))
        at += 1


@njit(nogil=True, cache=True)
def merge_flags(plan: Any, start: Any, stop: Any, addresses: Any, target: Any) -> Any:
    """As ``merge_fixed`` for validity, to ``target`` (uint8): an input without an array has values; returns NULLs."""
    dropped = 1 << (8 * plan.itemsize - 1)
    cursor = np.zeros(addresses.size, np.int64)
    at = nulls = 0
    for place in range(start, stop):
        source = np.int64(plan[place]) & (dropped - 1)
        row = cursor[source]
        cursor[source] = row + 1
        if np.int64(plan[place]) < dropped:
            flag = np.uint8(1)
            if addresses[source] != np.uint64(0):
                flag = get8(addresses[source], row)
            target[at] = flag
            nulls += flag == np.uint8(0)
            at += 1
    return nulls


@njit(nogil=True, cache=True)
def merge_codes(plan: Any, start: Any, stop: Any, addresses: Any, ranks: Any, sizes: Any, target: Any) -> None:
    """As ``merge_fixed`` for codes (int32): each becomes ``ranks[i][code]`` (addresses of int32 arrays; 0: as it is).

    The code of a NULL may be any: one beyond ``sizes[i]`` becomes 0.
    """
    dropped = 1 << (8 * plan.itemsize - 1)
    cursor = np.zeros(addresses.size, np.int64)
    at = 0
    for place in range(start, stop):
        source = np.int64(plan[place]) & (dropped - 1)
        row = cursor[source]
        cursor[source] = row + 1
        if np.int64(plan[place]) < dropped:
            code = np.int64(get32(addresses[source], row))
            if ranks[source] != np.uint64(0):
                code = np.int64(get32(ranks[source], code)) if code < sizes[source] else np.int64(0)
            target[at] = np.int32(code)
            at += 1


@njit(nogil=True, cache=True)
def merge_lengths(plan: Any, start: Any, stop: Any, offsets: Any, target: Any) -> None:
    """As ``merge_fixed`` for the running ends (int64[n + 1]) of values with int32 offsets at ``offsets[i]``."""
    dropped = 1 << (8 * plan.itemsize - 1)
    cursor = np.zeros(offsets.size, np.int64)
    at = 0
    target[0] = 0
    for place in range(start, stop):
        source = np.int64(plan[place]) & (dropped - 1)
        row = cursor[source]
        cursor[source] = row + 1
        if np.int64(plan[place]) < dropped:
            length = np.int64(get32(offsets[source], row + 1)) - np.int64(get32(offsets[source], row))
            target[at + 1] = target[at] + length
            at += 1


@njit(nogil=True, cache=True)
def merge_bytes(plan: Any, start: Any, stop: Any, offsets: Any, heaps: Any, target: Any) -> None:
    """As ``merge_lengths`` for the bytes, one value after another, to the address ``target``."""
    dropped = 1 << (8 * plan.itemsize - 1)
    cursor = np.zeros(offsets.size, np.int64)
    at = np.uint64(target)
    for place in range(start, stop):
        source = np.int64(plan[place]) & (dropped - 1)
        row = cursor[source]
        cursor[source] = row + 1
        if np.int64(plan[place]) < dropped:
            first = np.int64(get32(offsets[source], row))
            length = np.int64(get32(offsets[source], row + 1)) - first
            copy(heaps[source] + np.uint64(first), at, length)
            at += np.uint64(length)
