"""The data folder: one process at a time, one format, nobody else's files.

A data folder looks like this (docs/storage.md has the details):

    DIR/format      "weftdb 4" and a checksum: the version of everything below
    DIR/lock        an flock'ed file that holds the process id of the one process that has the folder open
    DIR/log/        the commit log and the manifest (LMDB), and the log's journal
    DIR/segments/   segment files, named by a number that is never used again
    DIR/tmp/        spills while the folder is open (temporary.py)

Always true: one process at a time has the folder open to write, or any number have it open to read, and the operating
system drops the lock when a process dies, however it dies. ``format`` is written last into a new folder, so a folder
without it holds nothing yet. Nothing is written into a folder that is not ours, nor into one that is opened to read.

A folder on a read-only file system is opened to read, whether asked for or not. A folder of an older format is
upgraded when it is opened to write.

The lock file is never removed: a process that waits with the old file open would lock what no other can see.
"""

from __future__ import annotations

import errno
import fcntl
import os
import weakref
import zlib
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ..base.errors import Corrupt, Invalid, Unavailable, WeftError
from .files import DiskFiles, FileSystem, create_folder, write_whole

FORMAT: Final = 4
"""The data folder's format version: what this program writes, and the newest that it reads.

1: the commit log alone.  2: segments and the manifest beside it.  3: named snapshots, which older programs would not
keep.  4: the journal in front of the log, which they would not read.
"""

LOG_FOLDER: Final = "log"
SEGMENTS_FOLDER: Final = "segments"

_FORMAT_FILE: Final = "format"
_LOCK_FILE: Final = "lock"
_OUR_FIRST_FILES: Final = {_LOCK_FILE, _FORMAT_FILE + ".new"}


