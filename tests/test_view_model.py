"""Materialized views against the recomputation of their query: random tables, views, transactions, snapshots, restarts.

After every step, at every snapshot that is still open, each view shows what its query gives at that version: floats to
1e-9 of the sum of absolutes, all else exactly.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import soak
import weftdb
from from_rows import from_rows, from_views
from weftdb.base.errors import WeftError

STEPS = 40
CHANCES = {
    "write": 14, "transaction": 6, "view": 3, "drop": 1, "flush": 2, "restart": 1, "snapshot": 3, "alter": 0.5,
}  # fmt: skip
KEYS = (
    "k",
    "s",
    "d",
    "flag",
    "n",
    "time_bucket('1 day', at)",
    "time_bucket('1 month', at)",
    "k % 3",
    "z",
    "y",
    "r",
    "coalesce(s, 'none')",
)
VALUES = ("x", "y", "z", "b", "n", "x * 2", "y * 0.5", "z + 1", "x / n", "abs(b)", "r")
ORDERED = (*VALUES, "y", "s", "d", "at", "coalesce(s, 'z')", "at + interval '1 day'")
EXTREMES = ("min({})", "max({})", "count(DISTINCT {})")
SPREADS = ("var_samp", "var_pop", "variance", "stddev", "stddev_pop", "stddev_samp")
SPREAD_OF = ("x", "z", "b", "n", "r", "x / n", "CASE WHEN abs(y) <> 1e300 THEN y END", "z::float8", "y")
TRUTHS = ("flag", "x > 0", "y < 1 OR flag", "10 / n > 1")
WHERES = ("", "", " WHERE x > 0", " WHERE s IS NOT NULL", " WHERE s LIKE 'a%' OR y < 0", " WHERE 10 / n > 1")
FILTERS = ("", "", "", " FILTER (WHERE x > 0)", " FILTER (WHERE flag)")
DDL = """CREATE TABLE t (k BIGINT NOT NULL, at TIMESTAMP NOT NULL, id BIGINT NOT NULL, x INT, y DOUBLE PRECISION,
z NUMERIC(20,3), b BIGINT, r REAL, s TEXT, d DATE, flag BOOLEAN, n SMALLINT{primary})"""
PRIMARY = ", PRIMARY KEY (k, at, id)) WITH (key = 'k', time = 'at', every = '7 days', shards = 2"
PRIMARY_SMALL = ", PRIMARY KEY (id)"


def view(draw: random.Random) -> str:
    """A query that a view can be of."""
    keys = draw.sample(KEYS, draw.randint(1, 3))
    columns = [f"{key} AS k{place}" for place, key in enumerate(keys)]
    for place in range(draw.randint(1, 4)):
        function, filter = draw.choice(("count", "sum", "avg", "avg")), draw.choice(FILTERS)
        if draw.random() < 0.2:
            columns.append(f"{draw.choice(('bool_and', 'bool_or'))}({draw.choice(TRUTHS)}){filter} AS b{place}")
        if draw.random() < 0.6:
            columns.append(f"{draw.choice(EXTREMES).format(draw.choice(ORDERED))}{draw.choice(FILTERS)} AS e{place}")
        if draw.random() < 0.3:
            columns.append(f"{draw.choice(SPREADS)}({draw.choice(SPREAD_OF)}){draw.choice(FILTERS)} AS s{place}")
        argument = "*" if function == "count" and draw.random() < 0.5 else draw.choice(VALUES)
        more = draw.choice(("", "", " + 1")) if function == "count" else ""
        columns.append(f"{function}({argument}){filter}{more} AS a{place}")
    draw.shuffle(columns)
    return f"SELECT {', '.join(columns)} FROM t{draw.choice(WHERES)} GROUP BY {', '.join(keys)}"


def value(draw: random.Random, name: str) -> str:
    if name not in ("k", "at", "id") and draw.random() < 0.15:
        return "NULL"
    match name:
        case "k":
            return str(draw.randint(0, 3))
        case "at":
            return f"'2026-0{draw.randint(1, 3)}-{draw.randint(10, 12)} 0{draw.randint(0, 9)}:00'"
        case "id":
            return str(draw.randint(1, 40))
        case "x":
            return str(draw.choice((0, 1, -1, 7, 2**31 - 1, -(2**31), 12345)))
        case "b":
            return str(draw.choice((0, 3, -4, 2**63 - 1, 2**62, -(2**62))))
        case "y":
            return draw.choice(("0.1", "-0.0", "1e300", "-1e300", "2.5", "1e-200", "'NaN'", "'Infinity'", "3.3", "0.7"))
        case "r":
            return draw.choice(("0.1", "1.5", "-3e38", "0"))
        case "z":
            return draw.choice(("0", "1.5", "-2.125", "99999999999999999.999", "0.001"))
        case "s":
            return draw.choice(("'a'", "'b'", "'ab'", "''"))
        case "d":
            return draw.choice(("'2026-01-01'", "'1999-12-31'"))
        case "flag":
            return draw.choice(("true", "false"))
        case _:
            return str(draw.choice((1, 2, 3, -7)))


COLUMNS = ("k", "at", "id", "x", "y", "z", "b", "r", "s", "d", "flag", "n")
OTHERS = COLUMNS[3:]


def row(draw: random.Random) -> str:
    return f"({', '.join(value(draw, name) for name in COLUMNS)})"


def change(draw: random.Random, *, primary: bool) -> str:
    """A statement that writes."""
    where = draw.choice(("id % 3 = 1", "k = 2", "x > 0", "id < 10", "flag", "at < '2026-02-01'"))
    kinds = (
        ["insert"] * 4
        + ["delete", "update", "update"]
        + (["upsert"] * 3 if primary else [])
        + ["truncate"] * (draw.random() < 0.1)
    )
    match draw.choice(kinds):
        case "insert":
            return f"INSERT INTO t VALUES {', '.join(row(draw) for _ in range(draw.randint(1, 9)))}"
        case "upsert":
            ids = draw.sample(range(1, 41), draw.randint(1, 9))
            rows = ", ".join(row(draw) for _ in ids)
            return f"INSERT INTO t VALUES {rows} ON CONFLICT DO NOTHING"
        case "delete":
            return f"DELETE FROM t WHERE {where}"
        case "truncate":
            return "TRUNCATE t"
        case _:
            name = draw.choice(OTHERS)
            return f"UPDATE t SET {name} = {value(draw, name)} WHERE {where}"


def answer(run: Callable[[Any, str], Any], reader: Any, query: str) -> list[Any] | str:
    """The rows, floats as they are; or the error."""
    try:
        return sorted(run(reader, query).rows(), key=lambda row: tuple((v is None, str(v)) for v in row))
    except WeftError as error:
        return error.sqlstate or ""


def by_keys(rows: list[Any], places: list[int]) -> dict[tuple[str, ...], Any]:
    found = {
        tuple("0.0" if row[p] == 0 and isinstance(row[p], float) else str(row[p]) for p in places): row for row in rows
    }
    assert len(found) == len(rows), "groups are distinct"
    return found


def scale(reader: Any) -> float:
    """No sum of absolutes of the table is beyond this."""
    total = reader.execute(
        "SELECT coalesce(sum(abs(y)) FILTER (WHERE abs(y) < 1e308), 0) + coalesce(sum(abs(r::float8)), 0) FROM t"
    ).scalar()
    return float(total) + 1.0


def compare(reader: Any, name: str, query: str) -> None:
    shown, right = answer(from_views, reader, f"SELECT * FROM {name}"), answer(from_rows, reader, query)
    if isinstance(shown, str) or isinstance(right, str):
        # Sums that overflow on the way, and those that only their result's type cannot hold, are errors of both.
        assert isinstance(right, str) or shown == "22003", (query, shown, right)
        return
    names = [part.rsplit(" AS ", 1)[1] for part in query[7 : query.index(" FROM t")].split(", ") if " AS " in part]
    places = [place for place, label in enumerate(names) if label.startswith("k")]
    left, other = by_keys(shown, places), by_keys(right, places)
    assert left.keys() == other.keys(), (query, left.keys() ^ other.keys())
    bound = None
    for key, values in left.items():
        for label, a, b in zip(names, values, other[key], strict=True):
            if isinstance(a, float) and isinstance(b, float) and a != b and not (math.isnan(a) and math.isnan(b)):
                if label.startswith("s"):  # of values that are the same, or far apart
                    assert math.isclose(a, b, rel_tol=1e-9), (query, key, a, b)
                    continue
                bound = scale(reader) if bound is None else bound
                assert abs(a - b) <= 1e-9 * bound, (query, key, a, b)
            else:
                assert a == b or (isinstance(a, float) and math.isnan(a)), (query, key, a, b)


class World:
    """A database with views, and snapshots of it."""

    def __init__(self, draw: random.Random, path: Path) -> None:
        self.draw, self.path = draw, path
        self.db = weftdb.open(path)
        self.primary = draw.choice((PRIMARY, PRIMARY_SMALL, ""))
        self.db.execute(DDL.format(primary=self.primary))
        self.views: dict[str, str] = {}
        self.numbers = itertools.count()
        self.snapshots: list[Any] = []

    def step(self) -> None:
        draw = self.draw
        what = draw.choices(
            ("write", "transaction", "view", "drop", "flush", "restart", "snapshot", "alter"),
            (14, 6, 3, 1, 2, 1, 3, 0.5),
        )[0]
        match what:
            case "write":
                self.run(self.db, change(draw, primary=bool(self.primary)))
            case "transaction":
                self.transaction()
            case "view" if len(self.views) < 5:
                self.make_view(self.db)
            case "drop" if self.views:
                name = draw.choice(sorted(self.views))
                self.db.execute(f"DROP MATERIALIZED VIEW {name}")
                del self.views[name]
                self.close_snapshots()
            case "flush":
                self.db.engine.maintenance.flush()
            case "restart":
                self.close_snapshots()
                self.db.close()
                self.db = weftdb.open(self.path)
            case "snapshot":
                if len(self.snapshots) > 2:
                    self.snapshots.pop(0)[0].close()
                self.snapshots.append((self.db.snapshot(), dict(self.views)))
            case "alter":
                self.db.execute(f"ALTER TABLE t ADD COLUMN c{next(self.numbers)} INT DEFAULT 5")
            case _:
                pass
        self.check()

    def make_view(self, on: Any) -> None:
        name, query = f"v{next(self.numbers)}", view(self.draw)
        try:
            on.execute(f"CREATE MATERIALIZED VIEW {name} AS {query}")
        except WeftError as error:
            if error.sqlstate not in ("22003", "22012", "0A000"):
                raise
            return
        self.views[name] = query

    def run(self, on: Any, text: str) -> None:
        try:
            on.execute(text)
        except WeftError as error:
            if error.sqlstate not in ("22003", "23505", "22012", "21000"):
                raise

    def transaction(self) -> None:
        draw, keep = self.draw, dict(self.views)
        txn = self.db.transaction()
        try:
            with txn as t:
                if draw.random() < 0.1:
                    self.make_view(t)
                for _ in range(draw.randint(1, 4)):
                    try:
                        t.execute(change(draw, primary=bool(self.primary)))
                    except WeftError:
                        raise _Undone from None
                    for name, query in self.views.items():
                        compare(t, name, query)
                if draw.random() < 0.3:
                    raise _Undone
        except _Undone:
            self.views = keep

    def check(self) -> None:
        for name, query in self.views.items():
            compare(self.db, name, query)
        for snapshot, views in self.snapshots:
            for name, query in views.items():
                compare(snapshot, name, query)

    def close_snapshots(self) -> None:
        for snapshot, _ in self.snapshots:
            snapshot.close()
        self.snapshots.clear()


class _Undone(Exception):
    pass


def worlds(count: int) -> Iterator[int]:
    return iter(range(1000 * soak.SEED, 1000 * soak.SEED + count))


@pytest.mark.parametrize("seed", list(worlds(4 * soak.FACTOR)))
def test_views_show_what_their_queries_give(seed: int, tmp_path: Path) -> None:
    world = World(random.Random(seed), tmp_path / "data")
    try:
        for _ in range(STEPS):
            world.step()
    finally:
        world.close_snapshots()
        world.db.close()
