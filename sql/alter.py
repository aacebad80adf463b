"""ALTER TABLE, VIEW and MATERIALIZED VIEW: a new definition under the same identifiers; no row is rewritten.

    ADD COLUMN      rows that exist read the DEFAULT, evaluated once now, from ``Column.missing``
    DROP COLUMN     the identifier is never used again, so old values cannot come back
    RENAME          identifiers stay: keys, checks and defaults follow by themselves
    SET/DROP        DEFAULT, NOT NULL; ADD and DROP CONSTRAINT of CHECK and UNIQUE, which all rows must keep
    SET, RESET (…)  keep, keep_by, late; what is not kept any more is dropped after the commit (engine/retention.py)

Several actions in one statement are applied in order and happen together. A change that a view would notice is refused
(sql/views.py). Refused by name: another type, another primary key, FOREIGN KEY, and WITH options that say
where rows lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from ..base.errors import Invalid
from ..base.result import Result
from ..base.rows import python_values
from ..engine.expression.evaluate import Context, evaluate
from ..engine.expression.node import Literal
from ..engine.expression.tree import columns_of
from ..engine.schema import Check, Column, Table, View
from ..storage.column_values import constant_array
from .definition import (
    check_of,
    column_of,
    default_of,
    name_of,
    new_relation_name,
    only_parts,
    refuse,
    refuse_node,
    relation_name,
    shown,
    unique_of,
)
from .execution import Execution
from .indexes import rename_index, with_uniques
from .options import Clause, with_options
from .parse import parse_expression
from .views import check_column_unused, check_dependents


def alter(statement: exp.Alter, options: Sequence[Clause], execution: Execution) -> Result:
    """ALTER TABLE, VIEW or MATERIALIZED VIEW. ``options`` are the clauses that ``SET (n)`` in the statement stands for.

    Raises Invalid for what is not there, not possible, or in use.
    """
    only_parts(statement, "this", "kind", "exists", "actions", "only", "options")
    kind = str(statement.args["kind"])
    if kind == "INDEX":
        return _alter_index(statement, execution)
    if kind not in ("TABLE", "VIEW", "MATERIALIZED VIEW"):
        raise refuse(f"ALTER {kind}", "See docs/sql.md.")
    name = relation_name(statement.this)
    if statement.args.get("exists") and name not in execution.catalog.relations:
        execution.notice(f'relation "{name}" does not exist, skipping')
        return execution.done(f"ALTER {kind}")
    relation = execution.catalog.relation(name)
    if kind == "MATERIALIZED VIEW" and not (isinstance(relation, View) and relation.materialized):
        raise Invalid(f'"{name}" is not a materialized view', sqlstate="42809")
    for action in _actions(statement):
        before = relation
        if isinstance(relation, View):
            relation = _alter_view(relation, action, execution)
        else:
            relation = _alter_table(relation, action, options, execution)
        if execution.catalog.relations.get(relation.name) != relation:
            execution.transaction.replace(relation)
        if isinstance(before, Table) and isinstance(relation, Table):
            known = {index.id for index in before.indexes}
            made = [index for index in relation.indexes if index.id not in known]
            if made:
                execution.transaction.make_indexes(before, relation, made)
        check_dependents(relation.id, execution, what=f'alter "{name}"')
    return execution.done(f"ALTER {kind}")


def _alter_index(statement: exp.Alter, execution: Execution) -> Result:
    name = relation_name(statement.this)
    actions = _actions(statement)
    if len(actions) != 1 or not isinstance(actions[0], exp.AlterRename):
        raise refuse("this form of ALTER INDEX", "Use ALTER INDEX … RENAME TO, or drop and create it.")
    if statement.args.get("exists") and execution.catalog.index(name) is None:
        execution.notice(f'relation "{name}" does not exist, skipping')
    else:
        rename_index(name, new_relation_name(actions[0].this), execution)
    return execution.done("ALTER INDEX")


def _actions(statement: exp.Alter) -> list[exp.Expr]:
    """The actions; ``RENAME a TO b`` without COLUMN comes from the parser in two pieces."""
    actions: list[exp.Expr] = statement.args["actions"]
    options: list[exp.Expr] = statement.args.get("options") or []
    if not options:
        return actions
    if len(options) == 1 and isinstance(options[0], exp.ToTableProperty) and isinstance(actions[0], exp.AlterRename):
        return [exp.RenameColumn(this=exp.Column(this=actions[0].this.this), to=exp.Column(this=options[0].this.this))]
    raise refuse_node(options[0])


def _alter_view(view: View, action: exp.Expr, execution: Execution) -> View:
    if not isinstance(action, exp.AlterRename):
        raise refuse("this form of ALTER VIEW", "Use RENAME TO, or CREATE OR REPLACE.")
    del execution
    return replace(view, name=new_relation_name(action.this))


def _alter_table(table: Table, action: exp.Expr, options: Sequence[Clause], execution: Execution) -> Table:
    match action:
        case exp.ColumnDef():
            changed = _add_column(table, action, execution)
        case exp.Drop(kind="COLUMN"):
            changed = _drop_column(table, action, execution)
        case exp.Drop(kind="CONSTRAINT"):
            changed = _drop_constraint(table, action, execution)
        case exp.RenameColumn():
            changed = _rename_column(table, action, execution)
        case exp.AlterRename():
            return replace(table, name=new_relation_name(action.this))
        case exp.AlterColumn():
            changed = _alter_column(table, action, execution)
        case exp.AddConstraint():
            changed = _add_constraints(table, action, execution)
        case exp.AlterSet(expressions=[exp.Literal(is_string=False) as clause]):
            return with_options(table, options[int(clause.this)])
        case _:
            raise refuse_node(action)
    return changed if changed is table else replace(changed, schema_version=table.schema_version + 1)


def _add_column(table: Table, definition: exp.ColumnDef, execution: Execution) -> Table:
    name = name_of(definition.this)
    if definition.args.get("exists") and name in table.by_name:
        execution.notice(f'column "{name}" of relation "{table.name}" already exists, skipping')
        return table
    column, checks, uniques = column_of(definition, table=table)
    if column.default is not None:
        column = replace(column, missing=_evaluated(column, execution))
    changed = replace(
        table,
        columns=(*table.columns, column),
        checks=(*table.checks, *checks),
        next_column_id=table.next_column_id + 1,
    )
    changed = with_uniques(changed, uniques, new_id=execution.new_id, taken=execution.catalog.names)
    fits_any_row = column.identity is None and not checks and (column.nullable or column.missing is not None)
    if fits_any_row or _is_empty(table, execution):
        return changed
    if column.identity is not None:
        raise refuse(
            f'ADD COLUMN "{name}" as identity to a table with rows', "Create a new table and copy with INSERT … SELECT."
        )
    if not column.nullable and (column.missing is None or column.missing.value is None):
        raise Invalid(
            f'column "{name}" would be NULL in the rows of "{table.name}" that exist, but is NOT NULL',
            hint="Give it a DEFAULT.",
            sqlstate="23502",
        )
    for check in checks:
        _check_existing(replace(changed, schema_version=table.schema_version + 1), check, execution, before=table)
    return changed


def _evaluated(column: Column, execution: Execution) -> Literal:
    """The value of a column's DEFAULT now."""
    assert column.default is not None, f"{column.name} has a default"
    one = pa.RecordBatch.from_arrays([pa.nulls(1)], names=["weft_row"])
    array = evaluate(column.default, one, column_ids=[-1], context=Context(now=execution.now, parameters=()))
    return Literal(value=python_values(array, column.type)[0], type=column.type)


