"""MERGE: one query says for each row of the source what is to be done, and with which values.

    SELECT action, <key of the target's row>, <values of the first clause>, <values of the second>, …
    FROM source LEFT JOIN target ON …, LATERAL (SELECT CASE WHEN <matched> THEN CASE WHEN … THEN 0 … END … AS action)

``action`` is the place of the first WHEN whose condition holds; a clause's values are computed for its rows alone, and
assigned to their columns as those of UPDATE and INSERT are. Rows come in pieces and are written while the query runs,
which sees the transaction as it was when the statement began: of each piece first what is deleted, then updated, then
inserted. A row of the target that two rows of the source would change is an error (21000).

Not here: WHEN NOT MATCHED BY SOURCE, RETURNING (PostgreSQL 17), OVERRIDING.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from ..base.errors import Invalid
from ..base.result import Result
from ..base.types import INTEGER
from ..engine.conflict import first_of_each
from ..engine.schema import Column
from .assign import assigned_pieces, exactly, is_default, one_batch, value_list
from .bind import fold
from .definition import name_of, only_parts, refuse
from .execution import Execution
from .interrupt import interruptible
from .target import Target, assignments, target_of

ACTION: Final = "weft_action"


class Action(Enum):
    """What a clause does; pieces are written in this order."""

    DELETE = "delete"
    UPDATE = "update"
    INSERT = "insert"
    NOTHING = "do nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One WHEN: ``values`` for ``columns``; ``defaulted`` are set to DEFAULT."""

    matched: bool
    condition: exp.Expr | None
    action: Action
    columns: tuple[Column, ...] = ()
    values: tuple[exp.Expr, ...] = ()
    defaulted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """A MERGE, read: the query, and what becomes of its rows."""

    target: Target
    clauses: tuple[Clause, ...]
    query: exp.Expr

    @property
    def columns(self) -> list[Column]:
        return [column for clause in self.clauses for column in clause.columns]


def read_merge(statement: exp.Merge, execution: Execution) -> Merge:
    """The parts of a MERGE. Raises Invalid."""
    if statement.args.get("returning"):
        raise refuse("RETURNING of MERGE (PostgreSQL 17)", "Use INSERT … ON CONFLICT, UPDATE or DELETE with RETURNING.")
    only_parts(statement, "this", "using", "on", "whens", "with_", "returning")
    target = target_of(statement.this, execution)
    clauses = tuple(_clause(when, target) for when in statement.args["whens"].expressions)
    for matched in (True, False):
        same = [clause for clause in clauses if clause.matched is matched]
        if any(clause.condition is None for clause in same[:-1]):
            raise Invalid("unreachable WHEN clause specified after unconditional WHEN clause", sqlstate="42601")
    return Merge(target=target, clauses=clauses, query=_query(statement, target, clauses))


def merge(statement: exp.Merge, execution: Execution) -> Result:
    """Run a MERGE. Raises Invalid."""
    work = read_merge(statement, execution)
    mark = execution.transaction.mark(work.target.table)
    keys = [INTEGER, *(type for _, type in work.target.keys)]
    pieces = assigned_pieces(work.query, work.columns, execution=execution, part="merge", keys=keys)

    def write() -> int:
        return sum(_write(piece, work, execution, mark) for piece in pieces)

    count = interruptible(write, cancel=execution.cancel.cancel)
    return execution.done(f"MERGE {count}", rows=count)


def _write(piece: pa.Table, work: Merge, execution: Execution, mark: int) -> int:
    """Do what a piece says; returns for how many rows."""
    target, transaction = work.target, execution.transaction
    _check_once(piece, work, execution, mark)
    for _, old, clause, rows in sorted(_work(piece, work), key=lambda item: item[0]):
        match clause.action:
            case Action.DELETE:
                transaction.delete_found(target.table, old)
            case Action.UPDATE:
                given = rows.select([name for name in rows.schema.names if name not in clause.defaulted])
                transaction.update(target.table, old, transaction.complete(target.table, given, overriding=True))
            case Action.INSERT:
                transaction.insert(target.table, rows)
            case Action.NOTHING:
                raise AssertionError("the query leaves these out")
    return piece.num_rows


