"""From the parse tree of CREATE TABLE (and ADD COLUMN) to the definition that the catalog holds.

What is read: columns with NOT NULL, NULL, DEFAULT, CHECK, UNIQUE, PRIMARY KEY, GENERATED … AS IDENTITY and the SERIAL
types; table constraints PRIMARY KEY, UNIQUE and CHECK; the WITH options, cut out before parsing (sql/options.py).

Every other part of the tree that is filled in is refused by name (0A000): ``only_parts`` lists what a node may have, so
syntax that a newer sqlglot learns is refused, too, and never dropped in silence.

DEFAULT and CHECK are bound into expression trees here; their text is kept for display only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlglot import exp

from ..base.errors import Invalid
from ..base.limits import COLUMNS_MAX, NAME_BYTES_MAX
from ..base.rows import literal_value
from ..base.types import BIGINT, INTEGER, SMALLINT, Kind, Type
from ..engine.expression.evaluate import check_supported
from ..engine.expression.node import Expression, Literal
from ..engine.expression.tree import columns_of
from ..engine.schema import ROW_ID_NAME, Check, Column, Identity, Table
from .assign import COMPLEX, simple_value
from .bind import bind_expression, fold, type_of
from .dialect import DIALECT
from .options import layout_of

RESERVED_PREFIX: Final = "weft_"

_SERIAL: Final[Mapping[exp.DType, Type]] = {
    exp.DType.SMALLSERIAL: SMALLINT,
    exp.DType.SERIAL: INTEGER,
    exp.DType.BIGSERIAL: BIGINT,
}

_REFUSED: Final[Mapping[type[exp.Expr], tuple[str, str]]] = {
    exp.ForeignKey: ("FOREIGN KEY", "Check the reference in the transaction that writes."),
    exp.Reference: ("REFERENCES", "Check the reference in the transaction that writes."),
    exp.ExcludeColumnConstraint: ("EXCLUDE", "Use UNIQUE."),
    exp.ComputedColumnConstraint: ("GENERATED ALWAYS AS (expression)", "Compute it in a view, or when writing."),
    exp.CollateColumnConstraint: ("COLLATE", 'Text is compared by its bytes, as with COLLATE "C".'),
    exp.LikeProperty: ("LIKE", "Write the columns out; SHOW CREATE prints them."),
    exp.InheritsProperty: ("INHERITS", "Write the columns out."),
    exp.PartitionedByProperty: ("PARTITION BY", "Use WITH (key = …, shards = …, time = …, every = …)."),
    exp.PartitionedOfProperty: ("PARTITION OF", "Use WITH (key = …, shards = …, time = …, every = …)."),
    exp.TemporaryProperty: ("TEMPORARY", "Create it, and drop it when done; a transaction that rolls back does both."),
    exp.UnloggedProperty: ("UNLOGGED", "Every table is logged; weftdb.open() without a path is in memory."),
    exp.TableSpaceProperty: ("TABLESPACE", "A database lives in one folder."),
}


def refuse(name: str, hint: str) -> Invalid:
    """The error for what WeftDB does not have."""
    return Invalid(f"{name} is not supported", hint=hint, sqlstate="0A000")


def refuse_node(node: exp.Expr) -> Invalid:
    """The error for a part of a statement that is not supported, by the name that its user knows."""
    name, hint = _REFUSED.get(type(node), (shown(node), "Leave it out."))
    return refuse(name, hint)


def shown(tree: exp.Expr) -> str:
    """A tree as text, for display and for CHECKs that are renamed."""
    return tree.sql(dialect=DIALECT, normalize_functions=False)


def only_parts(node: exp.Expr, *parts: str) -> None:
    """Raise Invalid (0A000) if ``node`` has anything but ``parts`` filled in."""
    for name, value in node.args.items():
        if name not in parts and value:
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, exp.Expr):
                    raise refuse_node(item)
            raise refuse(f"{name.replace('_', ' ').strip().upper()} in this statement", "Leave it out.")


def name_of(identifier: Any) -> str:
    """An identifier as PostgreSQL folds it. Raises Invalid (42622) beyond 63 bytes."""
    node = identifier.this if isinstance(identifier, exp.Column) else identifier
    if not isinstance(node, exp.Identifier):
        raise _name_expected(node)
    name = fold(node)
    if len(name.encode()) > NAME_BYTES_MAX:
        raise Invalid(f'name "{name}" is too long', hint=f"Use at most {NAME_BYTES_MAX} bytes.", sqlstate="42622")
    return name


def _name_expected(node: Any) -> Invalid:
    found = f', not "{shown(node)}"' if isinstance(node, exp.Expr) else ""
    return Invalid(f"syntax error: a name is expected{found}", sqlstate="42601")


def relation_name(table: Any) -> str:
    """The name of a table reference. Raises Invalid (3F000) for a schema other than public."""
    if not isinstance(table, exp.Table):
        raise _name_expected(table)
    if table.args.get("catalog") or (table.args.get("db") and name_of(table.args["db"]) != "public"):
        raise Invalid(
            f'schema of "{shown(table)}" does not exist',
            hint="There is one schema, public; leave it out.",
            sqlstate="3F000",
        )
    return name_of(table.this)


def new_relation_name(table: exp.Table) -> str:
    """As ``relation_name``, for one to be created: names that begin with weft_ are the engine's own."""
    name = relation_name(table)
    if name.startswith(RESERVED_PREFIX):
        raise Invalid(
            f'name "{name}" is reserved',
            hint=f"Names that begin with {RESERVED_PREFIX} are internal.",
            sqlstate="42939",
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """A UNIQUE constraint of a definition; ``name`` where it was given one."""

    name: str | None
    columns: tuple[str, ...]
    nulls_distinct: bool


@dataclass(slots=True, kw_only=True)
class _Draft:
    """What reading the clauses of one table collects."""

    name: str
    columns: list[Column] = field(default_factory=list)
    defaults: dict[str, exp.Expr] = field(default_factory=dict)
    checks: list[tuple[str | None, str | None, exp.Expr]] = field(default_factory=list)  # name, column, tree
    primary_key: list[str] | None = None
    uniques: list[Unique] = field(default_factory=list)


def table_of(statement: exp.Create, *, options: Mapping[str, str], id: int) -> tuple[Table, list[Unique]]:
    """The definition that CREATE TABLE asks for, and what it says is UNIQUE. Raises Invalid for what it may not ask."""
    schema: exp.Schema = statement.this
    draft = _Draft(name=new_relation_name(schema.this))
    for clause in schema.expressions:
        _read_clause(draft, clause)
    _check_columns(draft)
    primary_key = draft.primary_key or []
    columns = [_not_null(column) if column.name in primary_key else column for column in draft.columns]
    layout = layout_of(options, table=draft.name, columns=columns, primary_key=primary_key)
    woven = {*layout.key, layout.time}
    for column in columns:
        if column.name in layout.key:
            _check_key(column, "a key")
    columns = [_not_null(column) if column.name in woven else column for column in columns]
    ids = {column.name: column.id for column in columns}
    table = Table(
        id=id,
        name=draft.name,
        columns=tuple(columns),
        primary_key=tuple(ids[name] for name in primary_key),
        key=tuple(ids[name] for name in layout.key),
        time=None if layout.time is None else ids[layout.time],
        shards=layout.shards,
        every=layout.every,
        keep=layout.keep,
        keep_by=layout.keep_by,
        late=layout.late,
        next_column_id=len(columns) + 1,
        options_text=tuple(options.items()),
    )
    table = replace(table, columns=tuple(_with_default(draft, column) for column in columns))
    for name, column, tree in draft.checks:
        table = replace(table, checks=(*table.checks, check_of(table, name=name, column=column, tree=tree)))
    return table, draft.uniques


def column_of(definition: exp.ColumnDef, *, table: Table) -> tuple[Column, list[Check], list[Unique]]:
    """The column that ADD COLUMN asks for, with its CHECKs bound to the table with it, and UNIQUE. PRIMARY KEY is
    refused."""
    draft = _Draft(name=table.name)
    _read_column(draft, definition, id=table.next_column_id)
    if draft.primary_key is not None:
        raise refuse("ADD COLUMN with PRIMARY KEY", "Create a new table, and copy with INSERT … SELECT.")
    column = _with_default(draft, draft.columns[0])
    if column.name in table.by_name:
        raise Invalid(f'column "{column.name}" of table "{table.name}" already exists', sqlstate="42701")
    _check_name(column.name)
    after = replace(table, columns=(*table.columns, column), next_column_id=table.next_column_id + 1)
    checks: list[Check] = []
    for name, of, tree in draft.checks:
        checks.append(check_of(replace(after, checks=(*table.checks, *checks)), name=name, column=of, tree=tree))
    return column, checks, draft.uniques


def check_of(table: Table, *, name: str | None, column: str | None, tree: exp.Expr) -> Check:
    """A CHECK bound to ``table``; without a name it gets PostgreSQL's: table_column_check, then with a number."""
    expression = bind_expression(tree, table)
    if expression.type.kind is not Kind.BOOLEAN:
        raise Invalid(
            f"argument of CHECK must be type boolean, not type {expression.type}",
            hint="Write a condition, such as amount > 0.",
            sqlstate="42804",
        )
    check_supported(expression)
    taken = {check.name for check in table.checks}
    if name is None:
        used = columns_of(expression)
        if column is None and len(used) == 1:
            column = table.by_id[next(iter(used))].name
        base = f"{table.name}_{column}_check" if column else f"{table.name}_check"
        name = next(each for each in (base, *(f"{base}{n}" for n in range(1, len(taken) + 2))) if each not in taken)
    elif name in taken:
        raise Invalid(f'constraint "{name}" of table "{table.name}" already exists', sqlstate="42710")
    return Check(name=name, expression=expression, text=shown(tree))


def default_of(column: Column, tree: exp.Expr) -> Expression:
    """A DEFAULT bound and cast to its column's type: constants exactly, all else by assignment."""
    if any(isinstance(node, (exp.Column, exp.Query)) for node in tree.walk()):
        raise refuse("a column or a subquery in DEFAULT", "Use constants and functions such as now().")
    constant = simple_value(tree, column, parameters=(), zone="UTC")
    if constant is not COMPLEX:
        return Literal(value=literal_value(constant, column.type), type=column.type)
    expression = bind_expression(tree, None, type=column.type)
    check_supported(expression)
    return expression


def _read_clause(draft: _Draft, clause: exp.Expr) -> None:
    match clause:
        case exp.ColumnDef():
            _read_column(draft, clause, id=len(draft.columns) + 1)
        case exp.PrimaryKey():
            _read_primary_key(draft, clause)
        case exp.CheckColumnConstraint():
            only_parts(clause, "this")
            draft.checks.append((None, None, clause.this))
        case exp.UniqueColumnConstraint():
            draft.uniques.append(unique_of(clause))
        case exp.Constraint():
            _read_constraint(draft, clause)
        case _:
            raise refuse_node(clause)


def _read_constraint(draft: _Draft, constraint: exp.Constraint) -> None:
    name = name_of(constraint.this)
    for item in constraint.expressions:
        match item:
            case exp.PrimaryKey():
                _read_primary_key(draft, item)
            case exp.CheckColumnConstraint():
                only_parts(item, "this")
                draft.checks.append((name, None, item.this))
            case exp.UniqueColumnConstraint():
                draft.uniques.append(unique_of(item, name=name))
            case _:
                raise refuse_node(item)


def _read_primary_key(draft: _Draft, clause: exp.PrimaryKey) -> None:
    _no_include(clause)
    names = [name_of(item.this if isinstance(item, exp.Ordered) else item) for item in clause.expressions]
    _set_primary_key(draft, names)


def unique_of(clause: exp.UniqueColumnConstraint, *, name: str | None = None, column: str | None = None) -> Unique:
    """A UNIQUE constraint: of ``column``, or of the columns that it names."""
    _no_include(clause, "UNIQUE", "this", "nulls")
    named = clause.this.expressions if isinstance(clause.this, exp.Schema) else []
    columns = (column,) if column is not None else tuple(map(name_of, named))
    return Unique(name=name, columns=columns, nulls_distinct=not clause.args.get("nulls"))


def _set_primary_key(draft: _Draft, names: list[str]) -> None:
    if draft.primary_key is not None:
        raise Invalid(f'table "{draft.name}" has more than one primary key', sqlstate="42P16")
    draft.primary_key = names


def _no_include(clause: exp.Expr, what: str = "PRIMARY KEY", *parts: str) -> None:
    only_parts(clause, "this", "expressions", "include", *parts)
    include = clause.args.get("include")
    if include is not None and any(value for value in include.args.values()):
        raise refuse(f"INCLUDE, WITH or USING in {what}", "Leave it out; the row holds all columns.")


def _read_column(draft: _Draft, definition: exp.ColumnDef, *, id: int) -> None:
    only_parts(definition, "this", "kind", "constraints", "exists")
    name = name_of(definition.this)
    kind: exp.DataType | None = definition.args.get("kind")
    if kind is None:
        raise Invalid(f'column "{name}" has no type', hint=f"Write {name} BIGINT, or another type.", sqlstate="42601")
    serial = _SERIAL.get(kind.this)
    type = serial or type_of(kind)
    column = Column(
        id=id,
        name=name,
        type=type,
        nullable=serial is None,
        identity=None if serial is None else Identity.BY_DEFAULT,
    )
    check_name: str | None = None
    for constraint in definition.args.get("constraints") or ():
        if not isinstance(constraint, exp.ColumnConstraint):
            raise refuse_node(constraint)
        given = constraint.args.get("this")
        check_name = name_of(given) if given is not None else None
        column = _read_column_constraint(draft, column, constraint.kind, name=check_name)
    draft.columns.append(column)


def _read_column_constraint(draft: _Draft, column: Column, kind: exp.Expr, *, name: str | None) -> Column:
    match kind:
        case exp.NotNullColumnConstraint():
            return column if kind.args.get("allow_null") else _not_null(column)
        case exp.DefaultColumnConstraint():
            if column.name in draft.defaults or column.identity is not None:
                raise Invalid(f'column "{column.name}" has more than one default', sqlstate="42601")
            draft.defaults[column.name] = kind.this
            return column
        case exp.CheckColumnConstraint():
            only_parts(kind, "this")
            draft.checks.append((name, column.name, kind.this))
            return column
        case exp.PrimaryKeyColumnConstraint():
            _no_include(kind)
            _set_primary_key(draft, [column.name])
            return column
        case exp.UniqueColumnConstraint():
            draft.uniques.append(unique_of(kind, name=name, column=column.name))
            return column
        case exp.GeneratedAsIdentityColumnConstraint():
            return _with_identity(draft, column, kind)
        case _:
            raise refuse_node(kind)


def _with_identity(draft: _Draft, column: Column, kind: exp.GeneratedAsIdentityColumnConstraint) -> Column:
    if kind.args.get("expression") is not None:
        raise refuse_node(exp.ComputedColumnConstraint())
    for part in ("start", "increment", "minvalue", "maxvalue", "cycle", "order"):
        value = kind.args.get(part)
        if value and not (part in ("start", "increment", "minvalue") and value.name == "1"):
            raise refuse(f"{part.upper()} of an identity column", "Values start at 1 and grow, with gaps.")
    if not column.type.is_integer:
        raise Invalid(
            f'identity column "{column.name}" must be smallint, integer or bigint, not {column.type}', sqlstate="22023"
        )
    if column.name in draft.defaults or column.identity is not None:
        raise Invalid(f'column "{column.name}" has more than one default', sqlstate="42601")
    always = bool(kind.this)
    return replace(column, nullable=False, identity=Identity.ALWAYS if always else Identity.BY_DEFAULT)


def _not_null(column: Column) -> Column:
    return replace(column, nullable=False) if column.nullable else column


def _with_default(draft: _Draft, column: Column) -> Column:
    tree = draft.defaults.get(column.name)
    if tree is None or isinstance(tree, exp.Null):
        return column
    expression = default_of(column, tree)
    return replace(column, default=expression, default_text=shown(tree))


_NOT_IN_KEYS: Final = {
    Kind.INTERVAL: "INTERVAL and JSON have several spellings of one value.",
    Kind.JSON: "INTERVAL and JSON have several spellings of one value.",
    Kind.JSONB: "INTERVAL and JSON have several spellings of one value.",
    Kind.ARRAY: "Keys are of plain columns: a number of the row's own, or a TEXT column with array_to_string(…) in it.",
}


def _check_columns(draft: _Draft) -> None:
    if len(draft.columns) > COLUMNS_MAX:
        raise Invalid(f'table "{draft.name}" has more than {COLUMNS_MAX} columns', sqlstate="54011")
    by_name: dict[str, Column] = {}
    for column in draft.columns:
        _check_name(column.name)
        if column.name in by_name:
            raise Invalid(f'column "{column.name}" is given twice', sqlstate="42701")
        by_name[column.name] = column
    for name in draft.primary_key or ():
        found = by_name.get(name)
        if found is None:
            raise Invalid(f'column "{name}" named in the primary key does not exist', sqlstate="42703")
        _check_key(found, "a primary key")
    if len(set(draft.primary_key or ())) < len(draft.primary_key or ()):
        raise Invalid("a column stands twice in the primary key", sqlstate="42701")


def _check_key(column: Column, what: str) -> None:
    if column.type.kind in _NOT_IN_KEYS:
        raise Invalid(
            f'column "{column.name}" of type {column.type} cannot be part of {what}',
            hint=_NOT_IN_KEYS[column.type.kind],
            sqlstate="42P16",
        )


def _check_name(name: str) -> None:
    if name == ROW_ID_NAME:
        raise Invalid(f'column name "{name}" is reserved', hint="It is the hidden row id.", sqlstate="42939")
