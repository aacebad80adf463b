"""The sequencer: the one writer. It decides what commits, in which order, and makes it durable before it is seen.

    callers ──► queue ──► group ──► validate ──► append (durable) ──► apply ──► publish version ──► acknowledge

There is no sequencer thread. Whoever finds the commit lock free leads: it commits those that are waiting as groups
until its own request is done, and leaves; then the first that still waits leads. Whose request is done is woken at
once: so a crowd is back with its next requests while the leader waits for the disk. A lone committer pays no
hand-over, and a crowd shares one record and one fsync.

What always holds:

- A request is validated against the state that it will be applied to; its group mates touch other rows, and those
  before it in the group touch nothing that it has read.
- Two requests of one record touch one row only as delta with delta, or blind with blind. A request that meets a row of
  a group mate otherwise waits for the next record, and is judged there; one that changes the catalog has its own.
- However many deltas of a record add to one row, the record holds one version of it.
- Rows that requests bring one by one (row_writes.py) stand in one batch per table and record.
- Nothing is acknowledged that the log did not call *appended*. On *unknown* nothing else is appended until the log
  has told what became of the record; on *fenced* the sequencer never appends again.
- A request that brings a key of a unique index that a group mate has touched waits for the next record (indexes.py).
- A delta is turned into the row after it here, where the newest row is known: overflow is refused before the append.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import Final

import pyarrow as pa

from ..base.errors import Conflict, Internal, Invalid, LimitExceeded, Unavailable, WeftError
from ..base.limits import (
    RECORD_BYTES_MAX,
    RECORD_ROWS_MAX,
    RECORD_TRANSACTIONS_MAX,
    TRANSACTION_BYTES_MAX,
    TRANSACTION_IDS_MAX,
)
from ..storage.log import CommitLog, Outcome
from ..storage.record import Action, Operation, Record, TransactionEntry
from . import interrupts
from .apply import State, named_by_id
from .catalog import encode_relation
from .cells import TableStore
from .changes import UNKNOWN_OUTCOME, Commit, WriterToken
from .clock import sleep, wall_clock
from .conflict import GroupRows, check_absent, check_unchanged, duplicate_key, row_ids_of, there
from .conflict_index import ConflictIndex
from .delta import Delta, GroupDeltas
from .indexes import UniqueKeys, check_committed
from .internal import CATALOG, FIRST_ID
from .prepared import LOOKS_MAX, LookAgain, Prepared
from .read_set import Reads, check, settle
from .retention import begin_of, boundary_batch, only_on_time, too_late
from .row_writes import RowWrites, in_columns
from .schema import Relation, Table
from .watch import Watch

DELTA_BYTES = 64
"""What a delta counts, roughly: it becomes a row where the newest is known."""

GATHER_SECONDS = 0.0005
"""How long a group waits for as many requests as the last one had."""

_NO_NAMES: Final = frozenset[tuple[str, int]]()
_NO_UNIQUE: Final[Mapping[int, set[int] | None]] = MappingProxyType({})

RESOLVE_ATTEMPTS = 50
RESOLVE_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """Primary keys (or row ids) that a READ COMMITTED transaction wrote first in a statement at ``version``.

    ``deltas``: by adding amounts, else by put or delete; a row may be here once for each.
    """

    version: int
    keys: pa.RecordBatch
    deltas: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TableChanges:
    """What one request does to one table: ``rows`` alone, or ``truncate``, ``prepared``, ``deletes``, ``puts``,
    ``deltas``, in this order.

    ``table`` is the definition that the batches were made for. ``inserts`` says that the puts' primary keys must be
    absent (blind requests; a transaction has checked that at its snapshot). ``strict`` marks a transaction's changes:
    no group mate may touch their rows. Keys of a transaction's deletes and puts are disjoint. ``prepared`` are rows in
    files, in the place of deletes and puts; such a request has a record of its own. ``firsts`` are the written keys of
    a READ COMMITTED transaction, each to be validated against its own snapshot; empty: all against the request's.
    """

    table: Table
    rows: RowWrites | None = None
    puts: tuple[pa.RecordBatch, ...] = ()
    deletes: tuple[pa.RecordBatch, ...] = ()
    deltas: tuple[Delta, ...] = ()
    inserts: bool = False
    strict: bool = False
    truncate: bool = False
    prepared: Prepared | None = None
    firsts: tuple[First, ...] = ()

    @property
    def rows_count(self) -> int:
        if self.rows is not None:
            return len(self.rows.changes)
        prepared = 0 if self.prepared is None else self.prepared.rows_count
        return sum(batch.num_rows for batch in (*self.puts, *self.deletes)) + len(self.deltas) + prepared

    @property
    def plain(self) -> bool:
        """Whether it is rows that were written one by one, or deltas, and nothing else."""
        return self.rows is not None or not (self.puts or self.deletes or self.truncate or self.prepared)

    @property
    def bytes_count(self) -> int:
        if self.rows is not None:
            return self.rows.bytes_used
        rows = sum(batch.nbytes for batch in (*self.puts, *self.deletes))
        return rows + DELTA_BYTES * len(self.deltas)

    def in_columns(self) -> TableChanges:
        """The same changes with batches in the place of ``rows``."""
        if self.rows is None:
            return self
        keys, puts = in_columns(self.table, self.rows.changes.values())
        return replace(self, rows=None, deletes=() if keys is None else (keys,), puts=() if puts is None else (puts,))


@dataclass(slots=True, kw_only=True, eq=False)
class Request:
    """One transaction or blind write that wants to commit. ``snapshot`` is None for blind ones.

    ``catalog`` holds relations by name, None for a dropped name. ``unchanged`` are tables of which no row may have
    changed since the snapshot: a new definition was checked against all of them. ``retains`` are tables whose slices
    below the boundary are to be dropped (retention.py); such a request has no changes. ``reads`` is what must not have
    changed either (read_set.py). ``catch_up`` gives the changes anew, when nothing else can commit before them
    (index_build.py). The sequencer fills in ``commit`` or ``error``.
    """

    changes: tuple[TableChanges, ...]
    catalog: Mapping[str, Relation | None] = field(default_factory=dict[str, Relation | None])
    snapshot: int | None = None
    unchanged: tuple[int, ...] = ()
    retains: tuple[int, ...] = ()
    reads: tuple[Reads, ...] = ()
    token: WriterToken | None = None
    transaction_id: str | None = None
    catch_up: Callable[[Request], tuple[TableChanges, ...]] | None = None
    commit: Commit | None = None
    error: WeftError | None = None
    absent_count: int = 0  # rows that a blind delete did not find
    late_count: int = 0  # rows that came too late, and were left out here
    left_out: int = 0  # those that the transaction has left out before
    settled_at: int = 0  # nothing that it read has changed up to this version
    refused: Conflict | None = None  # or this has
    woken: SimpleQueue[None] = field(default_factory=SimpleQueue[None])  # finished, or it is its turn to lead
    abandoned: bool = False  # nobody waits for it any more
    unique: Mapping[int, set[int] | None] = field(default_factory=lambda: _NO_UNIQUE)  # see UniqueKeys
    rows_count: int = field(init=False)
    bytes_count: int = field(init=False)
    replay_bytes: int = field(init=False)  # prepared rows that a replay of the log would have to look up
    alone: bool = field(init=False)  # its record has no other requests
    names: frozenset[tuple[str, int]] = field(init=False)  # a repeat must not join the group of its first try

    def __post_init__(self) -> None:
        self.alone = bool(self.catalog or self.retains)
        self.rows_count = self.bytes_count = self.replay_bytes = 0
        for changes in self.changes:
            self.rows_count += changes.rows_count
            self.bytes_count += changes.bytes_count
            if changes.truncate or changes.prepared is not None:
                self.alone = True
            if changes.prepared is not None:
                work = changes.prepared.install
                self.replay_bytes += work.bytes_count if work.replaces or work.keys else 0
        self.names = _NO_NAMES
        if self.token is not None:
            self.names |= {(self.token.writer, self.token.sequence)}
        if self.transaction_id is not None:
            self.names |= {(self.transaction_id, -1)}

    @property
    def finished(self) -> bool:
        return self.commit is not None or self.error is not None

    def reject(self, error: Exception) -> None:
        self.error = error if isinstance(error, WeftError) else Internal(f"{type(error).__name__}: {error}")


class _CommitLock:
    """The right to commit. Who gives it back wakes the first request that waits, for its thread to lead."""

    def __init__(self, queue: deque[Request]) -> None:
        self._lock = threading.Lock()
        self._queue = queue

    def take(self) -> bool:
        """Take it if it is free."""
        return self._lock.acquire(blocking=False)

    def give_back(self) -> None:
        self._lock.release()
        self.wake_first()

    def wake_first(self) -> None:
        """A request that is added after this finds the lock free, or held by someone who wakes it."""
        for request in list(self._queue):
            if not request.abandoned:
                request.woken.put(None)
                return

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.give_back()


class Sequencer:
    """Orders, validates, logs and applies requests. Thread-safe; see the module for how callers take turns."""

    def __init__(
        self, *, log: CommitLog, state: State, before_commit: Callable[[int], None], keeps_log: bool = True
    ) -> None:
        """``before_commit(bytes)`` waits for memory, or refuses; ``keeps_log`` is False for a database in memory."""
        self._log = log
        self._keeps_log = keeps_log
        self._state = state
        self._before_commit = before_commit
        self._queue: deque[Request] = deque()
        self._commit_lock = _CommitLock(self._queue)
        self._pause_lock = threading.Lock()
        self._pausing = False
        self._pause_over = threading.Event()
        self._watch_lock = threading.Lock()
        self.logged_bytes = 0  # rows that were logged since the last checkpoint
        self.late_rows_ignored = 0  # since the start
        self.index = ConflictIndex()
        self._crowd = 0  # requests of the last group
        self._wanted = 0  # requests that a leader waits for
        self._gathered: SimpleQueue[None] = SimpleQueue()
        self._unresolved: Record | None = None
        self._stopped: WeftError | None = None
        self._published = threading.Condition()
        self._waiting = 0  # for a version to be published
        self._listening: dict[int, tuple[threading.Event, ...]] = {}  # by table: set when a commit changed it

    def commit(self, request: Request) -> Commit:
        """Commit durably and visibly.

        Raises Conflict, Invalid, LimitExceeded, or Unavailable (also where the outcome is unknown).
        """
        self._before_commit(request.bytes_count)
        prepared = [changes for changes in request.changes if changes.prepared is not None] if request.alone else []
        for _ in range(LOOKS_MAX if prepared or request.reads else 0):
            self._settle_reads(request)
            for changes in prepared:
                store = self._state.stores.get(changes.table.id)
                if changes.prepared is not None and store is not None:
                    changes.prepared.settle(store)
            try:
                return self._commit(request)
            except LookAgain:
                request.error = None
        return self._commit(request)

    def _settle_reads(self, request: Request) -> None:
        """Look at what was read beside commits of others. It refuses none: the request may be a repeat."""
        try:
            if request.reads:
                request.settled_at = settle(request.reads, self._state, since=request.settled_at)
        except Conflict as error:
            request.refused = error

    def _commit(self, request: Request) -> Commit:
        self._queue.append(request)
        if self._wanted and len(self._queue) >= self._wanted:
            self._gathered.put(None)
        try:
            while not request.finished:
                if self._pausing:
                    self._pause_over.wait()
                if not self._commit_lock.take():
                    request.woken.get()
                    continue
                try:
                    with interrupts.deferred():  # others wait for what is led here
                        self._lead(request)
                finally:
                    self._commit_lock.give_back()
        except BaseException:  # Ctrl-C while it waited: it stays in the queue, and others must not wait for this thread
            request.abandoned = True
            self._commit_lock.wake_first()
            raise
        if request.error is not None:
            raise request.error
        assert request.commit is not None, "a led request is finished"
        return request.commit

    @contextmanager
    def paused(self) -> Generator[None]:
        """Keep commits out, as soon as those that wait are done. For work of a millisecond or two.

        At most one of each thread waits; were they passed over, one pause after the other could keep them out for ever.
        """
        with self._pause_lock:
            self._pause_over.clear()
            self._pausing = True
            try:
                with self._commit_lock:
                    with interrupts.deferred():
                        if self._queue:
                            self._lead(self._queue[-1], all_that_wait=True)
                    yield
            finally:
                self._pausing = False
                self._pause_over.set()

    def outcome_of_transaction(self, id: str, *, since: int) -> Commit | None:
        """What became of the transaction ``id``, which was begun at version ``since``; None: it has not committed.

        Raises Unavailable (08007) where nobody knows: it is long forgotten, or the log does not tell.
        """
        with self._commit_lock:
            self._settle()
            commit = self._state.outcome_of_transaction(id)
            forgotten = commit is None and self._state.may_have_forgotten(since=since)
        if forgotten:
            raise Unavailable(
                f"whether the transaction was committed is not known: {TRANSACTION_IDS_MAX:,} others have been since",
                hint="Read what it wrote, to find out.",
                sqlstate=UNKNOWN_OUTCOME,
            )
        return commit

    def wait_for(self, version: int, *, seconds: float) -> bool:
        """Wait until ``version`` is visible, at most so long; whether it is. Raises what the sequencer stopped by."""
        if self._state.version < version:
            with self._published:
                self._waiting += 1
                try:
                    self._published.wait_for(
                        lambda: self._state.version >= version or self._stopped is not None, timeout=seconds
                    )
                finally:
                    self._waiting -= 1
        if self._state.version >= version:
            return True
        if self._stopped is not None:
            raise self._stopped
        return False

    def wait_for_change(self, table: int, *, after: int, seconds: float) -> bool:
        """Wait until rows of ``table``, or the catalog, change after a version; whether they did. Raises as above.

        Commits of other tables wake nobody: waking takes longer than such a commit.
        """
        event, tables = threading.Event(), (table, CATALOG.id)
        self._listen(event, tables, begin=True)
        try:
            if not self._is_changed(tables, after) and self._stopped is None:
                event.wait(seconds)
        finally:
            self._listen(event, tables, begin=False)
        if self._is_changed(tables, after):
            return True
        if self._stopped is not None:
            raise self._stopped
        return False

    def _is_changed(self, tables: Sequence[int], after: int) -> bool:
        state = self._state
        return state.version > after and any(state.changed_at.get(table, 0) > after for table in tables)

    def _listen(self, event: threading.Event, tables: Sequence[int], *, begin: bool) -> None:
        with self._published:
            for table in tables:
                others = tuple(other for other in self._listening.get(table, ()) if other is not event)
                if begin or others:
                    self._listening[table] = (*others, event) if begin else others
                else:
                    del self._listening[table]

    def last_sequence(self, writer: str) -> int:
        """See ``State.last_sequence``."""
        with self._commit_lock:
            self._settle()
            return self._state.last_sequence(writer)

    def watch(self, table: Table) -> tuple[Watch, int]:
        """Note what commits change in ``table`` from now on; and the version at which it was changed last."""
        watch = Watch(table)
        with self.paused(), self._watch_lock:
            others = self._state.watches.get(table.id, ())
            self._state.watches[table.id] = (*others, watch)
            return watch, self._state.changed_at.get(table.id, 0)

    def unwatch(self, watch: Watch) -> None:
        """Note no more."""
        with self._watch_lock:
            others = tuple(other for other in self._state.watches.get(watch.table.id, ()) if other is not watch)
            if others:
                self._state.watches[watch.table.id] = others
            else:
                self._state.watches.pop(watch.table.id, None)

    def stop(self, error: WeftError) -> None:
        """Refuse every later request with ``error``; waits for the one under way."""
        with self._commit_lock:
            self._stopped = error
        with self._published:
            self._published.notify_all()
            for events in self._listening.values():
                for event in events:
                    event.set()

    def _lead(self, last: Request, *, all_that_wait: bool = False) -> None:
        """Commit groups until ``last`` is finished, or a pause is wanted (but for ``all_that_wait``)."""
        while not last.finished and self._queue and (all_that_wait or not self._pausing):
            taken: list[Request] = []
            if len(self._queue) < self._crowd and not all_that_wait:
                self._gather()
            try:
                self._settle()
                group = _Group(version=self._state.version + 1)
                while self._queue and group.takes(self._queue[0]):
                    taken.append(self._queue.popleft())
                    self._consider(taken[-1], group=group)
                self._crowd = len(taken)
                if group.requests:
                    self._append(group)
            except WeftError as error:
                while self._queue:
                    taken.append(self._queue.popleft())
                    taken[-1].reject(error)
            finally:
                for request in taken:
                    if request is not last or all_that_wait:  # its own thread is here
                        request.woken.put(None)

    def _gather(self) -> None:
        """Wait a moment for those that the last group answered: they are likely to come again, and share a sync."""
        self._wanted = self._crowd
        with suppress(Empty):
            if len(self._queue) < self._crowd:
                self._gathered.get(timeout=GATHER_SECONDS)
        self._wanted = 0
        while not self._gathered.empty():
            self._gathered.get()

    def _settle(self) -> None:
        """Find out what became of an *unknown* append before anything else is appended."""
        if self._stopped is not None:
            raise self._stopped
        if self._unresolved is None:
            return
        outcome = self._log.resolve()
        self._finish(outcome, record=self._unresolved, group=None)
        if outcome is Outcome.UNKNOWN:
            raise _unknown_outcome()
        if self._stopped is not None:
            raise self._stopped

    def _consider(self, request: Request, *, group: _Group) -> None:
        """Validate one request against state and group; it joins the group, or is finished at once."""
        try:
            first = self._first_outcome(request)
            if first is not None:
                request.commit = first
                return
            self._check_room(request)
            if request.catch_up is not None:
                request.changes = request.catch_up(request)
            drops = _drops(request, state=self._state) if request.retains else []
            if request.retains and not drops:
                request.commit = Commit(version=self._state.version, rows=0)
                return
            _validate(request, state=self._state, index=self.index)
            if drops or _changes_something(request):
                group.add(request, drops=drops, state=self._state)
            else:
                request.commit = Commit(version=self._state.version, rows=0)
            self.late_rows_ignored += request.late_count + request.left_out
        except Exception as error:  # a bug in validation must fail its request, not the leader's
            request.reject(error)

    def _first_outcome(self, request: Request) -> Commit | None:
        if request.token is not None:
            return self._state.outcome_of_batch(request.token.writer, request.token.sequence)
        if request.transaction_id is not None:
            return self._state.outcome_of_transaction(request.transaction_id)
        return None

    def _check_room(self, request: Request) -> None:
        """Raise LimitExceeded for too much in memory: what spills (spill.py) is not counted here, deltas are."""
        size = request.bytes_count
        if size > TRANSACTION_BYTES_MAX:
            deltas = sum(len(changes.deltas) for changes in request.changes)
            raise LimitExceeded(
                f"the commit holds {size:,} bytes in memory, with {deltas:,} rows that add changed; at most "
                f"{TRANSACTION_BYTES_MAX:,} can commit at once",
                hint=f"Add to at most {TRANSACTION_BYTES_MAX // DELTA_BYTES:,} rows at once. Rows that are put, "
                "inserted, updated or deleted may be more: they spill to the disk.",
            )

    def _append(self, group: _Group) -> None:
        try:
            record = Record(
                version=group.version,
                wall_clock=wall_clock(),
                transactions=tuple(group.transactions),
                operations=(*group.operations, *group.row_operations(), *group.delta_operations()),
            )
            outcome = self._log.append(record)
            for _ in range(RESOLVE_ATTEMPTS):
                if outcome is not Outcome.UNKNOWN:
                    break
                sleep(RESOLVE_PAUSE_SECONDS)
                outcome = self._log.resolve()
            self._finish(outcome, record=record, group=group)
        except Exception as error:
            for request in group.requests:
                request.reject(self._stopped or error)
        finally:
            if self._unresolved is None:
                self._state.ends.clear()

    def _finish(self, outcome: Outcome, *, record: Record, group: _Group | None) -> None:
        """Do what the log's outcome asks for. ``group`` is None where those that wait have been answered before."""
        requests = [] if group is None else group.requests
        match outcome:
            case Outcome.APPENDED:
                self._unresolved = None
                self._apply(record)
                for table in {operation.table for operation in record.operations}:
                    if group is None or not group.note(table, self.index):
                        self.index.forget(table)
                if not self._keeps_log:
                    self._log.trim(before=self._log.tail())
                for request, entry in zip(requests, record.transactions, strict=False):
                    self.logged_bytes += request.bytes_count + request.replay_bytes
                    request.commit = Commit(version=record.version, rows=entry.rows_count)
            case Outcome.FENCED:
                self._unresolved = None
                self._stopped = Unavailable(
                    "another sequencer has taken over the commit log",
                    hint="This process reads on, but commits nothing any more: connect to the new one.",
                )
                for request in requests:
                    request.reject(self._stopped)
            case Outcome.UNKNOWN:
                self._unresolved = record
                for request in requests:
                    request.reject(_unknown_outcome())

    def _apply(self, record: Record) -> None:
        """Apply what is in the log. A failure here is a bug of ours: nothing of it is visible, and nothing follows."""
        try:
            self._state.apply(record)
        except BaseException as error:
            self._stopped = Internal(
                f"version {record.version} is in the commit log, but could not be applied ({type(error).__name__})",
                hint="Close the database and open it again; please report this.",
            )
            raise self._stopped from error
        if self._waiting:
            with self._published:
                self._published.notify_all()
        if self._listening:
            for table in {operation.table for operation in record.operations}:
                for event in self._listening.get(table, ()):
                    event.set()


