"""The change feed: the committed changes of one table after a version, in the order of versions, as Arrow.

    feed.read() ──► a batch, and feed.position is the version that it brings a copy to; None: there is nothing new

    weft_operation   weft_version   the table's columns
    insert           18             the row
    before           19             the row as it was           only if asked for, in front of its update
    update           19             the row as it is since
    delete           20             the row that is gone

Changes are read from the cells, where history is kept anyway, and not from the log, which is trimmed, and which says of
TRUNCATE and dropped slices no rows and of deletes no more than keys. So they are what each version changed: a row at
most once a version, without what one version made and undid; versions ascend, rows of one version come in no order. A
table without primary key has a last column ``weft_row_id``.

A read takes the versions after its position as long as they have few rows (feed_window.py). One version of many rows
comes in pieces, and the position moves when all of them are there. No read goes over a change of the table's columns:
the schema of a batch is that of the table at its versions.

Nothing is held between reads, so whoever is slow or gone costs nothing. In return what is not read yet must still be
kept: as far as history goes back, or by a name (positions.py). That is looked at before a read and after it, since a
merge drops only what ended before ``Pins.floor``: whoever comes too late is told so, and never gets a part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import pyarrow as pa

from ..base.errors import Corrupt, Invalid, NotFound
from .aggregates.shown import Shown
from .apply import State
from .cells import TableStore
from .feed_window import OPERATION, VERSION, Window, pieces
from .positions import Positions, too_old
from .schema import Table, View
from .snapshot import Pins

__all__ = ["OPERATION", "VERSION", "Feed"]


T = TypeVar("T")


class Feed:
    """See the module. One thread at a time.

    ``position``: what was read until now brings a copy of the table from the first position to this version.
    """

    def __init__(
        self,
        *,
        state: State,
        pins: Pins,
        positions: Positions,
        wait_for_change: Callable[..., bool],
        table: Table,
        position: int,
        before: bool,
        name: str | None,
        view: View | None = None,
    ) -> None:
        """``wait_for_change(table, after=…, seconds=…)``: see ``Sequencer.wait_for_change``.

        ``view``: ``table`` has its groups.
        """
        self._state = state
        self._pins = pins
        self._positions = positions
        self._wait_for_change = wait_for_change
        self._id = table.id
        self._name = table.name
        self._shown = None if view is None else Shown(view)
        self._wakes = table.id if table.derived_from is None else table.derived_from
        self._before = before
        self.name = name
        self._pieces: Iterator[pa.RecordBatch] = iter(())  # of the version after the position
        self._ahead: pa.RecordBatch | None = None  # the next of them
        self.position = position

    def read(self) -> pa.RecordBatch | None:
        """The next changes, as the view shows them, if it is one; as ``_read``."""
        batch = self._read()
        return batch if batch is None or self._shown is None else self._shown.of(batch)

    def _read(self) -> pa.RecordBatch | None:
        """The next changes; None where there are no more up to ``position``, which is the newest version then.

        Raises Invalid (72000) where they are not kept any more, NotFound (42P01) behind the last change of a table that
        was dropped, Corrupt.
        """
        while True:
            if self._ahead is not None:
                return self._next_piece(self._ahead)
            newest = self._state.version
            if newest <= self.position or self._state.changed_at.get(self._id, 0) <= self.position:
                if self._id not in self._state.catalog.stored:
                    if self._id not in self._state.stores:
                        self._check_kept()
                    raise self._dropped()
                self.position = max(self.position, newest)
                return None
            self._check_kept()
            table, high = self._definition(newest)
            if table is None:  # it was not made yet
                self.position = high
                continue
            batch, high = self._kept(partial(self._window, table, high))
            self.position = high
            if batch is not None:
                return batch

    @property
    def is_whole(self) -> bool:
        """Whether nothing was read of the version after ``position``."""
        return self._ahead is None

    def wait(self, seconds: float) -> bool:
        """Wait for changes after ``position``, at most so long; whether there may be any. Raises Closed."""
        return self._wait_for_change(self._wakes, after=self.position, seconds=seconds)

    def acknowledge(self, version: int | None = None) -> None:
        """Say that all changes up to ``version`` (``position`` unless told) are done with: the name's position moves.

        Raises Invalid (55000) where the feed has no name, and as ``Positions.move``.
        """
        if self.name is None:
            raise Invalid(
                "a feed without a name has no position to keep", hint="Open it with a name.", sqlstate="55000"
            )
        self._positions.move(self.name, self.position if version is None else version)

    def _window(self, table: Table, high: int) -> tuple[pa.RecordBatch | None, int]:
        """The changes after the position up to a version that is at most ``high``, and that version."""
        store = self._store(table)
        window = Window(store, self.position, high)
        if window.count:
            return window.changes(store, before=self._before), window.high
        if window.high < high:
            self._pieces = pieces(store, window.high + 1, before=self._before, rows_max=window.rows_max)
            self._ahead = next(self._pieces, None)
            if self._ahead is None:  # all that it did was undone in it
                return None, window.high + 1
        return None, window.high

    def _next_piece(self, piece: pa.RecordBatch) -> pa.RecordBatch:
        """A piece of the version after the position, which moves with the last one."""
        self._ahead = None  # whoever goes on after an error has all of them again
        self._ahead = self._kept(partial(next, self._pieces, None))
        if self._ahead is None:
            self.position += 1
        return piece

    def _kept(self, read: Callable[[], T]) -> T:
        """What ``read`` gives, unless it may lack what was dropped meanwhile. Raises Invalid (72000), Corrupt."""
        try:
            found = read()
        except Corrupt:
            self._check_kept()  # a file may have gone while it was read
            raise
        self._check_kept()
        return found

    def _check_kept(self) -> None:
        floor = self._pins.floor
        if self.position < floor and (
            self.name is None or not self._positions.holds(self.name, self._id, self.position)
        ):
            raise too_old(self._name, self.position, floor)

    def _definition(self, newest: int) -> tuple[Table | None, int]:
        """The table as it is from the version after the position on, and the last version at which it is like that.

        None: it was made after that version. Raises NotFound where it was dropped.
        """
        first = self.position + 1
        table = self._state.catalog_at(first).stored.get(self._id)
        later = [catalog for catalog in list(self._state.catalogs) if first < catalog.version <= newest]
        for catalog in later:
            other = catalog.stored.get(self._id)
            if _columns(other) != _columns(table):
                newest = catalog.version - 1
                break
        else:
            if table is None:
                raise self._dropped()
        assert table is None or isinstance(table, Table), f"{table} has rows"
        return table, newest

    def _store(self, table: Table) -> TableStore:
        store = self._state.stores.get(self._id)
        if store is None:
            raise self._dropped()
        return store if store.table is table else store.with_definition(table)

    def _dropped(self) -> NotFound:
        at = [f" at version {item.version}" for item in list(self._state.dropped) if item.id == self._id]
        return NotFound(
            f'table "{self._name}" was dropped{"".join(at)}',
            hint="These were its last changes.",
            sqlstate="42P01",
        )


def _columns(relation: object) -> object:
    return relation.columns if isinstance(relation, Table) else None
