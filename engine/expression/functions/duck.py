"""Types, literals and casts as DuckDB SQL, with PostgreSQL's rounding, ranges and error messages.

DuckDB reads ``'12.5'`` as the integer 13, ``'1_000'`` as 1000, cuts nothing to VARCHAR(n) and writes ``1.0`` where
PostgreSQL writes ``1``. So each cast is a template of its own where the two differ, a native cast where they agree.
Most of the longer ones are macros (``DUCKDB_PRELUDE``), which the executor creates when a statement names the first; a
macro's argument may be computed twice, which DuckDB's common-subexpression elimination undoes for all but volatile
ones.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from ....base.types import Kind, Type

_DUCKDB: Final[dict[Kind, str]] = {
    Kind.BOOLEAN: "BOOLEAN",
    Kind.SMALLINT: "SMALLINT",
    Kind.INTEGER: "INTEGER",
    Kind.BIGINT: "BIGINT",
    Kind.REAL: "FLOAT",
    Kind.DOUBLE: "DOUBLE",
    Kind.TEXT: "VARCHAR",
    Kind.VARCHAR: "VARCHAR",
    Kind.BYTEA: "BLOB",
    Kind.DATE: "DATE",
    Kind.TIME: "TIME",
    Kind.TIMESTAMP: "TIMESTAMP",
    Kind.TIMESTAMPTZ: "TIMESTAMP WITH TIME ZONE",
    Kind.INTERVAL: "INTERVAL",
    Kind.UUID: "UUID",
    Kind.JSON: "JSON",
    Kind.JSONB: "JSON",
    Kind.UNKNOWN: "VARCHAR",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonCall:
    """A function that DuckDB calls back for, by the types of its arguments and its result."""

    function: str
    arguments: tuple[Type, ...]
    result: Type


PYTHON_CALLS: dict[str, PythonCall] = {}
"""Name in DuckDB's SQL → what it means: all that were ever rendered. Names say the types, so there are few."""


def python_call(function: str, types: tuple[Type, ...], result: Type, arguments: Sequence[str]) -> str:
    """A call that DuckDB hands to the evaluator (``expression.callback``)."""
    words = "_".join(re.sub(r"[^a-z0-9]+", "_", str(type)) for type in (*types, result))
    name = f"weft_py_{function}__{words}"
    PYTHON_CALLS.setdefault(name, PythonCall(function=function, arguments=types, result=result))
    return f"{name}({', '.join(arguments)})"


_TEXT: Final = Type(kind=Kind.TEXT)


def duckdb_type(type: Type) -> str:
    """DuckDB's name of the type."""
    match type.kind:
        case Kind.NUMERIC:
            return f"DECIMAL({type.precision},{type.scale})"
        case Kind.ARRAY:
            assert type.element is not None, "an array type has an element type"
            return duckdb_type(type.element) + "[]"
        case _:
            return _DUCKDB[type.kind]


def quote(text: str) -> str:
    """A text literal."""
    return "'" + text.replace("'", "''") + "'"


