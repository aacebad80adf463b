"""What a scan hands to the relational executor: its rows in the forms that cost least to make and to take.

    text of few distinct values    codes (int16) with their dictionary; every batch brings its own: a chunk's
                                   (column_store.py), a segment's, or one made for rows that were picked by key
    NUMERIC                        decimal32 or decimal64, as narrow as the zones of its blocks show it to be
    anything else                  as everywhere

The executor evaluates the filter itself, in parallel and on codes, so rows may be handed over for which it is not true.
What the filter saves here is reading the other columns: a segment's rows go through a sieve (sieve.py) and through the
keys that other scans of the statement offered (join_keys.py), and where few pass, the other columns are read for those
alone. Where most pass they are looked at less and less often.

Always true: all passes over one hand-over have one schema, and every row that is visible, for which the filter is true
and that has a partner in each join is in each of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from functools import partial
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ..base.types import Kind, Type
from ..storage.column_values import FixedValues, VariableValues, array_of, constant_array, fixed_of
from .column_store import CODES, FixedColumn, VariableColumn
from .expression.node import Expression
from .gather import batch_of, gathered
from .join_keys import Collected, Expected, Offer
from .layout import Layout
from .memtable import Chunk
from .projection import Projection, missing_value, rows_of
from .prune import column_ids
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
"""Where less than one row in so many passes, the other columns are read for those rows alone."""
SOME: Final = 2
"""Where less than one row in so many passes, those rows alone are handed over."""
AHEAD: Final = 2
"""Batches of a scan that are made before they are asked for."""
UNLOOKED_MAX: Final = 16
"""So many runs may go by unlooked at while most rows pass."""

_LEAST_DIGITS: Final = 5
"""DuckDB keeps fewer digits in 16 bits, of which Arrow has no decimals: it would copy every value."""

_CODE: Final = np.dtype(np.int16)
_NARROW: Final = (Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)


Made = tuple[pa.RecordBatch | None, int]
"""A batch, None for no rows; and how many were looked at."""

Piece = Callable[[], Made]
"""Makes one batch; others may be made meanwhile. Raises Corrupt."""


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
        filter: Expression | None,
        offers: dict[int, Offer],
        expected: Expected,
    ) -> None:
        self._plan = plan
        self._columns = tuple(columns)
        self._layout = layout
        self._version = version
        self._statistics = statistics
        self._filter = filter
        self._offers = offers
        self._expected = expected
        asked = {column.id: column for column in columns}
        for id in (*columns_of(test), *column_ids(filter)):
            asked[id] = layout.by_id[id]
        texts = {id for id, column in asked.items() if column.type.is_text}
        self._coded = codable(plan, texts, version=version)
        self._types = dict.fromkeys(self._coded, CODES)
        for id, column in asked.items():
            narrow = narrowest(plan, column) if column.type.kind is Kind.NUMERIC else None
            if narrow is not None:
                self._types[id] = narrow
        readable = frozenset(id for id, column in asked.items() if id in self._types or column.type.kind in _NARROW)
        self._sieve = Sieve(test, layout, filter=filter, readable=readable, coded=self._coded)
        self.schema = self._schema_of(self._columns)

    def batches(
        self, places: Sequence[int] | None = None, *, pool: Executor | None = None
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The rows, with the columns at ``places`` of the schema alone, and their schema. Reading raises Corrupt.

        ``pool`` makes some batches ahead, side by side.
        """
        columns = self._columns if places is None else [self._columns[place] for place in places]
        schema = self._schema_of(columns)
        return schema, self._batches(columns, schema, pool)

    def _schema_of(self, columns: Sequence[Column]) -> pa.Schema:
        return pa.schema([column.field.with_type(self._types.get(column.id, column.field.type)) for column in columns])

    def _batches(self, columns: Sequence[Column], schema: pa.Schema, pool: Executor | None) -> Iterator[pa.RecordBatch]:
        self._expected.begun = True
        tells = not self._sieve.is_open or self._sieve.reads_texts or bool(self._expected.keys)
        one = _Pass(columns=columns, schema=schema, collected=Collected(self._offers if tells else {}))
        # A chunk's columns are slices of what it has: to hand them to a thread costs more than to make them.
        chunks = (self._chunk(chunk, rows, one) for chunk, rows in self._plan.chunks)
        for batch, rows_read in chain(made(self._pieces(one), pool), chunks):
            self._statistics.rows_read += rows_read
            if batch is not None:
                self._statistics.rows_returned += batch.num_rows
                yield batch
        one.collected.publish()

    def _pieces(self, one: _Pass) -> Iterator[Piece]:
        """What is read from segments."""
        plan, statistics = self._plan, self._statistics
        if plan.picked.count:
            yield partial(self._picked, one)
        last = None
        for run in plan.runs:
            statistics.segments_read += run.segment is not last
            statistics.blocks_read += run.blocks_count
            last = run.segment
            yield partial(self._run, run, one)

    def _picked(self, one: _Pass) -> Made:
        picked = self._plan.picked
        for id in one.collected.columns:
            column = self._layout.by_id[id]
            values = fixed_of(gathered(picked, Projection([column])).column(0), column.type)
            one.collected.add(id, values, None)
        batch = gathered(picked, Projection(one.columns))
        arrays = [_changed(array, type) for array, type in zip(batch.columns, one.schema.types, strict=True)]
        return batch_of(arrays, one.schema, batch.num_rows), 0

    # Segments.

    def _run(self, run: Run, one: _Pass) -> Made:
        """The rows of a run that are visible and, if it is looked at, can pass."""
        segment, start, stop = run.segment, run.start, run.stop
        count = stop - start
        mask = segment.visible(self._version, start, stop)
        seen = None if mask is None else mask.view(np.bool_)
        rows_read = count if seen is None else int(np.count_nonzero(seen))
        known: dict[int, FixedValues] = {}

        def read(id: int) -> FixedValues:
            if id not in known:
                known[id] = self._fixed(segment, self._layout.by_id[id], start, stop)
            return known[id]

        few = False
        passing = seen
        keys = self._expected.keys
        wanted = one.collected.columns
        if wanted or ((keys or not self._sieve.is_open) and one.looks()):
            passing = self._sieve.mask(segment, read, count=count)
            if seen is not None:
                passing &= seen
            for id, set in keys:
                set.keep(read(id), passing)
            if wanted:  # who expects the keys has more rows: it pays to know exactly
                self._sieve.keep_texts(segment, start, stop, passing)
            passed = int(np.count_nonzero(passing))
            few = passed * FEW < count
            one.found(some=passed * SOME < count)
            if passed * SOME < count:
                seen = passing
        for id in wanted:
            one.collected.add(id, read(id), passing)
        rows = None if seen is None else np.flatnonzero(seen)
        if rows is not None and not len(rows):
            return None, rows_read
        arrays = [
            self._array(segment, column, start, stop, rows, known=known.get(column.id), few=few)
            for column in one.columns
        ]
        return batch_of(arrays, one.schema, count if rows is None else len(rows)), rows_read

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
            values = fixed_of(constant_array(missing_value(column), stop - start, column.type), column.type)
            return values if type is None else FixedValues(values.values[:, 0].astype(_dtype_of(type)), values.valid)
        if type is not None:
            return segment.reader.narrowed(column.id, start, stop, _dtype_of(type))
        values = segment.values(column, start, stop)
        assert isinstance(values, FixedValues), f"{column.name} is asked for its numbers"
        return values

    # Memtables.

    def _chunk(self, chunk: Chunk, rows: np.ndarray | None, one: _Pass) -> Made:
        """The visible rows of a chunk, or those of ``rows``."""
        if rows is None:
            count, rows = chunk.visible(self._version)
            if not count:
                return None, 0
        else:
            count = len(rows)
        self._statistics.chunks_read += 1
        rows_read, first = count, count if rows is None else int(rows.max()) + 1
        if one.collected.columns or self._expected.keys:
            rows = self._passing(chunk, first, rows, count)
            count = len(rows)
            if not count:
                return None, rows_read
            first = int(rows.max()) + 1
        for id in one.collected.columns:
            one.collected.add(id, _numbers(chunk, self._layout.by_id[id], first, rows), None)
        arrays: list[pa.Array] = []
        for column in one.columns:
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
                numbers = _numbers(chunk, column, first, rows)
                narrow = FixedValues(numbers.values[:, 0].astype(_dtype_of(type)), numbers.valid)
                arrays.append(_narrow_array(narrow, type, None, column.type))
        return batch_of(arrays, one.schema, count), rows_read

    def _passing(self, chunk: Chunk, first: int, rows: np.ndarray | None, count: int) -> np.ndarray:
        """Those of ``count`` rows of a chunk for which the filter is true and that have a partner in each join."""
        from .expression.evaluate import Context, evaluate_filter

        mask = np.ones(count, np.bool_)
        if self._filter is not None:
            tested = Projection([self._layout.by_id[id] for id in sorted(column_ids(self._filter))])
            ids = [column.id for column in tested.columns]
            batch = rows_of(chunk, tested, count=first, rows=rows)
            truth = evaluate_filter(self._filter, batch, column_ids=ids, context=Context(now=0, parameters=()))
            mask &= truth.to_numpy(zero_copy_only=False)
        for id, keys in self._expected.keys:
            keys.keep(_numbers(chunk, self._layout.by_id[id], first, rows), mask)
        chosen = np.flatnonzero(mask)
        return chosen if rows is None else rows[chosen]


