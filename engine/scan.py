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
from ..storage.column_values import constant_array
from .cell import Cell, Cells
from .column_store import CODES, VariableColumn
from .expression.node import Expression
from .kernels import index as kernels
from .layout import Layout
from .memtable import Chunk
from .prune import Pruning, column_ids, prune
from .schema import Column

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


class Projection:
    """Columns to read. In chunks that are older than a column, it reads as its ``missing`` value.

    Columns whose identifiers are in ``coded`` read as codes, see ``VariableColumn.codes``.
    """

    __slots__ = ("coded", "columns", "schema")

    def __init__(self, columns: Sequence[Column], *, coded: frozenset[int] = frozenset()) -> None:
        self.columns = tuple(columns)
        self.coded = coded
        self.schema = pa.schema(
            [column.field.with_type(CODES) if column.id in coded else column.field for column in columns]
        )


def rows_of(chunk: Chunk, projection: Projection, *, count: int, rows: np.ndarray | None) -> pa.RecordBatch:
    """The first ``count`` rows of a chunk, or those of ``rows``, all below ``count``."""
    wanted = count if rows is None else len(rows)
    arrays: list[pa.Array] = []
    for column in projection.columns:
        store = chunk.columns.get(column.id)
        if column.id in projection.coded:
            codes = store.codes(count) if isinstance(store, VariableColumn) else None
            assert codes is not None, f"{column.name} reads as codes"
            arrays.append(codes if rows is None else codes.take(pa.array(rows)))
        elif store is None:
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

    __slots__ = (
        "_cells", "_coded", "_filter", "_filter_ids", "_layout", "_projection", "_pruning", "_version", "statistics",
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
        for chunk in (chunk for _, chunks in self._cells for chunk in chunks):
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
        for cell, chunks in self._cells:
            self.statistics.cells_read += 1
            found = self._probe(cell) if self._pruning.key is not None else self._visible(chunks)
            for chunk, count, rows in found:
                self.statistics.chunks_read += 1
                self.statistics.rows_read += count if rows is None else len(rows)
                batch = rows_of(chunk, read, count=count, rows=rows)
                if filter is not None:
                    batch = _filtered(batch, filter, read, projection)
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


def _filtered(batch: pa.RecordBatch, filter: Expression, read: Projection, projection: Projection) -> pa.RecordBatch:
    """The rows of ``batch``, whose columns are those of ``read``, that pass; with the columns of ``projection``."""
    from .expression.evaluate import Context, evaluate

    ids = [column.id for column in read.columns]
    batch = batch.filter(evaluate(filter, batch, column_ids=ids, context=Context(now=0, parameters=())))
    if read is projection:
        return batch
    wanted = batch.columns[: len(projection.columns)]
    return pa.RecordBatch.from_arrays(wanted, schema=projection.schema) if wanted else batch.select([])
