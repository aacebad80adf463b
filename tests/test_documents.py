"""JSON of a whole column at once: each vectorized form beside its plain one, and beside Python's parser."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest
import soak
import weftdb
from hypothesis import example, given, settings
from hypothesis import strategies as st
from weftdb.base import document_texts
from weftdb.base.document_texts import canonical_texts
from weftdb.base.documents import canonical
from weftdb.base.types import Kind
from weftdb.engine.expression.functions import FUNCTIONS
from weftdb.engine.expression.functions.model import Overload
from weftdb.engine.expression.functions.vector import NotVectorized

KEYS = st.sampled_from(["", "a", "b", "aa", "ü", 'q"', "k y", "x\\", "\n", "0"])
NUMBERS = st.sampled_from(["0", "1", "-1", "1.0", "1.50", "0.00", "-0.5", "12345678901234567890.5", "10", "100"])
SCALARS = st.sampled_from(["null", "true", "false"]) | NUMBERS | KEYS.map(json.dumps)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: "[" + ",".join(items) + "]")
        | st.dictionaries(KEYS, inner, max_size=4).map(
            lambda items: "{" + ",".join(f"{json.dumps(key)} : {item}" for key, item in items.items()) + "}"
        )
    ),
    max_leaves=12,
)
PARTS = DOCUMENTS.map(canonical)
INDEXES = st.integers(-3, 3)
PATHS = st.lists(KEYS.filter(lambda key: key and '"' not in key) | INDEXES.map(str), max_size=3)

SECOND: dict[str, st.SearchStrategy[Any]] = {
    "json_get": KEYS | INDEXES,
    "json_get_text": KEYS | INDEXES,
    "json_path": PATHS.map(lambda steps: "{" + ",".join(steps) + "}") | PATHS,
    "json_path_text": PATHS.map(lambda steps: "{" + ",".join(steps) + "}") | PATHS,
    "jsonb_extract_path": KEYS,
    "jsonb_extract_path_text": KEYS,
    "jsonb_exists": KEYS,
    "jsonb_contains": PARTS,
    "jsonb_typeof": st.none(),
    "jsonb_array_length": st.none(),
}


def overload_for(name: str, second: Any) -> Overload:
    kinds = {str: Kind.TEXT, int: Kind.INTEGER}
    for overload in FUNCTIONS[name].overloads:
        first, *others = overload.arguments
        if first is not Kind.JSONB or overload.arrow is None:
            continue
        if second is None or name == "jsonb_contains" or others[0] is kinds.get(type(second), others[0]):
            return overload
    raise AssertionError(name)


@pytest.mark.parametrize("name", SECOND)
def test_parts_are_those_that_the_parser_finds(name: str) -> None:
    @given(documents=st.lists(PARTS | st.none(), max_size=6), second=SECOND[name])
    @settings(max_examples=soak.many(60, 150), deadline=None)
    @example(documents=['{"a": [1.0, {"b": null}], "aa": "x"}', "[1, 2.50]", '"a"', None], second=None)
    def run(documents: list[str | None], second: Any) -> None:
        if second is None and name not in ("jsonb_typeof", "jsonb_array_length"):
            return
        overload = overload_for(name, second)
        assert overload.naive is not None
        assert overload.arrow is not None
        others = [] if second is None else [second]
        scalars = [] if second is None else [pa.scalar(second, pa.list_(pa.string()) if second == [] else None)]
        sliced = pa.array([None, "[0]", *documents, "{}"], pa.string()).slice(2, len(documents))
        try:
            found = overload.arrow(sliced, *scalars)
        except NotVectorized:
            return
        assert found.to_pylist() == [None if text is None else overload.naive(text, *others) for text in documents]
        found.validate(full=True)

    run()


def test_what_is_asked_most_is_vectorized() -> None:
    """Else the test above could pass by looking at nothing."""
    documents = pa.array(['{"a": {"b": [1, "x"]}}', None])
    asked: Sequence[tuple[str, Any]] = [
        ("json_get", "a"),
        ("json_get_text", "a"),
        ("json_path", "{a,b,0}"),
        ("json_path_text", "{a,b,-1}"),
        ("jsonb_exists", "a"),
        ("jsonb_contains", '{"a": {"b": [1.0]}}'),
        ("jsonb_extract_path_text", "a"),
    ]
    found = [overload_for(name, second).arrow(documents, pa.scalar(second)).to_pylist()[0] for name, second in asked]  # type: ignore[misc]
    assert found == ['{"b": [1, "x"]}', '{"b": [1, "x"]}', "1", "x", True, True, '{"b": [1, "x"]}']


BROKEN = st.tuples(
    DOCUMENTS, st.integers(0, 60), st.sampled_from(["", ",", "]", "}", '"', "0", ".", "e1", "\t", "-", "\x01"])
)
TEXTS = (
    DOCUMENTS
    | DOCUMENTS.map(lambda text: json.dumps(json.loads(text), indent=1, ensure_ascii=False))
    | BROKEN.map(lambda given: given[0][: given[1]] + given[2] + given[0][given[1] + 1 :])
)


@given(texts=st.lists(TEXTS | st.none(), max_size=8))
@settings(max_examples=soak.many(200, 500), deadline=None)
@example(
    texts=['{"b":1,"a":{"d":[ ],"c":{ }}}', "[" * 40 + "]" * 40, '{"a":1,"a":2}', "1e5", "-0", "-0.0", "01", " 1 ", ""]
)
def test_jsonb_s_text_is_that_of_the_parser(texts: list[str | None]) -> None:
    def one(text: str | None) -> str | None:
        try:
            return None if text is None else canonical(text)
        except ValueError:
            return "refused"

    array = pa.array(["{}", *texts, "1"], pa.string()).slice(1, len(texts))
    made = canonical_texts(array, lambda row: str(one(texts[row])))
    assert made.to_pylist() == [one(text) for text in texts]
    kept = canonical_texts(array, lambda row: str(one(texts[row])), keep=True)
    assert all(k == t or m == "refused" or canonical(t) == k
               for k, t, m in zip(kept.to_pylist(), texts, made.to_pylist(), strict=True) if t is not None)  # fmt: skip


def test_plain_documents_need_no_parser() -> None:
    def never(row: int) -> str:
        raise AssertionError(f"row {row} is parsed")

    texts = ['{ "b":[1,-2.50,true,false,null], "a":{"c":"ü"}}', "[]", "{}", '"x"', "0.5"]
    assert canonical_texts(pa.array(texts), never).to_pylist() == [canonical(text) for text in texts]


def test_a_column_of_more_bytes_than_arrow_s_offsets_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Canonical text may be longer than what it was made of."""
    texts = pa.array(["[1,2]", None, "{}"])
    monkeypatch.setattr(document_texts, "BYTES_MAX", 4)
    made = canonical_texts(texts, lambda row: canonical(texts[row].as_py()))
    assert made.to_pylist() == ["[1, 2]", None, "{}"]


