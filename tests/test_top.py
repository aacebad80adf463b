"""ORDER BY … LIMIT by the engine gives what the relational executor gives, in that order, wherever the rows lie."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import soak
import weftdb
from weftdb.engine.database import Engine
from weftdb.engine.held import Held
from weftdb.engine.options import Options
from weftdb.engine.pipeline import newest, passing, top
from weftdb.engine.pipeline.texts import Texts
from weftdb.sql.relational import run_relational
from weftdb.sql.resources import resources_of
from weftdb.sql.session import Session

DDL = (
    "CREATE TABLE t (k BIGINT, m TIMESTAMP, a INTEGER, b NUMERIC(15,2), d DATE, s TEXT, x DOUBLE PRECISION, r REAL,"
    " n SMALLINT NOT NULL, f BOOLEAN, w NUMERIC(38,4), p TEXT, PRIMARY KEY (k, m)) WITH (key = 'k', time = 'm',"
    " every = '7 days')"
)
COLUMNS = ("k", "m", "a", "b", "d", "s", "x", "r", "n", "f", "w", "p", "late", "word", "tag")
QUERIES = soak.many(40, 150)
CONDITIONS = (
    "a > 10",
    "a IS NOT NULL",
    "b <= -3.5 OR s = 'x'",
    "s IN ('x', 'zebra')",
    "p LIKE 'page 1%'",
    "m >= TIMESTAMP '1970-01-05' AND m < TIMESTAMP '1970-01-09'",
    "k = 17",
    "k IN (3, 170, 77) AND n > 0",
    "x > 1",
    "a IS NULL",
    "f",
    "a > 1000",
    "length(p) = 8",
    "s IS NULL OR w > 0",
    "m > now() - INTERVAL '9' DAY OR n = 2",
    "length(tag) = 4 AND late = 5",
    "coalesce(word, 'x') = 'x' OR late < n",
)


def _row(random: random.Random, k: int, at: dt.datetime) -> dict[str, Any]:
    def maybe(value: Any) -> Any:
        return None if random.random() < 0.1 else value

    number = random.choice((random.uniform(-5, 5), 1.5, -0.0, math.inf, math.nan if random.random() < 0.2 else 0.0))
    return {
        "k": k,
        "m": at,
        "a": maybe(random.randint(-50, 50)),
        "b": maybe(Decimal(random.randint(-1_000, 1_000)).scaleb(-2)),
        "d": maybe(dt.date(2020, 1, 1) + dt.timedelta(random.randint(0, 100))),
        "s": maybe(random.choice(("x", "y", "zebra", "xx", "é"))),
        "x": maybe(number),
        "r": maybe(float(np.float32(random.uniform(-1, 1)))),
        "n": random.randint(0, 3),
        "f": maybe(random.random() < 0.5),
        "w": maybe(Decimal(random.randint(-(10**6), 10**6)).scaleb(-4)),
        "p": maybe(f"page {random.randint(0, 3_000)}"),
    }


def _rows(random: random.Random, count: int) -> list[dict[str, Any]]:
    start = dt.datetime(1970, 1, 1)
    keys = {(random.randint(0, 300), random.randint(0, 2_000_000)) for _ in range(count)}
    return [_row(random, k, start + dt.timedelta(seconds=at)) for k, at in keys]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Rows in segments of several blocks and in memtables, some of them ended, columns that came later."""
    numbers = random.Random(7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("weftdb.engine.seal.block_rows_for", lambda **_: 256)
        with Engine.open(options=Options(maintenance=False)) as engine:
            session = Session(engine)
            session.execute(DDL)
            for _ in range(2):
                session.put("t", _rows(numbers, 3_000))
                engine.flush()
            session.put("t", _rows(numbers, 300))
            session.execute("ALTER TABLE t ADD COLUMN late INTEGER DEFAULT 5")
            session.execute("ALTER TABLE t ADD COLUMN word TEXT")
            session.execute("ALTER TABLE t ADD COLUMN tag TEXT DEFAULT 'none'")
            session.execute("DELETE FROM t WHERE k % 7 = 0")
            session.execute("UPDATE t SET late = n, word = s, tag = s WHERE k % 5 = 1")
            session.put("t", _rows(numbers, 1_000))
            session.execute("DELETE FROM t WHERE n = 3 AND k % 2 = 0")
            yield engine


def _query(numbers: random.Random, *, total: bool) -> str:
    keys = numbers.sample(COLUMNS, numbers.choice((1, 1, 1, 2, 3)))
    order = [
        f"{key}{numbers.choice(('', ' DESC'))}{numbers.choice(('', '', ' NULLS FIRST', ' NULLS LAST'))}" for key in keys
    ]
    parts = numbers.sample(CONDITIONS, numbers.choice((0, 0, 1, 1, 2)))
    where = f" WHERE {numbers.choice((' AND ', ' OR ')).join(f'({part})' for part in parts)}" if parts else ""
    shown = "*, a + 1" if total else ", ".join(keys)
    order += ["k", "m"] if total else []
    limit = numbers.choice(("LIMIT 1", "LIMIT 10", "LIMIT 300", "LIMIT 20 OFFSET 35", "LIMIT 9000", "LIMIT 0"))
    return f"SELECT {shown} FROM t{where} ORDER BY {', '.join(order)} {limit}"


def _both(engine: Engine, sql: str) -> tuple[Any, Any]:
    session = Session(engine)
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    session.execute("SET weft.tier = relational")
    wanted = session.execute(sql).rows()
    session.execute("SET weft.tier = pipeline")
    try:
        found = session.execute(sql).rows()
    except weftdb.Invalid:
        found = None
    return found, wanted


@pytest.mark.parametrize("total", [True, False])
def test_random_queries_are_answered_as_by_the_executor_and_in_that_order(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, total: bool
) -> None:
    numbers = random.Random(f"{soak.SEED} {total}")
    for limit, blocks in (("LATER_BLOCKS", 3), ("SELECT_FIRST", 1), ("SELECT_BLOCKS", 5), ("SELECT_AT_ONCE", 2)):
        monkeypatch.setattr(top, limit, blocks)
    refused = 0
    for _ in range(QUERIES):
        sql = _query(numbers, total=total)
        found, wanted = _both(engine, sql)
        refused += found is None
        if found is None:
            continue
        assert list(map(_shown, found)) == list(map(_shown, wanted)), sql

    assert refused * 4 < QUERIES


def _newest(numbers: random.Random) -> str:
    groups = numbers.sample(("k", "n", "s", "d", "late", "a", "word", "m", "p", "tag"), numbers.choice((1, 1, 1, 2)))
    key, direction = numbers.choice(COLUMNS), numbers.choice(("", " DESC", " DESC NULLS LAST", " NULLS FIRST"))
    order = f"{key}{direction}, k DESC, m"
    parts = numbers.sample(CONDITIONS, numbers.choice((0, 0, 1, 2)))
    where = f" WHERE {' AND '.join(f'({part})' for part in parts)}" if parts else ""
    if numbers.random() < 0.4:
        left = numbers.choice(("", f" LIMIT {numbers.randint(0, 20)}"))
        by = ", ".join(f"{group}{numbers.choice(('', ' DESC'))}" for group in groups)
        return f"SELECT DISTINCT ON ({', '.join(groups)}) *, n + 1 FROM t{where} ORDER BY {by}, {order}{left}"
    asked = numbers.choice(("place = 1", "1 = place", "place <= 1", "place < 2", "place = 1 AND k > 20", "place < 3"))
    numbered = f"row_number() OVER (PARTITION BY {', '.join(groups)} ORDER BY {order})"
    return f"SELECT * FROM (SELECT *, {numbered} AS place FROM t{where}) AS q WHERE {asked} ORDER BY k, m"


@pytest.mark.parametrize("looked_up", [False, True])
def test_the_first_row_of_each_group_is_the_executors(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, looked_up: bool
) -> None:
    numbers = random.Random(f"{soak.SEED} {looked_up}")
    monkeypatch.setattr(newest, "NEWEST_GROUPS_MAX", 0 if looked_up else 1 << 24)
    refused = 0
    for _ in range(QUERIES // 2):
        sql = _newest(numbers)
        found, wanted = _both(engine, sql)
        refused += found is None
        assert found is None or list(map(_shown, found)) == list(map(_shown, wanted)), sql
    assert refused * 2 < QUERIES // 2


def test_groups_of_texts_without_a_dictionary_wait_for_their_numbers_where_the_tier_is_set(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weftdb.engine.pipeline.texts.TEXT_ROWS_AT_ONCE", 10)
    monkeypatch.setattr("weftdb.sql.top.TOP_ROWS_MIN", 0)
    sql = "SELECT DISTINCT ON (p) p, k FROM t ORDER BY p, k, m"
    session = Session(engine)
    why: list[bool] = []
    for tier, forgotten in (("auto", True), ("auto", False), ("pipeline", True)):
        if forgotten:
            monkeypatch.setattr(resources_of(engine).kernels, "texts", Texts())
        session.execute(f"SET weft.tier = {tier}")
        lines = [row[0] for row in session.execute(f"EXPLAIN {sql}").rows() if row[0].startswith("  Pipeline")]
        why.append("too many different values" in lines[0])
    assert why == [True, False, False]


COMPUTED = (
    "x * 2 > 9.7",
    "a + n = 40",
    "b * 2 < -19.5 OR a % 49 = 0",
    "upper(s) = 'ZEBRA' AND n = 0",
    "length(p) = 6",
    "NOT (n < 3) AND coalesce(late, 9) > 4",
    "CASE WHEN f THEN a ELSE n END = 3",
    "10 / a = 2",
    "a <> 4",
    "k = 17 AND m + INTERVAL '1' DAY > TIMESTAMP '1970-01-05'",
    "word || s = 'xx'",
    "a + 1 > 1000",
)


def test_rows_for_which_a_computed_condition_is_true_are_the_executors(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing, "LOOKED_AT", 2)
    answered = 0
    for few_rows in (0, 1 << 17):
        monkeypatch.setattr(passing, "FEW_ROWS", few_rows)
        for condition in COMPUTED:
            for shown in ("SELECT *", "SELECT s, word, a + 1, late"):
                sql = f"{shown} FROM t WHERE {condition} ORDER BY k, m"
                try:
                    found, wanted = _both(engine, sql)
                except weftdb.Invalid:
                    assert condition == "10 / a = 2", sql
                    continue
                answered += found is not None
                assert found is None or list(map(_shown, found)) == list(map(_shown, wanted)), sql
    assert answered > len(COMPUTED)


def test_a_computed_condition_of_few_rows_is_the_engines(engine: Engine) -> None:
    session = Session(engine)
    session.execute("SET weft.tier = pipeline")
    text = "SELECT k, s, p FROM t WHERE x * 2 > 9.7"
    (line,) = [row[0] for row in session.execute(f"EXPLAIN ANALYZE {text}").rows() if row[0].startswith("  Pipeline")]
    assert line.startswith("  Pipeline of t: the rows that pass: ")
    assert line.endswith(" (passing)")


ROWS_READ_LATE = (
    "SELECT *, n + 1 FROM t ORDER BY x DESC, k, m LIMIT 900",
    "SELECT DISTINCT ON (k) *, n + 1 FROM t ORDER BY k, m DESC",
    "SELECT *, n + 1 FROM t WHERE a + n > 20 ORDER BY k, m",
)


@pytest.mark.parametrize("sql", ROWS_READ_LATE)
def test_rows_read_late_count_until_they_are_handed_over_and_beyond_the_budget_the_executor_answers(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, sql: str
) -> None:
    session = Session(engine)
    session.execute("SET weft.tier = relational")
    wanted = session.execute(sql).rows()
    size = session.execute(f"SELECT sum(length(p) + coalesce(length(s), 0) + 60) FROM ({sql}) AS q").scalar()
    session.execute("SET weft.tier = auto")
    kernels = resources_of(engine).kernels
    monkeypatch.setattr("weftdb.sql.top.TOP_ROWS_MIN", 0)
    for limit, fits in ((100_000_000, True), (size, False)):
        held = Held(limit)
        most = _most_kept(held, monkeypatch)
        monkeypatch.setattr(kernels, "held", held)
        handed_over: list[int] = []

        def noted(*arguments: Any, held: Held = held, handed_over: list[int] = handed_over, **more: Any) -> Any:
            handed_over.append(held.bytes)
            return run_relational(*arguments, **more)

        monkeypatch.setattr("weftdb.sql.run.run_relational", noted)
        rows = session.execute(sql).rows()
        assert list(map(_shown, rows)) == list(map(_shown, wanted))
        assert held.bytes == 0
        lines = [row[0] for row in session.execute(f"EXPLAIN ANALYZE {sql}").rows()]
        refused = [line for line in lines if "more memory than pipelines may take" in line]
        assert bool(refused) != fits, lines
        assert (max(most) >= size) == fits, (max(most), size)
        assert (handed_over[0] >= size) == fits
        assert held.bytes == 0


def _most_kept(held: Held, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What a gauge says whenever something is added to it."""
    seen = [0]

    class Watched(dict[int, int]):
        def __setitem__(self, token: int, size: int) -> None:
            super().__setitem__(token, size)
            seen.append(held.bytes)

    monkeypatch.setattr(held, "_sizes", Watched())
    return seen


def test_texts_of_more_bytes_than_one_array_holds_are_left_to_the_executor(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weftdb.storage.column_values.HEAP_MAX", 100)
    session = Session(engine)
    session.execute("SET weft.tier = pipeline")
    for sql in ROWS_READ_LATE:
        with pytest.raises(weftdb.Invalid, match="one array of values holds 100"):
            session.execute(sql)


def test_groups_of_the_first_rows(engine: Engine) -> None:
    inner = "SELECT k, s, row_number() OVER (PARTITION BY k ORDER BY m DESC) AS place FROM t WHERE n > 0"
    sql = f"SELECT s, count(*) FROM ({inner}) AS newest WHERE place = 1 GROUP BY s ORDER BY s"
    found, wanted = _both(engine, sql)
    assert found == wanted


def _shown(row: tuple[Any, ...]) -> str:
    """Zeros are equal, whatever their sign."""
    return repr([value + 0.0 if isinstance(value, float) else value for value in row])


def test_sorted_by_the_event_time_few_blocks_are_read(engine: Engine) -> None:
    session = Session(engine)
    session.execute("SET weft.tier = pipeline")
    lines = [row[0] for row in session.execute("EXPLAIN ANALYZE SELECT * FROM t ORDER BY m DESC LIMIT 3").rows()]
    (line,) = [line for line in lines if line.startswith("  Pipeline")]
    assert line.startswith("  Pipeline of t: the first rows: 3 of ")
    read = int(line.split(" of ")[2].split(" looked")[0].replace(",", ""))
    assert 0 < read < session.execute("SELECT count(*) FROM t").scalar() / 2


def test_an_empty_table_has_no_first_rows() -> None:
    with Engine.open(options=Options(maintenance=False)) as engine:
        session = Session(engine)
        session.execute(DDL)
        session.execute("SET weft.tier = pipeline")
        assert session.execute("SELECT * FROM t ORDER BY a LIMIT 3").rows() == []
        assert session.execute("SELECT count(*) FROM (SELECT a FROM t ORDER BY a DESC LIMIT 3 OFFSET 1) q").rows() == [
            (0,)
        ]


def test_numbers_that_ranks_cannot_tell_from_null_are_the_executors() -> None:
    with Engine.open(options=Options(maintenance=False)) as engine:
        session = Session(engine)
        session.execute("CREATE TABLE u (k BIGINT PRIMARY KEY, a BIGINT, w NUMERIC(38,0))")
        rows = [(1, -(2**63), 10**20), (2, None, None), (3, 2**63 - 1, -(10**30)), (4, 0, 0)]
        session.put("u", [dict(zip(("k", "a", "w"), row, strict=True)) for row in rows])
        for flushed in (False, True):
            if flushed:
                engine.flush()
            for key in ("a", "w", "a DESC", "w DESC", "a NULLS FIRST", "w DESC NULLS LAST"):
                sql = f"SELECT k FROM u ORDER BY {key}, k DESC LIMIT 2"
                session.execute("SET weft.tier = relational")
                wanted = session.execute(sql).rows()
                session.execute("SET weft.tier = auto")
                assert session.execute(sql).rows() == wanted, sql


def test_what_is_more_than_rows_of_one_table_is_left_to_the_executor(engine: Engine) -> None:
    session = Session(engine)
    for sql in (
        "SELECT row_number() OVER (ORDER BY k, m) FROM t ORDER BY a LIMIT 3",
        "SELECT random() FROM t ORDER BY a LIMIT 3",
        "SELECT DISTINCT ON (k) k, m FROM t ORDER BY k LIMIT 3",
        "SELECT k FROM t ORDER BY a + 1 LIMIT 3",
        "SELECT k FROM t ORDER BY a LIMIT (SELECT 3)",
    ):
        lines = [row[0] for row in session.execute(f"EXPLAIN {sql}").rows()]
        assert not any("finds the first rows" in line and "(top)" in line for line in lines), sql
        assert any(line.startswith("Choice: Relational") or "not used" in line for line in lines), sql


def test_a_subquery_with_ties_and_a_transactions_own_rows(engine: Engine) -> None:
    sql = "SELECT n, a FROM t ORDER BY n FETCH FIRST 3 ROWS WITH TIES"
    found, wanted = _both_auto(engine, sql)
    assert sorted(map(repr, found)) == sorted(map(repr, wanted))
    sql = (
        "SELECT q.k, u.n FROM (SELECT k, m FROM t WHERE a = 4 ORDER BY m DESC LIMIT 5) q JOIN t AS u"
        " ON u.k = q.k AND u.m = q.m ORDER BY q.m"
    )
    found, wanted = _both_auto(engine, sql)
    assert found == wanted
    session = Session(engine)
    session.execute("SET weft.tier = auto")
    session.execute("BEGIN")
    session.execute("INSERT INTO t (k, m, n) VALUES (5, TIMESTAMP '2100-01-01', 1)")
    assert session.execute("SELECT k FROM t ORDER BY m DESC LIMIT 1").rows() == [(5,)]
    session.execute("ROLLBACK")


def _both_auto(engine: Engine, sql: str) -> tuple[Any, Any]:
    session = Session(engine)
    session.execute("SET weft.tier = relational")
    wanted = session.execute(sql).rows()
    session.execute("SET weft.tier = auto")
    return session.execute(sql).rows(), wanted
