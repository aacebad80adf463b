"""Functions of JSON and JSONB that are computed in Python: parts, building, changing, taking apart.

JSON is text as it was written, and its parts are, too, without the blanks between tokens; JSONB is the one text of
``base.documents``. What PostgreSQL has for both stands here once, for the two types. Values of any type become JSON by
``to_json``, to which the binder turns the arguments of the builders and the aggregates.
"""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from ....base.documents import canonical, read, write
from ....base.errors import Invalid
from ....base.intervals import interval_text
from ....base.types import DOUBLE, JSONB, REAL, TEXT, Kind, Type, array_of
from . import json_vector
from .duck import render_cast
from .model import Function, Overload, Rendering, function, in_python, overload

_MISSING: Final = object()


def compact(value: Any) -> str:
    """JSON's text of a part, without blanks."""
    match value:
        case dict():
            return "{" + ",".join(f"{compact(key)}:{compact(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ",".join(map(compact, value)) + "]"
        case _:
            return write(value)


def _writer(kind: str) -> Callable[[Any], str]:
    return compact if kind == "json" else write


def _as_text(kind: str, value: Any) -> str | None:
    if value is None or value is _MISSING:
        return None
    return value if isinstance(value, str) else _writer(kind)(value)


# -- parts -----------------------------------------------------------------------------------------------------------


