"""The overlay of a segment: which of its rows have ended, and when. Segments never change; this is what does.

    visible(version, start, stop)     the rows of a range that have not ended at a version
    end(rows, version)                end rows; the writer alone
    items(up_to)                      what a checkpoint writes down

A scan of a segment without ended rows asks one integer. With some, a scan at a version after all ends reads a bitmap;
only a scan of the past looks ends up one by one.

Why readers need no lock: the writer raises ``last_end`` before it sets the first bit of a commit, a reader looks at
``last_end`` after it has read the bits. If that is at or below its version, then so were the ends of all bits that it
saw; else it asks for each end.

``rest_end`` is the end of all rows that have none of their own: TRUNCATE, in constant time.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from .kernels import overlay as kernels

OPEN: Final = np.iinfo(np.int64).max
_PLACES_MIN: Final = 64


class Overlay:
    """Ends of the rows of one segment. One writer; readers take no lock."""

    __slots__ = ("_bits", "_table", "count", "last_end", "rest_end", "rows_count")

    def __init__(self, rows_count: int) -> None:
        self.rows_count = rows_count
        self.count = 0  # rows with an end of their own
        self.last_end = 0  # no row ended after this version
        self.rest_end = OPEN
        self._bits: np.ndarray | None = None
        self._table: tuple[np.ndarray, np.ndarray] = (np.zeros(0, np.uint32), np.zeros(0, np.int64))

    @property
    def ended_count(self) -> int:
        """Rows that have ended."""
        return self.count if self.rest_end == OPEN else self.rows_count

    @property
    def bytes_used(self) -> int:
        keys, ends = self._table
        return keys.nbytes + ends.nbytes + (0 if self._bits is None else self._bits.nbytes)

    def end(self, rows: np.ndarray, version: int) -> np.ndarray:
        """End the rows (int64, negative ones skipped) that have not ended: bool[n] says which. Rows are distinct."""
        if self.rest_end != OPEN:
            return np.zeros(len(rows), np.bool_)
        return self._insert(rows, np.array([version], np.int64), last=version)

    def end_at(self, rows: np.ndarray, ends: np.ndarray) -> None:
        """Set the ends (int64[n]) of rows that have none: those of a checkpoint, or of the parts it was made from."""
        if len(rows):
            if len(ends) == 1:
                self._insert(rows, ends, last=int(ends[0]))
            else:
                self._insert(rows, ends, last=int(ends.max()))

    def end_rest(self, version: int) -> int:
        """End all rows that have not ended; returns how many."""
        if self.rest_end != OPEN:
            return 0
        self.last_end = max(self.last_end, version)
        self.rest_end = version
        return self.rows_count - self.count

    def ends_of(self, rows: np.ndarray) -> np.ndarray:
        """The end version of each row (int64[n]); OPEN where it lives."""
        rest = self.rest_end
        bits = self._bits
        found = np.full(len(rows), rest, np.int64)
        if bits is not None:
            keys, ends = self._table
            kernels.look_up(keys, ends, bits, rows, found)
        return found

    def visible(self, version: int, start: int, stop: int) -> np.ndarray | None:
        """Which rows of ``start`` to ``stop`` have not ended at ``version``: uint8[stop - start], None for all."""
        if self.rest_end <= version:
            return np.zeros(stop - start, np.uint8)
        bits = self._bits
        if bits is None:
            return None
        keys, ends = self._table
        mask = np.ones(stop - start, np.uint8)
        hidden = kernels.hide(keys, ends, bits, start, stop, version, False, mask)
        if hidden and self.last_end > version:
            mask[:] = 1
            hidden = kernels.hide(keys, ends, bits, start, stop, version, True, mask)
        return mask if hidden else None

    def items(self, up_to: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows (int64, in no order) with an end of their own at or before ``up_to``, and their ends."""
        keys, ends = self._table
        rows_out = np.empty(self.count, np.int64)
        ends_out = np.empty(self.count, np.int64)
        found = kernels.collect(keys, ends, up_to, rows_out, ends_out)
        return rows_out[:found], ends_out[:found]

    def _insert(self, rows: np.ndarray, ends: np.ndarray, *, last: int) -> np.ndarray:
        if self._bits is None:
            self._bits = np.zeros((self.rows_count + 63) // 64, np.uint64)
        self._reserve(len(rows))
        self.last_end = max(self.last_end, last)
        added = np.zeros(len(rows), np.uint8)
        keys, places = self._table
        self.count += kernels.insert(keys, places, self._bits, rows, ends, added)
        return added.view(np.bool_)

    def _reserve(self, more: int) -> None:
        keys, ends = self._table
        needed = (self.count + more) * 10 // 7 + 1
        if needed > len(keys):
            size = max(1 << (needed - 1).bit_length(), _PLACES_MIN)
            larger = (np.zeros(size, np.uint32), np.zeros(size, np.int64))
            kernels.rehash(keys, ends, *larger)
            self._table = larger
