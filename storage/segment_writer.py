"""Writing a segment: one section at the end of a file, as a stream, column after column.

Blocks are encoded and checksummed a few at a time and handed to the file; what is kept is the directory, 64 bytes per
column and block, until ``finish`` writes it. A writer that is not finished leaves bytes that nothing refers to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from ..base.limits import GIB, VALUE_BYTES_MAX
from ..base.types import Type
from .column_values import Values, VariableValues
from .encoding import EMPTY_ZONE, Encoder, Physical, add_to_sketch, count_of, new_entries, order_of, physical_of
from .kernels.blocks import BLOCK_ROWS, PLAIN, WIDE
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
    SKETCH_ROWS_MIN,
    SKETCH_WORDS,
    SKETCHES,
    TAIL,
    SectionRef,
    checksum_of,
)

_BLOCK_ROWS_MIN: Final = 64
_BLOCK_BYTES_MAX: Final = GIB
assert _BLOCK_ROWS_MIN * VALUE_BYTES_MAX <= _BLOCK_BYTES_MAX, (
    "some size of a block is small enough for the longest values"
)


class Output(Protocol):
    """What a segment is written to: a file that is only appended to, such as ``storage.files.FileWriter``."""

    @property
    def position(self) -> int:
        """Where the next byte goes."""
        ...

    def write(self, data: memoryview, /) -> object:
        """Append; the bytes are not needed after the call."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSize:
    """What a column became: bytes on disk, and bytes of its values as they are in memory."""

    id: int
    bytes: int
    plain_bytes: int


