"""Queries that need no executor: columns of one table, filtered by the engine, in the engine's order.

``SELECT id, name FROM people WHERE id = $1`` is one index probe; handing the row to DuckDB would cost ten times as
much as finding it. ``SELECT * FROM events`` on its way to a model is the scan itself, not a copy of it. The condition
must be of the shapes that ``pushdown`` sends to the engine, completely: the engine then gives exactly the rows for
which it is true. ORDER BY is for the few rows of one key, or of a small table (plan.py), which are sorted as groups
are (arrange.py); if they turn out to be many, the executor is asked.
Anything else is the relational executor's, which is this path's oracle, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from ..engine import schema
from ..engine.expression.node import Call, Column, Literal, Parameter
from . import bound
from .arrange import ROWS_MAX, Key, keys_of, sorted_rows
from .pushdown import Moment, Sources, conjuncts, simple
from .shown import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectRead:
    """``columns``: the place in the scan of each output column. ``limit``: rows at most, where one was given.

    ``order``: by columns of the scan.
    """

    use: bound.TableUse
    columns: tuple[int, ...]
    order: tuple[Key, ...] = ()
    limit: bound.Bound | None = None

    def batches(self, rows: Iterable[pa.RecordBatch], moment: Moment) -> Iterator[pa.RecordBatch]:
        """The result's columns of each batch of the table's, under their places as names; not in order."""
        left = self.rows_max(moment)
        for batch in rows:
            if left is not None and batch.num_rows > left:
                batch = batch.slice(0, left)
            arrays = [batch.column(index) for index in self.columns]
            yield pa.RecordBatch.from_arrays(arrays, names=[str(index) for index in range(len(arrays))])
            if left is not None:
                left -= batch.num_rows
                if left <= 0:
                    return

    def in_order(self, rows: Iterable[pa.RecordBatch], moment: Moment) -> Iterator[pa.RecordBatch] | None:
        """The same in order; None where rows are many."""
        found: list[pa.RecordBatch] = []
        count = 0
        for batch in rows:
            found.append(batch)
            count += batch.num_rows
            if count > ROWS_MAX:
                return None
        if not count:
            return self.batches((), moment)
        all = pa.concat_batches(found) if len(found) > 1 else found[0]
        limit = self.rows_max(moment)
        wanted = count if limit is None else min(limit, count)
        chosen = sorted_rows([(all.column(key.place), key) for key in self.order], wanted) if wanted else None
        return self.batches((all if chosen is None else all.take(pa.array(chosen[:wanted])),), moment)

    def rows_max(self, moment: Moment) -> int | None:
        """The value of LIMIT."""
        literal = moment.parameters[self.limit.number] if isinstance(self.limit, Parameter) else self.limit
        if not isinstance(literal, Literal) or literal.value is None:
            return None
        assert isinstance(literal.value, int), "LIMIT is a BIGINT"
        return literal.value


def direct_read(query: bound.BoundQuery) -> DirectRead | Reason:
    """How to read ``query`` straight from the engine, or why it needs the executor."""
    select = query.query
    if not isinstance(select, bound.Select):
        return Reason(text=f"the query is {_KINDS[type(select)]}")
    if not isinstance(select.source, bound.Scan):
        return Reason(text="the query reads no table" if select.source is None else "FROM is not one table")
    for there, what in (
        (select.grouping is not None, "GROUP BY or aggregates"),
        (select.distinct or bool(select.distinct_on), "DISTINCT"),
        (select.offset is not None, "OFFSET"),
    ):
        if there:
            return Reason(text=f"the query has {what}")
    if select.limit is not None and not isinstance(select.limit, Literal | Parameter):
        return Reason(text="LIMIT is computed", about=select.limit)
    if len(query.uses) != 1:
        return Reason(text="the query has subqueries")
    scan = select.source
    sources = {column.id: source for column, source in zip(scan.columns, scan.sources, strict=True)}
    for node in conjuncts(select.where):
        if not _complete(node, sources):
            return Reason(text="a condition is more than the engine evaluates", about=node)
    places = {column.id: index for index, column in enumerate(scan.columns)}
    columns: list[int] = []
    for output in select.outputs:
        if not isinstance(output.expression, Column) or sources[output.expression.id] == schema.ROW_ID:
            return Reason(text="a column is computed", about=output.expression)
        columns.append(places[output.expression.id])
    named = {output.column.id: place for output, place in zip(select.outputs, columns, strict=True)}
    order = keys_of(select, named | places, [column.type for column in scan.columns])
    if order is None or any(scan.sources[key.place] == schema.ROW_ID for key in order):
        return Reason(text="the query has ORDER BY more than columns")
    return DirectRead(use=query.uses[0], columns=tuple(columns), order=order, limit=select.limit)


_KINDS: Final = {bound.SetOperation: "a set operation", bound.Values: "VALUES", bound.With: "WITH"}


def _complete(node: bound.Bound, sources: Sources) -> bool:
    """Whether the engine's filter says all that the condition does: ``simple`` may leave out parts of an AND."""
    if isinstance(node, Call) and node.function in ("and", "or"):
        return all(_complete(argument, sources) for argument in node.arguments)
    return simple(node, sources) is not None
