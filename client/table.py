"""One table, seen through a database, a transaction or a snapshot.

One row or key of plain values travels as it is. All others are made Arrow here, against the table's definition as it is
known here (see ``definitions``), so that a wrong value is refused before it travels. Where that fails, and where the
server says that the table has another definition by now (ALTER TABLE), it is asked for again, and the rows are tried
once more if it has changed. The server checks everything again; it alone decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import pyarrow as pa

from ..base.arguments import check_scan
from ..base.batches import check_exported, exact
from ..base.errors import Invalid
from ..base.interface import Key, Keys, Rows, Written
from ..base.limits import MIB
from ..base.rows import to_batch, to_keys
from ..base.values import version_of
from ..proto.frames import cut, pack, write_schema, write_stream
from ..proto.values import from_value, is_plain, to_value, to_values
from ..proto.weftdb.v1.kv_pb2 import (
    Action,
    Bounds,
    Entities,
    ExportRequest,
    GetManyRequest,
    GetRequest,
    GetResponse,
    LoadHeader,
    LoadRequest,
    Once,
    ScanRequest,
    WriteRequest,
    WriteResponse,
)
from ..proto.weftdb.v1.types_pb2 import ValueList
from .definitions import Definition
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

    def known(self, table: str) -> Definition | None:
        """What is known of a table; it may be old. Raises Closed."""
        ...

    def describe(self, table: str) -> Definition:
        """The table as it is. Raises Invalid (42P01)."""
        ...

    def writer(self, table: RemoteTable, options: dict[str, Any]) -> RemoteWriter: ...


class RemoteTable:
    """Implements ``base.interface.Table``."""

    def __init__(self, source: Source, name: str) -> None:
        self._source = source
        self._name = name
        self._definition = source.known(name) or source.describe(name)

    @property
    def name(self) -> str:
        return self._name

    @property
    def schema(self) -> pa.Schema:
        return self._describe().schema

    @property
    def primary_key(self) -> tuple[str, ...]:
        return self._describe().primary_key

    def insert(self, rows: Rows, /) -> Written:
        return self._put(Action.ACTION_INSERT, rows)

    def put(self, rows: Rows, /) -> Written:
        return self._put(Action.ACTION_PUT, rows)

    def delete(self, keys: Keys, /) -> Written:
        if is_plain(keys) or (keys.__class__ is tuple and keys and all(map(is_plain, keys))):  # type: ignore[arg-type]
            return self._send(Action.ACTION_DELETE, **_key(keys))
        return self._write(Action.ACTION_DELETE, keys)

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
        def ask() -> pa.Table:
            batch = self._keys(given)
            request = GetManyRequest(
                session=self._source.session,
                table=self._name,
                keys=write_stream([batch], batch.schema),
                at_least=checked(at_least),
            )
            return self._source.wire.result("KeyValue/GetMany", request, again=Again.ALWAYS).arrow()

        given = _kept(keys)
        return self._by_definition(ask)

    def scan(
        self,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        key: object = None,
        time: tuple[object, object] | None = None,
        at_least: int | None = None,
    ) -> pa.RecordBatchReader:
        check_scan(columns, where, time)
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
        given = _kept(rows)
        return self._by_definition(lambda: to_batch(given, self._definition.schema))

    def keys(self, keys: Keys) -> pa.RecordBatch:
        """Primary keys as a batch. A table without a primary key gives one without columns: the server refuses it."""
        given = _kept(keys)
        return self._by_definition(lambda: self._keys(given))

    def version(self) -> int:
        """The version that reads of this table see."""
        return self._source.version

    def _keys(self, keys: object) -> pa.RecordBatch:
        if not self._definition.primary_key:
            return pa.RecordBatch.from_arrays([], schema=pa.schema([]))
        return to_keys(keys, self._definition.key_schema)

    def _by_definition(self, call: Callable[[], T]) -> T:
        """What ``call`` gives, which goes by the definition that is known; tried once more where that is old."""
        try:
            return call()
        except Invalid:
            known = self._definition.name
            if self._describe().name == known:
                raise
            return call()

    def _describe(self) -> Definition:
        self._definition = self._source.describe(self._name)
        return self._definition

    def _put(self, action: Action, rows: Any) -> Written:
        """One row of plain values goes as it is, and is judged by the server; all others as Arrow."""
        kind = rows.__class__
        if kind is tuple and rows and all(map(is_plain, rows)):
            return self._send(action, values=to_values(rows))
        if kind is dict and rows and all(map(is_plain, rows.values())) and all(name.__class__ is str for name in rows):
            return self._send(action, columns=list(rows), values=to_values(rows.values()))
        return self._write(action, rows)

    def _send(self, action: Action, **fields: Any) -> Written:
        request = WriteRequest(session=self._source.session, table=self._name, action=action, **fields)
        return _written(self._source.wire.once("KeyValue/Write", partial(_identified, request)))

    def _write(self, action: Action, rows: object) -> Written:
        """Rows or keys as Arrow."""
        given = _kept(rows)

        def write() -> Written:
            known = self._definition
            batch = self._keys(given) if action == Action.ACTION_DELETE else to_batch(given, known.schema)
            if batch.nbytes <= _ONE_MESSAGE_BYTES:
                return self._send(action, rows=write_stream([batch], batch.schema), definition=known.name)
            header = LoadHeader(
                session=self._source.session,
                table=self._name,
                action=action,
                schema=write_schema(batch.schema),
                definition=known.name,
            )
            wire = self._source.wire
            return _written(
                wire.once("KeyValue/Load", lambda once: _load(_identified(header, once), batch), stream=True)
            )

        return self._by_definition(write)

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


def _kept(rows: Any) -> Any:
    """Rows that can be looked at twice."""
    return rows.read_all() if isinstance(rows, pa.RecordBatchReader) else rows


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
