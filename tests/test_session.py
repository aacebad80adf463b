"""The session: transactions, settings, prepared statements, time-outs, retries, EXPLAIN; and its pure parts."""

from __future__ import annotations

import gc
import re
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
import weftdb
from weftdb.base.errors import Conflict
from weftdb.base.rows import to_batch
from weftdb.engine.database import Engine
from weftdb.engine.transaction import Transaction
from weftdb.sql import statements as st
from weftdb.sql.copy.files import ANYWHERE
from weftdb.sql.session import Session
from weftdb.sql.settings import Settings
from weftdb.sql.source import split


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine.open(None) as opened:
        yield opened


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as opened:
        opened.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v INT)")
        opened.execute("INSERT INTO t VALUES (1, 10), (2, 20)")
        yield opened


def refused(session: Session, sql: str, parameters: list[object] | None = None) -> weftdb.WeftError:
    with pytest.raises(weftdb.WeftError) as caught:
        session.execute(sql, parameters or [])
    return caught.value


def tags(session: Session, *texts: str) -> list[str]:
    return [session.execute(text).tag for text in texts]


# -- reading statements ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("BEGIN", st.Begin(isolation=None, read_only=None)),
        ("begin work", st.Begin(isolation=None, read_only=None)),
        ("START TRANSACTION READ ONLY", st.Begin(isolation=None, read_only=True)),
        (
            "BEGIN ISOLATION LEVEL REPEATABLE READ, READ WRITE",
            st.Begin(isolation="repeatable read", read_only=False),
        ),
        ("COMMIT", st.Commit(chain=False)),
        ("END TRANSACTION", st.Commit(chain=False)),
        ("COMMIT AND CHAIN", st.Commit(chain=True)),
        ("abort", st.Rollback(chain=False)),
        ("ROLLBACK AND NO CHAIN", st.Rollback(chain=False)),
        ("SET TIME ZONE 'UTC'", st.SetVariable(name="timezone", value="UTC", local=False)),
        ("SET LOCAL statement_timeout TO 5", st.SetVariable(name="statement_timeout", value="5", local=True)),
        ("SET search_path = a, b", st.SetVariable(name="search_path", value="a, b", local=False)),
        ("SET x.y = -1.5", st.SetVariable(name="x.y", value="-1.5", local=False)),
        ("SET a TO DEFAULT", st.SetVariable(name="a", value=None, local=False)),
        ("SHOW ALL", st.Show(name=None)),
        ("SHOW TRANSACTION ISOLATION LEVEL", st.Show(name="transaction_isolation")),
        ("SHOW COLUMNS FROM public.t", st.ShowCatalog(what="columns", name="t")),
        ('SHOW CREATE "T"', st.ShowCatalog(what="create", name="T")),
        ("RESET ALL", st.Reset(name=None, discard=False)),
        ("DISCARD ALL", st.Reset(name=None, discard=True)),
        ("EXECUTE p (1, 'a)')", st.Execute(name="p", arguments="1, 'a)'")),
        ("DEALLOCATE PREPARE p", st.Deallocate(name="p")),
        ("REFRESH MATERIALIZED VIEW v", st.Refresh(name="v")),
        ("/* x */ VACUUM ANALYZE t", st.Maintain(name="VACUUM")),
    ],
)
def test_the_sessions_own_statements_are_read(text: str, statement: st.Statement) -> None:
    assert st.read(split(text)[0]) == statement


@pytest.mark.parametrize(
    "text",
    [
        "BEGIN foo",
        "START",
        "COMMIT x",
        "SET",
        "SET a",
        "SET a =",
        "SHOW",
        "PREPARE p",
        "EXECUTE",
        "EXPLAIN",
        "DEALLOCATE",
        "SHOW COLUMNS t",
        "BEGIN ISOLATION LEVEL",
    ],
)
def test_a_wrong_one_is_a_syntax_error_with_a_place(session: Session, text: str) -> None:
    error = refused(session, text)
    assert error.sqlstate == "42601"
    assert "^" in str(error)


def test_the_statement_inside_keeps_its_place_in_the_text(session: Session) -> None:
    error = refused(session, "EXPLAIN (ANALYZE)\n  SELECT nope FROM t")
    assert "LINE 2, column 10" in str(error)
    error = refused(session, "SELECT 1;\nSELECT nope")
    assert "LINE 2, column 8" in str(error)


# -- settings --------------------------------------------------------------------------------------------------------


