"""Files: the only door to the disk, beside LMDB's own.

    files.create(name) -> FileWriter    write, pad, sync; as a context it finishes the file, or removes it on an error
    files.map(name, size=n)             the bytes of a finished file as a read-only array
    files.read, size, names, rename, remove, link, sync

A ``FileSystem`` is one flat folder. ``DiskFiles`` is a real one, ``MemoryFiles`` that of a database in memory, and
tests/support/simulated_disk.py has one that crashes, fills up and flips bytes; one conformance suite runs over all.

Always true:

- A file's bytes are durable after its ``sync``, its name after the folder's ``sync``. Neither is before, and the order
  in which unsynced writes and names reach the disk is open. ``finish`` and leaving the context do both.
- A file is written once, by one writer, and never changed. Who reads it may have it removed meanwhile.
- What the system refuses is Unavailable (nothing was changed that anybody has a right to see); a file that is missing
  or has another size than it had when it was finished is Corrupt. The size is checked before a file is mapped: touching
  a mapped page beyond the end of a file kills the process (SIGBUS).

Writers sync as they write, in steps of ``SYNC_STEP``, and may be throttled. One sync of a large file at its end would
make the commit log, which shares the disk, wait for all of it. Measured on the development machine (ext4 on a virtual
disk): see docs/storage.md.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import numpy as np
import pyarrow as pa

from ..base.errors import Corrupt, NotFound, Unavailable
from ..base.limits import MIB

SYNC_STEP: Final = 4 * MIB
"""A writer has at most about this many bytes on their way to the disk: what an append of the log may wait for."""

BUFFER_BYTES: Final = 1 * MIB
"""Smaller writes are gathered until there are so many bytes: a system call costs as much as copying 10 KB."""

_NEW_SUFFIX: Final = ".new"
_ZEROS: Final = bytes(4096)
_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Buffer = bytes | bytearray | memoryview | np.ndarray | pa.Buffer
"""What a writer takes: anything with contiguous bytes."""


class FileSystem(Protocol):
    """One flat folder of files. Thread-safe."""

    @property
    def name(self) -> str:
        """What messages call it: the folder's path."""
        ...

    def create(self, name: str, *, throttle: Throttle | None = None) -> FileWriter:
        """Begin a new file. It is seen under its name at once, and stays only if it is synced, and the folder too."""
        ...

    def map(self, name: str, *, size: int) -> np.ndarray:
        """All bytes of a finished file: uint8[size], read-only, aligned to 64 bytes at least.

        The array stays valid when the file is removed. Raises Corrupt when there is no file, or not of this size.
        """
        ...

    def read(self, name: str) -> bytes:
        """All bytes of a file, copied. Raises NotFound."""
        ...

    def size(self, name: str) -> int:
        """Bytes of a file. Raises NotFound."""
        ...

    def names(self) -> list[str]:
        """The names of all files, sorted."""
        ...

    def rename(self, name: str, new: str) -> None:
        """Give a file another name, atomically; a file of that name is replaced. Durable after ``sync``."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file. Nothing happens when there is none. Durable after ``sync``."""
        ...

    def link(self, name: str, target: Path) -> None:
        """Give a finished file a second name outside, as a hard link where the system can, else as a synced copy."""
        ...

    def sync(self) -> None:
        """Wait until the folder's entries are on the disk: new, renamed and removed names."""
        ...


class Throttle:
    """A rate that writers share, in bytes per second; None is unlimited. Thread-safe, and may be changed at any time.

    Short bursts pass: what was not used within the last tenth of a second is lost.
    """

    BURST_SECONDS: Final = 0.1

    def __init__(self, rate: float | None = None) -> None:
        self._changed = threading.Condition()
        self._rate = rate
        self._free_at = time.monotonic()  # when the bytes taken so far have had their time

    @property
    def rate(self) -> float | None:
        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        """Set the rate; who waits goes on at once, at the new rate."""
        with self._changed:
            self._rate = rate
            self._free_at = time.monotonic()
            self._changed.notify_all()

    def take(self, count: int) -> None:
        """Wait until ``count`` more bytes may be written."""
        with self._changed:
            rate = self._rate
            if not rate:
                return
            now = time.monotonic()
            self._free_at = max(self._free_at, now - self.BURST_SECONDS) + count / rate
            until = self._free_at
            while self._rate == rate and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)


