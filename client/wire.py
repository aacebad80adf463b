"""Calls: one channel to one server, statuses turned into errors, and what may be tried again.

gRPC reconnects by itself; what it cannot know is which calls may be repeated. Reads may (``Again.ALWAYS``). SQL may
only if it certainly did not reach the server (``Again.UNSENT``), since otherwise nobody knows how far it got. What the
log remembers may be repeated always: a writer's batches (by their tokens), COMMIT (by its session), and writes of rows
(``once``: by an id made up for each). A call is tried for about a second and a half, which is longer than gRPC waits
before it connects again; what may have committed longer, since what became of it matters.

A call that is interrupted (KeyboardInterrupt, a result closed early) is cancelled at the server.
"""

from __future__ import annotations

import enum
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias, TypeVar

import grpc
import pyarrow as pa
from google.protobuf.message import Message

from ..base.errors import Closed, Invalid, Unavailable, WeftError
from ..base.limits import COMMIT_RETRY_SECONDS, MESSAGE_BYTES_MAX, SCHEMAS_KEPT_MAX
from ..base.result import Result
from ..base.types import Type, type_of_field
from ..proto.failures import BEGIN_KEY, SESSION_KEY
from ..proto.frames import read_batch, read_schema, unpack
from ..proto.values import from_values
from ..proto.weftdb.v1.kv_pb2 import Once, WriteResponse
from ..proto.weftdb.v1.results_pb2 import FetchRequest, ResultAnswer, ResultPart
from ..proto.weftdb.v1.transactions_pb2 import BeginRequest, SessionResponse
from .failures import BROKEN, UNKNOWN, is_broken, is_lost, is_stopping, is_unsent, of_rpc

R = TypeVar("R", bound=Message)
T = TypeVar("T")
_Answered: TypeAlias = tuple[ResultAnswer, pa.Buffer | None]

_TRIES_MAX: Final = 7
_GRACE_SECONDS: Final = 5.0
"""How much later than the server's own time-out the call's deadline is, so that the server can say what happened."""

OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("SingleThreadedUnaryStream", 1),  # a result is read by the thread that wants it: half the latency
    ("grpc.enable_http_proxy", 0),  # a proxy for the web, set in the environment, is no way to a database
    ("grpc.use_local_subchannel_pool", 1),  # a second connect() is a second connection
)


class Again(enum.Enum):
    """When a call may be tried again after the connection failed."""

    ALWAYS = "always"
    UNSENT = "unsent"
    NEVER = "never"


class _Lost(Exception):
    """A call may have been done, and nobody knows."""


class Backoff:
    """Growing pauses with jitter. The client's only door to the clock and to chance."""

    def __init__(self, *, first: float = 0.05, most: float = 1.0) -> None:
        self._next = first
        self._most = most

    def seconds(self) -> float:
        """The next pause."""
        pause = self._next * random.uniform(0.5, 1.0)
        self._next = min(self._next * 2, self._most)
        return pause


def new_uuid() -> str:
    """A random identity, as text."""
    return str(uuid.uuid4())


def now() -> float:
    """Seconds from an arbitrary start."""
    return time.monotonic()


