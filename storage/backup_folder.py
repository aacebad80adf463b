"""A folder of backups: several versions of a database, and every file that they share once.

    BACKUP/weftdb-backup                              text: "weftdb backup 1"
    BACKUP/lock                                       flock'ed by the one process that writes
    BACKUP/backups/0000000000001234-9f3a11c2.json     one backup: its version, what it needs, and the checksums of that
    BACKUP/backups/0000000000001234-9f3a11c2.state    the checkpoint's state, then the log's entries
    BACKUP/segments/0000000000000042-8a1f….seg        a segment file: its number in the database, its checksum

What always holds:

- A backup is complete when its JSON file is there, which is written last. What a run that was cut short has copied
  stays under its final name, and the next run finds it; what it was just copying ends with ``.part``, and is copied
  again.
- A file never changes, and stays while a backup names it. Its name has the checksum of its bytes, so that two histories
  of one database (one that was restored, and went on from there) can share a folder.
- The JSON file has a checksum of itself; a backup is verified against the checksums in it, nothing else is needed.

Which of a database's files are needed is the affair of who writes here (engine/backup.py).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import xxhash

from ..base.errors import Corrupt, Invalid, NotFound, Unavailable, WeftError
from ..base.limits import MIB
from .files import DiskFiles, FileWriter, create_folder, refused, write_whole

FORMAT: Final = 1
_MARK: Final = "weftdb-backup"
_LOCK: Final = "lock"
_PART: Final = ".part"
_NAME: Final = re.compile(r"\d{16}-[0-9a-f]{8}\.json")
_FILE: Final = re.compile(r"(\d{16})-([0-9a-f]{32})\.seg")
_ELSE: Final = "Make a new backup, or use another one: weft backup --list."


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFile:
    """A segment file. ``number`` is its name in the database, ``name`` that here; ``checksum`` is xxh3_128, in hex."""

    number: int
    name: str
    bytes: int
    checksum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One backup. Moments are microseconds since 1970, UTC: when the version was committed, when the backup was made.

    ``entries`` are the lengths of the log's entries from ``position`` on; ``state_bytes`` is -1 where there is none.
    ``checksum`` is that of the file with the state and the entries. ``copied`` were bytes that were new here.
    """

    version: int
    position: int
    committed: int
    made: int
    database: str
    server: str
    lineage: str
    state_bytes: int
    entries: tuple[int, ...]
    checksum: str
    segments: tuple[dict[str, Any], ...]
    files: tuple[BackupFile, ...]
    copied: int

    @property
    def name(self) -> str:
        return f"{self.version:016}-{self.lineage}"

    @property
    def bytes(self) -> int:
        """Bytes of all that it needs."""
        return sum(file.bytes for file in self.files) + max(self.state_bytes, 0) + sum(self.entries)


