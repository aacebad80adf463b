"""How the demo prints: numbered steps, checks, small tables, a summary. Colours on a terminal only."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from weftdb.base.result import Result
from weftdb.server.shell.output import Layout, print_result


class CheckFailed(Exception):
    """Something that the demo claims is not so."""


class Story:
    """Prints to standard output. ``steps`` is how many numbered steps there will be."""

    def __init__(self, *, steps: int) -> None:
        self._steps = steps
        self._step = 0
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._begin = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the story began."""
        return time.perf_counter() - self._begin

    def title(self, text: str, subtitle: str) -> None:
        print(f"{self._bold(text)}\n{subtitle}")

    def step(self, text: str) -> None:
        self._step += 1
        print(f"\n{self._bold(f'{self._step}/{self._steps}  {text}')}", flush=True)

    def say(self, text: str) -> None:
        print("\n".join(f"      {line}".rstrip() for line in text.split("\n")), flush=True)

    def check(self, holds: bool, text: str) -> None:
        """Print that ``text`` holds, or raise CheckFailed."""
        if not holds:
            raise CheckFailed(text)
        print(f"   {self._colour('✓', '32')}  {text}", flush=True)

    def show(self, result: Result, *, seconds: float) -> None:
        """A result as a table."""
        text = io.StringIO()
        print_result(result, Layout(null="-"), text)
        *lines, _ = text.getvalue().splitlines()
        self.say("\n".join(lines))
        self.say(self._colour(f"{seconds * 1000:,.0f} ms", "2"))

    def summary(self, rows: Sequence[tuple[str, str]]) -> None:
        width = max(len(name) for name, _ in rows)
        right = max(len(value) for _, value in rows)
        line = "─" * (width + right + 5)
        print(f"\n{self._bold('Summary')}\n{line}")
        for name, value in rows:
            print(f" {name:<{width}}   {value:>{right}}")
        print(line, flush=True)

    def _bold(self, text: str) -> str:
        return self._colour(text, "1")

    def _colour(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text


@contextmanager
def stopwatch() -> Generator[list[float]]:
    """``with stopwatch() as seconds:`` puts the duration of the block into ``seconds[0]``."""
    seconds: list[float] = [0.0]
    begin = time.perf_counter()
    try:
        yield seconds
    finally:
        seconds[0] = time.perf_counter() - begin
