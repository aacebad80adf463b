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
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import pyarrow as pa

from ...base.types import BOOLEAN
from ...storage.column_values import FixedValues, frozen, values_of
from ..kernels import ordering
from ..key_encoding import KeyEncoder, Keys
from ..layout import Layout
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
    """

    view: Maintained
    keys: pa.RecordBatch
    before: np.ndarray
    after: np.ndarray
    encoded: Keys | None = None

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


def count_in(view: Maintained, change: pa.RecordBatch, store: TableStore, *, version: int) -> Counted:
    """Count a change of values into their table: ``counted``, PUT and DELETE in one (upsert.py)."""
    keys, difference = change.select(view.grouper.key_names), change.columns[-1].to_numpy()
    if not change.num_rows:
        return Counted(view=view, keys=keys, before=difference, after=difference)
    values = store.layout.values(change, by_id=True)
    encoded = store.layout.encode(values, count=change.num_rows)
    upsert = store.upsert(encoded)
    after = difference.copy()
    known, _ = upsert.add(after.view(np.uint64)[np.newaxis], view.grouper.sums)
    values[store.table.columns[-1].id] = FixedValues(frozen(after), None)
    moved = difference != 0
    upsert.write(values, put=moved & (after != 0), gone=moved & known & (after == 0), version=version)
    return Counted(view=view, keys=keys, before=after - difference, after=after, encoded=encoded)


def _all_new(view: Maintained, change: pa.RecordBatch) -> Counted:
    """Values none of which were there."""
    before, after = np.zeros(change.num_rows, np.int64), change.columns[-1].to_numpy()
    return Counted(view=view, keys=change.select(view.grouper.key_names), before=before, after=after)


@dataclass(frozen=True, slots=True)
class Had:
    """The groups of a change as they were: ``at`` is the row of each in ``rows``, -1 where there was none. ``stays``:
    which groups have rows afterwards.
    """

    rows: pa.RecordBatch
    at: np.ndarray
    stays: np.ndarray


def kept_of(
    view: Maintained, groups: pa.RecordBatch, had: Had, changes: Sequence[Counted], seeks: Sequence[Seek]
) -> tuple[list[pa.Array], np.ndarray]:
    """The columns that ``groups`` (their keys) have of the values, and which groups have other ones than before."""
    columns: list[pa.Array] = []
    moved = np.zeros(groups.num_rows, np.bool_)
    for change, places, seek in zip(changes, view.kept_places, seeks, strict=True):
        numbers = view.grouper.numbers_in(groups, change.keys.columns)
        for kept, ids in places.items():
            before = [had.rows.column(id - 1) for id in ids]
            if kept is Kept.DISTINCT:
                column, differs = _distinct(change, numbers, had, before[0])
                columns.append(column)
            else:
                extremes = _Extremes(change, numbers, groups, had, before, last=kept is Kept.GREATEST)
                found, differs = extremes.columns(seek)
                columns += found
            moved |= differs
    return columns, moved


def with_values(view: Maintained, groups: pa.RecordBatch, values: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Groups as they are kept, of what all their rows add, and all values of them."""
    grouper = view.grouper
    keys = groups.select(grouper.key_names)
    counts = [_all_new(part, change) for part, change in zip(view.value_views, values, strict=True)]
    had = Had(grouper.no_groups, np.full(groups.num_rows, -1, np.int64), np.ones(groups.num_rows, np.bool_))
    columns, _ = kept_of(view, keys, had, counts, [_no_seek] * len(counts))
    return pa.RecordBatch.from_arrays([*groups.columns, *columns], schema=grouper.no_groups.schema)


def _no_seek(low: Keys, high: Keys, last: bool) -> tuple[pa.RecordBatch, np.ndarray]:
    raise AssertionError("no value has gone")


