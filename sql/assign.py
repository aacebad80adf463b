"""Values into columns: the rows of INSERT and the new values of UPDATE, in exactly the table's types.

Two ways in. ``literal_rows`` reads VALUES lists of literals, parameters and DEFAULT straight from the syntax tree, so
that a plain INSERT meets neither the binder nor the relational executor. Everything else is a query:
``assigned_pieces`` binds it towards the columns' types and gives its rows while it runs.

The rules are PostgreSQL's assignment casts (42804 where there is none), and one of our own: nothing is lost in silence.
A NUMERIC with more digits than its column's scale, a fraction for an INTEGER, a text that is too long are refused with
column, row number and value; ``round(…)`` and a cast say that the loss is wanted.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
from sqlglot import exp

from ..base.errors import Invalid, WeftError
from ..base.limits import MIB
from ..base.rows import literal_value, to_batch
from ..base.types import BIGINT, BOOLEAN, INTEGER, Kind, Type, no_rows, numeric
from ..engine.expression.functions import assignment_cast
from ..engine.schema import Column, project_fields
from .bind import type_of
from .bound import BoundQuery
from .dialect import DIALECT
from .execution import Execution
from .plan import Plan
from .plan import plan as planned

TEMPORAL: Final = (Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.INTERVAL)

PIECE_ROWS: Final = 131_072
PIECE_BYTES: Final = 32 * MIB
"""A statement that changes rows writes them in pieces of this size, while its query runs."""


class _Default:
    """DEFAULT, in place of a value."""


DEFAULT: Final = _Default()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows to write. ``batch`` has the columns named in the statement; ``defaults`` per row the names among them that
    are DEFAULT instead (NULL in the batch), or None where no row has any.
    """

    batch: pa.RecordBatch
    defaults: tuple[frozenset[str], ...] | None = None

    def groups(self) -> list[tuple[pa.RecordBatch, list[int]]]:
        """Batches without the columns that are DEFAULT in them, and which rows they are."""
        if self.defaults is None:
            return [(self.batch, list(range(self.batch.num_rows)))]
        rows_of: dict[frozenset[str], list[int]] = {}
        for row, names in enumerate(self.defaults):
            rows_of.setdefault(names, []).append(row)
        return [
            (self.batch.take(pa.array(rows)).select([n for n in self.batch.schema.names if n not in names]), rows)
            for names, rows in rows_of.items()
        ]


def is_default(node: Any) -> bool:
    """Whether a node is the word DEFAULT: the parser takes it for a variable or a column."""
    if isinstance(node, exp.Column) and not node.args.get("table") and not node.this.args.get("quoted"):
        return node.name.upper() == "DEFAULT"
    return isinstance(node, exp.Var) and node.name.upper() == "DEFAULT"


def value_list(row: exp.Expr) -> list[exp.Expr]:
    """The values of one row of VALUES."""
    return row.expressions if isinstance(row, exp.Tuple) else [row]


def check_width(given: int, columns: Sequence[Column]) -> None:
    """Raise Invalid (42601) unless there is a value for every column named."""
    if given != len(columns):
        more, fewer = ("expressions", "target columns") if given > len(columns) else ("target columns", "expressions")
        raise Invalid(
            f"INSERT has more {more} than {fewer}: {given} values for {len(columns)} columns",
            hint=f"The columns are ({', '.join(column.name for column in columns)}).",
            sqlstate="42601",
        )


def literal_rows(
    values: exp.Values, columns: Sequence[Column], *, parameters: Sequence[object], zone: str
) -> Rows | None:
    """The rows of a VALUES list that needs no evaluation, or None where some value does.

    Raises Invalid for rows of different lengths, and for values that their columns refuse.
    """
    lists = [value_list(row) for row in values.expressions]
    check_width(len(lists[0]), columns)
    if any(len(nodes) != len(columns) for nodes in lists):
        raise Invalid("VALUES lists must all be the same length", sqlstate="42601")
    rows: list[tuple[object, ...]] = []
    defaults: list[frozenset[str]] = []
    for nodes in lists:
        converted: list[object] = []
        for node, column in zip(nodes, columns, strict=True):
            value = simple_value(node, column, parameters=parameters, zone=zone)
            if value is COMPLEX:
                return None
            converted.append(value)
        names = frozenset(c.name for c, value in zip(columns, converted, strict=True) if value is DEFAULT)
        defaults.append(names)
        rows.append(tuple(None if value is DEFAULT else value for value in converted) if names else tuple(converted))
    schema = project_fields(columns)
    return Rows(batch=to_batch(rows, schema), defaults=tuple(defaults) if any(defaults) else None)


