"""The memtable: the mutable, columnar, in-memory newest part of a cell.

    chunks    rows in order of arrival, in arrays of fixed capacity that grow from chunk to chunk, never by copying
    index     from primary key to newest row (primary_index.py); rows of one key form a chain, newest first

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

A memtable is frozen when it is about to be sealed into a segment: no rows come any more, but rows may still end. Those
ends are kept in ``late``, so that the segment gets them too when it takes the memtable's place.

This does not decide anything: apply is total, and what may be written was settled before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from ..storage.column_values import FixedValues, Values, VariableValues, address_of
from .column_store import ColumnStore, VariableColumn, new_column
from .kernels import index as kernels
from .kernels import upserting
from .key_encoding import Keys
from .layout import Layout, Probe
from .memtable_order import MemtableOrder, order_of
from .part import find_within
from .primary_index import PrimaryIndex
from .projection import Projection, missing_value, rows_of
from .schema import ROW_ID, Column

if TYPE_CHECKING:
    from .chunk_order import ChunkOrder

CHUNK_ROWS_MIN: Final = 256
CHUNK_ROWS_MAX: Final = 65_536
CHUNKS_MAX: Final = 65_535
"""The last chunk number stays free: its last locator means "no row"."""

CHUNK_BYTES: Final = 4_096
"""What the objects of a chunk take, measured. Thousands of cells with a row or two consist of little else."""

KEY_HEAP_WORDS_MAX: Final = 1 << 23
"""64 MB of variable-width keys a chunk; the next chunk takes the rest."""

OPEN: Final = np.iinfo(np.int64).max
"""The end version of a row that has not ended."""

KEYS, KEY_OFFSETS, BEGINS, BASE, ENDS, PREVIOUS, DELTAS, COLUMNS = range(8)
"""Fields of a chunk's header, see kernels/index.py."""


class Chunk:
    """Up to ``capacity`` rows. ``count`` is published last."""

    __slots__ = (
        "base", "begins", "capacity", "columns", "count", "deltas", "doors", "ended_at", "ends", "header",
        "header_address", "key_offsets", "keys", "layout", "order", "previous", "time_high", "time_low",
    )  # fmt: skip

    def __init__(self, layout: Layout, *, capacity: int, key_words: int, base: int) -> None:
        self.layout = layout
        self.capacity = capacity
        self.base = base
        self.count = 0
        self.doors = np.zeros(1 + 3 * (layout.id_max + 1), np.uint64)  # by column, see kernels/rows.py
        self.doors[0] = layout.id_max + 1
        self.columns: dict[int, ColumnStore] = {
            column.id: new_column(column.type, capacity=capacity, door=self.doors[3 * column.id + 1 :][:3])
            for column in layout.columns
        }
        self.begins = np.empty(capacity, np.uint32)
        self.keys = np.empty(key_words, np.uint64)
        variable = layout.encoder is not None and not layout.encoder.fixed
        self.key_offsets = np.zeros(capacity + 1, np.uint32) if variable else None
        self.ends: np.ndarray | None = None
        self.ended_at = 0  # no row of it ended after this version
        self.previous: np.ndarray | None = None
        self.deltas: np.ndarray | None = None
        self.time_low, self.time_high = OPEN, -OPEN
        self.header = np.zeros(8, np.uint64)
        self.header[KEYS] = address_of(self.keys)
        self.header[KEY_OFFSETS] = 0 if self.key_offsets is None else address_of(self.key_offsets)
        self.header[BEGINS] = address_of(self.begins)
        self.header[BASE] = base
        self.header[COLUMNS] = address_of(self.doors)
        self.header_address = address_of(self.header)
        self.order: ChunkOrder | None = None  # readers make it

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
        self.set_ends(ends)
        return ends.nbytes

    def set_ends(self, ends: np.ndarray) -> None:
        """Publish the array of end versions."""
        self.header[ENDS] = address_of(ends)
        self.ends = ends

    def need_previous(self) -> int:
        """Make the array of previous locators; returns the bytes it took."""
        self.previous = np.full(self.capacity, kernels.NONE, np.uint32)
        self.header[PREVIOUS] = address_of(self.previous)
        return self.previous.nbytes

    def mark_deltas(self, count: int) -> int:
        """Flag the next ``count`` rows as deltas; returns the bytes it took."""
        fresh = self.deltas is None
        if self.deltas is None:
            self.deltas = np.zeros(self.capacity, np.uint8)
            self.header[DELTAS] = address_of(self.deltas)
        self.deltas[self.count : self.count + count] = 1
        return self.capacity if fresh else 0

    def begun_at(self, version: int) -> int:
        """How many rows had begun at ``version``: they stand first."""
        count = self.count
        since = version - self.base
        if since < 0 or not count:
            return 0
        if since < int(self.begins[count - 1]):
            count = int(np.searchsorted(self.begins[:count], np.uint32(since), side="right"))
        return count

    def visible(self, version: int) -> tuple[int, np.ndarray | None]:
        """The rows visible at ``version``: the first n of the chunk, or those of an int64 array where not all are."""
        count = self.begun_at(version)
        if not count:
            return 0, None
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


