"""One suite over the public interface: an embedded and a remote database do the same."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
import weftdb
from weftdb.base.interface import Database

EVENTS = """
    CREATE TABLE events (
        device BIGINT, at TIMESTAMP, seq INTEGER, value DOUBLE PRECISION, note TEXT DEFAULT 'none',
        PRIMARY KEY (device, at, seq)
    ) WITH (key = 'device', time = 'at', every = '1 day', shards = 4)
"""
ACCOUNTS = (
    "CREATE TABLE accounts (id BIGINT PRIMARY KEY, owner TEXT NOT NULL DEFAULT '?', balance NUMERIC(12,2) DEFAULT 0)"
)
DAY = datetime(2024, 1, 1)


@pytest.fixture
def accounts(database: Database) -> Any:
    database.execute(ACCOUNTS)
    return database.table("accounts")


@pytest.fixture
def events(database: Database) -> Any:
    database.execute(EVENTS)
    return database.table("events")


# -- execute and Result ----------------------------------------------------------------------------------------------


def test_execute_returns_rows_names_types_and_a_version(database: Database) -> None:
    result = database.execute("SELECT 1 AS a, 'x' AS b, 1.50 AS c, NULL AS d")
    assert result.names == ("a", "b", "c", "d")
    assert [str(type) for type in result.types] == ["integer", "text", "numeric(3,2)", "text"]
    assert result.rows() == [(1, "x", Decimal("1.50"), None)]
    assert result.version == database.version


def test_a_result_is_rows_arrow_reader_and_scalar(database: Database) -> None:
    assert database.execute("SELECT 7").scalar() == 7
    assert database.execute("SELECT 1 WHERE false").scalar() is None
    table = database.execute("SELECT x FROM generate_series(1, 3) AS g(x)").arrow()
    assert table.column("x").to_pylist() == [1, 2, 3]
    reader = database.execute("SELECT x FROM generate_series(1, 3) AS g(x)").reader()
    assert isinstance(reader, pa.RecordBatchReader)
    assert reader.read_all().num_rows == 3
    assert pa.table(database.execute("SELECT 5 AS five")).to_pydict() == {"five": [5]}
    assert list(database.execute("SELECT 1 AS a UNION ALL SELECT 2 ORDER BY a")) == [(1,), (2,)]


def test_scalar_refuses_more_than_one_value(database: Database) -> None:
    with pytest.raises(weftdb.Invalid):
        database.execute("SELECT 1, 2").scalar()
    with pytest.raises(weftdb.Invalid):
        database.execute("VALUES (1), (2)").scalar()


def test_parameters_stand_for_dollar_numbers(database: Database, accounts: Any) -> None:
    database.execute("INSERT INTO accounts VALUES ($1, $2, $3)", [1, "ann", Decimal("5.25")])
    assert database.execute("SELECT owner FROM accounts WHERE id = $1 AND balance > $2", [1, 5]).scalar() == "ann"
    assert database.execute("SELECT $1::bigint + $2", [40, 2]).scalar() == 42


@pytest.mark.parametrize(
    ("type", "value"),
    [
        ("BOOLEAN", True),
        ("SMALLINT", -32768),
        ("INTEGER", 2**31 - 1),
        ("BIGINT", -(2**63)),
        ("REAL", 0.5),
        ("DOUBLE PRECISION", 0.1),
        ("NUMERIC(38,9)", Decimal("12345678901234567890123456789.123456789")),
        ("NUMERIC", Decimal("1.500000000")),
        ("TEXT", "Grüße 🎉"),
        ("VARCHAR(5)", "abcde"),
        ("BYTEA", b"\x00\xff"),
        ("DATE", date(2024, 2, 29)),
        ("TIME", time_of_day(23, 59, 59, 999999)),
        ("TIMESTAMP", datetime(1969, 12, 31, 23, 59, 59, 1)),
        ("TIMESTAMPTZ", datetime(2024, 6, 1, 12, tzinfo=UTC)),
        ("INTERVAL", pa.MonthDayNano([1, 2, 3_000])),
        ("UUID", uuid.UUID(int=7)),
        ("JSON", '{"a": [1, null]}'),
    ],
)
def test_every_type_goes_in_and_out_unchanged(database: Database, type: str, value: object) -> None:
    database.execute(f"CREATE TABLE t (id BIGINT PRIMARY KEY, v {type})")
    table = database.table("t")
    table.put([{"id": 1, "v": value}, {"id": 2, "v": None}])
    database.execute("INSERT INTO t VALUES (3, $1)", [value])
    assert table.get(1) == {"id": 1, "v": value}
    assert table.get(2) == {"id": 2, "v": None}
    assert database.execute("SELECT v FROM t ORDER BY id").rows() == [(value,), (None,), (value,)]
    copy = table.scan().read_all().filter(pa.array([True, False, False]))
    table.delete([1, 2, 3])
    table.insert(copy)
    assert table.get(1) == {"id": 1, "v": value}


def test_several_statements_in_one_text_are_one_transaction(database: Database, accounts: Any) -> None:
    with pytest.raises(weftdb.Invalid):
        database.execute("INSERT INTO accounts (id) VALUES (1); INSERT INTO accounts (id) VALUES (1)")
    assert accounts.get(1) is None
    result = database.execute("INSERT INTO accounts (id) VALUES (1); SELECT count(*) FROM accounts")
    assert result.scalar() == 1


def test_a_text_that_leaves_a_transaction_open_is_rolled_back_and_says_so(database: Database, accounts: Any) -> None:
    with pytest.raises(weftdb.Invalid, match="leaves a transaction open") as caught:
        database.execute("BEGIN; INSERT INTO accounts (id) VALUES (1)")
    assert caught.value.sqlstate == "25001"
    assert accounts.get(1) is None


def test_set_alone_says_that_it_has_no_effect(database: Database) -> None:
    with pytest.raises(weftdb.Invalid, match="no effect"):
        database.execute("SET timezone = 'Europe/Berlin'")
    assert database.execute("SET timezone = 'Europe/Berlin'; SHOW timezone").scalar() == "Europe/Berlin"


HOUR = "SELECT extract(hour FROM (TIMESTAMPTZ '2026-01-01 12:00+00')::timestamp)::int"
"""13 in Berlin, 21 in Tokyo, 12 in UTC."""


def test_settings_hold_for_the_call_that_they_are_given_with(database: Database) -> None:
    assert database.execute(HOUR, settings={"TimeZone": "europe/berlin"}).scalar() == 13
    assert database.execute(HOUR).scalar() == 12
    timeouts = [
        database.execute("SHOW statement_timeout", settings={"statement_timeout": value}).scalar()
        for value in ("2 min", 1500, 0)
    ]
    assert timeouts == ["120000", "1500", "0"]
    read_only = {"default_transaction_read_only": True}
    with pytest.raises(weftdb.Invalid, match="read-only"):
        database.execute("CREATE TABLE t (a INT)", settings=read_only)


def test_what_a_text_set_goes_to_the_next_call(database: Database) -> None:
    assert database.execute("SELECT 1", settings={}).settings is None
    first = database.execute("SET timezone = 'asia/tokyo'", settings={})
    assert first.settings == {"timezone": "Asia/Tokyo"}
    second = database.execute("SET statement_timeout = '5s'", settings=first.settings)
    assert second.settings == {"timezone": "Asia/Tokyo", "statement_timeout": "5000"}
    assert database.execute(HOUR, settings=second.settings).scalar() == 21
    third = database.execute("RESET timezone", settings=second.settings)
    assert third.settings == {"statement_timeout": "5000"}
    assert database.execute("DISCARD ALL", settings=second.settings).settings == {}
    mixed = database.execute("SET timezone = 'Asia/Tokyo'; " + HOUR)
    assert (mixed.scalar(), mixed.settings) == (21, {"timezone": "Asia/Tokyo"})
    undone = database.execute("BEGIN; SET timezone = 'UTC'; ROLLBACK", settings=first.settings)
    assert undone.settings is None
    local = database.execute("BEGIN; SET LOCAL timezone = 'UTC'; COMMIT", settings=first.settings)
    assert local.settings is None


def test_transactions_and_snapshots_have_settings(database: Database) -> None:
    tokyo = {"timezone": "Asia/Tokyo"}
    with database.transaction(settings=tokyo) as txn:
        assert txn.execute(HOUR).scalar() == 21
        assert txn.execute("SET timezone = 'Europe/Berlin'").settings == {"timezone": "Europe/Berlin"}
        txn.execute("SAVEPOINT s")
        assert txn.execute("SET LOCAL statement_timeout = '5s'").settings is None
        assert txn.execute("RESET timezone").settings == {}
        assert txn.execute("ROLLBACK TO s").settings == {"timezone": "Europe/Berlin"}
        assert txn.execute(HOUR).scalar() == 13
    with database.snapshot(settings=tokyo) as snapshot:
        assert snapshot.execute(HOUR).scalar() == 21
        snapshot.execute("SET timezone = 'UTC'")
        assert snapshot.execute(HOUR).scalar() == 12


@pytest.mark.parametrize(
    ("settings", "sqlstate", "words"),
    [
        ({"timezon": "UTC"}, "42704", "timezone"),
        ({"timezone": "Europe/Berlim"}, "22023", "europe/berlin"),
        ({"server_version": "1"}, "55P02", "server_version"),
        ({"timezone": None}, "22023", "None"),
        ({1: "UTC"}, "22023", "1"),
        ("timezone=UTC", "22023", "dict"),
    ],
)
def test_settings_that_cannot_be_are_refused(database: Database, settings: Any, sqlstate: str, words: str) -> None:
    for call in (
        lambda: database.execute("CREATE TABLE t (a INT)", settings=settings),
        lambda: database.transaction(settings=settings),
        lambda: database.snapshot(settings=settings),
    ):
        with pytest.raises(weftdb.Invalid) as caught:
            call()
        assert caught.value.sqlstate == sqlstate
        assert words in str(caught.value)
    assert database.execute("SHOW TABLES").rows() == []


WRONG_ARGUMENTS: dict[str, tuple[Any, str]] = {
    "statement": (lambda db, t: db.execute(5), "the statement is a text, not 5 (int)"),
    "parameters as a text": (lambda db, t: db.execute("SELECT $1", "x"), "parameters are a list of values, not 'x'"),
    "parameters by name": (lambda db, t: db.execute("SELECT $1", {"a": 1}), "parameters are a list of values"),
    "one parameter": (lambda db, t: db.execute("SELECT $1", 5), "parameters are a list of values, not 5 (int)"),
    "timeout": (lambda db, t: db.execute("SELECT 1", timeout="5s"), "timeout is a number of seconds, not '5s'"),
    "level": (lambda db, t: db.transaction(isolation=5), "the isolation level is a text, not 5 (int)"),
    "table": (lambda db, t: db.table(5), "the name of a table is a text, not 5 (int)"),
    "feed": (lambda db, t: db.changes(5), "the name of a table is a text, not 5 (int)"),
    "columns": (lambda db, t: t.scan(columns="id"), "columns is a list of names, not 'id' (str)"),
    "where": (lambda db, t: t.scan(where=5), "where is a text, not 5 (int)"),
    "time": (lambda db, t: t.scan(time=DAY), "time is a pair (lower, upper), not datetime"),
    "time of three": (lambda db, t: t.scan(time=(DAY, DAY, DAY)), "time is a pair (lower, upper)"),
}


@pytest.mark.parametrize("what", WRONG_ARGUMENTS)
def test_arguments_of_a_wrong_kind_are_refused_with_the_same_words(
    database: Database, accounts: Any, what: str
) -> None:
    call, words = WRONG_ARGUMENTS[what]
    with pytest.raises(weftdb.Invalid) as caught:
        call(database, accounts)
    assert caught.value.sqlstate == "22023"
    assert words in caught.value.message
    with database.transaction() as txn:
        if not what.startswith(("level", "feed")):
            with pytest.raises(weftdb.Invalid):
                call(txn, txn.table("accounts"))


def test_a_text_that_is_no_utf8_is_refused(database: Database) -> None:
    with pytest.raises(weftdb.Invalid, match="lone surrogate at character 9") as caught:
        database.execute("SELECT '\ud800'")
    assert caught.value.sqlstate == "22021"
    assert database.execute("SELECT 'é日'").scalar() == "é日"


def test_parameters_may_be_any_sequence(database: Database) -> None:
    for parameters in ([1, 2], (1, 2), range(1, 3)):
        assert database.execute("SELECT $1::int + $2::int", parameters).scalar() == 3


def test_notices_come_with_the_result(database: Database) -> None:
    text = "CREATE TABLE IF NOT EXISTS t (a INT)"
    assert database.execute(text).notices == ()
    assert database.execute(text).notices == ('relation "t" already exists, skipping',)
    with database.transaction() as txn:
        assert txn.execute(text).notices == ('relation "t" already exists, skipping',)
        assert txn.execute("SELECT 1").notices == ()


def test_a_statement_that_takes_too_long_is_cancelled(database: Database) -> None:
    began = time.monotonic()
    with pytest.raises(weftdb.Unavailable) as caught:
        database.execute(
            "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 1000000) b WHERE (a * b) % 7 = 3",
            timeout=0.3,
        )
    assert caught.value.sqlstate == "57014"
    assert "statement_timeout" in str(caught.value.hint)
    assert time.monotonic() - began < 5
    assert database.execute("SELECT 1").scalar() == 1


def test_a_syntax_error_says_line_column_and_shows_a_caret(database: Database) -> None:
    with pytest.raises(weftdb.Invalid) as caught:
        database.execute("SELECT 1\n+ FROM t")
    assert caught.value.sqlstate == "42601"
    assert "LINE 2, column 3" in str(caught.value)
    assert "^" in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("UPDATE events SET nope = 1", "SET nope"),
        ("CREATE INDEX ON events (device, nope)", "device, nope"),
        ('DROP TABLE IF EXISTS a, b; DROP TABLE "No such"', 'TABLE "No such"'),
        ("EXPLAIN (VERBOS) SELECT 1", "(VERBOS"),
        ("INSERT INTO events (device, nope) VALUES ('nope', 1)", "device, nope"),
        ("UPDATE events SET nope = 1 WHERE nope = 2", None),
    ],
)
def test_an_error_about_a_name_points_to_it_where_it_stands_once(
    events: Any, database: Database, sql: str, shown: str | None
) -> None:
    with pytest.raises(weftdb.Invalid) as caught:
        database.execute(sql)
    text = str(caught.value)
    assert ("^" in text) == (shown is not None)
    if shown is not None:
        line, caret = text.split("\n")[1:3]
        word = shown.split(" ")[-1].lstrip("(") if '"' not in shown else shown[shown.index('"') :]
        assert line[caret.index("^") :].startswith(word)


# -- table -----------------------------------------------------------------------------------------------------------


def test_a_table_knows_its_name_schema_and_primary_key(events: Any) -> None:
    assert events.name == "events"
    assert events.primary_key == ("device", "at", "seq")
    assert events.schema.names == ["device", "at", "seq", "value", "note"]
    assert events.schema.field("at").type == pa.timestamp("us")
    assert not events.schema.field("device").nullable
    assert events.schema.field("note").metadata[b"weft.type"] == b"text"


def test_an_unknown_table_is_named_with_the_nearest(database: Database, accounts: Any) -> None:
    with pytest.raises(weftdb.Invalid) as caught:
        database.table("account")
    assert caught.value.sqlstate == "42P01"
    assert "accounts" in str(caught.value)


def test_insert_takes_dicts_tuples_and_arrow(accounts: Any) -> None:
    assert accounts.insert({"id": 1}).rows == 1
    assert accounts.insert((2, "bob", Decimal(3))).rows == 1
    assert accounts.insert([{"id": 3, "owner": "cid"}, {"id": 4, "owner": "dan"}]).rows == 2
    written = accounts.insert(pa.table({"id": [5, 6], "owner": ["eve", "fay"]}))
    assert written.rows == 2
    assert accounts.get(1) == {"id": 1, "owner": "?", "balance": Decimal("0.00")}
    assert accounts.get_many([2, 6]).column("owner").to_pylist() == ["bob", "fay"]


def test_a_write_returns_the_version_that_shows_it(database: Database, accounts: Any) -> None:
    before = database.version
    written = accounts.put({"id": 1})
    assert written.version > before
    assert database.version >= written.version
    assert database.execute("SELECT id FROM accounts").version >= written.version


def test_insert_of_an_existing_primary_key_changes_nothing(accounts: Any) -> None:
    accounts.insert((1, "ann", 0))
    with pytest.raises(weftdb.Invalid) as caught:
        accounts.insert([(2, "bob", 0), (1, "eve", 0)])
    assert caught.value.sqlstate == "23505"
    assert "(id)=(1)" in str(caught.value)
    assert accounts.get(2) is None
    with pytest.raises(weftdb.Invalid):
        accounts.insert([(3, "x", 0), (3, "y", 0)])
    assert accounts.get(3) is None


def test_put_replaces_the_whole_row(accounts: Any) -> None:
    accounts.put((1, "ann", 5))
    accounts.put({"id": 1, "balance": 7})
    assert accounts.get(1) == {"id": 1, "owner": "?", "balance": Decimal("7.00")}
    accounts.put([(1, "first", 1), (1, "last", 2)])
    assert accounts.get(1)["owner"] == "last"


def test_update_changes_some_columns_and_needs_the_row(accounts: Any) -> None:
    accounts.put((1, "ann", 5))
    assert accounts.update(1, balance=Decimal("6.50")).rows == 1
    assert accounts.get(1) == {"id": 1, "owner": "ann", "balance": Decimal("6.50")}
    with pytest.raises(weftdb.NotFound):
        accounts.update(2, balance=1)
    with pytest.raises(weftdb.Invalid) as caught:
        accounts.update(1, balanse=1)
    assert "balance" in str(caught.value)
    with pytest.raises(weftdb.Invalid):
        accounts.update(1, owner=None)
    assert accounts.get(1)["owner"] == "ann"


def test_add_makes_the_row_and_adds(accounts: Any) -> None:
    accounts.add(1, balance=5)
    accounts.add(1, balance=Decimal("0.25"))
    assert accounts.get(1) == {"id": 1, "owner": "?", "balance": Decimal("5.25")}
    with pytest.raises(weftdb.Invalid):
        accounts.add(1, owner="x")
    with pytest.raises(weftdb.Invalid):
        accounts.add(1, balance=Decimal("99999999999"))
    assert accounts.get(1)["balance"] == Decimal("5.25")


def test_adds_from_many_threads_all_count(accounts: Any) -> None:
    def work() -> None:
        for _ in range(25):
            accounts.add(1, balance=1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert accounts.get(1)["balance"] == 100


def test_delete_counts_the_rows_that_were_there(accounts: Any) -> None:
    accounts.put([(1, "a", 0), (2, "b", 0)])
    assert accounts.delete([1, 5]).rows == 1
    assert accounts.delete(1).rows == 0
    assert accounts.get(1) is None
    assert accounts.get(2) is not None


def test_get_takes_a_tuple_or_a_dict_for_several_columns(events: Any) -> None:
    events.put((7, DAY, 1, 0.5, "x"))
    row = {"device": 7, "at": DAY, "seq": 1, "value": 0.5, "note": "x"}
    assert events.get((7, DAY, 1)) == row
    assert events.get({"device": 7, "at": DAY, "seq": 1}) == row
    assert events.get((7, DAY, 2)) is None
    with pytest.raises(weftdb.Invalid):
        events.get(7)
    with pytest.raises(weftdb.Invalid):
        events.get((7, None, 1))


def test_get_many_keeps_the_order_of_the_keys_and_leaves_out_what_is_not_there(accounts: Any) -> None:
    accounts.put([(n, f"o{n}", n) for n in range(10)])
    found = accounts.get_many([7, 99, 3, 5])
    assert found.column("id").to_pylist() == [7, 3, 5]
    assert accounts.get_many([]).num_rows == 0
    assert accounts.get_many(pa.table({"id": [1, 2]})).num_rows == 2


def test_scan_selects_columns_rows_keys_and_times(events: Any) -> None:
    events.put([(d, DAY + timedelta(hours=h), 0, float(h), "n") for d in range(5) for h in range(48)])
    assert events.scan().read_all().num_rows == 240
    assert events.scan(columns=["note", "device"]).schema.names == ["note", "device"]
    assert events.scan(key=3).read_all().num_rows == 48
    assert events.scan(key=[1, 2]).read_all().num_rows == 96
    half_open = events.scan(time=(DAY + timedelta(hours=1), DAY + timedelta(hours=3)))
    assert sorted(set(half_open.read_all().column("value").to_pylist())) == [1.0, 2.0]
    assert events.scan(key=3, time=(DAY + timedelta(hours=47), None)).read_all().num_rows == 1
    assert events.scan(where="value >= 40 AND device < 2").read_all().num_rows == 16
    assert events.scan(where="value >= 40", key=1, columns=["value"]).read_all().num_rows == 8
    assert events.scan(key=[]).read_all().num_rows == 0


def test_scan_refuses_what_does_not_exist(events: Any, database: Database) -> None:
    for arguments in ({"columns": ["valu"]}, {"where": "valu > 1"}, {"where": "value >"}, {"where": "device"}):
        with pytest.raises(weftdb.Invalid):
            events.scan(**arguments).read_all()
    database.execute(ACCOUNTS)
    with pytest.raises(weftdb.Invalid, match="no event time"):
        database.table("accounts").scan(time=(DAY, None))


def test_a_table_without_primary_key_takes_equal_rows(database: Database) -> None:
    database.execute("CREATE TABLE log (line TEXT, n INTEGER)")
    log = database.table("log")
    assert log.primary_key == ()
    log.insert([("a", 1), ("a", 1)])
    assert log.scan().read_all().num_rows == 2
    with pytest.raises(weftdb.Invalid):
        log.get("a")
    assert database.execute("UPDATE log SET n = 2 WHERE line = 'a'").rows_affected == 2
    assert database.execute("DELETE FROM log").rows_affected == 2


@pytest.mark.parametrize(
    ("row", "sqlstate", "words"),
    [
        ({"id": 1, "ownr": "x"}, "42703", ["ownr", "owner"]),
        ({"id": "abc"}, "22P02", ["id", "row 1", "abc"]),
        ({"id": 2**63}, "22003", ["id", "row 1"]),
        ({"id": None}, "23502", ["id"]),
        ({"id": 1, "owner": None}, "23502", ["owner"]),
        ({"id": 1, "balance": Decimal("1.234")}, "22003", ["balance", "1.234"]),
        ({"id": 1, "balance": Decimal("12345678901")}, "22003", ["balance"]),
        ((1, "x"), "22000", ["3"]),
        (5, "22000", ["dict"]),
    ],
)
def test_a_bad_row_is_refused_with_what_is_wrong(accounts: Any, row: object, sqlstate: str, words: list[str]) -> None:
    with pytest.raises(weftdb.Invalid) as caught:
        accounts.insert(row)
    assert caught.value.sqlstate == sqlstate
    for word in words:
        assert word in str(caught.value)
    assert accounts.scan().read_all().num_rows == 0


def test_malformed_arrow_is_refused(accounts: Any) -> None:
    offsets = pa.py_buffer(b"".join(n.to_bytes(4, "little") for n in (0, 1, 2)))
    bad = pa.Array.from_buffers(pa.utf8(), 2, [None, offsets, pa.py_buffer(b"\xff\xfe")])
    with pytest.raises(weftdb.Invalid, match="malformed"):
        accounts.insert(pa.table({"id": [1, 2], "owner": bad}))
    assert accounts.scan().read_all().num_rows == 0


def test_a_value_over_the_limit_is_refused(accounts: Any) -> None:
    with pytest.raises(weftdb.LimitExceeded, match="owner"):
        accounts.insert({"id": 1, "owner": "x" * (16 * 1024 * 1024 + 1)})
    assert accounts.get(1) is None


# -- transaction -----------------------------------------------------------------------------------------------------


def test_a_transaction_commits_on_exit_and_reads_its_own_writes(database: Database, accounts: Any) -> None:
    with database.transaction() as txn:
        mine = txn.table("accounts")
        mine.put((1, "ann", 5))
        txn.execute("UPDATE accounts SET balance = balance + 1")
        assert mine.get(1)["balance"] == 6
        assert txn.execute("SELECT sum(balance) FROM accounts").scalar() == 6
        assert mine.scan(where="balance = 6").read_all().num_rows == 1
        assert accounts.get(1) is None
    assert accounts.get(1)["balance"] == 6


def test_a_transaction_rolls_back_after_an_exception(database: Database, accounts: Any) -> None:
    with pytest.raises(RuntimeError), database.transaction() as txn:  # noqa: PT012
        txn.table("accounts").put((1, "ann", 5))
        raise RuntimeError
    assert accounts.get(1) is None
    txn = database.transaction()
    txn.table("accounts").put((1, "ann", 5))
    txn.close()
    assert accounts.get(1) is None


def test_commit_returns_the_version_and_ends_the_transaction(database: Database, accounts: Any) -> None:
    txn = database.transaction()
    txn.table("accounts").put((1, "ann", 5))
    version = txn.commit()
    assert version == database.version
    with pytest.raises(weftdb.Closed):
        txn.execute("SELECT 1")
    with pytest.raises(weftdb.Closed):
        txn.table("accounts")


def test_the_first_committer_wins(database: Database, accounts: Any) -> None:
    accounts.put((1, "ann", 5))
    first, second = database.transaction(), database.transaction()
    assert first.table("accounts").get(1)["balance"] == 5
    assert second.table("accounts").get(1)["balance"] == 5
    first.table("accounts").update(1, balance=6)
    second.table("accounts").update(1, balance=7)
    first.commit()
    with pytest.raises(weftdb.Conflict, match=r'row \(id\)=\(1\) of "accounts"') as caught:
        second.commit()
    assert accounts.get(1)["balance"] == 6
    conflict = caught.value
    assert (conflict.kind, conflict.table, conflict.key, conflict.column) == ("write", "accounts", (1,), None)


def test_a_conflict_names_the_primary_key_in_python_values(database: Database) -> None:
    database.execute(
        "CREATE TABLE notes (day DATE, id UUID, at TIMESTAMPTZ, name TEXT, PRIMARY KEY (day, id, at, name))"
    )
    key = (date(2024, 1, 31), uuid.UUID(int=7), datetime(2024, 1, 31, tzinfo=UTC), "ß")
    database.table("notes").put(key)
    txn = database.transaction()
    assert txn.table("notes").get(key) is not None
    txn.table("notes").delete(key)
    database.table("notes").put(key)
    with pytest.raises(weftdb.Conflict) as caught:
        txn.commit()
    assert (caught.value.table, caught.value.key) == ("notes", key)


def test_a_conflict_with_a_definition_says_so(database: Database, accounts: Any) -> None:
    txn = database.transaction()
    txn.table("accounts").put((1, "ann", 5))
    database.execute("ALTER TABLE accounts ADD COLUMN city TEXT")
    with pytest.raises(weftdb.Conflict) as caught:
        txn.commit()
    assert (caught.value.kind, caught.value.table, caught.value.key) == ("definition", "accounts", None)
    txn = database.transaction()
    txn.execute("CREATE TABLE one (a INT)")
    database.execute("CREATE TABLE two (a INT)")
    with pytest.raises(weftdb.Conflict) as caught:
        txn.commit()
    assert (caught.value.kind, caught.value.table, caught.value.key) == ("definition", None, None)


def test_adds_in_two_transactions_do_not_conflict(database: Database, accounts: Any) -> None:
    accounts.put((1, "ann", 5))
    first, second = database.transaction(), database.transaction()
    first.table("accounts").add(1, balance=1)
    second.table("accounts").add(1, balance=2)
    first.commit()
    second.commit()
    assert accounts.get(1)["balance"] == 8


def test_an_add_keeps_its_bounds(database: Database, accounts: Any) -> None:
    accounts.put((1, "ann", 5))
    accounts.add(1, balance=-5, min=0)
    for bounds in ({"min": 0}, {"min": {"balance": Decimal("-0.5")}}, {"min": 0.0, "max": 10}):
        began = time.monotonic()
        with pytest.raises(weftdb.Conflict, match="balance") as caught:
            accounts.add(1, balance=-1, **bounds)
        assert caught.value.sqlstate == "23514"
        assert time.monotonic() - began < 5, "it was tried again"
    with pytest.raises(weftdb.Conflict, match="above its bound 3"):
        accounts.add(1, balance=4, max=3)
    assert accounts.add(1, balance=4, min={}, max={"balance": 4}).rows == 1
    assert accounts.get(1)["balance"] == 4
    first, second = database.transaction(), database.transaction()
    first.table("accounts").add(1, balance=-3, min=0)
    second.table("accounts").add(1, balance=-3, min=0)
    first.commit()
    with pytest.raises(weftdb.Conflict) as caught:
        second.commit()
    assert caught.value.sqlstate == "23514"
    assert accounts.get(1)["balance"] == 1
    conflict = caught.value
    assert (conflict.kind, conflict.table, conflict.key) == ("bound", "accounts", (1,))
    assert (conflict.column, conflict.bound, conflict.value) == ("balance", 0, -2)


def test_columns_that_are_called_as_the_bounds_are_added_to_by_a_dict(database: Database) -> None:
    database.execute("CREATE TABLE ranges (id bigint PRIMARY KEY, min bigint, max bigint, n bigint)")
    ranges = database.table("ranges")
    ranges.add(1, {"min": 3, "max": 4}, n=5)
    ranges.add(1, {"min": -3}, min=0, max={"min": 1})
    with pytest.raises(weftdb.Conflict):
        ranges.add(1, {"min": -1}, min={"min": 0})
    with ranges.writer() as writer:
        writer.add(1, {"min": 7, "n": 1}, max=7)
        writer.add({"id": 2}, {"max": 1})
    with database.transaction() as transaction:
        transaction.table("ranges").add(2, {"max": 1}, max=2)
    assert database.execute("SELECT * FROM ranges ORDER BY id").rows() == [(1, 7, 4, 6), (2, None, 2, None)]
    database.execute("DROP TABLE ranges")


@pytest.mark.parametrize(
    ("bounds", "sqlstate"),
    [
        ({"min": "0"}, "22023"),
        ({"min": True}, "22023"),
        ({"max": float("nan")}, "22023"),
        ({"min": 2, "max": 1}, "22023"),
        ({"min": {"owner": 1}}, "42703"),
    ],
)
def test_bounds_that_are_none_are_refused(accounts: Any, bounds: dict[str, object], sqlstate: str) -> None:
    with pytest.raises(weftdb.Invalid) as caught:
        accounts.add(1, balance=1, **bounds)
    assert caught.value.sqlstate == sqlstate
    assert accounts.get(1) is None


def test_statements_outside_a_transaction_never_see_a_conflict(database: Database, accounts: Any) -> None:
    accounts.put((1, "ann", 0))
    errors: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(10):
                database.execute("UPDATE accounts SET balance = balance + 1 WHERE id = 1")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert accounts.get(1)["balance"] == 40


def test_a_transaction_reads_one_snapshot(database: Database, accounts: Any) -> None:
    accounts.put((1, "ann", 5))
    with database.transaction() as txn:
        assert txn.table("accounts").get(1)["balance"] == 5
        accounts.put((1, "ann", 9))
        assert txn.table("accounts").get(1)["balance"] == 5
        assert txn.execute("SELECT balance FROM accounts").scalar() == 5
        assert txn.version < database.version


def test_a_failed_statement_is_undone_alone(database: Database, accounts: Any) -> None:
    with database.transaction() as txn:
        txn.execute("INSERT INTO accounts (id) VALUES (1)")
        for text in (
            "SELECT nothing",
            "INSERT INTO accounts (id) SELECT 1 / (2 - n) FROM generate_series(0, 2) AS g (n)",
            "INSERT INTO accounts (id) VALUES (2); UPDATE accounts SET id = 1",
        ):
            with pytest.raises(weftdb.Invalid):
                txn.execute(text)
        assert txn.execute("SELECT id FROM accounts").rows() == [(1,)]
    assert accounts.scan().read_all().num_rows == 1


def test_a_transaction_goes_back_to_a_savepoint(database: Database, accounts: Any) -> None:
    with database.transaction() as txn:
        mine = txn.table("accounts")
        mine.insert((1, "ann", 5))
        txn.savepoint('a "b"')
        mine.add(1, balance=3)
        mine.delete(1)
        txn.savepoint("inner")
        txn.execute("INSERT INTO accounts (id) VALUES (2)")
        txn.rollback_to('a "b"')
        assert mine.get(1)["balance"] == 5
        for call in (txn.rollback_to, txn.release):
            with pytest.raises(weftdb.Invalid) as caught:
                call("inner")
            assert caught.value.sqlstate == "3B001"
        txn.execute('RELEASE "a ""b"""')
        mine.add(1, balance=1)
    assert accounts.scan().read_all().to_pylist() == [{"id": 1, "owner": "ann", "balance": 6}]


