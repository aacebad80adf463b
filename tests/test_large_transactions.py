"""Transactions that do not fit in memory or in a record: the same as small ones, all or nothing, and nobody waits."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import textwrap
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import soak
from server_child import Zygote
from weftdb.base.errors import Conflict, Corrupt, Invalid, LimitExceeded
from weftdb.engine.changes import Change
from weftdb.engine.check import check_folder
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.engine.prepared import LookAgain, Prepared
from weftdb.engine.schema import Table
from weftdb.engine.segment import Segment
from weftdb.engine.transaction import Transaction
from weftdb.sql.session import Session
from weftdb.storage.storage import segment_name

OPTIONS = Options(write_set_bytes=64 * 1024, maintenance=False)
"""A transaction spills after some thousand rows."""

EPOCH = datetime(2026, 1, 5)

CREATE = {
    "woven": """CREATE TABLE t (k BIGINT, at TIMESTAMP, n BIGINT, s TEXT, PRIMARY KEY (k, at))
                WITH (key = 'k', time = 'at', every = '1 day', shards = 2)""",
    "plain": "CREATE TABLE t (k BIGINT, at TIMESTAMP, n BIGINT, s TEXT, PRIMARY KEY (k, at))",
    "text": """CREATE TABLE t (k BIGINT, at TIMESTAMP, n BIGINT, s TEXT, PRIMARY KEY (s, k, at))
               WITH (key = 's', shards = 3)""",
}

Row = tuple[int, datetime, int | None, str | None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    with Engine.open(folder, options=OPTIONS) as engine:
        Session(engine).execute(CREATE["woven"])
        yield engine


def files(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / "segments"))


def at(key: int) -> datetime:
    return EPOCH + timedelta(minutes=37 * (key % 200))


def rows_of(keys: Any, *, n: int = 0) -> list[Row]:
    return [(key, at(key), n + key, f"s{key % 5}") for key in keys]


def batch_of(table: Table, rows: list[Row]) -> pa.RecordBatch:
    names = ("k", "at", "n", "s")
    return pa.RecordBatch.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema=table.arrow_schema)


def keys_of(table: Table, rows: list[Row]) -> pa.RecordBatch:
    return batch_of(table, rows).select([column.name for column in table.primary_key_columns])


def everything(reader: Any) -> list[Row]:
    """All rows of ``t``, sorted, as a scan gives them."""
    table = reader.catalog.table("t")
    batches = reader.scan(table).batches()
    return sorted(tuple(row.values()) for batch in batches for row in batch.to_pylist())


def now(engine: Engine) -> list[Row]:
    with engine.snapshot() as snapshot:
        return everything(snapshot)


def table_of(engine: Engine) -> Table:
    with engine.snapshot() as snapshot:
        return snapshot.catalog.table("t")


def put(engine: Engine, rows: list[Row]) -> None:
    engine.write("t", Change.PUT, batch_of(table_of(engine), rows))


def spilled(transaction: Transaction) -> int:
    return sum(writes.bytes_written for writes in transaction._writes.values())


# -- the same as small ones ------------------------------------------------------------------------------------------


class Model:
    """One transaction and the dictionary that it must agree with."""

    def __init__(self, engine: Engine, random: random.Random) -> None:
        self.engine = engine
        self.session = Session(engine)
        self.session.begin()
        self.transaction = self.session.block.transaction  # pyright: ignore[reportOptionalMemberAccess]
        self.table = self.session.describe("t")
        self.random = random
        with engine.snapshot() as snapshot:
            self.rows: dict[int, Row] = {row[0]: row for row in everything(snapshot)}

    def step(self) -> None:
        random, table = self.random, self.table
        start, count = random.randrange(6_000), random.randrange(1, 1_500)
        keys = range(start, start + count)
        match random.randrange(8):
            case 0 | 1:
                fresh = rows_of([key for key in keys if key not in self.rows], n=random.randrange(1_000))
                self.transaction.insert(table, batch_of(table, fresh))
                self.rows |= {row[0]: row for row in fresh}
                if any(key in self.rows for key in keys):
                    with pytest.raises(Invalid, match="duplicate key"):
                        self.transaction.insert(table, batch_of(table, rows_of(keys)))
            case 2:
                changed = rows_of(keys, n=random.randrange(1_000))
                self.transaction.put(table, batch_of(table, changed))
                self.rows |= {row[0]: row for row in changed}
            case 3:
                found = self.transaction.delete(table, keys_of(table, rows_of(keys)))
                assert found == sum(self.rows.pop(key, None) is not None for key in keys)
            case 4:
                result = self.session.execute(f"UPDATE t SET n = n + 7 WHERE k % 3 = 1 AND k >= {start}")
                hit = [key for key in self.rows if key % 3 == 1 and key >= start]
                assert result.rows_affected == len(hit)
                for key in hit:
                    row = self.rows[key]
                    self.rows[key] = (row[0], row[1], (row[2] or 0) + 7, row[3])
            case 5:
                for key in random.sample(range(start, start + count), min(count, 5)):
                    row = self.rows.get(key) or (key, at(key), None, f"s{key % 5}")
                    names = [column.name for column in table.primary_key_columns]
                    values = dict(zip(("k", "at", "n", "s"), row, strict=True))
                    self.transaction.add(table, tuple(values[name] for name in names), {"n": 3})
                    kept = row[3] if key in self.rows or "s" in names else None
                    self.rows[key] = (key, row[1], (row[2] or 0) + 3, kept)
            case 6:
                result = self.session.execute(f"DELETE FROM t WHERE k % 5 = 2 AND k < {start}")
                hit = [key for key in self.rows if key % 5 == 2 and key < start]
                assert result.rows_affected == len(hit)
                for key in hit:
                    del self.rows[key]
            case _:
                # Keys move: every row of a range goes where none is.
                result = self.session.execute(f"UPDATE t SET k = k + 1000000 WHERE k >= {start} AND k < {start + 50}")
                hit = [key for key in self.rows if start <= key < start + 50]
                assert result.rows_affected == len(hit)
                self.session.execute("DELETE FROM t WHERE k >= 1000000")
                for key in hit:
                    del self.rows[key]

    def check(self) -> None:
        assert everything(self.transaction) == sorted(self.rows.values())
        assert self.session.execute("SELECT count(*), sum(n) FROM t").rows() == [
            (len(self.rows), sum(row[2] or 0 for row in self.rows.values()) if self.rows else None)
        ]
        names = [column.name for column in self.table.primary_key_columns]
        for key in self.random.sample(range(8_000), 5):
            row = self.rows.get(key)
            known = dict(zip(("k", "at", "n", "s"), row or rows_of([key])[0], strict=True))
            got = self.transaction.get(self.table, tuple(known[name] for name in names))
            assert got == (None if row is None else known)
        asked = rows_of(range(100, 1_100))
        found, indices = self.transaction.get_many(self.table, keys_of(self.table, asked))
        assert indices.tolist() == [index for index, row in enumerate(asked) if row[0] in self.rows]
        assert [tuple(row.values()) for row in found.to_pylist()] == [self.rows[asked[i][0]] for i in indices.tolist()]


@pytest.mark.parametrize("kind", CREATE)
@pytest.mark.parametrize("seed", range(soak.many(1, 2)))
def test_a_large_transaction_agrees_with_a_dictionary(folder: Path, kind: str, seed: int) -> None:
    chosen = random.Random(seed)
    engine = Engine.open(folder, options=OPTIONS)
    Session(engine).execute(CREATE[kind])
    for round in range(3):
        before = now(engine)
        model = Model(engine, chosen)
        for _ in range(8):
            model.step()
            model.check()
        assert spilled(model.transaction), "it spilled"
        with engine.snapshot() as old:
            model.session.commit()
            expected = sorted(model.rows.values())
            assert now(engine) == expected
            assert everything(old) == before, "an older snapshot sees none of it"
        match round:
            case 0:
                engine.close()  # the log installs it once more
                engine = Engine.open(folder, options=OPTIONS)
            case 1:
                put(engine, rows_of(range(20, 40), n=5))
                engine.flush()
                engine.compact()
                put(engine, rows_of(range(30, 50), n=6))
                rows = {row[0]: row for row in [*expected, *rows_of(range(20, 40), n=5), *rows_of(range(30, 50), n=6)]}
                expected = sorted(rows.values())
                engine.close()
                engine = Engine.open(folder, options=OPTIONS)
            case _:
                engine.flush()
        assert now(engine) == expected
    engine.close()


def test_rows_without_primary_key_keep_their_identity_in_files(folder: Path) -> None:
    with Engine.open(folder, options=OPTIONS) as engine:
        session = Session(engine)
        session.execute(
            "CREATE TABLE t (device BIGINT, at TIMESTAMP, n BIGINT) WITH (key = 'device', time = 'at', shards = 2)"
        )
        start = "TIMESTAMP '2026-01-05'"
        made = f"SELECT i % 10, {start} + i * INTERVAL '1 minute', i FROM generate_series(1, 20000) AS g(i)"
        session.execute(f"INSERT INTO t {made}")
        session.begin()
        session.execute(f"INSERT INTO t {made}")
        assert session.execute("UPDATE t SET n = -n WHERE n % 4 = 0").rows_affected == 10_000
        assert session.execute("DELETE FROM t WHERE n % 4 = 1").rows_affected == 10_000
        assert session.execute("UPDATE t SET n = n - 1 WHERE n < 0").rows_affected == 10_000
        seen = session.execute("SELECT count(*), sum(n), count(DISTINCT n) FROM t").rows()
        session.commit()
        assert session.execute("SELECT count(*), sum(n), count(DISTINCT n) FROM t").rows() == seen
    with Engine.open(folder, options=OPTIONS) as engine:
        session = Session(engine)
        assert session.execute("SELECT count(*), sum(n), count(DISTINCT n) FROM t").rows() == seen
        engine.flush()
        assert session.execute("DELETE FROM t WHERE n < 0").rows_affected == 10_000
        assert session.execute("DELETE FROM t").rows_affected == 20_000
        assert session.execute("SELECT count(*) FROM t").scalar() == 0


def test_a_table_that_the_transaction_made_is_filled_by_files(folder: Path) -> None:
    with Engine.open(folder, options=OPTIONS) as engine:
        Session(engine).execute("CREATE TABLE t AS SELECT i AS n, 'x' || i AS s FROM generate_series(1, 30000) AS g(i)")
    with Engine.open(folder, options=OPTIONS) as engine:
        found = Session(engine).execute("SELECT count(*), sum(n), max(s) FROM t").rows()
        assert found == [(30_000, 450_015_000, "x9999")]


def test_truncate_and_much_after_it(engine: Engine, folder: Path) -> None:
    session = Session(engine)
    put(engine, rows_of(range(3_000)))
    with engine.snapshot() as old:
        session.begin()
        transaction = session.block.transaction  # pyright: ignore[reportOptionalMemberAccess]
        table = table_of(engine)
        transaction.insert(table, batch_of(table, rows_of(range(10_000, 14_000))))
        session.execute("TRUNCATE t")
        transaction.insert(table, batch_of(table, rows_of(range(2_000, 6_000), n=1)))
        session.commit()
        assert now(engine) == sorted(rows_of(range(2_000, 6_000), n=1))
        assert everything(old) == sorted(rows_of(range(3_000)))
    engine.close()
    with Engine.open(folder, options=OPTIONS) as again:
        assert now(again) == sorted(rows_of(range(2_000, 6_000), n=1))


# -- conflicts: the first committer wins -----------------------------------------------------------------------------


def begin_large(engine: Engine, keys: range, *, more: range | None = None) -> Transaction:
    """A transaction that has put ``keys`` and ``more`` (the 3,000 after them), and spilled."""
    transaction = engine.begin()
    table = table_of(engine)
    transaction.put(table, batch_of(table, rows_of(keys, n=1)))
    transaction.put(table, batch_of(table, rows_of(more or range(keys.stop, keys.stop + 3_000), n=1)))
    assert spilled(transaction)
    return transaction


Small = Callable[[Engine, int], None]


def small_put(engine: Engine, key: int) -> None:
    put(engine, rows_of([key], n=-1))


def small_delete(engine: Engine, key: int) -> None:
    table = table_of(engine)
    engine.write("t", Change.DELETE, keys_of(table, rows_of([key])))


def small_add(engine: Engine, key: int) -> None:
    amounts = batch_of(table_of(engine), rows_of([key])).select(["k", "at", "n"])
    engine.write("t", Change.ADD, amounts)


def another_large(engine: Engine, key: int) -> None:
    begin_large(engine, range(key, key + 1), more=range(200_000, 203_000)).commit()


def flushed(engine: Engine, key: int) -> None:
    small_put(engine, key)
    engine.flush()


@pytest.mark.parametrize("small", [small_put, small_delete, small_add, another_large, flushed])
@pytest.mark.parametrize("when", ["before it writes", "before it spills", "after it spilled", "while it commits"])
@pytest.mark.parametrize("key", [500, 50_000])
def test_a_row_that_another_changed_meanwhile_is_a_conflict(
    engine: Engine, small: Small, when: str, key: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(engine, rows_of(range(400, 600)))
    put(engine, rows_of([50_000]))
    before = {row[0]: row for row in now(engine)}
    table = table_of(engine)
    transaction = engine.begin()
    assert transaction.version == engine.version
    steps = {
        "before it writes": lambda: None,
        "before it spills": lambda: transaction.put(table, batch_of(table, rows_of(range(100), n=1))),
        "after it spilled": lambda: transaction.put(table, batch_of(table, rows_of(range(5_000), n=1))),
        "while it commits": lambda: transaction.put(table, batch_of(table, rows_of(range(5_000), n=1))),
    }
    steps[when]()
    if when == "while it commits":
        settle = Prepared.settle
        calls: list[int] = []

        def settle_and_lose(prepared: Prepared, store: Any) -> None:
            settle(prepared, store)
            if not calls:
                calls.append(1)
                small(engine, key)

        monkeypatch.setattr(Prepared, "settle", settle_and_lose)
    else:
        small(engine, key)
    transaction.put(table, batch_of(table, rows_of(range(2_000, 7_000), n=1)))
    transaction.put(table, batch_of(table, rows_of(range(2_000), n=1)))
    assert spilled(transaction)
    if key < 7_000:
        with pytest.raises(Conflict) as caught:
            transaction.commit()
        assert not isinstance(caught.value, LookAgain)
        assert f"(k, at)=({key}," in str(caught.value)
        after = {row[0]: row for row in now(engine)}
        assert {k: after[k] for k in before if k != key} == {k: before[k] for k in before if k != key}
        assert len(after) <= len(before) + 3_000
    else:
        transaction.commit()
        rows = {row[0]: row for row in now(engine)}
        assert [rows[k] for k in range(7_000)] == rows_of(range(7_000), n=1)


def test_a_small_transaction_conflicts_with_a_large_one_that_was_first(engine: Engine) -> None:
    put(engine, rows_of(range(1_000)))
    table = table_of(engine)
    large = begin_large(engine, range(500, 5_000))
    mine, theirs, apart = engine.begin(), engine.begin(), engine.begin()
    for transaction, key in ((mine, 700), (theirs, 4_999), (apart, 100)):
        transaction.put(table, batch_of(table, rows_of([key], n=9)))
    large.commit()
    for transaction in (mine, theirs):
        with pytest.raises(Conflict):
            transaction.commit()
    apart.commit()
    after = {row[0]: row for row in now(engine)}
    assert (after[100][2], after[700][2], after[4_999][2]) == (109, 701, 5_000)


def test_deltas_of_a_large_transaction_commute(engine: Engine) -> None:
    put(engine, rows_of(range(10)))
    table = table_of(engine)
    large = engine.begin()
    large.add(table, (5, at(5)), {"n": 100})
    for start in (1_000, 3_500):
        large.put(table, batch_of(table, rows_of(range(start, start + 2_500), n=1)))
    assert spilled(large)
    small = engine.begin()
    small.add(table, (5, at(5)), {"n": 1_000})
    small.commit()
    large.commit()
    rows = {row[0]: row for row in now(engine)}
    assert rows[5][2] == 1_105
    assert len(rows) == 5_010


def test_a_row_that_is_deleted_and_put_again_leaves_its_group_once(engine: Engine, folder: Path) -> None:
    """It is one that was deleted, and one that is replaced. Seed 30001 of the model of views."""
    session = Session(engine)
    rows = (
        "SELECT g, timestamp '2026-01-05' + g % 50 * interval '1 hour', g, 'before' FROM generate_series(1, 6000) AS g"
    )
    session.execute(f"INSERT INTO t {rows}")
    session.execute("CREATE MATERIALIZED VIEW v AS SELECT s, count(*) AS rows, sum(n) AS total FROM t GROUP BY s")
    session.execute("CREATE INDEX by_n ON t (n)")
    session.execute("BEGIN")
    session.execute("DELETE FROM t WHERE k % 100 = 7")
    session.execute(f"INSERT INTO t {rows.replace('before', 'after')} WHERE g % 100 = 7")
    session.execute("UPDATE t SET n = n + 1, s = 'other' WHERE k % 100 <> 7")
    session.execute("COMMIT")
    session.close()
    wanted = [
        ("after", 60, sum(range(7, 6000, 100))),
        ("other", 5940, sum(range(1, 6001)) - sum(range(7, 6000, 100)) + 5940),
    ]
    for _ in range(2):
        session = Session(engine)
        assert session.execute("SELECT * FROM v ORDER BY s").rows() == wanted
        assert session.execute("VERIFY MATERIALIZED VIEW v").rows() == []
        assert session.execute("SELECT s FROM t WHERE n = 107 ORDER BY s").rows() == [("after",), ("other",)]
        session.close()
        engine.close()
        engine = Engine.open(folder, options=OPTIONS)
    engine.close()


def test_two_large_transactions_on_one_table(engine: Engine, folder: Path) -> None:
    keys = (range(5_000), range(10_000, 15_000), range(4_999, 5_001))
    first, second, third = (begin_large(engine, range_) for range_ in keys)
    second.commit()
    first.commit()
    with pytest.raises(Conflict):
        third.commit()
    expected = sorted([*rows_of(range(8_000), n=1), *rows_of(range(10_000, 18_000), n=1)])
    assert now(engine) == expected
    assert all(not transaction._writes for transaction in (first, second, third))
    engine.close()
    with Engine.open(folder, options=OPTIONS) as again:
        assert now(again) == expected


def test_a_flush_or_a_merge_while_it_commits_changes_nothing(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that it replaces were looked up in parts that are gone when it commits."""
    put(engine, rows_of(range(0, 8_000, 2)))
    engine.flush()
    put(engine, rows_of(range(1, 4_000, 2)))
    settle = Prepared.settle
    work = [engine.flush, engine.compact]

    def settle_and_merge(prepared: Prepared, store: Any) -> None:
        settle(prepared, store)
        if work:
            work.pop(0)()

    monkeypatch.setattr(Prepared, "settle", settle_and_merge)
    with engine.snapshot() as old:
        expected_before = everything(old)
        large = begin_large(engine, range(1_000, 6_000))
        table = table_of(engine)
        large.delete(table, keys_of(table, rows_of(range(500))))
        large.commit()
        assert not work
        rows = {row[0]: row for row in [*expected_before, *rows_of(range(1_000, 9_000), n=1)] if row[0] >= 500}
        assert now(engine) == sorted(rows.values())
        assert everything(old) == expected_before
    engine.close()
    with Engine.open(folder, options=OPTIONS) as again:
        assert now(again) == sorted(rows.values())


