"""Tables of all kinds of keys and columns, drawn by hypothesis, and rows and keys of a table as batches."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import typed_values
from hypothesis import strategies as st
from weftdb.base import types
from weftdb.base.types import Type
from weftdb.engine.schema import Column, Table

HOUR = 3_600_000_000


def types_of(table: Table) -> dict[str, Type]:
    return {column.name: column.type for column in table.columns}


def batch(table: Table, rows: list[dict[str, Any]], names: list[str] | None = None) -> pa.RecordBatch:
    schema = pa.schema([table.by_name[name].field for name in names]) if names is not None else table.arrow_schema
    return typed_values.batch_of(rows, schema, types_of(table))


def keys_batch(table: Table, keys: list[tuple[Any, ...]]) -> pa.RecordBatch:
    names = table.key_schema.names
    return batch(table, [dict(zip(names, key, strict=True)) for key in keys], names)


def keys_of(table: Table) -> st.SearchStrategy[tuple[Any, ...]]:
    """Primary keys of the table."""
    return st.tuples(*(typed_values.values_of(column.type) for column in table.primary_key_columns))


def rest_of(table: Table) -> dict[str, st.SearchStrategy[Any]]:
    """Values of the other columns."""
    return {
        column.name: typed_values.values_of(column.type, nullable=True)
        for column in table.columns
        if column.id not in table.primary_key
    }


@st.composite
def tables(draw: st.DrawFn) -> Table:
    key_types = draw(st.lists(st.sampled_from(typed_values.KEY_TYPES), min_size=1, max_size=3))
    value_types = draw(st.lists(st.sampled_from(typed_values.EVERY_TYPE), max_size=3))
    timed = draw(st.booleans())
    if timed:
        key_types[-1] = draw(st.sampled_from((types.TIMESTAMP, types.TIMESTAMPTZ, types.DATE)))
    columns = [Column(id=n, name=f"k{n}", type=type, nullable=False) for n, type in enumerate(key_types, 1)]
    columns += [Column(id=n, name=f"v{n}", type=type) for n, type in enumerate(value_types, len(columns) + 1)]
    primary_key = tuple(range(1, len(key_types) + 1))
    return Table(
        id=1,
        name="t",
        columns=tuple(draw(st.permutations(columns))),
        primary_key=primary_key,
        key=draw(st.sampled_from([primary_key[:n] for n in range(len(primary_key) + 1)])),
        time=len(key_types) if timed else None,
        every=draw(st.sampled_from((None, 24 * HOUR, 10_000_000 * HOUR))) if timed else None,
        shards=draw(st.sampled_from((1, 2, 3, 8))),
        next_column_id=len(columns) + 1,
    )
