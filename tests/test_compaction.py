"""Which segments are merged: those of similar size, and those of cells that have gone cold, and how many at most."""

from __future__ import annotations

import random
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import weftdb
from weftdb.engine import maintenance as maintaining
from weftdb.engine.compaction import COLD_CHECKPOINTS, COLD_SHARE, RUN_MIN
from weftdb.sql.embedded import EmbeddedDatabase

START = datetime(2024, 1, 1)
CREATE = (
    "CREATE TABLE events (k BIGINT, t TIMESTAMP, n BIGINT, PRIMARY KEY (k, t)) "
    "WITH (key = 'k', time = 't', every = '1 day')"
)


def open_database(folder: Path, **options: object) -> EmbeddedDatabase:
    database = weftdb.open(folder / "data", **{"maintenance": False, "durable": False, **options})
    assert isinstance(database, EmbeddedDatabase)
    return database


def put(database: EmbeddedDatabase, day: int, keys: range, *, n: int = 0) -> None:
    """Rows of one cell, and a checkpoint."""
    database.table("events").put([(k, START + timedelta(days=day), n) for k in keys])
    assert database.engine.flush()


def segments(database: EmbeddedDatabase) -> dict[int, list[int]]:
    """Rows of each segment, newest first, of each cell by its day; each row is in one cell."""
    with database.engine.snapshot() as snapshot:
        table = snapshot.catalog.table("events")
    cells = database.engine._state.stores[table.id].cells
    first = min(cell.slice for cell in cells)
    return {cell.slice - first: [part.rows_count for part in cell.parts] for cell in cells}


def compacted(database: EmbeddedDatabase) -> int:
    """How many merges were wanted."""
    done = 0
    while database.engine.maintenance.compact_once():
        done += 1
    return done


def test_a_cell_without_rows_for_some_checkpoints_becomes_one_segment(tmp_path: Path) -> None:
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        put(database, 0, range(1_000))
        put(database, 0, range(500, 1_500), n=1)
        put(database, 0, range(2_000, 2_200))
        for passed in range(COLD_CHECKPOINTS):
            assert not compacted(database), f"after {passed} checkpoints it may go on"
            assert len(segments(database)[0]) == 3
            put(database, 1, range(passed * 100, passed * 100 + 100))
        assert compacted(database) == 1
        found = segments(database)
        assert len(found[0]) == 1
        assert len(found[1]) == COLD_CHECKPOINTS, "the cell that takes rows is left alone"
        rows = database.execute("SELECT count(*), sum(n) FROM events").rows()
        assert rows == [(1_700 + COLD_CHECKPOINTS * 100, 1_000)]


