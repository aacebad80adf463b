"""Statistics: sketches against a naive one and against exact counts, what is known of a table, what filters keep."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import weftdb
from weftdb.base.types import BIGINT, BOOLEAN, DOUBLE, INTEGER, SMALLINT, TEXT, UUID, Type
from weftdb.engine import statistics
from weftdb.engine.statistics import SAMPLE_ROWS, TableStatistics, of_all_rows
from weftdb.sql.embedded import EmbeddedDatabase
from weftdb.storage import segment_writer
from weftdb.storage.column_values import FixedValues, VariableValues, values_of
from weftdb.storage.encoding import add_to_sketch
from weftdb.storage.kernels import sketch

MASK = 2**64 - 1


def naive_registers(words: list[int]) -> list[int]:
    """As docs/storage.md, "Sketches", says."""
    registers = [0] * 256
    for word in words:
        for _ in range(2):
            word ^= word >> 32
            word = word * 0xD6E8FEB86659FD93 & MASK
        word ^= word >> 32
        rest = f"{word & (1 << 56) - 1:056b}"
        rank = len(rest) - len(rest.lstrip("0")) + 1
        registers[word >> 56] = max(registers[word >> 56], rank)
    return registers


def naive_word(value: Any, type: Type) -> int:
    if isinstance(value, str):
        data = value.encode()
        word = len(data)
        for at in range(0, len(data), 8):
            word ^= int.from_bytes(data[at : at + 8], "little")
            word = word * 0x9E3779B185EBCA87 & MASK
            word ^= word >> 32
        return word
    if isinstance(value, bytes):
        first, second = int.from_bytes(value[:8], "little"), int.from_bytes(value[8:], "little")
        return first ^ second * 0x9E3779B97F4A7C15 & MASK
    if isinstance(value, float):
        return int(np.float64(value).view(np.uint64))
    return int(value) & (1 << {BOOLEAN: 8, SMALLINT: 16, INTEGER: 32, BIGINT: 64}[type]) - 1


def registers_of(values: FixedValues | VariableValues) -> np.ndarray:
    registers = np.zeros(256, np.uint8)
    add_to_sketch(registers, values)
    return registers


@pytest.mark.parametrize("type", [BOOLEAN, SMALLINT, INTEGER, BIGINT, DOUBLE, TEXT, UUID], ids=str)
def test_sketches_are_those_of_the_naive_twin(type: Type) -> None:
    chooser = random.Random(str(type))
    made: dict[Type, Any] = {
        BOOLEAN: lambda: chooser.random() < 0.5,
        SMALLINT: lambda: chooser.randrange(-(2**15), 2**15),
        INTEGER: lambda: chooser.randrange(-(2**31), 2**31),
        BIGINT: lambda: chooser.randrange(-(2**63), 2**63),
        DOUBLE: lambda: chooser.gauss(0, 1e9),
        TEXT: lambda: "".join(chooser.choice("aé€x") for _ in range(chooser.randrange(20))),
        UUID: lambda: chooser.randbytes(16),
    }
    for count in (0, 1, 7, 3_000):
        rows = [None if chooser.random() < 0.1 else made[type]() for _ in range(count)]
        arrow = type.arrow
        array = pa.array(rows, arrow.storage_type if isinstance(arrow, pa.BaseExtensionType) else arrow)
        words = [naive_word(row, type) for row in rows if row is not None]
        assert registers_of(values_of(array, type)).tolist() == naive_registers(words)
        words = [naive_word(row, type) for row in rows[count // 2 :] if row is not None]
        assert registers_of(values_of(array.slice(count // 2), type)).tolist() == naive_registers(words)


def test_an_estimate_is_near_and_joined_sketches_are_those_of_all_rows() -> None:
    chooser = np.random.default_rng(5)
    for distinct in (0, 1, 10, 200, 700, 5_000, 100_000, 1_000_000):
        values = chooser.integers(-(2**63), 2**63 - 1, distinct)
        whole = registers_of(FixedValues(values, None))
        assert sketch.estimate(whole) == pytest.approx(distinct, rel=0.2, abs=1)
        one, other = (registers_of(FixedValues(part, None)) for part in np.array_split(values, 2))
        assert np.array_equal(np.maximum(one, other), whole)


def test_what_a_sample_says_of_all_rows_is_near() -> None:
    chooser = random.Random(3)
    for urn, seen_least in ((5, 100), (300, 1_000), (3_000, 4_096), (50_000, 20_000), (10**9, 4_096)):
        drawn = [chooser.randrange(urn) for _ in range(100_000)]
        for seen in (seen_least, 50_000, 100_000):
            guess = of_all_rows(len(set(drawn[:seen])), seen=seen, rows=len(drawn))
            assert guess == pytest.approx(len(set(drawn)), rel=0.15), (urn, seen)


# Tables

ROWS = 20_000


@pytest.fixture
def db() -> Iterator[EmbeddedDatabase]:
    with weftdb.open(maintenance=False) as db:
        db.execute(
            "CREATE TABLE t (id BIGINT PRIMARY KEY, few INT, many BIGINT, name TEXT, x DOUBLE PRECISION,"
            " n NUMERIC(12,2), d DATE, gone TEXT)"
        )
        yield db


def rows(first: int, count: int, *, seed: int = 1) -> pa.Table:
    chooser = random.Random(seed)
    numbers = range(first, first + count)
    return pa.table(
        {
            "id": pa.array(numbers, pa.int64()),
            "few": pa.array([chooser.randrange(10) for _ in numbers], pa.int32()),
            "many": pa.array([chooser.randrange(3_000) for _ in numbers], pa.int64()),
            "name": [f"name {chooser.randrange(500)}" for _ in numbers],
            "x": [chooser.random() for _ in numbers],
            "n": pa.array([Decimal(chooser.randrange(100_000)) / 100 for _ in numbers], pa.decimal128(12, 2)),
            "d": pa.array([dt.date(2024, 1, 1) + dt.timedelta(days=chooser.randrange(100)) for _ in numbers]),
            "gone": [None if chooser.random() < 0.25 else "here" for _ in numbers],
        }
    )


def known(db: EmbeddedDatabase) -> tuple[TableStatistics, dict[str, Any]]:
    with db.engine.snapshot() as snapshot:
        table = snapshot.catalog.table("t")
        found = snapshot.statistics(table)
        return found, {column.name: found.columns[column.id] for column in table.columns}


EXACT = {"few": 10, "many": 3_000, "name": 500, "d": 100, "gone": 1}


def test_what_is_known_of_sealed_rows_is_near_the_truth(db: EmbeddedDatabase) -> None:
    for part in range(4):
        db.table("t").insert(rows(part * ROWS // 4, ROWS // 4, seed=part))
        db.engine.flush()
    for merged in (False, True):
        if merged:
            db.engine.compact()
        table, columns = known(db)
        assert table.rows == ROWS
        assert columns["id"].distinct == pytest.approx(ROWS, rel=0.2)
        for name, distinct in EXACT.items():
            assert columns[name].distinct == pytest.approx(distinct, rel=0.2, abs=1), name
        assert (columns["few"].low, columns["few"].high) == (0, 9)
        assert (columns["id"].low, columns["id"].high) == (0, ROWS - 1)
        assert columns["gone"].null_fraction == pytest.approx(0.25, abs=0.02)
        assert columns["few"].null_fraction == 0.0


def test_a_query_of_few_rows_makes_no_statistics_and_goes_by_those_that_there_are(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.table("t").insert(rows(0, ROWS))
    db.engine.flush()
    sql = "SELECT sum(few) FROM t WHERE many > {} AND x < 0.5"

    def made(rows_many: int) -> dict[int, Any]:
        monkeypatch.setattr("weftdb.sql.parts.PIPELINE_ROWS_MANY", rows_many)
        db.execute(sql.format(rows_many % 7))
        with db.engine.snapshot() as snapshot:
            return dict(snapshot.statistics(snapshot.catalog.table("t")).made().columns)

    assert made(1_000_000) == {}
    after = made(0)
    assert after, "of many rows the first order of conditions is judged"
    assert made(1_000_001) == after


def test_rows_in_memory_count_at_once(db: EmbeddedDatabase) -> None:
    assert known(db)[0].rows == 0
    assert known(db)[1]["few"].low is None
    db.table("t").insert(rows(0, ROWS))
    table, columns = known(db)
    assert table.rows == ROWS
    assert columns["id"].distinct == pytest.approx(ROWS, rel=0.25)
    for name in ("few", "name", "d", "gone"):
        assert columns[name].distinct == pytest.approx(EXACT[name], rel=0.25, abs=1), name
    assert (columns["few"].low, columns["few"].high) == (0, 9)
    assert columns["gone"].null_fraction == pytest.approx(0.25, abs=0.05)
    db.engine.flush()
    db.table("t").insert(rows(ROWS, 50).set_column(1, "few", pa.array([77] * 50, pa.int32())))
    assert known(db)[1]["few"].high == 77
    db.execute("ALTER TABLE t ADD COLUMN more INT")
    assert known(db)[1]["more"].null_fraction == pytest.approx(1.0)
    db.execute("TRUNCATE t")
    assert known(db)[0].rows == 0


@pytest.mark.parametrize("type", ["TIMESTAMP", "DATE"])
def test_event_times_are_known_of_all_parts(db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, type: str) -> None:
    """Also where the segments that are looked at are others: windows of time are mostly of the newest."""
    monkeypatch.setattr(statistics, "SEGMENTS_LOOKED_AT", 1)
    db.execute(
        f"CREATE TABLE e (k BIGINT, at {type}, PRIMARY KEY (k, at)) WITH (key = 'k', time = 'at', every = '7 days')"
    )
    for start, rows in (("2026-01-01", 5_000), ("2026-02-01", 2_000), ("2026-03-01", 1_500)):
        db.execute(
            f"INSERT INTO e SELECT g, timestamp '{start}' + g % 3 * interval '1 day' FROM generate_series(1, {rows}) g"
        )
        db.engine.maintenance.flush()
    db.execute("INSERT INTO e SELECT g, timestamp '2026-04-01' FROM generate_series(1, 5000) g")
    known = db.engine.snapshot().statistics(db.engine.snapshot().catalog.relations["e"]).columns[2]
    day = dt.timedelta(days=1) // dt.timedelta(microseconds=1) if type == "TIMESTAMP" else 1
    epoch = dt.date(1970, 1, 1)
    assert known.low == (dt.date(2026, 1, 1) - epoch).days * day
    assert known.high == (dt.date(2026, 4, 1) - epoch).days * day


def test_segments_without_sketches_are_sampled(db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of older programs, and small ones."""
    monkeypatch.setattr(segment_writer, "SKETCH_ROWS_MIN", 10**9)
    db.table("t").insert(rows(0, ROWS))
    db.engine.flush()
    with db.engine.snapshot() as snapshot:
        (segment,) = snapshot.store(snapshot.catalog.table("t")).segments
    assert segment.reader.sketch(1) is None
    assert SAMPLE_ROWS < ROWS
    _, columns = known(db)
    assert columns["id"].distinct == pytest.approx(ROWS, rel=0.25)
    assert columns["few"].distinct == pytest.approx(10, abs=1)


