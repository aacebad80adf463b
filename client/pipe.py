"""A writer's pipe: batches on their way to the server, in order, each until it is acknowledged.

    put() ──► waiting to be sent ──► sent ──► acknowledged
              └────────── unacknowledged ──────┘  at most WRITER_BATCHES_IN_FLIGHT, then put() blocks

One thread holds the stream and reads acknowledgements; gRPC's own thread pulls what is to be sent. When the connection
breaks, the thread opens another stream, and everything unacknowledged is sent again with its old sequence number: the
server knows the writer and applies a batch once, however often it comes. After ``retry_seconds`` without an
acknowledgement it gives up.

What always holds, under ``_changed``: ``_unacknowledged`` is in the order of sequence numbers; its first ``_sent``
batches were given to the current stream; after ``_failure`` is set nothing is sent until somebody has taken it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pyarrow as pa

from ..base.errors import Closed, Internal, Unavailable, WeftError
from ..base.limits import WRITER_BATCHES_IN_FLIGHT
from ..proto.failures import from_detail
from ..proto.frames import pack
from ..proto.weftdb.v1.kv_pb2 import WriterLayout, WriterRequest, WriterResponse
from .wire import Backoff, Wire, new_uuid, now


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One batch. ``layout`` is shared by batches of one kind; ``first_row`` counts the writer's rows from 1."""

    sequence: int
    layout: WriterLayout
    batch: pa.RecordBatch
    first_row: int


