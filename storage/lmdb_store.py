"""One LMDB environment: a map that grows by itself, and errors of ours.

LMDB keeps a B-tree in one file that it maps into memory; a commit writes new pages, syncs them, then switches one of
two meta pages and syncs that. So a transaction is on the disk, whole, or not at all, whatever happens. The map has a
size that must be raised by hand, and only while no transaction of this process is open: ``_Gate`` sees to that.

    write(work)   work(transaction) and commit; once more with a larger map where it was too small
    reading()     a read transaction; close it soon, since it keeps old pages from being used again
    give_back()   what no page needs any more becomes holes in the file

Measured on the development machine (ext4 on a virtual disk, LMDB 0.9.36; commits of one value, p50 in ms):

    value                 default   metasync=False   writemap   sync=False   plain file, append + fdatasync
    300 B                 0.37      0.21             0.38       0.01         0.22
    1.3 MB, in bursts     1.5       1.3              2.5        0.36         1.2
    1.3 MB, sustained     5.0       5.0              2.6 (*)    -            4.6
                                            (*) p90 25, mean 6.0

``metasync=False`` may lose the last commit, so it is no option. ``writemap`` writes through the page cache: slower on
the whole, and its stalls are long. The sustained rate is the disk's own bandwidth, 280 MB/s here: the defaults are
the fastest that is durable, and within a tenth of a plain file.

Without ``durable`` a commit is not synced: it survives the death of the process, but a crash of the system may take
the newest commits, and the file's integrity is then only as good as the file system's write order.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final, TypeVar

import lmdb

from ..base.errors import Closed, Corrupt, Unavailable
from ..base.limits import GIB, KIB
from .files import create_folder, punch, sync_folder
from .lmdb_pages import free_ranges

MAP_BYTES_FIRST: Final = GIB
"""Size of a new map: address space only, the file grows as it is used. It doubles whenever it is full."""

HOLE_BYTES_MIN: Final = 64 * KIB
"""``give_back`` leaves smaller ones as they are: the file would be in too many pieces."""

_SMALL_BYTES: Final = 256

NAP_SECONDS: Final = 0.002
"""Who writes many transactions naps between them: Python's locks are not fair, and others would wait for all of it."""

DATA_FILE: Final = "data.mdb"
_LOCK_FILE: Final = "lock.mdb"
_DAMAGE: Final = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.BadDbiError,
)

T = TypeVar("T")


class CommitInDoubt(Exception):
    """The disk failed while the commit was being made durable: only reopening can tell whether it holds."""


