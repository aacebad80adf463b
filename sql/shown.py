"""What EXPLAIN says of a plan: reasons, and bound expressions as a person writes them. Nothing reads it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..engine.expression.conversion import text_of
from ..engine.expression.node import Call, Case, Cast, Column, Literal, Parameter
from . import bound

_INFIX: Final = {
    **bound.SYMBOLS,
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "concat_op": "||",
}
_LISTED_MAX: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why something is done, or not: a sentence's end, and the expression that it speaks of."""

    text: str
    about: bound.Bound | None = None

    def __str__(self) -> str:
        return self.text if self.about is None else f"{self.text}: {expression_text(self.about)}"


def expression_text(node: bound.Bound) -> str:
    """An expression as text. Subqueries are not written out."""
    match node:
        case Literal():
            return "NULL" if node.value is None else _literal_text(node)
        case Column():
            return node.name or f"column {node.id}"
        case Parameter():
            return f"${node.number}"
        case Cast():
            return f"{expression_text(node.argument)}::{node.type}"
        case Case():
            branches = " ".join(f"WHEN {expression_text(w)} THEN {expression_text(t)}" for w, t in node.branches)
            return f"CASE {branches} ELSE {expression_text(node.default)} END"
        case Call():
            return _call_text(node)
        case bound.Aggregate() | bound.Window():
            over = " OVER (…)" if isinstance(node, bound.Window) else ""
            return f"{node.function}({', '.join(map(expression_text, node.arguments))}){over}"
        case bound.QuantifiedArray():
            word, symbol = "ALL" if node.all else "ANY", _INFIX.get(node.operator, node.operator)
            return f"{expression_text(node.operand)} {symbol} {word} ({expression_text(node.array)})"
        case bound.Quantified():
            word, symbol = "ALL" if node.all else "ANY", _INFIX.get(node.operator, node.operator)
            return f"{', '.join(map(expression_text, node.operands))} {symbol} {word} (SELECT …)"
        case bound.Exists():
            return "EXISTS (SELECT …)"
        case bound.ArrayList() if node.query is None:
            return f"ARRAY[{', '.join(map(expression_text, node.elements))}]"
        case bound.Subscript():
            return f"{expression_text(node.array)}[{expression_text(node.index)}]"
        case bound.GroupingCall():
            return f"GROUPING({', '.join(map(expression_text, node.keys))})"
        case _:
            return "(SELECT …)"


def _call_text(node: Call) -> str:
    parts = [expression_text(argument) for argument in node.arguments]
    match node.function:
        case "and" | "or":
            word = f" {node.function.upper()} "
            nested = ("and", "or")
            return word.join(
                f"({part})" if isinstance(argument, Call) and argument.function in nested else part
                for part, argument in zip(parts, node.arguments, strict=True)
            )
        case "in_list":
            more = len(parts) - 1 - _LISTED_MAX
            shown = parts[1:] if more <= 0 else [*parts[1 : _LISTED_MAX + 1], f"… {more:,} more"]
            return f"{parts[0]} IN ({', '.join(shown)})"
        case "is_null" | "is_not_null":
            return f"{parts[0]} IS {'NOT ' * (node.function == 'is_not_null')}NULL"
        case "not":
            return f"NOT ({parts[0]})"
        case function if function in _INFIX and len(parts) == 2:
            return f"{parts[0]} {_INFIX[function]} {parts[1]}"
        case function:
            return f"{function}({', '.join(parts)})"


def _literal_text(node: Literal) -> str:
    text = text_of(node.value, node.type)
    return text if node.type.is_numeric else f"'{text}'"
