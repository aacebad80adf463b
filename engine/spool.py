"""Rows put aside for a moment: in memory while they are few, else in a file that has no name.

An UPDATE of primary keys takes all old rows away before it puts the first new one, since a new key may be another
row's old one. Meanwhile the new rows wait here. Nobody else sees the file, and it is gone with the process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import pyarrow as pa
from pyarrow import ipc

from ..base.errors import Unavailable
from ..base.limits import MIB

SPOOL_BYTES: Final = 32 * MIB
"""What one spool keeps in memory."""


class Spool:
    """Batches of one schema: first all ``append``, then one pass of ``batches``. Without a folder all in memory."""

    def __init__(self, folder: Callable[[], Path] | None, *, memory_bytes: int = SPOOL_BYTES) -> None:
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None
        self._writer: Any = None

    def append(self, batch: pa.RecordBatch) -> None:
        """Raises Unavailable when the disk does not take it."""
        self._batches.append(batch)
        self._bytes += batch.nbytes
        if self._folder is not None and self._bytes > self._memory_bytes:
            self._write(self._folder())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All batches in order, once."""
        if self._writer is not None:
            assert self._file is not None, "who writes has a file"
            self._writer.close()
            self._writer = None
            self._file.flush()
            self._file.seek(0)
            yield from ipc.open_stream(self._file)
        batches, self._batches = self._batches, []
        yield from batches

    def close(self) -> None:
        self._batches = []
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, folder: Path) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - close() closes it
            if self._writer is None:
                self._writer = ipc.new_stream(self._file, self._batches[0].schema)
            for batch in self._batches:
                self._writer.write_batch(batch)
        except OSError as error:
            raise Unavailable(
                f"rows of the statement cannot be put aside in {folder}: {error.strerror or error}",
                hint="Make room on the disk.",
                sqlstate="53100",
            ) from error
        self._batches, self._bytes = [], 0
