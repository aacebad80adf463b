"""One SELECT: in the order in which PostgreSQL gives it meaning.

    FROM → WHERE → select list → GROUP BY → HAVING → DISTINCT ON → ORDER BY → LIMIT

Which names a clause sees: WHERE and HAVING the columns of FROM; GROUP BY these first, then the select list's names, and
ordinals; ORDER BY the select list's names first, ordinals, then the columns of FROM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlglot import exp

from ...base.errors import Invalid
from ...base.types import BIGINT
from ...engine.expression.node import Literal
from .. import bound
from ..parse import place
from ..walk import alike
from .binder import Clause, ExpressionBinder
from .calls import sort_key
from .context import Context
from .errors import fail, only, unsupported
from .expressions import expressions
from .gapfill import fill_gaps
from .grouping import Grouper, grouping_sets
from .layers import Stage, layered, needs_layers
from .names import fold, output_name
from .rows import range_of
from .scope import Scope, ScopeColumn
from .tables import bind_from
from .ties import with_ties

_WHERE: Final = Clause(name="WHERE")
_SELECT: Final = Clause(name="SELECT", aggregates=True, windows=True)
_GROUP_BY: Final = Clause(name="GROUP BY")
_HAVING: Final = Clause(name="HAVING", aggregates=True)
_ORDER_BY: Final = Clause(name="ORDER BY", aggregates=True, windows=True)
_DISTINCT_ON: Final = Clause(name="DISTINCT ON", aggregates=True, windows=True)
_LIMIT: Final = Clause(name="LIMIT", subqueries=False)


@dataclass(frozen=True, slots=True)
class Item:
    """One column of the select list: its name, its expression, and its text where it was not made by ``*``."""

    name: str
    expression: bound.Bound
    tree: exp.Expr | None


def bind_select(context: Context, tree: exp.Select, outer: Scope) -> bound.Select:
    """The SELECT without its WITH. Columns may still be UNKNOWN: the caller decides what they become."""
    if tree.args.get("locks"):
        hint = "It stands at the end of a SELECT statement, outside of all parentheses."
        raise unsupported("a locking clause (FOR UPDATE, FOR SHARE) here", tree, hint=hint)
    only(tree, "expressions", "from_", "joins", "where", "group", "having", "windows", "order", "limit", "offset",
         "distinct", "with_", "kind", what="SELECT")  # fmt: skip
    if tree.args.get("into"):
        raise unsupported("SELECT INTO", tree.args["into"], hint="Write CREATE TABLE name AS SELECT ….")
    if tree.args.get("kind"):
        raise unsupported(f"SELECT AS {tree.args['kind']}", tree)
    source, scope = bind_from(context, tree, outer)
    windows = {fold(window.this): window for window in tree.args.get("windows") or ()}

    def binder(clause: Clause) -> ExpressionBinder:
        return expressions(context, scope, clause, windows=windows)

    where = tree.args.get("where")
    condition = binder(_WHERE).condition(where.this, what="WHERE") if where is not None else None
    items = _select_list(binder(_SELECT), tree.expressions)
    if not items:
        raise unsupported("a SELECT without columns", tree)

    group: exp.Group | None = tree.args.get("group")
    grouper = Grouper(context=context, scope=scope, source=source)
    sets = _bind_group(binder(_GROUP_BY), group, items, grouper) if group is not None else None
    grouper.sets = sets is not None
    having_tree = tree.args.get("having")
    having = binder(_HAVING).condition(having_tree.this, what="HAVING") if having_tree is not None else None
    order = _order(binder(_ORDER_BY), tree.args.get("order"), items)
    distinct: exp.Distinct | None = tree.args.get("distinct")
    on = _distinct_on(binder(_DISTINCT_ON), distinct, items)

    everything = [*(item.expression for item in items), *(key.expression for key in order), *on]
    grouping: bound.Grouping | None = None
    if group is not None or having is not None or grouper.has_aggregate(everything):
        items = [replace(item, expression=grouper.rewrite(item.expression)) for item in items]
        having = grouper.rewrite(having) if having is not None else None
        order = [replace(key, expression=grouper.rewrite(key.expression)) for key in order]
        on = [grouper.rewrite(expression) for expression in on]
        grouping = bound.Grouping(
            keys=tuple(grouper.keys), aggregates=tuple(grouper.aggregates), sets=None if sets is None else tuple(sets)
        )

    stage = Stage(
        source=source,
        where=condition,
        grouping=grouping,
        having=having,
        expressions=(*(item.expression for item in items), *(key.expression for key in order), *on),
    )
    if context.layers and needs_layers(stage):
        stage = layered(context, fill_gaps(context, stage))
        rest = iter(stage.expressions)
        items = [replace(item, expression=next(rest)) for item in items]
        order = [replace(key, expression=next(rest)) for key in order]
        on = list(rest)

    outputs = tuple(
        bound.Output(column=context.new_column(item.name, item.expression.type), expression=item.expression)
        for item in items
    )
    keys = tuple(replace(key, expression=_as_output(key.expression, outputs)) for key in order)
    plain_distinct = distinct is not None and not on
    if plain_distinct:
        ids = {output.column.id for output in outputs}
        for key, item in zip(keys, tree.args["order"].expressions if keys else (), strict=True):
            if not isinstance(key.expression, bound.Column) or key.expression.id not in ids:
                message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list"
                raise fail(message, item, sqlstate="42P10")
    if on and order and any(not any(alike(key.expression, one) for one in on) for key in order[: len(on)]):
        message = "SELECT DISTINCT ON expressions must match initial ORDER BY expressions"
        raise fail(message, distinct, sqlstate="42P10")
    limit, offset = limits(context, tree)
    select = bound.Select(
        source=stage.source,
        where=stage.where,
        grouping=stage.grouping,
        having=stage.having,
        outputs=outputs,
        distinct=plain_distinct,
        distinct_on=tuple(on),
        order=keys,
        limit=limit,
        offset=offset,
    )
    if ties_wanted(tree) and limit is not None:
        if not keys:
            message = "WITH TIES cannot be specified without ORDER BY clause"
            raise fail(message, tree.args["limit"], sqlstate="42601")
        return with_ties(context, select)
    return select


def _select_list(binder: ExpressionBinder, trees: Sequence[exp.Expr]) -> list[Item]:
    items: list[Item] = []
    for tree in trees:
        if isinstance(tree, exp.Star):
            only(tree, "this", what="*")
            if not binder.scope.ranges:
                raise fail("SELECT * with no tables specified is not valid", tree, sqlstate="42601")
            items.extend(_star(binder.scope.columns))
        elif isinstance(tree, exp.Column) and isinstance(tree.this, exp.Star):
            only(tree.this, "this", what="*")
            table = tree.args["table"]
            items.extend(_star(binder.scope.range(fold(table), position=table.meta.get("start")).columns))
        elif (
            isinstance(tree, exp.Dot)
            and isinstance(tree.expression, exp.Star)
            and (range := range_of(binder, tree.this.unnest())) is not None
        ):  # (t).*
            items.extend(_star(range.columns))
        else:
            inner = tree.this if isinstance(tree, exp.Alias) else tree
            items.append(Item(output_name(tree), binder.bind(inner), inner))
    return items


def _star(columns: Sequence[ScopeColumn]) -> list[Item]:
    return [Item(column.name, column.value, None) for column in columns]


def _ordinal(tree: exp.Expr, items: Sequence[Item], clause: str) -> Item | None:
    """The column that ``2`` means."""
    if not isinstance(tree, exp.Literal) or tree.is_string:
        if isinstance(tree, exp.Literal):
            raise fail(f"non-integer constant in {clause}", tree, sqlstate="42601")
        return None
    if not tree.name.isdigit():
        raise fail(f"non-integer constant in {clause}", tree, sqlstate="42601")
    if not 1 <= int(tree.name) <= len(items):
        raise fail(f"{clause} position {tree.name} is not in select list", tree, sqlstate="42P10")
    return items[int(tree.name) - 1]


def _named(tree: exp.Expr, items: Sequence[Item], clause: str) -> Item | None:
    """The column of the select list that a bare name means. Raises Invalid (42702) if it could be several."""
    if not isinstance(tree, exp.Column) or tree.args.get("table") is not None or isinstance(tree.this, exp.Star):
        return None
    name = fold(tree.this)
    found = [item for item in items if item.name == name]
    if len(found) > 1 and any(item.expression != found[0].expression for item in found):
        raise fail(f'{clause} "{name}" is ambiguous', tree, sqlstate="42702")
    return found[0] if found else None


def _bind_group(
    binder: ExpressionBinder, group: exp.Group, items: Sequence[Item], grouper: Grouper
) -> list[tuple[int, ...]] | None:
    trees, sets = grouping_sets(group)
    indices: list[int] = []
    for tree in trees:
        if isinstance(tree, exp.Tuple):
            raise unsupported("a row in GROUP BY", tree)
        item = _ordinal(tree, items, "GROUP BY")
        if item is None and isinstance(tree, exp.Column) and not binder.scope.has_column(fold(tree.this)):
            item = _named(tree, items, "GROUP BY")
        expression = item.expression if item is not None else binder.bind(tree)
        if grouper.has_aggregate([expression]):
            raise fail("aggregate functions are not allowed in GROUP BY", tree, sqlstate="42803")
        indices.append(grouper.add_key(binder.context.known(expression, tree)))
    if sets is None:
        return None
    return [tuple(dict.fromkeys(indices[index] for index in one)) for one in sets]


def _order(binder: ExpressionBinder, order: exp.Order | None, items: Sequence[Item]) -> list[bound.SortKey]:
    if order is None:
        return []
    only(order, "expressions", what="ORDER BY")
    keys: list[bound.SortKey] = []
    for ordered in order.expressions:
        tree = ordered.this
        item = _ordinal(tree, items, "ORDER BY") or _named(tree, items, "ORDER BY")
        expression = item.expression if item is not None else binder.known(tree)
        keys.append(sort_key(expression, ordered))
    return keys


def _distinct_on(binder: ExpressionBinder, distinct: exp.Distinct | None, items: Sequence[Item]) -> list[bound.Bound]:
    on = distinct.args.get("on") if distinct is not None else None
    if on is None:
        return []
    trees = on.expressions if isinstance(on, exp.Tuple) else [on.this if isinstance(on, exp.Paren) else on]
    nodes: list[bound.Bound] = []
    for tree in trees:
        item = _ordinal(tree, items, "DISTINCT ON") or _named(tree, items, "DISTINCT ON")
        nodes.append(item.expression if item is not None else binder.known(tree))
    return nodes


def _as_output(expression: bound.Bound, outputs: Sequence[bound.Output]) -> bound.Bound:
    """The output column that a sort key equals: sorted once, computed once."""
    for output in outputs:
        if alike(output.expression, expression):
            return output.column.reference()
    return expression


def ties_wanted(tree: exp.Expr) -> bool:
    """FETCH FIRST ... WITH TIES."""
    limit = tree.args.get("limit")
    options = limit.args.get("limit_options") if isinstance(limit, exp.Fetch) else None
    return options is not None and bool(options.args.get("with_ties"))


def limits(context: Context, tree: exp.Expr) -> tuple[bound.Bound | None, bound.Bound | None]:
    """LIMIT (or FETCH FIRST) and OFFSET as BIGINT; None where there is none, or NULL, or ALL."""
    limit, offset = tree.args.get("limit"), tree.args.get("offset")
    count: exp.Expr | None = None
    if isinstance(limit, exp.Fetch):
        options = limit.args.get("limit_options")
        if options is not None and options.args.get("percent"):
            raise unsupported("FETCH FIRST ... PERCENT", limit)
        if ties_wanted(tree) and not isinstance(tree, exp.Select):
            raise unsupported("FETCH FIRST ... WITH TIES of a set operation", limit, hint="Put it into a subquery.")
        count = limit.args.get("count") or exp.Literal.number(1)
    elif limit is not None:
        only(limit, "this", "expression", what="LIMIT")
        count = limit.expression
    return _limit(context, count, "LIMIT"), _limit(context, offset.expression if offset is not None else None, "OFFSET")


def _limit(context: Context, tree: exp.Expr | None, name: str) -> bound.Bound | None:
    if tree is None or isinstance(tree, exp.Null) or (isinstance(tree, exp.Var) and tree.name.upper() == "ALL"):
        return None
    if any(isinstance(node, exp.Column) for node in tree.walk()) and not tree.find(exp.Query):
        raise fail(f"argument of {name} must not contain variables", tree, sqlstate="42P10")
    node = expressions(context, Scope(), replace(_LIMIT, name=name)).bind(tree)
    if isinstance(node, Literal) and node.value is None:
        return None
    if node.type.is_numeric and not node.type.is_integer:
        node = context.cast(node, BIGINT, tree)
    node = context.implicit(node, BIGINT, tree, what=f"argument of {name}")
    if isinstance(node, Literal) and isinstance(node.value, int) and node.value < 0:
        state = "2201W" if name == "LIMIT" else "2201X"
        raise Invalid(f"{name} must not be negative", sqlstate=state, position=place(tree))
    return node
