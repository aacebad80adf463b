"""Answering the grouped SELECTs of a query from views: the cheapest that is worth it, at the reader's snapshot.

    the way that it is answered (ways.py): groups of views, and rows beside them ─ joined with sides ─► RolledUp
    its groups ─► keys and aggregates

If one SELECT of a query has no way, the whole query runs by the plan without views.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from ...base.limits import VIEW_GROUPS_MAX
from ...engine.aggregates.definition import Maintained
from ...engine.aggregates.partners import Partners
from ...engine.aggregates.rollup import Reading, RolledUp
from ...engine.clock import monotonic
from ...engine.computed import evaluated
from ...engine.expression.evaluate import evaluate_filter
from ...engine.expression.node import Expression
from ...engine.expression.tree import all_of, columns_of, nameless
from ...engine.pipeline.shape import NotCovered
from ..parts import VIEWS, Grouped
from ..pushdown import Moment, simple, with_constants
from .select import Matched
from .sides import RowsOf, joined
from .ways import Piece, Way, way_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.reader import Reader
    from ...engine.schema import Table


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
        found.add_rows(_beside(matched, way, partners, reader, check), _rows_asked(asked, moment))
    groups = found.groups(alone=way.pieces[0].roll.alone and len(way.pieces) == 1 and not way.ends)
    return pa.Table.from_batches([_outputs(asked, groups)]), [*read, found.rows_read]


def _add_groups(
    found: RolledUp, piece: Piece, partners: Sequence[Partners], reader: Reader, check: Callable[[], None]
) -> None:
    """Add the groups of a piece, joined with sides, and the values that they have."""
    roll = piece.roll
    pushed, filter = _pushed(piece.filter)
    assert roll.view.groups is not None, "the view is kept"
    joins = [key for keys in roll.sides for key in keys]
    reads = {id for part in (*roll.keys, *piece.filter, *joins) for id in columns_of(part)}
    reads = reads.union(*(part.reads for part in (*roll.states, *(part for of in roll.values for part in of.columns))))
    of = Reading(
        keys=roll.keys,
        states=roll.states,
        values=[values.columns for values in roll.values],
        filter=filter,
    )
    brought = tuple(int(name) for side in partners for name in side.names)

    def batches(table: Table, ids: Sequence[int]) -> Iterator[pa.RecordBatch]:
        scan = reader.scan(table, columns=ids, filter=pushed)
        return joined(_checked(scan.batches(), check), ids, partners, roll.sides)

    ids = _of_table(reads)
    found.add_groups(batches(roll.view.groups, ids), (*ids, *brought), of)
    for number, values in enumerate(roll.values):
        if values.table is not None and values.in_table is not None:
            table = values.table.table
            ids = tuple(column.id for column in table.columns)
            found.add_values(number, batches(table, ids), (*ids, *brought), of, values.in_table, count=ids[-1])


def _beside(
    matched: Matched, way: Way, partners: Sequence[Partners], reader: Reader, check: Callable[[], None]
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """The rows of the ends, joined with sides, each batch with its sign. Columns are named by identifiers."""
    keys = [side.keys for side in matched.sides]
    read = {id for end in way.ends for part in end.conditions for id in columns_of(part)}
    read |= {*way.pieces[0].roll.asked.reads, *(id for parts in keys for part in parts for id in columns_of(part))}
    ids = _of_table(read)
    names = [str(id) for id in ids]
    for end in way.ends:
        pushed, where = _pushed(end.conditions)
        scan = reader.scan(matched.use.table, columns=ids, filter=pushed)
        batches = (batch.rename_columns(names) for batch in _checked(scan.batches(), check))
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


def _outputs(asked: Maintained, groups: pa.RecordBatch) -> pa.RecordBatch:
    ids = [int(name) for name in groups.schema.names]
    keys = len(asked.keys)
    columns = [evaluated(output, groups, ids) for output in asked.outputs]
    names = [f"k{place}" if place < keys else f"a{place - keys}" for place in range(len(columns))]
    return pa.RecordBatch.from_arrays(columns, names=names)


def _of_table(ids: Collection[int]) -> tuple[int, ...]:
    """Those of columns that no side brings, in order."""
    return tuple(sorted(id for id in ids if id > 0))


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
