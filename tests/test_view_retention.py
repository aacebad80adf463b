"""Materialized views and retention: whether a view forgets with its table, exactly either way."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soak
import weftdb
from from_rows import from_rows
from weftdb.base.errors import Invalid

Database = Any

DDL = """CREATE TABLE t (k INT, at TIMESTAMP, id INT, x INT, y DOUBLE PRECISION, PRIMARY KEY (k, at, id))
WITH (key = 'k', time = 'at', every = '1 day', keep = '10 days')"""
PER_KEY = "SELECT k, count(*) AS n, sum(x) AS sx, avg(y) AS ay FROM {} GROUP BY k"
PER_DAY = (
    "SELECT time_bucket('1 day', at) AS day, count(*) AS n, sum(y) FILTER (WHERE x > 2) AS sy FROM {} WHERE x > 0 "
    "GROUP BY time_bucket('1 day', at)"
)
VALUES = "SELECT k, count(*) AS n, min(y) AS low, max(id) AS high, count(DISTINCT x) AS different FROM {} GROUP BY k"
VIEWS = {
    "base_key": PER_KEY, "all_key": PER_KEY, "base_day": PER_DAY, "all_day": PER_DAY, "base_values": VALUES,
    "all_values": VALUES,
}  # fmt: skip
EVERYTHING = "(SELECT * FROM t UNION ALL SELECT * FROM gone) AS everything"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with weftdb.open(tmp_path / "data", maintenance=False) as database:
        database.execute(DDL)
        database.execute("CREATE TABLE gone (k INT, at TIMESTAMP, id INT, x INT, y DOUBLE PRECISION)")
        make_views(database)
        yield database


def make_views(db: Database) -> None:
    for name, query in VIEWS.items():
        retain = name.split("_")[0]
        db.execute(f"CREATE MATERIALIZED VIEW {name} WITH (retain = '{retain}') AS {query.format('t')}")


def fill(on: Database, first: int, last: int) -> None:
    """A row an hour, from 2026-01-01 on."""
    on.execute(
        "INSERT INTO t SELECT g % 5, timestamp '2026-01-01' + g * interval '1 hour', g, g % 4, g * 0.25 "
        "FROM generate_series($1::int, $2::int) g",
        [first, last],
    )


def retain(db: Database) -> int:
    """Drop what is not kept any more, and note it in ``gone``; returns how many rows that were."""
    before = set(db.execute("SELECT * FROM t").rows())
    db.engine.maintenance.retain()
    forgotten = sorted(before - set(db.execute("SELECT * FROM t").rows()))
    if forgotten:
        db.table("gone").insert(forgotten)
    return len(forgotten)


def check(db: Database) -> None:
    """All views are what their queries say, of all rows that they count."""
    for name, query in VIEWS.items():
        source = "t" if name.startswith("base") else EVERYTHING
        assert (
            db.execute(f"SELECT * FROM {name} ORDER BY 1").rows()
            == from_rows(db, f"{query.format(source)} ORDER BY 1").rows()
        ), name
        result = db.execute(f"VERIFY MATERIALIZED VIEW {name}")
        assert result.rows() == [], name
        assert result.notices[0].startswith("0 of "), name


def refused(on: Database, sql: str) -> Invalid:
    with pytest.raises(Invalid) as error:
        on.execute(sql)
    return error.value


def test_a_view_forgets_with_its_table_or_retains_what_it_counted(db: Database, tmp_path: Path) -> None:
    fill(db, 0, 700)
    with db.snapshot() as before:
        counts = [before.execute(f"SELECT sum(n) FROM {name}").scalar() for name in VIEWS]
        assert retain(db) > 400
        assert [before.execute(f"SELECT sum(n) FROM {name}").scalar() for name in VIEWS] == counts
    check(db)
    kept = db.execute("SELECT count(*) FROM t").scalar()
    assert db.execute("SELECT sum(n) FROM base_key").scalar() == kept
    assert db.execute("SELECT sum(n) FROM all_key").scalar() == 701
    assert db.execute("SELECT count(*) FROM all_day").scalar() == 30
    assert db.execute("SELECT count(*) FROM base_day").scalar() < 13
    for _ in range(3):
        db.execute("DELETE FROM t WHERE x = 1")
        fill(db, 701, 800) if _ == 1 else db.execute("UPDATE t SET y = y + 1")
        check(db)
    db.engine.maintenance.flush()
    check(db)
    db.close()
    with weftdb.open(tmp_path / "data", maintenance=False) as again:
        check(again)
        fill(again, 801, 1200)
        assert retain(again)
        check(again)
    with weftdb.open(tmp_path / "data", maintenance=False) as again:  # from the log
        check(again)


def test_random_changes_and_retention(db: Database) -> None:
    for seed in range(soak.many(1, 3)):
        chance = random.Random(soak.SEED * 1000 + seed)
        db.execute("TRUNCATE t; TRUNCATE gone; ALTER TABLE t SET (keep = '10 days')")
        hour = 0
        for step in range(40):
            match chance.randrange(8):
                case 0 | 1 | 2:
                    more = chance.randrange(1, 120)
                    fill(db, hour, hour + more - 1)
                    hour += more
                case 3:
                    db.execute("DELETE FROM t WHERE id % 7 = $1", [chance.randrange(7)])
                case 4:
                    db.execute("UPDATE t SET x = x + 1 WHERE id % 5 = $1", [chance.randrange(5)])
                    db.execute("UPDATE t SET k = (k + 1) % 5 WHERE id % 5 = 1 AND id > $1", [hour - 200])
                case 5 | 6:
                    retain(db)
                case _:
                    db.engine.maintenance.flush()
                    if chance.randrange(4) == 0:  # rows of slices that were forgotten come again, and are counted again
                        db.execute("ALTER TABLE t RESET (keep)")
                        late = max(hour - 400, 0)
                        db.execute("DELETE FROM t WHERE id BETWEEN $1 AND $1 + 20", [late])
                        fill(db, late, late + 20)
                        db.execute("ALTER TABLE t SET (keep = '10 days')")
                        hour = max(hour, late + 21)
            if step % 4 == 3:
                check(db)
        check(db)


def test_truncate_begins_anew(db: Database) -> None:
    fill(db, 0, 500)
    assert retain(db)
    db.execute("TRUNCATE t; TRUNCATE gone")
    assert db.execute("SELECT count(*) FROM all_key").scalar() == 0
    check(db)
    fill(db, 500, 600)
    check(db)


def test_what_is_retained_cannot_be_made_anew_or_read_behind_own_writes(db: Database) -> None:
    db.execute(f"CREATE OR REPLACE MATERIALIZED VIEW all_key WITH (retain = 'all') AS {PER_KEY.format('t')}")
    fill(db, 0, 500)
    with db.transaction() as txn:
        txn.execute("DELETE FROM t WHERE k = 1")
        error = refused(txn, "SELECT * FROM all_key")
        assert error.sqlstate == "55000"
        assert "after the commit" in str(error.hint)
    with db.transaction() as txn:
        assert txn.execute("SELECT count(*) FROM all_key").scalar() == 4
        txn.execute(f"CREATE MATERIALIZED VIEW fresh WITH (retain = 'all') AS {PER_KEY.format('t')}")
        assert txn.execute("SELECT count(*) FROM fresh").scalar() == 4
    assert retain(db)
    check(db)
    error = refused(db, f"CREATE OR REPLACE MATERIALIZED VIEW all_key AS {PER_KEY.format('t')}")
    assert error.sqlstate == "55000"
    assert "retains what its table has forgotten" in error.message
    db.execute(f"CREATE OR REPLACE MATERIALIZED VIEW base_key AS {PER_KEY.format('t')}")
    check(db)
    db.execute("DROP MATERIALIZED VIEW all_key")
    db.execute(f"CREATE MATERIALIZED VIEW all_key WITH (retain = 'all') AS {PER_KEY.format('t')}")
    db.execute("TRUNCATE gone")
    assert db.execute("SELECT sum(n) FROM all_key").scalar() == db.execute("SELECT count(*) FROM t").scalar()
    assert db.execute("VERIFY MATERIALIZED VIEW all_key").rows() == []


def test_verify_sees_damage_among_what_is_retained(db: Database) -> None:
    fill(db, 0, 500)
    assert retain(db)
    state = db.engine._state
    view = state.catalog.relations["all_key"].maintained
    groups = next(iter(db.engine.snapshot().scan(view.forgotten_parts[0].table).batches()))
    state.stores[view.forgotten[0]].apply_delete(groups.slice(0, 1).select(["1"]), version=state.version, by_id=True)
    rows = db.execute("VERIFY MATERIALIZED VIEW all_key").rows()
    assert {row[0] for row in rows} == {f"k = {groups.column(0)[0].as_py()}"}
    assert {row[2] for row in rows} == {"n", "sx", "ay"}


def test_what_retain_takes(db: Database) -> None:
    shown = db.execute("SHOW CREATE all_key").scalar()
    assert shown.startswith("CREATE MATERIALIZED VIEW all_key WITH (retain = 'all') AS SELECT")
    db.execute(shown.replace("VIEW all_key", "VIEW again"))
    assert db.execute("SHOW CREATE again").scalar() == shown.replace("VIEW all_key", "VIEW again")
    assert "WITH" not in db.execute("SHOW CREATE base_key").scalar()
    retains = db.execute("SELECT view_name, retain FROM weft_views ORDER BY 1").rows()
    assert retains == [("again", "all"), *((name, name.split("_")[0]) for name in sorted(VIEWS))]
    error = refused(db, f"CREATE MATERIALIZED VIEW w WITH (retain = 'some') AS {PER_KEY.format('t')}")
    assert error.sqlstate == "22023"
    assert "'base'" in str(error.hint)
    error = refused(db, f"CREATE MATERIALIZED VIEW w WITH (keep = '1 day') AS {PER_KEY.format('t')}")
    assert error.message == 'view option "keep" does not exist'
    error = refused(
        db, "CREATE MATERIALIZED VIEW w WITH (retain = 'all') AS SELECT k, median(x) AS s FROM t GROUP BY k"
    )
    assert error.sqlstate == "0A000"
    db.execute("ALTER MATERIALIZED VIEW all_key RENAME TO other; DROP MATERIALIZED VIEW other")
    assert db.execute("SELECT count(*) FROM weft_views").scalar() == len(VIEWS)


def test_a_view_over_one_that_retains_is_refused(db: Database) -> None:
    """What the table has forgotten is not among the rows that it would be made of."""
    sql = "CREATE MATERIALIZED VIEW odd AS SELECT k % 2 AS odd, sum(n) AS n FROM {} GROUP BY k % 2"
    assert "retains what its table forgets" in refused(db, sql.format("all_key")).message
    db.execute(sql.format("base_key"))
    fill(db, 0, 700)
    assert retain(db)
    check(db)
    assert db.execute("SELECT sum(n) FROM odd").scalar() == db.execute("SELECT count(*) FROM t").scalar()
    assert db.execute("VERIFY MATERIALIZED VIEW odd").rows() == []


def test_a_view_that_retains_does_not_answer_for_its_table(db: Database) -> None:
    """Even while it has forgotten nothing: what it says would change with the first slice that goes."""
    for name in ("base_key", "base_day", "base_values"):
        db.execute(f"DROP MATERIALIZED VIEW {name}")
    query = "SELECT k, count(*), sum(x) FROM t GROUP BY k ORDER BY k"
    for first, last in ((0, 200), (201, 700)):
        fill(db, first, last)
        retain(db)
        assert db.execute(query).rows() == from_rows(db, query).rows()
        assert sum(row[1] for row in db.execute(query).rows()) == db.execute("SELECT count(*) FROM t").scalar()
        lines = [line.strip() for (line,) in db.execute(f"EXPLAIN {query}").rows()]
        assert "View: none answers for t" in lines
        assert "not View all_key: it retains what the table forgets" in lines
    assert db.execute("SELECT sum(n) FROM all_key").scalar() == 701


def test_many_rows_go_a_few_slices_at_a_time(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits until the groups of years are gone; a table that nothing follows drops all at once."""
    monkeypatch.setattr("weftdb.engine.validation.DROP_ROWS_MAX", 50)
    fill(db, 0, 700)
    version = db.execute("SELECT 1").version
    rows = retain(db)
    assert rows > 400
    records = db.execute("SELECT 1").version - version - 1  # and one that notes what is gone
    assert rows // 50 <= records <= rows // 24 + 1
    check(db)
    for name in VIEWS:
        db.execute(f"DROP MATERIALIZED VIEW {name}")
    fill(db, 701, 1500)
    version = db.execute("SELECT 1").version
    assert db.engine.maintenance.retain()
    assert db.execute("SELECT 1").version == version + 1