class FileWriter:
    """A file under construction: appends only, in one thread. ``position`` is where the next byte goes.

    As a context: finishes the file at the end, removes it on an error. Subclasses give ``_put``, ``_sync``, ``_end``
    and ``_remove``.
    """

    def __init__(self, name: str, *, throttle: Throttle | None = None) -> None:
        self.name = name
        self.position = 0
        self._throttle = throttle
        self._buffer = bytearray()
        self._closed = False

    def write(self, data: Buffer) -> None:
        """Append bytes. Raises Unavailable when the disk refuses; the file is then of no use: remove it."""
        assert not self._closed, f"{self.name} was closed"
        whole = data.data if isinstance(data, np.ndarray) else memoryview(data)
        if not whole.nbytes:
            return
        view = whole.cast("B")
        self.position += len(view)
        if len(view) < BUFFER_BYTES:
            self._buffer += view
            if len(self._buffer) < BUFFER_BYTES:
                return
            self.flush()
        else:
            self.flush()
            self._put_paced(view)

    def pad(self, alignment: int) -> int:
        """Append zeros up to the next multiple of ``alignment``. Returns the position."""
        count = -self.position % alignment
        while count:
            step = min(count, len(_ZEROS))
            self.write(memoryview(_ZEROS)[:step])
            count -= step
        return self.position

    def flush(self) -> None:
        """Hand what is gathered to the system."""
        if self._buffer:
            data, self._buffer = self._buffer, bytearray()
            self._put_paced(memoryview(data))

    def sync(self) -> None:
        """Wait until all that was written is on the disk. The file's name needs the folder's sync, too."""
        assert not self._closed, f"{self.name} was closed"
        self.flush()
        self._sync()

    def finish(self) -> None:
        """Make the file durable, its name too, and close it."""
        self.sync()
        self.close()
        self._sync_folder()

    def close(self) -> None:
        """Let go of the file, without sync. Idempotent."""
        if not self._closed:
            self._closed = True
            self._buffer = bytearray()
            self._end()

    def remove(self) -> None:
        """Close the file and remove it: what a writer does that failed half way."""
        self.close()
        self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and not self._closed:
            try:
                self.finish()
            except BaseException:
                self.remove()
                raise
        elif error is not None:
            self.remove()

    def _put_paced(self, view: memoryview) -> None:
        """Put in steps, so that a large piece is paced and synced as many small ones are."""
        for start in range(0, len(view), SYNC_STEP):
            step = view[start : start + SYNC_STEP]
            if self._throttle is not None:
                self._throttle.take(len(step))
            self._put(step)

    def _put(self, view: memoryview) -> None:
        raise NotImplementedError

    def _sync(self) -> None:
        raise NotImplementedError

    def _sync_folder(self) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError

    def _remove(self) -> None:
        raise NotImplementedError


# Real files.