def test_settings_are_set_shown_and_reset(session: Session) -> None:
    assert session.execute("SHOW timezone").names == ("TimeZone",)
    session.execute("SET TIME ZONE 'europe/berlin'")
    assert session.execute("SHOW TimeZone").scalar() == "Europe/Berlin"
    session.execute("RESET timezone")
    assert session.execute("SHOW timezone").scalar() == "UTC"
    session.execute("SET statement_timeout = '2 min'; SET application_name TO 'me'")
    assert session.execute("SHOW statement_timeout").scalar() == "120000"
    session.execute("RESET ALL")
    assert session.execute("SHOW application_name").scalar() == ""
    names = [row[0] for row in session.execute("SHOW ALL").rows()]
    assert "server_version" in names
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("text", "sqlstate", "words"),
    [
        ("SET timezon = 'UTC'", "42704", ["timezone"]),
        ("SET timezone = 'Europe/Berlim'", "22023", ["europe/berlin"]),
        ("SET statement_timeout = '5 parsecs'", "22023", ["ms"]),
        ("SET server_version = '1'", "55P02", ["server_version"]),
        ("SET client_encoding = 'LATIN1'", "0A000", ["UTF8"]),
        ("SET standard_conforming_strings = off", "0A000", ["on"]),
        ("SET default_transaction_isolation = 'serialisable'", "22023", ["SERIALIZABLE"]),
        ("SHOW nothing", "42704", ["nothing"]),
    ],
)
def test_a_setting_that_cannot_be_is_refused(session: Session, text: str, sqlstate: str, words: list[str]) -> None:
    error = refused(session, text)
    assert error.sqlstate == sqlstate
    for word in words:
        assert word.lower() in str(error).lower()


def test_what_drivers_set_when_they_connect_is_accepted(session: Session) -> None:
    for text in (
        "SET client_encoding TO 'UTF8'",
        "SET NAMES 'utf-8'",
        "SET DateStyle = 'ISO'",
        "SET DateStyle = ISO, MDY",
        "SET extra_float_digits = 3",
        "SET standard_conforming_strings = on",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "SET client_min_messages TO warning",
        "SET search_path TO public",
    ):
        assert session.execute(text).tag == "SET"


def test_settings_are_part_of_the_transaction(session: Session) -> None:
    session.execute("BEGIN; SET timezone = 'Asia/Tokyo'; SET LOCAL application_name = 'inside'")
    assert session.execute("SHOW application_name").scalar() == "inside"
    session.execute("COMMIT")
    assert session.execute("SHOW application_name").scalar() == ""
    assert session.execute("SHOW timezone").scalar() == "Asia/Tokyo"
    session.execute("BEGIN; SET timezone = 'UTC'; ROLLBACK")
    assert session.execute("SHOW timezone").scalar() == "Asia/Tokyo"


def test_a_session_starts_with_the_settings_it_was_given() -> None:
    settings = Settings({"TimeZone": "asia/tokyo"})
    assert settings.get("timezone") == "Asia/Tokyo"
    assert settings.values == {"timezone": "Asia/Tokyo"}
    settings.reset("timezone")
    assert settings.get("timezone") == "UTC"
    assert settings.values == {}


def test_the_time_zone_changes_what_a_query_means_also_from_the_cache(session: Session) -> None:
    text = "SELECT extract(hour FROM (TIMESTAMPTZ '2024-06-01 12:00+00')::timestamp)"
    assert session.execute(text).scalar() == 12
    session.execute("SET timezone = 'Europe/Berlin'")
    assert session.execute(text).scalar() == 14


# -- transactions ----------------------------------------------------------------------------------------------------


def test_a_transaction_block_by_sql(session: Session, engine: Engine) -> None:
    assert tags(session, "BEGIN", "INSERT INTO t VALUES (3, 30)", "SELECT 1", "COMMIT") == [
        "BEGIN",
        "INSERT 0 1",
        "SELECT",
        "COMMIT",
    ]
    assert tags(session, "BEGIN", "DELETE FROM t", "ROLLBACK") == ["BEGIN", "DELETE 3", "ROLLBACK"]
    assert Session(engine).get("t", 3) == {"id": 3, "v": 30}
    assert session.status == "idle"


def test_begin_takes_no_snapshot_until_something_is_read(session: Session, engine: Engine) -> None:
    session.execute("BEGIN")
    Session(engine).put("t", (1, 99))
    assert session.execute("SELECT v FROM t WHERE id = 1").scalar() == 99
    Session(engine).put("t", (1, 100))
    assert session.execute("SELECT v FROM t WHERE id = 1").scalar() == 99
    session.execute("ROLLBACK")


def test_a_failed_transaction_only_ends(session: Session) -> None:
    session.execute("BEGIN; UPDATE t SET v = 0")
    assert refused(session, "SELECT 1/0").sqlstate == "22012"
    assert session.status == "failed"
    for text in ("SELECT 1", "INSERT INTO t VALUES (9, 9)", "SHOW timezone", "BEGIN", "SET timezone = 'UTC'"):
        assert refused(session, text).sqlstate == "25P02"
    with pytest.raises(weftdb.Invalid):
        session.get("t", 1)
    assert session.execute("COMMIT").tag == "ROLLBACK"
    assert session.status == "idle"
    assert session.execute("SELECT sum(v) FROM t").scalar() == 30


def test_syntax_errors_and_refusals_fail_a_transaction_too(session: Session) -> None:
    for text in ("SELEC 1", "LISTEN a", "CREATE TRIGGER i ON t (v)"):
        session.execute("BEGIN")
        refused(session, text)
        assert session.status == "failed"
        session.execute("ROLLBACK")


