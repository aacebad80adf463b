"""The administrator's door of a server: what ``weft check`` and ``weft backup`` ask for. The caller writes the files.

Messages are the wire's own: a command turns them into what it prints or stores.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import grpc

from ..base.errors import Corrupt
from ..proto.weftdb.v1.admin_pb2 import (
    BackupHeader,
    BackupPart,
    BackupRequest,
    CheckPart,
    CheckProgress,
    CheckReport,
    CheckRequest,
)
from .wire import Wire


class RemoteAdmin:
    """What an administrator may ask of a server."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def check(self) -> RemoteCheck:
        """Have the server look at everything on its disk."""
        return RemoteCheck(self._wire)

    def backup(self) -> RemoteBackup:
        """Have the server make a checkpoint, and keep its files until what is returned is closed."""
        return RemoteBackup(self._wire)


class RemoteCheck:
    """A check under way: iterate over its progress; then ``report`` is there."""

    def __init__(self, wire: Wire) -> None:
        self.report: CheckReport | None = None
        self._wire = wire

    def __iter__(self) -> Iterator[CheckProgress]:
        stream = self._wire.listen("Admin/Check", CheckRequest(), CheckPart)
        try:
            for part in stream:
                if part.HasField("report"):
                    self.report = part.report
                else:
                    yield part.progress
        except grpc.RpcError as error:
            raise self._wire.failure(error) from None
        finally:
            stream.cancel()


class RemoteBackup:
    """A checkpoint of the server, and its files, for as long as this is open. Close it, or use it by ``with``."""

    def __init__(self, wire: Wire) -> None:
        """Raises what the server says."""
        self._wire = wire
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._stream: Any = wire.talk("Admin/Backup", iter(self._requests.get, None), BackupPart)
        try:
            self._requests.put(BackupRequest().SerializeToString())
            parts = self._answer()
            first = next(parts)
            self.header: BackupHeader = first.header
            self.data = b"".join([first.data, *(part.data for part in parts)])
        except BaseException:
            self.close()
            raise

    def fetch(self, number: int) -> Iterator[BackupPart]:
        """The parts of a file, the last one with its checksum."""
        self._requests.put(BackupRequest(file=number).SerializeToString())
        return self._answer()

    def close(self) -> None:
        self._requests.put(None)
        self._stream.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self) -> Iterator[BackupPart]:
        try:
            for part in self._stream:
                yield part
                if part.last:
                    return
        except grpc.RpcError as error:
            raise self._wire.failure(error) from None
        raise Corrupt("the server ended its answer before it was complete", hint="Run the backup again.")
