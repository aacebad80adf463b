"""What binding one statement shares: the catalog, fresh identifiers, the types of ``$n``, and how to coerce.

Untyped things, as in PostgreSQL: a quoted literal, NULL and a parameter without a declared type are UNKNOWN until
something around them asks for a type (``coerce``). A literal is read as that type at once, so that ``'abc'::int`` fails
when the statement is bound; a parameter takes the first type that it is asked for and keeps it for the statement.
What nobody asks becomes TEXT.

Always true: a node given to ``coerce`` comes back with exactly the type asked for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
from sqlglot import exp

from ...base.errors import Invalid, WeftError
from ...base.limits import PARAMETERS_MAX
from ...base.types import DOUBLE, INTEGER, TEXT, TIMESTAMPTZ, UNKNOWN, Kind, Type, array_of, numeric
from ...base.values import literal_value
from ...engine.catalog import Catalog
from ...engine.expression.functions import explicit_cast, implicit_cast
from ...engine.expression.node import Literal, Parameter
from .. import bound
from ..parse import place
from .errors import fail, unsupported
from .scope import Scope
from .zones import cast_in_zone, is_utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What of a session's settings changes what a query means; part of a plan cache's key."""

    timezone: str = "UTC"
    computed: frozenset[int] = frozenset()
    """Maintained views, by the tables of their groups, that are computed from the rows all the same."""

    incomplete: frozenset[int] = frozenset()
    """Those of them whose rows are not all there."""


