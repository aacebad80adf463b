"""Functions and operators of arrays of one dimension: slices, containment, search, and building them up.

NULL elements count as elements: they equal one another in ``array_position`` and the like, and nothing in ``@>``, as
in PostgreSQL.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

from ....base.errors import Invalid
from ....base.limits import VALUE_BYTES_MAX
from ....base.types import INTEGER, Kind, array_of
from .model import Function, Rendering, Template, function, in_python, overload
from .plain import compare_key

PRELUDE: Final[tuple[str, ...]] = ()


def _keys(items: list[Any]) -> list[Any]:
    return [None if item is None else _hashable(compare_key(item)) for item in items]


def _hashable(key: Any) -> Any:
    return tuple(map(_hashable, key)) if isinstance(key, list | tuple) else key


def _contains(whole: list[Any], part: list[Any]) -> bool:
    """Each element of ``part`` is one of ``whole``; NULL equals nothing."""
    return set(_keys(part)) <= {key for key in _keys(whole) if key is not None}


def _overlaps(a: list[Any], b: list[Any]) -> bool:
    return any(key is not None and key in set(_keys(b)) for key in _keys(a))


def _position(items: list[Any] | None, wanted: Any, start: int | None = 1) -> int | None:
    if items is None:
        return None
    if start is None:
        raise Invalid("initial position must not be null", sqlstate="22004")
    key = _keys([wanted])[0]
    places = [place for place, item in enumerate(_keys(items), start=1) if item == key and place >= start]
    return places[0] if places else None


def _positions(items: list[Any] | None, wanted: Any) -> list[int] | None:
    if items is None:
        return None
    key = _keys([wanted])[0]
    return [place for place, item in enumerate(_keys(items), start=1) if item == key]


def _remove(items: list[Any] | None, unwanted: Any) -> list[Any] | None:
    if items is None:
        return None
    key = _keys([unwanted])[0]
    return [item for item, own in zip(items, _keys(items), strict=True) if own != key]


def _replace(items: list[Any] | None, old: Any, new: Any) -> list[Any] | None:
    if items is None:
        return None
    key = _keys([old])[0]
    return [new if own == key else item for item, own in zip(items, _keys(items), strict=True)]


def _slice(items: list[Any], low: int, high: int) -> list[Any]:
    return items[max(low, 1) - 1 : max(high, 0)]


def append(items: list[Any] | None, item: Any) -> list[Any]:
    return [*(items or ()), item]


def prepend(item: Any, items: list[Any] | None) -> list[Any]:
    return [item, *(items or ())]


def cat(a: list[Any] | None, b: list[Any] | None) -> list[Any] | None:
    return None if a is None and b is None else [*(a or ()), *(b or ())]


def _fill(item: Any, lengths: list[int | None] | None) -> list[Any]:
    if lengths is None or None in lengths:
        raise Invalid("dimension array or low bound array cannot be null", sqlstate="22004")
    if len(lengths) != 1:
        raise Invalid("array_fill makes arrays of one dimension here", sqlstate="0A000")
    return [item] * max(lengths[0] or 0, 0)


def _trim(items: list[Any], count: int) -> list[Any]:
    if not 0 <= count <= len(items):
        raise Invalid(f"number of elements to trim must be between 0 and {len(items)}", sqlstate="2202E")
    return items[: len(items) - count]


def _set(items: list[Any] | None, index: int | None, item: Any) -> list[Any]:
    """``array[index] = item``: an array grows by NULLs as far as it must."""
    if index is None:
        raise Invalid("array subscript in assignment must not be null", sqlstate="22004")
    if index < 1 or (not items and index != 1):
        message = f"array subscript {index} would make an array that does not begin at 1"
        raise Invalid(message, hint="Arrays begin at 1 here; set the whole array.", sqlstate="0A000")
    if index * 8 > VALUE_BYTES_MAX:
        raise Invalid(f"array subscript {index} is out of range", sqlstate="54000")
    found = list(items or ())
    found += [None] * (index - len(found))
    found[index - 1] = item
    return found


_TESTS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "equal": operator.eq,
    "not_equal": operator.ne,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
}

QUANTIFIED: Final = frozenset(_TESTS)
"""The comparisons that ``any_item`` and ``all_items`` know by name."""


def _any(name: str, value: Any, items: list[Any] | None) -> bool | None:
    """``value op ANY (items)``."""
    if items is None:
        return None
    outcomes = [_tested(name, value, item) for item in items]
    return True if True in outcomes else None if None in outcomes else False


def _all(name: str, value: Any, items: list[Any] | None) -> bool | None:
    """``value op ALL (items)``."""
    if items is None:
        return None
    outcomes = [_tested(name, value, item) for item in items]
    return False if False in outcomes else None if None in outcomes else True


def _tested(name: str, value: Any, item: Any) -> bool | None:
    return None if value is None or item is None else _TESTS[name](compare_key(value), compare_key(item))


def _item(items: list[Any], index: int) -> Any:
    return items[index - 1] if 1 <= index <= len(items) else None


def _symbol(r: Rendering) -> str:
    return {"equal": "=", "not_equal": "<>", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">="}[
        r.constant(0)
    ]


def _quantified(r: Rendering, word: str) -> str:
    return f"({r[1]} {_symbol(r)} {word} (SELECT unnest({r[2]})))"


def _python(
    name: str, signature: str, naive: Callable[..., Any], duckdb: Template = in_python, **options: Any
) -> Function:
    symbol = options.pop("operator", None)
    return function(name, overload(signature, duckdb, naive=naive, **options), operator=symbol)


def _native(template: str) -> Template:
    """DuckDB's own functions of lists; its lists compare intervals by their parts."""

    def render(r: Rendering) -> str:
        if any(type.element is not None and type.element.kind is Kind.INTERVAL for type in r.types):
            return in_python(r)
        return template.format(*r.arguments)

    return render


