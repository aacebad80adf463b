"""INSERT, UPDATE and DELETE of one row, found by its primary key: read and written as Python values.

    UPDATE t SET n = n + $2 WHERE id = $1      planned once ──► PointUpdate ──► get, compute, Transaction.update_row

The ordinary way (sql/mutate.py, sql/upsert.py) runs a query, makes columns of one row and writes those. A point change
does the same to the transaction by the calls for single rows (engine/row_writes.py), and leaves to the ordinary way all
that these do not take: ``at_once`` then returns None, and has written nothing. What it does is exactly what that does,
which is its oracle: an UPDATE that only adds is a delta under the same conditions (sql/commutative.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias, TypeVar

from sqlglot import exp

from ..base.errors import WeftError
from ..base.types import Kind
from ..base.values import literal_value
from ..engine.changes import Isolation
from ..engine.row_writes import RowWrites, columns_of, key_batch
from ..engine.schema import Column, Table
from ..engine.transaction import Transaction
from . import bound
from .assign import COMPLEX, DEFAULT, assigned_plan, simple_value
from .bind import fold
from .commutative import Deltas, added_types, misfit, why_not_apart
from .definition import name_of
from .execution import Execution
from .mutate import insert_columns, keys_query, plan_of_change, values_width
from .plan import Plan, PrimaryKeyGet
from .point import PointKey, point_key
from .resources import Parsed
from .row_value import NotPlain, Row, RowValue, parameter_value, row_value
from .target import Target, target_of
from .upsert import MET, PROPOSED, updated_query


@dataclass(frozen=True, slots=True, kw_only=True)
class PointDelete:
    key: PointKey

    def at_once(self, transaction: Transaction, parameters: Sequence[object], *, alone: bool) -> int | None:
        """Delete the row. Returns how many there were; None: nothing was done."""
        del alone
        table, key = self.key.table, self.key.values(parameters)
        if key is None or not _takes(transaction, table):
            return None
        if transaction.get(table, key) is None:
            return 0
        return 1 if transaction.delete_row(table, key) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PointUpdate:
    """``parameters``: of the statement. ``sets``: new values by column name.

    ``amounts``: the same as what is added, where that may be a delta.
    """

    key: PointKey
    parameters: Mapping[int, RowValue]
    sets: Mapping[str, RowValue]
    amounts: Mapping[str, RowValue]

    def at_once(self, transaction: Transaction, parameters: Sequence[object], *, alone: bool) -> int | None:
        """Update the row. Returns how many there were; None: nothing was done."""
        return self._run(transaction, parameters, alone=alone) if RowWrites.suits(self.key.table) else None

    def in_columns(self, transaction: Transaction, parameters: Sequence[object], *, alone: bool) -> int | None:
        """The same as a statement that is undone if it raises, for tables whose rows something may refuse."""
        return None if RowWrites.suits(self.key.table) else self._run(transaction, parameters, alone=alone)

    def _run(self, transaction: Transaction, parameters: Sequence[object], *, alone: bool) -> int | None:
        table, key = self.key.table, self.key.values(parameters)
        if key is None or not _takes(transaction, table):
            return None
        if _computed(self.parameters, Row({}, parameters)) is None:
            return None
        if self.amounts and why_not_apart(transaction, table, alone=alone) is None:
            return self._add(transaction, key, parameters)
        row = transaction.get(table, key)
        if row is None:
            return 0
        changes = _computed(self.sets, Row(row, parameters))
        if changes is None:
            return None
        if RowWrites.suits(table):
            return 1 if transaction.update_row(table, key, changes) else None
        plain = table.shape.changes(changes)
        if plain is None:
            return None
        return transaction.update(table, key_batch(table, [key]), columns_of(table, [{**row, **plain}]))

    def _add(self, transaction: Transaction, key: tuple[Any, ...], parameters: Sequence[object]) -> int | None:
        table = self.key.table
        with transaction.adding(table):
            row = transaction.get(table, key)
            if row is None:
                return 0
            amounts = _computed(self.amounts, Row(row, parameters))
            if amounts is None or _computed(self.sets, Row(row, parameters)) is None:  # the sums may overflow
                return None
            if any(row[name] is None or amount is None for name, amount in amounts.items()):
                return None
            transaction.add(table, key, amounts)
            return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PointInsert:
    """``values``: by column name, what is given. ``parameters``: of DO UPDATE. ``sets``: likewise; None without that.

    ``nothing``: of DO NOTHING.
    """

    table: Table
    values: Mapping[str, RowValue]
    parameters: Mapping[int, RowValue] = field(default_factory=dict[int, RowValue])
    sets: Mapping[str, RowValue] | None = None
    nothing: bool = False

    def row(self, parameters: Sequence[object]) -> dict[str, Any] | None:
        """The whole row to be inserted; None where it is not plain."""
        given = _computed(self.values, Row({}, parameters))
        return None if given is None else self.table.shape.row(given)

    def at_once(self, transaction: Transaction, parameters: Sequence[object], *, alone: bool) -> int | None:
        """Insert the row, or what ON CONFLICT says. Returns how many rows were written; None: nothing was done."""
        del alone
        table, row = self.table, self.row(parameters)
        if row is None or not _takes(transaction, table) or _computed(self.parameters, Row({}, parameters)) is None:
            return None
        key = table.shape.key_of(row)
        met = transaction.get(table, key)
        if met is None:
            return 1 if transaction.put_row(table, row, insert=True) else None
        if self.nothing:
            return 0
        changes = None if self.sets is None else _computed(self.sets, Row(met, parameters, row))
        return 1 if changes is not None and transaction.update_row(table, key, changes) else None


_POINTS_MAX: Final = 8
"""For so many combinations of parameter types and catalogs."""

PointChange: TypeAlias = PointInsert | PointUpdate | PointDelete


def point_of(parsed: Parsed, execution: Execution) -> PointChange | None:
    """How to run a statement as the change of one row, or None; found out once."""
    if execution.key is None or parsed.past:
        return None
    key = execution.key[1]
    if key not in parsed.points:
        if len(parsed.points) >= _POINTS_MAX:
            parsed.points.clear()
        parsed.points[key] = point_change(parsed.tree, execution)
    return parsed.points[key]


def point_change(tree: exp.Expr, execution: Execution) -> PointChange | None:
    """How to run INSERT, UPDATE or DELETE as the change of one row, or None; what is wrong says the ordinary way.

    It depends on what ``execution.key`` does, and not on what the transaction has done.
    """
    if any(tree.args.get(part) for part in ("returning", "with_", "from_", "using")):
        return None
    try:
        match tree:
            case exp.Insert():
                return _insert(tree, execution)
            case exp.Update():
                return _update(tree, execution)
            case exp.Delete():
                return _delete(tree, execution)
            case _:
                return None
    except WeftError:
        return None


def _takes(transaction: Transaction, table: Table) -> bool:
    """Whether the transaction writes rows of the table one by one."""
    same = transaction.catalog.relations.get(table.name) is table
    return same and transaction.isolation is not Isolation.READ_COMMITTED and not transaction.read_only


K = TypeVar("K")


def _computed(values: Mapping[K, RowValue], row: Row) -> dict[K, Any] | None:
    """All of the values; None where one of them is not plain."""
    try:
        return {name: value(row) for name, value in values.items()}
    except NotPlain:
        return None


def _key(tree: exp.Expr, target: Target, execution: Execution) -> PointKey | None:
    """The primary key that the WHERE of a change fixes."""
    where: exp.Where | None = tree.args.get("where")
    named = set() if where is None else {fold(node.this) for node in _columns(where.this)}
    if not target.table.primary_key or named != {column.name for column in target.table.primary_key_columns}:
        return None
    query = keys_query(tree, target)
    choice = execution.plan(query).choice
    return point_key(choice.key, target.table) if isinstance(choice, PrimaryKeyGet) else None


def _columns(condition: exp.Expr) -> Iterator[exp.Column]:
    """The columns that stand beside an equals sign of a condition, before anything is bound."""
    for node in condition.find_all(exp.EQ):
        yield from (
            side
            for side in (node.this, node.expression)
            if isinstance(side, exp.Column) and isinstance(side.this, exp.Identifier)
        )


def _delete(tree: exp.Delete, execution: Execution) -> PointDelete | None:
    key = _key(tree, target_of(tree.this, execution), execution)
    return None if key is None else PointDelete(key=key)


def _update(tree: exp.Update, execution: Execution) -> PointUpdate | None:
    key = _key(tree, target_of(tree.this, execution), execution)
    if key is None:
        return None
    target, query, deltas = plan_of_change(tree, replace(execution, alone=True))
    assert query is not None, "UPDATE runs a query"
    table = target.table
    keys = [*(type for _, type in target.keys), *added_types(deltas, table)]
    plan = assigned_plan(query, table.columns, execution, keys=keys, schemas={})
    select = plan.bound.query
    if not isinstance(select, bound.Select) or not isinstance(select.source, bound.Scan):
        return None
    scan = select.source
    columns = {
        column.id: _reader(table.by_id[source].name)
        for column, source in zip(scan.columns, scan.sources, strict=True)
        if source in table.by_id
    }
    outputs = [output.expression for output in select.outputs]
    ids = dict(zip((column.id for column in scan.columns), scan.sources, strict=True))
    sets: dict[str, RowValue] = {}
    for column, node in zip(table.columns, outputs[len(keys) :], strict=True):
        if isinstance(node, bound.Column) and ids.get(node.id) == column.id:
            continue
        value = row_value(node, columns)
        if value is None or column.id in table.primary_key:
            return None
        sets[column.name] = value
    amounts = _amounts(deltas, outputs[len(target.keys) : len(keys)], table, columns)
    if amounts is None or not sets:
        return None
    return PointUpdate(key=key, parameters=_parameters(plan.bound), sets=sets, amounts=amounts)


def _parameters(query: bound.BoundQuery) -> dict[int, RowValue]:
    """All parameters of a query: each is looked at, whatever comes of the row."""
    return {number: parameter_value(number, type) for number, type in query.parameters.items()}


def _amounts(
    deltas: Deltas, nodes: Sequence[bound.Bound], table: Table, columns: Mapping[int, RowValue]
) -> dict[str, RowValue] | None:
    """What is added to each column; nothing where no delta can be made of it."""
    given = nodes[::2]
    if not deltas.amounts or misfit(deltas, [node.type for node in given], table) is not None:
        return {}
    amounts: dict[str, RowValue] = {}
    for amount, node in zip(deltas.amounts, given, strict=True):
        value = row_value(node, columns)
        if value is None:
            return None
        floating = table.column(amount.column).type.kind in (Kind.REAL, Kind.DOUBLE)
        amounts[amount.column] = _amount(value, minus=amount.minus, floating=floating)
    return amounts


def _amount(value: RowValue, *, minus: bool, floating: bool) -> RowValue:
    def amount(row: Row) -> Any:
        found = value(row)
        if found is None:
            return None
        exact = float(found) if floating else found
        return -exact if minus else exact

    return amount


def _reader(name: str, *, proposed: bool = False) -> RowValue:
    if proposed:
        return lambda row: row.proposed[name]
    return lambda row: row.values[name]


def _insert(tree: exp.Insert, execution: Execution) -> PointInsert | None:
    source = tree.expression
    if not isinstance(source, exp.Values) or len(source.expressions) != 1 or tree.args.get("default"):
        return None
    schema = tree.this
    target = target_of(schema.this if isinstance(schema, exp.Schema) else schema, execution)
    table = target.table
    if not RowWrites.suits(table):
        return None
    nodes = source.expressions[0].expressions if isinstance(source.expressions[0], exp.Tuple) else source.expressions
    columns = insert_columns(tree, table, width=values_width(source))
    if len(nodes) != len(columns):
        return None
    values: dict[str, RowValue] = {}
    for node, column in zip(nodes, columns, strict=True):
        value = _given(node, column, execution)
        if value is COMPLEX:
            return None
        if value is not DEFAULT:
            values[column.name] = value
    conflict: exp.OnConflict | None = tree.args.get("conflict")
    if conflict is None:
        return PointInsert(table=table, values=values)
    if not _is_on_primary_key(conflict, table):
        return None
    if conflict.args["action"].name.upper() == "DO NOTHING":
        return PointInsert(table=table, values=values, nothing=True)
    plan = _conflict_plan(conflict, target, execution)
    sets = _conflict_sets(plan.bound, table)
    if sets is None:
        return None
    return PointInsert(table=table, values=values, parameters=_parameters(plan.bound), sets=sets)


def _is_on_primary_key(conflict: exp.OnConflict, table: Table) -> bool:
    """Whether the clause is ON CONFLICT (primary key) DO NOTHING or DO UPDATE, without more."""
    named = conflict.args.get("conflict_keys") or ()
    nodes = [item.this if isinstance(item, exp.Ordered) else item for item in named]
    names = sorted(name_of(node) for node in nodes if isinstance(node, exp.Column))
    action = conflict.args.get("action")
    return (
        names == sorted(column.name for column in table.primary_key_columns)
        and len(names) == len(nodes)
        and action is not None
        and action.name.upper() in ("DO NOTHING", "DO UPDATE")
        and not any(conflict.args.get(part) for part in ("duplicate", "index_predicate", "constraint", "where"))
    )


def _given(node: exp.Expr, column: Column, execution: Execution) -> Any:
    """How a value of VALUES is had, DEFAULT, or COMPLEX."""
    if isinstance(node, exp.Parameter):
        if not node.name.isdigit():
            return COMPLEX
        index = int(node.name) - 1
        return lambda row: row.parameters[index]
    value = simple_value(node, column, parameters=execution.parameters, zone=execution.binder.timezone)
    if value is COMPLEX or value is DEFAULT:
        return value
    try:
        constant = value if value is None else literal_value(value, column.type)
    except WeftError:
        return COMPLEX
    return lambda _: constant


def _conflict_plan(conflict: exp.OnConflict, target: Target, execution: Execution) -> Plan:
    """The plan of the query that DO UPDATE runs."""
    table = target.table
    keys = [column.type for column in table.primary_key_columns]
    relations = {MET: table.arrow_schema, PROPOSED: table.arrow_schema}
    query = updated_query(conflict, target, [target.column(column.name) for column in table.primary_key_columns])
    return assigned_plan(query, table.columns, execution, keys=keys, schemas=relations)


def _conflict_sets(query: bound.BoundQuery, table: Table) -> dict[str, RowValue] | None:
    """The new values of DO UPDATE."""
    select = query.query
    if not isinstance(select, bound.Select):
        return None
    columns: dict[int, RowValue] = {}
    own: dict[int, str] = {}
    for scan in query.arrow_scans:
        for column, name in zip(scan.columns, scan.sources, strict=True):
            columns[column.id] = _reader(name, proposed=scan.name == PROPOSED)
            if scan.name == MET:
                own[column.id] = name
    sets: dict[str, RowValue] = {}
    for column, output in zip(table.columns, select.outputs[len(table.primary_key) :], strict=True):
        node = output.expression
        if isinstance(node, bound.Column) and own.get(node.id) == column.name:
            continue
        value = row_value(node, columns)
        if value is None or column.id in table.primary_key:
            return None
        sets[column.name] = value
    return sets
