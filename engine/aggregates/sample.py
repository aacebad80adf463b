"""A random group of a random view now and then, recomputed in the background: what VERIFY does of all, of one.

    a row of the groups, or of the table ─► its key ─► the group that is kept ┐
                                             └─► rows of the group ─► states ─┴─► equal, or a mismatch

Keys come from the groups that are kept, and from rows of the table in turn, so that groups that should be there and
are not are found, too. Rows of the group are found by what its key says of columns (``k = 3``, and the window of a
``time_bucket``); where a scan that knows this would look at more rows than a look may cost, the group is passed over.
So what is looked at are groups by a beginning of the primary key, by an index, by a window of the event time, and all
groups of small tables; of others VERIFY alone tells. What a group has of its values is made anew, too.

What it costs is bounded: ``Options.verify_rows`` rows a second, and ``_LOOKS_MAX`` groups. It reads at a snapshot,
takes no lock that writers need, and only counts; ``mismatches`` must stay 0.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from ...base.errors import Invalid
from ...base.types import BOOLEAN, Kind
from ..clock import any_below, monotonic
from ..expression.node import Call, Column, Expression, Literal
from ..expression.tree import all_of
from ..memtable import Memtable
from ..projection import Projection
from ..schema import View
from .definition import Maintained
from .values import with_values
from .verify import Verification, compare

if TYPE_CHECKING:
    from ..cells import TableStore
    from ..snapshot import Snapshot

_LOOKS_MAX: Final = 2
_SAVED_SECONDS: Final = 10.0
"""Rows that were not looked at are saved up for so long."""

_TOLD_MAX: Final = 1_000
_LOG: Final = logging.getLogger("weftdb")


@dataclass(slots=True)
class Sampled:
    """What was looked at since the start. ``passed_over``: groups whose rows would have been too many to look at."""

    groups: int = 0
    rows: int = 0
    passed_over: int = 0
    mismatches: int = 0
    last: str = ""


class Sampler:
    """One thread calls ``look`` every second or so."""

    def __init__(self, *, snapshot: Callable[[], Snapshot], rows_per_second: int) -> None:
        self.sampled = Sampled()
        self._snapshot = snapshot
        self._rate = rows_per_second
        self._looked_at = monotonic()
        self._rows_left = 0.0
        self._told: set[tuple[int, str]] = set()

    def look(self) -> bool:
        """Look at some groups, as far as the rate allows. Returns whether there is more to do at once: never."""
        if not self._rate:
            return False
        now = monotonic()
        saved = self._rows_left + (now - self._looked_at) * self._rate
        self._rows_left, self._looked_at = min(saved, self._rate * _SAVED_SECONDS), now
        if self._rows_left > 0:
            with self._snapshot() as snapshot:
                self._look(snapshot)
        return False

    def _look(self, snapshot: Snapshot) -> None:
        views = [
            (relation, relation.maintained)
            for relation in snapshot.catalog.relations.values()
            if isinstance(relation, View) and relation.maintained is not None
        ]
        for _ in range(_LOOKS_MAX if views else 0):
            if self._rows_left <= 0:
                return
            view, kept = views[any_below(len(views))]
            try:
                found = self._compared(kept, snapshot)
            except Invalid:  # a row from before the view, which could not be computed then
                found = None
            if found is None:
                self.sampled.passed_over += 1
            elif found.groups:
                self.sampled.groups += 1
                self.sampled.rows += found.rows
                self._rows_left -= found.rows
                if found.differing:
                    self._tell(view, kept, found)

    def _compared(self, view: Maintained, snapshot: Snapshot) -> Verification | None:
        """One group, compared; None where that would cost too much."""
        key = self._any_key(view, snapshot)
        if key is None:
            return Verification(listed=[])
        base, condition = snapshot.catalog.stored[view.base], _condition(view, key)
        if condition is None and snapshot.store(base).rows_count > self._rows_left:
            return None  # without a look at every segment
        rows = snapshot.scan(base, columns=view.reads, filter=condition)
        count = rows.rows_estimate
        if count > self._rows_left:
            return None
        found, batches = Verification(rows=count, listed=[]), [_by_id(batch, view.reads) for batch in rows.batches()]
        made: list[pa.RecordBatch] = []
        for number, part in enumerate(view.parts):
            changes = [part.grouper.change_of(batch.select([str(id) for id in part.reads]), 1) for batch in batches]
            for forgotten in view.forgotten_parts[number : number + 1]:
                if number and snapshot.store(forgotten.table).rows_count > self._rows_left:
                    return None
                changes += _in_group(forgotten, key, snapshot) if number else [_kept(forgotten, key, snapshot)]
            made.append(_only(view, part.grouper.combined([part.grouper.nothing, *changes]), key))
        there = with_values(view, made[0], made[1:]) if view.values else made[0]
        compare(view, _kept(view, key, snapshot), there, found, listed_max=1)
        found.groups = 1  # also where both sides have none
        return found

    def _any_key(self, view: Maintained, snapshot: Snapshot) -> pa.RecordBatch | None:
        """The key of some group, with the columns of the group table; None where there is none to be found."""
        if any_below(2):
            table = snapshot.catalog.stored[view.id]
            row = self._any_row(snapshot.store(table), [column.id for column in table.columns])
            return None if row is None else _of_groups(row, view).select(view.grouper.key_names)
        row = self._any_row(snapshot.store(snapshot.catalog.stored[view.base]), view.reads)
        if row is None:
            return None
        change = view.grouper.change_of(_by_id(row, view.reads), 1)
        return change.select(view.grouper.key_names) if change.num_rows else None

    def _any_row(self, store: TableStore, columns: tuple[int, ...] | list[int]) -> pa.RecordBatch | None:
        """Some row that is there, or was: each as likely as any other."""
        parts = [part for cell in store.cells for part in cell.parts]
        counts = np.array([part.rows_count for part in parts], np.int64).cumsum()
        if not len(counts) or not counts[-1]:
            return None
        number = any_below(int(counts[-1]))
        place = int(np.searchsorted(counts, number, side="right"))
        part, row = parts[place], number - (int(counts[place - 1]) if place else 0)
        if isinstance(part, Memtable):
            chunks = np.array([chunk.count for chunk in part.chunks], np.int64).cumsum()
            chunk = int(np.searchsorted(chunks, row, side="right"))
            if chunk == len(chunks):
                return None
            row = (chunk << 16) + row - (int(chunks[chunk - 1]) if chunk else 0)
        projection = Projection([store.layout.by_id[id] for id in columns])
        return part.rows_at(projection, np.array([row], np.int64))[0][0]

    def _tell(self, view: View, kept: Maintained, found: Verification) -> None:
        """Count a mismatch, and say it, once of each group."""
        self.sampled.mismatches += 1
        side = found.listed[0].kept or found.listed[0].recomputed
        assert side is not None, "one side has the group"
        group = str([side.column(name)[0].as_py() for name in kept.grouper.key_names])
        self.sampled.last = (
            f'the group {group} of materialized view "{view.name}" is not what its rows say: '
            f"VERIFY MATERIALIZED VIEW {view.name} lists all that differ, CREATE OR REPLACE builds it anew"
        )
        if (view.id, group) not in self._told and len(self._told) < _TOLD_MAX:
            self._told.add((view.id, group))
            _LOG.error("%s; please report it", self.sampled.last)


def _condition(view: Maintained, key: pa.RecordBatch) -> Expression | None:
    """What the key of a group says of the columns of its rows; it may be true of others, too."""
    parts = [part for node, value in zip(view.keys, key.columns, strict=True) for part in _said(node, value[0].as_py())]
    return Call(function="and", arguments=tuple(parts), type=BOOLEAN) if len(parts) > 1 else next(iter(parts), None)


def _said(key: Expression, value: Any) -> Iterator[Expression]:
    match key:
        case Column() if value is None:
            yield Call(function="is_null", arguments=(key,), type=BOOLEAN)
        case Column(type=type) if type.kind not in _INEXACT:
            yield _compared_with("equal", key, value)
        case Call(function="time_bucket", arguments=(Literal(value=width), Column() as time)) if value is not None:
            days, months = getattr(width, "days", 0), getattr(width, "months", 1)
            if months == 0 and time.type.kind in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ):
                length = datetime.timedelta(days=days, microseconds=getattr(width, "nanoseconds", 0) // 1000)
                yield _compared_with("greater_equal", time, value)
                if value.replace(tzinfo=None) < datetime.datetime.max - length:
                    yield _compared_with("less", time, value + length)
        case _:
            pass


_INEXACT: Final = frozenset((Kind.REAL, Kind.DOUBLE, Kind.NUMERIC))
"""Values that are equal in more than one way."""


def _compared_with(function: str, column: Column, value: Any) -> Expression:
    return Call(function=function, arguments=(column, Literal(value=value, type=column.type)), type=BOOLEAN)


def _by_id(rows: pa.RecordBatch, ids: tuple[int, ...]) -> pa.RecordBatch:
    return rows.rename_columns([str(id) for id in ids])


def _of_groups(rows: pa.RecordBatch, view: Maintained) -> pa.RecordBatch:
    """Rows of a group table as the grouper makes them."""
    return pa.RecordBatch.from_arrays(rows.columns, schema=view.grouper.no_groups.schema)


def _kept(view: Maintained, key: pa.RecordBatch, snapshot: Snapshot) -> pa.RecordBatch:
    """The group with this key, if it is there."""
    return _of_groups(snapshot.get_many(snapshot.catalog.stored[view.id], key)[0], view)


def _in_group(part: Maintained, key: pa.RecordBatch, snapshot: Snapshot) -> list[pa.RecordBatch]:
    """What a table of values has of the group with this key, and perhaps of others."""
    pairs = zip(part.table.columns, key.columns, strict=False)
    said = [condition for column, value in pairs for condition in _said(column.node, value[0].as_py())]
    return [_of_groups(rows, part) for rows in snapshot.scan(part.table, filter=all_of(said)).batches()]


def _only(view: Maintained, groups: pa.RecordBatch, key: pa.RecordBatch) -> pa.RecordBatch:
    """What is of the group with this key: it, or its values."""
    return groups.filter(pa.array(view.grouper.numbers_in(key, groups.columns) == 0))
