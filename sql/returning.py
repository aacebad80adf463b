"""RETURNING: computed from the full rows of a piece before they are written.

The list is a query over these rows, under the name that the statement knows its table by. What it reads of the tables
in FROM or USING stands in the query that finds the rows, beside their keys, and comes to RETURNING under a name of its
own (``others``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from sqlglot import exp

from ..base.result import Result
from ..base.types import Type
from .assign import one_batch
from .bind import fold, output_name
from .bind.scope import BESIDE
from .definition import refuse
from .execution import Execution
from .target import Target

RETURNED: Final = "weft_returned"
"""The in-memory relation that a RETURNING list is computed from; a name that no relation can have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Returning:
    """The list. ``others`` are the columns of other tables that it reads, and their types."""

    target: Target
    items: tuple[exp.Expr, ...]
    others: tuple[tuple[exp.Expr, Type], ...] = ()

    @classmethod
    def of(
        cls,
        statement: exp.Expr,
        target: Target,
        *,
        others: Sequence[exp.Expr] = (),
        execution: Execution | None = None,
    ) -> Returning:
        """The statement's RETURNING, false without one. ``others`` is what its FROM or USING lists. Raises Invalid."""
        clause = statement.args.get("returning")
        if clause is None:
            return cls(target=target, items=())
        if clause.args.get("into"):
            raise refuse("RETURNING … INTO", "Read the result.")
        items = tuple(item.copy() for item in clause.expressions)
        if not others or execution is None:
            return cls(target=target, items=items)
        source = _Source(statement, others, execution)
        source.types(items)  # names that are nowhere, or in several tables
        items = tuple(part for item in items for part in _spread(item, target, source))
        found: list[exp.Expr] = []
        items = tuple(_rewritten(item, target, source, found) for item in items)
        types = source.types(found) if found else []
        return cls(target=target, items=items, others=tuple(zip(found, types, strict=True)))

    def __bool__(self) -> bool:
        return bool(self.items)

    @property
    def reads(self) -> bool:
        """Whether it must be computed once for all rows."""
        return any(map(reads, self.items))

    def answers(self, rows: pa.RecordBatch, execution: Execution, *, others: pa.Table | None = None) -> list[Result]:
        """What it gives for these rows, read completely; nothing without RETURNING.

        ``others`` holds, row for row, the columns of other tables.
        """
        if not self.items:
            return []
        for number, _ in enumerate(self.others):
            assert others is not None, "what is read of other tables is there"
            field = others.schema.field(number).with_name(_name(number))
            rows = rows.append_column(field, one_batch(others.select([number])).column(0))
        alias = exp.TableAlias(this=exp.to_identifier(self.target.alias, quoted=True))
        relation = exp.Table(this=exp.to_identifier(RETURNED), alias=alias)
        query = exp.Select(expressions=[item.copy() for item in self.items], from_=exp.From(this=relation))
        plan = execution.kept("returning", lambda: execution.plan(query, relations={RETURNED: rows.schema}))
        result = execution.run(plan, relations={RETURNED: rows})
        result.arrow()
        return [result]


def reads(node: exp.Expr | None) -> bool:
    """Whether a clause must be computed once for all rows: it has a query of its own, or aggregates."""
    return node is not None and node.find(exp.Query, exp.AggFunc, exp.Window) is not None


class _Source:
    """The table that is written and the others, as FROM of a query."""

    def __init__(self, statement: exp.Expr, others: Sequence[exp.Expr], execution: Execution) -> None:
        self._statement, self._others, self._execution = statement, others, execution
        self.names = [name for other in others for name in _names(other)]
        self.merged = any(_is_merged(other) for other in others)

    def types(self, items: Sequence[exp.Expr]) -> list[Type]:
        return [type for _, type in self._columns(items)]

    def columns(self, name: str) -> list[exp.Expr]:
        """The columns of one table of the others."""
        table = exp.to_identifier(name, quoted=True)
        star = exp.Column(this=exp.Star(), table=table.copy())
        found = self._columns([star])
        return [exp.column(exp.to_identifier(column, quoted=True), table=table.copy()) for column, _ in found]

    def has(self, name: str) -> bool:
        """Whether one of them has a column of this name, as a function in FROM does."""
        return any(column.name == name for other in self.names for column in self.columns(other))

    def _columns(self, items: Sequence[exp.Expr]) -> tuple[tuple[str, Type], ...]:
        written = self._statement.this.copy()
        written.set("only", None)
        joins: list[exp.Expr] = []
        for other in self._others:
            relation = other.copy()
            nested: list[Any] = relation.args.pop("joins", None) or []
            joins += [exp.Join(this=relation), *nested]
        query = exp.Select(expressions=[item.copy() for item in items], from_=exp.From(this=written), joins=joins)
        if ctes := self._statement.args.get("with_"):
            query.set("with_", ctes.copy())
        return self._execution.bind(query).columns


