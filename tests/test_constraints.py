"""Full, valid rows before the log: DEFAULT, identity, NOT NULL, length, CHECK; and the catalog that carries them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from weftdb.base.errors import Invalid
from weftdb.base.types import BIGINT, BOOLEAN, INTEGER, TEXT, TIMESTAMPTZ, array_of, varchar
from weftdb.engine.catalog import decode_relation, encode_relation
from weftdb.engine.changes import Change
from weftdb.engine.constraints import check
from weftdb.engine.database import Engine
from weftdb.engine.expression.context import Context
from weftdb.engine.expression.node import Call, Literal
from weftdb.engine.expression.node import Column as ColumnNode
from weftdb.engine.schema import Check, Column, Identity, Table, View
from weftdb.storage.memory_log import MemoryLog


def people(id: int = 100) -> Table:
    age = ColumnNode(id=3, type=INTEGER, name="age")
    adult = Call(function="greater_equal", arguments=(age, Literal(value=18, type=INTEGER)), type=BOOLEAN)
    return Table(
        id=id,
        name="people",
        columns=(
            Column(id=1, name="id", type=BIGINT, nullable=False, identity=Identity.ALWAYS),
            Column(id=2, name="name", type=varchar(5), nullable=False),
            Column(id=3, name="age", type=INTEGER, default=Literal(value=30, type=INTEGER), default_text="30"),
            Column(id=4, name="since", type=TIMESTAMPTZ, default=Call(function="now", arguments=(), type=TIMESTAMPTZ)),
            Column(id=5, name="note", type=TEXT, missing=Literal(value="old", type=TEXT)),
        ),
        primary_key=(1,),
        key=(1,),
        checks=(Check(name="adult", expression=adult, text="age >= 18"),),
        next_column_id=6,
    )


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def engine(log: MemoryLog) -> Engine:
    engine = Engine.open(log=log)
    transaction = engine.begin()
    transaction.create(people(engine.new_id()))
    transaction.commit()
    return engine


def batch(*rows: dict[str, Any]) -> pa.RecordBatch:
    types = {"id": pa.int64(), "name": pa.utf8(), "age": pa.int32()}
    return pa.RecordBatch.from_pylist(list(rows), schema=pa.schema([(name, types[name]) for name in rows[0]]))


def content(engine: Engine) -> list[dict[str, Any]]:
    with engine.snapshot() as snapshot:
        table = snapshot.catalog.table("people")
        return [row for item in snapshot.scan(table).batches() for row in item.to_pylist()]


def test_absent_columns_take_identity_default_and_null(engine: Engine) -> None:
    engine.write("people", Change.INSERT, batch({"name": "Ada"}, {"name": "Bob"}))
    first, second = content(engine)
    assert (first["id"], first["name"], first["age"], first["note"]) == (1, "Ada", 30, None)
    assert second["id"] == 2
    assert first["since"] == second["since"] is not None


def test_identity_values_are_not_given_twice_after_a_restart(engine: Engine, log: MemoryLog) -> None:
    engine.write("people", Change.INSERT, batch({"name": "Ada"}))
    reopened = Engine.open(log=log.beside())
    reopened.write("people", Change.INSERT, batch({"name": "Bob"}))
    ids = [row["id"] for row in content(reopened)]
    assert len(set(ids)) == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"name": "Ada"}, {"name": None}], r'column "name" of table "people" is NOT NULL, row 2'),
        (
            [{"name": "Ada"}, {"name": "Theodore"}],
            r'column "name", row 2: value too long for type character varying\(5\)',
        ),
        ([{"name": "Ada", "age": 17}], r'row 1 of "people" violates the check "adult": age >= 18'),
        ([{"name": "Ada", "id": 5}], "GENERATED ALWAYS"),
    ],
)
def test_a_bad_row_refuses_the_batch_and_says_where(engine: Engine, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        engine.write("people", Change.INSERT, batch(*rows))
    assert content(engine) == []


def test_an_unknown_column_carries_the_nearest_name(engine: Engine) -> None:
    wrong = pa.RecordBatch.from_pydict({"nmae": ["Ada"]})
    with pytest.raises(Invalid, match='Did you mean "name"'):
        engine.write("people", Change.INSERT, wrong)


def test_a_check_that_is_null_passes(engine: Engine) -> None:
    engine.write("people", Change.INSERT, batch({"name": "Ada", "age": None}))
    assert content(engine)[0]["age"] is None


@pytest.mark.parametrize(
    "relation",
    [
        people(),
        View(id=7, name="v", query="SELECT 1 AS one", columns=(("one", INTEGER),), materialized=True, depends_on=(3,)),
    ],
)
def test_a_stored_definition_comes_back_as_it_was(relation: Table | View) -> None:
    assert decode_relation(encode_relation(relation)) == relation


@pytest.mark.parametrize(("begin", "place"), [(0, 1), (1, 3), (2, 2), (4, None)])
def test_an_item_that_is_too_long_is_found_wherever_its_batch_was_cut(begin: int, place: int | None) -> None:
    """Neither what was cut off counts nor what lies under a NULL."""
    columns = (
        Column(id=1, name="id", type=BIGINT, nullable=False),
        Column(id=2, name="tags", type=array_of(varchar(3))),
    )
    table = Table(id=100, name="t", columns=columns, primary_key=(1,), key=(1,), next_column_id=3)
    items = pa.array(["long", "abc", "much too long", "longer", "a", None])
    lists = pa.ListArray.from_arrays(
        pa.array([0, 1, 2, 3, 4, 6], pa.int32()), items, type=columns[1].type.arrow,
        mask=pa.array([False, False, True, False, False]),
    )  # fmt: skip
    rows = pa.RecordBatch.from_arrays([pa.array(range(5), pa.int64()), lists], schema=table.arrow_schema).slice(begin)
    if place is None:
        check(table, rows, context=Context())
        return
    with pytest.raises(Invalid, match=f'column "tags", row {place}: value too long'):
        check(table, rows, context=Context())
