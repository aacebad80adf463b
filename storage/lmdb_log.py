"""The embedded commit log: LMDB, with a journal in front of it for small entries.

    database "log"      position (8 bytes, big-endian) → entry (envelope + record)
    database "state"    "epoch" → the last lease;  "first" → the first position that was not trimmed;
                        "journal" → that there is one
    file "journal"      the entries that follow those of "log" (journal.py)

A large entry is checked, written and synced in one transaction of LMDB, together with those that the journal holds; a
small one in one write into the journal. So the outcome is *appended* or *fenced*; an error of the disk means that
nothing was written. Only a disk that fails at the very last step leaves it *unknown*, and then until the file is opened
again. What is durable, and when, is written down in lmdb_store.py and journal.py. Without syncs there is no journal.

``read`` copies entries out of the map, some megabytes per read transaction: a slow consumer keeps no transaction
open, which would let the file grow, and batches outlive the log. Each entry has memory of its own.

One process has the file open (DataFolder's lock), and LMDB wants it opened once per process: ``beside`` gives a
second appender on the same file.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import lmdb
import pyarrow as pa

from ..base.errors import Closed, Corrupt, NotFound, Unavailable
from ..base.limits import MIB
from .envelope import Chain, epoch_of, owned, position_of
from .files import refuse_writing
from .journal import Journal, entries_after
from .lmdb_store import MAP_BYTES_FIRST, NAP_SECONDS, CommitInDoubt, LmdbStore
from .log import CommitLog, Entry, Outcome
from .record import Piece, Record

_LOG: Final = "log"
_STATE: Final = "state"
DATABASES: Final = (_LOG, _STATE)
"""What the log needs of a store."""

_EPOCH: Final = b"epoch"
_FIRST: Final = b"first"
_JOURNAL: Final = b"journal"

READ_BYTES: Final = 8 * MIB
READ_ENTRIES: Final = 1_024
"""``read`` copies up to this much per transaction: enough to make its cost vanish, little enough to be held."""

TRIM_ENTRIES: Final = 400
TRIM_BYTES: Final = 16 * MIB
"""``trim`` removes at most so much per transaction: a millisecond or two, for which an append may have to wait."""


class _Front:
    """What the appenders on one store share: the journal, whose it is, and the right to change either."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.journal: Journal | None = None
        self.epoch = 0


