"""What is kept of a materialized view: its definition, and the internal table of its groups.

    SELECT k, time_bucket('1 day', at) AS day, avg(x) AS mean FROM t WHERE kind = 'buy' GROUP BY 1, 2

    keys      k, time_bucket('1 day', at)
    where     kind = 'buy'
    states    count of rows; count of x; sum of x                (accumulators.py: what can be added and taken away)
    outputs   1, 2, CASE WHEN 4 = 0 THEN NULL ELSE 5 / 4 END     (expressions of the group table's columns)

``min``, ``max``, ``first``, ``last`` and ``count(DISTINCT x)`` are no such states: to take a row out one has to know
the values of the others. They are of *values*: each argument (with its filter) has an internal table of its own, with a
row for each different value in a group, that counts it. It is kept as groups are, since it is one more view, of finer
groups: GROUP BY the keys and the value. The group's row has what is asked for of them (values.py).

    SELECT k, min(x), count(DISTINCT x), last(x, at) FROM t GROUP BY k
    values of x         the table (k, x | count)
    values of (at, x)   the table (k, at, x | count)
    groups              k | count of rows, least x, how many different x, greatest (at, x)

The group table has the keys as primary key (NULL is a value there), then the columns of the states, then those of the
values. Its rows are MVCC rows as any others, which ``apply`` derives (maintain.py); nobody else writes to it.
Expressions read the base table by column identifiers. Those that ``apply`` evaluates (keys, where, arguments, filters)
never vary; those that can fail are evaluated before the commit, too, as guards of the table, so that they do not.
``outputs`` are evaluated by who reads.

**Retention.** When slices of the base table are dropped, a view forgets their rows with them: it is what its query
says. A view that *retains* (``WITH (retain = 'all')``) keeps them in its groups. What they have added is counted again
in internal tables beside, as the groups of the forgotten rows: so at every version the groups that are kept are those
of the rows that there are and of those that are forgotten together, and VERIFY can tell.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from ...base.types import BIGINT, Type
from ..expression.node import Expression
from ..expression.serialize import from_json, to_json
from ..expression.tree import columns_of
from ..schema import Column, Guard, Table
from .accumulators import Sort, state_types

if TYPE_CHECKING:
    from .groups import Grouper


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One thing that is kept per group. Without ``argument`` rows are counted; ``filter`` is FILTER (WHERE …)."""

    sort: Sort
    argument: Expression | None = None
    filter: Expression | None = None

    @property
    def reads(self) -> tuple[Expression, ...]:
        """The expressions of a row that it is made of."""
        return tuple(part for part in (self.argument, self.filter) if part is not None)


ROWS: Final = State(sort=Sort.COUNT)
"""The first state of every view: how many rows a group has."""


class Kept(enum.Enum):
    """What a group has of its values; the value stands in catalogs."""

    LEAST = "least"
    GREATEST = "greatest"
    DISTINCT = "distinct"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """The different values of something in each group, and how often each is there.

    ``id``: of the internal table. ``arguments``: the value, or several parts of it, in whose order values are compared;
    all but the first may be NULL, which is greater than all else. ``where``: the rows that count, those of the view
    among them; it fails in no other row. ``kept``: what the group's row has of the values.
    """

    id: int
    arguments: tuple[Expression, ...]
    where: Expression | None
    kept: tuple[Kept, ...]

    def columns(self, kept: Kept) -> tuple[tuple[Type, bool], ...]:
        """Type and nullability of the columns that the group's row has."""
        if kept is Kept.DISTINCT:
            return ((BIGINT, False),)
        return tuple((argument.type, True) for argument in self.arguments)


