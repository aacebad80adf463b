"""What a scan hands to the relational executor: its rows in the forms that cost least to make and to take.

    text of few distinct values    codes (int16) with their dictionary; every batch brings its own: a chunk's
                                   (column_store.py), a segment's, or one made for rows that were picked by key
    NUMERIC                        decimal32 or decimal64, as narrow as the zones of its blocks show it to be
    anything else                  as everywhere

The executor evaluates the filter itself, in parallel and on codes, so rows may be handed over for which it is not true.
What the filter saves here is reading the other columns: a segment's rows go through a sieve (sieve.py), and where few
pass, the other columns are read for those alone. Where most pass it is looked at less and less often.

Always true: all passes over one hand-over have one schema, and every row that is visible and for which the filter is
true is in each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ..base.types import Kind, Type
from ..storage.column_values import FixedValues, VariableValues, array_of, constant_array, values_of
from .column_store import CODES, VariableColumn
from .gather import batch_of, gathered
from .layout import Layout
from .memtable import Chunk
from .projection import Projection, missing_value
from .scan_plan import Plan, Run
from .scan_statistics import ScanStatistics
from .schema import Column
from .segment import Segment
from .sieve import Sieve
from .zones import ZoneTest, columns_of

HANDED_ROWS_MIN: Final = 16_384
"""A scan that looks at fewer rows hands over what it reads: changing it would cost more than it saves."""

CODES_MAX: Final = 1 << 15
FEW: Final = 8
"""Where less than one row in so many passes the sieve, the other columns are read for those rows alone."""
UNLOOKED_MAX: Final = 16
"""So many runs may go by unlooked at while most rows pass."""

_LEAST_DIGITS: Final = 5
"""DuckDB keeps fewer digits in 16 bits, of which Arrow has no decimals: it would copy every value."""

_CODE: Final = np.dtype(np.int16)
_NARROW: Final = (Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)


class Handover:
    """``batches`` starts anew at each call. Making one raises Corrupt."""

    def __init__(
        self,
        plan: Plan,
        columns: Sequence[Column],
        *,
        layout: Layout,
        test: ZoneTest | None,
        version: int,
        statistics: ScanStatistics,
    ) -> None:
        self._plan = plan
        self._columns = tuple(columns)
        self._layout = layout
        self._version = version
        self._statistics = statistics
        asked = {column.id: column for column in columns}
        if test is not None:
            asked |= {id: layout.by_id[id] for id in columns_of(test)}
        texts = {id for id, column in asked.items() if column.type.kind is Kind.TEXT}
        self._coded = codable(plan, texts, version=version)
        self._types = dict.fromkeys(self._coded, CODES)
        for id, column in asked.items():
            narrow = narrowest(plan, column) if column.type.kind is Kind.NUMERIC else None
            if narrow is not None:
                self._types[id] = narrow
        readable = frozenset(id for id, column in asked.items() if id in self._types or column.type.kind in _NARROW)
        self._sieve = Sieve(test, layout, readable=readable, coded=self._coded)
        self.schema = self._schema_of(self._columns)

    def batches(self, places: Sequence[int] | None = None) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The rows, with the columns at ``places`` of the schema alone, and their schema. Reading raises Corrupt."""
        columns = self._columns if places is None else [self._columns[place] for place in places]
        schema = self._schema_of(columns)
        return schema, self._batches(columns, schema)

    def _schema_of(self, columns: Sequence[Column]) -> pa.Schema:
        return pa.schema([column.field.with_type(self._types.get(column.id, column.field.type)) for column in columns])

    def _batches(self, columns: Sequence[Column], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        plan, statistics = self._plan, self._statistics
        if plan.picked.count:
            picked = gathered(plan.picked, Projection(columns))
            arrays = [_changed(array, type) for array, type in zip(picked.columns, schema.types, strict=True)]
            statistics.rows_returned += picked.num_rows
            yield batch_of(arrays, schema, picked.num_rows)
        unlooked = left = 0
        last = None
        for run in plan.runs:
            statistics.segments_read += run.segment is not last
            statistics.blocks_read += run.blocks_count
            last = run.segment
            looks = not self._sieve.is_open and not left
            batch, few = self._run(run, columns, schema, looks=looks)
            if looks:
                unlooked = 0 if few else min(2 * unlooked + 1, UNLOOKED_MAX)
                left = unlooked
            else:
                left = max(left - 1, 0)
            if batch is not None:
                statistics.rows_returned += batch.num_rows
                yield batch
        for chunk, rows in plan.chunks:
            batch = self._chunk(chunk, rows, columns, schema)
            if batch is not None:
                statistics.rows_returned += batch.num_rows
                yield batch

    # Segments.

    def _run(
        self, run: Run, columns: Sequence[Column], schema: pa.Schema, *, looks: bool
    ) -> tuple[pa.RecordBatch | None, bool]:
        """The rows of a run that are visible and, if it is looked at, can pass; and whether they are few."""
        segment, start, stop = run.segment, run.start, run.stop
        count = stop - start
        mask = segment.visible(self._version, start, stop)
        seen = None if mask is None else mask.view(np.bool_)
        self._statistics.rows_read += count if seen is None else int(np.count_nonzero(seen))
        known: dict[int, FixedValues] = {}
        few = False
        if looks:

            def read(id: int) -> FixedValues:
                if id not in known:
                    known[id] = self._fixed(segment, self._layout.by_id[id], start, stop)
                return known[id]

            passing = self._sieve.mask(segment, read)
            if seen is not None:
                passing &= seen
            passed = int(np.count_nonzero(passing))
            few = passed * FEW < count
            if few:
                seen = passing
        rows = None if seen is None else np.flatnonzero(seen)
        if rows is not None and not len(rows):
            return None, few
        arrays = [
            self._array(segment, column, start, stop, rows, known=known.get(column.id), few=few) for column in columns
        ]
        return batch_of(arrays, schema, count if rows is None else len(rows)), few

    def _array(
        self,
        segment: Segment,
        column: Column,
        start: int,
        stop: int,
        rows: np.ndarray | None,
        *,
        known: FixedValues | None,
        few: bool,
    ) -> pa.Array:
        """A column in rows ``start`` to ``stop``, or in those of them whose offsets are ``rows``."""
        type = self._types.get(column.id)
        if column.id not in segment.description.columns:
            array = constant_array(missing_value(column), stop - start if rows is None else len(rows), column.type)
            return array if type is None else _changed(array, type)
        if rows is not None and few and known is None:
            at = rows + start
            if type is None:
                return segment.taken(column, at)
            known = segment.reader.take_narrowed(column.id, at, _dtype_of(type))
        elif type is None:
            values = segment.values(column, start, stop) if known is None else known
            return array_of(values if rows is None else values.take(rows), column.type)
        else:
            known = self._fixed(segment, column, start, stop) if known is None else known
            known = known if rows is None else known.take(rows)
        return _narrow_array(known, type, segment.reader.dictionary(column.id) if type == CODES else None, column.type)

    def _fixed(self, segment: Segment, column: Column, start: int, stop: int) -> FixedValues:
        """The numbers or codes of a column."""
        type = self._types.get(column.id)
        if column.id not in segment.description.columns:
            values = values_of(constant_array(missing_value(column), stop - start, column.type), column.type)
            assert isinstance(values, FixedValues), "text that has codes is in every segment"
            return values if type is None else FixedValues(values.values[:, 0].astype(_dtype_of(type)), values.valid)
        if type is not None:
            return segment.reader.narrowed(column.id, start, stop, _dtype_of(type))
        values = segment.values(column, start, stop)
        assert isinstance(values, FixedValues), f"{column.name} is asked for its numbers"
        return values

    # Memtables.

    def _chunk(
        self, chunk: Chunk, rows: np.ndarray | None, columns: Sequence[Column], schema: pa.Schema
    ) -> pa.RecordBatch | None:
        """The visible rows of a chunk, or those of ``rows``."""
        if rows is None:
            count, rows = chunk.visible(self._version)
            if not count:
                return None
        else:
            count = len(rows)
        self._statistics.chunks_read += 1
        self._statistics.rows_read += count
        first = count if rows is None else int(rows.max()) + 1
        arrays: list[pa.Array] = []
        for column in columns:
            store, type = chunk.columns.get(column.id), self._types.get(column.id)
            if store is None:
                array = constant_array(missing_value(column), count, column.type)
                arrays.append(array if type is None else _changed(array, type))
            elif type is None:
                arrays.append(store.array(first, rows))
            elif isinstance(store, VariableColumn):
                codes = store.codes(first)
                assert codes is not None, f"{column.name} reads as codes"
                arrays.append(codes if rows is None else codes.take(pa.array(rows)))
            else:
                values, valid = store.values[:first, 0], store.valid
                valid = None if valid is None else valid[:first]
                if rows is not None:
                    values, valid = values[rows], None if valid is None else valid[rows]
                arrays.append(
                    _narrow_array(FixedValues(values.astype(_dtype_of(type)), valid), type, None, column.type)
                )
        return batch_of(arrays, schema, count)


def codable(plan: Plan, ids: set[int], *, version: int) -> frozenset[int]:
    """The text columns among ``ids`` that everything in the plan can give as codes."""
    for segment in {id(run.segment): run.segment for run in plan.runs}.values():
        ids = {id for id in ids if _dictionary_of(segment, id) is not None}
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


def narrowest(plan: Plan, column: Column) -> pa.DataType | None:
    """The narrowest Arrow type for a NUMERIC column's values in everything of the plan; None if 128 bits it must be.

    What lies in memtables has no zones, and counts as wide as the column is declared.
    """
    declared, scale = column.type.precision or 0, column.type.scale or 0
    digits = 1
    if plan.chunks or plan.picked.count:
        digits = declared
    for segment in {id(run.segment): run.segment for run in plan.runs}.values():
        if column.id not in segment.description.columns:
            digits = declared
            continue
        entries = segment.reader.directory(column.id)
        entries = entries[entries["nulls"] < entries["rows"]]
        if len(entries):
            digits = max(digits, *(len(str(abs(int(n)))) for n in (entries["low"].min(), entries["high"].max())))
    digits = max(min(max(digits, scale), declared), _LEAST_DIGITS)
    if digits > 18:
        return None
    return pa.decimal32(digits, scale) if digits <= 9 else pa.decimal64(digits, scale)


def _dictionary_of(segment: Segment, id: int) -> VariableValues | None:
    """The dictionary of a segment's column; None where it has none, or one with too many values."""
    if id not in segment.description.columns:
        return None
    dictionary = segment.reader.dictionary(id)
    return dictionary if dictionary is not None and len(dictionary.offsets) - 1 <= CODES_MAX else None


def _dtype_of(type: pa.DataType) -> np.dtype:
    return _CODE if type == CODES else np.dtype(f"i{type.bit_width // 8}")


def _narrow_array(values: FixedValues, type: pa.DataType, dictionary: VariableValues | None, text: Type) -> pa.Array:
    """An Arrow array over numbers or codes, without a copy."""
    valid = None if values.valid is None else pa.py_buffer(np.packbits(values.valid, bitorder="little"))
    index = CODES.index_type if dictionary is not None else type
    numbers = pa.Array.from_buffers(index, len(values.values), [valid, pa.py_buffer(values.values)])
    if dictionary is None:
        return numbers
    return pa.DictionaryArray.from_arrays(numbers, array_of(dictionary, text), safe=False)


def _changed(array: pa.Array, type: pa.DataType) -> pa.Array:
    """An array of few rows in the form in which all are handed over."""
    if array.type == type:
        return array
    if type != CODES:
        return array.cast(type)
    encoded: Any = array.dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices.cast(CODES.index_type), encoded.dictionary)


assert CODES.index_type == pa.int16(), "codes of a segment are int16, as those of chunks"
