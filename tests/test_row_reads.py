"""One row by one kernel call, against the way of many keys and a dictionary; beside all that goes on in an engine."""

from __future__ import annotations

import dataclasses
import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sealing
import soak
import typed_values
import weftdb
from drawn_tables import batch, keys_batch, keys_of, rest_of, tables
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_cells import canonical, comparable
from weftdb.base import types
from weftdb.base.errors import Corrupt, Invalid
from weftdb.engine.cells import TableStore
from weftdb.engine.changes import Change
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.engine.row_reads import UNSURE
from weftdb.engine.schema import Column, Table
from weftdb.engine.snapshot import Snapshot
from weftdb.sql.session import Session

Key = tuple[Any, ...]
Rows = dict[Key, dict[str, Any]]

ADDED = {"x BIGINT": None, "y INT DEFAULT 7": 7, "z TEXT DEFAULT 'ü'": "ü", "w NUMERIC(9, 2) DEFAULT 0.5": "0.50"}


def at_once(store: TableStore, key: Key, *, version: int) -> Any:
    """What the kernel says of a row, ``UNSURE`` among it."""
    encoder = store.layout.encoder
    assert encoder is not None
    encoded = encoder.encode_one(key)
    cell = store._cells.get(*store.layout.route_one(key, encoded))
    return None if cell is None or cell.door is None else cell.door.get(encoded, version)


def looked_up(store: TableStore, key: Key, *, version: int) -> dict[str, Any] | None:
    """The row by the way of many keys."""
    encoder = store.layout.encoder
    assert encoder is not None
    encoded = encoder.encode_one(key)
    cell = store._cells.get(*store.layout.route_one(key, encoded))
    return None if cell is None else store._row_looked_up(cell, key, encoded, version=version)


def agree(reader: Snapshot, rows: Rows, keys: list[Key], *, newest: bool) -> None:
    """Each key has the same row, or none, both ways and in a dictionary; at the newest version at once."""
    table = reader.catalog.table("t")
    store = reader.store(table)
    for key in keys:
        wanted = comparable(rows.get(canonical(key)))
        for _ in range(2):  # what was not verified before is so the second time
            assert comparable(reader.get(table, key)) == wanted
        assert comparable(looked_up(store, key, version=reader.version)) == wanted
        if newest:
            assert comparable(at_once(store, key, version=reader.version)) == wanted


@given(st.data())
@settings(max_examples=60 * soak.FACTOR, deadline=None)
def test_a_row_is_the_same_both_ways_whatever_became_of_its_table(data: st.DataObject) -> None:
    made = data.draw(tables())
    keys = data.draw(st.lists(keys_of(made), min_size=1, max_size=8))
    rest = rest_of(made)
    names = made.key_schema.names
    added: dict[str, Any] = {}
    rows: Rows = {}
    kept: list[tuple[Snapshot, Rows]] = []
    with Engine.open(options=Options(maintenance=False, history_seconds=0)) as engine:
        transaction = engine.begin()
        transaction.create(dataclasses.replace(made, id=engine.new_id()))
        transaction.commit()
        for _ in range(data.draw(st.integers(1, 10))):
            match data.draw(
                st.sampled_from(
                    ("put", "put", "put", "put", "delete", "flush", "flush", "compact", "truncate", "add", "snapshot")
                )
            ):
                case "put":
                    some = data.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=6))
                    put = [dict(zip(names, key, strict=True)) | data.draw(st.fixed_dictionaries(rest)) for key in some]
                    engine.write("t", Change.PUT, batch(made, put))
                    # Columns that a batch lacks read as in rows that are older than they.
                    rows |= {canonical(tuple(row[name] for name in names)): row | added for row in put}
                case "delete":
                    some = data.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=4))
                    engine.write("t", Change.DELETE, keys_batch(made, some))
                    rows = {key: row for key, row in rows.items() if key not in set(map(canonical, some))}
                case "flush":
                    engine.flush()
                case "compact":
                    engine.compact()
                case "truncate":
                    Session(engine).execute("TRUNCATE t")
                    rows = {}
                case "add":
                    left = [column for column in ADDED if column.split()[0] not in added]
                    if left:
                        column = data.draw(st.sampled_from(left))
                        Session(engine).execute(f"ALTER TABLE t ADD COLUMN {column}")
                        value = types.numeric(9, 2) if "NUMERIC" in column else None
                        added[column.split()[0]] = (
                            ADDED[column] if value is None else pa.scalar(ADDED[column]).cast(value.arrow).as_py()
                        )
                        rows = {key: row | added for key, row in rows.items()}
                case _:
                    kept.append((engine.snapshot(), dict(rows)))
            with engine.snapshot() as now:
                agree(now, rows, keys, newest=True)
        for snapshot, then in kept:
            agree(snapshot, then, keys, newest=False)
            snapshot.close()


