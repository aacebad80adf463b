"""Three machines for one call, PostgreSQL's answer beside them: the harness of the function table's golden tests."""

from __future__ import annotations

import json
import math
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from weftdb.base.errors import Invalid
from weftdb.base.rows import python_values
from weftdb.base.types import Kind, Type, parse_type
from weftdb.base.values import literal_value
from weftdb.engine.expression.conversion import text_of
from weftdb.engine.expression.evaluate import Context, evaluate
from weftdb.engine.expression.functions import (
    DUCKDB_PRELUDE,
    duckdb_type,
    explicit_cast,
    render_cast,
    render_literal,
    resolve,
    translate_error,
)
from weftdb.engine.expression.functions.duck import quote
from weftdb.engine.expression.naive import evaluate_row
from weftdb.engine.expression.node import Call, Cast, Column, Expression, Literal
from weftdb.sql.duck import create_callbacks

GOLDEN = Path(__file__).parent.parent / "golden" / "functions.txt"

SQL_FORMS = {
    "shift_left": "({0} << {1})",
    "shift_right": "({0} >> {1})",
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "modulo": "{0} % {1}",
    "power": "{0} ^ {1}",
    "negate": "- {0}",
    "bit_and_op": "{0} & {1}",
    "bit_or_op": "{0} | {1}",
    "bit_xor_op": "{0} # {1}",
    "bit_not_op": "~ {0}",
    "equal": "{0} = {1}",
    "not_equal": "{0} <> {1}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "is_distinct": "{0} IS DISTINCT FROM {1}",
    "is_not_distinct": "{0} IS NOT DISTINCT FROM {1}",
    "and": "{0} AND {1}",
    "or": "{0} OR {1}",
    "not": "NOT {0}",
    "is_null": "{0} IS NULL",
    "is_not_null": "{0} IS NOT NULL",
    "is_true": "{0} IS TRUE",
    "is_not_true": "{0} IS NOT TRUE",
    "is_false": "{0} IS FALSE",
    "is_not_false": "{0} IS NOT FALSE",
    "like": "{0} LIKE {1}",
    "ilike": "{0} ILIKE {1}",
    "like_escape": "{0} LIKE {1} ESCAPE {2}",
    "ilike_escape": "{0} ILIKE {1} ESCAPE {2}",
    "regex_match": "{0} ~ {1}",
    "regex_imatch": "{0} ~* {1}",
    "similar_to": "{0} SIMILAR TO {1}",
    "concat_op": "{0} || {1}",
    "json_get": "{0} -> {1}",
    "json_get_text": "{0} ->> {1}",
    "json_path": "{0} #> CAST({1} AS text[])",
    "json_path_text": "{0} #>> CAST({1} AS text[])",
    "position": "position({1} IN {0})",
}


def cases() -> list[list[str]]:
    return [line.split("\t") for line in GOLDEN.read_text().splitlines() if line and not line.startswith("#")]


def typed(argument: str) -> tuple[Type, str | None]:
    name, _, text = argument.partition(":")
    return parse_type(name), None if text == r"\N" else text


def postgres_sql(name: str, arguments: list[str]) -> str:
    parts = []
    for argument in arguments:
        type, _, text = argument.partition(":")
        parts.append(f"CAST(NULL AS {type})" if text == r"\N" else f"CAST({quote(text)} AS {type})")
    if name.startswith("cast:"):
        return f"CAST({parts[0]} AS {name[5:]})"
    if name == "in_list":
        return f"{parts[0]} IN ({', '.join(parts[1:])})"
    if name == "extract":
        return f"extract({typed(arguments[0])[1]} FROM {parts[1]})"
    form = SQL_FORMS.get(name)
    return form.format(*parts) if form else f"{name}({', '.join(parts)})"


# -- the three machines ----------------------------------------------------------------------------------------------


class Failed(Exception):
    pass


def expression_of(name: str, arguments: list[str], *, columns: bool) -> tuple[Expression, dict[int, Any], list[Type]]:
    """The call with its arguments as columns (constants stay literals), the row, and the arguments' types."""
    types = [typed(argument)[0] for argument in arguments]
    values = [literal_value(typed(argument)[1], type) for argument, type in zip(arguments, types, strict=True)]
    row = dict(enumerate(values, 1))
    leaves: list[Expression] = [
        Column(id=index, type=type) if columns else Literal(value=row[index], type=type)
        for index, type in enumerate(types, 1)
    ]
    if name.startswith("cast:"):
        target = parse_type(name[5:])
        assert explicit_cast(types[0], target), f"no cast from {types[0]} to {target}"
        return Cast(argument=leaves[0], type=target), row, types
    resolution = resolve(name, types, literals=dict(enumerate(values)))
    for index in resolution.overload.constants:
        leaves[index] = Literal(value=values[index], type=types[index])
    cast = [
        leaf if leaf.type == wanted else Cast(argument=leaf, type=wanted)
        for leaf, wanted in zip(leaves, resolution.argument_types, strict=True)
    ]
    return Call(function=name, arguments=tuple(cast), type=resolution.result), row, types


