"""Queries give PostgreSQL's answers: the golden scripts, and what streaming, cancelling and pushdown must keep."""

from __future__ import annotations

import datetime
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import golden
import pytest
import shop
import weftdb
from weftdb.base import types
from weftdb.base.errors import Internal, WeftError
from weftdb.engine.expression.node import Call, Cast, Column, Literal
from weftdb.sql.bind import Settings, bind_query
from weftdb.sql.parse import parse, pointing, split
from weftdb.sql.plan import plan
from weftdb.sql.pushdown import Moment, finish
from weftdb.sql.relational import Cancel, DuckDbExecutor
from weftdb.sql.run import run_plan

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_717_243_200_000_000  # 2024-06-01 12:00 UTC
SCRIPTS = tuple(
    f"select_{name}.sql" for name in ("values", "queries", "names", "surface", "types", "everyday", "manual")
)
CASES = [(script, case) for script in SCRIPTS for case in golden.read(GOLDEN / script)]


@pytest.fixture(scope="module")
def executor() -> Iterator[DuckDbExecutor]:
    executor = DuckDbExecutor(threads=2)
    yield executor
    executor.close()


def answer(sql: str, executor: DuckDbExecutor, *, reader: shop.OracleReader) -> list[str]:
    """The answer in the golden scripts' form."""
    try:
        (source,) = split(sql)
        with pointing(source):
            found = plan(bind_query(parse(source), reader.catalog, settings=Settings()))
            result = run_plan(found, reader, executor=executor, now=NOW)
            rows = result.rows()
    except WeftError as error:
        return [f"ERROR {error.sqlstate}"]
    return [golden.header(result.names, result.types), *(golden.row_text(row, result.types) for row in rows)]


@pytest.mark.parametrize(("script", "case"), CASES, ids=[f"{script}:{case.line}" for script, case in CASES])
def test_the_answer_is_the_one_that_postgresql_gave(script: str, case: golden.Case, executor: DuckDbExecutor) -> None:
    got, expected = answer(case.sql, executor, reader=shop.reader()), case.expected
    if "order by" not in case.sql.lower():
        got, expected = got[:1] + sorted(got[1:]), expected[:1] + sorted(expected[1:])
    assert got == expected, f"{script}:{case.line}\n{case.sql}"


def test_patterns_may_be_parameters_and_columns() -> None:
    db = weftdb.open()
    db.execute("CREATE TABLE t (v TEXT, p TEXT)")
    db.execute(r"INSERT INTO t VALUES ('the cat', '\mcat'), ('concat', '\ycat'), ('aXbX', 'x$')")
    for pattern, found in ((r"\mcat", ["the cat"]), ("cat$", ["concat", "the cat"]), ("(?=.*X)a", ["aXbX"])):
        assert db.execute("SELECT v FROM t WHERE upper(v) > '' AND v ~ $1 ORDER BY v", [pattern]).rows() == [
            (v,) for v in found
        ]
    assert db.execute("SELECT v, v ~* p FROM t ORDER BY 1").rows() == [
        ("aXbX", True), ("concat", False), ("the cat", True)
    ]  # fmt: skip
    assert db.execute("SELECT regexp_replace('xbx', $1, '_', $2)", ["b*", "g"]).scalar() == "_x__x_"


def test_queries_of_many_threads_do_not_meet(executor: DuckDbExecutor) -> None:
    texts = [
        "SELECT id, upper(name) FROM people WHERE id >= $1 ORDER BY id",
        "SELECT city, count(*) FROM people WHERE id >= $1 GROUP BY city ORDER BY city",
        "SELECT p.id, o.id FROM people p JOIN orders o ON o.person_id = p.id WHERE p.id >= $1 ORDER BY 1, 2",
    ]
    reader = shop.reader()
    queries = [plan(bind_query(parse(text), reader.catalog)) for text in texts]

    def run(number: int) -> list[tuple[object, ...]]:
        query = queries[number % len(queries)]
        return run_plan(query, shop.reader(), (number % 4,), executor=executor, now=NOW).rows()

    alone = {number: run(number) for number in range(12)}
    with ThreadPoolExecutor(4) as pool:
        for number, rows in zip(range(240), pool.map(lambda number: run(number % 12), range(240)), strict=True):
            assert rows == alone[number % 12]


def test_broken_texts_raise_our_errors_and_never_a_bug(executor: DuckDbExecutor) -> None:
    """Words of the golden scripts taken out, doubled and swapped: an error with a SQLSTATE, or an answer."""
    chooser = random.Random(7)
    words = [re.findall(r"'[^']*'|\w+|\s+|[^\w\s]", case.sql) for _, case in CASES]
    everything = [word for text in words for word in text if word.strip()]
    reader = shop.reader()
    states: set[str] = set()
    for _ in range(1000):
        text = list(chooser.choice(words))
        for _ in range(chooser.choice((1, 1, 2))):
            at = chooser.randrange(len(text))
            match chooser.randrange(3):
                case 0:
                    del text[at]
                case 1:
                    text.insert(at, f" {chooser.choice(everything)} ")
                case _:
                    text[at] = chooser.choice(everything)
            if not text:
                break
        sql = "".join(text)
        try:
            for source in split(sql):
                with pointing(source):
                    query = plan(bind_query(parse(source), reader.catalog))
                    if not query.bound.parameters:
                        run_plan(query, reader, executor=executor, now=NOW, cancel=Cancel())
        except Internal as error:
            raise AssertionError(f"{sql}\n{error}") from error
        except WeftError as error:
            states.add(error.sqlstate)
    assert all(re.fullmatch("[0-9A-Z]{5}", state) for state in states)


@pytest.mark.parametrize("operator", ["=", "<", "<=", ">", ">="])
@pytest.mark.parametrize("moment", ["2026-01-05 00:00:00", "2026-01-05 12:00:00", "2026-01-04 23:59:59.999999"])
def test_days_compare_with_timestamps_as_their_midnights(operator: str, moment: str) -> None:
    constant = datetime.datetime.fromisoformat(moment)
    compare = {"=": "__eq__", "<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}[operator]
    days = [datetime.date(2026, 1, 1) + datetime.timedelta(days=n) for n in range(10)]
    wanted = [day for day in days if getattr(datetime.datetime.combine(day, datetime.time()), compare)(constant)]
    with weftdb.open() as db:
        db.execute("CREATE TABLE t (id INT PRIMARY KEY, day DATE)")
        db.table("t").insert([(n, day) for n, day in enumerate(days)] + [(99, None)])
        for condition in (f"day {operator} $1::timestamp", f"day + interval '0 days' {operator} $1::timestamp"):
            found = db.execute(f"SELECT day FROM t WHERE {condition} ORDER BY day", [constant]).rows()
            assert [day for (day,) in found] == wanted, condition
    column = Column(id=1, type=types.DATE)
    filter = Call(
        function={"=": "equal", "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal"}[operator],
        arguments=(
            Cast(argument=column, type=types.TIMESTAMP),
            Literal(value=constant, type=types.TIMESTAMP),
        ),
        type=types.BOOLEAN,
    )
    finished = finish(filter, Moment(parameters={}, now=0))
    assert "Cast" not in repr(finished), "the engine compares days with days"
