"""The view that would do: of a query that no view answers, and of a view that cannot be kept as it is written.

SELECT k, count(*) FROM t WHERE at > now() - INTERVAL '1 day' GROUP BY k HAVING count(*) > 9
SELECT k, time_bucket('1 hour', at), count(*) FROM t GROUP BY k, time_bucket('1 hour', at)

SELECT k, median(x) FROM t GROUP BY k
SELECT k, x, count(*) FROM t GROUP BY k, x
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import pyarrow as pa

from ...base.types import BIGINT, INTERVAL, TEXT, TIMESTAMP, Kind
from ...engine.aggregates.definition import Maintained, State
from ...engine.expression.functions import FUNCTIONS, Volatility
from ...engine.expression.node import Call, Cast, Column, Expression, Literal, Parameter
from ...engine.expression.tree import all_of, conjuncts, nameless, transform, walk
from ...engine.pipeline.shape import NotCovered
from ...engine.schema import Table
from .. import bound, rules
from .. import walk as bound_walk
from ..describe import quoted
from ..maintained import OF_PRODUCTS, NotMaintained, asked_of
from ..of_states import call_of
from ..pipeline import first_id_of
from ..regroup import as_groups
from ..shown import LISTED_MAX, expression_text
from ..star import Star, star_of
from .buckets import buckets_of
from .match import BOUNDS, filter_of
from .said import state_text, values_texts
from .sides import Side, is_own, sides_of

_HOUR: Final = Literal(value=pa.MonthDayNano([0, 0, 3_600_000_000_000]), type=INTERVAL)


def that_would(asked: Maintained, table: Table, sides: Sequence[Side], *, rows: bool = False) -> str | None:
    """The query of a view that answers a query: conditions that may be others tomorrow, or are about what is joined,
    are about columns that it groups by, and so are all where the query has no groups; without such columns a part of
    the primary key has to do. ``rows``: it counts rows, too. None: there is none, or something joined is added up, or
    something changes with time, the zone or parameters.
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
            group_by(_about(part, keys))
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
    said_of = [*keys, *own, *(part for state in states for part in state.reads)]
    for values in asked.values:
        filter = all_of([_named_by(part, table) for part in filter_of(values, asked)])
        parts = [*values.arguments, *([] if filter is None else [filter])]
        if not all(map(is_own, parts)):
            return None
        said_of += parts
        said = "" if filter is None else f" FILTER (WHERE {expression_text(filter)})"
        texts += [text + said for text in values_texts(values)]
    if any(_depends_on_zone(part) or any(map(_is_unsaid, walk(part))) for part in said_of):
        return None
    states = states if rows or (len(states) == 1 and not texts) else states[1:]
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
        return _in_utc(node) if known is None else replace(known.node, name=quoted(known.name))

    return transform(part, named)


def _in_utc(node: Expression) -> Expression:
    """What sessions in UTC mean by ``tz::date`` and ``date_trunc('day', tz)``, as all read it."""
    match node:
        case Cast(argument=moment) if node.type.kind is Kind.DATE and moment.type.kind is Kind.TIMESTAMPTZ:
            return replace(node, argument=_utc(moment))
        case Call(function="date_trunc", arguments=(unit, moment)) if moment.type.kind is Kind.TIMESTAMPTZ:
            return replace(node, arguments=(unit, _utc(moment)), type=TIMESTAMP)
        case Call(arguments=(*fields, Literal() as moment)) if node.function in ("extract", "date_part"):
            return replace(node, arguments=(*fields, Cast(argument=moment, type=moment.type)))  # a text has no fields
        case _:
            return node


def _utc(moment: Expression) -> Expression:
    if isinstance(moment, Cast) and moment.argument.type.kind is Kind.DATE:
        return replace(moment, type=TIMESTAMP)
    return call_of("timezone", Literal(value="UTC", type=TEXT), moment)


