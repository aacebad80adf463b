"""Whole queries: WITH, set operations, VALUES, parentheses; and the entry, ``bind_query``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import pyarrow as pa
from sqlglot import exp

from ...base.errors import Invalid, LimitExceeded
from ...base.limits import COLUMNS_MAX
from ...base.types import TEXT, UNKNOWN, Type
from ...engine.catalog import Catalog
from ...engine.expression.functions import common_type, implicit_cast
from ...engine.expression.node import Parameter
from .. import bound
from ..walk import Node, arrow_scans_among, rewrite, uses_among, walk
from .binder import Clause
from .context import Context, Settings
from .errors import fail, only, unsupported
from .expressions import expressions
from .names import fold
from .retype import around, resolved, with_types
from .scope import CteEntry, Scope
from .select import bind_select, limits, sort_key

_VALUES: Final = Clause(name="VALUES")
_SET_KINDS: Final[dict[type[exp.Expr], bound.SetKind]] = {
    exp.Union: bound.SetKind.UNION,
    exp.Intersect: bound.SetKind.INTERSECT,
    exp.Except: bound.SetKind.EXCEPT,
}


def bind_query(
    tree: exp.Expr,
    catalog: Catalog,
    *,
    parameter_types: Mapping[int, Type] = MappingProxyType({}),
    settings: Settings | None = None,
    targets: Sequence[Type] | None = None,
    relations: Mapping[str, pa.Schema] = MappingProxyType({}),
    pasts: Mapping[exp.Expr, tuple[int, Catalog]] = MappingProxyType({}),
) -> bound.BoundQuery:
    """Bind a SELECT, VALUES, set operation or WITH. What comes out can be run as it is; ``plan`` makes it better.

    ``parameter_types``: declared types of ``$n``; the others are inferred. ``targets``: types of the table columns that
    the output columns are assigned to; untyped literals and parameters take them, everything else keeps its own type.
    ``relations``: schemas of relations that are given as Arrow when the query runs, before the catalog's. ``pasts``:
    for each AS OF clause the place of its snapshot among those that the query is run with, and its catalog.

    Raises Invalid with ``position`` (0-based in the rewritten text; ``parse.pointing`` makes a place in the script).
    """
    settings = settings or Settings()
    context = Context(
        catalog=catalog,
        settings=settings,
        relations=relations,
        parameters={number: type for number, type in parameter_types.items() if type != UNKNOWN},
        bind_query=_bind_resolved,
        pasts=pasts,
    )
    try:
        if isinstance(tree, exp.Values) and tree.args.get("with_") is None:
            query = _values(context, tree, Scope(), targets=targets)
        else:
            query = _bind(context, tree, Scope())
        if targets is not None and len(targets) == len(query.columns):
            query = with_types(context, query, _targets(query, targets))
        query = resolved(context, query)
    except RecursionError:
        raise LimitExceeded(
            "the statement is nested too deeply", sqlstate="54001", hint="Split it, or use WITH queries."
        ) from None
    if len(query.columns) > COLUMNS_MAX:
        raise LimitExceeded(f"the query has {len(query.columns)} columns, the limit is {COLUMNS_MAX}", sqlstate="54011")
    parameters = {number: context.parameters.get(number, TEXT) for number in sorted(context.parameters_seen)}
    query = _with_parameters(query, parameters) if parameters else query
    nodes = walk(query)
    return bound.BoundQuery(
        query=query,
        columns=tuple((column.name, column.type) for column in query.columns),
        parameters=parameters,
        uses=uses_among(nodes),
        arrow_scans=arrow_scans_among(nodes),
        depends_on=tuple(context.depends_on),
        timezone=settings.timezone,
    )


def _targets(query: bound.Query, targets: Sequence[Type]) -> list[Type]:
    return [
        target if column.type == UNKNOWN else column.type for column, target in zip(query.columns, targets, strict=True)
    ]


def _with_parameters(query: bound.Query, parameters: Mapping[int, Type]) -> bound.Query:
    """Every ``$n`` has its type, also where nothing asked for one."""

    def replace(node: Node) -> Node | None:
        if isinstance(node, Parameter) and node.type == UNKNOWN:
            return Parameter(number=node.number, type=parameters[node.number])
        return None

    return rewrite(query, replace)


def _bind_resolved(context: Context, tree: exp.Expr, scope: Scope) -> bound.Query:
    return resolved(context, _bind(context, tree, scope))


def _bind(context: Context, tree: exp.Expr, scope: Scope) -> bound.Query:
    """Any query; columns may be UNKNOWN."""
    clause = tree.args.get("with_")
    if clause is not None:
        return _with(context, clause, tree, scope)
    return _body(context, tree, scope)


def _body(context: Context, tree: exp.Expr, scope: Scope) -> bound.Query:
    match tree:
        case exp.Select():
            return bind_select(context, tree, scope)
        case exp.SetOperation():
            return _set_operation(context, tree, scope)
        case exp.Values():
            return _values(context, tree, scope)
        case exp.Subquery():
            return _parentheses(context, tree, scope)
        case exp.Insert() | exp.Update() | exp.Delete() | exp.Merge():
            raise unsupported(f"{tree.key.upper()} inside a query", tree)
        case _:
            raise unsupported(tree.key.upper(), tree)


def _with(context: Context, clause: exp.With, tree: exp.Expr, scope: Scope) -> bound.Query:
    """WITH: each query sees the ones before it, a recursive one itself."""
    search = clause.args.get("search")
    if search is not None:
        what = "CYCLE" if str(search.args["kind"]).upper() == "CYCLE" else "SEARCH"
        hint = "Carry an array of what was visited: WHERE NOT x = ANY (path); sort by it."
        raise unsupported(f"{what} of a recursive query", search, hint=hint)
    inner = Scope(parent=scope, ctes={})
    entries: dict[str, CteEntry] = {}
    inner.ctes = entries
    ctes: list[bound.Cte] = []
    for item in clause.expressions:
        only(item, "this", "alias", "materialized", "key_expressions", what="WITH")
        name = fold(item.args["alias"].this)
        if name in entries:
            raise fail(f'WITH query name "{name}" specified more than once', item.args["alias"], sqlstate="42712")
        recursive = bool(clause.args.get("recursive")) and _refers_to(item.this, name)
        cte = _recursive(context, item, name, inner, entries) if recursive else _plain_cte(context, item, name, inner)
        entries[name] = CteEntry(id=cte.id, name=name, columns=_named_columns(item, cte.query.columns, name))
        ctes.append(cte)
    return bound.With(ctes=tuple(ctes), query=_body(context, tree, inner))


def _refers_to(tree: exp.Expr, name: str) -> bool:
    return any(fold(table.this) == name and not table.args.get("db") for table in tree.find_all(exp.Table))


def _plain_cte(context: Context, item: exp.CTE, name: str, scope: Scope) -> bound.Cte:
    query = _bind_resolved(context, item.this, scope)
    return bound.Cte(id=context.new_reference(), name=name, query=query, materialized=item.args.get("materialized"))


def _recursive(context: Context, item: exp.CTE, name: str, scope: Scope, entries: dict[str, CteEntry]) -> bound.Cte:
    """``first UNION [ALL] step``: the first term fixes names and types, the step sees the rows of the round before."""
    tree = item.this
    shape = f'recursive query "{name}" must have the form non-recursive-term UNION [ALL] recursive-term'
    if not isinstance(tree, exp.Union) or _refers_to(tree.this, name):
        raise fail(shape, item.args["alias"], sqlstate="42P19")
    for word in ("order", "limit", "offset"):
        if tree.args.get(word):
            raise unsupported(f"{word.upper()} in a recursive query", tree)
    id = context.new_reference()
    first = _bind_resolved(context, tree.this, scope)
    entries[name] = CteEntry(id=id, name=name, columns=_named_columns(item, first.columns, name))
    step = _bind(context, tree.expression, scope)
    if len(step.columns) != len(first.columns):
        raise fail("each UNION query must have the same number of columns", tree, sqlstate="42601")
    for index, (a, b) in enumerate(zip(first.columns, step.columns, strict=True), start=1):
        if b.type != UNKNOWN and not (implicit_cast(b.type, a.type)):
            message = f'recursive query "{name}" column {index} has type {a.type} in non-recursive term but type'
            raise fail(f"{message} {b.type} overall", tree, sqlstate="42804",
                 hint="Cast the output of the non-recursive term to the correct type.")  # fmt: skip
    types = [column.type for column in first.columns]
    columns = tuple(context.new_column(column.name, column.type) for column in first.columns)
    query = bound.SetOperation(
        kind=bound.SetKind.UNION,
        all=not tree.args.get("distinct"),
        left=first,
        right=with_types(context, step, types),
        columns=columns,
    )
    return bound.Cte(id=id, name=name, query=query, recursive=True)


def _named_columns(item: exp.CTE, columns: Sequence[bound.OutputColumn], name: str) -> tuple[bound.OutputColumn, ...]:
    names = [fold(identifier) for identifier in item.args["alias"].args.get("columns") or ()]
    if len(names) > len(columns):
        message = f'WITH query "{name}" has {len(columns)} columns available but {len(names)} columns specified'
        raise fail(message, item.args["alias"], sqlstate="42P10")
    renamed = [dataclasses.replace(column, name=new) for new, column in zip(names, columns, strict=False)]
    return (*renamed, *columns[len(names) :])


def _set_operation(context: Context, tree: exp.SetOperation, scope: Scope) -> bound.Query:
    only(tree, "this", "expression", "distinct", "order", "limit", "offset", "with_")
    kind = _SET_KINDS[tree.__class__]
    left, right = _bind(context, tree.this, scope), _bind(context, tree.expression, scope)
    if len(left.columns) != len(right.columns):
        raise fail(f"each {kind.value} query must have the same number of columns", tree.expression, sqlstate="42601")
    try:
        types = [
            common_type([a.type, b.type], context=kind.value) for a, b in zip(left.columns, right.columns, strict=True)
        ]
    except Invalid as error:
        raise fail(error.message, tree.expression, sqlstate="42804") from None
    columns = tuple(context.new_column(a.name, type) for a, type in zip(left.columns, types, strict=True))
    operation = bound.SetOperation(
        kind=kind,
        all=not tree.args.get("distinct"),
        left=with_types(context, left, types),
        right=with_types(context, right, types),
        columns=columns,
    )
    limit, offset = limits(context, tree)
    return dataclasses.replace(operation, order=_order(tree, columns, kind.value), limit=limit, offset=offset)


def _order(tree: exp.Expr, columns: Sequence[bound.OutputColumn], what: str) -> tuple[bound.SortKey, ...]:
    """ORDER BY of a set operation or VALUES: output columns by name or ordinal, nothing else."""
    order = tree.args.get("order")
    if order is None:
        return ()
    keys: list[bound.SortKey] = []
    for item in order.expressions:
        node = item.this
        if isinstance(node, exp.Literal) and not node.is_string and node.name.isdigit():
            if not 1 <= int(node.name) <= len(columns):
                raise fail(f"ORDER BY position {node.name} is not in select list", node, sqlstate="42P10")
            column = columns[int(node.name) - 1]
        elif isinstance(node, exp.Column) and node.args.get("table") is None:
            found = [column for column in columns if column.name == fold(node.this)]
            if len(found) != 1:
                state = ("42702", "is ambiguous") if found else ("42703", "does not exist")
                raise fail(f'column "{fold(node.this)}" {state[1]}', node, sqlstate=state[0])
            column = found[0]
        else:
            raise fail(f"invalid {what} ORDER BY clause", node, sqlstate="0A000",
                 hint="Only result column names and ordinals can be used, not expressions.")  # fmt: skip
        keys.append(sort_key(column.reference(), item))
    return tuple(keys)


def _values(context: Context, tree: exp.Values, scope: Scope, *, targets: Sequence[Type] | None = None) -> bound.Query:
    """VALUES (...), (...): the columns are column1, column2, ... and unify over the rows.

    With ``targets``, the types of the columns that they are inserted into, untyped items take these at once.
    """
    only(tree, "expressions", "alias", "order", "limit", "offset", "with_")
    binder = expressions(context, scope, _VALUES)
    rows: list[list[bound.Bound]] = []
    for row in tree.expressions:
        parts = row.expressions if isinstance(row, exp.Tuple) else [row]
        items = [binder.bind(part) for part in parts]
        if targets is not None and len(items) == len(targets) and len(tree.expressions) > 1:
            items = [
                context.coerce(item, type, tree) if item.type == UNKNOWN else item
                for item, type in zip(items, targets, strict=True)
            ]
        rows.append(items)
        if len(rows[-1]) != len(rows[0]):
            raise fail("VALUES lists must all be the same length", row, sqlstate="42601")
    types = [_common([row[index] for row in rows]) for index in range(len(rows[0]))]
    columns = tuple(context.new_column(f"column{index}", type) for index, type in enumerate(types, start=1))
    converted = tuple(
        tuple(context.coerce(item, type, tree) for item, type in zip(row, types, strict=True)) for row in rows
    )
    limit, offset = limits(context, tree)
    return bound.Values(
        rows=converted, columns=columns, order=_order(tree, columns, "VALUES"), limit=limit, offset=offset
    )


def _common(nodes: Sequence[bound.Bound]) -> Type:
    """The column's type; UNKNOWN while every row's item is."""
    if all(node.type == UNKNOWN for node in nodes):
        return UNKNOWN
    return common_type([node.type for node in nodes], context="VALUES")


def _parentheses(context: Context, tree: exp.Subquery, scope: Scope) -> bound.Query:
    only(tree, "this", "alias", "order", "limit", "offset", "with_", "joins", what="a query in parentheses")
    query = _bind(context, tree.this, scope)
    if not any(tree.args.get(name) for name in ("order", "limit", "offset")):
        return query
    query = resolved(context, query)
    wrapped = around(context, query, [column.type for column in query.columns])
    columns = tuple(output.column for output in wrapped.outputs)
    limit, offset = limits(context, tree)
    return dataclasses.replace(wrapped, order=_order(tree, columns, "SELECT"), limit=limit, offset=offset)