class Pipe:
    """One writer's connection. One thread hands over; ``failed`` may be read by any."""

    def __init__(
        self,
        wire: Wire,
        *,
        retry_seconds: float,
        in_flight: int = WRITER_BATCHES_IN_FLIGHT,
        name: str | None = None,
        sequence: int = 0,
    ) -> None:
        """``sequence`` is what the numbers of a writer with a name go on after."""
        self._wire = wire
        self._retry_seconds = retry_seconds
        self._in_flight = in_flight
        self._writer = name or new_uuid()
        self._first = sequence
        self._changed = threading.Condition()
        self._unacknowledged: deque[Outgoing] = deque()
        self._sent = 0
        self._stream_number = 0
        self._waiting_since = 0.0
        self._failure: WeftError | None = None
        self._closing = False
        self._call: Any = None
        self._thread: threading.Thread | None = None
        self.rows_acknowledged = 0
        self.sequence = sequence  # of the last batch that was acknowledged
        self.version = 0

    @property
    def failed(self) -> bool:
        """Whether the next ``take_failure`` has something to raise."""
        return self._failure is not None

    @property
    def is_busy(self) -> bool:
        """Whether more than one batch is on its way: a small one should wait for company."""
        return len(self._unacknowledged) > 1

    def take_failure(self) -> None:
        """Raise the failure, if there is one, and forget it: the pipe is empty and usable again."""
        with self._changed:
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def has_room(self) -> bool:
        return len(self._unacknowledged) < self._in_flight

    def hand_over(self, layout: WriterLayout, batch: pa.RecordBatch, *, first_row: int) -> None:
        """Send a batch; blocks while too many are unacknowledged. Returns without sending after a failure."""
        with self._changed:
            self._changed.wait_for(lambda: self.has_room() or self.failed)
            if self.failed:
                return
            sequence = self._first + first_row - 1 + batch.num_rows
            if not self._unacknowledged:
                self._waiting_since = now()
            self._unacknowledged.append(Outgoing(sequence=sequence, layout=layout, batch=batch, first_row=first_row))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="weftdb-writer", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def drain(self) -> None:
        """Wait until everything is acknowledged, or something failed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._unacknowledged or self.failed)

    def close(self) -> None:
        """End the stream; what is unacknowledged is given up."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread, call = self._thread, self._call
            if self._unacknowledged and call is not None:
                call.cancel()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)

    def abandon(self, error: WeftError) -> None:
        """Give up at once, and let who waits see ``error``."""
        with self._changed:
            if self._unacknowledged:
                self._fail(error)
        self.close()

    # -- the pipe's thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Keep a stream open while there is something to send, until closed."""
        backoff = Backoff()
        while self._await_work():
            before = self.rows_acknowledged
            try:
                self._talk()
                error: WeftError = Unavailable(f"{self._wire.address} ended the writer's stream")
            except grpc.RpcError as broken:
                error = self._wire.failure(broken)
            except WeftError as gone:  # the channel was closed
                error = gone
            except Exception as bug:
                error = Internal(f"the writer failed by a bug: {bug!r}")
            if self.rows_acknowledged > before:
                backoff = Backoff()
            self._pause_or_fail(error, backoff)

    def _pause_or_fail(self, error: WeftError, backoff: Backoff) -> None:
        """After a stream has ended: wait before the next one, or give up. An idle pipe has nothing to lose."""
        with self._changed:
            if not self._unacknowledged:
                return
            if not isinstance(error, Unavailable):
                self._fail(error)
            elif now() - self._waiting_since > self._retry_seconds:
                self._fail(_gave_up(error, self._unacknowledged, self._retry_seconds))
            else:
                self._changed.wait_for(lambda: self._closing, timeout=backoff.seconds())

    def _await_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._unacknowledged or self._closing)
            return not self._closing or bool(self._unacknowledged and not self._failure)

    def _talk(self) -> None:
        """One stream, until it ends or breaks."""
        with self._changed:
            self._sent = 0
            self._stream_number += 1
            number = self._stream_number
        call = self._wire.talk("KeyValue/Stream", self._messages(number), WriterResponse)
        with self._changed:
            self._call = call
        try:
            for response in call:
                if response.HasField("error"):
                    error = from_detail(response.error)
                    if isinstance(error, Unavailable):
                        return  # the server could not now: the batch is sent again
                    self._refused(response.sequence, error)
                    return
                self._acknowledged(response)
        finally:
            with self._changed:
                self._call = None
                self._stream_number += 1  # ends _messages
                self._changed.notify_all()
            call.cancel()

    def _messages(self, number: int) -> Iterator[bytes]:
        """What stream ``number`` sends: everything unacknowledged, then whatever comes. Runs in gRPC's thread."""
        layout: WriterLayout | None = None
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: number != self._stream_number or self._sent < len(self._unacknowledged) or self._closing
                )
                if number != self._stream_number or self._sent >= len(self._unacknowledged):
                    return
                outgoing = self._unacknowledged[self._sent]
                self._sent += 1
            head = WriterRequest(sequence=outgoing.sequence)
            if layout is None:
                head.writer = self._writer
            if layout is not outgoing.layout:
                layout = outgoing.layout
                head.layout.CopyFrom(layout)
            yield pack(head, outgoing.batch)

    def _acknowledged(self, response: WriterResponse) -> None:
        with self._changed:
            while self._unacknowledged and self._unacknowledged[0].sequence <= response.sequence:
                self.rows_acknowledged += self._unacknowledged.popleft().batch.num_rows
                self._sent -= 1
            self._waiting_since = now()
            self.sequence = max(self.sequence, response.sequence)
            self.version = max(self.version, response.version)
            self._changed.notify_all()

    def _refused(self, sequence: int, error: WeftError) -> None:
        """A batch failed: it and all after it are given up, and the caller is told which rows these are."""
        with self._changed:
            first = next((out for out in self._unacknowledged if out.sequence == sequence), None)
            if first is not None:
                last = first.first_row + first.batch.num_rows - 1
                error.message = f"rows {first.first_row:,} to {last:,} of this writer were refused: {error.message}"
            self._fail(error)

    def _fail(self, error: WeftError) -> None:
        """Under the lock: nothing is on its way any more, and the next call raises ``error``."""
        self._unacknowledged.clear()
        self._sent = 0
        self._failure = error
        self._changed.notify_all()


def _gave_up(error: WeftError, batches: deque[Outgoing], seconds: float) -> Unavailable:
    rows = sum(outgoing.batch.num_rows for outgoing in batches)
    return Unavailable(
        f"{rows:,} rows from row {batches[0].first_row:,} on were not acknowledged within {seconds:g} s, and may or may"
        f" not have been written: {error.message}",
        hint="Put them again once the server answers; rows with the same primary key replace each other.",
        sqlstate="08006",
    )


def closed() -> Closed:
    return Closed("the writer was closed", hint="Open a new one.")
