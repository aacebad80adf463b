"""The process that compiles kernels, as the database sees it; compiler.py is what runs there.

Numba holds the interpreter's lock for much of a second while it compiles, so another process does it. The first kernel
starts it; it ends when it had nothing to do for a while, when the database is closed, and with this process, however
that ends. It imports what this process would import, and has no terminal: Ctrl-C does not reach it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from ...base.limits import COMPILE_SECONDS_MAX

_PACKAGE: Final = Path(__file__).resolve().parents[2]
NICE: Final = 10
_PROGRAM: Final = f"import os; os.nice({NICE}); from weftdb.engine.pipeline.compiler import main; main()"


class CannotStart(Exception):
    """The process ended before it could be asked for anything."""


class Died(Exception):
    """The process ended, or was ended since it took too long, while it compiled."""


class Helper:
    """At most one process. ``compile`` is for one thread, ``close`` for any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        process = self._process
        return None if process is None else process.pid

    def compile(self, path: Path) -> str | None:
        """What the compiler says against the file; None: it is compiled. Raises CannotStart, Died."""
        process = self._process or self._start()
        assert process.stdin is not None, "it was made so"
        try:
            process.stdin.write(f"{path}\n".encode())
            process.stdin.flush()
        except OSError:
            self.rest()
            raise Died from None
        answer = self._answer(process)
        if answer is None:
            raise Died
        return answer["error"]

    def rest(self) -> None:
        """End the process; the next file starts another."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            _end(process)

    def close(self) -> None:
        """End the process, also in the middle of a compile; there will be no other."""
        with self._lock:
            self._closed = True
        self.rest()

    def _start(self) -> subprocess.Popen[bytes]:
        paths = [str(_PACKAGE.parent), *(path for path in sys.path if path)]
        with self._lock:
            if self._closed or not sys.executable or getattr(sys, "frozen", False):
                raise CannotStart
            try:
                process = self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _PROGRAM],
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    process_group=0,  # Ctrl-C is not for it; in a session of its own Linux would not heed its priority
                )
            except OSError:
                raise CannotStart from None
        if self._answer(process) is None:
            raise CannotStart
        return process

    def _answer(self, process: subprocess.Popen[bytes]) -> dict[str, Any] | None:
        """The next line; None: the process has ended."""
        assert process.stdout is not None, "it was made so"
        timer = threading.Timer(COMPILE_SECONDS_MAX, process.kill)
        timer.daemon = True
        timer.start()
        try:
            line = _line(process.stdout)
        finally:
            timer.cancel()
        try:
            return json.loads(line)
        except ValueError:  # nothing, or not what compiler.py writes
            self.rest()
            return None


def _line(pipe: IO[bytes]) -> bytes:
    try:
        return pipe.readline()
    except (OSError, ValueError):  # closed by another thread
        return b""


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(1)
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError, ValueError):
            if pipe is not None:
                pipe.close()
