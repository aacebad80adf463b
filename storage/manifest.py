"""The manifest: which segments there are, and the state of ``apply`` at the checkpoint. The other half of the log.

    load()                           -> (state, segments)    state: bytes or None; segments: number → bytes
    commit(state=, put=, delete=)    all of it, durably, or nothing
    reserve(count)                   -> the first of so many numbers that were never given out, and never will be

What the bytes of the state and of a segment mean is the engine's affair. What a manifest promises:

- A commit that returned survives any crash. One that raised Unavailable changed nothing.
- One that was cut short by a crash is there whole or not at all.
- ``load`` gives what was committed, or raises Corrupt that names what is damaged: a byte that flipped, an entry that
  is missing, was moved or is too much. For that each value has a checksum, over its number too, and a header has the
  count of the entries and the sum of their checksums.

In LMDB, in the log's own environment (docs/storage.md has the bytes):

    database "manifest"    "header"                                  → count, sum, next number, generation of the state
                           "segment" + number (8 bytes, big-endian)  → checksum, bytes
                           "state" + generation + index (4 bytes)    → checksum, up to ``STATE_PIECE`` bytes

A large state is written in pieces, one write transaction each, beside the one that is in force. The last transaction
puts the last piece and the segments, removes the old pieces and switches the header to the new generation. So an append
of the log waits for some milliseconds at most. Pieces of a generation that never came into force are removed by the
next commit.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeVar

import lmdb
import xxhash

from ..base.errors import Closed, Corrupt, Unavailable, WeftError
from ..base.limits import MIB
from .files import refuse_writing
from .lmdb_store import NAP_SECONDS, CommitInDoubt, LmdbStore

DATABASE: Final = "manifest"

STATE_PIECE: Final = MIB
"""Bytes of the state in one write transaction: what an append of the log may have to wait for."""

_FORMAT: Final = 1
_HEADER_KEY: Final = b"header"
_SEGMENT: Final = b"segment"
_STATE: Final = b"state"
_FIELDS: Final = struct.Struct("<4sHHqqqQQ")  # magic, format, -, next number, generation, state's bytes, count, sum
_CHECKSUM: Final = struct.Struct("<Q")
_MAGIC: Final = b"WeMH"
_SUM_MODULUS: Final = 1 << 64

T = TypeVar("T")


class Manifest(Protocol):
    """See the module. Thread-safe; commits are one at a time."""

    def load(self) -> tuple[bytes | None, dict[int, bytes]]:
        """The state and the segments, as the last commit left them. Raises Corrupt."""
        ...

    def commit(
        self, *, state: bytes | None = None, put: Mapping[int, bytes] | None = None, delete: Iterable[int] = ()
    ) -> None:
        """Change all of it, durably, or nothing. ``state`` None leaves the state as it is.

        ``put`` adds segments or replaces them; ``delete`` of a number that is not there does nothing. A number in both
        is put. Raises Unavailable when the disk refuses or the database is opened to read only.
        """
        ...

    def reserve(self, count: int) -> int:
        """The first of ``count`` numbers for files, from 1 on; none of them is ever given out again. Durable."""
        ...

    def close(self) -> None:
        """Let go of what is held. Idempotent; everything else raises Closed afterwards."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """``count`` and ``sum`` are of the segments and the pieces of the state in force."""

    next_number: int = 1
    generation: int = 0
    state_bytes: int = -1
    count: int = 0
    sum: int = 0

    def pack(self) -> bytes:
        fields = _FIELDS.pack(
            _MAGIC, _FORMAT, 0, self.next_number, self.generation, self.state_bytes, self.count, self.sum
        )
        return fields + _CHECKSUM.pack(xxhash.xxh3_64_intdigest(fields))

    @classmethod
    def unpack(cls, value: bytes | memoryview | None, *, where: str) -> _Header:
        """The header of the bytes; a new one of None. Raises Corrupt, or Unavailable when it is of a newer format."""
        if value is None:
            return cls()
        if len(value) != _FIELDS.size + _CHECKSUM.size:
            raise Corrupt(f"{where}: its header is damaged", hint=_RESTORE)
        magic, format, _, next_number, generation, state_bytes, count, total = _FIELDS.unpack_from(value)
        (stored,) = _CHECKSUM.unpack_from(value, _FIELDS.size)
        if magic != _MAGIC or stored != xxhash.xxh3_64_intdigest(bytes(value[: _FIELDS.size])):
            raise Corrupt(f"{where}: its header is damaged", hint=_RESTORE)
        if format > _FORMAT:
            raise Unavailable(
                f"{where}: has format {format}, and this program reads formats up to {_FORMAT}",
                hint="Upgrade WeftDB: a newer version wrote it.",
            )
        return cls(next_number=next_number, generation=generation, state_bytes=state_bytes, count=count, sum=total)

    def added(self, checksum: int) -> _Header:
        return replace(self, count=self.count + 1, sum=(self.sum + checksum) % _SUM_MODULUS)

    def removed(self, checksum: int) -> _Header:
        return replace(self, count=self.count - 1, sum=(self.sum - checksum) % _SUM_MODULUS)


class LmdbManifest(Manifest):
    """The manifest in an open store that has the database ``DATABASE``. The store is closed by who opened it."""

    def __init__(self, store: LmdbStore, *, read_only: str | None = None) -> None:
        self._store = store
        self._name = f"the manifest in {store.path}"
        self._database = store.databases.get(DATABASE)
        self._read_only = read_only
        self._committing = threading.Lock()
        self._closed = False

    def load(self) -> tuple[bytes | None, dict[int, bytes]]:
        self._check_open()
        if self._database is None:
            return None, {}
        with self._store.reading() as transaction:
            return self._load(transaction)

    def commit(
        self, *, state: bytes | None = None, put: Mapping[int, bytes] | None = None, delete: Iterable[int] = ()
    ) -> None:
        self._check_writable()
        put = put or {}
        deleted = [number for number in set(delete) if number not in put]
        with self._committing:
            self._remove_strays()
            pieces = None if state is None else self._write_pieces(state)

            def switch(transaction: lmdb.Transaction) -> None:
                header = self._header(transaction)
                if state is not None and pieces is not None:
                    header = self._switch_state(transaction, header, pieces, size=len(state))
                for number in (*put, *deleted):
                    header = self._replace(transaction, header, _segment_key(number), put.get(number))
                transaction.put(_HEADER_KEY, header.pack(), db=self._database)

            self._write(switch)

    def reserve(self, count: int) -> int:
        self._check_writable()
        assert count > 0, count

        def take(transaction: lmdb.Transaction) -> int:
            header = self._header(transaction)
            transaction.put(
                _HEADER_KEY, replace(header, next_number=header.next_number + count).pack(), db=self._database
            )
            return header.next_number

        with self._committing:
            return self._write(take)

    def close(self) -> None:
        self._closed = True

    def _load(self, transaction: lmdb.Transaction) -> tuple[bytes | None, dict[int, bytes]]:
        entries = ((bytes(key), value) for key, value in transaction.cursor(self._database))
        found = examine(entries, name=self._name)
        if found.problems:
            raise found.problems[0]
        return found.state, found.segments

    def _header(self, transaction: lmdb.Transaction) -> _Header:
        return _Header.unpack(transaction.get(_HEADER_KEY, db=self._database), where=self._name)

    def _write_pieces(self, state: bytes) -> list[tuple[bytes, bytes]]:
        """Write all but the last piece, as a generation that is not in force yet. Returns each key with its bytes."""
        with self._store.reading() as transaction:
            generation = self._header(transaction).generation + 1
        starts = range(0, len(state), STATE_PIECE)
        pieces = [(_piece_key(generation, at), state[start : start + STATE_PIECE]) for at, start in enumerate(starts)]
        for key, content in pieces[:-1]:
            value = _seal(key, content)
            self._write(lambda transaction, key=key, value=value: transaction.put(key, value, db=self._database))
            time.sleep(NAP_SECONDS)
        return pieces

    def _switch_state(
        self, transaction: lmdb.Transaction, header: _Header, pieces: list[tuple[bytes, bytes]], *, size: int
    ) -> _Header:
        """Bring a new generation into force, and remove the old one, which costs little: its pages are only listed."""
        for key in list(self._piece_keys(transaction)):
            if _generation(key) == header.generation:
                header = self._replace(transaction, header, key, None)
        for key, content in pieces:
            header = self._replace(transaction, header, key, content, ahead=key != pieces[-1][0])
        return replace(header, generation=header.generation + 1, state_bytes=size)

    def _replace(
        self, transaction: lmdb.Transaction, header: _Header, key: bytes, content: bytes | None, *, ahead: bool = False
    ) -> _Header:
        """Put or remove one entry; return the header that counts it. ``ahead``: it was put before, and not counted."""
        before = None if ahead else transaction.get(key, db=self._database)
        if before is not None:
            header = header.removed(_checksum_of(before))
        if content is not None:
            value = _seal(key, content)
            header = header.added(_checksum_of(value))
            if not ahead:
                transaction.put(key, value, db=self._database)
        elif before is not None:
            transaction.delete(key, db=self._database)
        return header

    def _piece_keys(self, transaction: lmdb.Transaction) -> Iterator[bytes]:
        cursor = transaction.cursor(self._database)
        found = cursor.set_range(_STATE)
        while found and (key := bytes(cursor.key())).startswith(_STATE):
            yield key
            found = cursor.next()

    def _remove_strays(self) -> None:
        """Remove the pieces of commits that were cut short."""
        with self._store.reading() as transaction:
            generation = self._header(transaction).generation
            strays = [key for key in self._piece_keys(transaction) if _generation(key) != generation]
        for key in strays:
            self._write(lambda transaction, key=key: transaction.delete(key, db=self._database))

    def _write(self, work: Callable[[lmdb.Transaction], T]) -> T:
        try:
            return self._store.write(work)
        except CommitInDoubt as error:
            raise Unavailable(
                f"{self._name}: the disk failed while it was being committed, and whether it was, is open: {error}",
                hint="Close the database and open it again.",
                sqlstate="58030",
            ) from error

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"{self._name} was closed")

    def _check_writable(self) -> None:
        self._check_open()
        if self._read_only is not None:
            raise refuse_writing(self._read_only)


@dataclass(slots=True)
class Examined:
    """What a manifest holds, as far as it can be read. ``next_number`` is the lowest that was never reserved."""

    state: bytes | None = None
    segments: dict[int, bytes] = field(default_factory=dict[int, bytes])
    next_number: int = 1
    problems: list[WeftError] = field(default_factory=list[WeftError])


def examine(entries: Iterable[tuple[bytes, bytes | memoryview]], *, name: str) -> Examined:
    """What the entries of a manifest's database say, and everything that is wrong with them."""
    result = Examined()
    header, found = _Header(), _Header()
    pieces: list[bytes] = []
    damaged = False
    for key, value in entries:  # the header first: "header" < "segment" < "state"
        if key.startswith(_STATE) and _describe(key) and _generation(key) != header.generation:
            continue
        try:
            if key == _HEADER_KEY:
                header = _Header.unpack(value, where=name)
                continue
            if not _describe(key):
                raise Corrupt(f"{name}: it has an entry {key!r}, which nobody wrote", hint=_RESTORE)
            checksum, content = _unseal(key, value, where=f"{name}, {_describe(key)}")
        except WeftError as error:
            result.problems.append(error)
            damaged = damaged or not key.startswith(_SEGMENT)
            continue
        found = found.added(checksum)
        if key.startswith(_STATE):
            pieces.append(content)
        else:
            result.segments[int.from_bytes(key[len(_SEGMENT) :], "big")] = content
    result.next_number = header.next_number
    if (found.count, found.sum) != (header.count, header.sum) and not result.problems:
        message = f"{name}: {found.count} entries were found, and {header.count} other ones were written"
        result.problems.append(Corrupt(f"{message}: entries are missing, were moved or are too many", hint=_RESTORE))
    if header.state_bytes >= 0 and not damaged:
        state = b"".join(pieces)
        if len(state) == header.state_bytes:
            result.state = state
        elif not result.problems:
            message = f"{name}: the state has {len(state)} bytes and should have {header.state_bytes}"
            result.problems.append(Corrupt(message, hint=_RESTORE))
    return result


