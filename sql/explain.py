"""EXPLAIN: what the engine is asked for each table reference, and the relational executor's plan of the rest.

    Key and Time Read on transactions AS t  (2 of 14 cells, 3 of 6 segments, 3 of 51 blocks, at most 223 rows)
      Columns: household_id, sales_value
      Filter: household_id = 7 AND transaction_timestamp >= 2017-12-01 00:00:00
    Relational executor (DuckDB):
      …

The physical choice is the engine's own (engine/prune.py), seen for the filter with its parameters filled in:

    Primary Key Get       the filter names whole primary keys: the index is asked for each
    Key and Time Read     keys or a range of event time: some shards, some slices, runs of rows in the segments there
    Scan                  everything that the zones of blocks do not rule out, filtered

ANALYZE runs the statement, a change of rows too, and adds what was read and what was left out, and how long it took.
Segments, blocks and chunks are those of the cells that were not left out. The shape of this text is for people and
changes without notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from sqlglot import exp

from ..base.result import Result
from ..base.types import TEXT, arrow_field
from ..engine.catalog import Catalog
from ..engine.clock import monotonic
from ..engine.expression.node import Expression
from ..engine.layout import Layout
from ..engine.prune import prune
from ..engine.reader import Reader, RowStream
from ..engine.scan import ScanStatistics
from ..engine.schema import Table
from ..engine.transaction import Transaction
from .bound import TableUse
from .commutative import Deltas, misfit
from .execution import Execution
from .locking import locking_of, locks
from .mutate import plan_of_change, run_change
from .plan import Plan, Relational
from .pushdown import Moment, finish
from .relational import parameter_literals, reader_of, sql_text
from .render import scan_name
from .shown import expression_text

SCHEMA: Final = pa.schema([arrow_field("QUERY PLAN", TEXT)])


def explain(tree: exp.Expr, execution: Execution, *, analyze: bool, overriding: bool) -> Result:
    """The plan of a query or a change of rows, one line a row."""
    if isinstance(tree, exp.Insert | exp.Update | exp.Delete):
        lines = _explain_change(tree, execution, analyze=analyze, overriding=overriding)
    else:
        lines = _explain_query(tree, execution, analyze=analyze)
    batch = pa.RecordBatch.from_arrays([pa.array(lines, pa.utf8())], schema=SCHEMA)
    return Result(schema=SCHEMA, batches=[batch], version=execution.reader.version, tag="EXPLAIN")


def _explain_change(tree: exp.Expr, execution: Execution, *, analyze: bool, overriding: bool) -> list[str]:
    target, query, deltas = plan_of_change(tree, execution)
    lines = [f"{tree.key.capitalize()} on {target.table.name}"]
    if query is not None:
        plan = execution.plan(query)
        bound = plan.bound
        types = [type for _, type in bound.columns[len(target.keys) :][: 2 * len(deltas.amounts) : 2]]
        why_not = misfit(deltas, types, target.table)
        shown = str(deltas if why_not is None else Deltas(why_not=why_not))
        lines += [f"  {shown}"] if shown else []
        lines += _indented(_plan(plan, execution))
    if analyze:
        began = monotonic()
        result = run_change(tree, execution, overriding=overriding)
        lines.append(f"Rows: {result.rows_affected:,}, time: {_milliseconds(monotonic() - began)}")
    return lines


def _explain_query(tree: exp.Expr, execution: Execution, *, analyze: bool) -> list[str]:
    began = monotonic()
    locking = locking_of(tree, execution) if locks(tree) else None
    plan = execution.plan(tree) if locking is None else locking.keyed
    planned = monotonic()
    lines = _plan(plan, execution)
    if locking is not None:
        names = ", ".join(target.alias for target in locking.targets)
        lines = [f"Lock rows of {names or 'nothing'}", *_indented(lines)]
    if not analyze:
        return lines
    observed = Observed(execution.reader)
    past = [Observed(snapshot) for snapshot in execution.past.snapshots]
    started = monotonic()
    found = execution.on(observed).run(plan, past=past).arrow()
    if locking is not None and isinstance(execution.reader, Transaction):
        locking.lock(found, execution.reader)
    rows = found.num_rows
    ended = monotonic()
    for reader in (observed, *past):
        for name, stream in reader.streams:
            lines += _read(name, stream.statistics)
    lines.append(f"Planning time: {_milliseconds(planned - began)}")
    lines.append(f"Execution time: {_milliseconds(ended - started)}, rows: {rows:,}")
    return lines


def _read(name: str, statistics: ScanStatistics) -> list[str]:
    """What was read and left out of one table reference. Counts of what was read are those of all passes."""
    passes = max(statistics.passes, 1)
    left_out = max(statistics.rows_total - statistics.rows_read // passes, 0)
    lines = [
        f"Read {name}: {statistics.rows_returned:,} of {statistics.rows_read:,} rows looked at, {left_out:,} left out, "
        f"passes {statistics.passes}",
        f"  Cells: {statistics.cells_read:,} read, {statistics.cells_pruned:,} of {statistics.cells_total:,} left out",
    ]
    for what, read, pruned, total in (
        ("Segments", statistics.segments_read, statistics.segments_pruned, statistics.segments_total),
        ("Blocks", statistics.blocks_read, statistics.blocks_pruned, statistics.blocks_total),
        ("Chunks in memory", statistics.chunks_read, statistics.chunks_pruned, statistics.chunks_total),
    ):
        if total:
            lines.append(f"  {what}: {read:,} read, {pruned:,} of {total:,} left out")
    return lines


class Observed:
    """A Reader that remembers the scans it was asked for."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.streams: list[tuple[str, RowStream]] = []

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
    ) -> RowStream:
        stream = self._reader.scan(table, columns=columns, filter=filter, row_ids=row_ids)
        self.streams.append((table.name, stream))
        return stream

    def series(self, *_: object, **__: object) -> None:
        """Scans can be observed, so all is scanned."""

    def get(self, table: Table, key: tuple[Any, ...]) -> dict[str, Any] | None:
        return self._reader.get(table, key)

    def get_many(self, table: Table, keys: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray]:
        return self._reader.get_many(table, keys)


