"""Named snapshots: a version stays readable until it is dropped, whatever history, retention and restarts do."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from no_history import open_database, settle
from weftdb.base.errors import Invalid, LimitExceeded, NotFound, Unavailable
from weftdb.engine import named
from weftdb.engine.apply import State
from weftdb.engine.overlay import OPEN
from weftdb.sql.embedded import EmbeddedDatabase

CREATE = "CREATE TABLE counters (k BIGINT PRIMARY KEY, n BIGINT)"
SLICED = (
    "CREATE TABLE events (k BIGINT, at TIMESTAMP, n BIGINT, PRIMARY KEY (k, at)) "
    "WITH (time = 'at', every = '1 day', keep = '2 days')"
)


def content(database: EmbeddedDatabase, name: str, table: str = "counters") -> list[tuple[object, ...]]:
    with database.engine.snapshot(name) as snapshot:
        scan = snapshot.scan(snapshot.catalog.table(table))
        return sorted(tuple(row.values()) for batch in scan.batches() for row in batch.to_pylist())


def test_a_named_version_is_read_after_checkpoints_merges_and_restarts(tmp_path: Path) -> None:
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        database.table("counters").put([(1, 1), (2, 2)])
        made = database.engine.named.create("before")
        database.table("counters").put([(1, 10), (3, 3)])
        database.table("counters").delete([2])
        for _ in range(2):
            settle(database)
            assert content(database, "before") == [(1, 1), (2, 2)]
            database.table("counters").put([(1, 11)])
    for _ in range(2):
        with open_database(tmp_path) as database:
            assert database.engine.named.list() == [made]
            assert content(database, "before") == [(1, 1), (2, 2)]
            settle(database)
            assert content(database, "before") == [(1, 1), (2, 2)]
            with pytest.raises(Invalid, match="history goes back to version"):
                database.engine.snapshot(made.version + 1)
    with open_database(tmp_path) as database:
        database.engine.named.drop("before")
        settle(database)
        assert database.engine.named.list() == []
        with pytest.raises(Invalid, match="history goes back to version"):
            database.engine.snapshot(made.version)
        assert sum(facts.segment.rows_count for facts in database.engine.segment_facts(catalog_of(database))) == 2


def catalog_of(database: EmbeddedDatabase) -> object:
    with database.engine.snapshot() as snapshot:
        return snapshot.catalog


def test_a_checkpoint_amid_a_replay_keeps_versions_that_are_named_later(tmp_path: Path) -> None:
    """The rows of a version are replayed, and end, long before the record that names it."""
    with open_database(tmp_path, history_seconds=600) as database:
        database.execute(CREATE)
        table = database.table("counters")
        table.put([(k, 0) for k in range(500)])
        version = database.version
        for n in range(1, 20):
            table.put([(k, n) for k in range(500)])
        database.engine.named.create("early", version)
    with open_database(tmp_path, flush_bytes=1) as database:
        assert database.engine.maintenance.work.flushes > 1
        assert content(database, "early") == [(k, 0) for k in range(500)]
        settle(database)
        assert content(database, "early") == [(k, 0) for k in range(500)]


def test_names_are_found_taken_and_unknown(tmp_path: Path) -> None:
    with open_database(tmp_path) as database:
        names = database.engine.named
        names.create("one")
        with pytest.raises(Invalid, match='snapshot "one" already exists'):
            names.create("one")
        with pytest.raises(NotFound, match='"on" does not exist') as caught:
            database.engine.snapshot("on")
        assert "one" in str(caught.value)
        with pytest.raises(NotFound, match='"two" does not exist'):
            names.drop("two")
        with pytest.raises(Invalid, match="1 to 63 bytes"):
            names.create("x" * 64)
        names.create("same", "one")
        names.drop("one")
        assert [item.name for item in names.list()] == ["same"]


def test_who_reads_at_a_dropped_name_reads_on(tmp_path: Path) -> None:
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        database.table("counters").put([(1, 1)])
        database.engine.named.create("s")
        with database.engine.snapshot("s") as held:
            database.table("counters").put([(1, 2)])
            database.engine.named.drop("s")
            settle(database)
            assert held.get(held.catalog.table("counters"), (1,)) == {"k": 1, "n": 1}


def test_slices_beyond_retention_truncated_and_dropped_tables_stay_as_they_were(tmp_path: Path) -> None:
    with open_database(tmp_path) as database:
        for ddl in (CREATE, SLICED, "CREATE TABLE doomed (k BIGINT PRIMARY KEY)"):
            database.execute(ddl)
        database.execute("INSERT INTO events VALUES (1, TIMESTAMP '2024-01-01', 1)")
        database.execute("INSERT INTO counters VALUES (1, 1)")
        database.execute("INSERT INTO doomed VALUES (7)")
        database.engine.named.create("all")
        database.execute("INSERT INTO events VALUES (1, TIMESTAMP '2024-06-01', 2)")
        assert database.engine.retain()
        database.execute("TRUNCATE counters")
        database.execute("ALTER TABLE counters ADD COLUMN more TEXT")
        database.execute("DROP TABLE doomed")
        settle(database)
    with open_database(tmp_path) as database:
        for round in range(2):
            assert [row[2] for row in content(database, "all", "events")] == [1]
            assert content(database, "all") == [(1, 1)]
            assert content(database, "all", "doomed") == [(7,)]
            kept = database.engine.named.kept()
            assert [item.rows for item in kept.values()] == [5], "with two of the catalog"
            database.execute("INSERT INTO counters VALUES ($1, 5)", [round])
            settle(database)
        database.engine.named.drop("all")
        settle(database)
        assert database.execute("SELECT count(*), min(n) FROM events").rows() == [(1, 2)]
        assert "doomed" not in [store.table.name for store in _state(database).stores.values()]


def _state(database: EmbeddedDatabase) -> State:
    return database.engine.named._state  # pyright: ignore[reportPrivateUsage]


def test_an_old_snapshot_keeps_no_tables_catalogs_and_times_that_came_and_went_since(tmp_path: Path) -> None:
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        database.engine.named.create("old")
        state = _state(database)
        for round in range(3):
            for number in range(20):
                database.execute(f"CREATE TABLE t{number} (k BIGINT PRIMARY KEY)")
                database.execute(f"INSERT INTO t{number} VALUES (1)")
                database.execute(f"DROP TABLE t{number}")
            settle(database)
            assert len(state.catalogs) <= 3, round
            assert len(state.stores) <= 5, round
            assert len(state.clock.arrays()[0]) <= 62, round
        assert content(database, "old") == []


def test_no_more_are_made_than_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named, "NAMED_SNAPSHOTS_MAX", 2)
    with open_database(tmp_path) as database:
        database.engine.named.create("a")
        database.engine.named.create("b")
        with pytest.raises(LimitExceeded, match="there are 2 named snapshots"):
            database.engine.named.create("c")
        database.engine.named.drop("a")
        database.engine.named.create("c")


def test_what_keeps_too_much_is_given_up_and_says_why(tmp_path: Path) -> None:
    with open_database(tmp_path, named_snapshots_bytes=30_000) as database:
        database.execute(CREATE)
        table = database.table("counters")
        table.put([(k, 0) for k in range(10)])
        database.engine.named.create("cheap")
        table.put([(k, 0) for k in range(5_000)])
        database.engine.named.create("dear")
        assert not database.engine.maintenance.limit_named()
        table.put([(k, 1) for k in range(5_000)])
        settle(database)
        with pytest.raises(LimitExceeded, match=r"named snapshots keep .* at most 30,000"):
            database.engine.named.create("another")
        assert database.engine.maintenance.limit_named()
        settle(database)
        assert content(database, "cheap") == [(k, 0) for k in range(10)]
        with pytest.raises(NotFound, match=r'"dear" was given up: named snapshots kept .* this one freed the most'):
            database.engine.snapshot("dear")
        assert not database.engine.maintenance.limit_named()
    with open_database(tmp_path) as database:
        assert [item.lost is None for item in database.engine.named.list()] == [True, False]
        database.engine.named.drop("dear")
        assert [item.name for item in database.engine.named.list()] == ["cheap"]


def test_a_read_only_folder_reads_its_snapshots_and_makes_none(tmp_path: Path) -> None:
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        database.engine.named.create("s")
    from weftdb.engine.database import Engine

    with Engine.open(tmp_path / "data", read_only=True) as engine:
        with engine.snapshot("s") as snapshot:
            assert "counters" in snapshot.catalog.relations
        with pytest.raises(Unavailable, match="read only"):
            engine.named.create("t")


@pytest.mark.parametrize("seed", range(8))
def test_named_snapshots_are_as_a_dictionary_of_dictionaries(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    database = open_database(tmp_path)
    database.execute(CREATE)
    now: dict[int, int] = {}
    wanted: dict[str, dict[int, int]] = {}
    try:
        for step in range(60):
            match chance.randrange(7):
                case 0 | 1 | 2:
                    rows = {chance.randrange(40): step for _ in range(chance.randrange(1, 20))}
                    database.table("counters").put(list(rows.items()))
                    now |= rows
                case 3:
                    gone = [chance.randrange(40) for _ in range(5)]
                    database.table("counters").delete(gone)
                    now = {k: n for k, n in now.items() if k not in gone}
                case 4:
                    database.engine.named.create(f"s{step}")
                    wanted[f"s{step}"] = dict(now)
                case 5 if wanted:
                    name = chance.choice(sorted(wanted))
                    database.engine.named.drop(name)
                    del wanted[name]
                case _:
                    if chance.random() < 0.3:
                        database.close()
                        database = open_database(tmp_path)
                    settle(database)
                    assert database.engine.named.kept() == naive_kept(database)
            for name, rows in wanted.items():
                assert content(database, name) == sorted(rows.items())
    finally:
        database.close()


def naive_kept(database: EmbeddedDatabase) -> dict[int, named.Kept]:
    """Row by row, from what the segments hold."""
    state = _state(database)
    limit = database.engine._pins.floor  # pyright: ignore[reportPrivateUsage]
    versions = sorted(state.named_versions)
    counts = {version: [0, 0, 0, 0] for version in versions}
    for store in state.stores.values():
        for segment in store.segments:
            size = sum(place.length for place in (segment.description.place, segment.description.overlay) if place)
            found = {version: [0, 0] for version in versions}
            rows = np.arange(segment.rows_count)
            for begin, end in zip(segment.begins_of(rows), segment.overlay.ends_of(rows), strict=True):
                holders = [version for version in versions if begin <= version < end and end <= limit and end != OPEN]
                for version in holders:
                    found[version][0] += 1
                    found[version][1] += len(holders) == 1
            for version, (rows_count, own) in found.items():
                whole = [rows_count, round(rows_count * size / segment.rows_count)]
                whole += [own, round(own * size / segment.rows_count)]
                counts[version] = [a + b for a, b in zip(counts[version], whole, strict=True)]
    return {
        version: named.Kept(rows=rows, bytes=size, own_rows=own, own_bytes=own_size)
        for version, (rows, size, own, own_size) in counts.items()
    }


def test_sql_makes_and_drops_them(tmp_path: Path) -> None:
    with open_database(tmp_path, history_seconds=600) as database:
        database.execute(CREATE)
        database.execute("INSERT INTO counters VALUES (1, 1)")
        version = database.version
        assert database.execute("CREATE SNAPSHOT Today").tag == "CREATE SNAPSHOT"
        database.execute("UPDATE counters SET n = 2")
        database.execute("create /* again */ snapshot if not exists today;")
        database.execute('CREATE SNAPSHOT "Then" AS OF VERSION 0')
        database.execute(f"CREATE SNAPSHOT past AS OF {version}")
        database.execute("CREATE SNAPSHOT now AS OF TIMESTAMP '2999-01-01'")
        versions = {item.name: item.version for item in database.engine.named.list()}
        assert versions["today"] == versions["past"] == version
        assert versions["Then"] == 0
        assert versions["now"] > version
        assert content(database, "today") == [(1, 1)]
        assert database.execute("DROP SNAPSHOT past").tag == "DROP SNAPSHOT"
        database.execute("DROP SNAPSHOT IF EXISTS past")
        with pytest.raises(NotFound, match='"past" does not exist'):
            database.execute("DROP SNAPSHOT past")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CREATE SNAPSHOT", "syntax error at end of input"),
        ("CREATE SNAPSHOT s FOR x", 'syntax error at or near "FOR"'),
        ("CREATE SNAPSHOT s AS OF VERSION 10000", "version 10000 does not exist"),
        ("CREATE SNAPSHOT s AS OF VERSION 'x'", "invalid input syntax"),
        ("CREATE SNAPSHOT s AS OF VERSION 1, u", "syntax error"),
        ("CREATE SNAPSHOT s AS OF VERSION 1 JOIN u ON true", "syntax error"),
        ("DROP SNAPSHOT s, t", 'syntax error at or near ","'),
        ("DROP SNAPSHOT IF s", 'syntax error at or near "s"'),
        ("BEGIN; CREATE SNAPSHOT s", "cannot run inside a transaction block"),
        ("SELECT 1; DROP SNAPSHOT s", "cannot run inside a transaction block"),
        ("EXPLAIN CREATE SNAPSHOT s", "EXPLAIN of this statement"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, message: str) -> None:
    with open_database(tmp_path) as database:
        with pytest.raises(Invalid) as caught:
            database.execute(text)
        assert message in str(caught.value)
        assert database.engine.named.list() == []


def test_neither_a_snapshot_nor_a_read_only_transaction_makes_one(tmp_path: Path) -> None:
    with open_database(tmp_path) as database:
        for opened in (database.snapshot(), database.transaction(read_only=True)):
            with opened, pytest.raises(Invalid, match=r"read-only|READ ONLY"):
                opened.execute("CREATE SNAPSHOT s")


def test_weft_snapshots_lists_them_with_age_holders_and_cost(tmp_path: Path) -> None:
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        table = database.table("counters")
        table.put([(k, 0) for k in range(100)])
        database.execute("CREATE SNAPSHOT a")
        table.put([(k, 1) for k in range(10)])
        database.execute("CREATE SNAPSHOT b")
        with database.snapshot() as held:
            version = held.version
            table.put([(k, 2) for k in range(5)])
            settle(database)
            database.execute("CREATE SNAPSHOT c")
            read = "name, version, readers, writers, kept_rows, own_rows, lost FROM weft_snapshots"
            rows = database.execute(f"SELECT {read} ORDER BY name NULLS LAST, version").rows()
            newest = database.version
        first = database.execute("SELECT version FROM weft_snapshots WHERE name = 'a'").scalar()
        # b and the open snapshot, one version later, keep the same five rows: they are nobody's own
        assert rows == [
            ("a", first, 0, 0, 10, 10, None),
            ("b", first + 2, 0, 0, 5, 0, None),
            ("c", newest - 1, 0, 0, 0, 0, None),
            (None, version, 1, 0, 5, 0, None),
            (None, newest, 1, 0, 0, 0, None),
        ]
        cost = database.execute(
            "SELECT kept_bytes, own_bytes, age_seconds, since <= now() FROM weft_snapshots WHERE name = 'a'"
        ).rows()[0]
        assert cost[0] == cost[1] > 0
        assert 0 <= cost[2] < 60
        assert cost[3] is True


def test_weft_transactions_lists_the_open_ones(tmp_path: Path) -> None:
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        read = "SELECT principal, isolation, read_only, version IS NULL, rows_written, age_seconds < 60"
        read += " FROM weft_transactions ORDER BY since"
        assert database.execute(read).rows() == []
        with database.transaction() as writing, database.transaction(read_only=True) as reading:
            writing.table("counters").put([(1, 1), (2, 2)])
            writing.table("counters").add(3, n=1)
            reading.execute("SELECT 1")
            expected = [("weft", "snapshot", False, False, 3, True), ("weft", "snapshot", True, False, 0, True)]
            assert database.execute(read).rows() == expected
            assert writing.execute(read).rows() == expected
        assert database.execute(read).rows() == []
