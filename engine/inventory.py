"""What there is of each table: rows, cells, segments, memory. For people, ``weft_tables`` and ``weft check``.

Read without a lock while others write, so the numbers of one answer may be some commits apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .catalog import Catalog
from .cells import TableStore
from .schema import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """One table. ``memory_bytes``: rows that are not in segments, indexes, ends of rows in segments."""

    table: Table
    rows_count: int
    cells_count: int
    segments_count: int
    memory_bytes: int
    disk_bytes: int


def table_facts(catalog: Catalog, stores: Mapping[int, TableStore]) -> Iterator[TableFacts]:
    """The tables of the catalog, by name. One that a transaction has only just created has nothing."""
    for _, relation in sorted(catalog.relations.items()):
        if isinstance(relation, Table):
            store = stores.get(relation.id)
            yield TableFacts(
                table=relation,
                rows_count=0 if store is None else store.rows_count,
                cells_count=0 if store is None else store.cells_count,
                segments_count=0,
                memory_bytes=0 if store is None else store.bytes_used,
                disk_bytes=0,
            )
