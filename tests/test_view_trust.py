"""Trust in materialized views: VERIFY finds what is wrong, and nothing where all is right."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import weftdb
from from_rows import from_rows
from weftdb.base.errors import Invalid, Unavailable
from weftdb.engine.aggregates import verify as engine_verify
from weftdb.engine.aggregates.groups import Grouper
from weftdb.engine.schema import View

Database = Any

DDL = """CREATE TABLE t (k BIGINT, at TIMESTAMP, id BIGINT, x INT, y DOUBLE PRECISION, s TEXT, PRIMARY KEY (k, at, id))
WITH (key = 'k', time = 'at', every = '7 days')"""
QUERY = "SELECT k, s AS kind, count(*) AS n, sum(x) AS sx, avg(y) AS ay FROM t GROUP BY k, s"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = weftdb.open(tmp_path / "data")
    database.execute(DDL)
    fill(database, 500)
    database.execute(f"CREATE MATERIALIZED VIEW v AS {QUERY}")
    yield database
    database.close()


def fill(on: Database, count: int, *, first: int = 1) -> None:
    on.execute(
        "INSERT INTO t SELECT g % 7, timestamp '2026-01-01' + g * interval '1 hour', g, g % 5, g * 0.1, "
        "CASE WHEN g % 3 = 0 THEN NULL ELSE 's' || g % 2 END FROM generate_series($1::bigint, $2::bigint) g",
        [first, first + count - 1],
    )


def groups_of(db: Database, name: str = "v") -> dict[str, Any]:
    """The kept row of the group (3, 's1')."""
    view = db.engine._state.catalog.relations[name]
    with db.engine.snapshot() as snapshot:
        rows = pa.Table.from_batches(snapshot.scan(view.groups).batches()).to_pylist()
    return next(row for row in rows if row["1"] == 3 and row["2"] == "s1")


def damage(db: Database, *, name: str = "v", delete: bool = False, **changes: Any) -> None:
    """Change the group (3, 's1') behind the engine's back: columns of its table by ``c`` and their number."""
    state = db.engine._state
    view = state.catalog.relations[name]
    assert isinstance(view, View)
    assert view.groups is not None
    store = state.stores[view.groups.id]
    row = groups_of(db, name) | {key.removeprefix("c"): value for key, value in changes.items()}
    batch = pa.RecordBatch.from_pylist([row], schema=view.groups.arrow_schema)
    if delete:
        store.apply_delete(batch.select(["1", "2"]), version=state.version, by_id=True)
    else:
        store.apply_put(batch, version=state.version, wall=0, by_id=True)


def test_verify_says_that_nothing_differs(db: Database) -> None:
    result = db.execute("VERIFY MATERIALIZED VIEW v")
    assert result.rows() == []
    assert result.tag == "VERIFY MATERIALIZED VIEW"
    assert result.notices == ('0 of 21 groups of "v" differ from its 500 rows',)
    db.execute("DELETE FROM t WHERE k = 3")
    db.execute("UPDATE t SET y = 1e300 WHERE k = 4")
    db.engine.maintenance.flush()
    assert db.execute("VERIFY MATERIALIZED VIEW public.v").notices[0].startswith("0 of 18 groups")


def test_verify_reports_a_damaged_value_with_its_group_and_column(db: Database) -> None:
    kept = db.execute("SELECT sx FROM v WHERE k = 3 AND kind = 's1'").scalar()
    damage(db, c4=kept + 7)
    assert db.execute("SELECT sx FROM v WHERE k = 3 AND kind = 's1'").scalar() == kept + 7
    result = db.execute("VERIFY MATERIALIZED VIEW v")
    assert result.rows() == [("k = 3, kind = s1", "value", "sx", str(kept + 7), str(kept))]
    assert result.notices[0].startswith('1 of 21 groups of "v" differ')


def test_verify_reports_what_cannot_be_read_and_states_that_no_column_shows(db: Database) -> None:
    damage(db, c5=1)  # the high part of the sum
    rows = db.execute("VERIFY MATERIALIZED VIEW v").rows()
    assert [row[:4] for row in rows] == [("k = 3, kind = s1", "value", "sx", "error: bigint out of range")]
    right = groups_of(db)
    damage(db, c5=0, c7=right["7"] + 1)  # 2^-96 more
    rows = db.execute("VERIFY MATERIALIZED VIEW v").rows()
    assert [row[:3] for row in rows] == [("k = 3, kind = s1", "state", "state 4 (float), part 1")]
    damage(db, c7=right["7"])
    assert db.execute("VERIFY MATERIALIZED VIEW v").rows() == []