class DiskFiles(FileSystem):
    """The files of the folder ``path``, which exists."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return str(self.path)

    def create(self, name: str, *, throttle: Throttle | None = None) -> FileWriter:
        path = self._at(name)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise refused(error, path) from error
        return _DiskWriter(self, name, descriptor=descriptor, throttle=throttle)

    def map(self, name: str, *, size: int) -> np.ndarray:
        path = self._at(name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise _missing(path) from error
        except OSError as error:
            raise _unreadable(error, path) from error
        try:
            check_size(str(path), os.fstat(descriptor).st_size, size)
            return _map(descriptor, size)
        except OSError as error:
            raise _unreadable(error, path) from error
        finally:
            os.close(descriptor)

    def read(self, name: str) -> bytes:
        try:
            return self._at(name).read_bytes()
        except OSError as error:
            raise _unreadable(error, self._at(name)) from error

    def size(self, name: str) -> int:
        try:
            return self._at(name).stat().st_size
        except OSError as error:
            raise _unreadable(error, self._at(name)) from error

    def names(self) -> list[str]:
        try:
            with os.scandir(self.path) as entries:
                return sorted(entry.name for entry in entries if entry.is_file())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(error, self.path) from error

    def rename(self, name: str, new: str) -> None:
        try:
            os.replace(self._at(name), self._at(new))
        except OSError as error:
            raise refused(error, self._at(new)) from error

    def remove(self, name: str) -> None:
        try:
            os.unlink(self._at(name))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise refused(error, self._at(name)) from error

    def link(self, name: str, target: Path) -> None:
        try:
            os.link(self._at(name), target)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
                raise refused(error, target) from error
            self._copy(name, target)

    def sync(self) -> None:
        try:
            sync_folder(self.path)
        except OSError as error:
            raise refused(error, self.path) from error

    def _copy(self, name: str, target: Path) -> None:
        try:
            with self._at(name).open("rb") as source, target.open("xb") as copy:
                shutil.copyfileobj(source, copy, SYNC_STEP)
                copy.flush()
                sync_file(copy.fileno())
        except OSError as error:
            raise refused(error, target) from error

    def _at(self, name: str) -> Path:
        assert "/" not in name, f"names are flat: {name}"
        return self.path / name


class _DiskWriter(FileWriter):
    """Writes, and starts the sync of each step; it waits for the step before, so that few bytes are on their way."""

    def __init__(self, files: DiskFiles, name: str, *, descriptor: int, throttle: Throttle | None) -> None:
        super().__init__(name, throttle=throttle)
        self._files = files
        self._path = files.path / name
        self._descriptor = descriptor
        self._written = 0
        self._started = 0  # bytes whose way to the disk was started
        self._waited = 0  # bytes that have arrived

    def _put(self, view: memoryview) -> None:
        try:
            while view:
                count = os.write(self._descriptor, view)
                self._written += count
                view = view[count:]
            if self._written - self._started >= SYNC_STEP:
                self._step()
        except OSError as error:
            raise refused(error, self._path) from error

    def _step(self) -> None:
        if self._started > self._waited:
            sync_range(self._descriptor, self._waited, self._started - self._waited, wait=True)
            self._waited = self._started
        sync_range(self._descriptor, self._started, self._written - self._started, wait=False)
        self._started = self._written

    def _sync(self) -> None:
        try:
            if self._written > self._waited:
                sync_range(self._descriptor, self._waited, self._written - self._waited, wait=True)
                self._started = self._waited = self._written
            sync_file(self._descriptor)
        except OSError as error:
            raise refused(error, self._path) from error

    def _sync_folder(self) -> None:
        self._files.sync()

    def _end(self) -> None:
        os.close(self._descriptor)

    def _remove(self) -> None:
        self._files.remove(self.name)


# Files in memory.


class MemoryFiles(FileSystem):
    """Files that live as long as this object, or the arrays that map them."""

    def __init__(self) -> None:
        self._files: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return "memory"

    def create(self, name: str, *, throttle: Throttle | None = None) -> FileWriter:
        with self._lock:
            if name in self._files:
                raise refused(FileExistsError(errno.EEXIST, "File exists"), Path(name))
            self._files[name] = _EMPTY
        return _MemoryWriter(self, name)

    def map(self, name: str, *, size: int) -> np.ndarray:
        with self._lock:
            content = self._files.get(name)
        if content is None:
            raise _missing(Path(name))
        check_size(name, len(content), size)
        return content

    def read(self, name: str) -> bytes:
        return self._content(name).tobytes()

    def size(self, name: str) -> int:
        return len(self._content(name))

    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._files)

    def rename(self, name: str, new: str) -> None:
        content = self._content(name)
        with self._lock:
            self._files[new] = content
            del self._files[name]

    def remove(self, name: str) -> None:
        with self._lock:
            self._files.pop(name, None)

    def link(self, name: str, target: Path) -> None:
        try:
            with target.open("xb") as copy:
                copy.write(self._content(name).data)
                copy.flush()
                sync_file(copy.fileno())
        except OSError as error:
            raise refused(error, target) from error

    def sync(self) -> None:
        """Nothing is durable, and nothing needs to be."""

    def place(self, name: str, content: np.ndarray) -> None:
        """Give the file its content."""
        with self._lock:
            self._files[name] = content

    def _content(self, name: str) -> np.ndarray:
        with self._lock:
            content = self._files.get(name)
        if content is None:
            raise NotFound(f"there is no file {name} in memory")
        return content


class _MemoryWriter(FileWriter):
    """Gathers pieces and joins them, aligned, when the file is synced or closed."""

    def __init__(self, files: MemoryFiles, name: str) -> None:
        super().__init__(name)
        self._files = files
        self._pieces: list[bytes | memoryview] = []

    def _put(self, view: memoryview) -> None:
        self._pieces.append(bytes(view))

    def _sync(self) -> None:
        content = aligned(self._pieces)
        self._pieces = [content.data]
        self._files.place(self.name, content)

    def _sync_folder(self) -> None:
        pass

    def _end(self) -> None:
        self._pieces = []

    def _remove(self) -> None:
        self._files.remove(self.name)


# Pieces that all of these, and the data folder, are made of.


def write_whole(files: FileSystem, name: str, content: bytes) -> None:
    """Make ``content`` the file's content, atomically and durably: after a crash it is the old or the new, whole."""
    new = name + _NEW_SUFFIX
    files.remove(new)
    with files.create(new) as out:
        out.write(content)
    files.rename(new, name)
    files.sync()


