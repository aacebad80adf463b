"""What one table definition means for its rows in memory: stored columns, key encoding, and the way to the cell.

    shard = XXH64(encoded key columns) mod shards             0 where the table has no key
    slice = floor((event time - SLICE_ORIGIN) / every)        0 where it has no slices

Event time is counted in microseconds; a DATE stands for its midnight, clipped to what int64 microseconds can say. A
NULL event time (only tables without primary key have one) counts as the origin: no time range ever asks for it.

A table without primary key has a hidden column of row ids, dense and in the order of ``apply``.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ..base.errors import Internal
from ..base.types import BIGINT, Kind
from ..storage.column_values import FixedValues, Values, frozen, values_of
from .kernels import routing
from .key_encoding import WIDTHS, KeyEncoder, Keys, hash_one, microseconds_of
from .schema import ROW_ID, ROW_ID_NAME, SLICE_ORIGIN, Column, Table

DAY: Final = 86_400_000_000
_FIRST_SLICE: Final = (1 << 63) + SLICE_ORIGIN  # as an encoded time, see key_encoding.py
_DAYS_MAX: Final = (2**63 - 1) // DAY
_NO_HASHES: Final = frozen(np.empty(0, np.uint64))
_NO_TIMES: Final = frozen(np.empty(0, np.int64))

ROW_ID_COLUMN: Final = Column(id=ROW_ID, name=ROW_ID_NAME, type=BIGINT, nullable=False)

TIME_KINDS: Final = frozenset((Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ))


@dataclass(frozen=True, slots=True)
class Group:
    """Rows ``start`` to ``stop`` of a batch, once it is in the order of its routes, go to this cell."""

    slice: int
    shard: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Routes:
    """Where the rows of a batch go. ``order`` (int64[n]) brings the rows of a cell together; None: they are."""

    order: np.ndarray | None
    groups: list[Group]

    def positions(self, group: Group) -> np.ndarray | slice:
        """The places in the batch of a group's rows."""
        return slice(group.start, group.stop) if self.order is None else self.order[group.start : group.stop]


