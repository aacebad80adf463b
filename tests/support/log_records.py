"""What tests of logs and manifests write, and a disk that is full for them."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator

import pyarrow as pa
from weftdb.storage.log import Entry
from weftdb.storage.record import Action, Operation, Record, TransactionEntry


def record(version: int, *, rows: int = 1) -> Record:
    """Of 8 bytes a row: its numbers lie too far apart to be stored narrow."""
    batch = pa.record_batch([pa.array([version + (row << 40) for row in range(rows)], pa.int64())], ["1"])
    return Record(
        version=version,
        wall_clock=version * 10,
        transactions=(TransactionEntry(ordinal=0, id=f"t{version}", rows_count=rows),),
        operations=(Operation(ordinal=0, table=1, schema_version=1, action=Action.PUT, batch=batch),),
    )


def versions(entries: Iterator[Entry]) -> list[int]:
    return [entry.record.version for entry in entries]


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes: writes fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
