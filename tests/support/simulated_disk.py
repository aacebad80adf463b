"""A disk that crashes, fills up and flips bytes, whenever a test tells it to: the same way each time.

    disk = SimulatedDisk(crash_at=17)
    engine = Engine(storage=disk.storage(), ...)      # until step 17 raises Crash
    after = disk.after_crash(random.Random(seed))     # what the next start may find
    engine = Engine(storage=after.storage(), ...)

Everything that changes the disk is a numbered step, from 1: create, write, sync, rename, remove and folder sync of
files, lease, append and trim of the log, commit and reserve of the manifest. A crash at a step lets that step happen or
not, by seed, and raises; after it the disk is dead, and each further step raises again, whoever tries it: nothing that
clean-up code does after a crash can help it.

What a crash leaves of files (log and manifest are durable as soon as they answer, as LMDB's are):

- What was synced stays. A sync that was cut short may have happened.
- Writes since the last sync are all kept, all dropped, torn (some of the first ones, the last of these in part) or
  reordered (any of them; what is missing between them is zeros).
- Names that were made, changed or removed since the folder's last sync: all kept, all dropped, the first some, or any.

``watch`` is called before and after each step. A crash at each point of a course needs one run of it only: what the
disk is like at that moment is all that there is to a crash.

A disk is ``full`` during a range of steps: what needs room is then refused with ENOSPC. ``flip`` flips one bit of what
is on the disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from weftdb.base.errors import Corrupt, NotFound
from weftdb.storage.files import FileSystem, FileWriter, Throttle, aligned, check_size, refused
from weftdb.storage.log import Outcome
from weftdb.storage.manifest import MemoryManifest
from weftdb.storage.memory_log import Memory, MemoryLog
from weftdb.storage.record import Record
from weftdb.storage.storage import Storage

BLOCK: Final = 4096
"""Files are written in blocks of this size, each a step."""

NEEDS_ROOM: Final = {"create", "write", "sync", "lease", "append", "commit", "reserve"}

T = TypeVar("T")


class Crash(BaseException):
    """The machine stops here. No Exception, so that nobody handles it by mistake."""


@dataclass(slots=True)
class File:
    """What was synced, and the writes since then: (offset, bytes)."""

    synced: bytearray = field(default_factory=bytearray)
    writes: list[tuple[int, bytes]] = field(default_factory=list)

    def content(self) -> bytes:
        """What a reader sees while the machine runs."""
        return _written(self.synced, self.writes)

    def after_crash(self, chance: random.Random) -> File:
        kept: list[tuple[int, bytes]] = []
        match chance.choice(["kept", "dropped", "torn", "reordered"]):
            case "kept":
                kept = self.writes
            case "torn" if self.writes:
                whole = chance.randrange(len(self.writes))
                offset, data = self.writes[whole]
                kept = [*self.writes[:whole], (offset, data[: chance.randrange(len(data))])]
            case "reordered":
                kept = [write for write in self.writes if chance.random() < 0.5]
            case _:
                pass
        return File(synced=bytearray(_written(self.synced, kept)))


Names = dict[str, File]
NameChange = Callable[[Names], None]


class SimulatedDisk:
    """See the module."""

    def __init__(self, *, crash_at: int | None = None, full: range = range(0), seed: int = 0) -> None:
        self.crash_at = crash_at
        self.full = full
        self.files_full = False
        self.steps: list[str] = []
        self.dead = False
        self.watch: Callable[[], object] = lambda: None
        self.names: Names = {}
        self.names_synced: Names = {}
        self.name_changes: list[NameChange] = []
        self.log = Memory()
        self.manifest = MemoryManifest()
        self._chance = random.Random(seed)
        self._lock = threading.RLock()

    @property
    def steps_count(self) -> int:
        return len(self.steps)

    def storage(self) -> Storage:
        """The database on this disk."""
        return Storage(
            log=SimulatedLog(self),
            manifest=SimulatedManifest(self),
            files=SimulatedFiles(self),
            name="a simulated disk",
        )

    def step(self, kind: str, subject: str, effect: Callable[[], T], *, cut: Callable[[], object] | None = None) -> T:
        """Do what is one step. ``cut`` does it in part: what a crash in the middle of it may leave."""
        with self._lock:
            if self.dead:
                raise Crash
            self.steps.append(f"{kind} {subject}")
            full = len(self.steps) in self.full or (self.files_full and kind in {"create", "write"})
            if full and kind in NEEDS_ROOM:
                raise refused(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), Path(subject))
            if len(self.steps) == self.crash_at:
                happens = self._chance.choice([effect, cut or effect, None])
                if happens is not None:
                    happens()
                self.dead = True
                raise Crash
            self.watch()
            result = effect()
            self.watch()
            return result

    def after_crash(self, chance: random.Random) -> SimulatedDisk:
        """The disk as it may be when the machine starts again; this one stays as it is."""
        changes: list[NameChange] = []
        match chance.choice(["kept", "dropped", "first", "any"]):
            case "kept":
                changes = self.name_changes
            case "first":
                changes = self.name_changes[: chance.randrange(len(self.name_changes) + 1)]
            case "any":
                changes = [change for change in self.name_changes if chance.random() < 0.5]
            case _:
                pass
        names = dict(self.names_synced)
        for change in changes:
            change(names)
        files = {id(file): file.after_crash(chance) for file in names.values()}
        return self._successor({name: files[id(file)] for name, file in names.items()})

    def restarted(self) -> SimulatedDisk:
        """The disk after its process ended, in order or killed: all that was written is there, and is synced."""
        return self._successor({name: File(synced=bytearray(file.content())) for name, file in self.names.items()})

    @contextlib.contextmanager
    def only_files_full(self) -> Iterator[None]:
        """No room for files, while the log has some left in its own."""
        self.files_full = True
        try:
            yield
        finally:
            self.files_full = False

    def flip(self, name: str, at: int) -> None:
        """Flip a bit of a file."""
        file = self.names[name]
        content = bytearray(file.content())
        content[at] ^= 1
        file.synced, file.writes = content, []

    def change_names(self, change: NameChange) -> None:
        """Change names now, and on the disk at the folder's next sync."""
        change(self.names)
        self.name_changes.append(change)

    def sync_names(self) -> None:
        for change in self.name_changes:
            change(self.names_synced)
        self.name_changes = []

    def _successor(self, names: Names) -> SimulatedDisk:
        after = SimulatedDisk()
        after.names = names
        after.names_synced = dict(names)
        after.log = Memory(entries=list(self.log.entries), first=self.log.first, epoch=self.log.epoch)
        after.manifest = self.manifest.beside()
        return after


