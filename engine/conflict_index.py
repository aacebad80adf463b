"""The conflict index: when rows were changed last, for commits of few rows, without asking the cells.

Per table it holds, by encoded primary key, the version of the last put or delete and that of the last delta, of every
row that changed after ``since``. So for a snapshot at ``since`` or later its answer is exact: a row that is not in it
has not changed. Changes that come as batches are not entered one by one; they begin the table's index anew, as does an
index that is full. For older snapshots, then, ``changed`` knows nothing, and the cells are asked (conflict.py). So are
they for a row that was deleted last: whether there was one to delete, the index does not know.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from ..base.limits import CONFLICT_INDEX_BYTES_MAX, CONFLICT_INDEX_ROWS_MAX
from .row_writes import RowChange

ROW_BYTES: Final = 150
"""What a row takes beside its key, at most; measured with tracemalloc."""


@dataclass(slots=True)
class _Recent:
    """One table: all that changed after ``since``, by encoded primary key."""

    since: int
    settled: dict[bytes, int] = field(default_factory=dict[bytes, int])  # last put or delete
    deleted: set[bytes] = field(default_factory=set[bytes])  # those that were deleted last
    added: dict[bytes, int] = field(default_factory=dict[bytes, int])  # last delta
    keys_bytes: int = 0

    @property
    def rows_count(self) -> int:
        return len(self.settled) + len(self.added)


class ConflictIndex:
    """See the module. The sequencer alone uses it; ``rows_count`` and ``bytes_used`` are for everybody."""

    def __init__(self) -> None:
        self._tables: dict[int, _Recent] = {}
        self._keys_bytes = 0
        self.rows_count = 0

    @property
    def bytes_used(self) -> int:
        """Memory that it takes, in bytes, at most."""
        return ROW_BYTES * self.rows_count + self._keys_bytes

    def changed(self, table: int, key: bytes, version: int, *, ignore_deltas: bool) -> bool | None:
        """Whether the row was put or deleted after ``version``, or added to unless ignored; None: ask the cells."""
        recent = self._tables.get(table)
        if recent is None or version < recent.since:
            return None
        if key in recent.deleted and recent.settled[key] > version:
            return None
        return recent.settled.get(key, 0) > version or (not ignore_deltas and recent.added.get(key, 0) > version)

    def note(
        self, table: int, *, settled: Mapping[bytes, RowChange], added: Collection[bytes] = (), version: int
    ) -> None:
        """These are all rows of the table that changed at ``version``."""
        if self.rows_count > CONFLICT_INDEX_ROWS_MAX or self.bytes_used > CONFLICT_INDEX_BYTES_MAX:
            self._tables.clear()
            self.rows_count = self._keys_bytes = 0
        recent = self._tables.get(table)
        if recent is None:
            recent = self._tables[table] = _Recent(since=version - 1)
        before = recent.rows_count
        recent.settled.update(dict.fromkeys(settled, version))
        recent.deleted.difference_update(settled)
        recent.deleted.update([key for key, change in settled.items() if change.row is None])
        recent.added.update(dict.fromkeys(added, version))
        if recent.rows_count > before:
            keys_bytes = sum(map(len, settled)) + sum(map(len, added))
            recent.keys_bytes += keys_bytes
            self._keys_bytes += keys_bytes
            self.rows_count += recent.rows_count - before

    def forget(self, table: int) -> None:
        """Rows of the table changed, and which is not said: what changes next begins its index anew."""
        recent = self._tables.pop(table, None)
        if recent is not None:
            self.rows_count -= recent.rows_count
            self._keys_bytes -= recent.keys_bytes