def wide() -> tuple[Table, list[dict[str, Any]]]:
    """A table with a column of every type, and rows with the corners of each; NULLs, too."""
    columns = [Column(id=1, name="id", type=types.BIGINT, nullable=False)]
    columns += [Column(id=n, name=f"c{n}", type=type) for n, type in enumerate(typed_values.EVERY_TYPE, 2)]
    table = Table(id=1, name="t", columns=tuple(columns), primary_key=(1,), key=(1,))
    draw = random.Random(soak.SEED)
    rows: list[dict[str, Any]] = []
    for number in range(500):
        row: dict[str, Any] = {"id": number}
        for column in columns[1:]:
            samples = typed_values.samples_of(column.type)
            row[column.name] = draw.choice(samples if number % 3 else (None, *samples))
        rows.append(row)
    return table, rows


def test_every_type_comes_out_of_memtable_and_segment_as_it_went_in() -> None:
    table, rows = wide()
    store = TableStore(table)
    store.apply_put(batch(table, rows), version=1)
    for sealed in (False, True):
        if sealed:
            sealing.seal_memtables(store)
        for row in rows:
            found = store.get((row["id"],), version=1)
            assert comparable(found) == comparable(row)
            assert found is not None
            again = at_once(store, (row["id"],), version=1)
            assert comparable(again) == comparable(row)
            assert [type(value) for value in again.values()] == [
                type(value)
                for value in looked_up(store, (row["id"],), version=1).values()  # pyright: ignore[reportOptionalMemberAccess]
            ]
            assert list(again) == [column.name for column in table.columns]


@pytest.mark.parametrize("sealed", [False, True])
def test_values_longer_than_there_is_room_for_are_read(sealed: bool) -> None:
    columns = (Column(id=1, name="id", type=types.TEXT, nullable=False), Column(id=2, name="data", type=types.BYTEA))
    table = Table(id=1, name="t", columns=columns, primary_key=(1,), key=(1,))
    store = TableStore(table)
    rows = [{"id": "k" * size, "data": b"\0" * size + b"end"} for size in (1, 33, 5_000, 2, 300_000, 64)]
    store.apply_put(batch(table, rows), version=1)
    if sealed:
        sealing.seal_memtables(store)
    for _ in range(2):
        for row in rows:
            assert store.get((row["id"],), version=1) == row
            assert store.get((row["id"] + "x",), version=1) is None


def test_a_name_of_a_column_is_never_taken_for_code() -> None:
    names = ["id", "it's", '"', "\\", "\n}", "v0", "out", "unpack", "{x}", "ü"]
    columns = [Column(id=n, name=name, type=types.TEXT, nullable=n > 1) for n, name in enumerate(names, 1)]
    table = Table(id=1, name="t", columns=tuple(columns), primary_key=(1,), key=(1,))
    store = TableStore(table)
    rows = [dict.fromkeys(names, "whole"), {"id": "part"} | dict.fromkeys(names[1:])]
    store.apply_put(batch(table, rows), version=1)
    assert [store.get((row["id"],), version=1) for row in rows] == rows


def test_a_segment_that_was_given_up_is_corrupt_for_every_get_that_comes_to_it() -> None:
    table, rows = wide()
    store = TableStore(table)
    store.apply_put(batch(table, rows[:100]), version=1)
    sealing.seal_memtables(store)
    store.apply_put(batch(table, rows[100:200]), version=2)
    assert store.get((5,), version=2) is not None
    assert store.get((5,), version=2) is not None
    store.segments[0].give_up("a test says so")
    assert comparable(store.get((150,), version=2)) == comparable(rows[150])
    for key in (5, 400):
        with pytest.raises(Corrupt, match="a test says so"):
            store.get((key,), version=2)