def test_a_failed_call_leaves_the_transaction_usable(database: Database, accounts: Any) -> None:
    with database.transaction() as txn:
        mine = txn.table("accounts")
        mine.insert((1, "ann", 5))
        with pytest.raises(weftdb.Invalid):
            mine.insert((1, "eve", 5))
        with pytest.raises(weftdb.NotFound):
            mine.update(9, balance=1)
        mine.insert((2, "bob", 5))
    assert accounts.scan().read_all().num_rows == 2


def test_a_read_only_transaction_refuses_writes(database: Database, accounts: Any) -> None:
    with database.transaction(read_only=True) as txn:
        with pytest.raises(weftdb.Invalid) as caught:
            txn.table("accounts").put((1, "x", 0))
        assert caught.value.sqlstate == "25006"
        with pytest.raises(weftdb.Invalid) as caught:
            txn.execute("DELETE FROM accounts")
        assert caught.value.sqlstate == "25006"
        txn.rollback()


def test_commit_in_a_text_does_not_end_a_transaction_object(database: Database, accounts: Any) -> None:
    with database.transaction() as txn:
        txn.table("accounts").put((1, "x", 0))
        with pytest.raises(weftdb.Invalid) as caught:
            txn.execute("ROLLBACK")
        assert caught.value.sqlstate == "2D000"
    assert accounts.get(1) is not None


