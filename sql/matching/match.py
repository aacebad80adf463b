"""Whether the groups of a view say what a query asks: the proof, step by step, or what is missing.

    view    SELECT k, time_bucket('1 hour', at) AS hour, count(*), sum(x) FROM t WHERE x > 0 GROUP BY 1, 2
    query   SELECT time_bucket('1 day', at), avg(x) FROM t WHERE x > 0 AND k = 7 AND at >= $1 GROUP BY 1

    x > 0                     is the view's own condition
    k = 7                     is about k, a column of the view: all rows of a group, or none
    at >= $1                  whole hours from groups, the rest of the first hour from rows
    time_bucket('1 day', at)  is made of hours: computed of the hour
    avg(x)                    is made of sum(x) and count(x), which the view keeps

Query and view are both ``Maintained``: what is grouped by, what is kept, under which condition, over the same table.
States form a group (engine/aggregates/accumulators.py), so groups of groups, and groups with rows, are exact. What the
values of parameters decide is left to the time when the query runs (run.py): ``given`` and ``kept`` of a ``RollUp``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ...base.types import BIGINT, BOOLEAN, Kind
from ...engine.aggregates.accumulators import Sort
from ...engine.aggregates.definition import Kept, Maintained, State, Values
from ...engine.aggregates.rollup import Picked, PickedValue
from ...engine.expression.evaluate import check_supported
from ...engine.expression.node import Call, Case, Cast, Column, Expression, Literal, Parameter
from ...engine.expression.tree import all_of, columns_of, conjuncts, nameless, transform
from ...engine.schema import View
from ..pushdown import MIRRORED
from ..shown import expression_text
from .buckets import Buckets, constant_in, moment_of
from .implied import follows, may_follow
from .known import Known, counted, known_of, read_by
from .said import About, Said, values_texts, where_said
from .sides import Side, is_own

BOUNDS: Final = {function: other for function, other in MIRRORED.items() if function != "equal"}
"""Comparisons that bound a window, and what they are with their sides exchanged."""

_BY_VALUE: Final = frozenset((*BOUNDS, "equal", "not_equal", "in_list", "is_null", "is_not_null"))
"""What says the same of values that are equal."""


class NearMiss(Exception):
    """Why a view does not answer a query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """A window of time over the buckets that a view has: ``column`` of its groups. ``bounds`` are comparisons of
    ``moment``, over the table's columns, with what is constant while the query runs; ``others``: all else that the
    query demands of rows.
    """

    moment: Expression
    column: Column
    buckets: Buckets
    bounds: tuple[tuple[str, Expression], ...]
    others: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PickedValues:
    """Values of the query: those that groups have, or else all of a table of values of the view.

    ``in_table``: what a value is there.
    """

    columns: tuple[PickedValue, ...] = ()
    table: Maintained | None = None
    in_table: PickedValue | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollUp:
    """How a query is answered from the groups of ``view``.

    ``asked``: the query. ``keys``, ``filter``: over the columns of the groups. ``given``: conditions of the view that
    must follow from the query's. ``kept``: conditions of the query that must follow from the view's. ``sides``: of each
    what it is joined by, over the columns of the groups, and all of these may read its columns, by identifiers below 0.
    ``alone``: no two groups of the view are of one group of the query. ``proof``: for people.
    """

    view: View
    asked: Maintained
    keys: tuple[Expression, ...]
    filter: tuple[Expression, ...]
    states: tuple[Picked, ...]
    values: tuple[PickedValues, ...]
    ends: Ends | None
    given: tuple[Expression, ...]
    kept: tuple[Expression, ...]
    sides: tuple[tuple[Expression, ...], ...]
    alone: bool
    proof: tuple[Said | str, ...]


def match(asked: Maintained, view: View, sides: Sequence[Side] = ()) -> RollUp:
    """Raises NearMiss."""
    kept = view.maintained
    assert kept is not None, "the view is kept"
    if kept.forgotten:
        raise NearMiss("it retains what the table forgets")
    return _Matching(asked, known_of(view)).roll_up(sides)


