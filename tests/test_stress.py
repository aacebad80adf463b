"""Everything at once: threads put, update, delete, query, alter, read the past, flush, merge; a replay must agree.

What is checked while it runs: a snapshot's base rows, its materialized view and its key-value scan say the same; a
transaction sees its own writes; nothing fails other than by a conflict or by what the statement itself caused. What is
checked at the end: the log, replayed, gives the same rows. The seed is WEFT_SEED; threads interleave as they like.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import soak
import weftdb
from from_rows import from_rows
from weftdb.base.interface import Database
from weftdb.engine.database import Engine
from weftdb.sql.embedded import EmbeddedDatabase

THREADS = 4
SECONDS = soak.many(4, 6)
START = datetime(2024, 1, 1)

EXPECTED = {
    "23505": "somebody else inserted the key",
    "23514": "the check on n",
    "72000": "the version is older than history",
    "42P01": "the table of another round is gone",
    "42P07": "the table of another round is there",
    "42701": "the column of another round is there",
    "42703": "the column of another round is gone",
}


def test_everything_at_once_leaves_what_the_log_says(tmp_path: Path) -> None:
    with weftdb.open(tmp_path / "data", durable=False, history_seconds=1) as database:
        create(database)
        run_threads(database)
        version = database.execute("SELECT 1").version
        before = contents(database)
    with weftdb.open(tmp_path / "data") as reopened:
        assert reopened.execute("SELECT 1").version == version
        assert contents(reopened) == before


def create(database: Database) -> None:
    database.execute("""
        CREATE TABLE events (
            k BIGINT, t TIMESTAMP, s TEXT, v DOUBLE PRECISION, n INT DEFAULT 5 CHECK (n < 1000), PRIMARY KEY (k, t)
        ) WITH (key = 'k', time = 't', shards = 3, every = '1 day')""")
    database.execute("CREATE TABLE notes (x BIGINT, s TEXT)")
    database.execute("CREATE MATERIALIZED VIEW per_key AS SELECT k, count(*) AS n FROM events GROUP BY k")


def engine_of(database: Database) -> Engine:
    assert isinstance(database, EmbeddedDatabase)
    return database.engine


def contents(database: Database) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    events = database.execute("SELECT * FROM events ORDER BY k, t").rows()
    notes = database.execute("SELECT x, s FROM notes ORDER BY x, s").rows()
    return events, notes


def run_threads(database: Database) -> None:
    errors: list[BaseException] = []
    until = time.monotonic() + SECONDS

    def work(worker: int) -> None:
        actions = Actions(database, worker)
        try:
            while time.monotonic() < until and not errors:
                actions.one()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class Abandoned(Exception):
    """A transaction that its own code gives up."""


class Actions:
    """What one thread does, chosen by its own generator."""

    def __init__(self, database: Database, worker: int) -> None:
        self.database = database
        self.worker = worker
        self.random = random.Random(soak.SEED * 1000 + worker)
        self.round = 0

    def one(self) -> None:
        self.round += 1
        names = (
            "put insert update delete copy compare transact alter make_table add note forget_notes look_back truncate "
            "flush merge"
        )
        action: Callable[[], None] = getattr(self, self.random.choice(names.split()))
        try:
            action()
        except (weftdb.Conflict, weftdb.NotFound, Abandoned):
            pass
        except weftdb.Invalid as error:
            if error.sqlstate not in EXPECTED:
                raise

    def key(self) -> tuple[int, datetime]:
        return self.random.randrange(50), START + timedelta(hours=self.random.randrange(200))

    def put(self) -> None:
        keys = [self.key() for _ in range(self.random.randrange(1, 300))]
        words = ["a", "bb", None]
        rows = [{"k": k, "t": t, "s": self.random.choice(words), "v": self.random.random()} for k, t in keys]
        self.database.table("events").put(rows)

    def insert(self) -> None:
        k, t = self.key()
        self.database.table("events").insert({"k": k, "t": t, "s": "x", "v": 1.0})

    def update(self) -> None:
        changed = [f"u{self.round}", self.random.randrange(50)]
        self.database.execute("UPDATE events SET s = $1, v = v + 1 WHERE k = $2", changed)

    def delete(self) -> None:
        self.database.execute("DELETE FROM events WHERE k = $1 AND t < $2", list(self.key()))

    def copy(self) -> None:
        self.database.execute(
            "INSERT INTO events (k, t, s) SELECT k + 50, t, s FROM events WHERE k < 3 ON CONFLICT DO NOTHING"
        )

    def compare(self) -> None:
        with self.database.snapshot() as snapshot:
            view = snapshot.execute("SELECT k, n FROM per_key ORDER BY k").rows()
            base = from_rows(snapshot, "SELECT k, count(*) FROM events GROUP BY k ORDER BY k").rows()
            scanned = sum(batch.num_rows for batch in snapshot.table("events").scan(columns=["k"]))
        assert base == view
        assert scanned == sum(count for _, count in base)

    def transact(self) -> None:
        with self.database.transaction() as transaction:
            k, t = self.key()
            table = transaction.table("events")
            table.put({"k": k, "t": t, "s": "mine"})
            row = table.get((k, t))
            assert row is not None
            assert row["s"] == "mine"
            transaction.execute("DELETE FROM events WHERE k = $1", [k])
            assert transaction.execute("SELECT count(*) FROM events WHERE k = $1", [k]).scalar() == 0
            if self.random.random() < 0.5:
                raise Abandoned

    def alter(self) -> None:
        names = self.database.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'events' AND column_name LIKE 'c%'"
        ).rows()
        if names and self.random.random() < 0.6:
            self.database.execute(f"ALTER TABLE events DROP COLUMN {self.random.choice(names)[0]}")
        else:
            self.database.execute(f"ALTER TABLE events ADD COLUMN c{self.worker}_{self.round} INT DEFAULT {self.round}")

    def make_table(self) -> None:
        self.database.execute(f"CREATE TABLE made{self.worker} AS SELECT k, s FROM events WHERE k < 5")
        self.database.execute(f"DROP TABLE made{self.worker}")

    def add(self) -> None:
        self.database.table("events").add(self.key(), n=1)

    def note(self) -> None:
        self.database.table("notes").insert([(self.round, "note")] * self.random.randrange(1, 50))

    def forget_notes(self) -> None:
        self.database.execute("DELETE FROM notes WHERE x % 7 = $1", [self.random.randrange(7)])

    def look_back(self) -> None:
        newest = self.database.execute("SELECT 1").version
        with self.database.snapshot(as_of=max(3, newest - self.random.randrange(20))) as snapshot:
            snapshot.execute("SELECT count(*) FROM events").scalar()

    def flush(self) -> None:
        if self.random.random() < 0.3:
            engine_of(self.database).flush()

    def merge(self) -> None:
        engine_of(self.database).maintenance.compact_once()

    def truncate(self) -> None:
        if self.random.random() < 0.02:
            self.database.execute("TRUNCATE events")
