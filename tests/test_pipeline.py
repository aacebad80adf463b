"""Pipelines answer as the relational executor does: the same rows at one snapshot, or none at all.

Most of it runs generated kernels as plain Python, since compiling one takes seconds; one shape is compiled. What
kernels call to read blocks is compared with the reader of segments.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import random
import statistics
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soak
import weftdb
from fuzz_pipelines import PlainKernels, differences
from weftdb.base.limits import PIPELINES_SHARE
from weftdb.base.types import BIGINT, INTEGER, numeric
from weftdb.engine.column_store import FixedColumn, new_column
from weftdb.engine.database import Engine
from weftdb.engine.held import Held
from weftdb.engine.kernels.pieces import month_day_of, month_of, pick_valid, pick_words, read_valid, read_words
from weftdb.engine.options import Options
from weftdb.engine.pipeline.kernels import Kernels, Known
from weftdb.engine.pipeline.shape import Shape
from weftdb.engine.schema import Table
from weftdb.engine.segment import Segment
from weftdb.sql.resources import resources_of
from weftdb.sql.session import Session
from weftdb.storage.column_values import values_of
from weftdb.storage.storage import segment_name

DDL = (
    "CREATE TABLE t (k BIGINT PRIMARY KEY, a INTEGER, b NUMERIC(15,2), d DATE, s TEXT, x DOUBLE PRECISION,"
    " m TIMESTAMP, n SMALLINT NOT NULL, f BOOLEAN, r REAL, w NUMERIC(38,4), v VARCHAR(9), y BYTEA, j JSONB)"
)
_MANY = ", ".join(str(number) for number in range(-49, 700, 7))
_MANY_TEXTS = ", ".join(f"'x{number}'" for number in range(100))
QUERIES = (
    "SELECT count(*) FROM t",
    "SELECT count(a), sum(a), avg(a), min(a), max(a), sum(b), avg(b), min(b), max(b), sum(k), avg(n), sum(n) FROM t",
    "SELECT sum(x), avg(x), min(x), max(x), min(r), max(r), min(d), max(m), count(s), count(f) FROM t",
    "SELECT count(*), sum(b * (1 - b) * 2), sum(-a), sum(a * n + 1) FROM t"
    " WHERE d <= DATE '2020-04-01' - INTERVAL '9' DAY AND b BETWEEN -5 AND 7 AND a <> 4",
    "SELECT count(*) FILTER (WHERE x > 1), sum(a) FILTER (WHERE s = 'x'), sum(b) FILTER (WHERE f) FROM t WHERE n < 3",
    "SELECT count(*), sum(CASE WHEN a > 0 THEN b WHEN a IS NULL THEN 1 END), sum(coalesce(a, n, 7)) FROM t",
    "SELECT count(*) FROM t WHERE NOT (a > 3 AND s LIKE 'x%') OR f IS NOT TRUE",
    "SELECT count(*) FROM t WHERE s IN ('x', 'zebra') OR s IS NULL AND a IN (1, 2, 3)",
    "SELECT count(*) FROM t WHERE x >= 1.5 AND x <> 2 AND x + 1 < 'NaN'",
    "SELECT count(*) FROM t WHERE a = b OR CAST(a AS NUMERIC(12,1)) < b OR a > x",
    "SELECT s, count(*), sum(b), avg(a), min(n), max(x) FROM t GROUP BY s",
    "SELECT s, f, n, count(*), sum(x) FROM t WHERE a IS NOT NULL GROUP BY s, f, n HAVING count(*) > 2",
    "SELECT date_trunc('day', m) AS day, time_bucket('1 hour', m), count(*), avg(b) FROM t GROUP BY 1, 2",
    "SELECT date_trunc('week', m), count(*) FROM t GROUP BY 1",
    "SELECT k, a, sum(b) FROM t GROUP BY k, a ORDER BY k LIMIT 50",
    "SELECT a + 1, max(d), count(*) FROM t WHERE s < 'y' GROUP BY a + 1",
    "SELECT sum(w), max(w), avg(w), avg(k) FROM t",
    "SELECT n, avg(total) FROM (SELECT n, s, sum(a) AS total FROM t GROUP BY n, s) q GROUP BY n",
    "WITH c AS (SELECT s, count(*) AS n FROM t GROUP BY s) SELECT t.s, c.n, count(*) FROM t JOIN c ON t.s = c.s"
    " GROUP BY 1, 2",
    "SELECT count(*), sum(a) FROM t WHERE a > 1000",
    "SELECT s, sum(a) FROM t WHERE a > 1000 GROUP BY s",
    "SELECT count(DISTINCT a) FROM t",
    "SELECT s, count(DISTINCT a), sum(DISTINCT a), avg(DISTINCT a), min(x), max(b), count(*), count(b), sum(b), sum(k)"
    " FROM t GROUP BY s HAVING count(*) > 3",
    "SELECT count(DISTINCT a), count(*), sum(n) FROM t WHERE a > 1000",
    "SELECT DISTINCT a + 1, s FROM t ORDER BY a + 1, s",
    "SELECT count(*) FROM (SELECT DISTINCT a, n FROM t) q",
    "SELECT x, b, m, count(*), sum(a) FROM t WHERE x <> 0 GROUP BY x, b, m",
    "SELECT date_trunc('quarter', m), date_trunc('year', m), count(DISTINCT a) FROM t GROUP BY 1, 2",
    "SELECT extract(year FROM m), extract(month FROM m), extract(day FROM m), extract(quarter FROM m),"
    " extract(hour FROM m), extract(minute FROM m), extract(dow FROM m), count(*) FROM t GROUP BY 1, 2, 3, 4, 5, 6, 7",
    "SELECT extract(month FROM d), extract(dow FROM d), sum(extract(day FROM d)) FROM t"
    " WHERE extract(year FROM d) = 2020 GROUP BY 1, 2",
    "SELECT a % 7, n / 2, abs(a), count(*), sum(mod(a, 3)), max(abs(b)) FROM t WHERE a / 4 < 7 GROUP BY 1, 2, 3",
    "SELECT upper(s), z.n FROM (SELECT s, count(*) AS n FROM t GROUP BY s) z ORDER BY 1 NULLS FIRST",
    "SELECT s, f, count(DISTINCT a), count(DISTINCT n), count(DISTINCT s), count(DISTINCT f), avg(a), max(x), count(*),"
    " count(DISTINCT b) FILTER (WHERE x > 0), count(DISTINCT date_trunc('month', m)) FROM t GROUP BY s, f",
    "SELECT count(DISTINCT s) FILTER (WHERE a > 1000), count(DISTINCT a % 7), count(DISTINCT late), sum(x) FROM t",
    "SELECT count(DISTINCT x), count(x) FROM t",
    "SELECT k % 3, count(DISTINCT k * 10000000000), sum(n) FROM t GROUP BY 1",
    "SELECT k, count(DISTINCT a), count(DISTINCT s) FROM t GROUP BY k",
    "SELECT DISTINCT k FROM t WHERE a > 0",
    "SELECT a, s, f FROM t GROUP BY a, s, f HAVING a > -20",
    "SELECT DISTINCT m FROM t",
    "SELECT n, bool_and(f), bool_or(f), every(a > 0), bool_or(s LIKE 'x%') FILTER (WHERE a > 0) FROM t GROUP BY n",
    "SELECT bool_and(f), bool_or(f), bool_and(a > x), min(a) FROM t WHERE a > 1000",
    "SELECT s, bool_or(x > 1) AS one FROM t GROUP BY s ORDER BY one DESC, s LIMIT 3",
    "SELECT greatest(a, n, 3), least(b, 2.5, a), count(*), sum(greatest(x, x * 2, 0)), max(least(x, r)),"
    " min(greatest(m, TIMESTAMP '1970-01-01')), sum(nullif(a, n)), sum(greatest(a)), max(nullif(x, 1.5))"
    " FROM t GROUP BY 1, 2",
    "SELECT count(*) FROM t WHERE a IS DISTINCT FROM n AND f IS NOT DISTINCT FROM (a > 3) AND s IS DISTINCT FROM 'x'",
    "SELECT count(*) FROM t WHERE x IS NOT DISTINCT FROM x * 2 OR a IS NOT DISTINCT FROM late OR"
    " d IS DISTINCT FROM NULL",
    "SELECT f = (a > 3), f <> (a > x), count(*) FROM t WHERE f IS DISTINCT FROM true GROUP BY 1, 2",
    "SELECT n, stddev(a), variance(b), var_pop(k), stddev_pop(n), stddev_samp(b * a), var_samp(late) FROM t GROUP BY n",
    f"SELECT n, count(*), sum(a) FROM t WHERE k IN ({_MANY}) AND a NOT IN ({_MANY}) GROUP BY n",
    f"SELECT count(*) FROM t WHERE NOT (a NOT IN ({_MANY}, NULL)) AND s IN ('zebra', 'x', {_MANY_TEXTS})",
    f"SELECT count(*) FROM t WHERE b IN ({_MANY}, -0.5, 1.250, NULL) AND (s NOT IN ({_MANY_TEXTS}) OR n = 1)",
    f"SELECT count(*) FROM t WHERE k + a NOT IN ({_MANY})",
    "SELECT CAST(m AS DATE), min(CAST(m AS DATE)), count(*) FROM t WHERE CAST(m AS DATE) > '1969-12-31' GROUP BY 1",
    "SELECT date_trunc('day', m), max(time_bucket('1 hour', m)), min(date_trunc('day', m)), count(*) FROM t"
    " WHERE date_trunc('day', m) >= '1969-12-31' AND time_bucket('7 days', m) <> '1970-01-05' GROUP BY 1",
    "SELECT extract(day FROM m), extract(month FROM d), sum(extract(day FROM m)) FROM t"
    " WHERE extract(day FROM m) > 5 AND extract(month FROM d) <> 2 GROUP BY 1, 2",
    f"SELECT count(*) FROM t WHERE k = ANY (ARRAY[{_MANY}, NULL]) AND a = ANY ('{{{_MANY}}}'::int[])",
    "SELECT count(*) FROM t WHERE x IN (1.5, 0, 'NaN') OR x NOT IN (2.5, 0)",
    "SELECT k, stddev(a), var_pop(b) FILTER (WHERE f) FROM t GROUP BY k",
    "SELECT stddev(a), var_pop(a), var_samp(k) FILTER (WHERE k = 5) FROM t WHERE a > 1000 OR k = 5",
    "SELECT v, y, j, s, count(*), sum(a), count(j) FROM t GROUP BY v, y, j, s",
    "SELECT n, count(DISTINCT v), count(DISTINCT y), count(DISTINCT j) FROM t GROUP BY n",
    "SELECT DISTINCT j, v FROM t WHERE v LIKE '%e%' OR v IN ('x', '') OR length(v) > 4",
    "SELECT y, max(a) FROM t WHERE v <> 'x' GROUP BY y ORDER BY 2 DESC, y LIMIT 2",
    "SELECT upper(s), coalesce(s, 'none'), coalesce(s, 'x'), count(*), sum(a) FROM t GROUP BY 1, 2, 3",
    "SELECT length(s), substr(v, 1, 1), count(*), max(b) FROM t GROUP BY 1, 2 ORDER BY 1 DESC NULLS FIRST, 2",
    "SELECT nullif(s, 'x'), count(*), count(s) FROM t WHERE a > 0 GROUP BY 1",
    "SELECT CASE WHEN s IN ('x', 'y') THEN 'one' ELSE 'other' END AS part, count(*), avg(a) FROM t GROUP BY 1",
    "SELECT CASE s WHEN 'x' THEN 1 WHEN 'zebra' THEN 1 END + 2, count(*) FROM t GROUP BY 1",
    "SELECT CASE WHEN a > 10 THEN 'many' WHEN a > 0 THEN 'some' WHEN s = 'x' THEN 'many' END, n, count(*), sum(b)"
    " FROM t GROUP BY 1, 2",
    "SELECT CASE WHEN extract(isodow FROM m) > 5 THEN 'weekend' ELSE 'week' END, count(*) FROM t GROUP BY 1 ORDER BY 1",
    "SELECT extract(isodow FROM m), extract(isodow FROM d), count(*) FROM t GROUP BY 1, 2",
    "SELECT DISTINCT lower(v) || '!', k FROM t WHERE k < 100",
    "SELECT k, upper(s), count(DISTINCT a) FROM t GROUP BY k, upper(s)",
    "SELECT count(DISTINCT upper(s)), count(*) FROM t WHERE n > 0",
    "SELECT n, count(DISTINCT nullif(s, 'x')), sum(a) FROM t GROUP BY n",
)


def _row(random: random.Random, k: int) -> dict[str, Any]:
    def maybe(value: Any) -> Any:
        return None if random.random() < 0.1 else value

    number = random.choice((random.uniform(-5, 5), 1.5, math.nan if random.random() < 0.2 else 0.0))
    return {
        "k": k,
        "a": maybe(random.randint(-50, 50)),
        "b": maybe(Decimal(random.randint(-1_000, 1_000)).scaleb(-2)),
        "d": maybe(dt.date(2020, 1, 1) + dt.timedelta(random.randint(0, 100))),
        "s": maybe(random.choice(("x", "y", "zebra", "xx", ""))),
        "x": maybe(number),
        "m": maybe(dt.datetime(1969, 12, 30) + dt.timedelta(seconds=random.randint(0, 10**6))),
        "n": random.randint(0, 3),
        "f": maybe(random.random() < 0.5),
        "r": maybe(float(np.float32(random.uniform(-1, 1)))),
        "w": maybe(Decimal(random.randint(-(10**6), 10**6)).scaleb(-4)),
        "v": (None, "x", "zebra", "", "y")[k % 5],
        "y": (b"", b"\x00\xff", None, b"x")[k % 4],
        "j": ("1", '{"a": [1, 2]}', "null", None, '"x"', "[]")[k % 6],
    }


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Rows in segments and memtables, some of them ended, a column that came later."""
    numbers = random.Random(7)
    with Engine.open(options=Options(maintenance=False)) as engine:
        session = Session(engine)
        session.execute(DDL)
        for start, stop in ((0, 400), (300, 600)):
            session.put("t", [_row(numbers, k) for k in range(start, stop)])
            engine.flush()
        session.execute("ALTER TABLE t ADD COLUMN late INTEGER DEFAULT 5")
        session.execute("DELETE FROM t WHERE k % 7 = 0")
        session.put("t", [_row(numbers, k) for k in range(550, 800)])
        session.execute("DELETE FROM t WHERE k % 11 = 0")
        resources_of(engine).kernels = PlainKernels(threads=2)
        yield engine


