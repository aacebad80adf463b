"""Functions that no kernel knows, in words that kernels have: the same values, and NULL for the same rows.

    greatest(a, b)         CASE WHEN a IS NOT NULL AND (b > a) IS NOT TRUE THEN a ELSE b END
    nullif(a, b)           CASE WHEN a = b THEN NULL ELSE a END
    a IS DISTINCT FROM b   NOT ((a = b) IS TRUE OR (a IS NULL AND b IS NULL))
    x IN (a, b), of floats   x = a OR x = b
    f = g, of BOOLEAN      (f AND g) OR (NOT f AND NOT g)

Whether something computed is NULL is asked as whether it equals itself, so that it is computed where it may fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...base.types import BOOLEAN, Kind
from ..expression.node import Call, Case, Column, Expression, Literal

_BETTER: Final = {"greatest": "greater", "least": "less"}
ARGUMENTS_MAX: Final = 8
"""Each is compared with all that follow it."""


def instead(call: Call) -> Expression | None:
    """The same expression in other words, None where there are none."""
    arguments = call.arguments
    match call.function:
        case "greatest" | "least" if 0 < len(arguments) <= ARGUMENTS_MAX:
            return _extreme(call, _BETTER[call.function])
        case "nullif":
            equal = _truth("equal", *arguments)
            return Case(branches=((equal, Literal(value=None, type=call.type)),), default=arguments[0], type=call.type)
        case "is_not_distinct":
            return _same(*arguments)
        case "is_distinct":
            return _truth("not", _same(*arguments))
        case "in_list" if arguments[0].type.kind in (Kind.REAL, Kind.DOUBLE) and len(arguments) <= ARGUMENTS_MAX:
            return _truth("or", *(_truth("equal", arguments[0], other) for other in arguments[1:]))
        case "equal" if _are_truths(arguments):
            return _equal_truths(*arguments)
        case "not_equal" if _are_truths(arguments):
            return _truth("not", _equal_truths(*arguments))
        case _:
            return None


def _extreme(call: Call, better: str) -> Expression:
    """The first argument that is not NULL and that none of those behind it is better than; NULL without one."""
    *others, last = call.arguments
    branches: list[tuple[Expression, Expression]] = []
    for place, one in enumerate(others):
        best = [_truth("is_not_true", _truth(better, other, one)) for other in call.arguments[place + 1 :]]
        branches.append((_truth("and", _is_there(one), *best), one))
    return Case(branches=tuple(branches), default=last, type=call.type) if branches else last


def _same(one: Expression, other: Expression) -> Expression:
    equal = _truth("is_true", _truth("equal", one, other))
    for value, constant in ((one, other), (other, one)):
        if isinstance(constant, Literal):
            return _truth("not", _is_there(value)) if constant.value is None else equal
    return _truth("or", equal, _truth("not", _truth("or", _is_there(one), _is_there(other))))


def _is_there(one: Expression) -> Expression:
    if isinstance(one, Column):
        return _truth("is_not_null", one)
    return _truth("is_true", _truth("equal", one, one))


def _equal_truths(one: Expression, other: Expression) -> Expression:
    return _truth("or", _truth("and", one, other), _truth("and", _truth("not", one), _truth("not", other)))


def _are_truths(arguments: Sequence[Expression]) -> bool:
    return all(argument.type.kind is Kind.BOOLEAN for argument in arguments)


def _truth(function: str, *arguments: Expression) -> Call:
    return Call(function=function, arguments=arguments, type=BOOLEAN)
