"""Giving a query's columns other types: set operations, VALUES, targets of INSERT, subqueries in comparisons.

A literal in a select list takes the new type as a literal (``SELECT 'a' UNION ...``); where rows were already made
distinct, sorted or cut by the old types, the casts go around the query instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ...base.types import UNKNOWN, Type
from ...engine.expression.node import Literal
from .. import bound
from .context import Context


def with_types(context: Context, query: bound.Query, types: Sequence[Type]) -> bound.Query:
    """``query`` with its columns as ``types``, which are castable; identifiers may change."""
    if all(column.type == type for column, type in zip(query.columns, types, strict=True)):
        return query
    match query:
        case bound.Select() if _may_change(query, types):
            outputs = tuple(
                bound.Output(
                    column=dataclasses.replace(output.column, type=type),
                    expression=context.coerce(output.expression, type),
                )
                for output, type in zip(query.outputs, types, strict=True)
            )
            return dataclasses.replace(query, outputs=outputs)
        case bound.Values() if not (query.order or query.limit or query.offset):
            return dataclasses.replace(
                query,
                rows=tuple(
                    tuple(context.coerce(item, type) for item, type in zip(row, types, strict=True))
                    for row in query.rows
                ),
                columns=tuple(
                    dataclasses.replace(column, type=type) for column, type in zip(query.columns, types, strict=True)
                ),
            )
        case _:
            return around(context, resolved(context, query), types)


def resolved(context: Context, query: bound.Query) -> bound.Query:
    """``query`` with TEXT for each column that is still UNKNOWN."""
    if all(column.type != UNKNOWN for column in query.columns):
        return query
    match query:
        case bound.Select() | bound.Values():
            plain = dataclasses.replace(query, order=(), limit=None, offset=None)
            if isinstance(plain, bound.Select):
                plain = dataclasses.replace(plain, distinct=False, distinct_on=())
            types = [context.known(_null(column.type)).type for column in query.columns]
            types = [new if old.type == UNKNOWN else old.type for old, new in zip(query.columns, types, strict=True)]
            changed = with_types(context, plain, types)
            assert isinstance(changed, bound.Select | bound.Values), "a plain query changes in place"
            if isinstance(changed, bound.Select):
                assert isinstance(query, bound.Select), "the same kind of query"
                return dataclasses.replace(query, outputs=changed.outputs)
            assert isinstance(query, bound.Values), "the same kind of query"
            return dataclasses.replace(query, rows=changed.rows, columns=changed.columns)
        case bound.With():
            return dataclasses.replace(query, query=resolved(context, query.query))
        case bound.SetOperation():
            raise AssertionError("a set operation has types")


def around(context: Context, query: bound.Query, types: Sequence[Type]) -> bound.Select:
    """A SELECT around ``query`` that casts its columns."""
    inner = tuple(context.new_column(column.name, column.type) for column in query.columns)
    outputs = tuple(
        bound.Output(column=context.new_column(column.name, type), expression=bound.cast_to(column.reference(), type))
        for column, type in zip(inner, types, strict=True)
    )
    source = bound.Derived(reference=context.new_reference(), query=query, columns=inner)
    return bound.Select(source=source, where=None, grouping=None, having=None, outputs=outputs)


def _may_change(query: bound.Select, types: Sequence[Type]) -> bool:
    """Whether casting the outputs in place keeps what DISTINCT, ORDER BY and LIMIT did."""
    if not (query.distinct or query.distinct_on or query.order or query.limit or query.offset):
        return True
    return all(output.column.type in (type, UNKNOWN) for output, type in zip(query.outputs, types, strict=True))


def _null(type: Type) -> bound.Bound:
    return Literal(value=None, type=type)