def test_flushes_and_merges_without_end_do_not_hold_it_up(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some looks the commit itself finds the rows whose parts have gone."""
    put(engine, rows_of(range(0, 8_000, 2)))
    settle = Prepared.settle
    looks: list[int] = []

    def settle_and_merge(prepared: Prepared, store: Any) -> None:
        settle(prepared, store)
        looks.append(1)
        put(engine, rows_of(range(50_000 + 10 * len(looks), 50_010 + 10 * len(looks))))
        engine.flush()
        engine.compact()
        assert prepared.ends.stale()

    monkeypatch.setattr(Prepared, "settle", settle_and_merge)
    large = begin_large(engine, range(1_000, 6_000))
    table = table_of(engine)
    assert large.delete(table, keys_of(table, rows_of(range(500)))) == 250
    large.commit()
    assert len(looks) > 3
    kept = [*rows_of(range(500, 1_000, 2)), *rows_of(range(1_000, 9_000), n=1)]
    expected = sorted([*kept, *rows_of(range(50_010, 50_020 + 10 * (len(looks) - 1)))])
    assert now(engine) == expected
    engine.close()
    with Engine.open(folder, options=OPTIONS) as again:
        assert now(again) == expected


# -- all or nothing --------------------------------------------------------------------------------------------------


def test_a_transaction_that_ends_otherwise_leaves_no_files(engine: Engine, folder: Path) -> None:
    put(engine, rows_of(range(10)))
    before = now(engine)
    begin_large(engine, range(5_000)).rollback()
    session = Session(engine)
    values = "i, TIMESTAMP '2026-01-05', 1 / (200000 - i), 'x'"
    with pytest.raises(Invalid, match="division by zero"):
        session.execute(f"INSERT INTO t SELECT {values} FROM generate_series(11, 200000) AS g(i)")
    losing = begin_large(engine, range(5_000))
    put(engine, rows_of([4]))
    with pytest.raises(Conflict):
        losing.commit()
    assert files(folder) == []
    assert now(engine) == before


def flip(file: Path, *, start: int, length: int) -> None:
    data = bytearray(file.read_bytes())
    for place in range(start, start + length, 32):
        data[place] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("kind", ["missing", "cut", "flipped", "overlay"])
def test_damaged_files_of_a_transaction_in_the_log_fail_the_queries_that_need_them(
    engine: Engine, folder: Path, kind: str
) -> None:
    """What they replaced is not known then. It must not come back to life, neither at once nor after a checkpoint."""
    Session(engine).execute("CREATE TABLE other (id BIGINT PRIMARY KEY)")
    Session(engine).execute("INSERT INTO other VALUES (1), (2)")
    far = [(key, EPOCH + timedelta(days=100), key, "far") for key in range(50)]
    put(engine, [*rows_of(range(4_000)), *far])
    engine.flush()
    put(engine, rows_of(range(1_000), n=5))
    before, version = now(engine), engine.version
    large = begin_large(engine, range(500, 5_000))
    table = table_of(engine)
    large.put(table, batch_of(table, rows_of(range(5_000, 6_000), n=2)))
    large.commit()
    newer = rows_of(range(600, 610), n=9)
    put(engine, newer)
    parts = [part for cell in engine._state.stores[table.id].cells for part in cell.parts]
    prepared = [part.description for part in parts if isinstance(part, Segment) and part.description.begin is not None]
    engine.close()
    places = [item.overlay for item in prepared if item.overlay] if kind == "overlay" else [i.place for i in prepared]
    assert places
    for place in places:
        file = folder / "segments" / segment_name(place.file)
        match kind:
            case "missing":
                file.unlink(missing_ok=True)
            case "cut":
                os.truncate(file, 100)
            case _:
                flip(file, start=place.offset, length=place.length)
    problems = check_folder(folder).problems
    assert problems
    assert all('table "t"' in problem.affects for problem in problems)
    for _ in range(3):
        with Engine.open(folder, options=OPTIONS) as engine:
            session = Session(engine)
            assert session.execute("SELECT count(*) FROM other").scalar() == 2
            assert sorted(session.execute("SELECT * FROM t WHERE at >= '2026-03-01'").rows()) == far
            for query in ("SELECT * FROM t", "SELECT count(*) FROM t", "SELECT sum(n) FROM t WHERE k < 3000"):
                with pytest.raises(Corrupt, match=r"\.seg"):
                    session.execute(query).rows()
            # Without damage to its rows, a segment that has no overlay is sound.
            refused = contextlib.suppress(Corrupt) if kind == "overlay" else pytest.raises(Corrupt, match=r"\.seg")
            for key, n in {500: 501, 700: 701, 5_500: 5_502}.items():
                for condition in (f"k = {key} AND at = '{at(key)}'", f"k = {key}", f"k = {key} AND at < '2026-03-01'"):
                    with refused:
                        assert session.execute(f"SELECT n FROM t WHERE {condition} AND s <> 'far'").scalar() == n
            with engine.snapshot() as snapshot:
                for row in newer:
                    assert snapshot.get(table, row[:2]) == dict(zip(("k", "at", "n", "s"), row, strict=True))
            with engine.snapshot(as_of=version) as snapshot:
                assert everything(snapshot) == before
            put(engine, newer)
            engine.flush()
            with contextlib.suppress(Corrupt):
                engine.compact()
    with Engine.open(folder, options=OPTIONS) as engine:
        Session(engine).execute("TRUNCATE t")
        assert now(engine) == []
        engine.flush()


def test_damage_that_a_commit_meets_at_its_last_look_stops_nobody_else(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts have gone in which rows to end were found, and what is in their place cannot be read: too late."""
    Session(engine).execute("CREATE TABLE other (id BIGINT PRIMARY KEY)")
    put(engine, rows_of(range(4_000)))
    settle, find = Prepared.settle, Segment.find

    def damaged(segment: Segment, probe: Any) -> Any:
        if segment in old:
            raise Corrupt("000.seg is damaged")
        return find(segment, probe)

    def settle_and_flush(prepared: Prepared, store: Any) -> None:
        settle(prepared, store)
        engine.flush()
        old.update(store.segments)

    old: set[Segment] = set()
    monkeypatch.setattr("weftdb.engine.prepared.STALE_LOOKS_MAX", 0)
    monkeypatch.setattr(Prepared, "settle", settle_and_flush)
    monkeypatch.setattr(Segment, "find", damaged)
    large = begin_large(engine, range(1_000, 6_000))
    large.commit()
    assert old
    with pytest.raises(Corrupt, match=r"\.seg cannot be read any more"):
        now(engine)
    assert Session(engine).execute("INSERT INTO other VALUES (1)").rows_affected == 1


def test_damaged_keys_of_rows_that_a_transaction_in_the_log_deleted_are_told(engine: Engine, folder: Path) -> None:
    put(engine, rows_of(range(6_000)))
    engine.flush()
    kept = set(files(folder))
    large, table = engine.begin(), table_of(engine)
    for start in range(0, 6_000, 2_000):
        assert large.delete(table, keys_of(table, rows_of(range(start, start + 2_000)))) == 2_000
    large.commit()
    (name, *_) = set(files(folder)) - kept
    engine.close()
    os.truncate(folder / "segments" / name, 100)
    assert any("cannot be opened" in problem.affects for problem in check_folder(folder).problems)
    with pytest.raises(Corrupt, match=f'{name}.* keys of rows of table "t" that version'):
        Engine.open(folder, options=OPTIONS)


def test_more_than_max_transaction_bytes_is_refused(folder: Path) -> None:
    options = Options(write_set_bytes=64 * 1024, max_transaction_bytes=512 * 1024, maintenance=False)
    with Engine.open(folder, options=options) as engine:
        session = Session(engine)
        session.execute(CREATE["plain"])
        insert = "INSERT INTO t SELECT i, TIMESTAMP '2026-01-05', i, 'x' FROM generate_series(1, {}) AS g(i)"
        with pytest.raises(LimitExceeded, match="max_transaction_bytes"):
            session.execute(insert.format(300_000))
        assert files(folder) == []
        session.execute(insert.format(3_000))
        assert session.execute("SELECT count(*) FROM t").scalar() == 3_000


def test_memory_stays_within_its_share(folder: Path) -> None:
    share = 1024 * 1024
    with Engine.open(folder, options=Options(write_set_bytes=share, maintenance=False)) as engine:
        Session(engine).execute(CREATE["woven"])
        transaction = engine.begin()
        table = table_of(engine)
        most = 0
        for start in range(0, 60_000, 1_000):
            transaction.insert(table, batch_of(table, rows_of(range(start, start + 1_000))))
            most = max(most, transaction.bytes_used)
        assert share // 2 < most <= share * 5 // 4
        transaction.commit()
        assert len(now(engine)) == 60_000


def test_the_same_transaction_id_commits_once(engine: Engine, folder: Path) -> None:
    commits = []
    for _ in range(2):
        transaction = engine.begin(id="load 7")
        table = table_of(engine)
        transaction.put(table, batch_of(table, rows_of(range(5_000), n=1)))
        commits.append(transaction.commit())
    assert commits[0] == commits[1]
    assert now(engine) == rows_of(range(5_000), n=1)
    left = len(files(folder))
    engine.close()
    with Engine.open(folder, options=OPTIONS) as again:
        assert len(files(folder)) == left, "the second attempt left no files"
        assert now(again) == rows_of(range(5_000), n=1)


CHILD = """
    import os, signal, sys
    sys.path[:0] = [{support!r}, {support!r} + '/support']
    from test_large_transactions import *
    engine = Engine.open({folder!r}, options=OPTIONS)
    large = begin_large(engine, range(5_000))
    if {when!r} == "prepared":
        from weftdb.engine import sequencer
        sequencer.Sequencer._commit = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    if {when!r} == "installed":
        from weftdb.engine.apply import State
        State.apply = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    if {when!r} != "spilled":
        large.commit()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("when", ["spilled", "prepared", "installed", "committed"])
def test_a_killed_process_leaves_all_or_nothing(folder: Path, when: str, zygote: Zygote) -> None:
    with Engine.open(folder, options=OPTIONS) as engine:
        Session(engine).execute(CREATE["woven"])
        put(engine, rows_of(range(100)))
    code = textwrap.dedent(CHILD).format(support=str(Path(__file__).parent), folder=str(folder), when=when)
    with zygote.popen(["-c", code]) as process:
        said = process.stdout.read()
    assert process.returncode == -signal.SIGKILL, said
    assert files(folder), "there were files when it died"
    with Engine.open(folder, options=OPTIONS) as engine:
        if when in ("spilled", "prepared"):
            assert now(engine) == rows_of(range(100))
            assert files(folder) == []
        else:
            assert now(engine) == rows_of(range(8_000), n=1)
            engine.flush()
    with Engine.open(folder, options=OPTIONS) as engine:
        assert len(now(engine)) == (100 if when in ("spilled", "prepared") else 8_000)


def test_a_database_in_memory_takes_large_transactions_too() -> None:
    with Engine.open(options=OPTIONS) as engine:
        Session(engine).execute(CREATE["woven"])
        put(engine, rows_of(range(100)))
        large = begin_large(engine, range(50, 5_000))
        large.commit()
        assert now(engine) == sorted([*rows_of(range(50)), *rows_of(range(50, 8_000), n=1)])


# -- blind loads beyond a record -------------------------------------------------------------------------------------


def test_a_blind_batch_beyond_a_record_goes_into_files(engine: Engine, folder: Path) -> None:
    table = table_of(engine)
    put(engine, rows_of(range(50, 100), n=-7))
    rows = rows_of(range(150_000))
    commit = engine.write("t", Change.PUT, batch_of(table, rows))
    assert (commit.rows, commit.version) == (150_000, engine.version)
    assert files(folder)
    assert now(engine) == sorted(rows)
    with pytest.raises(Invalid, match=r"duplicate key .*\(k, at\)=\(\d+, .* already exists"):
        engine.write("t", Change.INSERT, batch_of(table, rows))
    twice = [*rows_of(range(200_000, 350_000)), rows_of([200_007])[0]]
    with pytest.raises(Invalid, match=r"stands twice in the batch \(row 150001\)"):
        engine.write("t", Change.INSERT, batch_of(table, twice))
    assert engine.write("t", Change.INSERT, batch_of(table, twice[:-1])).rows == 150_000
    gone = keys_of(table, rows_of([*range(140_000), *range(900_000, 910_000)]))
    assert engine.write("t", Change.DELETE, gone).rows == 140_000
    expected = sorted([*rows_of(range(140_000, 150_000)), *twice[:-1]])
    assert now(engine) == expected
    engine.close()
    with Engine.open(folder, options=OPTIONS) as again:
        assert now(again) == expected
        again.flush()
        again.compact()
        assert now(again) == expected


def test_a_blind_put_never_conflicts_and_wins_by_its_place_in_the_log(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = table_of(engine)
    put(engine, rows_of(range(10)))
    settle = Prepared.settle
    others = [lambda: put(engine, rows_of(range(5, 20), n=9)), lambda: engine.flush(), lambda: small_delete(engine, 7)]

    def settle_and_lose(prepared: Prepared, store: Any) -> None:
        settle(prepared, store)
        if others:
            others.pop(0)()

    monkeypatch.setattr(Prepared, "settle", settle_and_lose)
    with engine.load("t", Change.PUT) as load:
        for start in range(0, 120_000, 20_000):
            load.add(batch_of(table, rows_of(range(start, start + 20_000), n=1)))
        load.commit()
    assert len(others) < 3
    assert now(engine) == sorted(rows_of(range(120_000), n=1))
    engine.close()
    with Engine.open(folder, options=OPTIONS) as again:
        assert now(again) == sorted(rows_of(range(120_000), n=1))


def test_a_blind_insert_meets_what_others_inserted_meanwhile(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = Prepared.settle

    def settle_and_lose(prepared: Prepared, store: Any) -> None:
        settle(prepared, store)
        put(engine, rows_of([77_777]))

    monkeypatch.setattr(Prepared, "settle", settle_and_lose)
    with engine.load("t", Change.INSERT) as load:
        load.add(batch_of(table_of(engine), rows_of(range(110_000))))
        with pytest.raises(Invalid, match=r"\(k, at\)=\(77777, .* already exists"):
            load.commit()
    assert now(engine) == rows_of([77_777])
    assert files(folder) == []


def test_a_load_that_is_given_up_leaves_nothing(engine: Engine, folder: Path) -> None:
    with engine.load("t", Change.INSERT) as load:
        for start in (0, 120_000):
            load.add(batch_of(table_of(engine), rows_of(range(start, start + 120_000))))
        assert files(folder)
    assert files(folder) == []
    assert now(engine) == []


def test_a_stream_of_rows_is_one_write(engine: Engine, folder: Path) -> None:
    session = Session(engine)
    table = table_of(engine)
    batches = [batch_of(table, rows_of(range(start, start + 30_000))) for start in range(0, 150_000, 30_000)]
    version = engine.version
    written = session.insert("t", pa.RecordBatchReader.from_batches(table.arrow_schema, iter(batches)))
    assert (written.rows, written.version) == (150_000, version + 1)
    assert session.insert("t", pa.table({"k": [-1], "at": [EPOCH]})).rows == 1
    bad = pa.table({"k": pa.array([*range(200_000, 350_000)], pa.int64()), "at": pa.array([EPOCH] * 149_999 + [None])})
    with pytest.raises(Invalid, match="Rows are counted from row 131,073") as caught:
        session.insert("t", bad)
    assert 'column "at" of table "t" is NOT NULL, row 18928' in str(caught.value)
    assert session.delete("t", pa.Table.from_batches(batches).select(["k", "at"])).rows == 150_000
    assert session.execute("SELECT k FROM t").rows() == [(-1,)]

    def broken() -> Iterator[pa.RecordBatch]:
        yield from batches
        raise Invalid("the source broke off")

    with pytest.raises(Invalid, match="the source broke off"):
        session.put("t", pa.RecordBatchReader.from_batches(table.arrow_schema, broken()))
    assert session.execute("SELECT k FROM t").rows() == [(-1,)]


def test_rows_without_primary_key_are_loaded_too(folder: Path) -> None:
    with Engine.open(folder, options=OPTIONS) as engine:
        session = Session(engine)
        session.execute("CREATE TABLE t (n BIGINT, s TEXT)")
        rows = pa.table({"n": list(range(150_000)), "s": ["x"] * 150_000})
        for _ in range(2):
            assert session.insert("t", rows).rows == 150_000
    with Engine.open(folder, options=OPTIONS) as engine:
        session = Session(engine)
        assert session.execute("SELECT count(*), count(DISTINCT n) FROM t").rows() == [(300_000, 150_000)]
        assert session.execute("DELETE FROM t WHERE n % 2 = 0").rows_affected == 150_000
        assert session.execute("SELECT count(*), count(DISTINCT n) FROM t").rows() == [(150_000, 75_000)]
