"""``weft check``: is everything on the disk as it was written, and does it fit together?

    check_folder(path)      a folder that nobody has open to write, however damaged: nothing is changed
    check_engine(engine)    an open database, beside everything that it does

What is looked at:

    format, LMDB's pages    only of a folder: an open database writes to them
    manifest                checksums, count and sum of its entries; the state of the checkpoint can be read
    log                     envelope, record and chain of every entry; it goes on from the checkpoint
    files                   none is missing or too short; those that nobody names are noted
    sections                every checksum, zones, NULL counts, padding; overlays
    rows                    order of sort keys, newest first; sample keys; filters know every key; event times and
                            versions are in the segment's ranges; each row is in its cell (hash of the key, slice)
    keys                    of the versions of a row, in and over segments, at most one lives, and none overlap
    counts                  rows of a table that live, as the checkpoint counts them
    indexes                 the entries are those that the rows of the table make, none missing and none too many

Problems are found, not repaired, and one does not hide the next: what cannot be read is left out of what follows, and
each problem says what it affects. Memory is bounded: rows are looked at some blocks at a time.

A note is not a problem: files that a crash has left over are normal after SIGKILL, and harm nobody. Beside an open
database a file is one of those if nobody has it in use and it was there before the program made files of its own.

Not here: memtables (their rows are in the log, which is checked), meaning of values (constraints).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ..base.errors import Corrupt, NotFound, Unavailable, WeftError
from ..storage import lmdb_pages
from ..storage.column_values import FixedValues, Values, VariableValues
from ..storage.envelope import Chain, owned
from ..storage.files import DiskFiles, FileSystem
from ..storage.folder import DataFolder, read_format
from ..storage.journal import JOURNAL_FILE, entries_after
from ..storage.lmdb_log import DATABASES
from ..storage.log import Entry
from ..storage.manifest import DATABASE, MemoryManifest, examine
from ..storage.memory_log import MemoryLog
from ..storage.segment import SegmentReader
from ..storage.storage import Storage, segment_name, segment_number
from .cells import TableStore
from .check_entries import entry_problems
from .checkpoint import Restored, restore
from .database import Engine
from .internal import INTERNAL
from .kernels import filters
from .kernels.comparing import compare_neighbours
from .key_encoding import Keys
from .layout import Layout
from .maintenance import files_of, installs_of, named_files
from .overlay import OPEN
from .retention import begin_of
from .schema import ROW_ID, ROW_ID_NAME, Table
from .segment import BEGIN, DELTA, Description, Section, Segment
from .segment_files import SegmentFiles
from .sorted_keys import KeyHashes

BATCH_ROWS: Final = 1 << 17
PROBLEMS_MAX: Final = 1_000
"""More are counted, and not kept."""

_HIDDEN_NAMES: Final = {BEGIN: "(begin version)", DELTA: "(delta flag)", None: "(index and directory)"}
_LMDB_FILE: Final = "data.mdb"

Progress = Callable[[str, int, int], object]
"""Told what is looked at, how many bytes of segments are done, and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """``where`` is a file, or a part of one; ``affects`` what cannot be relied on, and what can."""

    where: str
    what: str
    affects: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is worth knowing about ``where``, a file or a folder, and no problem."""

    where: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSize:
    """What a column takes in all segments of its table, in one encoding."""

    column: str
    encoding: str
    blocks: int
    bytes: int


@dataclass(slots=True, kw_only=True)
class TableReport:
    """One table. ``rows_count``: rows that live in its segments; ``plain_bytes``: of the values without encoding."""

    name: str
    rows_count: int = 0
    versions_count: int = 0
    cells_count: int = 0
    segments_count: int = 0
    segments_most: int = 0
    bytes: int = 0
    plain_bytes: int = 0
    sizes: list[ColumnSize] = field(default_factory=list[ColumnSize])


@dataclass(slots=True, kw_only=True)
class Report:
    """What a check found. ``version`` is that of the checkpoint, ``last_version`` the last in the log."""

    name: str
    version: int = 0
    last_version: int = 0
    log_entries: int = 0
    files_count: int = 0
    files_bytes: int = 0
    dead_bytes: int = 0
    problems: list[Problem] = field(default_factory=list[Problem])
    problems_count: int = 0
    notes: list[Note] = field(default_factory=list[Note])
    tables: list[TableReport] = field(default_factory=list[TableReport])
    work: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, where: str, what: str, affects: str) -> None:
        self.problems_count += 1
        if len(self.problems) < PROBLEMS_MAX:
            what = what.removeprefix(f"{where}: ")
            self.problems.append(Problem(where=where, what=what, affects=affects))


def check_folder(path: str | Path, *, progress: Progress | None = None) -> Report:
    """Check a folder that nobody has open to write. Raises Unavailable when somebody has, or when it is no database."""
    folder, format_problems = DataFolder.examine(path)
    with folder:
        report = Report(name=str(folder.path))
        for problem in format_problems:
            report.add(str(folder.path / "format"), problem, "what the folder holds can be read all the same")
        file = folder.log_path / _LMDB_FILE
        named = _databases(file, report)
        name = f"the manifest in {folder.log_path}"
        found = examine(_whole(named.get(DATABASE), report, str(file)), name=name)
        for error in found.problems:
            report.add(name, error.message, _MANIFEST)
        entries = _log_values(named, report, str(file))
        storage = Storage(log=MemoryLog(), manifest=MemoryManifest(), files=DiskFiles(folder.segments_path))
        checker = _Checker(report, SegmentFiles(storage), storage.files, progress=progress)
        checker.state(found.state, found.segments)
        checker.format(folder)
        checker.log(entries, folder=folder.log_path, state=_log_state(named, report, str(file)))
        checker.sections()
        checker.strays()
        checker.files()
        return report


def check_engine(engine: Engine, *, progress: Progress | None = None) -> Report:
    """Check an open database, as of its last checkpoint. Raises Unavailable where the disk cannot be read."""
    report = Report(name=engine.storage.name)
    try:
        held = engine.maintenance.hold(flush=False)
    except Corrupt as error:
        report.add(f"the manifest of {engine.storage.name}", error.message, _MANIFEST)
        return report
    try:
        files = engine.storage.files
        checker = _Checker(report, SegmentFiles(engine.storage), files, progress=progress)
        checker.state(held.state, {item.id: item.encode() for item in held.descriptions})
        checker.log_entries(_readable(engine, held.position, report))
        checker.sections()
        checker.left_over(engine.files.strays())
        checker.files()
    finally:
        held.release()
    if engine.folder is not None:
        report.notes.append(Note(where=str(engine.folder.log_path / _LMDB_FILE), what=_PAGES))
    return report


class _Checker:
    """Collects what there is to be checked, then checks it."""

    def __init__(self, report: Report, files: SegmentFiles, system: FileSystem, *, progress: Progress | None) -> None:
        self._report = report
        self._files = files
        self._system = system
        self._progress = progress or (lambda what, done, total: None)
        self._restored: Restored | None = None
        self._descriptions: list[Description] = []
        self._prepared: list[Description] = []
        self._prepared_keys: list[Description] = []
        self._named_in_log: set[int] = set()
        self._known = True  # all that names files could be read
        self._whole: set[int] = set()  # tables all of whose rows can be read

    # What there is.

    def state(self, data: bytes | None, values: Mapping[int, bytes]) -> None:
        """The checkpoint's state, and the descriptions of segments."""
        where = "the manifest"
        for id, value in values.items():
            try:
                description = Description.decode(value)
            except Corrupt as error:
                self._report.add(where, error.message, _MANIFEST)
                self._known = False
                continue
            if description.id != id:
                self._report.add(where, f"segment {id} says that it is segment {description.id}", _MANIFEST)
            self._descriptions.append(description)
        if data is None:
            if values:
                self._report.add(where, "it names segments, and has no state", _MANIFEST)
            self._known = self._known and not self._report.problems
            return
        try:
            self._restored = restore(data, [], self._files)
        except WeftError as error:
            self._report.add("the state in the manifest", error.message, _MANIFEST)
            return
        self._report.version = self._report.last_version = self._restored.state.version
        self._report.work = self._restored.work

    def format(self, folder: DataFolder) -> None:
        """The folder's format must not be older than what is in it."""
        with suppress(WeftError):
            version = read_format(DiskFiles(folder.path))
            if version < 3 and self._restored is not None and self._restored.format > 1:
                what = f"it says format {version}, and the checkpoint is of a newer one"
                self._report.add(str(folder.path / "format"), what, "what the folder holds can be read all the same")

    def log(self, values: Iterable[tuple[int, bytes]], *, folder: Path, state: _LogState) -> None:
        """The log as bytes, and its journal: each entry, and that it goes on from the checkpoint."""
        name = str(folder)
        report, chain = self._report, Chain(name=name)
        last_epoch = 0
        following: int | None = None
        position = 0
        for position, value in values:
            if following is None:
                chain.start_before(position)
                self._check_first(position, name=name)
            elif position != following:
                report.add(name, f"the entries from {following} to {position - 1} are missing", _LOG)
                chain.start_before(position)
            following = position + 1
            report.log_entries += 1
            try:
                entry = chain.follow(owned(value), position=position)
            except WeftError as error:
                report.add(f"entry {position} of {name}", error.message, _LOG)
                self._known = False
                chain.start_before(position + 1)
                continue
            last_epoch = entry.epoch
            self._record(entry)
        try:
            for entry in entries_after(folder, chain) if state.journaled else ():
                report.log_entries += 1
                position, last_epoch = entry.position, entry.epoch
                self._record(entry)
        except WeftError as error:
            report.add(str(folder / JOURNAL_FILE), error.message, _LOG)
            self._known = False
        checkpoint = 0 if self._restored is None else self._restored.position
        if position < checkpoint:
            report.add(name, f"it ends with entry {position}, and the checkpoint is at entry {checkpoint}", _LOG)
        if state.epoch is not None and not last_epoch <= state.epoch <= last_epoch + _EPOCHS_MOST:
            report.add(name, f"its epoch is {state.epoch}, and that of its last entry {last_epoch}", _LOG)

    def log_entries(self, entries: Iterable[Entry]) -> None:
        """The log of an open database, whose entries were verified as they were read."""
        for entry in entries:
            self._report.log_entries += 1
            self._record(entry)

    def _check_first(self, position: int, *, name: str) -> None:
        checkpoint = 0 if self._restored is None else self._restored.position
        if position > checkpoint + 1:
            what = f"it begins with entry {position}, and the checkpoint is at entry {checkpoint}"
            self._report.add(name, what, _LOG)

    def _record(self, entry: Entry) -> None:
        restored, version = self._restored, entry.record.version
        position, base = (0, 0) if restored is None else (restored.position, restored.state.version)
        if version - base != entry.position - position and (restored is not None or not self._report.version):
            what = f"it has version {version}, and should have {base + entry.position - position}"
            self._report.add(f"entry {entry.position} of the log", what, _LOG)
        self._report.last_version = max(self._report.last_version, version)
        if entry.position > position:
            for work in installs_of(entry):
                self._prepared += work.rows
                self._prepared_keys += work.keys
            self._named_in_log |= named_files(entry)

    # Files and sections.

    def strays(self) -> None:
        """Files that nobody names."""
        named = files_of(self._descriptions) | self._named_in_log
        if self._known:
            self.left_over(name for name in self._system.names() if segment_number(name) not in named)

    def left_over(self, names: Iterable[str]) -> None:
        """Note these files, of which nobody needs anything."""
        ours: list[str] = []
        others: list[str] = []
        for name in names:
            (others if segment_number(name) is None else ours).append(name)
        for found, what in ((ours, _LEFT_OVER), (others, "it is none of ours, and nobody reads it")):
            if found:
                more = f" (and {len(found) - 1:,} more files)" if len(found) > 1 else ""
                self._report.notes.append(Note(where=f"{self._system.name}/{found[0]}{more}", what=what))

    def files(self) -> None:
        """How many files there are, and how large; those of an open database come and go."""
        for name in self._system.names():
            with suppress(NotFound):
                self._report.files_bytes += self._system.size(name)
                self._report.files_count += 1

    def sections(self) -> None:
        """All that segments and overlays hold."""
        self._check_gaps()
        total = sum(_bytes_of(description) for description in self._all())
        done = 0
        by_table: dict[int, list[Description]] = {}
        for description in self._descriptions:
            by_table.setdefault(description.table, []).append(description)
        stores = {} if self._restored is None else self._restored.state.stores
        for id, store in stores.items():
            # Segments of a dropped table leave the manifest before the next checkpoint forgets the table.
            gone = any(item.id == id for item in self._restored.state.dropped) if self._restored else False
            done = self._check_table(id, store.table, store.rows_count, by_table.pop(id, []), done, total, gone=gone)
        for id, descriptions in by_table.items():
            if self._restored is not None:
                self._report.add("the manifest", f"it has segments of a table {id} that does not exist", _NOTHING)
            for description in descriptions:
                self._check_sections(description, f"rows of table {id}")
        for description in self._prepared:
            store = stores.get(description.table)
            name = f"a table {description.table}" if store is None else f'table "{store.table.name}"'
            cell = "" if store is None else f", {_cell_name(store.table, description)}"
            what = f"what a large transaction that the log holds wrote to {name}{cell}; all other rows can be read"
            self._check_sections(description, what)
        for description in self._prepared_keys:
            self._check_sections(description, "a large transaction that the log holds: the database cannot be opened")
        self._indexes()
        self._report.tables.sort(key=lambda table: table.name)

    def _indexes(self) -> None:
        """Entries against rows, where all of both can be read."""
        if self._restored is None:
            return
        state = self._restored.state
        tables = [relation for relation in state.catalog.relations.values() if isinstance(relation, Table)]
        for table in tables:
            indexes = [index for index in table.indexes if {table.id, index.id} <= self._whole]
            if not indexes:
                continue
            rows = self._store(table)
            for index in indexes:
                entries = self._store(state.stores[index.id].table)
                affects = (
                    f'what is found by way of index "{index.name}": drop it and make it again; all rows can be read'
                )
                problems = entry_problems(rows, entries, index, version=state.version)
                self._tell(problems, f'index "{index.name}" of table "{table.name}"', affects)

    def _store(self, table: Table) -> TableStore:
        """The rows of a table, of the segments alone."""
        store = TableStore(table)
        layout = Layout(table)
        own = [description for description in self._descriptions if description.table == table.id]
        for description in sorted(own, key=lambda item: item.age):
            overlay = self._files.read_overlay(description.overlay, description.rows_count)
            store.add_segment(Segment(description, number=0, layout=layout, open=self._files.open, overlay=overlay))
        return store

    def _all(self) -> list[Description]:
        return [*self._descriptions, *self._prepared, *self._prepared_keys]

    def _check_gaps(self) -> None:
        """What lies between the sections of a file is padding, or a section that nobody needs any more."""
        places: dict[int, set[Section]] = {}
        for description in self._all():
            for place in (description.place, description.overlay):
                if place is not None:
                    places.setdefault(place.file, set()).add(place)
        for file, sections in sorted(places.items()):
            name = segment_name(file)
            try:
                data = self._system.map(name, size=self._system.size(name))
            except WeftError:
                continue  # said where it is needed
            end = 0
            for place in sorted(sections, key=lambda place: place.offset):
                gap = data[end : place.offset]
                if len(gap) >= 64:
                    self._report.dead_bytes += len(gap)
                elif gap.any():
                    what = f"bytes {end} to {place.offset} are not padding"
                    self._report.add(f"{self._system.name}/{name}", what, _NOTHING)
                end = max(end, place.offset + place.length)
            self._report.dead_bytes += max(len(data) - end, 0)

    def _check_table(
        self,
        id: int,
        table: Table,
        rows_count: int,
        descriptions: list[Description],
        done: int,
        total: int,
        *,
        gone: bool,
    ) -> int:
        report = TableReport(name=table.name)
        layout = Layout(table)
        cells: dict[tuple[int, int], list[Segment]] = {}
        sizes: Counter[tuple[int | None, str, bool]] = Counter()
        whole = True
        for description in sorted(descriptions, key=lambda item: item.age, reverse=True):
            affects = f'table "{table.name}", {_cell_name(table, description)}; all other rows can be read'
            segment = self._check_sections(description, affects, table=table, layout=layout, sizes=sizes, report=report)
            if segment is None:
                whole = False
            else:
                cells.setdefault((description.slice, description.shard), []).append(segment)
            done += _bytes_of(description)
            self._progress(table.name, done, total)
        for cell, segments in cells.items():
            report.segments_most = max(report.segments_most, len(segments))
            for age, segment in enumerate(segments):
                affects = f'table "{table.name}", {_cell_name(table, segment.description)}'
                rows = _Rows(segment, layout, older=segments[age + 1 :], cell=cell)
                whole = self._tell(rows.problems(), self._place_name(segment.description.place), affects) and whole
                report.rows_count += rows.living
        report.cells_count = len(cells)
        report.segments_count = len(descriptions)
        report.sizes = _column_sizes(sizes, table)
        if whole and report.rows_count != rows_count and not gone:
            what = f'{report.rows_count:,} rows of table "{table.name}" live, and the checkpoint counts {rows_count:,}'
            self._report.add("the state in the manifest", what, f'count(*) of table "{table.name}"')
        if whole and not gone:
            self._whole.add(id)
        if descriptions or table.name not in _INTERNAL_NAMES:
            self._report.tables.append(report)
        return done

    def _check_sections(
        self,
        description: Description,
        affects: str,
        *,
        table: Table | None = None,
        layout: Layout | None = None,
        sizes: Counter[tuple[int | None, str, bool]] | None = None,
        report: TableReport | None = None,
    ) -> Segment | None:
        """Look at every byte of a segment and of its overlay. Returns the segment where it can be read at all."""
        where = self._place_name(description.place)
        overlay = reader = None
        try:
            reader = self._files.open(description.place)
        except WeftError as error:
            self._report.add(where, error.message, affects)
        try:
            overlay = self._files.read_overlay(description.overlay, description.rows_count)
        except WeftError as error:
            what = f"{error.message}, which says what rows of {where} have ended"
            self._report.add(self._place_name(description.overlay or description.place), what, affects)
        if description.given_up:
            what = "rows of it were to end and could not be looked up: nobody reads it any more"
            self._report.add(where, what, affects)
        if reader is None or overlay is None:
            return None
        problems = reader.check() if table is None else (_with_names(problem, table) for problem in reader.check())
        sound = self._tell(problems, where, affects)
        if reader.rows_count != description.rows_count:
            what = f"it has {reader.rows_count:,} rows, and the manifest says {description.rows_count:,}"
            self._report.add(where, what, affects)
            sound = False
        missing = set(description.columns) - set(reader.column_ids)
        if missing:
            self._report.add(where, f"it lacks columns {sorted(missing)}, which the manifest says it has", affects)
            sound = False
        # What a transaction prepared and the log holds has ended at steps of the transaction, not at versions.
        rows_count = description.rows_count if overlay.ended_count and table is not None else 0
        ends = overlay.ends_of(np.arange(rows_count, dtype=np.int64))
        if rows_count and int(ends[ends != OPEN].max()) > self._report.last_version:
            self._report.add(where, f"rows of it ended after version {self._report.last_version}, the last", affects)
        if report is not None and sizes is not None and table is not None:
            report.bytes += _bytes_of(description)
            report.versions_count += description.rows_count
            try:
                for size in reader.sizes():
                    sizes[size.column, size.encoding, True] += size.blocks
                    sizes[size.column, size.encoding, False] += size.bytes
                report.plain_bytes += sum(reader.plain_bytes(column) for column in reader.column_ids)
            except Corrupt:
                pass  # said already
        if not sound or layout is None:
            return None
        return Segment(description, number=0, layout=layout, open=self._files.open, overlay=overlay)

    def _tell(self, problems: Iterator[str], where: str, affects: str) -> bool:
        """Report problems; whether there were none. An error while looking is one."""
        count = self._report.problems_count
        try:
            for problem in problems:
                self._report.add(where, problem, affects)
        except WeftError as error:
            self._report.add(where, error.message, affects)
        except (ValueError, IndexError, AssertionError, pa.ArrowException) as error:
            self._report.add(where, f"it cannot be read: {type(error).__name__}: {error}", affects)
        return count == self._report.problems_count

    def _place_name(self, place: Section) -> str:
        return f"{self._system.name}/{segment_name(place.file)} at {place.offset}"


