"""``weft restore``: a backup becomes a database in a new folder, at its version or a later one."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...base.errors import Invalid
from ...engine.restore import restore_backup
from ...storage.archive import Archive
from ...storage.backup_folder import BackupFolder
from .backup import moment_text
from .sizes import Line


def run(arguments: argparse.Namespace) -> int:
    archive = None
    if arguments.archive is not None:
        if not Path(arguments.archive).expanduser().is_dir():
            raise Invalid(f"the archive {arguments.archive} is no folder", hint="Name what weft serve --archive named.")
        archive = Archive(Path(arguments.archive).expanduser().absolute())
    target = Path(arguments.target).expanduser().absolute()
    with BackupFolder.open(arguments.folder) as folder, Line() as line:
        made = restore_backup(
            folder,
            target,
            version=arguments.version,
            moment=arguments.time,
            archive=archive,
            progress=line.show,
        )
    backup = made.backup
    print(f"backup {backup.name} of version {backup.version:,}, committed {moment_text(backup.committed)}, is restored")
    if made.replayed:
        print(f"{made.replayed:,} commits of the archived log were replayed")
    for facts in made.tables:
        print(f"  {facts.table.name}: {facts.rows_count:,} rows")
    print(f"{target} is at version {made.version:,}: weft serve --data {arguments.target}")
    return 0
