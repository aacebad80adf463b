"""SELECT … FOR UPDATE and FOR SHARE: rows that nobody else may change before this transaction commits.

Nobody waits here: the rows that the query returned are noted in the transaction (engine/read_set.py), and its commit is
a Conflict if another transaction changed one of them after the query read it. So UPDATE and SHARE, with or without KEY,
are the same, NOWAIT is what happens anyway, and SKIP LOCKED has no meaning and is refused. Two that lock one row and
write others both commit.

The query runs with the keys of the locked tables behind its select list:

    SELECT <select list>, <primary key, or hidden row id, of each locked table> FROM … WHERE … ORDER BY … LIMIT …

Rows are locked of tables that stand in FROM by name: all of them, or those of OF. As in PostgreSQL not where a result
row is no row of theirs (GROUP BY, DISTINCT, set operations), or may be none (the outer side of a join).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from sqlglot import exp

from ..base.errors import Invalid
from ..base.result import Result
from ..engine.schema import View
from ..engine.transaction import Transaction
from . import bound
from .assign import one_batch
from .bind import fold
from .definition import refuse, relation_name
from .execution import Execution
from .parse import place
from .plan import Plan
from .target import Target, target_of
from .virtual import VIRTUAL_SCHEMAS


@dataclass(frozen=True, slots=True, kw_only=True)
class Locking:
    """The plans of a query without its locking clauses, and of it with the keys of ``targets`` behind its columns."""

    plain: Plan
    targets: tuple[Target, ...]
    keyed: Plan

    def lock(self, rows: pa.Table, transaction: Transaction) -> pa.Table:
        """Lock the rows that ``keyed`` gave; returns what ``plain`` would give."""
        first = width = len(self.plain.bound.columns)
        for target in self.targets:
            schema = target.key_schema
            keys = rows.select(range(first, first + len(schema))).rename_columns(schema.names).cast(schema)
            transaction.lock(target.table, one_batch(keys))
            first += len(schema)
        return rows.select(range(width))


def locks(tree: exp.Expr) -> bool:
    """Whether a statement has a locking clause of its own."""
    return bool(tree.args.get("locks"))


def select_for_update(tree: exp.Expr, execution: Execution, on_close: Callable[[], None] | None) -> Result:
    """The result of the query. In a transaction its rows are locked; outside nothing is left to validate."""
    locking = locking_of(tree, execution)
    if not isinstance(execution.reader, Transaction):
        return execution.run(locking.plain, on_close=on_close)
    rows = locking.lock(execution.run(locking.keyed).arrow(), execution.reader)
    schema, types = locking.plain.bound.schema, locking.plain.bound.types
    return Result(schema=schema, batches=rows.cast(schema).to_batches(), version=execution.reader.version, types=types)


def locking_of(tree: exp.Expr, execution: Execution) -> Locking:
    """What a query locks. Raises Invalid: 0A000 for what cannot be locked, 42P01 for OF a table that is not there."""
    clauses: list[exp.Lock] = tree.args["locks"]
    if any(clause.args.get("wait") is False for clause in clauses):
        raise refuse("SKIP LOCKED", "Nobody holds locks: a row that two transactions change is a Conflict for one.")
    if any(clause.args.get("wait") not in (None, True) for clause in clauses):
        raise refuse("WAIT in a locking clause", "Nobody waits for locks.")
    query = tree.copy()
    query.set("locks", None)
    plain = execution.kept("unlocked", lambda: execution.plan(query))
    query_of = plain.bound.query
    inner = query_of.query if isinstance(query_of, bound.With) else query_of
    if not isinstance(tree, exp.Select) or not isinstance(inner, bound.Select):
        raise _not_allowed("VALUES, UNION, INTERSECT, EXCEPT or a query in parentheses")
    if inner.distinct or inner.distinct_on:
        raise _not_allowed("DISTINCT")
    if inner.grouping is not None:
        raise _not_allowed("GROUP BY, HAVING or aggregate functions")
    targets = _targets(tree, clauses, execution)
    keys = [target.column(name) for target in targets for name, _ in target.keys]
    for number, column in enumerate(keys):
        query.append("expressions", exp.alias_(column, f"weft_{number}"))
    return Locking(plain=plain, targets=targets, keyed=execution.kept("locked", lambda: execution.plan(query)))


def _targets(tree: exp.Select, clauses: Sequence[exp.Lock], execution: Execution) -> tuple[Target, ...]:
    items = dict(_items(tree))
    named: dict[str, exp.Expr] = {}
    for clause in clauses:
        for table in clause.expressions or ():
            name = fold(table.this)
            if name not in items:
                raise Invalid(
                    f'relation "{name}" in the locking clause is not in FROM',
                    hint="Name a table there, by its alias if it has one.",
                    sqlstate="42P01",
                    position=place(table),
                )
            named[name] = table
    every = not all(clause.expressions for clause in clauses)
    ctes: exp.With | None = tree.args.get("with_")
    with_queries = {fold(cte.args["alias"].this) for cte in ctes.expressions} if ctes is not None else set[str]()
    targets: list[Target] = []
    for name, (node, is_outer) in items.items():
        is_with_query = _plain_name(node) in with_queries
        if name not in named and (not every or is_with_query or _is_function(node)):
            continue  # as in PostgreSQL, a clause without OF passes these over
        if is_with_query or not isinstance(node, exp.Table) or _is_function(node) or node.args.get("joins"):
            raise _cannot_lock(name, "it is no table")
        relation = relation_name(node)
        if isinstance(execution.catalog.relations.get(relation), View) or relation in VIRTUAL_SCHEMAS:
            raise _cannot_lock(name, "it is a view")
        if is_outer:
            raise _cannot_lock(name, "it is on the nullable side of an outer join")
        alias = node.args.get("alias")
        if node.args.get("version") or (alias is not None and alias.columns):
            raise _cannot_lock(name, "it has AS OF or other names for its columns")
        targets.append(target_of(node, execution))
    return tuple(targets)


def _items(tree: exp.Select) -> Iterator[tuple[str, tuple[exp.Expr, bool]]]:
    """The items of FROM by the names that they have there, and whether they may be absent from a result row."""
    clause = tree.args.get("from_")
    if clause is None:
        return
    joins: list[exp.Join] = tree.args.get("joins") or []
    nodes = [clause.this, *(join.this for join in joins)]
    for at, node in enumerate(nodes):
        is_outer = at > 0 and joins[at - 1].side in ("LEFT", "FULL")
        is_outer |= any(join.side in ("RIGHT", "FULL") for join in joins[at:])
        alias = node.args.get("alias")
        name = fold(alias.this) if alias is not None and alias.this is not None else None
        if name is None:
            name = fold(node.this) if isinstance(node.this, exp.Identifier) else f"item {at + 1} of FROM"
        yield name, (node, is_outer)


def _plain_name(node: exp.Expr) -> str | None:
    """The name of a relation that has no schema before it."""
    is_name = isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier) and not node.args.get("db")
    return fold(node.this) if is_name else None


def _is_function(node: exp.Expr) -> bool:
    """Whether an item of FROM is a function, or VALUES: it has no rows that anybody could change."""
    inner = node.this if isinstance(node, exp.Table | exp.Lateral) else node
    return isinstance(node, exp.Unnest | exp.Values) or isinstance(inner, exp.Func | exp.Values)


def _cannot_lock(name: str, why: str) -> Invalid:
    return Invalid(
        f'rows of "{name}" cannot be locked: {why}',
        hint="Name by OF which tables of FROM are to be locked.",
        sqlstate="0A000",
    )


def _not_allowed(what: str) -> Invalid:
    return Invalid(
        f"FOR UPDATE and FOR SHARE are not allowed with {what}",
        hint="Lock the rows by a query of their own.",
        sqlstate="0A000",
    )
