"""A real ``weft serve`` in a process of its own, to be killed.

The interpreter is this one; the folder and the port stay the same over restarts, so that a client finds it again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO


class ServerChild:
    def __init__(self, folder: Path, *, port: int | None = None, arguments: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.arguments = arguments
        self.process: subprocess.Popen[str] | Forked | None = None
        self.start_seconds = 0.0

    @property
    def url(self) -> str:
        return f"weft://127.0.0.1:{self.port}"

    def start(self) -> ServerChild:
        began = time.perf_counter()
        command = ["-m", "weftdb", "serve", "--data", str(self.folder), "--port", str(self.port)]
        self.process = self._popen([*command, *self.arguments])
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if "ready" not in line:
            rest = self.process.stdout.read()
            self.kill()
            raise AssertionError(f"the server did not start: {line}{rest}")
        self.start_seconds = time.perf_counter() - began
        return self

    def _popen(self, arguments: list[str]) -> subprocess.Popen[str] | Forked:
        return subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

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
        process.send_signal(number)
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
    """Starts processes in a tenth of the time, by forking one that has loaded the code already."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("zygote.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._lock = threading.Lock()
        assert self._answer() == "loaded"

    def fork(self, arguments: list[str], *, output: Path, errors: Path, ended: Path) -> int:
        """The process id of a new ``python`` with these arguments, and this process's environment.

        What it prints goes to these files, and in the end its exit code.
        """
        files = [os.devnull, str(output), str(errors)]
        request = {"arguments": arguments, "files": files, "ended": str(ended), "environment": dict(os.environ)}
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return int(self._answer())

    def popen(self, arguments: list[str], *, output: Path | None = None, errors: Path | None = None) -> Forked:
        return Forked(self, arguments, output=output, errors=errors)

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait(timeout=10)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


class Forked:
    """A process that comes from a zygote, with what ``subprocess.Popen`` of ``python`` with these arguments has.

    ``stdout`` is a pipe, unless output goes to a file; errors go to a file, else there, too.
    """

    def __init__(self, zygote: Zygote, arguments: list[str], *, output: Path | None, errors: Path | None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="weft-forked-")
        pipe, self._ended = Path(self._folder.name, "stdout"), Path(self._folder.name, "ended")
        if output is None:
            os.mkfifo(pipe)
        self.pid = zygote.fork(arguments, output=output or pipe, errors=errors or output or pipe, ended=self._ended)
        self.stdout: IO[str] = io.StringIO() if output else pipe.open(encoding="utf-8")
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, once it has ended; whoever leaves none was killed."""
        if self.returncode is None and not _lives(self.pid):
            self.returncode = int(self._ended.read_text()) if self._ended.exists() else -signal.SIGKILL
            self._folder.cleanup()
        return self.returncode

    def wait(self, timeout: float = 60) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("forked", timeout)
            time.sleep(0.002)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Forked:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stdout.close()
        self.wait()


class ForkedServer(ServerChild):
    """A server that comes from a zygote."""

    def __init__(self, folder: Path, zygote: Zygote, *, arguments: tuple[str, ...] = ()) -> None:
        super().__init__(folder, arguments=arguments)
        self._zygote = zygote

    def _popen(self, arguments: list[str]) -> Forked:
        return self._zygote.popen(arguments)


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
