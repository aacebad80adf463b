"""Where few rows of one table are wanted the engine finds them, and the executor computes with those alone.

    Select(t, WHERE, outputs, ORDER BY, LIMIT, OFFSET)
      ─► top: the first LIMIT + OFFSET rows of t, of the columns that are read       engine/pipeline/top.py
      ─► Select(ArrowScan rows, outputs, ORDER BY, LIMIT, OFFSET) to the relational executor

    Select(t, DISTINCT ON (k), ORDER BY k, o), or t with row_number() OVER (PARTITION BY k ORDER BY o) = 1
      ─► newest: the first row of t for each k                                       engine/pipeline/newest.py
      ─► the same over ArrowScan rows, without DISTINCT ON or the window

    Select(t, WHERE a condition that computes, outputs, ORDER BY)
      ─► passing: the rows of t for which it is true, if they are few                engine/pipeline/passing.py

The condition must be one that the engine evaluates, and the sort keys columns; what is put out may be anything that
looks at its own row alone. The shape is seen here, the data when it runs: where the engine says ``NotCovered`` the
whole query goes to the executor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa

from ..base.errors import Invalid, WeftError
from ..base.limits import TOP_ROWS_MIN
from ..base.types import BOOLEAN
from ..engine import schema
from ..engine.expression.context import resolution_of
from ..engine.expression.evaluate import can_fail, check_supported
from ..engine.expression.functions import FUNCTIONS, Volatility
from ..engine.expression.node import Call, Column, Expression, Literal
from ..engine.expression.tree import transform
from ..engine.pipeline.kernels import Kernels
from ..engine.pipeline.newest import Newest
from ..engine.pipeline.passing import Passing
from ..engine.pipeline.ranks import SortKey
from ..engine.pipeline.shape import NotCovered
from ..engine.pipeline.texts import Need
from ..engine.pipeline.top import Top
from ..engine.pipeline.work import Counting
from ..engine.zones import MIRRORED
from . import bound
from .pushdown import Moment, conjuncts, constant, finish, simple
from .relational import reader_of
from .walk import columns_read, is_scalar, walk

if TYPE_CHECKING:
    from ..engine.reader import Reader, RowStream
    from ..engine.scan_plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Some of a table's rows, and the relation ``name`` that stands for them. ``columns``: identifiers, to be read
    under ``names``. For all of them ``condition`` is true."""

    use: bound.TableUse
    name: str
    columns: tuple[int, ...]
    names: tuple[str, ...]
    condition: Expression | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TopPart:
    """The first rows of a table: so many."""

    rows: Chosen
    keys: tuple[SortKey, ...]
    limit: bound.Bound
    offset: bound.Bound | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestPart:
    """The first row of each group, if ``limit`` is ``one`` when the query runs: a row number is compared with it."""

    rows: Chosen
    groups: tuple[int, ...]
    keys: tuple[SortKey, ...]
    limit: bound.Bound | None = None
    one: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PassingPart:
    """The rows for which the condition is true."""

    rows: Chosen


RowsPart: TypeAlias = TopPart | NewestPart | PassingPart


def sink_of(part: RowsPart) -> str:
    """What EXPLAIN calls it."""
    match part:
        case TopPart():
            return "top"
        case NewestPart():
            return "newest"
        case PassingPart():
            return "passing"


def top_of(select: bound.Select, uses: Mapping[int, bound.TableUse]) -> tuple[TopPart, bound.Select]:
    """The rows that a SELECT with a LIMIT wants, and what is left of it. Raises NotCovered."""
    if select.limit is None or select.grouping is not None or select.distinct or select.distinct_on:
        raise NotCovered("what is limited is no rows of a table")
    rows = LateRows(select, uses)
    part = TopPart(rows=rows.chosen, keys=rows.keys(select.order), limit=select.limit, offset=select.offset)
    return part, dataclasses.replace(select, source=rows.scan, where=None)


def passing_of(select: bound.Select, uses: Mapping[int, bound.TableUse]) -> tuple[PassingPart, bound.Select]:
    """The rows for which a condition is true that scans say nothing of, and what is left. Raises NotCovered."""
    if select.where is None or select.grouping is not None or select.distinct or select.limit is not None:
        raise NotCovered("nothing is grouped")
    rows = LateRows(select, uses)
    condition = rows.chosen.condition
    assert condition is not None, "there is a condition"
    if all(rows.is_simple(part) for part in conjuncts(select.where)):
        raise NotCovered("nothing is grouped")
    if not all(_is_fast(part) for part in walk(condition)):
        raise NotCovered("the condition is the executor's")
    return PassingPart(rows=rows.chosen), dataclasses.replace(select, source=rows.scan, where=None)


