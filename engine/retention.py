"""Retention: which slices a table keeps, and which rows come too late.

                       boundary                               newest event time
                          │      ◄────────── keep ──────────────── │
    ──┬─────────┬─────────┬────┴────┬─────────┬─────────┬──────────┴──┬──► event time
      │ dropped │ dropped │  kept   │  kept   │  kept   │  kept       │
    ──┴─────────┴─────────┴─────────┴─────────┴─────────┴─────────────┴──

The boundary is the slice in which the newest event time minus ``keep`` lies (``keep_by = 'wall'``: the wall clock minus
``keep``). Slices below it are not kept: whole slices only, so that dropping one is a matter of its cells, not its rows.

- **Dropping** is a log record (``Action.DROP_SLICES``) that maintenance asks the sequencer for. Its boundary is decided
  there, where no definition and no row can come between, and logged as a number; ``apply`` looks at no clock.
  Where indexes and views follow the rows that go, several records with ever higher boundaries do it (``next_drop``), so
  that no commit waits for all of them.
- **Late rows** are those below the boundary at their place in the order, whether or not their slices are dropped yet:
  what is refused does not depend on when maintenance runs. The rows of one request are judged together, by the boundary
  before them, so a load that begins with the oldest rows passes, whatever ``keep`` is.
- The boundary follows the definition: a longer ``keep`` lets rows into old slices again at once; what was dropped stays
  gone.

**The newest event time** is kept per table (``Cells.newest``), from the rows that were put. Those further ahead of the
wall clock of their record than one slice do not count, so that one bad clock cannot drop everything. It never goes
back, other than by TRUNCATE.

What this does not do: hold cells (cell.py), order requests (sequencer.py), give files back (maintenance.py).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from ..base.errors import Invalid
from ..base.intervals import interval_text
from ..storage.column_values import values_of
from .layout import DAY, Layout
from .schema import SLICE_ORIGIN, Table

if TYPE_CHECKING:
    from .request import TableChanges

BOUNDARY: Final = "boundary"
"""The one column of a record's operation DROP_SLICES (BIGINT, one row): slices below it are gone."""


def boundary_of(table: Table, *, newest: int | None, wall: int) -> int | None:
    """The first slice that the table keeps; None where it keeps all.

    ``newest`` is its newest event time that counts, None without rows; it and ``wall`` in microseconds since 1970.
    """
    if table.keep is None or table.every is None or table.time is None:
        return None
    last = wall if table.keep_by == "wall" else newest
    return None if last is None else (last - table.keep - SLICE_ORIGIN) // table.every


def begin_of(table: Table, slice: int) -> int:
    """The first event time of a slice, in microseconds since 1970."""
    assert table.every is not None, f'"{table.name}" has slices'
    return SLICE_ORIGIN + slice * table.every


def newest_counted(times: np.ndarray, *, limit: int) -> int | None:
    """The newest of event times (microseconds, int64[n]) that are at most ``limit``; None where there is none."""
    if not len(times):
        return None
    newest = int(times.max())
    if newest <= limit:
        return newest
    times = times[times <= limit]
    return int(times.max()) if len(times) else None


def times_of(layout: Layout, rows: pa.RecordBatch) -> np.ndarray:
    """The event times of rows (or keys) with columns by name, in microseconds: int64[n]."""
    time = layout.time
    assert time is not None, f'"{layout.table.name}" has an event time'
    return layout.times({time.id: values_of(rows.column(time.name), time.type)})


def late_rows(layout: Layout, rows: pa.RecordBatch, boundary: int) -> np.ndarray:
    """Which rows (columns by name, the event time among them) lie in slices below ``boundary``: indices, int64."""
    times = times_of(layout, rows)
    begin = begin_of(layout.table, boundary)
    if not len(times) or int(times.min()) >= begin:
        return NONE_LATE
    return np.flatnonzero(times < begin)


NONE_LATE: Final = np.empty(0, np.int64)


