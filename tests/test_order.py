"""Conditions of pipelines are asked in the order of their cost and of what they keep (engine/pipeline/order.py).

That every order gives the same rows: here for one query in all orders, and in fuzz_tiers.py, whose kernels ask in an
order by lot.
"""

from __future__ import annotations

import datetime as dt
import gc
import itertools
import json
import random
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soak
from fuzz_tiers import Compiled, Interpreted
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.engine.pipeline.order import (
    CHEAPER,
    SURE_ROWS,
    Order,
    Stage,
    best_order,
    cost_in,
    cost_of,
    own_stages,
    stages,
)
from weftdb.engine.pipeline.program import ORDERS_MAX, Program
from weftdb.engine.pipeline.shape import Node, Probe, Shape
from weftdb.engine.shares import SHARES_MAX, Shares
from weftdb.sql.resources import resources_of
from weftdb.sql.session import Session

ROWS = 40_000
CHEAP: Node = ("compare", "==", ("column", 0), ("int", 0))
DEAR: Node = ("compare", "==", ("plus", ("modulo", ("months", ("floor", ("column", 1), 7)), 12), 1), ("int", 1))


def _stages(costs: list[float]) -> tuple[Stage, ...]:
    return tuple(
        Stage(numbers=(number,), conditions=(), columns=frozenset((number,)), read=cost, picked=3 * cost, computed=0.1)
        for number, cost in enumerate(costs)
    )


def _told(order: Order, *rows: int, morsels: int = 1) -> list[tuple[int, ...]]:
    """Morsels are asked: so many rows come to the first stage, and so many pass it and each one behind it.

    Gives the order after each morsel.
    """
    orders: list[tuple[int, ...]] = []
    for _ in range(morsels):
        asked = order.asked()
        count = len(asked) // 3
        for turn, number in enumerate(asked[:count].tolist()):
            asked[count + 2 * number : count + 2 * number + 2] = rows[turn], rows[turn + 1]
        asked = order.after(asked)
        order.add(asked)
        orders.append(order.stages)
    return orders


def test_what_keeps_little_and_costs_little_is_asked_first() -> None:
    assert best_order(_stages([1.0, 1.0, 1.0]), [0.9, 0.1, 0.5]) == (1, 2, 0)
    assert best_order(_stages([9.0, 1.0, 3.0]), [0.5, 0.5, 0.5]) == (1, 2, 0)
    assert best_order(_stages([1.0, 1.0, 1.0]), [0.5, 0.5, 0.5]) == (0, 1, 2)
    # By rank the first one is first; but it leaves half of the rows, and all of a chunk are asked then.
    assert best_order(_stages([0.3, 1.0]), [0.5, 0.05]) == (1, 0)


def test_no_order_of_a_few_conditions_is_much_cheaper_than_the_best() -> None:
    rng = random.Random(7)
    for _ in range(400):
        of = _stages([rng.choice((0.3, 0.6, 1.0, 4.0, 9.0)) for _ in range(rng.randint(1, 5))])
        shares = [rng.choice((0.0, 0.001, 0.05, 0.3, 0.7, 1.0)) for _ in of]
        found = best_order(of, shares)
        assert sorted(found) == [*range(len(of))]
        least = min(cost_in(order, of, shares) for order in itertools.permutations(range(len(of))))
        assert cost_in(found, of, shares) <= 1.35 * least


def test_conditions_on_the_same_columns_are_asked_together_unless_they_are_dear_or_can_fail() -> None:
    fails: Node = ("fcompare", ">", ("fmul", ("double", 0), ("double", 0)), ("real", 0))
    other: Node = ("compare", "<", ("column", 0), ("int", 2))
    dear: Node = ("compare", "==", ("remainder", ("column", 0), 3), ("int", 4))
    found = stages(list(enumerate((CHEAP, dear, fails, other, DEAR))))
    assert [stage.numbers for stage in found] == [(0, 3), (1,), (2,), (4,)]
    assert cost_of(DEAR) > cost_of(CHEAP)


