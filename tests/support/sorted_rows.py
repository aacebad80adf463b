"""Tables of any types, rows for them, and segments of these rows in memory: what tests of sealing and merging share."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import typed_values
from hypothesis import strategies as st
from weftdb.base import types
from weftdb.base.rows import python_values
from weftdb.base.types import Type
from weftdb.engine.layout import Layout
from weftdb.engine.memtable import Memtable
from weftdb.engine.schema import ROW_ID, Column, Table
from weftdb.engine.segment import BEGIN, DELTA
from weftdb.engine.segment_index import SegmentIndex
from weftdb.storage.column_values import Values, array_of, values_of
from weftdb.storage.segment import SegmentReader, SegmentWriter

BLOCK_ROWS = 64
TIMES = (types.TIMESTAMP, types.TIMESTAMPTZ, types.DATE)


class Output:
    """A file in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    @property
    def position(self) -> int:
        return len(self.data)

    def write(self, data: memoryview) -> None:
        self.data += data


@dataclass
class Row:
    """A row version as a test knows it; ``values`` by column identifier."""

    values: dict[int, Any]
    begin: int
    delta: bool = False


@dataclass
class Segment:
    """A finished segment in memory, and how keys are found in it."""

    reader: SegmentReader
    index: SegmentIndex
    layout: Layout = field(repr=False)

    def rows(self) -> list[Row]:
        """All rows, in order."""
        columns = {column.id: self._values(column.id, column.type) for column in self.layout.columns}
        begins, deltas = self._values(BEGIN, types.BIGINT), self._values(DELTA, types.BOOLEAN)
        return [
            Row({id: column[row] for id, column in columns.items()}, begins[row], deltas[row])
            for row in range(self.reader.rows_count)
        ]

    def _values(self, id: int, type: Type) -> list[Any]:
        return python_values(array_of(self.reader.read(id, type, 0, self.reader.rows_count), type), type)


def writer_of(rows_count: int, *, block_rows: int = BLOCK_ROWS) -> tuple[SegmentWriter, Output]:
    output = Output()
    return SegmentWriter(output, rows_count=rows_count, block_rows=block_rows), output


def opened(writer: SegmentWriter, output: Output, layout: Layout) -> Segment:
    writer.finish()
    reader = SegmentReader.open(np.frombuffer(bytes(output.data), np.uint8), name="test")
    assert list(reader.check()) == []
    return Segment(reader, SegmentIndex(reader, layout), layout)


def values_by_id(layout: Layout, rows: list[dict[int, Any]]) -> dict[int, Values]:
    """Rows as columns."""
    return {
        column.id: values_of(typed_values.array_of([row[column.id] for row in rows], column.type), column.type)
        for column in layout.columns
    }


def filled(layout: Layout, batches: list[list[Row]], memtable: Memtable | None = None) -> Memtable:
    """A memtable with these rows: one commit per batch, at the begin version of its first row."""
    memtable = memtable or Memtable()
    for batch in batches:
        if batch:
            values = values_by_id(layout, [row.values for row in batch])
            keys = layout.encode(values, count=len(batch)) if layout.encoder else None
            begin, delta = batch[0].begin, batch[0].delta
            memtable.append(layout, values, keys, 0, len(batch), version=begin, delta=delta)
    return memtable


def sort_key(layout: Layout, row: Row) -> tuple[Any, ...]:
    """What Python sorts as sort keys must be."""
    return tuple(orderable(row.values[column.id], column.type) for column in layout.sort_columns)


def orderable(value: Any, type: Type) -> Any:
    """NULL and NaN last, text and UUID by bytes."""
    if value is None:
        return (2, 0)
    if isinstance(value, float) and math.isnan(value):
        return (1, 0)
    if type.is_text:
        return (0, value.encode())
    return (0, value.bytes if isinstance(value, uuid.UUID) else value)


def same(left: Any, right: Any) -> bool:
    """Equal as values are: a NaN is itself, and zeros have signs."""
    if isinstance(left, float) and isinstance(right, float):
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left) and math.isnan(right)
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return left == right and type(left) is type(right)


def assert_rows(found: list[Row], expected: list[Row]) -> None:
    assert len(found) == len(expected)
    for place, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert (one.begin, bool(one.delta)) == (other.begin, other.delta), place
        assert one.values.keys() == other.values.keys()
        for id, value in one.values.items():
            assert same(value, other.values[id]), (place, id, value, other.values[id])


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """A table with primary key, or without: then with a key and an event time, or not; keys of any types."""
    key_types = draw(st.lists(st.sampled_from(typed_values.KEY_TYPES), min_size=1, max_size=3))
    time_type = draw(st.none() | st.sampled_from(TIMES))
    others = draw(st.lists(st.sampled_from(typed_values.EVERY_TYPE), max_size=4))
    with_key = draw(st.booleans())
    columns = [Column(id=n, name=f"k{n}", type=type, nullable=not with_key) for n, type in enumerate(key_types, 1)]
    key = tuple(column.id for column in columns)
    time = None
    if time_type is not None:
        time = len(columns) + 1
        columns.append(Column(id=time, name="time", type=time_type, nullable=not with_key))
    for type in others:
        columns.append(Column(id=len(columns) + 1, name=f"c{len(columns)}", type=type, nullable=draw(st.booleans())))
    primary_key: tuple[int, ...] = ()
    if with_key:
        orders = [key] if time is None else [(*key, time), (time, *key), (*key[:1], time, *key[1:])]
        primary_key = draw(st.sampled_from(orders))
        key = draw(st.sampled_from([key, key[:1], key[-1:]]))
    elif draw(st.booleans()):
        key = ()
    return Table(id=1, name="t", columns=tuple(columns), primary_key=primary_key, key=key, time=time)


@st.composite
def versions(draw: st.DrawFn, layout: Layout, *, size: int = 40, begin: int = 1, first_id: int = 1) -> list[list[Row]]:
    """Batches of rows in order of arrival, with few different values, so that keys come again."""
    columns = layout.table.columns
    rows = st.tuples(*(typed_values.values_of(column.type, nullable=column.nullable) for column in columns))
    batches: list[list[Row]] = []
    ids = [column.id for column in columns]
    for values in draw(st.lists(st.lists(rows, min_size=1, max_size=size), min_size=1, max_size=4)):
        delta = draw(st.booleans())
        batch = [Row(dict(zip(ids, each, strict=True)), begin, delta) for each in values]
        if layout.encoder is None:
            for row in batch:
                row.values[ROW_ID] = first_id
                first_id += 1
        batches.append(batch)
        begin += draw(st.integers(1, 3))
    return batches
