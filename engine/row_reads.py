"""One row by its primary key as Python values, by one kernel call (kernels/rows.py) that finds it and lays it out.

A door is made for a cell's tuple of parts, and kept with the cell until another tuple takes its place. What it names
lives at least as long as those parts, and who reads holds on to the door.

Where it takes more than a look the answer is ``UNSURE``: a block is read for the first time, a segment has rows that
began after the version asked for, or its ends have to be looked up. The way of many keys (cells.py) then answers: it is
the oracle of this one, meets what is damaged, and leaves blocks verified for the next time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..base.errors import WeftError
from ..storage.column_values import address_of
from .kernels.rows import ABSENT, FOUND, PARTLY, read_row
from .kernels.rows import UNSURE as UNSURE_CODE
from .memtable import Memtable
from .segment import Segment

if TYPE_CHECKING:
    from .layout import Layout
    from .part import Part

UNSURE: Final[dict[str, Any]] = {}
"""No row: another way has to look."""

_BYTES_MAX: Final = 4_096
"""A row that takes more gets its room when it comes."""


class Door:
    """The addresses of a cell's parts, for reads under one definition of the table."""

    __slots__ = ("_bytes_count", "_kept", "_row", "_row_in_part", "_words", "layout", "parts")

    def __init__(self, layout: Layout, parts: tuple[Part, ...]) -> None:
        rows = layout.table.row_layout
        self.layout = layout
        self.parts = parts
        self._bytes_count, self._row, self._row_in_part = rows.bytes_count, rows.row, rows.row_in_part
        self._kept: list[object] = []
        self._words: np.ndarray | None = None  # None where a part cannot be read
        words = [len(parts), len(layout.table.columns)]
        try:
            for part in parts:
                words += self._part(part)
        except WeftError:
            return
        self._words = np.array([*words, *rows.columns], np.uint64)

    def _part(self, part: Part) -> list[int]:
        if isinstance(part, Memtable):
            return [0, address_of(part.header), 0, 0]
        assert isinstance(part, Segment), f"{part} is neither memtable nor segment"
        index = part.index
        index.prepare()
        index.know([column.id for column in self.layout.table.columns])
        self._kept.append(index)
        return [1, index.address, address_of(part.overlay.header), part.version_high]

    def get(self, encoded: bytes, version: int) -> dict[str, Any] | None:
        """The row with an encoded primary key visible at ``version``, by column name; None; or ``UNSURE``."""
        if self._words is None:
            return UNSURE
        out = bytearray(self._bytes_count)
        found = read_row(self._words, encoded, version, out)
        if found < UNSURE_CODE:
            out = bytearray((7 - found) & -8)
            self._bytes_count = max(self._bytes_count, min(len(out), _BYTES_MAX))
            found = read_row(self._words, encoded, version, out)
        if found == ABSENT:
            return None
        try:
            return self._row(out) if found == FOUND else self._row_in_part(out) if found == PARTLY else UNSURE
        except OverflowError:  # who reads it the other way says what is wrong
            return UNSURE
