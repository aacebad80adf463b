"""Running a pipeline: sources to morsels, morsels to lanes, lanes to threads, states to groups, these to Arrow.

    morsels in order ─ cut ─► lanes: runs of morsels, each with a state of its own ─ threads take lanes ─► states
                                                                                      └─ merged in order ─► groups

How many lanes there are depends on the data and never on threads, and a lane's morsels follow one another: so a sum of
floats is the same however many threads there were. Within a lane integers are added in 64 bits, which the bounds of the
values show to be enough (else there are more lanes); lanes are added in 128 bits where they do not show it of all rows.
Where neither floats nor so large sums are added, nobody sees what was added to what: then lanes leave their state to
the next one of the same thread.

States are arrays of accumulators where groups have places (states.py), and tables with pages of records behind them
where they are looked up (parts.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...base.errors import WeftError
from ...base.limits import (
    PIPELINE_LANE_ROWS,
    PIPELINE_LANES_MAX,
    PIPELINE_LANES_MOST,
    PIPELINE_SIDE_BYTES_MAX,
    PIPELINE_STATE_BYTES,
    PIPELINE_TEXT_ROWS,
)
from ..clock import monotonic
from ..expression.evaluate import evaluate
from ..expression.node import Expression, Literal
from ..held import Held
from ..layout import Layout
from ..scan_plan import Plan
from ..selectivity import UNKNOWN
from ..shares import Shares
from .answers import Groups, table_of
from .bits import united
from .bounds import INT64_MAX, Bounds, bounds, can_be_null, check_all, number_of
from .cut import Cut
from .describe import INTEGERS
from .generate import words_count
from .kernels import Known
from .order import Order, own_stages
from .packing import CONSTANT_TEXTS, JOINED_TEXTS, Packing, pack
from .parts import Parts, group_bytes
from .pieces import Morsel, Numberings, Source, bounds_of, morsels_of, sources_of, stores_of
from .shape import Key, NoRoom, NotCovered, Pipeline, Probe, Shape
from .sides import Built, built
from .states import merged, new_state, rows_of, rows_state
from .texts import Need, Numbering, Texts
from .work import NOWHERE, Lent, Threads, Work

EXPECTED_PER_GROUP: Final = 2
"""Values of several keys are seldom independent of one another, nor are all equally frequent: groups are fewer."""
TEXTS_ANYWAY: Final = 1 << 12
"""So many different texts are numbered and tested although the query may meet few of them."""
TRUTHS_AT_ONCE: Final = 1 << 14
"""Texts that a thread tests, or computes with, before it looks whether to go on."""


class Moment(Protocol):
    """What is known when a statement runs: constants computed, and put into conditions. Both raise WeftError."""

    def constant(self, expression: Expression) -> Literal: ...

    def fold(self, expression: Expression) -> Expression: ...


@dataclass(slots=True)
class Run:
    """One execution. ``kernel`` gives the compiled kernel of a shape, or None: then so does ``groups``."""

    pipeline: Pipeline
    plan: Plan
    layout: Layout
    version: int
    moment: Moment
    kernel: Callable[[Shape], Known | None]
    threads: int
    check: Callable[[], None]
    sides: Sequence[pa.Table] = ()
    cut: Cut | None = None
    groups_expected: Callable[[], int] | None = None
    """Asked before groups are looked up: with too many for the room that there is, the executor begins at once."""
    kept: Callable[[Sequence[Expression]], float] = lambda _: UNKNOWN
    """What part of the table's rows conditions keep together, about; they have no parameters."""
    shares: Shares = field(default_factory=Shares)
    """What they kept when they were last asked."""
    wait: bool = False
    """However long it takes until there are kernels, and numbers of texts."""
    texts: Texts = field(default_factory=Texts)
    held: Held = field(default_factory=Held)
    rows_count: int = 0
    stages: Sequence[tuple[Expression, ...]] = ()
    """The conditions whose order matters, with values for their parameters: those of each stage of ``order``."""
    order: Order | None = None

    def groups(self) -> pa.Table | None:
        """The groups' keys and aggregates, columns "k0", "k1", ..., "a0", ..., or the outputs of each row, "a0", ...

        Raises NotCovered, Corrupt.
        """
        pipeline, shape = self.pipeline, self.pipeline.shape
        sides = [built(rows, side) for rows, side in zip(self.sides, pipeline.sides, strict=True)]
        self._count(sides)
        shape = _with_sides(shape, sides, pipeline)
        arguments, reals = constants_of(pipeline, self.moment)
        arguments += [number for side in sides for number in side.arguments]
        columns = self._bounds(sides)
        for part in (
            *(key for probe in shape.probes for key in probe.keys),
            *shape.filters,
            *shape.keys,
            *pipeline.checked,
            *(part for of in shape.accumulators for part in of[1:]),
        ):
            check_all(part, columns, arguments)
        numberings = self._numberings()
        sources = sources_of(
            self.plan, self.layout, pipeline, version=self.version, words=words_count(shape), numberings=numberings
        )
        self.rows_count = sum(source.rows_count for source in sources)
        texts, of_null = self._numbered(sources, numberings)
        for number, key in enumerate(pipeline.keys):
            if key.texts:
                texts[CONSTANT_TEXTS + number] = self._constant_texts(key)
        for number, column in enumerate(column for side in sides for column in side.columns):
            if column.texts is not None:
                texts[JOINED_TEXTS + number] = column.texts
        rows_count = self.plan.rows_count
        states = self.threads if not _is_ordered(shape) else max(self.threads, 2)
        packing = pack(
            shape, columns, arguments, texts, of_null=of_null, counted=bool(pipeline.answers),
            rows_count=rows_count, room=self.held.limit // (2 * states),
        )  # fmt: skip
        shape = replace(shape, sink=packing.sink, packing=packing.words)
        if packing.sink == "parts" and self.groups_expected is not None:
            expected = self.groups_expected() // EXPECTED_PER_GROUP
            if not self.held.room(expected * group_bytes(shape)):
                raise NoRoom("the groups may need more memory than pipelines may take")
        order = self.order = self._ordered(shape)
        known = self.kernel(shape)
        if known is None:
            return None
        kernel = known.kernel or known.program
        assert kernel is not None, "a kernel that is ready is there"
        rows_max = INT64_MAX // _greatest(shape, columns, arguments)
        morsels = morsels_of(sources, rows_max=rows_max)
        lanes = _lanes(morsels, shape, packing, rows_max=rows_max)
        given = (np.array([*arguments, *packing.arguments, 0], np.int64), np.array([*reals, 0.0], np.float64))
        work = Work(
            kernel=kernel, given=given, order=order, threads=self.threads, check=self.check, held=self.held
        )  # fmt: skip
        began = monotonic()
        self._set_truths(sources, numberings, work)
        with np.errstate(over="ignore", invalid="ignore"):  # what became infinite is seen in the end
            groups = self._groups(work, lanes, shape, packing, wide=self.rows_count > rows_max)
        known.run_seconds += monotonic() - began
        for conditions, share in zip(self.stages, order.seen(), strict=False):
            if share is not None:
                self.shares.put(conditions, share)
        return table_of(groups, pipeline, packing, arguments)

    def _groups(
        self, work: Work, lanes: Sequence[Sequence[Morsel]], shape: Shape, packing: Packing, *, wide: bool
    ) -> Groups:
        """``wide``: sums of all rows may need two words."""
        if packing.sink == "parts":
            return Parts(shape, work).groups(lanes, cut=self.cut)

        width = len(shape.accumulators)
        if packing.sink == "rows":
            if 8 * self.rows_count * len(shape.accumulators) > PIPELINE_SIDE_BYTES_MAX:
                raise NotCovered("a joined side has many rows")

            def rows(lane: Sequence[Morsel]) -> np.ndarray:
                count = sum(morsel.rows_count for morsel in lane)
                state = work.made(8 * count * width, lambda: rows_state(shape, count))
                work.lane(lane, state)
                return state

            return rows_of(work.all(rows, lanes), shape)

        places = 0 if packing.sink == "set" else packing.places
        words, apart = packing.bits_words, wide or _is_ordered(shape)
        areas = Lent(lambda: work.made(8 * words, lambda: np.zeros(words, np.int64)) if words else NOWHERE)
        states = Lent(lambda: work.made(8 * places * width, lambda: new_state(shape, places)))

        def run(lane: Sequence[Morsel]) -> np.ndarray:
            with areas.one() as area, states.one(again=not apart) as state:
                work.lane(lane, state, area)
            return state

        found = work.all(run, lanes)
        bits = united(areas.all, words)
        return merged(found if apart else states.all, shape, packing, bits, wide=wide, cut=self.cut, all=work.all)

    def asked(self) -> tuple[tuple[tuple[Expression, ...], float], ...]:
        """The conditions whose order matters, in their order, and what share of the rows that come each keeps."""
        if self.order is None or not self.stages:
            return ()
        shares = self.order.shares()
        return tuple((self.stages[number], shares[number]) for number in self.order.stages)

    def _ordered(self, shape: Shape) -> Order:
        """The order in which conditions are asked, by what is known of them before."""
        stages = own_stages(shape)
        if len(stages) < 2:
            return Order(stages, [1.0] * len(stages))
        conditions = self.pipeline.conditions
        self.stages = [tuple(self.moment.fold(conditions[number]) for number in stage.numbers) for stage in stages]
        shares: list[float] = []
        for of in self.stages:
            share = self.shares.get(of)
            shares.append(self.kept(of) if share is None else share)
        return Order(stages, shares)

    def _count(self, sides: Sequence[Built]) -> None:
        """Memory of sides, as long as they live. Raises NoRoom."""
        if not self.held.room(sum(side.bytes_count for side in sides)):
            raise NoRoom("joined sides need more memory than pipelines may take")
        for side in sides:
            self.held.keep(side.table, side.bytes_count)

    def _bounds(self, sides: Sequence[Built]) -> list[Bounds]:
        found: list[Bounds] = [column.bounds for side in sides for column in side.columns]
        for slot in self.pipeline.own_slots:
            integers = slot.values and not slot.coded and slot.type.kind in INTEGERS
            found.append(bounds_of(self.plan, self.layout, slot.id, version=self.version) if integers else (0, 1))
        return found

    def _numberings(self) -> dict[int, Numbering | None]:
        """Of coded slots, with the texts of all segments. Raises Corrupt."""
        found: dict[int, Numbering | None] = {}
        keys = {table.slot for table in self.pipeline.tables if table.test is None}
        for number, slot in enumerate(self.pipeline.own_slots, self.pipeline.joined_count):
            if slot.coded:
                there = dict.fromkeys(
                    run.segment for run in self.plan.runs if slot.id in run.segment.description.columns
                )
                threads = Threads(self.threads, self.check)
                need = Need.AT_ONCE if self.wait else Need.KEYS if number in keys else Need.TESTS
                column = self.layout.by_id[slot.id]
                numbering = self.texts.of(self.layout.table.id, column, list(there), threads, need=need)
                if numbering is not None:
                    numbering.extend_rows(stores_of(self.plan, slot.id, version=self.version), threads)
                found[number] = numbering
        return found

    def _numbered(
        self, sources: Sequence[Source], numberings: Numberings
    ) -> tuple[dict[int, pa.Array], dict[int, int]]:
        """Set the tables of dictionaries that number groups; gives their values, each once, and which of them NULL has
        where they are computed.
        """
        texts: dict[int, pa.Array] = {}
        of_null: dict[int, int] = {}
        first = 2 + 4 * len(self.pipeline.slots)
        for number, table in enumerate(self.pipeline.tables):
            if table.test is not None:
                continue
            numbering = numberings[table.slot]
            if numbering is None:
                name = self.layout.by_id[self.pipeline.slots[table.slot].id].name
                raise NotCovered(f"{name} has too many different values")
            count = numbering.count
            used = _used(sources, table.slot, count)
            of_all = np.arange(count + 1, dtype=np.uint32)
            if used is not None:
                of_all[used] = np.arange(len(used), dtype=np.uint32)
            there = numbering.array(count) if used is None else numbering.array(count).take(pa.array(used))
            if table.key is not None:
                there, places, of_null[number] = self._computed(table.key, there, numbering)
                of_all[slice(count) if used is None else used] = places
            for source in sources:
                of = source.numbers[table.slot]
                by_code = of.numbers if used is None and table.key is None else of_all[of.numbers]
                source.set_table(first + number, of_all if of.by_row else by_code)
            texts[number] = there
        return texts, of_null

    def _computed(self, key: Expression, texts: pa.Array, numbering: Numbering) -> tuple[pa.Array, np.ndarray, int]:
        """The different values of what is computed of texts, which of them each text has (uint32[n]), and NULL.

        Raises NotCovered where a text has none, though perhaps no row that counts has that text.
        """
        self._check_texts(len(texts), numbering)

        def computed(part: pa.Array) -> pa.Array:
            self.check()
            return _of_texts(folded, part, numbering.column.id)

        try:
            folded = self.moment.fold(key)
            found = Threads(self.threads, self.check).all(computed, _parts(texts))
        except WeftError as error:
            raise NotCovered(f"a key of text fails: {error.message}") from None
        values = pa.concat_arrays([found[0], *(part[1:] for part in found[1:])])
        encoded = values.dictionary_encode(null_encoding="encode")
        places = encoded.indices.to_numpy(zero_copy_only=False)
        return encoded.dictionary, places[1:].astype(np.uint32), int(places[0])

    def _check_texts(self, count: int, numbering: Numbering) -> None:
        """Raises NotCovered where texts are so many that the executor has done with the rows as soon."""
        if not self.wait and count * PIPELINE_TEXT_ROWS > max(self.rows_count, 1 << 14):
            raise NotCovered(f"of {numbering.column.name} nearly every row has another text")

    def _constant_texts(self, key: Key) -> pa.Array:
        """What a key counts. Raises NotCovered."""
        try:
            texts = [self.moment.constant(text).value for text in key.texts]
        except WeftError as error:
            raise NotCovered(f"a constant cannot be computed: {error.message}") from None
        if None in texts or len(set(texts)) < len(texts):
            raise NotCovered("texts of CASE are the same")
        return pa.array(texts, pa.string())

    def _set_truths(self, sources: Sequence[Source], numberings: Numberings, work: Work) -> None:
        """Set the tables of dictionaries that say what conditions on text are."""
        first = 2 + 4 * len(self.pipeline.slots)
        for number, table in enumerate(self.pipeline.tables):
            if table.test is None:
                continue
            try:
                found = self._truths_of(self.moment.fold(table.test), table.slot, sources, numberings, work)
            except WeftError as error:
                raise NotCovered(f"a condition on text fails: {error.message}") from None
            for source, truths in zip(sources, found, strict=True):
                source.set_table(first + number, truths)

    def _truths_of(
        self, test: Expression, slot: int, sources: Sequence[Source], numberings: Numberings, work: Work
    ) -> list[np.ndarray]:
        id, numbering = self.pipeline.slots[slot].id, numberings[slot]
        if numbering is None:
            return work.all(lambda source: _truths(test, source.dictionaries[slot], id), sources)
        used = _used(sources, slot, numbering.count)
        self._check_texts(numbering.count if used is None else len(used), numbering)
        return _truths_by_number(test, numbering, used, sources, slot, id, work)


