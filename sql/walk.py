"""Walking and rewriting the bound tree, subqueries and relations included.

Both go by the fields of the dataclasses, so that a new kind of node needs nothing here. ``type`` and ``columns`` hold
no expressions and are passed over.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, cast

from ..engine import schema
from ..engine.expression.node import Call, Case, Cast, Column, Literal, Parameter
from . import bound

Node: TypeAlias = Any
"""Any dataclass of ``bound`` or of ``engine.expression.node``."""


def is_scalar(node: bound.Bound) -> bool:
    """Whether the engine could evaluate it: no aggregate, window or subquery inside."""
    return all(not isinstance(item, _QUERY_EXPRESSIONS) for item in walk(node))


_QUERY_EXPRESSIONS: Final = (
    bound.Aggregate,
    bound.GroupingCall,
    bound.Window,
    bound.ScalarSubquery,
    bound.Exists,
    bound.Quantified,
    bound.QuantifiedArray,
    bound.ArrayList,
    bound.Subscript,
    bound.SetReturning,
    bound.GapBucket,
    bound.Filled,
)

QUERIES: Final = (bound.ScalarSubquery, bound.Exists, bound.Quantified, bound.ArrayList)
"""Expressions that may have a query inside."""

_LEAVES: Final = (Literal, Column, Parameter, schema.Table, bound.OutputColumn)

_FIELDS: Final[dict[type, tuple[str, ...] | None]] = {
    Call: ("arguments",),
    Cast: ("argument",),
    Case: ("branches", "default"),
}
"""The fields to look into by class, none for a leaf; None for what is no node."""

_INSIDE: Final[dict[type, Callable[[Any], tuple[Node, ...]] | tuple[()] | None]] = {}
"""What gives the values of those fields, the last one first."""

_PLAIN: Final = frozenset(
    (
        *("str", "str | None", "int", "int | None", "bool", "bool | None", "JoinKind", "SetKind"),
        *("tuple[int, ...]", "tuple[str, ...]", "tuple[tuple[int, ...], ...] | None"),
    )
)
"""Annotations of fields in which no node can be: two of three, and every walk would look at each."""


def _fields(kind: type) -> tuple[str, ...] | None:
    if kind not in _FIELDS:
        names: tuple[str, ...] | None = None
        if issubclass(kind, _LEAVES):
            names = ()
        elif dataclasses.is_dataclass(kind):
            found = [f for f in dataclasses.fields(kind) if f.name not in ("type", "columns")]
            names = tuple(f.name for f in found if f.type not in _PLAIN)
        _FIELDS[kind] = names
    return _FIELDS[kind]


def walk(node: Node) -> list[Node]:
    """``node`` and everything below it, subqueries and relations included, parents first."""
    found: list[Node] = []
    stack: list[Node] = [node]
    while stack:  # a quarter of planning were walks: no calls here but those that are needed
        item = stack.pop()
        kind = item.__class__
        if kind is tuple:
            stack.extend(item[::-1])
            continue
        try:
            inside = _INSIDE[kind]
        except KeyError:
            inside = _INSIDE[kind] = _inside(kind)
        if inside is None:
            continue
        found.append(item)
        if inside:
            stack.extend(inside(item))
    return found


def _inside(kind: type) -> Callable[[Any], tuple[Node, ...]] | tuple[()] | None:
    names = _fields(kind)
    if not names:
        return None if names is None else ()
    get = operator.attrgetter(*names[::-1])
    return get if len(names) > 1 else lambda item: (get(item),)


def columns_read(node: Node) -> frozenset[int]:
    """The columns that an expression reads, but for those that its own subqueries bring."""
    parts = walk(node)
    relations = bound.Scan | bound.Derived | bound.CteReference | bound.FunctionScan | bound.ArrowScan
    brought = {column.id for part in parts if isinstance(part, relations) for column in part.columns}
    brought |= {part.column.id for part in parts if isinstance(part, bound.Output)}
    return frozenset({part.id for part in parts if isinstance(part, Column)} - brought)


def rewrite(node: Node, replace: Callable[[Node], Node | None]) -> Node:
    """A copy of ``node`` in which every part for which ``replace`` gives a value is that value; parents first."""
    if node.__class__ is tuple:
        items = cast(tuple[Node, ...], node)
        new = [rewrite(item, replace) for item in items]
        return items if all(map(operator.is_, items, new)) else tuple(new)
    try:
        names = _FIELDS[node.__class__]
    except KeyError:
        names = _fields(node.__class__)
    if names is None:
        return node
    found = replace(node)
    if found is not None:
        return found
    return rewrite_inside(node, replace) if names else node


def rewrite_inside(node: Node, replace: Callable[[Node], Node | None]) -> Node:
    """As ``rewrite``, for the parts of ``node``, not for ``node`` itself."""
    changes: dict[str, Node] = {}
    for name in _fields(node.__class__) or ():
        old = getattr(node, name)
        value = rewrite(old, replace)
        if value is not old:
            changes[name] = value
    return dataclasses.replace(node, **changes) if changes else node


def alike(one: Node, other: Node) -> bool:
    """Whether two expressions are equal but for the numbers of what they bring: a subquery that is written twice."""
    numbers = _Numbers()
    return one == other or (not is_scalar(one) and numbers.same(one, other) and numbers.are_own())


_NUMBERS: Final = {"id": "column", "reference": "reference", "cte": "cte"}


class _Numbers:
    """Which number of one expression stands for which of another."""

    def __init__(self) -> None:
        self._there: dict[tuple[str, int], int] = {}
        self._back: dict[tuple[str, int], int] = {}
        self._brought: set[tuple[str, int]] = set()

    def same(self, a: Any, b: Any) -> bool:
        if a.__class__ is not b.__class__:
            return False
        if isinstance(a, tuple):
            return len(cast(Any, a)) == len(b) and all(map(self.same, cast(Any, a), b))
        if not dataclasses.is_dataclass(a) or isinstance(a, schema.Table):
            return bool(a == b)
        for field in dataclasses.fields(a):
            x, y = getattr(a, field.name), getattr(b, field.name)
            kind = "cte" if isinstance(a, bound.Cte) and field.name == "id" else _NUMBERS.get(field.name)
            if kind is None or not isinstance(x, int):
                if field.compare and not self.same(x, y):
                    return False
                continue
            if isinstance(a, bound.OutputColumn | bound.Cte):
                self._brought.add((kind, x))
            if self._there.setdefault((kind, x), y) != y or self._back.setdefault((kind, y), x) != x:
                return False
        return True

    def are_own(self) -> bool:
        """Whether those that differ were brought by the expressions themselves."""
        return all(a == b or kind == "reference" or (kind, a) in self._brought for (kind, a), b in self._there.items())


def uses_among(nodes: Sequence[Node]) -> tuple[bound.TableUse, ...]:
    """What each table reference of a query, whose nodes are given, asks of the engine, without filters."""
    return tuple(
        bound.TableUse(
            reference=scan.reference,
            table=scan.table,
            alias=scan.alias,
            columns=tuple(source for source in scan.sources if source != schema.ROW_ID),
            row_ids=schema.ROW_ID in scan.sources,
            past=scan.past,
        )
        for scan in nodes
        if isinstance(scan, bound.Scan)
    )


def arrow_scans_among(nodes: Sequence[Node]) -> tuple[bound.ArrowScan, ...]:
    """The references of a query, whose nodes are given, to relations that are given as Arrow data."""
    return tuple(node for node in nodes if isinstance(node, bound.ArrowScan))
