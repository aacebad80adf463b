"""The pipeline choice: grouped tables of a query are computed by fused kernels, the rest of it by the executor.

    Select(t and what it is joined with, WHERE, GROUP BY, HAVING, outputs, ORDER BY)
      ─► sides: what t is joined with, as queries that are answered first       star.py
      ─► pipeline: t under WHERE, with its partners, grouped ─► groups as Arrow      engine/pipeline/
      ─► Select(ArrowScan groups, WHERE having, outputs, ORDER BY) to the relational executor

Any SELECT of the query may be the one, a subquery or a WITH query as well, and several of them: what reaches the
executor then are groups instead of tables.

Whether a pipeline takes a query is decided by the query's shape and types here, and once more by the data when it runs:
where the engine says ``NotCovered``, or has no kernel yet, the whole query goes to the executor as it was bound.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from ..base.errors import LimitExceeded
from ..base.limits import PIPELINE_ROWS_MANY, TOP_ROWS_MIN
from ..base.types import Type
from ..engine import schema
from ..engine.clock import monotonic
from ..engine.expression.functions import FUNCTIONS, Volatility, session_literal
from ..engine.expression.node import Call, Column, Expression, Literal, Parameter
from ..engine.expression.tree import transform
from ..engine.pipeline import metadata
from ..engine.pipeline.answers import table_of
from ..engine.pipeline.bounds import columns_read as slots_read
from ..engine.pipeline.cut import Cut
from ..engine.pipeline.describe import describe
from ..engine.pipeline.kernels import Kernels, Known
from ..engine.pipeline.packing import NO_KEYS
from ..engine.pipeline.run import Run, constants_of
from ..engine.pipeline.shape import Aggregation, FarApart, NoRoom, NotCovered, Pipeline, Shape, Side
from ..engine.selectivity import rows_expected
from ..engine.statistics import TableStatistics
from . import bound, pushdown
from .cancel import Cancel
from .pushdown import finish
from .regroup import as_groups, in_two_levels
from .relational import reader_of
from .shown import Reason
from .star import Star, only_computes, star_of
from .top import RowsPart, first_of, newest_of, passing_of, run_rows, sink_of, top_of
from .walk import arrow_scans, is_scalar, rewrite, walk

if TYPE_CHECKING:
    from ..engine.reader import Reader, RowStream
    from ..engine.scan_plan import Plan

IDS_MAX: Final = 10_000
"""New identifiers of columns for one SELECT that pipelines group."""

METADATA: Final = "metadata"
"""The sink of a part that needed no kernel."""

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
class Grouped:
    """What came of a part, for EXPLAIN. ``why_not``: why the executor groups it; None: a kernel does, or metadata did.

    What a kernel did is None where it was not run.
    """

    alias: str
    kernel: str | None = None
    sink: str | None = None
    why_not: str | None = None
    groups: int | None = None
    rows: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What is left to the executor once the parts are computed.

    ``otherwise``: the same where different values are groups, for those that are too far apart to have bits.
    """

    bound: bound.BoundQuery
    parts: tuple[Part | RowsPart, ...]
    otherwise: Rest | None = None


def with_pipelines(query: bound.BoundQuery, *, by_bits: bool = True) -> Rest | Reason:
    """The query over the groups of its grouped tables, or why none is a pipeline.

    ``by_bits``: of DISTINCT aggregates, those that count.
    """
    uses = {use.reference: use for use in query.uses}
    parts: list[Part | RowsPart] = []
    reasons: list[Reason] = []
    any_bits = False

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
        nonlocal any_bits
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
            reasons.append(Reason(text=str(why)))
            return None
        return select if levels is None else levels.outer(select)

    def part_of(grouped: bound.Select, new_id: int) -> bound.Select:
        star = star_of(grouped, first_id=new_id)
        pipeline, select, scan = _part(grouped, star)
        sides = tuple(_side(side.query, query) for side in star.sides)
        use, asked = uses[star.fact.reference], metadata.asked(pipeline)
        part = Part(use=use, pipeline=pipeline, name=scan.name, sides=sides, asked=asked, first=_first(grouped))
        parts.append(part)
        return select

    first_id = _first_id(query.query)
    rest = rewrite(query.query, replace)
    if not parts:
        return reasons[0] if reasons else Reason(text="nothing is grouped")
    otherwise = with_pipelines(query, by_bits=False) if any_bits else None
    return Rest(
        bound=_query_of(rest, query, query.columns),
        parts=tuple(parts),
        otherwise=otherwise if isinstance(otherwise, Rest) else None,
    )


