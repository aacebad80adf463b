"""INSERT, UPDATE, DELETE: from a syntax tree to one call of the engine's transaction.

Each statement is a query first and a write last. UPDATE and DELETE run

    SELECT <primary key, or hidden row id>, <every column's new value> FROM the table [, others] WHERE …

through the binder, take the rows to the table's types by assignment (sql/assign.py), and hand them to the transaction
in one call, so that a statement that fails has changed nothing. RETURNING is computed from the full rows before they
are written. Inside a transaction the query sees the transaction's own earlier writes.

A row that an UPDATE … FROM or DELETE … USING meets several times is changed once, by any one of the matches, as in
PostgreSQL. Not here: ON CONFLICT (sql/upsert.py), MERGE, WHERE CURRENT OF, data-modifying WITH.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa
from sqlglot import exp

from ..base.errors import Invalid
from ..base.result import Result
from ..engine.schema import Column, Table
from .assign import Rows, assigned_query, check_width, exactly, is_default, literal_rows, one_batch, value_list
from .definition import name_of, only_parts, refuse
from .execution import Execution
from .source import Source
from .target import Target, assignments, target_of
from .upsert import upsert

RETURNED: Final = "weft_returned"
"""The in-memory relation that a RETURNING list is computed from; a name that no relation can have."""


def simple_insert(
    statement: exp.Insert, table: Table, *, parameters: Sequence[object], zone: str
) -> pa.RecordBatch | None:
    """The batch of ``INSERT … VALUES`` that is literals and parameters only, or None. No reader is needed."""
    if any(statement.args.get(part) for part in ("conflict", "returning", "with_", "default")):
        return None
    if not isinstance(statement.expression, exp.Values):
        return None
    _check_insert(statement)
    columns = _insert_columns(statement, table, width=_values_width(statement.expression))
    rows = literal_rows(statement.expression, columns, parameters=parameters, zone=zone)
    groups = [] if rows is None else rows.groups()
    return groups[0][0] if len(groups) == 1 else None


_OVERRIDING: Final = re.compile(r"\bOVERRIDING\s+(SYSTEM|USER)\s+VALUE\b", re.IGNORECASE)


def cut_overriding(source: Source) -> tuple[Source, bool]:
    """The INSERT without OVERRIDING SYSTEM VALUE, which the parser does not know, and whether it had it."""
    match = _OVERRIDING.search(source.rewritten)
    if match is None or source.rewritten.count("'", 0, match.start()) % 2:
        return source, False
    if match[1].upper() == "USER":
        raise refuse("OVERRIDING USER VALUE", "Leave the identity column out.")
    text = source.rewritten
    return replace(source, rewritten=text[: match.start()] + " " * len(match[0]) + text[match.end() :]), True


def insert(statement: exp.Insert, execution: Execution, *, overriding: bool = False) -> Result:
    """INSERT. ``overriding`` is OVERRIDING SYSTEM VALUE. Raises Invalid, among others 23505 naming the key's values."""
    _check_insert(statement)
    schema = statement.this
    target = target_of(schema.this if isinstance(schema, exp.Schema) else schema, execution)
    rows = _insert_rows(statement, target.table, execution)
    conflict: exp.OnConflict | None = statement.args.get("conflict")
    returning: exp.Returning | None = statement.args.get("returning")
    transaction = execution.transaction
    if conflict is None and returning is None and rows.defaults is None:
        count = transaction.insert(target.table, rows.batch, overriding=overriding)
        return execution.done(f"INSERT 0 {count}", rows=count)
    full = _completed(rows, target.table, execution, overriding=overriding)
    if conflict is not None:
        change = upsert(conflict, full, target, execution=execution)
        written, count = change.written, change.written.num_rows
        answer = _returning(returning, written, target, execution)
        change.apply(transaction)
    else:
        answer = _returning(returning, full, target, execution)
        count = transaction.insert(target.table, full, overriding=True)
    return _answer(answer, f"INSERT 0 {count}", count, execution)


def run_change(tree: exp.Expr, execution: Execution, *, overriding: bool) -> Result:
    """INSERT, UPDATE or DELETE in a transaction."""
    match tree:
        case exp.Insert():
            return insert(tree, execution, overriding=overriding)
        case exp.Update():
            return update(tree, execution)
        case _:
            assert isinstance(tree, exp.Delete), f"{tree.key} changes no rows"
            return delete(tree, execution)


def plan_of_change(tree: exp.Expr, execution: Execution) -> tuple[Table, exp.Expr | None]:
    """The table that a statement changes and the query that it runs for it; None where it is a list of values."""
    schema = tree.this
    target = target_of(schema.this if isinstance(schema, exp.Schema) else schema, execution)
    match tree:
        case exp.Insert():
            source = tree.expression
            return target.table, None if source is None or isinstance(source, exp.Values) else _with_ctes(source, tree)
        case exp.Update():
            values, _ = _new_values(tree, target)
            return target.table, _select(target, values, others=_update_sources(tree), statement=tree)
        case _:
            return target.table, _select(target, [], others=tree.args.get("using") or [], statement=tree)


