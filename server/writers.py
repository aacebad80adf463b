"""Writers' streams: batches in, applied in order, each acknowledged; applied once however often they are sent.

    client:  1 2 3 ✗(connection breaks)      3 4 5 …            same writer, new stream
    server:  1 2 3                            3 → known, acknowledged with its first outcome; 4 5 …

What makes it exactly once is the engine's memory of each writer's last sequence number, which it writes with the batch
into the log; so it also holds over SIGKILL. What this module adds is order:

- One stream applies its batches one after the other; while one commits, the next is received and decoded, not more.
- After a batch failed nothing more from its stream is applied. The client sees the error and opens another stream.
- A writer has one stream. When a second one comes (the client lost its connection, the server has not noticed yet), the
  first applies nothing any more before the second begins.
- When the server drains, what was received is applied, and the stream ends with Unavailable: the client sends the rest
  to whoever answers next.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from ..base.errors import Closed, Internal, Invalid, Unavailable, WeftError
from ..base.limits import NAME_BYTES_MAX
from ..base.rows import to_batch, to_keys
from ..engine.changes import TAKEN_OVER, Change, WriterToken
from ..engine.database import Engine
from ..engine.schema import Table
from ..proto.failures import to_detail
from ..proto.frames import read_batch, read_schema
from ..proto.weftdb.v1.kv_pb2 import WriterLayout, WriterRequest, WriterResponse
from ..sql.keyvalue import row_bounds
from ..sql.session import Session
from .convert import bounds_in, change_of
from .gate import LOG, Call

_CHANGES: Final = (Change.INSERT, Change.PUT, Change.DELETE, Change.ADD)

Requests = Iterator[tuple[WriterRequest, pa.Buffer | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch, decoded and checked; or the error that this gave."""

    sequence: int
    table: str = ""
    change: Change = Change.PUT
    lower: object = None
    upper: object = None
    rows: pa.RecordBatch | None = None
    error: WeftError | None = None


@dataclass(slots=True, kw_only=True)
class Turn:
    """A stream's right to apply batches. ``lock`` is held while one is applied."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    over: bool = False


class WriterStreams:
    """All writers' streams of a server. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._mutex = threading.Lock()
        self._turns: dict[str, Turn] = {}
        self._draining: Future[Batch | None] = Future()

    def open(self, writer: str) -> int:
        """Take over the writer of a name; what its sequence numbers go on after. See ``Engine.open_writer``."""
        return self._engine.open_writer(writer)

    def drain(self) -> None:
        """Let every stream end after the batch that it has."""
        if not self._draining.done():
            self._draining.set_result(None)

    def run(self, requests: Requests, call: Call) -> Iterator[WriterResponse]:
        """One stream, to its end."""
        first = next(requests, None)
        if first is None:
            return
        writer = _identity(first[0])
        turn = self._take_turn(writer)
        decoder = Decoder(first, requests)
        session = Session(self._engine, principal=call.principal)
        ahead_of_commit = ThreadPoolExecutor(max_workers=1, thread_name_prefix="weftdb-decode")
        try:
            ahead = ahead_of_commit.submit(decoder.next)
            while True:
                wait((ahead, self._draining), return_when=FIRST_COMPLETED)
                if not ahead.done():
                    raise Unavailable("the server is shutting down", hint="Connect again in a moment.")
                batch = ahead.result()
                if batch is None:
                    return
                ahead = ahead_of_commit.submit(decoder.next)
                with turn.lock:
                    if turn.over:
                        raise Unavailable("this writer went on with another stream")
                    response = _apply(session, writer, batch)
                yield response
                if response.HasField("error"):
                    return
        finally:
            ahead_of_commit.shutdown(wait=False, cancel_futures=True)
            session.close()
            self._end_turn(writer, turn)

    def _take_turn(self, writer: str) -> Turn:
        """End the writer's older stream, wait for the batch that it is applying, and be the only one."""
        turn = Turn()
        with self._mutex:
            older, self._turns[writer] = self._turns.get(writer), turn
        if older is not None:
            with older.lock:
                older.over = True
        return turn

    def _end_turn(self, writer: str, turn: Turn) -> None:
        with self._mutex:
            if self._turns.get(writer) is turn:
                del self._turns[writer]