def _counts_distinct(select: bound.Select) -> bool:
    """Whether all that a grouped SELECT has of DISTINCT aggregates are counts."""
    assert select.grouping is not None, "the SELECT groups"
    calls = [output.expression for output in select.grouping.aggregates]
    distinct = [call for call in calls if isinstance(call, bound.Aggregate) and call.distinct]
    return bool(distinct) and all(call.function == "count" for call in distinct)


def _first_id(query: bound.Query) -> int:
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
    of = _query_of(part, query)
    if not isinstance(part, bound.Select) or part.source is None or part.grouping is not None:
        return SideRows(query=of, part=None)
    try:
        if not only_computes(part):
            raise NotCovered("it does more than compute")
        star = star_of(part, first_id=_first_id(part))
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


def _query_of(
    part: bound.Query, query: bound.BoundQuery, columns: tuple[tuple[str, Type], ...] | None = None
) -> bound.BoundQuery:
    """A part of a query, or what is left of it, as a query of its own. Raises NotCovered."""
    nodes = list(walk(part))
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
        arrow_scans=arrow_scans(part),
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
    columns = [key.column for key in grouping.keys]
    for output, call in zip(grouping.aggregates, star.aggregates, strict=True):
        if not isinstance(call, bound.Aggregate):
            raise NotCovered("it has more than aggregates")
        if call.order or call.within or len(call.arguments) > 1:
            raise NotCovered(f"{call.function} has ORDER BY or more than one argument")
        condition = None if call.filter is None else own(call.filter)
        argument = own(call.arguments[0]) if call.arguments else None
        columns.append(output.column)
        aggregates.append(
            Aggregation(
                function=call.function, argument=argument, filter=condition, type=call.type, distinct=call.distinct
            )
        )
    pipeline = describe(table, filter, keys, aggregates, _sides(star, own))
    groups = bound.ArrowScan(
        reference=scan.reference,
        name=f"weft_groups_{scan.reference}",
        alias=scan.alias,
        columns=tuple(columns),
        sources=(*(f"k{n}" for n in range(len(keys))), *(f"a{n}" for n in range(len(aggregates)))),
    )

    rest = dataclasses.replace(select, source=groups, where=select.having, grouping=None, having=None)
    return pipeline, rest, groups


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


def _cut(part: Part, moment: pushdown.Moment) -> Cut | None:
    """Which groups are enough, where that is known."""
    first = part.first
    if first is None:
        return None
    answer = part.pipeline.answers[first.answer]
    if answer.function == "avg" or answer.squares is not None:
        return None
    count = 0
    for limit in first.limits:
        value = pushdown.constant(limit, moment).value
        if not isinstance(value, int) or value < 0:
            return None
        count += value
    return Cut(
        value=answer.value,
        there=None if answer.function == "count" else answer.count,
        descending=first.key.descending,
        nulls_first=first.key.nulls_first,
        count=count,
    )


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


@dataclass(frozen=True, slots=True)
class _Constants:
    """``engine.pipeline.run.Moment``."""

    moment: pushdown.Moment

    def constant(self, expression: Expression) -> Literal:
        return pushdown.constant(expression, self.moment)

    def fold(self, expression: Expression) -> Expression:
        def known(part: Expression) -> Expression:
            if isinstance(part, Parameter):
                return self.moment.parameters[part.number]
            if not isinstance(part, Call) or part.arguments:
                return part
            stable = FUNCTIONS[part.function].volatility is Volatility.STABLE
            return session_literal(part.function, now=self.moment.now) if stable else part

        return transform(expression, known)


