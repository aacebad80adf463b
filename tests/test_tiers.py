"""Pipelines and the relational executor give one answer (fuzz_tiers.py), whatever lies where and whoever writes.

The long runs: ``make soak``, or ``fuzz_tiers.py`` with more worlds.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import Any

import fuzz_tiers
import pytest
import soak
from fuzz_tiers import SMALL, TIERS, Compiled, Interpreted, differences, small
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.engine.pipeline import pieces
from weftdb.engine.pipeline.shape import Shape
from weftdb.sql.resources import resources_of
from weftdb.sql.session import Session

WORLDS = soak.many(3, 4)
QUERIES = 60
"""Of a world, a third of them by kernels. FACTOR=50 is 12,000 queries."""


def _some(worlds: int, counts: Counter[str], **how: Any) -> str:
    """The first differences, in words."""
    seeds = range(soak.SEED * 10_000, soak.SEED * 10_000 + worlds)
    found = (differences(seed, range(QUERIES), counts=counts, **how) for seed in seeds)
    return "\n".join(islice(chain.from_iterable(found), 5))


@pytest.mark.timeout(120 * soak.FACTOR)
def test_random_queries_are_answered_alike_by_interpreted_kernels() -> None:
    counts = Counter[str]()
    assert not _some(WORLDS, counts)
    assert counts["reached"] * 6 > counts["asked"]


@pytest.mark.timeout(120 * soak.FACTOR)
def test_random_queries_are_answered_alike_by_programs() -> None:
    counts = Counter[str]()
    assert not _some(soak.many(5, 16), counts, programs=True)
    assert counts["reached"] * 6 > counts["asked"]


@pytest.mark.timeout(120 * soak.FACTOR)
def test_random_queries_are_answered_alike_by_compiled_kernels(tmp_path: Path) -> None:
    counts = Counter[str]()
    assert not _some(1 + soak.FACTOR // 2, counts, structures=soak.many(3, 8), folder=tmp_path)
    assert counts["reached"] > QUERIES // 10


@pytest.mark.skipif(soak.FACTOR == 1, reason="all kernels are compiled anew, with checks of all indices: make soak")
def test_compiled_kernels_stay_inside_of_their_arrays(tmp_path: Path) -> None:
    command = [sys.executable, fuzz_tiers.__file__, "--compiled", str(tmp_path), "--seed", "77"]
    done = subprocess.run(
        [*command, "--structures", str(soak.FACTOR), "--worlds", "4", "--queries", str(4 * soak.FACTOR)],
        env={**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " by kernels" in done.stdout


def test_a_seed_gives_the_same_queries_and_structures_have_other_constants() -> None:
    queries = [TIERS.query_of(3, number, [1, 2], structures=10) for number in range(400)]
    assert queries == [TIERS.query_of(3, number, [1, 2], structures=10) for number in range(400)]
    assert len(set(queries)) > 100
    assert len({TIERS.query_of(6, number, [1, 2]) for number in range(100)}) == 100


def test_limits_are_small_and_are_restored() -> None:
    before = pieces.PIECE_ROWS
    with small(1):
        assert pieces.PIECE_ROWS in SMALL["engine.pipeline.pieces.PIECE_ROWS"]
    assert before == pieces.PIECE_ROWS


def test_no_rows_make_no_groups_whatever_groups_are_kept_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weftdb.engine.pipeline.packing.PIPELINE_DENSE_MAX", 0)
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        resources_of(engine).kernels = Interpreted(threads=1)
        session.execute("CREATE TABLE t (k BIGINT PRIMARY KEY, a INTEGER)")
        session.execute("SET weft.tier = pipeline")
        assert session.execute("SELECT a, count(*) FROM t GROUP BY a").rows() == []


def test_a_column_that_a_segment_does_not_have_is_null_in_all_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weftdb.engine.pipeline.pieces.PIECE_ROWS", 8)
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        resources_of(engine).kernels = Interpreted(threads=1)
        session.execute("CREATE TABLE t (k BIGINT PRIMARY KEY)")
        session.put("t", [{"k": number} for number in range(500)])
        engine.flush()
        session.execute("ALTER TABLE t ADD COLUMN late DATE")
        session.execute("ALTER TABLE t ADD COLUMN below NUMERIC(38,4) DEFAULT -2.5")
        session.execute("SET weft.tier = pipeline")
        sql = "SELECT count(late), count(*), sum(below), min(below) FROM t"
        assert session.execute(sql).rows() == [(0, 500, Decimal(-1250), Decimal("-2.5"))]
        sql = "SELECT below, late, count(*) FROM t GROUP BY below, late"
        assert session.execute(sql).rows() == [(Decimal("-2.5"), None, 500)]


SECONDS = 3 * soak.FACTOR
ASKED = (
    "SELECT g, count(*), sum(a), min(a), max(a), sum(x) FROM {} GROUP BY g",
    "SELECT count(*), sum(a), count(late), max(x) FROM {} WHERE s LIKE 'a%' OR a > 0",
    "SELECT s, a, count(*), sum(x) FROM {} WHERE g <> 3 GROUP BY s, a",
    "SELECT g, count(DISTINCT a), count(*) FROM {} GROUP BY g",
    "SELECT count(*), min(k), max(k), count(a), min(a) FROM {}",
    "SELECT k, x, s FROM {} WHERE a > -10 ORDER BY x DESC NULLS LAST, k LIMIT 9",
    "SELECT s, count(*) FROM (SELECT s, row_number() OVER (PARTITION BY g ORDER BY k DESC) AS place FROM {}) one"
    " WHERE place = 1 GROUP BY s",
)


class Slow(Compiled):
    """Compiled kernels that let others run before each morsel."""

    def compiled(self, shape: Shape) -> Any:
        kernel = super().compiled(shape)

        def slowly(*arguments: Any) -> Any:
            time.sleep(0.002)
            return kernel(*arguments)

        return slowly


@pytest.mark.timeout(60 + 3 * SECONDS)
def test_answers_are_those_of_their_version_while_others_write_seal_and_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weftdb.engine.pipeline.pieces.MORSEL_PIECES", 1)
    monkeypatch.setattr("weftdb.engine.pipeline.pieces.PIECE_ROWS", 64)
    failures: list[BaseException] = []
    done = threading.Event()

    def loop(work: Callable[[Session, random.Random], None], seed: int) -> None:
        numbers = random.Random(f"{soak.SEED} {seed}")
        try:
            with Session(engine) as session:
                while not done.is_set():
                    work(session, numbers)
        except BaseException as error:
            failures.append(error)
            done.set()

    def write(session: Session, numbers: random.Random) -> None:
        first, choice = numbers.randrange(400), numbers.random()
        if choice < 0.6:
            session.put("t", [_row(numbers, k) for k in range(first, first + numbers.randint(1, 90))])
        elif choice < 0.8:
            session.execute(f"DELETE FROM t WHERE k BETWEEN {first} AND {first + 30}")
        else:
            session.execute(f"UPDATE t SET a = -a, x = x + 0.5 WHERE k BETWEEN {first} AND {first + 60}")

    def settle(session: Session, numbers: random.Random) -> None:
        engine.flush()
        if numbers.random() < 0.5:
            engine.compact()
        time.sleep(0.02)

    asked = 0
    with Engine.open(tmp_path / "data", options=Options(maintenance=False, durable=False)) as engine:
        resources_of(engine).kernels = kernels = Slow(threads=2, folder=tmp_path)
        with Session(engine) as session:
            session.execute(
                "CREATE TABLE t (k BIGINT PRIMARY KEY, g SMALLINT NOT NULL, a INTEGER, s TEXT, x DOUBLE PRECISION)"
            )
            session.put("t", [_row(random.Random(1), k) for k in range(400)])
            engine.flush()
            session.execute("ALTER TABLE t ADD COLUMN late INTEGER")
            for sql in ASKED:
                _at(session, "auto", sql.format("t"))  # compiled before the others begin
            threads = [threading.Thread(target=loop, args=(work, seed)) for seed, work in enumerate((write, settle))]
            for thread in threads:
                thread.start()
            numbers = random.Random(soak.SEED)
            until = time.monotonic() + SECONDS
            try:
                while time.monotonic() < until and not done.is_set():
                    sql = numbers.choice(ASKED)
                    found, version = _at(session, "auto", sql.format("t"))
                    past = f"t AS OF VERSION {version}"
                    assert found == _at(session, "relational", sql.format(past))[0], sql
                    assert found == _at(session, "auto", sql.format(past))[0], sql
                    asked += 1
            finally:
                done.set()
                for thread in threads:
                    thread.join()
    assert not failures, failures
    assert kernels.used > asked > 10


def _row(numbers: random.Random, k: int) -> dict[str, Any]:
    return {
        "k": k,
        "g": numbers.randint(0, 5),
        "a": numbers.choice((None, numbers.randint(-20, 20))),
        "s": numbers.choice((None, "a", "ab", "b", "zebra")),
        "x": numbers.choice((None, numbers.randint(-40, 40) / 4)),
    }


def _at(session: Session, tier: str, sql: str) -> tuple[list[str], int]:
    session.execute(f"SET weft.tier = {tier}")
    result = session.execute(sql)
    return sorted(map(repr, result.rows())), result.version
