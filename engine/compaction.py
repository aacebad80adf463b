"""Which segments of a cell to merge next.

Sizes grow from newest to oldest as flushes add small segments. A run is merged when at least ``RUN_MIN`` segments that
stand one after the other are of similar size: none is larger than all newer ones of the run together. So a row is
written again about once each time its segment grows by that factor: log(rows of the cell / rows of a flush) times, and
a cell has a bounded number of segments. A cell with too many gets its cheapest run merged, whatever the sizes.

A segment of which a quarter is dead is written again by itself.

A cell is *cold* when no row has come for some checkpoints, or since everything went quiet. Its segments become one, if
all but the largest have at least an eighth of the rows: so whatever still drops into old cells, a row that comes makes
at most eight be written again. One segment is smaller than several (rows of a key stand together), and quicker to
search; but nothing waits for it, so this comes after all other merges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from ..base.errors import Corrupt
from ..base.limits import COMPACTION_ROWS_MAX, SEGMENTS_PER_CELL_MAX
from .cell import Cell
from .horizon import Horizon
from .overlay import OPEN
from .part import Part
from .segment import Segment

RUN_MIN: Final = 4
DEAD_SHARE: Final = 0.25

COLD_CHECKPOINTS: Final = 2
"""A cell without new rows for so many checkpoints is cold."""

COLD_SHARE: Final = 1 / 8
"""What all but the largest segment of a cold cell have at least of its rows, for it to be merged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Segments of one cell that stand one after the other, newest first. The most urgent is merged first.

    ``cold``: those of a cold cell, less urgent than all others.
    """

    cell: Cell
    segments: tuple[Segment, ...]
    urgency: float
    cold: bool = False


def pick(cell: Cell, *, horizon: Horizon, saved: int, quiet: int = 0, everything: bool = False) -> Candidate | None:
    """What to merge in a cell; ``everything``: all that stands together, even if it hardly pays.

    ``quiet``: a cell of which no row began after this version is cold.

    Prepared rows that began after ``saved``, the last checkpoint, are left alone: the log still installs them. So are
    segments that are damaged.
    """
    parts = cell.parts
    best: Candidate | None = None
    for run in _runs(parts, saved):
        chosen = _whole(run, horizon) if everything else _similar(run) or _crowded(run) or _dead(run, horizon)
        if chosen and (best is None or len(chosen) > len(best.segments)):
            best = Candidate(cell=cell, segments=chosen, urgency=len(run) + len(chosen) / 100)
    if best is None and parts and isinstance(parts[0], Segment) and parts[0].version_high <= quiet:
        for run in _runs(parts, saved):
            if _pays(run) and (best is None or len(run) > len(best.segments)):
                best = Candidate(cell=cell, segments=run, urgency=len(run) / 1000, cold=True)
    return best


def _runs(parts: tuple[Part, ...], saved: int) -> Iterator[tuple[Segment, ...]]:
    """Segments that stand one after the other."""
    run: list[Segment] = []
    for part in parts:
        if isinstance(part, Segment) and part.version_high <= saved and part.mergeable:
            run.append(part)
        elif run:
            yield tuple(run)
            run = []
    if run:
        yield tuple(run)


def _similar(run: tuple[Segment, ...]) -> tuple[Segment, ...]:
    for start in range(len(run) - RUN_MIN + 1):
        total = run[start].rows_count
        stop = start + 1
        while stop < len(run) and run[stop].rows_count <= total and total + run[stop].rows_count <= COMPACTION_ROWS_MAX:
            total += run[stop].rows_count
            stop += 1
        if stop - start >= RUN_MIN:
            return run[start:stop]
    return ()


def _crowded(run: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """The cheapest run that brings the cell back to half of what it may have."""
    if len(run) <= SEGMENTS_PER_CELL_MAX:
        return ()
    length = len(run) - SEGMENTS_PER_CELL_MAX // 2
    costs = {
        start: sum(segment.rows_count for segment in run[start : start + length])
        for start in range(len(run) - length + 1)
    }
    start = min(costs, key=lambda at: costs[at])
    return run[start : start + length] if costs[start] <= COMPACTION_ROWS_MAX else ()


def _dead(run: tuple[Segment, ...], horizon: Horizon) -> tuple[Segment, ...]:
    for segment in run:
        if segment.overlay.ended_count > DEAD_SHARE * segment.rows_count and dead_count(segment, horizon) > (
            DEAD_SHARE * segment.rows_count
        ):
            return (segment,)
    return ()


def _whole(run: tuple[Segment, ...], horizon: Horizon) -> tuple[Segment, ...]:
    if sum(segment.rows_count for segment in run) > COMPACTION_ROWS_MAX:
        return _similar(run) or _crowded(run) or _dead(run, horizon)
    return run if len(run) > 1 or any(dead_count(segment, horizon) for segment in run) else ()


def _pays(run: tuple[Segment, ...]) -> bool:
    """Whether the segments of a cold cell should become one."""
    rows = [segment.rows_count for segment in run]
    total = sum(rows)
    lives = any(segment.living_count for segment in run)
    return lives and total <= COMPACTION_ROWS_MAX and total - max(rows) >= COLD_SHARE * total


def dead_count(segment: Segment, horizon: Horizon) -> int:
    """Rows of a segment that nobody can read any more. Asked again only when that may have changed.

    A damaged segment has none that are known, and is left alone from then on, so that other cells go on being merged.
    """
    state = (horizon.limit, horizon.pins.tobytes(), segment.overlay.ended_count)
    if segment.examined is None or segment.examined[0] != state:
        try:
            dead = dead_rows(segment, horizon)
        except Corrupt:
            dead, segment.mergeable = None, False
        segment.examined = (state, 0 if dead is None else int(dead.sum()))
    return segment.examined[1]


def dead_rows(segment: Segment, horizon: Horizon) -> np.ndarray | None:
    """Which rows nobody can read any more: bool[rows]; None where there are none."""
    if not segment.overlay.ended_count:
        return None
    rows = np.arange(segment.rows_count, dtype=np.int64)
    ends = segment.overlay.ends_of(rows)
    ended = np.flatnonzero(ends != OPEN)
    dead = np.zeros(segment.rows_count, np.bool_)
    dead[ended] = horizon.dead(segment.begins_of(ended), ends[ended])
    return dead if dead.any() else None
