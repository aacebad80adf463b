"""Indexes: internal tables of entries, kept by ``apply`` from the rows that go and the rows that come.

    table people (id, email, city), primary key (id)
    CREATE INDEX ... (city)      entries (city, id), all of it their primary key
    UNIQUE (email)               entries (email | id), the primary key is what must be unique; none for a NULL

    PUT, DELETE ──► rows with these primary keys as they are (old) ──► entries that end   ──► DELETE ──┐
                └─► rows as they will be (new)                     ──► entries that begin ──► PUT ─────┴─► the index

An index is derived: the log holds rows of tables alone, and ``derived`` makes the operations on index tables inside of
``apply``, from state and record. So it is exact at every version however a row changes, also by blind puts, deltas,
TRUNCATE, retention, large transactions and at recovery, and its entries are MVCC rows as any others. What a statement
writes into the entries while it makes an index is logged (index_build.py).

Unique indexes refuse rows before the append: the statement looks at the entries as its transaction sees them
(``Transaction``), and the sequencer looks again at those of the newest version, with the requests of the group
(``UniqueKeys``). What another transaction has brought meanwhile is a Conflict, so that a retry sees it; what was there
is a violation (23505).

Always true: an entry is there exactly where its row is; of a unique index no two rows that live have one key. Inside of
one record two rows may change places: an entry ends only if it is still that of the row that goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..base.errors import Conflict, Invalid, WeftError
from ..storage.column_values import constant_array
from ..storage.record import Action, Operation
from .cells import TableStore
from .conflict import NAN, REMEMBERED_ROWS_MAX, first_of_each, hashes_of, key_tuples, row_ids_of
from .overlay import OPEN
from .projection import missing_value
from .retention import boundary_in
from .schema import ROW_ID, ROW_ID_NAME, Index, Table, entry_ids

if TYPE_CHECKING:
    from .request import TableChanges

NEWEST: Final = OPEN - 1
"""A version at which every row is seen that has not ended."""

NO_ROW_ID: Final = -(1 << 40)
"""From here on rows are numbered that have no row id yet: no row has one below 0."""

Found: TypeAlias = tuple[pa.RecordBatch, np.ndarray]
"""Rows, and of each the index of its key, as ``get_many`` gives them."""

EntryChange: TypeAlias = tuple[Index, pa.RecordBatch, pa.RecordBatch]
"""Of an index the entries that go, and those that come."""

Stores: TypeAlias = Mapping[int, TableStore]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Rows of a table that go and that come. Columns are named by identifier: those of ``columns_needed``.

    ``replaced``: of each old row the place of the new one that takes its place, or -1.
    """

    table: Table
    old: pa.RecordBatch
    new: pa.RecordBatch
    replaced: np.ndarray

    def entries(self, index: Index) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The entries that go and those that come; none of rows whose entry stays as it is."""
        old, new = self.old, self.new
        pairs = np.flatnonzero(self.replaced >= 0)
        if len(pairs):
            places = self.replaced[pairs]
            names = [str(id) for id in entry_ids(self.table, index)]
            same = _same(old.select(names).take(pa.array(pairs)), new.select(names).take(pa.array(places)))
            if same.any():
                old, new = _without(old, pairs[same]), _without(new, places[same])
        return entries_of(self.table, index, old), entries_of(self.table, index, new)


def columns_needed(table: Table) -> tuple[int, ...]:
    """The columns of a table that its indexes are made of."""
    return tuple(dict.fromkeys((*table.row_key, *(id for index in table.indexes for id in index.columns))))


def entries_of(table: Table, index: Index, rows: pa.RecordBatch) -> pa.RecordBatch:
    """The entries of rows whose columns are named by identifier."""
    ids = entry_ids(table, index)
    columns = [rows.column(rows.schema.get_field_index(str(id))) for id in ids]
    entries = pa.RecordBatch.from_arrays(columns, names=[str(number) for number in range(1, len(ids) + 1)])
    indexed = entries.columns[: len(index.columns)]
    if index.leaves_nulls_out and any(column.null_count for column in indexed):
        valid = np.ones(entries.num_rows, np.bool_)
        for column in indexed:
            valid &= column.is_valid().to_numpy(zero_copy_only=False)
        entries = entries.filter(pa.array(valid))
    return entries


def change_of(
    table: Table,
    *,
    puts: pa.RecordBatch | None,
    deletes: pa.RecordBatch | None,
    look: Callable[[pa.RecordBatch, Sequence[int]], Found],
    next_row_id: int = 0,
) -> Change:
    """What full rows put, and primary keys (or row ids with their routing) deleted, change; both named by identifier.

    ``look(keys, columns)`` finds the rows as they are, by keys named by column name. Of rows with one primary key the
    last counts. ``next_row_id`` is that of the first row put into a table without primary key.
    """
    ids = columns_needed(table)
    olds: list[pa.RecordBatch] = []
    replaced: list[np.ndarray] = []
    new = _nothing(table, ids)
    if puts is not None and puts.num_rows:
        new = _rows(table, puts, ids, next_row_id=next_row_id)
        if table.primary_key:
            new = new.take(pa.array(_last_of_each(table, new)))
            rows, places = look(_keys(table, new), ids)
            olds.append(_numbered(rows, ids))
            replaced.append(places)
    if deletes is not None and deletes.num_rows:
        rows, _ = look(_keys(table, deletes), ids)
        olds.append(_numbered(rows, ids))
        replaced.append(np.full(rows.num_rows, -1, np.int64))
    old = olds[0] if len(olds) == 1 else pa.concat_batches(olds) if olds else _nothing(table, ids)
    return Change(
        table=table, old=old, new=new, replaced=np.concatenate(replaced) if replaced else np.empty(0, np.int64)
    )


def derived(store: TableStore, stores: Stores, operation: Operation) -> Iterator[Operation]:
    """What an operation on a table, about to be applied, does to the entries of its indexes. INSTALL: see installed."""
    table = store.table
    match operation.action:
        case Action.PUT:
            change = change_of(
                table, puts=operation.batch, deletes=None, look=_newest(store), next_row_id=store.next_row_id
            )
            yield from _operations(change, stores, operation.ordinal)
        case Action.DELETE:
            change = change_of(table, puts=None, deletes=operation.batch, look=_newest(store))
            yield from _operations(change, stores, operation.ordinal)
        case Action.TRUNCATE:
            for index in table.indexes:
                yield _operation(index, Action.TRUNCATE, operation.batch, operation.ordinal)
        case Action.DROP_SLICES:
            ids = columns_needed(table)
            for rows in store.rows_below(boundary_in(operation.batch), columns=ids):
                yield from _operations(_gone(table, _numbered(rows, ids)), stores, operation.ordinal)
        case Action.INSTALL:
            pass


def removed(store: TableStore, stores: Stores, indexes: Sequence[Index], keys: pa.RecordBatch) -> Iterator[Operation]:
    """What ends in ``indexes`` with the rows with these keys, which are named by column name."""
    ids = columns_needed(store.table)
    rows, _ = _newest(store)(keys, ids)
    yield from _operations(_gone(store.table, _numbered(rows, ids)), stores, 0, indexes)


def added(table: Table, indexes: Sequence[Index], rows: pa.RecordBatch) -> Iterator[Operation]:
    """What begins in ``indexes`` with rows that have the columns ``columns_needed``, in their order."""
    rows = _numbered(rows, columns_needed(table))
    for index in indexes:
        entries = entries_of(table, index, rows)
        if entries.num_rows:
            yield _operation(index, Action.PUT, entries, 0)


def _operations(
    change: Change, stores: Stores, ordinal: int, indexes: Sequence[Index] | None = None
) -> Iterator[Operation]:
    for index in change.table.indexes if indexes is None else indexes:
        gone, new = change.entries(index)
        if index.unique and gone.num_rows:
            gone = _still_held(stores[index.id], gone)
        if gone.num_rows:
            keys = gone.select(list(map(str, stores[index.id].table.primary_key)))
            yield _operation(index, Action.DELETE, keys, ordinal)
        if new.num_rows:
            yield _operation(index, Action.PUT, new, ordinal)


def _still_held(store: TableStore, entries: pa.RecordBatch) -> pa.RecordBatch:
    """Those entries of a unique index that are as they stand in ``entries``."""
    keys = entries.select(list(map(str, store.table.primary_key)))
    found, places = store.get_many(keys, version=NEWEST)
    return found.filter(pa.array(_same(found, entries.take(pa.array(places)))))


def _operation(index: Index, action: Action, batch: pa.RecordBatch, ordinal: int) -> Operation:
    return Operation(ordinal=ordinal, table=index.id, schema_version=1, action=action, batch=batch)


# Unique indexes: what they refuse.


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
        met = np.flatnonzero(~_same(found, new.take(pa.array(places))))
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


def not_unique(table: Table, index: Index, key: tuple[object, ...]) -> Invalid:
    """The error for rows that a new unique index cannot tell apart."""
    what = f"there are several rows with {_key_text(table, index, key)}"
    return Invalid(
        f'could not create unique index "{index.name}" of "{table.name}": {what}',
        hint="Change or delete all of these rows but one.",
        sqlstate="23505",
    )


def _key_text(table: Table, index: Index, key: tuple[object, ...]) -> str:
    names = ", ".join(table.by_id[id].name for id in index.columns)
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
            rows = _rows(table, rows.rename_columns(list(map(str, row_ids_of(table, rows)))), ids, next_row_id=0)
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
            return pa.RecordBatch.from_pylist([], schema=entries.arrow_schema), np.empty(0, np.int64)
        return index.get_many(keys, version=NEWEST)

    change = change_of(
        table,
        puts=_joined(table, changes.puts),
        deletes=_joined(table, changes.deletes),
        look=_newest(store),
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


def entry_keys(entries: Table, rows: pa.RecordBatch) -> pa.RecordBatch:
    """The primary keys of entries."""
    return rows.select(list(map(str, entries.primary_key)))


def by_id(table: Table, rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with columns named by identifier."""
    return rows.rename_columns(list(map(str, row_ids_of(table, rows))))