def test_a_conflict_at_commit_ends_the_transaction(session: Session, engine: Engine) -> None:
    session.execute("BEGIN; UPDATE t SET v = 1 WHERE id = 1")
    Session(engine).execute("UPDATE t SET v = 5 WHERE id = 1")
    with pytest.raises(weftdb.Conflict) as caught:
        session.execute("COMMIT")
    assert caught.value.sqlstate == "40001"
    assert session.status == "idle"
    assert session.execute("SELECT v FROM t WHERE id = 1").scalar() == 5


def test_commands_without_a_transaction_only_notice(session: Session) -> None:
    results = [session.execute(text) for text in ("COMMIT", "ROLLBACK", "BEGIN", "BEGIN", "ROLLBACK")]
    assert [result.tag for result in results] == ["COMMIT", "ROLLBACK", "BEGIN", "BEGIN", "ROLLBACK"]
    none, already = ("there is no transaction in progress",), ("there is already a transaction in progress",)
    assert [result.notices for result in results] == [none, none, (), already, ()]
    assert session.execute("SET LOCAL timezone = 'Asia/Tokyo'").notices
    assert session.execute("SHOW timezone").scalar() == "UTC"


def test_chain_begins_the_next_one(session: Session) -> None:
    session.execute("BEGIN READ ONLY; COMMIT AND CHAIN")
    assert session.in_transaction
    assert refused(session, "DELETE FROM t").sqlstate == "25006"
    session.execute("ROLLBACK")


@pytest.mark.parametrize(
    "write",
    [
        "INSERT INTO r VALUES (2, 2)", "INSERT INTO r VALUES ($1, $1)", "INSERT INTO r SELECT 2, 2",
        "UPDATE r SET n = 2 WHERE id = 1", "DELETE FROM r WHERE id = 1", "DELETE FROM r", "TRUNCATE r",
        "INSERT INTO r VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET n = 2", "DROP TABLE r", "CREATE TABLE v (a INT)",
        "MERGE INTO r USING (VALUES (1)) s (k) ON id = k WHEN MATCHED THEN DELETE", "SELECT * FROM r FOR UPDATE",
        "CREATE SNAPSHOT s",
    ],
)  # fmt: skip
def test_a_session_that_only_reads_writes_by_no_statement_of_its_own(session: Session, write: str) -> None:
    session.execute("CREATE TABLE r (id INT PRIMARY KEY, n INT); INSERT INTO r VALUES (1, 1)")
    session.execute("SET default_transaction_read_only = on")
    with pytest.raises(weftdb.Invalid) as refused:
        session.execute(write, [2] if "$1" in write else [])
    assert refused.value.sqlstate == "25006"
    for change in (
        lambda: session.put("r", (1, 2)),
        lambda: session.insert("r", [(2, 2)]),
        lambda: session.delete("r", [1]),
        lambda: session.update("r", 1, {"n": 2}),
        lambda: session.add("r", 1, {"n": 2}),
    ):
        with pytest.raises(weftdb.Invalid):
            change()
    assert session.execute("SELECT * FROM r").rows() == [(1, 1)]
    session.execute("BEGIN READ WRITE; UPDATE r SET n = 3; COMMIT")
    assert session.execute("SELECT * FROM r").rows() == [(1, 3)]


def test_a_session_that_only_reads_copies_into_no_table(session: Session, tmp_path: Path) -> None:
    session.execute("CREATE TABLE r (id INT)")
    (tmp_path / "t.txt").write_text("1\n")
    session.files = ANYWHERE
    session.execute("SET default_transaction_read_only = on")
    with pytest.raises(weftdb.Invalid, match="COPY FROM in a read-only"):
        session.execute(f"COPY r FROM '{tmp_path / 't.txt'}'")
    session.execute(f"COPY r TO '{tmp_path / 'u.txt'}'")


def test_read_only_may_be_said_in_three_ways(session: Session) -> None:
    session.execute("START TRANSACTION READ ONLY")
    assert refused(session, "INSERT INTO t VALUES (5, 5)").sqlstate == "25006"
    session.execute("ROLLBACK; BEGIN; SET TRANSACTION READ ONLY")
    assert refused(session, "CREATE TABLE x (a INT)").sqlstate == "25006"
    session.execute("ROLLBACK; SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; BEGIN")
    assert session.execute("SHOW transaction_read_only").scalar() == "on"
    assert session.execute("SELECT count(*) FROM t").scalar() == 2
    assert refused(session, "TRUNCATE t").sqlstate == "25006"


@pytest.mark.parametrize(
    "begin",
    [
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "START TRANSACTION ISOLATION LEVEL SERIALIZABLE READ WRITE, NOT DEFERRABLE",
        "BEGIN; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE; BEGIN",
        "SET default_transaction_isolation = 'serializable'; BEGIN",
        "BEGIN ISOLATION LEVEL SERIALIZABLE; COMMIT AND CHAIN",
    ],
)
def test_serializable_holds_what_it_read_against_what_others_commit(
    session: Session, engine: Engine, begin: str
) -> None:
    session.execute(begin)
    assert session.execute("SHOW transaction_isolation").scalar() == "serializable"
    assert session.execute("SELECT v FROM t WHERE id = 1").scalar() == 10
    Session(engine).put("t", (1, 11))
    assert session.execute("SELECT v FROM t WHERE id = 1").scalar() == 10
    session.execute("UPDATE t SET v = 0 WHERE id = 2")
    error = refused(session, "COMMIT")
    assert isinstance(error, Conflict)
    assert (error.sqlstate, error.kind, error.table, error.key) == ("40001", "read", "t", (1,))
    assert session.execute("SELECT v FROM t WHERE id = 2").scalar() == 20


