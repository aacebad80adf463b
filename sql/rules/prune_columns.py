"""Read no column that nobody asks for.

Top down: a subquery's column that is not used outside is not computed inside, then a table's column that is not used
is not scanned. A scan of which nothing is used (``count(*)``) keeps its narrowest column: rows must still be counted.
DISTINCT, set operations, recursion and set-returning functions give every column a meaning; they are left alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

from ...engine import schema
from ...engine.expression.node import Call, Case, Cast, Column
from .. import bound
from ..walk import QUERIES, Node, arrow_scans_among, uses_among, walk
from ..walk import rewrite as rewritten


def rewrite(query: bound.BoundQuery) -> bound.BoundQuery:
    tree, nodes = query.query, walk(query.query)
    while any(isinstance(node, bound.Derived) for node in nodes):
        pruned = _round(tree, nodes)
        if pruned is tree:
            break
        tree, nodes = pruned, walk(pruned)
    return _with_scans(query, tree, nodes)


def effects(before: bound.BoundQuery, after: bound.BoundQuery) -> tuple[str, ...]:
    kept = {use.reference: use for use in after.uses}
    return tuple(
        f"{use.alias}: {len(kept[use.reference].columns)} of {len(use.columns)} columns"
        for use in before.uses
        if len(kept[use.reference].columns) < len(use.columns)
    )


def _used(nodes: Sequence[Node]) -> set[int]:
    return {node.id for node in nodes if isinstance(node, Column)}


def _round(tree: bound.Query, nodes: Sequence[Node]) -> bound.Query:
    """Drop the unused columns of subqueries once; what they used in turn falls in the next round."""
    used = _used(nodes)

    def replace(node: Node) -> Node | None:
        if not isinstance(node, bound.Derived) or not isinstance(node.query, bound.Select):
            return None
        inner = node.query
        if inner.distinct or any(isinstance(output.expression, bound.SetReturning) for output in inner.outputs):
            return None  # each column decides which rows there are, or how many
        kept = [index for index, column in enumerate(node.columns) if column.id in used] or [0]
        if len(kept) == len(node.columns):
            return None
        ordered = _used(walk(inner.order))
        if any(output.column.id in ordered for index, output in enumerate(inner.outputs) if index not in kept):
            return None
        return dataclasses.replace(
            node,
            query=rewritten(dataclasses.replace(inner, outputs=tuple(inner.outputs[index] for index in kept)), replace),
            columns=tuple(node.columns[index] for index in kept),
        )

    return rewritten(tree, replace)


def _with_scans(query: bound.BoundQuery, tree: bound.Query, nodes: Sequence[Node]) -> bound.BoundQuery:
    """The query with ``tree``, whose nodes are given, where its scans have the columns that are used."""
    used = _used(nodes)
    pruned = {id(node): node if (found := _pruned(node, used)) is None else found for node in nodes if _is_scan(node)}
    if all(pruned.get(id(node), node) is node for node in nodes):
        return query if tree is query.query else _with(query, tree, nodes)
    plain = not any(isinstance(node, QUERIES) for node in nodes)

    def replace(node: Node) -> Node | None:
        if id(node) in pruned:
            return pruned[id(node)]
        return node if plain and isinstance(node, _EXPRESSIONS) else None  # there are no scans inside

    return _with(query, rewritten(tree, replace), [pruned.get(id(node), node) for node in nodes])


def _with(query: bound.BoundQuery, tree: bound.Query, nodes: Sequence[Node]) -> bound.BoundQuery:
    return dataclasses.replace(query, query=tree, uses=uses_among(nodes), arrow_scans=arrow_scans_among(nodes))


_EXPRESSIONS: Final = (Call, Cast, Case, bound.Output, bound.Grouping, bound.SortKey)


def _is_scan(node: Node) -> bool:
    return isinstance(node, bound.Scan | bound.ArrowScan)


def _pruned(node: bound.Scan | bound.ArrowScan, used: set[int]) -> Node | None:
    """The scan with the columns that are used; None where it has no others."""
    kept = [index for index, column in enumerate(node.columns) if column.id in used]
    if not kept:
        kept = [_narrowest(node)]
    if len(kept) == len(node.columns):
        return None
    columns = tuple(node.columns[index] for index in kept)
    if isinstance(node, bound.Scan):
        return dataclasses.replace(node, columns=columns, sources=tuple(node.sources[index] for index in kept))
    return dataclasses.replace(node, columns=columns, sources=tuple(node.sources[index] for index in kept))


def _narrowest(scan: bound.Scan | bound.ArrowScan) -> int:
    def width(index: int) -> tuple[int, int]:
        if isinstance(scan, bound.Scan) and scan.sources[index] == schema.ROW_ID:
            return 1_000_000, index
        type = scan.columns[index].type
        if type.is_variable or type.element is not None:
            return 1_000, index
        try:
            return type.arrow.bit_width, index
        except ValueError:
            return 128, index

    return min(range(len(scan.columns)), key=width)
