"""Groups that are sorted, filtered and cut without the executor come as the executor gives them (sql/arrange.py)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soak
from fuzz_tiers import Interpreted, small
from fuzz_tiers_world import COLUMNS, TABLES, World
from weftdb.base.errors import Invalid
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.engine.pipeline.answers import _quotients
from weftdb.sql import arrange, run
from weftdb.sql.resources import resources_of
from weftdb.sql.session import Session

WORLDS = soak.many(2, 4)
QUERIES = 40
_KEYS = tuple(name for name, type, _ in COLUMNS if type not in ("REAL", "VARCHAR(9)", "TIME", "BYTEA", "JSONB"))
_VALUES = ("count(*)", "count(a)", "sum(b)", "min(x)", "max(y)", "max(w)", "max(d)", "avg(c)", "min(o)", "sum(p)")


def _query(rng: random.Random) -> str:
    keys = rng.sample(_KEYS, rng.choice((1, 1, 2, 3)))
    values = rng.sample(_VALUES, rng.randint(1, 3))
    outputs = [*keys, *values]
    rng.shuffle(outputs)

    def by(name: str) -> str:
        return f"{name}{rng.choice(('', ' ASC', ' DESC'))}{rng.choice(('', ' NULLS FIRST', ' NULLS LAST'))}"

    order = [by(name) for name in (*rng.sample(values, rng.randint(0, len(values))), *keys)]
    having = rng.choice(
        ("", "", " HAVING count(*) > 2", " HAVING min(x) <= 1 AND count(*) < 50", " HAVING sum(b) <> 3")
    )
    limit = rng.choice(("", "", " LIMIT 1", " LIMIT 3 OFFSET 2", " LIMIT 50", " LIMIT 0", " OFFSET 4", " LIMIT 2 + 2"))
    grouped = f"SELECT {', '.join(outputs)} FROM {rng.choice(tuple(TABLES))} GROUP BY {', '.join(keys)}"
    return f"{grouped}{having} ORDER BY {', '.join(order)}{limit}"


@pytest.mark.timeout(120 * soak.FACTOR)
def test_random_orders_are_those_of_the_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every order ends in the keys of the groups: there is but one."""
    done = 0
    inner = arrange.arranged

    def counted(*arguments: Any) -> pa.RecordBatch | None:
        nonlocal done
        found = inner(*arguments)
        done += found is not None
        return found

    for seed in range(soak.SEED * 10_000, soak.SEED * 10_000 + WORLDS):
        rng = random.Random(f"arrange {seed}")
        with small(seed), closing(World(seed)) as world, Session(world.engine) as session:
            resources_of(world.engine).kernels = Interpreted(threads=1)
            session.execute("SET weft.tier = auto")
            for _ in range(QUERIES):
                sql = _query(rng)
                answers: list[Any] = []
                for how in (counted, lambda *_: None):
                    monkeypatch.setattr(run, "arranged", how)
                    result = session.execute(sql)
                    answers.append((result.schema, repr(result.rows()).replace("-0.0", "0.0")))
                assert answers[0] == answers[1], f"seed {seed}: {sql}"
    assert done * 2 > WORLDS * QUERIES


@pytest.fixture
def session() -> Iterator[Session]:
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        resources_of(engine).kernels = Interpreted(threads=1)
        session.execute("CREATE TABLE t (k BIGINT PRIMARY KEY, g INTEGER, s TEXT, w NUMERIC(38,0))")
        session.put("t", [{"k": k, "g": k % 300, "s": f"é{k % 7}", "w": Decimal(10) ** (k % 30)} for k in range(900)])
        session.execute("SET weft.tier = pipeline")
        yield session


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT g AS a, g AS b, count(*) AS n FROM t GROUP BY g ORDER BY a DESC LIMIT 2",
        "SELECT max(g), min(g), count(*) FROM t",
        "SELECT s, sum(g) AS total FROM t GROUP BY s HAVING sum(g) > $1 ORDER BY total LIMIT $2",
    ],
)
def test_the_executor_is_not_asked(session: Session, monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    parameters = [100, 3] if "$" in sql else []
    expected = session.execute(sql.replace("SELECT ", "SELECT 1 + 1, ", 1), parameters).rows()
    monkeypatch.setattr(run, "run_relational", None)
    assert session.execute(sql, parameters).rows() == [row[1:] for row in expected]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT g, count(*) + 1 FROM t GROUP BY g ORDER BY g LIMIT 3",
        "SELECT g, count(*) FROM t GROUP BY g HAVING 10 / (g - 5) > 100 ORDER BY g",
        "SELECT g, count(*) FROM t GROUP BY g ORDER BY abs(g - 7), g LIMIT 3",
        "SELECT DISTINCT count(*) FROM t GROUP BY g",
        "SELECT g, count(*) FROM t GROUP BY g ORDER BY g LIMIT NULL",
    ],
)
def test_what_is_more_is_left_to_the_executor(session: Session, sql: str) -> None:
    outcomes: list[str] = []
    for tier in ("relational", "auto"):
        session.execute(f"SET weft.tier = {tier}")
        try:
            outcomes.append(repr(session.execute(sql).rows()))
        except Invalid as error:
            outcomes.append(f"{error.sqlstate} {error.message}")
    assert outcomes[0] == outcomes[1]


