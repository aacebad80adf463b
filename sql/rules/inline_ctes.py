"""Read a WITH query where it is named, if that is in one place: then views, pipelines and filters reach through it.

    WITH recent AS (SELECT * FROM t WHERE x > 0) SELECT k, count(*) FROM recent GROUP BY k
    SELECT k, count(*) FROM (SELECT * FROM t WHERE x > 0) recent GROUP BY k

Those that say MATERIALIZED, that refer to themselves or are read by one that does (round after round), or that give
other rows each time stay what they are.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ...engine.expression.functions import FUNCTIONS, Volatility
from ...engine.expression.node import Call
from .. import bound
from ..walk import rewrite as rewritten
from ..walk import rewrite_inside, walk


def rewrite(query: bound.BoundQuery) -> bound.BoundQuery:
    parts = walk(query.query)
    named = [part.cte for part in parts if isinstance(part, bound.CteReference)]
    again = {part.cte for cte in parts if _is_recursive(cte) for part in walk(cte) if _is_reference(part)}
    inlined = {
        part.id: part
        for part in parts
        if isinstance(part, bound.Cte) and named.count(part.id) == 1 and part.id not in again and _is_plain(part)
    }
    if not inlined:
        return query

    def replace(node: Any) -> Any:
        if isinstance(node, bound.CteReference) and (cte := inlined.get(node.cte)) is not None:
            below = rewritten(cte.query, replace)
            return bound.Derived(reference=node.reference, query=below, columns=node.columns)
        if isinstance(node, bound.With):
            left = tuple(rewrite_inside(cte, replace) for cte in node.ctes if cte.id not in inlined)
            below = rewritten(node.query, replace)
            return dataclasses.replace(node, ctes=left, query=below) if left else below
        return None

    return dataclasses.replace(query, query=rewritten(query.query, replace))


def effects(before: bound.BoundQuery, after: bound.BoundQuery) -> tuple[str, ...]:
    left = {part.id for part in walk(after.query) if isinstance(part, bound.Cte)}
    gone = [part for part in walk(before.query) if isinstance(part, bound.Cte) and part.id not in left]
    return tuple(f"{part.name} is read where it is named" for part in gone)


def _is_recursive(part: Any) -> bool:
    return isinstance(part, bound.Cte) and part.recursive


def _is_reference(part: Any) -> bool:
    return isinstance(part, bound.CteReference)


def _is_plain(cte: bound.Cte) -> bool:
    if cte.recursive or cte.materialized:
        return False
    calls = (part for part in walk(cte.query) if isinstance(part, Call))
    return all(FUNCTIONS[call.function].volatility is not Volatility.VOLATILE for call in calls)
