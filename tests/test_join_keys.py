"""Keys that scans tell each other: as sets, and that no answer depends on whether they came."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import weftdb
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.bench import inside
from weftdb.engine import handover, join_keys, scan
from weftdb.engine.database import Engine
from weftdb.engine.held import Held
from weftdb.engine.join_keys import Collected, Expected, KeySet, Offer
from weftdb.sql.resources import resources_of
from weftdb.sql.session import Session
from weftdb.storage.column_values import FixedValues

INTEGERS = st.integers(-(2**63), 2**63 - 1)


@given(
    st.lists(st.lists(st.integers(-300, 300), max_size=20), max_size=4),
    st.lists(st.integers(-400, 400) | INTEGERS, max_size=40),
    st.integers(-(2**62), 2**62),
)
@settings(deadline=None)
def test_a_set_of_keys_keeps_what_is_in_it(keys: list[list[int]], values: list[int], base: int) -> None:
    found = KeySet.of([np.array(some, np.int64) + base for some in keys])
    assert found is not None
    sought = [min(max(value + base, -(2**63)), 2**63 - 1) for value in values]
    mask = np.ones(len(sought), np.bool_)
    valid = np.array([index % 5 != 0 for index in range(len(sought))], np.uint8)
    found.keep(FixedValues(np.array(sought, np.int64), valid), mask)
    wanted = {key + base for some in keys for key in some}
    assert mask.tolist() == [index % 5 != 0 and value in wanted for index, value in enumerate(sought)]


@pytest.mark.parametrize("width", [np.int16, np.int32, np.int64])
def test_keys_of_any_width_are_kept(width: type[np.signedinteger]) -> None:
    found = KeySet.of([np.array([-7, 3], np.int64)])
    assert found is not None
    mask = np.array([True, True, True, False])
    found.keep(FixedValues(np.array([-7, 4, 3, 3], width), None), mask)
    assert mask.tolist() == [True, False, True, False]


def test_keys_too_far_apart_or_too_many_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KeySet.of([np.array([0, join_keys.SPAN_MAX], np.int64)]) is None
    assert KeySet.of([np.array([-(2**63), 2**63 - 1], np.int64)]) is None
    monkeypatch.setattr(join_keys, "KEYS_MAX", 5)
    for count, told in ((5, True), (6, False)):
        offer, expected = Offer(), Expected()
        expected.add(1, offer)
        collected = Collected({7: offer})
        for value in range(count):
            if 7 in collected.columns:
                collected.add(7, FixedValues(np.array([value], np.int64), None), None)
        collected.publish()
        assert (offer.keys is not None) == told


def test_nothing_is_collected_for_who_has_begun() -> None:
    offer, expected = Offer(), Expected()
    assert Collected({1: offer}).columns == ()
    expected.add(2, offer)
    assert Collected({1: offer}).columns == (1,)
    expected.begun = True
    assert Collected({1: offer}).columns == ()


# In a database. Small tables are handed over like large ones here, and several batches make one segment.

QUERIES = (
    "SELECT count(*), sum(i.n), sum(o.total) FROM o JOIN i ON i.o = o.id WHERE {o}",
    "SELECT count(*), sum(i.n) FROM c, o, i WHERE c.id = o.c AND o.id = i.o AND {c}",
    "SELECT count(*), sum(i.n) FROM c, o, i WHERE c.id = o.c AND o.id = i.o AND {c} AND {o} AND {i}",
    "SELECT count(*), sum(i.n), count(i.o) FROM o LEFT JOIN i ON i.o = o.id AND {i} WHERE {o}",
    "SELECT count(*), count(o.id) FROM o RIGHT JOIN i ON i.o = o.id AND {o} WHERE {i}",
    "SELECT count(*), count(o.id), count(i.o) FROM o FULL JOIN i ON i.o = o.id AND {o}",
    "SELECT count(*), sum(o.total) FROM o WHERE {o} AND EXISTS (SELECT 1 FROM i WHERE i.o = o.id AND {i})",
    "SELECT count(*), sum(o.total) FROM o WHERE {o} AND NOT EXISTS (SELECT 1 FROM i WHERE i.o = o.id AND {i})",
    "SELECT count(*) FROM o WHERE {o} OR EXISTS (SELECT 1 FROM i WHERE i.o = o.id AND {i})",
    "SELECT count(*) FROM o WHERE o.id IN (SELECT i.o FROM i WHERE {i}) AND {o}",
    "SELECT count(*) FROM o WHERE o.id NOT IN (SELECT i.o FROM i WHERE {i} AND i.o IS NOT NULL) AND {o}",
    "SELECT count(*) FROM o WHERE o.id IN (SELECT i.o FROM i WHERE {i} GROUP BY i.o HAVING count(*) > 1)",
    "SELECT count(*), sum(n) FROM (SELECT (SELECT sum(i.n) FROM i WHERE i.o = o.id) AS n FROM o WHERE {o}) AS s",
    "SELECT count(*), sum(s.n) FROM o, (SELECT i.o, sum(i.n) AS n FROM i WHERE {i} GROUP BY i.o) s WHERE s.o = o.id",
    "SELECT count(*) FROM o, LATERAL (SELECT i.n FROM i WHERE i.o = o.id AND {i} ORDER BY i.n LIMIT 2) s WHERE {o}",
    "SELECT count(*) FROM i a JOIN i b ON a.o = b.o AND a.n < b.n WHERE {i}".replace("{i}", "a.n % 7 = 3"),
    "WITH w AS (SELECT id FROM o WHERE {o}) SELECT count(*) FROM i, w, c WHERE i.o = w.id AND c.id = i.n % 50 AND {c}",
    "SELECT count(*) FROM (SELECT o FROM i WHERE {i} UNION ALL SELECT id FROM o WHERE {o}) u JOIN o ON o.id = u.o",
    "SELECT o.kind, count(*) FROM o JOIN i ON i.o = o.id WHERE {o} GROUP BY ROLLUP (o.kind) ORDER BY 1 NULLS LAST",
)
FILTERS = {
    "o": ("o.kind = 'k3'", "o.kind IN ('k1', 'none')", "o.total < 40", "o.id = 77", "o.total + 0 < 40", "TRUE"),
    "i": ("i.n < 20", "i.n BETWEEN 400 AND 410", "i.n + 0 < 20", "i.o IS NULL", "i.n < 0", "TRUE"),
    "c": (
        "c.id < 3",
        "c.name = 'customer 7'",
        "c.region = 'r7'",
        "c.region LIKE '_1%'",
        "c.name LIKE '%7'",
        "c.id % 10 = 2",
        "TRUE",
    ),
}


@pytest.fixture(scope="module", params=["segments", "memory", "both"])
def db(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[weftdb.Database]:
    folder: Path = tmp_path_factory.mktemp("joins")
    with weftdb.open(str(folder)) as db:
        db.execute("CREATE TABLE c (id INTEGER PRIMARY KEY, name TEXT, region TEXT)")
        db.execute("CREATE TABLE o (id BIGINT PRIMARY KEY, c INTEGER, kind TEXT, total INTEGER)")
        db.execute("CREATE TABLE i (id BIGINT PRIMARY KEY, o BIGINT, n INTEGER)")
        for part in range(2):
            first, last = 1000 * part, 1000 * part + 999
            values = "g, 'customer ' || g, 'r' || g % 20"
            db.execute(f"INSERT INTO c SELECT {values} FROM generate_series({first // 20}, {last // 20}) s(g)")
            db.execute(
                f"INSERT INTO o SELECT g, g * 7 % 100, 'k' || g % 9, g % 211 FROM generate_series({first}, {last}) s(g)"
            )
            db.execute(
                "INSERT INTO i SELECT g, nullif(g * 13 % 3000, 5), g % 500"
                f" FROM generate_series({5 * first}, {5 * last + 4}) s(g)"
            )
            db.execute(f"UPDATE o SET total = total + 1 WHERE id % 10 = {part}")
            db.execute(f"DELETE FROM i WHERE id % 17 = {part}")
            if request.param == "segments" or (request.param == "both" and part == 0):
                inside.seal(db)
        yield db


@pytest.mark.parametrize("sql", QUERIES)
def test_no_answer_depends_on_the_keys(sql: str, db: weftdb.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "HANDED_ROWS_MIN", 1)
    monkeypatch.setattr(handover, "SOME", 1.0001)
    texts = [sql]
    for table, filters in FILTERS.items():
        texts = [text.replace(f"{{{table}}}", filter) for text in texts for filter in filters]
    chosen = sorted(set(texts))[::6]
    answers = {text: db.execute(text).rows() for text in chosen}
    monkeypatch.setattr(scan.Scan, "expect", lambda *_: None)
    for text, answer in answers.items():
        assert db.execute(text).rows() == answer, text


def test_rows_without_a_partner_stay_behind(db: weftdb.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """From ``c`` to ``o``, and from what is left of ``o`` to ``i``."""
    monkeypatch.setattr(scan, "HANDED_ROWS_MIN", 1)
    sql = "SELECT count(*) FROM c, o, i WHERE c.id = o.c AND o.id = i.o AND c.region = 'r7'"
    [(counted,)] = db.execute(sql).rows()
    rows = _rows_read(db, sql)
    assert rows["c"] == 5
    assert rows["o"] < 300
    assert counted <= rows["i"] < 3_000
    monkeypatch.setattr(scan.Scan, "expect", lambda *_: None)
    assert _rows_read(db, sql)["i"] > 8_000


@pytest.mark.parametrize("db", ["segments"], indirect=True)
def test_a_branch_that_no_row_passes_leaves_the_others(db: weftdb.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty array passes nothing, whatever the number of rows."""
    nulls = db.execute("SELECT count(*) FROM i WHERE o IS NULL").scalar()
    monkeypatch.setattr(scan, "HANDED_ROWS_MIN", 1)
    asked = "SELECT count(*) + 0 FROM i WHERE o IS NULL OR n = ANY (CAST('{}' AS INTEGER[]))"
    assert db.execute(asked).scalar() == nulls > 0


