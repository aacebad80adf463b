"""Who is in whose way: refused commits by table and row, and what keeps old row versions."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
import weftdb
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.base.errors import Conflict, ConflictKind
from weftdb.base.interface import Database
from weftdb.engine.contention import KEY_CHARACTERS_MAX, Contention

KINDS: tuple[ConflictKind, ...] = ("write", "bound")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", None]),
            st.sampled_from([*range(3), *range(3), *range(30)]),
            st.sampled_from(KINDS),
        ),
        max_size=300,
    ),
    st.integers(1, 8),
)
@settings(max_examples=150, deadline=None)
def test_counts_are_bounded_certain_and_add_up(met: list[tuple[str | None, int, ConflictKind]], rows_max: int) -> None:
    contention = Contention(rows_max=rows_max)
    for table, key, kind in met:
        contention.note(Conflict("x", table=table, key=None if table is None else (key,), kind=kind))
    facts = contention.facts()
    exact = Counter((table, str(key), kind) for table, key, kind in met if table is not None)
    rows = [item for item in facts if item.key is not None]
    assert len(rows) <= rows_max
    for item in rows:
        assert item.key is not None
        assert 0 < item.count <= exact[item.table, item.key, item.kind] <= item.at_most
    told = {(item.table, item.key, item.kind) for item in rows}
    assert told >= {row for row, count in exact.items() if count * rows_max > exact.total()}
    if len(exact) <= rows_max:
        assert {(item.table, item.key, item.kind): item.count for item in rows} == exact
    by_table = Counter[tuple[str | None, ConflictKind]]()
    for item in facts:
        by_table[item.table, item.kind] += item.count
    assert by_table == Counter((table, kind) for table, _, kind in met)
    assert [item.count for item in facts] == sorted((item.count for item in facts), reverse=True)


def test_many_tables_and_long_keys_take_bounded_memory() -> None:
    contention = Contention(rows_max=10, tables_max=5)
    for number in range(100):
        contention.note(Conflict("x", table="hot", key=("k" * 10_000,)))
        contention.note(Conflict("x", table=f"t{number}", key=(number,)))
    facts = contention.facts()
    assert (facts[0].table, facts[0].count) == ("hot", 100)
    assert len({item.table for item in facts}) == 5
    assert len(facts[0].key or "") == KEY_CHARACTERS_MAX


def test_threads_lose_no_conflict() -> None:
    contention = Contention(rows_max=3)

    def work() -> None:
        for number in range(500):
            contention.note(Conflict("x", table="t", key=(number % 7,)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(item.count for item in contention.facts()) == 2000


@pytest.fixture
def stock(database: Database) -> Any:
    database.execute("CREATE TABLE stock (shop BIGINT, item TEXT, n BIGINT, PRIMARY KEY (shop, item))")
    database.table("stock").put([(1, "pen", 3), (2, "ink", 3)])
    return database.table("stock")


def refused(database: Database, stock: Any, key: tuple[int, str]) -> None:
    txn = database.transaction()
    txn.table("stock").update(key, n=0)
    stock.update(key, n=1)
    with pytest.raises(Conflict):
        txn.commit()


def test_conflicts_of_reads_are_counted_too(database: Database, stock: Any) -> None:
    txn = database.transaction(isolation="serializable")
    txn.table("stock").get((1, "pen"))
    txn.table("stock").put((3, "cap", 1))
    stock.update((1, "pen"), n=1)
    with pytest.raises(Conflict) as caught:
        txn.commit()
    assert (caught.value.kind, caught.value.key) == ("read", (1, "pen"))
    read = "SELECT table_name, primary_key, kind, conflicts FROM weft_conflicts"
    assert database.execute(read).rows() == [("stock", "1, pen", "read", 1)]


def test_weft_conflicts_lists_the_most_contended_rows_first(database: Database, stock: Any) -> None:
    read = "SELECT table_name, primary_key, kind, conflicts, at_most, last_at <= now() FROM weft_conflicts"
    assert database.execute(read).rows() == []
    refused(database, stock, (2, "ink"))
    for _ in range(3):
        with pytest.raises(Conflict):
            stock.add((1, "pen"), n=-100, min=0)
    for _ in range(2):
        refused(database, stock, (1, "pen"))
    txn = database.transaction()
    txn.execute("CREATE TABLE one (a INT)")
    database.execute("CREATE TABLE two (a INT)")
    with pytest.raises(Conflict):
        txn.commit()
    assert database.execute(read).rows()[:2] == [
        ("stock", "1, pen", "bound", 3, 3, True),
        ("stock", "1, pen", "write", 2, 2, True),
    ]
    assert set(database.execute(read).rows()[2:]) == {
        ("stock", "2, ink", "write", 1, 1, True),
        (None, None, "definition", 1, 1, True),
    }
    by_table = "SELECT table_name, sum(conflicts) FROM weft_conflicts GROUP BY 1 ORDER BY 2 DESC"
    assert database.execute(by_table).rows() == [("stock", 6), (None, 1)]
    assert database.execute("SELECT value FROM weft_metrics WHERE name = 'weft_conflicts'").scalar() == 7


def test_weft_horizon_says_what_holds_it_who_and_since_when(database: Database, stock: Any) -> None:
    read = "SELECT kind, name, principal, version, keeps_all_since FROM weft_horizon ORDER BY version, kind"
    floor = ("history", None, None, 0, True)
    assert database.execute(read).rows() == [floor, ("statement", None, "weft", database.version, False)]
    first = database.version
    with database.transaction(read_only=True) as reading, database.snapshot(as_of=first - 1):
        reading.execute("SELECT 1")
        stock.put((3, "nib", 1))
        database.execute("CREATE SNAPSHOT named")
        named = database.execute("SELECT version FROM weft_snapshots WHERE name = 'named'").scalar()
        txn = database.transaction()
        txn.table("stock").put((4, "cap", 1))
        assert database.execute(read).rows() == [
            floor,
            ("snapshot", None, "weft", first - 1, False),
            ("transaction", None, "weft", first, False),
            ("named snapshot", "named", None, named, False),
            ("statement", None, "weft", database.version, False),
            ("transaction", None, "weft", database.version, True),
        ]
        ages = (
            "SELECT count(*), min(age_seconds) >= 0, max(age_seconds) < 60, bool_and(since <= now()) FROM weft_horizon"
        )
        assert database.execute(f"{ages} WHERE since IS NOT NULL").rows() == [(5, True, True, True)]
        assert database.execute("SELECT max(lag_versions) FROM weft_horizon").scalar() == database.version
        txn.close()
    database.execute("DROP SNAPSHOT named")
    assert database.execute(read).rows() == [floor, ("statement", None, "weft", database.version, False)]


def test_the_horizon_is_where_maintenance_drops() -> None:
    """The relation's least version is what a merge goes by."""
    with weftdb.open(history_seconds=0, maintenance=False) as db:
        db.execute("CREATE TABLE t (a BIGINT PRIMARY KEY, b BIGINT)")
        db.table("t").put((1, 1))
        oldest = "SELECT min(version), min(version) FILTER (WHERE keeps_all_since) FROM weft_horizon"
        with db.snapshot(), db.transaction() as txn:
            for number in range(3):
                db.table("t").put((1, number))
                txn.execute("SELECT 1")
            db.engine.flush()
            horizon = db.engine.maintenance._horizon()  # pyright: ignore[reportPrivateUsage]
            assert db.execute(oldest).rows() == [(horizon.oldest, horizon.limit)]
            assert horizon.oldest < horizon.limit < db.version
        horizon = db.engine.maintenance._horizon()  # pyright: ignore[reportPrivateUsage]
        assert db.execute(oldest).rows() == [(horizon.oldest, horizon.limit)]
