"""The log record: one group commit, as the log stores it.

A record holds the transactions of one group and, per transaction and table, the rows that it puts or deletes as
Arrow. All of it has one version. ``encode`` and ``decode`` are inverse; the bytes are described in docs/storage.md.

    ┌────────┬─────────┬────────────┬──────────────┬─────────┬─────────┬──────────────┬─────────────┐
    │ header │ schemas │ operations │ transactions │ narrow  │ strings │ Arrow schema │ Arrow batch │
    │ 64     │ 16 each │ 48 each    │ 32 each      │ 24 each │         │ messages     │ messages    │
    └────────┴─────────┴────────────┴──────────────┴─────────┴─────────┴──────────────┴─────────────┘
      checksum ──────────────────── covers every other byte ──────────────────────────────────────►

Always true: integers are little-endian; every Arrow message starts at a multiple of 64 bytes from the record's start,
so that batches are read in place; a schema that several operations share is stored once; one damaged byte anywhere,
padding included, is noticed.

Integers, dates and times of many rows are stored as offsets (storage/narrow.py); all else is read in place.

Schemas travel with every record, although the catalog knows them: a record can be read by itself, by replicas, by
feeds and by ``weft check``. That costs about 300 bytes; reading them is cached by their bytes. Dictionary-encoded
columns cannot be stored (their dictionaries are messages of their own); they are no public type either.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import xxhash
from pyarrow import ipc

from ..base.errors import Corrupt, Unavailable
from .narrow import Narrowed, narrow, stored_schema, widen


class Action(enum.Enum):
    """What an operation does with its rows."""

    PUT = "put"  # full rows; each ends the row version with the same primary key, if there is one
    DELETE = "delete"  # primary keys (or row ids); each ends the row version, if there is one
    TRUNCATE = "truncate"  # ends all rows of the table; the batch is empty
    DROP_SLICES = "drop slices"  # ends the table's slices below a boundary, which is the batch's one value
    INSTALL = "install"  # rows that a large transaction wrote into segment files before; the batch names them


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Rows of one table, by one transaction.

    ``early`` and ``distinct`` are not logged: what is known of the rows already, for ``apply`` to find it out no second
    time (engine/aggregates/early.py; no two rows have one primary key).

    ``batch``'s fields are named by column identifier in decimal ("1", "2", ...), in public Arrow types; that of
    DROP_SLICES is ``boundary``. ``delta`` marks a PUT that came from commutative deltas: its rows are the values after
    those of all transactions of the record, and ``ordinal`` is the last of these.
    """

    ordinal: int
    table: int
    schema_version: int
    action: Action
    batch: pa.RecordBatch
    delta: bool = False
    early: Any = field(default=None, compare=False, repr=False)
    distinct: bool = field(default=False, compare=False, repr=False)


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


FORMAT: Final = 2
"""The record format that ``encode`` writes, and the newest that ``decode`` reads."""

HEADER_BYTES: Final = 64
ALIGNMENT: Final = 64

_MAGIC: Final = b"WeLR"
# magic, format, -, version, wall clock, length, operations, transactions, schemas, strings' bytes, narrow, - | checksum
_HEADER: Final = struct.Struct("<4sHHqqQIIIII4s")
_CHECKSUM: Final = struct.Struct("<Q")
_SCHEMA: Final = struct.Struct("<QQ")  # offset, length
# ordinal, schema's index, table, schema version, action, delta, offset, length
_OPERATION: Final = struct.Struct("<IIqqBB6xQQ")
_NARROWED: Final = struct.Struct("<IHBxqq")  # operation, column, width of an offset, base, scale
_TRANSACTION: Final = struct.Struct("<IB3xqqII")  # ordinal, flags, rows, sequence, id's bytes, writer's bytes

_HAS_ID: Final = 1
_HAS_WRITER: Final = 2
_HAS_SEQUENCE: Final = 4

_ACTION_CODES: Final = {
    Action.PUT: 1,
    Action.DELETE: 2,
    Action.TRUNCATE: 3,
    Action.DROP_SLICES: 4,
    Action.INSTALL: 5,
}
_ACTIONS: Final = {code: action for action, code in _ACTION_CODES.items()}

