"""FROM: tables, views, WITH queries, subqueries, functions, and how they join.

An item of FROM is a relation and the names it brings: its tables by alias (``ranges``) and the columns that an
unqualified name or ``*`` sees. LATERAL items and functions also see the items to their left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
from sqlglot import exp

from ...base.errors import Invalid, nearest
from ...base.limits import VIEW_DEPTH_MAX
from ...base.types import BIGINT, Kind, Type, type_of_field
from ...engine import schema
from ...engine.expression.functions import common_type
from ...engine.expression.node import Literal
from .. import bound
from ..parse import parse, place
from ..pushdown import conjuncts
from ..walk import walk
from .binder import Clause
from .context import Context, types_of
from .errors import fail, only, unsupported
from .expressions import expressions
from .names import fold
from .retype import resolved, with_types
from .scope import BESIDE, CteEntry, Range, Scope, ScopeColumn
from .table_functions import RECORDS, function_scan, records


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A relation in FROM and its names."""

    relation: bound.Relation
    ranges: tuple[Range, ...]
    columns: tuple[ScopeColumn, ...]


def bind_from(context: Context, tree: exp.Select, outer: Scope) -> tuple[bound.Relation | None, Scope]:
    """The relation that FROM makes, and the scope for the rest of the SELECT."""
    clause = tree.args.get("from_")
    if clause is None:
        return None, Scope(parent=outer)
    if tree.args.get("laterals"):
        raise unsupported("LATERAL VIEW", tree)
    items = bind_list(context, clause.this, tree.args.get("joins") or [], outer)
    return items.relation, _scope(items, outer)


def bind_list(context: Context, first: exp.Expr, joins: Sequence[exp.Join], outer: Scope) -> Item:
    """``first, second JOIN third ...``: a comma begins a new chain of joins, and all chains cross."""
    chains: list[tuple[exp.Expr, list[exp.Join]]] = [(first, [])]
    for join in joins:
        if _is_comma(join):
            chains.append((join.this, []))
        else:
            chains[-1][1].append(join)
    whole: Item | None = None
    for start, chain in chains:
        item = _item(context, start, outer, whole)
        for join in chain:
            item = _join(context, join, item, outer, whole)
        whole = item if whole is None else _combined(bound.JoinKind.CROSS, whole, item, None)
    assert whole is not None, "FROM has at least one item"
    return whole


def _is_comma(join: exp.Join) -> bool:
    return not any(join.args.get(name) for name in ("on", "using", "side", "kind", "method"))


def _scope(item: Item | None, outer: Scope) -> Scope:
    if item is None:
        return outer
    return Scope(parent=outer, ranges=item.ranges, columns=item.columns)


def _combined(kind: bound.JoinKind, left: Item, right: Item, condition: bound.Bound | None) -> Item:
    relation = bound.Join(
        kind=kind, left=left.relation, right=right.relation, condition=condition, lateral=_is_lateral(right.relation)
    )
    nullable = (kind in _NULLABLE_LEFT, kind in _NULLABLE_RIGHT)
    ranges = tuple(
        replace(range, nullable=True) if no_row and not range.nullable else range
        for item, no_row in zip((left, right), nullable, strict=True)
        for range in item.ranges
    )
    _check_distinct(left, right)
    return Item(relation=relation, ranges=ranges, columns=left.columns + right.columns)


_NULLABLE_LEFT: Final = (bound.JoinKind.RIGHT, bound.JoinKind.FULL)
_NULLABLE_RIGHT: Final = (bound.JoinKind.LEFT, bound.JoinKind.FULL, bound.JoinKind.ASOF_LEFT)


def _is_lateral(relation: bound.Relation) -> bool:
    match relation:
        case bound.Derived():
            return relation.lateral
        case bound.FunctionScan():
            return True
        case _:
            return False


def _check_distinct(left: Item, right: Item) -> None:
    names = {range.name for range in left.ranges}
    for range in right.ranges:
        if range.name in names:
            raise Invalid(
                f'table name "{range.name}" specified more than once',
                sqlstate="42712",
                hint="Give one of them another name with AS.",
            )