def run_parts(
    rest: Rest,
    reader: Reader,
    moment: pushdown.Moment,
    *,
    past: Sequence[Reader],
    kernels: Kernels,
    wait: bool,
    rows_of: Callable[[bound.BoundQuery], pa.Table],
    cancel: Cancel | None,
    note: Callable[[Grouped], None] | None = None,
    dry: bool = False,
) -> tuple[bound.BoundQuery, dict[str, pa.Table]] | None:
    """The rest of the query, and the groups of each part by the name that it has for them; None: a kernel is not ready.

    ``wait`` for kernels; ``rows_of`` answers the queries of sides. ``note`` is told what came of each part; ``dry``: as
    far as it shows without running one. Raises NotCovered, Corrupt, and what ``cancel`` does.
    """
    found: dict[str, pa.Table] = {}
    missing = False
    for part in rest.parts:
        try:
            if not isinstance(part, Part):
                done, groups = _run_rows(
                    part, reader, moment, past=past, kernels=kernels, wait=wait, cancel=cancel, dry=dry
                )
            else:
                done, groups = _run_part(
                    part, reader, moment, past=past, kernels=kernels, wait=wait, rows_of=rows_of, cancel=cancel, dry=dry
                )
        except NotCovered as why:
            if isinstance(why, FarApart) and rest.otherwise is not None:
                return run_parts(
                    rest.otherwise, reader, moment, past=past, kernels=kernels, wait=wait, rows_of=rows_of,
                    cancel=cancel, note=note, dry=dry,
                )  # fmt: skip
            if note is not None:
                note(Grouped(alias=use_of(part).alias, why_not=str(why)))
            if not dry:
                raise
            continue
        if note is not None:
            note(done)
        if groups is None:
            missing = True
        else:
            found[_name(part)] = groups
    return None if missing else (rest.bound, found)


def use_of(part: Part | RowsPart) -> bound.TableUse:
    return part.use if isinstance(part, Part) else part.rows.use


def _name(part: Part | RowsPart) -> str:
    return part.name if isinstance(part, Part) else part.rows.name


def _run_rows(
    part: RowsPart,
    reader: Reader,
    moment: pushdown.Moment,
    *,
    past: Sequence[Reader],
    kernels: Kernels,
    wait: bool,
    cancel: Cancel | None,
    dry: bool,
) -> tuple[Grouped, pa.Table | None]:
    began = monotonic()
    try:
        stream, plan, rows_read, rows = run_rows(
            part,
            reader,
            moment,
            past=past,
            rows_min=0 if wait else TOP_ROWS_MIN,
            kernels=kernels,
            check=(lambda: None) if cancel is None else cancel.check,
            dry=dry,
        )
    except LimitExceeded as error:  # the executor takes fewer rows at a time
        raise NotCovered(error.message) from None
    done = Grouped(alias=part.rows.use.alias, sink=sink_of(part))
    if rows is not None:
        _note(stream, plan, rows_read)
        done = dataclasses.replace(done, groups=rows.num_rows, rows=rows_read, seconds=monotonic() - began)
    return done, rows


def _side_cost(side: SideRows, reader: Reader, moment: pushdown.Moment, past: Sequence[Reader]) -> float:
    """About how many rows the largest table of a side gives; half where a kernel makes them."""
    counts = [0]
    for use in side.query.uses:
        of, filter = reader_of(use, reader, past), finish(use.filter, moment)
        known = of.statistics(use.table)
        counts.append(rows_expected(filter, known, rows_max=known.rows))
    return max(counts) / (1 if side.part is None else 2)


