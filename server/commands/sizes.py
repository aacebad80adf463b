"""Bytes as people read them, and a line that says how far something is: what check, backup and restore print."""

from __future__ import annotations

import sys
import time

_UNITS = ("B", "KB", "MB", "GB", "TB")
_SECONDS = 0.1


def size_text(count: int) -> str:
    """``1.2 GB``; powers of 1,024, as the options take them."""
    value, unit = float(count), 0
    while value >= 1024 and unit + 1 < len(_UNITS):
        value, unit = value / 1024, unit + 1
    return f"{count:,} B" if not unit else f"{value:,.1f} {_UNITS[unit]}"


class Line:
    """How far something is: one line on a terminal, nothing elsewhere. Use it by ``with``."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown = 0.0

    def show(self, what: str, done: int, total: int) -> None:
        now = time.perf_counter()
        if self._terminal and now - self._shown >= _SECONDS:
            self._shown = now
            share = f"{done / total:.0%}" if total else ""
            sys.stderr.write(f"\r\x1b[K{what} {share}")
            sys.stderr.flush()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