@pytest.mark.parametrize(("default", "seen"), [("serializable", [10, 11]), ("snapshot", [10])])
def test_a_statement_of_its_own_is_serializable_where_that_is_the_default(
    session: Session, engine: Engine, default: str, seen: list[int]
) -> None:
    """Another one commits after it has read: it is run again, or it is not."""
    session.settings.set("default_transaction_isolation", default)
    found: list[int] = []

    def work(transaction: Transaction) -> None:
        table = transaction.catalog.table("t")
        row = transaction.get(table, (1,))
        assert row is not None
        found.append(row["v"])
        if len(found) == 1:
            Session(engine).put("t", (1, 11))
        transaction.put(table, to_batch([(3, row["v"])], table.arrow_schema))

    session.transact("INSERT", work)
    assert found == seen


@pytest.mark.parametrize(
    "begin",
    [
        "BEGIN ISOLATION LEVEL READ COMMITTED",
        "BEGIN TRANSACTION ISOLATION LEVEL READ UNCOMMITTED, READ WRITE",
        "BEGIN; SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET default_transaction_isolation = 'read committed'; BEGIN",
        "BEGIN ISOLATION LEVEL READ COMMITTED; COMMIT AND CHAIN",
        "BEGIN ISOLATION LEVEL READ COMMITTED; ROLLBACK AND CHAIN",
    ],
)
def test_read_committed_reads_what_others_commit_between_statements(
    session: Session, engine: Engine, begin: str
) -> None:
    session.execute(begin)
    assert session.execute("SHOW transaction_isolation").scalar() == "read committed"
    assert session.execute("SELECT v FROM t WHERE id = 1").scalar() == 10
    Session(engine).put("t", (1, 11))
    assert session.execute("SELECT v FROM t WHERE id = 1").scalar() == 11
    assert session.get("t", 1) == {"id": 1, "v": 11}
    session.execute("UPDATE t SET v = v + 1 WHERE id = 1")  # of what is committed, which is no conflict
    Session(engine).put("t", (2, 22))
    session.execute("UPDATE t SET v = v + 1")
    session.execute("COMMIT")
    assert session.execute("SELECT v FROM t ORDER BY id").rows() == [(13,), (23,)]


def test_read_committed_conflicts_where_others_write_after_its_statement(session: Session, engine: Engine) -> None:
    session.execute("BEGIN ISOLATION LEVEL READ COMMITTED; UPDATE t SET v = 0 WHERE id = 1")
    Session(engine).put("t", (1, 11))
    session.execute("UPDATE t SET v = 1 WHERE id = 1")
    with pytest.raises(weftdb.Conflict):
        session.execute("COMMIT")


# -- savepoints ------------------------------------------------------------------------------------------------------


def test_a_transaction_goes_back_to_a_savepoint(session: Session) -> None:
    said = tags(
        session, "BEGIN", "INSERT INTO t VALUES (3, 3)", "SAVEPOINT a", "DELETE FROM t", "ROLLBACK TO SAVEPOINT a"
    )
    assert said == ["BEGIN", "INSERT 0 1", "SAVEPOINT", "DELETE 3", "ROLLBACK"]
    session.put("t", (4, 4))
    assert session.execute("ROLLBACK TO a").tag == "ROLLBACK", "the savepoint stays"
    assert session.execute("SELECT id FROM t ORDER BY id").rows() == [(1,), (2,), (3,)]
    assert tags(session, "DELETE FROM t WHERE id = 1", "RELEASE a", "COMMIT")[1] == "RELEASE"
    assert session.execute("SELECT id FROM t ORDER BY id").rows() == [(2,), (3,)]


def test_an_error_is_left_by_going_back(session: Session) -> None:
    session.execute("BEGIN; INSERT INTO t VALUES (3, 3); SAVEPOINT a")
    assert refused(session, "INSERT INTO t SELECT id + 3, 1 / (2 - id) FROM t").sqlstate == "22012"
    assert refused(session, "RELEASE a").sqlstate == "25P02"
    assert refused(session, "SAVEPOINT b").sqlstate == "25P02"
    assert refused(session, "ROLLBACK TO b").sqlstate == "3B001"
    assert session.status == "failed"
    session.execute("ROLLBACK WORK TO a")
    assert session.status == "transaction"
    session.execute("COMMIT")
    assert session.execute("SELECT count(*) FROM t").scalar() == 3


