"""Materialized views inside of ``apply``: what an operation on a table does to the groups of its views.

    PUT, DELETE ──► rows with these primary keys as they are (old) ── -1 ──┐
                └─► rows as they will be (new)                     ── +1 ──┴─► change ─► groups to put, to delete
    DROP_SLICES, large transactions ──► the rows that go, and those that come, alike          TRUNCATE ──► no groups

A view that retains what its table forgets is left as it is by DROP_SLICES (``forget``, definition.py).
Views that have values (values.py): first their tables, then the groups.

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
from .difference import Difference, combined, difference_of
from .early import Early
from .values import Counted, Seek, count_in, counted, kept_of

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
) -> tuple[list[int], float]:  # fmt: skip
    """Do what ``operations`` gives, at once: each group is looked up once, and read and written where it is.

    ``early``: what is known of the rows that come, all of them. Returns the tables that have other rows now, and the
    seconds that it took, those before included.
    """
    began = monotonic()
    difference, seconds = _difference(change, view, early)
    changed = add(difference, stores, view, version=version)
    return changed, monotonic() - began + seconds


def add(difference: Difference, stores: Stores, view: Maintained, *, version: int) -> list[int]:
    """Add a difference to the newest groups, and to the values in them. Returns the tables that have other rows now."""
    store, grouper = stores[view.id], view.grouper
    if not difference.values:
        return [view.id] if grouper.merge(difference.groups, store, version=version) else []
    counts = [
        count_in(part, values, places, stores[part.id], version=version)
        for part, values, places in zip(view.value_views, difference.values, difference.places, strict=True)
    ]
    keys = difference.groups.select(grouper.key_names)
    seeks = [seek_in(stores[part.id]) for part in view.value_views]
    moved = grouper.merge(
        difference.groups, store, version=version, kept=lambda had: kept_of(view, keys, had, counts, seeks)
    )
    changed = [count.view.id for count in counts if (count.before != count.after).any()]
    return [*changed, view.id] if moved else changed


def _difference(change: Change, view: Maintained, early: Early | None) -> tuple[Difference, float]:
    """What a change of rows adds to a view, and the seconds of it that it took elsewhere."""
    names = [str(id) for id in view.reads]
    known = None if early is None or change.new.num_rows < early.rows_count else early.difference_of(view)
    if known is None:
        return difference_of(view, *_signed(change, names)), 0.0
    difference, seconds = known
    if change.old.num_rows:
        difference = combined(view, [difference_of(view, change.old.select(names), -1), difference])
    return difference, seconds


def forget(change: Change, stores: Stores, view: Maintained, *, version: int) -> None:
    """Rows of slices that are dropped go, which the view retains: note what they have added to its groups."""
    for part in view.forgotten_parts:
        rows = change.old.select([str(id) for id in part.reads])
        part.grouper.merge(part.grouper.change_of(rows, 1), stores[part.id], version=version)


def operations(change: Change, stores: Stores, view: Maintained, *, ordinal: int) -> Iterator[Operation]:
    """What a change of a table's rows does to the groups of a view."""
    rows, signs = _signed(change, [str(id) for id in view.reads])
    difference = view.grouper.change_of(rows, signs)
    if not difference.num_rows:
        return
    counts: list[Counted] = []
    for values in view.value_views:
        change_of_values = values.grouper.change_of(rows, signs)
        counts.append(counted(values, change_of_values, *_newest(values, change_of_values, stores[values.id])))
        yield from _writes(values, counts[-1].puts, counts[-1].gone, ordinal)
    yield from _writes(view, *merged(view, difference, stores, counts), ordinal)


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


def merged(
    view: Maintained, difference: pa.RecordBatch, stores: Stores, counts: Sequence[Counted] = ()
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The groups to put, and the keys of those to delete, where ``difference`` is added to the newest groups.

    ``counts``: what has become of the view's values, which have been written.
    """
    grouper = view.grouper
    had = grouper.had(difference, *_newest(view, difference, stores[view.id]))
    if not counts:
        return grouper.changed(difference, had)
    seeks = [seek_in(stores[values.id]) for values in view.value_views]
    keys = difference.select(grouper.key_names)
    return grouper.changed(difference, had, kept_of(view, keys, had, counts, seeks))


def seek_in(store: TableStore) -> Seek:
    """How the next values are found in a table of values."""
    return lambda low, high, last: store.extreme(low, high, last=last)


def _newest(view: Maintained, change: pa.RecordBatch, store: TableStore) -> tuple[pa.RecordBatch, np.ndarray]:
    return store.get_many(change.select(view.grouper.key_names), version=NEWEST)


def columns_needed(views: Sequence[Maintained]) -> tuple[int, ...]:
    """The columns of a table that its views read."""
    return tuple(sorted({id for view in views for id in view.reads}))


def _writes(view: Maintained, puts: pa.RecordBatch, gone: pa.RecordBatch, ordinal: int) -> Iterator[Operation]:
    if gone.num_rows:
        yield _operation(view, Action.DELETE, gone, ordinal)
    if puts.num_rows:
        yield _operation(view, Action.PUT, puts, ordinal)


def _operation(view: Maintained, action: Action, batch: pa.RecordBatch, ordinal: int) -> Operation:
    return Operation(ordinal=ordinal, table=view.id, schema_version=1, action=action, batch=batch)