def _run_part(
    part: Part,
    reader: Reader,
    moment: pushdown.Moment,
    *,
    past: Sequence[Reader],
    kernels: Kernels,
    wait: bool,
    rows_of: Callable[[bound.BoundQuery], pa.Table],
    cancel: Cancel | None,
    dry: bool,
) -> tuple[Grouped, pa.Table | None]:
    use = part.use
    if not wait and part.memo:
        raise NotCovered(part.memo["why"])
    of = reader_of(use, reader, past)
    if not wait and part.asked is None and of.statistics(use.table).rows < kernels.rows_min:
        raise NotCovered("the rows are few")
    stream_filter = finish(use.filter, moment)
    stream = of.scan(use.table, columns=use.columns, filter=stream_filter, row_ids=use.row_ids)
    looked_at = getattr(stream, "looked_at", None)
    if looked_at is None:
        raise NotCovered(f"{use.table.name} is read by an index, or was written in this transaction")
    plan, layout, version = looked_at()
    check = (lambda: None) if cancel is None else cancel.check
    if part.asked is not None:
        began = monotonic()
        arguments, reals = constants_of(part.pipeline, _Constants(moment))
        told = metadata.told(
            part.asked, part.pipeline, plan, layout, version=version, arguments=arguments, reals=reals, check=check
        )
        if told is not None:
            groups = table_of(told.groups, part.pipeline, NO_KEYS, arguments)
            statistics = stream.statistics
            statistics.passes += 1
            statistics.rows_read += told.rows_read
            statistics.rows_returned += told.rows_read
            statistics.blocks_read += told.blocks_read
            seconds = monotonic() - began
            return Grouped(alias=use.alias, sink=METADATA, groups=1, rows=told.rows_read, seconds=seconds), groups
    if plan.rows_count < kernels.rows_min and not wait:
        raise NotCovered("the rows are few")
    if not wait and part.sides:
        rows = rows_expected(stream_filter, of.statistics(use.table), rows_max=plan.rows_count)
        cost = sum(_side_cost(side, reader, moment, past) for side in part.sides) * kernels.side_cost
        if cost > rows + plan.rows_count // 4:
            raise NotCovered("it is joined with many rows")
    if dry and part.sides:
        return Grouped(alias=use.alias), None

    def side_rows(side: SideRows) -> pa.Table:
        rows = None
        if side.part is not None:
            with suppress(NotCovered):
                _, rows = _run_part(
                    side.part,
                    reader,
                    moment,
                    past=past,
                    kernels=kernels,
                    wait=wait,
                    rows_of=rows_of,
                    cancel=cancel,
                    dry=False,
                )
        return rows_of(side.query) if rows is None else rows

    sides = [side_rows(side) for side in part.sides]
    shapes: list[Shape] = []
    names: list[str] = []

    def kernel(shape: Shape) -> Known | None:
        shapes.append(shape)
        if dry:
            return None
        known = kernels.kernel(shape, wait=wait, many=plan.rows_count >= PIPELINE_ROWS_MANY, check=check)
        if known is not None:
            names.append(known.name if known.kernel is not None else f"the program of {known.name}")
        elif wait:
            raise NotCovered(kernels.reason(shape))
        return known

    run = Run(
        pipeline=part.pipeline,
        plan=plan,
        layout=layout,
        version=version,
        moment=_Constants(moment),
        kernel=kernel,
        threads=kernels.threads,
        held=kernels.held,
        texts=kernels.texts,
        wait=wait,
        sides=sides,
        cut=_cut(part, moment),
        groups_expected=None if wait else lambda: _groups_expected(part, plan, stream_filter, of.statistics(use.table)),
        check=check,
    )
    began = monotonic()
    try:
        groups = run.groups()
    except NotCovered as why:
        if sides and not isinstance(why, FarApart | NoRoom):
            part.memo["why"] = str(why)
        raise
    seconds = monotonic() - began
    if not dry:
        _note(stream, plan, run.rows_count)
    done = Grouped(alias=use.alias, sink=_sink_of(shapes[-1]), kernel=names[-1] if names else None)
    if groups is not None:
        done = dataclasses.replace(done, groups=groups.num_rows, rows=run.rows_count, seconds=seconds)
    elif not (dry and (wait or kernels.is_ready(shapes[-1]))):
        done = dataclasses.replace(done, why_not=kernels.reason(shapes[-1]))
    return done, groups


def _groups_expected(part: Part, plan: Plan, filter: Expression | None, statistics: TableStatistics) -> int:
    """About how many groups there are at most: as many as rows, or as different values of what the keys read."""
    rows = rows_expected(filter, statistics, rows_max=plan.rows_count)
    groups = 1
    for slot in set().union(*map(slots_read, part.pipeline.shape.keys)):
        known = statistics.columns.get(part.pipeline.slots[slot].id)
        groups = min(groups * (rows if known is None else known.distinct + 1), rows)
    return groups


def _sink_of(shape: Shape) -> str:
    """How rows are grouped, for EXPLAIN."""
    return f"{shape.sink}, different values by bits" if shape.distinct else shape.sink


def _note(stream: RowStream, plan: Plan, rows_count: int) -> None:
    """What was read, for EXPLAIN ANALYZE."""
    statistics = stream.statistics
    statistics.passes += 1
    statistics.cells_read += statistics.cells_total - statistics.cells_pruned
    statistics.rows_read += rows_count
    statistics.rows_returned += rows_count
    statistics.segments_read += len({id(run.segment) for run in plan.runs})
    statistics.blocks_read += sum(run.blocks_count for run in plan.runs)
    statistics.chunks_read += len(plan.chunks)