def test_savepoints_of_one_name_hide_one_another(session: Session) -> None:
    session.execute("BEGIN; SAVEPOINT a; INSERT INTO t VALUES (3, 3); SAVEPOINT a; INSERT INTO t VALUES (4, 4)")
    session.execute("SAVEPOINT b; ROLLBACK TO a")
    assert session.execute("SELECT count(*) FROM t").scalar() == 3
    assert refused(session, "RELEASE b").sqlstate == "3B001"
    session.execute("ROLLBACK TO a; RELEASE a; ROLLBACK TO a")
    assert session.execute("SELECT count(*) FROM t").scalar() == 2
    session.execute("RELEASE SAVEPOINT a; COMMIT")


def test_definitions_and_settings_go_back_too(session: Session) -> None:
    session.execute(
        "BEGIN; SAVEPOINT a; ALTER TABLE t ADD COLUMN w INT; CREATE TABLE u (a INT); SET timezone = 'Asia/Tokyo'"
    )
    session.execute("INSERT INTO u VALUES (1); DROP TABLE u; CREATE TABLE u (b TEXT)")
    session.execute("ROLLBACK TO a")
    assert session.execute("SELECT * FROM t ORDER BY id").names == ("id", "v")
    assert session.execute("SHOW timezone").scalar() == "UTC"
    assert refused(session, "SELECT * FROM u").sqlstate == "42P01"
    session.execute("ROLLBACK TO a; CREATE TABLE u (c INT); COMMIT")
    assert session.execute("SELECT * FROM u").names == ("c",)


def test_savepoints_belong_into_transactions(session: Session) -> None:
    for text in ("SAVEPOINT a", "ROLLBACK TO a", "RELEASE a", "SELECT 1; SAVEPOINT a"):
        assert refused(session, text).sqlstate == "25P01"
    for text in ("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO", "SAVEPOINT a b"):
        assert refused(session, text).sqlstate == "42601"
    assert session.status == "idle"


def test_a_transaction_object_goes_on_after_an_error(session: Session) -> None:
    session.begin()
    session.execute("INSERT INTO t VALUES (3, 3)")
    assert refused(session, "UPDATE t SET v = 1 / (3 - id)").sqlstate == "22012"
    assert (
        refused(session, "INSERT INTO t VALUES (4, 4); SAVEPOINT a; SET timezone = 'Asia/Tokyo'; SELECT 1/0").sqlstate
        == "22012"
    )
    assert session.status == "transaction"
    assert session.execute("SHOW timezone").scalar() == "UTC"
    assert refused(session, "ROLLBACK TO a").sqlstate == "3B001"
    session.execute("SAVEPOINT a")
    hidden = refused(session, "DELETE FROM t; ROLLBACK TO a")
    assert hidden.sqlstate == "3B001"
    assert str(hidden.hint).startswith("A text of several statements cannot go back to before its own start")
    assert refused(session, "ROLLBACK TO aa").hint == 'Did you mean "a"?'
    assert refused(session, "ROLLBACK TO nothing").hint == "SAVEPOINT makes one."
    session.execute("SAVEPOINT b; DELETE FROM t; ROLLBACK TO b; RELEASE b")
    session.commit()
    assert session.execute("SELECT id, v FROM t ORDER BY id").rows() == [(1, 10), (2, 20), (3, 3)]


def test_definitions_in_a_transaction_are_seen_by_its_own_statements(session: Session) -> None:
    session.execute("SELECT * FROM t")
    session.execute("BEGIN; ALTER TABLE t ADD COLUMN w INT DEFAULT 5")
    assert session.execute("SELECT * FROM t ORDER BY id").rows() == [(1, 10, 5), (2, 20, 5)]
    session.execute("CREATE TABLE u (a INT); INSERT INTO u VALUES (1)")
    assert session.execute("SELECT count(*) FROM u").scalar() == 1
    session.execute("ROLLBACK")
    assert session.execute("SELECT * FROM t").names == ("id", "v")
    assert refused(session, "SELECT * FROM u").sqlstate == "42P01"


# -- several statements in one text ----------------------------------------------------------------------------------


def test_a_text_is_one_transaction_unless_it_says_otherwise(session: Session) -> None:
    refused(session, "INSERT INTO t VALUES (3, 3); SELECT 1/0")
    assert session.get("t", 3) is None
    refused(session, "INSERT INTO t VALUES (3, 3); COMMIT; INSERT INTO t VALUES (4, 4); SELECT 1/0")
    assert session.get("t", 3) is not None
    assert session.get("t", 4) is None
    assert session.status == "idle"
    session.execute("INSERT INTO t VALUES (5, 5); BEGIN; INSERT INTO t VALUES (6, 6)")
    assert session.status == "transaction"
    session.execute("ROLLBACK")
    assert session.get("t", 5) is None


def test_parameters_go_with_one_statement(session: Session) -> None:
    assert refused(session, "SELECT $1; SELECT 2", [1]).sqlstate.startswith("22")
    assert session.execute("SELECT $1::int;", [1]).scalar() == 1


def test_an_empty_text_gives_an_empty_result(session: Session) -> None:
    for text in ("", " ; ;", "-- nothing", "/* nothing */ ;"):
        result = session.execute(text)
        assert (result.tag, result.rows()) == ("", [])


# -- prepared statements ---------------------------------------------------------------------------------------------


