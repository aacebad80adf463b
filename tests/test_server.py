"""The server at its edges: bad input, limits, deadlines, leases, and its end. Seen mostly as other clients see it."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
import weftdb
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from weftdb.base.errors import Closed, Conflict, Invalid, LimitExceeded, Unavailable, WeftError
from weftdb.client.failures import of_rpc
from weftdb.engine.database import Engine
from weftdb.proto.frames import pack, write_schema, write_stream
from weftdb.proto.values import to_values
from weftdb.proto.weftdb.v1 import kv_pb2, kv_pb2_grpc, sql_pb2, sql_pb2_grpc, transactions_pb2, transactions_pb2_grpc
from weftdb.proto.weftdb.v1.kv_pb2 import Action
from weftdb.server import gate as gate_module
from weftdb.server import sessions as sessions_module
from weftdb.server.service import Server, serve

LONG_QUERY = "SELECT count(*) FROM generate_series(1, 100000) a(x), generate_series(1, 10000000) b(y) WHERE x + y = -1"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(Engine.open(None), port=0) as running:
        yield running


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that the test may end."""
    with serve(Engine.open(None), port=0) as running:
        yield running


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


@contextmanager
def stubs(server: Server) -> Generator[tuple[Any, Any]]:
    """The transaction and the key-value service of a server of the test's own."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield transactions_pb2_grpc.TransactionsStub(channel), kv_pb2_grpc.KeyValueStub(channel)


@pytest.fixture
def kv(channel: grpc.Channel) -> Any:
    return kv_pb2_grpc.KeyValueStub(channel)


@pytest.fixture
def sql(channel: grpc.Channel) -> Any:
    return sql_pb2_grpc.SqlStub(channel)


@pytest.fixture
def transactions(channel: grpc.Channel) -> Any:
    return transactions_pb2_grpc.TransactionsStub(channel)


@pytest.fixture
def table(server: Server) -> Iterator[str]:
    name = f"t{time.monotonic_ns()}"
    with weftdb.connect(server.address) as db:
        db.execute(f"CREATE TABLE {name} (k bigint PRIMARY KEY, v text)")
        yield name
        db.execute(f"DROP TABLE {name}")


def error_of(call: Callable[[], Any]) -> tuple[WeftError, grpc.StatusCode]:
    """The error that a call fails with, as our client would raise it, and the code that others see."""
    with pytest.raises(grpc.RpcError) as caught:
        _consume(call())
    failed: Any = caught.value
    return of_rpc(failed, address="test"), failed.code()


def code_of(call: Callable[[], Any]) -> grpc.StatusCode:
    try:
        call()
    except grpc.RpcError as failed:
        return failed.code()  # type: ignore[attr-defined]
    return grpc.StatusCode.OK


def _consume(answer: Any) -> None:
    """The call's answers to the end, if it is a stream."""
    for _ in answer if hasattr(answer, "__next__") else ():
        pass


def rows(server: Server, table: str) -> int:
    with weftdb.connect(server.address) as db:
        return db.execute(f"SELECT count(*) FROM {table}").scalar()


ROWS = pa.record_batch({"k": pa.array([1, 2, 3], pa.int64()), "v": ["a", "b", None]})


# -- the contract ----------------------------------------------------------------------------------------------------


def test_the_generated_stubs_are_current() -> None:
    pytest.importorskip("grpc_tools")
    script = Path(__file__).resolve().parents[1] / "proto" / "generate.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_health_and_reflection_are_served(channel: grpc.Channel) -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)
    for service in ("", "weftdb.v1.KeyValue", "weftdb.v1.Sql", "weftdb.v1.Transactions"):
        assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == 1
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = stub.ServerReflectionInfo(iter([request]))
    names = {service.name for service in answer.list_services_response.service}
    assert {"weftdb.v1.KeyValue", "weftdb.v1.Sql", "weftdb.v1.Transactions", "grpc.health.v1.Health"} <= names


