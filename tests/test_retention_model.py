"""Retention against a dictionary of versions: random keep, late rows, transactions, flushes, snapshots and restarts.

Whatever was dropped is gone for later versions as if it had been deleted, and is there for earlier ones, also after a
restart. What is late is said by a few lines of naive code, with days counted in a loop.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import soak
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from model import Key, Model, ModelConflict, ModelTransaction, Row
from weftdb.base.errors import Conflict, Invalid
from weftdb.base.types import BIGINT, TIMESTAMP
from weftdb.engine.changes import Change
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.engine.schema import Column, Table
from weftdb.engine.snapshot import Snapshot
from weftdb.engine.transaction import Transaction

MONDAY = datetime(2026, 1, 5)
BAD_CLOCK = datetime(2100, 1, 1)
DAY = timedelta(days=1)

TIMES = st.integers(0, 4).map(lambda day: MONDAY + day * DAY + timedelta(hours=17))
KEYS = st.tuples(st.integers(0, 1), TIMES | TIMES | TIMES | st.just(BAD_CLOCK))
AMOUNTS = st.none() | st.integers(-5, 5)
PICKS = st.integers(0, 2)
KEEPS = st.none() | st.sampled_from([timedelta(hours=5), DAY, timedelta(days=1, hours=20), 3 * DAY])


class TooLate(Exception):
    """The model says: the row comes too late."""


class Keeping(Model):
    """The model with retention."""

    def __init__(self) -> None:
        super().__init__()
        self.keep: timedelta | None = None
        self.late = "refuse"
        self.newest_time: datetime | None = None

    @property
    def boundary(self) -> datetime | None:
        """The first event time that is kept."""
        if self.keep is None or self.newest_time is None:
            return None
        begin, oldest = MONDAY - 100 * DAY, self.newest_time - self.keep
        while begin + DAY <= oldest:
            begin += DAY
        return begin

    def on_time(self, transaction: ModelTransaction, *, strict: bool) -> int:
        """Take what comes too late out of the transaction, and count it, or raise TooLate."""
        boundary, rows = self.boundary, self.rows_at(self.newest)
        written = dict(transaction.written)
        for key, (kind, _) in transaction.written.items():
            if boundary is not None and kind != "delete" and key[1] < boundary and not (strict and key in rows):
                if self.late == "refuse":
                    raise TooLate(key)
                del written[key]
        count = len(transaction.written) - len(written)
        transaction.written = written
        return count

    def commit(self, transaction: ModelTransaction, *, version: int) -> None:
        super().commit(transaction, version=version)
        times = [key[1] for key, (kind, _) in transaction.written.items() if kind != "delete" and key[1] < BAD_CLOCK]
        self.newest_time = max([*times, *([self.newest_time] if self.newest_time else [])], default=None)

    def drop(self, boundary: datetime, *, version: int) -> None:
        blind = self.begin(self.newest, default=NOBODY)
        for key in list(blind.rows):
            if key[1] < boundary:
                blind.delete(key)
        super().commit(blind, version=version)


def row_of(key: Key, amount: int | None) -> Row:
    return {"k": key[0], "t": key[1], "amount": amount}


NOBODY = row_of((0, MONDAY), None)
"""What an absent row starts from, but for its key."""


class RetentionAgainstModel(RuleBasedStateMachine):
    """One table, two keys, five days and a bad clock."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="weft-retention-"))
        self.model = Keeping()
        self.transactions: dict[int, tuple[Transaction, ModelTransaction]] = {}
        self.snapshots: list[Snapshot] = []
        self.steps_since_restart = 0
        self.ignored = 0

    def opened(self) -> Engine:
        options = Options(durable=False, maintenance=False, history_seconds=self.history_seconds)
        return Engine.open(self.folder / "data", options=options)

    @initialize(history_seconds=st.sampled_from([600, 600, 0]))
    def create(self, history_seconds: int) -> None:
        self.history_seconds = history_seconds
        self.engine = self.opened()
        table = Table(
            id=self.engine.new_id(),
            name="events",
            columns=(
                Column(id=1, name="k", type=BIGINT, nullable=False),
                Column(id=2, name="t", type=TIMESTAMP, nullable=False),
                Column(id=3, name="amount", type=BIGINT),
            ),
            primary_key=(1, 2),
            key=(1,),
            time=2,
            shards=2,
            every=86_400_000_000,
            next_column_id=4,
        )
        transaction = self.engine.begin()
        transaction.create(table)
        self.model.newest = transaction.commit().version
        self.model.versions[self.model.newest] = {}

    @property
    def table(self) -> Table:
        with self.engine.snapshot() as snapshot:
            return snapshot.catalog.table("events")

    def batch(self, rows: list[Row]) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist(rows, schema=self.table.arrow_schema)

    def keys(self, keys: list[Key]) -> pa.RecordBatch:
        schema = self.table.key_schema
        return pa.RecordBatch.from_pylist([{"k": k, "t": t} for k, t in keys], schema=schema)

    # Blind writes. What the model refuses, the engine refuses.

    def blind(self, change: Change, batch: pa.RecordBatch, blind: ModelTransaction) -> None:
        """``blind`` holds what the writes would do; late rows are judged before primary keys."""
        rows_count = batch.num_rows
        try:
            late = self.model.on_time(blind, strict=False)
        except TooLate:
            with pytest.raises(Invalid, match="comes too late"):
                self.engine.write("events", change, batch)
            return
        present = self.model.rows_at(self.model.newest)
        if change is Change.INSERT and any(key in present for key in blind.written):
            with pytest.raises(Invalid, match="duplicate key"):
                self.engine.write("events", change, batch)
            return
        commit = self.engine.write("events", change, batch)
        if late:
            self.ignored += late
            assert commit.rows == rows_count - late
        self.model.commit(blind, version=commit.version)

    @rule(rows=st.lists(st.tuples(KEYS, AMOUNTS), min_size=1, max_size=3, unique_by=lambda row: row[0]))
    def put(self, rows: list[Any]) -> None:
        blind = self.model.begin(self.model.newest, default=NOBODY)
        for row in rows:
            blind.put(row[0], row_of(*row))
        self.blind(Change.PUT, self.batch([row_of(*row) for row in rows]), blind)

    @rule(rows=st.lists(st.tuples(KEYS, AMOUNTS), min_size=1, max_size=2, unique_by=lambda row: row[0]))
    def insert(self, rows: list[Any]) -> None:
        blind = self.model.begin(self.model.newest, default=NOBODY)
        for row in rows:
            blind.put(row[0], row_of(*row))
        self.blind(Change.INSERT, self.batch([row_of(*row) for row in rows]), blind)

    @rule(key=KEYS, amount=st.integers(-5, 5))
    def add(self, key: Key, amount: int) -> None:
        blind = self.model.begin(self.model.newest, default=NOBODY)
        blind.add(key, amount, row_of(key, None))
        batch = self.batch([row_of(key, amount)])
        self.blind(Change.ADD, batch, blind)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=2, unique=True))
    def delete(self, keys: list[Key]) -> None:
        present = sum(key in self.model.rows_at(self.model.newest) for key in keys)
        commit = self.engine.write("events", Change.DELETE, self.keys(keys))
        assert commit.rows == present
        blind = self.model.begin(self.model.newest, default=NOBODY)
        for key in keys:
            blind.delete(key)
        self.model.commit(blind, version=commit.version)

    # Transactions

    def pair(self, pick: int) -> tuple[Transaction, ModelTransaction]:
        if pick not in self.transactions:
            transaction = self.engine.begin()
            self.transactions[pick] = (transaction, self.model.begin(transaction.version, default=NOBODY))
        return self.transactions[pick]

    def is_on_time(self, key: Key, model: ModelTransaction) -> bool:
        """Whether a statement may write a row: it is there as the transaction sees it, or not below the boundary."""
        boundary = self.model.boundary
        return boundary is None or key[1] >= boundary or key in model.rows

    @rule(pick=PICKS, key=KEYS, amount=AMOUNTS)
    def put_later(self, pick: int, key: Key, amount: int | None) -> None:
        transaction, model = self.pair(pick)
        batch = self.batch([row_of(key, amount)])
        if self.is_on_time(key, model):
            assert transaction.put(self.table, batch) == 1
            model.put(key, row_of(key, amount))
        elif self.model.late == "ignore":
            assert transaction.put(self.table, batch) == 0
        else:
            with pytest.raises(Invalid, match=r"row 1 .* comes too late"):
                transaction.put(self.table, batch)

    @rule(pick=PICKS, keys=st.lists(KEYS, min_size=1, max_size=3, unique=True))
    def delete_later(self, pick: int, keys: list[Key]) -> None:
        transaction, model = self.pair(pick)
        assert transaction.delete(self.table, self.keys(keys)) == sum(key in model.rows for key in keys)
        for key in keys:
            model.delete(key)

    @rule(pick=PICKS, key=KEYS, amount=st.integers(-5, 5))
    def add_later(self, pick: int, key: Key, amount: int) -> None:
        transaction, model = self.pair(pick)
        if not self.is_on_time(key, model) and self.model.late == "refuse":
            with pytest.raises(Invalid, match=r"row 1 .* comes too late"):
                transaction.add(self.table, key, {"amount": amount})
            return
        transaction.add(self.table, key, {"amount": amount})
        if self.is_on_time(key, model):
            model.add(key, amount, row_of(key, None))

    @rule(pick=PICKS, new=KEYS)
    def move_later(self, pick: int, new: Key) -> None:
        """UPDATE of an event time: a delete and an insert in one."""
        transaction, model = self.pair(pick)
        if not model.rows or new in model.rows:
            return
        old = min(model.rows)
        moved = {**model.rows[old], "k": new[0], "t": new[1]}
        transaction.update(self.table, self.keys([old]), self.batch([moved]))
        model.delete(old)
        model.put(new, moved)

    @rule(pick=PICKS)
    def update_all_later(self, pick: int) -> None:
        """Rows that are there are never late, however old."""
        transaction, model = self.pair(pick)
        rows = [{**row, "amount": 7} for row in model.rows.values()]
        if rows:
            transaction.update(self.table, self.keys(list(model.rows)), self.batch(rows))
        for key, row in list(model.rows.items()):
            model.put(key, {**row, "amount": 7})

    @rule(pick=PICKS)
    def read_later(self, pick: int) -> None:
        transaction, model = self.pair(pick)
        self.compare(transaction, model.rows)

    @rule(pick=PICKS)
    def commit(self, pick: int) -> None:
        writers = [pick for pick, (_, model) in self.transactions.items() if model.written]
        if not writers:
            return
        transaction, model = self.transactions.pop(writers[pick % len(writers)])
        try:
            self.model.check(model)
            self.ignored += self.model.on_time(model, strict=True)
        except ModelConflict:
            with pytest.raises(Conflict):
                transaction.commit()
        except TooLate:
            with pytest.raises(Invalid, match="comes too late"):
                transaction.commit()
        else:
            commit = transaction.commit()
            if commit.version > self.model.newest:
                self.model.commit(model, version=commit.version)

    # What is kept

    @rule(keep=KEEPS, late=st.sampled_from(["refuse", "ignore"]))
    def alter(self, keep: timedelta | None, late: str) -> None:
        """Transactions that are open go on: rows lie where they lay."""
        microseconds = None if keep is None else keep // timedelta(microseconds=1)
        transaction = self.engine.begin()
        transaction.replace(replace(self.table, keep=microseconds, late=late))
        version = transaction.commit().version
        self.model.keep, self.model.late = keep, late
        self.model.versions[version] = self.model.rows_at(self.model.newest)
        self.model.newest = version

    @rule()
    def retain(self) -> None:
        boundary = self.model.boundary
        before = self.engine.version
        self.engine.retain()
        if boundary is not None and any(key[1] < boundary for key in self.model.rows_at(self.model.newest)):
            assert self.engine.version == before + 1
        if boundary is not None and self.engine.version > before:
            self.model.drop(boundary, version=self.engine.version)
        version = self.engine.version
        self.engine.retain()
        assert self.engine.version == version, "what is dropped is dropped once"

    @rule()
    def truncate(self) -> None:
        transaction = self.engine.begin()
        transaction.truncate(self.table)
        version = transaction.commit().version
        everything = self.model.begin(self.model.newest, default=NOBODY)
        for key in list(everything.rows):
            everything.delete(key)
        self.model.commit(everything, version=version)
        self.model.newest_time = None

    # What maintenance does changes nothing that can be read.

    @rule(everything=st.booleans())
    def flush(self, everything: bool) -> None:
        self.engine.flush()
        if everything:
            self.engine.compact()

    @rule()
    def release(self) -> None:
        self.engine.maintenance.release()

    # Snapshots and restarts

    @precondition(lambda self: len(self.snapshots) < 3)
    @rule()
    def snapshot(self) -> None:
        self.snapshots.append(self.engine.snapshot())

    @precondition(lambda self: self.snapshots)
    @rule(pick=PICKS)
    def read_snapshot_and_close_it(self, pick: int) -> None:
        with self.snapshots.pop(pick % len(self.snapshots)) as snapshot:
            self.compare(snapshot, self.model.rows_at(snapshot.version))

    @rule(back=st.integers(0, 5))
    def read_as_of(self, back: int) -> None:
        self.compare_at(max(1, self.engine.version - back))

    def compare_at(self, version: int) -> None:
        """Without history only the newest version and pinned ones can be read for sure."""
        try:
            snapshot = self.engine.snapshot(version)
        except Invalid:
            if self.history_seconds:
                raise
            return
        with snapshot:
            self.compare(snapshot, self.model.rows_at(version))

    @precondition(lambda self: self.steps_since_restart > 12)
    @rule()
    def restart(self) -> None:
        self.steps_since_restart = 0
        version = self.engine.version
        self.transactions.clear()
        self.snapshots.clear()
        self.engine.close()
        self.engine = self.opened()
        assert self.engine.version == version
        self.compare_at(version)
        for known in self.model.versions:
            if known:
                self.compare_at(known)

    @invariant()
    def newest_is_the_model(self) -> None:
        self.steps_since_restart += 1
        if self.model.newest:
            with self.engine.snapshot() as snapshot:
                self.compare(snapshot, self.model.rows_at(snapshot.version))

    def compare(self, reader: Any, expected: dict[Key, Row]) -> None:
        table = reader.catalog.table("events")
        scanned = [row for batch in reader.scan(table).batches() for row in batch.to_pylist()]
        assert len(scanned) == len(expected)
        assert {(row["k"], row["t"]): row for row in scanned} == expected
        asked = [(k, MONDAY + day * DAY + timedelta(hours=17)) for k in (0, 1) for day in range(5)]
        for key in (*asked[:2], *list(expected)[:2]):
            assert reader.get(table, key) == expected.get(key)
        rows, places = reader.get_many(table, self.keys(asked))
        assert [asked[place] for place in places.tolist()] == [key for key in asked if key in expected]
        assert rows.to_pylist() == [expected[key] for key in asked if key in expected]

    def teardown(self) -> None:
        self.engine.close()
        shutil.rmtree(self.folder)


TestRetentionAgainstModel = RetentionAgainstModel.TestCase
TestRetentionAgainstModel.settings = settings(
    max_examples=25 * soak.FACTOR, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
