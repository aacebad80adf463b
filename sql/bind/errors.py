"""How the binder refuses: errors with a place, and nothing passed over in silence."""

from __future__ import annotations

from sqlglot import exp

from ...base.errors import Invalid
from ..parse import place


def fail(message: str, tree: exp.Expr | None, *, sqlstate: str, hint: str | None = None) -> Invalid:
    """The error to raise at the place of ``tree``."""
    return Invalid(message, sqlstate=sqlstate, hint=hint, position=place(tree))


def unsupported(what: str, tree: exp.Expr | None, *, hint: str | None = None) -> Invalid:
    """The refusal by name (0A000) to raise."""
    return fail(f"{what} is not supported", tree, sqlstate="0A000", hint=hint)


def only(tree: exp.Expr, *names: str, what: str | None = None) -> None:
    """Refuse a node that carries anything but ``names``: nothing is passed over in silence."""
    for name, value in tree.args.items():
        if name not in names and value not in (None, False) and value != []:
            raise unsupported(f"{name.strip('_').replace('_', ' ').upper()} in {what or tree.key.upper()}", tree)