def _answer(session: Session, tier: str, sql: str) -> tuple[Any, list[tuple[Any, ...]]]:
    session.execute(f"SET weft.tier = {tier}")
    result = session.execute(sql)
    return result.schema, sorted(result.rows(), key=repr)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(one) and math.isnan(other))
    return one == other and type(one) is type(other)


def _compare(session: Session, sql: str) -> None:
    (schema, expected), (found_schema, found) = (_answer(session, tier, sql) for tier in ("relational", "pipeline"))
    assert found_schema == schema, sql
    assert len(found) == len(expected), sql
    for one, other in zip(expected, found, strict=True):
        assert all(map(_same, one, other)), f"{sql}: {one} by the executor, {other} by the pipeline"


@pytest.mark.parametrize("sql", QUERIES)
def test_a_pipeline_gives_the_rows_of_the_relational_executor(engine: Engine, sql: str) -> None:
    _compare(Session(engine), sql)


@pytest.mark.parametrize("sql", QUERIES)
def test_a_program_gives_the_rows_of_the_relational_executor(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sql: str
) -> None:
    kernels = Kernels(tmp_path, threads=2)
    monkeypatch.setattr(resources_of(engine), "kernels", kernels)
    _compare(Session(engine), sql)
    states = {(known.state, known.hits) for known in kernels.all()}
    assert states == {("program", 1)} or (sql == "SELECT count(*) FROM t" and not states)