class SegmentWriter:
    """Writes one section. Columns come one after another, each in pieces; memory is bounded by a piece."""

    def __init__(self, out: Output, *, rows_count: int, block_rows: int = BLOCK_ROWS) -> None:
        """The section begins at ``out.position``, a multiple of 64: sections end at one, so files consist of them."""
        assert out.position % ALIGNMENT == 0, f"a section may not begin at {out.position}"
        assert block_rows in (1 << shift for shift in range(6, 32)), f"blocks of {block_rows} rows"
        self._out = out
        self._offset = out.position
        self._rows = rows_count
        self.block_rows = block_rows
        self._blocks = -(-rows_count // block_rows)
        self._written = 0
        self._columns: list[np.ndarray] = []
        self._directory: list[np.ndarray] = []
        self._indexes: list[np.ndarray] = []
        self._sketches: list[np.ndarray] = []

    def column(
        self, id: int, type: Type, pieces: Iterable[Values], *, dictionary: VariableValues | None = None
    ) -> ColumnSize:
        """Write a column. Pieces come in row order, each of whole blocks but the last.

        With ``dictionary`` (different values in the order of their bytes) the pieces are codes, FixedValues of int32.
        """
        physical, order = physical_of(type), order_of(type)
        assert dictionary is None or physical is Physical.BYTES, f"a dictionary for {type}"
        if dictionary is not None and not count_of(dictionary):
            # Codes of NULLs must refer to something.
            dictionary = VariableValues(np.zeros(2, np.int32), np.empty(0, np.uint8), None)
        encoder = Encoder(physical, order, block_rows=self.block_rows, dictionary=dictionary)
        entries = new_entries(self._blocks)
        self._align()
        entry = np.zeros(1, COLUMN)
        start = self._written
        rows = 0
        plain = 0
        sketch = self._new_sketch(id)
        if sketch is not None and dictionary is not None:
            add_to_sketch(sketch, dictionary)
        for piece in pieces:
            assert rows % self.block_rows == 0, f"a piece before row {rows} of column {id} ended inside of a block"
            plain += _plain_bytes(piece, dictionary)
            if sketch is not None and dictionary is None:
                add_to_sketch(sketch, piece)
            for first, last in encoder.cuts(piece):
                of_cut = entries[(rows + first) // self.block_rows : -(-(rows + last) // self.block_rows)]
                at = self._written
                encoded = encoder.encode(piece, first, last, of_cut, at)
                view = encoded.data
                of_cut["checksum"] = [
                    checksum_of(view[offset - at : offset - at + length])
                    for offset, length in zip(of_cut["offset"].tolist(), of_cut["length"].tolist(), strict=True)
                ]
                self._write(view)
            rows += count_of(piece)
        assert rows == self._rows, f"column {id} has {rows} rows in a segment of {self._rows}"
        entry["id"], entry["physical"], entry["order"] = id, physical, order
        entry["offset"], entry["length"] = start, self._written - start
        entry["nulls"] = entries["nulls"].sum(dtype=np.uint64)
        entry["low"], entry["high"] = EMPTY_ZONE
        if self._blocks:
            entry["low"], entry["high"] = entries["low"].min(), entries["high"].max()
        entry["plain"] = plain
        entry["directory"] = checksum_of(entries)
        flags = IN_PLACE if self._in_place(entries) else 0
        if dictionary is not None:
            flags = DICTIONARY
            self._write_dictionary(entry, dictionary)
        entry["flags"] = flags
        self._columns.append(entry)
        self._directory.append(entries)
        return ColumnSize(id=id, bytes=self._written - start, plain_bytes=plain)

    def index(
        self,
        *,
        sample_words: np.ndarray | None = None,
        sample_offsets: np.ndarray | None = None,
        key_filter: np.ndarray | None = None,
        pk_filter: np.ndarray | None = None,
    ) -> None:
        """Write index arrays, all of 8-byte words: they are stored as they are, and mean something to the engine."""
        for kind, array in (
            (SAMPLE_WORDS, sample_words),
            (SAMPLE_OFFSETS, sample_offsets),
            (KEY_FILTER, key_filter),
            (PK_FILTER, pk_filter),
        ):
            if array is not None:
                self._write_index(kind, array)

    def finish(self) -> SectionRef:
        """Write sketches, directory and footer. The file's owner syncs it."""
        if self._sketches:
            self._write_index(SKETCHES, np.concatenate(self._sketches))
        self._align()
        tail = np.zeros(1, TAIL)
        tail["directory"] = self._written
        for entries in self._directory:
            self._write(entries.view(np.uint8).data)
        footer = self._written
        tables = b"".join(entry.tobytes() for entry in (*self._columns, *self._indexes))
        tables += bytes(-len(tables) % ALIGNMENT)
        length = footer + len(tables) + TAIL.itemsize
        tail["magic"], tail["format"] = MAGIC, FORMAT
        tail["rows"], tail["blocks"], tail["block_rows"] = self._rows, self._blocks, self.block_rows
        tail["columns"], tail["indexes"] = len(self._columns), len(self._indexes)
        tail["footer"], tail["length"] = footer, length
        checksum = checksum_of(tables + tail.tobytes()[:-8])
        tail["checksum"] = checksum
        self._write(memoryview(tables + tail.tobytes()))
        return SectionRef(offset=self._offset, length=length, checksum=checksum)

    def _write_index(self, kind: int, array: np.ndarray) -> None:
        assert array.itemsize == 8, f"an index array of {array.dtype}"
        self._align()
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        entry = np.zeros(1, INDEX)
        entry["kind"], entry["offset"], entry["length"] = kind, self._written, len(data)
        entry["checksum"] = checksum_of(data)
        self._write(data)
        self._indexes.append(entry)

    def _new_sketch(self, id: int) -> np.ndarray | None:
        """The registers of a column's sketch, empty; None for hidden columns and small segments."""
        if id < 0 or self._rows < SKETCH_ROWS_MIN:
            return None
        words = np.zeros(SKETCH_WORDS, np.int64)
        words[0] = id
        self._sketches.append(words)
        return words[1:].view(np.uint8)

    def _write_dictionary(self, entry: np.ndarray, dictionary: VariableValues) -> None:
        self._align()
        codes = count_of(dictionary)
        first, last = int(dictionary.offsets[0]), int(dictionary.offsets[-1])
        offsets = (dictionary.offsets - dictionary.offsets[0]).astype("<u4").tobytes()
        offsets += bytes(-len(offsets) % 8)
        # Eight spare bytes, so that values can be copied by words.
        data = offsets + dictionary.data[first:last].tobytes() + bytes(8)
        entry["codes"] = codes
        entry["dictionary_offset"], entry["dictionary_length"] = self._written, len(data)
        entry["dictionary_checksum"] = checksum_of(data)
        self._write(memoryview(data))

    def _in_place(self, entries: np.ndarray) -> bool:
        plain = (entries["encoding"] == PLAIN) | (entries["encoding"] == WIDE)
        return bool(len(entries)) and bool(plain.all()) and not entries["nulls"].any()

    def _align(self) -> None:
        if self._written % ALIGNMENT:
            self._write(memoryview(bytes(-self._written % ALIGNMENT)))

    def _write(self, data: memoryview) -> None:
        self._out.write(data)
        self._written += len(data)


def block_rows_for(*, longest: int, total: int) -> int:
    """Rows of a block where variable values of a column have ``longest`` and ``total`` bytes at most.

    With the usual size if no block can get too long to be read as one array, else with fewer rows.
    """
    rows = BLOCK_ROWS
    while rows > _BLOCK_ROWS_MIN and min(rows * longest, total) > _BLOCK_BYTES_MAX:
        rows //= 2
    return rows


def _plain_bytes(values: Values, dictionary: VariableValues | None) -> int:
    """Bytes of values in memory, as Arrow has them (a bit for a boolean apart)."""
    if isinstance(values, VariableValues):
        return int(values.offsets[-1]) - int(values.offsets[0]) + 4 * count_of(values)
    if dictionary is None:
        return values.values.nbytes
    lengths = np.diff(dictionary.offsets)
    return int(lengths[values.values].sum(dtype=np.int64)) + 4 * len(values.values)
