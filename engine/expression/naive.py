"""The oracle: an expression on one row, in plain Python, straight from the function table.

Slow and obvious on purpose. The vectorized evaluator falls back to it for functions without an Arrow form and for the
row that made Arrow fail; tests compare both, and DuckDB, with it. AND, OR, COALESCE and CASE look at their arguments
from left to right and stop when the answer is known, so that ``x <> 0 AND y / x > 1`` never divides by zero.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, assert_never

from ...base.errors import Invalid
from ...base.types import Kind
from .context import Context, resolution_of
from .conversion import cast_value, settle
from .functions import FUNCTIONS, Resolution, Volatility, session_literal
from .node import Call, Case, Cast, Column, Expression, Literal, Parameter


def evaluate_row(expression: Expression, row: Mapping[int, Any], *, context: Context) -> Any:
    """The value on a row given as column id → Python value. Raises Invalid for what SQL raises."""
    match expression:
        case Literal():
            return expression.value
        case Column():
            return row[expression.id]
        case Parameter():
            return context.literal(expression).value
        case Cast():
            value = evaluate_row(expression.argument, row, context=context)
            return cast_value(value, expression.argument.type, expression.type)
        case Case():
            for test, then in expression.branches:
                if evaluate_row(test, row, context=context) is True:
                    return evaluate_row(then, row, context=context)
            return evaluate_row(expression.default, row, context=context)
        case Call():
            return _call(expression, row, context)
        case _:
            assert_never(expression)


def _call(call: Call, row: Mapping[int, Any], context: Context) -> Any:
    if FUNCTIONS[call.function].volatility is Volatility.STABLE:
        return session_literal(call.function, now=context.now).value
    lazy = LAZY.get(call.function)
    if lazy is not None:
        return lazy(call, lambda argument: evaluate_row(argument, row, context=context))
    values = [evaluate_row(argument, row, context=context) for argument in call.arguments]
    return apply(resolution_of(call), values, call)


def apply(resolution: Resolution, values: Sequence[Any], call: Call) -> Any:
    """One function on one row's values: NULL rule, computation, range and scale of the result."""
    overload = resolution.overload
    if overload.strict and any(value is None for value in values):
        return None
    if overload.naive is None:
        raise Invalid(f'function "{call.function}" cannot be computed outside of a query', sqlstate="0A000")
    with decimal.localcontext(EXACT):
        result = overload.naive(*values)
    if overload.can_fail and isinstance(result, float):
        check_finite(result, values)
    return settle(result, call.type) if call.type.kind is not Kind.ARRAY else result


def check_finite(result: float, values: Sequence[Any]) -> None:
    """Raise Invalid (22003) for an infinite result of finite floats. What is made of no floats says so by itself: a sum
    of infinities is infinite, though its state has none.
    """
    if math.isinf(result):
        floats = [value for value in values if isinstance(value, float)]
        if floats and not any(map(math.isinf, floats)):
            raise Invalid("value out of range: overflow", sqlstate="22003")


EXACT: Final = decimal.Context(prec=120)
_Evaluate = Callable[[Expression], Any]


def _lazy_and(call: Call, value_of: _Evaluate) -> Any:
    answer: bool | None = True
    for argument in call.arguments:
        value = value_of(argument)
        if value is False:
            return False
        answer = None if value is None else answer
    return answer


def _lazy_or(call: Call, value_of: _Evaluate) -> Any:
    answer: bool | None = False
    for argument in call.arguments:
        value = value_of(argument)
        if value is True:
            return True
        answer = None if value is None else answer
    return answer


def _lazy_coalesce(call: Call, value_of: _Evaluate) -> Any:
    return next((value for argument in call.arguments if (value := value_of(argument)) is not None), None)


LAZY: Final[dict[str, Callable[[Call, _Evaluate], Any]]] = {
    "and": _lazy_and,
    "or": _lazy_or,
    "coalesce": _lazy_coalesce,
}
