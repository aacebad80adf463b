"""The rows of a short window of event time in a segment, without a look at the others: its rows in the order of time.

A segment is sorted by its primary key, so an hour of a week lies everywhere in it, and no zone leaves a block out: the
ends of the windows that views answer (sql/matching/run.py), and the last minutes of a table. So a segment's time is cut
into ``STRIPES``. When a window within one is read for the second time, the rows of the stripe are found by a pass over
the segment's event times and put into their order, 12 bytes a row; from then on such a window costs a bisection and its
own rows.

    stripe     times  int64, ascending        rows  uint32, the row of each

Always true: a segment never changes, so a stripe is right for as long as it is kept. Those of a table together have at
most ``TIME_ORDERS_BYTES_MAX``; the least recently used goes first. What they take stands in ``Layout.orders``, as that
of chunk_order.py.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import numpy as np

from ..base.limits import TIME_ORDERS_BYTES_MAX, WINDOW_ROWS_MAX
from ..base.types import Kind
from ..storage.column_values import FixedValues
from ..storage.kernels.blocks import BLOCK_ROWS
from .layout import DAY
from .schema import Column

if TYPE_CHECKING:
    from .segment import Segment

STRIPES: Final = 64
ROWS_MIN: Final = 8_192
"""Segments with fewer rows are read at once."""
SHARE: Final = 16
"""A window is short if it is at most one in so many of a segment's time."""
_ASKED_MAX: Final = 4_096
_PASS_ROWS: Final = 16 * BLOCK_ROWS
_TOKEN: Final = -1
"""Under which their bytes are told: no address of an order of a chunk."""

Stripe = tuple[np.ndarray, np.ndarray]
"""(times, rows)"""


class TimeOrders:
    """Those of the segments of one table. ``held`` is told their bytes."""

    __slots__ = ("_asked", "_bytes", "_held", "_lock", "_stripes")

    def __init__(self, held: dict[int, int]) -> None:
        self._held = held
        self._lock = threading.Lock()
        self._stripes: OrderedDict[tuple[int, int], Stripe] = OrderedDict()  # by segment and number
        self._asked: set[tuple[int, int]] = set()  # those that were asked for once
        self._bytes = 0

    def find(self, segment: Segment, time: Column, low: int, high: int, *, rows_max: int) -> np.ndarray | None:
        """Numbers (int64, ascending) of the rows with event time from ``low`` to ``high``, both included.

        None where there are more than ``rows_max``, or the order is not known, and was not worth it. Times count as the
        column stores them.
        """
        if segment.rows_count < ROWS_MIN:
            return None
        bounds = _Bounds(segment, time)
        numbers = bounds.stripes(low, high, rows_max=rows_max)
        if numbers is None:
            return None
        known = self._known(segment, numbers)
        missing = [number for number in numbers if number not in known]
        if missing:
            if not self._asked_before(segment, missing):
                return None
            made = _made(segment, time, bounds, missing)
            if made is None:
                return None
            self._keep(segment, made)
            known |= made
        return _between([known[number] for number in numbers], low, high, rows_max=rows_max)

    def known(self, segment: Segment, time: Column, low: int, high: int) -> np.ndarray | None:
        """The same where the order is known, or there are few rows; else None, and nothing is made."""
        if segment.rows_count < ROWS_MIN:
            times = _times(segment, time, 0, segment.rows_count)
            return np.flatnonzero((times >= low) & (times <= high))
        numbers = _Bounds(segment, time).stripes(low, high, rows_max=WINDOW_ROWS_MAX)
        known = {} if numbers is None else self._known(segment, numbers)
        if numbers is None or len(known) < len(numbers):
            return None
        return _between([known[number] for number in numbers], low, high, rows_max=WINDOW_ROWS_MAX)

    def _known(self, segment: Segment, numbers: range) -> dict[int, Stripe]:
        id = segment.description.id
        found: dict[int, Stripe] = {}
        with self._lock:
            for number in numbers:
                stripe = self._stripes.get((id, number))
                if stripe is not None:
                    self._stripes.move_to_end((id, number))
                    found[number] = stripe
        return found

    def _asked_before(self, segment: Segment, numbers: list[int]) -> bool:
        """Whether all of these were asked for before; now they were."""
        wanted = {(segment.description.id, number) for number in numbers}
        with self._lock:
            before = wanted <= self._asked
            if len(self._asked) >= _ASKED_MAX:
                self._asked.clear()
            self._asked |= wanted
        return before

    def _keep(self, segment: Segment, made: dict[int, Stripe]) -> None:
        id = segment.description.id
        with self._lock:
            for number, stripe in made.items():
                if (id, number) not in self._stripes:  # two readers may make one
                    self._stripes[id, number] = stripe
                    self._bytes += _bytes(stripe)
            while self._bytes > TIME_ORDERS_BYTES_MAX:
                _, gone = self._stripes.popitem(last=False)
                self._bytes -= _bytes(gone)
            self._held[_TOKEN] = self._bytes


