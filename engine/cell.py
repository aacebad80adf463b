"""A cell, one shard of one slice: the unit of storage; and all cells of a table.

Cells are made when their first row arrives. They and the next row id are kept per table, whatever its definition at
the moment.

A cell's parts stand in one tuple, newest first, which is replaced as a whole: a reader takes it once and has a
consistent view for as long as it likes. Only the writer's thread, or maintenance while it keeps the writer out, puts
another tuple in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..base.errors import LimitExceeded
from ..base.limits import SLICES_MAX, SLICES_OPEN_MAX
from .memtable import CHUNKS_MAX, Memtable
from .metrics import Counter
from .part import Part
from .schema import Table
from .shares import Shares
from .time_order import TimeOrders

if TYPE_CHECKING:
    from .row_reads import Door

CHUNKS_SPARE = 1_024
"""Chunks of a cell kept back, so that no commit that passed the check runs out of them."""


class Cell:
    """``number`` is dense in order of creation."""

    __slots__ = ("door", "number", "parts", "shard", "slice")

    def __init__(self, *, number: int, slice: int, shard: int) -> None:
        self.number = number
        self.slice = slice
        self.shard = shard
        self.parts: tuple[Part, ...] = ()
        self.door: Door | None = None  # readers make it, see row_reads.py

    @property
    def memtable(self) -> Memtable | None:
        """The memtable that takes rows now, if there is one."""
        first = self.parts[0] if self.parts else None
        return first if isinstance(first, Memtable) and first.late is None else None

    def freeze(self) -> None:
        """Let no more rows into the memtable; the next rows get a new one."""
        memtable = self.memtable
        if memtable is not None:
            memtable.late = []

    def replace(self, old: Sequence[Part], new: Sequence[Part]) -> None:
        """Put ``new`` in the place of ``old``, parts that stand one after the other."""
        at = self.parts.index(old[0])
        assert self.parts[at : at + len(old)] == tuple(old), "the parts stand one after the other"
        self.parts = (*self.parts[:at], *new, *self.parts[at + len(old) :])


class Cells:
    """All cells of one table. The writer adds; readers take ``all()`` or look one up.

    ``newest`` is the newest event time that counts for retention, in microseconds; None before the first.
    """

    __slots__ = (
        "_cells", "_made", "_open_slices", "_slices", "chunks_most", "memtables_bytes", "newest", "next_part",
        "next_row_id", "orders", "overlays_bytes", "rows_count", "shares", "statistics", "time_orders",
        "windows_scanned",
    )  # fmt: skip

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], Cell] = {}
        self._slices: set[int] = set()
        self._open_slices: set[int] = set()  # those with a memtable that takes rows
        self._made = 0
        self.newest: int | None = None
        self.next_row_id = 1
        self.next_part = 0
        self.rows_count = 0
        self.memtables_bytes = 0
        self.overlays_bytes = 0  # of segments
        self.orders: dict[int, int] = {}  # bytes of chunks' orders, see chunk_order.py
        self.time_orders = TimeOrders(self.orders)
        self.windows_scanned = Counter()
        self.chunks_most = 0
        self.statistics: object = None  # what is known of the columns, see statistics.py
        self.shares = Shares()

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
            cell = Cell(number=self._made, slice=slice, shard=shard)
            self._made += 1
            self._slices.add(slice)
            self._cells[slice, shard] = cell
        return cell

    def writable(self, cell: Cell) -> Memtable:
        """The cell's memtable that takes rows, made where there is none."""
        memtable = cell.memtable
        if memtable is None:
            memtable = Memtable(number=self.new_part())
            self.count_bytes(memtable)
            cell.parts = (memtable, *cell.parts)
            self._open_slices.add(cell.slice)
        return memtable

    @property
    def open_slices_count(self) -> int:
        return len(self._open_slices)

    def close_slices(self) -> None:
        """All memtables were frozen."""
        self._open_slices.clear()
        self.chunks_most = 0

    def count_bytes(self, part: Part, *, before: int = 0, sign: int = 1) -> None:
        """Count the memory of a part that came, that went (``sign`` -1), or that had ``before`` bytes until now."""
        if sign < 0:
            self.statistics = None  # which would keep it
        change = sign * (part.bytes_used - before)
        if isinstance(part, Memtable):
            self.memtables_bytes += change
        else:
            self.overlays_bytes += change

    def below(self, boundary: int) -> list[Cell]:
        """The cells of slices below ``boundary``."""
        return [cell for (slice, _), cell in list(self._cells.items()) if slice < boundary]

    def forget_empty(self) -> int:
        """Let go of the cells that have no parts any more; returns how many. The writer is kept out meanwhile."""
        empty = [place for place, cell in self._cells.items() if not cell.parts]
        for place in empty:
            del self._cells[place]
        if empty:
            self._slices = {slice for slice, _ in self._cells}
        return len(empty)

    def new_part(self) -> int:
        """A number that no other part of the table has."""
        self.next_part += 1
        return self.next_part

    def check_slices(self, slices: set[int], *, table: Table) -> None:
        """Raise LimitExceeded where rows of these slices would open too many, or a cell has no chunks left."""
        opened = len(self._open_slices | slices) if slices - self._open_slices else 0
        if opened > SLICES_OPEN_MAX:
            raise LimitExceeded(
                f'table "{table.name}" would have {opened:,} slices of event time open, '
                f"at most {SLICES_OPEN_MAX:,} may be",
                hint="Look for rows with a wrong event time, or create the table with longer slices (every).",
            )
        total = len(self._slices | slices) if slices - self._slices else 0
        if total > SLICES_MAX:
            raise LimitExceeded(
                f'table "{table.name}" would have {total:,} slices of event time, at most {SLICES_MAX:,} may be',
                hint="Create the table with longer slices (every), or let it keep fewer (keep).",
            )
        if self.chunks_most > CHUNKS_MAX - CHUNKS_SPARE:
            raise LimitExceeded(
                f'a cell of table "{table.name}" is full: {self.chunks_most:,} chunks of rows',
                hint="Give the table more shards, or shorter slices (every).",
            )
