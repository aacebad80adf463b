"""Sealing: the rows of memtable chunks become a segment.

    rows     named newest first, those not kept left out; sorted by encoded sort key, stable: newest first inside a key
    index    sample keys and filters, from the keys in that order
    columns  one after another, some blocks at a time: gathered from the chunks, encoded and written by the writer

Sort keys are the memtable's own words for a table with primary key; else they are encoded here. The columns are those
of the layout, whatever that of a chunk was: a column that was added later has its ``missing`` value in older chunks,
one that was dropped is left out. Begin versions and delta flags are columns, too; ends are not: see overlay.py.

In memory, beside the chunks: 28 bytes a row to sort (and the words, where keys are encoded here), then 8 bytes a row,
and some blocks; one column of text at a time where it may get a dictionary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from ..base.types import BIGINT, BOOLEAN
from ..storage.column_values import (
    DTYPES,
    PAIRS,
    FixedValues,
    Values,
    VariableValues,
    constant_array,
    frozen,
    values_of,
)
from ..storage.encoding import dictionary_of
from ..storage.kernels.blocks import BLOCK_ROWS
from ..storage.segment import SegmentWriter, block_rows_for
from .column_store import VariableColumn
from .kernels import encoding, merging
from .key_encoding import Keys
from .layout import Layout
from .memtable import CHUNKS_MAX, OPEN, Chunk
from .projection import missing_value
from .schema import Column
from .segment import BEGIN, DELTA
from .sort_rows import address_of, addresses_of, sort_rows
from .sorted_keys import KeyTrail

PIECE_ROWS: Final = 8 * BLOCK_ROWS
"""Rows that are gathered and encoded at once; fewer where values are long."""

PIECE_BYTES_MAX: Final = 64 * 1024 * 1024
COLUMN_BYTES_MAX: Final = np.iinfo(np.int32).max
"""A longer column of text gets no dictionary: it is not held in one piece to see whether one pays."""

Pause = Callable[[int], None]
"""Called between pieces with the bytes just handled: where background work waits for its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """``permutation`` is int32: from row number, counted over the chunks, to row of the segment; -1 where not kept.

    Ranges are closed: event times in microseconds (low above high where the table has none), begin versions.
    """

    rows_count: int
    permutation: np.ndarray
    time_low: int
    time_high: int
    version_low: int
    version_high: int


def seal(
    writer: SegmentWriter,
    layout: Layout,
    chunks: Sequence[Chunk],
    *,
    keep: np.ndarray | None = None,
    pause: Pause | None = None,
) -> Sealed:
    """Write the rows of ``chunks``, oldest first, as one segment; the caller finishes the writer.

    ``keep`` (uint8 or bool) says which rows are wanted, counted over the chunks; at least one is. Rows do not change
    meanwhile, though they may end.
    """
    rows = _Rows(layout, chunks, keep)
    count = len(rows.items)
    assert count, "a segment has rows"
    pause = pause or go_on
    trail = KeyTrail(layout, rows_count=count, block_rows=writer.block_rows)
    key_columns = [rows.column(column) for column in trail.hashes.columns]
    for start, stop in ranges_of(count, piece_rows(rows.key_bytes, writer.block_rows)):
        keys = rows.keys(start, stop)
        trail.add(keys, [partial(column.values, rows.items, start, stop) for column in key_columns])
        trail.sample_every_block(keys, first=start)
        pause(keys.words.nbytes)
    rows.release_keys()
    spans = Spans()
    for column in layout.columns:
        _write(writer, rows, column, spans, pause)
    writer.column(BEGIN, BIGINT, paced(spans.versions(rows.begins()), pause))
    writer.column(DELTA, BOOLEAN, paced(rows.deltas(), pause))
    words, offsets = trail.samples()
    writer.index(sample_words=words, sample_offsets=offsets, key_filter=trail.key_filter(), pk_filter=trail.pk_filter())
    return Sealed(
        rows_count=count,
        permutation=rows.permutation(),
        time_low=spans.time_low,
        time_high=spans.time_high,
        version_low=spans.version_low,
        version_high=spans.version_high,
    )


