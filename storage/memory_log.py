"""A commit log in memory that can be told to fail. For databases that need not survive, and for tests.

It keeps encoded entries, so that everything passes through the same bytes as on a disk. Several appenders may share
one ``Memory``: that is how tests fence a sequencer, and how they "reopen" a log after a crash.

Faults are planned ahead and hit the next appends, one each, in order:

    fault      the append              the entry     resolve answers
    REFUSED    raises Unavailable      not written   -
    WRITTEN    unknown                 written       appended
    LOST       unknown                 not written   appended, having written it; or fenced
    SILENT     unknown                 not written   unknown, until ``release``; then as LOST
    STUCK      unknown                 written       unknown, until ``release``; then appended
    LATE       appended, once released written       -
    FENCED     fenced                  not written   fenced: another appender took the lease just before

Waiting is by events, never by time, so that a test's course does not depend on the machine.
"""

from __future__ import annotations

import enum
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import assert_never

import pyarrow as pa

from ..base.errors import Closed, NotFound, Unavailable
from .envelope import Chain
from .log import CommitLog, Entry, Outcome
from .record import Piece, Record


class Fault(enum.Enum):
    """What befalls an append; the table in the module's docstring says what each does."""

    REFUSED = "refused"
    WRITTEN = "written"
    LOST = "lost"
    SILENT = "silent"
    STUCK = "stuck"
    LATE = "late"
    FENCED = "fenced"


@dataclass(slots=True, kw_only=True)
class Memory:
    """What a log in memory holds: entry ``position`` is ``entries[position - first]``."""

    entries: list[bytes] = field(default_factory=list)
    first: int = 1
    epoch: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def tail(self) -> int:
        return self.first + len(self.entries) - 1


class MemoryLog(CommitLog):
    """See the module. ``memory`` is shared with other appenders, or new."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory or Memory()
        self._chain = Chain(name="the log in memory")
        self._epoch = 0
        self._outcome = Outcome.APPENDED
        self._pending: list[Piece] = []
        self._faults: deque[Fault] = deque()
        self._silent = False
        self._released = threading.Event()
        self._closed = False

    def beside(self) -> MemoryLog:
        """Another appender on the same memory, without faults."""
        return MemoryLog(self.memory)

    def fail_next(self, *faults: Fault) -> None:
        """Plan faults for the next appends, after those that are planned already."""
        self._faults += faults

    def release(self) -> None:
        """Let what LATE, SILENT or STUCK holds back happen now."""
        self._silent = False
        self._released.set()

    def lease(self) -> int:
        with self.memory.lock:
            self._check_open()
            self.memory.epoch += 1
            self._epoch = self.memory.epoch
            self._chain = Chain(name="the log in memory")
            if self.memory.entries:
                tail = self.memory.tail
                self._chain.start_before(tail)
                self._chain.follow(pa.py_buffer(self.memory.entries[-1]), position=tail)
            self._outcome = Outcome.APPENDED
            self._pending = []
            return self._epoch

    def append(self, record: Record) -> Outcome:
        with self.memory.lock:
            self._check_open()
            assert self._epoch, "take the lease before appending"
            assert self._outcome is not Outcome.UNKNOWN, "resolve the last append before the next one"
            if self._outcome is Outcome.FENCED:
                return Outcome.FENCED
            self._pending = self._chain.seal(record, epoch=self._epoch)
            fault = self._faults.popleft() if self._faults else None
            self._outcome = self._append_with(fault)
        if fault is Fault.LATE:
            self._released.wait()
            self._released.clear()
        return self._outcome

    def resolve(self) -> Outcome:
        with self.memory.lock:
            self._check_open()
            if self._outcome is Outcome.UNKNOWN and not self._silent:
                self._outcome = self._settle()
            return self._outcome

    def read(self, from_position: int) -> Iterator[Entry]:
        assert from_position >= 1, f"positions begin at 1, not {from_position}"
        return self._entries(from_position, tail=self.tail())

    def tail(self) -> int:
        with self.memory.lock:
            self._check_open()
            return self.memory.tail

    def trim(self, before: int) -> None:
        with self.memory.lock:
            self._check_open()
            count = max(0, min(before, self.memory.tail) - self.memory.first)
            del self.memory.entries[:count]
            self.memory.first += count

    def close(self) -> None:
        self._closed = True
        self.release()

    def _append_with(self, fault: Fault | None) -> Outcome:
        match fault:
            case None | Fault.LATE:
                return self._settle()
            case Fault.REFUSED:
                raise Unavailable("the log in memory was told to refuse this append; nothing was written")
            case Fault.WRITTEN | Fault.STUCK:
                self._silent = fault is Fault.STUCK
                self._place()
                return Outcome.UNKNOWN
            case Fault.LOST | Fault.SILENT:
                self._silent = fault is Fault.SILENT
                return Outcome.UNKNOWN
            case Fault.FENCED:
                self.memory.epoch += 1
                return self._settle()
            case _:
                assert_never(fault)

    def _place(self) -> bytes:
        """Write the pending entry if its place is free and the lease is still ours. Returns its bytes."""
        entry = b"".join(self._pending)
        if self.memory.tail == self._chain.position and self.memory.epoch == self._epoch:
            self.memory.entries.append(entry)
        return entry

    def _settle(self) -> Outcome:
        """Make the pending append happen, if it has not and still can; say what became of it."""
        entry = self._place()
        index = self._chain.position + 1 - self.memory.first
        if not 0 <= index < len(self.memory.entries) or self.memory.entries[index] != entry:
            return Outcome.FENCED
        self._chain.advance(self._pending, epoch=self._epoch)
        return Outcome.APPENDED

    def _entries(self, position: int, *, tail: int) -> Iterator[Entry]:
        chain = Chain(name="the log in memory")
        chain.start_before(position)
        before = position - 1
        if 0 < before < tail and (value := self._value(before)) is not None:
            chain.start_after(pa.py_buffer(value), position=before)
        for at in range(position, tail + 1):
            value = self._value(at)
            if value is None:
                raise NotFound(
                    f"entry {at} of the log in memory was trimmed; it begins at entry {self.memory.first}",
                    hint="Start from a newer checkpoint.",
                )
            yield chain.follow(pa.py_buffer(value), position=at)

    def _value(self, position: int) -> bytes | None:
        """The entry's bytes; None when it was trimmed."""
        with self.memory.lock:
            index = position - self.memory.first
            return self.memory.entries[index] if index >= 0 else None

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the log in memory was closed")
