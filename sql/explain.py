"""EXPLAIN: each step of planning and what it did; ANALYZE runs the statement and measures; VERIFY runs it twice.

What is printed is in sql/explained.py. The way that a table reference is read is the engine's own decision
(engine/prune.py), seen for the filter with its parameters filled in:

    Primary Key Get       the filter names whole primary keys: the index is asked for each
    Key and Time Read     keys or a range of event time: some shards, some slices, runs of rows in the segments there
    Scan                  everything that the zones of blocks do not rule out, filtered

ANALYZE runs the statement, a change of rows too. Segments, blocks and chunks are those of the cells that were not left
out; the executor's times are those of all its threads; a single series is scanned, since scans can be observed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
from sqlglot import exp

from ..base.result import Result
from ..base.types import JSON, TEXT, arrow_field
from ..engine.catalog import Catalog
from ..engine.clock import monotonic
from ..engine.expression.node import Expression
from ..engine.layout import Layout
from ..engine.prune import prune
from ..engine.reader import Reader, RowStream
from ..engine.scan_statistics import ScanStatistics
from ..engine.schema import Table, View
from ..engine.selectivity import rows_expected
from ..engine.statistics import TableStatistics
from ..engine.transaction import Transaction
from . import rules
from .bound import (
    ArrowScan,
    BoundQuery,
    CteReference,
    Derived,
    FunctionScan,
    Grouping,
    Output,
    Scan,
    SetOperation,
    TableUse,
    Values,
)
from .commutative import Deltas, misfit
from .definition import refuse
from .execution import Execution
from .explained import Access, Change, Explained, Measured
from .interrupt import interruptible
from .locking import locking_of, locks
from .matching.select import Matched
from .matching.ways import way_of
from .mutate import CHANGES, plan_of_change, run_change
from .operators import Operator, with_names
from .parts import VIEWS, Grouped, run_parts
from .plan import Pipelined, Plan, Relational, chosen
from .point_change import point_change
from .pushdown import Moment, finish
from .relational import parameter_literals, reader_of, sources_of, sql_text
from .render import scan_name
from .shown import expression_text
from .statements import Explain
from .verify import verify
from .walk import walk

T = TypeVar("T")

POINT: Final = "One row, given by its primary key: changed without the executor where its values are plain"
"""Of a change that sql/point_change.py runs. ANALYZE runs the other way, which has steps to be measured."""

COLUMN: Final = "QUERY PLAN"


def explain(
    tree: exp.Expr, execution: Execution, statement: Explain, *, overriding: bool, parse_seconds: float
) -> Result:
    """What ``statement`` asks about a query or a change of rows."""
    watch = Watch()
    watch.steps.append(("parse", parse_seconds))
    if statement.verify and not isinstance(tree, exp.Query | exp.Values):
        raise refuse("EXPLAIN VERIFY of a change", "Verify its query; EXPLAIN ANALYZE runs the change.")
    if isinstance(tree, CHANGES):
        found = _explain_change(tree, execution, watch, analyze=statement.analyze, overriding=overriding)
    else:
        found = _explain_query(tree, execution, watch, analyze=statement.analyze)
        if statement.verify and found.plan is not None:
            verified = verify(found.plan, execution.bind(_unlocked(tree)), execution)
            found = replace(found, verified=verified, grouped=verified.grouped)
    if statement.format == "json":
        field, values = arrow_field(COLUMN, JSON), [json.dumps(found.document(), indent=2, ensure_ascii=False)]
    else:
        field, values = arrow_field(COLUMN, TEXT), found.lines()
    batch = pa.RecordBatch.from_arrays([pa.array(values, field.type)], schema=pa.schema([field]))
    return Result(schema=batch.schema, batches=[batch], version=execution.reader.version, tag="EXPLAIN")


def _unlocked(tree: exp.Expr) -> exp.Expr:
    if not locks(tree):
        return tree
    raise refuse("EXPLAIN VERIFY of a query that locks rows", "Verify it without its locking clause.")


class Watch:
    """The steps of planning, and how long each took."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, float]] = []

    def timed(self, name: str, step: Callable[[], T]) -> T:
        began = monotonic()
        done = step()
        self.steps.append((name, monotonic() - began))
        return done


