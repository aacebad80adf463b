"""Which rows a request touches, and whether that is allowed at its place in the order.

Against committed rows the cells themselves are asked, by primary key: exact, so no transaction ever dies of an index
that was too small. Against group mates that are validated but not yet applied, ``GroupRows`` remembers the rows of
small requests: one that would meet them waits for the next group, and is then judged against the cells like any other.
Deltas do not wait for deltas.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..base.errors import Conflict, Invalid
from ..storage.column_values import values_of
from .cells import TableStore
from .clock import wall_clock
from .conflict_index import ConflictIndex
from .key_encoding import KeyEncoder, hash_one
from .retention import kept_text, late_rows, times_of
from .row_writes import RowChange, key_batch
from .schema import ROW_ID, ROW_ID_NAME, Table

if TYPE_CHECKING:
    from .read_set import Reads
    from .request import TableChanges

REMEMBERED_ROWS_MAX = 1_024
"""Rows of one request whose primary keys a group remembers one by one."""

_NONE: frozenset[bytes] = frozenset()

NAN = object()
"""Stands for NaN in a primary key, which is equal to itself there."""


class Touch(enum.Enum):
    """How a batch touches rows, and so who else in its group may. Deltas may only touch what other deltas touch."""

    STRICT = enum.auto()  # transactions and inserts put or delete: nobody else may
    BLIND = enum.auto()  # blind puts and deletes: others of this kind may, and the last in log order wins


class GroupRows:
    """The rows that the requests of one group touch, per table.

    Rows that are written one by one, and those that are added to, are told apart by their encoded primary keys; rows of
    batches by their hash (or row id): two keys of one hash cost a needless wait. None stands for more rows of a batch
    than are remembered.
    """

    def __init__(self) -> None:
        self.single: dict[int, dict[bytes, RowChange]] = {}  # written one by one: STRICT
        self._deltas: dict[int, set[bytes]] = {}
        self._batches: dict[tuple[int, Touch], set[int] | None] = {}
        self._pending: list[TableChanges] = []  # not in the latter two yet: who has no mates need not pay for it
        self._tables: set[int] = set()  # those with batches

    def admits(self, changes: TableChanges, *, blind: bool) -> bool:
        """Whether the changes surely meet no row of a group mate that may not be met."""
        table = changes.table.id
        if changes.rows is not None and not (self._deltas or self._tables or self._pending):
            known = self.single.get(table)
            return known is None or known.keys().isdisjoint(changes.rows.changes)
        single = () if changes.rows is None else changes.rows.changes
        batches = _key_batches(changes)
        if changes.deltas and not (single or batches) and table not in self.single and table not in self._tables:
            return True  # deltas among themselves
        known = self.single.get(table)
        keys = [*single, *(delta.encoded for delta in changes.deltas)]
        if known is not None and not known.keys().isdisjoint(keys):
            return False
        self._take_pending()
        if not self._deltas.get(table, _NONE).isdisjoint(single):
            return False
        if table in self._tables and keys and not self._spare_batches(table, list(map(hash_one, keys)), list(Touch)):
            return False
        return not batches or self._admits_batches(changes, batches, blind=blind and not changes.inserts)

    def _admits_batches(self, changes: TableChanges, batches: Sequence[pa.RecordBatch], *, blind: bool) -> bool:
        table = changes.table.id
        touches = [Touch.STRICT] if blind else [Touch.STRICT, Touch.BLIND]
        others = {*self.single.get(table, ()), *self._deltas.get(table, ())}
        if not others and not any((table, touch) in self._batches for touch in touches):
            return True
        if changes.rows_count > REMEMBERED_ROWS_MAX:
            return False
        hashes = _identities(changes.table, batches)
        return set(map(hash_one, others)).isdisjoint(hashes) and self._spare_batches(table, hashes, touches)

    def _spare_batches(self, table: int, hashes: Sequence[int], touches: Sequence[Touch]) -> bool:
        """Whether no batch that touches rows in one of these ways has any of these."""
        known = [self._batches[table, touch] for touch in touches if (table, touch) in self._batches]
        return all(rows is not None and rows.isdisjoint(hashes) for rows in known)

    def spares(self, reads: Reads) -> bool:
        """Whether surely no group mate changed anything of what was read: the cells do not know of it yet.

        A later mate may: in the order of the group it comes after.
        """
        table = reads.table.id
        self._take_pending()
        base = reads.table.derived_from
        if base is not None:  # of a view that was read: its groups change where rows of the table do
            return base not in self._tables and not self.single.get(base) and not self._deltas.get(base)
        singles = {*self.single.get(table, ()), *self._deltas.get(table, ())}
        if table not in self._tables and not singles:
            return True
        if reads.whole or reads.filters or reads.keys_count > REMEMBERED_ROWS_MAX or reads.key_batches is None:
            return False
        hashes = _identities(reads.table, reads.key_batches)
        return set(map(hash_one, singles)).isdisjoint(hashes) and self._spare_batches(table, hashes, list(Touch))

    def add(self, changes: TableChanges) -> None:
        """Remember the rows that validated changes touch."""
        table = changes.table.id
        if changes.rows is not None:
            self.single.setdefault(table, {}).update(changes.rows.changes)
            return
        self._pending.append(changes)
        if changes.puts or changes.deletes:
            self._tables.add(table)

    def _take_pending(self) -> None:
        for changes in self._pending:
            table = changes.table.id
            if changes.deltas:
                self._deltas.setdefault(table, set()).update([delta.encoded for delta in changes.deltas])
            batches = _key_batches(changes)
            if not batches:
                continue
            place = table, Touch.STRICT if changes.inserts or changes.strict else Touch.BLIND
            known = self._batches.setdefault(place, set())
            if changes.rows_count > REMEMBERED_ROWS_MAX:
                self._batches[place] = None
            elif known is not None:
                known.update(_identities(changes.table, batches))
        self._pending.clear()


def check_unchanged(store: TableStore, changes: TableChanges, *, snapshot: int, index: ConflictIndex) -> None:
    """First committer wins: raise Conflict for a written row that another commit changed after ``snapshot``.

    The table was changed after it. TRUNCATE writes all rows, those too that the transaction has not seen. Rows without
    primary key are only ever deleted by row id: they conflict when somebody else deleted them.
    """
    if changes.truncate:
        raise Conflict(
            f'rows of "{changes.table.name}" were changed by another transaction, and TRUNCATE would end them unseen',
            hint="Retry the transaction: it will see the other's change.",
            table=changes.table.name,
        )
    if changes.rows is not None:
        written = {encoded: change.key for encoded, change in changes.rows.changes.items()}
        _check_keys_unchanged(store, written, snapshot=snapshot, index=index, ignore_deltas=False)
        return
    for first in changes.firsts:  # of a READ COMMITTED transaction, and then they are all
        _raise_first_changed(store, first.keys, snapshot=first.version, ignore_deltas=first.deltas)
    if changes.firsts:
        return
    for keys in _key_batches(changes):
        _raise_first_changed(store, keys, snapshot=snapshot, ignore_deltas=False)
    added = {delta.encoded: delta.key for delta in changes.deltas}
    _check_keys_unchanged(store, added, snapshot=snapshot, index=index, ignore_deltas=True)


def _check_keys_unchanged(
    store: TableStore,
    keys: Mapping[bytes, tuple[object, ...]],
    *,
    snapshot: int,
    index: ConflictIndex,
    ignore_deltas: bool,
) -> None:
    """The same for single rows by encoded primary key: the index knows of most of them, the cells of the others."""
    asked: list[tuple[object, ...]] = []
    for encoded, key in keys.items():
        changed = index.changed(store.table.id, encoded, snapshot, ignore_deltas=ignore_deltas)
        if changed is None:
            asked.append(key)
        elif changed:
            raise row_conflict(store, key_batch(store.table, [key]))
    if asked:
        keys_asked = key_batch(store.table, asked)
        _raise_first_changed(store, keys_asked, snapshot=snapshot, ignore_deltas=ignore_deltas)


def check_absent(store: TableStore, changes: TableChanges) -> None:
    """Raise Invalid (23505) with the row number where a primary key exists, or stands twice in a batch."""
    table = changes.table
    if not table.primary_key:
        return
    for rows in changes.puts:
        keys = key_columns(table, rows)
        raise_duplicates_within(table, keys)
        check_key_absent(table, keys, np.flatnonzero(store.newest(keys).alive))


def check_key_absent(table: Table, keys: pa.RecordBatch, found: np.ndarray, *, first: int | None = 0) -> None:
    """Raise Invalid (23505) for the first of ``keys`` whose index is in ``found``.

    ``first`` is the number of the first key among the rows of the caller; None where the keys are in no order.
    """
    if len(found):
        row = int(found.min())
        raise duplicate_key(table, key_at(keys, row), row=None if first is None else first + row)


def there(store: TableStore, changes: TableChanges) -> Callable[[pa.RecordBatch], np.ndarray] | None:
    """Says of full rows (or primary keys) which of them change a row that is there, rather than bring a new one.

    A transaction that changes all rows of a table also changes those that are about to be dropped; that is not late.
    None where that is not asked: for blind writes. Without primary key a row's change is a delete and a put: it counts
    as changed where the transaction deletes rows of its slice.
    """
    if not changes.strict:
        return None
    table, layout = changes.table, store.layout
    if table.primary_key:
        return lambda rows: store.newest(key_columns(table, rows)).alive
    deleted: set[int] = set().union(*(layout.slices(times_of(layout, keys)) for keys in changes.deletes))
    return lambda rows: np.array(
        [layout.slice_of(time) in deleted for time in times_of(layout, rows).tolist()], np.bool_
    )


def raise_duplicates_within(table: Table, keys: pa.RecordBatch, *, first: int = 0) -> None:
    """Raise Invalid (23505) where a primary key stands twice in ``keys``, of which ``first`` came before."""
    if keys.num_rows < 2 or not _may_repeat(table, keys):
        return
    plain = pa.table([_storage(column) for column in keys.columns], names=[str(i) for i in range(keys.num_columns)])
    groups = plain.group_by(plain.column_names, use_threads=False).aggregate([([], "count_all")])
    if groups.num_rows == keys.num_rows:
        return
    seen: set[tuple[object, ...]] = set()
    for row, key in enumerate(key_tuples(keys)):
        if key in seen:
            raise duplicate_key(table, key, row=first + row, within=True)
        seen.add(key)


def first_of_each(table: Table, keys: pa.RecordBatch) -> np.ndarray | None:
    """The rows that are the first with their primary key (or row id), in order; None where all are."""
    if keys.num_rows < 2:
        return None
    if not table.primary_key:
        ids, first = np.unique(keys.column(ROW_ID_NAME).to_numpy(zero_copy_only=False), return_index=True)
        return None if len(ids) == keys.num_rows else np.sort(first)
    if not _may_repeat(table, keys):
        return None
    seen: dict[tuple[object, ...], int] = {}
    for row, key in enumerate(key_tuples(keys)):
        seen.setdefault(key, row)
    return None if len(seen) == keys.num_rows else np.array(list(seen.values()), np.int64)


def _may_repeat(table: Table, keys: pa.RecordBatch) -> bool:
    """Whether two of ``keys`` have one hash, as equal keys always do. Sorting hashes costs a tenth of grouping keys."""
    hashes = np.sort(hashes_of(table, keys))
    return bool((hashes[1:] == hashes[:-1]).any())


def duplicate_key(table: Table, key: tuple[object, ...], *, row: int | None = None, within: bool = False) -> Invalid:
    """The error for a primary key that exists: PostgreSQL's words, the key's values, the row number from 1."""
    names = ", ".join(column.name for column in table.primary_key_columns)
    values = ", ".join("NaN" if value is NAN else str(value) for value in key)
    place = "" if row is None else f" (row {row + 1})"
    what = "stands twice in the batch" if within else "already exists"
    return Invalid(
        f'duplicate key value violates the primary key of "{table.name}": ({names})=({values}) {what}{place}',
        hint="Use put (or ON CONFLICT) to replace rows.",
        sqlstate="23505",
    )


def key_columns(table: Table, rows: pa.RecordBatch) -> pa.RecordBatch:
    """The primary-key columns of full rows, in primary-key order."""
    return rows.select(table.key_schema.names)


def key_tuples(keys: pa.RecordBatch) -> list[tuple[object, ...]]:
    """Keys as hashable tuples, equal exactly where the primary keys are."""
    columns = [[_hashable(value) for value in _storage(column).to_pylist()] for column in keys.columns]
    return list(zip(*columns, strict=True))


def key_at(keys: pa.RecordBatch, row: int) -> tuple[object, ...]:
    """One key as Python values, or as text those that Python cannot hold (a year 20000), for messages."""
    return tuple(_python(column[row]) for column in keys.columns)


def _python(value: pa.Scalar) -> object:
    try:
        return value.as_py()
    except (ValueError, OverflowError):
        return value.cast(pa.utf8()).as_py()


def row_ids_of(table: Table, batch: pa.RecordBatch) -> list[int]:
    """Column identifiers of a batch's columns, the hidden row id included."""
    return [ROW_ID if name == ROW_ID_NAME else table.by_name[name].id for name in batch.schema.names]