def test_years_beyond_those_of_python_are_refused_as_the_other_way_does() -> None:
    columns = (Column(id=1, name="id", type=types.BIGINT, nullable=False), Column(id=2, name="day", type=types.DATE))
    table = Table(id=1, name="t", columns=columns, primary_key=(1,), key=(1,))
    store = TableStore(table)
    day = pa.array([20_000 * 365], pa.int32()).cast(pa.date32())
    store.apply_put(pa.RecordBatch.from_arrays([pa.array([1]), day], schema=table.arrow_schema), version=1)
    with pytest.raises(Invalid, match="beyond the years") as refused:
        store.get((1,), version=1)
    assert refused.value.sqlstate == "22008"


def test_ends_that_come_after_a_version_are_looked_up_for_it() -> None:
    columns = (Column(id=1, name="id", type=types.BIGINT, nullable=False), Column(id=2, name="n", type=types.BIGINT))
    table = Table(id=1, name="t", columns=columns, primary_key=(1,), key=(1,))
    store = TableStore(table)
    rows = [{"id": id, "n": id} for id in range(200)]
    store.apply_put(batch(table, rows), version=1)
    sealing.seal_memtables(store)
    store.apply_delete(keys_batch(table, [(3,), (4,)]), version=2)
    store.apply_delete(keys_batch(table, [(5,)]), version=3)
    for key, alive in ((3, 1), (4, 1), (5, 2), (6, 3)):
        for version in (1, 2, 3):
            wanted = rows[key] if version <= alive else None
            assert store.get((key,), version=version) == store.get((key,), version=version) == wanted
    assert at_once(store, (5,), version=2) is UNSURE
    assert at_once(store, (5,), version=3) is None
    store.apply_truncate(version=4)
    assert store.get((6,), version=3) == rows[6]
    assert at_once(store, (6,), version=4) is None


def test_gets_beside_growing_arrays_flushes_and_merges_see_whole_rows(tmp_path: Path) -> None:
    """Texts outgrow their heaps, keys the index, chunks their table; NULLs come; parts take each other's place."""
    db = weftdb.open(tmp_path / "db", history_seconds=0)
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT, n BIGINT, other TEXT)")
    table, stop = db.table("t"), threading.Event()
    failed: list[BaseException] = []
    known = [0]  # rows below this number are there

    def rows(first: int, stop: int, n: int) -> pa.Table:
        ids = range(first, stop)
        other = [None if (id + n) % 5 == 0 else f"{id}" for id in ids]
        names = [f"{id} {n} " + "x" * ((id * 7 + n) % 150) for id in ids]
        return pa.table({"id": pa.array(ids, pa.int64()), "name": names, "n": pa.array([n] * len(ids)), "other": other})

    def guarded(work: Any) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failed.append(error)
            finally:
                stop.set()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def write() -> None:
        draw = random.Random(soak.SEED)
        for n in range(30 * soak.FACTOR):
            first = known[0]
            table.put(rows(first, first + 700, n))
            known[0] = first + 700
            again = draw.randrange(first + 1)
            table.put(rows(again, again + 300 if again + 300 < known[0] else known[0], n))

    def maintain() -> None:
        while not stop.wait(0.2):
            db.engine.flush()
            db.engine.compact()

    def read() -> None:
        draw, last = random.Random(soak.SEED), dict[int, int]()
        while not stop.is_set():
            if not known[0]:
                continue
            id = draw.randrange(known[0])
            row = table.get(id)
            assert row is not None, id
            n = row["n"]
            assert row["name"] == f"{id} {n} " + "x" * ((id * 7 + n) % 150)
            assert row["other"] == (None if (id + n) % 5 == 0 else f"{id}")
            assert n >= last.get(id, 0)
            last[id] = n

    threads = [guarded(work) for work in (write, maintain, read, read)]
    for thread in threads:
        thread.join()
    assert not failed, failed
    assert np.all([table.get(id) is not None for id in range(0, known[0], 97)])
    db.close()