_NO_NULL: Final = "len(list_filter({0}, lambda weft_item: weft_item IS NULL)) = 0"
_CONTAINS: Final = f"CASE WHEN {{0}} IS NOT NULL THEN list_has_all({{0}}, {{1}}) AND {_NO_NULL.format('{1}')} END"
_CONTAINED: Final = f"CASE WHEN {{1}} IS NOT NULL THEN list_has_all({{1}}, {{0}}) AND {_NO_NULL.format('{0}')} END"
_OVERLAPS: Final = "list_has_any(list_filter({0}, lambda weft_item: weft_item IS NOT NULL), {1})"


def functions() -> tuple[Function, ...]:
    """All functions of arrays but those that ``documents`` has."""
    integers = array_of(INTEGER)
    return (
        function(  # ARRAY[…], subscripts and ANY and ALL where the engine evaluates them: CHECK, DEFAULT, filters
            "array_list",
            overload("same... -> array", "[{args}]", naive=lambda *items: list(items), strict=False),
        ),
        function(
            "array_item",
            overload("array, integer -> element", "(CASE WHEN {1} >= 1 THEN list_extract({0}, {1}) END)", naive=_item),
        ),
        function(
            "any_item",
            overload(
                "text, element, array -> boolean",
                lambda r: _quantified(r, "ANY"),
                naive=_any,
                strict=False,
                constants=(0,),
            ),
        ),
        function(
            "all_items",
            overload(
                "text, element, array -> boolean",
                lambda r: _quantified(r, "ALL"),
                naive=_all,
                strict=False,
                constants=(0,),
            ),
        ),
        _python("array_set", "array, integer, element -> array", _set, strict=False, can_fail=True),
        _python("array_contains", "same, same -> boolean", _contains, _native(_CONTAINS), operator="@>", check=_arrays),
        _python(
            "array_contained",
            "same, same -> boolean",
            lambda a, b: _contains(b, a),
            _native(_CONTAINED),
            operator="<@",
            check=_arrays,
        ),
        _python("array_overlaps", "same, same -> boolean", _overlaps, _native(_OVERLAPS), operator="&&", check=_arrays),
        _python("array_slice", "array, integer, integer -> array", _slice),
        _python("array_append", "array, element -> array", append, "list_append({0}, {1})", strict=False),
        _python("array_prepend", "element, array -> array", prepend, "list_prepend({0}, {1})", strict=False),
        _python(
            "array_cat",
            "same, same -> same",
            cat,
            "CASE WHEN {0} IS NOT NULL OR {1} IS NOT NULL THEN list_concat({0}, {1}) END",
            strict=False,
            check=_arrays,
        ),
        function(
            "array_position",
            overload("array, element -> integer", _native("list_position({0}, {1})"), naive=_position, strict=False),
            overload("array, element, integer -> integer", in_python, naive=_position, strict=False, can_fail=True),
        ),
        function(
            "array_positions",
            overload("array, element -> integer", in_python, result=lambda t: integers, naive=_positions, strict=False),
        ),
        _python(
            "array_remove",
            "array, element -> array",
            _remove,
            _native("list_filter({0}, lambda weft_item: weft_item IS DISTINCT FROM {1})"),
            strict=False,
        ),
        _python("array_replace", "array, element, element -> array", _replace, strict=False),
        _python("trim_array", "array, integer -> array", _trim, can_fail=True),
        function(
            "array_upper",
            overload(
                "array, integer -> integer",
                "CASE WHEN {1} = 1 THEN CAST(nullif(len({0}), 0) AS INTEGER) END",
                naive=lambda items, dimension: len(items) or None if dimension == 1 else None,
            ),
        ),
        function(
            "array_lower",
            overload(
                "array, integer -> integer",
                "CASE WHEN {1} = 1 AND len({0}) > 0 THEN 1 END",
                naive=lambda items, dimension: 1 if dimension == 1 and items else None,
            ),
        ),
        _python("array_dims", "array -> text", lambda items: f"[1:{len(items)}]" if items else None),
        function(
            "array_ndims",
            overload("array -> integer", "CASE WHEN len({0}) > 0 THEN 1 END", naive=lambda items: 1 if items else None),
        ),
        function(
            "array_fill",
            overload(
                "any, array -> array",
                in_python,
                result=lambda t: array_of(t[0]),
                naive=_fill,
                strict=False,
                can_fail=True,
            ),
        ),
    )


def _arrays(types: Any) -> None:
    if any(type.element is None for type in types):
        raise Invalid("arrays are needed here", hint="Cast a quoted array: '{1,2}'::integer[].", sqlstate="42883")
