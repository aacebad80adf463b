"""Whether the groups of a materialized view are what its rows say: recomputed at one snapshot, and compared.

    rows of the base ─ change_of ─► states per group ─┐
                                                      ├─ group by group ─► equal, or a ``Difference``
    groups that are kept ─────────────────────────────┘

What rows have added that a view retains, and its table has forgotten, counts among the rows (definition.py).

States depend on nothing but the multiset of the rows, down to their bytes (accumulators.py), so they are compared
exactly, floats too; what a reader sees is computed from them, and cannot differ where they agree. What groups have of
their values (values.py) is recomputed from values that are counted anew; the tables of values are views to be verified
themselves.

It reads a snapshot as any query does, so readers and writers go on, and asks now and then whether it was cancelled
(interrupts.py). What it holds is bounded: beyond ``VERIFY_VIEW_BYTES`` both sides are put aside in files, cut by the
hash of the group into ``_PARTS``, and compared part by part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from ...base.limits import VERIFY_VIEW_BYTES
from ...base.types import no_rows
from .. import interrupts
from ..indexes import same_rows
from ..spool import Spool
from .definition import Maintained
from .values import with_values

if TYPE_CHECKING:
    from ..snapshot import Snapshot

_PART_BITS: Final = 6
_PARTS: Final = 1 << _PART_BITS
_FOLD_ROWS: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One group that is not what its rows say: a row of the group table each, None where a side has no such group."""

    kept: pa.RecordBatch | None
    recomputed: pa.RecordBatch | None


@dataclass(slots=True, kw_only=True)
class Verification:
    """``groups``: how many there are on either side; ``listed``: the first of those that differ."""

    rows: int = 0
    groups: int = 0
    differing: int = 0
    listed: list[Difference]


def verify(
    view: Maintained, snapshot: Snapshot, *, scratch: Callable[[], Path] | None, listed_max: int
) -> Verification:
    """Compare all groups of ``view`` with the rows of its table, both as of ``snapshot``.

    ``scratch`` gives the folder for what does not fit in memory. Raises Invalid for a row of which the view cannot
    compute what it needs, and what ``interrupts.check`` raises.
    """
    found = Verification(listed=[])
    with ExitStack() as stack:
        kept = stack.enter_context(_Side(view, view, scratch, fold=False))
        recomputed = [stack.enter_context(_Side(part, view, scratch)) for part in view.parts]
        for rows in _scanned(snapshot, view.base, view.reads):
            found.rows += rows.num_rows
            for side in recomputed:
                side.add(side.view.grouper.change_of(rows.select([str(id) for id in side.view.reads]), 1))
        for side, part in zip(recomputed, view.forgotten_parts, strict=bool(view.forgotten)):
            for groups in _scanned(snapshot, part.id, [column.id for column in part.table.columns]):
                side.add(groups)
        for groups in _scanned(snapshot, view.id, [column.id for column in view.table.columns]):
            kept.add(groups)
        sides = (kept, *recomputed)
        if any(side.spilled for side in sides):
            for side in sides:
                side.spill()
        for left, right, *values in zip(*(side.parts() for side in sides), strict=True):
            interrupts.check()
            compare(view, left, with_values(view, right, values), found, listed_max=listed_max)
    return found


def compare(
    view: Maintained, kept: pa.RecordBatch, recomputed: pa.RecordBatch, found: Verification, *, listed_max: int
) -> None:
    """Count the groups of two batches into ``found``, and list those that differ in what is ``recomputed``."""
    left, right = view.grouper.aligned(kept, recomputed)
    columns = recomputed.schema.names[len(view.keys) :]
    differ = (left < 0) | (right < 0)
    both = np.flatnonzero(~differ)
    one, other = kept.take(pa.array(left[both])), recomputed.take(pa.array(right[both]))
    differ[both] = ~same_rows(one.select(columns), other.select(columns))
    places = np.flatnonzero(differ)
    found.groups += len(left)
    found.differing += len(places)
    for place in places[: listed_max - len(found.listed)].tolist():
        found.listed.append(
            Difference(kept=_row(kept, int(left[place])), recomputed=_row(recomputed, int(right[place])))
        )