def create_folder(path: Path) -> None:
    """Create a folder and its parents, durably. Does nothing when it exists."""
    if not path.is_dir():
        create_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_file(descriptor: int) -> None:
    """Wait until the file's content is on the disk, and its size."""
    os.fdatasync(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until the folder's entries are on the disk: a new or renamed file is not durable without this."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_range(descriptor: int, start: int, count: int, *, wait: bool) -> None:
    """Start the way of these bytes to the disk; with ``wait`` until they are there. It makes nothing durable.

    Neither the file's size nor the disk's own cache are synced by this: ``sync_file`` does that, and has little left.
    """
    if _sync_file_range is None:
        if wait:
            sync_file(descriptor)
        return
    flags = _RANGE_WRITE | (_RANGE_WAIT_BEFORE | _RANGE_WAIT_AFTER if wait else 0)
    if _sync_file_range(descriptor, start, count, flags) != 0:
        code = ctypes.get_errno()
        if code not in (errno.ENOSYS, errno.ESPIPE, errno.EINVAL):
            raise OSError(code, os.strerror(code))


def aligned(pieces: Sequence[bytes | memoryview]) -> np.ndarray:
    """The pieces in one read-only array, aligned to 64 bytes."""
    content = np.frombuffer(pa.allocate_buffer(sum(len(piece) for piece in pieces)), np.uint8)
    content.flags.writeable = True
    at = 0
    for piece in pieces:
        content[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        at += len(piece)
    content.flags.writeable = False
    return content


def check_size(path: str, found: int, expected: int) -> None:
    """Raise Corrupt unless the file has the size that it was finished with."""
    if found != expected:
        raise Corrupt(
            f"{path} has {found} bytes and should have {expected}: it was {'cut' if found < expected else 'added to'}",
            hint="Restore the file from a backup.",
        )


def refused(error: OSError, path: Path) -> Unavailable:
    """What to raise when the system refuses to write."""
    full = error.errno in _DISK_FULL
    return Unavailable(
        f"{path} cannot be written: {error.strerror or error}; nothing was changed",
        hint="Make room on the disk." if full else "Check that the folder can be written by this user.",
        sqlstate="53100" if full else "58030",
    )


def refuse_writing(reason: str) -> Unavailable:
    """What to raise where something is to be written into a database that was opened to read only, for a reason."""
    return Unavailable(
        f"the database cannot be written: {reason}",
        hint="Reading works. Open it to write, on a file system that can be written.",
        sqlstate="25006",
    )


def _unreadable(error: OSError, path: Path) -> NotFound | Unavailable:
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{path} does not exist")
    return Unavailable(
        f"{path} cannot be read: {error.strerror or error}",
        hint="Check that it can be read by this user, and the disk's health.",
        sqlstate="58030",
    )


def _missing(path: Path) -> Corrupt:
    return Corrupt(f"{path} is missing", hint="Restore the file from a backup.")


def _map(descriptor: int, size: int) -> np.ndarray:
    """Map a file to be read. Unlike Python's mmap this keeps no descriptor, of which there are few."""
    if size == 0:
        return _EMPTY
    address = _mmap(None, size, _PROT_READ, _MAP_SHARED, descriptor, 0)
    if address == _MAP_FAILED:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    block = (ctypes.c_uint8 * size).from_address(address)
    weakref.finalize(block, _munmap, address, size).atexit = False
    array = np.frombuffer(memoryview(block), np.uint8)
    array.flags.writeable = False
    return array


def _function(name: str, result: type | None, *arguments: type) -> Callable[..., int] | None:
    function = getattr(_LIBC, name, None)
    if function is not None:
        function.restype = result
        function.argtypes = arguments
    return function


def _required(function: Callable[..., int] | None) -> Callable[..., int]:
    assert function is not None, "every system that we run on has it"
    return function


_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_PROT_READ: Final = 1
_MAP_SHARED: Final = 1
_MAP_FAILED: Final = ctypes.c_void_p(-1).value
_RANGE_WAIT_BEFORE: Final = 1
_RANGE_WRITE: Final = 2
_RANGE_WAIT_AFTER: Final = 4

_mmap: Final = _required(
    _function(
        "mmap",
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int64,
    )
)
_munmap: Final = _required(_function("munmap", ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t))
_sync_file_range: Final = _function(
    "sync_file_range", ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint
)
_EMPTY: Final = np.frombuffer(b"", np.uint8)
