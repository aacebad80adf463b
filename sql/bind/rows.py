"""Rows as values, where they can be taken apart: a table's name, ``t.*``, ``(a, b)`` and ``ROW(a, b)``.

There is no type of rows. What takes one asks ``row_of`` for its fields first: comparisons, ``IS NULL``, ``count``, and
the functions that make JSON of it. Elsewhere a row is refused by name.

The row of a table on the nullable side of an outer join is NULL where nothing matched. ``missing`` is that condition: a
column that is never NULL of itself tells it, or where a subquery has none, that all columns are NULL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from ...base.errors import Invalid
from ...base.types import BOOLEAN
from .. import bound
from .binder import ExpressionBinder
from .errors import unsupported
from .names import fold
from .scope import Range


@dataclass(frozen=True, slots=True)
class Row:
    """The fields by name; ``missing`` is true where there is no row at all, None if there always is one."""

    fields: tuple[tuple[str, bound.Bound], ...]
    missing: bound.Bound | None = None

    @property
    def values(self) -> tuple[bound.Bound, ...]:
        return tuple(value for _, value in self.fields)


def row_of(binder: ExpressionBinder, tree: exp.Expr) -> Row | None:
    """The row that ``tree`` is; None for anything else. Raises Invalid."""
    while isinstance(tree, exp.Paren):
        tree = tree.this
    parts = row_parts(tree)
    if parts is not None:
        return Row(tuple((f"f{number}", binder.known(part)) for number, part in enumerate(parts, start=1)))
    range = range_of(binder, tree)
    if range is None:
        return None
    fields = tuple((column.name, column.value) for column in range.columns)
    if not range.nullable:
        return Row(fields)
    asked = [range.witness] if range.witness is not None else [value for _, value in fields]
    return Row(fields, missing=all_of("is_null", asked))


def range_of(binder: ExpressionBinder, tree: exp.Expr) -> Range | None:
    """The table of FROM that ``t`` or ``t.*`` means; a column of that name goes first."""
    if not isinstance(tree, exp.Column):
        return None
    table = tree.args.get("table")
    if isinstance(tree.this, exp.Star):
        return binder.scope.range(fold(table), position=table.meta.get("start")) if table is not None else None
    range = binder.scope.whole(fold(tree.this)) if table is None else None
    return None if range is None or range.scalar is not None else range


def row_parts(tree: exp.Expr) -> list[exp.Expr] | None:
    """The parts of ``(a, b)`` or ``ROW(a, b)``; None for anything else."""
    if isinstance(tree, exp.Tuple):
        return tree.expressions
    if isinstance(tree, exp.Anonymous) and tree.name.lower() == "row":
        return tree.expressions
    return None


def all_of(test: str, values: Sequence[bound.Bound]) -> bound.Bound:
    """``is_null`` or ``is_not_null`` of every value."""
    tests = [bound.call(test, value, type=BOOLEAN) for value in values]
    return tests[0] if len(tests) == 1 else bound.call("and", *tests, type=BOOLEAN)


def refuse_row(tree: exp.Expr) -> Invalid:
    """The refusal of a row where none can be taken apart."""
    hint = "Name the columns one by one, write t.*, or make JSON of it: to_jsonb(t)."
    return unsupported("a row as a value", tree, hint=hint)
