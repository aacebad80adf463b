"""Values, batches and errors on the wire: what goes in comes out, and what is damaged is refused."""

from __future__ import annotations

import datetime as dt
import random
import uuid
from decimal import Decimal

import grpc
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.base.errors import ERRORS, Conflict, Internal, Invalid, LimitExceeded, WeftError
from weftdb.proto import frames, values
from weftdb.proto.failures import KINDS, METADATA_KEY, from_detail, to_detail
from weftdb.proto.weftdb.v1.kv_pb2 import WriterLayout, WriterRequest
from weftdb.proto.weftdb.v1.results_pb2 import ResultPart
from weftdb.proto.weftdb.v1.types_pb2 import ErrorDetail, Value, ValueList
from weftdb.server.convert import CODES, failure

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**80), max_value=2**80),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.dates(),
    st.times(),
    st.datetimes(),
    st.datetimes(timezones=st.just(dt.UTC)),
    st.uuids(),
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers() | st.none(), max_size=3),
    st.builds(
        lambda months, days, ns: pa.MonthDayNano([months, days, ns]),
        st.integers(-(2**31), 2**31 - 1),
        st.integers(-(2**31), 2**31 - 1),
        st.integers(-(2**63), 2**63 - 1),
    ),
)


@given(st.one_of(scalars, st.lists(scalars, max_size=4)))
@settings(max_examples=300, deadline=None)
def test_every_value_comes_back_as_it_was(value: object) -> None:
    message = Value.FromString(values.to_value(value).SerializeToString())
    found = values.from_value(message)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (np.int16(-5), -5),
        (np.float64(1.5), 1.5),
        (np.datetime64("2024-01-02T03:04:05"), dt.datetime(2024, 1, 2, 3, 4, 5)),
        (np.array([1, 2]), [1, 2]),
        ((1, "a"), [1, "a"]),
        (dt.timedelta(days=-1, seconds=5), pa.MonthDayNano([0, -1, 5_000_000_000])),
        (
            dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2))),
            dt.datetime(2023, 12, 31, 22, tzinfo=dt.UTC),
        ),
        (bytearray(b"x"), b"x"),
        (Decimal("1.50"), Decimal("1.50")),
        (uuid.UUID(int=5), uuid.UUID(int=5)),
    ],
)
def test_relatives_of_the_types_are_understood(value: object, found: object) -> None:
    assert values.from_value(values.to_value(value)) == found


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, 1j, "\ud800", np.datetime64("2024-01-01T00:00:00.000000001"), 10**2000, {"a": object()}]
)
def test_a_value_without_a_sql_type_is_refused(value: object) -> None:
    with pytest.raises(Invalid):
        values.to_value(value)


@pytest.mark.parametrize(
    "message",
    [
        Value(numeric="twelve"),
        Value(numeric="1" * 5000),
        Value(time=-1),
        Value(date=2**31 - 1),
        Value(timestamp=2**62),
        Value(uuid=b"short"),
        Value(json="[1"),
        Value(json="[1]"),
        Value(list=ValueList(values=[Value(time=-1)])),
    ],
)
def test_a_malformed_value_is_refused(message: Value) -> None:
    with pytest.raises(Invalid, match="malformed"):
        values.from_value(message)


def test_lists_cannot_be_nested_without_end() -> None:
    message = Value(integer=1)
    for _ in range(50):
        message = Value(list=ValueList(values=[message]))
    with pytest.raises(Invalid, match="nested"):
        values.from_value(message)


# -- batches ---------------------------------------------------------------------------------------------------------

BATCH = pa.record_batch(
    {
        "n": pa.array(range(1000), pa.int64()),
        "s": [f"text {n}" if n % 7 else None for n in range(1000)],
        "d": pa.array([Decimal(n) for n in range(1000)], pa.decimal128(10, 2)),
    }
)