def test_texts_by_their_codes_are_sorted_as_texts(session: Session) -> None:
    session.engine.flush()
    sql = "SELECT DISTINCT ON (s, g) s, g, k FROM t WHERE k > 7 ORDER BY s DESC NULLS LAST, g, k DESC"
    found = session.execute(sql).rows()
    session.execute("SET weft.tier = relational")
    assert session.execute(sql).rows() == found


def test_a_negative_limit_is_the_executors_error(session: Session) -> None:
    with pytest.raises(Invalid, match="negative"):
        session.execute("SELECT g, count(*) FROM t GROUP BY g ORDER BY g LIMIT $1", [-1]).rows()


@pytest.mark.parametrize("digits", range(19))
def test_quotients_are_those_of_whole_numbers(digits: int) -> None:
    rng = random.Random(digits)
    ends = (0, 1, -1, 5, -5, 2**63 - 1, 1 - 2**63)
    pairs = [
        (
            rng.choice((*ends, rng.randint(1 - 2**63, 2**63 - 1), rng.randint(-(10**6), 10**6))),
            rng.choice((0, 1, 2, 3, 10, 2**33 - 1, rng.randint(1, 2**33 - 1), rng.randint(1, 1_000))),
        )
        for _ in range(500)
    ]
    found = _quotients(np.array([sum for sum, _ in pairs]), np.array([count for _, count in pairs]), digits)
    for (total, count), (low, high) in zip(pairs, found.tolist(), strict=True):
        if count:
            expected = (2 * abs(total) * 10**digits + count) // (2 * count)
            assert low + (high << 64) == (-expected if total < 0 else expected) % 2**128, (total, count)


@pytest.mark.parametrize("tier", ["relational", "auto"])
def test_a_sum_beyond_its_type_is_out_of_range(session: Session, tier: str) -> None:
    session.put("t", [{"k": 1_000 + n, "w": 9 * Decimal(10) ** 37} for n in range(3)])
    session.execute(f"SET weft.tier = {tier}")
    with pytest.raises(Invalid, match="numeric field overflow"):
        session.execute("SELECT sum(w) FROM t").rows()


def _ordered(rng: random.Random) -> str:
    names = [name for name, *_ in COLUMNS if name not in ("v", "bytes", "json")] + ["moment"]
    outputs = rng.sample(names, 5)
    order = [
        f"{name}{rng.choice(('', ' DESC'))}{rng.choice(('', ' NULLS FIRST', ' NULLS LAST'))}"
        for name in (*rng.sample(names, rng.randint(0, 2)), "moment")
    ]
    window = rng.choice(("", " AND moment >= TIMESTAMP '2024-03-05'", " AND moment < TIMESTAMP '2024-03-01'"))
    limit = rng.choice(("", "", " LIMIT 1", " LIMIT 7", " LIMIT 0", " LIMIT NULL"))
    key = rng.randint(0, 45)
    return f"SELECT {', '.join(outputs)} FROM series WHERE k = {key}{window} ORDER BY {', '.join(order)}{limit}"


def test_the_rows_of_a_key_are_sorted_as_by_the_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(soak.SEED * 10_000, soak.SEED * 10_000 + 2 * WORLDS):
        rng = random.Random(f"ordered {seed}")
        with small(seed), closing(World(seed)) as world, Session(world.engine) as session:
            for _ in range(QUERIES):
                sql = _ordered(rng)
                assert "Choice: Key and Time Read" in repr(session.execute(f"EXPLAIN {sql}").rows())
                answers: list[Any] = []
                for rows_max in (arrange.ROWS_MAX, -1):
                    monkeypatch.setattr("weftdb.sql.direct.ROWS_MAX", rows_max)
                    result = session.execute(sql)
                    answers.append((result.schema, repr(result.rows())))
                assert answers[0] == answers[1], f"seed {seed}: {sql}"


