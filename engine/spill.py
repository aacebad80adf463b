"""The private rows of a large transaction: memtables that go to segment files of its own when they grow too large.

    put, delete ──► memtables of the write set ──spill──► segment files, synced, that nobody else knows
                                                             │ commit: one small record names them (install.py)
                                                             ▼ else: removed
                                                          segments of the table

A write set's rows stand in the same cells, with the same parts, as committed ones. So what is spilled is read like any
segment, and at the commit becomes one as it stands: nothing is written twice. Begin versions inside are the
transaction's steps; the record's version takes their place (``Description.begin``).

Rows of a table without primary key need row ids before anybody knows their place in the log. They are made of the
number of a file, which is never given out again, and so are unique: bit 61, the number, a counter of 32 bits. Row ids
that ``apply`` counts stay far below.

A crash leaves files that no manifest and no record names; recovery removes those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa

from ..base.errors import LimitExceeded
from ..base.types import BIGINT
from ..storage.segment import SegmentWriter
from .cell import Cell, Cells
from .cells import TableStore
from .layout import Layout
from .memtable import OPEN, Memtable
from .overlay import Overlay
from .schema import ROW_ID_NAME, Column, Table
from .seal import Sealed, block_rows_of, seal
from .segment import Description, Section, Segment
from .segment_files import SegmentFiles
from .watch import Watch

OWN_ROW_IDS: Final = 1 << 61
"""Row ids from here on were made by transactions, see the module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """What a transaction needs to grow: files, their numbers, and how much of what it may hold.

    ``memory_bytes``: of memtables before they spill; ``bytes_max``: of everything. ``watch`` notes what others change
    in a table, and says at which version it was changed last.
    """

    files: SegmentFiles
    new_number: Callable[[], int]
    memory_bytes: int
    bytes_max: int
    watch: Callable[[Table], tuple[Watch, int]]
    unwatch: Callable[[Watch], None]


