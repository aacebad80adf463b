"""How a grouped SELECT is answered from views, for these constants: what is read of which view, and of the table.

    conditions, their constants computed ─► roll-ups that hold ─► what each of them would read ─► the cheapest

    a window of time        a─────────────────────────────────────b
    a view by day               [day ][day ][day ][day ][day ]          its whole days
    a view by hour            [h]                             [h][h]    hours beside them, where rows would be more
    rows                     ─                                     ─    the rest: added, or taken away from a whole hour

A way that reads nearly as much as the table's rows would be is none. What was chosen is kept with the plan for the next
run with the same constants, until the table's statistics are others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from ...base.limits import VIEW_GROUPS_MAX
from ...base.types import BOOLEAN, Kind
from ...engine.expression.functions import FUNCTIONS, Volatility
from ...engine.expression.node import Call, Column, Expression
from ...engine.expression.tree import all_of, conjuncts, walk
from ...engine.selectivity import rows_expected
from ..pushdown import Moment, finish
from .buckets import DAY, Cut, Window
from .implied import follows
from .match import Ends, RollUp
from .select import Matched
from .sides import is_own

if TYPE_CHECKING:
    from ...engine.reader import Reader
    from ...engine.statistics import TableStatistics

ROWS_PER_GROUP: Final = 16
"""A kernel looks at so many rows while a group is added to another one."""

GROUPS_PER_ROW_READ: Final = 2
"""So many groups are added up while one row of an end is found and read, whatever the query asks of it: 58 ns each."""

GROUPS_PER_ROW: Final = 2
"""So many more while one of those that it asks for is made a group."""

GROUPS_PER_READ: Final = 4_000
"""So many while one more table begins to be read: 0.25 ms."""

FINER_FROM: Final = 12_000
"""An end that costs less is read as rows, without a look at views of smaller buckets."""

FEW: Final = 20_000
"""Groups and rows that are always worth it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Groups of a view that are read: those for which ``filter`` is true. ``memo``: how (run.py)."""

    roll: RollUp
    filter: tuple[Expression, ...]
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Rows of the table beside the groups that are read, to be added (``sign`` 1) or taken away (-1): those within
    ``window`` of ``moment`` for which ``filter`` is true.
    """

    moment: Expression
    window: tuple[int, int]
    filter: tuple[Expression, ...]
    sign: int

    @property
    def conditions(self) -> tuple[Expression, ...]:
        """All that the rows have to meet."""
        window = Window(start=self.window[0], stop=self.window[1])
        return (*self.filter, *window.conditions(self.moment, _compare))


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Groups of a view, perhaps of others beside them, and rows. ``cost``: in groups; ``rows``: all that the query asks
    for; both about.
    """

    pieces: tuple[Piece, ...]
    ends: tuple[End, ...]
    cost: int
    rows: int

    @property
    def is_worth(self) -> bool:
        return self.cost <= max(self.rows // ROWS_PER_GROUP, FEW) and self.cost <= VIEW_GROUPS_MAX

    @property
    def shown(self) -> RollUp:
        """That of the view with the most groups, with what is read of others in its proof."""
        roll = self.pieces[0].roll
        others = dict.fromkeys(piece.roll.view.name for piece in self.pieces[1:])
        return replace(
            roll, proof=(*roll.proof, *(f"smaller buckets beside these come from {name}" for name in others))
        )


def way_of(matched: Matched, reader: Reader, moment: Moment) -> tuple[Way | None, str | None]:
    """The cheapest way that is worth it; else why there is none."""
    known = reader.statistics(matched.use.table).number
    constants = repr(moment.parameters), moment.now if _is_of_now(matched) else None
    last = matched.memo.get("chosen")
    if last is not None and last.known == known and last.constants == constants:
        return last.way, last.why
    way, why = _chosen(matched, reader, moment)
    matched.memo["chosen"] = _Chosen(known=known, constants=constants, way=way, why=why)
    return way, why


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """What was chosen for these constants, with statistics of the table that are ``known`` by their number."""

    known: int
    constants: tuple[str, int | None]
    way: Way | None
    why: str | None


def _is_of_now(matched: Matched) -> bool:
    """Whether any condition reads the statement's time."""
    found = matched.memo.get("of_now")
    if found is None:
        parts = [matched.asked.where, *(values.where for values in matched.asked.values)]
        for roll in matched.ways:
            parts += [*roll.given, *roll.kept, *roll.filter]
            parts += [] if roll.ends is None else [*roll.ends.others, *(value for _, value in roll.ends.bounds)]
        found = matched.memo["of_now"] = any(
            isinstance(node, Call) and FUNCTIONS[node.function].volatility is not Volatility.IMMUTABLE
            for part in parts
            if part is not None
            for node in walk(part)
        )
    return found