def _step(value: Any, step: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(step, _MISSING) if isinstance(step, str) else _MISSING
    if isinstance(value, list):
        index = step if isinstance(step, int) else _index(step)
        return value[index] if index is not None and -len(value) <= index < len(value) else _MISSING
    return _MISSING


def _index(step: str) -> int | None:
    try:
        return int(step)
    except ValueError:
        return None


def _at(document: str, path: Sequence[str | None]) -> Any:
    value = read(document)
    for step in path:
        if step is None:
            return _MISSING
        value = _step(value, step)
        if value is _MISSING:
            break
    return value


def _get(document: str, step: str | int) -> Any:
    value = read(document)
    if isinstance(value, list) and isinstance(step, str):
        return _MISSING
    if not isinstance(value, list | dict) and step in (0, -1):
        return value  # JSONB keeps a scalar as an array of one
    return _step(value, step)


def steps(path: str) -> list[str]:
    """The path ``'{a,0,"b c"}'`` as its steps."""
    text = path.strip()
    if not (text.startswith("{") and text.endswith("}")):
        raise Invalid(f'malformed array literal: "{path}"', sqlstate="22P02")
    inner = text[1:-1]
    return [step.strip().strip('"') for step in inner.split(",")] if inner.strip() else []


def _part(kind: str, value: Any) -> str | None:
    return None if value is _MISSING else _writer(kind)(value)


# -- containment and keys --------------------------------------------------------------------------------------------


def _contains(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(k in whole and _contains(whole[k], v) for k, v in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and all(any(_contains(item, wanted) for item in whole) for wanted in part)
    if isinstance(whole, list | dict):
        return False
    return (type(whole) is type(part) or _both_numbers(whole, part)) and whole == part


def _contains_top(whole: str, part: str) -> bool:
    """An array also contains a scalar; elsewhere structures match."""
    a, b = read(whole), read(part)
    if isinstance(a, list) and not isinstance(b, list | dict):
        return any(_contains(item, b) for item in a)
    return _contains(a, b)


def _both_numbers(a: Any, b: Any) -> bool:
    return all(isinstance(x, int | Decimal) and not isinstance(x, bool) for x in (a, b))


def _has(document: str, key: str) -> bool:
    value = read(document)
    if isinstance(value, dict):
        return key in value
    return key in [item for item in value if isinstance(item, str)] if isinstance(value, list) else value == key


def _has_any(document: str, keys: list[str | None]) -> bool:
    return any(key is not None and _has(document, key) for key in keys)


def _has_all(document: str, keys: list[str | None]) -> bool:
    return all(key is None or _has(document, key) for key in keys)


# -- changes ---------------------------------------------------------------------------------------------------------


def _joined(a: str, b: str) -> str:
    left, right = read(a), read(b)
    if isinstance(left, dict) and isinstance(right, dict):
        return write(left | right)
    lists = [item if isinstance(item, list) else [item] for item in (left, right)]
    return write(lists[0] + lists[1])


def _without(document: str, step: Any) -> str:
    value = read(document)
    if isinstance(step, int):
        if isinstance(value, dict):
            raise Invalid("cannot delete from object using integer index", sqlstate="22023")
        if not isinstance(value, list):
            raise Invalid("cannot delete from scalar", sqlstate="22023")
        if -len(value) <= step < len(value):
            del value[step]
        return write(value)
    unwanted = set(step) if isinstance(step, list) else {step}
    if isinstance(value, dict):
        return write({key: item for key, item in value.items() if key not in unwanted})
    if isinstance(value, list):
        return write([item for item in value if not (isinstance(item, str) and item in unwanted)])
    raise Invalid("cannot delete from scalar", sqlstate="22023")


def _without_path(document: str, path: list[str]) -> str:
    value = read(document)
    if not isinstance(value, list | dict):
        raise Invalid("cannot delete path in scalar", sqlstate="22023")
    owner = value
    for step in path[:-1]:
        owner = _step(owner, step)
    last = path[-1] if path else None
    if isinstance(owner, dict) and last is not None:
        owner.pop(last, None)
    elif isinstance(owner, list) and last is not None:
        index = _list_index(last, 1)
        if -len(owner) <= index < len(owner):
            del owner[index]
    return write(value)


def _list_index(step: str, position: int) -> int:
    index = _index(step)
    if index is None:
        message = f'path element at position {position} is not an integer: "{step}"'
        raise Invalid(message, sqlstate="22P02")
    return index


def _set(document: str, path: list[str], new: str, create: bool = True) -> str:
    value = read(document)
    if not isinstance(value, list | dict):
        raise Invalid("cannot set path in scalar", sqlstate="22023")
    owner = value
    for step in path[:-1]:
        owner = _step(owner, step)
    if not path:
        return write(value)
    if isinstance(owner, dict):
        if create or path[-1] in owner:
            owner[path[-1]] = read(new)
    elif isinstance(owner, list):
        index = _list_index(path[-1], len(path))
        if -len(owner) <= index < len(owner):
            owner[index] = read(new)
        elif create:
            owner.insert(0 if index < 0 else len(owner), read(new))
    return write(value)


def _insert(document: str, path: list[str], new: str, after: bool = False) -> str:
    value = read(document)
    if not isinstance(value, list | dict):
        raise Invalid("cannot set path in scalar", sqlstate="22023")
    owner = value
    for step in path[:-1]:
        owner = _step(owner, step)
    if not path:
        return write(value)
    if isinstance(owner, dict):
        if path[-1] in owner:
            raise Invalid("cannot replace existing key", hint="Try using the function jsonb_set.", sqlstate="22023")
        owner[path[-1]] = read(new)
    elif isinstance(owner, list):
        index = _list_index(path[-1], len(path))
        place = index if index >= 0 else len(owner) + index
        owner.insert(min(max(place + after, 0), len(owner)), read(new))
    return write(value)


def _strip_nulls(kind: str) -> Callable[[str], str]:
    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if item is not None}
        return [strip(item) for item in value] if isinstance(value, list) else value

    return lambda document: _writer(kind)(strip(read(document)))


def _pretty(document: str) -> str:
    def shown(value: Any, depth: int) -> str:
        if not isinstance(value, list | dict):
            return write(value)
        pad, end = "\n" + "    " * (depth + 1), "\n" + "    " * depth
        if isinstance(value, list):
            return "[" + ",".join(pad + shown(item, depth + 1) for item in value) + end + "]"
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return "{" + ",".join(f"{pad}{write(key)}: {shown(value[key], depth + 1)}" for key in keys) + end + "}"

    return shown(read(document), 0)


# -- taking apart ----------------------------------------------------------------------------------------------------


def _elements(kind: str, *, text: bool) -> Callable[[str], list[str | None]]:
    def elements(document: str) -> list[str | None]:
        value = read(document)
        if not isinstance(value, list):
            what = "object" if isinstance(value, dict) else "scalar"
            extract = "extract elements from" if kind == "jsonb" else "call json_array_elements on"
            raise Invalid(f"cannot {extract} {'an' if what == 'object' else 'a'} {what}", sqlstate="22023")
        return [_as_text(kind, item) if text else _writer(kind)(item) for item in value]

    return elements


def _object(document: str) -> dict[str, Any]:
    value = read(document)
    if not isinstance(value, dict):
        raise Invalid(f"cannot take a JSON {'array' if isinstance(value, list) else 'scalar'} apart by its keys",
                      sqlstate="22023")  # fmt: skip
    return value


def _pairs(kind: str, document: str) -> list[tuple[str, Any]]:
    pairs = list(_object(document).items())
    return pairs if kind == "json" else sorted(pairs, key=lambda pair: (len(pair[0].encode()), pair[0].encode()))


def _values(kind: str, *, text: bool) -> Callable[[str], list[str | None]]:
    return lambda document: [
        _as_text(kind, item) if text else _writer(kind)(item) for _, item in _pairs(kind, document)
    ]


def _keys(kind: str) -> Callable[[str], list[str]]:
    return lambda document: [key for key, _ in _pairs(kind, document)]


# -- building --------------------------------------------------------------------------------------------------------


def to_json(value: Any, type: Type = DOUBLE) -> str:
    """The JSON of a value that is none itself, as PostgreSQL's ``to_json`` writes it; ``type``: of a float."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case Decimal():
            return format(value, "f")
        case float():
            if not math.isfinite(value):
                return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
            from ..conversion import text_of

            return text_of(value, type)
        case dt.datetime():
            zone = "+00:00" if value.tzinfo is not None else ""
            return f'"{value.replace(tzinfo=None).isoformat()[:19]}{_fraction(value.microsecond)}{zone}"'
        case dt.time():
            return f'"{value.isoformat()[:8]}{_fraction(value.microsecond)}"'
        case dt.date():
            return f'"{value.isoformat()}"'
        case pa.MonthDayNano():
            return write(interval_text(value.months, value.days, value.nanoseconds // 1000))
        case uuid.UUID():
            return f'"{value}"'
        case bytes():
            return write("\\x" + value.hex())
        case list():
            return "[" + ",".join(map(to_json, value)) + "]"
        case _:
            return write(str(value))


def _as_json(r: Rendering) -> str:
    """``to_json`` where the value's text is its JSON; elsewhere in Python."""
    type = r.types[0]
    text = render_cast(r[0], type, TEXT)
    if type.kind in (Kind.REAL, Kind.DOUBLE):
        return f"CASE WHEN isfinite({r[0]}) THEN {text} ELSE '\"' || {text} || '\"' END"
    return text if type.kind in _OWN_JSON else in_python(r)


_OWN_JSON: Final = frozenset((Kind.BOOLEAN, Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.NUMERIC))


def _fraction(microsecond: int) -> str:
    return f".{microsecond:06}".rstrip("0") if microsecond else ""


def _built_array(kind: str) -> Callable[..., str]:
    def build(*items: str | None) -> str:
        text = "[" + ", ".join("null" if item is None else item for item in items) + "]"
        return text if kind == "json" else canonical(text)

    return build


def _built_object(kind: str) -> Callable[..., str]:
    def build(*items: str | None) -> str:
        if len(items) % 2:
            raise Invalid("argument list must have even number of elements", sqlstate="22023")
        pairs: list[str] = []
        for place in range(0, len(items), 2):
            key, value = items[place], items[place + 1]
            if key is None:
                raise Invalid(f"argument {place + 1}: key must not be null", sqlstate="22023")
            pairs.append(f"{write(key)} : {'null' if value is None else value}")
        text = "{" + ", ".join(pairs) + "}"
        return text if kind == "json" else canonical(text)

    return build


def _of_lists(kind: str) -> Callable[[list[Any], list[Any]], str]:
    def build(keys: list[Any], values: list[Any]) -> str:
        if len(keys) != len(values):
            raise Invalid("mismatched array dimensions", sqlstate="2202E")
        if None in keys:
            raise Invalid("null value not allowed for object key", sqlstate="22004")
        parts = (part for key, value in zip(keys, values, strict=True) for part in (key, value))
        return _built_object(kind)(*(write(part) if place % 2 else part for place, part in enumerate(parts)))

    return build


def _of_pairs(kind: str) -> Callable[[list[Any]], str]:
    def build(items: list[Any]) -> str:
        if len(items) % 2:
            raise Invalid("array must have even number of elements", sqlstate="2202E")
        return _of_lists(kind)(items[::2], items[1::2])

    return build


def _row(*items: str | None) -> str:
    """An object of names and the JSON of their values, as ``row_to_json`` prints it."""
    pairs = zip(items[::2], items[1::2], strict=True)
    return "{" + ",".join(f"{write(name)}:{'null' if value is None else value}" for name, value in pairs) + "}"


def _typeof(document: str) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(read(document)), "number")


def _array_length(document: str) -> int:
    value = read(document)
    if not isinstance(value, list):
        what = "a non-array" if isinstance(value, dict) else "a scalar"
        raise Invalid(f"cannot get array length of {what}", sqlstate="22023")
    return len(value)


def _texts(types: Sequence[Type]) -> Type:
    del types
    return array_of(TEXT)


def _python(signature: str, naive: Callable[..., Any], *, can_fail: bool = True, **options: Any) -> Overload:
    return overload(signature, in_python, naive=naive, can_fail=can_fail, **options)


def _get_part(result: str, as_result: Callable[[str, Any], str | None], *, plain: bool) -> tuple[Overload, ...]:
    return tuple(
        _python(
            f"jsonb, {step} -> {result}",
            lambda d, k: as_result("jsonb", _get(d, k)),
            arrow=json_vector.get(plain=plain),
            can_fail=False,
        )
        for step in ("text", "integer")
    )


def _path_part(result: str, as_result: Callable[[str, Any], str | None], *, plain: bool) -> tuple[Overload, ...]:
    return tuple(
        _python(
            f"jsonb, {given} -> {result}",
            lambda d, p, steps_of=steps_of: as_result("jsonb", _at(d, steps_of(p))),
            arrow=json_vector.path(_index, plain=plain, steps_of=steps_of),
        )
        for given, steps_of in (("array", list), ("text", steps))
    )


JSONB_GET: Final = _get_part("jsonb", _part, plain=False)
JSONB_GET_TEXT: Final = _get_part("text", _as_text, plain=True)
JSONB_PATH: Final = _path_part("jsonb", _part, plain=False)
JSONB_PATH_TEXT: Final = _path_part("text", _as_text, plain=True)
JSONB_CONCAT: Final = (_python("jsonb, jsonb -> jsonb", _joined, arrow=json_vector.joined),)
JSONB_MINUS: Final = (
    _python("jsonb, text -> jsonb", _without),
    _python("jsonb, integer -> jsonb", _without),
    _python("jsonb, array -> jsonb", _without),
)


def _of_both(kind: str) -> tuple[Function, ...]:
    result = kind
    return (
        *(
            function(
                name,
                _python(
                    f"{kind}, text... -> {to}",
                    lambda d, *p, as_result=as_result: as_result(kind, _at(d, p)),
                    arrow=json_vector.path(_index, plain=plain) if kind == "jsonb" else None,
                ),
            )
            for name, to, as_result, plain in (
                (f"{kind}_extract_path", result, _part, False),
                (f"{kind}_extract_path_text", "text", _as_text, True),
            )
        ),
        function(f"{kind}_strip_nulls", _python(f"{kind} -> {result}", _strip_nulls(kind))),
        function(f"{kind}_build_array", _python(f"text... -> {result}", _built_array(kind), strict=False)),
        function(
            f"{kind}_build_object",
            _python(f"text... -> {result}", _built_object(kind), strict=False, arrow=json_vector.build_object(kind)),
        ),
        *(
            function(f"{kind}_{name}", _python(f"{kind} -> text", naive, result=_texts))
            for name, naive in (
                ("element_list", _elements(kind, text=False)),
                ("element_text_list", _elements(kind, text=True)),
                ("key_list", _keys(kind)),
                ("value_list", _values(kind, text=False)),
                ("value_text_list", _values(kind, text=True)),
            )
        ),
    )


def _lines(r: Rendering) -> str:
    """A list whose items begin on lines of their own, but the first one and NULLs."""
    item = f"coalesce({_LINE} || {r[0]}, 'null')"
    return f"('[' || weft_json_lines({r.call('string_agg', item, quoted_comma)}) || ']')"


_LINE: Final = "(chr(10) || ' ')"


def _aggregated(open: str, close: str) -> Callable[[Rendering], str]:
    def render(r: Rendering) -> str:
        item = f"coalesce({r[0]}, 'null')"
        if len(r.arguments) == 2:
            item = f"weft_json_key({r[0]}) || ' : ' || coalesce({r[1]}, 'null')"
        return f"('{open}' || {r.call('string_agg', item, quoted_comma)} || '{close}')"

    return render


quoted_comma: Final = "', '"

PRELUDE: Final[tuple[str, ...]] = (
    "CREATE OR REPLACE MACRO weft_json_key(x) AS CASE WHEN x IS NULL "
    "THEN error('field name must not be null') ELSE x END",
    "CREATE OR REPLACE MACRO weft_json_lines(x) AS CASE WHEN starts_with(x, chr(10)) THEN substr(x, 3) ELSE x END",
)


def aggregate_overloads() -> dict[str, Overload]:
    """The texts that json_agg and json_object_agg make; the binder casts them."""
    return {
        "json_lines_agg": overload("text -> text", _lines, strict=False),
        "json_text_agg": overload("text -> text", _aggregated("[", "]"), strict=False),
        "json_object_text_agg": overload("text, text -> text", _aggregated("{ ", " }"), strict=False),
    }


def functions() -> tuple[Function, ...]:
    """All of this module; the operators' overloads go into ``documents`` and ``operators``."""
    return (
        *_of_both("json"),
        *_of_both("jsonb"),
        function("jsonb_of", _python("text -> jsonb", checked, arrow=json_vector.of_texts)),
        function(
            "to_json_text",
            overload("real -> text", _as_json, naive=lambda x: to_json(x, REAL)),
            overload("any -> text", _as_json, naive=to_json, arrow=json_vector.to_text),
        ),
        function("json_row", _python("text... -> json", _row, strict=False)),
        function("jsonb_typeof", _python("jsonb -> text", _typeof, arrow=json_vector.typeof)),
        function("jsonb_array_length", _python("jsonb -> integer", _array_length, arrow=json_vector.array_length)),
        function("jsonb_pretty", _python("jsonb -> text", _pretty)),
        function("jsonb_contains", _python("jsonb, jsonb -> boolean", _contains_top, arrow=json_vector.contains)),
        function(
            "jsonb_contained",
            _python(
                "jsonb, jsonb -> boolean",
                lambda a, b: _contains_top(b, a),
                arrow=lambda a, b: json_vector.contains(b, a),
            ),
        ),
        function("jsonb_exists", _python("jsonb, text -> boolean", _has, arrow=json_vector.has_key)),
        function("jsonb_exists_any", _python("jsonb, array -> boolean", _has_any)),
        function("jsonb_exists_all", _python("jsonb, array -> boolean", _has_all)),
        function("jsonb_delete_path", _python("jsonb, array -> jsonb", _without_path)),
        *(
            function(
                f"{kind}_object",
                _python(f"array -> {kind}", _of_pairs(kind)),
                _python(f"array, array -> {kind}", _of_lists(kind)),
            )
            for kind in ("json", "jsonb")
        ),
        function(
            "jsonb_insert",
            _python("jsonb, array, jsonb -> jsonb", _insert),
            _python("jsonb, array, jsonb, boolean -> jsonb", _insert),
        ),
        function(
            "jsonb_set",
            _python("jsonb, array, jsonb -> jsonb", _set),
            _python("jsonb, array, jsonb, boolean -> jsonb", _set),
        ),
    )


def checked(text: str) -> str:
    from ....base.values import literal_value

    value = literal_value(text, JSONB)
    assert isinstance(value, str), "JSONB is its text"
    return value
