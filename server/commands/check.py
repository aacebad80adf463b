"""``weft check``: look at a server's database, a folder, or a folder of backups, and print what was found.

Exit code 0 when there are no problems, 1 when there are some, or when it could not be checked at all.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ...base.errors import Invalid, NotFound
from ...proto.weftdb.v1.admin_pb2 import CheckedTable, CheckReport
from .sizes import Line, size_text

_AMPLIFIES: Final = (
    ("flushed_bytes", "by flushes"),
    ("merged_bytes", "by merges"),
    ("moved_bytes", "by emptying files"),
)


def run(arguments: argparse.Namespace) -> int:
    if "://" not in arguments.target and _is_backup(arguments.target):
        return _check_backups(Path(arguments.target), quiet=arguments.quiet)
    report = _report(arguments.target)
    if not arguments.quiet:
        _print_report(report, arguments.target)
        _print_notes(report)
    return _print_problems(report)


def _report(target: str) -> CheckReport:
    with Line() as line:
        if "://" in target:
            from ... import connect

            with connect(target) as database:
                check = database.admin.check()
                for progress in check:
                    line.show(f"checking {progress.table}", progress.bytes_done, progress.bytes_total)
                assert check.report is not None, "a check ends with its report"
                return check.report
        from ...engine.check import check_folder
        from ..admin import report_message

        if not Path(target).expanduser().is_dir():
            raise Invalid(f"{target} is neither a URL nor a folder", hint="A server is weft://host:7401.")
        report = check_folder(
            Path(target).expanduser(),
            progress=lambda table, done, total: line.show(f"checking {table}", done, total),
        )
        return report_message(report)


def _print_report(report: CheckReport, target: str) -> None:
    print(
        f"{target}: checkpoint of version {report.version:,}, last version {report.last_version:,}, "
        f"{report.log_entries:,} entries of the log"
    )
    if report.files:
        print(f"{report.files:,} segment files, {size_text(report.files_bytes)}", end="")
        print(f", of which {size_text(report.dead_bytes)} are not needed any more" if report.dead_bytes else "")
    for table in report.tables:
        _print_table(table)
    _print_work(report)
    print()


def _print_table(table: CheckedTable) -> None:
    share = f", {table.bytes / table.plain_bytes:.0%} of the plain size" if table.plain_bytes else ""
    print(
        f"\n{table.name}: {table.rows:,} rows ({table.versions:,} row versions) in {table.segments:,} segments of "
        f"{table.cells:,} cells, at most {table.segments_most} in one; {size_text(table.bytes)}{share}"
    )
    width = max((len(column.column) for column in table.columns), default=0)
    for column in table.columns:
        each = f"{column.bytes / table.versions:10.3f} a row" if table.versions else ""
        blocks = f"{column.blocks:>7,} blocks" if column.blocks else " " * 14
        print(f"  {column.column:<{width}}  {column.encoding:<10} {blocks} {column.bytes:>15,} B {each}")


def _print_work(report: CheckReport) -> None:
    work = report.work
    rows = work.get("logged_bytes", 0)
    if not rows:
        return
    written = sum(work.get(name, 0) for name, _ in _AMPLIFIES)
    parts = [f"{size_text(work[name])} {how}" for name, how in _AMPLIFIES if work.get(name)]
    print(
        f"\nwrite amplification {1 + written / rows:.2f}: {size_text(rows)} of rows went to the log; then "
        f"{' + '.join(parts) or 'nothing'} in {work.get('flushes', 0):,} flushes and {work.get('merges', 0):,} merges"
    )


def _print_notes(report: CheckReport) -> None:
    for note in report.notes:
        print(f"NOTE     {note.where}\n         {note.what}")


def _print_problems(report: CheckReport) -> int:
    for problem in report.problems:
        print(f"PROBLEM  {problem.where}\n         {problem.what}\n         affects: {problem.affects}")
    if report.problems_count > len(report.problems):
        print(f"... and {report.problems_count - len(report.problems):,} more")
    print(f"{report.problems_count:,} problems" if report.problems_count else "no problems")
    return 1 if report.problems_count else 0


# A folder of backups.


def _is_backup(target: str) -> bool:
    from ...storage.backup_folder import BackupFolder

    try:
        BackupFolder.open(target).close()
    except NotFound:
        return False
    return True


def _check_backups(path: Path, *, quiet: bool) -> int:
    from ...storage.backup_folder import BackupFolder

    count = 0
    known: dict[str, str | None] = {}
    with BackupFolder.open(path) as folder, Line() as line:
        backups, damaged = folder.backups()
        for error in damaged:
            print(f"PROBLEM  {error.message}\n         affects: this backup; all others can be restored")
            count += 1
        for place, backup in enumerate(backups):
            line.show(f"verifying backup {backup.name}", place, len(backups))
            found = list(folder.problems(backup, known=known))
            count += len(found)
            for problem in found:
                print(f"PROBLEM  {problem}\n         affects: backup {backup.name}, version {backup.version:,}")
            if not found and not quiet:
                print(f"backup {backup.name}, version {backup.version:,}: {len(backup.files):,} files are sound")
    print(f"{count:,} problems" if count else "no problems")
    return 1 if count else 0