@given(st.integers(0, 300), st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_a_batch_is_read_where_it_lies_whatever_stands_before_it(length: int, sequence: int) -> None:
    head = WriterRequest(writer="w" * length, sequence=sequence, layout=WriterLayout(table="t"))
    message = frames.pack(head, BATCH)
    found, data = frames.unpack(WriterRequest, message)
    assert (found.writer, found.sequence, found.layout.table) == ("w" * length, sequence, "t")
    assert data is not None
    assert data.address % 8 == 0
    assert frames.read_batch(data, BATCH.schema).equals(BATCH)
    assert WriterRequest.FromString(message).batch == data.to_pybytes()  # plain protobuf reads it, too


def test_another_client_need_not_pad() -> None:
    message = ResultPart(batch=BATCH.serialize().to_pybytes()).SerializeToString()
    _, data = frames.unpack(ResultPart, message)
    assert data is not None
    assert frames.read_batch(data, BATCH.schema).equals(BATCH)


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_splitting_any_bytes_never_fails(data: bytes) -> None:
    frames.split(data, batch_field=3)


def test_damaged_arrow_is_invalid_and_nothing_else() -> None:
    chance = random.Random(7)
    batch, schema = BATCH.serialize().to_pybytes(), frames.write_schema(BATCH.schema)
    stream = frames.write_stream([BATCH], BATCH.schema)
    refused = 0
    for _ in range(3000):
        kind = chance.randrange(3)
        data = bytearray((batch, schema, stream)[kind])
        for _ in range(chance.randrange(1, 5)):
            data[chance.randrange(min(len(data), 600))] = chance.randrange(256)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        try:
            if kind == 0:
                frames.read_batch(bytes(data), BATCH.schema)
            elif kind == 1:
                frames.read_schema(bytes(data))
            else:
                frames.read_stream(bytes(data))
        except Invalid:
            refused += 1
    assert refused > 1000


def test_text_that_is_not_utf8_is_refused() -> None:
    column = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 1, 3], np.int32)), pa.py_buffer(b"a\xff\xfe"))
    batch = pa.record_batch({"s": column})
    with pytest.raises(Invalid, match="malformed Arrow record batch"):
        frames.read_batch(batch.serialize(), batch.schema)


def test_a_batch_of_another_schema_is_refused() -> None:
    with pytest.raises(Invalid):
        frames.read_batch(
            BATCH.serialize(), pa.schema([("n", pa.int64()), ("s", pa.binary()), ("d", pa.float64()), ("x", pa.int8())])
        )


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_compressed_batches_are_refused_before_they_expand(codec: str) -> None:
    zeros = pa.record_batch({"n": np.zeros(1_000_000, np.int64), "s": [""] * 1_000_000})
    options = pa.ipc.IpcWriteOptions(compression=codec)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, zeros.schema, options=options) as writer:
        writer.write_batch(zeros)
    stream = sink.getvalue().to_pybytes()
    assert len(stream) < 200_000
    before = pa.total_allocated_bytes()
    with pytest.raises(Invalid, match="compressed"):
        frames.read_stream(stream)
    messages = list(pa.ipc.MessageReader.open_stream(stream))
    with pytest.raises(Invalid, match="compressed"):
        frames.read_batch(messages[1].serialize(), zeros.schema)
    assert pa.total_allocated_bytes() - before < 1_000_000


def test_a_stream_without_a_schema_is_malformed() -> None:
    batch = BATCH.serialize().to_pybytes()
    for data in (b"", b"\xff\xff\xff\xff\0\0\0\0", batch):
        with pytest.raises(Invalid):
            frames.read_stream(data)


def test_one_message_in_the_place_of_another_is_refused() -> None:
    schema, batch = frames.write_schema(BATCH.schema), BATCH.serialize().to_pybytes()
    with pytest.raises(Invalid):
        frames.read_schema(batch)
    with pytest.raises(Invalid):
        frames.read_batch(schema, BATCH.schema)
    with pytest.raises(Invalid):
        frames.read_stream(schema + schema)


