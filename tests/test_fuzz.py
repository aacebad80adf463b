"""Random queries have the answers that PostgreSQL and DuckDB's own tables give, and agree with themselves.

A failure prints its seed and the command that replays it. What runs found once stands as a script, with PostgreSQL's
answers, in tests/golden/sqllogic/found.test.
"""

from __future__ import annotations

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

WORLDS = 8 * soak.FACTOR
QUERIES = 40
"""So many each beside PostgreSQL and beside plain tables (with TLP and NoREC): 640; 102,400 with FACTOR=160."""


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresJudge]:
    with (
        private_postgres(tmp_path_factory) as address,
        psycopg.connect(address, autocommit=True, prepare_threshold=None) as connection,
    ):
        yield PostgresJudge(connection)


@pytest.mark.timeout(120 * soak.FACTOR)
def test_random_queries_have_postgresql_s_answers(postgres: PostgresJudge) -> None:
    assert not some_differences(1_000_000, [postgres])


@pytest.mark.timeout(120 * soak.FACTOR)
def test_random_queries_have_the_answers_of_plain_tables_and_agree_with_themselves() -> None:
    assert not some_differences(0, [Plain()], partitions=True)


def some_differences(above: int, judges: list[Judge], *, partitions: bool = False) -> str:
    """The first ones in worlds with seeds above this one, in words."""
    seeds = range(above + soak.SEED, above + soak.SEED + WORLDS)
    found = (d for seed in seeds for d in differences(seed, range(QUERIES), judges, partitions=partitions))
    return "\n".join(map(str, islice(found, 5)))


def test_a_seed_gives_the_same_tables_and_queries_in_any_order() -> None:
    one, other = World(3), World(3)
    assert one.steps == other.steps
    assert [one.query(number) for number in range(30)] == [other.query(number) for number in reversed(range(30))][::-1]
    assert len({one.query(number).sql for number in range(30)}) == 30


def test_the_worlds_have_what_is_to_be_met_in_them() -> None:
    """Or the test above proves little: the past, own writes, segments, keys and time, empty answers and full ones."""
    seen: Counter[str] = Counter()
    for seed in range(12):
        world = World(seed)
        for step in world.steps:
            seen.update(word for word in ("UPDATE", "DELETE", "BEGIN", "CHECKPOINT", "INDEX") if word in step.sql)
            seen.update(word for word in ("shards", "time =") if word in step.options)
        ours = Ours(world)
        for number in range(5):
            query = world.query(number)
            seen["the past"] += "@" in query.sql
            try:
                seen["rows" if ours.answer(query).rows else "no rows"] += 1
            except Refused:
                seen["refused"] += 1
        ours.close()
    assert all(seen[word] >= 2 for word in ("UPDATE", "DELETE", "BEGIN", "CHECKPOINT", "INDEX", "shards", "time ="))
    assert seen["the past"] > 2
    assert seen["rows"] > 30
    assert seen["no rows"] > 3
    assert seen["refused"] < 3


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

    def test_a_wrong_answer_is_found_by_each_oracle(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = Ours.answer

        def wrong(self: Ours, query: Query) -> Answer:
            found = answer(self, query)
            return Answer(found.rows[1:], found.kinds)

        monkeypatch.setattr(Ours, "answer", wrong)
        oracles = {difference.oracle for difference in differences(1, range(20), [Plain()])}
        assert oracles == {"plain tables", "TLP", "NoREC"}

    def test_a_difference_says_how_to_see_it_again(self, capsys: pytest.CaptureFixture[str]) -> None:
        shown = str(fuzz_oracles.Difference(7, 9, "TLP", "SELECT 1", "1", "2"))
        assert "fuzz_oracles.py --seed 7 --query 9" in shown
        assert fuzz_oracles.main(["--seed", "7", "--query", "9"]) == 0
        assert capsys.readouterr().out == "0 differences\n"
