"""Rows found by way of an index: entries that a filter leaves, then the rows that they name.

    filter ──► conjuncts on columns that the entries hold ──► scan of the entries ──► rows by their keys ──► filter

Which index, if any, is decided by what a scan would have to look at: entries cost about as much as ``ROWS_PER_ENTRY``
rows of a plain scan, which reads columns side by side and skips what the zones rule out. Both numbers are upper bounds
that scans give of themselves, so nothing is guessed. A filter that gives whole primary keys needs no index.

Where the filter says something of an expression that an index has the values of, it says it of that column.
A unique index without rows with NULL is used only where the filter is not true of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import pyarrow as pa

from .cells import TableStore
from .expression.node import Call, Column, Expression
from .expression.tree import conjuncts, nameless, transform
from .gather import batch_of
from .prune import column_ids
from .scan import Scan, ScanStatistics
from .schema import ROW_ID, ROW_ID_NAME, Index, Table, entry_ids
from .zones import comparison

ROWS_PER_ENTRY: Final = 16
"""A row that is found by its key costs as much as so many rows of a scan, roughly."""

PIECE_ROWS: Final = 16_384
"""Rows that are looked up at once."""


class IndexScan:
    """Repeatable, as a Scan."""

    def __init__(
        self,
        store: TableStore,
        index: Index,
        entries: Scan,
        *,
        version: int,
        columns: Sequence[int],
        filter: Expression,
    ) -> None:
        """``columns``: identifiers, the row id among them."""
        self._store = store
        self._entries = entries
        self._version = version
        self._filter = filter
        known = store.layout.by_id
        self._columns = list(columns)
        self._read = list(dict.fromkeys((*columns, *sorted(column_ids(filter)))))
        self.schema = pa.schema([known[id].field for id in columns])
        self._statistics = ScanStatistics(cells_total=store.cells_count, rows_total=store.rows_count, index=index.name)

    @property
    def rows_estimate(self) -> int:
        return self._entries.rows_estimate

    @property
    def statistics(self) -> ScanStatistics:
        return self._statistics

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, in batches of one row or more. Raises Corrupt."""
        from .expression.evaluate import Context, evaluate_filter

        self._statistics.passes += 1
        self._statistics.cells_read += self._statistics.cells_total
        names = [ROW_ID_NAME if id == ROW_ID else self._store.table.by_id[id].name for id in self._store.table.row_key]
        for entries in self._entries.batches():
            for start in range(0, entries.num_rows, PIECE_ROWS):
                keys = entries.slice(start, PIECE_ROWS).rename_columns(names)
                rows, _ = self._store.get_many(keys, version=self._version, columns=self._read)
                if not rows.num_rows:
                    continue
                self._statistics.rows_read += rows.num_rows
                truth = evaluate_filter(
                    self._filter, rows, column_ids=self._read, context=Context(now=0, parameters=())
                )
                passing = rows if truth.true_count == rows.num_rows else rows.filter(truth)
                if passing.num_rows:
                    self._statistics.rows_returned += passing.num_rows
                    yield batch_of(passing.columns[: len(self._columns)], self.schema, passing.num_rows)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.RecordBatchReader.from_batches(self.schema, self.batches()).__arrow_c_stream__(requested_schema)


def index_scan(
    scan: Scan,
    store: TableStore,
    stores: Mapping[int, TableStore],
    *,
    version: int,
    columns: Sequence[int] | None,
    filter: Expression,
    row_ids: bool,
) -> IndexScan | None:
    """The same rows as ``scan`` by way of an index of ``store``'s table, where that is cheaper; else None."""
    table = store.table
    best: tuple[int, Index, Scan] | None = None
    for index in table.indexes:
        entries = stores.get(index.id)
        parts = _in_columns(index, filter)
        known = frozenset[int]().union(*map(column_ids, parts))
        if index.columns[0] not in known or entries is None or not _has_all(table, index, parts, filter):
            continue
        if best is None and scan.gives_keys:
            return None
        definition = table.index_tables[index.id]
        entries = entries if entries.table is definition else entries.with_definition(definition)
        found = entries.scan(version=version, columns=_row_key(table, index), filter=_of_entries(table, index, parts))
        count = found.rows_estimate
        if best is None or count < best[0]:
            best = count, index, found
    if best is None or best[0] * ROWS_PER_ENTRY > scan.rows_estimate:
        return None
    wanted = [column.id for column in table.columns] if columns is None else list(columns)
    return IndexScan(
        store, best[1], best[2], version=version, columns=[*wanted, *([ROW_ID] if row_ids else [])], filter=filter
    )


def _in_columns(index: Index, filter: Expression) -> list[Expression]:
    """The parts of the filter, with the index's columns in the place of its expressions."""
    parts = list(conjuncts(filter))
    if not index.expressions:
        return parts
    columns = {
        nameless(index.expression(id)): Column(id=id, type=index.expression(id).type) for id in index.columns if id < 0
    }
    return [transform(part, lambda node: columns.get(nameless(node), node)) for part in parts]


def _row_key(table: Table, index: Index) -> list[int]:
    """The columns of entries that name the row."""
    ids = entry_ids(table, index)
    return [ids.index(id) + 1 for id in table.row_key]


def _of_entries(table: Table, index: Index, parts: Sequence[Expression]) -> Expression:
    """What the filter says about columns that the entries hold."""
    numbers = {id: number for number, id in enumerate(entry_ids(table, index), 1)}

    def renamed(part: Expression) -> Expression:
        return replace(part, id=numbers[part.id]) if isinstance(part, Column) else part

    said = [transform(part, renamed) for part in parts if column_ids(part) <= numbers.keys()]
    return said[0] if len(said) == 1 else Call(function="and", arguments=tuple(said), type=said[0].type)


def _has_all(table: Table, index: Index, parts: Sequence[Expression], filter: Expression) -> bool:
    """Whether something is said of the first column, and all rows of which the filter is true have an entry.

    That a partial index has them is certain where the filter has each part of its condition.
    """
    compared = {found[0].id for part in parts if (found := comparison(part)) is not None}
    first, *others = index.columns
    alternatives = [part for part in parts if isinstance(part, Call) and part.function == "or"]
    said = first in compared or any(column_ids(part) == {first} for part in alternatives)
    if index.where is not None:
        known = {nameless(part) for part in conjuncts(filter)}
        said = said and all(nameless(part) in known for part in conjuncts(index.where))
    if not said or not index.leaves_nulls_out:
        return said
    return all(id in compared or (id > 0 and not table.by_id[id].nullable) for id in (first, *others))