class Layout:
    """Derived once per table definition."""

    def __init__(self, table: Table, *, orders: dict[int, int] | None = None) -> None:
        """``orders``: where readers of the table note what they keep, see chunk_order.py."""
        self.table = table
        self.orders: dict[int, int] = {} if orders is None else orders
        self.columns = table.columns if table.primary_key else (ROW_ID_COLUMN, *table.columns)
        self.by_id = {column.id: column for column in self.columns}
        self.id_max = max(self.by_id)
        self.encoder = KeyEncoder(table.primary_key_columns) if table.primary_key else None
        self.sharded = table.shards > 1 and bool(table.key)
        self.sliced = table.time is not None and table.every is not None
        self.time = table.by_id[table.time] if table.time is not None else None
        if self.time is not None and self.time.type.kind not in TIME_KINDS:
            raise Internal(f'event time "{self.time.name}" of table "{table.name}" is {self.time.type}')
        self._key_encoder = KeyEncoder([table.by_id[id] for id in table.key])
        self._key_is_prefix = table.primary_key[: len(table.key)] == table.key
        self._time_bytes = self._bytes_of_time()
        self._base, self._phase = divmod(SLICE_ORIGIN, table.every) if table.every else (0, 0)
        row_key = (*table.key, ROW_ID) if table.time is None else (*table.key, table.time, ROW_ID)
        sort_ids = table.primary_key or tuple(dict.fromkeys(row_key))
        self.sort_columns = tuple(self.by_id[id] for id in sort_ids)
        self.key_leads = bool(table.key) and sort_ids[: len(table.key)] == table.key
        leading = len(table.key)
        self.has_series = bool(table.primary_key) and self.key_leads and leading < len(sort_ids)
        self.time_follows = self.has_series and sort_ids[leading] == table.time
        self.sort_encoder = self.encoder or KeyEncoder(self.sort_columns)
        self._heaps = tuple(column.id for column in self.columns if column.type.is_variable)
        self._row_bytes = 4 + sum(
            4 if column.type.is_variable else WIDTHS.get(column.type.kind, 16) for column in self.columns
        )
        if self.encoder is not None:
            self._row_bytes += 8 * self.encoder.width if self.encoder.fixed else 4
        self.empty_row_bytes = self._row_bytes + 16 * len(self._heaps)  # what a chunk has ready for a row

    def bytes_of(self, values: Mapping[int, Values], keys: Keys | None, start: int, stop: int) -> int:
        """Memory that rows ``start`` to ``stop`` of a batch take in a memtable, without its index."""
        count = (stop - start) * self._row_bytes
        for id in self._heaps:
            offsets = values[id].offsets  # pyright: ignore[reportAttributeAccessIssue]
            count += int(offsets[stop]) - int(offsets[start])
        if keys is not None and not keys.width:
            count += 8 * (int(keys.offsets[stop]) - int(keys.offsets[start]))
        return count

    def values(self, batch: pa.RecordBatch, *, by_id: bool) -> dict[int, Values]:
        """A batch's columns by identifier. Its fields are named by column name, or by identifier in decimal."""
        values: dict[int, Values] = {}
        for index, name in enumerate(batch.schema.names):
            column = self.by_id.get(int(name)) if by_id else self._column_named(name)
            if column is not None:
                values[column.id] = values_of(batch.column(index), column.type)
        return values

    def encode(self, values: dict[int, Values], *, count: int) -> Keys:
        """The encoded primary keys of rows or keys."""
        assert self.encoder is not None, f'"{self.table.name}" has a primary key'
        return self.encoder.encode([values[id] for id in self.table.primary_key], count=count)

    def probe(self, values: dict[int, Values], keys: Keys | None, *, count: int) -> Probe:
        """What to look rows up by: ``values`` are those of the key columns; ``keys`` are encoded already, or None."""
        ids = None
        if not self.table.primary_key:
            column = values[ROW_ID]
            assert isinstance(column, FixedValues), f"{ROW_ID_NAME} is BIGINT"
            ids = column.values
        elif keys is None:
            keys = self.encode(values, count=count)
        times = None
        if self.time is not None and self.table.primary_key:
            times = self.times(values)
        return Probe(self, values=values, keys=keys, row_ids=ids, times=times, count=count)

    def probe_one(self, encoded: bytes) -> Probe:
        """What to look one encoded primary key up by."""
        keys = self.sort_encoder.keys_of_one(encoded)
        return Probe(self, values={}, keys=keys, row_ids=None, times=None, count=1)

    def route(self, values: dict[int, Values], keys: Keys | None, *, count: int) -> Routes:
        """The cells of ``count`` rows, in the order in which they first appear."""
        if not (self.sharded or self.sliced) or count == 0:
            return Routes(None, [Group(0, 0, 0, count)] if count else [])
        hashes = self._shard_hashes(values, keys, count=count) if self.sharded else _NO_HASHES
        times = self.times(values) if self.sliced else _NO_TIMES
        slices, shards, starts, order = routing.route(
            hashes, self.table.shards, times, self.table.every or 1, self._base, self._phase
        )
        bounds = starts.tolist()
        groups = list(map(Group, slices.tolist(), shards.tolist(), bounds, bounds[1:]))
        return Routes(order if len(groups) > 1 else None, groups)

    def route_one(self, key: Sequence[Any], encoded: bytes) -> tuple[int, int]:
        """The cell of one primary key of Python values."""
        shard = slice_ = 0
        if self.sharded:
            table = self.table
            if table.key == table.primary_key:
                hashed = hash_one(encoded)
            else:
                positions = [table.primary_key.index(id) for id in table.key]
                hashed = hash_one(self._key_encoder.encode_one([key[position] for position in positions]))
            shard = hashed % table.shards
        if self.sliced:
            slice_ = self._slice_of_one(key, encoded)
        return slice_, shard

    def _slice_of_one(self, key: Sequence[Any], encoded: bytes) -> int:
        table, place = self.table, self._time_bytes
        assert table.every, "slices have a length"
        if place is not None:
            return (int.from_bytes(encoded[place], "big") - _FIRST_SLICE) // table.every
        assert table.time is not None, "a sliced table has an event time"
        return self.slice_of(key[table.primary_key.index(table.time)])

    def _bytes_of_time(self) -> slice | None:
        """Where the event time stands in an encoded primary key, if it does, always there, in microseconds."""
        columns = self.table.primary_key_columns
        if self.encoder is None or not self.encoder.fixed or self.time not in columns:
            return None
        if self.time.nullable or self.time.type.kind is Kind.DATE:
            return None
        at = sum([WIDTHS[column.type.kind] + column.nullable for column in columns[: columns.index(self.time)]])
        return slice(at, at + 8)

    def shard_of(self, key: Sequence[Any]) -> int:
        """The shard of one key of Python values (the key columns in order)."""
        return self.key_hash(key) % self.table.shards if self.sharded else 0

    def key_hash(self, key: Sequence[Any]) -> int:
        """The hash of one key of Python values, as ``key_hashes`` gives them. Raises Invalid for a wrong type."""
        return hash_one(self._key_encoder.encode_one(key))

    def key_hashes(self, values: dict[int, Values], *, count: int) -> np.ndarray:
        """The hashes of the key columns of ``count`` rows, uint64[n]: those that decide the shard."""
        return self._key_encoder.encode([values[id] for id in self.table.key], count=count).hashes

    def slice_of(self, time: datetime.date | int) -> int:
        """The slice of one event time."""
        if not self.sliced:
            return 0
        assert self.table.every is not None, "a sliced table has slices of a fixed length"
        return (microseconds_of_event(time) - SLICE_ORIGIN) // self.table.every

    def slices(self, times: np.ndarray) -> set[int]:
        """The slices that event times in microseconds (int64[n]) fall into."""
        slices, _, _, _ = routing.route(_NO_HASHES, 1, times, self.table.every or 1, self._base, self._phase)
        return set(slices.tolist())

    def times(self, values: Mapping[int, Values]) -> np.ndarray:
        """Event times in microseconds, int64[n]."""
        assert self.time is not None, f'"{self.table.name}" has an event time'
        source = values[self.time.id]
        assert isinstance(source, FixedValues), "event time has a fixed width"
        times = source.values
        if self.time.type.kind is Kind.DATE:
            times = frozen(np.clip(times.astype(np.int64), -_DAYS_MAX, _DAYS_MAX) * DAY)
        return times if source.valid is None else frozen(np.where(source.valid, times, SLICE_ORIGIN))

    def _column_named(self, name: str) -> Column | None:
        column = self.table.by_name.get(name)
        return ROW_ID_COLUMN if column is None and name == ROW_ID_NAME else column

    def _shard_hashes(self, values: dict[int, Values], keys: Keys | None, *, count: int) -> np.ndarray:
        table, encoder = self.table, self.encoder
        if keys is not None and encoder is not None:
            if table.key == table.primary_key:
                return keys.hashes
            if encoder.fixed and self._key_is_prefix:
                return encoder.hash_prefix(keys.words, length=self._key_encoder.length, count=count)
        return self._key_encoder.encode([values[id] for id in table.key], count=count).hashes


