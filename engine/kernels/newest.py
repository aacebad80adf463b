"""The best row of each group, found in one pass over rows in any order."""

from __future__ import annotations

from typing import Any

from numba import njit


@njit(nogil=True, cache=True)
def keep_best(groups: Any, ranks: Any, places: Any, best_ranks: Any, best_places: Any) -> None:
    """Take each row as its group's best if it is before the best so far, by its ranks, and then its place.

    ``groups``: of each row, below ``len(best_places)``; ``ranks`` int64[n, keys]; ``places`` int64[n], not negative.
    ``best_ranks`` int64[groups, keys] and ``best_places`` int64[groups] (-1: none yet) are changed in place.
    """
    for row in range(groups.size):
        group, place = groups[row], places[row]
        best = best_places[group]
        before = best < 0
        if not before:
            before = place < best
            for key in range(ranks.shape[1]):
                if ranks[row, key] != best_ranks[group, key]:
                    before = ranks[row, key] < best_ranks[group, key]
                    break
        if before:
            best_places[group] = place
            for key in range(ranks.shape[1]):
                best_ranks[group, key] = ranks[row, key]