def test_definitions_are_transactional(database: Database) -> None:
    txn = database.transaction()
    txn.execute("CREATE TABLE fresh (id BIGINT PRIMARY KEY)")
    txn.table("fresh").put({"id": 1})
    assert txn.execute("SELECT count(*) FROM fresh").scalar() == 1
    with pytest.raises(weftdb.Invalid):
        database.table("fresh")
    txn.rollback()
    with pytest.raises(weftdb.Invalid):
        database.table("fresh")


def test_an_isolation_level_that_is_not_there_is_refused_by_name(database: Database) -> None:
    with pytest.raises(weftdb.Invalid, match=r"serialisable.*\n.*SERIALIZABLE") as caught:
        database.transaction(isolation="serialisable")
    assert caught.value.sqlstate == "22023"


def test_read_committed_has_a_snapshot_for_each_call(database: Database, accounts: Any) -> None:
    accounts.put((1, "ann", 5))
    with database.transaction(isolation="read committed") as txn:
        mine = txn.table("accounts")
        assert mine.get(1)["balance"] == 5
        accounts.put((1, "ann", 6))
        assert mine.get(1)["balance"] == 6
        accounts.put((1, "ann", 7))
        assert txn.execute("SELECT balance FROM accounts").scalar() == 7
        mine.update(1, balance=8)
        accounts.put((2, "bob", 9))
        assert mine.scan().read_all().num_rows == 2
    assert accounts.get(1)["balance"] == 8
    txn = database.transaction(isolation="read committed")
    txn.table("accounts").update(1, balance=0)
    accounts.add(1, balance=1)
    txn.table("accounts").update(1, balance=2)
    with pytest.raises(weftdb.Conflict):
        txn.commit()


