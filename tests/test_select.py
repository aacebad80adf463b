"""Queries give PostgreSQL's answers: the golden scripts, and what streaming, cancelling and pushdown must keep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import golden
import pytest
import shop
from weftdb.base.errors import WeftError
from weftdb.sql.bind import Settings, bind_query
from weftdb.sql.parse import parse, pointing, split
from weftdb.sql.relational import DuckDbExecutor, run_query

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_717_243_200_000_000  # 2024-06-01 12:00 UTC
SCRIPTS = ("select_values.sql", "select_queries.sql", "select_names.sql")
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
            bound = bind_query(parse(source), reader.catalog, settings=Settings())
            result = run_query(bound, reader, executor=executor, now=NOW)
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