def rows_with(table: Table, rows: pa.RecordBatch, ids: Sequence[int]) -> pa.RecordBatch:
    """The columns ``ids`` of rows that are named by identifier; what is not there reads as in older rows."""
    return _rows(table, rows, ids, next_row_id=None)


def rows_found(table: Table, keys: pa.RecordBatch, found: Found, ids: Sequence[int]) -> pa.RecordBatch:
    """Some columns, named by identifier, of whole rows that were found by ``keys``, which tell their row ids."""
    rows, places = found
    taken = keys.take(pa.array(places))
    arrays = [taken.column(ROW_ID_NAME) if id == ROW_ID else rows.column(table.by_id[id].name) for id in ids]
    return pa.RecordBatch.from_arrays(arrays, names=list(map(str, ids)))


def _hashes(table: Table, index: Index, entries: pa.RecordBatch) -> list[int]:
    if not entries.num_rows:
        return []
    indexed = table.index_tables[index.id]
    return hashes_of(indexed, entry_keys(indexed, entries)).tolist()


def _newest(store: TableStore) -> Callable[[pa.RecordBatch, Sequence[int]], Found]:
    return lambda keys, columns: store.get_many(keys, version=NEWEST, columns=columns)


def _gone(table: Table, old: pa.RecordBatch) -> Change:
    return Change(table=table, old=old, new=old.slice(0, 0), replaced=np.full(old.num_rows, -1, np.int64))