def update(statement: exp.Update, execution: Execution) -> Result:
    """UPDATE. Raises Invalid for values that the columns refuse and for primary keys that exist already."""
    only_parts(statement, "this", "expressions", "from_", "where", "returning", "with_")
    target = target_of(statement.this, execution)
    table = target.table
    values, defaulted = _new_values(statement, target)
    others = _update_sources(statement)
    query = _select(target, values, others=others, statement=statement)
    found = assigned_query(
        query, table.columns, execution=execution, part="rows", keys=[type for _, type in target.keys]
    )
    old, new = _split(found, target, once=bool(others))
    rows = exactly(new, table.columns)
    full = _completed(
        Rows(batch=rows, defaults=(frozenset(defaulted),) * rows.num_rows if defaulted else None),
        table,
        execution,
        overriding=True,
    )
    answer = _returning(statement.args.get("returning"), full, target, execution)
    count = execution.transaction.update(table, old, full) if full.num_rows else 0
    return _answer(answer, f"UPDATE {count}", count, execution)


def _update_sources(statement: exp.Update) -> list[exp.Expr]:
    source = statement.args.get("from_")
    return [source.this] if source else []


def _new_values(statement: exp.Update, target: Target) -> tuple[list[exp.Expr], list[str]]:
    """Every column's new value, and the columns that are set to DEFAULT (NULL among the values)."""
    sets = assignments(statement.expressions, target.table)
    defaulted = [name for name, value in sets.items() if is_default(value)]
    for name in defaulted:
        if target.table.column(name).identity is not None:
            raise refuse(f'SET "{name}" = DEFAULT of an identity column', "Give the value.")
    return [
        exp.Null() if column.name in defaulted else sets.get(column.name) or target.column(column.name)
        for column in target.table.columns
    ], defaulted


def delete(statement: exp.Delete, execution: Execution) -> Result:
    """DELETE. RETURNING gives the rows as they were."""
    only_parts(statement, "this", "using", "where", "returning", "with_")
    target = target_of(statement.this, execution)
    returning = statement.args.get("returning")
    columns = target.table.columns if returning else ()
    others = statement.args.get("using") or []
    query = _select(target, [target.column(c.name) for c in columns], others=others, statement=statement)
    found = assigned_query(query, columns, execution=execution, part="rows", keys=[type for _, type in target.keys])
    old, gone = _split(found, target, once=bool(others))
    answer = _returning(returning, exactly(gone, columns), target, execution) if returning else None
    if old.num_rows:
        execution.transaction.delete(target.table, old)
    return _answer(answer, f"DELETE {old.num_rows}", old.num_rows, execution)


def _check_insert(statement: exp.Insert) -> None:
    only_parts(statement, "this", "expression", "default", "conflict", "returning", "with_")


