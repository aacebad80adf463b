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
- A request that brings a key of a unique index that a group mate has touched waits for the next record (unique.py).
- A delta is turned into the row after it here, where the newest row is known: overflow is refused before the append.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from queue import Empty, SimpleQueue

from ..base.errors import Conflict, Internal, LimitExceeded, Unavailable, WeftError
from ..base.limits import TRANSACTION_BYTES_MAX, TRANSACTION_IDS_MAX
from ..storage.log import CommitLog, Outcome
from ..storage.record import Record
from . import interrupts
from .aggregates.early import early_of
from .apply import State
from .changes import UNKNOWN_OUTCOME, Commit
from .clock import sleep, wall_clock
from .conflict_index import ConflictIndex
from .group_commit import Group
from .internal import CATALOG
from .metrics import Counter
from .prepared import LOOKS_MAX, LookAgain
from .read_set import settle
from .request import DELTA_BYTES, Request
from .schema import Table
from .validation import changes_something, drops_of, validate
from .watch import Watch

GATHER_SECONDS = 0.0005
"""How long a group waits for as many requests as the last one had."""

RESOLVE_ATTEMPTS = 50
RESOLVE_PAUSE_SECONDS = 0.1


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
        self.views_not_early = Counter()
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
        self._group_early(request)
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

    def _group_early(self, request: Request) -> None:
        """Let rows of views be grouped while the request waits, is validated and logged."""
        maintained = self._state.catalog.maintained
        if any(changes.table.id in maintained for changes in request.changes):
            for changes in request.changes:
                if changes.prepared is not None:
                    views = maintained.get(changes.table.id, ())
                    early = changes.prepared.group(views)
                    self.views_not_early.add(sum(early.pieces_of(view) is None for view in views))
            request.changes = tuple(
                replace(changes, early=early_of(changes, maintained.get(changes.table.id, ())))
                for changes in request.changes
            )

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
                group = Group(version=self._state.version + 1)
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

    def _consider(self, request: Request, *, group: Group) -> None:
        """Validate one request against state and group; it joins the group, or is finished at once."""
        try:
            first = self._first_outcome(request)
            if first is not None:
                request.commit = first
                return
            self._check_room(request)
            if request.catch_up is not None:
                request.changes = request.catch_up(request)
            drops = drops_of(request, state=self._state) if request.retains else []
            if request.retains and not drops:
                request.commit = Commit(version=self._state.version, rows=0)
                return
            validate(request, state=self._state, index=self.index)
            if drops or changes_something(request):
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

    def _append(self, group: Group) -> None:
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

    def _finish(self, outcome: Outcome, *, record: Record, group: Group | None) -> None:
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


def _unknown_outcome() -> Unavailable:
    return Unavailable(
        "the commit log did not tell whether the commit was written",
        hint="Commit again with the same transaction id or writer sequence: it is applied once.",
        sqlstate=UNKNOWN_OUTCOME,
    )
