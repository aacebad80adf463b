"""Answering the grouped SELECTs of a query from views: the cheapest that is worth it, at the reader's snapshot.

    the way that it is answered (ways.py): groups of views, and rows beside them ─ joined with sides ─► RolledUp
    its groups ─► keys and aggregates

If one SELECT of a query has no way, the whole query runs by the plan without views.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from ...base.limits import VIEW_GROUPS_MAX
from ...base.types import Kind
from ...engine.aggregates.definition import Maintained
from ...engine.aggregates.partners import Partners
from ...engine.aggregates.rollup import Reading, RolledUp
from ...engine.clock import monotonic
from ...engine.computed import evaluated
from ...engine.expression.evaluate import evaluate_filter
from ...engine.expression.node import Column, Expression
from ...engine.expression.tree import all_of, columns_of, nameless
from ...engine.pipeline.shape import NotCovered
from ..parts import VIEWS, Grouped
from ..pushdown import Moment, simple, with_constants
from .select import Matched
from .sides import RowsOf, is_own, joined
from .ways import End, Piece, Way, way_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.reader import Reader
    from ...engine.schema import Table

_SIGN: Final = 0
"""No column's identifier: under it rows have their sign while they go through joins and filters."""


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
            seconds = monotonic() - began
            for place, piece in enumerate(way.pieces):
                # The rows beside all groups, and the time, count for the first.
                rows, groups = (read[0] + read[-1], found[part.name].num_rows) if not place else (read[place],) * 2
                name = piece.roll.view.name
                note(
                    Grouped(
                        alias=part.use.alias, kernel=name, sink=VIEWS, groups=groups, rows=rows,
                        seconds=0.0 if place else seconds,
                    )
                )  # fmt: skip
    return found


def _answer(
    matched: Matched, way: Way, partners: Sequence[Partners], reader: Reader, moment: Moment, check: Callable[[], None]
) -> tuple[pa.Table, list[int]]:
    """The groups of a SELECT, and how many groups and rows were read: those of each piece, and of the ends."""
    asked = way.pieces[0].roll.asked
    found = RolledUp(asked, groups_max=VIEW_GROUPS_MAX)
    read: list[int] = []
    for piece in way.pieces:
        before = found.groups_read
        _add_groups(found, piece, partners, reader, check)
        read.append(found.groups_read - before)
    if way.ends:
        of = _rows_asked(asked, moment)
        found.add_rows(_beside(matched, way.ends, of, partners, reader, check), of)
    groups = found.groups(alone=way.pieces[0].roll.alone and len(way.pieces) == 1 and not way.ends)
    return pa.Table.from_batches([_outputs(asked, groups)]), [*read, found.rows_read]


def _add_groups(
    found: RolledUp, piece: Piece, partners: Sequence[Partners], reader: Reader, check: Callable[[], None]
) -> None:
    """Add the groups of a piece, joined with sides, and the values that they have."""
    read = piece.memo.get("read")
    if read is None:
        read = piece.memo["read"] = _read_of(piece)
    roll = piece.roll
    brought = tuple(int(name) for side in partners for name in side.names)

    def batches(table: Table, ids: Sequence[int]) -> Iterator[pa.RecordBatch]:
        scan = reader.scan(table, columns=ids, filter=read.pushed)
        return joined(_checked(scan.batches(), check), ids, partners, roll.sides)

    assert roll.view.groups is not None, "the view is kept"
    found.add_groups(batches(roll.view.groups, read.ids), (*read.ids, *brought), read.of)
    for number, values in enumerate(roll.values):
        if values.table is not None and values.in_table is not None:
            table = values.table.table
            ids = tuple(column.id for column in table.columns)
            found.add_values(number, batches(table, ids), (*ids, *brought), read.of, values.in_table, count=ids[-1])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """How the groups of a piece are read: their columns ``ids``, those for which ``pushed`` is true."""

    ids: tuple[int, ...]
    pushed: Expression | None
    of: Reading


def _read_of(piece: Piece) -> _Read:
    roll = piece.roll
    pushed, filter = _pushed(piece.filter)
    asked_of_all = () if filter is None else (filter,)
    joins = [key for keys in roll.sides for key in keys]
    reads = {id for part in (*roll.keys, *asked_of_all, *joins) for id in columns_of(part)}
    reads = reads.union(*(part.reads for part in (*roll.states, *(part for of in roll.values for part in of.columns))))
    return _Read(
        ids=_of_table(reads),
        pushed=pushed,
        of=Reading(
            keys=roll.keys,
            states=roll.states,
            values=[values.columns for values in roll.values],
            filter=filter,
        ),
    )


