"""MERGE does for each row of the source what the first WHEN that holds says, as a loop over the rows would.

The loop (``Loop``) and PostgreSQL 15 agree on the statements that ``statement`` draws: 1,500 of seeds 0 to 59.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import weftdb
from weftdb.base.errors import Invalid
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.sql.session import Session

Row = tuple[int, int | None, str | None]


@pytest.fixture
def db() -> Iterator[Session]:
    with Engine.open(options=Options(maintenance=False)) as engine:
        yield Session(engine)


@dataclass(frozen=True)
class When:
    """A clause as text, and what it does: ``holds`` and ``becomes`` of (target's row or None, source's row)."""

    text: str
    matched: bool
    holds: Callable[[Row | None, Row], bool | None]
    becomes: Callable[[Row | None, Row], Row | None]
    nothing: bool = False


def plus(*values: int | None) -> int | None:
    return None if None in values else sum(values)  # pyright: ignore[reportArgumentType]


WHENS = [
    When("MATCHED THEN DELETE", True, lambda t, s: True, lambda t, s: None),
    When("MATCHED AND s.a IS NULL THEN DELETE", True, lambda t, s: s[1] is None, lambda t, s: None),
    When("MATCHED AND t.a > 3 THEN DO NOTHING", True, lambda t, s: (t[1] or 0) > 3, lambda t, s: t, True),
    When("MATCHED THEN UPDATE SET a = t.a + s.a", True, lambda t, s: True, lambda t, s: (t[0], plus(t[1], s[1]), t[2])),
    When(
        "MATCHED AND s.b = t.b THEN UPDATE SET b = s.b || t.id, a = DEFAULT",
        True,
        lambda t, s: s[2] is not None and s[2] == t[2],
        lambda t, s: (t[0], 5, f"{s[2]}{t[0]}"),
    ),
    When(
        "MATCHED AND 10 / nullif(s.a, 0) > 2 THEN UPDATE SET (b, a) = ('x', NULL)",
        True,
        lambda t, s: bool(s[1]) and int(10 / s[1]) > 2,
        lambda t, s: (t[0], None, "x"),
    ),
    When(
        "NOT MATCHED AND s.a < 3 THEN DO NOTHING",
        False,
        lambda t, s: s[1] is not None and s[1] < 3,
        lambda t, s: t,
        True,
    ),
    When(
        "NOT MATCHED AND s.b = 'q' THEN INSERT (id, b) VALUES (s.id, upper(s.b))",
        False,
        lambda t, s: s[2] == "q",
        lambda t, s: (s[0], 5, "Q"),
    ),
    When("NOT MATCHED THEN INSERT VALUES (s.id, s.a)", False, lambda t, s: True, lambda t, s: (s[0], s[1], None)),
    When(
        "NOT MATCHED THEN INSERT (b, a, id) VALUES ('n', DEFAULT, s.id)",
        False,
        lambda t, s: True,
        lambda t, s: (s[0], 5, "n"),
    ),
]  # fmt: skip


def rows_of(draw: random.Random, ids: list[int]) -> list[Row]:
    return [(id, draw.choice([None, *range(6)]), draw.choice([None, "p", "q", "r"])) for id in ids]


def values(rows: list[Row]) -> str:
    return ", ".join("(" + ", ".join("NULL" if v is None else repr(v) for v in row) + ")" for row in rows)


def statement(draw: random.Random) -> tuple[str, list[Row], list[When]]:
    """A MERGE of a table t (id, a DEFAULT 5, b) with a source, the source's rows, and the clauses."""
    ids = draw.choices(range(12), k=5) if draw.random() < 0.2 else draw.sample(range(12), 6)
    source = rows_of(draw, ids)
    whens: list[When] = []
    for when in draw.sample(WHENS, draw.randrange(1, 5)):
        if not any(" AND " not in known.text.split(" THEN ")[0] and known.matched is when.matched for known in whens):
            whens.append(when)
    text = f"MERGE INTO t USING (VALUES {values([(0, 0, 'x'), *source])}) AS s (id, a, b) ON t.id = s.id AND s.id < 10"
    if draw.random() < 0.5:
        text = (
            f"WITH w AS (SELECT * FROM (VALUES {values([(0, 0, 'x'), *source])}) AS v (id, a, b)) "
            "MERGE INTO t USING w AS s ON s.id = t.id AND s.id < 10"
        )
    return text + "".join(f" WHEN {when.text}" for when in whens), [(0, 0, "x"), *source], whens


