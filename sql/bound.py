"""The bound tree: a query with every name resolved and every type fixed.

A query reads from relations and gives columns. Each column of each relation and of each query has an *identifier* that
is unique in the whole statement, also between two references to the same table, so that a column of an outer query, of
a LATERAL item or of a view's inside is simply ``Column(id)``: no scopes are left in this tree.

    Query     = Select | SetOperation | Values | CteScope
    Relation  = Scan | ArrowScan | Derived | CteReference | FunctionScan | Join

    SELECT n, sum(x + 1) FROM t GROUP BY n HAVING sum(x) > 2 ORDER BY 2

    Select
      source      Scan t#0: n→c1, x→c2
      grouping    keys (c3 = c1), aggregates (c4 = sum(c2 + 1), c5 = sum(c2))
      having      c5 > 2
      outputs     c6 "n" = c3, c7 "sum" = c4
      order       c7

Expressions are those of ``engine.expression.node``, plus the ones below that need a query around them. They may stand
wherever an expression may: the engine's nodes are built by ``call``, ``cast_to`` and friends, which say so to the type
checker once. What goes to the engine (pushdown, CHECK, DEFAULT) is free of them: ``walk.is_scalar`` tells.

Always true: after binding no expression has the type UNKNOWN, except inside ``targets`` being resolved; the types of a
``Call`` are exactly those of the overload; ``Grouping`` keys and aggregates occur in ``having``, ``outputs``, ``order``
only by their identifiers.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeAlias, cast

import pyarrow as pa

from ..base.types import Type, arrow_field
from ..engine import schema
from ..engine.expression.node import Call, Cast, Column, Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class SortKey:
    expression: Bound
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """An aggregate call. ``within`` marks WITHIN GROUP: then ``order`` is its order.

    ``outer``: it stands in a subquery and belongs to a query around that, whose columns alone it reads.
    """

    function: str
    arguments: tuple[Bound, ...]
    type: Type
    distinct: bool = False
    order: tuple[SortKey, ...] = ()
    filter: Bound | None = None
    within: bool = False
    outer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupingCall:
    """``GROUPING(a, b)``: which of these grouping keys a row of a grouping set leaves out, as bits."""

    keys: tuple[Bound, ...]
    type: Type


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameEnd:
    """One end of a window frame: UNBOUNDED PRECEDING, n PRECEDING, CURRENT ROW, n FOLLOWING, UNBOUNDED FOLLOWING."""

    side: str
    offset: Bound | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    unit: str  # ROWS, RANGE, GROUPS
    start: FrameEnd
    end: FrameEnd
    exclude: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window function or an aggregate with OVER. ``frame`` None is PostgreSQL's default frame."""

    function: str
    arguments: tuple[Bound, ...]
    type: Type
    partition: tuple[Bound, ...] = ()
    order: tuple[SortKey, ...] = ()
    frame: Frame | None = None
    filter: Bound | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarSubquery:
    """``(SELECT ...)``: the one value, NULL without a row, an error with more than one."""

    query: Query
    type: Type


@dataclass(frozen=True, slots=True, kw_only=True)
class Exists:
    query: Query
    type: Type