_SCHEMAS_CACHED_MAX: Final = 4_096
_ZEROS: Final = bytes(ALIGNMENT)
_UNUSED: Final = bytes(4)

assert _HEADER.size + _CHECKSUM.size == HEADER_BYTES, "the header is one cache line, and messages after it aligned"
assert _ACTION_CODES.keys() == set(Action), "every action has a code"
assert (_SCHEMA.size, _OPERATION.size, _TRANSACTION.size, _NARROWED.size) == (16, 48, 32, 24), "as in docs/storage.md"

Piece = bytes | pa.Buffer


def encode(record: Record) -> list[Piece]:
    """The bytes of a record, in pieces to be written one after the other; the first is the header alone.

    A batch that is a slice is stored as its slice. Costs one copy of the rows and one pass for the checksum.
    """
    schemas: dict[bytes, int] = {}
    places: list[int] = []
    messages: list[pa.Buffer] = []
    narrowed: list[bytes] = []
    for number, operation in enumerate(record.operations):
        schema: bytes = operation.batch.schema.serialize().to_pybytes()
        places.append(schemas.setdefault(schema, len(schemas)))
        batch, columns = narrow(operation.batch)
        messages.append(batch.serialize())
        narrowed += [_NARROWED.pack(number, *column) for column in columns]

    transactions, strings = _encode_transactions(record.transactions)
    tables_bytes = len(schemas) * 16 + len(messages) * 48 + len(transactions) + len(narrowed) * 24 + len(strings)
    offset = HEADER_BYTES + _aligned(tables_bytes)
    tables: list[bytes] = []
    payload: list[Piece] = []
    for schema in schemas:
        tables.append(_SCHEMA.pack(offset, len(schema)))
        payload += (schema, _padding(len(schema)))
        offset += _aligned(len(schema))
    for operation, place, message in zip(record.operations, places, messages, strict=True):
        tables.append(
            _OPERATION.pack(
                operation.ordinal,
                place,
                operation.table,
                operation.schema_version,
                _ACTION_CODES[operation.action],
                operation.delta,
                offset,
                message.size,
            )
        )
        payload += (message, _padding(message.size))
        offset += _aligned(message.size)

    body: list[Piece] = [b"".join((*tables, transactions, *narrowed, strings, _padding(tables_bytes))), *payload]
    header = _HEADER.pack(
        _MAGIC,
        FORMAT,
        0,
        record.version,
        record.wall_clock,
        offset,
        len(record.operations),
        len(record.transactions),
        len(schemas),
        len(strings),
        len(narrowed),
        _UNUSED,
    )
    return [header + _CHECKSUM.pack(_checksum(header, body)), *body]


def decode(data: pa.Buffer | bytes | memoryview, *, where: str = "log record") -> Record:
    """The record whose bytes ``data`` holds; the inverse of ``encode``.

    Batches refer to ``data`` without a copy, but for narrow columns, and keep it alive. ``where`` names the record in
    errors. Raises Corrupt when a byte is not what was written, and Unavailable when a newer program wrote the record.
    """
    buffer = pa.py_buffer(data)
    view = memoryview(buffer)
    if len(view) < HEADER_BYTES:
        raise Corrupt(f"{where}: {len(view)} bytes are too few for a record, whose header alone has {HEADER_BYTES}")
    header = _HEADER.unpack_from(view)
    magic, format, _, version, wall_clock, length, operations, transactions, schemas, _, narrow_columns, _ = header
    if magic != _MAGIC:
        raise Corrupt(f"{where}: begins with {magic!r} and not with {_MAGIC!r}; this is no record, or it is damaged")
    if length != len(view):
        raise Corrupt(f"{where}: has {len(view)} bytes, but its header says {length}")
    (stored,) = _CHECKSUM.unpack_from(view, HEADER_BYTES - _CHECKSUM.size)
    computed = _checksum(view[: _HEADER.size], (view[HEADER_BYTES:],))
    if stored != computed:
        raise Corrupt(f"{where}: damaged, its checksum is {computed:016x} and should be {stored:016x}")
    if format > FORMAT:
        raise Unavailable(
            f"{where}: has format {format}, and this program reads formats up to {FORMAT}",
            hint="Upgrade WeftDB: a newer version wrote this record.",
        )

    operations_at = HEADER_BYTES + schemas * 16
    transactions_at = operations_at + operations * 48
    try:
        read_schemas = [
            _read_schema(buffer.slice(*_SCHEMA.unpack_from(view, HEADER_BYTES + index * 16)))
            for index in range(schemas)
        ]
        narrowed_at = transactions_at + transactions * _TRANSACTION.size
        strings_at = narrowed_at + narrow_columns * _NARROWED.size
        narrowed: dict[int, list[Narrowed]] = {}
        for number, *column in _NARROWED.iter_unpack(view[narrowed_at:strings_at]):
            narrowed.setdefault(number, []).append(Narrowed(*column))
        return Record(
            version=version,
            wall_clock=wall_clock,
            transactions=tuple(_decode_transactions(view, transactions_at, transactions, strings_at)),
            operations=tuple(
                Operation(
                    ordinal=ordinal,
                    table=table,
                    schema_version=schema_version,
                    action=_ACTIONS[action],
                    batch=_read_batch(buffer.slice(offset, size), read_schemas[place], narrowed.get(number, ())),
                    delta=bool(delta),
                )
                for number, (ordinal, place, table, schema_version, action, delta, offset, size) in enumerate(
                    _OPERATION.iter_unpack(view[operations_at:transactions_at])
                )
            ),
        )
    except (pa.ArrowException, struct.error, LookupError, ValueError) as error:
        raise Corrupt(f"{where}: its checksum is right, but its content is not: {error}") from error