COMPLEX: Final = object()
"""Stands for a value that takes an evaluation."""


def simple_value(node: exp.Expr, column: Column, *, parameters: Sequence[object], zone: str) -> object:
    """The Python value of a node for ``column``, DEFAULT, or COMPLEX."""
    type = column.type
    match node:
        case exp.Literal():
            if not node.is_string:
                return _number(node.this, column)
            return COMPLEX if _has_zone(type) and zone != "UTC" else node.this
        case exp.Neg(this=exp.Literal(is_string=False) as literal):
            return _number(f"-{literal.this}", column)
        case exp.Null():
            return None
        case exp.Parameter():
            return _parameter(node, parameters)
        case exp.Boolean():
            check_assignable(BOOLEAN, column)
            return bool(node.this) if type.kind is Kind.BOOLEAN else str(bool(node.this)).lower()
        case exp.Cast(this=exp.Literal(is_string=True) as literal):
            if _has_zone(type) and zone != "UTC":
                return COMPLEX
            return literal_value(literal.this, type) if type_of(node.to) == type else COMPLEX
        case _:
            return DEFAULT if is_default(node) else COMPLEX


def _has_zone(type: Type) -> bool:
    return (type.element or type).kind is Kind.TIMESTAMPTZ


def _parameter(node: exp.Parameter, parameters: Sequence[object]) -> object:
    number = int(node.name) if node.name.isdigit() else 0
    if not 1 <= number <= len(parameters):
        raise Invalid(
            f"there is no parameter ${node.name}",
            hint=f"{len(parameters)} parameters were given; the first is $1.",
            sqlstate="42P02",
        )
    return parameters[number - 1]


_INTEGER_MAX: Final = 2**31 - 1
_BIGINT_MAX: Final = 2**63 - 1


def _number(text: str, column: Column) -> object:
    """A number literal for ``column``, checked for an assignment cast; text columns take it as written."""
    if text.lstrip("-").isdigit():
        value: int | Decimal = int(text)
        given = INTEGER if abs(value) <= _INTEGER_MAX else BIGINT if abs(value) <= _BIGINT_MAX else numeric(38, 0)
    else:
        value, given = Decimal(text.replace("_", "")), numeric()
    check_assignable(given, column)
    return str(value) if column.type.is_text else value


def check_assignable(given: Type, column: Column) -> None:
    """Raise Invalid (42804) where PostgreSQL has no assignment cast to the column's type."""
    if given == column.type or given.kind is Kind.UNKNOWN or (given.is_text and column.type.is_text):
        return
    if not assignment_cast(given, column.type):
        raise Invalid(
            f'column "{column.name}" is of type {column.type} but expression is of type {given}',
            hint="You will need to rewrite or cast the expression.",
            sqlstate="42804",
        )


def assigned_pieces(
    tree: exp.Expr,
    columns: Sequence[Column],
    *,
    execution: Execution,
    part: str,
    keys: Sequence[Type] = (),
) -> Iterator[pa.Table]:
    """Run a query whose output columns, after the first ones of the types ``keys``, are assigned to ``columns``.

    The rows come in pieces of ``PIECE_ROWS`` or so, at least one, while the query runs. Each has the keys as they come,
    then ``columns`` by name, in their own types apart from what ``exactly`` still converts. The query has the right
    width; ``part`` names it within its statement. Raises Invalid (42804).
    """
    plan = execution.kept(part, lambda: assigned_plan(tree, columns, execution, keys=keys, schemas={}))
    with execution.run(plan, on_close=lambda: None) as result:
        names = [*result.names[: len(keys)], *(column.name for column in columns)]
        batches: list[pa.RecordBatch] = []
        rows = size = pieces = 0
        for batch in result.reader():
            batches.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows >= PIECE_ROWS or size >= PIECE_BYTES:
                yield pa.Table.from_batches(batches).rename_columns(names)
                batches, rows, size, pieces = [], 0, 0, pieces + 1
        if rows or not pieces:
            yield pa.Table.from_batches(batches, schema=result.schema).rename_columns(names)


