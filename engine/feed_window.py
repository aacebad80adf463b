"""What a change feed reads at once: a window of versions with few changed rows, or one version with many, in pieces.

    Window(store, low, high)      finds the rows that changed in (low, high], or up to an earlier version where they are
                                  more than ``rows_max``; they are paired by primary key, and come as one batch
    pieces(store, version)        the changes of one version, however many: a piece at a time, cell by cell, and what a
                                  row replaced, or was replaced by, is looked up by its primary key

Both are ``TableStore.changes`` seen by rows: one that ended and one that began at one version, with one primary key,
are an update. A row version that began and ended at the same version was never visible, and is no change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa

from ..base.limits import FEED_BYTES, FEED_ROWS_MAX, FEED_ROWS_MIN
from ..base.types import BIGINT, TEXT, arrow_field
from .cell import Cell
from .cells import TableStore
from .changed_rows import changed_rows, rows_at
from .inventory import bytes_of
from .key_encoding import Keys
from .memtable import CHUNK_ROWS_MIN, Memtable
from .part import Part
from .projection import Projection
from .schema import ROW_ID
from .segment import Segment

OPERATION: Final = "weft_operation"
VERSION: Final = "weft_version"

_OPERATIONS: Final = pa.array(["before", "delete", "insert", "update"])
_BEFORE, _DELETE, _INSERT, _UPDATE = range(4)

_FIELDS: Final = [arrow_field(OPERATION, TEXT, nullable=False), arrow_field(VERSION, BIGINT, nullable=False)]

_COMPRESSED: Final = 3
"""Rows take about so many times their bytes on the disk."""


class Window:
    """The rows that changed after ``low``, up to ``high``: whole versions, about ``rows_max`` rows at most.

    Where the version after ``low`` alone has more, ``high`` is ``low``.
    """

    __slots__ = ("_found", "_parts", "count", "high", "rows_max")

    def __init__(self, store: TableStore, low: int, high: int) -> None:
        self.high = high
        self._parts = [part for cell in store.cells for part in cell.parts if part.changed_at > low]
        self.rows_max = _rows_max(self._parts)
        self._found: list[tuple[np.ndarray, ...]] = []  # versions, whether they began, places of parts, locators
        self.count = 0
        for place, part in enumerate(self._parts):
            for rows in changed_rows(part, low, self.high):
                self._add(place, rows.begun, rows.begun_at, begun=True)
                self._add(place, rows.ended, rows.ended_at, begun=False)
                if self.count > 2 * self.rows_max:
                    self._cut()

    def changes(self, store: TableStore, *, before: bool) -> pa.RecordBatch | None:
        """The changes in the order of versions, if there are any: ``before`` adds images from before updates."""
        if not self.count:
            return None
        versions, begun, places, rows = (np.concatenate(arrays) for arrays in zip(*self._found, strict=True))
        order = np.lexsort((begun, rows, places))
        same = _are_equal(order, versions, rows, places)
        never = np.append(same, False) | np.insert(same, 0, False)
        order = order[~never]
        if not len(order):
            return None
        versions, begun = versions[order], begun[order]
        projection = _projection(store)
        bounds = np.searchsorted(places[order], np.arange(len(self._parts) + 1))
        batches = [
            rows_at(part, projection, rows[order[start:stop]])
            for part, start, stop in zip(self._parts, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
            if start < stop
        ]
        batch = pa.concat_batches(batches)
        if not store.table.primary_key or begun.all() or not begun.any():  # no row has two images
            order = np.argsort(versions, kind="stable")
            return _labelled(batch.take(pa.array(order)), np.where(begun, _INSERT, _DELETE)[order], versions[order])
        codes = _codes(store, batch)
        order = np.lexsort((begun, codes, versions))
        first = _are_equal(order, versions, codes)  # of an update: the row as it was; the next one is the row since
        second = np.insert(first, 0, False)
        first = np.append(first, False)
        operations = np.where(begun[order], _INSERT, _DELETE)
        operations[first], operations[second] = _BEFORE, _UPDATE
        if not before:
            order, operations = order[~first], operations[~first]
        return _labelled(batch.take(pa.array(order)), operations, versions[order])

    def _add(self, place: int, rows: np.ndarray, at: np.ndarray, *, begun: bool) -> None:
        if len(rows):
            inside = at <= self.high  # which may have come down since
            rows, at = (rows, at) if inside.all() else (rows[inside], at[inside])
            self._found.append((at, np.full(len(rows), begun), np.full(len(rows), place, np.int32), rows))
            self.count += len(rows)

    def _cut(self) -> None:
        """Leave the first versions only, of ``rows_max`` rows or less."""
        versions, *others = (np.concatenate(arrays) for arrays in zip(*self._found, strict=True))
        beyond = int(np.partition(versions, self.rows_max)[self.rows_max])
        kept = versions < beyond
        self.high = beyond - 1
        self._found = [(versions[kept], *(array[kept] for array in others))]
        self.count = int(np.count_nonzero(kept))


def pieces(store: TableStore, version: int, *, before: bool, rows_max: int) -> Iterator[pa.RecordBatch]:
    """The changes of one version, ``rows_max`` rows at a time (twice as many with images from before)."""
    projection = _projection(store)
    for cell in sorted(store.cells, key=lambda cell: (cell.slice, cell.shard)):
        begins, ends = _kinds(cell, version)
        paired = bool(store.table.primary_key) and begins and ends
        for part in cell.parts:
            for rows in changed_rows(part, version - 1, version):
                for ended in _slices(rows.ended, rows_max):
                    ended = ended[part.describe(ended)[0] < version]
                    batch = rows_at(part, projection, ended)
                    if paired:
                        batch = _without_replaced(store, batch, version=version)
                    if batch.num_rows:
                        yield _labelled_all(batch, _DELETE, version)
                for begun in _slices(rows.begun, rows_max):
                    begun = begun[part.describe(begun)[1] > version]
                    batch = rows_at(part, projection, begun)
                    if batch.num_rows and paired:
                        yield _with_replaced(store, batch, version=version, before=before)
                    elif batch.num_rows:
                        yield _labelled_all(batch, _INSERT, version)


def _rows_max(parts: list[Part]) -> int:
    """How many rows to read at once, by the size of the largest ones that there may be."""
    largest = 1.0
    for part in parts:
        if isinstance(part, Memtable):
            rows_count, size = sum(chunk.count for chunk in part.chunks), part.bytes_used
        else:
            assert isinstance(part, Segment), "a part is a memtable or a segment"
            rows_count, size = part.rows_count, _COMPRESSED * bytes_of(part)
        largest = max(largest, size / max(rows_count, CHUNK_ROWS_MIN))  # parts of a few rows are mostly overhead
    return max(FEED_ROWS_MIN, min(FEED_ROWS_MAX, int(FEED_BYTES / largest)))


def _projection(store: TableStore) -> Projection:
    """All columns, and row ids where there is no primary key."""
    columns = list(store.table.columns)
    return Projection(columns if store.table.primary_key else [*columns, store.layout.by_id[ROW_ID]])


def _kinds(cell: Cell, version: int) -> tuple[bool, bool]:
    """Whether rows of a cell began at ``version``, and whether rows ended."""
    begins = ends = False
    for part in cell.parts:
        for rows in changed_rows(part, version - 1, version):
            begins, ends = begins or len(rows.begun) > 0, ends or len(rows.ended) > 0
            if begins and ends:
                return True, True
    return begins, ends


def _slices(rows: np.ndarray, count: int) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), count):
        yield rows[start : start + count]


def _without_replaced(store: TableStore, batch: pa.RecordBatch, *, version: int) -> pa.RecordBatch:
    """Rows that ended at ``version``, but those whose primary key has a row since."""
    if not batch.num_rows:
        return batch
    table = store.table
    keys = batch.select(table.key_schema.names)
    _, replaced = store.get_many(keys, version=version, columns=table.primary_key[:1])
    gone = np.ones(batch.num_rows, np.bool_)
    gone[replaced] = False
    return batch.filter(pa.array(gone))


def _with_replaced(store: TableStore, batch: pa.RecordBatch, *, version: int, before: bool) -> pa.RecordBatch:
    """Rows that began at ``version``, as inserts and updates, with the rows that they replaced if asked for."""
    table = store.table
    keys = batch.select(table.key_schema.names)
    columns = None if before else table.primary_key[:1]
    older, places = store.get_many(keys, version=version - 1, columns=columns)
    count = batch.num_rows
    operations = np.full(count, _INSERT)
    operations[places] = _UPDATE
    if before:
        order = np.argsort(np.concatenate((places, np.arange(count))), kind="stable")
        batch = pa.concat_batches([older, batch]).take(pa.array(order))
        operations = np.concatenate((np.full(len(places), _BEFORE), operations))[order]
    return _labelled(batch, operations, np.full(len(operations), version, np.int64))


def _are_equal(order: np.ndarray, *columns: np.ndarray) -> np.ndarray:
    """Which rows, in this order, equal the next one in all columns: bool[n - 1]."""
    equal = np.ones(max(0, len(order) - 1), np.bool_)
    for column in columns:
        sorted_column = column[order]
        equal &= sorted_column[1:] == sorted_column[:-1]
    return equal


def _codes(store: TableStore, batch: pa.RecordBatch) -> np.ndarray:
    """A number for each row, equal where the primary keys are: int32[n]."""
    count = batch.num_rows
    keys = store.layout.encode(store.layout.values(batch, by_id=False), count=count)
    return _binary(keys, count).dictionary_encode().indices.to_numpy()


def _binary(keys: Keys, count: int) -> pa.Array:
    """Encoded keys as Arrow array of bytes."""
    words = pa.py_buffer(keys.words)
    if not len(keys.offsets):
        return pa.Array.from_buffers(pa.binary(8 * keys.width), count, [None, words])
    return pa.Array.from_buffers(pa.large_binary(), count, [None, pa.py_buffer(8 * keys.offsets), words])


def _labelled_all(batch: pa.RecordBatch, operation: int, version: int) -> pa.RecordBatch:
    return _labelled(batch, np.full(batch.num_rows, operation), np.full(batch.num_rows, version, np.int64))


def _labelled(batch: pa.RecordBatch, operations: np.ndarray, versions: np.ndarray) -> pa.RecordBatch:
    """The rows with what was done to each, and at which version."""
    arrays = [_OPERATIONS.take(pa.array(operations)), pa.array(versions, pa.int64()), *batch.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([*_FIELDS, *batch.schema]))
