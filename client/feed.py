"""The remote change feed: a stream that a thread reads ahead by one batch, and begins anew where a connection breaks.

    server ── parts of batches ──► thread: whole batches ──► queue of one ──► poll

While the queue is full the thread takes nothing from gRPC, whose flow control then stops the server. After a broken
connection or a server's stop the stream goes on at the position of the last whole batch, for as long as a COMMIT would
be asked for. Only where a version came half, in pieces, that is told: what came of it comes again.

The thread holds the stream and not the feed, so that a feed that nobody has any more ends.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import grpc
import pyarrow as pa

from ..base import interface
from ..base.errors import Closed, Internal, Invalid, Unavailable, WeftError
from ..base.limits import COMMIT_RETRY_SECONDS
from ..base.values import version_of
from ..proto.frames import read_batch, read_schema, unpack
from ..proto.weftdb.v1.feed_pb2 import AcknowledgeRequest, ChangesPart, ChangesRequest
from ..proto.weftdb.v1.transactions_pb2 import EmptyResponse
from .failures import is_broken, is_stopping
from .wire import Again, Wire, now

AHEAD: Final = 1
"""Batches that are there before they are asked for, beside the one that comes in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """A batch, or only a position that moved. ``partial``: rows of the version after the position have come."""

    batch: pa.RecordBatch | None
    position: int
    partial: bool


class RemoteChanges(interface.Changes):
    """Implements ``base.interface.Changes``."""

    def __init__(self, wire: Wire, table: str, *, from_version: int | None, before: bool, name: str | None) -> None:
        if name == "":
            raise Invalid("the name of a feed has 1 to 63 bytes, and no NUL", sqlstate="42602")
        version = None if from_version is None else version_of(from_version, "from_version")
        request = ChangesRequest(table=table, from_version=version, before=before, name=name or "")
        self._wire = wire
        self._name = name
        self._stream = _Stream(wire, request)
        self._position = self._stream.begin()
        self._end = weakref.finalize(self, self._stream.close)

    @property
    def position(self) -> int:
        return self._position

    def poll(self, timeout: float | None = None) -> pa.RecordBatch | None:
        until = None if timeout is None else now() + timeout
        while True:
            item = self._stream.take(None if until is None else max(0.0, until - now()))
            if item is None:
                return None
            self._position = item.position
            if item.batch is not None:
                return item.batch

    def acknowledge(self, version: int | None = None) -> None:
        self._stream.check_open()
        if self._name is None:
            raise Invalid(
                "a feed without a name has no position to keep", hint="Open it with a name.", sqlstate="55000"
            )
        done = self._position if version is None else version_of(version, "version")
        request = AcknowledgeRequest(name=self._name, version=done)
        self._wire.ask("Feeds/Acknowledge", request, EmptyResponse, again=Again.ALWAYS)

    def abandon(self) -> None:
        """The database closes."""
        self.close()

    def close(self) -> None:
        self._end()


class _Stream:
    """What the thread has: the call, the queue, and where to go on."""

    def __init__(self, wire: Wire, request: ChangesRequest) -> None:
        self._wire = wire
        self._request = request
        self._changed = threading.Condition()
        self._items: deque[_Item] = deque()
        self._error: WeftError | None = None
        self._closed = False
        self._call: Any = None
        self._thread: threading.Thread | None = None
        self._position = 0
        self._partial = False

    def begin(self) -> int:
        """Open the stream, and say at which version it begins. Raises what the server refuses it for."""
        position = self._position = self._open()
        self._start()
        return position

    def take(self, seconds: float | None) -> _Item | None:
        """The next item, waiting for it at most so long. Raises what ended the stream, once; then it goes on."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._error or self._closed, timeout=seconds)
            self.check_open()
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            error, self._error = self._error, None
        if error is not None:
            if self._thread is not None:
                self._thread.join()
            self._call = None
            self._start()
            raise error
        return None

    def check_open(self) -> None:
        if self._closed:
            raise Closed("the feed is closed", hint="Open it again with db.changes.")

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()
            call = self._call
        if call is not None:
            call.cancel()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="weftdb-feed", daemon=True)
        self._thread.start()

    def _open(self, *, seconds: float = 0.0) -> int:
        """Begin a call, trying it for so long; and where it begins."""
        call, (part, _) = self._wire.follow("Feeds/Changes", self._request, _read_part, seconds=seconds)
        with self._changed:
            self._call = call
            if self._closed:
                call.cancel()
        return part.position

    def _run(self) -> None:
        try:
            while not self._closed:
                try:
                    if self._call is None:
                        self._request.from_version = self._position
                        self._open(seconds=COMMIT_RETRY_SECONDS)
                    self._read()
                except grpc.RpcError as error:
                    self._call = None
                    if not (is_broken(error) or is_stopping(error)):
                        raise self._wire.failure(error) from None
                    if self._partial:
                        self._partial = False
                        raise Unavailable(
                            f"the connection broke amid the changes of version {self._position + 1}",
                            hint="Forget what came of it, and poll again: it comes again from its beginning.",
                            sqlstate="08006",
                        ) from None
        except WeftError as error:
            self._fail(error)
        except Exception as error:
            if isinstance(error, ValueError) and self._wire.closed:  # gRPC's word for a channel that was closed
                self.close()
            else:
                self._call = None
                self._fail(Internal(f"the feed stopped by a bug: {type(error).__name__}: {error}"))

    def _fail(self, error: WeftError) -> None:
        """Have it raised by ``take``."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _read(self) -> None:
        """Put what comes into the queue, until the stream ends."""
        schema: pa.Schema | None = None
        pieces: list[pa.RecordBatch] = []
        for part, data in self._call:
            if part.schema:
                schema = read_schema(part.schema, trusted=True)
            if data is not None:
                assert schema is not None, "the schema comes before the rows"
                pieces.append(read_batch(data, schema, trusted=True))
            if not part.more:
                self._put(_Item(batch=_joined(pieces), position=part.position, partial=part.partial))
                pieces = []

    def _put(self, item: _Item) -> None:
        with self._changed:
            if item.batch is None and self._items and self._items[-1].batch is None:
                self._items.pop()  # nobody has looked at that position
            self._changed.wait_for(lambda: len(self._items) < AHEAD or self._closed)
            self._items.append(item)
            self._position, self._partial = item.position, item.partial
            self._changed.notify_all()


def _joined(pieces: list[pa.RecordBatch]) -> pa.RecordBatch | None:
    if not pieces:
        return None
    return pieces[0] if len(pieces) == 1 else pa.concat_batches(pieces)


def _read_part(data: bytes) -> tuple[ChangesPart, pa.Buffer | None]:
    return unpack(ChangesPart, data)
