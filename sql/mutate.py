"""INSERT, UPDATE, DELETE: from a syntax tree to one call of the engine's transaction.

Each statement is a query whose rows are written while it runs. UPDATE and DELETE run

    SELECT <primary key, or hidden row id>, <every column's new value> FROM the table [, others] WHERE …

through the binder, take the rows to the table's types by assignment (sql/assign.py), and hand them to the transaction
in pieces, so that a statement of any size takes the memory of a piece. The query sees the transaction as it was when
the statement began, never the pieces. A statement that fails half way leaves its transaction failed (or rolled back),
so nobody sees what it wrote. RETURNING is computed from the full rows of a piece before they are written; where it (or
ON CONFLICT) has a query of its own, which would see the pieces before, the rows are one piece.

An UPDATE of primary keys takes all old rows away first, and puts the new ones when the query is through: a new key may
be another row's old one. An UPDATE that only adds may be written as deltas (sql/commutative.py). A row that an UPDATE …
FROM or DELETE … USING meets several times is changed once, by any one of the matches, as in PostgreSQL. Not here: ON
CONFLICT (sql/upsert.py), MERGE (sql/merge.py), WHERE CURRENT OF, WITH that writes (sql/with_changes.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
from sqlglot import exp

from ..base.errors import Invalid
from ..base.result import Result
from ..base.rows import python_rows
from ..engine.conflict import first_of_each
from ..engine.schema import Column, Table
from ..engine.spool import Spool
from .assign import (
    Rows,
    assigned_pieces,
    assigned_query,
    check_width,
    counted_from,
    exactly,
    is_default,
    literal_rows,
    one_batch,
    value_list,
)
from .commutative import Deltas, added, added_types, amounts_of, deltas_of
from .definition import name_of, only_parts, refuse
from .execution import Execution
from .interrupt import interruptible
from .merge import merge, read_merge
from .returning import Returning, reads
from .source import Source
from .target import Target, assignments, target_of
from .upsert import upsert
from .with_changes import run_with_changes, writes_in_with

CHANGES: Final = (exp.Insert, exp.Update, exp.Delete, exp.Merge)
"""The trees that ``run_change`` runs."""


def simple_insert(
    statement: exp.Insert, table: Table, *, parameters: Sequence[object], zone: str
) -> pa.RecordBatch | None:
    """The batch of ``INSERT … VALUES`` that is literals and parameters only, or None. No reader is needed."""
    if any(statement.args.get(part) for part in ("conflict", "returning", "with_", "default")):
        return None
    if not isinstance(statement.expression, exp.Values):
        return None
    _check_insert(statement)
    columns = insert_columns(statement, table, width=values_width(statement.expression))
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
    conflict: exp.OnConflict | None = statement.args.get("conflict")
    returning = Returning.of(statement, target)
    transaction = execution.transaction
    mark = transaction.mark(target.table)
    answers: list[Result] = []

    def write(rows: Rows) -> int:
        if conflict is None and not returning and rows.defaults is None:
            return transaction.insert(target.table, rows.batch, overriding=overriding)
        full = _completed(rows, target.table, execution, overriding=overriding)
        full = transaction.on_time(target.table, full, replaces=conflict is not None)
        if conflict is None:
            answers.extend(returning.answers(full, execution))
            return transaction.insert(target.table, full, overriding=True)
        change = upsert(conflict, full, target, execution=execution, mark=mark)
        answers.extend(returning.answers(change.written, execution))
        change.apply(transaction)
        return change.written.num_rows

    rows = _insert_rows(statement, target.table, execution)
    if isinstance(rows, Rows):
        count = write(rows)
    else:
        columns, pieces = rows
        count = _through(
            _pieces(pieces, whole=reads(conflict) or returning.reads),
            lambda piece: write(Rows(batch=exactly(piece, columns))),
            execution=execution,
        )
    return _answer(answers, f"INSERT 0 {count}", count, execution)


def run_change(tree: exp.Expr, execution: Execution, *, overriding: bool) -> Result:
    """INSERT, UPDATE, DELETE or MERGE in a transaction, or a query whose WITH has one."""
    if writes_in_with(tree):
        return run_with_changes(tree, execution, lambda part, parts: run_change(part, parts, overriding=overriding))
    match tree:
        case exp.Merge():
            return merge(tree, execution)
        case exp.Insert():
            return insert(tree, execution, overriding=overriding)
        case exp.Update():
            return update(tree, execution)
        case _:
            assert isinstance(tree, exp.Delete), f"{tree.key} changes no rows"
            return delete(tree, execution)


def plan_of_change(tree: exp.Expr, execution: Execution) -> tuple[Target, exp.Expr | None, Deltas]:
    """The table that a statement changes, the query that it runs for it (None where it is a list of values), and its
    deltas, whose amounts stand in the query after the keys."""
    if isinstance(tree, exp.Merge):
        work = read_merge(tree, execution)
        return work.target, work.query, Deltas()
    schema = tree.this
    target = target_of(schema.this if isinstance(schema, exp.Schema) else schema, execution)
    match tree:
        case exp.Insert():
            source = tree.expression
            query = None if source is None or isinstance(source, exp.Values) else _with_ctes(source, tree)
            return target, query, Deltas()
        case exp.Update():
            values, _ = _new_values(tree, target)
            deltas = deltas_of(tree, target, assignments(tree.expressions, target), execution=execution)
            items = [*added(deltas, target), *values]
            return target, _select(target, items, others=_update_sources(tree), statement=tree), deltas
        case _:
            return target, _select(target, [], others=tree.args.get("using") or [], statement=tree), Deltas()


def keys_query(tree: exp.Expr, target: Target) -> exp.Expr:
    """The query for the keys of the rows that an UPDATE or DELETE of this table alone meets."""
    return _select(target, [], others=(), statement=tree)


def update(statement: exp.Update, execution: Execution) -> Result:
    """UPDATE. Raises Invalid for values that the columns refuse and for primary keys that exist already."""
    only_parts(statement, "this", "expressions", "from_", "where", "returning", "with_")
    target = target_of(statement.this, execution)
    table = target.table
    values, defaulted = _new_values(statement, target)
    others = _update_sources(statement)
    names = assignments(statement.expressions, target)
    deltas = deltas_of(statement, target, names, execution=execution)
    returning = Returning.of(statement, target, others=others, execution=execution)
    beside = returning.others
    items = [*added(deltas, target), *(tree for tree, _ in beside), *values]
    query = _select(target, items, others=others, statement=statement)
    transaction = execution.transaction
    mark = transaction.mark(table)
    answers: list[Result] = []
    moves = any(table.column(name).id in table.primary_key for name in names)

    first = len(target.keys)
    after = first + 2 * len(deltas.amounts)

    def write(piece: pa.Table, moved: Spool) -> int:
        amounts = amounts_of(piece, deltas, table, first=first) if deltas.amounts else None
        piece = piece.select([*range(first), *range(after, piece.num_columns)])
        if amounts is not None:
            return add(piece, amounts)
        old, new = _split(piece, target, execution=execution, since=mark if others else None)
        rows = exactly(new.select(range(len(beside), new.num_columns)), table.columns)
        given = rows.select([name for name in rows.schema.names if name not in defaulted])
        full = transaction.complete(table, given, overriding=True)
        answers.extend(returning.answers(full, execution, others=new.select(range(len(beside)))))
        if full.num_rows and moves:
            transaction.delete_found(table, old)
            moved.append(full)
        elif full.num_rows:
            transaction.update(table, old, full)
        return full.num_rows

    def add(piece: pa.Table, amounts: Sequence[dict[str, Any]]) -> int:
        keys, _ = _split(piece, target, execution=execution, since=None)
        for key, amount in zip(python_rows(keys, [type for _, type in target.keys]), amounts, strict=True):
            transaction.add(table, key, amount)
        if returning:
            full, _ = transaction.get_many(table, keys)
            answers.extend(returning.answers(full, execution))
        return keys.num_rows

    with transaction.adding(table) if deltas.amounts else nullcontext(), Spool(transaction.scratch) as moved:
        pieces = assigned_pieces(
            query,
            table.columns,
            execution=execution,
            part="deltas" if deltas.amounts else "rows",
            keys=[*(type for _, type in target.keys), *added_types(deltas, table), *(type for _, type in beside)],
        )
        count = _through(_pieces(pieces, whole=returning.reads), lambda piece: write(piece, moved), execution=execution)
        for rows in moved.batches():
            transaction.insert(table, rows, overriding=True)
    return _answer(answers, f"UPDATE {count}", count, execution)


def _update_sources(statement: exp.Update) -> list[exp.Expr]:
    source = statement.args.get("from_")
    return [source.this] if source else []


def _new_values(statement: exp.Update, target: Target) -> tuple[list[exp.Expr], list[str]]:
    """Every column's new value, and the columns that are set to DEFAULT (NULL among the values)."""
    sets = assignments(statement.expressions, target)
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
    others = statement.args.get("using") or []
    returning = Returning.of(statement, target, others=others, execution=execution)
    columns = target.table.columns if returning else ()
    beside = returning.others
    items = [*(tree for tree, _ in beside), *(target.column(c.name) for c in columns)]
    query = _select(target, items, others=others, statement=statement)
    transaction = execution.transaction
    mark = transaction.mark(target.table)
    answers: list[Result] = []

    def write(piece: pa.Table) -> int:
        old, gone = _split(piece, target, execution=execution, since=mark if others else None)
        if returning:
            rows = exactly(gone.select(range(len(beside), gone.num_columns)), columns)
            answers.extend(returning.answers(rows, execution, others=gone.select(range(len(beside)))))
        if old.num_rows:
            transaction.delete_found(target.table, old)
        return old.num_rows

    keys = [type for _, type in (*target.keys, *beside)]
    pieces = assigned_pieces(query, columns, execution=execution, part="rows", keys=keys)
    count = _through(_pieces(pieces, whole=returning.reads), write, execution=execution)
    return _answer(answers, f"DELETE {count}", count, execution)


