"""Maintenance: what turns memtables into segments, segments into fewer segments, and the log into a short one.

    flush     freeze all memtables at one version ──► one file with a segment per cell ──► manifest ──► swap ──► trim
    hold      a checkpoint whose files stay, whatever is merged meanwhile: for backups and checks
    compact   some segments of one cell ──► one segment without dead rows ──► manifest ──► swap
    retain    ask the sequencer to drop the slices that tables do not keep any more (retention.py)
    sampler   recompute a random group of a view (aggregates/sample.py)
    limit     give up named snapshots and feeds that keep too many bytes (named.py, positions.py)
    release   dropped tables, slices and segments that nobody can read any more: out of the manifest, files away
    tidy      files of which little is needed: what is needed moves into a new one (tidying.py)
    rest      nobody commits: merge what is cold then, tidy thoroughly, give back what the log does not use

A flush is a checkpoint: the manifest then holds all that ``apply`` made up to the version, and the log is trimmed to
it. So no slow cell pins the log, and a restart reads the manifest and replays what came after.

What always holds:

- Files are synced before the manifest names them, and removed after it names them no more: a crash at any instruction
  leaves the old state or the new one, and perhaps files that nobody names, which opening removes.
- The manifest never says more than its checkpoint: overlays are written up to that version, and no merge drops a row
  that ended after it. So replaying the log on top meets what it met the first time.
- The writer is kept out twice for a moment, to freeze and to swap. Rows that end in between are noted by the frozen
  part (``late``) and end in the new segment when it is swapped in.
- A failure (a full disk) changes nothing: frozen memtables stay readable and are sealed by the next flush.
- The log keeps the entry of the checkpoint: a backup takes it along, and the log of a restored database goes on from
  it. What is trimmed was archived before, where there is an archive.

Two threads do this: one flushes, one does the rest, so that a long merge holds up no flush. All of it can be called
directly, too, and then happens at once.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import numpy as np

from ..base.errors import Closed, Corrupt, NotFound, Unavailable, WeftError
from ..base.limits import SLICES_OPEN_MAX
from ..storage.archive import Archive
from ..storage.files import FileWriter, Throttle
from ..storage.log import CommitLog, Entry
from ..storage.record import Action
from ..storage.segment import SegmentWriter
from ..storage.storage import Storage
from .aggregates.sample import Sampler
from .apply import State
from .catalog import Catalog
from .cell import Cell
from .cells import TableStore
from .checkpoint import capture
from .clock import monotonic, wall_clock
from .column_store import VariableColumn
from .compaction import COLD_CHECKPOINTS, Candidate, dead_rows, pick
from .horizon import Horizon
from .install import Install
from .layout import Layout
from .memory import Budget
from .memtable import Memtable
from .merge import Input, merge
from .merge import block_rows_of as merged_block_rows
from .named import NamedSnapshots
from .options import Options
from .overlay import OPEN, Overlay
from .part import Part
from .positions import Positions
from .request import Request
from .schema import Column, Table
from .seal import Pause, block_rows_of, seal
from .segment import Description, Section, Segment
from .segment_files import SegmentFiles
from .sequencer import Sequencer
from .snapshot import Pins, Snapshot
from .tidying import moved, touches, wasteful_files

CHECK_BYTES: Final = 1 << 20
"""A commit looks whether a flush is due whenever so many bytes were committed since it last looked."""

SEAL_ROW_BYTES: Final = 48
"""Begin and end versions, sorting (see seal.py), the permutation: what a row takes while its memtable is sealed."""

MERGE_ROW_BYTES: Final = 10
"""Marks, mappings, filters (see merge.py)."""

FLUSH_RATE: Final = 128 << 20
"""Bytes a second that a flush writes, unless writers wait for it: some times what ingest makes, and a share of the disk
that lets the log's syncs through."""

READ_AHEAD_RATE: Final = 64 << 20
FLUSHED_FILES: Final = 4
"""Flushed files that wait to be read into the page cache; older ones are read when they are needed."""

RETRY_SECONDS: Final = 1.0
"""How long after a failure (a full disk) it is tried again."""

IDLE_SECONDS: Final = 1.0
NICE: Final = 19

QUIET_SECONDS: Final = 60.0
"""Nothing was committed since a checkpoint so long ago: all cells are cold, and the log need not keep its room."""

COLD_REST: Final = 3.0
PATIENCE_SECONDS: Final = 10.0
"""A merge of a cold cell rests three times as long as it works while rows come, and lets flushes go first; for so long
in all, as more urgent merges may be waiting for it.
"""

MICROSECONDS: Final = 1_000_000


