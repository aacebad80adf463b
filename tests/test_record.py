"""Log records: what goes in comes out, and damage is noticed."""

from __future__ import annotations

import base64
import datetime
import decimal
import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example as case
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.base import errors, types
from weftdb.base.types import Kind, Type
from weftdb.storage import record as records
from weftdb.storage.narrow import narrow
from weftdb.storage.record import Action, Operation, Record, TransactionEntry, decode, encode

FAST = settings(max_examples=60, deadline=None)

VALUES: dict[Kind, st.SearchStrategy[object]] = {
    Kind.BOOLEAN: st.booleans(),
    Kind.SMALLINT: st.integers(-(2**15), 2**15 - 1),
    Kind.INTEGER: st.integers(-(2**31), 2**31 - 1),
    Kind.BIGINT: st.integers(-(2**63), 2**63 - 1),
    Kind.REAL: st.floats(width=32, allow_nan=False),
    Kind.DOUBLE: st.floats(allow_nan=False),
    Kind.NUMERIC: st.integers(-(10**38) + 1, 10**38 - 1).map(
        lambda digits: decimal.Decimal(digits).scaleb(-9, decimal.Context(prec=38))
    ),
    Kind.TEXT: st.text(),
    Kind.VARCHAR: st.text(max_size=10),
    Kind.BYTEA: st.binary(),
    Kind.DATE: st.dates(),
    Kind.TIME: st.times(),
    Kind.TIMESTAMP: st.datetimes(),
    Kind.TIMESTAMPTZ: st.datetimes(timezones=st.just(datetime.UTC)),
    Kind.INTERVAL: st.builds(
        lambda months, days, nanoseconds: pa.MonthDayNano([months, days, nanoseconds]),
        st.integers(-1_000, 1_000),
        st.integers(-1_000, 1_000),
        st.integers(-(2**63), 2**63 - 1),
    ),
    Kind.UUID: st.binary(min_size=16, max_size=16),
    Kind.JSON: st.sampled_from(["null", "{}", '{"a": [1, 2]}']),
}

ALL_TYPES: tuple[Type, ...] = tuple(
    types.numeric() if kind is Kind.NUMERIC else types.varchar(10) if kind is Kind.VARCHAR else Type(kind=kind)
    for kind in VALUES
)


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    """Some rows of some columns, often cut out of a larger batch."""
    rows = draw(st.integers(0, 6))
    columns = draw(st.lists(st.sampled_from(ALL_TYPES), max_size=5))
    fields = [types.arrow_field(str(number), type) for number, type in enumerate(columns, start=1)]
    arrays = [
        pa.array(draw(st.lists(st.none() | VALUES[type.kind], min_size=rows, max_size=rows)), type.arrow)
        for type in columns
    ]
    batch = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
    start = draw(st.integers(0, batch.num_rows))
    return batch.slice(start, draw(st.integers(0, batch.num_rows - start)))


INT64 = st.integers(-(2**63), 2**63 - 1)
ORDINALS = st.integers(0, 2**32 - 1)

RECORDS = st.builds(
    Record,
    version=INT64,
    wall_clock=INT64,
    transactions=st.lists(
        st.builds(
            TransactionEntry,
            ordinal=ORDINALS,
            id=st.none() | st.text(),
            writer=st.none() | st.text(),
            sequence=st.none() | INT64,
            rows_count=INT64,
        ),
        max_size=3,
    ).map(tuple),
    operations=st.lists(
        st.builds(
            Operation,
            ordinal=ORDINALS,
            table=INT64,
            schema_version=INT64,
            action=st.sampled_from(Action),
            batch=batches(),
            delta=st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
)


def joined(record: Record) -> bytes:
    return b"".join(encode(record))


def assert_same(actual: Record, expected: Record) -> None:
    """Equal, schemas' metadata included; batches are compared apart, since Arrow's NULLs hide arbitrary bytes."""
    assert replace(actual, operations=()) == replace(expected, operations=())
    assert len(actual.operations) == len(expected.operations)
    for mine, other in zip(actual.operations, expected.operations, strict=True):
        mine.batch.validate(full=True)
        assert mine.batch.schema.equals(other.batch.schema, check_metadata=True)
        assert mine.batch.num_rows == other.batch.num_rows
        assert mine.batch.equals(other.batch)
        assert replace(mine, batch=other.batch) == other


def example(*, rows: int = 1, operations: int = 1, text: str = "cheese") -> Record:
    schema = pa.schema([("1", pa.int64()), ("2", pa.timestamp("us")), ("3", pa.int16()), ("4", pa.utf8())])
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array(range(rows), pa.int64()),
            pa.array(range(rows), pa.timestamp("us")),
            pa.array([7] * rows, pa.int16()),
            pa.array([text] * rows),
        ],
        schema=schema,
    )
    return Record(
        version=5,
        wall_clock=1_700_000_000_000_000,
        transactions=(TransactionEntry(ordinal=0, id="a1", writer="w", sequence=3, rows_count=rows),),
        operations=tuple(
            Operation(ordinal=0, table=table, schema_version=1, action=Action.PUT, batch=batch)
            for table in range(1, operations + 1)
        ),
    )


