"""Aggregates against PostgreSQL 15's answers: through DuckDB's templates, and by the naive forms where there are some.

``golden/aggregates.txt``: name (and a constant), argument types, rows, PostgreSQL's type and text; regenerated as
``test_functions`` is. Each is also computed as a window over the whole group, with FILTER and with DISTINCT where the
answer cannot change.
"""

from __future__ import annotations

import os
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import machines as functions
import pytest
from weftdb.base.errors import Invalid
from weftdb.base.types import Kind, Type, numeric, parse_type
from weftdb.base.values import literal_value
from weftdb.engine.expression.conversion import settle
from weftdb.engine.expression.functions import (
    FUNCTIONS,
    FunctionKind,
    Modifiers,
    duckdb_type,
    render_cast,
    render_literal,
    resolve,
)

GOLDEN = Path(__file__).parent / "golden" / "aggregates.txt"
ORDERED = ("percentile_cont", "percentile_disc", "mode")


def cases() -> list[list[str]]:
    return [line.split("\t") for line in GOLDEN.read_text().splitlines()]


def parsed(line: list[str]) -> tuple[str, str, list[Type], list[list[Any]]]:
    name, _, constant = line[0].partition(" ")
    types = [parse_type(text) for text in line[1].split(",")] if "(" not in line[1] else [parse_type(line[1])]
    rows = [
        [None if v == r"\N" else literal_value(v, t) for v, t in zip(row.split("|"), types, strict=True)]
        for row in line[2].split(";")
    ]
    return name, constant, types, rows


def resolution_of(name: str, constant: str, types: list[Type]) -> Any:
    if constant == "*":
        return resolve(name, [])
    return resolve(name, [numeric(2, 1), *types] if constant else types)


def duckdb_sql(line: list[str], **modifiers: Any) -> tuple[str, Type]:
    name, constant, types, rows = parsed(line)
    resolution = resolution_of(name, constant, types)
    columns = [f"a{index}" for index in range(len(types))]
    arguments = [] if constant == "*" else [constant, *columns] if constant else columns
    given = [numeric(2, 1), *types] if constant else types
    if constant != "*":
        arguments = [render_cast(a, t, w) for a, t, w in zip(arguments, given, resolution.argument_types, strict=True)]
    order = columns[0] if name in ORDERED else ""
    first: list[Any] = [Decimal(constant)] if constant and constant != "*" else rows[0]
    literals = {index: first[index] for index in resolution.overload.constants}
    sql = resolution.render(arguments, literals=literals, modifiers=Modifiers(order_by=order, **modifiers))
    values = ", ".join(
        "(" + ", ".join(render_literal(v, t) for v, t in zip(row, types, strict=True)) + ")" for row in rows
    )
    return f"SELECT {sql} AS x FROM (VALUES {values}) AS t({', '.join(columns)})", resolution.result


@pytest.fixture(scope="module")
def duck() -> functions.Duck:
    return functions.Duck()


def problem(line: list[str], value: Any, type: Type) -> str | None:
    their_type, theirs = line[-2:]
    if their_type.endswith("[]"):
        same = type.kind is Kind.ARRAY and functions.text_of(value, type) == theirs
    else:
        same = Kind(their_type) is type.kind and functions.same(value, type, theirs)
    return None if same else f"{line[:3]}: {value!r} ({type}), PostgreSQL: {theirs} ({their_type})"


def run(duck: functions.Duck, line: list[str], **modifiers: Any) -> str | None:
    try:
        sql, type = duckdb_sql(line, **modifiers)
        return problem(line, duck.run(sql, type)[0], type)
    except Invalid as error:
        expected = "\t".join(line[-2:])
        return None if expected == f"ERROR\t{error.message}" else f"{line[:3]}: {error.message}, PostgreSQL: {expected}"


def test_aggregates_give_postgresql_s_answers(duck: functions.Duck) -> None:
    functions.report([run(duck, line) for line in cases()])


def test_a_filter_that_keeps_all_rows_changes_nothing(duck: functions.Duck) -> None:
    functions.report([run(duck, line, filter="true") for line in cases()])


def test_as_a_window_over_everything_the_answer_is_the_same(duck: functions.Duck) -> None:
    lines = [line for line in cases() if line[0].split(" ")[0] not in ORDERED]
    functions.report([run(duck, line, over="") for line in lines])


def test_distinct_reaches_every_native_call(duck: functions.Duck) -> None:
    resolution = resolve("avg", [parse_type("integer")])
    sql = resolution.render(["x"], modifiers=Modifiers(distinct=True, filter="x > 0"))
    rows = duck.run(f"SELECT {sql} AS x FROM (VALUES (1), (1), (4), (-9)) AS t(x)", resolution.result)
    assert rows == [Decimal("2.5000000000000000")]


