"""Short windows of event time read rows of a segment by its order of time: the same rows as looking at all of them."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
import weftdb
from weftdb.engine import time_order
from weftdb.engine.schema import Column
from weftdb.engine.segment import Segment
from weftdb.engine.time_order import TimeOrders

START = datetime(2026, 3, 2)


def _rows(count: int, seed: int) -> pa.RecordBatch:
    random.seed(seed)
    seconds = [random.randrange(7 * 86_400) for _ in range(count)]
    return pa.RecordBatch.from_pydict(
        {
            "k": pa.array([random.randrange(50) for _ in range(count)]),
            "at": pa.array([START + timedelta(seconds=second) for second in seconds], pa.timestamp("us")),
            "x": pa.array([seed * count + n for n in range(count)]),
            "s": pa.array([None if n % 7 == 0 else f"text {n % 100}" for n in range(count)]),
        }
    )


def _counted(database: weftdb.Database) -> int:
    table = database.engine._state.catalog.relations["t"]
    return len(database.engine._state.stores[table.id]._cells.time_orders._stripes)


@pytest.mark.parametrize("kind", ["TIMESTAMP", "DATE"])
def test_windows_give_the_rows_of_a_look_at_all_at_every_version(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(time_order, "ROWS_MIN", 100)
    monkeypatch.setattr(time_order, "SHARE", 4)
    with weftdb.open() as database:
        database.execute(
            f"CREATE TABLE t (k BIGINT, at {kind}, x BIGINT, s TEXT, PRIMARY KEY (k, at))"
            " WITH (key = 'k', time = 'at', every = '7 days')"
        )
        table = database.table("t")

        def put(seed: int) -> None:
            batch = _rows(3_000, seed)
            if kind == "DATE":
                batch = batch.set_column(1, "at", batch.column(1).cast(pa.timestamp("s"), safe=False).cast(pa.date32()))
            table.put(batch)

        for seed in (1, 2):
            put(seed)
            database.engine.flush()
        put(3)  # stays in a memtable
        with database.snapshot() as before:
            database.execute("DELETE FROM t WHERE x % 3 = 0")
            database.execute("UPDATE t SET x = -x WHERE x % 5 = 0")
            made = random.Random(4)
            for turn in range(24):
                low = START + timedelta(seconds=made.randrange(6 * 86_400))
                high = low + timedelta(seconds=made.randrange(1, 86_400))
                if turn == 20:
                    database.engine.flush()
                window = f"at >= '{low}'::TIMESTAMP::{kind} AND at < '{high}'::TIMESTAMP::{kind}"
                all_rows = f"(at + INTERVAL '0 days') >= '{low}'::TIMESTAMP::{kind}"
                all_rows += f" AND (at + INTERVAL '0 days') < '{high}'::TIMESTAMP::{kind}"
                for reads in (database, before):
                    query = "SELECT k, at, x, s FROM t WHERE {} AND x <> 1 ORDER BY k, at"
                    found = reads.execute(query.format(window)).rows()
                    assert found == reads.execute(query.format(all_rows)).rows(), window
        assert _counted(database) > 0, "orders were made"


def test_orders_have_a_limit_and_the_least_recently_used_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_order, "ROWS_MIN", 100)
    monkeypatch.setattr(time_order, "TIME_ORDERS_BYTES_MAX", 1_000)
    with weftdb.open() as database:
        database.execute(
            "CREATE TABLE t (k BIGINT, at TIMESTAMP, x BIGINT, s TEXT, PRIMARY KEY (k, at))"
            " WITH (key = 'k', time = 'at', every = '1 day')"
        )
        database.table("t").put(_rows(7_000, 1))
        database.engine.flush()
        for day in range(7):
            low = START + timedelta(days=day, hours=3)
            query = f"SELECT count(x) FROM t WHERE at >= '{low}' AND at < '{low + timedelta(minutes=9)}' AND x <> 1"
            found = {database.execute(query).scalar() for _ in range(3)}
            assert len(found) == 1
        assert 0 < _counted(database) < 7
        table = database.engine._state.catalog.relations["t"]
        assert 0 < database.engine._state.stores[table.id].orders_bytes <= 1_000


def _segments_of(database: weftdb.Database) -> list[Segment]:
    table = database.engine._state.catalog.relations["t"]
    cells = database.engine._state.stores[table.id]._cells
    return [part for cell in cells.all() for part in cell.parts if isinstance(part, Segment)]


def _segments(database: weftdb.Database) -> tuple[TimeOrders, list[Segment], Column]:
    """A table of seven segments, one a day, the orders of its segments, and its column of event time."""
    database.execute(
        "CREATE TABLE t (k BIGINT, at TIMESTAMP, x BIGINT, s TEXT, PRIMARY KEY (k, at))"
        " WITH (key = 'k', time = 'at', every = '1 day')"
    )
    database.table("t").put(_rows(7_000, 1))
    database.engine.flush()
    table = database.engine._state.catalog.relations["t"]
    segments = _segments_of(database)
    assert len(segments) == 7
    return database.engine._state.stores[table.id]._cells.time_orders, segments, table.column("at")


def _look(orders: TimeOrders, segment: Segment, column: Column, *, part: int = 100) -> bool:
    """Whether a window of one in ``part`` of the segment's time is found by its order."""
    low, high = segment.description.time_low, segment.description.time_high
    return orders.find(segment, column, low, low + (high - low) // part, rows_max=10**6) is not None


def test_only_the_second_look_at_a_short_window_makes_an_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_order, "ROWS_MIN", 100)
    with weftdb.open() as database:
        orders, (segment, other, *_), column = _segments(database)
        assert not any(_look(orders, segment, column, part=3) for _ in range(3)), "a third of the time is not short"
        assert [_look(orders, segment, column) for _ in range(3)] == [False, True, True]
        assert not _look(orders, other, column)
        assert not _look(orders, segment, column, part=3)


