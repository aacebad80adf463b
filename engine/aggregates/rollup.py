"""Groups of groups: what a query asks, made of the groups of a view and of rows beside them.

    groups of the view ─ where, keys, states picked ─► changes ─┐
    rows beside them   ─ where, keys, states made ───► changes ─┴─► one row per group of the query, with its states

Rows that the groups have and the query does not want go out of them again, with the sign -1; a group without any row
left is none.

The least and the greatest of a group are values of the query's group that it is part of; how many different ones there
are the view's tables of values tell. From there they go the way of a view's own values (values.py).

A query is a ``Maintained`` here, of which nothing is kept: its states are those of a view's row, so they add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..expression.evaluate import evaluate, evaluate_filter
from ..expression.node import Expression
from ..expression.tree import columns_of
from ..pipeline.shape import NotCovered
from .definition import Maintained
from .folded import CHANGE_ROWS
from .values import with_values

PIECE: Final = 1 << 18
"""Groups that are held before they are added up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """Columns of the view's rows that are part of one thing that a group of the query has, where ``filter`` is true."""

    columns: tuple[int, ...]
    filter: Expression | None

    @property
    def reads(self) -> frozenset[int]:
        """The columns that it is made of."""
        return frozenset(self.columns) | (frozenset() if self.filter is None else columns_of(self.filter))


@dataclass(frozen=True, slots=True, kw_only=True)
class PickedValue:
    """A value that each of the view's rows has, in its parts, where ``filter`` is true."""

    parts: tuple[Expression, ...]
    filter: Expression | None

    @property
    def reads(self) -> frozenset[int]:
        """The columns that it is made of."""
        return frozenset(id for part in (*self.parts, *filter(None, (self.filter,))) for id in columns_of(part))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the groups of a view say of a query, over their columns: its ``keys``; ``states``: what each is the sum of;
    ``values``: what values groups have of each (definition.py). ``filter``: the groups that are asked for.
    """

    keys: Sequence[Expression]
    states: Sequence[Picked]
    values: Sequence[Sequence[PickedValue]] = ()
    filter: Expression | None = None


class RolledUp:
    """Collects groups for ``asked``. Raises NotCovered where more than ``groups_max`` groups of views are read."""

    def __init__(self, asked: Maintained, *, groups_max: int) -> None:
        self._groups_max = groups_max
        self._asked = asked
        self._groups = _Sums(asked)
        self._counts = [_Sums(view) for view in asked.value_views]
        self._takes_away = False
        self.groups_read = self.rows_read = 0

    def add_groups(self, batches: Iterable[pa.RecordBatch], ids: Sequence[int], of: Reading) -> None:
        """Groups of a view, with the columns ``ids``."""
        for batch in batches:
            batch = self._passing(batch, ids, of)
            if not batch.num_rows:
                continue
            keys = [evaluate(key, batch, column_ids=ids) for key in of.keys]
            self._groups.add(self._asked.grouper.batch([*keys, *_states_of(of, batch, ids)]))
            for number, picked in enumerate(of.values):
                for part in picked:
                    self._add_values(number, batch, ids, keys, part, np.ones(batch.num_rows, np.int64))

    def add_values(
        self, number: int, batches: Iterable[pa.RecordBatch], ids: Sequence[int], of: Reading, picked: PickedValue, *,
        count: int,
    ) -> None:  # fmt: skip
        """Rows of one of a view's tables of values; ``count``: the column that says how often a value is there."""
        for batch in batches:
            batch = self._passing(batch, ids, of)
            keys = [evaluate(key, batch, column_ids=ids) for key in of.keys]
            self._add_values(number, batch, ids, keys, picked, batch.column(ids.index(count)).to_numpy())

    def add_rows(self, batches: Iterable[tuple[pa.RecordBatch, np.ndarray]], of: Maintained) -> None:
        """Rows of the table that come (1) or go (-1; int8), their columns named by identifiers. ``of``: the query of
        such rows; those of one with values only come.
        """
        for batch, signs in _together(batches):
            self.rows_read += batch.num_rows
            self._takes_away |= bool((signs < 0).any())
            self._groups.add(of.grouper.change_of(batch, signs))
            for sums, view in zip(self._counts, of.value_views, strict=True):
                sums.add(view.grouper.change_of(batch.select([str(id) for id in view.reads]), signs))

    def groups(self, *, alone: bool) -> pa.RecordBatch:
        """The groups of the query. ``alone``: no two of those that were added are of one."""
        groups = self._groups.whole(alone=alone)
        if self._takes_away and self._asked.keys:
            there = groups.column(len(self._asked.keys)).to_numpy() > 0  # ROWS, the first state
            groups = groups if there.all() else groups.filter(pa.array(there))
        return with_values(self._asked, groups, [sums.whole() for sums in self._counts]) if self._counts else groups

    def _passing(self, batch: pa.RecordBatch, ids: Sequence[int], of: Reading) -> pa.RecordBatch:
        self.groups_read += batch.num_rows
        if self.groups_read > self._groups_max:
            raise NotCovered(f"they turned out to be more than {self._groups_max:,} groups")
        if of.filter is None:
            return batch
        mask = evaluate_filter(of.filter, batch, column_ids=ids)
        return batch if mask.true_count == len(mask) else batch.filter(mask)

    def _add_values(
        self, number: int, batch: pa.RecordBatch, ids: Sequence[int], keys: Sequence[pa.Array], picked: PickedValue,
        counts: np.ndarray,
    ) -> None:  # fmt: skip
        """Values that groups have; one that is NULL is none."""
        parts = [evaluate(part, batch, column_ids=ids) for part in picked.parts]
        there = parts[0].is_valid()
        if picked.filter is not None:
            there = pc.and_(there, evaluate_filter(picked.filter, batch, column_ids=ids))
        columns = [column.filter(there) for column in (*keys, *parts, pa.array(counts))]
        self._counts[number].add(self._asked.value_views[number].grouper.batch(columns))


