"""Rows of a scan as ranks: numbers that sort as ORDER BY wants; and a column of some of them, read late.

    Stretch   of a segment the blocks that a plan keeps, or some rows; of a memtable a chunk, or some of its rows
    View      one block of a stretch: its columns, decoded when they are asked for, as a whole or for a few rows
    Ranked    a sort key: the ranks of a view's rows, and from zones the least that a block can have

A rank is an int64, ascending: the place of a value (zones.py), turned round for DESC; NULL is least or greatest. Ranks
of text tell of the first eight bytes alone, unless no text has more: only then such a key is *exact*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa

from ...base.types import Kind, Type
from ...storage.column_values import FixedValues, VariableValues, array_of, constant_array, values_of, width_of
from ...storage.encoding import HIGHEST, LOWEST
from ...storage.kernels.decoding import rows_between
from ..column_store import FixedColumn
from ..expression.evaluate import evaluate_filter
from ..expression.node import Expression
from ..gather import Picked, chunk_text_bytes
from ..layout import Layout
from ..memtable import Chunk
from ..projection import missing_value
from ..prune import column_ids, conjuncts
from ..scan_plan import Plan
from ..schema import Column
from ..segment import Segment
from ..segment_index import text_bytes
from .describe import FLOATS, INTEGERS
from .shape import NotCovered

FEW: Final = 8
"""Where less than one row in so many is left, a column is read for those alone."""

PLACE: Final = 32
"""A row's place: the number of its stretch, shifted by so many bits, and its row there."""

_NAN: Final = 0x7FF8000000000000
_TEXTS: Final = frozenset((Kind.TEXT, Kind.VARCHAR))
_WIDE: Final = np.dtype(np.int64)
_CODE: Final = np.dtype(np.int32)
_HEAD: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SortKey:
    """``column``: the identifier of one of the table's."""

    column: int
    descending: bool
    nulls_first: bool