def render_literal(value: Any, type: Type) -> str:
    """A typed constant as DuckDB SQL; ``value`` is what a Literal of ``type`` holds."""
    name = duckdb_type(type)
    if value is None:
        return f"CAST(NULL AS {name})"
    match type.kind:
        case Kind.BOOLEAN:
            return "true" if value else "false"
        case Kind.INTEGER if value >= 0:
            return str(value)
        case Kind.SMALLINT | Kind.INTEGER | Kind.BIGINT:
            return f"CAST({value} AS {name})"
        case Kind.TEXT | Kind.VARCHAR | Kind.UNKNOWN:
            return f"CAST({quote(value)} AS VARCHAR)"
        case Kind.NUMERIC:
            return f"CAST({quote(format(Decimal(value), 'f'))} AS {name})"
        case Kind.REAL | Kind.DOUBLE:
            text = repr(float(value)) if math.isfinite(value) else str(value)
            return f"CAST({quote(text)} AS {name})"
        case Kind.BYTEA:
            return "CAST('" + "".join(f"\\x{byte:02X}" for byte in value) + "' AS BLOB)"
        case Kind.INTERVAL:
            micro = value.nanoseconds // 1000
            return f"(to_months({value.months}) + to_days({value.days}) + to_microseconds({micro}))"
        case Kind.TIMESTAMP:
            return f"CAST('{value.isoformat(' ')}' AS TIMESTAMP)"
        case Kind.TIMESTAMPTZ:
            return f"CAST('{value.astimezone(dt.UTC).isoformat(' ')}' AS TIMESTAMP WITH TIME ZONE)"
        case Kind.DATE | Kind.TIME:
            return f"CAST('{value.isoformat()}' AS {name})"
        case Kind.UUID:
            return f"CAST('{value if isinstance(value, uuid.UUID) else uuid.UUID(bytes=value)}' AS UUID)"
        case Kind.JSON | Kind.JSONB:
            return f"CAST({quote(value)} AS JSON)"
        case Kind.ARRAY:
            assert type.element is not None, "an array type has an element type"
            items = ", ".join(render_literal(item, type.element) for item in value)
            return f"CAST([{items}] AS {name})"


def render_cast(sql: str, source: Type, target: Type, *, explicit: bool = True) -> str:
    """``sql`` of type ``source`` as ``target``.

    ``explicit``: the user wrote CAST; VARCHAR(n) then cuts, where an assignment refuses what is too long.
    """
    if source == target or (source.kind is Kind.UNKNOWN and target.is_text and target.length is None):
        return sql
    if target.kind is Kind.VARCHAR and target.length is not None:
        text = render_cast(sql, source, Type(kind=Kind.TEXT))
        if source.kind is Kind.VARCHAR and source.length is not None and source.length <= target.length:
            return text
        if explicit:
            return f"left({text}, {target.length})"
        return f"weft_check_length({text}, {target.length})"
    if source.is_text and target.is_text:
        return sql
    if target.kind is Kind.NUMERIC and source.kind in (Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.NUMERIC):
        return f"CAST({sql} AS {duckdb_type(target)})"
    key = Kind.TEXT if source.is_text or source.kind is Kind.UNKNOWN else source.kind
    template = _CASTS.get((key, Kind.TEXT if target.is_text else target.kind), "CAST({0} AS {t})")
    if callable(template):
        return template(sql, source, target)
    return template.format(sql, t=duckdb_type(target))


def _number(text: str, target: Type) -> str:
    """A number's text as NUMERIC; in 64 bits where they suffice, since DuckDB takes 5 us to round in 128."""
    wide, scale = f"CAST({text} AS {duckdb_type(target)})", target.scale or 0
    if (target.precision or 0) <= _DIGITS or scale > _DIGITS:
        return wide
    return f"coalesce(CAST(TRY_CAST({text} AS DECIMAL({_DIGITS},{scale})) AS {duckdb_type(target)}), {wide})"


_DIGITS: Final = 18
"""What 64 bits hold."""


def utc_clock(moment: str) -> str:
    """What a clock in UTC shows at a TIMESTAMPTZ. DuckDB's ``timezone`` asks a calendar: fifty times as slow."""
    return f"make_timestamp(epoch_us({moment}))"


def utc_moment(clock: str) -> str:
    """When a clock in UTC shows a TIMESTAMP."""
    return f"make_timestamptz(epoch_us({clock}))"


def _array_cast(sql: str, source: Type, target: Type) -> str:
    assert source.element is not None, "an array type has an element type"
    assert target.element is not None, "an array type has an element type"
    return f"list_transform({sql}, lambda item: {render_cast('item', source.element, target.element)})"


