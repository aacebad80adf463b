"""What EXPLAIN says of views: the proof step by step, or for each view what is missing, and the view that would do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ...engine.aggregates.definition import Maintained, State
from ...engine.expression.node import Call, Column, Expression, Parameter
from ...engine.expression.tree import all_of, conjuncts, nameless, transform, walk
from ...engine.schema import Table
from ..describe import quoted
from ..shown import LISTED_MAX, expression_text
from .match import filter_of
from .said import state_text, values_texts
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
    asked = _quoted(asked, table)
    keys: list[Expression] = []
    own: list[Expression] = []

    def group_by(parts: Iterable[Expression]) -> None:
        keys.extend(part for part in parts if nameless(part) not in map(nameless, keys))

    for key in (*asked.keys, *(_named_by(key, table) for side in sides for key in side.keys)):
        group_by([key] if is_own(key) else _columns(key))
    for part in () if asked.where is None else conjuncts(asked.where):
        if not asked.keys or not is_own(part) or any(map(_is_unsaid, walk(part))):
            group_by(_columns(part))
        else:
            own.append(part)
    states: list[State] = []
    for state in asked.states:
        if state.filter is not None and not is_own(state.filter):
            group_by(_columns(state.filter))
            state = replace(state, filter=None)
        if state.argument is not None and not is_own(state.argument):
            return None
        states += [] if state in states else [state]
    if not keys and len(table.primary_key) > 1:
        keys = [_named_by(table.by_id[table.primary_key[0]].node, table)]
    if not keys:
        return None
    texts: list[str] = []
    for values in asked.values:
        filter = all_of([_named_by(part, table) for part in filter_of(values, asked)])
        if not all(map(is_own, (*values.arguments, *([] if filter is None else [filter])))):
            return None
        said = "" if filter is None else f" FILTER (WHERE {expression_text(filter)})"
        texts += [text + said for text in values_texts(values)]
    states = states if len(states) == 1 and not texts else states[1:]
    columns = _named([*map(expression_text, keys), *map(state_text, states), *texts])
    condition, grouped = all_of(own), ", ".join(map(expression_text, keys))
    where = "" if condition is None else f" WHERE {expression_text(condition)}"
    return f"SELECT {', '.join(columns)} FROM {quoted(table.name)}{where} GROUP BY {grouped}"


def _quoted(asked: Maintained, table: Table) -> Maintained:
    """The same, with columns named as SQL reads their names."""

    def named(part: Expression | None) -> Expression | None:
        return None if part is None else _named_by(part, table)

    return replace(
        asked,
        keys=tuple(_named_by(key, table) for key in asked.keys),
        where=named(asked.where),
        states=tuple(
            replace(state, argument=named(state.argument), filter=named(state.filter)) for state in asked.states
        ),
        values=tuple(
            replace(values, arguments=tuple(_named_by(part, table) for part in values.arguments))
            for values in asked.values
        ),
    )


def _named_by(part: Expression, table: Table) -> Expression:
    def named(node: Expression) -> Expression:
        known = table.by_id.get(node.id) if isinstance(node, Column) else None
        return node if known is None else replace(known.node, name=quoted(known.name))

    return transform(part, named)


def _is_unsaid(node: Expression) -> bool:
    """What a text does not say: parameters, and constants behind the first."""
    long = isinstance(node, Call) and node.function == "in_list" and len(node.arguments) > LISTED_MAX + 1
    return long or isinstance(node, Parameter)


def _columns(part: Expression) -> list[Column]:
    """The table's columns that an expression reads, each once."""
    return list({node.id: node for node in walk(part) if isinstance(node, Column) and node.id > 0}.values())


def _named(columns: list[str]) -> list[str]:
    """Columns with a name of their own where they would have that of another one, or none."""
    found = [re.match(r'(\w+|"(?:[^"]|"")+")(\(.*\))?( FILTER .*)?$', column) for column in columns]
    names = [match[1] if match is not None else "" for match in found]
    return [
        column if name and names.count(name) == 1 else f"{column} AS {name or 'column'}_{place}"
        for place, (column, name) in enumerate(zip(columns, names, strict=True), 1)
    ]