def test_prepared_statements_take_parameters(session: Session) -> None:
    session.execute("PREPARE get (bigint) AS SELECT v FROM t WHERE id = $1")
    assert session.execute("EXECUTE get (1 + 1)").scalar() == 20
    session.execute("PREPARE put AS INSERT INTO t VALUES ($1, $2)")
    assert session.execute("EXECUTE put (3, 30)").tag == "INSERT 0 1"
    assert session.execute("EXECUTE get ('3')").scalar() == 30
    assert session.execute("EXECUTE get (3)").scalar() == 30
    assert session.execute("EXECUTE get (NULL)").scalar() is None
    assert refused(session, "EXECUTE get (1, 2)").sqlstate == "08P01"
    assert refused(session, "EXECUTE get (99999999999999999999)").sqlstate == "22003"
    assert tags(session, "DEALLOCATE get", "DEALLOCATE ALL") == ["DEALLOCATE", "DEALLOCATE ALL"]
    assert refused(session, "EXECUTE get (1)").sqlstate == "26000"


@pytest.mark.parametrize(
    ("text", "sqlstate"),
    [
        ("PREPARE p AS SELECT 2", "42P05"),
        ("PREPARE q AS CREATE TABLE x (a INT)", "0A000"),
        ("PREPARE q AS BEGIN", "0A000"),
        ("PREPARE q AS SELEC 1", "42601"),
        ("PREPARE q (nothing) AS SELECT $1", "42704"),
        ("EXECUTE p", "42601"),
        ("EXECUTE p (1, 2)", "08P01"),
        ("EXECUTE pp (1)", "26000"),
        ("DEALLOCATE pp", "26000"),
    ],
)
def test_a_prepared_statement_that_cannot_be_is_refused(session: Session, text: str, sqlstate: str) -> None:
    session.execute("PREPARE p (int) AS SELECT $1")
    error = refused(session, text)
    assert error.sqlstate == sqlstate, str(error)


# -- time-outs, cancelling, retries ----------------------------------------------------------------------------------

LONG = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 1000000) b WHERE (a * b) % 7 = 3"


def test_statement_timeout_cancels(session: Session) -> None:
    session.execute("SET statement_timeout = 200")
    began = time.monotonic()
    error = refused(session, LONG)
    assert isinstance(error, weftdb.Unavailable)
    assert error.sqlstate == "57014"
    assert "statement timeout" in str(error)
    assert time.monotonic() - began < 5
    assert session.execute("SELECT 1").scalar() == 1


def test_cancel_reaches_the_running_statement_and_no_later_one(session: Session) -> None:
    session.cancel()
    assert session.execute("SELECT 1").scalar() == 1
    timer = threading.Timer(0.2, session.cancel)
    timer.start()
    error = refused(session, LONG)
    timer.join()
    assert error.sqlstate == "57014"
    assert "user request" in str(error)
    assert session.execute("SELECT 2").scalar() == 2


def test_a_statement_is_tried_again_after_a_conflict(session: Session, engine: Engine) -> None:
    attempts = 0
    other = Session(engine)

    def work(transaction: Any) -> int:
        nonlocal attempts
        attempts += 1
        table = transaction.catalog.table("t")
        row = transaction.get(table, (1,))
        if attempts < 3:
            other.put("t", (1, attempts))
        schema = pa.schema([column.field for column in table.columns])
        transaction.put(table, pa.RecordBatch.from_pylist([{"id": 1, "v": row["v"] + 100}], schema=schema))
        return row["v"]

    seen, version = session.transact("TEST", work)
    assert (attempts, seen) == (3, 2)
    assert session.get("t", 1) == {"id": 1, "v": 102}
    assert version == session.version


def test_inside_a_transaction_nothing_is_tried_again(session: Session, engine: Engine) -> None:
    session.begin()
    session.execute("UPDATE t SET v = 1 WHERE id = 1")
    Session(engine).put("t", (1, 5))
    with pytest.raises(weftdb.Conflict):
        session.commit()


# -- results ---------------------------------------------------------------------------------------------------------


def test_results_let_go_of_their_snapshot(session: Session, engine: Engine) -> None:
    session.execute("INSERT INTO t SELECT x, x FROM generate_series(1000, 2000000) AS g(x)")
    pins = engine._pins  # pyright: ignore[reportPrivateUsage]
    read = session.execute("SELECT * FROM t")
    closed = session.execute("SELECT * FROM t")
    forgotten = session.execute("SELECT * FROM t")
    small = session.execute("SELECT count(*) FROM t")
    assert len(pins) == 3
    session.put("t", (1, 777))
    assert read.arrow().num_rows == 1999003
    closed.close()
    del forgotten
    gc.collect()
    assert len(pins) == 0
    assert small.scalar() == 1999003


def test_a_result_outlives_its_session(engine: Engine, session: Session) -> None:
    session.execute("INSERT INTO t SELECT x, x FROM generate_series(1000, 1000000) AS g(x)")
    with Session(engine) as other:
        result = other.execute("SELECT id FROM t")
    assert result.arrow().num_rows == 999003


