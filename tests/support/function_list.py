"""docs/functions.md, from the function table: every function, operator and aggregate, with its signatures.

PYTHONPATH=… python tests/support/function_list.py     writes it anew; a test says when that is due
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from weftdb.base.types import Kind, Type, array_of, numeric
from weftdb.engine.expression.functions import FUNCTIONS, Function, FunctionKind, Overload, Volatility
from weftdb.engine.expression.functions.model import Pattern, Poly

PATH = Path(__file__).parent.parent.parent / "docs" / "functions.md"

HEAD = """# Functions and operators

This page is made from the function table (`tests/support/function_list.py`), so it holds all that there are; what is
not here is refused by name. They mean what they mean in PostgreSQL 15, to the SQLSTATE of their errors, unless
[sql.md](sql.md) says otherwise. `any` is any type, `same` any type that all arguments so marked have in common,
`textual` anything as its text, `…` once or more. Syntax (`CASE`, `CAST`, `BETWEEN`, `EXTRACT`, `AT TIME ZONE`, …) and
set-returning functions are in sql.md. A * stands for what the engine cannot compute by itself: it is for queries, not
for CHECK and DEFAULT.
"""

_SHORT = {
    Kind.DOUBLE: "double",
    Kind.TIMESTAMP: "timestamp",
    Kind.TIMESTAMPTZ: "timestamptz",
    Kind.TIME: "time",
    Kind.VARCHAR: "varchar",
}


def page() -> str:
    return "\n".join([HEAD, *_sections()])


def _sections() -> Iterator[str]:
    operators = [f for f in FUNCTIONS.values() if f.operator is not None]
    yield "## Operators\n\n| operator | signatures |\n|---|---|"
    for function in sorted(operators, key=lambda f: (f.operator or "", f.name)):
        shown = "<br>".join(dict.fromkeys(_signature("", function, overload) for overload in function.overloads))
        yield f"| `{(function.operator or '').replace('|', chr(92) + '|')}` | {shown} |"
    for kind, title in (
        (FunctionKind.SCALAR, "Functions"),
        (FunctionKind.AGGREGATE, "Aggregates"),
        (FunctionKind.WINDOW, "Window functions"),
    ):
        yield f"\n## {title}\n\n| name | signatures | |\n|---|---|---|"
        for function in sorted(FUNCTIONS.values(), key=lambda f: f.name):
            called = function.operator is None or function.name in ("abs", "power")
            if function.kind is kind and called and function.name not in _SYNTAX:
                yield _line(function)
    yield ""


# Names that stand for syntax: nobody writes them as a call.
_SYNTAX = frozenset(
    (
        *("and", "or", "not", "in_list", "like_escape", "ilike_escape", "concat_op", "array_slice"),
        *("array_list", "array_item", "array_set", "any_item", "all_items"),
        *(name for name in FUNCTIONS if name.startswith(("is_", "json_path", "json_get", "weft_"))),
    )
)


def _line(function: Function) -> str:
    shown = "<br>".join(dict.fromkeys(_signature(function.name, function, overload) for overload in function.overloads))
    notes = [function.doc] if function.doc else []
    if function.volatility is Volatility.STABLE:
        notes.append("one value per statement")
    if function.kind is FunctionKind.SCALAR and function.volatility is Volatility.IMMUTABLE:
        alone = any(overload.naive is not None or overload.arrow is not None for overload in function.overloads)
        notes.extend([] if alone else ["*"])
    return f"| `{function.name}` | {shown} | {'; '.join(notes)} |"


def _signature(name: str, function: Function, overload: Overload) -> str:
    words = [_word(pattern) for pattern in overload.arguments]
    if overload.variadic:
        words[-1] += " …"
    del function
    return f"{name}({', '.join(words)}) → {_result(overload)}"


def _word(pattern: Pattern) -> str:
    if isinstance(pattern, Poly):
        return {"array": "any[]", "element": "any"}.get(pattern.value, pattern.value)
    return _SHORT.get(pattern, pattern.value)


def _result(overload: Overload) -> str:
    rule = overload.result
    if isinstance(rule, Type):
        return _type(rule)
    if isinstance(rule, Poly):
        return _word(rule)
    result = rule([_sample(pattern) for pattern in overload.arguments])
    return _type(result)


def _sample(pattern: Pattern) -> Type:
    if isinstance(pattern, Poly):
        text = Type(kind=Kind.TEXT)
        return array_of(text) if pattern is Poly.ARRAY else text
    return numeric() if pattern is Kind.NUMERIC else Type(kind=pattern)


def _type(type: Type) -> str:
    return f"{_type(type.element)}[]" if type.element is not None else _SHORT.get(type.kind, type.kind.value)


if __name__ == "__main__":
    PATH.write_text(page())
