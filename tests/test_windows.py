"""Some short windows of event time in one read: the rows that scans of them find, each with its window."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
import soak
import weftdb
from weftdb.base.types import BOOLEAN, INTEGER, TEXT, TIMESTAMP
from weftdb.engine import time_order
from weftdb.engine.expression.node import Call, Column, Expression, Literal
from weftdb.engine.reader import Reader
from weftdb.engine.schema import Table
from weftdb.engine.snapshot import Snapshot

START = datetime(2026, 3, 2)
STEP = timedelta(minutes=10)  # few different times, so that windows begin and end at some
SPAN = 14 * 144
MICRO = timedelta(microseconds=1)
FEW = Call(function="less", arguments=(Column(id=3, type=INTEGER), Literal(value=5_000, type=INTEGER)), type=BOOLEAN)
LENGTH = Call(function="length", arguments=(Column(id=4, type=TEXT),), type=INTEGER)
SHORT = Call(function="less", arguments=(LENGTH, Literal(value=3, type=INTEGER)), type=BOOLEAN)
TWICE = Call(function="add", arguments=(Column(id=3, type=INTEGER), Column(id=3, type=INTEGER)), type=INTEGER)
LESS = Call(function="less", arguments=(TWICE, Literal(value=9_000, type=INTEGER)), type=BOOLEAN)


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1)) // MICRO


def _rows(draw: random.Random, count: int, first: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "k": pa.array([draw.randrange(20) for _ in range(count)]),
            "at": pa.array([START + draw.randrange(SPAN) * STEP for _ in range(count)], pa.timestamp("us")),
            "x": pa.array([None if n % 11 == 0 else first + n for n in range(count)], pa.int32()),
            "s": pa.array([draw.choice((None, "a", "bc", "a longer text than most")) for _ in range(count)]),
        }
    )


def _compare(function: str, at: int) -> Expression:
    moment = datetime(1970, 1, 1) + at * MICRO
    column = Column(id=2, type=TIMESTAMP)
    return Call(function=function, arguments=(column, Literal(value=moment, type=TIMESTAMP)), type=BOOLEAN)


def _scanned(
    reader: Reader, table: Table, windows: list[tuple[int, int]], columns: list[int], filter: Expression | None
) -> Counter[tuple[Any, ...]]:
    """The oracle: all rows, each looked at in Python but for the filter."""
    found: Counter[tuple[Any, ...]] = Counter()
    for batch in reader.scan(table, columns=[*columns, 2], filter=filter).batches():
        for *row, at in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            for place, (low, high) in enumerate(windows):
                if low <= _micros(at) < high:
                    found[*row, place] += 1
    return found


@pytest.mark.parametrize("options", ["", ", every = '7 days'", ", every = '1 day', shards = 2"])
def test_windows_are_the_rows_that_scans_find(monkeypatch: pytest.MonkeyPatch, options: str) -> None:
    monkeypatch.setattr(time_order, "ROWS_MIN", 300)
    draw = random.Random(f"{soak.SEED} {options}")
    read = declined = 0
    with weftdb.open() as database:
        database.execute(
            "CREATE TABLE t (k BIGINT, at TIMESTAMP, x INTEGER, s TEXT, PRIMARY KEY (k, at))"
            f" WITH (key = 'k', time = 'at'{options})"
        )
        with database.engine.snapshot() as snapshot:
            table = snapshot.catalog.relations["t"]
        assert isinstance(table, Table)
        old: Snapshot | None = None
        for turn in range(6 * soak.FACTOR):
            database.table("t").put(_rows(draw, draw.choice((5, 400, 2_000)), turn * 10_000))
            if turn % 3 < 2:
                database.engine.flush()
            if turn == 2:
                old = database.engine.snapshot()
            database.execute(f"DELETE FROM t WHERE x % 7 = {turn % 7}")
            database.execute(f"UPDATE t SET s = 'new' WHERE x % 5 = {turn % 5}")
            with database.engine.snapshot() as newest:
                for _ in range(5):
                    windows: list[tuple[int, int]] = []
                    for _ in range(draw.randint(1, 3)):
                        low = START + draw.randrange(-6, SPAN) * STEP
                        high = low + draw.choice((MICRO, STEP, STEP + MICRO, 33 * STEP))
                        windows.append((_micros(low), _micros(high)))
                    columns = draw.choice(([1, 2, 3, 4], [3], [4, 1], [2]))
                    filter = draw.choice((None, None, None, FEW, SHORT, LESS))
                    for reader in (newest, old):
                        if reader is None:
                            continue
                        for low, high in windows * 2:
                            within = [_compare(name, at) for name, at in (("greater_equal", low), ("less", high))]
                            filter_of_time = Call(function="and", arguments=tuple(within), type=BOOLEAN)
                            _ = list(reader.scan(table, columns=[1], filter=filter_of_time).batches())
                        found = reader.windows(table, windows, columns=columns, filter=filter)
                        if found is None:
                            declined += 1
                            continue
                        batch, which = found
                        rows = zip(*(column.to_pylist() for column in batch.columns), which.tolist(), strict=True)
                        assert Counter(rows) == _scanned(reader, table, windows, columns, filter), (windows, filter)
                        read += len(which)
        scanned = {found.name: found.value for found in database.engine.metrics()}["weft_windows_scanned"]
        assert scanned == declined
        if old is not None:
            old.close()
    assert read > 500
    assert declined * 10 < read, "orders are made by the second look"
