"""``apply``: the one function from log to state, and the state that it makes.

    state(version) = apply(... apply(apply(empty, record 1), record 2) ..., record version)

It depends on the state and the record alone: no clock, no randomness, no order of threads, and it cannot fail, since
every outcome was decided before the record was appended. Recovery, replicas and tests replay the same function; two
engines that are fed one log have the same logical content at every version.

Always true:

- ``version`` is published last: whoever reads at it finds all of its rows, catalog and aggregates.
- A catalog, once made, is never changed; ``catalog_at`` finds the one that was current at a version.
- Stores are found by object identifier; a dropped table's store stays until no snapshot and no history needs it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from ..base.errors import Closed, Internal
from ..base.limits import TRANSACTION_IDS_MAX, WRITER_BATCHES_IN_FLIGHT, WRITER_ROWS_BITS, WRITERS_MAX
from ..storage.record import Action, Operation, Record, TransactionEntry
from . import indexes
from .aggregates import maintain
from .aggregates.definition import Maintained
from .aggregates.difference import Difference
from .aggregates.early import ROWS_MIN, Early, EarlyLoad
from .aggregates.maintain import Cost, Served
from .beside import Task
from .catalog import EMPTY, Catalog, decode_relation, stored_of
from .cells import TableStore
from .changes import TAKEN_OVER, Commit, writer_opened, writer_rows
from .clock import VersionClock, monotonic
from .horizon import Horizon
from .indexes import Change
from .install import NEWEST, Ends, Install, ending_keys, install
from .internal import CATALOG, FIRST_ID, INTERNAL, NAMED, POSITIONS, FeedPosition, Item, NamedSnapshot, decode_rows
from .overlay import OPEN
from .projection import Projection
from .retention import boundary_in
from .schema import Index, Relation, Table
from .segment import Segment
from .segment_files import SegmentFiles
from .watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A table that is gone since ``version``, at wall clock ``wall`` (microseconds)."""

    id: int
    version: int
    wall: int


