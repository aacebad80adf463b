"""Running a pipeline: sources to morsels, morsels to lanes, lanes to threads, states to one, that to Arrow.

    morsels in order ─ cut ─► lanes: runs of morsels, each with a state of its own ─ threads take lanes ─► states
                                                                                      └─ merged in order ─► groups

How many lanes there are depends on the data and never on threads, and a lane's morsels follow one another: so a sum of
floats is the same however many threads there were. Within a lane integers are added in 64 bits, which the bounds of the
values show to be enough (else there are more lanes); lanes are added in 128 bits.

Groups stand at places: keys are packed into one integer, (value - least) * stride summed over the keys, NULL being a
value more. Where few such integers are possible they are the places; else they are looked up in a lane's table.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...base.errors import WeftError
from ...base.limits import MIB
from ...base.types import Kind, Type
from ...storage.column_values import DTYPES, fixed_array
from ..clock import monotonic
from ..expression.evaluate import evaluate
from ..expression.node import Expression, Literal
from ..kernels.pieces import place_all
from ..layout import Layout
from ..scan_plan import Plan
from .files import Kernel
from .generate import words_count
from .kernels import Known
from .pieces import Morsel, Source, bounds_of, sources_of
from .shape import (
    INT64_MAX,
    INT64_MIN,
    INTEGERS,
    Answer,
    Bounds,
    Key,
    NotCovered,
    Pipeline,
    Probe,
    Shape,
    bounds,
    can_be_null,
    check_all,
    number_of,
)
from .sides import Built, built

DENSE_MAX: Final = 1 << 16
"""So many places are made at once; more possible keys are looked up."""

LANES_MAX: Final = 16
LANES_HASHED: Final = 4
LANES_MOST: Final = 4_096
STATE_BYTES: Final = 4 * MIB
"""There are fewer lanes where all their states would be larger."""
STATE_BYTES_MAX: Final = 256 * MIB
TABLE_PLACES: Final = 1 << 16

JOINED_TEXTS: Final = 1 << 20
"""The texts of a joined side's column stand beside those of tables under so much more than its slot."""