def test_no_order_is_made_for_more_rows_than_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_order, "ROWS_MIN", 100)
    with weftdb.open() as database:
        orders, (segment, *_), column = _segments(database)
        low, high = segment.description.time_low, segment.description.time_high
        part = low + (high - low) // 20
        assert not any(orders.find(segment, column, low, part, rows_max=30) is not None for _ in range(3))
        assert not orders._asked
        assert not orders._stripes
        assert [orders.find(segment, column, low, part, rows_max=150) is not None for _ in range(2)] == [False, True]


def test_a_day_is_no_short_window_of_a_week(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a DATE, whose values are days."""
    monkeypatch.setattr(time_order, "ROWS_MIN", 100)
    with weftdb.open() as database:
        database.execute(
            "CREATE TABLE t (k BIGINT, at DATE, x BIGINT, s TEXT, PRIMARY KEY (k, at, x))"
            " WITH (key = 'k', time = 'at', every = '7 days')"
        )
        rows = _rows(3_000, 1)
        days = rows.column(1).cast(pa.timestamp("s"), safe=False).cast(pa.date32())
        database.table("t").put(rows.set_column(1, "at", days))
        database.engine.flush()
        for _ in range(3):
            assert database.execute("SELECT count(x) FROM t WHERE at = '2026-03-03' AND x <> 1").scalar()
        assert _counted(database) == 0
        monkeypatch.setattr(time_order, "SHARE", 4)
        for _ in range(3):
            assert database.execute("SELECT count(x) FROM t WHERE at = '2026-03-03' AND x <> 1").scalar()
        assert _counted(database) == 1


def test_the_order_that_was_used_last_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_order, "ROWS_MIN", 100)
    monkeypatch.setattr(time_order, "STRIPES", 2)
    with weftdb.open() as database:
        orders, (first, second, third, *_), column = _segments(database)
        for segment in (first, second):
            assert [_look(orders, segment, column) for _ in range(2)] == [False, True]
        held = orders._bytes
        monkeypatch.setattr(time_order, "TIME_ORDERS_BYTES_MAX", held + held // 4)
        assert _look(orders, first, column)
        assert [_look(orders, third, column) for _ in range(2)] == [False, True]
        assert set(orders._stripes) == {(first.description.id, 0), (third.description.id, 0)}
        monkeypatch.setattr(time_order, "TIME_ORDERS_BYTES_MAX", 3 * second.rows_count)
        assert not any(_look(orders, second, column) for _ in range(3)), "an order that is too large is not made"
        assert len(orders._stripes) == 2


def test_two_readers_may_make_one_order_which_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_order, "ROWS_MIN", 100)
    values, meanwhile = Segment.values, list[bool]()
    with weftdb.open() as database:
        orders, (segment, *_), column = _segments(database)
        _look(orders, segment, column)

        def read(self: Segment, *given: Any) -> Any:
            if not meanwhile:
                meanwhile.append(True)
                assert _look(orders, segment, column), "the other one comes first"
            return values(self, *given)

        monkeypatch.setattr(Segment, "values", read)
        assert _look(orders, segment, column)
        assert meanwhile
        assert orders._bytes == time_order._bytes(orders._stripes[segment.description.id, 0])
        monkeypatch.setattr(time_order, "_ASKED_MAX", 2)
        for other in _segments_of(database):
            _look(orders, other, column)
            assert len(orders._asked) <= 2, "what was asked once is forgotten, too"
