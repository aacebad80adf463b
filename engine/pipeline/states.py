"""States of lanes whose groups have places: accumulators for each place, added up in order. And rows, not grouped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from ..kernels.groups import ADD, ADD_REAL, ANY, GREATEST, GREATEST_REAL, LEAST, LEAST_REAL
from ..kernels.states import join_states, places_with_rows, take
from .answers import Groups
from .bits import counts_of, set_of
from .bounds import INT64_MAX, INT64_MIN
from .cut import Cut
from .packing import Packing
from .shape import Shape

STARTS: Final = {"min": INT64_MAX, "max": INT64_MIN, "fmin": np.nan, "fmax": -np.inf}
"""What accumulators begin with, other than 0."""

WHAT: Final = {
    "count": ADD,
    "sum": ADD,
    "min": LEAST,
    "max": GREATEST,
    "fsum": ADD_REAL,
    "fmin": LEAST_REAL,
    "fmax": GREATEST_REAL,
}
"""How accumulators are added to one another."""

CHUNK_PLACES: Final = 1 << 14
"""Places whose states are added at a time: they stay in the cache."""


def new_state(shape: Shape, places: int) -> np.ndarray:
    """The accumulators of so many places, behind one another."""
    row = np.zeros(len(shape.accumulators), np.int64)
    for place, (kind, _, _) in enumerate(shape.accumulators):
        (row.view(np.float64) if kind[0] == "f" else row)[place] = STARTS.get(kind, 0)
    return np.tile(row, places) if row.any() else np.zeros(places * len(row), np.int64)


def merged(
    states: Sequence[np.ndarray],
    shape: Shape,
    packing: Packing,
    bits: np.ndarray,
    *,
    wide: bool,
    cut: Cut | None,
    all: Callable[[Callable[[int], np.ndarray], Sequence[int]], list[np.ndarray]],
) -> Groups:
    """The groups of all lanes, by their places. The first state becomes the sum of all but where sums are ``wide``.

    ``bits``: of all lanes together; ``all`` does something for each of many.
    """
    if packing.sink == "set":
        there = set_of(bits)
        groups = Groups(len(there))
        groups.words = [there]
        return groups
    states = states or [new_state(shape, packing.places)]
    total, *others = states
    kinds = [kind for kind, _, _ in shape.accumulators]
    width, real = len(kinds), [kind[0] == "f" for kind in kinds]
    what = np.array([ANY if wide and kind == "sum" else WHAT.get(kind, ANY) for kind in kinds], np.int64)

    def joined(start: int) -> np.ndarray:
        stop = min(start + CHUNK_PLACES, packing.places)
        for other in others:
            join_states(total, other, start, stop, what)
        found = np.empty(stop - start, np.int64)
        return found[: places_with_rows(total, width, start, stop, found)]

    def column(number: int, of: np.ndarray = total) -> np.ndarray:
        if kinds[number] == "distinct":
            return counts[number][there]
        found = np.empty(len(there), np.int64)
        take(of, width, number, there, found)
        return found.view(np.float64) if real[number] else found

    there = np.concatenate(all(joined, range(0, packing.places, CHUNK_PLACES)))
    if packing.sink == "one":
        there = np.zeros(1, np.int64)
    counts = counts_of(bits, packing.bits, packing.places)
    if cut is not None and not (wide and kinds[cut.value] == "sum"):
        chosen = cut.chosen(column)
        there = there if chosen is None else there[chosen]
    groups = Groups(len(there))
    groups.words = [there]
    for number in range(width):
        (groups.reals if real[number] else groups.low)[number] = column(number)
        if wide and kinds[number] == "sum":
            groups.low[number], groups.high[number] = _wide([column(number, of) for of in states])
    return groups


def _wide(columns: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The sum of columns in two words, the lower one first."""
    total, *others = columns
    high = total >> 63
    for more in others:
        high += more >> 63
        words = total.view(np.uint64)
        words += more.view(np.uint64)
        high += words < more.view(np.uint64)
    return total, high


def rows_state(shape: Shape, rows_count: int) -> np.ndarray:
    """Room for so many rows, behind how many there are."""
    return np.zeros(1 + rows_count * len(shape.accumulators), np.int64)


def rows_of(states: Sequence[np.ndarray], shape: Shape) -> Groups:
    """The rows of all lanes, in order: each is a group."""
    width = len(shape.accumulators)
    counts = [int(state[0]) for state in states]
    groups = Groups(sum(counts))
    there = [state[1 : 1 + count * width].reshape(-1, width) for state, count in zip(states, counts, strict=True)]
    for number, (kind, _, _) in enumerate(shape.accumulators):
        values = np.concatenate([np.empty(0, np.int64), *(rows[:, number] for rows in there)])
        if kind[0] == "f":
            groups.reals[number] = values.view(np.float64)
        else:
            groups.low[number] = values
    return groups