_KIND_START: Final = {"min": INT64_MAX, "max": INT64_MIN, "fmin": np.nan, "fmax": -np.inf}


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
    hash_groups: bool = True
    rows_count: int = 0

    def groups(self) -> pa.Table | None:
        """The groups' keys and aggregates, columns "k0", "k1", ..., "a0", ... Raises NotCovered, Corrupt."""
        pipeline, shape = self.pipeline, self.pipeline.shape
        sides = [built(rows, side) for rows, side in zip(self.sides, pipeline.sides, strict=True)]
        shape = _with_sides(shape, sides, pipeline)
        try:
            arguments = [
                number_of(self.moment.constant(one.expression).value, one.scale or 0) for one in pipeline.integers
            ]
            reals = [float(self._real(one.expression)) for one in pipeline.reals]
        except WeftError as error:
            raise NotCovered(f"a constant cannot be computed: {error.message}") from None
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
        sources = sources_of(self.plan, self.layout, pipeline, version=self.version, words=words_count(shape))
        texts = self._tables(sources)
        for number, column in enumerate(column for side in sides for column in side.columns):
            if column.texts is not None:
                texts[JOINED_TEXTS + number] = column.texts
        packing = _pack(shape, pipeline.keys, columns, arguments, texts)
        if packing.sink == "hash" and not self.hash_groups:
            raise NotCovered("there may be many groups")
        shape = replace(shape, sink=packing.sink)
        known = self.kernel(shape)
        if known is None:
            return None
        assert known.kernel is not None, "a kernel that is ready is there"
        morsels = [morsel for source in sources for morsel in source.morsels()]
        self.rows_count = sum(morsel.rows_count for morsel in morsels)
        lanes = _lanes(morsels, shape, packing, columns, arguments)
        given = (np.array([*arguments, *packing.arguments, 0], np.int64), np.array([*reals, 0.0], np.float64))
        states = self._states(known, lanes, shape, packing, given)
        with np.errstate(over="ignore", invalid="ignore"):  # what became infinite is seen in the end
            whole = _merged(states, shape, packing)
        return _table(whole, shape, pipeline, packing, arguments)

    def _real(self, expression: Expression) -> Any:
        value = self.moment.constant(expression).value
        if value is None:
            raise NotCovered("a constant is NULL")
        return value

    def _bounds(self, sides: Sequence[Built]) -> list[Bounds]:
        found: list[Bounds] = [column.bounds for side in sides for column in side.columns]
        for slot in self.pipeline.own_slots:
            integers = slot.values and not slot.coded and slot.type.kind in INTEGERS
            found.append(bounds_of(self.plan, self.layout, slot.id, version=self.version) if integers else (0, 1))
        return found

    def _tables(self, sources: Sequence[Source]) -> dict[int, pa.Array]:
        """Set the tables of dictionaries; gives the texts of those that number groups."""
        texts: dict[int, pa.Array] = {}
        first = 2 + 4 * len(self.pipeline.slots)
        for number, table in enumerate(self.pipeline.tables):
            slot = table.slot
            dictionaries = [source.dictionaries[slot] for source in sources]
            if table.test is None:
                chunks = [dictionary.cast(pa.string()) for dictionary in dictionaries]
                texts[number] = pc.unique(pa.chunked_array(chunks, pa.string()))
                for source, dictionary in zip(sources, chunks, strict=True):
                    numbers = np.zeros(len(dictionary) + 1, np.uint32)
                    numbers[:-1] = pc.index_in(dictionary, value_set=texts[number]).to_numpy(zero_copy_only=False)
                    source.set_table(first + number, numbers)
                continue
            id = self.pipeline.slots[slot].id
            try:
                test = self.moment.fold(table.test)
                for source, dictionary in zip(sources, dictionaries, strict=True):
                    source.set_table(first + number, _truths(test, dictionary, id))
            except WeftError as error:
                raise NotCovered(f"a condition on text fails: {error.message}") from None
        return texts

    def _states(
        self, known: Known, lanes: Sequence[Sequence[Morsel]], shape: Shape, packing: _Packing, given: tuple[Any, Any]
    ) -> list[_State]:
        assert known.kernel is not None, "a kernel that is ready is there"
        kernel = known.kernel
        stop = threading.Event()
        budget = _Budget()
        failures: list[BaseException] = []
        began = monotonic()

        def work(lane: Sequence[Morsel]) -> _State:
            try:
                return _run_lane(kernel, lane, shape, packing, given, check=self.check, stop=stop, budget=budget)
            except BaseException as error:
                stop.set()
                failures.append(error)
                raise

        try:
            if self.threads > 1 and len(lanes) > 1:
                states = list(_pool(self.threads).map(work, lanes))
            else:
                states = [work(lane) for lane in lanes]
        except BaseException:
            stop.set()
            raise failures[0] from None
        known.run_seconds += monotonic() - began
        return states


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packing:
    """``places``: how many there are with "dense"; of each key least value, size, stride, and place of NULL (-1)."""

    sink: str
    places: int
    keys: tuple[tuple[int, int, int, int], ...]
    texts: dict[int, pa.Array]

    @property
    def arguments(self) -> list[int]:
        return [number for low, _, stride, null in self.keys for number in (low, null, stride)]


@dataclass(slots=True)
class _State:
    sums: np.ndarray
    floats: np.ndarray
    keys: np.ndarray
    used: np.ndarray