class _Matching:
    def __init__(self, asked: Maintained, known: Known) -> None:
        self._asked, self._known = asked, known
        self._view, self._kept = known.view, known.kept
        self._keys, self._buckets = known.keys, known.buckets
        self._proof: list[Said | str] = []

    def _say(self, text: str, *about: About) -> None:
        self._proof.append(Said(text, *about))

    def roll_up(self, sides: Sequence[Side]) -> RollUp:
        wanted = [] if self._asked.where is None else list(conjuncts(self._asked.where))
        own = self._known.own
        for part in own:
            if not may_follow(part, wanted):
                raise NearMiss(Said("it has only rows with {}", part))
            self._say("its condition {} follows from the query's", part)
        joined = tuple(map(self._joined, sides))
        filter, kept, bounds = self._conditions(wanted, own)
        keys = tuple(self._key(key) for key in self._asked.keys)
        states = tuple(self._picked(state) for state in self._asked.states)
        fixed = {id for part in filter for id in _fixed(part)} | {key.id for key in keys if isinstance(key, Column)}
        return RollUp(
            view=self._view,
            asked=self._asked,
            keys=keys,
            filter=tuple(filter),
            states=states,
            values=tuple(self._values(values) for values in self._asked.values),
            ends=self._ends(bounds, wanted),
            given=own,
            kept=tuple(kept),
            sides=joined,
            alone=bool(keys) and fixed.issuperset(self._kept.table.primary_key),
            proof=tuple(self._proof),
        )

    def _joined(self, side: Side) -> tuple[Expression, ...]:
        keys = self._all(side.keys)
        if keys is None:
            what = ", ".join(map(expression_text, side.keys))
            raise NearMiss(f"it does not group by {what}, by which {side.name} is joined")
        self._proof.append(side.step(keys))
        return keys

    def _conditions(
        self, wanted: Sequence[Expression], own: Sequence[Expression]
    ) -> tuple[list[Expression], list[Expression], list[tuple[Expression, str, Expression]]]:
        """The conditions of the query: over groups, those that must follow from the view's, and bounds of time."""
        filter: list[Expression] = []
        kept: list[Expression] = []
        bounds: list[tuple[Expression, str, Expression]] = []
        for part in wanted:
            said = self.over_groups(part)
            bound = _bound(part)
            if said is not None:
                filter.append(said)
                self._say("{} is about whole groups: {}", part, said)
            elif bound is not None and any(bound[0] == moment for moment, _, _ in self._buckets):
                bounds.append(bound)
                self._say("{}: whole buckets from groups, the ends from rows", part)
            elif may_follow(part, own):
                kept.append(part)
                self._say("{} follows from its condition", part)
            else:
                raise NearMiss(Said("{} is about more than its groups", part))
        return filter, kept, bounds

    def _key(self, key: Expression) -> Expression:
        found = self.over_groups(key)
        if found is None:
            raise NearMiss(Said("it does not group by {}", key))
        if not any(id > 0 for id in columns_of(key)):
            self._say("{} is the same for all rows of a group", key)
        elif not isinstance(found, Column):
            self._say("{} is computed of its groups: {}", key, found)
        else:
            self._say("{} is its column {}", key, found)
        return found

    def _picked(self, state: State) -> Picked:
        found: list[tuple[list[Expression], range]] = []
        wanted, argument = counted(state)
        told = read_by(wanted)
        for known, own, kept, read, places in self._known.states:
            if known.sort is not state.sort or kept != argument or (read and read.isdisjoint(told)):
                continue
            left = self._left(wanted, own)
            if left is not None:
                found.append((left, places))
        if found:
            over, places = min(found, key=lambda one: len(one[0]))
            self._say("{} is kept{}", state, where_said(all_of(over)))
            return Picked(columns=tuple(places), filter=all_of(over))
        if state.argument is not None and not is_own(state.argument):
            raise NearMiss(Said("{} is of what is joined, which is not kept", state))
        raise NearMiss(Said("it does not keep {}", state))

    def _left(self, wanted: Sequence[Expression], own: Sequence[Expression]) -> list[Expression] | None:
        """What is left to ask of groups of rows of which ``own`` is true, for all of ``wanted`` to be; None where
        groups do not say it, or lack rows.
        """
        if not all(follows(part, wanted) for part in own):
            return None
        left = self._all([part for part in wanted if not follows(part, own)])
        return None if left is None else list(left)

    def _values(self, values: Values) -> PickedValues:
        """Those of a view are the same, or pairs that begin with them: the greatest (at, x) has the greatest at."""
        wanted = _without(values.where, self._asked.where)
        told = self._of_keys(values, wanted)
        if told is not None:
            return told
        count, asked = len(values.arguments), list(map(nameless, values.arguments))
        tables = zip(self._kept.values, self._kept.kept_places, self._kept.value_views, strict=True)
        for known, places, table in sorted(tables, key=lambda one: len(one[0].arguments)):
            if list(map(nameless, known.arguments[:count])) != asked:
                continue
            left = self._left(wanted, _without(known.where, self._kept.where))
            if left is None:
                continue
            filter = all_of(left)
            of = "" if len(known.arguments) == count else f"of the pairs of {values_texts(known)[0]}, which are "
            self._proof += [f"{text} is {of}kept{where_said(filter)}" for text in values_texts(values)]
            if Kept.DISTINCT in values.kept or not set(values.kept) <= set(known.kept):
                ids = table.table.primary_key[len(self._keys) :][:count]
                parts = tuple(table.table.by_id[id].node for id in ids)
                return PickedValues(table=table, in_table=PickedValue(parts=parts, filter=filter))
            columns = [tuple(self._view_column(id) for id in places[kept][:count]) for kept in values.kept]
            return PickedValues(columns=tuple(PickedValue(parts=parts, filter=filter) for parts in columns))
        raise NearMiss(f"it does not keep {' and '.join(values_texts(values))}")

    def _of_keys(self, values: Values, wanted: Sequence[Expression]) -> PickedValues | None:
        """Values that all rows of a group share. A group has one if it has a row of which ``wanted`` is true."""
        parts = self._all(values.arguments)
        if parts is None:
            return None
        found: list[list[Expression]] = []
        for known, own, kept, _, places in self._known.states:
            left = self._left(wanted, own) if known.sort is Sort.COUNT and kept is None else None
            if left is not None and own:
                none = Literal(value=0, type=BIGINT)
                some = Call(function="greater", arguments=(self._view_column(places[0]), none), type=BOOLEAN)
                left.append(some)
            if left is not None:
                found.append(left)
        if not found:
            return None
        filter = all_of(min(found, key=len))
        same = ", ".join(map(expression_text, values.arguments))
        self._proof += [f"{text} is that of its groups, whose rows share {same}" for text in values_texts(values)]
        return PickedValues(columns=(PickedValue(parts=parts, filter=filter),))

    def _view_column(self, id: int) -> Column:
        return self._kept.table.by_id[id].node

    def _ends(self, bounds: Sequence[tuple[Expression, str, Expression]], wanted: Sequence[Expression]) -> Ends | None:
        if not bounds:
            return None
        moments = {repr(moment): moment for moment, _, _ in bounds}
        if len(moments) > 1:
            raise NearMiss("its windows are of more than one time")
        (moment,) = moments.values()
        candidates = [(buckets, column) for of, buckets, column in self._buckets if of == moment]
        buckets, column = min(candidates, key=lambda found: (found[0].by_month, found[0].width))
        found = tuple((function, value) for _, function, value in bounds)
        others = tuple(part for part in wanted if _bound(part) not in bounds)
        return Ends(moment=moment, column=column, buckets=buckets, bounds=found, others=others)

    def over_groups(self, node: Expression) -> Expression | None:
        """An expression over the table's columns as one over those of the groups; None where groups do not say it.

        What sides say of a row, they say of its group.
        """
        if isinstance(node, Literal | Parameter):
            return node
        if isinstance(node, Column) and node.id > 0 and node.id not in self._known.reads:
            return None
        plain = nameless(node)
        for key, column in self._keys:
            if key == plain:
                return column
        about = constant_in(node)
        if about is not None:
            for moment, buckets, column in self._buckets:
                if moment == about[0] and about[1].made_of(buckets):
                    return _put(node, moment, column)
        match node:
            case Column():
                return node if node.id < 0 else None
            case Call():
                parts = self._all(node.arguments)
                if parts is not None and node.function not in _BY_VALUE and any(map(_is_float, parts)):
                    return None
                return None if parts is None else Call(function=node.function, arguments=parts, type=node.type)
            case Cast():
                inner = self.over_groups(node.argument)
                return None if inner is None or _is_float(inner) else Cast(argument=inner, type=node.type)
            case Case():
                parts = self._all([*(part for branch in node.branches for part in branch), node.default])
                if parts is None or any(map(_is_float, parts)):
                    return None
                branches = tuple(zip(parts[:-1:2], parts[1:-1:2], strict=True))
                return Case(branches=branches, default=parts[-1], type=node.type)

    def _all(self, nodes: Sequence[Expression]) -> tuple[Expression, ...] | None:
        known: list[Expression] = []
        for part in nodes:
            found = self.over_groups(part)
            if found is None:
                return None
            known.append(found)
        return tuple(known)