_KINDS: Final = {
    "": bound.JoinKind.INNER,
    "INNER": bound.JoinKind.INNER,
    "LEFT": bound.JoinKind.LEFT,
    "RIGHT": bound.JoinKind.RIGHT,
    "FULL": bound.JoinKind.FULL,
    "CROSS": bound.JoinKind.CROSS,
}


def _join(context: Context, tree: exp.Join, left: Item, outer: Scope, before: Item | None) -> Item:
    """``left JOIN tree.this``; ``before`` are the chains to the left, which only LATERAL sees."""
    only(tree, "this", "on", "using", "side", "kind", "method", what="JOIN")
    if tree.method not in ("", "NATURAL", "ASOF") or tree.kind not in ("", "INNER", "CROSS", "OUTER"):
        raise unsupported(f"{tree.method} {tree.kind} JOIN".strip(), tree)
    kind = _KINDS[tree.side or ("CROSS" if tree.kind == "CROSS" else "")]
    asof = tree.method == "ASOF"
    if asof:
        if kind not in (bound.JoinKind.INNER, bound.JoinKind.LEFT):
            raise unsupported(f"ASOF {kind.value}", tree, hint="ASOF JOIN and ASOF LEFT JOIN are.")
        kind = bound.JoinKind.ASOF if kind is bound.JoinKind.INNER else bound.JoinKind.ASOF_LEFT
    visible = left if before is None else replace(left, ranges=before.ranges + left.ranges,
                                                  columns=before.columns + left.columns)  # fmt: skip
    right = _item(context, tree.this, outer, visible)
    if kind in (bound.JoinKind.RIGHT, bound.JoinKind.FULL) and _is_lateral(right.relation) and _correlated(right, left):
        raise fail(f"LATERAL is not possible on the right side of a {tree.side} JOIN", tree, sqlstate="42P10")
    if tree.method == "NATURAL" or tree.args.get("using"):
        return _join_using(context, tree, kind, left, right, outer)
    item = _combined(kind, left, right, None)
    if kind is bound.JoinKind.CROSS:
        return item
    binder = expressions(context, _scope(item, outer), Clause(name="JOIN conditions"))
    condition = binder.condition(tree.args["on"], what="JOIN/ON")
    assert isinstance(item.relation, bound.Join), "two items make a join"
    if asof:
        _check_asof(condition, left, tree)
    return replace(item, relation=replace(item.relation, condition=condition))


def _check_asof(condition: bound.Bound, left: Item, tree: exp.Join) -> None:
    """One comparison of times, equalities beside it, each of one side with the other. Raises Invalid (42601)."""
    ids = {column.id for column in relation_columns(left.relation)}

    def sides(node: bound.Bound) -> set[bool]:
        return {part.id in ids for part in walk(node) if isinstance(part, bound.Column)}

    parts = conjuncts(condition)
    known = all(
        isinstance(part, bound.Call)
        and part.function in ("equal", *_ORDERED)
        and sorted(map(sorted, map(sides, part.arguments))) == [[False], [True]]
        for part in parts
    )
    if not known or sum(isinstance(part, bound.Call) and part.function in _ORDERED for part in parts) != 1:
        hint = "For example: ON a.id = b.id AND a.at >= b.at. Put other conditions into WHERE or a subquery."
        message = "ASOF JOIN takes one comparison of times, and equalities"
        raise fail(message, tree.args["on"], sqlstate="42601", hint=hint)


_ORDERED: Final = ("less", "less_equal", "greater", "greater_equal")


def _correlated(right: Item, left: Item) -> bool:
    ids = {column.id for column in relation_columns(left.relation)}
    return any(isinstance(node, bound.Column) and node.id in ids for node in walk(right.relation))