class MemoryManifest(Manifest):
    """For databases that need not survive, and for tests: ``beside`` is how they "reopen" it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state: bytes | None = None
        self._segments: dict[int, bytes] = {}
        self._next_number = 1
        self._closed = False

    def load(self) -> tuple[bytes | None, dict[int, bytes]]:
        with self._lock:
            self._check_open()
            return self._state, dict(self._segments)

    def commit(
        self, *, state: bytes | None = None, put: Mapping[int, bytes] | None = None, delete: Iterable[int] = ()
    ) -> None:
        with self._lock:
            self._check_open()
            for number in delete:
                self._segments.pop(number, None)
            self._segments.update(put or {})
            self._state = self._state if state is None else state

    def reserve(self, count: int) -> int:
        assert count > 0, count
        with self._lock:
            self._check_open()
            self._next_number += count
            return self._next_number - count

    def beside(self) -> MemoryManifest:
        """An open manifest with the same content."""
        with self._lock:
            copy = MemoryManifest()
            copy._state, copy._segments, copy._next_number = self._state, dict(self._segments), self._next_number
            return copy

    def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the manifest in memory was closed")


def _segment_key(number: int) -> bytes:
    return _SEGMENT + number.to_bytes(8, "big")


def _piece_key(generation: int, index: int) -> bytes:
    return _STATE + generation.to_bytes(8, "big") + index.to_bytes(4, "big")


def _generation(piece_key: bytes) -> int:
    return int.from_bytes(piece_key[len(_STATE) : len(_STATE) + 8], "big")


def _describe(key: bytes) -> str:
    """What the entry with this key is; empty when no entry has such a key."""
    if key.startswith(_SEGMENT) and len(key) == len(_SEGMENT) + 8:
        return f"segment {int.from_bytes(key[len(_SEGMENT) :], 'big')}"
    if key.startswith(_STATE) and len(key) == len(_STATE) + 12:
        return f"piece {int.from_bytes(key[-4:], 'big')} of the state"
    return ""


def _seal(key: bytes, content: bytes) -> bytes:
    """The content behind its checksum, which covers the key, too."""
    return _CHECKSUM.pack(xxhash.xxh3_64_intdigest(key + content)) + content


def _checksum_of(value: bytes | memoryview) -> int:
    """The checksum as it stands. Where it is damaged, the sum of all of them does not fit any more."""
    return _CHECKSUM.unpack_from(value)[0] if len(value) >= _CHECKSUM.size else 0


def _unseal(key: bytes, value: bytes | memoryview, *, where: str) -> tuple[int, bytes]:
    """The checksum and the content. Raises Corrupt."""
    content = bytes(value[_CHECKSUM.size :])
    checksum = _checksum_of(value)
    if len(value) < _CHECKSUM.size or checksum != xxhash.xxh3_64_intdigest(key + content):
        raise Corrupt(f"{where}: it is damaged", hint=_RESTORE)
    return checksum, content


_RESTORE: Final = "Restore the database from a backup."
