"""Fixtures of all tests.

``database`` is the public interface, twice: embedded in memory, and a client of a server on a free loopback port. What
is written against it holds for both.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator

import pytest
import weftdb
from server_child import Zygote
from weftdb.base.interface import Database


def pytest_configure() -> None:
    """Undo what the place that the tests run in may have set.

    Ctrl-C gets its meaning back: what is started in the background, as CI may be, inherits that it is ignored. Bytecode
    is kept, though images of containers often say otherwise: without it each of the some 200 processes that the tests
    start compiles 500 sources first, 0.6 s of processor, and so does each process that runs tests.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What is loaded by now is no matter of full collections: a million objects, and with them 5 % of the run."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # or extension modules say at the end that their objects were leaked


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """What servers are forked from in a tenth of the time."""
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.fixture
def db() -> Iterator[Database]:
    """An embedded database in memory."""
    with weftdb.open() as database:
        yield database


@pytest.fixture(params=["embedded", "remote"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database through the public interface."""
    if request.param == "embedded":
        with weftdb.open() as opened:
            yield opened
        return
    service = pytest.importorskip("weftdb.server.service", exc_type=ImportError)
    pytest.importorskip("weftdb.client.connection", exc_type=ImportError)
    from weftdb.engine.database import Engine

    engine = Engine.open(None)
    with service.serve(engine, port=0) as server, weftdb.connect(server.address) as connected:
        yield connected
