"""Random queries have the answers that PostgreSQL and DuckDB's own tables give, and agree with themselves.

A failure prints its seed and the command that replays it. What runs found once stands as a script, with PostgreSQL's
answers, in tests/golden/sqllogic/found.test.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from itertools import islice

import fuzz_oracles
import psycopg
import pytest
import soak
from fuzz import Query, World
from fuzz_oracles import Answer, Judge, Ours, Plain, PostgresJudge, Refused, agree, differences
from private_postgres import private_postgres
from weftdb.base.types import Kind

WORLDS = soak.many(4, 8)
QUERIES = 100 if soak.FACTOR == 1 else 200
"""Of each world beside PostgreSQL, a quarter as many worlds beside plain tables: 500; 100,000 in FACTOR=50."""


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresJudge]:
    with (
        private_postgres(tmp_path_factory) as address,
        psycopg.connect(address, autocommit=True, prepare_threshold=None) as connection,
    ):
        yield PostgresJudge(connection)


@pytest.mark.timeout(180 * soak.FACTOR)
def test_random_queries_have_postgresql_s_answers(postgres: PostgresJudge) -> None:
    assert not some_differences(1_000_000, WORLDS, [postgres])


@pytest.mark.timeout(120 * soak.FACTOR)
def test_random_queries_have_the_answers_of_plain_tables_and_agree_with_themselves() -> None:
    assert not some_differences(0, WORLDS // 4, [Plain()])


def some_differences(above: int, worlds: int, judges: list[Judge]) -> str:
    """The first ones in worlds with seeds above this one, in words."""
    seeds = range(above + soak.SEED, above + soak.SEED + worlds)
    found = (difference for seed in seeds for difference in differences(seed, range(QUERIES), judges))
    return "\n".join(map(str, islice(found, 5)))


def test_a_seed_gives_the_same_tables_and_queries_in_any_order() -> None:
    one, other = World(3), World(3)
    assert one.steps == other.steps
    assert [one.query(number) for number in range(30)] == [other.query(number) for number in reversed(range(30))][::-1]
    assert len({one.query(number).sql for number in range(30)}) > 25


def test_every_fifth_query_is_the_one_before_with_other_constants() -> None:
    def shape(text: str) -> str:
        return re.sub(r"ARRAY\[[^]]*\](::\w+\[\])?|NULL|'[^']*'|[-0-9.]+", "", text)[:20]

    world = World(5)
    pairs = [(world.query(number).sql, world.query(number + 1).sql) for number in range(3, 100, 5)]
    assert sum(one != other for one, other in pairs) > 10
    assert all(shape(one) == shape(other) for one, other in pairs)


_MET = (
    "UPDATE", "DELETE", "BEGIN", "CHECKPOINT", "INDEX", "shards", "time =", "MERGE", "UNIQUE", "FROM (SELECT", "USING",
    "ON CONFLICT",
)  # fmt: skip
_ASKED = (
    "@", "LATERAL", "GROUPING SETS", "ROLLUP", "OVER (", "EXCLUDE", "DISTINCT ON", "INTERSECT", "FILTER", "= ANY",
    "WITHIN GROUP", "RECURSIVE", "unnest(", "JSONB", "jsonb_", "regexp_", "to_char", "AT TIME ZONE", "generate_series",
    "MERGE", "ON CONFLICT", "RETURNING", "DELETE FROM", "WITH TIES", "ASOF", "time_bucket(", "gapfill", "last(",
    "session_number",
)  # fmt: skip


def test_the_worlds_have_what_is_to_be_met_in_them() -> None:
    """Or the tests above prove little: the past, own writes, segments, keys and time, and every kind of question."""
    seen: Counter[str] = Counter()
    for seed in range(40):
        world = World(seed)
        for step in world.steps:
            seen.update(word for word in _MET if word in step.sql + step.options)
        for number in range(60):
            query = world.query(number)
            seen.update(f"asked {word}" for word in _ASKED if word in query.sql)
            seen["may fail"] += query.may_fail
    assert [word for word in _MET if seen[word] < 5] == []
    assert [word for word in _ASKED if seen[f"asked {word}"] < 2] == []
    assert 20 < seen["may fail"] < 400


def test_answers_are_neither_empty_nor_refused_as_a_rule() -> None:
    seen: Counter[str] = Counter()
    for seed in (3, 4):
        world = World(seed)
        ours = Ours(world)
        for number in range(30):
            query = world.query(number)
            try:
                seen["rows" if ours.answer(query).rows else "no rows"] += 1
            except Refused:
                seen["refused"] += not (query.may_fail or query.changed)
        ours.close()
    assert seen["rows"] > 25
    assert seen["no rows"] > 3
    assert not seen["refused"]


class TestAgreement:
    """What counts as a difference."""

    def test_rows_count_with_their_number_and_their_order_where_there_is_one(self) -> None:
        rows = [(1, "a"), (1, "a"), (2, None)]
        one = Answer(rows, (Kind.INTEGER, Kind.TEXT))
        other = Answer(rows[::-1], one.kinds)
        assert agree(one, other, Query(""))
        assert not agree(one, other, Query("", ordered=True))
        assert not agree(one, Answer(rows[:2], one.kinds), Query(""))
        assert not agree(one, Answer(rows, (Kind.BIGINT, Kind.TEXT)), Query(""))

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            (float("nan"), float("nan"), True),
            (0.0, -0.0, True),
            (1.0, 1.0000000000000002, False),
            (1, 1.0, False),
            (None, "", False),
            (date(2024, 1, 1), "2024-01-01", False),
            (True, 1, False),
        ],
    )
    def test_values(self, one: object, other: object, same: bool) -> None:
        kinds = (Kind.DOUBLE,)
        assert agree(Answer([(one,)], kinds), Answer([(other,)], kinds), Query("")) is same

    def test_a_refusal_agrees_only_where_values_may_cause_it(self) -> None:
        overflow, rows = Refused("22003", ""), Answer([], ())
        assert agree(overflow, rows, Query("", may_fail=True))
        assert not agree(overflow, rows, Query(""))
        assert not agree(overflow, overflow, Query(""))
        assert not agree(Refused("0A000", ""), rows, Query("", may_fail=True))

    def test_a_change_may_be_refused_by_both_and_for_another_reason_each(self) -> None:
        unique, null, crash = Refused("23505", ""), Refused("23502", ""), Refused("crash", "")
        assert agree(unique, null, Query("", changed="t"))
        assert not agree(unique, Answer([], ()), Query("", changed="t"))
        assert not agree(crash, crash, Query("", changed="t"))
        assert not agree(unique, unique, Query(""))

    def test_a_wrong_answer_is_found_by_each_oracle(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = Ours.answer

        def wrong(self: Ours, query: Query) -> Answer:
            found = answer(self, query)
            return Answer(found.rows[1:], found.kinds)

        monkeypatch.setattr(Ours, "answer", wrong)
        found = differences(1, range(25), [Plain()], everything=True)
        assert {difference.oracle for difference in found} >= {"plain tables", "TLP", "NoREC"}

    def test_a_difference_says_how_to_see_it_again(self, capsys: pytest.CaptureFixture[str]) -> None:
        shown = str(fuzz_oracles.Difference(7, 9, "TLP", "SELECT 1", "1", "2"))
        assert "fuzz_oracles.py --seed 7 --query 9" in shown
        assert fuzz_oracles.main(["--seed", "7", "--query", "9"]) == 0
        assert capsys.readouterr().out == "0 differences\n"
