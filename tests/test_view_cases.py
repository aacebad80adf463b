"""Cases of public suites on incremental views: golden scripts beside PostgreSQL, and what takes more than one session.

tests/golden/views/*.test hold the facts that Materialize, RisingWave, Feldera (DBSP), TimescaleDB, Calcite, pg_ivm and
others test, told anew, with the project and its subject; tests/support/view_scripts.py says how they are run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soak
import weftdb
from from_rows import from_rows
from view_scripts import Twice
from weftdb.base.errors import Conflict
from weftdb.bench import sqllogic

SCRIPTS = sorted((Path(__file__).parent / "golden" / "views").glob("*.test"))
IN_SEGMENTS = ("changes", "levels")
"""Run also with all rows and groups in segments; in the long run all are."""


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("flushes", [False, True], ids=["in memory", "in segments"])
def test_scripts_of_views_pass_with_and_without_matching(path: Path, flushes: bool) -> None:
    if flushes and soak.FACTOR == 1 and path.stem not in IN_SEGMENTS:
        pytest.skip("in the long run only")
    twice = Twice(flushes=flushes)
    outcome = sqllogic.run_script(path, twice, failures_max=20)
    twice.close()
    assert outcome.failed == 0, outcome.failures
    assert outcome.passed > 30


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("-- View above answers", "-- View rich answers"),
        ("-- View: none answers for emps\n-- not View rich", "-- View rich answers for emps, since\n-- not View rich"),
        ("its condition salary > 500 follows", "its condition salary > 501 follows"),
    ],
)
def test_what_explain_does_not_say_fails(right: str, wrong: str, tmp_path: Path) -> None:
    text = next(path for path in SCRIPTS if path.stem == "implication").read_text()
    assert right in text
    path = tmp_path / "wrong.test"
    path.write_text(text.replace(right, wrong, 1))
    twice = Twice()
    outcome = sqllogic.run_script(path, twice, records_max=12)
    twice.close()
    assert (outcome.failed, "EXPLAIN says" in outcome.failures[0].why) == (1, True)


# -- the key-value interface, transactions side by side, restarts ----------------------------------------------------

QUERY = "SELECT g, count(*) AS n, count(x) AS nx, sum(x) AS s FROM t GROUP BY g"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Any]:
    database = weftdb.open(tmp_path / "data")
    database.execute("CREATE TABLE t (id INT PRIMARY KEY, g TEXT, x INT)")
    database.execute(f"CREATE MATERIALIZED VIEW v AS {QUERY}")
    yield database
    database.close()


def groups(on: Any) -> list[Any]:
    """The view's rows, which are those of its query."""
    found = on.execute("SELECT * FROM v ORDER BY g NULLS FIRST").rows()
    assert found == from_rows(on, f"{QUERY} ORDER BY g NULLS FIRST").rows()
    return found


def test_the_same_put_again_counts_once_and_what_is_not_there_is_deleted_in_vain(db: Any) -> None:
    """Flink: upserts; Materialize: upsert envelopes, a delete of a key that never was."""
    table = db.table("t")
    for _ in range(3):
        table.put({"id": 1, "g": "a", "x": 5})
    table.put(
        [{"id": 2, "g": "a", "x": 1}, {"id": 2, "g": "b", "x": 2}, {"id": 2, "g": "a", "x": 3}]
    )  # the last one wins
    assert groups(db) == [("a", 2, 2, 8)]
    table.delete([(7,), (2,)])
    assert groups(db) == [("a", 1, 1, 5)]
    table.put({"id": 1, "g": None, "x": None})
    assert groups(db) == [(None, 1, 0, None)]
    table.delete([(1,)])
    assert groups(db) == []


def test_a_key_that_one_batch_deletes_twice_is_taken_out_once(db: Any) -> None:
    table = db.table("t")
    table.put([{"id": 1, "g": "a", "x": 5}, {"id": 2, "g": "a", "x": 3}])
    table.delete([(2,), (2,)])
    assert groups(db) == [("a", 1, 1, 5)]


