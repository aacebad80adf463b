"""Groups as Arrow: their keys out of words, their aggregates out of accumulators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from ...base.types import Kind, Type
from ...storage.column_values import DTYPES, fixed_array
from .bounds import INT64_MIN
from .describe import FLOATS
from .packing import CONSTANT_TEXTS, JOINED_TEXTS, Packing
from .shape import SQUARES_UNIT, Answer, NotCovered, Pipeline

DECIMAL_LIMIT: Final = 10**38
MASK: Final = (1 << 64) - 1


class Groups:
    """All groups. ``words`` of the keys; by number of accumulator ``low`` (int64), with ``high`` (int64) for sums in
    may need two words, or ``reals``."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.words: list[np.ndarray] = []
        self.low: dict[int, np.ndarray] = {}
        self.high: dict[int, np.ndarray] = {}
        self.reals: dict[int, np.ndarray] = {}


def table_of(groups: Groups, pipeline: Pipeline, packing: Packing, arguments: Sequence[int]) -> pa.Table:
    """Columns "k0", "k1", ..., "a0", ... Raises NotCovered."""
    arrays: list[pa.Array] = []
    names: list[str] = []
    for number in range(len(pipeline.keys)):
        names.append(f"k{number}")
        arrays.append(_key(number, groups, pipeline, packing, arguments))
    for number, answer in enumerate(pipeline.answers):
        names.append(f"a{number}")
        arrays.append(_answer(answer, groups))
    return pa.Table.from_arrays(arrays, names=names)


def _key(number: int, groups: Groups, pipeline: Pipeline, packing: Packing, arguments: Sequence[int]) -> pa.Array:
    key, packed = pipeline.keys[number], packing.keys[number]
    there = None
    values = np.zeros(groups.count, np.int64)
    if packed.digit >= 0:
        digits = groups.words[packed.digit]
        if packed.stride > 1:
            digits = digits // packed.stride
        if packed.size * packed.stride < packing.places or len(groups.words) > 1:
            digits = digits % max(packed.size, 1)
        if packed.null >= 0 and key.table not in packing.of_null:
            there = digits != packed.null
            there = None if there.all() else there
        values = digits + packed.low
    if packed.whole >= 0:
        values = groups.words[packed.whole]
    table = JOINED_TEXTS + key.joined if key.joined is not None else key.table
    if key.texts:
        table = CONSTANT_TEXTS + number
    if table is not None:
        index = pa.array(values, mask=None if there is None else ~there)
        return packing.texts[table].take(index)
    if key.months:
        values = (values * key.months).astype("M8[M]").astype("M8[us]").view(np.int64)
    if key.bucket is not None:
        values = values * arguments[key.bucket[0]] + arguments[key.bucket[1]]
    if there is not None:
        values = np.where(there, values, 0)
    if key.type.kind in FLOATS:
        reals = np.ascontiguousarray(values).view(np.float64)
        return fixed_array(reals.astype(DTYPES[key.type.kind]), there, key.type)
    return _whole_array(values, there, key.type)


def _answer(answer: Answer, groups: Groups) -> pa.Array:
    counts = groups.low[answer.count]
    if answer.function == "count":
        return pa.array(counts)
    if answer.squares is not None:
        return _spreads(answer, answer.squares, groups)
    there = counts > 0
    valid = None if there.all() else there
    if answer.value in groups.reals:
        values = groups.reals[answer.value]
        if answer.function == "avg":
            values = values / np.maximum(counts, 1)
        if answer.function in ("sum", "avg") and np.isinf(values[there]).any():
            raise NotCovered("a sum is infinite")
        values = np.where(there, values, 0.0)
        return fixed_array(np.ascontiguousarray(values.astype(DTYPES[answer.type.kind])), valid, answer.type)
    low = groups.low[answer.value]
    if answer.function not in ("sum", "avg"):
        return _whole_array(np.where(there, low, 0), valid, answer.type)
    high = groups.high.get(answer.value)
    if high is None:
        if answer.function == "sum":
            return _whole_array(low, valid, answer.type)
        high = low >> 63
    if answer.function == "avg":
        return _averages(low, high, counts, answer, valid)
    if answer.type.kind is Kind.NUMERIC:
        return _wide_array(low, high, valid, answer.type)
    if ((low >> 63) != high).any():
        raise NotCovered("a sum is too large")
    return _whole_array(low, valid, answer.type)