def item_texts(sql: str, source: Type) -> str:
    """The items of an array as texts, which for truth values are shorter than by themselves."""
    if source.element is not None and source.element.kind is Kind.BOOLEAN:
        return f"list_transform({sql}, lambda item: CASE WHEN item THEN 't' WHEN NOT item THEN 'f' END)"
    return render_cast(sql, source, Type(kind=Kind.ARRAY, element=_TEXT))


_CastTemplate = str | Callable[[str, Type, Type], str]

# What is not here is DuckDB's own cast, which agrees: numeric → integer half away from zero, float → integer half to
# even, each with a range check, date ↔ timestamp, and so on.
_CASTS: Final[dict[tuple[Kind, Kind], _CastTemplate]] = {
    (Kind.TEXT, Kind.SMALLINT): "CAST(weft_integer_text({0}, 'smallint') AS SMALLINT)",
    (Kind.TEXT, Kind.INTEGER): "CAST(weft_integer_text({0}, 'integer') AS INTEGER)",
    (Kind.TEXT, Kind.BIGINT): "CAST(weft_integer_text({0}, 'bigint') AS BIGINT)",
    (Kind.TEXT, Kind.REAL): "weft_float_range(CAST(weft_float_text({0}, 'real') AS FLOAT), {0}, 'real')",
    (Kind.TEXT, Kind.DOUBLE): (
        "weft_float_range(CAST(weft_float_text({0}, 'double precision') AS DOUBLE), {0}, 'double precision')"
    ),
    (Kind.TEXT, Kind.TIME): "CAST(weft_time_text({0}, 'time') AS TIME)",
    (Kind.TEXT, Kind.INTERVAL): "CAST(weft_interval_clean({0}) AS INTERVAL)",
    (Kind.TEXT, Kind.NUMERIC): lambda sql, source, target: _number(f"weft_numeric_text({sql})", target),
    (Kind.TEXT, Kind.BOOLEAN): "weft_boolean_text({0})",
    (Kind.TEXT, Kind.DATE): "CAST(weft_date_text({0}) AS DATE)",
    (Kind.TEXT, Kind.TIMESTAMP): "CAST(weft_timestamp_text({0}, 'timestamp') AS TIMESTAMP)",
    (Kind.TEXT, Kind.TIMESTAMPTZ): (
        "CAST(weft_timestamp_text({0}, 'timestamp with time zone') AS TIMESTAMP WITH TIME ZONE)"
    ),
    (Kind.TEXT, Kind.BYTEA): "weft_bytea_text({0})",
    (Kind.TEXT, Kind.JSON): "CAST({0} AS JSON)",
    (Kind.TEXT, Kind.JSONB): lambda sql, source, target: python_call("jsonb_of", (_TEXT,), target, [sql]),
    (Kind.JSON, Kind.JSONB): lambda sql, source, target: python_call(
        "jsonb_of", (_TEXT,), target, [f"CAST({sql} AS VARCHAR)"]
    ),
    (Kind.JSONB, Kind.JSON): "{0}",
    (Kind.REAL, Kind.NUMERIC): lambda sql, source, target: _number(f"weft_finite_text({sql}, '%.6g')", target),
    (Kind.DOUBLE, Kind.NUMERIC): lambda sql, source, target: _number(f"weft_finite_text({sql}, '%.15g')", target),
    (Kind.REAL, Kind.TEXT): "weft_real_text({0})",
    (Kind.DOUBLE, Kind.TEXT): "weft_double_text({0})",
    (Kind.INTERVAL, Kind.TEXT): "weft_interval_text({0})",
    (Kind.BYTEA, Kind.TEXT): "('\\x' || lower(hex({0})))",
    (Kind.DOUBLE, Kind.REAL): "weft_to_real({0})",
    (Kind.BOOLEAN, Kind.INTEGER): "CAST({0} AS INTEGER)",
    (Kind.TIME, Kind.INTERVAL): "to_microseconds(weft_time_micros({0}))",
    (Kind.INTERVAL, Kind.TIME): "CAST(TIME '00:00:00' + {0} AS TIME)",
    (Kind.TIMESTAMPTZ, Kind.TIMESTAMP): utc_clock("{0}"),
    (Kind.TIMESTAMP, Kind.TIMESTAMPTZ): utc_moment("{0}"),
    (Kind.DATE, Kind.TIMESTAMPTZ): utc_moment("CAST({0} AS TIMESTAMP)"),
    (Kind.TIMESTAMPTZ, Kind.DATE): f"CAST({utc_clock('{0}')} AS DATE)",
    (Kind.TIMESTAMPTZ, Kind.TIME): f"CAST({utc_clock('{0}')} AS TIME)",
    (Kind.TIMESTAMPTZ, Kind.TEXT): f"(CAST({utc_clock('{0}')} AS VARCHAR) || '+00')",
    (Kind.ARRAY, Kind.ARRAY): _array_cast,
    (Kind.ARRAY, Kind.TEXT): lambda sql, source, target: f"weft_array_text({item_texts(sql, source)})",
}