def _chosen(matched: Matched, reader: Reader, moment: Moment) -> tuple[Way | None, str | None]:
    where = matched.asked.where
    conditions = _finished(() if where is None else conjuncts(where), moment)
    held = [] if conditions is None else [one for roll in matched.ways if (one := _held(roll, conditions, moment))]
    choice = _Choice(matched, held, reader, conditions or ())
    found = [way for one in held if (way := choice.way(one)) is not None]
    if not found:
        return None, "with these constants no view says all that is asked"
    best = min(found, key=lambda way: way.cost)
    if best.is_worth:
        return best, None
    return None, f"about {best.cost:,} groups for {best.rows:,} rows are no gain"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A roll-up that holds for these constants. ``filter``: of its groups; ``rows``: of the rows beside them, both but
    for the ``window`` of time.
    """

    roll: RollUp
    filter: tuple[Expression, ...]
    rows: tuple[Expression, ...]
    window: Window | None

    @property
    def ends(self) -> Ends:
        assert self.roll.ends is not None, "it has a window"
        return self.roll.ends

    def beside(self, cut: Cut) -> End:
        """The rows beside a cut of its window."""
        return End(moment=self.ends.moment, window=cut.beside, filter=self.rows, sign=cut.sign)

    def within(self, *windows: Window) -> Piece:
        """The groups of whole buckets: those of both ends of a window are one read."""
        bounds = [window.conditions(self.ends.column, _compare) for window in windows]
        if len(bounds) == 1:
            return Piece(roll=self.roll, filter=(*self.filter, *bounds[0]))
        either = tuple(part for found in bounds if (part := all_of(found)) is not None)
        return Piece(roll=self.roll, filter=(*self.filter, Call(function="or", arguments=either, type=BOOLEAN)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edge:
    """An end of a window: where the buckets of a view are cut, and what is read beside them: ``pieces``, windows of
    other views, and rows.
    """

    at: int
    pieces: tuple[tuple[_Held, Window], ...] = ()
    ends: tuple[End, ...] = ()
    cost: float = 0


def _held(roll: RollUp, conditions: Sequence[Expression], moment: Moment) -> _Held | None:
    own, others = _finished(roll.given, moment), _finished(roll.ends.others if roll.ends else (), moment)
    kept, filter = _finished(roll.kept, moment), _finished(roll.filter, moment)
    if own is None or others is None or kept is None or filter is None:
        return None
    if not all(follows(part, conditions) for part in own) or not all(follows(part, own) for part in kept):
        return None
    window = None if roll.ends is None else _window(roll.ends, moment)
    if roll.ends is not None and window is None:
        return None
    return _Held(roll=roll, filter=tuple(filter), rows=(*own, *others), window=window)


class _Choice:
    """What the ways of a SELECT cost. ``held``: its roll-ups; ``conditions``: of its rows."""

    def __init__(
        self, matched: Matched, held: Sequence[_Held], reader: Reader, conditions: Sequence[Expression]
    ) -> None:  # fmt: skip
        self._held, self._reader = held, reader
        self._base = base = reader.statistics(matched.use.table)
        self._rows = rows_expected(all_of(_own(conditions)), base, rows_max=base.rows)
        self._sizes: dict[str, list[tuple[int, TableStatistics]]] = {}
        """Of views by name: the groups that are asked for at all times, and values of them."""

    def way(self, held: _Held) -> Way | None:
        """The cheapest with the groups of this view in its middle; None: it has no whole bucket."""
        if held.window is None:
            pieces, ends, cost, whole = (Piece(roll=held.roll, filter=held.filter),), (), 0.0, Window()
        else:
            try:
                edges = [self._edge(held, held.window, at_start=at_start) for at_start in (True, False)]
            except (OverflowError, ValueError):  # beyond the calendar
                return None
            start, stop = (None if edge is None else edge.at for edge in edges)
            whole, known = Window(start=start, stop=stop), [edge for edge in edges if edge is not None]
            if whole.is_empty:
                return None
            others: dict[str, tuple[_Held, list[Window]]] = {}
            for finer, window in (piece for edge in known for piece in edge.pieces):
                others.setdefault(finer.roll.view.name, (finer, []))[1].append(window)
            pieces = (held.within(whole), *(finer.within(*windows) for finer, windows in others.values()))
            ends = tuple(end for edge in known for end in edge.ends)
            cost = sum(edge.cost for edge in known)
        return Way(pieces=pieces, ends=ends, cost=round(cost + self._groups(held, whole)), rows=self._rows)

    def _groups(self, held: _Held, window: Window) -> float:
        """How many groups are read of a window, and values of them."""
        roll = held.roll
        assert roll.view.groups is not None, "the view is kept"
        sizes = self._sizes.get(roll.view.name)
        if sizes is None:
            own, sizes = all_of(_own(held.filter)), []
            for table in (roll.view.groups, *(of.table.table for of in roll.values if of.table is not None)):
                known = self._reader.statistics(table)
                sizes.append((rows_expected(own, known, rows_max=known.rows), known))
            self._sizes[roll.view.name] = sizes
        if held.window is None:
            return sum(rows for rows, _ in sizes)
        return sum(rows * _share(window, held.ends.column, known) for rows, known in sizes)

    def _edge(self, held: _Held, window: Window, *, at_start: bool) -> _Edge | None:
        """The cheapest way to cut a window at one side; None: it has no bound there."""
        cuts = self._cuts(held, window, at_start=at_start)
        if not cuts:
            return None
        best = self._by_rows(held, cuts)
        inside = cuts[0]
        if best.cost > FINER_FROM:
            beside = Window(start=inside.beside[0], stop=inside.beside[1])
            for finer in self._held:
                if finer.window is not None and _is_finer(finer.roll, held.roll):
                    found = self._by_groups(finer, beside, at_start=at_start)
                    best = best if found is None or best.cost <= found.cost else replace(found, at=inside.at)
        return best

    def _by_rows(self, held: _Held, cuts: Sequence[Cut]) -> _Edge:
        cut = min(cuts, key=lambda cut: self._length(held, *cut.beside))
        if cut.beside[0] >= cut.beside[1]:
            return _Edge(at=cut.at)
        window = held.window or Window()  # all of what is asked for, of each view
        length = self._length(held, *cut.beside)
        low, high = _span(held.ends.moment, self._base)
        asked = length / max(self._length(held, window.start, window.stop), 1) * self._rows
        read = asked if low is None or high is None else length / (high - low) * self._base.rows
        cost = GROUPS_PER_READ + GROUPS_PER_ROW_READ * read + GROUPS_PER_ROW * asked
        return _Edge(at=cut.at, ends=(held.beside(cut),), cost=cost)

    def _by_groups(self, finer: _Held, beside: Window, *, at_start: bool) -> _Edge | None:
        """What is ``beside`` the buckets of another view as smaller ones, and what is beside these."""
        edge = self._edge(finer, beside, at_start=at_start)
        assert edge is not None, "what is beside a bucket has two bounds"
        whole = Window(start=edge.at, stop=beside.stop) if at_start else Window(start=beside.start, stop=edge.at)
        if whole.is_empty:
            return None
        cost = edge.cost + GROUPS_PER_READ + self._groups(finer, whole)
        return replace(edge, pieces=((finer, whole), *edge.pieces), cost=cost)

    def _cuts(self, held: _Held, window: Window, *, at_start: bool) -> tuple[Cut, ...]:
        buckets = held.ends.buckets
        cuts = window.cut_at_start(buckets) if at_start else window.cut_at_stop(buckets)
        return cuts[:1] if held.roll.asked.values else cuts  # rows come out of counts and sums again, of values not

    def _length(self, held: _Held, start: int | None, stop: int | None) -> float:
        """Of a window, as far as there are rows in it."""
        low, high = _span(held.ends.moment, self._base)
        return _overlap(start, stop, low, high)


def _span(moment: Expression, known: TableStatistics) -> tuple[int | None, int | None]:
    """The moments that there are in a column."""
    column = known.columns.get(moment.id) if isinstance(moment, Column) else None
    if column is None or column.low is None or column.high is None:
        return None, None
    scale = DAY if moment.type.kind is Kind.DATE else 1
    return column.low * scale, (column.high + 1) * scale


def _overlap(start: int | None, stop: int | None, low: int | None, high: int | None) -> float:
    """How long a window is within a span, either perhaps without bounds."""
    starts, stops = [at for at in (start, low) if at is not None], [at for at in (stop, high) if at is not None]
    return max(min(stops) - max(starts), 0) if starts and stops else math.inf


def _share(window: Window, column: Column, known: TableStatistics) -> float:
    """The part of a view's groups whose bucket begins in a window, one bucket at least."""
    low, high = _span(column, known)
    if low is None or high is None:
        return 1.0
    return max(
        _overlap(window.start, window.stop, low, high) / (high - low), 1 / max(known.columns[column.id].distinct, 1)
    )


