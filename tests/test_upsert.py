"""Groups are read and replaced by one look-up (engine/upsert.py), and come to what reading, PUT and DELETE come to.

Two databases are told the same. In one of them the tables of groups are watched, as a large transaction watches what it
has written to, and so their groups change the general way. Their rows must be the same at every version, to the byte.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soak
import weftdb
from from_rows import from_rows
from weftdb.engine.aggregates import early
from weftdb.engine.aggregates.definition import Maintained
from weftdb.engine.aggregates.difference import Difference, combined, difference_of
from weftdb.engine.aggregates.early import Early, EarlyLoad
from weftdb.engine.upsert import Upsert

Database = Any

DDL = "CREATE TABLE t (id BIGINT PRIMARY KEY, k BIGINT, s TEXT, x INT, y DOUBLE PRECISION, z NUMERIC(20, 3))"
VIEWS = (
    "SELECT k, count(*) AS n, sum(x) AS sx, sum(y) AS sy, avg(z) AS az FROM t GROUP BY k",
    "SELECT s, k % 5 AS five, sum(y) AS sy, count(x) AS nx, sum(y * 2) AS dy FROM t WHERE x <> 3 GROUP BY 1, 2",
    "SELECT k, min(y) AS ly, max(y) AS gy, min(x) AS lx, count(DISTINCT s) AS ns, max(s) AS gs FROM t GROUP BY k",
    "SELECT x, s, min(z) AS lz, count(DISTINCT y) FILTER (WHERE k > 4) AS ny, max(k) AS gk, last(y, id) AS yy"
    " FROM t WHERE k <> 7 GROUP BY 1, 2",
)
QUERIES = (
    "SELECT k, count(*) AS n, sum(x) AS sx, sum(y) AS sy FROM t GROUP BY k",
    "SELECT x, count(*) AS n, avg(z) AS az FROM t WHERE k > 3 GROUP BY x",
    "SELECT k, min(y) AS ly, max(y) AS gy, count(DISTINCT x) FILTER (WHERE id % 3 = 0) AS nx FROM t GROUP BY k",
)
DOUBLES = ("0.5", "-3.25", "1e300", "-1e300", "'NaN'", "'Infinity'", "1e-300", "NULL")


def statement(draw: random.Random) -> str:
    first = draw.randint(1, 400)
    last = first + draw.choice((0, 3, 300))
    match draw.randint(0, 5):
        case 0:
            return f"DELETE FROM t WHERE id BETWEEN {first} AND {last}"
        case 1:
            return f"UPDATE t SET x = x + 1, y = {draw.choice(DOUBLES)} WHERE id BETWEEN {first} AND {last}"
        case 2:
            return f"UPDATE t SET k = k + 1 WHERE id BETWEEN {first} AND {last}"
        case 3 if draw.random() < 0.2:
            return "TRUNCATE t"
        case _:
            keys = draw.choice((3, 40, 10_000))
            return (
                f"INSERT INTO t SELECT g, g * 7919 % {keys}, CASE WHEN g % 4 > 0 THEN repeat('s', g % 9) END, g % 5 - 1"
                f", {draw.choice(DOUBLES)}, g * 0.125 FROM generate_series({first}, {last}) g ON CONFLICT DO NOTHING"
            )


def rows_of_groups(db: Database, *, version: int) -> list[list[str]]:
    """Of each view its groups as they are kept, and their values; as text, since NaN is not itself."""
    found: list[list[str]] = []
    for views in db.engine._state.catalog.maintained.values():
        for table in [table for view in views for table in view.tables]:
            batches = db.engine._state.stores[table.id].scan(version=version).batches()
            found.append(sorted(repr(row) for batch in batches for row in batch.to_pylist()))
    return found


def watched(db: Database) -> Iterator[Any]:
    for views in db.engine._state.catalog.maintained.values():
        for view in views:
            yield db.engine._sequencer.watch(view.table)[0]


@pytest.mark.parametrize("seed", range(1000 * soak.SEED, 1000 * soak.SEED + soak.many(3, 6)))
def test_groups_become_what_put_and_delete_make_of_them(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, looked_up = random.Random(seed), list[int]()
    begin = Upsert.__init__

    def counted(self: Upsert, *given: Any) -> None:
        looked_up.append(1)
        begin(self, *given)

    monkeypatch.setattr(Upsert, "__init__", counted)
    with ExitStack() as stack:
        fast, slow = (stack.enter_context(weftdb.open(tmp_path / name)) for name in ("fast", "slow"))
        for db in (fast, slow):
            db.execute(DDL)
            for number, query in enumerate(VIEWS):
                db.execute(f"CREATE MATERIALIZED VIEW v{number} AS {query}")
        watches = list(watched(slow))
        assert len(watches) == len(VIEWS)
        for _ in range(40):
            text, flush, freeze = statement(draw), draw.random() < 0.1, draw.random() < 0.1
            before = len(looked_up)
            versions = {slow.execute(text).version}
            assert len(looked_up) == before, "groups that are watched go the general way"
            versions.add(fast.execute(text).version)
            assert len(versions) == 1
            for db in (fast, slow):
                if freeze:
                    with db.engine._sequencer.paused():
                        for store in db.engine._state.stores.values():
                            store.freeze()
                if flush:
                    db.engine.maintenance.flush()
        assert looked_up, "the others do not"
        newest = versions.pop()
        for version in range(max(newest - 20, 1), newest + 1):
            assert rows_of_groups(fast, version=version) == rows_of_groups(slow, version=version)
        counts = [[store.rows_count for id, store in sorted(db.engine._state.stores.items())] for db in (fast, slow)]
        assert counts[0] == counts[1]
        for store in fast.engine._state.stores.values():
            parts = [part for cell in store.cells for part in cell.parts]
            assert store.bytes_used == sum(part.bytes_used for part in parts)
        for watch in watches:
            slow.engine._sequencer.unwatch(watch)


@pytest.mark.parametrize("older", ["flush", "freeze", "none"])
def test_groups_stay_where_a_change_adds_nothing_to_them(older: str, tmp_path: Path) -> None:
    """Beside others that change and go, whether they lie in a segment, in a frozen memtable or in the newest one."""
    query = "SELECT k, count(*) AS n, sum(x) AS sx, sum(y) AS sy FROM t GROUP BY k"
    with weftdb.open(tmp_path / "data") as db:
        db.execute(f"{DDL}; CREATE MATERIALIZED VIEW v AS {query}")
        db.execute("INSERT INTO t SELECT g, g % 4, NULL, g, $1, 0 FROM generate_series(0, 39) g", [2.0**996])
        if older == "flush":
            db.engine.maintenance.flush()
        elif older == "freeze":
            with db.engine._sequencer.paused():
                for store in db.engine._state.stores.values():
                    store.freeze()
        db.execute("INSERT INTO t VALUES (100, 7, NULL, 1, 'Infinity', 0)")  # the newest memtable has a group, too
        changes = (
            "UPDATE t SET x = x + CASE WHEN k = 2 THEN 5 ELSE 0 END",
            "UPDATE t SET y = -y WHERE k = 1",
            "DELETE FROM t WHERE k = 3",
            "UPDATE t SET y = 0.5 WHERE k = 1",
            "UPDATE t SET k = 8 WHERE k = 0",
        )
        for change in changes:
            db.execute(change)
            shown = db.execute("SELECT * FROM v ORDER BY k").rows()
            assert shown == from_rows(db, f"{query} ORDER BY k").rows(), change
        assert [row[0] for row in shown] == [1, 2, 7, 8]
        assert db.execute("VERIFY MATERIALIZED VIEW v").rows() == []


def same(left: Difference, right: Difference) -> bool:
    places = [one.tolist() == other.tolist() for one, other in zip(left.places, right.places, strict=True)]
    return left.groups.equals(right.groups) and left.values == right.values and all(places)


def test_what_is_known_early_is_of_these_rows_and_this_view(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it is not known, and apply makes it."""
    db.execute(f"{DDL}; CREATE MATERIALIZED VIEW v AS SELECT k, sum(100 / x) AS s, max(x) AS g FROM t GROUP BY k")
    view = db.engine._state.catalog.relations["v"].maintained
    table = db.engine._state.catalog.relations["t"]

    def rows(*numbers: int, without: str = "") -> pa.RecordBatch:
        batch = pa.RecordBatch.from_pydict({"k": [n % 2 for n in numbers], "x": pa.array(numbers, pa.int32())})
        batch = batch.rename_columns([str(table.column(name).id) for name in batch.schema.names])
        return batch.drop_columns(str(table.column(without).id)) if without else batch

    def early(given: pa.RecordBatch) -> Early:
        return Early(given, given, [view])

    def load(given: pa.RecordBatch) -> EarlyLoad:
        return EarlyLoad(lambda ids: [given.select([str(id) for id in ids])], given.num_rows, [view])

    def whole(found: list[Difference] | None) -> Difference:
        assert found is not None
        return combined(view, found)

    right = difference_of(view, rows(1, 2, 3), 1)
    assert same(early(rows(1, 2, 3)).difference_of(view)[0], right)
    assert same(whole(load(rows(1, 2, 3)).pieces_of(view)), right)
    other = replace(view)
    assert early(rows(1, 2, 3)).difference_of(other) is None
    assert load(rows(1, 2, 3)).pieces_of(other) is None
    assert early(rows(1, 0, 3)).difference_of(view) is None, "rows that cannot be grouped"
    assert load(rows(1, 0, 3)).pieces_of(view) is None
    assert early(rows(1, 2, 3, without="x")).difference_of(view) is None, (
        "rows from before a column that the view reads"
    )
    monkeypatch.setattr("weftdb.engine.aggregates.early.VIEW_EARLY_BYTES_MAX", 8)
    assert load(rows(1, 2, 3)).pieces_of(view) is None, "more groups than may be held"
    dropped = early(rows(1, 2, 3))
    dropped.drop()


