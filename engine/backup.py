"""Backups: a checkpoint of a running database, its files and its log's entry, copied to a folder.

    with EngineSource(engine) as source, BackupFolder.create(path) as folder:
        back_up(source, folder)

A source is an open database, embedded or behind a network (server/commands/backup.py): it makes a checkpoint, keeps
its files, and hands them out. What is in the folder already (from the backup before, or from a run that was cut short)
is not copied again: a file is known by its number, its size, and by all sections that the checkpoint names in it having
the checksums that the checkpoint says, at the destination. So not even two databases whose files have the same numbers
can be mixed up.

What is handed out was verified: a database with a damaged file has no new backup, and says which file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import numpy as np

from ..base.errors import Corrupt, Invalid, NotFound, WeftError
from ..base.limits import MIB
from ..storage.backup_folder import Backup, BackupFile, BackupFolder, digest_of
from ..storage.files import Buffer
from ..storage.overlay_section import decode_overlay
from ..storage.segment import SegmentReader
from ..storage.storage import segment_name
from .clock import wall_clock
from .database import Engine
from .maintenance import Held, files_of, installs_of
from .segment import Description

PIECE_BYTES: Final = MIB

Progress = Callable[[int, int], object]
"""Told how many bytes are there, and how many there will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a backup is made of. ``entries`` are the log's from ``position`` on; ``files`` have numbers and sizes."""

    version: int
    position: int
    committed: int
    made: int
    server: str
    database: str
    state: bytes | None
    entries: tuple[bytes, ...]
    segments: tuple[bytes, ...]
    files: tuple[tuple[int, int], ...]


class Source(Protocol):
    """A database whose files are kept while it is being copied."""

    @property
    def checkpoint(self) -> Checkpoint: ...

    def fetch(self, number: int, write: Callable[[Buffer], object]) -> str:
        """Hand out a file's bytes, in order. Returns their checksum. Raises Corrupt, or Unavailable."""
        ...

    def link(self, number: int, target: Path) -> str | None:
        """Give the file a second name, and return its checksum; None where that cannot be."""
        ...


