"""Functions of regular expressions: PostgreSQL's advanced ones, computed by Python's ``re`` or by DuckDB's RE2.

A pattern that is a constant and means the same there is RE2's (``_same_in_re2``): linear time, compiled once. All
others, with look-around, back-references, ``\\m`` or ``\\M``, or from a column, are computed in Python, some 2 us a
row. ``\\w``, ``\\d``, ``\\s`` and classes are ASCII's, as in the C locale; ``.`` is any character, ``$`` the very end.

Other than in PostgreSQL, of alternatives the first that fits is taken, not the one that gives the longest match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from ....base.errors import Invalid
from ....base.types import TEXT, Type, array_of
from .duck import quote
from .model import Function, Overload, Rendering, function, in_python, overload

PRELUDE: Final[tuple[str, ...]] = ()

_TOKEN: Final = re.compile(
    r"\\(?P<escape>.)|(?P<bracket>\[\^?\]?(?:\\.|\[:[a-z]+:\]|[^\]\\])*\])|(?P<end>\$)|\((?P<group>\?[^:i)])", re.DOTALL
)
_CLASS: Final = re.compile(r"\[:([a-z]+):\]")
_CLASSES: Final = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "blank": r" \t", "cntrl": r"\x00-\x1f\x7f", "digit": "0-9",
    "graph": r"\x21-\x7e", "lower": "a-z", "print": r"\x20-\x7e", "punct": r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    "space": r" \t\n\r\f\v", "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
"""POSIX classes within brackets, which Python's re has not."""

_ESCAPES: Final = {
    **{letter: f"(?a:\\{letter})" for letter in "wWdDsS"},
    "y": r"(?a:\b)",
    "Y": r"(?a:\B)",
    "m": r"(?a:\b(?=\w))",
    "M": r"(?a:\b(?<=\w))",
    "b": r"\x08",
    "B": r"\\",
    "e": r"\x1b",
}
"""What PostgreSQL's escapes are in Python; those that are not here are the same."""

_IN_BRACKETS: Final = {r"\w": "0-9A-Za-z_", r"\d": "0-9", r"\s": r" \t\n\r\f\v", r"\b": r"\x08", r"\B": r"\\"}
_IN_RE2: Final = {"y": r"\b", "Y": r"\B", "Z": r"\z", "b": r"\x08", "B": r"\\"}
_FLAGS: Final = frozenset("gic")


@lru_cache(maxsize=1024)
def pattern_of(text: str, *, fold: bool = False) -> re.Pattern[str]:
    """PostgreSQL's pattern for Python. Raises Invalid (2201B)."""

    def python(token: re.Match[str]) -> str:
        if token["escape"]:
            return _ESCAPES.get(token["escape"], token[0])
        if token["bracket"]:
            named = _CLASS.sub(lambda each: _CLASSES.get(each[1], each[0]), token[0])
            return re.sub(r"\\.", lambda each: _IN_BRACKETS.get(each[0], each[0]), named)
        return r"\Z" if token["end"] else token[0]

    try:
        return re.compile(_TOKEN.sub(python, text), re.DOTALL | (re.IGNORECASE if fold else 0))
    except re.error as error:
        raise Invalid(f"invalid regular expression: {error}", sqlstate="2201B") from None


def _same_in_re2(text: str) -> str | None:
    """The pattern for RE2, or None where that cannot say it."""
    for token in _TOKEN.finditer(text):
        escape = token["escape"]
        if token["group"] or (escape and escape.isalnum() and escape not in "wWdDsSnrtfvAyYZbB"):
            return None
        if token["bracket"] and re.search(r"\\[^wWdDsSnrtfv\W]", token["bracket"]):
            return None
    return _TOKEN.sub(lambda token: _IN_RE2.get(token["escape"] or "", token[0]), text)


def _by_re2(template: Callable[[Rendering, str], str], *, at: int = 1, all: bool = False) -> Callable[[Rendering], str]:
    """``template(rendering, pattern)`` where RE2 does it, else Python.

    ``all``: of matches of nothing RE2 leaves out those right after another match, so patterns with such are Python's.
    """

    def rendered(r: Rendering) -> str:
        if at not in r.literals and r.is_parameter(at):
            r.constant(at)  # the query is rendered for each execution, then it is one
        text = r.literals.get(at)
        pattern = _same_in_re2(text) if isinstance(text, str) else None
        if pattern is None or (all and _may_be_nothing(str(text))):
            return in_python(r)
        return template(r, quote(pattern))

    return rendered


def _may_be_nothing(text: str) -> bool:
    """Whether a pattern that RE2 knows can have matches of nothing."""
    return pattern_of(text).match("") is not None or re.search(r"\\[yY]", text) is not None


def flags_of(text: str) -> str:
    """The flags, checked. Raises Invalid (22023)."""
    if not set(text) <= _FLAGS:
        unknown = next(letter for letter in text if letter not in _FLAGS)
        message = f'regular expression option "{unknown}" is not supported'
        raise Invalid(message, hint="g (all), i (ignore case) and c are.", sqlstate="22023")
    return text