@dataclass(kw_only=True)
class Context:
    """The state of binding one statement. ``parameters`` grows as types are inferred.

    ``layers``: something was bound that needs a SELECT below its own (``bind.layers``).
    ``pasts``: place and catalog of the snapshot of each AS OF clause; ``past``: the place of the one around a view.
    """

    catalog: Catalog
    settings: Settings
    relations: Mapping[str, pa.Schema]
    parameters: dict[int, Type] = field(default_factory=dict)
    parameters_seen: set[int] = field(default_factory=set)
    depends_on: dict[int, None] = field(default_factory=dict)
    bind_query: Callable[[Context, exp.Expr, Scope], bound.Query]
    view_depth: int = 0
    pasts: Mapping[exp.Expr, tuple[int, Catalog]] = field(default_factory=dict)
    past: int | None = None
    layers: bool = False
    _next_id: int = 0
    _references: int = 0
    _origins: dict[int, tuple[bound.Bound, exp.Expr]] = field(default_factory=dict)

    @contextmanager
    def looking_back(self, clause: exp.Expr) -> Generator[None]:
        """Let names mean what they meant at the snapshot of an AS OF clause."""
        found = self.pasts.get(clause)
        if found is None:
            raise unsupported("AS OF in a view", clause.expression, hint="Write it after the view's name in the query.")
        catalog, past = self.catalog, self.past
        self.past, self.catalog = found
        try:
            yield
        except Invalid as error:
            if error.sqlstate == "42P01":
                error.hint = "AS OF reads the past: names are those of that version."
            raise
        finally:
            self.past, self.catalog = past, catalog

    def new_id(self) -> int:
        """A column identifier that nothing else in the statement has."""
        self._next_id += 1
        return self._next_id

    def new_reference(self) -> int:
        """A number for a relation or WITH query of the statement."""
        self._references += 1
        return self._references

    def new_column(self, name: str, type: Type) -> bound.OutputColumn:
        return bound.OutputColumn(id=self.new_id(), name=name, type=type)

    def remember(self, node: bound.Bound, tree: exp.Expr) -> bound.Bound:
        """Note where a column was written, for errors that are found later. The node must be a new object."""
        self._origins[id(node)] = (node, tree)
        return node

    def origin(self, node: bound.Bound) -> int | None:
        found = self._origins.get(id(node))
        return place(found[1]) if found else None

    def parameter(self, number: int, tree: exp.Expr) -> Parameter:
        """``$number``, with its type as far as it is known."""
        if not 1 <= number <= PARAMETERS_MAX:
            raise fail(f"there is no parameter ${number}", tree, sqlstate="42P02")
        self.parameters_seen.add(number)
        return Parameter(number=number, type=self.parameters.get(number, UNKNOWN))

    def coerce(self, node: bound.Bound, type: Type, tree: exp.Expr | None = None) -> bound.Bound:
        """``node`` as ``type``; the cast was allowed by whoever chose the type. Raises Invalid for a bad literal."""
        if node.type == type:
            return node
        if type == UNKNOWN:
            return node
        if isinstance(node, Parameter) and node.type == UNKNOWN:
            known = self.parameters.setdefault(node.number, _unbounded(type))
            if known == _unbounded(type):  # a length belongs to columns; nothing is cut off to fit it
                return Parameter(number=node.number, type=type)
            return self._cast(Parameter(number=node.number, type=known), type)
        if isinstance(node, Literal):
            return self._coerce_literal(node, type, tree)
        if isinstance(node, bound.ArrayList) and node.query is None and type.kind is Kind.ARRAY:
            assert type.element is not None, "an array type has an element type"
            elements = tuple(self.coerce(element, type.element, tree) for element in node.elements)
            return bound.ArrayList(elements=elements, type=type)
        return self._cast(node, type)

    def _cast(self, node: bound.Bound, type: Type) -> bound.Bound:
        """A cast, in the session's time zone."""
        if not is_utc(self.settings.timezone) and TIMESTAMPTZ in (node.type, type):
            local = cast_in_zone(node, type, self.settings.timezone)
            if local is not None:
                return local
        return bound.cast_to(node, type)

    def known(self, node: bound.Bound, tree: exp.Expr | None = None) -> bound.Bound:
        """``node`` with a type: what is still UNKNOWN is TEXT."""
        return self.coerce(node, TEXT, tree) if node.type == UNKNOWN else node

    def implicit(self, node: bound.Bound, type: Type, tree: exp.Expr, *, what: str) -> bound.Bound:
        """``node`` as ``type`` if that needs no cast in the text. Raises Invalid (42804) ``what must be type``."""
        if node.type != UNKNOWN and node.type != type and not implicit_cast(node.type, type):
            raise fail(f"{what} must be type {type}, not type {node.type}", tree, sqlstate="42804")
        return self.coerce(node, type, tree)

    def cast(self, node: bound.Bound, type: Type, tree: exp.Expr) -> bound.Bound:
        """An explicit cast. Raises Invalid (42846) where there is none."""
        if node.type != UNKNOWN and not explicit_cast(node.type, type):
            raise fail(f"cannot cast type {node.type} to {type}", tree, sqlstate="42846")
        if isinstance(node, Parameter) and node.type == UNKNOWN:
            return self._cast(self.coerce(node, _unbounded(type), tree), type)
        if isinstance(node, Literal) and node.type == UNKNOWN:
            if node.value is not None and type.kind is Kind.VARCHAR and type.length is not None:
                return Literal(value=str(node.value)[: type.length], type=type)
            if node.value is not None and type.kind is Kind.NUMERIC:
                # A literal with more digits than the type is rounded by the cast, not refused.
                return bound.cast_to(self._coerce_literal(node, _own_numeric(str(node.value), type), tree), type)
        return self.coerce(node, type, tree)

    def bare_numeric(self, node: bound.Bound) -> Type:
        """The type of ``node::numeric``: PostgreSQL keeps the value's own digits, so the scale is the argument's."""
        if isinstance(node, Literal) and node.type == UNKNOWN and node.value is not None:
            return _own_numeric(str(node.value), numeric())
        match node.type.kind:
            case Kind.NUMERIC:
                return node.type
            case Kind.SMALLINT | Kind.INTEGER | Kind.BIGINT:
                return integer_numeric(node.type)
            case _:
                return numeric()

    def _coerce_literal(self, node: Literal, type: Type, tree: exp.Expr | None) -> bound.Bound:
        if node.value is None:
            return Literal(value=None, type=type)
        if node.type == UNKNOWN:
            return Literal(value=self._read(str(node.value), type, tree), type=type)
        folded = _fold(node, type)
        return folded if folded is not None else self._cast(node, type)

    def _read(self, text: str, type: Type, tree: exp.Expr | None) -> object:
        """The text of a quoted literal as ``type``; a timestamp without a zone is in the session's zone.

        The length of a VARCHAR is not looked at: it is that of a column, and what is compared with it may be longer.
        What is assigned to it is checked there.
        """
        try:
            if type.kind is Kind.TIMESTAMPTZ:
                return zoned(text, self.settings.timezone)
            if type.element == TIMESTAMPTZ:
                items = literal_value(text, array_of(TEXT))
                return [None if item is None else zoned(item, self.settings.timezone) for item in items]  # pyright: ignore
            return literal_value(text, _unbounded(type))
        except WeftError as error:
            if error.position is None:
                error.position = place(tree)
            raise


