"""What must be true of a table reference's rows: of all others the result would be the same without them.

From WHERE and ON down: through joins where the condition cannot remove a row that the join must keep, into subqueries
and views by putting their expressions in place of their columns, past GROUP BY for conditions on keys. A condition may
speak of columns of other tables, also of an outer query: then it is true for some of their rows that matter.

    FROM a WHERE a.x = ANY (SELECT y FROM b)    a.x = y for a, and for b
    FROM a WHERE EXISTS (SELECT … FROM b WHERE b.y = a.x AND …)    b.y = a.x for both
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..engine.expression.node import Call, Column
from . import bound
from .pushdown import conjuncts, rejects_null
from .walk import rewrite as rewritten
from .walk import walk


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Conditions by the number of the reference, and by the ``id`` of a subquery's node what it must give."""

    by_reference: dict[int, list[bound.Bound]] = field(default_factory=dict[int, list[bound.Bound]])
    given: dict[int, list[bound.Bound]] = field(default_factory=dict[int, list[bound.Bound]])


def conditions_of(query: bound.Query) -> Mapping[int, Sequence[bound.Bound]]:
    """The conditions on each table reference, by its number."""
    found = _Found()
    _query(query, [], found)
    # Subqueries inside expressions are queries of their own.
    for node in walk(query):
        if (
            isinstance(node, bound.ScalarSubquery | bound.Exists | bound.Quantified | bound.ArrayList)
            and node.query is not None
        ):
            _query(node.query, found.given.get(id(node), []), found)
    return found.by_reference


def _of_subquery(node: bound.Bound, found: _Found) -> Iterator[bound.Bound]:
    """What a subquery that must be true says of the rows outside; what it must give is noted."""
    match node:
        case bound.Quantified(operator="equal", all=False):
            columns = [column.reference() for column in node.query.columns]
            pairs = zip(node.operands, columns, strict=True)
            equal: list[bound.Bound] = [
                bound.call("equal", operand, column, type=node.type) for operand, column in pairs
            ]
            found.given[id(node)] = equal
            values = _outputs(node.query)
            for equality in equal:
                yield _in_terms_of(equality, values)
        case bound.Exists(query=bound.Select(grouping=None) as query):
            yield from (part for part in conjuncts(query.where) if isinstance(part, Call) and part.function == "equal")
        case _:
            pass


def _outputs(query: bound.Query) -> dict[int, bound.Bound]:
    """What a SELECT's columns stand for, seen from inside; nothing for other queries."""
    if not isinstance(query, bound.Select):
        return {}
    keys = {} if query.grouping is None else {key.column.id: key.expression for key in query.grouping.keys}
    return {output.column.id: _in_terms_of(output.expression, keys) for output in query.outputs}


def _query(query: bound.Query, given: list[bound.Bound], found: _Found) -> None:
    """``given`` are conditions over the query's own columns that every row needed outside fulfils."""
    match query:
        case bound.Select():
            _select(query, given, found)
        case bound.SetOperation():
            below = given if query.limit is None and query.offset is None else []
            for side in (query.left, query.right):
                names = {a.id: b.reference() for a, b in zip(query.columns, side.columns, strict=True)}
                _query(side, [_in_terms_of(node, names) for node in below], found)
        case bound.With():
            for cte in query.ctes:
                _query(cte.query, [], found)
            _query(query.query, given, found)
        case bound.Values():
            pass


def _select(query: bound.Select, given: list[bound.Bound], found: _Found) -> None:
    if query.source is None:
        return
    conditions = conjuncts(query.where)
    conditions.extend([condition for node in tuple(conditions) for condition in _of_subquery(node, found)])
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
    _relation(query.source, conditions, found)


def _has_window(query: bound.Select) -> bool:
    return any(isinstance(node, bound.Window) for output in query.outputs for node in walk(output.expression))


def _mentions(node: bound.Bound, ids: set[int]) -> bool:
    return any(isinstance(part, Column) and part.id in ids for part in walk(node))


def _in_terms_of(node: bound.Bound, values: Mapping[int, bound.Bound]) -> bound.Bound:
    return rewritten(node, lambda part: values.get(part.id) if isinstance(part, Column) else None)


def _relation(relation: bound.Relation, conditions: Sequence[bound.Bound], found: _Found) -> None:
    match relation:
        case bound.Scan():
            found.by_reference.setdefault(relation.reference, []).extend(conditions)
        case bound.Join():
            _join(relation, conditions, found)
        case bound.Derived():
            names = {a.id: b.reference() for a, b in zip(relation.columns, relation.query.columns, strict=True)}
            own = [node for node in conditions if _only_mentions(node, names)]
            _query(relation.query, [_in_terms_of(node, names) for node in own], found)
        case _:
            pass


def _only_mentions(node: bound.Bound, names: Mapping[int, object]) -> bool:
    return all(part.id in names for part in walk(node) if isinstance(part, Column))


def _join(join: bound.Join, conditions: Sequence[bound.Bound], found: _Found) -> None:
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
    _relation(join.left, left, found)
    _relation(join.right, right, found)


def _implied(conditions: Sequence[bound.Bound], equalities: Sequence[bound.Bound]) -> list[bound.Bound]:
    """What ``a = b`` makes of a condition on ``a`` alone: the same on ``b``, unless it is there. One step; chains meet
    at each join."""
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
            for node in alone.get(one.id, ()):
                same = _in_terms_of(node, {one.id: other})
                if same not in implied and same not in conditions:
                    implied.append(same)
    return implied
