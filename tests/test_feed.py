"""The change feed of the engine: it brings a copy of the table forward from any version, whatever happens to rows."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import soak
import weftdb
from weftdb.base.errors import Invalid
from weftdb.engine import feed_window, load, write_set
from weftdb.engine.changes import Change
from weftdb.engine.feed import OPERATION, VERSION, Feed
from weftdb.sql.embedded import EmbeddedDatabase

CREATE = "CREATE TABLE counters (k BIGINT PRIMARY KEY, n BIGINT)"
SLICED = (
    "CREATE TABLE counters (k BIGINT, at TIMESTAMP, n BIGINT, name TEXT, PRIMARY KEY (name, k, at)) "
    "WITH (key = 'name', shards = 2, time = 'at', every = '1 day', keep = '4 days', late = 'ignore')"
)

Rows = dict[tuple[Any, ...], dict[str, Any]]


def open_database(folder: Path | None, **options: object) -> EmbeddedDatabase:
    """Without history, so that only names keep what has ended."""
    place = None if folder is None else folder / "data"
    database = weftdb.open(place, **{"maintenance": False, "history_seconds": 0, **options})
    assert isinstance(database, EmbeddedDatabase)
    return database


def settle(database: EmbeddedDatabase) -> None:
    """Drop all that may be dropped."""
    database.engine.flush()
    database.engine.compact()
    database.engine.maintenance.release()


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
