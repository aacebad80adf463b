"""Tables with all kinds of keys, filters on them, and which rows a filter is true of: what tests of scans share."""

from __future__ import annotations

from typing import Any

import typed_values
from hypothesis import strategies as st
from weftdb.base import types
from weftdb.base.types import Kind, Type
from weftdb.engine.expression.evaluate import evaluate_filter
from weftdb.engine.expression.node import Call, Expression, Literal
from weftdb.engine.expression.node import Column as ColumnNode
from weftdb.engine.schema import Column, Table

HOUR = 3_600_000_000
COMPARISONS = ("equal", "less", "less_equal", "greater", "greater_equal", "in_list")


def call(function: str, *arguments: Expression) -> Expression:
    return Call(function=function, arguments=arguments, type=types.BOOLEAN)


def literal(value: object, type: Type) -> Literal:
    return Literal(value=value, type=type)


def node(column: Column) -> ColumnNode:
    return ColumnNode(id=column.id, type=column.type, name=column.name)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Tables with all kinds of keys: with and without primary key, event time, slices and shards."""
    key_types = draw(st.lists(st.sampled_from(typed_values.KEY_TYPES), min_size=1, max_size=3))
    keyed = draw(st.booleans())
    timed = draw(st.booleans())
    if timed:
        key_types[-1] = draw(st.sampled_from((types.TIMESTAMP, types.TIMESTAMPTZ, types.DATE)))
    columns = [
        Column(id=n, name=f"k{n}", type=type, nullable=not keyed and draw(st.booleans()))
        for n, type in enumerate(key_types, 1)
    ]
    value = draw(st.sampled_from(typed_values.EVERY_TYPE))
    columns.append(Column(id=len(columns) + 1, name="v", type=value))
    ids = tuple(range(1, len(key_types) + 1))
    choices = [ids[:n] for n in range(len(ids) + (0 if timed else 1))]
    return Table(
        id=1,
        name="t",
        columns=tuple(draw(st.permutations(columns))),
        primary_key=ids if keyed else (),
        key=draw(st.sampled_from(choices)),
        time=len(key_types) if timed else None,
        every=draw(st.sampled_from((None, 24 * HOUR, 10_000_000 * HOUR))) if timed else None,
        shards=draw(st.sampled_from((1, 2, 8))),
        next_column_id=len(columns) + 1,
    )


@st.composite
def filters(draw: st.DrawFn, table: Table, *, depth: int = 2) -> Expression:
    """Comparisons with constants, under AND and OR; sometimes what no pruning understands."""
    if depth and draw(st.integers(0, 3)):
        parts = draw(st.lists(filters(table, depth=depth - 1), min_size=2, max_size=3))
        return call(draw(st.sampled_from(("and", "and", "or"))), *parts)
    comparable = [column for column in table.columns if column.type.kind is not Kind.JSON]
    column = draw(st.sampled_from(comparable))
    kind = draw(st.integers(0, 12))
    if kind == 0:
        return call("is_null", node(column))
    if kind == 1:
        return call("not", call("is_null", node(column)))
    if kind == 2:
        return Literal(value=draw(st.sampled_from((True, False, None))), type=types.BOOLEAN)
    function = draw(st.sampled_from(COMPARISONS))
    values = typed_values.values_of(column.type, nullable=draw(st.integers(0, 9)) == 0)
    drawn = draw(st.lists(values, min_size=1, max_size=4 if function == "in_list" else 1))
    literals = [Literal(value=value, type=column.type) for value in drawn]
    if function != "in_list" and draw(st.booleans()):
        return call(function, literals[0], node(column))
    return call(function, node(column), *literals)


def rows_of(table: Table) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {column.name: typed_values.values_of(column.type, nullable=column.nullable) for column in table.columns}
    )


def is_true(filter: Expression, table: Table, rows: list[dict[str, Any]]) -> list[bool]:
    batch = typed_values.batch_of(rows, table.arrow_schema, {column.name: column.type for column in table.columns})
    ids = [column.id for column in table.columns]
    return evaluate_filter(filter, batch, column_ids=ids).to_pylist()
