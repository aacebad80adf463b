"""Rows to groups: what rows that come and go add to the groups of a view, and what becomes of those that there are.

    rows, +1 or -1 each ─ where ─ keys ─► numbers ─► a state per number ─► change: a row per group (``change_of``)
    change, change, … ─────────── keys ─► numbers ─► one change (``combined``)
    change + the groups as they are ─► groups to put, groups to delete (``changed``)

A change has the keys and states of the group table, and its states are differences. All of it is exact: states form a
group in which what is added and taken away again leaves nothing, whatever came between (accumulators.py). So a group is
deleted just when all of its states are zero, also while a view is being built and knows of deletions before it knows
the rows. What groups have of values is another matter (values.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ...base.types import no_rows
from ...storage.column_values import FixedValues, Values, values_of
from ..expression.evaluate import evaluate, evaluate_filter
from ..kernels.numbering import number
from ..layout import Layout
from ..numbered import has_numbers, numbered
from ..schema import Column
from ..upsert import Sums
from . import rest
from .accumulators import add, fold, is_zero, partial
from .definition import Maintained
from .values import Had

if TYPE_CHECKING:
    from ..cells import TableStore


class Grouper:
    """A view's definition, ready to group rows: made once per definition."""

    def __init__(self, view: Maintained) -> None:
        self.view = view
        self.table = view.table
        self.key_names = [str(id) for id in self.table.primary_key]
        self._layout = Layout(self.table)
        self._key_types = [key.type for key in view.keys]
        self._has_numbers = has_numbers(self._key_types)
        self._schema = pa.schema([pa.field(column.name, column.type.arrow) for column in self.table.columns])
        self._change_schema = pa.schema([self._schema.field(place) for place in range(view.places[-1].stop - 1)])
        self.nothing, self.no_groups = no_rows(self._change_schema), no_rows(self._schema)

    def change_of(self, rows: pa.RecordBatch, signs: np.ndarray | int) -> pa.RecordBatch:
        """What rows add (+1) and take away (-1; int8[n], or one for all). Columns are named by identifier."""
        view, ids = self.view, [int(name) for name in rows.schema.names]
        if view.where is not None:
            kept = evaluate_filter(view.where, rows, column_ids=ids)
            if kept.true_count < rows.num_rows:
                rows = rows.filter(kept)
                signs = signs if isinstance(signs, int) else signs[kept.to_numpy(zero_copy_only=False)]
        keys = [evaluate(key, rows, column_ids=ids) for key in view.keys]
        groups, firsts = self._numbered(keys, rows.num_rows)
        columns = [key.take(firsts) for key in keys]
        for state in view.states:
            filter = None
            if state.filter is not None:
                filter = evaluate_filter(state.filter, rows, column_ids=ids).to_numpy(zero_copy_only=False)
            values = None if state.argument is None else evaluate(state.argument, rows, column_ids=ids)
            columns += partial(state.sort, groups=groups, count=len(firsts), values=values, kept=filter, signs=signs)
        return self.batch(columns)

    def combined(self, changes: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
        """Several changes as one."""
        return changes[0] if len(changes) == 1 else self.folded(changes)

    def folded(self, changes: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
        """The sums of all groups of changes that have the same keys; without keys one, also of no changes."""
        whole = pa.concat_batches(list(changes)) if changes else self.nothing
        keys = whole.columns[: len(self.key_names)]
        groups, firsts = self._numbered(keys, whole.num_rows)
        columns = [key.take(firsts) for key in keys]
        for state, places in zip(self.view.states, self.view.places, strict=True):
            states = [whole.column(id - 1) for id in places]
            columns += fold(state.sort, groups=groups, count=len(firsts), states=states)
        return self.batch(columns)

    def had(self, change: pa.RecordBatch, found: pa.RecordBatch, places: np.ndarray) -> Had:
        """The groups as they are: ``found``, each with the place of its key in ``change``."""
        at = np.full(change.num_rows, -1, np.int64)
        at[places] = np.arange(len(places))
        rows = self.view.places[0].start - 1
        count = change.column(rows).to_numpy().copy()
        count[places] += found.column(rows).to_numpy()
        return Had(found, at, count > 0)

    def changed(
        self, change: pa.RecordBatch, had: Had, kept: tuple[Sequence[pa.Array], np.ndarray] | None = None
    ) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The groups to put, and the keys of those to delete. ``kept``: what they have of values, and which of them
        have other ones than before (values.py).
        """
        count, found, at = change.num_rows, had.rows, had.at
        known = at >= 0
        indices = pa.array(at, mask=~known)
        columns = list(change.columns[: len(self.key_names)])
        moved, left = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        for state, ids in zip(self.view.states, self.view.places, strict=True):
            difference = [change.column(id - 1) for id in ids]
            before = [_states(found.column(id - 1), indices) for id in ids]
            after = add(state.sort, before, difference)
            moved |= ~is_zero(state.sort, difference)
            left |= ~is_zero(state.sort, after)
            columns += after
        if kept is not None:
            columns += kept[0]
            moved |= kept[1]
        puts = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        there, gone = moved & left, moved & known & ~left
        keys = change.select(self.key_names)
        return puts if there.all() else puts.filter(pa.array(there)), keys.filter(pa.array(gone))

    def aligned(self, left: pa.RecordBatch, right: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        """Of each group that either has, once, the place in ``left`` and in ``right``: -1 where it is not there."""
        keys = [pa.concat_arrays([left.column(name), right.column(name)]) for name in self.key_names]
        numbers, firsts = self._numbered(keys, left.num_rows + right.num_rows)
        places = np.full((2, len(firsts)), -1, np.int64)
        places[0, numbers[: left.num_rows]] = np.arange(left.num_rows)
        places[1, numbers[left.num_rows :]] = np.arange(right.num_rows)
        return places[0], places[1]

    def hashes(self, groups: pa.RecordBatch) -> np.ndarray:
        """The hash of each group's key (uint64)."""
        values = self._layout.values(groups.select(self.key_names), by_id=True)
        return self._layout.encode(values, count=groups.num_rows).hashes

    def merge(self, change: pa.RecordBatch, store: TableStore, *, version: int) -> bool:
        """Add a change to the newest groups: ``changed``, PUT and DELETE in one, without Arrow between (upsert.py).

        Returns whether any group is another now.
        """
        if not change.num_rows:
            return False
        layout, sums = store.layout, self.sums
        values = layout.values(change, by_id=True)
        upsert = store.upsert(layout.encode(values, count=change.num_rows))
        limbs = np.stack([_int64(values[column.id]) for column in sums.limbs]).view(np.uint64)
        moved = np.bitwise_or.reduce(limbs) != 0
        known, found = upsert.add(limbs, sums)
        left = np.bitwise_or.reduce(limbs) != 0
        for column, limb in zip(sums.limbs, limbs.view(np.int64), strict=True):
            values[column.id] = FixedValues(limb, None)
        for column, parts in zip(sums.heaps, found, strict=True):
            comes = change.column(column.id - 1)
            moved[rest.places_of(comes)] = True
            if parts:
                comes = rest.folded([(np.arange(change.num_rows), comes), *parts], count=change.num_rows)
                values[column.id] = values_of(comes, column.type)
            left[rest.places_of(comes)] = True
        upsert.write(values, put=moved & left, gone=moved & known & ~left, version=version)
        return bool(moved.any())

    @cached_property
    def sums(self) -> Sums:
        """The columns of the states."""
        limbs: list[Column] = []
        integers: list[slice] = []
        heaps: list[Column] = []
        for places in self.view.places:
            columns = [self.table.by_id[id] for id in places]
            first = len(limbs)
            limbs += [column for column in columns if not column.type.is_variable]
            heaps += [column for column in columns if column.type.is_variable]
            integers.append(slice(first, len(limbs)))
        return Sums(limbs, integers, heaps)

    def _numbered(self, keys: Sequence[pa.Array], count: int) -> tuple[np.ndarray, pa.Array]:
        """The group of each row (int64), and the first row of each group. Without keys there is one, always."""
        if not keys:
            return np.zeros(count, np.int64), pa.array([0])
        if self._has_numbers:
            numbers, firsts = numbered(keys, self._key_types, count)
            return numbers, pa.array(firsts)
        batch = pa.RecordBatch.from_arrays(list(keys), names=self.key_names)
        encoded = self._layout.encode(self._layout.values(batch, by_id=True), count=count)
        slots = np.zeros(1 << max(2 * count - 1, 1).bit_length(), np.int64)
        numbers, firsts = np.empty(count, np.int64), np.empty(count, np.int64)
        groups = number(encoded.words, encoded.offsets, encoded.width, encoded.hashes, slots, numbers, firsts)
        return numbers, pa.array(firsts[:groups])

    def numbers_in(self, groups: pa.RecordBatch, keys: Sequence[pa.Array]) -> np.ndarray:
        """The place in ``groups``, which are distinct, of the group of each row (int64). Its keys stand first."""
        wanted = len(self.key_names)
        if not wanted:
            return np.zeros(len(keys[0]), np.int64)
        columns = [pa.concat_arrays([group, key]) for group, key in zip(groups.columns, keys[:wanted], strict=True)]
        numbers, _ = self._numbered(columns, len(columns[0]))
        return numbers[groups.num_rows :]

    def batch(self, columns: Sequence[Any]) -> pa.RecordBatch:
        """A change: the keys, then the columns of the states."""
        return pa.RecordBatch.from_arrays(list(columns), schema=self._change_schema)


def _states(column: pa.Array, indices: pa.Array) -> pa.Array:
    """One column of the states that were found; zero of the groups that were not."""
    taken = column.take(indices)
    return taken if pa.types.is_binary(taken.type) or pa.types.is_large_binary(taken.type) else taken.fill_null(0)


def _int64(values: Values) -> np.ndarray:
    assert isinstance(values, FixedValues), "states are BIGINT, but for the rest"
    return values.values
