"""Changes of groups, added up a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from ...base.errors import LimitExceeded
from .definition import Maintained

CHANGE_ROWS: Final = 1 << 16
"""Rows, or groups, that are grouped at once."""


class Folded:
    """Changes that are added up, a few at a time, so that what is held is little more than the groups.

    Raises LimitExceeded where these take more than ``bytes_max``.
    """

    def __init__(self, view: Maintained, *, bytes_max: int) -> None:
        self.view = view
        self._bytes_max = bytes_max
        self._changes: list[pa.RecordBatch] = []
        self._rows = 0
        self._folded_rows = 0  # of the first of them, which is what all before came to

    def add(self, change: pa.RecordBatch) -> None:
        if not change.num_rows:
            return
        self._changes.append(change)
        self._rows += change.num_rows
        if self._rows > 2 * self._folded_rows + CHANGE_ROWS:
            self._fold()

    def whole(self) -> pa.RecordBatch:
        """The sums."""
        self._fold()
        return self._changes[0] if self._changes else self.view.grouper.nothing

    def groups(self) -> Iterator[pa.RecordBatch]:
        """The sums, some groups at a time."""
        self._fold()
        for change in self._changes:
            for start in range(0, change.num_rows, CHANGE_ROWS):
                yield change.slice(start, CHANGE_ROWS)

    def _fold(self) -> None:
        if len(self._changes) > 1:
            self._changes = [self.view.grouper.combined(self._changes)]
        self._rows = self._folded_rows = sum(change.num_rows for change in self._changes)
        held = sum(change.nbytes for change in self._changes)
        if held > self._bytes_max:
            raise LimitExceeded(
                f"the materialized view has more than {self._rows:,} groups, which take {held:,} bytes to build; at "
                f"most {self._bytes_max:,} may be held",
                hint="Group by fewer columns, or by wider buckets.",
            )