def _drop_column(table: Table, action: exp.Drop, execution: Execution) -> Table:
    only_parts(action, "this", "tables", "kind", "exists", "restrict")
    names = [name_of(node and node.this) for node in action.args.get("tables") or [action.this]]
    for name in names:
        if action.args.get("exists") and name not in table.by_name:
            execution.notice(f'column "{name}" of relation "{table.name}" does not exist, skipping')
            continue
        column = table.column(name)
        _check_droppable(table, column)
        check_column_unused(table, name, execution, what=f'drop column "{name}" of "{table.name}"')
        table = replace(
            table,
            columns=tuple(each for each in table.columns if each.id != column.id),
            indexes=tuple(index for index in table.indexes if column.id not in index.reads),
        )
    return table


def _check_droppable(table: Table, column: Column) -> None:
    users = (
        ("primary key", column.id in table.primary_key),
        ("key", column.id in table.key),
        ("event time", column.id == table.time),
        *((f'check "{check.name}"', column.id in columns_of(check.expression)) for check in table.checks),
    )
    for what, uses in users:
        if uses:
            raise Invalid(
                f'cannot drop column "{column.name}" of "{table.name}": it is part of its {what}',
                hint="DROP CONSTRAINT first." if what.startswith("check") else "Create a new table without it.",
                sqlstate="2BP01",
            )
    if len(table.columns) == 1:
        raise Invalid(f'"{column.name}" is the last column of "{table.name}"', hint="Drop the table.", sqlstate="0A000")


