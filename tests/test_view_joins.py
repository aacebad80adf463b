"""What groups of views are joined with, case by case; at random in test_view_matching.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from from_rows import from_rows, from_views
from weftdb.base.types import BIGINT, DOUBLE, TEXT, Type
from weftdb.engine.aggregates.partners import Partners
from weftdb.engine.pipeline.shape import NotCovered


@pytest.fixture
def shop(db: Any) -> Any:
    db.execute(
        "CREATE TABLE f (k INT NOT NULL, at TIMESTAMP NOT NULL, id BIGINT NOT NULL, x INT, PRIMARY KEY (k, at, id)) "
        "WITH (key = 'k', time = 'at', every = '7 days');"
        "CREATE TABLE d (id INT PRIMARY KEY, city TEXT, country TEXT, rate NUMERIC(6,2));"
        "CREATE TABLE loose (id INT, name TEXT)"
    )
    db.execute(
        "INSERT INTO f SELECT i % 7, '2026-01-01'::timestamp + i * interval '13 minutes', i, i % 11 "
        "FROM generate_series(1, 5000) AS g(i)"
    )
    db.execute("INSERT INTO d VALUES (0,'Trier','DE',1.5), (1,'Metz','FR',2), (2,'Ulm','DE',NULL), (3,NULL,'DE',3)")
    db.execute("INSERT INTO loose VALUES (1, 'one'), (2, 'two'), (NULL, 'none')")
    db.execute(
        "CREATE MATERIALIZED VIEW hourly AS SELECT k, time_bucket('1 hour', at) AS hour, sum(x) AS sx FROM f "
        "GROUP BY 1, 2"
    )
    return db


def explained(on: Any, query: str) -> list[str]:
    return [line.strip() for (line,) in on.execute(f"EXPLAIN {query}").rows()]


def ask(on: Any, query: str) -> list[Any]:
    """The rows of a query that a view answers, as it is asked and from rows."""
    assert "View hourly answers for f, since" in explained(on, query), query
    ran = [line for (line,) in on.execute(f"EXPLAIN ANALYZE {query}").rows()]
    assert any("View hourly for f:" in line for line in ran), ran
    found = sorted(from_views(on, query).rows(), key=repr)
    assert found == sorted(from_rows(on, query).rows(), key=repr)
    return found


BY_CITY = (
    "SELECT d.city, sum(f.x) FROM f JOIN d ON f.k = d.id WHERE d.country = 'DE' AND f.at >= '2026-01-03 10:30' "
    "GROUP BY d.city"
)


def test_groups_are_joined_as_their_rows_are(shop: Any) -> None:
    assert len(ask(shop, BY_CITY)) == 3
    lines = explained(shop, BY_CITY)
    assert "joined with d by k, what the view groups by" in lines
    assert "d.city is the same for all rows of a group" in lines
    found = ask(shop, "SELECT d.city, count(*), count(d.rate) FROM f LEFT JOIN d ON f.k = d.id GROUP BY d.city")
    assert (None, 5000 - 714 - 715 - 715, 714) in found
    ask(shop, "SELECT k, sum(x) FROM f WHERE k IN (SELECT id FROM d WHERE country = 'DE') GROUP BY k")
    ask(shop, "SELECT sum(x) FROM f WHERE NOT EXISTS (SELECT 1 FROM d WHERE d.id = f.k)")


def test_rows_of_the_ends_of_a_window_are_joined_too(shop: Any) -> None:
    shop.execute(
        "INSERT INTO f VALUES (0, '2026-01-03 10:45', 9001, 1000), (2, '2026-01-20 07:05', 9002, 500), "
        "(1, '2026-01-03 10:50', 9003, 7), (5, '2026-01-03 10:55', 9004, 9)"
    )
    narrower = BY_CITY.replace(" GROUP BY", " AND f.at < '2026-01-20 07:10' GROUP BY")
    whole = narrower.replace("10:30", "11:00").replace("07:10", "07:00")
    more, less = dict(ask(shop, narrower)), dict(ask(shop, whole))
    assert more["Trier"] >= less["Trier"] + 1000
    assert more["Ulm"] >= less["Ulm"] + 500


def test_a_joined_table_is_read_at_the_same_snapshot(shop: Any) -> None:
    before = ask(shop, BY_CITY)
    with shop.snapshot() as then:
        shop.execute("UPDATE d SET city = 'Bonn' WHERE id = 0")
        assert sorted(then.execute(BY_CITY).rows(), key=repr) == before
    assert "Bonn" in [city for city, _ in ask(shop, BY_CITY)]
    with shop.transaction() as txn:
        txn.execute("DELETE FROM d WHERE id = 0")
        assert "Bonn" not in [city for city, _ in ask(txn, BY_CITY)]
        txn.rollback()
    assert "Bonn" in [city for city, _ in ask(shop, BY_CITY)]


def test_not_in_knows_of_null(shop: Any) -> None:
    query = "SELECT count(*) FROM f WHERE k NOT IN (SELECT id FROM loose{})"
    assert ask(shop, query.format("")) == [(0,)]
    assert ask(shop, query.format(" WHERE id IS NOT NULL")) == [(5000 - 715 - 715,)]
    assert ask(shop, query.format(" WHERE name = 'nobody'")) == [(5000,)]
    assert ask(shop, query.format(" WHERE name = 'none'")) == [(0,)]


def test_a_group_whose_key_is_null_is_in_nothing_and_not_in_nothing_alone(shop: Any) -> None:
    shop.execute("CREATE MATERIALIZED VIEW by_x AS SELECT x, count(*) AS n FROM f GROUP BY x")
    shop.execute("DROP MATERIALIZED VIEW hourly; UPDATE f SET x = NULL WHERE x = 3")
    count = shop.execute("SELECT count(*) FROM f WHERE x IS NULL").scalar()
    assert count > 0
    for condition in (" WHERE name = 'nobody'", " WHERE name = 'one'", ""):
        query = f"SELECT x, count(*) FROM f WHERE x NOT IN (SELECT id FROM loose{condition}) GROUP BY x"
        assert "View by_x answers for f, since" in explained(shop, query)
        found = from_views(shop, query).rows()
        assert sorted(found, key=repr) == sorted(from_rows(shop, query).rows(), key=repr)
        assert ((None, count) in found) == ("nobody" in condition)


def test_a_key_that_is_there_twice_is_joined_without_views(shop: Any) -> None:
    """Not so where it is only asked whether it is there."""
    ways = (("JOIN", 2, 3), ("LEFT JOIN", 3, 4))
    query = "SELECT name, sum(x) FROM f {} loose ON k = loose.id GROUP BY name"
    for join, once, _ in ways:
        assert len(ask(shop, query.format(join))) == once
    shop.execute("INSERT INTO loose VALUES (2, 'again')")
    for join, _, twice in ways:
        assert len(from_views(shop, query.format(join)).rows()) == twice
        ran = [line for (line,) in shop.execute(f"EXPLAIN ANALYZE {query.format(join)}").rows()]
        assert any("a joined side has a key twice" in line for line in ran), ran
    assert ask(shop, "SELECT count(*) FROM f WHERE k IN (SELECT id FROM loose)") == [(715 + 715,)]
    assert ask(shop, "SELECT count(*) FROM f WHERE NOT EXISTS (SELECT 1 FROM loose WHERE loose.id = k)") == [(3570,)]


def test_what_is_not_looked_up_is_said(shop: Any) -> None:
    lines = explained(shop, "SELECT sum(f.x * d.rate) FROM f JOIN d ON f.k = d.id")
    assert any("is of what is joined, which is not kept" in line for line in lines)
    lines = explained(shop, "SELECT d.city, sum(f.x) FROM f JOIN d ON f.x = d.id WHERE d.country = 'DE' GROUP BY 1")
    assert "not View hourly: it does not group by x, by which d is joined" in lines
    made = next(line for line in lines if line.startswith("this one would: "))
    assert made.endswith("AS SELECT x, sum(x), count(x) FROM f GROUP BY x"), made


@pytest.mark.parametrize(
    ("type", "known", "asked", "places"),
    [
        (BIGINT, [5, None, -7], [-7, 5, 6, None], [2, 0, -1, -1]),
        (DOUBLE, [-0.0, float("nan"), None], [0.0, float("nan"), 1.0, None], [0, 1, -1, -1]),
        (TEXT, ["", "a", None, "a\0"], ["a\0", "", "b", None, "a"], [3, 0, -1, -1, 1]),
    ],
)
def test_partners_are_found_by_value(type: Type, known: list[Any], asked: list[Any], places: list[int]) -> None:
    rows = pa.table([pa.array(known, type.arrow), pa.array(range(len(known)), pa.int64())], names=["k", "n"])
    batch = pa.RecordBatch.from_arrays([pa.array(range(len(asked)))], names=["1"])
    keys = [pa.array(asked, type.arrow)]

    def joined(kind: str, *, null_matters: bool = False) -> list[Any]:
        names = ["-1"] if kind in ("inner", "left") else []
        of = rows if names else rows.select(["k"])
        side = Partners(of, kind=kind, types=[type], names=names, null_matters=null_matters)
        return list(zip(*(column.to_pylist() for column in side.joined(batch, keys).columns), strict=True))

    pairs = [(row, place if place >= 0 else None) for row, place in enumerate(places)]
    assert joined("left") == pairs
    assert joined("inner") == [pair for pair in pairs if pair[1] is not None]
    assert joined("semi") == [(row,) for row, place in pairs if place is not None]
    assert joined("anti") == [(row,) for row, place in pairs if place is None]
    assert joined("anti", null_matters=True) == []


def test_partners_by_two_columns() -> None:
    draw = np.random.default_rng(7)
    pairs: list[Any] = sorted({(int(a), str(b)) for a, b in draw.integers(0, 40, (300, 2))})
    places = {pair: place for place, pair in enumerate(pairs)}
    pairs[100:100] = [(7, None), (None, "7"), (None, None)]  # nobody's partners
    places |= {pair: place + 3 for pair, place in places.items() if place >= 100}
    rows = pa.table(
        {"a": pa.array([a for a, _ in pairs]), "b": [b for _, b in pairs], "n": pa.array(range(len(pairs)))}
    )
    side = Partners(rows, kind="left", types=[BIGINT, TEXT], names=["-1"], null_matters=False)
    asked: list[Any] = [(int(a), str(b)) for a, b in draw.integers(0, 45, (2000, 2))]
    batch = pa.RecordBatch.from_arrays([pa.array(range(len(asked)))], names=["1"])
    asked[::7] = [(None, b) for _, b in asked[::7]]
    asked[::5] = [(a, None) for a, _ in asked[::5]]
    found = side.joined(batch, [pa.array([a for a, _ in asked]), pa.array([b for _, b in asked])])
    assert found.column(1).to_pylist() == [places.get(pair) for pair in asked]
    twice = pa.concat_tables([rows, rows.slice(0, 1)])
    with pytest.raises(NotCovered, match="twice"):
        Partners(twice, kind="inner", types=[BIGINT, TEXT], names=["-1"], null_matters=False)
