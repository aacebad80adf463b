"""Indexes: internal tables of entries, kept by ``apply`` from the rows that go and the rows that come.

    table people (id, email, city), primary key (id)
    CREATE INDEX ... (city)      entries (city, id), all of it their primary key
    UNIQUE (email)               entries (email | id), the primary key is what must be unique; none for a NULL

    PUT, DELETE ──► rows with these primary keys as they are (old) ──► entries that end   ──► DELETE ──┐
                └─► rows as they will be (new)                     ──► entries that begin ──► PUT ─────┴─► the index

An index is derived: the log holds rows of tables alone, and ``operations`` on index tables are made inside of
``apply``, from state and record. So it is exact at every version however a row changes, also by blind puts, deltas,
TRUNCATE, retention, large transactions and at recovery, and its entries are MVCC rows as any others. What a statement
writes into the entries while it makes an index is logged (index_build.py).

Unique indexes refuse rows before the append (unique.py). A partial index (WHERE) has entries of those rows alone for
which its condition is true. An index of an expression has its values. Neither can fail or change with time, since
``apply`` evaluates them.

Always true: an entry is there exactly where its row is; of a unique index no two rows that live have one key. Inside of
one record two rows may change places: an entry ends only if it is still that of the row that goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..storage.column_values import constant_array
from ..storage.record import Action, Operation
from .cells import TableStore
from .conflict import first_of_each, row_ids_of
from .overlay import OPEN
from .projection import missing_value
from .retention import boundary_in
from .schema import ROW_ID, ROW_ID_NAME, Index, Table, entry_ids

if TYPE_CHECKING:
    from .snapshot import Snapshot
    from .write_set import TableWrites

NEWEST: Final = OPEN - 1
"""A version at which every row is seen that has not ended."""

Found: TypeAlias = tuple[pa.RecordBatch, np.ndarray]
"""Rows, and of each the index of its key, as ``get_many`` gives them."""

EntryChange: TypeAlias = tuple[Index, pa.RecordBatch, pa.RecordBatch]
"""Of an index the entries that go, and those that come."""

Stores: TypeAlias = Mapping[int, TableStore]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Rows of a table that go and that come. Columns are named by identifier: those of ``columns_needed``, or more.

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
            before, after = (computed(index, rows) for rows in (old.take(pa.array(pairs)), new.take(pa.array(places))))
            same = same_rows(before.select(names), after.select(names))
            if index.where is not None:
                same &= held(index, before) == held(index, after)
            if same.any():
                old, new = _without(old, pairs[same]), _without(new, places[same])
        return entries_of(self.table, index, old), entries_of(self.table, index, new)


def columns_needed(table: Table) -> tuple[int, ...]:
    """The columns of a table that its indexes are made of."""
    return tuple(dict.fromkeys((*table.row_key, *(id for index in table.indexes for id in index.reads))))


def entries_of(table: Table, index: Index, rows: pa.RecordBatch) -> pa.RecordBatch:
    """The entries of rows whose columns are named by identifier."""
    ids = entry_ids(table, index)
    rows = computed(index, rows)
    columns = [rows.column(rows.schema.get_field_index(str(id))) for id in ids]
    entries = pa.RecordBatch.from_arrays(columns, names=[str(number) for number in range(1, len(ids) + 1)])
    kept = held(index, rows)
    return entries if kept.all() else entries.filter(pa.array(kept))


def computed(index: Index, rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows, whose columns are named by identifier, with those of the index's expressions beside."""
    from .expression.evaluate import evaluate

    ids = [int(name) for name in rows.schema.names]
    missing = [id for id in index.columns if id < 0 and id not in ids]
    for id in missing:
        rows = rows.append_column(str(id), evaluate(index.expression(id), rows, column_ids=ids))
        ids.append(id)
    return rows


