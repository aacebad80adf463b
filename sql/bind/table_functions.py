"""Functions in FROM: ``generate_series`` and ``unnest``, with their arguments' types."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from ...base.types import BIGINT, INTEGER, INTERVAL, TIMESTAMP, TIMESTAMPTZ, UNKNOWN, Kind, Type
from ...engine.expression.functions import common_type
from .. import bound
from .binder import Clause
from .context import Context
from .errors import fail, unsupported
from .expressions import expressions
from .names import fold, lower
from .scope import Scope


def function_scan(context: Context, call: exp.Expr, tree: exp.Expr, scope: Scope) -> bound.FunctionScan:
    """The relation of ``call``; ``tree`` is the item of FROM around it, with its alias. Raises Invalid."""
    name = "unnest" if isinstance(call, exp.Unnest) else lower(call.name)
    alias: exp.TableAlias | None = tree.args.get("alias")
    binder = expressions(context, scope, Clause(name="functions in FROM"))
    nodes = [binder.bind(argument) for argument in call.expressions]
    ordinality_name: str | None = None
    if tree.args.get("ordinality") or call.args.get("offset"):
        offset = call.args.get("offset")
        ordinality_name = fold(offset) if isinstance(offset, exp.Identifier) else "ordinality"
    match name:
        case "unnest":
            if len(nodes) != 1:
                raise unsupported("unnest with more than one array", tree)
            if nodes[0].type.kind is not Kind.ARRAY or nodes[0].type.element is None:
                raise fail(f"function unnest({nodes[0].type}) does not exist", tree, sqlstate="42883")
            arguments, type = tuple(nodes), nodes[0].type.element
        case "generate_series":
            arguments, type = _series(context, nodes, call)
        case _:
            raise fail(f"function {name}() does not exist in FROM", tree, sqlstate="42883",
                 hint="generate_series and unnest are the functions that FROM knows.")  # fmt: skip
    columns = [context.new_column(fold(alias.this) if alias is not None and alias.this is not None else name, type)]
    if ordinality_name is not None:
        columns.append(context.new_column(ordinality_name, BIGINT))
    return bound.FunctionScan(
        reference=context.new_reference(),
        function=name,
        arguments=arguments,
        columns=tuple(columns),
        ordinality=ordinality_name is not None,
    )


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