class _Rows:
    """The rows of one segment: their order, their cell, their index, their versions."""

    def __init__(self, segment: Segment, layout: Layout, *, older: Sequence[Segment], cell: tuple[int, int]) -> None:
        self.living = 0
        self._segment = segment
        self._layout = layout
        self._older = older
        self._cell = cell
        self._table = layout.table
        self._hashes = KeyHashes(layout)
        ids = [*(column.id for column in layout.sort_columns), *self._table.key]
        self._columns = [layout.by_id[id] for id in dict.fromkeys(ids)]
        if layout.time is not None and layout.time not in self._columns:
            self._columns.append(layout.time)

    def problems(self) -> Iterator[str]:
        count = self._segment.rows_count
        block_rows = self._segment.reader.block_rows
        step = max(BATCH_ROWS // block_rows, 1) * block_rows
        for start in range(0, count, step):
            yield from self._look_at(start, min(start + step, count), min(start + step + 1, count))

    def _look_at(self, start: int, stop: int, beyond: int) -> Iterator[str]:
        """Rows ``start`` to ``stop``, compared with their neighbours up to ``beyond``."""
        segment, layout = self._segment, self._layout
        values = {column.id: segment.reader.read(column.id, column.type, start, beyond) for column in self._columns}
        all_keys = layout.sort_encoder.encode(
            [values[column.id] for column in layout.sort_columns], count=beyond - start
        )
        rows = np.arange(start, beyond, dtype=np.int64)
        begins, ends = segment.begins_of(rows), segment.overlay.ends_of(rows)
        count = stop - start
        orders = np.zeros(beyond - start - 1, np.int8)
        compare_neighbours(all_keys.words, all_keys.offsets, all_keys.width, orders)
        yield from self._say(orders > 0, start, "stands before a row with a lower key")
        yield from self._look_at_versions(orders == 0, begins, ends, start)
        keys = all_keys.slice(0, count) if count < len(all_keys) else all_keys
        own = {id: _first(column, count) for id, column in values.items()}
        self.living += int(np.count_nonzero(ends[:count] == OPEN))
        yield from self._look_at_cell(own, keys, start)
        yield from self._look_at_index(own, keys, start)
        last = np.ones(count, np.bool_)
        last[: len(orders)] = orders[:count] != 0
        yield from self._look_at_older(keys, np.flatnonzero(last), begins, start)

    def _look_at_versions(self, same: np.ndarray, begins: np.ndarray, ends: np.ndarray, start: int) -> Iterator[str]:
        low, high = self._segment.version_low, self._segment.version_high
        yield from self._say(ends < begins, start, "ended before it began")
        yield from self._say(
            (begins > high) | ((begins < low) & (begins != 0)), start, f"did not begin in {low}..{high}"
        )
        newer, older = begins[:-1], begins[1:]
        if self._segment.description.begin is None:
            yield from self._say(same & (older > newer), start, "stands before a newer version of it")
        ended = ends[1:]
        overlaps = same & ((ended == OPEN) | ((newer != 0) & (ended > newer)))
        yield from self._say(overlaps, start, "has an older version that did not end before it began")

    def _look_at_cell(self, values: dict[int, Any], keys: Keys, start: int) -> Iterator[str]:
        layout, count = self._layout, len(keys)
        routes = layout.route(values, keys if self._table.primary_key else None, count=count)
        for group in routes.groups:
            if (group.slice, group.shard) != self._cell:
                row = start + int(np.arange(count)[routes.positions(group)][0])
                yield (
                    f"row {row} and {group.stop - group.start - 1:,} others belong to shard {group.shard} of slice "
                    f"{group.slice}, and stand in shard {self._cell[1]} of slice {self._cell[0]}"
                )
        if layout.time is not None:
            times = layout.times(values)
            low, high = self._segment.time_low, self._segment.time_high
            yield from self._say((times < low) | (times > high), start, "has an event time beyond those of its segment")

    def _look_at_index(self, values: dict[int, Any], keys: Keys, start: int) -> Iterator[str]:
        reader = self._segment.reader
        if self._table.primary_key:
            yield from self._look_at_filter(reader.pk_filter, keys.hashes, start, "primary keys")
        if self._hashes.wanted:
            columns = [partial(values.__getitem__, column.id) for column in self._hashes.columns]
            yield from self._look_at_filter(reader.key_filter, self._hashes.of(keys, columns), start, "keys")
        yield from self._look_at_samples(reader, keys, start)

    def _look_at_filter(self, filter: np.ndarray | None, hashes: np.ndarray, start: int, name: str) -> Iterator[str]:
        if filter is None:
            if start == 0:
                yield f"it has no filter of {name}"
            return
        found = np.zeros(len(hashes), np.uint8)
        filters.probe(filter, hashes, found)
        yield from self._say(found == 0, start, f"is not in the filter of {name}: it cannot be found")

    def _look_at_samples(self, reader: SegmentReader, keys: Keys, start: int) -> Iterator[str]:
        words, offsets = reader.sample_words, reader.sample_offsets
        if words is None:
            if start == 0:
                yield "it has no sample keys"
            return
        for row in range(0, len(keys), reader.block_rows):
            block = (start + row) // reader.block_rows
            own = keys.take(np.array([row], np.int64)).words
            if offsets is None:
                sample = words[block * keys.width : (block + 1) * keys.width]
            else:
                sample = words[int(offsets[block]) : int(offsets[block + 1])]
            if not np.array_equal(own, sample):
                yield f"the sample key of block {block} is not that of its first row"

    def _look_at_older(self, keys: Keys, places: np.ndarray, begins: np.ndarray, start: int) -> Iterator[str]:
        """The oldest version of each row here began when the newest in older segments had ended, or later."""
        for segment in self._older:
            if not len(places):
                return
            try:
                found = segment.index.find(keys.take(places))
                there = np.flatnonzero(found >= 0)
                ends = segment.overlay.ends_of(found[there])
            except WeftError:
                continue  # said where that segment is looked at
            own = begins[places[there]]
            wrong = there[(ends == OPEN) | ((own != 0) & (ends > own))]
            if len(wrong):
                yield (
                    f"row {start + int(places[wrong[0]])} and {len(wrong) - 1:,} others have older versions in "
                    f"{segment.reader.name} that did not end before they began"
                )
            places = np.delete(places, there)

    def _say(self, wrong: np.ndarray, start: int, what: str) -> Iterator[str]:
        places = np.flatnonzero(wrong)
        if len(places):
            others = f" (and {len(places) - 1:,} more rows)" if len(places) > 1 else ""
            yield f"row {start + int(places[0])} {what}{others}"


# Reading a folder without LMDB.

_MANIFEST: Final = "the database cannot be opened, or not be relied on: restore it from a backup"
_LOG: Final = "commits since the last checkpoint: opening the database fails; what the checkpoint holds is in a backup"
_LEFT_OVER: Final = "left over by a crash, removed when the database is opened to write"
_PAGES: Final = "LMDB's pages were not looked at, since the database is open: weft check DIR does it when it is closed"
_NOTHING: Final = "nothing: all rows can be read"
_EPOCHS_MOST: Final = 1 << 32
_INTERNAL_NAMES: Final = frozenset(table.name for table in INTERNAL)


def _databases(file: Path, report: Report) -> dict[str, Iterator[tuple[bytes, bytes]]]:
    if not file.exists():
        report.add(str(file), "the file is missing", _MANIFEST)
        return {}
    for problem in lmdb_pages.problems(file):
        report.add(str(file), problem, _MANIFEST)
    try:
        named = lmdb_pages.contents(file)
    except Corrupt as error:
        if not report.problems:
            report.add(str(file), error.message, _MANIFEST)
        return {}
    for name in (*DATABASES, DATABASE):
        if name not in named:
            report.add(str(file), f"it has no database {name}", _MANIFEST)
    for name in named.keys() - {*DATABASES, DATABASE}:
        report.add(str(file), f"it has a database {name}, which nobody wrote", _NOTHING)
    return named


def _whole(entries: Iterator[tuple[bytes, bytes]] | None, report: Report, where: str) -> Iterator[tuple[bytes, bytes]]:
    """The entries up to the first page that is damaged."""
    try:
        yield from entries or ()
    except Corrupt as error:
        if not report.problems:
            report.add(where, error.message, _MANIFEST)


def _log_values(
    named: Mapping[str, Iterator[tuple[bytes, bytes]]], report: Report, where: str
) -> Iterator[tuple[int, bytes]]:
    for key, value in _whole(named.get(_LOG_DATABASE), report, where):
        if len(key) != 8:
            report.add(where, f"the log has an entry {key!r}, which nobody wrote", _LOG)
        else:
            yield int.from_bytes(key, "big"), value


@dataclass(slots=True)
class _LogState:
    """The log's database "state": the last lease, and whether there is a journal."""

    epoch: int | None = None
    journaled: bool = False


def _log_state(named: Mapping[str, Iterator[tuple[bytes, bytes]]], report: Report, where: str) -> _LogState:
    found = _LogState()
    for key, value in _whole(named.get(_STATE_DATABASE), report, where):
        if key == b"journal" and value == b"1":
            found.journaled = True
        elif key not in (b"epoch", b"first") or len(value) != 8:
            report.add(where, f"the log's state has an entry {key!r}, which nobody wrote", _LOG)
        elif key == b"epoch":
            found.epoch = int.from_bytes(value, "big")
    return found


def _readable(engine: Engine, position: int, report: Report) -> Iterator[Entry]:
    """The log of an open database from the checkpoint on; it may be trimmed meanwhile."""
    try:
        yield from engine.storage.log.read(position + 1)
    except NotFound:
        return
    except (Corrupt, Unavailable) as error:
        report.add(f"the log of {engine.storage.name}", error.message, _LOG)


def _first(values: Values, count: int) -> Values:
    """The first values, in place."""
    valid = None if values.valid is None else values.valid[:count]
    if isinstance(values, VariableValues):
        return VariableValues(values.offsets[: count + 1], values.data, valid)
    return FixedValues(values.values[:count], valid)


def _with_names(problem: str, table: Table) -> str:
    """A segment knows its columns by their identifiers, people by their names."""
    names = {column.id: f'"{column.name}"' for column in table.columns} | {BEGIN: "(begin version)", DELTA: "(delta)"}
    return re.sub(r"\bcolumn (-?\d+)\b", lambda match: f"column {names.get(int(match[1]), match[1])}", problem)


def _bytes_of(description: Description) -> int:
    overlay = description.overlay
    return description.place.length + (0 if overlay is None else overlay.length)


def _cell_name(table: Table, description: Description) -> str:
    shard = f"shard {description.shard}" if table.shards > 1 else "its rows"
    if table.every is None:
        return shard
    low, high = (begin_of(table, slice) for slice in (description.slice, description.slice + 1))
    return f"{shard} from {_moment(low)} to {_moment(high)}"


def _moment(microseconds: int) -> str:
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    except OverflowError:
        return f"{microseconds} µs"
    return f"{moment:%Y-%m-%d %H:%M}" if microseconds % 86_400_000_000 else f"{moment:%Y-%m-%d}"


def _column_sizes(sizes: Mapping[tuple[int | None, str, bool], int], table: Table) -> list[ColumnSize]:
    """By column in the table's order, then the largest first."""
    places: dict[int | None, int] = {column.id: place for place, column in enumerate(table.columns)}
    names: dict[int | None, str] = {column.id: column.name for column in table.columns}
    found = [
        ColumnSize(
            column=names.get(id) or _HIDDEN_NAMES.get(id) or _other_name(id),
            encoding=encoding,
            blocks=sizes[id, encoding, True],
            bytes=sizes[id, encoding, False],
        )
        for id, encoding in sorted(
            {(id, encoding) for id, encoding, _ in sizes},
            key=lambda item: (places.get(item[0], len(places) + (item[0] is None)), -sizes[(*item, False)]),
        )
    ]
    return [size for size in found if size.bytes or size.blocks]


def _other_name(id: int | None) -> str:
    return f"({ROW_ID_NAME})" if id == ROW_ID else f"(dropped column {id})"


_LOG_DATABASE, _STATE_DATABASE = DATABASES