def _spreads(answer: Answer, squares: tuple[int, int], groups: Groups) -> pa.Array:
    """Variances and standard deviations, (n * sum(x^2) - sum(x)^2) / (n * (n - 1)) or / (n * n), rounded once."""
    counts = groups.low[answer.count]
    least = 2 if answer.function.endswith("samp") else 1
    there = counts >= least
    count, total, *halves = (_exact(groups, number)[there] for number in (answer.count, answer.value, *squares))
    dividend = count * (halves[0] * SQUARES_UNIT + halves[1]) - total * total
    found = (dividend / (count * (count - (least - 1)) * 100**answer.scale)).astype(np.float64)
    values = np.zeros(len(counts), np.float64)
    values[there] = np.sqrt(found) if answer.function.startswith("stddev") else found
    return fixed_array(values, None if there.all() else there, answer.type)


def _exact(groups: Groups, number: int) -> np.ndarray:
    """An accumulator of integers as Python's."""
    low, high = groups.low[number], groups.high.get(number)
    return low.astype(object) if high is None else low.view(np.uint64).astype(object) + high.astype(object) * (1 << 64)


def _averages(
    low: np.ndarray, high: np.ndarray, counts: np.ndarray, answer: Answer, valid: np.ndarray | None
) -> pa.Array:
    """Quotients of exact sums, rounded half away from zero."""
    digits = (answer.type.scale or 0) - answer.scale
    fits = digits <= _DIGITS_MAX and not ((low >> 63) != high).any() and not (low == INT64_MIN).any()
    if fits and int(counts.max(initial=0)) < _COUNT_MAX:
        return fixed_array(_quotients(low, counts, digits), valid, answer.type)
    factor = 10**digits
    pairs = np.empty((len(low), 2), np.uint64)
    words = low.view(np.uint64)
    for place, (word, above, count) in enumerate(zip(words.tolist(), high.tolist(), counts.tolist(), strict=True)):
        dividend = ((above << 64) + word) * factor
        quotient = (2 * abs(dividend) + count) // (2 * count) if count else 0
        if quotient >= DECIMAL_LIMIT:
            raise NotCovered("an average has too many digits")
        quotient = -quotient if dividend < 0 else quotient
        pairs[place] = quotient & MASK, (quotient >> 64) & MASK
    return fixed_array(pairs, valid, answer.type)


_DIGITS_MAX: Final = 18
_STEP: Final = 9
_COUNT_MAX: Final = 1 << 33
"""Times 10^9 it is less than 2^63."""


def _quotients(sums: np.ndarray, counts: np.ndarray, digits: int) -> np.ndarray:
    """sums / counts with ``digits`` more digits as numbers of 128 bits, rounded half away from zero; 0 where there is
    no count: by long division, nine digits at a time.
    """
    counts = np.maximum(counts, 1)
    whole, rest = np.divmod(np.abs(sums), counts)
    more = np.zeros(len(sums), np.int64)
    for start in range(0, digits, _STEP):
        power = 10 ** min(_STEP, digits - start)
        next, rest = np.divmod(rest * power, counts)
        more = more * power + next
    more += 2 * rest >= counts
    pairs = np.empty((len(sums), 2), np.uint64)
    low, high = pairs[:, 0], pairs[:, 1]
    # whole * 10^digits: by halves of 32 bits
    low_half, upper, half = np.uint64(0xFFFFFFFF), whole.view(np.uint64) >> 32, np.uint64(32)
    lower, factor = whole.view(np.uint64) & low_half, 10**digits
    first, second = np.uint64(factor & 0xFFFFFFFF), np.uint64(factor >> 32)
    middle = ((lower * first) >> half) + ((upper * first) & low_half) + lower * second
    low[:] = (middle << half) | ((lower * first) & low_half)
    high[:] = upper * second + ((upper * first) >> half) + (middle >> half)
    low += more.view(np.uint64)
    high += low < more.view(np.uint64)
    negative = sums < 0
    low[negative] = ~low[negative] + np.uint64(1)
    high[negative] = ~high[negative] + (low[negative] == 0)
    return pairs


def _whole_array(values: np.ndarray, valid: np.ndarray | None, type: Type) -> pa.Array:
    """Integers as an Arrow array of an integer kind."""
    values = values.astype(np.int64, copy=False)
    if type.kind is Kind.NUMERIC:
        return _wide_array(values, values >> 63, valid, type)
    return fixed_array(np.ascontiguousarray(values.astype(DTYPES[type.kind])), valid, type)


def _wide_array(low: np.ndarray, high: np.ndarray, valid: np.ndarray | None, type: Type) -> pa.Array:
    pairs = np.empty((len(low), 2), np.uint64)
    pairs[:, 0], pairs[:, 1] = low.view(np.uint64), high.view(np.uint64)
    return fixed_array(pairs, valid, type)
