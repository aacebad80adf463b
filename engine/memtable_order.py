"""The living rows of a memtable in the order of their keys: for ``apply``, which seeks the first or last of a range.

A memtable's index knows single keys. What is kept per group of a materialized view seeks the next value where the least
one went (aggregates/values.py). The first such seek sorts the rows that live; what comes later is a *tail*, looked at
row by row while it is short, and then sorted as a *run* of its own. Runs of similar size become one, so they are few,
and a row is sorted as often as their number has binary digits. A memtable that is never asked costs nothing.

    runs    rows by key, each run half as long as the one before or shorter; with steps over rows that have ended
    tail    the rows behind chunk and row ``_covered``

Always true: rows that live are in a run or in the tail. Those that have ended may be, too, until runs are joined; they
are stepped over (kernels/ordering.py). Only the writer comes here, so nothing is locked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from .kernels import ordering
from .kernels.index import MISSING
from .key_encoding import Keys
from .sort_rows import sort_rows

if TYPE_CHECKING:
    from .memtable import Chunk, Memtable

TAIL_MAX: Final = 256
"""Rows that are looked at one by one."""

LOOKS_MAX: Final = 1 << 14
"""Looks at rows of the tail, by all ranges that are sought at once, before sorting it is cheaper."""


@dataclass(frozen=True, slots=True)
class _Run:
    rows: np.ndarray
    ahead: np.ndarray
    behind: np.ndarray

    @property
    def bytes_used(self) -> int:
        return self.rows.nbytes + self.ahead.nbytes + self.behind.nbytes


class MemtableOrder:
    """Of one memtable of a table with primary key. ``bytes_used`` is what it takes."""

    __slots__ = ("_covered", "_memtable", "_runs", "_width", "bytes_used")

    def __init__(self, memtable: Memtable, *, width: int) -> None:
        """``width``: words of a key, 0 where it varies."""
        self._memtable = memtable
        self._width = width
        self._covered = (0, 0)
        self._runs: list[_Run] = []
        self.bytes_used = 0

    def extreme(self, low: Keys, high: Keys, *, last: bool) -> np.ndarray:
        """The first (or last) living row of each range of keys: locators (int64), MISSING where there is none."""
        memtable = self._memtable
        best = np.full(len(low), MISSING, np.int64)
        bounds = (low.words, low.offsets, low.width, high.words, high.offsets, high.width, last, best)
        tail = self._tail()
        if len(tail) > TAIL_MAX or len(tail) * len(low) > LOOKS_MAX:
            self._cover(tail)
        elif len(tail):
            ordering.extreme_of_rows(memtable.table, self._width, tail, *bounds)
        for run in self._runs:
            ordering.extreme_of_run(memtable.table, self._width, run.rows, run.ahead, run.behind, *bounds)
        return best

    def _tail(self) -> np.ndarray:
        """The rows (uint32) that no run has."""
        number, first = self._covered
        parts: list[np.ndarray] = []
        for place, chunk in enumerate(self._memtable.chunks[number:], number):
            parts.append(np.arange((place << 16) + first, (place << 16) + chunk.count, dtype=np.uint32))
            first = 0
        return np.concatenate(parts) if parts else _NO_ROWS

    def _cover(self, tail: np.ndarray) -> None:
        """Make a run of the tail, and join those that have become similar."""
        chunks = self._memtable.chunks
        self._covered = (len(chunks) - 1, chunks[-1].count)
        rows = self._sorted(tail)
        while self._runs and len(self._runs[-1].rows) < 2 * len(rows):
            rows = self._sorted(np.sort(np.concatenate((self._runs.pop().rows, rows))))
        if len(rows):
            places = np.arange(len(rows), dtype=np.uint32)
            self._runs.append(_Run(rows, places + np.uint32(1), places))
        self.bytes_used = sum(run.bytes_used for run in self._runs)

    def _sorted(self, rows: np.ndarray) -> np.ndarray:
        """Those of the rows (ascending) that live, by their keys."""
        memtable = self._memtable
        found = np.empty(len(rows), np.uint32)
        found = found[: ordering.living(memtable.table, rows, found)]
        if not len(found):
            return found
        numbers, counts = np.unique(found >> np.uint32(16), return_counts=True)
        chunks = memtable.chunks
        words = [chunk.keys for chunk in chunks]
        offsets = [chunk.key_offsets for chunk in chunks]
        pairs = list(zip(numbers.tolist(), counts.tolist(), strict=True))
        return sort_rows(found, pairs, words, offsets, width=self._width)[0]


def order_of(memtable: Memtable, chunk: Chunk) -> MemtableOrder:
    """An order of a memtable, one of whose chunks this is."""
    encoder = chunk.layout.encoder
    assert encoder is not None, "rows are ordered by primary key"
    return MemtableOrder(memtable, width=encoder.width if encoder.fixed else 0)


_NO_ROWS: Final = np.empty(0, np.uint32)
