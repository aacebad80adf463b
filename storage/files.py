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

Real files are written past the page cache (O_DIRECT) in steps of ``STEP_BYTES``, so that never much is on its way to
the disk: a commit of the log, which shares the disk, would wait for all of it. Measured on the development machine, as
others used it, too (ext4 on a virtual disk): durable appends of 1 MB to the log while 200 MB are written and synced.

    method                                  p50 ms   p90   p99   max    the file, seconds
    no file is written                      4.8      8.8   15    64     -
    buffered, one fdatasync at the end      7.1      13    84    117    0.5 to 1.2
    buffered, fdatasync each 4 MiB          6.1      10    17    20     0.4      (43 in another run)
    buffered, sync_file_range each 4 MiB    8.1      20    102   125    0.4
    direct, steps of 4 MiB                  9.4      13    19    23     0.16
    direct, steps of 1 MiB                  5.9      10    14    15     0.2
    direct, steps of 256 KiB                3.9      8.7   12    13     0.3
    direct, 1 MiB, 200 MB/s                 4.2      7.6   13    72     1.05

What was just written is read back into the page cache afterwards (``read_ahead``), since somebody will ask for it: not
at once, or the log's syncs would wait behind it. For the same reason a long file is synced every few megabytes.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import numpy as np
import pyarrow as pa

from ..base.errors import Corrupt, NotFound, Unavailable
from ..base.limits import KIB, MIB

STEP_BYTES: Final = 256 * KIB
"""A writer has at most about this many bytes on their way to the disk: what a commit of the log may wait for."""

SYNC_BYTES: Final = 4 * MIB
"""Where the file system cannot write past the page cache, the file is synced whenever so many bytes were written."""

DIRECT_SYNC_BYTES: Final = 8 * MIB
"""Where it can, this bounds what the disk's own cache holds when the log is synced next."""

READ_AHEAD_BYTES: Final = MIB

