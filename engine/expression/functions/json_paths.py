"""JSON paths: ``'$.items[*] ? (@.price > 10).name'``, what jsonb_path_query, ``@?`` and ``@@`` are made of.

    path      ::= [lax | strict] expression
    steps     ::= .key | ."key" | .* | .** | [*] | [n, n to m, last - 1] | ? (condition) | .size() | ...
    condition ::= a == b (!= <> < <= > >=), && || !, exists(path), like_regex, starts with, (...) is unknown

A path gives any number of items. A condition compares all pairs of items and is true, false or unknown (None). lax,
which is the default, takes an array for its elements, a value for an array of one, and what is missing for nothing;
strict raises. Arithmetic is NUMERIC's. Not there: dates (``.datetime()``), ``.keyvalue()``, levels of ``.**``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, DecimalException
from functools import lru_cache
from itertools import product
from typing import Any, Final

from ....base.documents import read, write
from ....base.errors import Invalid
from ....base.types import TEXT, Type, array_of
from .model import Function, function, in_python, overload
from .patterns import pattern_of

PRELUDE: Final[tuple[str, ...]] = ()

_EXACT: Final = Context(prec=1000)
_TOKENS: Final = re.compile(
    r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|(?P<name>\$?[^\W\d]\w*)'
    r"|(?P<symbol>\*\*|==|!=|<>|<=|>=|&&|\|\||[-$@.*\[\](),?!<>+/%])|(?P<end>$))"
)
_COMPARISONS: Final = ("==", "!=", "<>", "<", "<=", ">", ">=")

Items = list[Any]
Truth = bool | None


class _Error(Exception):
    """What a path cannot be computed for; an answer of no rows, or NULL, where the caller is silent."""

    def __init__(self, message: str, sqlstate: str = "22038") -> None:
        super().__init__(message)
        self.message, self.sqlstate = message, sqlstate


@dataclass(frozen=True, slots=True)
class _At:
    """Where a path is evaluated: the document, ``@``, the size of the array that ``last`` means, variables."""

    root: Any
    current: Any
    variables: dict[str, Any]
    lax: bool
    size: int | None = None

    def on(self, current: Any, *, size: int | None = None) -> _At:
        return _At(self.root, current, self.variables, self.lax, self.size if size is None else size)


Value = Callable[[_At], Items]
Condition = Callable[[_At], Truth]


@dataclass(frozen=True, slots=True)
class Path:
    """A path that was read: ``condition`` where all of it is one."""

    lax: bool
    value: Value | None
    condition: Condition | None

    def items(self, document: str, variables: str = "{}") -> Items:
        known = read(variables)
        if not isinstance(known, dict):
            raise Invalid('"vars" argument is not an object', sqlstate="22023")
        root = read(document)
        at = _At(root, root, known, self.lax)
        try:
            if self.condition is not None:
                return [self.condition(at)]
            assert self.value is not None, "a path is a value or a condition"
            return self.value(at)
        except DecimalException:
            raise _Error("division by zero", "22012") from None


@lru_cache(maxsize=1024)
def path_of(text: str) -> Path:
    """The path. Raises Invalid (42601)."""
    return _Parser(text).path()


# -- reading ---------------------------------------------------------------------------------------------------------


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split())
        self._place = 0

    def _split(self) -> Iterator[tuple[str, str]]:
        place = 0
        while True:
            match = _TOKENS.match(self._text, place)
            if match is None or match.lastgroup is None:
                raise self._wrong(self._text[place:].strip()[:1])
            yield match.lastgroup, match[match.lastgroup]
            if match.lastgroup == "end":
                return
            place = match.end()

    def _wrong(self, found: str) -> Invalid:
        where = f'at or near "{found}"' if found else "at end"
        return Invalid(
            f"syntax error {where} of jsonpath input",
            hint="docs/sql.md says what paths there are.",
            sqlstate="42601",
        )

    def _peek(self, *words: str) -> bool:
        kind, text = self._tokens[self._place]
        return kind in ("symbol", "name") and text in words

    def _take(self, *words: str) -> str | None:
        if not self._peek(*words):
            return None
        self._place += 1
        return self._tokens[self._place - 1][1]

    def _need(self, word: str) -> None:
        if self._take(word) is None:
            raise self._wrong(self._tokens[self._place][1])

    def path(self) -> Path:
        lax = self._take("lax", "strict") != "strict"
        found = self._either()
        if self._tokens[self._place][0] != "end":
            raise self._wrong(self._tokens[self._place][1])
        return Path(lax, None, found[1]) if found[0] == "condition" else Path(lax, found[1], None)

    # Conditions and values share parentheses, so each part says which of both it is.

    def _either(self) -> tuple[str, Any]:
        found = self._and()
        while self._take("||"):
            parts = self._is(found, "condition"), self._is(self._and(), "condition")
            found = "condition", _joined(*parts, decided_by=True)
        return found

    def _and(self) -> tuple[str, Any]:
        found = self._comparison()
        while self._take("&&"):
            parts = self._is(found, "condition"), self._is(self._comparison(), "condition")
            found = "condition", _joined(*parts, decided_by=False)
        return found

    def _comparison(self) -> tuple[str, Any]:
        if self._take("!"):
            condition = self._is(self._comparison(), "condition")
            return "condition", lambda at: None if (truth := condition(at)) is None else not truth
        found = self._sum()
        if operator := self._take(*_COMPARISONS):
            return "condition", _compared(self._is(found, "value"), operator, self._is(self._sum(), "value"))
        if self._take("like_regex"):
            pattern = self._string()
            flags = self._string() if self._take("flag") else ""
            return "condition", _matching(self._is(found, "value"), pattern, flags)
        if self._peek("starts") and self._take("starts"):
            self._need("with")
            return "condition", _starting(self._is(found, "value"), self._is(self._sum(), "value"))
        if self._take("is"):
            self._need("unknown")
            condition = self._is(found, "condition")
            return "condition", lambda at: condition(at) is None
        return found

    def _sum(self) -> tuple[str, Any]:
        found = self._product()
        while operator := self._take("+", "-"):
            found = "value", _computed(self._is(found, "value"), operator, self._is(self._product(), "value"))
        return found

    def _product(self) -> tuple[str, Any]:
        found = self._signed()
        while operator := self._take("*", "/", "%"):
            found = "value", _computed(self._is(found, "value"), operator, self._is(self._signed(), "value"))
        return found

    def _signed(self) -> tuple[str, Any]:
        if sign := self._take("+", "-"):
            return "value", _with_sign(self._is(self._signed(), "value"), sign)
        found = self._primary()
        while self._peek(".", "[", "?"):
            found = "value", self._step(self._is(found, "value"))
        return found

    def _primary(self) -> tuple[str, Any]:
        kind, text = self._tokens[self._place]
        self._place += 1
        match kind, text:
            case "symbol", "$":
                return "value", lambda at: [at.root]
            case "symbol", "@":
                return "value", lambda at: [at.current]
            case "symbol", "(":
                found = self._either()
                self._need(")")
                return found
            case "string", _:
                return "value", _constant(read(text))
            case "number", _:
                return "value", _constant(Decimal(text) if re.search(r"[.eE]", text) else int(text))
            case "name", "true" | "false" | "null":
                return "value", _constant({"true": True, "false": False, "null": None}[text])
            case "name", "last":
                return "value", _last
            case "name", "exists":
                self._need("(")
                inner = self._is(self._either(), "value")
                self._need(")")
                return "condition", _existing(inner)
            case "name", _ if text.startswith("$"):
                return "value", _variable(text[1:])
            case _:
                raise self._wrong(text)

    def _step(self, value: Value) -> Value:
        if self._take("?"):
            self._need("(")
            condition = self._is(self._either(), "condition")
            self._need(")")
            return _filtered(value, condition)
        if self._take("["):
            if self._take("*"):
                self._need("]")
                return _elements(value)
            bounds = [self._bound()]
            while self._take(","):
                bounds.append(self._bound())
            self._need("]")
            return _indexed(value, bounds)
        self._need(".")
        if self._take("**"):
            return _everywhere(value)
        if self._take("*"):
            return _members(value)
        kind, text = self._tokens[self._place]
        self._place += 1
        if kind == "string":
            return _member(value, read(text))
        if kind != "name" or text.startswith("$"):
            raise self._wrong(text)
        if not self._take("("):
            return _member(value, text)
        self._need(")")
        if text not in _METHODS:
            raise Invalid(
                f".{text}() of a jsonpath is not supported", hint=f"{', '.join(_METHODS)} are.", sqlstate="0A000"
            )
        return _method(value, text)

    def _bound(self) -> tuple[Value, Value | None]:
        low = self._is(self._sum(), "value")
        return low, self._is(self._sum(), "value") if self._take("to") else None

    def _string(self) -> str:
        kind, text = self._tokens[self._place]
        if kind != "string":
            raise self._wrong(text)
        self._place += 1
        return read(text)

    def _is(self, found: tuple[str, Any], kind: str) -> Any:
        if found[0] != kind:
            raise self._wrong(self._tokens[self._place][1])
        return found[1]


# -- values ----------------------------------------------------------------------------------------------------------


def _constant(value: Any) -> Value:
    return lambda at: [value]


def _last(at: _At) -> Items:
    if at.size is None:
        raise Invalid("LAST is allowed only in array subscripts", sqlstate="42601")
    return [at.size - 1]


def _variable(name: str) -> Value:
    def value(at: _At) -> Items:
        if name not in at.variables:
            raise Invalid(f'could not find jsonpath variable "{name}"', sqlstate="42704")
        return [at.variables[name]]

    return value


def _unwrapped(items: Items, at: _At) -> Items:
    """The items, in lax mode arrays as their elements."""
    return [part for item in items for part in (item if at.lax and isinstance(item, list) else [item])]


def _member(value: Value, key: str) -> Value:
    def step(at: _At) -> Items:
        found: Items = []
        for item in _unwrapped(value(at), at):
            if isinstance(item, dict) and key in item:
                found.append(item[key])
            elif not at.lax:
                member = f'JSON object does not contain key "{key}"'
                other = "jsonpath member accessor can only be applied to an object"
                raise _Error(member if isinstance(item, dict) else other, "2203A")
        return found

    return step


def _members(value: Value) -> Value:
    def step(at: _At) -> Items:
        found: Items = []
        for item in _unwrapped(value(at), at):
            if isinstance(item, dict):
                found += item.values()
            elif not at.lax:
                raise _Error("jsonpath wildcard member accessor can only be applied to an object", "2203C")
        return found

    return step


def _everywhere(value: Value) -> Value:
    def below(item: Any) -> Iterator[Any]:
        yield item
        for part in item.values() if isinstance(item, dict) else item if isinstance(item, list) else ():
            yield from below(part)

    return lambda at: [part for item in value(at) for part in below(item)]


def _elements(value: Value) -> Value:
    def step(at: _At) -> Items:
        found: Items = []
        for item in value(at):
            if not isinstance(item, list) and not at.lax:
                raise _Error("jsonpath wildcard array accessor can only be applied to an array", "22039")
            found += item if isinstance(item, list) else [item]
        return found

    return step


def _indexed(value: Value, bounds: Sequence[tuple[Value, Value | None]]) -> Value:
    def step(at: _At) -> Items:
        found: Items = []
        for item in value(at):
            if not isinstance(item, list) and not at.lax:
                raise _Error("jsonpath array accessor can only be applied to an array", "22039")
            array = item if isinstance(item, list) else [item]
            inside = at.on(at.current, size=len(array))
            for low, high in bounds:
                first = _index(low, inside)
                last = first if high is None else _index(high, inside)
                if not at.lax and not 0 <= first <= last < len(array):
                    raise _Error("jsonpath array subscript is out of bounds", "22033")
                found += array[max(first, 0) : max(last + 1, 0)]
        return found

    return step


def _index(value: Value, at: _At) -> int:
    items = value(at)
    if len(items) != 1 or not _is_number(items[0]):
        raise _Error("jsonpath array subscript is not a single numeric value", "22033")
    return int(items[0])


def _filtered(value: Value, condition: Condition) -> Value:
    return lambda at: [item for item in _unwrapped(value(at), at) if condition(at.on(item)) is True]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _number(items: Items, at: _At, what: str) -> Decimal | int:
    items = _unwrapped(items, at)
    if len(items) != 1 or not _is_number(items[0]):
        raise _Error(f"{what} is not a single numeric value")
    return items[0]


def _computed(left: Value, operator: str, right: Value) -> Value:
    def value(at: _At) -> Items:
        a, b = (
            Decimal(_number(side(at), at, f"{name} operand of jsonpath operator {operator}"))
            for side, name in ((left, "left"), (right, "right"))
        )
        match operator:
            case "+":
                found = _EXACT.add(a, b)
            case "-":
                found = _EXACT.subtract(a, b)
            case "*":
                found = _EXACT.multiply(a, b)
            case "/":
                found = _quotient(a, b)
            case _:
                found = _EXACT.remainder(a, b)
        return [found]

    return value


def _quotient(a: Decimal, b: Decimal) -> Decimal:
    """With as many digits as PostgreSQL gives a quotient: sixteen that count, in groups of four."""
    if not b:
        raise _Error("division by zero", "22012")
    weights = [(number.adjusted() // 4, _leading(number)) for number in (a, b)]
    weight = weights[0][0] - weights[1][0] - (weights[0][1] <= weights[1][1])
    scale = max(16 - weight * 4, *(max(0, -int(number.as_tuple().exponent)) for number in (a, b)), 0)
    return _EXACT.quantize(_EXACT.divide(a, b), Decimal(1).scaleb(-scale))


def _leading(number: Decimal) -> int:
    """The first group of four digits."""
    return int(abs(number).scaleb(-(number.adjusted() // 4) * 4)) if number else 0


def _with_sign(value: Value, sign: str) -> Value:
    def signed(at: _At) -> Items:
        items = _unwrapped(value(at), at)
        if not all(map(_is_number, items)):
            raise _Error(f"operand of unary jsonpath operator {sign} is not a numeric value", "2203B")
        return [-item for item in items] if sign == "-" else items

    return signed


def _whole(rounding: str) -> Callable[[Any], Any]:
    return lambda number: number if isinstance(number, int) else int(number.to_integral_value(rounding))


def _double(value: Any) -> Any:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, bool) or number != number or number in (float("inf"), float("-inf")):
        raise _Error("jsonpath item method .double() can only be applied to a string or numeric value", "22036")
    return int(number) if number == int(number) else Decimal(repr(number))


_TYPES: Final = ((bool, "boolean"), (type(None), "null"), (str, "string"), (dict, "object"), (list, "array"))
_METHODS: Final[dict[str, Callable[[Any], Any]]] = {
    "type": lambda value: next((name for type, name in _TYPES if isinstance(value, type)), "number"),
    "size": lambda value: len(value) if isinstance(value, list) else 1,
    "abs": abs,
    "ceiling": _whole(ROUND_CEILING),
    "floor": _whole(ROUND_FLOOR),
    "double": _double,
}


def _method(value: Value, name: str) -> Value:
    def step(at: _At) -> Items:
        items = value(at)
        if name in ("type", "size"):
            if name == "size" and not at.lax and not all(isinstance(item, list) for item in items):
                raise _Error("jsonpath item method .size() can only be applied to an array", "22039")
            return [_METHODS[name](item) for item in items]
        items = _unwrapped(items, at)
        if name != "double" and not all(map(_is_number, items)):
            raise _Error(f"jsonpath item method .{name}() can only be applied to a numeric value", "22036")
        return [_METHODS[name](item) for item in items]

    return step


# -- conditions ------------------------------------------------------------------------------------------------------


def _joined(left: Condition, right: Condition, *, decided_by: bool) -> Condition:
    """``||`` is decided by one that is true, ``&&`` by one that is false."""

    def condition(at: _At) -> Truth:
        a = left(at)
        if a is decided_by:
            return a
        b = right(at)
        return b if b is decided_by else None if a is None or b is None else not decided_by

    return condition


def _existing(value: Value) -> Condition:
    def condition(at: _At) -> Truth:
        try:
            return bool(value(at))
        except _Error:
            return None

    return condition


def _of_pairs(left: Value, right: Value, test: Callable[[Any, Any], Truth]) -> Condition:
    """Whether the test holds for some pair; unknown where it is for one (in strict mode at once)."""

    def condition(at: _At) -> Truth:
        try:
            pairs = list(product(_unwrapped(left(at), at), _unwrapped(right(at), at)))
        except _Error:
            return None
        truths = [test(a, b) for a, b in pairs]
        if not at.lax and None in truths:
            return None
        return True if True in truths else None if None in truths else False

    return condition


def _compared(left: Value, operator: str, right: Value) -> Condition:
    operator = "!=" if operator == "<>" else operator

    def test(a: Any, b: Any) -> Truth:
        if a is None or b is None:
            same = a is None and b is None
            return not same if operator == "!=" else same and operator in ("==", "<=", ">=")
        kinds = [_METHODS["type"](value) for value in (a, b)]
        if kinds[0] != kinds[1] or kinds[0] in ("array", "object"):
            return None
        if isinstance(a, str):
            a, b = a.encode("utf-8", "surrogatepass"), b.encode("utf-8", "surrogatepass")
        match operator:
            case "==":
                return a == b
            case "!=":
                return a != b
            case "<":
                return a < b
            case "<=":
                return a <= b
            case ">":
                return a > b
            case _:
                return a >= b

    return _of_pairs(left, right, test)


def _starting(left: Value, right: Value) -> Condition:
    return _of_pairs(left, right, lambda a, b: a.startswith(b) if isinstance(a, str) and isinstance(b, str) else None)


def _matching(value: Value, pattern: str, flags: str) -> Condition:
    if not set(flags) <= {"i", "s", "q"}:
        raise Invalid(f'unrecognized flag "{flags}" of LIKE_REGEX', hint="i, s and q are.", sqlstate="42601")
    compiled = pattern_of(re.escape(pattern) if "q" in flags else pattern, fold="i" in flags)
    return _of_pairs(
        value, _constant(None), lambda a, _: compiled.search(a) is not None if isinstance(a, str) else None
    )


# -- the table -------------------------------------------------------------------------------------------------------


def _spoken(answer: Callable[[Items], Any]) -> Callable[..., Any]:
    """A function of (document, path[, variables[, silent]]): an error raises unless it is silent."""

    def naive(document: str, path: str, variables: str = "{}", silent: bool = False) -> Any:
        try:
            return answer(path_of(path).items(document, variables))
        except _Error as error:
            if not silent:
                raise Invalid(error.message, sqlstate=error.sqlstate) from None
        try:
            return answer([])
        except _Error:
            return None

    return naive


def _silent(answer: Callable[[Items], Any]) -> Callable[[str, str], Any]:
    """An operator: NULL instead of an error."""

    def naive(document: str, path: str) -> Any:
        try:
            return answer(path_of(path).items(document))
        except _Error:
            return None

    return naive


def _matched(items: Items) -> Truth:
    if len(items) != 1 or not isinstance(items[0], bool | None):
        raise _Error("single boolean result is expected")
    return items[0]


def _texts(types: Sequence[Type]) -> Type:
    del types
    return array_of(TEXT)


def _function(name: str, result: str, naive: Callable[..., Any], *, of: Any = None) -> Function:
    arguments = ("jsonb, text", "jsonb, text, jsonb", "jsonb, text, jsonb, boolean")
    signatures = (f"{one} -> {result}" for one in arguments)
    return function(name, *(overload(one, in_python, naive=naive, result=of, can_fail=True) for one in signatures))


def functions() -> tuple[Function, ...]:
    """All functions of paths; ``jsonb_path_list`` is what jsonb_path_query gives the rows of."""
    return (
        _function("jsonb_path_exists", "boolean", _spoken(bool)),
        _function("jsonb_path_match", "boolean", _spoken(_matched)),
        _function("jsonb_path_query_array", "jsonb", _spoken(write)),
        _function("jsonb_path_query_first", "jsonb", _spoken(lambda items: write(items[0]) if items else None)),
        _function("jsonb_path_list", "text", _spoken(lambda items: list(map(write, items))), of=_texts),
        function(
            "jsonb_path_exists_opr",
            overload("jsonb, text -> boolean", in_python, naive=_silent(bool), can_fail=True),
            operator="@?",
        ),
        function(
            "jsonb_path_match_opr",
            overload("jsonb, text -> boolean", in_python, naive=_silent(_matched), can_fail=True),
            operator="@@",
        ),
    )
