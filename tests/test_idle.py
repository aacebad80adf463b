"""Transactions that nobody uses end by themselves, and never under a call."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import weftdb
from weftdb.base.errors import Closed, Invalid
from weftdb.base.interface import Database
from weftdb.engine import idle
from weftdb.engine.idle import Gate
from weftdb.sql.session import Session

SHORT = "SET idle_in_transaction_session_timeout = '100ms'"
OPEN = "SELECT count(*) FROM weft_transactions"


def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that is set later is noticed soon."""
    monkeypatch.setattr(idle, "LOOK_SECONDS_MAX", 0.05)


@pytest.fixture
def table(database: Database) -> Any:
    database.execute("CREATE TABLE t (a BIGINT PRIMARY KEY, b BIGINT)")
    return database.table("t")


def test_an_idle_transaction_is_rolled_back_and_says_so(database: Database, table: Any) -> None:
    def timed_out() -> float:
        name = "weft_transactions_timed_out"
        return database.execute("SELECT value FROM weft_metrics WHERE name = $1", [name]).scalar()

    with pytest.raises(Closed, match=r"more than 0\.1 s") as caught, database.transaction() as txn:  # noqa: PT012
        txn.execute(SHORT)
        txn.table("t").put((1, 1))
        assert database.execute("SELECT idle_seconds < 10 FROM weft_transactions").rows() == [(True,)]
        eventually(lambda: database.execute(OPEN).scalar() == 0)
    assert caught.value.sqlstate == "25P03"
    assert table.get(1) is None
    assert database.execute("SELECT count(*) FROM weft_horizon WHERE kind = 'transaction'").scalar() == 0
    assert timed_out() == 1
    for read_only in (False, True):
        txn = database.transaction(read_only=read_only)
        txn.execute(SHORT)
        txn.execute("SELECT 1")
        eventually(lambda: database.execute(OPEN).scalar() == 0)
        for call in (
            lambda txn=txn: txn.table("t").get(1),
            lambda txn=txn: txn.execute("SELECT * FROM t"),
            lambda txn=txn: txn.savepoint("s"),
            lambda txn=txn: txn.table("t").scan(),
        ):
            with pytest.raises(Closed) as caught:
                call()
            assert caught.value.sqlstate == "25P03"
        txn.rollback()
    assert timed_out() == 3


def test_a_transaction_is_not_idle_while_a_call_runs(database: Database, table: Any) -> None:
    with database.transaction() as txn:
        txn.execute(SHORT)
        txn.table("t").put((1, 1))
        began = time.monotonic()
        rows = 1_000_000
        while time.monotonic() - began < 0.5:
            txn.execute(slow(rows)).scalar()
            rows *= 2
        txn.table("t").put((2, 2))
    assert database.execute("SELECT count(*) FROM t").scalar() == 2


def slow(rows: int) -> str:
    return f"SELECT max(length(md5(x::text))) FROM generate_series(1, {rows}) g(x)"


def test_zero_is_for_ever_and_the_setting_is_the_sessions_own(database: Database, table: Any) -> None:
    assert database.execute("SHOW idle_in_transaction_session_timeout").scalar() == "600000"
    with database.transaction() as txn:
        txn.execute(SHORT)
        txn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        txn.table("t").put((1, 1))
        time.sleep(0.3)
        txn.table("t").put((2, 2))
    assert database.execute("SHOW idle_in_transaction_session_timeout").scalar() == "600000"
    assert table.get(2) is not None


def test_the_option_is_the_default(tmp_path: Any) -> None:
    with weftdb.open(tmp_path, idle_transaction_seconds=0.05) as db:
        db.execute("CREATE TABLE t (a BIGINT PRIMARY KEY)")
        txn = db.transaction()
        txn.table("t").put((1,))
        eventually(lambda: db.execute(OPEN).scalar() == 0)
        with pytest.raises(Closed, match=r"0\.05 s"):
            txn.commit()
        del txn
        forgotten = db.transaction()
        forgotten.table("t").put((2,))
        del forgotten  # nobody can end it any more
        assert db.execute(OPEN).scalar() == 1
        eventually(lambda: db.execute("SELECT count(*) FROM weft_horizon WHERE kind = 'transaction'").scalar() == 0)
        assert db.execute("SELECT count(*) FROM t").scalar() == 0
    with weftdb.open(idle_transaction_seconds=0) as db:
        assert db.execute("SHOW idle_in_transaction_session_timeout").scalar() == "0"
    with pytest.raises(Invalid, match="idle_transaction_seconds"):
        weftdb.open(idle_transaction_seconds=-1)


