"""JSONB columns through every door: one text for a document, whichever way it came in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import weftdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from weftdb.base import documents
from weftdb.base.errors import Invalid, LimitExceeded

TEXT = '{"b": [1, 2.50, {"z": null}], "a":"é\\n", "b": [true]}'
SHOWN = '{"a": "é\\n", "b": [true]}'
TABLE = "CREATE TABLE t (id INT PRIMARY KEY, d JSONB DEFAULT '{\"k\":1}' CHECK (d ->> 'a' <> 'bad'), v INT)"


def documents_of(depth: int = 3) -> st.SearchStrategy[Any]:
    letters = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=4)
    leaves = st.none() | st.booleans() | st.integers() | letters
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(letters, inner, max_size=3), max_leaves=8
    )


@given(documents_of())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_the_text_of_a_document_means_the_document_and_is_its_own_text(document: Any) -> None:
    text = documents.canonical(json.dumps(document))
    assert json.loads(text) == document
    assert documents.canonical(text) == text
    shuffled = json.dumps(document, ensure_ascii=True, indent=1, sort_keys=True)
    assert documents.canonical(shuffled) == text


def test_every_way_in_gives_one_text(tmp_path: Path) -> None:
    with weftdb.open(tmp_path / "data") as db:
        db.execute(TABLE)
        db.execute("INSERT INTO t (id, d) VALUES (1, $$" + TEXT + "$$), (2, $1)", [TEXT])
        db.execute("INSERT INTO t (id, d) SELECT 3, $1::jsonb", [TEXT])
        db.table("t").put([{"id": 4, "d": TEXT, "v": 0}, {"id": 5, "d": json.loads(TEXT), "v": 0}])
        db.table("t").put(pa.table({"id": pa.array([6], pa.int32()), "d": [TEXT]}))
        db.execute("INSERT INTO t (id) VALUES (7)")
        db.execute("UPDATE t SET d = d || '{\"k\": 2}' WHERE id = 7")
        expected = [(number, SHOWN) for number in range(1, 7)] + [(7, '{"k": 2}')]
        assert db.execute("SELECT id, d FROM t ORDER BY id").rows() == expected
        assert db.execute("SELECT DISTINCT d FROM t WHERE id < 7").rows() == [(SHOWN,)]
        assert db.execute("SELECT id FROM t WHERE d = $1", ['{"k":  2}']).rows() == [(7,)]
        assert db.table("t").get(1) == {"id": 1, "d": SHOWN, "v": None}
        db.execute("CHECKPOINT")
        assert db.execute("SHOW CREATE t").scalar().count("JSONB") or "jsonb" in db.execute("SHOW CREATE t").scalar()
    with weftdb.open(tmp_path / "data") as db:
        assert db.execute("SELECT id, d FROM t ORDER BY id").rows() == expected
        assert [str(type) for type in db.execute("SELECT d FROM t").types] == ["jsonb"]


@pytest.mark.parametrize(
    ("sql", "state"),
    [
        ("INSERT INTO t (id, d) VALUES (1, '{bad')", "22P02"),
        ("INSERT INTO t (id, d) VALUES (1, '\"\\u0000\"')", "22P05"),
        ('INSERT INTO t (id, d) VALUES (1, \'{"a":"bad"}\')', "23514"),
        ("SELECT ('{' || id)::jsonb FROM (SELECT 1 AS id) AS x", "22P02"),
        ("CREATE TABLE u (d JSONB PRIMARY KEY)", "42P16"),
        ("SELECT '1'::jsonb + 1", "42883"),
    ],
)
def test_what_is_no_jsonb_is_refused(sql: str, state: str) -> None:
    with weftdb.open() as db:
        db.execute(TABLE)
        with pytest.raises(Invalid) as caught:
            db.execute(sql)
        assert caught.value.sqlstate == state
        assert db.execute("SELECT count(*) FROM t").scalar() == 0


@pytest.mark.parametrize(
    "expression",
    [
        "jsonb_path_query_first('{}', repeat('(', 10000))",
        "jsonb_path_query_first('{}', '$' || repeat('.a', 100000))",
        "(repeat('[', 5000) || repeat(']', 5000))::jsonb @? '$.**'",
        "(repeat('[', 900) || repeat(']', 900))::jsonb",
    ],
)
def test_what_is_nested_too_deeply_is_a_limit_and_no_bug(expression: str) -> None:
    with weftdb.open() as db, pytest.raises(LimitExceeded, match="nested too deeply"):
        db.execute(f"SELECT {expression}")


def test_a_document_that_is_nested_too_deeply_is_not_inserted() -> None:
    with weftdb.open() as db:
        db.execute("CREATE TABLE t (k BIGINT PRIMARY KEY, d JSONB)")
        with pytest.raises(LimitExceeded, match="nested too deeply"):
            db.table("t").insert({"k": 1, "d": "[" * 900 + "]" * 900})