class EngineSource:
    """An open engine as source. Close it, or use it as a context manager: its files are kept until then."""

    def __init__(self, engine: Engine, *, server: str, links: bool = False) -> None:
        """``links``: files may be linked instead of copied. Raises Invalid for a database in memory, Unavailable."""
        if engine.folder is None:
            raise Invalid(
                "a database in memory cannot be backed up",
                hint="Keep the rows in a database in a folder, weftdb.open(path): that can be backed up.",
                sqlstate="0A000",
            )
        self._engine = engine
        self._links = links
        writable = engine.storage.read_only is None
        self._held: Held | None = engine.maintenance.hold(flush=writable)
        try:
            self.checkpoint = self._checkpoint(self._held, server=server, tail=not writable)
            self._sections = _sections_of([Description.decode(value) for value in self.checkpoint.segments])
        except BaseException:
            self.close()
            raise

    def fetch(self, number: int, write: Callable[[Buffer], object]) -> str:
        data = self.verified(number)
        for start in range(0, len(data), PIECE_BYTES):
            write(data[start : start + PIECE_BYTES])
        return digest_of(data)

    def link(self, number: int, target: Path) -> str | None:
        if not self._links:
            return None
        data = self.verified(number)
        self._engine.storage.files.link(segment_name(number), target)
        return digest_of(data)

    def close(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _checkpoint(self, held: Held, *, server: str, tail: bool) -> Checkpoint:
        """``tail``: with all that the log has after the checkpoint, of a database that nobody writes to."""
        storage = self._engine.storage
        entries = [] if held.entry is None else [held.entry]
        numbers = files_of(held.descriptions)
        if tail:
            entries += storage.log.read(held.position + 1)
            for entry in entries[1:] if held.entry is not None else entries:
                numbers |= {file for work in installs_of(entry) for file in files_of((*work.rows, *work.keys))}
        return Checkpoint(
            version=entries[-1].record.version if tail and entries else held.version,
            position=entries[0].position if entries else held.position,
            committed=entries[-1].record.wall_clock if entries else 0,
            made=wall_clock(),
            server=server,
            database=storage.name,
            state=held.state,
            entries=tuple(entry.data.to_pybytes() for entry in entries),
            segments=tuple(description.encode() for description in held.descriptions),
            files=tuple((number, self._size(number)) for number in sorted(numbers)),
        )

    def _size(self, number: int) -> int:
        files, name = self._engine.storage.files, segment_name(number)
        try:
            return files.size(name)
        except NotFound as error:
            raise Corrupt(f"{files.name}/{name} is missing", hint="weft check says what that affects.") from error

    def verified(self, number: int) -> np.ndarray:
        """The file's bytes, with all checksums of the sections that are needed."""
        assert self._held is not None, "the source is open"
        files = self._engine.storage.files
        name = segment_name(number)
        data = files.map(name, size=files.size(name))
        for section in self._sections.get(number, []):
            section.check(data, name=f"{files.name}/{name}", whole=True)
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What a backup did: files and bytes that were new in the folder, and those that were there."""

    backup: Backup
    files: int
    bytes: int
    kept_files: int
    kept_bytes: int


def back_up(source: Source, folder: BackupFolder, *, progress: Progress | None = None) -> Copied:
    """Bring the source's checkpoint into the folder. Raises what the source raises, Unavailable, Corrupt."""
    checkpoint = source.checkpoint
    sections = _sections_of([Description.decode(value) for value in checkpoint.segments])
    total = sum(size for _, size in checkpoint.files)
    files: list[BackupFile] = []
    done = copied_files = copied = 0
    for number, size in checkpoint.files:
        file = _found(folder, number, size, sections.get(number, []))
        if file is None:
            file = _copy(source, folder, number)
            copied_files += 1
            copied += size
        files.append(file)
        done += size
        if progress is not None:
            progress(done, total)
    fields = {
        "version": checkpoint.version,
        "position": checkpoint.position,
        "committed": checkpoint.committed,
        "made": checkpoint.made,
        "database": checkpoint.database,
        "server": checkpoint.server,
        "segments": tuple(asdict(Description.decode(value)) for value in checkpoint.segments),
        "files": tuple(files),
        "copied": copied,
    }
    backup = folder.add(state=checkpoint.state, entries=checkpoint.entries, fields=fields)
    return Copied(
        backup=backup,
        files=copied_files,
        bytes=copied,
        kept_files=len(files) - copied_files,
        kept_bytes=total - copied,
    )


def _found(folder: BackupFolder, number: int, size: int, sections: list[_Section]) -> BackupFile | None:
    """The file, where the folder has it."""
    for name in folder.candidates(number, size=size):
        try:
            data = folder.map(name)
            for section in sections:
                section.check(data, name=name, whole=False)
        except WeftError:
            continue
        if sections:
            return folder.kept(number, name)
    return None


def _copy(source: Source, folder: BackupFolder, number: int) -> BackupFile:
    checksum = source.link(number, folder.part_path(number))
    if checksum is None:
        with folder.create_file(number) as out:
            checksum = source.fetch(number, out.write)
    return folder.settle(number, checksum=checksum)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """A section of a file that is needed. ``rows_count`` is None of a segment."""

    offset: int
    length: int
    checksum: int
    is_overlay: bool

    def check(self, data: np.ndarray, *, name: str, whole: bool) -> None:
        """Raise Corrupt unless the section is there; with ``whole`` every checksum in it is looked at."""
        where = f"{name} at {self.offset}"
        if self.offset + self.length > len(data):
            raise Corrupt(f"{where}: the file has {len(data):,} bytes, the section ends behind them")
        section = data[self.offset : self.offset + self.length]
        if self.is_overlay:
            decode_overlay(section, checksum=self.checksum, name=where)
            return
        reader = SegmentReader.open(section, name=where, checksum=self.checksum)
        if whole:
            for kind in (1, 2, 3, 4, 5):
                reader.index(kind)
            for id in reader.column_ids:
                reader.directory(id)
                for block in range(reader.blocks_count):
                    reader.verify(id, block)


def _sections_of(descriptions: list[Description]) -> dict[int, list[_Section]]:
    found: dict[int, list[_Section]] = {}
    for description in descriptions:
        for place, is_overlay in ((description.place, False), (description.overlay, True)):
            if place is not None:
                section = _Section(
                    offset=place.offset, length=place.length, checksum=place.checksum, is_overlay=is_overlay
                )
                found.setdefault(place.file, []).append(section)
    return found
