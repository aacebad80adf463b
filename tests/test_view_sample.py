"""The background looks at random groups of materialized views, and a group that is wrong does not stay unseen."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import weftdb
from weftdb.engine.aggregates import sample
from weftdb.engine.aggregates.sample import Sampled
from weftdb.engine.snapshot import Snapshot

Database = Any

DDL = """CREATE TABLE t (k BIGINT, at TIMESTAMP, id BIGINT, x INT, s TEXT, PRIMARY KEY (k, at, id))
WITH (key = 'k', time = 'at', every = '7 days')"""
PER_DAY = "SELECT k, time_bucket('1 day', at) AS day, count(*) AS n, sum(x) AS sx FROM t GROUP BY 1, 2"
PER_TEXT = "SELECT s, count(*) AS n FROM t WHERE x > 0 GROUP BY s"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with weftdb.open(tmp_path / "data", maintenance=False, verify_rows=50_000_000) as database:
        database.execute(DDL)
        database.execute(f"CREATE MATERIALIZED VIEW v AS {PER_DAY}")
        fill(database, 1, 2_000)
        yield database


def fill(on: Database, first: int, last: int) -> None:
    on.execute(
        "INSERT INTO t SELECT g % 7, timestamp '2026-01-01' + g * interval '1 hour', g, g % 5, "
        "CASE WHEN g % 3 = 0 THEN NULL ELSE 's' || g % 2 END FROM generate_series($1::bigint, $2::bigint) g",
        [first, last],
    )


def look(db: Database, times: int) -> Sampled:
    for _ in range(times):
        db.engine.maintenance.sampler.look()
    return db.engine.maintenance.sampler.sampled


def metric(db: Database, name: str) -> float:
    return db.execute("SELECT value FROM weft_metrics WHERE name = $1", [f"weft_{name}"]).scalar()


def change_all(db: Database, name: str, **changes: Any) -> None:
    """Damage all groups of a view, behind the engine's back."""
    state = db.engine._state
    groups = state.catalog.relations[name].groups
    with db.engine.snapshot() as snapshot:
        rows = pa.Table.from_batches(snapshot.scan(groups).batches()).to_pylist()
    rows = [row | {key.removeprefix("c"): value for key, value in changes.items()} for row in rows]
    batch = pa.RecordBatch.from_pylist(rows, schema=groups.arrow_schema)
    state.stores[groups.id].apply_put(batch, version=state.version, wall=0, by_id=True)


def test_groups_that_are_right_are_counted(db: Database) -> None:
    db.execute(f"CREATE MATERIALIZED VIEW w AS {PER_TEXT}")
    assert 75 < look(db, 50).groups <= 100  # a row that a view leaves out is in no group
    db.engine.maintenance.flush()
    fill(db, 2_001, 2_500)
    db.execute("DELETE FROM t WHERE k = 3; UPDATE t SET x = x + 1, s = NULL WHERE k = 4")
    seen = look(db, 50)
    assert (seen.mismatches, seen.passed_over) == (0, 0)
    assert metric(db, "view_groups_verified") == seen.groups > 150
    assert metric(db, "view_mismatches") == 0
    assert metric(db, "view_rows_verified") == seen.rows > 1_000


def test_a_row_that_went_before_the_view_was_made_need_not_be_computable(tmp_path: Path) -> None:
    with weftdb.open(tmp_path / "data", maintenance=False, verify_rows=50_000_000) as db:
        db.execute(
            "CREATE TABLE t (id INT PRIMARY KEY, x INT); INSERT INTO t SELECT g, 0 FROM generate_series(1, 50) g"
        )
        db.execute("DELETE FROM t WHERE id > 1; UPDATE t SET x = 5")
        db.execute("CREATE MATERIALIZED VIEW v AS SELECT 10 / x AS q, count(*) AS n FROM t GROUP BY 10 / x")
        seen = look(db, 40)
        assert seen.passed_over > 0, "rows that are there no more were looked at"
        assert seen.groups > 0
        assert seen.mismatches == 0


