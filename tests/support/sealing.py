"""Segments in the place of memtables, by hand: what a flush does, for tests of reading that need no engine."""

from __future__ import annotations

import numpy as np
from weftdb.engine.cell import Cell
from weftdb.engine.cells import TableStore
from weftdb.engine.layout import Layout
from weftdb.engine.memtable import OPEN, Memtable
from weftdb.engine.overlay import Overlay
from weftdb.engine.seal import seal
from weftdb.engine.segment import Description, Section, Segment
from weftdb.storage.segment import SegmentReader, SegmentWriter


class Output:
    """A file in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    @property
    def position(self) -> int:
        return len(self.data)

    def write(self, data: memoryview) -> None:
        self.data += data


def seal_memtables(store: TableStore, *, block_rows: int = 64, cells: list[Cell] | None = None) -> int:
    """Put a segment in the place of each cell's memtable that has rows; returns how many were sealed."""
    sealed = 0
    layout = Layout(store.table)
    for cell in store._cells.all() if cells is None else cells:
        memtable = cell.memtable
        if memtable is None or memtable.is_empty:
            continue
        cell.freeze()
        number = store._cells.new_part()
        cell.replace([memtable], [segment_of(memtable, layout, cell, number=number, block_rows=block_rows)])
        sealed += 1
    return sealed


def segment_of(memtable: Memtable, layout: Layout, cell: Cell, *, number: int, block_rows: int) -> Segment:
    """A segment in memory with all rows of a memtable, those that ended in its overlay."""
    count = sum(chunk.count for chunk in memtable.chunks)
    output = Output()
    writer = SegmentWriter(output, rows_count=count, block_rows=block_rows)
    result = seal(writer, layout, memtable.chunks)
    place = writer.finish()
    data = np.frombuffer(output.data, np.uint8)
    ends = np.concatenate(
        [np.full(chunk.count, OPEN) if chunk.ends is None else chunk.ends[: chunk.count] for chunk in memtable.chunks]
    )
    overlay = Overlay(count)
    ended = np.flatnonzero(ends != OPEN)
    overlay.end_at(result.permutation[ended].astype(np.int64), ends[ended])
    description = Description(
        id=number,
        table=layout.table.id,
        slice=cell.slice,
        shard=cell.shard,
        place=Section(file=1, offset=0, length=place.length, checksum=place.checksum),
        rows_count=count,
        version_low=result.version_low,
        version_high=result.version_high,
        time_low=result.time_low,
        time_high=result.time_high,
        columns=tuple(column.id for column in layout.columns),
    )
    return Segment(
        description,
        number=number,
        layout=layout,
        open=lambda section: SegmentReader.open(data, name=f"segment {number}"),
        overlay=overlay,
    )
