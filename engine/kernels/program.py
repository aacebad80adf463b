"""A kernel for every shape: it goes through a program, an instruction at a time for as many rows as stay in the cache.

    for each piece, for each chunk of it:     for each instruction: a loop over the ``left`` rows that are left

So it needs no compiler, and is slower than a kernel of the shape's own by what buffers cost that this one keeps in
registers: "MonetDB/X100: Hyper-Pipelining Query Execution" (Boncz, Zukowski, Nes, 2005) is where it comes from.

    program     int64[1 + n, WIDTH], made by engine/pipeline/program.py. The first row: the number of the first
                instruction that is done for each chunk (those before it once), of the first accumulator, bytes of
                buffers, rows of a chunk, where the chosen rows are, where there is room for a column before rows are
                chosen of it, words of a record, of its key
    else        as of generated kernels (engine/pipeline/generate.py)

An instruction is what to do, where to, where from (places in the buffers, in bytes), and arguments. Buffers hold a word
or a byte a row: integers, the bits of floats, truths as 0 or 1. Rows that a condition leaves out are not there for what
follows: buffers are filled anew, from those of all rows of the chunk or from the columns. Where a place is 0, there is
no buffer.

Records of keys never move: the lane's table (``state``) says where in the pool the record is that was made last for a
place, and a key that finds another one's there makes a new one. Where groups have few places each has ``COPIES``, for
rows that follow one another, which then do not wait for each other's sums.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from ...storage.kernels.blocks import fetch, fetch_valid, unpacked
from ...storage.kernels.memory import (
    get8,
    get64,
    get_real,
    get_single,
    load8,
    load64,
    put8,
    put64,
    put_real,
)
from .groups import hashed, next_page
from .pieces import (
    byte_at,
    divided,
    has_bit,
    keep_seen,
    key_of_real,
    looked_up,
    magic_of,
    month_day_of,
    month_of,
    places_of,
    ranked,
    read_valid,
    read_words,
    shift_of,
    word64_at,
    word_at,
)

WIDTH: Final = 16
COPIES: Final = 4
COPIED_MAX: Final = 1_024

# Once: values of arguments, in one word or for each row of a chunk.
LITERAL: Final = 1  # out, word
INTEGER: Final = 2  # out, number of the argument
REAL: Final = 3
SPREAD: Final = 5  # out, a
KNOWN: Final = 6  # out, number of the argument; bytes
ALWAYS: Final = 7  # out, byte

# Words of words: out, a, b, whether b is one word for all rows.
ADD: Final = 16
SUB: Final = 17
MUL: Final = 18
DIVIDE: Final = 19  # rounded down; b is positive, one word
TRUNCATE: Final = 20  # rounded to 0
ABS: Final = 21
MONTHS: Final = 22
MONTH_DAY: Final = 23
REAL_KEY: Final = 24
HASH: Final = 25  # of a, and b the hash of the words before

# Truths of words: out, a, b, whether b is one word for all rows.
EQUAL: Final = 32
LESS: Final = 33
LESS_EQUAL: Final = 34
GREATER: Final = 35
GREATER_EQUAL: Final = 36
DIFFERENT: Final = 37
BEYOND: Final = 38  # without signs, a >= b

# Floats.
ADD_REALS: Final = 48
SUB_REALS: Final = 49
MUL_REALS: Final = 50
DIVIDE_REALS: Final = 51
NEGATE_REAL: Final = 52
TO_REAL: Final = 53
SINGLE: Final = 54
EQUAL_REALS: Final = 56
LESS_REALS: Final = 57
LESS_EQUAL_REALS: Final = 58

# Truths, and choices by them: out, a, b, truth.
AND: Final = 64
OR: Final = 65
AND_NOT: Final = 66
NOT: Final = 67
IS: Final = 68  # a is the byte b
WORDS: Final = 69  # 0 and 1
CHOOSE: Final = 70
CHOOSE_TRUTHS: Final = 71

# By addresses: out, a, and what is said.
TEXT: Final = 80  # a: codes, b: truths of there being a value or 0, place of the table's address in a piece
CODE: Final = 81  # a: codes, place of the table's address
RANKED: Final = 82  # a: keys, number of the side's first argument
LOOKED_UP: Final = 83  # a: keys, b: truths of there being no partner or 0, number of the argument
HAS_BIT: Final = 84
SIDE_WORDS: Final = 85  # a: partners' places, number of the argument that is the address
SIDE_TRUTHS: Final = 86

# Rows.
READ: Final = 96  # out, place in a piece
READ_VALID: Final = 97
AGAIN: Final = 98  # out, a: of all rows of the chunk those that are left
AGAIN_TRUTHS: Final = 99
KEEP: Final = 100  # a: truths or 0; whether rows have to be visible too; where in ``asked`` it is counted, or 0

# Groups: out are places of accumulators, in bytes.
DENSE: Final = 104  # out, a: places of groups
FIND: Final = 105  # out, a: hashes, words of the key
ROWS: Final = 106  # out

# Accumulators: a: places or 0 (one group), b: values, number of the accumulator.
COUNT: Final = 112  # rows
COUNT_TRUTHS: Final = 113
SUM: Final = 114
LEAST: Final = 115
GREATEST: Final = 116
SUM_REALS: Final = 117
LEAST_REAL: Final = 118
GREATEST_REAL: Final = 119
PUT: Final = 120
MARK: Final = 121  # a: numbers of bits of the pool, b: truths of rows that have one, or 0


@njit(nogil=True, cache=True)
def _words(what: Any, out: Any, a: Any, b: Any, one: Any, count: Any) -> None:
    if what == ADD:
        if one:
            word = get64(b, 0)
            for row in range(count):
                put64(out, row, get64(a, row) + word)
        else:
            for row in range(count):
                put64(out, row, get64(a, row) + get64(b, row))
    elif what == SUB:
        if one:
            word = get64(b, 0)
            for row in range(count):
                put64(out, row, get64(a, row) - word)
        else:
            for row in range(count):
                put64(out, row, get64(a, row) - get64(b, row))
    elif what == MUL:
        if one:
            word = get64(b, 0)
            for row in range(count):
                put64(out, row, get64(a, row) * word)
        else:
            for row in range(count):
                put64(out, row, get64(a, row) * get64(b, row))
    elif what == ABS:
        for row in range(count):
            put64(out, row, np.uint64(abs(np.int64(get64(a, row)))))
    elif what == MONTHS:
        for row in range(count):
            put64(out, row, np.uint64(month_of(np.int64(get64(a, row)))))
    elif what == MONTH_DAY:
        for row in range(count):
            put64(out, row, np.uint64(month_day_of(np.int64(get64(a, row)))))
    elif what == REAL_KEY:
        for row in range(count):
            put64(out, row, np.uint64(key_of_real(get_real(a, row))))
    elif one:
        for row in range(count):
            put64(out, row, np.uint64(hashed(get64(a, row), np.uint64(0))))
    else:
        for row in range(count):
            put64(out, row, np.uint64(hashed(get64(a, row), get64(b, row))))


@njit(nogil=True, cache=True)
def _divide(out: Any, a: Any, divisor: Any, count: Any) -> None:
    """Quotients, rounded down."""
    magic, shift = np.uint64(magic_of(divisor)), np.uint64(shift_of(divisor))
    for row in range(count):
        put64(out, row, np.uint64(divided(np.int64(get64(a, row)), magic, shift)))


@njit(nogil=True, cache=True)
def _truncate(out: Any, count: Any, a: Any, divisor: Any) -> None:
    """Quotients, rounded to 0, from those that are rounded down, in place."""
    for row in range(count):
        value, found = np.int64(get64(a, row)), np.int64(get64(out, row))
        below = (value < np.int64(0)) & (found * divisor != value)
        put64(out, row, np.uint64(found + np.int64(below)))


@njit(nogil=True, cache=True)
def _compare(what: Any, out: Any, a: Any, b: Any, one: Any, count: Any) -> None:
    if one:
        word = np.int64(get64(b, 0))
        if what == EQUAL:
            for row in range(count):
                put8(out, row, np.uint8(np.int64(get64(a, row)) == word))
        elif what == LESS:
            for row in range(count):
                put8(out, row, np.uint8(np.int64(get64(a, row)) < word))
        elif what == LESS_EQUAL:
            for row in range(count):
                put8(out, row, np.uint8(np.int64(get64(a, row)) <= word))
        elif what == GREATER:
            for row in range(count):
                put8(out, row, np.uint8(np.int64(get64(a, row)) > word))
        elif what == GREATER_EQUAL:
            for row in range(count):
                put8(out, row, np.uint8(np.int64(get64(a, row)) >= word))
        elif what == DIFFERENT:
            for row in range(count):
                put8(out, row, np.uint8(np.int64(get64(a, row)) != word))
        else:
            for row in range(count):
                put8(out, row, np.uint8(get64(a, row) >= np.uint64(word)))
    elif what == EQUAL:
        for row in range(count):
            put8(out, row, np.uint8(get64(a, row) == get64(b, row)))
    elif what == LESS:
        for row in range(count):
            put8(out, row, np.uint8(np.int64(get64(a, row)) < np.int64(get64(b, row))))
    elif what == LESS_EQUAL:
        for row in range(count):
            put8(out, row, np.uint8(np.int64(get64(a, row)) <= np.int64(get64(b, row))))
    else:
        for row in range(count):
            put8(out, row, np.uint8(get64(a, row) != get64(b, row)))


@njit(nogil=True, cache=True, error_model="numpy")
def _reals(what: Any, out: Any, a: Any, b: Any, count: Any) -> Any:
    """Returns whether a float became infinite."""
    failed = np.int64(0)
    if what == ADD_REALS:
        for row in range(count):
            one, other = get_real(a, row), get_real(b, row)
            found = one + other
            failed |= np.int64(abs(found) == np.inf) & np.int64(abs(one) != np.inf) & np.int64(abs(other) != np.inf)
            put_real(out, row, found)
    elif what == SUB_REALS:
        for row in range(count):
            one, other = get_real(a, row), get_real(b, row)
            found = one - other
            failed |= np.int64(abs(found) == np.inf) & np.int64(abs(one) != np.inf) & np.int64(abs(other) != np.inf)
            put_real(out, row, found)
    elif what == MUL_REALS:
        for row in range(count):
            one, other = get_real(a, row), get_real(b, row)
            found = one * other
            failed |= np.int64(abs(found) == np.inf) & np.int64(abs(one) != np.inf) & np.int64(abs(other) != np.inf)
            put_real(out, row, found)
    elif what == DIVIDE_REALS:
        for row in range(count):
            put_real(out, row, get_real(a, row) / get_real(b, row))
    elif what == NEGATE_REAL:
        for row in range(count):
            put_real(out, row, -get_real(a, row))
    elif what == TO_REAL:
        for row in range(count):
            put_real(out, row, np.float64(np.int64(get64(a, row))))
    elif what == SINGLE:
        for row in range(count):
            put_real(out, row, np.float64(get_single(a, 2 * row)))
    elif what == EQUAL_REALS:  # NaN equals itself and is greater than all else
        for row in range(count):
            one, other = get_real(a, row), get_real(b, row)
            put8(out, row, np.uint8((one == other) | ((one != one) & (other != other))))
    elif what == LESS_REALS:
        for row in range(count):
            one, other = get_real(a, row), get_real(b, row)
            put8(out, row, np.uint8((one < other) | ((one == one) & (other != other))))
    else:
        for row in range(count):
            one, other = get_real(a, row), get_real(b, row)
            put8(out, row, np.uint8((one <= other) | (other != other)))
    return failed


@njit(nogil=True, cache=True)
def _truths(what: Any, out: Any, a: Any, b: Any, truth: Any, count: Any) -> None:
    if what == AND:
        for row in range(count):
            put8(out, row, get8(a, row) & get8(b, row))
    elif what == OR:
        for row in range(count):
            put8(out, row, get8(a, row) | get8(b, row))
    elif what == AND_NOT:
        for row in range(count):
            put8(out, row, get8(a, row) & (get8(b, row) ^ np.uint8(1)))
    elif what == NOT:
        for row in range(count):
            put8(out, row, get8(a, row) ^ np.uint8(1))
    elif what == WORDS:
        for row in range(count):
            put64(out, row, np.uint64(get8(a, row)))
    elif what == CHOOSE:
        for row in range(count):
            one, other, chosen = get64(a, row), get64(b, row), get8(truth, row)  # before it is asked: no jumps
            put64(out, row, one if chosen != np.uint8(0) else other)
    else:
        for row in range(count):
            one, other, chosen = get8(a, row), get8(b, row), get8(truth, row)
            put8(out, row, one if chosen != np.uint8(0) else other)


@njit(nogil=True, cache=True)
def _is(out: Any, a: Any, byte: Any, count: Any) -> None:
    byte = np.uint8(byte)
    for row in range(count):
        put8(out, row, np.uint8(get8(a, row) == byte))


@njit(nogil=True, cache=True)
def _look_up(what: Any, out: Any, a: Any, b: Any, none: Any, table: Any, second: Any, third: Any, count: Any) -> None:
    """``b`` is no buffer where it is ``none``; ``table``, ``second`` and ``third``: of a side, else one address."""
    if what == TEXT:
        if b == none:
            for row in range(count):
                put8(out, row, np.uint8(byte_at(table, np.int64(get64(a, row)) + 1)))
        else:
            for row in range(count):
                code, there = np.int64(get64(a, row)) + 1, get8(b, row)
                put8(out, row, np.uint8(byte_at(table, code if there != np.uint8(0) else np.int64(0))))
    elif what == CODE:
        for row in range(count):
            put64(out, row, np.uint64(word_at(table, np.int64(get64(a, row)))))
    elif what == RANKED:
        for row in range(count):
            put64(out, row, np.uint64(ranked(table, second, get64(a, row), third)))
    elif what == HAS_BIT:
        for row in range(count):
            put8(out, row, np.uint8(has_bit(table, second, get64(a, row))))
    elif what == LOOKED_UP:
        for row in range(count):
            if b != none and get8(b, row) != np.uint8(0):
                put64(out, row, third)
            else:
                put64(out, row, np.uint64(looked_up(table, second, get64(a, row), third)))
    elif what == SIDE_WORDS:
        for row in range(count):
            put64(out, row, np.uint64(word64_at(table, get64(a, row))))
    else:
        for row in range(count):
            put8(out, row, np.uint8(byte_at(table, get64(a, row))))


@njit(nogil=True, cache=True)
def _again(what: Any, out: Any, a: Any, chosen: Any, count: Any) -> None:
    if what == AGAIN:
        for row in range(count):
            put64(out, row, get64(a, np.int64(get64(chosen, row))))
    else:
        for row in range(count):
            put8(out, row, get8(a, np.int64(get64(chosen, row))))


@njit(nogil=True, cache=True)
def _take_words(entry: Any, section: Any, first: Any, chosen: Any, count: Any, out: Any) -> None:
    """Of a block the ``count`` chosen rows alone, one behind another."""
    bits = np.uint64(load8(entry + np.uint64(61)))
    if load8(entry + np.uint64(60)) == np.uint8(1) and bits != np.uint64(64):
        block = section + load64(entry)
        base, scale = load64(entry + np.uint64(16)), load64(entry + np.uint64(24))
        for place in range(count):
            put64(out, place, base + scale * unpacked(block, bits, first + get64(chosen, place)))
        return
    for place in range(count):
        put64(out, place, np.uint64(fetch(entry, section, first + get64(chosen, place))))


@njit(nogil=True, cache=True)
def _take_valid(entry: Any, section: Any, first: Any, chosen: Any, count: Any, known: Any, done: Any, out: Any) -> None:
    for place in range(count):
        row = get64(chosen, place)
        if known != np.uint64(0):
            put8(out, place, load8(known + np.uint64(done) + row))
        else:
            put8(out, place, np.uint8(fetch_valid(entry, section, first + row)))


@njit(nogil=True, cache=True)
def _read(
    what: Any, words: Any, truths: Any, base: Any, out: Any, spare: Any, chosen: Any, piece: Any, at: Any, done: Any,
    count: Any, left: Any,
) -> None:  # fmt: skip
    """A column, or where it has values, into the buffer at ``out``. Of less than one row in eight, theirs alone."""
    entry, section, first, known = piece[at], piece[at + 1], piece[at + 2] + np.uint64(done), piece[at + 3]
    target, rows = base + np.uint64(out), base + np.uint64(chosen)
    whole = left == count
    if not whole and left * 8 < count:
        if what == READ:
            _take_words(entry, section, first, rows, left, target)
        else:
            _take_valid(entry, section, first, rows, left, known, done, target)
        return
    to = out if whole else spare
    if what == READ:
        read_words(entry, section, first, count, words[to >> 3 : (to >> 3) + count])
    else:
        read_valid(entry, section, first, count, known, done, truths[to : to + count])
    if not whole:
        _again(AGAIN if what == READ else AGAIN_TRUTHS, target, base + np.uint64(spare), rows, left)


@njit(nogil=True, cache=True)
def _keep(
    words: Any, truths: Any, base: Any, flags: Any, chosen: Any, spare: Any, hidden: Any, count: Any, whole: Any,
) -> Any:  # fmt: skip
    """Choose rows of those that are there; returns how many. ``flags`` 0: what is visible; ``hidden``: see keep_seen.

    ``whole``: there are all rows of the chunk so far.
    """
    source, target = base + np.uint64(flags), base + np.uint64(spare)
    if flags == 0 and hidden == np.uint64(0):
        return count
    if hidden != np.uint64(0):
        keep_seen(hidden, np.int64(0), count, truths[spare : spare + ((count + 63) & ~63)])
        if flags != 0:
            for row in range(count):
                put8(target, row, np.uint8(get8(target, row) & get8(source, row)))
    else:
        for row in range(count):
            put8(target, row, get8(source, row))
    room = (count + 7) & ~7
    rows = words[chosen >> 3 : (chosen >> 3) + room].view(np.uint64)
    if whole:
        return places_of(truths[spare : spare + room], count, rows)
    found = words[(spare + room) >> 3 : ((spare + room) >> 3) + room].view(np.uint64)
    left = places_of(truths[spare : spare + room], count, found)
    for place in range(left):
        rows[place] = rows[found[place]]
    return left


@njit(nogil=True, cache=True)
def _dense(out: Any, a: Any, record: Any, copy: Any, count: Any) -> None:
    """Where each row's accumulators are, in bytes; ``copy``: bytes of all groups of one copy."""
    for row in range(count):
        put64(out, row, get64(a, row) * record + np.uint64(row & 3) * copy)


