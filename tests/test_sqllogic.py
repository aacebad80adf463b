"""sqllogictest scripts: the runner reads the format as it is meant, and WeftDB passes ours and the public corpus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import soak
import sqllogic_complete
from private_postgres import private_postgres
from view_scripts import Judge
from weftdb.bench import sqllogic
from weftdb.bench.sqllogic_script import Malformed, read
from weftdb.bench.sqllogic_systems import Postgres, Refused, Sqlite, Weft

OURS = sorted((Path(__file__).parent / "golden" / "sqllogic").glob("*.test"))
VIEWS = sorted((Path(__file__).parent / "golden" / "views").glob("*.test"))
SUITE = Path(__file__).parents[2] / "shared" / "suites" / "sqllogictest"
PUBLIC = sorted(SUITE.rglob("*.test"))
RECORDS = 60 if soak.FACTOR == 1 else None
"""Of each public file, from its beginning; all of them in the long run."""

REFUSED = {
    "slt_lang_createview": {
        69: '42809 "view1" is a view, not a table',
        80: '42809 "view1" is a view, not a table',
    }
}
"""By file and line, what PostgreSQL runs and we refuse; docs/sql.md says so."""

SCRIPT = """\
# A comment; it is no part of a record.
hash-threshold 8

statement ok
CREATE TABLE t1(a INTEGER, b INTEGER, c TEXT)

