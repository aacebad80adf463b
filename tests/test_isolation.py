"""What transactions saw, held against exact oracles: random ones (support/serial.py), and PostgreSQL's own specs.

The specs (src/test/isolation/specs of postgres/postgres) are not in this repository: WEFT_ISOLATION_SPECS names a
folder that has them. All that need no more than WeftDB has are played; one that it refuses to set up fails.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import isolation
import pytest
import serial
import weftdb
from serial import History, Model, Shape, Step, Unit
from soak import FACTOR, SEED
from weftdb.base.errors import Conflict
from weftdb.base.interface import Transaction
from weftdb.engine.database import Engine

SPECS: Final = sorted(Path(os.environ.get("WEFT_ISOLATION_SPECS", "nowhere")).glob("*.spec"))

AFTER_A_CONFLICT: Final = ("25P02", "3B001")
"""Statements of a block that is over, and of a savepoint that it had."""

# -- the oracles know what is wrong ------------------------------------------------------------------------------------


def read(*rows: serial.Row) -> tuple[Step, object]:
    """A step that reads everything, and what it found."""
    return Step("read", lambda _: None, lambda model: model.rows), list(rows)


def put(*row: int) -> tuple[Step, object]:
    k, t, g, v = row

    def model(model: Model) -> object:
        model.put((k, t, g, v))
        return 1

    return Step(f"put {row}", lambda _: None, model), 1


def add(k: int, t: int, v: int) -> tuple[Step, object]:
    return Step(f"add {v}", lambda _: None, lambda model: model.add(k, t, v)), None


def unit(begin: int, end: int, *steps: tuple[Step, object]) -> Unit:
    return Unit(
        steps=[step for step, _ in steps], answers=[answer for _, answer in steps], begin=begin, end=end, committed=True
    )


def history(units: list[Unit], *final: serial.Row, first: tuple[serial.Row, ...] = ((0, 0, 0, 0),)) -> History:
    return History(shape=Shape(), level="serializable", rows=list(first), units=units, final=list(final))


ZERO, ONE, TWO = (0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 2)
OTHER = (1, 0, 0, 1)


def test_one_after_the_other_is_serial() -> None:
    told = history([unit(1, 2, read(ZERO), put(*ONE)), unit(3, 4, read(ONE), put(*TWO))], TWO)
    assert serial.serial_order(told) == [0, 1]
    assert serial.snapshot_fault(told) is None


def test_write_skew_is_not_serial_and_no_fault_of_snapshots() -> None:
    told = history([unit(1, 3, read(ZERO), put(*ONE)), unit(2, 4, read(ZERO), put(*OTHER))], ONE, OTHER)
    assert serial.serial_order(told) is None
    assert serial.snapshot_fault(told) is None


def test_a_stale_read_is_both() -> None:
    told = history([unit(1, 2, put(*ONE)), unit(3, 4, read(ZERO))], ONE)
    assert serial.serial_order(told) is None
    assert serial.snapshot_fault(told) == "T1: read is [(0, 0, 0, 1)]"


def test_a_lost_update_is_a_fault_of_the_rows_at_the_end() -> None:
    told = history([unit(1, 3, add(0, 0, 1)), unit(2, 4, add(0, 0, 1))], ONE)
    assert serial.serial_order(told) is None
    assert serial.snapshot_fault(told) == "at the end there are [(0, 0, 0, 2)]"
    assert serial.serial_order(history(told.units, TWO)) == [0, 1]
    assert serial.snapshot_fault(history(told.units, TWO)) is None


def test_a_needless_refusal_is_known_from_a_needed_one() -> None:
    skew = history([unit(1, 3, read(ZERO), put(*ONE)), unit(2, 4, read(ZERO), put(*OTHER))], ONE)
    late = history([unit(1, 3, read(ZERO), put(*ONE)), unit(2, 4, read(ZERO))], ONE)
    for told, order in ((skew, None), (late, [1, 0])):
        told.units[1].committed, told.units[1].refused = False, Conflict("refused")
        assert serial.serial_order(told) == [0]
        assert serial.serial_order(told, also=told.units[1]) == order


# -- random transactions -----------------------------------------------------------------------------------------------


def cases(level: str) -> Iterator[History]:
    first = SEED * 1_000_000
    for seed in range(first, first + 20 * FACTOR):
        told = serial.case(seed, level=level)
        fault = serial.snapshot_fault(told)
        assert fault is None, f"seed {seed}: {fault}\n{told.text()}"
        yield told


def test_random_transactions_read_the_rows_that_were_committed_when_they_began() -> None:
    seen: Counter[str] = Counter()
    for told in cases("snapshot"):
        seen["committed"] += sum(unit.committed for unit in told.units)
        seen["refused"] += sum(unit.refused is not None for unit in told.units)
        seen["skew"] += serial.serial_order(told) is None
    assert seen["committed"] > 30
    assert seen["refused"] > 0
    assert seen["skew"] > 0 or FACTOR == 1, "some that snapshots do not keep apart are among them"


def test_random_transactions_at_read_committed_read_the_rows_that_were_committed_when_their_statement_began() -> None:
    assert sum(unit.committed for told in cases("read committed") for unit in told.units) > 30


def test_random_serializable_transactions_are_the_same_as_one_order_of_them() -> None:
    """And they are refused for what they read not more often than this: needlessly where all were the same as well."""
    seen: Counter[str] = Counter()
    for told in cases("serializable"):
        assert serial.serial_order(told) is not None, told.text()
        for unit in told.units:
            seen["committed"] += unit.committed
            if unit.refused is not None and unit.refused.kind == "read":
                needless = serial.serial_order(told, also=unit) is not None
                seen["needless" if needless else "needed"] += 1
    assert seen["committed"] > 30
    assert seen["needed"] > 0
    assert seen["needless"] < seen["committed"] / 5


def test_two_that_commit_at_the_same_moment_are_held_against_what_the_other_read() -> None:
    """The cells do not know of a group mate yet; each reads by key what the other writes."""
    with weftdb.open() as database:
        database.execute(Shape().ddl)
        for round in range(5):
            ending: list[tuple[Unit, Transaction]] = []
            for k in (0, 1):
                transaction = database.transaction(isolation="serializable")
                transaction.table("r").get((1 - k, round))
                transaction.table("r").put((k, round, 0, 0))
                ending.append((Unit(), transaction))
            serial.commit_together(database, ending)
            assert sorted(unit.committed for unit, _ in ending) == [False, True]


# -- specs -------------------------------------------------------------------------------------------------------------

SKEW: Final = """
# Two doctors on call; each may leave while the other stays.
setup { CREATE TABLE doctors (id INT PRIMARY KEY, on_call BOOL); INSERT INTO doctors VALUES (1, true), (2, true); }
teardown { DROP TABLE doctors; }

