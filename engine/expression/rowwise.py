"""An expression as a Python function of one row: what a read of one row computes of it, in a microsecond or two.

It is made once, and then called per row: a closure for each node. What views are made of has a short way here; all else
goes by the naive form (naive.py), which is the oracle of this one: the same values, the same errors.

    function_of_row(total / count, {3: "3", …})   ──►   row {"3": …}  ──►  Decimal("2.5000000000000000")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from operator import itemgetter
from typing import Any, Final, TypeAlias, assert_never

from ...base.types import Kind, Type
from .context import resolution_of
from .conversion import cast_value, settle
from .functions import Volatility
from .functions.operators import division_by_zero
from .naive import EXACT, LAZY, apply, check_finite
from .node import Call, Case, Cast, Column, Expression, Literal, Parameter

Row: TypeAlias = Mapping[str, Any]
OfRow: TypeAlias = Callable[[Row], Any]


def function_of_row(expression: Expression, names: Mapping[int, str]) -> OfRow:
    """What gives the expression's value on a row, given as name → Python value. ``names``: by column identifier.

    The expression has no parameters, and no functions that vary. The function raises Invalid as ``evaluate_row`` does.
    """
    match expression:
        case Literal(value=value):
            return lambda row: value
        case Column():
            return itemgetter(names[expression.id])
        case Cast():
            return _cast(expression, function_of_row(expression.argument, names))
        case Case():
            branches = [(function_of_row(a, names), function_of_row(b, names)) for a, b in expression.branches]
            return _case(branches, function_of_row(expression.default, names))
        case Call():
            return _call(expression, names)
        case Parameter():
            raise AssertionError(f"parameter ${expression.number} has no value here")
        case _:
            assert_never(expression)


def functions_of_row(functions: list[OfRow]) -> Callable[[Row], tuple[Any, ...]]:
    """What makes a tuple of their values of a row."""
    return _tuple_maker(len(functions))(*functions)


@cache
def _tuple_maker(count: int) -> Callable[..., Callable[[Row], tuple[Any, ...]]]:
    parameters = ", ".join([f"f{n}" for n in range(count)])
    items = "".join([f"f{n}(row), " for n in range(count)])
    return eval(f"lambda {parameters}: lambda row: ({items})")


def _cast(cast: Cast, argument: OfRow) -> OfRow:
    source, target = cast.argument.type, cast.type
    convert: Callable[[int], object] | None = None
    if source.is_integer and target.kind is Kind.DOUBLE:
        convert = float
    elif source.is_integer and target.kind is Kind.NUMERIC and not target.scale and (target.precision or 0) >= 19:
        convert = Decimal
    if convert is None:
        return lambda row: cast_value(argument(row), source, target)
    return lambda row: None if (value := argument(row)) is None else convert(value)


def _case(branches: list[tuple[OfRow, OfRow]], default: OfRow) -> OfRow:
    def value(row: Row) -> Any:
        for test, then in branches:
            if test(row) is True:
                return then(row)
        return default(row)

    if len(branches) > 1:
        return value
    ((test, then),) = branches
    return lambda row: then(row) if test(row) is True else default(row)


def _call(call: Call, names: Mapping[int, str]) -> OfRow:
    resolution = resolution_of(call)
    assert resolution.function.volatility is Volatility.IMMUTABLE, f"{call.function}() varies"
    arguments = [function_of_row(argument, names) for argument in call.arguments]
    if call.function in LAZY:
        return _lazily(call, arguments)
    overload, type = resolution.overload, call.type
    numeric = [part.type.kind is Kind.NUMERIC for part in (call, *call.arguments)]
    if call.function in _EXACT_SUMS:  # of columns that are never NULL
        return _of_all(overload.naive, arguments)
    if call.function == "divide" and all(numeric):
        return _quotient(type, *arguments)
    if not any(numeric) and overload.strict and type.kind is Kind.BOOLEAN:
        return _of_values(overload.naive, arguments)
    if not any(numeric) and type.kind is Kind.DOUBLE:
        function = _finite(overload.naive) if overload.can_fail else overload.naive
        return _of_values(function, arguments) if overload.strict else _of_all(function, arguments)
    return lambda row: apply(resolution, [argument(row) for argument in arguments], call)


_EXACT_SUMS: Final = ("weft_sum_integer", "weft_sum_numeric")


def _lazily(call: Call, arguments: list[OfRow]) -> OfRow:
    functions = {id(node): function for node, function in zip(call.arguments, arguments, strict=True)}
    lazy = LAZY[call.function]
    return lambda row: lazy(call, lambda node: functions[id(node)](row))


def _of_all(function: Any, arguments: list[OfRow]) -> OfRow:
    return lambda row: function(*[argument(row) for argument in arguments])


def _of_values(function: Any, arguments: list[OfRow]) -> OfRow:
    """NULL of a NULL."""

    def value(row: Row) -> Any:
        values = [argument(row) for argument in arguments]
        return None if None in values else function(*values)

    return value


def _finite(function: Any) -> Callable[..., float | None]:
    """Of doubles: refused where it is infinite and no argument is."""

    def value(*values: Any) -> float | None:
        result = function(*values)
        if result is None:
            return None
        check_finite(result, values)
        return float(result)

    return value


def _quotient(type: Type, left: OfRow, right: OfRow) -> OfRow:
    def value(row: Row) -> Decimal | None:
        a, b = left(row), right(row)
        if a is None or b is None:
            return None
        if not b:
            raise division_by_zero()
        return settle(EXACT.divide(a, b), type)

    return value
