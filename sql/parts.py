"""Running the parts of a query that pipelines compute (pipeline.py), and what came of each, for EXPLAIN.

a part's scan ─► what it looks at ─► few rows, or sides with many? then the executor answers
                                  ├─ by counts and zones, if that is all that is asked     engine/pipeline/metadata.py
                                  ├─ its sides are answered, then the kernel runs          engine/pipeline/run.py
                                  └─ rows are chosen and read late                         top.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from ..base.errors import LimitExceeded
from ..base.limits import PIPELINE_ROWS_MANY, PIPELINE_VALUES_MAX
from ..engine.clock import monotonic
from ..engine.expression.node import Call, Expression, Literal
from ..engine.expression.tree import columns_of
from ..engine.layout import DAY, Layout
from ..engine.pipeline import metadata
from ..engine.pipeline.answers import table_of
from ..engine.pipeline.bounds import columns_read as slots_read
from ..engine.pipeline.cut import Cut
from ..engine.pipeline.kernels import Kernels, Known
from ..engine.pipeline.packing import NO_KEYS
from ..engine.pipeline.run import Run, constants_of
from ..engine.pipeline.shape import FarApart, NoRoom, NotCovered, Shape
from ..engine.selectivity import rows_expected, selectivity_of_all
from ..engine.shares import Shares
from ..engine.statistics import TableStatistics
from . import bound, pushdown
from .cancel import Cancel
from .pipeline import Part, Rest, SideRows
from .pushdown import finish
from .regroup import DAYS
from .relational import reader_of
from .shown import expression_text
from .top import RowsPart, run_rows, sink_of

if TYPE_CHECKING:
    from ..engine.reader import Reader, RowStream
    from ..engine.scan_plan import Plan

METADATA: Final = "metadata"
"""The sink of a part that needed no kernel."""

ROWS_PER_VALUE: Final = 16
"""The executor computes more at once than it saves where fewer rows share what is computed of."""

VIEWS: Final = "views"
"""The sink of what views answered (matching/run.py); ``kernel`` is the view then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """What came of a part, for EXPLAIN. ``why_not``: why the executor groups it; None: a kernel does, or metadata did.

    What a kernel did is None where it was not run.
    """

    alias: str
    kernel: str | None = None
    sink: str | None = None
    why_not: str | None = None
    groups: int | None = None
    rows: int | None = None
    seconds: float | None = None
    order: tuple[tuple[tuple[Expression, ...], float], ...] = ()
    """Conditions in the order in which a kernel asks them, where there is more than one, and what share each keeps of
    the rows that those before it left: as it was counted, or as it is expected."""


def run_parts(
    rest: Rest,
    reader: Reader,
    moment: pushdown.Moment,
    *,
    past: Sequence[Reader],
    kernels: Kernels,
    wait: bool,
    rows_of: Callable[[bound.BoundQuery], pa.Table],
    cancel: Cancel | None,
    note: Callable[[Grouped], None] | None = None,
    dry: bool = False,
) -> tuple[bound.BoundQuery, dict[str, pa.Table]] | None:
    """The rest of the query, and the groups of each part by the name that it has for them; None: a kernel is not ready.

    ``wait`` for kernels; ``rows_of`` answers the queries of sides. ``note`` is told what came of each part; ``dry``: as
    far as it shows without running one. Raises NotCovered, Corrupt, and what ``cancel`` does.
    """
    check = (lambda: None) if cancel is None else cancel.check
    parts = _Parts(
        reader=reader, moment=moment, past=past, kernels=kernels, wait=wait, rows_of=rows_of, check=check, dry=dry,
        named=note is not None,
    )  # fmt: skip
    return _all(rest, parts, (lambda _: None) if note is None else note)