class Wire:
    """One channel. Thread-safe."""

    def __init__(self, *, target: str, address: str) -> None:
        self.address = address
        self._channel: Any = grpc.insecure_channel(target, options=OPTIONS)
        self._calls: dict[str, Any] = {}
        self._closed = threading.Event()
        self._version = 0  # the newest that was seen
        self._schemas: dict[bytes, tuple[pa.Schema, tuple[Type, ...]]] = {}

    def ask(
        self,
        method: str,
        request: Message,
        answer: type[R],
        *,
        timeout: float | None = None,
        again: Again = Again.UNSENT,
        retry_seconds: float = 0.0,
    ) -> R:
        """One request, one answer."""
        call = self._callable(method, "unary_unary", answer.FromString)
        answered = self._tried(lambda: self._send(call, request, timeout), again=again, seconds=retry_seconds)
        self._see(getattr(answered, "version", 0))
        return answered

    def once(self, method: str, request: Callable[[Once], Any], *, stream: bool = False) -> WriteResponse:
        """A write that the server does once, however often it has to be sent. ``request`` makes what is sent, anew each
        time: a message, or a ``stream`` of them.

        Raises Unavailable: 08006 where it was certainly not done, 08007 where nobody knows.
        """
        once = Once(id=new_uuid(), since=self._version)
        call = self._callable(method, "stream_unary" if stream else "unary_unary", WriteResponse.FromString)
        try:
            answer = self._tried(lambda: self._send(call, request(once)), again=Again.UNSENT, once=True)
        except _Lost:
            once.again = True
            answer = self._asked_again(lambda: self._send(call, request(once)))
        self._see(answer.version)
        return answer

    def talk(self, method: str, messages: Iterator[bytes], answer: type[Message]) -> Any:
        """Many messages both ways: gRPC's own call object, which raises gRPC's own errors."""
        return self._callable(method, "stream_stream", answer.FromString)(messages)

    def listen(self, method: str, request: Message, answer: type[Message]) -> Any:
        """One request, many messages: gRPC's own call object, which raises gRPC's own errors."""
        return self._callable(method, "unary_stream", answer.FromString)(request)

    def follow(
        self, method: str, request: Message, reader: Callable[[bytes], T], *, seconds: float = 0.0
    ) -> tuple[Any, T]:
        """One request, many messages: gRPC's own call object, and the first message. It is tried as ``ask`` is."""
        call = self._callable(method, "unary_stream", reader)
        return self._tried(lambda: _begin(call(request)), again=Again.ALWAYS, seconds=seconds)

    def result(
        self,
        method: str,
        request: Message,
        *,
        timeout: float | None = None,
        again: Again = Again.UNSENT,
        told: Callable[[int], None] | None = None,
    ) -> Result:
        """A result. A small one is complete when this returns, the rows of others stream in.

        ``told`` is called with the version of the catalog that the answer tells of.
        """
        call = self._callable(method, "unary_unary", _read_answer)
        deadline = None if timeout is None else timeout + _GRACE_SECONDS
        if again is Again.ALWAYS:
            answered, first = self._tried(
                lambda: self._fetched(self._send(call, request, deadline), deadline), again=again
            )
        else:
            answered = self._tried(lambda: self._send(call, request, deadline), again=again)
            answered, first = self._tried(lambda: self._fetched(answered, deadline), again=Again.NEVER)
        answer, data = answered
        stream, data = (None, data) if first is None else first
        try:
            self._see(answer.version)
            if told is not None:
                told(answer.definitions)
            schema, types = self._schema(answer.schema)
            if answer.values:
                rows = list(zip(*[iter(from_values(answer.values))] * len(schema), strict=True))
                result = Result.of_rows(rows, schema=schema, types=types, version=answer.version)
            else:
                batches = [] if data is None else [read_batch(data, schema, trusted=True)]
                result = Result(
                    schema=schema,
                    batches=batches if stream is None else _chain(batches, self._batches(stream, schema)),
                    version=answer.version,
                    types=types,
                    on_close=None if stream is None else stream.cancel,
                )
        except BaseException:
            if stream is not None:
                stream.cancel()
            raise
        result.tag = answer.tag
        result.rows_affected = answer.rows_affected if answer.HasField("rows_affected") else None
        result.notices = tuple(answer.notices)
        result.settings = dict(answer.settings.values) if answer.HasField("settings") else None
        return result

    def beginning(self, request: BeginRequest, begun: Callable[[SessionResponse], None]) -> Wire:
        """This wire for the first call of a transaction, which begins it: ``begun`` is called when it is there."""
        return _Beginning(self, request, begun)

    def check_open(self) -> None:
        if self._closed.is_set():
            raise self._gone()

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed.is_set()

    def close(self) -> None:
        self._closed.set()
        self._channel.close()

    def failure(self, error: Exception) -> WeftError:
        """The error to raise for one of gRPC's."""
        return of_rpc(error, address=self.address)

    def _fetched(self, answered: _Answered, deadline: float | None) -> tuple[_Answered, tuple[Any, pa.Buffer] | None]:
        """An answer, and the stream of its rows with the first of them where they did not fit it."""
        rest = answered[0].rest
        if not rest:
            return answered, None
        fetch = self._callable("Results/Fetch", "unary_stream", _read_part)
        stream, (_, data) = _begin(fetch(FetchRequest(rest=rest), timeout=deadline))
        return answered, (stream, data)

    def _schema(self, data: bytes) -> tuple[pa.Schema, tuple[Type, ...]]:
        """A result's schema and types: those of a statement that is run again are the same bytes."""
        known = self._schemas.get(data)
        if known is None:
            schema = read_schema(data, trusted=True)
            known = schema, tuple(map(type_of_field, schema))
            if len(self._schemas) >= SCHEMAS_KEPT_MAX:
                self._schemas.clear()
            self._schemas[data] = known
        return known

    def _batches(self, stream: Any, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rest of a stream's batches; the call is cancelled if the reader stops early."""
        try:
            for _, data in stream:
                if data is not None:
                    yield read_batch(data, schema, trusted=True)
        except grpc.RpcError as error:
            raise of_rpc(error, address=self.address) from None
        finally:
            stream.cancel()

    def _send(self, call: Any, request: Any, timeout: float | None = None) -> Any:
        """The answer to one request, by gRPC's object for calling a method."""
        return call(request, timeout=timeout)

    def _see(self, version: int) -> None:
        """An answer's version. Threads may overwrite each other's: an older one was seen, too."""
        self._version = max(self._version, version)

    def _asked_again(self, call: Callable[[], Any]) -> Any:
        try:
            return self._tried(call, again=Again.ALWAYS, seconds=COMMIT_RETRY_SECONDS)
        except Unavailable as error:
            if error.sqlstate not in (UNKNOWN, BROKEN):
                raise
            raise Unavailable(
                f"whether the rows were written is not known: {error.message}",
                hint="Read them, to find out; in a transaction, roll it back.",
                sqlstate=UNKNOWN,
            ) from error

    def _tried(self, call: Callable[[], Any], *, again: Again, seconds: float = 0.0, once: bool = False) -> Any:
        """What ``call`` returns, tried some times and for at least so many seconds.

        ``once``: raises _Lost where it may have been done.
        """
        backoff = Backoff()
        tries, until = _TRIES_MAX, now() + seconds
        while True:
            tries -= 1
            try:
                return call()
            except grpc.RpcError as error:
                if self._closed.is_set():
                    raise self._gone() from None
                if once and is_lost(error):
                    raise _Lost from error
                repeat = (again is Again.ALWAYS and is_broken(error)) or (again is Again.UNSENT and is_unsent(error))
                repeat = repeat or (seconds > 0 and is_stopping(error))  # who has time waits for the next server
                if not repeat or (tries <= 0 and now() >= until):
                    raise of_rpc(error, address=self.address) from None
            except ValueError:  # gRPC's word for a channel that another thread closed
                if self._closed.is_set():
                    raise self._gone() from None
                raise
            self._closed.wait(backoff.seconds())

    def _callable(self, method: str, kind: str, reader: Callable[[bytes], Any]) -> Any:
        """gRPC's object for calling ``method`` ("KeyValue/Get"), made once. Requests are messages or bytes."""
        self.check_open()
        if method not in self._calls:
            make = getattr(self._channel, kind)
            self._calls[method] = make(
                f"/weftdb.v1.{method}", request_serializer=_serialize, response_deserializer=reader
            )
        return self._calls[method]

    def _gone(self) -> Closed:
        return Closed(f"the connection to {self.address} was closed", hint="Connect again with weftdb.connect.")


class _Beginning(Wire):
    """A wire whose first call that is answered begins a transaction, by what goes with it as metadata.

    A transaction is for one thread at a time, but two that have its first call at the same time must not begin two.
    """

    def __init__(self, wire: Wire, request: BeginRequest, begun: Callable[[SessionResponse], None]) -> None:
        self.__dict__.update(wire.__dict__)  # it is the same channel
        self._see = wire._see
        self._metadata = ((BEGIN_KEY, request.SerializeToString()),)
        self._begun = begun
        self._first = threading.Lock()
        self._name = ""

    def _send(self, call: Any, request: Any, timeout: float | None = None) -> Any:
        with self._first:
            if not self._name:
                try:
                    answer, ended = call.with_call(request, timeout=timeout, metadata=self._metadata)
                except grpc.RpcError as error:
                    self._look(error)
                    raise
                self._look(ended)
                return answer
        if not isinstance(request, Message):
            raise Invalid("the transaction is used by two threads at once", hint="Use one by one.", sqlstate="25000")
        request.session = self._name  # type: ignore[attr-defined]  # all that may begin one have it
        return super()._send(call, request, timeout)

    def _look(self, ended: Any) -> None:
        for key, value in ended.trailing_metadata() or ():
            if key == SESSION_KEY:
                answer = SessionResponse.FromString(value)
                self._name = answer.session
                self._begun(answer)


def _begin(stream: Any) -> tuple[Any, Any]:
    """The stream and its first part."""
    try:
        return stream, next(stream)
    except StopIteration:
        raise Invalid("the server ended the answer before it began", sqlstate="08P01") from None
    except BaseException:
        stream.cancel()
        raise


def _chain(first: list[pa.RecordBatch], rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from first
    first.clear()
    yield from rest


def _serialize(request: Any) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString()


def _read_answer(data: bytes) -> _Answered:
    return unpack(ResultAnswer, data)


def _read_part(data: bytes) -> tuple[ResultPart, pa.Buffer | None]:
    return unpack(ResultPart, data)