# -- plain Python ----------------------------------------------------------------------------------------------------


def _found(text: str, pattern: str, start: int, flags: str) -> Iterator[re.Match[str]]:
    """All matches from a place, counted from 1, on."""
    if start <= 0:
        raise Invalid(f'invalid value for parameter "start": {start}', sqlstate="22023")
    return pattern_of(pattern, fold="i" in flags_of(flags)).finditer(text, start - 1)


def _flags_of_one(function: str, flags: str) -> str:
    if "g" in flags_of(flags):
        raise Invalid(f'{function}() does not support the "global" option', sqlstate="22023")
    return flags


def _nth(text: str, pattern: str, start: int, n: int, flags: str) -> re.Match[str] | None:
    if n <= 0:
        raise Invalid(f'invalid value for parameter "n": {n}', sqlstate="22023")
    return next(islice(_found(text, pattern, start, flags), n - 1, None), None)


def _group(match: re.Match[str], number: int) -> int | None:
    """The number, where the pattern has such a group."""
    if number < 0:
        raise Invalid(f'invalid value for parameter "subexpr": {number}', sqlstate="22023")
    return number if number <= match.re.groups else None


def _like(x: str, pattern: str, flags: str = "") -> bool:
    return pattern_of(pattern, fold="i" in _flags_of_one("regexp_like", flags)).search(x) is not None


def _count(text: str, pattern: str, start: int = 1, flags: str = "") -> int:
    return sum(1 for _ in _found(text, pattern, start, _flags_of_one("regexp_count", flags)))


def _instr(text: str, pattern: str, start: int = 1, n: int = 1, end: int = 0, flags: str = "", group: int = 0) -> int:
    if end not in (0, 1):
        raise Invalid(f'invalid value for parameter "endoption": {end}', sqlstate="22023")
    match = _nth(text, pattern, start, n, _flags_of_one("regexp_instr", flags))
    number = None if match is None else _group(match, group)
    if match is None or number is None or match.start(number) < 0:
        return 0
    return (match.end(number) if end else match.start(number)) + 1


def _substr(text: str, pattern: str, start: int = 1, n: int = 1, flags: str = "", group: int = 0) -> str | None:
    match = _nth(text, pattern, start, n, _flags_of_one("regexp_substr", flags))
    number = None if match is None else _group(match, group)
    return None if match is None or number is None else match[number]


def _substring(x: str, pattern: str) -> str | None:
    match = pattern_of(pattern).search(x)
    if match is None:
        return None
    return match[1] if match.re.groups else match[0]


def _in_python(replacement: str) -> str:
    """PostgreSQL's ``\\1`` and ``\\&`` for Python's re."""
    return re.sub(
        r"\\(.)",
        lambda m: r"\g<0>" if m[1] == "&" else f"\\g<{m[1]}>" if m[1].isdigit() else "\\\\" + m[1],
        replacement,
    )


def _replace(x: str, pattern: str, replacement: str, flags: str = "") -> str:
    count = 0 if "g" in flags_of(flags) else 1
    return pattern_of(pattern, fold="i" in flags).sub(_in_python(replacement), x, count=count)


def _replace_from(x: str, pattern: str, replacement: str, start: int, n: int = 1, flags: str = "") -> str:
    """The match of this number, counted from ``start`` on, or all of them: 0."""
    if n < 0:
        raise Invalid(f'invalid value for parameter "n": {n}', sqlstate="22023")
    template, out, place = _in_python(replacement), list[str](), 0
    for number, match in enumerate(_found(x, pattern, start, flags), 1):
        if n in (0, number):
            out += [x[place : match.start()], match.expand(template)]
            place = match.end()
    return "".join(out) + x[place:]


def _all_matches(x: str, pattern: str, flags: str = "") -> list[list[str | None]]:
    """The groups (or the whole) of the first match, or with g of each."""
    found = pattern_of(pattern, fold="i" in flags_of(flags)).finditer(x)
    lists = [list(match.groups()) or [match[0]] for match in found]
    return lists if "g" in flags else lists[:1]


def _match(text: str, pattern: str, flags: str = "") -> list[str | None] | None:
    if "g" in flags_of(flags):
        hint = "Use the regexp_matches function instead."
        raise Invalid('regexp_match() does not support the "global" option', hint=hint, sqlstate="22023")
    found = pattern_of(pattern, fold="i" in flags).search(text)
    if found is None:
        return None
    return list(found.groups()) if found.re.groups else [found[0]]


def _split(text: str, pattern: str, flags: str = "") -> list[str]:
    """PostgreSQL ignores matches of nothing at the ends and right after a match."""
    parts: list[str] = []
    place = 0
    for match in pattern_of(pattern, fold="i" in flags_of(flags)).finditer(text):
        if match.end() == match.start() and match.start() in (0, len(text)):
            continue
        if match.end() == match.start() == place:
            continue
        parts.append(text[place : match.start()])
        place = match.end()
    return [*parts, text[place:]]


