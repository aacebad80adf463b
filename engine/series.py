"""One key's rows in a window of event time, where they are few: what a scan does, without all that a scan can be.

A scan takes an expression apart, plans, and streams; of the time that a series of some rows takes, that is most. Where
a read asks for one key, and the event time follows the key in the primary key, it is clear what there is to do:

    key, window ──► bytes of the first and last key ──► cells of those slices ──► runs of their segments    ┐ one batch
                                                                              └─► rows of their memtables   ┘

The pieces are the scan's own (``find_ranges``, ``chunk_order.Series``, ``gathered``), and so is the answer, but for
the order of its rows. What is not as simple as that is left to the scan: ``read_series`` says so.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from ..base.errors import Invalid
from ..base.types import Kind
from .cell import Cells
from .chunk_order import Series
from .expression.node import Expression
from .gather import GATHER_ROWS_MAX, Picked, gathered, visible_in
from .key_encoding import hash_one
from .layout import DAY, Layout
from .memtable import Chunk, Memtable
from .projection import Projection
from .prune import KeyRange, conjuncts, stored_time
from .scan import cells_within
from .schema import Table
from .segment import Segment
from .segment_index import find_ranges, following
from .zones import comparison


def series_of(filter: Expression | None, table: Table) -> tuple[tuple[Any, ...], int | None, int | None] | None:
    """(key, low, high) where ``filter`` says that the key columns equal constants and the event time lies in a window,
    all of that and nothing else, as ``read_series`` takes it; else None.
    """
    if filter is None or not table.key:
        return None
    key: dict[int, Any] = {}
    low = high = None
    for part in conjuncts(filter):
        found = comparison(part)
        if found is None or len(found[2]) != 1:
            return None
        column, function, (literal,) = found
        if function in ("equal", "in_list"):
            if column.id not in table.key or column.id in key:
                return None
            key[column.id] = literal.value
        elif column.id == table.time:
            bound = stored_time(literal.value, column.type.kind) + (function in ("greater", "less_equal"))
            if function in ("greater", "greater_equal"):
                low = bound if low is None else max(low, bound)
            else:
                high = bound if high is None else min(high, bound)
        else:
            return None
    return (tuple([key[id] for id in table.key]), low, high) if len(key) == len(table.key) else None


def read_series(
    cells: Cells,
    layout: Layout,
    projection: Projection,
    key: tuple[Any, ...],
    low: int | None,
    high: int | None,
    *,
    version: int,
) -> pa.RecordBatch | None:
    """The rows visible at ``version`` whose key columns equal ``key`` and whose event time is in ``[low, high)``.

    ``key`` are Python values of the key columns, none of them None; times count as the column stores them (microseconds
    or days), None is no bound. Returns None where a scan has to do it. Raises Corrupt.
    """
    if not layout.has_series or ((low is not None or high is not None) and not layout.time_follows):
        return None
    encode, place = layout.sort_encoder.encode_column, len(key)
    try:
        prefix = b"".join([encode(index, value) for index, value in enumerate(key)])
        first = prefix if low is None else prefix + encode(place, low)
        last = following(prefix) if high is None else prefix + encode(place, high)
    except Invalid:  # no value of the column
        return None
    hashed = hash_one(prefix.ljust((len(prefix) + 7) & ~7, b"\0"))
    segments, chunks = _parts_in(cells, layout, low, high, hashed=hashed, version=version)
    picked = Picked()
    if segments:
        starts, stops, count = find_ranges([segment.index for segment in segments], first, last, key_hash=hashed)
        if count > GATHER_ROWS_MAX:
            return None
        if count:
            mask = visible_in(segments, starts, stops, version=version)
            if mask is None or mask.any():
                picked.add_runs(segments, starts, stops, mask, rows_count=count)
    if chunks:
        one = KeyRange(low=first, high=last or None, hash=hashed)
        picked.chunks = Series([(chunk, chunk.count) for chunk in chunks], layout).find(one, version=version)
        if picked.count > GATHER_ROWS_MAX:
            return None
    return gathered(picked, projection) if picked.rows_count or picked.chunks else projection.nothing


def _parts_in(
    cells: Cells, layout: Layout, low: int | None, high: int | None, *, hashed: int, version: int
) -> tuple[list[Segment], list[Chunk]]:
    """The segments and chunks that can have rows."""
    scale = DAY if layout.time is not None and layout.time.type.kind is Kind.DATE else 1
    if layout.sliced:
        slice_low = None if low is None else layout.slice_of(low * scale)
        slice_high = None if high is None else layout.slice_of((high - 1) * scale)
    else:
        slice_low = slice_high = None
    shards = (hashed % layout.table.shards if layout.sharded else 0,)
    segments: list[Segment] = []
    chunks: list[Chunk] = []
    for cell in cells_within(cells, slice_low, slice_high, shards):
        for part in reversed(cell.parts):
            if isinstance(part, Segment):
                segments.append(part)
                continue
            assert isinstance(part, Memtable), "a part is a memtable or a segment"
            chunks += [
                chunk
                for chunk in part.chunks
                if chunk.count
                and chunk.base <= version
                and (low is None or chunk.time_high >= low)
                and (high is None or chunk.time_low < high)
            ]
    return segments, chunks
