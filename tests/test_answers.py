"""How results come over the wire: whole in their answer, as values or as Arrow, or fetched; and what waits to be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
import weftdb
from weftdb.base.errors import Closed
from weftdb.base.limits import ANSWER_BYTES, ANSWER_VALUES
from weftdb.base.result import Result
from weftdb.client.connection import RemoteDatabase
from weftdb.client.failures import of_rpc
from weftdb.engine.database import Engine
from weftdb.proto.weftdb.v1 import results_pb2_grpc, sql_pb2, sql_pb2_grpc
from weftdb.proto.weftdb.v1.results_pb2 import FetchRequest, ResultAnswer
from weftdb.server import results as results_module
from weftdb.server.gate import Gate
from weftdb.server.service import Server, serve

LARGE = "SELECT x::bigint FROM generate_series(1, 300000) a(x)"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(Engine.open(None), port=0) as running:
        yield running


@pytest.fixture(scope="module")
def db(server: Server) -> Iterator[RemoteDatabase]:
    with weftdb.connect(server.address) as db:
        columns = [f"c{n}" for n in range(ANSWER_VALUES)]
        db.execute("CREATE TABLE t (k bigint PRIMARY KEY, v text)")
        db.execute(f"CREATE TABLE wide (k bigint PRIMARY KEY, {', '.join(f'{name} bigint' for name in columns)})")
        db.table("t").put([(1, "one"), (2, None)])
        db.table("wide").put(tuple(range(1 + len(columns))))
        yield db


@pytest.fixture
def stubs(server: Server) -> Iterator[tuple[Callable[[str], ResultAnswer], Callable[[str], list[Any]]]]:
    """Execute a text, and fetch what an answer names."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        sql: Any = sql_pb2_grpc.SqlStub(channel)
        results: Any = results_pb2_grpc.ResultsStub(channel)
        yield (
            lambda text: sql.Execute(sql_pb2.ExecuteRequest(sql=text)),
            lambda rest: list(results.Fetch(FetchRequest(rest=rest))),
        )


def closed(call: Callable[[], object]) -> bool:
    """Whether a call fails because what it asks for is not there."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return isinstance(of_rpc(caught.value, address="test"), Closed)


@pytest.mark.parametrize("key", [1, 2, 3])
def test_one_row_as_values_is_the_row_as_arrow(db: RemoteDatabase, stubs: Any, key: int) -> None:
    execute, _ = stubs
    text = f"SELECT v, k, v AS v FROM t WHERE k = {key}"
    for _ in range(2):  # once it is planned, and once it is known as the read of one row
        answer = execute(text)
    assert not answer.batch
    assert len(answer.values) == (0 if key == 3 else 3)
    by_values, by_arrow = db.execute(text), db.execute(f"{text} + 0")
    assert by_values.rows() == by_arrow.rows()
    assert (by_values.names, by_values.types, by_values.tag) == (by_arrow.names, by_arrow.types, by_arrow.tag)
    assert by_values.arrow() == by_arrow.arrow()
    assert by_values.version == by_arrow.version == db.version


def test_a_row_of_many_values_is_arrow(db: RemoteDatabase, stubs: Any) -> None:
    execute, _ = stubs
    for _ in range(2):
        answer = execute("SELECT * FROM wide WHERE k = 0")
    assert answer.batch
    assert not answer.values
    assert db.execute("SELECT * FROM wide WHERE k = 0").rows() == [tuple(range(1 + ANSWER_VALUES))]


@pytest.mark.parametrize("share", [0.9, 1.1, 1.9])
def test_a_result_is_whole_up_to_its_limit_and_fetched_above(db: RemoteDatabase, stubs: Any, share: float) -> None:
    execute, fetch = stubs
    rows = int(ANSWER_BYTES * share) // 8
    text = f"SELECT x::bigint FROM generate_series(1, {rows}) a(x)"
    answer = execute(text)
    assert bool(answer.rest) == (share > 1)
    assert bool(answer.batch) == (share <= 1)
    if answer.rest:
        assert fetch(answer.rest)
    assert [row[0] for row in db.execute(text).rows()] == list(range(1, rows + 1))


def test_rows_are_fetched_once_and_by_their_name(stubs: Any) -> None:
    execute, fetch = stubs
    rest = execute(LARGE).rest
    assert closed(lambda: fetch(rest[:-1]))
    assert closed(lambda: fetch(""))
    assert len(fetch(rest)) > 1
    assert closed(lambda: fetch(rest))


def test_rows_are_fetched_by_who_asked_for_them(stubs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    execute, fetch = stubs
    rest = execute(LARGE).rest
    with monkeypatch.context() as other:
        other.setattr(Gate, "authenticate", lambda *_: "somebody else")
        assert closed(lambda: fetch(rest))
    assert len(fetch(rest)) > 1


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[Result]:
    """The results that were closed."""
    results: list[Result] = []
    close = Result.close

    def note(self: Result) -> None:
        results.append(self)
        close(self)

    monkeypatch.setattr(Result, "close", note)
    return results


def test_what_nobody_fetches_is_closed_after_a_while(
    server: Server, stubs: Any, ended: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    execute, fetch = stubs
    monkeypatch.setattr(results_module, "RESULT_WAIT_SECONDS", 0.2)
    rest = execute(LARGE).rest
    result = server._sessions.results._waiting[rest].result
    deadline = time.monotonic() + 5
    while result not in ended and time.monotonic() < deadline:
        time.sleep(0.02)
    assert result in ended
    assert closed(lambda: fetch(rest))


def test_of_too_many_that_wait_the_oldest_is_dropped(stubs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    execute, fetch = stubs
    monkeypatch.setattr(results_module, "RESULTS_WAITING_MAX", 2)
    first, second, third = (execute(LARGE).rest for _ in range(3))
    assert closed(lambda: fetch(first))
    assert len(fetch(second)) == len(fetch(third)) > 1


def test_a_result_that_waits_when_the_server_stops_is_closed(ended: list[Result]) -> None:
    with serve(Engine.open(None), port=0) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub: Any = sql_pb2_grpc.SqlStub(channel)
        rest = stub.Execute(sql_pb2.ExecuteRequest(sql=LARGE)).rest
        result = server._sessions.results._waiting[rest].result
        assert result not in ended
        server.stop()
    assert result in ended


def test_a_result_is_fetched_while_the_server_drains() -> None:
    with serve(Engine.open(None), port=0) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        sql: Any = sql_pb2_grpc.SqlStub(channel)
        results: Any = results_pb2_grpc.ResultsStub(channel)
        rest = sql.Execute(sql_pb2.ExecuteRequest(sql=LARGE)).rest
        waiting = sql.Execute.future(sql_pb2.ExecuteRequest(sql="SELECT 1", at_least=2**62))
        while not server._gate._running:
            time.sleep(0.01)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        while not server._gate._draining:
            time.sleep(0.01)
        with pytest.raises(grpc.RpcError, match="shutting down"):
            sql.Execute(sql_pb2.ExecuteRequest(sql="SELECT 1"))
        assert len(list(results.Fetch(FetchRequest(rest=rest)))) > 1
        waiting.cancel()
        stopping.join()


def test_a_statement_that_fails_amid_its_rows_says_so(db: RemoteDatabase) -> None:
    """In its answer, where the rows that it has would have fitted one; else when they are read."""
    for rows in (1_000, 400_000):
        with pytest.raises(weftdb.Invalid, match="division by zero"):
            db.execute(f"SELECT 1 / ({rows} - x) FROM generate_series(1, {rows}) s(x)").arrow()