def _through(pieces: Iterator[pa.Table], write: Callable[[pa.Table], int], *, execution: Execution) -> int:
    """Write each piece while the query goes on; returns how many rows. Ctrl-C cancels the query."""

    def work() -> int:
        count = done = 0
        with closing(pieces):  # pyright: ignore[reportArgumentType] - they are generators
            for piece in pieces:
                with counted_from(done):
                    count += write(piece)
                done += piece.num_rows
        return count

    return interruptible(work, cancel=execution.cancel.cancel)


def _pieces(pieces: Iterator[pa.Table], *, whole: bool) -> Iterator[pa.Table]:
    """The pieces as they come, or as one."""
    if whole:
        yield pa.concat_tables(pieces)
    else:
        yield from pieces


def _check_insert(statement: exp.Insert) -> None:
    only_parts(statement, "this", "expression", "default", "conflict", "returning", "with_")


def insert_columns(statement: exp.Insert, table: Table, *, width: int | None) -> list[Column]:
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


def _insert_rows(
    statement: exp.Insert, table: Table, execution: Execution
) -> Rows | tuple[list[Column], Iterator[pa.Table]]:
    """The rows of a VALUES list; or the columns that a query's rows go to, and its pieces."""
    if statement.args.get("default"):
        nothing = pa.RecordBatch.from_struct_array(pa.array([{}], pa.struct([])))
        return Rows(batch=nothing, defaults=(frozenset(),))
    source: exp.Expr | None = statement.args.get("expression")
    if source is None:
        raise Invalid("syntax error: INSERT has nothing to insert", hint="Add VALUES (…) or a query.", sqlstate="42601")
    width = _width(source, statement, execution)
    columns = insert_columns(statement, table, width=width)
    check_width(width, columns)
    if not isinstance(source, exp.Values):
        query = _with_ctes(source, statement)
        return columns, assigned_pieces(query, columns, execution=execution, part="source")
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


