"""The relational choice: a bound query as the executor's text, over one scan per table reference.

    bound + parameters ──► SQL text (holes filled), engine filters (constants computed)
    reader.scan(...) per table reference ──► executor ──► batches, in the executor's types

``sql/run.py`` makes the batches exactly the result's.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..base.errors import Invalid
from ..base.types import UNKNOWN, Kind
from ..base.values import literal_value
from ..engine.expression.node import Literal
from ..engine.held import Held
from ..engine.transaction import Transaction
from .bind.context import zoned
from .bound import BoundQuery, Join, JoinKind, TableUse
from .cancel import Cancel
from .duck import DuckDbExecutor, RelationalExecutor
from .pushdown import Moment, finish
from .render import Template, render, scan_name, substitute
from .walk import walk

if TYPE_CHECKING:
    from ..engine.reader import Reader

__all__ = [
    "Cancel",
    "DuckDbExecutor",
    "RelationalExecutor",
    "parameter_literals",
    "reader_of",
    "run_relational",
    "sources_of",
    "sql_text",
]


def run_relational(
    bound: BoundQuery,
    reader: Reader,
    moment: Moment,
    *,
    executor: RelationalExecutor,
    cancel: Cancel | None,
    relations: Mapping[str, Any],
    past: Sequence[Reader],
) -> Iterator[pa.RecordBatch]:
    """The rows of a query by the executor, lazily; see ``run_plan`` for the arguments."""
    sources = sources_of(bound, reader, moment, relations=relations, past=past, held=executor.held)
    shape = _shape(bound)
    if shape is not None:
        shape = (shape, *(tuple(_handed_schema(source).types) for source in sources.values()))
    return executor.execute(sql_text(bound, moment), sources, shape=shape, cancel=cancel)


def reader_of(use: TableUse, reader: Reader, past: Sequence[Reader]) -> Reader:
    """What a table reference is read from."""
    if use.past is None:
        return reader
    if isinstance(reader, Transaction):
        reader.note_past(use.table, past[use.past].version)
    return past[use.past]


def sources_of(
    bound: BoundQuery,
    reader: Reader,
    moment: Moment,
    *,
    relations: Mapping[str, Any],
    past: Sequence[Reader],
    held: Held,
) -> dict[str, Any]:
    """One scan per table reference, by the name that the text has for it. ``held``: memory of keys of joins."""
    sources: dict[str, Any] = {}
    for use in bound.uses:
        filter = finish(use.filter, moment)
        sources[scan_name(use.reference)] = reader_of(use, reader, past).scan(
            use.table, columns=use.columns, filter=filter, row_ids=use.row_ids
        )
    for use in bound.uses:
        for partner in use.partners:
            scan, other = sources[scan_name(use.reference)], sources[scan_name(partner.reference)]
            if hasattr(scan, "expect") and hasattr(other, "offer"):
                scan.expect(partner.column, other.offer(partner.other, held))
    for scan in bound.arrow_scans:
        sources[scan_name(scan.reference)] = _columns_of(relations[scan.name], scan.sources)
    return sources


def sql_text(bound: BoundQuery, moment: Moment) -> str:
    """The executor's text with everything filled in."""
    template = _template(bound)
    if template is None:
        template = render(substitute(bound.query, moment.parameters))
    return template.fill(moment.parameters, now=moment.now)


def _template(bound: BoundQuery) -> Template | None:
    """Rendered once; None where a function needs the value of a parameter to be rendered."""
    if "template" not in bound.memo:
        try:
            bound.memo["template"] = render(bound.query)
        except Invalid:
            if not bound.parameters:
                raise
            bound.memo["template"] = None
    return bound.memo["template"]


def parameter_literals(bound: BoundQuery, parameters: Sequence[object]) -> dict[int, Literal]:
    """The parameters' values as the types that the query gives them. Raises Invalid, naming the parameter."""
    needed = max(bound.parameters, default=0)
    if len(parameters) < needed:
        raise Invalid(
            f"the statement needs {needed} parameters, {len(parameters)} were given",
            sqlstate="08P01",
            hint="Give one value for each of $1, $2, ... in order.",
        )
    if len(parameters) > needed:
        raise Invalid(
            f"{len(parameters)} parameters were given, the statement has {needed}",
            sqlstate="08P01",
            hint="Parameters are written $1, $2, ...",
        )
    literals: dict[int, Literal] = {}
    for number, type in bound.parameters.items():
        value = parameters[number - 1]
        try:
            if type.kind is Kind.TIMESTAMPTZ and isinstance(value, str):
                value = zoned(value, bound.timezone)
            elif type.is_text and not isinstance(value, str | None):
                value = _as_text(value)
            literals[number] = Literal(value=literal_value(value, type), type=type)
        except Invalid as error:
            error.message = f"parameter ${number}: {error.message}"
            error.args = (error.message,)
            raise
    assert all(literal.type != UNKNOWN for literal in literals.values()), "the binder types every parameter"
    return literals


def _as_text(value: object) -> object:
    """Numbers and dates where text is wanted, as their text; ``SELECT $1`` gives TEXT, as in PostgreSQL."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, bytes | bytearray | list | tuple | dict) else str(value)


def _shape(bound: BoundQuery) -> Hashable:
    """With the scans' Arrow types, what lets two executions share a lane: the same sources with the same columns.

    None: no lane is kept. DuckDB 2.0 fails, and with it its whole database, where a plan with an ASOF join runs twice.
    """
    if "shape" not in bound.memo:
        asof = (JoinKind.ASOF, JoinKind.ASOF_LEFT)
        once = any(isinstance(node, Join) and node.kind in asof for node in walk(bound.query))
        bound.memo["shape"] = (
            None
            if once
            else (
                tuple(
                    (use.reference, use.table.id, use.table.schema_version, use.columns, use.row_ids)
                    for use in bound.uses
                ),
                None if not bound.arrow_scans else object(),
            )
        )
    return bound.memo["shape"]


def _handed_schema(source: Any) -> pa.Schema:
    """What the executor will be given."""
    return getattr(source, "handed_schema", source.schema)


def _columns_of(data: Any, names: Sequence[str]) -> pa.Table:
    """The columns; the table itself where it has these alone, since what it takes is counted as long as it lives."""
    table = data if isinstance(data, pa.Table) else pa.table(data)
    if table.column_names == list(names):
        return table
    return table.select([table.schema.get_field_index(name) for name in names])
