"""Metrics and the virtual relations that show them: embedded and remote, by themselves and in queries with tables."""

from __future__ import annotations

import datetime as dt
import re
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import weftdb
from weftdb.base.errors import Conflict, Invalid
from weftdb.base.interface import Database
from weftdb.engine import conflict_index
from weftdb.engine.database import Engine
from weftdb.engine.metrics import Meters, Metric
from weftdb.engine.options import Options
from weftdb.sql.virtual import VIRTUAL


def metric(database: Database, name: str) -> float:
    return database.execute("SELECT value FROM weft_metrics WHERE name = $1", [name]).scalar()


def test_meters_are_read_by_name() -> None:
    meters = Meters()
    counter = meters.counter("flushes", "flushes", "Flushes; only grows.")
    gauge = meters.gauge("cells", "cells", "Cells.", lambda: 7)
    meters.include(lambda: [Metric(name="weft_a", value=1, unit="rows", description="A.")])
    counter.add()
    counter.add(2.5)
    assert [(found.name, found.value, found.unit) for found in meters.read()] == [
        ("weft_a", 1, "rows"),
        ("weft_cells", 7, "cells"),
        ("weft_flushes", 3.5, "flushes"),
    ]
    gauge()
    assert [found.name for found in meters.read()] == ["weft_a", "weft_flushes"]


