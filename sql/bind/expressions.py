"""The table of expression handlers, and the one way to get a binder."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from sqlglot import exp

from . import calls, comparisons, operators, system
from .binder import Clause, ExpressionBinder, Handler
from .context import Context
from .scope import Scope

HANDLERS: Final[Mapping[type[Any], Handler]] = MappingProxyType(
    {**operators.HANDLERS, **comparisons.HANDLERS, **system.HANDLERS, **calls.HANDLERS}
)


def expressions(
    context: Context, scope: Scope, clause: Clause, *, windows: Mapping[str, exp.Window] | None = None
) -> ExpressionBinder:
    """A binder for the expressions of ``clause``."""
    return ExpressionBinder(context=context, scope=scope, clause=clause, handlers=HANDLERS, windows=windows or {})
