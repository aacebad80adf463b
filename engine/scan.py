"""Scans: the rows of one table at one version, as Arrow batches, as often as asked.

A scan takes hold of the parts of its cells when it is made, so that they stay while it does. What it has to look at is
decided at the first pass (scan_plan.py); each pass then reads it anew:

    rows found by their key     gathered from all parts into one batch (gather.py)
    blocks of a segment         decoded, some at a time; with a filter its columns first, the others for what passed
    chunks of a memtable        where all rows are visible and there is no filter, slices of the chunk's own memory

Rows that a concurrent writer adds meanwhile begin after the scan's version and are never looked at. Rows come in no
particular order: those of a segment are sorted by key, those of a memtable stand as they came.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor
from itertools import chain

import numpy as np
import pyarrow as pa

from ..base.errors import WeftError
from ..storage.column_values import FixedValues, array_of, fixed_of
from .cell import Cell, Cells
from .conditions import Conditions, dtype_asked
from .expression.node import Expression
from .gather import batch_of, gathered
from .handover import FEW, HANDED_ROWS_MIN, Handover
from .held import Held
from .join_keys import Collected, Expected, Offer
from .layout import Layout
from .projection import Projection, rows_of
from .prune import column_ids, prune
from .scan_plan import Plan, Run
from .scan_statistics import ScanStatistics
from .schema import Column

__all__ = ["Scan", "ScanStatistics"]


class Scan:
    """Repeatable: ``batches`` and ``__arrow_c_stream__`` start anew at each call."""

    __slots__ = (
        "_conditions", "_expected", "_filter", "_handover", "_layout", "_offers", "_orders", "_parts", "_plan",
        "_projection", "_pruning", "_statistics", "_version",
    )  # fmt: skip

    def __init__(
        self, layout: Layout, cells: Cells, projection: Projection, *, version: int, filter: Expression | None
    ) -> None:
        self._layout = layout
        self._projection = projection
        self._version = version
        self._filter = filter
        self._pruning = prune(filter, layout)
        self._conditions: Conditions | None = None
        self._handover: Handover | None = None
        self._offers: dict[int, Offer] = {}
        self._expected = Expected()
        self._plan: Plan | None = None
        self._orders = cells.time_orders
        pruning = self._pruning
        shards = (0,) if pruning.shards is None and not layout.sharded else pruning.shards
        kept = cells_within(cells, pruning.slice_low, pruning.slice_high, shards)
        self._parts = [(cell, cell.parts) for cell in kept]
        self._statistics = ScanStatistics(
            cells_total=len(cells), cells_pruned=len(cells) - len(kept), rows_total=cells.rows_count
        )

    @property
    def schema(self) -> pa.Schema:
        return self._projection.schema

    @property
    def gives_keys(self) -> bool:
        """Whether the filter says the whole primary keys of all rows that it is true of."""
        return self._pruning.whole

    @property
    def rows_estimate(self) -> int:
        """Rows that the scan will look at; an upper bound of those it returns."""
        try:
            return self._planned().rows_count
        except WeftError:
            return self._statistics.rows_total  # whoever reads the rows is told what is wrong

    @property
    def statistics(self) -> ScanStatistics:
        """What was read so far, and what was left out, as far as that is decided."""
        if self._plan is not None:
            self._plan.count(self._statistics)
        return self._statistics

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, in batches of one row or more. Raises Corrupt."""
        return self._batches(self._projection, self._filter)

    @property
    def handed_schema(self) -> pa.Schema:
        """The schema of ``handed``, with all columns. Raises Corrupt."""
        handover = self._handed_over()
        return self.schema if handover is None else handover.schema

    def handed(
        self, places: Sequence[int] | None = None, *, pool: Executor | None = None
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The rows for the relational executor, with the columns at ``places`` alone, and their schema (handover.py).

        Every pass has the same types. Rows for which the filter is not true may be among them. ``pool`` makes some
        batches ahead. Raises Corrupt.
        """
        handover = self._handed_over()
        if handover is not None:
            schema, batches = handover.batches(places, pool=pool)
            return schema, self._counted(batches)
        columns = self._projection.columns
        projection = self._projection if places is None else Projection([columns[place] for place in places])
        return projection.schema, self._small(projection)

    def _counted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """A pass begins with its first batch: the executor opens streams that it never reads."""
        self._statistics.passes += 1
        self._statistics.cells_read += len(self._parts)
        yield from batches

    def offer(self, column: int, held: Held | None = None) -> Offer:
        """What ``handed`` will tell of a column of integers, by its identifier (join_keys.py)."""
        return self._offers.setdefault(column, Offer(held))

    def expect(self, column: int, offer: Offer) -> None:
        """Rows whose value in a column of integers is none of the offer's need not be handed over."""
        self._expected.add(column, offer)

    def _handed_over(self) -> Handover | None:
        if self._handover is None and self.rows_estimate >= HANDED_ROWS_MIN:
            pruning = self._pruning
            self._handover = Handover(
                self._planned(),
                self._projection.columns,
                layout=self._layout,
                test=pruning.zones,
                version=self._version,
                statistics=self._statistics,
                filter=self._filter,
                offers=self._offers,
                expected=self._expected,
            )
        return self._handover

    def _small(self, projection: Projection) -> Iterator[pa.RecordBatch]:
        """Few rows as they are: handed over without those that have no partner."""
        self._expected.begun = True
        keys = self._expected.keys
        places = {column.id: place for place, column in enumerate(projection.columns)}
        tells = keys or self._filter is not None
        collected = Collected({id: offer for id, offer in self._offers.items() if tells and id in places})
        for batch in self._batches(projection, self._filter):
            mask = np.ones(batch.num_rows, np.bool_)
            for id, wanted in keys:
                if id in places:
                    wanted.keep(fixed_of(batch.column(places[id]), self._layout.by_id[id].type), mask)
            for id in collected.columns:
                collected.add(id, fixed_of(batch.column(places[id]), self._layout.by_id[id].type), mask)
            yield batch if mask.all() else batch.filter(pa.array(mask))
        collected.publish()

    def looked_at(self) -> tuple[Plan, Layout, int]:
        """What to read, the table's layout and the version: for pipelines, which read blocks as they are."""
        return self._planned(), self._layout, self._version

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.RecordBatchReader.from_batches(self.schema, self.batches()).__arrow_c_stream__(requested_schema)

    def _planned(self) -> Plan:
        if self._plan is None:
            self._plan = Plan(self._parts, self._pruning, self._layout, version=self._version, orders=self._orders)
        return self._plan

    def _batches(self, projection: Projection, filter: Expression | None) -> Iterator[pa.RecordBatch]:
        plan, statistics = self._planned(), self._statistics
        statistics.passes += 1
        statistics.cells_read += len(self._parts)
        for batch in chain(
            self._picked(plan, projection, None if plan.exact else filter),
            self._runs(plan, projection, None if plan.exact else filter),
            self._chunks(plan, projection, filter),
        ):
            if batch.num_rows:
                statistics.rows_returned += batch.num_rows
                yield batch

    def _picked(self, plan: Plan, projection: Projection, filter: Expression | None) -> Iterator[pa.RecordBatch]:
        picked, statistics = plan.picked, self._statistics
        count = picked.count
        if not count:
            return
        statistics.rows_read += count
        statistics.chunks_read += len(picked.chunks)
        statistics.segments_read += len(set(map(id, picked.segments)))
        statistics.blocks_read += picked.blocks_count
        read = self._read(projection, filter)
        batch = gathered(picked, read)
        yield batch if filter is None else _filtered(batch, filter, read, projection)

    def _read(self, projection: Projection, filter: Expression | None) -> Projection:
        """The columns of ``projection``, then those that only the filter wants."""
        if filter is None:
            return projection
        known = {column.id for column in projection.columns}
        helpers = [self._layout.by_id[id] for id in sorted(column_ids(filter) - known)]
        return Projection([*projection.columns, *helpers]) if helpers else projection

    def _chunks(self, plan: Plan, projection: Projection, filter: Expression | None) -> Iterator[pa.RecordBatch]:
        read = self._read(projection, filter) if plan.chunks else projection
        for chunk, rows in plan.chunks:
            if rows is None:
                count, rows = chunk.visible(self._version)
                if not count:
                    continue
            else:
                count = len(rows)
            self._statistics.chunks_read += 1
            self._statistics.rows_read += count
            batch = rows_of(chunk, read, count=count if rows is None else int(rows.max()) + 1, rows=rows)
            yield batch if filter is None else _filtered(batch, filter, read, projection)

    def _runs(self, plan: Plan, projection: Projection, filter: Expression | None) -> Iterator[pa.RecordBatch]:
        last = None
        for run in plan.runs:
            self._statistics.segments_read += run.segment is not last
            self._statistics.blocks_read += run.blocks_count
            last = run.segment
            mask = last.visible(self._version, run.start, run.stop)
            if mask is not None:
                mask = mask.view(np.bool_)
            self._statistics.rows_read += run.stop - run.start if mask is None else int(np.count_nonzero(mask))
            if filter is not None:
                yield from self._passing(run, mask, projection, filter)
            elif mask is None:
                yield _decoded(run, projection)
            elif mask.any():
                yield _decoded(run, projection).filter(pa.array(mask))

    def _passing(
        self, run: Run, mask: np.ndarray | None, projection: Projection, filter: Expression
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a run that are visible and pass the filter."""
        from .expression.evaluate import Context, evaluate_filter

        if self._conditions is None:
            self._conditions = Conditions(filter, self._layout)
        segment, start, stop = run.segment, run.start, run.stop
        total, by_id = stop - start, self._layout.by_id
        numbers: dict[int, FixedValues] = {}

        def read(column: Column) -> FixedValues:
            if column.id not in numbers:
                numbers[column.id] = segment.reader.narrowed(column.id, start, stop, dtype_asked(column))
            return numbers[column.id]

        passing, left = self._conditions.ask(segment, read, count=total, run=(start, stop))
        if passing is not None:
            mask = passing if mask is None else mask & passing
        arrays = {id: array_of(values, by_id[id].type) for id, values in numbers.items() if not by_id[id].type.is_text}
        rows = _places(mask, total)
        if left is not None and (rows is None or len(rows)):
            tested = [by_id[id] for id in sorted(column_ids(left))]
            known = _decoded(run, Projection(tested), rows)
            ids = [column.id for column in tested]
            truth = evaluate_filter(left, known, column_ids=ids, context=Context(now=0, parameters=()))
            true = truth.to_numpy(zero_copy_only=False)
            if rows is None:
                mask = true if mask is None else mask & true
                rows = _places(mask, total)
                arrays |= zip(ids, known.columns, strict=True)
            else:
                rows = rows[true]
        if rows is not None:
            if len(rows):
                yield _decoded(run, projection, rows)
            return
        rest = [column for column in projection.columns if column.id not in arrays]
        arrays |= {column.id: array_of(segment.values(column, start, stop), column.type) for column in rest}
        batch = batch_of([arrays[column.id] for column in projection.columns], projection.schema, total)
        yield batch if mask is None or mask.all() else batch.filter(pa.array(mask))


def _places(mask: np.ndarray | None, total: int) -> np.ndarray | None:
    """Where ``mask`` is true (int64), if that is few of ``total`` rows: those are read one by one."""
    if mask is None or int(np.count_nonzero(mask)) * FEW >= total:
        return None
    return np.flatnonzero(mask)


def _decoded(run: Run, projection: Projection, rows: np.ndarray | None = None) -> pa.RecordBatch:
    """The rows of a run, visible or not; or these of them (int64)."""
    segment, columns = run.segment, projection.columns
    if rows is not None:
        return batch_of([segment.taken(column, rows + run.start) for column in columns], projection.schema, len(rows))
    arrays = [array_of(segment.values(column, run.start, run.stop), column.type) for column in columns]
    return batch_of(arrays, projection.schema, run.stop - run.start)


def cells_within(cells: Cells, low: int | None, high: int | None, shards: Collection[int] | None) -> list[Cell]:
    """The cells of slices ``low`` to ``high`` (both included) and ``shards``; None is no restriction."""
    if low is not None and high is not None and shards is not None and (high - low + 1) * len(shards) < len(cells):
        found = [cells.get(slice, shard) for slice in range(low, high + 1) for shard in shards]
        return [cell for cell in found if cell is not None]
    return [
        cell
        for cell in cells.all()
        if (shards is None or cell.shard in shards)
        and (low is None or cell.slice >= low)
        and (high is None or cell.slice <= high)
    ]


def _filtered(batch: pa.RecordBatch, filter: Expression, read: Projection, projection: Projection) -> pa.RecordBatch:
    """The rows of ``batch``, whose columns are those of ``read``, that pass; with the columns of ``projection``."""
    from .expression.evaluate import Context, evaluate

    ids = [column.id for column in read.columns]
    batch = batch.filter(evaluate(filter, batch, column_ids=ids, context=Context(now=0, parameters=())))
    if read is projection:
        return batch
    wanted = batch.columns[: len(projection.columns)]
    return batch_of(wanted, projection.schema, batch.num_rows)
