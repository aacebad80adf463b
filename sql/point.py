"""Statements that fix a primary key: one row, read as Python values, without plan, Arrow or executor.

    SELECT name FROM people WHERE id = $1      planned once ──► PointRead ──► the key from the parameters ──► one row

A ``PointRead`` is made of a plan and stands for it as long as the table is the same object in the catalog. It
takes only parameters whose Python values are *plain* for the key's columns (engine/row_shape.py): they are then the
values that the query would compute from them. All else is left to the ordinary way, which is this one's oracle.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from ..base.types import Kind, Type
from ..engine.expression.node import Cast, Expression, Literal, Parameter
from ..engine.expression.rowwise import function_of_row, functions_of_row
from ..engine.expression.tree import columns_of
from ..engine.row_shape import NOT_PLAIN, plain_taker
from ..engine.schema import Table
from .plan import Plan, PrimaryKeyGet

CLASSES: Final = frozenset((int, str, float, bytes, dt.date, dt.datetime))
"""Of the parameters that a point read takes; for values of one of these classes one plan is right for all of them."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value of a primary key: parameter ``$number``, or the constant ``value`` where that is 0.

    ``type`` is the parameter's where it has fewer values than the column: others are refused, or cut, before they are
    compared.
    """

    number: int
    value: Any = None
    type: Type | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PointKey:
    """A primary key that a statement fixes, in the order of its columns."""

    table: Table
    parts: tuple[Given, ...]
    narrow: tuple[tuple[int, Callable[[Any], Any]], ...]
    """Parameters that only have the values that are plain to these takers."""

    def values(self, parameters: Sequence[object]) -> tuple[Any, ...] | None:
        """The key; None where a parameter is not plain."""
        for number, take in self.narrow:
            if take(parameters[number - 1]) is NOT_PLAIN:
                return None
        found = tuple([parameters[part.number - 1] if part.number else part.value for part in self.parts])
        return self.table.shape.key(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRead:
    """A query for columns of one row of ``stored``: the table, or that of the groups of a view."""

    key: PointKey
    stored: Table
    values: Callable[[dict[str, Any]], tuple[Any, ...]]
    schema: pa.Schema
    types: tuple[Type, ...]

    def rows(self, row: dict[str, Any] | None) -> list[tuple[Any, ...]]:
        """The result's rows, of the stored row. Raises Invalid for a value of a view that its type cannot hold."""
        return [] if row is None else [self.values(row)]


def point_read(plan: Plan) -> PointRead | None:
    """How to run ``plan`` as the read of one row, or None."""
    choice = plan.choice
    if not isinstance(choice, PrimaryKeyGet) or choice.read.limit is not None or choice.read.use.past is not None:
        return None
    table, columns = choice.read.use.table, choice.read.use.columns
    key = point_key(choice.key, table)
    if key is None or {part.number for part in key.parts} - {0} != set(plan.bound.parameters):
        return None
    return PointRead(
        key=key,
        stored=table.stored or table,
        values=_computed(table, choice.read.computed)
        if choice.read.computed
        else _values(table, tuple([table.by_id[columns[place]].name for place in choice.read.columns])),
        schema=plan.bound.schema,
        types=plan.bound.types,
    )


def _computed(table: Table, outputs: Sequence[Expression]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """What makes ``outputs``, over the table's columns, of a stored row."""
    read = [table.by_id[id] for id in sorted({id for output in outputs for id in columns_of(output)})]
    names = tuple([column.name for column in read])
    row_of = _values(table, names)
    by_id = {column.id: column.name for column in read}
    values = functions_of_row([function_of_row(output, by_id) for output in outputs])
    return lambda row: values(dict(zip(names, row_of(row), strict=True)))


def _values(table: Table, names: tuple[str, ...]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    if table.stored is not None:
        return table.computed.row(names)
    return lambda row: tuple([row[name] for name in names])


def point_key(constants: Sequence[Expression], table: Table) -> PointKey | None:
    """The primary key whose columns equal ``constants``, where these are literals and parameters."""
    found = [_given(node, column.type) for node, column in zip(constants, table.primary_key_columns, strict=True)]
    parts = tuple(part for part in found if part)
    if len(parts) < len(found):
        return None
    narrow = tuple((part.number, plain_taker(part.type)) for part in parts if part.type is not None)
    return PointKey(table=table, parts=parts, narrow=narrow)


def _given(constant: Expression, type: Type) -> Given | None:
    """A constant that a column of ``type`` is compared with; None where its value takes more than a look."""
    if isinstance(constant, Literal):
        zoned = type.kind is Kind.TIMESTAMPTZ  # it was read in the session's time zone
        return None if zoned or not _same_values(constant.type, type) else Given(0, constant.value)
    while isinstance(constant, Cast) and _same_values(constant.argument.type, constant.type):
        if not _holds(constant.type, constant.argument.type):
            return None
        constant = constant.argument
    if isinstance(constant, Parameter) and _same_values(constant.type, type):
        return Given(constant.number, type=None if _holds(constant.type, type) else constant.type)
    return None


def _same_values(given: Type, type: Type) -> bool:
    """Whether a plain value of both types means the same in each."""
    if given.is_integer:
        return type.is_integer
    return given.is_text and type.is_text if given.is_text else given == type


def _holds(type: Type, other: Type) -> bool:
    """Of two types with the same values: whether ``type`` has all those of ``other``."""
    if type.is_integer:
        return type.arrow.bit_width >= other.arrow.bit_width
    return type == other or type.length is None or (other.length is not None and other.length <= type.length)
