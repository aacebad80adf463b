"""The overlay of a segment: which of its rows have ended, and when. Segments never change; this is what does.

    visible(version, start, stop)     the rows of a range that have not ended at a version; hidden: those that have
    end(rows, version)                end rows; the writer alone
    items(up_to)                      what a checkpoint writes down
    between(low, high)                what changed since, for feeds and read sets

A scan of a segment without ended rows asks one integer. With some, a scan at a version after all ends reads a bitmap;
only a scan of the past looks ends up one by one.

Why readers need no lock: the writer raises ``last_end`` before it sets the first bit of a commit, a reader looks at
``last_end`` after it has read the bits. If that is at or below its version, then so were the ends of all bits that it
saw; else it asks for each end.

``rest_end`` is the end of all rows that have none of their own: TRUNCATE, in constant time.

Where one commit ends many rows at once (an UPDATE of millions), they are a *layer*: one version and a bitmap, an eighth
of a byte for each row of the segment instead of 25 bytes for each row that ended, and set in a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from ..storage.column_values import address_of
from .kernels import overlay as kernels

OPEN: Final = np.iinfo(np.int64).max
_PLACES_MIN: Final = 64

PIECE_ROWS: Final = 65_536
"""Rows that ``between`` gives at once."""

_ROOM: Final = 4_096
"""Rows that may end while ``items`` collects; it begins anew where there are more."""

LAYER_ROWS_MIN: Final = 1_024
LAYER_SHARE: Final = 64
"""Rows that end together are a layer if they are so many, and one in so many of the segment."""

BITS, LAST_END, REST_END, UNKNOWN = range(4)
"""Fields of the header: the address of the bitmap or 0, the versions, and 1 where the ends are not known."""

_NO_BITS: Final = np.empty(0, np.uint64)

LAYERS_MAX: Final = 16
"""Each costs a look at its bitmap for every end that is asked for."""


class Overlay:
    """Ends of the rows of one segment. One writer; readers take no lock."""

    __slots__ = (
        "_bits", "_ended", "_layers", "_placed", "_table", "count", "header", "last_end", "rest_end", "rows_count",
    )  # fmt: skip

    def __init__(self, rows_count: int) -> None:
        self.rows_count = rows_count
        self.count = 0  # rows with an end of their own
        self._placed = 0  # those of them in the table
        self.last_end = 0  # no row ended after this version
        self.rest_end = OPEN
        self.header = np.array([0, 0, OPEN, 0], np.uint64)  # for kernels/rows.py
        self._bits: np.ndarray | None = None
        self._layers: tuple[tuple[int, np.ndarray], ...] = ()
        self._table: tuple[np.ndarray, np.ndarray] = (np.zeros(0, np.uint32), np.zeros(0, np.int64))
        self._ended: tuple[int, int, np.ndarray] | None = None  # what ended_by_block gave, at which last end

    @property
    def ended_count(self) -> int:
        """Rows that have ended."""
        return self.count if self.rest_end == OPEN else self.rows_count

    @property
    def bytes_used(self) -> int:
        keys, ends = self._table
        bits = 0 if self._bits is None else self._bits.nbytes
        return keys.nbytes + ends.nbytes + bits * (1 + len(self._layers))

    def end(self, rows: np.ndarray, version: int) -> np.ndarray:
        """End the rows (int64, negative ones skipped) that have not ended: bool[n] says which. Rows are distinct."""
        if self.rest_end != OPEN:
            return np.zeros(len(rows), np.bool_)
        return self._add(rows, version)

    def end_at(self, rows: np.ndarray, ends: np.ndarray) -> None:
        """Set the ends (int64[n]) of rows that have none: those of a checkpoint, or of the parts it was made from."""
        if not len(rows):
            return
        if len(ends) == 1:
            self._add(rows, int(ends[0]))
            return
        versions, counts = np.unique(ends, return_counts=True)
        for version in versions[[self._is_layer(count) for count in counts.tolist()]].tolist():
            together = ends == version
            self._add(rows[together], version)
            rows, ends = rows[~together], ends[~together]
        if len(rows):
            self._insert(rows, ends, last=int(ends.max()))

    def end_rest(self, version: int) -> int:
        """End all rows that have not ended; returns how many."""
        if self.rest_end != OPEN:
            return 0
        self._raise_last_end(version)
        self.rest_end = version
        self.header[REST_END] = version
        return self.rows_count - self.count

    def distrust(self) -> None:
        """It is not known any more which rows have ended: kernels shall leave the segment to others."""
        self.header[UNKNOWN] = 1

    def ends_of(self, rows: np.ndarray) -> np.ndarray:
        """The end version of each row (int64[n]); OPEN where it lives."""
        rest = self.rest_end
        bits = self._bits
        found = np.full(len(rows), rest, np.int64)
        if bits is not None:
            keys, ends = self._table
            kernels.look_up(keys, ends, bits, rows, found)
            for version, layer in self._layers:
                held = (layer[rows >> 6] >> (rows & 63).astype(np.uint64)) & np.uint64(1)
                found[(held != 0) & (rows >= 0)] = version
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
            for end, layer in self._layers:
                if end <= version:
                    hidden += kernels.hide(keys, ends, layer, start, stop, version, False, mask)
        return mask if hidden else None

    def ended_at(self, version: int) -> int | None:
        """How many rows have ended at ``version``; None where rows ended later: then only ``visible`` tells."""
        count = self.ended_count  # read before last_end is, as by ``visible``
        return count if self.last_end <= version else None

    def any_ended(self, start: int, stop: int) -> bool:
        """Whether rows of ``start`` to ``stop`` have ended by now, or of the 64 that those at its ends stand among."""
        bits = self._bits
        return self.rest_end != OPEN or (bits is not None and bool(bits[start >> 6 : (stop + 63) >> 6].any()))

    def ended_by_block(self, version: int, block_rows: int) -> np.ndarray | None:
        """How many rows of each block (of a multiple of 64 rows) have ended at ``version``: int64[blocks].

        None where rows ended later: then only ``visible`` tells.
        """
        known = self._ended
        if known is not None and known[:2] == (self.last_end, block_rows) and known[0] <= version:
            return known[2]
        bits = self._bits
        count = -(-self.rows_count // block_rows)
        if self.rest_end != OPEN:
            found = np.minimum(block_rows, self.rows_count - block_rows * np.arange(count))
        elif bits is None:
            found = np.zeros(count, np.int64)
        else:
            edges = np.arange(0, count * (block_rows // 64), block_rows // 64)
            found = np.add.reduceat(np.bitwise_count(bits), edges, dtype=np.int64)
        last = self.last_end
        if last > version:
            return None
        self._ended = last, block_rows, found
        return found

    @property
    def ended(self) -> np.ndarray | None:
        """A bit (of uint64 words) for each row that has ended, no words where none has; None: all have. The writer
        alone.
        """
        if self.rest_end != OPEN:
            return None
        return _NO_BITS if self._bits is None else self._bits

    def hidden(self, version: int, start: int, stop: int) -> np.ndarray | None:
        """A bit for each row, of ``start`` to ``stop`` those that have ended at ``version``; None: none of them.

        uint64, two words more than the rows take; the first one is that of ``start``, whose bit has its place in there.
        """
        bits = self._bits
        if bits is None and self.rest_end > version:
            return None
        first, last = start >> 6, (stop + 63) >> 6
        words = np.zeros(last - first + 2, np.uint64)
        if bits is not None:
            words[:-2] = bits[first:last]  # read before last_end is, as by ``visible``
        if self.last_end <= version < self.rest_end:
            return words if words.any() else None
        mask = self.visible(version, start, stop)
        return None if mask is None else bits_of(mask, start)

    def items(self, up_to: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows (int64, in no order) with an end of their own at or before ``up_to``, and their ends.

        The writer may go on meanwhile: what had ended at the call is all there, what ends later may be.
        """
        layers = self._layers
        found_rows, found_ends = self._placed_between(-1, up_to)
        rows, whens = [found_rows], [found_ends]
        for version, layer in layers:
            if version <= up_to:
                rows.append(np.flatnonzero(np.unpackbits(layer.view(np.uint8), bitorder="little")))
                whens.append(np.full(len(rows[-1]), version, np.int64))
        return np.concatenate(rows), np.concatenate(whens)

    def between(self, low: int, high: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The rows (int64) that ended after ``low`` and at or before ``high``, and when: in pieces, each in order."""
        if self.last_end <= low:
            return
        layers, rest = self._layers, self.rest_end
        rows, ends = self._placed_between(low, high)
        order = np.argsort(rows)
        for start in range(0, len(rows), PIECE_ROWS):
            piece = order[start : start + PIECE_ROWS]
            yield rows[piece], ends[piece]
        bitmaps = [(version, layer, False) for version, layer in layers if low < version <= high]
        if low < rest <= high:
            bits = self._bits  # no row gets an end of its own any more
            bitmaps.append((rest, np.zeros((self.rows_count + 63) // 64, np.uint64) if bits is None else bits, True))
        for version, bitmap, inverted in bitmaps:
            for word in range(0, len(bitmap), PIECE_ROWS // 64):
                words = bitmap[word : word + PIECE_ROWS // 64]
                flags = np.unpackbits((~words if inverted else words).view(np.uint8), bitorder="little")
                rows = np.flatnonzero(flags[: self.rows_count - 64 * word]) + 64 * word
                if len(rows):
                    yield rows, np.full(len(rows), version, np.int64)

    def _placed_between(self, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows in the table that ended after ``low`` and at or before ``high``, in no order, and their ends."""
        keys, ends = self._table
        while True:
            room = int(np.count_nonzero(keys)) + _ROOM
            rows_out, ends_out = np.empty(room, np.int64), np.empty(room, np.int64)
            found = kernels.collect(keys, ends, low, high, rows_out, ends_out)
            if found >= 0:
                return rows_out[:found], ends_out[:found]

    def _add(self, rows: np.ndarray, version: int) -> np.ndarray:
        if not self._is_layer(len(rows)):
            return self._insert(rows, np.array([version], np.int64), last=version)
        bits = self._own_bits()
        self._reserve(0)
        self._raise_last_end(version)
        added = np.zeros(len(rows), np.uint8)
        layer = np.zeros(len(bits), np.uint64)
        self.count += kernels.mark(bits, layer, rows, added)
        self._layers = (*self._layers, (version, layer))
        bits |= layer
        return added.view(np.bool_)

    def _is_layer(self, count: int) -> bool:
        return count >= LAYER_ROWS_MIN and count * LAYER_SHARE >= self.rows_count and len(self._layers) < LAYERS_MAX

    def _own_bits(self) -> np.ndarray:
        if self._bits is None:
            self._bits = np.zeros((self.rows_count + 63) // 64, np.uint64)
            self.header[BITS] = address_of(self._bits)
        return self._bits

    def _raise_last_end(self, version: int) -> None:
        self.last_end = max(self.last_end, version)
        self.header[LAST_END] = self.last_end

    def _insert(self, rows: np.ndarray, ends: np.ndarray, *, last: int) -> np.ndarray:
        self._reserve(len(rows))
        bits = self._own_bits()
        self._raise_last_end(last)
        added = np.zeros(len(rows), np.uint8)
        keys, places = self._table
        placed = kernels.insert(keys, places, bits, rows, ends, added)
        self._placed += placed
        self.count += placed
        return added.view(np.bool_)

    def _reserve(self, more: int) -> None:
        keys, ends = self._table
        needed = (self._placed + more) * 10 // 7 + 1
        if needed > len(keys):
            size = max(1 << (needed - 1).bit_length(), _PLACES_MIN)
            larger = (np.zeros(size, np.uint32), np.zeros(size, np.int64))
            kernels.rehash(keys, ends, *larger)
            self._table = larger


def bits_of(mask: np.ndarray, start: int) -> np.ndarray:
    """What ``hidden`` gives, of what ``visible`` does."""
    at = start & 63
    flags = np.zeros(((at + len(mask) + 63) >> 6 << 6) + 128, np.uint8)
    flags[at : at + len(mask)] = mask == 0
    return np.packbits(flags, bitorder="little").view(np.uint64)