class LmdbLog(CommitLog):
    """See the module. Threads may share it; appends are one at a time."""

    def __init__(
        self, store: LmdbStore, *, owner: bool, read_only: str | None = None, front: _Front | None = None
    ) -> None:
        """A log in an open store that has ``DATABASES``. ``owner``: it closes the store.

        ``read_only`` is the reason why nothing may be written. ``front`` is that of the appender that it is beside.
        """
        self._store = store
        self._owner = owner
        self._read_only = read_only
        if not store.databases.keys() >= set(DATABASES):
            raise Corrupt(f"{store.path} holds no commit log", hint="Restore it from a backup.")
        self._log = store.databases[_LOG]
        self._state = store.databases[_STATE]
        self._front = front or _Front()
        self._is_beside = front is not None
        self._chain = Chain(name=str(store.path))
        self._block = bytearray()
        self._epoch = 0
        self._outcome = Outcome.APPENDED
        self._closed = False

    @classmethod
    def open(
        cls, path: Path, *, durable: bool = True, read_only: bool = False, map_bytes: int = MAP_BYTES_FIRST
    ) -> LmdbLog:
        """Open the log in the folder ``path``, or create it. Raises Corrupt or Unavailable.

        ``durable=False`` does not sync: commits survive the process, but not a crash of the system.
        """
        store = LmdbStore.open(path, databases=DATABASES, durable=durable, read_only=read_only, map_bytes=map_bytes)
        return cls(store, owner=True, read_only="it was opened to read only" if read_only else None)

    def beside(self) -> LmdbLog:
        """Another appender on the same open file. It ends with this one."""
        return LmdbLog(self._store, owner=False, read_only=self._read_only, front=self._front)

    def lease(self) -> int:
        def take(transaction: lmdb.Transaction) -> tuple[int, Chain]:
            epoch = _number(transaction.get(_EPOCH, db=self._state)) + 1
            transaction.put(_EPOCH, _key(epoch), db=self._state)
            tail = self._tail(transaction)
            first = max(1, _number(transaction.get(_FIRST, db=self._state)))
            count = transaction.stat(self._log)["entries"]
            if tail and count != tail - first + 1:
                raise Corrupt(
                    f"{self._store.path} has {count} entries, and should have those from {first} to {tail}",
                    hint="Restore it from a backup.",
                )
            chain = self._chain_after(transaction, tail)
            for entry in self._journaled(transaction, chain):
                transaction.put(_key(entry.position), entry.data, db=self._log, append=True)
            if journal is not None:
                transaction.put(_JOURNAL, b"1", db=self._state)
            return epoch, chain

        with self._front.lock:
            self._check_writable()
            journal = self._front.journal
            if journal is None and self._store.synced:
                with self._store.reading() as transaction:
                    known = transaction.get(_JOURNAL, db=self._state) is not None
                journal = self._front.journal = Journal.open(self._store.path, new=not known)
            try:
                epoch, self._chain = self._store.write(take)
            except CommitInDoubt as error:
                raise Unavailable(f"the lease on {self._store.path} is in doubt: {error}") from error
            if journal is not None:
                journal.restart()
            self._front.epoch = self._epoch = epoch
            self._outcome = Outcome.APPENDED
            return epoch

    def append(self, record: Record) -> Outcome:
        with self._front.lock:
            self._check_writable()
            assert self._epoch, "take the lease before appending"
            assert self._outcome is not Outcome.UNKNOWN, "resolve the last append before the next one"
            if self._outcome is Outcome.FENCED:
                return Outcome.FENCED
            pieces = self._chain.seal(record, epoch=self._epoch)
            value = self._join(pieces)
            journal = self._front.journal
            if journal is not None and journal.takes(value):
                self._outcome = self._append_to_journal(journal, bytes(value))
            else:
                self._outcome = self._append_to_store(value)
            if self._outcome is Outcome.APPENDED:
                self._chain.advance(pieces, epoch=self._epoch)
            return self._outcome

    def _append_to_journal(self, journal: Journal, value: bytes) -> Outcome:
        with self._store.reading() as transaction:
            if _number(transaction.get(_EPOCH, db=self._state)) != self._epoch:
                return Outcome.FENCED
        return Outcome.APPENDED if journal.append(value) else Outcome.UNKNOWN

    def _append_to_store(self, value: memoryview) -> Outcome:
        try:
            appended = self._store.write(lambda transaction: self._put_after(transaction, value, epoch=self._epoch))
        except CommitInDoubt:
            return Outcome.UNKNOWN
        if not appended:
            return Outcome.FENCED
        if self._front.journal is not None:
            self._front.journal.restart()
        return Outcome.APPENDED

    def _put_after(self, transaction: lmdb.Transaction, *values: memoryview, epoch: int) -> bool:
        """Put what the journal holds, and ``values``, behind the store's last entry; False: that is another's."""
        if _number(transaction.get(_EPOCH, db=self._state)) != epoch:
            return False
        return all(
            transaction.put(_key(position_of(entry)), entry, db=self._log, append=True, overwrite=False)
            for entry in (*self._waiting(self._tail(transaction)), *values)
        )

    def _waiting(self, tail: int) -> list[bytes]:
        """What the journal holds and the store, whose last position is ``tail``, does not."""
        entries = [] if self._front.journal is None else self._front.journal.entries
        return entries[max(tail + 1 - position_of(entries[0]), 0) :] if entries else []

    def _settle(self) -> None:
        """Put into the store what the journal holds. The front's lock is held."""
        journal = self._front.journal
        if journal is None or not journal.entries:
            return
        try:
            if self._store.write(lambda transaction: self._put_after(transaction, epoch=self._front.epoch)):
                journal.restart()
        except CommitInDoubt as error:
            raise Unavailable(f"{self._store.path} cannot be written: {error}") from error

    def resolve(self) -> Outcome:
        return self._outcome

    def read(self, from_position: int) -> Iterator[Entry]:
        assert from_position >= 1, f"positions begin at 1, not {from_position}"
        tail, ahead = self._extent()
        return self._entries(from_position, tail=tail, ahead=ahead)

    def tail(self) -> int:
        tail, ahead = self._extent()
        return tail + len(ahead)

    def _extent(self) -> tuple[int, list[bytes] | list[pa.Buffer]]:
        """The last position in the store, and the entries after it, in the journal."""
        self._check_open()
        with self._front.lock, self._store.reading() as transaction:
            tail = self._tail(transaction)
            if self._front.journal and self._front.epoch == _number(transaction.get(_EPOCH, db=self._state)):
                return tail, self._waiting(tail)
            return tail, [entry.data for entry in self._journaled(transaction, self._chain_after(transaction, tail))]

    def _journaled(self, transaction: lmdb.Transaction, chain: Chain) -> list[Entry]:
        """The entries that the journal has after ``chain``, which moves on to the last."""
        if transaction.get(_JOURNAL, db=self._state) is None:
            return []
        return entries_after(self._store.path, chain)

    def _tail(self, transaction: lmdb.Transaction) -> int:
        """The last position in the store; 0 where it is empty."""
        cursor = transaction.cursor(self._log)
        return _number(cursor.key()) if cursor.last() else 0

    def _chain_after(self, transaction: lmdb.Transaction, tail: int) -> Chain:
        """The chain at the store's end. Raises Corrupt where the last entry is damaged."""
        chain = Chain(name=str(self._store.path))
        if tail:
            chain.start_before(tail)
            chain.follow(owned(transaction.get(_key(tail), db=self._log)), position=tail)
        return chain

    def trim(self, before: int) -> None:
        self._check_writable()
        with self._front.lock:
            self._settle()
        before = min(before, self.tail())

        def remove(transaction: lmdb.Transaction) -> bool:
            """Remove some, and say whether there may be more."""
            cursor = transaction.cursor(self._log)
            found = cursor.first()
            size = count = 0
            while found and _number(cursor.key()) < before and size < TRIM_BYTES and count < TRIM_ENTRIES:
                size += len(cursor.value())
                count += 1
                found = cursor.delete()
            if count:
                transaction.put(_FIRST, cursor.key(), db=self._state)
            return found and _number(cursor.key()) < before

        while self._store.write(remove):
            time.sleep(NAP_SECONDS)

    def adopt(self, entries: Sequence[tuple[int, bytes | memoryview]]) -> None:
        """Take over entries of another log as they stand, each with its position: a restored database goes on there.

        They follow one another, and what is here; an empty log begins with them. Take a lease afterwards.
        """
        self._check_writable()
        tail = self.tail()
        assert not tail or not entries or entries[0][0] == tail + 1, (tail, entries[0][0])
        epoch = max((epoch_of(value) for _, value in entries), default=0)

        def put(transaction: lmdb.Transaction, some: Sequence[tuple[int, bytes | memoryview]]) -> None:
            if not transaction.stat(self._log)["entries"]:
                transaction.put(_FIRST, _key(some[0][0]), db=self._state)
            known = _number(transaction.get(_EPOCH, db=self._state))
            transaction.put(_EPOCH, _key(max(known, epoch)), db=self._state)
            for position, value in some:
                transaction.put(_key(position), value, db=self._log, append=True)

        for start in range(0, len(entries), TRIM_ENTRIES):
            some = entries[start : start + TRIM_ENTRIES]
            self._store.write(lambda transaction, some=some: put(transaction, some))

    def close(self) -> None:
        if self._closed:
            return
        if not self._is_beside:
            self._close_journal()
        self._closed = True
        if self._owner:
            self._store.close()

    def _close_journal(self) -> None:
        with self._front.lock:
            journal, outcome = self._front.journal, self._outcome
            if journal is None:
                return
            if outcome is not Outcome.UNKNOWN:
                with suppress(Closed, Unavailable, Corrupt):  # it stays in the journal, and is found there
                    self._settle()
            journal.close()
            self._front.journal = None

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"the log {self._store.path} was closed")

    def _check_writable(self) -> None:
        self._check_open()
        if self._read_only is not None:
            raise refuse_writing(self._read_only)

    def _join(self, pieces: list[Piece]) -> memoryview:
        """The pieces in one block of memory, the same for every append: fresh memory costs more than the copy."""
        size = sum(len(piece) for piece in pieces)
        if len(self._block) < size:
            self._block = bytearray(max(size, MIB))
        view = memoryview(self._block)
        at = 0
        for piece in pieces:
            view[at : at + len(piece)] = memoryview(piece).cast("B")
            at += len(piece)
        return view[:size]

    def _entries(self, position: int, *, tail: int, ahead: Sequence[bytes] | Sequence[pa.Buffer]) -> Iterator[Entry]:
        chain = Chain(name=str(self._store.path))
        chain.start_before(position)
        if 1 < position <= tail + 1:
            self._start_chain(chain, position)
        elif tail + 1 < position <= tail + len(ahead):
            chain.start_after(owned(ahead[position - tail - 2]), position=position - 1)
        while position <= tail:
            for value in self._copy_some(position, tail=tail):
                yield chain.follow(value, position=position)
                position += 1
        for entry in ahead[position - tail - 1 :]:
            yield chain.follow(owned(entry), position=position)
            position += 1

    def _start_chain(self, chain: Chain, position: int) -> None:
        """Start the chain at the entry before ``position``, unless that was trimmed."""
        with self._store.reading() as transaction:
            before = transaction.get(_key(position - 1), db=self._log)
            copy = None if before is None else owned(before)
        if copy is not None:
            chain.start_after(copy, position=position - 1)

    def _copy_some(self, position: int, *, tail: int) -> list[pa.Buffer]:
        """The entries from ``position`` on that fit one read transaction: at least one, or NotFound or Corrupt."""
        copies: list[pa.Buffer] = []
        size = 0
        try:
            with self._store.reading() as transaction:
                first = _number(transaction.get(_FIRST, db=self._state))
                cursor = transaction.cursor(self._log)
                found = cursor.set_key(_key(position))
                while found and _number(cursor.key()) == position + len(copies):
                    value = cursor.value()
                    size += len(value)
                    copies.append(owned(value))
                    if size >= READ_BYTES or len(copies) == READ_ENTRIES or position + len(copies) > tail:
                        break
                    found = cursor.next()
        except Corrupt as error:
            raise Corrupt(f"entry {position + len(copies)} of {self._store.path}: {error.message}") from error
        if position < first:
            raise NotFound(
                f"entry {position} of {self._store.path} was trimmed; the log begins at entry {first}",
                hint="Start from a newer checkpoint.",
            )
        if not copies:
            raise Corrupt(f"entry {position} of {self._store.path} is missing, although entry {tail} is there")
        return copies


def _key(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _number(key: bytes | memoryview | None) -> int:
    return 0 if key is None else int.from_bytes(key, "big")
