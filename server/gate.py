"""The gate: what every call passes before a handler sees it, and every error on its way out.

    grpc ──► Gate.intercept_service ──► authenticate · draining? · too many? ──► handler(request, Call)
    grpc ◄── status, trailing metadata ◄── WeftError, or Internal for anything unexpected ◄──┘

It is a gRPC interceptor, so no method can be registered around it, and it is the one place where a principal comes
from. Handlers get a ``Call`` instead of gRPC's context: the principal, the time left, and ``while_running``, which ties
the cancellation of the call (by the client, by its deadline, by a broken connection) to something that can be stopped.

What always holds: ``running`` counts the calls inside; after ``drain`` no call begins; an unexpected exception is
logged here with its traceback and reaches the client as Internal, without one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from ..base.errors import Internal, Invalid, LimitExceeded, Unavailable, WeftError
from ..base.limits import CALLS_MAX
from ..proto.failures import BEGIN_KEY, SESSION_KEY, STOPPING
from ..proto.weftdb.v1.transactions_pb2 import BeginRequest, SessionResponse
from .convert import Malformed, failure

LOG: Final = logging.getLogger("weftdb.server")

SERVICES: Final = "/weftdb.v1."
"""The methods that need a principal and are counted; health and reflection are open to all."""

_FETCH: Final = "/weftdb.v1.Results/Fetch"
"""It ends a call that was let in, so it is let in while the server drains."""

_FOREVER_SECONDS: Final = 1e9
"""gRPC says "no deadline" by one in some centuries."""


class Call:
    """One call, as a handler sees it."""

    def __init__(self, context: Any, *, principal: str, metadata: Sequence[tuple[str, Any]] = ()) -> None:
        """Raises Invalid for metadata that are not what they should be."""
        self._context = context
        self.principal = principal
        self.begin = _begin(metadata)
        self.told: tuple[tuple[str, bytes], ...] = ()

    def outside(self, session: str) -> bool:
        """Whether the call is a transaction of its own: it names no session, and begins none."""
        return not session and self.begin is None

    def tell(self, begun: SessionResponse) -> None:
        """Let the client know, with the answer or the error, of the session that the call began."""
        self.told = ((SESSION_KEY, begun.SerializeToString()),)
        self._context.set_trailing_metadata(self.told)

    @property
    def seconds_left(self) -> float | None:
        """Until the client's deadline; None if it set none."""
        seconds: float | None = self._context.time_remaining()
        return None if seconds is None or seconds > _FOREVER_SECONDS else seconds

    @property
    def is_active(self) -> bool:
        """Whether somebody still waits for the answer."""
        return self._context.is_active()

    @contextmanager
    def while_running(self, cancel: Callable[[], object]) -> Generator[None]:
        """Call ``cancel`` (from another thread) if the call ends while the block runs; never after it."""
        lock = threading.Lock()
        armed = True

        def ended() -> None:
            with lock:
                if armed:
                    cancel()

        if not self._context.add_callback(ended):
            raise Unavailable("the call was cancelled before it began", sqlstate="57014")
        try:
            yield
        finally:
            with lock:
                armed = False


class Gate(grpc.ServerInterceptor):
    """The interceptor. Thread-safe."""

    def __init__(self, *, calls_max: int = CALLS_MAX) -> None:
        self._calls_max = calls_max
        self._changed = threading.Condition()
        self._running = 0
        self._draining = False
        self._guarded: dict[str, Any] = {}  # handlers by method: as many as there are

    def authenticate(self, metadata: object) -> str:
        """The principal of a call. Everybody is ``weft`` until there are users; the seam is here, and only here."""
        return "weft"

    def drain(self, *, grace: float) -> bool:
        """Let no call in any more, and wait until those inside are done; False if they are not within ``grace`` s."""
        with self._changed:
            self._draining = True
            return self._changed.wait_for(lambda: self._running == 0, timeout=grace)

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or not method.startswith(SERVICES):
            return handler
        known = self._guarded.get(method)
        if known is None:
            known = self._guarded[method] = self._guard(method, handler)
        return known

    def _guard(self, method: str, handler: Any) -> Any:
        """The handler of a method, behind the gate."""
        if handler.response_streaming:
            behavior = handler.stream_stream or handler.unary_stream

            def run_stream(request: Any, context: Any) -> Iterator[Any]:
                with self._inside(method, context) as call:
                    yield from behavior(_checked(request), call)

            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else (grpc.unary_stream_rpc_method_handler)
            )
            return make(run_stream, handler.request_deserializer, handler.response_serializer)
        behavior = handler.stream_unary or handler.unary_unary

        def run(request: Any, context: Any) -> Any:
            with self._inside(method, context) as call:
                return behavior(_checked(request), call)

        make = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make(run, handler.request_deserializer, handler.response_serializer)

    @contextmanager
    def _inside(self, method: str, context: Any) -> Generator[Call]:
        """Everything around one call, errors included."""
        call: Call | None = None
        try:
            metadata: Sequence[tuple[str, Any]] = context.invocation_metadata() or ()
            principal = self.authenticate(metadata)
            self._enter(method)
            try:
                call = Call(context, principal=principal, metadata=metadata)
                yield call
            finally:
                self._leave()
        except WeftError as error:
            _fail(context, error, call)
        except Exception:
            if context.is_active():
                LOG.exception("%s failed by a bug", method)
            name = method.rsplit("/", 1)[-1]
            bug = Internal(f"{name} failed by a bug of WeftDB", hint="The server's log says more; report it.")
            _fail(context, bug, call)

    def _enter(self, method: str) -> None:
        with self._changed:
            if self._draining and method != _FETCH:
                raise Unavailable("the server is shutting down", hint="Try again in a moment.", sqlstate=STOPPING)
            if self._running >= self._calls_max:
                message = f"the server runs {self._running} calls already, as many as it may (CALLS_MAX)"
                raise LimitExceeded(message, hint="Close writers and results that are not read, or try again later.")
            self._running += 1

    def _leave(self) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()


def _fail(context: Any, error: WeftError, call: Call | None) -> None:
    """End the call with this error. Raises what gRPC knows as an abort."""
    status = failure(error)
    context.set_trailing_metadata(status.metadata if call is None else (*status.metadata, *call.told))
    context.abort(status.code, status.text)


def _begin(metadata: Sequence[tuple[str, Any]]) -> BeginRequest | None:
    for key, value in metadata:
        if key == BEGIN_KEY:
            try:
                return BeginRequest.FromString(value)
            except DecodeError as error:
                raise Invalid(f"the metadata {BEGIN_KEY} is no BeginRequest: {error}", sqlstate="08P01") from None
    return None


def _checked(request: Any) -> Any:
    """Requests that protobuf could not read are refused here, once for all methods."""
    if isinstance(request, Malformed):
        raise Invalid(f"the request is no {request.kind} message: {request.reason}", sqlstate="08P01")
    if hasattr(request, "__next__"):
        return map(_checked, request)
    return request
