"""What a group has of its values: the least, the greatest, how many different ones; exact when rows go, too.

    change of the values' own groups ─ + as they are ─► values to put, to delete       (``counted``: a Counted)
    what came and went of each group ─ + what the group had ─► what it has             (``kept_of``)
                                          └─ its extreme value went ─ seek in the table of values ─► the next one

A value that comes and is more extreme than what the group had takes its place, without a look at the others. Where the
extreme value itself has gone, the next one is the first living row of the table of values behind it: all such groups of
a change are sought together, each in logarithmic time (cells.py, ``extreme``). So the work is bounded by the rows that
change, however many values a group has.

The values must have been put and deleted before ``kept_of`` seeks: it sees the table as it is then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import numpy as np
import pyarrow as pa

from ...base.types import BOOLEAN
from ...storage.column_values import FixedValues, frozen, values_of
from ..kernels import ordering
from ..key_encoding import KeyEncoder, Keys
from ..layout import Layout
from ..numbered import has_order, order_of
from ..schema import Column, Table
from .definition import Kept, Maintained

if TYPE_CHECKING:
    from ..cells import TableStore

Seek: TypeAlias = Callable[[Keys, Keys, bool], tuple[pa.RecordBatch, np.ndarray]]
"""``TableStore.extreme``: the first, or last, row between keys."""

_BEHIND: Final = 2
"""A byte after a group's key: behind all of its values, which begin with 0, or with 1 where they are NULL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Values of some groups that came, went, or are there more or less often. ``view``: the view that counts them.

    ``keys`` are those of the table of values: the group's, and the value. They are distinct. ``encoded``: they too.
    ``groups``: of each the place of its group (int64), among those that change, where that is known.
    """

    view: Maintained
    keys: pa.RecordBatch
    before: np.ndarray
    after: np.ndarray
    encoded: Keys | None = None
    groups: np.ndarray | None = None

    @property
    def puts(self) -> pa.RecordBatch:
        """The rows of the table to put."""
        rows = np.flatnonzero((self.before != self.after) & (self.after != 0))
        batch = self.keys.append_column(self.view.table.columns[-1].name, pa.array(self.after))
        return batch if len(rows) == batch.num_rows else batch.take(pa.array(rows))

    @property
    def gone(self) -> pa.RecordBatch:
        """The keys of the rows to delete."""
        return self.keys.take(pa.array(np.flatnonzero((self.before != 0) & (self.after == 0))))


def counted(view: Maintained, change: pa.RecordBatch, found: pa.RecordBatch, places: np.ndarray) -> Counted:
    """A change of values, and those that there are, each with the place of its key in ``change``."""
    before = np.zeros(change.num_rows, np.int64)
    before[places] = found.columns[-1].to_numpy()
    after = before + change.columns[-1].to_numpy()
    return Counted(view=view, keys=change.select(view.grouper.key_names), before=before, after=after)


def count_in(
    view: Maintained, change: pa.RecordBatch, groups: np.ndarray, store: TableStore, *, version: int
) -> Counted:  # fmt: skip
    """Count a change of values, in their groups, into their table: ``counted``, PUT and DELETE in one (upsert.py)."""
    keys, difference = change.select(view.grouper.key_names), change.columns[-1].to_numpy()
    if not change.num_rows:
        return Counted(view=view, keys=keys, before=difference, after=difference, groups=groups)
    values = store.layout.values(change, by_id=True)
    encoded = store.layout.encode(values, count=change.num_rows)
    upsert = store.upsert(encoded)
    after = difference.copy()
    known, _ = upsert.add(after.view(np.uint64)[np.newaxis], view.grouper.sums)
    values[store.table.columns[-1].id] = FixedValues(frozen(after), None)
    moved = difference != 0
    upsert.write(values, put=moved & (after != 0), gone=moved & known & (after == 0), version=version)
    return Counted(view=view, keys=keys, before=after - difference, after=after, encoded=encoded, groups=groups)


def _all_new(view: Maintained, change: pa.RecordBatch) -> Counted:
    """Values none of which were there."""
    before, after = np.zeros(change.num_rows, np.int64), change.columns[-1].to_numpy()
    return Counted(view=view, keys=change.select(view.grouper.key_names), before=before, after=after)


class Before(Protocol):
    """The groups of a change as they were: ``known`` are those that there were, ``stays`` which of all groups have
    rows afterwards (bool[n]).
    """

    @property
    def known(self) -> np.ndarray: ...

    @property
    def stays(self) -> np.ndarray: ...

    def column(self, id: int) -> pa.Array:
        """What each had in a column; NULL where there was none."""
        ...


@dataclass(frozen=True, slots=True)
class Had:
    """The same, given as rows: ``at`` is the row of each group in ``rows``, -1 where there was none."""

    rows: pa.RecordBatch
    at: np.ndarray
    known: np.ndarray
    stays: np.ndarray

    def column(self, id: int) -> pa.Array:
        return self.rows.column(id - 1).take(pa.array(self.at, mask=~self.known))


def kept_of(
    view: Maintained, groups: pa.RecordBatch, had: Before, changes: Sequence[Counted], seeks: Sequence[Seek]
) -> tuple[list[pa.Array], np.ndarray]:
    """The columns that ``groups`` (their keys) have of the values, and which groups have other ones than before."""
    columns: list[pa.Array] = []
    moved = np.zeros(groups.num_rows, np.bool_)
    for change, places, seek in zip(changes, view.kept_places, seeks, strict=True):
        numbers = change.groups
        if numbers is None:
            numbers = view.grouper.numbers_in(groups, change.keys.columns)
        for kept, ids in places.items():
            before = [had.column(id) for id in ids]
            if kept is Kept.DISTINCT:
                column, differs = _distinct(change, numbers, before[0])
                columns.append(column)
            else:
                extremes = _Extremes(change, numbers, groups, before, had.stays, last=kept is Kept.GREATEST)
                found, differs = extremes.columns(seek)
                columns += found
            moved |= differs
    return columns, moved


def with_values(view: Maintained, groups: pa.RecordBatch, values: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Groups as they are kept, of what all their rows add, and all values of them."""
    grouper = view.grouper
    keys = groups.select(grouper.key_names)
    counts = [_all_new(part, change) for part, change in zip(view.value_views, values, strict=True)]
    none = np.zeros(groups.num_rows, np.bool_)
    had = Had(grouper.no_groups, np.full(groups.num_rows, -1, np.int64), none, ~none)
    columns, _ = kept_of(view, keys, had, counts, [_no_seek] * len(counts))
    return pa.RecordBatch.from_arrays([*groups.columns, *columns], schema=grouper.no_groups.schema)