def test_deltas_of_a_program_are_in_the_group_of_their_row(db: Any) -> None:
    """ClickHouse: sums of increments; RisingWave: updates in place."""
    table = db.table("t")
    table.put([{"id": 1, "g": "a", "x": 5}, {"id": 2, "g": "b", "x": 7}])
    for _ in range(4):
        table.add((1,), x=10)
    table.add((2,), x=-7)
    assert groups(db) == [("a", 1, 1, 45), ("b", 1, 1, 0)]


def test_a_writer_that_goes_on_where_it_stopped_counts_no_row_twice(db: Any) -> None:
    """Kafka sinks: a batch that is sent again after a failure."""
    rows = [{"id": number, "g": "abc"[number % 3], "x": number} for number in range(90)]
    for until in (30, 60, 90):
        with db.table("t").writer(name="loader") as writer:
            for row in rows[writer.sequence : until]:
                writer.put(row)
    assert groups(db) == [(g, 30, 30, sum(range(first, 90, 3))) for first, g in enumerate("abc")]


def test_who_loses_a_conflict_has_changed_no_group(db: Any) -> None:
    """pg_ivm: concurrent transactions of one group."""
    db.execute("INSERT INTO t VALUES (1, 'a', 1), (2, 'a', 2)")
    winner, loser, other = db.transaction(), db.transaction(), db.transaction()
    winner.execute("UPDATE t SET g = 'b' WHERE id = 1")
    loser.execute("UPDATE t SET g = 'c', x = 100 WHERE id IN (1, 2)")
    other.execute("INSERT INTO t VALUES (3, 'a', 3), (4, 'b', 4)")
    assert groups(winner) == [("a", 1, 1, 2), ("b", 1, 1, 1)]
    assert groups(loser) == [("c", 2, 2, 200)]
    assert groups(other) == [("a", 3, 3, 6), ("b", 1, 1, 4)]
    winner.commit()
    other.commit()
    with pytest.raises(Conflict):
        loser.commit()
    assert groups(db) == [("a", 2, 2, 5), ("b", 2, 2, 5)]


def test_groups_that_were_emptied_stay_so_after_a_restart(db: Any, tmp_path: Path) -> None:
    """RisingWave: recovery in the middle of changes; TimescaleDB: aggregates of dropped rows."""
    db.execute("INSERT INTO t SELECT i, 'g' || i % 3, i FROM generate_series(1, 30) AS s(i)")
    db.engine.maintenance.flush()
    db.execute("DELETE FROM t WHERE g = 'g1'")
    db.execute("UPDATE t SET x = NULL WHERE g = 'g2'")
    before = groups(db)
    db.close()
    with weftdb.open(tmp_path / "data") as again:
        assert groups(again) == before == [("g0", 10, 10, 165), ("g2", 10, 0, None)]
        again.execute("INSERT INTO t VALUES (1, 'g1', 1)")
        assert groups(again)[1] == ("g1", 1, 1, 1)
        assert again.execute("VERIFY MATERIALIZED VIEW v").rows() == []


def test_a_row_number_that_one_batch_deletes_twice_is_taken_out_once(db: Any) -> None:
    db.execute("CREATE TABLE loose (g TEXT, x INT); CREATE INDEX ON loose (x)")
    db.execute("CREATE MATERIALIZED VIEW w AS SELECT g, count(*) AS n, sum(x) AS s FROM loose GROUP BY g")
    db.execute("INSERT INTO loose VALUES ('a', 5), ('a', 3), ('a', 4)")
    with db.transaction() as txn:
        txn.execute("DELETE FROM loose WHERE x = 3")
        txn.execute("DELETE FROM loose USING (VALUES (4), (4)) AS v(x) WHERE loose.x = v.x")
    assert db.execute("SELECT * FROM w").rows() == [("a", 1, 5)]
