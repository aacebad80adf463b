"""Groups of groups: what a query asks, made of the groups of a view and of rows beside them.

    groups of the view ─ where, keys, states picked ─► changes ─┐
    rows beside them   ─ where, keys, states made ───► changes ─┴─► one row per group of the query, with its states

A query is a ``Maintained`` here, of which nothing is kept: its states are those of a view's row, so they add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ..expression.evaluate import evaluate, evaluate_filter
from ..expression.node import Expression
from .definition import Maintained

PIECE: Final = 1 << 18
"""Groups that are held before they are added up."""


class RolledUp:
    """Collects groups. ``keys``: those of the query, over the view's groups; ``states``: the columns of each state, and
    the condition under which a group counts for it.
    """

    def __init__(
        self,
        asked: Maintained,
        *,
        keys: Sequence[Expression],
        states: Sequence[tuple[tuple[int, ...], Expression | None]],
        filter: Expression | None,
    ) -> None:
        self._grouper = asked.grouper
        self._keys, self._states, self._filter = keys, states, filter
        self._changes: list[pa.RecordBatch] = []
        self._held = 0
        self.groups_read = 0

    def add_groups(self, batches: Iterable[pa.RecordBatch], ids: Sequence[int]) -> None:
        """Groups of the view, with the columns ``ids``."""
        for batch in batches:
            self.groups_read += batch.num_rows
            if self._filter is not None:
                mask = evaluate_filter(self._filter, batch, column_ids=ids)
                batch = batch if mask.true_count == len(mask) else batch.filter(mask)
            if batch.num_rows:
                self._add(self._grouper.batch(self._columns(batch, ids)))

    def add_rows(self, batches: Iterable[pa.RecordBatch], of: Maintained) -> None:
        """Rows of the table, their columns named by identifiers. ``of``: the query, with its constants."""
        for batch in batches:
            change = of.grouper.change_of(batch, 1)
            if change.num_rows:
                self._add(change)

    def groups(self, *, alone: bool) -> pa.RecordBatch:
        """The groups of the query. ``alone``: no two of those that were added are of one."""
        if alone and self._changes:
            return pa.concat_batches(self._changes) if len(self._changes) > 1 else self._changes[0]
        return self._grouper.folded(self._changes)

    def _columns(self, batch: pa.RecordBatch, ids: Sequence[int]) -> list[Any]:
        columns = [evaluate(key, batch, column_ids=ids) for key in self._keys]
        places = {id: place for place, id in enumerate(ids)}
        for picked, filter in self._states:
            parts = [batch.column(places[id]) for id in picked]
            if filter is not None:
                kept = evaluate_filter(filter, batch, column_ids=ids)
                parts = [pc.if_else(kept, part, pa.scalar(_none(part.type), part.type)) for part in parts]
            columns += parts
        return columns

    def _add(self, change: pa.RecordBatch) -> None:
        self._changes.append(change)
        self._held += change.num_rows
        if self._held > PIECE:
            self._changes = [self._grouper.folded(self._changes)]
            self._held = self._changes[0].num_rows


def _none(type: pa.DataType) -> int | None:
    """A state's part of no rows."""
    return None if pa.types.is_binary(type) or pa.types.is_large_binary(type) else 0


__all__ = ["RolledUp"]
