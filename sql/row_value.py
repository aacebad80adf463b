"""Expressions over one row, computed on Python values: ``balance + $2`` without Arrow.

``row_value`` makes a function of an expression, or None where it has more in it than columns, constants, sums,
differences and products of numbers, and casts that keep the value. The function raises ``NotPlain`` where a value is
not plain for its type (engine/row_shape.py), an overflow among them: whoever computes it then goes the ordinary way,
which converts, or says what is wrong. So what it does return is what the relational executor computes.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any, Final, TypeAlias

from ..base.types import Kind, Type
from ..engine.expression.node import Call, Cast, Column, Literal, Parameter
from ..engine.row_shape import NOT_PLAIN, plain_taker
from . import bound


class NotPlain(Exception):
    """A value that the short way does not take."""


@dataclass(frozen=True, slots=True)
class Row:
    """What an expression reads: the row by column name, the parameters, and the row that ON CONFLICT proposes."""

    values: Mapping[str, Any]
    parameters: Sequence[object]
    proposed: Mapping[str, Any] = field(default_factory=dict[str, Any])


RowValue: TypeAlias = Callable[[Row], Any]


def row_value(node: bound.Bound, columns: Mapping[int, RowValue]) -> RowValue | None:
    """How to compute ``node``; ``columns`` says how each column is read, by its identifier."""
    match node:
        case Column():
            return columns.get(node.id)
        case Literal():
            return lambda _, value=node.value: value
        case Parameter():
            return parameter_value(node.number, node.type)
        case Cast():
            return _cast(row_value(node.argument, columns), node.argument.type, node.type)
        case Call():
            return _call(node, [row_value(argument, columns) for argument in node.arguments])
        case _:
            return None


def parameter_value(number: int, type: Type) -> RowValue:
    """How to take parameter ``$number`` as ``type``."""
    index, take = number - 1, plain_taker(type)

    def value(row: Row) -> Any:
        given = row.parameters[index]
        taken = None if given is None else take(given)
        if taken is NOT_PLAIN:
            raise NotPlain
        return taken

    return value


def _cast(argument: RowValue | None, given: Type, type: Type) -> RowValue | None:
    if argument is None:
        return None
    if given.is_text and type.is_text and type.length is None:
        return argument
    convert = int if type.is_integer else _OF_INTEGERS.get(type.kind)
    return _checked(argument, convert, plain_taker(type)) if given.is_integer and convert is not None else None


def _checked(argument: RowValue, convert: Callable[[Any], Any], take: Callable[[Any], Any]) -> RowValue:
    def value(row: Row) -> Any:
        given = argument(row)
        if given is None:
            return None
        taken = take(convert(given))
        if taken is NOT_PLAIN:
            raise NotPlain
        return taken

    return value


_OF_INTEGERS: Final[Mapping[Kind, Callable[[int], Any]]] = {Kind.NUMERIC: Decimal, Kind.DOUBLE: float}
_EXACT: Final = Context(prec=80)
_WHOLE: Final = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul}
_DECIMAL: Final = {"add": _EXACT.add, "subtract": _EXACT.subtract, "multiply": _EXACT.multiply}


def _call(node: Call, arguments: list[RowValue | None]) -> RowValue | None:
    types = [argument.type for argument in node.arguments]
    known = [argument for argument in arguments if argument is not None]
    if len(known) != 2 or len(arguments) != 2:
        return None
    left, right = known
    if node.type.is_integer and all(type.is_integer for type in types):
        compute = _WHOLE.get(node.function)
    elif node.type.kind is Kind.NUMERIC and all(type.kind is Kind.NUMERIC for type in types):
        compute = _DECIMAL.get(node.function)
    elif all(type.kind is Kind.DOUBLE for type in (node.type, *types)):
        compute = _WHOLE.get(node.function)
    else:
        return None
    if compute is None:
        return None
    take = plain_taker(node.type)

    def value(row: Row) -> Any:
        first, second = left(row), right(row)
        if first is None or second is None:
            return None
        taken = take(compute(first, second))
        if taken is NOT_PLAIN or (taken.__class__ is float and not math.isfinite(taken)):
            raise NotPlain
        return taken

    return value