@njit(nogil=True, cache=True)
def _find(
    base: Any, line: Any, starts: Any, state: Any, pool: Any, ends: Any, chain: Any, key_words: Any, count: Any
) -> None:
    """Where each row's record is in the pool, in bytes; new ones are made for what is not found."""
    out, hashes, first = base + np.uint64(line[1]), base + np.uint64(line[2]), base + np.uint64(line[3])
    width = np.int64(starts.size)
    shift = np.uint64(64)
    places = state.size
    while places > 1:
        places >>= 1
        shift -= np.uint64(1)
    for row in range(count):
        hash = get64(hashes, row)
        place = np.int64(hash >> shift)
        record = (state[place] - 1) * width
        found = record >= 0
        if key_words == 1:
            if found:
                found = pool[record] == np.int64(get64(first, row))
        elif found:
            for word in range(key_words):
                found &= pool[record + word] == np.int64(get64(base + np.uint64(line[3 + word]), row))
        if not found:
            part = np.int64(hash >> np.uint64(56))
            end = ends[part]
            record = end * width
            state[place] = end + 1
            for word in range(key_words):
                pool[record + word] = np.int64(get64(base + np.uint64(line[3 + word]), row))
            for word in range(key_words, width):
                pool[record + word] = starts[word]
            end += 1
            ends[part] = next_page(end, ends, chain) if end & 127 == 0 else end
        put64(out, row, np.uint64(record << 3))