def test_a_client_made_from_the_proto_files_can_write_and_read(kv: Any, sql: Any, table: str) -> None:
    stream = write_stream([ROWS], ROWS.schema)
    written = kv.Write(kv_pb2.WriteRequest(table=table, action=Action.ACTION_INSERT, rows=stream))
    assert written.rows == 3
    found = kv.Get(kv_pb2.GetRequest(table=table, key=to_values([2])))
    assert (found.found, list(found.columns), found.values[1].text) == (True, ["k", "v"], "b")
    answer = sql.Execute(sql_pb2.ExecuteRequest(sql=f"SELECT k FROM {table} WHERE v = $1", parameters=to_values("a")))
    assert answer.tag == "SELECT"
    assert answer.version >= written.version
    schema = pa.ipc.read_schema(pa.py_buffer(answer.schema))
    assert schema.field("k").metadata[b"weft.type"] == b"bigint"
    assert pa.ipc.read_record_batch(pa.py_buffer(answer.batch), schema).to_pylist() == [{"k": 1}]
    request = sql_pb2.ExecuteRequest(sql=f"SELECT v, k FROM {table} WHERE k = $1", parameters=to_values([2]))
    for _ in range(2):  # once it is planned, and once it is known as the read of one row
        answer = sql.Execute(request)
    assert [(value.text, value.integer) for value in answer.values] == [("b", 0), ("", 2)]


# -- bad input -------------------------------------------------------------------------------------------------------


def test_bytes_that_are_no_message_are_invalid(channel: grpc.Channel) -> None:
    chance = random.Random(1)
    codes: set[grpc.StatusCode] = set()
    for method in ("KeyValue/Get", "KeyValue/Write", "Transactions/Begin"):
        call = channel.unary_unary(f"/weftdb.v1.{method}")
        error, code = error_of(lambda call=call: call(b"\xff\xff\xff"))
        assert isinstance(error, Invalid)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        for _ in range(20):
            codes.add(code_of(lambda call=call: call(chance.randbytes(chance.randrange(40)))))
    assert grpc.StatusCode.INTERNAL not in codes
    stream = channel.stream_stream("/weftdb.v1.KeyValue/Stream")
    assert isinstance(error_of(lambda: stream(iter([b"\xff\xff"])))[0], Invalid)


