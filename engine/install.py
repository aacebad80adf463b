"""INSTALL: how rows that a large transaction wrote into segment files become rows of a table.

    record: Install ──► install: rows that were replaced or deleted end, segments become the newest parts of their cells

``install`` is a part of ``apply``: it depends on state and record alone, and is total. To look up millions of replaced
rows takes seconds, though, and so the transaction has done that before (``Ends``), beside the commits of others. Where
one of the parts that it met is gone (merged or flushed meanwhile), and at recovery, ``install`` looks them up itself:
the outcome is the same.

A memtable that takes rows is frozen first: all versions in a newer part began later than those in an older one.

A file may have been damaged since. A segment whose keys, or whose ended rows, cannot be read any more is given up
(segment.py): the rows that it replaced are not known, and stand behind it in its cell, where nobody gets to without
looking at it first. So opening goes on, and queries that need it are Corrupt. Damaged keys of rows that were deleted
are another matter: those rows may be in any part of the table, memtables included, and nothing else knows which they
are. There ``install`` raises Corrupt, and the database cannot be opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
import pyarrow as pa

from ..base.errors import Corrupt
from .aggregates.early import EarlyLoad
from .cell import Cell
from .cells import TableStore
from .layout import Layout
from .overlay import OPEN, Overlay
from .part import Part
from .projection import Projection
from .schema import Table
from .segment import Description, Segment
from .segment_files import SegmentFiles
from .spill import keys_table

_SCHEMA: Final = pa.schema([("segment", pa.binary()), ("keys", pa.bool_()), ("replaces", pa.bool_())])

NEWEST: Final = OPEN - 1
"""A version at which every row is seen that has not ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """What an INSTALL operation says.

    ``keys`` hold primary keys (or row ids) of rows that end; ``rows`` become parts of their cells, oldest first.
    ``replaces``: rows with their primary keys may exist, and end.
    """

    rows: tuple[Description, ...]
    keys: tuple[Description, ...]
    replaces: bool

    def batch(self) -> pa.RecordBatch:
        """What the log holds."""
        all = (*self.keys, *self.rows)
        columns = (
            pa.array([description.encode() for description in all], pa.binary()),
            pa.array([True] * len(self.keys) + [False] * len(self.rows), pa.bool_()),
            pa.array([self.replaces] * len(all), pa.bool_()),
        )
        return pa.RecordBatch.from_arrays(list(columns), schema=_SCHEMA)

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> Self:
        """The inverse of ``batch``. Raises Corrupt."""
        all = [Description.decode(text) for text in batch.column(0).to_pylist()]
        keys = batch.column(1).to_pylist()
        return cls(
            rows=tuple(description for description, is_key in zip(all, keys, strict=True) if not is_key),
            keys=tuple(description for description, is_key in zip(all, keys, strict=True) if is_key),
            replaces=any(batch.column(2).to_pylist()),
        )

    @property
    def key_files(self) -> list[int]:
        """The files of ``keys``, which are needed for as long as the log may be replayed."""
        places = [(description.place, description.overlay) for description in self.keys]
        return [place.file for pair in places for place in pair if place is not None]

    @property
    def bytes_count(self) -> int:
        """Bytes of the segments in their files."""
        return sum(description.place.length for description in (*self.keys, *self.rows))


@dataclass(slots=True, eq=False)
class Ends:
    """Rows of a table that a prepared transaction ends, as they were found: locators by cell and part.

    ``late`` are keys that blind writes of others touched since; the newest rows with these are looked up again.
    ``early``: what the rows that come add to the table's views.
    """

    found: dict[Cell, dict[Part, list[np.ndarray]]] = field(default_factory=dict[Cell, dict[Part, list[np.ndarray]]])
    late: list[pa.RecordBatch] = field(default_factory=list[pa.RecordBatch])
    early: EarlyLoad | None = None

    def add(self, cell: Cell, part: Part, rows: np.ndarray) -> None:
        self.found.setdefault(cell, {}).setdefault(part, []).append(rows.astype(np.uint32))

    def stale(self) -> set[Cell]:
        """The cells of which a part is no longer where it was."""
        return {cell for cell, parts in self.found.items() if any(part not in cell.parts for part in parts)}