def test_days_have_the_months_of_the_calendar() -> None:
    first = dt.date(1970, 1, 1)
    days = [*range(-1_000, 50_000), (dt.date.min - first).days, (dt.date.max - first).days]
    for day in days:
        date = first + dt.timedelta(day)
        assert month_of(day) == 12 * (date.year - 1970) + date.month - 1
        assert month_day_of(day) == date.day


def test_a_column_that_segments_do_not_have_reads_as_its_default(engine: Engine) -> None:
    session = Session(engine)
    for sql in ("SELECT sum(late), count(late), min(k) FROM t", "SELECT late, count(*) FROM t GROUP BY late"):
        _compare(session, sql)


def test_the_past_is_read_as_it_was(engine: Engine) -> None:
    session = Session(engine)
    for version in range(2, engine.version + 1, 2):
        sql = f"SELECT count(*), sum(a), sum(b) FROM t AS OF VERSION {version} WHERE n > 0"
        try:
            _answer(session, "relational", sql)
        except weftdb.WeftError:
            continue
        _compare(session, sql)


def test_parameters_are_arguments_of_one_kernel(engine: Engine) -> None:
    session = Session(engine)
    for number in (1, 30):
        answers: list[Any] = []
        for tier in ("relational", "pipeline"):
            session.execute(f"SET weft.tier = {tier}")
            answers.append(
                session.execute("SELECT count(*), sum(b) FROM t WHERE a > $1 AND s > $2", [number, "x"]).rows()
            )
        assert answers[0] == answers[1]


