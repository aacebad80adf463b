"""Columns of array type: packed and unpacked, read as text, written and read at every door, and kept."""

from __future__ import annotations

import datetime as dt
import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soak
import typed_values
import weftdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from weftdb.base import types
from weftdb.base.text import text_column
from weftdb.base.types import Type
from weftdb.base.values import Refused, convert
from weftdb.bench import inside
from weftdb.engine.column_store import bytes_value
from weftdb.storage.column_values import values_of, variable_array

ELEMENTS = tuple(type for type in typed_values.EVERY_TYPE if type.element is None)


# -- packing ---------------------------------------------------------------------------------------------------------


def naively_packed(items: list[Any], element: Type) -> bytes:
    """What storage/kernels/arrays.py says, an item at a time."""
    column = typed_values.array_of(items, element)
    storage = column.storage if isinstance(column, pa.ExtensionArray) else column
    if element.is_variable:
        raw = storage.cast(pa.binary()).to_pylist()
        return b"".join(b"\0" if one is None else _length(len(one) + 1) + one for one in raw)
    raws = [None if item is None else _bytes_of(storage[place], element) for place, item in enumerate(items)]
    width = len(_bytes_of(typed_values.array_of([typed_values.samples_of(element)[0]], element)[0], element))
    if None not in raws:
        return b"\0" + b"".join(raw for raw in raws if raw is not None)
    flags = bytes(raw is not None for raw in raws)
    return b"\1" + flags + b"".join(bytes(width) if raw is None else raw for raw in raws)


def _length(number: int) -> bytes:
    return bytes((number,)) if number < 128 else bytes((number & 127 | 128,)) + _length(number >> 7)


def _bytes_of(value: pa.Scalar, element: Type) -> bytes:
    """The bytes of one value of fixed width."""
    if element == types.BOOLEAN:
        return struct.pack("?", value.as_py())
    array = pa.array([value.value if isinstance(value, pa.ExtensionScalar) else value])
    return array.buffers()[1].to_pybytes()[: array.type.bit_width // 8]


@st.composite
def columns(draw: st.DrawFn) -> tuple[Type, list[Any]]:
    element = draw(st.sampled_from(ELEMENTS))
    lists = st.lists(typed_values.values_of(element, nullable=draw(st.booleans())), max_size=5)
    return types.array_of(element), draw(st.lists(st.none() | lists, max_size=8))


@settings(max_examples=soak.many(150, 400), deadline=None)
@given(columns(), st.integers(0, 3))
def test_arrays_are_packed_item_by_item_and_come_back(column: tuple[Type, list[Any]], start: int) -> None:
    type, values = column
    assert type.element is not None
    array = typed_values.array_of(values, type).slice(start)
    values = values[start:]
    packed = values_of(array, type)
    raws = [packed.data[low:high].tobytes() for low, high in itertools.pairwise(packed.offsets.tolist())]
    assert raws == [b"" if one is None else naively_packed(one, type.element) for one in values]
    back = variable_array(packed.offsets, packed.data, packed.valid, type)
    back.validate(full=True)
    assert back.type == type.arrow
    assert repr(back.to_pylist()) == repr(array.to_pylist())
    read = bytes_value(type)
    assert repr([None if one is None else read(raw) for one, raw in zip(values, raws, strict=True)]) == repr(
        [None if one is None else typed_values.array_of(one, type.element).to_pylist() for one in values]
    ).replace("zoneinfo.ZoneInfo(key='UTC')", "datetime.timezone.utc")


def test_what_lies_under_a_null_is_not_packed() -> None:
    items = pa.array([1, 2, 3, 4], pa.int32())
    array = pa.ListArray.from_arrays(pa.array([0, 2, 3, 4], pa.int32()), items, mask=pa.array([False, True, False]))
    type = types.array_of(types.INTEGER)
    packed = values_of(array, type)
    assert np.diff(packed.offsets).tolist() == [9, 0, 5]
    assert variable_array(packed.offsets, packed.data, packed.valid, type).to_pylist() == [[1, 2], None, [4]]


# -- texts -----------------------------------------------------------------------------------------------------------

TEXTS = types.array_of(types.TEXT)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("{}", []),
        ("  { } ", []),
        ("{a}", ["a"]),
        ("{ a , b c ,d }", ["a", "b c", "d"]),
        ('{"a,b","","NULL",NULL,null, "x" }', ["a,b", "", "NULL", None, None, "x"]),
        (r'{"say \"hi\"",a\,b,\NULL,"{}",c\ }', ['say "hi"', "a,b", "NULL", "{}", "c "]),
        ("{\n1,\t2\n}", ["1", "2"]),
    ],
)
def test_the_text_of_an_array_is_read_as_postgresql_reads_it(text: str, items: list[str | None]) -> None:
    assert convert(text, TEXTS) == items


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "{",
        "}",
        "{a",
        "a}",
        "{a,}",
        "{,a}",
        "{a,,b}",
        '{"a"b}',
        '{a"b"}',
        '{"a}',
        "{a}b",
        "{a}{b}",
        "{a{",
        "{\\",
    ],
)
def test_a_malformed_text_is_refused_as_in_postgresql(text: str) -> None:
    with pytest.raises(Refused, match="malformed array literal") as refused:
        convert(text, TEXTS)
    assert refused.value.sqlstate == "22P02"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.none() | st.text(alphabet='ab ,{}"\\NULl\n\té', max_size=5), max_size=4))