def _all(
    rest: Rest, parts: _Parts, note: Callable[[Grouped], None]
) -> tuple[bound.BoundQuery, dict[str, pa.Table]] | None:
    if rest.otherwise is not None and any(isinstance(part, Part) and parts.are_many(part) for part in rest.parts):
        return _all(rest.otherwise, parts, note)  # before other parts are computed in vain
    found: dict[str, pa.Table] = {}
    missing = False
    for part in rest.parts:
        use, name = (part.use, part.name) if isinstance(part, Part) else (part.rows.use, part.rows.name)
        try:
            done, groups = parts.groups(part) if isinstance(part, Part) else parts.rows(part)
        except NotCovered as why:
            if isinstance(why, FarApart) and rest.otherwise is not None:
                return _all(rest.otherwise, parts, note)
            note(Grouped(alias=use.alias, why_not=str(why)))
            if not parts.dry:
                raise
            continue
        note(done)
        if groups is None:
            missing = True
        else:
            found[name] = groups
    return None if missing else (rest.bound, found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """What a part's scan looks at."""

    reader: Reader
    filter: Expression | None
    stream: RowStream
    plan: Plan
    layout: Layout
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """One execution of a query's parts: see ``run_parts``. Methods raise as that does."""

    reader: Reader
    moment: pushdown.Moment
    past: Sequence[Reader]
    kernels: Kernels
    wait: bool
    rows_of: Callable[[bound.BoundQuery], pa.Table]
    check: Callable[[], None]
    dry: bool
    named: bool
    """Whether it matters what a kernel is called."""

    def rows(self, part: RowsPart) -> tuple[Grouped, pa.Table | None]:
        """Rows that are read late; None: ``dry``."""
        began = monotonic()
        try:
            stream, plan, rows_read, rows = run_rows(
                part,
                self.reader,
                self.moment,
                past=self.past,
                wait=self.wait,
                kernels=self.kernels,
                check=self.check,
                dry=self.dry,
            )
        except LimitExceeded as error:  # the executor takes fewer rows at a time
            raise NotCovered(error.message) from None
        done = Grouped(alias=part.rows.use.alias, sink=sink_of(part))
        if rows is not None:
            _note(stream, plan, rows_read)
            done = dataclasses.replace(done, groups=rows.num_rows, rows=rows_read, seconds=monotonic() - began)
        return done, rows

    def groups(self, part: Part) -> tuple[Grouped, pa.Table | None]:
        """Groups; None: ``dry``, or there is no kernel yet."""
        if not self.wait and part.memo:
            raise NotCovered(part.memo["why"])
        looked = self._look(part)
        told = None if part.asked is None else self._told(part, part.asked, looked)
        if told is not None:
            return told
        if not self.wait:
            self._check_worth(part, looked)
        if self.dry and part.sides:
            return Grouped(alias=part.use.alias), None
        sides = [self._side_rows(side) for side in part.sides]
        return self._run(part, looked, sides)

    def _look(self, part: Part) -> _Looked:
        use = part.use
        of = reader_of(use, self.reader, self.past)
        if not self.wait and part.asked is None and of.statistics(use.table).rows < self.kernels.rows_min:
            raise NotCovered("the rows are few")
        filter = finish(use.filter, self.moment)
        stream = of.scan(use.table, columns=use.columns, filter=filter, row_ids=use.row_ids)
        looked_at = getattr(stream, "looked_at", None)
        if looked_at is None:
            raise NotCovered(f"{use.table.name} is read by an index, or was written in this transaction")
        plan, layout, version = looked_at()
        return _Looked(reader=of, filter=filter, stream=stream, plan=plan, layout=layout, version=version)

    def _told(self, part: Part, asked: metadata.Asked, looked: _Looked) -> tuple[Grouped, pa.Table | None] | None:
        """The one group, by counts and zones; None where too much would have to be read."""
        began = monotonic()
        arguments, reals = constants_of(part.pipeline, _Constants(self.moment))
        told = metadata.told(
            asked,
            part.pipeline,
            looked.plan,
            looked.layout,
            version=looked.version,
            arguments=arguments,
            reals=reals,
            check=self.check,
            dry=self.dry,
        )
        if told is None:
            return None
        done = Grouped(alias=part.use.alias, sink=METADATA)
        if self.dry:
            return done, None
        groups = table_of(told.groups, part.pipeline, NO_KEYS, arguments)
        statistics = looked.stream.statistics
        statistics.passes += 1
        statistics.rows_read += told.rows_read
        statistics.rows_returned += told.rows_read
        statistics.blocks_read += told.blocks_read
        return dataclasses.replace(done, groups=1, rows=told.rows_read, seconds=monotonic() - began), groups

    def _check_worth(self, part: Part, looked: _Looked) -> None:
        """Raises NotCovered where the executor is as fast."""
        rows_count = looked.plan.rows_count
        if rows_count < self.kernels.rows_min:
            raise NotCovered("the rows are few")
        if self.are_many(part, rows_count):
            raise NotCovered(f"different values of {' and '.join(map(expression_text, part.values))} may be many")
        if part.sides:
            rows = rows_expected(looked.filter, looked.reader.statistics(part.use.table), rows_max=rows_count)
            cost = sum(map(self._side_cost, part.sides)) * self.kernels.side_cost
            if cost > rows + rows_count // 4:
                raise NotCovered("it is joined with many rows")

    def are_many(self, part: Part, rows_count: int | None = None) -> bool:
        """Whether the executor would compute with groups that may not be few, of so many rows or of all."""
        if self.wait or not part.values:
            return False
        known = reader_of(part.use, self.reader, self.past).statistics(part.use.table)
        rows_count = known.rows if rows_count is None else rows_count
        return _values_expected(part.values, known) > min(rows_count // ROWS_PER_VALUE, PIPELINE_VALUES_MAX)

    def _side_cost(self, side: SideRows) -> float:
        """About how many rows the largest table of a side gives; half where a kernel makes them."""
        counts = [0]
        for use in side.query.uses:
            known = reader_of(use, self.reader, self.past).statistics(use.table)
            counts.append(rows_expected(finish(use.filter, self.moment), known, rows_max=known.rows))
        return max(counts) / (1 if side.part is None else 2)

    def _side_rows(self, side: SideRows) -> pa.Table:
        rows = None
        if side.part is not None:
            with suppress(NotCovered):
                _, rows = self.groups(side.part)
        return self.rows_of(side.query) if rows is None else rows

    def _run(self, part: Part, looked: _Looked, sides: Sequence[pa.Table]) -> tuple[Grouped, pa.Table | None]:
        """What the part's kernel makes of its rows and sides."""
        kernels, plan = self.kernels, looked.plan
        many = plan.rows_count >= PIPELINE_ROWS_MANY
        kernel = _Kernel(self, many=many)

        known = looked.reader.statistics(part.use.table)
        judged = known if many or self.wait else known.made()

        def kept(conditions: Sequence[Expression]) -> float:
            finished = [finish(each, self.moment) for each in conditions]
            return selectivity_of_all([each for each in finished if each is not None], judged)

        run = Run(
            pipeline=part.pipeline,
            plan=plan,
            layout=looked.layout,
            version=looked.version,
            moment=_Constants(self.moment),
            kernel=kernel,
            threads=kernels.threads,
            held=kernels.held,
            texts=kernels.texts,
            wait=self.wait,
            sides=sides,
            cut=_cut(part, self.moment),
            kept=kept,
            shares=Shares() if known.shares is None else known.shares,
            groups_expected=None if self.wait else lambda: _groups_expected(part, plan, looked.filter, known),
            check=self.check,
        )
        began = monotonic()
        try:
            groups = run.groups()
        except NotCovered as why:
            if sides and not isinstance(why, FarApart | NoRoom):
                part.memo["why"] = str(why)
            raise
        shape = kernel.shape
        assert shape is not None, "a run that ends has asked for its kernel"
        done = Grouped(alias=part.use.alias, sink=_sink_of(shape), kernel=kernel.name, order=run.asked())
        if groups is not None:
            _note(looked.stream, plan, run.rows_count)
            seconds = monotonic() - began
            done = dataclasses.replace(done, groups=groups.num_rows, rows=run.rows_count, seconds=seconds)
        elif not (self.dry and (self.wait or kernels.is_ready(shape))):
            done = dataclasses.replace(done, why_not=kernels.reason(shape))
        return done, groups


class _Kernel:
    """Gives a run its kernel, none if ``dry``. ``shape``: that it asked for; ``name``: of what it was given."""

    def __init__(self, parts: _Parts, *, many: bool) -> None:
        self._parts = parts
        self._many = many
        self.shape: Shape | None = None
        self.name: str | None = None

    def __call__(self, shape: Shape) -> Known | None:
        self.shape = shape
        parts = self._parts
        if parts.dry:
            return None
        known = parts.kernels.kernel(shape, wait=parts.wait, many=self._many, check=parts.check)
        if known is not None:
            if parts.named:
                self.name = known.name if known.kernel is not None else f"the program of {known.name}"
        elif parts.wait:
            raise NotCovered(parts.kernels.reason(shape))
        return known


@dataclass(frozen=True, slots=True)
class _Constants:
    """``engine.pipeline.run.Moment``."""

    moment: pushdown.Moment

    def constant(self, expression: Expression) -> Literal:
        return pushdown.constant(expression, self.moment)

    def fold(self, expression: Expression) -> Expression:
        return pushdown.with_constants(expression, self.moment)


def _cut(part: Part, moment: pushdown.Moment) -> Cut | None:
    """Which groups are enough, where that is known."""
    first = part.first
    if first is None:
        return None
    answer = part.pipeline.answers[first.answer]
    if answer.function == "avg" or answer.squares is not None:
        return None
    count = 0
    for limit in first.limits:
        value = pushdown.constant(limit, moment).value
        if not isinstance(value, int) or value < 0:
            return None
        count += value
    return Cut(
        value=answer.value,
        there=None if answer.function == "count" else answer.count,
        descending=first.key.descending,
        nulls_first=first.key.nulls_first,
        count=count,
    )


def _groups_expected(part: Part, plan: Plan, filter: Expression | None, statistics: TableStatistics) -> int:
    """About how many groups there are at most: as many as rows, or as different values of what the keys read."""
    rows = rows_expected(filter, statistics, rows_max=plan.rows_count)
    groups = 1
    for slot in set().union(*map(slots_read, part.pipeline.shape.keys)):
        known = statistics.columns.get(part.pipeline.slots[slot].id)
        groups = min(groups * (rows if known is None else known.distinct + 1), rows)
    return groups


def _values_expected(values: Sequence[Expression], statistics: TableStatistics) -> int:
    """About how many different ones there are together."""
    count = 1
    for value in values:
        for id in columns_of(value):
            known = statistics.columns.get(id)
            if known is None:
                return statistics.rows
            of_one = known.distinct + 1
            if _is_of_days(value) and known.low is not None and known.high is not None:
                of_one = min(of_one, (known.high - known.low) // DAY + 2)
            count *= of_one
    return count


def _is_of_days(value: Expression) -> bool:
    return isinstance(value, Call) and value.function == "date_trunc" and value.arguments[0] == DAYS


def _sink_of(shape: Shape) -> str:
    """How rows are grouped, for EXPLAIN."""
    return f"{shape.sink}, different values by bits" if shape.distinct else shape.sink


def _note(stream: RowStream, plan: Plan, rows_count: int) -> None:
    """What was read, for EXPLAIN ANALYZE."""
    statistics = stream.statistics
    statistics.passes += 1
    statistics.cells_read += statistics.cells_total - statistics.cells_pruned
    statistics.rows_read += rows_count
    statistics.rows_returned += rows_count
    statistics.segments_read += len({id(run.segment) for run in plan.runs})
    statistics.blocks_read += sum(run.blocks_count for run in plan.runs)
    statistics.chunks_read += len(plan.chunks)