class _Group:
    """The requests of one record, and the rows that they touch."""

    def __init__(self, *, version: int) -> None:
        self.version = version
        self.requests: list[Request] = []
        self.transactions: list[TransactionEntry] = []
        self.operations: list[Operation] = []
        self.rows = GroupRows()
        self.unique = UniqueKeys()
        self._deltas = GroupDeltas()
        self._single: dict[int, tuple[Table, int]] = {}  # tables of ``rows.single``, and who was the last to write
        self._names: set[tuple[str, int]] = set()
        self._rows_count = 0
        self._bytes_count = 0
        self._closed = False

    def takes(self, request: Request) -> bool:
        """Whether the request may join; one that may not waits for the next group."""
        if not self.requests:
            return True
        if (
            self._closed
            or request.alone
            or len(self.requests) >= RECORD_TRANSACTIONS_MAX
            or self._rows_count + request.rows_count > RECORD_ROWS_MAX
            or self._bytes_count + request.bytes_count > RECORD_BYTES_MAX
            or not self._names.isdisjoint(request.names)
        ):
            return False
        for changes in request.changes:
            if not (self.rows.admits(changes, blind=request.snapshot is None) and self.unique.admits(changes)):
                return False
        return not request.reads or all(map(self.rows.spares, request.reads))

    def add(self, request: Request, *, drops: Sequence[Operation] = (), state: State) -> None:
        """Add the operations of a validated request; its deltas are resolved here, and may still refuse it."""
        ordinal = len(self.requests)
        deltas = [(changes.table, changes.deltas) for changes in request.changes if changes.deltas]
        if deltas:
            self._deltas.take(deltas, ordinal=ordinal, state=state)
        if request.catalog:
            self.operations.extend(_catalog_operations(request.catalog, ordinal=ordinal))
        self.operations.extend(drops)
        self._closed = request.alone
        for changes in request.changes:
            if changes.rows is not None:
                self._single[changes.table.id] = changes.table, ordinal
            else:
                self.operations.extend(_row_operations(changes, ordinal=ordinal))
            self.rows.add(changes)
        if request.unique:
            self.unique.add(request.unique)
        self.requests.append(request)
        if request.names:
            self._names |= request.names
        self.transactions.append(
            TransactionEntry(
                ordinal=ordinal,
                id=request.transaction_id,
                writer=None if request.token is None else request.token.writer,
                sequence=None if request.token is None else request.token.sequence,
                rows_count=request.rows_count - request.absent_count - request.late_count,
            )
        )
        self._rows_count += request.rows_count
        self._bytes_count += request.bytes_count

    def row_operations(self) -> Iterator[Operation]:
        """The rows that requests wrote one by one: each is written by one of them."""
        for table, ordinal in self._single.values():
            keys, rows = in_columns(table, self.rows.single[table.id].values())
            if keys is not None:
                yield _operation(table, Action.DELETE, keys, ordinal=ordinal)
            if rows is not None:
                yield _operation(table, Action.PUT, rows, ordinal=ordinal)

    def note(self, table: int, index: ConflictIndex) -> bool:
        """Note which rows of the table the group has changed; False: some came as batches."""
        if any(operation.table == table for operation in self.operations):
            return False
        index.note(table, settled=self.rows.single.get(table, {}), added=self._deltas.keys(table), version=self.version)
        return True

    def delta_operations(self) -> list[Operation]:
        """What the deltas of all requests come to: behind all else, since no other rows of the group meet theirs."""
        return [
            _operation(table, Action.PUT, rows, ordinal=ordinal, delta=True)
            for table, ordinal, rows in self._deltas.rows()
        ]