class _Budget:
    """Bytes of states, of all lanes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = 0

    def take(self, count: int) -> None:
        with self._lock:
            self._bytes += count
            if self._bytes > STATE_BYTES_MAX:
                raise NotCovered("there are too many groups")


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="weftdb-pipeline")


def _run_lane(
    kernel: Kernel, lane: Sequence[Morsel], shape: Shape, packing: _Packing, given: tuple[Any, Any], *,
    check: Callable[[], None], stop: threading.Event, budget: _Budget,
) -> _State:  # fmt: skip
    places = TABLE_PLACES if packing.sink == "hash" else packing.places
    state = _new_state(shape, places, hashed=packing.sink == "hash", budget=budget)
    for morsel in lane:
        if stop.is_set():
            raise NotCovered("another lane was not covered")
        check()
        words, kept = morsel.ready()
        done = 0
        while done < len(words):
            done = int(kernel(words, done, len(words), *given, state.sums, state.floats, state.keys, state.used))
            if done < 0:
                raise NotCovered("a float is out of range")
            if done < len(words):
                state = _larger(state, shape, budget)
        del kept
    return state


def _new_state(shape: Shape, places: int, *, hashed: bool, budget: _Budget) -> _State:
    kinds = [kind for kind, _, _ in shape.accumulators]
    budget.take(8 * places * (len(kinds) + hashed))
    sums = np.zeros((places, max(sum(kind[0] != "f" for kind in kinds), 1)), np.int64)
    floats = np.zeros((places, max(sum(kind[0] == "f" for kind in kinds), 1)), np.float64)
    for kind, place in zip(kinds, shape.integer_places, strict=True):
        if kind in _KIND_START:
            (floats if kind[0] == "f" else sums)[:, place] = _KIND_START[kind]
    return _State(sums, floats, np.zeros(places if hashed else 1, np.int64), np.zeros(1, np.int64))


def _larger(state: _State, shape: Shape, budget: _Budget) -> _State:
    """The same groups, in a table of four times the places."""
    found = _new_state(shape, 4 * len(state.keys), hashed=True, budget=budget)
    places = np.empty(len(state.keys), np.int64)
    place_all(found.keys, state.keys, found.used, places)
    taken = places >= 0
    found.sums[places[taken]] = state.sums[taken]
    found.floats[places[taken]] = state.floats[taken]
    return found


def _truths(test: Expression, dictionary: pa.Array, id: int) -> np.ndarray:
    """What a condition is of NULL and of each text: 0, 1, or 2 for NULL."""
    texts = pa.concat_arrays([pa.array([None], pa.string()), dictionary.cast(pa.string())])
    found = evaluate(test, pa.RecordBatch.from_arrays([texts], names=["0"]), column_ids=[id])
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


def _pack(
    shape: Shape, keys: Sequence[Key], columns: Sequence[Bounds], arguments: Sequence[int], texts: dict[int, pa.Array]
) -> _Packing:
    """How keys become places. Raises NotCovered where they do not fit in 62 bits."""
    ranges: list[tuple[int, int, int]] = []
    for node, key in zip(shape.keys, keys, strict=True):
        if key.table is not None:
            low, high = 0, len(texts[key.table]) - 1
        elif node[0] == "truth_key":
            low, high = 0, 1
        else:
            low, high = bounds(node, columns, arguments)
        size = max(high - low + 1, 0)
        nullable = can_be_null(node, shape.slots)
        ranges.append((low, size + nullable, size if nullable else -1))
    stride = 1
    packed: list[tuple[int, int, int, int]] = []
    for low, size, null in reversed(ranges):
        packed.insert(0, (low, size, stride, null))
        stride *= max(size, 1)
    if stride >= 1 << 62:
        raise NotCovered("the keys have too many values")
    sink = "one" if not keys else "dense" if stride <= DENSE_MAX else "hash"
    return _Packing(sink=sink, places=stride, keys=tuple(packed), texts=texts)


def _lanes(
    morsels: Sequence[Morsel], shape: Shape, packing: _Packing, columns: Sequence[Bounds], arguments: Sequence[int]
) -> list[Sequence[Morsel]]:
    """Morsels in order, cut into lanes of about as many rows. Raises NotCovered where sums may not fit in any."""
    greatest = 1
    for kind, node, _ in shape.accumulators:
        if kind == "sum":
            low, high = bounds(node, columns, arguments)
            greatest = max(greatest, -low, high)
    rows = sum(morsel.rows_count for morsel in morsels)
    if packing.sink == "hash":
        count = LANES_HASHED
    else:
        state = 8 * packing.places * len(shape.accumulators)
        count = max(2, min(LANES_MAX, STATE_BYTES // max(state, 1)))
    most = INT64_MAX // greatest
    wanted = min(most, max(-(-rows // count), 1))
    lanes: list[list[Morsel]] = []
    held = 0
    for morsel in morsels:
        if morsel.rows_count > most:
            raise NotCovered("a sum may become too large")
        if not lanes or held >= wanted or held + morsel.rows_count > most:
            lanes.append([])
            held = 0
        lanes[-1].append(morsel)
        held += morsel.rows_count
    if len(lanes) > LANES_MOST:
        raise NotCovered("a sum may become too large")
    return list(lanes)


def _merged(states: Sequence[_State], shape: Shape, packing: _Packing) -> _Whole:
    """All lanes' groups, in order."""
    if not states:
        hashed = packing.sink == "hash"
        states = [_new_state(shape, 1 if hashed else packing.places, hashed=hashed, budget=_Budget())]
    if packing.sink == "hash":
        total = sum(int(state.used[0]) for state in states)
        places = 1 << max((2 * total).bit_length(), 4)
        whole = _Whole(shape, places)
        keys, used = np.zeros(places, np.int64), np.zeros(1, np.int64)
        for state in states:
            at = np.empty(len(state.keys), np.int64)
            place_all(keys, state.keys, used, at)
            taken = np.flatnonzero(at >= 0)
            whole.add(state.sums[taken], state.floats[taken], at[taken])
        there = np.flatnonzero(keys)
        whole.keep(there, keys[there] - 1)
        return whole
    whole = _Whole(shape, len(states[0].sums))
    for state in states:
        whole.add(state.sums, state.floats, slice(None))
    if packing.sink == "dense":
        there = np.flatnonzero(whole.low[0] > 0) if len(whole.low) else np.empty(0, np.int64)
        whole.keep(there, there)
    return whole


