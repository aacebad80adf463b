"""What a database tells of itself: ``version()``, ``current_database()``, ``current_user``, ``pg_typeof(x)``.

All are constants of the statement. Names are those of ``information_schema``; there is one schema and one user.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from ...base.types import TEXT, UNKNOWN
from ...engine.expression.node import Literal
from .. import bound
from .binder import ExpressionBinder, Handler
from .errors import fail, unsupported

SERVER_VERSION: Final = "15.0"
"""The PostgreSQL version whose dialect WeftDB follows, in the form that drivers parse."""

_NAMES: Final = {
    "version": f"PostgreSQL {SERVER_VERSION} (WeftDB)",
    "current_database": "weftdb",
    "current_catalog": "weftdb",
    "current_schema": "public",
    "current_user": "weft",
    "session_user": "weft",
    "current_role": "weft",
    "user": "weft",
}
BARE: Final = ("current_catalog", "current_schema", "current_user", "session_user", "current_role", "user")
"""What is written without parentheses; a column of that name goes first."""

CALLS: Final = frozenset((*_NAMES, "pg_typeof", "current_setting"))


def call(binder: ExpressionBinder, name: str, trees: Sequence[exp.Expr], tree: exp.Expr) -> bound.Bound:
    """One of ``CALLS``."""
    if name == "pg_typeof" and len(trees) == 1:
        type = binder.bind(trees[0]).type
        return Literal(value="unknown" if type == UNKNOWN else str(type).partition("(")[0], type=TEXT)
    if name == "current_setting" and len(trees) == 1:
        setting = trees[0].name.lower()
        if setting == "timezone":
            return Literal(value=binder.context.settings.timezone, type=TEXT)
        raise unsupported(f'current_setting of "{setting}"', tree, hint=f"Use SHOW {setting}.")
    if trees or name not in _NAMES:
        raise fail(f"function {name} does not take {len(trees)} arguments", tree, sqlstate="42883")
    return Literal(value=_NAMES[name], type=TEXT)


def bare(name: str) -> Handler:
    return lambda binder, tree: call(binder, name, (), tree)


HANDLERS: Final[dict[type[exp.Expr], Handler]] = {
    exp.CurrentUser: bare("current_user"),
    exp.SessionUser: bare("session_user"),
    exp.CurrentRole: bare("current_role"),
    exp.CurrentCatalog: bare("current_catalog"),
    exp.CurrentSchema: bare("current_schema"),
}