def _insert_columns(statement: exp.Insert, table: Table, *, width: int | None) -> list[Column]:
    """The columns named, or the table's first ``width``, as PostgreSQL has it."""
    schema = statement.this
    if not isinstance(schema, exp.Schema):
        return list(table.columns[:width] if width is not None and width < len(table.columns) else table.columns)
    columns = [table.column(name_of(node)) for node in schema.expressions]
    names = [column.name for column in columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Invalid(f'column "{twice}" specified more than once', sqlstate="42701")
    return columns


def _insert_rows(statement: exp.Insert, table: Table, execution: Execution) -> Rows:
    if statement.args.get("default"):
        nothing = pa.RecordBatch.from_struct_array(pa.array([{}], pa.struct([])))
        return Rows(batch=nothing, defaults=(frozenset(),))
    source: exp.Expr | None = statement.args.get("expression")
    if source is None:
        raise Invalid("syntax error: INSERT has nothing to insert", hint="Add VALUES (…) or a query.", sqlstate="42601")
    width = _width(source, execution)
    columns = _insert_columns(statement, table, width=width)
    check_width(width, columns)
    if not isinstance(source, exp.Values):
        query = _with_ctes(source, statement)
        return Rows(batch=exactly(assigned_query(query, columns, execution=execution, part="source"), columns))
    zone = execution.binder.timezone
    literal = literal_rows(source, columns, parameters=execution.parameters, zone=zone)
    if literal is not None:
        return literal
    names = [
        [c.name for c, node in zip(columns, value_list(row), strict=True) if is_default(node)]
        for row in source.expressions
    ]
    query = source.copy()
    for row in query.expressions:
        for node in value_list(row):
            if is_default(node):
                node.replace(exp.Null())
    batch = exactly(assigned_query(_with_ctes(query, statement), columns, execution=execution, part="source"), columns)
    return Rows(batch=batch, defaults=tuple(map(frozenset, names)) if any(names) else None)


def _values_width(values: exp.Values) -> int:
    return len(value_list(values.expressions[0]))


def _width(source: exp.Expr, execution: Execution) -> int:
    """How many columns a query gives: read off its select list, bound only where that has a star."""
    inner = source
    while isinstance(inner, exp.Subquery | exp.SetOperation):
        inner = inner.this
    if isinstance(inner, exp.Values):
        return _values_width(inner)
    if isinstance(inner, exp.Select) and not any(item.is_star for item in inner.expressions):
        return len(inner.expressions)
    return len(execution.bind(source).columns)


def _with_ctes(query: exp.Expr, statement: exp.Expr) -> exp.Expr:
    """The query with the WITH that stands before the statement."""
    ctes: exp.With | None = statement.args.get("with_")
    if ctes is None:
        return query
    if isinstance(query, exp.Select) and not query.args.get("with_"):
        with_ctes = query.copy()
    else:
        inner = exp.Subquery(this=query.copy(), alias=exp.TableAlias(this=exp.to_identifier("weft_q")))
        with_ctes = exp.Select(expressions=[exp.Star()], from_=exp.From(this=inner))
    with_ctes.set("with_", ctes.copy())
    return with_ctes


def _select(target: Target, values: Sequence[exp.Expr], *, others: Sequence[exp.Expr], statement: exp.Expr) -> exp.Expr:
    """SELECT keys, values FROM target, others WHERE …, with the statement's WITH."""
    items = [*(target.column(name) for name, _ in target.keys), *values]
    aliased = [exp.alias_(item.copy(), f"weft_{number}") for number, item in enumerate(items)]
    joins: list[exp.Expr] = []
    for other in others:
        relation = other.copy()
        nested: list[Any] = relation.args.pop("joins", None) or []
        joins += [exp.Join(this=relation), *nested]
    written = statement.this.copy()
    written.set("only", None)
    select = exp.Select(expressions=aliased, from_=exp.From(this=written), joins=joins)
    if where := statement.args.get("where"):
        select.set("where", where.copy())
    return _with_ctes(select, statement)


def _split(found: pa.Table, target: Target, *, once: bool) -> tuple[pa.RecordBatch, pa.Table]:
    """(keys as a batch, the other columns); with ``once`` only the first row of each key."""
    names = [name for name, _ in target.keys]
    old = found.select(range(len(names))).rename_columns(names)
    rest = found.select(range(len(names), found.num_columns))
    if once:
        seen: dict[tuple[Any, ...], int] = {}
        for row, key in enumerate(zip(*(column.to_pylist() for column in old.columns), strict=True)):
            seen.setdefault(key, row)
        first = pa.array(seen.values(), pa.int64())
        old, rest = old.take(first), rest.take(first)
    schema = pa.schema([_key_field(target.table, name) for name in names])
    return one_batch(old.cast(schema)), rest


def _key_field(table: Table, name: str) -> pa.Field:
    column = table.by_name.get(name)
    return pa.field(name, pa.int64(), nullable=False) if column is None else column.field


def _completed(rows: Rows, table: Table, execution: Execution, *, overriding: bool) -> pa.RecordBatch:
    """Full rows, in order: every group of rows completed by the engine, with what it leaves to DEFAULT."""
    transaction = execution.transaction
    groups = rows.groups()
    if len(groups) == 1:
        return transaction.complete(table, groups[0][0], overriding=overriding)
    done = pa.Table.from_batches([transaction.complete(table, b, overriding=overriding) for b, _ in groups])
    order = [row for _, group in groups for row in group]
    places = sorted(range(len(order)), key=order.__getitem__)
    return one_batch(done.take(pa.array(places, pa.int64())))


def _returning(
    returning: exp.Returning | None, rows: pa.RecordBatch, target: Target, execution: Execution
) -> Result | None:
    """What RETURNING gives for these rows, read completely; None without RETURNING."""
    if returning is None:
        return None
    if returning.args.get("into"):
        raise refuse("RETURNING … INTO", "Read the result.")
    relation = exp.Table(
        this=exp.to_identifier(RETURNED), alias=exp.TableAlias(this=exp.to_identifier(target.alias, quoted=True))
    )
    query = exp.Select(expressions=[item.copy() for item in returning.expressions], from_=exp.From(this=relation))
    bound = execution.kept("returning", lambda: execution.bind(query, relations={RETURNED: rows.schema}))
    result = execution.run(bound, relations={RETURNED: rows})
    result.arrow()
    return result


def _answer(answer: Result | None, tag: str, count: int, execution: Execution) -> Result:
    if answer is None:
        return execution.done(tag, rows=count)
    return Result(
        schema=answer.schema,
        batches=answer.arrow().to_batches(),
        version=execution.reader.version,
        tag=tag,
        rows_affected=count,
        types=answer.types,
    )
