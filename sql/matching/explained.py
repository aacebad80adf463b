"""What EXPLAIN says of views: the proof step by step, or for each view what is missing, and the view that would do."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...engine.aggregates.definition import Maintained
from ...engine.expression.node import Column, Expression, Parameter
from ...engine.expression.tree import columns_of, conjuncts, nameless, walk
from ...engine.schema import Table
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
    query = None if part.asked is None else _that_would(part.asked, part.use.table)
    if query is not None:
        yield f"  this one would: CREATE MATERIALIZED VIEW name AS {query}"


def _missed(missed: tuple[Missed, ...]) -> Iterator[str]:
    yield from (f"  not View {each.view.name}: {each.miss}" for each in missed)


def _that_would(asked: Maintained, table: Table) -> str | None:
    """The query of a view that answers a query: conditions that may be others tomorrow are about columns that it groups
    by, and so are all where the query has no groups; without such columns a part of the primary key has to do.
    """
    keys: list[Expression] = list(asked.keys)
    own: list[str] = []
    for part in () if asked.where is None else conjuncts(asked.where):
        if not asked.keys or any(isinstance(node, Parameter) for node in walk(part)):
            ids = columns_of(part) - {id for key in keys if isinstance(key, Column) for id in (key.id,)}
            found = {node.id: node for node in walk(part) if isinstance(node, Column) and node.id in ids}
            keys += [node for node in found.values() if nameless(node) not in map(nameless, keys)]
        else:
            own.append(expression_text(part))
    if not keys and len(table.primary_key) > 1:
        keys = [table.by_id[table.primary_key[0]].node]
    if not keys:
        return None
    columns = _named(
        [*map(expression_text, keys), *map(state_text, asked.states if len(asked.states) == 1 else asked.states[1:])]
    )
    where = f" WHERE {' AND '.join(own)}" if own else ""
    return f"SELECT {', '.join(columns)} FROM {table.name}{where} GROUP BY {', '.join(map(expression_text, keys))}"


def _named(columns: list[str]) -> list[str]:
    """Columns with a name of their own where they would have that of another one, or none."""
    found = [re.match(r"(\w+)(\(.*\))?( FILTER .*)?$", column) for column in columns]
    names = [match[1] if match is not None else "" for match in found]
    return [
        column if name and names.count(name) == 1 else f"{column} AS {name or 'column'}_{place}"
        for place, (column, name) in enumerate(zip(columns, names, strict=True), 1)
    ]
