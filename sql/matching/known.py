"""What matching asks of a view again and again, made once for each definition of it."""

from __future__ import annotations

from collections.abc import Iterable

from ...base.types import BOOLEAN
from ...engine.aggregates.accumulators import Sort
from ...engine.aggregates.definition import Maintained, State
from ...engine.expression.node import Call, Column, Expression
from ...engine.expression.tree import columns_of, conjuncts, nameless
from ...engine.schema import View
from ..shown import expression_text
from .buckets import Buckets, buckets_of


class Known:
    """``keys``: what the view groups by, without names, and the columns that have it. ``buckets``: the moments among
    these, their buckets, and columns. ``own``: its conditions. ``states``: with the conditions and the argument of
    each (``counted``), what the conditions read, and its columns' identifiers. ``reads``: what the keys read.
    """

    __slots__ = ("buckets", "kept", "keys", "own", "reads", "states", "view")

    def __init__(self, view: View, kept: Maintained) -> None:
        self.view, self.kept = view, kept
        names = _names(view, kept)
        self.keys = [
            (nameless(key), Column(id=number, type=key.type, name=names.get(number, expression_text(key))))
            for number, key in enumerate(kept.keys, 1)
        ]
        found = [(buckets_of(key), column) for key, (_, column) in zip(kept.keys, self.keys, strict=True)]
        self.buckets: list[tuple[Expression, Buckets, Column]] = [
            (*bucket, column) for bucket, column in found if bucket is not None
        ]
        self.own = () if kept.where is None else conjuncts(kept.where)
        self.reads = read_by(kept.keys)
        self.states = [
            (state, conditions, argument, read_by(conditions), places)
            for state, places in zip(kept.states, kept.places, strict=True)
            for conditions, argument in (counted(state),)
        ]


def known_of(view: View) -> Known:
    """What is known of a view that is kept."""
    known = view.memo.get("known")
    if known is None:
        assert view.maintained is not None, "the view is kept"
        known = view.memo["known"] = Known(view, view.maintained)
    return known


def counted(state: State) -> tuple[list[Expression], Expression | None]:
    """What is true of the rows that a state is of, and its argument without names: to count values is to count rows
    with one.
    """
    conditions = [] if state.filter is None else list(conjuncts(state.filter))
    if state.argument is None:
        return conditions, None
    if state.sort is not Sort.COUNT:
        return conditions, nameless(state.argument)
    return [*conditions, Call(function="is_not_null", arguments=(state.argument,), type=BOOLEAN)], None


def read_by(parts: Iterable[Expression]) -> frozenset[int]:
    """The columns that expressions read."""
    return frozenset(id for part in parts for id in columns_of(part))


def _names(view: View, kept: Maintained) -> dict[int, str]:
    """What the view calls the columns of its groups that it shows."""
    pairs = zip(view.columns, kept.outputs, strict=True)
    return {output.id: name for (name, _), output in pairs if isinstance(output, Column)}


__all__ = ["Known", "counted", "known_of", "read_by"]