def _is_fast(node: Expression) -> bool:
    """Whether a part of a condition is computed for many rows at once."""
    if not isinstance(node, Call):
        return True
    return FUNCTIONS[node.function].volatility is Volatility.STABLE or resolution_of(node).overload.arrow is not None


class LateRows:
    """Rows of the one table of a SELECT that computes with each row alone. Making one raises NotCovered, and so does
    whatever else is asked."""

    def __init__(self, select: bound.Select, uses: Mapping[int, bound.TableUse]) -> None:
        scan = select.source
        if not isinstance(scan, bound.Scan):
            raise NotCovered("it is not the first rows of one table")
        for node in walk((select.where, select.order, *(output.expression for output in select.outputs))):
            if isinstance(node, bound.Window | bound.SetReturning):
                raise NotCovered("it has more than its rows")
            if isinstance(node, Call) and FUNCTIONS[node.function].volatility is Volatility.VOLATILE:
                raise NotCovered(f"{node.function} gives something else each time")
        self._sources = {column.id: source for column, source in zip(scan.columns, scan.sources, strict=True)}
        self._outputs = {output.column.id: output.expression for output in select.outputs}
        read = columns_read((select.order, *(output.expression for output in select.outputs)))
        chosen = [place for place, column in enumerate(scan.columns) if column.id in read] or [0]
        columns = tuple(scan.sources[place] for place in chosen)
        if schema.ROW_ID in columns:
            raise NotCovered("it reads the number of a row")
        self.scan = bound.ArrowScan(
            reference=scan.reference,
            name=f"weft_rows_{scan.reference}",
            alias=scan.alias,
            columns=tuple(scan.columns[place] for place in chosen),
            sources=tuple(f"c{place}" for place in chosen),
        )
        self.chosen = Chosen(
            use=uses[scan.reference],
            name=self.scan.name,
            columns=columns,
            names=self.scan.sources,
            condition=None if select.where is None else _condition(select.where, self._sources),
        )

    def is_simple(self, condition: bound.Bound) -> bool:
        """Whether scans filter by a condition themselves."""
        return simple(condition, self._sources) is not None

    def keys(self, order: Sequence[bound.SortKey]) -> tuple[SortKey, ...]:
        """The columns that are sorted by."""
        return tuple(
            SortKey(column=self.column(key.expression), descending=key.descending, nulls_first=key.nulls_first)
            for key in order
        )

    def column(self, by: bound.Bound) -> int:
        """The table's column that an expression is."""
        by = self._outputs.get(by.id, by) if isinstance(by, Column) else by
        source = self._sources.get(by.id) if isinstance(by, Column) else None
        if source is None or source == schema.ROW_ID:
            raise NotCovered("it is sorted by more than columns")
        return source


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


def newest_of(select: bound.Select, uses: Mapping[int, bound.TableUse]) -> tuple[NewestPart, bound.Select]:
    """The rows that a SELECT DISTINCT ON wants, and what is left of it. Raises NotCovered."""
    if select.grouping is not None or not select.distinct_on:
        raise NotCovered("it is not DISTINCT ON")
    rows = LateRows(select, uses)
    groups = tuple(rows.column(expression) for expression in select.distinct_on)
    keys = rows.keys(select.order)
    part = NewestPart(rows=rows.chosen, groups=groups, keys=tuple(key for key in keys if key.column not in groups))
    return part, dataclasses.replace(select, source=rows.scan, where=None, distinct=False, distinct_on=())


def first_of(select: bound.Select, uses: Mapping[int, bound.TableUse]) -> tuple[NewestPart, bound.Select]:
    """The same of ``SELECT … FROM (SELECT …, row_number() OVER (PARTITION BY …) AS place …) WHERE place = 1``."""
    derived = select.source
    inner = derived.query if isinstance(derived, bound.Derived) and not derived.lateral else None
    if not isinstance(derived, bound.Derived) or not isinstance(inner, bound.Select):
        raise NotCovered("it is not the first rows of one table")
    if (
        inner.grouping is not None or inner.distinct or inner.distinct_on
        or inner.limit is not None or inner.offset is not None
    ):  # fmt: skip
        raise NotCovered("what is numbered is no rows of a table")
    for column, output in zip(derived.columns, inner.outputs, strict=True):
        window = output.expression
        if not isinstance(window, bound.Window) or window.function != "row_number" or window.filter is not None:
            continue
        found = _compared(select.where, column.id)
        if found is None or not window.partition:
            continue
        read = {node.id for node in walk(dataclasses.replace(select, source=None)) if isinstance(node, Column)}
        outputs = [  # what nobody reads is not read from the table either
            dataclasses.replace(one, expression=Literal(value=1 if one is output else None, type=of.type))
            if one is output or of.id not in read
            else one
            for of, one in zip(derived.columns, inner.outputs, strict=True)
        ]
        plain = dataclasses.replace(inner, outputs=tuple(outputs), order=())
        rows = LateRows(plain, uses)
        limit, one = found
        part = NewestPart(
            rows=rows.chosen,
            groups=tuple(rows.column(by) for by in window.partition),
            keys=rows.keys(window.order),
            limit=limit,
            one=one,
        )
        plain = dataclasses.replace(plain, source=rows.scan, where=None)
        return part, dataclasses.replace(select, source=dataclasses.replace(derived, query=plain))
    raise NotCovered("it has more than its rows")


