"""ON CONFLICT: which of the proposed rows are inserted, which become updates, which are left out.

The only thing to conflict with is the primary key. Proposed rows are looked up by it at the statement's snapshot (with
the transaction's own writes); those not found are inserted, the others are joined to the rows that they met:

    SELECT <primary key>, <every column's new value> FROM <rows met> AS the table, <rows proposed> AS excluded
    WHERE the primary keys are equal [AND the condition of DO UPDATE … WHERE]

Somebody else who inserts one of the rows before this transaction commits makes it a Conflict, which an autocommit
statement retries by itself: so the outcome is as if nobody else had been there, before or after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from sqlglot import exp

from ..base.errors import Invalid
from ..engine.conflict import first_of_each
from ..engine.schema import Table
from ..engine.transaction import Transaction
from .assign import assigned_query, exactly, is_default, one_batch
from .definition import name_of, refuse
from .execution import Execution
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
    Invalid: 42P10 for a conflict target that is not the primary key, 21000 where DO UPDATE would meet a row twice.
    """
    table = target.table
    _check_conflict(conflict, table)
    keys = proposed.select(table.key_schema.names)
    nothing = Upserted(table=table, inserts=proposed, old=keys.slice(0, 0), updates=proposed.slice(0, 0))
    if not table.primary_key or not proposed.num_rows:
        return nothing
    first = first_of_each(table, keys)
    updating = _action(conflict) == "DO UPDATE"
    if updating and (first is not None or execution.transaction.written_after(table, keys, mark).any()):
        raise Invalid(
            "ON CONFLICT DO UPDATE command cannot affect row a second time",
            hint="Ensure that no rows proposed for insertion within the same command have the same primary key.",
            sqlstate="21000",
        )
    if first is not None:
        proposed, keys = proposed.take(pa.array(first)), keys.take(pa.array(first))
    met, places = execution.reader.get_many(table, keys)
    absent = np.ones(proposed.num_rows, dtype=np.bool_)
    absent[places] = False
    inserts = proposed.filter(pa.array(absent))
    if not updating or not met.num_rows:
        return Upserted(table=table, inserts=inserts, old=nothing.old, updates=nothing.updates)
    old, updates = _updated(conflict, met, proposed.take(pa.array(places)), target, execution)
    return Upserted(table=table, inserts=inserts, old=old, updates=updates)


def _action(conflict: exp.OnConflict) -> str:
    return conflict.args["action"].name.upper() if conflict.args.get("action") else ""


def _check_conflict(conflict: exp.OnConflict, table: Table) -> None:
    if conflict.args.get("duplicate") or _action(conflict) not in ("DO NOTHING", "DO UPDATE"):
        raise refuse("this form of ON CONFLICT", "Use ON CONFLICT DO NOTHING, or ON CONFLICT (…) DO UPDATE SET ….")
    if conflict.args.get("index_predicate"):
        raise refuse("ON CONFLICT (…) WHERE", "There are no partial indexes; write the primary key alone.")
    primary_key = [column.name for column in table.primary_key_columns]
    named = conflict.args.get("conflict_keys")
    constraint = conflict.args.get("constraint")
    if constraint is not None:
        matches = name_of(constraint) == f"{table.name}_pkey" and bool(primary_key)
    elif named:
        nodes = [item.this if isinstance(item, exp.Ordered) else item for item in named]
        matches = sorted(name_of(node) for node in nodes if isinstance(node, exp.Column)) == sorted(primary_key)
    elif _action(conflict) == "DO UPDATE":
        raise Invalid(
            "ON CONFLICT DO UPDATE requires inference specification or constraint name",
            hint=f"Write ON CONFLICT ({', '.join(primary_key)}) DO UPDATE." if primary_key else None,
            sqlstate="42601",
        )
    else:
        matches = True
    if not matches:
        raise Invalid(
            "there is no unique or exclusion constraint matching the ON CONFLICT specification",
            hint=f"Write ON CONFLICT ({', '.join(primary_key)})." if primary_key else "The table has no primary key.",
            sqlstate="42P10",
        )


def _updated(
    conflict: exp.OnConflict, met: pa.RecordBatch, proposed: pa.RecordBatch, target: Target, execution: Execution
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """(primary keys of the rows that DO UPDATE changes, the full rows that they become)."""
    table = target.table
    sets = assignments(conflict.expressions, table)
    for name, value in sets.items():
        if is_default(value):
            raise refuse(f'SET "{name}" = DEFAULT in ON CONFLICT', "Give the value.")
    keys = [column.name for column in table.primary_key_columns]
    items = [*map(target.column, keys)]
    items += [sets.get(column.name) or target.column(column.name) for column in table.columns]
    excluded = exp.to_identifier(EXCLUDED)
    same = [
        exp.EQ(this=target.column(key), expression=exp.column(exp.to_identifier(key, quoted=True), table=excluded))
        for key in keys
    ]
    where = conflict.args.get("where")
    condition = exp.and_(*same, *([where.this.copy()] if where else []), copy=False)
    alias = exp.TableAlias(this=exp.to_identifier(target.alias, quoted=True))
    query = exp.Select(
        expressions=[exp.alias_(item.copy(), f"weft_{number}") for number, item in enumerate(items)],
        from_=exp.From(this=exp.Table(this=exp.to_identifier(MET), alias=alias)),
        joins=[exp.Join(this=exp.Table(this=exp.to_identifier(PROPOSED), alias=exp.TableAlias(this=excluded.copy())))],
        where=exp.Where(this=condition),
    )
    found = assigned_query(
        query,
        table.columns,
        execution=execution,
        part="conflict",
        keys=[column.type for column in table.primary_key_columns],
        relations={MET: met, PROPOSED: proposed},
    )
    old = found.select(range(len(keys))).rename_columns(keys).cast(table.key_schema)
    rows = exactly(found.select(range(len(keys), found.num_columns)), table.columns)
    return one_batch(old), execution.transaction.complete(table, rows, overriding=True)