def zoned(text: str, timezone: str) -> object:
    """A TIMESTAMPTZ from text; without a zone in the text it is read in ``timezone``."""
    value = literal_value(text, TIMESTAMPTZ)
    if timezone == "UTC" or not isinstance(value, dt.datetime):
        return value
    try:
        literal_value(f"{text} UTC", TIMESTAMPTZ)
    except WeftError:
        return value  # a second zone is one too many: the text has one
    return value.replace(tzinfo=ZoneInfo(timezone)).astimezone(dt.UTC)


def integer_numeric(type: Type) -> Type:
    """The NUMERIC that holds every value of an integer type."""
    return numeric({Kind.SMALLINT: 5, Kind.INTEGER: 10, Kind.BIGINT: 19}[type.kind], 0)


def _unbounded(type: Type) -> Type:
    """The type without a length."""
    if type.element is not None:
        return array_of(_unbounded(type.element))
    return Type(kind=Kind.VARCHAR) if type.kind is Kind.VARCHAR else type


def _own_numeric(text: str, default: Type) -> Type:
    """The narrowest NUMERIC that holds the number in ``text``."""
    try:
        _, digits, exponent = Decimal(text.strip()).as_tuple()
    except ArithmeticError:
        return default
    if not isinstance(exponent, int):
        return default
    scale = max(-exponent, 0)
    precision = max(len(digits) + max(exponent, 0), scale, 1)
    return numeric(precision, scale) if precision <= 38 else default


def _fold(node: Literal, type: Type) -> Literal | None:
    """A number as another type of number where the value is exactly the same; None where a cast must decide."""
    value: Any = node.value
    if not (node.type.is_numeric and type.is_numeric):
        return Literal(value=value, type=type) if node.type.is_text and type == TEXT else None
    try:
        if type.kind in (Kind.REAL, Kind.DOUBLE) and not isinstance(value, float):
            return Literal(value=float(value), type=type) if type.kind is Kind.DOUBLE else None
        converted: Any = literal_value(value, type)
    except WeftError:
        return None
    return Literal(value=converted, type=type)


def number_literal(text: str) -> Literal:
    """A number as PostgreSQL types it: INTEGER, BIGINT, NUMERIC; DOUBLE for 1e300, which no NUMERIC here holds."""
    if text.isdigit():
        value = int(text)
        if value < 2**31:
            return Literal(value=value, type=INTEGER)
        if value < 2**63:
            return Literal(value=value, type=Type(kind=Kind.BIGINT))
        if value < 10**38:
            return Literal(value=Decimal(value), type=numeric(len(text.lstrip("0")), 0))
    try:
        number = Decimal(text)
    except ArithmeticError:
        raise Invalid(f'syntax error at or near "{text}"', sqlstate="42601") from None
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int), "a number in SQL is finite"
    scale = max(-exponent, 0)
    precision = max(len(digits) + max(exponent, 0), scale, 1)
    if precision > 38 and "e" in text.lower():
        return Literal(value=float(text), type=DOUBLE)
    if precision > 38:
        raise Invalid(f"the number {text} has more than 38 digits", sqlstate="22003")
    return Literal(value=literal_value(number, numeric(precision, scale)), type=numeric(precision, scale))


def types_of(nodes: Sequence[bound.Bound]) -> list[Type]:
    return [node.type for node in nodes]
