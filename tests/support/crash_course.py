"""A seeded course of everything that writes: what a crash, a full disk or a flipped bit may interrupt.

    course = Course(seed)
    course.start(engine)
    course.step(engine)            # one of: batches, late rows, transactions, deltas, DDL, flush, merge, ...
    course.check(engine)           # the engine has what was acknowledged, and perhaps what was under way

The oracle is a dictionary per table, and replaced as a whole by each commit: ``committed`` is what was acknowledged,
``pending`` what it would be with the commit that is under way. Nothing of it is shared with the engine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from weftdb.base.types import BIGINT, TEXT, TIMESTAMP
from weftdb.engine.changes import Change, Commit, WriterToken
from weftdb.engine.check import check_engine
from weftdb.engine.database import Engine
from weftdb.engine.schema import Column, Table
from weftdb.engine.segment import Segment
from weftdb.engine.snapshot import Snapshot
from weftdb.storage.storage import segment_name

Row = dict[str, Any]
Rows = dict[tuple[Any, ...], Row]

DAY = datetime(2026, 1, 5)
KEEP = timedelta(days=2)
WRITE_SET_BYTES = 60_000
"""Options.write_set_bytes of the engines that run a course: so that large transactions are not large."""

NOTES = ["", "a", "zwölf", None, "x" * 300]


@dataclass(frozen=True, slots=True)
class Model:
    """All tables: column names, and rows by primary key. ``newest`` is the newest event time that "kept" ever had."""

    tables: Mapping[str, tuple[tuple[str, ...], Rows]] = field(default_factory=dict)
    newest: datetime | None = field(default=None, compare=False)

    def rows(self, table: str) -> Rows:
        return self.tables[table][1]

    def with_rows(self, table: str, rows: Rows) -> Model:
        return replace(self, tables={**self.tables, table: (self.tables[table][0], rows)})

    @property
    def boundary(self) -> datetime:
        """Rows of "kept" below it come too late, and are dropped when somebody looks."""
        if self.newest is None:
            return datetime.min
        return (self.newest - KEEP).replace(hour=0)


@dataclass(frozen=True, slots=True)
class Promise:
    """What was known at a moment: the acknowledged model, the one under way, and how to ask for both again."""

    committed: Model = field(default_factory=Model)
    pending: Model | None = None
    version: int = 0
    last_batch: tuple[str, WriterToken, Change, pa.RecordBatch, Commit] | None = None
    last_transaction: tuple[str, Commit] | None = None
    pending_batch: tuple[str, WriterToken, Change, pa.RecordBatch] | None = None


def events(id: int) -> Table:
    return Table(
        id=id,
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


def kept(id: int) -> Table:
    return Table(
        id=id,
        name="kept",
        columns=(
            Column(id=1, name="k", type=BIGINT, nullable=False),
            Column(id=2, name="t", type=TIMESTAMP, nullable=False),
            Column(id=3, name="amount", type=BIGINT),
        ),
        primary_key=(1, 2),
        key=(1,),
        time=2,
        every=86_400_000_000,
        keep=KEEP // timedelta(microseconds=1),
        late="ignore",
        next_column_id=4,
    )


def notes(id: int) -> Table:
    return Table(
        id=id,
        name="notes",
        columns=(Column(id=1, name="id", type=TEXT, nullable=False), Column(id=2, name="text", type=TEXT)),
        primary_key=(1,),
        key=(1,),
        next_column_id=3,
    )


class Course:
    """See the module. One thread."""

    def __init__(self, seed: int, *, without: Collection[str] = ()) -> None:
        """``without`` names actions that are left out."""
        self.chance = random.Random(seed)
        self.promise = Promise()
        self.done: dict[str, int] = {}
        self.sequence = 0
        self._day = 0
        self._snapshots: list[tuple[Snapshot, Model]] = []
        self._actions: list[tuple[Callable[[Engine], None], int]] = [
            (self.put, 12),
            (self.put_late, 4),
            (self.insert, 4),
            (self.delete, 4),
            (self.add, 3),
            (self.transaction, 8),
            (self.large, 4),
            (self.large_given_up, 1),
            (self.put_kept, 8),
            (self.retain, 3),
            (self.next_day, 5),
            (self.flush, 7),
            (self.compact_once, 4),
            (self.compact, 2),
            (self.release, 1),
            (self.tidy, 2),
            (self.hold, 1),
            (self.add_column, 1),
            (self.drop_column, 1),
            (self.create_or_drop, 2),
            (self.truncate, 1),
            (self.open_snapshot, 2),
            (self.close_snapshot, 2),
        ]
        self._actions = [(action, weight) for action, weight in self._actions if action.__name__ not in without]

    def start(self, engine: Engine) -> None:
        def create(transaction: Any, model: Model) -> Model:
            tables = dict(model.tables)
            for table in (events(engine.new_id()), kept(engine.new_id())):
                transaction.create(table)
                tables[table.name] = (tuple(column.name for column in table.columns), {})
            return Model(tables)

        self._transact(engine, create)

    def step(self, engine: Engine) -> str:
        """Do something, and remember its promise. Returns its name."""
        action = self.chance.choices(
            [action for action, _ in self._actions], weights=[weight for _, weight in self._actions]
        )[0]
        action(engine)
        self.done[action.__name__] = self.done.get(action.__name__, 0) + 1
        return action.__name__

    def reopened(self, engine: Engine) -> None:
        """Go on with another engine, which holds what was acknowledged and perhaps what was under way."""
        self.promise = check(engine, self.promise)
        self._snapshots.clear()

    def end(self) -> None:
        for snapshot, _ in self._snapshots:
            snapshot.close()
        self._snapshots.clear()

    # What it does.

    def put(self, engine: Engine) -> None:
        self._put(engine, [self._key() for _ in range(self.chance.choice([1, 3, 40]))])

    def put_late(self, engine: Engine) -> None:
        self._put(engine, [self._key(late=True) for _ in range(self.chance.choice([1, 5]))])

    def insert(self, engine: Engine) -> None:
        present = self.promise.committed.rows("events")
        keys = list({key for key in (self._key() for _ in range(5)) if key not in present})
        if keys:
            self._write(engine, Change.INSERT, [self._row(key) for key in keys])

    def delete(self, engine: Engine) -> None:
        present = list(self.promise.committed.rows("events"))
        keys = self.chance.sample(present, min(len(present), self.chance.choice([1, 4])))
        if keys:
            self._write(engine, Change.DELETE, [{"k": key[0], "t": key[1]} for key in keys])

    def add(self, engine: Engine) -> None:
        rows = [{"k": key[0], "t": key[1], "amount": self.chance.randrange(9)} for key in {self._key(), self._key()}]
        self._write(engine, Change.ADD, rows)

    def transaction(self, engine: Engine) -> None:
        """Moves amounts between two rows, and notes it where there are notes: all of it or nothing."""

        def move(transaction: Any, model: Model) -> Model:
            rows = dict(model.rows("events"))
            table = transaction.catalog.table("events")
            keys = self.chance.sample(list(rows), min(2, len(rows)))
            for key, amount in zip(keys, (7, -7), strict=False):
                row = {**rows[key], "amount": (rows[key]["amount"] or 0) + amount}
                batch = pa.RecordBatch.from_pylist([row], schema=table.arrow_schema)
                transaction.update(table, batch.select(["k", "t"]), batch)
                rows[key] = row
            model = model.with_rows("events", rows)
            if "notes" in model.tables:
                note = {"id": f"n{self.chance.randrange(20)}", "text": self.chance.choice(NOTES)}
                table = transaction.catalog.table("notes")
                transaction.put(table, pa.RecordBatch.from_pylist([note], schema=table.arrow_schema))
                model = model.with_rows("notes", {**model.rows("notes"), (note["id"],): note})
            return model

        self._transact(engine, move)

    def large(self, engine: Engine) -> None:
        """A transaction that is more than its share of memory (``WRITE_SET_BYTES``): it spills, and is installed."""
        self._transact(engine, self._write_much)

    def large_given_up(self, engine: Engine) -> None:
        transaction = engine.begin()
        try:
            self._write_much(transaction, self.promise.committed)
        finally:
            transaction.rollback()

    def _write_much(self, transaction: Any, model: Model) -> Model:
        table = transaction.catalog.table("events")
        rows = dict(model.rows("events"))
        for _ in range(2):
            new = [self._row(self._key(late=self.chance.random() < 0.5)) for _ in range(40)]
            transaction.put(table, pa.RecordBatch.from_pylist(new, schema=table.arrow_schema))
            rows |= {(row["k"], row["t"]): row for row in new}
            ended = self.chance.sample(list(rows), 3)
            keys = pa.schema([table.arrow_schema.field("k"), table.arrow_schema.field("t")])
            batch = pa.RecordBatch.from_pylist([{"k": key[0], "t": key[1]} for key in ended], schema=keys)
            assert transaction.delete(table, batch) == 3
            rows = {key: row for key, row in rows.items() if key not in ended}
        assert any(writes.is_large for writes in transaction._writes.values()), "it was to be large"
        return model.with_rows("events", rows)

    def put_kept(self, engine: Engine) -> None:
        """Into the table with retention: some rows come too late, and are ignored."""
        rows: list[Row] = []
        for _ in range(self.chance.choice([1, 6])):
            time = DAY + timedelta(days=max(0, self._day - self.chance.choice([0, 0, 1, 2, 3, 5])))
            rows.append(
                {"k": self.chance.randrange(9), "t": time + timedelta(hours=self.chance.randrange(6)), "amount": 1}
            )
        self._write(engine, Change.PUT, rows, table="kept")

    def retain(self, engine: Engine) -> None:
        model = self.promise.committed
        rows = {key: row for key, row in model.rows("kept").items() if key[1] >= model.boundary}
        self.promise = replace(self.promise, pending=model.with_rows("kept", rows))
        engine.maintenance.retain()
        self.promise = replace(self.promise, committed=self.promise.pending, pending=None)

    def next_day(self, engine: Engine) -> None:
        self._day += 1
        self.put(engine)

    def flush(self, engine: Engine) -> None:
        engine.flush()

    def compact_once(self, engine: Engine) -> None:
        engine.maintenance.compact_once()

    def compact(self, engine: Engine) -> None:
        engine.compact()

    def release(self, engine: Engine) -> None:
        engine.maintenance.release()

    def tidy(self, engine: Engine) -> None:
        engine.maintenance.tidy()

    def hold(self, engine: Engine) -> None:
        """What a backup does: it keeps a checkpoint's files while merges go on."""
        held = engine.maintenance.hold(flush=self.chance.random() < 0.7)
        try:
            engine.compact()
            engine.maintenance.tidy()
            places = [place for item in held.descriptions for place in (item.place, item.overlay) if place is not None]
            assert {segment_name(place.file) for place in places} <= set(engine.storage.files.names())
        finally:
            held.release()

    def add_column(self, engine: Engine) -> None:
        def add(transaction: Any, model: Model) -> Model:
            table = transaction.catalog.table("events")
            column = Column(id=table.next_column_id, name=f"c{table.next_column_id}", type=TEXT)
            transaction.replace(
                replace(
                    table,
                    columns=(*table.columns, column),
                    next_column_id=column.id + 1,
                    schema_version=table.schema_version + 1,
                )
            )
            names, rows = model.tables["events"]
            wider = {key: {**row, column.name: None} for key, row in rows.items()}
            return replace(model, tables={**model.tables, "events": ((*names, column.name), wider)})

        self._transact(engine, add)

    def drop_column(self, engine: Engine) -> None:
        if len(self.promise.committed.tables["events"][0]) == 4:
            return

        def drop(transaction: Any, model: Model) -> Model:
            table = transaction.catalog.table("events")
            name = table.columns[-1].name
            transaction.replace(replace(table, columns=table.columns[:-1], schema_version=table.schema_version + 1))
            names, rows = model.tables["events"]
            narrower = {key: {n: value for n, value in row.items() if n != name} for key, row in rows.items()}
            return replace(model, tables={**model.tables, "events": (names[:-1], narrower)})

        self._transact(engine, drop)

    def create_or_drop(self, engine: Engine) -> None:
        def change(transaction: Any, model: Model) -> Model:
            if "notes" in model.tables:
                transaction.drop("notes")
                return replace(model, tables={name: table for name, table in model.tables.items() if name != "notes"})
            transaction.create(notes(engine.new_id()))
            return replace(model, tables={**model.tables, "notes": (("id", "text"), {})})

        self._transact(engine, change)

    def truncate(self, engine: Engine) -> None:
        def truncate(transaction: Any, model: Model) -> Model:
            transaction.truncate(transaction.catalog.table("events"))
            return model.with_rows("events", {})

        self._transact(engine, truncate)

    def open_snapshot(self, engine: Engine) -> None:
        if len(self._snapshots) < 3:
            self._snapshots.append((engine.snapshot(), self.promise.committed))

    def close_snapshot(self, engine: Engine) -> None:
        if self._snapshots:
            snapshot, model = self._snapshots.pop(self.chance.randrange(len(self._snapshots)))
            with snapshot:
                assert read(snapshot) == model

    # How it does it.

    def _key(self, *, late: bool = False) -> tuple[Any, ...]:
        day = self.chance.randrange(self._day + 1) if late else self._day
        return self.chance.randrange(12), DAY + timedelta(days=day, hours=self.chance.randrange(6))

    def _row(self, key: tuple[Any, ...]) -> Row:
        names = self.promise.committed.tables["events"][0]
        row: Row = {"k": key[0], "t": key[1], "amount": self.chance.choice([None, 1, 2**40]), "note": None}
        row["note"] = self.chance.choice(NOTES)
        return row | {name: self.chance.choice(NOTES) for name in names[4:]}

    def _put(self, engine: Engine, keys: list[tuple[Any, ...]]) -> None:
        self._write(engine, Change.PUT, [self._row(key) for key in keys])

    def _write(self, engine: Engine, change: Change, rows: list[Row], *, table: str = "events") -> None:
        """Write a batch blindly, with a token."""
        with engine.snapshot() as snapshot:
            schema = snapshot.catalog.table(table).arrow_schema
        batch = pa.RecordBatch.from_pylist(rows, schema=pa.schema([schema.field(name) for name in rows[0]]))
        self.sequence += 1
        token = WriterToken(writer="w", sequence=self.sequence)
        before = self.promise.committed
        if table == "kept":
            rows = [row for row in rows if row["t"] >= before.boundary]
        pending = before.with_rows(table, self._written(change, rows, table))
        if table == "kept":
            pending = replace(
                pending,
                newest=max([row["t"] for row in rows] + ([before.newest] if before.newest else []), default=None),
            )
        named = (table, token, change, batch) if rows else None
        self.promise = replace(self.promise, pending=pending, pending_batch=named)
        commit = engine.write(table, change, batch, token=token)
        self.promise = replace(
            self.promise,
            committed=pending,
            pending=None,
            pending_batch=None,
            version=commit.version,
            last_batch=(*named, commit) if named is not None else self.promise.last_batch,
        )

    def _written(self, change: Change, rows: list[Row], table: str) -> Rows:
        names, before = self.promise.committed.tables[table]
        after = dict(before)
        for row in rows:
            key = (row["k"], row["t"])
            if change is Change.DELETE:
                after.pop(key, None)
            elif change is Change.ADD:
                old = after.get(key, dict.fromkeys(names) | {"k": key[0], "t": key[1]})
                after[key] = {**old, "amount": (old["amount"] or 0) + row["amount"]}
            else:
                after[key] = row
        return after

    def _transact(self, engine: Engine, work: Callable[[Any, Model], Model]) -> None:
        self.sequence += 1
        id = f"t{self.sequence}"
        transaction = engine.begin(id=id)
        try:
            pending = work(transaction, self.promise.committed)
            self.promise = replace(self.promise, pending=pending)
            commit = transaction.commit()
        except BaseException:
            transaction.rollback()
            raise
        logged = commit.version > self.promise.version  # one that changed nothing leaves no trace
        self.promise = replace(
            self.promise,
            committed=pending,
            pending=None,
            version=commit.version,
            last_transaction=(id, commit) if logged else self.promise.last_transaction,
        )


