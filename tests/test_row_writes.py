"""Rows that transactions write one by one: beside the way of batches, which they may only shorten.

Each script runs three times: as it is, with every row as a batch, and without the conflict index. What its calls
return and raise, what conflicts, and what is there in the end must be the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import soak
import weftdb
from every_type import DDL, EXTREMES, ROWS, VALUES, plain
from grouped import in_one_group
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.base.limits import ROW_WRITES_LOGGED_MAX, ROW_WRITES_MAX
from weftdb.engine.conflict_index import ConflictIndex
from weftdb.engine.row_shape import RowShape
from weftdb.engine.row_writes import RowWrites

KEYS = 6

SHORT = "as it is"
BATCHES = "every row as a batch"
CELLS = "without the conflict index"


@pytest.fixture
def database() -> Iterator[Any]:
    with weftdb.open() as database:
        yield database


def table_of(database: Any) -> Any:
    database.execute(
        "CREATE TABLE t (id BIGINT, name TEXT, n INTEGER NOT NULL, euro NUMERIC(9, 2), PRIMARY KEY (id, name))"
    )
    return database.table("t")


# -- scripts -----------------------------------------------------------------------------------------------------------


class Script:
    """Two transactions at a time, and writes outside of them, drawn from a seed; ``seen`` is all that happened."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.seen: list[object] = []

    def run(self) -> list[object]:
        with weftdb.open() as database:
            self.database = database
            table_of(database).insert([(id, "a", id, Decimal(id)) for id in range(KEYS)])
            self.open: list[Any] = [None, None]
            for _ in range(self.chance.randrange(20, 60)):
                self.step()
            for transaction in self.open:
                if transaction is not None:
                    self.note(transaction.commit)
            rows = database.execute("SELECT * FROM t ORDER BY id, name").rows()
        return [*self.seen, rows]

    def note(self, call: Any, *arguments: object, **named: object) -> None:
        """What the call says, without versions: those of rows that nobody changed may differ."""
        try:
            outcome = call(*arguments, **named)
        except weftdb.WeftError as error:
            said = "" if isinstance(error, weftdb.Conflict) else str(error)  # of several rows any may be named
            self.seen.append((type(error).__name__, error.sqlstate, said))
        else:
            value = isinstance(outcome, dict | list | str | None)
            self.seen.append(outcome if value else getattr(outcome, "rows", "done"))

    def step(self) -> None:
        chance = self.chance
        which = chance.randrange(2)
        if self.open[which] is None:
            isolation = chance.choice(["snapshot", "snapshot", "serializable", "read committed"])
            self.open[which] = self.database.transaction(isolation=isolation)
        transaction = self.open[which]
        source = self.database if chance.random() < 0.25 else transaction
        table = source.table("t")
        id, number = chance.randrange(KEYS), chance.randrange(-3, 1_000)
        key = (id, chance.choice(["a", "a", "a", "b"]))
        match chance.randrange(13):
            case 0:
                self.note(table.get, key)
            case 1 | 2 | 3:
                self.note(table.update, key, n=number)
            case 4:
                self.note(table.update, key, n=chance.choice([None, "7", 2**40, True, 1.0]), euro=number)
            case 5:
                self.note(table.put, (*key, number, Decimal(number)))
            case 6:
                self.note(table.insert, {"id": id, "name": key[1], "n": number})
            case 7:
                self.note(table.delete, key)
            case 8:
                self.note(table.add, key, n=number)
            case 9:
                self.note(lambda: sorted(table.scan(where="n < 500").read_all().to_pylist(), key=str))
            case 10:
                self.note(lambda: source.execute("UPDATE t SET n = n + 1 WHERE id = $1", [id]).tag)
            case 11:
                self.savepoint(transaction, table, key)
            case _:
                self.open[which] = None
                self.note(transaction.rollback if chance.random() < 0.3 else transaction.commit)

    def savepoint(self, transaction: Any, table: Any, key: tuple[int, str]) -> None:
        self.note(transaction.savepoint, "s")
        self.note(transaction.table("t").update, key, n=5)
        self.note(transaction.table("t").get, key)
        if self.chance.random() < 0.7:
            self.note(transaction.rollback_to, "s")
        self.note(table.get, key)


@pytest.mark.parametrize("block", range(4))
def test_the_short_way_changes_nothing(block: int) -> None:
    count = 4 * soak.FACTOR
    for seed in range(soak.SEED * 1_000_000 + block * count, soak.SEED * 1_000_000 + (block + 1) * count):
        outcomes: dict[str, list[object]] = {}
        for how in (SHORT, BATCHES, CELLS):
            with pytest.MonkeyPatch.context() as patch:
                if how == BATCHES:
                    patch.setattr(RowWrites, "suits", staticmethod(lambda table: False))
                    patch.setattr(RowShape, "changes", lambda *_: None)
                if how == CELLS:
                    patch.setattr(ConflictIndex, "changed", lambda *_, **__: None)
                outcomes[how] = Script(seed).run()
        assert outcomes[SHORT] == outcomes[BATCHES] == outcomes[CELLS], seed


