"""ORDER BY … LIMIT of one table: the engine finds the rows that are wanted, the executor computes with those alone.

    Select(t, WHERE, outputs, ORDER BY, LIMIT, OFFSET)
      ─► top: the first LIMIT + OFFSET rows of t, of the columns that are read       engine/pipeline/top.py
      ─► Select(ArrowScan rows, outputs, ORDER BY, LIMIT, OFFSET) to the relational executor

The condition must be one that the engine evaluates, and the sort keys columns; what is put out may be anything that
looks at its own row alone. The shape is seen here, the data when it runs: where the engine says ``NotCovered`` the
whole query goes to the executor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from ..base.errors import Invalid, WeftError
from ..base.types import BOOLEAN
from ..engine import schema
from ..engine.expression.evaluate import can_fail, check_supported
from ..engine.expression.functions import FUNCTIONS, Volatility
from ..engine.expression.node import Call, Column, Expression, Literal
from ..engine.expression.tree import transform
from ..engine.pipeline.ranks import SortKey
from ..engine.pipeline.shape import NotCovered
from ..engine.pipeline.top import Top
from . import bound
from .pushdown import Moment, constant, finish
from .relational import reader_of
from .walk import columns_read, is_scalar, walk

if TYPE_CHECKING:
    from ..engine.reader import Reader, RowStream
    from ..engine.scan_plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class TopPart:
    """The first rows of a table, and the relation ``name`` that stands for them. ``columns``: identifiers, to be read
    under ``names``."""

    use: bound.TableUse
    name: str
    columns: tuple[int, ...]
    names: tuple[str, ...]
    keys: tuple[SortKey, ...]
    condition: Expression | None
    limit: bound.Bound
    offset: bound.Bound | None


def top_of(select: bound.Select, uses: Mapping[int, bound.TableUse]) -> tuple[TopPart, bound.Select]:
    """The rows that a SELECT with a LIMIT wants, and what is left of it. Raises NotCovered."""
    scan, limit = select.source, select.limit
    if limit is None or not isinstance(scan, bound.Scan):
        raise NotCovered("it is not the first rows of one table")
    if select.grouping is not None or select.distinct or select.distinct_on:
        raise NotCovered("what is limited is no rows of a table")
    for node in walk((select.where, select.order, *(output.expression for output in select.outputs))):
        if isinstance(node, bound.Window | bound.SetReturning):
            raise NotCovered("it has more than its rows")
        if isinstance(node, Call) and FUNCTIONS[node.function].volatility is Volatility.VOLATILE:
            raise NotCovered(f"{node.function} gives something else each time")
    sources = {column.id: source for column, source in zip(scan.columns, scan.sources, strict=True)}
    outputs = {output.column.id: output.expression for output in select.outputs}
    keys: list[SortKey] = []
    for key in select.order:
        by = key.expression
        by = outputs.get(by.id, by) if isinstance(by, Column) else by
        source = sources.get(by.id) if isinstance(by, Column) else None
        if source is None or source == schema.ROW_ID:
            raise NotCovered("it is sorted by more than columns")
        keys.append(SortKey(column=source, descending=key.descending, nulls_first=key.nulls_first))
    read = columns_read((select.order, *(output.expression for output in select.outputs)))
    chosen = [place for place, column in enumerate(scan.columns) if column.id in read] or [0]
    columns = tuple(scan.sources[place] for place in chosen)
    if schema.ROW_ID in columns:
        raise NotCovered("it reads the number of a row")
    rows = bound.ArrowScan(
        reference=scan.reference,
        name=f"weft_top_{scan.reference}",
        alias=scan.alias,
        columns=tuple(scan.columns[place] for place in chosen),
        sources=tuple(f"c{place}" for place in chosen),
    )
    part = TopPart(
        use=uses[scan.reference],
        name=rows.name,
        columns=columns,
        names=rows.sources,
        keys=tuple(keys),
        condition=None if select.where is None else _condition(select.where, sources),
        limit=limit,
        offset=select.offset,
    )
    return part, dataclasses.replace(select, source=rows, where=None)


def _condition(node: bound.Bound, sources: Mapping[int, int]) -> Expression:
    """A condition over the table's columns. Raises NotCovered where the engine cannot evaluate it."""
    if not is_scalar(node):
        raise NotCovered("there is a subquery or an array")

    def of_table(part: Expression) -> Expression:
        if not isinstance(part, Column):
            return part
        if sources.get(part.id, schema.ROW_ID) == schema.ROW_ID:
            raise NotCovered("a column of another query is read")
        return Column(id=sources[part.id], type=part.type, name=part.name)

    return transform(bound.expression(node), of_table)


def run_top(
    part: TopPart,
    reader: Reader,
    moment: Moment,
    *,
    past: Sequence[Reader],
    rows_min: int,
    check: Callable[[], None],
    dry: bool,
) -> tuple[RowStream, Plan, Top, pa.Table | None]:
    """The rows; none if ``dry``. Raises NotCovered, Corrupt, and what ``check`` does."""
    use = part.use
    stream = reader_of(use, reader, past).scan(use.table, columns=use.columns, filter=finish(use.filter, moment))
    looked_at = getattr(stream, "looked_at", None)
    if looked_at is None:
        raise NotCovered(f"{use.table.name} is read by an index, or was written in this transaction")
    plan, layout, version = looked_at()
    if plan.rows_count < rows_min:
        raise NotCovered("the rows are few")
    condition = None
    if part.condition is not None:
        condition = finish(part.condition, moment)
        try:
            if condition is None or can_fail(transform(condition, _without_patterns)):
                raise NotCovered("its condition can fail")
            check_supported(condition)
        except Invalid as error:
            raise NotCovered(f"its condition is the executor's: {error.message}") from None
    top = Top(
        plan,
        layout,
        version=version,
        keys=part.keys,
        condition=condition,
        count=_count(part, moment),
        check=check,
    )
    if dry:
        return stream, plan, top, None
    batch = top.rows([layout.by_id[id] for id in part.columns])
    return stream, plan, top, pa.Table.from_batches([batch]).rename_columns(list(part.names))


def _without_patterns(node: Expression) -> Expression:
    """LIKE fails only where its pattern ends in an escape."""
    if isinstance(node, Call) and node.function == "like" and len(node.arguments) == 2:
        pattern = node.arguments[1]
        if isinstance(pattern, Literal) and isinstance(pattern.value, str) and "\\" not in pattern.value:
            return Literal(value=True, type=BOOLEAN)
    return node


def _count(part: TopPart, moment: Moment) -> int:
    """How many rows are wanted, those that OFFSET leaves out among them. Raises NotCovered."""
    count = 0
    for node in (part.limit, part.offset):
        if node is None:
            continue
        if not is_scalar(node) or columns_read(node):
            raise NotCovered("LIMIT is computed")
        try:
            value = constant(bound.expression(node), moment).value
        except WeftError as error:
            raise NotCovered(f"LIMIT cannot be computed: {error.message}") from None
        if not isinstance(value, int) or value < 0:
            raise NotCovered("LIMIT is no number of rows")
        count += value
    return count
