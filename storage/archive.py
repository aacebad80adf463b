"""The archived log: entries that a database trims off its log, kept in a folder to roll a backup forward.

    ARCHIVE/0000000000000001-0000000000001200.log     the entries at positions 1 to 1200, as they stood in the log
    ARCHIVE/0000000000000042.seg                      rows that a large transaction wrote ahead, which an entry names

What always holds:

- An entry is archived, durably, before it is trimmed: while the archive cannot be written, nothing is trimmed.
- A file has its name only when it is complete. What a crash left has another name, and is written again.
- All entries of a folder are one history without a gap. An archive that the log does not go on from is refused (that of
  a database that was restored to an earlier version and went on from there; one that was not written for a while): it
  takes a new folder.

A log file, little-endian: "WeAR", format u4, first position u8, entries u8, their lengths u8 each, the entries one
after another, xxh3_64 of all before it. Entries have checksums and a chain of their own besides (envelope.py).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import xxhash

from ..base.errors import Corrupt, Invalid, NotFound, Unavailable
from ..base.limits import MIB
from .envelope import Chain, hash_of
from .files import DiskFiles, FileSystem, create_folder, refused
from .log import CommitLog, Entry
from .storage import segment_name

FORMAT: Final = 1
FILE_BYTES: Final = 32 * MIB
"""A file is closed when it has so many bytes of entries: what is held in memory to write it."""

_HEADER: Final = struct.Struct("<4sIQQ")
_LENGTH: Final = struct.Struct("<Q")
_MAGIC: Final = b"WeAR"
_NAME: Final = re.compile(r"(\d{16})-(\d{16})\.log")
_PART: Final = ".part"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A file of the archive: entries ``first`` to ``last``."""

    name: str
    first: int
    last: int