def by_naive(name: str, arguments: list[str]) -> tuple[Any, Type]:
    expression, row, _ = expression_of(name, arguments, columns=True)
    return evaluate_row(expression, row, context=Context()), expression.type


def by_arrow(name: str, arguments: list[str]) -> tuple[Any, Type]:
    expression, row, types = expression_of(name, arguments, columns=True)
    arrays = []
    for type, value in zip(types, row.values(), strict=True):
        arrow = type.arrow
        if isinstance(arrow, pa.BaseExtensionType):
            stored = value.bytes if type.kind is Kind.UUID and value is not None else value
            arrays.append(arrow.wrap_array(pa.array([stored, stored], arrow.storage_type)))
        else:
            arrays.append(pa.array([value, value], arrow))
    if not arrays:
        arrays = [pa.array([1, 1])]
    batch = pa.RecordBatch.from_arrays(arrays, names=[str(index) for index in range(len(arrays))])
    result = evaluate(expression, batch, column_ids=list(range(1, len(arrays) + 1)), context=Context())
    assert result.type == expression.type.arrow
    return python_values(result, expression.type)[1], expression.type


class Duck:
    def __init__(self) -> None:
        self.connection = duckdb.connect()
        self.callbacks: set[str] = set()
        self.connection.execute("SET TimeZone = 'UTC'").fetchall()
        for statement in DUCKDB_PRELUDE:
            self.connection.execute(statement).fetchall()

    def run(self, sql: str, type: Type) -> list[Any]:
        """The column ``x`` of a query, whose DuckDB type must be exactly ours."""
        create_callbacks(self.connection, sql, made=self.callbacks)
        try:
            table = self.connection.sql(f"SELECT x, typeof(x) AS type FROM ({sql})").to_arrow_table()
        except duckdb.Error as error:
            translated = translate_error(str(error))
            raise translated or AssertionError(f"untranslated: {error}\n{sql}") from error
        if table.num_rows:
            native = table.column("type")[0].as_py()
            assert native == duckdb_type(type), f"DuckDB gives {native}, not {duckdb_type(type)}: {sql}"
        return python_values(table.column("x"), type)

    def render(self, name: str, arguments: list[str]) -> tuple[str, Type]:
        expression, row, types = expression_of(name, arguments, columns=True)
        source = ", ".join(f"{render_literal(row[i], type)} AS a{i}" for i, type in enumerate(types, 1)) or "1"
        if isinstance(expression, Cast):
            sql = render_cast("a1", types[0], expression.type)
        else:
            assert isinstance(expression, Call)
            resolution = resolve(name, types, literals={i - 1: value for i, value in row.items()})
            pieces = [
                f"a{i}" if not isinstance(argument, Literal) else render_literal(argument.value, argument.type)
                for i, argument in enumerate(expression.arguments, 1)
            ]
            pieces = [render_cast(p, t, w) for p, t, w in zip(pieces, types, resolution.argument_types, strict=True)]
            constants = {index: row[index + 1] for index in resolution.overload.constants}
            sql = resolution.render(pieces, literals=constants)
        return f"SELECT {sql} AS x FROM (SELECT {source})", expression.type

    def __call__(self, name: str, arguments: list[str]) -> tuple[Any, Type]:
        sql, type = self.render(name, arguments)
        return self.run(sql, type)[0], type


# -- comparison with PostgreSQL --------------------------------------------------------------------------------------

# (function, PostgreSQL's type): our type, where ours is another on purpose.
TYPE_DEVIATIONS = {
    ("power", "numeric"): Kind.DOUBLE,
    ("log", "numeric"): Kind.DOUBLE,
}

