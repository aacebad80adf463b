"""The pipeline choice: grouped tables of a query are computed by fused kernels, the rest of it by the executor.

    Select(t and what it is joined with, WHERE, GROUP BY, HAVING, outputs, ORDER BY)
      ─► sides: what t is joined with, as queries that are answered first       star.py
      ─► pipeline: t under WHERE, with its partners, grouped ─► groups as Arrow      engine/pipeline/
      ─► Select(ArrowScan groups, WHERE having, outputs, ORDER BY) to the relational executor

Any SELECT of the query may be the one, a subquery or a WITH query as well, and several of them: what reaches the
executor then are groups instead of tables.

Whether a pipeline takes a query is decided by the query's shape and types here, and once more by the data when it runs:
(parts.py): where the engine says ``NotCovered``, or has no kernel yet, the whole query goes to the executor as it was
bound.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ..base.types import Kind, Type
from ..engine import schema
from ..engine.expression.node import Column, Expression
from ..engine.expression.tree import transform
from ..engine.pipeline import metadata
from ..engine.pipeline.describe import describe
from ..engine.pipeline.shape import Aggregation, NotCovered, Pipeline, Side
from . import bound
from .regroup import as_groups, by_values, in_two_levels
from .shown import Reason
from .star import Star, only_computes, star_of
from .top import RowsPart, first_of, newest_of, passing_of, top_of
from .walk import arrow_scans_among, is_scalar, rewrite, walk

if TYPE_CHECKING:
    pass

IDS_MAX: Final = 10_000
"""New identifiers of columns for one SELECT that pipelines group."""

TIERS: Final = ("auto", "pipeline", "relational")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One grouped table, its sides, and the relation that stands for its groups."""

    use: bound.TableUse
    pipeline: Pipeline
    name: str
    sides: tuple[SideRows, ...]
    asked: metadata.Asked | None = None
    """What needs no kernel as long as little has to be read."""
    first: First | None = None
    values: tuple[Expression, ...] = ()
    """Its keys, where it is worth it only if they are few: values of which the executor computes more (regroup.py)."""
    memo: dict[str, str] = field(default_factory=dict[str, str], compare=False, repr=False)
    """``why``: it was seen not to be covered when its sides' rows were there, which took long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """Which groups are wanted: the first by an aggregate (its number), as many as ``limits`` together (and offsets)."""

    answer: int
    key: bound.SortKey
    limits: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideRows:
    """What a grouped table is joined with: a query, or the part that gives the same rows by a kernel of its own."""

    query: bound.BoundQuery
    part: Part | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What is left to the executor once the parts are computed.

    ``otherwise``: the same with less, where that was too much: different values are groups, if these are too far apart
    to have bits; and what is computed of many values is the executor's.
    """

    bound: bound.BoundQuery
    parts: tuple[Part | RowsPart, ...]
    otherwise: Rest | None = None


