"""Statements that fix a primary key: one row, read as Python values, without plan, Arrow or executor.

    SELECT name FROM people WHERE id = $1      planned once ──► PointRead ──► the key from the parameters ──► one row

A ``PointRead`` is made of a plan and stands for it as long as the table is the same object in the catalog. It
takes only parameters whose Python values are *plain* for the key's columns (engine/row_shape.py): they are then the
values that the query would compute from them. All else is left to the ordinary way, which is this one's oracle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from ..base.types import Kind, Type
from ..engine.expression.node import Cast, Expression, Literal, Parameter
from ..engine.schema import Table
from .plan import Plan, PrimaryKeyGet

CLASSES: Final = frozenset((int, str, float, bytes))
"""Of the parameters that a point read takes; for values of one of these classes one plan is right for all of them."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value of a primary key: parameter ``$number``, or the constant ``value`` where that is 0."""

    number: int
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PointKey:
    """A primary key that a statement fixes, in the order of its columns."""

    table: Table
    parts: tuple[Given, ...]

    def values(self, parameters: Sequence[object]) -> tuple[Any, ...] | None:
        """The key; None where a parameter is not plain."""
        found = tuple([parameters[part.number - 1] if part.number else part.value for part in self.parts])
        return self.table.shape.key(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRead:
    """A query for columns of one row."""

    key: PointKey
    names: tuple[str, ...]
    schema: pa.Schema
    types: tuple[Type, ...]

    def rows(self, row: dict[str, Any] | None) -> list[tuple[Any, ...]]:
        """The result's rows, of the table's row."""
        return [] if row is None else [tuple([row[name] for name in self.names])]


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
        names=tuple(table.by_id[columns[place]].name for place in choice.read.columns),
        schema=plan.bound.schema,
        types=plan.bound.types,
    )


def point_key(constants: Sequence[Expression], table: Table) -> PointKey | None:
    """The primary key whose columns equal ``constants``, where these are literals and parameters."""
    parts = [_given(node, column.type) for node, column in zip(constants, table.primary_key_columns, strict=True)]
    return PointKey(table=table, parts=tuple(part for part in parts if part)) if all(parts) else None


def _given(constant: Expression, type: Type) -> Given | None:
    """A constant that a column of ``type`` is compared with; None where its value takes more than a look."""
    if isinstance(constant, Literal):
        zoned = type.kind is Kind.TIMESTAMPTZ  # it was read in the session's time zone
        return None if zoned or not _same_values(constant.type, type) else Given(0, constant.value)
    while isinstance(constant, Cast) and _same_values(constant.argument.type, constant.type):
        constant = constant.argument
    if isinstance(constant, Parameter) and _same_values(constant.type, type):
        return Given(constant.number)
    return None


def _same_values(given: Type, type: Type) -> bool:
    """Whether a plain value of ``type`` means the same where it is given as ``given``."""
    if given.is_integer:
        return type.is_integer
    return given.is_text and type.is_text if given.is_text else given == type
