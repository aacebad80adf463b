"""The log record: one group commit, as the log stores it.

A record holds the transactions of one group and, per transaction and table, the rows that it puts or deletes as
Arrow. All of it has one version. ``encode`` and ``decode`` are inverse; the bytes are described in docs/storage.md.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import pyarrow as pa


class Action(enum.Enum):
    """What an operation does with its rows."""

    PUT = "put"  # full rows; each ends the row version with the same primary key, if there is one
    DELETE = "delete"  # primary keys (or row ids); each ends the row version, if there is one
    TRUNCATE = "truncate"  # ends all rows of the table; the batch is empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Rows of one table, by one transaction.

    ``batch``'s fields are named by column identifier in decimal ("1", "2", ...), in public Arrow types. ``delta`` marks
    a PUT that came from commutative deltas: its rows are the values after them.
    """

    ordinal: int
    table: int
    schema_version: int
    action: Action
    batch: pa.RecordBatch
    delta: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionEntry:
    """One transaction of the group. ``id`` makes a commit repeatable; ``writer`` and ``sequence`` a writer's batch."""

    ordinal: int
    id: str | None = None
    writer: str | None = None
    sequence: int | None = None
    rows_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One group commit. ``version`` is dense; ``wall_clock`` in microseconds since 1970, UTC, orders nothing."""

    version: int
    wall_clock: int
    transactions: tuple[TransactionEntry, ...]
    operations: tuple[Operation, ...]