def test_a_result_in_a_transaction_shows_the_state_when_it_ran(session: Session) -> None:
    session.execute("BEGIN")
    before = session.execute("SELECT sum(v) FROM t")
    session.execute("UPDATE t SET v = 0")
    after = session.execute("SELECT sum(v) FROM t")
    session.execute("ROLLBACK")
    assert (before.scalar(), after.scalar()) == (30, 0)


# -- EXPLAIN ---------------------------------------------------------------------------------------------------------


def plan(session: Session, sql: str, parameters: list[object] | None = None) -> str:
    return "\n".join(row[0] for row in session.execute(sql, parameters or []).rows())


def test_explain_names_the_engines_choice(session: Session) -> None:
    session.execute("""
        CREATE TABLE e (k BIGINT, at TIMESTAMP, v INT, w TEXT, PRIMARY KEY (k, at))
        WITH (key = 'k', time = 'at', every = '1 day', shards = 4)
    """)
    session.execute(
        "INSERT INTO e SELECT x % 100, TIMESTAMP '2024-01-01' + x * INTERVAL '1 minute', x, 'w' "
        "FROM generate_series(1, 10000) AS g(x)"
    )
    text = plan(session, "EXPLAIN SELECT v FROM e WHERE k = 7 AND at = TIMESTAMP '2024-01-01 00:07'")
    assert "Primary Key Get on e" in text
    assert "at most 1 rows" in text
    text = plan(session, "EXPLAIN SELECT sum(v) FROM e AS x WHERE at >= $1 AND k = $2", ["2024-01-05", 7])
    assert "Key and Time Read on e AS x" in text
    assert "Filter: at >= '2024-01-05 00:00:00' AND k = 7" in text
    assert "DuckDB" in text
    text = plan(session, "EXPLAIN SELECT count(*) FROM e WHERE v * 2 > 5")
    assert "Scan on e" in text
    assert "Columns: v" in text
    assert "Filter: k = $1" in plan(session, "EXPLAIN SELECT count(*) FROM e WHERE k = $1")


def test_explain_analyze_says_what_was_read(session: Session) -> None:
    text = plan(session, "EXPLAIN ANALYZE SELECT a.v FROM t AS a JOIN t AS b ON a.id = b.id WHERE a.id = 1")
    assert text.count("Read t:") == 2
    assert "Execution time:" in text
    assert "rows: 1" in text


def test_explain_of_a_change_changes_nothing_without_analyze(session: Session) -> None:
    assert "Update on t" in plan(session, "EXPLAIN UPDATE t SET v = 0 WHERE id = 1")
    assert "Delete on t" in plan(session, "EXPLAIN DELETE FROM t")
    assert "Insert on t" in plan(session, "EXPLAIN INSERT INTO t SELECT id + 10, v FROM t")
    assert session.execute("SELECT sum(v) FROM t").scalar() == 30
    assert "rows: 1" in plan(session, "EXPLAIN ANALYZE UPDATE t SET v = 0 WHERE id = 1")
    assert session.execute("SELECT sum(v) FROM t").scalar() == 20
    assert refused(session, "EXPLAIN CREATE TABLE x (a INT)").sqlstate == "0A000"


# -- odds and ends ---------------------------------------------------------------------------------------------------


def test_maintenance_commands_are_accepted_and_say_where_there_is_nothing_to_do(session: Session) -> None:
    results = [session.execute(text) for text in ("VACUUM", "ANALYZE t", "CHECKPOINT")]
    assert [result.tag for result in results] == ["VACUUM", "ANALYZE", "CHECKPOINT"]
    assert [len(result.notices) for result in results] == [0, 1, 0]


def test_select_into_is_refused(session: Session) -> None:
    assert refused(session, "SELECT * INTO x FROM t").sqlstate == "0A000"


def test_a_closed_session_refuses_everything(engine: Engine) -> None:
    session = Session(engine)
    session.begin()
    session.close()
    session.close()
    with pytest.raises(weftdb.Closed):
        session.execute("SELECT 1")
    with pytest.raises(weftdb.Closed):
        session.begin()


def test_a_session_of_the_past_reads_and_refuses_to_write(session: Session, engine: Engine) -> None:
    version = session.version
    session.put("t", (1, 999))
    with Session(engine, as_of=version) as past:
        assert past.version == version
        assert past.get("t", 1) == {"id": 1, "v": 10}
        past.execute("BEGIN")
        assert past.execute("SELECT v FROM t WHERE id = 1").scalar() == 10
        assert refused(past, "DELETE FROM t").sqlstate == "25006"


def test_key_value_calls_and_sql_share_one_transaction(session: Session) -> None:
    session.begin()
    session.put("t", (3, 30))
    session.update("t", 3, {"v": 31})
    session.add("t", 3, {"v": 1})
    session.execute("UPDATE t SET v = v + 1 WHERE id = 3")
    assert session.get("t", 3) == {"id": 3, "v": 33}
    assert session.delete("t", [1]).rows == 1
    assert session.commit() == session.version
    assert session.execute("SELECT id, v FROM t ORDER BY id").rows() == [(2, 20), (3, 33)]


