"""A cell, one shard of one slice: the unit of storage; and all cells of a table.

Cells are made when their first row arrives. They and the next row id are kept per table, whatever its definition at
the moment.
"""

from __future__ import annotations

from ..base.errors import LimitExceeded
from ..base.limits import SLICES_OPEN_MAX
from .memtable import CHUNKS_MAX, Memtable
from .schema import Table

CHUNKS_SPARE = 1_024
"""Chunks of a cell kept back, so that no commit that passed the check runs out of them."""


class Cell:
    """``number`` is dense in order of creation."""

    __slots__ = ("memtable", "number", "shard", "slice")

    def __init__(self, *, number: int, slice: int, shard: int) -> None:
        self.number = number
        self.slice = slice
        self.shard = shard
        self.memtable = Memtable()


class Cells:
    """All cells of one table. The writer adds; readers take ``all()`` or look one up."""

    __slots__ = ("_cells", "_slices", "bytes_used", "chunks_most", "next_row_id", "rows_count")

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], Cell] = {}
        self._slices: set[int] = set()
        self.next_row_id = 1
        self.rows_count = 0
        self.bytes_used = 0
        self.chunks_most = 0

    def __len__(self) -> int:
        return len(self._cells)

    def all(self) -> list[Cell]:
        """The cells of this moment, in order of creation."""
        return list(self._cells.values())

    def get(self, slice: int, shard: int) -> Cell | None:
        return self._cells.get((slice, shard))

    def open(self, slice: int, shard: int) -> Cell:
        """The cell, made where there is none."""
        cell = self._cells.get((slice, shard))
        if cell is None:
            cell = Cell(number=len(self._cells), slice=slice, shard=shard)
            self.bytes_used += cell.memtable.bytes_used
            self._slices.add(slice)
            self._cells[slice, shard] = cell
        return cell

    def check_slices(self, slices: set[int], *, table: Table) -> None:
        """Raise LimitExceeded where rows of these slices would open too many, or a cell has no chunks left."""
        opened = len(slices - self._slices)
        if opened and len(self._slices) + opened > SLICES_OPEN_MAX:
            raise LimitExceeded(
                f'table "{table.name}" would have {len(self._slices) + opened:,} slices of event time open, '
                f"at most {SLICES_OPEN_MAX:,} may be",
                hint="Look for rows with a wrong event time, or create the table with longer slices (every).",
            )
        if self.chunks_most > CHUNKS_MAX - CHUNKS_SPARE:
            raise LimitExceeded(
                f'a cell of table "{table.name}" is full: {self.chunks_most:,} chunks of rows',
                hint="Give the table more shards, or shorter slices (every).",
            )
