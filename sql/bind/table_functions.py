"""Functions in FROM: the relation, its alias and its ordinality; objects of JSON as rows of columns that FROM names."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sqlglot import exp

from ...base.types import BIGINT, JSON, JSONB, TEXT, array_of
from ...engine.expression.node import Literal
from .. import bound
from .binder import Clause
from .context import Context
from .errors import fail, unsupported
from .expressions import expressions
from .names import fold, lower
from .scope import Scope
from .set_returning import set_returning
from .types import type_of


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
    columns = [context.new_column(column, type) for column, type in named]  # json_array_elements keeps its "value"
    if len(columns) == 1 and columns[0].name == name and alias is not None and alias.this is not None:
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


RECORDS: Final = tuple(f"{kind}_to_record{many}" for kind in ("json", "jsonb") for many in ("", "set"))


def records(
    context: Context, call: exp.Expr, tree: exp.Expr, scope: Scope
) -> tuple[bound.Derived, tuple[bound.OutputColumn, ...], str]:
    """``json_to_recordset(document) AS t(a int, b text)``: the relation, its columns, its name.

    Each object of the list is a row; a column is the object's value of that name, read as the column's type.
    """
    name = lower(call.name)
    document = JSONB if name.startswith("jsonb") else JSON
    alias: exp.TableAlias | None = tree.args.get("alias")
    definitions: list[exp.Expr] = list(alias.args.get("columns") or ()) if alias is not None else []
    if (
        alias is None
        or not definitions
        or not all(isinstance(d, exp.ColumnDef) and d.args.get("kind") for d in definitions)
    ):
        raise fail('a column definition list is required for functions returning "record"', call, sqlstate="42601",
                   hint=f"For example: {name}(document) AS t(a integer, b text).")  # fmt: skip
    binder = expressions(context, scope, Clause(name="functions in FROM"))
    if len(call.expressions) != 1:
        raise fail(f"function {name} takes one document", call, sqlstate="42883")
    given = binder.typed(call.expressions[0], document, what=f"argument of {name}")
    kind = "jsonb" if document == JSONB else "json"
    if name.endswith("set"):
        items = binder.call(f"{kind}_element_list", given, tree=call)
    else:
        items = bound.ArrayList(elements=(bound.cast_to(given, TEXT),), type=array_of(TEXT))
    element = context.new_column("element", TEXT)
    source = bound.FunctionScan(
        reference=context.new_reference(), function="unnest", arguments=(items,), columns=(element,), ordinality=False
    )
    outputs: list[bound.Output] = []
    for definition in definitions:
        key = Literal(value=fold(definition.this), type=TEXT)
        type = type_of(definition.args["kind"])
        if type.element is not None:
            raise unsupported(f"a column of {type} in {name}", definition, hint="Take it as json.")
        item = bound.cast_to(element.reference(), document)
        value = binder.call("json_get" if type.is_json else "json_get_text", item, key, tree=definition)
        column = context.new_column(fold(definition.this), type)
        outputs.append(bound.Output(column=column, expression=context.cast(value, type, definition)))
    query = bound.Select(source=source, where=None, grouping=None, having=None, outputs=tuple(outputs))
    columns = tuple(context.new_column(output.column.name, output.column.type) for output in outputs)
    label = fold(alias.this) if alias.this is not None else name
    derived = bound.Derived(reference=context.new_reference(), query=query, columns=columns, lateral=True)
    return derived, columns, label
