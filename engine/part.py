"""The parts of a cell, and how rows are looked up in them.

    parts, newest first:   memtable being written | frozen memtables | segments

All versions of a row in one part began later than those in the parts after it. So whoever looks for the newest version
stops at the first part that has any; whoever looks for the version at v stops at the first that began at or before v.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from .kernels.index import MISSING

if TYPE_CHECKING:
    from .key_encoding import Keys
    from .layout import Probe
    from .projection import Projection
    from .schema import Column


class Part(Protocol):
    """A memtable or a segment. Rows are named by int64 locators, which mean something in this part alone."""

    number: int

    @property
    def rows_count(self) -> int: ...

    @property
    def living_count(self) -> int:
        """Rows that have not ended."""
        ...

    @property
    def bytes_used(self) -> int: ...

    @property
    def changed_at(self) -> int:
        """No row of it began or ended after this version."""
        ...

    def find(self, probe: Probe) -> np.ndarray:
        """The newest row of each key, MISSING where there is none."""
        ...

    def find_ending(self, probe: Probe) -> np.ndarray:
        """As ``find``, for rows that end now: ``apply`` cannot fail, so a part that cannot be read is given up."""
        ...

    def extreme(self, low: Keys, high: Keys, *, last: bool) -> np.ndarray:
        """Of each range of keys, from ``low`` to before ``high`` (both may be cut short), the first row that has not
        ended, or the last; MISSING where there is none. The writer alone.
        """
        ...

    def visible_of(self, probe: Probe, rows: np.ndarray, version: int) -> np.ndarray:
        """Of each newest row the version visible at ``version``, or HIDDEN (it had ended), or MISSING."""
        ...

    def describe(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Begin versions, end versions and delta flags of rows."""
        ...

    def changed(
        self, probe: Probe, rows: np.ndarray, version: int, followings: np.ndarray, *, ignore_deltas: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which newest rows changed after ``version``, and for which that is settled (see kernels/index.py)."""
        ...

    def end(self, rows: np.ndarray, *, version: int) -> int:
        """End the rows that have not ended; returns how many ended. The writer alone."""
        ...

    def end_all(self, *, version: int) -> int:
        """End every row that has not ended; returns how many ended. The writer alone."""
        ...

    def rows_at(self, projection: Projection, rows: np.ndarray) -> list[tuple[pa.RecordBatch, np.ndarray]]:
        """Batches of the rows, and the places in ``rows`` that each holds."""
        ...

    def value_of(self, column: Column, row: int) -> Any:
        """One value as Python value."""
        ...

    def batches(self, projection: Projection, version: int) -> Iterator[pa.RecordBatch]:
        """The rows visible at ``version``."""
        ...


def find_within(probe: Probe, find: Callable[[Keys], np.ndarray], *, low: int, high: int) -> np.ndarray:
    """What ``find`` says of keys, for a part with event times ``low`` to ``high``: rows outside are not looked for.

    New rows mostly have later event times than all that are there, and need no look-up.
    """
    if probe.times is None:
        return find(probe.keys)
    places = np.flatnonzero((probe.times >= low) & (probe.times <= high))
    if len(places) == probe.count:
        return find(probe.keys)
    rows = np.full(probe.count, MISSING, np.int64)
    if len(places):
        rows[places] = find(probe.keys.take(places))
    return rows


def newest_rows(
    parts: Sequence[Part], probe: Probe, *, ending: bool = False
) -> Iterator[tuple[Part, np.ndarray, np.ndarray]]:
    """Per part that has any of the rows: their places in the probe, and their newest rows there.

    ``ending``: for ``apply``, see ``Part.find_ending``.
    """
    places: np.ndarray | None = None
    for part in parts:
        rows = part.find_ending(probe) if ending else part.find(probe)
        found = rows >= 0
        if not found.any():
            continue
        yield part, np.flatnonzero(found) if places is None else places[found], rows[found]
        left = np.flatnonzero(~found)
        if not len(left):
            return
        places = left if places is None else places[left]
        probe = probe.take(left)


def visible_rows(parts: Sequence[Part], probe: Probe, *, version: int) -> Iterator[tuple[Part, np.ndarray, np.ndarray]]:
    """Per part that has any of the rows visible at ``version``: their places in the probe, and their rows there."""
    places: np.ndarray | None = None
    for part in parts:
        rows = part.find(probe)
        if bool((rows >= 0).any()):
            rows = part.visible_of(probe, rows, version)
            found = rows >= 0
            if found.any():
                yield part, np.flatnonzero(found) if places is None else places[found], rows[found]
            left = np.flatnonzero(rows == MISSING)
            if not len(left):
                return
            places = left if places is None else places[left]
            probe = probe.take(left)