def _rename_column(table: Table, action: exp.RenameColumn, execution: Execution) -> Table:
    old, new = name_of(action.this), name_of(action.args["to"])
    column = table.column(old)
    if new in table.by_name:
        raise Invalid(f'column "{new}" of table "{table.name}" already exists', sqlstate="42701")
    check_column_unused(table, old, execution, what=f'rename column "{old}" of "{table.name}"')
    checks = tuple(replace(check, text=_renamed(check.text, old, new)) for check in table.checks)
    indexes = tuple(
        replace(
            index,
            where_text=None if index.where_text is None else _renamed(index.where_text, old, new),
            expression_texts=tuple(_renamed(text, old, new) for text in index.expression_texts),
        )
        for index in table.indexes
    )
    return replace(_with_column(table, replace(column, name=new)), checks=checks, indexes=indexes)


def _renamed(text: str, old: str, new: str) -> str:
    """A condition's text for display, with a column's new name."""
    tree = parse_expression(text)
    for node in tree.find_all(exp.Column):
        if name_of(node.this) == old:
            node.set("this", exp.to_identifier(new))
    return shown(tree)


def _alter_column(table: Table, action: exp.AlterColumn, execution: Execution) -> Table:
    column = table.column(name_of(action.this))
    if action.args.get("dtype") is not None:
        raise refuse("ALTER COLUMN … TYPE", "Add a column of the new type, UPDATE it, and drop the old one.")
    if action.args.get("allow_null") is not None:
        if action.args["allow_null"]:
            return _drop_not_null(table, column)
        return _set_not_null(table, column, execution)
    if action.args.get("drop"):
        return _with_column(table, replace(column, default=None, default_text=None))
    tree = action.args.get("default")
    if tree is None:
        raise refuse("this form of ALTER COLUMN", "Use SET DEFAULT, DROP DEFAULT, SET NOT NULL or DROP NOT NULL.")
    if column.identity is not None:
        raise Invalid(f'column "{column.name}" is an identity column and has no DEFAULT', sqlstate="42601")
    default = default_of(column, tree)
    return _with_column(table, replace(column, default=default, default_text=shown(tree)))


def _drop_not_null(table: Table, column: Column) -> Table:
    if column.id in (*table.primary_key, *table.key, table.time) or column.identity is not None:
        raise Invalid(
            f'column "{column.name}" must stay NOT NULL: it is part of a key or an identity column', sqlstate="42P16"
        )
    return _with_column(table, replace(column, nullable=True))


def _set_not_null(table: Table, column: Column, execution: Execution) -> Table:
    if _any_row(table, exp.Is(this=_quoted(column.name), expression=exp.Null()), execution):
        raise Invalid(
            f'column "{column.name}" of "{table.name}" contains NULL', hint="UPDATE it first.", sqlstate="23502"
        )
    return _with_column(table, replace(column, nullable=False))