# -- values ------------------------------------------------------------------------------------------------------------

ODD = st.one_of(
    *VALUES.values(),
    st.integers(),
    st.decimals(allow_nan=True),
    st.decimals(-10, 10, places=1),
    st.text(st.characters(), max_size=5),
    st.datetimes(),
    st.just(datetime(2024, 1, 1, tzinfo=UTC)),
    st.none(),
)


@settings(max_examples=soak.many(80, 150), deadline=None)
@given(name=st.sampled_from(list(VALUES)), value=ODD)
def test_a_value_is_taken_only_if_it_is_what_a_read_gives_back(every: Any, name: str, value: Any) -> None:
    taken = every.shape.changes({name: value})
    if taken is None:
        return
    every.table.put({"id": 1, name: value})  # by the way of batches
    row = every.table.get(1)
    assert plain((taken[name],)) == plain((row[name],))
    assert type(taken[name]) is type(row[name]), (taken, row)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_rows_of_every_type_come_back_as_they_went_in(every: Any, rows: list[dict[str, Any]]) -> None:
    check_rows(every, rows)


def test_extremes_come_back_as_they_went_in(every: Any) -> None:
    check_rows(every, EXTREMES)


def check_rows(every: Any, rows: list[dict[str, Any]]) -> None:
    every.table.put([{"id": at, **row} for at, row in enumerate(rows)])
    before = [every.table.get(at) for at in range(len(rows))]
    with every.database.transaction() as transaction:
        for at, row in enumerate(rows):
            transaction.table("every_type").put({"id": at, **row})
            transaction.table("every_type").update(at, big=at)
    after = [every.table.get(at) for at in range(len(rows))]
    for at, (old, new) in enumerate(zip(before, after, strict=True)):
        assert plain(tuple({**old, "big": at}.values())) == plain(tuple(new.values()))


@pytest.fixture(scope="module")
def every() -> Iterator[Any]:
    class Every:
        database: Any = weftdb.open()

    every: Any = Every()
    every.database.execute(DDL)
    every.table = every.database.table("every_type")
    with every.database.engine.snapshot() as snapshot:
        every.shape = snapshot.catalog.table("every_type").shape
    yield every
    every.database.close()


