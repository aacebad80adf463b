"""Maintained materialized views, case by case; test_view_model.py has the random ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import weftdb
from from_rows import from_rows
from weftdb.base.errors import Conflict, Invalid
from weftdb.engine.conflict import GroupRows
from weftdb.engine.read_set import Reads
from weftdb.engine.request import TableChanges

Database = Any

DDL = """CREATE TABLE t (k BIGINT, at TIMESTAMP, id BIGINT, x INT, y DOUBLE PRECISION, s TEXT, PRIMARY KEY (k, at, id))
WITH (key = 'k', time = 'at', every = '7 days')"""
QUERY = "SELECT k, s, count(*) AS n, sum(x) AS sx, avg(y) AS ay, sum(y) FILTER (WHERE x > 2) AS sy FROM t GROUP BY k, s"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = weftdb.open(tmp_path / "data")
    database.execute(DDL)
    yield database
    database.close()


def fill(on: Database, count: int, *, first: int = 1, step: str = "1 hour") -> None:
    on.execute(
        f"INSERT INTO t SELECT g % 7, timestamp '2026-01-01' + g * interval '{step}', g, g % 5, g * 0.5, "
        "CASE WHEN g % 3 = 0 THEN NULL ELSE 's' || g % 2 END FROM generate_series($1::bigint, $2::bigint) g",
        [first, first + count - 1],
    )


def check(on: Database, name: str = "v", query: str = QUERY) -> list[Any]:
    shown = on.execute(f"SELECT * FROM {name} ORDER BY 1, 2").rows()
    assert shown == from_rows(on, f"{query} ORDER BY 1, 2").rows()
    return shown


def maintained(db: Database, name: str = "v") -> bool:
    """Whether a read of the view reads its groups."""
    plan = db.execute(f"EXPLAIN SELECT * FROM {name}").rows()
    return any(line.startswith(f"  Groups of {name}: ") for (line,) in plan)


def test_a_view_is_kept_through_restart_and_reads_the_past(tmp_path: Path) -> None:
    with weftdb.open(tmp_path / "data") as db:
        db.execute(DDL)
        fill(db, 500)
        db.execute(f"CREATE MATERIALIZED VIEW v AS {QUERY}")
        assert maintained(db)
        assert len(check(db)) == 21
        version = db.execute("SELECT 1").version
        db.execute("DELETE FROM t WHERE k = 3")
        db.engine.maintenance.flush()
        fill(db, 100, first=1000)
    with weftdb.open(tmp_path / "data") as db:
        assert maintained(db)
        check(db)
        past = f"AS OF VERSION {version}"
        shown = db.execute(f"SELECT * FROM v {past} ORDER BY 1, 2").rows()
        assert shown == from_rows(db, f"{QUERY.replace(' FROM t', f' FROM t {past}')} ORDER BY 1, 2").rows()
        assert len(shown) == 21
        fill(db, 10, first=2000)
        check(db)


def test_groups_are_found_by_key_and_sorted_by_what_is_computed(db: Database) -> None:
    fill(db, 500)
    db.execute(f"CREATE MATERIALIZED VIEW v AS {QUERY}")
    plan = "\n".join(row[0] for row in db.execute("EXPLAIN SELECT * FROM v WHERE k = 2 AND s = 's1'").rows())
    assert "Choice: Primary Key Get" in plan
    assert "  Groups of v: by k, s; 21 of them stand for 500 rows of t" in plan
    for order in ("ay DESC, s", "sx, n DESC, s", "n + 1, s DESC", "s NULLS FIRST"):
        wanted = from_rows(db, f"SELECT * FROM ({QUERY}) AS q WHERE k = 2 ORDER BY {order}").rows()
        assert db.execute(f"SELECT * FROM v WHERE k = 2 ORDER BY {order}").rows() == wanted
    wanted = from_rows(db, f"SELECT s, sum(n), max(ay) FROM ({QUERY}) AS q GROUP BY s ORDER BY 1").rows()
    assert db.execute("SELECT s, sum(n), max(ay) FROM v GROUP BY s ORDER BY 1").rows() == wanted
    query = f"SELECT a.id, b.n FROM t a LEFT JOIN ({QUERY}) AS b ON a.x = b.k AND b.s = 's0' ORDER BY 1"
    wanted = from_rows(db, query).rows()
    joined = "SELECT a.id, b.n FROM t a LEFT JOIN v b ON a.x = b.k AND b.s = 's0' ORDER BY 1"
    assert db.execute(joined).rows() == wanted


def test_a_transaction_sees_what_it_wrote(db: Database) -> None:
    fill(db, 200)
    db.execute(f"CREATE MATERIALIZED VIEW v AS {QUERY}")
    before = check(db)
    with db.transaction() as txn:
        assert check(txn) == before
        txn.execute("UPDATE t SET x = x + 10 WHERE k = 1")
        changed = check(txn)
        assert changed != before
        assert check(db) == before
    assert check(db) == changed
    with db.transaction() as txn:
        txn.table("t").add((5, "2026-01-01 05:00", 5), x=100)
        check(txn)
    assert check(db) != changed


def test_a_view_may_be_made_in_the_transaction_that_makes_and_fills_the_table(db: Database) -> None:
    with db.transaction() as txn:
        txn.execute("CREATE TABLE u (id BIGINT PRIMARY KEY, g INT, x NUMERIC(10,2))")
        txn.execute("INSERT INTO u SELECT n, n % 3, n FROM generate_series(1, 100) n")
        txn.execute("CREATE MATERIALIZED VIEW w AS SELECT g, sum(x) AS s FROM u GROUP BY g")
        txn.execute("DELETE FROM u WHERE id > 50")
        assert txn.execute("SELECT sum(s) FROM w").scalar() == 1275
    assert db.execute("SELECT sum(s) FROM w").scalar() == 1275
    assert maintained(db, "w")


def test_a_row_that_the_view_cannot_compute_is_refused_before_the_log(db: Database) -> None:
    fill(db, 20)
    db.execute("CREATE MATERIALIZED VIEW v AS SELECT k, sum(x * 1000000) AS s FROM t WHERE x > 0 GROUP BY k")
    assert maintained(db)
    row = "(1, '2026-02-01', {}, {}, NULL, NULL)"
    with pytest.raises(Invalid, match="out of range") as error:
        db.execute(f"INSERT INTO t VALUES {row.format(900, 3_000_000)}")
    assert error.value.sqlstate == "22003"
    assert "materialized view" in str(error.value)
    with pytest.raises(Invalid, match="out of range"):
        db.table("t").put({"k": 1, "at": "2026-02-01", "id": 901, "x": 3_000_000})
    with pytest.raises(Invalid, match="out of range"):
        db.table("t").add((1, "2026-01-01 01:00", 1), x=3_000_000)
    with pytest.raises(Invalid, match="out of range"):
        db.execute("UPDATE t SET x = 3000000 WHERE id = 1")
    assert db.execute("SELECT max(x), count(*) FROM t").rows() == [(4, 20)]
    db.execute(f"INSERT INTO t VALUES {row.format(902, -3_000_000)}")  # WHERE leaves it out
    db.execute("DROP MATERIALIZED VIEW v")
    db.execute(f"INSERT INTO t VALUES {row.format(900, 3_000_000)}")
    with pytest.raises(Invalid, match="out of range"):
        db.execute("CREATE MATERIALIZED VIEW v AS SELECT k, sum(x * 1000000) AS s FROM t WHERE x > 0 GROUP BY k")
    assert db.execute("SHOW TABLES").rows() == [("t", "table")]


def test_a_view_is_made_while_others_write(db: Database) -> None:
    fill(db, 3_000)
    stop, failed = threading.Event(), list[BaseException]()

    def write() -> None:
        number = 10_000
        try:
            while not stop.is_set():
                fill(db, 20, first=number)
                db.execute("DELETE FROM t WHERE id = $1", [number - 5])
                db.execute("UPDATE t SET s = 'new', x = x + 1 WHERE id = $1", [number])
                number += 20
        except BaseException as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            db.execute(f"CREATE MATERIALIZED VIEW v{number} AS {QUERY}")
    finally:
        stop.set()
        writer.join()
    assert not failed
    for number in range(5):
        assert maintained(db, f"v{number}")
        check(db, f"v{number}")


def test_writers_of_one_group_never_conflict(db: Database) -> None:
    db.execute("CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n, sum(y) AS total FROM t GROUP BY k")
    failed: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for each in range(50):
                with db.transaction(isolation="serializable") as txn:
                    txn.table("t").insert({"k": 1, "at": "2026-01-01", "id": 1000 * number + each, "y": 0.1})
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert db.execute("SELECT * FROM v").rows() == [(1, 200, pytest.approx(20.0, abs=1e-12))]


def test_who_read_a_view_and_meets_a_writer_of_its_table_is_refused_or_waits(db: Database) -> None:
    fill(db, 50)
    db.execute("CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n FROM t GROUP BY k")
    for number, query in enumerate(("SELECT n FROM v WHERE k = 1", "SELECT sum(n) FROM v")):
        for change in (
            f"INSERT INTO t VALUES (1, '2027-01-01', {number}, 1, 1, 'a')",
            f"DELETE FROM t WHERE id = {number}",
        ):
            txn = db.transaction(isolation="serializable")
            txn.execute(query).rows()
            txn.execute("INSERT INTO t VALUES (2, '2027-01-01', 1000, 1, 1, 'a')")
            db.execute(change)
            with pytest.raises(Conflict):
                txn.commit()
    other = "INSERT INTO t VALUES (3, '2027-01-01', 901, 1, 1, 'a')"
    with db.transaction(isolation="serializable") as txn:
        txn.execute("SELECT n FROM v WHERE k = 2").rows()
        txn.execute("INSERT INTO t VALUES (2, '2027-01-01', 1001, 1, 1, 'a')")
        db.execute(other)  # another group


def test_a_reader_of_a_view_never_shares_a_record_with_a_writer_of_its_table(db: Database) -> None:
    """Groups of the same record are not made yet when it is judged."""
    db.execute("CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n FROM t GROUP BY k")
    with db.snapshot() as snapshot:
        catalog = snapshot._session._pinned.catalog
    table, groups = catalog.relations["t"], catalog.relations["v"].groups
    row = {"k": 1, "at": datetime(2026, 1, 1), "id": 1, "x": 1, "y": 1.0, "s": "a"}
    rows = pa.RecordBatch.from_pylist([row], table.arrow_schema)
    reads = Reads(table=groups, version=1, singles=((1,),))
    mates = GroupRows()
    assert mates.spares(reads)
    mates.add(TableChanges(table=table, puts=(rows,)))
    assert not mates.spares(reads)
    assert mates.spares(Reads(table=replace(groups, derived_from=1), version=1, singles=((1,),)))


def test_large_transactions_and_dropped_slices_are_followed(db: Database) -> None:
    db.execute(f"CREATE MATERIALIZED VIEW v AS {QUERY}")
    fill(db, 250_000, step="1 minute")  # more than a record holds
    check(db)
    db.execute("UPDATE t SET x = x + 1")
    check(db)
    db.execute("DELETE FROM t WHERE id % 2 = 0")
    check(db)
    db.execute("ALTER TABLE t SET (keep = '30 days')")
    fill(db, 1, first=300_000, step="1 minute")
    count = db.execute("SELECT count(*) FROM t").scalar()
    assert db.engine.maintenance.retain()
    assert 0 < db.execute("SELECT count(*) FROM t").scalar() < count
    check(db)


def test_sums_beyond_their_type_are_errors_of_the_reader_alone(db: Database) -> None:
    db.execute("CREATE TABLE big (id BIGINT PRIMARY KEY, g INT, n NUMERIC(38,0), i INT)")
    db.execute("CREATE MATERIALIZED VIEW v AS SELECT g, sum(n) AS s, count(*) AS c FROM big GROUP BY g")
    for id in range(20):
        db.execute("INSERT INTO big VALUES ($1, 1, 99999999999999999999999999999999999999, 1)", [id])
    assert db.execute("SELECT c FROM v").scalar() == 20
    with pytest.raises(Invalid, match="38 digits") as error:
        db.execute("SELECT s FROM v").rows()
    assert error.value.sqlstate == "22003"
    db.execute("DELETE FROM big WHERE id > 0")
    assert db.execute("SELECT s FROM v").scalar() == 10**38 - 1


def test_floats_cancel_exactly(db: Database) -> None:
    db.execute("CREATE MATERIALIZED VIEW v AS SELECT k, sum(y) AS s, count(*) AS n FROM t GROUP BY k")
    row = "(1, '2026-01-01', {}, 1, {}, NULL)"
    db.execute(f"INSERT INTO t VALUES {row.format(1, '0.1')}")
    for id, value in enumerate(("1e300", "-3e-310", "'NaN'", "'Infinity'", "'-Infinity'", "1e16", "0.2"), 2):
        db.execute(f"INSERT INTO t VALUES {row.format(id, value)}")
    db.execute("DELETE FROM t WHERE id > 1")
    assert db.execute("SELECT s, n FROM v").rows() == [(0.1, 1)]
    db.execute("DELETE FROM t")
    assert db.execute("SELECT * FROM v").rows() == []


def test_columns_that_a_view_reads_stay(db: Database) -> None:
    db.execute(f"CREATE MATERIALIZED VIEW v AS {QUERY}")
    with pytest.raises(Invalid, match="view"):
        db.execute("ALTER TABLE t DROP COLUMN x")
    with pytest.raises(Invalid, match="view"):
        db.execute("DROP TABLE t")
    db.execute("ALTER TABLE t ADD COLUMN z INT DEFAULT 3")
    db.execute("CREATE MATERIALIZED VIEW w AS SELECT z, count(*) AS n FROM t GROUP BY z")
    fill_more = "INSERT INTO t VALUES (1, '2026-01-01', 1, 1, 1, 'a'), (1, '2026-01-01', 2, 1, 1, 'a')"
    db.execute(fill_more)
    assert db.execute("SELECT * FROM w").rows() == [(3, 2)]
    check(db)
    db.execute("DROP TABLE t CASCADE")
    assert not {"v", "w"} & {name for name, _ in db.execute("SHOW TABLES").rows()}


def test_weft_views_says_what_a_view_takes_and_costs(db: Database) -> None:
    db.execute(f"CREATE MATERIALIZED VIEW v AS {QUERY}")
    query = "SELECT view_name, table_name, maintained, groups, rows_followed, nanoseconds_per_row > 0 FROM weft_views"
    assert db.execute(query).rows() == [("v", "t", True, 0, 0, None)]
    fill(db, 70)
    db.execute("UPDATE t SET x = x + 1 WHERE id <= 10")
    assert db.execute(query).rows()[0] == ("v", "t", True, 21, 90, True)
    assert db.execute("SELECT memory_bytes > 1000, disk_bytes FROM weft_views WHERE maintained").rows() == [(True, 0)]
    db.engine.maintenance.flush()
    assert db.execute("SELECT segments, disk_bytes > 0 FROM weft_views WHERE maintained").rows() == [(1, True)]


def test_not_null_may_be_dropped_from_a_column_that_a_view_counts(db: Database) -> None:
    db.execute("CREATE TABLE u (id INT PRIMARY KEY, k INT, x INT NOT NULL)")
    query = "SELECT k, count(x) AS n, avg(x) AS a, bool_and(x > 0) AS b FROM u GROUP BY k"
    db.execute(f"CREATE MATERIALIZED VIEW v AS {query}")
    db.execute("INSERT INTO u VALUES (1, 1, 1), (2, 1, 2)")
    db.execute("ALTER TABLE u ALTER COLUMN x DROP NOT NULL")
    db.execute("INSERT INTO u VALUES (3, 1, NULL), (4, 2, NULL)")
    assert len(check(db, "v", query)) == 2


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELECT k, count(*) AS m FROM v GROUP BY k", "counts the groups"),
        ("SELECT 'all' AS g, count(*) AS n FROM t GROUP BY 'all'::text", "constants alone"),
        ("SELECT k, count(*) AS n FROM t GROUP BY k HAVING count(*) > 1", "more than groups"),
        ("SELECT a.k, count(*) AS n FROM t a JOIN t b ON a.id = b.id GROUP BY a.k", "is joined|joins"),
        ("SELECT k, count(*) FILTER (WHERE at::timestamptz::text > 'a') AS n FROM t GROUP BY k", "time zone"),
        ("SELECT k, count(*) AS n FROM t GROUP BY k ORDER BY n", "more than groups: ORDER BY"),
        ("SELECT * FROM t", "does not group rows"),
        ("SELECT k, count(*) AS n FROM t WHERE id IN (SELECT 1) GROUP BY k", "it joins tables"),
        ("SELECT name, count(*) AS n FROM weft_metrics GROUP BY name", "it reads no table"),
        ("SELECT table_name, count(*) AS n FROM information_schema.columns GROUP BY 1", "it reads no table"),
        ("SELECT g, count(*) AS n FROM generate_series(1, 3) AS s(g) GROUP BY g", "it reads no table"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_reason(db: Database, query: str, why: str) -> None:
    db.execute(f"CREATE MATERIALIZED VIEW v AS {QUERY}; CREATE VIEW plain AS SELECT * FROM t")
    with pytest.raises(Invalid, match=why) as error:
        db.execute(f"CREATE MATERIALIZED VIEW w AS {query}")
    assert error.value.sqlstate == "0A000"
    fill(db, 20)
    check(db)


def test_a_row_that_a_view_cannot_be_made_of_is_not_called_by_a_number(db: Database) -> None:
    fill(db, 20)
    with pytest.raises(Invalid, match=r'^the view cannot be computed of a row of "t": division by zero') as error:
        db.execute("CREATE MATERIALIZED VIEW w AS SELECT k, sum(1 / (id - 7)) AS n FROM t GROUP BY k")
    assert error.value.sqlstate == "22012"
    assert "WHERE" in str(error.value.hint)
    assert db.execute("SHOW TABLES").rows() == [("t", "table")]


def test_replacing_says_what_stands_in_the_way(db: Database) -> None:
    sql = f"CREATE {{}} MATERIALIZED VIEW {{}} AS {QUERY}"
    for how, name, message, hint in (
        ("OR REPLACE", "t", '"t" is not a materialized view', "Use another name."),
        ("OR REPLACE", "plain", '"plain" is not a materialized view', "Use another name. Or drop the view first."),
    ):
        db.execute("DROP VIEW IF EXISTS plain; CREATE VIEW plain AS SELECT k FROM t")
        with pytest.raises(Invalid) as error:
            db.execute(sql.format(how, name))
        assert (error.value.message.splitlines()[0], error.value.hint) == (message, hint)
    with pytest.raises(Invalid, match="contradict each other"):
        db.execute(sql.format("OR REPLACE", "IF NOT EXISTS v"))
    db.execute(sql.format("", "v"))
    with pytest.raises(Invalid, match='view option "retain" is given twice'):
        db.execute(f"CREATE MATERIALIZED VIEW w WITH (retain = 'all', retain = 'base') AS {QUERY}")
    assert db.execute("SELECT view_name FROM weft_views").rows() == [("v",)]


def test_a_table_that_the_transaction_wrote_gets_a_view_after_the_commit(db: Database) -> None:
    txn = db.transaction()
    fill(txn, 3)
    with pytest.raises(Invalid, match="written by this transaction") as error:
        txn.execute(f"CREATE MATERIALIZED VIEW v AS {QUERY}")
    txn.rollback()
    assert error.value.hint == "Commit first, or make the view before you write."
    assert db.execute("SHOW TABLES").rows() == [("t", "table")]