def _is_float(part: Expression) -> bool:
    """Whether it is a column of groups in which 0 and -0 are one, which functions may tell apart."""
    return isinstance(part, Column) and part.id > 0 and part.type.kind in (Kind.REAL, Kind.DOUBLE)


def _put(node: Expression, moment: Expression, column: Column) -> Expression:
    """A function of a moment as that of the start of its bucket."""

    def started(part: Expression) -> Expression:
        if moment_of(part) != moment:
            return part
        return column if column.type == part.type else Cast(argument=column, type=part.type)

    found = transform(node, started)
    check_supported(found)
    return found


def _bound(part: Expression) -> tuple[Expression, str, Expression] | None:
    """A comparison with what has no columns: the other side, the function, the constant."""
    if not isinstance(part, Call) or part.function not in BOUNDS:
        return None
    left, right = part.arguments
    if columns_of(left) and not columns_of(right):
        return moment_of(left), part.function, right
    return (moment_of(right), BOUNDS[part.function], left) if columns_of(right) and not columns_of(left) else None


def _fixed(part: Expression) -> Iterator[int]:
    """The columns that a condition leaves one value."""
    if isinstance(part, Call) and part.function == "equal":
        for one, other in (part.arguments, part.arguments[::-1]):
            if isinstance(one, Column) and not columns_of(other):
                yield one.id


def filter_of(values: Values, asked: Maintained) -> list[Expression]:
    """What FILTER says of the rows whose values are kept."""
    there = Call(function="is_not_null", arguments=(nameless(values.arguments[0]),), type=BOOLEAN)
    return [part for part in _without(values.where, asked.where) if part != there]


def _without(condition: Expression | None, other: Expression | None) -> list[Expression]:
    """What one condition says more than another."""
    left = [] if other is None else [nameless(part) for part in conjuncts(other)]
    found = [] if condition is None else [nameless(part) for part in conjuncts(condition)]
    return [part for part in found if part not in left]
