"""Answers without a kernel: how many rows, the least and the greatest value, from what is known of blocks.

    SELECT count(*), min(event_time) FROM clicks WHERE event_time >= '2026-01-05'

    conditions   true of all rows of a segment or of none, by its zone and its NULLs; else of its blocks; else the
                 block is read
    count        rows without those that ended: one number a segment, and the bits of its overlay by block only where
                 conditions or NULLs tell its blocks apart
    least        segment after segment in the order of their zones, in it block after block: of the first in which no
                 row has ended the zone is it; others are read, and the next one only where its zone goes beyond what
                 was found

So a table of many blocks costs as much as it has segments, but for those whose blocks differ.
Values are compared as *places* (zones.py), in which -0.0 stands right below 0.0, NaN above all. What is in memory, or
found by key, is looked through. Where more than ``READ_ROWS_MAX`` rows would have to be, there is no answer, and a
kernel gives it.

Always true: a block counts as *told* only if it is wanted whole, its rows had begun and what ended of it is known at
the version, and all conditions are true of all of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from ...storage.column_values import FixedValues, Values, constant_array, values_of
from ...storage.encoding import HIGHEST, LOWEST
from ...storage.kernels.blocks import DIRECTORY
from ..column_store import FixedColumn, VariableColumn
from ..gather import gathered
from ..layout import Layout
from ..memtable import Chunk
from ..projection import Projection, missing_value
from ..scan_plan import Plan, Run
from ..schema import Column
from ..segment import Segment
from ..zones import place_range
from .answers import Groups
from .shape import Node, NotCovered, Pipeline

READ_ROWS_MAX: Final = 1 << 20
"""What is read is read by one thread: a kernel looks through more rows faster."""
EXTREME_BLOCKS_MAX: Final = 64
"""Blocks that are read for one least value: more are those of a table in which most of the least ones have ended."""

_NOTHING: Final = np.empty(0, np.uint64)
_MAGNITUDE: Final = np.int64(0x7FFF_FFFF_FFFF_FFFF)
_INFINITY: Final = np.int64(0x7FF0_0000_0000_0000)
_NAN: Final = 0x7FF8_0000_0000_0000


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A column compared with a constant, by that one's number; ``operator`` "null" or "there": with nothing."""

    slot: int
    operator: str
    constant: int = -1
    real: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Extreme:
    """``value`` and ``count``: the accumulators; of the latter only whether it is 0 is asked."""

    slot: int
    greatest: bool
    real: bool
    value: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What metadata answers. ``counts``: an accumulator, and the column whose values it counts; None: rows."""

    conditions: tuple[Condition, ...]
    counts: tuple[tuple[int, int | None], ...]
    extremes: tuple[Extreme, ...]


@dataclass(slots=True)
class Told:
    """The one group, and what was read for it."""

    groups: Groups
    rows_read: int = 0
    blocks_read: int = 0


def asked(pipeline: Pipeline) -> Asked | None:
    """What of a pipeline may be answered here: all of it, or None."""
    shape = pipeline.shape
    if shape.sink != "one" or shape.probes or pipeline.checked:
        return None
    conditions = [_condition(node) for part in shape.filters for node in _conjuncts(part)]
    counts: list[tuple[int, int | None]] = []
    extremes: list[Extreme] = []
    for answer in pipeline.answers:
        kind, node, condition = shape.accumulators[answer.value]
        if condition is not None:
            return None
        if kind == "count" and (node is None or node[0] == "present"):
            counts.append((answer.value, None if node is None else node[1]))
        elif kind in ("min", "max", "fmin", "fmax") and node is not None and node[0] in _COLUMNS:
            real, greatest = kind[0] == "f", kind.endswith("max")
            extremes.append(Extreme(slot=node[1], greatest=greatest, real=real, value=answer.value, count=answer.count))
        else:
            return None
    found = tuple(condition for condition in conditions if condition is not None)
    if len(found) < len(conditions):
        return None
    return Asked(conditions=found, counts=tuple(counts), extremes=tuple(extremes))


_COLUMNS: Final = ("column", "double", "single")
_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _conjuncts(node: Node) -> Sequence[Node]:
    return [part for each in node[1] for part in _conjuncts(each)] if node[0] == "and" else [node]


def _condition(node: Node) -> Condition | None:
    match node:
        case ("is_null", ("present", slot)):
            return Condition(slot=slot, operator="null")
        case ("not", ("is_null", ("present", slot))):
            return Condition(slot=slot, operator="there")
        case ("compare" | "fcompare" as kind, operator, left, right):
            if left[0] in ("int", "real"):
                left, right, operator = right, left, _MIRRORED.get(operator) or operator
            if left[0] in _COLUMNS and right[0] in ("int", "real"):
                return Condition(slot=left[1], operator=operator, constant=right[1], real=kind == "fcompare")
        case _:
            pass
    return None


def told(
    asked: Asked, pipeline: Pipeline, plan: Plan, layout: Layout, *, version: int,
    arguments: Sequence[int], reals: Sequence[float], check: Callable[[], None], dry: bool = False,
) -> Told | None:  # fmt: skip
    """The answer, None where too much would have to be read. ``dry``: an empty one, nothing is read.

    Raises NotCovered, Corrupt, and what ``check`` does.
    """
    columns = [layout.by_id[slot.id] for slot in pipeline.slots]
    tests = [_test(condition, arguments, reals) for condition in asked.conditions]
    look = _Look(asked, tests, columns, version=version, check=check)
    stretches = _stretches(plan.runs)
    segments = _Segments([each.segment for each in stretches if each.stop - each.start == each.segment.rows_count])
    of_segments = look.tell(segments)
    told_whole = {id(segments.segments[place]) for place in np.flatnonzero(~of_segments.read).tolist()}
    blocks = _Blocks([each for each in stretches if id(each.segment) not in told_whole])
    found = look.tell(blocks)
    chunks: list[tuple[Chunk, int, np.ndarray | None]] = []
    for chunk, chosen in plan.chunks:
        count, rows = _visible(chunk, chosen, version)
        if count and not (rows is None and look.add_known(chunk, count)):
            chunks.append((chunk, count, rows))
    read = int(blocks.sizes[found.read].sum()) + plan.picked.count
    if look.reads:
        read += sum(count for _, count, _ in chunks)
    if read > READ_ROWS_MAX:
        return None
    if dry:
        return Told(Groups(0))
    for chunk, count, rows in chunks:
        look.chunk(chunk, count, rows)
    if plan.picked.count:
        look.picked(plan)
    for place in np.flatnonzero(found.read).tolist():
        look.block(blocks, place, sure=bool(found.sure[place]))
    for number in range(len(asked.extremes)):
        if not look.find(number, blocks, found.told) or not look.find(number, segments, of_segments.told):
            return None
    return Told(look.groups(), look.rows_read, look.blocks_read)


def _visible(chunk: Chunk, rows: np.ndarray | None, version: int) -> tuple[int, np.ndarray | None]:
    return chunk.visible(version) if rows is None else (len(rows), rows)


class _Test(NamedTuple):
    """Places from ``low`` to ``high``, or all others (``inverted``); ``null``: no place at all."""

    slot: int
    low: int
    high: int
    inverted: bool = False
    null: bool = False

    def of_blocks(self, zones: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of which blocks it is true in all rows, and of which in none."""
        some, none = zones["nulls"] > 0, zones["nulls"] == zones["rows"]
        if self.null:
            return none, ~some
        low, high = zones["low"], zones["high"]
        within, apart = (low >= self.low) & (high <= self.high), (high < self.low) | (low > self.high)
        if self.inverted:
            within, apart = apart, within
        cut = (low == LOWEST) | (high == HIGHEST)  # a NUMERIC beyond 64 bits perhaps
        return within & ~some & ~cut, (apart & ~cut) | none

    def of_rows(self, places: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        if self.null:
            return np.zeros(len(places), np.bool_) if valid is None else ~valid
        found = (places >= self.low) & (places <= self.high)
        if self.inverted:
            found = ~found
        return found if valid is None else found & valid


def _test(condition: Condition, arguments: Sequence[int], reals: Sequence[float]) -> _Test:
    slot = condition.slot
    if condition.constant < 0:
        return _Test(slot, LOWEST, HIGHEST, null=condition.operator == "null")
    if condition.real:
        place = _place(reals[condition.constant])
        least, most = (-1, 0) if place in (-1, 0) else (place, place)
    else:
        least = most = arguments[condition.constant]
    match condition.operator:
        case "==" | "!=":
            return _Test(slot, least, most, inverted=condition.operator == "!=")
        case "<":
            return _Test(slot, LOWEST, least - 1)
        case "<=":
            return _Test(slot, LOWEST, most)
        case ">":
            return _Test(slot, most + 1, HIGHEST)
        case _:
            return _Test(slot, least, HIGHEST)


class _Units:
    """Parts of segments that are told or not, one or more of each segment, those of a segment together.

    ``of``: the number of each one's segment; ``starts``, ``stops``: its rows; ``sizes``: how many; ``whole``: whether
    they are all that its zone is about.
    """

    segments: list[Segment]
    of: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    sizes: np.ndarray
    whole: np.ndarray

    def zones(self, column: Column) -> np.ndarray:
        """Of each unit a record with "rows", "nulls", "low" and "high" of a column."""
        raise NotImplementedError

    def complete(self, told: np.ndarray) -> np.ndarray:
        """Of which segments everything is ``told``."""
        raise NotImplementedError

    def ended(self, version: int, wanted: np.ndarray) -> np.ndarray:
        """Rows of each unit of the segments ``wanted`` that have ended; -1 where only looking at them tells."""
        raise NotImplementedError

    def at(self, place: int) -> tuple[Segment, int, int]:
        """A unit's segment, and its rows."""
        return self.segments[self.of[place]], int(self.starts[place]), int(self.stops[place])

    def settled(self, version: int) -> np.ndarray:
        """Of each segment, how many of its rows have ended; -1 where some began or ended after the version."""
        found = [
            segment.overlay.ended_at(version) if segment.version_high <= version else None for segment in self.segments
        ]
        return np.array([-1 if count is None else count for count in found], np.int64)

    def living(self, settled: np.ndarray, complete: np.ndarray) -> int:
        """Rows of complete segments that have not ended."""
        rows = np.array([segment.rows_count for segment in self.segments], np.int64)
        return int((rows - settled)[complete].sum())


class _Segments(_Units):
    """Segments, each a unit."""

    def __init__(self, segments: list[Segment]) -> None:
        self.segments = segments
        self.of = np.arange(len(segments))
        self.starts = np.zeros(len(segments), np.int64)
        self.stops = self.sizes = np.array([segment.rows_count for segment in segments], np.int64)
        self.whole = np.ones(len(segments), np.bool_)
        self._zones: dict[int, np.ndarray] = {}

    def zones(self, column: Column) -> np.ndarray:
        found = self._zones.get(column.id)
        if found is None:
            totals = [_totals(segment, column) for segment in self.segments]
            found = self._zones[column.id] = np.array(totals, _TOTALS)
        return found

    def complete(self, told: np.ndarray) -> np.ndarray:
        return told.copy()

    def ended(self, version: int, wanted: np.ndarray) -> np.ndarray:
        return np.where(wanted, self.settled(version), -1)


_TOTALS: Final = np.dtype([("rows", np.uint64), ("nulls", np.uint64), ("low", np.int64), ("high", np.int64)])


class _Blocks(_Units):
    """All blocks of stretches, or parts of some.

    ``places``: a block's number in its segment; ``entries``: among those of all segments.
    """

    def __init__(self, stretches: Sequence[Run]) -> None:
        self.segments = list({id(stretch.segment): stretch.segment for stretch in stretches}.values())
        self._zones: dict[int, np.ndarray] = {}
        readers = [segment.reader for segment in self.segments]
        numbers = {id(segment): number for number, segment in enumerate(self.segments)}
        starts = np.array([stretch.start for stretch in stretches], np.int64)
        stops = np.array([stretch.stop for stretch in stretches], np.int64)
        whose = np.array([numbers[id(stretch.segment)] for stretch in stretches], np.int64)
        self._rows = np.array([segment.rows_count for segment in self.segments], np.int64)
        block_rows = np.array([reader.block_rows for reader in readers], np.int64)
        sizes = block_rows[whose]
        firsts, counts = starts // sizes, -(-stops // sizes) - starts // sizes
        before = np.cumsum(counts) - counts
        self.of = np.repeat(whose, counts)
        self.places = np.arange(len(self.of)) + np.repeat(firsts - before, counts)
        sizes = block_rows[self.of]
        begins = self.places * sizes
        self.starts = np.maximum(begins, np.repeat(starts, counts))
        self.stops = np.minimum(begins + sizes, np.repeat(stops, counts))
        self.sizes = self.stops - self.starts
        self.whole = self.sizes == np.minimum(sizes, self._rows[self.of] - begins)
        self._counts = np.array([reader.blocks_count for reader in readers], np.int64)
        self.entries = self.places + (np.cumsum(self._counts) - self._counts)[self.of]

    def zones(self, column: Column) -> np.ndarray:
        """Directory entries."""
        found = self._zones.get(column.id)
        if found is None:
            words = [_entries(segment, column).view(np.uint64) for segment in self.segments]  # fields are slow to join
            every = np.concatenate([*words, _NOTHING]).view(DIRECTORY)
            found = self._zones[column.id] = every[self.entries]
        return found

    def complete(self, told: np.ndarray) -> np.ndarray:
        return np.bincount(self.of[told], minlength=len(self.segments)) == self._counts

    def ended(self, version: int, wanted: np.ndarray) -> np.ndarray:
        found = np.full(len(self.of), -1, np.int64)
        for number in np.flatnonzero(wanted).tolist():
            segment = self.segments[number]
            by_block = segment.overlay.ended_by_block(version, segment.reader.block_rows)
            if by_block is not None:
                mine = slice(*np.searchsorted(self.of, (number, number + 1)).tolist())
                found[mine] = by_block[self.places[mine]]
        return found


def _stretches(runs: Sequence[Run]) -> list[Run]:
    """Runs of one segment that stand one after the other as one, those of a segment together."""
    found: dict[int, list[Run]] = {}
    for run in runs:
        of = found.setdefault(id(run.segment), [])
        if of and of[-1].stop == run.start:
            of[-1] = Run(run.segment, of[-1].start, run.stop)
        else:
            of.append(run)
    return [run for of in found.values() for run in of]


class _Found(NamedTuple):
    """By block: whether conditions are true of all rows; whether it has to be read, or is told."""

    sure: np.ndarray
    read: np.ndarray
    told: np.ndarray


class _Look:
    """One answer while it is made: ``counts`` as they are asked, ``best`` places of extremes, of greatest ones ~."""

    def __init__(
        self, asked: Asked, tests: Sequence[_Test], columns: Sequence[Column], *,
        version: int, check: Callable[[], None],
    ) -> None:  # fmt: skip
        self._asked = asked
        self._tests = tests
        self._columns = columns
        self._version = version
        self._check = check
        self._counts = [0] * len(asked.counts)
        self._best: list[int | None] = [None] * len(asked.extremes)
        self._extremes_read = [0] * len(asked.extremes)  # blocks
        self._read_slots = tuple(
            dict.fromkeys(
                (
                    *(test.slot for test in tests),
                    *(slot for _, slot in asked.counts if slot is not None),
                    *(extreme.slot for extreme in asked.extremes),
                )
            )
        )
        self.rows_read = 0
        self.blocks_read = 0

    @property
    def reads(self) -> bool:
        """Whether columns of what is in memory are looked through."""
        return bool(self._read_slots)

    def tell(self, blocks: _Units) -> _Found:
        """Count what need not be read: segments that are told as a whole by their own counts, of others blocks."""
        count = len(blocks.of)
        if not count:
            return _Found(*(np.zeros(0, np.bool_) for _ in range(3)))
        sure, never = np.ones(count, np.bool_), np.zeros(count, np.bool_)
        for test in self._tests:
            always, nowhere = test.of_blocks(blocks.zones(self._columns[test.slot]))
            sure &= always
            never |= nowhere
        settled = blocks.settled(self._version)
        told = sure & ~never & blocks.whole & (settled >= 0)[blocks.of]
        complete = blocks.complete(told)
        nulls = {slot: blocks.zones(self._columns[slot]) for _, slot in self._asked.counts if slot is not None}
        parts = told & ~complete[blocks.of]
        for zones in nulls.values():
            parts |= told & (zones["nulls"] > 0)
        wanted = np.zeros(len(complete), np.bool_)
        wanted[blocks.of[parts]] = True
        complete &= ~wanted
        ended = blocks.ended(self._version, wanted)
        told &= complete[blocks.of] | (ended >= 0)
        for zones in nulls.values():
            told &= (zones["nulls"] == 0) | (zones["nulls"] == zones["rows"]) | (ended == 0)
        rest = told & ~complete[blocks.of]
        living = (blocks.sizes - ended)[rest]
        whole = blocks.living(settled, complete)
        for place, (_, slot) in enumerate(self._asked.counts):
            counted = living
            if slot is not None:
                zones = nulls[slot][rest]
                counted = np.where(zones["nulls"] == zones["rows"], 0, living - zones["nulls"])
            self._counts[place] += whole + int(counted.sum())
        return _Found(sure, ~told & ~never, told)

    def find(self, number: int, units: _Units, told: np.ndarray) -> bool:
        """Look for an extreme in the units that are told; False where too many blocks would have to be read."""
        if not len(told):
            return True
        extreme = self._asked.extremes[number]
        zones = units.zones(self._columns[extreme.slot])
        there = np.flatnonzero(told & (zones["nulls"] < zones["rows"]))
        low, high = zones["low"][there], zones["high"][there]
        if ((low == LOWEST) | (high == HIGHEST)).any():
            raise NotCovered("a number may become too large")
        places = ~high if extreme.greatest else low
        for next in np.argsort(places, kind="stable").tolist():
            best = self._best[number]
            if best is not None and int(places[next]) >= best:
                break
            segment, start, stop = units.at(int(there[next]))
            exact = not segment.overlay.any_ended(start, stop)
            if exact and not (extreme.real and places[next] in (0, -1)):  # of 0.0 zones do not tell the sign
                self._better(number, int(places[next]))
                break
            if not self._find_among(number, units, segment, start, stop):
                return False
        return True

    def _find_among(self, number: int, units: _Units, segment: Segment, start: int, stop: int) -> bool:
        """The same in the rows of one unit: by its blocks, or where it is one by reading it."""
        if isinstance(units, _Segments):
            blocks = _Blocks([Run(segment, start, stop)])
            return self.find(number, blocks, np.ones(len(blocks.of), np.bool_))
        if self._extremes_read[number] == EXTREME_BLOCKS_MAX:
            return False
        self._extremes_read[number] += 1
        self._check()
        self._count_read(stop - start)
        column = self._columns[self._asked.extremes[number].slot]
        read, valid = _places(segment.values(column, start, stop))
        mask = segment.visible(self._version, start, stop)
        self._add_extreme(number, read, _both(valid, None if mask is None else mask.view(np.bool_)))
        return True

    def _count_read(self, rows: int) -> None:
        self.rows_read += rows
        self.blocks_read += 1

    def block(self, blocks: _Blocks, place: int, *, sure: bool) -> None:
        """Read a block."""
        self._check()
        segment, start, stop = blocks.at(place)
        self._count_read(stop - start)
        mask = segment.visible(self._version, start, stop)
        self._add(
            stop - start,
            None if mask is None else mask.view(np.bool_),
            lambda slot: segment.values(self._columns[slot], start, stop),
            tested=not sure,
        )

    def add_known(self, chunk: Chunk, count: int) -> bool:
        """Add the first ``count`` rows of a chunk, if what is kept of it tells all that is asked."""
        self._check()
        if self._tests:
            return False
        best: list[tuple[int, int]] = []
        for extreme in self._asked.extremes:
            store = chunk.columns.get(self._columns[extreme.slot].id)
            known = store.exact_bounds(count) if isinstance(store, FixedColumn) and not extreme.real else None
            if known is None:
                return False
            best.append(known)
        stores = [None if slot is None else chunk.columns.get(self._columns[slot].id) for _, slot in self._asked.counts]
        if any(store is None and slot is not None for store, (_, slot) in zip(stores, self._asked.counts, strict=True)):
            return False
        for place, store in enumerate(stores):
            valid = None if store is None else store.valid
            self._counts[place] += count if valid is None else int(np.count_nonzero(valid[:count]))
        for number, (low, high) in enumerate(best):
            if low <= high:
                self._better(number, ~high if self._asked.extremes[number].greatest else low)
        return True

    def chunk(self, chunk: Chunk, count: int, rows: np.ndarray | None) -> None:
        """Look through a chunk of a memtable."""
        self._check()
        if self.reads:
            self.rows_read += count

        def values(slot: int) -> Values:
            column = self._columns[slot]
            store = chunk.columns.get(column.id)
            if store is None:
                return values_of(constant_array(missing_value(column), count, column.type), column.type)
            valid = store.valid
            if valid is not None:
                valid = valid[:count] if rows is None else valid[rows]
            if isinstance(store, VariableColumn):
                return FixedValues(np.empty(count, np.uint8), valid)  # of text only what is NULL is asked
            return FixedValues(store.values[:count] if rows is None else store.values[rows], valid)

        self._add(count, None, values)

    def picked(self, plan: Plan) -> None:
        """Look through the rows that were found by key."""
        batch = gathered(plan.picked, Projection([self._columns[slot] for slot in self._read_slots]))
        self.rows_read += batch.num_rows

        def values(slot: int) -> Values:
            return values_of(batch.column(self._read_slots.index(slot)), self._columns[slot].type)

        self._add(plan.picked.count, None, values)

    def groups(self) -> Groups:
        """The answer."""
        groups = Groups(1)
        for number, extreme in enumerate(self._asked.extremes):
            best = self._best[number]
            groups.low[extreme.count] = np.array([0 if best is None else 1], np.int64)
            best = 0 if best is None else ~best if extreme.greatest else best
            if extreme.real:
                bits = np.array([best if best >= 0 else best ^ int(_MAGNITUDE)], np.int64)
                groups.reals[extreme.value] = bits.view(np.float64)
            else:
                groups.low[extreme.value] = np.array([best], np.int64)
        for count, (accumulator, _) in zip(self._counts, self._asked.counts, strict=True):
            groups.low[accumulator] = np.array([count], np.int64)
        return groups

    def _add(
        self, count: int, mask: np.ndarray | None, values: Callable[[int], Values], *, tested: bool = True
    ) -> None:
        """``count`` rows, those of ``mask`` of them."""
        kept: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}

        def places(slot: int) -> tuple[np.ndarray, np.ndarray | None]:
            if slot not in kept:
                kept[slot] = _places(values(slot))
            return kept[slot]

        for test in self._tests if tested else ():
            mask = _both(mask, test.of_rows(*places(test.slot)))
        for place, (_, slot) in enumerate(self._asked.counts):
            there = mask if slot is None else _both(mask, places(slot)[1])
            self._counts[place] += count if there is None else int(np.count_nonzero(there))
        for number, extreme in enumerate(self._asked.extremes):
            found, valid = places(extreme.slot)
            self._add_extreme(number, found, _both(mask, valid))

    def _add_extreme(self, number: int, places: np.ndarray, there: np.ndarray | None) -> None:
        if there is not None:
            places = places[there]
        if len(places):
            greatest = self._asked.extremes[number].greatest
            self._better(number, ~int(places.max()) if greatest else int(places.min()))

    def _better(self, number: int, place: int) -> None:
        best = self._best[number]
        self._best[number] = place if best is None else min(best, place)


