"""What EXPLAIN says of views: the proof step by step, or for each view what is missing, and the view that would do."""

from __future__ import annotations

from collections.abc import Iterator

from ...engine.aggregates.definition import Maintained
from ...engine.expression.node import Column, Expression, Parameter
from ...engine.expression.tree import columns_of, conjuncts, nameless, walk
from ..shown import expression_text
from .match import state_text
from .select import Matched, Matching, Missed, Unmatched


def lines_of(found: Matching, *, used: bool) -> Iterator[str]:
    """A line each, for people. ``used``: by the plan, and not only seen to be possible."""
    for part in found.matched:
        yield from _matched(part, "answers" if used else "could answer")
    for part in found.unmatched:
        yield from _unmatched(part)


def _matched(part: Matched, does: str) -> Iterator[str]:
    """The first way is the one that is taken."""
    chosen, *others = part.ways
    yield f"View {chosen.view.name} {does} for {part.use.alias}, since"
    yield from (f"  {step}" for step in chosen.proof)
    if chosen.alone and chosen.ends is None:
        yield "  its groups are those of the query"
    else:
        yield "  its groups are added up"
    yield from (f"  also View {other.view.name} could" for other in others)
    yield from _missed(part.missed)


def _unmatched(part: Unmatched) -> Iterator[str]:
    yield f"View: none answers for {part.use.alias}" + ("" if part.why is None else f", since {part.why}")
    yield from _missed(part.missed)
    if part.asked is not None:
        yield f"  this one would: CREATE MATERIALIZED VIEW name AS {_that_would(part.asked, part.use.table.name)}"


def _missed(missed: tuple[Missed, ...]) -> Iterator[str]:
    yield from (f"  not View {each.view.name}: {each.miss}" for each in missed)


def _that_would(asked: Maintained, table: str) -> str:
    """The query of a view that answers a query: conditions that may be others tomorrow are about columns that it groups
    by.
    """
    keys: list[Expression] = list(asked.keys)
    own: list[str] = []
    for part in () if asked.where is None else conjuncts(asked.where):
        if any(isinstance(node, Parameter) for node in walk(part)):
            ids = columns_of(part) - {id for key in keys if isinstance(key, Column) for id in (key.id,)}
            found = {node.id: node for node in walk(part) if isinstance(node, Column) and node.id in ids}
            keys += [node for node in found.values() if nameless(node) not in map(nameless, keys)]
        else:
            own.append(expression_text(part))
    columns = [
        *map(expression_text, keys),
        *map(state_text, asked.states if len(asked.states) == 1 else asked.states[1:]),
    ]
    where = f" WHERE {' AND '.join(own)}" if own else ""
    grouped = f" GROUP BY {', '.join(map(expression_text, keys))}" if keys else ""
    return f"SELECT {', '.join(columns)} FROM {table}{where}{grouped}"
