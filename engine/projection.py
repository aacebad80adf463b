"""Which columns a read gives, and rows of a memtable's chunk as a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ..storage.column_values import constant_array
from .column_store import CODES, VariableColumn
from .schema import Column

if TYPE_CHECKING:
    from .memtable import Chunk


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