session "s1"
setup { BEGIN ISOLATION LEVEL REPEATABLE READ; }
step "r1" { SELECT count(*) FROM doctors WHERE on_call; }
step "w1" { UPDATE doctors SET on_call = false WHERE id = 1; }  # leaves
step "c1" { COMMIT; }

session s2
setup { BEGIN ISOLATION LEVEL REPEATABLE READ; }
step r2 { SELECT count(*) FROM doctors WHERE on_call; }
step w2 { UPDATE doctors SET on_call = false WHERE id = 2; }
step c2 { COMMIT; }
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine.open(None) as opened:
        yield opened


def test_a_spec_is_read() -> None:
    spec = isolation.parse(SKEW + 'permutation "r1" w1\n  c1 r2\npermutation r2 r1')
    assert list(spec.sessions) == ["s1", "s2"]
    assert spec.sql["w2"].strip() == "UPDATE doctors SET on_call = false WHERE id = 2;"
    assert list(spec.orders()) == [("r1", "w1", "c1", "r2"), ("r2", "r1")]
    assert len(set(isolation.parse(SKEW).orders())) == 20
    with pytest.raises(ValueError, match="no part of a spec"):
        isolation.parse(SKEW + "what")


def test_a_spec_is_judged(engine: Engine) -> None:
    """Of 20 interleavings two are one after the other; all others skew, since both read first what the other writes."""
    spec = isolation.parse(SKEW)
    orders = list(spec.orders())
    judged = [isolation.serial_order(engine, spec, order, isolation.play(engine, spec, order)) for order in orders]
    assert [order for order, serial in zip(orders, judged, strict=True) if serial] == [
        ("r1", "w1", "c1", "r2", "w2", "c2"),
        ("r2", "w2", "c2", "r1", "w1", "c1"),
    ]


@pytest.mark.skipif(not SPECS, reason="WEFT_ISOLATION_SPECS names no folder with specs")
@pytest.mark.parametrize("path", SPECS or [Path("none")], ids=lambda path: path.stem)
def test_a_spec_of_postgresql_ends_as_its_level_allows(engine: Engine, path: Path) -> None:
    """What is SERIALIZABLE is the same as one transaction after the other; of the rest no statement is refused."""
    text = path.read_text()
    spec = isolation.parse(isolation.adapted(text))
    orders = list(spec.orders())
    for order in random.Random(SEED).sample(orders, min(len(orders), 10 * FACTOR)):
        played = isolation.play(engine, spec, order)
        codes = {answer for answer in played.answers.values() if isinstance(answer, str)}
        assert codes <= {"40001", "23505", *AFTER_A_CONFLICT}, f"{order}: {played.answers}"
        if "serializable" in text.lower():
            assert isolation.serial_order(engine, spec, order, played) is not None, f"{order}: {played}"