@FAST
@given(RECORDS)
def test_every_record_comes_back_as_it_was(record: Record) -> None:
    assert_same(decode(joined(record)), record)


@pytest.mark.parametrize("type", ALL_TYPES, ids=str)
def test_every_type_comes_back_with_its_metadata_also_when_there_are_no_rows(type: Type) -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([None], type.arrow)], schema=pa.schema([types.arrow_field("1", type)]))
    for rows in (batch, batch.slice(0, 0)):
        operation = Operation(ordinal=0, table=1, schema_version=1, action=Action.PUT, batch=rows)
        record = Record(version=1, wall_clock=1, transactions=(), operations=(operation,))
        assert_same(decode(joined(record)), record)


def test_a_batch_without_columns_keeps_its_number_of_rows() -> None:
    batch = pa.RecordBatch.from_struct_array(pa.array([{}, {}], pa.struct([])))
    operation = Operation(ordinal=0, table=1, schema_version=1, action=Action.DELETE, batch=batch)
    record = Record(version=1, wall_clock=1, transactions=(), operations=(operation,))
    assert decode(joined(record)).operations[0].batch.num_rows == 2


def test_every_single_bit_flip_is_noticed() -> None:
    content = joined(example())
    for at in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[at] ^= 1 << bit
            with pytest.raises(errors.Corrupt, match="here: "):
                decode(bytes(damaged), where="here")


@FAST
@given(record=RECORDS, data=st.data())
def test_every_single_byte_change_is_noticed(record: Record, data: st.DataObject) -> None:
    damaged = bytearray(joined(record))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(errors.Corrupt):
        decode(bytes(damaged))