def install(store: TableStore, work: Install, *, version: int, files: SegmentFiles, ends: Ends | None) -> list[Segment]:
    """End what ``work`` replaces and deletes, and add its rows. Returns the new segments.

    All files of ``work`` are counted as used.
    """
    segments = [_installed(description, store.layout, version=version, files=files) for description in work.rows]
    if ends is None:
        for keys in _all_keys(store.table, work, segments, version=version, files=files):
            store.apply_delete(keys, version=version)
    else:
        _end_found(store, work, segments, ends, version=version, files=files)
    files.use(work.key_files)
    for segment in segments:
        files.use(segment.files)
        store.install_segment(segment)
    return segments


def ending_keys(store: TableStore, work: Install, *, version: int, files: SegmentFiles) -> Iterator[pa.RecordBatch]:
    """The primary keys (or row ids, with key and time columns) of rows that ``install`` is going to end, if they are
    there."""
    segments = [_installed(description, store.layout, version=version, files=files) for description in work.rows]
    yield from _all_keys(store.table, work, segments, version=version, files=files)


def _end_found(
    store: TableStore, work: Install, segments: Sequence[Segment], ends: Ends, *, version: int, files: SegmentFiles
) -> None:
    """End the rows that were found; where their parts have gone, those that are in their place."""
    stale = ends.stale()
    for cell, parts in ends.found.items():
        for part, rows in parts.items() if cell not in stale else ():
            store.end_rows(part, np.concatenate(rows).astype(np.int64), version=version)
    if stale:
        places = {(cell.slice, cell.shard) for cell in stale}
        touched = [item for item in segments if (item.description.slice, item.description.shard) in places]
        for keys in _all_keys(store.table, work, touched, version=version, files=files):
            for cell, part, rows in store.find_newest(keys, ending=True):
                if cell in stale:
                    store.end_rows(part, rows, version=version)
    for keys in ends.late:
        store.apply_delete(keys, version=version)


def _installed(description: Description, layout: Layout, *, version: int, files: SegmentFiles) -> Segment:
    """A segment all of whose rows began at ``version``; those that its transaction had ended, ended at once."""
    overlay = Overlay(description.rows_count)
    damage: str | None = None
    try:
        rows, _ = files.read_overlay(description.overlay, description.rows_count).items(NEWEST)
        overlay.end_at(rows, np.array([version], np.int64))
    except Corrupt as error:
        damage = error.message
    began = replace(description, begin=version, version_low=version, version_high=version)
    segment = Segment(began, number=0, layout=layout, open=files.open, overlay=overlay)
    if damage is not None:
        segment.give_up(damage)
    return segment


def _all_keys(
    table: Table, work: Install, segments: Sequence[Segment], *, version: int, files: SegmentFiles
) -> Iterator[pa.RecordBatch]:
    """The primary keys (or row ids, with key and time columns) of rows that end, where there are any."""
    keys = keys_table(table)
    layout, projection = Layout(keys), Projection(keys.columns)
    for description in work.keys:
        try:
            overlay = files.read_overlay(description.overlay, description.rows_count)
            segment = Segment(description, number=0, layout=layout, open=files.open, overlay=overlay)
            yield from segment.batches(projection, NEWEST)
        except Corrupt as error:
            raise Corrupt(
                f'{error.message}; it has the keys of rows of table "{table.name}" that version {version} deleted',
                hint="The log cannot be replayed without them: restore the database from a backup.",
            ) from error
    if work.replaces:
        projection = Projection(table.primary_key_columns)
        for segment in segments:
            try:
                yield from segment.batches(projection, version)
            except Corrupt as error:
                segment.give_up(error.message)