def _planned(tree: exp.Expr, execution: Execution, watch: Watch) -> Plan:
    """The plan, made anew, step by step."""
    bound = watch.timed("bind", lambda: execution.bind(tree))
    better, fired = watch.timed("rules", lambda: rules.rewrite(bound))
    plan = watch.timed("choose", lambda: chosen(better, fired, tier=execution.tier, views=execution.views))
    return plan.settled(execution.reader, execution.past.snapshots)


def _explain_change(
    tree: exp.Expr, execution: Execution, watch: Watch, *, analyze: bool, overriding: bool
) -> Explained:
    target, query, deltas = plan_of_change(tree, execution)
    change = Change(operation=tree.key.capitalize(), table=target.table.name)
    found = Explained(plan=None, change=change)
    if query is not None:
        plan = _planned(query, execution, watch)
        types = [type for _, type in plan.bound.columns[len(target.keys) :][: 2 * len(deltas.amounts) : 2]]
        why_not = misfit(deltas, types, target.table)
        shown = str(deltas if why_not is None else Deltas(why_not=why_not))
        found = replace(_seen(plan, execution), change=replace(change, notes=(shown,) if shown else ()))
    if not (analyze or overriding) and point_change(tree, execution) is not None:
        found = replace(found, change=replace(found.change or change, notes=(*(found.change or change).notes, POINT)))
    found = replace(found, steps=tuple(watch.steps))
    if not analyze:
        return found
    began = monotonic()
    result = run_change(tree, execution, overriding=overriding)
    return replace(found, rows=result.rows_affected or 0, seconds=monotonic() - began)


def _explain_query(tree: exp.Expr, execution: Execution, watch: Watch, *, analyze: bool) -> Explained:
    locking = locking_of(tree, execution) if locks(tree) else None
    plan = _planned(tree, execution, watch) if locking is None else locking.keyed
    plan, why_not = _settled(plan, execution)
    if not analyze:
        found = _seen(plan, execution)
    elif locking is not None and isinstance(execution.reader, Transaction):
        transaction = execution.reader
        found = _measured(plan, execution, consume=lambda rows: locking.lock(rows, transaction))
    else:
        found = _measured(plan, execution)
    if locking is not None:
        found = replace(found, locked=tuple(target.alias for target in locking.targets))
    views_off = _views_off(plan, execution)
    return replace(found, steps=tuple(watch.steps), grouped=(*why_not, *found.grouped), views_off=views_off)


def _views_off(plan: Plan, execution: Execution) -> str | None:
    """Why the views of the tables that a query reads are not looked at; None: they are, or there are none."""
    for use in plan.bound.uses:
        views = execution.catalog.kept_views.get(use.table.id, ())
        if views and not execution.match_views:
            return "weft.match_views is off"
        if any(view.maintained is not None and view.maintained.id in execution.binder.computed for view in views):
            return f"this transaction has written to {use.table.name}"
    return None


def _settled(plan: Plan, execution: Execution) -> tuple[Plan, tuple[Grouped, ...]]:
    """The plan that is run, as far as views are concerned, and why it is not the one with views."""
    if plan.without is None or plan.matching is None:
        return plan, ()
    moment = _moment(plan.without.bound, execution) if execution.parameters or not plan.bound.parameters else None
    if moment is None:
        return plan, ()
    chosen: list[Matched] = []
    for part in plan.matching.matched:
        way, why = way_of(part, execution.reader, moment)
        if way is None:
            return plan.without, (Grouped(alias=part.use.alias, sink=VIEWS, why_not=why),)
        others = tuple(other for other in part.ways if other is not way.pieces[0].roll)
        chosen.append(replace(part, ways=(way.shown, *others)))
    return replace(plan, matching=replace(plan.matching, matched=tuple(chosen))), ()


def _moment(bound: BoundQuery, execution: Execution) -> Moment:
    given = execution.parameters[: max(bound.parameters, default=0)]
    return Moment(parameters=parameter_literals(bound, given), now=execution.now)


