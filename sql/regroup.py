"""What no pipeline groups, as groups that one does, and what is left to do with those groups.

    SELECT DISTINCT a, b FROM t             SELECT a, b FROM t GROUP BY a, b
    SELECT k, count(DISTINCT x), min(y)     SELECT k, count(x), min(y) FROM (SELECT k, x, min(y) AS y FROM t
      FROM t GROUP BY k                       GROUP BY k, x) GROUP BY k
    SELECT a || b, max(s), sum(y) FROM t    SELECT a || b, max(s), sum(y) FROM (SELECT a, b, s, sum(y) AS y FROM t
      GROUP BY a || b                         GROUP BY a, b, s) GROUP BY a || b

The inner query is one that a pipeline takes. The outer one is the relational executor's: it has a row for each value.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..base.types import BIGINT, TEXT, Kind, Type, numeric
from ..engine.expression.evaluate import can_fail
from ..engine.expression.functions import FUNCTIONS, Volatility
from ..engine.expression.node import Call, Column, Expression, Literal
from ..engine.expression.tree import all_of, columns_of, conjuncts, walk
from ..engine.pipeline.describe import FLOATS
from ..engine.pipeline.shape import NotCovered
from . import bound
from .of_states import average_of, call_of
from .walk import columns_read, is_scalar, rewrite, rewrite_inside

_AGAIN: Final = {"count": "sum", "sum": "sum", "min": "min", "max": "max"}
"""What is done with what an aggregate gave for each value."""

_OF_DAYS: Final = frozenset(
    ("century", "day", "decade", "dow", "doy", "isodow", "isoyear", "millennium", "month", "quarter", "week", "year")
)
"""The fields of a moment that are those of its day."""

_DAY_FORMAT: Final = re.compile(
    r"(?:YYYY|IYYY|MM|DDD|DD|ID|IW|WW|Q|Month|MONTH|month|Mon|MON|mon|Day|DAY|day|Dy|DY|dy|[-/ .,_])+"
)
"""Formats of to_char that say nothing of the time of day."""

DAYS: Final = Literal(value="day", type=TEXT)
"""What moments are truncated to."""

VALUES_MAX: Final = 8
"""Of more columns there are hardly ever few different values."""

_WHOLE: Final = frozenset((Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.NUMERIC))
"""Kinds of which sums are sums of sums. Who adds up those of doubles rounds again."""


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
    new = iter(range(first_id, first_id + 3 * len(calls) + len(grouping.keys) + 1))

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
        part, again = _again(output.column.name, call, inside)
        parts.append(part)
        aggregates.append(again)
        instead[output.column.id] = _as_before(again.column.reference(), call)
    outer_keys = tuple(
        bound.Output(column=key.column, expression=one.column.reference())
        for key, one in zip(grouping.keys, keys, strict=True)
    )
    grouped = bound.Grouping(keys=outer_keys, aggregates=tuple(aggregates))
    return _two_levels(select, (*keys, values), parts, grouped, instead, reference=first_id)


def by_values(select: bound.Select, *, first_id: int, covered: Callable[[Expression], bool]) -> TwoLevels:
    """A grouped SELECT that computes what pipelines do not of columns that may have few different values: these are
    grouped. ``covered``: whether a pipeline computes a key. Raises NotCovered.
    """
    grouping = select.grouping
    assert grouping is not None, "the SELECT groups"
    new = iter(range(first_id, first_id + 4 * len(grouping.aggregates) + VALUES_MAX + 1))

    def inside(name: str, type: Type) -> bound.OutputColumn:
        return bound.OutputColumn(id=next(new), name=name, type=type)

    values: list[bound.Output] = []

    def value(part: Expression) -> Expression:
        """The expression over the inner groups' keys."""
        part = _of_day(part)
        if isinstance(part, Column) or _is_value(part, covered):
            if part.type.kind in FLOATS:
                raise NotCovered("0 and -0 would be one value")
            known = next((one for one in values if one.expression == part), None)
            if known is None:
                if len(values) == VALUES_MAX:
                    raise NotCovered("it computes with many columns")
                known = bound.Output(column=inside("value", part.type), expression=part)
                values.append(known)
            return known.column.reference()
        return rewrite_inside(part, lambda node: value(node) if isinstance(node, Expression) else None)

    def of_values(part: bound.Bound) -> Expression:
        if not is_scalar(part):
            raise NotCovered("there is a subquery or an array")
        one = bound.expression(part)
        if any(isinstance(node, Call) and _is_volatile(node) for node in walk(one)):
            raise NotCovered("it is another value for each row")
        return value(one)

    keys = tuple(dataclasses.replace(key, expression=of_values(key.expression)) for key in grouping.keys)
    inner_where: list[Expression] = []
    outer_where: list[Expression] = []
    for part in () if select.where is None else conjuncts(bound.expression(select.where)):
        own = not is_scalar(part) or not columns_of(part) or covered(part)
        (inner_where if own else outer_where).append(part if own else of_values(part))
    parts: list[bound.Output] = []
    aggregates: list[bound.Output] = []
    instead: dict[int, bound.Bound] = {}

    def add(name: str, call: bound.Aggregate) -> Column:
        """What an aggregate is of groups."""
        part, again = _again(name, call, inside)
        parts.append(part)
        aggregates.append(again)
        return again.column.reference()

    for output in grouping.aggregates:
        call, column = output.expression, output.column
        if isinstance(call, bound.GroupingCall):
            aggregates.append(output)
            continue
        if not isinstance(call, bound.Aggregate) or call.distinct or call.order or call.within:
            raise NotCovered("it has more than plain aggregates")
        if call.function in ("min", "max") and call.type.is_text:
            filter = None if call.filter is None else of_values(call.filter)
            least = dataclasses.replace(call, arguments=(of_values(call.arguments[0]),), filter=filter)
            aggregates.append(dataclasses.replace(output, expression=least))
        elif call.function == "avg" and call.arguments[0].type.kind in _WHOLE:
            type = call.arguments[0].type
            sums = numeric(38, type.scale or 0) if type.kind in (Kind.NUMERIC, Kind.BIGINT) else BIGINT
            total = add(column.name, dataclasses.replace(call, function="sum", type=sums))
            count = add(column.name, dataclasses.replace(call, function="count", type=BIGINT))
            instead[column.id] = average_of(total, count, call.type)
        elif call.function in _AGAIN and not (call.function == "sum" and call.type.kind in FLOATS):
            instead[column.id] = _as_before(add(column.name, call), call)
        else:
            raise NotCovered(f"{call.function} stands beside computed values")
    if not values:
        raise NotCovered("it computes nothing of values")
    grouped = bound.Grouping(keys=keys, aggregates=tuple(aggregates), sets=grouping.sets)
    inner = dataclasses.replace(select, where=all_of(inner_where))
    return _two_levels(inner, values, parts, grouped, instead, reference=first_id, where=all_of(outer_where))


