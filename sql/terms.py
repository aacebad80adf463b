"""What counts and sums of CASE and its like are made of: counts and sums of plain values, with FILTER.

    sum(CASE WHEN c THEN x ELSE 0 END)      sum(x) FILTER (WHERE c); NULL where no row is, not where none is true
    count(CASE WHEN c THEN 1 END)           count(*) FILTER (WHERE c)
    avg(CASE WHEN c THEN 1 ELSE 0 END)      count(*) FILTER (WHERE c) / count(*)
    sum(coalesce(x, 0)), sum(x::bigint)     sum(x); NULL where no row is, as sum(x)
    sum(CASE WHEN c THEN x ELSE y END)      sum(x) FILTER (WHERE c) + sum(y) FILTER (WHERE c is not true)
    count(*) FILTER (WHERE x IS NULL)       count(*) - count(x)

So one thing that users write in many ways is kept once, and groups whose keys decide the condition tell it. A *term* is
a value of some rows. The sum is that of the terms' sums, and as many rows have a value as the terms count together.

The last forms, and CASE of several branches, take more states than what is asked, so no view is kept that way: a query
is taken apart like this (``apart``) where a view does not keep it whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from ..base.types import BOOLEAN, Kind
from ..engine.expression.evaluate import can_fail
from ..engine.expression.node import Call, Case, Cast, Expression, Literal
from ..engine.expression.tree import all_of, conjuncts
from .guarded import both

_DIGITS: Final = {Kind.SMALLINT: 5, Kind.INTEGER: 10, Kind.BIGINT: 19}
"""Whole numbers, and how long they are at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """``argument`` of the rows that pass ``filter``, taken ``factor`` times. Without ``totals`` it is part of counts
    alone, without ``counts`` of sums alone.
    """

    factor: int
    argument: Expression
    filter: Expression | None
    totals: bool = True
    counts: bool = True


def under(argument: Expression, filter: Expression | None) -> tuple[Expression, Expression | None]:
    """The argument of an aggregate that leaves NULL out, and its FILTER: what is NULL otherwise is a FILTER."""
    while isinstance(argument, Case) and len(argument.branches) == 1 and _is_null(argument.default):
        ((condition, argument),) = argument.branches
        filter = both(filter, condition)
    return argument, filter


def terms_of(argument: Expression, filter: Expression | None, *, apart: bool) -> list[Term]:
    """The terms of an argument of count, sum and avg. ``apart``: also where that takes more states; see the module."""
    whole = Term(factor=1, argument=argument, filter=filter)
    return list(_terms(whole, apart)) if _is_simple(argument) or apart else [whole]


def missing_in(filter: Expression | None) -> tuple[Expression | None, Expression | None]:
    """What a filter says is NULL, and what else it says: such rows are those that count(*) has and count(x) has not."""
    parts = () if filter is None else conjuncts(filter)
    for place, part in enumerate(parts):
        if isinstance(part, Call) and part.function == "is_null" and not can_fail(filter or part):
            return part.arguments[0], all_of((*parts[:place], *parts[place + 1 :]))
    return None, filter


def _terms(term: Term, apart: bool) -> Iterator[Term]:
    node = term.argument
    match node:
        case Literal() if node.value is None:
            return
        case Case():
            (condition, then), *others = node.branches
            rest = replace(node, branches=tuple(others)) if others else node.default
            met = both(term.filter, condition)
            yield from _terms(replace(term, argument=then, filter=met), apart)
            if _is_number(rest):
                yield replace(term, argument=rest)
                yield replace(term, argument=rest, filter=met, factor=-term.factor)
            elif not _is_null(rest):
                unmet = Call(function="is_not_true", arguments=(condition,), type=BOOLEAN)
                yield from _terms(replace(term, argument=rest, filter=both(term.filter, unmet)), apart)
        case Call(function="coalesce", arguments=(first, Literal(value=0))) if first.type == node.type:
            zero = node.arguments[1]
            yield from (replace(part, counts=False) for part in _terms(replace(term, argument=first), apart))
            yield replace(term, argument=zero)
        case Call(function="negate", arguments=(value,)) if value.type.kind not in _DIGITS:  # these have a least one
            for part in _terms(replace(term, argument=value), apart):
                yield replace(part, totals=False)
                yield replace(part, factor=-part.factor, counts=False)
        case Cast() if node.argument.type.kind is Kind.BOOLEAN and node.type.kind in _DIGITS:
            yield replace(term, argument=node.argument, totals=False)
            one = Literal(value=1, type=node.type)
            yield replace(term, argument=one, filter=both(term.filter, node.argument), counts=False)
        case Cast() if _keeps_number(node):
            yield from _terms(replace(term, argument=node.argument), apart)
        case _:
            yield term


def _is_simple(node: Expression) -> bool:
    """Whether it takes no more sums to take it apart."""
    match node:
        case Case(branches=((_, then),)):
            return (_is_number(node.default) or _is_null(node.default)) and _is_simple(then)
        case Call(function="coalesce", arguments=(first, *_)):
            return _is_simple(first)
        case Cast():
            return _is_simple(node.argument)
        case Call(function="negate"):
            return _is_simple(node.arguments[0])
        case Case():
            return False
        case _:
            return True


def _is_null(node: Expression) -> bool:
    return isinstance(node, Literal) and node.value is None


def _is_number(node: Expression) -> bool:
    """Whether it is a constant that may be multiplied."""
    if not isinstance(node, Literal) or not node.type.is_numeric or node.value is None:
        return False
    return not isinstance(node.value, float) or math.isfinite(node.value)


def _keeps_number(node: Cast) -> bool:
    """Whether a cast of any number gives the same number, so that it may be summed before the cast as well."""
    source, target = node.argument.type, node.type
    if source.kind in _DIGITS:
        if target.kind is Kind.NUMERIC:
            return (target.precision or 0) - (target.scale or 0) >= _DIGITS[source.kind]
        return _DIGITS.get(target.kind, 0) > _DIGITS[source.kind] or target.kind is Kind.DOUBLE
    if source.kind is Kind.NUMERIC:
        return target.kind is Kind.NUMERIC and not can_fail(replace(node, argument=Literal(value=None, type=source)))
    return source.kind is Kind.REAL and target.kind is Kind.DOUBLE


__all__ = ["Term", "missing_in", "terms_of", "under"]
