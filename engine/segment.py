"""A segment as a part of a cell: sorted rows in a file, the overlay of those that ended, and how rows are found in it.

    description   what the manifest says of it: cell, place in the files, ranges of event time and versions
    reader        the bytes, mapped when they are first needed (storage/segment.py)
    index         how keys are found in them (segment_index.py)
    overlay       which rows have ended since (overlay.py)

Always true: rows are sorted by sort key, then newest first, so that the versions of one row stand one after the other;
nothing of a segment ever changes but its overlay; begin versions at or below every version that may still be read may
have been written as 0. Rows that a large transaction prepared began at the version that committed them (``begin``).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ..base.errors import Corrupt, WeftError
from ..base.types import BIGINT, BOOLEAN
from ..storage.column_values import FixedValues, Values, array_of, constant_array, values_of
from ..storage.segment import BLOCK_ROWS, SegmentReader
from ..storage.storage import segment_name
from .column_store import bytes_value, value_at
from .kernels.index import HIDDEN, MISSING
from .key_encoding import Keys
from .layout import Layout, Probe
from .overlay import OPEN, Overlay, bits_of
from .part import find_within
from .projection import Projection, missing_value
from .schema import Column
from .segment_index import SegmentIndex

BEGIN: Final = -1
"""Column identifier of begin versions in segments."""

DELTA: Final = -2
"""Column identifier of the flags of rows that commutative deltas made."""

BATCH_BLOCKS: Final = 8

VERSIONS_AT_ONCE: Final = 65_536
"""Versions that are looked at in one go where rows have many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Bytes of a segment file. ``checksum`` is that of the section's footer, or of all of an overlay."""

    file: int
    offset: int
    length: int
    checksum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What the manifest holds of one segment. Ranges of event time (microseconds) and begin versions are closed.

    ``overlay`` has the rows that had ended at the checkpoint. ``begin`` is the one begin version of prepared rows.
    ``columns`` are those that were written, by identifier. ``order`` is the identifier of the newest of the segments
    that it was merged from, 0 where it was not. ``given_up``: rows were to end and could not be looked up, see
    ``Segment``.
    """

    id: int
    table: int
    slice: int
    shard: int
    place: Section
    rows_count: int
    version_low: int
    version_high: int
    time_low: int
    time_high: int
    columns: tuple[int, ...]
    overlay: Section | None = None
    begin: int | None = None
    order: int = 0
    given_up: bool = False

    @property
    def age(self) -> tuple[int, int]:
        """Places the segments of a cell, oldest first. One transaction may have installed several: by ``order``."""
        return self.version_high, self.order or self.id

    def encode(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Description:
        try:
            fields = json.loads(bytes(data))
            fields["place"] = Section(**fields["place"])
            fields["overlay"] = None if fields["overlay"] is None else Section(**fields["overlay"])
            fields["columns"] = tuple(fields["columns"])
            return cls(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise Corrupt(f"the manifest's description of a segment cannot be read: {error}") from error


class Segment:
    """See the module. One writer ends rows; readers take no lock.

    A segment is *given up* when rows of it were to end and could not be looked up, or when its overlay is damaged: it
    is not known any more which of its rows live. All that would read it is Corrupt from then on, also after a restart,
    and all else goes on. (Other damage fails those who meet it, and only those.)
    """

    __slots__ = (
        "__weakref__", "_index", "_layout", "_lock", "_open", "_reader", "damage", "description", "examined", "late",
        "mergeable", "number", "overlay", "overlay_saved",
    )  # fmt: skip

    def __init__(
        self,
        description: Description,
        *,
        number: int,
        layout: Layout,
        open: Callable[[Section], SegmentReader],
        overlay: Overlay | None = None,
    ) -> None:
        """``open`` maps the section and gives its reader; ``overlay`` is what has ended already."""
        self.description = description
        self.number = number
        self.overlay = Overlay(description.rows_count) if overlay is None else overlay
        self.overlay_saved = 0  # ends up to this version are in the description's overlay
        self.late: list[tuple[np.ndarray | None, int]] | None = None
        self.examined: tuple[object, int] | None = None  # when its dead rows were last counted, see compaction.py
        self.damage: str | None = None  # why it was given up
        self.mergeable = True  # no merge has met damage in it
        if description.given_up:
            self.give_up("rows of it were to end and could not be looked up")
        self._layout = layout
        self._open = open
        self._lock = threading.Lock()
        self._reader: SegmentReader | None = None
        self._index: SegmentIndex | None = None

    def give_up(self, why: str) -> None:
        """See the class. Once is for ever."""
        if self.damage is None:
            self.damage = why
            self.mergeable = False
            self.overlay.distrust()

    def _check(self) -> None:
        if self.damage is not None:
            name = segment_name(self.description.place.file)
            raise Corrupt(
                f"a segment in {name} cannot be read any more: {self.damage}",
                hint="Restore the database from a backup.",
            )

    @property
    def rows_count(self) -> int:
        return self.description.rows_count

    @property
    def files(self) -> tuple[int, ...]:
        """The numbers of the files that hold it."""
        place, overlay = self.description.place, self.description.overlay
        return (place.file,) if overlay is None else (place.file, overlay.file)

    @property
    def living_count(self) -> int:
        """Rows that have not ended."""
        return self.rows_count - self.overlay.ended_count

    @property
    def time_low(self) -> int:
        return self.description.time_low

    @property
    def time_high(self) -> int:
        return self.description.time_high

    @property
    def version_low(self) -> int:
        return self.description.version_low

    @property
    def version_high(self) -> int:
        return self.description.version_high

    @property
    def bytes_used(self) -> int:
        """Memory that changes with writes: the overlay's. The mapped bytes belong to the system's cache."""
        return self.overlay.bytes_used

    @property
    def changed_at(self) -> int:
        """No row of it began or ended after this version. Which rows of one that was given up ended is not known."""
        return OPEN if self.damage is not None else max(self.version_high, self.overlay.last_end)

    @property
    def reader(self) -> SegmentReader:
        """The segment's bytes, mapped at first use. Raises Corrupt."""
        self._check()
        reader = self._reader
        if reader is None:
            with self._lock:
                reader = self._reader
                if reader is None:
                    reader = self._reader = self._open(self.description.place)
        return reader

    @property
    def index(self) -> SegmentIndex:
        self._check()
        index = self._index
        if index is None:
            index = self._index = SegmentIndex(self.reader, self._layout)
        return index

    def prepare(self) -> None:
        """Map it and read what the first look-up needs, so that no commit has to. Damage is for those who meet it."""
        with suppress(WeftError):
            self.index.prepare()

    def map(self) -> None:
        """Map it if it is not: who has it can read it then, also when the file is removed. Damage is for those."""
        with suppress(WeftError):
            _ = self.reader

    def move(self, description: Description) -> None:
        """The same bytes are somewhere else now. Who reads the old ones goes on."""
        with self._lock:
            self.description = description
            self._reader = self._index = None

    # Looking rows up.

    def find_ending(self, probe: Probe) -> np.ndarray:
        try:
            return self.find(probe)
        except Corrupt as error:
            self.give_up(error.message)
            return np.full(probe.count, MISSING, np.int64)

    def find(self, probe: Probe) -> np.ndarray:
        self._check()
        return find_within(probe, self._find_keys, low=self.description.time_low, high=self.description.time_high)

    def extreme(self, low: Keys, high: Keys, *, last: bool) -> np.ndarray:
        self._check()
        ended = self.overlay.ended
        if ended is None:
            return np.full(len(low), MISSING, np.int64)
        return self.index.extreme(low, high, ended=ended, last=last)

    def _find_keys(self, keys: Keys) -> np.ndarray:
        return self.index.find(keys)  # which is made when it is needed first

    def visible_of(self, probe: Probe, rows: np.ndarray, version: int) -> np.ndarray:
        if self.version_high <= version and not self.overlay.ended_count:
            return rows
        visible = np.where(rows >= 0, MISSING, rows)
        places = np.flatnonzero(rows >= 0)
        offset, width = 0, 1
        while len(places):
            chain, held = self._versions(rows[places], offset, width)
            begun = held & (self.begins_of(chain.ravel()).reshape(chain.shape) <= version)
            some = begun.any(1)
            at = chain[some, begun[some].argmax(1)]
            visible[places[some]] = np.where(self.overlay.ends_of(at) <= version, HIDDEN, at)
            places = places[~some & held[:, -1]]
            offset, width = offset + width, _wider(width, len(places))
        return visible

    def describe(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        deltas = _fixed(self.reader.take(DELTA, BOOLEAN, rows)).astype(np.bool_)
        return self.begins_of(rows), self.overlay.ends_of(rows), deltas

    def changed(
        self, probe: Probe, rows: np.ndarray, version: int, followings: np.ndarray, *, ignore_deltas: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        result = np.zeros(len(rows), np.bool_)
        done = np.zeros(len(rows), np.bool_)
        places = np.flatnonzero(rows >= 0)
        if self.changed_at <= version:
            done[places] = True
            return result, done
        if self.description.begin is not None and self.description.begin > version:
            result[places] = done[places] = True  # prepared rows are no deltas
            return result, done
        offset, width = 0, 1
        while len(places):
            chain, held = self._versions(rows[places], offset, width)
            begins, ends, deltas = (array.reshape(chain.shape) for array in self.describe(chain.ravel()))
            newer = np.column_stack((followings[places], begins[:, :-1]))
            changed = (
                held & (((ends > version) & (ends < newer)) | ((begins > version) & ~(deltas & ignore_deltas)))
            ).any(1)
            settled = changed | (held & (begins <= version)).any(1)
            result[places[changed]] = True
            done[places[settled]] = True
            some = held[:, 0]
            followings[places[some]] = begins[some, held[some].sum(1) - 1]
            places = places[~settled & held[:, -1]]
            offset, width = offset + width, _wider(width, len(places))
        return result, done

    def begins_of(self, rows: np.ndarray) -> np.ndarray:
        """The begin version of each row (int64[n])."""
        if self.description.begin is not None:
            return np.full(len(rows), self.description.begin, np.int64)
        return _fixed(self.reader.take(BEGIN, BIGINT, rows))

    def begins(self, start: int, stop: int) -> np.ndarray:
        """The begin versions of rows ``start`` to ``stop``."""
        if self.description.begin is not None:
            return np.full(stop - start, self.description.begin, np.int64)
        return _fixed(self.reader.read(BEGIN, BIGINT, start, stop))

    # Ending rows: the writer.

    def end(self, rows: np.ndarray, *, version: int) -> int:
        added = self.overlay.end(rows, version)
        count = int(np.count_nonzero(added))
        if self.late is not None and count:
            self.late.append((rows[added], version))
        return count

    def end_all(self, *, version: int) -> int:
        count = self.overlay.end_rest(version)
        if self.late is not None and count:
            self.late.append((None, version))
        return count

    # Reading rows.

    def visible(self, version: int, start: int, stop: int) -> np.ndarray | None:
        """Which rows of ``start`` to ``stop`` are visible at ``version``: uint8[stop - start]; None: all of them."""
        self._check()
        mask = self.overlay.visible(version, start, stop)
        if self.version_high > version:
            begun = self.begins(start, stop) <= version
            if not begun.all():
                mask = begun.view(np.uint8) if mask is None else mask & begun
        return mask

    def visible_among(self, version: int, rows: np.ndarray) -> np.ndarray:
        """Which of ``rows`` (int64[n]) are visible at ``version``: bool[n]."""
        self._check()
        visible = np.ones(len(rows), np.bool_)
        if self.overlay.ended_count:
            visible = self.overlay.ends_of(rows) > version
        if self.version_high > version:
            visible &= self.begins_of(rows) <= version
        return visible

    def hidden(self, version: int, start: int, stop: int) -> np.ndarray | None:
        """The others, as bits: see ``Overlay.hidden``."""
        self._check()
        if self.version_high <= version:
            return self.overlay.hidden(version, start, stop)
        mask = self.visible(version, start, stop)
        return None if mask is None else bits_of(mask, start)

    def values(self, column: Column, start: int, stop: int) -> Values:
        """A column's values in rows ``start`` to ``stop``, also where the segment is older than the column."""
        if column.id not in self.description.columns:
            return values_of(constant_array(missing_value(column), stop - start, column.type), column.type)
        return self.reader.read(column.id, column.type, start, stop)

    def taken(self, column: Column, rows: np.ndarray) -> pa.Array:
        """A column's values in some rows (int64[n]), as Arrow array."""
        if column.id not in self.description.columns:
            return constant_array(missing_value(column), len(rows), column.type)
        return array_of(self.reader.take(column.id, column.type, rows), column.type)

    def rows_at(self, projection: Projection, rows: np.ndarray) -> list[tuple[pa.RecordBatch, np.ndarray]]:
        arrays = [self.taken(column, rows) for column in projection.columns]
        return [(_batch(arrays, projection, len(rows)), np.arange(len(rows)))]

    def value_of(self, column: Column, row: int) -> Any:
        if column.id not in self.description.columns:
            return missing_value(column)
        found = self.reader.take_one(column.id, column.type, row)
        if found is None:
            return None
        if isinstance(found, bytes):
            return bytes_value(column.type)(found)
        return value_at(found, 0, column.type)

    def batches(self, projection: Projection, version: int) -> Iterator[pa.RecordBatch]:
        """The rows visible at ``version``, some blocks at a time."""
        if self.version_low > version:
            return
        for start in range(0, self.rows_count, BATCH_BLOCKS * BLOCK_ROWS):
            stop = min(start + BATCH_BLOCKS * BLOCK_ROWS, self.rows_count)
            mask = self.visible(version, start, stop)
            arrays = [array_of(self.values(column, start, stop), column.type) for column in projection.columns]
            batch = _batch(arrays, projection, stop - start)
            yield batch if mask is None else batch.take(pa.array(np.flatnonzero(mask)))

    # Versions of one row stand one after the other.

    def _versions(self, rows: np.ndarray, offset: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Of the versions of each newest row, newest first, ``width`` from the one at ``offset`` on.

        As int64[n, width] and bool[n, width]: where that is False there are no more versions, and the newest stands in.
        """
        if width == 1 and offset == 0:
            return rows[:, np.newaxis], np.ones((len(rows), 1), np.bool_)
        newest = np.repeat(rows, width)
        chain = newest + np.tile(np.arange(offset, offset + width), len(rows))
        held = chain < self.rows_count
        # A version that another one follows has ended; most rows after a row are of another key and live.
        asked = np.flatnonzero(held & (chain != newest))
        held[asked] = self.overlay.ends_of(chain[asked]) != OPEN
        asked = asked[held[asked]]
        if len(asked):
            held[asked] = self._equal_keys(newest[asked], chain[asked])
        chain = np.where(held, chain, newest)
        return chain.reshape(len(rows), width), held.reshape(len(rows), width)

    def _equal_keys(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Which rows of two arrays have one sort key: bool[n]."""
        encoder = self._layout.sort_encoder
        first, second = (
            encoder.encode([self._taken_values(column, rows) for column in self._layout.sort_columns], count=len(rows))
            for rows in (left, right)
        )
        if not len(first.offsets):
            return (first.words.reshape(len(left), -1) == second.words.reshape(len(left), -1)).all(axis=1)
        same = first.hashes == second.hashes
        same &= np.diff(first.offsets) == np.diff(second.offsets)
        places = np.flatnonzero(same)
        if len(places):
            first, second = first.take(places), second.take(places)
            same[places] = np.logical_and.reduceat(first.words == second.words, first.offsets[:-1])
        return same

    def _taken_values(self, column: Column, rows: np.ndarray) -> Values:
        return self.reader.take(column.id, column.type, rows)


def _wider(width: int, rows_count: int) -> int:
    """How many versions of each row to look at next: rows of many versions take few steps."""
    return max(1, min(2 * width, VERSIONS_AT_ONCE // max(rows_count, 1)))


def _fixed(values: Values) -> np.ndarray:
    assert isinstance(values, FixedValues), "a column of one width"
    return values.values


def _batch(arrays: list[pa.Array], projection: Projection, count: int) -> pa.RecordBatch:
    if not arrays:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * count, pa.struct([])))
    return pa.RecordBatch.from_arrays(arrays, schema=projection.schema)
