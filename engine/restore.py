"""Restore: a backup becomes a database again, at the backup's version or, with the archived log, at any later one.

    backup ──► segment files, verified ──► log and manifest ──► replay of the archive, some entries at a time ──► NEWDIR

Everything is made in ``NEWDIR.part``, which is renamed when it is complete: what a run that was cut short has left is
made anew. Before the first byte is copied, it is known that the archive has all entries that are wanted.

The archived log is replayed by opening the database on the next entries and making a checkpoint, as recovery does: in
bounded memory, however long it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa

from ..base.errors import Corrupt, Invalid, NotFound
from ..base.limits import MIB
from ..storage.archive import Archive
from ..storage.backup_folder import Backup, BackupFolder, digest_of
from ..storage.envelope import Chain, hash_of
from ..storage.files import DiskFiles
from ..storage.lmdb_log import LmdbLog
from ..storage.log import Entry
from ..storage.storage import Storage, segment_name
from .database import Engine
from .inventory import TableFacts
from .maintenance import installs_of, named_files
from .options import Options

REPLAY_BYTES: Final = 64 * MIB
"""Bytes of entries that are replayed between two checkpoints."""

KEPT_SECONDS: Final = 100 * 365 * 86_400
"""All history is kept meanwhile: entries to come may name a snapshot of a version that is replayed already."""

_PART: Final = ".part"
_MARK: Final = "weftdb-restore"

Progress = Callable[[str, int, int], object]
"""Told what is being done, how much of it is, and how much there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was made. ``replayed`` are commits of the archived log."""

    version: int
    backup: Backup
    replayed: int
    tables: list[TableFacts]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Which entries of the archive to replay, and the lowest number that none of them names."""

    position: int
    version: int
    next_number: int


def restore_backup(
    folder: BackupFolder,
    target: Path,
    *,
    version: int | None = None,
    moment: datetime | None = None,
    archive: Archive | None = None,
    progress: Progress | None = None,
) -> Restored:
    """Make the database ``target`` of a backup, as of a version, or the last one at or before a moment, or the newest.

    Raises Invalid where there is no such version or ``target`` is not empty, NotFound where the archive has gaps,
    Corrupt where the backup is damaged, Unavailable when the disk refuses.
    """
    tell = progress or (lambda what, done, total: None)
    _refuse_used(target)
    wanted = None if moment is None else _microseconds(moment)
    backup = _choose(folder, version=version, wall=wanted)
    state, entries = folder.content(backup)
    plan = _plan(backup, entries, archive, version=version, wall=wanted)
    part = target.with_name(target.name + _PART)
    _begin(part)
    with Storage.open(part) as storage:
        for file in _files(folder, backup, tell):
            with storage.files.create(segment_name(file[0])) as out:
                out.write(file[1])
        log = _log_of(storage)
        log.adopt([(backup.position + index, entry) for index, entry in enumerate(entries)])
        storage.manifest.reserve(plan.next_number)
        put = {int(fields["id"]): json.dumps(fields, separators=(",", ":")).encode() for fields in backup.segments}
        storage.manifest.commit(state=state, put=put)
    replayed = 0
    if archive is not None and plan.position > _last_position(backup):
        replayed = _replay(part, archive, first=_last_position(backup) + 1, last=plan.position, tell=tell)
    with Engine.open(part, options=Options(maintenance=False)) as engine:
        if engine.version != plan.version:
            raise Corrupt(f"{part} has version {engine.version}, and should have {plan.version}", hint=_ELSE)
        with engine.snapshot() as snapshot:
            tables = engine.table_facts(snapshot.catalog)
    _end(part, target)
    return Restored(version=plan.version, backup=backup, replayed=replayed, tables=tables)


def _choose(folder: BackupFolder, *, version: int | None, wall: int | None) -> Backup:
    """The newest backup at or before what is wanted."""
    backups, damaged = folder.backups()
    if not backups:
        if damaged:
            raise damaged[0]
        raise NotFound(f"{folder.path} holds no complete backup", hint="weft backup SOURCE FOLDER makes one.")
    fitting = [
        backup
        for backup in backups
        if (version is None or backup.version <= version) and (wall is None or backup.committed <= wall)
    ]
    if not fitting:
        oldest = backups[0]
        asked = f"version {version}" if version is not None else _text(wall or 0)
        raise Invalid(
            f"{asked} is before the oldest backup in {folder.path}: version {oldest.version}, "
            f"committed {_text(oldest.committed)}",
            hint="Choose a later one: weft backup --list shows what there is.",
            sqlstate="22023",
        )
    return fitting[-1]


