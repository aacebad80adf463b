"""Which columns a read gives, and rows of a memtable's chunk as a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ..base.types import Kind, no_rows
from ..storage.column_values import DTYPES, PAIRS, constant_array
from .schema import Column

if TYPE_CHECKING:
    from .memtable import Chunk


class Projection:
    """Columns to read. In chunks that are older than a column, it reads as its ``missing`` value."""

    __slots__ = ("_fixed", "_nothing", "by_id", "columns", "schema")

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.by_id = {column.id: column for column in columns}
        self._fixed: FixedColumns | None = None
        self._nothing: pa.RecordBatch | None = None
        self.schema = pa.schema([column.field for column in columns])

    @property
    def fixed(self) -> FixedColumns:
        """Those columns that have a fixed width."""
        if self._fixed is None:
            self._fixed = FixedColumns([column for column in self.columns if not column.type.is_variable])
        return self._fixed

    @property
    def nothing(self) -> pa.RecordBatch:
        """A batch without rows."""
        if self._nothing is None:
            self._nothing = no_rows(self.schema)
        return self._nothing


class FixedColumns:
    """Columns of fixed width, as kernels that read several of them at once want to know them."""

    __slots__ = ("arrow", "columns", "dtypes", "ids", "pairs", "places", "sizes", "widths")

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.ids = [column.id for column in columns]
        self.dtypes = [DTYPES[column.type.kind] for column in columns]
        self.pairs = [column.type.kind in PAIRS for column in columns]
        self.places = np.array([column.id + 2 for column in columns], np.int64)
        self.widths = [16 if pair else dtype.itemsize for dtype, pair in zip(self.dtypes, self.pairs, strict=True)]
        self.sizes = np.array(self.widths, np.int64)
        self.arrow = [_plain_arrow(column) for column in columns]


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


def _plain_arrow(column: Column) -> pa.DataType | None:
    """The column's Arrow type where its arrays have the very bytes that kernels write."""
    arrow = column.type.arrow
    return None if column.type.kind is Kind.BOOLEAN or isinstance(arrow, pa.BaseExtensionType) else arrow


def missing_value(column: Column) -> object:
    """What a column reads as in rows that are older than it."""
    return None if column.missing is None else column.missing.value


def missing_bytes(column: Column) -> int:
    """How many bytes that has, of variable width."""
    return constant_array(missing_value(column), 1, column.type).nbytes