@njit(nogil=True, cache=True)
def _rows(out: Any, first: Any, record: Any, count: Any) -> None:
    for row in range(count):
        put64(out, row, first + np.uint64(row) * record)


@njit(nogil=True, cache=True, error_model="numpy")
def _grouped(what: Any, target: Any, at: Any, values: Any, count: Any) -> None:
    """Each row's value into the accumulator of its group: the word at ``target`` and as many bytes as ``at`` says."""
    if what == COUNT:
        for row in range(count):
            place = target + get64(at, row)
            put64(place, 0, get64(place, 0) + np.uint64(1))
    elif what == COUNT_TRUTHS:
        for row in range(count):
            place = target + get64(at, row)
            put64(place, 0, get64(place, 0) + np.uint64(get8(values, row)))
    elif what == SUM:
        for row in range(count):
            place = target + get64(at, row)
            put64(place, 0, get64(place, 0) + get64(values, row))
    elif what == LEAST:
        for row in range(count):
            place = target + get64(at, row)
            put64(place, 0, np.uint64(min(np.int64(get64(place, 0)), np.int64(get64(values, row)))))
    elif what == GREATEST:
        for row in range(count):
            place = target + get64(at, row)
            put64(place, 0, np.uint64(max(np.int64(get64(place, 0)), np.int64(get64(values, row)))))
    elif what == SUM_REALS:
        for row in range(count):
            place = target + get64(at, row)
            put_real(place, 0, get_real(place, 0) + get_real(values, row))
    elif what == LEAST_REAL:
        for row in range(count):
            place = target + get64(at, row)
            before, value = get_real(place, 0), get_real(values, row)
            put_real(place, 0, value if (value < before) | (before != before) else before)
    elif what == GREATEST_REAL:
        for row in range(count):
            place = target + get64(at, row)
            before, value = get_real(place, 0), get_real(values, row)
            put_real(place, 0, value if (value > before) | (value != value) else before)
    else:
        for row in range(count):
            put64(target + get64(at, row), 0, get64(values, row))


