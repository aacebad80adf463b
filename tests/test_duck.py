"""The relational executor keeps plans: what is read again is answered as the first time, whatever has changed since."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
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


@pytest.mark.parametrize("shape", ["a lane that waits", "one to be made"])
def test_a_database_that_ended_is_replaced(shape: str) -> None:
    """Whether a kept lane meets it or one that is only made now."""
    executor = DuckDbExecutor(threads=1)
    numbers = pa.table({"n": [1, 2, 3]})

    def ask(shape: str) -> int:
        batches = executor.execute("SELECT CAST(sum(n) AS BIGINT) AS n FROM s", {"s": numbers}, shape=shape)
        return int(pa.Table.from_batches(batches)["n"][0].as_py())

    try:
        assert ask("a lane that waits") == 6
        end(executor)
        with pytest.raises(weftdb.Unavailable, match="Run the statement again") as caught:
            ask(shape)
        assert caught.value.sqlstate == "57P02"
        assert ask(shape) == ask("another") == 6
    finally:
        executor.close()


def end(executor: DuckDbExecutor) -> None:
    """Have DuckDB meet a bug: it cannot run a prepared ASOF join twice."""
    cursor = executor._database.connection.cursor()
    cursor.register("a", pa.table({"k": [1, 2] * 50, "at": list(range(100))}))
    cursor.execute(
        "PREPARE p AS SELECT count(*) FROM a ASOF LEFT JOIN (SELECT * FROM a) b ON a.k = b.k AND a.at >= b.at"
    )
    cursor.execute("EXECUTE p")
    with pytest.raises(duckdb.InternalException):
        cursor.execute("EXECUTE p")


def test_a_bug_met_while_rows_are_read_ends_the_database() -> None:
    """Then DuckDB's errors are Arrow's, with its text; text that came from a table is none."""
    executor = DuckDbExecutor(threads=1)
    old = executor._database
    try:
        failed = executor._failed(
            pa.ArrowInvalid("INTERNAL Error: unique_ptr that is NULL!"), _Lane(old, {}, None), None, ""
        )
        assert isinstance(failed, weftdb.Internal)
        new = executor._database
        assert new is not old
        text = "Conversion Error: Could not convert string 'INTERNAL Error: x' to INT32"
        assert isinstance(executor._failed(pa.ArrowInvalid(text), _Lane(new, {}, None), None, ""), weftdb.Invalid)
        assert executor._database is new
    finally:
        executor.close()


def test_closing_ends_what_is_being_read() -> None:
    executor = DuckDbExecutor(threads=2)
    numbers = pa.record_batch({"n": pa.array(range(100_000), pa.int64())})

    class Rows:
        schema = numbers.schema

        def batches(self) -> Iterator[pa.RecordBatch]:
            raise AssertionError("what is handed over is asked for")

        def handed(self, places: Any, *, pool: Executor) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
            return self.schema, (pool.submit(lambda: numbers).result() for _ in range(1_000))

    batches = executor.execute("SELECT n + 1 AS n FROM s", {"s": Rows()}, shape="rows")
    next(batches)
    executor.close()
    with pytest.raises(weftdb.Closed, match="while the statement ran"):
        for _ in batches:
            pass