class Ranked:
    """A key and how its ranks are made."""

    def __init__(self, key: SortKey, column: Column, *, never_null: bool) -> None:
        if column.type.kind not in INTEGERS | FLOATS | _TEXTS | {Kind.BOOLEAN}:
            raise NotCovered(f"it is sorted by {column.type}")
        self.column = column
        self._never_null = never_null
        self._descending = key.descending
        self._null = LOWEST if key.nulls_first else HIGHEST
        self._heads: dict[int, np.ndarray] = {}

    def is_exact(self, stretches: Sequence[Stretch]) -> bool:
        """Whether different values have different ranks. Raises NotCovered where they cannot be told from NULL."""
        if self.column.type.kind in _TEXTS:
            return all(stretch.has_short_texts(self.column) for stretch in stretches)
        for stretch in stretches:
            if not stretch.fits(self.column):
                raise NotCovered("a number may become too large")
        return True

    def least(self, low: int, high: int, nulls: int) -> int:
        """The least rank of values from ``low`` to ``high``, and of so many NULLs."""
        if low > high:  # all are NULL
            return HIGHEST if self._never_null else self._null
        found = ~high if self._descending else low
        return min(found, self._null) if nulls and not self._never_null else found

    def selects(self, stretch: Stretch) -> bool:
        """Whether ``selected`` finds rows in the blocks of a stretch."""
        segment, kind = stretch.segment, self.column.type.kind
        if segment is None or stretch.chosen is not None or kind in _TEXTS or kind in FLOATS:
            return False
        return self.column.id in segment.description.columns

    def selected(self, blocks: Sequence[tuple[Stretch, int]], last: int) -> list[np.ndarray]:
        """The rows of each block whose rank is not behind ``last`` (int64[n], of the segment), visible or not.

        Raises Corrupt.
        """
        count = len(blocks)
        headers, spans, ends = np.empty(count, np.uint64), np.empty((2, count), np.int64), np.empty(count, np.int64)
        for at, (stretch, block) in enumerate(blocks):
            assert stretch.segment is not None, "it has blocks"
            reader = stretch.segment.reader
            start, stop = spans[:, at] = stretch.spans[block]
            reader.verify_rows(self.column.id, start, stop)
            headers[at] = reader.header(self.column.id)
        low, high = (~last, HIGHEST) if self._descending else (LOWEST, last)
        nulls = int(not self._never_null and self._null <= last)
        found = np.empty(int((spans[1] - spans[0]).sum()) + 1, np.int64)
        rows_between(headers, spans[0], spans[1], low, high, nulls, found, ends)
        return np.split(found[: ends[-1]], ends[:-1])

    def up_to(self, view: View, last: int) -> np.ndarray:
        """The rows of a view whose rank is not behind ``last`` (int64[n])."""
        kind = self.column.type.kind
        if kind in _TEXTS or kind in FLOATS:
            return np.flatnonzero(self.of(view, None) <= last)
        values = view.numbers(self.column)
        found = values.values >= ~last if self._descending else values.values <= last
        if values.valid is not None:
            there = values.valid.view(np.bool_)
            if self._never_null or self._null > last:
                found &= there
            elif self._null <= last:
                found |= ~there
        return np.flatnonzero(found)

    def of_array(self, array: pa.Array) -> np.ndarray:
        """The ranks of an Arrow array's values."""
        values = values_of(array, self.column.type)
        if isinstance(values, VariableValues):
            values = FixedValues(_heads(values.offsets, values.data)[:-1], values.valid)
        return self._ranks(_wide(values, self.column.type))

    def of(self, view: View, rows: np.ndarray | None) -> np.ndarray:
        """The rank of all rows of a view, or of some (int64[n])."""
        kind = self.column.type.kind
        if kind in _TEXTS:
            values = self._texts(view, rows)
        else:
            values = view.numbers(self.column, rows)
        return self._ranks(values)

    def _ranks(self, values: FixedValues) -> np.ndarray:
        found = values.values
        if self.column.type.kind in FLOATS:
            found = places_of_reals(found)
        if self._descending:
            found = ~found
        if values.valid is not None:
            null = HIGHEST if self._never_null else self._null
            found = np.where(values.valid.view(np.bool_), found, null)
        return found

    def _texts(self, view: View, rows: np.ndarray | None) -> FixedValues:
        segment = view.stretch.segment
        if segment is not None and self.column.id in segment.description.columns:
            dictionary = segment.reader.dictionary(self.column.id)
            if dictionary is not None:
                heads = self._heads.get(id(segment))
                if heads is None:
                    heads = self._heads[id(segment)] = _heads(dictionary.offsets, dictionary.data)
                codes = view.numbers(self.column, rows)
                return FixedValues(heads[codes.values], codes.valid)
        values = values_of(view.array(self.column, rows), self.column.type)
        assert isinstance(values, VariableValues), "text has a variable width"
        return FixedValues(_heads(values.offsets, values.data)[:-1], values.valid)