def read(snapshot: Any, names: Iterable[str] = ("events", "kept", "notes")) -> Model:
    """All tables, by a full scan."""
    tables: dict[str, tuple[tuple[str, ...], Rows]] = {}
    for name in names:
        table = snapshot.catalog.relations.get(name)
        if not isinstance(table, Table):
            continue
        rows = [row for batch in snapshot.scan(table).batches() for row in batch.to_pylist()]
        keyed = {tuple(row[column.name] for column in table.primary_key_columns): row for row in rows}
        assert len(keyed) == len(rows), f"{name} has a primary key twice"
        tables[name] = (tuple(column.name for column in table.columns), keyed)
    return Model(tables)


def check(engine: Engine, promise: Promise) -> Promise:
    """Compare the engine with what was promised, by scans and by gets. Returns the promise as it turned out."""
    with engine.snapshot() as snapshot:
        found = read(snapshot)
        model = promise.committed
        if found != model:
            assert promise.pending is not None, _difference(found, model)
            model = promise.pending
            assert found == model, _difference(found, model)
        for name in found.tables:
            table = snapshot.catalog.table(name)
            for key, row in list(found.rows(name).items())[:5]:
                assert snapshot.get(table, key) == row
    assert engine.version >= promise.version
    return replace(promise, committed=model, pending=None, pending_batch=None)