class SimulatedFiles(FileSystem):
    """The disk's one folder."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk

    @property
    def name(self) -> str:
        return "a simulated disk"

    def create(self, name: str, *, throttle: Throttle | None = None) -> FileWriter:
        if name in self._disk.names:
            raise refused(FileExistsError(errno.EEXIST, "File exists"), Path(name))
        file = File()
        change = _assignment(name, file)
        self._disk.step("create", name, lambda: self._disk.change_names(change))
        return _SimulatedWriter(self, name, disk=self._disk, file=file)

    def read_ahead(self, name: str, *, throttle: Throttle) -> None:
        """There is no page cache."""

    def map(self, name: str, *, size: int) -> np.ndarray:
        file = self._disk.names.get(name)
        if file is None:
            raise Corrupt(f"{name} is missing")
        content = file.content()
        check_size(name, len(content), size)
        return aligned([content])

    def read(self, name: str) -> bytes:
        file = self._disk.names.get(name)
        if file is None:
            raise NotFound(f"there is no file {name} on the simulated disk")
        return file.content()

    def size(self, name: str) -> int:
        return len(self.read(name))

    def names(self) -> list[str]:
        return sorted(self._disk.names)

    def rename(self, name: str, new: str) -> None:
        file = self._disk.names.get(name)
        if file is None:
            raise NotFound(f"there is no file {name} on the simulated disk")

        def change(names: Names) -> None:
            names.pop(name, None)
            names[new] = file

        self._disk.step("rename", f"{name} to {new}", lambda: self._disk.change_names(change))

    def remove(self, name: str) -> None:
        if name in self._disk.names:
            self._disk.step("remove", name, lambda: self._disk.change_names(lambda names: _forget(names, name)))

    def link(self, name: str, target: Path) -> None:
        try:
            with target.open("xb") as copy:
                copy.write(self.read(name))
        except OSError as error:
            raise refused(error, target) from error

    def sync(self) -> None:
        self._disk.step("sync", "the folder", self._disk.sync_names)


class _SimulatedWriter(FileWriter):
    """Gathers blocks; each block is a step."""

    def __init__(self, files: SimulatedFiles, name: str, *, disk: SimulatedDisk, file: File) -> None:
        super().__init__(name)
        self._files = files
        self._disk = disk
        self._file = file
        self._written = 0
        self._block = bytearray()

    def _put(self, view: memoryview) -> None:
        while view:
            count = min(len(view), BLOCK - len(self._block))
            self._block += view[:count]
            view = view[count:]
            if len(self._block) == BLOCK:
                self._write_block()

    def _write_block(self) -> None:
        write = (self._written, bytes(self._block))
        self._disk.step("write", f"{self.name} at {self._written}", lambda: self._file.writes.append(write))
        self._written += len(self._block)
        self._block = bytearray()

    def _sync(self) -> None:
        def sync() -> None:
            self._file.synced, self._file.writes = bytearray(self._file.content()), []

        if self._block:
            self._write_block()
        self._disk.step("sync", self.name, sync)

    def _sync_folder(self) -> None:
        self._files.sync()

    def _end(self) -> None:
        self._block = bytearray()

    def _remove(self) -> None:
        self._files.remove(self.name)


class SimulatedLog(MemoryLog):
    """The disk's commit log."""

    def __init__(self, disk: SimulatedDisk) -> None:
        super().__init__(disk.log)
        self._disk = disk

    def beside(self) -> SimulatedLog:
        return SimulatedLog(self._disk)

    def lease(self) -> int:
        self._check_open()
        return self._disk.step("lease", "the log", super().lease)

    def append(self, record: Record) -> Outcome:
        self._check_open()
        return self._disk.step("append", f"version {record.version}", lambda: MemoryLog.append(self, record))

    def trim(self, before: int) -> None:
        self._check_open()
        middle = (self.memory.first + before) // 2
        self._disk.step(
            "trim", f"below {before}", lambda: MemoryLog.trim(self, before), cut=lambda: MemoryLog.trim(self, middle)
        )


