"""Functions that DuckDB computes in its own way, beside their plain forms, on random arguments."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import Duck
from weftdb.base.errors import Invalid
from weftdb.base.types import (
    BIGINT,
    BYTEA,
    DOUBLE,
    INTEGER,
    INTERVAL,
    REAL,
    TEXT,
    TIME,
    TIMESTAMP,
    Type,
    array_of,
    numeric,
)
from weftdb.engine.expression.context import Context
from weftdb.engine.expression.functions import explicit_cast, render_cast, render_literal, resolve
from weftdb.engine.expression.naive import evaluate_row
from weftdb.engine.expression.node import Call, Cast, Column, Expression

TEXTS = st.none() | st.text("ab,'\\ü\n%", max_size=6)
MOMENTS = st.none() | st.integers(0, 4).map(lambda day: dt.datetime(2026, 1, 1 + day))
TIMES = st.none() | st.integers(0, 4).map(lambda hour: dt.time(hour))
NUMBERS = st.none() | st.integers(-3, 3) | st.sampled_from([2**31 - 1, -(2**31)])
DOUBLES = st.sampled_from([None, 0.0, -0.0, 1.5, math.nan, math.inf])


def lists(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.lists(items, max_size=4)


ARRAYS = ((array_of(INTEGER), lists(NUMBERS)), (array_of(TEXT), lists(TEXTS)), (array_of(DOUBLE), lists(DOUBLES)))
ITEMS = {array_of(INTEGER): (INTEGER, NUMBERS), array_of(TEXT): (TEXT, TEXTS), array_of(DOUBLE): (DOUBLE, DOUBLES)}

CASES: list[tuple[str, list[tuple[Type, st.SearchStrategy[Any]]]]] = [
    (
        "width_bucket",
        [(DOUBLE, DOUBLES | st.floats(-9, 9)), *[(DOUBLE, st.floats(-5, 5))] * 2, (INTEGER, st.integers(1, 9))],
    ),
    ("to_hex", [(INTEGER, NUMBERS)]),
    ("to_hex", [(BIGINT, NUMBERS | st.sampled_from([-(2**63), 2**63 - 1]))]),
    ("sha256", [(BYTEA, st.none() | st.binary(max_size=6))]),
    ("quote_literal", [(TEXT, TEXTS)]),
    ("quote_nullable", [(TEXT, TEXTS)]),
    ("string_to_array", [(TEXT, TEXTS), (TEXT, TEXTS)]),
    ("string_to_array", [(TEXT, TEXTS), (TEXT, TEXTS), (TEXT, TEXTS)]),
    ("overlaps", [(TIMESTAMP, MOMENTS)] * 4),
    ("overlaps", [(TIME, TIMES)] * 4),
    ("to_json_text", [(DOUBLE, DOUBLES | st.floats())]),
    ("to_json_text", [(REAL, st.none() | st.floats(width=32))]),
    ("to_json_text", [(BIGINT, NUMBERS)]),
    ("to_json_text", [(numeric(9, 3), st.none() | st.decimals(-999, 999, places=3))]),
    ("to_json_text", [(TEXT, TEXTS)]),
    *(
        (name, [array, array])
        for array in ARRAYS
        for name in ("array_contains", "array_contained", "array_overlaps", "array_cat")
    ),
    *(
        (name, [array, ITEMS[array[0]]])
        for array in ARRAYS
        for name in ("array_append", "array_position", "array_remove")
    ),
    *(("array_prepend", [ITEMS[array[0]], array]) for array in ARRAYS),
    ("array_contains", [(array_of(INTERVAL), lists(st.none()))] * 2),
    *(
        (f"cast:{target}", [(source, values)])
        for target in (numeric(38, 9), numeric(38, 0), numeric(18, 4), numeric(25, 20), numeric(5, 2))
        for source, values in (
            (DOUBLE, st.none() | st.floats(-900, 900) | st.sampled_from([0.5, 2.675, 1e-9])),
            (REAL, st.none() | st.floats(-900, 900, width=32)),
            (TEXT, st.none() | st.decimals(-900, 900, allow_nan=False).map(str)),
        )
    ),
]


@pytest.fixture(scope="module")
def duck() -> Duck:
    return Duck()


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=[f"{name}-{n}" for n, (name, _) in enumerate(CASES)])
def test_duckdb_and_the_plain_form_agree(duck: Duck, name: str, arguments: list[tuple[Type, Any]]) -> None:
    types = [type for type, _ in arguments]
    columns: list[Expression] = [Column(id=number, type=type) for number, type in enumerate(types)]
    names = [f"a{number}" for number in range(len(types))]
    if name.startswith("cast:"):
        target = next(type for type in TARGETS if f"cast:{type}" == name)
        assert explicit_cast(types[0], target)
        call: Expression = Cast(argument=columns[0], type=target)
        sql = render_cast("a0", types[0], target)
    else:
        resolution = resolve(name, types)
        call = Call(function=name, arguments=tuple(columns), type=resolution.result)
        sql = resolution.render(names)

    @given(st.lists(st.tuples(*(values for _, values in arguments)), min_size=1, max_size=20))
    @settings(max_examples=15, deadline=None)
    def run(rows: list[tuple[Any, ...]]) -> None:
        def literals(row: tuple[Any, ...]) -> str:
            return ", ".join(render_literal(value, type) for value, type in zip(row, types, strict=True))

        expected: list[Any] = []
        refused: Invalid | None = None
        for row in rows:
            try:
                expected.append(evaluate_row(call, dict(enumerate(row)), context=Context()))
            except Invalid as error:
                rows, refused = [row], error  # of several errors DuckDB has another one first
                break
        source = f"(VALUES {', '.join(f'({literals(row)})' for row in rows)}) AS rows({', '.join(names)})"
        query = f"SELECT {sql} AS x FROM {source}"
        if refused is not None:
            with pytest.raises(Invalid, match=re.escape(refused.message)):
                duck.run(query, call.type)
        else:
            assert list(map(repr, duck.run(query, call.type))) == list(map(repr, expected))

    run()


TARGETS = (numeric(38, 9), numeric(38, 0), numeric(18, 4), numeric(25, 20), numeric(5, 2))


def test_a_pattern_of_plain_values_is_a_concatenation(duck: Duck) -> None:
    rows: list[list[str | None]] = [["a", "b"], [None, "b"], ["%s", "'"]]
    for pattern in ("%s", "%s-%s", "x%sy%s'z", "%s%%", "%-3s|%s", "%2$s"):
        resolution = resolve("format", [TEXT, TEXT, TEXT], literals={0: pattern})
        sql = resolution.render([render_literal(pattern, TEXT), "a0", "a1"], literals={0: pattern})
        assert ("weft_py_" in sql) == (pattern not in ("%s", "%s-%s", "x%sy%s'z"))
        for row in rows:
            literals = ", ".join(f"{render_literal(value, TEXT)} AS a{place}" for place, value in enumerate(row))
            assert resolution.overload.naive is not None
            assert duck.run(f"SELECT {sql} AS x FROM (SELECT {literals})", TEXT) == [
                resolution.overload.naive(pattern, *row)
            ]
