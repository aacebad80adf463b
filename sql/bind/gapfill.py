"""``time_bucket_gapfill``: a row for each bucket of a range, also for those without data.

    SELECT time_bucket_gapfill('1 hour', at) AS hour, device, avg(t), locf(avg(t)), interpolate(avg(t))
    FROM readings WHERE at >= '2026-11-01' AND at < '2026-11-02' GROUP BY hour, device

The range is ``start`` and ``finish`` if they are given, else what WHERE says of the time with constants. Every
combination of the other GROUP BY columns that occurs gets all buckets; without other columns there are the buckets also
if no row is found. In a row that was filled in, aggregates are NULL. HAVING is asked before. Buckets of rows outside of
the range stay.

    WITH groups AS (the SELECT without it, grouped)
    SELECT ... FROM (others of groups CROSS JOIN buckets) FULL JOIN groups ON bucket and others are the same

Over these rows locf and interpolate are windows, partitioned by the other columns and in the order of the buckets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa

from ...base.errors import Invalid
from ...base.types import BIGINT, BOOLEAN, DATE, INTERVAL, TIMESTAMP, TIMESTAMPTZ, Type
from ...engine.expression.node import Call, Case, Cast, Column, Expression, Literal
from .. import bound
from ..pushdown import conjuncts
from ..walk import Node, rewrite, walk
from .context import Context
from .errors import unsupported
from .layers import Stage
from .time_series import carried, interpolated

_INSTANT: Final = Literal(value=pa.MonthDayNano([0, 0, 1000]), type=INTERVAL)
_DAY: Final = Literal(value=pa.MonthDayNano([0, 1, 0]), type=INTERVAL)
_ONE: Final = Literal(value=1, type=BIGINT)


def fill_gaps(context: Context, stage: Stage) -> Stage:
    """The stage over the filled rows; itself if it has no gap bucket."""
    marks = [part for node in (stage.expressions, stage.where, stage.having, stage.grouping)
             for part in walk(node) if isinstance(part, bound.GapBucket | bound.Filled)]  # fmt: skip
    if not marks:
        return stage
    grouping = stage.grouping
    gaps = [key for key in grouping.keys if isinstance(key.expression, bound.GapBucket)] if grouping else []
    if grouping is None or not gaps:
        message = "time_bucket_gapfill must be a column of GROUP BY, and locf and interpolate stand beside it"
        raise Invalid(message, sqlstate="42803", hint="Or write locf(x) OVER (PARTITION BY … ORDER BY …).")
    if len(gaps) > 1 or grouping.sets is not None:
        raise unsupported("more than one time_bucket_gapfill, or one in grouping sets,", None)
    filled = _Filled.of(context, stage, grouping, gaps[0])
    return Stage(
        source=filled.relation,
        where=None,
        grouping=None,
        having=None,
        expressions=tuple(rewrite(node, filled.replacement) for node in stage.expressions),
    )


@dataclass(frozen=True, kw_only=True)
class _Filled:
    """The relation with a row for each bucket. ``columns``: the groups' identifiers → its columns."""

    relation: bound.Relation
    columns: dict[int, bound.OutputColumn]
    bucket: bound.OutputColumn
    others: tuple[bound.OutputColumn, ...]
    real: bound.OutputColumn

    @classmethod
    def of(cls, context: Context, stage: Stage, grouping: bound.Grouping, key: bound.Output) -> _Filled:
        gap = key.expression
        assert isinstance(gap, bound.GapBucket), "the key was chosen so"
        keys = [replace(one, expression=gap.bucket) if one is key else one for one in grouping.keys]
        grouped = [*keys, *grouping.aggregates]
        mark = context.new_column("real", BOOLEAN)
        groups = bound.Select(
            source=stage.source,
            where=stage.where,
            grouping=replace(grouping, keys=tuple(keys)),
            having=stage.having,
            outputs=(
                *(bound.Output(column=context.new_column(one.column.name, one.column.type),
                               expression=one.column.reference()) for one in grouped),
                bound.Output(column=mark, expression=Literal(value=True, type=BOOLEAN)),
            ),
        )  # fmt: skip
        cte = bound.Cte(id=context.new_reference(), name="groups", query=groups, materialized=True)
        found = _reference(context, cte)
        at = [one is key for one in grouping.keys].index(True)
        others = [index for index in range(len(keys)) if index != at]
        grid, bucket, values = _grid(context, cte, gap, stage.where, others)
        pairs = [(bucket, found.columns[at]), *zip(values, (found.columns[index] for index in others), strict=True)]
        condition = [bound.call("is_not_distinct", a.reference(), b.reference(), type=BOOLEAN) for a, b in pairs]
        joined = bound.Join(
            kind=bound.JoinKind.FULL,
            left=grid,
            right=found,
            condition=condition[0] if len(condition) == 1 else bound.call("and", *condition, type=BOOLEAN),
        )
        either = {b.id: bound.call("coalesce", a.reference(), b.reference(), type=b.type) for a, b in pairs}
        outputs = tuple(
            bound.Output(column=context.new_column(column.name, column.type),
                         expression=either.get(column.id, column.reference()))
            for column in found.columns
        )  # fmt: skip
        rows = bound.Select(source=joined, where=None, grouping=None, having=None, outputs=outputs)
        columns = tuple(context.new_column(column.name, column.type) for column in rows.columns)
        relation = bound.Derived(
            reference=context.new_reference(), query=bound.With(ctes=(cte,), query=rows), columns=columns
        )
        return cls(
            relation=relation,
            columns={one.column.id: column for one, column in zip(grouped, columns, strict=False)},
            bucket=columns[at],
            others=tuple(columns[index] for index in others),
            real=columns[-1],
        )

    def replacement(self, node: Node) -> Node | None:
        if isinstance(node, Column) and node.id in self.columns:
            return self.columns[node.id].reference()
        if isinstance(node, bound.Filled):
            return self._windows(replace(node, value=rewrite(node.value, self.replacement),
                                         before=rewrite(node.before, self.replacement)))  # fmt: skip
        return None

    def _windows(self, node: bound.Filled) -> bound.Bound:
        partition: tuple[bound.Bound, ...] = tuple(column.reference() for column in self.others)
        definition = (partition, (bound.SortKey(expression=self.bucket.reference()),))
        real = bound.call("is_true", self.real.reference(), type=BOOLEAN)
        if node.function == "interpolate":
            return interpolated(node.value, self.bucket.reference(), real, definition)
        value = carried(node.value, None if node.null_is_missing else real, definition, forward=True)
        if node.before is None:
            return value
        seen: bound.Bound = bound.call("is_not_null", node.value, type=BOOLEAN) if node.null_is_missing else real
        any_before = replace(value, function="bool_or", arguments=(seen,), type=BOOLEAN)
        branch = (bound.expression(any_before), bound.expression(value))
        return Case(branches=(branch,), default=bound.expression(node.before), type=node.type)