def _seen(plan: Plan, execution: Execution) -> Explained:
    """The plan as far as it shows without running. Without values of parameters the executor has no plan."""
    bound = plan.bound
    moment = _moment(bound, execution) if execution.parameters or not bound.parameters else None
    accesses: list[Access] = []
    sources: dict[str, Any] = {}
    for use in bound.uses:
        filter = None if moment is None else finish(use.filter, moment)
        reader = reader_of(use, execution.reader, execution.past.snapshots)
        stream = reader.scan(use.table, columns=use.columns, filter=filter, row_ids=use.row_ids)
        sources[scan_name(use.reference)] = stream
        version = None if use.past is None else reader.version
        accesses.append(_access(use, filter, stream, reader, version=version))
    operators = None
    grouped = [] if moment is None else _grouped(plan, execution, moment)
    if moment is not None and _is_executor_s(plan, grouped):
        rows = execution.virtual(bound)
        sources |= {scan_name(scan.reference): rows[scan.name].select(scan.sources) for scan in bound.arrow_scans}
        found = execution.resources.executor.explain(sql_text(bound, moment), sources, cancel=execution.cancel)
        operators = with_names(found, _names(bound))
    return Explained(plan=plan, accesses=tuple(accesses), operators=operators, grouped=tuple(grouped))


def _grouped(plan: Plan, execution: Execution, moment: Moment) -> list[Grouped]:
    """What pipelines would do, as far as it shows without running them."""
    found: list[Grouped] = []
    if isinstance(plan.choice, Pipelined):
        run_parts(
            plan.choice.rest,
            execution.reader,
            moment,
            past=execution.past.snapshots,
            kernels=execution.resources.kernels,
            wait=plan.choice.wait,
            rows_of=_not_computed,
            cancel=execution.cancel,
            note=found.append,
            dry=True,
        )
    return found


def _is_executor_s(plan: Plan, grouped: Sequence[Grouped]) -> bool:
    """Whether the executor runs the query as it was bound."""
    if plan.without is not None:
        return False
    if isinstance(plan.choice, Pipelined):
        return not plan.choice.wait and any(each.why_not is not None for each in grouped)
    return isinstance(plan.choice, Relational)


def _not_computed(query: BoundQuery) -> pa.Table:
    raise AssertionError("EXPLAIN alone computes nothing")


def _measured(plan: Plan, execution: Execution, *, consume: Callable[[pa.Table], object] | None = None) -> Explained:
    """The plan, run, and what it took. ``consume`` wants the rows: then the executor's operators are not measured."""
    bound = plan.bound
    streams: list[Observed] = []
    reader = ObservedReader(execution.reader, streams)
    past = [ObservedReader(snapshot, streams) for snapshot in execution.past.snapshots]
    operators: Operator | None = None
    moment = _moment(bound, execution)
    grouped = _grouped(plan, execution, moment)
    began = monotonic()
    if _is_executor_s(plan, grouped) and consume is None:
        held = execution.resources.executor.held
        sources = sources_of(bound, reader, moment, relations=execution.virtual(bound), past=past, held=held)
        run = execution.resources.executor.explain
        operators = interruptible(
            lambda: run(sql_text(bound, moment), sources, analyze=True, cancel=execution.cancel),
            cancel=execution.cancel.cancel,
        )
        operators, rows = with_names(operators, _names(bound)), operators.rows or 0
    else:
        grouped.clear()
        table = execution.on(reader).run(plan, past=past, note=grouped.append).arrow()
        rows = table.num_rows
        if consume is not None:
            consume(table)
    seconds = monotonic() - began
    accesses: list[Access] = []
    for use in bound.uses:
        # The last scan of it: a pipeline that gave up had made one before.
        stream = next(stream for stream in reversed(streams) if stream.asked == (use.table.id, use.columns))
        streams.remove(stream)
        of = reader if use.past is None else past[use.past]
        version = None if use.past is None else of.version
        access = _access(use, stream.filter, stream, of, version=version)
        accesses.append(replace(access, measured=Measured(seconds=stream.seconds, bytes=stream.bytes)))
    return Explained(
        plan=plan,
        accesses=tuple(accesses),
        operators=operators,
        grouped=tuple(grouped),
        rows=rows,
        seconds=seconds,
    )


def _access(
    use: TableUse, filter: Expression | None, stream: RowStream, reader: Reader, *, version: int | None
) -> Access:
    known = reader.statistics(use.table)
    pruning = prune(filter, Layout(use.table))
    index = stream.statistics.index
    if index is not None:
        choice = f"Index Read by {index}"
    elif pruning.whole:
        choice = "Primary Key Get"
    elif pruning.ranges is not None or pruning.low is not None or pruning.high is not None:
        choice = "Key and Time Read"
    else:
        choice = "Scan"
    shown = filter if filter is not None else use.filter
    rows_max = stream.rows_estimate
    return Access(
        choice=choice,
        table=use.table.name,
        alias=use.alias,
        version=version,
        columns=tuple(use.table.by_id[id].name for id in use.columns if id in use.table.by_id),
        filter=None if shown is None else expression_text(shown),
        rows_expected=rows_expected(filter, known, rows_max=rows_max),
        rows_max=rows_max,
        statistics=stream.statistics,
        groups=_groups_of(use.table, reader),
    )


