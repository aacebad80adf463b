"""Building JSON: ``to_json``, the builders and the aggregates, whose arguments are of any type.

Each argument becomes JSON text first, by its type (``to_json_text``; a document is its own text); then the pieces are
put together as text, and cast. So one function of the table does for all types.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from ...base.types import JSON, JSONB, TEXT, UNKNOWN, Kind, Type, array_of
from ...engine.expression.node import Case, Literal
from .. import bound
from .binder import ExpressionBinder
from .errors import fail, unsupported
from .rows import Row, row_of

TO_JSON: Final = frozenset(("to_json", "to_jsonb", "row_to_json", "array_to_json"))
BUILDERS: Final = frozenset(f"{kind}_build_{what}" for kind in ("json", "jsonb") for what in ("object", "array"))
AGGREGATES: Final = frozenset(f"{kind}_{name}" for kind in ("json", "jsonb") for name in ("agg", "object_agg"))


PATHS: Final = {
    **dict.fromkeys(("jsonb_set", "jsonb_insert", "jsonb_delete_path", "jsonb_exists_any", "jsonb_exists_all"), (1,)),
    **dict.fromkeys(("json_object", "jsonb_object"), (0, 1)),
}
"""Functions, and which of their arguments are arrays of text; quoted ones, too: ``'{a,b}'``."""


def with_path(binder: ExpressionBinder, name: str, nodes: Sequence[bound.Bound], tree: exp.Expr) -> list[bound.Bound]:
    """The arguments of one of ``PATHS``."""
    return [
        binder.context.coerce(node, array_of(TEXT), tree) if place in PATHS[name] and node.type == UNKNOWN else node
        for place, node in enumerate(nodes)
    ]


def result_type(function: str) -> Type:
    return JSONB if "jsonb" in function else JSON


def json_text(binder: ExpressionBinder, node: bound.Bound, tree: exp.Expr) -> bound.Bound:
    """The JSON text of a value."""
    node = binder.context.known(node, tree)
    if node.type.is_json:
        return bound.cast_to(node, TEXT)
    if node.type.element is not None and node.type.element.kind in (Kind.JSON, Kind.JSONB, Kind.REAL):
        raise unsupported(f"{node.type} as JSON", tree, hint="Aggregate the elements with json_agg.")
    if node.type.kind is Kind.REAL:
        return bound.cast_to(node, TEXT)  # the shortest digits; NaN and infinity are no JSON then
    return binder.call("to_json_text", node, tree=tree)


def bind_value(binder: ExpressionBinder, tree: exp.Expr) -> bound.Bound:
    """What JSON is to be made of: a row as its JSON, anything else as it is."""
    row = row_of(binder, tree)
    if row is None:
        return binder.bind(tree)
    texts = [
        part for name, value in row.fields for part in (Literal(value=name, type=TEXT), json_text(binder, value, tree))
    ]
    whole = binder.call("json_row", *texts, tree=tree)
    if row.missing is None:
        return whole
    return Case(
        branches=((bound.expression(row.missing), Literal(value=None, type=JSON)),),
        default=bound.expression(whole),
        type=JSON,
    )


def row_key(binder: ExpressionBinder, row: Row, tree: exp.Expr) -> bound.Bound:
    """A value that two rows share exactly if they are equal, NULLs too."""
    if any(value.type.kind in (Kind.REAL, Kind.DOUBLE, Kind.INTERVAL, Kind.ARRAY) for value in row.values):
        raise unsupported("count(DISTINCT row) with floats, intervals or arrays in it", tree,
                          hint="Count the rows of a SELECT DISTINCT.")  # fmt: skip
    key = binder.call("json_build_array", *(json_text(binder, value, tree) for value in row.values), tree=tree)
    key = bound.cast_to(key, TEXT)
    if row.missing is None:
        return key
    null = Literal(value=None, type=TEXT)
    return Case(branches=((bound.expression(row.missing), null),), default=bound.expression(key), type=TEXT)


def call(binder: ExpressionBinder, name: str, trees: Sequence[exp.Expr], tree: exp.Expr) -> bound.Bound:
    """``to_json`` and its like, and the builders."""
    nodes = [bind_value(binder, item) for item in trees]
    if name in TO_JSON:
        if len(nodes) != 1:
            raise fail(f"function {name} takes one value", tree, sqlstate="42883")
        if (name == "row_to_json" and row_of(binder, trees[0]) is None) or (
            name == "array_to_json" and nodes[0].type.kind is not Kind.ARRAY
        ):
            raise fail(f"function {name}({nodes[0].type}) does not exist", tree, sqlstate="42883")
        value = binder.context.known(nodes[0], trees[0])
        if value.type == result_type(name):
            return value
        return bound.cast_to(json_text(binder, value, tree), result_type(name))
    if not nodes:
        raise unsupported(f"{name}() without arguments", tree, hint="Write '{}' or '[]'.")
    if name.endswith("array"):
        texts = [json_text(binder, node, tree) for node in nodes]
    else:
        texts = [
            json_text(binder, node, tree) if place % 2 else binder.context.cast(binder.context.known(node), TEXT, tree)
            for place, node in enumerate(nodes)
        ]
    return binder.call(name, *texts, tree=tree)


def aggregate_arguments(
    binder: ExpressionBinder, name: str, trees: Sequence[exp.Expr], tree: exp.Expr
) -> tuple[str, list[bound.Bound]]:
    """The aggregate of texts that ``name`` is, and its arguments. PostgreSQL begins a line for each row and array."""
    nodes = [bind_value(binder, item) for item in trees]
    wanted = 2 if name.endswith("object_agg") else 1
    if len(nodes) != wanted:
        raise fail(f"function {name} takes {wanted} arguments", tree, sqlstate="42883")
    value = json_text(binder, nodes[-1], tree)
    if wanted == 1:
        broken = nodes[0].type.kind is Kind.ARRAY or row_of(binder, trees[0]) is not None
        return "json_lines_agg" if broken else "json_text_agg", [value]
    key = binder.context.cast(binder.context.known(nodes[0]), TEXT, tree)
    return "json_object_text_agg", [binder.call("to_json_text", key, tree=tree), value]
