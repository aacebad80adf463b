"""Columns of rows that were chosen before: read for these alone, text by its codes where all of it has some.

How many bytes that will be is asked of the rows themselves, so that it is known before there are any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from ...storage.column_values import array_of
from ..held import Held
from ..schema import Column
from .ranks import Stretch
from .work import Counting

_CODED: Final = pa.dictionary(pa.int32(), pa.string())
_CODE: Final = np.dtype(np.int32)


def late_rows(
    found: Sequence[tuple[Stretch, np.ndarray]], columns: Sequence[Column], names: Sequence[str], *, work: Counting
) -> pa.Table:
    """The columns, under ``names``, of rows (int64) of stretches, in their order. Counted as long as the table lives.

    Raises NoRoom, LimitExceeded, Corrupt.
    """
    coded = {column.id for column in columns if found and all(_is_coded(stretch, column) for stretch, _ in found)}
    schema = pa.schema(
        [
            column.field.with_name(name).with_type(_CODED if column.id in coded else column.field.type)
            for column, name in zip(columns, names, strict=True)
        ]
    )

    def size(one: tuple[Stretch, np.ndarray]) -> int:
        stretch, rows = one
        return sum(
            _CODE.itemsize * len(rows) if column.id in coded else stretch.bytes_of(column, rows) for column in columns
        )

    def batch(one: tuple[Stretch, np.ndarray]) -> pa.RecordBatch:
        stretch, rows = one
        arrays = [
            _codes(stretch, column, rows) if column.id in coded else stretch.taken(column, rows) for column in columns
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    counted = work.counted(sum(work.all(size, found)))
    table = pa.Table.from_batches(work.all(batch, found), schema)
    Held.until_freed(counted, table)
    return table


def _is_coded(stretch: Stretch, column: Column) -> bool:
    segment = stretch.segment
    if segment is None or not column.type.is_text or column.id not in segment.description.columns:
        return False
    return segment.reader.dictionary(column.id) is not None


def _codes(stretch: Stretch, column: Column, rows: np.ndarray) -> pa.Array:
    segment = stretch.segment
    assert segment is not None, "only segments have dictionaries"
    dictionary = segment.reader.dictionary(column.id)
    assert dictionary is not None, f"{column.name} reads as codes"
    codes = segment.reader.take_narrowed(column.id, rows, _CODE)
    mask = None if codes.valid is None else codes.valid == 0
    return pa.DictionaryArray.from_arrays(
        pa.array(codes.values, mask=mask), array_of(dictionary, column.type), safe=False
    )
