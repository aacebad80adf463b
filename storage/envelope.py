"""The envelope: what a log puts before each record, so that a hole, a repeat or a fork cannot go unnoticed.

    entry  = envelope (64 bytes) + record          ``seal`` writes it, ``Chain.follow`` reads and verifies it

    entry 7                          entry 8                          entry 9
    ┌──────────────────────────┐     ┌──────────────────────────┐     ┌──────────────────────────┐
    │ position 7, epoch 2      │     │ position 8, epoch 2      │     │ position 9, epoch 3      │
    │ previous = hash(entry 6) │◄────│ previous = hash(entry 7) │◄────│ previous = hash(entry 8) │
    │ record, its checksum     │     │ record, its checksum     │     │ record, its checksum     │
    └──────────────────────────┘     └──────────────────────────┘     └──────────────────────────┘

The hash of an entry is xxh3_128 of its first 128 bytes: the envelope and the record's header, whose checksum covers
the rest of the record. So the chain costs nothing that grows with the record. It is made against accidents (a lost
message, two sequencers, a restored half), not against forgers.

Always true of a log: positions and batch numbers are dense, epochs never fall, the first entry's ``previous`` is zero.
All logs share this module; where the entries lie is their own affair. docs/storage.md has the bytes.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import pyarrow as pa
import xxhash

from ..base.errors import Corrupt, Unavailable
from .log import Entry
from .record import HEADER_BYTES, Piece, Record, decode, encode

FORMAT: Final = 1
ENVELOPE_BYTES: Final = 64
HASHED_BYTES: Final = ENVELOPE_BYTES + HEADER_BYTES
"""An entry's hash depends on this many bytes at its beginning."""

GENESIS: Final = bytes(16)
"""``previous`` of the first entry of a log."""

MAGIC: Final = b"WeLE"
_FIELDS: Final = struct.Struct("<4sHHqqq16sQ")  # magic, format, -, position, epoch, batch, previous, record's bytes
_CHECKSUM: Final = struct.Struct("<Q")

assert _FIELDS.size + _CHECKSUM.size == ENVELOPE_BYTES, "the record after the envelope stays aligned"


class Extent(NamedTuple):
    """What an envelope says of its entry: the position, and the size in bytes, envelope included."""

    position: int
    size: int


def extent_of(envelope: bytes | memoryview) -> Extent | None:
    """What stands at the beginning of an entry; None where that is no envelope, or a damaged one."""
    if len(envelope) < ENVELOPE_BYTES or envelope[:4] != MAGIC:
        return None
    _, _, _, position, _, _, _, size = _FIELDS.unpack_from(envelope)
    (stored,) = _CHECKSUM.unpack_from(envelope, _FIELDS.size)
    if stored != xxhash.xxh3_64_intdigest(envelope[: _FIELDS.size]):
        return None
    return Extent(position, ENVELOPE_BYTES + size)


def owned(entry: bytes | memoryview | pa.Buffer) -> pa.Buffer:
    """An entry's bytes in memory of their own, aligned to 64 bytes."""
    buffer = pa.allocate_buffer(len(entry))
    memoryview(buffer).cast("B")[:] = memoryview(entry).cast("B")
    return buffer


def position_of(entry: bytes | memoryview) -> int:
    """The position that an entry says it was written for, unverified."""
    return _FIELDS.unpack_from(entry)[3]


def epoch_of(entry: bytes | memoryview) -> int:
    """The epoch that an entry says it was appended in, unverified."""
    return _FIELDS.unpack_from(entry)[4]


def hash_of(entry: bytes | memoryview) -> bytes:
    """What the next entry of a log has as ``previous``."""
    return xxhash.xxh3_128_digest(memoryview(entry)[:HASHED_BYTES])