def block_rows_of(chunks: Sequence[Chunk]) -> int:
    """Rows of a block: fewer than usual where values are so long that a block could not be read as one array."""
    longest, totals = 0, Counter[int]()
    for chunk in chunks:
        for id, column in chunk.columns.items():
            if isinstance(column, VariableColumn):
                lengths = np.diff(column.offsets[: chunk.count + 1])
                longest = max(longest, int(lengths.max()))
                totals[id] += int(lengths.sum(dtype=np.int64))
    return block_rows_for(longest=longest, total=max(totals.values(), default=0))


class _Rows:
    """Rows of chunks in the order of the segment: ``items`` names them, see kernels/merging.py."""

    def __init__(self, layout: Layout, chunks: Sequence[Chunk], keep: np.ndarray | None) -> None:
        assert len(chunks) <= CHUNKS_MAX, f"{len(chunks)} chunks cannot be named by 16 bits"
        self.layout = layout
        self._chunks = chunks
        self._counts = np.array([chunk.count for chunk in chunks], np.int64)
        self._total = int(self._counts.sum())
        assert keep is None or len(keep) == self._total, f"{self._total} rows, not {len(keep)}"
        mask = np.empty(0, np.uint8) if keep is None else keep.view(np.uint8)
        items = np.empty(self._total, np.uint32)
        kept = np.empty(len(chunks), np.int64)
        items = items[: merging.name_rows(self._counts, mask, items, kept)]
        self._keys = [self._keys_of(chunk) for chunk in chunks]
        self._key_words = addresses_of([words for words, _ in self._keys])
        self._key_offsets = addresses_of([offsets for _, offsets in self._keys])
        words, offsets = zip(*self._keys, strict=True)
        counts = [(group, rows) for group, rows in enumerate(kept.tolist()) if rows][::-1]
        self.items, self._sorted_keys = sort_rows(items, counts, words, offsets, width=layout.sort_encoder.width)

    def keys(self, start: int, stop: int) -> Keys:
        """The encoded sort keys of rows ``start`` to ``stop``."""
        hashes = np.empty(stop - start, np.uint64)
        width = self.layout.sort_encoder.width
        if self.layout.sort_encoder.fixed:
            if self._sorted_keys is not None:
                words = self._sorted_keys.words(start, stop)
            else:
                words = np.empty((stop - start) * width, np.uint64)
                merging.gather_keys(self._key_words, self.items, start, stop, width, words)
            encoding.hash_fixed(frozen(words), width, 8 * width, hashes)
            return Keys(words, frozen(np.empty(0, np.int64)), width, frozen(hashes))
        offsets = np.empty(stop - start + 1, np.int64)
        merging.gather_lengths(self._key_offsets, self.items, start, stop, offsets)
        words = np.empty(int(offsets[-1]), np.uint64)
        merging.gather_variable_keys(self._key_words, self._key_offsets, self.items, start, stop, words)
        encoding.hash_variable(frozen(words), frozen(offsets), hashes)
        return Keys(words, offsets, 0, frozen(hashes))

    @property
    def key_bytes(self) -> float:
        """Bytes of an encoded key, on average."""
        return sum(words.nbytes for words, _ in self._keys) / max(1, self._total)

    def release_keys(self) -> None:
        """Keys are not asked for any more."""
        self._keys, self._sorted_keys = [], None

    def column(self, column: Column) -> _Gather:
        return _Gather(column, self._chunks)

    def begins(self) -> Iterator[FixedValues]:
        """Begin versions, piece by piece."""
        addresses = addresses_of([chunk.begins for chunk in self._chunks])
        bases = np.array([chunk.base for chunk in self._chunks], np.int64)
        for start, stop in ranges_of(len(self.items), PIECE_ROWS):
            begins = np.empty(stop - start, np.int64)
            merging.gather_begins(addresses, bases, self.items, start, stop, begins)
            yield FixedValues(begins, None)

    def deltas(self) -> Iterator[FixedValues]:
        """Delta flags, piece by piece."""
        addresses = addresses_of([chunk.deltas for chunk in self._chunks])
        for start, stop in ranges_of(len(self.items), PIECE_ROWS):
            flags = np.empty(stop - start, np.uint8)
            merging.gather_flags(addresses, self.items, start, stop, 0, flags)
            yield FixedValues(flags, None)

    def permutation(self) -> np.ndarray:
        places = np.full(self._total, -1, np.int32)
        merging.places_of(self.items, np.cumsum(self._counts) - self._counts, places)
        return places

    def _keys_of(self, chunk: Chunk) -> tuple[np.ndarray, np.ndarray | None]:
        """Words, and uint32 word offsets where the width varies, of a chunk's sort keys."""
        if self.layout.encoder is not None:
            return chunk.keys, chunk.key_offsets
        values = [_stored(column, chunk) for column in self.layout.sort_columns]
        keys = self.layout.sort_encoder.encode(values, count=chunk.count)
        return keys.words, keys.offsets.astype(np.uint32) if len(keys.offsets) else None