class _Pass:
    """One reading: what of each row, what is collected, and whether looking at runs is worth it."""

    def __init__(self, *, columns: Sequence[Column], schema: pa.Schema, collected: Collected) -> None:
        self.columns = columns
        self.schema = schema
        self.collected = collected
        self._gap = self._left = 0

    def looks(self) -> bool:
        """Whether to look at the next run: the longer most rows pass, the less often."""
        self._left -= 1
        if self._left >= 0:
            return False
        self._left = self._gap
        return True

    def found(self, *, some: bool) -> None:
        """What looking at a run found: whether it leaves rows out. Runs are looked at side by side, in any order."""
        self._gap = self._left = 0 if some else min(2 * self._gap + 1, UNLOOKED_MAX)


def made(pieces: Iterator[Piece], pool: Executor | None) -> Iterator[Made]:
    """What pieces make, in their order; with a pool some ahead, but none before the first was asked for."""
    if pool is None:
        for piece in pieces:
            yield piece()
        return
    ahead: deque[Future[Made]] = deque()
    try:
        for piece in pieces:
            ahead.append(pool.submit(piece))
            if len(ahead) > AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        for future in ahead:
            future.cancel()
        wait(ahead)  # what is being read must not go away meanwhile


def _numbers(chunk: Chunk, column: Column, first: int, rows: np.ndarray | None) -> FixedValues:
    """The first values of a column of fixed width in a chunk, or those of ``rows``."""
    store = chunk.columns.get(column.id)
    if store is None:
        count = first if rows is None else len(rows)
        return fixed_of(constant_array(missing_value(column), count, column.type), column.type)
    assert isinstance(store, FixedColumn), f"{column.name} is asked for its numbers"
    values, valid = store.values[:first], None if store.valid is None else store.valid[:first]
    if rows is None:
        return FixedValues(values, valid)
    return FixedValues(values[rows], None if valid is None else valid[rows])


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