def _used(sources: Sequence[Source], slot: int, count: int) -> np.ndarray | None:
    """The numbers (int64, ascending) that these sources have; None where that may be most of all ``count``."""
    all = [numbers for source in sources for numbers in (source.numbers[slot].numbers, *source.numbers[slot].more)]
    if count <= max(sum(map(len, all)), TEXTS_ANYWAY):
        return None
    there = np.zeros(count, np.bool_)
    for numbers in all:
        there[numbers] = True
    return np.flatnonzero(there)


def _truths_by_number(
    test: Expression, numbering: Numbering, used: np.ndarray | None, sources: Sequence[Source], slot: int, id: int,
    work: Work,
) -> list[np.ndarray]:  # fmt: skip
    """What a condition is of NULL and each code in each source: asked once of each different text (``used``)."""
    count = numbering.count
    texts = numbering.array(count) if used is None else numbering.array(count).take(pa.array(used))
    found = work.all(lambda part: _truths(test, part, id), _parts(texts))
    truths = np.zeros(count + 2, np.uint8)
    truths[0] = found[0][0]
    truths[slice(1, -1) if used is None else used + 1] = np.concatenate([part[1:] for part in found])

    def by_code(numbers: np.ndarray) -> np.ndarray:
        table = np.empty(len(numbers), np.uint8)
        table[0] = truths[0]
        np.take(truths[1:], numbers[:-1], out=table[1:], mode="clip")
        return table

    return [truths if (of := source.numbers[slot]).by_row else by_code(of.numbers) for source in sources]


