"""What is kept of the rows of a group for an aggregate: counts and exact sums that rows can be taken out of again.

The *state* of an aggregate is a few plain columns of the view's row. States form an abelian group: rows that come are
added, rows that go are taken away (``partial`` with a sign), states of the same group are added (``add``, ``fold``).
A state depends on nothing but the multiset of the values, whatever the order and however they came in batches, down to
its bytes; taken away to the last, it is that of no rows at all. ``min``, ``max`` and ``DISTINCT`` are another matter:
they cannot be kept in bounded room.

    sort               sum of                     limbs   bytes per group            holds
    COUNT              1                              1   8                          2^63 rows
    INTEGER            SMALLINT, INTEGER, BIGINT      2   16                         2^63 rows
    NUMERIC            unscaled values, 38 digits     3   24                         2^63 rows
    FLOAT              REAL, DOUBLE PRECISION         3   24, and the rest if any    2^44 rows (see below)
    INTEGER_SQUARES    squares of the same            3   24                         2^63 rows
    NUMERIC_SQUARES    squares of the same            5   40                         2^63 rows
    FLOAT_SQUARES      exact squares of the same      5   40, and the rest if any    2^44 rows

A sum is an integer in two's complement in limbs, BIGINT columns, the lowest first. None overflows: what does not fit in
the type of the answer is known when the answer is made (``wide``, ``floats``), and until then rows may go again.

**Doubles.** A sum of doubles is kept exactly, in fixed point, so that it has neither order nor error: Kulisch's long
accumulator, of late in software as Neal's superaccumulators ("Fast exact summation using small and large
superaccumulators", 2015) and, with bins, as Demmel and Nguyen's reproducible summation. For all doubles that takes 2098
bits and room for carries, 272 bytes a group, nearly all of them zero, for a sum whose values lie in a small part of
that range. So here is only a *window* of it, where almost all values of almost all columns lie: 192 bits in units of
2^-96 take every double that is a multiple of 2^-96 below 2^51 (any with all 53 bits from 2.8e-14 on; microseconds
since 1970; integers up to 2.2e15), 2^44 times over. Of squares, whose mantissas have 106 bits: 320 bits in units of
2^-176 take the doubles that are multiples of 2^-88 below 2^49 (with all bits from 7.2e-12 on). Other finite doubles,
NaN and infinities go to the *rest* (rest.py), a BYTEA that is NULL while it is zero. Which way a double goes is decided
by its value alone, so it goes out the way it came in. -0.0 is 0.

Cost, in batches of 50,000 rows with any number of groups: 1 to 2.5 ns a row to count, 2 to 3.5 to sum integers, 4 to 6
to sum doubles (kernels/accumulate.py); a value that goes to the rest 1 to 2 µs. And 6 to 20 µs a call.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ...base.errors import Internal, Invalid
from ...base.types import BIGINT, BYTEA, Type, numeric
from ...storage.column_values import fixed_array, fixed_of, frozen, validity_of
from ..kernels.accumulate import (
    add_counts,
    add_float_squares,
    add_floats,
    add_integer_squares,
    add_integers,
    add_numeric_squares,
    add_numerics,
    fold_limbs,
    round_limbs,
)
from . import rest
from .rest import Rest


class Sort(enum.Enum):
    """What is summed, and how wide; the value stands in catalogs."""

    COUNT = "count"
    INTEGER = "integer"
    NUMERIC = "numeric"
    FLOAT = "float"
    INTEGER_SQUARES = "integer squares"
    NUMERIC_SQUARES = "numeric squares"
    FLOAT_SQUARES = "float squares"

    __hash__ = object.__hash__  # members are singletons; Enum's own hash is a Python function


SQUARES: Final = {
    Sort.INTEGER: Sort.INTEGER_SQUARES,
    Sort.NUMERIC: Sort.NUMERIC_SQUARES,
    Sort.FLOAT: Sort.FLOAT_SQUARES,
}
"""The sort of the sum of squares of the same values."""

_LIMBS: Final = {
    Sort.COUNT: 1,
    Sort.INTEGER: 2,
    Sort.NUMERIC: 3,
    Sort.FLOAT: 3,
    Sort.INTEGER_SQUARES: 3,
    Sort.NUMERIC_SQUARES: 5,
    Sort.FLOAT_SQUARES: 5,
}
_WINDOWS: Final = {Sort.FLOAT: (96, 51), Sort.FLOAT_SQUARES: (88, 49)}
"""(u, b): the doubles in the window are the multiples of 2^-u below 2^b; of squares the unit is the square of that."""

_SQUARED_UNIT: Final = 1 << 2 * _WINDOWS[Sort.FLOAT][0]
_FINER: Final = 2 * (_WINDOWS[Sort.FLOAT][0] - _WINDOWS[Sort.FLOAT_SQUARES][0])
"""The square of a sum of doubles counts units of 1 / _SQUARED_UNIT, 2^_FINER of which are one of the sum of squares."""

_KERNELS: Final[dict[Sort, Any]] = {
    Sort.INTEGER: add_integers,
    Sort.NUMERIC: add_numerics,
    Sort.FLOAT: add_floats,
    Sort.INTEGER_SQUARES: add_integer_squares,
    Sort.NUMERIC_SQUARES: add_numeric_squares,
    Sort.FLOAT_SQUARES: add_float_squares,
}
_EXPONENT_BIAS: Final = 1023
_MANTISSA_BITS: Final = 53
_WORD: Final = (1 << 64) - 1
_DECIMAL_LIMIT: Final = 10**38
_INT64: Final = pa.int64()
_NO_VALUES: Final = frozen(np.empty(0, np.int64))


def state_types(sort: Sort) -> tuple[Type, ...]:
    """The types of the columns of a state. All but BYTEA, the last of floats, are NOT NULL."""
    return (*(BIGINT for _ in range(_LIMBS[sort])), *((BYTEA,) if sort in _WINDOWS else ()))


def partial(
    sort: Sort,
    *,
    groups: np.ndarray,
    count: int,
    values: pa.Array | None,
    kept: np.ndarray | None,
    signs: np.ndarray | int,
) -> list[pa.Array]:
    """The states of ``count`` groups: of rows that come (sign 1) and go (-1).

    ``groups`` (int64) has the group of each row, below ``count``, which is not checked. NULL ``values`` count for
    nothing, nor do rows that are not ``kept`` (bool); COUNT takes values of any type, or None to count the rows.
    ``signs`` are int8, or one for all rows.
    """
    assert values is None or len(values) == len(groups), f"{len(values)} values in {len(groups)} rows"
    places = _read_only(groups, np.int64).view(np.uint64)
    weights = _weights(len(groups), signs, kept, None if values is None else validity_of(values))
    limbs = np.zeros((_LIMBS[sort], count), np.uint64)
    if sort is Sort.COUNT:
        add_counts(places, weights, limbs)
        return _columns(limbs)
    assert values is not None, f"{sort} is of values"
    numbers = _numbers(sort, values)
    if sort not in _WINDOWS:
        _KERNELS[sort](places, numbers, weights, limbs)
        return _columns(limbs)
    unit, bound = _WINDOWS[sort]
    first = _EXPONENT_BIAS + _MANTISSA_BITS - 1 - unit
    outside = np.empty(len(groups), np.int64)
    found = _KERNELS[sort](places, numbers, weights, first, _EXPONENT_BIAS + bound - first, limbs, outside)
    rows = outside[:found]
    squared = sort is Sort.FLOAT_SQUARES
    rests = rest.of_values(groups[rows], numbers[rows], weights[rows], squared=squared, count=count)
    return [*_columns(limbs), rests]


def add(sort: Sort, left: Sequence[pa.Array], right: Sequence[pa.Array]) -> list[pa.Array]:
    """The sums of two states, row by row."""
    limbs, other = _limbs(sort, left), _limbs(sort, right)
    assert limbs.shape == other.shape, f"{limbs.shape[1]} and {other.shape[1]} states"
    count = limbs.shape[1]
    rows = np.arange(count)
    fold_limbs(_read_only(rows, np.int64).view(np.uint64), frozen(other), limbs)
    if sort not in _WINDOWS:
        return _columns(limbs)
    return [*_columns(limbs), rest.folded([(rows, left[-1]), (rows, right[-1])], count=count)]


def fold(sort: Sort, *, groups: np.ndarray, count: int, states: Sequence[pa.Array]) -> list[pa.Array]:
    """The sums of the states of each of ``count`` groups; ``groups`` (int64) has the group of each state."""
    given = _limbs(sort, states)
    assert given.shape[1] == len(groups), f"{given.shape[1]} states in {len(groups)} rows"
    limbs = np.zeros((len(given), count), np.uint64)
    fold_limbs(_read_only(groups, np.int64).view(np.uint64), frozen(given), limbs)
    if sort not in _WINDOWS:
        return _columns(limbs)
    return [*_columns(limbs), rest.folded([(groups, states[-1])], count=count)]


def is_zero(sort: Sort, states: Sequence[pa.Array]) -> np.ndarray:
    """Whether each state is that of no rows (bool). That of values whose sum is zero is, too: rows are for COUNT."""
    zero: np.ndarray = np.bitwise_or.reduce(_limbs(sort, states), axis=0) == 0
    if sort in _WINDOWS:
        zero[rest.places_of(states[-1])] = False
    return zero


def integers(sort: Sort, states: Sequence[pa.Array]) -> pa.Array:
    """The sums as decimal128(38, 0), but for doubles. Raises Invalid (22003) where one has more than 38 digits."""
    assert sort not in _WINDOWS, f"{sort} is not of integers"
    values, beyond = wide(states)
    if beyond.any():
        raise Invalid("numeric field overflow: a sum has more than 38 digits", sqlstate="22003")
    return values


def wide(states: Sequence[pa.Array]) -> tuple[pa.Array, np.ndarray]:
    """The sums as decimal128(38, 0), but for doubles, and which of them (bool) have more than 38 digits: they are 0."""
    limbs = np.stack([_plain(column) for column in states])
    low, high = limbs[0].view(np.uint64), limbs[min(1, len(limbs) - 1)]
    if len(limbs) == 1:
        high = limbs[0] >> 63
    above, least = _DECIMAL_LIMIT, -_DECIMAL_LIMIT
    beyond = (high > above >> 64) | ((high == above >> 64) & (low >= np.uint64(above & _WORD)))
    beyond |= (high < least >> 64) | ((high == least >> 64) & (low <= np.uint64(least & _WORD)))
    for limb in limbs[2:]:
        beyond |= limb != high >> 63
    pairs = np.empty((limbs.shape[1], 2), np.uint64)
    pairs[:, 0], pairs[:, 1] = np.where(beyond, np.uint64(0), low), np.where(beyond, 0, high).view(np.uint64)
    return fixed_array(pairs, None, numeric(38, 0)), beyond


def floats(states: Sequence[pa.Array], *, sort: Sort = Sort.FLOAT) -> tuple[np.ndarray, np.ndarray]:
    """The sums of doubles, or of their squares: the double (float64) that is nearest to the exact sum.

    NaN where there is one, or infinities of both signs; else infinity where there is one. The second array (bool) flags
    what is infinite although no value is: PostgreSQL refuses such a sum, "value out of range: overflow" (22003).
    """
    limbs = frozen(_limbs(sort, states))
    sums, overflowed = np.empty(limbs.shape[1]), np.zeros(limbs.shape[1], np.bool_)
    round_limbs(limbs, _unit(sort), sums)
    for row in rest.places_of(states[-1]).tolist():
        sums[row], overflowed[row] = _rounded(_rest(states, row), _whole(limbs, row), sort)
    return sums, overflowed


def float_of(whole: int, rests: bytes | None, *, sort: Sort = Sort.FLOAT) -> tuple[float, bool]:
    """The same of one sum: the number that the limbs are, and the rest."""
    if rests is None:
        return whole / (1 << _unit(sort)), False
    part = Rest()
    part.add(rests)
    return _rounded(part, whole, sort)


def exact(sort: Sort, states: Sequence[pa.Array]) -> list[int | None]:
    """The sums as Python integers; of doubles in units of 2^-1074 (of squares 2^-2148), None with NaN or infinity."""
    limbs = _limbs(sort, states)
    sums = [_whole(limbs, row) for row in range(limbs.shape[1])]
    if sort not in _WINDOWS:
        return [*sums]
    return [_finite(whole, rests.as_py(), sort) for whole, rests in zip(sums, states[-1], strict=True)]


def variance(count: int, total: int, squares: int, *, freedom: int, unit: int = 1) -> float:
    """(n Σx² - (Σx)²) / (n (n - freedom)), rounded once: sums rounded before may have no digit of the difference left.

    The sums are integers, ``squares`` in units of 1 / ``unit``, ``total`` in units of the root of that. Raises
    OverflowError.
    """
    return (count * squares - total * total) / (count * (count - freedom) * unit)


def float_variance(
    count: int, total: int, rests: bytes | None, squares: int, rests_of_squares: bytes | None, *, freedom: int
) -> float:
    """The same of doubles: of the numbers that the limbs of both sums are, and the rests. NaN with NaN or infinity."""
    if rests is None and rests_of_squares is None:
        return variance(count, total, squares << _FINER, freedom=freedom, unit=_SQUARED_UNIT)
    exact_total = _finite(total, rests, Sort.FLOAT)
    exact_squares = _finite(squares, rests_of_squares, Sort.FLOAT_SQUARES)
    if exact_total is None or exact_squares is None:
        return np.nan
    return variance(count, exact_total, exact_squares, freedom=freedom, unit=1 << _rest_unit(Sort.FLOAT_SQUARES))


def _weights(
    count: int, signs: np.ndarray | int, kept: np.ndarray | None, valid: np.ndarray | None
) -> np.ndarray:  # fmt: skip
    """How often each row counts: its sign, or 0 (int8)."""
    weights = np.full(count, signs, np.int8) if isinstance(signs, int) else _read_only(signs, np.int8)
    for part in (kept, valid):
        if part is not None:
            weights = weights * part.view(np.int8)
    assert len(weights) == count, f"{len(weights)} signs of {count} rows"
    return frozen(weights)


def _numbers(sort: Sort, values: pa.Array) -> np.ndarray:
    """The values as their kernel takes them: int64, the bits of doubles as int64, or uint64[n, 2]."""
    arrow = values.type
    if sort in _WINDOWS and pa.types.is_floating(arrow):
        return _read_only(_plain(values), np.float64).view(np.int64)
    if sort in (Sort.NUMERIC, Sort.NUMERIC_SQUARES) and pa.types.is_decimal(arrow):
        narrow = arrow.byte_width < 16
        values = values.cast(pa.decimal128(arrow.precision, arrow.scale)) if narrow else values
        return fixed_of(values, numeric()).values
    if sort in (Sort.INTEGER, Sort.INTEGER_SQUARES) and pa.types.is_signed_integer(arrow):
        return _read_only(_plain(values), np.int64)
    raise Internal(f"values of {arrow} stand where a sum of sort {sort.value} is kept")


def _plain(values: pa.Array) -> np.ndarray:
    """The values of an array of a numeric type, with anything where one is NULL."""
    dtype = np.dtype(values.type.to_pandas_dtype())
    data = values.buffers()[1]
    return (
        np.frombuffer(data, dtype, len(values), values.offset * dtype.itemsize) if len(values) else np.empty(0, dtype)
    )


def _read_only(array: np.ndarray, dtype: Any) -> np.ndarray:
    """A read-only view, or a copy where the array is not of that type or has gaps."""
    return frozen(np.ascontiguousarray(array, dtype).view())


def _limbs(sort: Sort, states: Sequence[pa.Array]) -> np.ndarray:
    """A copy of a state's limbs, uint64[limbs, n]."""
    count = _LIMBS[sort]
    assert len(states) == count + (sort in _WINDOWS), f"{len(states)} columns of {sort}"
    limbs = np.empty((count, len(states[0])), np.int64)
    for limb, column in enumerate(states[:count]):
        limbs[limb] = _plain(column)
    return limbs.view(np.uint64)


