"""The key encoding: its order, its frozen bytes, its hash, and that one value and a column encode alike."""

from __future__ import annotations

import datetime
import math
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import typed_values
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.base import types
from weftdb.base.errors import Invalid
from weftdb.base.types import Kind, Type
from weftdb.engine.kernels import encoding as kernels
from weftdb.engine.key_encoding import KeyEncoder, Keys, check_key_types, hash_one
from weftdb.engine.schema import Column
from weftdb.storage.column_values import values_of


def columns_of(key_types: list[Type], nullable: list[bool]) -> list[Column]:
    pairs = zip(key_types, nullable, strict=True)
    return [Column(id=n, name=f"c{n}", type=type, nullable=null) for n, (type, null) in enumerate(pairs, 1)]


def encode(columns: list[Column], rows: list[tuple[Any, ...]]) -> tuple[KeyEncoder, Keys]:
    encoder = KeyEncoder(columns)
    arrays = [typed_values.array_of([row[n] for row in rows], column.type) for n, column in enumerate(columns)]
    values = [values_of(array, column.type) for array, column in zip(arrays, columns, strict=True)]
    return encoder, encoder.encode(values, count=len(rows))


def bytes_of(keys: Keys) -> list[bytes]:
    if keys.width:
        return [words.tobytes() for words in keys.words.reshape(-1, keys.width)]
    return [keys.words[start:stop].tobytes() for start, stop in zip(keys.offsets, keys.offsets[1:], strict=False)]


def sort_key(value: Any, type: Type) -> Any:
    """What Python sorts as the encoding must: NULL and NaN last, text and UUID by bytes."""
    if value is None:
        return (2, 0)
    if isinstance(value, float) and math.isnan(value):
        return (1, 0)
    if type.is_text:
        return (0, value.encode())
    return (0, value.bytes if isinstance(value, uuid.UUID) else value)


@st.composite
def keyed_rows(draw: st.DrawFn) -> tuple[list[Column], list[tuple[Any, ...]]]:
    key_types = draw(st.lists(st.sampled_from(typed_values.KEY_TYPES), min_size=1, max_size=4))
    columns = columns_of(key_types, draw(st.lists(st.booleans(), min_size=len(key_types), max_size=len(key_types))))
    row = st.tuples(*(typed_values.values_of(column.type, nullable=column.nullable) for column in columns))
    return columns, draw(st.lists(row, min_size=2, max_size=12))


@given(keyed_rows())
@settings(max_examples=200, deadline=None)
def test_bytes_compare_as_keys_do(case: tuple[list[Column], list[tuple[Any, ...]]]) -> None:
    columns, rows = case
    encoder, keys = encode(columns, rows)
    encoded = bytes_of(keys)
    expected = [tuple(sort_key(value, column.type) for value, column in zip(row, columns, strict=True)) for row in rows]
    for left in range(len(rows)):
        for right in range(len(rows)):
            assert (encoded[left] < encoded[right]) == (expected[left] < expected[right]), (rows[left], rows[right])
    assert [encoder.encode_one(row) for row in rows] == encoded
    assert keys.hashes.tolist() == [hash_one(key) for key in encoded]


@given(keyed_rows(), st.data())
@settings(max_examples=60, deadline=None)
def test_taken_and_sliced_keys_are_the_same_keys(
    case: tuple[list[Column], list[tuple[Any, ...]]], data: st.DataObject
) -> None:
    columns, rows = case
    _, keys = encode(columns, rows)
    encoded = bytes_of(keys)
    order = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1))
    assert bytes_of(keys.take(np.array(order, np.int64))) == [encoded[at] for at in order]
    assert bytes_of(keys.slice(1, len(rows))) == encoded[1:]


