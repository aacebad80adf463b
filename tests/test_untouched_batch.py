"""The first batch that a transaction inserts waits as it came (OwnRows.put); whoever looks finds it among the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import weftdb
from weftdb.engine.cells import TableStore

Rows = list[tuple[Any, ...]]
_FIRST: Rows = [(1, 10, "a"), (2, None, None), (3, 30, "c")]


@pytest.fixture
def db() -> Iterator[Any]:
    with weftdb.open() as found:
        found.execute("CREATE TABLE t (k BIGINT PRIMARY KEY, x BIGINT DEFAULT 7, s TEXT)")
        found.table("t").insert([(0, 0, "zero"), (9, 90, "nine")])
        yield found


def _rows(of: Any) -> Rows:
    return of.execute("SELECT * FROM t ORDER BY k").rows()


def _batch(rows: Rows) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([dict(zip("kxs", row, strict=True)) for row in rows])


def _put(txn: Any) -> Rows:
    txn.table("t").put([(1, 11, "b"), (4, 40, "d")])
    return [(0, 0, "zero"), (1, 11, "b"), *_FIRST[1:], (4, 40, "d"), (9, 90, "nine")]


def _delete(txn: Any) -> Rows:
    txn.table("t").delete([2, 9])
    return [(0, 0, "zero"), _FIRST[0], _FIRST[2]]


def _update(txn: Any) -> Rows:
    txn.execute("UPDATE t SET x = x + 1 WHERE k >= 3")
    return [(0, 0, "zero"), *_FIRST[:2], (3, 31, "c"), (9, 91, "nine")]


def _add(txn: Any) -> Rows:
    txn.table("t").add(3, x=5)
    return [(0, 0, "zero"), *_FIRST[:2], (3, 35, "c"), (9, 90, "nine")]


def _insert_again(txn: Any) -> Rows:
    txn.table("t").insert(_batch([(5, 50, "e")]))
    with pytest.raises(weftdb.Invalid, match="exists"):
        txn.table("t").insert(_batch([(6, 60, "f"), (2, 20, "b")]))
    return [(0, 0, "zero"), *_FIRST, (5, 50, "e"), (9, 90, "nine")]


def _look(txn: Any) -> Rows:
    assert txn.table("t").get(2) == {"k": 2, "x": None, "s": None}
    assert txn.table("t").get_many([3, 7, 9]).num_rows == 2
    assert txn.execute("SELECT count(*), sum(x) FROM t").rows() == [(5, 130)]
    return [(0, 0, "zero"), *_FIRST, (9, 90, "nine")]


def _truncate(txn: Any) -> Rows:
    txn.execute("TRUNCATE t")
    txn.table("t").insert(_batch([(2, 2, "two")]))
    return [(2, 2, "two")]


def _go_back(txn: Any) -> Rows:
    txn.execute("SAVEPOINT s")
    txn.table("t").delete([1])
    txn.execute("ROLLBACK TO s")
    return [(0, 0, "zero"), *_FIRST, (9, 90, "nine")]


def _nothing(_: Any) -> Rows:
    return [(0, 0, "zero"), *_FIRST, (9, 90, "nine")]


@pytest.mark.parametrize("then", [_nothing, _look, _put, _delete, _update, _add, _insert_again, _truncate, _go_back])
def test_what_comes_next_meets_its_rows(db: Any, then: Callable[[Any], Rows]) -> None:
    with db.transaction() as txn:
        txn.table("t").insert(_batch(_FIRST))
        expected = then(txn)
        if then is not _nothing:
            assert _rows(txn) == expected
    assert _rows(db) == expected


def test_going_back_before_it_takes_it_away(db: Any) -> None:
    with db.transaction() as txn:
        txn.execute("SAVEPOINT s")
        txn.table("t").insert(_batch(_FIRST))
        txn.execute("ROLLBACK TO s")
        txn.table("t").insert(_batch([(1, 1, "one")]))
    assert _rows(db) == [(0, 0, "zero"), (1, 1, "one"), (9, 90, "nine")]


def test_its_buffers_may_be_used_again(db: Any) -> None:
    keys, texts = np.arange(100, 200), pa.array([str(key) for key in range(100, 200)])
    with db.transaction() as txn:
        txn.table("t").insert(pa.record_batch({"k": pa.array(keys), "x": pa.array(keys), "s": texts}))
        keys[:] = 1
    assert db.execute("SELECT sum(k), sum(x), count(DISTINCT k) FROM t WHERE k >= 100").rows() == [(14950, 14950, 100)]


def test_absent_columns_take_their_default(db: Any) -> None:
    with db.transaction() as txn:
        txn.table("t").insert(pa.record_batch({"k": [1, 2]}))
    assert _rows(db)[1:3] == [(1, 7, None), (2, 7, None)]


def test_a_row_that_others_insert_meanwhile_is_a_conflict(db: Any) -> None:
    def clash() -> None:
        with db.transaction() as txn:
            txn.table("t").insert(_batch(_FIRST))
            db.table("t").insert([(2, 2, "two")])

    with pytest.raises(weftdb.Conflict):
        clash()
    assert _rows(db) == [(0, 0, "zero"), (2, 2, "two"), (9, 90, "nine")]


def test_it_is_put_into_the_table_alone(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    puts: list[int] = []
    apply_put = TableStore.apply_put

    def noted(self: TableStore, rows: pa.RecordBatch, *arguments: Any, **named: Any) -> Any:
        puts.append(rows.num_rows)
        return apply_put(self, rows, *arguments, **named)

    monkeypatch.setattr(TableStore, "apply_put", noted)
    with db.transaction() as txn:
        txn.table("t").insert(_batch(_FIRST))
    assert puts == [3]


def test_rows_are_not_lost_where_the_first_look_is_interrupted(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    apply_put = TableStore.apply_put

    def interrupted(self: TableStore, rows: pa.RecordBatch, *, version: int, **named: Any) -> Any:
        apply_put(self, rows.slice(0, 2), version=version, **named)
        monkeypatch.setattr(TableStore, "apply_put", apply_put)
        raise KeyboardInterrupt

    with db.transaction() as txn:
        txn.table("t").insert(_batch(_FIRST))
        monkeypatch.setattr(TableStore, "apply_put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            txn.table("t").get_many([1, 9])
        assert _rows(txn) == [(0, 0, "zero"), *_FIRST, (9, 90, "nine")]
    assert _rows(db) == [(0, 0, "zero"), *_FIRST, (9, 90, "nine")]
