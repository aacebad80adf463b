"""The key-value service: rows in and out by primary key, as values or as Arrow; a thin encoder over ``Session``."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyarrow as pa

from ..base.errors import Invalid, LimitExceeded
from ..base.interface import Written
from ..base.limits import TRANSACTION_BYTES_MAX
from ..engine.changes import Change
from ..proto.failures import STALE
from ..proto.frames import read_batch, read_schema, read_stream
from ..proto.values import from_value, from_values, to_values
from ..proto.weftdb.v1.kv_pb2 import (
    DescribeRequest,
    ExportRequest,
    GetManyRequest,
    GetRequest,
    GetResponse,
    LoadHeader,
    LoadRequest,
    OpenWriterRequest,
    OpenWriterResponse,
    ScanRequest,
    TableDescription,
    WriteRequest,
    WriteResponse,
)
from ..sql.session import Session
from .convert import at_least, bounds_in, change_of, describe, name_of
from .gate import Call
from .once import Repeats
from .sessions import Sessions
from .writers import WriterStreams

ROWS_CHANGES = (Change.INSERT, Change.PUT, Change.DELETE)
"""What may be done with many rows at once; UPDATE and ADD name one row."""


class Budget:
    """Bytes that all loads together may hold while they collect their rows. Thread-safe."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._taken = 0

    @contextmanager
    def share(self) -> Generator[Share]:
        """One load's part, given back when the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            self.change(-share.taken)

    def change(self, count: int) -> None:
        with self._lock:
            if self._taken + count > self._bytes_max:
                message = f"the writes that are coming in hold more than {self._bytes_max:,} bytes"
                raise LimitExceeded(f"{message} (TRANSACTION_BYTES_MAX)", hint="Write in parts, or through a writer.")
            self._taken += count


class Share:
    """What one load holds."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.taken = 0

    def take(self, count: int) -> None:
        """Raises LimitExceeded."""
        self._budget.change(count)
        self.taken += count


class KeyValueService:
    """Methods of ``weftdb.v1.KeyValue``."""

    def __init__(self, sessions: Sessions, writers: WriterStreams, repeats: Repeats) -> None:
        self._sessions = sessions
        self._writers = writers
        self._repeats = repeats
        self._loading = Budget(TRANSACTION_BYTES_MAX)

    def describe(self, request: DescribeRequest, call: Call) -> TableDescription:
        with self._sessions.use(request.session, call) as use:
            table, definitions = use.session.described(request.table)
        return describe(table, definitions=definitions)

    def get(self, request: GetRequest, call: Call) -> GetResponse:
        with self._sessions.use(request.session, call) as use:
            row, version = use.session.found(request.table, _key(request), at_least(request))
        if row is None:
            return GetResponse(found=False, version=version)
        return GetResponse(found=True, columns=row.keys(), values=to_values(row.values()), version=version)

    def get_many(self, request: GetManyRequest, call: Call) -> bytes:
        keys = read_stream(request.keys)
        with self._sessions.use(request.session, call) as use:
            result = use.session.get_many(request.table, keys, at_least(request))
            return self._sessions.answer(result, use, call)

    def scan(self, request: ScanRequest, call: Call) -> bytes:
        time = None
        if request.HasField("time_lower") or request.HasField("time_upper"):
            time = (from_value(request.time_lower), from_value(request.time_upper))
        with self._sessions.use(request.session, call) as use:
            result = use.session.scan(
                request.table,
                columns=None if request.all_columns else list(request.columns),
                where=request.where or None,
                key=_entities(request),
                time=time,
                at_least=at_least(request),
            )
            return self._sessions.answer(result, use, call)

    def export(self, request: ExportRequest, call: Call) -> bytes:
        with self._sessions.use(request.session, call) as use:
            columns = list(request.columns) or None
            result = use.session.export(request.table, columns=columns, at_least=at_least(request))
            return self._sessions.answer(result, use, call)

    def write(self, request: WriteRequest, call: Call) -> WriteResponse:
        change = change_of(request.action)
        if change in ROWS_CHANGES:
            rows = _rows(request, change)
            work = partial(_write_rows, table=request.table, change=change, rows=rows, definition=request.definition)
            return self._repeats.write(request.once, request.session, call, work)
        _check_columns(request)
        key = _key(request)
        changes = dict(zip(request.columns, from_values(request.values), strict=True))
        lower, upper = bounds_in(request)

        def work(session: Session) -> Written:
            if change is Change.UPDATE:
                return session.update(request.table, key, changes)
            return session.add(request.table, key, changes, lower=lower, upper=upper)

        return self._repeats.write(request.once, request.session, call, work, one_row=True)

    def load(self, requests: Iterator[tuple[LoadRequest, pa.Buffer | None]], call: Call) -> WriteResponse:
        """Collect all batches, then write them at once: all or nothing."""
        first, data = next(requests, (None, None))
        if first is None or not first.HasField("header"):
            raise Invalid("the first message of a load has no header", sqlstate="08P01")
        header = first.header
        change = change_of(header.action, allowed=ROWS_CHANGES)
        schema = read_schema(header.schema)
        if call.outside(header.session):
            return self._stream_in(header, change, schema, _batches(first, data, requests, schema), call)
        with self._loading.share() as share:
            batches = list(_batches(first, data, requests, schema, share))
            rows = pa.Table.from_batches(batches, schema=schema)
            work = partial(_write_rows, table=header.table, change=change, rows=rows, definition=header.definition)
            return self._repeats.write(header.once, header.session, call, work)

    def _stream_in(
        self, header: LoadHeader, change: Change, schema: pa.Schema, batches: Iterator[pa.RecordBatch], call: Call
    ) -> WriteResponse:
        """Outside a transaction: write the batches as they come, all or nothing."""
        rows = pa.RecordBatchReader.from_batches(schema, batches)
        work = partial(_write_rows, table=header.table, change=change, rows=rows, definition=header.definition)
        return self._repeats.write(header.once, "", call, work)

    def open_writer(self, request: OpenWriterRequest, call: Call) -> OpenWriterResponse:
        return OpenWriterResponse(sequence=self._writers.open(request.writer))

    def stream(self, requests: Iterator[Any], call: Call) -> Iterator[Any]:
        return self._writers.run(requests, call)


