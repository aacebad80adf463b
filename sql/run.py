"""Running a plan: parameters in, rows out, as its choice says.

    plan + parameters ──► literals ──► engine filters (constants computed)
    PrimaryKeyGet, KeyTimeRead, DirectScan     batches of the engine; the few rows of a key or table sorted
    Relational                                 batches of the executor (sql/relational.py)
    Pipelined                                  groups, and what is left: by Arrow (sql/arrange.py), or the executor
                                               └──► exactly the result's types ──► Result

What the values of parameters change is settled here: a constant that cannot be computed (1/0) goes to the executor,
which raises the error if the row that needs it is there; a key that is no value of its column is found by a scan with
the same condition (mostly: not).

Small results are read completely before ``run_plan`` returns (up to ``READ_AHEAD_BYTES``), so that they hold neither
snapshot nor executor; larger ones stream, and ``on_close`` is called when the last batch was read or the result closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ..base.errors import Invalid
from ..base.limits import MIB, PIPELINE_SIDE_BYTES_MAX
from ..base.result import Result
from ..base.types import bare, type_of_field, wrapped
from ..engine.expression.node import Expression
from ..engine.pipeline.kernels import Kernels
from ..engine.pipeline.shape import NotCovered
from ..engine.series import series_of
from . import plan as planning
from .arrange import arranged
from .bound import BoundQuery
from .cancel import Cancel
from .direct import DirectRead
from .matching.run import answers
from .matching.sides import RowsOf
from .parts import Grouped, run_parts
from .plan import Pipelined, Plan, Relational, not_covered
from .pushdown import Moment, finish
from .relational import RelationalExecutor, parameter_literals, reader_of, run_relational

if TYPE_CHECKING:
    from ..engine.reader import Reader

__all__ = ["READ_AHEAD_BYTES", "run_plan", "skips_executor"]

READ_AHEAD_BYTES: Final = 8 * MIB


def run_plan(
    plan: Plan,
    reader: Reader,
    parameters: Sequence[object] = (),
    *,
    executor: RelationalExecutor,
    kernels: Kernels | None = None,
    now: int,
    cancel: Cancel | None = None,
    relations: Mapping[str, Any] = MappingProxyType({}),
    past: Sequence[Reader] = (),
    on_close: Callable[[], None] | None = None,
    read_all: bool = False,
    note: Callable[[Grouped], None] | None = None,
) -> Result:
    """Run ``plan`` at ``reader``'s version.

    ``parameters``: Python values for ``$1``, ``$2``, ...; ``now``: the statement's time, microseconds UTC;
    ``relations``: the Arrow data of relations that the query was bound with; ``past``: the readers of its AS OF
    clauses, by their places; ``read_all``: read everything before returning (for a reader that will change, a
    transaction). ``on_close`` is called once, also when this raises; ``note`` with what came of each pipeline.
    """
    released = _once(on_close)
    try:
        moment = Moment(parameters=parameter_literals(plan.bound, parameters), now=now)
        rows_of = _sides(
            reader, moment, past, cancel, relations, executor=executor, parameters=parameters
        )  # fmt: skip
        plan, relations = _with_views(plan, reader, moment, cancel, relations, rows_of, note)
        plan = plan.settled(reader, past)
        bound = plan.bound
        batches = _direct(plan, reader, moment, past, cancel)
        if batches is None:
            query, relations = _with_groups(
                plan, reader, moment, past, cancel, relations, kernels=kernels, rows_of=rows_of, note=note
            )
            ready = query is not bound or (plan.asked is not None and not bound.uses)
            rows = arranged(query, relations, moment) if ready else None
            if rows is not None:
                batches = (batch for batch in (rows,))
            else:
                batches = run_relational(
                    query, reader, moment, executor=executor, cancel=cancel, relations=relations, past=past
                )
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


def skips_executor(plan: Plan) -> bool:
    """Whether the engine alone answers the query, so that Python is never away from it for long."""
    return not isinstance(plan.choice, Relational | Pipelined) and not plan.choice.read.order


def _with_views(
    plan: Plan,
    reader: Reader,
    moment: Moment,
    cancel: Cancel | None,
    relations: Mapping[str, Any],
    rows_of: RowsOf,
    note: Callable[[Grouped], None] | None,
) -> tuple[Plan, Mapping[str, Any]]:
    """The plan that is run, and its relations: with what views answer, or without them."""
    if plan.matching is None or plan.asked is None:
        return plan, relations
    check = (lambda: None) if cancel is None else cancel.check
    found = answers(plan.matching.matched, reader, moment, rows_of=rows_of, check=check, note=note)
    if found is not None:
        return plan, {**relations, **found}
    return plan.without or plan, relations


def _with_groups(
    plan: Plan,
    reader: Reader,
    moment: Moment,
    past: Sequence[Reader],
    cancel: Cancel | None,
    relations: Mapping[str, Any],
    *,
    kernels: Kernels | None,
    rows_of: RowsOf,
    note: Callable[[Grouped], None] | None,
) -> tuple[BoundQuery, Mapping[str, Any]]:
    """What the executor is asked, and its relations: the query, or what pipelines leave of it."""
    choice = plan.choice
    if not isinstance(choice, Pipelined) or kernels is None:
        return plan.bound, relations
    try:
        groups = run_parts(
            choice.rest,
            reader,
            moment,
            past=past,
            kernels=kernels,
            wait=choice.wait,
            rows_of=rows_of,
            cancel=cancel,
            note=note,
        )
    except NotCovered as why:
        if choice.wait:
            raise not_covered(str(why)) from None
        groups = None
    return (plan.bound, relations) if groups is None else (groups[0], {**relations, **groups[1]})


def _sides(
    reader: Reader,
    moment: Moment,
    past: Sequence[Reader],
    cancel: Cancel | None,
    relations: Mapping[str, Any],
    *,
    executor: RelationalExecutor,
    parameters: Sequence[object],
) -> RowsOf:
    """What answers the queries of a star's sides, each once. It raises NotCovered."""
    answered: dict[int, pa.Table] = {}

    def rows_of(side: BoundQuery) -> pa.Table:
        if id(side.query) not in answered:  # one side may be asked what another one asks, too
            answered[id(side.query)] = answer(side)
        return answered[id(side.query)]

    def answer(side: BoundQuery) -> pa.Table:
        if "plan" not in side.memo:
            found, declined = planning.choose(side)
            side.memo["plan"] = Plan(bound=side, fired=(), choice=found, declined=declined)
        try:
            with run_plan(
                side.memo["plan"],
                reader,
                parameters,
                executor=executor,
                now=moment.now,
                cancel=cancel,
                relations=relations,
                past=past,
            ) as result:
                return _limited(result)
        except Invalid as error:  # of a row that perhaps has no part in the answer
            raise NotCovered(f"a joined side fails: {error.message}") from None

    return rows_of