# -- snapshot --------------------------------------------------------------------------------------------------------


def test_a_snapshot_reads_one_version_and_writes_nothing(database: Database, accounts: Any) -> None:
    accounts.put((1, "ann", 5))
    with database.snapshot() as snapshot:
        accounts.put((1, "ann", 9))
        assert snapshot.table("accounts").get(1)["balance"] == 5
        assert snapshot.execute("SELECT balance FROM accounts").scalar() == 5
        assert snapshot.table("accounts").scan().read_all().num_rows == 1
        assert snapshot.version < database.version
        with pytest.raises(weftdb.Invalid) as caught:
            snapshot.table("accounts").put((2, "x", 0))
        assert caught.value.sqlstate == "25006"
        with pytest.raises(weftdb.Invalid):
            snapshot.execute("INSERT INTO accounts (id) VALUES (3)")
    with pytest.raises(weftdb.Closed):
        snapshot.execute("SELECT 1")


def test_a_snapshot_of_the_past_is_named_by_version_or_time(database: Database, accounts: Any) -> None:
    version = accounts.put((1, "ann", 5)).version
    time.sleep(0.01)
    moment = datetime.now(UTC)
    time.sleep(0.01)
    accounts.put((1, "ann", 9))
    with database.snapshot(as_of=version) as snapshot:
        assert snapshot.version == version
        assert snapshot.table("accounts").get(1)["balance"] == 5
    with database.snapshot(as_of=moment) as snapshot:
        assert snapshot.version == version
    with pytest.raises(weftdb.Invalid):
        database.snapshot(as_of=database.version + 1000)
    for never in (1.5, True, b"x"):
        with pytest.raises(weftdb.Invalid, match="as_of is a version"):
            database.snapshot(never)  # pyright: ignore[reportArgumentType]
    with database.snapshot(as_of=moment.replace(tzinfo=None)) as snapshot:
        assert snapshot.version == version


