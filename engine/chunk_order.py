"""The rows of one key in a memtable, without a look at the others: an order of a chunk's rows by the hash of their key.

A memtable's index knows whole primary keys; a series (one key over a window of event time) has many of those. So the
first read of a series that meets a chunk puts its rows into buckets by key hash: seven bytes a row, about 20 ns each,
and nothing that the writer knows of. Rows that came later are the *tail*, of which only the hashes are kept; when it
has grown to a quarter of the chunk, all rows are ordered anew.

Always true: a row of a chunk never changes its key, so an order is right for the rows that it covers, whenever it was
made, and it does not matter which of several readers stores the one that they all make. How many bytes the orders of
a table take stands in ``Layout.orders``, by order, for as long as it lives: readers write there without a lock.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from ..storage.column_values import FixedValues, Values, VariableValues, address_of
from .column_store import FixedColumn
from .kernels import series as kernels
from .layout import Layout
from .prune import KeyRange

if TYPE_CHECKING:
    from .memtable import Chunk

TAIL_MAX: Final = 4_096
"""Rows that a tail may always have."""

FOUND_ROOM: Final = 1_024


class ChunkOrder:
    """Of the first ``count`` rows of a chunk. ``address`` is that of the descriptor, see kernels/series.py."""

    __slots__ = ("_arrays", "_held", "_ordered", "_tail", "address", "count")

    def __init__(
        self, arrays: tuple[np.ndarray, np.ndarray, np.ndarray], tail: np.ndarray, *, held: dict[int, int]
    ) -> None:
        """``held`` is told the bytes, see the module."""
        starts, rows, tags = arrays
        bits = (len(starts) - 1).bit_length() - 1
        descriptor = np.array(
            [len(rows), bits, address_of(starts), address_of(rows), address_of(tags), len(tail), address_of(tail)],
            np.uint64,
        )
        self._arrays = (*arrays, descriptor)
        self._ordered = arrays
        self._tail = tail
        self.address = address_of(descriptor)
        self.count = len(rows) + len(tail)
        self._held = held
        held[id(self)] = self.bytes_used

    def __del__(self) -> None:
        self._held.pop(id(self), None)

    @property
    def bytes_used(self) -> int:
        return sum(array.nbytes for array in self._arrays) + self._tail.nbytes

    def extended(self, chunk: Chunk, layout: Layout, count: int) -> ChunkOrder | None:
        """With the rows up to ``count`` in the tail; None if that has become too long."""
        ordered = len(self._ordered[1])
        full = count == chunk.capacity
        if count - ordered > (0 if full else max(TAIL_MAX, ordered // 4)):
            return None
        hashes = _hashes(chunk, layout, self.count, count)
        tail = np.empty(count - ordered, np.uint32)
        tail[: len(self._tail)] = self._tail
        kernels.tags_of(hashes, tail[len(self._tail) :])
        return ChunkOrder(self._ordered, tail, held=layout.orders)


def order_of(chunk: Chunk, layout: Layout, count: int) -> ChunkOrder:
    """An order of at least the first ``count`` rows of a chunk, made where there is none."""
    order = chunk.order
    if order is not None and order.count >= count:
        return order
    order = None if order is None else order.extended(chunk, layout, count)
    if order is None:
        hashes = _hashes(chunk, layout, 0, count)
        bits = max((count // 4).bit_length(), 1)
        arrays = np.zeros((1 << bits) + 1, np.uint32), np.empty(count, np.uint16), np.empty(count, np.uint32)
        kernels.order_rows(hashes, bits, *arrays)
        order = ChunkOrder(arrays, _NO_TAGS, held=layout.orders)
    chunk.order = order
    return order


class Series:
    """Looks up ranges of whole keys in the same chunks, of each the first so many rows."""

    def __init__(self, chunks: Sequence[tuple[Chunk, int]], layout: Layout) -> None:
        self._chunks = [chunk for chunk, _ in chunks]
        self._orders = [order_of(chunk, layout, count) for chunk, count in chunks]
        self._headers = np.array([chunk.header_address for chunk in self._chunks], np.uint64)
        self._addresses = np.array([order.address for order in self._orders], np.uint64)
        self._counts = np.array([count for _, count in chunks], np.int64)
        self._width = -1 if layout.encoder is None else layout.encoder.width

    def find(self, range: KeyRange, *, version: int) -> list[tuple[Chunk, np.ndarray]]:
        """Per chunk the offsets (int64) of the rows in the range that are visible at ``version``.

        In tables without primary key, rows of the key outside of the range are among them.
        """
        assert range.hash is not None, "the range is one of a key"
        low = np.frombuffer(range.low, np.uint8)
        high = np.frombuffer(range.high or b"", np.uint8)
        bounded = range.high is not None
        room = FOUND_ROOM
        while True:
            found = np.empty(room, np.int64)
            count = kernels.find_series(
                self._headers, self._addresses, self._counts, np.uint64(range.hash), self._width, low, high, bounded,
                version, found,
            )  # fmt: skip
            if count <= room:
                break
            room = count
        return self._by_chunk(found[:count])

    def _by_chunk(self, found: np.ndarray) -> list[tuple[Chunk, np.ndarray]]:
        if not len(found):
            return []
        numbers = found >> 16
        starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(found)]
        offsets = found & 0xFFFF
        pairs = itertools.pairwise(starts)
        return [(self._chunks[numbers[start]], offsets[start:stop]) for start, stop in pairs]


def _hashes(chunk: Chunk, layout: Layout, start: int, stop: int) -> np.ndarray:
    """The hashes of the key columns of some rows."""
    values: dict[int, Values] = {}
    for id in layout.table.key:
        store = chunk.columns[id]
        valid = None if store.valid is None else store.valid[start:stop]
        if isinstance(store, FixedColumn):
            values[id] = FixedValues(store.values[start:stop], valid)
        else:
            values[id] = VariableValues(store.offsets[start : stop + 1], store.heap, valid)
    return layout.key_hashes(values, count=stop - start)


_NO_TAGS: Final = np.empty(0, np.uint32)
