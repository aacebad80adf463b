"""The engine against a dictionary of versions: transactions, savepoints, snapshots, flushes, merges, restarts."""

from __future__ import annotations

import shutil
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import soak
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from model import Model, ModelConflict, ModelDuplicate, ModelTransaction
from weftdb.base.errors import Conflict, Invalid
from weftdb.base.types import BIGINT, TEXT, TIMESTAMP
from weftdb.engine.changes import Change, Isolation
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.engine.savepoint import Savepoint
from weftdb.engine.schema import Column, Table
from weftdb.engine.snapshot import Snapshot
from weftdb.engine.transaction import Transaction

DAY = datetime(2026, 1, 5)

KEYS = st.tuples(st.integers(0, 1), st.integers(0, 1).map(lambda n: DAY + timedelta(hours=17 * n)))
PICKS = st.integers(0, 2)
AMOUNTS = st.none() | st.integers(-5, 5)
TEXTS = st.none() | st.sampled_from(["", "a", "zwölf"])


def events(engine: Engine) -> Table:
    return Table(
        id=engine.new_id(),
        name="events",
        columns=(
            Column(id=1, name="k", type=BIGINT, nullable=False),
            Column(id=2, name="t", type=TIMESTAMP, nullable=False),
            Column(id=3, name="amount", type=BIGINT),
            Column(id=4, name="note", type=TEXT),
        ),
        primary_key=(1, 2),
        key=(1,),
        time=2,
        shards=2,
        every=86_400_000_000,
        next_column_id=5,
    )


def row_of(key: tuple[Any, ...], amount: int | None, note: str | None) -> dict[str, Any]:
    return {"k": key[0], "t": key[1], "amount": amount, "note": note}


NOBODY = row_of((0, DAY), None, None)
"""What an absent row starts from, but for its key."""