def test_a_snapshot_of_the_past_may_have_a_name(database: Database, accounts: Any) -> None:
    version = accounts.put((1, "ann", 5)).version
    database.execute("CREATE SNAPSHOT monday")
    accounts.put((1, "ann", 9))
    with database.snapshot("monday") as snapshot:
        assert snapshot.version == version
        assert snapshot.table("accounts").get(1)["balance"] == 5
        assert snapshot.execute("SELECT balance FROM accounts").scalar() == 5
    query = "SELECT a.balance - b.balance FROM accounts AS a, accounts AS OF SNAPSHOT Monday AS b"
    assert database.execute(query).scalar() == 4
    assert database.execute("SELECT name, version FROM weft_snapshots WHERE name IS NOT NULL").rows() == [
        ("monday", version)
    ]
    database.execute("DROP SNAPSHOT monday")
    with pytest.raises(weftdb.NotFound, match='snapshot "monday" does not exist'):
        database.snapshot("monday")
    with pytest.raises(weftdb.NotFound, match='snapshot "tuesday" does not exist'):
        database.execute("SELECT * FROM accounts AS OF SNAPSHOT tuesday")


# -- versions as tokens ------------------------------------------------------------------------------------------------


def reads_at_least(database: Database, accounts: Any, version: int) -> list[Any]:
    """The balance of account 1, by every read that can wait for a version."""
    return [
        database.execute("SELECT balance FROM accounts WHERE id = 1", at_least=version).scalar(),
        accounts.get(1, at_least=version)["balance"],
        accounts.get_many([1], at_least=version).column("balance")[0].as_py(),
        accounts.scan(key=1, at_least=version).read_all().column("balance")[0].as_py(),
        accounts.scan(where="id = 1", at_least=version).read_all().column("balance")[0].as_py(),
        accounts.export(columns=["balance"], at_least=version).read_all().column("balance")[0].as_py(),
    ]


