"""The function table against PostgreSQL 15's answers, and its three machines against each other.

``golden/functions.txt`` holds one call a line: name, typed arguments, PostgreSQL's type and text (or its error). Each
call is computed by DuckDB through the template, by the vectorized evaluator and by the naive one; all three must agree
with PostgreSQL. What differs on purpose is listed in ``DEVIATIONS`` with the reason.

PostgreSQL's side is filled in by, in tests/support,

    python -c "import machines; machines.regenerate('host=… user=postgres')"
"""

from __future__ import annotations

import function_list
import pytest
from machines import GOLDEN, Duck, by_arrow, by_naive, cases, check, report
from weftdb.base.errors import Invalid
from weftdb.base.types import Kind, parse_type
from weftdb.engine.expression.functions import FUNCTIONS, FunctionKind, Volatility, resolve


@pytest.fixture(scope="module")
def duck() -> Duck:
    return Duck()


def test_the_naive_machine_gives_postgresql_s_answers() -> None:
    report([check(by_naive, line) for line in cases()])


def test_the_vectorized_machine_gives_postgresql_s_answers() -> None:
    report([check(by_arrow, line) for line in cases()])


def test_duckdb_gives_postgresql_s_answers_through_the_templates(duck: Duck) -> None:
    report([check(duck, line) for line in cases()])


# -- types and coverage ----------------------------------------------------------------------------------------------

OPERATORS = {
    "+": "add",
    "-": "subtract",
    "*": "multiply",
    "/": "divide",
    "%": "modulo",
    "^": "power",
    "=": "equal",
    "<": "less",
    "||": "concat_op",
}


def deviates(left: str, operator: str, right: str) -> bool:
    """NUMERIC powers are double; jsonb is not there; time and interval are not compared with each other."""
    times = {left, right} >= {"time without time zone"}
    return (
        (operator == "^" and "numeric" in (left, right))
        or (left, operator, right) == ("unknown", "-", "text")
        or (times and (operator in "=<" or "unknown" in (left, right)))
    )


def test_every_operator_has_postgresql_s_result_type_or_error_for_every_pair_of_types() -> None:
    problems = []
    for line in GOLDEN.with_name("operators.txt").read_text().splitlines():
        left, operator, right, expected = line.split("\t")
        if deviates(left, operator, right):
            continue
        try:
            found = resolve(OPERATORS[operator], [parse_type(left), parse_type(right)]).result.kind.value
        except Invalid as error:
            found = error.sqlstate
        problems.append(None if found == expected else f"{left} {operator} {right}: {found}, PostgreSQL: {expected}")
    report(problems)


NOT_POSTGRESQL_S = {
    "time_bucket": "TimescaleDB's; tested with the expressions",
    "time_bucket_gapfill": "TimescaleDB's; tests/test_time_series.py",
    "interpolate_between": "tests/test_time_series.py",
    "gapfill_step": "tests/test_time_series.py",
    "array_length": "arrays come out of queries only; tested below",
    "array_to_string": "arrays come out of queries only; tested below",
    "cardinality": "arrays come out of queries only; tested below",
    **dict.fromkeys(
        (
            *("jsonb_path_exists", "jsonb_path_exists_opr", "jsonb_path_list", "jsonb_path_match"),
            *("jsonb_path_match_opr", "jsonb_path_query_array", "jsonb_path_query_first"),
        ),
        "a path is a constant of a type of its own; tests/golden/select_manual.sql",
    ),
    "random": "volatile",
    "gen_random_uuid": "volatile",
    "clock_timestamp": "volatile",
    **dict.fromkeys(
        (
            *("all_items", "any_item", "array_item", "array_list", "array_set"),
            *("array_append", "array_cat", "array_contained", "array_contains", "array_fill", "array_lower"),
            *(
                "array_dims",
                "array_ndims",
                "array_overlaps",
                "array_position",
                "array_positions",
                "array_prepend",
                "array_remove",
            ),
            *("array_replace", "array_slice", "array_upper", "trim_array"),
            *("string_to_array", "regexp_match", "regexp_split_to_array"),
        ),
        "arrays come out of queries only; golden/select_surface.sql",
    ),
    **dict.fromkeys(
        (
            *(
                "json_build_array",
                "json_build_object",
                "jsonb_build_array",
                "jsonb_build_object",
                "to_json_text",
                "json_row",
            ),
            *("jsonb_of", "jsonb_set", "jsonb_delete_path", "jsonb_exists_any", "jsonb_exists_all"),
            *("json_object", "jsonb_object", "jsonb_insert", "regexp_match_list"),
            "jsonb_pretty",
            *(
                f"{kind}_{name}_list"
                for kind in ("json", "jsonb")
                for name in ("element", "element_text", "key", "value", "value_text")
            ),
        ),
        "made by the binder of what PostgreSQL has, or of arrays; golden/select_surface.sql",
    ),
    "add_in_zone": "what a session's zone makes of +; tests/test_time_series.py",
    "text_in_zone": "what a session's zone makes of ::text; tests/test_time_series.py",
    "overlaps": "syntax of its own; golden/select_surface.sql",
    "round_time": "casts to TIMESTAMP(n); golden/select_everyday.sql",
    "pg_size_pretty": "golden/select_everyday.sql",
    **dict.fromkeys(
        (f"weft_{what}_{sort}" for what in ("sum", "variance") for sort in ("integer", "numeric", "float")),
        "of views' groups; test_accumulators.py, test_view_model.py",
    ),
}


def test_every_scalar_function_is_checked_against_postgresql() -> None:
    named = {line[0] for line in cases()}
    scalars = {name for name, f in FUNCTIONS.items() if f.kind is FunctionKind.SCALAR}
    stable = {name for name in scalars if FUNCTIONS[name].volatility is Volatility.STABLE}
    assert scalars - stable - named == set(NOT_POSTGRESQL_S)


def test_functions_of_arrays(duck: Duck) -> None:
    array, text, integer = parse_type("integer[]"), parse_type("text"), parse_type("integer")
    for name, types, arguments, expected in (
        ("array_length", [array, integer], ["[1, NULL, 3]", "1"], 3),
        ("array_length", [array, integer], ["CAST([] AS INTEGER[])", "1"], None),
        ("cardinality", [array], ["[1, NULL, 3]"], 3),
        ("array_to_string", [array, text], ["[1, NULL, 3]", "'-'"], "1-3"),
    ):
        resolution = resolve(name, types)
        assert duck.run(f"SELECT {resolution.render(arguments)} AS x", resolution.result) == [expected]


def test_the_page_of_functions_is_made_of_the_table() -> None:
    message = "run: python tests/support/function_list.py"
    assert function_list.PATH.read_text() == function_list.page(), message


def test_every_function_and_type_has_a_line_in_the_docs() -> None:
    page = function_list.page()
    hidden = function_list._SYNTAX
    lines = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    operators = {f.operator.replace("|", "\\|") for f in FUNCTIONS.values() if f.operator}
    assert {name for name, f in FUNCTIONS.items() if f.operator is None and name not in hidden} | operators <= lines
    types = (function_list.PATH.parent / "types.md").read_text()
    names = {"time without time zone": "TIME", "timestamp without time zone": "TIMESTAMP",
             "timestamp with time zone": "TIMESTAMPTZ", "character varying": "VARCHAR", "array": "arrays"}  # fmt: skip
    for kind in set(Kind) - {Kind.UNKNOWN}:
        assert f"`{names.get(kind.value, kind.value.upper())}" in types or names.get(kind.value, "?") in types, kind
