"""Functions of text: PostgreSQL's names and edge cases (negative lengths, empty delimiters, trailing escapes).

Positions and lengths count characters (code points). Case follows Unicode without a locale. Regular expressions are in
patterns.py.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any, Final

import pyarrow.compute as pc

from ....base.errors import Invalid
from .model import Function, function, in_python, overload
from .patterns import BY_PATTERN

PRELUDE: Final[tuple[str, ...]] = (
    "CREATE OR REPLACE MACRO weft_substring(x, start, count) AS CASE WHEN count < 0 "
    "THEN error('negative substring length not allowed') "
    "WHEN CAST(start AS BIGINT) + count <= 1 THEN CASE WHEN x IS NULL THEN NULL ELSE '' END "
    "ELSE substring(x, greatest(start, 1), CAST(start AS BIGINT) + count - greatest(start, 1)) END",
    "CREATE OR REPLACE MACRO weft_lpad(x, size, fill) AS CASE WHEN size <= 0 THEN left(x || fill, 0) "
    "WHEN fill = '' THEN left(x, size) ELSE lpad(x, size, fill) END",
    "CREATE OR REPLACE MACRO weft_rpad(x, size, fill) AS CASE WHEN size <= 0 THEN left(x || fill, 0) "
    "WHEN fill = '' THEN left(x, size) ELSE rpad(x, size, fill) END",
    "CREATE OR REPLACE MACRO weft_split_part(x, delimiter, place) AS CASE "
    "WHEN place = 0 THEN error('field position must not be zero') "
    "WHEN delimiter = '' THEN CASE WHEN place IN (1, -1) THEN x WHEN x IS NULL THEN NULL ELSE '' END "
    "ELSE split_part(x, delimiter, place) END",
    "CREATE OR REPLACE MACRO weft_replace(x, old, new) AS CASE WHEN old = '' THEN left(new, 0) || x "
    "ELSE replace(x, old, new) END",
    "CREATE OR REPLACE MACRO weft_chr(code) AS CASE WHEN code = 0 THEN error('null character not permitted') "
    "WHEN code < 0 THEN error('character number must be positive') "
    "WHEN code > 1114111 THEN error('requested character too large for encoding: ' || code) ELSE chr(code) END",
    "CREATE OR REPLACE MACRO weft_initcap(x) AS CASE WHEN x = '' THEN x ELSE list_aggregate(list_transform("
    "regexp_extract_all(x, '[\\p{L}\\p{N}]+|[^\\p{L}\\p{N}]+'), "
    "lambda word: upper(left(word, 1)) || lower(substr(word, 2))), 'string_agg', '') END",
)


def _plain(name: str, signature: str, template: str, naive: Callable[..., Any], **options: Any) -> Function:
    return function(name, overload(signature, template, naive=naive, **options))


# -- plain Python ----------------------------------------------------------------------------------------------------


def _substring(x: Any, start: int, count: int | None = None) -> Any:
    """Of text or bytes."""
    if count is not None and count < 0:
        raise Invalid("negative substring length not allowed", sqlstate="22011")
    end = len(x) if count is None else max(start - 1 + count, 0)
    return x[max(start - 1, 0) : end]


def _pad(x: str, size: int, fill: str, *, left: bool) -> str:
    if size <= 0:
        return ""
    missing = size - len(x)
    if missing <= 0 or not fill:
        return x[:size]
    padding = (fill * (missing // len(fill) + 1))[:missing]
    return padding + x if left else x + padding


def _split_part(x: str, delimiter: str, place: int) -> str:
    if place == 0:
        raise Invalid("field position must not be zero", sqlstate="22023")
    parts = x.split(delimiter) if delimiter and x else [x]
    index = place - 1 if place > 0 else len(parts) + place
    return parts[index] if 0 <= index < len(parts) else ""


def _translate(x: str, old: str, new: str) -> str:
    table: dict[str, str | None] = {}
    for index, letter in enumerate(old):
        table.setdefault(letter, new[index] if index < len(new) else None)
    return x.translate(str.maketrans(table))


def _initcap(x: str) -> str:
    words = re.findall(r"[^\W_]+|[\W_]+", x)
    return "".join(word[:1].upper() + word[1:].lower() for word in words)


def _chr(code: int) -> str:
    if code == 0:
        raise Invalid("null character not permitted", sqlstate="54000")
    if code < 0:
        raise Invalid("character number must be positive", sqlstate="54000")
    if code > 0x10FFFF:
        raise Invalid(f"requested character too large for encoding: {code}", sqlstate="54000")
    return chr(code)


def _concat(*parts: str | None) -> str:
    return "".join(part for part in parts if part is not None)


def _concat_ws(delimiter: str | None, *parts: str | None) -> str | None:
    return None if delimiter is None else delimiter.join(part for part in parts if part is not None)


def _overlay(x: str, new: str, start: int, count: int | None = None) -> str:
    if start <= 0:
        raise Invalid("negative substring length not allowed", sqlstate="22011")
    count = len(new) if count is None else count
    return x[: start - 1] + new + x[max(start - 1 + count, 0) :]


def _size_pretty(size: int) -> str:
    """As PostgreSQL: halves away from zero, the next unit from 10,240 (20,480 halves) of one on."""
    unit = "bytes"
    for unit, next_unit in zip(_SIZES, (*_SIZES[1:], None), strict=True):
        if next_unit is None or abs(size) < (10240 if unit == "bytes" else 20479):
            break
        shift = 9 if unit == "bytes" else 10
        size = int(abs(size) >> shift) * (1 if size >= 0 else -1)
    if unit != "bytes":
        size = (abs(size) + 1) // 2 * (1 if size >= 0 else -1)
    return f"{size} {unit}"


_SIZES: Final = ("bytes", "kB", "MB", "GB", "TB", "PB")


def _trim(name: str, side: str, strip: Callable[[str, str], str]) -> Function:
    return function(
        name,
        overload("text -> text", f"{side}({{0}}, ' ')", naive=lambda x: strip(x, " ")),
        overload("text, text -> text", f"{side}({{0}}, {{1}})", naive=lambda x, set_: strip(x, set_) if set_ else x),
    )


def _lengths() -> tuple[Function, ...]:
    of_text = overload("text -> integer", "CAST(length({0}) AS INTEGER)", naive=len, arrow=pc.utf8_length)
    of_bytes = overload("bytea -> integer", "CAST(octet_length({0}) AS INTEGER)", naive=len, arrow=pc.binary_length)
    octets = overload(
        "text -> integer", "CAST(strlen({0}) AS INTEGER)", naive=lambda x: len(x.encode()), arrow=pc.binary_length
    )
    return (
        function("length", of_text, of_bytes),
        function("char_length", of_text),
        function("character_length", of_text),
        function("octet_length", octets, of_bytes),
        _plain("bit_length", "text -> integer", "CAST(strlen({0}) * 8 AS INTEGER)", lambda x: len(x.encode()) * 8),
    )


def _searches() -> tuple[Function, ...]:
    position = overload(
        "text, text -> integer", "CAST(strpos({0}, {1}) AS INTEGER)", naive=lambda x, part: x.find(part) + 1
    )
    return (
        function("strpos", position),
        function(
            "position",
            position,
            overload("bytea, bytea -> integer", in_python, naive=lambda data, part: data.find(part) + 1),
        ),
        _plain("starts_with", "text, text -> boolean", "starts_with({0}, {1})", str.startswith),
        _plain(
            "replace",
            "text, text, text -> text",
            "weft_replace({0}, {1}, {2})",
            lambda x, a, b: x.replace(a, b) if a else x,
        ),
        _plain("translate", "text, text, text -> text", "translate({0}, {1}, {2})", _translate),
        _plain(
            "split_part", "text, text, integer -> text", "weft_split_part({0}, {1}, {2})", _split_part, can_fail=True
        ),
    )


def _pieces() -> tuple[Function, ...]:
    substring = (
        overload("text, integer -> text", "substring({0}, greatest({1}, 1))", naive=_substring),
        overload("text, integer, integer -> text", "weft_substring({0}, {1}, {2})", naive=_substring, can_fail=True),
    )
    of_bytes = (
        overload("bytea, integer -> bytea", in_python, naive=_substring),
        overload("bytea, integer, integer -> bytea", in_python, naive=_substring, can_fail=True),
    )
    return (
        function("substring", *substring, BY_PATTERN, *of_bytes),
        function("substr", *substring),
        _plain(
            "left", "text, integer -> text", "left({0}, {1})", lambda x, n: x[:n] if n >= 0 else x[: max(len(x) + n, 0)]
        ),
        _plain(
            "right",
            "text, integer -> text",
            "right({0}, {1})",
            lambda x, n: (x[-n:] if n else "") if n >= 0 else x[-n:],
        ),
        function(
            "overlay",
            overload(
                "text, text, integer -> text",
                "(weft_substring({0}, 1, {2} - 1) || {1} || substring({0}, {2} + length({1})))",
                naive=_overlay,
                can_fail=True,
            ),
            overload(
                "text, text, integer, integer -> text",
                "(weft_substring({0}, 1, {2} - 1) || {1} || substring({0}, greatest({2} + {3}, 1)))",
                naive=_overlay,
                can_fail=True,
            ),
        ),
        *(
            function(
                name,
                overload(
                    "text, integer -> text",
                    f"weft_{name}({{0}}, {{1}}, ' ')",
                    naive=lambda x, n, at=at: _pad(x, n, " ", left=at),
                ),
                overload(
                    "text, integer, text -> text",
                    f"weft_{name}({{0}}, {{1}}, {{2}})",
                    naive=lambda x, n, fill, at=at: _pad(x, n, fill, left=at),
                ),
            )
            for name, at in (("lpad", True), ("rpad", False))
        ),
        _trim("btrim", "trim", str.strip),
        _trim("ltrim", "ltrim", str.lstrip),
        _trim("rtrim", "rtrim", str.rstrip),
        _trim("trim", "trim", str.strip),
    )


def functions() -> tuple[Function, ...]:
    """All functions of text."""
    return (
        _plain("upper", "text -> text", "upper({0})", str.upper),
        _plain("lower", "text -> text", "lower({0})", str.lower, arrow=pc.utf8_lower),
        _plain("initcap", "text -> text", "weft_initcap({0})", _initcap),
        _plain("reverse", "text -> text", "reverse({0})", lambda x: x[::-1]),
        _plain("repeat", "text, integer -> text", "repeat({0}, {1})", lambda x, n: x * max(n, 0)),
        _plain("ascii", "text -> integer", "ascii({0})", lambda x: ord(x[0]) if x else 0),
        _plain("chr", "integer -> text", "weft_chr({0})", _chr, can_fail=True),
        _plain("md5", "text -> text", "md5({0})", lambda x: hashlib.md5(x.encode(), usedforsecurity=False).hexdigest()),
        function("concat", overload("textual... -> text", "concat({args})", naive=_concat, strict=False)),
        function(
            "concat_ws",
            overload(
                "text, textual... -> text",
                "concat_ws({args})",
                naive=_concat_ws,
                strict=False,
            ),
        ),
        *_lengths(),
        *_searches(),
        *_pieces(),
        function("pg_size_pretty", overload("bigint -> text", in_python, naive=_size_pretty)),
    )
