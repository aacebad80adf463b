"""The first groups in an order by an aggregate: the others are left out before they become Arrow.

What ties with the last of the first ones stays, so whatever else the order says, and whoever sorts, the answer is the
same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from ..kernels.states import kth_greatest

GROUPS_MIN: Final = 4_096
"""With fewer, to leave some out saves nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """``value``: the accumulator by which groups are sorted, ``there``: the one that says of how many values it is,
    none of which is NULL; ``count``: how many groups are wanted."""

    value: int
    there: int | None
    descending: bool
    nulls_first: bool
    count: int

    def chosen(self, column: Callable[[int], np.ndarray]) -> np.ndarray | None:
        """Which groups may be among the first, of those whose accumulators ``column`` gives; None: all."""
        values = column(self.value)
        if not 0 < self.count <= len(values) // 4 or len(values) < GROUPS_MIN:
            return None
        there = None if self.there is None else column(self.there) != 0
        return chosen(values, there, self)


def chosen(values: np.ndarray, there: np.ndarray | None, cut: Cut) -> np.ndarray | None:
    """The same of values (int64 or float64), of which those that are not ``there`` are NULL."""
    if not cut.descending:
        values = ~values if values.dtype == np.int64 else -values
    if values.dtype == np.float64:  # NaN is the greatest: it may tie with what is infinite
        values = np.where(np.isnan(values), np.inf if cut.descending else -np.inf, values)
    if there is None or there.all():
        return values >= kth_greatest(values, cut.count)
    wanted = cut.count
    if cut.nulls_first:
        wanted -= len(there) - int(np.count_nonzero(there))
        if wanted <= 0:
            return ~there
    known = values[there]
    if len(known) <= wanted:
        return None
    found = values >= kth_greatest(known, wanted)
    return found | ~there if cut.nulls_first else found & there