class Stretch:
    """A segment from row ``start`` to ``stop``, in the blocks ``runs`` keep; or some rows of one; or a chunk's."""

    def __init__(
        self,
        *,
        segment: Segment | None = None,
        chunk: Chunk | None = None,
        spans: Sequence[tuple[int, int]] = (),
        chosen: np.ndarray | None = None,
        time: int | None = None,
    ) -> None:
        self.segment = segment
        self.chunk = chunk
        self.spans = spans
        """First row and the one after the last of each block."""
        self.chosen = chosen
        self.time = time
        """The column of event time, where chunks know its range."""

    @property
    def count(self) -> int:
        return 1 if self.chunk is not None or self.chosen is not None else len(self.spans)

    @property
    def blocks_count(self) -> int:
        return len(self.spans) if self.segment is not None and self.chosen is None else 1

    def first(self, block: int) -> int:
        """The row that is the first of a block."""
        return self.spans[block][0] if self.spans else 0

    def rows_count(self, block: int) -> int:
        """How many rows a block has, visible or not."""
        if self.chosen is not None:
            return len(self.chosen)
        if self.chunk is not None:
            return self.chunk.count
        start, stop = self.spans[block]
        return stop - start

    def rows(self, block: int, version: int) -> tuple[np.ndarray | None, int]:
        """Which rows of a block, counted from its first, are visible, None: all; and how many there are."""
        if self.chosen is not None:
            return self.chosen, int(self.chosen.max(initial=-1)) + 1
        if self.segment is not None:
            start, stop = self.spans[block]
            mask = self.segment.visible(version, start, stop)
            return (None if mask is None else np.flatnonzero(mask)), stop - start
        assert self.chunk is not None, "a stretch is of a segment or a chunk"
        count, rows = self.chunk.visible(version)
        return rows, count if rows is None else int(rows.max(initial=-1)) + 1

    def zones(self, column: Column) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Of each block the least and greatest place and how many are NULL; None: not known."""
        if self.segment is None or self.chosen is not None or column.id not in self.segment.description.columns:
            return None
        reader = self.segment.reader
        blocks = np.array([start for start, _ in self.spans], np.int64) // reader.block_rows
        entries = reader.directory(column.id)[blocks]
        return entries["low"], entries["high"], entries["nulls"]

    def zone(self, column: Column) -> tuple[int, int, int] | None:
        """The same of all blocks, or of more."""
        if self.chunk is not None and column.id == self.time:
            return self.chunk.time_low, self.chunk.time_high, 0
        if self.chunk is not None:
            return self._zone_in_memory(self.chunk, column)
        if self.segment is None or column.id not in self.segment.description.columns:
            return None
        reader = self.segment.reader
        return (*reader.zone(column.id), reader.nulls_count(column.id))

    def _zone_in_memory(self, chunk: Chunk, column: Column) -> tuple[int, int, int] | None:
        store = chunk.columns.get(column.id)
        if column.type.kind not in INTEGERS or not isinstance(store, FixedColumn):
            return None
        bounds = store.bounds(chunk.count)
        return None if bounds is None else (*bounds, int(store.valid is not None))

    def fits(self, column: Column) -> bool:
        """Whether all numbers are in 64 bits and none of them is the least or greatest."""
        if column.type.kind in FLOATS | {Kind.BOOLEAN}:
            return True
        if self.segment is not None:
            if column.id not in self.segment.description.columns:
                return _is_inside(_missing(column, 1), column.type)
            low, high = self.segment.reader.zone(column.id)
            return low > high or (low > LOWEST and high < HIGHEST)
        assert self.chunk is not None, "a stretch is of a segment or a chunk"
        store = self.chunk.columns.get(column.id)
        if store is None:
            return _is_inside(_missing(column, 1), column.type)
        assert isinstance(store, FixedColumn), f"{column.name} has numbers"
        bounds = store.bounds(self.chunk.count)
        return bounds is not None and (bounds[0] > LOWEST and bounds[1] < HIGHEST)

    def has_short_texts(self, column: Column) -> bool:
        """Whether the first bytes are all of each text, and tell it from NULL."""
        if self.segment is not None:
            if column.id not in self.segment.description.columns:
                return False
            dictionary = self.segment.reader.dictionary(column.id)
            return dictionary is not None and _are_short(dictionary.offsets, dictionary.data)
        return False

    def bytes_of(self, column: Column, rows: np.ndarray) -> int:
        """How many bytes a column has in some rows. Raises Corrupt."""
        size = width_of(column.type) * len(rows)
        if not column.type.is_variable:
            return size
        if self.segment is not None:
            return size + text_bytes([self.segment.index], column, np.zeros(len(rows), np.int64), rows)
        assert self.chunk is not None, "a stretch is of a segment or a chunk"
        return size + chunk_text_bytes(self.chunk, column, rows)

    def taken(self, column: Column, rows: np.ndarray) -> pa.Array:
        """A column in some rows of the segment or chunk, as Arrow array."""
        if self.segment is not None:
            return self.segment.taken(column, rows)
        assert self.chunk is not None, "a stretch is of a segment or a chunk"
        store = self.chunk.columns.get(column.id)
        if store is None:
            return constant_array(missing_value(column), len(rows), column.type)
        return store.array(int(rows.max(initial=-1)) + 1, rows)


class View:
    """One block of a stretch."""

    __slots__ = ("_known", "count", "first", "stretch")

    def __init__(self, stretch: Stretch, block: int, count: int) -> None:
        self.stretch = stretch
        self.first = stretch.first(block)
        self.count = count
        self._known: dict[int, FixedValues] = {}

    def numbers(self, column: Column, rows: np.ndarray | None = None) -> FixedValues:
        """A column's numbers (int64; floats as such) or codes, of all rows or of some."""
        known = self._known.get(column.id)
        if known is None and rows is not None and len(rows) * FEW < self.count:
            return self._read(column, rows)
        if known is None:
            known = self._known[column.id] = self._read(column, None)
        return known if rows is None else known.take(rows)

    def array(self, column: Column, rows: np.ndarray | None) -> pa.Array:
        """A column as Arrow array."""
        segment, chunk = self.stretch.segment, self.stretch.chunk
        if chunk is not None:
            store = chunk.columns.get(column.id)
            if store is None:
                count = self.count if rows is None else len(rows)
                return constant_array(missing_value(column), count, column.type)
            return store.array(self.count, rows)
        assert segment is not None, "a stretch is of a segment or a chunk"
        if rows is None:
            return array_of(segment.values(column, self.first, self.first + self.count), column.type)
        if len(rows) * FEW < self.count:
            return segment.taken(column, rows + self.first)
        return array_of(segment.values(column, self.first, self.first + self.count).take(rows), column.type)

    def _read(self, column: Column, rows: np.ndarray | None) -> FixedValues:
        segment, chunk = self.stretch.segment, self.stretch.chunk
        count = self.count if rows is None else len(rows)
        if segment is not None:
            if column.id not in segment.description.columns:
                return _wide(_missing(column, count), column.type)
            reader = segment.reader
            if column.type.kind in FLOATS:
                if rows is None:
                    found = reader.read(column.id, column.type, self.first, self.first + count)
                else:
                    found = reader.take(column.id, column.type, rows + self.first)
                assert isinstance(found, FixedValues), "floats have one width"
                return found
            dtype = _CODE if column.type.is_text else _WIDE
            if rows is None:
                return reader.narrowed(column.id, self.first, self.first + count, dtype)
            return reader.take_narrowed(column.id, rows + self.first, dtype)
        assert chunk is not None, "a stretch is of a segment or a chunk"
        store = chunk.columns.get(column.id)
        if store is None:
            return _wide(_missing(column, count), column.type)
        assert isinstance(store, FixedColumn), f"{column.name} has numbers"
        values, valid = store.values[: self.count], None if store.valid is None else store.valid[: self.count]
        found = FixedValues(values, valid)
        return _wide(found if rows is None else found.take(rows), column.type)


