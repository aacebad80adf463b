"""Reading a segment in place, from memory that is mapped or not.

Opening verifies the footer alone and parses nothing else; directory, dictionary, index array and block are verified at
first touch, and a thread that finds ``verified`` set may read without asking. Reads make one array per result and call
one kernel; a column that is stored plainly is not even copied. Raises Corrupt where a checksum does not match: for the
reads that need the bytes, and for no others.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

import numpy as np

from ..base.errors import Corrupt, Unavailable
from ..base.types import Type
from .column_values import FixedValues, Values, VariableValues, address_of, frozen, new_heap
from .encoding import EMPTY_ZONE, Encoder, Order, Physical, count_of, new_entries, physical_of
from .kernels import decoding
from .kernels.blocks import CONSTANT, DIRECTORY, HEAP, PACKED, PLAIN, RUNS, WIDE
from .kernels.memory import touch
from .segment_format import (
    ALIGNMENT,
    COLUMN,
    DICTIONARY,
    FORMAT,
    IN_PLACE,
    INDEX,
    KEY_FILTER,
    MAGIC,
    PK_FILTER,
    SAMPLE_OFFSETS,
    SAMPLE_WORDS,
    SKETCH_WORDS,
    SKETCHES,
    TAIL,
    checksum_of,
)

_ENCODINGS: Final = {
    CONSTANT: "constant",
    PACKED: "packed",
    RUNS: "runs",
    PLAIN: "plain",
    HEAP: "heap",
    WIDE: "wide",
}


class Size(NamedTuple):
    """Bytes that one encoding takes in one column; column None for what belongs to the whole segment."""

    column: int | None
    encoding: str
    blocks: int
    bytes: int


class SegmentReader:
    """A section in memory (mapped, or bytes). Thread-safe. Reading raises Corrupt where a checksum does not match."""

    def __init__(
        self, data: np.ndarray, *, name: str, tail: np.ndarray, columns: np.ndarray, indexes: np.ndarray
    ) -> None:
        self._data = data
        self._view = data.data
        self._name = name
        self._table = columns
        self._indexes = {int(entry["kind"]): entry for entry in indexes}
        self._indexes_verified: dict[int, np.ndarray] = {}
        self._address: int = data.ctypes.data
        self._directory = int(tail["directory"])
        self.rows_count = int(tail["rows"])
        self.blocks_count = int(tail["blocks"])
        self.block_rows = int(tail["block_rows"])
        self.column_ids: tuple[int, ...] = tuple(columns["id"].tolist())
        self._places = {id: place for place, id in enumerate(self.column_ids)}
        self._columns: dict[int, _Column] = {}
        self._nulls, self._lows, self._highs = columns["nulls"], columns["low"], columns["high"]
        self.verified = np.zeros((len(columns), self.blocks_count), np.uint8)
        """1 for each (column in the order of ``column_ids``, block) whose checksum was found right."""

    @classmethod
    def open(cls, buffer: Any, *, name: str, checksum: int | None = None) -> Self:
        """A reader of the section that ``buffer`` is, exactly. ``name`` says which, in errors.

        ``checksum`` is what SectionRef said. Raises Corrupt when the footer is damaged or is another one; Unavailable
        when a newer program wrote it.
        """
        data = np.frombuffer(buffer, np.uint8)
        size = len(data)
        if size < TAIL.itemsize:
            raise Corrupt(f"{name}: {size} bytes are no segment")
        touch(data[-_FOOTER_BYTES:])
        tail = np.frombuffer(data, TAIL, 1, size - TAIL.itemsize)[0]
        footer, stored = int(tail["footer"]), int(tail["checksum"])
        if footer > size - TAIL.itemsize or checksum_of(data[footer : size - 8]) != stored:
            raise Corrupt(f"{name}: the footer of the segment is damaged", hint=_HINT)
        if tail["magic"] != MAGIC or int(tail["length"]) != size or checksum not in (None, stored):
            raise Corrupt(f"{name}: this is not the segment that belongs here", hint=_HINT)
        if int(tail["format"]) > FORMAT:
            raise Unavailable(
                f"{name} has segment format {int(tail['format'])}, and this program reads formats up to {FORMAT}",
                hint="Upgrade WeftDB: a newer version wrote this file.",
            )
        columns = np.frombuffer(data, COLUMN, int(tail["columns"]), footer)
        indexes = np.frombuffer(data, INDEX, int(tail["indexes"]), footer + columns.nbytes)
        return cls(data, name=name, tail=tail, columns=columns, indexes=indexes)

    @property
    def name(self) -> str:
        """What errors call it."""
        return self._name

    @property
    def bytes_count(self) -> int:
        """Bytes of the section."""
        return len(self._data)

    @property
    def address(self) -> int:
        """Where the section begins in memory: the base of all offsets, for kernels."""
        return self._address

    def header(self, id: int) -> int:
        """The address of the column's header (kernels/blocks.py). It and what it names live as long as the reader."""
        return self._column(id).address

    def directory(self, id: int) -> np.ndarray:
        """The column's directory, DIRECTORY[blocks], in place."""
        return self._column(id).directory

    def dictionary(self, id: int) -> VariableValues | None:
        """The column's dictionary, in place, in the order of its bytes; None where it has none."""
        return self._column(id).dictionary

    def zone(self, id: int) -> tuple[int, int]:
        """(low, high) of the column in the whole segment."""
        place = self._place(id)
        return self._lows.item(place), self._highs.item(place)

    def nulls_count(self, id: int) -> int:
        """NULLs of the column in the whole segment."""
        return self._nulls.item(self._place(id))

    def index(self, kind: int) -> np.ndarray | None:
        """An index array as uint64, in place; None where the segment has none."""
        array = self._indexes_verified.get(kind)
        if array is None and (entry := self._indexes.get(kind)) is not None:
            offset, length = int(entry["offset"]), int(entry["length"])
            touch(self._data[offset : offset + length])
            if checksum_of(self._data[offset : offset + length]) != int(entry["checksum"]):
                raise Corrupt(f"{self._name}: index array {kind} is damaged", hint=_HINT)
            array = self._indexes_verified[kind] = np.frombuffer(self._data, np.uint64, length // 8, offset)
        return array

    @property
    def sample_words(self) -> np.ndarray | None:
        """The encoded sort key of each block's first row."""
        return self.index(SAMPLE_WORDS)

    @property
    def sample_offsets(self) -> np.ndarray | None:
        """Where each of them begins (int64, blocks + 1), where they have different lengths."""
        array = self.index(SAMPLE_OFFSETS)
        return None if array is None else array.view(np.int64)

    @property
    def key_filter(self) -> np.ndarray | None:
        """The filter of keys."""
        return self.index(KEY_FILTER)

    @property
    def pk_filter(self) -> np.ndarray | None:
        """The filter of primary keys."""
        return self.index(PK_FILTER)

    def sketch(self, id: int) -> np.ndarray | None:
        """The registers of a column's sketch (kernels/sketch.py), in place; None where the segment has none."""
        array = self.index(SKETCHES)
        if array is None:
            return None
        table = array.reshape(-1, SKETCH_WORDS)
        row = _rows_of(table[:, 0].tobytes()).get(id)
        return None if row is None else table[row, 1:].view(np.uint8)

    def read(self, id: int, type: Type, start: int, stop: int) -> Values:
        """Rows ``start`` to ``stop``. Arrays are read-only; those of a column that is stored plainly are the file's.

        Raises LimitExceeded where they have more bytes than an Arrow array of text can have.
        """
        column = self._touch(id, start, stop)
        column.expect(type)
        if column.dtype is not None:
            return self._fixed(column, start, stop, column.dtype)
        return self._variable(column, start, stop)

    def bytes_max(self, id: int, start: int, stop: int) -> int:
        """No fewer bytes than the values of rows ``start`` to ``stop`` have: how many rows to read at a time."""
        column = self._column(id)
        if column.dtype is not None:
            return (stop - start) * column.size
        if column.dictionary is not None:
            return (stop - start) * int(np.diff(column.dictionary.offsets).max())
        lengths = column.directory["length"][start // self.block_rows : -(-stop // self.block_rows)]
        return int(lengths.sum(dtype=np.int64))

    def codes(self, id: int, start: int, stop: int) -> FixedValues:
        """The codes (int32) of rows ``start`` to ``stop`` of a column with a dictionary; any code where it is NULL."""
        column = self._touch(id, start, stop)
        assert column.dictionary is not None, f"column {id} has no dictionary"
        return self._fixed(column, start, stop, _CODES)

    def narrowed(self, id: int, start: int, stop: int, dtype: np.dtype) -> FixedValues:
        """Rows ``start`` to ``stop`` as integers of any width: of a NUMERIC the unscaled numbers, of text the codes.

        They are known to fit; any number stands for NULL.
        """
        column = self._touch(id, start, stop)
        if column.dtype is not None and (column.is_raw or dtype == column.dtype):
            found = self._fixed(column, start, stop, column.dtype)
            values = found.values[:, 0] if column.size == 16 else found.values
            return found if dtype == column.dtype else FixedValues(_sealed(values.astype(dtype)), found.valid)
        valid = column.room_for_valid(start, stop)
        array = np.empty(stop - start, dtype)
        valid_address = address_of(valid)
        decoding.read_fixed(column.address, dtype.itemsize, start, stop - start, address_of(array), valid_address)
        return FixedValues(_sealed(array), None if valid is None else _sealed(valid))

    def take_narrowed(self, id: int, rows: np.ndarray, dtype: np.dtype) -> FixedValues:
        """The same of ``rows`` (int64[n], each in the segment), in any order."""
        column = self._column(id)
        rows = np.ascontiguousarray(rows, np.int64)
        valid = np.empty(len(rows), np.uint8) if column.nulls else None
        addresses = (rows.ctypes.data, address_of(valid))
        out = np.empty(len(rows), dtype)
        self._take(decoding.take_fixed, column, rows, (dtype.itemsize,), addresses, address_of(out))
        return FixedValues(_sealed(out), None if valid is None else _sealed(valid))

    def take(self, id: int, type: Type, rows: np.ndarray) -> Values:
        """The values of ``rows`` (int64[n], each in the segment), in any order. Arrays are read-only."""
        column = self._column(id)
        column.expect(type)
        rows = np.ascontiguousarray(rows, np.int64)
        count = len(rows)
        valid = np.empty(count, np.uint8) if column.nulls else None
        addresses = (rows.ctypes.data, address_of(valid))
        if column.dtype is not None:
            out = np.empty((count, 2) if column.size == 16 else count, column.dtype)
            self._take(decoding.take_fixed, column, rows, (column.size,), addresses, address_of(out))
            return FixedValues(_sealed(out), None if valid is None else _sealed(valid))
        spans = np.empty((count, 2), np.int64)
        self._take(decoding.take_spans, column, rows, (), addresses, address_of(spans))
        size = int(spans[:, 1].sum())
        data = new_heap(size + 8, count=count)
        offsets = np.empty(count + 1, np.int32)
        decoding.copy_spans(address_of(spans), count, address_of(offsets), address_of(data))
        return VariableValues(_sealed(offsets), _sealed(data[:size]), None if valid is None else _sealed(valid))

    def take_one(self, id: int, type: Type, row: int) -> FixedValues | bytes | None:
        """The value of one row of the segment: its bytes where the type is of variable width, None for NULL.

        Fixed values are one, in memory that this thread's next call writes over.
        """
        column = self._columns.get(id) or self._column(id)
        column.expect(type)
        own = _OWN
        own.row[0] = row
        addresses = (own.row_address, own.valid_address if column.nulls else 0)
        if column.dtype is None:
            self._take(decoding.take_spans, column, own.row, (), addresses, own.out_address)
            if column.nulls and not own.valid[0]:
                return None
            return ctypes.string_at(*own.out.tolist())
        self._take(decoding.take_fixed, column, own.row, (column.size,), addresses, own.out_address)
        if column.nulls and not own.valid[0]:
            return None
        values = own.out.view(column.dtype)
        return FixedValues(values.reshape(-1, 2) if column.size == 16 else values[:1], None)

    def verify(self, id: int, block: int) -> None:
        """Verify one block of a column, unless it was. Raises Corrupt."""
        column = self._column(id)
        if not column.verified[block]:
            self._verify(column, [block])

    def verify_rows(self, id: int, start: int, stop: int) -> None:
        """Verify the blocks of rows ``start`` to ``stop`` of a column, unless they were. Raises Corrupt."""
        self._touch(id, start, stop)

    def check(self) -> Iterator[str]:
        """Read everything; yield what is wrong. Nothing is repaired, and what was read before is read again."""
        extents = [(self._directory, len(self.column_ids) * self.blocks_count * DIRECTORY.itemsize)]
        for kind, entry in self._indexes.items():
            offset, length = int(entry["offset"]), int(entry["length"])
            extents.append((offset, length))
            if checksum_of(self._data[offset : offset + length]) != int(entry["checksum"]):
                yield f"{self._name}: index array {kind} is damaged"
        for id, entry in zip(self.column_ids, self._table, strict=True):
            extents.append((int(entry["offset"]), int(entry["length"])))
            extents.append((int(entry["dictionary_offset"]), int(entry["dictionary_length"])))
            try:
                column = _Column(self, id)
            except Corrupt as error:
                yield error.message
                continue
            yield from self._check_column(column)

        yield from self._check_padding(extents)

    def sizes(self) -> list[Size]:
        """Bytes by column and encoding, then those of the directory with its footer and of the index arrays."""
        sizes: list[Size] = []
        for id in self.column_ids:
            column = self._column(id)
            for encoding, name in _ENCODINGS.items():
                of_encoding = column.directory["encoding"] == encoding
                if blocks := int(of_encoding.sum()):
                    length = int(column.directory["length"][of_encoding].sum(dtype=np.int64))
                    sizes.append(Size(id, name, blocks, length))
            if length := int(column.entry["dictionary_length"]):
                sizes.append(Size(id, "dictionary", 0, length))
        index = sum(int(entry["length"]) for entry in self._indexes.values())
        sizes.append(Size(None, "index", 0, index))
        sizes.append(Size(None, "directory", 0, len(self._data) - sum(size.bytes for size in sizes)))
        return sizes

    def plain_bytes(self, id: int) -> int:
        """Bytes of the column's values without encoding."""
        return int(self._table[self._place(id)]["plain"])

    def _place(self, id: int) -> int:
        place = self._places.get(id)
        assert place is not None, f"{self._name} has no column {id}, but {self.column_ids}"
        return place

    def _column(self, id: int) -> _Column:
        column = self._columns.get(id)
        return self._columns.setdefault(id, _Column(self, id)) if column is None else column

    def _touch(self, id: int, start: int, stop: int) -> _Column:
        """The column, the blocks of the rows verified."""
        column = self._columns.get(id) or self._column(id)
        assert 0 <= start <= stop <= self.rows_count, f"rows {start} to {stop} of {self.rows_count}"
        if not column.complete and start < stop:
            first, last = start // self.block_rows, -(-stop // self.block_rows)
            flags = column.verified[first:last]
            if not flags.all():
                self._verify(column, (first + np.flatnonzero(flags == 0)).tolist())
            column.complete = bool(column.verified.all())
        return column

    def _fixed(self, column: _Column, start: int, stop: int, dtype: np.dtype) -> FixedValues:
        count = stop - start
        size = column.size or dtype.itemsize
        if column.in_place >= 0:
            words = count * (size // dtype.itemsize)
            array = np.frombuffer(self._data, dtype, words, column.in_place + start * size)
            return FixedValues(_sealed(array.reshape(count, 2) if size == 16 else array), None)
        valid = column.room_for_valid(start, stop)
        array = np.empty((count, 2) if size == 16 else count, dtype)
        valid_address = address_of(valid)
        decoding.read_fixed(column.address, size, start, count, address_of(array), valid_address)
        return FixedValues(_sealed(array), None if valid is None else _sealed(valid))

    def _variable(self, column: _Column, start: int, stop: int) -> VariableValues:
        count = stop - start
        valid = column.room_for_valid(start, stop)
        offsets = np.empty(count + 1, np.int32)
        at = address_of(offsets)
        valid_address = address_of(valid)
        size = decoding.read_offsets(column.address, start, count, at, valid_address)
        data = new_heap(size + 8, count=count)
        decoding.read_bytes(column.address, start, count, at, address_of(data))
        return VariableValues(_sealed(offsets), _sealed(data[:size]), None if valid is None else _sealed(valid))

    def _take(
        self,
        kernel: Any,
        column: _Column,
        rows: np.ndarray,
        size: tuple[int, ...],
        addresses: tuple[int, int],
        out: int,
    ) -> None:
        """Run a kernel that stops at blocks that were not verified yet."""
        rows_address, valid_address = addresses
        count = len(rows)
        done = 0
        while done < count:
            done = kernel(column.address, *size, rows_address, done, count, out, valid_address)
            assert done >= 0, f"rows {rows.min()} to {rows.max()} of {self.rows_count}"
            if done < count:
                self.verify(column.id, int(rows[done]) // self.block_rows)

    def _verify(self, column: _Column, blocks: list[int]) -> None:
        """Verify blocks and say so. Hashing lets go of the interpreter, and so lets other threads wait for the disk."""
        for block, whole in zip(blocks, self._are_whole(column, blocks), strict=True):
            if not whole:
                raise Corrupt(f"{self._name}: block {block} of column {column.id} is damaged", hint=_HINT)
            column.verified[block] = 1

    def _are_whole(self, column: _Column, blocks: list[int]) -> Iterator[bool]:
        entries = column.directory[blocks]
        places = (entries[field].tolist() for field in ("offset", "length", "checksum"))
        for offset, length, checksum in zip(*places, strict=True):
            yield checksum_of(self._view[offset : offset + length]) == checksum

    def _check_column(self, column: _Column) -> Iterator[str]:
        """Checksums of the column's blocks; then zones and NULLs, by encoding once more what was decoded."""
        encoder = Encoder(column.physical, column.order, block_rows=self.block_rows, dictionary=column.dictionary)
        for block in range(self.blocks_count):
            entry = column.directory[block]
            where = f"{self._name}: block {block} of column {column.id}"
            if not next(self._are_whole(column, [block])):
                yield f"{where} is damaged"
                continue
            start = block * self.block_rows
            values = self._decoded(column, start, min(start + self.block_rows, self.rows_count))
            found = new_entries(1)
            encoder.encode(values, 0, count_of(values), found, 0)
            for field in ("rows", "nulls", "low", "high"):
                if found[field][0] != entry[field]:
                    yield f"{where} has {field} {found[field][0]}, and its directory entry says {entry[field]}"
        low, high = column.directory["low"], column.directory["high"]
        if self.zone(column.id) != ((int(low.min()), int(high.max())) if self.blocks_count else EMPTY_ZONE):
            yield f"{self._name}: the zone of column {column.id} is not that of its blocks"

    def _decoded(self, column: _Column, start: int, stop: int) -> Values:
        """Rows of a column as the writer got them."""
        dtype = column.dtype if column.dictionary is None else _CODES
        return self._variable(column, start, stop) if dtype is None else self._fixed(column, start, stop, dtype)

    def _check_padding(self, extents: list[tuple[int, int]]) -> Iterator[str]:
        """What lies between the extents is zeros and less than 64 bytes. The footer's padding is under its checksum."""
        footer = len(self._data) - TAIL.itemsize
        footer -= -(-(len(self._table) * COLUMN.itemsize + len(self._indexes) * INDEX.itemsize) // 64) * 64
        cursor = 0
        for offset, length in [*sorted(extent for extent in extents if extent[1]), (footer, 0)]:
            if offset - cursor not in range(ALIGNMENT) or self._data[cursor:offset].any():
                yield f"{self._name}: bytes {cursor} to {offset} are not padding"
            cursor = offset + length


class _Column:
    """What reading a column needs. Making one verifies its directory and its dictionary; raises Corrupt."""

    __slots__ = (
        *(
            "address",
            "complete",
            "dictionary",
            "directory",
            "dtype",
            "entry",
            "id",
            "in_place",
            "is_raw",
            "nulls",
            "order",
        ),
        *("physical", "size", "verified", "_expected", "_header", "_shift"),
    )

    def __init__(self, reader: SegmentReader, id: int) -> None:
        place = reader._place(id)  # pyright: ignore[reportPrivateUsage]
        data, blocks = reader._data, reader.blocks_count  # pyright: ignore[reportPrivateUsage]
        entry = reader._table[place]  # pyright: ignore[reportPrivateUsage]
        offset = reader._directory + place * blocks * DIRECTORY.itemsize  # pyright: ignore[reportPrivateUsage]
        self.id = id
        self.entry = entry
        self.directory = np.frombuffer(data, DIRECTORY, blocks, offset)
        touch(data[offset : offset + blocks * DIRECTORY.itemsize])
        if checksum_of(data[offset : offset + blocks * DIRECTORY.itemsize]) != int(entry["directory"]):
            raise Corrupt(f"{reader.name}: the directory of column {id} is damaged", hint=_HINT)
        self.physical = Physical(int(entry["physical"]))
        self.size = self.physical.size
        self.dtype = self.physical.dtype if self.size else None
        self.order = Order(int(entry["order"]))
        self._expected: Type | None = None
        self.nulls = int(entry["nulls"])
        self.verified = reader.verified[place]
        self.complete = False
        flags = int(entry["flags"])
        self.in_place = int(entry["offset"]) if flags & IN_PLACE else -1
        encodings = self.directory["encoding"]
        self.is_raw = bool(((encodings == PLAIN) | (encodings == WIDE)).any())  # isin would take half of all this
        self.dictionary: VariableValues | None = None
        addresses = (0, 0)
        if flags & DICTIONARY:
            start, length = int(entry["dictionary_offset"]), int(entry["dictionary_length"])
            if checksum_of(data[start : start + length]) != int(entry["dictionary_checksum"]):
                raise Corrupt(f"{reader.name}: the dictionary of column {id} is damaged", hint=_HINT)
            codes = int(entry["codes"])
            heap = start + (4 * (codes + 1) + 7) // 8 * 8
            offsets = frozen(np.frombuffer(data, np.int32, codes + 1, start))
            self.dictionary = VariableValues(offsets, frozen(data[heap : start + length - 8]), None)
            addresses = (reader.address + start, reader.address + heap)
        self._shift = reader.block_rows.bit_length() - 1
        self._header = np.array(
            [
                reader.address,
                reader.address + offset,
                self.verified.ctypes.data,
                *addresses,
                self._shift,
                reader.rows_count,
                self.physical.size,
            ],
            np.uint64,
        )
        self.address: int = self._header.ctypes.data

    def room_for_valid(self, start: int, stop: int) -> np.ndarray | None:
        """An array for the validity of rows; None where their blocks have no NULLs."""
        if not self.nulls or not self.directory["nulls"][start >> self._shift : ((stop - 1) >> self._shift) + 1].any():
            return None
        return np.empty(stop - start, np.uint8)

    def expect(self, type: Type) -> None:
        """Programmers may err about a column's type; look once, for this is on the way of small reads."""
        if type is not self._expected:
            assert physical_of(type) is self.physical, f"column {self.id} holds {self.physical.name}, not {type}"
            self._expected = type


_CODES: Final = np.dtype(np.int32)
_FOOTER_BYTES: Final = 128 * 1024
"""What is read at once, to begin with: the footer, and the directories before it."""

_HINT: Final = "Run `weft check` to see what else is damaged, and restore from a backup."


class _Own(threading.local):
    """A thread's own room for one value, and for what it is asked by: making arrays would cost more than the value."""

    def __init__(self) -> None:
        self.row = np.zeros(1, np.int64)
        self.valid = np.zeros(1, np.uint8)
        self.out = np.zeros(2, np.int64)
        self.row_address = address_of(self.row)
        self.valid_address = address_of(self.valid)
        self.out_address = address_of(self.out)


@lru_cache(maxsize=64)
def _rows_of(ids: bytes) -> dict[int, int]:
    """Which row is whose, by the identifiers in their order: the same in most segments of a table."""
    return {id: row for row, id in enumerate(np.frombuffer(ids, np.int64).tolist())}


def _sealed(array: np.ndarray) -> np.ndarray:
    """The array, read-only: ``frozen`` in the fastest form."""
    array.setflags(write=False)
    return array


_OWN: Final = _Own()
