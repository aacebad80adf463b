"""The memtable: the mutable, columnar, in-memory newest part of a cell.

    chunks    rows in order of arrival, in arrays of fixed capacity that grow from chunk to chunk, never by copying
    index     from primary key to newest row (kernels/index.py); rows of one key form a chain, newest first

A row is visible at version v where begin <= v < end. Begin versions are non-decreasing along the rows, so what had
begun at v is a prefix of each chunk; end versions stand in an array that a chunk gets when its first row ends.

Why readers need no lock. There is one writer. It brings a row's values, key, begin version and previous locator in
place first, publishes its slot in the index next (a store with release order), and the chunk's row count after that;
the version becomes visible last of all. A reader at version v reads only rows with begin <= v, and those were complete
before v became visible, hence before the reader began. Whatever it meets beyond, it recognises by the begin version
(index: walk on along the chain; scan: not in the prefix). An end version it may see either way: rows that it should
see end after v. Arrays are never moved: a larger slot table is a new array, and a reader that goes on with the old one
misses only rows that began after v. Chunks are captured as (slots, table, count); a locator beyond ``count`` makes the
kernel stop, and the reader captures again.

This does not decide anything: apply is total, and what may be written was settled before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from ..storage.column_values import FixedValues, Values, VariableValues
from .column_store import ColumnStore, VariableColumn, new_column
from .kernels import index as kernels
from .key_encoding import Keys
from .layout import Layout
from .schema import ROW_ID

CHUNK_ROWS_MIN: Final = 256
CHUNK_ROWS_MAX: Final = 65_536
CHUNKS_MAX: Final = 65_535
"""The last chunk number stays free: its last locator means "no row"."""

KEY_HEAP_WORDS_MAX: Final = 1 << 23
"""64 MB of variable-width keys a chunk; the next chunk takes the rest."""

SLOTS_MIN: Final = 512
OPEN: Final = np.iinfo(np.int64).max
"""The end version of a row that has not ended."""

KEYS, KEY_OFFSETS, BEGINS, BASE, ENDS, PREVIOUS, DELTAS = range(7)
"""Fields of a chunk's header, see kernels/index.py."""


class Chunk:
    """Up to ``capacity`` rows. ``count`` is published last."""

    __slots__ = (
        "base", "begins", "capacity", "columns", "count", "deltas", "ends", "header", "key_offsets", "keys", "layout",
        "previous", "time_high", "time_low",
    )  # fmt: skip

    def __init__(self, layout: Layout, *, capacity: int, key_words: int, base: int) -> None:
        self.layout = layout
        self.capacity = capacity
        self.base = base
        self.count = 0
        self.columns: dict[int, ColumnStore] = {
            column.id: new_column(column.type, capacity=capacity) for column in layout.columns
        }
        self.begins = np.empty(capacity, np.uint32)
        self.keys = np.empty(key_words, np.uint64)
        variable = layout.encoder is not None and not layout.encoder.fixed
        self.key_offsets = np.zeros(capacity + 1, np.uint32) if variable else None
        self.ends: np.ndarray | None = None
        self.previous: np.ndarray | None = None
        self.deltas: np.ndarray | None = None
        self.time_low, self.time_high = OPEN, -OPEN
        self.header = np.zeros(8, np.uint64)
        self.header[KEYS] = _address(self.keys)
        self.header[KEY_OFFSETS] = 0 if self.key_offsets is None else _address(self.key_offsets)
        self.header[BEGINS] = _address(self.begins)
        self.header[BASE] = base

    def fill(self, values: Mapping[int, Values], keys: Keys | None, start: int, *, count: int, begin: int) -> None:
        """Write ``count`` rows of a batch, from ``start`` on, behind the last: all but their previous locators and the
        row count. ``keys`` are those of these rows alone.
        """
        at = self.count
        for id, column in self.columns.items():
            column.append(at, values[id], start, count=count)
        self.begins[at : at + count] = begin - self.base
        if keys is not None:
            if self.key_offsets is None:
                self.keys[at * keys.width : (at + count) * keys.width] = keys.words
            else:
                first = int(self.key_offsets[at])
                word, word_stop = int(keys.offsets[0]), int(keys.offsets[-1])
                self.keys[first : first + word_stop - word] = keys.words[word:word_stop]
                self.key_offsets[at + 1 : at + count + 1] = keys.offsets[1:] + (first - word)
        if self.layout.time is not None:
            source = values[self.layout.time.id]
            assert isinstance(source, FixedValues), "event time has a fixed width"
            times = source.values[start : start + count]
            self.time_low = min(self.time_low, int(times.min()))
            self.time_high = max(self.time_high, int(times.max()))

    def fitting(self, values: Mapping[int, Values], keys: Keys | None, start: int, *, count: int) -> int:
        """How many of ``count`` rows, from ``start`` on, there is room for. ``keys`` begin with the first of them."""
        count = min(count, self.capacity - self.count)
        for id, column in self.columns.items():
            if isinstance(column, VariableColumn) and count:
                source = values[id]
                assert isinstance(source, VariableValues), f"{column.type} has a variable width"
                count = min(count, column.fitting(self.count, source, start, count=count))
        if keys is not None and self.key_offsets is not None and count:
            room = len(self.keys) - int(self.key_offsets[self.count])
            count = min(count, int(np.searchsorted(keys.offsets[1:] - keys.offsets[0], room, side="right")))
        return count

    def takes(self, layout: Layout, *, version: int) -> bool:
        """Whether rows of this layout and version may follow."""
        return self.layout is layout and version - self.base <= 0xFFFFFFFF

    def need_ends(self) -> int:
        """Make the array of end versions; returns the bytes it took."""
        if self.ends is not None:
            return 0
        ends = np.full(self.capacity, OPEN, np.int64)
        self.header[ENDS] = _address(ends)
        self.ends = ends
        return ends.nbytes

    def need_previous(self) -> int:
        """Make the array of previous locators; returns the bytes it took."""
        self.previous = np.full(self.capacity, kernels.NONE, np.uint32)
        self.header[PREVIOUS] = _address(self.previous)
        return self.previous.nbytes

    def mark_deltas(self, count: int) -> int:
        """Flag the next ``count`` rows as deltas; returns the bytes it took."""
        fresh = self.deltas is None
        if self.deltas is None:
            self.deltas = np.zeros(self.capacity, np.uint8)
            self.header[DELTAS] = _address(self.deltas)
        self.deltas[self.count : self.count + count] = 1
        return self.capacity if fresh else 0

    def visible(self, version: int) -> tuple[int, np.ndarray | None]:
        """The rows visible at ``version``: the first n of the chunk, or those of an int64 array where not all are."""
        count = self.count
        since = version - self.base
        if since < 0 or not count:
            return 0, None
        if since < int(self.begins[count - 1]):
            count = int(np.searchsorted(self.begins[:count], np.uint32(since), side="right"))
        ends = self.ends
        if ends is None:
            return count, None
        rows = np.flatnonzero(ends[:count] > version)
        return (count, None) if len(rows) == count else (len(rows), rows)

    def close(self) -> None:
        """No more rows come: give back unused heap."""
        for column in self.columns.values():
            if isinstance(column, VariableColumn):
                column.trim(self.count)