@pytest.mark.parametrize(
    ("condition", "within"),
    [
        ("few = 3", 0.15),
        ("few = 99", 1),
        ("few IN (1, 2, 99)", 0.15),
        ("few < 3", 0.3),
        ("few >= 2 AND few < 5", 0.35),
        ("many BETWEEN 500 AND 1500", 0.2),
        ("name = 'name 7'", 0.4),
        ("x < 0.25", 0.2),
        ("n > 900", 0.2),
        ("d < DATE '2024-02-01'", 0.2),
        ("gone IS NULL", 0.15),
        ("few = 1 OR few = 2", 0.2),
        ("few = 1 AND x < 0.5", 0.25),
        ("id < 500", 0.2),
    ],
)
def test_expected_rows_are_near_those_that_come(sealed: EmbeddedDatabase, condition: str, within: float) -> None:
    text = sealed.execute(f"EXPLAIN (FORMAT JSON) SELECT * FROM t WHERE {condition}").scalar()
    expected = json.loads(text)[0]["Plan"]["Plan Rows"]
    count = sealed.execute(f"SELECT count(*) FROM t WHERE {condition}").scalar()
    assert expected == pytest.approx(count, rel=within, abs=2)


@pytest.fixture(scope="module")
def sealed() -> Iterator[EmbeddedDatabase]:
    with weftdb.open(maintenance=False) as db:
        db.execute(
            "CREATE TABLE t (id BIGINT PRIMARY KEY, few INT, many BIGINT, name TEXT, x DOUBLE PRECISION,"
            " n NUMERIC(12,2), d DATE, gone TEXT)"
        )
        db.table("t").insert(rows(0, ROWS))
        db.engine.flush()
        yield db


def test_statistics_follow_a_transaction_and_its_new_tables(db: EmbeddedDatabase) -> None:
    db.table("t").insert(rows(0, 100))
    with db.transaction() as transaction:
        transaction.execute("CREATE TABLE fresh (a INT)")
        transaction.execute("INSERT INTO fresh SELECT * FROM generate_series(1, 50)")
        for table, count in (("fresh", 50), ("t", 100)):
            plan = "\n".join(line for (line,) in transaction.execute(f"EXPLAIN SELECT * FROM {table}").rows())
            assert f"at most {count} rows" in plan


def test_statistics_can_be_read_by_sql(db: EmbeddedDatabase) -> None:
    db.table("t").insert(rows(0, 2_000))
    db.engine.flush()
    found = db.execute("SELECT column_name, rows, distinct_values, null_fraction FROM weft_statistics").rows()
    by_name = {name: rest for name, *rest in found}
    assert list(by_name) == ["id", "few", "many", "name", "x", "n", "d", "gone"]
    assert by_name["few"] == [2_000, pytest.approx(10, abs=1), 0.0]
    assert by_name["gone"][2] == pytest.approx(0.25, abs=0.05)
