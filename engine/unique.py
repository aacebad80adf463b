"""Unique indexes: what they refuse, and when.

    statement   ``entry_changes``     the entries as its transaction sees them
    commit      ``check_committed``   those of the newest version, with the requests of the group (``UniqueKeys``)

All of it comes before the append, since ``apply`` cannot fail (indexes.py). What another transaction has brought
meanwhile is a Conflict, so that a retry sees it; what was there is a violation (23505).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from ..base.errors import Conflict, Invalid, WeftError
from ..base.types import no_rows
from .cells import TableStore
from .conflict import NAN, REMEMBERED_ROWS_MAX, first_of_each, hashes_of, key_tuples, row_ids_of
from .indexes import (
    NEWEST,
    Change,
    EntryChange,
    Found,
    Stores,
    by_id,
    change_of,
    columns_needed,
    entries_of,
    entry_keys,
    newest_of,
    rows_found,
    rows_with,
    same_rows,
)
from .schema import Index, Table

if TYPE_CHECKING:
    from .request import TableChanges

NO_ROW_ID: Final = -(1 << 40)
"""From here on rows are numbered that have no row id yet: no row has one below 0."""


def entry_changes(
    table: Table,
    *,
    puts: pa.RecordBatch | None,
    deletes: pa.RecordBatch | None,
    find: Callable[[Table, pa.RecordBatch], Found],
    next_row_id: int,
) -> list[EntryChange]:
    """What rows that are about to be put, and deleted by primary key or row id, change in the unique indexes.

    ``find(table or entry table, keys)`` gives whole rows as the transaction sees them. Raises Invalid (23505) where
    rows meet others.
    """

    def look(keys: pa.RecordBatch, columns: Sequence[int]) -> Found:
        found = find(table, keys)
        return rows_found(table, keys, found, columns), found[1]

    change = change_of(
        table,
        puts=None if puts is None else by_id(table, puts),
        deletes=None if deletes is None else by_id(table, deletes),
        look=look,
        next_row_id=next_row_id,
    )
    return check_unique(change, find)


def check_unique(
    change: Change,
    look: Callable[[Table, pa.RecordBatch], Found],
    *,
    refuse: Callable[[Index, pa.RecordBatch], WeftError] | None = None,
) -> list[EntryChange]:
    """Raise Invalid (23505) where rows that come would meet others in a unique index.

    ``look(entry table, keys)`` finds entries as they are; ``refuse(index, key)`` makes another error for a key that is
    there. Returns the entries that go and that come, by index.
    """
    refuse = refuse or (lambda index, key: violation(change.table, index, key_tuples(key)[0]))
    checked: list[EntryChange] = []
    for index in change.table.unique:
        gone, new = change.entries(index)
        checked.append((index, gone, new))
        entries = change.table.index_tables[index.id]
        keys = entry_keys(entries, new)
        first = first_of_each(entries, keys)
        if first is not None:
            again = int(np.setdiff1d(np.arange(keys.num_rows), first)[0])
            raise violation(change.table, index, key_tuples(keys)[again], within=True)
        if not keys.num_rows:
            continue
        found, places = look(entries, keys)
        met = np.flatnonzero(~same_rows(found, new.take(pa.array(places))))
        if not len(met):
            continue
        leaving = set(key_tuples(gone))
        for place, entry in zip(met.tolist(), key_tuples(found.take(pa.array(met))), strict=True):
            if entry not in leaving:
                raise refuse(index, keys.slice(int(places[place]), 1))
    return checked


def violation(table: Table, index: Index, key: tuple[object, ...], *, within: bool = False) -> Invalid:
    """The error for a key that a unique index has already: PostgreSQL's words, the index's name, the key's values."""
    what = _key_text(table, index, key) + (" stands twice in the batch" if within else " already exists")
    return Invalid(
        f'duplicate key value violates unique constraint "{index.name}" of "{table.name}": {what}',
        hint="Give another value, or say what happens then by ON CONFLICT.",
        sqlstate="23505",
    )


def _not_unique(table: Table, index: Index, key: tuple[object, ...]) -> Invalid:
    """The error for rows that a new unique index cannot tell apart."""
    what = f"there are several rows with {_key_text(table, index, key)}"
    return Invalid(
        f'could not create unique index "{index.name}" of "{table.name}": {what}',
        hint="Change or delete all of these rows but one.",
        sqlstate="23505",
    )


def _key_text(table: Table, index: Index, key: tuple[object, ...]) -> str:
    names = ", ".join(index.text(table, id) for id in index.columns)
    values = ", ".join("NaN" if value is NAN else "NULL" if value is None else str(value) for value in key)
    return f"({names})=({values})"


