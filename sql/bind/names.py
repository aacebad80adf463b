"""Names: folding, and what PostgreSQL calls a column that the query did not name."""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from .types import INTERNAL_NAMES, imprecise, type_of

NAMELESS: Final = "?column?"

_NODE_NAMES: Final[dict[type[exp.Expr], str]] = {
    exp.Exists: "exists",
    exp.Array: "array",
    exp.Extract: "extract",
    exp.StrPosition: "position",
    exp.Substring: "substring",
    exp.Overlay: "overlay",
    exp.Overlaps: "overlaps",
    exp.AtTimeZone: "timezone",
    exp.CurrentDate: "current_date",
    exp.CurrentTime: "current_time",
    exp.CurrentTimestamp: "current_timestamp",
    exp.Localtime: "localtime",
    exp.Localtimestamp: "localtimestamp",
    exp.CurrentUser: "current_user",
    exp.SessionUser: "session_user",
    exp.CurrentRole: "current_role",
    exp.CurrentCatalog: "current_catalog",
    exp.CurrentSchema: "current_schema",
}

_TRIMS: Final = {"LEADING": "ltrim", "TRAILING": "rtrim"}


def fold(identifier: exp.Expr | str) -> str:
    """The name an identifier means: unquoted ones in lower case (ASCII letters, as PostgreSQL), quoted ones as is."""
    if isinstance(identifier, str):
        return lower(identifier)
    name = identifier.name
    return name if isinstance(identifier, exp.Identifier) and identifier.args.get("quoted") else lower(name)


def lower(name: str) -> str:
    return name.lower() if name.isascii() else "".join(c.lower() if c.isascii() else c for c in name)


def output_name(tree: exp.Expr) -> str:
    """What the column of a select list is called (PostgreSQL's FigureColname)."""
    if isinstance(tree, exp.Alias):
        return fold(tree.args["alias"])
    return _figure(tree)[0] or NAMELESS


def _figure(tree: exp.Expr) -> tuple[str | None, int]:
    """A name and how good it is: 2 for a column or function, 1 for a type or CASE, 0 for none."""
    match tree:
        case exp.Column():
            return fold(tree.this), 2
        case exp.Alias():
            return fold(tree.args["alias"]), 2
        case exp.Anonymous():
            return (fold(tree.this), 2) if not isinstance(tree.this, str) else (lower(tree.this), 2)
        case exp.Dot():
            return _figure(tree.expression)
        case exp.Identifier():
            return fold(tree), 2
        case exp.Trim():
            return _TRIMS.get(str(tree.args.get("position") or "").upper(), "btrim"), 2
        case exp.Paren() | exp.Filter() | exp.Window() | exp.WithinGroup() | exp.IgnoreNulls() | exp.RespectNulls():
            return _figure(tree.this)
        case exp.Collate() | exp.Bracket():
            return _figure(tree.this)
        case exp.Cast():
            name, strength = _figure(tree.this)
            return (name, strength) if strength > 1 else (_type_name(tree.to), 1)
        case exp.Case():
            default = tree.args.get("default")
            name, strength = _figure(default) if default is not None else (None, 0)
            return (name, strength) if strength > 1 else ("case", 1)
        case exp.Subquery() if isinstance(tree.this, exp.Select) and tree.this.expressions:
            return _figure(tree.this.expressions[0])
        case _:
            name = _NODE_NAMES.get(tree.__class__)
            return (name, 2) if name else (None, 0)


def _type_name(tree: exp.Expr) -> str:
    if isinstance(tree, exp.ObjectIdentifier):
        return tree.name.lower()
    type = type_of(imprecise(tree))
    while type.element is not None:
        type = type.element
    return INTERNAL_NAMES[type.kind]
