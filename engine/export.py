"""Export: the rows of a table at one version in an order of their own, whatever segments and memtables they stand in.

    cells by slice, then shard ──► parts of a cell, each in the order of its keys ──► merged ──► batches

A scan gives rows as they lie; what a flush, a merge or a restart does to them shows. Here two passes over one version
give the same rows in the same order: by slice, by shard, and by the encoded primary key (key, event time and row id
where there is none). How the rows are cut into batches means nothing here, see base/batches.py.

A segment is sorted already and is decoded a block at a time. The rows of a memtable are named and sorted (28 bytes a
row, as in seal.py), then gathered some at a time. Of all parts of a cell there is one such piece in memory. A row is
visible in one part alone, so keys never tie.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from ..storage.column_values import array_of, values_of
from .cell import Cells
from .gather import batch_of
from .kernels import merging
from .key_encoding import Keys
from .layout import Layout
from .memtable import Memtable
from .part import Part
from .projection import Projection, rows_of
from .seal import block_rows_of
from .segment import Segment
from .sort_rows import addresses_of, sort_rows


class Export:
    """Repeatable, as a scan is: it takes hold of the parts when it is made, and ``batches`` starts anew each time."""

    def __init__(self, layout: Layout, cells: Cells, projection: Projection, *, version: int) -> None:
        self._layout = layout
        self._projection = projection
        self._version = version
        in_order = sorted(cells.all(), key=lambda cell: (cell.slice, cell.shard))
        self._parts = [cell.parts for cell in in_order]
        known = {column.id for column in projection.columns}
        helpers = [column for column in layout.sort_columns if column.id not in known]
        self._read = Projection([*projection.columns, *helpers]) if helpers else projection

    @property
    def schema(self) -> pa.Schema:
        return self._projection.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, in batches of one row or more. Raises Corrupt."""
        wanted = len(self._projection.columns)
        for parts in self._parts:
            for batch in self._merged([self._pieces(part) for part in parts]):
                yield batch_of(batch.columns[:wanted], self.schema, batch.num_rows)

    def _pieces(self, part: Part) -> Iterator[pa.RecordBatch]:
        """The visible rows of one part in order, some at a time."""
        if isinstance(part, Memtable):
            return _of_memtable(part, self._layout, self._read, version=self._version)
        assert isinstance(part, Segment), "a part is a memtable or a segment"
        return _of_segment(part, self._read, version=self._version)

    def _merged(self, inputs: Sequence[Iterator[pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
        """Again and again: take the rows up to the first last key that is here, from whichever input."""
        width = self._layout.sort_encoder.width
        heads = [head for head in map(_Head, inputs) if head.advance()]
        while len(heads) > 1:
            for head in heads:
                head.encode(self._layout)
            rows = np.array([head.row for head in heads], np.int64)
            stops = np.array([head.batch.num_rows for head in heads], np.int64)
            items, takes = np.empty(int((stops - rows).sum()), np.uint32), np.empty(len(heads), np.int64)
            words, offsets = [head.words for head in heads], [head.offsets for head in heads]
            last = np.zeros(len(heads), np.uint8)
            places = addresses_of(words), addresses_of(offsets), width, rows, stops, last, items, takes
            found = merging.take_below(*places, True)
            counts = [(number, taken) for number, taken in enumerate((takes - rows).tolist()) if taken]
            batch = _joined([heads[number].batch.slice(int(rows[number]), taken) for number, taken in counts])
            if len(counts) > 1:
                order, _ = sort_rows(items[:found], counts, words, offsets, width=width)
                batch = batch.take(pa.array(_positions(order, counts, rows)))
            yield batch
            for head, row in zip(heads, takes.tolist(), strict=True):
                head.row = row
            heads = [head for head in heads if head.row < head.batch.num_rows or head.advance()]
        for head in heads:
            yield head.batch.slice(head.row)
            yield from head.pieces


_NOT_ENCODED: Final = np.empty(0, np.uint64)


class _Head:
    """The piece of an input that is here, from ``row`` on, and its keys if they were needed."""

    __slots__ = ("batch", "offsets", "pieces", "row", "words")

    batch: pa.RecordBatch
    row: int
    words: np.ndarray
    offsets: np.ndarray | None

    def __init__(self, pieces: Iterator[pa.RecordBatch]) -> None:
        self.pieces = pieces

    def advance(self) -> bool:
        """Go on to the next piece; False at the end."""
        batch = next(self.pieces, None)
        if batch is None:
            return False
        self.batch, self.row = batch, 0
        self.words, self.offsets = _NOT_ENCODED, None
        return True

    def encode(self, layout: Layout) -> None:
        if self.words is _NOT_ENCODED:
            self.words, self.offsets = _words_of(_keys_of(self.batch, layout))


def _of_segment(segment: Segment, read: Projection, *, version: int) -> Iterator[pa.RecordBatch]:
    if segment.version_low > version:
        return
    step = segment.reader.block_rows
    for start in range(0, segment.rows_count, step):
        stop = min(start + step, segment.rows_count)
        mask = segment.visible(version, start, stop)
        if mask is not None and not mask.any():
            continue
        arrays = [array_of(segment.values(column, start, stop), column.type) for column in read.columns]
        batch = batch_of(arrays, read.schema, stop - start)
        yield batch if mask is None else batch.filter(pa.array(mask.view(np.bool_)))


def _of_memtable(memtable: Memtable, layout: Layout, read: Projection, *, version: int) -> Iterator[pa.RecordBatch]:
    chunks = [chunk for chunk in list(memtable.chunks) if chunk.count]
    order = _sorted(memtable, layout, version=version)
    step = block_rows_of(chunks) if len(order) else 1
    for start in range(0, len(order), step):
        found = memtable.rows_at(read, order[start : start + step].astype(np.int64))
        batch = _joined([rows for rows, _ in found])
        yield batch.take(pa.array(np.argsort(np.concatenate([places for _, places in found]))))


def _sorted(memtable: Memtable, layout: Layout, *, version: int) -> np.ndarray:
    """Where the visible rows of a memtable are (uint32 locators), in the order of their keys."""
    sort_columns = Projection(layout.sort_columns)
    items: list[np.ndarray] = []
    words: list[np.ndarray] = []
    offsets: list[np.ndarray | None] = []
    for number, chunk in enumerate(list(memtable.chunks)):
        count, rows = chunk.visible(version)
        if rows is None:
            rows = np.arange(count)
        items.append((rows | number << 16).astype(np.uint32))
        if layout.encoder is not None:
            words.append(chunk.keys)
            offsets.append(chunk.key_offsets)
        else:
            begun = chunk.begun_at(version)
            keys = _keys_of(rows_of(chunk, sort_columns, count=begun, rows=None), layout)
            found = _words_of(keys)
            words.append(found[0])
            offsets.append(found[1])
    counts = [(number, len(rows)) for number, rows in enumerate(items) if len(rows)]
    if not counts:
        return np.empty(0, np.uint32)
    return sort_rows(np.concatenate(items), counts, words, offsets, width=layout.sort_encoder.width)[0]


def _keys_of(batch: pa.RecordBatch, layout: Layout) -> Keys:
    """The encoded sort keys of rows."""
    values = [values_of(batch.column(column.name), column.type) for column in layout.sort_columns]
    return layout.sort_encoder.encode(values, count=batch.num_rows)


def _words_of(keys: Keys) -> tuple[np.ndarray, np.ndarray | None]:
    return keys.words, keys.offsets.astype(np.uint32) if len(keys.offsets) else None


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def _positions(order: np.ndarray, counts: Sequence[tuple[int, int]], rows: np.ndarray) -> np.ndarray:
    """Where the rows that ``order`` names stand when those of the inputs, from ``rows`` on, follow one another."""
    first = np.zeros(len(rows), np.int64)
    at = 0
    for number, taken in counts:
        first[number] = at - rows[number]
        at += taken
    return first[order >> 16] + (order & 0xFFFF)
