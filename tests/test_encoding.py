"""Zones keep the order of values, dictionaries are small and sorted, and packing kernels do what plain loops do."""

from __future__ import annotations

import datetime
import itertools
import math
import uuid
from decimal import Decimal
from typing import Any

import naive_segment
import numpy as np
import pyarrow as pa
import pytest
import segments
import typed_values
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.base import types
from weftdb.base.types import Kind, Type
from weftdb.storage import encoding
from weftdb.storage.column_values import DTYPES, PAIRS, FixedValues, VariableValues, values_of
from weftdb.storage.encoding import EMPTY_ZONE, FULL_ZONE, Encoder, Order, dictionary_of, order_of, physical_of, zone_of
from weftdb.storage.kernels import blocks, packing

ORDERED_TYPES = tuple(type for type in typed_values.EVERY_TYPE if order_of(type) is not Order.NONE)


def zone_of_block(type: Type, values: list[Any], *, dictionary: bool = False) -> tuple[int, int]:
    """What the directory says of a block of Python values."""
    found = values_of(typed_values.array_of(values, type), type)
    coded = None
    if dictionary:
        assert isinstance(found, VariableValues)
        coded = dictionary_of(found)
        assert coded is not None
        found = FixedValues(coded[1], found.valid)
    encoder = Encoder(physical_of(type), order_of(type), block_rows=64, dictionary=coded[0] if coded else None)
    entries = encoding.new_entries(1)
    encoder.encode(found, 0, len(values), entries, 0)
    return int(entries["low"][0]), int(entries["high"][0])


def order_key(type: Type, value: Any) -> Any:
    """What Python sorts values by as SQL does."""
    if type.kind in (Kind.REAL, Kind.DOUBLE):
        return (1, 0.0) if value != value else (0, value)
    if type.is_text or type.kind is Kind.JSON:
        return value.encode()
    return value.bytes if isinstance(value, uuid.UUID) else value


@pytest.mark.parametrize("type", typed_values.EVERY_TYPE, ids=str)
def test_physical_types_are_as_wide_as_values_in_memory(type: Type) -> None:
    physical = physical_of(type)
    if type.is_variable:
        assert physical.size == 0
        return
    assert physical.dtype == DTYPES[type.kind]
    assert physical.size == physical.dtype.itemsize * (2 if type.kind in PAIRS else 1)


@pytest.mark.parametrize("type", ORDERED_TYPES, ids=str)
def test_a_constant_has_the_zone_of_a_block_that_holds_only_it(type: Type) -> None:
    for value in typed_values.samples_of(type):
        low, high = zone_of(type, value)
        assert low <= high
        assert zone_of_block(type, [value]) == (low, high), value


@pytest.mark.parametrize("type", ORDERED_TYPES, ids=str)
def test_comparisons_that_zones_rule_out_hold_for_no_row(type: Type) -> None:
    samples = typed_values.samples_of(type)
    for value, constant in itertools.product(samples, samples):
        low, high = zone_of_block(type, [value])
        below, above = zone_of(type, constant)
        of_value, of_constant = order_key(type, value), order_key(type, constant)
        assert not (of_value == of_constant and (low > above or below > high)), (value, constant)
        assert not (of_value <= of_constant and low > above), (value, constant)
        assert not (of_value >= of_constant and high < below), (value, constant)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(ORDERED_TYPES))
def test_the_zone_of_a_block_spans_the_zones_of_its_values(data: st.DataObject, type: Type) -> None:
    values = data.draw(st.lists(typed_values.values_of(type, nullable=True), min_size=1, max_size=20))
    zones = [zone_of(type, value) for value in values if value is not None]
    expected = (min(low for low, _ in zones), max(high for _, high in zones)) if zones else EMPTY_ZONE
    assert zone_of_block(type, values) == expected


def test_zones_of_coded_text_are_those_of_the_text() -> None:
    texts = ["beta", "alpha", "a", "", "alphabetical", "alphabetic"] * 4
    assert zone_of_block(types.TEXT, texts, dictionary=True) == (
        zone_of(types.TEXT, "")[0],
        zone_of(types.TEXT, "beta")[1],
    )
    texts = ["beta", "alphabetical", "alphabetic"] * 4
    zone = zone_of_block(types.TEXT, texts, dictionary=True)
    assert zone == (zone_of(types.TEXT, "alphabet")[0], zone_of(types.TEXT, "beta")[1])
    assert zone_of_block(types.TEXT, [None, "b", None, "b"] * 3, dictionary=True) == zone_of(types.TEXT, "b")


def test_intervals_have_no_order_and_rule_nothing_out() -> None:
    value = pa.MonthDayNano([1, 2, 3])
    assert zone_of(types.INTERVAL, value) == FULL_ZONE == zone_of_block(types.INTERVAL, [value])
    assert zone_of_block(types.INTERVAL, [None]) == EMPTY_ZONE


def test_constants_that_the_type_cannot_hold_lie_between_or_beyond() -> None:
    assert zone_of(types.INTEGER, 1.5) == (1, 2)
    assert zone_of(types.INTEGER, Decimal("-1.5")) == (-2, -1)
    assert zone_of(types.BIGINT, 10**30) == (2**63 - 1, 2**63 - 1)
    assert zone_of(types.BIGINT, -math.inf) == (-(2**63), -(2**63))
    assert zone_of(types.BIGINT, math.nan) == (2**63 - 1, 2**63 - 1)
    assert zone_of(types.numeric(5, 2), Decimal("1.005")) == (100, 101)
    assert zone_of(types.numeric(5, 2), Decimal("-1.005")) == (-101, -100)
    assert zone_of(types.numeric(5, 2), 7) == (700, 700)
    assert zone_of(types.numeric(5, 2), Decimal("1E+40")) == (2**63 - 1, 2**63 - 1)
    assert zone_of(types.numeric(5, 2), Decimal("-1E-40")) == (-1, 0)
    assert zone_of(types.numeric(5, 2), Decimal("Infinity")) == (2**63 - 1, 2**63 - 1)
    assert zone_of(types.DATE, datetime.date(1970, 1, 2)) == zone_of(types.DATE, 1) == (1, 1)
    assert zone_of(types.TIMESTAMP, -1) == (-1, -1)