def test_rows_of_a_key_have_values_of_every_type(session: Session) -> None:
    session.execute(
        "CREATE TABLE e (k INTEGER, n INTEGER, u UUID, j JSONB, l INTEGER[], b BYTEA, i INTERVAL, PRIMARY KEY (k, n))"
        " WITH (key = 'k')"
    )
    session.execute(
        "INSERT INTO e VALUES (1, 1, '00000000-0000-0000-0000-000000000001', '{\"a\": 1}', ARRAY[1, NULL], 'x',"
        " INTERVAL '1 day'), (1, 2, NULL, NULL, NULL, NULL, NULL), (2, 3, NULL, NULL, NULL, NULL, NULL)"
    )
    forward, backward = (
        session.execute(f"SELECT n, u, j, l, b, i FROM e WHERE k = 1 ORDER BY n {way}").rows() for way in ("", "DESC")
    )
    assert [row[0] for row in forward] == [1, 2]
    assert backward == forward[::-1]
    assert forward == session.execute("SELECT n, u, j, l, b, i FROM e WHERE k = 1").rows()
    for sql in ("SELECT n FROM e WHERE k = 1 ORDER BY u", "SELECT n FROM e WHERE k = 1 ORDER BY n + 1"):
        session.execute("SET weft.tier = relational")
        assert any("has ORDER BY more" in line for (line,) in session.execute(f"EXPLAIN {sql}").rows())


@pytest.mark.timeout(120 * soak.FACTOR)
def test_rows_of_small_tables_come_in_the_order_of_the_executor() -> None:
    """Every order ends in the key, or in all that is put out."""
    direct = 0
    for seed in range(soak.SEED * 10_000, soak.SEED * 10_000 + WORLDS):
        rng = random.Random(f"small {seed}")
        with small(seed), closing(World(seed)) as world, Session(world.engine) as session:
            for _ in range(QUERIES):
                sql = _of_small(rng)
                answers: list[Any] = []
                for tier in ("auto", "relational"):
                    session.execute(f"SET weft.tier = {tier}")
                    result = session.execute(sql)
                    answers.append((result.schema, repr(result.rows()).replace("-0.0", "0.0")))
                    direct += "Choice: Scan" in repr(session.execute(f"EXPLAIN {sql}").rows())
                assert answers[0] == answers[1], f"seed {seed}: {sql}"
    assert direct == WORLDS * QUERIES, "at the tier relational the executor sorts"


def _of_small(rng: random.Random) -> str:
    table = rng.choice(("plain", "series"))
    keys = ["k"] if table == "plain" else ["k", "moment"]
    names = [name for name, type, _ in COLUMNS if type not in ("VARCHAR(9)", "TIME", "BYTEA", "JSONB")]
    order = [
        f"{name}{rng.choice(('', ' ASC', ' DESC'))}{rng.choice(('', ' NULLS FIRST', ' NULLS LAST'))}"
        for name in (*rng.sample(names, rng.randint(0, 2)), *keys)
    ]
    outputs = rng.sample([*(name for name, _, _ in COLUMNS), *keys], rng.randint(1, 5))
    condition = rng.choice(("", "", " WHERE b >= 0", " WHERE s = 'a' AND c < 100", " WHERE x IS NULL"))
    limit = rng.choice(("", "", " LIMIT 1", " LIMIT 7", " LIMIT 0", " LIMIT NULL"))
    return f"SELECT {', '.join(outputs)} FROM {table}{condition} ORDER BY {', '.join(order)}{limit}"


def test_a_small_table_is_sorted_by_the_executor_once_it_is_large(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choice(sql: str) -> str:
        return next(line for (line,) in session.execute(f"EXPLAIN {sql}").rows() if line.startswith("Choice: "))

    monkeypatch.setattr("weftdb.sql.plan.SORTED_ROWS_MAX", 1_000)
    session.execute("SET weft.tier = auto")
    sql = "SELECT k, s FROM t ORDER BY s DESC, k"
    expected = sorted(((k, f"é{k % 7}") for k in range(900)), key=lambda row: (-(row[0] % 7), row[0]))
    assert session.execute(sql).rows() == expected
    assert "few rows" in choice(sql)
    with_offset = session.execute(f"{sql} LIMIT 3 OFFSET 2").rows()
    assert with_offset == expected[2:5]
    small = session.engine.version
    session.execute("BEGIN")
    session.put("t", [{"k": k, "g": 1, "s": "ü"} for k in range(900, 1_200)])
    assert session.execute(f"{sql} LIMIT 2").rows() == [(900, "ü"), (901, "ü")], "its own rows are there"
    session.execute("COMMIT")
    assert "few rows" not in choice(sql)
    large = session.engine.version
    assert len(session.execute(sql).rows()) == 1_200
    assert session.execute(sql.replace("FROM t", f"FROM t AS OF VERSION {small}")).rows() == expected
    session.execute("DELETE FROM t WHERE k >= 100")
    assert "few rows" in choice(sql)
    monkeypatch.setattr("weftdb.sql.direct.ROWS_MAX", 500)  # of the past there are more than the statistics say
    before = session.execute(sql.replace("FROM t", f"FROM t AS OF VERSION {large}")).rows()
    assert before[:2] == [(900, "ü"), (901, "ü")]
    assert len(before) == 1_200