def _add_constraints(table: Table, action: exp.AddConstraint, execution: Execution) -> Table:
    for constraint in action.expressions:
        items = constraint.expressions if isinstance(constraint, exp.Constraint) else [constraint]
        name = name_of(constraint.this) if isinstance(constraint, exp.Constraint) else None
        for item in items:
            if isinstance(item, exp.PrimaryKey):
                raise refuse("ADD PRIMARY KEY", "Create a new table with it, and copy with INSERT … SELECT.")
            if isinstance(item, exp.UniqueColumnConstraint):
                unique = unique_of(item, name=name)
                table = with_uniques(table, [unique], new_id=execution.new_id, taken=execution.catalog.names)
                continue
            if not isinstance(item, exp.CheckColumnConstraint):
                raise refuse_node(item)
            check = check_of(table, name=name, column=None, tree=item.this)
            _check_existing(table, check, execution, before=table)
            table = replace(table, checks=(*table.checks, check))
    return table


def _drop_constraint(table: Table, action: exp.Drop, execution: Execution) -> Table:
    only_parts(action, "this", "tables", "kind", "exists", "restrict")
    for node in action.args.get("tables") or [action.this]:
        name = name_of(node and node.this)
        if name == f"{table.name}_pkey" and table.primary_key:
            raise refuse("dropping the primary key", "Create a new table without it, and copy with INSERT … SELECT.")
        indexes = tuple(index for index in table.indexes if not (index.constraint and index.name == name))
        if name not in {check.name for check in table.checks} and indexes == table.indexes:
            if not action.args.get("exists"):
                raise Invalid(f'constraint "{name}" of table "{table.name}" does not exist', sqlstate="42704")
            execution.notice(f'constraint "{name}" of relation "{table.name}" does not exist, skipping')
        checks = tuple(check for check in table.checks if check.name != name)
        if (checks, indexes) != (table.checks, table.indexes):
            table = replace(table, checks=checks, indexes=indexes)
    return table


def _with_column(table: Table, column: Column) -> Table:
    return replace(table, columns=tuple(column if each.id == column.id else each for each in table.columns))


def _quoted(name: str) -> exp.Column:
    return exp.column(exp.to_identifier(name, quoted=True))


def _is_empty(table: Table, execution: Execution) -> bool:
    return not _any_row(table, exp.true(), execution)


def _any_row(table: Table, condition: exp.Expr, execution: Execution) -> bool:
    """Whether any row of the table meets a condition, now and until the commit: a write meanwhile is a Conflict."""
    execution.transaction.require_unchanged(table)
    query = exp.Select(
        expressions=[exp.Literal.number(1)],
        from_=exp.From(this=exp.Table(this=exp.to_identifier(table.name, quoted=True))),
        where=exp.Where(this=condition),
        limit=exp.Limit(expression=exp.Literal.number(1)),
    )
    return execution.query(query).arrow().num_rows > 0


def _check_existing(table: Table, check: Check, execution: Execution, *, before: Table) -> None:
    """Raise Invalid (23514) if a row that exists violates a new CHECK. ``table`` has the columns that it needs."""
    execution.transaction.require_unchanged(before)
    ids = [column.id for column in table.columns]
    context = Context(now=execution.now, parameters=())
    added = [column for column in table.columns if column.id not in before.by_id]
    for rows in execution.reader.scan(before).batches():
        batch = rows
        for column in added:
            value = None if column.missing is None else column.missing.value
            batch = batch.append_column(column.field, constant_array(value, rows.num_rows, column.type))
        outcome = evaluate(check.expression, batch, column_ids=ids, context=context)
        if pc.any(pc.equal(outcome, False)).as_py():
            raise Invalid(
                f'check "{check.name}" is violated by a row of "{table.name}": {check.text}',
                hint="Change the rows first.",
                sqlstate="23514",
            )
