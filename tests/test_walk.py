"""A walk passes over the fields that hold no nodes, and over no others (sql/walk.py)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import weftdb
from weftdb.sql import bound, walk
from weftdb.sql.execution import Execution

_QUERIES = (
    "SELECT k, count(*) FILTER (WHERE x > 1) AS n FROM t WHERE x BETWEEN $1 AND 7 GROUP BY k HAVING count(*) > 1",
    "SELECT a.k, b.x FROM t AS a JOIN t AS b USING (k) WHERE a.x IN (SELECT x FROM t) ORDER BY 1 LIMIT 3 OFFSET 1",
    "WITH c AS MATERIALIZED (SELECT k FROM t) SELECT k FROM c UNION ALL VALUES (1), (2) ORDER BY k",
    "SELECT sum(x) OVER (PARTITION BY k ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t",
    "SELECT k, x, sum(x) FROM t GROUP BY GROUPING SETS ((k), (k, x), ())",
    "SELECT CASE WHEN x > 1 THEN 'a' ELSE 'b' END, x::text, EXISTS (SELECT 1 FROM t) FROM t",
    "SELECT k FROM t, generate_series(1, 3) AS g(v) WHERE x = ANY (SELECT x FROM t WHERE k = v)",
)


def _naive(node: Any) -> Iterator[Any]:
    """All nodes, by all fields."""
    if isinstance(node, tuple):
        for item in node:
            yield from _naive(item)
    elif dataclasses.is_dataclass(node):
        yield node
        if not isinstance(node, walk._LEAVES):
            for field in dataclasses.fields(node):
                if field.name not in ("type", "columns"):
                    yield from _naive(getattr(node, field.name))


@pytest.mark.parametrize("sql", _QUERIES)
def test_a_walk_meets_all_nodes_in_the_order_of_their_fields(sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds: list[bound.BoundQuery] = []
    bind = Execution.bind

    def noted(self: Execution, *arguments: Any, **named: Any) -> bound.BoundQuery:
        bounds.append(bind(self, *arguments, **named))
        return bounds[-1]

    monkeypatch.setattr(Execution, "bind", noted)
    with weftdb.open() as db:
        db.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, x INTEGER)")
        db.execute(sql, [1] if "$1" in sql else [])
    assert len(bounds) == 1
    found = list(walk.walk(bounds[0].query))
    assert len(found) > 5
    assert list(map(id, found)) == list(map(id, _naive(bounds[0].query)))