_DIRECT: Final = getattr(os, "O_DIRECT", 0)
_DIRECT_REFUSED: Final = (errno.EINVAL, errno.EOPNOTSUPP)
_NEW_SUFFIX: Final = ".new"
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

    def read_ahead(self, name: str, *, throttle: Throttle) -> None:
        """Bring a file into the page cache, so fast as ``throttle`` lets it. Nothing happens when there is none."""
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

    As a context: finishes the file at the end, removes it on an error. Small writes cost little: they are gathered.
    Subclasses give what is private here.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.position = 0
        self._closed = False

    def write(self, data: Buffer) -> None:
        """Append bytes. Raises Unavailable when the disk refuses; the file is then of no use: remove it."""
        assert not self._closed, f"{self.name} was closed"
        whole = data.data if isinstance(data, np.ndarray) else memoryview(data)
        if whole.nbytes:
            self.position += whole.nbytes
            self._put(whole.cast("B"))

    def pad(self, alignment: int) -> int:
        """Append zeros up to the next multiple of ``alignment``. Returns the position."""
        self.write(bytes(-self.position % alignment))
        return self.position

    def sync(self) -> None:
        """Wait until all that was written is on the disk. The file's name needs the folder's sync, too."""
        assert not self._closed, f"{self.name} was closed"
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
            self._end()

    def remove(self) -> None:
        """Close the file and remove it: what a writer does that failed half way. Idempotent."""
        self.close()
        self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.remove()
        elif not self._closed:
            try:
                self.finish()
            except BaseException:
                self.remove()
                raise

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
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise refused(error, path) from error
        return _DiskWriter(self, name, descriptor=descriptor, throttle=throttle)

    def read_ahead(self, name: str, *, throttle: Throttle) -> None:
        try:
            descriptor = os.open(self._at(name), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return  # it was removed meanwhile, or who reads it will be told
        try:
            for start in range(0, os.fstat(descriptor).st_size, READ_AHEAD_BYTES):
                throttle.take(READ_AHEAD_BYTES)
                os.posix_fadvise(descriptor, start, READ_AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)

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
                shutil.copyfileobj(source, copy, SYNC_BYTES)
                copy.flush()
                sync_file(copy.fileno())
        except OSError as error:
            raise refused(error, target) from error

    def _at(self, name: str) -> Path:
        assert "/" not in name, f"names are flat: {name}"
        return self.path / name


class _DiskWriter(FileWriter):
    """Gathers a block of ``STEP_BYTES``, aligned as O_DIRECT wants it, and writes it when it is full.

    A sync writes what the block holds so far through the page cache; the block stays, and is written again when it is
    full.
    """

    def __init__(self, files: DiskFiles, name: str, *, descriptor: int, throttle: Throttle | None) -> None:
        super().__init__(name)
        self._files = files
        self._path = files.path / name
        self._descriptor = descriptor
        self._throttle = throttle
        self._view = memoryview(mmap.mmap(-1, STEP_BYTES))
        self._start = 0  # the block's place in the file
        self._filled = 0
        self._unsynced = 0
        self._direct = False
        self._set_direct(True)

    def _put(self, view: memoryview) -> None:
        while view:
            count = min(len(view), STEP_BYTES - self._filled)
            self._view[self._filled : self._filled + count] = view[:count]
            self._filled += count
            view = view[count:]
            if self._filled == STEP_BYTES:
                self._write_block()

    def _write_block(self) -> None:
        if self._throttle is not None:
            self._throttle.take(STEP_BYTES)
        self._write(self._view)
        self._start += STEP_BYTES
        self._filled = 0
        self._unsynced += STEP_BYTES
        if self._unsynced >= (DIRECT_SYNC_BYTES if self._direct else SYNC_BYTES):
            self._sync_content()

    def _write(self, view: memoryview) -> None:
        at = self._start
        while view:
            try:
                count = os.pwrite(self._descriptor, view, at)
            except OSError as error:
                if not self._direct or error.errno not in _DIRECT_REFUSED:
                    raise refused(error, self._path) from error
                self._set_direct(False)
                continue
            at += count
            view = view[count:]

    def _sync(self) -> None:
        if self._filled:
            direct = self._direct
            self._set_direct(False)
            self._write(self._view[: self._filled])
            self._set_direct(direct)
        self._sync_content()

    def _sync_content(self) -> None:
        try:
            sync_file(self._descriptor)
        except OSError as error:
            raise refused(error, self._path) from error
        self._unsynced = 0

    def _set_direct(self, direct: bool) -> None:
        """Write past the page cache or through it. Where the file system cannot do the first, it stays the second."""
        if direct != self._direct and _DIRECT:
            flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
            try:
                fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags | _DIRECT if direct else flags & ~_DIRECT)
            except OSError as error:
                if error.errno not in _DIRECT_REFUSED:
                    raise refused(error, self._path) from error
            else:
                self._direct = direct

    def _sync_folder(self) -> None:
        self._files.sync()

    def _end(self) -> None:
        os.close(self._descriptor)
        self._view = memoryview(b"")

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

    def read_ahead(self, name: str, *, throttle: Throttle) -> None:
        """It is in memory."""

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

    @property
    def bytes_used(self) -> int:
        """Memory that the files take."""
        with self._lock:
            return sum(content.nbytes for content in self._files.values())

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


def punch(path: Path, ranges: Iterable[tuple[int, int]]) -> int:
    """Give ranges ``(offset, length)`` of a file back to the disk; they read as zeros then. Returns the bytes.

    Does nothing where the file system cannot. Nothing is synced: a crash may leave what was there.
    """
    if _fallocate is None:
        return 0
    given = 0
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        for offset, length in ranges:
            if _fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, offset, length):
                code = ctypes.get_errno()
                if code in (errno.EOPNOTSUPP, errno.ENOSYS):
                    break
                raise OSError(code, os.strerror(code))
            given += length
    finally:
        os.close(descriptor)
    return given


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
    if address is None or address == _MAP_FAILED:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    block = (ctypes.c_uint8 * size).from_address(address)
    weakref.finalize(block, _munmap, address, size).atexit = False
    array = np.frombuffer(memoryview(block), np.uint8)
    array.flags.writeable = False
    return array


def _function(name: str, result: type, *arguments: type) -> Callable[..., int | None]:
    function = getattr(_LIBC, name)
    function.restype = result
    function.argtypes = arguments
    return function


_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_PROT_READ: Final = 1
_MAP_SHARED: Final = 1
_MAP_FAILED: Final = ctypes.c_void_p(-1).value

_mmap: Final = _function(
    "mmap", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64
)
_munmap: Final = _function("munmap", ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_fallocate: Final = (
    _function("fallocate", ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if hasattr(_LIBC, "fallocate")
    else None
)
_KEEP_SIZE: Final = 1
_PUNCH_HOLE: Final = 2
_EMPTY: Final = np.frombuffer(b"", np.uint8)
