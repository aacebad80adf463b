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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from ...base.types import no_rows
from ...storage.column_values import FixedValues, Values, values_of
from ..expression.evaluate import evaluate, evaluate_filter
from ..layout import Layout
from ..numbered import numbered
from ..schema import Column, Table
from ..upsert import Sums, Upsert
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
        self._schema = pa.schema([pa.field(column.name, column.type.arrow) for column in self.table.columns])
        self._change_schema = pa.schema([self._schema.field(place) for place in range(view.places[-1].stop - 1)])
        self.nothing, self.no_groups = no_rows(self._change_schema), no_rows(self._schema)

    def change_of(self, rows: pa.RecordBatch, signs: np.ndarray | int) -> pa.RecordBatch:
        """What rows add (+1) and take away (-1; int8[n], or one for all). Columns are named by identifier."""
        rows, signs = self.kept(rows, signs)
        return self.change_of_kept(rows, signs)[0]

    def mask(self, rows: pa.RecordBatch) -> pa.Array | None:
        """Which rows count; None where all do."""
        if self.view.where is None:
            return None
        mask = evaluate_filter(self.view.where, rows, column_ids=[int(name) for name in rows.schema.names])
        return mask if mask.true_count < rows.num_rows else None

    def kept(self, rows: pa.RecordBatch, signs: np.ndarray | int) -> tuple[pa.RecordBatch, np.ndarray | int]:
        """The rows that count."""
        if (mask := self.mask(rows)) is None:
            return rows, signs
        return rows.filter(mask), signs if isinstance(signs, int) else signs[mask.to_numpy(zero_copy_only=False)]

    def change_of_kept(self, rows: pa.RecordBatch, signs: np.ndarray | int) -> tuple[pa.RecordBatch, np.ndarray]:
        """``change_of`` rows that all count, and of each its group's place there (int64[n])."""
        view, ids = self.view, [int(name) for name in rows.schema.names]
        keys = [evaluate(key, rows, column_ids=ids) for key in view.keys]
        groups, firsts = self._numbered(keys, rows.num_rows)
        columns = [key.take(firsts) for key in keys]
        for state in view.states:
            filter = None
            if state.filter is not None:
                filter = evaluate_filter(state.filter, rows, column_ids=ids).to_numpy(zero_copy_only=False)
            values = None if state.argument is None else evaluate(state.argument, rows, column_ids=ids)
            columns += partial(state.sort, groups=groups, count=len(firsts), values=values, kept=filter, signs=signs)
        return self.batch(columns), groups

    def combined(self, changes: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
        """Several changes as one."""
        return changes[0] if len(changes) == 1 else self.folded(changes)

    def folded(self, changes: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
        """The sums of all groups of changes that have the same keys; without keys one, also of no changes."""
        return self.fold(pa.concat_batches(list(changes)) if changes else self.nothing)[0]

    def fold(self, groups: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray]:
        """The sums of all groups that have the same keys, and of each group the place of its sum (int64[n])."""
        numbers, firsts = self._numbered(groups.columns[: len(self.key_names)], groups.num_rows)
        return self.sums_of(groups, numbers, firsts), numbers

    def sums_of(self, groups: pa.RecordBatch, numbers: np.ndarray, firsts: pa.Array) -> pa.RecordBatch:
        """The sums of groups with the same number, in the order of numbers; ``firsts``: a group of each."""
        columns = [key.take(firsts) for key in groups.columns[: len(self.key_names)]]
        for state, places in zip(self.view.states, self.view.places, strict=True):
            states = [groups.column(id - 1) for id in places]
            columns += fold(state.sort, groups=numbers, count=len(firsts), states=states)
        return self.batch(columns)

    def had(self, change: pa.RecordBatch, found: pa.RecordBatch, places: np.ndarray) -> Had:
        """The groups as they are: ``found``, each with the place of its key in ``change``."""
        at = np.full(change.num_rows, -1, np.int64)
        at[places] = np.arange(len(places))
        rows = self.view.places[0].start - 1
        count = change.column(rows).to_numpy().copy()
        count[places] += found.column(rows).to_numpy()
        return Had(found, at, at >= 0, count > 0)

    def changed(
        self, change: pa.RecordBatch, had: Had, kept: tuple[Sequence[pa.Array], np.ndarray] | None = None
    ) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The groups to put, and the keys of those to delete. ``kept``: what they have of values, and which of them
        have other ones than before (values.py).
        """
        count, known = change.num_rows, had.known
        columns = list(change.columns[: len(self.key_names)])
        moved, left = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        for state, ids in zip(self.view.states, self.view.places, strict=True):
            difference = [change.column(id - 1) for id in ids]
            before = [_states(had.column(id)) for id in ids]
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

    def hashes_of(self, rows: pa.RecordBatch) -> np.ndarray:
        """The same of the group of each row; of rows that count. Columns are named by identifier."""
        ids = [int(name) for name in rows.schema.names]
        keys = [evaluate(key, rows, column_ids=ids) for key in self.view.keys]
        return self.hashes(pa.RecordBatch.from_arrays(keys, names=self.key_names))

    def merge(
        self, change: pa.RecordBatch, store: TableStore, *, version: int, kept: KeptOf | None = None
    ) -> bool:  # fmt: skip
        """Add a change to the newest groups: ``changed``, PUT and DELETE in one, without Arrow between (upsert.py).

        ``kept``: what says what they have of values. Returns whether any group is another now.
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
        if kept is not None:
            columns, differs = kept(Newest(upsert, self.table, known, limbs[0].view(np.int64) > 0))
            for column, array in zip(self.table.columns[len(self._change_schema) :], columns, strict=True):
                values[column.id] = values_of(array, column.type)
            moved |= differs
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
        numbers, firsts = numbered(keys, self._key_types, count)
        return numbers, pa.array(firsts)

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


def _states(column: pa.Array) -> pa.Array:
    """One column of the states that were found; zero of the groups that were not."""
    return column if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type) else column.fill_null(0)


@dataclass(frozen=True, slots=True, eq=False)
class Newest:
    """The groups of a change as they were, read where they are; see ``values.Before``."""

    upsert: Upsert
    table: Table
    known: np.ndarray
    stays: np.ndarray

    def column(self, id: int) -> pa.Array:
        return self.upsert.column(self.table.by_id[id])


KeptOf: TypeAlias = Callable[[Newest], tuple[Sequence[pa.Array], np.ndarray]]
"""What groups have of values, and which have other ones than before (values.py)."""


def _int64(values: Values) -> np.ndarray:
    assert isinstance(values, FixedValues), "states are BIGINT, but for the rest"
    return values.values