def stretches_of(plan: Plan, layout: Layout, *, whole: bool = False) -> list[Stretch]:
    """Everything that a scan looks at. ``whole``: in as few blocks as the plan has runs."""
    time = layout.time.id if layout.time is not None and layout.time.type.kind is not Kind.DATE else None
    spans: dict[int, tuple[Segment, list[tuple[int, int]]]] = {}
    for run in plan.runs:
        size = run.segment.reader.block_rows
        edges = (
            [run.start, run.stop]
            if whole
            else [run.start, *range((run.start // size + 1) * size, run.stop, size), run.stop]
        )
        spans.setdefault(id(run.segment), (run.segment, []))[1].extend(pairwise(edges))
    found = [Stretch(segment=segment, spans=of) for segment, of in spans.values()]
    found += [Stretch(chunk=chunk, chosen=rows, time=time) for chunk, rows in (*plan.chunks, *plan.picked.chunks)]
    picked = plan.picked
    if picked.segments:
        rows_of: dict[int, tuple[Segment, list[np.ndarray]]] = {}
        at = 0
        for run, (start, stop) in enumerate(zip(picked.starts.tolist(), picked.stops.tolist(), strict=True)):
            segment, rows = picked.segment_of(run), np.arange(start, stop)
            if picked.mask is not None:
                rows = rows[picked.mask[at : at + stop - start]]
            at += stop - start
            rows_of.setdefault(id(segment), (segment, []))[1].append(rows)
        found += [Stretch(segment=segment, chosen=np.concatenate(rows)) for segment, rows in rows_of.values()]
    return found


def picked_at(stretches: Sequence[Stretch], places: np.ndarray) -> tuple[Picked, np.ndarray]:
    """The rows at these places, those of segments first, and where each place is among them."""
    numbers, rows = places >> PLACE, places & ((1 << PLACE) - 1)
    inside = np.array([stretch.segment is not None for stretch in stretches], np.bool_)[numbers]
    picked = Picked()
    order = np.empty(len(places), np.int64)
    at = np.flatnonzero(inside)
    if len(at):
        segments = [segment for number in numbers[at].tolist() if (segment := stretches[number].segment) is not None]
        picked.add_runs(segments, rows[at], rows[at] + 1, None, rows_count=len(at))
        order[at] = np.arange(len(at))
    done = len(at)
    for number in np.unique(numbers[~inside]).tolist():
        chunk = stretches[number].chunk
        assert chunk is not None, "a stretch is of a segment or a chunk"
        at = np.flatnonzero(numbers == number)
        picked.chunks.append((chunk, rows[at]))
        order[at] = np.arange(done, done + len(at))
        done += len(at)
    return picked, order


def rejects_null(condition: Expression | None, column: Column) -> bool:
    """Whether the condition is not true where the column is NULL."""
    nothing = pa.RecordBatch.from_arrays([constant_array(None, 1, column.type)], names=["0"])
    for part in () if condition is None else conjuncts(condition):
        if column_ids(part) == {column.id} and not evaluate_filter(part, nothing, column_ids=[column.id])[0].as_py():
            return True
    return False


def places_of_reals(values: np.ndarray) -> np.ndarray:
    """Floats as integers in their order; NaN is greatest, the two zeros are one."""
    with np.errstate(invalid="ignore"):  # what stands for NULL may be any bits
        bits = (values.astype(np.float64) + 0.0).view(np.int64)
    found = np.where(bits < 0, bits ^ HIGHEST, bits)
    return np.where(values != values, _NAN, found)


def _heads(offsets: np.ndarray, data: np.ndarray) -> np.ndarray:
    """The first bytes of each text as integers in their order, and one more: NULL may have any code."""
    starts, lengths = offsets[:-1].astype(np.int64), np.diff(offsets)
    heads = np.zeros((len(starts) + 1, _HEAD), np.uint8)
    for byte in range(_HEAD):
        longer = np.flatnonzero(lengths > byte)
        heads[longer, byte] = data[starts[longer] + byte]
    return (heads.view(">u8")[:, 0].astype(np.uint64) ^ np.uint64(1 << 63)).view(np.int64)


def _are_short(offsets: np.ndarray, data: np.ndarray) -> bool:
    lengths = np.diff(offsets)
    return bool(
        (lengths > 0).all() and (lengths <= _HEAD).all() and (data[int(offsets[0]) : int(offsets[-1])] != 0).all()
    )


def _missing(column: Column, count: int) -> FixedValues:
    values = values_of(constant_array(missing_value(column), count, column.type), column.type)
    assert isinstance(values, FixedValues), f"{column.name} has numbers"
    return values


def _wide(values: FixedValues, type: Type) -> FixedValues:
    """Numbers as int64; floats as they are."""
    if type.kind in FLOATS:
        return values
    found = values.values[:, 0].view(np.int64) if values.values.ndim == 2 else values.values.astype(np.int64)
    return FixedValues(found, values.valid)


def _is_inside(values: FixedValues, type: Type) -> bool:
    """Whether all numbers are in 64 bits and none of them is the least or greatest."""
    wide = _wide(values, type).values
    good = (wide > LOWEST) & (wide < HIGHEST)
    if values.values.ndim == 2:
        good &= values.values[:, 1].view(np.int64) == wide >> 63
    return bool((good if values.valid is None else good | ~values.valid.view(np.bool_)).all())