class Loop:
    """The rows of the target by id."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = {row[0]: row for row in rows}

    def merge(self, source: list[Row], whens: list[When]) -> int | str:
        """How many rows were changed, or the code of the error."""
        before, after, touched, count = dict(self.rows), dict(self.rows), set[int](), 0
        for s in source:
            t = before.get(s[0]) if s[0] < 10 else None
            chosen = next((w for w in whens if w.matched is (t is not None) and w.holds(t, s)), None)
            if chosen is None or chosen.nothing:
                continue
            count += 1
            row = chosen.becomes(t, s)
            if t is not None and t[0] in touched:
                return "21000"
            if t is not None:
                touched.add(t[0])
                del after[t[0]]
            if row is not None:
                if row[0] in after:
                    return "23505"
                after[row[0]] = row
        self.rows = after
        return count


def outcome(session: Session, text: str) -> int | str | None:
    try:
        return session.execute(text).rows_affected
    except Invalid as error:
        return error.sqlstate


@pytest.mark.parametrize("seed", range(4))
def test_a_merge_does_what_a_loop_over_the_source_does(db: Session, seed: int) -> None:
    draw = random.Random(seed)
    db.execute("CREATE TABLE t (id INT PRIMARY KEY, a INT DEFAULT 5, b TEXT)")
    outcomes: set[str] = set()
    for _ in range(25):
        db.execute("TRUNCATE t")
        rows = rows_of(draw, draw.sample(range(12), 6))
        db.execute(f"INSERT INTO t VALUES {values(rows)}")
        loop = Loop(rows)
        text, source, whens = statement(draw)
        expected, found = loop.merge(source, whens), outcome(db, text)
        assert found == expected or {found, expected} == {"21000", "23505"}, text  # either comes first
        outcomes.add(type(expected).__name__)
        assert sorted(db.execute("SELECT * FROM t").rows()) == sorted(loop.rows.values()), text
    assert "int" in outcomes


@pytest.mark.parametrize("key", ["id INT PRIMARY KEY", "id INT"])
def test_a_merge_of_many_rows_is_one_statement(db: Session, key: str) -> None:
    db.execute(f"CREATE TABLE t ({key}, n INT)")
    db.execute("INSERT INTO t SELECT i, 0 FROM generate_series(1, 60000) AS g(i)")
    source = "(SELECT i AS id, i % 3 AS k FROM generate_series(50001, 200000) AS g(i))"
    clauses = """WHEN MATCHED AND s.k = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET n = t.id
                 WHEN NOT MATCHED AND s.k < 2 THEN INSERT VALUES (s.id, -1)"""
    merged = db.execute(f"MERGE INTO t USING {source} AS s ON t.id = s.id {clauses}")
    expected = (
        "SELECT count(*) FILTER (WHERE n = 0), count(*) FILTER (WHERE n = id), count(*) FILTER (WHERE n < 0) FROM t"
    )
    assert db.execute(expected).rows() == [(50_000, 6_666, 93_333)]
    assert merged.tag == "MERGE 103333"
    twice = f"{source[:-1]} UNION ALL SELECT 50002, 1)"
    assert outcome(db, f"MERGE INTO t USING {twice} AS s ON t.id = s.id WHEN MATCHED THEN UPDATE SET n = 7") == "21000"
    assert db.execute(expected).rows() == [(50_000, 6_666, 93_333)]
    db.execute("BEGIN")
    db.execute("MERGE INTO t USING (VALUES (1), (2)) AS s (k) ON id = k WHEN MATCHED THEN DELETE")
    db.execute(
        "MERGE INTO t USING (VALUES (1), (2)) AS s (k) ON id = k WHEN NOT MATCHED THEN INSERT VALUES (k, $1)", [9]
    )
    db.execute("COMMIT")
    assert db.execute("SELECT * FROM t WHERE n = 9 ORDER BY id").rows() == [(1, 9), (2, 9)]


def test_a_merge_keeps_constraints_and_unique_indexes(db: Session) -> None:
    db.execute("CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE, n INT CHECK (n > 0))")
    db.execute("INSERT INTO t VALUES (1, 10, 1), (2, 20, 1)")
    merge = "MERGE INTO t USING (VALUES (1), (3)) AS s (k) ON id = k WHEN MATCHED THEN"
    insert = "WHEN NOT MATCHED THEN INSERT VALUES"
    assert outcome(db, f"{merge} UPDATE SET u = 20 {insert} (k, 30, 1)") == "23505"
    assert outcome(db, f"{merge} UPDATE SET n = 0 {insert} (k, 30, 1)") == "23514"
    assert outcome(db, f"{merge} UPDATE SET id = 2 {insert} (k, 30, 1)") == "23505"
    assert outcome(db, f"{merge} DELETE {insert} (k, 10, 1)") == 2
    assert outcome(db, f"{merge} UPDATE SET id = 7, u = NULL {insert} (k, 40, 1)") == 2
    assert db.execute("SELECT * FROM t ORDER BY id").rows() == [(1, 40, 1), (2, 20, 1), (7, None, 1)]


def test_what_a_merge_cannot_be_is_refused_by_name(db: Session) -> None:
    db.execute("CREATE TABLE t (id INT PRIMARY KEY, a INT)")
    db.execute("CREATE VIEW v AS SELECT * FROM t")
    for text, message, sqlstate in [
        ("WHEN NOT MATCHED BY SOURCE THEN DELETE", "NOT MATCHED BY SOURCE", "0A000"),
        ("WHEN MATCHED THEN DELETE RETURNING id", "RETURNING", "0A000"),
        ("WHEN MATCHED THEN INSERT VALUES (1)", "MATCHED cannot INSERT", "42601"),
        ("WHEN NOT MATCHED THEN DELETE", "NOT MATCHED", "42601"),
        ("WHEN NOT MATCHED THEN INSERT VALUES (t.id)", "invalid reference", "42P01"),
        ("WHEN NOT MATCHED THEN INSERT VALUES (1, 2, 3)", "more expressions", "42601"),
        ("WHEN NOT MATCHED THEN INSERT (id, id) VALUES (1, 2)", "more than once", "42701"),
        ("WHEN MATCHED THEN DELETE WHEN MATCHED THEN DELETE", "unreachable WHEN", "42601"),
        ("WHEN MATCHED THEN UPDATE SET nope = 1", "does not exist", "42703"),
        ("WHEN MATCHED AND 1 THEN DELETE", "boolean", "42804"),
    ]:
        with pytest.raises(weftdb.WeftError, match=message) as refused:
            db.execute(f"MERGE INTO t USING t AS s ON t.id = s.id {text}")
        assert refused.value.sqlstate == sqlstate, text
    with pytest.raises(Invalid, match="view"):
        db.execute("MERGE INTO v USING t AS s ON v.id = s.id WHEN MATCHED THEN DELETE")
    plan: Any = db.execute("EXPLAIN MERGE INTO t USING t AS s ON t.id = s.id WHEN MATCHED THEN DELETE").rows()
    assert plan[0] == ("Merge on t",)
    assert db.execute("MERGE INTO t USING t AS s ON t.id = s.id WHEN MATCHED THEN DELETE").tag == "MERGE 0"