FROZEN: list[tuple[Type, bool, Any, str]] = [
    (types.BOOLEAN, False, True, "01"),
    (types.SMALLINT, False, -1, "7fff"),
    (types.INTEGER, True, 7, "0080000007"),
    (types.INTEGER, True, None, "0100000000"),
    (types.BIGINT, False, 7, "8000000000000007"),
    (types.REAL, False, -1.0, "407fffff"),
    (types.DOUBLE, False, -0.0, "8000000000000000"),
    (types.DOUBLE, False, math.nan, "fff8000000000000"),
    (types.numeric(10, 2), False, Decimal("-0.01"), "7f" + "ff" * 15),
    (types.DATE, False, datetime.date(1970, 1, 2), "80000001"),
    (types.TIMESTAMP, False, datetime.datetime(1970, 1, 1, 0, 0, 1), "80000000000f4240"),
    (types.UUID, False, uuid.UUID(int=1), "00" * 15 + "01"),
    (types.TEXT, False, "a\0b", "6100ff620000"),
    (types.TEXT, True, None, "01"),
    (types.BYTEA, True, b"", "000000"),
]


@pytest.mark.parametrize(("type", "nullable", "value", "expected"), FROZEN)
def test_the_bytes_are_those_of_the_document(type: Type, nullable: bool, value: Any, expected: str) -> None:
    columns = columns_of([type], [nullable])
    _, keys = encode(columns, [(value,)])
    padded = bytes.fromhex(expected)
    assert bytes_of(keys) == [padded.ljust((len(padded) + 7) // 8 * 8, b"\0")]


def test_keys_of_all_columns_stand_unaligned_behind_one_another() -> None:
    columns = columns_of([types.BOOLEAN, types.BIGINT, types.SMALLINT], [False, False, False])
    _, keys = encode(columns, [(True, -1, 2)])
    assert bytes_of(keys) == [bytes.fromhex("017fffffffffffffff8002").ljust(16, b"\0")]


@pytest.mark.parametrize("words_count", range(1, 14))
def test_the_hash_is_xxh64_of_the_padded_bytes(words_count: int) -> None:
    words = np.random.default_rng(words_count).integers(0, 2**63, (5, words_count), np.uint64) * np.uint64(3)
    for length in range(8 * words_count - 7, 8 * words_count + 1):
        hashes = np.empty(5, np.uint64)
        kernels.hash_fixed(words.reshape(-1), words_count, length, hashes)
        padded = [row.tobytes()[:length].ljust(8 * words_count, b"\0") for row in words]
        assert hashes.tolist() == [xxhash.xxh64_intdigest(key) for key in padded]


def test_the_hash_of_a_prefix_is_that_of_the_first_columns_alone() -> None:
    columns = columns_of([types.INTEGER, types.BIGINT], [False, False])
    rows = [(1, 2), (-5, 3)]
    encoder, keys = encode(columns, rows)
    _, first = encode(columns[:1], [(row[0],) for row in rows])
    assert encoder.hash_prefix(keys.words, length=4, count=2).tolist() == first.hashes.tolist()


@pytest.mark.parametrize("type", [types.INTERVAL, types.JSON])
def test_types_without_an_order_in_bytes_are_refused_by_name(type: Type) -> None:
    with pytest.raises(Invalid, match=f'"c1" cannot be part of a key: {type}'):
        check_key_types(columns_of([type], [False]))


@pytest.mark.parametrize(
    ("type", "value"),
    [
        (types.SMALLINT, 32_768),
        (types.BIGINT, "seven"),
        (types.numeric(5, 2), Decimal("0.001")),
        (types.TEXT, 5),
        (types.TIMESTAMP, "2024"),
        (types.UUID, "no uuid"),
        (types.REAL, 1e300),
        (types.BIGINT, None),
    ],
)
def test_a_value_that_the_column_cannot_hold_is_refused_by_name(type: Type, value: Any) -> None:
    with pytest.raises(Invalid, match='column "c1"'):
        KeyEncoder(columns_of([type], [False])).encode_one((value,))


def test_slices_of_arrow_arrays_encode_as_their_own_rows() -> None:
    for type in typed_values.KEY_TYPES:
        values = typed_values.samples_of(type)
        whole = typed_values.array_of([*values, None, *values], type)
        columns = columns_of([type], [True])
        encoder = KeyEncoder(columns)
        part = whole.slice(2, len(values))
        keys = encoder.encode([values_of(part, type)], count=len(part))
        expected = [*values[2:], None, *values[:1]]
        assert bytes_of(keys) == [encoder.encode_one((value,)) for value in expected], type
    assert pa.types.is_boolean(Type(kind=Kind.BOOLEAN).arrow)
