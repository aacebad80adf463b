"""The relational executor keeps plans: what is read again is answered as the first time, whatever has changed since."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import weftdb
from weftdb.bench import inside
from weftdb.engine.handover import HANDED_ROWS_MIN
from weftdb.sql.duck import LANES_MAX, PREPARED_MAX, DuckDbExecutor, _Lane

SUMS = "SELECT kind, count(*), sum(amount), max(note) FROM t WHERE amount + 0 >= 0 GROUP BY kind ORDER BY kind"


@pytest.fixture
def db(tmp_path: Any) -> Iterator[weftdb.Database]:
    with weftdb.open(str(tmp_path)) as db:
        yield db


def fill(db: weftdb.Database, first: int, count: int, *, amount: str, notes: int = 3) -> None:
    numbers = range(first, first + count)
    rows = {
        "id": pa.array(numbers, pa.int64()),
        "kind": pa.array([number % 3 for number in numbers], pa.int32()),
        "amount": pa.array([Decimal(amount)] * count, pa.decimal128(24, 2)),
        "note": pa.array([f"n{number % notes}" for number in numbers]),
    }
    db.table("t").insert(pa.table(rows))


def expected(db: weftdb.Database) -> list[tuple[Any, ...]]:
    groups: dict[int, list[Any]] = {}
    for _, kind, amount, note in db.execute("SELECT id, kind, amount, note FROM t").rows():
        group = groups.setdefault(kind, [0, Decimal(0), ""])
        group[:] = group[0] + 1, group[1] + amount, max(group[2], note)
    return [(kind, *groups[kind]) for kind in sorted(groups)]


def test_a_kept_plan_follows_the_data(db: weftdb.Database) -> None:
    """Between two readings a column's narrow type widens, codes become plain text, small scans become large ones."""
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, kind INTEGER, amount NUMERIC(24, 2), note TEXT)")
    first = 0
    for count, amount, notes in (
        (100, "1.25", 3),
        (HANDED_ROWS_MIN, "1.25", 3),
        (10, "12345678.25", 3),  # beyond 32 bits
        (10, "1234567890123.25", 3),  # beyond 18 digits of two numbers' sum
        (10, "1234567890123456789012.25", 3),  # beyond 64 bits
        (2 * HANDED_ROWS_MIN, "7.00", 100_000),  # no dictionary
    ):
        fill(db, first, count, amount=amount, notes=notes)
        first += count
        for _ in range(2):
            assert db.execute(SUMS).rows() == expected(db)
        inside.seal(db)
        for _ in range(2):
            assert db.execute(SUMS).rows() == expected(db)


def test_texts_and_shapes_are_bounded() -> None:
    executor = DuckDbExecutor(threads=1)
    numbers = pa.table({"n": [10, 20]})
    try:
        for _ in range(2):
            for shape in range(LANES_MAX + 5):
                for number in [*range(2 * PREPARED_MAX)] * 2 if shape < 2 else [1]:
                    batches = executor.execute(
                        f"SELECT CAST(sum(n) + {number} AS BIGINT) AS n FROM s", {"s": numbers}, shape=shape
                    )
                    assert pa.Table.from_batches(batches)["n"][0].as_py() == 30 + number
        waiting = [lane for lanes in executor._waiting.values() for lane in lanes]
        assert len(waiting) == LANES_MAX
        assert max(len(lane._plans) for lane in waiting) <= PREPARED_MAX
    finally:
        executor.close()


def test_a_large_result_streams_however_often_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prepared text's result is whole before its first row is read."""
    executor = DuckDbExecutor(threads=1)
    numbers = pa.array(range(100_000), pa.int64())

    class Rows:
        schema = pa.schema({"n": pa.int64()})
        read = 0

        def batches(self) -> Iterator[pa.RecordBatch]:
            for _ in range(60):
                self.read += 1
                yield pa.record_batch({"n": numbers})

    def plans() -> list[str | None]:
        return [plan for lanes in executor._waiting.values() for lane in lanes for plan in lane._plans.values()]

    try:
        for _ in range(3):
            rows = Rows()
            batches = executor.execute("SELECT n + 1 AS n FROM s", {"s": rows}, shape="large")
            next(batches)
            assert rows.read < 40
            assert sum(batch.num_rows for batch in batches) < 6_000_000
            assert not plans()
        for made in (0, 1, 1):
            assert list(executor.execute("SELECT max(n) AS n FROM s", {"s": Rows()}, shape="large"))
            assert len([plan for plan in plans() if plan is not None]) == made
        monkeypatch.setattr("weftdb.sql.duck.KEPT_BYTES_MAX", 1)
        assert list(executor.execute("SELECT max(n) AS n FROM s", {"s": Rows()}, shape="large"))
        assert not plans()
    finally:
        executor.close()


def test_a_statement_that_fails_leaves_its_plan_usable(db: weftdb.Database) -> None:
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, n INTEGER)")
    db.execute("INSERT INTO t VALUES (1, 1)")
    quotient = "SELECT sum(100 / n) FROM t WHERE n < 100"
    assert db.execute(quotient).scalar() == 100
    db.execute("INSERT INTO t VALUES (2, 0)")
    for _ in range(2):
        with pytest.raises(weftdb.Invalid, match="division by zero"):
            db.execute(quotient)
    db.execute("DELETE FROM t WHERE id = 2")
    assert db.execute(quotient).scalar() == 100


def test_an_asof_join_can_be_asked_again(db: weftdb.Database) -> None:
    """Its plan is not kept: DuckDB 2.0 would fail at the second reading, and with it all others."""
    db.execute("CREATE TABLE a (k BIGINT, at BIGINT, PRIMARY KEY (k, at))")
    db.execute("INSERT INTO a SELECT n % 5, n FROM generate_series(1, 100) AS s(n)")
    asof = "SELECT count(*), count(b.at) FROM a ASOF LEFT JOIN (SELECT k, at + 1 AS at FROM a) b USING (k, at)"
    assert [db.execute(asof).rows() for _ in range(3)] == [[(100, 95)]] * 3


def test_a_bug_of_the_executor_does_not_outlive_its_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB ends a database in which it met a bug; ours go on with a new one."""
    executor = DuckDbExecutor(threads=1)
    numbers = pa.table({"n": [1, 2, 3]})

    def ask() -> int:
        batches = executor.execute("SELECT weft_sqrt(sum(n) + 30.0) AS n FROM s", {"s": numbers}, shape="sum")
        return int(pa.Table.from_batches(batches)["n"][0].as_py())

    try:
        before = ask()
        with monkeypatch.context() as patched:

            def broken(self: _Lane, sql: str) -> Any:
                raise duckdb.InternalException("INTERNAL Error: Attempted to dereference unique_ptr that is NULL!")

            patched.setattr(_Lane, "read", broken)
            with pytest.raises(weftdb.Internal, match="please report"):
                ask()
            old = executor._database
            patched.setattr(_Lane, "read", lambda self, sql: _fail(duckdb.FatalException("FATAL Error: invalidated")))
            with pytest.raises(weftdb.Unavailable, match="Run the statement again"):
                ask()
        assert executor._database is not old
        assert ask() == before == 6
    finally:
        executor.close()


def _fail(error: Exception) -> Any:
    raise error