def _similar_regex(pattern: str) -> str:
    """SIMILAR TO's pattern as a regular expression for the whole text."""
    letters: dict[str, str] = {"%": ".*", "_": ".", ".": r"\.", "^": r"\^", "$": r"\$"}
    parts: list[str] = re.findall(r"\\.|.", pattern, re.DOTALL)
    return "^(?:" + "".join(letters.get(part, part) for part in parts) + ")$"


# -- the table -------------------------------------------------------------------------------------------------------


def _texts(types: Sequence[Type]) -> Type:
    del types
    return array_of(TEXT)


def _lists(types: Sequence[Type]) -> Type:
    del types
    return array_of(array_of(TEXT))


def _matching(fold: bool) -> Overload:
    options = "si" if fold else "s"
    return overload(
        "text, text -> boolean",
        _by_re2(lambda r, pattern: f"regexp_matches({r[0]}, {pattern}, '{options}')"),
        naive=lambda x, pattern: pattern_of(pattern, fold=fold).search(x) is not None,
        can_fail=True,
    )


def _extracted(r: Rendering, pattern: str, *, group: int = 0) -> str:
    return f"CASE WHEN regexp_matches({r[0]}, {pattern}, 's') THEN regexp_extract({r[0]}, {pattern}, {group}, 's') END"


def _extracted_group(r: Rendering, pattern: str) -> str:
    return _extracted(r, pattern, group=1 if pattern_of(r.constant(1)).groups else 0)


BY_PATTERN: Final = overload("text, text -> text", _by_re2(_extracted_group), naive=_substring, can_fail=True)
"""``substring(x, pattern)``."""


def _replacing(r: Rendering) -> str:
    if len(r.arguments) == 4 and 3 not in r.literals and not r.is_parameter(3):
        return in_python(r)
    flags = flags_of(r.constant(3)) if len(r.arguments) == 4 else ""
    replacement = f"replace({r[2]}, '\\&', '\\0')"

    def template(r: Rendering, pattern: str) -> str:
        return f"regexp_replace({r[0]}, {pattern}, {replacement}, 's{flags}')"

    return _by_re2(template, all="g" in flags)(r)


def _python(name: str, naive: Callable[..., Any], *signatures: str, result: Any = None) -> Function:
    return function(name, *(overload(one, in_python, naive=naive, result=result, can_fail=True) for one in signatures))


def functions() -> tuple[Function, ...]:
    """All functions of regular expressions, and SIMILAR TO."""
    return (
        function("regex_match", _matching(False), operator="~"),
        function("regex_imatch", _matching(True), operator="~*"),
        function(
            "regexp_like",
            _matching(False),
            overload("text, text, text -> boolean", in_python, naive=_like, can_fail=True),
        ),
        _python("regexp_match_list", _all_matches, "text, text -> text", "text, text, text -> text", result=_lists),
        _python("regexp_match", _match, "text, text -> text", "text, text, text -> text", result=_texts),
        _python("regexp_split_to_array", _split, "text, text -> text", "text, text, text -> text", result=_texts),
        _python(
            "regexp_count",
            _count,
            "text, text -> integer",
            "text, text, integer -> integer",
            "text, text, integer, text -> integer",
        ),
        _python(
            "regexp_instr",
            _instr,
            "text, text -> integer",
            "text, text, integer -> integer",
            "text, text, integer, integer -> integer",
            "text, text, integer, integer, integer -> integer",
            "text, text, integer, integer, integer, text -> integer",
            "text, text, integer, integer, integer, text, integer -> integer",
        ),
        function(
            "regexp_substr",
            overload("text, text -> text", _by_re2(_extracted), naive=_substr, can_fail=True),
            *(
                overload(signature, in_python, naive=_substr, can_fail=True)
                for signature in (
                    "text, text, integer -> text",
                    "text, text, integer, integer -> text",
                    "text, text, integer, integer, text -> text",
                    "text, text, integer, integer, text, integer -> text",
                )
            ),
        ),
        function(
            "regexp_replace",
            *(
                overload(signature, _replacing, naive=_replace, can_fail=True)
                for signature in ("text, text, text -> text", "text, text, text, text -> text")
            ),
            *(
                overload(signature, in_python, naive=_replace_from, can_fail=True)
                for signature in (
                    "text, text, text, integer -> text",
                    "text, text, text, integer, integer -> text",
                    "text, text, text, integer, integer, text -> text",
                )
            ),
        ),
        function(
            "similar_to",
            overload(
                "text, text -> boolean",
                lambda r: f"regexp_matches({r[0]}, {quote(_similar_regex(r.constant(1)))}, 's')",
                naive=lambda x, pattern: pattern_of(_similar_regex(pattern)).search(x) is not None,
                constants=(1,),
                can_fail=True,
            ),
            operator="SIMILAR TO",
        ),
    )