class Decoder:
    """Requests → batches. Remembers the layout and the last sequence number; used by one thread at a time."""

    def __init__(self, first: tuple[WriterRequest, pa.Buffer | None], rest: Requests) -> None:
        self._first: tuple[WriterRequest, pa.Buffer | None] | None = first
        self._rest = rest
        self._table = ""
        self._change: Change | None = None
        self._bounds: tuple[object, object] = (None, None)
        self._schema: pa.Schema | None = None
        self._sequence = 0

    def next(self) -> Batch | None:
        """The next batch; None at the end of the stream, however it ended."""
        request = self._first
        self._first = None
        if request is None:
            try:
                request = next(self._rest, None)
            except WeftError as error:
                return Batch(sequence=self._sequence, error=error)
            except Exception:  # gRPC raises a bare Exception when the call is gone
                return None
        if request is None:
            return None
        message, data = request
        try:
            return self._decode(message, data)
        except WeftError as error:
            return Batch(sequence=message.sequence, error=error)

    def _decode(self, message: WriterRequest, data: pa.Buffer | None) -> Batch:
        if message.HasField("layout"):
            self._remember(message.layout)
        if self._schema is None or self._change is None:
            raise Invalid("the first message of a stream has no layout", sqlstate="08P01")
        if message.sequence <= self._sequence:
            text = f"the batches' sequence numbers do not grow: {message.sequence} after {self._sequence}"
            raise Invalid(text, sqlstate="08P01")
        if data is None:
            raise Invalid(f"message {message.sequence} has no batch", sqlstate="08P01")
        self._sequence = message.sequence
        rows = read_batch(data, self._schema)
        lower, upper = self._bounds
        return Batch(
            sequence=message.sequence, table=self._table, change=self._change, lower=lower, upper=upper, rows=rows
        )

    def _remember(self, layout: WriterLayout) -> None:
        self._table = layout.table
        self._change = change_of(layout.action, allowed=_CHANGES)
        self._bounds = bounds_in(layout)
        if self._change is not Change.ADD and self._bounds != (None, None):
            raise Invalid(f"bounds are for ADD, not for {self._change.name}", sqlstate="08P01")
        self._schema = read_schema(layout.schema)


def _apply(session: Session, writer: str, batch: Batch) -> WriterResponse:
    """Commit one batch; what it raises is the answer."""
    if batch.rows is None:
        assert batch.error is not None, "a batch without rows has an error"
        return WriterResponse(sequence=batch.sequence, error=to_detail(batch.error))
    token = WriterToken(writer=writer, sequence=batch.sequence)
    try:
        table = session.describe(batch.table)
        rows = _fitted(table, batch.change, batch.rows)
        bounds = row_bounds(table, rows, lower=batch.lower, upper=batch.upper)
        commit = session.write(batch.table, batch.change, rows, token=token, bounds=bounds)
    except Closed as error:
        if error.sqlstate == TAKEN_OVER:
            return WriterResponse(sequence=batch.sequence, error=to_detail(error))
        stopping = Unavailable("the server is shutting down", hint="Connect again in a moment.")
        return WriterResponse(sequence=batch.sequence, error=to_detail(stopping))
    except WeftError as error:
        return WriterResponse(sequence=batch.sequence, error=to_detail(error))
    except Exception:
        LOG.exception("a writer's batch failed by a bug")
        error = Internal("the batch failed by a bug of WeftDB", hint="The server's log says more; report it.")
        return WriterResponse(sequence=batch.sequence, error=to_detail(error))
    return WriterResponse(sequence=batch.sequence, version=commit.version, rows=commit.rows)


def _fitted(table: Table, change: Change, rows: pa.RecordBatch) -> pa.RecordBatch:
    """The batch in exactly the table's types: what a client says of its own is not believed."""
    if change is Change.DELETE:
        return to_keys(rows, table.key_schema)
    return to_batch(rows, table.arrow_schema)


def _identity(request: WriterRequest) -> str:
    if not 1 <= len(request.writer) <= NAME_BYTES_MAX:
        raise Invalid("the first message of a stream names no writer", hint="Make up a UUID.", sqlstate="08P01")
    return request.writer