def test_verify_reports_missing_and_extra_groups(db: Database) -> None:
    damage(db, delete=True)
    rows = db.execute("VERIFY MATERIALIZED VIEW v").rows()
    assert [row[1:3] for row in rows] == [("missing", "n"), ("missing", "sx"), ("missing", "ay")]
    assert rows[0][3:] == (None, str(from_rows(db, "SELECT count(*) FROM t WHERE k = 3 AND s = 's1'").scalar()))
    db.execute("DELETE FROM t WHERE k = 5 AND s = 's0'")
    damage_extra(db)
    rows = db.execute("VERIFY MATERIALIZED VIEW v").rows()
    assert ("k = 99, kind = NULL", "extra", "n", "1", None) in rows


def damage_extra(db: Database) -> None:
    state = db.engine._state
    groups = state.catalog.relations["v"].groups
    row: dict[str, Any] = {column.name: None if column.nullable else 0 for column in groups.columns}
    batch = pa.RecordBatch.from_pylist([row | {"1": 99, "2": None, "3": 1}], schema=groups.arrow_schema)
    state.stores[groups.id].apply_put(batch, version=state.version, wall=0, by_id=True)


def test_verify_lists_the_first_and_counts_all(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weftdb.sql.verify_view.VERIFY_LISTED_MAX", 2)
    state = db.engine._state
    groups = state.catalog.relations["v"].groups
    state.stores[groups.id].apply_truncate(version=state.version)
    result = db.execute("VERIFY MATERIALIZED VIEW v")
    assert len({row[0] for row in result.rows()}) == 2
    assert result.notices[0].startswith('21 of 21 groups of "v" differ from its 500 rows, the first 2 are listed')


def test_what_does_not_fit_in_memory_is_compared_in_parts(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    db.execute("INSERT INTO t SELECT g, '2026-01-01', g, g % 5, g, 'z' FROM generate_series(1000, 150000) g")
    monkeypatch.setattr(engine_verify, "VERIFY_VIEW_BYTES", 100_000)
    monkeypatch.setattr(engine_verify, "_FOLD_ROWS", 1_000)
    spilled: list[int] = []
    spill = engine_verify._Side.spill
    monkeypatch.setattr(engine_verify._Side, "spill", lambda side: (spilled.append(1), spill(side))[1])
    assert db.execute("VERIFY MATERIALIZED VIEW v").notices == (
        '0 of 149,022 groups of "v" differ from its 149,501 rows',
    )
    assert len(spilled) >= 4
    damage(db, c4=123)
    rows = db.execute("VERIFY MATERIALIZED VIEW v").rows()
    assert [row[:4] for row in rows] == [("k = 3, kind = s1", "value", "sx", "123")]


def test_verify_runs_beside_writers_and_in_transactions_and_snapshots(db: Database) -> None:
    stop, failed = threading.Event(), list[BaseException]()

    def write() -> None:
        number = 10_000
        try:
            while not stop.is_set():
                fill(db, 50, first=number)
                db.execute("DELETE FROM t WHERE id < $1 AND id >= 10000 AND k = 2", [number])
                number += 50
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(10):
            assert db.execute("VERIFY MATERIALIZED VIEW v").notices[0].startswith("0 of ")
    finally:
        stop.set()
        thread.join()
    assert not failed
    with db.snapshot() as snapshot:
        fill(db, 10, first=90_000)
        result = snapshot.execute("VERIFY MATERIALIZED VIEW v")
        assert result.version == snapshot.version
        assert result.rows() == []
    with db.transaction(read_only=True) as txn:
        assert txn.execute("VERIFY MATERIALIZED VIEW v").rows() == []
    with db.transaction() as txn:
        txn.execute("DELETE FROM t WHERE k = 1")  # its own writes are not committed, and do not count
        assert txn.execute("VERIFY MATERIALIZED VIEW v").rows() == []


def test_verify_is_cancelled(db: Database) -> None:
    db.execute("INSERT INTO t SELECT g, '2026-01-01', g, g % 5, g, 'z' FROM generate_series(1000, 300000) g")
    with pytest.raises(Unavailable, match="statement timeout"):
        db.execute("VERIFY MATERIALIZED VIEW v", settings={"statement_timeout": "1ms"})


def test_verify_is_cancelled_while_it_reads(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two batches, of the table as of the groups."""
    change_of, begun = Grouper.change_of, list[int]()

    def slow(self: Grouper, *arguments: Any) -> Any:
        begun.append(1)
        time.sleep(0.1)
        return change_of(self, *arguments)

    fill(db, 20_000, first=1_000)
    monkeypatch.setattr(Grouper, "change_of", slow)
    with pytest.raises(Unavailable, match="statement timeout"):
        db.execute("VERIFY MATERIALIZED VIEW v", settings={"statement_timeout": "150ms"})
    assert len(begun) <= 3, "there is a batch for each of the 120 weeks at least"


def test_what_verify_does_not_take(db: Database) -> None:
    db.execute("CREATE VIEW plain AS SELECT 1 AS one")
    with pytest.raises(Invalid, match='"plain" is not a materialized view'):
        db.execute("VERIFY MATERIALIZED VIEW plain")
    with pytest.raises(Invalid, match='"t" is not a materialized view'):
        db.execute("VERIFY MATERIALIZED VIEW t")
    with pytest.raises(Invalid, match="does not exist"):
        db.execute("VERIFY MATERIALIZED VIEW w")
    with pytest.raises(Invalid, match="syntax error"):
        db.execute("VERIFY VIEW v")
    with db.transaction() as txn:
        txn.execute("CREATE MATERIALIZED VIEW w AS SELECT k, count(*) AS n FROM t GROUP BY k")
        with pytest.raises(Invalid, match="by this transaction") as error:
            txn.execute("VERIFY MATERIALIZED VIEW w")
        assert error.value.sqlstate == "0A000"


def test_states_are_compared_where_two_sides_agree_in_their_hashes(db: Database) -> None:
    """Both sides are cut into the same parts."""
    grouper = db.engine._state.catalog.relations["v"].maintained.grouper
    with db.engine.snapshot() as snapshot:
        groups = next(iter(snapshot.scan(db.engine._state.catalog.relations["v"].groups).batches()))
    left, right = grouper.aligned(groups, groups.slice(5))
    assert sorted(left.tolist()) == list(range(groups.num_rows))
    assert np.count_nonzero(right < 0) == 5
    assert (right[left >= 5] == left[left >= 5] - 5).all()


def test_a_list_of_differences_has_a_length_whatever_the_number_of_parts(db: Database) -> None:
    view = db.engine._state.catalog.relations["v"].maintained
    with db.engine.snapshot() as snapshot:
        groups = pa.Table.from_batches(snapshot.scan(view.table).batches()).combine_chunks().to_batches()[0]
    kept, found = view.grouper.no_groups, engine_verify.Verification(listed=[])
    recomputed = pa.RecordBatch.from_arrays(groups.columns, schema=kept.schema)
    for _ in range(2):
        engine_verify.compare(view, kept, recomputed, found, listed_max=25)
    assert (found.groups, found.differing, len(found.listed)) == (42, 42, 25)


def test_values_that_do_not_fit_in_memory_are_compared_with_the_groups_that_they_are_of(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute("CREATE MATERIALIZED VIEW w AS SELECT k, count(DISTINCT id) AS n, max(y) AS high FROM t GROUP BY k")
    monkeypatch.setattr(engine_verify, "VERIFY_VIEW_BYTES", 8_000)
    monkeypatch.setattr(engine_verify, "_FOLD_ROWS", 5)
    spilled = list[int]()
    spill = engine_verify._Side.spill

    def counted(self: Any) -> None:
        spilled.append(sum(batch.num_rows for batch in self._batches))
        spill(self)

    monkeypatch.setattr(engine_verify._Side, "spill", counted)
    assert db.execute("VERIFY MATERIALIZED VIEW w").rows() == []
    assert max(spilled) >= 500, "the values were too many"
    assert min(spilled) <= 7, "the groups went with them"
    damage(db, name="v", c4=0)
    assert db.execute("VERIFY MATERIALIZED VIEW w").rows() == []
    assert db.execute("VERIFY MATERIALIZED VIEW v").rows() != []
