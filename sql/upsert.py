"""ON CONFLICT: which of the proposed rows are inserted, which become updates, which are left out.

Rows can meet in the primary key and in unique indexes (``Arbiter``). Proposed rows are looked up at the statement's
snapshot (with the transaction's own writes); those not found are inserted, the others are joined to the rows that they
met, in the one arbiter that DO UPDATE names:

    SELECT <primary key, or row id>, <columns' new values> FROM <rows met> AS the table, <rows proposed> AS excluded
    WHERE the arbiter's columns are equal [AND the condition of DO UPDATE … WHERE]

Somebody else who inserts one of the rows before this transaction commits makes it a Conflict, which an autocommit
statement retries by itself: so the outcome is as if nobody else had been there, before or after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa
from sqlglot import exp

from ..base.errors import Invalid
from ..engine.conflict import first_of_each, key_tuples
from ..engine.expression.node import Expression
from ..engine.expression.tree import nameless
from ..engine.indexes import by_id, computed, held
from ..engine.schema import ROW_ID_NAME, Index, Table, entry_ids
from ..engine.transaction import Transaction
from .assign import assigned_query, exactly, is_default, one_batch
from .definition import name_of, refuse
from .execution import Execution
from .indexes import condition_of, expression_of, unwrapped
from .parse import parse_expression
from .target import Target, assignments

MET: Final = "weft_met"
PROPOSED: Final = "weft_proposed"
EXCLUDED: Final = "excluded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upserted:
    """What to do: full rows to insert, and full rows that replace the rows at ``old`` (primary keys), one for one."""

    table: Table
    inserts: pa.RecordBatch
    old: pa.RecordBatch
    updates: pa.RecordBatch

    @property
    def written(self) -> pa.RecordBatch:
        """All rows as they will be: those inserted, then those updated."""
        return one_batch(pa.Table.from_batches([self.inserts, self.updates]))

    def apply(self, transaction: Transaction) -> None:
        if self.inserts.num_rows:
            transaction.insert(self.table, self.inserts, overriding=True)
        if self.updates.num_rows:
            transaction.update(self.table, self.old, self.updates)


def upsert(
    conflict: exp.OnConflict, proposed: pa.RecordBatch, target: Target, *, execution: Execution, mark: int
) -> Upserted:
    """Sort full proposed rows into inserts and updates.

    ``mark`` is where the statement began in its transaction, which may have written earlier pieces of it. Raises
    Invalid: 42P10 for a conflict target that is nothing unique, 21000 where DO UPDATE would meet a row twice.
    """
    table = target.table
    arbiters = _arbiters(conflict, table)
    old = pa.RecordBatch.from_pylist([], schema=target.key_schema)
    nothing = Upserted(table=table, inserts=proposed, old=old, updates=proposed.slice(0, 0))
    if not arbiters or not proposed.num_rows:
        return nothing
    if _action(conflict) == "DO NOTHING":
        return replace(nothing, inserts=_that_meet_nothing(proposed, arbiters, target, execution.transaction))
    (arbiter,) = arbiters
    keys, places = arbiter.keys(proposed)
    if first_of_each(arbiter.table, keys) is not None:
        raise _second_time()
    met, found = arbiter.met(keys, target, execution)
    if execution.transaction.written_after(table, met.select(target.key_schema.names), mark).any():
        raise _second_time()
    places = places[found]
    absent = np.ones(proposed.num_rows, dtype=np.bool_)
    absent[places] = False
    inserts = proposed.filter(pa.array(absent))
    if not met.num_rows:
        return replace(nothing, inserts=inserts)
    old, updates = _updated(conflict, met, proposed.take(pa.array(places)), target, arbiter.trees, execution)
    return Upserted(table=table, inserts=inserts, old=old, updates=updates)


def _second_time() -> Invalid:
    return Invalid(
        "ON CONFLICT DO UPDATE command cannot affect row a second time",
        hint="Ensure that no rows proposed for insertion within the same command have the same key.",
        sqlstate="21000",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Arbiter:
    """What rows may meet in: the primary key of ``of``, or the unique index."""

    of: Table
    index: Index | None

    @property
    def table(self) -> Table:
        """Whose primary keys are looked up: the table's, or its index's."""
        return self.of if self.index is None else self.of.index_tables[self.index.id]

    @property
    def columns(self) -> list[str]:
        """Names, or texts of indexed expressions."""
        if self.index is None:
            return [self.of.by_id[id].name for id in self.of.primary_key]
        return [self.index.text(self.of, id) for id in self.index.columns]

    @property
    def terms(self) -> set[str | Expression]:
        """What ON CONFLICT names it by: columns, and expressions without names."""
        if self.index is None:
            return set(self.columns)
        return {nameless(self.index.expression(id)) if id < 0 else self.of.by_id[id].name for id in self.index.columns}

    @property
    def trees(self) -> list[exp.Expr]:
        """The columns and expressions in the syntax of a query."""
        ids = self.of.primary_key if self.index is None else self.index.columns
        return [
            parse_expression(text) if id < 0 else exp.column(exp.to_identifier(text, quoted=True))
            for id, text in zip(ids, self.columns, strict=True)
        ]

    def serves(self, condition: Expression | None) -> bool:
        """Whether ON CONFLICT (columns) WHERE condition may mean it: a partial index only by its own condition."""
        return self.index is None or self.index.where is None or self.index.where == condition

    def keys(self, rows: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray]:
        """The keys that rows have in it, and the places of these rows: some may have none (``held``)."""
        names = [column.name for column in self.table.primary_key_columns]
        if self.index is None:
            return rows.select(self.columns).rename_columns(names), np.arange(rows.num_rows)
        rows = computed(self.index, by_id(self.of, rows))
        keys = rows.select(list(map(str, self.index.columns))).rename_columns(names)
        valid = held(self.index, rows)
        return keys.filter(pa.array(valid)), np.flatnonzero(valid)

    def met(self, keys: pa.RecordBatch, target: Target, execution: Execution) -> tuple[pa.RecordBatch, np.ndarray]:
        """The rows with these keys, whole, with the row id where there is one, and the places of their keys."""
        if self.index is None:
            return execution.reader.get_many(self.of, keys)
        found, places = self.rows(keys, target, execution.transaction)
        rows, order = execution.reader.get_many(self.of, found)
        if not self.of.primary_key:
            rows = rows.append_column(ROW_ID_NAME, found.column(ROW_ID_NAME).take(pa.array(order)))
        return rows, places[order]

    def rows(self, keys: pa.RecordBatch, target: Target, transaction: Transaction) -> tuple[pa.RecordBatch, np.ndarray]:
        """What rows are found by (primary keys, or row ids) that have these keys in the index, and their places."""
        assert self.index is not None, "the primary key is what rows are found by"
        entries, places = transaction.find_entries(self.table, keys)
        ids = entry_ids(self.of, self.index)
        found = entries.select([str(ids.index(id) + 1) for id in self.of.row_key])
        return found.rename_columns(target.key_schema.names), places


def _that_meet_nothing(
    proposed: pa.RecordBatch, arbiters: Sequence[Arbiter], target: Target, transaction: Transaction
) -> pa.RecordBatch:
    """The rows that meet neither others nor one of these that came before."""
    absent = np.ones(proposed.num_rows, np.bool_)
    for arbiter in arbiters:
        keys, places = arbiter.keys(proposed)
        if arbiter.index is None:
            met = np.flatnonzero(transaction.present(arbiter.of, keys))
        else:
            found, met = arbiter.rows(keys, target, transaction)
            if found.num_rows:
                transaction.get_many(arbiter.of, found)  # for SERIALIZABLE: that they are there is an answer
        absent[places[met]] = False
    proposed = proposed.filter(pa.array(absent))
    if all(first_of_each(arbiter.table, arbiter.keys(proposed)[0]) is None for arbiter in arbiters):
        return proposed
    by_row: list[list[tuple[int, tuple[object, ...]]]] = [[] for _ in range(proposed.num_rows)]
    for number, arbiter in enumerate(arbiters):
        keys, places = arbiter.keys(proposed)
        for place, key in zip(places.tolist(), key_tuples(keys), strict=True):
            by_row[place].append((number, key))
    seen = set[tuple[int, tuple[object, ...]]]()
    kept: list[int] = []
    for row, own in enumerate(by_row):
        if seen.isdisjoint(own):
            seen.update(own)
            kept.append(row)
    return proposed.take(pa.array(kept, pa.int64()))


def _action(conflict: exp.OnConflict) -> str:
    return conflict.args["action"].name.upper() if conflict.args.get("action") else ""


def _arbiters(conflict: exp.OnConflict, table: Table) -> list[Arbiter]:
    """What ON CONFLICT asks for: one of the table's keys, or with DO NOTHING all of them."""
    if conflict.args.get("duplicate") or _action(conflict) not in ("DO NOTHING", "DO UPDATE"):
        raise refuse("this form of ON CONFLICT", "Use ON CONFLICT DO NOTHING, or ON CONFLICT (…) DO UPDATE SET ….")
    primary = [Arbiter(of=table, index=None)] if table.primary_key else []
    every = [*primary, *(Arbiter(of=table, index=index) for index in table.unique)]
    shown = " or ".join(f"ON CONFLICT ({', '.join(arbiter.columns)})" for arbiter in every)
    hint = f"Write {shown}." if every else "The table has no primary key, and nothing UNIQUE."
    named = conflict.args.get("conflict_keys")
    constraint = conflict.args.get("constraint")
    if constraint is not None:
        name = name_of(constraint)
        matching = [
            arbiter
            for arbiter in every
            if name == (f"{table.name}_pkey" if arbiter.index is None else arbiter.index.name)
            and (arbiter.index is None or arbiter.index.constraint)
        ]
        if not matching:
            raise Invalid(f'constraint "{name}" for table "{table.name}" does not exist', hint=hint, sqlstate="42704")
    elif named:
        nodes = list(map(unwrapped, named))
        terms = {
            name_of(node) if isinstance(node, exp.Column) else nameless(expression_of(node, table)) for node in nodes
        }
        where = conflict.args.get("index_predicate")
        where = where.this if isinstance(where, exp.Where) else where
        condition = None if where is None else condition_of(where, table)
        matching = [arbiter for arbiter in every if arbiter.terms == terms and arbiter.serves(condition)]
    elif _action(conflict) == "DO UPDATE":
        raise Invalid(
            "ON CONFLICT DO UPDATE requires inference specification or constraint name",
            hint=hint.replace(" DO UPDATE", ""),
            sqlstate="42601",
        )
    else:
        return every
    if not matching:
        raise Invalid(
            "there is no unique or exclusion constraint matching the ON CONFLICT specification",
            hint=hint,
            sqlstate="42P10",
        )
    return matching[:1]