class LmdbStore:
    """An open environment with named databases. Threads may share it; forked children may not use it."""

    def __init__(
        self, environment: lmdb.Environment, *, path: Path, databases: tuple[str, ...], synced: bool, read_only: bool
    ) -> None:
        self.path = path
        self.synced = synced
        self._environment: lmdb.Environment | None = environment
        self._process = os.getpid()
        self._gate = _Gate()
        self._writing = threading.Lock()
        self.databases = dict[str, Any]()
        for name in databases:
            with contextlib.suppress(*((lmdb.NotFoundError, lmdb.ReadonlyError) if read_only else ())):
                self.databases[name] = environment.open_db(name.encode(), create=not read_only)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        databases: tuple[str, ...],
        durable: bool = True,
        read_only: bool = False,
        map_bytes: int = MAP_BYTES_FIRST,
    ) -> LmdbStore:
        """Open the environment in the folder ``path``, or create it. Raises Corrupt or Unavailable.

        With ``read_only`` databases that are not there are left out of ``databases``, and where LMDB's own lock file
        cannot be written, none is taken: who opens the file sees to it that nobody writes it meanwhile.
        """
        file = path / DATA_FILE
        try:
            new = not file.exists()
            if not read_only:
                create_folder(path)
            environment = lmdb.open(
                str(path),
                map_size=max(map_bytes, 0 if new else file.stat().st_size),
                max_dbs=16,
                max_readers=1_024,
                sync=durable,
                readonly=read_only,
                create=not read_only,
                lock=not read_only or os.access(path / _LOCK_FILE, os.W_OK),
            )
            try:
                _check_size(file, environment, read_only=read_only)
                store = cls(
                    environment, path=path, databases=databases, synced=durable or read_only, read_only=read_only
                )
            except BaseException:
                environment.close()
                raise
            if new:
                sync_folder(path)
        except _DAMAGE as error:
            raise Corrupt(f"{file} is damaged or was not written by WeftDB: {error}") from error
        except (lmdb.Error, OSError) as error:
            raise Unavailable(
                f"{path} cannot be opened: {error}",
                hint="Check that the folder can be read and written by this user, and that the disk is not full.",
            ) from error
        return store

    @contextlib.contextmanager
    def reading(self) -> Generator[lmdb.Transaction]:
        """A read transaction, as the last commit left things. Keep it short, and do not write inside of it."""
        try:
            transaction = self._begin_read()
            try:
                yield transaction
            finally:
                transaction.abort()
                self._gate.leave()
        except _DAMAGE as error:
            raise Corrupt(f"{self.path / DATA_FILE} is damaged: {error}") from error
        except lmdb.Error as error:
            raise Unavailable(f"{self.path / DATA_FILE} cannot be read: {error}") from error

    def write(self, work: Callable[[lmdb.Transaction], T]) -> T:
        """Run ``work`` in a write transaction and commit it. ``work`` may run again, with a larger map.

        Raises Unavailable when the disk refuses and nothing was written, and CommitInDoubt when one cannot tell.
        """
        with self._writing:
            while True:
                try:
                    self._gate.enter()
                    try:
                        return self._write_once(work)
                    finally:
                        self._gate.leave()
                except lmdb.MapFullError:
                    self._set_map_bytes(self._open_environment.info()["map_size"] * 2)
                except lmdb.MapResizedError:
                    self._set_map_bytes(0)
                except _DAMAGE as error:
                    raise Corrupt(f"{self.path / DATA_FILE} is damaged: {error}") from error
                except (lmdb.Error, OSError) as error:
                    raise Unavailable(
                        f"{self.path / DATA_FILE} cannot be written: {error}; nothing was changed",
                        hint="Check that the disk is not full and is healthy.",
                        sqlstate="58030",
                    ) from error

    def give_back(self) -> int:
        """Give pages that nothing uses back to the disk, as holes in the file. Returns their bytes.

        LMDB keeps them for what comes next, and would write it to the disk anyway; but commits are slower until the
        file system has found them new places. So this is for a database that has become quiet.

        Only pages that the next transaction might overwrite: free by the newest meta page and the one before it, while
        nobody reads. The first commit here is what makes those of the last real one so. Raises as ``write`` does.
        """
        self.write(self._touch)
        with self._writing, self._gate.alone():
            environment = self._open_environment
            if not self.synced:
                environment.sync(True)
            file = self.path / DATA_FILE
            try:
                return punch(file, free_ranges(file, bytes_min=HOLE_BYTES_MIN))
            except OSError as error:
                raise Unavailable(f"{file} cannot give room back: {error}; nothing was changed") from error

    def close(self) -> None:
        """Close the file. Idempotent. Waits for transactions of other threads."""
        with self._writing, self._gate.alone():
            environment, self._environment = self._environment, None
            if environment is not None and self._process == os.getpid():
                if not self.synced:
                    environment.sync(True)
                environment.close()

    @property
    def _open_environment(self) -> lmdb.Environment:
        if self._environment is None:
            raise Closed(f"{self.path} was closed")
        if self._process != os.getpid():
            raise Closed(
                f"{self.path} was opened by process {self._process}, and this is its fork {os.getpid()}",
                hint="Open the database after forking, and in one process only.",
            )
        return self._environment

    def _begin_read(self) -> lmdb.Transaction:
        """A read transaction inside the gate, on the map as large as another process may have made it."""
        while True:
            self._gate.enter()
            try:
                return self._open_environment.begin(buffers=True)
            except BaseException as error:
                self._gate.leave()
                if not isinstance(error, lmdb.MapResizedError):
                    raise
            self._set_map_bytes(0)

    def _write_once(self, work: Callable[[lmdb.Transaction], T]) -> T:
        environment = self._open_environment
        transaction = environment.begin(write=True, buffers=True)
        try:
            result = work(transaction)
            number = transaction.id()
        except BaseException:
            transaction.abort()
            raise
        try:
            transaction.commit()
        except lmdb.MapFullError:
            raise
        except lmdb.Error as error:
            if _may_hold(environment, number):
                raise CommitInDoubt(str(error)) from error
            raise
        return result

    def _touch(self, transaction: lmdb.Transaction) -> None:
        """Put a small value again that is there: nothing changes, and LMDB commits all the same."""
        for database in self.databases.values():
            for key, value in transaction.cursor(database):
                if len(value) <= _SMALL_BYTES:
                    transaction.put(bytes(key), bytes(value), db=database)
                    return

    def _set_map_bytes(self, size: int) -> None:
        """Set the map's size; 0 adopts the size that another process gave it."""
        with self._gate.alone():
            self._open_environment.set_mapsize(size)


def _may_hold(environment: lmdb.Environment, number: int) -> bool:
    """Whether a commit that failed may be found after a crash.

    LMDB fails a commit before the meta page is switched (then nothing changed), or at the switch: it then puts the
    old meta page back and refuses all further work, and which of the two the disk keeps is open.
    """
    try:
        with environment.begin():
            return environment.info()["last_txnid"] >= number
    except lmdb.Error:
        return True


def _check_size(file: Path, environment: lmdb.Environment, *, read_only: bool) -> None:
    """Pad a file that was cut short with zeros; refuse it where nothing may be written, or most of it is gone.

    Touching a mapped page beyond the file's end kills the process (SIGBUS). Zeros fail checksums instead, and the
    error says which entry is damaged. Allocating neither shortens nor overwrites, should another process be writing.
    """
    size = file.stat().st_size
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if size < needed:
        if read_only or needed > 2 * size:
            raise Corrupt(
                f"{file} has {size} bytes and should have {needed}: it was cut",
                hint="Restore it from a backup.",
            )
        descriptor = os.open(file, os.O_RDWR)
        try:
            os.posix_fallocate(descriptor, size, needed - size)
        finally:
            os.close(descriptor)


class _Gate:
    """Many at once, or one alone. Transactions are many; changing the map is alone.

    Whoever wants to be alone keeps newcomers out, or steady readers would make it wait for ever. So nobody may enter
    twice: no transaction is opened inside another.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._waiting = 0

    def enter(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting == 0)
            self._inside += 1

    def leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Generator[None]:
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: self._inside == 0)
                yield
            finally:
                self._waiting -= 1
                self._changed.notify_all()
