"""Set-returning functions, in FROM and in select lists: their names, arguments and types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from ...base.types import INTEGER, INTERVAL, TIMESTAMP, TIMESTAMPTZ, UNKNOWN, Kind, Type
from ...engine.expression.functions import common_type
from ...engine.expression.node import Literal
from .. import bound
from .binder import ExpressionBinder
from .context import Context
from .errors import fail, unsupported

SET_RETURNING: Final = frozenset(("generate_series", "unnest", "generate_subscripts"))

Signature = tuple[str, tuple[bound.Bound, ...], Type]
"""The function as ``render`` knows it, its arguments, and the type of a row's value."""


def set_returning(binder: ExpressionBinder, name: str, trees: Sequence[exp.Expr], tree: exp.Expr) -> Signature:
    """The call of ``name`` with bound arguments. Raises Invalid (42883)."""
    nodes = [binder.bind(argument) for argument in trees]
    match name:
        case "unnest":
            if len(nodes) != 1:
                raise unsupported("unnest with more than one array", tree)
            type = nodes[0].type
            if type.kind is not Kind.ARRAY or type.element is None:
                raise fail(f"function unnest({type}) does not exist", tree, sqlstate="42883")
            return name, (nodes[0],), type.element
        case "generate_subscripts":
            if len(nodes) != 2 or nodes[0].type.kind is not Kind.ARRAY:
                raise fail("function generate_subscripts takes an array and a dimension", tree, sqlstate="42883")
            dimension = binder.context.implicit(nodes[1], INTEGER, tree, what="the dimension")
            length = binder.call("array_length", nodes[0], dimension, tree=tree)
            return "generate_series", (_one(), length), INTEGER
        case "generate_series":
            arguments, type = _series(binder.context, nodes, tree)
            return name, arguments, type
        case _:
            raise fail(f"function {name}() does not exist in FROM", tree, sqlstate="42883",
                 hint=f"{', '.join(sorted(SET_RETURNING))} are the functions that FROM knows.")  # fmt: skip


def _one() -> bound.Bound:
    return Literal(value=1, type=INTEGER)


def _series(context: Context, nodes: Sequence[bound.Bound], tree: exp.Expr) -> tuple[tuple[bound.Bound, ...], Type]:
    """The arguments of generate_series, one type; dates count as moments, as in PostgreSQL."""
    if len(nodes) not in (2, 3):
        raise fail("function generate_series takes a start, a stop and a step", tree, sqlstate="42883")
    kinds = {node.type.kind for node in nodes[:2]} - {Kind.UNKNOWN}
    if kinds & {Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ}:
        type = TIMESTAMP if kinds == {Kind.TIMESTAMP} else TIMESTAMPTZ
        if len(nodes) != 3:
            raise fail(f"function generate_series({type}, {type}) does not exist", tree, sqlstate="42883",
                 hint="Give a step, such as INTERVAL '1 day'.")  # fmt: skip
        step = context.implicit(nodes[2], INTERVAL, tree, what="the step of generate_series")
        return (context.coerce(nodes[0], type, tree), context.coerce(nodes[1], type, tree), step), type
    known = [node.type for node in nodes if node.type != UNKNOWN]
    type = common_type(known, context="generate_series") if known else INTEGER
    if type.kind is Kind.SMALLINT:
        type = INTEGER
    if type.kind not in (Kind.INTEGER, Kind.BIGINT):
        raise unsupported(f"generate_series of {type}", tree, hint="Use integers, timestamps, or cast to bigint.")
    return tuple(context.coerce(node, type, tree) for node in nodes), type
