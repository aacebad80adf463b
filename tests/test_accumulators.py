"""Accumulators of aggregates, against Python's integers and fractions: exact, in any order, and back to zero."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.base import types
from weftdb.base.errors import Internal, Invalid
from weftdb.engine.aggregates import accumulators, rest
from weftdb.engine.aggregates.accumulators import (
    SQUARES,
    Sort,
    add,
    exact,
    floats,
    fold,
    integers,
    is_zero,
    partial,
    wide,
)
from weftdb.engine.expression.functions import resolve
from weftdb.engine.kernels import accumulate, warm
from weftdb.storage.column_values import fixed_array, frozen

INT64 = (-(1 << 63), -(1 << 63) + 1, -(1 << 32), -1, 0, 1, (1 << 32) - 1, 1 << 32, (1 << 63) - 1)
DIGITS = 10**38 - 1
REALS = (
    *(0.0, -0.0, 1.0, -1.5, 0.1, 1e-13, 2.0**-96, 2.0**-97, -(2.0**51), math.nextafter(2.0**51, 0.0), 1e15),
    *(2.0**-88, 2.0**-89, 2.0**49, math.nextafter(2.0**49, 0.0), 3 * 2.0**-97, 1 + 2.0**-52, 2.0**-44 * (1 + 2.0**-52)),
    *(5e-324, -2.5e-320, 2.2250738585072014e-308, 1.7976931348623157e308, -1e308, 1e200, 1e100, 1e-200),
)
SPECIAL = (math.nan, math.inf, -math.inf)
FLOATS = (Sort.FLOAT, Sort.FLOAT_SQUARES)
UNITS = {Sort.FLOAT: 1074, Sort.FLOAT_SQUARES: 2148}

integers64 = st.sampled_from(INT64) | st.integers(-(1 << 63), (1 << 63) - 1)
CARRIES = 80348363835238170956151756400515929467  # its square carries into the last of four words
unscaled = st.sampled_from((-DIGITS, -DIGITS + 1, -1, 0, 1, 1 << 64, -(1 << 64), DIGITS, CARRIES)) | st.integers(
    -DIGITS, DIGITS
)
finite = st.sampled_from(REALS) | st.floats(allow_nan=False, allow_infinity=False) | st.floats(-1e6, 1e6)
any_float = finite | st.sampled_from(SPECIAL)


def decimals(values: Sequence[int | None]) -> pa.Array:
    """Unscaled integers as NUMERIC(38, 6)."""
    pairs = np.array([[(value or 0) >> shift & (1 << 64) - 1 for shift in (0, 64)] for value in values], np.uint64)
    valid = np.array([value is not None for value in values], np.uint8)
    return fixed_array(pairs.reshape(-1, 2), valid, types.numeric(38, 6))


ARRAYS: dict[Sort, Callable[[Sequence[Any]], pa.Array]] = {
    Sort.INTEGER: lambda values: pa.array(values, pa.int64()),
    Sort.NUMERIC: decimals,
    Sort.FLOAT: lambda values: pa.array(values, pa.float64()),
}
ARRAYS |= {SQUARES[sort]: make for sort, make in ARRAYS.items()}
ELEMENTS = {Sort.INTEGER: integers64, Sort.NUMERIC: unscaled, Sort.FLOAT: any_float}
ELEMENTS |= {SQUARES[sort]: elements for sort, elements in ELEMENTS.items()}
ARRAYS[Sort.COUNT], ELEMENTS[Sort.COUNT] = ARRAYS[Sort.INTEGER], integers64


def whole(sort: Sort, value: Any) -> int:
    """What a value adds, in the unit of ``exact``."""
    if sort is Sort.COUNT:
        return 1
    number = Fraction(value) ** (2 if sort in SQUARES.values() else 1) * (1 << UNITS.get(sort, 0))
    assert number.denominator == 1
    return int(number)


def wanted(sort: Sort, values: Sequence[tuple[Any, int]]) -> int | None:
    """The sum of values with signs as ``exact`` gives it."""
    counts = dict.fromkeys(("nan", "inf", "-inf"), 0)
    total = 0
    for value, sign in values:
        if value is None:
            continue
        if sort is not Sort.COUNT and isinstance(value, float) and not math.isfinite(value):
            counts[str(abs(value) if sort is Sort.FLOAT_SQUARES else value)] += sign
        else:
            total += sign * whole(sort, value)
    return None if any(counts.values()) else total


def copies(states: Sequence[pa.Array]) -> list[list[Any]]:
    return [column.to_pylist() for column in states]


def of(sort: Sort, values: Sequence[Any], signs: Any = 1, **given: Any) -> list[pa.Array]:
    """The state of one group."""
    groups = np.zeros(len(values), np.int64)
    arguments = {"groups": groups, "count": 1, "values": ARRAYS[sort](values), "kept": None, "signs": signs} | given
    return partial(sort, **arguments)


# The kernels, each with its twin.


def signed(words: Sequence[int]) -> int:
    number = sum(int(word) << (64 * place) for place, word in enumerate(words))
    return number - (1 << (64 * len(words))) if number >> (64 * len(words) - 1) else number


def naive_sums(groups: Any, addends: Sequence[int], weights: Any, out: np.ndarray) -> None:
    """The twin of all that add: ``addends`` are what the values are."""
    for group, addend, weight in zip(groups.tolist(), addends, weights.tolist(), strict=True):
        total = signed(out[:, group].tolist()) + addend * weight
        out[:, group] = [total >> (64 * limb) & (1 << 64) - 1 for limb in range(len(out))]


def naive_place(value: float, unit: int, bound: int) -> int | None:
    """The value in units of 2^-unit, if it is in the window."""
    if not math.isfinite(value) or abs(value) >= 2.0**bound:
        return None
    number = Fraction(value) * (1 << unit)
    return int(number) if number.denominator == 1 else None


def rows_of(elements: Any) -> Any:
    return st.lists(st.tuples(st.integers(0, 3), elements, st.sampled_from((-1, 0, 1))), max_size=40)


def inputs(rows: Sequence[tuple[int, Any, int]]) -> tuple[np.ndarray, list[Any], np.ndarray]:
    groups = frozen(np.array([row[0] for row in rows], np.uint64))
    return groups, [row[1] for row in rows], frozen(np.array([row[2] for row in rows], np.int8))


def start(limbs: int, seed: int) -> np.ndarray:
    """Sums of four groups to begin with, such that carries go all the way."""
    numbers = random.Random(seed)
    words = (0, 1, (1 << 64) - 1, 1 << 63, (1 << 63) - 1, numbers.getrandbits(64))
    return np.array([[numbers.choice(words) for _ in range(4)] for _ in range(limbs)], np.uint64)


@settings(deadline=None)
@given(rows_of(integers64), st.integers(0, 1000))
def test_kernels_of_integers_are_their_twins(rows: list[tuple[int, int, int]], seed: int) -> None:
    groups, values, weights = inputs(rows)
    given = frozen(np.array(values, np.int64))
    kernels = ((accumulate.add_integers, 2, values), (accumulate.add_integer_squares, 3, [x * x for x in values]))
    for kernel, limbs, addends in kernels:
        out, twin = start(limbs, seed), start(limbs, seed)
        kernel(groups, given, weights, out)
        naive_sums(groups, addends, weights, twin)
        assert out.tolist() == twin.tolist()
    out, twin = start(1, seed), start(1, seed)
    accumulate.add_counts(groups, weights, out)
    naive_sums(groups, [1] * len(rows), weights, twin)
    assert out.tolist() == twin.tolist()


@settings(deadline=None)
@given(rows_of(unscaled), st.integers(0, 1000))
def test_kernels_of_numerics_are_their_twins(rows: list[tuple[int, int, int]], seed: int) -> None:
    groups, values, weights = inputs(rows)
    words = [[value >> shift & (1 << 64) - 1 for shift in (0, 64)] for value in values]
    given = frozen(np.array(words, np.uint64).reshape(-1, 2))
    kernels = ((accumulate.add_numerics, 3, values), (accumulate.add_numeric_squares, 5, [x * x for x in values]))
    for kernel, limbs, addends in kernels:
        out, twin = start(limbs, seed), start(limbs, seed)
        kernel(groups, given, weights, out)
        naive_sums(groups, addends, weights, twin)
        assert out.tolist() == twin.tolist()


@settings(deadline=None)
@given(rows_of(any_float), st.integers(0, 1000), st.sampled_from(((96, 51), (88, 49), (3, 51), (40, 35))))
def test_kernels_of_doubles_are_their_twins(
    rows: list[tuple[int, float, int]], seed: int, window: tuple[int, int]
) -> None:
    groups, values, weights = inputs(rows)
    given = frozen(np.array(values, np.float64).view(np.int64))
    unit, bound = window
    first = 1075 - unit
    placed = [naive_place(value, unit, bound) for value in values]
    kernels = (
        (accumulate.add_floats, 3, [x or 0 for x in placed]),
        (accumulate.add_float_squares, 5, [(x or 0) ** 2 for x in placed]),
    )
    for kernel, limbs, addends in kernels:
        out, twin, outside = start(limbs, seed), start(limbs, seed), np.empty(len(rows), np.int64)
        found = kernel(groups, given, weights, first, 1023 + bound - first, out, outside)
        naive_sums(groups, addends, weights, twin)
        assert out.tolist() == twin.tolist()
        assert outside[:found].tolist() == [row for row, x in enumerate(placed) if x is None and weights[row]]


@settings(deadline=None)
@given(st.data(), st.integers(1, 5))
def test_kernels_of_states_are_their_twins(data: st.DataObject, limbs: int) -> None:
    word = st.sampled_from((0, 1, (1 << 64) - 1, 1 << 63, 1 << 11, (1 << 63) + (1 << 10))) | st.integers(0, 2**64 - 1)
    columns = data.draw(st.lists(st.lists(word, min_size=limbs, max_size=limbs), max_size=10))
    states = frozen(np.ascontiguousarray(np.array(columns, np.uint64).reshape(-1, limbs).T))
    groups = frozen(np.array([data.draw(st.integers(0, 3)) for _ in columns], np.uint64))
    out, twin = start(limbs, 5), start(limbs, 5)
    accumulate.fold_limbs(groups, states, out)
    naive_sums(groups, [signed(column) for column in columns], np.ones(len(columns), np.int8), twin)
    assert out.tolist() == twin.tolist()
    unit = data.draw(st.sampled_from((0, 96, 176)))
    rounded = np.empty(len(columns))
    accumulate.round_limbs(states, unit, rounded)
    assert rounded.tolist() == [signed(column) / (1 << unit) for column in columns]


# What they are for.


@pytest.mark.parametrize("sort", Sort)
@settings(deadline=None)
@given(data=st.data())
def test_a_state_is_the_exact_sum_of_what_came_and_did_not_go(sort: Sort, data: st.DataObject) -> None:
    value = st.none() | ELEMENTS[sort]
    row = st.tuples(st.integers(0, 3), value, st.sampled_from((-1, 1)), st.booleans())
    rows = data.draw(st.lists(row, max_size=30))
    groups = np.array([row[0] for row in rows], np.int64)
    kept = np.array([row[3] for row in rows], np.bool_)
    signs = np.array([row[2] for row in rows], np.int8)
    values = ARRAYS[sort]([row[1] for row in rows])

    def states(low: int, high: int) -> list[pa.Array]:
        part = slice(low, high)
        return partial(
            sort,
            groups=groups[part],
            count=4,
            values=values.slice(low, high - low),
            kept=kept[part],
            signs=signs[part],
        )

    all_rows = states(0, len(rows))
    expected = [
        wanted(sort, [(value, sign) for place, value, sign, there in rows if place == group and there])
        for group in range(4)
    ]
    assert exact(sort, all_rows) == expected
    assert [column.type for column in all_rows] == [type.arrow for type in accumulators.state_types(sort)]
    assert all(not column.null_count for column in all_rows[: 5 if sort not in FLOATS else -1])

    cut = data.draw(st.integers(0, len(rows)))
    parts = [states(0, cut), states(cut, len(rows))]
    data.draw(st.randoms()).shuffle(parts)
    assert copies(add(sort, *parts)) == copies(all_rows)
    together = [pa.concat_arrays(columns) for columns in zip(*parts, strict=True)]
    folded = fold(sort, groups=np.tile(np.arange(4), 2), count=4, states=together)
    assert copies(folded) == copies(all_rows)

    order = np.array(data.draw(st.permutations(range(len(rows)))), np.int64)
    gone = partial(
        sort, groups=groups[order], count=4, values=values.take(pa.array(order)), kept=kept[order], signs=-signs[order]
    )
    nothing = partial(sort, groups=groups[:0], count=4, values=values[:0], kept=None, signs=1)
    assert copies(add(sort, all_rows, gone)) == copies(nothing)
    assert is_zero(sort, nothing).all()
    zeros = [value == 0 for value in expected]
    assert is_zero(sort, all_rows).tolist() == zeros


@settings(deadline=None)
@given(st.lists(finite, max_size=30), st.sampled_from(FLOATS))
def test_a_sum_of_doubles_is_the_nearest_double(values: list[float], sort: Sort) -> None:
    sums, overflowed = floats(of(sort, values), sort=sort)
    total = sum((Fraction(value) ** (2 if sort is Sort.FLOAT_SQUARES else 1) for value in values), Fraction(0))
    try:
        nearest = float(total)
    except OverflowError:
        nearest = math.inf if total > 0 else -math.inf
    assert sums.tolist() == [nearest]
    assert overflowed.tolist() == [math.isinf(nearest)]
    assert math.copysign(1.0, sums[0]) == (-1.0 if total < 0 else 1.0)
    if sort is Sort.FLOAT and sum(abs(Fraction(value)) for value in values) < Fraction(1e308):
        assert sums.tolist() == [math.fsum(values)]


VALUE_OF = {
    Sort.INTEGER: Fraction,
    Sort.NUMERIC: lambda value: Fraction(value, 10**6),
    Sort.FLOAT: Fraction,
}
"""The number that an element is; NUMERIC(38, 6) is made of unscaled ones."""


@pytest.mark.parametrize("sort", list(SQUARES))
@pytest.mark.parametrize("freedom", [0, 1])
@settings(deadline=None)
@given(st.data())
def test_a_variance_is_the_nearest_double_whatever_came_and_went(sort: Sort, freedom: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(ELEMENTS[sort], max_size=12))
    gone = data.draw(st.lists(ELEMENTS[sort], max_size=5))
    states = {}
    for each in (Sort.COUNT, sort, SQUARES[sort]):
        one, other = ([0] * len(part) if each is Sort.COUNT else part for part in (values, gone))
        states[each] = add(each, add(each, of(each, other), of(each, one)), of(each, other, -1))
    constants = [pa.scalar(freedom), *([pa.scalar(6)] if sort is Sort.NUMERIC else [])]
    overload = resolution_of_variance(sort).overload
    arguments = [*(column for parts in states.values() for column in parts), *constants]
    plain = [part[0].as_py() if isinstance(part, pa.Array) else part.as_py() for part in arguments]
    numbers = [VALUE_OF[sort](value) for value in values if math.isfinite(value)]
    expected: float | None = None
    if len(values) > freedom:
        expected = math.nan
        if len(numbers) == len(values):
            mean = sum(numbers) / len(numbers)
            try:
                expected = float(sum((number - mean) ** 2 for number in numbers) / (len(numbers) - freedom))
            except OverflowError:
                for refused in (lambda: overload.naive(*plain), lambda: overload.arrow(*arguments)):
                    with pytest.raises(Invalid, match="overflow"):
                        refused()
                return
    assert str(overload.naive(*plain)) == str(overload.arrow(*arguments)[0].as_py()) == str(expected)


def resolution_of_variance(sort: Sort) -> Any:
    kinds = [*(type for each in (Sort.COUNT, sort, SQUARES[sort]) for type in accumulators.state_types(each))]
    return resolve(f"weft_variance_{sort.value}", [*kinds, *[types.INTEGER] * (2 if sort is Sort.NUMERIC else 1)])


def test_half_way_goes_to_the_even_double() -> None:
    for values, rounded in (
        ([2.0**53 / 4, 2.0**-3], 2.0**51),
        ([2.0**51 - 0.25, 0.125], 2.0**51),
        ([2.0**50, 2.0**-3], 2.0**50),
        ([2.0**50, 2.0**-2, 2.0**-3], 2.0**50 + 0.5),
        ([2.0**50, 2.0**-3, 2.0**-96], 2.0**50 + 0.25),
        ([-(2.0**50), -(2.0**-3)], -(2.0**50)),
        ([2.0**80, 2.0**27], 2.0**80),
        ([2.0**80, 2.0**27, 5e-324], 2.0**80 + 2.0**28),
        ([2.0**80, 2.0**27, 2.0**-96], 2.0**80 + 2.0**28),
    ):
        assert floats(of(Sort.FLOAT, values))[0].tolist() == [rounded], values


def test_not_a_number_and_infinities_are_counted_apart() -> None:
    state = of(Sort.FLOAT, [1.0, 1e300])
    for came, result in (
        ([math.inf], math.inf),
        ([math.inf, math.inf], math.inf),
        ([-math.inf], -math.inf),
        ([math.inf, -math.inf], math.nan),
        ([math.nan], math.nan),
        ([math.nan, math.inf], math.nan),
    ):
        with_them = add(Sort.FLOAT, state, of(Sort.FLOAT, came))
        sums, overflowed = floats(with_them)
        np.testing.assert_array_equal(sums, [result])
        assert not overflowed.any()
        assert exact(Sort.FLOAT, with_them) == [None]
        assert copies(add(Sort.FLOAT, with_them, of(Sort.FLOAT, came, -1))) == copies(state)
    assert floats(of(Sort.FLOAT_SQUARES, [-math.inf, 2.0]), sort=Sort.FLOAT_SQUARES)[0].tolist() == [math.inf]
    gone = of(Sort.FLOAT_SQUARES, [-math.inf, math.inf], np.array([1, -1], np.int8))
    assert is_zero(Sort.FLOAT_SQUARES, gone).all()


def test_a_sum_too_large_for_a_double_is_flagged_and_becomes_finite_again() -> None:
    much = of(Sort.FLOAT, [1.7e308, 1.7e308])
    sums, overflowed = floats(much)
    assert sums.tolist() == [math.inf]
    assert overflowed.tolist() == [True]
    assert floats(add(Sort.FLOAT, much, of(Sort.FLOAT, [1.7e308], -1)))[0].tolist() == [1.7e308]
    assert floats(of(Sort.FLOAT, [-1.7e308, -1.7e308]))[0].tolist() == [-math.inf]
    sums, overflowed = floats(of(Sort.FLOAT_SQUARES, [1e200]), sort=Sort.FLOAT_SQUARES)
    assert (sums.tolist(), overflowed.tolist()) == ([math.inf], [True])


def test_values_in_the_window_leave_no_rest() -> None:
    inside = [0.0, -0.0, 2.0**-96, -(2.0**-96), math.nextafter(2.0**51, 0), 2.0**-44 * (1 + 2.0**-52), 1.7e15 + 0.25]
    assert of(Sort.FLOAT, inside)[-1].null_count == 1
    for value in (2.0**-97, 2.0**51, -1e16, 2.0**-45 * (1 + 2.0**-52), 5e-324, math.nan):
        assert of(Sort.FLOAT, [value])[-1].null_count == 0
        assert of(Sort.FLOAT, [value, value], np.array([1, -1], np.int8))[-1].null_count == 1
        assert of(Sort.FLOAT, [value], kept=np.array([False]))[-1].null_count == 1
    squares = [0.0, 2.0**-88, -math.nextafter(2.0**49, 0), 2.0**-36 * (1 + 2.0**-52)]
    assert of(Sort.FLOAT_SQUARES, squares)[-1].null_count == 1
    for value in (2.0**-89, 2.0**49, 5e-324):
        assert of(Sort.FLOAT_SQUARES, [value])[-1].null_count == 0


@settings(deadline=None)
@given(st.lists(any_float, min_size=1, max_size=8), st.booleans())
def test_a_rest_has_one_form(values: list[float], squared: bool) -> None:
    """And it is trimmed at both ends, so that one form means few bytes."""
    bits = np.array(values, np.float64).view(np.int64)
    groups, weights = np.zeros(len(bits), np.int64), np.ones(len(bits), np.int8)
    found = rest.of_values(groups, bits, weights, squared=squared, count=1)[0].as_py()
    if found is None:
        assert not any(values)
        return
    nans, above, below, zeros = struct.unpack_from("<qqqH", found)
    body = found[26:]
    number = int.from_bytes(body, "little", signed=True)
    assert nans == sum(math.isnan(value) for value in values)
    assert (above + below) == sum(math.isinf(value) for value in values)
    assert not (squared and below)
    total = sum((Fraction(value) ** (1 + squared) for value in values if math.isfinite(value)), Fraction(0))
    assert Fraction(number << 8 * zeros, 1 << 1074 * (1 + squared)) == total
    assert (number & 255 != 0) if number else (body == b"" and not zeros)
    assert len(body) <= 1 or number.to_bytes(len(body), "little", signed=True) == body
    with pytest.raises(OverflowError):
        number.to_bytes(max(len(body) - 1, 0), "little", signed=True) if body else (1).to_bytes(0, "little")


def test_the_bytes_of_states_stay_as_they_are() -> None:
    """They are in segments (docs/storage.md)."""
    ones = (1 << 64) - 1
    assert copies(of(Sort.INTEGER, [-2])) == [[-2], [-1]]
    assert copies(of(Sort.NUMERIC, [1 << 64])) == [[0], [1], [0]]
    assert copies(of(Sort.INTEGER_SQUARES, [-(1 << 32)])) == [[0], [1], [0]]
    assert copies(of(Sort.NUMERIC_SQUARES, [1 << 96])) == [[0], [0], [0], [1], [0]]
    assert copies(of(Sort.FLOAT, [-1.0])) == [[0], [signed([ones - ones // (1 << 32)])], [-1], [None]]
    assert copies(of(Sort.FLOAT_SQUARES, [3.0])) == [[0], [0], [9 << 48], [0], [0], [None]]
    head = struct.pack("<qqqH", 1, 2, 0, 143)  # 2^73, 143 zero bytes above 2^-1074, is 2^(1074 + 73 - 8 * 143) = 2^3
    values = [math.nan, math.inf, math.inf, 2.0**73]
    assert copies(of(Sort.FLOAT, values)) == [[0], [0], [0], [head + b"\x08"]]


def test_an_integer_on_its_own_takes_few_bytes() -> None:
    for value, size in ((1e300, 8), (2.0**51, 1), (-(2.0**1023), 1), (5e-324, 1), (2.0**-97, 1)):
        assert len(of(Sort.FLOAT, [value])[-1][0].as_py()) <= 26 + size


# What is read of them.


def test_integers_have_38_digits() -> None:
    fits = [DIGITS, -DIGITS, 0, 5, -5]
    for value in fits:
        values, beyond = wide(of(Sort.NUMERIC, [value]))
        assert (values.type, beyond.tolist()) == (pa.decimal128(38, 0), [False])
        assert values.to_pylist() == [Decimal(value)]
    for values in ([DIGITS, 1], [-DIGITS, -1], [DIGITS] * 3, [-DIGITS] * 5):
        found, beyond = wide(of(Sort.NUMERIC, values))
        assert (found.to_pylist(), beyond.tolist()) == ([0], [True])
        with pytest.raises(Invalid, match="more than 38 digits") as raised:
            integers(Sort.NUMERIC, of(Sort.NUMERIC, values))
        assert raised.value.sqlstate == "22003"
        less = add(Sort.NUMERIC, of(Sort.NUMERIC, values), of(Sort.NUMERIC, values[1:], -1))
        assert integers(Sort.NUMERIC, less).to_pylist() == [Decimal(values[0])]
    assert wide(of(Sort.NUMERIC_SQUARES, [1 << 96]))[1].tolist() == [True]
    assert integers(Sort.NUMERIC_SQUARES, of(Sort.NUMERIC_SQUARES, [-(10**18)])).to_pylist() == [Decimal(10**36)]
    assert integers(Sort.COUNT, of(Sort.COUNT, [1, None, 3], -1)).to_pylist() == [-2]


@settings(deadline=None)
@given(st.lists(integers64, max_size=20))
def test_sums_of_integers_are_those_of_python(values: list[int]) -> None:
    assert integers(Sort.INTEGER, of(Sort.INTEGER, values)).to_pylist() == [Decimal(sum(values))]
    squares, beyond = wide(of(Sort.INTEGER_SQUARES, values))
    total = sum(value * value for value in values)
    assert beyond.tolist() == [total > DIGITS]
    assert squares.to_pylist() == [Decimal(0 if total > DIGITS else total)]


# What they are given.


@pytest.mark.parametrize("type", [pa.int16(), pa.int32(), pa.int64()])
@pytest.mark.parametrize("offset", [0, 3, 9])
def test_integers_come_in_any_width_and_from_any_offset(type: pa.DataType, offset: int) -> None:
    given = [None if row % 4 == 1 else (-1) ** row * (row + 32_000) for row in range(40)]
    array = pa.array(given, type).slice(offset, 25)
    groups = np.arange(25) % 3
    for sort in (Sort.INTEGER, Sort.INTEGER_SQUARES, Sort.COUNT):
        states = partial(sort, groups=groups, count=3, values=array, kept=None, signs=1)
        values = list(enumerate(given[offset : offset + 25]))
        assert exact(sort, states) == [
            wanted(sort, [(value, 1) for row, value in values if row % 3 == group]) for group in range(3)
        ]


@pytest.mark.parametrize("type", [pa.decimal32(9, 2), pa.decimal64(18, 2), pa.decimal128(20, 2), pa.decimal128(38, 2)])
def test_numerics_come_in_any_width_and_from_any_offset(type: pa.DataType) -> None:
    given = [None if row % 5 == 2 else Decimal((-1) ** row * (row * 7919 + 1)).scaleb(-2) for row in range(40)]
    for array, values in ((pa.array(given, type).slice(11, 20), given[11:31]), (pa.array(given[:0], type), [])):
        for sort in (Sort.NUMERIC, Sort.NUMERIC_SQUARES):
            states = partial(
                sort, groups=np.zeros(len(values), np.int64), count=1, values=array, kept=None, signs=1
            )  # fmt: skip
            numbers = [None if value is None else int(value.scaleb(2)) for value in values]
            assert exact(sort, states) == [wanted(sort, [(number, 1) for number in numbers])]


def test_reals_are_the_doubles_that_they_equal() -> None:
    given = [None, 0.1, -2.5e-20, 3e38, 1e-45, -0.0, 7.25]
    for start in (0, 1, 3):
        array = pa.array(given, pa.float32()).slice(start)
        states = partial(
            Sort.FLOAT, groups=np.zeros(len(array), np.int64), count=1, values=array, kept=None, signs=1
        )  # fmt: skip
        exactly = [value for value in array.to_pylist() if value is not None]
        assert floats(states)[0].tolist() == [math.fsum(exactly)]


def test_values_of_any_type_are_counted() -> None:
    arrays = [
        pa.array(["a", None, "", "b"]),
        pa.array(["a", None, "b", "a"]).dictionary_encode(),
        pa.array([[1], None, [], [2]]),
        pa.array([True, None, False, True]),
        pa.ExtensionArray.from_storage(pa.json_(pa.utf8()), pa.array(["1", None, "2", "3"])),
    ]
    for array in arrays:
        for start in (0, 1, 2):
            groups = np.zeros(4 - start, np.int64)
            states = partial(Sort.COUNT, groups=groups, count=2, values=array.slice(start), kept=None, signs=1)
            assert states[0].to_pylist() == [4 - start - (start < 2), 0]
    groups = np.zeros(4, np.int64)
    assert partial(Sort.COUNT, groups=groups, count=1, values=pa.nulls(4), kept=None, signs=1)[0].to_pylist() == [0]
    assert partial(Sort.COUNT, groups=groups, count=1, values=None, kept=None, signs=-1)[0].to_pylist() == [-4]
    kept = np.array([True, False, True, True])
    signs = np.array([1, 1, -1, 1], np.int8)
    assert partial(Sort.COUNT, groups=groups, count=1, values=None, kept=kept, signs=signs)[0].to_pylist() == [1]


def test_what_is_given_is_left_as_it_was() -> None:
    """Also where it is in memory that may not be written to, or has gaps."""
    groups, signs, kept = np.arange(12)[::3], np.ones(8, np.int8)[::2], np.ones(8, np.bool_)[::2]
    values = pa.array([1.5, math.nan, 1e300, None])
    states = partial(Sort.FLOAT, groups=groups, count=12, values=values, kept=kept, signs=signs)
    before = copies(states)
    total = add(Sort.FLOAT, states, states)
    fold(Sort.FLOAT, groups=np.zeros(12, np.int64), count=1, states=total)
    assert copies(states) == before
    plain, ones = np.arange(4), np.ones(4, np.int8)
    partial(Sort.FLOAT, groups=plain, count=4, values=values, kept=None, signs=ones)
    assert plain.flags.writeable
    assert ones.flags.writeable
    np.testing.assert_array_equal(floats(total)[0][:9], [3.0, 0.0, 0.0, math.nan, 0.0, 0.0, 2e300, 0.0, 0.0])


def test_states_may_be_slices() -> None:
    for sort in Sort:
        groups = np.arange(6)
        values = ARRAYS[sort]([1, 2, None, 3, 4, 5])
        states = partial(sort, groups=groups, count=6, values=values, kept=None, signs=1)
        if sort in FLOATS:
            states[-1] = of_rests([None, b"x", None, None, None, None], states[-1])
        part = [column.slice(2, 4) for column in states]
        assert exact(sort, part) == exact(sort, states)[2:]
        assert is_zero(sort, part).tolist() == [True, False, False, False]
        assert exact(sort, add(sort, part, part)) == [2 * (value or 0) for value in exact(sort, part)]


def of_rests(marks: Sequence[bytes | None], given: pa.Array) -> pa.Array:
    """``given`` with the rest of one NaN where there is a mark."""
    nan = of(Sort.FLOAT, [math.nan])[-1][0].as_py()
    pairs = zip(marks, given.to_pylist(), strict=True)
    return pa.array([nan if mark else value for mark, value in pairs], pa.binary())


def test_values_of_another_type_are_a_bug() -> None:
    for sort, array in (
        (Sort.INTEGER, pa.array([1.5])),
        (Sort.FLOAT, pa.array([1])),
        (Sort.NUMERIC, pa.array([1])),
        (Sort.INTEGER, pa.array(["a"])),
        (Sort.INTEGER_SQUARES, pa.array([1], pa.uint64())),
    ):
        with pytest.raises(Internal, match="stand where a sum"):
            partial(sort, groups=np.zeros(1, np.int64), count=1, values=array, kept=None, signs=1)


def test_large_batches_are_exact_in_any_order() -> None:
    numbers = np.random.default_rng(4)
    size, count = 50_000, 700
    groups = numbers.integers(0, count, size)
    values = np.where(numbers.random(size) < 0.01, numbers.normal(size=size) * 1e30, numbers.normal(size=size) * 1e3)
    array = pa.array(values, mask=numbers.random(size) < 0.1)
    state = partial(Sort.FLOAT, groups=groups, count=count, values=array, kept=None, signs=1)
    order = numbers.permutation(size)
    again = partial(
        Sort.FLOAT, groups=groups[order], count=count, values=array.take(pa.array(order)), kept=None, signs=1
    )
    assert all(one.equals(other) for one, other in zip(state, again, strict=True))
    there = array.is_valid().to_numpy(zero_copy_only=False)
    assert floats(state)[0].tolist() == [math.fsum(values[there & (groups == group)]) for group in range(count)]


def test_kernels_have_the_one_form_that_the_warm_up_compiles() -> None:
    kernels: list[Any] = [getattr(accumulate, name) for name in dir(accumulate) if name[:3] in ("add", "fol", "rou")]
    assert len(kernels) == 9
    warm.accumulate()
    test_what_is_given_is_left_as_it_was()
    test_states_may_be_slices()
    test_reals_are_the_doubles_that_they_equal()
    test_values_of_any_type_are_counted()
    test_integers_come_in_any_width_and_from_any_offset(pa.int16(), 3)
    test_integers_have_38_digits()
    assert [len(kernel.signatures) for kernel in kernels] == [1] * 9
