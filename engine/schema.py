"""What the catalog holds: tables, views, sequences, as frozen values with stable identifiers.

Always true: identifiers are never used again; a column keeps its identifier through RENAME; ``schema_version`` grows
with every change of the columns; ``primary_key`` begins with the columns of ``key`` and contains ``time``.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from ..base.errors import Invalid, nearest
from ..base.types import BIGINT, Type, arrow_field
from .expression.node import Column as ColumnNode
from .expression.node import Expression, Literal
from .expression.tree import columns_of
from .row_layout import RowLayout
from .row_shape import RowShape

if TYPE_CHECKING:
    from .aggregates.definition import Maintained
    from .computed import Computed

ROW_ID: Final = 0
"""Column identifier of the hidden row id of a table without primary key (BIGINT, dense per table)."""

ROW_ID_NAME: Final = "weft_row_id"

SLICE_ORIGIN: Final = 2 * 86_400_000_000 + 946_684_800_000_000
"""Monday 2000-01-03 00:00 in microseconds since 1970: where slices and time buckets are counted from."""


class Identity(enum.Enum):
    """GENERATED { ALWAYS | BY DEFAULT } AS IDENTITY; SERIAL is BY DEFAULT."""

    ALWAYS = "always"
    BY_DEFAULT = "by default"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column. ``id`` is stable and at least 1; ``default_text`` is for display only.

    ``missing`` is what rows hold that were written before the column was added: the DEFAULT of ADD COLUMN, evaluated
    once; None reads as NULL. ``expression``: of a table with other rows than its own, see ``Table.stored``.
    """

    id: int
    name: str
    type: Type
    nullable: bool = True
    default: Expression | None = None
    default_text: str | None = None
    identity: Identity | None = None
    missing: Literal | None = None
    expression: Expression | None = None

    @cached_property
    def node(self) -> ColumnNode:
        """The column in an expression."""
        return ColumnNode(id=self.id, type=self.type, name=self.name)

    @cached_property
    def field(self) -> pa.Field:
        return arrow_field(self.name, self.type, nullable=self.nullable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A CHECK constraint: a row is refused where ``expression`` is false (NULL passes)."""

    name: str
    expression: Expression
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What materialized view ``view`` computes of each row, and may fail: a row of which it does is refused."""

    view: int
    expression: Expression


@dataclass(frozen=True, kw_only=True)
class Index:
    """An index of a table: ``columns`` hold column identifiers, ``id`` is that of the internal table of its entries.

    Below 0 they are those of expressions: -1 is the first of ``expressions``, which can neither fail nor vary.

    ``nulls_distinct``: rows with a NULL in ``columns`` never meet one another in a unique index, and are not in it.
    ``constraint``: it was made by UNIQUE in the table's definition.
    ``where``: a partial index has entries of those rows alone for which it is true; it cannot fail (indexes.py).
    """

    id: int
    name: str
    columns: tuple[int, ...]
    unique: bool = False
    nulls_distinct: bool = True
    constraint: bool = False
    where: Expression | None = None
    where_text: str | None = None
    expressions: tuple[Expression, ...] = ()
    expression_texts: tuple[str, ...] = ()

    @cached_property
    def reads(self) -> tuple[int, ...]:
        """The columns that decide whether a row has an entry, and which."""
        computed = [*self.expressions, *(() if self.where is None else (self.where,))]
        others = [id for expression in computed for id in sorted(columns_of(expression))]
        return tuple(dict.fromkeys((*(id for id in self.columns if id > 0), *others)))

    def expression(self, id: int) -> Expression:
        """What a column of the index below 0 is."""
        return self.expressions[-1 - id]

    def text(self, table: Table, id: int) -> str:
        """What a column of the index is called."""
        return self.expression_texts[-1 - id] if id < 0 else table.by_id[id].name

    @property
    def leaves_nulls_out(self) -> bool:
        return self.unique and self.nulls_distinct


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table's definition. ``every`` and ``keep`` in microseconds; None where not given.

    ``keep_by`` is ``event`` or ``wall``, ``late`` is ``refuse`` or ``ignore``, see engine/retention.py.

    ``primary_key``, ``key`` and ``time`` hold column identifiers. A table without primary key has ``primary_key == ()``
    and a hidden row id. A table without event time has ``time is None`` and one slice; ``key == ()`` means shard 0.

    ``derived_from`` is the table from whose rows those of an internal table follow: entries of an index (indexes.py),
    groups of a materialized view (aggregates/).
    ``stored``: the rows are those of another table, read as columns of its own or computed of these (computed.py).
    ``comments``: what COMMENT ON says, by column identifier; 0 is the table.
    """

    id: int
    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[int, ...] = ()
    key: tuple[int, ...] = ()
    time: int | None = None
    shards: int = 1
    every: int | None = None
    keep: int | None = None
    keep_by: str = "event"
    late: str = "refuse"
    checks: tuple[Check, ...] = ()
    guards: tuple[Guard, ...] = ()
    schema_version: int = 1
    next_column_id: int = 1
    options_text: tuple[tuple[str, str], ...] = field(default=())
    indexes: tuple[Index, ...] = ()
    derived_from: int | None = None
    stored: Table | None = None
    comments: tuple[tuple[int, str], ...] = ()

    @cached_property
    def by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @cached_property
    def by_id(self) -> dict[int, Column]:
        return {column.id: column for column in self.columns}

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """All columns in order, with public Arrow types and SQL types in the metadata."""
        return pa.schema([column.field for column in self.columns])

    @cached_property
    def primary_key_columns(self) -> tuple[Column, ...]:
        return tuple(self.by_id[id] for id in self.primary_key)

    @cached_property
    def key_schema(self) -> pa.Schema:
        """The primary key's columns in its order, as ``arrow_schema``."""
        return project_fields(self.primary_key_columns)

    @cached_property
    def shape(self) -> RowShape:
        """Which Python values the columns take as they are."""
        return RowShape(self)

    @cached_property
    def row_layout(self) -> RowLayout:
        """How one row of all columns is read."""
        return RowLayout(self.columns)

    @cached_property
    def computed(self) -> Computed:
        """How rows are made of those of ``stored``."""
        from .computed import Computed

        return Computed(self)

    @cached_property
    def row_key(self) -> tuple[int, ...]:
        """The columns that rows are found by: the primary key, or the row id and what says in which cell it is."""
        if self.primary_key:
            return self.primary_key
        return tuple(dict.fromkeys((ROW_ID, *self.key, *(() if self.time is None else (self.time,)))))

    @cached_property
    def unique(self) -> tuple[Index, ...]:
        """The indexes that refuse rows."""
        return tuple(index for index in self.indexes if index.unique)

    @cached_property
    def index_tables(self) -> dict[int, Table]:
        """By identifier the internal tables of the indexes, see ``entry_table``."""
        return {index.id: entry_table(self, index) for index in self.indexes}

    def column(self, name: str) -> Column:
        """The column called ``name``. Raises Invalid (42703) with the nearest name."""
        found = self.by_name.get(name)
        if found is None:
            raise Invalid(
                f'column "{name}" of table "{self.name}" does not exist',
                hint=nearest(name, self.by_name),
                sqlstate="42703",
            )
        return found


def entry_ids(table: Table, index: Index) -> tuple[int, ...]:
    """The columns of ``table`` that an entry of its index holds: those indexed, then what else finds the row."""
    return tuple(dict.fromkeys((*index.columns, *table.row_key)))


def entry_table(table: Table, index: Index) -> Table:
    """The internal table of an index's entries. Its columns are counted from 1, and named so, in ``entry_ids``' order.

    They keep their encoding whatever becomes of the table's: indexed columns outside of the primary key may be NULL.
    """
    ids = entry_ids(table, index)
    columns = tuple(
        Column(
            id=number,
            name=str(number),
            type=BIGINT if id == ROW_ID else index.expression(id).type if id < 0 else table.by_id[id].type,
            nullable=id != ROW_ID and id not in table.primary_key,
        )
        for number, id in enumerate(ids, 1)
    )
    length = len(index.columns) if index.unique else len(ids)
    return Table(
        id=index.id,
        name=index.name,
        columns=columns,
        primary_key=tuple(range(1, length + 1)),
        key=(1,),
        next_column_id=len(columns) + 1,
        derived_from=table.id,
    )


@dataclass(frozen=True, kw_only=True)
class View:
    """A view: its query as normalized SQL text, and the names and types of its columns.

    A materialized view is exact at every snapshot. ``maintained`` is what the engine keeps of it (aggregates/); None:
    it is computed from the base rows when it is read.
    ``depends_on`` holds identifiers of the relations that the query reads. ``comments``: by the column's place from 1,
    0 is the view. ``memo``: what who reads it has made of it, once.
    """

    id: int
    name: str
    query: str
    columns: tuple[tuple[str, Type], ...]
    materialized: bool = False
    maintained: Maintained | None = None
    depends_on: tuple[int, ...] = ()
    comments: tuple[tuple[int, str], ...] = ()
    memo: dict[str, Any] = field(default_factory=dict[str, Any], init=False, compare=False, repr=False)

    @cached_property
    def groups(self) -> Table | None:
        """The internal table of groups of a view that is maintained."""
        return None if self.maintained is None else replace(self.maintained.table, name=self.name)

    @property
    def tables(self) -> tuple[Table, ...]:
        """All internal tables of a view that is maintained: that of its groups first."""
        if self.maintained is None or self.groups is None:
            return ()
        return (self.groups, *self.maintained.tables[1:])

    @cached_property
    def rows(self) -> Table | None:
        """What is read of a view that is maintained: its columns, made of those of its groups."""
        from .computed import read_as

        if self.groups is None or self.maintained is None:
            return None
        outputs = zip(self.columns, self.maintained.outputs, strict=True)
        return read_as(self.groups, [(name, type, value) for (name, type), value in outputs])


Relation = Table | View


def project_fields(columns: Iterable[Column]) -> pa.Schema:
    """The Arrow schema of some columns, in the order given."""
    return pa.schema([column.field for column in columns])
