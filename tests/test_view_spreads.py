"""Variances and standard deviations of maintained views, case by case; test_view_model.py has random ones."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import weftdb
from from_rows import from_rows, from_views
from weftdb.base.errors import Invalid
from weftdb.engine.schema import View

Database = Any


@pytest.fixture
def db() -> Iterator[Database]:
    database = weftdb.open()
    database.execute(
        "CREATE TABLE t (id BIGINT PRIMARY KEY, k INT, at TIMESTAMP, x INT, y DOUBLE PRECISION, z NUMERIC(20,3), "
        "r REAL)"
    )
    yield database
    database.close()


def exact(values: list[Any], freedom: int) -> float | None:
    """The double that is nearest to the variance."""
    numbers = [Fraction(value) for value in values]
    if len(numbers) <= freedom:
        return None
    mean = sum(numbers) / len(numbers)
    return float(sum((number - mean) ** 2 for number in numbers) / (len(numbers) - freedom))


def test_each_is_the_double_nearest_to_the_exact_one_however_rows_came_and_went(db: Database) -> None:
    db.execute(
        "CREATE MATERIALIZED VIEW v AS SELECT k, var_samp(y) AS y, var_pop(x) AS x, variance(z) AS z, stddev(y) AS d, "
        "stddev_pop(r) AS r, var_samp(y) FILTER (WHERE x > 3) AS f FROM t GROUP BY k"
    )
    draw, rows = random.Random(5), {}
    for step in range(60):
        id = draw.randrange(25)
        if id in rows and draw.random() < 0.5:
            del rows[id]
            db.execute("DELETE FROM t WHERE id = $1", [id])
        else:
            y = draw.choice((1e9 + draw.random(), 0.1 * draw.randrange(9), 3e-14, 1e17))
            rows[id] = (draw.randrange(2), draw.randrange(9), y, Decimal(draw.randrange(10**15)) / 1000)
            db.table("t").put([(id, rows[id][0], None, *rows[id][1:], 0.5 * rows[id][1])])
        if step % 20 == 7:
            db.engine.maintenance.flush()
        shown = {k: values for k, *values in db.execute("SELECT * FROM v").rows()}
        assert shown.keys() == {k for k, *_ in rows.values()}
        for k, (y, x, z, d, r, f) in shown.items():
            own = [row for row in rows.values() if row[0] == k]
            assert y == exact([row[2] for row in own], 1)
            assert x == exact([row[1] for row in own], 0)
            assert z == exact([row[3] for row in own], 1)
            assert d == (None if y is None else math.sqrt(y))
            assert r == math.sqrt(exact([0.5 * row[1] for row in own], 0) or 0)
            assert f == exact([row[2] for row in own if row[1] > 3], 1)
    assert db.execute("VERIFY MATERIALIZED VIEW v").rows() == []


def test_what_is_no_number_makes_it_none_until_it_goes(db: Database) -> None:
    query = "SELECT k, var_pop(y) AS p, stddev(y) AS s FROM t GROUP BY k"
    db.execute(f"CREATE MATERIALIZED VIEW v AS {query}")
    db.execute("INSERT INTO t (id, k, y) VALUES (1, 1, 2), (2, 1, 4), (3, 1, NULL)")
    before = db.execute("SELECT * FROM v").rows()
    assert before == [(1, 1.0, math.sqrt(2))]
    for value in ("NaN", "Infinity", "-Infinity"):
        db.execute(f"INSERT INTO t (id, k, y) VALUES (9, 1, '{value}'), (10, 2, '{value}')")
        shown = from_views(db, "SELECT * FROM v ORDER BY k").rows()
        assert str(shown) == str(from_rows(db, f"{query} ORDER BY k").rows()) == "[(1, nan, nan), (2, nan, None)]"
        db.execute("DELETE FROM t WHERE id > 8")
        assert db.execute("SELECT * FROM v").rows() == before


def test_one_that_a_double_cannot_hold_is_an_error_of_who_reads_it(db: Database) -> None:
    db.execute("CREATE MATERIALIZED VIEW v AS SELECT k, stddev(y) AS s, count(*) AS n FROM t GROUP BY k")
    db.execute("INSERT INTO t (id, k, y) VALUES (1, 1, 1e200), (2, 1, -1e200), (3, 1, 0)")
    assert db.execute("SELECT n FROM v").rows() == [(3,)]
    with pytest.raises(Invalid, match="overflow") as error:
        db.execute("SELECT s FROM v").rows()
    assert error.value.sqlstate == "22003"
    with pytest.raises(Invalid, match="overflow"):
        db.table("v").get(1)
    db.execute("DELETE FROM t WHERE id = 1")
    db.execute("UPDATE t SET y = 4 WHERE id = 2")
    assert db.execute("SELECT s FROM v").rows() == [(math.sqrt(8),)]


def test_groups_are_added_up_with_rows_of_the_ends(db: Database) -> None:
    db.execute(
        "CREATE MATERIALIZED VIEW v AS SELECT k, time_bucket('1 hour', at) AS hour, stddev(y) AS d, var_pop(z) AS z, "
        "variance(x) FILTER (WHERE x > 2) AS x FROM t GROUP BY 1, 2"
    )
    draw = random.Random(7)
    rows = [
        (draw.randrange(4), draw.randrange(3 * 1440), draw.randrange(9), 1e5 + draw.random(), draw.randrange(10**9))
        for _ in range(400)
    ]
    for id, (k, minute, x, y, z) in enumerate(rows):
        db.execute(
            "INSERT INTO t VALUES ($1, $2, timestamp '2026-01-01' + $3 * interval '1 minute', $4, $5, $6, 0)",
            [id, k, minute, x, y, z],
        )
    query = (
        "SELECT k % 2, stddev_pop(y), var_samp(z), variance(x) FILTER (WHERE x > 2), avg(y) FROM t "
        "WHERE at >= '2026-01-01 07:30' AND at < '2026-01-03 01:17' GROUP BY 1 ORDER BY 1"
    )
    plan = [line.strip() for (line,) in from_views(db, f"EXPLAIN {query}").rows()]
    assert "View v answers for t, since" in plan
    assert "variance(y) is kept" in plan
    shown = from_views(db, query).rows()
    for (half, d, z, x, _), plain in zip(shown, from_rows(db, query).rows(), strict=True):
        own = [row for row in rows if row[0] % 2 == half and 450 <= row[1] < 2 * 1440 + 77]
        assert d == math.sqrt(exact([row[3] for row in own], 0) or 0)
        assert z == exact([row[4] for row in own], 1)
        assert x == exact([row[2] for row in own if row[2] > 2], 1)
        assert [half, d, z, x] == pytest.approx(plain[:4], rel=1e-9)


def test_sums_are_kept_once_for_all_that_are_made_of_them(db: Database) -> None:
    db.execute("CREATE MATERIALIZED VIEW v AS SELECT k, count(x) AS n, sum(x) AS s, count(*) AS rows FROM t GROUP BY k")
    db.execute(
        "CREATE MATERIALIZED VIEW w AS SELECT k, count(x) AS n, sum(x) AS s, avg(x) AS a, stddev(x) AS d, "
        "var_pop(x) AS p, variance(x::float8) AS v, count(*) AS rows FROM t GROUP BY k"
    )
    with db.engine.snapshot() as snapshot:
        views = [relation for relation in snapshot.catalog.relations.values() if isinstance(relation, View)]
    columns = {view.name: len(view.maintained.table.columns) for view in views if view.maintained is not None}
    assert columns == {"v": 5, "w": 8}, "three limbs more, of the squares"


def test_those_of_different_values_are_refused(db: Database) -> None:
    with pytest.raises(Invalid, match="stddev with DISTINCT or ORDER BY is not kept per group"):
        db.execute("CREATE MATERIALIZED VIEW v AS SELECT k, stddev(DISTINCT x) AS d FROM t GROUP BY k")
