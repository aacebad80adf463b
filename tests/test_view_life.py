"""The life of a materialized view: replaced, renamed, dropped, commented on, seen by tools."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import weftdb
from from_rows import from_rows
from weftdb.base.errors import Invalid
from weftdb.engine.database import Engine
from weftdb.server.service import serve

Database = Any

DDL = "CREATE TABLE t (k BIGINT, id BIGINT, x INT, s TEXT, PRIMARY KEY (k, id))"
OLD = "SELECT k, count(*) AS n, sum(x * 1000) AS total FROM t GROUP BY k"
NEW = "SELECT s AS kind, k, avg(x) AS mean FROM t WHERE x > 1 GROUP BY s, k"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with weftdb.open(tmp_path / "data") as database:
        database.execute(DDL)
        fill(database, 1, 500)
        database.execute(f"CREATE MATERIALIZED VIEW v AS {OLD}")
        yield database


def fill(on: Database, first: int, last: int) -> None:
    on.execute(
        "INSERT INTO t SELECT g % 7, g, g % 5, 's' || g % 2 FROM generate_series($1::int, $2::int) g", [first, last]
    )


def check(on: Database, query: str, name: str = "v") -> list[Any]:
    shown = on.execute(f"SELECT * FROM {name} ORDER BY 1, 2").rows()
    assert shown == from_rows(on, f"{query} ORDER BY 1, 2").rows()
    return shown


def right(on: Database, name: str = "v") -> bool:
    result = on.execute(f"VERIFY MATERIALIZED VIEW {name}")
    return result.rows() == [] and result.notices[0].startswith("0 of ")


def refused(on: Database, sql: str) -> Invalid:
    with pytest.raises(Invalid) as error:
        on.execute(sql)
    return error.value


def stored(db: Database) -> set[int]:
    return set(db.engine._state.catalog.stored)


def test_a_view_is_replaced_at_one_version_and_older_snapshots_read_the_old_one(db: Database, tmp_path: Path) -> None:
    tables = stored(db)
    before = check(db, OLD)
    with db.snapshot() as snapshot:
        version = snapshot.version
        db.execute(f"CREATE OR REPLACE MATERIALIZED VIEW v AS {NEW}")
        assert len(check(db, NEW)) == 14
        assert check(snapshot, OLD) == before
        fill(db, 501, 600)
        assert check(snapshot, OLD) == before
    check(db, NEW)
    assert right(db)
    assert len(stored(db)) == len(tables)
    assert stored(db) != tables
    past = db.execute(f"SELECT * FROM v AS OF VERSION {version} ORDER BY 1, 2").rows()
    assert past == before
    db.close()
    with weftdb.open(tmp_path / "data") as again:
        check(again, NEW)
        fill(again, 601, 700)
        check(again, NEW)
        assert right(again)


def test_a_view_is_replaced_while_others_write_and_read(db: Database) -> None:
    stop, failed = threading.Event(), list[BaseException]()

    def write() -> None:
        number = 10_000
        try:
            while not stop.is_set():
                fill(db, number, number + 20)
                db.execute("DELETE FROM t WHERE id >= 10000 AND id < $1 AND k = 2", [number])
                number += 21
        except BaseException as error:
            failed.append(error)

    def read() -> None:
        try:
            while not stop.is_set():
                with db.snapshot() as snapshot:
                    names = snapshot.execute("SELECT * FROM v LIMIT 0").names
                    check(snapshot, OLD if list(names) == ["k", "n", "total"] else NEW)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    try:
        for number in range(6):
            query = OLD if number % 2 else NEW
            db.execute(f"CREATE OR REPLACE MATERIALIZED VIEW v AS {query}")
            with db.snapshot() as snapshot:
                check(snapshot, query)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert right(db)


def test_what_the_old_view_could_not_compute_is_refused_no_more(db: Database) -> None:
    row = "INSERT INTO t VALUES (1, 9000, 2147483647, 's1')"
    assert refused(db, row).sqlstate == "22003"
    db.execute(f"CREATE OR REPLACE MATERIALIZED VIEW v AS {NEW}")
    db.execute(row)
    with pytest.raises(Invalid, match="out of range"):
        db.execute(f"CREATE OR REPLACE MATERIALIZED VIEW v AS {OLD}")
    check(db, NEW)
    assert right(db)
    db.execute("DELETE FROM t WHERE id = 9000")
    db.execute(f"CREATE OR REPLACE MATERIALIZED VIEW v AS {OLD}")
    assert refused(db, row).sqlstate == "22003"


def test_a_replacement_is_rolled_back_and_may_follow_its_creation(db: Database) -> None:
    before = check(db, OLD)
    with db.transaction() as txn:
        txn.execute(f"CREATE OR REPLACE MATERIALIZED VIEW v AS {NEW}")
        check(txn, NEW)
        txn.rollback()
    assert check(db, OLD) == before
    with db.transaction() as txn:
        txn.execute(f"CREATE MATERIALIZED VIEW w AS {OLD}")
        txn.execute(f"CREATE OR REPLACE MATERIALIZED VIEW w AS {NEW}")
        txn.execute(f"CREATE OR REPLACE MATERIALIZED VIEW v AS {NEW}")
        txn.execute(f"CREATE OR REPLACE MATERIALIZED VIEW v AS {OLD}")
        check(txn, NEW, "w")
    check(db, OLD)
    check(db, NEW, "w")
    fill(db, 501, 600)
    check(db, OLD)
    check(db, NEW, "w")
    assert right(db)
    assert right(db, "w")
    db.execute(f"CREATE OR REPLACE MATERIALIZED VIEW fresh AS {NEW}")
    assert right(db, "fresh")


def test_dependents_keep_a_view_from_becoming_another_one(db: Database) -> None:
    db.execute("CREATE VIEW above AS SELECT k, n FROM v")
    error = refused(db, f"CREATE OR REPLACE MATERIALIZED VIEW v AS {NEW}")
    assert error.sqlstate == "2BP01"
    assert 'view "above" depends on it' in error.message
    check(db, OLD)
    db.execute("CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT max(x) AS most, count(*) AS n, k FROM t GROUP BY k")
    assert db.execute("SELECT sum(n) FROM above").scalar() == 500
    assert refused(db, f"CREATE OR REPLACE MATERIALIZED VIEW above AS {NEW}").sqlstate == "42809"
    assert refused(db, f"CREATE OR REPLACE VIEW v AS {NEW}").sqlstate == "42809"
    assert refused(db, f"CREATE OR REPLACE MATERIALIZED VIEW t AS {NEW}").sqlstate == "42809"


def test_drop_names_all_dependents_and_cascade_takes_them(db: Database) -> None:
    db.execute("CREATE VIEW above AS SELECT k, n FROM v; CREATE VIEW top AS SELECT k FROM above")
    error = refused(db, "DROP MATERIALIZED VIEW v")
    assert error.sqlstate == "2BP01"
    assert error.message == ('cannot drop materialized view "v": view "above" depends on it; view "top" depends on it')
    assert refused(db, "DROP MATERIALIZED VIEW v RESTRICT").message == error.message
    assert 'view "top" depends on materialized view "v"' in refused(db, "DROP TABLE t").message
    db.execute("CREATE TABLE u (id INT PRIMARY KEY)")
    assert refused(db, "DROP TABLE u, t").message.endswith('view "top" depends on materialized view "v"')
    db.execute("DROP TABLE u")
    result = db.execute("DROP MATERIALIZED VIEW IF EXISTS v, nothing CASCADE")
    assert result.notices == (
        'materialized view "nothing" does not exist, skipping',
        'drop cascades to view "above"',
        'drop cascades to view "top"',
    )
    assert db.execute("SHOW TABLES").rows() == [("t", "table")]
    db.execute(f"CREATE MATERIALIZED VIEW v AS {OLD}")
    db.execute("DROP TABLE t CASCADE")
    assert db.execute("SHOW TABLES").rows() == []
    assert stored(db) == set()


def test_a_view_is_renamed_and_keeps_its_groups_and_comments(db: Database) -> None:
    db.execute("COMMENT ON MATERIALIZED VIEW v IS 'per key'; COMMENT ON COLUMN v.n IS 'rows'")
    db.execute("COMMENT ON COLUMN v.total IS 'goes'")
    assert db.execute("ALTER MATERIALIZED VIEW v RENAME TO w").tag == "ALTER MATERIALIZED VIEW"
    check(db, OLD, "w")
    fill(db, 501, 600)
    check(db, OLD, "w")
    assert right(db, "w")
    db.execute("CREATE OR REPLACE MATERIALIZED VIEW w AS SELECT k, s, count(*) AS n FROM t GROUP BY k, s")
    comments = db.execute("SELECT column_name, comment FROM weft_comments WHERE table_name = 'w' ORDER BY 1").rows()
    assert comments == [("n", "rows"), (None, "per key")]
    assert refused(db, "ALTER MATERIALIZED VIEW t RENAME TO u").sqlstate == "42809"
    assert refused(db, "ALTER MATERIALIZED VIEW w RENAME TO t").sqlstate == "42P07"
    assert refused(db, "ALTER MATERIALIZED VIEW gone RENAME TO u").sqlstate == "42P01"
    assert "does not exist, skipping" in db.execute("ALTER MATERIALIZED VIEW IF EXISTS gone RENAME TO u").notices[0]
    assert "CREATE OR REPLACE" in str(refused(db, "ALTER MATERIALIZED VIEW w OWNER TO me").hint)
    db.execute("CREATE VIEW above AS SELECT n FROM w")
    assert refused(db, "ALTER MATERIALIZED VIEW w RENAME TO x").sqlstate == "2BP01"


def test_refresh_and_with_data_are_said_by_tools(db: Database) -> None:
    for sql in ("REFRESH MATERIALIZED VIEW v", "REFRESH MATERIALIZED VIEW CONCURRENTLY public.v WITH DATA"):
        assert "nothing to refresh" in db.execute(sql).notices[0]
    db.execute(f"CREATE MATERIALIZED VIEW w AS {OLD} WITH DATA")
    check(db, OLD, "w")
    assert db.execute("SHOW CREATE w").scalar().count("DATA") == 0
    error = refused(db, f"CREATE MATERIALIZED VIEW x AS {OLD} WITH NO DATA")
    assert error.sqlstate == "0A000"
    assert error.position == len(f"CREATE MATERIALIZED VIEW x AS {OLD} ") + 1
    db.execute("CREATE VIEW plain AS SELECT 'with data' AS data")
    assert db.execute("SELECT * FROM plain").scalar() == "with data"


def test_catalogs_show_the_view(db: Database) -> None:
    assert db.execute("SELECT relkind FROM pg_class WHERE relname = 'v'").rows() == [("m",)]
    assert db.execute("SELECT matviewname, ispopulated FROM pg_matviews").rows() == [("v", True)]
    assert db.execute("SELECT table_type FROM information_schema.tables WHERE table_name = 'v'").rows() == [("VIEW",)]
    columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'v' ORDER BY ordinal_position"
    assert [row[0] for row in db.execute(columns).rows()] == ["k", "n", "total"]
    for relation in ("weft_tables", "weft_indexes"):
        assert db.execute(f"SELECT count(*) FROM {relation} WHERE table_name NOT IN ('t', 'v')").scalar() == 0


def test_all_of_it_over_the_wire() -> None:
    with serve(Engine.open(None), port=0) as server, weftdb.connect(server.address) as db:
        db.execute(DDL)
        fill(db, 1, 500)
        db.execute(f"CREATE MATERIALIZED VIEW v AS {OLD}")
        result = db.execute("VERIFY MATERIALIZED VIEW v")
        assert result.rows() == []
        assert result.notices == ('0 of 7 groups of "v" differ from its 500 rows',)
        db.execute(f"CREATE OR REPLACE MATERIALIZED VIEW v AS {NEW}")
        db.execute("ALTER MATERIALIZED VIEW v RENAME TO w")
        check(db, NEW, "w")
        assert right(db, "w")
        with db.snapshot() as snapshot:
            assert right(snapshot, "w")
        with db.transaction(read_only=True) as txn:
            assert right(txn, "w")
            with pytest.raises(Invalid, match="READ ONLY"):
                txn.execute(f"CREATE OR REPLACE MATERIALIZED VIEW w AS {OLD}")


def test_show_create_makes_the_view_again(db: Database) -> None:
    db.execute(f"CREATE MATERIALIZED VIEW named (a, b, c) AS {OLD}")
    db.execute("COMMENT ON COLUMN named.b IS 'rows'")
    for name in ("v", "named"):
        shown = db.execute(f"SHOW CREATE {name}").scalar()
        db.execute(shown.replace(f"VIEW {name}", "VIEW again").replace(f"COLUMN {name}", "COLUMN again"))
        assert db.execute("SHOW CREATE again").scalar().replace("again", name) == shown
        assert db.execute("SELECT * FROM again ORDER BY 1").rows() == check(db, OLD, name)
        assert right(db, "again")
        db.execute("DROP MATERIALIZED VIEW again")
    shown = db.execute("SHOW CREATE named").scalar()
    assert shown.startswith('CREATE MATERIALIZED VIEW named ("a", "b", "c") AS SELECT')


def test_a_view_over_a_view_keeps_it_from_being_replaced_and_is_verified(db: Database) -> None:
    db.execute(
        "CREATE MATERIALIZED VIEW above AS SELECT k % 2 AS odd, sum(n) AS n, sum(total) AS sums FROM v GROUP BY k % 2"
    )
    assert right(db, "above")
    for sql in (f"CREATE OR REPLACE MATERIALIZED VIEW v AS {OLD}", "ALTER MATERIALIZED VIEW v RENAME TO w"):
        error = refused(db, sql)
        assert error.sqlstate == "2BP01"
        assert '"above" depends on it' in error.message
    fill(db, 501, 800)
    db.execute("DELETE FROM t WHERE k = 3 AND id % 2 = 0")
    assert right(db)
    assert right(db, "above")
    sampler = db.engine.maintenance.sampler
    sampler._rows_left = 1e9
    for _ in range(20):
        sampler.look()
    assert sampler.sampled.groups > 20
    assert sampler.sampled.mismatches == 0
    db.execute("CREATE OR REPLACE MATERIALIZED VIEW above AS SELECT k % 3 AS k, sum(n) AS n FROM v GROUP BY k % 3")
    assert right(db, "above")
    notices = db.execute("DROP MATERIALIZED VIEW v CASCADE").notices
    assert notices == ('drop cascades to materialized view "above"',)
    assert len(stored(db)) == 1