def test_a_damaged_group_is_counted_and_told_once(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    change_all(db, "v", c4=12345)
    with caplog.at_level(logging.ERROR, logger="weftdb"):
        assert look(db, 60).mismatches == 120
    assert metric(db, "view_mismatches") == 120
    texts = [record.getMessage() for record in caplog.records]
    assert 1 < len(texts) == len(set(texts)) < 120
    assert "VERIFY MATERIALIZED VIEW v lists all that differ" in texts[0]
    description = "SELECT description FROM weft_metrics WHERE name = 'weft_view_mismatches'"
    assert "VERIFY MATERIALIZED VIEW v" in db.execute(description).scalar()


OF_VALUES = (
    "SELECT k, min(x) AS low, count(DISTINCT s) AS texts, last(s, at) FILTER (WHERE x > 1) AS last, stddev(x) AS d "
    "FROM t GROUP BY k"
)


def test_what_groups_have_of_their_values_is_compared_too(db: Database) -> None:
    db.execute(f"DROP MATERIALIZED VIEW v; CREATE MATERIALIZED VIEW v AS {OF_VALUES}")
    db.execute("UPDATE t SET x = NULL WHERE k = 6; DELETE FROM t WHERE at > '2026-03-01' OR (k = 3 AND s IS NOT NULL)")
    seen = look(db, 30)
    assert (seen.groups, seen.mismatches, seen.passed_over) == (60, 0, 0)
    state = db.engine._state
    names = [column.name for column in state.catalog.relations["v"].groups.columns]
    for name, wrong in ((names[-4], 3), (names[-3], 7), (names[-1], "s7")):
        before, groups = seen.mismatches, state.catalog.relations["v"].groups
        with db.engine.snapshot() as snapshot:
            right = pa.Table.from_batches(snapshot.scan(groups).batches()).to_pylist()
        change_all(db, "v", **{f"c{name}": wrong})
        assert look(db, 10).mismatches > before + 10, name
        batch = pa.RecordBatch.from_pylist(right, schema=groups.arrow_schema)
        state.stores[groups.id].apply_put(batch, version=state.version, wall=0, by_id=True)
        before = seen.mismatches
        assert look(db, 10).mismatches == before


def test_groups_that_are_not_there_are_found_by_rows(db: Database) -> None:
    state = db.engine._state
    state.stores[state.catalog.relations["v"].groups.id].apply_truncate(version=state.version)
    assert look(db, 60).mismatches > 20


def test_groups_without_rows_are_found_by_groups(db: Database) -> None:
    state = db.engine._state
    groups = state.catalog.relations["v"].groups
    with db.engine.snapshot() as snapshot:
        some = next(iter(snapshot.scan(groups).batches())).slice(0, 1).to_pylist()[0]
    extra = [some | {"1": 100 + number} for number in range(500)]
    rows = pa.RecordBatch.from_pylist(extra, schema=groups.arrow_schema)
    state.stores[groups.id].apply_put(rows, version=state.version, wall=0, by_id=True)
    assert look(db, 60).mismatches > 10


def test_what_would_cost_too_much_is_passed_over_and_the_rate_is_kept(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute(f"CREATE MATERIALIZED VIEW w AS {PER_TEXT}; DROP MATERIALIZED VIEW v")
    sampler = db.engine.maintenance.sampler
    monkeypatch.setattr(sampler, "_rate", 100)
    clock = [sampler._looked_at]
    monkeypatch.setattr(sample, "monotonic", lambda: clock[0])
    for _ in range(20):
        clock[0] += 1.0
        sampler.look()
    assert sampler.sampled.groups == 0
    assert 20 < sampler.sampled.passed_over <= 40
    db.execute(f"CREATE MATERIALIZED VIEW v AS {PER_DAY}; DROP MATERIALIZED VIEW w")
    before = sampler.sampled.rows
    for _ in range(50):
        clock[0] += 1.0
        sampler.look()
    assert sampler.sampled.rows - before <= 50 * 100 + 10 * 100
    assert sampler.sampled.groups > 20
    assert sampler.sampled.mismatches == 0


def test_a_table_that_is_too_large_is_not_scanned_for_groups_that_nothing_leads_to(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is computed says nothing of columns, so the scan would be of all segments."""
    db.execute("CREATE MATERIALIZED VIEW w AS SELECT x % 3 AS r, count(*) AS n FROM t GROUP BY 1")
    db.execute("DROP MATERIALIZED VIEW v")
    scanned: list[str] = []
    scan = Snapshot.scan

    def noted(self: Snapshot, table: Any, **more: Any) -> Any:
        scanned.append(table.name)
        return scan(self, table, **more)

    monkeypatch.setattr(Snapshot, "scan", noted)
    sampler = db.engine.maintenance.sampler
    for rows_left, groups in ((1_999, 0), (2_000, 1)):
        monkeypatch.setattr(sampler, "_rate", 1)
        sampler._rows_left, sampler._looked_at = rows_left, sample.monotonic()
        monkeypatch.setattr(sample, "_SAVED_SECONDS", rows_left)
        monkeypatch.setattr(sample, "_LOOKS_MAX", 1)
        assert look(db, 1).groups == groups
        assert len(scanned) == groups
    assert sampler.sampled.passed_over == 1


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    with weftdb.open(tmp_path / "data", verify_rows=0) as db:
        db.execute(DDL)
        db.execute(f"CREATE MATERIALIZED VIEW v AS {PER_DAY}")
        fill(db, 1, 100)
        assert look(db, 10).groups == 0
    with pytest.raises(weftdb.Invalid, match="verify_rows"):
        weftdb.open(tmp_path / "data", verify_rows=-1)


def test_the_background_looks_by_itself_beside_writers(tmp_path: Path) -> None:
    with weftdb.open(tmp_path / "data", verify_rows=1_000_000) as db:
        db.execute(DDL)
        db.execute(f"CREATE MATERIALIZED VIEW v AS {PER_DAY}; CREATE MATERIALIZED VIEW w AS {PER_TEXT}")
        first = 1
        sampled = db.engine.maintenance.sampler.sampled
        for _ in range(400):
            fill(db, first, first + 99)
            db.execute("DELETE FROM t WHERE id % 7 = $1 AND k = 2", [first % 7])
            first += 100
            if sampled.groups > 8:
                break
        assert sampled.groups > 0
        assert sampled.mismatches == 0
        assert metric(db, "maintenance_failures") == 0


def test_what_is_retained_counts(db: Database) -> None:
    db.execute(f"CREATE MATERIALIZED VIEW w WITH (retain = 'all') AS {PER_DAY}")
    db.execute("ALTER TABLE t SET (keep = '14 days')")
    assert db.engine.maintenance.retain()
    assert db.execute("SELECT sum(n) FROM w").scalar() == 2_000
    db.execute("ALTER TABLE t RESET (keep)")
    db.execute(f"CREATE MATERIALIZED VIEW u WITH (retain = 'all') AS {OF_VALUES}")
    db.execute("ALTER TABLE t SET (keep = '7 days')")
    assert db.engine.maintenance.retain()
    seen = look(db, 100)
    assert seen.groups == 200
    assert (seen.mismatches, seen.passed_over) == (0, 0)