def _rows_read(db: weftdb.Database, sql: str) -> dict[str, int]:
    [(text,)] = db.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}").rows()
    found: dict[str, int] = {}
    stack: list[Any] = [json.loads(text) if isinstance(text, str) else text]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if "Alias" in node and "Actual Rows" in node:
                found[node["Alias"]] = node["Actual Rows"]
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
    return found


def test_keys_count_while_they_live_and_are_not_told_where_there_is_no_room() -> None:
    held = Held(limit=1_000)
    offer, expected = Offer(held), Expected()
    expected.add(1, offer)
    collected = Collected({7: offer})
    collected.add(7, FixedValues(np.arange(40), None), None)
    assert held.bytes == 320
    collected.publish()
    assert offer.keys is not None
    assert held.bytes == 328
    del collected
    assert held.bytes == 8
    more = Offer(held)
    expected.add(1, more)
    collected = Collected({7: more})
    collected.add(7, FixedValues(np.arange(80), None), None)
    collected.add(7, FixedValues(np.arange(80), None), None)
    assert collected.columns == ()
    collected.publish()
    assert more.keys is None
    del collected, more, offer, expected
    assert held.bytes == 0
    assert KeySet.of([np.array([0, 64 * 200], np.int64)], held=held) is None, "bits of 1,608 bytes"


def test_keys_of_joins_are_in_the_gauge_of_memory() -> None:
    with Engine.open() as engine, Session(engine) as session:
        sql = "SELECT value FROM weft_metrics WHERE name = 'weft_memory_join_keys_bytes'"
        assert session.execute(sql).scalar() == 0
        kept = resources_of(engine).executor.held.keep(np.zeros(100))
        assert session.execute(sql).scalar() == kept.nbytes
