"""Arrow batches on the wire, without copies that are not needed.

A message that carries a batch (ResultPart, LoadRequest, WriterRequest) ends with two bytes fields, ``padding`` and
``batch``:

    ┌──────────────────┬─────────────┬─────────────┬──────────────────────────────────────────────┐
    │ the other fields │ tag len 0…0 │ tag len     │ encapsulated RecordBatch: metadata │ body    │
    └──────────────────┴─────────────┴─────────────┴──────────────────────────────────────────────┘
      head               padding       batch         ▲ offset divisible by 8

``join`` writes this by hand, so that the body is copied once (into the message) instead of three times by protobuf.
``split`` finds the batch as a slice of the received bytes: Python's bytes start at a multiple of 16, Arrow's body at a
multiple of 8 within the batch, so with the padding Arrow reads values where they lie. What another client sends without
padding or in another order is read all the same, by protobuf, at the price of a copy.

Nothing that arrives is trusted: ``read_batch`` checks everything (lengths, offsets, UTF-8, decimals) before any other
code sees the batch, which costs 1 µs for fixed-width columns and 6 ns per text. Only the client trusts, namely the
server that it chose. No dictionaries: they would be state. No compression: what 64 MiB expand to has no limit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

import pyarrow as pa
from google.protobuf.message import Message
from pyarrow import ipc

from ..base.errors import Invalid, LimitExceeded
from ..base.limits import CHUNK_BYTES, MESSAGE_BYTES_MAX

M = TypeVar("M", bound=Message)

_ALIGNMENT: Final = 8
_FIRST_CHUNKS: Final = 4
_ENVELOPE_BYTES: Final = 64 * 1024
"""Room for a message's other fields and Arrow's metadata beside the values of a batch."""


def pack(head: Message, batch: pa.RecordBatch | None) -> bytes:
    """A message of ``head``'s class, serialized, with ``batch`` in it."""
    data = head.SerializeToString()
    if batch is None:
        return data
    fields = head.DESCRIPTOR.fields_by_name
    padding, place = fields["padding"].number, fields["batch"].number
    return join(data, batch.serialize(), padding_field=padding, batch_field=place)


def unpack(kind: type[M], message: bytes) -> tuple[M, pa.Buffer | None]:
    """The inverse of ``pack``: the other fields, and the batch's bytes, unchecked. Raises protobuf's DecodeError."""
    parts = split(message, batch_field=kind.DESCRIPTOR.fields_by_name["batch"].number)
    if parts is not None:
        return kind.FromString(parts[0]), parts[1]
    whole: Any = kind.FromString(message)
    return whole, pa.py_buffer(whole.batch) if whole.batch else None


def join(head: bytes, batch: pa.Buffer, *, padding_field: int, batch_field: int) -> bytes:
    """A message: the fields of ``head`` (already serialized), padding, and the batch."""
    size = _varint(batch.size)
    before = len(head) + 2 + 1 + len(size)
    padding = -before % _ALIGNMENT
    prefix = bytes((padding_field << 3 | 2, padding)) + bytes(padding) + bytes((batch_field << 3 | 2,)) + size
    return b"".join((head, prefix, memoryview(batch)))


