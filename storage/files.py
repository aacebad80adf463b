"""Files and folders: the only door to the disk, beside LMDB's own.

A data folder looks like this (docs/storage.md has the details):

    DIR/format    "weftdb 1": the version of everything below
    DIR/lock      an flock'ed file that holds the process id of the one process that has the folder open
    DIR/log/      the commit log (LMDB)

Always true: one process at a time has the folder open, and the operating system drops the lock when that process
dies, however it dies. ``format`` is written last into a new folder, so a folder without it holds nothing yet. Nothing
is written into a folder that is not ours. What must survive is synced, and so is the folder that names it.

The lock file is never removed: a process that waits with the old file open would lock what no other can see.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ..base.errors import Corrupt, Invalid, Unavailable

FORMAT: Final = 1
"""The data folder's format version: what this program writes, and the newest that it reads."""

_FORMAT_FILE: Final = "format"
_LOCK_FILE: Final = "lock"
_NEW_SUFFIX: Final = ".new"
_OUR_FIRST_FILES: Final = {_LOCK_FILE, _FORMAT_FILE + _NEW_SUFFIX}


class DataFolder:
    """An open data folder. Holds its lock until ``close`` (or the end of the process)."""

    def __init__(self, path: Path, *, lock: int) -> None:
        self.path = path
        self._lock = lock
        _open_folders.add(self)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> DataFolder:
        """Open the folder, or create it. Parents are created, too.

        Raises Unavailable when another process has it open, when a newer program wrote it, or when the system refuses;
        Invalid when it holds other things than a database of ours; Corrupt when its format file is damaged.
        """
        folder = Path(path).absolute()
        try:
            create_folder(folder)
            _refuse_foreign(folder)
            lock = _take_lock(folder)
        except (FileExistsError, NotADirectoryError) as error:
            raise Invalid(
                f"{folder} cannot be a data folder: {error.filename} is not a folder",
                hint="Name a folder, or a path where one can be created.",
            ) from error
        except OSError as error:
            raise Unavailable(
                f"data folder {folder} cannot be opened: {error.strerror}",
                hint="Check that it can be read and written by this user.",
            ) from error
        try:
            _check_format(folder)
        except BaseException:
            os.close(lock)
            raise
        return cls(folder, lock=lock)

    @property
    def log_path(self) -> Path:
        """Where the commit log lies."""
        return self.path / "log"

    def close(self) -> None:
        """Give the folder free. Idempotent."""
        lock, self._lock = self._lock, -1
        _open_folders.discard(self)
        if lock >= 0:
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


def create_folder(path: Path) -> None:
    """Create a folder and its parents, durably. Does nothing when it exists."""
    if not path.is_dir():
        create_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Make ``content`` the file's content, atomically and durably: after a crash it is the old or the new, whole."""
    new = path.with_name(path.name + _NEW_SUFFIX)
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        sync_file(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def sync_file(descriptor: int) -> None:
    """Wait until the file's content is on the disk."""
    os.fsync(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until the folder's entries are on the disk: a new or renamed file is not durable without this."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_foreign(folder: Path) -> None:
    """Raise Invalid when the folder holds things, and no database of ours."""
    names = set(os.listdir(folder))
    if _FORMAT_FILE not in names and (foreign := names - _OUR_FIRST_FILES):
        raise Invalid(
            f"{folder} is not empty and holds no WeftDB database: it contains {min(foreign)!r}",
            hint="Name an empty folder, or one that does not exist yet.",
        )


def _take_lock(folder: Path) -> int:
    """The descriptor of the locked lock file. Raises Unavailable with the holder's process id."""
    lock = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise Unavailable(
            f"data folder {folder} is in use by process {holder}",
            hint="Connect to that process if it is a server, stop it, or use another folder.",
            sqlstate="55006",
        ) from error
    except BaseException:
        os.close(lock)
        raise
    return lock


def _check_format(folder: Path) -> None:
    """Read the format file, or write it into a new folder. The caller holds the lock."""
    path = folder / _FORMAT_FILE
    try:
        if not path.exists():
            _refuse_foreign(folder)
            replace_file(path, f"weftdb {FORMAT}\n".encode())
            return
        content = path.read_bytes()
    except OSError as error:
        raise Unavailable(
            f"data folder {folder} cannot be opened: {error.strerror}: {path}",
            hint="Check that it can be read and written by this user, and that the disk is not full.",
        ) from error
    name, _, version = content.decode(errors="replace").strip().partition(" ")
    if name != "weftdb" or not (version.isascii() and version.isdigit()) or int(version) < 1:
        raise Corrupt(f"{path} does not say a format version; it reads {content[:40]!r}")
    if int(version) > FORMAT:
        raise Unavailable(
            f"data folder {folder} has format {version}, and this program reads formats up to {FORMAT}",
            hint="Upgrade WeftDB: a newer version wrote this folder.",
        )


_open_folders: Final[weakref.WeakSet[DataFolder]] = weakref.WeakSet()


def _forget_locks_in_child() -> None:
    """A forked child shares the lock; unless it lets go, the folder stays locked after the parent's death."""
    for folder in list(_open_folders):
        folder.forget()


os.register_at_fork(after_in_child=_forget_locks_in_child)