def test_malformed_arrow_changes_nothing_and_the_server_stays_up(
    server: Server, kv: Any, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(2)
    good = write_stream([ROWS], ROWS.schema)
    refused = 0
    for _ in range(300):
        data = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        before = server.engine.version
        try:
            kv.Write(kv_pb2.WriteRequest(table=table, action=Action.ACTION_PUT, rows=bytes(data)))
        except grpc.RpcError as failed:
            error = of_rpc(failed, address="test")
            assert isinstance(error, Invalid | LimitExceeded), error
            assert server.engine.version == before
            refused += 1
    assert refused > 100
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert kv.Write(kv_pb2.WriteRequest(table=table, action=Action.ACTION_PUT, rows=good)).rows == 3


def test_a_load_that_ends_before_its_last_message_changes_nothing(
    server: Server, kv: Any, transactions: Any, table: str
) -> None:
    """A broken connection ends the server's stream of messages as a client does that is done."""
    session = transactions.Begin(transactions_pb2.BeginRequest()).session
    for name in ("", session):
        header = kv_pb2.LoadHeader(
            session=name, table=table, action=Action.ACTION_INSERT, schema=write_schema(ROWS.schema)
        )
        first = kv_pb2.LoadRequest.FromString(pack(kv_pb2.LoadRequest(header=header), ROWS.slice(0, 2)))
        last = kv_pb2.LoadRequest.FromString(pack(kv_pb2.LoadRequest(last=True), ROWS.slice(2)))
        with pytest.raises(grpc.RpcError, match="broken off"):
            kv.Load(iter([first]))
        assert rows(server, table) == 0
        assert kv.Load(iter([first, last])).rows == 3
        assert rows(server, table) == (0 if name else 3)
        with weftdb.connect(server.address) as db:
            db.table(table).delete([1, 2, 3])
    transactions.Close(transactions_pb2.SessionRequest(session=session))


def test_a_rejected_batch_changes_nothing(server: Server, kv: Any, table: str) -> None:
    twice = pa.record_batch({"k": pa.array([1, 2, 1], pa.int64()), "v": ["a", "b", "c"]})
    request = kv_pb2.WriteRequest(table=table, action=Action.ACTION_INSERT, rows=write_stream([twice], twice.schema))
    error, code = error_of(lambda: kv.Write(request))
    assert (error.sqlstate, code) == ("23505", grpc.StatusCode.ALREADY_EXISTS)
    assert rows(server, table) == 0


def test_requests_that_no_client_of_ours_sends_are_invalid(kv: Any, table: str) -> None:
    requests: list[Callable[[], Any]] = [
        lambda: kv.Write(kv_pb2.WriteRequest(table=table)),
        lambda: kv.Write(kv_pb2.WriteRequest(table=table, action=77)),
        lambda: kv.Write(kv_pb2.WriteRequest(table=table, action=Action.ACTION_UPDATE, columns=["v"])),
        lambda: kv.Write(kv_pb2.WriteRequest(table="nowhere", action=Action.ACTION_PUT, rows=b"")),
        lambda: kv.Get(kv_pb2.GetRequest(table=table)),
        lambda: kv.Get(kv_pb2.GetRequest(table=table, key=to_values([1, 2]))),
        lambda: kv.Get(kv_pb2.GetRequest(table=table, key=to_values([1]), key_columns=["k", "v"])),
        lambda: kv.Scan(kv_pb2.ScanRequest(table=table, columns=["nope"])),
        lambda: kv.GetMany(kv_pb2.GetManyRequest(table=table, keys=b"junk")),
        lambda: kv.Load(iter([])),
        lambda: kv.Load(iter([kv_pb2.LoadRequest(batch=b"x")])),
        lambda: kv.Load(iter([kv_pb2.LoadRequest(header=kv_pb2.LoadHeader(table=table, action=Action.ACTION_ADD))])),
        lambda: kv.Stream(iter([kv_pb2.WriterRequest(sequence=1)])),
        lambda: kv.Stream(iter([kv_pb2.WriterRequest(writer="x" * 1000)])),
    ]
    for number, request in enumerate(requests):
        error, code = error_of(request)
        assert isinstance(error, Invalid), (number, error)
        assert code is grpc.StatusCode.INVALID_ARGUMENT, number


def test_an_unknown_method_is_unimplemented(channel: grpc.Channel) -> None:
    _, code = error_of(lambda: channel.unary_unary("/weftdb.v1.KeyValue/Nonsense")(b""))
    assert code is grpc.StatusCode.UNIMPLEMENTED


def test_a_bug_is_internal_and_its_traceback_stays_at_the_server(
    server: Server, transactions: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> int:
        raise RuntimeError("secret path /home/x")

    monkeypatch.setattr(Engine, "version", property(fail))
    error, code = error_of(lambda: transactions.Version(transactions_pb2.SessionRequest()))
    assert code is grpc.StatusCode.INTERNAL
    assert "secret" not in str(error)
    assert "secret" in caplog.text


# -- limits ----------------------------------------------------------------------------------------------------------


def test_a_message_above_the_limit_is_refused(kv: Any, table: str, server: Server) -> None:
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
        stub: Any = kv_pb2_grpc.KeyValueStub(channel)
        request = kv_pb2.WriteRequest(table=table, action=Action.ACTION_PUT, rows=bytes(65 * 1024 * 1024))
        error, code = error_of(lambda: stub.Write(request))
    assert isinstance(error, LimitExceeded)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_too_many_calls_are_refused_by_name(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_server._gate, "_calls_max", 3)
    with weftdb.connect(own_server.address) as db:
        db.execute("CREATE TABLE t (k bigint PRIMARY KEY)")
        writers = [db.table("t").writer() for _ in range(3)]
        for number, writer in enumerate(writers):
            writer.put((number,))
            writer.flush()
        with pytest.raises(LimitExceeded, match="CALLS_MAX"):
            db.execute("SELECT 1")
        for writer in writers:
            writer.close()
        assert db.execute("SELECT count(*) FROM t").scalar() == 3


def test_too_many_sessions_are_refused_by_name(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "SESSIONS_MAX", 2)
    with weftdb.connect(server.address) as db, db.transaction() as one, db.snapshot():
        one.execute("SELECT 1")
        with pytest.raises(LimitExceeded, match="SESSIONS_MAX"):
            db.transaction().execute("SELECT 1")
        with pytest.raises(LimitExceeded, match="SESSIONS_MAX"):
            db.snapshot()


# -- deadlines, cancellation -----------------------------------------------------------------------------------------


def quiet(server: Server, *, seconds: float = 5.0) -> bool:
    """Whether no call runs any more, or none does within some seconds."""
    gate = server._gate
    with gate._changed:
        return gate._changed.wait_for(lambda: gate._running == 0, timeout=seconds)


def test_a_deadline_ends_a_long_query_at_the_server(server: Server, sql: Any) -> None:
    began = time.monotonic()
    error, code = error_of(lambda: sql.Execute(sql_pb2.ExecuteRequest(sql=LONG_QUERY), timeout=0.5))
    assert isinstance(error, Unavailable)
    assert error.sqlstate == "57014"
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert quiet(server)
    assert time.monotonic() - began < 5


def test_a_timeout_is_told_by_the_server(server: Server) -> None:
    with weftdb.connect(server.address) as db:
        with pytest.raises(Unavailable) as caught:
            db.execute(LONG_QUERY, timeout=0.3)
        assert caught.value.sqlstate == "57014"
        assert db.execute("SELECT 1").scalar() == 1


def test_cancelling_ends_a_long_query_at_the_server(server: Server, sql: Any) -> None:
    call = sql.Execute.future(sql_pb2.ExecuteRequest(sql=LONG_QUERY))
    time.sleep(0.3)
    assert not quiet(server, seconds=0.05)
    call.cancel()
    assert quiet(server)


def test_a_result_that_nobody_reads_on_ends_with_its_reader(server: Server) -> None:
    with weftdb.connect(server.address) as db:
        result = db.execute("SELECT x, x AS y FROM generate_series(1, 3000000) a(x)")
        reader = result.reader()
        reader.read_next_batch()
        assert not quiet(server, seconds=0.05)
        result.close()
        assert quiet(server)


def test_every_answer_carries_the_version_that_it_was_read_at(server: Server, kv: Any, sql: Any, table: str) -> None:
    with weftdb.connect(server.address) as db:
        written = db.table(table).put((1, "x")).version
        db.table(table).put((2, "x"))
        with db.snapshot(as_of=written) as snapshot:
            session = snapshot.name
            got = kv.Get(kv_pb2.GetRequest(session=session, table=table, key=to_values([1])))
            assert (got.found, got.version) == (True, written)
            got = kv.Get(kv_pb2.GetRequest(session=session, table=table, key=to_values([2])))
            assert (got.found, got.version) == (False, written)
        assert kv.Get(kv_pb2.GetRequest(table=table, key=to_values([2]))).version == db.version


def test_a_read_that_waits_for_a_version_ends_with_its_call(server: Server, kv: Any, table: str) -> None:
    request = kv_pb2.GetRequest(table=table, key=to_values([1]), at_least=2**62)
    call = kv.Get.future(request)
    time.sleep(0.2)
    assert not quiet(server, seconds=0.05)
    call.cancel()
    assert quiet(server)


# -- transactions ----------------------------------------------------------------------------------------------------


def test_a_transaction_whose_lease_is_over_is_rolled_back(
    server: Server, transactions: Any, kv: Any, table: str
) -> None:
    begun = transactions.Begin(transactions_pb2.BeginRequest(lease_seconds=0.3))
    assert begun.lease_seconds == pytest.approx(0.3)
    request = kv_pb2.WriteRequest(
        session=begun.session, table=table, action=Action.ACTION_INSERT, rows=write_stream([ROWS], ROWS.schema)
    )
    assert kv.Write(request).rows == 3
    time.sleep(1.0)
    error, code = error_of(lambda: transactions.Commit(transactions_pb2.SessionRequest(session=begun.session)))
    assert isinstance(error, Closed)
    assert "lease" in error.message
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert rows(server, table) == 0


def test_renewing_keeps_a_lease_and_tells_what_is_lost(transactions: Any) -> None:
    begun = transactions.Begin(transactions_pb2.BeginRequest(lease_seconds=0.4))
    for _ in range(8):
        time.sleep(0.1)
        answer = transactions.Renew(transactions_pb2.RenewRequest(sessions=[begun.session, "other"]))
        assert list(answer.lost) == ["other"]
    transactions.Commit(transactions_pb2.SessionRequest(session=begun.session))


def test_a_lease_does_not_end_under_a_running_call(transactions: Any, sql: Any) -> None:
    begun = transactions.Begin(transactions_pb2.BeginRequest(lease_seconds=0.1))
    request = sql_pb2.ExecuteRequest(session=begun.session, sql=LONG_QUERY, timeout_seconds=0.8)
    error, _ = error_of(lambda: sql.Execute(request))
    assert error.sqlstate == "57014"


def test_commit_again_returns_the_first_outcome(transactions: Any, kv: Any, table: str) -> None:
    begun = transactions.Begin(transactions_pb2.BeginRequest())
    request = transactions_pb2.SessionRequest(session=begun.session)
    kv.Write(
        kv_pb2.WriteRequest(
            session=begun.session, table=table, action=Action.ACTION_INSERT, rows=write_stream([ROWS], ROWS.schema)
        )
    )
    first = transactions.Commit(request).version
    assert transactions.Commit(request).version == first
    error, _ = error_of(lambda: kv.Get(kv_pb2.GetRequest(session=begun.session, table=table, key=to_values([1]))))
    assert isinstance(error, Closed)


def begun_with_rows(transactions: Any, kv: Any, table: str, *, first: int = 1) -> str:
    """The name of a transaction that has put two rows."""
    session = transactions.Begin(transactions_pb2.BeginRequest()).session
    batch = pa.record_batch({"k": pa.array([first, first + 1], pa.int64()), "v": ["x", "y"]})
    kv.Write(
        kv_pb2.WriteRequest(
            session=session, table=table, action=Action.ACTION_PUT, rows=write_stream([batch], batch.schema)
        )
    )
    return session


def test_a_server_that_comes_after_a_crash_knows_what_was_committed(tmp_path: Path) -> None:
    engine = Engine.open(tmp_path)
    with serve(engine, port=0) as server, stubs(server) as (transactions, kv):
        with weftdb.connect(server.address) as db:
            db.execute("CREATE TABLE kept (k bigint PRIMARY KEY, v text)")
        committed = begun_with_rows(transactions, kv, "kept")
        version = transactions.Commit(transactions_pb2.SessionRequest(session=committed)).version
        lost = begun_with_rows(transactions, kv, "kept", first=10)
    with serve(Engine.open(tmp_path), port=0) as server, stubs(server) as (transactions, kv):
        assert transactions.Commit(transactions_pb2.SessionRequest(session=committed)).version == version
        error, _ = error_of(lambda: transactions.Commit(transactions_pb2.SessionRequest(session=lost)))
        assert isinstance(error, Closed)
        assert "nothing of it was committed" in error.message
        assert rows(server, "kept") == 2


def test_what_the_log_has_forgotten_is_not_said_to_be_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weftdb.engine.apply.TRANSACTION_IDS_MAX", 3)
    monkeypatch.setattr("weftdb.server.sessions.SESSIONS_ENDED_MAX", 3)
    with serve(Engine.open(tmp_path), port=0) as server, stubs(server) as (transactions, kv):
        with weftdb.connect(server.address) as db:
            db.execute("CREATE TABLE kept (k bigint PRIMARY KEY, v text)")
        first = begun_with_rows(transactions, kv, "kept")
        transactions.Commit(transactions_pb2.SessionRequest(session=first))
        for number in range(5):
            other = begun_with_rows(transactions, kv, "kept", first=10 * number)
            transactions.Commit(transactions_pb2.SessionRequest(session=other))
        error, _ = error_of(lambda: transactions.Commit(transactions_pb2.SessionRequest(session=first)))
        assert error.sqlstate == "08007"
        late = begun_with_rows(transactions, kv, "kept", first=100)  # begun after all that were forgotten
        transactions.Close(transactions_pb2.SessionRequest(session=late))
        error, _ = error_of(lambda: transactions.Commit(transactions_pb2.SessionRequest(session=late)))
        assert isinstance(error, Closed)


def identified(id: str, table: str, *, again: bool = False, since: int = 0, session: str = "") -> Any:
    """Add 1 to row 1, as a client does that may have to send it again."""
    return kv_pb2.WriteRequest(
        session=session,
        table=table,
        action=Action.ACTION_ADD,
        key=to_values([1]),
        columns=["n"],
        values=to_values([1]),
        once=kv_pb2.Once(id=id, again=again, since=since),
    )


def test_a_write_that_is_sent_again_is_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside a transaction and inside of one, after a crash, and when the log has forgotten it."""
    monkeypatch.setattr("weftdb.engine.apply.TRANSACTION_IDS_MAX", 3)
    with serve(Engine.open(tmp_path), port=0) as server, stubs(server) as (transactions, kv):
        with weftdb.connect(server.address) as db:
            db.execute("CREATE TABLE counters (k bigint PRIMARY KEY, n bigint)")
        answer = kv.Write(identified("a", "counters"))
        assert kv.Write(identified("a", "counters", again=True)) == answer
        session = transactions.Begin(transactions_pb2.BeginRequest()).session
        for id, again in (("b", False), ("b", True), ("c", False)):
            kv.Write(identified(id, "counters", again=again, session=session))
        transactions.Commit(transactions_pb2.SessionRequest(session=session))
        error, _ = error_of(lambda: kv.Write(identified("c" * 64, "counters")))
        assert isinstance(error, Invalid)
    with serve(Engine.open(tmp_path), port=0) as server, stubs(server) as (_, kv):
        assert kv.Write(identified("a", "counters", again=True)) == answer
        error, _ = error_of(lambda: kv.Write(identified("b", "counters", again=True, session=session)))
        assert isinstance(error, Closed)
        for id in "def":
            newest = kv.Write(identified(id, "counters")).version
        error, _ = error_of(lambda: kv.Write(identified("a", "counters", again=True)))
        assert error.sqlstate == "08007"
        kv.Write(identified("g", "counters", again=True, since=newest))  # sent again, and never came before
        kv.Write(identified("h", "counters"))  # whether this was done long ago is not asked
        with weftdb.connect(server.address) as db:
            assert db.table("counters").get(1) == {"k": 1, "n": 1 + 2 + 3 + 2}


def test_a_write_that_is_sent_again_waits_for_its_first_try(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client lost its connection; the server has not noticed yet, and goes on."""
    begun, go_on = threading.Event(), threading.Event()
    original = own_server.engine._commit

    def slow(request: Any) -> Any:
        begun.set()
        assert go_on.wait(10)
        return original(request)

    with stubs(own_server) as (_, kv), weftdb.connect(own_server.address) as db:
        db.execute("CREATE TABLE counters (k bigint PRIMARY KEY, n bigint)")
        monkeypatch.setattr(own_server.engine, "_commit", slow)
        first = kv.Write.future(identified("a", "counters"))
        assert begun.wait(10)
        again = kv.Write.future(identified("a", "counters", again=True))
        time.sleep(0.1)
        assert not again.done()
        go_on.set()
        assert again.result() == first.result()
        assert db.table("counters").get(1) == {"k": 1, "n": 1}


def test_a_commit_that_failed_fails_again_with_the_same_error(
    server: Server, transactions: Any, kv: Any, table: str
) -> None:
    session = begun_with_rows(transactions, kv, table)
    with weftdb.connect(server.address) as db:
        db.table(table).put((1, "theirs"))
    for _ in range(2):
        error, _ = error_of(lambda: transactions.Commit(transactions_pb2.SessionRequest(session=session)))
        assert isinstance(error, Conflict)
    error, _ = error_of(lambda: kv.Get(kv_pb2.GetRequest(session=session, table=table, key=to_values([1]))))
    assert isinstance(error, Closed)


def test_transactions_that_have_ended_take_no_place(
    server: Server, transactions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weftdb.server.sessions.SESSIONS_MAX", 3)
    for _ in range(8):
        begun = transactions.Begin(transactions_pb2.BeginRequest())
        transactions.Commit(transactions_pb2.SessionRequest(session=begun.session))


def test_a_conflict_at_commit_is_aborted(server: Server, transactions: Any, kv: Any, table: str) -> None:
    with weftdb.connect(server.address) as db:
        db.table(table).put((1, "old"))
        begun = transactions.Begin(transactions_pb2.BeginRequest())
        kv.Write(
            kv_pb2.WriteRequest(
                session=begun.session,
                table=table,
                action=Action.ACTION_UPDATE,
                key=to_values([1]),
                columns=["v"],
                values=to_values(["mine"]),
            )
        )
        db.table(table).put((1, "theirs"))
    error, code = error_of(lambda: transactions.Commit(transactions_pb2.SessionRequest(session=begun.session)))
    assert isinstance(error, Conflict)
    assert code is grpc.StatusCode.ABORTED


def test_one_call_at_a_time_uses_a_session(server: Server, table: str) -> None:
    with weftdb.connect(server.address) as db, db.transaction() as transaction:
        threads = [
            threading.Thread(target=lambda n=n: transaction.table(table).insert([(n, "x")])) for n in range(100, 116)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert transaction.execute(f"SELECT count(*) FROM {table}").scalar() == 16


# -- the end ---------------------------------------------------------------------------------------------------------


def test_a_port_in_use_is_named(server: Server) -> None:
    engine = Engine.open(None)
    with pytest.raises(Unavailable, match=f"port {server.port} .* in use"):
        serve(engine, port=server.port)
    with pytest.raises(Invalid, match="no port"):
        serve(engine, port=70_000)
    with pytest.raises((Invalid, Unavailable), match="no-such-host"):
        serve(engine, host="no-such-host.invalid", port=0)
    assert engine.version >= 0  # still open
    engine.close()


def test_stopping_drains_what_runs_and_refuses_what_comes(own_server: Server) -> None:
    answers: list[object] = []
    with weftdb.connect(own_server.address) as db:
        slow = "SELECT count(*) FROM generate_series(1, 3000) a(x), generate_series(1, 100000) b(y) WHERE x + y > 0"
        query = threading.Thread(target=lambda: answers.append(db.execute(slow).scalar()))
        query.start()
        time.sleep(0.2)
        stop = threading.Thread(target=lambda: own_server.stop(grace=20))
        stop.start()
        time.sleep(0.1)
        if stop.is_alive():
            with pytest.raises(Unavailable):
                db.execute("SELECT 1")
        query.join()
        stop.join()
    assert answers == [300_000_000]
    assert own_server.wait(0)
    with pytest.raises(Closed):
        own_server.engine.snapshot()


def test_stopping_ends_what_takes_longer_than_the_grace(own_server: Server) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            db.execute(LONG_QUERY)
        except WeftError as error:
            failed.append(error)

    with weftdb.connect(own_server.address) as db:
        query = threading.Thread(target=run)
        query.start()
        time.sleep(0.3)
        began = time.monotonic()
        own_server.stop(grace=0.2)
        assert time.monotonic() - began < 5
        query.join(timeout=5)
    assert [type(error) for error in failed] == [Unavailable]


def test_the_port_is_free_again_after_the_end(own_server: Server) -> None:
    own_server.stop()
    with socket.create_server(("127.0.0.1", own_server.port)):
        pass


def test_the_gate_is_the_only_source_of_principals(server: Server, monkeypatch: pytest.MonkeyPatch, sql: Any) -> None:
    def deny(self: object, metadata: object) -> str:
        raise weftdb.Denied("nobody may")

    monkeypatch.setattr(gate_module.Gate, "authenticate", deny)
    error, code = error_of(lambda: sql.Execute(sql_pb2.ExecuteRequest(sql="SELECT 1")))
    assert isinstance(error, weftdb.Denied)
    assert code is grpc.StatusCode.PERMISSION_DENIED


def test_a_writers_stream_gives_way_to_its_next_one(server: Server, kv: Any, table: str) -> None:
    """The client lost its connection and comes again while the server still holds the older stream."""
    layout = kv_pb2.WriterLayout(table=table, action=Action.ACTION_INSERT, schema=write_schema(ROWS.schema))

    def message(sequence: int) -> kv_pb2.WriterRequest:
        batch = pa.record_batch({"k": pa.array([sequence], pa.int64()), "v": ["x"]})
        head = kv_pb2.WriterRequest(writer=table, layout=layout, sequence=sequence)
        return kv_pb2.WriterRequest.FromString(pack(head, batch))

    go_on = threading.Event()

    def older_messages() -> Iterator[kv_pb2.WriterRequest]:
        yield message(1)
        go_on.wait(10)
        yield message(3)

    older = kv.Stream(older_messages())
    assert next(older).sequence == 1
    newer = kv.Stream(iter([message(1), message(2)]))
    assert [(answer.sequence, answer.HasField("error")) for answer in newer] == [(1, False), (2, False)]
    go_on.set()
    with pytest.raises(grpc.RpcError):
        next(older)
    assert rows(server, table) == 2


def test_after_a_failed_batch_nothing_more_of_its_stream_is_applied(server: Server, kv: Any, table: str) -> None:
    layout = kv_pb2.WriterLayout(table=table, action=Action.ACTION_INSERT, schema=write_schema(ROWS.schema))
    messages = []
    for sequence, key in ((1, 7), (2, 7), (3, 8)):
        batch = pa.record_batch({"k": pa.array([key], pa.int64()), "v": ["x"]})
        head = kv_pb2.WriterRequest(writer=f"{table}-w", layout=layout, sequence=sequence)
        messages.append(kv_pb2.WriterRequest.FromString(pack(head, batch)))
    answers = list(kv.Stream(iter(messages)))
    assert [answer.sequence for answer in answers] == [1, 2]
    assert answers[1].error.sqlstate == "23505"
    assert rows(server, table) == 1
