"""Sorting rows of several groups by their encoded keys: what sealing (a group is a chunk) and merging (an input) share.

A row is named ``group << 16 | row``. Its key stands in the group's words: ``width`` words a key, or from word offset to
word offset (uint32, n + 1) where the width varies. The sort is stable: rows with equal keys stay as they came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .kernels import sorting


@dataclass(frozen=True, slots=True)
class PackedKeys:
    """Keys in order, as their varying bits alone."""

    packed: np.ndarray
    runs: np.ndarray
    constant: np.ndarray

    def words(self, start: int, stop: int) -> np.ndarray:
        """The words of keys ``start`` to ``stop``, one after the other."""
        width = len(self.constant)
        words = np.empty((stop - start) * width, np.uint64)
        sorting.expand(self.packed, width, self.runs, self.constant, start, stop, words)
        return words


def sort_rows(
    items: np.ndarray,
    counts: Sequence[tuple[int, int]],
    words: Sequence[np.ndarray],
    offsets: Sequence[np.ndarray | None],
    *,
    width: int,
) -> tuple[np.ndarray, PackedKeys | None]:
    """The rows ``items`` (uint32) by their keys; and these, where they differ in little. ``items`` is lost.

    Rows of a group stand together, ascending or descending: ``counts`` has (group, rows) as they come. ``words`` and
    ``offsets`` are by group; ``width`` is 0 where it varies. Takes 24 bytes a row for the time being.
    """
    if not width:
        sorting.sort_variable(addresses_of(words), addresses_of(offsets), items)
        return items, None
    ones, zeros = np.zeros(width, np.uint64), np.zeros(width, np.uint64)
    count = len(items)
    parts: list[tuple[int, int, np.ndarray]] = []
    for group, rows_count in counts:
        start = parts[-1][0] + len(parts[-1][2]) if parts else 0
        rows = items[start : start + rows_count] & np.uint32(0xFFFF)
        first, last = sorted((int(rows[0]), int(rows[-1])))
        sorting.observe(words[group][first * width : (last + 1) * width], width, last + 1 - first, ones, zeros)
        parts.append((start, group, rows))
    runs, bits = sorting.runs_of(ones & zeros)
    packed, spare, spare_items = (np.empty(count, dtype) for dtype in (np.uint64, np.uint64, np.uint32))

    def compress(target: int) -> None:
        for start, group, rows in parts:
            sorting.compress(words[group], width, rows, runs, target, start, packed)

    if bits <= 64:
        compress(0)
        sorting.sort_packed(packed, items, bits, spare, spare_items)
        _, group, rows = parts[0]
        constant = words[group][int(rows[0]) * width :][:width]
        return items, PackedKeys(packed, runs, constant)
    order = np.arange(count, dtype=np.uint32)
    keys = np.empty(count, np.uint64)
    for target in range(-(-bits // 64)):
        compress(target)
        sorting.gather_words(packed, order, keys)
        sorting.radix(keys, order, 0, count, 0, min(64, bits - 64 * target), spare, spare_items)
    return items.take(order), None


def address_of(array: np.ndarray) -> int:
    """Where the array's first byte is; the caller keeps the array."""
    return array.__array_interface__["data"][0]


def addresses_of(arrays: Sequence[np.ndarray | None]) -> np.ndarray:
    """uint64[n], 0 where there is none; the caller keeps the arrays."""
    return np.array([0 if array is None else address_of(array) for array in arrays], np.uint64)