def check_repeats(engine: Engine, promise: Promise) -> None:
    """Acknowledged batches and transactions, sent again, have their first outcome and change nothing.

    The batch that was under way, sent again, is there once. (Unless it has a column that was dropped meanwhile.)
    """
    version = engine.version
    if promise.last_batch is not None:
        table, token, change, batch, commit = promise.last_batch
        if _has_columns(engine, table, batch):
            assert engine.write(table, change, batch, token=token) == commit
            assert engine.version == version
    if promise.last_transaction is not None:
        id, commit = promise.last_transaction
        transaction = engine.begin(id=id)
        transaction.truncate(transaction.catalog.table("events"))
        assert transaction.commit() == commit
        assert engine.version == version
    if promise.pending_batch is not None and promise.pending is not None:
        table, token, change, batch = promise.pending_batch
        engine.write(table, change, batch, token=token)
        check(engine, Promise(committed=promise.pending))


def _has_columns(engine: Engine, table: str, batch: pa.RecordBatch) -> bool:
    with engine.snapshot() as snapshot:
        return set(snapshot.catalog.table(table).by_name) >= set(batch.schema.names)


def check_storage(engine: Engine, *, whole: bool = True) -> None:
    """Files, manifest and segments name each other; with ``whole`` also `weft check` finds nothing."""
    storage = engine.storage
    files = engine.files.used()
    assert sorted(storage.files.names()) == [segment_name(number) for number in files]
    stores = list(engine._state.stores.values())
    segments = [part for store in stores for cell in store.cells for part in cell.parts if isinstance(part, Segment)]
    installed = {segment.description.id for segment in engine._state.installed}  # by the log alone
    named = set(storage.manifest.load()[1])
    assert installed.isdisjoint(named)
    assert {segment.description.id for segment in segments} == named | installed
    for segment in segments:
        assert set(segment.files) <= set(files)
    if whole:
        report = check_engine(engine)
        assert not report.problems, report.problems


def _difference(found: Model, expected: Model) -> str:
    if found.tables.keys() != expected.tables.keys():
        return f"tables {sorted(found.tables)}, and {sorted(expected.tables)} were expected"
    parts: list[str] = []
    for name, (columns, rows) in expected.tables.items():
        own_columns, own = found.tables[name]
        if own_columns != columns:
            parts.append(f"{name} has columns {own_columns}, not {columns}")
        missing = [key for key in rows if key not in own]
        extra = [key for key in own if key not in rows]
        other = [key for key in rows if key in own and own[key] != rows[key]]
        parts.append(
            f"{name}: {len(missing)} rows are missing {missing[:3]}, {len(extra)} too many {extra[:3]}, "
            f"{len(other)} differ {[(own[key], rows[key]) for key in other[:2]]}"
        )
    return "; ".join(parts)
