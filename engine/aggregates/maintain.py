"""Materialized views inside of ``apply``: what an operation on a table does to the groups of its views.

    PUT, DELETE ──► rows with these primary keys as they are (old) ── -1 ──┐
                └─► rows as they will be (new)                     ── +1 ──┴─► change ─► groups to put, to delete
    DROP_SLICES, large transactions ──► the rows that go, and those that come, alike          TRUNCATE ──► no groups

A view that retains what its table forgets is left as it is by DROP_SLICES (``forget``, definition.py).

The log holds rows of tables alone; groups are derived from state and record, as entries of indexes are. So a view is
exact at every version however a row changes, N writers on one group never meet, and replay gives the same.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from ...storage.record import Action, Operation
from ..cells import TableStore
from ..clock import monotonic
from ..indexes import NEWEST, Change
from .definition import Maintained
from .early import Early

Stores: TypeAlias = Mapping[int, TableStore]


@dataclass(slots=True)
class Cost:
    """What keeping a view has cost since the start: rows that came or went, and seconds, writing groups included."""

    rows: int = 0
    seconds: float = 0.0

    def add(self, change: Change, seconds: float) -> None:
        self.rows += change.old.num_rows + change.new.num_rows
        self.seconds += seconds


class Served:
    """Reads that a view has answered since the start, and rows of its table that they did not have to look at."""

    __slots__ = ("_lock", "reads", "rows_saved")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reads = 0
        self.rows_saved = 0

    def add(self, rows: int) -> None:
        with self._lock:
            self.reads += 1
            self.rows_saved += max(rows, 0)


def apply(
    change: Change, stores: Stores, view: Maintained, *, version: int, early: Early | None
) -> tuple[bool, float]:  # fmt: skip
    """Do what ``operations`` gives, at once: each group is looked up once, and read and written where it is.

    ``early``: what is known of the rows that come, all of them. Returns whether any group is another now, and the
    seconds that it took, those before included.
    """
    began = monotonic()
    difference, before = _difference(change, view, early)
    moved = view.grouper.merge(difference, stores[view.id], version=version)
    return moved, monotonic() - began + before


def _difference(change: Change, view: Maintained, early: Early | None) -> tuple[pa.RecordBatch, float]:
    """What a change of rows adds to groups, and the seconds of it that it took elsewhere."""
    grouper, names = view.grouper, [str(id) for id in view.reads]
    known = None if early is None or change.new.num_rows < early.rows_count else early.change_of(view)
    if known is None:
        return grouper.change_of(*_signed(change, names)), 0.0
    difference, seconds = known
    if change.old.num_rows:
        difference = grouper.combined([grouper.change_of(change.old.select(names), -1), difference])
    return difference, seconds


def forget(change: Change, stores: Stores, view: Maintained, *, version: int) -> None:
    """Rows of slices that are dropped go, which the view retains: note what they have added to its groups."""
    for part in view.forgotten_parts:
        rows = change.old.select([str(id) for id in part.reads])
        part.grouper.merge(part.grouper.change_of(rows, 1), stores[part.id], version=version)


def operations(change: Change, stores: Stores, view: Maintained, *, ordinal: int) -> Iterator[Operation]:
    """What a change of a table's rows does to the groups of a view."""
    rows, signs = _signed(change, [str(id) for id in view.reads])
    grouper = view.grouper
    difference = grouper.change_of(rows, signs)
    if not difference.num_rows:
        return
    found, places = stores[view.id].get_many(difference.select(grouper.key_names), version=NEWEST)
    puts, gone = grouper.changed(difference, found, places)
    if gone.num_rows:
        yield _operation(view, Action.DELETE, gone, ordinal)
    if puts.num_rows:
        yield _operation(view, Action.PUT, puts, ordinal)


def _signed(change: Change, names: list[str]) -> tuple[pa.RecordBatch, np.ndarray | int]:
    """The rows that go and that come, and which are which."""
    old, new = change.old.select(names), change.new.select(names)
    if not old.num_rows:
        return new, 1
    if not new.num_rows:
        return old, -1
    signs = np.ones(old.num_rows + new.num_rows, np.int8)
    signs[: old.num_rows] = -1
    columns = [pa.concat_arrays([a, b]) for a, b in zip(old.columns, new.columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names=names), signs


def columns_needed(views: Sequence[Maintained]) -> tuple[int, ...]:
    """The columns of a table that its views read."""
    return tuple(sorted({id for view in views for id in view.reads}))


def _operation(view: Maintained, action: Action, batch: pa.RecordBatch, ordinal: int) -> Operation:
    return Operation(ordinal=ordinal, table=view.id, schema_version=1, action=action, batch=batch)
