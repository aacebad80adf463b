"""``weft backup``: bring a checkpoint of a server, or of a folder that nobody has open, into a folder of backups.

The server streams, this process writes: so the folder is one of the machine where the command runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...base.errors import Corrupt, Invalid
from ...engine.backup import Checkpoint, EngineSource, Source, back_up
from ...storage.backup_folder import Backup, BackupFolder
from ...storage.files import Buffer
from .sizes import Line, size_text

if TYPE_CHECKING:
    from ...proto.weftdb.v1.admin_pb2 import BackupHeader


def run(arguments: argparse.Namespace) -> int:
    if arguments.list:
        return _list(Path(arguments.folder))
    with ExitStack() as stack:
        folder = stack.enter_context(BackupFolder.create(arguments.folder))
        source = _open_source(arguments.source, links=arguments.link, stack=stack)
        with Line() as line:
            done = back_up(source, folder, progress=lambda done, total: line.show("backing up", done, total))
        backup = done.backup
        print(
            f"version {backup.version:,} of {arguments.source}, committed {moment_text(backup.committed)}: "
            f"{len(backup.files):,} files, {size_text(backup.bytes)}"
        )
        print(
            f"{done.files:,} files, {size_text(done.bytes)} were {'linked' if arguments.link else 'copied'}; "
            f"{done.kept_files:,} files, {size_text(done.kept_bytes)} were there"
        )
        if arguments.keep is not None:
            _forget(folder, keep=arguments.keep)
        print(f"backup {backup.name} is complete in {folder.path}")
    return 0


def _open_source(source: str, *, links: bool, stack: ExitStack) -> Source:
    if "://" in source:
        from ... import connect

        if links:
            raise Invalid("a server's files cannot be linked: it streams them", hint="Leave --link out.")
        database = stack.enter_context(connect(source))
        return _RemoteSource(stack.enter_context(database.admin.backup()))
    path = Path(source).expanduser()
    if not path.is_dir():
        raise Invalid(f"{source} is neither a URL nor a folder", hint="A server is weft://host:7401.")
    from ...engine.database import Engine
    from ...engine.options import Options

    engine = stack.enter_context(Engine.open(path, options=Options(maintenance=False)))
    return stack.enter_context(EngineSource(engine, server=__version__, links=links))


class _RemoteSource:
    """A server as source."""

    def __init__(self, remote: Any) -> None:
        self._remote = remote
        header: BackupHeader = remote.header
        data: bytes = remote.data
        at = max(header.state_bytes, 0)
        state = data[:at] if header.state_bytes >= 0 else None
        entries: list[bytes] = []
        for length in header.entry_bytes:
            entries.append(data[at : at + length])
            at += length
        if at != len(data):
            raise Corrupt(f"the server sent {len(data):,} bytes of its checkpoint, and announced {at:,}")
        self.checkpoint = Checkpoint(
            version=header.version,
            position=header.position,
            committed=header.committed,
            made=header.made,
            server=header.server,
            database=header.database,
            state=state,
            entries=tuple(entries),
            segments=tuple(header.segments),
            files=tuple((file.number, file.bytes) for file in header.files),
        )

    def fetch(self, number: int, write: Callable[[Buffer], object]) -> str:
        checksum = b""
        for part in self._remote.fetch(number):
            if part.data:
                write(part.data)
            checksum = part.checksum
        return checksum.hex()

    def link(self, number: int, target: Path) -> str | None:
        return None


def _list(path: Path) -> int:
    with BackupFolder.open(path) as folder:
        backups, damaged = folder.backups()
        if backups:
            print(
                f"{'version':>12}  {'committed':<23}  {'backed up':<23}  {'files':>6} {'size':>10} {'new':>10}  backup"
            )
        for backup in backups:
            print(
                f"{backup.version:>12,}  {moment_text(backup.committed):<23}  {moment_text(backup.made):<23}  "
                f"{len(backup.files):>6,} {size_text(backup.bytes):>10} {size_text(backup.copied):>10}  {backup.name}"
            )
        for error in damaged:
            print(f"PROBLEM  {error.message}")
        leftovers = folder.leftovers()
        if leftovers:
            print(
                f"{len(leftovers):,} files, {size_text(sum(leftovers.values()))} belong to no backup: "
                "a run that did not end; the next one goes on from them"
            )
        if not backups and not damaged:
            print(f"{folder.path} holds no complete backup")
    return 1 if damaged else 0


def _forget(folder: BackupFolder, *, keep: int) -> None:
    backups, damaged = folder.backups()
    by_age: list[Backup] = sorted(backups, key=lambda backup: backup.made)
    for backup in by_age[:-keep]:
        folder.remove(backup)
        print(f"backup {backup.name} of version {backup.version:,} is forgotten")
    if not damaged:
        freed = folder.tidy()
        if freed:
            print(f"{size_text(freed)} that no backup needs are given back")


def moment_text(microseconds: int) -> str:
    """A moment to the second, UTC."""
    if not microseconds:
        return "-"
    return f"{datetime.fromtimestamp(microseconds / 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"
