"""``weft serve``: open the folder, serve it, and stop in order when asked to.

One line on standard output says that the port is open: ``weftdb ready on weft://127.0.0.1:7401 (data in ./data)``.
Scripts may wait for it. SIGTERM and Ctrl-C let what is running finish, within ``--grace`` seconds, and close the
folder; a second one stops at once, which loses nothing that was acknowledged.
"""

from __future__ import annotations

import argparse
import gc
import signal
from types import FrameType
from typing import Any

from ...engine.database import Engine
from ...engine.options import Options
from ..service import Server, serve

_STEP_SECONDS = 0.2


def run(arguments: argparse.Namespace) -> int:
    asked = _Asked()
    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)
    server = _start(arguments)
    print(f"weftdb ready on {server.address} (data in {arguments.data})", flush=True)
    try:
        while not asked.by and not server.wait(timeout=_STEP_SECONDS):
            pass
    finally:
        # From here on a second signal has its usual effect and ends the process.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        server.stop(grace=arguments.grace)
        gc.unfreeze()  # the interpreter's end collects all, and DuckDB prints what it misses
    print("weftdb stopped", flush=True)
    return 0


def _start(arguments: argparse.Namespace) -> Server:
    engine = Engine.open(arguments.data, options=_options(arguments))
    try:
        server = serve(engine, host=arguments.host, port=arguments.port)
    except BaseException:
        engine.close()
        raise
    # What was loaded so far lives as long as the process: 200,000 objects that a full collection would walk each time,
    # for 0.2 to 0.5 s in which no call is answered.
    gc.freeze()
    return server


def _options(arguments: argparse.Namespace) -> Options:
    """The engine's options; what the command line does not name keeps its default."""
    numbers = {
        "memory_limit": arguments.memory_limit,
        "history_seconds": arguments.history,
        "flush_bytes": arguments.flush_size,
        "log_bytes": arguments.log_size,
        "checkpoint_seconds": arguments.checkpoint_interval,
        "compaction_rate": arguments.compaction_rate,
        "threads": arguments.threads,
        "max_transaction_bytes": arguments.max_transaction,
        "named_snapshots_bytes": arguments.named_snapshots,
        "feed_positions_bytes": arguments.feeds,
        "verify_rows": arguments.verify_rows,
    }
    given: dict[str, Any] = {name: int(value) for name, value in numbers.items() if value is not None}
    if arguments.stall_timeout is not None:
        given["stall_seconds"] = arguments.stall_timeout
    if arguments.idle_timeout is not None:
        given["idle_transaction_seconds"] = arguments.idle_timeout
    return Options(
        durable=not arguments.no_fsync,
        temp_directory=arguments.temp,
        archive=arguments.archive,
        copy_folder=arguments.copy_folder,
        **given,
    )


class _Asked:
    """A signal handler that remembers which signal it got. It does nothing else: it may run at any instruction."""

    def __init__(self) -> None:
        self.by: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.by = number
