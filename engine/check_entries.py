"""Whether the entries of an index are those that the rows of its table make: none missing, none too many.

    rows    ──► the entries that they make ──► hashes ──► sum, count ──┐
    entries ─────────────────────────────────► hashes ──► sum, count ──┴─ equal: they are the same, whatever their order

Two scans, some batches at a time. Only where the sums differ each side is looked up in the other, to say which it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from .cells import TableStore
from .conflict import hashes_of, key_at
from .indexes import columns_needed, entries_of, entry_keys, rows_found
from .schema import ROW_ID, ROW_ID_NAME, Index, Table, entry_ids


def entry_problems(rows: TableStore, entries: TableStore, index: Index, *, version: int) -> Iterator[str]:
    """What is wrong with the entries at a version, in words. Raises Corrupt."""
    pair = _Pair(rows, entries, index, version=version)
    if pair.sum_of(pair.made()) != pair.sum_of(pair.there()):
        yield from _told(pair.missing(), "rows have no entry, or another one")
        yield from _told(pair.stray(), "entries are of no row")


@dataclass(frozen=True, slots=True)
class _Wrong:
    """How many rows or entries, and the first of them: its values, with names."""

    count: int = 0
    first: str = ""

    def and_of(self, table: Table, index: Index, batch: pa.RecordBatch, right: np.ndarray) -> _Wrong:
        wrong = np.flatnonzero(~right)
        if not len(wrong):
            return self
        names = ["row id" if id == ROW_ID else index.text(table, id) for id in entry_ids(table, index)]
        values = ", ".join("NULL" if value is None else str(value) for value in key_at(batch, int(wrong[0])))
        return _Wrong(self.count + len(wrong), self.first or f"({', '.join(names)}) = ({values})")


def _told(wrong: _Wrong, what: str) -> Iterator[str]:
    if wrong.count:
        yield f"{wrong.count:,} {what}, one with {wrong.first}"


class _Pair:
    """A table and one of its indexes."""

    def __init__(self, rows: TableStore, entries: TableStore, index: Index, *, version: int) -> None:
        self._index, self._version = index, version
        self._table = rows.table
        self._definition = rows.table.index_tables[index.id]
        self._rows, self._entries = rows, entries.with_definition(self._definition)
        # Hashed as a whole, where a unique index's primary key is a part.
        self._whole = replace(
            self._definition, primary_key=tuple(column.id for column in self._definition.columns), key=()
        )
        self._needed = columns_needed(rows.table)

    def made(self) -> Iterator[pa.RecordBatch]:
        """The entries that the rows make."""
        ids = [id for id in self._needed if id != ROW_ID]
        with_row_ids = ROW_ID in self._needed
        names = [*map(str, ids), *([str(ROW_ID)] if with_row_ids else [])]
        for batch in self._rows.scan(version=self._version, columns=ids, row_ids=with_row_ids).batches():
            yield entries_of(self._table, self._index, batch.rename_columns(names))

    def there(self) -> Iterator[pa.RecordBatch]:
        """The entries that there are."""
        yield from self._entries.scan(version=self._version).batches()

    def sum_of(self, batches: Iterator[pa.RecordBatch]) -> tuple[int, int]:
        count, total = 0, 0
        for batch in batches:
            count += batch.num_rows
            total += int(self._hashes(batch).sum(dtype=np.uint64)) if batch.num_rows else 0
        return count, total % (1 << 64)

    def missing(self) -> _Wrong:
        """The entries of rows that are not there as they should be."""
        found = _Wrong()
        for batch in self.made():
            known, _ = self._entries.get_many(entry_keys(self._definition, batch), version=self._version)
            found = found.and_of(self._table, self._index, batch, self._among(batch, known))
        return found

    def stray(self) -> _Wrong:
        """The entries that no row makes."""
        found = _Wrong()
        ids = entry_ids(self._table, self._index)
        places = [str(ids.index(id) + 1) for id in self._table.row_key]
        names = [ROW_ID_NAME if id == ROW_ID else self._table.by_id[id].name for id in self._table.row_key]
        columns = [id for id in self._needed if id != ROW_ID]
        for batch in self.there():
            keys = batch.select(places).rename_columns(names)
            known = self._rows.get_many(keys, version=self._version, columns=columns)
            if ROW_ID in self._needed:
                known = known[0].append_column(ROW_ID_NAME, keys.column(ROW_ID_NAME).take(pa.array(known[1]))), known[1]
            rows = rows_found(self._table, keys, known, self._needed)
            made = entries_of(self._table, self._index, rows)
            found = found.and_of(self._table, self._index, batch, self._among(batch, made))
        return found

    def _among(self, batch: pa.RecordBatch, others: pa.RecordBatch) -> np.ndarray:
        return np.isin(self._hashes(batch), self._hashes(others))

    def _hashes(self, batch: pa.RecordBatch) -> np.ndarray:
        return hashes_of(self._whole, batch) if batch.num_rows else np.empty(0, np.uint64)