def test_a_dictionary_column_is_refused_by_name() -> None:
    schema = pa.schema([("colour", pa.dictionary(pa.int8(), pa.utf8()))])
    with pytest.raises(Invalid, match="colour"):
        frames.read_schema(frames.write_schema(schema))


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 300)), max_size=12),
    st.integers(200, 20_000),
)
@settings(max_examples=100, deadline=None)
def test_cutting_keeps_rows_and_order_and_bounds_the_size(shapes: list[tuple[int, int]], bytes_max: int) -> None:
    batches = [pa.record_batch({"s": ["x" * width] * rows}) for rows, width in shapes]
    pieces = list(frames.cut([pa.record_batch({"s": pa.array([], pa.utf8())}), *batches], bytes_max=bytes_max))
    assert [value for piece in pieces for value in piece["s"].to_pylist()] == [
        value for batch in batches for value in batch["s"].to_pylist()
    ]
    assert all(piece.num_rows for piece in pieces)
    for piece in pieces:
        assert piece.nbytes <= bytes_max * 1.2 + 500 or piece.num_rows == 1


def test_a_row_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MESSAGE_BYTES_MAX", 100_000)
    batch = pa.record_batch({"s": ["x", "y" * 200_000, "z"]})
    with pytest.raises(LimitExceeded, match="one row"):
        list(frames.cut([batch], bytes_max=1000))


# -- errors ----------------------------------------------------------------------------------------------------------


def all_errors() -> list[type[WeftError]]:
    found: list[type[WeftError]] = []
    waiting = [WeftError]
    while waiting:
        for error in waiting.pop().__subclasses__():
            if error.__module__ == "weftdb.base.errors":
                found.append(error)
                waiting.append(error)
    return found


def test_the_tables_of_errors_are_total_and_codes_differ() -> None:
    assert set(all_errors()) == set(ERRORS) == set(CODES) == set(KINDS)
    assert len(set(CODES.values())) == len(CODES)
    assert len(set(KINDS.values())) == len(KINDS)
    assert grpc.StatusCode.OK not in CODES.values()


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_comes_back_as_it_was(error: type[WeftError]) -> None:
    given_error = error("what is wrong: «ß»\n  ^", hint="do this", sqlstate="12345", position=7)
    status = failure(given_error)
    ((key, detail),) = status.metadata
    found = from_detail(ErrorDetail.FromString(detail))
    assert key == METADATA_KEY
    assert type(found) is error
    assert (found.message, found.hint, found.sqlstate, found.position) == (
        given_error.message,
        given_error.hint,
        given_error.sqlstate,
        given_error.position,
    )


def test_a_conflict_comes_back_with_what_it_is_about() -> None:
    about = {"table": "stock", "key": (7, "ß", None, float("inf"), dt.date(2024, 1, 31)), "kind": "bound"}
    for more in (about, about | {"column": "n", "bound": 0, "value": Decimal("-1.50")}, {"kind": "definition"}, {}):
        error = Conflict("x", **more)  # type: ignore[arg-type]
        found = from_detail(ErrorDetail.FromString(failure(error).metadata[0][1]))
        assert vars(found) == vars(error)
    long = from_detail(to_detail(Conflict("x", table="t", key=("k" * 10_000,))))
    assert isinstance(long, Conflict)
    assert (long.table, long.key) == ("t", None)


def test_a_subclass_travels_as_the_class_above_it() -> None:
    class Special(Conflict):
        pass

    assert type(from_detail(ErrorDetail.FromString(failure(Special("x")).metadata[0][1]))) is Conflict
    assert type(from_detail(ErrorDetail(kind=99, message="from the future"))) is Internal  # type: ignore[arg-type]


def test_a_long_error_is_cut_to_what_metadata_may_have() -> None:
    status = failure(Invalid("ß" * 100_000, hint="h" * 100_000))
    assert len(status.metadata[0][1]) < 7_000
    assert len(status.text) <= 500