def held(index: Index, rows: pa.RecordBatch) -> np.ndarray:
    """Which rows, whose columns are named by identifier, have an entry: bool[n]."""
    from .expression.evaluate import evaluate_filter

    kept = np.ones(rows.num_rows, np.bool_)
    rows = computed(index, rows) if index.leaves_nulls_out else rows
    for id in index.columns if index.leaves_nulls_out else ():
        column = rows.column(str(id))
        if column.null_count:
            kept &= column.is_valid().to_numpy(zero_copy_only=False)
    if index.where is not None:
        true = evaluate_filter(index.where, rows, column_ids=[int(name) for name in rows.schema.names])
        kept &= true.to_numpy(zero_copy_only=False)
    return kept


def change_of(
    table: Table,
    *,
    puts: pa.RecordBatch | None,
    deletes: pa.RecordBatch | None,
    look: Callable[[pa.RecordBatch, Sequence[int]], Found],
    next_row_id: int = 0,
    ids: Sequence[int] | None = None,
    distinct: bool = False,
) -> Change:
    """What full rows put, and primary keys (or row ids with their routing) deleted, change; both named by identifier.

    ``look(keys, columns)`` finds the rows as they are, by keys named by column name. Of rows with one primary key the
    last counts. ``next_row_id`` is that of the first row put into a table without primary key. ``ids``: the columns,
    those of ``columns_needed`` unless told. ``distinct``: no two rows put have one primary key.
    """
    ids = columns_needed(table) if ids is None else ids
    olds: list[pa.RecordBatch] = []
    replaced: list[np.ndarray] = []
    new = _nothing(table, ids)
    if puts is not None and puts.num_rows:
        new = rows_with(table, puts, ids, next_row_id=next_row_id)
        if table.primary_key:
            last = None if distinct else _last_of_each(table, new)
            new = new if last is None else new.take(pa.array(last))
            rows, places = look(_keys(table, new), ids)
            olds.append(_numbered(rows, ids))
            replaced.append(places)
    if deletes is not None and deletes.num_rows:
        keys = _keys(table, deletes)
        first = first_of_each(table, keys)
        rows, _ = look(keys if first is None else keys.take(pa.array(first)), ids)
        olds.append(_numbered(rows, ids))
        replaced.append(np.full(rows.num_rows, -1, np.int64))
    old = olds[0] if len(olds) == 1 else pa.concat_batches(olds) if olds else _nothing(table, ids)
    return Change(
        table=table, old=old, new=new, replaced=np.concatenate(replaced) if replaced else np.empty(0, np.int64)
    )


def changes(store: TableStore, operation: Operation, ids: Sequence[int]) -> Iterator[Change]:
    """What an operation that is about to be applied changes in the rows of a table: columns ``ids``, those of
    ``columns_needed`` at least. Of TRUNCATE and INSTALL nothing: see apply.py.
    """
    table = store.table
    match operation.action:
        case Action.PUT:
            yield change_of(
                table,
                puts=operation.batch,
                deletes=None,
                look=newest_of(store),
                next_row_id=store.next_row_id,
                ids=ids,
                distinct=operation.distinct,
            )
        case Action.DELETE:
            yield change_of(table, puts=None, deletes=operation.batch, look=newest_of(store), ids=ids)
        case Action.DROP_SLICES:
            for rows in store.rows_below(boundary_in(operation.batch), columns=ids):
                yield _gone(table, _numbered(rows, ids))
        case Action.TRUNCATE | Action.INSTALL:
            pass


def entries_of_large(writes: TableWrites, base: Snapshot | None) -> Iterator[EntryChange]:
    """What a large write set changes in the indexes that are not unique; the entries of the others it has written.

    The rows that end are those of the snapshot ``base``: where they are not any more, the commit is a Conflict.
    """
    table = writes.table
    indexes = [index for index in table.indexes if not index.unique]
    ids = columns_needed(table)
    if indexes and base is not None:
        for keys, _ in writes.all_keys():
            old = rows_found(table, keys, base.get_many(table, keys), ids)
            for index in indexes:
                yield index, entries_of(table, index, old), old.slice(0, 0)
    for rows in writes.rows(ids) if indexes else ():
        for index in indexes:
            yield index, rows.slice(0, 0), entries_of(table, index, rows)


