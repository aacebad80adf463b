"""The commit log's contract. The log is the database; everything else is derived from it.

What every implementation promises:

- Entries are totally ordered; positions are dense, from 1, and belong to the log. Versions are the engine's own.
- ``append`` succeeds only if nothing else was appended since this appender last looked (its lease, or its own last
  append). After *appended* the record survives any crash.
- An append has one of three outcomes. *appended*. *fenced*: another sequencer took the lease; stop at once.
  *unknown*: a time-out or a lost connection; call ``resolve`` until it answers, before appending anything else.
- Each entry carries the appender's epoch, a dense batch number and the hash of the entry before it, so that a
  reader notices a hole, a repeat or a fork and raises Corrupt.

One conformance suite (tests/test_log.py) runs over all implementations.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from .record import Record


class Outcome(enum.Enum):
    """What became of an append."""

    APPENDED = "appended"
    FENCED = "fenced"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One record at its place. ``batch`` is dense over the whole log; ``previous`` the hash of the entry before.

    ``data`` are the entry's bytes, the same in every log: what an archive keeps.
    """

    position: int
    epoch: int
    batch: int
    previous: bytes
    record: Record
    data: pa.Buffer


class CommitLog(Protocol):
    """The totally ordered, durable sequence of log records. One appender at a time; any number of readers."""

    def lease(self) -> int:
        """Take the writer's role and return its epoch, one above the last. Older appenders are fenced from now on."""
        ...

    def append(self, record: Record) -> Outcome:
        """Append durably. Raises Closed, or Unavailable when the disk refuses and nothing was written.

        After Unavailable the next append may be tried at once. After *fenced* all appends are, until ``lease``.
        """
        ...

    def resolve(self) -> Outcome:
        """After *unknown*: what became of the last append, once the log can tell; *unknown* while it cannot.

        *fenced* also when the append did not happen and another entry stands in its place. When the append did not
        happen, the place is free and the lease still ours, it is made to happen: the answer is then *appended*.
        """
        ...

    def read(self, from_position: int) -> Iterator[Entry]:
        """Entries from ``from_position`` (at least 1) on, in order, up to the tail at the call.

        Raises Corrupt with the position where an entry is missing, damaged or does not follow the one before; NotFound
        where an entry was trimmed. Entries own their memory: they outlive the log.
        """
        ...

    def tail(self) -> int:
        """The position of the last entry; 0 when the log is empty."""
        ...

    def trim(self, before: int) -> None:
        """Forget entries below ``before``. Idempotent. The tail is never trimmed."""
        ...

    def close(self) -> None:
        """Let go of what is held. Idempotent; everything else raises Closed afterwards."""
        ...