class _Sums:
    """Changes of groups, added up a few at a time."""

    def __init__(self, view: Maintained) -> None:
        self._grouper = view.grouper
        self._changes: list[pa.RecordBatch] = []
        self._held = 0

    def add(self, change: pa.RecordBatch) -> None:
        if not change.num_rows:
            return
        self._changes.append(change)
        self._held += change.num_rows
        if self._held > PIECE:
            self._changes = [self._grouper.folded(self._changes)]
            self._held = self._changes[0].num_rows

    def whole(self, *, alone: bool = False) -> pa.RecordBatch:
        """The sums; ``alone``: no two changes are of one group."""
        if alone and self._changes:
            return pa.concat_batches(self._changes) if len(self._changes) > 1 else self._changes[0]
        return self._grouper.folded(self._changes)


def _together(batches: Iterable[tuple[pa.RecordBatch, np.ndarray]]) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """Small batches as larger ones, with the sign of each row."""
    held: list[tuple[pa.RecordBatch, np.ndarray]] = []

    def whole() -> tuple[pa.RecordBatch, np.ndarray]:
        if len(held) == 1:
            return held[0]
        return pa.concat_batches([batch for batch, _ in held]), np.concatenate([signs for _, signs in held])

    rows = 0
    for batch, signs in batches:
        if not batch.num_rows:
            continue
        held.append((batch, signs))
        rows += batch.num_rows
        if rows >= CHANGE_ROWS:
            yield whole()
            held, rows = [], 0
    if held:
        yield whole()


def _states_of(of: Reading, batch: pa.RecordBatch, ids: Sequence[int]) -> list[Any]:
    """The states of the query that each group has."""
    columns: list[Any] = []
    places = {id: place for place, id in enumerate(ids)}
    for picked in of.states:
        parts = [batch.column(places[id]) for id in picked.columns]
        if picked.filter is not None:
            kept = evaluate_filter(picked.filter, batch, column_ids=ids)
            parts = [pc.if_else(kept, part, pa.scalar(_none(part.type), part.type)) for part in parts]
        columns += parts
    return columns


def _none(type: pa.DataType) -> int | None:
    """A state's part of no rows."""
    return None if pa.types.is_binary(type) or pa.types.is_large_binary(type) else 0


__all__ = ["Picked", "PickedValue", "Reading", "RolledUp"]