def _plan(
    backup: Backup, entries: Sequence[bytes], archive: Archive | None, *, version: int | None, wall: int | None
) -> _Plan:
    """How far the archive is to be replayed. Raises Invalid where it does not get there."""
    numbers = [file.number for file in backup.files] + [int(fields["id"]) for fields in backup.segments]
    first = _last_position(backup) + 1
    for entry in _verified(backup, entries):
        numbers += _numbers_of(entry)
    position, reached, beyond = first - 1, backup.version, False
    if archive is not None and (version is None or version > reached):
        following = archive.read(first) if archive.tail >= first else iter(())
        last_hash = hash_of(entries[-1]) if entries else None
        for entry in following:
            if entry.position == first and last_hash is not None and entry.previous != last_hash:
                raise Invalid(
                    f"the archive {archive.path} holds the log of another history: it does not go on from backup "
                    f"{backup.name}",
                    hint="Name the archive of the database that the backup was made of.",
                )
            beyond = (version is not None and entry.record.version > version) or (
                wall is not None and entry.record.wall_clock > wall
            )
            if beyond:
                break
            position, reached = entry.position, entry.record.version
            numbers += _numbers_of(entry)
    if version is not None and reached != version:
        where = "there is no archive" if archive is None else f"the archive {archive.path} ends with version {reached}"
        raise Invalid(
            f"version {version} cannot be restored: the newest backup at or before it is of version {backup.version}, "
            f"and {where}",
            hint="Name the archive with --archive DIR." if archive is None else "Choose an earlier version.",
            sqlstate="22023",
        )
    return _Plan(position=position, version=reached, next_number=max(numbers, default=0) + 1)


def _verified(backup: Backup, entries: Sequence[bytes]) -> Iterator[Entry]:
    chain = Chain(name=f"backup {backup.name}")
    chain.start_before(backup.position)
    for index, data in enumerate(entries):
        yield chain.follow(_buffer(data), position=backup.position + index)


def _replay(part: Path, archive: Archive, *, first: int, last: int, tell: Progress) -> int:
    """Replay entries of the archive, some at a time, each time with a checkpoint. Returns how many."""
    some: list[Entry] = []
    size = count = 0
    for entry in archive.read(first):
        if entry.position > last:
            break
        some.append(entry)
        size += entry.data.size
        if size >= REPLAY_BYTES or entry.position == last:
            _replay_some(part, archive, some)
            count += len(some)
            tell("commits replayed", count, last - first + 1)
            some, size = [], 0
    return count


def _replay_some(part: Path, archive: Archive, entries: Sequence[Entry]) -> None:
    with Storage.open(part) as storage:
        for number in sorted({number for entry in entries for number in named_files(entry)}):
            name = segment_name(number)
            if name not in storage.files.names():
                with storage.files.create(name) as out:
                    out.write(archive.files.map(name, size=archive.files.size(name)))
        _log_of(storage).adopt([(entry.position, memoryview(entry.data)) for entry in entries])
    with Engine.open(part, options=Options(maintenance=False, history_seconds=KEPT_SECONDS)) as engine:
        engine.flush()
        while engine.maintenance.compact_once():
            pass


def _files(folder: BackupFolder, backup: Backup, tell: Progress) -> Iterator[tuple[int, memoryview]]:
    """The backup's segment files, verified."""
    total = sum(file.bytes for file in backup.files)
    done = 0
    for file in backup.files:
        try:
            data = folder.map(file.name)
        except NotFound as error:
            raise Corrupt(f"{folder.path / 'segments' / file.name} is missing", hint=_ELSE) from error
        if len(data) != file.bytes or digest_of(data) != file.checksum:
            raise Corrupt(f"{folder.path / 'segments' / file.name} is damaged", hint=_ELSE)
        yield file.number, data.data
        done += file.bytes
        tell("bytes copied", done, total)


def _last_position(backup: Backup) -> int:
    """The place in the log of the backup's last entry."""
    return backup.position + max(len(backup.entries) - 1, 0)


def _numbers_of(entry: Entry) -> list[int]:
    """Numbers that an entry names: of files and of segments."""
    ids = [item.id for work in installs_of(entry) for item in (*work.rows, *work.keys)]
    return [*ids, *named_files(entry)]


def _log_of(storage: Storage) -> LmdbLog:
    log = storage.log
    assert isinstance(log, LmdbLog), "a folder has its log in LMDB"
    return log


def _refuse_used(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Invalid(
            f"{target} exists and is not empty: a backup is restored into a new folder",
            hint="Name a folder that does not exist; nothing is ever overwritten.",
        )


def _begin(part: Path) -> None:
    """An empty folder to work in; what a run before left in it is removed, and nothing else."""
    if part.exists():
        if not (part / _MARK).exists():
            raise Invalid(
                f"{part} exists, and it is not what a restore has left", hint="Move it away, or name another folder."
            )
        shutil.rmtree(part)
    Storage.open(part).close()  # nobody takes a folder for a database that has other things in it and no format
    (part / _MARK).write_text("A database is being restored here. If nothing does that any more, remove the folder.\n")


def _end(part: Path, target: Path) -> None:
    DiskFiles(part).remove(_MARK)
    files = DiskFiles(target.parent)
    files.rename(part.name, target.name)
    files.sync()


def _buffer(data: bytes) -> pa.Buffer:
    buffer = pa.allocate_buffer(len(data))
    memoryview(buffer).cast("B")[:] = data
    return buffer


def _microseconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1_000_000)


def _text(microseconds: int) -> str:
    return f"{datetime.fromtimestamp(microseconds / 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


_ELSE: Final = "Use another backup: weft backup --list shows them, weft check FOLDER says which are sound."