def constants_of(pipeline: Pipeline, moment: Moment) -> tuple[list[int], list[float]]:
    """What stands behind the numbers of a pipeline's constants. Raises NotCovered."""
    try:
        integers = [number_of(moment.constant(one.expression).value, one.scale or 0) for one in pipeline.integers]
        reals: list[Any] = [moment.constant(one.expression).value for one in pipeline.reals]
    except WeftError as error:
        raise NotCovered(f"a constant cannot be computed: {error.message}") from None
    if any(value is None for value in reals):
        raise NotCovered("a constant is NULL")
    return integers, [float(value) for value in reals]


def _parts(texts: pa.Array) -> list[pa.Array]:
    """Texts as threads take them, at least one part."""
    return [texts[start : start + TRUTHS_AT_ONCE] for start in range(0, max(len(texts), 1), TRUTHS_AT_ONCE)]


def _of_texts(expression: Expression, dictionary: pa.Array, id: int) -> pa.Array:
    """What an expression is of NULL and of each text."""
    texts = pa.concat_arrays([pa.array([None], pa.string()), dictionary.cast(pa.string())])
    return evaluate(expression, pa.RecordBatch.from_arrays([texts], names=["0"]), column_ids=[id])


def _truths(test: Expression, dictionary: pa.Array, id: int) -> np.ndarray:
    """What a condition is of NULL and of each text: 0, 1, or 2 for NULL."""
    found = _of_texts(test, dictionary, id)
    return np.ascontiguousarray(pc.fill_null(found.cast(pa.uint8()), 2).to_numpy(zero_copy_only=False))


