"""CREATE INDEX, DROP INDEX, UNIQUE: indexes as parts of their table's definition, and the entries of rows that exist.

    UNIQUE in CREATE TABLE, ADD COLUMN, ADD CONSTRAINT     an index that is a constraint, too: DROP CONSTRAINT drops it
    CREATE [UNIQUE] INDEX                                  an index; DROP INDEX drops it
    DROP COLUMN                                            drops the indexes of the column

Names are PostgreSQL's where none is given: table_column_key and table_column_idx, then with a number. They share the
namespace of tables and views. INCLUDE is refused by name. Order (ASC, DESC, NULLS FIRST) is read, and makes no
difference: an index is read in both directions. WHERE makes a partial index; its condition and indexed expressions are
evaluated by ``apply``, so they can neither fail nor change with time or session.

The entries of rows that exist are written as of the statement's snapshot, and commit with it; from then on ``apply``
keeps them (engine/indexes.py). Writes of others meanwhile are caught up with before the commit (engine/index_build.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlglot import exp

from ..base.errors import Invalid
from ..base.limits import INDEX_COLUMNS_MAX, INDEXES_MAX, NAME_BYTES_MAX
from ..base.result import Result
from ..base.types import BOOLEAN
from ..engine.expression.evaluate import can_fail, check_supported
from ..engine.expression.functions import FUNCTIONS, Volatility
from ..engine.expression.node import Call, Expression
from ..engine.expression.tree import columns_of, walk
from ..engine.key_encoding import check_key_types
from ..engine.schema import Column, Index, Table
from .bind import bind_expression, output_name
from .bind.names import NAMELESS
from .definition import Unique, name_of, only_parts, refuse, relation_name, shown
from .execution import Execution
from .source import Source

_NULLS: Final = re.compile(r"\bNULLS\s+(NOT\s+)?DISTINCT\b", re.IGNORECASE)
_DROP: Final = re.compile(r"\bINDEX(\s+CONCURRENTLY)?\b", re.IGNORECASE)


def cut_nulls(text: str) -> tuple[str, bool]:
    """CREATE INDEX without NULLS [NOT] DISTINCT, which the parser does not know there; whether NULLs are distinct."""
    match = _NULLS.search(text)
    if match is None or (text.count("'", 0, match.start()) + text.count('"', 0, match.start())) % 2:
        return text, True
    return text[: match.start()] + " " * len(match[0]) + text[match.end() :], match[1] is None


def as_drop_table(source: Source) -> str:
    """DROP INDEX as the parser reads lists of names: as DROP TABLE."""
    return _DROP.sub(lambda match: "TABLE".ljust(len(match[0])), source.rewritten, count=1)


def with_uniques(
    table: Table, uniques: Sequence[Unique], *, new_id: Callable[[], int], taken: Collection[str]
) -> Table:
    """The table with the UNIQUE constraints of its definition. ``taken``: names of relations and indexes."""
    for unique in uniques:
        columns = [table.column(name) for name in unique.columns]
        index = index_of(
            table,
            columns,
            name=unique.name,
            id=new_id(),
            taken=taken,
            unique=True,
            nulls_distinct=unique.nulls_distinct,
            constraint=True,
        )
        table = replace(table, indexes=(*table.indexes, index))
    return table


def index_of(
    table: Table,
    columns: Sequence[Column],
    *,
    name: str | None,
    id: int,
    taken: Collection[str],
    unique: bool,
    nulls_distinct: bool = True,
    constraint: bool = False,
    expressions: Sequence[Term] = (),
) -> Index:
    """An index of ``table``, checked. Raises Invalid."""
    check_key_types(columns)
    names = [column.name for column in columns]
    if constraint and len(set(names)) < len(names):
        raise Invalid("a column stands twice in a unique constraint", sqlstate="42701")
    if len(columns) > INDEX_COLUMNS_MAX:
        raise Invalid(f"an index has at most {INDEX_COLUMNS_MAX} columns", sqlstate="54011")
    if len(table.indexes) >= INDEXES_MAX:
        raise Invalid(f'table "{table.name}" has {INDEXES_MAX} indexes, and may have no more', sqlstate="54000")
    own = {table.name, *(index.name for index in table.indexes), *(check.name for check in table.checks)}
    if name is None:
        ending = "key" if constraint else "idx"
        stem = f"{table.name}_{'_'.join(names)}"[: NAME_BYTES_MAX - len(ending) - 4]
        candidates = (f"{stem}_{ending}{number or ''}" for number in range(len(taken) + len(own) + 1))
        name = next(each for each in candidates if each not in taken and each not in own)
    elif name in taken or name in own:
        raise Invalid(f'relation "{name}" already exists', hint="Use another name.", sqlstate="42P07")
    return Index(
        id=id,
        name=name,
        columns=tuple(dict.fromkeys(column.id for column in columns)),
        unique=unique,
        nulls_distinct=nulls_distinct,
        constraint=constraint,
        expressions=tuple(term.expression for term in expressions),
        expression_texts=tuple(term.text for term in expressions),
    )


def create_index(statement: exp.Create, execution: Execution, *, nulls_distinct: bool) -> Result:
    """CREATE [UNIQUE] INDEX, with the entries of all rows that there are."""
    only_parts(statement, "this", "kind", "unique", "exists", "concurrently")
    node: exp.Index = statement.this
    only_parts(node, "this", "table", "params", "unique")
    params: exp.IndexParameters = node.args["params"]
    _check_params(params)
    table = execution.catalog.table(relation_name(node.args["table"]))
    name = None if node.this is None else name_of(node.this)
    if name is not None and statement.args.get("exists") and name in execution.catalog.names:
        execution.notice(f'relation "{name}" already exists, skipping')
        return execution.done("CREATE INDEX")
    terms = [_term(item, table) for item in params.args.get("columns") or ()]
    if not terms:
        raise Invalid("an index needs columns", hint=f"Write ON {table.name} (column, ...).", sqlstate="42601")
    computed = [term for term in terms if not isinstance(term, Column)]
    columns = [
        term
        if isinstance(term, Column)
        else Column(id=-1 - computed.index(term), name=term.name, type=term.expression.type)
        for term in terms
    ]
    index = index_of(
        table,
        columns,
        expressions=computed,
        name=name,
        id=execution.new_id(),
        taken=execution.catalog.names,
        unique=bool(statement.args.get("unique")),
        nulls_distinct=nulls_distinct,
    )
    where = params.args.get("where")
    if where is not None:
        index = replace(index, where=condition_of(where.this, table), where_text=shown(where.this))
    changed = add_indexes(table, [index])
    execution.transaction.replace(changed)
    execution.transaction.make_indexes(table, changed, [index])
    return execution.done("CREATE INDEX")


def add_indexes(table: Table, indexes: Sequence[Index]) -> Table:
    """The table with more indexes: write sets that were made without them are refused, and made again."""
    return replace(table, indexes=(*table.indexes, *indexes), schema_version=table.schema_version + 1)


def _check_params(params: exp.IndexParameters) -> None:
    using = params.args.get("using")
    if using is not None and using.name.lower() != "btree":
        raise refuse(f"USING {using.name}", "Leave it out: there is one kind of index, for equality and ranges.")
    if params.args.get("include"):
        raise refuse("INCLUDE", "Leave it out: rows are found by their primary key.")
    for option in params.args.get("with_storage") or ():
        name = option.this.name.lower()
        if name not in _IGNORED:
            hint = "An index has no options; those of PostgreSQL's btree are read, and make no difference."
            raise Invalid(f'unrecognized parameter "{name}"', hint=hint, sqlstate="22023")
    only_parts(params, "using", "columns", "with_storage", "where", "include")


_IGNORED: Final = ("fillfactor", "deduplicate_items")
"""They stand in dumps."""


def condition_of(tree: exp.Expr, table: Table) -> Expression:
    """The condition of a partial index. Raises Invalid."""
    condition = bind_expression(tree, table, type=BOOLEAN)
    _check_computable(condition, "predicate")
    if can_fail(condition):
        raise refuse("a condition of an index that may fail", "Compare columns as they are, without arithmetic.")
    return condition


def _check_computable(expression: Expression, what: str) -> None:
    check_supported(expression)
    calls = [part for part in walk(expression) if isinstance(part, Call)]
    if any(FUNCTIONS[call.function].volatility is not Volatility.IMMUTABLE for call in calls):
        raise Invalid(f"functions in index {what} must be marked IMMUTABLE", sqlstate="42P17",
                      hint="Use columns, constants, and functions that depend on these alone.")  # fmt: skip


def expression_of(tree: exp.Expr, table: Table) -> Expression:
    """An expression that an index can have. Raises Invalid."""
    expression = bind_expression(tree, table)
    _check_computable(expression, "expression")
    if can_fail(expression):
        raise refuse(
            "an index of an expression that may fail",
            "Store what it gives in a column, and index that: arithmetic may overflow, casts of text may not fit.",
        )
    if not columns_of(expression):
        raise refuse("an index of a constant", "Index columns, or expressions of columns.")
    return expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """An indexed expression: its text for display, and what it is called in the index's name."""

    expression: Expression
    text: str
    name: str