def _no_seek(low: Keys, high: Keys, last: bool) -> tuple[pa.RecordBatch, np.ndarray]:
    raise AssertionError("no value has gone")


def _distinct(change: Counted, numbers: np.ndarray, before: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """How many different values each group has."""
    came = (change.after > 0).astype(np.int64) - (change.before > 0)
    more = np.bincount(numbers, came, len(before)).astype(np.int64)
    return pa.array(before.fill_null(0).to_numpy() + more), more != 0


class _Extremes:
    """The least (``last``: the greatest) value of each group of a change. ``current``: what it was."""

    def __init__(
        self, change: Counted, numbers: np.ndarray, groups: pa.RecordBatch, current: list[pa.Array],
        stays: np.ndarray, *, last: bool,
    ) -> None:  # fmt: skip
        self._change = change
        self._numbers = numbers
        self._groups = groups
        self._current = current
        self._stays = stays
        self._last = last

    def columns(self, seek: Seek) -> tuple[list[pa.Array], np.ndarray]:
        """The columns of the value, and where it is not what it was."""
        known = self._current[0].is_valid().to_numpy(zero_copy_only=False)
        sources = self._sources(known)
        sought = np.flatnonzero(sources == ordering.SEEK)
        values = self._change.keys.columns[self._groups.num_columns :]
        stays = sources == ordering.CURRENT
        places = np.where(sources >= 0, sources, -1)
        places[stays] = self._change.keys.num_rows + np.flatnonzero(stays)
        parts = [[value, now] for value, now in zip(values, self._current, strict=True)]
        if len(sought):
            found, at = self._next(sought, seek)
            places[sought[at]] = self._change.keys.num_rows + len(sources) + np.arange(len(at))
            for part, column in zip(parts, found, strict=True):
                part.append(column)
        taken = pa.array(places, mask=places < 0)
        moved = ~stays & ((places >= 0) | known)
        return [pa.concat_arrays(part).take(taken) for part in parts], moved

    def _sources(self, known: np.ndarray) -> np.ndarray:
        """Where each group's value comes from."""
        change, sources = self._change, np.empty(len(known), np.int64)
        groups, before, after = frozen(self._numbers), frozen(change.before), frozen(change.after)
        known, stays = frozen(known), frozen(self._stays)
        types = [column.type for column in change.view.table.primary_key_columns[self._groups.num_columns :]]
        if len(types) == 1 and has_order(types[0]):
            ordering.decide_words(
                order_of(change.keys.columns[-1], types[0]), groups, before, after,
                order_of(self._current[0], types[0]), known, stays, self._last, sources,
            )  # fmt: skip
            return sources
        keys = change.encoded
        if keys is None:
            keys = self._encoded(change.keys.columns, change.keys.num_rows)
        had = self._encoded([*self._groups.columns, *self._current], len(known))
        ordering.decide(
            keys.words, keys.offsets, keys.width, groups, before, after, had.words, had.offsets, known, stays,
            self._last, sources,
        )  # fmt: skip
        return sources

    def _next(self, groups: np.ndarray, seek: Seek) -> tuple[list[pa.Array], np.ndarray]:
        """The values that follow the current ones of some groups, and of each the place of its group."""
        places = pa.array(groups)
        asked = self._groups.take(places)
        own = self._encoded([*asked.columns, *(column.take(places) for column in self._current)], len(groups))
        bound = group_bound(self._change.view.table, asked, behind=not self._last)
        rows, places = seek(*((bound, own) if self._last else (own, bound)), self._last)
        return rows.columns[self._groups.num_columns : -1], places

    def _encoded(self, columns: Sequence[pa.Array], count: int) -> Keys:
        names = self._change.view.grouper.key_names
        batch = pa.RecordBatch.from_arrays(list(columns), names=names)
        layout = Layout(self._change.view.table)
        return layout.encode(layout.values(batch, by_id=True), count=count)


def group_bound(table: Table, groups: pa.RecordBatch, *, behind: bool) -> Keys:
    """Keys that stand before all values of ``groups`` in a table of values, or ``behind`` them."""
    columns = [table.by_id[int(name)] for name in groups.schema.names]
    values = [values_of(column, known.type) for column, known in zip(groups.columns, columns, strict=True)]
    last = FixedValues(frozen(np.full(groups.num_rows, _BEHIND if behind else 0, np.uint8)), None)
    encoder = KeyEncoder([*columns, Column(id=0, name="0", type=BOOLEAN, nullable=False)])
    return encoder.encode([*values, last], count=groups.num_rows)