class OwnRows:
    """Rows of one table that one transaction wrote: a TableStore that can spill. One thread writes and spills.

    The first batch of new rows waits until somebody asks for the store: most transactions insert once and commit, and
    then it goes into the log as it came.
    """

    def __init__(self, table: Table, workspace: Workspace) -> None:
        self.table = table
        self.cells = Cells()
        self.files: list[int] = []
        self.bytes_written = 0
        self._workspace = workspace
        if not table.primary_key:
            self.cells.next_row_id = self.first_row_id = OWN_ROW_IDS | workspace.new_number() << 32
        self._store = TableStore(table, cells=self.cells)
        self._waiting: tuple[pa.RecordBatch, int] | None = None

    @property
    def store(self) -> TableStore:
        """All rows, also the batch that waited until now."""
        if self._waiting is not None:
            rows, version = self._waiting
            self._store.apply_put(rows, version=version)
            self._waiting = None  # not before: were that interrupted, the rows would be put again, and not be lost
        return self._store

    @property
    def rows_count(self) -> int:
        untouched = self.untouched
        return self._store.rows_count if untouched is None else untouched.num_rows

    @property
    def bytes_used(self) -> int:
        return self._store.bytes_used + self._waiting_bytes

    @property
    def memtable_bytes(self) -> int:
        """Memory that a spill would give back."""
        return self.cells.memtables_bytes + self._waiting_bytes

    @property
    def _waiting_bytes(self) -> int:
        untouched = self.untouched
        return 0 if untouched is None else untouched.nbytes

    @property
    def untouched(self) -> pa.RecordBatch | None:
        """The batch that waits: then all rows there are."""
        waiting = self._waiting  # once: gauges are read by other threads
        return None if waiting is None else waiting[0]

    def put(self, rows: pa.RecordBatch, *, version: int, distinct: bool) -> None:
        """Put full rows; ``distinct``: no two of them have the same primary key."""
        if distinct and rows.num_rows and self.table.primary_key and not self.store.cells_count:
            own = pa.concat_batches([rows, rows.slice(0, 0)])  # which copies: the caller may use its buffers again
            self._waiting = own, version
        else:
            self.store.apply_put(rows, version=version)

    def is_own(self, row_ids: np.ndarray) -> np.ndarray:
        """Which row ids are of rows of this transaction: bool[n]."""
        return (row_ids >= self.first_row_id) & (row_ids < self.cells.next_row_id)

    def spill(self) -> None:
        """Write the memtables into one synced file, and read them from there. Nothing changed if this raises.

        Raises Unavailable when the disk refuses.
        """
        store = self.store
        memtables = list(self._memtables())
        if not memtables:
            return
        layout = Layout(self.table)
        number = self._workspace.new_number()
        done: list[tuple[Cell, Memtable, Segment]] = []
        with self._workspace.files.create(number) as out:
            for cell, memtable in memtables:
                count = sum(chunk.count for chunk in memtable.chunks)
                writer = SegmentWriter(out, rows_count=count, block_rows=block_rows_of(memtable.chunks))
                sealed = seal(writer, layout, memtable.chunks)
                place = writer.finish()
                description = Description(
                    id=0,
                    table=self.table.id,
                    slice=cell.slice,
                    shard=cell.shard,
                    place=Section(file=number, offset=place.offset, length=place.length, checksum=place.checksum),
                    rows_count=sealed.rows_count,
                    version_low=sealed.version_low,
                    version_high=sealed.version_high,
                    time_low=sealed.time_low,
                    time_high=sealed.time_high,
                    columns=tuple(column.id for column in layout.columns),
                )
                segment = Segment(
                    description,
                    number=0,
                    layout=layout,
                    open=self._workspace.files.open,
                    overlay=_overlay(memtable, sealed),
                )
                done.append((cell, memtable, segment))
            self.bytes_written += out.position
        self._workspace.files.use([number])
        self.files.append(number)
        for cell, memtable, segment in done:
            store.replace(cell, [memtable], [segment])

    def segments(self) -> Iterator[tuple[Cell, Segment]]:
        """All that was spilled, oldest first in each cell."""
        for cell in self.cells.all():
            for part in reversed(cell.parts):
                if isinstance(part, Segment):
                    yield cell, part

    def describe(self) -> tuple[Description, ...]:
        """What was spilled, as an INSTALL names it: oldest first in each cell, with what has ended of it.

        Raises Unavailable when the disk refuses.
        """
        files = self._workspace.files
        kept = [part for _, part in self.segments() if part.overlay.ended_count < part.rows_count]
        overlays: dict[Segment, Section | None] = {}
        ended = [segment for segment in kept if segment.overlay.ended_count]
        if ended:
            number = self._workspace.new_number()
            with files.create(number) as out:
                for segment in ended:
                    overlays[segment] = files.write_overlay(out, number, segment.overlay, up_to=OPEN - 1)
            files.use([number])
            self.files.append(number)
        return tuple(
            replace(segment.description, id=self._workspace.new_number(), overlay=overlays.get(segment))
            for segment in kept
        )

    def abandon(self) -> None:
        """Leave the files to whoever finds out whether a record names them."""
        self.files = []

    def close(self) -> None:
        """Let go of the files. Those that were not installed meanwhile are removed."""
        files, self.files = self.files, []
        self._workspace.files.release(files)

    def _memtables(self) -> Iterator[tuple[Cell, Memtable]]:
        for cell in self.cells.all():
            for part in cell.parts:
                if isinstance(part, Memtable) and not part.is_empty:
                    yield cell, part


def keys_table(table: Table) -> Table:
    """The table of primary keys (or row ids, with key and time columns), one cell."""
    if table.primary_key:
        columns = table.primary_key_columns
        return Table(id=table.id, name=table.name, columns=columns, primary_key=table.primary_key)
    next_id = max((column.id for column in table.columns), default=0) + 1
    routing = [column for column in table.columns if column.id in table.key or column.id == table.time]
    row_id = Column(id=next_id, name=ROW_ID_NAME, type=BIGINT, nullable=False)
    return Table(id=table.id, name=table.name, columns=(row_id, *routing), primary_key=(next_id,))


def check_size(workspace: Workspace, bytes_count: int) -> None:
    """Raise LimitExceeded for a transaction of so many bytes."""
    if bytes_count > workspace.bytes_max:
        raise LimitExceeded(
            f"the transaction holds {bytes_count:,} bytes, at most {workspace.bytes_max:,} can commit at once "
            "(max_transaction_bytes)",
            hint="Split it into smaller transactions, or open the database with a larger max_transaction_bytes.",
        )


def _overlay(memtable: Memtable, sealed: Sealed) -> Overlay:
    """What has ended of the rows that were sealed."""
    overlay = Overlay(sealed.rows_count)
    first = 0
    for chunk in memtable.chunks:
        if chunk.ends is not None:
            ends = chunk.ends[: chunk.count]
            ended = np.flatnonzero(ends != OPEN)
            overlay.end_at(sealed.permutation[first + ended].astype(np.int64), ends[ended])
        first += chunk.count
    return overlay