def test_texts_of_case_may_be_parameters_that_are_the_same(engine: Engine) -> None:
    session = Session(engine)
    part = "CASE WHEN a > 0 THEN CAST($1 AS TEXT) WHEN n = 2 THEN $2 WHEN n = 1 THEN lower('MORE') END"
    for sql in (
        f"SELECT {part} AS part, count(*) FROM t GROUP BY 1",
        f"SELECT count(DISTINCT {part}), count(*) FROM t",
        f"SELECT n, count(DISTINCT {part}) FROM t GROUP BY n",
        f"SELECT DISTINCT {part} FROM t",
    ):
        for texts in (["much", "less"], ["more", "more"], ["much", "much"], ["much", None]):
            found = []
            for tier in ("relational", "auto"):
                session.execute(f"SET weft.tier = {tier}")
                found.append(sorted(session.execute(sql, texts).rows(), key=repr))
            assert found[0] == found[1], (sql, texts)


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT sum(k * k * k * k * k * k * k) FROM t WHERE k > 10", "too large"),
        ("SELECT a / n, sum(x) FROM t GROUP BY 1", "divide"),
        ("SELECT sum(DISTINCT a), avg(n) FROM t", "beside DISTINCT"),
        ("SELECT count(DISTINCT a), sum(DISTINCT n) FROM t", "more than one argument"),
        ("SELECT count(DISTINCT a) FILTER (WHERE n > 1), count(DISTINCT x) FROM t", "more than one argument"),
        ("SELECT max(s), sum(x) FROM t", "max of text"),
        ("SELECT CASE WHEN a > 0 THEN s ELSE 'x' END, avg(x) FROM t GROUP BY 1 ORDER BY 1", "groups by text"),
        ("SELECT CAST(s AS INTEGER), count(*) FROM t WHERE s < '!' GROUP BY 1", "a key of text fails"),
        ("SELECT stddev(x) FROM t", "stddev of double precision"),
        (f"SELECT count(*) FROM t WHERE a NOT IN ({_MANY}, NULL)", "meets a NULL"),
        (f"SELECT count(*) FROM t WHERE b IN ({_MANY}, 1.250, 12345678901234567890)", "too large"),
        (f"SELECT sum(x) FROM t WHERE a IN ({_MANY}) OR n > 2", "many constants"),
        (f"SELECT count(*) FROM t WHERE NOT a = ANY (ARRAY[{_MANY}])", "an array"),
        ("SELECT count(*) FROM t WHERE a > ANY (ARRAY[3, 40])", "an array"),
        ("SELECT count(*) FROM t WHERE a = ALL (ARRAY[3, 40])", "an array"),
        ("SELECT count(*) FROM t WHERE s = ANY (ARRAY['x', 'y'])", "an array"),
        ("SELECT a % n, sum(x) FROM t GROUP BY 1", "modulo"),
        ("SELECT a % 0 FROM t GROUP BY 1", "not positive"),
        ("SELECT count(CAST(k * 300 AS SMALLINT) + 1) FROM t WHERE k > 100", "too large"),
        ("SELECT count(x * 2) FROM t", "counted"),
        ("SELECT sum(x * 1e308 * 1e308) FROM t", "out of range"),
    ],
)
def test_what_a_pipeline_does_not_do_it_refuses_and_auto_leaves_to_the_executor(
    engine: Engine, sql: str, why: str
) -> None:
    session = Session(engine)
    session.execute("SET weft.tier = pipeline")
    with pytest.raises(weftdb.Invalid, match=why):
        session.execute(sql).rows()
    outcomes: list[str] = []
    for tier in ("relational", "auto"):
        session.execute(f"SET weft.tier = {tier}")
        try:
            outcomes.append(repr(session.execute(sql).rows()))
        except weftdb.WeftError as error:
            outcomes.append(repr(error))
    assert outcomes[0] == outcomes[1]