def _changes_something(request: Request) -> bool:
    """Whether there is anything left to log, if only that the request was made."""
    if request.catalog or request.names:
        return True
    for item in request.changes:
        if item.rows or item.puts or item.deletes or item.deltas or item.truncate or item.prepared:
            return True
    return False


def _validate(request: Request, *, state: State, index: ConflictIndex) -> None:
    """Raise what refuses the request at this place in the order."""
    if request.catalog and request.snapshot is not None and state.catalog.version > request.snapshot:
        raise Conflict(
            "another transaction changed the catalog since this one began",
            hint="Retry the transaction.",
            kind="definition",
        )
    for id in request.unchanged:
        if request.snapshot is not None and state.changed_at.get(id, 0) > request.snapshot:
            table = state.catalog.by_id.get(id)
            raise Conflict(
                "rows were written while the table's definition was checked against them",
                hint="Retry.",
                table=None if table is None else table.name,
            )
    if request.refused is not None:
        raise request.refused
    if request.reads:
        check(request.reads, state, since=request.settled_at)
    judged: list[TableChanges] = []
    for changes in request.changes:
        if changes.plain and changes.table.keep is None and state.catalog.by_id.get(changes.table.id) is changes.table:
            _validate_plain(changes, state.stores[changes.table.id], request=request, state=state, index=index)
            judged.append(changes)
            continue
        _check_schema(changes.table, request=request, state=state)
        changes = changes.in_columns()
        store = state.stores.get(changes.table.id) or TableStore(changes.table)  # new: created by this request
        if changes.prepared is not None:
            store.check_slices(changes.prepared.slices)
            changes.prepared.last_look(store)
            _refuse_late(changes.prepared, store, request=request)
            state.ends[changes.table.id] = changes.prepared.ends
            request.absent_count += changes.prepared.absent_count
        if request.snapshot is not None and state.changed_at.get(changes.table.id, 0) > request.snapshot:
            check_unchanged(store, changes, snapshot=request.snapshot, index=index)
        changes = _without_late(changes, store, request=request)
        if request.snapshot is None and changes.inserts:
            check_absent(store, changes)
        elif request.snapshot is None:
            request.absent_count += sum(int((~store.newest(keys).alive).sum()) for keys in changes.deletes)
        for batch in changes.puts:
            store.check_bounds(batch)
        if changes.table.unique and (changes.puts or changes.deletes):
            touched = check_committed(store, state.stores, changes, snapshot=request.snapshot)
            request.unique = {**request.unique, **touched}
        judged.append(changes)
    request.changes = tuple(judged)