class Located(NamedTuple):
    """Of n keys, all different, the newest rows in a memtable (int64, MISSING for none), and their slots' addresses.

    They are good until the next row comes.
    """

    rows: np.ndarray
    places: np.ndarray

    def take(self, places: np.ndarray) -> Located:
        return Located(self.rows[places], self.places[places])


class Memtable:
    """Chunks and index. One thread writes; readers capture."""

    __slots__ = (
        "bytes_used", "changed_at", "chunks", "header", "index", "late", "number", "order", "rows_count", "table",
        "time_high", "time_low",
    )  # fmt: skip

    def __init__(self, *, number: int = 0) -> None:
        self.number = number
        self.chunks: list[Chunk] = []
        self.table = np.zeros(4, np.uint64)
        self.header = np.array([0, address_of(self.table)], np.uint64)  # the index's, and the table's address
        self.time_low, self.time_high = OPEN, -OPEN  # event times in microseconds of all rows
        self.index = PrimaryIndex(self.header)
        self.rows_count = 0
        self.bytes_used = self.index.bytes_used
        self.changed_at = 0
        self.late: list[tuple[np.ndarray | None, int]] | None = None
        self.order: MemtableOrder | None = None  # made when ``extreme`` is asked for

    @property
    def living_count(self) -> int:
        """Rows that have not ended."""
        return self.rows_count

    def append(
        self, layout: Layout, values: Mapping[int, Values], keys: Keys | None, start: int, stop: int, *,
        version: int, delta: bool, fresh: list[np.ndarray] | None = None, located: Located | None = None,
    ) -> int:  # fmt: skip
        """Append rows ``start`` to ``stop`` of a batch, in order; each ends the newest row with its key.

        Returns how many ended. ``keys`` is None for a table without primary key. ``fresh`` gets the places in the batch
        (int64 arrays) of keys that had no row here: an older part may have one. ``located``: what ``locate`` said of
        the keys of the batch.
        """
        assert self.late is None, "a frozen memtable takes no rows"
        self.changed_at = version
        if keys is not None and located is None:
            before = self.index.bytes_used
            self.index.reserve(keys.hashes[start:stop])
            self.bytes_used += self.index.bytes_used - before
        if layout.time is not None:
            times = layout.times(values)[start:stop]
            self.time_low = min(self.time_low, int(times.min()))
            self.time_high = max(self.time_high, int(times.max()))
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
            if pending is not None and located is not None:
                there = Located(located.rows[at : at + count], located.places[at : at + count])
                replaced += self._take_place(chunk, pending, there, version=version)
            elif pending is not None:
                replaced += self._upsert(chunk, pending, at, version=version, fresh=fresh)
            chunk.count += count
            at += count
        self.bytes_used += layout.bytes_of(values, keys, start, stop)
        self.rows_count += stop - start - replaced
        return replaced

    @property
    def is_empty(self) -> bool:
        return not self.chunks

    def end(self, rows: np.ndarray, *, version: int) -> int:
        """End the rows (int64 locators) that have not ended; returns how many ended."""
        self.changed_at = version
        rows = rows.astype(np.uint32)
        touched = np.zeros(len(self.chunks), np.uint8)
        touched[(rows[rows != kernels.NONE] >> np.uint32(16)).astype(np.int64)] = 1
        ended = self._end(rows, touched, version=version)
        if self.late is not None and ended:
            self.late.append((rows, version))
        self.rows_count -= ended
        return ended

    def end_all(self, *, version: int) -> int:
        """End every row that has not ended; returns how many ended.

        Chunks of which no row had ended share one array: their rows all end here, so nobody will write to it, and it
        takes constant time per chunk. No more rows may come to such a chunk.
        """
        self.changed_at = version
        ended = 0
        fresh = [chunk for chunk in self.chunks if chunk.ends is None and chunk.count]
        for chunk in self.chunks:
            chunk.ended_at = version
            if chunk.ends is not None:
                ends = chunk.ends[: chunk.count]
                still = ends == OPEN
                ended += int(np.count_nonzero(still))
                ends[still] = version
        if fresh:
            if fresh[-1] is self.chunks[-1]:
                self._close()
            shared = np.full(max(chunk.count for chunk in fresh), version, np.int64)
            self.bytes_used += shared.nbytes
            for chunk in fresh:
                chunk.set_ends(shared)
                ended += chunk.count
        if self.late is not None and ended:
            self.late.append((None, version))
        self.rows_count -= ended
        return ended

    def find(self, probe: Probe) -> np.ndarray:
        """The newest row of each key: locators (int64), MISSING where there is none."""
        if probe.row_ids is not None:
            return self._find_row_ids(probe.row_ids)
        return find_within(probe, self.find_keys, low=self.time_low, high=self.time_high)

    def find_ending(self, probe: Probe) -> np.ndarray:
        return self.find(probe)

    def extreme(self, low: Keys, high: Keys, *, last: bool) -> np.ndarray:
        if not self.chunks:
            return np.full(len(low), kernels.MISSING, np.int64)
        if self.order is None:
            self.order = order_of(self, self.chunks[0])
        before = self.order.bytes_used
        rows = self.order.extreme(low, high, last=last)
        self.bytes_used += self.order.bytes_used - before
        return rows

    def find_keys(self, keys: Keys) -> np.ndarray:
        """The newest row of each primary key, as ``find`` gives it."""
        rows = np.empty(len(keys), np.int64)
        done = 0
        while True:
            # The count first: the writer enlarges the table before it adds a chunk.
            count = len(self.chunks)
            table, slots = self.table, self.index.slots
            done, _ = kernels.find(
                slots.directory, slots.shift, table, count, keys.hashes, keys.words, keys.offsets, keys.width, done,
                rows,
            )  # fmt: skip
            if done == len(keys):
                return rows

    def locate(self, keys: Keys) -> Located:
        """Where the newest rows of keys are, all different, and room for rows with them. The writer alone."""
        before = self.index.bytes_used
        self.index.reserve(keys.hashes)
        self.bytes_used += self.index.bytes_used - before
        located = Located(np.empty(len(keys), np.int64), np.empty(len(keys), np.uint64))
        slots = self.index.slots
        upserting.locate(
            slots.directory, slots.shift, self.table, len(self.chunks), keys.hashes, keys.words, keys.offsets,
            keys.width, located.rows, located.places,
        )  # fmt: skip
        return located

    def add_living(
        self, rows: np.ndarray, sums: np.ndarray, alive: np.ndarray, *, columns: np.ndarray, last: np.ndarray,
        heaps: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """Add what newest rows hold that have not ended, see the kernel; the places with a value in ``heaps``."""
        varied = np.empty(len(rows), np.int64)
        return varied[: upserting.add_living(self.table, rows, columns, last, heaps, sums, alive, varied)]

    def read_living(
        self, rows: np.ndarray, places: np.ndarray, words: np.ndarray, valid: np.ndarray, *, column: int, size: int
    ) -> None:  # fmt: skip
        """What newest rows that have not ended hold in a column of fixed width, see the kernel."""
        upserting.read_living(self.table, rows, places, column, size, words, valid)

    def visible_of(self, probe: Probe, rows: np.ndarray, version: int) -> np.ndarray:
        """The version of each newest row that is visible, or HIDDEN, or MISSING (see the kernel)."""
        kernels.visible(self.table, version, rows)
        return rows

    def describe(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Begin versions, end versions and delta flags of rows."""
        count = len(rows)
        begins, ends, deltas = np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.bool_)
        kernels.describe(self.table, rows, begins, ends, deltas)
        return begins, ends, deltas

    def changed(
        self, probe: Probe, rows: np.ndarray, version: int, followings: np.ndarray, *, ignore_deltas: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which rows changed after ``version``, and for which that is settled: see the kernel."""
        result, done = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
        kernels.changed(self.table, rows, version, ignore_deltas, followings, result, done)
        return result, done

    def rows_at(self, projection: Projection, rows: np.ndarray) -> list[tuple[pa.RecordBatch, np.ndarray]]:
        """Batches of the rows, and the places in ``rows`` that each holds."""
        found: list[tuple[pa.RecordBatch, np.ndarray]] = []
        numbers = rows >> 16
        for number in np.unique(numbers).tolist():
            places = np.flatnonzero(numbers == number)
            chunk = self.chunks[number]
            found.append((rows_of(chunk, projection, count=chunk.count, rows=rows[places] & 0xFFFF), places))
        return found

    def value_of(self, column: Column, row: int) -> Any:
        """One value as Python value."""
        store = self.chunks[row >> 16].columns.get(column.id)
        return missing_value(column) if store is None else store.value(row & 0xFFFF)

    def batches(self, projection: Projection, version: int) -> Iterator[pa.RecordBatch]:
        """The rows visible at ``version``, one batch a chunk that has any."""
        for chunk in list(self.chunks):
            count, rows = chunk.visible(version)
            if count:
                yield rows_of(chunk, projection, count=count if rows is None else int(rows[-1]) + 1, rows=rows)

    def _find_row_ids(self, ids: np.ndarray) -> np.ndarray:
        """The row of each row id: locators (int64), MISSING where there is none."""
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
        return rows

    def _open_chunk(self, layout: Layout, keys: Keys | None, *, count: int, version: int) -> Chunk:
        last = self.chunks[-1] if self.chunks else None
        if last is not None and last.count < last.capacity and last.takes(layout, version=version):
            return last
        if last is not None:
            last.close()
        wanted = max(count, CHUNK_ROWS_MIN if last is None else 2 * last.capacity)
        capacity = min(1 << (wanted - 1).bit_length(), CHUNK_ROWS_MAX)
        chunk = Chunk(layout, capacity=capacity, key_words=_key_words(keys, capacity), base=version)
        self.bytes_used += CHUNK_BYTES + (CHUNK_ROWS_MIN * layout.empty_row_bytes if last is None else 0)
        number = len(self.chunks)
        assert number < CHUNKS_MAX, f"a cell has {number} chunks; check_bounds refuses rows before that"
        if number == len(self.table):
            larger = np.zeros(2 * number, np.uint64)
            larger[:number] = self.table
            self.header[1] = address_of(larger)  # first: the next line lets go of the table before
            self.table = larger
        self.table[number] = address_of(chunk.header)
        self.chunks.append(chunk)
        return chunk

    def _close(self) -> None:
        """Let the next rows start a chunk of their own."""
        chunk = self.chunks[-1]
        assert chunk.count, "an empty chunk takes at least one row"
        chunk.capacity = chunk.count

    def _upsert(self, chunk: Chunk, keys: Keys, at: int, *, version: int, fresh: list[np.ndarray] | None) -> int:
        """Make the rows behind ``chunk.count`` the newest of their keys; returns how many rows they ended.

        The first of them stands at ``at`` in its batch, see ``append`` for ``fresh``.
        """
        count, chunks = len(keys), len(self.chunks)
        first = ((chunks - 1) << 16) + chunk.count
        replaced = np.empty(count, np.uint32)
        touched = np.zeros(chunks, np.uint8)
        done = inserted = 0
        slots = self.index.slots
        while True:
            done, added, _ = kernels.upsert(
                slots.directory, slots.shift, self.index.entries, self.table, chunks, keys.hashes, keys.words,
                keys.offsets, keys.width, first, done, replaced, touched,
            )  # fmt: skip
            inserted += added
            if done == count:
                break
            self.bytes_used += chunk.need_previous()
        if fresh is not None and inserted:
            fresh.append(np.flatnonzero(replaced == kernels.NONE) + at)
        return self._end(replaced, touched, version=version) if inserted < count else 0

    def _take_place(self, chunk: Chunk, keys: Keys, located: Located, *, version: int) -> int:
        """``_upsert`` of keys that are all different, and were looked up before."""
        known = located.rows[located.rows >= 0]
        if len(known) and chunk.previous is None:
            self.bytes_used += chunk.need_previous()
        touched = np.zeros(len(self.chunks), np.uint8)
        touched[known >> 16] = 1
        self._touch(touched, version=version)
        slots, first = self.index.slots, ((len(self.chunks) - 1) << 16) + chunk.count
        _, ended = upserting.take_place(
            slots.directory, slots.shift, self.index.entries, self.table, keys.hashes, located.rows, located.places,
            first, version,
        )  # fmt: skip
        return ended

    def _end(self, rows: np.ndarray, touched: np.ndarray, *, version: int) -> int:
        self._touch(touched, version=version)
        return kernels.end_rows(self.table, rows, version)

    def _touch(self, touched: np.ndarray, *, version: int) -> None:
        """Rows of these chunks are about to end."""
        for number in np.flatnonzero(touched).tolist():
            chunk = self.chunks[number]
            chunk.ended_at = version
            self.bytes_used += chunk.need_ends()


def _key_words(keys: Keys | None, capacity: int) -> int:
    """Words of key storage for a chunk of ``capacity`` rows, judged by the keys that it is made for."""
    if keys is None:
        return 0
    if not len(keys.offsets):
        return keys.width * capacity
    pending = int(keys.offsets[-1] - keys.offsets[0])
    estimate = min(pending * capacity * 5 // (4 * len(keys)), KEY_HEAP_WORDS_MAX)
    return max(estimate, min(pending, KEY_HEAP_WORDS_MAX), int(keys.offsets[1] - keys.offsets[0]))