def test_a_transaction_that_wrote_the_table_is_answered_by_the_executor(engine: Engine) -> None:
    session = Session(engine)
    session.execute("SET weft.tier = auto")
    session.begin()
    before = session.execute("SELECT count(*) FROM t").scalar()
    session.execute("INSERT INTO t (k, n) VALUES (100000, 1)")
    assert session.execute("SELECT count(*) FROM t").scalar() == before + 1
    session.rollback()


def test_a_compiled_kernel_is_kept_and_says_what_python_says(engine: Engine) -> None:
    sql = "SELECT s, count(*), sum(b * (1 - b)), avg(x), max(d) FROM t WHERE a > 0 AND s LIKE 'x%' GROUP BY s"
    session = Session(engine)
    before = resources_of(engine).kernels
    kernels = resources_of(engine).kernels = Kernels(threads=2)
    kernels.runs_programs = False
    try:
        _compare(session, sql)
        (known,) = kernels.all()
        assert (known.state, known.hits) == ("ready", 1)
        again = Kernels(threads=1)
        again.runs_programs = False
        resources_of(engine).kernels = again
        _compare(session, sql)
        assert again.all()[0].compile_seconds == 0
    finally:
        resources_of(engine).kernels = before


def test_weft_kernels_lists_what_was_asked_for(engine: Engine) -> None:
    session = Session(engine)
    columns = "state, hits, compile_seconds, run_seconds, shape"
    assert session.execute(f"SELECT {columns} FROM weft_kernels").rows() == []


def test_explain_says_that_kernels_group_and_what_they_read(engine: Engine) -> None:
    session = Session(engine)
    session.execute("SET weft.tier = auto")
    sql = "SELECT t.s, c.n FROM t JOIN (SELECT s, count(*) AS n FROM t GROUP BY s) c ON c.s = t.s WHERE t.k < 9"
    lines = [row[0] for row in session.execute(f"EXPLAIN ANALYZE {sql}").rows()]
    assert "Choice: Pipeline, since kernels group t" in lines
    read = [line for line in lines if "rows looked at" in line]
    assert len(read) == 2
    assert not any(line.startswith("  Read t: 0 of 0 ") for line in read)
    session.execute("SET weft.tier = relational")
    assert not any("Pipeline" in row[0] for row in session.execute(f"EXPLAIN {sql}").rows())


def _explained(session: Session, words: str, sql: str) -> list[str]:
    lines = [row[0] for row in session.execute(f"EXPLAIN {words} {sql}").rows()]
    return [line for line in lines if line.startswith(("  Pipeline", "Verify"))]


