"""Send conditions to the tables they speak of.

``conditions`` says which reach whom. Nothing is taken out of the query; see ``pushdown`` for what a filter may say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ...engine.expression.node import Call, Expression
from ...engine.expression.tree import nameless
from .. import bound
from ..conditions import conditions_of
from ..pushdown import simple
from ..shown import expression_text
from ..walk import walk


def rewrite(query: bound.BoundQuery) -> bound.BoundQuery:
    conditions = conditions_of(query.query)
    filters: dict[int, list[Expression]] = {}
    for scan in walk(query.query):
        if isinstance(scan, bound.Scan):
            sources = {column.id: source for column, source in zip(scan.columns, scan.sources, strict=True)}
            indexed = {nameless(each) for index in scan.table.indexes for each in index.expressions}
            found = [simple(node, sources, indexed) for node in conditions.get(scan.reference, ())]
            filters[scan.reference] = [part for part in found if part is not None]
    if not any(filters.values()):
        return query
    uses = tuple(
        dataclasses.replace(use, filter=_conjunction(filters[use.reference])) if filters.get(use.reference) else use
        for use in query.uses
    )
    return dataclasses.replace(query, uses=uses)


def effects(before: bound.BoundQuery, after: bound.BoundQuery) -> tuple[str, ...]:
    del before
    return tuple(f"{use.alias}: {expression_text(use.filter)}" for use in after.uses if use.filter is not None)


def _conjunction(parts: Sequence[Expression]) -> Expression:
    parts = tuple(dict.fromkeys(parts)) if all(_hashable(part) for part in parts) else tuple(parts)
    return parts[0] if len(parts) == 1 else Call(function="and", arguments=parts, type=parts[0].type)


def _hashable(part: Expression) -> bool:
    try:
        hash(part)
    except TypeError:
        return False
    return True
