"""What is told by counts and zones is what the relational executor finds in the rows (engine/pipeline/metadata.py).

Tables of random worlds (fuzz_tiers_world.py) have blocks of 64 or 128 rows, ended rows, older versions, columns that
came later, NULLs, NaN, -0.0 and numbers at the ends of their types.
"""

from __future__ import annotations

import datetime as dt
import math
import random
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import soak
from fuzz_tiers import Interpreted, small
from fuzz_tiers_world import COLUMNS, LATE, TABLES, World, value
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.engine.overlay import Overlay
from weftdb.engine.pipeline import metadata
from weftdb.engine.segment import Segment
from weftdb.sql.resources import resources_of
from weftdb.sql.session import Session

WORLDS = soak.many(3, 12)
QUERIES = 40
_COMPARED = ("=", "<>", "<", "<=", ">", ">=")
_ORDERED = frozenset(
    (
        *("SMALLINT", "INTEGER", "BIGINT", "NUMERIC(12,4)", "NUMERIC(15,2)", "NUMERIC(38,4)"),
        *("DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "REAL", "DOUBLE PRECISION"),
    )
)


class _Answers:
    """Counts what metadata told, and what it left to kernels."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told = self.left = 0
        inner = metadata.told

        def told(*arguments: Any, **named: Any) -> metadata.Told | None:
            found = inner(*arguments, **named)
            self.told += found is not None
            self.left += found is None
            return found

        monkeypatch.setattr(metadata, "told", told)


def _literal(rng: random.Random, type: str) -> str:
    found = value(rng, type, rng.choice(("few", "some", "wide", "extreme")))
    if isinstance(found, float):
        return f"'{found}'::DOUBLE PRECISION"
    if isinstance(found, dt.date | dt.time | str):
        return f"{type} '{found}'"
    return f"CAST({found} AS {type})"


def _query(rng: random.Random, versions: list[int]) -> str:
    table = rng.choice(tuple(TABLES))
    columns = [(name, type) for name, type, _ in COLUMNS] + [("k", "INTEGER")]
    if rng.random() < 0.5:
        table += f" AS OF VERSION {rng.choice(versions)}"
    else:
        columns += LATE
    ordered = [(name, type) for name, type in columns if type in _ORDERED]

    def output() -> str:
        name, _ = rng.choice(ordered)
        return rng.choice(("count(*)", f"count({rng.choice(columns)[0]})", f"min({name})", f"max({name})"))

    def condition() -> str:
        if rng.random() < 0.25:
            return f"{rng.choice(columns)[0]} IS {rng.choice(('', 'NOT '))}NULL"
        name, type = rng.choice(ordered)
        if type == "REAL":
            return f"{name}::DOUBLE PRECISION {rng.choice(_COMPARED)} {_literal(rng, 'DOUBLE PRECISION')}"
        sides = [name, _literal(rng, type)]
        if rng.random() < 0.2:
            sides.reverse()
        return f"{sides[0]} {rng.choice(_COMPARED)} {sides[1]}"

    conditions = [condition() for _ in range(rng.choice((0, 0, 1, 2)))]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {', '.join(output() for _ in range(rng.randint(1, 5)))} FROM {table}{where}"


def _shown(rows: list[tuple[Any, ...]]) -> str:
    return repr([tuple(0.0 if value == 0 and isinstance(value, float) else value for value in row) for row in rows])


def _answer(session: Session, tier: str, sql: str) -> tuple[Any, str]:
    session.execute(f"SET weft.tier = {tier}")
    result = session.execute(sql)
    return result.types, _shown(result.rows())


@pytest.mark.timeout(120 * soak.FACTOR)
def test_random_questions_are_answered_as_by_the_relational_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = _Answers(monkeypatch)
    for seed in range(soak.SEED * 10_000, soak.SEED * 10_000 + WORLDS):
        rng = random.Random(f"metadata {seed}")
        monkeypatch.setattr(metadata, "READ_ROWS_MAX", rng.choice((1 << 20, 1 << 20, 100)))
        monkeypatch.setattr(metadata, "EXTREME_BLOCKS_MAX", rng.choice((64, 64, 1)))
        with small(seed):
            world = World(seed)
            resources_of(world.engine).kernels = Interpreted(threads=1)
            with Session(world.engine) as session:
                for _ in range(QUERIES):
                    sql = _query(rng, world.versions)
                    expected = _answer(session, "relational", sql)
                    assert _answer(session, "auto", sql) == expected, f"seed {seed}: {sql}"
            world.close()
    assert answers.told * 2 > WORLDS * QUERIES
    assert answers.left * 50 > answers.told


@pytest.fixture
def session() -> Iterator[Session]:
    """640 rows in blocks of 64, sorted by k."""
    with small(1), pytest.MonkeyPatch.context() as patch:
        patch.setattr("weftdb.storage.segment_writer.BLOCK_ROWS", 64)
        patch.setattr("weftdb.engine.pipeline.metadata.EXTREME_BLOCKS_MAX", 3)
        with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
            session.execute("CREATE TABLE t (k BIGINT PRIMARY KEY, a INTEGER, x DOUBLE PRECISION, s TEXT, m TIMESTAMP)")
            times = [dt.datetime(2026, 1, 1) + dt.timedelta(hours=k) for k in range(640)]
            session.put(
                "t",
                [
                    {"k": k, "a": None if k < 64 else k, "x": k / 2, "s": str(k % 50), "m": m}
                    for k, m in enumerate(times)
                ],
            )
            engine.flush()
            session.execute("SET weft.tier = pipeline")
            yield session


def _read(session: Session, sql: str) -> tuple[tuple[Any, ...], int]:
    """The answer, and the rows that were read for it; only metadata answers."""
    (line,) = (
        line for (line,) in session.execute(f"EXPLAIN ANALYZE {sql}").rows() if line.startswith("  Pipeline of t: told")
    )
    (row,) = session.execute(sql).rows()
    return row, int(line.partition("zones, ")[2].partition(" rows")[0])


def test_nothing_is_read_where_all_rows_are_visible(session: Session) -> None:
    assert _read(session, "SELECT count(*), min(k), max(k), min(x), max(a), count(a), count(s) FROM t") == (
        (640, 0, 639, 0.0, 639, 576, 640),
        64,  # of 0.0 a zone does not tell the sign
    )
    assert _read(session, "SELECT count(*) FROM t WHERE m >= TIMESTAMP '2026-01-09 00:00:00'") == ((448,), 0)
    assert _read(session, "SELECT count(*), max(x) FROM t WHERE a IS NULL") == ((64, 31.5), 0)
    assert _read(session, "SELECT count(*), max(k) FROM t WHERE k > 639 AND x > 0") == ((0, None), 0)
    assert _read(session, "SELECT count(*), min(k) FROM t WHERE x <> 1000") == ((640, 0), 0)


def test_no_block_of_a_segment_that_is_told_as_a_whole_is_looked_at(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def entries(*_: object) -> None:
        raise AssertionError("blocks are looked at")

    monkeypatch.setattr(metadata, "_entries", entries)
    asked = "SELECT count(*), min(k), max(a) FROM t"
    assert _read(session, asked) == ((640, 0, 639), 0)
    assert _read(session, f"{asked} WHERE x >= 0 AND m IS NOT NULL") == ((640, 0, 639), 0)
    session.execute("DELETE FROM t WHERE k = 300")
    with pytest.raises(AssertionError, match="blocks are looked at"):
        session.execute(asked)


def test_explain_alone_reads_nothing(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object, **more: object) -> None:
        raise AssertionError("a block is read")

    monkeypatch.setattr(Segment, "values", read)
    monkeypatch.setattr(Segment, "visible", read)
    lines = [row[0] for row in session.execute("EXPLAIN SELECT count(*), min(x) FROM t WHERE x > 50").rows()]
    assert "  Pipeline of t: told by counts and zones" in lines


def test_blocks_that_a_condition_is_true_of_in_part_are_read_alone(session: Session) -> None:
    assert _read(session, "SELECT count(*), min(k), max(k) FROM t WHERE x > 50 AND x <= 200") == ((300, 101, 400), 128)


def test_only_blocks_with_the_least_values_are_read_where_rows_have_ended(session: Session) -> None:
    session.execute("DELETE FROM t WHERE k % 2 = 0")
    assert _read(session, "SELECT count(*), min(k), max(k) FROM t") == ((320, 1, 639), 128)
    session.execute("DELETE FROM t WHERE k < 130")
    assert _read(session, "SELECT count(*), min(k) FROM t") == ((255, 131), 3 * 64)
    session.execute("TRUNCATE t")
    assert _read(session, "SELECT count(*), min(k) FROM t") == ((0, None), 0)


def test_what_is_in_memory_is_looked_through(session: Session) -> None:
    session.put("t", [{"k": k, "x": math.nan if k == 700 else -1.0} for k in range(700, 720)])
    row, read = _read(session, "SELECT count(*), count(a), min(x), max(k) FROM t")
    assert (row, read) == ((660, 576, -1.0, 719), 20)
    assert math.isnan(session.execute("SELECT max(x) FROM t").scalar())


def test_integers_in_memory_are_looked_at_once_and_an_older_version_has_its_own(session: Session) -> None:
    sql = "SELECT count(*), count(a), min(a), max(k) FROM t"
    ((rows, there, least, _), _) = _read(session, sql)
    session.put("t", [{"k": k, "a": None if k % 2 else -k} for k in range(2_000, 2_020)])
    older = session.engine.version
    assert _read(session, sql) == ((rows + 20, there + 10, -2_018, 2_019), 0)
    session.put("t", [{"k": k, "a": -9_999 if k == 3_000 else None} for k in range(3_000, 3_020)])
    assert _read(session, sql) == ((rows + 40, there + 11, -9_999, 3_019), 0)
    asked = sql.replace("FROM t", f"FROM t AS OF VERSION {older}")
    assert session.execute(asked).rows() == [(rows + 20, there + 10, -2_018, 2_019)]
    session.execute("DELETE FROM t WHERE k IN (3000, 3019)")
    assert session.execute(sql).rows() == [(rows + 38, there + 10, -2_018, 3_018)]
    assert least is not None


def test_a_table_without_rows_has_no_least_value(session: Session) -> None:
    session.execute("CREATE TABLE e (k BIGINT PRIMARY KEY)")
    assert session.execute("SELECT count(*), min(k) FROM e").rows() == [(0, None)]


def test_what_wants_more_is_left_to_kernels(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    resources_of(session.engine).kernels = kernels = Interpreted(threads=1)
    monkeypatch.setattr(metadata, "READ_ROWS_MAX", 64)
    for sql, answer in (
        ("SELECT count(*), sum(a) FROM t", (640, 202464)),
        ("SELECT count(*) FROM t WHERE x > 50 AND x <= 200", (300,)),
        ("SELECT count(*) FILTER (WHERE x > 50) FROM t", (539,)),
        ("SELECT count(*) FROM t WHERE s LIKE '1%'", (143,)),
        ("SELECT count(*), min(a + 1) FROM t", (640, 65)),
    ):
        before = kernels.used
        assert session.execute(sql).rows() == [answer]
        assert kernels.used > before, sql


def test_an_answer_is_that_of_its_version_while_rows_come_and_end(session: Session) -> None:
    """Every commit leaves 640 rows, of which the greatest is twice its number."""
    stop = threading.Event()
    failures: list[Any] = []

    def write() -> None:
        with Session(session.engine) as writer:
            for number in range(1, 10**6):
                if stop.is_set():
                    return
                writer.execute(f"UPDATE t SET x = {1000 + number} WHERE k % 7 = {number % 7}")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        last = 0.0
        for _ in range(60):
            count, most = session.execute("SELECT count(*), max(x) FROM t").rows()[0]
            if count != 640 or most < last:
                failures.append((count, most, last))
            last = most
    finally:
        stop.set()
        thread.join()
    assert not failures


@pytest.mark.parametrize("rows", [64, 640, 1_000])
def test_ends_are_counted_by_block(rows: int) -> None:
    numbers = np.random.default_rng(rows)
    overlay = Overlay(rows)
    ended = np.zeros(rows, np.int64)
    for version in range(1, 20):
        chosen = np.unique(numbers.integers(0, rows, numbers.integers(1, 20)))
        added = overlay.end(chosen, version)
        ended[chosen[added]] = version
        for asked in (version - 1, version, version + 5):
            found = overlay.ended_by_block(asked, 64)
            if asked < version:
                assert found is None
            else:
                expected = [int((ended[at : at + 64] > 0).sum()) for at in range(0, rows, 64)]
                assert found is not None
                assert found.tolist() == expected
    overlay.end_rest(30)
    assert overlay.ended_by_block(29, 64) is None
    found = overlay.ended_by_block(30, 64)
    assert found is not None
    assert int(found.sum()) == rows


def test_ends_are_counted_as_a_whole_only_at_versions_after_all_of_them() -> None:
    overlay = Overlay(640)
    assert overlay.ended_at(0) == 0
    assert not overlay.any_ended(0, 640)
    overlay.end(np.array([70, 200]), 5)
    overlay.end(np.array([200, 201]), 7)  # one of them has ended before
    assert overlay.ended_at(6) is None
    assert overlay.ended_at(7) == 3
    assert [overlay.any_ended(at, at + 64) for at in range(0, 256, 64)] == [False, True, False, True]
    overlay.end_rest(9)
    assert overlay.ended_at(8) is None
    assert overlay.ended_at(9) == 640
    assert overlay.any_ended(0, 64)