def with_pipelines(query: bound.BoundQuery, *, by_bits: bool = True, computing: bool = True) -> Rest | Reason:
    """The query over the groups of its grouped tables, or why none is a pipeline.

    ``by_bits``: of DISTINCT aggregates, those that count. ``computing``: by groups of what keys are computed of, too.
    """
    uses = {use.reference: use for use in query.uses}
    parts: list[Part | RowsPart] = []
    reasons: list[Reason] = []
    any_bits = any_values = False

    def some_rows(select: bound.Select) -> bound.Select | None:
        if select.distinct_on:
            choose = newest_of
        elif isinstance(select.source, bound.Derived):
            choose = first_of
        else:
            choose = passing_of if select.limit is None else top_of
        try:
            part, left = choose(select, uses)
        except NotCovered as why:
            if select.distinct_on or select.limit is not None:
                reasons.append(Reason(text=str(why)))
            return None
        parts.append(part)
        return left

    def replace(node: Any) -> Any:
        nonlocal any_bits, any_values
        if not isinstance(node, bound.Select) or node.source is None:
            return None
        if not (node.grouping or node.distinct) or node.distinct_on:
            return some_rows(node)
        if isinstance(node.source, bound.Derived) and (found := some_rows(node)) is not None:
            return found
        new_id = first_id + IDS_MAX * len(parts)
        try:
            if node.grouping is None:
                node = as_groups(node, first_id=new_id)
                new_id += len(node.outputs)
            if by_bits and _counts_distinct(node):
                with suppress(NotCovered):
                    select = part_of(node, new_id)
                    any_bits = True
                    return select
            levels = in_two_levels(node, first_id=new_id)
            select = part_of(node if levels is None else levels.inner, new_id + IDS_MAX // 2)
        except NotCovered as why:
            if computing and node.grouping is not None:
                with suppress(NotCovered):
                    levels = by_values(node, first_id=new_id, covered=lambda part: _is_covered(part, node, new_id))
                    select = part_of(levels.inner, new_id + IDS_MAX // 2, of_values=True)
                    any_values = True
                    return levels.outer(select)
            reasons.append(Reason(text=str(why)))
            return None
        return select if levels is None else levels.outer(select)

    def part_of(grouped: bound.Select, new_id: int, *, of_values: bool = False) -> bound.Select:
        star = star_of(grouped, first_id=new_id)
        pipeline, select, scan = _part(grouped, star)
        sides = tuple(_side(side.query, query) for side in star.sides)
        use, asked = uses[star.fact.reference], metadata.asked(pipeline)
        values = tuple(map(_own(star), star.keys)) if of_values else ()
        part = Part(
            use=use, pipeline=pipeline, name=scan.name, sides=sides, asked=asked, first=_first(grouped), values=values
        )  # fmt: skip
        parts.append(part)
        return select

    first_id = first_id_of(query.query)
    rest = rewrite(query.query, replace)
    if not parts:
        return reasons[0] if reasons else Reason(text="nothing is grouped")
    otherwise = None
    if any_values or any_bits:
        otherwise = with_pipelines(query, by_bits=by_bits and any_values, computing=False)
    return Rest(
        bound=query_of(rest, query, query.columns),
        parts=tuple(parts),
        otherwise=otherwise if isinstance(otherwise, Rest) else None,
    )


def _is_covered(part: Expression, select: bound.Select, first_id: int) -> bool:
    """Whether a pipeline over what ``select`` reads computes a key, or a condition."""
    key = bound.Output(column=bound.OutputColumn(id=first_id, name="key", type=part.type), expression=part)
    alone = dataclasses.replace(select, where=None, grouping=bound.Grouping(keys=(key,), aggregates=()))
    if part.type.kind is Kind.BOOLEAN:
        alone = dataclasses.replace(alone, where=part, grouping=bound.Grouping(keys=(), aggregates=()))
    try:
        _part(alone, star_of(alone, first_id=first_id))
    except NotCovered:
        return False
    return True


def _counts_distinct(select: bound.Select) -> bool:
    """Whether all that a grouped SELECT has of DISTINCT aggregates are counts."""
    assert select.grouping is not None, "the SELECT groups"
    calls = [output.expression for output in select.grouping.aggregates]
    distinct = [call for call in calls if isinstance(call, bound.Aggregate) and call.distinct]
    return bool(distinct) and all(call.function == "count" for call in distinct)


def first_id_of(query: bound.Query) -> int:
    """An identifier behind all columns' of a query."""
    last = 0
    for node in walk(query):
        match node:
            case Column():
                last = max(last, node.id)
            case bound.Output():
                last = max(last, node.column.id)
            case bound.Scan() | bound.ArrowScan() | bound.Derived() | bound.CteReference() | bound.FunctionScan():
                last = max(last, *(column.id for column in node.columns), 0)
            case _:
                pass
    return last + 1


def _side(part: bound.Query, query: bound.BoundQuery) -> SideRows:
    """What a star is joined with, by a kernel too where it is a star itself. Raises NotCovered."""
    of = query_of(part, query)
    if not isinstance(part, bound.Select) or part.source is None or part.grouping is not None:
        return SideRows(query=of, part=None)
    try:
        if not only_computes(part):
            raise NotCovered("it does more than compute")
        star = star_of(part, first_id=first_id_of(part))
        own = _own(star)
        pipeline = describe(
            star.fact.table,
            [own(node) for node in star.filter],
            [],
            [],
            _sides(star, own),
            outputs=[own(node) for node in star.keys],
        )
        sides = tuple(_side(side.query, query) for side in star.sides)
    except NotCovered:
        return SideRows(query=of, part=None)
    use = next(use for use in of.uses if use.reference == star.fact.reference)
    return SideRows(query=of, part=Part(use=use, pipeline=pipeline, name="", sides=sides))


def _own(star: Star) -> Callable[[bound.Bound], Expression]:
    """Makes an expression one over the table's columns and those of its sides. Raises NotCovered."""
    sources = {column.id: source for column, source in zip(star.fact.columns, star.fact.sources, strict=True)}
    return lambda node: _over_table(node, sources)


def _sides(star: Star, own: Callable[[bound.Bound], Expression]) -> list[Side]:
    return [
        Side(
            kind=side.kind,
            keys=tuple(own(key) for key in side.keys),
            columns=tuple((column.id, column.type) for column in side.columns),
            null_matters=side.null_matters,
        )
        for side in star.sides
    ]


def query_of(
    part: bound.Query, query: bound.BoundQuery, columns: tuple[tuple[str, Type], ...] | None = None
) -> bound.BoundQuery:
    """A part of a query, or what is left of it, as a query of its own. Raises NotCovered."""
    nodes = walk(part)
    defined = {node.id for node in nodes if isinstance(node, bound.Cte)}
    if any(isinstance(node, bound.CteReference) and node.cte not in defined for node in nodes):
        raise NotCovered("it is joined with a WITH query")
    references = {node.reference for node in nodes if isinstance(node, bound.Scan)}
    if columns is None:
        columns = tuple((column.name, column.type) for column in part.columns)
    return dataclasses.replace(
        query,
        query=part,
        columns=columns,
        uses=tuple(
            dataclasses.replace(
                use, partners=tuple(partner for partner in use.partners if partner.reference in references)
            )
            for use in query.uses
            if use.reference in references
        ),
        arrow_scans=arrow_scans_among(nodes),
    )


def _part(select: bound.Select, star: Star) -> tuple[Pipeline, bound.Select, bound.ArrowScan]:
    """The pipeline of a grouped SELECT, and what is left of the SELECT. Raises NotCovered."""
    grouping, scan = select.grouping, star.fact
    assert grouping is not None, "the SELECT groups"
    if grouping.sets is not None:
        raise NotCovered("it has grouping sets")
    table = scan.table
    own = _own(star)
    filter = [own(part) for part in star.filter]
    keys = [own(key) for key in star.keys]
    aggregates: list[Aggregation] = []
    for call in star.aggregates:
        if not isinstance(call, bound.Aggregate):
            raise NotCovered("it has more than aggregates")
        if call.order or call.within or len(call.arguments) > 1:
            raise NotCovered(f"{call.function} has ORDER BY or more than one argument")
        condition = None if call.filter is None else own(call.filter)
        argument = own(call.arguments[0]) if call.arguments else None
        aggregates.append(
            Aggregation(
                function=call.function, argument=argument, filter=condition, type=call.type, distinct=call.distinct
            )
        )
    pipeline = describe(table, filter, keys, aggregates, _sides(star, own))
    rest, groups = groups_of(select, scan)
    return pipeline, rest, groups


def groups_of(select: bound.Select, scan: bound.Scan) -> tuple[bound.Select, bound.ArrowScan]:
    """What is left of a grouped SELECT over a table, and the relation that stands for its groups: their keys, k0 and so
    on, and their aggregates, a0 and so on.
    """
    assert select.grouping is not None, "the SELECT groups"
    keys, aggregates = select.grouping.keys, select.grouping.aggregates
    groups = bound.ArrowScan(
        reference=scan.reference,
        name=f"weft_groups_{scan.reference}",
        alias=scan.alias,
        columns=tuple(output.column for output in (*keys, *aggregates)),
        sources=(*(f"k{n}" for n in range(len(keys))), *(f"a{n}" for n in range(len(aggregates)))),
    )
    return dataclasses.replace(select, source=groups, where=select.having, grouping=None, having=None), groups


def _first(select: bound.Select) -> First | None:
    """Of a grouped SELECT in the order of an aggregate, where there is nothing between its groups and their first."""
    if select.limit is None or not select.order or select.having is not None or select.distinct or select.distinct_on:
        return None
    if not all(is_scalar(output.expression) for output in select.outputs):
        return None
    assert select.grouping is not None, "the SELECT groups"
    key = select.order[0]
    outputs = {output.column.id: output.expression for output in select.outputs}
    by = key.expression
    by = outputs.get(by.id, by) if isinstance(by, Column) else by
    numbers = {output.column.id: number for number, output in enumerate(select.grouping.aggregates)}
    if not isinstance(by, Column) or by.id not in numbers:
        return None
    limits = [part for part in (select.limit, select.offset) if part is not None]
    if not all(isinstance(part, Expression) for part in limits):
        return None
    return First(answer=numbers[by.id], key=key, limits=tuple(bound.expression(part) for part in limits))


def _over_table(node: bound.Bound, sources: Mapping[int, int]) -> Expression:
    """An expression over the table's own columns. Raises NotCovered."""
    if not is_scalar(node):
        raise NotCovered("there is a subquery or an array")

    def renamed(part: Expression) -> Expression:
        if not isinstance(part, Column) or part.id < 0:
            return part
        source = sources.get(part.id)
        if source is None:
            raise NotCovered("a column of another query is read")
        if source == schema.ROW_ID:
            raise NotCovered("it reads the number of a row")
        return Column(id=source, type=part.type, name=part.name)

    return transform(bound.expression(node), renamed)
