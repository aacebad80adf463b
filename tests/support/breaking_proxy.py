"""A TCP proxy on loopback that loses connections: between a client and a server that must survive it.

proxy = BreakingProxy(target_port)        connect to proxy.port instead
proxy.break_all()                         every connection is reset, at whatever byte it is
proxy.break_after(n)                      the next connections are reset after n bytes in either direction
proxy.refuse(True)                        new connections are closed at once
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading


class BreakingProxy:
    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._bytes_left: int | None = None
        self._refusing = False
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def break_all(self) -> None:
        with self._lock:
            victims, self._open = self._open, set()
        for victim in victims:
            _reset(victim)

    def break_after(self, count: int | None) -> None:
        """None: never again."""
        self._bytes_left = count

    def refuse(self, refusing: bool) -> None:
        self._refusing = refusing

    def close(self) -> None:
        self._refusing = True
        _reset(self._listener)
        self.break_all()
        for thread in self._threads:
            thread.join(timeout=5)

    def __enter__(self) -> BreakingProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, run: object, *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                _reset(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port), timeout=5)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            self.connections += 1
            with self._lock:
                self._open |= {client, server}
            self._start(self._pump, client, server)
            self._start(self._pump, server, client)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self._bytes_left is not None:
                    self._bytes_left -= len(data)
                    if self._bytes_left < 0:
                        sink.sendall(data[: len(data) // 2])
                        self._bytes_left = None
                        break
                sink.sendall(data)
        for end in (source, sink):
            _reset(end)
        with self._lock:
            self._open -= {source, sink}


def _reset(victim: socket.socket) -> None:
    """Close with RST, as a machine that lost power looks to its peer, and wake whoever blocks on it."""
    with contextlib.suppress(OSError):
        victim.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        victim.shutdown(socket.SHUT_RDWR)
    victim.close()