def _compared(where: bound.Bound | None, id: int) -> tuple[bound.Bound, int] | None:
    """What a column must equal for the condition to be true, and what that has to be for it to be 1 or less."""
    for part in conjuncts(where):
        if not isinstance(part, Call) or len(part.arguments) != 2:
            continue
        function, (left, right) = part.function, part.arguments
        if isinstance(right, Column) and right.id == id:
            left, right, function = right, left, MIRRORED.get(function, function)
        if not (isinstance(left, Column) and left.id == id and not columns_read(right) and is_scalar(right)):
            continue
        if function in ("equal", "less_equal"):
            return right, 1
        if function == "less":
            return right, 2
    return None


def run_rows(
    part: RowsPart,
    reader: Reader,
    moment: Moment,
    *,
    past: Sequence[Reader],
    wait: bool,
    kernels: Kernels,
    check: Callable[[], None],
    dry: bool,
) -> tuple[RowStream, Plan, int, pa.Table | None]:
    """How many rows were looked at, and those that are wanted; none if ``dry``.

    ``wait``: however few rows there are, and however long it takes until texts have numbers.

    Raises NotCovered, LimitExceeded where values are too many for one array, Corrupt, and what ``check`` does.
    """
    rows = part.rows
    use = rows.use
    stream = reader_of(use, reader, past).scan(use.table, columns=use.columns, filter=finish(use.filter, moment))
    looked_at = getattr(stream, "looked_at", None)
    if looked_at is None:
        raise NotCovered(f"{use.table.name} is read by an index, or was written in this transaction")
    plan, layout, version = looked_at()
    if plan.rows_count < TOP_ROWS_MIN and not wait:
        raise NotCovered("the rows are few")
    condition = _finished(rows.condition, moment, may_fail=isinstance(part, PassingPart))
    columns = [layout.by_id[id] for id in rows.columns]
    work = Counting(kernels.threads, check, kernels.held)
    if isinstance(part, TopPart):
        count = _number(part.limit, moment) + (0 if part.offset is None else _number(part.offset, moment))
        top = Top(plan, layout, version=version, keys=part.keys, condition=condition, count=count, work=work)
        found = None if dry else top.rows(columns, rows.names)
        return stream, plan, top.rows_read, found
    if isinstance(part, PassingPart):
        if condition is None:
            raise NotCovered("its condition fails")
        passing = Passing(plan, layout, version=version, condition=condition, work=work)
        return stream, plan, passing.rows_read, None if dry else passing.rows(columns, rows.names)
    if part.limit is not None and _number(part.limit, moment) != part.one:
        raise NotCovered("more than the first row is wanted")
    newest = Newest(
        plan, layout, version=version, groups=part.groups, keys=part.keys, condition=condition, texts=kernels.texts,
        need=Need.AT_ONCE if wait else Need.KEYS, work=work,
    )  # fmt: skip
    return stream, plan, newest.rows_read, None if dry else newest.rows(columns, rows.names)


def _finished(condition: Expression | None, moment: Moment, *, may_fail: bool) -> Expression | None:
    """A condition that the engine evaluates, with its constants computed. ``may_fail``: every row is asked."""
    if condition is None:
        return None
    found = finish(condition, moment)
    try:
        if found is None or (not may_fail and can_fail(transform(found, _without_patterns))):
            raise NotCovered("its condition can fail")
        check_supported(found)
    except Invalid as error:
        raise NotCovered(f"its condition is the executor's: {error.message}") from None
    return found


def _without_patterns(node: Expression) -> Expression:
    """LIKE fails only where its pattern ends in an escape."""
    if isinstance(node, Call) and node.function == "like" and len(node.arguments) == 2:
        pattern = node.arguments[1]
        if isinstance(pattern, Literal) and isinstance(pattern.value, str) and "\\" not in pattern.value:
            return Literal(value=True, type=BOOLEAN)
    return node


def _number(node: bound.Bound, moment: Moment) -> int:
    """The value of LIMIT or OFFSET, or what a row number is compared with."""
    if not is_scalar(node) or columns_read(node):
        raise NotCovered("LIMIT is computed")
    try:
        value = constant(bound.expression(node), moment).value
    except WeftError as error:
        raise NotCovered(f"LIMIT cannot be computed: {error.message}") from None
    if not isinstance(value, int) or value < 0:
        raise NotCovered("LIMIT is no number of rows")
    return value