@FAST
@given(record=RECORDS, data=st.data())
def test_a_record_that_was_cut_or_grew_is_noticed(record: Record, data: st.DataObject) -> None:
    content = joined(record)
    with pytest.raises(errors.Corrupt):
        decode(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(errors.Corrupt):
        decode(content + b"\0")


NARROWABLE = {
    types.SMALLINT: np.int16, types.INTEGER: np.int32, types.BIGINT: np.int64,
    types.DATE: np.int32, types.TIME: np.int64, types.TIMESTAMP: np.int64, types.TIMESTAMPTZ: np.int64,
}  # fmt: skip


@FAST
@given(
    type=st.sampled_from(list(NARROWABLE)),
    base=INT64,
    span=st.sampled_from((0, 1, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**45, 2**63 - 1)),
    scale=st.sampled_from((1, 2, 1_000, 1_000_000)),
    nulls=st.booleans(),
    start=st.integers(0, 9),
    seed=st.integers(0, 99),
)
@case(types.TIMESTAMP, 0, 2**45, 1_000, True, 3, 0)
@case(types.BIGINT, -(2**63), 2**32 - 1, 1, False, 0, 0)
@case(types.BIGINT, 2**63 - 1, 2**32, 1_000_000, False, 0, 0)
def test_narrow_columns_come_back_as_they_were(
    type: Type, base: int, span: int, scale: int, nulls: bool, start: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    distances = random.integers(0, span, 400, np.uint64, endpoint=True) // np.uint64(scale) * np.uint64(scale)
    distances[[3, 399]] = 0, span // scale * scale
    values = (np.uint64(base % 2**64) + distances).view(np.int64)
    values = (values % 86_400_000_000 if type == types.TIME else values).astype(NARROWABLE[type])
    mask = random.random(400) < 0.3 if nulls else None
    column = pa.array(values, mask=mask).view(type.arrow)
    plain = pa.array(random.random(400))
    schema = pa.schema([types.arrow_field("1", type), pa.field("2", pa.float64())])
    batch = pa.RecordBatch.from_arrays([column, plain], schema=schema).slice(start)
    operation = Operation(ordinal=0, table=1, schema_version=1, action=Action.PUT, batch=batch)
    record = Record(
        version=1, wall_clock=1, transactions=(TransactionEntry(ordinal=0, id="x"),), operations=(operation,)
    )
    assert_same(decode(joined(record)), record)


@pytest.mark.parametrize(
    ("values", "type", "width"),
    [
        (range(1_000_000, 1_000_300), types.BIGINT, 2),
        (range(300), types.INTEGER, 2),
        ([7] * 300, types.SMALLINT, 1),
        ([2**32 - 1, *range(299)], types.BIGINT, 4),
        ([2**32, *range(299)], types.BIGINT, 8),
        (range(0, 300 * 10**9, 10**9), types.TIMESTAMP, 4),
        (range(0, 300 * 10**9 + 300, 10**9 + 1), types.TIMESTAMP, 8),
        (range(255), types.BIGINT, 8),
    ],
)
def test_columns_take_no_more_than_their_range_needs(values: Sequence[int], type: Type, width: int) -> None:
    batch = pa.RecordBatch.from_arrays(
        [pa.array(values, pa.int64()).cast(type.arrow)], schema=pa.schema([types.arrow_field("1", type)])
    )
    stored, _ = narrow(batch)
    assert stored.column(0).type.bit_width == 8 * width


def test_a_slice_is_stored_without_the_rows_around_it() -> None:
    small, large = example(rows=2), example(rows=10_000)
    operation = replace(large.operations[0], batch=large.operations[0].batch.slice(5_000, 2))
    sliced = replace(large, operations=(operation,))
    assert len(joined(sliced)) <= len(joined(small)) + records.ALIGNMENT
    assert_same(decode(joined(sliced)), sliced)


def test_a_schema_that_operations_share_is_stored_once() -> None:
    one, two, three = (len(joined(example(operations=count))) for count in (1, 2, 3))
    schema = len(example().operations[0].batch.schema.serialize())
    assert three - two < two - one + records.ALIGNMENT, "operations cost the same"
    assert two - one < schema + 48 + len(example().operations[0].batch.serialize())


def test_messages_are_aligned_and_decoded_in_place() -> None:
    content = pa.allocate_buffer(len(joined(example(rows=100, operations=3))))
    memoryview(content).cast("B")[:] = joined(example(rows=100, operations=3))
    for operation in decode(content).operations:
        for column in operation.batch.columns:
            for buffer in column.buffers():
                assert buffer is None or content.address <= buffer.address < content.address + content.size
                assert buffer is None or buffer.address % 8 == 0


def test_a_record_of_a_newer_format_asks_for_an_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "FORMAT", 3)
    content = joined(example())
    monkeypatch.setattr(records, "FORMAT", 2)
    with pytest.raises(errors.Unavailable, match="format 3") as raised:
        decode(content)
    assert raised.value.hint is not None
    assert "Upgrade" in raised.value.hint


def test_format_1_is_read_for_ever() -> None:
    """These bytes were written by the first version. A change that fails here needs a new format number."""
    assert_same(decode(GOLDEN), example(text="x"))


GOLDEN = zlib.decompress(
    base64.b85decode(
        "c-jk3^$B8RU|?WnfC2|O2^B6jh6ZK`mk|jwGax`h$QcVZy^G2RpnL&F1{A=EgJxiYP!UM#*^%U#k(7bN5)I24@PYq8zyVY!0OoNq"
        "@G!6e{lWocfec^)@)>|U4j{<_B_VhL$PYkl0OdCT%>im)1(_oO6@$6k1k7gvi>-jDV*;rYK~rZ8#52J142&T8D-g9@*vvEnx|0Kl"
        "*`U4^0GbBkvx8kM0QC>V9vL*fhG0MO05Ln*Pat6j2J!$X{4^LLegOd<1~F&|@_=2!z{~=6y9Qhb7m&{b4oy%PuVH|MJ#zGO;<1kd"
        "jm9M|fF>`1ntZ@+LIx6O`W4XA9W)Hlk}1i2bij_Lwt~d)2LRTjC5!"
    )
)
