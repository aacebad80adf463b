"""What a scan has to look at, as kernels are given it: a row of words for each piece (generate.py), and morsels.

    segment           one piece a block; the columns' directory entries where they lie, in the file
    chunks            pieces of at most ``PIECE_ROWS`` rows; entries made here say how their arrays lie in memory. Those
                      of which all rows are visible are one source, each other one is a source of its own
    rows by key       gathered into a batch, and that as a chunk

A *morsel* is some pieces of one source: what a thread works on between two looks at whether to go on. Its visibility is
asked for and its blocks are verified when its turn comes. A column that a segment is older than is one CONSTANT entry.

``Source`` keeps alive what the words point to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa

from ...base.types import Type
from ...storage.column_values import (
    FixedValues,
    VariableValues,
    address_of,
    array_of,
    constant_array,
    frozen,
    values_of,
    variable_of,
)
from ...storage.kernels.blocks import CONSTANT, DIRECTORY, PLAIN, WIDE
from ..column_store import VALID, VALUES, FixedColumn, VariableColumn, new_column
from ..gather import gathered
from ..layout import Layout
from ..memtable import Chunk
from ..overlay import bits_of
from ..projection import Projection, missing_value
from ..scan_plan import Plan
from ..schema import Column
from ..segment import Segment
from .bounds import Bounds, number_of
from .shape import NotCovered, Pipeline, Slot
from .texts import Numbering, Numbers

PIECE_ROWS: Final = 16_384
MORSELS: Final = 32
MORSEL_PIECES: Final = 8
MORSEL_PIECES_MAX: Final = 32
"""A morsel has one in so many of all pieces: between two of them a thread needs the interpreter, which others hold."""

Numberings: TypeAlias = Mapping[int, Numbering | None]
"""Of each coded slot of a table; None: its texts have no numbers."""

_CLIPPED: Final = (1 << 63) - 1


class Source:
    """Pieces of one segment or batch, or of chunks. ``words``: uint64[pieces, words]."""

    __slots__ = ("dictionaries", "hidden", "kept", "numbers", "rows_count", "spans", "words")

    def __init__(
        self, words: np.ndarray, spans: np.ndarray, hidden: Callable[[int, int], np.ndarray | None] | None
    ) -> None:
        self.words = words
        self.spans = spans
        """int64[pieces, 2]: the first row of each piece and the one after its last, in the segment, chunk or batch."""
        self.hidden = hidden
        """Makes rows ready to be read, and gives bits of those that are not visible (Overlay.hidden); None: all are.
        None itself: all rows are ready and visible."""
        self.kept: list[Any] = []
        self.numbers: dict[int, Numbers] = {}
        """Of each coded slot the numbers of its codes; ``by_row``: codes are the numbers."""
        self.dictionaries: dict[int, pa.Array] = {}
        """The texts of each coded slot whose texts have no numbers."""
        self.rows_count = int((spans[:, 1] - spans[:, 0]).sum())

    def set_table(self, place: int, table: np.ndarray) -> None:
        """The address of a dictionary table, into all pieces."""
        self.kept.append(table)
        self.words[:, place] = table.ctypes.data

    def morsels(self, pieces: int) -> list[Morsel]:
        """All of it, so many pieces at a time."""
        count = len(self.words)
        return [Morsel(self, start, min(start + pieces, count)) for start in range(0, count, pieces)]


class Morsel:
    """Pieces ``start`` to ``stop`` of a source."""

    __slots__ = ("rows_count", "source", "start", "stop")

    def __init__(self, source: Source, start: int, stop: int) -> None:
        self.source = source
        self.start = start
        self.stop = stop
        spans = source.spans[start:stop]
        self.rows_count = int((spans[:, 1] - spans[:, 0]).sum())

    def ready(self) -> tuple[np.ndarray, Any]:
        """The words of its pieces, and what is to be kept until they were read. Raises Corrupt."""
        words, spans = self.source.words[self.start : self.stop], self.source.spans[self.start : self.stop]
        kept: list[np.ndarray] = []
        hidden = self.source.hidden
        at = 0
        while hidden is not None and at < len(spans):  # pieces that stand one behind the other are asked for together
            last = at + 1
            while last < len(spans) and spans[last, 0] == spans[last - 1, 1]:
                last += 1
            first = int(spans[at, 0])
            bits = hidden(first, int(spans[last - 1, 1]))
            if bits is not None:
                if not kept:
                    words = words.copy()
                kept.append(bits)
                words[at:last, 1] = address_of(bits) * 8 + (spans[at:last, 0] - (first & ~63)).astype(np.uint64)
            at = last
        return words, kept


def morsels_of(sources: Sequence[Source], *, rows_max: int) -> list[Morsel]:
    """All of the sources, in order; of at most ``rows_max`` rows where pieces have no more."""
    wanted = min(sum(len(source.words) for source in sources) // MORSELS, MORSEL_PIECES_MAX)
    pieces = max(min(max(wanted, MORSEL_PIECES), rows_max // PIECE_ROWS), 1)
    return [morsel for source in sources for morsel in source.morsels(pieces)]


def sources_of(
    plan: Plan, layout: Layout, pipeline: Pipeline, *, version: int, words: int, numberings: Numberings
) -> list[Source]:
    """Everything that a scan looks at. Raises NotCovered where a column cannot be read so; Corrupt.

    ``numberings``: of coded slots, with all segments' texts.
    """
    columns = [layout.by_id[slot.id] for slot in pipeline.own_slots]
    found: list[Source] = []
    if plan.picked.count:
        found += _of_batch(gathered(plan.picked, Projection(columns)), pipeline, columns, words, numberings)
    spans: dict[int, list[tuple[int, int]]] = {}
    segments: dict[int, Segment] = {}
    for run in plan.runs:
        segments[id(run.segment)] = run.segment
        spans.setdefault(id(run.segment), []).append((run.start, run.stop))
    for key, segment in segments.items():
        found.append(_of_segment(segment, spans[key], pipeline, columns, numberings, version=version, words=words))
    alike: list[tuple[Chunk, int]] = []
    by_dictionary = any(slot.coded and numberings[number] is None for number, slot in _numbered(pipeline))
    for chunk, rows in plan.chunks:
        if rows is None:
            count, rows = chunk.visible(version)
        else:
            count = len(rows)
        if count and rows is None and chunk.layout is layout and not by_dictionary:
            alike.append((chunk, count))
        elif count:
            found.append(_of_chunk(chunk, count, rows, pipeline, columns, words, numberings))
    if alike:
        found.append(_of_chunks(alike, pipeline, columns, words, numberings))
    return found


def _numbered(pipeline: Pipeline) -> Iterator[tuple[int, Slot]]:
    """The table's own slots, with their numbers."""
    return enumerate(pipeline.own_slots, pipeline.joined_count)


