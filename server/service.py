"""The server: one gRPC port, everything behind it, and an orderly end.

    serve(engine, port=0) ──► Server: .address, .wait(), .stop(grace=…)

Synchronous handlers on a pool of threads. A call costs 250 to 450 µs of Python either way, asyncio would add a hop into
a thread for everything that touches the engine, and kernels and DuckDB release the interpreter's lock.

The order of the beginning: compile or load the kernels, register, bind, serve. Whoever finds the port open gets answers
at full speed. The order of the end: refuse new calls, let those inside finish up to the grace time, cancel the rest,
roll back held sessions, close the engine. Bound to loopback unless told, since there are no users yet.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from .. import __version__
from ..base.errors import Invalid, Unavailable
from ..base.limits import CALLS_MAX, MESSAGE_BYTES_MAX
from ..engine.database import Engine
from ..engine.kernels.warm import warm_up
from ..proto.weftdb.v1 import admin_pb2, feed_pb2, kv_pb2, results_pb2, sql_pb2, transactions_pb2
from .admin import AdminService
from .convert import handlers
from .feed import FeedService
from .gate import Gate
from .kv import KeyValueService
from .once import Repeats
from .sessions import Sessions
from .sql import SqlService
from .transactions import TransactionsService
from .writers import WriterStreams

PORT_DEFAULT: Final = 7401
GRACE_SECONDS: Final = 10.0
_LAST_ANSWER_SECONDS: Final = 1.0
_CANCEL_SECONDS: Final = 3.0
_SPARE_THREADS: Final = 16
"""For health, reflection, and for telling the calls above CALLS_MAX that they are too many."""

SERVICES: Final[tuple[Any, ...]] = (
    kv_pb2.DESCRIPTOR.services_by_name["KeyValue"],
    sql_pb2.DESCRIPTOR.services_by_name["Sql"],
    results_pb2.DESCRIPTOR.services_by_name["Results"],
    transactions_pb2.DESCRIPTOR.services_by_name["Transactions"],
    admin_pb2.DESCRIPTOR.services_by_name["Admin"],
    feed_pb2.DESCRIPTOR.services_by_name["Feeds"],
)

OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.so_reuseport", 0),  # two servers on one port would share the calls
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_concurrent_streams", CALLS_MAX + _SPARE_THREADS),
    ("grpc.keepalive_time_ms", 20_000),  # a client that vanished is noticed in 30 s
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
)


class Server:
    """A running server. Stop it, or use it as a context manager. It owns the engine from here on."""

    def __init__(self, engine: Engine, *, host: str, port: int) -> None:
        self.engine = engine
        self.host = host
        self._gate = Gate()
        self._sessions = Sessions(engine)
        self._writers = WriterStreams(engine)
        self._feeds = FeedService(engine)
        self._health = health.HealthServicer()
        self._threads = ThreadPoolExecutor(max_workers=CALLS_MAX + _SPARE_THREADS, thread_name_prefix="weftdb-call")
        self._server: Any = grpc.server(
            self._threads,
            interceptors=[self._gate],
            options=OPTIONS,
            maximum_concurrent_rpcs=CALLS_MAX + _SPARE_THREADS,
        )
        self._stopping = threading.Lock()
        self._stopped = threading.Event()
        try:
            self._register()
            self.port = _bind(self._server, host, port)
            self._server.start()
        except BaseException:
            self._sessions.close_all()
            self._threads.shutdown(wait=False)
            raise
        self._set_health(health_pb2.HealthCheckResponse.SERVING)

    @property
    def address(self) -> str:
        """What ``weftdb.connect`` takes."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"weft://{host}:{self.port}"

    def wait(self, timeout: float | None = None) -> bool:
        """Block until stopped, at most ``timeout`` seconds; whether it is stopped. Signals are handled meanwhile."""
        return self._stopped.wait(timeout)

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Drain and close, the engine included. Returns when all is over; a second call waits for the first."""
        with self._stopping:
            if self._stopped.is_set():
                return
            self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
            self._writers.drain()
            self._feeds.drain()
            drained = self._gate.drain(grace=grace)
            # The gate has seen the last handler go; its answer may still be on its way out.
            self._server.stop(_LAST_ANSWER_SECONDS if drained else 0).wait()
            self._gate.drain(grace=_CANCEL_SECONDS)
            self._sessions.close_all()
            self._threads.shutdown(wait=False)
            self.engine.close()
            self._stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _register(self) -> None:
        servants = (
            KeyValueService(self._sessions, self._writers, Repeats(self.engine, self._sessions)),
            SqlService(self._sessions),
            self._sessions.results,
            TransactionsService(self.engine, self._sessions, release=__version__),
            AdminService(self.engine, release=__version__),
            self._feeds,
        )
        own = tuple(handlers(service, servant) for service, servant in zip(SERVICES, servants, strict=True))
        self._server.add_generic_rpc_handlers(own)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [service.full_name for service in SERVICES]
        reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    def _set_health(self, status: Any) -> None:
        for name in (health.OVERALL_HEALTH, *(service.full_name for service in SERVICES)):
            self._health.set(name, status)


def serve(engine: Engine, *, host: str = "127.0.0.1", port: int = PORT_DEFAULT) -> Server:
    """Serve ``engine`` on ``host:port`` (port 0: a free one), and return when it answers.

    Raises Unavailable when the port is taken, Invalid for an address that is none; the engine is then still open.
    """
    if not 0 <= port <= 65_535:
        raise Invalid(f"{port} is no port", hint="Ports are 1 to 65535, 0 means a free one.")
    warm_up()
    return Server(engine, host=host, port=port)


def _bind(server: Any, host: str, port: int) -> int:
    try:
        return server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except RuntimeError:
        raise _why_not(host, port) from None


def _why_not(host: str, port: int) -> Exception:
    """The reason why an address cannot be bound: gRPC does not tell, the socket does."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except socket.gaierror as error:
        return Invalid(
            f'the host "{host}" is not known: {error.strerror}', hint="Give a name or address of this machine."
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return Unavailable(
                f"port {port} on {host} is in use by another process",
                hint="Stop it, or choose another port with --port (0 takes a free one).",
            )
        return Unavailable(f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}")
    return Unavailable(f"cannot listen on {host} port {port}")
