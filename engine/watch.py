"""Which rows others commit to a table while a large transaction is open.

    state.watches ── a watch per large transaction and table ◄── apply notes the primary keys of each operation
                       └─► the transaction takes them, and compares them with what it wrote

A large transaction cannot be compared with the table row by row while others wait for the commit lock. So it asks the
other way round: a few committed keys against its own rows, most of them before it takes the lock, the last ones under
it. What a watch notes is a superset of what changed (a delete may have found no row): the cells say exactly.

``take`` gives None instead of keys where that would not do: too many rows, TRUNCATE, another large transaction. Then
all that the transaction wrote is compared with the cells.
"""

from __future__ import annotations

import threading
from typing import Final

import numpy as np
import pyarrow as pa

from ..storage.record import Action, Operation
from .schema import ROW_ID, ROW_ID_NAME, Table

WATCHED_ROWS_MAX: Final = 1_000_000
"""Keys that one watch keeps; 16 MB for two columns of eight bytes."""


class Watch:
    """Keys of one table, noted by the sequencer's thread and taken by another."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._lock = threading.Lock()
        self._columns = {str(id): ROW_ID_NAME if id == ROW_ID else table.by_id[id].name for id in _key_ids(table)}
        self._noted: list[pa.RecordBatch] = []
        self._rows_count = 0
        self._lost = False

    def note(self, operation: Operation) -> None:
        """Note what an operation touches. Total: it never raises for data."""
        if operation.action not in (Action.PUT, Action.DELETE):
            self._give_up()
            return
        if not self.table.primary_key and operation.action is Action.PUT:
            return  # a new row of a table without primary key is nobody else's
        batch = operation.batch
        if any(name not in batch.schema.names for name in self._columns):
            self._give_up()
            return
        # A copy: the columns of a batch may share one buffer with all the others.
        keys = batch.select(list(self._columns)).take(pa.array(np.arange(batch.num_rows)))
        keys = keys.rename_columns(list(self._columns.values()))
        with self._lock:
            if not self._lost:
                self._noted.append(keys)
                self._rows_count += keys.num_rows
            if self._rows_count <= WATCHED_ROWS_MAX:
                return
        self._give_up()

    def take(self) -> list[pa.RecordBatch] | None:
        """What was noted since the last call, as batches of primary keys (or row ids, with key and time columns).

        None: look at everything.
        """
        with self._lock:
            noted, self._noted = self._noted, []
            lost, self._lost = self._lost, False
            self._rows_count = 0
        return None if lost else noted

    def _give_up(self) -> None:
        with self._lock:
            self._noted.clear()
            self._rows_count = 0
            self._lost = True


def _key_ids(table: Table) -> tuple[int, ...]:
    """What tells which row is meant, and in which cell it is."""
    if table.primary_key:
        return table.primary_key
    return tuple(dict.fromkeys((ROW_ID, *table.key, *(() if table.time is None else (table.time,)))))