class _Gather:
    """One column of chunks, reached by address."""

    def __init__(self, column: Column, chunks: Sequence[Chunk]) -> None:
        self.type = column.type
        stored = [_stored(column, chunk) for chunk in chunks]
        self._valid = None
        if any(values.valid is not None for values in stored):
            self._valid = addresses_of([values.valid for values in stored])
        self._first = addresses_of([v.offsets if isinstance(v, VariableValues) else v.values for v in stored])
        self._heaps = addresses_of([v.data if isinstance(v, VariableValues) else None for v in stored])
        self._kept = stored
        bytes_count = sum(int(v.offsets[-1]) - int(v.offsets[0]) for v in stored if isinstance(v, VariableValues))
        self.row_bytes = bytes_count / max(1, sum(chunk.count for chunk in chunks))

    def values(self, items: np.ndarray, start: int, stop: int) -> Values:
        """The values of rows ``items[start:stop]``."""
        count = stop - start
        valid = None
        if self._valid is not None:
            flags = np.empty(count, np.uint8)
            if merging.gather_flags(self._valid, items, start, stop, 1, flags):
                valid = flags
        if self.type.is_variable:
            ends = np.empty(count + 1, np.int64)
            merging.gather_lengths(self._first, items, start, stop, ends)
            assert ends[-1] <= COLUMN_BYTES_MAX, f"{ends[-1]} bytes in {count} values: more than int32 offsets reach"
            data = np.empty(int(ends[-1]), np.uint8)
            merging.gather_bytes(self._first, self._heaps, items, start, stop, address_of(data))
            return VariableValues(ends.astype(np.int32), data, valid)
        dtype = DTYPES[self.type.kind]
        values = np.empty((count, 2) if self.type.kind in PAIRS else count, dtype)
        size = values.nbytes // count
        merging.gather_fixed(self._first, items, start, stop, size, address_of(values))
        return FixedValues(values, valid)

    def pieces(self, items: np.ndarray, *, block_rows: int) -> Iterator[Values]:
        """The values of all rows, some blocks at a time; one where values are long."""
        start, rows = 0, piece_rows(self.row_bytes, block_rows)
        while start < len(items):
            stop = min(start + rows, len(items))
            if rows > block_rows and self.type.is_variable and self.bytes_of(items, start, stop) > 2 * PIECE_BYTES_MAX:
                stop = min(start + block_rows, len(items))  # these are longer than most
            yield self.values(items, start, stop)
            start = stop

    def bytes_of(self, items: np.ndarray, start: int, stop: int) -> int:
        """The bytes of values of variable width."""
        ends = np.empty(stop - start + 1, np.int64)
        merging.gather_lengths(self._first, items, start, stop, ends)
        return int(ends[-1])


