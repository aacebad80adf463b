"""Identity values: taken from blocks, so that a million inserts cost a thousand commits, with gaps allowed.

``weft_sequences`` holds, per identity column, the first value that nobody was given. A block is reserved by committing
a higher one; what a crash leaves unused of a block is never given out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pyarrow as pa

from ..base.errors import Invalid
from ..base.types import Kind
from .changes import Commit
from .internal import SEQUENCES
from .request import Request, TableChanges
from .schema import Column, Table
from .snapshot import Snapshot

BLOCK = 1_000

_LARGEST = {Kind.SMALLINT: 2**15 - 1, Kind.INTEGER: 2**31 - 1, Kind.BIGINT: 2**63 - 1}


class IdentityValues:
    """Gives out identity values from 1 on, each once. Thread-safe."""

    def __init__(self, *, open_snapshot: Callable[[], Snapshot], commit: Callable[[Request], Commit]) -> None:
        self._open_snapshot = open_snapshot
        self._commit = commit
        self._lock = threading.Lock()
        self._blocks: dict[tuple[int, int], tuple[int, int]] = {}

    def take(self, table: Table, column: Column, count: int) -> int:
        """The first of ``count`` consecutive values. Raises Invalid (2200H) when the type has no more."""
        largest = _LARGEST[column.type.kind]
        with self._lock:
            first, end = self._blocks.get((table.id, column.id)) or self._reserved(table, column)
            if first + count > end:
                needed = max(count, min(BLOCK, largest + 1 - first))
                end = self._reserve(table, column, first + needed)
            if first + count - 1 > largest:
                raise Invalid(
                    f'identity column "{column.name}" of "{table.name}" has no values left in {column.type}',
                    hint="Use BIGINT for identity columns that may grow.",
                    sqlstate="2200H",
                )
            self._blocks[table.id, column.id] = (first + count, end)
            return first

    def _reserved(self, table: Table, column: Column) -> tuple[int, int]:
        with self._open_snapshot() as snapshot:
            row = snapshot.get(SEQUENCES, (table.id, column.id))
        first = 1 if row is None else row["next"]
        return first, first

    def _reserve(self, table: Table, column: Column, end: int) -> int:
        row = {"table": table.id, "column": column.id, "next": end}
        rows = pa.RecordBatch.from_pylist([row], schema=SEQUENCES.arrow_schema)
        self._commit(Request(changes=(TableChanges(table=SEQUENCES, puts=(rows,)),)))
        return end
