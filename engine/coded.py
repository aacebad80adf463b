"""Text of few distinct values as codes: which columns of a scan have them, and those of a segment's rows.

Every batch of a stream brings its own dictionary: a chunk's (column_store.py), a segment's, or one made for rows that
were picked by key. All codes are int16, so that the batches are of one type.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from ..storage.column_values import VariableValues, array_of
from .column_store import CODES, VariableColumn
from .scan_plan import Plan
from .schema import Column
from .segment import Segment

CODED_ROWS_MIN: Final = 16_384
"""A scan that looks at fewer rows gives plain text: encoding it would cost more than it saves."""

CODES_MAX: Final = 1 << 15


def codable(plan: Plan, ids: set[int], *, version: int) -> frozenset[int]:
    """The text columns among ``ids`` that everything in the plan can give as codes."""
    for segment in {id(run.segment): run.segment for run in plan.runs}.values():
        ids = {id for id in ids if dictionary_of(segment, id) is not None}
    for chunk, rows in plan.chunks:
        if not ids:
            break
        if rows is None:
            count, rows = chunk.visible(version)
        else:
            count = len(rows)
        if not count:
            continue
        count = count if rows is None else int(rows.max()) + 1
        stores = {id: chunk.columns.get(id) for id in ids}
        ids = {
            id for id, store in stores.items() if isinstance(store, VariableColumn) and store.codes(count) is not None
        }
    return frozenset(ids)


def dictionary_of(segment: Segment, id: int) -> VariableValues | None:
    """The dictionary of a segment's column; None where it has none, or one with too many values."""
    if id not in segment.description.columns:
        return None
    dictionary = segment.reader.dictionary(id)
    return dictionary if dictionary is not None and len(dictionary.offsets) - 1 <= CODES_MAX else None


def codes_of(segment: Segment, column: Column, start: int, stop: int) -> pa.DictionaryArray:
    """The codes of rows ``start`` to ``stop``, with their dictionary."""
    dictionary = dictionary_of(segment, column.id)
    assert dictionary is not None, f"{column.name} reads as codes"
    values = segment.reader.codes(column.id, start, stop)
    codes = pa.array(values.values.astype(np.int16), mask=None if values.valid is None else values.valid == 0)
    return pa.DictionaryArray.from_arrays(codes, array_of(dictionary, column.type), safe=False)


assert CODES.index_type == pa.int16(), "codes of a segment are int16, as those of chunks"
