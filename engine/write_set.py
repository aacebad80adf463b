"""What an open transaction has written so far: a private overlay over its snapshot.

Per table the overlay is two small stores of the same kind that hold committed rows:

    rows      the rows that the transaction put, by primary key
    touched   the primary keys that it put or deleted; they hide the snapshot's rows

The overlay's "versions" are steps, one per statement, so a statement that reads while it writes sees its own
transaction up to its start, never itself. A table without primary key is touched by row id; rows of the transaction's
own have row ids from OWN_ROW_IDS on.

Deltas are applied to the overlay, so that the transaction reads them; what it commits for a row that has only deltas
is the amounts, so that they conflict with no other delta.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ..base.types import BIGINT
from .cells import TableStore
from .conflict import key_at, key_columns
from .delta import Delta, add_amounts, row_batch
from .expression.node import Expression
from .reader import RowStream
from .scan import Scan, ScanStatistics
from .schema import ROW_ID_NAME, Column, Table
from .sequencer import TableChanges
from .snapshot import Snapshot

OWN_ROW_IDS: Final = 1 << 62


class TableWrites:
    """One transaction's writes to one table. Batches are complete: all columns, checked.

    ``is_new``: the transaction created the table, so the snapshot has no rows of it.
    """

    def __init__(self, table: Table, *, is_new: bool) -> None:
        self.table = table
        self._truncated = False
        self._hides_base = is_new
        self._step = 1
        self._rows = TableStore(dataclasses.replace(table, shards=1, key=(), time=None, every=None))
        self._touched = TableStore(_keys_only(table))
        self._deltas: dict[tuple[Any, ...], Delta] = {}

    @property
    def rows_count(self) -> int:
        return self._rows.rows_count + self._touched.rows_count

    @property
    def is_empty(self) -> bool:
        return not self.rows_count and not self._truncated

    def put(self, rows: pa.RecordBatch) -> None:
        if self.table.primary_key:
            self._touch(key_columns(self.table, rows))
        self._rows.apply_put(rows, version=self._next_step())

    def delete(self, keys: pa.RecordBatch) -> None:
        """``keys``: primary keys, or row ids (with key and time columns) of a table without primary key."""
        if self.table.primary_key:
            self._touch(keys)
            self._rows.apply_delete(keys, version=self._next_step())
            return
        ids = keys.column(ROW_ID_NAME).to_numpy(zero_copy_only=False)
        own = ids >= OWN_ROW_IDS
        if own.any():
            own_ids = pa.RecordBatch.from_arrays([pa.array(ids[own] - OWN_ROW_IDS)], names=[ROW_ID_NAME])
            self._rows.apply_delete(own_ids, version=self._next_step())
        if not own.all():
            committed = keys.select(self._touched.table.arrow_schema.names).filter(pa.array(~own))
            self._touched.apply_put(committed, version=self._next_step())

    def add(self, delta: Delta, *, row: Mapping[str, Any]) -> None:
        """Add amounts to ``row``, the row as the transaction sees it (or the delta's default row).

        Where the transaction has hidden or written the committed row, there is nothing to commute with: it is a put.
        """
        known = self._deltas.get(delta.key)
        fresh = known is None and not self._hides_base and not self._touches(delta.key_batch)
        changed = row_batch(self.table, [add_amounts(self.table, row, delta.amounts)])
        self.put(changed)
        if known is not None:
            amounts = {name: known.amounts.get(name) for name in (*known.amounts, *delta.amounts)}
            delta = dataclasses.replace(delta, amounts=add_amounts(self.table, amounts, delta.amounts))
        if known is not None or fresh:
            self._deltas[delta.key] = delta

    def truncate(self) -> None:
        self._truncated = self._hides_base = True
        self._deltas.clear()
        self._rows.apply_truncate(version=self._next_step())
        self._touched.apply_truncate(version=self._next_step())

    def scan(
        self, base: Snapshot, *, columns: Sequence[int] | None, filter: Expression | None, row_ids: bool
    ) -> RowStream:
        """The snapshot's rows without those touched, then the transaction's own, as of now."""
        wanted = list(columns) if columns is not None else [column.id for column in self.table.columns]
        helpers = [id for id in self.table.primary_key if id not in wanted]
        own = self._rows.scan(version=self._step, columns=wanted, filter=filter, row_ids=row_ids)
        if self._hides_base:
            return OverlayScan(None, own, writes=self, step=self._step)
        below = base.scan(
            self.table, columns=[*wanted, *helpers], filter=filter, row_ids=row_ids or not self.table.primary_key
        )
        return OverlayScan(below, own, writes=self, step=self._step)

    def get(self, base: Snapshot, key: tuple[Any, ...], key_batch: pa.RecordBatch) -> dict[str, Any] | None:
        if self._hides_base or self._touches(key_batch):
            return self._rows.get(key, version=self._step)
        return base.get(self.table, key)

    def get_many(self, base: Snapshot, keys: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray]:
        own_rows, own_indices = self._rows.get_many(keys, version=self._step)
        if self._hides_base:
            return own_rows, own_indices
        touched = self.touched_at(keys, step=self._step)
        base_positions = np.flatnonzero(~touched)
        base_rows, base_indices = base.get_many(self.table, keys.take(pa.array(base_positions)))
        indices = np.concatenate([own_indices, base_positions[base_indices]])
        order = np.argsort(indices, kind="stable")
        rows = pa.Table.from_batches([own_rows, base_rows]).combine_chunks().to_batches()
        merged = rows[0] if rows else own_rows
        return merged.take(pa.array(order)), indices[order]

    def touched_at(self, keys: pa.RecordBatch, *, step: int) -> np.ndarray:
        """Which of ``keys`` (primary keys or row ids) were put or deleted up to ``step``: bool[n]."""
        if step == self._step:
            return self._touched.newest(keys).found
        touched = np.zeros(keys.num_rows, dtype=np.bool_)
        touched[self._touched.get_many(keys, version=step)[1]] = True
        return touched

    def changes(self) -> TableChanges:
        """What the transaction commits for this table."""
        puts: list[pa.RecordBatch] = []
        for batch in self._rows.scan(version=self._step, columns=None, filter=None).batches():
            rows = self._without_deltas(batch)
            if rows.num_rows:
                puts.append(rows)
        deletes = [keys for keys in self._deleted() if keys.num_rows]
        return TableChanges(
            table=self.table,
            puts=tuple(puts),
            deletes=tuple(deletes),
            deltas=tuple(self._deltas.values()),
            strict=True,
            truncate=self._truncated,
        )

    def _deleted(self) -> Iterator[pa.RecordBatch]:
        for keys in self._touched.scan(version=self._step, columns=None, filter=None).batches():
            if not self.table.primary_key:
                yield keys
                continue
            newest = self._rows.newest(keys)
            yield keys.filter(pa.array(~newest.alive))

    def _without_deltas(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        if not self._deltas:
            return rows
        keys = key_columns(self.table, rows)
        keep = [key_at(keys, row) not in self._deltas for row in range(rows.num_rows)]
        return rows.filter(pa.array(keep))

    def _touch(self, keys: pa.RecordBatch) -> None:
        if self._deltas:
            for row in range(keys.num_rows):
                self._deltas.pop(key_at(keys, row), None)
        self._touched.apply_put(keys, version=self._next_step())

    def _touches(self, key_batch: pa.RecordBatch) -> bool:
        return bool(self._touched.newest(key_batch).found[0])

    def _next_step(self) -> int:
        self._step += 1
        return self._step


class OverlayScan:
    """A snapshot's rows with a transaction's own writes laid over them. Repeatable, like any scan."""

    def __init__(self, below: Scan | None, own: Scan, *, writes: TableWrites, step: int) -> None:
        self._below = below
        self._own = own
        self._writes = writes
        self._step = step

    @property
    def schema(self) -> pa.Schema:
        return self._own.schema

    @property
    def rows_estimate(self) -> int:
        return self._own.rows_estimate + (0 if self._below is None else self._below.rows_estimate)

    @property
    def statistics(self) -> ScanStatistics:
        return self._own.statistics if self._below is None else self._below.statistics

    def batches(self) -> Iterator[pa.RecordBatch]:
        names = self.schema.names
        if self._below is not None:
            key = [column.name for column in self._writes.table.primary_key_columns] or [ROW_ID_NAME]
            for batch in self._below.batches():
                touched = self._writes.touched_at(batch.select(key), step=self._step)
                rows = batch.select(names)
                yield rows.filter(pa.array(~touched)) if touched.any() else rows
        shift = ROW_ID_NAME in names
        for batch in self._own.batches():
            yield _shifted(batch) if shift else batch

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        reader = pa.RecordBatchReader.from_batches(self.schema, self.batches())
        return reader.__arrow_c_stream__(requested_schema)


def _shifted(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Own row ids, moved out of the way of committed ones."""
    index = batch.schema.get_field_index(ROW_ID_NAME)
    ids = batch.column(index).to_numpy(zero_copy_only=False) + OWN_ROW_IDS
    return batch.set_column(index, batch.schema.field(index), pa.array(ids))


def _keys_only(table: Table) -> Table:
    """The table of primary keys (or row ids, with key and time columns), one cell."""
    if table.primary_key:
        columns = table.primary_key_columns
        return Table(id=table.id, name=table.name, columns=columns, primary_key=table.primary_key)
    next_id = max((column.id for column in table.columns), default=0) + 1
    routing = [column for column in table.columns if column.id in table.key or column.id == table.time]
    row_id = Column(id=next_id, name=ROW_ID_NAME, type=BIGINT, nullable=False)
    return Table(id=table.id, name=table.name, columns=(row_id, *routing), primary_key=(next_id,))