def test_each_usual_value_is_taken(every: Any) -> None:
    usual = {
        "flag": True, "small": 1, "whole": 2, "big": 3, "double": 1.5, "exact": Decimal("1.5"),
        "cents": Decimal("1.50"), "words": "ä", "short": "x", "bytes": b"\0", "stamp": datetime(2024, 1, 1),
        "moment": datetime(2024, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    taken = every.shape.changes(usual)
    assert taken == usual
    assert str(taken["cents"]) == "1.50"
    assert str(taken["exact"]) == "1.500000000", "as it is read"


# -- commits -----------------------------------------------------------------------------------------------------------


def test_what_many_transactions_write_one_by_one_is_one_batch_of_one_record(database: Any) -> None:
    table = table_of(database)
    table.insert([(id, "a", 0, None) for id in range(8)])
    open_ones = [database.transaction() for _ in range(7)]
    for id, transaction in enumerate(open_ones):
        transaction.table("t").update((id, "a"), n=id + 10)
    open_ones[6].table("t").delete((7, "a"))
    before = database.version
    versions = in_one_group(database.engine, *(transaction.commit for transaction in open_ones))
    assert versions == [before + 1] * 7
    (entry,) = list(database.engine.storage.log.read(database.engine.storage.log.tail())) or [None]
    assert entry is None or len(entry.record.operations) == 2
    assert {row["id"]: row["n"] for row in table.scan().read_all().to_pylist()} == {id: id + 10 for id in range(7)}


def test_of_mates_that_write_one_row_the_first_wins(database: Any) -> None:
    table = table_of(database)
    table.insert((1, "a", 0, None))
    mates = [database.transaction() for _ in range(3)]
    for n, transaction in enumerate(mates):
        transaction.table("t").update((1, "a"), n=n + 1)
    outcomes = in_one_group(database.engine, *(transaction.commit for transaction in mates))
    assert [type(outcome) for outcome in outcomes] == [int, weftdb.Conflict, weftdb.Conflict]
    assert table.get((1, "a"))["n"] == 1


def test_rows_batches_and_deltas_of_one_table_meet_in_one_group(database: Any) -> None:
    table = table_of(database)
    table.insert([(id, "a", 0, None) for id in range(4)])
    single, batch = database.transaction(), database.transaction()
    single.table("t").update((0, "a"), n=1)
    batch.table("t").put([(0, "a", 7, None), (1, "a", 7, None)])

    outcomes = in_one_group(
        database.engine, single.commit, lambda: table.add((0, "a"), n=5), batch.commit, lambda: table.add((2, "a"), n=5)
    )
    assert isinstance(outcomes[2], weftdb.Conflict)
    assert [table.get((id, "a"))["n"] for id in range(4)] == [6, 0, 5, 0]


def test_single_rows_outside_of_transactions_share_a_record(database: Any) -> None:
    table = table_of(database)
    table.insert([(id, "a", 0, None) for id in range(3)])
    before = database.version
    outcomes = in_one_group(
        database.engine,
        lambda: table.put((0, "a", 1, None)),
        lambda: table.insert((7, "a", 7, None)),
        lambda: table.insert((1, "a", 1, None)),
        lambda: table.delete((2, "a")),
        lambda: table.delete((9, "a")),
        lambda: table.put((0, "a", 2, None)),
    )
    assert [getattr(outcome, "rows", type(outcome)) for outcome in outcomes] == [1, 1, weftdb.Invalid, 1, 0, 1]
    assert [getattr(outcome, "version", 0) - before for outcome in outcomes][:2] == [1, 1]
    assert outcomes[5].version == before + 2, "it meets the row of a mate"
    assert str(outcomes[2]).startswith('duplicate key value violates the primary key of "t": (id, name)=(1, a)')
    assert {row["id"]: row["n"] for row in table.scan().read_all().to_pylist()} == {0: 2, 1: 0, 7: 7}


def test_deleting_a_row_that_is_not_there_conflicts_with_nobody(database: Any) -> None:
    table = table_of(database)
    transaction = database.transaction()
    transaction.table("t").insert((1, "a", 1, None))
    assert table.delete((1, "a")).rows == 0
    transaction.commit()
    assert table.get((1, "a"))["n"] == 1


def test_an_old_snapshot_asks_the_cells_for_what_the_index_does_not_know(database: Any) -> None:
    table = table_of(database)
    table.insert([(id, "a", 0, None) for id in range(3)])
    early = database.transaction()
    assert early.table("t").get((0, "a"))["n"] == 0
    table.put([(0, "a", 1, None)])  # a batch: the index begins anew
    with database.transaction() as other:
        other.table("t").update((1, "a"), n=1)
    early.table("t").update((0, "a"), n=9)
    with pytest.raises(weftdb.Conflict):
        early.commit()


@pytest.mark.parametrize("count", [ROW_WRITES_LOGGED_MAX, ROW_WRITES_LOGGED_MAX + 1, 2 * ROW_WRITES_MAX + 3])
def test_many_single_rows_become_columns(database: Any, count: int) -> None:
    table_of(database)
    with database.transaction() as transaction:
        own = transaction.table("t")
        for id in range(count):
            own.put((id, "a", id, None))
        own.update((3, "a"), n=-3)
        own.delete((4, "a"))
        assert own.get((3, "a"))["n"] == -3
        assert own.get((4, "a")) is None
        assert transaction.execute("SELECT count(*) FROM t").scalar() == count - 1
    assert database.execute("SELECT count(*), min(n) FROM t").rows() == [(count - 1, -3)]


def test_rows_written_before_an_alter_by_another_are_refused(database: Any) -> None:
    table_of(database).insert((1, "a", 0, None))
    transaction = database.transaction()
    transaction.table("t").update((1, "a"), n=1)
    database.execute("ALTER TABLE t ADD COLUMN more TEXT")
    with pytest.raises(weftdb.Conflict, match="columns"):
        transaction.commit()
    dropped = database.transaction()
    dropped.table("t").update((1, "a"), n=1)
    database.execute("DROP TABLE t")
    with pytest.raises(weftdb.Invalid, match="dropped"):
        dropped.commit()


def test_rows_written_before_the_table_was_renamed_are_not_lost(database: Any) -> None:
    """The definition is another one then, with the same columns: the rows become a batch again."""
    table_of(database).insert([(id, "a", 0, None) for id in range(3)])
    transaction = database.transaction()
    transaction.table("t").update((1, "a"), n=1)
    transaction.table("t").delete((2, "a"))
    added = database.transaction()
    added.table("t").add((0, "a"), n=5)
    database.execute("ALTER TABLE t RENAME TO u")
    transaction.commit()
    added.commit()
    assert sorted(database.execute("SELECT id, n FROM u").rows()) == [(0, 5), (1, 1)]


def test_a_table_that_begins_to_drop_slices_judges_rows_again(database: Any) -> None:
    database.execute(
        "CREATE TABLE e (id BIGINT, at TIMESTAMP, n INT, PRIMARY KEY (id, at)) "
        "WITH (key = id, time = at, every = '1 day')"
    )
    events = database.table("e")
    events.insert([(1, datetime(2024, 1, 1), 0), (1, datetime(2024, 3, 1), 0)])
    transaction = database.transaction()
    transaction.table("e").put((2, datetime(2024, 1, 1), 7))
    database.execute("ALTER TABLE e SET (keep = '10 days')")
    with pytest.raises(weftdb.WeftError, match=r"late|columns|kept|dropped"):
        transaction.commit()
    assert events.get((2, datetime(2024, 1, 1))) is None
