"""Merging: several segments of one cell become one.

    plan     the inputs' sort keys are encoded some thousands at a time, and those sorted that come before all that are
             still to be read: sorting costs the same however many inputs there are. A byte or two per row say which
             input the next row is from, and whether it is dropped. Of equal keys the newer input's rows come first
    index    sample keys and filters, from the same keys
    columns  one after another, some blocks at a time: each input's part is decoded, put together by the plan, encoded

Begin versions up to ``normalize_before`` become 0: nobody can tell them apart, and constants take no place. A column
that is younger than an input has its ``missing`` value there; one that was dropped is left out. Text keeps its
dictionary, or gets one, where the merged segment's one is small enough: what the inputs have is merged, and what has
none is looked through first.

In memory: a byte a row for the plan, 1.25 each for the filters, some blocks of each input; at the end four bytes per
row of the inputs, for the mappings. Inputs are read from front to back, once for the plan and once per column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute

from ..base.types import BIGINT, BOOLEAN, BYTEA, Type
from ..storage.column_values import (
    DTYPES,
    PAIRS,
    FixedValues,
    Values,
    VariableValues,
    constant_array,
    values_of,
    variable_array,
)
from ..storage.encoding import DICTIONARY_BYTES_MAX, DICTIONARY_VALUES_MAX
from ..storage.segment import BLOCK_ROWS, SegmentReader, SegmentWriter, block_rows_for
from .kernels import merging
from .key_encoding import Keys
from .layout import Layout
from .projection import missing_value
from .schema import Column
from .seal import COLUMN_BYTES_MAX, PIECE_BYTES_MAX, PIECE_ROWS, Pause, Spans, go_on, paced, piece_rows
from .segment import BEGIN, DELTA
from .sort_rows import address_of, addresses_of, sort_rows
from .sorted_keys import KeyTrail

compute: Any = pyarrow.compute

INPUTS_MAX: Final = 1 << 15
"""Two bytes of the plan name the input in fifteen bits; a byte is enough for 128."""

KEY_ROWS: Final = 128 * 1024
"""Rows whose keys are sorted at once, of all inputs together: they stay in the cache."""

KEY_ROWS_MIN: Final = 8 * 1024
KEY_ROWS_MAX: Final = 64 * 1024
"""Of one input; a row is named by 16 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A segment to merge. ``drop`` (uint8 or bool) says which rows are left out; ``begin`` is the one begin version of
    all its rows where its column of them does not count (prepared by a large transaction).
    """

    reader: SegmentReader
    drop: np.ndarray | None = None
    begin: int | None = None

    @property
    def rows_kept(self) -> int:
        return self.reader.rows_count - (0 if self.drop is None else int(np.count_nonzero(self.drop)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """``mappings``, per input int32: from its row to that of the merged segment, -1 where dropped.

    Ranges are those of the rows kept, as in ``Sealed``; begin versions as they were written.
    """

    rows_count: int
    mappings: list[np.ndarray]
    time_low: int
    time_high: int
    version_low: int
    version_high: int


def merge(
    writer: SegmentWriter,
    layout: Layout,
    inputs: Sequence[Input],
    *,
    normalize_before: int,
    pause: Pause | None = None,
) -> Merged:
    """Write the rows of ``inputs``, newest first, as one segment; the caller finishes the writer.

    At least one row is kept. All versions of a key in one input began later than those in the inputs after it.
    """
    assert 0 < len(inputs) <= INPUTS_MAX, f"{len(inputs)} inputs"
    pause = pause or go_on
    count = sum(input.rows_kept for input in inputs)
    assert count, "a segment has rows"
    trail = KeyTrail(layout, rows_count=count, block_rows=writer.block_rows)
    plan = _Plan(layout, inputs, trail, block_rows=writer.block_rows, pause=pause)
    assert plan.kept == count, f"{plan.kept} rows, not {count}"
    spans = Spans()
    for column in layout.columns:
        _write(writer, plan, column, spans, pause)
    writer.column(BEGIN, BIGINT, paced(spans.versions(_begins(plan, normalize_before)), pause))
    writer.column(DELTA, BOOLEAN, paced(_deltas(plan), pause))
    words, offsets = trail.samples()
    writer.index(sample_words=words, sample_offsets=offsets, key_filter=trail.key_filter(), pk_filter=trail.pk_filter())
    return Merged(
        rows_count=count,
        mappings=plan.mappings(),
        time_low=spans.time_low,
        time_high=spans.time_high,
        version_low=spans.version_low,
        version_high=spans.version_high,
    )


def block_rows_of(layout: Layout, inputs: Sequence[Input]) -> int:
    """Rows of a block of the merged segment: as many as the inputs have, fewer where values are so long that a block
    might not be read as one array.
    """
    rows = min(input.reader.block_rows for input in inputs)
    for column in layout.columns:
        # Rows of one block come from at most two neighbouring blocks of each input.
        total = sum(2 * _block_bytes(input, column) for input in inputs) if column.type.is_variable else 0
        if block_rows_for(longest=total, total=total) < BLOCK_ROWS:
            longest = max(_longest(input, column) for input in inputs)
            rows = min(rows, block_rows_for(longest=longest, total=total))
    return rows


def _longest(input: Input, column: Column) -> int:
    """Bytes of the longest value of a variable column; reads all of them."""
    longest, count = 0, input.reader.rows_count
    for start in range(0, count, input.reader.block_rows):
        values = _values(input, column, start=start, stop=min(start + input.reader.block_rows, count))
        assert isinstance(values, VariableValues), f"{column.type} has no fixed width"
        longest = max(longest, int(np.diff(values.offsets).max()))
    return longest


class _Piece:
    """Kept rows of the plan, some whole blocks: ``plan[start:stop]``, rows ``lows[i]`` to ``highs[i]`` of input i."""

    __slots__ = ("count", "highs", "lows", "marks", "start", "stop")

    def __init__(
        self, marks: np.ndarray, start: int, stop: int, lows: list[int], highs: list[int], *, count: int
    ) -> None:
        self.marks = marks
        self.start = start
        self.stop = stop
        self.lows = lows
        self.highs = highs
        self.count = count

    def put_together(self, parts: Sequence[Values | None], type: Type) -> Values:
        """One column's values, from those of each input (None where it has no row here)."""
        valid = self._valid(parts)
        if type.is_variable:
            offsets = addresses_of([part.offsets if isinstance(part, VariableValues) else None for part in parts])
            heaps = addresses_of([part.data if isinstance(part, VariableValues) else None for part in parts])
            ends = np.empty(self.count + 1, np.int64)
            merging.merge_lengths(self.marks, self.start, self.stop, offsets, ends)
            assert ends[-1] <= COLUMN_BYTES_MAX, f"{ends[-1]} bytes in {self.count} values: see block_rows_of"
            data = np.empty(int(ends[-1]), np.uint8)
            merging.merge_bytes(self.marks, self.start, self.stop, offsets, heaps, address_of(data))
            return VariableValues(ends.astype(np.int32), data, valid)
        pair = type.kind in PAIRS
        values = np.empty((self.count, 2) if pair else self.count, DTYPES[type.kind])
        addresses = addresses_of([part.values if isinstance(part, FixedValues) else None for part in parts])
        size = 16 if pair else values.itemsize
        merging.merge_fixed(self.marks, self.start, self.stop, addresses, size, address_of(values))
        return FixedValues(values, valid)

    def put_codes_together(self, parts: Sequence[FixedValues | None], ranks: Sequence[np.ndarray | None]) -> Values:
        """The codes of one column; ``ranks`` says what each input's become."""
        codes = np.empty(self.count, np.int32)
        addresses = addresses_of([None if part is None else part.values for part in parts])
        sizes = np.array([0 if rank is None else len(rank) for rank in ranks], np.int64)
        merging.merge_codes(self.marks, self.start, self.stop, addresses, addresses_of(ranks), sizes, codes)
        return FixedValues(codes, self._valid(parts))

    def _valid(self, parts: Sequence[Values | None]) -> np.ndarray | None:
        if all(part is None or part.valid is None for part in parts):
            return None
        flags = np.empty(self.count, np.uint8)
        addresses = addresses_of([None if part is None else part.valid for part in parts])
        return flags if merging.merge_flags(self.marks, self.start, self.stop, addresses, flags) else None