def _depends_on_zone(part: Expression) -> bool:
    """Whether it says something else in another time zone. (Conditions may, whose columns are grouped by.)"""
    for node in walk(part):
        if isinstance(node, Cast) and Kind.TIMESTAMPTZ in (node.type.kind, node.argument.type.kind):
            return True
        if isinstance(node, Call) and node.function in _OF_ZONE and Kind.TIMESTAMPTZ in map(_kind, node.arguments):
            return True
    return False


_OF_ZONE: Final = ("date_part", "date_trunc", "extract", "to_char")


def _kind(node: Expression) -> Kind:
    return node.type.kind


def _about(part: Expression, keys: Sequence[Expression]) -> list[Expression]:
    """What a view groups by to be asked a condition: hours where it bounds a time; nothing where it has buckets."""
    columns = _columns(part)
    if len(columns) != 1 or not isinstance(part, Call) or part.function not in BOUNDS:
        return [*columns]
    (column,) = columns
    if column.type.kind not in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ):
        return [column]
    known = [found[0] for key in keys if (found := buckets_of(key)) is not None]
    return [] if nameless(column) in known else [call_of("time_bucket", _HOUR, column)]


def _is_unsaid(node: Expression) -> bool:
    """What a text does not say, or another time: parameters, constants behind the first, now()."""
    if isinstance(node, Call) and FUNCTIONS[node.function].volatility is not Volatility.IMMUTABLE:
        return True
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


def nearest_kept(query: bound.BoundQuery) -> str | None:
    """The query of a view that can be kept, from which a query that cannot be kept is made where it is read.

    Where an aggregate is not kept per group, its arguments are grouped by. None: there is none that is near.
    """
    ready, _ = rules.rewrite(query)
    try:
        select = _grouped(ready.query)
        if select is None or select.grouping is None:
            return None
        star, sides = sides_of(star_of(select, first_id=first_id_of(ready.query)), ready)
        kept = _kept_of(star)
        asked = asked_of(kept, id=0, constants=True)
    except (NotCovered, NotMaintained):
        return None
    return that_would(asked, star.fact.table, sides, rows=len(kept.aggregates) < len(star.aggregates))


def _grouped(query: bound.Query) -> bound.Select | None:
    """The first SELECT of a query that groups, without grouping sets."""
    for node in bound_walk.walk(query):
        if isinstance(node, bound.Select) and node.source is not None and (node.grouping or node.distinct):
            if node.grouping is None:
                plain = replace(node, order=(), limit=None, offset=None)
                return as_groups(plain, first_id=first_id_of(query) + _IDS)
            calls = tuple(one for one in node.grouping.aggregates if isinstance(one.expression, bound.Aggregate))
            return replace(node, grouping=replace(node.grouping, aggregates=calls, sets=None))
    return None


_IDS: Final = 10_000
"""Identifiers apart from those of the star."""


def _kept_of(star: Star) -> Star:
    """The star without constants among its keys, and with what aggregates that are not kept per group read instead of
    these, and a count of rows. Raises NotMaintained where that is not near.
    """
    keys = [key for key in star.keys if bound_walk.columns_read(key)]
    calls: list[bound.Bound] = []
    for call in star.aggregates:
        try:
            asked_of(replace(star, aggregates=(call,)), id=0, constants=True)
            calls.append(call)
        except NotMaintained:
            if not isinstance(call, bound.Aggregate) or call.function in OF_PRODUCTS:
                raise
            if call.function == "approx_count_distinct":
                calls.append(replace(call, function="count", distinct=True, type=BIGINT))
            else:
                keys += [part for part in _read_of(call) if part not in keys]
    return replace(star, keys=tuple(keys), aggregates=tuple(calls))


def _read_of(call: bound.Aggregate) -> list[bound.Bound]:
    """What the values of an aggregate are made of: its arguments, and the columns of FILTER."""
    parts = [part.argument if isinstance(part, Cast) else part for part in call.arguments]
    columns = [part for part in bound_walk.walk(call.filter) if isinstance(part, Column)]
    return [part for part in (*parts, *columns) if bound_walk.columns_read(part)]


__all__ = ["nearest_kept", "that_would"]