def test_explain_says_whether_a_kernel_groups_and_why_not(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(engine)
    session.execute("SET weft.tier = auto")
    kernels = resources_of(engine).kernels
    assert isinstance(kernels, PlainKernels)
    sql, before = "SELECT s, count(*) FROM t WHERE n > 0 GROUP BY s", kernels.used
    assert _explained(session, "", sql) == [
        "  Pipeline of t: not used, since its kernel was not asked for yet; the executor groups"
    ]
    assert kernels.used == before, "EXPLAIN alone asks for nothing"
    monkeypatch.setattr(kernels, "is_ready", lambda shape: True)
    assert _explained(session, "", sql) == ["  Pipeline of t: its kernel is ready (dense)"]
    (line,) = _explained(session, "ANALYZE", sql)
    assert line.startswith("  Pipeline of t: 6 groups of ")
    assert line.endswith(" by plain (dense)")
    line, verified = _explained(session, "VERIFY", sql)
    assert line.endswith(" by plain (dense)")
    assert verified.startswith("Verify: both plans give the same 6 rows")
    (found,) = json.loads(session.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}").scalar())
    (part,) = found["Pipelines"]
    assert (part["Alias"], part["Kernel"], part["Sink"], part["Groups"]) == ("t", "plain", "dense", 6)
    assert part["Time"] > 0
    for words in ("", "ANALYZE", "VERIFY"):
        line = _explained(session, words, "SELECT sum(k * k * k * k * k * k * k) FROM t WHERE k < 3")[0]
        assert line == "  Pipeline of t: not used, since a number may become too large; the executor groups"
    monkeypatch.setattr(kernels, "rows_min", 10**6)
    assert "since the rows are few" in _explained(session, "", sql)[0]
    monkeypatch.undo()
    session.execute("SET weft.tier = relational")
    assert _explained(session, "ANALYZE", sql) == []


@pytest.mark.parametrize("threads", [1, 2])
def test_a_timeout_and_a_cancel_stop_a_pipeline_between_morsels(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    class Slow(PlainKernels):
        def kernel(self, shape: Shape, **_: Any) -> Known:
            known = super().kernel(shape)
            kernel = known.kernel
            assert kernel is not None

            def slowly(*arguments: Any) -> Any:
                calls.append(1)
                time.sleep(0.1)
                return kernel(*arguments)

            known.kernel = slowly
            return known

    calls: list[int] = []
    monkeypatch.setattr("weftdb.engine.pipeline.pieces.PIECE_ROWS", 16)
    monkeypatch.setattr("weftdb.engine.pipeline.pieces.MORSEL_PIECES", 1)
    monkeypatch.setattr(resources_of(engine), "kernels", Slow(threads=threads))
    with Session(engine) as session:
        session.put("t", [_row(random.Random(1), 10_000 + k) for k in range(600)])
        session.execute("SET weft.tier = auto")
        session.execute("SET statement_timeout = 300")
        began = time.monotonic()
        with pytest.raises(weftdb.Unavailable, match="statement timeout"):
            session.execute("SELECT s, count(*) FROM t GROUP BY s").rows()
        assert time.monotonic() - began < 2
        assert 0 < len(calls) < 4 * threads + 4
        session.execute("SET statement_timeout = 0")
        timer = threading.Timer(0.3, session.cancel)
        timer.start()
        with pytest.raises(weftdb.Unavailable, match="user request"):
            session.execute("SELECT s, count(*) FROM t GROUP BY s").rows()
        timer.join()
        session.execute("DELETE FROM t WHERE k >= 10000")
        done = len(calls)
        time.sleep(0.3)
        assert len(calls) == done, "no thread went on"


def test_few_rows_are_left_to_the_executor(engine: Engine) -> None:
    session = Session(engine)
    kernels = resources_of(engine).kernels
    assert isinstance(kernels, PlainKernels)
    session.execute("SET weft.tier = auto")
    before, kernels.rows_min = kernels.used, 10**6
    try:
        session.execute("SELECT sum(n) FROM t")
        assert kernels.used == before
    finally:
        kernels.rows_min = 0
    session.execute("SELECT sum(n) FROM t")
    assert kernels.used == before + 1


def test_random_queries_are_answered_alike_at_both_tiers() -> None:
    """The long run is ``fuzz_pipelines.py``."""
    used: list[int] = []
    for seed in (soak.SEED, soak.SEED + 1):
        assert not list(differences(seed, range(12 * soak.FACTOR), used))
    assert sum(used) > 2


def test_without_a_kernel_the_executor_answers(engine: Engine, tmp_path: Any) -> None:
    class Never(Kernels):
        def kernel(self, shape: Shape, **_: Any) -> None:
            return None

    session = Session(engine)
    before = resources_of(engine).kernels
    never = resources_of(engine).kernels = Never(tmp_path)
    never.rows_min = 0
    try:
        session.execute("SET weft.tier = auto")
        rows = session.execute("SELECT n FROM t").rows()
        assert session.execute("SELECT sum(n) FROM t").scalar() == sum(n for (n,) in rows)
    finally:
        resources_of(engine).kernels = before


def test_float_sums_do_not_depend_on_threads(engine: Engine) -> None:
    session = Session(engine)
    before = resources_of(engine).kernels
    try:
        found: list[Any] = []
        for threads in (1, 2, 5):
            resources_of(engine).kernels = PlainKernels(threads=threads)
            found.append(
                _answer(session, "pipeline", "SELECT n, sum(x), avg(r * 1.0) FROM t WHERE x < 5 GROUP BY n")[1]
            )
        assert repr(found[0]) == repr(found[1]) == repr(found[2])
    finally:
        resources_of(engine).kernels = before


def _segments(engine: Engine) -> Iterator[tuple[Table, Segment]]:
    with engine.snapshot() as snapshot:
        table = snapshot.catalog.table("t")
        plan, _, _ = snapshot.scan(table).looked_at()  # pyright: ignore[reportAttributeAccessIssue]
        for run in plan.runs:
            yield table, run.segment


def test_blocks_are_read_as_the_reader_of_segments_reads_them(engine: Engine) -> None:
    numbers = random.Random(3)
    for table, segment in _segments(engine):
        reader = segment.reader
        for column in table.columns:
            if column.id not in segment.description.columns:
                continue
            if column.type.is_variable and reader.dictionary(column.id) is None:
                continue
            first = numbers.randrange(segment.rows_count)
            count = numbers.randint(1, segment.rows_count - first)
            if column.type.is_variable:
                found = reader.codes(column.id, first, first + count)
            else:
                found = reader.read(column.id, column.type, first, first + count)
            values = found.values[:, 0] if found.values.ndim == 2 else found.values  # pyright: ignore[reportAttributeAccessIssue]
            words = (
                values.view(f"i{values.itemsize}").astype(np.int64)
                if values.dtype.kind == "f"
                else values.astype(np.int64)
            )
            valid = np.ones(count, np.uint8) if found.valid is None else found.valid
            entry = np.uint64(reader.directory(column.id).ctypes.data)
            place = (entry, np.uint64(reader.address), np.uint64(first))
            out, there = np.zeros(count, np.int64), np.zeros(count, np.uint8)
            read_words(*place, count, out)
            read_valid(*place, count, np.uint64(0), 0, there)
            assert np.array_equal(there, valid), column.name
            assert np.array_equal(out[there == 1], words[there == 1]), column.name
            chosen = np.flatnonzero(np.array([numbers.random() < 0.3 for _ in range(count)])).astype(np.uint64)
            some, there = np.zeros(count, np.int64), np.zeros(count, np.uint8)
            pick_words(*place, chosen, len(chosen), some)
            pick_valid(*place, chosen, len(chosen), np.uint64(0), 0, there)
            assert np.array_equal(some[chosen], out[chosen]), column.name
            assert np.array_equal(there[chosen], valid[chosen]), column.name


def _both(session: Session, sql: str) -> list[Any]:
    """What both tiers say: rows or an error, and at the tier pipeline why not."""
    found: list[Any] = []
    for tier in ("relational", "auto", "pipeline"):
        session.execute(f"SET weft.tier = {tier}")
        try:
            found.append(session.execute(sql).rows())
        except weftdb.WeftError as error:
            found.append(error.message)
    return found


@pytest.mark.parametrize(("value", "rows"), [(2**62, 3), (-(2**60), 40), (2**57 + 1, 2_000)])
def test_sums_of_large_integers_are_exact_however_many_rows_a_lane_has(
    monkeypatch: pytest.MonkeyPatch, value: int, rows: int
) -> None:
    """A lane adds up in 64 bits as many rows as certainly fit."""
    monkeypatch.setattr("weftdb.engine.pipeline.pieces.MORSEL_PIECES", 1)
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        kernels = resources_of(engine).kernels = PlainKernels(threads=2)
        session.execute("CREATE TABLE big (k BIGINT PRIMARY KEY, v BIGINT, g INTEGER)")
        session.put("big", [{"k": k, "v": value, "g": k % 2} for k in range(rows)])
        covered = 0
        for piece in (1, 4, 64, 4_096):
            monkeypatch.setattr("weftdb.engine.pipeline.pieces.PIECE_ROWS", piece)
            for sql in ("SELECT sum(v), avg(v) FROM big", "SELECT g, sum(v) FROM big GROUP BY g ORDER BY g"):
                executor, auto, pipeline = _both(session, sql)
                assert auto == executor
                if isinstance(pipeline, str):
                    assert "a sum may become too large" in pipeline
                else:
                    covered += 1
                    assert pipeline == executor
        assert covered
        assert kernels.used


@pytest.mark.parametrize("far", [10**9, 2 * 10**9])
def test_spreads_of_large_integers_are_exact_and_rounded_once(far: int) -> None:
    random_numbers = random.Random(far)
    values = [far + random_numbers.randint(0, 5) for _ in range(3_000)]
    with Engine.open(options=Options(maintenance=False)) as engine:
        session = Session(engine)
        session.execute("CREATE TABLE t (k BIGINT PRIMARY KEY, g INTEGER, a BIGINT, b NUMERIC(18,2))")
        session.put("t", [{"k": k, "g": k % 7, "a": a, "b": Decimal(a).scaleb(-2)} for k, a in enumerate(values)])
        engine.flush()
        resources_of(engine).kernels = PlainKernels(threads=2)
        session.execute("SET weft.tier = pipeline")
        rows = session.execute("SELECT g, var_samp(a), var_pop(b), stddev(a) FROM t GROUP BY g ORDER BY g").rows()
        for g, sample, population, deviation in rows:
            of = [Fraction(value) for value in values[g::7]]
            assert sample == float(statistics.variance(of))
            assert population == float(statistics.pvariance(of) / 10_000)
            assert deviation == math.sqrt(statistics.variance(of))
        assert len(rows) == 7
        with pytest.raises(weftdb.Invalid, match="too large"):
            session.execute("SELECT stddev(a * 3) FROM t").rows()


def test_a_sum_that_became_infinite_in_no_lane_is_the_executor_s_to_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weftdb.engine.pipeline.pieces.MORSEL_PIECES", 1)
    monkeypatch.setattr("weftdb.engine.pipeline.pieces.PIECE_ROWS", 1)
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        resources_of(engine).kernels = PlainKernels(threads=1)
        session.execute("CREATE TABLE far (k BIGINT PRIMARY KEY, x DOUBLE PRECISION)")
        session.put("far", [{"k": k, "x": 1e308} for k in range(4)])
        for sql in (
            "SELECT sum(x) FROM far",
            "SELECT avg(x), count(*) FROM far",
            "SELECT k / 9, sum(x) FROM far GROUP BY 1",
        ):
            executor, auto, _ = _both(session, sql)
            assert auto == executor
        executor, _, pipeline = _both(session, "SELECT sum(x) FROM far")
        assert "a sum is infinite" in pipeline or pipeline == executor


@pytest.mark.parametrize("other", ["'NaN'", "'Infinity'", "'-Infinity'", "x", "y", "-y"])
@pytest.mark.parametrize("operator", ["=", "<>", "<", "<=", ">", ">="])
def test_comparisons_of_nan_and_infinities_are_those_of_postgresql(operator: str, other: str) -> None:
    values = (None, math.nan, math.inf, -math.inf, 0.0, -0.0, 1.5)
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        resources_of(engine).kernels = PlainKernels(threads=1)
        session.execute("CREATE TABLE f (k BIGINT PRIMARY KEY, x DOUBLE PRECISION, y DOUBLE PRECISION NOT NULL)")
        rows = [{"x": x, "y": y} for x in values for y in values[1:]]
        session.put("f", [{"k": k, **row} for k, row in enumerate(rows)])
        right = other if "y" in other or other == "x" else f"CAST({other} AS DOUBLE PRECISION)"
        for sql in (
            f"SELECT count(*), sum(k) FROM f WHERE x {operator} {right}",
            f"SELECT count(*), sum(k) FROM f WHERE NOT (x {operator} {right})",
            f"SELECT x {operator} {right}, count(*) FROM f GROUP BY 1 ORDER BY 1",
        ):
            executor, _, pipeline = _both(session, sql)
            assert pipeline == executor


def test_a_damaged_block_is_an_error_and_no_answer(tmp_path: Path) -> None:
    with Engine.open(tmp_path, options=Options(maintenance=False)) as engine, Session(engine) as session:
        resources_of(engine).kernels = PlainKernels(threads=1)
        session.execute("CREATE TABLE t (k BIGINT PRIMARY KEY, a INTEGER, b INTEGER)")
        session.put("t", [{"k": k, "a": k * 7919 % 1009, "b": k} for k in range(2_000)])
        engine.flush()
        ((table, segment),) = _segments(engine)
        column = next(column.id for column in table.columns if column.name == "a")
        data = np.array(segment.reader._data)  # pyright: ignore[reportPrivateUsage]
        data[int(segment.reader.directory(column)["offset"][0])] ^= 1
        path = engine.folder.segments_path / segment_name(segment.description.place.file)  # pyright: ignore[reportOptionalMemberAccess]
        whole = bytearray(path.read_bytes())
        place = segment.description.place
        whole[place.offset : place.offset + place.length] = data.tobytes()[: place.length]
        path.write_bytes(whole)
    with Engine.open(tmp_path, options=Options(maintenance=False)) as engine, Session(engine) as session:
        resources_of(engine).kernels = PlainKernels(threads=1)
        for tier in ("pipeline", "auto"):
            session.execute(f"SET weft.tier = {tier}")
            assert session.execute("SELECT sum(b) FROM t").scalar() == 1_999 * 1_000, "other columns are whole"
            with pytest.raises(weftdb.Corrupt, match=r"\.seg"):
                session.execute("SELECT sum(a) FROM t").rows()


def test_numbers_beyond_64_bits_are_seen_in_segments_and_memtables() -> None:
    for value in (Decimal("1e33"), Decimal("-1e33"), Decimal(2**63), -Decimal(2**63) / 10_000):
        with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
            resources_of(engine).kernels = PlainKernels(threads=1)
            session.execute("CREATE TABLE wide (k BIGINT PRIMARY KEY, w NUMERIC(38,4))")
            session.put("wide", [{"k": k, "w": value if k == 5 else Decimal(k)} for k in range(20)])
            for _ in range(2):  # in memory, then in a segment
                for what in ("max(w), min(w)", "sum(w)", "w, count(*)", "count(*) FILTER (WHERE w > 3)"):
                    sql = f"SELECT {what} FROM wide{' GROUP BY w' if what[0] == 'w' else ''}"
                    executor, auto, pipeline = _both(session, sql)
                    assert sorted(auto) == sorted(executor)
                    assert isinstance(pipeline, str) or sorted(pipeline) == sorted(executor)
                engine.flush()


def test_integers_in_memory_know_what_they_lie_between() -> None:
    """Beside a look at all values, asked for after any number of appends."""
    choose = random.Random(7)
    for type, most in ((INTEGER, 31), (BIGINT, 63), (numeric(30, 0), 63), (numeric(30, 0), 70)):
        for _ in range(30):
            column = new_column(type, capacity=300, door=np.zeros(3, np.uint64))
            assert isinstance(column, FixedColumn)
            values: list[int | None] = []
            while len(values) < 250:
                limit = 2 ** choose.randint(1, most) - 1
                piece = [None if choose.random() < 0.4 else choose.randint(-limit - 1, limit) for _ in range(50)]
                array = pa.array([None if n is None else Decimal(n) for n in piece], pa.decimal128(38)).cast(type.arrow)
                column.append(len(values), values_of(array, type), 0, count=len(piece))
                values += piece
                if choose.random() < 0.5:
                    there = [value for value in values if value is not None]
                    wide = not all(-(2**63) <= value < 2**63 for value in there)
                    found = column.bounds(len(values))
                    assert found is None if wide else found == (min(there), max(there)), (type, values)


@pytest.mark.parametrize("dense_max", [1 << 16, 0])
def test_groups_count_while_they_are_made_and_beyond_the_budget_the_executor_groups(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, dense_max: int
) -> None:
    """In places, and looked up."""
    monkeypatch.setattr("weftdb.engine.pipeline.packing.PIPELINE_DENSE_MAX", dense_max)
    seen: list[int] = []

    class Watched(PlainKernels):
        def kernel(self, shape: Shape, **_: Any) -> Known:
            known = super().kernel(shape)
            kernel = known.kernel
            assert kernel is not None

            def watched(*arguments: Any) -> Any:
                seen.append(self.held.bytes)
                return kernel(*arguments)

            known.kernel = watched
            return known

    kernels = Watched(threads=1)
    monkeypatch.setattr(resources_of(engine), "kernels", kernels)
    sql = "SELECT k, count(*), sum(b) FROM t GROUP BY k ORDER BY k"
    with Session(engine) as session:
        executor, auto, pipeline = _both(session, sql)
        assert auto == pipeline == executor
        assert min(seen) > 1_000
        assert kernels.held.bytes == 0
        seen.clear()
        kernels.held = Held(limit=1_000)
        executor, auto, pipeline = _both(session, sql)
        assert auto == executor
        assert "more memory than pipelines may take" in pipeline
        assert kernels.held.bytes == 0


def test_pipelines_are_in_the_gauge_of_memory() -> None:
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        sql = "SELECT value FROM weft_metrics WHERE name = 'weft_memory_pipelines_bytes'"
        assert session.execute(sql).scalar() == 0
        held = resources_of(engine).kernels.held
        kept = held.keep(np.zeros(100))
        assert session.execute(sql).scalar() == kept.nbytes
        assert held.limit == engine.budget.limit // PIPELINES_SHARE
