"""What maintained views keep of values, case by case: ``min``, ``max``, ``count(DISTINCT x)``, ``first``, ``last``;
test_view_model.py has random ones.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soak
import weftdb
from from_rows import from_rows, from_views
from weftdb.base.errors import Invalid, LimitExceeded
from weftdb.engine.aggregates import build
from weftdb.engine.cells import TableStore

Database = Any

QUERY = (
    "SELECT k, min(x) AS low, max(x) AS high, count(DISTINCT x) AS n, max(y) FILTER (WHERE x > 1) AS hy, min(s) AS s, "
    "count(*) AS rows FROM t GROUP BY k"
)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = weftdb.open(tmp_path / "data")
    database.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, k INT, x INT, y DOUBLE PRECISION, s TEXT)")
    yield database
    database.close()


def made(db: Database) -> None:
    assert not db.execute(f"CREATE MATERIALIZED VIEW v AS {QUERY}").notices


def check(on: Database) -> dict[Any, tuple[Any, ...]]:
    shown = on.execute("SELECT * FROM v ORDER BY 1").rows()
    assert shown == from_rows(on, f"{QUERY} ORDER BY 1").rows()
    return {row[0]: row[1:] for row in shown}


def verified(db: Database) -> None:
    assert db.execute("VERIFY MATERIALIZED VIEW v").rows() == []


def insert(on: Database, *rows: tuple[Any, ...]) -> None:
    for row in rows:
        on.execute("INSERT INTO t VALUES ($1, $2, $3, $4, $5)", [*row, *[None] * (5 - len(row))])


def test_the_extreme_value_goes_and_the_next_one_is_found_down_to_none(db: Database) -> None:
    made(db)
    insert(db, (1, 1, 5), (2, 1, 3), (3, 1, 9), (4, 1, 3), (5, 1, None), (6, None, 7))
    assert check(db)[1][:3] == (3, 9, 3)
    assert check(db)[None][:3] == (7, 7, 1)
    db.execute("DELETE FROM t WHERE id = 2")
    assert check(db)[1][:3] == (3, 9, 3), "it is there once more"
    db.execute("DELETE FROM t WHERE id = 4")
    assert check(db)[1][:3] == (5, 9, 2)
    db.execute("UPDATE t SET x = 4 WHERE id = 3")
    assert check(db)[1][:3] == (4, 5, 2)
    db.execute("UPDATE t SET k = 2 WHERE id = 3")
    assert (check(db)[1][:3], check(db)[2][:3]) == ((5, 5, 1), (4, 4, 1))
    db.execute("DELETE FROM t WHERE id = 1")
    assert check(db)[1] == (None, None, 0, None, None, 1), "the row that is left has no value"
    db.execute("DELETE FROM t WHERE id = 5")
    assert set(check(db)) == {2, None}
    db.execute("DELETE FROM t")
    assert check(db) == {}
    insert(db, (1, 1, 5))
    assert check(db)[1][:3] == (5, 5, 1)
    verified(db)


def test_values_are_sought_in_segments_and_in_memory(db: Database) -> None:
    made(db)
    for part in range(4):
        db.execute(
            "INSERT INTO t SELECT g, g % 3, g * 7919 % 1000, g * 0.5, 's' || g % 50 "
            "FROM generate_series($1::bigint, $2::bigint) g",
            [part * 300, part * 300 + 299],
        )
        if part % 2:
            db.engine.maintenance.flush()
    for bound in (100, 300, 500, 700, 900):
        db.execute("DELETE FROM t WHERE x < $1 OR x > 1200 - $1", [bound])
        check(db)
        if bound == 300:
            db.engine.maintenance.flush()
            db.engine.compact()
            verified(db)
    db.execute("UPDATE t SET x = id % 100 - 50")
    check(db)
    verified(db)


def test_values_are_kept_through_restart_and_read_in_the_past(tmp_path: Path) -> None:
    with weftdb.open(tmp_path / "data") as db:
        db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, k INT, x INT, y DOUBLE PRECISION, s TEXT)")
        made(db)
        db.execute("INSERT INTO t SELECT g, g % 3, g % 100, g, 's' FROM generate_series(1, 500) g")
        before, version = check(db), db.execute("SELECT 1").version
        db.engine.maintenance.flush()
        db.execute("DELETE FROM t WHERE x < 40")
        check(db)
    with weftdb.open(tmp_path / "data") as db:
        check(db)
        db.execute("DELETE FROM t WHERE x < 60 OR x > 70")
        assert {row[1:3] for row in db.execute("SELECT * FROM v").rows()} == {(60, 70)}
        check(db)
        past = db.execute(f"SELECT * FROM v AS OF VERSION {version}").rows()
        assert {row[0]: row[1:] for row in past} == before
        verified(db)


def test_nan_is_the_greatest_and_zeros_are_one_value(db: Database) -> None:
    query = "SELECT k, min(y) AS low, max(y) AS high, count(DISTINCT y) AS n FROM t GROUP BY k"
    db.execute(f"CREATE MATERIALIZED VIEW w AS {query}")
    insert(db, (1, 1, 1, 0.0), (2, 1, 1, -0.0), (3, 1, 1, float("nan")), (4, 1, 1, float("inf")), (5, 1, 1, None))
    (row,) = db.execute("SELECT * FROM w").rows()
    assert (row[1], str(row[2]), row[3]) == (0.0, "nan", 3)
    db.execute("DELETE FROM t WHERE id = 3")
    assert db.execute("SELECT * FROM w").rows() == from_rows(db, query).rows() == [(1, 0.0, float("inf"), 2)]
    db.execute("DELETE FROM t WHERE id = 1")
    assert db.execute("SELECT low, n FROM w").rows() == [(0.0, 2)]


def test_a_view_with_values_is_made_while_others_write(db: Database) -> None:
    db.execute("INSERT INTO t SELECT g, g % 3, g % 100, g, 's' FROM generate_series(1, 2000) g")
    stop, failed = threading.Event(), list[BaseException]()

    def write() -> None:
        number = 10_000
        try:
            while not stop.is_set():
                insert(db, (number, 1, -number, 1.0, "a"), (number + 1, 2, number, 1.0, "b"))
                db.execute("DELETE FROM t WHERE id = $1 OR id = $2", [number - 2, number - 9_990])
                number += 2
        except BaseException as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            db.execute("DROP MATERIALIZED VIEW IF EXISTS v")
            made(db)
            verified(db)
    finally:
        stop.set()
        writer.join()
    assert not failed
    check(db)
    verified(db)


def test_values_that_come_and_go_while_a_view_is_made_are_followed(db: Database) -> None:
    """Two extremes go at once, and the next one is sought among what was written before."""
    insert(db, *((number, number % 2, number) for number in range(1, 9)), (9, 5, 5))
    with db.transaction() as txn:
        txn.execute(f"CREATE MATERIALIZED VIEW v AS {QUERY}")
        db.execute("DELETE FROM t WHERE id IN (1, 3, 4, 6, 8, 9)")
        insert(db, (10, 0, 3), (11, 7, 7))
    assert check(db) == {0: (2, 3, 2, None, None, 2), 1: (5, 7, 2, None, None, 2), 7: (7, 7, 1, None, None, 1)}
    verified(db)
    for query in ("SELECT count(DISTINCT x), min(x) FROM t", "SELECT k % 2, count(DISTINCT x) FROM t GROUP BY 1"):
        assert "View v answers for t, since" in [line for (line,) in from_views(db, f"EXPLAIN {query}").rows()]
        assert sorted(from_views(db, query).rows()) == sorted(from_rows(db, query).rows())
    db.execute("DELETE FROM t WHERE id = 10")
    assert check(db)[0][:3] == (2, 2, 1)


def test_more_groups_or_values_than_may_be_held_are_refused(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    db.execute("INSERT INTO t SELECT g, g % 3, g FROM generate_series(1, 5000) g")
    monkeypatch.setattr(build, "VIEW_BUILD_BYTES_MAX", 200_000)
    with pytest.raises(LimitExceeded, match="more than 5,000 groups, which take"):
        db.execute("CREATE MATERIALIZED VIEW w AS SELECT id, x, s, sum(y) AS y, sum(x) AS z FROM t GROUP BY id, x, s")
    query = "SELECT k, count(*) AS n, min(x) AS low FROM t GROUP BY k"
    with pytest.raises(LimitExceeded, match="more than 5,000 different values in its groups, which take"):
        db.execute(f"CREATE MATERIALIZED VIEW w AS {query}")
    db.execute(f"CREATE MATERIALIZED VIEW w AS {query.replace('x', 'x % 1000')}")
    assert sorted(db.execute("SELECT * FROM w").rows()) == [(0, 1666, 0), (1, 1667, 0), (2, 1667, 0)]


def test_transactions_undone_and_large_and_dropped_slices_are_followed(tmp_path: Path) -> None:
    with weftdb.open(tmp_path / "data") as db:
        db.execute(
            "CREATE TABLE t (id BIGINT, k INT, x INT, y DOUBLE PRECISION, s TEXT, at TIMESTAMP, PRIMARY KEY (id, at)) "
            "WITH (time = 'at', every = '7 days')"
        )
        made(db)
        fill = (
            "INSERT INTO t SELECT g, g % 5, g % 1000, g * 0.5, 's' || g % 9, timestamp '2026-01-01' + g * interval "
            "'1 min' FROM generate_series($1::bigint, $2::bigint) g"
        )
        db.execute(fill, [1, 120_000])  # more than a record holds
        before = check(db)
        txn = db.transaction()
        txn.execute("DELETE FROM t WHERE x < 500")
        assert check(txn) != before
        txn.rollback()
        assert check(db) == before
        db.execute("DELETE FROM t WHERE x < 500")
        assert {row[0] for row in check(db).values()} == set(range(500, 505))
        db.execute("ALTER TABLE t SET (keep = '30 days')")
        db.execute(fill, [200_000, 200_001])
        assert db.engine.maintenance.retain()
        check(db)
        verified(db)
        db.execute("TRUNCATE t")
        assert check(db) == {}
        verified(db)


def test_a_value_that_cannot_be_computed_is_refused_where_it_counts(db: Database) -> None:
    db.execute(
        "CREATE MATERIALIZED VIEW w AS SELECT k, max(10 / x) FILTER (WHERE y > 0) AS m FROM t WHERE k > 0 GROUP BY k"
    )
    insert(db, (1, 0, 0, 1.0), (2, 1, 0, -1.0), (3, 1, 5, 1.0))
    with pytest.raises(Invalid, match="division by zero"):
        insert(db, (4, 1, 0, 1.0))
    assert db.execute("SELECT m FROM w").rows() == [(2,)]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT k, min(y) FILTER (WHERE 10 / x > 1) AS m FROM t GROUP BY k",
        "SELECT k, count(*) FILTER (WHERE 10 / x > 1) AS m FROM t GROUP BY k",
        "SELECT k, sum(10 / x) AS m FROM t GROUP BY k",
        "SELECT k, 10 / x AS m FROM t GROUP BY k, 10 / x",
        "SELECT k, count(*) AS m FROM t WHERE 10 / x > 1 GROUP BY k",
    ],
)
def test_whatever_of_a_view_cannot_be_computed_of_a_row_refuses_it_before_the_log(db: Database, query: str) -> None:
    db.execute(f"CREATE MATERIALIZED VIEW w AS {query}")
    insert(db, (1, 1, 5, 1.0), (2, 1, 1, 1.0), (3, 1, None, 1.0))
    with pytest.raises(Invalid, match="division by zero"):
        insert(db, (4, 1, 0, 1.0))
    assert sorted(map(repr, db.execute("SELECT * FROM w").rows())) == sorted(map(repr, from_rows(db, query).rows()))
    assert db.execute("VERIFY MATERIALIZED VIEW w").rows() == []


@pytest.mark.parametrize(
    "query",
    [
        "SELECT k, max(x) FILTER (WHERE 10 / x > 1) AS m FROM t WHERE s = 'a' GROUP BY k",
        "SELECT k, count(*) FILTER (WHERE 10 / x > 1) AS m FROM t WHERE s = 'a' GROUP BY k",
        "SELECT k, sum(10 / x) FILTER (WHERE s = 'a') AS m FROM t GROUP BY k",
        "SELECT k, max(10 / x) FILTER (WHERE s = 'a') AS m FROM t GROUP BY k",
        "SELECT k, sum(10 / x) AS m FROM t WHERE s = 'a' GROUP BY k",
    ],
)
def test_a_row_that_does_not_count_need_not_be_computable(db: Database, query: str) -> None:
    """Neither where the condition is false, nor where it is unknown."""
    db.execute(f"CREATE MATERIALIZED VIEW w AS {query}")
    insert(db, (1, 1, 5, 1.0, "a"), (2, 1, 0, 1.0, "b"), (3, 1, 0, 1.0, None))
    with pytest.raises(Invalid, match="division by zero"):
        insert(db, (4, 1, 0, 1.0, "a"))
    shown = {row[0]: row[1] for row in db.execute("SELECT * FROM w").rows()}
    assert shown[1] == (5 if "max(x)" in query else 2 if "10 / x)" in query else 1)
    db.execute("DELETE FROM t WHERE id = 2")
    assert db.execute("VERIFY MATERIALIZED VIEW w").rows() == []


def test_buckets_of_months_may_fail_and_those_of_days_cannot(db: Database) -> None:
    """What cannot fail is not computed twice of each row."""
    db.execute("CREATE TABLE e (id BIGINT PRIMARY KEY, at TIMESTAMP)")
    for number, (bucket, guarded) in enumerate(
        (
            ("time_bucket('1 month', at)", True),
            ("time_bucket('1 day', at)", False),
            ("time_bucket('1 day', at + interval '1 day')", True),
        )
    ):
        db.execute(f"CREATE MATERIALIZED VIEW e{number} AS SELECT {bucket} AS b, count(*) AS n FROM e GROUP BY 1")
        view = db.engine._state.catalog.relations[f"e{number}"].maintained
        assert bool(view.guards) == guarded, bucket
    with pytest.raises(Invalid):
        db.execute("INSERT INTO e VALUES (1, '294276-12-31 23:00')")


def test_groups_are_written_and_sought_only_where_they_must_be(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    made(db)
    insert(db, (1, 1, 5, 1.0, "a"), (2, 1, 3, 2.0, "b"), (3, 2, 4, 2.0, "b"), (4, 2, 1, 1.0, "c"))
    sought = list[int]()
    extreme = TableStore.extreme

    def counted(self: TableStore, low: Any, high: Any, *, last: bool) -> Any:
        sought.append(len(low))
        return extreme(self, low, high, last=last)

    monkeypatch.setattr(TableStore, "extreme", counted)
    tables = [table.id for table in db.engine._state.catalog.relations["v"].tables]

    def changed() -> list[int | None]:
        return [db.engine._state.changed_at.get(table) for table in tables]

    before = changed()
    db.execute("UPDATE t SET y = 7 WHERE x = 1")  # rows go and come: groups and values are what they were
    assert changed() == before
    assert not sought
    db.execute("UPDATE t SET x = 6, y = 2 WHERE id = 4")
    assert [a != b for a, b in zip(before, changed(), strict=True)] == [True, True, True, False], "s is what it was"
    sought.clear()
    db.execute("DELETE FROM t WHERE k = 2")
    assert not sought, "of a group that goes there is nothing to be sought"
    db.execute("DELETE FROM t WHERE x = 3")
    assert sought, "the next one is sought"
    assert check(db) == {1: (5, 5, 1, 1.0, "a", 1)}
    verified(db)


def test_one_table_of_values_serves_all_that_ask_for_it_and_is_counted(db: Database) -> None:
    made(db)
    view = db.engine._state.catalog.relations["v"].maintained
    assert [[kept.value for kept in values.kept] for values in view.values] == [
        ["least", "greatest", "distinct"], ["greatest"], ["least"],
    ]  # fmt: skip
    insert(db, (1, 1, 5, 1.0, "a"), (2, 1, 5, 2.0, "b"), (3, 2, 5, 2.0, None))
    shown = "SELECT groups, different_values, memory_bytes FROM weft_views"
    (row,) = db.execute(shown).rows()
    assert row[:2] == (2, 2 + 3 + 2)
    tables = [db.engine._state.stores[table.id] for table in db.engine._state.catalog.relations["v"].tables]
    assert row[2] == sum(store.bytes_used for store in tables)
    ids = [store.table.id for store in tables]
    db.execute("DROP MATERIALIZED VIEW v")
    assert not set(ids) & set(db.engine._state.catalog.stored)


def test_verify_finds_a_wrong_value(db: Database) -> None:
    made(db)
    insert(db, (1, 1, 5, 1.0, "a"), (2, 1, 3, 2.0, "b"))
    view = db.engine._state.catalog.relations["v"].maintained
    part = view.value_views[0]
    store = db.engine._state.stores[part.id]
    keys = next(iter(store.scan(version=db.engine._state.version).batches())).select(["1", "2"]).slice(1, 1)
    with db.engine._sequencer.paused():
        store.apply_delete(keys, version=db.engine._state.version)
    ((group, problem, column, kept, counted),) = db.execute("VERIFY MATERIALIZED VIEW v").rows()
    assert (problem, column, kept, counted) == ("missing", "count of the value", None, "1")
    assert group.startswith("k = 1, key 2 = ")


# -- first and last by a time ------------------------------------------------------------------------------------------

OF_TIME = (
    "SELECT k, first(s, x) AS f, last(s, x) AS l, last(y, x) FILTER (WHERE x > 1) AS ly, max(x) AS high "
    "FROM t GROUP BY k"
)


def test_of_rows_at_one_time_the_value_decides_and_not_who_came_first(db: Database) -> None:
    db.execute(f"CREATE MATERIALIZED VIEW w AS {OF_TIME}")
    rows = [(1, 1, 1, 0.5, "b"), (2, 1, 1, 1.5, "a"), (3, 1, 9, 2.5, "c"), (4, 1, 9, 3.5, "d"), (5, 1, None, 9.5, "e")]
    orders = list(itertools.permutations(rows))
    for order in random.Random(soak.SEED).sample(orders, 30 if soak.FACTOR == 1 else len(orders)):
        insert(db, *order)
        expected = [(1, "a", "d", 3.5, 9)]
        assert from_views(db, OF_TIME).rows() == from_rows(db, OF_TIME).rows() == expected
        assert db.execute("SELECT * FROM w").rows() == expected
        db.execute("DELETE FROM t")


def test_the_first_and_the_last_go_and_the_next_are_found_down_to_none(db: Database) -> None:
    db.execute(f"CREATE MATERIALIZED VIEW w AS {OF_TIME}")
    insert(db, (1, 1, 5, 0.5, "a"), (2, 1, 5, None, "b"), (3, 1, 7, None, None), (4, 1, 7, 1.5, "c"))
    insert(db, (5, 1, None, 2, "e"))
    for gone, left in (
        (0, ("a", None, None, 7)),  # NULL is greater than all
        (3, ("a", "c", 1.5, 7)),
        (4, ("a", "b", None, 5)),
        (1, ("b", "b", None, 5)),
        (2, (None, None, None, None)),
    ):
        db.execute("DELETE FROM t WHERE id = $1", [gone])
        assert from_rows(db, OF_TIME).rows() == [(1, *left)]
        assert db.execute("SELECT * FROM w").rows() == [(1, *left)]
        assert db.execute("VERIFY MATERIALIZED VIEW w").rows() == []
        db.engine.maintenance.flush()
    db.execute("UPDATE t SET x = 4")
    assert db.execute("SELECT f, l FROM w").rows() == [("e", "e")]
    db.execute("DELETE FROM t")
    assert db.execute("SELECT * FROM w").rows() == []


def test_first_and_last_have_one_table_of_values_and_say_so(db: Database) -> None:
    outputs = "first(s, x) AS f, last(s, x) AS l, last(DISTINCT s, x) AS d"
    db.execute(f"CREATE MATERIALIZED VIEW w AS SELECT k, {outputs} FROM t GROUP BY k")
    insert(db, (1, 1, 5, 0.5, "a"), (2, 2, 7, None, "b"))
    assert db.execute("SELECT different_values FROM weft_views").rows() == [(2,)]
    plan = [line.strip() for (line,) in db.execute("EXPLAIN SELECT last(s, x) FROM t").rows()]
    assert {"View w answers for t, since", "last(s, x) is kept"} <= set(plan)
    plan = [line.strip() for (line,) in db.execute("EXPLAIN SELECT last(y, x) FROM t GROUP BY k").rows()]
    assert "not View w: it does not keep last(y, x)" in plan
    assert "this one would: CREATE MATERIALIZED VIEW name AS SELECT k, last(y, x) FROM t GROUP BY k" in plan


PAIRS = "is of the pairs of {}, which are kept"


@pytest.mark.parametrize(
    ("kept", "asked", "proof"),
    [
        ("last(s, x)", "max(x)", PAIRS.format("last(s, x)")),
        ("first(s, x)", "min(x)", PAIRS.format("first(s, x)")),
        ("last(s, x)", "min(x)", PAIRS.format("last(s, x)")),  # of all its pairs
        ("first(y, x)", "count(DISTINCT x)", PAIRS.format("first(y, x)")),
        ("last(s, x), max(x)", "max(x)", "is kept"),
        ("last(s, x) FILTER (WHERE x > 3)", "max(x) FILTER (WHERE x > 3)", PAIRS.format("last(s, x)")),
        ("last(s, x)", "max(x) FILTER (WHERE k > 1)", PAIRS.format("last(s, x)") + ", for groups with k > 1"),
        ("last(x, y)", "max(y)", PAIRS.format("last(x, y)")),
        ("last(s, x)", "max(s)", None),
        ("last(s, x) FILTER (WHERE x > 3)", "max(x)", None),
        ("max(x)", "last(s, x)", None),
        ("last(s, x) FILTER (WHERE s IS NOT NULL)", "max(x)", None),
    ],
)
def test_the_greatest_time_is_that_of_the_last(db: Database, kept: str, asked: str, proof: str | None) -> None:
    """Where the row with it has NULL, too, and of several rows at that time."""
    db.execute(f"CREATE MATERIALIZED VIEW w AS SELECT k, {kept} FROM t GROUP BY k")
    insert(db, (1, 1, 5, 0.5, "a"), (2, 1, 9, None, None), (3, 1, 9, -0.0, "c"), (4, 1, None, float("nan"), "d"))
    insert(db, (5, 2, None, 2, "e"), (6, 3, 4, None, None), (7, 3, 4, 1.5, None), (8, 2, None, None, None))
    queries = [f"SELECT k, {asked} FROM t GROUP BY k ORDER BY k", f"SELECT {asked} FROM t"]
    for gone in range(9):
        db.execute("DELETE FROM t WHERE id = $1", [gone])
        for query in queries:
            lines = [line.strip() for (line,) in from_views(db, f"EXPLAIN {query}").rows()]
            assert ("View w answers for t, since" in lines) == (proof is not None), lines
            assert proof is None or f"{asked.split(' FILTER')[0]} {proof}" in lines, lines
            assert repr(from_views(db, query).rows()) == repr(from_rows(db, query).rows()), (gone, query)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("last(s, x * interval '1 day')", "values of interval have no order that bytes can follow"),
        ("first(y * interval '1 day', x)", "values of interval have no order that bytes can follow"),
        ("first(s, x ORDER BY id)", "first with DISTINCT or ORDER BY is not kept per group"),
    ],
)
def test_first_and_last_that_cannot_be_kept_are_refused(db: Database, output: str, reason: str) -> None:
    with pytest.raises(Invalid, match=f'materialized view "w" cannot be kept: {reason}'):
        db.execute(f"CREATE MATERIALIZED VIEW w AS SELECT k, {output} AS o FROM t GROUP BY k")
