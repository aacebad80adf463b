"""The only door to the machine's clock and randomness; everything else gets values that were read here."""

from __future__ import annotations

import random
import time
import uuid
from array import array
from bisect import bisect_left, bisect_right
from datetime import datetime

import numpy as np

AsOf = int | datetime | str
"""A point of the past: a version, a time, or the name of a snapshot."""


def wall_clock() -> int:
    """Microseconds since 1970-01-01 UTC. Recorded per commit; orders nothing."""
    return time.time_ns() // 1_000


def monotonic() -> float:
    """Seconds from an arbitrary start that only grow: for time-outs and durations."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def new_uuid() -> str:
    """A random UUID as text: identities of writers and transactions."""
    return str(uuid.uuid4())


def any_below(limit: int) -> int:
    """A random number from 0 on, below ``limit``."""
    return random.randrange(limit)


class VersionClock:
    """The map from wall clock to version, for ``AS OF`` a time: 16 bytes a commit.

    The machine's clock may step back; the map keeps the running maximum, so that a later version never has an earlier
    time and the search stays a bisection.
    """

    def __init__(self) -> None:
        self._walls = array("q")
        self._versions = array("q")

    def record(self, *, wall: int, version: int) -> None:
        assert not self._versions or version > self._versions[-1], (version, self._versions[-1])
        self._walls.append(max(wall, self._walls[-1]) if self._walls else wall)
        self._versions.append(version)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Copies of the walls and the versions, int64[n] each."""
        return np.array(self._walls, np.int64), np.array(self._versions, np.int64)

    def fill(self, *, walls: np.ndarray, versions: np.ndarray) -> None:
        """Take over what ``arrays`` gave."""
        self._walls = array("q", walls.astype(np.int64).tobytes())
        self._versions = array("q", versions.astype(np.int64).tobytes())

    def forget(self, *, before: int) -> None:
        """Forget versions below ``before``, but for the last of them: times from then on still find theirs."""
        index = bisect_left(self._versions, before) - 1
        if index > len(self._versions) // 2:
            self._walls, self._versions = self._walls[index:], self._versions[index:]

    def version_at(self, wall: int) -> int:
        """The last version at or before ``wall``; 0 when there was none."""
        index = bisect_right(self._walls, wall)
        return self._versions[index - 1] if index else 0
