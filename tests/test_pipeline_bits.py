"""Different values are counted by bits where these are few enough, else as groups: with the same answers."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from fuzz_pipelines import PlainKernels
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.engine.pipeline.bits import ValueBits, counts_of, set_of, stride_of
from weftdb.sql.resources import resources_of
from weftdb.sql.session import Session


def test_places_of_bits_are_those_that_are_set() -> None:
    numbers = random.Random(3)
    for size in (0, 1, 64, 65, 4_000):
        for count in {0, 1, size // 20, size}:
            places = sorted(numbers.sample(range(size), min(count, size)))
            bits = np.zeros(-(-size // 64), np.uint64)
            for place in places:
                bits[place >> 6] |= np.uint64(1) << np.uint64(place & 63)
            assert set_of(bits).tolist() == places


def test_counts_of_groups_are_those_of_sets() -> None:
    numbers = random.Random(4)
    for sizes in ((1, 7, 8, 9), (16, 17, 33), (64, 65, 1_000), (3,)):
        places = numbers.randint(1, 50)
        layout: list[ValueBits] = []
        base = 0
        for number, size in enumerate(sizes):
            layout.append(ValueBits(accumulator=number, low=0, stride=stride_of(size), base=base))
            assert size <= layout[-1].stride
            base += -(-layout[-1].stride * places // 64) * 64
        bits = np.zeros(base // 64, np.uint64)
        seen: dict[tuple[int, int], set[int]] = {}
        for _ in range(2_000):
            one = numbers.choice(layout)
            place, value = numbers.randrange(places), numbers.randrange(sizes[one.accumulator])
            seen.setdefault((one.accumulator, place), set()).add(value)
            bit = one.base + place * one.stride + value
            bits[bit >> 6] |= np.uint64(1) << np.uint64(bit & 63)
        found = counts_of(bits, layout, places)
        assert {key: len(values) for key, values in seen.items()} == {
            (number, place): count for number in found for place, count in enumerate(found[number].tolist()) if count
        }


QUERIES = (
    "SELECT g, count(DISTINCT v), count(*), min(v), sum(g) FROM t GROUP BY g",
    "SELECT count(DISTINCT v) FROM t WHERE g > 2",
    "SELECT g % 2, count(DISTINCT v) FROM t GROUP BY 1",
)


@pytest.mark.parametrize("sql", QUERIES)
@pytest.mark.parametrize("far", [1, 1 << 40])
def test_values_that_are_far_apart_are_groups(sql: str, far: int) -> None:
    numbers = random.Random(5)
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        kernels = resources_of(engine).kernels = PlainKernels(threads=2)
        session.execute("CREATE TABLE t (k BIGINT PRIMARY KEY, g INTEGER, v BIGINT)")
        for start in (0, 400):
            rows = [
                {"k": k, "g": numbers.randint(0, 5), "v": numbers.choice((None, far * numbers.randint(-60, 60)))}
                for k in range(start, start + 500)
            ]
            session.put("t", rows)
            engine.flush()
        answers: list[Any] = []
        for tier in ("relational", "auto", "pipeline"):
            session.execute(f"SET weft.tier = {tier}")
            answers.append(sorted(session.execute(sql).rows()))
        assert answers[0] == answers[1] == answers[2]
        assert kernels.used == 2
        explained = "\n".join(line for (line,) in session.execute(f"EXPLAIN {sql}").rows())
        assert ("by bits" in explained) == (far == 1)
        explained = "\n".join(line for (line,) in session.execute(f"EXPLAIN ANALYZE {sql}").rows())
        assert ("by bits" in explained) == (far == 1)


def test_what_is_distinct_is_a_set_of_bits_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        resources_of(engine).kernels = PlainKernels(threads=2)
        session.execute("CREATE TABLE t (k BIGINT PRIMARY KEY, g INTEGER, v BIGINT NOT NULL)")
        session.put("t", [{"k": k, "g": None if k % 5 == 0 else k % 3, "v": k % 40} for k in range(500)])
        for bits, sink in ((1 << 28, "set"), (8, "dense"), (0, "dense")):
            monkeypatch.setattr("weftdb.engine.pipeline.bits.PIPELINE_BITS_MAX", bits)
            for sql in ("SELECT DISTINCT g, v FROM t WHERE v <> 3", "SELECT g, v FROM t WHERE v <> 3 GROUP BY g, v"):
                answers: list[Any] = []
                for tier in ("relational", "pipeline"):
                    session.execute(f"SET weft.tier = {tier}")
                    answers.append(sorted(session.execute(sql).rows(), key=repr))
                assert answers[0] == answers[1]
                assert f"({sink})" in str(session.execute(f"EXPLAIN {sql}").rows())