@dataclass(frozen=True, kw_only=True)
class Maintained:
    """``id``: of the internal table of groups; ``base``: of the table whose rows are grouped. ``outputs``: the view's
    columns, as expressions of the columns of ``table``. ``fallible``: what of the others can fail. ``forgotten``: of a
    view that retains, the internal tables of what forgotten rows have added to each of its ``parts``; it may be more
    than what its query says. ``name``: of what the internal table holds.
    """

    id: int
    base: int
    keys: tuple[Expression, ...]
    states: tuple[State, ...]
    where: Expression | None = None
    values: tuple[Values, ...] = ()
    outputs: tuple[Expression, ...]
    fallible: tuple[Expression, ...] = ()
    forgotten: tuple[int, ...] = ()
    name: str = "groups"

    def retaining(self, new_id: Callable[[], int]) -> Maintained:
        """The same, with what its table forgets."""
        return replace(self, forgotten=tuple(new_id() for _ in self.parts))

    @property
    def parts(self) -> tuple[Maintained, ...]:
        """What is kept as groups that rows are added to and taken away from."""
        return (self, *self.value_views)

    @cached_property
    def forgotten_parts(self) -> tuple[Maintained, ...]:
        """The same of the rows that are forgotten; none where the view forgets them, too."""
        pairs = zip(self.parts, self.forgotten, strict=bool(self.forgotten))
        return tuple(replace(part, id=id, values=(), outputs=(), fallible=(), forgotten=()) for part, id in pairs)

    @property
    def tables(self) -> tuple[Table, ...]:
        """All internal tables of the view: that of its groups first."""
        return tuple(part.table for part in (*self.parts, *self.forgotten_parts))

    @cached_property
    def unfiltered(self) -> Maintained:
        """The same of rows of which ``where`` is known to be true."""
        return replace(self, where=None)

    @property
    def guards(self) -> tuple[Guard, ...]:
        """What can fail of what ``apply`` computes of a row, for its table to refuse such rows."""
        return tuple(Guard(view=self.id, expression=expression) for expression in self.fallible)

    @cached_property
    def reads(self) -> tuple[int, ...]:
        """The columns of the base table that decide what a row adds to which group, in order: one at least."""
        parts = [*self.keys, *(part for state in self.states for part in state.reads)]
        parts += [] if self.where is None else [self.where]
        own = {id for part in parts for id in columns_of(part)}
        return tuple(sorted(own.union(*(view.reads for view in self.value_views))))

    @cached_property
    def places(self) -> tuple[range, ...]:
        """Of each state the identifiers of its columns."""
        first, places = len(self.keys) + 1, list[range]()
        for state in self.states:
            places.append(range(first, first + len(state_types(state.sort))))
            first = places[-1].stop
        return tuple(places)

    @cached_property
    def kept_places(self) -> tuple[dict[Kept, range], ...]:
        """Of each of ``values`` the identifiers of the columns that a group has of it."""
        first = self.places[-1].stop
        places: list[dict[Kept, range]] = []
        for values in self.values:
            places.append({})
            for kept in values.kept:
                places[-1][kept] = range(first, first + len(values.columns(kept)))
                first = places[-1][kept].stop
        return tuple(places)

    @cached_property
    def value_views(self) -> tuple[Maintained, ...]:
        """Of each of ``values`` what its table is kept as: a view that counts the rows of finer groups."""
        return tuple(
            Maintained(
                id=values.id,
                base=self.base,
                keys=(*self.keys, *values.arguments),
                states=(ROWS,),
                where=values.where,
                outputs=(),
                forgotten=self.forgotten[number : number + 1],
                name="values",
            )
            for number, values in enumerate(self.values, 1)
        )

    @cached_property
    def grouper(self) -> Grouper:
        """What makes groups of rows."""
        from .groups import Grouper

        return Grouper(self)

    @cached_property
    def table(self) -> Table:
        """The internal table of groups. Its columns are counted from 1, and named so."""
        columns = [Column(id=number, name=str(number), type=key.type) for number, key in enumerate(self.keys, 1)]
        for state, places in zip(self.states, self.places, strict=True):
            for id, type in zip(places, state_types(state.sort), strict=True):
                columns.append(Column(id=id, name=str(id), type=type, nullable=type.is_variable))
        for values, kept_places in zip(self.values, self.kept_places, strict=True):
            for kept, places in kept_places.items():
                for id, (type, nullable) in zip(places, values.columns(kept), strict=True):
                    columns.append(Column(id=id, name=str(id), type=type, nullable=nullable))
        return Table(
            id=self.id,
            name=f"{self.name} of {self.base}",
            columns=tuple(columns),
            primary_key=tuple(range(1, len(self.keys) + 1)),
            key=(1,) if self.keys else (),
            next_column_id=len(columns) + 1,
            derived_from=self.base,
        )


def encode(view: Maintained) -> dict[str, Any]:
    """As JSON values, for the catalog."""
    values = [
        {
            "id": item.id,
            "arguments": [to_json(argument) for argument in item.arguments],
            "where": _text(item.where),
            "kept": [kept.value for kept in item.kept],
        }
        for item in view.values
    ]
    return ({"values": values} if values else {}) | {
        "id": view.id,
        "base": view.base,
        "keys": [to_json(key) for key in view.keys],
        "states": [
            {"sort": state.sort.value, "argument": _text(state.argument), "filter": _text(state.filter)}
            for state in view.states
        ],
        "where": _text(view.where),
        "fallible": [to_json(expression) for expression in view.fallible],
        "outputs": [to_json(output) for output in view.outputs],
        **({"forgotten": view.forgotten} if view.forgotten else {}),
    }


def decode(item: dict[str, Any]) -> Maintained:
    """The inverse of ``encode``. Raises Corrupt."""
    return Maintained(
        id=item["id"],
        base=item["base"],
        keys=tuple(from_json(key) for key in item["keys"]),
        states=tuple(
            State(sort=Sort(state["sort"]), argument=_parsed(state["argument"]), filter=_parsed(state["filter"]))
            for state in item["states"]
        ),
        where=_parsed(item["where"]),
        values=tuple(
            Values(
                id=values["id"],
                arguments=tuple(from_json(argument) for argument in values["arguments"]),
                where=_parsed(values["where"]),
                kept=tuple(Kept(kept) for kept in values["kept"]),
            )
            for values in item.get("values", ())
        ),
        fallible=tuple(from_json(text) for text in item["fallible"]),
        outputs=tuple(from_json(output) for output in item["outputs"]),
        forgotten=tuple(item.get("forgotten", ())),
    )


def _text(expression: Expression | None) -> str | None:
    return None if expression is None else to_json(expression)


def _parsed(text: str | None) -> Expression | None:
    return None if text is None else from_json(text)