def test_a_row_that_drops_into_a_cold_cell_does_not_have_it_written_again(tmp_path: Path) -> None:
    rows = 1_000
    few = int(COLD_SHARE * rows) // 2
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        put(database, 0, range(rows))
        put(database, 0, range(rows, rows + few))
        for n in range(COLD_CHECKPOINTS):
            put(database, 1, range(n, n + 1))
        assert not compacted(database)
        assert segments(database)[0] == [few, rows]
        put(database, 0, range(rows + few, rows + 3 * few))
        for n in range(COLD_CHECKPOINTS):
            put(database, 2, range(n, n + 1))
        compacted(database)
        assert segments(database)[0] == [rows + 3 * few]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_written_again_stays_in_proportion(tmp_path: Path, seed: int) -> None:
    """Late rows drop into old cells, some at a time, for ever: each makes at most eight be written, and its own share
    of what merging similar sizes takes.
    """
    chance = random.Random(seed)
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        next_key = 0
        for day in range(60):
            put(database, chance.choice([day // 6, chance.randrange(10)]), range(next_key, next_key + 200))
            next_key += 200
            compacted(database)
        work = database.engine.maintenance.work
        assert work.merges
        assert work.merged_rows <= (1 / COLD_SHARE + 4) * work.flushed_rows
        assert all(len(sizes) < 2 * RUN_MIN for sizes in segments(database).values())
        assert database.execute("SELECT count(*) FROM events").scalar() == next_key


def test_cold_cells_come_after_all_other_merges(tmp_path: Path) -> None:
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        put(database, 0, range(1_000))
        put(database, 0, range(1_000, 2_000))
        for n in range(RUN_MIN):
            put(database, 1, range(n, n + 1))
        assert database.engine.maintenance.compact_once()
        assert {day: len(sizes) for day, sizes in segments(database).items()} == {0: 2, 1: 1}
        assert database.engine.maintenance.compact_once()
        assert {day: len(sizes) for day, sizes in segments(database).items()} == {0: 1, 1: 1}


def test_after_a_restart_a_cell_is_cold_after_as_many_checkpoints_again(tmp_path: Path) -> None:
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        put(database, 0, range(100))
        put(database, 0, range(100, 200))
        put(database, 1, range(100))
    with open_database(tmp_path) as database:
        for n in range(COLD_CHECKPOINTS):
            assert not compacted(database)
            put(database, 2, range(n, n + 1))
        assert compacted(database) == 1
        assert segments(database)[0] == [200]


def test_rest_makes_one_segment_of_each_cell_and_the_log_small(tmp_path: Path) -> None:
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        for day in range(3):
            put(database, day, range(20_000))
            put(database, day, range(20_000, 40_000))
        log = tmp_path / "data" / "log" / "data.mdb"
        length, taken = log.stat().st_size, log.stat().st_blocks
        before = database.execute("SELECT count(*), sum(k) FROM events").rows()
        database.engine.maintenance.rest()
        assert segments(database) == {day: [40_000] for day in range(3)}
        assert log.stat().st_size == length, "LMDB knows how long its file is"
        assert log.stat().st_blocks < taken / 2
        assert database.execute("SELECT count(*), sum(k) FROM events").rows() == before
        put(database, 0, range(40_000, 60_000))
    with open_database(tmp_path) as database:
        assert database.execute("SELECT count(*) FROM events").scalar() == 140_000


def test_what_waits_is_done_by_itself_when_nobody_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintaining, "QUIET_SECONDS", 0.2)
    with open_database(tmp_path, maintenance=True) as database:
        database.execute(CREATE)
        put(database, 0, range(20_000))
        put(database, 0, range(20_000, 40_000))
        put(database, 1, range(1))
        log = tmp_path / "data" / "log" / "data.mdb"
        taken = log.stat().st_blocks
        deadline = datetime.now(UTC) + timedelta(seconds=60)
        while len(segments(database)[0]) > 1 or log.stat().st_blocks > taken / 2:
            assert datetime.now(UTC) < deadline, (segments(database), log.stat().st_blocks, taken)
            time.sleep(0.01)
        assert database.engine.maintenance.work.failures == 0
        assert database.execute("SELECT count(*) FROM events").scalar() == 40_001


def test_a_file_of_which_a_third_is_not_needed_is_emptied_when_nobody_commits(tmp_path: Path) -> None:
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        table = database.table("events")
        table.put(
            [(k, START + timedelta(days=day), k) for day, count in ((0, 40_000), (1, 60_000)) for k in range(count)]
        )
        database.engine.flush()
        put(database, 0, range(40_000, 80_000))
        maintenance = database.engine.maintenance
        assert maintenance.compact_once(cold=False) is False
        maintenance.rest()
        assert segments(database) == {0: [80_000], 1: [60_000]}
        files = (tmp_path / "data" / "segments").iterdir()
        needed = sum(segment.description.place.length for segment in maintenance._segments())
        assert sum(file.stat().st_size for file in files) < 1.01 * needed
        assert database.execute("SELECT count(*), sum(n) FROM events WHERE k >= 40000").rows() == [
            (60_000, sum(range(40_000, 60_000)))
        ]


def test_a_merge_of_a_cold_cell_rests_while_rows_come_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_database(tmp_path) as database:
        maintenance = database.engine.maintenance
        now, rests = [100.0], list[float]()
        monkeypatch.setattr(maintaining, "monotonic", lambda: now[0])

        def rest(seconds: float) -> bool:
            rests.append(seconds)
            now[0] += seconds
            return False

        monkeypatch.setattr(maintenance._stopping, "wait", rest)
        pause = maintenance._patiently(10.0)
        for rows_came in (False, True, False, True, True, True):
            now[0] += 1.0  # of work
            maintenance._sequencer.logged_bytes += rows_came
            pause(1)
        assert rests == [3.0, 3.0, 3.0, 1.0]


def test_a_merge_of_a_cold_cell_lets_a_flush_go_first_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        put(database, 0, range(100))
        put(database, 0, range(100, 200))
        for n in range(COLD_CHECKPOINTS):
            put(database, n + 1, range(n, n + 1))
        maintenance = database.engine.maintenance
        maintenance._not_flushing.clear()
        merging = threading.Thread(target=maintenance.compact_once)
        merging.start()
        merging.join(0.3)
        assert merging.is_alive()
        assert not maintenance.work.merges, "a flush is under way"
        maintenance._not_flushing.set()
        merging.join()
        assert maintenance.work.merges == 1
        put(database, 0, range(200, 400))
        for n in range(COLD_CHECKPOINTS):
            put(database, n + 5, range(n, n + 1))
        monkeypatch.setattr(maintaining, "PATIENCE_SECONDS", 0.1)
        maintenance._not_flushing.clear()
        assert maintenance.compact_once()
        assert segments(database)[0] == [400]
