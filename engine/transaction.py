"""An open transaction: a snapshot, the writes laid over it, and the commit.

The snapshot is taken at the first statement, so that BEGIN is free and an idle client pins nothing. Reads see the
transaction's own writes. Writes are checked at once where the snapshot can tell (NOT NULL, CHECK, a primary key that
exists), and once more by the sequencer against what others committed meanwhile. A call that raises has changed nothing;
several calls that belong together go into ``statement``, which undoes them alone when it raises.

At READ COMMITTED every statement begins with a snapshot of its own (``refresh``). Pinned are the newest and the first
that something was written at: what changed since then is what the commit has to know.

At SERIALIZABLE every read is noted (read_set.py), and the commit looks at it again. What a write asks first (is the
primary key free?) need not be: the row is written, and so looked at in any case. But where the answer is an error, or
the write is undone, the caller has learned something, and that is noted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..base.errors import Closed, Conflict, Invalid, Unavailable
from ..base.limits import ROW_WRITES_LOGGED_MAX
from . import interrupts
from .catalog import Catalog, stored_of
from .changes import UNKNOWN_OUTCOME, Commit, Isolation, WriterToken
from .clock import wall_clock
from .conflict import check_key_absent, key_columns, key_tuples, raise_duplicates_within
from .constraints import IdentityAllocator, complete
from .delta import NO_BOUNDS, Bounds, DefaultRows, Delta, check_addable
from .expression.evaluate import Context
from .expression.node import Expression
from .idle import LOOK_SECONDS_MIN, Gate
from .indexes import EntryChange, Found, columns_needed, entries_of, entries_of_large, entry_keys
from .made import Made
from .progress import Progress
from .read_set import Locks, Reads, ReadSet
from .reader import RowStream
from .request import Request, TableChanges
from .retention import NONE_LATE, late_rows, left_out, times_of, too_late
from .row_writes import RowWrites, in_columns, key_batch
from .savepoint import PUT_ROWS, Savepoint
from .schema import Index, Relation, Table, View
from .snapshot import Snapshot
from .spill import Workspace, check_size
from .statistics import NOTHING_KNOWN, TableStatistics
from .unique import NO_ROW_ID, check_new_index, entry_changes
from .write_set import FIRST_STEP, TableWrites, present_at


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionFacts:
    """An open transaction, for people. ``since`` is wall clock; ``version`` is None while nothing was read.

    ``idle_seconds``: since its owner's last call; 0 while one runs.
    ``disk_bytes`` is what its writes take in files. Its id is not in here: who knows it may be let into its session.
    """

    principal: str
    since: int
    isolation: Isolation
    read_only: bool
    version: int | None
    rows_written: int
    memory_bytes: int
    disk_bytes: int
    idle_seconds: float


class Transaction:
    """A Reader that can write. Not for several threads at once. End it by ``commit`` or ``rollback``."""

    def __init__(
        self,
        *,
        open_snapshot: Callable[[], Snapshot],
        commit: Callable[[Request], Commit],
        identities: IdentityAllocator,
        isolation: Isolation = Isolation.SNAPSHOT,
        read_only: bool = False,
        id: str | None = None,
        principal: str = "",
        scratch: Callable[[], Path] | None = None,
        workspace: Workspace,
        idle_limit: Callable[[], float | None] | None = None,
        on_end: Callable[[Transaction], object] | None = None,
    ) -> None:
        """``scratch`` gives a folder for rows that are put aside; None: they stay in memory. ``workspace`` is where
        the write set spills to. ``idle_limit`` says for how many seconds it may idle (None: for ever), see idle.py: its
        owner then makes each call inside of ``gate``. ``on_end`` is called when it has ended, however."""
        self._open_snapshot = open_snapshot
        self._commit = commit
        self._identities = identities
        self.isolation = isolation
        self.read_only = read_only
        self.id = id
        self.principal = principal
        self.scratch = scratch
        self.workspace = workspace
        self.now = wall_clock()
        self._snapshot: Snapshot | None = None
        self._first: Snapshot | None = None  # that of the first statement that wrote
        self._writes: dict[int, TableWrites] = {}
        self._rows: dict[int, RowWrites] = {}  # written one by one, after all that is in ``_writes``
        self._seen: tuple[Table, tuple[Any, ...], dict[str, Any]] | None = None  # the row that ``get`` found last
        self._aside: list[TableWrites] = []  # of tables that the transaction dropped or altered
        self._savepoints_count = 0
        self._in_statement = False
        self._reads = ReadSet() if isolation is Isolation.SERIALIZABLE and not read_only else None
        self._locks = Locks()
        self._read_tables: set[int] = set()
        self._added_tables: set[int] = set()  # by ``adding``
        self._adding: int | None = None
        self._catalog: dict[str, Relation | None] = {}
        self._seen_catalog: Catalog | None = None
        self._unchanged: set[int] = set()
        self._made: Made | None = None
        self._ended = False
        self._late_count = 0
        self.idle_limit = idle_limit
        self._on_end = on_end
        self._timed_out: str | None = None
        self.gate = Gate()

    @property
    def version(self) -> int:
        """The version that the transaction reads at; taken now if nothing was read yet."""
        return self._base().version

    @property
    def ended(self) -> bool:
        """Whether it was committed or rolled back."""
        return self._ended

    @property
    def may_idle(self) -> bool:
        """Whether it has no limit for that."""
        return self.idle_limit is None

    def end_if_idle(self) -> float | None:
        """Roll it back if it has idled for too long: 0. Else for how many seconds it may go on, None for ever."""
        limit = None if self.idle_limit is None or self._ended else self.idle_limit()
        if limit is None:
            return None

        def end() -> None:
            self._timed_out = f"the transaction was rolled back: nobody used it for more than {limit:g} s"
            self.rollback()

        return 0 if self.gate.run_if_idle(limit, end) else max(limit - self.gate.idle_seconds, LOOK_SECONDS_MIN)

    @property
    def bytes_used(self) -> int:
        """Memory that what it has written takes, in bytes, roughly. From any thread."""
        rows = sum(rows.bytes_used for rows in list(self._rows.values()))
        return rows + sum(writes.bytes_used for writes in (*list(self._writes.values()), *self._aside))

    def facts(self) -> TransactionFacts:
        """What it is, and what it has written. From any thread."""
        written = [*list(self._writes.values()), *self._aside]
        snapshot = self._snapshot
        return TransactionFacts(
            principal=self.principal,
            since=self.now,
            isolation=self.isolation,
            read_only=self.read_only,
            version=None if snapshot is None else snapshot.version,
            rows_written=sum(writes.rows_count for writes in written if writes.table.derived_from is None)
            + sum(len(rows.changes) for rows in list(self._rows.values())),
            memory_bytes=self.bytes_used,
            disk_bytes=sum(writes.bytes_written for writes in written),
            idle_seconds=self.gate.idle_seconds,
        )

    @property
    def behind(self) -> frozenset[int]:
        """The materialized views, by the tables of their groups, that do not show what this transaction wrote."""
        changed = {id for id, writes in self._writes.items() if not writes.is_empty} | self._rows.keys()
        if not changed and not self._catalog:
            return frozenset()
        made = frozenset[int]() if self._made is None else self._made.ids
        views = [view for base, views in self.catalog.maintained.items() for view in views if base in changed]
        return frozenset(view.id for view in views) | made

    @property
    def progress(self) -> list[Progress]:
        """Of the indexes and materialized views that this transaction makes. From any thread."""
        made = self._made
        return [] if made is None else made.progress

    @property
    def incomplete(self) -> frozenset[int]:
        """Those of ``behind`` that rows cannot stand in for: they retain what their tables have forgotten."""
        maintained = self._base().catalog.maintained.values()
        return self.behind.intersection(view.id for views in maintained for view in views if view.forgotten)

    @property
    def catalog(self) -> Catalog:
        """The catalog with the transaction's own DDL."""
        if self._seen_catalog is None:
            base = self._base().catalog
            self._seen_catalog = base.changed(self._catalog, version=base.version) if self._catalog else base
        return self._seen_catalog

    def table(self, name: str) -> Table:
        """A call on one table begins (see ``refresh``): its definition. Raises Invalid (42P01), and Closed."""
        self.refresh()
        return (self._seen_catalog or self.catalog).table(name)

    def readable(self, name: str) -> Table:
        """The same, for a call that reads: of a maintained view what is read of it. Raises Invalid (0A000), too, where
        the view does not show what this transaction wrote.
        """
        self.refresh()
        table = (self._seen_catalog or self.catalog).readable(name)
        if table.stored is not None and table.id in self.behind:
            raise Invalid(
                f'"{name}" cannot be read by key in a transaction that has written to its table',
                hint=f"Use SQL, which computes it of the rows: SELECT … FROM {name}; or read it after the commit.",
                sqlstate="0A000",
            )
        return table

    # Statements and savepoints

    @contextmanager
    def statement(self) -> Generator[None]:
        """A statement: what it wrote is undone, and nothing else, if the block raises. Not for reading alone."""
        self.refresh()
        inner, self._in_statement = self._in_statement, True
        try:
            with self.undone_alone():
                yield
        finally:
            self._in_statement = inner

    @contextmanager
    def undone_alone(self) -> Generator[None]:
        """Undo what the block wrote if it raises. Where that fails (the disk is full), the transaction has ended."""
        savepoint = self.savepoint()
        try:
            yield
        except BaseException:
            if not self._ended:
                with suppress(Unavailable):
                    self.rollback_to(savepoint)
            raise
        finally:
            self.release(savepoint)

    def refresh(self) -> None:
        """A statement begins. At READ COMMITTED it reads at the newest version, but inside of ``statement``.

        Raises Conflict where others altered what the transaction has written to, or created.
        """
        self._check_open()
        if self.isolation is not Isolation.READ_COMMITTED:
            return
        before = self._snapshot
        if before is None or self._in_statement:
            return
        fresh = self._open_snapshot()
        try:
            self._check_definitions(before.catalog, fresh.catalog)
            for writes in self._writes.values():
                writes.rebase(fresh, since=before.version)
        except BaseException:
            fresh.close()
            raise
        self._snapshot = fresh
        self._seen = self._seen_catalog = None
        if before is not self._first:
            before.close()

    def savepoint(self) -> Savepoint:
        """This moment, for ``rollback_to``. Release it."""
        self._check_open()
        self._lay_down()
        self._savepoints_count += 1
        return Savepoint(
            writes={id: (writes, writes.mark()) for id, writes in self._writes.items()},
            aside=tuple(self._aside),
            catalog=dict(self._catalog),
            unchanged=frozenset(self._unchanged),
            late_count=self._late_count,
            locks=len(self._locks),
        )

    def rollback_to(self, savepoint: Savepoint) -> None:
        """Undo everything since ``savepoint``, which stays. Raises Unavailable when the disk refuses; that ends it."""
        self._check_open()
        try:
            with interrupts.deferred():
                self._rewind(savepoint)
        except BaseException:
            self.rollback()
            raise

    def release(self, savepoint: Savepoint) -> None:
        """Nobody goes back to ``savepoint`` any more."""
        del savepoint
        self._savepoints_count -= 1
        if not self._savepoints_count:
            for writes in self._writes.values():
                writes.forget_marks()

    def _rewind(self, savepoint: Savepoint) -> None:
        self._note_undone(savepoint)
        self._rows.clear()  # all of them are younger
        kept = (*(writes for writes, _ in savepoint.writes.values()), *savepoint.aside)
        for writes in (*self._writes.values(), *self._aside):
            if writes not in kept:
                self._discard(writes)
        self._writes = {id: writes for id, (writes, _) in savepoint.writes.items()}
        self._aside = list(savepoint.aside)
        self._catalog = dict(savepoint.catalog)
        self._unchanged = set(savepoint.unchanged)
        self._late_count = savepoint.late_count
        self._locks.forget_after(savepoint.locks)
        self._seen_catalog = None
        ids = {table: writes.next_row_id for table, (writes, _) in savepoint.writes.items()}
        for writes, mark in savepoint.writes.values():
            writes.rewind(mark, make_room=self._spill_for)
        for table, (writes, _) in savepoint.writes.items():
            if writes.table.unique and not writes.table.primary_key:
                self._renumber(writes, above=ids[table])
        if self.isolation is Isolation.READ_COMMITTED and self._first is not None:
            for writes in self._writes.values():  # amounts that were laid over older rows
                writes.rebase(self._base(), since=self._first.version)

    def _renumber(self, writes: TableWrites, *, above: int) -> None:
        """Rows that came back have new row ids, from this one on: the entries of unique indexes get them, too."""
        table = writes.table
        for rows in writes.rows_from(above, columns=columns_needed(table)):
            coming = [(index, entries_of(table, index, rows)) for index in table.unique]
            self._keep(table, [(index, entries.slice(0, 0), entries) for index, entries in coming])

    def _note_undone(self, savepoint: Savepoint) -> None:
        """What is undone is not looked at as written any more, but that it could be written was an answer."""
        if self._reads is None:
            return
        for rows in self._rows.values():
            self._reads.note_table(rows.table)
        marks = {id(writes): mark for writes, mark in savepoint.writes.values()}
        for writes in (*self._writes.values(), *self._aside):
            mark = marks.get(id(writes))
            if writes.step != (FIRST_STEP if mark is None else mark.step):
                self._reads.note_table(writes.table)

    def _check_definitions(self, before: Catalog, after: Catalog) -> None:
        if before.version == after.version:
            return
        if self._catalog:
            raise Conflict(
                "another transaction changed the catalog since this one began",
                hint="Retry the transaction.",
                kind="definition",
            )
        for writes in self._writes.values():
            if writes.table.derived_from is not None:
                continue
            table = after.by_id.get(writes.table.id)
            if not isinstance(table, Table) or table.schema_version != writes.table.schema_version:
                raise Conflict(
                    f'table "{writes.table.name}" was altered or dropped since this transaction wrote to it',
                    hint="Retry the transaction.",
                    kind="definition",
                    table=writes.table.name,
                )

    # Reads

    def scan(
        self,
        table: Table,
        *,
        columns: Sequence[int] | None = None,
        filter: Expression | None = None,
        row_ids: bool = False,
    ) -> RowStream:
        if table.stored is not None:
            return table.computed.scan(self.scan, columns, filter)
        self._note_table(table)
        if self._reads is not None:
            self._reads.note_filter(table, filter)
        writes = self._written(table)
        if writes is None and self._is_new(table):
            writes = self._writes_to(table)
        if writes is None:
            return self._base().scan(table, columns=columns, filter=filter, row_ids=row_ids)
        return writes.scan(self._base(), columns=columns, filter=filter, row_ids=row_ids)

    def statistics(self, table: Table) -> TableStatistics:
        return NOTHING_KNOWN if self._is_new(table.stored or table) else self._base().statistics(table)

    def series(
        self,
        table: Table,
        key: tuple[Any, ...],
        low: int | None,
        high: int | None,
        *,
        columns: Sequence[int] | None = None,
    ) -> pa.RecordBatch | None:
        if table.stored is not None:
            rows = self.series(table.stored, key, low, high, columns=table.computed.stored_ids(columns))
            return None if rows is None else table.computed.rows_of(rows, columns)
        if table.id in self._writes or table.id in self._rows or self._is_new(table):
            return None
        self._note_table(table)
        found = self._base().series(table, key, low, high, columns=columns)
        if self._reads is not None and found is not None:
            self._reads.note_series(table, key, low, high)
        return found

    def windows(
        self,
        table: Table,
        windows: Sequence[tuple[int, int]],
        *,
        columns: Sequence[int],
        filter: Expression | None = None,
    ) -> tuple[pa.RecordBatch, np.ndarray] | None:
        if self._reads is not None or self._written(table) is not None or self._is_new(table):
            return None  # the scan notes what it reads, and has what this transaction wrote
        self._note_table(table)
        return self._base().windows(table, windows, columns=columns, filter=filter)

    def get(self, table: Table, key: tuple[Any, ...]) -> dict[str, Any] | None:
        if table.stored is not None:
            row = self.get(table.stored, key)
            return None if row is None else table.computed.row_of(row)
        self._note_table(table)
        if self._reads is not None:
            self._reads.note_key(table, key)
        return self._get(table, key)

    def _get(self, table: Table, key: tuple[Any, ...]) -> dict[str, Any] | None:
        rows = self._rows.get(table.id) if self._rows else None
        if rows is not None:
            change = rows.changes.get(rows.encoded(key))
            if change is not None:
                return None if change.row is None else dict(change.row)
        writes = self._writes.get(table.id) if self._writes else None
        if writes is None:
            return None if self._is_new(table) else self._base_row(table, key)
        return writes.get(self._base(), key, key_batch(table, [key]))

    def _base_row(self, table: Table, key: tuple[Any, ...]) -> dict[str, Any] | None:
        """The snapshot's row. The one that was read last is likely to be asked for again: to be changed."""
        seen = self._seen
        if seen is not None and seen[0] is table and seen[1] == key:
            return dict(seen[2])
        row = self._base().get(table, key)
        if row is not None:
            self._seen = table, key, dict(row)
        return row

    def get_many(self, table: Table, keys: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray]:
        if table.stored is not None:
            rows, places = self.get_many(table.stored, table.computed.stored_keys(keys))
            return table.computed.rows_of(rows), places
        self._note_keys(table, keys)
        writes = self._written(table)
        if writes is None and self._is_new(table):
            writes = self._writes_to(table)
        if writes is None:
            return self._base().get_many(table, keys)
        return writes.get_many(self._base(), keys)

    def present(self, table: Table, keys: pa.RecordBatch) -> np.ndarray:
        """Which of ``keys`` (primary keys) have a row: bool[n]."""
        self._note_keys(table, keys)
        return self._present(table, keys)

    def _present(self, table: Table, keys: pa.RecordBatch) -> np.ndarray:
        writes = self._written(table)
        if writes is not None:
            return writes.present(self._base(), keys)
        if self._is_new(table):
            return np.zeros(keys.num_rows, np.bool_)
        return present_at(self._base(), table, keys)

    def note_past(self, table: Table, version: int) -> None:
        """Something of ``table`` was read as of ``version``: of the past, unless that is the transaction's own."""
        self._note_table(table)
        if self._reads is not None and version >= self.version:
            self._reads.note_table(table)

    def lock(self, table: Table, keys: pa.RecordBatch) -> None:
        """Refuse the commit, by Conflict, if others change the rows with these primary keys (or row ids) before it.

        At READ COMMITTED those changes count that came after the snapshot of the statement.
        """
        self._check_writable()
        writes = self._written(table)
        if writes is not None:
            keys = writes.committed(keys)
        if keys.num_rows and not self._is_new(table):
            self._locks.note(table, keys, version=self._wrote().version)

    @contextmanager
    def adding(self, table: Table) -> Generator[None]:
        """A statement that adds to rows of ``table`` by ``add``, and reads nothing of it that such a change can change.

        SNAPSHOT promises that what a transaction has read of a row, and then written, has not changed meanwhile. So
        where it reads the table in any other way, before or after, rows that it adds to may not change at all; what a
        statement that fails tells of them is reading, too.
        """
        before, self._adding = self._adding, table.id
        self._added_tables.add(table.id)
        try:
            yield
        except BaseException:
            self._read_tables.add(table.id)
            raise
        finally:
            self._adding = before

    def has_read(self, table: Table) -> bool:
        """Whether it has read any row of ``table``, other than by ``adding``."""
        return table.id in self._read_tables

    def _note_table(self, table: Table) -> None:
        if table.id != self._adding:
            self._read_tables.add(table.id)

    def _added_and_read(self, base: Snapshot) -> tuple[Reads, ...]:
        """Rows that were added to in a table that was read, too."""
        if self.isolation is not Isolation.SNAPSHOT:
            return ()
        found = (self._writes.get(id) for id in sorted(self._added_tables & self._read_tables))
        return tuple(
            Reads(table=writes.table, version=base.version, keys=(keys,))
            for writes in found
            if writes is not None and (keys := writes.delta_keys) is not None
        )

    def _note_keys(self, table: Table, keys: pa.RecordBatch) -> None:
        self._note_table(table)
        if self._reads is not None:
            self._reads.note_keys(table, keys)

    def mark(self, table: Table) -> int:
        """A point in this transaction's work on ``table``: see ``written_after``."""
        writes = self._written(table)
        return 0 if writes is None else writes.step

    def written_after(self, table: Table, keys: pa.RecordBatch, mark: int) -> np.ndarray:
        """Which of ``keys`` (primary keys or row ids) this transaction wrote after ``mark``: bool[n]."""
        writes = self._written(table)
        return np.zeros(keys.num_rows, np.bool_) if writes is None else writes.written_after(keys, mark)

    # Writes

    def complete(self, table: Table, batch: pa.RecordBatch, *, overriding: bool = False) -> pa.RecordBatch:
        """Full rows from a batch that may lack columns, checked, not written: for RETURNING and ON CONFLICT."""
        self._check_writable()
        context = Context(now=self.now)
        return complete(table, batch, context=context, identities=self._identities, overriding=overriding)

    def on_time(self, table: Table, rows: pa.RecordBatch, *, replaces: bool = False) -> pa.RecordBatch:
        """Full rows without those that come too late (retention.py), or Invalid (23514) where these are refused.

        ``replaces``: rows that are there are not late. What becomes late before the commit is judged there.
        """
        base = self._base()
        if table.keep is None or not rows.num_rows or self._is_new(table):
            return rows
        store = base.store(table)
        boundary = store.boundary(wall=wall_clock())
        late = NONE_LATE if boundary is None else late_rows(store.layout, rows, boundary)
        if replaces and len(late):
            late = late[~self.present(table, key_columns(table, rows.take(pa.array(late))))]
        if boundary is None or not len(late):
            return rows
        if table.late == "refuse":
            row = int(late[0])
            raise too_late(table, int(times_of(store.layout, rows)[row]), boundary, which=f"row {row + 1}")
        self._late_count += len(late)
        return left_out(rows, late)

    def insert(self, table: Table, batch: pa.RecordBatch, *, overriding: bool = False) -> int:
        """Add rows; columns may be absent. Raises Invalid (23505) where a primary key exists. Returns the row count."""
        rows = self.on_time(table, self.complete(table, batch, overriding=overriding))
        if table.primary_key:
            keys = key_columns(table, rows)
            raise_duplicates_within(table, keys)
            self._check_absent(table, keys, np.flatnonzero(self._present(table, keys)))
        self._put(table, rows, absent=True)
        return rows.num_rows

    def put(self, table: Table, batch: pa.RecordBatch, *, overriding: bool = False) -> int:
        """Add or replace whole rows; the last of equal primary keys wins."""
        self._require_primary_key(table, "put")
        rows = self.on_time(table, self.complete(table, batch, overriding=overriding), replaces=True)
        self._put(table, rows, absent=False)
        return rows.num_rows

    def delete(self, table: Table, keys: pa.RecordBatch) -> int:
        """End rows by primary key, or by row id (with the key and time columns). Returns how many there were."""
        self._check_writable()
        count = int(self._present(table, keys).sum()) if table.primary_key else keys.num_rows
        self.delete_found(table, keys)
        return count

    def delete_found(self, table: Table, keys: pa.RecordBatch) -> None:
        """End rows that the caller has just read, by primary key, or by row id (with the key and time columns)."""
        writes = self._writes_to(table)
        entries = self._entries(table, None, keys)
        self._make_room(keys.nbytes)
        writes.delete(keys)
        self._keep(table, entries)

    def update(self, table: Table, old_keys: pa.RecordBatch, rows: pa.RecordBatch) -> int:
        """Replace the rows at ``old_keys`` by full new ``rows``, one for one; primary keys may change.

        Raises Invalid where a new primary key exists already, or stands twice.
        """
        checked = self.complete(table, rows, overriding=True)
        writes = self._writes_to(table)
        self._make_room(old_keys.nbytes + checked.nbytes)
        if not table.primary_key:
            entries = self._entries(table, checked, old_keys)
            writes.delete(old_keys)
            writes.put(checked, absent=True)
            self._keep(table, entries)
            return checked.num_rows
        new_keys = key_columns(table, checked)
        moved = _differ(old_keys, new_keys)
        leaving = old_keys.filter(pa.array(moved))
        if moved.any():
            raise_duplicates_within(table, new_keys)
            self._check_moves(table, old_keys, new_keys.filter(pa.array(moved)))
        entries = self._entries(table, checked, leaving)
        if leaving.num_rows:
            writes.delete(leaving)
        writes.put(checked)
        self._keep(table, entries)
        return checked.num_rows

    def add(self, table: Table, key: tuple[Any, ...], amounts: dict[str, Any], *, bounds: Bounds = NO_BOUNDS) -> None:
        """Add amounts to columns of one row, commutatively; an absent row starts from the defaults.

        Raises Conflict (23514) where the row as the transaction sees it would be beyond ``bounds``, and Invalid (23514)
        for a new one that comes too late; what others commit meanwhile is judged at the commit.
        """
        self._require_primary_key(table, "add")
        check_addable(table, list(amounts))
        writes = self._writes_to(table)
        delta = Delta(
            table=table,
            key=key,
            encoded=writes.encoded(key),
            amounts=dict(amounts),
            default=DefaultRows(table, [key], now=self.now, identities=self._identities).at,
            bounds=bounds,
        )
        row = self._get(table, key)
        if row is None and not self.on_time(table, delta.key_batch).num_rows:
            return
        try:
            writes.add(delta, row=row or delta.default_row)
        except (Conflict, Invalid):  # of a bound, or an overflow
            self._note_keys(table, delta.key_batch)
            raise

    # Single rows, see row_writes.py

    def put_row(self, table: Table, values: object, *, insert: bool = False) -> bool:
        """Put one whole row (tuple or dict); False: nothing was done, and ``put`` or ``insert`` has to."""
        rows = self._row_writes(table)
        row = None if rows is None else table.shape.row(values)
        if rows is None or row is None:
            return False
        key = table.shape.key_of(row)
        if insert and self.get(table, key) is not None:
            return False
        self._write_row(rows, key, row)
        return True

    def update_row(self, table: Table, key: tuple[Any, ...], values: Mapping[str, object]) -> bool:
        """Set columns of the row with this primary key; False: nothing was done, and ``update`` has to."""
        rows = self._row_writes(table)
        changes = None if rows is None else table.shape.changes(values)
        row = None if changes is None else self.get(table, key)
        if rows is None or changes is None or row is None:
            return False
        row.update(changes)
        self._write_row(rows, table.shape.key_of(row), row)
        return True

    def delete_row(self, table: Table, key: tuple[Any, ...]) -> bool:
        """Delete the row with this primary key; False: nothing was done, and ``delete`` has to."""
        rows = self._row_writes(table)
        row = None if rows is None else self.get(table, key)
        if rows is None or row is None:
            return False
        self._write_row(rows, table.shape.key_of(row), None)
        return True

    def _row_writes(self, table: Table) -> RowWrites | None:
        """Where single rows of the table are written; None where they have to be columns."""
        rows = self._rows.get(table.id)
        if rows is not None and rows.table is table:
            return rows
        if (
            self.read_only
            or self.isolation is Isolation.READ_COMMITTED
            or not RowWrites.suits(table)
            or self._is_new(table)
        ):
            return None
        self._lay_down(table.id)
        return RowWrites(table, self._base().store(table).layout)

    def _write_row(self, rows: RowWrites, key: tuple[Any, ...], row: dict[str, Any] | None) -> None:
        if rows.full:
            self._lay_down(rows.table.id)
            rows = RowWrites(rows.table, self._base().store(rows.table).layout)
        self._wrote()
        rows.write(key, row)
        self._rows[rows.table.id] = rows

    def _lay_down(self, id: int | None = None) -> None:
        """Make columns of the single rows that were written, to the table ``id`` or to any."""
        if not self._rows:
            return
        for place in list(self._rows) if id is None else (id,):
            rows = self._rows.pop(place, None)
            if rows is None:
                continue
            keys, batch = in_columns(rows.table, rows.changes.values())
            try:
                if keys is not None:
                    self.delete_found(rows.table, keys)
                if batch is not None:
                    self._put(rows.table, batch, absent=False)
            except BaseException:
                self._rows[place] = rows
                raise

    def _lay_down_many(self) -> None:
        """Before the commit: few rows, of tables that nothing else was written to, stay as they are."""
        for id, rows in list(self._rows.items()):
            if id in self._writes or len(rows.changes) > ROW_WRITES_LOGGED_MAX:
                self._lay_down(id)

    def _written(self, table: Table) -> TableWrites | None:
        """What has been written to the table, in columns; None: nothing."""
        self._lay_down(table.id)
        return self._writes.get(table.id)

    def truncate(self, table: Table) -> None:
        """End all rows of the table."""
        self._writes_to(table).truncate()
        for index in table.unique:
            self._writes_to(table.index_tables[index.id]).truncate()

    # Indexes, see indexes.py, unique.py and index_build.py. What is written of the entries of unique indexes is for
    # this transaction to read: ``apply`` makes them anew, but for those of large transactions and of indexes made here.

    def make_indexes(self, before: Table, after: Table, indexes: Sequence[Index]) -> None:
        """Write the entries of all rows of ``before`` into new indexes of ``after``. Raises Invalid (23505)."""
        for index in indexes:  # also where there is no row yet: those that others insert are caught up with
            self._writes_to(after.index_tables[index.id])
        if self._made is None:
            self._made = Made()
        self._made.make(self, before, after, indexes, catches_up=not self._is_new(before))

    def create_view(self, view: View, base: Table) -> None:
        """Add a materialized view that is maintained, with the groups of all committed rows of ``base``; in the place
        of the one with its identifier, if there is one. ``apply`` adds what this transaction writes.

        Raises LimitExceeded, and Invalid for a row of which the view cannot compute what it needs.
        """
        assert view.maintained is not None, "the view is maintained"
        assert view.groups is not None, "what is maintained has groups"
        written = self._written(base)
        if not self._is_new(base) and written is not None and not written.is_empty:
            raise Invalid(
                f'"{base.name}" was written by this transaction: it cannot get a materialized view before the commit',
                hint="Commit first, or make the view before you write.",
                sqlstate="0A000",
            )
        if view.id in self.catalog.by_id:
            self.replace(view)
            changed = self.catalog.by_id[base.id]  # perhaps without guards of the one before
            assert isinstance(changed, Table), "a view's table stays a table"
            base = changed
        else:
            self.create(view)
        guarded = replace(base, guards=(*base.guards, *view.maintained.guards))
        if guarded.guards != base.guards:
            guarded = replace(guarded, schema_version=base.schema_version + 1)
        if guarded != base or not self._is_new(base):  # nobody may alter it meanwhile
            self.replace(guarded)
        for table in view.tables:
            self._writes_to(table)
        if self._made is None:
            self._made = Made()
        if self._is_new(base):
            self._made.ids.add(view.groups.id)
        else:
            self._made.make_view(self, view.maintained, view.groups, base, self._base())

    def put_groups(self, table: Table, rows: pa.RecordBatch) -> None:
        """Put groups of a materialized view that this transaction makes."""
        if rows.num_rows:
            self._put(table, rows, absent=False)

    def _last_changes(self, request: Request) -> tuple[TableChanges, ...]:
        """The changes of a request that makes indexes, these caught up with. Under the commit lock, on any thread."""
        assert self._made is not None, "the request makes indexes"
        self._made.catch_up(self, self._writes.keys(), open_snapshot=self._open_snapshot)
        base = self._first or self._base()
        others = tuple(item for item in request.changes if item.table.id not in self._made.ids)
        made = (self._writes[id] for id in sorted(self._made.ids & self._writes.keys()))
        return (*(self._changes(writes, base) for writes in made), *others)

    def _changes(self, writes: TableWrites, base: Snapshot) -> TableChanges:
        return self._prepared(writes, base) if writes.is_large else writes.changes()

    def delete_entries(self, entries: Table, keys: pa.RecordBatch) -> None:
        """Delete entries of an index that this transaction makes."""
        if keys.num_rows:
            writes = self._writes_to(entries)
            self._make_room(keys.nbytes)
            writes.delete(keys)

    def put_entries(self, table: Table, index: Index, rows: pa.RecordBatch) -> None:
        """Put entries of an index that this transaction makes. Raises Invalid (23505) where a key is there already."""
        if rows.num_rows:
            if index.unique:
                check_new_index(table, index, rows, find=self.find_entries)
            self._put(table.index_tables[index.id], rows, absent=True)

    def _entries(self, table: Table, puts: pa.RecordBatch | None, keys: pa.RecordBatch | None) -> list[EntryChange]:
        """See ``unique.entry_changes``."""
        if not table.unique:
            return []
        writes = self._written(table)
        next_row_id = NO_ROW_ID if writes is None else writes.next_row_id
        try:
            return entry_changes(table, puts=puts, deletes=keys, find=self.find_entries, next_row_id=next_row_id)
        except Invalid:
            if self._reads is not None:
                self._reads.note_table(table)
            raise

    def _keep(self, table: Table, changes: Iterable[EntryChange]) -> None:
        for index, gone, new in changes:
            entries = table.index_tables[index.id]
            if not gone.num_rows and not new.num_rows:
                continue
            writes = self._writes_to(entries)
            self._make_room(gone.nbytes + new.nbytes)
            if gone.num_rows:
                writes.delete(entry_keys(entries, gone))
            if new.num_rows:
                writes.put(new)

    def find_entries(self, table: Table, keys: pa.RecordBatch) -> Found:
        """``get_many``, also of entries of an index, that notes nothing: what is asked for is going to be written."""
        writes = self._written(table)
        if writes is None and self._is_new(table):
            writes = self._writes_to(table)
        return self._base().get_many(table, keys) if writes is None else writes.get_many(self._base(), keys)

    def _write_entries_of_large(self) -> None:
        """The entries of large write sets, in files too, so that ``apply`` makes none; unique ones are there by now."""
        for writes in [item for item in self._writes.values() if item.is_large and item.table.derived_from is None]:
            base = None if self._is_new(writes.table) else self._base()
            self._keep(writes.table, entries_of_large(writes, base))

    def _logged(self) -> Iterator[TableWrites]:
        """What the commit logs of what was written: all but entries that ``apply`` makes of the rows."""
        made = frozenset[int]() if self._made is None else self._made.ids
        for writes in self._writes.values():
            of = writes.table.derived_from
            large = of in self._writes and self._writes[of].is_large
            if of is None or large or writes.table.id in made:
                yield writes

    # The catalog

    def create(self, relation: Relation) -> None:
        """Add a relation. Raises Invalid (42P07) if the name is taken."""
        self._check_writable()
        if relation.name in self.catalog.names:
            raise Invalid(
                f'relation "{relation.name}" already exists',
                hint="Use IF NOT EXISTS, or another name.",
                sqlstate="42P07",
            )
        self._change_catalog({relation.name: relation})

    def replace(self, relation: Relation) -> None:
        """Change a relation's definition, found by its identifier; its name may change."""
        self._check_writable()
        before = self.catalog.by_id[relation.id]
        if self._reads is not None and isinstance(before, Table):
            self._reads.note_table(before)
        self._lay_down(relation.id)
        writes = self._writes.get(relation.id)
        if writes is not None and writes.is_empty:  # it was only read
            self._aside.append(self._writes.pop(relation.id))
        elif writes is not None:
            raise Invalid(
                f'"{before.name}" was written by this transaction: it cannot be altered before the commit',
                hint="Commit first, or alter before you write.",
                sqlstate="0A000",
            )
        if relation.name != before.name and relation.name in self.catalog.names:
            raise Invalid(f'relation "{relation.name}" already exists', sqlstate="42P07")
        if isinstance(before, Table) and isinstance(relation, Table):
            self._put_aside(before.index_tables.keys() - relation.index_tables.keys())
        dropped: dict[str, Relation | None] = {before.name: None} if before.name != relation.name else {}
        self._change_catalog({**dropped, relation.name: relation})
        if isinstance(before, View) and isinstance(relation, View) and before.maintained != relation.maintained:
            self._let_go(before)

    def require_unchanged(self, table: Table) -> None:
        """Conflict at the commit if anybody changes a row of ``table``: a new definition was checked against all."""
        self._wrote()
        self._unchanged.add(table.id)

    def drop(self, name: str) -> None:
        """Drop a relation. Raises Invalid (42P01) if there is none."""
        self._check_writable()
        relation = self.catalog.relation(name)
        self._lay_down(relation.id)
        self._put_aside((relation.id, *(table.id for table in stored_of(relation))))
        self._change_catalog({name: None})
        if isinstance(relation, View):
            self._let_go(relation)

    def _let_go(self, view: View) -> None:
        """Keep the groups of a view no more."""
        if view.maintained is None:
            return
        self._put_aside(table.id for table in stored_of(view))
        base = self.catalog.by_id.get(view.maintained.base)
        if isinstance(base, Table):
            kept = tuple(guard for guard in base.guards if guard.view != view.maintained.id)
            if kept != base.guards:
                self.replace(replace(base, guards=kept, schema_version=base.schema_version + 1))

    def _put_aside(self, ids: Iterable[int]) -> None:
        """Nothing of these tables will be committed."""
        for id in ids:
            if id in self._writes:
                self._aside.append(self._writes.pop(id))

    # The end

    def commit(self, *, token: WriterToken | None = None) -> Commit:
        """Commit. Raises Conflict if another transaction changed what this one wrote; it has ended in any case.

        ``token``: of a writer, whose batch this is.
        """
        self._check_open()
        try:
            self._lay_down_many()
            request = self._request(token)
            if request is None:
                return Commit(version=0 if self._snapshot is None else self._snapshot.version, rows=0)
            return self._commit(request)
        except Unavailable as error:
            if error.sqlstate != UNKNOWN_OUTCOME:
                raise
            for writes in self._writes.values():
                writes.abandon()
            raise
        finally:
            self.rollback()

    def _request(self, token: WriterToken | None) -> Request | None:
        """What is to be committed; None: nothing."""
        rows = tuple([TableChanges(table=rows.table, rows=rows, strict=True) for rows in self._rows.values()])
        if not (self._writes or self._catalog or self._late_count or self._locks or self._reads is not None):
            if not rows:
                return None
            return Request(changes=rows, snapshot=self._wrote().version, token=token, transaction_id=self.id)
        base = self._first or self._base()
        if self._made is not None:
            self._made.come_near(self, self._writes.keys(), open_snapshot=self._open_snapshot)
        self._write_entries_of_large()
        written = tuple(self._changes(writes, base) for writes in self._logged())
        changed = (*(item for item in written if item.rows_count or item.truncate), *rows)
        catalog = self._net_catalog(base.catalog)
        reads = self._locks.reads() + self._added_and_read(base)
        if changed or catalog or self._late_count:
            if self._reads is not None:
                reads += self._reads.reads(base.catalog, version=base.version)
        elif not reads:
            return None
        return Request(
            changes=changed,
            catch_up=None if self._made is None or not self._made.catches_up else self._last_changes,
            catalog=catalog,
            snapshot=base.version,
            unchanged=tuple(sorted(self._unchanged)),
            reads=reads,
            token=token,
            transaction_id=self.id,
            left_out=self._late_count,
        )

    def rollback(self) -> None:
        """End the transaction and forget its writes. A second call does nothing."""
        self._ended = True
        self._rows.clear()
        if self._writes or self._aside:
            for writes in (*self._writes.values(), *self._aside):
                self._discard(writes)
            self._writes.clear()
            self._aside.clear()
        self._catalog.clear()
        self._seen_catalog = None
        for snapshot in (self._snapshot, self._first):
            if snapshot is not None:
                snapshot.close()
        if self._on_end is not None:
            self._on_end(self)

    def _discard(self, writes: TableWrites) -> None:
        if writes.watch is not None:
            self.workspace.unwatch(writes.watch)
        writes.close()

    def _base(self) -> Snapshot:
        snapshot = self._snapshot
        if snapshot is None or self._ended:
            self._check_open()
            snapshot = self._snapshot = self._open_snapshot()
        return snapshot

    def _check_open(self) -> None:
        if self._timed_out is not None:
            hint = "Begin a new one. SET idle_in_transaction_session_timeout says how long one may idle; 0 is for ever."
            raise Closed(self._timed_out, hint=hint, sqlstate="25P03")
        if self._ended:
            raise Closed("the transaction has ended", hint="Begin a new one.", sqlstate="25P01")

    def _check_writable(self) -> None:
        self._base()
        if self.read_only:
            raise Invalid("the transaction is READ ONLY", hint="Begin one that may write.", sqlstate="25006")

    def _require_primary_key(self, table: Table, what: str) -> None:
        if not table.primary_key:
            raise Invalid(
                f'"{table.name}" has no primary key: {what} needs one to find rows by',
                hint="Use insert, or create the table with a primary key.",
                sqlstate="55000",
            )

    def _is_new(self, table: Table) -> bool:
        """Whether the table was created by this transaction, so that the snapshot has no cells of it."""
        return bool(self._catalog) and table.id not in self._base().catalog.stored

    def _writes_to(self, table: Table) -> TableWrites:
        self._check_writable()
        writes = self._written(table)
        if writes is None:
            writes = TableWrites(table, is_new=self._is_new(table), workspace=self.workspace)
            self._writes[table.id] = writes
        base = self._wrote()
        if self.isolation is Isolation.READ_COMMITTED:
            writes.statement_version = base.version
        return writes

    def _wrote(self) -> Snapshot:
        """Something is written at this snapshot."""
        base = self._base()
        if self._first is None:
            self._first = base
        return base

    def _put(self, table: Table, rows: pa.RecordBatch, *, absent: bool) -> None:
        """Put checked rows, some at a time where they are many."""
        writes = self._writes_to(table)
        check_size(self.workspace, self._bytes_held + rows.nbytes)
        if rows.num_rows <= PUT_ROWS:
            self._put_piece(writes, rows, absent=absent)
            return
        with self.undone_alone():
            for start in range(0, rows.num_rows, PUT_ROWS):
                self._put_piece(writes, rows.slice(start, PUT_ROWS), absent=absent)

    def _put_piece(self, writes: TableWrites, rows: pa.RecordBatch, *, absent: bool) -> None:
        entries = self._entries(writes.table, rows, None)
        self._make_room(rows.nbytes)
        writes.put(rows, absent=absent)
        self._keep(writes.table, entries)

    def _make_room(self, more: int) -> None:
        """Spill where ``more`` bytes would be too much. Raises LimitExceeded, and Unavailable when the disk is full."""
        check_size(self.workspace, self._bytes_held + more)
        self._spill_for(more)

    def _spill_for(self, more: int) -> None:
        room = self.workspace.memory_bytes
        if self.bytes_used + more <= room:
            return
        held = list(self._writes.values())
        if sum(writes.memtable_bytes for writes in held) + more > room // 2:
            for writes in held:
                self._watch(writes)
                writes.spill()

    def _watch(self, writes: TableWrites) -> None:
        """Have noted what others change in the table from now on: the transaction is large."""
        if writes.watch is None and not self._is_new(writes.table):
            writes.watch, changed_at = self.workspace.watch(writes.table)
            writes.changed_before_watch = changed_at > self._wrote().version

    def _prepared(self, writes: TableWrites, base: Snapshot) -> TableChanges:
        self._watch(writes)
        return writes.prepare(snapshot=base.version)

    @property
    def _bytes_held(self) -> int:
        """What has been written, in memory and on the disk."""
        return self.bytes_used + sum(writes.bytes_written for writes in (*self._writes.values(), *self._aside))

    def _check_moves(self, table: Table, old_keys: pa.RecordBatch, new_keys: pa.RecordBatch) -> None:
        """New primary keys must be absent, other than where the same statement takes the old row away."""
        leaving = set(key_tuples(old_keys))
        found = np.flatnonzero(self._present(table, new_keys))
        met = key_tuples(new_keys.take(pa.array(found)))
        staying = [row for row, key in zip(found.tolist(), met, strict=True) if key not in leaving]
        self._check_absent(table, new_keys, np.array(staying, np.int64))

    def _check_absent(self, table: Table, keys: pa.RecordBatch, found: np.ndarray) -> None:
        if len(found):
            self._note_keys(table, keys.take(pa.array(found)))
        check_key_absent(table, keys, found)

    def _change_catalog(self, changes: dict[str, Relation | None]) -> None:
        self._wrote()
        self._catalog.update(changes)
        self._seen_catalog = None

    def _net_catalog(self, base: Catalog) -> dict[str, Relation | None]:
        """The changes that remain when what was created and dropped again is left out."""
        return {
            name: relation for name, relation in self._catalog.items() if relation is not None or name in base.relations
        }


def _differ(left: pa.RecordBatch, right: pa.RecordBatch) -> np.ndarray:
    """Rows in which two key batches differ: bool[n]."""
    different = np.zeros(left.num_rows, dtype=np.bool_)
    for a, b in zip(left.columns, right.columns, strict=True):
        plain = [x.storage if isinstance(x, pa.ExtensionArray) else x for x in (a, b)]
        different |= pc.not_equal(*plain).to_numpy(zero_copy_only=False).astype(np.bool_)
    return different