def _beside(
    matched: Matched,
    ends: Sequence[End],
    asked: Maintained,
    partners: Sequence[Partners],
    reader: Reader,
    check: Callable[[], None],
) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """The rows of the ends, joined with sides, and the sign of each (int8). Columns are named by identifiers."""
    keys = [side.keys for side in matched.sides]
    needed = {*asked.reads, *columns_of(ends[0].moment)}
    needed = needed.union(*(columns_of(part) for parts in keys for part in parts))
    for rows, where in _rows_of(matched.use.table, ends, needed, reader, check):
        for batch in joined(iter((rows,)), list(map(int, rows.schema.names)), partners, keys):
            known = list(map(int, batch.schema.names))
            if where is not None:
                batch = batch.filter(evaluate_filter(where, batch, column_ids=known))
            place = known.index(_SIGN)
            yield batch.remove_column(place), batch.column(place).to_numpy()


def _rows_of(
    table: Table, ends: Sequence[End], needed: Collection[int], reader: Reader, check: Callable[[], None]
) -> Iterator[tuple[pa.RecordBatch, Expression | None]]:
    """The rows of the ends with their signs, and what is still to be asked of them: in one read, or scan by scan."""
    moment, filter = ends[0].moment, ends[0].filter
    same = all(end.moment == moment and end.filter == filter for end in ends)
    if same and isinstance(moment, Column) and moment.id == table.time and moment.type.kind is not Kind.DATE:
        own = all_of([part for part in filter if is_own(part)])
        left = all_of([part for part in filter if not is_own(part)])
        ids = _of_table([*needed, *(() if left is None else columns_of(left))])
        found = reader.windows(table, [end.window for end in ends], columns=ids, filter=own)
        if found is not None:
            check()
            batch, which = found
            yield _signed(batch, ids, np.array([end.sign for end in ends], np.int8)[which]), left
            return
    for end in ends:
        pushed, left = _pushed(end.conditions)
        ids = _of_table([*needed, *(() if left is None else columns_of(left))])
        for batch in _checked(reader.scan(table, columns=ids, filter=pushed).batches(), check):
            yield _signed(batch, ids, np.full(batch.num_rows, end.sign, np.int8)), left


def _signed(batch: pa.RecordBatch, ids: Sequence[int], signs: np.ndarray) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([*batch.columns, pa.array(signs)], names=[str(id) for id in (*ids, _SIGN)])


def _rows_asked(asked: Maintained, moment: Moment) -> Maintained:
    """The query of rows of which its conditions are known to be true."""
    if not asked.values:
        return asked.unfiltered
    values = (
        each if each.where is None else dataclasses.replace(each, where=with_constants(each.where, moment))
        for each in asked.values
    )
    return dataclasses.replace(asked, where=None, values=tuple(values))


def _outputs(asked: Maintained, groups: pa.RecordBatch) -> pa.RecordBatch:
    ids = [int(name) for name in groups.schema.names]
    keys = len(asked.keys)
    columns = [evaluated(output, groups, ids) for output in asked.outputs]
    names = [f"k{place}" if place < keys else f"a{place - keys}" for place in range(len(columns))]
    return pa.RecordBatch.from_arrays(columns, names=names)


def _of_table(ids: Collection[int]) -> tuple[int, ...]:
    """Those of columns that no side brings, in order."""
    return tuple(sorted({id for id in ids if id > 0}))


def _pushed(conditions: Sequence[Expression]) -> tuple[Expression | None, Expression | None]:
    """What the engine leaves rows out by, and what is to be asked of the others."""
    columns = {id: id for part in conditions for id in columns_of(part) if id > 0}
    pushed: list[Expression] = []
    left: list[Expression] = []
    for part in conditions:
        found = simple(part, columns)
        pushed += [] if found is None else [found]
        left += [part] if found is None or nameless(found) != nameless(part) else []
    return all_of(pushed), all_of(left)


def _checked(batches: Iterator[pa.RecordBatch], check: Callable[[], None]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        check()
        yield batch
