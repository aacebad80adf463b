"""Expressions that may fail, computed only of rows in which they are asked for."""

from __future__ import annotations

from ..base.types import Kind
from ..engine.expression.evaluate import can_fail
from ..engine.expression.node import Call, Case, Expression, Literal
from ..engine.expression.tree import all_of


def may_fail(expression: Expression) -> bool:
    """Whether some row's value may raise; not that of a bucket of days or less, which is cut in integers."""
    if isinstance(expression, Call) and expression.function == "time_bucket":
        width, *others = expression.arguments
        if isinstance(width, Literal) and len(others) == 1 and others[0].type.kind is not Kind.DATE:
            months = getattr(width.value, "months", 1)
            return months != 0 or may_fail(others[0])
    if isinstance(expression, Call) and expression.function in ("and", "or"):
        return any(map(may_fail, expression.arguments))
    return can_fail(expression)


def only_where(condition: Expression | None, value: Expression) -> Expression:
    """The value where the condition is true, else NULL; as it is if it cannot fail."""
    if condition is None or not may_fail(value):
        return value
    return Case(branches=((condition, value),), default=Literal(value=None, type=value.type), type=value.type)


def both(condition: Expression | None, other: Expression | None) -> Expression | None:
    """Both of two conditions; the second one is asked only where the first is true, if it can fail."""
    if condition is None or other is None:
        return other if condition is None else condition
    return only_where(condition, other) if may_fail(other) else all_of((condition, other))


__all__ = ["both", "may_fail", "only_where"]
