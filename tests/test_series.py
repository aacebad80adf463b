"""One key's rows in a memtable that grows: found by the order of its chunks, compared with a filter over all rows."""

from __future__ import annotations

import dataclasses
import datetime
import threading
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from filtering import call, literal, node
from weftdb.base import types
from weftdb.engine.cells import TableStore
from weftdb.engine.changes import Change
from weftdb.engine.chunk_order import TAIL_MAX, order_of
from weftdb.engine.database import Engine
from weftdb.engine.memtable import CHUNK_ROWS_MAX, Memtable
from weftdb.engine.options import Options
from weftdb.engine.schema import Column, Table

SIZES = (10, 300, 3_000, TAIL_MAX, 1, 30_000, CHUNK_ROWS_MAX + 5_000, 7)
KEYS = 37
START = datetime.datetime(2024, 1, 1)


def table_of(key: types.Type, *, keyed: bool) -> Table:
    columns = (
        Column(id=1, name="key", type=key, nullable=not keyed),
        Column(id=2, name="time", type=types.TIMESTAMP, nullable=False),
        Column(id=3, name="amount", type=types.BIGINT, nullable=False),
    )
    return Table(
        id=1, name="t", columns=columns, primary_key=(1, 2) if keyed else (), key=(1,), time=2, next_column_id=4
    )


def key_value(number: int, key: types.Type) -> Any:
    return number if key is types.BIGINT else "k" * (number % 11) + str(number)


