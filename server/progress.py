"""A progress bar with rows per second, on a terminal in place, elsewhere as a line now and then.

    transactions  ━━━━━━━━━━━━━━━━──────────   823,000 / 1,469,307  56 %   612,000 rows/s

Not here: threads. The bar moves when it is told the count, at most ten times a second on a terminal.
"""

from __future__ import annotations

import shutil
import time
from types import TracebackType
from typing import Final, Self, TextIO

_BAR: Final = 28
_SECONDS_TERMINAL: Final = 0.1
_SECONDS_LOG: Final = 2.0
_SECONDS_BRIEF: Final = 0.5


class Progress:
    """Shows how many of ``total`` rows are done; ``total`` None where nobody knows. Use it by ``with``.

    ``brief``: it comes after half a second only, and leaves nothing behind; for a terminal.
    """

    def __init__(self, label: str, *, total: int | None, out: TextIO, brief: bool = False) -> None:
        self.count = 0
        self._label = label
        self._total = total
        self._out = out
        self._terminal = out.isatty()
        self._brief = brief
        self._begin = self._shown = time.perf_counter()
        if brief:
            self._shown += _SECONDS_BRIEF

    @property
    def seconds(self) -> float:
        """Since the bar was made."""
        return time.perf_counter() - self._begin

    @property
    def rows_per_second(self) -> float:
        return self.count / max(self.seconds, 1e-9)

    def update(self, count: int) -> None:
        """``count`` rows are done in all."""
        self.count = count
        now = time.perf_counter()
        if now - self._shown >= (_SECONDS_TERMINAL if self._terminal else _SECONDS_LOG):
            self._shown = now
            self._show()

    def note(self, text: str) -> None:
        """Print a line of its own above the bar."""
        if self._terminal:
            self._out.write("\r\x1b[K")
        self._out.write(text + "\n")
        if self._terminal:
            self._show()
        self._out.flush()

    def __enter__(self) -> Self:
        if self._terminal and not self._brief:
            self._show()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._brief:
            self._out.write("\r\x1b[K" if self._terminal and self._shown > self._begin + _SECONDS_BRIEF else "")
        else:
            self._show()
            self._out.write("\n" if self._terminal else "")
        self._out.flush()

    def _show(self) -> None:
        line = f"{self._label}  {self._counts()}   {self.rows_per_second:,.0f} rows/s"
        if not self._terminal:
            self._out.write(line + "\n")
        else:
            columns = shutil.get_terminal_size().columns
            self._out.write("\r" + line[: columns - 1] + "\x1b[K")
        self._out.flush()

    def _counts(self) -> str:
        if self._total is None:
            return f"{self.count:,} rows"
        share = min(self.count / self._total, 1.0) if self._total else 1.0
        filled = int(share * _BAR)
        bar = "━" * filled + "─" * (_BAR - filled) + "  " if self._terminal else ""
        return f"{bar}{self.count:>{len(f'{self._total:,}')},} / {self._total:,} {share:>5.0%}"