def _updated(
    conflict: exp.OnConflict,
    met: pa.RecordBatch,
    proposed: pa.RecordBatch,
    target: Target,
    columns: Sequence[exp.Expr],
    execution: Execution,
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """(keys of the rows that DO UPDATE changes, the full rows that they become); ``columns`` are where they meet."""
    table = target.table
    found = assigned_query(
        updated_query(conflict, target, columns),
        table.columns,
        execution=execution,
        part="conflict",
        keys=[type for _, type in target.keys],
        relations={MET: met, PROPOSED: proposed},
    )
    keys = target.key_schema.names
    old = found.select(range(len(keys))).rename_columns(keys).cast(target.key_schema)
    rows = exactly(found.select(range(len(keys), found.num_columns)), table.columns)
    return one_batch(old), execution.transaction.complete(table, rows, overriding=True)


def _of(tree: exp.Expr, table: str) -> exp.Expr:
    """The expression with its columns taken from one table."""
    tree = exp.paren(tree, copy=True)
    for column in tree.find_all(exp.Column):
        column.set("table", exp.to_identifier(table, quoted=True))
    return tree


def updated_query(conflict: exp.OnConflict, target: Target, columns: Sequence[exp.Expr]) -> exp.Select:
    """The keys and every column's new value of the rows in ``MET`` that those of ``PROPOSED`` change.

    ``columns`` are where they meet.
    """
    table = target.table
    sets = assignments(conflict.expressions, target)
    for name, value in sets.items():
        if is_default(value):
            raise refuse(f'SET "{name}" = DEFAULT in ON CONFLICT', "Give the value.")
    keys = [name for name, _ in target.keys]
    items = [*map(target.column, keys)]
    items += [sets.get(column.name) or target.column(column.name) for column in table.columns]
    excluded = exp.to_identifier(EXCLUDED)
    same = [exp.NullSafeEQ(this=_of(column, target.alias), expression=_of(column, EXCLUDED)) for column in columns]
    where = conflict.args.get("where")
    condition = exp.and_(*same, *([where.this.copy()] if where else []), copy=False)
    alias = exp.TableAlias(this=exp.to_identifier(target.alias, quoted=True))
    return exp.Select(
        expressions=[exp.alias_(item.copy(), f"weft_{number}") for number, item in enumerate(items)],
        from_=exp.From(this=exp.Table(this=exp.to_identifier(MET), alias=alias)),
        joins=[exp.Join(this=exp.Table(this=exp.to_identifier(PROPOSED), alias=exp.TableAlias(this=excluded.copy())))],
        where=exp.Where(this=condition),
    )