@pytest.mark.parametrize("kind", ["JSON", "JSONB"])
def test_a_bad_document_among_many_is_named(kind: str) -> None:
    with weftdb.open() as db:
        db.execute(f"CREATE TABLE t (id BIGINT PRIMARY KEY, d {kind})")
        texts = [f'{{"b": {n}, "a": "x"}}' for n in range(1200)]
        for bad, message in (('{"a": 1,}', "row 1151"), ('["\\u0000"]', "row 1151")):
            if kind == "JSON" and "u0000" in bad:
                continue  # JSON keeps what it cannot convert, as PostgreSQL does
            rows = pa.table({"id": range(1200), "d": [*texts[:1150], bad, *texts[1151:]]})
            with pytest.raises(weftdb.Invalid, match=message):
                db.table("t").insert(rows)
        assert db.execute("SELECT count(*) FROM t").scalar() == 0
        db.table("t").insert(pa.table({"id": range(1200), "d": texts}))
        as_stored: Callable[[str], str] = canonical if kind == "JSONB" else str
        assert db.execute("SELECT d FROM t WHERE id = 7").rows() == [(as_stored(texts[7]),)]


def test_a_value_that_repeats_is_computed_once_and_its_error_has_its_row() -> None:
    with weftdb.open() as db:
        db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, d TEXT CHECK (d::jsonb ->> 'a' <> 'b'))")
        good = pa.table({"id": range(300), "d": [json.dumps({"a": str(n % 3)}) for n in range(300)]})
        bad = good.set_column(1, "d", pa.array([*good["d"].to_pylist()[:200], *['{"a": '] * 100]))
        with pytest.raises(weftdb.Invalid, match="row 201"):
            db.table("t").insert(bad)
        db.table("t").insert(good)
        sql = "SELECT quote_literal(d), count(*) FROM t GROUP BY 1 ORDER BY 1"
        assert db.execute(sql).rows() == [(f'\'{{"a": "{n}"}}\'', 100) for n in range(3)]