@pytest.mark.parametrize("constant", [2**53 + 1, Decimal("0.1"), 10**400, -(10**400), Decimal("1E-400")])
def test_constants_between_two_floats_are_bounded_by_floats(constant: Any) -> None:
    low, high = zone_of(types.DOUBLE, constant)
    for step in (-1, 0, 1):
        try:
            number = float(constant)
        except OverflowError:
            number = math.inf if constant > 0 else -math.inf
        number = math.nextafter(number, step * math.inf) if step else number
        place, _ = zone_of(types.DOUBLE, number)
        exact = Decimal(number)
        assert not (exact <= constant and place > high)
        assert not (exact >= constant and place < low)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.sampled_from([b"", b"a", b"a\0", b"ab", b"b" * 30, b"\xff"])), max_size=200))
def test_a_dictionary_is_sorted_and_its_codes_give_the_values(texts: list[bytes | None]) -> None:
    values = values_of(pa.array(texts, pa.binary()), types.BYTEA)
    assert isinstance(values, VariableValues)
    found = dictionary_of(values)
    if found is None:
        return
    entries, codes = found
    assert codes.dtype == np.int32
    different = segments.listed(entries)
    assert different == sorted({text for text in texts if text is not None})
    assert [
        None if text is None else different[code] for text, code in zip(texts, codes.tolist(), strict=True)
    ] == texts
    assert all(0 <= code < len(different) for code in codes.tolist())


def test_a_dictionary_is_made_only_where_it_pays() -> None:
    def made(texts: list[str | None]) -> bool:
        values = values_of(pa.array(texts, pa.utf8()), types.TEXT)
        assert isinstance(values, VariableValues)
        return dictionary_of(values) is not None

    assert made([f"category {number % 10}" for number in range(1_000)])
    assert not made([f"name {number}" for number in range(1_000)])
    assert not made([f"name {number % 700}" for number in range(1_000)])
    assert not made([None] * 100)
    assert not made([])
    assert made([f"name {number % 262_144}" for number in range(600_000)])
    assert not made([f"name {number % 262_145}" for number in range(600_000)])
    assert not made([str(number % 1_000) * 10_000 for number in range(4_000)])


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 64),
    st.integers(1, 10**12),
    st.integers(-(2**63), 2**63 - 1),
    st.lists(st.integers(0, 2**64 - 1), max_size=70),
)
def test_packing_and_unpacking_are_inverse(bits: int, scale: int, base: int, numbers: list[int]) -> None:
    assert packing.rounded(np.int64(bits)) in range(bits, 65)
    numbers = (
        [number % 2 ** min(bits, 64 - scale.bit_length()) for number in numbers] if bits > scale.bit_length() else []
    )
    words = np.array([base + scale * number for number in numbers], object) % 2**64
    out = np.full(len(numbers) + 2, 0xAAAAAAAAAAAAAAAA, np.uint64)
    length = packing.pack(
        words.astype(np.uint64).view(np.int64), len(numbers), np.uint64(base % 2**64), np.uint64(scale), bits,
        np.uint64(out.ctypes.data),
    )  # fmt: skip
    assert length == naive_segment.words(len(numbers), bits)
    assert naive_segment.bits_of(out.tobytes()[:length], bits, len(numbers)) == numbers
    assert set(out[length // 8 :].tolist()) == {0xAAAAAAAAAAAAAAAA}
    for index, number in enumerate(numbers):
        assert blocks.unpacked(np.uint64(out.ctypes.data), np.uint64(bits), np.uint64(index)) == number


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2**40), st.lists(st.integers(0, 2**22), min_size=2, max_size=80), st.integers(-(2**62), 0))
def test_the_common_divisor_is_that_of_plain_arithmetic(scale: int, numbers: list[int], base: int) -> None:
    distances = [number * scale for number in numbers]
    low = min(distances)
    expected = math.gcd(*(distance - low for distance in distances))
    words = np.array([base + distance for distance in distances], np.int64)
    if expected:
        assert packing.divisor(words, len(words), np.int64(base + low)) == expected


def test_a_divisor_that_fails_late_is_still_found() -> None:
    words = np.arange(5_000, dtype=np.int64) * 1_000_000
    assert packing.divisor(words, 5_000, np.int64(0)) == 1_000_000
    words[4_000] += 250_000
    assert packing.divisor(words, 5_000, np.int64(0)) == 250_000
    words[4_999] += 1
    assert packing.divisor(words, 5_000, np.int64(0)) == 1


def test_widths_are_rounded_where_it_costs_an_eighth_at_most() -> None:
    found = {bits: int(packing.rounded(np.int64(bits))) for bits in range(65)}
    for bits, width in found.items():
        assert width >= max(bits, 1)
        assert width <= 56 or width == 64
        if width not in (8, 16, 32, 64):
            assert width == max(bits, 1)
            assert not any(7 * machine <= 8 * bits <= 8 * machine for machine in (8, 16, 32, 64))
