"""The first and the last living row of a range of keys: memtables, frozen ones and segments against a sorted list."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sealing
import soak
from weftdb.base import types
from weftdb.engine.aggregates.values import group_bound
from weftdb.engine.cells import TableStore
from weftdb.engine.key_encoding import Keys
from weftdb.engine.memtable import Memtable
from weftdb.engine.schema import Column, Table

GROUPS = {
    types.BIGINT: (None, -(2**63), -1, 0, 7, 2**63 - 1),
    types.TEXT: (None, "", "a", "a\0b", "ab", "b" * 30),
    types.SMALLINT: (None, -3, 4),
}
VALUES = {
    types.INTEGER: lambda draw: draw.randint(-40, 40),
    types.TEXT: lambda draw: draw.choice("abc") * draw.randint(0, 20) + draw.choice(("", "\0", "z")),
    types.DOUBLE: lambda draw: draw.choice((float(draw.randint(-20, 20)), 0.5, float("inf"), float("-inf"))),
    types.numeric(20, 2): lambda draw: draw.randint(-30, 30),
}


def table_of(group: types.Type, value: types.Type) -> Table:
    columns = (
        Column(id=1, name="1", type=group),
        Column(id=2, name="2", type=value),
        Column(id=3, name="3", type=types.BIGINT, nullable=False),
    )
    return Table(id=1, name="t", columns=columns, primary_key=(1, 2), key=(1,), next_column_id=4)


class Model:
    """A store, and what it holds as a dictionary."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.group, self.value = draw.choice(list(GROUPS)), draw.choice(list(VALUES))
        self.table = table_of(self.group, self.value)
        self.store = TableStore(self.table)
        self.rows: dict[tuple[Any, Any], int] = {}
        self.version = 0

    def step(self) -> None:
        draw = self.draw
        self.version += 1
        match draw.choices(("put", "delete", "lowest", "seal", "freeze", "truncate"), (6, 3, 4, 1, 1, 0.1))[0]:
            case "put":
                count = draw.choice((1, 1, 5, 40, 400))
                rows = {(draw.choice(GROUPS[self.group]), VALUES[self.value](draw)): n for n in range(count)}
                self.store.apply_put(self.batch(list(rows), list(rows.values())), version=self.version)
                self.rows |= rows
            case "delete" if self.rows:
                self.delete(draw.sample(list(self.rows), draw.randint(1, len(self.rows))))
            case "lowest" if self.rows:
                keys = sorted(self.rows, key=self.order)
                self.delete(keys[:1] + keys[-1:] if draw.random() < 0.5 else keys[: len(keys) // 2])
            case "seal":
                sealing.seal_memtables(self.store)
            case "freeze":
                self.store.freeze()
            case "truncate":
                self.store.apply_truncate(version=self.version)
                self.rows.clear()
            case _:
                pass

    def delete(self, keys: list[tuple[Any, Any]]) -> None:
        names = ["1", "2"]
        self.store.apply_delete(self.batch(keys, [0] * len(keys)).select(names), version=self.version)
        for key in set(keys):
            del self.rows[key]

    def batch(self, keys: list[tuple[Any, Any]], counts: list[int]) -> pa.RecordBatch:
        columns = [[group for group, _ in keys], [value for _, value in keys], counts]
        arrays = [pa.array(each, type.arrow) for each, type in zip(columns, self.types, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.table.arrow_schema)

    @property
    def types(self) -> list[types.Type]:
        return [column.type for column in self.table.columns]

    @staticmethod
    def order(key: tuple[Any, Any]) -> tuple[Any, ...]:
        group, value = (part.encode() if isinstance(part, str) else part for part in key)
        return (group is None, 0 if group is None else group, value)

    def check(self) -> None:
        draw = self.draw
        asked = [draw.choice(GROUPS[self.group]) for _ in range(draw.choice((1, 3, 100)))]
        froms = [VALUES[self.value](draw) if draw.random() < 0.7 else None for _ in asked]
        own = self.keys(list(zip(asked, froms, strict=True)))
        for last in (False, True):
            low, high = (group_bound(self.table, self.batch_of(asked), behind=behind) for behind in (False, True))
            ranges = (low, own) if last else (own, high)
            rows, places = self.store.extreme(*ranges, last=last)
            tuples = zip(*(column.to_pylist() for column in rows.columns), strict=True)
            found = dict(zip(places.tolist(), tuples, strict=True))
            for place, (group, value) in enumerate(zip(asked, froms, strict=True)):
                among = [key for key in self.rows if key[0] == group and self.inside(key[1], value, last=last)]
                wanted = (max if last else min)(among, key=self.order, default=None)
                assert (found[place][:2] if place in found else None) == wanted, (group, value, last)
                assert wanted is None or found[place][2] == self.rows[wanted]

    def inside(self, value: Any, bound: Any, *, last: bool) -> bool:
        """NULL stands behind all values."""
        if bound is None:
            return last
        return (
            self.order((0, value)) < self.order((0, bound))
            if last
            else self.order((0, value)) >= self.order((0, bound))
        )

    def batch_of(self, groups: list[Any]) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([pa.array(groups, self.group.arrow)], names=["1"])

    def keys(self, keys: list[tuple[Any, Any]]) -> Keys:
        layout, batch = self.store.layout, self.batch(keys, [0] * len(keys))
        return layout.encode(layout.values(batch, by_id=True), count=len(keys))


@pytest.mark.parametrize("seed", range(1000 * soak.SEED, 1000 * soak.SEED + 12 * soak.FACTOR))
def test_the_extreme_rows_are_those_of_a_sorted_list(seed: int) -> None:
    model = Model(random.Random(seed))
    for _ in range(60):
        model.step()
        if model.draw.random() < 0.7:
            model.check()


def test_ended_rows_are_gone_over_once() -> None:
    """A queue: what is least goes, what is greatest comes. The steps over what went lead further with each seek."""
    table = table_of(types.BIGINT, types.INTEGER)
    store = TableStore(table)
    count = 2_000
    columns = [np.zeros(count, np.int64), np.arange(count, dtype=np.int32), np.ones(count, np.int64)]
    batch = pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=table.arrow_schema)
    store.apply_put(batch, version=1)
    group = batch.slice(0, 1).select(["1"])
    low, high = (group_bound(table, group, behind=behind) for behind in (False, True))
    for version in range(count - 1):
        store.apply_delete(batch.slice(version, 1).select(["1", "2"]), version=version + 2)
        rows, _ = store.extreme(low, high, last=False)
        assert rows.column(1).to_pylist() == [version + 1]
    memtable = store.cells[0].parts[0]
    assert isinstance(memtable, Memtable)
    assert memtable.order is not None
    (run,) = memtable.order._runs
    assert run.ahead[0] == len(run.rows) - 1
    assert memtable.bytes_used == store.memtables_bytes > memtable.order.bytes_used > 0
