"""A result streams once, or is kept and read as often as one likes."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from weftdb.base.errors import Closed, Invalid
from weftdb.base.result import Result
from weftdb.base.types import BIGINT, TEXT, arrow_field

SCHEMA = pa.schema([arrow_field("id", BIGINT), arrow_field("name", TEXT)])


def batches() -> Iterator[pa.RecordBatch]:
    for id, name in ((1, "a"), (2, "b")):
        yield pa.record_batch([pa.array([id]), pa.array([name])], schema=SCHEMA)


def result() -> Result:
    return Result(schema=SCHEMA, batches=batches(), version=7)


def test_rows_arrow_and_scalar_may_be_called_again() -> None:
    found = result()
    assert found.rows() == [(1, "a"), (2, "b")]
    assert found.rows() == found.rows()
    assert found.arrow().num_rows == 2
    assert found.reader().read_all() == found.arrow()
    assert (found.version, found.tag, found.names, found.types) == (7, "SELECT", ("id", "name"), (BIGINT, TEXT))


def test_a_streamed_result_is_gone_and_says_so() -> None:
    found = result()
    assert [batch.num_rows for batch in found.reader()] == [1, 1]
    with pytest.raises(Closed, match="streamed already"):
        found.rows()


def test_iteration_and_arrow_streams_hand_out_the_rows() -> None:
    assert list(result()) == [(1, "a"), (2, "b")]
    assert pa.table(result()).num_rows == 2
    assert pa.RecordBatchReader.from_stream(result()).schema == SCHEMA


def test_scalar_is_one_value_none_or_an_error() -> None:
    def of(values: list[int]) -> Result:
        batch = pa.record_batch([pa.array(values, pa.int64())], schema=pa.schema([SCHEMA.field(0)]))
        return Result(schema=batch.schema, batches=[batch], version=1)

    assert of([5]).scalar() == 5
    assert of([]).scalar() is None
    with pytest.raises(Invalid, match="needs a result of one row, this one has 2"):
        of([5, 6]).scalar()
    with pytest.raises(Invalid, match="needs a result of one column, this one has 2"):
        result().scalar()


def test_the_snapshot_below_is_released_at_the_end_and_by_close() -> None:
    released: list[str] = []
    with Result(schema=SCHEMA, batches=batches(), version=1, on_close=lambda: released.append("closed")):
        assert released == []
    assert released == ["closed"]
    found = Result(schema=SCHEMA, batches=batches(), version=1, on_close=lambda: released.append("read"))
    found.rows()
    found.close()
    assert released == ["closed", "read"]


def test_a_failing_source_raises_its_error_and_is_released() -> None:
    released: list[bool] = []

    def failing() -> Iterator[pa.RecordBatch]:
        yield from batches()
        raise Invalid("division by zero")

    found = Result(schema=SCHEMA, batches=failing(), version=1, on_close=lambda: released.append(True))
    with pytest.raises(Invalid, match="division by zero"):
        found.rows()
    assert released == [True]
