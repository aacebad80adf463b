"""TableStore: all cells of one table, as apply writes them and as readers see them.

    batch ──► encode keys, hash ──► group by cell ──► per cell: append to the memtable, upsert the index

``apply_put``, ``apply_delete`` and ``apply_truncate`` are total and deterministic: they never raise for data, and the
rows at every version depend on the calls alone. What could go wrong (too many slices) ``check_bounds`` says before.
One thread applies; any number read at versions that were published, without a lock (see memtable.py for why).

Batches of the public interface name columns by name, those of log records by identifier (``by_id=True``). A table
without primary key addresses rows by ``weft_row_id``, together with its key and time columns, which say in which cell
a row is.

What this does not know: catalog, log, transactions, conflicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from ..base.errors import Internal, Invalid
from ..base.limits import PROJECTIONS_MAX
from ..base.types import no_rows
from ..storage.column_values import FixedValues, Values, constant_array, values_of
from .cell import Cell, Cells
from .changed_rows import CellChanges, cell_changes
from .export import Export
from .expression.node import Expression
from .kernels import ordering
from .key_encoding import Keys
from .layout import Layout, Probe
from .memtable import OPEN, Memtable
from .part import Part, newest_rows, visible_rows
from .projection import Projection, missing_value
from .prune import Pruning
from .retention import boundary_of, newest_counted
from .row_reads import UNSURE, Door
from .scan import Scan
from .schema import ROW_ID, ROW_ID_NAME, Table
from .series import read_series
from .statistics import TableStatistics, statistics_of
from .upsert import Upsert
from .windows import read_windows

if TYPE_CHECKING:
    from .segment import Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """The newest row version of each of n primary keys; where none is kept, ``found`` is False.

    ``begin`` and ``end`` are versions (``end`` the largest int64 while the row lives).
    """

    found: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    delta: np.ndarray

    @property
    def alive(self) -> np.ndarray:
        """Which keys have a row now: bool[n]."""
        return self.found & (self.end == OPEN)


class TableStore:
    """Rows of one table under one definition; ``with_definition`` gives the same rows under another."""

    def __init__(self, table: Table, *, cells: Cells | None = None) -> None:
        self.table = table
        self._cells = Cells() if cells is None else cells
        self._layout = Layout(table, orders=self._cells.orders)
        self._projections: dict[tuple[int, ...] | None, Projection] = {}

    def with_definition(self, table: Table) -> TableStore:
        """The same rows, read and written by the columns of ``table``, whose keys and cells must be the same."""
        old = self.table
        same = (table.primary_key, table.key, table.time, table.every) == (
            old.primary_key,
            old.key,
            old.time,
            old.every,
        )
        if not same or table.shards != old.shards:
            raise Internal(f'the definition of "{table.name}" changed its keys or cells')
        return TableStore(table, cells=self._cells)

    # Writing: the sequencer's thread, in the order of the log.

    def apply_put(
        self, batch: pa.RecordBatch, *, version: int, wall: int = OPEN, delta: bool = False, by_id: bool = False
    ) -> int:
        """Put full rows in order; each ends the newest row with its primary key. Returns how many rows it replaced.

        Columns that the batch lacks read as in rows that are older than they. Event times further ahead of ``wall``,
        the record's wall clock, than one slice do not count as newest.
        """
        count = batch.num_rows
        values = self._layout.values(batch, by_id=by_id)
        values.pop(ROW_ID, None)  # Row ids are given here and nowhere else.
        self._complete(values, count=count)
        keys = self._layout.encode(values, count=count) if self.table.primary_key else None
        routes = self._layout.route(values, keys, count=count)
        if routes.order is not None:
            values = {id: column.take(routes.order) for id, column in values.items()}
            keys = None if keys is None else keys.take(routes.order)
        replaced = 0
        for group in routes.groups:
            cell = self._cells.open(group.slice, group.shard)
            memtable = self._cells.writable(cell)
            older = cell.parts[1:] if keys is not None else ()
            fresh: list[np.ndarray] | None = [] if older else None
            bytes_before = memtable.bytes_used
            replaced += memtable.append(
                self._layout, values, keys, group.start, group.stop, version=version, delta=delta, fresh=fresh
            )
            self._cells.count_bytes(memtable, before=bytes_before)
            self._cells.chunks_most = max(self._cells.chunks_most, len(memtable.chunks))
            if fresh and keys is not None:
                probe = self._layout.probe(values, keys, count=count).take(np.concatenate(fresh))
                replaced += self._end(older, probe, version=version)
        self._cells.rows_count += count - replaced
        if self._layout.sliced:
            self.count_times(self._layout.times(values), wall=wall)
        return replaced

    def upsert(self, keys: Keys) -> Upsert:
        """What ``apply`` makes rows with these keys by, all different, of what the newest hold."""
        return Upsert(self._cells, self._layout, keys)

    def apply_delete(self, keys: pa.RecordBatch, *, version: int, by_id: bool = False) -> int:
        """End the rows with these primary keys (or row ids) where they live. Returns how many ended."""
        ended = 0
        for _, cell, probe in self._find(keys, by_id=by_id):
            ended += self._end(cell.parts, probe, version=version)
        self._cells.rows_count -= ended
        return ended

    def apply_truncate(self, *, version: int) -> int:
        """End all rows. Returns how many ended."""
        self._cells.newest = None
        return self._end_all(self._cells.all(), version=version)

    def apply_drop_slices(self, boundary: int, *, version: int) -> int:
        """End all rows of slices below ``boundary``: in constant time per segment. Returns how many ended."""
        return self._end_all(self._cells.below(boundary), version=version)

    def _end_all(self, cells: Sequence[Cell], *, version: int) -> int:
        ended = 0
        for cell in cells:
            for part in cell.parts:
                bytes_before = part.bytes_used
                ended += part.end_all(version=version)
                self._cells.count_bytes(part, before=bytes_before)
        self._cells.rows_count -= ended
        return ended

    def count_times(self, times: np.ndarray, *, wall: int) -> None:
        """Event times of rows that were put (microseconds, int64[n]): the newest that counts is kept."""
        if not self._layout.sliced:
            return
        limit = OPEN if wall == OPEN else wall + (self.table.every or 0)
        newest = newest_counted(times, limit=limit)
        if newest is not None and (self._cells.newest is None or newest > self._cells.newest):
            self._cells.newest = newest

    def _end(self, parts: Sequence[Part], probe: Probe, *, version: int) -> int:
        ended = 0
        for part, _, rows in newest_rows(parts, probe, ending=True):
            bytes_before = part.bytes_used
            ended += part.end(rows, version=version)
            self._cells.count_bytes(part, before=bytes_before)
        return ended

    @property
    def layout(self) -> Layout:
        """What the definition means for the rows."""
        return self._layout

    def check_bounds(self, batch: pa.RecordBatch, *, by_id: bool = False) -> None:
        """Raise LimitExceeded where putting the batch would open too many slices. Call it before the commit."""
        slices = {0}
        if self._layout.sliced and batch.num_rows:
            column = self._layout.time
            assert column is not None, "a sliced table has an event time"
            name = str(column.id) if by_id else column.name
            times = self._layout.times({column.id: values_of(batch.column(name), column.type)})
            low, high = (self._layout.slice_of(int(time)) for time in (times.min(), times.max()))
            slices = {low, high}
            if high - low > 1:
                slices = self._layout.slices(times)
        self._cells.check_slices(slices, table=self.table)

    # Retention, see retention.py.

    def boundary(self, *, wall: int) -> int | None:
        """The first slice that the table keeps now; None where it keeps all."""
        return boundary_of(self.table, newest=self._cells.newest, wall=wall)

    def slices_below(self, boundary: int) -> set[int]:
        """The slices below ``boundary`` that have rows."""
        cells = self._cells.below(boundary)
        return {cell.slice for cell in cells if any(part.living_count for part in cell.parts)}

    def next_drop(self, boundary: int, *, rows_max: int) -> int | None:
        """The boundary to drop to next, so that slices with at most so many rows go, or one slice; None: nothing goes.

        It is ``boundary`` itself where all of them may go at once.
        """
        rows: dict[int, int] = {}
        for cell in self._cells.below(boundary):
            living = sum(part.living_count for part in cell.parts)
            if living:
                rows[cell.slice] = rows.get(cell.slice, 0) + living
        going = 0
        for slice in sorted(rows):
            if going and going + rows[slice] > rows_max:
                return slice
            going += rows[slice]
        return boundary if rows else None

    def rows_below(self, boundary: int, *, columns: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """Some columns of the rows of slices below ``boundary`` that have not ended."""
        projection = self._projection(columns, row_ids=False)
        for cell in self._cells.below(boundary):
            for part in cell.parts:
                yield from part.batches(projection, OPEN - 1)

    def forget_empty_cells(self) -> int:
        """Let go of cells that hold nothing any more; returns how many. Keep the writer out."""
        return self._cells.forget_empty()

    # Maintenance: what a checkpoint holds, and parts that take each other's place.

    def counters(self) -> dict[str, int | None]:
        """What ``apply`` counts beside the rows."""
        return {
            "next_row_id": self._cells.next_row_id,
            "rows_count": self._cells.rows_count,
            "newest": self._cells.newest,
        }

    def set_counters(self, counters: Mapping[str, Any]) -> None:
        """Take over what ``counters`` gave."""
        self._cells.next_row_id = counters["next_row_id"]
        self._cells.rows_count = counters["rows_count"]
        self._cells.newest = counters["newest"]

    def add_segment(self, segment: Segment) -> None:
        """Add a segment whose rows all began later than those of the parts that its cell has."""
        description = segment.description
        cell = self._cells.open(description.slice, description.shard)
        segment.number = self._cells.new_part()
        cell.parts = (segment, *cell.parts)
        self._cells.count_bytes(segment)

    def install_segment(self, segment: Segment) -> None:
        """Add the rows of a segment that began at the newest version of all, and are not counted yet."""
        cell = self._cells.open(segment.description.slice, segment.description.shard)
        cell.freeze()
        self.add_segment(segment)
        self._cells.rows_count += segment.rows_count - segment.overlay.ended_count

    def end_rows(self, part: Part, rows: np.ndarray, *, version: int) -> None:
        """End rows (int64 locators) of one part where they live."""
        bytes_before = part.bytes_used
        self._cells.rows_count -= part.end(rows, version=version)
        self._cells.count_bytes(part, before=bytes_before)

    def freeze(self) -> list[tuple[Cell, Memtable]]:
        """Let no more rows into the memtables; all that wait to be sealed, with their cells. Keep the writer out."""
        frozen: list[tuple[Cell, Memtable]] = []
        for cell in self._cells.all():
            cell.freeze()
            frozen += [(cell, part) for part in cell.parts if isinstance(part, Memtable)]
        self._cells.close_slices()
        return frozen

    def replace(self, cell: Cell, old: Sequence[Part], new: Sequence[Part]) -> None:
        """Put ``new`` in the place of ``old`` in a cell. Keep the writer out."""
        for part in new:
            part.number = self._cells.new_part()
        cell.replace(old, new)
        for part in new:
            self._cells.count_bytes(part)
        for part in old:
            self._cells.count_bytes(part, sign=-1)

    @property
    def open_slices_count(self) -> int:
        """Slices with rows that are not in segments yet."""
        return self._cells.open_slices_count

    @property
    def cells(self) -> list[Cell]:
        """The cells of this moment."""
        return self._cells.all()

    @property
    def segments(self) -> list[Segment]:
        """The segments of this moment."""
        parts = [part for cell in self._cells.all() for part in cell.parts]
        return [part for part in parts if not isinstance(part, Memtable)]  # pyright: ignore[reportReturnType]

    @property
    def next_row_id(self) -> int:
        """The row id of the next row of a table without primary key."""
        return self._cells.next_row_id

    # Judging: what is newest, and what changed.

    def newest(self, keys: pa.RecordBatch) -> Newest:
        """The newest row version of each primary key (or row id), ended or not."""
        count = keys.num_rows
        newest = Newest(
            found=np.zeros(count, np.bool_),
            begin=np.zeros(count, np.int64),
            end=np.zeros(count, np.int64),
            delta=np.zeros(count, np.bool_),
        )
        for positions, cell, probe in self._find(keys):
            for part, places, rows in newest_rows(cell.parts, probe):
                at = positions[places]
                newest.begin[at], newest.end[at], newest.delta[at] = part.describe(rows)
                newest.found[at] = True
        return newest

    def find_newest(self, keys: pa.RecordBatch, *, ending: bool = False) -> Iterator[tuple[Cell, Part, np.ndarray]]:
        """Where the newest row version of each primary key (or row id) is: int64 locators by cell and part.

        ``ending``: for ``apply``, see ``Part.find_ending``.
        """
        for _, cell, probe in self._find(keys):
            for part, _, rows in newest_rows(cell.parts, probe, ending=ending):
                yield cell, part, rows

    def check_slices(self, slices: set[int]) -> None:
        """Raise LimitExceeded where rows in these slices would open too many. Call it before the commit."""
        self._cells.check_slices(slices, table=self.table)

    def changed_since(self, keys: pa.RecordBatch, version: int, *, ignore_deltas: bool) -> np.ndarray:
        """Which primary keys (or row ids) saw a put or delete after ``version``, or a delta unless ignored: bool[n].

        Parts without any change after ``version`` are passed over: a row that one of them has there is as it was, and
        so are its versions in the parts behind.
        """
        changed = np.zeros(keys.num_rows, np.bool_)
        for positions, cell, probe in self._find(keys, changed_after=version):
            followings = np.full(probe.count, OPEN, np.int64)
            for part in cell.parts:
                if part.changed_at <= version:
                    continue
                rows = part.find(probe)
                if not (rows >= 0).any():
                    continue
                result, done = part.changed(probe, rows, version, followings, ignore_deltas=ignore_deltas)
                changed[positions[result]] = True
                left = np.flatnonzero(~done)
                if not len(left):
                    break
                positions, probe, followings = positions[left], probe.take(left), followings[left]
        return changed

    def changes(
        self, low: int, high: int, *, pruning: Pruning | None = None, columns: Sequence[int] | None = None
    ) -> Iterator[CellChanges]:
        """The rows that began or ended after ``low`` and at or before ``high``, in pieces of cells, in no order.

        ``high`` must be visible, and what ended after ``low`` still be kept: hold a snapshot at ``low`` that writes,
        or look at ``Pins.floor`` afterwards. ``pruning`` leaves out what it can, so rows may come that its filter is
        not true of. A version that began and ended in the range is in both. ``columns`` as for ``scan``, row ids last
        where there is no primary key. Raises Corrupt.
        """
        projection = self._projection(columns, row_ids=not self.table.primary_key)
        return cell_changes(self._cells, self._layout, projection, low, high, pruning=pruning)

    # Reading at a version.

    def get(self, key: tuple[Any, ...], *, version: int) -> dict[str, Any] | None:
        """The row with this primary key as Python values by name, or None. Raises Invalid for a wrong type."""
        layout = self._layout
        assert layout.encoder is not None, f'"{self.table.name}" has a primary key'
        encoded = layout.encoder.encode_one(key)
        cell = self._cells.get(*layout.route_one(key, encoded))
        if cell is None:
            return None
        parts, door = cell.parts, cell.door
        if door is None or door.parts is not parts or door.layout is not layout:
            door = cell.door = Door(layout, parts)
        row = door.get(encoded, version)
        return self._row_looked_up(cell, key, encoded, version=version) if row is UNSURE else row

    def _row_looked_up(
        self, cell: Cell, key: tuple[Any, ...], encoded: bytes, *, version: int
    ) -> dict[str, Any] | None:
        """The same, the way of many keys."""
        for part, _, rows in visible_rows(cell.parts, self._layout.probe_one(encoded), version=version):
            return self._values_at(part, int(rows[0]), key)
        return None

    def _values_at(self, part: Part, row: int, key: tuple[Any, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for column in self.table.columns:
            try:
                found[column.name] = part.value_of(column, row)
            except OverflowError as error:
                raise Invalid(
                    f'the {column.type} in column "{column.name}" of row {key} is beyond the years that Python can say',
                    hint="Read it as Arrow: get_many, scan or a query.",
                    sqlstate="22008",
                ) from error
        return found

    def get_many(
        self, keys: pa.RecordBatch, *, version: int, columns: Sequence[int] | None = None
    ) -> tuple[pa.RecordBatch, np.ndarray]:
        """The rows with these primary keys (or row ids) in the order of the keys, and of each the index of its key."""
        projection = self._projection(columns, row_ids=False)
        batches: list[pa.RecordBatch] = []
        indices: list[np.ndarray] = []
        for positions, cell, probe in self._find(keys):
            for part, places, rows in visible_rows(cell.parts, probe, version=version):
                at = positions[places]
                for batch, which in part.rows_at(projection, rows):
                    batches.append(batch)
                    indices.append(at[which])
        if not batches:
            return no_rows(projection.schema), _NO_INDICES
        found = np.concatenate(indices)
        rows_found = batches[0] if len(batches) == 1 else pa.concat_batches(batches)
        if bool(np.all(found[:-1] <= found[1:])):
            return rows_found, found
        order = np.argsort(found, kind="stable")
        return rows_found.take(pa.array(order)), found[order]

    def extreme(self, low: Keys, high: Keys, *, last: bool) -> tuple[pa.RecordBatch, np.ndarray]:
        """The first (or last) row by primary key of each range of keys that has any, and of each its range's index.

        Of rows as they are now, for the writer alone. Keys are bounds as of ``Part.extreme``. Takes logarithmic time
        where the table has few cells, as internal tables have.
        """
        assert self._layout.encoder is not None, f'"{self.table.name}" has a primary key'
        projection = self._projection(None, row_ids=False)
        best: tuple[pa.RecordBatch, np.ndarray] = no_rows(projection.schema), _NO_INDICES
        for part in [part for cell in self._cells.all() for part in cell.parts]:
            bytes_before = part.bytes_used
            rows = part.extreme(low, high, last=last)
            self._cells.count_bytes(part, before=bytes_before)
            places = np.flatnonzero(rows >= 0)
            for batch, which in part.rows_at(projection, rows[places]) if len(places) else ():
                best = self._more_extreme(best, (batch, places[which]), last=last)
        return best

    def _more_extreme(
        self, left: tuple[pa.RecordBatch, np.ndarray], right: tuple[pa.RecordBatch, np.ndarray], *, last: bool
    ) -> tuple[pa.RecordBatch, np.ndarray]:
        """Of two sets of rows, each with the place of its range, for each place the one that comes first, or last."""
        if not len(left[1]):
            return right
        rows, places = pa.concat_batches([left[0], right[0]]), np.concatenate((left[1], right[1]))
        keys = self._layout.encode(self._layout.values(rows, by_id=False), count=rows.num_rows)
        chosen = np.full(int(places.max()) + 1, -1, np.int64)
        ordering.choose(keys.words, keys.offsets, keys.width, places, last, chosen)
        found = np.flatnonzero(chosen >= 0)
        return rows.take(pa.array(chosen[found])), found

    def scan(
        self,
        *,
        version: int,
        columns: Sequence[int] | None = None,
        filter: Expression | None = None,
        row_ids: bool = False,
    ) -> Scan:
        """Rows visible at ``version`` where ``filter`` is true: ``columns`` in the order given, all unless told.

        ``row_ids`` appends ``weft_row_id`` of a table without primary key.
        """
        projection = self._projection(columns, row_ids=row_ids)
        return Scan(self._layout, self._cells, projection, version=version, filter=filter)

    def statistics(self) -> TableStatistics:
        """What is known of the rows that live now."""
        return statistics_of(self.table, self._cells)

    def export(self, *, version: int, columns: Sequence[int] | None = None) -> Export:
        """Rows visible at ``version``: by slice, shard, and primary key (or key, event time, row id)."""
        return Export(self._layout, self._cells, self._projection(columns, row_ids=False), version=version)

    def series(
        self,
        key: tuple[Any, ...],
        low: int | None,
        high: int | None,
        *,
        version: int,
        columns: Sequence[int] | None = None,
    ) -> pa.RecordBatch | None:
        """The few rows of one key in a window of event time, see series.py; None where ``scan`` has to find them."""
        projection = self._projection(columns, row_ids=False)
        return read_series(self._cells, self._layout, projection, key, low, high, version=version)

    def windows(
        self,
        windows: Sequence[tuple[int, int]],
        *,
        version: int,
        columns: Sequence[int],
        filter: Expression | None,
    ) -> tuple[pa.RecordBatch, np.ndarray] | None:
        """The few rows of short windows of event time, see windows.py; None where ``scan`` has to find them."""
        projection = self._projection(columns, row_ids=False)
        found = read_windows(self._cells, self._layout, projection, windows, version=version, filter=filter)
        if found is None:
            self._cells.windows_scanned.add()
        return found

    @property
    def windows_scanned(self) -> float:
        """How often that was None."""
        return self._cells.windows_scanned.value

    @property
    def rows_count(self) -> int:
        """Rows that live now."""
        return self._cells.rows_count

    @property
    def bytes_used(self) -> int:
        """Memory that all of it takes, in bytes, roughly: memtables, and the ends of rows in segments."""
        return self._cells.memtables_bytes + self._cells.overlays_bytes

    @property
    def memtables_bytes(self) -> int:
        """Memory of rows that are not in segments, their versions and the index."""
        return self._cells.memtables_bytes

    @property
    def orders_bytes(self) -> int:
        """Memory of what series reads keep beside the rows that are not in segments, see chunk_order.py."""
        return sum(list(self._cells.orders.values()))

    @property
    def cells_count(self) -> int:
        return len(self._cells)

    def _find(
        self, keys: pa.RecordBatch, *, by_id: bool = False, changed_after: int = -1
    ) -> Iterator[tuple[np.ndarray, Cell, Probe]]:
        """Per cell with any of the keys: their positions (int64), the cell, and what to look them up by.

        Only cells with rows that began or ended after ``changed_after``.
        """
        values = self._layout.values(keys, by_id=by_id)
        count = keys.num_rows
        encoded = self._layout.encode(values, count=count) if self.table.primary_key else None
        routes = self._layout.route(values, encoded, count=count)
        probe = self._layout.probe(values, encoded, count=count) if count else None
        for group in routes.groups:
            cell = self._cells.get(group.slice, group.shard)
            if cell is None or probe is None or all(part.changed_at <= changed_after for part in cell.parts):
                continue
            if routes.order is None:
                yield np.arange(count), cell, probe
            else:
                positions = routes.order[group.start : group.stop]
                yield positions, cell, probe.take(positions)

    def _complete(self, values: dict[int, Values], *, count: int) -> None:
        """Give values to the columns that a batch lacks, row ids above all."""
        if len(values) == len(self._layout.columns):
            return
        for column in self._layout.columns:
            if column.id == ROW_ID:
                first = self._cells.next_row_id
                self._cells.next_row_id = first + count
                values[ROW_ID] = FixedValues(np.arange(first, first + count, dtype=np.int64), None)
            elif column.id not in values:
                fill = constant_array(missing_value(column), count, column.type)
                values[column.id] = values_of(fill, column.type)

    def _projection(self, columns: Sequence[int] | None, *, row_ids: bool) -> Projection:
        if row_ids:
            if self.table.primary_key:
                raise Internal(f'"{self.table.name}" has a primary key, and so no {ROW_ID_NAME}')
            ids = [column.id for column in self.table.columns] if columns is None else columns
            return Projection([self._layout.by_id[id] for id in (*ids, ROW_ID)])
        asked = None if columns is None else tuple(columns)
        projection = self._projections.get(asked)
        if projection is None:
            if len(self._projections) >= PROJECTIONS_MAX:
                self._projections.clear()
            chosen = self.table.columns if asked is None else [self._layout.by_id[id] for id in asked]
            projection = self._projections[asked] = Projection(chosen)
        return projection


_NO_INDICES: Final = np.empty(0, np.int64)