def _batches(
    first: LoadRequest | None,
    data: pa.Buffer | None,
    requests: Iterator[tuple[LoadRequest, pa.Buffer | None]],
    schema: pa.Schema,
    share: Share | None = None,
) -> Iterator[pa.RecordBatch]:
    """The batches of a load. Raises Invalid where they end before the last one: the client broke it off."""
    while first is not None:
        if data is not None:
            if share is not None:
                share.take(data.size)
            yield read_batch(data, schema)
        if first.last:
            return
        first, data = next(requests, (None, None))
    raise Invalid("the load was broken off by the client; nothing was written", sqlstate="57014")


def _write_rows(session: Session, *, table: str, change: Change, rows: Any, definition: str) -> Written:
    """Raises Invalid (STALE) where the rows were made for a definition that the table does not have (any more)."""
    if definition and definition != name_of(session.describe(table)):
        message = f'the rows were made for another definition of "{table}" than it has now; nothing was written'
        raise Invalid(message, hint="Describe the table again.", sqlstate=STALE)
    methods = {Change.INSERT: session.insert, Change.PUT: session.put, Change.DELETE: session.delete}
    return methods[change](table, rows)


def _rows(request: WriteRequest, change: Change) -> object:
    """Rows or keys to write, as a program gives them: Arrow; or one, a tuple or dict; or a plain key."""
    if not request.rows and change is Change.DELETE and request.key:
        return _key(request)
    if request.rows or not request.values:
        return read_stream(request.rows)
    values = from_values(request.values)
    if not request.columns:
        return tuple(values)
    _check_columns(request)
    return dict(zip(request.columns, values, strict=True))


def _check_columns(request: WriteRequest) -> None:
    if len(request.columns) != len(request.values):
        raise Invalid(f"{len(request.columns)} columns but {len(request.values)} values", sqlstate="08P01")


def _key(request: GetRequest | WriteRequest) -> object:
    """A primary key as a program gives it: a value, a tuple, or a dict by column name."""
    values = from_values(request.key)
    if request.key_columns:
        if len(request.key_columns) != len(values):
            raise Invalid(f"{len(request.key_columns)} key columns but {len(values)} values", sqlstate="08P01")
        return dict(zip(request.key_columns, values, strict=True))
    return values[0] if len(values) == 1 else tuple(values)


def _entities(request: ScanRequest) -> list[Any] | None:
    """The keys wanted: plain values where the key has one column, else tuples; None for all."""
    if not request.HasField("entities"):
        return None
    keys = [tuple(from_values(key.values)) for key in request.entities.keys]
    return [key[0] if len(key) == 1 else key for key in keys]