def test_what_can_fail_stays_behind_what_stood_before_it() -> None:
    guard: Node = ("fcompare", "<", ("double", 2), ("real", 0))
    fails: Node = ("fcompare", ">", ("fmul", ("double", 2), ("double", 2)), ("real", 1))
    of = stages(list(enumerate((DEAR, guard, fails, CHEAP))))
    for shares in itertools.product((0.0, 0.5, 1.0), repeat=len(of)):
        order = best_order(of, shares)
        assert order.index(2) > max(order.index(0), order.index(1)), shares
    assert best_order(of, [0.5, 0.5, 0.5, 0.0])[0] == 3, "what stands behind it goes in front"


def test_conditions_on_joined_columns_are_no_stages_of_the_table() -> None:
    probe = Probe(keeps="inner", hashed=False, keys=(("column", 1),), slots=(0,), argument=0)
    shape = Shape(
        slots=(False, False), tables=0, filters=(CHEAP, DEAR), keys=(), sink="one",
        accumulators=(("count", None, None),), key_arguments=9, probes=(probe,),
    )  # fmt: skip
    assert [stage.numbers for stage in own_stages(shape)] == [(1,)]


def test_what_is_seen_changes_the_order_and_few_rows_do_not() -> None:
    order = Order(_stages([1.0, 1.0]), [0.1, 0.9])
    assert order.stages == (0, 1)
    _told(order, SURE_ROWS // 100, SURE_ROWS // 100, 0, morsels=16)
    assert order.stages == (0, 1)
    assert order.seen() == [None, None]
    _told(order, 100_000, 90_000, 9_000, morsels=48)
    assert order.stages == (1, 0)
    assert order.shares() == [pytest.approx(0.9, abs=0.01), pytest.approx(0.1, abs=0.01)]


def test_an_order_gives_way_only_to_one_that_is_much_cheaper() -> None:
    order = Order(_stages([1.0, 1.0]), [0.11, 0.12])
    _told(order, 100_000, 12_000, 1_200, morsels=64)  # as good as equal: 12 % and 10 %
    assert order.stages == (0, 1)
    assert CHEAPER < 1.0


def test_conditions_that_exclude_each_other_do_not_take_turns() -> None:
    """Each keeps a tenth of the rows, and none of those that the other left: what comes second looks much better."""
    orders = _told(Order(_stages([1.0, 1.0]), [0.1, 0.1]), 100_000, 10_000, 0, morsels=1_100)
    assert len({*orders[20:]}) == 1


def test_nothing_is_counted_where_there_is_one_order() -> None:
    order = Order(_stages([1.0]), [0.5])
    assert order.asked().size == 0
    order.add(order.asked())
    assert order.seen() == [None]


def test_few_shares_are_remembered_and_none_of_what_has_no_hash() -> None:
    shares = Shares()
    for number in range(3 * SHARES_MAX):
        shares.put(("condition", number), number / 1_000)
    assert len(shares) == SHARES_MAX
    assert shares.get(("condition", 3 * SHARES_MAX - 1)) is not None
    assert shares.get(("condition", 0)) is None
    shares.put(["no hash"], 0.5)
    assert shares.get(["no hash"]) is None


# Whole queries.


class Watched(Interpreted):
    """Programs, in whatever ``order`` is set; what was asked is kept."""

    def __init__(self, *, threads: int = 1) -> None:
        super().__init__(threads=threads)
        self.order: tuple[int, ...] | None = None
        self.asked: list[np.ndarray] = []

    def compiled(self, shape: Shape) -> Any:
        return self.watched(Program(shape), shape)

    def watched(self, kernel: Any, shape: Shape) -> Any:
        def ask(*given: Any) -> int:
            asked = given[-1]
            if self.order is not None:
                asked[: len(self.order)] = self.order
            done = kernel(*given)
            self.asked.append(asked.copy())
            return done

        return ask

    def came(self, stage: int) -> int:
        """How many rows came to a stage."""
        return sum(int(asked[len(asked) // 3 + 2 * stage]) for asked in self.asked)


class WatchedPlain(Watched):
    def compiled(self, shape: Shape) -> Any:
        return self.watched(np.errstate(all="ignore")(Interpreted.made(self, shape)), shape)


class WatchedCompiled(Watched):
    def __init__(self, *, folder: Path) -> None:
        super().__init__()
        self._compiled = Compiled(threads=1, folder=folder)

    def compiled(self, shape: Shape) -> Any:
        return self.watched(self._compiled.made(shape), shape)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    rng = np.random.default_rng(5)
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        session.execute("CREATE TABLE t (k BIGINT PRIMARY KEY, a INTEGER, m TIMESTAMP, x DOUBLE PRECISION, s TEXT)")
        numbers = rng.integers(0, 100, (ROWS, 3))
        for start in range(0, ROWS, 10_000):
            rows = [
                {
                    "k": k,
                    "a": None if numbers[k, 2] == 5 else int(numbers[k, 0]),
                    "m": dt.datetime(2024, 1, 1) + dt.timedelta(hours=k),
                    "x": None if numbers[k, 1] == 7 else float(numbers[k, 1]) / 4,
                    "s": f"text {numbers[k, 2] % 20}",
                }
                for k in range(start, start + 10_000)
            ]
            session.put("t", rows)
            if start < 20_000:
                engine.flush()
        session.execute("DELETE FROM t WHERE k % 9 = 0")
        yield engine


def _asked(engine: Engine, kernels: Watched, sql: str, tier: str = "pipeline") -> list[tuple[Any, ...]]:
    resources_of(engine).kernels = kernels
    with Session(engine) as session:
        session.execute(f"SET weft.tier = {tier}")
        return session.execute(sql).rows()


THREE = (
    "SELECT a, count(*), sum(k), max(x) FROM t WHERE extract(month FROM m) = 3 AND a < 60 AND a * 1000 + k > 30000"
    " AND s <> 'text 3' AND x * 2.0 > 3.5 GROUP BY a ORDER BY a"
)
"""Five stages, some of which read the same columns."""


@pytest.mark.parametrize("made", ["programs", "plain", "compiled"])
def test_every_order_gives_the_same_rows(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, made: str
) -> None:
    """With so few rows left by some stages that they are picked, by others that they are not."""
    monkeypatch.setattr("weftdb.engine.pipeline.pieces.PIECE_ROWS", 5_000)
    kernels = (
        Watched() if made == "programs" else WatchedPlain() if made == "plain" else WatchedCompiled(folder=tmp_path)
    )
    expected = _asked(engine, kernels, THREE, "relational")
    orders = list(itertools.permutations(range(5)))
    passed: set[int] = set()
    for order in orders[::60] if made == "plain" else orders[:: 3 if soak.FACTOR == 1 else 1]:
        kernels.order, kernels.asked = order, []
        assert _asked(engine, kernels, THREE) == expected, order
        assert {len(asked) for asked in kernels.asked} == {15}
        assert all(kernels.came(order[turn]) >= kernels.came(order[turn + 1]) for turn in range(4))
        passed.add(sum(int(asked[5 + 2 * order[-1] + 1]) for asked in kernels.asked))
    assert passed == {sum(row[1] for row in expected)}


SQL = "SELECT count(*), sum(k) FROM t WHERE extract(month FROM m) = 3 AND a = 17"


def test_a_dear_condition_is_asked_of_the_rows_that_a_cheap_one_left(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weftdb.engine.pipeline.pieces.PIECE_ROWS", 5_000)
    monkeypatch.setattr("weftdb.engine.pipeline.pieces.MORSEL_PIECES", 1)
    kernels = Watched()
    expected = _asked(engine, kernels, SQL, "relational")
    assert _asked(engine, kernels, SQL) == expected
    assert 0 < kernels.came(0) * 20 < kernels.came(1), "the first of the text is the second that is asked"


def test_an_order_that_statistics_get_wrong_is_put_right_while_it_runs_and_remembered(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what is computed nothing is known but that a third may pass: one keeps all, the other few."""
    monkeypatch.setattr("weftdb.engine.pipeline.pieces.PIECE_ROWS", 2_000)
    monkeypatch.setattr("weftdb.engine.pipeline.pieces.MORSEL_PIECES", 1)
    kernels = Watched()
    sql = "SELECT count(*), sum(k) FROM t WHERE abs(k) >= 0 AND abs(a) = 17"
    expected = _asked(engine, kernels, sql, "relational")
    assert _asked(engine, kernels, sql) == expected
    orders = [tuple(asked[:2].tolist()) for asked in kernels.asked]
    assert orders[0] == (0, 1)
    assert orders[2:] == [(1, 0)] * (len(orders) - 2)
    kernels.asked = []
    assert _asked(engine, kernels, sql) == expected
    assert {tuple(asked[:2].tolist()) for asked in kernels.asked} == {(1, 0)}


def test_explain_says_in_what_order_conditions_are_asked(engine: Engine) -> None:
    kernels = Watched()
    _asked(engine, kernels, SQL)
    with Session(engine) as session:
        session.execute("SET weft.tier = pipeline")
        shown = [line for (line,) in session.execute(f"EXPLAIN ANALYZE {SQL}").rows() if "Asked in order" in line]
        assert len(shown) == 1
        assert shown[0].index("a = 17") < shown[0].index("extract")
        (document,) = json.loads(session.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {SQL}").scalar())
        (pipeline,) = document["Pipelines"]
        assert pipeline["Asked In Order"][0]["Condition"] == "a = 17"
        assert pipeline["Asked In Order"][0]["Kept"] == pytest.approx(0.01, abs=0.01)
        shown = [line for (line,) in session.execute("EXPLAIN ANALYZE SELECT sum(k) FROM t WHERE a = 17").rows()]
        assert not any("Asked in order" in line for line in shown)


def test_nothing_is_remembered_of_a_dropped_table() -> None:
    with Engine.open(options=Options(maintenance=False, history_seconds=0)) as engine, Session(engine) as session:
        resources_of(engine).kernels = Watched()
        session.execute("CREATE TABLE d (k BIGINT PRIMARY KEY, a INTEGER)")
        session.put("d", [{"k": k, "a": k % 10} for k in range(5_000)])
        session.execute("SET weft.tier = pipeline")
        session.execute("SELECT count(*) FROM d WHERE a = 3 AND k % 7 = 2").rows()
        with engine.snapshot() as snapshot:
            shares = snapshot.statistics(snapshot.catalog.table("d")).shares
        assert shares is not None
        assert len(shares) == 1, "to the other one few rows came"
        gone = weakref.ref(shares)
        del shares, snapshot
        session.execute("DROP TABLE d")
        session.execute("CREATE TABLE d (k BIGINT PRIMARY KEY, a INTEGER)")
        engine.flush()
        assert engine.maintenance.release()
        gc.collect()
        assert gone() is None


def test_a_program_keeps_few_orders(engine: Engine) -> None:
    filters = tuple(("compare", "==", ("column", slot), ("int", 0)) for slot in range(5))
    shape = Shape(
        slots=(False,) * 5, tables=0, filters=filters, keys=(), sink="one", accumulators=(("count", None, None),),
        key_arguments=1,
    )  # fmt: skip
    program = Program(shape)
    for order in itertools.permutations(range(5)):
        program._of(order)
        assert len(program._orders) <= ORDERS_MAX
    assert program._of((0, 1, 2, 3, 4)) is program.lines