class Archive:
    """See the module. One database writes to it; any number read."""

    def __init__(self, path: Path) -> None:
        """The folder, which exists. ``open`` makes it."""
        self.path = path
        self.files = DiskFiles(path)

    @classmethod
    def open(cls, path: str | Path) -> Archive:
        """The folder, made if it is missing. Raises Unavailable."""
        folder = Path(path).expanduser().absolute()
        try:
            create_folder(folder)
        except OSError as error:
            raise refused(error, folder) from error
        return cls(folder)

    def pieces(self) -> list[Piece]:
        """Its files, by position."""
        found: list[Piece] = []
        for name in self.files.names():
            match = _NAME.fullmatch(name)
            if match is not None:
                found.append(Piece(name=name, first=int(match[1]), last=int(match[2])))
        return found

    @property
    def tail(self) -> int:
        """The position of the last entry; 0 when there is none."""
        return max((piece.last for piece in self.pieces()), default=0)

    def check_history(self, log: CommitLog) -> None:
        """Raise Invalid unless the log goes on from what is archived."""
        tail = self.tail
        if not tail:
            return
        mine = self._last_entry()
        try:
            theirs = next(iter(log.read(tail)), None)
            same = theirs is not None and theirs.data.equals(mine)
        except NotFound:
            try:
                following = next(iter(log.read(tail + 1)))
            except NotFound as error:
                raise Invalid(
                    f"the archive {self.path} ends with entry {tail}, and what follows was trimmed without an archive",
                    hint="Name a new folder for the archive, and make a new backup, to be rolled forward from there.",
                ) from error
            same = following.previous == hash_of(memoryview(mine))
        if not same:
            raise Invalid(
                f"the archive {self.path} holds the log of another history: the log of this database does not go on "
                f"from its entry {tail}",
                hint="Give this database an archive folder of its own; what is archived stays good for the other one.",
            )

    def append(self, entries: Iterable[Entry], *, files: FileSystem, named: Callable[[Entry], Iterable[int]]) -> int:
        """Add entries, which follow one another, and the segment files that they name. Returns how many.

        Raises Unavailable when the disk refuses; what was written before stays, and can be gone on from.
        """
        count = size = 0
        some: list[Entry] = []
        for entry in entries:
            for number in named(entry):
                self._add_file(segment_name(number), files)
            some.append(entry)
            size += entry.data.size
            count += 1
            if size >= FILE_BYTES:
                self._write(some)
                some, size = [], 0
        if some:
            self._write(some)
        return count

    def read(self, from_position: int) -> Iterator[Entry]:
        """Entries from a position on, verified. Raises Corrupt, or NotFound where some are missing in between."""
        chain: Chain | None = None
        for piece in self.pieces():
            if piece.last < from_position:
                continue
            if chain is None:
                if piece.first > from_position:
                    raise self._gap(from_position, piece.first)
                chain = Chain(name=str(self.path / piece.name))
                chain.start_before(piece.first)
            elif piece.first != chain.position + 1:
                raise self._gap(chain.position + 1, piece.first)
            for position, data in self._entries(piece):
                entry = chain.follow(data, position=position)
                if position >= from_position:
                    yield entry

    def _gap(self, position: int, first: int) -> NotFound:
        return NotFound(
            f"the archive {self.path} lacks the entries of the log from {position} to {first - 1}",
            hint="Start from a newer backup: one that was made after them.",
        )

    def _write(self, entries: list[Entry]) -> None:
        first, last = entries[0].position, entries[-1].position
        name = f"{first:016}-{last:016}.log"
        lengths = b"".join(_LENGTH.pack(entry.data.size) for entry in entries)
        head = _HEADER.pack(_MAGIC, FORMAT, first, len(entries)) + lengths
        hasher = xxhash.xxh3_64(head)
        self.files.remove(name + _PART)
        with self.files.create(name + _PART) as out:
            out.write(head)
            for entry in entries:
                hasher.update(entry.data)
                out.write(entry.data)
            out.write(_LENGTH.pack(hasher.intdigest()))
        self.files.rename(name + _PART, name)
        self.files.sync()

    def _add_file(self, name: str, files: FileSystem) -> None:
        size = files.size(name)
        try:
            if self.files.size(name) == size:
                return
        except NotFound:
            pass
        self.files.remove(name + _PART)
        files.link(name, self.path / (name + _PART))
        self.files.rename(name + _PART, name)
        self.files.sync()

    def _entries(self, piece: Piece) -> Iterator[tuple[int, pa.Buffer]]:
        where = f"{self.path / piece.name}"
        data = self.files.read(piece.name)
        if len(data) < _HEADER.size + _LENGTH.size or (
            _LENGTH.unpack_from(data, len(data) - _LENGTH.size)[0]
            != xxhash.xxh3_64_intdigest(memoryview(data)[: -_LENGTH.size])
        ):
            raise Corrupt(f"{where}: it is damaged", hint="Take the file from another copy of the archive.")
        magic, format, first, count = _HEADER.unpack_from(data)
        if magic != _MAGIC or (first, first + count - 1) != (piece.first, piece.last):
            raise Corrupt(f"{where}: this is not the file that belongs here")
        if format > FORMAT:
            raise Unavailable(
                f"{where} has archive format {format}, and this program reads formats up to {FORMAT}",
                hint="Upgrade WeftDB: a newer version wrote this file.",
            )
        lengths = struct.unpack_from(f"<{count}Q", data, _HEADER.size)
        buffer = pa.py_buffer(data)
        at = _HEADER.size + _LENGTH.size * count
        for index, length in enumerate(lengths):
            yield first + index, _aligned(buffer.slice(at, length))
            at += length

    def _last_entry(self) -> pa.Buffer:
        *_, (_, data) = self._entries(max(self.pieces(), key=lambda piece: piece.last))
        return data


def _aligned(data: pa.Buffer) -> pa.Buffer:
    """The bytes in memory of their own, aligned to 64 bytes, as batches are read in place."""
    copy = pa.allocate_buffer(data.size)
    memoryview(copy).cast("B")[:] = memoryview(data).cast("B")
    return copy
