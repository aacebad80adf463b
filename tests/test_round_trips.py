"""What a client need not ask for: a transaction begins with its first call, and a table is described once.

Also what must not come of it: two transactions where one was meant, and rows written by an old definition.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import grpc
import pyarrow as pa
import pytest
import weftdb
from breaking_proxy import BreakingProxy
from weftdb.base.errors import Closed, Invalid, NotFound, Unavailable
from weftdb.client import table as table_module
from weftdb.client.connection import RemoteDatabase
from weftdb.client.failures import of_rpc
from weftdb.engine.database import Engine
from weftdb.proto.failures import BEGIN_KEY, SESSION_KEY
from weftdb.proto.values import to_values
from weftdb.proto.weftdb.v1 import kv_pb2, kv_pb2_grpc
from weftdb.proto.weftdb.v1.transactions_pb2 import BeginRequest, SessionResponse
from weftdb.server.gate import Gate
from weftdb.server.service import Server, serve


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(Engine.open(None), port=0) as running:
        yield running


@pytest.fixture
def db(server: Server) -> Iterator[RemoteDatabase]:
    with weftdb.connect(server.address) as db:
        db.execute("CREATE TABLE t (k bigint PRIMARY KEY, v text)")
        db.table("t").put([(1, "one"), (2, "two")])
        yield db
        db.execute("DROP TABLE t")


@pytest.fixture
def other(server: Server) -> Iterator[RemoteDatabase]:
    """Another client."""
    with weftdb.connect(server.address) as other:
        yield other


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that servers get."""
    seen: list[str] = []
    inside = Gate._inside

    def note(self: Gate, method: str, context: Any) -> Any:
        seen.append(method.rsplit("/", 1)[-1])
        return inside(self, method, context)

    monkeypatch.setattr(Gate, "_inside", note)
    return seen


# -- the first call begins a transaction ------------------------------------------------------------------------------


def test_a_read_modify_write_transaction_is_three_calls(db: RemoteDatabase, calls: list[str]) -> None:
    db.table("t").get(1)
    del calls[:]
    with db.transaction() as transaction:
        table = transaction.table("t")
        row = table.get(1)
        assert row is not None
        table.update(1, v=f"{row['v']}!")
    assert calls == ["Get", "Write", "Commit"]
    assert db.table("t").get(1) == {"k": 1, "v": "one!"}


@pytest.mark.parametrize("isolation", ["snapshot", "repeatable read", "read committed", "serializable"])
def test_a_transaction_has_its_level_and_mode_from_its_first_call(
    db: RemoteDatabase, calls: list[str], isolation: str
) -> None:
    del calls[:]
    with db.transaction(isolation=isolation, read_only=True) as transaction:  # type: ignore[arg-type]
        shown = transaction.execute("SHOW transaction_isolation").scalar()
        assert shown == {"snapshot": "repeatable read"}.get(isolation, isolation)
        with pytest.raises(Invalid) as caught:
            transaction.table("t").put((3, "three"))
        assert caught.value.sqlstate == "25006"
    assert "Begin" not in calls


def test_a_level_that_does_not_exist_is_refused_at_once(db: RemoteDatabase) -> None:
    with pytest.raises(Invalid, match="isolation level"):
        db.transaction(isolation="dirty")  # type: ignore[arg-type]
    with db.transaction(isolation="SERIALIZABLE") as transaction:  # type: ignore[arg-type]
        assert transaction.execute("SHOW transaction_isolation").scalar() == "serializable"


def test_a_transaction_without_calls_costs_the_server_nothing(
    server: Server, db: RemoteDatabase, calls: list[str]
) -> None:
    del calls[:]
    db.transaction().close()
    db.transaction().rollback()
    assert calls == []
    transaction = db.transaction()
    assert transaction.commit() == db.version
    with pytest.raises(Closed):
        transaction.commit()
    assert not server._sessions._held


@pytest.mark.parametrize("isolation", ["snapshot", "serializable"])
def test_a_first_call_that_fails_has_begun_the_transaction(
    db: RemoteDatabase, other: RemoteDatabase, isolation: str
) -> None:
    """What was found missing stays missing: the calls after it see the same snapshot."""
    with db.transaction(isolation=isolation) as transaction:  # type: ignore[arg-type]
        table = transaction.table("t")
        with pytest.raises(NotFound):
            table.update(7, v="seven")
        other.table("t").put((7, "came later"))
        assert table.get(7) is None
        assert transaction.execute("SELECT count(*) FROM t").scalar() == 2


