"""The rows of a short window of event time in a segment, without a look at the others: its rows in the order of time.

A segment is sorted by its primary key, so an hour of a week lies everywhere in it, and no zone leaves a block out: the
ends of the windows that views answer (sql/matching/run.py), and the last minutes of a table. The second read of a
window that is a small part of a segment's time puts the numbers of its rows into the order of event time, four bytes a
row and 20 to 80 ns; from then on such a window costs a bisection and its own rows.

    rows     uint32, in the order of event time            marks    the event time of every STEP-th of them

Always true: a segment never changes, so an order is right for as long as it is kept. Those of a table together have at
most ``TIME_ORDERS_BYTES_MAX``; the least recently used goes first. What they take stands in ``Layout.orders``, as that
of chunk_order.py. What is found may have a few rows beside the window: the filter is asked again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import numpy as np

from ..base.limits import TIME_ORDERS_BYTES_MAX
from ..base.types import Kind
from ..storage.column_values import FixedValues
from .schema import Column

if TYPE_CHECKING:
    from .segment import Segment

STEP: Final = 64
ROWS_MIN: Final = 8_192
"""Segments with fewer rows are read at once."""
SHARE: Final = 32
"""A window is short if it is at most one in so many of a segment's time."""
_ASKED_MAX: Final = 1_024
_DAY: Final = 86_400_000_000
_TOKEN: Final = -1
"""Under which their bytes are told: no address of an order of a chunk."""


class TimeOrders:
    """Those of the segments of one table. ``held`` is told their bytes."""

    __slots__ = ("_asked", "_bytes", "_held", "_lock", "_orders")

    def __init__(self, held: dict[int, int]) -> None:
        self._held = held
        self._lock = threading.Lock()
        self._orders: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._asked: set[int] = set()  # segments that were asked once
        self._bytes = 0

    def find(self, segment: Segment, time: Column, low: int, high: int) -> np.ndarray | None:
        """Numbers (int64, ascending) of all rows with event time from ``low`` to ``high``, and perhaps some more.

        None where there is no order of the segment, and none was worth it. Times count as the column stores them.
        """
        description = segment.description
        scale = _DAY if time.type.kind is Kind.DATE else 1
        if segment.rows_count < ROWS_MIN:
            return None
        if (high - low + 1) * scale * SHARE > description.time_high - description.time_low:
            return None
        found = self._order_of(segment, time)
        if found is None:
            return None
        rows, marks = found
        first = max(int(np.searchsorted(marks, low, side="left")) - 1, 0) * STEP
        last = int(np.searchsorted(marks, high, side="right")) * STEP
        return np.sort(rows[first:last].astype(np.int64))

    def _order_of(self, segment: Segment, time: Column) -> tuple[np.ndarray, np.ndarray] | None:
        id = segment.description.id
        with self._lock:
            known = self._orders.get(id)
            if known is not None:
                self._orders.move_to_end(id)
                return known
            if id not in self._asked:
                if len(self._asked) >= _ASKED_MAX:
                    self._asked.clear()
                self._asked.add(id)
                return None
        if 4 * segment.rows_count > TIME_ORDERS_BYTES_MAX:
            return None
        values = segment.values(time, 0, segment.rows_count)
        assert isinstance(values, FixedValues), "a time has a fixed width"
        order = np.argsort(values.values)
        made = order.astype(np.uint32), values.values[order[::STEP]]
        with self._lock:
            if id not in self._orders:  # two readers may make one
                self._orders[id] = made
                self._bytes += _bytes(made)
            while self._bytes > TIME_ORDERS_BYTES_MAX:
                _, gone = self._orders.popitem(last=False)
                self._bytes -= _bytes(gone)
            self._held[_TOKEN] = self._bytes
        return made


def _bytes(order: tuple[np.ndarray, np.ndarray]) -> int:
    return order[0].nbytes + order[1].nbytes
