"""Scans: the rows of one table at one version, as Arrow batches, as often as asked.

A scan takes hold of the chunks when it is made, so that they stay while it does. Each pass reads them anew, one batch
a chunk: where all rows of a chunk are visible and there is no filter, the batch's arrays are slices of the chunk's own
memory. Rows that a concurrent writer adds meanwhile begin after the scan's version and are never looked at.

Work is avoided in this order (see prune.py): cells, by shard and slice; chunks, by event time; rows, by the index
where the filter gives a whole primary key; the rest by evaluating the filter over the visible rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from ..base.types import Kind
from .cell import Cells
from .column_store import VariableColumn
from .expression.node import Expression
from .layout import Layout
from .memtable import Chunk, Memtable
from .part import Part, visible_row
from .projection import Projection, rows_of
from .prune import Pruning, column_ids, prune

CODED_ROWS_MIN: Final = 16_384
"""A scan that looks at fewer rows gives plain text: encoding it would cost more than it saves."""


@dataclass(slots=True, kw_only=True)
class ScanStatistics:
    """What a scan left out and did, over all of its passes."""

    cells_total: int = 0
    cells_pruned: int = 0
    cells_read: int = 0
    chunks_read: int = 0
    chunks_pruned: int = 0
    rows_read: int = 0
    rows_returned: int = 0
    passes: int = 0


class Scan:
    """Repeatable: ``batches`` and ``__arrow_c_stream__`` start anew at each call."""

    __slots__ = (
        "_cells", "_chunks", "_coded", "_filter", "_filter_ids", "_layout", "_projection", "_pruning", "_version",
        "statistics",
    )  # fmt: skip

    def __init__(
        self, layout: Layout, cells: Cells, projection: Projection, *, version: int, filter: Expression | None
    ) -> None:
        self._layout = layout
        self._projection = projection
        self._version = version
        self._filter = filter
        self._pruning: Pruning = prune(filter, layout)
        self._filter_ids = column_ids(filter)
        self._coded: frozenset[int] | None = None
        every = cells.all()
        kept = [cell for cell in every if self._pruning.keeps_cell(cell.slice, cell.shard)]
        self._cells = [(cell, cell.parts) for cell in kept]
        self._chunks = [list(_chunks(parts)) for _, parts in self._cells]
        self.statistics = ScanStatistics(cells_total=len(every), cells_pruned=len(every) - len(kept))

    @property
    def schema(self) -> pa.Schema:
        return self._projection.schema

    @property
    def rows_estimate(self) -> int:
        """Rows that the scan will look at; an upper bound of those it returns."""
        if self._pruning.key is not None:
            return 1
        segments = sum(part.rows_count for _, parts in self._cells for part in parts if not isinstance(part, Memtable))
        return segments + sum(chunk.count for chunks in self._chunks for chunk in chunks)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, one batch a chunk that has any."""
        return self._batches(self._projection, self._filter)

    def coded(self) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The rows for the relational executor, with text of few distinct values as dictionaries, and their schema.

        Which columns those are is settled once a scan, since every pass must have one schema. The executor evaluates
        the filter itself, and on codes faster than could be done here: with a filter on coded columns the batches
        hold all rows of the chunks that remain.
        """
        if self._coded is None:
            self._coded = self._codable()
        if not self._coded:
            return self.schema, self.batches()
        projection = Projection(self._projection.columns, coded=self._coded)
        return projection.schema, self._batches(projection, None if self._coded & self._filter_ids else self._filter)

    def _codable(self) -> frozenset[int]:
        """Text columns that every chunk can give as codes; none for a scan so small that it does not matter."""
        ids = {column.id for column in self._projection.columns if column.type.kind is Kind.TEXT}
        if not ids or self.rows_estimate < CODED_ROWS_MIN:
            return frozenset()
        if any(not isinstance(part, Memtable) for _, parts in self._cells for part in parts):
            return frozenset()
        for chunk in (chunk for chunks in self._chunks for chunk in chunks):
            count, rows = chunk.visible(self._version)
            # A chunk that may still grow can come into the filter's range later, so it counts either way.
            full = chunk.count == chunk.capacity
            if not count or (full and not self._pruning.keeps_times(chunk.time_low, chunk.time_high)):
                continue
            count = count if rows is None else int(rows[-1]) + 1
            stores = {id: chunk.columns.get(id) for id in ids}
            ids = {
                id
                for id, store in stores.items()
                if isinstance(store, VariableColumn) and store.codes(count) is not None
            }
        return frozenset(ids)

    def _batches(self, projection: Projection, filter: Expression | None) -> Iterator[pa.RecordBatch]:
        known = {column.id for column in projection.columns}
        helpers = [] if filter is None else [self._layout.by_id[id] for id in sorted(self._filter_ids - known)]
        read = Projection([*projection.columns, *helpers], coded=projection.coded) if helpers else projection
        self.statistics.passes += 1
        for (_, parts), chunks in zip(self._cells, self._chunks, strict=True):
            self.statistics.cells_read += 1
            found = self._probe(parts, read) if self._pruning.key is not None else self._visible(parts, chunks, read)
            for batch in found:
                self.statistics.rows_read += batch.num_rows
                if filter is not None:
                    batch = _filtered(batch, filter, read, projection)
                if batch.num_rows:
                    self.statistics.rows_returned += batch.num_rows
                    yield batch

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.RecordBatchReader.from_batches(self.schema, self.batches()).__arrow_c_stream__(requested_schema)

    def _visible(self, parts: Sequence[Part], chunks: list[Chunk], read: Projection) -> Iterator[pa.RecordBatch]:
        for part in parts:
            if not isinstance(part, Memtable):
                yield from part.batches(read, self._version)
        for chunk in chunks:
            if not self._pruning.keeps_times(chunk.time_low, chunk.time_high):
                self.statistics.chunks_pruned += 1
                continue
            count, rows = chunk.visible(self._version)
            if count:
                self.statistics.chunks_read += 1
                seen = count if rows is None else int(rows[-1]) + 1
                yield rows_of(chunk, read, count=seen, rows=rows)

    def _probe(self, parts: Sequence[Part], read: Projection) -> Iterator[pa.RecordBatch]:
        """The one row with the primary key that the filter asks for."""
        assert self._pruning.key is not None, "the filter gives a primary key"
        for part, row in visible_row(parts, self._layout.probe_one(self._pruning.key), version=self._version):
            self.statistics.chunks_read += 1
            for batch, _ in part.rows_at(read, np.array([row], np.int64)):
                yield batch


def _chunks(parts: Sequence[Part]) -> Iterator[Chunk]:
    for part in reversed(parts):
        if isinstance(part, Memtable):
            yield from part.chunks


def _filtered(batch: pa.RecordBatch, filter: Expression, read: Projection, projection: Projection) -> pa.RecordBatch:
    """The rows of ``batch``, whose columns are those of ``read``, that pass; with the columns of ``projection``."""
    from .expression.evaluate import Context, evaluate

    ids = [column.id for column in read.columns]
    batch = batch.filter(evaluate(filter, batch, column_ids=ids, context=Context(now=0, parameters=())))
    if read is projection:
        return batch
    wanted = batch.columns[: len(projection.columns)]
    return pa.RecordBatch.from_arrays(wanted, schema=projection.schema) if wanted else batch.select([])