def versions_of(database: Any) -> list[int]:
    """That of what each read of a database, transaction or snapshot gives."""
    accounts = database.table("accounts")
    given = [
        database.execute("SELECT id FROM accounts").arrow(),
        database.execute("SELECT id FROM accounts").reader(),
        pa.table(database.execute("SELECT id FROM accounts")),
        accounts.get_many([1]),
        accounts.scan(key=1),
        accounts.scan(where="balance > 0").read_all(),
        *([] if hasattr(database, "commit") else [accounts.export()]),
    ]
    return [int(data.schema.metadata[b"weft.version"]) for data in given]


def test_whatever_is_read_or_written_carries_its_version(database: Database, accounts: Any) -> None:
    first = accounts.put((1, "ann", 5)).version
    transaction = database.transaction()
    assert set(versions_of(transaction)) == {first}
    with database.snapshot() as snapshot:
        for number, write in enumerate(
            (
                lambda: accounts.insert((2, "bob", 5)),
                lambda: accounts.add(2, balance=1),
                lambda: accounts.update(2, owner="x"),
                lambda: accounts.delete(2),
                lambda: database.execute("INSERT INTO accounts (id) VALUES (3)"),
                lambda: database.execute("INSERT INTO accounts (id) VALUES (4) RETURNING id"),
                lambda: database.execute("INSERT INTO accounts (id) VALUES (5); SELECT 1"),
                lambda: database.execute("BEGIN; INSERT INTO accounts (id) VALUES (6); COMMIT"),
                lambda: database.execute("CREATE TABLE others (id bigint)"),
                lambda: database.execute("DROP TABLE others"),
            ),
            start=first + 1,
        ):
            assert write().version == number == database.version
            assert set(versions_of(database)) == {number}
        assert set(versions_of(snapshot)) == {first}
    assert transaction.table("accounts").put((7, "x", 1)).version == first
    assert transaction.commit() == database.version == number + 1
    assert database.execute("SELECT 1; SELECT 2").version == database.version