def _work(piece: pa.Table, work: Merge) -> Iterator[tuple[int, pa.RecordBatch, Clause, pa.RecordBatch]]:
    """Per clause with rows: its turn, the keys of the rows that go, the clause, and the rows that come."""
    schema = work.target.key_schema
    first = 1 + len(schema)
    for number, clause in enumerate(work.clauses):
        columns = range(first, first + len(clause.columns))
        first = columns.stop
        rows = piece.filter(pc.equal(piece.column(0), number))
        if not rows.num_rows:
            continue
        old = _keys(rows if clause.matched else rows.slice(0, 0), work.target)
        if clause.columns:
            new = exactly(rows.select(list(columns)), clause.columns)
        else:
            new = pa.RecordBatch.from_struct_array(pa.array([{}] * rows.num_rows, pa.struct([])))
        yield list(Action).index(clause.action), old, clause, new


def _keys(rows: pa.Table, target: Target) -> pa.RecordBatch:
    schema = target.key_schema
    return one_batch(rows.select(range(1, 1 + len(schema))).rename_columns(schema.names).cast(schema))


def _check_once(piece: pa.Table, work: Merge, execution: Execution, mark: int) -> None:
    """Raise Invalid (21000) where a row of the target would be changed again."""
    matched = pa.array([number for number, clause in enumerate(work.clauses) if clause.matched], pa.int32())
    old = _keys(piece.filter(pc.is_in(piece.column(0), matched)), work.target)
    table = work.target.table
    if first_of_each(table, old) is not None or execution.transaction.written_after(table, old, mark).any():
        raise Invalid(
            "MERGE command cannot affect row a second time",
            hint="Ensure that not more than one source row matches any one target row.",
            sqlstate="21000",
        )


def _clause(when: exp.When, target: Target) -> Clause:
    only_parts(when, "matched", "source", "condition", "then")
    matched = bool(when.args["matched"])
    if when.args.get("source"):
        raise refuse(
            "WHEN NOT MATCHED BY SOURCE (PostgreSQL 17)", "Delete or update those rows by a statement of its own."
        )
    condition: exp.Expr | None = when.args.get("condition")
    then = when.args["then"]
    match then:
        case exp.Update() if matched:
            return _update(then, condition, target)
        case exp.Insert() if not matched:
            return _insert(then, condition, target)
        case exp.Var() if matched and then.name.upper() == "DELETE":
            return Clause(matched=True, condition=condition, action=Action.DELETE)
        case exp.Var() if then.name.upper() == "DO NOTHING":
            return Clause(matched=matched, condition=condition, action=Action.NOTHING)
        case _:
            raise Invalid(
                f"syntax error: WHEN {'' if matched else 'NOT '}MATCHED cannot {then.key.upper()}"
                if isinstance(then, exp.Update | exp.Insert)
                else f"syntax error in WHEN {'' if matched else 'NOT '}MATCHED",
                hint="MATCHED takes UPDATE SET, DELETE and DO NOTHING; NOT MATCHED takes INSERT and DO NOTHING.",
                sqlstate="42601",
            )


def _update(then: exp.Update, condition: exp.Expr | None, target: Target) -> Clause:
    only_parts(then, "expressions")
    sets = assignments(then.expressions, target)
    defaulted = frozenset(name for name, value in sets.items() if is_default(value))
    for name in defaulted:
        if target.table.column(name).identity is not None:
            raise refuse(f'SET "{name}" = DEFAULT of an identity column', "Give the value.")
    values = tuple(
        exp.Null() if column.name in defaulted else sets.get(column.name) or target.column(column.name)
        for column in target.table.columns
    )
    return Clause(
        matched=True,
        condition=condition,
        action=Action.UPDATE,
        columns=target.table.columns,
        values=values,
        defaulted=defaulted,
    )


