"""What an open transaction has written so far: a private overlay over its snapshot.

Per table the overlay is up to three small stores of the same kind that hold committed rows:

    rows     the rows that the transaction put, in the table's own cells
    gone     the primary keys (or row ids) that it deleted
    added    the rows that it only added amounts to

What is visible in one of them hides the snapshot's row with the same primary key. So an insert touches one index, and
keys alone are stored for nothing but deletes. A table without primary key is touched by row id; rows of the
transaction's own have row ids of their own (spill.py). Rows and gone keys spill into files when they grow large.

The overlay's "versions" are steps, one per call. A scan keeps the step at which it was made, so a statement that
writes while it still reads sees its own transaction up to its start, never itself. Steps are also what a savepoint
goes back to (savepoint.py).

Deltas are applied to the overlay, so that the transaction reads them; what it commits for a row that has only deltas
is the amounts, so that they conflict with no other delta.

At READ COMMITTED each statement reads at a snapshot of its own, and a row is validated against that of the statement
that wrote it first: ``firsts`` holds the keys by snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ..base.limits import MIB, RECORD_BYTES_MAX, RECORD_ROWS_MAX
from .cells import TableStore
from .conflict import key_columns, key_tuples
from .delta import Delta, add_amounts, row_batch
from .expression.node import Expression
from .install import Install
from .prepared import Prepared
from .projection import Projection
from .reader import RowStream
from .request import First, TableChanges
from .savepoint import Mark, rewind
from .scan import Scan, ScanStatistics
from .schema import ROW_ID, ROW_ID_NAME, Table
from .snapshot import Snapshot
from .spill import OwnRows, Workspace, keys_table
from .watch import Watch

FIRST_STEP: Final = 1
"""While nothing was written."""

JOINED_BYTES_MAX: Final = 256 * MIB
"""Arrow counts the bytes of a batch's text in 31 bits."""


