"""Which row versions may be dropped: those that nobody can read any more.

    dead(begin, end)    ended at or before ``limit``, and no pin lies in [begin, end)

``limit`` is the oldest of: the version that history goes back to, the last checkpoint, the snapshots of transactions
that may still write (they have to be told of every row that changed since). Pins of readers are points: one old
snapshot keeps the rows that it sees, and not everything since. ``of(table)`` is earlier where a feed has not read on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Horizon:
    """``pins`` are versions, int64, sorted. ``oldest`` is the oldest version that anybody may read.

    ``feeds``: of some tables, nothing that ended after this version may be dropped.
    """

    limit: int
    pins: np.ndarray
    oldest: int
    feeds: Mapping[int, int] = field(default_factory=dict[int, int])

    @classmethod
    def at(cls, *, limit: int, pins: list[int], feeds: Mapping[int, int]) -> Horizon:
        return cls(limit=limit, pins=np.array(sorted(pins), np.int64), oldest=min([limit, *pins]), feeds=feeds)

    def of(self, *tables: int) -> Horizon:
        """What may be dropped of some tables."""
        kept = min([self.feeds[id] for id in tables if id in self.feeds], default=self.limit)
        return self if kept >= self.limit else replace(self, limit=kept, oldest=min(kept, self.oldest))

    def dead(self, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Which row versions (int64[n] each) nobody can read any more: bool[n]."""
        dead = ends <= self.limit
        if len(self.pins) and dead.any():
            dead &= np.searchsorted(self.pins, begins) == np.searchsorted(self.pins, ends)
        return dead


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldFacts:
    """One of those that keep row versions: those that are read at ``version``, or ``everything`` that ended after it.

    ``kind`` is ``history`` (the option history_seconds, as of the last checkpoint), ``named snapshot``, ``feed`` (of a
    table) or what a pin's holder is (snapshot.py). ``since`` is wall clock, None for history.
    """

    kind: str
    version: int
    since: int | None = None
    name: str | None = None
    principal: str | None = None
    everything: bool = False