def gone(store: TableStore, keys: pa.RecordBatch, ids: Sequence[int]) -> Change:
    """The rows with these keys go, which are named by column name."""
    rows, _ = newest_of(store)(keys, ids)
    return _gone(store.table, _numbered(rows, ids))


def come(table: Table, rows: pa.RecordBatch, ids: Sequence[int]) -> Change:
    """These rows come, that have columns ``ids``, in their order; none that they replace."""
    rows = _numbered(rows, ids)
    return Change(table=table, old=rows.slice(0, 0), new=rows, replaced=np.empty(0, np.int64))


def operations(change: Change, stores: Stores, indexes: Sequence[Index], *, ordinal: int) -> Iterator[Operation]:
    """What a change of rows does to the entries of ``indexes``."""
    for index in indexes:
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
    return found.filter(pa.array(same_rows(found, entries.take(pa.array(places)))))


def _operation(index: Index, action: Action, batch: pa.RecordBatch, ordinal: int) -> Operation:
    return Operation(ordinal=ordinal, table=index.id, schema_version=1, action=action, batch=batch)


def entry_keys(entries: Table, rows: pa.RecordBatch) -> pa.RecordBatch:
    """The primary keys of entries."""
    return rows.select(list(map(str, entries.primary_key)))


def by_id(table: Table, rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with columns named by identifier."""
    return rows.rename_columns(list(map(str, row_ids_of(table, rows))))


def rows_found(table: Table, keys: pa.RecordBatch, found: Found, ids: Sequence[int]) -> pa.RecordBatch:
    """Some columns, named by identifier, of whole rows that were found by ``keys``, which tell their row ids."""
    rows, places = found
    taken = keys.take(pa.array(places))
    arrays = [taken.column(ROW_ID_NAME) if id == ROW_ID else rows.column(table.by_id[id].name) for id in ids]
    return pa.RecordBatch.from_arrays(arrays, names=list(map(str, ids)))


def newest_of(store: TableStore) -> Callable[[pa.RecordBatch, Sequence[int]], Found]:
    return lambda keys, columns: store.get_many(keys, version=NEWEST, columns=columns)


def _gone(table: Table, old: pa.RecordBatch) -> Change:
    return Change(table=table, old=old, new=old.slice(0, 0), replaced=np.full(old.num_rows, -1, np.int64))


def rows_with(
    table: Table, rows: pa.RecordBatch, ids: Sequence[int], *, next_row_id: int | None = None
) -> pa.RecordBatch:
    """The columns ``ids`` of rows that are named by identifier; where they are older than a column, what it reads as.

    Row ids are counted from ``next_row_id``, where one is given.
    """
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


def _last_of_each(table: Table, rows: pa.RecordBatch) -> np.ndarray | None:
    """The rows that are the last with their primary key, in order: int64[n]; None where all are."""
    count = rows.num_rows
    if count < 2:
        return None
    backwards = np.arange(count - 1, -1, -1)
    last = first_of_each(table, _keys(table, rows).take(pa.array(backwards)))
    return None if last is None else np.sort(count - 1 - last)


def _without(rows: pa.RecordBatch, places: np.ndarray) -> pa.RecordBatch:
    kept = np.ones(rows.num_rows, np.bool_)
    kept[places] = False
    return rows.filter(pa.array(kept))


def same_rows(left: pa.RecordBatch, right: pa.RecordBatch) -> np.ndarray:
    """Rows in which two batches agree, NULL with NULL and NaN with NaN: bool[n]."""
    same = np.ones(left.num_rows, np.bool_)
    for a, b in zip(left.columns, right.columns, strict=True):
        a, b = (column.storage if isinstance(column, pa.ExtensionArray) else column for column in (a, b))
        equal = pc.fill_null(pc.equal(a, b if a.type == b.type else b.cast(a.type)), False)
        nulls = pc.and_(pc.is_null(a), pc.is_null(b))
        if pa.types.is_floating(a.type):
            nulls = pc.or_(nulls, pc.fill_null(pc.and_(pc.is_nan(a), pc.is_nan(b)), False))
        same &= pc.or_(equal, nulls).to_numpy(zero_copy_only=False).astype(np.bool_)
    return same
