"""UPDATE t SET n = n + 5 as a delta: what others add to the row at the same time is no conflict.

An UPDATE is written as deltas (engine/delta.py) where all that it does commutes with every other delta:

- each SET is ``n = n + e``, ``n = e + n`` or ``n = n - e``, of a number outside of the primary key, and ``e`` fits the
  column exactly: integers into integers, as few decimals into NUMERIC, anything into floats;
- what ``e``, WHERE and RETURNING read cannot be changed by anybody's delta: primary key, columns that are no numbers. A
  put or delete that changes it conflicts with the delta anyway;
- it is a transaction of its own, or at READ COMMITTED, or its SNAPSHOT transaction has not read the table otherwise:
  SNAPSHOT promises who reads a row, decides, and updates it that the row has not changed meanwhile. Where the table is
  read later on, the commit sees to that (``Transaction.adding``);
- it reads this table's rows alone: no FROM, WITH or subquery;
- the table has a primary key, no identity column, and keeps all of its rows (retention judges deltas, not UPDATE).

Rows where the column or ``e`` is NULL become NULL in SQL, and a delta counts NULL as zero: their piece is written as
whole rows, and so are pieces of more than ``UPDATE_DELTAS_MAX`` rows, where whole rows are faster. Whole rows are what
every other UPDATE writes, and this module's oracle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlglot import exp

from ..base.limits import UPDATE_DELTAS_MAX
from ..base.types import BOOLEAN, Kind, Type, type_of_field
from ..engine.changes import Isolation
from ..engine.delta import ADDABLE
from ..engine.schema import Table
from ..engine.transaction import Transaction
from .assign import is_default
from .bind import fold
from .definition import shown
from .execution import Execution
from .target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """What is added to a column, or with ``minus`` taken away."""

    column: str
    tree: exp.Expr
    minus: bool

    def __str__(self) -> str:
        return f"{self.column} = {self.column} {'-' if self.minus else '+'} {shown(self.tree)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deltas:
    """The amounts of an UPDATE by column; none where it is written as whole rows, for the reason ``why_not``.

    Both are empty for an UPDATE that adds nothing.
    """

    amounts: tuple[Amount, ...] = ()
    why_not: str | None = None

    def __str__(self) -> str:
        if self.amounts:
            return f"Deltas: {', '.join(map(str, self.amounts))}"
        return "" if self.why_not is None else f"No deltas: {self.why_not}"


def deltas_of(statement: exp.Update, target: Target, sets: Mapping[str, exp.Expr], *, execution: Execution) -> Deltas:
    """How an UPDATE with these assignments is written, as far as its text tells."""
    table = target.table
    amounts = [amount for name, value in sets.items() if (amount := _amount(name, value, target)) is not None]
    if not amounts:
        return Deltas()
    why_not = next(_reasons(statement, table, sets, {amount.column: amount for amount in amounts}), None)
    if why_not is None:
        why_not = (
            None
            if not isinstance(execution.reader, Transaction)
            else why_not_apart(execution.reader, table, alone=execution.alone)
        )
    return Deltas(amounts=tuple(amounts)) if why_not is None else Deltas(why_not=why_not)


def why_not_apart(reader: Transaction, table: Table, *, alone: bool) -> str | None:
    """Why its transaction may rely on what it has read of the row; None where it does not.

    ``alone``: the statement is a transaction of its own.
    """
    if alone:
        return None
    if reader.isolation is Isolation.SERIALIZABLE:
        return "what a SERIALIZABLE transaction has read may not change"
    if reader.isolation is Isolation.SNAPSHOT and reader.has_read(table):
        return f'its transaction has read "{table.name}", and relies on it'
    return None


def _amount(name: str, value: exp.Expr, target: Target) -> Amount | None:
    while isinstance(value, exp.Paren):
        value = value.this
    if not isinstance(value, exp.Add | exp.Sub) or is_default(value):
        return None
    minus = isinstance(value, exp.Sub)
    if _is_column(value.this, name, target):
        return Amount(column=name, tree=value.expression, minus=minus)
    if not minus and _is_column(value.expression, name, target):
        return Amount(column=name, tree=value.this, minus=False)
    return None


def _is_column(node: exp.Expr, name: str, target: Target) -> bool:
    if not isinstance(node, exp.Column) or isinstance(node.this, exp.Star) or fold(node.this) != name:
        return False
    table = node.args.get("table")
    return table is None or fold(table) == target.alias


def _reasons(
    statement: exp.Update, table: Table, sets: Mapping[str, exp.Expr], amounts: Mapping[str, Amount]
) -> Iterator[str]:
    """Why it cannot be deltas."""
    if not table.primary_key:
        yield f'"{table.name}" has no primary key'
    if table.keep is not None:
        yield f'"{table.name}" keeps only a part of its rows'
    for column in table.columns:
        if column.identity is not None:
            yield f'"{column.name}" is an identity column'
    for name in sets:
        column = table.column(name)
        if name not in amounts:
            yield f'"{name}" is set to a value'
        elif column.id in table.primary_key:
            yield f'"{name}" is in the primary key'
        elif any(column.id in index.reads for index in table.unique):
            yield f'"{name}" is in a unique index'
        elif column.type.kind not in ADDABLE:
            yield f'"{name}" is {column.type}, no number'
    if statement.args.get("from_") or statement.args.get("with_") or statement.find(exp.Query):
        yield "it reads more than the row"
    parts = [(amount.tree, "the amount") for amount in amounts.values()]
    parts += [(statement.args[name], name.upper()) for name in ("where", "returning") if statement.args.get(name)]
    for tree, what in parts:
        for node in tree.find_all(exp.Column, exp.Star):
            name = "*" if isinstance(node, exp.Star) or isinstance(node.this, exp.Star) else fold(node.this)
            column = table.by_name.get(name)
            if column is None:
                yield f"{what} reads {name}"
            elif column.type.kind in ADDABLE and column.id not in table.primary_key:
                yield f'{what} reads "{name}", which others may add to'


def added(deltas: Deltas, target: Target) -> list[exp.Expr]:
    """What the UPDATE's query computes besides the new values: each amount, and whether its column is NULL."""
    return [
        item
        for amount in deltas.amounts
        for item in (amount.tree, exp.Is(this=target.column(amount.column), expression=exp.Null()))
    ]