class DataFolder:
    """An open data folder. Holds its lock until ``close`` (or the end of the process).

    ``read_only`` is the reason why nothing may be written into it, or None.
    """

    def __init__(self, path: Path, *, lock: int, read_only: str | None = None) -> None:
        self.path = path
        self.read_only = read_only
        self._lock = lock
        _open_folders.add(self)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, read_only: bool = False) -> DataFolder:
        """Open the folder, or create it. Parents are created, too.

        With ``read_only``, and on a read-only file system, nothing is written: the folder must exist.

        Raises Unavailable when another process has it open, when a newer program wrote it, or when the system refuses;
        Invalid when it holds other things than a database of ours; Corrupt when its format file is damaged.
        """
        folder = Path(path).absolute()
        try:
            if read_only:
                return cls._open_to_read(folder, reason="it was opened to read only")
            try:
                return cls._open_to_write(folder)
            except OSError as error:
                if error.errno != errno.EROFS or not folder.is_dir():
                    raise
                return cls._open_to_read(folder, reason="its file system is read-only")
        except (FileExistsError, NotADirectoryError) as error:
            raise Invalid(
                f"{folder} cannot be a data folder: {error.filename} is not a folder",
                hint="Name a folder, or a path where one can be created.",
            ) from error
        except OSError as error:
            raise Unavailable(
                f"data folder {folder} cannot be opened: {error.strerror}",
                hint="Check that it can be read and written by this user, or open it to read only.",
            ) from error

    @classmethod
    def _open_to_write(cls, folder: Path) -> DataFolder:
        create_folder(folder)
        _refuse_foreign(folder)
        lock = _take_lock(folder, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            settle_format(DiskFiles(folder))
            create_folder(folder / SEGMENTS_FOLDER)
        except BaseException:
            os.close(lock)
            raise
        return cls(folder, lock=lock)

    @classmethod
    def _open_to_read(cls, folder: Path, *, reason: str) -> DataFolder:
        if not (folder / _FORMAT_FILE).exists():
            raise Unavailable(f"{folder} holds no WeftDB database to read", hint="Check the path.")
        try:
            lock = _take_lock(folder, os.O_RDONLY, fcntl.LOCK_SH)
        except FileNotFoundError:
            lock = -1  # a copy without the lock file, where none can be made: nobody can write there either
        try:
            read_format(DiskFiles(folder))
        except BaseException:
            if lock >= 0:
                os.close(lock)
            raise
        return cls(folder, lock=lock, read_only=reason)

    @classmethod
    def examine(cls, path: str | os.PathLike[str]) -> tuple[DataFolder, list[str]]:
        """Open a folder to look at it, whatever is wrong with its format file, and say what is.

        Raises Unavailable when a process has it open to write, or there is nothing that could be a database.
        """
        folder = Path(path).absolute()
        if not any((folder / name).exists() for name in (_FORMAT_FILE, LOG_FOLDER, SEGMENTS_FOLDER)):
            raise Unavailable(f"{folder} holds no WeftDB database to look at", hint="Check the path.")
        try:
            lock = _take_lock(folder, os.O_RDONLY, fcntl.LOCK_SH)
        except FileNotFoundError:
            lock = -1
        except OSError as error:
            raise Unavailable(f"data folder {folder} cannot be read: {error.strerror}") from error
        problems: list[str] = []
        try:
            version = read_format(DiskFiles(folder))
            if version < 2 and next((folder / SEGMENTS_FOLDER).glob("*"), None) is not None:
                problems.append(
                    f"{folder / _FORMAT_FILE} says format {version}, which has no segments, and there are some"
                )
        except WeftError as error:
            problems.append(error.message)
        return cls(folder, lock=lock, read_only="it is being checked"), problems

    @property
    def log_path(self) -> Path:
        """Where the commit log and the manifest lie."""
        return self.path / LOG_FOLDER

    @property
    def segments_path(self) -> Path:
        """Where the segment files lie."""
        return self.path / SEGMENTS_FOLDER

    def close(self) -> None:
        """Give the folder free. Idempotent."""
        lock, self._lock = self._lock, -1
        _open_folders.discard(self)
        if lock >= 0:
            if self.read_only is None:
                os.ftruncate(lock, 0)
            os.close(lock)

    def forget(self) -> None:
        """Let go of the lock's descriptor without giving the folder free: a forked child must not hold the lock."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def settle_format(root: FileSystem) -> None:
    """Read the format file; write it into a new folder, and anew into one of an older format.

    Nothing else needs to be done. Format 1: a log without a manifest is a manifest that nothing was put into; format 2:
    there are no named snapshots yet; format 3: there is no journal yet.
    """
    if _FORMAT_FILE in root.names() and read_format(root) == FORMAT:
        return
    write_whole(root, _FORMAT_FILE, format_line(FORMAT))


def format_line(version: int) -> bytes:
    """What the format file says; from format 3 on with a checksum, since 2 and 3 are one bit apart."""
    text = f"weftdb {version}"
    return f"{text} {zlib.crc32(text.encode()):08x}\n".encode() if version >= 3 else f"{text}\n".encode()


def read_format(root: FileSystem) -> int:
    """The format of the folder. Raises Corrupt when the file does not say one, Unavailable when it is too new."""
    content = root.read(_FORMAT_FILE)
    word = content.decode(errors="replace").split(" ")[1:2]
    version = int(word[0]) if word and word[0].strip().isascii() and word[0].strip().isdigit() else 0
    if version < 1 or content != format_line(version):
        raise Corrupt(f"{root.name}/{_FORMAT_FILE} does not say a format version; it reads {content[:40]!r}")
    if version > FORMAT:
        raise Unavailable(
            f"data folder {root.name} has format {version}, and this program reads formats up to {FORMAT}",
            hint="Upgrade WeftDB: a newer version wrote this folder.",
        )
    return version


def _refuse_foreign(folder: Path) -> None:
    """Raise Invalid when the folder holds things, and no database of ours."""
    names = set(os.listdir(folder))
    if _FORMAT_FILE not in names and (foreign := names - _OUR_FIRST_FILES):
        raise Invalid(
            f"{folder} is not empty and holds no WeftDB database: it contains {min(foreign)!r}",
            hint="Name an empty folder, or one that does not exist yet.",
        )


def _take_lock(folder: Path, mode: int, kind: int) -> int:
    """The descriptor of the locked lock file. Raises Unavailable with the holder's process id."""
    lock = os.open(folder / _LOCK_FILE, mode | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
        os.close(lock)
        raise Unavailable(
            f"data folder {folder} is in use by {f'process {holder}' if holder else 'a process that reads it'}",
            hint="Connect to that process if it is a server, stop it, or use another folder.",
            sqlstate="55006",
        ) from error
    except BaseException:
        os.close(lock)
        raise
    return lock


_open_folders: Final[weakref.WeakSet[DataFolder]] = weakref.WeakSet()


def _forget_locks_in_child() -> None:
    """A forked child shares the lock; unless it lets go, the folder stays locked after the parent's death."""
    for folder in list(_open_folders):
        folder.forget()


os.register_at_fork(after_in_child=_forget_locks_in_child)