def _is_finer(one: RollUp, other: RollUp) -> bool:
    """Whether a view's buckets are parts of another's, of the same moments, and both are groups of the same things."""
    if one.ends is None or other.ends is None or one.asked != other.asked or one.ends.moment != other.ends.moment:
        return False
    return other.ends.buckets.made_of(one.ends.buckets) and not one.ends.buckets.made_of(other.ends.buckets)


def _window(ends: Ends, moment: Moment) -> Window | None:
    """The window of time that is asked for; None: there is no telling."""
    window: Window | None = Window()
    for function, value in ends.bounds:
        bound = finish(_compare(function, ends.moment, value), moment)
        literal = bound.arguments[1] if isinstance(bound, Call) and len(bound.arguments) == 2 else None
        if window is None or literal is None or not isinstance(bound, Call):
            return None
        window = window.within(bound.function, getattr(literal, "value", None))
    return window


def _own(parts: Sequence[Expression]) -> list[Expression]:
    """Those that read no side."""
    return [part for part in parts if is_own(part)]


def _compare(function: str, subject: Expression, value: Expression) -> Expression:
    return Call(function=function, arguments=(subject, value), type=BOOLEAN)


def _finished(parts: Sequence[Expression], moment: Moment) -> list[Expression] | None:
    """Conditions with their constants; None where one cannot be computed."""
    found = [finish(part, moment) for part in parts]
    known = [part for part in found if part is not None]
    return known if len(known) == len(found) else None


__all__ = ["End", "Piece", "Way", "way_of"]