class State:
    """Everything that is derived from the log. One writer (the sequencer) calls ``apply``; readers take no lock."""

    def __init__(self) -> None:
        self.version = 0
        self.clock = VersionClock()
        self.stores: dict[int, TableStore] = {table.id: TableStore(table) for table in INTERNAL}
        self.changed_at: dict[int, int] = {}  # table → version of its last change of rows
        self.next_id = FIRST_ID
        self.dropped: deque[Dropped] = deque()
        self.files: SegmentFiles | None = None  # where prepared rows are read from
        self.installed: list[Segment] = []  # prepared segments that no checkpoint has yet
        self.key_files: list[int] = []  # of keys that those transactions deleted
        self.watches: dict[int, tuple[Watch, ...]] = {}  # by table: who wants to know what changes
        self.ends: dict[int, Ends] = {}  # by table: rows that the next INSTALL ends, see install.py
        self.catalogs: list[Catalog] = [EMPTY]
        self.writers: OrderedDict[str, deque[tuple[int, Commit]]] = OrderedDict()
        self.transaction_ids: OrderedDict[str, Commit] = OrderedDict()
        self.named: dict[str, NamedSnapshot] = {}  # by name, see named.py; replaced, never changed
        self.named_versions: frozenset[int] = frozenset()  # those that are pinned
        self.costs: dict[int, Cost] = {}  # since the start, by table of groups; nothing depends on it
        self.served: dict[int, Served] = {}  # the same of reads
        self.positions: dict[str, FeedPosition] = {}  # of feeds, by name, see positions.py; replaced, never changed

    @property
    def catalog(self) -> Catalog:
        """The newest catalog."""
        return self.catalogs[-1]

    def catalog_at(self, version: int) -> Catalog:
        """The catalog that was current at ``version``."""
        catalogs = self.catalogs
        if version >= catalogs[-1].version:
            return catalogs[-1]
        return catalogs[bisect_right(catalogs, version, key=lambda catalog: catalog.version) - 1]

    def apply(self, record: Record) -> None:
        """Bring the state from ``record.version - 1`` to ``record.version``."""
        if record.version != self.version + 1:
            raise Internal(f"record {record.version} does not follow version {self.version}")
        self._apply_catalog(record)
        self._apply_named(record)
        logged = {operation.table for operation in record.operations}
        for operation in record.operations:
            self._apply_rows(operation, version=record.version, wall=record.wall_clock, logged=logged)
        for transaction in record.transactions:
            self._remember(transaction, version=record.version)
        self.clock.record(wall=record.wall_clock, version=record.version)
        self.version = record.version

    def outcome_of_batch(self, writer: str, sequence: int) -> Commit | None:
        """The first outcome of a writer's batch; None when it was not applied yet.

        A batch older than the remembered ones was applied, too, since sequences grow: its outcome is that of the
        oldest remembered. Raises Closed where another writer of this name was opened since.
        """
        outcomes = self.writers.get(writer)
        if not outcomes or sequence > outcomes[-1][0]:
            return None
        if writer_opened(sequence) < writer_opened(outcomes[-1][0]):
            raise Closed(
                f'another writer named "{writer}" was opened since',
                hint="There is one of a name at a time. Open it again to go on, from its sequence.",
                sqlstate=TAKEN_OVER,
            )
        for known, commit in outcomes:
            if known >= sequence:
                return commit
        return None

    def last_sequence(self, writer: str) -> int:
        """How often the writer was opened, and how many rows it was given, as a sequence number."""
        known = [sequence for sequence, _ in self.writers.get(writer, ())]
        return max(map(writer_opened, known), default=0) << WRITER_ROWS_BITS | max(map(writer_rows, known), default=0)

    def outcome_of_transaction(self, id: str) -> Commit | None:
        """The first outcome of the transaction with this id; None when it did not commit (or is long forgotten)."""
        return self.transaction_ids.get(id)

    def unreadable(self, horizon: Horizon) -> list[Dropped]:
        """The dropped tables that nobody can read any more. Keep the writer out."""
        seen = {id for pin in horizon.pins.tolist() for id in self.catalog_at(pin).stored}
        return [item for item in self.dropped if item.version <= horizon.of(item.id).limit and item.id not in seen]

    def may_have_forgotten(self, *, since: int) -> bool:
        """Whether a transaction that committed after version ``since`` may have lost its place among the ids."""
        oldest = next(iter(self.transaction_ids.values()), None)
        return len(self.transaction_ids) >= TRANSACTION_IDS_MAX and oldest is not None and oldest.version > since

    def release_dropped(self, dropped: Sequence[Dropped]) -> None:
        """Let go of tables that are ``unreadable``. Keep the writer out."""
        for item in dropped:
            self.dropped.remove(item)
            self.changed_at.pop(item.id, None)
            self.costs.pop(item.id, None)
            self.served.pop(item.id, None)
            del self.stores[item.id]

    def note_served(self, view: Table, *, groups: int) -> None:
        """Somebody reads ``groups`` groups of a view, given as their table, and not the rows that they are made of."""
        served = self.served.get(view.id)
        if served is None:
            served = self.served.setdefault(view.id, Served())
        base = None if view.derived_from is None else self.stores.get(view.derived_from)
        served.add(0 if base is None else base.rows_count - groups)

    def forget(self, horizon: Horizon) -> None:
        """Forget the catalogs that nobody can read at any more, and the times before history. Keep the writer out.

        Times of pinned versions that are older go, too: one old named snapshot must not keep those of all since.
        """
        begins = np.array([catalog.version for catalog in self.catalogs], np.int64)
        dead = horizon.of(*horizon.feeds).dead(begins, np.append(begins[1:], OPEN))
        if dead.any():
            self.catalogs = [catalog for catalog, gone in zip(self.catalogs, dead.tolist(), strict=True) if not gone]
        self.clock.forget(before=horizon.limit)

    def _apply_rows(
        self, operation: Operation, *, version: int, wall: int, logged: Container[int] = frozenset()
    ) -> None:
        """``logged``: the tables that the record has operations for. A large transaction brings entries of its own.

        What follows from the operation is derived, and applied, before the rows that go are gone.
        """
        store = self.stores[operation.table]
        views = self.catalog.maintained.get(operation.table, ())
        following: list[Task[None]] = []
        if views or store.table.indexes:
            following = self._derive(store, views, operation, version=version, wall=wall)
        self.changed_at[operation.table] = version
        match operation.action:
            case Action.PUT:
                store.apply_put(operation.batch, version=version, wall=wall, delta=operation.delta, by_id=True)
            case Action.DELETE:
                store.apply_delete(operation.batch, version=version, by_id=True)
            case Action.TRUNCATE:
                store.apply_truncate(version=version)
            case Action.DROP_SLICES:
                store.apply_drop_slices(boundary_in(operation.batch), version=version)
            case Action.INSTALL:
                self._apply_install(store, views, operation, version=version, wall=wall, logged=logged)
        _finish(following)
        for watch in self.watches.get(operation.table, ()):
            watch.note(operation)

    def _apply_install(
        self, store: TableStore, views: Sequence[Maintained], operation: Operation, *, version: int, wall: int,
        logged: Container[int],
    ) -> None:  # fmt: skip
        """Rows of a large transaction. What they add to views was found out before, unless the log is replayed."""
        assert self.files is not None, "prepared rows are in files"
        ends = self.ends.pop(operation.table, None)
        work = Install.of(operation.batch)
        derive = [index for index in store.table.indexes if index.id not in logged]
        if derive or views:  # the rows that end are looked up anew, before they do
            for keys in ending_keys(store, work, version=version, files=self.files):
                gone = indexes.gone(store, keys, self._columns_of(store, views))
                _finish(self._follow(gone, derive, views, version=version, wall=wall))
        segments = install(store, work, version=version, files=self.files, ends=ends)
        self.installed += segments
        self.key_files += work.key_files
        left = list(views)
        if ends is not None and ends.early is not None:
            left = self._keep_load(ends.early, views, version=version)
        columns = self._columns_of(store, views)
        projection = Projection([store.layout.by_id[id] for id in columns])
        for segment in segments if derive or left else ():
            for rows in segment.batches(projection, NEWEST):
                new = indexes.come(store.table, rows, columns)
                _finish(self._follow(new, derive, left, version=version, wall=wall))
        store.count_times(np.array([rows.time_high for rows in work.rows], np.int64), wall=wall)

    def _keep_load(self, early: EarlyLoad, views: Sequence[Maintained], *, version: int) -> list[Maintained]:
        """Apply what rows of a large transaction add to views; returns the views of which that is not known."""
        known = [(view, pieces) for view in views if (pieces := early.pieces_of(view)) is not None]
        known = [(view, pieces) for view, pieces in known if not self._is_followed(view)]

        def keep(view: Maintained, pieces: Sequence[Difference]) -> None:
            began = monotonic()
            for piece in pieces:
                changed = maintain.add(piece, self.stores, view, version=version)
                self.changed_at.update(dict.fromkeys(changed, version))
            cost = self.costs.setdefault(view.id, Cost())
            cost.rows += early.rows_count
            cost.seconds += monotonic() - began + early.seconds

        _finish([Task(partial(keep, view, pieces)) for view, pieces in known])
        return [view for view in views if all(view is not other for other, _ in known)]

    def _is_followed(self, view: Maintained) -> bool:
        """Whether somebody has to know of each change of the view's groups."""
        return bool(self.watches.get(view.id))

    def _derive(
        self, store: TableStore, views: Sequence[Maintained], operation: Operation, *, version: int, wall: int
    ) -> list[Task[None]]:
        """What an operation on a table, about to be applied, does to its indexes and views. INSTALL: see above.

        Returns what is left to do of it.
        """
        if operation.action is Action.TRUNCATE:
            tables = [table.id for view in views for table in view.tables]
            for id in (*(index.id for index in store.table.indexes), *tables):
                self._apply_rows(replace(operation, table=id, schema_version=1), version=version, wall=wall)
            return []
        retaining = [view for view in views if view.forgotten and operation.action is Action.DROP_SLICES]
        others = [view for view in views if view not in retaining]
        left: list[Task[None]] = []
        for change in indexes.changes(store, operation, self._columns_of(store, views)):
            _finish(left)
            left = self._follow(
                change,
                store.table.indexes,
                others,
                version=version,
                wall=wall,
                ordinal=operation.ordinal,
                early=operation.early,
            )
            for view in retaining:
                maintain.forget(change, self.stores, view, version=version)
                self.changed_at.update(dict.fromkeys(view.forgotten, version))
        return left

    def _follow(
        self, change: Change, entries: Sequence[Index], views: Sequence[Maintained], *, version: int, wall: int,
        ordinal: int = 0, early: Early | None = None,
    ) -> list[Task[None]]:  # fmt: skip
        """Apply what a change of rows does to indexes and views. Groups that somebody follows change as rows do.

        Returns what is left to do of it: views of many rows, which touch nothing but their own groups.
        """
        for operation in indexes.operations(change, self.stores, entries, ordinal=ordinal):
            self._apply_rows(operation, version=version, wall=wall)
        left: list[Task[None]] = []
        for view in views:
            if self._is_followed(view):
                began = monotonic()
                for operation in maintain.operations(change, self.stores, view, ordinal=ordinal):
                    self._apply_rows(operation, version=version, wall=wall)
                self.costs.setdefault(view.id, Cost()).add(change, monotonic() - began)
            elif change.old.num_rows + change.new.num_rows < ROWS_MIN:
                self._keep(view, change, early, version=version)
            else:
                left.append(Task(partial(self._keep, view, change, early, version=version)))
        return left

    def _keep(self, view: Maintained, change: Change, early: Early | None, *, version: int) -> None:
        """Apply what a change of rows does to a view."""
        moved, seconds = maintain.apply(change, self.stores, view, version=version, early=early)
        self.changed_at.update(dict.fromkeys(moved, version))
        self.costs.setdefault(view.id, Cost()).add(change, seconds)

    def _columns_of(self, store: TableStore, views: Sequence[Maintained]) -> tuple[int, ...]:
        return tuple(dict.fromkeys((*indexes.columns_needed(store.table), *maintain.columns_needed(views))))

    def _apply_catalog(self, record: Record) -> None:
        """Make the next catalog, and the stores of new tables, before the record's rows need them.

        All changes count at once: a RENAME is a deletion and a put of one identifier, and drops nothing.
        """
        changes: dict[str, Relation | None] = {}
        for operation in record.operations:
            if operation.table != CATALOG.id:
                continue
            if operation.action is Action.DELETE:
                changes.update(dict.fromkeys(operation.batch.column(0).to_pylist()))
            else:
                relations = (decode_relation(text) for text in operation.batch.column(2).to_pylist())
                changes.update({relation.name: relation for relation in relations})
        if not changes:
            return
        before = self.catalog
        after = before.changed(changes, version=record.version)
        self.catalogs.append(after)
        for relation in changes.values():
            if relation is not None:
                self.next_id = max(self.next_id, relation.id + 1)
            for table in () if relation is None else stored_of(relation):
                store = self.stores.get(table.id)
                self.stores[table.id] = TableStore(table) if store is None else store.with_definition(table)
                self.next_id = max(self.next_id, table.id + 1)
        for id in before.stored:
            if id not in after.stored:
                self.dropped.append(Dropped(id=id, version=record.version, wall=record.wall_clock))

    def _apply_named(self, record: Record) -> None:
        """Pin and release what has a name: versions of snapshots, positions of feeds."""
        if (named := _changed(self.named, NamedSnapshot, record, NAMED)) is not None:
            self.set_named(named.values())
        if (positions := _changed(self.positions, FeedPosition, record, POSITIONS)) is not None:
            self.positions = positions

    def set_named(self, snapshots: Iterable[NamedSnapshot]) -> None:
        """These are the named snapshots from now on."""
        self.named = {snapshot.name: snapshot for snapshot in snapshots}
        self.named_versions = frozenset(item.version for item in self.named.values() if item.lost is None)

    def is_behind(self, position: FeedPosition) -> bool:
        """Whether a feed's table changed after its position."""
        return self.changed_at.get(position.table, 0) > position.version

    @property
    def kept_after(self) -> dict[int, int]:
        """By table the version after which nothing may be dropped, since a feed has not come to it."""
        kept: dict[int, int] = {}
        for item in list(self.positions.values()):
            if item.lost is None and self.is_behind(item):
                kept[item.table] = min(item.version, kept.get(item.table, item.version))
        return kept

    def _remember(self, transaction: TransactionEntry, *, version: int) -> None:
        if transaction.id is None and transaction.writer is None:
            return
        commit = Commit(version=version, rows=transaction.rows_count)
        if transaction.id is not None:
            self.transaction_ids[transaction.id] = commit
            if len(self.transaction_ids) > TRANSACTION_IDS_MAX:
                self.transaction_ids.popitem(last=False)
        if transaction.writer is not None and transaction.sequence is not None:
            outcomes = self.writers.setdefault(transaction.writer, deque(maxlen=2 * WRITER_BATCHES_IN_FLIGHT))
            outcomes.append((transaction.sequence, commit))
            self.writers.move_to_end(transaction.writer)
            if len(self.writers) > WRITERS_MAX:
                self.writers.popitem(last=False)


def _finish(tasks: Sequence[Task[None]]) -> None:
    """Do the last ones here: helpers begin with the first."""
    for task in reversed(tasks):
        task.result()


def _changed(known: dict[str, Item], kind: type[Item], record: Record, table: Table) -> dict[str, Item] | None:
    """What has a name, after the record; None where it says nothing of it."""
    operations = [operation for operation in record.operations if operation.table == table.id]
    if not operations:
        return None
    after = dict(known)
    for operation in operations:
        if operation.action is Action.DELETE:
            for name in operation.batch.column(0).to_pylist():
                after.pop(name, None)
        else:
            after.update({item.name: item for item in decode_rows(kind, operation.batch)})
    return after


def named_by_id(batch: pa.RecordBatch, ids: list[int]) -> pa.RecordBatch:
    """The batch as log records hold it: fields named by column identifier."""
    return batch.rename_columns([str(id) for id in ids])
