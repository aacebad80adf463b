"""Read no column that nobody asks for.

Top down: a subquery's column that is not used outside is not computed inside, then a table's column that is not used
is not scanned. A scan of which nothing is used (``count(*)``) keeps its narrowest column: rows must still be counted.
DISTINCT, set operations, recursion and set-returning functions give every column a meaning; they are left alone.
"""

from __future__ import annotations

import dataclasses

from ...engine import schema
from ...engine.expression.node import Column
from .. import bound
from ..walk import Node, arrow_scans, table_uses, walk
from ..walk import rewrite as rewritten


def rewrite(query: bound.BoundQuery) -> bound.BoundQuery:
    tree = query.query
    while True:
        pruned = _round(tree)
        if pruned is tree:
            break
        tree = pruned
    tree = _scans(tree)
    if tree is query.query:
        return query
    return dataclasses.replace(query, query=tree, uses=table_uses(tree), arrow_scans=arrow_scans(tree))


def effects(before: bound.BoundQuery, after: bound.BoundQuery) -> tuple[str, ...]:
    kept = {use.reference: use for use in after.uses}
    return tuple(
        f"{use.alias}: {len(kept[use.reference].columns)} of {len(use.columns)} columns"
        for use in before.uses
        if len(kept[use.reference].columns) < len(use.columns)
    )


def _used(tree: Node) -> set[int]:
    return {node.id for node in walk(tree) if isinstance(node, Column)}


def _round(tree: bound.Query) -> bound.Query:
    """Drop the unused columns of subqueries once; what they used in turn falls in the next round."""
    used = _used(tree)

    def replace(node: Node) -> Node | None:
        if not isinstance(node, bound.Derived) or not isinstance(node.query, bound.Select):
            return None
        inner = node.query
        if inner.distinct or any(isinstance(output.expression, bound.SetReturning) for output in inner.outputs):
            return None  # each column decides which rows there are, or how many
        kept = [index for index, column in enumerate(node.columns) if column.id in used] or [0]
        if len(kept) == len(node.columns):
            return None
        ordered = _used(inner.order)
        if any(output.column.id in ordered for index, output in enumerate(inner.outputs) if index not in kept):
            return None
        return dataclasses.replace(
            node,
            query=rewritten(dataclasses.replace(inner, outputs=tuple(inner.outputs[index] for index in kept)), replace),
            columns=tuple(node.columns[index] for index in kept),
        )

    return rewritten(tree, replace)


def _scans(tree: bound.Query) -> bound.Query:
    used = _used(tree)

    def replace(node: Node) -> Node | None:
        if not isinstance(node, bound.Scan | bound.ArrowScan):
            return None
        kept = [index for index, column in enumerate(node.columns) if column.id in used]
        if not kept:
            kept = [_narrowest(node)]
        if len(kept) == len(node.columns):
            return None
        columns = tuple(node.columns[index] for index in kept)
        if isinstance(node, bound.Scan):
            return dataclasses.replace(node, columns=columns, sources=tuple(node.sources[index] for index in kept))
        return dataclasses.replace(node, columns=columns, sources=tuple(node.sources[index] for index in kept))

    return rewritten(tree, replace)


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