def _of_segment(
    segment: Segment, spans: Sequence[tuple[int, int]], pipeline: Pipeline, columns: Sequence[Column],
    numberings: Numberings, *, version: int, words: int,
) -> Source:  # fmt: skip
    reader = segment.reader
    size = reader.block_rows
    cuts: list[tuple[int, int]] = []
    for start, stop in spans:
        edges = [start, *range((start // size + 1) * size, stop, size), stop]
        cuts += pairwise(edges)
    places = np.array(cuts, np.int64)
    blocks = places[:, 0] // size
    table = np.zeros((len(places), words), np.uint64)
    table[:, 0] = places[:, 1] - places[:, 0]
    there = [column.id for column in columns if column.id in segment.description.columns]

    def hidden(start: int, stop: int) -> np.ndarray | None:
        for id in there:
            reader.verify_rows(id, start, stop)
        return segment.hidden(version, start, stop)

    source = Source(table, places, hidden)
    for number, (slot, column) in enumerate(zip(pipeline.own_slots, columns, strict=True), pipeline.joined_count):
        at = 2 + 4 * number
        if column.id not in segment.description.columns:
            _set_missing(source, at, number, column, numberings.get(number), coded=slot.coded)
            continue
        if slot.coded and not _set_texts(source, at, number, segment, column, numberings[number]):
            continue
        directory = reader.directory(column.id)
        source.kept.append(directory)
        table[:, at] = directory.ctypes.data + blocks * DIRECTORY.itemsize
        table[:, at + 1] = reader.address
        table[:, at + 2] = places[:, 0] - blocks * size
    return source


def _set_texts(
    source: Source, at: int, number: int, segment: Segment, column: Column, numbering: Numbering | None
) -> bool:
    """What the codes of a segment's texts stand for; False where it has no codes, but rows have numbers here."""
    if numbering is None:
        dictionary = segment.reader.dictionary(column.id)
        if dictionary is None:
            raise NotCovered(f"{column.name} has too many different values")
        source.dictionaries[number] = array_of(dictionary, column.type)
        return True
    of = numbering.of(segment)
    assert of is not None, "the texts of all segments have numbers"
    source.numbers[number] = of
    if of.by_row:
        _set_array(source, at, of.numbers, of.valid)
    return not of.by_row


def _of_chunk(
    chunk: Chunk, count: int, rows: np.ndarray | None, pipeline: Pipeline, columns: Sequence[Column], words: int,
    numberings: Numberings,
) -> Source:  # fmt: skip
    mask = None
    if rows is not None:
        count = int(rows.max()) + 1
        mask = np.zeros(count, np.uint8)
        mask[rows] = 1
    source = _in_memory(count, mask, words)
    for number, (slot, column) in enumerate(zip(pipeline.own_slots, columns, strict=True), pipeline.joined_count):
        at = 2 + 4 * number
        store = chunk.columns.get(column.id)
        if store is None:
            _set_missing(source, at, number, column, numberings.get(number), coded=slot.coded)
            continue
        valid = None if store.valid is None else store.valid[:count]
        if not isinstance(store, VariableColumn):
            _set_array(source, at, store.values[:count], valid)
        elif slot.coded and (numbering := numberings[number]) is not None:
            source.numbers[number] = of = numbering.of_rows(store, count)
            _set_array(source, at, of.numbers, valid)
        elif slot.coded:
            codes = store.codes(count)
            if codes is None:
                raise NotCovered(f"{column.name} has too many different values")
            _set_codes(source, at, number, codes, valid)
        else:
            _set_validity(source, at, valid)
    return source


def _of_chunks(
    chunks: Sequence[tuple[Chunk, int]], pipeline: Pipeline, columns: Sequence[Column], words: int,
    numberings: Numberings,
) -> Source:  # fmt: skip
    """The first rows of chunks of one layout, so many of each, all visible: as ``_of_chunk`` of each, but at once."""
    counts = np.array([count for _, count in chunks], np.int64)
    pieces = -(-counts // PIECE_ROWS)
    of = np.repeat(np.arange(len(chunks)), pieces)
    first = (np.arange(len(of)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) * PIECE_ROWS
    spans = np.column_stack([first, np.minimum(first + PIECE_ROWS, counts[of])])
    table = np.zeros((len(of), words), np.uint64)
    table[:, 0] = spans[:, 1] - spans[:, 0]
    source = Source(table, spans, None)
    source.kept.append(chunks)
    doors = np.array([chunk.doors for chunk, _ in chunks])
    for (number, slot), column in zip(_numbered(pipeline), columns, strict=True):
        at, door = 2 + 4 * number, doors[:, 3 * column.id + 1 :][:, :3]
        store = chunks[0][0].columns[column.id]
        entries = np.zeros(len(chunks), DIRECTORY)
        entries["encoding"], entries["scale"] = CONSTANT, 1
        if slot.coded and (numbering := numberings[number]) is not None:
            entries["encoding"], entries["bits"] = PLAIN, 32
            source.numbers[number], entries["offset"] = numbering.of_chunks(chunks)
        elif isinstance(store, FixedColumn):
            wide = store.values.ndim == 2
            entries["encoding"], entries["bits"] = (WIDE, 0) if wide else (PLAIN, 8 * store.values.itemsize)
            entries["offset"] = door[:, VALUES]
        source.kept.append(entries)
        table[:, at] = entries.ctypes.data + of * DIRECTORY.itemsize
        table[:, at + 2] = first if entries["encoding"][0] != CONSTANT else 0
        valid = door[of, VALID]
        table[:, at + 3] = np.where(valid == 0, valid, valid + first.astype(np.uint64))
    return source


def _of_batch(
    batch: pa.RecordBatch, pipeline: Pipeline, columns: Sequence[Column], words: int, numberings: Numberings
) -> list[Source]:
    source = _in_memory(batch.num_rows, None, words)
    for number, (slot, column) in enumerate(zip(pipeline.own_slots, columns, strict=True), pipeline.joined_count):
        at = 2 + 4 * number
        array = batch.column(number - pipeline.joined_count)
        if slot.coded and (numbering := numberings[number]) is not None:
            source.numbers[number] = of = numbering.of_values(variable_of(array, column.type))
            _set_array(source, at, of.numbers, of.valid)
            continue
        if slot.coded:
            codes: Any = array.dictionary_encode()
            valid = np.asarray(array.is_valid()).view(np.uint8) if array.null_count else None
            _set_codes(source, at, number, codes, valid)
            continue
        values = values_of(array, column.type)
        if isinstance(values, VariableValues):
            _set_validity(source, at, values.valid)
        else:
            _set_array(source, at, values.values, values.valid)
    return [source]


def _in_memory(count: int, mask: np.ndarray | None, words: int) -> Source:
    places = _places(count)
    table = np.zeros((len(places), words), np.uint64)
    table[:, 0] = places[:, 1] - places[:, 0]
    bits = None if mask is None else bits_of(mask, 0)
    return Source(table, places, lambda start, stop: None if bits is None else bits[start >> 6 :])


@lru_cache(maxsize=64)
def _places(count: int) -> np.ndarray:
    """First row and the row after the last of each piece of rows that lie in memory."""
    edges = [*range(0, count, PIECE_ROWS), count]
    return frozen(np.array(list(pairwise(edges)), np.int64))


def _set_entry(source: Source, at: int, encoding: int, *, offset: int = 0, bits: int = 0, base: int = 0) -> None:
    entry = _entry(encoding, offset, bits, base)
    source.kept.append(entry)
    source.words[:, at] = entry.ctypes.data


@lru_cache(maxsize=4_096)
def _entry(encoding: int, offset: int, bits: int, base: int) -> np.ndarray:
    """Of an array in memory, as of a block. Making one takes longer than all else that a chunk's column needs."""
    entry = np.zeros(1, DIRECTORY)
    entry["encoding"], entry["bits"], entry["base"], entry["scale"] = encoding, bits, base, 1
    entry["offset"] = offset
    return frozen(entry)


def _set_array(source: Source, at: int, values: np.ndarray, valid: np.ndarray | None, *, first: int = 0) -> None:
    """``first``: the row of the source that the arrays begin with."""
    source.kept.append(values)
    wide = values.ndim == 2
    encoding = WIDE if wide else PLAIN
    _set_entry(source, at, encoding, offset=values.ctypes.data, bits=0 if wide else 8 * values.itemsize)
    source.words[:, at + 2] = source.spans[:, 0] - first
    _set_valid(source, at, valid, first=first)


def _set_codes(source: Source, at: int, number: int, codes: Any, valid: np.ndarray | None, *, first: int = 0) -> None:
    index = codes.indices
    if index.null_count:
        index = index.fill_null(0)
    dtype = np.dtype(index.type.to_pandas_dtype())
    values = np.frombuffer(index.buffers()[1], dtype, len(index), index.offset * dtype.itemsize)
    source.dictionaries[number] = codes.dictionary
    _set_array(source, at, values, valid, first=first)


def _set_validity(source: Source, at: int, valid: np.ndarray | None) -> None:
    """Of a column of which nothing but NULL or not is asked."""
    _set_entry(source, at, CONSTANT)
    _set_valid(source, at, valid)


def _set_valid(source: Source, at: int, valid: np.ndarray | None, *, first: int = 0) -> None:
    if valid is not None:
        valid = np.ascontiguousarray(valid)
        source.kept.append(valid)
        source.words[:, at + 3] = valid.ctypes.data + (source.spans[:, 0] - first).astype(np.uint64)


def _set_missing(
    source: Source, at: int, number: int, column: Column, numbering: Numbering | None, *, coded: bool
) -> None:
    """A column that came later: one value, or NULL, in all rows."""
    value = missing_value(column)
    base = 0
    if coded and numbering is not None:
        source.numbers[number] = numbering.of_values(variable_of(constant_array(value, 1, column.type), column.type))
        base = int(source.numbers[number].numbers[0])
    elif coded:
        source.dictionaries[number] = pa.array([] if value is None else [value], pa.string())
    elif value is not None and not column.type.is_variable:
        values = values_of(constant_array(value, 1, column.type), column.type)
        assert isinstance(values, FixedValues), "the type has a fixed width"
        first = values.values[0]
        base = int(first[0]) if values.values.ndim == 2 else int(_signed(values.values)[0])
        base = base - (1 << 64) if base > _CLIPPED else base
    _set_entry(source, at, CONSTANT, base=base)
    if value is None:
        spans = source.spans
        none = np.zeros(int((spans[:, 1] - spans[:, 0]).max(initial=0)), np.uint8)
        source.kept.append(none)
        source.words[:, at + 3] = none.ctypes.data


def _signed(values: np.ndarray) -> np.ndarray:
    """Floats as the integers that have their bits."""
    return values.view(f"i{values.itemsize}") if values.dtype.kind == "f" else values


def stores_of(plan: Plan, id: int, *, version: int) -> list[tuple[VariableColumn, int]]:
    """Where a text column lies in the memtables' chunks that are looked at, and how many rows of each had begun."""
    found: list[tuple[VariableColumn, int]] = []
    for chunk, rows in plan.chunks:
        store = chunk.columns.get(id)
        if isinstance(store, VariableColumn):
            found.append((store, chunk.begun_at(version) if rows is None else int(rows.max(initial=-1)) + 1))
    return found


def bounds_of(plan: Plan, layout: Layout, id: int, *, version: int) -> Bounds:
    """The least and greatest value of an integer column in all that is looked at. Raises NotCovered beyond 64 bits."""
    column = layout.by_id[id]
    lows: list[int] = []
    highs: list[int] = []
    spans: dict[int, tuple[Segment, int, int]] = {}
    for run in plan.runs:
        _, start, stop = spans.get(_key(run.segment), (run.segment, run.start, run.stop))
        spans[_key(run.segment)] = (run.segment, min(start, run.start), max(stop, run.stop))
    for segment, start, stop in spans.values():
        if id not in segment.description.columns:
            value = missing_value(column)
            if value is not None:
                number = number_of(value, column.type.scale or 0)
                lows.append(number)
                highs.append(number)
            continue
        size = segment.reader.block_rows
        entries = segment.reader.directory(id)[start // size : -(-stop // size)]
        low, high = int(entries["low"].min()), int(entries["high"].max())
        if low <= high:
            lows.append(low)
            highs.append(high)
    for bounds in _bounds_in_memory(plan, column, version):
        if bounds is None:
            raise NotCovered("a number may become too large")
        if bounds[0] <= bounds[1]:
            lows.append(bounds[0])
            highs.append(bounds[1])
    found = (min(lows, default=0), max(highs, default=0))
    if found[0] <= -_CLIPPED or found[1] >= _CLIPPED:
        raise NotCovered("a number may become too large")
    return found


def _bounds_in_memory(plan: Plan, column: Column, version: int) -> list[tuple[int, int] | None]:
    """Those of what lies in memory, as ``FixedColumn.bounds`` gives them."""
    found: list[tuple[int, int] | None] = []
    for chunk, rows in plan.chunks:
        if rows is None:
            count, rows = chunk.visible(version)
        else:
            count = len(rows)
        store = chunk.columns.get(column.id)
        if not count:
            continue
        if store is None:
            found.append(_bounds_of_array(constant_array(missing_value(column), 1, column.type), column.type))
            continue
        assert isinstance(store, FixedColumn), f"{column.name} has integers"
        found.append(store.bounds(count if rows is None else int(rows.max()) + 1))
    if plan.picked.count:
        found.append(_bounds_of_array(gathered(plan.picked, Projection([column])).column(0), column.type))
    return found


def _bounds_of_array(array: pa.Array, type: Type) -> tuple[int, int] | None:
    column = new_column(type, capacity=len(array), door=np.zeros(3, np.uint64))
    assert isinstance(column, FixedColumn), f"{type} has integers"
    column.append(0, values_of(array, type), 0, count=len(array))
    return column.bounds(len(array))


def _key(segment: Segment) -> int:
    return id(segment)
