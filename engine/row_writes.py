"""Single rows as Python values: what a small transaction writes, from the call to the group's record.

    update(key, balance=5) ──► plain values? ──► RowWrites, a dict ──► the rows of a whole group as one batch

Arrow arrays, an index and a memtable for one row cost twenty times what the row does, and give up the interpreter's
lock a dozen times. So rows that are written one by one stay Python values (as ``get`` gives them) until the sequencer
turns those of a group into columns. Whatever needs columns before (a scan, SQL, a savepoint, many rows) has them laid
down into the transaction's stores (write_set.py) first.

Only *plain* values are taken (row_shape.py). All else, and all that may be refused, goes the way of batches, which
converts, checks and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ..base.limits import ROW_WRITES_BYTES_MAX, ROW_WRITES_MAX
from ..base.rows import array_of_values
from .layout import Layout
from .schema import Table


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row put, or deleted where ``row`` is None. ``key`` is the primary key, both in Python values."""

    key: tuple[Any, ...]
    row: Mapping[str, Any] | None


class RowWrites:
    """The rows that a transaction has written one by one to one table, by encoded primary key."""

    __slots__ = ("_layout", "_row_bytes", "bytes_used", "changes", "table")

    def __init__(self, table: Table, layout: Layout) -> None:
        self.table = table
        self.changes: dict[bytes, RowChange] = {}
        self.bytes_used = 0
        self._layout = layout
        self._row_bytes = layout.empty_row_bytes

    @staticmethod
    def suits(table: Table) -> bool:
        """Whether rows of the table can be taken one by one: not where expressions, the clock or rows refuse them."""
        return (
            bool(table.primary_key)
            and not table.checks
            and not table.guards
            and table.keep is None
            and not table.unique
        )

    @property
    def full(self) -> bool:
        """Whether columns would be the better place."""
        return len(self.changes) >= ROW_WRITES_MAX or self.bytes_used > ROW_WRITES_BYTES_MAX

    def encoded(self, key: Sequence[Any]) -> bytes:
        """The primary key in its encoding. Raises Invalid."""
        encoder = self._layout.encoder
        assert encoder is not None, f'"{self.table.name}" has a primary key'
        return encoder.encode_one(key)

    @property
    def slices(self) -> set[int]:
        """The slices of the rows."""
        if not self._layout.sliced:
            return {0}
        return {self._layout.route_one(change.key, encoded)[0] for encoded, change in self.changes.items()}

    def write(self, key: tuple[Any, ...], row: Mapping[str, Any] | None) -> None:
        """Put ``row``, or delete the one with ``key``."""
        self.changes[self.encoded(key)] = RowChange(key, row)
        self.bytes_used += self._row_bytes + (0 if row is None else self.table.shape.bytes_of(row))


def in_columns(table: Table, changes: Collection[RowChange]) -> tuple[pa.RecordBatch | None, pa.RecordBatch | None]:
    """The primary keys of the rows deleted, and the rows put, as batches; None where there are none."""
    rows = [change.row for change in changes if change.row is not None]
    keys = None
    if len(rows) < len(changes):
        keys = key_batch(table, [change.key for change in changes if change.row is None])
    if not rows:
        return keys, None
    return keys, columns_of(table, rows)


def columns_of(table: Table, rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """Whole rows of Python values, as ``get`` gives them, as a batch."""
    arrays = [array_of_values([row[column.name] for row in rows], column.type) for column in table.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=table.arrow_schema)


def key_batch(table: Table, keys: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
    """Primary keys of Python values as a batch."""
    columns = table.primary_key_columns
    arrays = [array_of_values([key[place] for key in keys], column.type) for place, column in enumerate(columns)]
    return pa.RecordBatch.from_arrays(arrays, schema=table.key_schema)
