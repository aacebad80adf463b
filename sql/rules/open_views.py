"""Read a maintained view in FROM as the groups that it is made of.

    SELECT day, total FROM spend WHERE household = 7
    SELECT #2, weft_sum_float(#4, #5, #6, #7) FROM groups of spend WHERE #1 = 7

So conditions and order are on columns of one table again, and a query for one group is a look at its row. Only where
the view is all that is in FROM: behind an outer join what is computed of a row must stay behind it, too.
"""

from __future__ import annotations

import dataclasses

from ...engine.expression.node import Column
from .. import bound
from ..walk import Node, table_uses
from ..walk import rewrite as rewritten


def rewrite(query: bound.BoundQuery) -> bound.BoundQuery:
    tree = rewritten(query.query, _opened)
    if tree is query.query:
        return query
    return dataclasses.replace(query, query=tree, uses=table_uses(tree))


def effects(before: bound.BoundQuery, after: bound.BoundQuery) -> tuple[str, ...]:
    return tuple(f"{use.alias}: read as its groups" for use in after.uses if use.table.derived_from is not None)


def _opened(node: Node) -> Node | None:
    if not isinstance(node, bound.Select) or not isinstance(node.source, bound.Derived):
        return None
    view = node.source.query
    if not isinstance(view, bound.Select) or not isinstance(view.source, bound.Scan):
        return None
    if view.source.table.derived_from is None or view.where is not None or view.grouping is not None:
        return None
    values = {column.id: output.expression for column, output in zip(node.source.columns, view.outputs, strict=True)}
    opened = dataclasses.replace(node, source=view.source)
    return rewritten(opened, lambda part: values.get(part.id) if isinstance(part, Column) else None)