def split(message: bytes, *, batch_field: int) -> tuple[bytes, pa.Buffer] | None:
    """The inverse of ``join``: the fields before the batch, serialized, and the batch as a slice of ``message``.

    None if the message is not of that form (no batch, or not at the end, or not aligned): let protobuf read it.
    """
    at, end = 0, len(message)
    while at < end:
        start = at
        tag, at = _read_varint(message, at)
        kind = tag & 7
        if kind == 0:
            _, at = _read_varint(message, at)
        elif kind == 2:
            length, at = _read_varint(message, at)
            if tag >> 3 == batch_field and at + length == end and length and at % _ALIGNMENT == 0:
                return message[:start], pa.py_buffer(message).slice(at)
            at += length
        else:
            return None
    return None


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A varint and the place after it; a broken one gives a place beyond the end, which ends every walk."""
    number = shift = 0
    end = len(data)
    while at < end and shift < 64:
        byte = data[at]
        number |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return number, at
        shift += 7
    return 0, end + 1


def write_schema(schema: pa.Schema) -> bytes:
    """The encapsulated Schema message."""
    return schema.serialize().to_pybytes()


def read_schema(data: bytes, *, trusted: bool = False) -> pa.Schema:
    """The schema of an encapsulated message; without metadata unless ``trusted``.

    Raises Invalid for malformed bytes and for dictionaries.
    """
    try:
        schema: pa.Schema = ipc.read_schema(pa.py_buffer(data))
        return schema if trusted else _plain(schema)
    except _ARROW_ERRORS as error:
        raise _malformed("schema", error) from None


def _plain(schema: pa.Schema) -> pa.Schema:
    """Names and types only. Raises Invalid for dictionaries, and UnicodeDecodeError for names that are no text."""
    fields: list[pa.Field] = []
    for field in schema:
        if "dictionary<" in str(field.type):  # also inside of nested types; and Arrow does not check their names
            raise Invalid(
                f'column "{field.name}" is dictionary-encoded, which a stream of batches cannot carry',
                hint="Cast it to its value type first.",
                sqlstate="22023",
            )
        fields.append(pa.field(field.name, field.type, nullable=field.nullable))
    return pa.schema(fields)


def read_batch(data: pa.Buffer | bytes, schema: pa.Schema, *, trusted: bool = False) -> pa.RecordBatch:
    """The batch of an encapsulated message, checked in full unless ``trusted``. Raises Invalid for malformed bytes."""
    buffer: pa.Buffer = pa.py_buffer(data)
    if buffer.address % _ALIGNMENT:
        buffer = pa.py_buffer(buffer.to_pybytes())
    try:
        return _batch_of(ipc.read_message(buffer), schema, trusted=trusted)
    except _ARROW_ERRORS as error:
        raise _malformed("record batch", error) from None


def write_stream(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> bytes:
    """A whole Arrow IPC stream, for a request of one message."""
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def read_stream(data: bytes) -> pa.Table:
    """The rows of a whole Arrow IPC stream, checked in full. Raises Invalid for malformed bytes."""
    try:
        messages = ipc.MessageReader.open_stream(pa.py_buffer(data))
        first = messages.read_next_message()
        if first.type != "schema":  # Arrow crashes on reading a schema from another message
            raise Invalid("malformed Arrow stream: it does not begin with a schema", sqlstate="22P03")
        schema = _plain(ipc.read_schema(first))
        batches = [_batch_of(message, schema, trusted=False) for message in messages]
    except StopIteration:
        raise Invalid("malformed Arrow stream: it has no schema", sqlstate="22P03") from None
    except _ARROW_ERRORS as error:
        raise _malformed("stream", error) from None
    return pa.Table.from_batches(batches, schema=schema)


def _batch_of(message: Any, schema: pa.Schema, *, trusted: bool) -> pa.RecordBatch:
    """The batch of one message of IPC, checked in full unless trusted."""
    if message.type != "record batch":
        raise Invalid(f"a {message.type} message where a record batch is expected", sqlstate="22P03")
    if not trusted and _is_compressed(message.metadata):
        raise Invalid(
            "compressed Arrow batches are not taken: a small message could fill the memory",
            hint="Write them without compression.",
            sqlstate="0A000",
        )
    batch: pa.RecordBatch = ipc.read_record_batch(message, schema)
    if not trusted:
        batch.validate(full=True)
    return batch


def _is_compressed(metadata: pa.Buffer) -> bool:
    """Whether a RecordBatch message says that its buffers are compressed; Arrow would expand them before we see it.

    The metadata is a flatbuffer, Message { …; header (field 2): RecordBatch { …; compression (field 3) } }; Arrow has
    verified it. Raises struct.error where it is too short all the same.
    """
    data = memoryview(metadata)
    (root,) = struct.unpack_from("<I", data)
    place = _field(data, root, 2)
    if not place:
        return False
    (header,) = struct.unpack_from("<I", data, place)
    return _field(data, place + header, 3) != 0


def _field(data: memoryview, table: int, number: int) -> int:
    """Where a flatbuffer table has a field; 0 if it has none. The table begins with the distance back to its map."""
    (back,) = struct.unpack_from("<i", data, table)
    (size,) = struct.unpack_from("<H", data, table - back)
    at = 4 + 2 * number
    if at + 2 > size:
        return 0
    (offset,) = struct.unpack_from("<H", data, table - back + at)
    return table + offset if offset else 0


def cut(
    batches: Iterable[pa.RecordBatch], *, bytes_max: int = CHUNK_BYTES, later_bytes_max: int | None = None
) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of about ``bytes_max``: small ones are joined, large ones split. Empty ones vanish.

    ``later_bytes_max``: of all but the first few. Raises LimitExceeded for a single row that no message can carry.
    """
    waiting: list[pa.RecordBatch] = []
    waiting_bytes = sent_bytes = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        size = batch.nbytes
        if later_bytes_max is not None and sent_bytes >= _FIRST_CHUNKS * bytes_max:
            bytes_max = later_bytes_max
        sent_bytes += size
        if waiting and waiting_bytes + size > bytes_max:
            yield _joined(waiting)
            waiting, waiting_bytes = [], 0
        if size > bytes_max:
            yield from _pieces(batch, bytes_max)
            continue
        waiting.append(batch)
        waiting_bytes += size
    if waiting:
        yield _joined(waiting)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def _pieces(batch: pa.RecordBatch, bytes_max: int) -> Iterator[pa.RecordBatch]:
    """Slices of even row counts; those that are still too large for a message (rows differ) are split again."""
    pieces = -(-batch.nbytes // bytes_max)
    rows = max(1, -(-batch.num_rows // pieces))
    for start in range(0, batch.num_rows, rows):
        piece = batch.slice(start, rows)
        if piece.nbytes <= MESSAGE_BYTES_MAX - _ENVELOPE_BYTES:
            yield piece
        elif piece.num_rows > 1:
            yield from _pieces(piece, bytes_max)
        else:
            raise LimitExceeded(
                f"one row has {piece.nbytes:,} bytes, more than a message can carry ({MESSAGE_BYTES_MAX:,})",
                hint="Select fewer columns at a time.",
            )


def _malformed(what: str, error: Exception) -> Invalid:
    text = str(error).splitlines()[0] if str(error) else error.__class__.__name__
    return Invalid(f"malformed Arrow {what}: {text[:300]}", sqlstate="22P03")


# What pyarrow raises on damaged input; OverflowError and MemoryError come from lengths that cannot be.
_ARROW_ERRORS: Final[tuple[Any, ...]] = (
    pa.ArrowException,
    struct.error,
    ValueError,
    TypeError,
    KeyError,
    OSError,
    EOFError,
    MemoryError,
    OverflowError,
    NotImplementedError,
)