def _joined(table: Table, batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch | None:
    if not batches:
        return None
    return by_id(table, batches[0] if len(batches) == 1 else pa.concat_batches(batches))


def _rows(table: Table, rows: pa.RecordBatch, ids: Sequence[int], *, next_row_id: int | None) -> pa.RecordBatch:
    """Some columns of rows that are named by identifier; where they are older than a column, what it reads as.

    Row ids are counted from ``next_row_id``, where one is given."""
    known = {name: place for place, name in enumerate(rows.schema.names)}
    columns: list[pa.Array] = []
    for id in ids:
        place = known.get(str(id))
        if id == ROW_ID and next_row_id is not None:
            columns.append(pa.array(np.arange(next_row_id, next_row_id + rows.num_rows)))
        elif place is None:
            column = table.by_id[id]
            columns.append(constant_array(missing_value(column), rows.num_rows, column.type))
        else:
            columns.append(rows.column(place))
    return pa.RecordBatch.from_arrays(columns, names=list(map(str, ids)))


def _nothing(table: Table, ids: Sequence[int]) -> pa.RecordBatch:
    types = [pa.int64() if id == ROW_ID else table.by_id[id].type.arrow for id in ids]
    return pa.RecordBatch.from_arrays([pa.array([], type) for type in types], names=list(map(str, ids)))


def _numbered(rows: pa.RecordBatch, ids: Sequence[int]) -> pa.RecordBatch:
    return rows.rename_columns(list(map(str, ids)))


def _keys(table: Table, rows: pa.RecordBatch) -> pa.RecordBatch:
    """What rows are found by, named by column name."""
    names = [ROW_ID_NAME if id == ROW_ID else table.by_id[id].name for id in table.row_key]
    return rows.select(list(map(str, table.row_key))).rename_columns(names)


def _last_of_each(table: Table, rows: pa.RecordBatch) -> np.ndarray:
    """The rows that are the last with their primary key, in order: int64[n]."""
    count = rows.num_rows
    backwards = np.arange(count - 1, -1, -1)
    last = first_of_each(table, _keys(table, rows).take(pa.array(backwards)))
    return np.arange(count) if last is None else np.sort(count - 1 - last)


def _without(rows: pa.RecordBatch, places: np.ndarray) -> pa.RecordBatch:
    kept = np.ones(rows.num_rows, np.bool_)
    kept[places] = False
    return rows.filter(pa.array(kept))


def _same(left: pa.RecordBatch, right: pa.RecordBatch) -> np.ndarray:
    """Rows in which two batches agree, NULL with NULL: bool[n]. NaN may count as different from itself."""
    same = np.ones(left.num_rows, np.bool_)
    for a, b in zip(left.columns, right.columns, strict=True):
        a, b = (column.storage if isinstance(column, pa.ExtensionArray) else column for column in (a, b))
        equal = pc.fill_null(pc.equal(a, b if a.type == b.type else b.cast(a.type)), False)
        nulls = pc.and_(pc.is_null(a), pc.is_null(b))
        same &= pc.or_(equal, nulls).to_numpy(zero_copy_only=False).astype(np.bool_)
    return same