def _groups_of(table: Table, reader: Reader) -> str | None:
    """What a view's rows are, for a person: its groups, by which columns, of how many rows."""
    view = reader.catalog.relations.get(table.name)
    if table.stored is None or not isinstance(view, View) or view.maintained is None:
        return None
    base = reader.catalog.stored[view.maintained.base]
    keys = [table.by_id[id].name if id in table.by_id else f"column {id}" for id in table.stored.primary_key]
    groups, rows = reader.statistics(table).rows, reader.statistics(base).rows
    return f"Groups of {table.name}: by {', '.join(keys)}; {groups:,} of them stand for {rows:,} rows of {base.name}"


def _names(bound: BoundQuery) -> dict[int, str]:
    """What the query calls its columns, by identifier."""
    found: dict[int, str] = {}
    for node in walk(bound.query):
        match node:
            case Scan() | ArrowScan() | Derived() | CteReference() | FunctionScan() | SetOperation() | Values():
                columns = node.columns
            case Grouping():
                columns = [output.column for output in (*node.keys, *node.aggregates)]
            case Output():
                columns = [node.column]
            case _:
                continue
        found |= {column.id: column.name for column in columns if column.name}
    return found


class Observed:
    """A scan that measures what is read of it, however it is read."""

    schema: pa.Schema
    rows_estimate: int
    statistics: ScanStatistics

    def __init__(self, stream: RowStream, filter: Expression | None, asked: tuple[int, tuple[int, ...] | None]) -> None:
        self._stream = stream
        self.filter = filter
        self.asked = asked
        self.seconds = 0.0
        self.bytes = 0

    def __getattr__(self, name: str) -> Any:
        """Whatever else a scan can, the scan does; ``handed`` only where it has it."""
        return self._handed if name == "handed" and hasattr(self._stream, name) else getattr(self._stream, name)

    def batches(self) -> Iterator[pa.RecordBatch]:
        return self._timed(self._stream.batches())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.RecordBatchReader.from_batches(self.schema, self.batches()).__arrow_c_stream__(requested_schema)

    def _handed(
        self, places: Sequence[int] | None = None, *, pool: Executor | None = None
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        began = monotonic()
        schema, batches = self._stream.handed(places, pool=pool)  # pyright: ignore[reportAttributeAccessIssue] - asked before
        self.seconds += monotonic() - began
        return schema, self._timed(batches)

    def _timed(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        while True:
            began = monotonic()
            batch = next(batches, None)
            self.seconds += monotonic() - began
            if batch is None:
                return
            self.bytes += batch.nbytes
            yield batch


class ObservedReader:
    """A Reader that remembers the scans it was asked for, in their order."""

    def __init__(self, reader: Reader, streams: list[Observed]) -> None:
        self._reader = reader
        self._streams = streams

    @property
    def version(self) -> int:
        return self._reader.version

    @property
    def catalog(self) -> Catalog:
        return self._reader.catalog

    def scan(
        self,
        table: Table,
        *,
        columns: Sequence[int] | None = None,
        filter: Expression | None = None,
        row_ids: bool = False,
    ) -> Observed:
        asked = (table.id, None if columns is None else tuple(columns))
        stream = Observed(self._reader.scan(table, columns=columns, filter=filter, row_ids=row_ids), filter, asked)
        self._streams.append(stream)
        return stream

    def statistics(self, table: Table) -> TableStatistics:
        return self._reader.statistics(table)

    def series(self, *_: object, **__: object) -> None:
        """Scans can be observed, so all is scanned."""

    def windows(self, *_: object, **__: object) -> None:
        """As of ``series``."""

    def get(self, table: Table, key: tuple[Any, ...]) -> dict[str, Any] | None:
        return self._reader.get(table, key)

    def get_many(self, table: Table, keys: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray]:
        return self._reader.get_many(table, keys)
