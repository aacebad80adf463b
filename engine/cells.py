"""TableStore: all cells of one table, as apply writes them and as readers see them.

    batch ──► encode keys, hash ──► group by cell ──► per cell: append to the memtable, upsert the index

``apply_put``, ``apply_delete`` and ``apply_truncate`` are total and deterministic: they never raise for data, and the
rows at every version depend on the calls alone. What could go wrong (too many slices) ``check_bounds`` says before.
One thread applies; any number read at versions that were published, without a lock (see memtable.py for why).

Batches of the public interface name columns by name, those of log records by identifier (``by_id=True``). A table
without primary key addresses rows by ``weft_row_id``, together with its key and time columns, which say in which cell
a row is.

What this does not know: catalog, log, transactions, conflicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ..base.errors import Internal, Invalid
from ..storage.column_values import FixedValues, Values, constant_array, values_of
from .cell import Cell, Cells
from .expression.node import Expression
from .kernels import index as kernels
from .layout import Layout
from .memtable import OPEN
from .scan import Projection, Scan, missing_value, rows_of
from .schema import ROW_ID, ROW_ID_NAME, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """The newest row version of each of n primary keys; where none was ever written, ``found`` is False.

    ``begin`` and ``end`` are versions (``end`` the largest int64 while the row lives), ``rows`` a locator that no other
    row version of the table has.
    """

    found: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    delta: np.ndarray
    rows: np.ndarray

    @property
    def alive(self) -> np.ndarray:
        """Which keys have a row now: bool[n]."""
        return self.found & (self.end == OPEN)


class TableStore:
    """Rows of one table under one definition; ``with_definition`` gives the same rows under another."""

    def __init__(self, table: Table, *, cells: Cells | None = None) -> None:
        self.table = table
        self._layout = Layout(table)
        self._cells = Cells() if cells is None else cells

    def with_definition(self, table: Table) -> TableStore:
        """The same rows, read and written by the columns of ``table``, whose keys and cells must be the same."""
        old = self.table
        same = (table.primary_key, table.key, table.time, table.every) == (
            old.primary_key,
            old.key,
            old.time,
            old.every,
        )
        if not same or table.shards != old.shards:
            raise Internal(f'the definition of "{table.name}" changed its keys or cells')
        return TableStore(table, cells=self._cells)

    # Writing: the sequencer's thread, in the order of the log.

    def apply_put(self, batch: pa.RecordBatch, *, version: int, delta: bool = False, by_id: bool = False) -> int:
        """Put full rows in order; each ends the newest row with its primary key. Returns how many rows it replaced.

        Columns that the batch lacks read as in rows that are older than they.
        """
        count = batch.num_rows
        values = self._layout.values(batch, by_id=by_id)
        values.pop(ROW_ID, None)  # Row ids are given here and nowhere else.
        self._complete(values, count=count)
        keys = self._layout.encode(values, count=count) if self.table.primary_key else None
        routes = self._layout.route(values, keys, count=count)
        if routes.order is not None:
            values = {id: column.take(routes.order) for id, column in values.items()}
            keys = None if keys is None else keys.take(routes.order)
        replaced = 0
        for group in routes.groups:
            memtable = self._cells.open(group.slice, group.shard).memtable
            bytes_before = memtable.bytes_used
            replaced += memtable.append(
                self._layout, values, keys, group.start, group.stop, version=version, delta=delta
            )
            self._cells.bytes_used += memtable.bytes_used - bytes_before
            self._cells.chunks_most = max(self._cells.chunks_most, len(memtable.chunks))
        self._cells.rows_count += count - replaced
        return replaced

    def apply_delete(self, keys: pa.RecordBatch, *, version: int, by_id: bool = False) -> int:
        """End the rows with these primary keys (or row ids) where they live. Returns how many ended."""
        ended = 0
        for _, cell, rows, _ in self._find(keys, by_id=by_id):
            found = rows[rows >= 0]
            if len(found):
                bytes_before = cell.memtable.bytes_used
                ended += cell.memtable.end(found.astype(np.uint32), version=version)
                self._cells.bytes_used += cell.memtable.bytes_used - bytes_before
        self._cells.rows_count -= ended
        return ended

    def apply_truncate(self, *, version: int) -> int:
        """End all rows. Returns how many ended."""
        ended = 0
        for cell in self._cells.all():
            bytes_before = cell.memtable.bytes_used
            ended += cell.memtable.end_all(version=version)
            self._cells.bytes_used += cell.memtable.bytes_used - bytes_before
        self._cells.rows_count -= ended
        return ended

    def check_bounds(self, batch: pa.RecordBatch, *, by_id: bool = False) -> None:
        """Raise LimitExceeded where putting the batch would open too many slices. Call it before the commit."""
        slices = {0}
        if self._layout.sliced and batch.num_rows:
            column = self._layout.time
            assert column is not None, "a sliced table has an event time"
            name = str(column.id) if by_id else column.name
            times = self._layout.times({column.id: values_of(batch.column(name), column.type)})
            low, high = (self._layout.slice_of(int(time)) for time in (times.min(), times.max()))
            slices = {low, high}
            if high - low > 1:
                slices = self._layout.slices(times)
        self._cells.check_slices(slices, table=self.table)

    @property
    def next_row_id(self) -> int:
        """The row id of the next row of a table without primary key."""
        return self._cells.next_row_id

    # Judging: what is newest, and what changed.

    def newest(self, keys: pa.RecordBatch) -> Newest:
        """The newest row version of each primary key (or row id), ended or not."""
        count = keys.num_rows
        newest = Newest(
            found=np.zeros(count, np.bool_),
            begin=np.zeros(count, np.int64),
            end=np.zeros(count, np.int64),
            delta=np.zeros(count, np.bool_),
            rows=np.full(count, kernels.MISSING, np.int64),
        )
        for positions, cell, rows, table in self._find(keys):
            begins, ends, deltas = newest.begin[positions], newest.end[positions], newest.delta[positions]
            kernels.describe(table, rows, begins, ends, deltas)
            found = rows >= 0
            newest.begin[positions], newest.end[positions], newest.delta[positions] = begins, ends, deltas
            newest.found[positions] = found
            newest.rows[positions] = np.where(found, (cell.number << 32) + rows, kernels.MISSING)
        return newest

    def changed_since(self, keys: pa.RecordBatch, version: int, *, ignore_deltas: bool) -> np.ndarray:
        """Which primary keys (or row ids) saw a put or delete after ``version``, or a delta unless ignored: bool[n]."""
        changed = np.zeros(keys.num_rows, np.bool_)
        for positions, _, rows, table in self._find(keys):
            result = np.zeros(len(rows), np.bool_)
            kernels.changed(table, rows, version, ignore_deltas, result)
            changed[positions] = result
        return changed

    # Reading at a version.

    def get(self, key: tuple[Any, ...], *, version: int) -> dict[str, Any] | None:
        """The row with this primary key as Python values by name, or None. Raises Invalid for a wrong type."""
        layout = self._layout
        assert layout.encoder is not None, f'"{self.table.name}" has a primary key'
        encoded = layout.encoder.encode_one(key)
        cell = self._cells.get(*layout.route_one(key, encoded))
        if cell is None:
            return None
        rows, table = cell.memtable.find(layout.encoder.keys_of_one(encoded))
        kernels.visible(table, version, rows)
        row = rows.item()
        if row < 0:
            return None
        chunk, offset = cell.memtable.chunks[row >> 16], row & 0xFFFF
        found: dict[str, Any] = {}
        for column in self.table.columns:
            store = chunk.columns.get(column.id)
            try:
                found[column.name] = missing_value(column) if store is None else store.value(offset)
            except OverflowError as error:
                raise Invalid(
                    f'the {column.type} in column "{column.name}" of row {key} is beyond the years that Python can say',
                    hint="Read it as Arrow: get_many, scan or a query.",
                    sqlstate="22008",
                ) from error
        return found

    def get_many(
        self, keys: pa.RecordBatch, *, version: int, columns: Sequence[int] | None = None
    ) -> tuple[pa.RecordBatch, np.ndarray]:
        """The rows with these primary keys (or row ids) in the order of the keys, and of each the index of its key."""
        projection = self._projection(columns, row_ids=False)
        batches: list[pa.RecordBatch] = []
        indices: list[np.ndarray] = []
        for positions, cell, rows, table in self._find(keys):
            kernels.visible(table, version, rows)
            chunks = np.where(rows >= 0, rows >> 16, -1)
            positions = np.arange(len(rows)) if isinstance(positions, slice) else positions
            for number in np.unique(chunks).tolist():
                if number >= 0:
                    asked = np.flatnonzero(chunks == number)
                    chunk = cell.memtable.chunks[number]
                    batches.append(rows_of(chunk, projection, count=chunk.count, rows=rows[asked] & 0xFFFF))
                    indices.append(positions[asked])
        if not batches:
            return pa.RecordBatch.from_pylist([], schema=projection.schema), _NO_INDICES
        found = np.concatenate(indices)
        rows_found = batches[0] if len(batches) == 1 else pa.concat_batches(batches)
        if bool(np.all(found[:-1] <= found[1:])):
            return rows_found, found
        order = np.argsort(found, kind="stable")
        return rows_found.take(pa.array(order)), found[order]

    def scan(
        self,
        *,
        version: int,
        columns: Sequence[int] | None = None,
        filter: Expression | None = None,
        row_ids: bool = False,
    ) -> Scan:
        """Rows visible at ``version`` where ``filter`` is true: ``columns`` in the order given, all unless told.

        ``row_ids`` appends ``weft_row_id`` of a table without primary key.
        """
        projection = self._projection(columns, row_ids=row_ids)
        return Scan(self._layout, self._cells, projection, version=version, filter=filter)

    @property
    def rows_count(self) -> int:
        """Rows that live now."""
        return self._cells.rows_count

    @property
    def bytes_used(self) -> int:
        """Memory that the rows, their versions and the index take, in bytes, roughly."""
        return self._cells.bytes_used

    @property
    def cells_count(self) -> int:
        return len(self._cells)

    def _find(
        self, keys: pa.RecordBatch, *, by_id: bool = False
    ) -> Iterator[tuple[slice | np.ndarray, Cell, np.ndarray, np.ndarray]]:
        """Per cell with any of the keys: their positions, the cell, the newest rows, the table that reaches them."""
        values = self._layout.values(keys, by_id=by_id)
        count = keys.num_rows
        encoded = self._layout.encode(values, count=count) if self.table.primary_key else None
        routes = self._layout.route(values, encoded, count=count)
        if encoded is not None and routes.order is not None:
            encoded = encoded.take(routes.order)
        for group in routes.groups:
            cell = self._cells.get(group.slice, group.shard)
            if cell is None:
                continue
            positions = routes.positions(group)
            if encoded is not None:
                yield positions, cell, *cell.memtable.find(encoded.slice(group.start, group.stop))
            else:
                ids = values[ROW_ID]
                assert isinstance(ids, FixedValues), f"{ROW_ID_NAME} is BIGINT"
                yield positions, cell, *cell.memtable.find_row_ids(ids.values[positions])

    def _complete(self, values: dict[int, Values], *, count: int) -> None:
        """Give values to the columns that a batch lacks, row ids above all."""
        if len(values) == len(self._layout.columns):
            return
        for column in self._layout.columns:
            if column.id == ROW_ID:
                first = self._cells.next_row_id
                self._cells.next_row_id = first + count
                values[ROW_ID] = FixedValues(np.arange(first, first + count, dtype=np.int64), None)
            elif column.id not in values:
                fill = constant_array(missing_value(column), count, column.type)
                values[column.id] = values_of(fill, column.type)

    def _projection(self, columns: Sequence[int] | None, *, row_ids: bool) -> Projection:
        ids = [column.id for column in self.table.columns] if columns is None else list(columns)
        if row_ids:
            if self.table.primary_key:
                raise Internal(f'"{self.table.name}" has a primary key, and so no {ROW_ID_NAME}')
            ids.append(ROW_ID)
        return Projection([self._layout.by_id[id] for id in ids])


_NO_INDICES = np.empty(0, np.int64)