def _limited(result: Result) -> pa.Table:
    """The rows of a joined side. Raises NotCovered where they are many."""
    batches: list[pa.RecordBatch] = []
    size = 0
    for batch in result.reader():
        batches.append(batch)
        size += batch.nbytes
        if size > PIPELINE_SIDE_BYTES_MAX:
            raise NotCovered("a joined side has many rows")
    return pa.Table.from_batches(batches, result.schema)


def _direct(
    plan: Plan, reader: Reader, moment: Moment, past: Sequence[Reader], cancel: Cancel | None
) -> Iterator[pa.RecordBatch] | None:
    """The engine's batches; None where it is the executor's."""
    if isinstance(plan.choice, Relational | Pipelined):
        return None
    read = plan.choice.read
    filter = finish(read.use.filter, moment)
    if filter is None and read.use.filter is not None:
        return None
    _check_limit(read, moment)
    rows = _rows(read, filter, reader_of(read.use, reader, past))
    batches = read.in_order(_checked(rows, cancel), moment) if read.order else read.batches(rows, moment)
    return None if batches is None else _checked(batches, cancel)


def _rows(read: DirectRead, filter: Expression | None, reader: Reader) -> Iterable[pa.RecordBatch]:
    """The rows of a table for which ``filter`` is true."""
    use = read.use
    series = series_of(filter, use.table)
    if series is not None:
        batch = reader.series(use.table, *series, columns=use.columns)
        if batch is not None:
            return (batch,) if batch.num_rows else ()
    return reader.scan(use.table, columns=use.columns, filter=filter).batches()


def _check_limit(read: DirectRead, moment: Moment) -> None:
    if (limit := read.rows_max(moment)) is not None and limit < 0:
        raise Invalid("LIMIT must not be negative", sqlstate="2201W")


def _checked(batches: Iterable[pa.RecordBatch], cancel: Cancel | None) -> Iterator[pa.RecordBatch]:
    """The engine's batches, with a look at ``cancel`` before each."""
    if cancel is not None:
        cancel.check()
    for batch in batches:
        yield batch
        if cancel is not None:
            cancel.check()


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
    if pa.types.is_list(wanted):  # DuckDB's are lists of "l"
        type = type_of_field(field)
        return wrapped(bare(column).cast(type.storage), type)
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
