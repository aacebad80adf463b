"""The change feed of the engine: it brings a copy of the table forward from any version, whatever happens to rows."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import soak
from no_history import open_database, settle
from weftdb.base.errors import Invalid, LimitExceeded, NotFound
from weftdb.engine import feed_window, load, positions, write_set
from weftdb.engine.changes import Change
from weftdb.engine.feed import OPERATION, VERSION, Feed
from weftdb.sql.embedded import EmbeddedDatabase

CREATE = "CREATE TABLE counters (k BIGINT PRIMARY KEY, n BIGINT)"
SLICED = (
    "CREATE TABLE counters (k BIGINT, at TIMESTAMP, n BIGINT, name TEXT, PRIMARY KEY (name, k, at)) "
    "WITH (key = 'name', shards = 2, time = 'at', every = '1 day', keep = '4 days', late = 'ignore')"
)

Rows = dict[tuple[Any, ...], dict[str, Any]]


def test_commits_of_other_tables_wake_nobody() -> None:
    with open_database(None) as database:
        database.execute(CREATE)
        database.execute("CREATE TABLE others (k BIGINT PRIMARY KEY)")
        feeds = [database.engine.changes("counters"), database.engine.changes("others")]
        woken: list[str] = []

        def wait(at: int, name: str) -> None:
            assert feeds[at].wait(30)
            woken.append(name)

        threads = [
            threading.Thread(target=wait, args=(at, name)) for at, name in ((0, "own"), (0, "own"), (1, "other"))
        ]
        for thread in threads:
            thread.start()
        while len(database.engine._sequencer._listening.get(1, ())) < 3:  # pyright: ignore[reportPrivateUsage]
            time.sleep(0.001)
        for n in range(20):
            database.table("others").put((n,))
        threads[2].join(20)
        assert woken == ["other"]
        database.table("counters").put((1, 1))
        for thread in threads:
            thread.join(20)
        assert woken == ["other", "own", "own"]
        assert not database.engine._sequencer._listening, "nobody is left"  # pyright: ignore[reportPrivateUsage]
        position = feeds[1].position = database.version
        dropped = threading.Thread(target=wait, args=(1, "dropped"))
        dropped.start()
        database.execute("DROP TABLE others")
        dropped.join(20)
        assert woken[3:] == ["dropped"]
        assert database.version > position
        feeds[0].position = database.version
        assert not feeds[0].wait(0.01)


def content(database: EmbeddedDatabase, names: tuple[str, ...]) -> Rows:
    rows = database.execute("SELECT * FROM counters").arrow().to_pylist()
    return {tuple(row[name] for name in names): row for row in rows}


def batches(feed: Feed) -> Iterator[pa.RecordBatch]:
    while (batch := feed.read()) is not None:
        yield batch


def replay(batch: pa.RecordBatch, copy: Rows, names: tuple[str, ...], *, after: int, before: bool) -> int:
    """Bring a copy forward by a batch, which must fit it exactly. Returns the version of its last row."""
    seen: set[tuple[object, ...]] = set()
    older: dict[str, Any] | None = None
    for row in batch.to_pylist():
        operation, version = row.pop(OPERATION), row.pop(VERSION)
        key = tuple(row[name] for name in names)
        assert version >= after, "versions ascend"
        after = version
        if operation == "before":
            assert before
            assert copy[key] == row
            older = row
            continue
        assert (version, key) not in seen, "a row changes once a version"
        seen.add((version, key))
        assert (older is not None) == (before and operation == "update")
        older = None
        match operation:
            case "insert":
                assert key not in copy
                copy[key] = row
            case "update":
                assert key in copy
                copy[key] = row
            case _:
                assert operation == "delete"
                assert copy.pop(key) == row
    return after


class Reader:
    """A feed, and the copy of the table that it keeps."""

    def __init__(self, database: EmbeddedDatabase, copy: Rows, names: tuple[str, ...], **options: Any) -> None:
        self.feed = database.engine.changes("counters", **options)
        self.copy = dict(copy)
        self.names = names
        self.before = bool(options.get("before"))
        self.options = options

    def read(self, contents: Mapping[int, Rows], *, batches_max: int = 1_000_000) -> None:
        """Bring the copy forward, and hold it against the table wherever it is whole."""
        for _ in range(batches_max):
            position = self.feed.position
            batch = self.feed.read()
            if batch is None:
                break
            last = replay(batch, self.copy, self.names, after=position + 1, before=self.before)
            if self.feed.is_whole:
                assert last <= self.feed.position
                self.check(contents)
        else:
            return
        self.check(contents)

    def check(self, contents: Mapping[int, Rows]) -> None:
        known = max(version for version in contents if version <= self.feed.position)
        assert self.copy == contents[known]


@pytest.mark.parametrize("seed", range(6 * soak.FACTOR))
@pytest.mark.parametrize("sliced", [False, True])
def test_a_copy_and_the_changes_since_are_the_table(
    tmp_path: Path, sliced: bool, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(f"{soak.SEED} {seed}")
    monkeypatch.setattr(feed_window, "FEED_ROWS_MIN", chance.choice((1, 8, 64)))
    monkeypatch.setattr(feed_window, "FEED_ROWS_MAX", chance.choice((1, 8, 100_000)))
    for module in (load, write_set):  # so that loads and transactions of some rows are installed as segments
        monkeypatch.setattr(module, "RECORD_ROWS_MAX", 25)
    names = ("name", "k", "at") if sliced else ("k",)
    database = open_database(tmp_path)
    database.execute(SLICED if sliced else CREATE)
    contents: dict[int, Rows] = {database.version: {}}
    readers: dict[str, Reader] = {}
    floors: dict[int, Rows] = {}

    def some(count: int) -> list[dict[str, Any]]:
        day = 3 + len(contents) // 12
        keys = [
            {"name": chance.choice("ab"), "at": f"2024-01-0{chance.randrange(max(1, day - 2), day + 1)}"}
            if sliced
            else {}
            for _ in range(count)
        ]
        return [{"k": chance.randrange(12), "n": chance.randrange(1_000), **key} for key in keys]

    def keys(count: int) -> list[dict[str, Any]]:
        return [{name: row[name] for name in names} for row in some(count)]

    try:
        for step in range(50):
            table = database.table("counters")
            match chance.randrange(14):
                case 0 | 1 | 2:
                    table.put(some(chance.randrange(1, 12)))
                case 3:
                    table.delete(keys(8))
                case 4:
                    key, *_ = keys(1)
                    table.add(key, n=chance.randrange(5))
                case 5:
                    with database.transaction() as transaction:
                        own = transaction.table("counters")
                        rows = some(10)
                        own.put(rows[:6])
                        own.delete([{name: row[name] for name in names} for row in rows[3:9]])
                        own.put(rows[5:7])
                        transaction.execute("UPDATE counters SET n = n + 1 WHERE k < 4")
                case 6:
                    database.execute("UPDATE counters SET n = -n WHERE k > 5")
                case 7 if chance.random() < 0.5:
                    database.execute(chance.choice(("TRUNCATE counters", "DELETE FROM counters")))
                case 8:
                    with database.engine.load("counters", Change.PUT) as loading:
                        rows = pa.Table.from_pylist(some(40))
                        if sliced:
                            rows = rows.set_column(
                                rows.schema.get_field_index("at"), "at", rows["at"].cast(pa.timestamp("us"))
                            )
                        loading.add(rows.to_batches()[0])
                        loading.commit()
                case 9:
                    database.engine.retain()
                case 10:
                    settle(database)
                case 11 if chance.random() < 0.4:
                    database.close()
                    database = open_database(tmp_path)
                    for name, reader in readers.items():
                        known = database.engine.positions.get(name).version
                        at = max(version for version in contents if version <= known)
                        readers[name] = Reader(database, contents[at], names, before=reader.before, name=name)
                case 12 if len(readers) < 3:
                    before = chance.random() < 0.5
                    start = database.version
                    readers[f"r{step}"] = Reader(
                        database, content(database, names), names, before=before, name=f"r{step}", after=start
                    )
                case _:
                    for reader in readers.values():
                        reader.read(contents, batches_max=chance.choice((1, 3, 1_000_000)))
                        if chance.random() < 0.5:
                            reader.feed.acknowledge()
            contents[database.version] = content(database, names)
            floors[database.version] = contents[database.version]
        for reader in readers.values():
            reader.read(contents)
            assert reader.copy == contents[database.version]
        floor = database.engine._pins.floor  # pyright: ignore[reportPrivateUsage]
        for version in sorted(contents):
            if version >= floor:
                reader = Reader(database, contents[version], names, after=version, before=version % 2 == 0)
                reader.read(contents)
                assert reader.copy == contents[database.version]
            elif database.engine._state.changed_at.get(100, 0) > version:  # pyright: ignore[reportPrivateUsage]
                with pytest.raises(Invalid, match=f"history goes back to version {floor}"):
                    database.engine.changes("counters", after=version).read()
    finally:
        database.close()


def test_feeds_beside_writers_flushes_and_merges_are_right_or_say_that_they_are_late(tmp_path: Path) -> None:
    seconds = 1.5 * soak.FACTOR
    database = open_database(tmp_path)
    database.execute(CREATE)
    sums: dict[int, tuple[int, int]] = {database.version: (0, 0)}  # by version: rows, and the sum of n
    written = [database.version]
    stop = threading.Event()
    failures: list[str] = []
    late: list[int] = []
    batches_read = [0, 0]

    def write() -> None:
        chance, now = random.Random(soak.SEED), dict[int, int]()
        table = database.table("counters")
        while not stop.is_set():
            if chance.random() < 0.05:
                version, now = database.execute("TRUNCATE counters").version, {}
            elif chance.random() < 0.3:
                gone = [chance.randrange(300) for _ in range(chance.randrange(1, 200))]
                version = table.delete(gone).version
                now = {k: n for k, n in now.items() if k not in gone}
            else:
                rows = {chance.randrange(300): chance.randrange(1_000) for _ in range(chance.randrange(1, 200))}
                version = table.put(list(rows.items())).version
                now |= rows
            sums[version] = (len(now), sum(now.values()))
            written[0] = version

    def tidy() -> None:
        while not stop.is_set():
            settle(database)

    def follow(place: int, name: str | None) -> None:
        while not stop.is_set():
            if name is not None:
                database.engine.changes("counters", name=name)  # from here on all is kept
            with database.snapshot() as snapshot:
                start = snapshot.version
                copy: Rows = {
                    (row["k"],): row for row in snapshot.execute("SELECT * FROM counters").arrow().to_pylist()
                }
            feed = database.engine.changes("counters", after=start, before=True, name=name)
            try:
                while not stop.is_set():
                    batch = feed.read()
                    if batch is None:
                        feed.wait(0.01)
                        continue
                    batches_read[place] += 1
                    replay(batch, copy, ("k",), after=start, before=True)
                    while feed.position > written[0] and not stop.is_set():
                        time.sleep(0.001)
                    known = max(version for version in list(sums) if version <= feed.position)
                    if feed.is_whole and known <= written[0] and not stop.is_set():
                        found = (len(copy), sum(row["n"] for row in copy.values()))
                        assert found == sums[known], f"at {feed.position}: {found}, not {sums[known]}"
                    if name is not None and batches_read[place] % 20 == 0:
                        feed.acknowledge()
                    if name is None and batches_read[place] % 10 == 0:
                        stop.wait(0.2)  # too long for a database without history
            except Invalid as error:
                if name is not None or error.sqlstate != "72000":
                    raise
                late.append(feed.position)

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # whatever it is, the test must see it
            failures.append(repr(error))
            stop.set()

    works: list[Callable[[], None]] = [write, tidy, lambda: follow(0, "named"), lambda: follow(1, None)]
    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join(30)
    database.close()
    assert not failures, failures
    assert min(batches_read) > 5, batches_read
    assert late, "a feed was slower than history is long"


def test_a_name_keeps_the_rows_of_its_table_only_and_only_what_it_has_not_read(tmp_path: Path) -> None:
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        database.execute("CREATE TABLE quiet (k BIGINT PRIMARY KEY, n BIGINT)")
        database.execute("CREATE TABLE busy (k BIGINT PRIMARY KEY, n BIGINT)")
        for table in ("counters", "quiet", "busy"):
            database.table(table).put([(1, 0), (2, 0)])
        feed = database.engine.changes("counters", name="slow")
        database.engine.changes("quiet", name="idle")
        for n in range(5):
            database.table("counters").put((1, n))
            database.table("busy").put((1, n))
            settle(database)
        kept = _rows_kept(database)
        assert kept == {"counters": 2 + 5, "quiet": 2, "busy": 2}
        slow, idle = (facts for facts in reversed(database.engine.position_facts()))
        assert (slow.position.name, slow.kept_rows) == ("slow", 5)
        assert slow.kept_bytes > 0
        assert (idle.position.name, idle.kept_rows, idle.kept_bytes) == ("idle", 0, 0)
        holds = {(fact.kind, fact.name): fact.version for fact in database.engine.horizon_facts()}
        assert holds["feed", "slow"] == slow.position.version
        assert ("feed", "idle") not in holds
        assert [batch.num_rows for batch in batches(feed)] == [5]
        feed.acknowledge()
        settle(database)
        kept = _rows_kept(database)
        assert kept["counters"] == 2


def test_a_name_that_keeps_too_much_is_given_up_and_says_why(tmp_path: Path) -> None:
    with open_database(tmp_path, feed_positions_bytes=200_000) as database:
        database.execute("CREATE TABLE counters (k BIGINT PRIMARY KEY, n TEXT)")
        database.execute("CREATE TABLE other (k BIGINT PRIMARY KEY, n BIGINT)")
        chance = random.Random(1)

        def rewrite(count: int) -> None:
            database.table("counters").put([(k, chance.randbytes(200).hex()) for k in range(count)])
            settle(database)
            database.engine.maintenance.limit_named()

        rewrite(1_000)
        feed = database.engine.changes("counters", name="dear")
        database.engine.changes("other", name="cheap")
        database.table("other").put((1, 1))
        rewrite(200)
        assert [item.lost for item in database.engine.positions.list()] == [None, None]
        rewrite(1_000)
        cheap, dear = database.engine.positions.list()
        assert cheap.lost is None
        assert dear.lost is not None
        assert "named feeds kept" in dear.lost
        for call in (feed.read, lambda: database.engine.changes("counters", name="dear"), lambda: feed.acknowledge(9)):
            with pytest.raises(Invalid, match='feed "dear" was given up at version') as failed:
                call()
            assert failed.value.sqlstate == "72000"
        settle(database)
        assert sum(_rows_kept(database).values()) == 1_001
    with open_database(tmp_path) as database:
        assert [item.lost is None for item in database.engine.positions.list()] == [True, False]
        database.engine.positions.drop("dear")
        assert [item.name for item in database.engine.positions.list()] == ["cheap"]


def test_there_may_be_so_many_names_and_none_at_a_version_that_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        old = database.version
        database.table("counters").put((1, 1))
        settle(database)
        with pytest.raises(Invalid, match=f"version {old} can no longer be read") as failed:
            database.engine.changes("counters", name="late", after=old)
        assert failed.value.sqlstate == "72000"
        with database.engine.snapshot() as snapshot:
            database.table("counters").put((1, 2))
            settle(database)
            # A snapshot keeps what it sees, and not what changed since: no feed can begin there.
            with pytest.raises(Invalid, match=f"after version {snapshot.version} are no longer kept") as failed:
                database.engine.changes("counters", name="late", after=snapshot.version)
        assert failed.value.sqlstate == "72000"
        assert database.engine.positions.list() == []
        monkeypatch.setattr(positions, "FEED_POSITIONS_MAX", 1)
        database.engine.changes("counters", name="one")
        with pytest.raises(LimitExceeded, match="there are 1 named feeds"):
            database.engine.changes("counters", name="two")


def test_a_dropped_table_stays_until_the_name_has_read_the_rest(tmp_path: Path) -> None:
    with open_database(tmp_path) as database:
        database.execute(CREATE)
        database.engine.changes("counters", name="slow")
        database.table("counters").put([(1, 1), (2, 2)])
        database.table("counters").put([(1, 3)])
        database.execute("DROP TABLE counters")
        settle(database)
    with open_database(tmp_path) as database:
        settle(database)
        (known,) = database.engine.position_facts()
        assert known.table is None
        assert known.kept_rows > 0
        feed = database.engine.changes("counters", name="slow")
        (batch,) = (feed.read(),)
        assert batch is not None
        assert batch[OPERATION].to_pylist() == ["insert", "insert", "update"]
        with pytest.raises(NotFound, match='"counters" was dropped at version'):
            feed.read()
        feed.acknowledge()
        settle(database)
        assert not database.engine._state.dropped  # pyright: ignore[reportPrivateUsage]
        database.execute(CREATE)
        with pytest.raises(Invalid, match='feed "slow" is one of a table that was dropped') as failed:
            database.engine.changes("counters", name="slow")
        assert failed.value.sqlstate == "42710"
        with pytest.raises(NotFound, match='"counters" was dropped'):
            feed.read()


def _rows_kept(database: EmbeddedDatabase) -> dict[str, int]:
    """Rows in segments, ended or not, by table."""
    with database.engine.snapshot() as snapshot:
        found = list(database.engine.segment_facts(snapshot.catalog))
    return {facts.table.name: facts.segment.rows_count for facts in found}
