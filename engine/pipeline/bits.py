"""Values that were there, a bit each: of groups' different values ("distinct"), and of groups themselves ("set").

    bit of a value    base of the accumulator + stride * the group's place + (value - least)
    of a set          the group's place

So different values are counted without looking any up, where the zones show that there is room for a bit for each that
there may be. Since a bit that is set stays so, lanes need no areas of their own: each thread has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...base.limits import PIPELINE_BITS_MAX, PIPELINE_BITS_PER_ROW
from ..kernels.bits import places_set


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueBits:
    """The bits of an accumulator: ``low`` is the least value, ``stride`` how many bits a group has."""

    accumulator: int
    low: int
    stride: int
    base: int


def is_worth(bits_count: int, rows_count: int) -> bool:
    """Whether so many bits are few enough, for so many rows to look at."""
    return bits_count <= min(PIPELINE_BITS_MAX, PIPELINE_BITS_PER_ROW * max(rows_count, 1 << 14))


def stride_of(size: int) -> int:
    """How many bits are a group's who has so many values: groups are numbers of 8 to 64 bits, or several of 64."""
    return 1 << max((size - 1).bit_length(), 3) if size <= 64 else -(-size // 64) * 64


def united(areas: Sequence[np.ndarray], words: int) -> np.ndarray:
    """The bits of all areas (uint64), in the first of them."""
    first, *others = areas or [np.zeros(words, np.int64)]
    for other in others:
        np.bitwise_or(first, other, out=first)
    return first.view(np.uint64)


def set_of(bits: np.ndarray) -> np.ndarray:
    """Which bits are set, ascending (int64)."""
    found = np.empty(int(np.bitwise_count(bits).sum(dtype=np.int64)), np.int64)
    places_set(bits, found)
    return found


def counts_of(bits: np.ndarray, of: Sequence[ValueBits], places: int) -> dict[int, np.ndarray]:
    """By accumulator, how many different values each group has (int64[places])."""
    found: dict[int, np.ndarray] = {}
    for one in of:
        width = min(one.stride, 64)
        first = one.base // width
        numbers = bits.view(f"u{width // 8}")[first : first + places * one.stride // width]
        found[one.accumulator] = np.bitwise_count(numbers).reshape(places, -1).sum(axis=1, dtype=np.int64)
    return found
