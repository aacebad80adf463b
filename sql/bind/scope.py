"""Names in sight: which columns and tables a piece of a query may speak of.

A scope belongs to one SELECT (or one side of a join, or one WITH list) and has a parent: the query around it. A name is
looked for in the innermost scope first; the first scope that has it decides, also when it is ambiguous there, as in
PostgreSQL. A column found in a parent makes the subquery correlated; nothing more needs to be done about it, since
column identifiers are unique in the statement.

``columns`` are what ``*`` gives and what an unqualified name means: after ``JOIN ... USING (a)`` there is one ``a``, in
front. ``ranges`` are the tables by alias, each with all of its columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Final

from ...base.errors import Invalid, nearest
from ...engine import schema
from .. import bound
from ..walk import walk


@dataclass(frozen=True, slots=True)
class ScopeColumn:
    """A name and what it means: a column, or for USING in a full join the COALESCE of two."""

    name: str
    value: bound.Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A table, view, function or subquery in FROM, by the name that the query gives it.

    ``scalar``: of a function that gives single values, what its name alone means. ``nullable``: an outer join may put
    NULLs in the place of its row. ``witness``: a column that is NULL only there.
    """

    name: str
    columns: tuple[ScopeColumn, ...]
    row_id: bound.Column | None = None
    witness: bound.Bound | None = None
    scalar: bound.Bound | None = None
    nullable: bool = False


BESIDE: Final = "weft_other_"
"""How the columns of a given relation begin that belong to no row of it: they are seen by their names alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CteEntry:
    """A WITH query in sight. ``columns`` are names and types; each reference gets identifiers of its own."""

    id: int
    name: str
    columns: tuple[bound.OutputColumn, ...]


@dataclass(kw_only=True)
class Scope:
    """One level of names. ``aggregates``: of what is around a subquery, whether they may stand where it does."""

    parent: Scope | None = None
    ranges: tuple[Range, ...] = ()
    columns: tuple[ScopeColumn, ...] = ()
    ctes: Mapping[str, CteEntry] = field(default_factory=dict)
    aggregates: bool = False

    def levels(self) -> Iterator[Scope]:
        """This scope and those around it, inner ones first."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def column(self, name: str, *, position: int | None = None) -> bound.Bound:
        """What the unqualified ``name`` means. Raises Invalid: 42703 unknown, 42702 ambiguous."""
        for scope in self.levels():
            found = [column.value for column in scope.columns if column.name == name]
            if len(found) > 1:
                raise Invalid(
                    f'column reference "{name}" is ambiguous',
                    sqlstate="42702",
                    position=position,
                    hint=scope.qualified_hint(name),
                )
            if found:
                return found[0]
            if name == schema.ROW_ID_NAME:
                row_ids = [range.row_id for range in scope.ranges if range.row_id is not None]
                if len(row_ids) == 1:
                    return row_ids[0]
        names = {column.name for scope in self.levels() for column in scope.columns}
        raise Invalid(
            f'column "{name}" does not exist', sqlstate="42703", position=position, hint=nearest(name, sorted(names))
        )

    def qualified(self, table: str, name: str, *, position: int | None = None) -> bound.Bound:
        """What ``table.name`` means. Raises Invalid: 42P01 no such table here, 42703, 42702."""
        range = self.range(table, position=position)
        found = [column.value for column in range.columns if column.name == name]
        if len(found) == 1:
            return found[0]
        if found:
            raise Invalid(f'column reference "{name}" is ambiguous', sqlstate="42702", position=position)
        if name == schema.ROW_ID_NAME and range.row_id is not None:
            return range.row_id
        raise Invalid(
            f"column {table}.{name} does not exist",
            sqlstate="42703",
            position=position,
            hint=nearest(name, sorted({column.name for column in range.columns})),
        )

    def range(self, name: str, *, position: int | None = None) -> Range:
        """The table called ``name`` in FROM. Raises Invalid (42P01)."""
        for scope in self.levels():
            for range in scope.ranges:
                if range.name == name:
                    return range
        names = sorted({range.name for scope in self.levels() for range in scope.ranges})
        raise Invalid(
            f'missing FROM-clause entry for table "{name}"',
            sqlstate="42P01",
            position=position,
            hint=nearest(name, names),
        )

    def whole(self, name: str) -> Range | None:
        """The table whose whole row the unqualified ``name`` means; None where a column is called so, or nothing."""
        if any(scope.has_column(name) for scope in self.levels()):
            return None
        return next((range for scope in self.levels() for range in scope.ranges if range.name == name), None)

    def cte(self, name: str) -> CteEntry | None:
        """The WITH query called ``name``, if one is in sight."""
        for scope in self.levels():
            if name in scope.ctes:
                return scope.ctes[name]
        return None

    def owner(self, ids: Set[int]) -> Scope | None:
        """The innermost level that has one of these columns."""
        for scope in self.levels():
            values = [column.value for range in scope.ranges for column in range.columns]
            values += [range.row_id for range in scope.ranges if range.row_id is not None]
            if any(isinstance(node, bound.Column) and node.id in ids for value in values for node in walk(value)):
                return scope
        return None

    def has_column(self, name: str) -> bool:
        """Whether this level itself has the column."""
        return any(column.name == name for column in self.columns)

    def qualified_hint(self, name: str) -> str | None:
        owners = [range.name for range in self.ranges if any(column.name == name for column in range.columns)]
        return f"Write {' or '.join(f'{owner}.{name}' for owner in owners)}." if owners else None
