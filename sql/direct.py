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
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from ..base.errors import Invalid
from ..engine import schema
from ..engine.computed import evaluated
from ..engine.expression.evaluate import check_supported
from ..engine.expression.functions import FUNCTIONS, Volatility
from ..engine.expression.node import Call, Column, Expression, Literal, Parameter
from ..engine.expression.tree import transform, walk
from . import bound
from .arrange import ROWS_MAX, Key, keys_of, sorted_rows
from .pushdown import Moment, Sources, conjuncts, simple
from .shown import Reason
from .walk import is_scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectRead:
    """``columns``: the place in the scan of each output column. ``limit``: rows at most, where one was given.

    ``order``: by columns of the scan. ``computed``: instead of ``columns``, what each output is, over the table's; only
    for one row, since the executor computes those of many by all threads.
    """

    use: bound.TableUse
    columns: tuple[int, ...]
    computed: tuple[Expression, ...] = ()
    order: tuple[Key, ...] = ()
    limit: bound.Bound | None = None

    def batches(self, rows: Iterable[pa.RecordBatch], moment: Moment) -> Iterator[pa.RecordBatch]:
        """The result's columns of each batch of the table's, under their places as names; not in order."""
        left = self.rows_max(moment)
        for batch in rows:
            if left is not None and batch.num_rows > left:
                batch = batch.slice(0, left)
            arrays = self._computed(batch) if self.computed else [batch.column(index) for index in self.columns]
            yield pa.RecordBatch.from_arrays(arrays, names=[str(index) for index in range(len(arrays))])
            if left is not None:
                left -= batch.num_rows
                if left <= 0:
                    return

    def _computed(self, batch: pa.RecordBatch) -> list[pa.Array]:
        return [evaluated(value, batch, self.use.columns) for value in self.computed]

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
    named: dict[int, int] = {}
    for output in select.outputs:
        if isinstance(output.expression, Column) and sources[output.expression.id] != schema.ROW_ID:
            columns.append(places[output.expression.id])
            named[output.column.id] = columns[-1]
    computed = () if len(columns) == len(select.outputs) else _computed(select, sources)
    if computed is None:
        return Reason(text="a column is computed")
    order = keys_of(select, named | places, [column.type for column in scan.columns])
    if order is None or any(scan.sources[key.place] == schema.ROW_ID for key in order):
        return Reason(text="the query has ORDER BY more than columns")
    return DirectRead(use=query.uses[0], columns=tuple(columns), computed=computed, order=order, limit=select.limit)


def _computed(select: bound.Select, sources: Sources) -> tuple[Expression, ...] | None:
    """The outputs over the table's columns, if the engine can compute them of a row."""
    found: list[Expression] = []
    for output in select.outputs:
        if not is_scalar(output.expression):
            return None
        value = bound.expression(output.expression)
        for part in walk(value):
            if isinstance(part, Column) and sources.get(part.id, schema.ROW_ID) == schema.ROW_ID:
                return None
            if isinstance(part, Parameter):
                return None
            if isinstance(part, Call) and FUNCTIONS[part.function].volatility is not Volatility.IMMUTABLE:
                return None
        value = transform(value, lambda part: replace(part, id=sources[part.id]) if isinstance(part, Column) else part)
        try:
            check_supported(value)
        except Invalid:
            return None
        found.append(value)
    return tuple(found)


_KINDS: Final = {bound.SetOperation: "a set operation", bound.Values: "VALUES", bound.With: "WITH"}


def _complete(node: bound.Bound, sources: Sources) -> bool:
    """Whether the engine's filter says all that the condition does: ``simple`` may leave out parts of an AND."""
    if isinstance(node, Call) and node.function in ("and", "or"):
        return all(_complete(argument, sources) for argument in node.arguments)
    return simple(node, sources) is not None
