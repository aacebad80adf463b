"""One table, seen through a database, a transaction or a snapshot.

One row or key of plain values travels as it is. All others are made Arrow here, against the table's schema as it was
described last, so that a wrong value is refused before it travels. When that fails the description may be old (ALTER TABLE): it is asked for again, and the rows are
tried once more if it has changed. The server checks everything again; it alone decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import pyarrow as pa

from ..base.batches import check_exported, exact
from ..base.errors import Invalid
from ..base.interface import Key, Keys, Rows, Written
from ..base.limits import MIB
from ..base.rows import to_batch, to_keys
from ..base.values import version_of
from ..proto.frames import cut, pack, read_schema, write_schema, write_stream
from ..proto.values import from_value, is_plain, to_value, to_values
from ..proto.weftdb.v1.kv_pb2 import (
    Action,
    Bounds,
    DescribeRequest,
    Entities,
    ExportRequest,
    GetManyRequest,
    GetRequest,
    GetResponse,
    LoadHeader,
    LoadRequest,
    Once,
    ScanRequest,
    TableDescription,
    WriteRequest,
    WriteResponse,
)
from ..proto.weftdb.v1.types_pb2 import ValueList
from .wire import Again, Wire
from .writer import RemoteWriter, to_bounds

T = TypeVar("T")
R = TypeVar("R", WriteRequest, LoadHeader)

_ONE_MESSAGE_BYTES: Final = 4 * MIB
"""Rows above this go as a stream of chunks, which are cheaper than one large message."""


class Source(Protocol):
    """What a table is seen through. ``session`` raises Closed once that is over."""

    wire: Wire

    @property
    def session(self) -> str: ...

    @property
    def version(self) -> int: ...

    def writer(self, table: RemoteTable, options: dict[str, Any]) -> RemoteWriter: ...


class RemoteTable:
    """Implements ``base.interface.Table``."""

    def __init__(self, source: Source, name: str) -> None:
        self._source = source
        self._name = name
        self._describe()

    @property
    def name(self) -> str:
        return self._name

    @property
    def schema(self) -> pa.Schema:
        self._describe()
        return self._schema

    @property
    def primary_key(self) -> tuple[str, ...]:
        return tuple(self._description.primary_key)

    def insert(self, rows: Rows, /) -> Written:
        return self._put(Action.ACTION_INSERT, rows)

    def put(self, rows: Rows, /) -> Written:
        return self._put(Action.ACTION_PUT, rows)

    def delete(self, keys: Keys, /) -> Written:
        if is_plain(keys) or (keys.__class__ is tuple and keys and all(map(is_plain, keys))):  # type: ignore[arg-type]
            return self._send(Action.ACTION_DELETE, **_key(keys))
        return self._write(Action.ACTION_DELETE, self.keys(keys))

    def update(self, key: Key, /, **changes: object) -> Written:
        return self._change(Action.ACTION_UPDATE, key, changes)

    def add(
        self,
        key: Key,
        amounts: Mapping[str, object] | None = None,
        /,
        *,
        min: object = None,
        max: object = None,
        **more: object,
    ) -> Written:
        given = {**(amounts or {}), **more}
        return self._change(Action.ACTION_ADD, key, given, lower=to_bounds(min), upper=to_bounds(max))

    def get(self, key: Key, /, *, at_least: int | None = None) -> dict[str, object] | None:
        request = GetRequest(session=self._source.session, table=self._name, at_least=checked(at_least), **_key(key))
        answer = self._source.wire.ask("KeyValue/Get", request, GetResponse, again=Again.ALWAYS)
        if not answer.found:
            return None
        return dict(zip(answer.columns, map(from_value, answer.values), strict=True))

    def get_many(self, keys: Keys, /, *, at_least: int | None = None) -> pa.Table:
        batch = self.keys(keys)
        request = GetManyRequest(
            session=self._source.session,
            table=self._name,
            keys=write_stream([batch], batch.schema),
            at_least=checked(at_least),
        )
        return self._source.wire.result("KeyValue/GetMany", request, again=Again.ALWAYS).arrow()

    def scan(
        self,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        key: object = None,
        time: tuple[object, object] | None = None,
        at_least: int | None = None,
    ) -> pa.RecordBatchReader:
        request = ScanRequest(
            session=self._source.session,
            table=self._name,
            columns=columns,
            all_columns=columns is None,
            where=where,
            entities=None if key is None else _entities(key),
            at_least=checked(at_least),
        )
        if time is not None:
            lower, upper = time
            request.time_lower.CopyFrom(to_value(lower))
            request.time_upper.CopyFrom(to_value(upper))
        return self._source.wire.result("KeyValue/Scan", request, again=Again.ALWAYS).reader()

    def export(self, *, columns: Sequence[str] | None = None, at_least: int | None = None) -> pa.RecordBatchReader:
        check_exported(columns)
        request = ExportRequest(
            session=self._source.session, table=self._name, columns=columns, at_least=checked(at_least)
        )
        return exact(self._source.wire.result("KeyValue/Export", request, again=Again.ALWAYS).reader())

    def writer(self, **options: Any) -> RemoteWriter:
        """A pipelined writer; see ``RemoteWriter`` for the options."""
        return self._source.writer(self, options)

    def rows(self, rows: Rows) -> pa.RecordBatch:
        """Rows as a batch of this table's types. Raises Invalid, naming column, row and value."""
        return self._fitted(lambda: to_batch(rows, self._schema), rows)

    def keys(self, keys: Keys) -> pa.RecordBatch:
        """Primary keys as a batch. A table without a primary key gives one without columns: the server refuses it."""
        if not self._description.primary_key:
            return pa.RecordBatch.from_arrays([], schema=pa.schema([]))
        return self._fitted(lambda: to_keys(keys, self._key_schema), keys)

    def version(self) -> int:
        """The version that reads of this table see."""
        return self._source.version

    def _fitted(self, build: Callable[[], T], given: object) -> T:
        try:
            return build()
        except Invalid:
            version = self._description.schema_version
            if isinstance(given, pa.RecordBatchReader):
                raise  # it is used up
            self._describe()
            if self._description.schema_version == version:
                raise
            return build()

    def _describe(self) -> None:
        request = DescribeRequest(session=self._source.session, table=self._name)
        description = self._source.wire.ask("KeyValue/Describe", request, TableDescription, again=Again.ALWAYS)
        schema = read_schema(description.schema, trusted=True)
        self._description = description
        self._schema = schema
        self._key_schema = pa.schema([schema.field(name) for name in description.primary_key])

    def _put(self, action: Action, rows: Any) -> Written:
        """One row of plain values goes as it is, and is judged by the server; all others as Arrow."""
        kind = rows.__class__
        if kind is tuple and rows and all(map(is_plain, rows)):
            return self._send(action, values=to_values(rows))
        if kind is dict and rows and all(map(is_plain, rows.values())) and all(name.__class__ is str for name in rows):
            return self._send(action, columns=list(rows), values=to_values(rows.values()))
        return self._write(action, self.rows(rows))

    def _send(self, action: Action, **fields: Any) -> Written:
        request = WriteRequest(session=self._source.session, table=self._name, action=action, **fields)
        return _written(self._source.wire.once("KeyValue/Write", partial(_identified, request)))

    def _write(self, action: Action, batch: pa.RecordBatch) -> Written:
        wire, session = self._source.wire, self._source.session
        if batch.nbytes <= _ONE_MESSAGE_BYTES:
            return self._send(action, rows=write_stream([batch], batch.schema))
        header = LoadHeader(session=session, table=self._name, action=action, schema=write_schema(batch.schema))
        return _written(wire.once("KeyValue/Load", lambda once: _load(_identified(header, once), batch), stream=True))

    def _change(
        self,
        action: Action,
        key: Key,
        changes: dict[str, object],
        *,
        lower: Bounds | None = None,
        upper: Bounds | None = None,
    ) -> Written:
        values = to_values(changes.values())
        return self._send(action, columns=changes, values=values, lower=lower, upper=upper, **_key(key))


def checked(at_least: object) -> int | None:
    """A version that fits the wire, or None. Raises Invalid."""
    return None if at_least is None else version_of(at_least, "at_least")


def _identified(request: R, once: Once) -> R:
    request.once.CopyFrom(once)
    return request


def _written(answer: WriteResponse) -> Written:
    return Written(version=answer.version, rows=answer.rows)


def _load(header: LoadHeader, batch: pa.RecordBatch) -> Iterator[bytes]:
    head = LoadRequest(header=header)
    left = batch.num_rows
    for piece in cut([batch]):
        left -= piece.num_rows
        head.last = not left
        yield pack(head, piece)
        head = LoadRequest()


def _key(key: Key) -> dict[str, Any]:
    """A primary key's fields of a request: a value, a tuple in the key's order, or a dict by name."""
    if isinstance(key, dict):
        return {"key": to_values(key.values()), "key_columns": list(map(str, key))}
    return {"key": to_values(key if isinstance(key, tuple) else (key,))}


def _entities(key: object) -> Entities:
    wanted: list[Any] = key if isinstance(key, list) else [key]
    return Entities(keys=[ValueList(values=to_values(one if isinstance(one, tuple) else (one,))) for one in wanted])
