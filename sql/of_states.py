"""What each aggregate is, of the states and values that are kept per group (engine/aggregates/definition.py).

    avg(x)        CASE WHEN count(x) = 0 THEN NULL ELSE sum(x) / count(x) END
    stddev(x)     sqrt(variance of count(x), sum(x), sum(x * x))
    min(x)        the least of the values of x
    last(x, at)   x of the greatest of the values of (at, x)

An aggregate asks the builder for what it needs; what several need is kept once.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..base.types import BIGINT, BOOLEAN, DOUBLE, Kind, Type, numeric
from ..engine.aggregates.definition import Kept
from ..engine.expression.functions import resolve
from ..engine.expression.node import Call, Case, Cast, Expression, Literal

if TYPE_CHECKING:
    from .maintained import Builder


def call_of(function: str, *arguments: Expression) -> Call:
    """A call of the overload that PostgreSQL's rules choose, its arguments cast to that."""
    literals = {place: part.value for place, part in enumerate(arguments) if isinstance(part, Literal)}
    found = resolve(function, [part.type for part in arguments], literals=literals)
    parts = zip(arguments, found.argument_types, strict=True)
    return Call(function=function, arguments=tuple(_cast(part, type) for part, type in parts), type=found.result)


def _cast(expression: Expression, type: Type) -> Expression:
    return expression if expression.type == type else Cast(argument=expression, type=type)


def _unless_none(count: Expression, value: Expression) -> Expression:
    """NULL of no values, as SQL's aggregates."""
    none = call_of("equal", count, Literal(value=0, type=BIGINT))
    return Case(branches=((none, Literal(value=None, type=value.type)),), default=value, type=value.type)


def average_of(total: Expression, count: Expression, type: Type) -> Expression:
    """Of values that are so many and have this sum; NULL of none."""
    divisor = _cast(count, DOUBLE if total.type.kind is Kind.DOUBLE else numeric(19, 0))
    return _unless_none(count, _cast(call_of("divide", total, divisor), type))


def sum_of(parts: Sequence[tuple[int, Expression]], type: Type) -> Expression:
    """The sum of values, each taken so many times."""
    found: Expression | None = None
    for factor, value in parts:
        part = _cast(value, type)
        for _ in range(abs(factor)):
            if found is None:
                found = part if factor > 0 else call_of("negate", part)
            else:
                found = _cast(call_of("add" if factor > 0 else "subtract", found, part), type)
    return _cast(Literal(value=0, type=BIGINT), type) if found is None else found


def times(count: Expression, value: Any, type: Type) -> Expression:
    """A number as often as it is counted."""
    if value == 1:
        return count
    if type.kind is Kind.DOUBLE:
        return call_of("multiply", _cast(count, type), Literal(value=float(value), type=type))
    number = Literal(value=Decimal(value), type=numeric(19 + (type.scale or 0), type.scale or 0))
    return call_of("multiply", _cast(count, numeric(19, 0)), number)


def _count(builder: Builder, argument: Expression | None, filter: Expression | None, type: Type) -> Expression:
    if argument is None:
        return _cast(builder.count(None, filter), type)
    return _cast(builder.present(builder.terms(argument, filter)), type)


def _sum(builder: Builder, argument: Expression | None, filter: Expression | None, type: Type) -> Expression:
    assert argument is not None, "sum has an argument"
    terms = builder.terms(argument, filter)
    value = builder.total(terms, argument.type)
    return _unless_none(builder.present(terms), _cast(value, type))


def _avg(builder: Builder, argument: Expression | None, filter: Expression | None, type: Type) -> Expression:
    assert argument is not None, "avg has an argument"
    terms = builder.terms(argument, filter)
    return average_of(builder.total(terms, argument.type), builder.present(terms), type)


def _variance(
    builder: Builder, argument: Expression, filter: Expression | None, type: Type, *, freedom: int
) -> Expression:
    return _cast(builder.variance(argument, filter, freedom=freedom), type)


def _deviation(
    builder: Builder, argument: Expression, filter: Expression | None, type: Type, *, freedom: int
) -> Expression:
    return _cast(call_of("sqrt", builder.variance(argument, filter, freedom=freedom)), type)


def _truths(builder: Builder, argument: Expression, filter: Expression | None) -> Expression:
    """How many rows that pass ``filter`` have a true value."""
    both = argument if filter is None else Call(function="and", arguments=(filter, argument), type=BOOLEAN)
    return builder.count(None, both)


def _all_true(builder: Builder, argument: Expression | None, filter: Expression | None, type: Type) -> Expression:
    assert argument is not None, "bool_and has an argument"
    count = builder.count(argument, filter)
    return _unless_none(count, call_of("equal", _truths(builder, argument, filter), count))


def _any_true(builder: Builder, argument: Expression | None, filter: Expression | None, type: Type) -> Expression:
    assert argument is not None, "bool_or has an argument"
    none = Literal(value=0, type=BIGINT)
    return _unless_none(builder.count(argument, filter), call_of("greater", _truths(builder, argument, filter), none))


def _least(builder: Builder, argument: Expression, filter: Expression | None, type: Type) -> Expression:
    return _cast(builder.kept(Kept.LEAST, (argument,), filter)[0], type)


def _greatest(builder: Builder, argument: Expression, filter: Expression | None, type: Type) -> Expression:
    return _cast(builder.kept(Kept.GREATEST, (argument,), filter)[0], type)


def _first(
    builder: Builder, argument: Expression, time: Expression, filter: Expression | None, type: Type
) -> Expression:
    return _cast(builder.kept(Kept.LEAST, (time, argument), filter)[1], type)


def _last(
    builder: Builder, argument: Expression, time: Expression, filter: Expression | None, type: Type
) -> Expression:
    return _cast(builder.kept(Kept.GREATEST, (time, argument), filter)[1], type)


def _distinct(builder: Builder, argument: Expression, filter: Expression | None, type: Type) -> Expression:
    return _cast(builder.kept(Kept.DISTINCT, (argument,), filter)[0], type)


SPREADS: Final[dict[str, Any]] = {
    **dict.fromkeys(("var_samp", "variance"), partial(_variance, freedom=1)),
    "var_pop": partial(_variance, freedom=0),
    **dict.fromkeys(("stddev_samp", "stddev"), partial(_deviation, freedom=1)),
    "stddev_pop": partial(_deviation, freedom=0),
}

AGGREGATES: Final[dict[str, Any]] = {
    "count": _count,
    "sum": _sum,
    "avg": _avg,
    "bool_and": _all_true,
    "every": _all_true,
    "bool_or": _any_true,
    "min": _least,
    "max": _greatest,
    "first": _first,
    "last": _last,
    **SPREADS,
}

OF_TERMS: Final = (_count, _sum, _avg)

DISTINCT: Final[dict[str, Any]] = {
    "count": _distinct,
    **{name: AGGREGATES[name] for name in ("bool_and", "every", "bool_or", "min", "max", "first", "last")},
}
"""With DISTINCT: what changes nothing, and the number of different values."""