def test_a_read_sees_at_least_the_version_that_it_is_told(database: Database, accounts: Any) -> None:
    written = accounts.put((1, "ann", 5))
    assert reads_at_least(database, accounts, written.version) == [5] * 6
    assert reads_at_least(database, accounts, 0) == [5] * 6
    with database.transaction() as txn:
        assert txn.execute("SELECT balance FROM accounts", at_least=written.version).scalar() == 5
        later = accounts.put((1, "ann", 6)).version
        for read in (
            lambda: txn.execute("SELECT 1", at_least=later),
            lambda: txn.table("accounts").get(1, at_least=later),
            lambda: txn.table("accounts").scan(at_least=later),
        ):
            with pytest.raises(weftdb.Invalid, match="reads at version") as caught:
                read()
            assert caught.value.sqlstate == "22023"
        txn.rollback()


def test_a_read_waits_for_a_version_that_is_to_come(database: Database, accounts: Any) -> None:
    version = accounts.put((1, "ann", 5)).version
    answers: list[Any] = []
    readers = [
        threading.Thread(target=lambda ahead=ahead: answers.append(reads_at_least(database, accounts, version + ahead)))
        for ahead in (1, 2)
    ]
    for reader in readers:
        reader.start()
    time.sleep(0.2)
    assert answers == []
    accounts.put((1, "ann", 6))
    readers[0].join(10)
    assert answers == [[6] * 6]
    accounts.put((1, "ann", 7))
    readers[1].join(10)
    assert answers == [[6] * 6, [7] * 6]


