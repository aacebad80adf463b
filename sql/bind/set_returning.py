"""Set-returning functions, in FROM and in select lists: their names, arguments and types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from ...base.types import INTEGER, INTERVAL, JSON, JSONB, TEXT, TIMESTAMP, TIMESTAMPTZ, UNKNOWN, Kind, Type, array_of
from ...engine.expression.functions import common_type
from ...engine.expression.node import Literal
from .. import bound
from .binder import ExpressionBinder
from .context import Context
from .errors import fail, unsupported

_LISTS: Final = {
    "regexp_split_to_table": (("regexp_split_to_table", "regexp_split_to_array"),),
    "regexp_matches": (("regexp_matches", "regexp_match_list"),),
    "string_to_table": (("string_to_table", "string_to_array"),),
    "jsonb_path_query": (("", "jsonb_path_list"),),
    **{
        name.format(kind): tuple((column, function.format(kind)) for column, function in columns)
        for kind in ("json", "jsonb")
        for name, columns in (
            ("{}_array_elements", (("value", "{}_element_list"),)),
            ("{}_array_elements_text", (("value", "{}_element_text_list"),)),
            ("{}_object_keys", (("", "{}_key_list"),)),
            ("{}_each", (("key", "{}_key_list"), ("value", "{}_value_list"))),
            ("{}_each_text", (("key", "{}_key_list"), ("value", "{}_value_text_list"))),
        )
    },
}
"""What is the elements of lists: the columns, "" for the function's name, and the function of the table for each."""

SET_RETURNING: Final = frozenset(("generate_series", "unnest", "generate_subscripts", *_LISTS))

Columns = tuple[tuple[str, Type], ...]
Signature = tuple[str, tuple[bound.Bound, ...], Columns]
"""The function as ``render`` knows it, its arguments, and the columns of its rows: of ``unnest`` one per argument."""


def set_returning(binder: ExpressionBinder, name: str, trees: Sequence[exp.Expr], tree: exp.Expr) -> Signature:
    """The call of ``name`` with bound arguments. Raises Invalid (42883)."""
    nodes = [binder.bind(argument) for argument in trees]
    match name:
        case "unnest":
            return name, tuple(nodes), tuple((name, _element(node, tree)) for node in nodes)
        case _ if name in _LISTS:
            lists = [(column, binder.call(function, *nodes, tree=tree)) for column, function in _LISTS[name]]
            document = JSONB if name.startswith("jsonb") else JSON if name.startswith("json") else TEXT
            texts = name.endswith(("_text", "_keys"))
            if name == "regexp_matches":
                document = array_of(TEXT)
            columns = tuple((column or name, TEXT if texts or column == "key" else document) for column, _ in lists)
            return "unnest", tuple(node for _, node in lists), columns
        case "generate_subscripts":
            if len(nodes) != 2 or nodes[0].type.kind is not Kind.ARRAY:
                raise fail("function generate_subscripts takes an array and a dimension", tree, sqlstate="42883")
            dimension = binder.context.implicit(nodes[1], INTEGER, tree, what="the dimension")
            length = binder.call("array_length", nodes[0], dimension, tree=tree)
            return "generate_series", (_one(), length), ((name, INTEGER),)
        case "generate_series":
            arguments, type = _series(binder.context, nodes, tree)
            return name, arguments, ((name, type),)
        case _:
            raise fail(f"function {name}() does not exist in FROM", tree, sqlstate="42883",
                 hint=f"{', '.join(sorted(SET_RETURNING))} are the functions that FROM knows.")  # fmt: skip


def _element(node: bound.Bound, tree: exp.Expr) -> Type:
    if node.type.kind is not Kind.ARRAY or node.type.element is None:
        raise fail(f"function unnest({node.type}) does not exist", tree, sqlstate="42883")
    return node.type.element


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