def _distinct(change: Counted, numbers: np.ndarray, had: Had, before: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """How many different values each group has."""
    count = len(had.at)
    came = (change.after > 0).astype(np.int64) - (change.before > 0)
    more = np.bincount(numbers, came, count).astype(np.int64)
    known = had.at >= 0
    total = more.copy()
    total[known] += before.to_numpy()[had.at[known]]
    return pa.array(total), more != 0


class _Extremes:
    """The least (``last``: the greatest) value of each group of a change."""

    def __init__(
        self, change: Counted, numbers: np.ndarray, groups: pa.RecordBatch, had: Had, before: list[pa.Array], *,
        last: bool,
    ) -> None:  # fmt: skip
        self._change = change
        self._numbers = numbers
        self._groups = groups
        self._had = had
        self._before = before
        self._last = last
        self._layout = Layout(change.view.table)

    def columns(self, seek: Seek) -> tuple[list[pa.Array], np.ndarray]:
        """The columns of the value, and where it is not what it was."""
        indices = pa.array(self._had.at, mask=self._had.at < 0)
        current = [column.take(indices) for column in self._before]
        known = current[0].is_valid().to_numpy(zero_copy_only=False)
        sources, keys = self._sources(current, known)
        sought = np.flatnonzero(sources == ordering.SEEK)
        change = self._change.keys
        values = change.columns[self._groups.num_columns :]
        places = np.where(sources >= 0, sources, np.where(sources == ordering.CURRENT, 0, -1))
        places[sources == ordering.CURRENT] = change.num_rows + np.flatnonzero(sources == ordering.CURRENT)
        parts = [[value, now] for value, now in zip(values, current, strict=True)]
        if len(sought):
            found, at = self._next(keys, sought, seek)
            places[sought[at]] = change.num_rows + len(sources) + np.arange(len(at))
            for part, column in zip(parts, found, strict=True):
                part.append(column)
        taken = pa.array(places, mask=places < 0)
        moved = (sources != ordering.CURRENT) & ((places >= 0) | known)
        return [pa.concat_arrays(part).take(taken) for part in parts], moved

    def _sources(self, current: list[pa.Array], known: np.ndarray) -> tuple[np.ndarray, Keys]:
        """Where each group's value comes from, and the encoded keys of those that they had."""
        change = self._change
        keys = change.encoded
        if keys is None:
            keys = self._encoded(change.keys.columns, change.keys.num_rows)
        had = self._encoded([*self._groups.columns, *current], len(known))
        sources = np.empty(len(known), np.int64)
        ordering.decide(
            keys.words, keys.offsets, keys.width, self._numbers, change.before, change.after, had.words, had.offsets,
            known, self._had.stays, self._last, sources,
        )  # fmt: skip
        return sources, had

    def _next(self, keys: Keys, groups: np.ndarray, seek: Seek) -> tuple[list[pa.Array], np.ndarray]:
        """The values that follow those with these keys in some groups, and of each the place of its group."""
        own = keys.take(groups)
        asked = self._groups.take(pa.array(groups))
        bound = group_bound(self._change.view.table, asked, behind=not self._last)
        rows, places = seek(*((bound, own) if self._last else (own, bound)), self._last)
        return rows.columns[self._groups.num_columns : -1], places

    def _encoded(self, columns: Sequence[pa.Array], count: int) -> Keys:
        names = self._change.view.grouper.key_names
        batch = pa.RecordBatch.from_arrays(list(columns), names=names)
        return self._layout.encode(self._layout.values(batch, by_id=True), count=count)


def group_bound(table: Table, groups: pa.RecordBatch, *, behind: bool) -> Keys:
    """Keys that stand before all values of ``groups`` in a table of values, or ``behind`` them."""
    columns = [table.by_id[int(name)] for name in groups.schema.names]
    values = [values_of(column, known.type) for column, known in zip(groups.columns, columns, strict=True)]
    last = FixedValues(frozen(np.full(groups.num_rows, _BEHIND if behind else 0, np.uint8)), None)
    encoder = KeyEncoder([*columns, Column(id=0, name="0", type=BOOLEAN, nullable=False)])
    return encoder.encode([*values, last], count=groups.num_rows)