class Chain:
    """A place in a log: the entry last seen. Says what the next entry must be, on either side of the log."""

    __slots__ = ("batch", "epoch", "name", "position", "previous")

    def __init__(self, *, name: str) -> None:
        self.name = name
        self.position = 0
        self.epoch = 0
        self.batch = 0
        self.previous: bytes | None = GENESIS

    def start_before(self, position: int) -> None:
        """Start at ``position`` without knowing the entry before it, which was trimmed: any hash will do there."""
        self.position = self.batch = position - 1
        self.previous = GENESIS if position == 1 else None

    def start_after(self, value: pa.Buffer, *, position: int) -> None:
        """Start after the entry at ``position``. Raises Corrupt when its envelope is damaged."""
        self.start_before(position)
        self._open(memoryview(value), position=position)

    def seal(self, record: Record, *, epoch: int) -> list[Piece]:
        """The bytes of the next entry, in pieces. The chain stays where it is until ``advance`` is told of them."""
        assert self.previous is not None, "an appender knows the entry before its own"
        pieces = encode(record)
        size = sum(len(piece) for piece in pieces)
        fields = _FIELDS.pack(MAGIC, FORMAT, 0, self.position + 1, epoch, self.batch + 1, self.previous, size)
        return [fields + _CHECKSUM.pack(xxhash.xxh3_64_intdigest(fields)), *pieces]

    def advance(self, pieces: list[Piece], *, epoch: int) -> None:
        """Move on to the entry that ``seal`` made, now that it is in the log."""
        self.position += 1
        self.batch += 1
        self.epoch = epoch
        self.previous = xxhash.xxh3_128_digest(bytes(pieces[0]) + bytes(pieces[1]))

    def follow(self, value: pa.Buffer, *, position: int) -> Entry:
        """Verify and decode the entry that comes next, and move on to it.

        Raises Corrupt with the position, and Unavailable for a newer program's; the chain stays where it is then.
        """
        before = self.position, self.epoch, self.batch, self.previous
        epoch, batch, previous = self._open(memoryview(value), position=position)
        try:
            record = decode(value.slice(ENVELOPE_BYTES), where=f"entry {position} of {self.name}")
        except BaseException:
            self.position, self.epoch, self.batch, self.previous = before
            raise
        return Entry(position=position, epoch=epoch, batch=batch, previous=previous, record=record, data=value)

    def _open(self, view: memoryview, *, position: int) -> tuple[int, int, bytes]:
        """Check the envelope against the chain, and move on."""
        where = f"entry {position} of {self.name}"
        if len(view) < HASHED_BYTES:
            raise Corrupt(f"{where}: {len(view)} bytes are too few for an entry")
        magic, format, _, own_position, epoch, batch, previous, size = _FIELDS.unpack_from(view)
        (stored,) = _CHECKSUM.unpack_from(view, _FIELDS.size)
        if magic != MAGIC or stored != xxhash.xxh3_64_intdigest(view[: _FIELDS.size]):
            raise Corrupt(f"{where}: its envelope is damaged")
        if format > FORMAT:
            raise Unavailable(
                f"{where}: has format {format}, and this program reads formats up to {FORMAT}",
                hint="Upgrade WeftDB: a newer version wrote this entry.",
            )
        if size != len(view) - ENVELOPE_BYTES:
            raise Corrupt(f"{where}: its record has {len(view) - ENVELOPE_BYTES} bytes and should have {size}")
        if position != self.position + 1:
            raise Corrupt(f"{where}: entry {self.position + 1} is missing")
        if own_position != position:
            raise Corrupt(f"{where}: it was written for position {own_position}; entries were moved or repeated")
        if batch != self.batch + 1:
            raise Corrupt(f"{where}: it is batch {batch}, but batch {self.batch + 1} comes next: a hole or a repeat")
        if self.previous is not None and previous != self.previous:
            raise Corrupt(f"{where}: it does not follow the entry before it; the log has a fork there")
        if epoch < self.epoch:
            raise Corrupt(f"{where}: its epoch {epoch} is older than epoch {self.epoch} before it")
        self.position, self.epoch, self.batch = position, epoch, batch
        self.previous = xxhash.xxh3_128_digest(view[:HASHED_BYTES])
        return epoch, batch, previous
