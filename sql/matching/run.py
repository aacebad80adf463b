"""Answering the grouped SELECTs of a query from views: the cheapest that is worth it, at the reader's snapshot.

    conditions, their constants computed ─► which ways hold ─► groups and rows they would read ─► the cheapest
    its groups, and rows beside them (End) ─ joined with sides ─► RolledUp ─► keys and aggregates

A way that does not hold for these constants, or reads nearly as much as the table's rows would be, is none. If one
SELECT of a query has no way, the whole query runs by the plan without views.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from ...base.limits import VIEW_GROUPS_MAX
from ...base.types import BOOLEAN, Kind
from ...engine.aggregates.definition import Maintained
from ...engine.aggregates.partners import Partners
from ...engine.aggregates.rollup import RolledUp
from ...engine.clock import monotonic
from ...engine.computed import evaluated
from ...engine.expression.evaluate import evaluate_filter
from ...engine.expression.node import Call, Column, Expression
from ...engine.expression.tree import all_of, columns_of, conjuncts, nameless
from ...engine.pipeline.shape import NotCovered
from ...engine.selectivity import rows_expected
from ..parts import VIEWS, Grouped
from ..pushdown import Moment, finish, simple, with_constants
from .buckets import DAY, Cut, Window
from .implied import follows
from .match import Ends, RollUp
from .select import Matched
from .sides import RowsOf, is_own, joined

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.reader import Reader
    from ...engine.statistics import TableStatistics

ROWS_PER_GROUP: Final = 16
"""A kernel looks at so many rows while a group is added to another one."""

GROUPS_PER_ROW: Final = 4
"""So many groups are added up while one row of an end is found, read and made a group: 230 ns and 58 ns, measured."""

FEW: Final = 10_000
"""Groups and rows that are always worth it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Rows of the table beside the buckets that are read: to be added (``sign`` 1), or taken away (-1)."""

    conditions: tuple[Expression, ...]
    sign: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A roll-up with its constants. ``filter``: of groups; ``ends``: the table's rows beside them.

    ``cost``: groups that it reads, about, and what its rows are worth in groups.
    """

    roll: RollUp
    filter: tuple[Expression, ...]
    ends: tuple[End, ...]
    cost: int
    rows: int

    @property
    def is_worth(self) -> bool:
        return self.cost <= max(self.rows // ROWS_PER_GROUP, FEW) and self.cost <= VIEW_GROUPS_MAX


def way_of(matched: Matched, reader: Reader, moment: Moment) -> tuple[Way | None, str | None]:
    """The cheapest way that is worth it; else why there is none."""
    where = matched.asked.where
    conditions = _finished(() if where is None else conjuncts(where), moment)
    found: list[Way] = []
    if conditions is not None:
        base = reader.statistics(matched.use.table)
        rows = rows_expected(all_of(_own(conditions)), base, rows_max=base.rows)
        ways = (_way(roll, conditions, rows, base, reader, moment) for roll in matched.ways)
        found = [way for way in ways if way is not None]
    if not found:
        return None, "with these constants no view says all that is asked"
    best = min(found, key=lambda way: way.cost)
    if best.is_worth:
        return best, None
    return None, f"about {best.cost:,} groups for {best.rows:,} rows are no gain"


def answers(
    matched: Sequence[Matched],
    reader: Reader,
    moment: Moment,
    *,
    rows_of: RowsOf,
    check: Callable[[], None],
    note: Callable[[Grouped], None] | None = None,
) -> dict[str, pa.Table] | None:
    """The groups of each SELECT by the name that it has for them; None where one has no way. Raises Invalid.

    ``rows_of`` answers the queries of sides.
    """

    def none(part: Matched, why: str | None) -> None:
        if note is not None:
            note(Grouped(alias=part.use.alias, sink=VIEWS, why_not=why))

    ways: list[Way] = []
    for part in matched:
        way, why = way_of(part, reader, moment)
        if way is None:
            return none(part, why)
        ways.append(way)
    partners: list[list[Partners]] = []
    for part in matched:
        try:
            partners.append([side.partners(rows_of) for side in part.sides])
        except NotCovered as error:
            return none(part, str(error))
    found: dict[str, pa.Table] = {}
    for part, way, sides in zip(matched, ways, partners, strict=True):
        began = monotonic()
        try:
            found[part.name], read = _answer(part, way, sides, reader, moment, check)
        except NotCovered as error:
            return none(part, str(error))
        if note is not None:
            note(
                Grouped(
                    alias=part.use.alias,
                    kernel=way.roll.view.name,
                    sink=VIEWS,
                    groups=found[part.name].num_rows,
                    rows=read,
                    seconds=monotonic() - began,
                )
            )
    return found


def _way(
    roll: RollUp, conditions: list[Expression], rows: int, base: TableStatistics, reader: Reader, moment: Moment
) -> Way | None:  # fmt: skip
    """A roll-up for these constants, which select about ``rows`` rows; None where it does not hold."""
    own = _finished(roll.given, moment)
    kept, filter = _finished(roll.kept, moment), _finished(roll.filter, moment)
    if own is None or kept is None or filter is None:
        return None
    if not all(follows(part, conditions) for part in own) or not all(follows(part, own) for part in kept):
        return None
    ends: list[End] = []
    cost = 0
    if roll.ends is not None:
        others = _finished(roll.ends.others, moment)
        try:
            window = None if others is None else _window(roll.ends, moment)
            found = None if window is None else _cut(window, roll, base)
            if found is None or others is None:
                return None
            whole, cuts, share = found
            filter = [*filter, *whole.conditions(roll.ends.column, _compare)]
            for cut in cuts:
                beside = Window(start=cut.beside[0], stop=cut.beside[1]).conditions(roll.ends.moment, _compare)
                ends.append(End(conditions=(*own, *others, *beside), sign=cut.sign))
        except (OverflowError, ValueError):
            return None
        cost = round(GROUPS_PER_ROW * share * rows)
    groups = roll.view.groups
    assert groups is not None, "the view is kept"
    for table in (groups, *(values.table.table for values in roll.values if values.table is not None)):
        known = reader.statistics(table)
        cost += rows_expected(all_of(_own(filter)), known, rows_max=known.rows)
    return Way(roll=roll, filter=tuple(filter), ends=tuple(ends), cost=cost, rows=rows)


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


def _cut(window: Window, roll: RollUp, base: TableStatistics) -> tuple[Window, list[Cut], float] | None:
    """The buckets to read, and what is beside them: of both ways to cut an end the one with fewer rows, about; and what
    part of the window's rows these rows are. None: there are no buckets.

    Rows are taken away again from counts and sums only.
    """
    assert roll.ends is not None, "it has a window"
    ends = roll.ends
    low, high = _known(ends.moment, base)

    def length(start: int | None, stop: int | None) -> float:
        start = low if start is None or (low is not None and start < low) else start
        stop = high if stop is None or (high is not None and stop > high) else stop
        return math.inf if start is None or stop is None else max(stop - start, 0)

    cuts: list[Cut] = []
    for found in (window.cut_at_start(ends.buckets), window.cut_at_stop(ends.buckets)):
        cuts += [min(found[: 1 if roll.asked.values else 2], key=lambda cut: length(*cut.beside))] if found else []
    start = None if window.start is None else cuts[0].at
    stop = None if window.stop is None else cuts[-1].at
    whole = Window(start=start, stop=stop)
    if whole.is_empty:
        return None
    share = sum(length(*cut.beside) for cut in cuts) / max(length(window.start, window.stop), 1)
    return whole, [cut for cut in cuts if cut.beside[0] < cut.beside[1]], share


def _known(moment: Expression, base: TableStatistics) -> tuple[int | None, int | None]:
    """From where to where the moments of the rows are, in microseconds; None: not known."""
    known = base.columns.get(moment.id) if isinstance(moment, Column) else None
    if known is None or known.low is None or known.high is None:
        return None, None
    scale = DAY if moment.type.kind is Kind.DATE else 1
    return known.low * scale, (known.high + 1) * scale


def _answer(
    matched: Matched, way: Way, partners: Sequence[Partners], reader: Reader, moment: Moment, check: Callable[[], None]
) -> tuple[pa.Table, int]:
    """The groups of a SELECT, and how many groups and rows were read."""
    roll = way.roll
    groups = roll.view.groups
    assert groups is not None, "the view is kept"
    filter = all_of(way.filter)
    pushed = _pushed(way.filter)
    exact = pushed is not None and filter is not None and nameless(pushed) == nameless(filter)
    joins = [key for keys in roll.sides for key in keys]
    read = {id for part in (*roll.keys, *way.filter, *joins) for id in columns_of(part)}
    for picked in (*roll.states, *(part for values in roll.values for part in values.columns)):
        read |= picked.reads
    ids = _of_table(read)
    brought = tuple(int(name) for side in partners for name in side.names)
    found = RolledUp(
        roll.asked,
        keys=roll.keys,
        states=roll.states,
        values=[values.columns for values in roll.values],
        filter=None if exact else filter,
        groups_max=VIEW_GROUPS_MAX,
    )
    batches = _checked(reader.scan(groups, columns=ids, filter=pushed).batches(), check)
    found.add_groups(joined(batches, ids, partners, roll.sides), (*ids, *brought))
    for number, values in enumerate(roll.values):
        if values.table is not None and values.in_table is not None:
            of = values.table.table
            everything = tuple(column.id for column in of.columns)
            batches = joined(
                _checked(reader.scan(of, filter=pushed).batches(), check), everything, partners, roll.sides
            )
            found.add_values(number, batches, (*everything, *brought), values.in_table, count=everything[-1])
    if way.ends:
        found.add_rows(_beside(matched, way, partners, reader, check), _rows_asked(roll.asked, moment))
    whole = found.groups(alone=roll.alone and not way.ends)
    return pa.Table.from_batches([_outputs(roll, whole)]), found.groups_read + found.rows_read


def _beside(
    matched: Matched, way: Way, partners: Sequence[Partners], reader: Reader, check: Callable[[], None]
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """The rows of the ends, joined with sides, each batch with its sign. Columns are named by identifiers."""
    keys = [side.keys for side in matched.sides]
    read = {id for end in way.ends for part in end.conditions for id in columns_of(part)}
    read |= {*way.roll.asked.reads, *(id for parts in keys for part in parts for id in columns_of(part))}
    ids = _of_table(read)
    names = [str(id) for id in ids]
    for end in way.ends:
        pushed, where = _pushed(end.conditions), all_of(end.conditions)
        scan = reader.scan(matched.use.table, columns=ids, filter=pushed)
        batches = (batch.rename_columns(names) for batch in _checked(scan.batches(), check))
        if pushed is not None and where is not None and nameless(pushed) == nameless(where):
            where = None  # the scan asks it all
        for batch in joined(batches, ids, partners, keys):
            if where is not None:
                batch = batch.filter(evaluate_filter(where, batch, column_ids=list(map(int, batch.schema.names))))
            yield batch, end.sign


def _rows_asked(asked: Maintained, moment: Moment) -> Maintained:
    """The query of rows of which its conditions are known to be true."""
    if not asked.values:
        return asked.unfiltered
    values = (
        each if each.where is None else dataclasses.replace(each, where=with_constants(each.where, moment))
        for each in asked.values
    )
    return dataclasses.replace(asked, where=None, values=tuple(values))


def _outputs(roll: RollUp, groups: pa.RecordBatch) -> pa.RecordBatch:
    ids = [int(name) for name in groups.schema.names]
    keys = len(roll.keys)
    columns = [evaluated(output, groups, ids) for output in roll.asked.outputs]
    names = [f"k{place}" if place < keys else f"a{place - keys}" for place in range(len(columns))]
    return pa.RecordBatch.from_arrays(columns, names=names)


def _own(parts: Sequence[Expression]) -> list[Expression]:
    """Those that read no side."""
    return [part for part in parts if is_own(part)]


def _of_table(ids: Collection[int]) -> tuple[int, ...]:
    """Those of columns that no side brings, in order."""
    return tuple(sorted(id for id in ids if id > 0))


def _compare(function: str, subject: Expression, value: Expression) -> Expression:
    return Call(function=function, arguments=(subject, value), type=BOOLEAN)


def _finished(parts: Sequence[Expression], moment: Moment) -> list[Expression] | None:
    """Conditions with their constants; None where one cannot be computed."""
    found = [finish(part, moment) for part in parts]
    known = [part for part in found if part is not None]
    return known if len(known) == len(found) else None


def _pushed(conditions: Sequence[Expression]) -> Expression | None:
    """What the engine can leave rows out by."""
    columns = {id: id for part in conditions for id in columns_of(part) if id > 0}
    return all_of([part for each in conditions if (part := simple(each, columns)) is not None])


def _checked(batches: Iterator[pa.RecordBatch], check: Callable[[], None]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        check()
        yield batch