class _Whole:
    """The accumulators of all groups: sums in two words, ``low`` (uint64) and ``high`` (int64), or ``floats``."""

    def __init__(self, shape: Shape, places: int) -> None:
        self.packed = np.zeros(places, np.int64)
        self.low: dict[int, np.ndarray] = {}
        self.high: dict[int, np.ndarray] = {}
        self.floats: dict[int, np.ndarray] = {}
        self._shape = shape
        for number, (kind, _, _) in enumerate(shape.accumulators):
            if kind[0] == "f":
                self.floats[number] = np.full(places, _KIND_START.get(kind, 0.0), np.float64)
            elif kind in _KIND_START:
                self.low[number] = np.full(places, _KIND_START[kind], np.int64)
            else:
                self.low[number] = np.zeros(places, np.uint64)
                self.high[number] = np.zeros(places, np.int64)

    def add(self, sums: np.ndarray, floats: np.ndarray, at: Any) -> None:
        """Another lane's groups, each at a place of its own."""
        for number, (place, (kind, _, _)) in enumerate(
            zip(self._shape.integer_places, self._shape.accumulators, strict=True)
        ):
            values = (floats if kind[0] == "f" else sums)[:, place]
            match kind:
                case "count" | "sum":
                    low, words = self.low[number], values.view(np.uint64) if values.flags.c_contiguous else None
                    words = np.ascontiguousarray(values).view(np.uint64) if words is None else words
                    total = low[at] + words
                    self.high[number][at] += (values >> 63) + (total < words)
                    low[at] = total
                case "min":
                    self.low[number][at] = np.minimum(self.low[number][at], values)
                case "max":
                    self.low[number][at] = np.maximum(self.low[number][at], values)
                case "fsum":
                    self.floats[number][at] += values
                case "fmin":
                    self.floats[number][at] = np.fmin(self.floats[number][at], values)
                case _:
                    self.floats[number][at] = np.maximum(self.floats[number][at], values)

    def keep(self, places: np.ndarray, packed: np.ndarray) -> None:
        """Only these groups, in the order of their keys."""
        order = np.argsort(packed, kind="stable")
        places, self.packed = places[order], packed[order]
        for of in (self.low, self.high, self.floats):
            for number in of:
                of[number] = of[number][places]


