"""What EXPLAIN says of views: the proof step by step, or for each view what is missing, and the view that would do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ...engine.aggregates.definition import Maintained, State
from ...engine.expression.node import Column, Expression, Parameter
from ...engine.expression.tree import conjuncts, nameless, walk
from ...engine.schema import Table
from ..shown import expression_text
from .match import filter_of, state_text, values_texts
from .select import Matched, Matching, Missed, Unmatched
from .sides import Side, is_own


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
    query = None if part.asked is None else _that_would(part.asked, part.use.table, part.sides)
    if query is not None:
        yield f"  this one would: CREATE MATERIALIZED VIEW name AS {query}"


def _missed(missed: tuple[Missed, ...]) -> Iterator[str]:
    yield from (f"  not View {each.view.name}: {each.miss}" for each in missed)


def _that_would(asked: Maintained, table: Table, sides: Sequence[Side]) -> str | None:
    """The query of a view that answers a query: conditions that may be others tomorrow, or are about what is joined,
    are about columns that it groups by, and so are all where the query has no groups; without such columns a part of
    the primary key has to do. None: there is none, or something joined is added up.
    """
    keys: list[Expression] = []
    own: list[str] = []

    def group_by(parts: Iterable[Expression]) -> None:
        keys.extend(part for part in parts if nameless(part) not in map(nameless, keys))

    for key in (*asked.keys, *(key for side in sides for key in side.keys)):
        group_by([key] if is_own(key) else _columns(key))
    for part in () if asked.where is None else conjuncts(asked.where):
        if not asked.keys or not is_own(part) or any(isinstance(node, Parameter) for node in walk(part)):
            group_by(_columns(part))
        else:
            own.append(expression_text(part))
    states: list[State] = []
    for state in asked.states:
        if state.filter is not None and not is_own(state.filter):
            group_by(_columns(state.filter))
            state = replace(state, filter=None)
        if state.argument is not None and not is_own(state.argument):
            return None
        states += [] if state in states else [state]
    if not keys and len(table.primary_key) > 1:
        keys = [table.by_id[table.primary_key[0]].node]
    if not keys:
        return None
    texts: list[str] = []
    for values in asked.values:
        filter = filter_of(values, asked)
        if not all(map(is_own, (*values.arguments, *filter))):
            return None
        said = f" FILTER (WHERE {' AND '.join(map(expression_text, filter))})" if filter else ""
        texts += [text + said for text in values_texts(values)]
    states = states if len(states) == 1 and not texts else states[1:]
    columns = _named([*map(expression_text, keys), *map(state_text, states), *texts])
    where = f" WHERE {' AND '.join(own)}" if own else ""
    return f"SELECT {', '.join(columns)} FROM {table.name}{where} GROUP BY {', '.join(map(expression_text, keys))}"


def _columns(part: Expression) -> list[Column]:
    """The table's columns that an expression reads, each once."""
    return list({node.id: node for node in walk(part) if isinstance(node, Column) and node.id > 0}.values())


def _named(columns: list[str]) -> list[str]:
    """Columns with a name of their own where they would have that of another one, or none."""
    found = [re.match(r"(\w+)(\(.*\))?( FILTER .*)?$", column) for column in columns]
    names = [match[1] if match is not None else "" for match in found]
    return [
        column if name and names.count(name) == 1 else f"{column} AS {name or 'column'}_{place}"
        for place, (column, name) in enumerate(zip(columns, names, strict=True), 1)
    ]