def values_width(values: exp.Values) -> int:
    return len(value_list(values.expressions[0]))


def _width(source: exp.Expr, statement: exp.Expr, execution: Execution) -> int:
    """How many columns a query gives: read off its select list, bound only where that has a star."""
    inner = source
    while isinstance(inner, exp.Subquery | exp.SetOperation):
        inner = inner.this
    if isinstance(inner, exp.Values):
        return values_width(inner)
    if isinstance(inner, exp.Select) and not any(item.is_star for item in inner.expressions):
        return len(inner.expressions)
    return len(execution.bind(_with_ctes(source, statement)).columns)


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


def _split(
    found: pa.Table, target: Target, *, execution: Execution, since: int | None
) -> tuple[pa.RecordBatch, pa.Table]:
    """(keys as a batch, the other columns); with ``since`` only the first row of each key not written since then."""
    schema = target.key_schema
    rest = found.select(range(len(schema), found.num_columns))
    old = one_batch(found.select(range(len(schema))).rename_columns(schema.names).cast(schema))
    if since is None:
        return old, rest
    fresh = ~execution.transaction.written_after(target.table, old, since)
    first = first_of_each(target.table, old)
    kept = np.flatnonzero(fresh) if first is None else first[fresh[first]]
    return old.take(pa.array(kept)), rest.take(pa.array(kept))


def _completed(rows: Rows, table: Table, execution: Execution, *, overriding: bool) -> pa.RecordBatch:
    """Full rows, in order: every group of rows completed by the engine, with what it leaves to DEFAULT."""
    transaction = execution.transaction
    if rows.defaults is None:
        return transaction.complete(table, rows.batch, overriding=overriding)
    groups = rows.groups()
    done = pa.Table.from_batches([transaction.complete(table, b, overriding=overriding) for b, _ in groups])
    order = [row for _, group in groups for row in group]
    places = sorted(range(len(order)), key=order.__getitem__)
    return one_batch(done.take(pa.array(places, pa.int64())))


def _answer(answers: Sequence[Result], tag: str, count: int, execution: Execution) -> Result:
    if not answers:
        return execution.done(tag, rows=count)
    return Result(
        schema=answers[0].schema,
        batches=[batch for answer in answers for batch in answer.arrow().to_batches()],
        version=execution.reader.version,
        tag=tag,
        rows_affected=count,
        types=answers[0].types,
    )