def _table(whole: _Whole, shape: Shape, pipeline: Pipeline, packing: _Packing, arguments: Sequence[int]) -> pa.Table:
    arrays: list[pa.Array] = []
    names: list[str] = []
    for number, key in enumerate(pipeline.keys):
        low, size, stride, null = packing.keys[number]
        digits = (whole.packed // stride) % max(size, 1)
        missing = digits == null
        names.append(f"k{number}")
        table = JOINED_TEXTS + key.joined if key.joined is not None else key.table
        if table is not None:
            index = pa.array(digits, mask=missing) if null >= 0 else pa.array(digits)
            arrays.append(packing.texts[table].take(index))
            continue
        values = digits + low
        if key.bucket is not None:
            values = values * arguments[key.bucket[0]] + arguments[key.bucket[1]]
        arrays.append(_whole_array(np.where(missing, 0, values), None if null < 0 else ~missing, key.type))
    for number, answer in enumerate(pipeline.answers):
        names.append(f"a{number}")
        arrays.append(_answer(answer, whole))
    return pa.Table.from_arrays(arrays, names=names)


def _answer(answer: Answer, whole: _Whole) -> pa.Array:
    counts = whole.low[answer.count].view(np.int64)
    if answer.function == "count":
        return pa.array(counts)
    there = counts > 0
    valid = None if there.all() else there
    if answer.value in whole.floats:
        values = whole.floats[answer.value]
        if answer.function == "avg":
            values = values / np.maximum(counts, 1)
        if answer.function in ("sum", "avg") and np.isinf(values[there]).any():
            raise NotCovered("a sum is infinite")
        values = np.where(there, values, 0.0)
        return fixed_array(np.ascontiguousarray(values.astype(DTYPES[answer.type.kind])), valid, answer.type)
    low = whole.low[answer.value]
    if answer.function == "avg":
        return _averages(low, whole.high[answer.value], counts, answer, valid)
    if answer.function != "sum":
        return _whole_array(np.where(there, low, 0), valid, answer.type)
    high = whole.high[answer.value]
    if answer.type.kind is Kind.NUMERIC:
        pairs = np.empty((len(low), 2), np.uint64)
        pairs[:, 0], pairs[:, 1] = low, high.view(np.uint64)
        return fixed_array(pairs, valid, answer.type)
    if ((low.view(np.int64) >> 63) != high).any():
        raise NotCovered("a sum is too large")
    return _whole_array(low.view(np.int64), valid, answer.type)


def _averages(
    low: np.ndarray, high: np.ndarray, counts: np.ndarray, answer: Answer, valid: np.ndarray | None
) -> pa.Array:
    """Quotients of exact sums, rounded half away from zero."""
    factor = 10 ** ((answer.type.scale or 0) - answer.scale)
    pairs = np.empty((len(low), 2), np.uint64)
    for place, (words, above, count) in enumerate(zip(low.tolist(), high.tolist(), counts.tolist(), strict=True)):
        dividend = ((above << 64) + words) * factor
        quotient = (2 * abs(dividend) + count) // (2 * count) if count else 0
        if quotient >= DECIMAL_LIMIT:
            raise NotCovered("an average has too many digits")
        quotient = -quotient if dividend < 0 else quotient
        pairs[place] = quotient & MASK, (quotient >> 64) & MASK
    return fixed_array(pairs, valid, answer.type)


DECIMAL_LIMIT: Final = 10**38
MASK: Final = (1 << 64) - 1


def _whole_array(values: np.ndarray, valid: np.ndarray | None, type: Type) -> pa.Array:
    """Integers as an Arrow array of an integer kind."""
    values = values.astype(np.int64)
    if type.kind is Kind.NUMERIC:
        pairs = np.empty((len(values), 2), np.uint64)
        pairs[:, 0], pairs[:, 1] = values.view(np.uint64), (values >> 63).view(np.uint64)
        return fixed_array(pairs, valid, type)
    return fixed_array(np.ascontiguousarray(values.astype(DTYPES[type.kind])), valid, type)