def test_a_version_that_does_not_come_is_unavailable(
    database: Database, accounts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.put((1, "ann", 5))
    never = database.version + 100
    began = time.monotonic()
    with pytest.raises(weftdb.Unavailable) as caught:
        database.execute("SELECT 1", timeout=0.2, at_least=never)
    assert caught.value.sqlstate == "57014"
    assert caught.value.message == f"version {never} did not become visible within 0.2 s: the newest is {never - 100}"
    monkeypatch.setattr("weftdb.sql.session.AT_LEAST_SECONDS", 0.2)
    for read in (
        lambda: database.execute("SELECT 1", at_least=never),
        lambda: accounts.get(1, at_least=never),
        lambda: accounts.get_many([1], at_least=never),
        lambda: accounts.scan(at_least=never),
        lambda: accounts.export(at_least=never),
    ):
        with pytest.raises(weftdb.Unavailable, match=str(never)) as caught:
            read()
        assert caught.value.sqlstate == "57014"
    assert 1.0 <= time.monotonic() - began < 10
    for wrong in (-1, 2**63, True, "1"):
        with pytest.raises(weftdb.Invalid) as refused:
            accounts.get(1, at_least=wrong)
        assert refused.value.sqlstate == "22023"


# -- writer ----------------------------------------------------------------------------------------------------------


def test_a_writer_takes_rows_one_at_a_time_and_in_batches(database: Database, accounts: Any) -> None:
    with accounts.writer() as writer:
        for n in range(1000):
            writer.put((n, "w", n))
        writer.put([(n, "w", n) for n in range(1000, 1100)])
        writer.put(pa.table({"id": list(range(1100, 1200))}))
        writer.put({"id": 1200})
        version = writer.flush()
        assert database.version >= version
        assert writer.rows_acknowledged == 1201
        assert accounts.scan().read_all().num_rows == 1201
    assert accounts.get(5)["balance"] == 5


def test_a_writer_writes_by_itself_after_a_while(accounts: Any) -> None:
    with accounts.writer() as writer:
        writer.put((1, "w", 1))
        deadline = time.monotonic() + 10
        while accounts.get(1) is None and time.monotonic() < deadline:
            time.sleep(0.005)
        assert accounts.get(1) is not None


def test_a_writer_keeps_the_order_of_puts_and_deletes(accounts: Any) -> None:
    with accounts.writer() as writer:
        for n in range(100):
            writer.put((n % 10, "w", n))
        writer.delete([0, 1])
        writer.delete(2)
        writer.put((1, "again", 1))
    assert sorted(accounts.scan().read_all().column("id").to_pylist()) == [1, 3, 4, 5, 6, 7, 8, 9]
    assert accounts.get(9)["balance"] == 99


def test_a_writers_failure_is_raised_once_and_refuses_what_came_after(accounts: Any) -> None:
    writer = accounts.writer()
    writer.put((1, "ok", 1))
    writer.flush()
    writer.insert((1, "exists", 1))
    with pytest.raises(weftdb.Invalid) as caught:
        writer.flush()
    assert caught.value.sqlstate == "23505"
    writer.put((2, "afresh", 2))
    writer.close()
    assert accounts.get(1)["owner"] == "ok"
    assert accounts.get(2)["owner"] == "afresh"
    writer.close()
    with pytest.raises(weftdb.Closed):
        writer.put((3, "late", 3))


def test_leaving_a_writers_block_raises_what_failed(accounts: Any) -> None:
    with pytest.raises(weftdb.Invalid), accounts.writer() as writer:
        writer.put({"id": 1, "owner": None})
    assert accounts.get(1) is None


def test_a_writers_block_that_raises_writes_what_it_had(accounts: Any) -> None:
    with pytest.raises(RuntimeError), accounts.writer() as writer:  # noqa: PT012
        writer.put((1, "x", 1))
        raise RuntimeError
    assert accounts.get(1) is not None


def test_a_writer_adds_in_batches_and_one_at_a_time(database: Database, accounts: Any) -> None:
    accounts.put((1, "ann", 5))
    with accounts.writer() as writer:
        for _ in range(100):
            writer.add(1, balance=1)
        writer.add((1,), balance=Decimal("0.50"))
        writer.add({"id": 2}, balance=7)
        writer.add([{"id": 1, "balance": 1}, {"id": 2, "balance": 1}])
        writer.add(pa.table({"id": [1, 2, 2], "balance": pa.array([10, 20, 30], pa.decimal128(12, 2))}))
        writer.put((3, "put", 1))
        writer.add(3, balance=1)
        writer.flush()
        assert writer.rows_acknowledged == 109
    rows = database.execute("SELECT id, owner, balance FROM accounts ORDER BY id").rows()
    assert rows == [(1, "ann", Decimal("116.50")), (2, "?", Decimal(58)), (3, "put", Decimal(2))]


def test_a_writers_adds_keep_their_bounds(accounts: Any) -> None:
    """Each batch as its bounds are; the one that is beyond them fails as a whole, and what others did stays."""
    accounts.put([(1, "ann", 5), (2, "bob", 5)])
    with accounts.writer() as writer:
        for _ in range(5):
            writer.add(1, balance=-1, min=0)
        writer.add([{"id": 1, "balance": 2}, {"id": 2, "balance": 1}], max={"balance": 6})
        writer.add(pa.table({"id": [2], "balance": pa.array([-6], pa.decimal128(12, 2))}), min=0, max=0)
        writer.flush()
        writer.add(2, balance=100)
        writer.flush()
        writer.add(2, balance=1)
        writer.add(1, balance=-3, min=0)
        writer.add(2, balance=1, min=0)
        with pytest.raises(weftdb.Conflict, match="below its bound 0") as caught:
            writer.flush()
        assert caught.value.sqlstate == "23514"
        writer.add(1, balance=-2, min=0)
    assert accounts.get(1)["balance"] == 0
    assert accounts.get(2)["balance"] in (100, 101)  # a batch or two: that of the failed one may have begun before
    writer = accounts.writer()
    writer.add(1, balance=1, min=2, max=1)
    with pytest.raises(weftdb.Invalid, match="min 2 is above max 1"):
        writer.close()


@pytest.mark.parametrize(
    ("key", "amounts", "sqlstate"),
    [
        ((1, 2), {"balance": 1}, "22000"),
        (1, {"owner": "x"}, "42804"),
        (1, {"id": 1}, "42P10"),
        (1, {"nothing": 1}, "42703"),
        (1, {"balance": 10**12}, "22003"),
        ({"balance": 1}, {}, "22000"),
        ({"id": None}, {"balance": 1}, "23502"),
    ],
)
def test_what_a_writer_cannot_add_is_refused_by_name(
    accounts: Any, key: object, amounts: dict[str, object], sqlstate: str
) -> None:
    accounts.put((1, "ann", 5))
    writer = accounts.writer()

    def add_and_flush() -> None:
        writer.add(key, **amounts)
        writer.flush()

    with pytest.raises(weftdb.Invalid) as caught:
        add_and_flush()
    assert caught.value.sqlstate == sqlstate
    writer.add(1, balance=1)
    writer.close()
    assert accounts.get(1)["balance"] == 6


def test_a_writer_with_a_name_goes_on_where_the_last_one_stopped(accounts: Any) -> None:
    with accounts.writer(name="loader") as writer:
        assert writer.sequence == 0
        for _ in range(3):
            writer.add(1, balance=1)
        writer.put(pa.table({"id": [2, 3], "balance": pa.array([0, 0], pa.decimal128(12, 2))}))
        writer.flush()
        assert writer.sequence == 5
        writer.delete([2, 3])
    with accounts.writer(name="loader") as writer:
        assert writer.sequence == 7
        with pytest.raises(weftdb.Invalid):
            insert_twice(writer)
        writer.add(1, balance=1)
    with accounts.writer(name="loader") as writer:
        assert writer.sequence == 10
    with accounts.writer(name="loader") as writer:
        assert writer.sequence == 10
    with accounts.writer(name="other") as writer:
        assert writer.sequence == 0
    assert accounts.get(1)["balance"] == 4


def insert_twice(writer: Any) -> None:
    writer.insert([(1, "x", 0), (1, "x", 0)])
    writer.flush()


def test_opening_a_writer_takes_its_name_over(accounts: Any) -> None:
    first = accounts.writer(name="loader")
    first.add(1, balance=1)
    first.flush()
    second = accounts.writer(name="loader")
    assert second.sequence == 1
    first.add(1, balance=10)
    with pytest.raises(weftdb.Closed, match="loader") as caught:
        first.flush()
    assert caught.value.sqlstate == "55006"
    second.add(1, balance=100)
    second.close()
    first.close()
    assert accounts.get(1)["balance"] == 101


def test_a_writers_name_has_a_length(accounts: Any) -> None:
    for name in ("", "x" * 64, "ü" * 32):
        with pytest.raises(weftdb.Invalid) as caught:
            accounts.writer(name=name)
        assert caught.value.sqlstate == "42602"


def test_a_writer_is_not_part_of_a_transaction(database: Database, accounts: Any) -> None:
    with database.transaction() as txn:
        with pytest.raises(weftdb.Invalid):
            txn.table("accounts").writer()
        txn.rollback()


# -- closing ---------------------------------------------------------------------------------------------------------


def test_closing_ends_everything_and_may_be_repeated(database: Database, accounts: Any) -> None:
    txn = database.transaction()
    txn.execute("SELECT 1")
    database.close()
    database.close()
    with pytest.raises(weftdb.Closed):
        database.execute("SELECT 1")
    with pytest.raises(weftdb.Closed):
        accounts.get(1)
    with pytest.raises(weftdb.Closed):
        txn.execute("SELECT 1")


def test_many_threads_share_one_database(database: Database, accounts: Any) -> None:
    accounts.put([(n, "x", n) for n in range(100)])
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for n in range(10):
                assert accounts.get((seed * 10 + n) % 100) is not None
                assert database.execute("SELECT count(*) FROM accounts WHERE id < $1", [n]).scalar() == n
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