class Memtable:
    """Chunks and index. One thread writes; readers capture."""

    __slots__ = ("bytes_used", "chunks", "entries", "rows_count", "slots", "table")

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.table = np.zeros(4, np.uint64)
        self.slots = np.zeros(SLOTS_MIN, np.uint64)
        self.entries = 0
        self.rows_count = 0
        self.bytes_used = self.slots.nbytes

    def append(
        self, layout: Layout, values: Mapping[int, Values], keys: Keys | None, start: int, stop: int, *,
        version: int, delta: bool,
    ) -> int:  # fmt: skip
        """Append rows ``start`` to ``stop`` of a batch, in order; each ends the newest row with its key.

        Returns how many ended. ``keys`` is None for a table without primary key.
        """
        if keys is not None:
            self._reserve_slots(stop - start)
        at, replaced = start, 0
        while at < stop:
            pending = None if keys is None else keys.slice(at, stop)
            chunk = self._open_chunk(layout, pending, count=stop - at, version=version)
            count = chunk.fitting(values, pending, at, count=stop - at)
            if count == 0:
                self._close()
                continue
            if keys is not None and count < stop - at:
                pending = keys.slice(at, at + count)
            chunk.fill(values, pending, at, count=count, begin=version)
            if delta:
                self.bytes_used += chunk.mark_deltas(count)
            if pending is not None:
                replaced += self._upsert(chunk, pending, version=version)
            chunk.count += count
            at += count
        self.bytes_used += (stop - start) * layout.row_bytes
        self.rows_count += stop - start - replaced
        return replaced

    def end(self, rows: np.ndarray, *, version: int) -> int:
        """End the rows (uint32, NONE skipped) that have not ended; returns how many ended."""
        touched = np.zeros(len(self.chunks), np.uint8)
        touched[(rows[rows != kernels.NONE] >> np.uint32(16)).astype(np.int64)] = 1
        ended = self._end(rows, touched, version=version)
        self.rows_count -= ended
        return ended

    def end_all(self, *, version: int) -> int:
        """End every row that has not ended; returns how many ended."""
        ended = 0
        for chunk in self.chunks:
            self.bytes_used += chunk.need_ends()
            assert chunk.ends is not None, "made just now"
            ends = chunk.ends[: chunk.count]
            still = ends == OPEN
            ended += int(np.count_nonzero(still))
            ends[still] = version
        self.rows_count -= ended
        return ended

    def find(self, keys: Keys) -> tuple[np.ndarray, np.ndarray]:
        """The newest row of each key (int64, MISSING where there is none), and the table that reaches the rows."""
        rows = np.empty(len(keys), np.int64)
        done = 0
        while True:
            # The count first: the writer enlarges the table before it adds a chunk.
            count = len(self.chunks)
            table, slots = self.table, self.slots
            done = kernels.find(slots, table, count, keys.hashes, keys.words, keys.offsets, keys.width, done, rows)
            if done == len(keys):
                return rows, table

    def find_row_ids(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The row of each row id (int64, MISSING where there is none), and the table that reaches the rows."""
        rows = np.full(len(ids), kernels.MISSING, np.int64)
        chunks = [chunk for chunk in self.chunks if chunk.count]
        firsts = np.array([chunk.columns[ROW_ID].values[0] for chunk in chunks], np.int64)  # pyright: ignore[reportAttributeAccessIssue]
        places = np.searchsorted(firsts, ids, side="right") - 1
        for place in np.unique(places).tolist():
            if place < 0:
                continue
            chunk = chunks[place]
            column = chunk.columns[ROW_ID]
            asked = np.flatnonzero(places == place)
            known = column.values[: chunk.count]  # pyright: ignore[reportAttributeAccessIssue]
            offsets = np.minimum(np.searchsorted(known, ids[asked]), len(known) - 1)
            found = known[offsets] == ids[asked]
            rows[asked[found]] = (place << 16) + offsets[found]
        return rows, self.table

    def _open_chunk(self, layout: Layout, keys: Keys | None, *, count: int, version: int) -> Chunk:
        last = self.chunks[-1] if self.chunks else None
        if last is not None and last.count < last.capacity and last.takes(layout, version=version):
            return last
        if last is not None:
            last.close()
        wanted = max(count, CHUNK_ROWS_MIN if last is None else 2 * last.capacity)
        capacity = min(1 << (wanted - 1).bit_length(), CHUNK_ROWS_MAX)
        chunk = Chunk(layout, capacity=capacity, key_words=_key_words(keys, capacity), base=version)
        number = len(self.chunks)
        assert number < CHUNKS_MAX, f"a cell has {number} chunks; check_bounds refuses rows before that"
        if number == len(self.table):
            larger = np.zeros(2 * number, np.uint64)
            larger[:number] = self.table
            self.table = larger
        self.table[number] = _address(chunk.header)
        self.chunks.append(chunk)
        return chunk

    def _close(self) -> None:
        """Let the next rows start a chunk of their own."""
        chunk = self.chunks[-1]
        assert chunk.count, "an empty chunk takes at least one row"
        chunk.capacity = chunk.count

    def _reserve_slots(self, more: int) -> None:
        needed = (self.entries + more) * 10 // 7 + 1
        if needed > len(self.slots):
            slots = np.zeros(1 << (needed - 1).bit_length(), np.uint64)
            kernels.rebuild(self.slots, slots)
            self.bytes_used += slots.nbytes - self.slots.nbytes
            self.slots = slots

    def _upsert(self, chunk: Chunk, keys: Keys, *, version: int) -> int:
        """Make the rows behind ``chunk.count`` the newest of their keys; returns how many rows they ended."""
        count, chunks = len(keys), len(self.chunks)
        first = ((chunks - 1) << 16) + chunk.count
        replaced = np.empty(count, np.uint32)
        touched = np.zeros(chunks, np.uint8)
        done = inserted = 0
        while True:
            done, fresh, _ = kernels.upsert(
                self.slots, self.table, chunks, keys.hashes, keys.words, keys.offsets, keys.width, first, done,
                replaced, touched,
            )  # fmt: skip
            inserted += fresh
            if done == count:
                break
            self.bytes_used += chunk.need_previous()
        self.entries += inserted
        return self._end(replaced, touched, version=version) if inserted < count else 0

    def _end(self, rows: np.ndarray, touched: np.ndarray, *, version: int) -> int:
        for number in np.flatnonzero(touched).tolist():
            self.bytes_used += self.chunks[number].need_ends()
        return kernels.end_rows(self.table, rows, version)


def _key_words(keys: Keys | None, capacity: int) -> int:
    """Words of key storage for a chunk of ``capacity`` rows, judged by the keys that it is made for."""
    if keys is None:
        return 0
    if not len(keys.offsets):
        return keys.width * capacity
    pending = int(keys.offsets[-1] - keys.offsets[0])
    estimate = min(pending * capacity * 5 // (4 * len(keys)), KEY_HEAP_WORDS_MAX)
    return max(estimate, min(pending, KEY_HEAP_WORDS_MAX), int(keys.offsets[1] - keys.offsets[0]))


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]
