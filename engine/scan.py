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

import numpy as np
import pyarrow as pa

from .cell import Cell, Cells
from .column_values import constant_array
from .expression.node import Expression
from .kernels import index as kernels
from .layout import Layout
from .memtable import Chunk
from .prune import Pruning, column_ids, prune
from .schema import Column


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


class Projection:
    """Columns to read. In chunks that are older than a column, it reads as its ``missing`` value."""

    __slots__ = ("columns", "schema")

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.schema = pa.schema([column.field for column in columns])


def rows_of(chunk: Chunk, projection: Projection, *, count: int, rows: np.ndarray | None) -> pa.RecordBatch:
    """The first ``count`` rows of a chunk, or those of ``rows``, all below ``count``."""
    wanted = count if rows is None else len(rows)
    arrays: list[pa.Array] = []
    for column in projection.columns:
        store = chunk.columns.get(column.id)
        if store is None:
            arrays.append(constant_array(missing_value(column), wanted, column.type))
        else:
            arrays.append(store.array(count, rows))
    if not arrays:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * wanted, pa.struct([])))
    return pa.RecordBatch.from_arrays(arrays, schema=projection.schema)


def missing_value(column: Column) -> object:
    """What a column reads as in rows that are older than it."""
    return None if column.missing is None else column.missing.value


class Scan:
    """Repeatable: ``batches`` and ``__arrow_c_stream__`` start anew at each call."""

    __slots__ = ("_cells", "_filter", "_layout", "_projection", "_pruning", "_read", "_version", "statistics")

    def __init__(
        self, layout: Layout, cells: Cells, projection: Projection, *, version: int, filter: Expression | None
    ) -> None:
        self._layout = layout
        self._projection = projection
        self._version = version
        self._filter = filter
        self._pruning: Pruning = prune(filter, layout)
        known = {column.id for column in projection.columns}
        helpers = [layout.by_id[id] for id in sorted(column_ids(filter) - known)]
        self._read = Projection([*projection.columns, *helpers]) if helpers else projection
        every = cells.all()
        kept = [cell for cell in every if self._pruning.keeps_cell(cell.slice, cell.shard)]
        self._cells = [(cell, list(cell.memtable.chunks)) for cell in kept]
        self.statistics = ScanStatistics(cells_total=len(every), cells_pruned=len(every) - len(kept))

    @property
    def schema(self) -> pa.Schema:
        return self._projection.schema

    @property
    def rows_estimate(self) -> int:
        """Rows that the scan will look at; an upper bound of those it returns."""
        if self._pruning.key is not None:
            return 1
        return sum(chunk.count for _, chunks in self._cells for chunk in chunks)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, one batch a chunk that has any."""
        self.statistics.passes += 1
        for cell, chunks in self._cells:
            self.statistics.cells_read += 1
            found = self._probe(cell) if self._pruning.key is not None else self._visible(chunks)
            for chunk, count, rows in found:
                self.statistics.chunks_read += 1
                self.statistics.rows_read += count if rows is None else len(rows)
                batch = self._filtered(rows_of(chunk, self._read, count=count, rows=rows))
                if batch.num_rows:
                    self.statistics.rows_returned += batch.num_rows
                    yield batch

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.RecordBatchReader.from_batches(self.schema, self.batches()).__arrow_c_stream__(requested_schema)

    def _visible(self, chunks: list[Chunk]) -> Iterator[tuple[Chunk, int, np.ndarray | None]]:
        for chunk in chunks:
            if not self._pruning.keeps_times(chunk.time_low, chunk.time_high):
                self.statistics.chunks_pruned += 1
                continue
            count, rows = chunk.visible(self._version)
            if count:
                yield chunk, count if rows is None else int(rows[-1]) + 1, rows

    def _probe(self, cell: Cell) -> Iterator[tuple[Chunk, int, np.ndarray | None]]:
        """The one row with the primary key that the filter asks for."""
        encoder = self._layout.encoder
        assert encoder is not None, "the filter gives a primary key"
        assert self._pruning.key is not None, "the filter gives a primary key"
        rows, table = cell.memtable.find(encoder.keys_of_one(self._pruning.key))
        kernels.visible(table, self._version, rows)
        row = rows.item()
        if row >= 0:
            offset = row & 0xFFFF
            yield cell.memtable.chunks[row >> 16], offset + 1, np.array([offset], np.int64)

    def _filtered(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self._filter is not None:
            from .expression.evaluate import Context, evaluate

            ids = [column.id for column in self._read.columns]
            context = Context(now=0, parameters=())
            batch = batch.filter(evaluate(self._filter, batch, column_ids=ids, context=context))
        if self._read is self._projection:
            return batch
        wanted = batch.columns[: len(self._projection.columns)]
        return pa.RecordBatch.from_arrays(wanted, schema=self.schema) if wanted else batch.select([])