def _reference(context: Context, cte: bound.Cte) -> bound.CteReference:
    columns = tuple(context.new_column(column.name, column.type) for column in cte.query.columns)
    return bound.CteReference(reference=context.new_reference(), cte=cte.id, columns=columns)


def _grid(
    context: Context, cte: bound.Cte, gap: bound.GapBucket, where: bound.Bound | None, others: Sequence[int]
) -> tuple[bound.Relation, bound.OutputColumn, list[bound.OutputColumn]]:
    """The buckets of the range, for each combination of the other keys; and the columns that say so."""
    series = _buckets(context, gap, where)
    if not others:
        return series, series.columns[0], []
    found = _reference(context, cte)
    outputs = tuple(
        bound.Output(column=context.new_column("key", found.columns[index].type),
                     expression=found.columns[index].reference())
        for index in others
    )  # fmt: skip
    distinct = bound.Select(source=found, where=None, grouping=None, having=None, outputs=outputs, distinct=True)
    columns = tuple(context.new_column(column.name, column.type) for column in distinct.columns)
    keys = bound.Derived(reference=context.new_reference(), query=distinct, columns=columns)
    return bound.Join(kind=bound.JoinKind.CROSS, left=keys, right=series), series.columns[0], list(columns)


def _buckets(context: Context, gap: bound.GapBucket, where: bound.Bound | None) -> bound.Derived:
    """The begin of each bucket of the range: those of moments that are a bucket apart or less."""
    start, stop = _range(context, gap, where)
    type = TIMESTAMP if gap.type == DATE else gap.type
    step: bound.Bound = gap.width if gap.even else _shorter(gap)
    local = gap.zone is not None and not gap.even
    if local:
        type = TIMESTAMP
        start, stop = (bound.call("timezone", gap.zone, node, type=type) for node in (start, stop) if gap.zone)
    step = bound.call("gapfill_step", start, stop, step, type=step.type)
    first = context.new_column("moment", type)
    scan = bound.FunctionScan(
        reference=context.new_reference(), function="generate_series", arguments=(start, stop, step), columns=(first,)
    )
    moment: bound.Bound = first.reference()
    if local and gap.zone is not None:
        moment = bound.call("timezone", gap.zone, moment, type=TIMESTAMPTZ)
    moment = bound.cast_to(moment, gap.moment.type)
    # The end of the range is a moment of it, too: steps from the start may pass over the begin of the last bucket.
    ends = bound.Values(rows=((_moment(gap, stop, local),),), columns=(context.new_column("moment", gap.moment.type),))
    steps = bound.Select(
        source=scan, where=None, grouping=None, having=None,
        outputs=(bound.Output(column=context.new_column("moment", gap.moment.type), expression=moment),),
    )  # fmt: skip
    both = bound.SetOperation(
        kind=bound.SetKind.UNION, all=True, left=steps, right=ends,
        columns=(context.new_column("moment", gap.moment.type),),
    )  # fmt: skip
    inner = context.new_column("moment", gap.moment.type)
    source = bound.Derived(reference=context.new_reference(), query=both, columns=(inner,))
    begin = rewrite(gap.bucket, lambda node: inner.reference() if _same(node, gap.moment) else None)
    low = _moment(gap, start, local)
    whole = bound.call("less_equal", low, _moment(gap, stop, local), type=BOOLEAN)
    output = bound.Output(column=context.new_column("bucket", gap.type), expression=begin)
    select = bound.Select(source=source, where=whole, grouping=None, having=None, outputs=(output,), distinct=True)
    return bound.Derived(
        reference=context.new_reference(), query=select, columns=(context.new_column("bucket", gap.type),)
    )


