"""JSON, UUID and arrays: what PostgreSQL's operators on ``json`` give, with DuckDB's JSON functions below."""

from __future__ import annotations

import json
import uuid
from typing import Any, Final

from .duck import item_texts, quote
from .json_values import JSONB_GET, JSONB_GET_TEXT, JSONB_PATH, JSONB_PATH_TEXT
from .model import Function, Rendering, Volatility, function, overload

PRELUDE: Final[tuple[str, ...]] = (
    "CREATE OR REPLACE MACRO weft_join(items, delimiter) AS CASE WHEN items IS NULL OR delimiter IS NULL THEN NULL "
    "WHEN len(list_filter(items, lambda item: item IS NOT NULL)) = 0 THEN '' "
    "ELSE list_reduce(list_filter(items, lambda item: item IS NOT NULL), lambda a, b: a || delimiter || b) END",
)


def _get(document: str, step: str | int) -> Any:
    value = json.loads(document)
    if isinstance(step, int) and isinstance(value, list):
        return value[step] if -len(value) <= step < len(value) else _MISSING
    if isinstance(step, str) and isinstance(value, dict):
        return value.get(step, _MISSING)
    return _MISSING


_MISSING: Final = object()


def _as_json(value: Any) -> str | None:
    return None if value is _MISSING else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _as_text(value: Any) -> str | None:
    if value is _MISSING or value is None:
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _key(r: Rendering) -> str:
    """A JSON pointer of one key; ``/`` and ``~`` in it are escaped."""
    return f"'/' || replace(replace({r[1]}, '~', '~0'), '/', '~1')"


def _object_get(extract: str) -> Any:
    def render(r: Rendering) -> str:
        return f"CASE WHEN json_type({r[0]}) = 'OBJECT' THEN {extract}({r[0]}, {_key(r)}) END"

    return render


def _array_get(extract: str) -> Any:
    def render(r: Rendering) -> str:
        return (
            f"CASE WHEN json_type({r[0]}) = 'ARRAY' THEN {extract}({r[0]}, CASE WHEN {r[1]} < 0 "
            f"THEN '$[#' || {r[1]} || ']' ELSE '$[' || {r[1]} || ']' END) END"
        )

    return render


def _path(extract: str) -> Any:
    """#> and #>>: the path is a constant ``{a,0,b}``."""

    def render(r: Rendering) -> str:
        steps = _steps(r.constant(1))
        if not steps:
            return f"CAST({r[0]} AS {r.t})"
        if any(step.startswith("-") and step[1:].isdigit() for step in steps):
            return f"{extract}({r[0]}, {quote('$' + ''.join(map(_json_path_step, steps)))})"
        pointer = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
        return f"{extract}({r[0]}, {quote(pointer)})"

    return render


def _json_path_step(step: str) -> str:
    if step.lstrip("-").isdigit():
        return f"[#{step}]" if step.startswith("-") else f"[{step}]"
    return '."' + step.replace('"', '\\"') + '"'


def _steps(path: str) -> list[str]:
    inner = path.strip().removeprefix("{").removesuffix("}")
    return [step.strip().strip('"') for step in inner.split(",")] if inner else []


def _walk(document: str, path: str) -> Any:
    value = json.loads(document)
    for step in _steps(path):
        if isinstance(value, list) and step.lstrip("-").isdigit() and -len(value) <= int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return _MISSING
    return value


def _json_typeof(document: str) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(json.loads(document)), "null")


def functions() -> tuple[Function, ...]:
    """All functions of JSON, UUID and arrays."""
    return (
        function(
            "json_get",
            overload("json, text -> json", _object_get("json_extract"), naive=lambda d, k: _as_json(_get(d, k))),
            overload("json, integer -> json", _array_get("json_extract"), naive=lambda d, k: _as_json(_get(d, k))),
            *JSONB_GET,
            operator="->",
        ),
        function(
            "json_get_text",
            overload("json, text -> text", _object_get("json_extract_string"), naive=lambda d, k: _as_text(_get(d, k))),
            overload(
                "json, integer -> text", _array_get("json_extract_string"), naive=lambda d, k: _as_text(_get(d, k))
            ),
            *JSONB_GET_TEXT,
            operator="->>",
        ),
        function(
            "json_path",
            overload(
                "json, text -> json", _path("json_extract"), naive=lambda d, p: _as_json(_walk(d, p)), constants=(1,)
            ),
            *JSONB_PATH,
            operator="#>",
        ),
        function(
            "json_path_text",
            overload(
                "json, text -> text",
                _path("json_extract_string"),
                naive=lambda d, p: _as_text(_walk(d, p)),
                constants=(1,),
            ),
            *JSONB_PATH_TEXT,
            operator="#>>",
        ),
        function(
            "json_array_length",
            overload("json -> integer", "CAST(json_array_length({0}) AS INTEGER)", naive=lambda d: len(json.loads(d))),
        ),
        function(
            "json_typeof",
            overload(
                "json -> text",
                "CASE WHEN {0} IS NULL THEN NULL ELSE CASE json_type({0}) WHEN 'OBJECT' THEN 'object' "
                "WHEN 'ARRAY' THEN 'array' WHEN 'VARCHAR' THEN 'string' WHEN 'BOOLEAN' THEN 'boolean' "
                "WHEN 'NULL' THEN 'null' ELSE 'number' END END",
                naive=_json_typeof,
            ),
        ),
        function(
            "gen_random_uuid",
            overload("-> uuid", "gen_random_uuid()", naive=uuid.uuid4),
            volatility=Volatility.VOLATILE,
        ),
        function(
            "array_length",
            overload("array, integer -> integer", "CASE WHEN {1} = 1 THEN CAST(nullif(len({0}), 0) AS INTEGER) END"),
        ),
        function("cardinality", overload("array -> integer", "CAST(len({0}) AS INTEGER)", naive=len)),
        function(
            "array_to_string",
            overload(
                "array, text -> text",
                lambda r: f"weft_join({item_texts(r[0], r.types[0])}, {r[1]})",
            ),
            overload(
                "array, text, text -> text",
                lambda r: (
                    f"CASE WHEN {r[2]} IS NULL THEN weft_join({item_texts(r[0], r.types[0])}, {r[1]}) "
                    f"ELSE weft_join(list_transform({item_texts(r[0], r.types[0])}, "
                    f"lambda item: coalesce(item, {r[2]})), {r[1]}) END"
                ),
                strict=False,
            ),
        ),
    )
