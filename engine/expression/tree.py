"""Walking and rewriting the expression tree."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

from ...base.types import BOOLEAN
from .node import Call, Case, Cast, Column, Expression, Literal, Parameter


def children(expression: Expression) -> tuple[Expression, ...]:
    """The direct parts, in order of evaluation."""
    match expression:
        case Literal() | Column() | Parameter():
            return ()
        case Call():
            return expression.arguments
        case Cast():
            return (expression.argument,)
        case Case():
            return (*(part for branch in expression.branches for part in branch), expression.default)
        case _:
            assert_never(expression)


def walk(expression: Expression) -> list[Expression]:
    """The expression and all its parts, parents first."""
    found: list[Expression] = []
    stack = [expression]
    while stack:
        part = stack.pop()
        found.append(part)
        stack.extend(children(part)[::-1])
    return found


def transform(expression: Expression, change: Callable[[Expression], Expression]) -> Expression:
    """The tree with ``change`` applied to every part, children first. What has not changed is the same object."""
    match expression:
        case Literal() | Column() | Parameter():
            return change(expression)
        case Call():
            old = expression.arguments
            parts = tuple([transform(argument, change) for argument in old])
            if all(map(operator.is_, old, parts)):
                return change(expression)
            return change(Call(function=expression.function, arguments=parts, type=expression.type))
        case Cast():
            argument = transform(expression.argument, change)
            if argument is expression.argument:
                return change(expression)
            return change(Cast(argument=argument, type=expression.type))
        case Case():
            branches = tuple((transform(test, change), transform(then, change)) for test, then in expression.branches)
            default = transform(expression.default, change)
            return change(Case(branches=branches, default=default, type=expression.type))
        case _:
            assert_never(expression)


def nameless(expression: Expression) -> Expression:
    """The expression, its columns told by identifiers alone."""
    return transform(expression, _nameless)


def _nameless(part: Expression) -> Expression:
    return Column(id=part.id, type=part.type) if isinstance(part, Column) and part.name else part


def columns_of(expression: Expression) -> frozenset[int]:
    """Identifiers of the columns that the expression reads."""
    return frozenset(part.id for part in walk(expression) if isinstance(part, Column))


def conjuncts(expression: Expression) -> tuple[Expression, ...]:
    """The parts of a top-level AND, flattened; the expression itself if it is none."""
    if isinstance(expression, Call) and expression.function == "and":
        return tuple(part for argument in expression.arguments for part in conjuncts(argument))
    return (expression,)


def all_of(parts: Sequence[Expression]) -> Expression | None:
    """The inverse of ``conjuncts``: a condition that is true where all parts are; None without any."""
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else Call(function="and", arguments=tuple(parts), type=BOOLEAN)


def substitute_parameters(expression: Expression, values: Mapping[int, Literal]) -> Expression:
    """The tree with ``$n`` replaced by ``values[n]``; parameters without a value stay."""
    return transform(expression, lambda part: values.get(part.number, part) if isinstance(part, Parameter) else part)