def _two_levels(
    select: bound.Select,
    values: Sequence[bound.Output],
    parts: Sequence[bound.Output],
    grouped: bound.Grouping,
    instead: Mapping[int, bound.Bound],
    *,
    reference: int,
    where: bound.Bound | None = None,
) -> TwoLevels:
    """``select`` by way of groups by ``values``, which ``parts`` are of; these are ``grouped`` where ``where`` is true.

    ``instead``: what stands for columns of the SELECT's own aggregates.
    """
    inner = dataclasses.replace(
        select,
        grouping=bound.Grouping(keys=tuple(values), aggregates=tuple(parts)),
        having=None,
        outputs=tuple(bound.Output(column=one.column, expression=one.column.reference()) for one in (*values, *parts)),
        distinct=False,
        distinct_on=(),
        order=(),
        limit=None,
        offset=None,
    )

    def outer(of: bound.Select) -> bound.Select:
        columns = tuple(output.column for output in of.outputs)
        source = bound.Derived(reference=reference, query=of, columns=columns)
        rest = rewrite(
            dataclasses.replace(select, source=None, where=None, grouping=None),
            lambda part: instead.get(part.id) if isinstance(part, Column) else None,
        )
        return dataclasses.replace(rest, source=source, where=where, grouping=grouped)

    return TwoLevels(inner=inner, outer=outer)


def _is_value(part: Expression, covered: Callable[[Expression], bool]) -> bool:
    """Whether groups may be of what an expression gives, so that the columns that it reads need not be any."""
    if part.type.kind is Kind.BOOLEAN or not columns_of(part) or can_fail(part):
        return False
    return covered(part)


def _of_day(part: Expression) -> Expression:
    """A part of a moment that is one of its day, as that of the day."""
    match part:
        case Call(function="extract" | "date_part", arguments=(Literal(value=str() as field), moment)):
            of_day = field.lower() in _OF_DAYS
        case Call(function="to_char", arguments=(moment, Literal(value=str() as format))):
            of_day = _DAY_FORMAT.fullmatch(format) is not None
        case _:
            return part
    if not of_day or moment.type.kind is not Kind.TIMESTAMP or not columns_of(moment):
        return part
    if isinstance(moment, Call) and moment.function == "date_trunc":
        return part
    day = call_of("date_trunc", DAYS, moment)
    return dataclasses.replace(part, arguments=tuple(day if one is moment else one for one in part.arguments))


def _is_volatile(call: Call) -> bool:
    return FUNCTIONS[call.function].volatility is Volatility.VOLATILE


def _again(
    name: str, call: bound.Aggregate, column: Callable[[str, Type], bound.OutputColumn]
) -> tuple[bound.Output, bound.Output]:
    """An aggregate as one of the inner groups, and what is done with that for the outer ones. ``column`` makes one."""
    part = bound.Output(column=column(name, call.type), expression=call)
    again = bound.Aggregate(
        function=_AGAIN[call.function], arguments=(part.column.reference(),), type=_type_again(call)
    )
    return part, bound.Output(column=column(name, again.type), expression=again)


def _type_again(call: bound.Aggregate) -> Type:
    """Of the sum of sums or counts."""
    if call.function in ("min", "max") or call.type.kind is not Kind.BIGINT:
        return call.type
    return numeric(38, 0)


def _as_before(column: Column, call: bound.Aggregate) -> bound.Bound:
    """What the outer aggregate gives in the type of its own; of no rows at all no count is 0."""
    if column.type == call.type:
        return column
    whole = bound.cast_to(column, BIGINT)
    if call.function != "count":
        return whole
    return Call(function="coalesce", arguments=(bound.expression(whole), Literal(value=0, type=BIGINT)), type=BIGINT)
