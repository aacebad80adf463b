"""Savepoints: how an open transaction goes back to an earlier moment of itself.

A write set counts steps, and keeps every version of its rows (write_set.py). So a moment is a few numbers per table,
and costs nothing to remember: each SQL statement has one. Going back writes the difference as a new step,

    rows that began since        end
    rows that ended since        are put again, as they were

so steps only grow, and a scan that was made before reads on. What rows do not say, the amounts of deltas, has a journal
that is kept while any savepoint lives. A table that was first written after the savepoint is forgotten as a whole.

Rows of a table without primary key come back under new row ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from .cells import TableStore
from .changed_rows import changed_rows
from .memtable import OPEN
from .projection import Projection

if TYPE_CHECKING:
    from .schema import Relation
    from .write_set import TableWrites

PUT_ROWS: Final = 131_072
"""Rows that are put at once: between them the write set may spill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A moment in the work on one table. ``journal`` and ``firsts`` are lengths of lists that grow."""

    step: int
    journal: int
    firsts: int
    bytes_put: int
    replaces: bool
    truncated: bool
    hides_base: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Savepoint:
    """A moment of a transaction: where it may go back to, until it is released.

    ``aside`` are writes to tables that it had dropped or altered by then, ``locks`` is how many it had noted.
    """

    writes: Mapping[int, tuple[TableWrites, Mark]]
    aside: tuple[TableWrites, ...]
    catalog: Mapping[str, Relation | None]
    unchanged: frozenset[int]
    late_count: int
    locks: int


def rewind(store: TableStore, step: int, *, now: int, make_room: Callable[[int], None]) -> None:
    """Make the rows of ``store`` at version ``now`` those of version ``step``, for who reads at ``now`` or later.

    ``now`` is later than all there is. ``make_room(bytes)`` is called before rows are put, and may spill.
    """
    parts = [part for cell in store.cells for part in cell.parts]
    for part in parts:
        changed = [rows.begun for rows in changed_rows(part, step, now - 1) if len(rows.begun)]
        if changed:
            begun = np.concatenate(changed)
            store.end_rows(part, begun[part.describe(begun)[1] == OPEN], version=now)
    projection = Projection(store.table.columns)
    for part in parts:
        for rows in changed_rows(part, step, now - 1):
            ended = rows.ended
            if len(ended):
                ended = ended[part.describe(ended)[0] <= step]
            for batch, _ in part.rows_at(projection, ended) if len(ended) else ():
                make_room(batch.nbytes)
                store.apply_put(batch, version=now)
