"""Expressions outside of queries: CHECK, DEFAULT, ``scan(where=...)``; what the engine itself evaluates."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sqlglot import exp

from ...base.errors import Invalid, LimitExceeded
from ...base.types import BOOLEAN, TEXT, UNKNOWN, Type
from ...base.values import literal_value
from ...engine import schema
from ...engine.catalog import EMPTY
from ...engine.expression.functions import assignment_cast
from ...engine.expression.functions.arrays import QUANTIFIED
from ...engine.expression.node import Column, Expression, Literal
from .. import bound
from ..parse import parse_expression
from ..walk import is_scalar, rewrite
from .binder import Clause
from .context import Context, Settings
from .errors import fail
from .expressions import expressions
from .scope import Range, Scope, ScopeColumn

_EXPRESSION: Final = Clause(name="this expression", subqueries=False)


def bind_expression(
    text_or_tree: str | exp.Expr,
    table: schema.Table | None,
    *,
    type: Type | None = None,
    alias: str | None = None,
    parameter_types: Mapping[int, Type] = MappingProxyType({}),
    settings: Settings | None = None,
) -> Expression:
    """Bind an expression over the columns of ``table`` (by their identifiers), or over nothing.

    ``type``: what the result is assigned to; an untyped literal is read as that type. ``alias``: the table's name in
    the text, the table's own unless told. No subqueries, aggregates or windows. Raises Invalid.
    """
    tree = parse_expression(text_or_tree) if isinstance(text_or_tree, str) else text_or_tree
    context = Context(
        catalog=EMPTY,
        settings=settings or Settings(),
        relations={},
        parameters={number: kind for number, kind in parameter_types.items() if kind != UNKNOWN},
        bind_query=_no_query,
    )
    scope = Scope()
    if table is not None:
        columns = tuple(
            ScopeColumn(column.name, Column(id=column.id, type=column.type, name=column.name))
            for column in table.columns
        )
        scope = Scope(ranges=(Range(name=alias or table.name, columns=columns),), columns=columns)
    try:
        node = expressions(context, scope, _EXPRESSION).bind(tree)
    except RecursionError:
        raise LimitExceeded("the expression is nested too deeply", sqlstate="54001") from None
    if type is None:
        node = context.known(node, tree)
    else:
        if node.type != UNKNOWN and not assignment_cast(node.type, type):
            raise fail(f"the expression is of type {node.type} but must be of type {type}", tree, sqlstate="42804",
                 hint="Rewrite it or cast it.")  # fmt: skip
        if isinstance(node, Literal) and node.type == UNKNOWN:
            literal_value(node.value, type)  # a length, too
        node = context.coerce(node, type, tree)
    node = _as_calls(node)
    if not is_scalar(node):
        raise Invalid("subqueries and aggregates are not supported in this expression", sqlstate="0A000")
    return bound.expression(node)


def _as_calls(node: bound.Bound) -> bound.Bound:
    """What queries say of arrays by nodes of their own as calls, which the engine evaluates."""

    def replaced(part: bound.Bound) -> bound.Bound | None:
        match part:
            case bound.ArrayList(query=None):
                items = [_as_calls(element) for element in part.elements]
                if all(isinstance(item, Literal) for item in items):
                    return Literal(value=[item.value for item in items if isinstance(item, Literal)], type=part.type)
                return bound.call("array_list", *items, type=part.type)
            case bound.Subscript():
                return bound.call("array_item", _as_calls(part.array), _as_calls(part.index), type=part.type)
            case bound.QuantifiedArray() if part.operator in QUANTIFIED:
                name = Literal(value=part.operator, type=TEXT)
                function = "all_items" if part.all else "any_item"
                return bound.call(function, name, _as_calls(part.operand), _as_calls(part.array), type=BOOLEAN)
            case _:
                return None

    return rewrite(node, replaced)


def _no_query(context: Context, tree: exp.Expr, scope: Scope) -> bound.Query:
    raise fail("cannot use a subquery in this expression", tree, sqlstate="0A000")
