"""How keys are found in a segment: the search header that the kernels read, and what they need verified.

    index.find(keys)                        the newest row of each key
    find_ranges(indexes, low, high)         the rows between two keys, in many segments at once; rows_between names them
    gather(indexes, column, segments, rows) values of rows of many segments at once

The last two make a series read, few rows out of many segments, a handful of kernel calls. Bounds are encoded keys, or
the first bytes of keys: all rows whose keys begin with ``prefix`` lie from ``prefix`` to ``following(prefix)``.

Always true: a header is complete before it is used; what it points to lives as long as the segment's reader, which the
index keeps. Blocks are verified before a kernel reads them; finding one damaged raises Corrupt, naming it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from ..base.types import Kind, bare, stored, wrapped
from ..storage.column_values import (
    DTYPES,
    PAIRS,
    FixedValues,
    Values,
    VariableValues,
    address_of,
    array_of,
    frozen,
    new_heap,
    values_of,
)
from ..storage.segment import SegmentReader
from .kernels import ordering
from .kernels import search as kernels
from .key_encoding import VARIABLE, WIDTHS, Keys
from .layout import Layout
from .projection import missing_bytes, missing_value
from .schema import Column

_KINDS: Final[dict[Kind, int]] = {
    Kind.BOOLEAN: kernels.UNSIGNED,
    Kind.REAL: kernels.FLOAT,
    Kind.DOUBLE: kernels.FLOAT,
    Kind.NUMERIC: kernels.NUMERIC,
    Kind.UUID: kernels.UUID,
    **dict.fromkeys(VARIABLE, kernels.TEXT),
}

_NO_HASH: Final = np.empty(0, np.uint64)


class SegmentIndex:
    """The search header of one segment. Thread-safe."""

    __slots__ = ("_columns", "_filtered", "_header", "_tables", "address", "headers", "layout", "reader")

    def __init__(self, reader: SegmentReader, layout: Layout) -> None:
        """Raises Corrupt where the sample keys or the directory of a column of the sort key are damaged."""
        self.reader = reader
        self.layout = layout
        self._columns: dict[int, int] = {}
        self._tables: list[np.ndarray] = []
        words, offsets = reader.sample_words, reader.sample_offsets
        assert words is not None, f"{reader.name} has sample keys"
        key_filter = reader.key_filter
        if key_filter is None and layout.table.primary_key and layout.table.key == layout.table.primary_key:
            key_filter = reader.pk_filter
        columns = layout.sort_columns
        header = np.zeros(16 + 4 * len(columns), np.uint64)
        header[0] = reader.rows_count
        header[1], header[2] = address_of(words), address_of(offsets)
        header[3] = 0 if offsets is not None else layout.sort_encoder.width
        header[6], header[7] = address_of(key_filter), 0 if key_filter is None else len(key_filter) // 4
        header[8], header[9] = len(columns), reader.blocks_count
        for place, column in enumerate(columns):
            width = WIDTHS.get(column.type.kind, 0)
            if not width:
                dictionary = reader.dictionary(column.id)
                width = 0 if dictionary is None else len(dictionary.offsets) - 1
            kind = _KINDS.get(column.type.kind, kernels.SIGNED)
            header[16 + 4 * place : 20 + 4 * place] = reader.header(column.id), kind, width, column.nullable
        self._header = header
        self._filtered = False
        self.address = address_of(header)
        self.headers = np.array([self.address], np.uint64)

    def find(self, keys: Keys) -> np.ndarray:
        """The newest row of each encoded sort key: int64[n], MISSING where there is none."""
        self.prepare()
        rows = np.empty(len(keys), np.int64)
        state = np.zeros(3, np.int64)
        done = 0
        while True:
            done = kernels.find(self.headers, keys.hashes, keys.words, keys.offsets, keys.width, done, rows, state)
            if done == len(keys):
                return rows
            self.verify(state)

    def extreme(self, low: Keys, high: Keys, *, ended: np.ndarray, last: bool) -> np.ndarray:
        """The first row of each range of keys, or the last, without a bit in ``ended``: int64[n], MISSING for none."""
        rows = np.empty(len(low), np.int64)
        state = np.zeros(3, np.int64)
        done = 0
        while True:
            done = ordering.extreme_of_segment(
                self.headers, ended, low.words, low.offsets, low.width, high.words, high.offsets, high.width, last,
                done, rows, state,
            )  # fmt: skip
            if done == len(low):
                return rows
            self.verify(state)

    def range(self, low: bytes, high: bytes) -> tuple[int, int]:
        """The rows from key ``low`` to before key ``high``, both may be cut short; an empty one is no bound."""
        starts, stops, _ = find_ranges([self], low, high)
        return int(starts[0]), int(stops[0])

    def may_hold(self, hashes: np.ndarray) -> np.ndarray:
        """Whether rows with keys of these hashes (uint64[n], of the key columns) may be here: uint8[n]."""
        result = np.empty(len(hashes), np.uint8)
        kernels.may_hold(self.headers, hashes, result)
        return result

    def column(self, id: int) -> int:
        """The address of a column's header, or 0 where the segment is older than the column."""
        address = self._columns.get(id)
        if address is None:
            address = self.reader.header(id) if id in self.reader.column_ids else 0
            self._columns[id] = address
        return address

    def know(self, ids: Sequence[int]) -> None:
        """Make the entries of these columns in the table that kernels/runs.py reads, by identifier counted from that of
        the delta flags (-2). A table is replaced, never changed, and lives as long as the index.
        """
        known = {*list(self._columns), *ids}
        table = np.zeros(max(known) + 4, np.uint64)
        table[0] = len(table) - 1
        for id in known:
            table[id + 3] = self.column(id) or 1
        self._tables.append(table)
        self._header[14] = address_of(table)

    def verify(self, state: np.ndarray) -> None:
        """Verify the block of the sort key where a kernel stopped. Raises Corrupt."""
        self.reader.verify(self.layout.sort_columns[int(state[1])].id, int(state[2]))

    def prepare(self) -> None:
        """The filter of primary keys is read when the first key is sought: reads of ranges can do without."""
        if self._filtered:
            return
        filter = self.reader.pk_filter
        if filter is not None:
            self._header[4] = address_of(filter)
            self._header[5] = len(filter) // 4
        self._filtered = True