def added_types(deltas: Deltas, table: Table) -> list[Type]:
    """The types that untyped literals and parameters among ``added`` take."""
    return [type for amount in deltas.amounts for type in (table.column(amount.column).type, BOOLEAN)]


def fits(amount: Type, column: Type) -> bool:
    """Whether every amount of this type is added to the column exactly as SQL adds it."""
    if column.kind in (Kind.REAL, Kind.DOUBLE):
        return amount.is_numeric
    if column.is_integer:
        return amount.is_integer
    return amount.is_integer or (amount.kind is Kind.NUMERIC and (amount.scale or 0) <= (column.scale or 0))


def misfit(deltas: Deltas, types: Sequence[Type], table: Table) -> str | None:
    """Why amounts of these types cannot be added exactly; None where they can."""
    for amount, type in zip(deltas.amounts, types, strict=True):
        column = table.column(amount.column)
        if not fits(type, column.type):
            return f'"{column.name}" is {column.type}, what is added {type}'
    return None


def amounts_of(found: pa.Table, deltas: Deltas, table: Table, *, first: int) -> list[dict[str, Any]] | None:
    """The amounts of each row, from the columns ``first`` and after of ``found``; None where whole rows are written.

    The columns are for each amount its value, and whether the column itself is NULL.
    """
    types = [type_of_field(found.schema.field(first + 2 * index)) for index in range(len(deltas.amounts))]
    if found.num_rows > UPDATE_DELTAS_MAX or misfit(deltas, types, table) is not None:
        return None
    by_name: dict[str, list[Any]] = {}
    for index, amount in enumerate(deltas.amounts):
        values, nulls = (found.column(first + 2 * index + place).to_pylist() for place in (0, 1))
        if any(nulls) or any(value is None for value in values):
            return None
        kind = table.column(amount.column).type.kind
        exact = [float(value) if kind in (Kind.REAL, Kind.DOUBLE) else value for value in values]
        by_name[amount.column] = [-value for value in exact] if amount.minus else exact
    return [dict(zip(by_name, row, strict=True)) for row in zip(*by_name.values(), strict=True)]
