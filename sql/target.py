"""The table that INSERT, UPDATE or DELETE writes: its name in the statement's expressions, its keys, and SET lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from sqlglot import exp

from ..base.errors import Invalid
from ..base.types import BIGINT, Type
from ..engine.expression.functions import FUNCTIONS
from ..engine.schema import ROW_ID_NAME, Table
from .bind import fold
from .definition import name_of, only_parts, refuse, relation_name, shown
from .execution import Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The table that a statement writes, and the name that its expressions know it by."""

    table: Table
    alias: str

    @property
    def keys(self) -> list[tuple[str, Type]]:
        """Names and types of the columns that tell the engine which row is meant."""
        if self.table.primary_key:
            return [(column.name, column.type) for column in self.table.primary_key_columns]
        woven = [id for id in (*self.table.key, self.table.time) if id is not None]
        columns = [self.table.by_id[id] for id in dict.fromkeys(woven)]
        return [(ROW_ID_NAME, BIGINT), *((column.name, column.type) for column in columns)]

    @property
    def key_schema(self) -> pa.Schema:
        """The same as Arrow fields."""
        columns = self.table.by_name
        return pa.schema(
            [
                columns[name].field if name in columns else pa.field(name, pa.int64(), nullable=False)
                for name, _ in self.keys
            ]
        )

    def column(self, name: str) -> exp.Column:
        return exp.column(exp.to_identifier(name, quoted=True), table=exp.to_identifier(self.alias, quoted=True))


def target_of(node: exp.Expr, execution: Execution) -> Target:
    """The table that is written. Raises Invalid: 42P01 if there is none, 42809 for a view."""
    if not isinstance(node, exp.Table):
        raise Invalid("syntax error: a table's name is expected", sqlstate="42601")
    if node.args.get("version"):
        raise refuse("AS OF on the table that is written", "Only what FROM and USING read may be of the past.")
    only_parts(node, "this", "db", "catalog", "alias", "only")
    table = execution.catalog.table(relation_name(node))
    alias = node.args.get("alias")
    return Target(table=table, alias=fold(alias.this) if alias else table.name)


def assignments(nodes: Sequence[exp.Expr], target: Target) -> dict[str, exp.Expr]:
    """SET a = x, (b, c) = (y, z), d[1] = w as column name → expression. Raises Invalid for no column, or one set twice.

    Items of an array are set one after the other, each in what the ones before made of it.
    """
    sets: dict[str, exp.Expr] = {}
    whole: set[str] = set()
    for place, value in _pairs(nodes):
        name, index = place if isinstance(place, tuple) else (place, None)
        name = target.table.column(name).name
        if name in whole or (index is None and name in sets):
            raise Invalid(f'multiple assignments to same column "{name}"', sqlstate="42601")
        if index is None:
            whole.add(name)
        else:
            before = sets.get(name) or target.column(name)
            value = exp.Anonymous(this="array_set", expressions=[before, index, value])
        sets[name] = value
    return sets


_Place = str | tuple[str, exp.Expr]
"""A column's name, or that and a subscript."""


def _pairs(nodes: Sequence[exp.Expr]) -> Iterator[tuple[_Place, exp.Expr]]:
    for node in nodes:
        if not isinstance(node, exp.EQ):
            raise Invalid("syntax error in SET", hint="Write SET column = value, …", sqlstate="42601")
        if not isinstance(node.this, exp.Tuple | exp.Paren):
            yield _set_name(node.this), node.expression
            continue
        names = node.this.expressions if isinstance(node.this, exp.Tuple) else [node.this.this]
        if isinstance(node.expression, exp.Query):
            yield from _from_row(list(map(_set_name, names)), node.expression)
            continue
        given = node.expression.this if isinstance(node.expression, exp.Paren) else node.expression
        values = given.expressions if isinstance(given, exp.Tuple | exp.Anonymous) else [given]
        if len(values) != len(names):
            raise Invalid("number of columns does not match number of values", sqlstate="42601")
        yield from zip(map(_set_name, names), values, strict=True)


def _from_row(names: Sequence[_Place], query: exp.Query) -> Iterator[tuple[_Place, exp.Expr]]:
    """``SET (a, b) = (SELECT x, y …)`` as a subquery for each column: the same rows, as far as they are certain."""
    inner: exp.Expr = query
    while isinstance(inner, exp.Subquery):
        inner = inner.this
    if not isinstance(inner, exp.Select) or any(item.is_star for item in inner.expressions):
        raise refuse("SET (columns) = (a query that is no SELECT of named columns)", "Name the columns.")
    if len(inner.expressions) != len(names):
        raise Invalid("number of columns does not match number of values", sqlstate="42601")
    uncertain = any(inner.args.get(word) for word in ("limit", "offset", "distinct"))
    if uncertain or any(call.name.lower() in _VOLATILE for call in inner.find_all(exp.Anonymous)):
        raise refuse("SET (columns) = (SELECT …) with LIMIT, DISTINCT or random()", "Write UPDATE … FROM (SELECT …).")
    columns = [exp.to_identifier(f"weft_set_{number}", quoted=True) for number in range(len(names))]
    for name, column in zip(names, columns, strict=True):
        alias = exp.TableAlias(this=exp.to_identifier("weft_set", quoted=True), columns=[c.copy() for c in columns])
        row = exp.Subquery(this=inner.copy(), alias=alias)
        one = exp.Select(expressions=[exp.column(column.copy())], from_=exp.From(this=row))
        yield name, exp.Subquery(this=one)


_VOLATILE: Final = frozenset(name for name, function in FUNCTIONS.items() if function.volatile)


def _set_name(node: exp.Expr) -> _Place:
    if isinstance(node, exp.Bracket):
        if len(node.expressions) != 1 or isinstance(node.expressions[0], exp.Slice):
            raise refuse(f"SET {shown(node)}, a part of an array,", "Set the whole array: a = a[1:2] || ARRAY[…].")
        return _column_name(node.this), node.expressions[0]
    return _column_name(node)


def _column_name(node: exp.Expr) -> str:
    if not isinstance(node, exp.Column) or node.args.get("table"):
        raise Invalid(
            f'"{shown(node)}" cannot be set',
            hint="Write the column's name alone on the left.",
            sqlstate="42601",
        )
    return name_of(node.this)
