"""Send conditions to the tables they speak of.

From WHERE and ON down: through joins where the condition cannot remove a row that the join must keep, into subqueries
and views by putting their expressions in place of their columns, past GROUP BY for conditions on keys. Nothing is taken
out of the query; see ``pushdown`` for what a filter may say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from ...engine.expression.node import Call, Column, Expression
from .. import bound
from ..pushdown import conjuncts, rejects_null, simple
from ..shown import expression_text
from ..walk import rewrite as rewritten
from ..walk import walk

_Filters = dict[int, list[Expression]]


def rewrite(query: bound.BoundQuery) -> bound.BoundQuery:
    filters: _Filters = {}
    _query(query.query, [], filters)
    # Subqueries inside expressions are queries of their own.
    for node in walk(query.query):
        if (
            isinstance(node, bound.ScalarSubquery | bound.Exists | bound.Quantified | bound.ArrayList)
            and node.query is not None
        ):
            _query(node.query, [], filters)
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


def _query(query: bound.Query, given: list[bound.Bound], filters: _Filters) -> None:
    """``given`` are conditions over the query's own columns that every row needed outside fulfils."""
    match query:
        case bound.Select():
            _select(query, given, filters)
        case bound.SetOperation():
            below = given if query.limit is None and query.offset is None else []
            for side in (query.left, query.right):
                names = {a.id: b.reference() for a, b in zip(query.columns, side.columns, strict=True)}
                _query(side, [_in_terms_of(node, names) for node in below], filters)
        case bound.With():
            for cte in query.ctes:
                _query(cte.query, [], filters)
            _query(query.query, given, filters)
        case bound.Values():
            pass


def _select(query: bound.Select, given: list[bound.Bound], filters: _Filters) -> None:
    if query.source is None:
        return
    conditions = conjuncts(query.where)
    if query.limit is None and query.offset is None and not query.distinct_on and not _has_window(query):
        given = [_in_terms_of(node, {o.column.id: o.expression for o in query.outputs}) for node in given]
        having = conjuncts(query.having) if query.grouping is not None else []
        below = [*given, *having]
        if query.grouping is not None:
            if query.grouping.sets is not None:
                below = []
            keys = {key.column.id: key.expression for key in query.grouping.keys}
            aggregates = {output.column.id for output in query.grouping.aggregates}
            below = [_in_terms_of(node, keys) for node in below if not _mentions(node, aggregates)]
        conditions.extend(below)
    _relation(query.source, conditions, filters)


def _has_window(query: bound.Select) -> bool:
    return any(isinstance(node, bound.Window) for output in query.outputs for node in walk(output.expression))


def _mentions(node: bound.Bound, ids: set[int]) -> bool:
    return any(isinstance(part, Column) and part.id in ids for part in walk(node))


def _in_terms_of(node: bound.Bound, values: Mapping[int, bound.Bound]) -> bound.Bound:
    return rewritten(node, lambda part: values.get(part.id) if isinstance(part, Column) else None)


def _relation(relation: bound.Relation, conditions: Sequence[bound.Bound], filters: _Filters) -> None:
    match relation:
        case bound.Scan():
            sources = {column.id: source for column, source in zip(relation.columns, relation.sources, strict=True)}
            found = [part for node in conditions if (part := simple(node, sources)) is not None]
            filters.setdefault(relation.reference, []).extend(found)
        case bound.Join():
            _join(relation, conditions, filters)
        case bound.Derived():
            names = {a.id: b.reference() for a, b in zip(relation.columns, relation.query.columns, strict=True)}
            own = [node for node in conditions if _only_mentions(node, names)]
            _query(relation.query, [_in_terms_of(node, names) for node in own], filters)
        case _:
            pass


def _only_mentions(node: bound.Bound, names: Mapping[int, object]) -> bool:
    return all(part.id in names for part in walk(node) if isinstance(part, Column))


def _join(join: bound.Join, conditions: Sequence[bound.Bound], filters: _Filters) -> None:
    """An outer join keeps rows without a partner: ON filters only the side that may be missing, and a condition from
    above reaches that side only if it is not true of the NULLs that stand in for it."""
    on = conjuncts(join.condition)
    strict = [node for node in conditions if rejects_null(node)]
    match join.kind:
        case bound.JoinKind.INNER | bound.JoinKind.CROSS:
            known = [*conditions, *on]
            left = right = [*known, *_implied(known, known)]
        case bound.JoinKind.LEFT:
            left, right = list(conditions), [*strict, *on, *_implied(conditions, on)]
        case bound.JoinKind.RIGHT:
            left, right = [*strict, *on, *_implied(conditions, on)], list(conditions)
        case bound.JoinKind.FULL:
            left = right = list(strict)
        case bound.JoinKind.ASOF | bound.JoinKind.ASOF_LEFT:
            # Fewer rows on the right are other matches, unless what is left out could not match at all.
            equal = [node for node in on if isinstance(node, Call) and node.function == "equal"]
            left, right = list(conditions), _implied(conditions, equal)
    _relation(join.left, left, filters)
    _relation(join.right, right, filters)


def _implied(conditions: Sequence[bound.Bound], equalities: Sequence[bound.Bound]) -> list[bound.Bound]:
    """What ``a = b`` makes of a condition on ``a`` alone: the same on ``b``. One step; chains meet at each join."""
    alone: dict[int, list[bound.Bound]] = {}
    for node in conditions:
        columns = {part.id for part in walk(node) if isinstance(part, Column)}
        if len(columns) == 1 and rejects_null(node):
            alone.setdefault(columns.pop(), []).append(node)
    implied: list[bound.Bound] = []
    for equality in equalities:
        if not isinstance(equality, Call) or equality.function != "equal":
            continue
        a, b = equality.arguments
        if not isinstance(a, Column) or not isinstance(b, Column) or a.type != b.type:
            continue
        for one, other in ((a, b), (b, a)):
            implied.extend(_in_terms_of(node, {one.id: other}) for node in alone.get(one.id, ()))
    return implied