def _join_using(context: Context, tree: exp.Join, kind: bound.JoinKind, left: Item, right: Item, outer: Scope) -> Item:
    """USING (a, b) and NATURAL: the named columns are equal, and appear once, in front."""
    if tree.method == "NATURAL":
        there = {column.name for column in right.columns}
        names = list(dict.fromkeys(column.name for column in left.columns if column.name in there))
    else:
        names = [fold(identifier) for identifier in tree.args["using"]]
    binder = expressions(context, outer, Clause(name="JOIN conditions"))
    conditions: list[bound.Bound] = []
    merged: list[ScopeColumn] = []
    for number, name in enumerate(names, start=1):
        a, b = _using_column(left, name, "left", tree), _using_column(right, name, "right", tree)
        latest = tree.method == "ASOF" and number == len(names)
        conditions.append(binder.call("greater_equal" if latest else "equal", a, b, tree=tree))
        type = common_type(types_of([a, b]), context="JOIN/USING")
        match kind:
            case bound.JoinKind.FULL:
                value = binder.call("coalesce", context.coerce(a, type), context.coerce(b, type), tree=tree)
            case bound.JoinKind.RIGHT:
                value = context.coerce(b, type)
            case _:
                value = context.coerce(a, type)
        merged.append(ScopeColumn(name, value))
    condition = conditions[0] if len(conditions) == 1 else bound.call("and", *conditions, type=_BOOLEAN)
    if not conditions:
        condition = Literal(value=True, type=_BOOLEAN)
    item = _combined(kind, left, right, condition)
    rest = tuple(column for column in item.columns if column.name not in names)
    return replace(item, columns=tuple(merged) + rest)


_BOOLEAN: Final = Type(kind=Kind.BOOLEAN)