class SimulatedManifest(MemoryManifest):
    """The disk's manifest: what is committed is in ``disk.manifest``."""

    def __init__(self, disk: SimulatedDisk) -> None:
        super().__init__()
        self._disk = disk

    def load(self) -> tuple[bytes | None, dict[int, bytes]]:
        self._check_open()
        return self._disk.manifest.load()

    def commit(
        self, *, state: bytes | None = None, put: Mapping[int, bytes] | None = None, delete: Iterable[int] = ()
    ) -> None:
        self._check_open()
        numbers = list(delete)
        self._disk.step(
            "commit",
            f"manifest, {len(put or ())} put, {len(numbers)} deleted",
            lambda: self._disk.manifest.commit(state=state, put=put, delete=numbers),
        )

    def reserve(self, count: int) -> int:
        self._check_open()
        return self._disk.step("reserve", "numbers", lambda: self._disk.manifest.reserve(count))


def _written(synced: bytes | bytearray, writes: list[tuple[int, bytes]]) -> bytes:
    content = bytearray(synced)
    for offset, data in writes:
        content.extend(bytes(max(0, offset + len(data) - len(content))))
        content[offset : offset + len(data)] = data
    return bytes(content)


def _assignment(name: str, file: File) -> NameChange:
    def change(names: Names) -> None:
        names[name] = file

    return change


def _forget(names: Names, name: str) -> None:
    names.pop(name, None)