class Spans:
    """The ranges of event times and begin versions, seen while the columns go by."""

    def __init__(self) -> None:
        self.time_low, self.time_high = OPEN, -OPEN
        self.version_low, self.version_high = OPEN, -OPEN

    def times(self, layout: Layout, pieces: Iterator[Values]) -> Iterator[Values]:
        assert layout.time is not None, "called for the column of event times"
        for piece in pieces:
            times = layout.times({layout.time.id: piece})
            self.time_low = min(self.time_low, int(times.min()))
            self.time_high = max(self.time_high, int(times.max()))
            yield piece

    def versions(self, pieces: Iterator[FixedValues]) -> Iterator[FixedValues]:
        for piece in pieces:
            self.version_low = min(self.version_low, int(piece.values.min()))
            self.version_high = max(self.version_high, int(piece.values.max()))
            yield piece


def _write(writer: SegmentWriter, rows: _Rows, column: Column, spans: Spans, pause: Pause) -> None:
    layout = rows.layout
    gather = rows.column(column)
    if column.type.is_variable and gather.row_bytes * len(rows.items) < COLUMN_BYTES_MAX:
        values = gather.values(rows.items, 0, len(rows.items))
        assert isinstance(values, VariableValues), f"{column.type} has a variable width"
        found = dictionary_of(values)
        if found is None:
            rows_at_once = piece_rows(gather.row_bytes, writer.block_rows)
            writer.column(column.id, column.type, paced(_slices(values, rows_at_once), pause))
        else:
            codes = FixedValues(found[1], values.valid)
            writer.column(column.id, column.type, paced(_slices(codes, PIECE_ROWS), pause), dictionary=found[0])
        return
    pieces = gather.pieces(rows.items, block_rows=writer.block_rows)
    if layout.time is not None and column.id == layout.time.id:
        pieces = spans.times(layout, pieces)
    writer.column(column.id, column.type, paced(pieces, pause))


def _stored(column: Column, chunk: Chunk) -> Values:
    """A column's values in the rows of a chunk, also where the chunk is older than the column."""
    store, count = chunk.columns.get(column.id), chunk.count
    if store is None:
        return values_of(constant_array(missing_value(column), count, column.type), column.type)
    valid = None if store.valid is None else store.valid[:count]
    if isinstance(store, VariableColumn):
        return VariableValues(store.offsets[: count + 1], store.heap, valid)
    return FixedValues(store.values[:count], valid)


def piece_rows(row_bytes: float, block_rows: int) -> int:
    """Rows to handle at once: whole blocks, fewer where rows are long."""
    rows = PIECE_ROWS
    while rows > block_rows and rows * row_bytes > PIECE_BYTES_MAX:
        rows //= 2
    return rows


def ranges_of(count: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, size):
        yield start, min(start + size, count)


def _slices(values: Values, size: int) -> Iterator[Values]:
    if isinstance(values, VariableValues):
        for start, stop in ranges_of(len(values.offsets) - 1, size):
            valid = None if values.valid is None else values.valid[start:stop]
            yield VariableValues(values.offsets[start : stop + 1], values.data, valid)
    else:
        for start, stop in ranges_of(len(values.values), size):
            yield FixedValues(values.values[start:stop], None if values.valid is None else values.valid[start:stop])


def paced(pieces: Iterator[Values], pause: Pause) -> Iterator[Values]:
    for piece in pieces:
        yield piece
        if isinstance(piece, VariableValues):
            pause(int(piece.offsets[-1]) - int(piece.offsets[0]) + piece.offsets.nbytes)
        else:
            pause(piece.values.nbytes)


def go_on(count: int) -> None:
    """Nobody has to wait."""