def _columns(limbs: np.ndarray) -> list[pa.Array]:
    """The columns of limbs, views of them. One buffer and no detours: small commits have few rows and many columns."""
    count, buffer = limbs.shape[1], pa.py_buffer(limbs)
    starts = range(0, limbs.size, count) if count else [0] * len(limbs)
    return [pa.Array.from_buffers(_INT64, count, [None, buffer], 0, start) for start in starts]


def _unit(sort: Sort) -> int:
    """The last bit of a window is 2^-this."""
    return _WINDOWS[sort][0] * (2 if sort is Sort.FLOAT_SQUARES else 1)


def _rest_unit(sort: Sort) -> int:
    return rest.UNIT * (2 if sort is Sort.FLOAT_SQUARES else 1)


def _whole(limbs: np.ndarray, row: int) -> int:
    """One sum as an integer."""
    return int.from_bytes(limbs[:, row].tobytes(), "little", signed=True)


def _units(whole: int, sort: Sort) -> int:
    """A window's sum in units of the rest."""
    return whole << (_rest_unit(sort) - _unit(sort))


def _finite(whole: int, rests: bytes | None, sort: Sort) -> int | None:
    """The sum of a window and a rest in units of the rest, None with NaN or infinity."""
    units = _units(whole, sort)
    if rests is None:
        return units
    part = Rest()
    part.add(rests)
    return None if part.nans or part.above or part.below else units + part.units


def _rest(states: Sequence[pa.Array], row: int) -> Rest:
    found = Rest()
    found.add(states[-1][row].as_py())
    return found


def _rounded(part: Rest, whole: int, sort: Sort) -> tuple[float, bool]:
    """The sum of a window and a rest, and whether it is infinite although no value is."""
    if part.nans or (part.above and part.below):
        return np.nan, False
    if part.above or part.below:
        return (np.inf if part.above else -np.inf), False
    units = _units(whole, sort) + part.units
    try:
        return units / (1 << _rest_unit(sort)), False
    except OverflowError:
        return (np.inf if units > 0 else -np.inf), True