def _totals(segment: Segment, column: Column) -> tuple[int, int, int, int]:
    """What is known of a column in a whole segment, or would be if the segment had it: rows, NULLs, low, high."""
    rows = segment.rows_count
    if column.id in segment.description.columns:
        reader = segment.reader
        return rows, reader.nulls_count(column.id), *reader.zone(column.id)
    value = missing_value(column)
    places = None if value is None else place_range(value, column.type)
    low, high = (HIGHEST, LOWEST) if places is None else places[:2]
    return rows, rows if value is None else 0, low, high


def _entries(segment: Segment, column: Column) -> np.ndarray:
    """What the directory says of a column, or would if the segment had it."""
    if column.id in segment.description.columns:
        return segment.reader.directory(column.id)
    entries = np.zeros(segment.reader.blocks_count, DIRECTORY)
    rows, nulls, low, high = _totals(segment, column)
    entries["rows"] = 1
    entries["nulls"] = nulls == rows
    entries["low"], entries["high"] = low, high
    return entries


def _places(values: Values) -> tuple[np.ndarray, np.ndarray | None]:
    """Places of values (of those that have none: nothing of meaning), and which are not NULL (bool). Raises NotCovered
    beyond 64 bits.
    """
    valid = None if values.valid is None else values.valid.view(np.bool_)
    if not isinstance(values, FixedValues):
        return np.empty(len(values.offsets) - 1, np.uint8), valid
    found = values.values
    if found.ndim == 2:
        words = found[:, 0].view(np.int64)
        beyond = found[:, 1].view(np.int64) != words >> 63
        if (beyond if valid is None else beyond & valid).any():
            raise NotCovered("a number may become too large")
        return words, valid
    if found.dtype.kind != "f":
        return found.astype(np.int64, copy=False), valid
    with np.errstate(invalid="ignore"):  # what stands for NULL may be any bits
        bits = found.astype(np.float64).view(np.int64)
    places = np.where(bits >= 0, bits, bits ^ _MAGNITUDE)
    places[(bits & _MAGNITUDE) > _INFINITY] = _NAN
    return places, valid


def _place(value: float) -> int:
    return int(_places(FixedValues(np.array([value]), None))[0][0])


def _both(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    """Where both are true; None is true everywhere."""
    if one is None or other is None:
        return one if other is None else other
    return one & other
