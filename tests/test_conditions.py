"""Filters asked of segments as they are stored: what rows say that are decoded, one condition after another."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
import sealing
import soak
import typed_values
from filtering import call, is_true, literal, node
from weftdb.base.errors import Invalid
from weftdb.base.types import BIGINT, BOOLEAN, DATE, INTEGER, TEXT, TIMESTAMP
from weftdb.engine import conditions
from weftdb.engine.cells import TableStore
from weftdb.engine.conditions import Conditions, dtype_asked
from weftdb.engine.expression.node import Call, Cast, Expression
from weftdb.engine.layout import Layout
from weftdb.engine.schema import Column, Table
from weftdb.engine.segment import Segment

TABLE = Table(
    id=200,
    name="events",
    columns=(
        Column(id=1, name="key", type=BIGINT, nullable=False),
        Column(id=2, name="at", type=TIMESTAMP, nullable=False),
        Column(id=3, name="channel", type=TEXT),
        Column(id=4, name="note", type=TEXT),
        Column(id=5, name="n", type=INTEGER),
        Column(id=6, name="day", type=DATE, nullable=False),
        Column(id=7, name="far", type=BIGINT),
    ),
    primary_key=(1,),
    next_column_id=8,
)
TYPES = {column.name: column.type for column in TABLE.columns}
FIRST = ("app", "web", "", None, "Straße", "7")
SECOND = ("app", "shop", None, "8")
"""Of another segment, whose dictionary is another one."""
FAR = (None, 0, 2**63 - 1, -(2**63), 5)


def rows(numbers: range, channels: tuple[str | None, ...]) -> list[dict[str, Any]]:
    """Keys ascend, and with them times and days: blocks of a segment are about different ones."""
    return [
        {
            "key": number,
            "at": number * 60_000_000,
            "channel": channels[number * 7 % len(channels)],
            "note": f"note {number}",
            "n": None if number % 500 > 450 else number % 40,
            "day": number // 100,
            "far": FAR[number // 100 % len(FAR)],
        }
        for number in numbers
    ]


@pytest.fixture(scope="module")
def stored() -> tuple[TableStore, list[dict[str, Any]]]:
    """Two segments, of which rows have been deleted and put again, and a memtable; and the rows that live."""
    store = TableStore(TABLE)
    known: dict[int, dict[str, Any]] = {}
    version = 0

    def put(of: list[dict[str, Any]]) -> None:
        nonlocal version
        version += 1
        store.apply_put(typed_values.batch_of(of, TABLE.arrow_schema, TYPES), version=version)
        known.update({row["key"]: row for row in of})

    put(rows(range(1_500), FIRST))
    sealing.seal_memtables(store, block_rows=64)
    put(rows(range(1_000, 2_200), SECOND))
    sealing.seal_memtables(store, block_rows=64)
    put(rows(range(2_200, 2_300), FIRST))
    gone = [{"key": number} for number in range(0, 2_300, 11)]
    store.apply_delete(pa.RecordBatch.from_pylist(gone, pa.schema([TABLE.columns[0].field])), version=version + 1)
    for row in gone:
        del known[row["key"]]
    return store, list(known.values())


def condition(draw: random.Random) -> Expression:
    """About texts, numbers and times, most of which segments can be asked."""
    channel, note, n, day, far = (node(TABLE.by_name[name]) for name in ("channel", "note", "n", "day", "far"))
    compare = draw.choice(("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"))
    text = literal(draw.choice(("app", "web", "", "Straße", "none", "8")), TEXT)
    match draw.randrange(12):
        case 0 | 1:
            return call(compare, channel, text)
        case 2:
            return call("in_list", channel, text, literal(draw.choice(("shop", None)), TEXT))
        case 3:
            found = call("is_null", channel)
            return found if draw.random() < 0.5 else call("not", found)
        case 4:
            return call("or", call(compare, channel, text), call("is_null", channel))
        case 5:
            upper = Call(function="upper", arguments=(channel,), type=TEXT)
            return call(compare, upper, literal("APP", TEXT))
        case 6:
            return call(compare, note, literal(f"note {draw.randrange(2_300)}", TEXT))
        case 7:
            constant = literal(draw.choice((-1, 0, 5, 39, 40)), INTEGER)
            return call(compare, n, constant) if draw.random() < 0.7 else call(compare, constant, n)
        case 8:
            return call("in_list", n, *(literal(draw.randrange(45), INTEGER) for _ in range(3)))
        case 9:
            return call(compare, day, literal(draw.randrange(-1, 25), DATE))
        case 10:
            return call(compare, far, literal(draw.choice((2**63 - 1, -(2**63), 0, 4)), BIGINT))
        case _:
            low = draw.randrange(2_300)
            at = node(TABLE.by_name["at"])
            after = call("greater_equal", at, literal(low * 60_000_000, TIMESTAMP))
            return call("and", after, call("less", at, literal((low + draw.randrange(1_500)) * 60_000_000, TIMESTAMP)))


@pytest.mark.parametrize("seed", range(soak.many(150, 5_000)))
def test_a_scan_gives_the_rows_that_its_conditions_are_true_of(
    stored: tuple[TableStore, list[dict[str, Any]]], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, known = stored
    draw = random.Random(seed)
    monkeypatch.setattr(conditions, "SAME_BYTES", draw.choice((0, conditions.SAME_BYTES)))
    filter = condition(draw)
    for _ in range(draw.randrange(3)):
        filter = call("and", filter, condition(draw))
    expected = sorted(row["key"] for row, true in zip(known, is_true(filter, TABLE, known), strict=True) if true)
    columns = draw.sample([column.id for column in TABLE.columns], draw.randrange(1, 7))
    found = [batch for batch in store.scan(version=4, columns=[1, *columns], filter=filter).batches() if batch.num_rows]
    keys = sorted(key for batch in found for key in batch.column(0).to_pylist())
    assert keys == expected, filter
    by_key = {row["key"]: row for row in known}
    for each in found:
        for place, id in enumerate(columns, 1):
            column = TABLE.by_id[id]
            wanted = [by_key[key][column.name] for key in each.column(0).to_pylist()]
            assert each.column(place).equals(pa.array(wanted, column.type.arrow)), column.name


def test_conditions_are_asked_of_what_is_stored(stored: tuple[TableStore, list[dict[str, Any]]]) -> None:
    """Not of rows that were decoded: nothing is left of these to ask."""
    parts = [part for cell in stored[0]._cells.all() for part in cell.parts if isinstance(part, Segment)]
    [first] = [segment for segment in parts if segment.rows_count == 1_500]
    read: list[str] = []

    def asked(filter: Expression, *run: int) -> tuple[Any, Expression | None]:
        def of(column: Column) -> Any:
            read.append(column.name)
            return first.reader.narrowed(column.id, *run, dtype_asked(column))

        read.clear()
        return Conditions(filter, Layout(TABLE)).ask(first, of, count=run[1] - run[0], run=run)

    channel, at = node(TABLE.by_name["channel"]), node(TABLE.by_name["at"])
    mask, left = asked(call("equal", channel, literal("app", TEXT)), 0, 128)
    assert left is None
    assert mask.sum() == len([row for row in rows(range(128), FIRST) if row["channel"] == "app"])
    assert read == ["channel"]
    # Zones say that it is true of all rows of two blocks; of the third they do not.
    early = call("less", at, literal(130 * 60_000_000, TIMESTAMP))
    assert asked(early, 0, 128) == (None, None)
    assert read == []
    mask, left = asked(early, 64, 192)
    assert (int(mask.sum()), left, read) == (66, None, ["at"])
    # A function of text may fail for a text that no row has: it is asked of rows.
    number = Cast(argument=channel, type=INTEGER)
    failing = call("greater", number, literal(6, INTEGER))
    assert asked(failing, 0, 128) == (None, failing)


def test_what_fails_for_a_row_fails(stored: tuple[TableStore, list[dict[str, Any]]]) -> None:
    number = Cast(argument=node(TABLE.by_name["channel"]), type=INTEGER)
    filter = Call(function="greater", arguments=(number, literal(6, INTEGER)), type=BOOLEAN)
    with pytest.raises(Invalid, match="invalid input syntax"):
        list(stored[0].scan(version=4, columns=[1], filter=filter).batches())