class _Bounds:
    """Where the stripes of a segment begin, as its column stores times."""

    __slots__ = ("_count", "_first", "_rows", "_span")

    def __init__(self, segment: Segment, time: Column) -> None:
        scale = DAY if time.type.kind is Kind.DATE else 1
        description = segment.description
        self._first = description.time_low // scale
        self._span = description.time_high // scale - self._first + 1
        self._count = min(STRIPES, self._span)
        self._rows = segment.rows_count

    def stripes(self, low: int, high: int, *, rows_max: int) -> range | None:
        """The numbers of those that a window meets; None if it is not short, or would have more rows than these."""
        length = high - low + 1
        if length * SHARE > self._span or length * self._rows > rows_max * self._span:
            return None
        low, high = max(low - self._first, 0), min(high - self._first, self._span - 1)
        if low > high:
            return range(0)
        return range(low * self._count // self._span, high * self._count // self._span + 1)

    def start(self, number: int) -> int:
        """The first time of a stripe: the least that ``stripes`` puts there."""
        return self._first - (-number * self._span // self._count)


def _made(segment: Segment, time: Column, bounds: _Bounds, numbers: list[int]) -> dict[int, Stripe] | None:
    """Stripes, by one pass over the segment; None where they would take too much memory."""
    low, high = bounds.start(numbers[0]), bounds.start(numbers[-1] + 1)
    rows: list[np.ndarray] = []
    times: list[np.ndarray] = []
    count = 0
    for start in range(0, segment.rows_count, _PASS_ROWS):
        values = _times(segment, time, start, min(start + _PASS_ROWS, segment.rows_count))
        found = np.flatnonzero((values >= low) & (values < high))
        rows.append((found + start).astype(np.uint32))
        times.append(values[found].astype(np.int64))
        count += len(found)
        if 12 * count > TIME_ORDERS_BYTES_MAX:
            return None
    all_times = np.concatenate(times)
    order = np.argsort(all_times, kind="stable")
    sorted_times, sorted_rows = all_times[order], np.concatenate(rows)[order]
    made: dict[int, Stripe] = {}
    for number in numbers:
        first, last = np.searchsorted(sorted_times, [bounds.start(number), bounds.start(number + 1)])
        made[number] = sorted_times[first:last].copy(), sorted_rows[first:last].copy()
    return made


def _times(segment: Segment, time: Column, start: int, stop: int) -> np.ndarray:
    values = segment.values(time, start, stop)
    assert isinstance(values, FixedValues), "a time has a fixed width"
    return values.values


def _between(stripes: list[Stripe], low: int, high: int, *, rows_max: int) -> np.ndarray | None:
    found: list[np.ndarray] = []
    for times, rows in stripes:
        first, last = np.searchsorted(times, low, side="left"), np.searchsorted(times, high, side="right")
        found.append(rows[first:last])
    if sum(map(len, found)) > rows_max:
        return None
    return np.sort(np.concatenate(found).astype(np.int64)) if found else np.zeros(0, np.int64)


def _bytes(stripe: Stripe) -> int:
    return stripe[0].nbytes + stripe[1].nbytes
