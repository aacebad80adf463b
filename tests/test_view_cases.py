"""Cases of public suites on incremental views: golden scripts beside PostgreSQL, and what takes more than one session.

tests/golden/views/*.test hold the facts that Materialize, RisingWave, Feldera (DBSP), TimescaleDB, Calcite, pg_ivm and
others test, told anew, with the project and its subject; tests/support/view_scripts.py says how they are run.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import soak
from view_scripts import Twice
from weftdb.bench import sqllogic

SCRIPTS = sorted((Path(__file__).parent / "golden" / "views").glob("*.test"))
IN_SEGMENTS = ("changes", "levels")
"""Run also with all rows and groups in segments; in the long run all are."""


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("flushes", [False, True], ids=["in memory", "in segments"])
def test_scripts_of_views_pass_with_and_without_matching(path: Path, flushes: bool) -> None:
    if flushes and soak.FACTOR == 1 and path.stem not in IN_SEGMENTS:
        pytest.skip("in the long run only")
    twice = Twice(flushes=flushes)
    outcome = sqllogic.run_script(path, twice, failures_max=20)
    twice.close()
    assert outcome.failed == 0, outcome.failures
    assert outcome.passed > 30


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("-- View above answers", "-- View rich answers"),
        ("-- View: none answers for emps\n-- not View rich", "-- View rich answers for emps, since\n-- not View rich"),
        ("its condition salary > 500 follows", "its condition salary > 501 follows"),
    ],
)
def test_what_explain_does_not_say_fails(right: str, wrong: str, tmp_path: Path) -> None:
    text = next(path for path in SCRIPTS if path.stem == "implication").read_text()
    assert right in text
    path = tmp_path / "wrong.test"
    path.write_text(text.replace(right, wrong, 1))
    twice = Twice()
    outcome = sqllogic.run_script(path, twice, records_max=12)
    twice.close()
    assert (outcome.failed, "EXPLAIN says" in outcome.failures[0].why) == (1, True)
