"""Savepoints and statements of the engine's transaction: going back leaves exactly what was there."""

from __future__ import annotations

import copy
import random
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest
import soak
from weftdb.base.errors import Conflict, Invalid
from weftdb.engine.changes import Change, Isolation
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.engine.savepoint import Savepoint
from weftdb.engine.schema import Table
from weftdb.engine.transaction import Transaction
from weftdb.sql.session import Session

OPTIONS = Options(write_set_bytes=64 * 1024, maintenance=False, durable=False)
"""A transaction spills after some hundred rows."""

Rows = dict[int, tuple[int | None, str]]


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine.open(options=OPTIONS) as engine:
        Session(engine).execute("CREATE TABLE t (k BIGINT PRIMARY KEY, n BIGINT, s TEXT) WITH (shards = 2)")
        Session(engine).execute("CREATE TABLE bag (k BIGINT, n BIGINT)")
        yield engine


@contextmanager
def committed(engine: Engine, isolation: Isolation = Isolation.SNAPSHOT) -> Generator[Transaction]:
    transaction = engine.begin(isolation=isolation)
    yield transaction
    transaction.commit()


def table_of(transaction: Transaction, name: str = "t") -> Table:
    return transaction.catalog.table(name)


def batch(table: Table, rows: Rows) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [{"k": k, "n": n, "s": s} for k, (n, s) in rows.items()], schema=table.arrow_schema
    )


def keys(keys: list[int]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"k": pa.array(keys, pa.int64())}, schema=KEY)


KEY = pa.schema([pa.field("k", pa.int64(), nullable=False)])


def all_of(reader: Any) -> Rows:
    found = [row for b in reader.scan(reader.catalog.table("t")).batches() for row in b.to_pylist()]
    rows = {row["k"]: (row["n"], row["s"]) for row in found}
    assert len(rows) == len(found)
    return rows


