"""A real ``weft serve`` in a process of its own, to be killed.

The interpreter is this one; the folder and the port stay the same over restarts, so that a client finds it again.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType


class ServerChild:
    def __init__(self, folder: Path, *, port: int | None = None, arguments: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.arguments = arguments
        self.process: subprocess.Popen[str] | None = None
        self.start_seconds = 0.0

    @property
    def url(self) -> str:
        return f"weft://127.0.0.1:{self.port}"

    def start(self) -> ServerChild:
        began = time.perf_counter()
        command = [sys.executable, "-m", "weftdb", "serve", "--data", str(self.folder), "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, *self.arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if "ready" not in line:
            rest = self.process.stdout.read()
            self.kill()
            raise AssertionError(f"the server did not start: {line}{rest}")
        self.start_seconds = time.perf_counter() - began
        return self

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nothing said goodbye to."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        os.kill(process.pid, number)
        code = process.wait(timeout=30)
        if process.stdout is not None:
            process.stdout.close()
        return code

    def __enter__(self) -> ServerChild:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class Zygote:
    """Starts servers in a tenth of the time, by forking a process that has loaded the code already."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("zygote.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._lock = threading.Lock()
        assert self._answer() == "loaded"

    def fork(self, arguments: list[str], output: Path) -> int:
        """The process id of a new ``weft`` with these arguments, whose output goes to a file."""
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps([arguments, str(output)]) + "\n")
            self._process.stdin.flush()
            return int(self._answer())

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait(timeout=10)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


class ForkedServer(ServerChild):
    """A server that comes from a zygote."""

    def __init__(self, folder: Path, zygote: Zygote) -> None:
        super().__init__(folder)
        self._zygote = zygote
        self._pid = 0

    def start(self) -> ServerChild:
        output = self.folder.with_suffix(".log")
        output.write_text("")
        self._pid = self._zygote.fork(["serve", "--data", str(self.folder), "--port", str(self.port)], output)
        deadline = time.monotonic() + 30
        while "ready" not in (text := output.read_text()):
            if time.monotonic() > deadline or not _lives(self._pid):
                raise AssertionError(f"the server did not start: {text}")
            time.sleep(0.005)
        return self

    def _end(self, number: int) -> int:
        pid, self._pid = self._pid, 0
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            while _lives(pid):
                time.sleep(0.002)
        return 0


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def free_port() -> int:
    """A port below those that the system gives to connections: no other test takes it before the server has it."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