def _validate_plain(
    changes: TableChanges, store: TableStore, *, request: Request, state: State, index: ConflictIndex
) -> None:
    """The same for plain changes of a table that is still defined as it was, and keeps all slices."""
    if request.snapshot is not None and state.changed_at.get(changes.table.id, 0) > request.snapshot:
        check_unchanged(store, changes, snapshot=request.snapshot, index=index)
    if changes.rows is None:
        return
    for change in changes.rows.changes.values() if request.snapshot is None else ():
        if changes.inserts and store.get(change.key, version=state.version) is not None:
            raise duplicate_key(changes.table, change.key, row=0)
        request.absent_count += change.row is None and store.get(change.key, version=state.version) is None
    if store.layout.sliced:
        store.check_slices(changes.rows.slices)


def _without_late(changes: TableChanges, store: TableStore, *, request: Request) -> TableChanges:
    """The changes without rows that come too late, which the request counts. Raises Invalid where they are refused.

    Conflicts come first: a transaction whose rows were dropped meanwhile can try again, and will not see them.
    """
    store = _as_defined(store, request)
    boundary = store.boundary(wall=wall_clock())
    if boundary is None or not (changes.puts or changes.deltas):
        return changes
    changes, late = only_on_time(changes, store.layout, boundary, there=there(store, changes))
    request.late_count += late
    return changes


