"""All that a database keeps, opened and closed as one: commit log, manifest, segment files, data folder.

    with Storage.open("data") as storage:      # or Storage.in_memory()
        storage.log, storage.manifest, storage.files
        number = storage.new_number()
        with storage.files.create(segment_name(number)) as out: ...

Log and manifest share one LMDB environment; segment files are in a folder of their own. ``read_only`` is the reason why
nothing can be written (it was asked for, or the file system is read-only), or None: the log then refuses its lease and
appends, the manifest its commits, with Unavailable that says why; all else can be read.

Always true: a number for a file is given out once in a database's life, also across crashes and restarts, so that a
backup knows a file by its name.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Final, Self

from .files import DiskFiles, FileSystem, MemoryFiles, refuse_writing
from .folder import DataFolder
from .lmdb_log import DATABASES, LmdbLog
from .lmdb_pages import check_meta
from .lmdb_store import DATA_FILE, LmdbStore
from .log import CommitLog
from .manifest import DATABASE, LmdbManifest, Manifest, MemoryManifest
from .memory_log import MemoryLog

SEGMENT_SUFFIX: Final = ".seg"
NUMBERS_RESERVED: Final = 256
"""So many numbers are reserved in the manifest at once: a sync for each file would be one too many."""


class Storage:
    """See the module. Who opens it closes it; it closes what it holds."""

    def __init__(
        self,
        *,
        log: CommitLog,
        manifest: Manifest,
        files: FileSystem,
        folder: DataFolder | None = None,
        store: LmdbStore | None = None,
        read_only: str | None = None,
        name: str = "memory",
    ) -> None:
        """``name`` is what messages call it."""
        self.name = name
        self.log = log
        self.manifest = manifest
        self.files = files
        self.folder = folder
        self.read_only = read_only
        self._store = store
        self._numbers = range(0)
        self._numbers_lock = threading.Lock()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        durable: bool = True,
        read_only: bool = False,
        log: CommitLog | None = None,
    ) -> Storage:
        """Open the data folder ``path``, or create it. ``log`` replaces the folder's own.

        Raises what ``DataFolder.open`` raises, and Corrupt when log or manifest cannot be read at all.
        """
        folder = DataFolder.open(path, read_only=read_only)
        try:
            check_meta(folder.log_path / DATA_FILE)
            store = LmdbStore.open(
                folder.log_path,
                databases=(*DATABASES, DATABASE),
                durable=durable,
                read_only=folder.read_only is not None,
            )
            return cls(
                log=log or LmdbLog(store, owner=False, read_only=folder.read_only),
                manifest=LmdbManifest(store, read_only=folder.read_only),
                files=DiskFiles(folder.segments_path),
                folder=folder,
                store=store,
                read_only=folder.read_only,
                name=str(folder.path),
            )
        except BaseException:
            folder.close()
            raise

    @classmethod
    def in_memory(cls, *, log: CommitLog | None = None) -> Storage:
        """A database that lives as long as this object."""
        return cls(log=log or MemoryLog(), manifest=MemoryManifest(), files=MemoryFiles())

    def check_writable(self) -> None:
        """Raise Unavailable, with the reason, when nothing can be written."""
        if self.read_only is not None:
            raise refuse_writing(self.read_only)

    def new_number(self) -> int:
        """A number for a new file. Raises Unavailable when the disk refuses."""
        with self._numbers_lock:
            if not self._numbers:
                first = self.manifest.reserve(NUMBERS_RESERVED)
                self._numbers = range(first, first + NUMBERS_RESERVED)
            number, self._numbers = self._numbers[0], self._numbers[1:]
            return number

    def shrink_log(self) -> int:
        """Give room that the log does not use back to the disk. Returns the bytes; see ``LmdbStore.give_back``."""
        return 0 if self._store is None or self.read_only is not None else self._store.give_back()

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        self.log.close()
        self.manifest.close()
        if self._store is not None:
            self._store.close()
        if self.folder is not None:
            self.folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def segment_name(number: int) -> str:
    """The name of the segment file with this number."""
    assert number > 0, number
    return f"{number:016}{SEGMENT_SUFFIX}"


def segment_number(name: str) -> int | None:
    """The number of a segment file; None for a name that is none of ours."""
    digits = name.removesuffix(SEGMENT_SUFFIX)
    ours = digits.isascii() and digits.isdigit() and int(digits) > 0 and segment_name(int(digits)) == name
    return int(digits) if ours else None