def _insert(then: exp.Insert, condition: exp.Expr | None, target: Target) -> Clause:
    only_parts(then, "this", "expression")
    named, given = then.args.get("this"), then.args.get("expression")
    if given is None:  # DEFAULT VALUES
        if not (isinstance(named, exp.Tuple) and len(named.expressions) == 1 and is_default(named.expressions[0])):
            raise Invalid("syntax error: INSERT has nothing to insert", hint="Add VALUES (…).", sqlstate="42601")
        return Clause(matched=False, condition=condition, action=Action.INSERT)
    values = value_list(given)
    if named is None:
        columns = list(target.table.columns[: len(values)])
    else:
        nodes = named.expressions if isinstance(named, exp.Tuple) else [named.this]
        columns = [target.table.column(name_of(node)) for node in nodes]
    if len(columns) != len(values):
        more = "expressions than target columns" if len(values) > len(columns) else "target columns than expressions"
        raise Invalid(f"INSERT has more {more}", sqlstate="42601")
    names = [column.name for column in columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Invalid(f'column "{twice}" specified more than once', sqlstate="42701")
    for node in (*values, *([] if condition is None else [condition])):
        for column in node.find_all(exp.Column):
            qualifier = column.args.get("table")
            if qualifier is not None and fold(qualifier) == target.alias:
                raise Invalid(
                    f'invalid reference to FROM-clause entry for table "{target.alias}"',
                    hint="Where no row matched, there is only that of the source.",
                    sqlstate="42P01",
                )
    kept = [(column, value) for column, value in zip(columns, values, strict=True) if not is_default(value)]
    return Clause(
        matched=False,
        condition=condition,
        action=Action.INSERT,
        columns=tuple(column for column, _ in kept),
        values=tuple(value for _, value in kept),
    )


def _query(statement: exp.Merge, target: Target, clauses: Sequence[Clause]) -> exp.Expr:
    """The query of the module's docstring."""
    keys = [target.column(name) for name, _ in target.keys]
    action = exp.column(exp.to_identifier(ACTION), table=exp.to_identifier(ACTION))
    items: list[exp.Expr] = [action.copy(), *keys]
    for number, clause in enumerate(clauses):
        chosen = exp.EQ(this=action.copy(), expression=exp.Literal.number(number))
        items += [_guarded(value, chosen) for value in clause.values]
    joined = statement.this.copy()
    joined.set("only", None)
    inserts = any(clause.action is Action.INSERT for clause in clauses)
    join = exp.Join(this=joined, on=statement.args["on"].copy(), **({"side": "LEFT"} if inserts else {}))
    decided = exp.Select(expressions=[exp.alias_(_decision(clauses, keys[0]), ACTION)])
    lateral = exp.Lateral(this=exp.Subquery(this=decided), alias=exp.TableAlias(this=exp.to_identifier(ACTION)))
    source: exp.Expr = statement.args["using"].copy()
    nested: list[Any] = source.args.pop("joins", None) or []
    query = exp.Select(
        expressions=[exp.alias_(item, f"weft_{number}") for number, item in enumerate(items)],
        from_=exp.From(this=source),
        joins=[*nested, join, exp.Join(this=lateral)],
        where=exp.Where(this=exp.Not(this=exp.Is(this=action.copy(), expression=exp.Null()))),
    )
    if ctes := statement.args.get("with_"):
        query.set("with_", ctes.copy())
    return query


def _guarded(value: exp.Expr, chosen: exp.Expr) -> exp.Expr:
    """The value where its clause is chosen. A constant stays as it is: its type is that of the column."""
    if isinstance(value, exp.Literal | exp.Null | exp.Boolean | exp.Parameter | exp.Placeholder):
        return value.copy()
    return exp.Case(ifs=[exp.If(this=chosen.copy(), true=value.copy())])


def _decision(clauses: Sequence[Clause], key: exp.Column) -> exp.Expr:
    """The number of the clause for a row; NULL where nothing is to be done."""
    nothing = exp.Cast(this=exp.Null(), to=exp.DataType.build("int"))
    sides: dict[bool, exp.Expr] = {}
    for matched in (True, False):
        ifs = [
            exp.If(
                this=exp.true() if clause.condition is None else clause.condition.copy(),
                true=nothing.copy() if clause.action is Action.NOTHING else exp.Literal.number(number),
            )
            for number, clause in enumerate(clauses)
            if clause.matched is matched
        ]
        sides[matched] = exp.Case(ifs=ifs) if ifs else nothing.copy()
    found = exp.Not(this=exp.Is(this=key.copy(), expression=exp.Null()))
    return exp.Case(ifs=[exp.If(this=found, true=sides[True])], default=sides[False])
