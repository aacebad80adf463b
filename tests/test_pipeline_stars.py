"""Stars: a table and the small relations that it is joined with, in one kernel; the executor is the oracle."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import soak
import weftdb
from fuzz_stars import STARS
from fuzz_tiers import Interpreted, differences
from weftdb.base.types import BIGINT, DOUBLE, TEXT, numeric
from weftdb.engine.database import Engine
from weftdb.engine.expression.node import Column
from weftdb.engine.options import Options
from weftdb.engine.pipeline.shape import Side
from weftdb.engine.pipeline.sides import built
from weftdb.sql.resources import resources_of
from weftdb.sql.session import Session


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine.open(options=Options(maintenance=False)) as engine:
        session = Session(engine)
        session.execute("CREATE TABLE f (id BIGINT PRIMARY KEY, k BIGINT, l INTEGER, x INTEGER, s TEXT)")
        session.execute("CREATE TABLE d (k BIGINT PRIMARY KEY, up INTEGER, name TEXT, y INTEGER)")
        session.execute("CREATE TABLE e (k INTEGER PRIMARY KEY, city TEXT)")
        session.execute("CREATE TABLE p (k BIGINT, l INTEGER, PRIMARY KEY (k, l))")
        session.put("p", [{"k": k, "l": two} for k in range(35) for two in range(0, 7, 2)])
        session.execute("CREATE TABLE twice (k BIGINT, name TEXT)")
        session.execute("CREATE TABLE kinds (k INTEGER PRIMARY KEY, v VARCHAR(9), b BYTEA, j JSONB, u UUID, a INT[])")
        session.execute(
            "INSERT INTO kinds VALUES (0, NULL, NULL, NULL, NULL, NULL), (2, '', '', 'null', gen_random_uuid(), '{}'),"
            " (1, 'x', '\\x00', '[1, 2]', gen_random_uuid(), '{1,NULL}'), (3, '', '', 'null', NULL, '{}')"
        )
        session.put(
            "f",
            [
                {"id": id, "k": None if id % 11 == 0 else id % 40, "l": id % 7, "x": id % 13, "s": "ab"[id % 2]}
                for id in range(500)
            ],
        )
        session.put("d", [{"k": k, "up": k % 3, "name": f"n{k % 5}", "y": None if k == 3 else k} for k in range(30)])
        session.put("e", [{"k": k, "city": ("Trier", None)[k % 2]} for k in range(3)])
        session.insert("twice", [{"k": k % 20, "name": "z"} for k in range(25)])
        engine.flush()
        resources_of(engine).kernels = Interpreted(threads=2)
        yield engine


def _answers(session: Session, sql: str, *tiers: str) -> list[Any]:
    found: list[Any] = []
    for tier in tiers:
        session.execute(f"SET weft.tier = {tier}")
        found.append(sorted(session.execute(sql).rows(), key=repr))
    return found


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT d.name, sum(f.x), count(*) FROM f JOIN d ON f.k = d.k GROUP BY d.name",
        "SELECT name, sum(x * y) FROM f, d, e WHERE f.k = d.k AND up = e.k AND city = 'Trier' AND x > 3 GROUP BY name",
        "SELECT s, city, min(y), count(y) FROM f, d, e WHERE f.k = d.k AND f.l = e.k AND d.y + f.x < 20 GROUP BY 1, 2",
        "SELECT z.n, sum(z.v) FROM (SELECT upper(name) AS n, x * y AS v FROM f JOIN d USING (k)) z GROUP BY z.n",
        "SELECT count(*), sum(x) FROM f WHERE k IN (SELECT k FROM twice)",
        "SELECT count(*) FROM f WHERE NOT EXISTS (SELECT 1 FROM twice WHERE twice.k = f.k AND twice.name = 'z')",
        "SELECT l, count(*) FROM f WHERE l NOT IN (SELECT k FROM e) GROUP BY l",
        "SELECT l, count(*) FROM f WHERE k NOT IN (SELECT k FROM e WHERE city > 'Z') GROUP BY l",
        "SELECT l, count(*) FROM f WHERE k NOT IN (SELECT k FROM e) GROUP BY l",
        "SELECT sum(x) FROM f JOIN (SELECT k, count(*) AS n FROM twice GROUP BY k) t ON t.k = f.k WHERE n > 1",
        "SELECT sum(CASE WHEN name LIKE 'n1%' THEN x ELSE 0 END) / sum(x) FROM f JOIN d ON d.k = f.k WHERE f.id < 300",
        "SELECT count(*) FROM f JOIN d ON f.k = d.k WHERE d.k > 1000",
        "SELECT name, count(y), sum(coalesce(y, 7)) FROM f LEFT JOIN d ON f.k = d.k AND up <> 2 GROUP BY 1",
        "SELECT city, count(*) FROM f JOIN d ON d.k = f.k LEFT JOIN e ON e.k = f.l WHERE y IS NULL OR y > 5 GROUP BY 1",
        "SELECT sum(x) FROM f, d WHERE (f.k = d.k AND name = 'n1' AND x > 3) OR (d.k = f.k AND name = 'n2' AND y < 9)"
        " OR (f.k = d.k AND name > 'n2' AND up = 1 AND x < 5)",
        "SELECT s, count(*) FROM f, d, p WHERE f.k = d.k AND p.k = f.k AND p.l = f.l AND name = 'n1' GROUP BY s",
        "SELECT v, b, j, count(*), sum(x) FROM f LEFT JOIN kinds ON f.l = kinds.k GROUP BY v, b, j",
        "SELECT count(v), count(b), count(j), count(u), count(a), sum(x) FROM f LEFT JOIN kinds ON f.l = kinds.k",
        "SELECT s, count(a), count(DISTINCT b) FROM f JOIN kinds ON f.l = kinds.k WHERE u IS NOT NULL GROUP BY s",
    ],
)
def test_a_star_is_answered_by_a_kernel_as_by_the_executor(engine: Engine, sql: str) -> None:
    expected, found = _answers(Session(engine), sql, "relational", "pipeline")
    assert found == expected


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT sum(x) FROM f JOIN twice t ON t.k = f.k", "twice"),
        ("SELECT count(*) FROM f WHERE k NOT IN (SELECT y FROM d)", "NULL"),
        ("SELECT sum(f.x) FROM f JOIN f g ON f.l = g.l", "unique"),
        ("SELECT sum(x + random()) FROM f JOIN d ON f.k = d.k", "another value"),
        ("SELECT sum(x), max(10 / (up - 2)) FROM f JOIN d ON f.k = d.k WHERE up < 2", "fails|division"),
    ],
)
def test_what_is_no_star_is_left_to_the_executor(engine: Engine, sql: str, why: str) -> None:
    session = Session(engine)
    session.execute("SET weft.tier = pipeline")
    if "10 /" not in sql:
        with pytest.raises(weftdb.Invalid, match=why):
            session.execute(sql).rows()
    if "random" not in sql:
        expected, found = _answers(session, sql, "relational", "auto")
        assert found == expected


@pytest.mark.parametrize("far", [1, 10**9])
@pytest.mark.parametrize("kind", ["inner", "left"])
def test_a_side_may_come_in_several_pieces(kind: str, far: int) -> None:
    """Keys close together have ranks, those that are far apart are hashed."""
    type = numeric(12, 2)
    side = Side(
        kind=kind, keys=(Column(id=1, type=BIGINT),), columns=((-1, BIGINT), (-2, type), (-3, TEXT), (-4, DOUBLE))
    )
    whole = pa.table(
        {
            "k": pa.array([None if key is None else far * key for key in (5, None, 2, 9, 4)], pa.int64()),
            "v": pa.array([50, 1, 20, None, 40], pa.int64()),
            "n": pa.array([Decimal("-5.25"), None, Decimal(2), Decimal(9), None], pa.decimal128(12, 2)),
            "s": pa.array(["five", "none", None, "nine", "five"]),
            "x": pa.array([5.5, 0.0, -0.0, None, 4.0]),
        }
    )
    pieces = pa.concat_tables([whole[:1], whole[1:1], whole[1:4], whole[4:]])
    assert pieces.column(0).num_chunks > 2
    one, other = built(whole, side), built(pieces, side)
    assert (one.hashed, one.rows_count, one.has_null) == (far > 1, 4, True)
    assert (one.keys, one.places, one.none) == (other.keys, other.places, other.none)
    for left, right in zip(one.columns, other.columns, strict=True):
        assert (left.values.tolist(), left.bounds) == (right.values.tolist(), right.bounds)
        assert (left.valid is None) == (right.valid is None)
        assert left.valid is None or right.valid is None or left.valid.tolist() == right.valid.tolist()
    assert sorted(one.columns[0].values.tolist()) == [0] * (len(one.columns[0].values) - 3) + [20, 40, 50]
    assert [column.bounds for column in one.columns[:2]] == [(20, 50), (-525, 900)]
    texts = one.columns[2].texts
    assert texts is not None
    assert set(texts.to_pylist()) >= {"five", "nine"}


def test_a_side_of_many_rows_is_left_to_the_executor(engine: Engine) -> None:
    session = Session(engine)
    kernels = resources_of(engine).kernels
    assert isinstance(kernels, Interpreted)
    sql = "SELECT sum(x) FROM f JOIN d ON f.k = d.k"
    before, kernels.side_cost = kernels.used, 100
    try:
        expected = _answers(session, sql, "relational", "auto")
        assert kernels.used == before
    finally:
        kernels.side_cost = 0
    assert _answers(session, sql, "auto") == expected[:1]
    assert kernels.used > before


def test_sides_are_counted_as_memory_and_a_lack_of_it_is_not_remembered(engine: Engine) -> None:
    session = Session(engine)
    held = resources_of(engine).kernels.held
    sql = "SELECT city, sum(x), count(*) FROM f, d, e WHERE f.k = d.k AND d.up = e.k AND city > 'A' GROUP BY city"
    before, held.limit = held.limit, 100
    try:
        expected, found = _answers(session, sql, "relational", "auto")
        assert found == expected
        session.execute("SET weft.tier = pipeline")
        with pytest.raises(weftdb.Invalid, match="joined sides need more memory than pipelines may take"):
            session.execute(sql)
    finally:
        held.limit = before
    kernels = resources_of(engine).kernels
    assert isinstance(kernels, Interpreted)
    count = kernels.used
    assert _answers(session, sql, "auto") == [expected]
    assert kernels.used > count
    gc.collect()  # an error that was caught holds its frames, and these arrays, until then
    assert held.bytes == 0


def test_explain_says_what_a_table_is_joined_with(engine: Engine) -> None:
    session = Session(engine)
    session.execute("SET weft.tier = auto")
    sql = "SELECT city, sum(x) FROM f, d, e WHERE f.k = d.k AND d.up = e.k GROUP BY city"
    lines = [row[0] for row in session.execute(f"EXPLAIN ANALYZE {sql}").rows()]
    assert "Choice: Pipeline, since kernels group f, joined with d and e," in lines
    assert len([line for line in lines if "rows looked at" in line]) == 3


def test_random_stars_are_answered_alike_at_both_tiers() -> None:
    """The long run is ``fuzz_stars.py``."""
    counts: Counter[str] = Counter()
    for seed in (soak.SEED, soak.SEED + 1):
        assert not list(differences(seed, range(25 * soak.FACTOR), of=STARS, counts=counts))
    assert counts["reached"] > 5


def test_random_stars_are_answered_alike_by_compiled_kernels(tmp_path: Path) -> None:
    """The long run is ``fuzz_stars.py --compiled``."""
    counts: Counter[str] = Counter()
    found = differences(soak.SEED, range(4 * soak.FACTOR), of=STARS, counts=counts, folder=tmp_path, structures=2)
    assert not list(found)
