"""NUMERIC quotients: 128-bit integers by 32-bit ones, rounded half away from zero.

A magnitude stands as four digits of 32 bits, the lowest first; multiplied by a power of ten and divided by school's
method, a digit at a time. Naive twin: Decimal's (functions/operators.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


@njit(nogil=True, cache=True)
def divide(dividends: Any, divisors: Any, valid: Any, shift: Any, precision: Any, out: Any) -> Any:
    """``dividends`` * 10^``shift`` / ``divisors`` into ``out``: all uint64[n, 2], two's complement, low half first.

    Where ``valid`` (uint8[n], empty: all are) is 0 the result is 0. Whether all was done: no divisor is 0 or has
    more than 32 bits, and no product more than 127, and no quotient more than ``precision`` digits.
    """
    digits, most = np.zeros(4, np.uint64), np.zeros(4, np.uint64)
    most[0] = 1
    _times_ten_to(most, precision)
    for row in range(dividends.shape[0]):
        out[row, 0] = out[row, 1] = 0
        if valid.size and not valid[row]:
            continue
        minus = _magnitude(dividends[row, 0], dividends[row, 1], digits)
        low, high = divisors[row, 0], divisors[row, 1]
        if np.int64(high) < 0:
            minus = not minus
            low, high = ~low + np.uint64(1), ~high + np.uint64(low == 0)
        if high or low > _LOW or not low or not _times_ten_to(digits, shift):
            return False
        rest = np.uint64(0)
        for place in range(3, -1, -1):
            part = (rest << _32) | digits[place]
            digits[place] = part // low
            rest = part % low
        if rest + rest >= low:
            for place in range(4):
                digits[place] += np.uint64(1)
                if digits[place] <= _LOW:
                    break
                digits[place] = 0
        if not _less(digits, most):
            return False
        low, high = digits[0] | (digits[1] << _32), digits[2] | (digits[3] << _32)
        if minus:
            low, high = ~low + np.uint64(1), ~high + np.uint64(low == 0)
        out[row, 0], out[row, 1] = low, high
    return True


@njit(nogil=True, cache=True, inline="always")
def _magnitude(low: Any, high: Any, digits: Any) -> Any:
    """The digits of a number without its sign; whether it is below 0."""
    minus = np.int64(high) < 0
    if minus:
        low, high = ~low + np.uint64(1), ~high + np.uint64(low == 0)
    digits[0], digits[1] = low & _LOW, low >> _32
    digits[2], digits[3] = high & _LOW, high >> _32
    return minus


@njit(nogil=True, cache=True, inline="always")
def _times_ten_to(digits: Any, exponent: Any) -> Any:
    """Multiply; whether it has at most 127 bits."""
    while exponent > 0:
        step = min(exponent, 9)
        factor = np.uint64(1)
        for _ in range(step):
            factor *= np.uint64(10)
        carry = np.uint64(0)
        for place in range(4):
            carry += digits[place] * factor
            digits[place] = carry & _LOW
            carry >>= _32
        if carry or digits[3] >> np.uint64(31):
            return False
        exponent -= step
    return True


@njit(nogil=True, cache=True, inline="always")
def _less(digits: Any, most: Any) -> Any:
    for place in range(3, -1, -1):
        if digits[place] != most[place]:
            return digits[place] < most[place]
    return False