class TableWrites:
    """One transaction's writes to one table. Batches are complete: all columns, checked.

    ``is_new``: the transaction created the table, so the snapshot has no rows of it.
    """

    def __init__(self, table: Table, *, is_new: bool, workspace: Workspace) -> None:
        self.table = table
        self.step = FIRST_STEP
        self.replaces = False  # whether a row that was put may have replaced a committed one
        self.watch: Watch | None = None  # once it is large, if others can see the table
        self.changed_before_watch = False
        self.statement_version: int | None = None  # at READ COMMITTED, that of the statement that writes now
        self._bytes_put = 0
        self._workspace = workspace
        self._truncated = False
        self._hides_base = is_new
        self._own = OwnRows(table, workspace)
        self._own_gone: OwnRows | None = None
        self._gone: TableStore | None = None
        self._added: TableStore | None = None
        self._deltas: dict[tuple[object, ...], Delta] = {}
        self._journal: list[tuple[tuple[object, ...], Delta | None]] | None = None  # deltas as they were
        self._firsts: list[First] = []

    @property
    def _rows(self) -> TableStore:
        return self._own.store

    @property
    def rows_count(self) -> int:
        return sum(rows.rows_count for rows in self._held())

    @property
    def bytes_used(self) -> int:
        """Memory that the overlay takes, in bytes, roughly."""
        return sum(rows.bytes_used for rows in self._held())

    @property
    def bytes_written(self) -> int:
        """What has been spilled, in bytes."""
        return sum(own.bytes_written for own in self._owns())

    @property
    def next_row_id(self) -> int:
        """The row id of the next row put into a table without primary key."""
        return self._rows.next_row_id

    @property
    def is_empty(self) -> bool:
        return not self.rows_count and not self._truncated

    @property
    def delta_keys(self) -> pa.RecordBatch | None:
        """The primary keys of rows that amounts are added to; None where there are none."""
        deltas = list(self._deltas.values())
        return pa.concat_batches([delta.key_batch for delta in deltas]) if deltas else None

    def put(self, rows: pa.RecordBatch, *, absent: bool = False) -> None:
        """Put full rows; ``absent``: the transaction saw no rows with their primary keys, no two of which are equal."""
        self.step += 1
        self.replaces |= not absent
        self._bytes_put += rows.nbytes
        if self.statement_version is not None and self.table.primary_key:
            self._note_first(key_columns(self.table, rows))
        if self._deltas:
            self._forget_deltas(key_columns(self.table, rows))
        self._own.put(rows, version=self.step, distinct=absent)

    def delete(self, keys: pa.RecordBatch) -> None:
        """``keys``: primary keys, or row ids (with key and time columns) of a table without primary key."""
        self.step += 1
        if self._gone is None:
            self._own_gone = OwnRows(keys_table(self.table), self._workspace)
            self._gone = self._own_gone.store
        if self.table.primary_key:
            self._note_first(keys)
            if self._deltas:
                self._forget_deltas(keys)
            self._rows.apply_delete(keys, version=self.step)
            self._gone.apply_put(keys, version=self.step)
            return
        own = self._is_own(keys)
        if own.any():
            self._rows.apply_delete(keys.filter(pa.array(own)), version=self.step)
        if not own.all():
            committed = keys.select(self._gone.table.arrow_schema.names).filter(pa.array(~own))
            self._note_first(committed)
            self._gone.apply_put(committed, version=self.step)

    def encoded(self, key: tuple[object, ...]) -> bytes:
        """A primary key of Python values in its encoding."""
        encoder = self._rows.layout.encoder
        assert encoder is not None, f'"{self.table.name}" has a primary key'
        return encoder.encode_one(key)

    def add(self, delta: Delta, *, row: Mapping[str, Any]) -> None:
        """Add amounts to ``row``, the row as the transaction sees it (or the delta's default row).

        Where the transaction has hidden or written the committed row, there is nothing to commute with: it is a put.
        """
        key = key_tuples(delta.key_batch)[0]
        known = self._deltas.get(key)
        changed = row_batch(self.table, [delta.after(self.table, row)])
        if known is None and (self._hides_base or self._touched(delta.key_batch, step=self.step)[0]):
            self.put(changed)
            return
        if known is not None:
            delta = known.and_then(self.table, delta)
        self.step += 1
        if self._added is None:
            self._added = TableStore(self.table)
        if self.statement_version is not None and known is None:
            self._firsts.append(First(version=self.statement_version, keys=delta.key_batch, deltas=True))
        self._added.apply_put(changed, version=self.step)
        self._set_delta(key, delta)

    def truncate(self) -> None:
        self.step += 1
        self._truncated = self._hides_base = True
        for key in list(self._deltas):
            self._set_delta(key, None)
        for store in self._stores():
            store.apply_truncate(version=self.step)

    def mark(self) -> Mark:
        """Where ``rewind`` may go back to, until ``forget_marks``."""
        if self._journal is None:
            self._journal = []
        return Mark(
            step=self.step,
            journal=len(self._journal),
            firsts=len(self._firsts),
            bytes_put=self._bytes_put,
            replaces=self.replaces,
            truncated=self._truncated,
            hides_base=self._hides_base,
        )

    def rewind(self, mark: Mark, *, make_room: Callable[[int], None]) -> None:
        """Undo everything since ``mark``. Raises what ``make_room`` raises; then some of it is undone."""
        if self.step == mark.step:
            return
        before, self.step = mark.step, self.step + 1
        for store in self._stores():
            rewind(store, before, now=self.step, make_room=make_room)
        assert self._journal is not None, "there is a mark"
        while len(self._journal) > mark.journal:
            key, delta = self._journal.pop()
            if delta is None:
                self._deltas.pop(key, None)
            else:
                self._deltas[key] = delta
        del self._firsts[mark.firsts :]
        self._bytes_put, self.replaces = mark.bytes_put, mark.replaces
        self._truncated, self._hides_base = mark.truncated, mark.hides_base

    def rows_from(self, row_id: int, *, columns: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """The transaction's own rows of a table without primary key with row ids from this one on, named by identifier.

        ``columns`` have ``ROW_ID`` among them.
        """
        plain = [id for id in columns if id != ROW_ID]
        places = [len(plain) if id == ROW_ID else plain.index(id) for id in columns]
        for batch in self._rows.scan(version=self.step, columns=plain, row_ids=True).batches():
            chosen = pa.RecordBatch.from_arrays([batch.column(place) for place in places], list(map(str, columns)))
            younger = batch.column(len(plain)).to_numpy(zero_copy_only=False) >= row_id
            if younger.any():
                yield chosen.filter(pa.array(younger))

    def forget_marks(self) -> None:
        """Nobody goes back any more."""
        self._journal = None

    def rebase(self, base: Snapshot, *, since: int) -> None:
        """Read rows with deltas from another snapshot from now on: lay the amounts over what changed after ``since``.

        Raises Invalid where the amounts do not fit the new rows.
        """
        deltas = list(self._deltas.values())
        if not deltas:
            return
        keys = pa.concat_batches([delta.key_batch for delta in deltas])
        changed = np.flatnonzero(base.store(self.table).changed_since(keys, since, ignore_deltas=False)).tolist()
        rows = [
            add_amounts(self.table, base.get(self.table, delta.key) or delta.default_row, delta.amounts)
            for delta in (deltas[place] for place in changed)
        ]
        if rows:
            assert self._added is not None, "deltas have rows"
            batch = row_batch(self.table, rows)
            self.step += 1
            self._added.apply_put(batch, version=self.step)

    def scan(
        self, base: Snapshot, *, columns: Sequence[int] | None, filter: Expression | None, row_ids: bool
    ) -> RowStream:
        """The snapshot's rows without those touched, then the transaction's own, as of now."""
        wanted = list(columns) if columns is not None else [column.id for column in self.table.columns]
        helpers = [id for id in self.table.primary_key if id not in wanted]
        own = [
            store.scan(version=self.step, columns=wanted, filter=filter, row_ids=row_ids)
            for store in self._stores()
            if store is not self._gone
        ]
        if self._hides_base:
            return OverlayScan(None, own, writes=self)
        below = base.scan(
            self.table, columns=[*wanted, *helpers], filter=filter, row_ids=row_ids or not self.table.primary_key
        )
        return OverlayScan(below, own, writes=self)

    def get(self, base: Snapshot, key: tuple[Any, ...], key_batch: pa.RecordBatch) -> dict[str, Any] | None:
        for store in (self._rows, self._added):
            row = None if store is None else store.get(key, version=self.step)
            if row is not None:
                return row
        if self._hides_base or self._touched(key_batch, step=self.step)[0]:
            return None
        return base.get(self.table, key)

    def get_many(self, base: Snapshot, keys: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray]:
        found = [store.get_many(keys, version=self.step) for store in (self._rows, self._added) if store is not None]
        if not self._hides_base:
            places = np.flatnonzero(~self.touched_at(keys, step=self.step))
            rows, indices = base.get_many(self.table, keys.take(pa.array(places)))
            found.append((rows, places[indices]))
        return _merged(found)

    def present(self, base: Snapshot, keys: pa.RecordBatch) -> np.ndarray:
        """Which of ``keys`` have a row as the transaction sees it: bool[n]."""
        exists = _visible(self._rows, keys, version=self.step)
        if self._added is not None:
            exists |= _visible(self._added, keys, version=self.step)
        if not self._hides_base:
            places = np.flatnonzero(~self.touched_at(keys, step=self.step))
            if len(places):
                below = keys if len(places) == keys.num_rows else keys.take(pa.array(places))
                exists[places] = _visible(base.store(self.table), below, version=base.version)
        return exists

    def touched_at(self, keys: pa.RecordBatch, *, step: int) -> np.ndarray:
        """Which of ``keys`` (primary keys or row ids) hide the snapshot's row at ``step``: bool[n]."""
        if not self.table.primary_key:
            return np.zeros(keys.num_rows, np.bool_) if self._gone is None else _visible(self._gone, keys, version=step)
        touched = self._touched(keys, step=step)
        return touched if self._added is None else touched | _visible(self._added, keys, version=step)

    def written_after(self, keys: pa.RecordBatch, step: int) -> np.ndarray:
        """Which of ``keys`` (primary keys or row ids) were put, deleted or added to after ``step``: bool[n]."""
        written = np.zeros(keys.num_rows, np.bool_)
        for store in (self._gone, self._added):
            if store is not None:
                newest = store.newest(keys)
                written |= newest.found & (newest.begin > step)
        if self.table.primary_key:
            newest = self._rows.newest(keys)
            return written | (newest.found & (newest.begin > step))
        own = self._is_own(keys)
        if own.any():
            newest = self._rows.newest(keys.filter(pa.array(own)))
            written[own] |= newest.found & ~newest.alive & (newest.end > step)
        return written

    def committed(self, keys: pa.RecordBatch) -> pa.RecordBatch:
        """``keys`` without row ids of the transaction's own rows."""
        return keys if self.table.primary_key else keys.filter(pa.array(~self._is_own(keys)))

    def spill(self) -> None:
        """Give back the memory of rows and gone keys. Raises Unavailable; then nothing has changed."""
        for own in self._owns():
            own.spill()

    def abandon(self) -> None:
        """Nobody knows whether the commit is in the log: the files must stay."""
        for own in self._owns():
            own.abandon()

    def close(self) -> None:
        """Forget everything, files too."""
        for own in self._owns():
            own.close()

    @property
    def memtable_bytes(self) -> int:
        """Memory that a spill would give back."""
        return sum(own.memtable_bytes for own in self._owns())

    @property
    def is_large(self) -> bool:
        """Whether it is too much for a record of the log."""
        return (
            any(own.files for own in self._owns())
            or sum(own.rows_count for own in self._owns()) > RECORD_ROWS_MAX
            or self._bytes_put > RECORD_BYTES_MAX
        )

    @property
    def changes_count(self) -> int:
        """Rows that the commit puts or deletes, but for deltas."""
        gone = 0 if self._gone is None else sum(int((~again).sum()) for _, again in self._gone_keys())
        return self._own.rows_count + gone

    def prepare(self, *, snapshot: int | None, inserts: bool = False) -> TableChanges:
        """The same for a large transaction: everything into files, but for deltas. Raises Unavailable.

        ``snapshot`` is None for a blind load, whose ``inserts`` say that no row with their primary keys may exist.
        """
        if self.replaces:
            self._forget_put_again()
        self.spill()
        install = Install(
            rows=self._own.describe(),
            keys=() if self._own_gone is None else self._own_gone.describe(),
            replaces=self.replaces,
        )
        prepared = Prepared(
            self, install, watch=self.watch, snapshot=snapshot, changed=self.changed_before_watch, inserts=inserts
        )
        return TableChanges(
            table=self.table,
            deltas=tuple(self._deltas.values()),
            strict=snapshot is not None,
            truncate=self._truncated,
            prepared=prepared,
        )

    def all_keys(self, places: set[tuple[int, int]] | None = None) -> Iterator[tuple[pa.RecordBatch, bool]]:
        """The primary keys (or row ids) that were deleted, then those that were put; True with the former.

        ``places``: of those that were put, only the ones in these cells (slice, shard).
        """
        if self._gone is not None:
            for keys in self._gone.scan(version=self.step, columns=None, filter=None).batches():
                yield keys, True
        if self.table.primary_key:
            projection = Projection(self.table.primary_key_columns)
            for cell in self._rows.cells:
                if places is None or (cell.slice, cell.shard) in places:
                    for part in cell.parts:
                        for keys in part.batches(projection, self.step):
                            yield keys, False

    def rows(self, columns: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """Some columns of the rows that were put, deltas apart, named by identifier; the row id is one."""
        projection = Projection([self._rows.layout.by_id[id] for id in columns])
        for cell in self._rows.cells:
            for part in cell.parts:
                for batch in part.batches(projection, self.step):
                    yield batch.rename_columns(list(map(str, columns)))

    def settled(self, keys: pa.RecordBatch) -> np.ndarray:
        """Which of ``keys`` (primary keys or row ids) were put or deleted, deltas apart: bool[n]."""
        if self.table.primary_key:
            return self._touched(keys, step=self.step)
        return self.touched_at(keys, step=self.step)

    def changes(self) -> TableChanges:
        """What the transaction commits for this table."""
        untouched = self._own.untouched
        if untouched is not None:
            puts = [untouched]
        else:
            puts = list(self._rows.scan(version=self.step, columns=None, filter=None).batches())
        deletes = [keys for keys in self._deleted() if keys.num_rows]
        return TableChanges(
            table=self.table,
            puts=tuple(_joined(puts)),
            deletes=tuple(_joined(deletes)),
            deltas=tuple(self._deltas.values()),
            strict=True,
            truncate=self._truncated,
            firsts=tuple(self._firsts),
        )

    def _deleted(self) -> Iterator[pa.RecordBatch]:
        for keys, again in self._gone_keys():
            yield keys.filter(pa.array(~again)) if again.any() else keys

    def _gone_keys(self) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        """The keys that were deleted, and which of them were put again since: bool[n]."""
        if self._gone is None:
            return
        for keys in self._gone.scan(version=self.step, columns=None, filter=None).batches():
            if self.table.primary_key:
                yield keys, _visible(self._rows, keys, version=self.step)
            else:
                yield keys, np.zeros(keys.num_rows, np.bool_)

    def _forget_put_again(self) -> None:
        """Rows that are looked up as replaced are not to be looked up as deleted, too: they would end twice."""
        for keys, again in list(self._gone_keys()):
            if again.any() and self._gone is not None:
                self._gone.apply_delete(keys.filter(pa.array(again)), version=self.step)

    def _touched(self, keys: pa.RecordBatch, *, step: int) -> np.ndarray:
        """Which primary keys were put or deleted up to ``step``, deltas apart."""
        touched = _visible(self._rows, keys, version=step)
        return touched if self._gone is None else touched | _visible(self._gone, keys, version=step)

    def _forget_deltas(self, keys: pa.RecordBatch) -> None:
        assert self._added is not None, "deltas have rows"
        alive = self._added.newest(keys).alive
        if alive.any():
            hidden = keys.filter(pa.array(alive))
            for key in key_tuples(hidden):
                self._set_delta(key, None)
            self._added.apply_delete(hidden, version=self.step)

    def _set_delta(self, key: tuple[object, ...], delta: Delta | None) -> None:
        if self._journal is not None:
            self._journal.append((key, self._deltas.get(key)))
        if delta is None:
            self._deltas.pop(key, None)
        else:
            self._deltas[key] = delta

    def _note_first(self, keys: pa.RecordBatch) -> None:
        """At READ COMMITTED: which of ``keys``, about to be put or deleted, are written for the first time.

        Not once files are written: so large a transaction is validated against its oldest snapshot (prepared.py).
        """
        if self.statement_version is None or any(own.files for own in self._owns()):
            return
        fresh = ~self.settled(keys)
        if fresh.any():
            first = keys if fresh.all() else keys.filter(pa.array(fresh))
            self._firsts.append(First(version=self.statement_version, keys=first, deltas=False))

    def _is_own(self, keys: pa.RecordBatch) -> np.ndarray:
        """Which row ids are of rows of the transaction's own: bool[n]."""
        return self._own.is_own(keys.column(ROW_ID_NAME).to_numpy(zero_copy_only=False))

    def _owns(self) -> list[OwnRows]:
        return [own for own in (self._own, self._own_gone) if own is not None]

    def _held(self) -> list[OwnRows | TableStore]:
        """All that takes memory; nothing that waits is looked into."""
        return [held for held in (self._own, self._own_gone, self._added) if held is not None]

    def _stores(self) -> list[TableStore]:
        return [store for store in (self._rows, self._gone, self._added) if store is not None]


class OverlayScan:
    """A snapshot's rows with a transaction's own writes laid over them, as of the step at which it was made.

    Repeatable, like any scan, also while the transaction goes on writing.
    """

    def __init__(self, below: RowStream | None, own: Sequence[Scan], *, writes: TableWrites) -> None:
        self._below = below
        self._own = own
        self._writes = writes
        self._step = writes.step
        self._hides = not writes.is_empty

    @property
    def schema(self) -> pa.Schema:
        return self._own[0].schema

    @property
    def rows_estimate(self) -> int:
        below = 0 if self._below is None else self._below.rows_estimate
        return below + sum(scan.rows_estimate for scan in self._own)

    @property
    def statistics(self) -> ScanStatistics:
        return self._own[0].statistics if self._below is None else self._below.statistics

    def batches(self) -> Iterator[pa.RecordBatch]:
        names = self.schema.names
        if self._below is not None:
            key = [column.name for column in self._writes.table.primary_key_columns] or [ROW_ID_NAME]
            for batch in self._below.batches():
                if not self._hides:
                    yield batch.select(names)
                    continue
                touched = self._writes.touched_at(batch.select(key), step=self._step)
                rows = batch.select(names)
                yield rows.filter(pa.array(~touched)) if touched.any() else rows
        for scan in self._own:
            yield from scan.batches()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        reader = pa.RecordBatchReader.from_batches(self.schema, self.batches())
        return reader.__arrow_c_stream__(requested_schema)


def present_at(snapshot: Snapshot, table: Table, keys: pa.RecordBatch) -> np.ndarray:
    """Which of ``keys`` have a row in the snapshot: bool[n]."""
    return _visible(snapshot.store(table), keys, version=snapshot.version)


def _visible(store: TableStore, keys: pa.RecordBatch, *, version: int) -> np.ndarray:
    """Which of ``keys`` have a row in ``store`` that is visible at ``version``: bool[n]."""
    visible = np.zeros(keys.num_rows, np.bool_)
    if store.cells_count and keys.num_rows:
        visible[store.get_many(keys, version=version, columns=store.table.primary_key[:1])[1]] = True
    return visible


def _merged(found: Sequence[tuple[pa.RecordBatch, np.ndarray]]) -> tuple[pa.RecordBatch, np.ndarray]:
    """Rows of several stores in the order of their keys. The key of a row is in one store only."""
    some = [(rows, indices) for rows, indices in found if rows.num_rows]
    if len(some) < 2:
        return some[0] if some else found[0]
    indices = np.concatenate([indices for _, indices in some])
    order = np.argsort(indices, kind="stable")
    return pa.concat_batches([rows for rows, _ in some]).take(pa.array(order)), indices[order]


def _joined(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The batches as few larger ones: a record pays half a kilobyte for each."""
    joined: list[pa.RecordBatch] = []
    start = size = 0
    for stop, batch in enumerate(batches):
        if stop > start and size + batch.nbytes > JOINED_BYTES_MAX:
            joined.append(pa.concat_batches(batches[start:stop]))
            start, size = stop, 0
        size += batch.nbytes
    rest = batches[start:]
    return [*joined, *([pa.concat_batches(rest)] if len(rest) > 1 else rest)]
