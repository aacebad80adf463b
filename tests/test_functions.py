"""The function table against PostgreSQL 15's answers, and its three machines against each other.

``golden/functions.txt`` holds one call a line: name, typed arguments, PostgreSQL's type and text (or its error). Each
call is computed by DuckDB through the template, by the vectorized evaluator and by the naive one; all three must agree
with PostgreSQL. What differs on purpose is listed in ``DEVIATIONS`` with the reason.

PostgreSQL's side is filled in by, in tests/support,

    python -c "import machines; machines.regenerate('host=… user=postgres')"
"""

from __future__ import annotations

import pytest
from machines import Duck, by_arrow, by_naive, cases, check, report


@pytest.fixture(scope="module")
def duck() -> Duck:
    return Duck()


def test_the_naive_machine_gives_postgresql_s_answers() -> None:
    report([check(by_naive, line) for line in cases()])


def test_the_vectorized_machine_gives_postgresql_s_answers() -> None:
    report([check(by_arrow, line) for line in cases()])


def test_duckdb_gives_postgresql_s_answers_through_the_templates(duck: Duck) -> None:
    report([check(duck, line) for line in cases()])