def _with_sides(shape: Shape, sides: Sequence[Built], pipeline: Pipeline) -> Shape:
    """The shape as the rows of its sides make it; probes that keep few rows come first. Raises NotCovered."""
    nullable = list(shape.slots)
    probes: list[tuple[float, Probe]] = []
    for probe, side, described in zip(shape.probes, sides, pipeline.sides, strict=True):
        if described.null_matters and (side.has_null or side.rows_count):
            if side.has_null or (len(probe.keys) > 1 and any(can_be_null(key, shape.slots) for key in probe.keys)):
                raise NotCovered("NOT IN meets a NULL")
            probe = replace(probe, keeps="absent")
        for slot, column in zip(probe.slots, side.columns, strict=True):
            nullable[slot] = column.valid is not None
        dense = probe.keeps == "inner" and not side.hashed
        keeps = side.rows_count / max(side.places, 1) if dense else 2.0 if side.hashed else 1.0
        probes.append((keeps, replace(probe, hashed=side.hashed)))
    ordered = sorted(probes, key=lambda pair: pair[0])
    return replace(shape, slots=tuple(nullable), probes=tuple(probe for _, probe in ordered))


def _greatest(shape: Shape, columns: Sequence[Bounds], arguments: Sequence[int]) -> int:
    """What the values to be added up are at most, without their signs."""
    every = [bounds(node, columns, arguments) for kind, node, _ in shape.accumulators if kind == "sum"]
    return max((max(-low, high) for low, high in every), default=1) or 1


