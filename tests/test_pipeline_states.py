"""States are added as lanes of rows would be, and of groups in an order the first ones are enough."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from fuzz_pipelines import PlainKernels
from weftdb.engine.database import Engine
from weftdb.engine.kernels.groups import ADD, ADD_REAL, ANY, GREATEST, GREATEST_REAL, LEAST, LEAST_REAL
from weftdb.engine.kernels.states import join_states, kth_greatest, places_with_rows, take
from weftdb.engine.options import Options
from weftdb.engine.pipeline.cut import Cut, chosen
from weftdb.sql.resources import resources_of
from weftdb.sql.session import Session


def _least(a: float, b: float) -> float:
    return b if math.isnan(a) or b < a else a


def _greatest(a: float, b: float) -> float:
    return b if math.isnan(b) or b > a else a


NAIVE: dict[int, Callable[[Any, Any], Any]] = {
    ADD: lambda a, b: a + b,
    LEAST: min,
    GREATEST: max,
    ADD_REAL: lambda a, b: a + b,
    LEAST_REAL: _least,
    GREATEST_REAL: _greatest,
    ANY: lambda a, b: a,
}
REALS = (ADD_REAL, LEAST_REAL, GREATEST_REAL)


def test_states_are_joined_place_by_place() -> None:
    numbers = random.Random(2)
    for _ in range(40):
        what = np.array([ADD, *(numbers.choice(tuple(NAIVE)) for _ in range(numbers.randint(0, 5)))], np.int64)
        width, places = len(what), numbers.randint(1, 40)
        states: list[np.ndarray] = []
        for _ in range(2):
            state = np.array([numbers.randint(-5, 5) for _ in range(places * width)], np.int64)
            for number, kind in enumerate(what.tolist()):
                if kind in REALS:
                    state.view(np.float64)[number::width] = [
                        numbers.choice((math.nan, math.inf, 0.0, 1.5, -2.0)) for _ in range(places)
                    ]
            states.append(state)
        first, second = states
        start = numbers.randint(0, places)
        stop = numbers.randint(start, places)
        wanted = first.copy()
        for place in range(start, stop):
            for number, kind in enumerate(what.tolist()):
                of = (lambda state: state.view(np.float64)) if kind in REALS else (lambda state: state)
                at = place * width + number
                of(wanted)[at] = NAIVE[kind](of(first)[at], of(second)[at])
        join_states(first, second, start, stop, what)
        assert [str(value) for value in first.view(np.float64)] == [str(value) for value in wanted.view(np.float64)]
        assert first.tobytes() == wanted.tobytes() or np.isnan(wanted.view(np.float64)).any()
        there = np.empty(stop - start, np.int64)
        there = there[: places_with_rows(first, width, start, stop, there)]
        assert there.tolist() == [place for place in range(start, stop) if wanted[place * width]]
        found = np.empty(len(there), np.int64)
        take(first, width, width - 1, there, found)
        assert found.tolist() == [wanted[place * width + width - 1] for place in there.tolist()]


def test_the_kth_greatest_is_that_of_the_sorted() -> None:
    numbers = np.random.default_rng(1)
    for size in (1, 2, 50, 1_028, 5_000, 40_000):
        for count in {1, min(size, 10), max(size // 4, 1), size}:
            for values in (
                numbers.integers(-(1 << 62), 1 << 62, size),
                numbers.integers(0, 4, size),
                np.arange(size),
                np.arange(size)[::-1].copy(),
                numbers.normal(size=size),
            ):
                assert kth_greatest(values, count) == np.sort(values)[size - count]


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("nulls_first", [True, False])
def test_the_groups_that_are_kept_begin_with_the_first_in_order(
    *, descending: bool, nulls_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weftdb.engine.pipeline.cut.GROUPS_MIN", 1)
    numbers = random.Random(8)
    cuts = 0
    for round in range(200):
        size = numbers.randint(4, 60)
        some: Sequence[float] = (-math.inf, -1.0, 0.0, 2.5, math.inf, math.nan) if round % 2 else range(-5, 6)
        values = np.array([numbers.choice(some) for _ in range(size)], np.float64 if round % 2 else np.int64)
        share = numbers.choice((0.0, 0.1, 0.9))
        there = np.array([numbers.random() >= share for _ in range(size)])
        cut = Cut(value=0, there=1, descending=descending, nulls_first=nulls_first, count=numbers.randint(1, size // 4))
        found = cut.chosen(lambda number, values=values, there=there: values if number == 0 else there.astype(np.int64))
        if found is None:
            continue
        cuts += 1

        def rank(place: int, values: np.ndarray = values, there: np.ndarray = there) -> tuple[int, int, float]:
            value = values[place]
            number = (1, 0.0) if math.isnan(value) else (0, float(value))
            number = tuple(-part for part in number) if descending else number
            return ((0 if there[place] else -1 if nulls_first else 1), *(number if there[place] else (0, 0.0)))  # pyright: ignore[reportReturnType]

        order = sorted(range(size), key=rank)
        last = rank(order[cut.count - 1])
        wanted = {place for place in order if rank(place) <= last}
        kept = set(np.flatnonzero(found).tolist())
        assert wanted <= kept
        assert len(kept - wanted) == 0 or math.nan in map(float, values) or np.isnan(values.astype(float)).any()
    assert cuts > 50
    assert chosen(np.arange(8), None, Cut(value=0, there=None, descending=True, nulls_first=False, count=2)) is not None


QUERIES = (
    "SELECT g, count(*) AS n FROM t GROUP BY g ORDER BY n DESC, g LIMIT 7",
    "SELECT g, sum(v) FROM t GROUP BY g ORDER BY sum(v), g LIMIT 5 OFFSET 3",
    "SELECT g, sum(v) AS s FROM t GROUP BY g ORDER BY s DESC NULLS LAST, g LIMIT 9",
    "SELECT g, max(x) AS s, min(v) FROM t GROUP BY g ORDER BY s DESC, g LIMIT 9",
    "SELECT g, min(x) AS s FROM t GROUP BY g ORDER BY s ASC NULLS FIRST, g LIMIT 9",
    "SELECT g, sum(x) AS s, avg(v) FROM t GROUP BY g ORDER BY s DESC NULLS LAST, g LIMIT 4",
    "SELECT g, sum(b) AS s, max(v) FROM t GROUP BY g ORDER BY s, g LIMIT 4",
    "SELECT g, count(DISTINCT v) AS s, sum(v) FROM t GROUP BY g ORDER BY s DESC, g LIMIT 4",
    "SELECT g, avg(v) AS s FROM t GROUP BY g ORDER BY s DESC, g LIMIT 4",
    "SELECT g, sum(v) FROM t GROUP BY g HAVING count(*) < 4 ORDER BY sum(v), g LIMIT 5",
    "SELECT g, rank() OVER (ORDER BY g) AS r, count(*) FROM t GROUP BY g ORDER BY count(*) DESC, g LIMIT 5",
    "SELECT sum(n) FROM (SELECT g, count(*) AS n FROM t GROUP BY g ORDER BY n DESC, g LIMIT 20) AS q",
    "SELECT g, count(*) FROM t GROUP BY g ORDER BY count(*) DESC, g LIMIT 0",
    "SELECT g, count(*) FROM t GROUP BY g ORDER BY count(*) DESC, g LIMIT NULL",
    "SELECT g + 1, count(*) FROM t WHERE v < 0 GROUP BY g + 1 ORDER BY count(*) DESC, 1 LIMIT 3",
)


@pytest.fixture(scope="module")
def engine() -> Any:
    numbers = random.Random(5)
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        resources_of(engine).kernels = PlainKernels(threads=2)
        session.execute(
            "CREATE TABLE t (k BIGINT PRIMARY KEY, g INTEGER, v BIGINT, x DOUBLE PRECISION, b NUMERIC(30, 2))"
        )
        for start in (0, 400):
            rows = [
                {
                    "k": k,
                    "g": numbers.choice((None, numbers.randint(0, 200))),
                    "v": numbers.choice((None, numbers.randint(-6, 6))),
                    "x": numbers.choice((None, math.nan, numbers.randint(-6, 6) / 4)),
                    "b": numbers.choice((None, numbers.randint(-(10**14), 10**14))),
                }
                for k in range(start, start + 500)
            ]
            session.put("t", rows)
            engine.flush()
        yield engine


@pytest.mark.parametrize("dense_max", [1 << 16, 0])
@pytest.mark.parametrize("sql", QUERIES)
def test_the_first_groups_are_those_of_all(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, sql: str, dense_max: int
) -> None:
    """In places, and looked up."""
    monkeypatch.setattr("weftdb.engine.pipeline.packing.PIPELINE_DENSE_MAX", dense_max)
    monkeypatch.setattr("weftdb.engine.pipeline.cut.GROUPS_MIN", 1)
    with Session(engine) as session:
        answers: list[list[str]] = []
        for tier in ("relational", "pipeline"):
            session.execute(f"SET weft.tier = {tier}")
            answers.append([repr(row) for row in session.execute(sql).rows()])
        assert answers[0] == answers[1]


def test_groups_beyond_the_first_are_left_out(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weftdb.engine.pipeline.cut.GROUPS_MIN", 1)
    for dense_max in (1 << 16, 0):
        monkeypatch.setattr("weftdb.engine.pipeline.packing.PIPELINE_DENSE_MAX", dense_max)
        with Session(engine) as session:
            session.execute("SET weft.tier = pipeline")
            for sql in (QUERIES[3], "SELECT g, sum(v) FROM t GROUP BY g ORDER BY 2, g LIMIT $1"):
                lines = session.execute(f"EXPLAIN ANALYZE {sql}", [3] if "$" in sql else []).rows()
                (line,) = (line for (line,) in lines if "Pipeline of" in line)
                assert int(line.split(":")[1].split()[0]) < 60
