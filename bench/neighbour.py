"""Another process that takes the same commits in a database of its own: what ``bench mixed`` is measured by.

    python -m weftdb.bench.neighbour SYSTEM FOLDER ROWS

It loads ROWS clicks, says that it is ready, and waits. A line with a number begins commits by all writers, each once in
so many seconds; an empty line ends them. Then it says how many rows a second it took. The end of its input ends it.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from weftdb.bench.committing import DuckMixed, System, WeftMixed, write, writers_of

_SYSTEMS: Final[dict[str, Callable[[], System]]] = {"WeftDB": WeftMixed, "DuckDB": DuckMixed}


class Neighbour:
    """The process. Close it."""

    def __init__(self, name: str, folder: Path, *, rows: int) -> None:
        """Start it, and wait until its rows are loaded."""
        command = [sys.executable, "-m", "weftdb.bench.neighbour", name, str(folder), str(rows)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self._heard()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def writing(self, every: float) -> Generator[list[float]]:
        """While the block runs each writer commits once in so many seconds. The list has the rows a second, later."""
        taken: list[float] = []
        self._say(f"{every}\n")
        try:
            yield taken
        finally:
            self._say("\n")
            taken.append(float(self._heard()))

    def close(self) -> None:
        """End it, and wait until it has settled."""
        self._process.communicate()

    def _say(self, line: str) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        pipe.write(line)
        pipe.flush()

    def _heard(self) -> str:
        """Its next line. Raises RuntimeError where it has ended."""
        pipe = self._process.stdout
        assert pipe is not None
        line = pipe.readline()
        if not line:
            raise RuntimeError("the process that ingests beside the questions has ended; what it printed says why")
        return line


def main(name: str, folder: Path, rows: int, *, orders: IO[str], answers: IO[str]) -> None:
    """Serve orders until they end."""
    system = _SYSTEMS[name]()
    system.open(folder, rows=rows)
    try:
        writers = writers_of(system, rows=rows)
        print("ready", file=answers, flush=True)
        while order := orders.readline():
            ended = threading.Event()
            waits = threading.Thread(target=lambda ended=ended: (orders.readline(), ended.set()), daemon=True)
            waits.start()
            written = write(writers, until=ended.is_set, every=float(order))
            waits.join()
            system.settle()
            print(written.rows / written.seconds, file=answers, flush=True)
    finally:
        system.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), orders=sys.stdin, answers=sys.stdout)