def test_numbers_of_every_sort_bind_as_parameters(session: Session) -> None:
    row = session.execute("SELECT $1 + 1, $2 || 'x', $3 * 2, $4::text", [1, "a", Decimal("1.5"), None]).rows()
    assert row == [(2, "ax", Decimal("3.0"), None)]


# -- any text --------------------------------------------------------------------------------------------------------

CORPUS = (
    "CREATE TABLE x (a BIGINT NOT NULL DEFAULT 5, b SERIAL, c NUMERIC(10,2) CHECK (c > 0), PRIMARY KEY (a, b)) "
    "WITH (key = 'a', shards = 4)",
    "CREATE MATERIALIZED VIEW m AS SELECT v, count(*) AS n FROM t GROUP BY v",
    "ALTER TABLE t ADD COLUMN IF NOT EXISTS z INT NOT NULL DEFAULT 7, DROP COLUMN IF EXISTS y",
    "ALTER TABLE t ALTER COLUMN v SET NOT NULL",
    "DROP TABLE IF EXISTS x, y CASCADE",
    "INSERT INTO t AS x (id, v) VALUES (1, DEFAULT), (7, $1) ON CONFLICT (id) DO UPDATE SET v = excluded.v "
    "WHERE x.v > 1 RETURNING *, v + 1 AS z",
    "WITH q AS (SELECT 50 AS i) INSERT INTO t (id) SELECT i FROM q ON CONFLICT DO NOTHING",
    "UPDATE t AS x SET (v) = (x.v + 1) FROM t AS u WHERE u.id = x.id RETURNING x.*",
    "DELETE FROM t AS x USING t AS u WHERE x.id = u.v RETURNING id",
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "PREPARE p (int, text) AS SELECT $1, $2 FROM t",
    "EXPLAIN (ANALYZE, COSTS OFF) SELECT * FROM t WHERE id = 1",
    "SET LOCAL timezone TO 'UTC'",
    "SHOW COLUMNS FROM t",
)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_text_only_our_errors_come_out(session: Session, seed: int) -> None:
    random = Random(seed)
    pieces = [re.findall(r"'[^']*'|\$\d|\w+|[^\s\w]", text) for text in CORPUS]
    words = sorted({word for piece in pieces for word in piece})
    for _ in range(200):
        text = list(random.choice(pieces))
        for _ in range(random.choice((1, 1, 2, 3))):
            place = random.randrange(len(text))
            match random.randrange(3):
                case 0 if len(text) > 1:
                    del text[place]
                case 1:
                    text.insert(place, random.choice(words))
                case _:
                    text[place] = random.choice(words)
        try:
            session.execute(" ".join(text), random.choice(([], [1]))).rows()
        except weftdb.Internal:
            raise
        except weftdb.WeftError:
            session.rollback()


def test_an_add_beyond_its_bound_is_refused_at_once_and_not_tried_again(session: Session) -> None:
    session.execute("CREATE TABLE stock (id BIGINT PRIMARY KEY, n INTEGER, price NUMERIC(8, 2)) WITH (key = 'id')")
    session.execute("INSERT INTO stock VALUES (1, 3, 1.50)")
    began = time.monotonic()
    with pytest.raises(weftdb.Conflict, match='"n" would be -1, below its bound 0') as caught:
        session.add("stock", 1, {"n": -4, "price": Decimal("1")}, lower={"n": 0})
    assert caught.value.sqlstate == "23514"
    assert time.monotonic() - began < 5
    with pytest.raises(weftdb.Conflict, match=r'"price" would be 2\.75, above its bound 2\.5'):
        session.add("stock", 1, {"price": Decimal("1.25")}, upper=2.5)
    session.add("stock", 1, {"n": -3, "price": Decimal("1.00")}, lower=0, upper=2.5)
    assert session.get("stock", 1) == {"id": 1, "n": 0, "price": Decimal("2.50")}


@pytest.mark.parametrize(
    ("text", "sqlstate", "words"),
    [
        ("CREATE INDEX ON t", "42601", "an index needs columns"),
        ("CREATE INDEX ON t (v) WITH (fillfactr = 70)", "22023", 'unrecognized parameter "fillfactr"'),
        ("CREATE TABEL x (a INT)", "0A000", 'Did you mean "TABLE"?'),
        ("EXPLAIN (ANALYZE maybe) SELECT 1", "42601", "analyze requires a Boolean value, not maybe"),
        ("EXPLAIN (COSTS 7) SELECT 1", "42601", "costs requires a Boolean value, not 7"),
    ],
)
def test_a_slip_is_named_and_changes_nothing(session: Session, text: str, sqlstate: str, words: str) -> None:
    before = session.execute("SHOW TABLES").rows(), session.version
    error = refused(session, text)
    assert error.sqlstate == sqlstate
    assert words in f"{error.message} {error.hint}"
    assert (session.execute("SHOW TABLES").rows(), session.version) == before
    assert session.execute("CREATE INDEX ON t (v) WITH (fillfactor = 70)").tag == "CREATE INDEX"
    assert session.execute("EXPLAIN (ANALYZE off, COSTS) SELECT 1").rows()
