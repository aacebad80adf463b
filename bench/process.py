"""``weft serve`` as a child process: start it, know when it answers, read its memory, stop or kill it.

Memory is read from ``/proc/PID/status``: ``VmRSS`` and its parts. ``anonymous`` is what the process has allocated;
``file`` are pages of mapped files (libraries, the commit log's map) that the kernel may take back at any time.
"""

from __future__ import annotations

import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

READY: Final = "weftdb ready on "
_SECONDS_TO_START: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Resident memory of one process, in MiB."""

    total: float
    anonymous: float
    file: float


def memory_of(pid: int) -> Memory:
    """Resident memory of ``pid`` now. Only on Linux."""
    status = Path(f"/proc/{pid}/status").read_text()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in status.splitlines() if line.endswith(" kB")}
    return Memory(total=sizes["VmRSS"], anonymous=sizes["RssAnon"], file=sizes["RssFile"] + sizes["RssShmem"])


def bytes_written_of(pid: int) -> int:
    """What ``pid`` has written to disks so far, by the kernel's count; 0 where it keeps none (tmpfs). Only on Linux."""
    counters = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(counters["write_bytes"]) - int(counters["cancelled_write_bytes"])


class ServerProcess:
    """A server on ``folder`` in its own process; ``url`` is where it answers."""

    def __init__(self, folder: Path) -> None:
        """Start it and wait until it is ready. Raises RuntimeError, with what it printed, if it does not start."""
        self._errors = folder.parent / f"{folder.name}.stderr"
        self.started = time.perf_counter()
        command = [sys.executable, "-m", "weftdb", "serve", "--data", str(folder), "--port", "0"]
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            self.url = self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self) -> str:
        assert self._process.stdout is not None
        deadline = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self._process.stdout], [], [], 0.1)
            line = self._process.stdout.readline() if ready else ""
            if line.startswith(READY):
                return line[len(READY) :].split()[0]
            if self._process.poll() is not None:
                break
        last = self._errors.read_text().strip().splitlines()[-3:]
        raise RuntimeError(f"weft serve did not start: {' / '.join(last) or 'it printed nothing'}")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def memory(self) -> Memory:
        return memory_of(self.pid)

    def stop(self) -> None:
        """SIGTERM: the server drains and closes its folder."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, as a crash does."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(how)
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