@dataclass(slots=True)
class UniqueKeys:
    """The keys of unique indexes that the requests of one group took and gave up: by index their hashes.

    None stands for more than are remembered. A request that would bring one of them waits for the next group.
    """

    _known: dict[int, set[int] | None] = field(default_factory=dict[int, "set[int] | None"])

    def admits(self, changes: TableChanges) -> bool:
        """Whether the rows of ``changes`` surely bring no key that a group mate has touched."""
        table = changes.table
        if not self._known or not any(index.id in self._known for index in table.unique):
            return True
        if changes.rows_count > REMEMBERED_ROWS_MAX or changes.deltas:
            return False
        ids = columns_needed(table)
        for rows in changes.puts:
            rows = rows_with(table, rows.rename_columns(list(map(str, row_ids_of(table, rows)))), ids, next_row_id=0)
            for index in table.unique:
                known = self._known.get(index.id, set())
                if known is None or not known.isdisjoint(_hashes(table, index, entries_of(table, index, rows))):
                    return False
        return True

    def add(self, touched: Mapping[int, set[int] | None]) -> None:
        """Remember what a request touches, see ``check_committed``."""
        for id, hashes in touched.items():
            known = self._known.setdefault(id, set())
            self._known[id] = None if known is None or hashes is None else known | hashes


def check_committed(
    store: TableStore, stores: Stores, changes: TableChanges, *, snapshot: int | None
) -> dict[int, set[int] | None]:
    """Look at the rows of a request as ``check_unique`` does, against the newest entries; what it touches by index.

    Raises Invalid (23505), or Conflict where the row that it meets came after ``snapshot``.
    """
    table = changes.table

    def look(entries: Table, keys: pa.RecordBatch) -> Found:
        index = stores.get(entries.id)
        if index is None or changes.truncate:  # of a new table, or of rows that all end
            return no_rows(entries.arrow_schema), np.empty(0, np.int64)
        return index.get_many(keys, version=NEWEST)

    change = change_of(
        table,
        puts=_joined(table, changes.puts),
        deletes=_joined(table, changes.deletes),
        look=newest_of(store),
        next_row_id=NO_ROW_ID,
    )

    def refuse(index: Index, key: pa.RecordBatch) -> WeftError:
        error = violation(table, index, key_tuples(key)[0])
        if snapshot is None or int(stores[index.id].newest(key).begin[0]) <= snapshot:
            return error
        return Conflict(
            f"{error.message}, by another transaction",
            hint="Retry the transaction: it will see the other's row.",
            table=table.name,
        )

    checked = check_unique(change, look, refuse=refuse)
    touched: dict[int, set[int] | None] = {}
    for index, gone, new in checked:
        many = gone.num_rows + new.num_rows > REMEMBERED_ROWS_MAX
        touched[index.id] = None if many else {*_hashes(table, index, gone), *_hashes(table, index, new)}
    return touched


def check_made(table: Table, rows: pa.RecordBatch) -> None:
    """Raise Invalid for rows that deltas would make of defaults, where a unique index would have to look at them."""
    rows = by_id(table, rows)
    for index in table.unique:
        if entries_of(table, index, rows).num_rows:
            raise Invalid(
                f'there is no such row of "{table.name}" to add to, and the one that would be made of the defaults '
                f'has a key in the unique index "{index.name}"',
                hint="Insert the row first.",
                sqlstate="55000",
            )


def check_new_index(
    table: Table, index: Index, rows: pa.RecordBatch, *, find: Callable[[Table, pa.RecordBatch], Found]
) -> None:
    """Raise Invalid (23505) where entries for a new unique index meet each other, or those that ``find`` finds."""
    entries = table.index_tables[index.id]
    keys = entry_keys(entries, rows)
    first = first_of_each(entries, keys)
    again = set(find(entries, keys)[1].tolist())
    if first is not None:
        again |= set(range(keys.num_rows)) - set(first.tolist())
    if again:
        raise _not_unique(table, index, key_tuples(keys)[min(again)])


def _hashes(table: Table, index: Index, entries: pa.RecordBatch) -> list[int]:
    if not entries.num_rows:
        return []
    indexed = table.index_tables[index.id]
    return hashes_of(indexed, entry_keys(indexed, entries)).tolist()


def _joined(table: Table, batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch | None:
    if not batches:
        return None
    return by_id(table, batches[0] if len(batches) == 1 else pa.concat_batches(batches))
