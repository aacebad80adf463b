"""Binding one expression: what it may speak of, and the table of handlers by syntax.

``ExpressionBinder.bind`` looks the node's class up in ``HANDLERS`` (``expressions.py`` puts the table together from
the modules of handlers) and refuses by name what is not there. A handler gets the binder and the node, and gives a
bound node whose type may be UNKNOWN (see ``context``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from sqlglot import exp

from ...base.errors import Invalid
from ...base.types import BOOLEAN, UNKNOWN, Kind, Type, numeric
from ...base.values import literal_value
from ...engine.expression.functions import resolve
from ...engine.expression.functions.model import Resolution
from ...engine.expression.node import Literal, Parameter
from .. import bound
from ..parse import place
from .context import Context
from .errors import unsupported
from .scope import Scope
from .zones import call_in_zone, is_utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """Where an expression stands: its name in messages, and what may occur in it."""

    name: str
    aggregates: bool = False
    windows: bool = False
    subqueries: bool = True


@dataclass(frozen=True, kw_only=True)
class ExpressionBinder:
    """Binds the expressions of one clause. ``windows`` are the named windows of the SELECT, as syntax."""

    context: Context
    scope: Scope
    clause: Clause
    handlers: Mapping[type, Handler]
    windows: Mapping[str, exp.Window] = field(default_factory=dict)

    def bind(self, tree: exp.Expr | None) -> bound.Bound:
        """The bound node of ``tree``; its type may be UNKNOWN. Raises Invalid with a position."""
        if tree is None:  # the parser leaves out what it could not find, at places
            raise Invalid("syntax error: an expression is missing", sqlstate="42601")
        handler = self.handlers.get(tree.__class__)
        if handler is None:
            raise unsupported(_describe(tree), tree)
        try:
            return handler(self, tree)
        except Invalid as error:
            if error.position is None:
                error.position = place(tree)
            raise

    def known(self, tree: exp.Expr) -> bound.Bound:
        """Bound, and TEXT where nothing said otherwise."""
        return self.context.known(self.bind(tree), tree)

    def typed(self, tree: exp.Expr, type: Type, *, what: str) -> bound.Bound:
        """Bound and implicitly converted to ``type``; ``what`` begins the message: ``argument of WHERE``."""
        return self.context.implicit(self.bind(tree), type, tree, what=what)

    def condition(self, tree: exp.Expr, *, what: str) -> bound.Bound:
        return self.typed(tree, BOOLEAN, what=f"argument of {what}")

    def call(self, function: str, *arguments: bound.Bound, tree: exp.Expr) -> bound.Bound:
        """A scalar function of the table on bound arguments, converted to the overload's types."""
        resolution, converted = self.resolve(function, arguments, tree)
        if not is_utc(self.context.settings.timezone):
            local = call_in_zone(function, converted, self.context.settings.timezone, self.call, tree)
            if local is not None:
                return local
        return bound.call(function, *converted, type=resolution.result)

    def resolve(
        self, function: str, arguments: Sequence[bound.Bound], tree: exp.Expr
    ) -> tuple[Resolution, tuple[bound.Bound, ...]]:
        """The overload, and the arguments converted to its types. Raises Invalid: 42883, 42725, 42804."""
        arguments = self._known_parameters(arguments)
        literals = {index: node.value for index, node in enumerate(arguments) if isinstance(node, Literal)}
        resolution = self._overload(function, arguments, literals, tree)
        exact = [_wide(argument, wanted) for argument, wanted in zip(arguments, resolution.argument_types, strict=True)]
        if any(type is not None for type in exact):
            arguments = [
                argument if type is None else self.context.coerce(argument, type, tree)
                for argument, type in zip(arguments, exact, strict=True)
            ]
            resolution = self._overload(function, arguments, literals, tree)
        converted = tuple(
            self.context.coerce(argument, type, tree)
            for argument, type in zip(arguments, resolution.argument_types, strict=True)
        )
        return resolution, converted

    def _overload(
        self, function: str, arguments: Sequence[bound.Bound], literals: Mapping[int, object], tree: exp.Expr
    ) -> Resolution:
        try:
            return resolve(function, [argument.type for argument in arguments], literals=literals)
        except Invalid as error:  # only now: to find the place of every call would cost more than all else of it
            error.position = place(tree)
            raise

    def around(self) -> Scope:
        """What a subquery in this place sees around it."""
        return replace(self.scope, aggregates=self.clause.aggregates)

    def within(self, clause: Clause) -> ExpressionBinder:
        """The same names, other rules."""
        return replace(self, clause=clause)

    def _known_parameters(self, arguments: Sequence[bound.Bound]) -> list[bound.Bound]:
        """A parameter that got its type between binding and now (``$1 + $1``) has it."""
        known = self.context.parameters
        return [
            Parameter(number=node.number, type=known[node.number])
            if isinstance(node, Parameter) and node.type == UNKNOWN and node.number in known
            else node
            for node in arguments
        ]


Handler: TypeAlias = Callable[[ExpressionBinder, Any], bound.Bound]


def _wide(argument: bound.Bound, wanted: Type) -> Type | None:
    """The NUMERIC for an untyped number that must not be cut to the digits of what it meets; None otherwise.

    ``price > '1.555'`` compares with 1.555 also where price is NUMERIC(10,2).
    """
    if argument.type != UNKNOWN or wanted.kind is not Kind.NUMERIC:
        return None
    scale = wanted.scale or 0
    if isinstance(argument, Parameter):
        return numeric(38, max(9, scale))
    if isinstance(argument, Literal) and isinstance(argument.value, str):
        try:
            literal_value(argument.value, wanted)
        except Invalid:
            return numeric(38, min(max(len(argument.value.partition(".")[2]), scale), 38))
    return None


def _describe(tree: exp.Expr) -> str:
    """What to call a node in a refusal: its keyword, and the text where it is short."""
    text = tree.sql("postgres")
    return f"{tree.key.upper()} ({text})" if len(text) <= 60 else tree.key.upper()
