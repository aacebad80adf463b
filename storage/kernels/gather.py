"""Kernels that bring values into another order."""

from __future__ import annotations

from typing import Any

from numba import njit


@njit(nogil=True, cache=True)
def gather_variable(offsets: Any, data: Any, rows: Any, target_offsets: Any, heap: Any) -> None:
    """Copy values ``rows`` (int64[n]) of (offsets int32, data) one after another to (target_offsets[n + 1], heap)."""
    cursor = target_offsets[0]
    for index in range(rows.size):
        row = rows[index]
        for byte in range(offsets[row], offsets[row + 1]):
            heap[cursor] = data[byte]
            cursor += 1
        target_offsets[index + 1] = cursor