def _plan(plan: Plan, execution: Execution) -> list[str]:
    """What each table reference asks, then the executor's plan, which takes the values of all parameters."""
    bound = plan.bound
    if execution.parameters or not bound.parameters:
        given = execution.parameters[: max(bound.parameters, default=0)]
        moment = Moment(parameters=parameter_literals(bound, given), now=execution.now)
    else:
        moment = None
    lines = plan.explain()
    sources: dict[str, RowStream] = {}
    for use in bound.uses:
        filter = None if moment is None else finish(use.filter, moment)
        reader = reader_of(use, execution.reader, execution.past.snapshots)
        stream = reader.scan(use.table, columns=use.columns, filter=filter, row_ids=use.row_ids)
        sources[scan_name(use.reference)] = stream
        lines += _use(use, filter, stream, version=None if use.past is None else reader.version)
    if isinstance(plan.choice, Relational) and moment is not None and not bound.arrow_scans:
        lines.append("Relational executor (DuckDB):")
        lines += _indented(execution.resources.executor.explain(sql_text(bound, moment), sources).splitlines())
    return lines


def _use(use: TableUse, filter: Expression | None, stream: RowStream, *, version: int | None) -> list[str]:
    """The lines of one table reference."""
    pruning = prune(filter, Layout(use.table))
    if pruning.whole:
        choice = "Primary Key Get"
    elif pruning.ranges is not None or pruning.low is not None or pruning.high is not None:
        choice = "Key and Time Read"
    else:
        choice = "Scan"
    estimate, of = stream.rows_estimate, stream.statistics
    kept = [f"{of.cells_total - of.cells_pruned:,} of {of.cells_total:,} cells"]
    if of.segments_total:
        kept.append(f"{of.segments_total - of.segments_pruned:,} of {of.segments_total:,} segments")
        kept.append(f"{of.blocks_total - of.blocks_pruned:,} of {of.blocks_total:,} blocks")
    name = use.table.name if version is None else f"{use.table.name} AS OF VERSION {version}"
    name = name if use.alias == use.table.name else f"{name} AS {use.alias}"
    columns = [use.table.by_id[id].name for id in use.columns if id in use.table.by_id]
    shown = filter if filter is not None else use.filter
    lines = [
        f"{choice} on {name}  ({', '.join(kept)}, at most {estimate:,} rows)",
        f"  Columns: {', '.join(columns) if columns else 'none'}",
    ]
    return lines if shown is None else [*lines, f"  Filter: {expression_text(shown)}"]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3f} ms"