def _moment(gap: bound.GapBucket, node: bound.Bound, local: bool) -> bound.Bound:
    if local and gap.zone is not None:
        node = bound.call("timezone", gap.zone, node, type=TIMESTAMPTZ)
    return bound.cast_to(node, gap.moment.type)


def _same(node: Node, other: Node) -> bool:
    return node.__class__ is other.__class__ and node == other


def _shorter(gap: bound.GapBucket) -> bound.Bound:
    """A step that misses no bucket of varying length: a day for months; half the width in a zone, for its clock."""
    value: Any = gap.width.value if isinstance(gap.width, Literal) else None
    if isinstance(value, pa.MonthDayNano):
        if value.months:
            return _DAY
        half = (value.days * 86_400_000_000_000 + value.nanoseconds) // 2 // 1000 * 1000
        return Literal(value=pa.MonthDayNano([0, 0, half]), type=INTERVAL)
    raise Invalid("the width of time_bucket_gapfill must be a constant here", sqlstate="0A000")


# -- the range -------------------------------------------------------------------------------------------------------


def _range(context: Context, gap: bound.GapBucket, where: bound.Bound | None) -> tuple[bound.Bound, bound.Bound]:
    """The first and the last moment of the range. Raises Invalid (22023) if one of them is not said."""
    lows, highs = ([], []) if gap.start is not None and gap.stop is not None else _bounds(gap, where)
    type = TIMESTAMP if gap.moment.type == DATE else gap.moment.type
    low = [bound.cast_to(gap.start, type)] if gap.start is not None else lows
    high = [_before(bound.cast_to(gap.stop, type))] if gap.stop is not None else highs
    if not low or not high:
        missing = "start" if not low else "finish"
        raise Invalid(
            f"time_bucket_gapfill does not know where its range {'begins' if not low else 'ends'}",
            hint=f"Say so in WHERE (at >= … AND at < …), or give it {missing} => ….",
            sqlstate="22023",
        )
    return _extreme("greatest", low), _extreme("least", high)


def _extreme(function: str, nodes: Sequence[bound.Bound]) -> bound.Bound:
    return nodes[0] if len(nodes) == 1 else bound.call(function, *nodes, type=nodes[0].type)


def _before(node: bound.Bound) -> bound.Bound:
    """The last moment before it."""
    one: Expression = Literal(value=1, type=node.type) if node.type.is_integer else _INSTANT
    return bound.call("subtract", node, one, type=node.type)


_MIRRORED: Final = {"less": "greater", "less_equal": "greater_equal", "greater": "less", "greater_equal": "less_equal"}


def _bounds(gap: bound.GapBucket, where: bound.Bound | None) -> tuple[list[bound.Bound], list[bound.Bound]]:
    """What the conditions of WHERE say of the time with constants."""
    lows: list[bound.Bound] = []
    highs: list[bound.Bound] = []
    for node in conjuncts(where):
        if not isinstance(node, Call) or node.function not in _MIRRORED:
            continue
        a, b = node.arguments
        for one, other, function in ((a, b, node.function), (b, a, _MIRRORED[node.function])):
            if not _is_moment(one, gap.moment) or any(isinstance(part, Column) for part in walk(other)):
                continue
            value = _as_moment(other, gap.moment.type)
            match function:
                case "greater" | "greater_equal":
                    lows.append(value)
                case "less":
                    highs.append(_before(value))
                case _:
                    highs.append(value)
    return lows, highs


def _is_moment(node: bound.Bound, moment: bound.Bound) -> bool:
    while isinstance(node, Cast) and not _same(node, moment):
        node = node.argument
    return _same(node, moment)


def _as_moment(node: bound.Bound, type: Type) -> bound.Bound:
    return bound.cast_to(node, TIMESTAMP if type == DATE else type)