@pytest.mark.parametrize("after", [10, 60, 110, 160, 210, 260, 310])
def test_a_first_call_whose_answer_is_lost_counts_once(server: Server, db: RemoteDatabase, after: int) -> None:
    with BreakingProxy(server.port) as proxy, weftdb.connect(f"weft://127.0.0.1:{proxy.port}") as through:
        through.table("t")
        with through.transaction() as transaction:
            table = transaction.table("t")
            proxy.break_after(after)  # somewhere on the way there or back
            table.insert((3, "three"))
            proxy.break_after(None)
            assert table.get(3) == {"k": 3, "v": "three"}
        assert db.table("t").get(3) == {"k": 3, "v": "three"}
        proxy.refuse(True)
        proxy.break_all()
        with through.transaction() as transaction:
            with pytest.raises(Unavailable):
                transaction.execute("DELETE FROM t")
            transaction.close()
    assert db.execute("SELECT count(*) FROM t").scalar() == 3


def test_a_first_load_of_many_messages_begins_a_transaction(
    db: RemoteDatabase, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_module, "_ONE_MESSAGE_BYTES", 1_000)
    rows = pa.table({"k": pa.array(range(10, 1_010), pa.int64()), "v": ["x"] * 1_000})
    with db.transaction() as transaction:
        del calls[:]
        assert transaction.table("t").put(rows).rows == 1_000
        assert calls == ["Load"]
        assert db.execute("SELECT count(*) FROM t").scalar() == 2
    assert db.execute("SELECT count(*) FROM t").scalar() == 1_002


def test_what_begins_a_transaction_is_checked(server: Server, db: RemoteDatabase) -> None:
    held = len(server._sessions._held)
    request = kv_pb2.GetRequest(table="t", key=to_values([1]))
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub: Any = kv_pb2_grpc.KeyValueStub(channel)
        for wrong in (b"\xff\xff", BeginRequest(isolation="dirty").SerializeToString()):
            with pytest.raises(grpc.RpcError) as caught:
                stub.Get(request, metadata=((BEGIN_KEY, wrong),))
            assert isinstance(of_rpc(caught.value, address="test"), Invalid)
            assert SESSION_KEY not in dict(caught.value.trailing_metadata())  # type: ignore[attr-defined]
        assert len(server._sessions._held) == held
        begin = BeginRequest(lease_seconds=0.2).SerializeToString()
        answer, call = stub.Get.with_call(request, metadata=((BEGIN_KEY, begin),))
        begun = SessionResponse.FromString(dict(call.trailing_metadata())[SESSION_KEY])
        assert answer.found
        assert begun.lease_seconds == pytest.approx(0.2)
        assert begun.session in server._sessions._held
        named = kv_pb2.GetRequest(table="t", key=to_values([1]), session=begun.session)
        _, call = stub.Get.with_call(named, metadata=((BEGIN_KEY, begin),))  # it has one already
        assert SESSION_KEY not in dict(call.trailing_metadata())
        assert len(server._sessions._held) == held + 1
    deadline = time.monotonic() + 5
    while len(server._sessions._held) > held and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(server._sessions._held) == held  # nobody knew it any more


# -- a table is described once ----------------------------------------------------------------------------------------


def test_a_table_that_is_known_is_not_asked_for(db: RemoteDatabase, calls: list[str]) -> None:
    db.table("t")
    del calls[:]
    for _ in range(3):
        db.table("t")
        db.transaction().table("t")
    assert calls == []
    with db.snapshot() as snapshot:
        for _ in range(3):
            snapshot.table("t")
    assert calls == ["OpenSnapshot", "Describe", "Close"]
    with pytest.raises(Invalid) as caught:
        db.table("tt")
    assert caught.value.sqlstate == "42P01"


def test_what_a_transaction_describes_first_is_known_to_all(
    other: RemoteDatabase, db: RemoteDatabase, calls: list[str]
) -> None:
    with other.transaction() as transaction:
        transaction.table("t")
    del calls[:]
    other.table("t")
    with other.transaction() as transaction:
        transaction.table("t")
    assert calls == ["Version"]  # the second transaction had no call, and so has the newest version


def test_a_client_knows_of_the_changes_that_it_makes(db: RemoteDatabase) -> None:
    db.table("t")
    db.execute("CREATE TABLE u (k bigint PRIMARY KEY); INSERT INTO u VALUES (1)")
    assert db.table("u").get(1) == {"k": 1}
    db.execute("DROP TABLE u")
    with pytest.raises(Invalid) as caught:
        db.table("u")
    assert caught.value.sqlstate == "42P01"


