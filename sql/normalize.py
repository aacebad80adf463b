"""Texts that differ in their literals alone share a plan: the literals become parameters.

    SELECT name FROM people WHERE id = 7 AND town = 'Ulm'
    ──cut──►  SELECT name FROM people WHERE id = ? AND town = ?   and   7, 'Ulm'
    ──lift──► SELECT name FROM people WHERE id = $1 AND town = $2 and   [7, 'Ulm']

``cut`` takes a text apart by one regular expression, without parsing it. What a literal means depends on where it
stands, and that is the same for all texts of one *shape*: the tree of one of them says which literals may be lifted
(``liftable``). Those are the ones that nothing but their value depends on, since PostgreSQL gives a parameter the type
of such a place as it gives it to the literal:

- one side of a comparison with a column, an item of IN, an end of BETWEEN, in WHERE (not FILTER's) or ON, under
  nothing but AND, OR and NOT;
- there, too, a string with a type, whatever it is compared with, added to or taken from: ``TIMESTAMP '…'``, as moving
  windows have it, becomes ``$1::TIMESTAMP``; so do DATE and TIMESTAMPTZ, and their casts;
- a value of INSERT … VALUES;
- a value that SET gives to a column, or adds to one, takes from one, or multiplies one with.

All others stay in the text. So do numbers with a point outside of VALUES: as literals they become the nearest DOUBLE,
as parameters of type NUMERIC they would be cast by the executor. Texts with parameters of their own, several
statements, comments, dollar quotes and escapes are left as they are.

The first text of a shape is never lifted, so that a text that comes once costs no more than the cut. A lifted statement
that is Invalid is run again as it was written, so that the error speaks of the text that the caller knows; if there is
none then, its shape is left alone from there on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sqlglot import exp

from ..base.errors import Invalid
from ..base.limits import LITERALS_LIFTED_MAX
from .parse import parse
from .source import split

_WORDS: Final = re.compile(r"\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)

_ODD: Final = re.compile(
    r"""--|/\*|[;$]             # comments, several statements, parameters and dollar quotes
      | \0[in]\. | \.\0[in]    # 1. and .5
      | \0[in]\w              # 1e5, 0x1F, 1_000
    """,
    re.VERBOSE,
)
"""What is left as it is, looked for in a shape, so not inside of strings."""

_PIECE: Final = re.compile(
    r"""'(?:[^']|'')*'                                          # a string
      | [0-9]+(?:\.[0-9]+)?                                     # a number
      | (?:[^\W0-9]\w*|"(?:[^"]|"")*"|[^\w'"]+)+                # all between
    """,
    re.VERBOSE,
)

_PREFIX: Final = re.compile(r"[\w&']$")
"""At the end of what is before a string: E'', U&'', B'', X'', or a word that touches it."""

_MINUS: Final = re.compile(r"(?<=[(,=<>])\s*-$")
"""At the end of what is before a number: its sign, where that cannot be a subtraction."""

_TYPED: Final = re.compile(
    r"(?<![\w.$])(?:DATE|TIMESTAMPTZ|TIMESTAMP(?:\s+WITH(?:OUT)?\s+TIME\s+ZONE)?)\s*$", re.IGNORECASE
)
"""At the end of what is before a string: its type."""

_TYPES: Final = (exp.DType.DATE, exp.DType.TIMESTAMP, exp.DType.TIMESTAMPTZ)
"""Those that read a text as a value in the same way, whether it is a literal or a parameter."""


@dataclass(slots=True)
class Cut:
    """A text in pieces. ``literals`` are the places of the literals among them; ``shape`` is the text without these."""

    pieces: list[str]
    literals: list[int]
    shape: str

    def lift(self, lifts: Lifts) -> tuple[str, list[object]]:
        """The text with those literals as $1, $2, …, and their values."""
        pieces, values = list(self.pieces), list[object]()
        for place, type in zip(self.literals, lifts, strict=True):
            if type is None:
                continue
            values.append(_value(pieces[place]))
            pieces[place] = f"${len(values)}"
            if type:
                pieces[place - 1] = pieces[place - 1][: -len(type)]
                pieces[place] += f"::{type.rstrip()}"
        return "".join(pieces), values


Lifts = tuple[str | None, ...]
"""For each literal: None if it stays; else the type that is written before it, with the blanks, or nothing."""


class Shape:
    """What is known of the texts of one shape. ``lifts``: how their literals are lifted, () if none is; None: not
    looked at.
    """

    __slots__ = ("lifts", "seen")

    def __init__(self) -> None:
        self.seen = False
        self.lifts: Lifts | None = None


def cut(text: str) -> Cut | None:
    """The text in pieces, without the semicolon at its end.

    None where it has no literals, or more in it than the pieces that are known here.
    """
    text = text.rstrip("; \n")
    if _WORDS.match(text) is None or "\0" in text:
        return None
    pieces = _PIECE.findall(text)
    if sum(map(len, pieces)) != len(text):
        return None
    literals: list[int] = []
    holes = list(pieces)
    for place, piece in enumerate(pieces):
        first = piece[0]
        if first == "'":
            if pieces[place - 1].isspace() or _PREFIX.search(pieces[place - 1]) is not None:
                return None
            holes[place] = "\0s"
        elif "0" <= first <= "9":
            holes[place] = "\0n" if "." in piece else "\0i"
            if place and (sign := _MINUS.search(pieces[place - 1])) is not None:
                pieces[place] = f"-{piece}"
                pieces[place - 1] = holes[place - 1] = pieces[place - 1][: sign.end() - 1]
        else:
            continue
        literals.append(place)
    if not literals or len(literals) > LITERALS_LIFTED_MAX:
        return None
    shape = "".join(holes)
    return None if _ODD.search(shape) is not None else Cut(pieces, literals, shape)


def liftable(cut: Cut) -> Lifts:
    """Which of the literals may be parameters; empty where none may."""
    text = "".join(cut.pieces)
    try:
        sources = split(text)
        if len(sources) != 1 or sources[0].rewritten != text:
            return ()
        tree = parse(sources[0])
    except Invalid:
        return ()
    if tree.find(exp.Version) is not None:
        return ()
    places = {node.meta["start"]: node for node in tree.find_all(exp.Literal) if "start" in node.meta}
    found: list[str | None] = []
    at = 0
    starts: list[int] = []
    for piece in cut.pieces:
        starts.append(at)
        at += len(piece)
    for place in cut.literals:
        signed = cut.pieces[place][0] == "-"
        node = places.get(starts[place] + signed)
        found.append(None if node is None else _lift_of(node, cut.pieces[place - 1] if place else "", signed=signed))
    return () if all(type is None for type in found) else tuple(found)


def _lift_of(literal: exp.Literal, before: str, *, signed: bool) -> str | None:
    """How a literal is lifted; see ``Lifts``. ``before``: the text before it."""
    if not isinstance(literal.parent, exp.Cast):
        return "" if _may_be_lifted(literal, signed=signed) else None
    if not _has_type(literal, literal.parent):
        return None
    found = _TYPED.search(before)
    return "" if found is None else found[0]


def _value(piece: str) -> object:
    if piece[0] == "'":
        return piece[1:-1].replace("''", "'")
    return Decimal(piece) if "." in piece else int(piece)


_CONSTANT: Final = re.compile(r"\s*(?:(?P<value>-?[0-9]+|'(?:[^']|'')*')|(?P<null>NULL))\s*(?:,|$)", re.IGNORECASE)


def constants(text: str) -> list[object] | None:
    """The values of ``7, 'Ulm', NULL``: whole numbers, strings and NULL; None where there is anything else."""
    values: list[object] = []
    at = 0
    while at < len(text):
        match = _CONSTANT.match(text, at)
        if match is None:
            return None
        values.append(None if match["null"] else _value(match["value"]))
        at = match.end()
    return None if not values or text.rstrip().endswith(",") else values


_COMPARISONS: Final = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)


def _may_be_lifted(literal: exp.Literal, *, signed: bool) -> bool:
    """Whether nothing but its value depends on a literal."""
    node: Any = literal
    if isinstance(literal.parent, exp.Neg) != signed:
        return False
    node = literal.parent if signed else literal
    parent: Any = node.parent
    if isinstance(parent, exp.Tuple) and isinstance(parent.parent, exp.Values):
        return isinstance(parent.parent.parent, exp.Insert) and parent.parent.arg_key == "expression"
    if not literal.is_string and "." in literal.name:
        return False
    if isinstance(parent, exp.Add | exp.Sub | exp.Mul) and not literal.is_string:
        return _is_set(parent) and any(isinstance(side, exp.Column) for side in (parent.this, parent.expression))
    if _is_set(node):
        return True
    if isinstance(parent, _COMPARISONS):
        other = parent.expression if node.arg_key == "this" else parent.this
        return isinstance(other, exp.Column) and _is_condition(parent)
    if isinstance(parent, exp.In | exp.Between):
        return node.arg_key != "this" and isinstance(parent.this, exp.Column) and _is_condition(parent)
    return False


def _has_type(literal: exp.Literal, cast: exp.Cast) -> bool:
    """Whether a cast alone says what a text means, and its place that nothing but the value matters."""
    to = cast.args["to"]
    if not literal.is_string or not isinstance(to, exp.DataType) or to.this not in _TYPES or to.expressions:
        return False
    node: Any = cast
    while isinstance(node.parent, exp.Paren | exp.Add | exp.Sub):
        node = node.parent
    return isinstance(node.parent, (*_COMPARISONS, exp.In, exp.Between)) and _is_condition(node.parent)


def _is_set(node: Any) -> bool:
    """Whether it is what SET gives to a column."""
    parent = node.parent
    if not isinstance(parent, exp.EQ) or node.arg_key != "expression" or not isinstance(parent.this, exp.Column):
        return False
    return isinstance(parent.parent, exp.Update | exp.OnConflict) and parent.arg_key == "expressions"


def _is_condition(node: Any) -> bool:
    """Whether it is all of a WHERE or ON, or a part of it under AND, OR, NOT and parentheses.

    Not of the WHERE in FILTER: what views keep is compared with it before its value is known.
    """
    return any(
        (isinstance(found, exp.Where) and not isinstance(found.parent, exp.Filter)) or key == "on"
        for found, key in _above(node)
    )


def _above(node: Any) -> Iterator[tuple[Any, str]]:
    """What is above a node, and as what it is there, up to the first that is no AND, OR, NOT or parenthesis."""
    while True:
        key, node = node.arg_key, node.parent
        yield node, str(key)
        if not isinstance(node, exp.And | exp.Or | exp.Not | exp.Paren):
            return
