"""States of lanes whose groups have places: accumulators for each place, added up in order. And rows, not grouped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from .answers import Groups
from .bits import counts_of, set_of
from .bounds import INT64_MAX, INT64_MIN
from .packing import Packing
from .shape import Shape

STARTS: Final = {"min": INT64_MAX, "max": INT64_MIN, "fmin": np.nan, "fmax": -np.inf}
"""What accumulators begin with, other than 0."""


def new_state(shape: Shape, places: int) -> np.ndarray:
    """The accumulators of so many places, behind one another."""
    row = np.zeros(len(shape.accumulators), np.int64)
    for place, (kind, _, _) in enumerate(shape.accumulators):
        (row.view(np.float64) if kind[0] == "f" else row)[place] = STARTS.get(kind, 0)
    return np.tile(row, places) if row.any() else np.zeros(places * len(row), np.int64)


def merged(states: Sequence[np.ndarray], shape: Shape, packing: Packing, bits: np.ndarray) -> Groups:
    """The groups of all lanes, by their places; ``bits``: of all of them together."""
    if packing.sink == "set":
        there = set_of(bits)
        groups = Groups(len(there))
        groups.words = [there]
        return groups
    counts = counts_of(bits, packing.bits, packing.places)
    whole = np.zeros(packing.places, np.int64)
    width = len(shape.accumulators)
    for state in states:
        whole += state[::width]
    there = np.flatnonzero(whole) if packing.sink == "dense" else np.zeros(1, np.int64)
    groups = Groups(len(there))
    groups.words = [there]
    rows = [state.reshape(-1, width)[there] for state in states or [new_state(shape, packing.places)]]
    for number, (kind, _, _) in enumerate(shape.accumulators):
        if kind == "distinct":
            groups.low[number] = counts[number][there]
            continue
        values: list[Any] = [of.view(np.float64)[:, number] if kind[0] == "f" else of[:, number] for of in rows]
        total = values[0].copy()
        match kind:
            case "count":
                for more in values[1:]:
                    total += more
            case "sum":
                groups.high[number] = high = total >> 63
                for more in values[1:]:
                    high += more >> 63
                    words = total.view(np.uint64)
                    words += more.astype(np.uint64)
                    high += words < more.astype(np.uint64)
            case "min":
                for more in values[1:]:
                    np.minimum(total, more, out=total)
            case "max":
                for more in values[1:]:
                    np.maximum(total, more, out=total)
            case "fsum":
                for more in values[1:]:
                    total += more
            case "fmin":
                for more in values[1:]:
                    np.fmin(total, more, out=total)
            case _:
                for more in values[1:]:
                    np.maximum(total, more, out=total)
        (groups.reals if kind[0] == "f" else groups.low)[number] = total
    return groups


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
