"""What a grouped SELECT is joined with, where views answer it: relations, looked up by their keys (sql/star.py).

    SELECT d.city, sum(f.x) FROM f JOIN d ON f.k = d.id WHERE d.country = 'DE' GROUP BY d.city

    side      SELECT d.id, d.city FROM d WHERE d.country = 'DE'       answered at the same snapshot, when the query runs
    groups    of a view of f by k ─ looked up by k ─► d.city          and so are rows at the ends of a window

All rows of a group have the same partner if the side is joined by what the view groups by, so the group has it: it
comes once (the side's key is there once, which is seen when its rows are), or not at all. Columns of sides have
identifiers below 0, and are known of a group as its keys are: conditions, FILTER and GROUP BY may read them, sums not.
``IN``, ``EXISTS``, under NOT too, and long lists of constants are sides that give no columns.

What does not do: a side whose rows are many or cannot be computed, a key that is there twice. Then the plan without
views runs, since some row without a partner may be why.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from ...base.types import Type
from ...engine.aggregates.partners import Partners
from ...engine.expression.evaluate import evaluate
from ...engine.expression.node import Column, Expression
from ...engine.expression.tree import columns_of
from ...engine.key_encoding import VARIABLE, WIDTHS
from .. import bound
from ..maintained import NotMaintained, keys_of
from ..pipeline import query_of
from ..shown import expression_text
from ..star import SideQuery, Star
from ..walk import rewrite

RowsOf = Callable[[bound.BoundQuery], pa.Table]
"""Answers the query of a side at the reader's snapshot. Raises NotCovered."""

_HOW: Final = {
    "inner": "joined with {name} by {keys}",
    "left": "left joined with {name} by {keys}",
    "semi": "{keys} is looked up in {name}",
    "anti": "{keys} is looked up in {name}, where it must not be",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """``keys``: over the table's columns; ``query`` gives what equals them, then ``columns``. ``name``: for people."""

    name: str
    kind: str
    keys: tuple[Expression, ...]
    columns: tuple[Column, ...]
    null_matters: bool
    query: bound.BoundQuery

    def step(self, over: Sequence[Expression]) -> str:
        """Of the proof. ``over``: its keys as expressions of the groups."""
        keys = ", ".join(map(expression_text, self.keys))
        own = all(isinstance(key, Column) for key in over)
        how = "what the view groups by" if own else f"computed of its groups: {', '.join(map(expression_text, over))}"
        return f"{_HOW[self.kind].format(name=self.name, keys=keys)}, {how}"

    def partners(self, rows_of: RowsOf) -> Partners:
        """Its rows, ready to be looked up. Raises NotCovered."""
        return Partners(
            rows_of(self.query),
            kind=self.kind,
            types=[key.type for key in self.keys],
            names=[str(column.id) for column in self.columns],
            null_matters=self.null_matters,
        )


def sides_of(star: Star, query: bound.BoundQuery) -> tuple[Star, tuple[Side, ...]]:
    """The sides of a star, and the star with names for their columns. Raises NotMaintained, NotCovered."""
    sides = tuple(_side(star, side, query) for side in star.sides)
    names = {column.id: column for side in sides for column in side.columns}

    def named(part: object) -> Column | None:
        return names.get(part.id) if isinstance(part, Column) else None

    if names:
        filter, keys, aggregates = (rewrite(part, named) for part in (star.filter, star.keys, star.aggregates))
        star = dataclasses.replace(star, filter=filter, keys=keys, aggregates=aggregates)
    return star, sides


def joined(
    batches: Iterator[pa.RecordBatch],
    ids: Sequence[int],
    partners: Sequence[Partners],
    keys: Sequence[Sequence[Expression]],
) -> Iterator[pa.RecordBatch]:
    """Batches with the columns ``ids``, and behind them those of their partners. ``keys``: of each side."""
    for batch in batches:
        known = list(ids)
        for side, parts in zip(partners, keys, strict=True):
            values = [evaluate(part, batch, column_ids=known) for part in parts]
            batch = side.joined(batch, values)
            if side.kind in ("inner", "left"):
                known += map(int, side.names)
        yield batch


def is_own(part: Expression) -> bool:
    """Whether an expression reads no side."""
    return all(id > 0 for id in columns_of(part))


def _side(star: Star, side: SideQuery, query: bound.BoundQuery) -> Side:
    keys = keys_of(star, side)
    given = [column.type for column in side.query.columns]
    if len(keys) > 1 and side.null_matters:
        raise NotMaintained("NOT IN of several columns is not looked up")
    if not all(_comparable(key.type, type) for key, type in zip(keys, given, strict=False)):
        raise NotMaintained("it is joined by what has no encoding as a key")
    name, texts = _names(side.query)
    columns = tuple(
        dataclasses.replace(column, name=text)
        for column, text in zip(side.columns, texts[len(keys) :] or [""] * len(side.columns), strict=True)
    )
    return Side(
        name=name,
        kind=side.kind,
        keys=keys,
        columns=columns,
        null_matters=side.null_matters,
        query=query_of(side.query, query),
    )


def _comparable(one: Type, other: Type) -> bool:
    """Whether values of two types are equal just when they are encoded as the same bytes."""
    if one.is_text and other.is_text:
        return True
    return one.kind is other.kind and one.scale == other.scale and (one.kind in WIDTHS or one.kind in VARIABLE)


def _names(query: bound.Query) -> tuple[str, list[str]]:
    """What a side is called, and its columns."""
    if isinstance(query, bound.Values):
        return "a list", []
    if not isinstance(query, bound.Select):
        return "a subquery", []
    aliases = list(_aliases(query.source))
    prefix = f"{aliases[0]}." if len(aliases) == 1 else ""
    texts = [
        (prefix if isinstance(output.expression, Column) else "") + expression_text(output.expression)
        for output in query.outputs
    ]
    return ", ".join(aliases) or "a subquery", texts


def _aliases(relation: bound.Relation | None) -> Iterator[str]:
    match relation:
        case bound.Join():
            yield from _aliases(relation.left)
            yield from _aliases(relation.right)
        case bound.Scan() | bound.ArrowScan():
            yield relation.alias
        case None:
            pass
        case _:
            yield "a subquery"


__all__ = ["RowsOf", "Side", "is_own", "joined", "sides_of"]
