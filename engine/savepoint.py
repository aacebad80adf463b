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

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from .cells import TableStore
from .memtable import OPEN, Chunk, Memtable
from .part import Part
from .projection import Projection
from .segment import Segment

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

    ``aside`` are writes to tables that it had dropped or altered by then.
    """

    writes: Mapping[int, tuple[TableWrites, Mark]]
    aside: tuple[TableWrites, ...]
    catalog: Mapping[str, Relation | None]
    unchanged: frozenset[int]
    late_count: int


def rewind(store: TableStore, step: int, *, now: int, make_room: Callable[[int], None]) -> None:
    """Make the rows of ``store`` at version ``now`` those of version ``step``, for who reads at ``now`` or later.

    ``now`` is later than all there is. ``make_room(bytes)`` is called before rows are put, and may spill.
    """
    parts = [part for cell in store.cells for part in cell.parts]
    changed = [(part, *_changed_since(part, step)) for part in parts]
    for part, begun, _ in changed:
        if len(begun):
            store.end_rows(part, begun, version=now)
    projection = Projection(store.table.columns)
    for part, _, ended in changed:
        for start in range(0, len(ended), PUT_ROWS):
            for batch, _ in part.rows_at(projection, ended[start : start + PUT_ROWS]):
                make_room(batch.nbytes)
                store.apply_put(batch, version=now)


def _changed_since(part: Part, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Locators of the rows that began after ``step`` and live, and of those that lived at ``step`` and ended since."""
    if isinstance(part, Memtable):
        found = list(_changed_chunks(part, step))
        if not found:
            return _NONE, _NONE
        return np.concatenate([begun for begun, _ in found]), np.concatenate([ended for _, ended in found])
    assert isinstance(part, Segment), part
    if part.version_high <= step and part.overlay.last_end <= step:
        return _NONE, _NONE
    begins = part.begins(0, part.rows_count)
    ends = part.overlay.ends_of(np.arange(part.rows_count))
    return _split(begins > step, ends, step)


def _changed_chunks(memtable: Memtable, step: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for number, chunk in enumerate(memtable.chunks):
        begun = chunk.begins[: chunk.count].astype(np.int64) > step - chunk.base
        if chunk.ends is not None or begun.any():
            yield tuple(rows + (number << 16) for rows in _split(begun, _ends(chunk), step))  # pyright: ignore[reportReturnType]


def _ends(chunk: Chunk) -> np.ndarray:
    return np.full(chunk.count, OPEN, np.int64) if chunk.ends is None else chunk.ends[: chunk.count]


def _split(begun: np.ndarray, ends: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    lives = ends == OPEN
    return np.flatnonzero(begun & lives), np.flatnonzero(~begun & ~lives & (ends > step))


_NONE: Final = np.empty(0, np.int64)
