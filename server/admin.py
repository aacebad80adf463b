"""The administrator's service: check and backup of the database that is served, streamed to the caller."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from ..base.errors import Invalid, WeftError
from ..base.limits import CHUNK_BYTES
from ..engine.backup import EngineSource
from ..engine.check import Report, check_engine
from ..engine.database import Engine
from ..proto.weftdb.v1.admin_pb2 import (
    BackupFile,
    BackupHeader,
    BackupPart,
    BackupRequest,
    CheckedColumn,
    CheckedTable,
    CheckNote,
    CheckPart,
    CheckProblem,
    CheckProgress,
    CheckReport,
    CheckRequest,
)
from ..storage.backup_folder import digest_of
from .gate import Call

_PROGRESS_MAX = 64
"""Progress that nobody has fetched yet; more is dropped."""


class AdminService:
    """Methods of ``weftdb.v1.Admin``."""

    def __init__(self, engine: Engine, *, release: str) -> None:
        self._engine = engine
        self._release = release
        self._checking = threading.Lock()

    def check(self, request: CheckRequest, call: Call) -> Iterator[bytes]:
        """One check at a time: it reads all that there is."""
        progress: queue.SimpleQueue[CheckProgress | Report | WeftError | None] = queue.SimpleQueue()
        ended = threading.Event()

        def tell(table: str, done: int, total: int) -> None:
            if ended.is_set():
                raise _Ended
            if progress.qsize() < _PROGRESS_MAX:
                progress.put(CheckProgress(table=table, bytes_done=done, bytes_total=total))

        def run() -> None:
            try:
                progress.put(check_engine(self._engine, progress=tell))
            except WeftError as error:
                progress.put(error)
            except _Ended:
                pass
            except BaseException:
                progress.put(None)
                raise

        with self._checking:
            thread = threading.Thread(target=run, name="weftdb-check", daemon=True)
            thread.start()
            try:
                while isinstance(found := progress.get(), CheckProgress):
                    yield CheckPart(progress=found).SerializeToString()
                if isinstance(found, WeftError):
                    raise found
                assert found is not None, "the check ended by a bug, which the log shows"
                yield CheckPart(report=report_message(found)).SerializeToString()
            finally:
                ended.set()
                thread.join()

    def backup(self, requests: Iterator[BackupRequest], call: Call) -> Iterator[bytes]:
        first = next(requests, None)
        if first is None or first.file:
            raise Invalid("a backup begins with an empty request, which is answered with the checkpoint")
        with EngineSource(self._engine, server=self._release) as source:
            yield from _checkpoint_parts(source)
            for request in requests:
                yield from _file_parts(source, request.file)


class _Ended(Exception):
    """Nobody waits for the answer any more."""


def report_message(report: Report) -> CheckReport:
    """A report as it travels; ``server/commands/check.py`` prints it."""
    return CheckReport(
        name=report.name,
        version=report.version,
        last_version=report.last_version,
        log_entries=report.log_entries,
        files=report.files_count,
        files_bytes=report.files_bytes,
        dead_bytes=report.dead_bytes,
        problems_count=report.problems_count,
        problems=[
            CheckProblem(where=problem.where, what=problem.what, affects=problem.affects) for problem in report.problems
        ],
        tables=[
            CheckedTable(
                name=table.name,
                rows=table.rows_count,
                versions=table.versions_count,
                cells=table.cells_count,
                segments=table.segments_count,
                segments_most=table.segments_most,
                bytes=table.bytes,
                plain_bytes=table.plain_bytes,
                columns=[
                    CheckedColumn(column=size.column, encoding=size.encoding, blocks=size.blocks, bytes=size.bytes)
                    for size in table.sizes
                ],
            )
            for table in report.tables
        ],
        work=report.work,
        notes=[CheckNote(where=note.where, what=note.what) for note in report.notes],
    )


def _checkpoint_parts(source: EngineSource) -> Iterator[bytes]:
    checkpoint = source.checkpoint
    header = BackupHeader(
        version=checkpoint.version,
        position=checkpoint.position,
        committed=checkpoint.committed,
        made=checkpoint.made,
        server=checkpoint.server,
        database=checkpoint.database,
        state_bytes=-1 if checkpoint.state is None else len(checkpoint.state),
        entry_bytes=[len(entry) for entry in checkpoint.entries],
        segments=list(checkpoint.segments),
        files=[BackupFile(number=number, bytes=size) for number, size in checkpoint.files],
    )
    yield BackupPart(header=header).SerializeToString()
    data = memoryview((checkpoint.state or b"") + b"".join(checkpoint.entries))
    for start in range(0, len(data), CHUNK_BYTES):
        yield BackupPart(data=bytes(data[start : start + CHUNK_BYTES])).SerializeToString()
    yield BackupPart(last=True).SerializeToString()


def _file_parts(source: EngineSource, number: int) -> Iterator[bytes]:
    if number not in dict(source.checkpoint.files):
        raise Invalid(f"file {number} is no part of this backup")
    data = source.verified(number)
    for start in range(0, len(data), CHUNK_BYTES):
        yield BackupPart(data=data[start : start + CHUNK_BYTES].tobytes()).SerializeToString()
    yield BackupPart(last=True, checksum=bytes.fromhex(digest_of(data))).SerializeToString()