def _term(item: Any, table: Table) -> Column | Term:
    node = unwrapped(item)
    if isinstance(node, exp.Opclass):
        raise refuse("an operator class", "Leave it out: text is indexed by its bytes.")
    if isinstance(node, exp.Column):
        return table.column(name_of(node))
    name = output_name(node)
    called = isinstance(node, exp.Func) and not isinstance(node, exp.Binary | exp.Cast | exp.Case)
    text = shown(node) if called else f"({shown(node)})"
    return Term(expression=expression_of(node, table), text=text, name="expr" if name == NAMELESS else name)


def unwrapped(item: Any) -> Any:
    """What is indexed, without its order and parentheses."""
    while isinstance(item, exp.Ordered | exp.Paren):
        item = item.this
    return item


def drop_indexes(names: Sequence[str], execution: Execution, *, exists: bool) -> Result:
    """DROP INDEX."""
    for name in names:
        found = execution.catalog.index(name)
        if found is None and name in execution.catalog.relations:
            raise Invalid(f'"{name}" is not an index', hint="Use DROP TABLE or DROP VIEW.", sqlstate="42809")
        if found is None:
            if not exists:
                raise Invalid(f'index "{name}" does not exist', sqlstate="42704")
            execution.notice(f'index "{name}" does not exist, skipping')
            continue
        table, index = found
        if index.constraint:
            raise Invalid(
                f"cannot drop index {name} because constraint {name} on table {table.name} requires it",
                hint=f"Use ALTER TABLE {table.name} DROP CONSTRAINT {name}.",
                sqlstate="2BP01",
            )
        execution.transaction.replace(without_indexes(table, [index]))
    return execution.done("DROP INDEX")


def without_indexes(table: Table, indexes: Sequence[Index]) -> Table:
    """The table without some of its indexes."""
    kept = tuple(index for index in table.indexes if index not in indexes)
    return replace(table, indexes=kept, schema_version=table.schema_version + 1)


def rename_index(old: str, new: str, execution: Execution) -> None:
    """ALTER INDEX … RENAME TO."""
    found = execution.catalog.index(old)
    if found is None:
        raise Invalid(f'index "{old}" does not exist', sqlstate="42704")
    if new in execution.catalog.names:
        raise Invalid(f'relation "{new}" already exists', hint="Use another name.", sqlstate="42P07")
    table, index = found
    renamed = tuple(replace(each, name=new) if each is index else each for each in table.indexes)
    execution.transaction.replace(replace(table, indexes=renamed))