def _using_column(item: Item, name: str, side: str, tree: exp.Join) -> bound.Bound:
    found = [column.value for column in item.columns if column.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise fail(f'common column name "{name}" appears more than once in {side} table', tree, sqlstate="42702")
    hint = nearest(name, {column.name for column in item.columns})
    message = f'column "{name}" specified in USING clause does not exist in {side} table'
    raise fail(message, tree, sqlstate="42703", hint=hint)


def _item(context: Context, tree: exp.Expr, outer: Scope, left: Item | None) -> Item:
    """One item of FROM. ``left`` is what LATERAL sees."""
    match tree:
        case exp.Table() if isinstance(tree.this, exp.Values):
            item = _derived(context, tree.this, tree.args.get("alias"), outer, lateral=False)
            return _nested(context, tree, item, outer)
        case exp.Table() if tree.args.get("rows_from"):
            raise unsupported("ROWS FROM", tree)
        case exp.Table() if isinstance(tree.this, exp.Anonymous):
            only(tree, "this", "alias", "joins", "ordinality", what="FROM")
            return _nested(context, tree, _function(context, tree.this, tree, _scope(left, outer)), outer)
        case exp.Table():
            only(tree, "this", "db", "alias", "joins", "only", "version", "sample", what="FROM")
            clause = tree.args.get("version")
            if clause is None:
                item = _table(context, tree, outer)
            else:
                with context.looking_back(clause):
                    item = _table(context, tree, outer)
            sample = tree.args.get("sample")
            return _nested(context, tree, item if sample is None else _sampled(context, item, sample, outer), outer)
        case exp.Unnest():
            return _function(context, tree, tree, _scope(left, outer))
        case exp.Lateral():
            only(tree, "this", "alias", "ordinality", what="LATERAL")
            if isinstance(tree.this, exp.Subquery):
                return _derived(context, tree.this, tree.args.get("alias"), _scope(left, outer), lateral=True)
            return _function(context, tree.this, tree, _scope(left, outer))
        case exp.Subquery() if _holds_relations(tree):
            return _parenthesized(context, tree, outer)
        case exp.Subquery():
            item = _derived(context, tree, tree.args.get("alias"), outer, lateral=False)
            return _nested(context, tree, item, outer)
        case exp.Values():
            return _derived(context, tree, tree.args.get("alias"), outer, lateral=False)
        case _:
            raise unsupported(f"{tree.key.upper()} in FROM", tree)


def _sampled(context: Context, item: Item, sample: exp.TableSample, outer: Scope) -> Item:
    """``t TABLESAMPLE BERNOULLI (percent)``: each row by a random number of its own; SYSTEM is the same here."""
    only(sample, "method", "percent", "size", what="TABLESAMPLE")
    method = sample.args.get("method")
    if method is None or method.name.upper() not in ("BERNOULLI", "SYSTEM"):
        raise unsupported(f"TABLESAMPLE {method.name if method is not None else ''}".strip(), sample)
    if not isinstance(item.relation, bound.Scan):
        message = "TABLESAMPLE clause can only be applied to tables and materialized views"
        raise fail(message, sample, sqlstate="42809")
    tree = sample.args.get("percent") or sample.args.get("size")
    if tree is None or any(isinstance(part, exp.Column) for part in tree.walk()):
        raise fail("argument of TABLESAMPLE must be a percentage", sample, sqlstate="42601")
    binder = expressions(context, outer, Clause(name="TABLESAMPLE", subqueries=False))
    share = binder.typed(tree, _DOUBLE, what="argument of TABLESAMPLE")
    if isinstance(share, Literal) and not (isinstance(share.value, float) and 0 <= share.value <= 100):
        raise fail("sample percentage must be between 0 and 100", sample, sqlstate="2202H")
    hundred = Literal(value=100.0, type=_DOUBLE)
    drawn = bound.call("multiply", bound.call("random", type=_DOUBLE), hundred, type=_DOUBLE)
    outputs = tuple(
        bound.Output(column=context.new_column(column.name, column.type), expression=column.reference())
        for column in item.relation.columns
    )
    where = bound.call("less", drawn, share, type=_BOOLEAN)
    query = bound.Select(source=item.relation, where=where, grouping=None, having=None, outputs=outputs)
    columns = tuple(context.new_column(output.column.name, output.column.type) for output in outputs)
    moved = {old.id: new.reference() for old, new in zip(item.relation.columns, columns, strict=True)}

    def there(column: ScopeColumn) -> ScopeColumn:
        assert isinstance(column.value, bound.Column), "a table's names are its columns"
        return ScopeColumn(column.name, moved[column.value.id])

    (range,) = item.ranges
    row_id = None if range.row_id is None else moved[range.row_id.id]
    witness = moved[range.witness.id] if isinstance(range.witness, bound.Column) else None
    renamed = replace(range, columns=tuple(map(there, range.columns)), row_id=row_id, witness=witness)
    relation = bound.Derived(reference=context.new_reference(), query=query, columns=columns)
    return Item(relation=relation, ranges=(renamed,), columns=tuple(map(there, item.columns)))


_DOUBLE: Final = Type(kind=Kind.DOUBLE)


def _nested(context: Context, tree: exp.Expr, item: Item, outer: Scope) -> Item:
    """``a JOIN b JOIN c ON ... ON ...``: the inner join hangs below the table."""
    for join in tree.args.get("joins") or ():
        item = _join(context, join, item, outer, None)
    return item


def _holds_relations(tree: exp.Subquery) -> bool:
    """Whether parentheses in FROM are around tables and joins, and not around a query."""
    inner = tree.this
    if isinstance(inner, exp.Table):
        return True
    named = inner.args.get("alias") is not None or bool(inner.args.get("joins"))
    return isinstance(inner, exp.Subquery) and (named or _holds_relations(inner))


def _parenthesized(context: Context, tree: exp.Subquery, outer: Scope) -> Item:
    """``(a JOIN b ON ...)``; with an alias it is one table and the names inside are hidden."""
    item = bind_list(context, tree.this, tree.args.get("joins") or [], outer)
    alias = tree.args.get("alias")
    if alias is None:
        return item
    name = fold(alias.this)
    return replace(item, ranges=(Range(name=name, columns=_renamed(item.columns, alias)),),
                   columns=_renamed(item.columns, alias))  # fmt: skip


def _table(context: Context, tree: exp.Table, outer: Scope) -> Item:
    """A name in FROM: a WITH query, a relation given as Arrow, a view or a table."""
    name = fold(tree.this)
    database = tree.args.get("db")
    space = fold(database) if database is not None else None
    alias = tree.args.get("alias")
    entry = outer.cte(name) if space is None else None
    given = _given(context, name, space) if entry is None else None
    if tree.args.get("version") and (entry is not None or given is not None):
        what = "a WITH query" if given is None else "a relation that tells of this moment"
        raise unsupported(f'AS OF on "{name}", {what},', tree, hint="AS OF goes with a table or a view.")
    if entry is not None:
        return _cte(context, entry, alias)
    if given is not None:
        return _arrow(context, given, name, alias)
    if space not in (None, "public"):
        raise fail(f'relation "{space}.{name}" does not exist', tree, sqlstate="42P01")
    try:
        relation = context.catalog.relation(name)
    except Invalid as error:
        error.position = tree.this.meta.get("start")
        raise
    context.depends_on[relation.id] = None
    if isinstance(relation, schema.View):
        return _view(context, relation, alias, tree)
    label = fold(alias.this) if alias is not None and alias.this is not None else name
    scan, row_id = _scan(context, relation, label), None
    shown = columns = scan.columns
    if not relation.primary_key:
        hidden = context.new_column(schema.ROW_ID_NAME, BIGINT)
        columns, row_id = (*shown, hidden), hidden.reference()
        scan = replace(scan, columns=columns, sources=(*scan.sources, schema.ROW_ID))
    witness = row_id or columns[scan.sources.index(relation.primary_key[0])].reference()
    return _ranged(scan, shown, label, alias, row_id=row_id, witness=witness)


def _scan(context: Context, table: schema.Table, label: str) -> bound.Scan:
    return bound.Scan(
        reference=context.new_reference(),
        table=table,
        alias=label,
        columns=tuple(context.new_column(column.name, column.type) for column in table.columns),
        sources=tuple(column.id for column in table.columns),
        past=context.past,
    )


def _given(context: Context, name: str, space: str | None) -> str | None:
    """The key in ``relations`` that a name means; pg_catalog is searched without being named."""
    keys = [f"{space}.{name}"] if space is not None else [name]
    if space is None and name not in context.catalog.relations:
        keys.append(f"pg_catalog.{name}")
    return next((key for key in keys if key in context.relations), None)


def _arrow(context: Context, key: str, name: str, alias: exp.TableAlias | None) -> Item:
    fields: pa.Schema = context.relations[key]
    columns = tuple(context.new_column(field.name, type_of_field(field)) for field in fields)
    label = fold(alias.this) if alias is not None and alias.this is not None else name
    scan = bound.ArrowScan(
        reference=context.new_reference(),
        name=key,
        alias=label,
        columns=columns,
        sources=tuple(field.name for field in fields),
    )
    item = _ranged(scan, columns, label, alias)
    own = tuple(column for column in item.columns if not column.name.startswith(BESIDE))
    return item if len(own) == len(columns) else replace(item, ranges=(replace(item.ranges[0], columns=own),))


def _cte(context: Context, entry: CteEntry, alias: exp.TableAlias | None) -> Item:
    columns = tuple(context.new_column(column.name, column.type) for column in entry.columns)
    reference = bound.CteReference(reference=context.new_reference(), cte=entry.id, columns=columns)
    label = fold(alias.this) if alias is not None and alias.this is not None else entry.name
    return _ranged(reference, columns, label, alias)


def _view(context: Context, view: schema.View, alias: exp.TableAlias | None, tree: exp.Expr) -> Item:
    """A view is its query, bound in a scope of its own; a maintained one is what its groups hold."""
    label = fold(alias.this) if alias is not None and alias.this is not None else view.name
    if view.rows is not None and view.rows.id not in context.settings.computed:
        scan = _scan(context, view.rows, label)
        return _ranged(scan, scan.columns, label, alias)
    if view.maintained is not None and view.maintained.id in context.settings.incomplete:
        raise fail(
            f'the view "{view.name}" cannot be read by a transaction that has written its table: it retains rows that '
            "the table has forgotten",
            tree,
            sqlstate="55000",
            hint="Read it before you write, or after the commit.",
        )
    if context.view_depth >= VIEW_DEPTH_MAX:
        raise fail(f'the view "{view.name}" is nested more than {VIEW_DEPTH_MAX} deep', tree, sqlstate="54001")
    context.view_depth += 1
    try:
        query = context.bind_query(context, parse(view.query), Scope())
    except Invalid as error:
        error.position = place(tree)
        error.message = f'in the view "{view.name}": {error.message}'
        error.args = (error.message,)
        raise
    finally:
        context.view_depth -= 1
    if len(query.columns) != len(view.columns):
        raise fail(f'the view "{view.name}" no longer fits its tables', tree, sqlstate="42P17", hint="Create it again.")
    query = with_types(context, query, [type for _, type in view.columns])
    columns = tuple(context.new_column(name, type) for name, type in view.columns)
    derived = bound.Derived(reference=context.new_reference(), query=query, columns=columns)
    return _ranged(derived, columns, label, alias)


def _derived(context: Context, tree: exp.Expr, alias: exp.TableAlias | None, scope: Scope, *, lateral: bool) -> Item:
    if alias is None or alias.this is None:
        hint = "For example: FROM (SELECT ...) AS t."
        raise fail("subquery in FROM must have an alias", tree, sqlstate="42601", hint=hint)
    query = resolved(context, context.bind_query(context, tree, scope))
    columns = tuple(context.new_column(column.name, column.type) for column in query.columns)
    derived = bound.Derived(reference=context.new_reference(), query=query, columns=columns, lateral=lateral)
    return _ranged(derived, columns, fold(alias.this), alias)


def _ranged(
    relation: bound.Relation,
    columns: Sequence[bound.OutputColumn],
    name: str,
    alias: exp.TableAlias | None,
    *,
    row_id: bound.Column | None = None,
    witness: bound.Bound | None = None,
) -> Item:
    named = tuple(ScopeColumn(column.name, column.reference()) for column in columns)
    if alias is not None:
        only(alias, "this", "columns", what="the alias of a table")
        named = _renamed(named, alias)
    range = Range(name=name, columns=named, row_id=row_id, witness=witness)
    return Item(relation=relation, ranges=(range,), columns=named)


def _renamed(columns: tuple[ScopeColumn, ...], alias: exp.TableAlias) -> tuple[ScopeColumn, ...]:
    names = [fold(_identifier(item)) for item in alias.args.get("columns") or ()]
    if len(names) > len(columns):
        message = f'table "{fold(alias.this)}" has {len(columns)} columns available but {len(names)} columns specified'
        raise fail(message, alias, sqlstate="42P10")
    renamed = tuple(ScopeColumn(name, column.value) for name, column in zip(names, columns, strict=False))
    return renamed + columns[len(names) :]


def _identifier(tree: exp.Expr) -> exp.Expr:
    """The name in an alias's column list; a column definition (``AS t(a int)``) is refused."""
    if isinstance(tree, exp.ColumnDef):
        if tree.args.get("kind") is not None:
            raise unsupported("a column definition list", tree)
        return tree.this
    return tree


def _function(context: Context, call: exp.Expr, tree: exp.Expr, scope: Scope) -> Item:
    if isinstance(call, exp.Anonymous) and call.name.lower() in RECORDS:
        return _ranged(*records(context, call, tree, scope), None)
    scan = function_scan(context, call, tree, scope)
    alias = tree.args.get("alias")
    name = "unnest" if isinstance(call, exp.Unnest) else fold(call.this)
    label = fold(alias.this) if alias is not None and alias.this is not None else name
    item = _ranged(scan, scan.columns, label, alias)
    if len(scan.columns) != 1:
        return item
    (range,) = item.ranges
    return replace(item, ranges=(replace(range, scalar=range.columns[0].value),))


def relation_columns(relation: bound.Relation) -> tuple[bound.OutputColumn, ...]:
    """All columns of a relation, those of joins from both sides."""
    if isinstance(relation, bound.Join):
        return relation_columns(relation.left) + relation_columns(relation.right)
    return relation.columns