def test_the_text_that_is_written_is_read_back(items: list[str | None]) -> None:
    text = text_column(typed_values.array_of([items], TEXTS), TEXTS)[0].as_py()
    assert convert(text, TEXTS) == items


# -- a table beside a model ------------------------------------------------------------------------------------------

DDL = """CREATE TABLE t (id BIGINT PRIMARY KEY, tags TEXT[], n INTEGER[] NOT NULL DEFAULT '{7}', at TIMESTAMPTZ[])"""
TAGS = st.none() | st.lists(st.none() | st.sampled_from(["", "a", "b", "NULL", 'x "y"', "é" * 100]), max_size=4)
NUMBERS = st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=4)
MOMENTS = st.none() | st.lists(st.none() | st.sampled_from([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)]), max_size=2)
IDS = st.integers(0, 30)


class Machine(RuleBasedStateMachine):
    """Arrays go through memtables, segments, merges and a restart; a dict has them, too."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.path = self.folder / f"{next(_numbers)}"
        self.db = weftdb.open(self.path)
        self.db.execute(DDL)
        self.rows: dict[int, tuple[Any, ...]] = {}

    def teardown(self) -> None:
        self.db.close()

    @rule(rows=st.dictionaries(IDS, st.tuples(TAGS, NUMBERS, MOMENTS), min_size=1, max_size=12), by=st.integers(0, 2))
    def put(self, rows: dict[int, tuple[Any, ...]], by: int) -> None:
        table = self.db.table("t")
        if by == 0:
            table.put([(id, *row) for id, row in rows.items()])
        elif by == 1:
            for id, row in rows.items():
                table.put((id, *row))
        else:
            insert = "INSERT INTO t VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE SET"
            for id, row in rows.items():
                self.db.execute(f"{insert} tags = excluded.tags, n = excluded.n, at = excluded.at", [id, *row])
        self.rows |= rows

    @rule(id=IDS, tag=st.none() | st.sampled_from(["a", "z"]))
    def append(self, id: int, tag: str | None) -> None:
        self.db.execute("UPDATE t SET tags = array_append(tags, $2), n = n || 5 WHERE id = $1", [id, tag])
        if id in self.rows:
            tags, numbers, moments = self.rows[id]
            self.rows[id] = ([*(tags or ()), tag], [*numbers, 5], moments)

    @rule(id=IDS)
    def delete(self, id: int) -> None:
        self.db.table("t").delete([id])
        self.rows.pop(id, None)

    @rule()
    def flush(self) -> None:
        self.db.engine.flush()

    @rule()
    def compact(self) -> None:
        self.db.engine.flush()
        self.db.engine.compact()

    @rule()
    def reopen(self) -> None:
        self.db.close()
        self.db = weftdb.open(self.path)

    @invariant()
    def same(self) -> None:
        expected = sorted((id, *row) for id, row in self.rows.items())
        assert self.db.execute("SELECT * FROM t ORDER BY id").rows() == expected
        for id in (0, 7, 30):
            got = self.db.table("t").get(id)
            assert (None if got is None else (got["tags"], got["n"], got["at"])) == self.rows.get(id)
        held = self.db.execute("SELECT id FROM t WHERE 'a' = ANY(tags) AND tags @> ARRAY['a'] ORDER BY id").rows()
        assert held == [(id,) for id, row in sorted(self.rows.items()) if "a" in (row[0] or ())]


_numbers = itertools.count()


def test_arrays_live_through_memtables_segments_merges_and_restarts(tmp_path: Path) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    Machine.folder = tmp_path
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=soak.many(6, 12),
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("element", ["UUID", "JSONB", "TEXT", "TIMESTAMPTZ", "BOOLEAN", "NUMERIC(8, 2)"])
def test_a_column_that_came_later_reads_as_its_default_by_key(element: str) -> None:
    """Rows of segments without the column and with it are gathered into one array."""
    with weftdb.open() as db:
        db.execute("CREATE TABLE t (k BIGINT, at BIGINT, PRIMARY KEY (k, at)) WITH (key = 'k')")
        db.execute("INSERT INTO t SELECT 1, g FROM generate_series(1, 60000) AS s(g)")
        inside.seal(db)
        db.execute(f"ALTER TABLE t ADD COLUMN later {element}[] DEFAULT '{{NULL}}'")
        db.execute("INSERT INTO t (k, at, later) SELECT 1, g, NULL FROM generate_series(60001, 120000) AS s(g)")
        inside.seal(db)
        wanted = [{"k": 1, "at": at} for at in (1, 60_000, 60_001, 120_000)]
        assert db.table("t").get_many(wanted).column("later").to_pylist() == [[None], [None], None, None]
        assert db.execute("SELECT later FROM t WHERE k = 1 AND at = 7").rows() == [([None],)]