def test_the_naive_forms_agree() -> None:
    problems = []
    for line in cases():
        name, constant, types, rows = parsed(line)
        resolution = resolution_of(name, constant, types)
        naive = resolution.overload.naive
        if naive is None or line[-2] == "ERROR":
            continue
        kept = [tuple(row) for row in rows if not resolution.overload.strict or None not in row]
        value = naive(kept)
        if name == "array_agg":
            value = [row[0] for row in rows]
        else:
            value = settle(value, resolution.result)
        problems.append(problem(line, value, resolution.result))
    functions.report(problems)


def test_every_aggregate_and_window_function_is_in_the_golden_file_or_tested_by_name(duck: functions.Duck) -> None:
    named = {line[0].split(" ")[0] for line in cases()}
    windows = {name for name, function in FUNCTIONS.items() if function.kind is FunctionKind.WINDOW}
    aggregates = {name for name, function in FUNCTIONS.items() if function.kind is FunctionKind.AGGREGATE}
    of_series = {"first", "last", "median", "approx_percentile", "approx_count_distinct"}  # tests/test_time_series.py
    of_json = {"json_text_agg", "json_object_text_agg"}  # golden/select_surface.sql
    of_json |= {"json_lines_agg"}  # golden/select_everyday.sql
    assert aggregates - named == {"any_value"} | of_series | of_json
    assert windows == set(WINDOW_ANSWERS) | {"locf", "nocb", "interpolate", "session_number"}


# name → argument SQL and types, PostgreSQL's type, the answers over (1), (2), (2), (5) ordered
WINDOW_ANSWERS: dict[str, tuple[list[str], list[str], str, list[Any]]] = {
    "row_number": ([], [], "bigint", [1, 2, 3, 4]),
    "rank": ([], [], "bigint", [1, 2, 2, 4]),
    "dense_rank": ([], [], "bigint", [1, 2, 2, 3]),
    "percent_rank": ([], [], "double precision", [0, 1 / 3, 1 / 3, 1]),
    "cume_dist": ([], [], "double precision", [0.25, 0.75, 0.75, 1]),
    "ntile": (["3"], ["integer"], "integer", [1, 1, 2, 3]),
    "lag": (["x", "1", "0"], ["integer", "integer", "integer"], "integer", [0, 1, 2, 2]),
    "lead": (["x"], ["integer"], "integer", [2, 2, 5, None]),
    "first_value": (["x"], ["integer"], "integer", [1, 1, 1, 1]),
    "last_value": (["x"], ["integer"], "integer", [1, 2, 2, 5]),
    "nth_value": (["x", "2"], ["integer", "integer"], "integer", [None, 2, 2, 2]),
}


@pytest.mark.parametrize("name", WINDOW_ANSWERS)
def test_window_functions_give_postgresql_s_answers(duck: functions.Duck, name: str) -> None:
    arguments, types, result, answers = WINDOW_ANSWERS[name]
    resolution = resolve(name, [parse_type(type) for type in types])
    assert resolution.result == parse_type(result)
    sql = resolution.render(arguments, modifiers=Modifiers(over="ORDER BY x"))
    rows = duck.run(f"SELECT {sql} AS x FROM (VALUES (1), (2), (2), (5)) AS t(x) ORDER BY t.x", resolution.result)
    assert rows == pytest.approx(answers)
    assert duckdb_type(resolution.result)


def regenerate(connection: str) -> None:
    script, lines = ["SET timezone = 'UTC';"], cases()
    for line in lines:
        name, _, constant = line[0].partition(" ")
        types = [line[1]] if "(" in line[1] else line[1].split(",")
        columns = [f"a{index}" for index in range(len(types))]
        rows = []
        for row in line[2].split(";"):
            values = [f"NULL::{t}" if v == r"\N" else f"'{v}'::{t}" for v, t in zip(row.split("|"), types, strict=True)]
            rows.append(f"({', '.join(values)})")
        call = f"{name}({', '.join(columns)})"
        if name in ORDERED:
            call = f"{name}({constant}) WITHIN GROUP (ORDER BY a0)"
        elif constant:
            call = f"{name}(*)"
        sql = f"SELECT {call} AS x FROM (VALUES {', '.join(rows)}) AS t({', '.join(columns)})"
        script.append(
            "DO $do$ DECLARE t text; v text; BEGIN SELECT pg_typeof(x)::text, x::text INTO t, v FROM "
            f"({sql}) q; RAISE NOTICE E'OK\\t%\\t%', t, coalesce(v, '\\N'); "
            "EXCEPTION WHEN OTHERS THEN RAISE NOTICE E'ERROR\\t%', split_part(sqlerrm, E'\\n', 1); END $do$;"
        )
    command = ["psql", "-X", "-q", connection]
    run = subprocess.run(command, input="\n".join(script), text=True, capture_output=True, check=True)
    answers = [line.split("NOTICE:  ")[1].split("\t") for line in run.stderr.splitlines() if "NOTICE:  " in line]
    with GOLDEN.open("w") as file:
        for line, (kind, *rest) in zip(lines, answers, strict=True):
            print("\t".join([*line[:-2], *(["ERROR", rest[0]] if kind == "ERROR" else rest)]), file=file)


if __name__ == "__main__":
    regenerate(os.environ["WEFT_POSTGRES"])