def _encode_transactions(entries: tuple[TransactionEntry, ...]) -> tuple[bytes, bytes]:
    rows: list[bytes] = []
    strings: list[bytes] = []
    for entry in entries:
        id = b"" if entry.id is None else entry.id.encode(errors="surrogatepass")
        writer = b"" if entry.writer is None else entry.writer.encode(errors="surrogatepass")
        flags = (
            (_HAS_ID if entry.id is not None else 0)
            | (_HAS_WRITER if entry.writer is not None else 0)
            | (_HAS_SEQUENCE if entry.sequence is not None else 0)
        )
        rows.append(
            _TRANSACTION.pack(entry.ordinal, flags, entry.rows_count, entry.sequence or 0, len(id), len(writer))
        )
        strings += (id, writer)
    return b"".join(rows), b"".join(strings)


def _decode_transactions(view: memoryview, start: int, count: int, strings_at: int) -> Iterator[TransactionEntry]:
    at = strings_at  # in the order of the table
    entries = _TRANSACTION.iter_unpack(view[start : start + count * _TRANSACTION.size])
    for ordinal, flags, rows_count, sequence, id_bytes, writer_bytes in entries:
        id = str(view[at : at + id_bytes], "utf-8", "surrogatepass") if flags & _HAS_ID else None
        at += id_bytes
        writer = str(view[at : at + writer_bytes], "utf-8", "surrogatepass") if flags & _HAS_WRITER else None
        at += writer_bytes
        yield TransactionEntry(
            ordinal=ordinal,
            id=id,
            writer=writer,
            sequence=sequence if flags & _HAS_SEQUENCE else None,
            rows_count=rows_count,
        )


def _read_batch(message: pa.Buffer, schema: pa.Schema, narrowed: Sequence[Narrowed]) -> pa.RecordBatch:
    return widen(ipc.read_record_batch(message, stored_schema(schema, narrowed)), schema, narrowed)


def _read_schema(message: pa.Buffer) -> pa.Schema:
    """The schema in an Arrow message. Cached: single-row records would spend most of their time here."""
    key = message.to_pybytes()
    schema = _schemas_read.get(key)
    if schema is None:
        if len(_schemas_read) >= _SCHEMAS_CACHED_MAX:
            _schemas_read.clear()
        schema = _schemas_read[key] = ipc.read_schema(message)
    return schema


_schemas_read: Final[dict[bytes, pa.Schema]] = {}


def _checksum(header: bytes | memoryview, body: list[Piece] | tuple[memoryview]) -> int:
    hasher = xxhash.xxh3_64(header)
    for piece in body:
        hasher.update(piece)
    return hasher.intdigest()


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _padding(size: int) -> bytes:
    return _ZEROS[: -size % ALIGNMENT]