# Whole calls that PostgreSQL answers differently, and why.
DEVIATIONS: dict[tuple[str, ...], str] = {
    ("json_get_text", 'json:{"a":1.50}', "text:a"): "JSON numbers are printed anew: 1.5",
    ("cast:numeric(5,2)", "text:NaN"): "NUMERIC holds no NaN here",
    ("cast:numeric(5,2)", "double precision:NaN"): "NUMERIC holds no NaN here",
    ("cast:bytea", "text:a\\001b"): "the escape form is read in literals, not by DuckDB",
    ("cast:bytea", "text:\\xZZ"): "another wording",
    ("cast:json", 'text:{"a":'): "the reason is added",
    ("cast:interval", "text:P1Y2M3DT4H5M6S"): "the ISO form is read in literals, not by DuckDB",
}


def same(mine: Any, type: Type, theirs: str) -> bool:
    if mine is None or theirs == r"\N":
        return mine is None and theirs == r"\N"
    if type.kind in (Kind.REAL, Kind.DOUBLE):
        expected = float(theirs)
        if math.isnan(expected) or math.isinf(expected):
            return str(mine) == str(expected)
        return math.isclose(mine, expected, rel_tol=1e-6 if type.kind is Kind.REAL else 1e-12, abs_tol=1e-300)
    if type.kind is Kind.NUMERIC:
        expected_number = Decimal(theirs)
        tolerance = Decimal(1).scaleb(-min(type.scale or 0, max(-expected_number.as_tuple().exponent, 0)))
        tolerance = (
            0 if (type.scale or 0) >= -expected_number.as_tuple().exponent and (type.scale or 0) < 16 else tolerance
        )
        return abs(mine - expected_number) <= tolerance
    if type.kind is Kind.JSON:
        return json.loads(mine) == json.loads(theirs)
    return text_of(mine, type) == theirs


def outcome(machine: Any, name: str, arguments: list[str]) -> tuple[Any, Type | None, str]:
    try:
        value, type = machine(name, arguments)
    except Invalid as error:
        return None, None, "ERROR " + error.message.split("row 1: ")[-1].split("\n")[0]
    return value, type, "" if value is None else text_of(value, type)


def check(machine: Any, line: list[str]) -> str | None:
    name, *arguments, their_type, theirs = line
    if tuple(line[:-2]) in DEVIATIONS:
        return None
    value, type, text = outcome(machine, name, arguments)
    if their_type == "ERROR":
        return None if text == f"ERROR {theirs}" else f"{line[:-2]}: {text or value!r}, PostgreSQL: ERROR {theirs}"
    if type is None:
        return f"{line[:-2]}: {text}, PostgreSQL: {theirs}"
    if TYPE_DEVIATIONS.get((name, their_type), Kind(their_type)) is not type.kind and not (
        type.is_text and their_type in ("text", "character varying")
    ):
        return f"{line[:-2]}: type {type}, PostgreSQL: {their_type}"
    return None if same(value, type, theirs) else f"{line[:-2]}: {text!r} ({type}), PostgreSQL: {theirs!r}"


def report(problems: list[str | None]) -> None:
    found = [problem for problem in problems if problem]
    assert not found, f"{len(found)} of {len(problems)} differ:\n" + "\n".join(found)


def regenerate(connection: str) -> None:
    """Ask PostgreSQL for the right-hand sides."""
    lines = [(line[0], line[1:-2]) for line in cases()]
    script = ["SET timezone = 'UTC'; SET intervalstyle = 'postgres';"]
    for name, arguments in lines:
        sql = postgres_sql(name, arguments)
        script.append(
            "DO $do$ DECLARE t text; v text; BEGIN SELECT pg_typeof(x)::text, x::text INTO t, v FROM "
            f"(SELECT {sql} AS x) q; RAISE NOTICE E'OK\\t%\\t%', t, coalesce(v, '\\N'); "
            "EXCEPTION WHEN OTHERS THEN RAISE NOTICE E'ERROR\\t%', split_part(sqlerrm, E'\\n', 1); END $do$;"
        )
    run = subprocess.run(
        ["psql", "-X", "-q", connection], input="\n".join(script), text=True, capture_output=True, check=True
    )
    answers = [line.split("NOTICE:  ")[1] for line in run.stderr.splitlines() if "NOTICE:  " in line]
    assert len(answers) == len(lines), f"{len(answers)} answers for {len(lines)} calls:\n{run.stderr[-2000:]}"
    with GOLDEN.open("w") as file:
        for (name, arguments), answer in zip(lines, answers, strict=True):
            kind, *rest = answer.split("\t")
            right = ["ERROR", rest[0]] if kind == "ERROR" else rest
            print("\t".join([name, *arguments, *right]), file=file)
