"""DISTINCT as groups: what pipelines group, and what is left to do with those groups.

    SELECT DISTINCT a, b FROM t             SELECT a, b FROM t GROUP BY a, b
    SELECT k, count(DISTINCT x), min(y)     SELECT k, count(x), min(y) FROM (SELECT k, x, min(y) AS y FROM t
      FROM t GROUP BY k                       GROUP BY k, x) GROUP BY k

The inner query is one that a pipeline takes. The outer one is the relational executor's: it has a row for each value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..base.types import BIGINT, Kind, Type, numeric
from ..engine.expression.node import Call, Column, Literal
from ..engine.pipeline.shape import NotCovered
from . import bound
from .walk import columns_read, is_scalar, rewrite

_AGAIN = {"count": "sum", "sum": "sum", "min": "min", "max": "max"}
"""What is done with what an aggregate gave for each value."""


def as_groups(select: bound.Select, *, first_id: int) -> bound.Select:
    """A SELECT DISTINCT as one that groups. Raises NotCovered."""
    if select.distinct_on or not all(is_scalar(output.expression) for output in select.outputs):
        raise NotCovered("what is distinct is no columns")
    keys = tuple(
        bound.Output(column=dataclasses.replace(output.column, id=first_id + number), expression=output.expression)
        for number, output in enumerate(select.outputs)
    )

    def key(part: Any) -> Any:
        return next((one.column.reference() for one in keys if one.expression == part), None)

    order = rewrite(select.order, key)
    if not columns_read(order) <= {output.column.id for output in (*keys, *select.outputs)}:
        raise NotCovered("it is sorted by more than what is distinct")
    outputs = tuple(
        dataclasses.replace(output, expression=one.column.reference())
        for output, one in zip(select.outputs, keys, strict=True)
    )
    grouping = bound.Grouping(keys=keys, aggregates=())
    return dataclasses.replace(select, distinct=False, grouping=grouping, outputs=outputs, order=order)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoLevels:
    """``inner`` groups by the values, too; ``outer`` is the whole SELECT over what became of it."""

    inner: bound.Select
    outer: Callable[[bound.Select], bound.Select]


def in_two_levels(select: bound.Select, *, first_id: int) -> TwoLevels | None:
    """A grouped SELECT with DISTINCT aggregates; None where it has none. Raises NotCovered."""
    grouping = select.grouping
    assert grouping is not None, "the SELECT groups"
    calls = [output.expression for output in grouping.aggregates]
    distinct = [call for call in calls if isinstance(call, bound.Aggregate) and call.distinct]
    if not distinct:
        return None
    if grouping.sets is not None:
        raise NotCovered("it has grouping sets")
    value = distinct[0].arguments[0]
    if any(call.arguments != (value,) or call.filter is not None or call.order or call.within for call in distinct):
        raise NotCovered("DISTINCT aggregates have more than one argument, or a filter")
    new = iter(range(first_id, first_id + 2 * len(calls) + len(grouping.keys) + 1))

    def inside(name: str, type: Type) -> bound.OutputColumn:
        return bound.OutputColumn(id=next(new), name=name, type=type)

    keys = [dataclasses.replace(key, column=inside(key.column.name, key.column.type)) for key in grouping.keys]
    values = bound.Output(column=inside("value", value.type), expression=value)
    parts: list[bound.Output] = []
    aggregates: list[bound.Output] = []
    instead: dict[int, bound.Bound] = {}
    for output in grouping.aggregates:
        call = output.expression
        if not isinstance(call, bound.Aggregate):
            raise NotCovered("it has more than aggregates")
        if call.distinct:
            again = dataclasses.replace(call, distinct=False, arguments=(values.column.reference(),))
            aggregates.append(dataclasses.replace(output, expression=again))
            continue
        if call.function not in _AGAIN or call.order or call.within:
            raise NotCovered(f"{call.function} stands beside DISTINCT aggregates")
        part = bound.Output(column=inside(output.column.name, call.type), expression=call)
        parts.append(part)
        again = bound.Aggregate(
            function=_AGAIN[call.function], arguments=(part.column.reference(),), type=_type_again(call)
        )
        column = output.column
        if again.type != call.type:
            column = inside(column.name, again.type)
            instead[output.column.id] = _as_before(column.reference(), call)
        aggregates.append(bound.Output(column=column, expression=again))
    inner_keys = (*keys, values)
    inner = dataclasses.replace(
        select,
        grouping=bound.Grouping(keys=inner_keys, aggregates=tuple(parts)),
        having=None,
        outputs=tuple(
            bound.Output(column=one.column, expression=one.column.reference()) for one in (*inner_keys, *parts)
        ),
        distinct=False,
        distinct_on=(),
        order=(),
        limit=None,
        offset=None,
    )

    def outer(of: bound.Select) -> bound.Select:
        columns = tuple(output.column for output in of.outputs)
        grouped = bound.Grouping(
            keys=tuple(
                bound.Output(column=key.column, expression=one.column.reference())
                for key, one in zip(grouping.keys, keys, strict=True)
            ),
            aggregates=tuple(aggregates),
        )
        source = bound.Derived(reference=first_id, query=of, columns=columns)
        rest = rewrite(
            dataclasses.replace(select, source=None, where=None, grouping=None),
            lambda part: instead.get(part.id) if isinstance(part, Column) else None,
        )
        return dataclasses.replace(rest, source=source, grouping=grouped)

    return TwoLevels(inner=inner, outer=outer)


def _type_again(call: bound.Aggregate) -> Type:
    """Of the sum of sums or counts."""
    if call.function in ("min", "max") or call.type.kind is not Kind.BIGINT:
        return call.type
    return numeric(38, 0)


def _as_before(column: Column, call: bound.Aggregate) -> bound.Bound:
    """The sum of counts or of sums of integers; of no rows at all no count is 0."""
    whole = bound.cast_to(column, BIGINT)
    if call.function != "count":
        return whole
    return Call(function="coalesce", arguments=(bound.expression(whole), Literal(value=0, type=BIGINT)), type=BIGINT)