def test_counters_lose_nothing_between_threads() -> None:
    counter = Meters().counter("x", "rows", "X.")
    threads = [threading.Thread(target=lambda: [counter.add() for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.value == 8000


def test_every_metric_has_a_name_of_its_own_a_unit_and_a_sentence() -> None:
    with weftdb.open() as db:
        metrics = db.engine.metrics()
    names = [found.name for found in metrics]
    assert sorted(set(names)) == names
    for found in metrics:
        assert found.name.startswith("weft_"), found
        assert found.unit, found
        assert found.description.endswith("."), found


def test_metrics_are_a_relation(database: Database) -> None:
    result = database.execute("SELECT * FROM weft_metrics")
    assert result.arrow().schema.names == ["name", "value", "unit", "description"]
    rows = {row[0]: row for row in result.rows()}
    assert rows["weft_memory_limit_bytes"][1] == Options().memory_limit
    assert rows["weft_memory_limit_bytes"][2] == "bytes"
    assert metric(database, "weft_process_resident_bytes") > 1 << 20


def test_commits_rows_and_conflicts_are_counted(database: Database) -> None:
    database.execute("CREATE TABLE t (a BIGINT PRIMARY KEY, b BIGINT)")
    before = metric(database, "weft_commits"), metric(database, "weft_rows_written")
    database.table("t").insert([(1, 1), (2, 2)])
    database.table("t").delete([1])
    assert metric(database, "weft_commits") == before[0] + 2
    assert metric(database, "weft_rows_written") == before[1] + 3
    transaction = database.transaction()
    transaction.table("t").put([(2, 3)])
    database.table("t").put([(2, 4)])
    with pytest.raises(Conflict):
        transaction.commit()
    assert metric(database, "weft_conflicts") == 1


def test_memory_of_tables_and_write_sets_is_counted_and_given_back(database: Database) -> None:
    database.execute("CREATE TABLE t (a BIGINT PRIMARY KEY, b BIGINT)")
    empty = metric(database, "weft_memory_memtables_bytes")
    with database.transaction() as transaction:
        transaction.table("t").insert([(n, n) for n in range(20_000)])
        assert metric(database, "weft_memory_write_sets_bytes") >= 20_000 * 16
        assert metric(database, "weft_transactions_open") == 1
        assert metric(database, "weft_memory_memtables_bytes") == empty
    assert metric(database, "weft_memory_write_sets_bytes") == 0
    assert metric(database, "weft_transactions_open") == 0
    assert metric(database, "weft_memory_memtables_bytes") > empty + 20_000 * 16
    used, parts = database.execute(
        "SELECT max(value) FILTER (WHERE name = 'weft_memory_used_bytes'), sum(value) FILTER (WHERE name LIKE "
        "'weft_memory_%_bytes' AND name NOT IN ('weft_memory_used_bytes', 'weft_memory_limit_bytes')) FROM weft_metrics"
    ).rows()[0]
    assert used == parts


def test_the_conflict_index_is_counted_and_stays_within_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    row_bytes = conflict_index.ROW_BYTES + 104
    monkeypatch.setattr(conflict_index, "CONFLICT_INDEX_BYTES_MAX", 10 * row_bytes)
    with weftdb.open() as database:
        database.execute("CREATE TABLE t (a TEXT PRIMARY KEY, b BIGINT)")
        table = database.table("t")
        seen: list[tuple[float, float]] = []
        for n in range(50):
            table.put((f"{n % 24:0100}", n))
            seen.append(
                (metric(database, "weft_conflict_index_rows"), metric(database, "weft_memory_conflict_index_bytes"))
            )
        assert seen == [(n % 11 + 1, (n % 11 + 1) * row_bytes) for n in range(50)], "it begins anew when it is full"
        table.put((f"{49 % 24:0100}", 0))
        assert metric(database, "weft_conflict_index_rows") == seen[-1][0], "a row that is in it is not in it twice"
        table.put([(str(n), n) for n in range(5_000)])
        assert metric(database, "weft_conflict_index_rows") == 0, "batches are not in it"
        assert metric(database, "weft_memory_conflict_index_bytes") == 0


def test_an_open_snapshot_is_counted_and_its_lag(database: Database) -> None:
    database.execute("CREATE TABLE t (a BIGINT PRIMARY KEY)")
    idle = metric(database, "weft_snapshots_open")
    with database.snapshot():
        database.table("t").insert([(1,)])
        assert metric(database, "weft_snapshots_open") == idle + 1
        assert metric(database, "weft_oldest_pin_lag_versions") == 1


def test_tables_are_listed_with_what_they_take(database: Database) -> None:
    database.execute("CREATE TABLE b (k BIGINT, at TIMESTAMP, PRIMARY KEY (k, at)) WITH (time = 'at', every = '1 day')")
    database.execute("CREATE TABLE a (x BIGINT)")
    database.table("b").insert([(n, f"2026-01-0{1 + n % 3} 00:00:00") for n in range(30)])
    rows = database.execute("SELECT table_name, rows, cells, memory_bytes > 0 FROM weft_tables ORDER BY 1").rows()
    assert rows == [("a", 0, 0, False), ("b", 30, 3, True)]


def test_indexes_are_listed_with_what_they_take(database: Database) -> None:
    database.execute("CREATE TABLE t (a INT PRIMARY KEY, b TEXT UNIQUE, c INT)")
    database.execute("CREATE UNIQUE INDEX few ON t (c) WHERE b > 'm' AND c > 3")
    database.execute(
        "INSERT INTO t SELECT n, CASE WHEN n > 5 THEN 'x' ELSE 'a' END || n, n FROM generate_series(1, 9) n"
    )
    found = database.execute("SELECT index_name, definition, entries, memory_bytes > 0 FROM weft_indexes ORDER BY 1")
    assert found.rows() == [
        ("few", "CREATE UNIQUE INDEX few ON t (c) WHERE b > 'm' AND c > 3", 4, True),
        ("t_b_key", "CREATE UNIQUE INDEX t_b_key ON t (b)", 9, True),
    ]


def test_virtual_relations_join_tables_and_one_another(database: Database) -> None:
    database.execute("CREATE TABLE t (name TEXT PRIMARY KEY, high DOUBLE PRECISION)")
    database.table("t").insert([("weft_memory_limit_bytes", 1.0), ("weft_stalls", 1.0)])
    assert database.execute(
        "SELECT m.name FROM weft_metrics m JOIN t USING (name) WHERE m.value > t.high ORDER BY 1"
    ).rows() == [("weft_memory_limit_bytes",)]
    assert database.execute(
        "SELECT i.table_name, w.rows FROM information_schema.tables i JOIN weft_tables w USING (table_name)"
    ).rows() == [("t", 2)]
    assert database.execute("SELECT count(*) FROM weft_metrics a JOIN weft_metrics b USING (name, value)").scalar() > 9


def test_metrics_can_be_kept_in_a_table_and_seen_through_a_view(database: Database) -> None:
    database.execute("CREATE TABLE history (name TEXT PRIMARY KEY, value DOUBLE PRECISION)")
    database.execute("INSERT INTO history SELECT name, value FROM weft_metrics WHERE unit = 'commits'")
    assert "weft_commits" in [name for (name,) in database.execute("SELECT name FROM history").rows()]
    database.execute("CREATE VIEW busy AS SELECT name, value FROM weft_metrics WHERE value > 0")
    assert database.execute("SELECT value FROM busy WHERE name = 'weft_commits'").scalar() >= 3
    database.execute("ALTER TABLE history RENAME TO past")
    with pytest.raises(Invalid, match="weft_metrics"):
        database.execute("INSERT INTO weft_metrics VALUES ('a', 1, 'b', 'c')")


def test_a_cached_statement_reads_the_metrics_of_its_moment(database: Database) -> None:
    database.execute("CREATE TABLE t (a BIGINT PRIMARY KEY)")
    seen: list[float] = []
    for n in range(3):
        database.table("t").insert([(n,)])
        seen.append(metric(database, "weft_commits"))
    assert [value - seen[0] for value in seen] == [0, 1, 2]


def test_virtual_relations_are_there_in_transactions_and_snapshots(database: Database) -> None:
    with database.transaction() as transaction:
        transaction.execute("CREATE TABLE fresh (a BIGINT PRIMARY KEY)")
        assert transaction.execute("SELECT table_name, rows FROM weft_tables").rows() == [("fresh", 0)]
        assert database.execute("SELECT count(*) FROM weft_tables").scalar() == 0
    with database.snapshot(as_of=0) as snapshot:
        assert snapshot.execute("SELECT count(*) FROM weft_tables").scalar() == 0
        assert snapshot.execute("SELECT count(*) FROM weft_metrics").scalar() > 9


def test_no_table_can_take_the_name_of_a_virtual_relation(database: Database) -> None:
    for statement in ("CREATE TABLE weft_metrics (a BIGINT)", "CREATE VIEW weft_tables AS SELECT 1 AS a"):
        with pytest.raises(Invalid, match="reserved"):
            database.execute(statement)
    with pytest.raises(Invalid, match="does not exist"):
        database.execute("SELECT * FROM weft_tabels")


def test_the_metrics_that_the_documentation_names_are_there() -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "operations.md").read_text()
    with weftdb.open() as db:
        db.execute("SELECT 1")
        there = {found.name for found in db.engine.metrics()} | set(VIRTUAL)
    named = set(re.findall(r"`(weft_[a-z_]+)`", text))
    assert len(named) > 8
    assert named <= there, named - there


def test_an_engine_without_sql_has_metrics_too() -> None:
    with Engine.open() as engine:
        assert {"weft_version", "weft_memory_limit_bytes"} <= {found.name for found in engine.metrics()}


def by_cell(db: Any) -> list[tuple[Any, ...]]:
    return db.execute(
        "SELECT table_name, slice_from, shard, age, rows, ended_rows, bytes > 0 FROM weft_segments "
        "ORDER BY table_name, slice_from, shard, age"
    ).rows()


def test_segments_are_listed_by_cell_newest_first(tmp_path: Path) -> None:
    first, second = dt.datetime(2026, 1, 5), dt.datetime(2026, 1, 12)  # Mondays
    with weftdb.open(tmp_path / "data", maintenance=False) as db:
        db.execute("CREATE TABLE b (k BIGINT, at TIMESTAMP, PRIMARY KEY (k, at)) WITH (time = 'at', every = '7 days')")
        db.execute("CREATE TABLE a (k BIGINT PRIMARY KEY, x TEXT)")
        assert by_cell(db) == []
        db.table("b").insert([(n, first + dt.timedelta(days=n)) for n in range(10)])
        db.table("a").insert([(n, "x" * 100) for n in range(1000)])
        db.engine.flush()
        assert by_cell(db) == [
            ("a", None, 0, 0, 1000, 0, True),
            ("b", first, 0, 0, 7, 0, True),
            ("b", second, 0, 0, 3, 0, True),
        ]
        db.table("b").put([(0, first), (100, first)])
        db.table("a").delete([1, 2, 3])
        assert by_cell(db)[0] == ("a", None, 0, 0, 1000, 3, True)
        db.engine.flush()
        assert by_cell(db) == [
            ("a", None, 0, 0, 1000, 3, True),
            ("b", first, 0, 0, 2, 0, True),
            ("b", first, 0, 1, 7, 1, True),
            ("b", second, 0, 0, 3, 0, True),
        ]
        (row,) = db.execute(
            "SELECT slice_to, version_low, version_high, file, position FROM weft_segments WHERE rows = 3"
        ).rows()
        assert row[0] == second + dt.timedelta(days=7)
        assert row[1] == row[2] > 0
        assert (tmp_path / "data" / "segments" / row[3]).stat().st_size > row[4]
        tables = "SELECT table_name, rows, segments, disk_bytes FROM weft_tables ORDER BY 1"
        sums = (
            "SELECT table_name, sum(rows - ended_rows), count(*), sum(bytes) FROM weft_segments GROUP BY 1 ORDER BY 1"
        )
        assert db.execute(tables).rows() == [tuple(map(_plain, found)) for found in db.execute(sums).rows()]
        assert metric(db, "weft_segments_count") == 4
        assert metric(db, "weft_segments_bytes") == db.execute("SELECT sum(disk_bytes) FROM weft_tables").scalar()
        assert metric(db, "weft_rows_count") == 997 + 11
    with weftdb.open(tmp_path / "data", maintenance=False) as db:
        assert [found[4:6] for found in by_cell(db)] == [(1000, 3), (2, 0), (7, 1), (3, 0)]


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) else value