def test_a_transaction_sees_the_definitions_that_it_changed_and_nobody_else_does(db: RemoteDatabase) -> None:
    db.table("t")
    with db.transaction() as transaction:
        transaction.execute("CREATE TABLE u (k bigint PRIMARY KEY)")
        transaction.execute("ALTER TABLE t ADD COLUMN w text")
        transaction.table("u").insert([(1,), (2,)])
        transaction.table("t").put([(3, "three", "w")])
        assert db.table("t").schema.names == ["k", "v"]
        with pytest.raises(Invalid):
            db.table("u")
        transaction.rollback()
    with pytest.raises(Invalid):
        db.table("u")
    db.table("t").put([(4, "four")])
    with db.transaction() as transaction:
        transaction.execute("DROP TABLE t")
        with pytest.raises(Invalid):
            transaction.table("t")
        transaction.execute("CREATE TABLE t (k bigint PRIMARY KEY, w text)")
    db.table("t").put([{"k": 1, "w": "new"}])
    assert db.table("t").schema.names == ["k", "w"]


def test_a_table_that_others_dropped_is_missed_by_its_first_use(db: RemoteDatabase, other: RemoteDatabase) -> None:
    db.execute("CREATE TABLE u (k bigint PRIMARY KEY)")
    other.table("u")
    db.execute("DROP TABLE u")
    table = other.table("u")
    for use in (
        lambda: table.get(1),
        lambda: table.put((1,)),
        lambda: table.put([(1,)]),
        lambda: table.get_many([1]),
        lambda: table.schema,
        lambda: table.primary_key,
    ):
        with pytest.raises(Invalid) as caught:
            use()
        assert caught.value.sqlstate == "42P01"
    other.execute("SELECT 1")  # its answer tells of the change
    with pytest.raises(Invalid):
        other.table("u")


@pytest.mark.parametrize("size", [10**9, 10], ids=["one message", "a load"])
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a transaction"])
def test_rows_go_by_the_definition_that_the_table_has(
    db: RemoteDatabase, other: RemoteDatabase, monkeypatch: pytest.MonkeyPatch, size: int, inside: bool
) -> None:
    """What others altered: tuples have the columns' order of now, and one too few is refused, as it is embedded."""
    monkeypatch.setattr(table_module, "_ONE_MESSAGE_BYTES", size)
    other.table("t")
    db.execute("ALTER TABLE t ADD COLUMN n integer")
    db.execute("ALTER TABLE t DROP COLUMN v")
    db.execute("ALTER TABLE t ADD COLUMN v text")  # k, n, v: other columns in the places of the known ones
    before = db.version
    with other.transaction() as transaction:
        table = (transaction if inside else other).table("t")
        with pytest.raises(Invalid, match="2 values, 3 are expected"):
            table.put([(3, "three")])
        assert db.version == before
        assert table.put([(3, 33, "three"), (4, 44, "four")]).rows == 2
        assert table.get_many([4]).to_pylist() == [{"k": 4, "n": 44, "v": "four"}]
        rows = pa.table({"k": [5], "v": ["five"]})
        assert table.put(rows.to_reader()).rows == 1
    assert db.execute("SELECT k, n, v FROM t WHERE k > 2 ORDER BY k").rows() == [
        (3, 33, "three"),
        (4, 44, "four"),
        (5, None, "five"),
    ]


def test_a_transaction_goes_by_the_definition_of_its_snapshot(db: RemoteDatabase, other: RemoteDatabase) -> None:
    """Its client learns of a newer one meanwhile."""
    with other.transaction() as transaction:
        transaction.table("t").get(1)
        db.execute("ALTER TABLE t ADD COLUMN n integer")
        assert other.table("t").schema.names == ["k", "v", "n"]
        table = transaction.table("t")
        assert table.get(1) == {"k": 1, "v": "one"}
        assert table.put([(3, "three")]).rows == 1
        assert table.schema.names == ["k", "v"]
        transaction.rollback()


def test_a_table_that_was_made_anew_is_another_one(db: RemoteDatabase, other: RemoteDatabase) -> None:
    table = other.table("t")
    table.put((9, "nine"))
    db.execute("DROP TABLE t; CREATE TABLE t (a text, b bigint, PRIMARY KEY (b, a))")
    assert table.put([("x", 1), ("y", 2)]).rows == 2
    assert table.primary_key == ("b", "a")
    assert table.get((1, "x")) == {"a": "x", "b": 1}
    assert other.table("t").get_many([(2, "y")]).num_rows == 1
    assert other.table("t").delete([(2, "y")]).rows == 1
