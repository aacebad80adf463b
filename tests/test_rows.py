"""Python rows into Arrow and back: nothing is lost, and each refusal names column, row and value."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.base.errors import Invalid, LimitExceeded
from weftdb.base.intervals import interval_text, parse_interval
from weftdb.base.limits import VALUE_BYTES_MAX
from weftdb.base.rows import literal_value, python_rows, python_values, to_batch, to_keys, type_of_value
from weftdb.base.types import (
    BIGINT,
    BOOLEAN,
    BYTEA,
    DATE,
    DOUBLE,
    INTEGER,
    INTERVAL,
    JSON,
    REAL,
    SMALLINT,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
    Type,
    array_of,
    arrow_field,
    numeric,
    varchar,
)

SCHEMA = pa.schema([arrow_field("id", BIGINT), arrow_field("name", TEXT), arrow_field("amount", numeric(10, 2))])


def schema_of(type: Type) -> pa.Schema:
    return pa.schema([arrow_field("v", type)])


def through(value: Any, type: Type) -> Any:
    return python_values(to_batch([(value,)], schema_of(type)).column(0), type)[0]


def refusal(rows: Any, schema: pa.Schema) -> str:
    with pytest.raises(Invalid) as error:
        to_batch(rows, schema)
    return str(error.value)


# -- round trips -----------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=5,
)
VALUES: dict[Type, st.SearchStrategy[Any]] = {
    BOOLEAN: st.booleans(),
    SMALLINT: st.integers(-(2**15), 2**15 - 1),
    INTEGER: st.integers(-(2**31), 2**31 - 1),
    BIGINT: st.integers(-(2**63), 2**63 - 1),
    REAL: st.floats(width=32),
    DOUBLE: st.floats(),
    numeric(12, 3): st.decimals(-(10**9) + 1, 10**9 - 1, places=3),
    numeric(38, 0): st.integers(-(10**38) + 1, 10**38 - 1).map(Decimal),
    TEXT: TEXTS,
    varchar(5): st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
    BYTEA: st.binary(),
    DATE: st.dates(),
    TIME: st.times(),
    TIMESTAMP: st.datetimes(),
    TIMESTAMPTZ: st.datetimes(timezones=st.just(dt.UTC)),
    INTERVAL: st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 2, st.integers(-(2**50), 2**50)).map(
        lambda parts: pa.MonthDayNano([parts[0], parts[1], parts[2] * 1000])
    ),
    UUID: st.uuids(),
    JSON: JSONS.filter(lambda value: value is not None and not isinstance(value, str)),
}


def alike(a: Any, b: Any) -> bool:
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


@pytest.mark.parametrize("type", VALUES, ids=str)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_type_goes_to_arrow_and_comes_back(type: Type, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | VALUES[type], max_size=6))
    batch = to_batch([(value,) for value in values], schema_of(type))
    assert batch.schema.field(0).type == type.arrow
    batch.validate(full=True)
    expected = [literal_value(value, type) if type is JSON else value for value in values]
    back = python_values(batch.column(0), type)
    assert all(map(alike, back, expected))
    assert len(back) == len(expected)
    again = to_batch(batch, schema_of(type))
    assert again.schema == batch.schema
    assert all(map(alike, python_values(again.column(0), type), expected))


@given(st.integers(-2000, 2000), st.integers(-40, 40), st.integers(-(10**11), 10**11))
def test_interval_text_is_read_back_as_it_was_written(months: int, days: int, microseconds: int) -> None:
    assert parse_interval(interval_text(months, days, microseconds)) == (months, days, microseconds)


# -- what is taken ---------------------------------------------------------------------------------------------------


def test_dicts_tuples_lists_and_single_rows_are_the_same() -> None:
    rows = [(1, "a", Decimal("1.50")), (2, None, Decimal("2.00"))]
    expected = to_batch(rows, SCHEMA)
    assert to_batch([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA) == expected
    assert to_batch((row for row in rows), SCHEMA) == expected
    assert to_batch(rows[0], SCHEMA) == expected.slice(0, 1)
    assert to_batch(expected.to_pylist()[0], SCHEMA) == expected.slice(0, 1)
    assert python_rows(expected, [BIGINT, TEXT, numeric(10, 2)]) == rows


def test_a_batch_holds_the_columns_that_were_given_in_schema_order() -> None:
    assert to_batch([{"amount": 1, "id": 2}], SCHEMA).schema.names == ["id", "amount"]
    assert to_batch([(1, "x")], SCHEMA, positional=["amount", "name"]).schema.names == ["name", "amount"]


def test_anything_arrow_is_taken() -> None:
    table = pa.table({"id": pa.array([1, 2], pa.int8()), "name": pa.array(["a", "b"]).dictionary_encode()})
    expected = to_batch([{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], SCHEMA)
    for source in (table, table.to_batches()[0], table.to_reader(), table.to_pandas()):
        assert to_batch(source, SCHEMA) == expected
    for strings in (pa.large_string(), pa.string_view()):
        assert to_batch(pa.table({"id": [1, 2], "name": pa.array(["a", "b"], strings)}), SCHEMA) == expected
    assert to_batch(pa.table({"id": pa.array([None, None])}), SCHEMA).column(0).null_count == 2


@pytest.mark.parametrize(
    ("value", "type", "expected"),
    [
        ("12", BIGINT, 12),
        (2.0, SMALLINT, 2),
        (Decimal("3.00"), INTEGER, 3),
        (np.int32(5), BIGINT, 5),
        (0.1, numeric(5, 2), Decimal("0.10")),
        ("1e2", numeric(5, 2), Decimal("100.00")),
        (1, DOUBLE, 1.0),
        (Decimal("0.5"), DOUBLE, 0.5),
        ("NaN", DOUBLE, math.nan),
        ("yes", BOOLEAN, True),
        ("2024-02-29", DATE, dt.date(2024, 2, 29)),
        (dt.datetime(2024, 2, 29), DATE, dt.date(2024, 2, 29)),
        ("10:20", TIME, dt.time(10, 20)),
        ("2024-02-29T10:20:30.5", TIMESTAMP, dt.datetime(2024, 2, 29, 10, 20, 30, 500_000)),
        (dt.date(2024, 2, 29), TIMESTAMP, dt.datetime(2024, 2, 29)),
        (dt.datetime(2024, 2, 29, 10), TIMESTAMPTZ, dt.datetime(2024, 2, 29, 10, tzinfo=dt.UTC)),
        ("2024-02-29 10:00+02", TIMESTAMPTZ, dt.datetime(2024, 2, 29, 8, tzinfo=dt.UTC)),
        ("2024-07-01 10:00 Europe/Berlin", TIMESTAMPTZ, dt.datetime(2024, 7, 1, 8, tzinfo=dt.UTC)),
        (pd.Timestamp("2024-02-29 10:00"), TIMESTAMP, dt.datetime(2024, 2, 29, 10)),
        (np.datetime64("2024-02-29T10:00"), TIMESTAMP, dt.datetime(2024, 2, 29, 10)),
        (dt.timedelta(days=1, seconds=2), INTERVAL, pa.MonthDayNano([0, 1, 2_000_000_000])),
        ("1 year 2 mons", INTERVAL, pa.MonthDayNano([14, 0, 0])),
        ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", UUID, uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
        ("\\xDEAD", BYTEA, b"\xde\xad"),
        (memoryview(b"x"), BYTEA, b"x"),
        ({"a": [1, None]}, JSON, '{"a": [1, null]}'),
        ('{"a":1}', JSON, '{"a":1}'),
    ],
)
def test_what_converts_exactly_is_taken(value: Any, type: Type, expected: Any) -> None:
    assert alike(through(value, type), expected)


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "type", "message"),
    [
        ("abc", INTEGER, '"abc" is not a valid integer'),
        (True, INTEGER, "True (bool) is not a valid integer"),
        (2.5, INTEGER, "2.5 is not a whole number, which integer needs"),
        (2**31, INTEGER, "2147483648 is out of range for integer"),
        (2**53 + 1, DOUBLE, "9007199254740993 is not exact as double precision"),
        (1e300, REAL, "1e+300 is out of range for real"),
        (Decimal("1.234"), numeric(10, 2), "1.234 has more than the 2 digits after the point that numeric(10,2) holds"),
        (Decimal("1e9"), numeric(10, 2), "1E+9 is out of range for numeric(10,2)"),
        (math.nan, numeric(10, 2), "nan has no place in numeric(10,2)"),
        (1, TEXT, "1 (int) is not a valid text"),
        (b"x", TEXT, "b'x' (bytes) is not a valid text"),
        ("a\0b", TEXT, "zero byte"),
        ("\ud800", TEXT, "not valid UTF-8"),
        ("abcd", varchar(3), '"abcd" has 4 characters, character varying(3) holds 3'),
        (1, BOOLEAN, "1 (int) is not a valid boolean"),
        (dt.datetime(2024, 1, 1, 5), DATE, "has a time of day"),
        ("2024-02-30", DATE, '"2024-02-30" is out of range for date'),
        (dt.datetime(2024, 1, 1, tzinfo=dt.UTC), TIMESTAMP, "has a time zone"),
        (np.datetime64("2024-01-01T00:00:00.000000001"), TIMESTAMP, "not a whole number of microseconds"),
        (pd.Timestamp("2024-01-01 00:00:00.000000001"), TIMESTAMP, "not a whole number of microseconds"),
        ("1 fortnight", INTERVAL, '"1 fortnight" is not a valid interval'),
        ("xyz", UUID, '"xyz" is not a valid uuid'),
        ('{"a":', JSON, "is not valid JSON"),
        ({"a": math.nan}, JSON, "cannot be written as JSON"),
    ],
)
def test_what_would_lose_something_is_refused_with_column_row_and_value(value: Any, type: Type, message: str) -> None:
    schema = pa.schema([arrow_field("n", INTEGER), arrow_field("v", type)])
    found = refusal([(1, None), (2, None), (3, value)], schema)
    assert found.startswith('column "v", row 3: ')
    assert message in found


@pytest.mark.parametrize(
    ("array", "type", "message"),
    [
        (pa.array([1, 2.5]), INTEGER, 'column "v", row 2: 2.5 is not a whole number'),
        (pa.array([1, 70_000]), SMALLINT, 'column "v", row 2: 70000 is out of range for smallint'),
        (pa.array([1000, 1001], pa.timestamp("ns")), TIMESTAMP, 'column "v", row 2: a value with 1 nanoseconds'),
        (pa.array([1.0, 1e300]), REAL, 'column "v", row 2: 1e+300 is out of range for real'),
        (pa.array([Decimal("1.5"), Decimal("1.555")]), numeric(5, 2), 'column "v", row 2: 1.555 has more than'),
        (pa.array(["a", "b\0"]), TEXT, 'column "v", row 2: the text holds a zero byte'),
        (pa.array(["a", "bcde"]), varchar(3), 'column "v", row 2: "bcde" has 4 characters'),
        (
            pa.array([dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, 5)]),
            DATE,
            'column "v", row 2: 2024-01-01 05:00:00 has',
        ),
        (pa.array([1], pa.timestamp("us", tz="UTC")), TIMESTAMP, "has a time zone"),
        (pa.array([{"a": 1}]), BIGINT, 'column "v", row 1'),
    ],
)
def test_arrow_that_would_lose_something_is_refused(array: pa.Array, type: Type, message: str) -> None:
    assert message in refusal(pa.table({"v": array}), schema_of(type))


def test_malformed_arrow_is_refused() -> None:
    bad = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 1], np.int32)), pa.py_buffer(b"\xff"))
    assert "malformed Arrow data" in refusal(pa.table({"v": bad}), schema_of(TEXT))


def test_names_and_shapes_are_checked() -> None:
    assert 'column "nam" does not exist\nHint: Did you mean "name"?' in refusal([{"nam": 1}], SCHEMA)
    assert 'column "zzz" does not exist\nHint: The columns are (id, name, amount).' in refusal([{"zzz": 1}], SCHEMA)
    assert "row 2 has 2 values, 3 are expected" in refusal([(1, "a", 2), (1, "a")], SCHEMA)
    assert 'row 2 lacks the column "id" that row 1 has' in refusal([{"id": 1}, {"name": "x"}], SCHEMA)
    assert 'row 2 has the column "name" that row 1 lacks' in refusal([{"id": 1}, {"id": 2, "name": "x"}], SCHEMA)
    assert 'row 2: column "x" does not exist' in refusal([{"id": 1}, {"id": 2, "x": 1}], SCHEMA)
    assert "row 2: 5 (int) is not a dict" in refusal([{"id": 1}, 5], SCHEMA)
    assert "rows are dicts, tuples or Arrow data, not int" in refusal(5, SCHEMA)
    assert "given more than once" in refusal(pa.table([[1], [2]], names=["id", "id"]), SCHEMA)


def test_a_value_over_the_limit_is_refused() -> None:
    with pytest.raises(LimitExceeded, match='column "v", row 2: the value has'):
        to_batch([("x",), ("x" * (VALUE_BYTES_MAX + 1),)], schema_of(TEXT))


def test_keys_come_as_values_tuples_dicts_or_arrow() -> None:
    one = schema_of(BIGINT)
    two = pa.schema([arrow_field("a", BIGINT, nullable=False), arrow_field("b", TEXT, nullable=False)])
    assert to_keys(7, one).to_pydict() == {"v": [7]}
    assert to_keys(
        [
            7,
            (8,),
        ],
        one,
    ).to_pydict() == {"v": [7, 8]}
    assert to_keys({"v": 9}, one).to_pydict() == {"v": [9]}
    assert to_keys((1, "x"), two).to_pydict() == {"a": [1], "b": ["x"]}
    assert to_keys([(1, "x"), (2, "y")], two).num_rows == 2
    assert to_keys(pa.table({"b": ["x"], "a": [1]}), two).schema.names == ["a", "b"]
    assert to_keys([(None,), 7], one).to_pydict() == {"v": [None, 7]}  # views have groups of NULL
    for bad, message in (
        (5, "the primary key has 2 columns"),
        ([(1, None)], "NULL is not"),
        ([{"a": 1}], 'lacks the primary-key column "b"'),
    ):
        with pytest.raises(Invalid, match=message):
            to_keys(bad, two)


def test_parameters_get_postgresql_s_sentence() -> None:
    with pytest.raises(Invalid, match=r'^invalid input syntax for type integer: "abc"$') as error:
        literal_value("abc", INTEGER)
    assert error.value.sqlstate == "22P02"
    assert literal_value(None, INTEGER) is None


def test_python_values_have_a_natural_type() -> None:
    assert [type_of_value(v) for v in (True, 1, 2**40, 1.5, Decimal("1.50"), b"", None)] == [
        BOOLEAN,
        INTEGER,
        BIGINT,
        DOUBLE,
        numeric(3, 2),
        BYTEA,
        type_of_value("x"),
    ]


def test_zero_bytes_are_sought_in_a_slice_alone() -> None:
    whole = pa.table({"v": pa.array(["a\0", None, "b", "ü", "\0", "c"])})
    schema = pa.schema([pa.field("v", pa.string())])
    assert to_batch(whole.slice(1, 3), schema).column(0).to_pylist() == [None, "b", "ü"]
    assert to_batch(whole.slice(5), schema).column(0).to_pylist() == ["c"]
    for start, count, row in ((0, 2, 1), (3, 2, 2), (4, 1, 1)):
        with pytest.raises(Invalid, match=f"row {row}: the text holds a zero byte"):
            to_batch(whole.slice(start, count), schema)


@pytest.mark.parametrize("type", [DATE, TIMESTAMP, TIMESTAMPTZ, array_of(DATE)])
def test_a_moment_that_python_has_no_value_for_is_told(type: Type) -> None:
    far = pa.array([None, 2_932_897], pa.date32())  # 10000-01-01
    if type.element is not None:
        far = pa.ListArray.from_arrays([0, 2], far)
    with pytest.raises(Invalid, match=r"after 9999.*no value") as caught:
        python_values(far.cast(type.arrow) if type.element is None else far, type)
    assert caught.value.sqlstate == "22008"