def following(prefix: bytes) -> bytes:
    """The least bytes behind all that begin with ``prefix``; empty where there are none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,)) if stripped else b""


def find_ranges(
    indexes: Sequence[SegmentIndex], low: bytes, high: bytes, *, key_hash: int | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """(first row, row behind the last) of the rows from key ``low`` to before key ``high`` in each segment, and how
    many rows that are in all.

    Bounds may be cut short, and an empty one is none. ``key_hash`` is the hash of the one key (the key columns) that
    all these rows have, if so: segments whose filter does not know it are not looked into.
    """
    starts, stops = np.empty(len(indexes), np.int64), np.empty(len(indexes), np.int64)
    headers = headers_of(indexes)
    hashed = _NO_HASH if key_hash is None else np.array([key_hash], np.uint64)
    low_words, high_words = _words(low), _words(high)
    state = np.zeros(4, np.int64)
    done = 0
    while True:
        done = kernels.find_ranges(headers, hashed, low_words, high_words, done, starts, stops, state)
        if done == len(indexes):
            return starts, stops, int(state[3])
        indexes[done].verify(state)


def rows_between(starts: np.ndarray, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(segment, row), int64[n] each, of all rows that ``find_ranges`` found: what ``gather`` takes."""
    count = int((stops - starts).sum())
    segments, rows = np.empty(count, np.int64), np.empty(count, np.int64)
    kernels.name_rows(starts, stops, segments, rows)
    return segments, rows


def gather(indexes: Sequence[SegmentIndex], column: Column, segments: np.ndarray, rows: np.ndarray) -> Values:
    """A column's values in rows (int64[n]) of the segments ``indexes[segments[i]]`` (int64[n]), in that order.

    Where a segment is older than the column, its ``missing`` value.
    """
    count = len(rows)
    segments, rows = frozen(segments[:]), frozen(rows[:])
    columns = _columns(indexes, column, segments, rows)
    valid = np.zeros(count, np.uint8)
    values: Values
    if column.type.is_variable:
        ends = np.empty(count + 1, np.int64)
        nulls = kernels.gather_spans(columns, segments, rows, ends, valid)
        heap = new_heap(int(ends[-1]), count=count)
        kernels.gather_bytes(columns, segments, rows, ends, heap)
        values = VariableValues(ends.astype(np.int32), heap, valid)
    else:
        pair = column.type.kind in PAIRS
        array = np.empty((count, 2) if pair else count, DTYPES[column.type.kind])
        nulls = kernels.gather_fixed(columns, segments, rows, 16 if pair else array.itemsize, address_of(array), valid)
        values = FixedValues(array, valid)
    if not columns.all():
        return _filled(values, column, columns[segments] == 0)
    if not nulls:
        values.valid = None
    return values


def text_bytes(indexes: Sequence[SegmentIndex], column: Column, segments: np.ndarray, rows: np.ndarray) -> int:
    """How many bytes a column of variable width has in these rows."""
    segments, rows = frozen(segments[:]), frozen(rows[:])
    columns = _columns(indexes, column, segments, rows)
    ends = np.empty(len(rows) + 1, np.int64)
    kernels.gather_spans(columns, segments, rows, ends, np.zeros(len(rows), np.uint8))
    older = 0 if columns.all() else int(np.count_nonzero(columns[segments] == 0))
    return int(ends[-1]) + (older * missing_bytes(column) if older else 0)


def _columns(indexes: Sequence[SegmentIndex], column: Column, segments: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The addresses of the column's headers; what these rows need of it is verified. Raises Corrupt."""
    columns = np.array([index.column(column.id) for index in indexes], np.uint64)
    state = np.zeros(3, np.int64)
    while not kernels.check_verified(columns, segments, rows, state):
        indexes[int(state[0])].reader.verify(column.id, int(state[2]))
    return columns


def headers_of(indexes: Sequence[SegmentIndex]) -> np.ndarray:
    """The addresses of the search headers, for kernels over many segments."""
    return np.array([index.address for index in indexes], np.uint64)


def _filled(values: Values, column: Column, older: np.ndarray) -> Values:
    """The values with the column's ``missing`` value in rows that are older than it."""
    value = missing_value(column)
    if value is None:
        return values
    filled = bare(array_of(values, column.type)).to_pylist()
    for place in np.flatnonzero(older).tolist():
        filled[place] = stored(value, column.type)
    return values_of(wrapped(pa.array(filled, column.type.storage), column.type), column.type)


def _words(key: bytes) -> np.ndarray:
    return np.frombuffer(key.ljust((len(key) + 7) & ~7, b"\0"), np.uint64)
