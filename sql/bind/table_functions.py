"""Functions in FROM: the relation, its alias and its ordinality."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from ...base.types import BIGINT
from .. import bound
from .binder import Clause
from .context import Context
from .expressions import expressions
from .names import fold, lower
from .scope import Scope
from .set_returning import set_returning


def function_scan(context: Context, call: exp.Expr, tree: exp.Expr, scope: Scope) -> bound.FunctionScan:
    """The relation of ``call``; ``tree`` is the item of FROM around it, with its alias. Raises Invalid."""
    name = "unnest" if isinstance(call, exp.Unnest) else lower(call.name)
    alias: exp.TableAlias | None = tree.args.get("alias")
    binder = expressions(context, scope, Clause(name="functions in FROM"))
    function, arguments, named = set_returning(binder, name, call.expressions, call)
    ordinality_name: str | None = None
    if tree.args.get("ordinality") or call.args.get("offset"):
        offset = call.args.get("offset")
        ordinality_name = fold(offset) if isinstance(offset, exp.Identifier) else "ordinality"
    columns = [context.new_column(column, type) for column, type in named]
    if len(columns) == 1 and alias is not None and alias.this is not None:
        columns[0] = replace(columns[0], name=fold(alias.this))
    if ordinality_name is not None:
        columns.append(context.new_column(ordinality_name, BIGINT))
    return bound.FunctionScan(
        reference=context.new_reference(),
        function=function,
        arguments=arguments,
        columns=tuple(columns),
        ordinality=ordinality_name is not None,
    )
