"""Months of days for whole columns; one day's month is in pieces.py."""

from __future__ import annotations

from typing import Any

from numba import njit

from .pieces import month_of


@njit(nogil=True, cache=True)
def months_of(days: Any, months: Any) -> None:
    """Into ``months`` the months since 1970-01 of days since 1970-01-01, from the year 1 on; both int64[n]."""
    for row in range(days.size):
        months[row] = month_of(days[row])
