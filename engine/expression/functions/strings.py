"""More functions of text and bytes: encodings, hashes, quoting, ``format``, and text taken apart into arrays.

All but the shortest are computed in Python, also for DuckDB (``in_python``): they are seldom, and PostgreSQL's rules
for them are long.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Callable
from typing import Any, Final

from ....base.errors import Invalid
from ....base.oids import format_type
from ....base.types import TEXT, Type, array_of
from .duck import quote
from .model import Function, Rendering, function, in_python, overload

PRELUDE: Final[tuple[str, ...]] = ()


def _plain(name: str, signature: str, naive: Callable[..., Any], **options: Any) -> Function:
    return function(name, overload(signature, in_python, naive=naive, **options))


# -- bytes as text ---------------------------------------------------------------------------------------------------


def _encode(data: bytes, form: str) -> str:
    match form.lower():
        case "hex":
            return data.hex()
        case "base64":
            text = base64.b64encode(data).decode()
            return "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
        case "escape":
            return "".join(_escaped(byte) for byte in data)
        case _:
            raise _no_encoding(form)


def _encoded(r: Rendering) -> str:
    return f"lower(hex({r[0]}))" if r.literals.get(1) == "hex" else in_python(r)


def _escaped(byte: int) -> str:
    if byte == 0 or byte > 127:
        return f"\\{byte:03o}"
    return "\\\\" if byte == 92 else chr(byte)


def _decode(text: str, form: str) -> bytes:
    match form.lower():
        case "hex":
            plain = re.sub(r"[ \n\t\r]", "", text)
            bad = re.search(r"[^0-9A-Fa-f]", plain)
            if bad:
                raise Invalid(f'invalid hexadecimal digit: "{bad[0]}"', sqlstate="22023")
            if len(plain) % 2:
                raise Invalid("invalid hexadecimal data: odd number of digits", sqlstate="22023")
            return bytes.fromhex(plain)
        case "base64":
            return _from_base64(re.sub(r"[ \n\t\r]", "", text))
        case "escape":
            return _from_escapes(text)
        case _:
            raise _no_encoding(form)


def _from_base64(text: str) -> bytes:
    bad = re.search(r"[^A-Za-z0-9+/=]", text)
    if bad:
        raise Invalid(f'invalid symbol "{bad[0]}" found while decoding base64 sequence', sqlstate="22023")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        hint = "Input data is missing padding, is truncated, or is otherwise corrupted."
        raise Invalid("invalid base64 end sequence", hint=hint, sqlstate="22023") from None


def _from_escapes(text: str) -> bytes:
    def byte(match: re.Match[str]) -> str:
        if match[1] is None and match[0] != "\\\\":
            raise Invalid("invalid input syntax for type bytea", sqlstate="22P02")
        return "\\" if match[1] is None else chr(0xDC00 + int(match[1], 8)) if int(match[1], 8) > 127 else chr(
            int(match[1], 8)
        )  # fmt: skip

    return re.sub(r"\\(?:([0-3][0-7]{2})|\\|)", byte, text).encode("utf-8", "surrogateescape")


def _no_encoding(form: str) -> Invalid:
    return Invalid(f'unrecognized encoding: "{form}"', hint="Use hex, base64 or escape.", sqlstate="22023")


def _convert_from(data: bytes, name: str) -> str:
    _utf8(name)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Invalid('invalid byte sequence for encoding "UTF8"', sqlstate="22021") from None
    if "\0" in text:
        raise Invalid('invalid byte sequence for encoding "UTF8": 0x00', sqlstate="22021")
    return text


def _convert_to(text: str, name: str) -> bytes:
    _utf8(name)
    return text.encode()


def _utf8(name: str) -> None:
    if name.upper().replace("-", "") not in ("UTF8", "UNICODE"):
        raise Invalid(f'the encoding "{name}" is not supported', hint="UTF8 is.", sqlstate="0A000")


# -- quoting and format ----------------------------------------------------------------------------------------------


def quote_literal(text: str) -> str:
    quoted = "'" + text.replace("'", "''").replace("\\", "\\\\") + "'"
    return f"E{quoted}" if "\\" in text else quoted


_QUOTED: Final = r"""(CASE WHEN contains({0}, '\') THEN 'E' ELSE '' END
    || '''' || replace(replace({0}, '''', ''''''), '\', '\\') || '''')"""

_RESERVED: Final = frozenset(
    """
    all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create
    current_catalog current_date current_role current_time current_timestamp current_user default deferrable desc
    distinct do else end except false fetch for foreign from grant group having in initially intersect into lateral
    leading limit localtime localtimestamp not null offset on only or order placing primary references returning
    select session_user some symmetric table then to trailing true union unique user using variadic when where
    window with authorization binary collation concurrently cross current_schema freeze full ilike inner is isnull
    join left like natural notnull outer overlaps right similar tablesample verbose between bigint bit boolean char
    character coalesce dec decimal exists extract float greatest grouping inout int integer interval least national
    nchar none normalize nullif numeric out overlay position precision real row setof smallint substring time
    timestamp treat trim values varchar xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces
    xmlparse xmlpi xmlroot xmlserialize xmltable
    """.split()  # noqa: SIM905
)


def quote_ident(name: str) -> str:
    if re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in _RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


_SPECIFIER: Final = re.compile(
    r"%(?:(?P<place>[0-9]+)\$)?(?P<left>-*)(?P<width>\*(?:[0-9]+\$)?|[0-9]+)?(?P<type>.)?", re.S
)


def _format(pattern: str | None, *values: str | None) -> str | None:
    """PostgreSQL's ``format``: %s, %I, %L, %%, with ``n$``, ``-`` and a width."""
    if pattern is None:
        return None
    parts: list[str] = []
    place = used = 0
    while (start := pattern.find("%", place)) >= 0:
        parts.append(pattern[place:start])
        match = _SPECIFIER.match(pattern, start)
        assert match is not None, "a per cent sign stands here"
        place, kind = match.end(), match["type"]
        if kind is None:
            hint = 'For a single "%" use "%%".'
            raise Invalid("unterminated format() type specifier", hint=hint, sqlstate="22023")
        if kind == "%":
            parts.append("%")
            continue
        if kind not in "sIL":
            hint = 'For a single "%" use "%%".'
            raise Invalid(f'unrecognized format() type specifier "{kind}"', hint=hint, sqlstate="22023")
        width = match["width"] or "0"
        if width.startswith("*"):
            raise Invalid("format() with * as a width is not supported", sqlstate="0A000")
        if match["place"] == "0":
            raise Invalid("format specifies argument 0, but arguments are numbered from 1", sqlstate="22023")
        used = int(match["place"]) if match["place"] else used + 1
        if used > len(values):
            raise Invalid("too few arguments for format()", sqlstate="22023")
        text = _formatted(values[used - 1], kind)
        parts.append(text.ljust(int(width)) if match["left"] else text.rjust(int(width)))
    return "".join(parts) + pattern[place:]


def _formatted(value: str | None, kind: str) -> str:
    if value is None:
        if kind == "I":
            raise Invalid("null values cannot be formatted as an SQL identifier", sqlstate="22004")
        return "NULL" if kind == "L" else ""
    return {"s": lambda text: text, "I": quote_ident, "L": quote_literal}[kind](value)


def _formatted_by(r: Rendering) -> str:
    """A constant pattern with nothing but ``%s`` is a concatenation."""
    pattern = r.literals.get(0)
    parts = pattern.split("%s") if isinstance(pattern, str) else []
    if not 1 < len(parts) <= len(r.arguments) or any("%" in part for part in parts):
        return in_python(r)
    values = [f"coalesce({argument}, '')" for argument in r.arguments[1 : len(parts)]]
    pieces = [piece for pair in zip(map(quote, parts), [*values, "''"], strict=True) for piece in pair]
    return f"({' || '.join(pieces)})"


# -- text and arrays -------------------------------------------------------------------------------------------------


def _to_array(text: str | None, delimiter: str | None, null: str | None = None) -> list[str | None] | None:
    if text is None:
        return None
    if text == "":
        return []
    items = list(text) if delimiter is None else [text] if delimiter == "" else text.split(delimiter)
    return [None if item == null else item for item in items]


_TO_ARRAY: Final = (
    "CASE WHEN {0} IS NULL THEN NULL WHEN {0} = '' THEN CAST([] AS VARCHAR[]) WHEN {1} = '' THEN [{0}] "
    "WHEN {1} IS NOT NULL THEN string_split({0}, {1}) ELSE regexp_extract_all({0}, '(?s).') END"
)


def _format_type(oid: int | None, modifier: int | None) -> str | None:
    return None if oid is None else format_type(oid, modifier)


def _byte_at(data: bytes, place: int) -> int:
    _check_place(data, place)
    return data[place]


def _with_byte(data: bytes, place: int, value: int) -> bytes:
    _check_place(data, place)
    return data[:place] + bytes([value & 255]) + data[place + 1 :]


def _check_place(data: bytes, place: int) -> None:
    if not 0 <= place < len(data):
        raise Invalid(f"index {place} out of valid range, 0..{len(data) - 1}", sqlstate="2202E")


def _unescaped(text: str) -> str:
    """``unistr``: \\0041 and \\+000041, \\u0041 and \\U00000041."""

    def letter(match: re.Match[str]) -> str:
        code = match["four"] or match["six"] or match["long"]
        if code is None:
            return "\\"
        point = int(code, 16)
        if point > 0x10FFFF or 0xD800 <= point < 0xE000 or point == 0:
            raise Invalid(f"invalid Unicode code point: {point:04X}", sqlstate="22023")
        return chr(point)

    return re.sub(
        r"\\(?:\\|u?(?P<four>[0-9A-Fa-f]{4})|\+(?P<six>[0-9A-Fa-f]{6})|U(?P<long>[0-9A-Fa-f]{8})|(?P<wrong>.|$))",
        lambda match: _no_escape() if match["wrong"] is not None else letter(match),
        text,
    )


def _no_escape() -> str:
    raise Invalid("invalid Unicode escape", sqlstate="42601")


def _hash(name: str) -> Function:
    native = "unhex(sha256({0}))" if name == "sha256" else in_python
    return function(name, overload("bytea -> bytea", native, naive=lambda data: hashlib.new(name, data).digest()))


def _text_array(types: Any) -> Type:
    del types
    return array_of(TEXT)


def _to_hex(bits: int) -> Callable[[int], str]:
    return lambda value: f"{value & (1 << bits) - 1:x}"


def _quoted_or_null(text: str | None) -> str:
    return "NULL" if text is None else quote_literal(text)


def _shift(kind: str, bits: int, *, left: bool) -> tuple[str, str, Callable[[int, int], int]]:
    """C's shift of a machine word, as PostgreSQL has it: the count by its last bits, the sign kept to the right."""

    def shifted(value: int, count: int) -> int:
        count &= max(bits, 32) - 1
        if not left:
            return value >> count
        word = (value << count) & ((1 << bits) - 1)
        return word - (1 << bits) if word >> (bits - 1) else word

    return f"{kind}, integer -> {kind}", kind, shifted


def _shifts(name: str, symbol: str, *, left: bool) -> Function:
    return function(
        name,
        *(
            overload(signature, in_python, naive=naive)
            for signature, _, naive in (
                _shift(kind, bits, left=left) for kind, bits in (("smallint", 16), ("integer", 32), ("bigint", 64))
            )
        ),
        operator=symbol,
    )


def functions() -> tuple[Function, ...]:
    """The functions of this module, and the shifts."""
    return (
        function("encode", overload("bytea, text -> text", _encoded, naive=_encode, can_fail=True)),
        _plain("decode", "text, text -> bytea", _decode, can_fail=True),
        _plain("convert_from", "bytea, text -> text", _convert_from, can_fail=True),
        _plain("convert_to", "text, text -> bytea", _convert_to, can_fail=True),
        *map(_hash, ("sha224", "sha256", "sha384", "sha512")),
        function(
            "format_type",
            overload("bigint, integer -> text", in_python, naive=_format_type, strict=False),
        ),
        _plain("get_byte", "bytea, integer -> integer", _byte_at, can_fail=True),
        _plain("set_byte", "bytea, integer, integer -> bytea", _with_byte, can_fail=True),
        _plain("bit_count", "bytea -> bigint", lambda data: int.from_bytes(data).bit_count()),
        _plain("unistr", "text -> text", _unescaped, can_fail=True),
        _plain("normalize", "text -> text", lambda text: unicodedata.normalize("NFC", text)),
        function(
            "to_hex",
            overload(
                "integer -> text",
                "lower(to_hex(CAST({0} AS BIGINT) + CASE WHEN {0} < 0 THEN 4294967296 ELSE 0 END))",
                naive=_to_hex(32),
            ),
            overload("bigint -> text", "lower(to_hex({0}))", naive=_to_hex(64)),
        ),
        function("quote_literal", overload("textual -> text", _QUOTED, naive=quote_literal)),
        function(
            "quote_nullable",
            overload("textual -> text", f"coalesce({_QUOTED}, 'NULL')", naive=_quoted_or_null, strict=False),
        ),
        _plain("quote_ident", "text -> text", quote_ident),
        function(
            "format",
            overload("text -> text", in_python, naive=_format, strict=False, can_fail=True),
            overload("text, textual... -> text", _formatted_by, naive=_format, strict=False, can_fail=True),
        ),
        function(
            "string_to_array",
            overload("text, text -> text", _TO_ARRAY, result=_text_array, naive=_to_array, strict=False),
            overload(
                "text, text, text -> text",
                f"list_transform({_TO_ARRAY}, lambda weft_item: CASE WHEN weft_item IS DISTINCT FROM {{2}} "
                "THEN weft_item END)",
                result=_text_array,
                naive=_to_array,
                strict=False,
            ),
        ),
        function("num_nulls", overload("any... -> integer", _count_nulls("IS NULL"), naive=_nulls, strict=False)),
        function(
            "num_nonnulls",
            overload(
                "any... -> integer", _count_nulls("IS NOT NULL"), naive=lambda *v: len(v) - _nulls(*v), strict=False
            ),
        ),
        _shifts("shift_left", "<<", left=True),
        _shifts("shift_right", ">>", left=False),
    )


def _nulls(*values: Any) -> int:
    return sum(value is None for value in values)


def _count_nulls(test: str) -> Callable[[Rendering], str]:
    return lambda r: f"({' + '.join(f'CAST({argument} {test} AS INTEGER)' for argument in r.arguments)})"
