"""WITH around INSERT, UPDATE and DELETE: the queries of one statement, one after the other.

    WITH gone AS (DELETE FROM events WHERE at < $1 RETURNING *) INSERT INTO archive SELECT * FROM gone

Each WITH query up to the last one that writes is run once, in the order of the text, and its rows stand in for it in
what comes after; so a volatile one is the same wherever it is read. A WITH query that writes gives what its RETURNING
says.

In PostgreSQL all parts of the statement see the tables as they were before it. Here a part would see what the parts
before it wrote, so one that reads such a table is refused by name: two statements in a transaction say what is meant.
INSERT into a table that another part writes is no such read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from sqlglot import exp

from ..base.errors import Invalid
from ..base.result import Result
from .bind import fold
from .definition import relation_name
from .execution import Execution

_CHANGES: Final = (exp.Insert, exp.Update, exp.Delete)
Change = Callable[[exp.Expr, Execution], Result]
"""Runs one INSERT, UPDATE or DELETE."""


def writes_in_with(tree: exp.Expr) -> bool:
    """Whether a WITH query of the statement writes."""
    clause: exp.With | None = tree.args.get("with_")
    return clause is not None and any(isinstance(item.this, _CHANGES) for item in clause.expressions)


def run_with_changes(tree: exp.Expr, execution: Execution, change: Change) -> Result:
    """The statement, in a transaction. Raises Invalid (0A000) for a part that reads what another one wrote."""
    clause: exp.With = tree.args["with_"].copy()
    items: list[exp.CTE] = list(clause.expressions)
    last = max(number for number, item in enumerate(items) if isinstance(item.this, _CHANGES))
    execution = replace(execution, key=None)
    known: list[exp.CTE] = []
    for number, item in enumerate(items[: last + 1]):
        body = item.this
        before = _with(known, clause)
        if isinstance(body, _CHANGES):
            _check_target(body, execution)
            result = change(_around(body, before), execution)
            written = execution.catalog.table(relation_name(_named(body))).id
            execution = replace(execution, written=execution.written | {written})
        else:
            result = execution.query(_around(body, _with([*known, item] if _recursive(item) else known, clause)))
        if isinstance(body, _CHANGES) and not body.args.get("returning"):
            _check_unread(item, [*items[number + 1 :], _without(tree)])
            continue
        name = f"weft_with_{number}"
        execution = replace(execution, relations={**execution.relations, name: result.arrow()})
        rows = exp.Select(
            expressions=[exp.Star()], from_=exp.From(this=exp.Table(this=exp.to_identifier(name, quoted=True)))
        )
        known.append(exp.CTE(this=rows, alias=item.args["alias"]))
    main = _around(_without(tree), _with([*known, *items[last + 1 :]], clause))
    if not isinstance(main, _CHANGES):
        return execution.query(main)
    _check_target(main, execution)
    return change(main, execution)


def _recursive(item: exp.CTE) -> bool:
    name = fold(item.args["alias"].this)
    return any(fold(table.this) == name for table in item.this.find_all(exp.Table))


def _with(items: list[exp.CTE], clause: exp.With) -> exp.With | None:
    return exp.With(expressions=items, recursive=clause.args.get("recursive")) if items else None


def _around(body: exp.Expr, clause: exp.With | None) -> exp.Expr:
    """``body`` with the WITH queries before it, and its own."""
    tree = body.copy()
    own: exp.With | None = tree.args.get("with_")
    if clause is not None:
        items = [*clause.copy().expressions, *(own.expressions if own is not None else ())]
        recursive = clause.args.get("recursive") or (own is not None and own.args.get("recursive"))
        tree.set("with_", exp.With(expressions=items, recursive=recursive))
    return tree


def _without(tree: exp.Expr) -> exp.Expr:
    main = tree.copy()
    main.set("with_", None)
    return main


def _named(change: exp.Expr) -> exp.Table:
    """The table that a statement writes, as written."""
    named = change.this.this if isinstance(change.this, exp.Schema) else change.this
    if not isinstance(named, exp.Table):
        raise Invalid("syntax error: a table's name is expected", sqlstate="42601")
    return named


def _check_target(change: exp.Expr, execution: Execution) -> None:
    table = execution.catalog.table(relation_name(_named(change)))
    if table.id in execution.written and not isinstance(change, exp.Insert):
        execution.refuse_reading(table.name)


def _check_unread(item: exp.CTE, rest: list[exp.Expr]) -> None:
    name = fold(item.args["alias"].this)
    if any(
        fold(table.this) == name and not table.args.get("db") for part in rest for table in part.find_all(exp.Table)
    ):
        message = f'WITH query "{name}" does not have a RETURNING clause'
        raise Invalid(message, sqlstate="0A000")