@njit(nogil=True, cache=True)
def _mark(pool: Any, bits: Any, truths: Any, all: Any, count: Any) -> None:
    for row in range(count):
        bit = get64(bits, row)
        place = pool + (bit >> np.uint64(6)) * np.uint64(8)
        one = np.uint64(1) if all else np.uint64(get8(truths, row))
        put64(place, 0, get64(place, 0) | one << (bit & np.uint64(63)))


@njit(nogil=True, cache=True, error_model="numpy")
def _whole(what: Any, target: Any, values: Any, count: Any) -> None:
    """The values of all rows into one accumulator."""
    if what == COUNT:
        put64(target, 0, get64(target, 0) + np.uint64(count))
    elif what == COUNT_TRUTHS:
        words = np.uint64(0)
        for row in range(count):
            words += np.uint64(get8(values, row))
        put64(target, 0, get64(target, 0) + words)
    elif what == SUM:
        words = np.uint64(0)
        for row in range(count):
            words += get64(values, row)
        put64(target, 0, get64(target, 0) + words)
    elif what == LEAST:
        found = np.int64(get64(target, 0))
        for row in range(count):
            found = min(found, np.int64(get64(values, row)))
        put64(target, 0, np.uint64(found))
    elif what == GREATEST:
        found = np.int64(get64(target, 0))
        for row in range(count):
            found = max(found, np.int64(get64(values, row)))
        put64(target, 0, np.uint64(found))
    elif what == SUM_REALS:
        total = rest = third = fourth = 0.0  # four sums, that do not wait for each other
        for row in range(count >> 2):
            total += get_real(values, 4 * row)
            rest += get_real(values, 4 * row + 1)
            third += get_real(values, 4 * row + 2)
            fourth += get_real(values, 4 * row + 3)
        for row in range(count & ~3, count):
            total += get_real(values, row)
        put_real(target, 0, get_real(target, 0) + ((total + rest) + (third + fourth)))
    elif what == LEAST_REAL:
        best = get_real(target, 0)
        for row in range(count):
            value = get_real(values, row)
            best = value if (value < best) | (best != best) else best
        put_real(target, 0, best)
    else:
        best = get_real(target, 0)
        for row in range(count):
            value = get_real(values, row)
            best = value if (value > best) | (value != value) else best
        put_real(target, 0, best)