class Growing:
    """A store whose rows arrive one a second, and the same rows as plain arrays."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.key = table.columns[0].type
        self.store = TableStore(table)
        self.random = np.random.default_rng(5)
        self.keys = np.empty(0, np.int64)
        self.begins = np.empty(0, np.int64)
        self.ends = np.empty(0, np.int64)
        self.version = 0

    def put(self, count: int) -> None:
        self.version += 1
        first = len(self.keys)
        keys = self.random.integers(0, KEYS, count)
        times = np.datetime64(START, "us") + np.arange(first, first + count).astype("m8[s]")
        values = [
            None if number == 5 and not self.table.primary_key else key_value(number, self.key) for number in keys
        ]
        arrays = [pa.array(values, self.key.arrow), pa.array(times), pa.array(np.arange(first, first + count))]
        self.store.apply_put(pa.RecordBatch.from_arrays(arrays, schema=self.table.arrow_schema), version=self.version)
        self.keys = np.concatenate([self.keys, keys])
        self.begins = np.concatenate([self.begins, np.full(count, self.version)])
        self.ends = np.concatenate([self.ends, np.full(count, 2**62)])

    def delete(self, rows: np.ndarray) -> None:
        self.version += 1
        times = np.datetime64(START, "us") + rows.astype("m8[s]")
        keys = [pa.array([key_value(int(self.keys[row]), self.key) for row in rows], self.key.arrow), pa.array(times)]
        schema = pa.schema([column.field for column in self.table.columns[:2]])
        self.store.apply_delete(pa.RecordBatch.from_arrays(keys, schema=schema), version=self.version)
        self.ends[rows] = self.version

    def check(self, key: int, low: int, high: int, *, version: int) -> int:
        """Compare the rows of one key that arrived from second ``low`` to ``high``; returns how many there are."""
        key_column, time_column, _ = self.table.columns
        bounds = [START + datetime.timedelta(seconds=at) for at in (low, high)]
        filter = call(
            "and",
            call("equal", node(key_column), literal(key_value(key, self.key), self.key)),
            call("greater", node(time_column), literal(bounds[0], types.TIMESTAMP)),
            call("less_equal", node(time_column), literal(bounds[1], types.TIMESTAMP)),
        )
        scan = self.store.scan(version=version, columns=[3], filter=filter)
        found = sorted(value for batch in scan.batches() for value in batch.column(0).to_pylist())
        numbers = np.arange(len(self.keys))
        wanted = (self.keys == key) & (numbers > low) & (numbers <= high)
        wanted &= (self.begins <= version) & (self.ends > version)
        if key == 5 and not self.table.primary_key:
            wanted[:] = False  # NULL equals nothing
        assert found == numbers[wanted].tolist()
        return len(found)


@pytest.mark.parametrize("key", [types.BIGINT, types.TEXT], ids=str)
@pytest.mark.parametrize("keyed", [True, False], ids=["keyed", "keyless"])
def test_rows_of_one_key_are_found_while_the_memtable_grows(key: types.Type, keyed: bool) -> None:
    growing = Growing(table_of(key, keyed=keyed))
    seen = 0
    for size in SIZES:
        growing.put(size)
        if keyed and size > 1_000:
            growing.delete(growing.random.choice(len(growing.keys) - size, 50, replace=False) + size // 2)
        for one in (0, 5, 36, 37):
            last = len(growing.keys)
            for low, high in ((-1, last), (last // 2, last), (last - 3, last + 5), (last, last - 1)):
                seen += growing.check(one, low, high, version=growing.version)
                seen += growing.check(one, low, high, version=growing.version - 1)
    assert seen > 1_000


def test_an_order_takes_few_bytes_and_is_kept_while_its_chunk_grows_a_little() -> None:
    growing = Growing(table_of(types.BIGINT, keyed=True))
    growing.put(20_000)
    growing.check(1, -1, 20_000, version=growing.version)
    (cell,) = growing.store.cells
    memtable = cell.parts[0]
    assert isinstance(memtable, Memtable)
    (chunk,) = memtable.chunks
    first = chunk.order
    assert first is not None
    assert first.bytes_used < 8 * chunk.count
    growing.put(1_000)
    growing.check(1, -1, 21_000, version=growing.version)
    second = chunk.order
    assert second is not None
    assert second.count == 21_000
    assert second._ordered is first._ordered, "the rows that came later are its tail"
    growing.put(6_000)
    assert order_of(chunk, growing.store._layout, chunk.count)._ordered is not first._ordered


def test_series_are_whole_while_rows_arrive_and_segments_take_each_others_place() -> None:
    table = dataclasses.replace(table_of(types.BIGINT, keyed=True), every=3_600_000_000, shards=2)
    with Engine.open(options=Options(maintenance=False, history_seconds=0)) as engine:
        transaction = engine.begin()
        transaction.create(dataclasses.replace(table, id=engine.new_id()))
        transaction.commit()
        written = 0
        failures: list[BaseException] = []
        done = threading.Event()

        def read(key: int) -> None:
            equal = call("equal", node(table.columns[0]), literal(key, types.BIGINT))
            try:
                while not done.is_set():
                    acknowledged = written
                    with engine.snapshot() as snapshot:
                        scan = snapshot.scan(snapshot.catalog.table("t"), columns=[3], filter=equal)
                        for _ in range(2):
                            found = sorted(value for batch in scan.batches() for value in batch.column(0).to_pylist())
                            assert found == list(range(len(found))), "a prefix of what was written, whole"
                            assert len(found) >= acknowledged
            except BaseException as error:
                failures.append(error)

        readers = [threading.Thread(target=read, args=(key,)) for key in (0, 7, 36)]
        for reader in readers:
            reader.start()
        keys = pa.array(np.arange(KEYS))
        for number in range(150):
            times = pa.array([START + datetime.timedelta(minutes=number)] * KEYS, types.TIMESTAMP.arrow)
            rows = [keys, times, pa.array([number] * KEYS, pa.int64())]
            engine.write("t", Change.PUT, pa.RecordBatch.from_arrays(rows, schema=table.arrow_schema))
            written = number + 1
            if number % 10 == 9:
                engine.flush()
            if number % 50 == 49:
                engine.compact()
        done.set()
        for reader in readers:
            reader.join()
        assert not failures, failures[0]