def only_on_time(
    changes: TableChanges, layout: Layout, boundary: int, *, there: Callable[[pa.RecordBatch], np.ndarray] | None = None
) -> tuple[TableChanges, int]:
    """The changes without rows that come too late, and how many those are. Deletes are never late.

    ``layout`` is that of the definition of the moment. ``there`` says of rows (bool[n]) which change one that is there:
    they are not late. Raises Invalid (23514) for the first late row where the table says ``refuse``.
    """
    late = [late_rows(layout, rows, boundary) for rows in changes.puts]
    if there is not None:
        late = [
            indices[~there(rows.take(pa.array(indices)))] if len(indices) else indices
            for rows, indices in zip(changes.puts, late, strict=True)
        ]
    kept = [
        layout.slice_of(_time_of(layout.table, delta.key)) >= boundary
        or (there is not None and bool(there(delta.key_batch)[0]))
        for delta in changes.deltas
    ]
    count = sum(map(len, late)) + kept.count(False)
    if not count:
        return changes, 0
    if layout.table.late == "refuse":
        for rows, indices in zip(changes.puts, late, strict=True):
            if len(indices):
                row = int(indices[0])
                which = "a row" if changes.strict else f"row {row + 1}"
                raise too_late(layout.table, int(times_of(layout, rows)[row]), boundary, which=which)
        time = times_of(layout, changes.deltas[kept.index(False)].key_batch)
        raise too_late(layout.table, int(time[0]), boundary, which="a row")
    puts = (left_out(rows, indices) for rows, indices in zip(changes.puts, late, strict=True))
    deltas = (delta for delta, keeps in zip(changes.deltas, kept, strict=True) if keeps)
    return replace(changes, puts=tuple(rows for rows in puts if rows.num_rows), deltas=tuple(deltas)), count


def left_out(rows: pa.RecordBatch, indices: np.ndarray) -> pa.RecordBatch:
    """The rows without those at ``indices``."""
    if not len(indices):
        return rows
    kept = np.ones(rows.num_rows, np.bool_)
    kept[indices] = False
    return rows.filter(pa.array(kept))


def too_late(table: Table, time: int, boundary: int, *, which: str) -> Invalid:
    """The error for what comes too late: ``which`` (row 3, a row) with this event time, in microseconds."""
    return Invalid(
        f'{which} of "{table.name}" comes too late: its event time {_shown(time)} lies below '
        f"{_shown(begin_of(table, boundary))}, the boundary of what the table keeps (keep = '{keep_text(table)}')",
        hint=f"Leave it out, or change the table: ALTER TABLE {table.name} SET (keep = …) keeps more, "
        "SET (late = 'ignore') leaves such rows out by itself.",
        sqlstate="23514",
    )


def kept_text(table: Table, boundary: int) -> str:
    """What a table keeps, for people."""
    return f"the table keeps event times from {_shown(begin_of(table, boundary))} on (keep = '{keep_text(table)}')"


def keep_text(table: Table) -> str:
    """``keep`` as it was written, or as an interval."""
    assert table.keep is not None, f'"{table.name}" has a boundary'
    return dict(table.options_text).get("keep") or interval_text(0, table.keep // DAY, table.keep % DAY)


def boundary_batch(boundary: int) -> pa.RecordBatch:
    """What a record's DROP_SLICES carries; ``boundary_in`` is its inverse."""
    return pa.RecordBatch.from_arrays([pa.array([boundary], pa.int64())], names=[BOUNDARY])


def boundary_in(batch: pa.RecordBatch) -> int:
    """The boundary that a record's DROP_SLICES carries."""
    boundary: int = batch.column(BOUNDARY)[0].as_py()
    return boundary


def _time_of(table: Table, key: tuple[object, ...]) -> datetime.date | int:
    """The event time in a primary key of Python values."""
    assert table.time is not None, "a table with a boundary has an event time"
    time = key[table.primary_key.index(table.time)]
    assert isinstance(time, datetime.date | int), f"an event time is a date or a timestamp, not {time!r}"
    return time


def _shown(microseconds: int) -> str:
    """An event time for people, also where Python has no such year."""
    return (
        str(np.datetime64(max(min(microseconds, _INT64_MAX), -_INT64_MAX), "us"))
        .replace("T", " ")
        .removesuffix(".000000")
    )


_INT64_MAX: Final = 2**63 - 1
