"""The expression tree: what CHECK, DEFAULT, view definitions and filters mean, apart from their text.

Nodes are frozen values. Every node knows its type; the binder in ``sql`` fixed it, nothing here infers. The tree is
closed: a consumer matches it exhaustively and ends in ``assert_never``.

    Literal      a typed constant; NULL is ``value=None``
    Column       a column of the row at hand, by column identifier, never by name
    Parameter    ``$n`` of the statement, 1-based
    Call         a function of the function table (operators too: ``+`` is the function ``add``)
    Cast         an explicit or implicit change of type
    Case         searched CASE; a simple CASE is bound into one
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...base.types import Type


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """``value`` is what ``Type.arrow`` gives as Python value (int, Decimal, str, datetime, MonthDayNano, ...).

    There is one NaN, so that it equals itself: expressions are compared to find what is grouped by.
    """

    value: object
    type: Type

    def __post_init__(self) -> None:
        if isinstance(self.value, float) and math.isnan(self.value):
            object.__setattr__(self, "value", math.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Column ``id`` of the table (or, in a bound query, a generated identifier); ``name`` is for display only."""

    id: int
    type: Type
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    number: int
    type: Type


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """``function`` is a name of the function table; its arguments have exactly the overload's types."""

    function: str
    arguments: tuple[Expression, ...]
    type: Type


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    argument: Expression
    type: Type


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """``branches`` are (condition, result) pairs, tried in order; ``default`` is a NULL literal without an ELSE."""

    branches: tuple[tuple[Expression, Expression], ...]
    default: Expression
    type: Type


Expression = Literal | Column | Parameter | Call | Cast | Case
