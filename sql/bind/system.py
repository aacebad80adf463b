"""What a database tells of itself: ``version()``, ``current_database()``, ``current_user``, ``pg_typeof(x)``.

These are constants of the statement; what is looked up in ``pg_catalog`` is a subquery (``_QUERIES``). Names are those
of ``information_schema``; there is one schema and one user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlglot import exp
from sqlglot.errors import ParseError

from ...base.errors import Invalid
from ...base.types import BIGINT, TEXT, UNKNOWN
from ...engine import schema
from ...engine.catalog import Catalog
from ...engine.expression.node import Literal
from .. import bound
from ..parse import parse_expression
from .binder import ExpressionBinder, Handler
from .errors import fail, unsupported
from .names import fold
from .scope import Scope, ScopeColumn

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
PRIMARY_KEYS: Final = 1 << 40
"""Added to a table's number: that of its primary key, which is no index of ours."""

BARE: Final = ("current_catalog", "current_schema", "current_user", "session_user", "current_role", "user")
"""What is written without parentheses; a column of that name goes first."""

_QUERIES: Final = {
    "obj_description": "SELECT description FROM pg_catalog.pg_description WHERE objoid = {0} AND objsubid = 0",
    "col_description": "SELECT description FROM pg_catalog.pg_description WHERE objoid = {0} AND objsubid = {1}",
    "pg_get_indexdef": "SELECT d.indexdef FROM pg_catalog.pg_class AS i JOIN pg_catalog.pg_indexes AS d "
    "ON d.indexname = i.relname WHERE i.oid = {0} AND i.relkind = 'i'",
    "pg_get_viewdef": "SELECT d.definition FROM pg_catalog.pg_class AS v JOIN (SELECT viewname, definition FROM "
    "pg_catalog.pg_views UNION ALL SELECT matviewname, definition FROM pg_catalog.pg_matviews) AS d "
    "ON d.viewname = v.relname WHERE v.oid = {0}",
    "pg_get_userbyid": "SELECT rolname FROM pg_catalog.pg_roles WHERE oid = {0}",
    "pg_table_is_visible": "SELECT true FROM pg_catalog.pg_class WHERE oid = {0}",
    "pg_get_expr": "SELECT {0}",
}
"""Functions of pg_catalog that look something up there, as queries of their arguments."""

CALLS: Final = frozenset((*_NAMES, *_QUERIES, "pg_typeof", "current_setting", "to_regclass"))


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
    if name in _QUERIES and trees:
        return _looked_up(binder, name, trees, tree)
    if name == "to_regclass" and len(trees) == 1:
        return Literal(value=_relation(binder, _text(trees[0])), type=BIGINT)
    if trees or name not in _NAMES:
        raise _no_such_call(name, trees, tree)
    return Literal(value=_NAMES[name], type=TEXT)


def _looked_up(binder: ExpressionBinder, name: str, trees: Sequence[exp.Expr], tree: exp.Expr) -> bound.Bound:
    """One of ``_QUERIES``. Its arguments are bound outside of it, so that its tables hide none of their names."""
    text = _QUERIES[name]
    if len(trees) <= text.count("{1}"):
        raise _no_such_call(name, trees, tree)
    query = parse_expression("(" + text.format("weft_argument_0", "weft_argument_1") + ")")
    values = [ScopeColumn(f"weft_argument_{number}", binder.bind(each)) for number, each in enumerate(trees)]
    return replace(binder, scope=Scope(parent=binder.scope, columns=tuple(values))).bind(query)


def _no_such_call(name: str, trees: Sequence[exp.Expr], tree: exp.Expr) -> Invalid:
    return fail(f"function {name} does not take {len(trees)} arguments", tree, sqlstate="42883")


def oid_of_relation(catalog: Catalog, name: str) -> int | None:
    """What ``'name'::regclass`` means: a table, view, index or primary key."""
    relation = catalog.relations.get(name)
    if relation is not None:
        return relation.id
    found = catalog.index(name)
    if found is not None:
        return found[1].id
    table = catalog.relations.get(name.removesuffix("_pkey"))
    if name.endswith("_pkey") and isinstance(table, schema.Table) and table.primary_key:
        return PRIMARY_KEYS + table.id
    return None


def _text(tree: exp.Expr) -> str:
    """A text that is written there. Raises Invalid for anything else."""
    if not isinstance(tree, exp.Literal) or not tree.is_string:
        raise unsupported("to_regclass of anything but a text", tree, hint="Join pg_catalog.pg_class by relname.")
    return tree.name


def _relation(binder: ExpressionBinder, text: str) -> int | None:
    """The number of what a text names, ``public.people`` or ``"Mixed Case"``; None where it names nothing."""
    try:
        parts = [fold(part) for part in exp.to_table(text, dialect="postgres").parts]
    except ParseError:
        return None
    space, name = (parts[-2] if len(parts) > 1 else None), parts[-1]
    return oid_of_relation(binder.context.catalog, name) if space in (None, "public") else None


def object_number(binder: ExpressionBinder, tree: exp.Cast) -> bound.Bound:
    """``x::oid``, a number, and ``'name'::regclass``, that of a relation."""
    kind = tree.to.name.lower()
    inner = tree.this.unnest()
    if kind not in ("oid", "regclass"):
        raise unsupported(f"the type {kind}", tree, hint="Use TEXT, or join pg_catalog's relations.")
    if kind == "oid" or not isinstance(inner, exp.Literal) or not inner.is_string:
        return binder.context.cast(binder.bind(tree.this), BIGINT, tree)
    found = _relation(binder, inner.name)
    if found is None:
        raise fail(f'relation "{inner.name}" does not exist', tree, sqlstate="42P01")
    return Literal(value=found, type=BIGINT)


def bare(name: str) -> Handler:
    return lambda binder, tree: call(binder, name, (), tree)


HANDLERS: Final[dict[type[exp.Expr], Handler]] = {
    exp.CurrentUser: bare("current_user"),
    exp.SessionUser: bare("session_user"),
    exp.CurrentRole: bare("current_role"),
    exp.CurrentCatalog: bare("current_catalog"),
    exp.CurrentSchema: bare("current_schema"),
}
