"""Exact sums per group: integers of 64 to 320 bits in two's complement, kept as limbs of 64 bits (Neal, 2015).

    out       uint64[limbs, groups]   column l has bits 64 l to 64 l + 63 of each group's sum; all modulo 2^(64 limbs)
    groups    uint64[rows]            the group of each row
    weights   int8[rows]              1: the row's value is added, -1: it is taken away, 0: it is left out

A weight does not branch: 0 makes the value 0, and -1 inverts all limbs and puts 1 into the carry.

A double is an integer times a power of two. Where it is a whole number of the window's units and not too large, it is
shifted to its place and added; the places of other rows are left to the caller (engine/aggregates/rest.py), as it
depends on the value alone, and on nothing in ``out``, which way it goes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def carried(total: Any, word: Any, carry: Any) -> Any:
    """total + word + carry, and the carry out of it (0 or 1). All are uint64."""
    first = total + word
    second = first + carry
    return second, np.uint64(first < word) | np.uint64(second < carry)


@njit(nogil=True, cache=True)
def put3(out: Any, group: Any, flip: Any, low: Any, middle: Any, high: Any) -> None:
    """Add a number of three words, or take it away where ``flip`` is ~0 instead of 0."""
    out[0, group], carry = carried(out[0, group], low ^ flip, flip & np.uint64(1))
    out[1, group], carry = carried(out[1, group], middle ^ flip, carry)
    out[2, group] += (high ^ flip) + carry


@njit(nogil=True, cache=True)
def put5(out: Any, group: Any, flip: Any, word0: Any, word1: Any, word2: Any, word3: Any, word4: Any) -> None:
    """As ``put3``, of five words."""
    out[0, group], carry = carried(out[0, group], word0 ^ flip, flip & np.uint64(1))
    out[1, group], carry = carried(out[1, group], word1 ^ flip, carry)
    out[2, group], carry = carried(out[2, group], word2 ^ flip, carry)
    out[3, group], carry = carried(out[3, group], word3 ^ flip, carry)
    out[4, group] += (word4 ^ flip) + carry


@njit(nogil=True, cache=True)
def product(one: Any, other: Any) -> Any:
    """The low and the high word of the product of two uint64, by halves of 32 bits."""
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    low, high = one & mask, one >> half
    other_low, other_high = other & mask, other >> half
    across = low * other_high
    middle = ((low * other_low) >> half) + (across & mask) + high * other_low
    return one * other, high * other_high + (across >> half) + (middle >> half)


@njit(nogil=True, cache=True)
def placed(bits: Any, first: Any, places: Any) -> Any:
    """The mantissa of a double (its bits as int64), and the place of its last bit in the window, or -1 if it has none.

    ``first``: the exponent, as it stands in the bits, of a double whose last bit is the unit. ``places``: for how many
    exponents from there on a double is in the window, at least one. Zero has the mantissa 0.
    """
    mantissa = (np.uint64(bits) & np.uint64(0xFFFFFFFFFFFFF)) | np.uint64(0x10000000000000)
    place = ((bits >> 52) & 2047) - first
    if 0 <= place < places:
        return mantissa, place
    if np.uint64(bits) << np.uint64(1) == np.uint64(0):
        return np.uint64(0), np.int64(0)
    if -53 < place < 0:
        below = np.uint64(-place)
        if mantissa & ((np.uint64(1) << below) - np.uint64(1)) == np.uint64(0):
            return mantissa >> below, np.int64(0)
    return mantissa, np.int64(-1)


@njit(nogil=True, cache=True)
def add_counts(groups: Any, weights: Any, out: Any) -> None:
    """Count rows in one limb."""
    for row in range(groups.size):
        out[0, groups[row]] += np.uint64(np.int64(weights[row]))


@njit(nogil=True, cache=True)
def add_integers(groups: Any, values: Any, weights: Any, out: Any) -> None:
    """Sum int64 in two limbs."""
    for row in range(groups.size):
        group, weight = groups[row], np.int64(weights[row])
        value, flip = values[row] & -(weight & 1), weight >> 63
        out[0, group], carry = carried(out[0, group], np.uint64(value ^ flip), np.uint64(flip & 1))
        out[1, group] += np.uint64((value >> 63) ^ flip) + carry


@njit(nogil=True, cache=True)
def add_integer_squares(groups: Any, values: Any, weights: Any, out: Any) -> None:
    """Sum the squares of int64 in three limbs."""
    for row in range(groups.size):
        weight = np.int64(weights[row])
        value = values[row] & -(weight & 1)
        sign = value >> 63
        size = np.uint64((value ^ sign) - sign)
        low, high = product(size, size)
        put3(out, groups[row], np.uint64(weight >> 63), low, high, np.uint64(0))


@njit(nogil=True, cache=True)
def add_numerics(groups: Any, values: Any, weights: Any, out: Any) -> None:
    """Sum int128, as uint64[rows, 2], in three limbs."""
    for row in range(groups.size):
        weight = np.int64(weights[row])
        keep = np.uint64(-(weight & 1))
        low, high = values[row, 0] & keep, values[row, 1] & keep
        put3(out, groups[row], np.uint64(weight >> 63), low, high, np.uint64(np.int64(high) >> 63))


@njit(nogil=True, cache=True)
def add_numeric_squares(groups: Any, values: Any, weights: Any, out: Any) -> None:
    """Sum the squares of int128 above -2^127, as uint64[rows, 2], in five limbs."""
    one = np.uint64(1)
    for row in range(groups.size):
        weight = np.int64(weights[row])
        keep = np.uint64(-(weight & 1))
        low, high = values[row, 0] & keep, values[row, 1] & keep
        sign = np.uint64(np.int64(high) >> 63)
        low = (low ^ sign) + (sign & one)
        high = (high ^ sign) + np.uint64(low < (sign & one))
        # (high 2^64 + low)^2; high is below 2^63, so that twice the mixed product has no more than two words
        word0, word1 = product(low, low)
        mixed_low, mixed_high = product(low, high)
        word2, word3 = product(high, high)
        word1, carry = carried(word1, mixed_low << one, np.uint64(0))
        word2, carry = carried(word2, (mixed_high << one) | (mixed_low >> np.uint64(63)), carry)
        put5(out, groups[row], np.uint64(weight >> 63), word0, word1, word2, word3 + carry, np.uint64(0))


@njit(nogil=True, cache=True)
def add_floats(groups: Any, values: Any, weights: Any, first: Any, places: Any, out: Any, outside: Any) -> Any:
    """Sum doubles (their bits, int64) in three limbs; ``first`` and ``places`` are for ``placed``, at most 128 places.

    The rows with a weight whose values are not in the window into ``outside`` (int64); returns how many.
    """
    found = 0
    for row in range(groups.size):
        weight, bits = np.int64(weights[row]), values[row]
        mantissa, place = placed(bits, first, places)
        if place < 0:
            outside[found] = row
            found += weight != 0
            continue
        mantissa &= np.uint64(-(weight & 1))
        shift, upper = np.uint64(place & 63), np.uint64(-(place >> 6))
        low = mantissa << shift
        high = (mantissa >> np.uint64(1)) >> (np.uint64(63) - shift)
        flip = np.uint64((bits ^ weight) >> 63)
        put3(out, groups[row], flip, low & ~upper, (low & upper) | (high & ~upper), high & upper)
    return found


@njit(nogil=True, cache=True)
def add_float_squares(groups: Any, values: Any, weights: Any, first: Any, places: Any, out: Any, outside: Any) -> Any:
    """As ``add_floats``, of their squares, in five limbs of units that are squares too; at most 96 places."""
    found = 0
    for row in range(groups.size):
        weight = np.int64(weights[row])
        mantissa, place = placed(values[row], first, places)
        if place < 0:
            outside[found] = row
            found += weight != 0
            continue
        mantissa &= np.uint64(-(weight & 1))
        low, high = product(mantissa, mantissa)
        word, shift = place >> 5, np.uint64((2 * place) & 63)
        back = np.uint64(63) - shift
        high, top = (high << shift) | ((low >> np.uint64(1)) >> back), (high >> np.uint64(1)) >> back
        low <<= shift
        at0, at1, at2 = np.uint64(-(word == 0)), np.uint64(-(word == 1)), np.uint64(-(word == 2))
        put5(
            out,
            groups[row],
            np.uint64(weight >> 63),
            low & at0,
            (high & at0) | (low & at1),
            (top & at0) | (high & at1) | (low & at2),
            (top & at1) | (high & at2),
            top & at2,
        )
    return found


@njit(nogil=True, cache=True)
def fold_limbs(groups: Any, states: Any, out: Any) -> None:
    """Add the sum in each column of ``states`` (uint64[limbs, rows]) to that of its group."""
    for row in range(groups.size):
        group, carry = groups[row], np.uint64(0)
        for limb in range(states.shape[0]):
            out[limb, group], carry = carried(out[limb, group], states[limb, row], carry)


@njit(nogil=True, cache=True)
def round_limbs(states: Any, unit: Any, out: Any) -> None:
    """Each sum of units of 2^-``unit`` as the nearest double (float64), of two the even one; no result is denormal."""
    limbs = states.shape[0]
    words = np.empty(limbs, np.uint64)
    one = np.uint64(1)
    for row in range(out.size):
        flip = np.uint64(np.int64(states[limbs - 1, row]) >> 63)
        carry, top, below = flip & one, -1, np.uint64(0)
        for limb in range(limbs):
            words[limb], carry = carried(states[limb, row] ^ flip, np.uint64(0), carry)
            if words[limb] != np.uint64(0):
                top = limb
        if top < 0:
            out[row] = 0.0
            continue
        # The 64 bits from the first one on; whether there are any behind them goes into the last, which is far behind
        # where a double ends. The mask keeps the first one, and a double from being rounded up to the next power.
        length = math.frexp(np.float64(words[top] & ~(words[top] >> one)))[1]
        shift = np.uint64(64 - length)
        bits = words[top] << shift
        if top > 0:
            bits |= (words[top - 1] >> one) >> np.uint64(length - 1)
            below = words[top - 1] << shift
            for limb in range(top - 1):
                below |= words[limb]
        bits |= np.uint64(below != np.uint64(0))
        value = math.ldexp(np.float64(bits), 64 * top + length - 64 - unit)
        out[row] = -value if flip != np.uint64(0) else value