@pytest.mark.parametrize("seed", range(soak.many(10, 20)))
def test_going_back_leaves_what_was_there(engine: Engine, seed: int) -> None:
    """Random writes, also beyond memory, with savepoints inside of savepoints, against copies of a dictionary."""
    draw = random.Random(seed)
    few = seed % 2 == 0
    count = 30 if few else 700
    start: Rows = {k: (k, "x" * 20) for k in range(0, count, 2)}
    with committed(engine) as transaction:
        transaction.put(table_of(transaction), batch(table_of(transaction), start))
    engine.flush()
    transaction = engine.begin()
    table = table_of(transaction)
    now: Rows = dict(start)
    touched: set[int] = set()
    added: set[int] = set()
    marks: list[tuple[Savepoint, Rows, set[int], set[int]]] = []
    for _ in range(60):
        some = draw.sample(range(count), draw.randint(1, count // 3))
        match draw.choice(["put", "delete", "add", "add", "savepoint", "back", "back", "release", "truncate"]):
            case "put":
                rows: Rows = {k: (draw.randint(0, 99), draw.choice(["a", "bb", "c" * 90])) for k in some}
                transaction.put(table, batch(table, rows))
                now.update(rows)
                touched |= set(some)
            case "delete":
                assert transaction.delete(table, keys(some)) == len(now.keys() & set(some))
                now = {k: row for k, row in now.items() if k not in some}
                touched |= set(some)
            case "add":
                for k in some[:3]:
                    transaction.add(table, (k,), {"n": 5})
                    n, s = now.get(k, (0, None))
                    now[k] = ((n or 0) + 5, s)  # pyright: ignore[reportArgumentType]
                    added.add(k)
            case "savepoint":
                marks.append((transaction.savepoint(), dict(now), set(touched), set(added)))
            case "back" if marks:
                at = draw.randrange(len(marks))
                for savepoint, *_ in reversed(marks[at + 1 :]):
                    transaction.release(savepoint)
                del marks[at + 1 :]
                scan = transaction.scan(table)
                before = copy.deepcopy(now)
                transaction.rollback_to(marks[at][0])
                read = {row["k"]: (row["n"], row["s"]) for b in scan.batches() for row in b.to_pylist()}
                assert read == before, "a scan that was made before reads on"
                now, touched, added = (copy.copy(marks[at][1]), set(marks[at][2]), set(marks[at][3]))
            case "release" if marks:
                transaction.release(marks.pop()[0])
            case "truncate" if draw.random() < 0.2:
                transaction.truncate(table)
                touched |= set(range(count))
                now = {}
            case _:
                pass
        assert all_of(transaction) == now
        for k in some[:2]:
            row = transaction.get(table, (k,))
            assert (None if row is None else (row["n"], row["s"])) == now.get(k)
        assert transaction.present(table, keys(some)).tolist() == [k in now for k in some]
    others = [k for k in start if k not in touched and k not in added]
    for k in others[:1]:  # what was undone does not conflict
        engine.write("t", Change.PUT, batch(table, {k: (-1, "other")}))
        now[k] = (-1, "other")
    transaction.commit()
    with engine.snapshot() as snapshot:
        assert all_of(snapshot) == now


def test_a_statement_that_fails_is_undone_alone(engine: Engine) -> None:
    with committed(engine) as transaction:
        table = table_of(transaction)
        transaction.put(table, batch(table, {1: (1, "a")}))
        made = Table(id=engine.new_id(), name="u", columns=table.columns, primary_key=(1,))

        def fail() -> None:
            with transaction.statement():
                transaction.create(made)
                transaction.put(table, batch(table, {1: (2, "b"), 2: (2, "b")}))
                transaction.create(made)

        with pytest.raises(Invalid, match="already exists"):
            fail()
        assert "u" not in transaction.catalog.relations
        assert all_of(transaction) == {1: (1, "a")}
        transaction.put(table, batch(table, {3: (3, "c")}))
    with engine.snapshot() as snapshot:
        assert all_of(snapshot) == {1: (1, "a"), 3: (3, "c")}


def test_what_was_spilled_comes_back(engine: Engine) -> None:
    """Rows, gone keys and rewound rows in files, and a commit that installs them."""
    start: Rows = {k: (k, "x" * 50) for k in range(4_000)}
    with committed(engine) as transaction:
        transaction.put(table_of(transaction), batch(table_of(transaction), start))
    transaction = engine.begin()
    table = table_of(transaction)
    own: Rows = {k: (-k, "y" * 50) for k in range(3_000, 6_000)}
    transaction.put(table, batch(table, own))
    transaction.delete(table, keys(list(range(2_000))))
    expected = {k: row for k, row in {**start, **own}.items() if k >= 2_000}
    savepoint = transaction.savepoint()
    for _ in range(2):
        transaction.delete(table, keys(list(range(1_000, 5_000))))
        transaction.put(table, batch(table, dict.fromkeys(range(500, 7000), (0, "z" * 50))))
        writes = transaction._writes[table.id]  # pyright: ignore[reportPrivateUsage]
        assert writes.bytes_written, "it has spilled"
        transaction.rollback_to(savepoint)
        assert all_of(transaction) == expected
    transaction.release(savepoint)
    transaction.commit()
    with engine.snapshot() as snapshot:
        assert all_of(snapshot) == expected


def test_rows_without_primary_key_come_back(engine: Engine) -> None:
    session = Session(engine)
    session.execute("INSERT INTO bag VALUES (1, 1), (1, 1), (2, 2)")
    session.begin()
    session.execute("INSERT INTO bag VALUES (1, 1), (3, 3)")
    assert session.block is not None
    savepoint = session.block.transaction.savepoint()
    session.execute("DELETE FROM bag WHERE k = 1")
    session.execute("UPDATE bag SET n = n * 10")
    session.execute("INSERT INTO bag VALUES (4, 4)")
    session.block.transaction.rollback_to(savepoint)
    rows = [(1, 1), (1, 1), (1, 1), (2, 2), (3, 3)]
    assert sorted(session.execute("SELECT * FROM bag").rows()) == rows
    session.execute("DELETE FROM bag WHERE k = 3")
    session.commit()
    assert sorted(Session(engine).execute("SELECT * FROM bag").rows()) == rows[:-1]


def test_unique_values_of_rows_that_come_back_are_theirs(engine: Engine) -> None:
    """World 10000080, query 72: entries of a unique index named the row ids that the rows had had."""
    session = Session(engine)
    session.execute("CREATE TABLE coins (n INT, u INT UNIQUE)")
    session.execute("INSERT INTO coins VALUES (1, 1), (2, 2), (3, 3)")
    session.execute("BEGIN; UPDATE coins SET n = 5 WHERE u < 3; SAVEPOINT a")
    for change in (
        "UPDATE coins SET n = 6",
        "UPDATE coins SET u = u + 10 WHERE u = 1",
        "DELETE FROM coins WHERE u = 2",
    ):
        session.execute(change)
        session.execute("ROLLBACK TO a")
    session.execute("UPDATE coins SET n = n + 1 WHERE u = 2; COMMIT")
    assert sorted(session.execute("SELECT * FROM coins").rows()) == [(3, 3), (5, 1), (6, 2)]
    assert session.execute("SELECT n FROM coins WHERE u = 2").rows() == [(6,)]
    for taken in (1, 2, 3):
        with pytest.raises(Invalid, match="already exists"):
            session.execute(f"INSERT INTO coins VALUES (0, {taken})")


def test_a_dropped_table_comes_back_with_what_was_written_to_it(engine: Engine) -> None:
    transaction = engine.begin()
    table = table_of(transaction)
    transaction.put(table, batch(table, {1: (1, "a")}))
    outer = transaction.savepoint()
    transaction.drop("t")
    inner = transaction.savepoint()
    transaction.create(Table(id=engine.new_id(), name="t", columns=table.columns, primary_key=(1,)))
    transaction.rollback_to(inner)
    assert "t" not in transaction.catalog.relations
    transaction.rollback_to(outer)
    assert all_of(transaction) == {1: (1, "a")}
    transaction.commit()
    with engine.snapshot() as snapshot:
        assert all_of(snapshot) == {1: (1, "a")}


# -- READ COMMITTED --------------------------------------------------------------------------------------------------


def put(engine: Engine, k: int, n: int) -> None:
    with engine.snapshot() as snapshot:
        table = snapshot.catalog.table("t")
    engine.write("t", Change.PUT, batch(table, {k: (n, "other")}))


def test_each_statement_reads_the_newest_commit(engine: Engine) -> None:
    with committed(engine, Isolation.READ_COMMITTED) as transaction:
        table = table_of(transaction)
        assert all_of(transaction) == {}
        put(engine, 1, 1)
        assert all_of(transaction) == {}, "it is one statement still"
        transaction.refresh()
        assert all_of(transaction) == {1: (1, "other")}
        with transaction.statement():
            put(engine, 2, 2)
            transaction.refresh()
            assert set(all_of(transaction)) == {1}, "a statement has one snapshot"
        transaction.put(table, batch(table, {3: (3, "own")}))
        transaction.refresh()
        assert set(all_of(transaction)) == {1, 2, 3}


def write(transaction: Transaction, how: str, k: int) -> None:
    table = table_of(transaction)
    with transaction.statement():
        match how:
            case "put":
                transaction.put(table, batch(table, {k: (50, "own")}))
            case "delete":
                transaction.delete(table, keys([k]))
            case _:
                transaction.add(table, (k,), {"n": 50})


@pytest.mark.parametrize("other", ["put", "add"])
@pytest.mark.parametrize("how", ["put", "delete", "add"])
def test_a_row_is_validated_against_the_statement_that_wrote_it_first(engine: Engine, how: str, other: str) -> None:
    def change(k: int) -> None:
        if other == "put":
            put(engine, k, 7)
        else:
            with committed(engine) as adding:
                adding.add(table_of(adding), (k,), {"n": 7})

    for before in (True, False):  # the other's change is before the write, or after it
        put(engine, 1, 0)
        transaction = engine.begin(isolation=Isolation.READ_COMMITTED)
        write(transaction, "put", 9)  # something is written at the first snapshot
        if before:
            change(1)
        write(transaction, how, 1)
        if not before:
            change(1)
        write(transaction, "put", 8)
        write(transaction, how, 1)  # once more, at a newer snapshot: the first one counts
        if before or (how == "add" and other == "add"):
            transaction.commit()
        else:
            with pytest.raises(Conflict):
                transaction.commit()
    assert not engine._pins.all(), "nothing stays pinned"  # pyright: ignore[reportPrivateUsage]


def test_what_was_undone_is_not_validated(engine: Engine) -> None:
    put(engine, 1, 0)
    transaction = engine.begin(isolation=Isolation.READ_COMMITTED)
    write(transaction, "put", 9)
    savepoint = transaction.savepoint()
    write(transaction, "put", 1)
    transaction.rollback_to(savepoint)
    put(engine, 1, 5)
    write(transaction, "add", 1)
    transaction.commit()
    with engine.snapshot() as snapshot:
        assert all_of(snapshot)[1] == (55, "other")


def test_amounts_are_laid_over_what_others_add(engine: Engine) -> None:
    put(engine, 1, 0)
    transaction = engine.begin(isolation=Isolation.READ_COMMITTED)
    write(transaction, "add", 1)
    savepoint = transaction.savepoint()
    with committed(engine) as other:
        other.add(table_of(other), (1,), {"n": 7})
    transaction.refresh()
    assert all_of(transaction)[1][0] == 57
    write(transaction, "add", 1)
    assert all_of(transaction)[1][0] == 107
    transaction.rollback_to(savepoint)
    assert all_of(transaction)[1][0] == 57
    transaction.commit()
    with engine.snapshot() as snapshot:
        assert all_of(snapshot)[1][0] == 57


def test_a_large_one_is_validated_against_its_first_snapshot(engine: Engine) -> None:
    put(engine, 1, 0)
    transaction = engine.begin(isolation=Isolation.READ_COMMITTED)
    table = table_of(transaction)
    with transaction.statement():
        transaction.put(table, batch(table, {k: (k, "x" * 100) for k in range(10, 2_000)}))
    put(engine, 1, 5)
    write(transaction, "put", 1)
    with pytest.raises(Conflict):
        transaction.commit()


def test_a_definition_that_others_change_is_a_conflict(engine: Engine) -> None:
    transaction = engine.begin(isolation=Isolation.READ_COMMITTED)
    write(transaction, "put", 1)
    Session(engine).execute("ALTER TABLE t ADD COLUMN more INT")
    with pytest.raises(Conflict, match="altered"):
        transaction.refresh()
    transaction.rollback()
    with committed(engine, Isolation.READ_COMMITTED) as reading:
        assert "more" in reading.catalog.table("t").by_name
        Session(engine).execute("ALTER TABLE t DROP COLUMN more")
        reading.refresh()
        assert "more" not in reading.catalog.table("t").by_name


def test_a_key_that_others_inserted_is_there_for_the_next_statement(engine: Engine) -> None:
    transaction = engine.begin(isolation=Isolation.READ_COMMITTED)
    table = table_of(transaction)
    put(engine, 1, 0)
    with pytest.raises(Invalid, match="already exists"), transaction.statement():
        transaction.insert(table, batch(table, {1: (1, "a")}))
    transaction.rollback()