class _Plan:
    """Where the rows of the merged segment come from."""

    def __init__(
        self, layout: Layout, inputs: Sequence[Input], trail: KeyTrail, *, block_rows: int, pause: Pause
    ) -> None:
        self.layout = layout
        self.inputs = inputs
        self.block_rows = block_rows
        dtype = np.uint8 if len(inputs) <= 128 else np.uint16
        self.marks = np.empty(sum(input.reader.rows_count for input in inputs), dtype)
        self.kept = 0
        self._cuts: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._merge_keys(trail, pause)

    def pieces(self, rows: int) -> Iterator[_Piece]:
        """The kept rows, ``rows`` at a time."""
        cut = self._cuts.get(rows)
        if cut is None:
            count = -(-self.kept // rows)
            cut = np.empty(count + 1, np.int64), np.empty((count + 1, len(self.inputs)), np.int64)
            merging.cut_plan(self.marks, rows, *cut)
            self._cuts[rows] = cut
        places, cursors = cut[0].tolist(), cut[1].tolist()
        places[0], cursors[0] = 0, [0] * len(self.inputs)  # dropped rows before the first kept one
        for number in range(len(places) - 1):
            yield _Piece(
                self.marks,
                places[number],
                places[number + 1],
                cursors[number],
                cursors[number + 1],
                count=min(rows, self.kept - number * rows),
            )

    def mappings(self) -> list[np.ndarray]:
        mappings = [np.empty(input.reader.rows_count, np.int32) for input in self.inputs]
        merging.map_rows(self.marks, addresses_of(mappings))
        return mappings

    def _merge_keys(self, trail: KeyTrail, pause: Pause) -> None:
        """Again and again: see that keys of all inputs are here, and sort those before all that are not here."""
        count, width = len(self.inputs), self.layout.sort_encoder.width
        step = min(max(KEY_ROWS // count, KEY_ROWS_MIN), KEY_ROWS_MAX)
        variable = [column for column in self.layout.sort_columns if column.type.is_variable]
        rows_bytes = sum(
            _block_bytes(input, each) / input.reader.block_rows for input in self.inputs for each in variable
        )
        step = min(step, max(2, int(PIECE_BYTES_MAX / max(1, rows_bytes))))
        items = np.empty(count * step, np.uint32)
        samples = np.empty((count * step // self.block_rows + 2, 2), np.int64)
        heads = [_Head(input) for input in self.inputs]
        rows, stops, takes = (np.zeros(count, np.int64) for _ in range(3))
        last = np.zeros(count, np.uint8)
        at = 0
        while at < len(self.marks):
            for number, head in enumerate(heads):
                # The last key that is here may have more versions: only what comes before it can be taken.
                if not last[number] and stops[number] - rows[number] <= 1:
                    head.start += int(rows[number])
                    stop = min(head.start + step, head.input.reader.rows_count)
                    self._read_keys(head, stop, trail)
                    rows[number], stops[number] = 0, stop - head.start
                    last[number] = stop == head.input.reader.rows_count
                    pause(head.words.nbytes)
            words, offsets = [head.words for head in heads], [head.offsets for head in heads]
            places = addresses_of(words), addresses_of(offsets), width, rows, stops, last, items, takes
            found = merging.take_below(*places, False) or merging.merge_equal(*places)
            order = items[:found]
            counts = [(number, taken) for number, taken in enumerate((takes - rows).tolist()) if taken]
            if len(counts) > 1:
                order, _ = sort_rows(order, counts, words, offsets, width=width)
            drops = addresses_of([head.drop for head in heads])
            self.kept, taken = merging.plan_rows(order, drops, self.marks, at, self.kept, self.block_rows, samples)
            for number, row in samples[:taken].tolist():
                trail.sample(heads[number].key(row, width))
            rows[:] = takes
            at += found

    def _read_keys(self, head: _Head, stop: int, trail: KeyTrail) -> None:
        """Encode the sort keys of rows up to ``stop``; put those that are not dropped into the filters."""
        start, input = head.start, head.input
        read = partial(_values, input, start=start, stop=stop)
        columns = [read(column) for column in self.layout.sort_columns]
        keys = self.layout.sort_encoder.encode(columns, count=stop - start)
        head.words, head.drop = keys.words, None
        head.offsets = keys.offsets.astype(np.uint32) if len(keys.offsets) else None
        drop = None if input.drop is None else input.drop[start:stop].view(np.uint8)
        if drop is None or not drop.any():
            trail.add(keys, [partial(read, column) for column in trail.hashes.columns])
            return
        head.drop = drop
        kept = np.flatnonzero(drop == 0)
        trail.add(keys.take(kept), [partial(_taken, partial(read, column), kept) for column in trail.hashes.columns])


class _Head:
    """The keys of an input that are here: those of row ``start`` and after, and which of these are dropped."""

    __slots__ = ("drop", "input", "offsets", "start", "words")

    def __init__(self, input: Input) -> None:
        self.input = input
        self.start = 0
        self.words = np.empty(0, np.uint64)
        self.offsets: np.ndarray | None = None
        self.drop: np.ndarray | None = None

    def key(self, row: int, width: int) -> Keys:
        """The encoded key of one row, copied."""
        if self.offsets is None:
            words = self.words[row * width : (row + 1) * width].copy()
            return Keys(words, np.empty(0, np.int64), width, np.zeros(1, np.uint64))
        words = self.words[int(self.offsets[row]) : int(self.offsets[row + 1])].copy()
        return Keys(words, np.array([0, len(words)], np.int64), 0, np.zeros(1, np.uint64))


def _write(writer: SegmentWriter, plan: _Plan, column: Column, spans: Spans, pause: Pause) -> None:
    layout = plan.layout
    if column.type.is_variable:
        dictionary = _Dictionary.of(plan, column)
        if dictionary is not None:
            writer.column(column.id, column.type, paced(dictionary.codes(), pause), dictionary=dictionary.values)
            return
    pieces = _pieces(plan, column)
    if layout.time is not None and column.id == layout.time.id:
        pieces = spans.times(layout, pieces)
    writer.column(column.id, column.type, paced(pieces, pause))


def _pieces(plan: _Plan, column: Column) -> Iterator[Values]:
    for piece in plan.pieces(_piece_rows(plan, column)):
        yield piece.put_together(_parts(plan, piece, partial(_values, column=column)), column.type)


def _piece_rows(plan: _Plan, column: Column) -> int:
    """Rows to handle at once: fewer where values are long."""
    if not column.type.is_variable:
        return PIECE_ROWS
    longest = max(_block_bytes(input, column) / input.reader.block_rows for input in plan.inputs)
    return piece_rows(longest, plan.block_rows)


def _block_bytes(input: Input, column: Column) -> int:
    """At most about so many bytes have the values of a block of a variable column."""
    reader = input.reader
    if column.id not in reader.column_ids:
        return 16 * reader.block_rows
    if reader.dictionary(column.id) is not None:
        return reader.plain_bytes(column.id) * reader.block_rows // reader.rows_count
    return int(reader.directory(column.id)["length"].max())


def _parts(plan: _Plan, piece: _Piece, read: Any) -> list[Any]:
    """What ``read(input, start=, stop=)`` gives for each input's rows of a piece."""
    return [
        read(input, start=low, stop=high) if low < high else None
        for input, low, high in zip(plan.inputs, piece.lows, piece.highs, strict=True)
    ]


def _values(input: Input, column: Column, *, start: int, stop: int) -> Values:
    """A column's values in rows of an input, also where that is older than the column."""
    if column.id not in input.reader.column_ids:
        return values_of(constant_array(missing_value(column), stop - start, column.type), column.type)
    return input.reader.read(column.id, column.type, start, stop)


def _taken(read: Any, rows: np.ndarray) -> Values:
    return read().take(rows)


def _begins(plan: _Plan, normalize_before: int) -> Iterator[FixedValues]:
    def read(input: Input, *, start: int, stop: int) -> Values:
        if input.begin is not None:
            return FixedValues(np.full(stop - start, input.begin, np.int64), None)
        return input.reader.read(BEGIN, BIGINT, start, stop)

    latest = [input.reader.zone(BEGIN)[1] if input.begin is None else input.begin for input in plan.inputs]
    if max(latest) <= normalize_before:
        yield from _zeros(plan, np.dtype(np.int64))
        return
    for piece in plan.pieces(PIECE_ROWS):
        begins = piece.put_together(_parts(plan, piece, read), BIGINT)
        assert isinstance(begins, FixedValues), "begin versions have one width"
        begins.values[begins.values <= normalize_before] = 0
        yield begins


def _deltas(plan: _Plan) -> Iterator[FixedValues]:
    def read(input: Input, *, start: int, stop: int) -> Values:
        return input.reader.read(DELTA, BOOLEAN, start, stop)

    if all(input.reader.zone(DELTA) == (0, 0) for input in plan.inputs):
        yield from _zeros(plan, np.dtype(np.uint8))
        return
    for piece in plan.pieces(PIECE_ROWS):
        flags = piece.put_together(_parts(plan, piece, read), BOOLEAN)
        assert isinstance(flags, FixedValues), "flags have one width"
        yield flags


def _zeros(plan: _Plan, dtype: np.dtype) -> Iterator[FixedValues]:
    zeros = np.zeros(PIECE_ROWS, dtype)
    for start in range(0, plan.kept, PIECE_ROWS):
        yield FixedValues(zeros[: min(PIECE_ROWS, plan.kept - start)], None)


class _Dictionary:
    """The merged dictionary of one column, and each input's codes in it."""

    def __init__(self, plan: _Plan, column: Column, merged: pa.Array) -> None:
        """``merged`` (binary) holds every value that an input has, in order."""
        values = values_of(merged, BYTEA)
        assert isinstance(values, VariableValues), "bytes have no fixed width"
        self.values = values
        self._plan = plan
        self._column = column
        self._merged = merged
        self._ranks: list[np.ndarray | None] = []
        for input in plan.inputs:
            known = _dictionary_of(input, column)
            self._ranks.append(None if known is None else self._places(_binary(known)))

    @classmethod
    def of(cls, plan: _Plan, column: Column) -> _Dictionary | None:
        """None where a dictionary does not pay (see ``storage.encoding.dictionary_of``)."""
        limit = min(DICTIONARY_VALUES_MAX, plan.kept // 2)
        merged = pa.array([], pa.binary())
        plain = 0
        for input in plan.inputs:
            if column.id in input.reader.column_ids:
                plain += input.reader.plain_bytes(column.id)
            for values in _distinct(plan, input, column):
                merged = compute.unique(pa.concat_arrays([merged, values])).drop_null()
                if len(merged) > limit or merged.nbytes > DICTIONARY_BYTES_MAX:
                    return None
        if not len(merged):
            return None
        plain = (plain - 2 * len(plan.marks)) * plan.kept // len(plan.marks)
        bits = max(len(merged) - 1, 1).bit_length()
        if 10 * (merged.nbytes + plan.kept * bits // 8) > 8 * plain:
            return None
        return cls(plan, column, merged.take(compute.array_sort_indices(merged)))

    def codes(self) -> Iterator[Values]:
        for piece in self._plan.pieces(PIECE_ROWS):
            yield piece.put_codes_together(_parts(self._plan, piece, self._codes_of), self._ranks)

    def _codes_of(self, input: Input, *, start: int, stop: int) -> FixedValues:
        if _dictionary_of(input, self._column) is not None:
            return input.reader.codes(self._column.id, start, stop)
        values = _values(input, self._column, start=start, stop=stop)
        assert isinstance(values, VariableValues), f"{self._column.type} has no fixed width"
        return FixedValues(self._places(_binary(values)), values.valid)

    def _places(self, values: pa.Array) -> np.ndarray:
        """The code of each value (int32), 0 for NULL."""
        places = compute.index_in(values, value_set=self._merged, skip_nulls=True)
        return places.fill_null(0).to_numpy().astype(np.int32, copy=False)


def _distinct(plan: _Plan, input: Input, column: Column) -> Iterator[pa.Array]:
    """Arrays that together hold every value of a column in an input."""
    known = _dictionary_of(input, column)
    if known is not None:
        yield _binary(known)
    elif column.id not in input.reader.column_ids:
        yield _binary(_values(input, column, start=0, stop=1))
    else:
        rows = _piece_rows(plan, column)
        for start in range(0, input.reader.rows_count, rows):
            stop = min(start + rows, input.reader.rows_count)
            yield compute.unique(_binary(_values(input, column, start=start, stop=stop)))


def _dictionary_of(input: Input, column: Column) -> VariableValues | None:
    return input.reader.dictionary(column.id) if column.id in input.reader.column_ids else None


def _binary(values: Values) -> pa.Array:
    """As an Arrow array of bytes, without a copy."""
    assert isinstance(values, VariableValues), "no fixed width"
    return variable_array(values.offsets, values.data, values.valid, BYTEA)
