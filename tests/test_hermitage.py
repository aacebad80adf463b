"""Hermitage (Martin Kleppmann, github.com/ept/hermitage): which anomalies each isolation level lets pass.

Every script is an interleaving of two or three transactions and tells whether its anomaly happened. It runs at every
level of ``LEVELS``, through SQL and through key-value calls, embedded and remote, and must end as ``OUTCOMES`` says and
docs/isolation.md repeats:

    reads       prevented: the transaction reads what is committed, or its one snapshot
    conflict    prevented: the transaction that would make the anomaly is refused, at COMMIT at the latest
    possible    the level allows it, and it happens

Where PostgreSQL makes the second writer wait, nobody waits here: the second to commit gets the Conflict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

import pytest
import weftdb
from interleave import START, KeyValueSide, Side, SqlSide, reset, state
from weftdb.base.interface import Database
from weftdb.engine.database import Engine
from weftdb.server import service

Outcome: TypeAlias = Literal["reads", "conflict", "possible"]
Script: TypeAlias = Callable[..., bool]
"""Takes the database and its sides, plays them to their end, and returns whether the anomaly happened."""

LEVELS: Final = ("read committed", "snapshot", "serializable")
"""The levels that exist. A new one is added here and as a column of docs/isolation.md, and all of this holds for it."""

SIDES: Final[dict[str, type[Side]]] = {"SQL": SqlSide, "key-value": KeyValueSide}


# -- the scripts -------------------------------------------------------------------------------------------------------


def dirty_write(database: Database, t1: Side, t2: Side) -> bool:
    t1.update(1, 11)
    t2.update(1, 12)
    t1.update(2, 21)
    t1.commit()
    assert state(database) == {1: 11, 2: 21}
    t2.update(2, 22)
    t2.commit()
    return state(database) not in ({1: 11, 2: 21}, {1: 12, 2: 22})


def aborted_read(database: Database, t1: Side, t2: Side) -> bool:
    t1.update(1, 101)
    before = t2.where("true")
    t1.rollback()
    after = t2.where("true")
    t2.commit()
    return not before == after == START


def intermediate_read(database: Database, t1: Side, t2: Side) -> bool:
    t1.update(1, 101)
    seen = [t2.get(1)]
    t1.update(1, 11)
    t1.commit()
    seen.append(t2.get(1))
    t2.commit()
    return 101 in seen


def circular_information_flow(database: Database, t1: Side, t2: Side) -> bool:
    t1.update(1, 11)
    t2.update(2, 22)
    seen = (t1.get(2), t2.get(1))
    t1.commit()
    t2.commit()
    return 22 in seen or 11 in seen


def observed_transaction_vanishes(database: Database, t1: Side, t2: Side, t3: Side) -> bool:
    t1.update(1, 11)
    t1.update(2, 19)
    t2.update(1, 12)
    t1.commit()
    seen = [t3.get(1)]
    t2.update(2, 18)
    seen.append(t3.get(2))
    t2.commit()
    seen += [t3.get(2), t3.get(1)]
    t3.commit()
    writers = {10: 0, 20: 0, 11: 1, 19: 1, 12: 2, 18: 2}
    order = [writers[value] for value in seen if value is not None]
    return order != sorted(order)


def predicate_many_preceders(database: Database, t1: Side, t2: Side) -> bool:
    assert t1.where("value = 30") == {}
    t2.insert(3, 30)
    assert t2.commit()
    seen = t1.where("value % 3 = 0")
    t1.commit()
    return seen != {}


def predicate_many_preceders_of_a_write(database: Database, t1: Side, t2: Side) -> bool:
    t1.increase("true", 10)
    t2.delete("value = 20")
    assert t1.commit()
    t2.where("value = 20")
    return t2.commit() and 20 in state(database).values()


def lost_update(database: Database, t1: Side, t2: Side) -> bool:
    first, second = t1.get(1), t2.get(1)
    assert first == second == 10
    t1.update(1, first + 1)
    t2.update(1, second + 5)
    assert t1.commit()
    return t2.commit() and state(database)[1] != 16


def lost_update_written_late(database: Database, t1: Side, t2: Side) -> bool:
    """The same, but the second writes after the first has committed."""
    first, second = t1.get(1), t2.get(1)
    assert first == second == 10
    t1.update(1, first + 1)
    assert t1.commit()
    t2.update(1, second + 5)
    return t2.commit() and state(database)[1] != 16


def lost_update_by_deltas(database: Database, t1: Side, t2: Side) -> bool:
    """The same once more, by ``add``: both may commit, and nothing is lost."""
    assert t1.get(1) == t2.get(1) == 10
    t1.add(1, 1)
    t2.add(1, 5)
    assert t1.commit()
    return t2.commit() and state(database)[1] != 16


def read_skew(database: Database, t1: Side, t2: Side) -> bool:
    assert t1.get(1) == 10
    assert (t2.get(1), t2.get(2)) == (10, 20)
    t2.update(1, 12)
    t2.update(2, 18)
    assert t2.commit()
    seen = t1.get(2)
    t1.commit()
    return seen != 20


def read_skew_of_a_condition(database: Database, t1: Side, t2: Side) -> bool:
    assert t1.where("value % 5 = 0") == START
    t2.increase("value = 10", 2)
    assert t2.commit()
    seen = t1.where("value % 3 = 0")
    t1.commit()
    return seen != {}


def read_skew_of_a_write(database: Database, t1: Side, t2: Side) -> bool:
    assert t1.get(1) == 10
    assert t2.where("true") == START
    t2.update(1, 12)
    t2.update(2, 18)
    assert t2.commit()
    t1.delete("value = 20")
    return t1.commit()


def write_skew(database: Database, t1: Side, t2: Side) -> bool:
    assert t1.where("id IN (1, 2)") == t2.where("id IN (1, 2)") == START
    t1.update(1, 11)
    t2.update(2, 21)
    assert t1.commit()
    return t2.commit()


def anti_dependency_cycle(database: Database, t1: Side, t2: Side) -> bool:
    assert t1.where("value % 3 = 0") == t2.where("value % 3 = 0") == {}
    t1.insert(3, 30)
    t2.insert(4, 42)
    assert t1.commit()
    return t2.commit()


def read_only_anomaly(database: Database, t1: Side, t2: Side, t3: Side) -> bool:
    """Fekete, O'Neil and O'Neil, 2004: a reader makes the cycle."""
    assert t1.where("true") == START
    t2.increase("id = 2", 5)
    assert t2.commit()
    seen = t3.where("true")
    t3.commit()
    t1.update(1, 0)
    return t1.commit() and seen == {1: 10, 2: 25}


# -- what happens at which level ---------------------------------------------------------------------------------------

OUTCOMES: Final[Sequence[tuple[str, Script, int, tuple[Outcome, Outcome, Outcome]]]] = (
    # anomaly, script, transactions, (read committed, snapshot, serializable)
    ("G0, dirty write", dirty_write, 2, ("conflict", "conflict", "conflict")),
    ("G1a, aborted read", aborted_read, 2, ("reads", "reads", "reads")),
    ("G1b, intermediate read", intermediate_read, 2, ("reads", "reads", "reads")),
    ("G1c, circular information flow", circular_information_flow, 2, ("reads", "reads", "conflict")),
    ("OTV, observed transaction vanishes", observed_transaction_vanishes, 3, ("conflict", "conflict", "conflict")),
    ("PMP, predicate many preceders", predicate_many_preceders, 2, ("possible", "reads", "reads")),
    ("PMP of a write", predicate_many_preceders_of_a_write, 2, ("conflict", "conflict", "conflict")),
    ("P4, lost update", lost_update, 2, ("conflict", "conflict", "conflict")),
    ("P4, written after the other's commit", lost_update_written_late, 2, ("possible", "conflict", "conflict")),
    ("P4, by `add`", lost_update_by_deltas, 2, ("reads", "reads", "conflict")),
    ("G-single, read skew", read_skew, 2, ("possible", "reads", "reads")),
    ("G-single of a condition", read_skew_of_a_condition, 2, ("possible", "reads", "reads")),
    ("G-single of a write", read_skew_of_a_write, 2, ("possible", "conflict", "conflict")),
    ("G2-item, write skew", write_skew, 2, ("possible", "possible", "conflict")),
    ("G2, anti-dependency cycle", anti_dependency_cycle, 2, ("possible", "possible", "conflict")),
    ("G2, of a reader (Fekete)", read_only_anomaly, 3, ("possible", "possible", "conflict")),
)
_COLUMNS: Final = ("read committed", "snapshot", "serializable")


@pytest.fixture(scope="module", params=["embedded", "remote"])
def shared(request: pytest.FixtureRequest) -> Iterator[Database]:
    """One database for all scripts; each begins with the same two rows."""
    definition = "CREATE TABLE test (id INT PRIMARY KEY, value INT)"
    if request.param == "embedded":
        with weftdb.open() as opened:
            opened.execute(definition)
            yield opened
        return
    with service.serve(Engine.open(None), port=0) as server, weftdb.connect(server.address) as connected:
        connected.execute(definition)
        yield connected


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("script", "transactions", "outcomes"), [case[1:] for case in OUTCOMES])
def test_an_anomaly_happens_only_where_the_level_allows_it(
    shared: Database,
    script: Script,
    transactions: int,
    outcomes: tuple[Outcome, Outcome, Outcome],
    level: str,
    side: str,
) -> None:
    reset(shared)
    sides = [SIDES[side](shared, isolation=level) for _ in range(transactions)]
    try:
        happened = script(shared, *sides)
    finally:
        for each in sides:
            each.close()
    refused = any(each.conflicted for each in sides)
    outcome = "possible" if happened else "conflict" if refused else "reads"
    assert outcome == outcomes[_COLUMNS.index(level)]


def test_the_table_of_the_documentation_is_this_one() -> None:
    text = (Path(weftdb.__file__).parent / "docs" / "isolation.md").read_text()
    levels = [level for level in _COLUMNS if level in LEVELS]
    lines = [f"| anomaly | {' | '.join(level.upper() for level in levels)} |"]
    for anomaly, _, _, outcomes in OUTCOMES:
        cells = [outcomes[_COLUMNS.index(level)] for level in levels]
        lines.append(f"| {anomaly} | {' | '.join(cells)} |")
    missing = [line for line in lines if line not in text.splitlines()]
    assert not missing, "lines that docs/isolation.md lacks:\n" + "\n".join(missing)
