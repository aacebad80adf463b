"""GROUP BY: which expressions are keys, and that nothing else escapes it.

After grouping a row is a group: it has the keys and the aggregates, under identifiers of their own. ``Grouper`` puts
these identifiers in place of every part of an expression that equals a key, and of every aggregate; a column that is
left over is refused (42803), unless it belongs to a table whose whole primary key is grouped by, which makes it a key,
too, as in PostgreSQL.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from sqlglot import exp

from ...base.errors import Invalid
from ...base.limits import GROUPING_SETS_MAX
from ...engine.expression.node import Literal
from .. import bound
from ..walk import Node, alike, columns_read, rewrite, rewrite_inside, walk
from .context import Context
from .errors import unsupported
from .scope import Scope
from .tables import relation_columns


def grouping_sets(group: exp.Group) -> tuple[list[exp.Expr], list[tuple[int, ...]] | None]:
    """The expressions of GROUP BY in order, and the grouping sets as indices into them; None: just one set of all.

    ``GROUP BY a, ROLLUP (b, c)`` is the cross product of the sets of its elements: (a), and (b, c), (b), ().
    """
    trees: list[exp.Expr] = []

    def add(tree: exp.Expr) -> tuple[int, ...]:
        parts = tree.expressions if isinstance(tree, exp.Tuple) else [tree]
        indices = tuple(range(len(trees), len(trees) + len(parts)))
        trees.extend(parts)
        return indices

    listed = [
        tree for name in ("expressions", "grouping_sets", "rollup", "cube") for tree in group.args.get(name) or ()
    ]
    special = any(isinstance(tree, exp.Rollup | exp.Cube | exp.GroupingSets) or _is_empty(tree) for tree in listed)
    elements = [_sets(tree, add) for tree in listed]
    for name, value in group.args.items():
        if value and name not in ("expressions", "grouping_sets", "rollup", "cube"):
            raise unsupported(f"GROUP BY {name.upper()}", group)
    if not special:
        return trees, None
    sets = [tuple(itertools.chain(*combination)) for combination in itertools.product(*elements)]
    if len(sets) > GROUPING_SETS_MAX:
        raise Invalid(f"too many grouping sets present (maximum {GROUPING_SETS_MAX})", sqlstate="54001")
    return trees, sets


def _is_empty(tree: exp.Expr) -> bool:
    """``GROUP BY ()``."""
    return isinstance(tree, exp.Tuple) and not tree.expressions


def _sets(tree: exp.Expr, add: Callable[[exp.Expr], tuple[int, ...]]) -> list[tuple[int, ...]]:
    match tree:
        case exp.Rollup():
            parts = [add(part) for part in tree.expressions]
            return [tuple(itertools.chain(*parts[:count])) for count in range(len(parts), -1, -1)]
        case exp.Cube():
            parts = [add(part) for part in tree.expressions]
            return [
                tuple(itertools.chain(*chosen))
                for count in range(len(parts), -1, -1)
                for chosen in itertools.combinations(parts, count)
            ]
        case exp.GroupingSets():
            return [one for part in tree.expressions for one in _sets(part, add)]
        case exp.Paren():
            return [add(tree.this)]
        case _:
            return [add(tree)]


@dataclass(kw_only=True)
class Grouper:
    """Collects keys and aggregates of one SELECT, and rewrites expressions to speak of groups."""

    context: Context
    scope: Scope
    source: bound.Relation | None
    sets: bool = False
    keys: list[bound.Output] = field(default_factory=list)
    aggregates: list[bound.Output] = field(default_factory=list)
    _own: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        columns = relation_columns(self.source) if self.source is not None else ()
        self._own = frozenset(column.id for column in columns)

    def add_key(self, expression: bound.Bound) -> int:
        """The index of the key; equal expressions are one key."""
        for index, key in enumerate(self.keys):
            if alike(key.expression, expression):
                return index
        column = self.context.new_column(f"key{len(self.keys) + 1}", expression.type)
        self.keys.append(bound.Output(column=column, expression=expression))
        return len(self.keys) - 1

    def rewrite(self, expression: bound.Bound) -> bound.Bound:
        """``expression`` over keys and aggregates. Raises Invalid (42803) for a column that is neither."""
        return rewrite(expression, self._replace)

    def _replace(self, node: Node) -> Node | None:
        if isinstance(node, bound.Aggregate):
            return node if node.outer else self._aggregate(node)
        if isinstance(node, bound.GroupingCall):
            return self._grouping_call(node)
        if isinstance(node, bound.Select | bound.SetOperation | bound.Values | bound.With):
            return rewrite_inside(node, self._replace_column)
        return self._replace_column(node)

    def _replace_column(self, node: Node) -> Node | None:
        """Keys and columns; also inside subqueries, whose aggregates are their own but for those of ``outer``."""
        for key in self.keys:
            if node.__class__ is key.expression.__class__ and alike(node, key.expression):
                return key.column.reference()
        if isinstance(node, bound.Aggregate) and self._owns(node):
            return self._aggregate(dataclasses.replace(node, outer=False))
        if isinstance(node, bound.Column) and node.id in self._own:
            if self._depends_on_keys(node):
                return self.keys[self.add_key(node)].column.reference()
            self._refuse(node)
        return None

    def _aggregate(self, node: bound.Aggregate | bound.GroupingCall) -> Node:
        for output in self.aggregates:
            if output.expression == node:
                return output.column.reference()
        column = self.context.new_column(f"aggregate{len(self.aggregates) + 1}", node.type)
        self.aggregates.append(bound.Output(column=column, expression=node))
        return column.reference()

    def _grouping_call(self, node: bound.GroupingCall) -> Node:
        """GROUPING() over the keys' own columns; without grouping sets no key is ever left out."""
        columns = [key.column for wanted in node.keys for key in self.keys if key.expression == wanted]
        if len(columns) != len(node.keys):
            raise Invalid(
                "arguments to GROUPING must be grouping expressions of the associated query level",
                sqlstate="42803",
                position=self.context.origin(node),
            )
        if not self.sets:
            return Literal(value=0, type=node.type)
        keys = tuple(column.reference() for column in columns)
        return self._aggregate(bound.GroupingCall(keys=keys, type=node.type))

    def _owns(self, node: bound.Aggregate) -> bool:
        """Whether an aggregate in a subquery is of this level."""
        return node.outer and not self._own.isdisjoint(columns_read(node))

    def has_aggregate(self, nodes: Sequence[bound.Bound]) -> bool:
        """Whether an aggregate of this level occurs."""
        found = False

        def look(node: Node) -> Node | None:
            nonlocal found
            if isinstance(node, bound.Select | bound.SetOperation | bound.Values | bound.With):
                found = found or any(isinstance(item, bound.Aggregate) and self._owns(item) for item in walk(node))
                return node
            if isinstance(node, bound.Aggregate | bound.GroupingCall):
                found = found or isinstance(node, bound.GroupingCall) or not node.outer
                return node
            return None

        for node in nodes:
            rewrite(node, look)
        return found

    def _depends_on_keys(self, node: bound.Column) -> bool:
        scan = next((scan for scan in scans(self.source) if any(c.id == node.id for c in scan.columns)), None)
        if scan is None or not scan.table.primary_key or self.sets:
            return False
        by_source = {source: column.id for source, column in zip(scan.sources, scan.columns, strict=True)}
        grouped = {key.expression.id for key in self.keys if isinstance(key.expression, bound.Column)}
        return all(by_source[source] in grouped for source in scan.table.primary_key)

    def _refuse(self, node: bound.Column) -> NoReturn:
        owner = next(
            (
                range.name
                for range in self.scope.ranges
                for column in range.columns
                if isinstance(column.value, bound.Column) and column.value.id == node.id
            ),
            None,
        )
        name = f"{owner}.{node.name}" if owner else node.name
        raise Invalid(
            f'column "{name}" must appear in the GROUP BY clause or be used in an aggregate function',
            sqlstate="42803",
            position=self.context.origin(node),
        )


def scans(relation: bound.Relation | None) -> Sequence[bound.Scan]:
    """The tables that a relation reads directly."""
    match relation:
        case bound.Scan():
            return [relation]
        case bound.Join():
            return [*scans(relation.left), *scans(relation.right)]
        case _:
            return []