def _checked(name: str, pattern: str, type_sql: str) -> str:
    """A macro that passes text which matches ``pattern`` and raises PostgreSQL's syntax error otherwise."""
    return (
        f"CREATE OR REPLACE MACRO {name}(x, type_name) AS CASE WHEN x IS NULL THEN NULL "
        f"WHEN regexp_full_match(x, '{pattern}') THEN {type_sql} "
        f"ELSE error('invalid input syntax for type ' || type_name || ': \"' || x || '\"') END"
    )


_NUMBER: Final = r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*"

DUCKDB_PRELUDE: Final[tuple[str, ...]] = (
    _checked("weft_integer_text", r"\s*[+-]?[0-9]+\s*", "trim(x)"),
    _checked("weft_float_text", rf"(?i){_NUMBER}|\s*[+-]?(nan|inf|infinity)\s*", "trim(x)"),
    "CREATE OR REPLACE MACRO weft_numeric_text(x) AS CASE WHEN x IS NULL THEN NULL "
    f"WHEN regexp_full_match(x, '{_NUMBER}') THEN trim(x) "
    "ELSE error('invalid input syntax for type numeric: \"' || x || '\"') END",
    "CREATE OR REPLACE MACRO weft_boolean_text(x) AS CASE WHEN x IS NULL THEN NULL "
    "WHEN regexp_full_match(x, '(?i)\\s*(t|tr|tru|true|y|ye|yes|on|1)\\s*') THEN true "
    "WHEN regexp_full_match(x, '(?i)\\s*(f|fa|fal|fals|false|n|no|of|off|0)\\s*') THEN false "
    "ELSE error('invalid input syntax for type boolean: \"' || x || '\"') END",
    "CREATE OR REPLACE MACRO weft_date_text(x) AS CASE WHEN x IS NULL THEN NULL "
    "WHEN regexp_full_match(x, '\\s*[0-9]{8}\\s*') "
    "THEN substr(trim(x), 1, 4) || '-' || substr(trim(x), 5, 2) || '-' || substr(trim(x), 7, 2) "
    "WHEN regexp_full_match(x, '\\s*[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}([ Tt].*)?') "
    "THEN regexp_extract(x, '[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}') "
    "ELSE error('invalid input syntax for type date: \"' || x || '\"') END",
    _checked(
        "weft_timestamp_text",
        r"\s*[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([ Tt]+[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
        r"\s*([Zz]|[+-][0-9]{2}(:?[0-9]{2})?|[A-Za-z][A-Za-z_/]*)?)?\s*",
        "trim(x)",
    ),
    _checked("weft_time_text", r"\s*[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?\s*", "trim(x)"),
    # '1 02:03:04' is a day and two hours, and DuckDB knows no plus sign.
    "CREATE OR REPLACE MACRO weft_interval_clean(x) AS regexp_replace(regexp_replace(x, "
    "'^\\s*([+-]?[0-9]+)\\s+([+-]?[0-9]+:)', '\\1 days \\2'), '\\+([0-9])', '\\1', 'g')",
    "CREATE OR REPLACE MACRO weft_float_range(number, x, type_name) AS CASE "
    "WHEN isinf(number) AND NOT contains(lower(x), 'inf') "
    "THEN error('\"' || x || '\" is out of range for type ' || type_name) ELSE number END",
    "CREATE OR REPLACE MACRO weft_bytea_text(x) AS CASE WHEN starts_with(x, '\\x') THEN unhex(substr(x, 3)) "
    "WHEN contains(x, '\\') THEN error('invalid input syntax for type bytea') ELSE encode(x) END",
    "CREATE OR REPLACE MACRO weft_finite_text(x, pattern) AS CASE WHEN isfinite(x) THEN printf(pattern, x) "
    "WHEN x IS NULL THEN NULL ELSE error('numeric field overflow') END",
    "CREATE OR REPLACE MACRO weft_to_real(x) AS CASE WHEN isfinite(x) AND abs(x) > 3.4028235677973366e38::DOUBLE "
    "THEN error('value out of range: overflow') ELSE CAST(x AS FLOAT) END",
    "CREATE OR REPLACE MACRO weft_check_length(x, length_max) AS CASE WHEN length(x) > length_max "
    "THEN error('value too long for type character varying(' || length_max || ')') ELSE x END",
    "CREATE OR REPLACE MACRO weft_mantissa(digits, exponent) AS "
    "rtrim(left(digits, 1) || '.' || rtrim(substr(digits, 2), '0'), '.') || 'e+' || exponent",
    "CREATE OR REPLACE MACRO weft_double_text(x) AS CASE WHEN isnan(x) THEN 'NaN' "
    "WHEN isinf(x) THEN CASE WHEN x > 0 THEN 'Infinity' ELSE '-Infinity' END "
    "WHEN abs(x) >= 1e15 AND abs(x) < 1e16 THEN CASE WHEN x < 0 THEN '-' ELSE '' END || "
    "weft_mantissa(replace(CAST(abs(x) AS VARCHAR), '.0', ''), '15') "
    "ELSE regexp_replace(CAST(x AS VARCHAR), '\\.0$', '') END",
    "CREATE OR REPLACE MACRO weft_real_text(x) AS CASE WHEN isnan(x) THEN 'NaN' "
    "WHEN isinf(x) THEN CASE WHEN x > 0 THEN 'Infinity' ELSE '-Infinity' END "
    "WHEN abs(x) >= 1e6 AND abs(x) < 1e16 THEN CASE WHEN x < 0 THEN '-' ELSE '' END || "
    "weft_mantissa(regexp_replace(CAST(abs(x) AS VARCHAR), '\\..*$', ''), "
    "lpad(CAST(length(regexp_replace(CAST(abs(x) AS VARCHAR), '\\..*$', '')) - 1 AS VARCHAR), 2, '0')) "
    "ELSE regexp_replace(CAST(x AS VARCHAR), '\\.0$', '') END",
    "CREATE OR REPLACE MACRO weft_interval_text(x) AS "
    "regexp_replace(regexp_replace(replace(CAST(x AS VARCHAR), ' month', ' mon'), "
    "'-1 (year|mon|day)\\b', '-1 \\1s', 'g'), '(-[0-9]+ [a-z]+) ([0-9])', '\\1 +\\2', 'g')",
    "CREATE OR REPLACE MACRO weft_array_text(x) AS '{' || array_to_string(list_transform(x, lambda item: CASE "
    "WHEN item IS NULL THEN 'NULL' "
    "WHEN item = '' OR lower(item) = 'null' OR regexp_matches(item, '[{}\",\\\\\\s\\v]') "
    "THEN '\"' || replace(replace(item, '\\', '\\\\'), '\"', '\\\"') || '\"' ELSE item END), ',') || '}'",
)