class EngineAgainstModel(RuleBasedStateMachine):
    """One table, few keys, so that everything meets everything."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="weft-model-"))
        self.model = Model()
        self.transactions: dict[int, tuple[Transaction, ModelTransaction]] = {}
        self.savepoints: dict[int, list[tuple[Savepoint, ModelTransaction]]] = {pick: [] for pick in range(3)}
        self.steps_since_restart = 0
        self.snapshots: list[Snapshot] = []
        self.floor = 0  # versions below it may be forgotten

    @initialize(history=st.sampled_from([0, 600]))
    def create(self, history: int) -> None:
        self.options = Options(history_seconds=history, maintenance=False, durable=False)
        self.engine = Engine.open(self.folder / "data", options=self.options)
        transaction = self.engine.begin()
        transaction.create(events(self.engine))
        commit = transaction.commit()
        self.model.versions[commit.version] = {}
        self.model.newest = commit.version

    @property
    def table(self) -> Table:
        with self.engine.snapshot() as snapshot:
            return snapshot.catalog.table("events")

    def batch(self, rows: list[dict[str, Any]]) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist(rows, schema=self.table.arrow_schema)

    def keys(self, keys: list[tuple[Any, ...]]) -> pa.RecordBatch:
        schema = self.table.key_schema
        return pa.RecordBatch.from_pylist([{"k": k, "t": t} for k, t in keys], schema=schema)

    # Blind writes

    @rule(rows=st.lists(st.tuples(KEYS, AMOUNTS, TEXTS), min_size=1, max_size=2))
    def blind_put(self, rows: list[Any]) -> None:
        commit = self.engine.write("events", Change.PUT, self.batch([row_of(*row) for row in rows]))
        blind = self.model.begin(self.model.newest, default=NOBODY)
        for row in rows:
            blind.put(row[0], row_of(*row))
        self.model.commit(blind, version=commit.version)

    @rule(rows=st.lists(st.tuples(KEYS, AMOUNTS, TEXTS), min_size=1, max_size=3))
    def blind_insert(self, rows: list[Any]) -> None:
        blind = self.model.begin(self.model.newest, default=NOBODY)
        try:
            for row in rows:
                blind.insert(row[0], row_of(*row))
        except ModelDuplicate:
            with pytest.raises(Invalid, match="duplicate key"):
                self.engine.write("events", Change.INSERT, self.batch([row_of(*row) for row in rows]))
            return
        commit = self.engine.write("events", Change.INSERT, self.batch([row_of(*row) for row in rows]))
        self.model.commit(blind, version=commit.version)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=2))
    def blind_delete(self, keys: list[Any]) -> None:
        commit = self.engine.write("events", Change.DELETE, self.keys(keys))
        blind = self.model.begin(self.model.newest, default=NOBODY)
        for key in keys:
            blind.delete(key)
        self.model.commit(blind, version=commit.version)

    @rule(key=KEYS, amount=st.integers(-5, 5))
    def blind_add(self, key: Any, amount: int) -> None:
        names = ["k", "t", "amount"]
        schema = pa.schema([self.table.arrow_schema.field(name) for name in names])
        batch = pa.RecordBatch.from_pylist([{"k": key[0], "t": key[1], "amount": amount}], schema=schema)
        commit = self.engine.write("events", Change.ADD, batch)
        blind = self.model.begin(self.model.newest, default=NOBODY)
        blind.add(key, amount, row_of(key, None, None))
        self.model.commit(blind, version=commit.version)

    # Transactions

    def pair(self, pick: int) -> tuple[Transaction, ModelTransaction]:
        """One of three open transactions; it begins when it is first used, and stays open until it is ended.

        The last one is READ COMMITTED.
        """
        if pick not in self.transactions:
            transaction = self.engine.begin(isolation=Isolation.READ_COMMITTED if pick == 2 else Isolation.SNAPSHOT)
            self.transactions[pick] = (transaction, self.model.begin(transaction.version, default=NOBODY))
            self.savepoints[pick].clear()
        return self.transactions[pick]

    @rule(pick=PICKS, row=st.tuples(KEYS, AMOUNTS, TEXTS))
    def put(self, pick: int, row: Any) -> None:
        pair = self.pair(pick)
        pair[0].put(self.table, self.batch([row_of(*row)]))
        pair[1].put(row[0], row_of(*row))

    @rule(pick=PICKS, row=st.tuples(KEYS, AMOUNTS, TEXTS))
    def insert(self, pick: int, row: Any) -> None:
        pair = self.pair(pick)
        try:
            pair[1].insert(row[0], row_of(*row))
        except ModelDuplicate:
            with pytest.raises(Invalid, match="duplicate key"):
                pair[0].insert(self.table, self.batch([row_of(*row)]))
        else:
            pair[0].insert(self.table, self.batch([row_of(*row)]))

    @rule(pick=PICKS, keys=st.lists(KEYS, min_size=1, max_size=3, unique=True))
    def delete(self, pick: int, keys: list[Any]) -> None:
        pair = self.pair(pick)
        present = sum(key in pair[1].rows for key in keys)
        assert pair[0].delete(self.table, self.keys(keys)) == present
        for key in keys:
            pair[1].delete(key)

    @rule(pick=PICKS, key=KEYS, amount=st.integers(-5, 5))
    def add(self, pick: int, key: Any, amount: int) -> None:
        pair = self.pair(pick)
        pair[0].add(self.table, key, {"amount": amount})
        pair[1].add(key, amount, row_of(key, None, None))

    @rule(pick=PICKS, old=KEYS, new=KEYS)
    def move(self, pick: int, old: Any, new: Any) -> None:
        """UPDATE of a primary key: a delete and an insert in one."""
        pair = self.pair(pick)
        row = pair[1].rows.get(old)
        if row is None:
            return
        moved = {**row, "k": new[0], "t": new[1]}
        if new != old and new in pair[1].rows:
            with pytest.raises(Invalid, match="duplicate key"):
                pair[0].update(self.table, self.keys([old]), self.batch([moved]))
            return
        pair[0].update(self.table, self.keys([old]), self.batch([moved]))
        if new != old:
            pair[1].delete(old)
        pair[1].put(new, moved)

    @rule(pick=PICKS)
    def begin_statement(self, pick: int) -> None:
        transaction, model = self.pair(pick)
        transaction.refresh()
        if pick == 2:
            assert transaction.version == self.engine.version
            model.read_at(transaction.version, self.model.rows_at(transaction.version))

    @rule(pick=PICKS)
    def savepoint(self, pick: int) -> None:
        transaction, model = self.pair(pick)
        self.savepoints[pick].append((transaction.savepoint(), model.copy()))

    @rule(pick=PICKS, back=st.integers(0, 2), release=st.booleans())
    def rollback_to(self, pick: int, back: int, release: bool) -> None:
        """To any savepoint that lives; those after it are released, and perhaps itself."""
        transaction, model = self.pair(pick)
        while back and len(self.savepoints[pick]) > 1:
            transaction.release(self.savepoints[pick].pop()[0])
            back -= 1
        if self.savepoints[pick]:
            savepoint, then = self.savepoints[pick][-1]
            transaction.rollback_to(savepoint)
            then = then.copy()
            then.read_at(model.version, self.model.rows_at(model.version))
            self.transactions[pick] = (transaction, then)
            self.compare(transaction, then.rows)
            if release:
                transaction.release(self.savepoints[pick].pop()[0])

    @rule(pick=PICKS)
    def read_own(self, pick: int) -> None:
        pair = self.pair(pick)
        self.compare(pair[0], pair[1].rows)

    @rule(pick=PICKS)
    def commit(self, pick: int) -> None:
        writers = [pick for pick, (_, model) in self.transactions.items() if model.written]
        if not writers:
            return
        transaction, model = self.transactions.pop(writers[pick % len(writers)])
        try:
            self.model.check(model)
        except ModelConflict:
            with pytest.raises(Conflict):
                transaction.commit()
            return
        commit = transaction.commit()
        if model.written and commit.version > self.model.newest:
            self.model.commit(model, version=commit.version)

    @rule(pick=PICKS)
    def rollback(self, pick: int) -> None:
        self.pair(pick)[0].rollback()
        del self.transactions[pick]

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
        self.compare_version(max(1, self.engine.version - back))

    def compare_version(self, version: int) -> None:
        """At every version that history reaches back to; one that it does not is refused, unless somebody holds it."""
        try:
            snapshot = self.engine.snapshot(version)
        except Invalid:
            snapshot = None
        if snapshot is None:
            assert version < self.floor, "history reaches back to it"
            return
        with snapshot:
            self.compare(snapshot, self.model.rows_at(version))

    # Maintenance: none of it may be seen.

    @rule()
    def flush(self) -> None:
        self.engine.flush()
        if self.options.history_seconds == 0:
            self.floor = self.engine.version

    @rule()
    def compact_once(self) -> None:
        self.engine.maintenance.compact_once()

    @rule()
    def rest(self) -> None:
        self.engine.maintenance.rest()

    @rule()
    def compact(self) -> None:
        self.engine.compact()

    @rule()
    def tidy(self) -> None:
        self.engine.maintenance.tidy()

    @precondition(lambda self: self.steps_since_restart > 15)
    @rule()
    def restart(self) -> None:
        """What was not committed is gone; every version is as it was."""
        self.steps_since_restart = 0
        version = self.engine.version
        self.transactions.clear()
        self.snapshots.clear()
        self.engine.close()
        self.engine = Engine.open(self.folder / "data", options=self.options)
        assert self.engine.version == version
        for known in self.model.versions:
            if known:
                self.compare_version(known)

    @invariant()
    def newest_is_the_model(self) -> None:
        self.steps_since_restart += 1
        if self.model.newest:
            with self.engine.snapshot() as snapshot:
                self.compare(snapshot, self.model.rows_at(snapshot.version))

    def compare(self, reader: Any, expected: dict[Any, dict[str, Any]]) -> None:
        table = reader.catalog.table("events")
        scanned = [row for batch in reader.scan(table).batches() for row in batch.to_pylist()]
        assert len(scanned) == len(expected)
        assert {(row["k"], row["t"]): row for row in scanned} == expected
        for key in list(expected)[:3]:
            assert reader.get(table, key) == expected[key]

    def teardown(self) -> None:
        self.engine.close()
        shutil.rmtree(self.folder)


TestEngineAgainstModel = EngineAgainstModel.TestCase
TestEngineAgainstModel.settings = settings(
    max_examples=soak.many(60, 200), stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
