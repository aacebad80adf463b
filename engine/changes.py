"""What a caller asks of the engine, and what it gets back: the vocabulary of writes."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from ..base.limits import WRITER_ROWS_BITS

UNKNOWN_OUTCOME: Final = "08007"
"""SQLSTATE of Unavailable where nobody knows whether the commit is in the log."""

TAKEN_OVER: Final = "55006"
"""SQLSTATE of Closed where a writer of the same name was opened meanwhile."""


class Change(enum.Enum):
    """What a batch does to the rows with its primary keys.

    INSERT   adds rows; a primary key that exists, or stands twice in the batch, is refused with its row number
    PUT      adds or replaces whole rows; absent columns take their DEFAULT; the last of equal primary keys wins
    UPDATE   replaces some columns of rows that exist; NotFound otherwise
    ADD      adds amounts to columns, commutatively; a row that is absent starts from the defaults
    DELETE   ends rows by primary key; absent ones are ignored
    """

    INSERT = "insert"
    PUT = "put"
    UPDATE = "update"
    ADD = "add"
    DELETE = "delete"


class Isolation(enum.Enum):
    """What a transaction sees, and what its commit validates: first committer wins.

    SNAPSHOT         reads at the version of its first statement; a row that it wrote conflicts if changed since then
    READ_COMMITTED   each statement reads at the newest version; a row that it wrote conflicts if changed since the
                     statement that wrote it first
    SERIALIZABLE     as SNAPSHOT, and what it read conflicts, too, if changed since then: in the order of their commits
                     transactions of this level could have run one after the other
    """

    SNAPSHOT = "snapshot"
    READ_COMMITTED = "read committed"
    SERIALIZABLE = "serializable"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterToken:
    """Names one batch of one writer, so that a repeat is applied once. ``sequence`` grows; gaps are allowed.

    Its lower WRITER_ROWS_BITS count the rows that the writer was given, up to the batch's last one; those above how
    often a writer of this name was opened, so that who opened it last is the only one (0 for one without a name).
    """

    writer: str
    sequence: int


def writer_opened(sequence: int) -> int:
    """How often the writer was opened."""
    return sequence >> WRITER_ROWS_BITS


def writer_rows(sequence: int) -> int:
    """How many rows it was given."""
    return sequence & ((1 << WRITER_ROWS_BITS) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit's outcome: the version at which it is visible, and the rows put or deleted."""

    version: int
    rows: int
