"""The commit of a large transaction: rows in synced segment files, one small record that names them.

    write set ──spill──► segment files ──settle──► nobody else changed its rows; which committed rows will end
                                                        │ commit lock: the last commits alone are compared
                                                        ▼
    record: INSTALL (install.py) ──► apply

``settle`` may take long, and happens beside commits of others: a watch (watch.py) notes what they change meanwhile.
Under the commit lock remain some noted keys, one append to the log, and the ends of replaced rows that ``settle`` has
looked up.

Always true: a file is synced before a record names it; a record names all files of a write set or none; whoever does
not commit removes its files, and recovery removes those of a process that died.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from ..base.errors import Conflict
from .aggregates.early import EarlyLoad
from .cell import Cell
from .cells import TableStore
from .conflict import check_key_absent, row_conflict
from .install import Ends, Install
from .watch import Watch

if TYPE_CHECKING:
    from .aggregates.definition import Maintained
    from .write_set import TableWrites

LAST_ROWS_MAX: Final = 20_000
"""Noted keys that are compared under the commit lock; more are compared before it is taken again."""

LOOKS_MAX: Final = 20
"""How often a commit looks again because others changed much meanwhile."""

STALE_LOOKS_MAX: Final = 5
"""How often because of flushes and merges; then the commit itself looks up the rows of the cells that they touched."""


class LookAgain(Conflict):
    """Too much was committed since ``settle``: settle again, and commit."""


class Prepared:
    """What one transaction (or blind load) has written to one table, ready to be installed."""

    def __init__(
        self,
        writes: TableWrites,
        install: Install,
        *,
        watch: Watch | None,
        snapshot: int | None,
        changed: bool,
        inserts: bool,
    ) -> None:
        """``watch`` is None for a table that nobody else can see yet. ``snapshot`` is the transaction's version, None
        for a blind load; ``inserts``: of a blind load, whose primary keys must be absent. ``changed``: the table may
        have changed between the snapshot and the watch's first moment."""
        self.table = writes.table
        self.install = install
        self.rows_count = writes.changes_count
        self.ends = Ends()
        self.early: EarlyLoad | None = None
        self.absent_count = 0  # keys of a blind load of deletes that had no row
        self._writes = writes
        self._watch = watch
        self._snapshot = snapshot
        self._inserts = inserts
        self._compares = snapshot is not None and changed
        self._looks = self._compares or inserts or install.replaces or bool(install.keys)
        self._stale_looks = 0

    @property
    def slices(self) -> set[int]:
        """The slices that rows go to."""
        return {description.slice for description in self.install.rows}

    def group(self, views: Sequence[Maintained]) -> EarlyLoad:
        """Group the rows that come, beside commits."""
        self.early = early = EarlyLoad(self._writes.rows, sum(rows.rows_count for rows in self.install.rows), views)
        return early

    def settle(self, store: TableStore) -> None:
        """Compare with what was committed so far, beside commits. Raises Conflict, or Invalid (23505)."""
        if self._watch is None:
            return
        while True:
            if self._looks:
                self._take(store)  # what changes from now on is noted anew
                self._looks = False
                self._look_at_all(store)
            elif stale := self.ends.stale():
                self._find_ends(store, only=stale)
            if self._take(store) <= LAST_ROWS_MAX // 2 and not self._looks:
                return

    def last_look(self, store: TableStore) -> None:
        """The same under the commit lock, for what was committed since. Raises LookAgain where that is too much."""
        if self._watch is None:
            return
        rows = self._take(store)
        moved = bool(self.ends.stale())
        self._stale_looks += moved
        if self._looks or rows > LAST_ROWS_MAX or (moved and self._stale_looks <= STALE_LOOKS_MAX):
            raise LookAgain(
                "others changed the table while the transaction committed",
                hint="Retry the transaction.",
                table=self.table.name,
            )

    def _take(self, store: TableStore) -> int:
        """Compare what the watch has noted; returns how many keys. Where it has lost count, all must be compared."""
        assert self._watch is not None, "a table that others can see is watched"
        noted = self._watch.take()
        if noted is None:
            self._looks = True
            self._compares = self._snapshot is not None
            return 0
        for keys in noted:
            self._compare(store, keys.filter(pa.array(self._writes.settled(keys))))
        return sum(keys.num_rows for keys in noted)

    def _look_at_all(self, store: TableStore) -> None:
        """Compare every row that was written with the newest of the table, and find the rows that will end."""
        self.ends = Ends()
        self.absent_count = 0
        for keys, gone in self._writes.all_keys():
            if gone and self._snapshot is None:
                self.absent_count += int((~store.newest(keys).alive).sum())
            if self._compares:
                self._refuse_changed(store, keys)
            if self._inserts:
                self._refuse_present(store, keys)
        self._find_ends(store, only=None)

    def _find_ends(self, store: TableStore, *, only: set[Cell] | None) -> None:
        """Look up the rows that will end; ``only`` those of some cells, once more."""
        if not (self.install.replaces or self.install.keys):
            return
        for cell in only or ():
            del self.ends.found[cell]
        places = None if only is None else {(cell.slice, cell.shard) for cell in only}
        for keys, gone in self._writes.all_keys(places):
            if gone or self.install.replaces:
                for cell, part, rows in store.find_newest(keys):
                    if only is None or cell in only:
                        self.ends.add(cell, part, rows)

    def _compare(self, store: TableStore, keys: pa.RecordBatch) -> None:
        """Compare keys that were written here and that others touched."""
        if not keys.num_rows:
            return
        if self._snapshot is not None:
            self._refuse_changed(store, keys)
        elif self._inserts:
            self._refuse_present(store, keys)
        else:
            self.ends.late.append(keys)

    def _refuse_changed(self, store: TableStore, keys: pa.RecordBatch) -> None:
        assert self._snapshot is not None, "a transaction has a snapshot"
        changed = store.changed_since(keys, self._snapshot, ignore_deltas=False)
        if changed.any():
            raise row_conflict(store, keys.slice(int(changed.argmax()), 1))

    def _refuse_present(self, store: TableStore, keys: pa.RecordBatch) -> None:
        check_key_absent(self.table, keys, np.flatnonzero(store.newest(keys).alive), first=None)