def _refuse_late(prepared: Prepared, store: TableStore, *, request: Request) -> None:
    """Raise Invalid for prepared rows of a slice that is not kept: they are too many to be looked at one by one.

    A transaction's rows may be new versions of those that are there, which is not late. What is to be ignored is
    installed, and dropped with the next slices.
    """
    store = _as_defined(store, request)
    boundary = store.boundary(wall=wall_clock())
    if boundary is None or store.table.late != "refuse":
        return
    late = {slice for slice in prepared.slices if slice < boundary}
    if late and request.snapshot is not None:
        late -= store.slices_below(boundary)
    if late:
        raise too_late(store.table, begin_of(store.table, min(late)), boundary, which="a slice of rows")


def _as_defined(store: TableStore, request: Request) -> TableStore:
    """The store under the definition that the request itself gives its table, if it does."""
    definition = request.catalog.get(store.table.name)
    if isinstance(definition, Table) and definition.id == store.table.id and definition is not store.table:
        return store.with_definition(definition)
    return store


def _drops(request: Request, *, state: State) -> list[Operation]:
    """The operations that drop what the request's tables do not keep any more."""
    operations: list[Operation] = []
    for id in request.retains:
        table, store = state.catalog.by_id.get(id), state.stores.get(id)
        if not isinstance(table, Table) or store is None:  # dropped meanwhile
            continue
        boundary = store.boundary(wall=wall_clock())
        if boundary is not None and store.slices_below(boundary):
            operations.append(
                Operation(
                    ordinal=0,
                    table=id,
                    schema_version=table.schema_version,
                    action=Action.DROP_SLICES,
                    batch=boundary_batch(boundary),
                )
            )
    return operations