class BackupFolder:
    """See the module. Made by ``create`` (to write, alone) or ``open`` (to read)."""

    def __init__(self, path: Path, *, lock: int) -> None:
        self.path = path
        self._lock = lock
        self._records = DiskFiles(path / "backups")
        self._segments = DiskFiles(path / "segments")

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> BackupFolder:
        """The folder to write backups to, made if it is missing.

        Raises Invalid where it holds other things, Unavailable when another process is writing to it.
        """
        folder = Path(path).expanduser().absolute()
        try:
            create_folder(folder)
            names = set(os.listdir(folder))
            if _MARK not in names and names - {_LOCK, _MARK + ".new"}:
                raise Invalid(
                    f"{folder} is not empty and holds no backups of WeftDB: it contains {min(names)!r}",
                    hint="Name an empty folder, or one that does not exist yet.",
                )
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _MARK not in names:
                    write_whole(DiskFiles(folder), _MARK, f"weftdb backup {FORMAT}\n".encode())
                _check_mark(folder)
                create_folder(folder / "backups")
                create_folder(folder / "segments")
            except BaseException:
                os.close(lock)
                raise
        except BlockingIOError as error:
            raise Unavailable(
                f"a backup to {folder} is under way in another process", hint="Wait for it to end.", sqlstate="55006"
            ) from error
        except NotADirectoryError as error:
            raise Invalid(f"{folder} is no folder", hint="Name a folder, or a path where one can be made.") from error
        except OSError as error:
            raise refused(error, folder) from error
        return cls(folder, lock=lock)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> BackupFolder:
        """A folder with backups, to read. Raises NotFound where there are none."""
        folder = Path(path).expanduser().absolute()
        _check_mark(folder)
        return cls(folder, lock=-1)

    def close(self) -> None:
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What there is.

    def backups(self) -> tuple[list[Backup], list[Corrupt]]:
        """The backups, oldest version first, and what is wrong with those that cannot be read."""
        found: list[Backup] = []
        damaged: list[Corrupt] = []
        for name in self._records.names():
            if _NAME.fullmatch(name):
                try:
                    found.append(self._read(name))
                except Corrupt as error:
                    damaged.append(error)
        return sorted(found, key=lambda backup: (backup.version, backup.made)), damaged

    def leftovers(self) -> dict[str, int]:
        """Files that no backup names, with their sizes: what a run that did not end has copied. Damaged ones count."""
        backups, damaged = self.backups()
        if damaged:
            return {}
        named = {file.name for backup in backups for file in backup.files}
        return {name: self._segments.size(name) for name in self._segments.names() if name not in named}

    def candidates(self, number: int, *, size: int) -> list[str]:
        """The names of files that may be the database's file ``number``."""
        prefix = f"{number:016}-"
        names = [name for name in self._segments.names() if name.startswith(prefix) and _FILE.fullmatch(name)]
        return [name for name in names if self._segments.size(name) == size]

    def map(self, name: str) -> np.ndarray:
        """A segment file's bytes. Raises Corrupt or NotFound."""
        return self._segments.map(name, size=self._segments.size(name))

    def content(self, backup: Backup) -> tuple[bytes | None, list[bytes]]:
        """The state and the log's entries of a backup. Raises Corrupt."""
        where = f"{self._records.name}/{backup.name}.state"
        try:
            data = self._records.read(backup.name + ".state")
        except NotFound as error:
            raise Corrupt(f"{where} is missing", hint=_ELSE) from error
        if xxhash.xxh3_128_hexdigest(data) != backup.checksum:
            raise Corrupt(f"{where} is damaged", hint=_ELSE)
        at = max(backup.state_bytes, 0)
        state = data[:at] if backup.state_bytes >= 0 else None
        entries: list[bytes] = []
        for length in backup.entries:
            entries.append(data[at : at + length])
            at += length
        return state, entries

    def problems(self, backup: Backup, *, known: dict[str, str | None] | None = None) -> Iterator[str]:
        """What is damaged of a backup. ``known`` are names with what was found of them: files that backups share."""
        known = {} if known is None else known
        try:
            self.content(backup)
        except Corrupt as error:
            yield error.message
        for file in backup.files:
            if file.name not in known:
                known[file.name] = self._problem(file)
            if (problem := known[file.name]) is not None:
                yield problem

    # Writing.

    def create_file(self, number: int) -> FileWriter:
        """Begin to copy a file: it is finished by ``settle``."""
        self._segments.remove(f"{number:016}{_PART}")
        return self._segments.create(f"{number:016}{_PART}")

    def part_path(self, number: int) -> Path:
        """Where ``create_file`` would write, for who links the file instead; nothing is there."""
        self._segments.remove(f"{number:016}{_PART}")
        return self._segments.path / f"{number:016}{_PART}"

    def settle(self, number: int, *, checksum: str) -> BackupFile:
        """Read the copy back and give it its name. Raises Corrupt where it is not what was to be copied."""
        part = f"{number:016}{_PART}"
        size = self._segments.size(part)
        found = _digest(self._segments.map(part, size=size))
        if found != checksum:
            self._segments.remove(part)
            raise Corrupt(
                f"{self._segments.name}/{part} has checksum {found} and should have {checksum}: the copy is damaged",
                hint="Check the disk of the backup; then run the backup again.",
            )
        name = f"{number:016}-{checksum}.seg"
        self._segments.rename(part, name)
        self._segments.sync()
        return BackupFile(number=number, name=name, bytes=size, checksum=checksum)

    def kept(self, number: int, name: str) -> BackupFile:
        """A file that is here already."""
        match = _FILE.fullmatch(name)
        assert match is not None, name
        return BackupFile(number=number, name=name, bytes=self._segments.size(name), checksum=match[2])

    def add(self, *, state: bytes | None, entries: Sequence[bytes], fields: Mapping[str, Any]) -> Backup:
        """Complete a backup whose files are here. ``fields``: those of ``Backup`` that do not follow from the rest."""
        data = (state or b"") + b"".join(entries)
        backup = Backup(
            **fields,
            lineage=lineage_of(entries),
            state_bytes=-1 if state is None else len(state),
            entries=tuple(map(len, entries)),
            checksum=xxhash.xxh3_128_hexdigest(data),
        )
        write_whole(self._records, backup.name + ".state", data)
        record = {"format": FORMAT, **asdict(backup)}
        record["self"] = _own_checksum(record)
        write_whole(self._records, backup.name + ".json", (json.dumps(record, indent=1) + "\n").encode())
        return backup

    def remove(self, backup: Backup) -> None:
        """Forget a backup; ``tidy`` then removes the files that no other one names."""
        self._records.remove(backup.name + ".json")
        self._records.sync()
        self._records.remove(backup.name + ".state")

    def tidy(self) -> int:
        """Remove files that no backup names. Returns their bytes. Nothing where a backup cannot be read."""
        leftovers = self.leftovers()
        for name in leftovers:
            self._segments.remove(name)
        return sum(leftovers.values())

    def _problem(self, file: BackupFile) -> str | None:
        where = f"{self._segments.name}/{file.name}"
        try:
            size = self._segments.size(file.name)
            if size != file.bytes:
                return f"{where} has {size:,} bytes and should have {file.bytes:,}"
            return None if _digest(self.map(file.name)) == file.checksum else f"{where} is damaged"
        except NotFound:
            return f"{where} is missing"
        except WeftError as error:
            return error.message

    def _read(self, name: str) -> Backup:
        where = f"{self._records.name}/{name}"
        try:
            record = json.loads(self._records.read(name))
            own = record.pop("self")
            if own != _own_checksum(record):
                raise ValueError("its checksum is wrong")
            if record.pop("format") > FORMAT:
                raise Unavailable(f"{where} was made by a newer version", hint="Upgrade WeftDB.")
            record["files"] = tuple(BackupFile(**file) for file in record["files"])
            record["segments"], record["entries"] = tuple(record["segments"]), tuple(record["entries"])
            return Backup(**record)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Corrupt(f"{where} is damaged: {error}", hint=_ELSE) from error


