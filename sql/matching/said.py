"""What matching says to people: steps of a proof, and why there is none.

A ``Said`` keeps the expressions that it speaks of, and writes them out when somebody reads it: few plans are explained,
and texts were a fifth of what matching took.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from ...engine.aggregates.accumulators import SQUARES, Sort
from ...engine.aggregates.definition import Kept, State, Values
from ...engine.expression.node import Call, Case, Cast, Column, Expression, Literal, Parameter
from ..shown import expression_text

_EXPRESSIONS: Final = (Literal, Column, Parameter, Call, Cast, Case)


class Said:
    """A text with a hole ``{}`` for each of ``about``: expressions, states, texts. Its ``str`` is what it says."""

    __slots__ = ("_about", "_text")

    def __init__(self, text: str, *about: About) -> None:
        self._text = text
        self._about = about

    def __str__(self) -> str:
        return self._text.format(*map(_shown, self._about))


About: TypeAlias = Expression | State | Said | str


def where_said(filter: Expression | None) -> Said | str:
    """Which groups count, where not all do."""
    return "" if filter is None else Said(", for groups with {}", filter)


def state_text(state: State) -> str:
    """A state as the aggregate that it is of: squares are kept for variances."""
    argument = "*" if state.argument is None else expression_text(state.argument)
    function = "count" if state.sort is Sort.COUNT else "variance" if state.sort in SQUARES.values() else "sum"
    return f"{function}({argument})" + (
        "" if state.filter is None else f" FILTER (WHERE {expression_text(state.filter)})"
    )


def values_texts(values: Values) -> list[str]:
    """What is kept of values, as the aggregates that they are of."""
    argument = ", ".join(map(expression_text, reversed(values.arguments)))
    names = {Kept.LEAST: "min({})", Kept.GREATEST: "max({})", Kept.DISTINCT: "count(DISTINCT {})"}
    if len(values.arguments) > 1:  # the time, and what is asked of its row
        names |= {Kept.LEAST: "first({})", Kept.GREATEST: "last({})"}
    return [names[kept].format(argument) for kept in values.kept]


def _shown(part: About) -> str:
    if isinstance(part, State):
        return state_text(part)
    return expression_text(part) if isinstance(part, _EXPRESSIONS) else str(part)


__all__ = ["About", "Said", "state_text", "values_texts", "where_said"]
