"""The rows of some short windows of event time, where they are few: what scans do, without all that a scan can be.

Queries that views answer read rows at the ends of their windows (sql/matching/run.py), and two scans would take most of
such a query's time. Here all windows are one read:

    windows ──► cells of those slices ──► rows of their segments, by their orders of time (time_order.py)  ┐ one batch
                                      └─► rows of their memtables                                          ┘

The pieces are the scan's own, and so is the answer, but for the order of its rows. What is not as simple as that is
left to scans: ``read_windows`` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from ..base.limits import WINDOW_ROWS_MAX
from ..base.types import Kind
from ..storage.column_values import FixedValues
from .cell import Cells
from .column_store import FixedColumn
from .conditions import Conditions, dtype_asked
from .expression.node import Expression
from .gather import Picked, gathered
from .layout import DAY, Layout
from .memtable import Chunk
from .projection import Projection
from .prune import column_ids
from .scan import cells_within
from .scan_plan import parts_within
from .schema import Column
from .segment import Segment

Found = list[tuple["Segment | Chunk", np.ndarray, int]]
"""Rows (int64) of parts, with the place of their window; those of segments first."""


def read_windows(
    cells: Cells,
    layout: Layout,
    projection: Projection,
    windows: Sequence[tuple[int, int]],
    *,
    version: int,
    filter: Expression | None,
) -> tuple[pa.RecordBatch, np.ndarray] | None:
    """The rows visible at ``version`` with event time in a window ``[low, high)`` for which ``filter`` is true, and of
    each the window's place (int64[n]); a row that is in two windows is there twice.

    Times count as the column stores them. Returns None where scans have to do it. Raises Corrupt.
    """
    found: Found = []
    count = 0
    for place, (low, high) in enumerate(windows):
        for part in _parts_in(cells, layout, low, high, version=version):
            rows = _rows_in(part, cells, layout, low, high, version=version)
            if rows is None:
                return None
            found.append((part, rows, place))
            count += len(rows)
            if count > WINDOW_ROWS_MAX:
                return None
    found.sort(key=lambda one: isinstance(one[0], Chunk))
    if filter is not None and count:
        found = _passing(found, layout, filter)
    which = np.repeat(np.array([place for _, _, place in found], np.int64), [len(rows) for _, rows, _ in found])
    return (_gathered(found, projection) if len(which) else projection.nothing), which


def _passing(found: Found, layout: Layout, filter: Expression) -> Found:
    """Those for which the filter is true: only its columns are read."""
    from .expression.evaluate import evaluate_filter

    conditions, asked = Conditions(filter, layout), False
    for number, (part, rows, place) in enumerate(found):
        if isinstance(part, Segment):
            read = partial(_asked, part, rows)
            mask, left = conditions.ask(part, read, count=len(rows))
            found[number] = part, rows if mask is None else rows[mask], place
            asked |= left is not None
        else:
            asked = True
    if not asked:
        return found
    tested = Projection([layout.by_id[id] for id in sorted(column_ids(filter))])
    truth = evaluate_filter(filter, _gathered(found, tested), column_ids=[column.id for column in tested.columns])
    ends = np.cumsum([len(rows) for _, rows, _ in found])
    masks = np.split(truth.to_numpy(zero_copy_only=False), ends[:-1])
    return [(part, rows[mask], place) for (part, rows, place), mask in zip(found, masks, strict=True)]


def _asked(segment: Segment, rows: np.ndarray, column: Column) -> FixedValues:
    return segment.reader.take_narrowed(column.id, rows, dtype_asked(column))


def _gathered(found: Found, projection: Projection) -> pa.RecordBatch:
    picked = Picked()
    segments = [(part, rows) for part, rows, _ in found if isinstance(part, Segment)]
    if segments:
        picked.add_rows(segments)
    picked.chunks = [(part, rows) for part, rows, _ in found if isinstance(part, Chunk)]
    return gathered(picked, projection)


def _parts_in(cells: Cells, layout: Layout, low: int, high: int, *, version: int) -> Iterator[Segment | Chunk]:
    """The segments and chunks that can have rows."""
    assert layout.time is not None, "the table has an event time"
    scale = DAY if layout.time.type.kind is Kind.DATE else 1
    first = last = None
    if layout.sliced:
        first, last = layout.slice_of(low * scale), layout.slice_of((high - 1) * scale)
    kept = cells_within(cells, first, last, None if layout.sharded else (0,))
    for _, part in parts_within([(cell, cell.parts) for cell in kept], layout, low, high - 1, version=version):
        yield part


def _rows_in(
    part: Segment | Chunk, cells: Cells, layout: Layout, low: int, high: int, *, version: int
) -> np.ndarray | None:
    """The visible rows of a part with event time in ``[low, high)``; None where its order of time is not known."""
    assert layout.time is not None, "the table has an event time"
    if isinstance(part, Segment):
        rows = cells.time_orders.known(part, layout.time, low, high - 1)
        return None if rows is None else rows[part.visible_among(version, rows)]
    store = part.columns[layout.time.id]
    assert isinstance(store, FixedColumn), "a time has a fixed width"
    times = store.values[: part.begun_at(version)]
    rows = np.flatnonzero((times >= low) & (times < high))
    return rows if part.ends is None else rows[part.ends[rows] > version]
