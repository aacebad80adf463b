"""What there is of each table: rows, cells, segments, bytes. For people (``weft_tables``, ``weft_segments``) and tools.

Read without a lock while others write, so the numbers of one answer may be some commits apart. Nothing here opens a
segment: it is all in what the manifest says of it, and in its overlay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .aggregates.maintain import Cost, Served
from .catalog import Catalog
from .cells import TableStore
from .retention import begin_of
from .schema import Index, Table, View
from .segment import Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """One table. ``memory_bytes``: rows that are not in segments, indexes, ends of rows in segments."""

    table: Table
    rows_count: int
    cells_count: int
    segments_count: int
    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewFacts:
    """A materialized view: its groups, and the different values that it keeps of them."""

    groups_count: int
    values_count: int
    segments_count: int
    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFacts:
    """One segment. ``slice_low`` and ``slice_high``: its slice in event time, microseconds; None without slices."""

    table: Table
    segment: Segment
    slice_low: int | None
    slice_high: int | None
    shard: int
    age: int
    """0 for the newest segment of its cell, and so on."""

    @property
    def bytes(self) -> int:
        """Bytes on disk: rows, indexes and the saved overlay."""
        return bytes_of(self.segment)


def table_facts(catalog: Catalog, stores: Mapping[int, TableStore]) -> Iterator[TableFacts]:
    """The tables of the catalog, by name. One that a transaction has only just created has nothing."""
    for table, store in _tables(catalog, stores):
        yield _facts(table, store)


def index_facts(catalog: Catalog, stores: Mapping[int, TableStore]) -> Iterator[tuple[Table, Index, TableFacts]]:
    """The indexes of the catalog's tables, by table, and what their internal tables take."""
    for table, _ in _tables(catalog, stores):
        for index in table.indexes:
            yield table, index, _facts(table.index_tables[index.id], stores.get(index.id))


def view_facts(
    catalog: Catalog, stores: Mapping[int, TableStore], costs: Mapping[int, Cost], served: Mapping[int, Served]
) -> Iterator[tuple[View, ViewFacts | None, Cost, Served]]:
    """The materialized views of the catalog, by name: what groups and values take (None: it is not maintained) and
    cost, and what they have spared.
    """
    for _, view in sorted(catalog.relations.items()):
        if isinstance(view, View) and view.materialized:
            kept = view.maintained
            tables = [_facts(table, stores.get(table.id)) for table in view.tables]
            facts = None if kept is None else _together(tables, len(kept.values))
            id = -1 if kept is None else kept.id
            yield view, facts, costs.get(id, Cost()), served.get(id, Served())


def _together(facts: list[TableFacts], values: int) -> ViewFacts:
    """``values``: how many tables behind the first are of values."""
    return ViewFacts(
        groups_count=facts[0].rows_count,
        values_count=sum(item.rows_count for item in facts[1 : 1 + values]),
        segments_count=sum(item.segments_count for item in facts),
        memory_bytes=sum(item.memory_bytes for item in facts),
        disk_bytes=sum(item.disk_bytes for item in facts),
    )


def _facts(table: Table, store: TableStore | None) -> TableFacts:
    segments = [] if store is None else store.segments
    return TableFacts(
        table=table,
        rows_count=0 if store is None else store.rows_count,
        cells_count=0 if store is None else store.cells_count,
        segments_count=len(segments),
        memory_bytes=0 if store is None else store.bytes_used,
        disk_bytes=sum(map(bytes_of, segments)),
    )


def segment_facts(catalog: Catalog, stores: Mapping[int, TableStore]) -> Iterator[SegmentFacts]:
    """The segments of the catalog's tables: by table, slice, shard, newest first."""
    for table, store in _tables(catalog, stores):
        cells = [] if store is None else store.cells
        for cell in sorted(cells, key=lambda cell: (cell.slice, cell.shard)):
            segments = [part for part in cell.parts if isinstance(part, Segment)]
            for age, segment in enumerate(segments):
                yield SegmentFacts(
                    table=table,
                    segment=segment,
                    slice_low=None if table.every is None else begin_of(table, cell.slice),
                    slice_high=None if table.every is None else begin_of(table, cell.slice + 1),
                    shard=cell.shard,
                    age=age,
                )


def bytes_of(segment: Segment) -> int:
    """What a segment takes on disk, its saved overlay included."""
    overlay = segment.description.overlay
    return segment.description.place.length + (0 if overlay is None else overlay.length)


def _tables(catalog: Catalog, stores: Mapping[int, TableStore]) -> Iterator[tuple[Table, TableStore | None]]:
    for _, relation in sorted(catalog.relations.items()):
        if isinstance(relation, Table):
            yield relation, stores.get(relation.id)