def assigned_query(
    tree: exp.Expr,
    columns: Sequence[Column],
    *,
    execution: Execution,
    part: str,
    keys: Sequence[Type] = (),
    relations: Mapping[str, pa.RecordBatch] | None = None,
) -> pa.Table:
    """The same as one table, with in-memory relations beside the catalog's."""
    schemas = {name: batch.schema for name, batch in (relations or {}).items()}
    plan = execution.kept(part, lambda: assigned_plan(tree, columns, execution, keys=keys, schemas=schemas))
    table = execution.run(plan, relations=relations).arrow()
    return table.rename_columns([*table.column_names[: len(keys)], *(column.name for column in columns)])


@contextmanager
def counted_from(first: int) -> Generator[None]:
    """Say in what is raised which row of the statement is "row 1" of a piece: the one after the first ``first``."""
    try:
        yield
    except WeftError as error:
        if first:
            counted = f"Rows are counted from row {first + 1:,} of the statement on."
            error.hint = counted if error.hint is None else f"{error.hint} {counted}"
        raise


def assigned_plan(
    tree: exp.Expr,
    columns: Sequence[Column],
    execution: Execution,
    *,
    keys: Sequence[Type],
    schemas: Mapping[str, pa.Schema],
) -> Plan:
    """The plan of ``assigned_query``. Raises Invalid (42804)."""
    bound = execution.bind(tree, targets=[*keys, *(column.type for column in columns)], relations=schemas)
    given = [type for _, type in bound.columns[len(keys) :]]
    for type, column in zip(given, columns, strict=True):
        check_assignable(type, column)
    if any(_needs_sql(type, column.type) for type, column in zip(given, columns, strict=True)):
        casts = _with_casts(tree, bound, columns, keys=keys)
        typed = replace(execution, parameter_types={**execution.parameter_types, **bound.parameters})
        same = [*keys, *(column.type for column in columns)] if isinstance(casts, exp.Values) else None
        bound = typed.bind(casts, targets=same, relations=schemas)
    return planned(bound)


def exactly(table: pa.Table, columns: Sequence[Column]) -> pa.RecordBatch:
    """The table's columns in exactly the types of ``columns``. Raises Invalid with column, row and value."""
    return to_batch(table, project_fields(columns))


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """All rows of a table as one batch."""
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else no_rows(table.schema)


def _needs_sql(given: Type, target: Type) -> bool:
    """Whether a conversion depends on SQL's rules for text and time, not only on the number."""
    if given == target or given.kind is Kind.UNKNOWN:
        return False
    if given.element is not None and target.element is not None:
        return _needs_sql(given.element, target.element)
    if target.is_text:
        return not given.is_text
    return given.kind in TEMPORAL and target.kind in TEMPORAL and given.kind is not target.kind


def _with_casts(tree: exp.Expr, bound: BoundQuery, columns: Sequence[Column], *, keys: Sequence[Type]) -> exp.Expr:
    """The query once more, its columns cast in SQL where ``_needs_sql`` says so; those of VALUES row by row."""
    if isinstance(tree, exp.Values) and tree.args.get("with_") is None:
        return _with_row_casts(tree, bound, columns)
    names = [f"weft_{number}" for number in range(len(bound.columns))]
    given = [type for _, type in bound.columns]
    wanted = [*given[: len(keys)], *(column.type for column in columns)]
    items: list[exp.Expr] = []
    for name, has, target in zip(names, given, wanted, strict=True):
        item: exp.Expr = exp.column(name)
        items.append(exp.alias_(_cast(item, target) if _needs_sql(has, target) else item, name))
    alias = exp.TableAlias(this=exp.to_identifier("weft_q"), columns=[exp.to_identifier(name) for name in names])
    inner = exp.Subquery(this=tree.copy(), alias=alias)
    return exp.Select(expressions=items, from_=exp.From(this=inner))


def _with_row_casts(tree: exp.Values, bound: BoundQuery, columns: Sequence[Column]) -> exp.Values:
    copy = tree.copy()
    for row in copy.expressions:
        for node, (_, has), column in zip(value_list(row), bound.columns, columns, strict=True):
            if _needs_sql(has, column.type):
                node.replace(_cast(node.copy(), column.type))
    return copy


def _cast(item: exp.Expr, target: Type) -> exp.Cast:
    items = target.element or target
    unbounded = "text" if items.is_text else str(items)  # a length is checked, never cut off
    unbounded += "[]" if target.element else ""
    return exp.Cast(this=item, to=exp.DataType.build(unbounded, dialect=DIALECT))
