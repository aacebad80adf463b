"""The feed service: streams of changes that wait at the end, and what their readers acknowledge.

A stream has a thread of its own and holds nothing but its position while it waits, so gRPC's flow control is all that a
slow client meets: until it takes a message, nothing more is read for it. A stream ends with its client, which is looked
for while it waits, and when the server stops: a client then goes on at another server, or at this one's successor.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from ..base.errors import LimitExceeded, Unavailable
from ..base.limits import FEED_CALLS_MAX
from ..engine.clock import monotonic
from ..engine.database import Engine
from ..engine.feed import Feed
from ..proto.failures import STOPPING
from ..proto.frames import cut, pack, write_schema
from ..proto.weftdb.v1.feed_pb2 import AcknowledgeRequest, ChangesPart, ChangesRequest
from ..proto.weftdb.v1.transactions_pb2 import EmptyResponse
from .gate import Call

LOOK_SECONDS: Final = 0.5
"""How often a stream that waits looks whether its client is there, and the server goes on."""

POSITION_SECONDS: Final = 1.0
"""How often a client is told of a position that moved without changes of its table."""


class FeedService:
    """Methods of ``weftdb.v1.Feeds``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._open = 0
        self._draining = False

    def drain(self) -> None:
        """End all streams, and begin no more."""
        self._draining = True

    def changes(self, request: ChangesRequest, call: Call) -> Iterator[bytes]:
        with self._lock:
            if self._open >= FEED_CALLS_MAX:
                raise LimitExceeded(
                    f"{FEED_CALLS_MAX} feeds are open at this server, as many as may be (FEED_CALLS_MAX)",
                    hint="Close those that nobody reads.",
                )
            self._open += 1
        try:
            feed = self._engine.changes(
                request.table,
                after=request.from_version if request.HasField("from_version") else None,
                before=request.before,
                name=request.name or None,
            )
            yield from self._parts(feed, call)
        finally:
            with self._lock:
                self._open -= 1

    def acknowledge(self, request: AcknowledgeRequest, call: Call) -> EmptyResponse:
        self._engine.positions.move(request.name, request.version)
        return EmptyResponse()

    def _parts(self, feed: Feed, call: Call) -> Iterator[bytes]:
        schema: pa.Schema | None = None
        told, told_at = feed.position, monotonic()
        yield ChangesPart(position=told).SerializeToString()
        while call.is_active:
            if self._draining:
                raise Unavailable("the server is shutting down", hint="Go on in a moment.", sqlstate=STOPPING)
            batch = feed.read()
            if batch is not None:
                yield from _pieces(feed, batch, known=schema)
                schema, told, told_at = batch.schema, feed.position, monotonic()
                continue
            feed.wait(LOOK_SECONDS)
            if feed.position > told and monotonic() - told_at >= POSITION_SECONDS:
                told, told_at = feed.position, monotonic()
                yield ChangesPart(position=told).SerializeToString()


def _pieces(feed: Feed, batch: pa.RecordBatch, *, known: pa.Schema | None) -> Iterator[bytes]:
    """The messages of one batch. All but the last have ``more``."""
    position, partial = feed.position, not feed.is_whole
    schema = (
        b"" if known is not None and batch.schema.equals(known, check_metadata=True) else write_schema(batch.schema)
    )
    waiting: pa.RecordBatch | None = None
    for piece in cut([batch]):
        if waiting is not None:
            yield pack(ChangesPart(schema=schema, position=position, partial=partial, more=True), waiting)
            schema = b""
        waiting = piece
    yield pack(ChangesPart(schema=schema, position=position, partial=partial), waiting)
