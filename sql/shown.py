"""What EXPLAIN says of a plan: reasons, and bound expressions as a person writes them.

Operators have parentheses where SQL needs them, and constants are quoted: the view that EXPLAIN proposes is made of
such texts, and has to mean what is meant. Names are as they are, since many are made up for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..base.types import Kind
from ..engine.expression.conversion import text_of
from ..engine.expression.node import Call, Case, Cast, Column, Literal, Parameter
from . import bound

_IS, _COMPARED, _LIKE, _OTHER, _SUM, _PRODUCT, _POWER, _PREFIX, _CAST = range(9)
"""How strongly operators bind, as in PostgreSQL. What binds more strongly than all stands for itself."""

_INFIX: Final = {
    "is_distinct": ("IS DISTINCT FROM", _IS),
    "is_not_distinct": ("IS NOT DISTINCT FROM", _IS),
    **{function: (symbol, _COMPARED) for function, symbol in bound.SYMBOLS.items()},
    "like": ("LIKE", _LIKE),
    "ilike": ("ILIKE", _LIKE),
    "concat_op": ("||", _OTHER),
    "json_get": ("->", _OTHER),
    "json_get_text": ("->>", _OTHER),
    "regex_match": ("~", _OTHER),
    "regex_imatch": ("~*", _OTHER),
    "bit_and_op": ("&", _OTHER),
    "bit_or_op": ("|", _OTHER),
    "bit_xor_op": ("#", _OTHER),
    "shift_left": ("<<", _OTHER),
    "shift_right": (">>", _OTHER),
    "add": ("+", _SUM),
    "subtract": ("-", _SUM),
    "multiply": ("*", _PRODUCT),
    "divide": ("/", _PRODUCT),
    "modulo": ("%", _PRODUCT),
    "power": ("^", _POWER),
}
LISTED_MAX: Final = 10
"""Of a longer list of constants the first are said."""


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
            return f"{_operand(node.argument, _CAST)}::{node.type}"
        case Case():
            branches = " ".join(f"WHEN {expression_text(w)} THEN {expression_text(t)}" for w, t in node.branches)
            return f"CASE {branches} ELSE {expression_text(node.default)} END"
        case Call():
            return _call_text(node)
        case bound.Aggregate() | bound.Window():
            over = " OVER (…)" if isinstance(node, bound.Window) else ""
            return f"{node.function}({', '.join(map(expression_text, node.arguments))}){over}"
        case bound.QuantifiedArray():
            word, symbol = "ALL" if node.all else "ANY", bound.SYMBOLS.get(node.operator, node.operator)
            return f"{expression_text(node.operand)} {symbol} {word} ({expression_text(node.array)})"
        case bound.Quantified():
            word, symbol = "ALL" if node.all else "ANY", bound.SYMBOLS.get(node.operator, node.operator)
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
            more = len(parts) - 1 - LISTED_MAX
            shown = parts[1:] if more <= 0 else [*parts[1 : LISTED_MAX + 1], f"… {more:,} more"]
            return f"{_operand(node.arguments[0], _OTHER)} IN ({', '.join(shown)})"
        case "is_null" | "is_not_null":
            return f"{_operand(node.arguments[0], _OTHER)} IS {'NOT ' * (node.function == 'is_not_null')}NULL"
        case "not":
            return f"NOT ({parts[0]})"
        case "negate":
            return f"-{_operand(node.arguments[0], _CAST)}"
        case "position":
            return f"position({parts[1]} IN {parts[0]})"
        case "extract" if isinstance(field := node.arguments[0], Literal):
            return f"extract({field.value} FROM {parts[1]})"
        case function if function in _INFIX and len(parts) == 2:
            symbol, strength = _INFIX[function]
            left, right = node.arguments
            beside = strength + (strength <= _LIKE)  # what compares does not stand beside its like
            return f"{_operand(left, beside)} {symbol} {_operand(right, strength + 1)}"
        case function:
            return f"{function}({', '.join(parts)})"


def _operand(node: bound.Bound, strength: int) -> str:
    """An expression beside an operator: in parentheses where it binds less strongly."""
    text = expression_text(node)
    if isinstance(node, Literal) and not node.type.is_text and strength >= _SUM and text.startswith("'"):
        return f"{text}::{node.type}"
    return text if _strength(node, text) >= strength else f"({text})"


def _strength(node: bound.Bound, text: str) -> int:
    match node:
        case Call(function="and" | "or" | "not" | "is_null" | "is_not_null" | "in_list"):
            return _IS
        case Call(function="negate"):
            return _PREFIX
        case Call(function=function) if function in _INFIX and len(node.arguments) == 2:
            return _INFIX[function][1]
        case Literal() if text.startswith("-"):
            return _PREFIX
        case bound.Quantified() | bound.QuantifiedArray():
            return _IS
        case _:
            return _CAST


def _literal_text(node: Literal) -> str:
    text = text_of(node.value, node.type)
    plain = node.type.kind is Kind.BOOLEAN or (node.type.is_numeric and text[-1].isdigit())  # NaN is no number there
    return text if plain else "'" + text.replace("'", "''") + "'"