def _check_schema(table: Table, *, request: Request, state: State) -> None:
    if table.id < FIRST_ID or table.index_of is not None or request.catalog.get(table.name) is not None:
        return
    current = state.catalog.by_id.get(table.id)
    if current is None:
        raise Invalid(f'table "{table.name}" was dropped meanwhile', sqlstate="42P01")
    assert isinstance(current, Table), current
    if current.schema_version != table.schema_version:
        raise Conflict(
            f'the columns of table "{table.name}" were changed meanwhile',
            hint="Retry.",
            kind="definition",
            table=table.name,
        )


def _catalog_operations(changes: Mapping[str, Relation | None], *, ordinal: int) -> list[Operation]:
    dropped = [name for name, relation in changes.items() if relation is None]
    made = [relation for relation in changes.values() if relation is not None]
    operations: list[Operation] = []
    if dropped:
        keys = pa.RecordBatch.from_arrays([pa.array(dropped, pa.utf8())], schema=pa.schema([CATALOG.arrow_schema[0]]))
        operations.append(_operation(CATALOG, Action.DELETE, keys, ordinal=ordinal))
    if made:
        rows = pa.RecordBatch.from_pylist(
            [{"name": item.name, "id": item.id, "definition": encode_relation(item)} for item in made],
            schema=CATALOG.arrow_schema,
        )
        operations.append(_operation(CATALOG, Action.PUT, rows, ordinal=ordinal))
    return operations