def test_rows_that_were_grouped_before_their_commit_come_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blind puts of many rows, with repeats, over old rows, late ones left out; and after a replay of the log."""
    used = list[bool]()
    difference_of = Early.difference_of

    def counted(self: Early, view: Maintained) -> object:
        used.append(True)
        return difference_of(self, view)

    monkeypatch.setattr(Early, "difference_of", counted)
    draw = np.random.default_rng(7)
    db = weftdb.open(tmp_path / "data")
    db.execute(DDL)
    for number, query in enumerate(VIEWS):
        db.execute(f"CREATE MATERIALIZED VIEW v{number} AS {query}")

    def rows(ids: np.ndarray) -> pa.Table:
        count = len(ids)
        return pa.table(
            {
                "id": ids,
                "k": draw.integers(0, 300, count),
                "s": pa.array(np.char.add("s", draw.integers(0, 9, count).astype(str))),
                "x": pa.array(draw.integers(0, 5, count).astype(np.int32)),
                "y": draw.normal(size=count),
                "z": pa.array(draw.integers(0, 99, count).astype(np.int32)).cast(pa.decimal128(20, 3)),
            }
        )

    def check() -> None:
        for number, query in enumerate(VIEWS):
            shown, wanted = (
                db.execute(f"SELECT * FROM ({text}) q ORDER BY 1, 2").arrow()
                for text in (f"SELECT * FROM v{number}", query)
            )
            for name in shown.schema.names:
                if pa.types.is_floating(shown[name].type):
                    assert np.allclose(shown[name].to_numpy(), wanted[name].to_numpy(), rtol=1e-9, atol=1e-9)
                else:
                    assert shown[name].equals(wanted[name])

    table = db.table("t")
    table.insert(rows(np.arange(20_000)))
    assert used, "so many rows are grouped before"
    check()
    table.put(rows(draw.integers(0, 15_000, 30_000)))  # half of them twice
    check()
    with db.transaction() as transaction:
        transaction.table("t").put(rows(np.arange(10_000, 30_000)))
        transaction.execute("DELETE FROM t WHERE id % 7 = 0")
    check()
    with pytest.raises(weftdb.Invalid, match="duplicate key"):
        table.insert(rows(np.arange(29_999, 50_000)))
    check()
    before = [db.execute(f"SELECT * FROM v{number} ORDER BY 1, 2").rows() for number in range(len(VIEWS))]
    db.close()
    db = weftdb.open(tmp_path / "data")
    assert [db.execute(f"SELECT * FROM v{number} ORDER BY 1, 2").rows() for number in range(len(VIEWS))] == before
    check()
    db.close()


def test_a_large_transaction_groups_its_rows_before_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With rows that it replaces and deletes, and where there are too many groups; and after a replay of the log."""
    kept = list[bool]()
    pieces_of = EarlyLoad.pieces_of

    def counted(self: EarlyLoad, view: Maintained) -> list[Difference] | None:
        found = pieces_of(self, view)
        kept.append(found is not None)
        return found

    monkeypatch.setattr(EarlyLoad, "pieces_of", counted)

    def check(db: Database) -> None:
        for number, query in enumerate(QUERIES):
            shown, wanted = (f"SELECT * FROM ({text}) q ORDER BY 1" for text in (f"SELECT * FROM v{number}", query))
            assert db.execute(shown).rows() == from_rows(db, wanted).rows()

    insert = "INSERT INTO t SELECT g, g % $1, 's', g % 7, g * 0.5, 1.5 FROM generate_series(1, 150000) g"
    with weftdb.open(tmp_path / "data") as db:
        db.execute(DDL)
        for number, query in enumerate(QUERIES):
            db.execute(f"CREATE MATERIALIZED VIEW v{number} AS {query}")
        db.execute("INSERT INTO t VALUES (200000, 5, 'x', 1, 1.0, 2.0)")
        db.execute(insert, [90_000])
        assert kept == [True] * 2 * len(QUERIES), "asked for by the metric, too"
        check(db)
        db.execute("UPDATE t SET k = k + 1, x = x + 1 WHERE id > 5")
        check(db)
        monkeypatch.setattr(early, "VIEW_EARLY_BYTES_MAX", 400_000)
        kept.clear()
        db.execute("DELETE FROM t WHERE id % 2 = 0")
        db.execute(insert.replace("g, g %", "g + 300000, g %"), [80_000])
        assert kept[-3:] == [False, True, False], "too many groups of the first view, and values of the last"
        query = "SELECT value FROM weft_metrics WHERE name = 'weft_views_not_early'"
        assert db.execute(query).scalar() == kept.count(False) / 2 == 2
        check(db)
        state = db.engine._state
        assert {cost.rows > 300_000 for cost in state.costs.values()} == {True}
    with weftdb.open(tmp_path / "data") as db:
        check(db)