def _key_batches(changes: TableChanges) -> list[pa.RecordBatch]:
    if not changes.table.primary_key:
        return list(changes.deletes)
    return [*changes.deletes, *(key_columns(changes.table, rows) for rows in changes.puts)]


def concatenated(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Batches of one schema as one."""
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def _identities(table: Table, batches: Sequence[pa.RecordBatch]) -> list[int]:
    """A number for each row, the same for the same row: its key's hash, or its row id."""
    if not table.primary_key:
        return [id for keys in batches for id in keys.column(ROW_ID_NAME).to_pylist()]
    return [hash for keys in batches for hash in hashes_of(table, keys).tolist()]


def hashes_of(table: Table, keys: pa.RecordBatch) -> np.ndarray:
    """The hashes of primary keys: uint64[n]."""
    columns = [values_of(keys.column(i), column.type) for i, column in enumerate(table.primary_key_columns)]
    return KeyEncoder(table.primary_key_columns).encode(columns, count=keys.num_rows).hashes


def _raise_first_changed(store: TableStore, keys: pa.RecordBatch, *, snapshot: int, ignore_deltas: bool) -> None:
    changed = store.changed_since(keys, snapshot, ignore_deltas=ignore_deltas)
    if changed.any():
        raise row_conflict(store, keys.slice(int(changed.argmax()), 1))


def row_conflict(store: TableStore, key: pa.RecordBatch) -> Conflict:
    """The error for a row, named by its primary key, that another transaction changed, or that is not kept any more."""
    table, values = store.table, key_at(key, 0)
    boundary = store.boundary(wall=wall_clock())
    dropped = boundary is not None and len(late_rows(store.layout, key, boundary)) and not store.newest(key).alive[0]
    if boundary is not None and dropped:
        what, hint = f"is gone with its slice: {kept_text(table, boundary)}", "it will not find the row."
    else:
        what, hint = "was changed by another transaction", "it will see the other's change."
    return Conflict(
        f"{row_text(table, values)} {what}",
        hint=f"Retry the transaction: {hint}",
        table=table.name,
        key=values if table.primary_key else None,
    )


def row_text(table: Table, key: tuple[object, ...]) -> str:
    """A row in the words of messages."""
    names = ", ".join(column.name for column in table.primary_key_columns) or ROW_ID_NAME
    values = ", ".join("NaN" if value is NAN else str(value) for value in key)
    return f'row ({names})=({values}) of "{table.name}"'


def _hashable(value: Any) -> object:
    return NAN if isinstance(value, float) and value != value else value


def _storage(column: pa.Array) -> pa.Array:
    array: pa.Array = column.storage if isinstance(column, pa.ExtensionArray) else column
    return pc.cast(array, pa.binary()) if pa.types.is_fixed_size_binary(array.type) else array