def _row_operations(changes: TableChanges, *, ordinal: int) -> list[Operation]:
    table = changes.table
    operations: list[Operation] = []
    if changes.truncate:
        empty = pa.RecordBatch.from_pylist([], schema=pa.schema([]))
        operations.append(_operation(table, Action.TRUNCATE, empty, ordinal=ordinal))
    if changes.prepared is not None:
        install = Operation(
            ordinal=ordinal,
            table=table.id,
            schema_version=table.schema_version,
            action=Action.INSTALL,
            batch=changes.prepared.install.batch(),
        )
        operations.append(install)
    operations += [_operation(table, Action.DELETE, keys, ordinal=ordinal) for keys in changes.deletes]
    operations += [_operation(table, Action.PUT, rows, ordinal=ordinal) for rows in changes.puts]
    return operations


def _operation(table: Table, action: Action, batch: pa.RecordBatch, *, ordinal: int, delta: bool = False) -> Operation:
    return Operation(
        ordinal=ordinal,
        table=table.id,
        schema_version=table.schema_version,
        action=action,
        batch=named_by_id(batch, row_ids_of(table, batch)),
        delta=delta,
    )


def _unknown_outcome() -> Unavailable:
    return Unavailable(
        "the commit log did not tell whether the commit was written",
        hint="Commit again with the same transaction id or writer sequence: it is applied once.",
        sqlstate=UNKNOWN_OUTCOME,
    )