class Probe:
    """n rows to be looked up: by primary key, or by row id where there is none. All arrays stand in one order.

    ``times`` are event times in microseconds where the primary key holds them, and so bound where a row can be.
    """

    __slots__ = ("_keys", "_layout", "_values", "count", "row_ids", "times")

    def __init__(
        self,
        layout: Layout,
        *,
        values: dict[int, Values],
        keys: Keys | None,
        row_ids: np.ndarray | None,
        times: np.ndarray | None,
        count: int,
    ) -> None:
        self._layout = layout
        self._values = values
        self._keys = keys
        self.row_ids = row_ids
        self.times = times
        self.count = count

    @property
    def keys(self) -> Keys:
        """The encoded sort keys: the primary key, or (key, event time, row id) where there is none."""
        if self._keys is None:
            columns = [self._values[column.id] for column in self._layout.sort_columns]
            self._keys = self._layout.sort_encoder.encode(columns, count=self.count)
        return self._keys

    def take(self, places: np.ndarray) -> Probe:
        """The rows at ``places`` (int64)."""
        known = self._keys
        return Probe(
            self._layout,
            values={id: column.take(places) for id, column in self._values.items()} if known is None else {},
            keys=None if known is None else known.take(places),
            row_ids=None if self.row_ids is None else self.row_ids[places],
            times=None if self.times is None else self.times[places],
            count=len(places),
        )


def microseconds_of_event(time: datetime.date | int) -> int:
    """Microseconds since 1970 of an event time as Python value."""
    if isinstance(time, datetime.datetime):
        return microseconds_of(time)
    if isinstance(time, datetime.date):
        return (time.toordinal() - datetime.date(1970, 1, 1).toordinal()) * DAY
    return time