def _is_ordered(shape: Shape) -> bool:
    """Whether it shows in the answer which rows were added up together: then lanes have states of their own."""
    return any(kind[0] == "f" for kind, _, _ in shape.accumulators)


def _lanes(morsels: Sequence[Morsel], shape: Shape, packing: Packing, *, rows_max: int) -> list[Sequence[Morsel]]:
    """Morsels in order, cut into lanes of about as many rows, at most ``rows_max``: raises NotCovered where a morsel
    has more."""
    rows = sum(morsel.rows_count for morsel in morsels)
    if packing.sink == "parts":
        count = max(-(-rows // PIPELINE_LANE_ROWS), 1)
    elif packing.sink == "dense" and _is_ordered(shape):
        count = max(2, min(PIPELINE_LANES_MAX, PIPELINE_STATE_BYTES // (8 * packing.places * len(shape.accumulators))))
    else:
        count = PIPELINE_LANES_MAX
    wanted = min(rows_max, max(-(-rows // count), 1))
    lanes: list[list[Morsel]] = []
    held = 0
    for morsel in morsels:
        if morsel.rows_count > rows_max:
            raise NotCovered("a sum may become too large")
        if not lanes or held >= wanted or held + morsel.rows_count > rows_max:
            lanes.append([])
            held = 0
        lanes[-1].append(morsel)
        held += morsel.rows_count
    if len(lanes) > PIPELINE_LANES_MOST:
        raise NotCovered("a sum may become too large")
    return list(lanes)