def _name(number: int) -> str:
    return f"{BESIDE}{number}"


def _names(other: exp.Expr) -> Iterator[str]:
    """What the tables of an item of FROM are called."""
    alias = other.args.get("alias")
    if alias is not None and alias.this is not None:
        yield fold(alias.this)
    elif isinstance(other, exp.Table):
        yield fold(other.this if isinstance(other.this, exp.Identifier) else other.this.name)
    elif isinstance(other, exp.Subquery) and isinstance(other.this, exp.Expr):
        yield from _names(other.this)
    for join in other.args.get("joins") or ():
        yield from _names(join.this)


def _is_merged(other: exp.Expr) -> bool:
    """Whether joins make one column of two, so that ``*`` is not the tables' columns."""
    joins: list[exp.Expr] = [*(other.args.get("joins") or ())]
    inner = [other.this] if isinstance(other, exp.Subquery) and isinstance(other.this, exp.Table) else []
    return any(join.args.get("using") or join.args.get("method") for join in joins) or any(
        map(_is_merged, [*inner, *(join.this for join in joins)])
    )


def _spread(item: exp.Expr, target: Target, source: _Source) -> list[exp.Expr]:
    """``*`` and ``t.*`` as the columns that they stand for."""
    own: list[exp.Expr] = [target.column(column.name) for column in target.table.columns]
    if isinstance(item, exp.Star):
        if source.merged:
            raise refuse("RETURNING * of tables that USING or NATURAL joins", "Name the columns, or join them with ON.")
        return own + [column for name in source.names for column in source.columns(name)]
    if isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
        name = fold(item.args["table"])
        return own if name == target.alias else source.columns(name)
    return [item]


def _rewritten(item: exp.Expr, target: Target, source: _Source, found: list[exp.Expr]) -> exp.Expr:
    """An item with columns of its own for what it reads of other tables, called what it was called."""
    name = output_name(item)
    new = item.transform(lambda node: _taken(node, target, source, found))
    return new if output_name(new) == name else exp.alias_(new, name, quoted=True)


def _taken(node: exp.Expr, target: Target, source: _Source, found: list[exp.Expr]) -> exp.Expr:
    """A column of another table as the column that RETURNING gets; every other node as it is.

    A whole row of one is no column: what is made of it alone is taken, such as ``to_jsonb(c)``; else JSON of it.
    """
    if isinstance(node, exp.Func | exp.Is | exp.Anonymous) and _only_rows(node, target, source):
        return _column(node, found)
    if not isinstance(node, exp.Column):
        return node
    if _is_row(node, target, source):
        return _column(exp.Anonymous(this="to_json", expressions=[node.copy()]), found)
    table = node.args.get("table")
    if isinstance(node.this, exp.Star):
        return node
    if table is None:
        name = fold(node.this)
        inner = node.find_ancestor(exp.Query) is not None
        if inner or name in target.table.by_name or name == target.alias:
            return node
    elif fold(table) not in source.names or fold(table) == target.alias:
        return node
    return _column(node, found)


def _column(node: exp.Expr, found: list[exp.Expr]) -> exp.Expr:
    plain = node.copy()
    if plain not in found:
        found.append(plain)
    return exp.column(exp.to_identifier(_name(found.index(plain)), quoted=True))


def _is_row(node: exp.Column, target: Target, source: _Source) -> bool:
    """Whether it is the whole row of another table, as an argument of something."""
    if node.parent is None or node.find_ancestor(exp.Query) is not None:
        return False
    table = node.args.get("table")
    if isinstance(node.this, exp.Star):
        return table is not None and fold(table) in source.names and fold(table) != target.alias
    name = fold(node.this)
    return table is None and name in source.names and not source.has(name) and name not in target.table.by_name


def _only_rows(node: exp.Expr, target: Target, source: _Source) -> bool:
    """Whether it reads whole rows of other tables, and nothing else."""
    columns = list(node.find_all(exp.Column))
    return (
        bool(columns)
        and node.find(exp.Query, exp.AggFunc, exp.Window) is None
        and all(_is_row(column, target, source) for column in columns)
    )
