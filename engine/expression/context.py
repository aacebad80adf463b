"""What an evaluation knows beside the row: the statement's time and its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ...base.errors import Invalid
from .functions import Resolution, resolve
from .node import Call, Expression, Literal, Parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """``now``: microseconds since 1970, UTC, of the statement. ``parameters``: ``$1`` first."""

    now: int = 0
    parameters: Sequence[Literal] = ()

    def literal(self, parameter: Parameter) -> Literal:
        """The value of ``$n``. Raises Invalid (08P01) if there is none."""
        if not 1 <= parameter.number <= len(self.parameters):
            raise Invalid(f"there is no parameter ${parameter.number}", sqlstate="42P02")
        return self.parameters[parameter.number - 1]


def resolution_of(call: Call) -> Resolution:
    """The overload that a bound call means; the binder made its arguments exactly fit."""
    return _resolution(call.function, tuple(argument.type for argument in call.arguments))


@lru_cache(maxsize=4096)
def _resolution(function: str, types: tuple[object, ...]) -> Resolution:
    return resolve(function, types)  # type: ignore[arg-type]


def literal_arguments(call: Call) -> dict[int, object]:
    """Index → value of the arguments that are literals."""
    return {i: argument.value for i, argument in enumerate(call.arguments) if isinstance(argument, Literal)}


def constant(expression: Expression) -> bool:
    return isinstance(expression, Literal | Parameter)