def lineage_of(entries: Sequence[bytes]) -> str:
    """What tells histories of one database apart: the hash of the log's entry at the version, which has all before."""
    return f"{xxhash.xxh3_64_intdigest(entries[-1]) >> 32:08x}" if entries else "0" * 8


def digest_of(data: np.ndarray) -> str:
    """The checksum of a file's bytes, as names have it."""
    return _digest(data)


def _digest(data: np.ndarray) -> str:
    hasher = xxhash.xxh3_128()
    for start in range(0, len(data), MIB):
        hasher.update(data[start : start + MIB].data)
    return hasher.hexdigest()


def _own_checksum(record: Mapping[str, Any]) -> str:
    return xxhash.xxh3_64_hexdigest(json.dumps(record, sort_keys=True).encode())


def _check_mark(folder: Path) -> None:
    try:
        text = (folder / _MARK).read_text(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(
            f"{folder} holds no backups", hint="Check the path; weft backup SOURCE FOLDER makes one."
        ) from None
    except OSError as error:
        raise Unavailable(f"{folder} cannot be read: {error.strerror}") from error
    name, _, version = text.strip().rpartition(" ")
    if name != "weftdb backup" or not version.isdigit():
        raise Corrupt(f"{folder / _MARK} is damaged: it reads {text[:40]!r}")
    if int(version) > FORMAT:
        raise Unavailable(f"{folder} has backups of format {version}", hint="Upgrade WeftDB: a newer one made them.")