def _row(groups: pa.RecordBatch, place: int) -> pa.RecordBatch | None:
    return None if place < 0 else groups.slice(place, 1)


def _scanned(snapshot: Snapshot, table: int, columns: Iterable[int]) -> Iterator[pa.RecordBatch]:
    """Some columns, named by identifier, of all rows of a table."""
    ids = list(columns)
    for rows in snapshot.scan(snapshot.catalog.stored[table], columns=ids).batches():
        interrupts.check()
        yield rows.rename_columns([str(id) for id in ids])


class _Side:
    """Groups of one of the two that are compared, added up; in memory, or cut into parts that lie in files.

    They are cut by groups of ``whole``, of which those of ``view`` may be finer ones. Not to be added up (``fold``) are
    groups that are there once.
    """

    def __init__(
        self, view: Maintained, whole: Maintained, scratch: Callable[[], Path] | None, *, fold: bool = True
    ) -> None:
        self.view = view
        self._whole_view = whole
        self._adds_up = fold
        self._schema = (view.grouper.nothing if fold else view.grouper.no_groups).schema
        self._scratch = scratch
        self._batches: list[pa.RecordBatch] = []
        self._rows = 0
        self._folded = 0  # rows of what has been added up
        self._spools: list[Spool] = []

    @property
    def spilled(self) -> bool:
        return bool(self._spools)

    def add(self, groups: pa.RecordBatch) -> None:
        if self._take(groups) and sum(batch.nbytes for batch in self._batches) > VERIFY_VIEW_BYTES // 2:
            self.spill()

    def spill(self) -> None:
        """Put aside what is held."""
        if not self._spools:
            size = VERIFY_VIEW_BYTES // (4 * _PARTS)
            self._spools = [Spool(self._scratch, memory_bytes=size) for _ in range(_PARTS)]
        self._fold()
        for batch in self._batches:
            parts = self._whole_view.grouper.hashes(batch) >> np.uint64(64 - _PART_BITS)
            order = np.argsort(parts, kind="stable")
            sorted_batch, bounds = batch.take(pa.array(order)), np.searchsorted(parts[order], np.arange(_PARTS + 1))
            for part, spool in enumerate(self._spools):
                if bounds[part + 1] > bounds[part]:
                    spool.append(sorted_batch.slice(bounds[part], bounds[part + 1] - bounds[part]))
        self._batches, self._rows, self._folded = [], 0, 0

    def parts(self) -> Iterator[pa.RecordBatch]:
        """The groups, each once, of one part after the other."""
        if not self._spools:
            yield self._whole()
            return
        for spool in self._spools:
            with spool:
                for batch in spool.batches():
                    self._take(batch)
            yield self._whole()
            self._batches, self._rows, self._folded = [], 0, 0

    def _whole(self) -> pa.RecordBatch:
        self._fold()
        return self._batches[0] if self._batches else no_rows(self._schema)

    def _take(self, groups: pa.RecordBatch) -> bool:
        """Hold them too; says whether all were added up."""
        self._batches.append(pa.RecordBatch.from_arrays(groups.columns, schema=self._schema))
        self._rows += groups.num_rows
        if self._rows <= 2 * self._folded + _FOLD_ROWS:
            return False
        self._fold()
        return True

    def _fold(self) -> None:
        if len(self._batches) > 1:
            combined = self.view.grouper.combined if self._adds_up else pa.concat_batches
            self._batches = [combined(self._batches)]
        self._rows = self._folded = sum(batch.num_rows for batch in self._batches)

    def __enter__(self) -> _Side:
        return self

    def __exit__(self, *_: object) -> None:
        for spool in self._spools:
            spool.close()