def test_a_block_of_a_text_then_waits_for_rollback() -> None:
    with weftdb.open() as db, Session(db.engine) as session:
        session.execute("CREATE TABLE t (a BIGINT PRIMARY KEY)")
        for end in ("ROLLBACK", "COMMIT"):
            session.execute(f"BEGIN; {SHORT}; SAVEPOINT s; INSERT INTO t VALUES (1)")
            eventually(lambda: session.engine.transaction_facts() == [])
            for text, sqlstate in (("SELECT 1", "25P03"), ("SELECT 1", "25P02"), ("ROLLBACK TO s", "25P03")):
                with pytest.raises((Closed, Invalid)) as caught:
                    session.execute(text)
                assert caught.value.sqlstate == sqlstate
            assert session.execute(end).tag == "ROLLBACK"
            assert session.execute("SELECT count(*) FROM t").scalar() == 0
        session.execute(f"BEGIN; {SHORT}; INSERT INTO t VALUES (1)")
        eventually(lambda: session.engine.transaction_facts() == [])
        with pytest.raises(Closed) as caught:
            session.execute("COMMIT")
        assert caught.value.sqlstate == "25P03"
        assert session.status == "idle"


def test_the_gate_lets_the_end_in_only_between_calls() -> None:
    gate = Gate()
    assert not gate.run_if_idle(1000, lambda: pytest.fail("it was not idle"))
    time.sleep(0.02)
    assert gate.idle_seconds >= 0.02
    with gate:
        with gate:
            assert gate.idle_seconds == 0
        done: list[bool] = []
        other = threading.Thread(target=lambda: done.append(gate.run_if_idle(0, lambda: pytest.fail("under a call"))))
        other.start()
        other.join()
        assert done == [False]
    ran: list[int] = []
    assert gate.run_if_idle(0, lambda: ran.append(1))
    assert ran == [1]


def test_a_transaction_that_meets_its_limit_is_whole_or_nothing() -> None:
    """Owners that pause about as long as they may: each either commits all of its rows, or none and is told."""
    told: list[str] = []
    done: list[int] = []
    errors: list[BaseException] = []
    with weftdb.open(idle_transaction_seconds=0.003) as db:
        db.execute("CREATE TABLE t (a BIGINT PRIMARY KEY, b BIGINT)")

        def owner(number: int) -> None:
            chance = random.Random(number)
            for turn in range(40):
                key = 2 * (100 * number + turn)
                txn = db.transaction()
                try:
                    txn.table("t").put((key, 0))
                    time.sleep(chance.choice((0, 0.002, 0.01, 0.02)))
                    txn.execute("INSERT INTO t VALUES ($1, 1)", [key + 1])
                    time.sleep(chance.choice((0, 0.002, 0.01)))
                    txn.commit()
                    done.append(key)
                except Closed as error:
                    told.append(error.sqlstate)
                except BaseException as error:
                    errors.append(error)
                finally:
                    txn.close()

        threads = [threading.Thread(target=owner, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert set(told) == {"25P03"}
        assert len(told) + len(done) == 160
        assert len(done) > 0
        assert [key for (key,) in db.execute("SELECT a FROM t WHERE b = 0 ORDER BY a").rows()] == sorted(done)
        assert [key - 1 for (key,) in db.execute("SELECT a FROM t WHERE b = 1 ORDER BY a").rows()] == sorted(done)
        assert db.execute(OPEN).scalar() == 0
        assert db.execute("SELECT count(*) FROM weft_horizon WHERE kind = 'transaction'").scalar() == 0
