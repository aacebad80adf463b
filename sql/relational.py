"""Running a bound query: parameters in, scans made, the executor's batches turned into ours.

    bound + parameters ──► literals ──► SQL text (holes filled), engine filters (constants computed)
    reader.scan(...) per table reference ──► executor ──► batches with exactly the result's types ──► Result

A query that is nothing but a filtered scan skips the executor (``direct``).

Small results are read completely before ``run_query`` returns (up to ``READ_AHEAD_BYTES``), so that they hold neither
snapshot nor executor; larger ones stream, and ``on_close`` is called when the last batch was read or the result closed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ..base.errors import Invalid
from ..base.limits import MIB
from ..base.result import Result
from ..base.types import UNKNOWN, Kind
from ..base.values import literal_value
from ..engine.expression.node import Expression, Literal
from ..engine.series import series_of
from ..engine.transaction import Transaction
from .bind.context import zoned
from .bound import BoundQuery, TableUse
from .cancel import Cancel
from .direct import DirectRead, direct_read
from .duck import DuckDbExecutor, RelationalExecutor
from .pushdown import Moment, finish
from .render import Template, render, scan_name, substitute

if TYPE_CHECKING:
    from ..engine.reader import Reader

__all__ = [
    "Cancel",
    "DuckDbExecutor",
    "RelationalExecutor",
    "parameter_literals",
    "run_query",
    "skips_executor",
    "sql_text",
]

READ_AHEAD_BYTES: Final = 8 * MIB


def run_query(
    bound: BoundQuery,
    reader: Reader,
    parameters: Sequence[object] = (),
    *,
    executor: RelationalExecutor,
    now: int,
    cancel: Cancel | None = None,
    relations: Mapping[str, Any] = MappingProxyType({}),
    past: Sequence[Reader] = (),
    on_close: Callable[[], None] | None = None,
    read_all: bool = False,
) -> Result:
    """Run ``bound`` at ``reader``'s version.

    ``parameters``: Python values for ``$1``, ``$2``, ...; ``now``: the statement's time, microseconds UTC;
    ``relations``: the Arrow data of relations that the query was bound with; ``past``: the readers of its AS OF
    clauses, by their places; ``read_all``: read everything before returning (for a reader that will change, a
    transaction). ``on_close`` is called once, also when this raises.
    """
    released = _once(on_close)
    try:
        moment = Moment(parameters=parameter_literals(bound, parameters), now=now)
        direct = _direct(bound)
        filter = finish(direct.use.filter, moment) if direct is not None else None
        if direct is not None and (filter is not None or direct.use.filter is None):
            _check_limit(direct, moment)
            rows = _rows(direct.use, filter, reader_of(direct.use, reader, past))
            batches = _checked(direct.batches(rows, moment), cancel)
        else:
            sources = _sources(bound, reader, moment, relations, past)
            shape = (_shape(bound), *(tuple(source.schema.types) for source in sources.values()))
            batches = executor.execute(sql_text(bound, moment), sources, shape=shape, cancel=cancel)
        conformed = (_conform(batch, bound.schema) for batch in batches)
        ahead, more = _read_ahead(conformed, None if read_all else READ_AHEAD_BYTES)
    except BaseException:
        released()
        raise
    if not more:
        released()
        return Result(schema=bound.schema, batches=ahead, version=reader.version, types=bound.types)

    def close() -> None:
        conformed.close()
        batches.close()  # pyright: ignore[reportAttributeAccessIssue]
        released()

    return Result(
        schema=bound.schema,
        batches=chain(ahead, conformed),
        version=reader.version,
        types=bound.types,
        on_close=close,
    )


def skips_executor(bound: BoundQuery) -> bool:
    """Whether the engine alone answers the query, so that Python is never away from it for long."""
    return _direct(bound) is not None


def _direct(bound: BoundQuery) -> DirectRead | None:
    """Decided once per bound query."""
    if "direct" not in bound.memo:
        bound.memo["direct"] = direct_read(bound)
    return bound.memo["direct"]


def _rows(use: TableUse, filter: Expression | None, reader: Reader) -> Iterable[pa.RecordBatch]:
    """The rows of a table for which ``filter`` is true."""
    series = series_of(filter, use.table)
    if series is not None:
        batch = reader.series(use.table, *series, columns=use.columns)
        if batch is not None:
            return (batch,) if batch.num_rows else ()
    return reader.scan(use.table, columns=use.columns, filter=filter).batches()


def _check_limit(direct: DirectRead, moment: Moment) -> None:
    if (limit := direct.rows_max(moment)) is not None and limit < 0:
        raise Invalid("LIMIT must not be negative", sqlstate="2201W")


def _checked(batches: Iterator[pa.RecordBatch], cancel: Cancel | None) -> Iterator[pa.RecordBatch]:
    """The engine's batches, with a look at ``cancel`` before each."""
    if cancel is not None:
        cancel.check()
    for batch in batches:
        yield batch
        if cancel is not None:
            cancel.check()


def reader_of(use: TableUse, reader: Reader, past: Sequence[Reader]) -> Reader:
    """What a table reference is read from."""
    if use.past is None:
        return reader
    if isinstance(reader, Transaction):
        reader.note_past(use.table, past[use.past].version)
    return past[use.past]


def _sources(
    bound: BoundQuery, reader: Reader, moment: Moment, relations: Mapping[str, Any], past: Sequence[Reader]
) -> dict[str, Any]:
    """One scan per table reference, by the name that the text has for it."""
    sources: dict[str, Any] = {}
    for use in bound.uses:
        filter = finish(use.filter, moment)
        sources[scan_name(use.reference)] = reader_of(use, reader, past).scan(
            use.table, columns=use.columns, filter=filter, row_ids=use.row_ids
        )
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
    """With the scans' Arrow types, what lets two executions share a lane: the same sources with the same columns."""
    shape = bound.memo.get("shape")
    if shape is None:
        shape = bound.memo["shape"] = (
            tuple(
                (use.reference, use.table.id, use.table.schema_version, use.columns, use.row_ids) for use in bound.uses
            ),
            None if not bound.arrow_scans else object(),
        )
    return shape


def _columns_of(data: Any, names: Sequence[str]) -> pa.Table:
    table = data if isinstance(data, pa.Table) else pa.table(data)
    return table.select([table.schema.get_field_index(name) for name in names])


def _read_ahead(batches: Iterator[pa.RecordBatch], limit: int | None) -> tuple[list[pa.RecordBatch], bool]:
    """The first batches up to ``limit`` bytes, and whether there are more."""
    ahead: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        ahead.append(batch)
        size += batch.nbytes
        if limit is not None and size > limit:
            return ahead, True
    return ahead, False


def _conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The executor's batch with exactly the result's types and names."""
    columns = [_column(column, field) for column, field in zip(batch.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _column(column: pa.Array, field: pa.Field) -> pa.Array:
    wanted = field.type
    if column.type == wanted:
        return column
    if isinstance(wanted, pa.BaseExtensionType):
        storage = column.storage if isinstance(column.type, pa.BaseExtensionType) else column
        return wanted.wrap_array(storage if storage.type == wanted.storage_type else storage.cast(wanted.storage_type))
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column if column.type == wanted else pc.cast(column, wanted)


def _once(call: Callable[[], None] | None) -> Callable[[], None]:
    called = False

    def run() -> None:
        nonlocal called
        if not called and call is not None:
            called = True
            call()

    return run