@dataclass(slots=True)
class Work:
    """What maintenance did so far, for ``weft_metrics``. All but the failures is kept in checkpoints.

    ``logged_bytes`` are those of the rows as they were committed: what all other bytes are compared with.
    """

    logged_bytes: int = 0
    flushes: int = 0
    flushed_rows: int = 0
    flushed_bytes: int = 0
    merges: int = 0
    merged_rows: int = 0
    merged_bytes: int = 0
    moved_bytes: int = 0
    dropped_rows: int = 0
    failures: int = 0
    last_failure: str = ""

    def kept(self) -> dict[str, int]:
        """What a checkpoint keeps."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if "failure" not in name}

    def go_on(self, kept: Mapping[str, int]) -> None:
        """Go on counting from there."""
        for name in self.kept():
            setattr(self, name, kept.get(name, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A checkpoint whose files are kept until ``release``. ``state`` is None where there never was one.

    ``entry`` is the log's at its position; None where there is none, or where it was trimmed by an older program.
    """

    version: int
    position: int
    state: bytes | None
    descriptions: tuple[Description, ...]
    entry: Entry | None
    release: Callable[[], None]


class Maintenance:
    """See the module. Thread-safe."""

    def __init__(
        self,
        *,
        state: State,
        sequencer: Sequencer,
        storage: Storage,
        files: SegmentFiles,
        pins: Pins,
        budget: Budget,
        options: Options,
        named: NamedSnapshots,
        positions: Positions,
        position: int,
        version: int,
        archive: Archive | None = None,
    ) -> None:
        """``position`` is that of the last checkpoint in the log, 0 where there is none; ``version`` is its version.

        The state is that of the log's end.
        """
        self.work = Work()
        self.sampler = Sampler(snapshot=lambda: Snapshot(state=state, pins=pins), rows_per_second=options.verify_rows)
        self._archive = archive
        self._archived = 0 if archive is None else archive.tail
        self._trimmed = 0  # the checkpoint's position up to which the log was trimmed
        self._unneeded: list[int] = []  # files that the manifest names no more, and entries of the log perhaps do
        self.files = files
        self.checkpoint_version = version
        self.checkpoint_position = position
        self._floor = pins.floor  # the version that history goes back to, as the manifest has it
        self._checkpoints = deque([version], maxlen=COLD_CHECKPOINTS + 1)  # versions of the last ones
        self._limited_at = -1  # the checkpoint after which named snapshots were looked at
        self._shrunk = (-1, -1)  # the checkpoint, and how far the log was trimmed, when it gave its room back
        self._state = state
        self._sequencer = sequencer
        self._storage = storage
        self._pins = pins
        self._budget = budget
        self._options = options
        self._named = named
        self._positions = positions
        self._throttle = Throttle(options.compaction_rate)
        self._flush_throttle = Throttle(FLUSH_RATE)
        self._read_throttle = Throttle(READ_AHEAD_RATE)
        self._flushed: deque[int] = deque(maxlen=FLUSHED_FILES)  # files that ``read_ahead`` has not seen
        self._frozen: list[Memtable] = []  # what a flush is writing
        self._installing = threading.Lock()  # a flush, or the last step of a merge: what writes the manifest
        self._compacting = threading.Lock()
        self._not_flushing = threading.Event()
        self._not_flushing.set()
        self._flush_wanted = threading.Event()
        self._compact_wanted = threading.Event()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._background = False
        self._starting = threading.Lock()
        self._seen_bytes = 0
        self._seen_catalog: Catalog | None = None
        self._checkpoint_at = monotonic()

    # Threads.

    def start(self) -> None:
        """Flush and compact in the background from now on. A database in memory has no threads before it needs them."""
        self._background = True
        self._budget.on_pressure(self._hurry)
        if self._storage.folder is not None:
            self._start_threads()

    def _start_threads(self) -> None:
        for name, run in (("weft-flush", self._run_flushes), ("weft-compact", self._run_rest)):
            thread = threading.Thread(target=run, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End the threads, after the step that they are in."""
        self._stopping.set()
        self._throttle.rate = self._flush_throttle.rate = self._read_throttle.rate = None
        self._not_flushing.set()
        self._flush_wanted.set()
        self._compact_wanted.set()
        for thread in self._threads:
            thread.join()

    def committed(self) -> None:
        """A commit was made: wake up if a flush is due. Called after every commit, so it must cost nothing."""
        logged = self._sequencer.logged_bytes
        if logged - self._seen_bytes >= CHECK_BYTES or logged < self._seen_bytes:
            self._seen_bytes = logged
            if self._background and (logged >= self._options.log_bytes or self._budget.flush_due):
                self._want_flush()
        catalog = self._state.catalog
        if catalog is not self._seen_catalog:
            self._seen_catalog = catalog
            if self._background and any(isinstance(item, Table) and item.keep for item in catalog.relations.values()):
                self._need_threads()

    def _hurry(self) -> None:
        """Writers wait for memory: write as fast as the disk can."""
        self._flush_throttle.rate = None
        self._want_flush()

    def _want_flush(self) -> None:
        self._need_threads()
        self._flush_wanted.set()

    def _need_threads(self) -> None:
        if not self._threads:
            with self._starting:
                if not self._threads:
                    self._start_threads()

    def _run_flushes(self) -> None:
        while not self._stopping.is_set():
            self._flush_wanted.wait(IDLE_SECONDS)
            self._flush_wanted.clear()
            if self._stopping.is_set():
                return
            if self._is_due():
                self._attempt(self.flush)
                self._compact_wanted.set()
            elif self._trim_waits:
                self._attempt(self.trim)

    def _run_rest(self) -> None:
        _go_last()
        while not self._stopping.is_set():
            self._compact_wanted.wait(IDLE_SECONDS)
            self._compact_wanted.clear()
            self._attempt(self.read_ahead)
            while not self._stopping.is_set() and self._attempt(self.compact_once):
                self._attempt(self.read_ahead)
            self._attempt(self.retain)
            self._attempt(self.sampler.look)
            self._attempt(self.limit_named)
            self._attempt(self.release)
            self._attempt(self.tidy)
            self._attempt(self.shrink)
            self._budget.tidy()

    def _attempt(self, work: Callable[[], bool]) -> bool:
        """Run ``work``; a failure is counted and tried again later."""
        try:
            return work()
        except Exception as error:
            self.work.failures += 1
            self.work.last_failure = f"{type(error).__name__}: {error}"
            if not isinstance(error, Closed):
                self._stopping.wait(RETRY_SECONDS)
            return False

    # Flushing.

    def _is_due(self) -> bool:
        """Whether to make a checkpoint: for memory, log, time or open slices, or to give a dropped table back."""
        if self._sequencer.logged_bytes >= self._options.log_bytes or self._budget.flush_due:
            return True
        if monotonic() - self._checkpoint_at >= self._options.checkpoint_seconds:
            return True
        if any(store.open_slices_count > SLICES_OPEN_MAX // 2 for store in list(self._state.stores.values())):
            return True
        due = self._state.clock.version_at(self._history_wall())
        return any(self._floor < item.version <= due for item in list(self._state.dropped))

    def flush(self, *, position: int | None = None) -> bool:
        """Make a checkpoint at the newest version. Returns whether there was anything to do. Raises Unavailable.

        ``position`` is the version's place in the log, while the log is replayed; it is the tail otherwise.
        """
        with self._installing:
            flushed = self._checkpoint(position)
            self._trim()
        return flushed

    def trim(self) -> bool:
        """Archive and trim what the last flush could not. Returns whether there was anything to do."""
        with self._installing:
            waits = self._trim_waits
            self._trim()
        return waits

    def _checkpoint(self, position: int | None = None) -> bool:
        self._storage.check_writable()
        self._not_flushing.clear()
        try:
            flushed = self._flush(position)
        finally:
            self._not_flushing.set()
            self._frozen = []  # after a failure they wait for the next flush
            if not self._stopping.is_set():
                self._flush_throttle.rate = FLUSH_RATE
        if flushed:
            self._budget.freed()
        return flushed

    def hold(self, *, flush: bool) -> Held:
        """Keep the files of a checkpoint, a new one with ``flush``, until it is released.

        Flushes and merges go on meanwhile. Raises Unavailable, or Corrupt when the manifest is damaged. An archive that
        cannot be written keeps nobody from making a backup.
        """
        with self._installing:
            if flush:
                self._checkpoint()
                with suppress(Unavailable):
                    self._trim()
            state, values = self._storage.manifest.load()
            descriptions = tuple(Description.decode(value) for value in values.values())
            entry = None
            if position := self.checkpoint_position:
                with suppress(NotFound):
                    entry = next(iter(self._storage.log.read(position)), None)
            numbers = files_of(descriptions)
            self.files.use(numbers)
            return Held(
                version=self.checkpoint_version,
                position=position,
                state=state,
                descriptions=descriptions,
                entry=entry,
                release=lambda: self.files.release(numbers),
            )

    @property
    def archive_lag(self) -> int:
        """Entries of the log that the checkpoint holds and the archive does not; 0 without an archive."""
        return 0 if self._archive is None else max(self.checkpoint_position - self._archived, 0)

    @property
    def frozen_bytes(self) -> int:
        """Memory of the memtables that a flush is writing."""
        return sum(memtable.bytes_used for memtable in self._frozen)

    def _flush(self, position: int | None) -> bool:
        with self._sequencer.paused():
            floor = self._floor
            if position is None:
                position = self._storage.log.tail()
                floor = max(floor, self._state.clock.version_at(self._history_wall()))
            # Else history stays as long as it was: the log may go on to name a snapshot of a version replayed already.
            forgets = floor > self._floor
            if position == self.checkpoint_position and floor == self._floor:
                return False
            frozen = [(store, *item) for store in self._state.stores.values() for item in store.freeze()]
            self._frozen = [memtable for _, _, memtable in frozen]
            installed, key_files = list(self._state.installed), list(self._state.key_files)
            captured = capture(self._state, position=position, floor=floor)
            logged_bytes = self._sequencer.logged_bytes
        horizon = self._pins.horizon(floor)
        number, sealed, redone = self._write(frozen, horizon=horizon, version=captured.version)
        tables = {table.id for table, _ in captured.tables}
        prepared = [segment.description for segment in installed if segment.description.table in tables]
        described = [*prepared, *(item.description for item in sealed if item.description), *redone.values()]
        work = {**self.work.kept(), "flushes": self.work.flushes + 1}
        work["logged_bytes"] += logged_bytes
        self._commit(state=captured.encode(work=work), put=described, file=number)
        self.work.flushes, self.work.logged_bytes = work["flushes"], work["logged_bytes"]
        if self._archive is not None:
            # Merges may let go of what entries of the log name that are not archived yet.
            named = [file for segment in installed for file in segment.files]
            self.files.use(named)
            self._unneeded += named
        self.checkpoint_version, self.checkpoint_position, self._floor = captured.version, position, floor
        self._checkpoint_at = monotonic()
        if captured.version > self._checkpoints[-1]:
            self._checkpoints.append(captured.version)
        if number:
            self._flushed.append(number)
        released = self._take_over(sealed, redone)
        with self._sequencer.paused():
            del self._state.installed[: len(installed)], self._state.key_files[: len(key_files)]
            for item in sealed:
                item.install()
            self._frozen = []
            self._sequencer.logged_bytes -= logged_bytes
            if forgets:
                self._state.forget(horizon)
        self._unneeded += [*released, *key_files]
        return True

    @property
    def _trim_waits(self) -> bool:
        """Whether the log has not been trimmed to the last checkpoint: the archive could not be written."""
        return self._trimmed != self.checkpoint_position

    def _trim(self) -> None:
        """Forget what the checkpoint holds: archive it, trim the log, let go of files that only it named."""
        position = self.checkpoint_position
        if self._trim_waits:
            if self._archive is not None and self._archived < position:
                first = self._first_to_archive(self._archive)
                entries = islice(self._storage.log.read(first), position + 1 - first)
                self._archive.append(entries, files=self._storage.files, named=named_files)
                self._archived = position
            self._storage.log.trim(before=position)
            self._trimmed = position
        unneeded, self._unneeded = self._unneeded, []
        self.files.release(unneeded)

    def _first_to_archive(self, archive: Archive) -> int:
        """The first entry of the log that is not in the archive."""
        self._archived = archive.tail  # a try before may have got half way
        try:
            next(iter(self._storage.log.read(self._archived + 1)))
        except NotFound:
            # The archive was not there, or was another one, when entries were trimmed: begin with what there is.
            return _first_position(self._storage.log, self._archived + 1)
        return self._archived + 1

    def _write(
        self, frozen: Sequence[tuple[TableStore, Cell, Memtable]], *, horizon: Horizon, version: int
    ) -> tuple[int, list[_Sealed], dict[Segment, Description]]:
        """Write memtables as segments, and the overlays that changed, into one file, whose number comes first."""
        sealed: list[_Sealed] = []
        redone: dict[Segment, Description] = {}
        changed = [
            segment
            for segment in self._segments()
            if segment.overlay.last_end > segment.overlay_saved
            or (segment.damage is not None and not segment.description.given_up)
        ]
        number = self._storage.new_number() if frozen or changed else 0
        if number:
            with self.files.create(number, throttle=self._flush_throttle) as out:
                for store, cell, memtable in frozen:
                    kept = horizon.of(store.table.id)
                    with self._budget.borrowed(_sealing_bytes(memtable)):
                        sealed.append(self._seal(out, number, store, cell, memtable, horizon=kept, version=version))
                for segment in changed:
                    overlay = self.files.write_overlay(out, number, segment.overlay, up_to=version)
                    given_up = segment.damage is not None
                    redone[segment] = replace(segment.description, overlay=overlay, given_up=given_up)
                self.work.flushed_bytes += out.position
                if not out.position:  # all rows were dead
                    out.remove()
                    number = 0
        for item in sealed:
            if item.segment is not None:
                item.segment.prepare()
        return number, sealed, redone

    def _take_over(self, sealed: Sequence[_Sealed], redone: Mapping[Segment, Description]) -> list[int]:
        """The manifest names new places: count their files as used. Returns those that it names no more."""
        released: list[int] = []
        for segment, description in redone.items():
            before = segment.description.overlay
            released += [] if before is None else [before.file]
            self.files.use([] if description.overlay is None else [description.overlay.file])
            segment.description = description
            segment.overlay_saved = min(segment.overlay.last_end, self.checkpoint_version)
        for item in sealed:
            if item.segment is not None:
                self.files.use(item.segment.files)
        return released

    def _seal(
        self,
        out: FileWriter,
        number: int,
        store: TableStore,
        cell: Cell,
        memtable: Memtable,
        *,
        horizon: Horizon,
        version: int,
    ) -> _Sealed:
        begins, ends = _versions(memtable)
        dead = horizon.dead(begins, ends)
        self.work.dropped_rows += int(dead.sum())
        if dead.all():
            return _Sealed(store=store, cell=cell, memtable=memtable, description=None, segment=None, permutation=None)
        layout = self._layout(store.table, {id for chunk in memtable.chunks for id in chunk.columns})
        out.pad(64)
        writer = SegmentWriter(out, rows_count=int(len(dead) - dead.sum()), block_rows=block_rows_of(memtable.chunks))
        made = seal(writer, layout, memtable.chunks, keep=~dead if dead.any() else None)
        place = writer.finish()
        self.work.flushed_rows += made.rows_count
        overlay = Overlay(made.rows_count)
        rows = np.flatnonzero((ends != OPEN) & ~dead)
        overlay.end_at(made.permutation[rows].astype(np.int64), ends[rows])
        description = Description(
            id=self._storage.new_number(),
            table=store.table.id,
            slice=cell.slice,
            shard=cell.shard,
            place=Section(file=number, offset=place.offset, length=place.length, checksum=place.checksum),
            rows_count=made.rows_count,
            version_low=made.version_low,
            version_high=made.version_high,
            time_low=made.time_low,
            time_high=made.time_high,
            columns=tuple(column.id for column in layout.columns),
            overlay=self.files.write_overlay(out, number, overlay, up_to=version),
        )
        segment = Segment(description, number=0, layout=layout, open=self.files.open, overlay=overlay)
        segment.overlay_saved = min(overlay.last_end, version)
        return _Sealed(
            store=store,
            cell=cell,
            memtable=memtable,
            description=description,
            segment=segment,
            permutation=made.permutation,
        )

    def read_ahead(self) -> bool:
        """Bring what was flushed into the page cache: new rows are asked for. Returns whether there was anything."""
        found = bool(self._flushed)
        while self._flushed and not self._stopping.is_set():
            self.files.read_ahead(self._flushed.popleft(), throttle=self._read_throttle)
        return found

    # Compaction.

    def compact_once(self, *, cold: bool = True) -> bool:
        """Merge the segments of one cell where that is most needed. Returns whether there was anything to do.

        Without ``cold`` cells that have gone cold are left as they are: that can wait for ``rest``.
        """
        return self._compact(everything=False, quiet=self._quiet_version() if cold else 0)

    def rest(self) -> None:
        """Do now what comes by itself when nobody commits for a while."""
        while self._compact(everything=False, quiet=self.checkpoint_version):
            pass
        self.release()
        while self._tidy(thoroughly=True):
            pass
        self._shrink()

    def _quiet_version(self) -> int:
        """Cells without rows that began after this version are cold, see compaction.py.

        After a start no cell is, until some checkpoints have been made or nothing happens for a while.
        """
        if self._is_quiet:
            return self.checkpoint_version
        return self._checkpoints[0] if len(self._checkpoints) > COLD_CHECKPOINTS else 0

    @property
    def _is_quiet(self) -> bool:
        return not self._sequencer.logged_bytes and monotonic() - self._checkpoint_at >= QUIET_SECONDS

    def shrink(self) -> bool:
        """Give the disk back what the log has room for and does not use, once nobody commits. Returns whether it did.

        Not before: commits would have to take it again, and wait for the file system.
        """
        wanted = self._is_quiet and self._shrunk != (self.checkpoint_position, self._trimmed)
        if wanted:
            self._shrink()
        return wanted

    def _shrink(self) -> None:
        self._shrunk = self.checkpoint_position, self._trimmed
        self._storage.shrink_log()

    def compact(self) -> None:
        """Merge every cell's segments into one, without rows that nobody can read any more.

        Raises Corrupt where a segment is damaged, when all other cells are done.
        """
        done: set[tuple[int, int, int]] = set()
        damage: Corrupt | None = None
        more = True
        while more:
            try:
                more = self._compact(everything=True, done=done)
            except Corrupt as error:
                damage = damage or error
        if damage is not None:
            raise damage

    def _compact(self, *, everything: bool, quiet: int = 0, done: set[tuple[int, int, int]] | None = None) -> bool:
        with self._compacting:
            horizon = self._horizon()
            candidates: list[tuple[Candidate, TableStore]] = []
            for store in list(self._state.stores.values()):
                for cell in store.cells:
                    if done is not None and (store.table.id, cell.slice, cell.shard) in done:
                        continue
                    found = pick(
                        cell,
                        horizon=horizon.of(store.table.id),
                        saved=self.checkpoint_version,
                        quiet=quiet,
                        everything=everything,
                    )
                    if found is not None:
                        candidates.append((found, store))
            if not candidates:
                return False
            candidate, store = max(candidates, key=lambda item: item[0].urgency)
            if done is not None:
                done.add((store.table.id, candidate.cell.slice, candidate.cell.shard))
            pause = self._patiently(PATIENCE_SECONDS) if candidate.cold else self._pause
            horizon = horizon.of(store.table.id)
            self._merge(store, candidate.cell, candidate.segments, horizon=horizon, pause=pause)
            return True

    def _merge(
        self, store: TableStore, cell: Cell, segments: Sequence[Segment], *, horizon: Horizon, pause: Pause
    ) -> None:
        """Merge ``segments``, which stand one after the other in the cell's parts, newest first."""
        with self._sequencer.paused():
            for segment in segments:
                segment.late = []
        rows_count = sum(segment.rows_count for segment in segments)
        try:
            with self._budget.borrowed(MERGE_ROW_BYTES * rows_count):
                self._merge_frozen(store, cell, segments, horizon=horizon, pause=pause)
        except Corrupt:
            for segment in segments:
                segment.mergeable = False  # or every merge would be tried in vain after this one
            raise
        finally:
            for segment in segments:
                segment.late = None

    def _merge_frozen(
        self, store: TableStore, cell: Cell, segments: Sequence[Segment], *, horizon: Horizon, pause: Pause
    ) -> None:
        columns = {id for segment in segments for id in segment.description.columns}
        layout = self._layout(store.table, columns)
        drops = [dead_rows(segment, horizon) for segment in segments]
        dropped = sum(int(drop.sum()) for drop in drops if drop is not None)
        rows_count = sum(segment.rows_count for segment in segments) - dropped
        number = self._storage.new_number()
        made: Segment | None = None
        with self.files.create(number, throttle=self._throttle) as out:
            mappings: Sequence[np.ndarray | None] = ()
            description: Description | None = None
            if rows_count:
                inputs = [
                    Input(reader=segment.reader, drop=drop, begin=segment.description.begin)
                    for segment, drop in zip(segments, drops, strict=True)
                ]
                writer = SegmentWriter(out, rows_count=rows_count, block_rows=merged_block_rows(layout, inputs))
                merged = merge(writer, layout, inputs, normalize_before=horizon.oldest, pause=pause)
                place = writer.finish()
                mappings = merged.mappings
                description = Description(
                    id=self._storage.new_number(),
                    table=store.table.id,
                    slice=cell.slice,
                    shard=cell.shard,
                    place=Section(file=number, offset=place.offset, length=place.length, checksum=place.checksum),
                    rows_count=rows_count,
                    version_low=min(segment.version_low for segment in segments),
                    version_high=max(segment.version_high for segment in segments),
                    time_low=min(segment.time_low for segment in segments),
                    time_high=max(segment.time_high for segment in segments),
                    order=segments[0].description.age[1],
                    columns=tuple(column.id for column in layout.columns),
                )
                overlay = Overlay(rows_count)
                for segment, mapping in zip(segments, mappings, strict=True):
                    assert mapping is not None, "every input has a mapping"
                    _carry(segment.overlay, mapping, overlay, rows_count=segment.rows_count)
                made = Segment(description, number=0, layout=layout, open=self.files.open, overlay=overlay)
            with self._installing:
                if made is not None and description is not None:
                    saved = self.checkpoint_version
                    for segment, mapping in zip(segments, mappings, strict=True):
                        _carry_late(segment, mapping, made.overlay)
                    section = self.files.write_overlay(out, number, made.overlay, up_to=saved)
                    made.description = description = replace(description, overlay=section)
                    made.overlay_saved = min(made.overlay.last_end, saved)
                used = out.position > 0
                out.finish()
                if made is not None:
                    made.prepare()
                self._commit(put=[] if description is None else [description], delete=segments, file=number)
                if made is not None:
                    self.files.use(made.files)
                with self._sequencer.paused():
                    if made is not None:
                        for segment, mapping in zip(segments, mappings, strict=True):
                            _carry_late(segment, mapping, made.overlay)
                    store.replace(cell, segments, [] if made is None else [made])
                if not used:
                    out.remove()
                self.work.merged_bytes += out.position
        self._let_go(segments)
        self.work.merges += 1
        self.work.merged_rows += rows_count
        self.work.dropped_rows += dropped

    def _pause(self, bytes_count: int) -> None:
        """Between the pieces of a merge: end it when the database closes."""
        if self._stopping.is_set():
            raise Closed("the database is being closed")

    def _patiently(self, seconds: float) -> Pause:
        """A pause that lets flushes go first, and rests while rows come, for so long in all. There may be as many
        processors as busy writers and flushes; a merge beside both makes commits slower.
        """
        went_on, logged = monotonic(), self._sequencer.logged_bytes

        def pause(bytes_count: int) -> None:
            nonlocal seconds, went_on, logged
            begin = monotonic()
            if seconds > 0 and not self._not_flushing.is_set():
                self._not_flushing.wait(seconds)
            if seconds > 0 and self._sequencer.logged_bytes != logged:
                self._stopping.wait(min(COLD_REST * (begin - went_on), seconds))
            went_on, logged = monotonic(), self._sequencer.logged_bytes
            seconds -= went_on - begin
            self._pause(bytes_count)

        return pause

    # Retention, and giving back.

    def retain(self) -> bool:
        """Drop the slices that tables do not keep any more. Returns whether there were any.

        Here it is only seen that there is something to do; what that is, and how much at a time, the sequencer decides.
        """
        before = due = self._not_kept()
        while due and not self._stopping.is_set():
            self._sequencer.commit(Request(changes=(), retains=tuple(due)))
            due = self._not_kept()
        return bool(before)

    def _not_kept(self) -> list[int]:
        """The tables that have slices that they do not keep."""
        due: list[int] = []
        known = self._state.catalog.by_id
        for id, store in list(self._state.stores.items()):
            boundary = store.boundary(wall=wall_clock()) if id in known else None
            if boundary is not None and store.slices_below(boundary):
                due.append(id)
        return due

    def limit_named(self) -> bool:
        """Give up named snapshots and feeds where they keep more than they may. Returns whether there were any.

        What they keep is counted once after each checkpoint, since only then history ends elsewhere.
        """
        if self._limited_at == self.checkpoint_position:
            return False
        self._limited_at = self.checkpoint_position
        snapshots = bool(self._state.named_versions) and self._named.enforce()
        feeds = bool(self._state.kept_after) and self._positions.enforce()
        return snapshots or feeds

    def release(self) -> bool:
        """Give back what nobody can read any more: dropped tables, and segments of which every row has ended, as those
        of dropped slices. Returns whether there was anything. Waits for the merge under way.
        """
        with self._compacting, self._installing:
            horizon = self._horizon()
            with self._sequencer.paused():
                dropped = self._state.unreadable(horizon)
            segments = [segment for item in dropped for segment in self._state.stores[item.id].segments]
            gone = [
                (store, cell, part)
                for store in list(self._state.stores.values())
                for cell in store.cells
                for part in cell.parts
                if isinstance(part, Segment) and not part.living_count and _unreadable(part, horizon.of(store.table.id))
            ]
            segments = list({id(segment): segment for segment in (*segments, *(part for _, _, part in gone))}.values())
            if segments:
                self._commit(delete=segments)
            with self._sequencer.paused():
                self._state.release_dropped(dropped)
                for store, cell, segment in gone:
                    store.replace(cell, [segment], [])
                cells_count = sum(store.forget_empty_cells() for store in self._state.stores.values())
            self._let_go(segments)
        if dropped or segments or cells_count:
            self._budget.freed()
        return bool(dropped or segments or cells_count)

    def _let_go(self, segments: Sequence[Segment]) -> None:
        """The manifest names them no more. A scan that has just begun may still come to one: mapped, it can be read."""
        for segment in segments:
            segment.map()
            self.files.release(segment.files)

    def tidy(self) -> bool:
        """Empty files that hold little that is needed. Returns whether there were any."""
        return self._tidy(thoroughly=self._is_quiet)

    def _tidy(self, *, thoroughly: bool) -> bool:
        with self._installing:
            segments = [item for item in self._segments() if item.version_high <= self.checkpoint_version]
            wasteful = wasteful_files(segments, self.files.size, thoroughly=thoroughly)
            if not wasteful:
                return False
            number = self._storage.new_number()
            done: dict[Section, Section] = {}
            with self.files.create(number, throttle=self._throttle) as out:
                changed = {
                    segment: moved(
                        segment.description,
                        files=wasteful,
                        out=out,
                        number=number,
                        bytes_of=self.files.bytes,
                        done=done,
                    )
                    for segment in segments
                    if touches(segment.description, wasteful)
                }
                self.work.moved_bytes += out.position
            self._commit(put=list(changed.values()), file=number)
            released: list[int] = []
            for segment, description in changed.items():
                released += segment.files
                segment.move(description)
                self.files.use(segment.files)
            self.files.release(released)
        return True

    # What both need.

    def _commit(
        self,
        *,
        state: bytes | None = None,
        put: Sequence[Description] = (),
        delete: Sequence[Segment] = (),
        file: int = 0,
    ) -> None:
        """Change the manifest. Where that surely failed, ``file`` is removed: it would fill the disk with each try."""
        entries = {description.id: description.encode() for description in put}
        try:
            self._storage.manifest.commit(
                state=state, put=entries, delete=[segment.description.id for segment in delete]
            )
        except Unavailable:
            with suppress(WeftError):
                stored = self._storage.manifest.load()[1]
                named = [item.id for item in put if file in files_of([item])]
                if file and not any(stored.get(id) == entries[id] for id in named):
                    self.files.discard(file)
            raise

    def _history_wall(self) -> int:
        return wall_clock() - self._options.history_seconds * MICROSECONDS

    def _horizon(self) -> Horizon:
        """What may be dropped now: nothing that ended after the floor of the last checkpoint, see the module."""
        return self._pins.horizon(self._floor)

    def _segments(self) -> list[Segment]:
        return [segment for store in list(self._state.stores.values()) for segment in store.segments]

    def _layout(self, table: Table, stored: set[int]) -> Layout:
        """The layout to write rows with ``stored`` columns by: dropped ones that a catalog still in use has stay."""
        missing = stored - {column.id for column in table.columns}
        if not missing:
            return Layout(table)
        dropped: dict[int, Column] = {}
        for catalog in list(self._state.catalogs):
            relation = catalog.by_id.get(table.id)
            if isinstance(relation, Table):
                dropped |= {column.id: column for column in relation.columns if column.id in missing}
        return Layout(replace(table, columns=(*table.columns, *dropped.values())))


@dataclass(slots=True, kw_only=True)
class _Sealed:
    """A memtable and the segment that takes its place; no segment where all of its rows were dead."""

    store: TableStore
    cell: Cell
    memtable: Memtable
    description: Description | None
    segment: Segment | None
    permutation: np.ndarray | None

    def install(self) -> None:
        """Swap them, with the ends that came meanwhile. The writer is kept out."""
        new: list[Part] = []
        if self.segment is not None and self.permutation is not None:
            firsts = np.cumsum([0, *(chunk.count for chunk in self.memtable.chunks)])
            for locators, version in self.memtable.late or ():
                if locators is None:
                    self.segment.overlay.end_rest(version)
                else:
                    numbers = firsts[(locators >> np.uint32(16)).astype(np.int64)] + (locators & np.uint32(0xFFFF))
                    self.segment.overlay.end(self.permutation[numbers].astype(np.int64), version)
            new.append(self.segment)
        self.store.replace(self.cell, [self.memtable], new)


def _go_last() -> None:
    """On a busy machine let all other threads run before this one, where the system knows threads: merges can wait."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _sealing_bytes(memtable: Memtable) -> int:
    """Buffers that sealing takes: so much for each row, and the longest column of text once more."""
    rows_count = sum(chunk.count for chunk in memtable.chunks)
    texts: Counter[int] = Counter()
    for chunk in memtable.chunks:
        for id, column in chunk.columns.items():
            if isinstance(column, VariableColumn):
                texts[id] += int(column.offsets[chunk.count])
    return SEAL_ROW_BYTES * rows_count + max(texts.values(), default=0)


def installs_of(entry: Entry) -> list[Install]:
    """What large transactions wrote ahead, and an entry of the log installs."""
    operations = (operation for operation in entry.record.operations if operation.action is Action.INSTALL)
    return [Install.of(operation.batch) for operation in operations]


def named_files(entry: Entry) -> set[int]:
    """The segment files that an entry of the log names."""
    return {file for work in installs_of(entry) for file in files_of((*work.rows, *work.keys))}


def files_of(descriptions: Iterable[Description]) -> set[int]:
    """The numbers of the files that segments and their overlays lie in."""
    places = [(description.place, description.overlay) for description in descriptions]
    return {place.file for pair in places for place in pair if place is not None}


def _first_position(log: CommitLog, low: int) -> int:
    """The position of the oldest entry that was not trimmed, by bisection from ``low``, which was."""
    high = log.tail()
    while low + 1 < high:
        middle = (low + high) // 2
        try:
            next(iter(log.read(middle)))
            high = middle
        except NotFound:
            low = middle
    return high


def _versions(memtable: Memtable) -> tuple[np.ndarray, np.ndarray]:
    """Begin and end versions of all rows, counted over the chunks."""
    begins = [chunk.base + chunk.begins[: chunk.count].astype(np.int64) for chunk in memtable.chunks]
    ends = [
        np.full(chunk.count, OPEN, np.int64) if chunk.ends is None else chunk.ends[: chunk.count].copy()
        for chunk in memtable.chunks
    ]
    return np.concatenate(begins), np.concatenate(ends)


def _unreadable(segment: Segment, horizon: Horizon) -> bool:
    """Whether nobody can read any row of a segment of which every row has ended."""
    return bool(horizon.dead(np.array([segment.version_low]), np.array([segment.overlay.last_end]))[0])


def _carry(old: Overlay, mapping: np.ndarray, new: Overlay, *, rows_count: int) -> None:
    """End in the new segment what has ended in an old one."""
    if not old.ended_count:
        return
    rows, ends = old.items(OPEN)
    if old.rest_end != OPEN:
        rows = np.arange(rows_count, dtype=np.int64)
        ends = old.ends_of(rows)
    rows = mapping[rows]
    there = rows >= 0  # most of them are not where a merge drops what history has forgotten
    new.end_at(rows[there].astype(np.int64), ends[there])


def _carry_late(segment: Segment, mapping: np.ndarray | None, new: Overlay) -> None:
    """End in the new segment what has ended in an old one since it was read; twice does nothing."""
    for rows, version in segment.late or ():
        if mapping is None:
            continue
        if rows is None:
            rows = np.arange(segment.rows_count, dtype=np.int64)
        new.end(mapping[rows].astype(np.int64), version)