statement ok
INSERT INTO t1 VALUES(3,1,'x'), (2,10,''), (1,NULL,'a
b')

onlyif mysql
statement ok
NONSENSE

skipif postgresql
skipif sqlite
query I nosort
NONSENSE
----
1

skipif mysql # only there it is otherwise
query II rowsort label-1
SELECT a, b FROM t1
----
1
NULL
2
10
3
1

query II nosort label-1
SELECT a, b FROM t1 ORDER BY a
----
6 values hashing to a28f179d6636cc747f7b7b50b45efe89

query II valuesort
SELECT a, b FROM t1
----
1
1
10
2
3
NULL

query TRI nosort
SELECT c, a / 2.0, a FROM t1 WHERE a >= 2 ORDER BY a DESC
----
x
1.500
3
(empty)
1.000
2

query T nosort
SELECT c FROM t1 WHERE a = 1
----
a@b

query I nosort
SELECT a FROM t1 WHERE a > 5
----

statement error
SELECT missing FROM t1

onlyif mysql
halt

query I nosort
SELECT count(*) FROM t1
----
3

halt

query I nosort
NONSENSE
----
1
"""


@pytest.fixture
def weft() -> Iterator[Weft]:
    weft = Weft()
    yield weft
    weft.close()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with private_postgres(tmp_path_factory) as address:
        postgres = Postgres(address)
        yield postgres
        postgres.close()


def script(folder: Path, text: str = SCRIPT) -> Path:
    path = folder / "script.test"
    path.write_text(text)
    return path


@pytest.mark.parametrize("kind", [Weft, Sqlite])
def test_every_part_of_the_format_is_understood(tmp_path: Path, kind: type[Weft | Sqlite]) -> None:
    system = kind()
    outcome = sqllogic.run_script(script(tmp_path), system)
    system.close()
    assert (outcome.passed, outcome.failed, outcome.skipped) == (10, 0, 2), outcome.failures


@pytest.mark.parametrize(
    ("right", "wrong", "line"),
    [
        ("10\n2\n3\nNULL", "10\n2\n3\n4", "another value"),
        ("1.500", "1.501", "another real"),
        ("(empty)", "NULL", "NULL for an empty text"),
        ("a28f179d", "028f179d", "another hash"),
        ("6 values hashing", "5 values hashing", "another number of values"),
        ("statement error", "statement ok", "a refusal that was not expected"),
        ("SELECT missing", "SELECT a", "no refusal where one was expected"),
        ("FROM t1 ORDER BY a\n----\n6 values", "FROM t1 ORDER BY a DESC\n----\n6 values", "another order"),
        ("query TRI", "query TR", "another number of columns"),
        (
            "WHERE a > 5\n----\n",
            "WHERE a > 5\n----\n\nquery II nosort label-1\nSELECT a, a FROM t1\n",
            "a label's other answer",
        ),
    ],
)
def test_what_is_not_as_the_script_says_fails_with_its_line(
    tmp_path: Path, weft: Weft, right: str, wrong: str, line: str
) -> None:
    assert SCRIPT.count(right) == 1, right
    outcome = sqllogic.run_script(script(tmp_path, SCRIPT.replace(right, wrong)), weft)
    assert outcome.failed == 1, line
    assert outcome.passed in (9, 10)
    record = next(record for record in read(tmp_path / "script.test") if record.line == outcome.failures[0].line)
    assert record.sql == outcome.failures[0].sql


def test_a_file_that_is_no_script_is_refused_with_its_place(tmp_path: Path, weft: Weft) -> None:
    with pytest.raises(Malformed, match=r"script.test:3: not a record: 'SELECT 1'"):
        sqllogic.run_script(script(tmp_path, "statement ok\nSELECT 1\nSELECT 1\n".replace("ok\nS", "ok\n\nS")), weft)


def test_the_command_sums_up_and_its_exit_code_says_whether_all_passed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = script(tmp_path)
    assert sqllogic.main([str(tmp_path), "--jobs", "1", "--json", str(tmp_path / "out.json")]) == 0
    assert "100.000 % of those that ran" in capsys.readouterr().out
    good.write_text(SCRIPT.replace("(empty)", "full"))
    assert sqllogic.main([str(good), "--jobs", "1"]) == 1
    said = capsys.readouterr().out
    assert "FAILED, 9 passed, 1 failed, 2 not for it" in said
    wrong = next(record for record in read(good) if record.types == "TRI")
    assert f"  line {wrong.line}: {wrong.sql}\n    x 1.500 3 (empty) 1.000 2, not x 1.500 3 full 1.000 2\n" in said
    assert sqllogic.main([str(tmp_path / "nowhere" / "at-all.test")]) == 2
    (tmp_path / "empty").mkdir()
    assert sqllogic.main([str(tmp_path / "empty")]) == 2


class TestJudge:
    def test_what_it_refuses_is_left_out_and_its_answer_is_the_right_one(self, tmp_path: Path, weft: Weft) -> None:
        class Mistaken(Sqlite):
            """SQLite's answers, but for two."""

            def execute(self, sql: str):
                if "a > 5" in sql:
                    raise Refused("42883", 'no operator ">" for t1')
                return [("a\nb",)] if sql.startswith("SELECT c FROM t1") else super().execute(sql)

        wrong = SCRIPT.replace("a@b", "another answer than the judge's")
        judge = Mistaken()
        outcome = sqllogic.run_script(script(tmp_path, wrong), weft, judge=judge)
        judge.close()
        assert (outcome.failed, outcome.passed, outcome.corrected) == (0, 9, 1), outcome.failures
        assert outcome.left_out == {'42883 no operator "…" for tN': 1}

    def test_our_own_scripts_have_postgresql_s_answers(self, postgres: Postgres) -> None:
        for path in OURS:
            assert sqllogic_complete.completed(path, postgres) == path.read_text(), path

    def test_the_scripts_of_views_have_postgresql_s_answers(self, postgres: Postgres) -> None:
        judge = Judge(postgres)
        assert VIEWS
        for path in VIEWS:
            assert sqllogic_complete.completed(path, judge) == path.read_text(), path


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_our_own_scripts_pass(path: Path, weft: Weft) -> None:
    outcome = sqllogic.run_script(path, weft)
    assert outcome.failed == 0, outcome.failures
    assert outcome.passed >= 5


@pytest.mark.skipif(not PUBLIC, reason=f"no {SUITE} here")
@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: str(path.relative_to(SUITE)))
def test_the_public_corpus_passes(path: Path, weft: Weft, postgres: Postgres) -> None:
    outcome = sqllogic.run_script(path, weft, judge=postgres, records_max=RECORDS, failures_max=100)
    failed = {failure.line: failure.why for failure in outcome.failures}
    assert failed == REFUSED.get(path.stem, {})
    assert outcome.passed > 3