SYMBOLS: Final = {
    "equal": "=",
    "not_equal": "<>",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
}
"""Comparison functions as they are written, here and in the executor's SQL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantified:
    """``(a, b) op ANY (SELECT ...)`` or ``op ALL``. ``operator`` is equal, not_equal, less, ...; types are equal."""

    operands: tuple[Bound, ...]
    operator: str
    query: Query
    all: bool
    type: Type


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantifiedArray:
    """``a op ANY (array)`` or ``op ALL (array)``."""

    operand: Bound
    operator: str
    array: Bound
    all: bool
    type: Type


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayList:
    """``ARRAY[a, b]``; also the value of ``ARRAY(SELECT ...)`` with ``query``."""

    elements: tuple[Bound, ...]
    type: Type
    query: Query | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscript:
    """``array[index]``, counted from 1; NULL outside."""

    array: Bound
    index: Bound
    type: Type


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReturning:
    """``unnest(...)`` and its like in a select list; ``bind.layers`` makes it an output of a SELECT of its own."""

    function: str
    arguments: tuple[Bound, ...]
    type: Type


@dataclass(frozen=True, slots=True, kw_only=True)
class GapBucket:
    """``time_bucket_gapfill(...)``, until ``bind.gapfill`` makes a query of it: the ``bucket`` of ``moment``, and the
    range to fill, ``stop`` excluded; None: what WHERE says. ``even``: moments that are a width apart lie in
    neighbouring buckets."""

    bucket: Bound
    moment: Bound
    width: Bound
    even: bool
    zone: Bound | None
    start: Bound | None
    stop: Bound | None
    type: Type


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """``locf(value)`` or ``interpolate(value)`` beside a ``GapBucket``, until ``bind.gapfill`` makes windows of it."""

    function: str
    value: Bound
    before: Bound | None
    null_is_missing: bool
    type: Type


QueryExpression: TypeAlias = (
    Aggregate
    | GroupingCall
    | Window
    | ScalarSubquery
    | Exists
    | Quantified
    | QuantifiedArray
    | ArrayList
    | Subscript
    | SetReturning
    | GapBucket
    | Filled
)
Bound: TypeAlias = Expression | QueryExpression


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputColumn:
    """A column of a relation or query, by identifier, with the name that SQL shows."""

    id: int
    name: str
    type: Type

    def reference(self) -> Column:
        return Column(id=self.id, type=self.type, name=self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One reference to a table. ``sources`` holds the table's column identifier for each column.

    ``past``: the place of its snapshot among those of the statement's AS OF clauses; None reads the present.
    """

    reference: int
    table: schema.Table
    alias: str
    columns: tuple[OutputColumn, ...]
    sources: tuple[int, ...]
    past: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrowScan:
    """One reference to a relation that is given as Arrow data when the query runs (system views, RETURNING)."""

    reference: int
    name: str
    alias: str
    columns: tuple[OutputColumn, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A subquery or view in FROM; its columns are the query's, under new identifiers."""

    reference: int
    query: Query
    columns: tuple[OutputColumn, ...]
    lateral: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CteReference:
    reference: int
    cte: int
    columns: tuple[OutputColumn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionScan:
    """``generate_series(...)`` or ``unnest(...)`` in FROM; ``ordinality`` is its last column, if asked for."""

    reference: int
    function: str
    arguments: tuple[Bound, ...]
    columns: tuple[OutputColumn, ...]
    ordinality: bool = False


class JoinKind(enum.Enum):
    INNER = "INNER JOIN"
    LEFT = "LEFT JOIN"
    RIGHT = "RIGHT JOIN"
    FULL = "FULL JOIN"
    CROSS = "CROSS JOIN"
    ASOF = "ASOF JOIN"
    ASOF_LEFT = "ASOF LEFT JOIN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    kind: JoinKind
    left: Relation
    right: Relation
    condition: Bound | None = None
    lateral: bool = False


Relation: TypeAlias = Scan | ArrowScan | Derived | CteReference | FunctionScan | Join


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    column: OutputColumn
    expression: Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """``keys`` and ``aggregates`` under their identifiers. ``sets``: indices into keys, one tuple per grouping set."""

    keys: tuple[Output, ...]
    aggregates: tuple[Output, ...]
    sets: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    source: Relation | None
    where: Bound | None
    grouping: Grouping | None
    having: Bound | None
    outputs: tuple[Output, ...]
    distinct: bool = False
    distinct_on: tuple[Bound, ...] = ()
    order: tuple[SortKey, ...] = ()
    limit: Bound | None = None
    offset: Bound | None = None

    @property
    def columns(self) -> tuple[OutputColumn, ...]:
        return tuple(output.column for output in self.outputs)


class SetKind(enum.Enum):
    UNION = "UNION"
    INTERSECT = "INTERSECT"
    EXCEPT = "EXCEPT"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOperation:
    """Both sides already have the columns' types."""

    kind: SetKind
    all: bool
    left: Query
    right: Query
    columns: tuple[OutputColumn, ...]
    order: tuple[SortKey, ...] = ()
    limit: Bound | None = None
    offset: Bound | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    rows: tuple[tuple[Bound, ...], ...]
    columns: tuple[OutputColumn, ...]
    order: tuple[SortKey, ...] = ()
    limit: Bound | None = None
    offset: Bound | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cte:
    """``columns`` are the identifiers inside the definition; a recursive one refers to itself by ``id``."""

    id: int
    name: str
    query: Query
    recursive: bool = False
    materialized: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class With:
    ctes: tuple[Cte, ...]
    query: Query

    @property
    def columns(self) -> tuple[OutputColumn, ...]:
        return self.query.columns


Query: TypeAlias = Select | SetOperation | Values | With


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """A row matters only if its ``column`` has a value of column ``other`` of another table reference (join_keys)."""

    column: int
    reference: int
    other: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableUse:
    """What a table reference asks of the engine: for EXPLAIN, dependencies and the scans themselves."""

    reference: int
    table: schema.Table
    alias: str
    columns: tuple[int, ...]
    filter: Expression | None = None
    row_ids: bool = False
    past: int | None = None
    partners: tuple[Partner, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BoundQuery:
    """A query that is ready to run: the tree, what it gives, what it needs.

    ``parameters`` holds the type of every ``$n``; ``uses`` what is asked of each table reference, in the order of
    their numbers; ``depends_on`` the identifiers of the tables and views it reads. ``rendered`` is the executor's text
    with holes, made once (``sql.render``).
    """

    query: Query
    columns: tuple[tuple[str, Type], ...]
    parameters: dict[int, Type]
    uses: tuple[TableUse, ...]
    arrow_scans: tuple[ArrowScan, ...]
    depends_on: tuple[int, ...]
    timezone: str = "UTC"
    memo: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    @cached_property
    def schema(self) -> pa.Schema:
        """The result's Arrow schema, with SQL types in the metadata. Names may repeat."""
        return pa.schema([arrow_field(name, type) for name, type in self.columns])

    @cached_property
    def types(self) -> tuple[Type, ...]:
        return tuple(type for _, type in self.columns)

    @property
    def tables(self) -> tuple[schema.Table, ...]:
        """The tables that are read, each once."""
        return tuple({use.table.id: use.table for use in self.uses}.values())


Node: TypeAlias = Any
"""Any dataclass of this module or of ``engine.expression.node``."""


def expression(node: Bound) -> Expression:
    """``node`` where the engine's nodes want an ``Expression``; see the module's docstring."""
    return cast(Expression, node)


def call(function: str, *arguments: Bound, type: Type) -> Call:
    """A call of the function table on bound arguments."""
    return Call(function=function, arguments=tuple(expression(argument) for argument in arguments), type=type)


def cast_to(argument: Bound, type: Type) -> Bound:
    """``argument`` as ``type``, without a node where it has that type."""
    return argument if argument.type == type else Cast(argument=expression(argument), type=type)