@njit(nogil=True, cache=True)
def _start(what: Any) -> Any:
    """What an accumulator begins with."""
    if what == LEAST:
        return np.int64(0x7FFFFFFFFFFFFFFF)
    if what == GREATEST:
        return np.int64(-0x8000000000000000)
    if what == LEAST_REAL:
        return np.int64(0x7FF8000000000000)  # NaN
    return np.int64(-0x10000000000000) if what == GREATEST_REAL else np.int64(0)  # -inf


@njit(nogil=True, cache=True)
def _once(line: Any, base: Any, chunk: Any, integers: Any, reals: Any) -> None:
    what, out, of = line[0], base + np.uint64(line[1]), line[2]
    if what == LITERAL:
        put64(out, 0, np.uint64(of))
    elif what == INTEGER:
        put64(out, 0, np.uint64(integers[of]))
    elif what == REAL:
        put_real(out, 0, reals[of])
    elif what == SPREAD:
        word = get64(base + np.uint64(of), 0)
        for row in range(chunk):
            put64(out, row, word)
    else:
        byte = np.uint8(of) if what == ALWAYS else np.uint8(integers[of] != 0)
        for row in range(chunk):
            put8(out, row, byte)


@njit(nogil=True, cache=True)
def interpret(
    program: Any, pieces: Any, start: Any, stop: Any, integers: Any, reals: Any, state: Any, pool: Any, ends: Any,
    chain: Any, asked: Any,
) -> Any:  # fmt: skip
    """Run a program over pieces. Returns 0, or -1 where a float became infinite."""
    first, sinks, bytes_count, chunk = program[0, 0], program[0, 1], program[0, 2], program[0, 3]
    chosen, spare, width, key_words = program[0, 4], program[0, 5], program[0, 6], program[0, 7]
    words = np.empty(bytes_count >> 3, np.int64)
    truths = words.view(np.uint8)
    base = np.uint64(words.ctypes.data)
    lines = len(program)
    for number in range(1, first):
        _once(program[number], base, chunk, integers, reals)
    starts = np.zeros(width, np.int64)
    for number in range(sinks, lines):
        starts[key_words + program[number, 4]] = _start(program[number, 0])
    record = np.uint64(8 * width)
    copies = state
    copy = np.uint64(0)
    dense = program[sinks - 1, 0] == DENSE
    if dense and state.size <= COPIED_MAX:
        copies = np.empty(COPIES * state.size, np.int64)
        copy = np.uint64(8 * state.size)
        for at in range(0, copies.size, width):
            copies[at : at + width] = starts
    target = np.uint64(copies.ctypes.data)
    if program[sinks - 1, 0] == FIND:
        target = np.uint64(pool.ctypes.data) + np.uint64(8 * key_words)
    failed = np.int64(0)
    for number in range(start, stop):
        piece = pieces[number]
        rows = np.int64(piece[0])
        done = np.int64(0)
        while done < rows:
            count = min(rows - done, chunk)
            left = count
            for at in range(first, lines):
                line = program[at]
                what = line[0]
                out, a, b = base + np.uint64(line[1]), base + np.uint64(line[2]), base + np.uint64(line[3])
                if what < 32:
                    if what in (DIVIDE, TRUNCATE):
                        divisor = np.int64(get64(b, 0))
                        _divide(out, a, divisor, left)
                        if what == TRUNCATE:
                            _truncate(out, left, a, divisor)
                    else:
                        _words(what, out, a, b, line[4] != 0, left)
                elif what < 48:
                    _compare(what, out, a, b, line[4] != 0, left)
                elif what < 64:
                    failed |= _reals(what, out, a, b, left)
                elif what < 80:
                    if what == IS:
                        _is(out, a, line[3], left)
                    else:
                        _truths(what, out, a, b, base + np.uint64(line[4]), left)
                elif what < 96:
                    of = line[4]
                    if what <= CODE:
                        table, second, third = piece[of], np.uint64(0), np.uint64(0)
                    elif what >= SIDE_WORDS:
                        table, second, third = np.uint64(integers[of]), np.uint64(0), np.uint64(0)
                    else:
                        table, second = np.uint64(integers[of]), np.uint64(integers[of + 1])
                        third = np.uint64(integers[of + 2])
                    _look_up(what, out, a, b, base, table, second, third, left)
                elif what < 104:
                    if what <= READ_VALID:
                        _read(what, words, truths, base, line[1], spare, chosen, piece, line[2], done, count, left)
                    elif what == KEEP:
                        hidden = piece[1] if line[3] != 0 else np.uint64(0)
                        if hidden != np.uint64(0):
                            hidden += np.uint64(done)
                        came = left
                        left = _keep(words, truths, base, line[2], chosen, spare, hidden, left, left == count)
                        if line[4] != 0:
                            asked[line[4]] += came
                            asked[line[4] + 1] += left
                        if left == 0:
                            break
                    elif left == count:
                        if what == AGAIN:
                            for row in range(count):
                                put64(out, row, get64(a, row))
                        else:
                            for row in range(count):
                                put8(out, row, get8(a, row))
                    else:
                        _again(what, out, a, base + np.uint64(chosen), left)
                elif what == DENSE:
                    _dense(out, a, record, copy, left)
                elif what == FIND:
                    _find(base, line, starts, state, pool, ends, chain, key_words, left)
                elif what == ROWS:
                    _rows(out, np.uint64(8) + np.uint64(state[0]) * record, record, left)
                    state[0] += left
                elif what == MARK:
                    _mark(np.uint64(pool.ctypes.data), a, b, line[3] == 0, left)
                elif line[2] != 0:
                    _grouped(what, target + np.uint64(8 * line[4]), a, b, left)
                else:
                    _whole(what, target + np.uint64(8 * line[4]), b, left)
            done += count
    if copy != np.uint64(0):
        for at in range(sinks, lines):
            if program[at, 0] == MARK:
                continue
            for place in range(0, state.size, width):
                for part in range(COPIES):
                    of = np.int64(8) * (part * state.size + place + program[at, 4])
                    into = np.uint64(state.ctypes.data) + np.uint64(8 * (place + program[at, 4]))
                    _merge(program[at, 0], into, np.uint64(copies.ctypes.data) + np.uint64(of))
    words[0] = 0  # numba frees an array after its last use, and an address is none
    if copy != np.uint64(0):
        copies[0] = 0
    return np.int64(-1) if failed != 0 else np.int64(0)


@njit(nogil=True, cache=True)
def _merge(what: Any, target: Any, value: Any) -> None:
    """One accumulator's value into another."""
    _whole(SUM if what in (COUNT, COUNT_TRUTHS) else what, target, value, 1)
