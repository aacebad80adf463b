"""Snapshots: a version to read at, and the pins that keep it readable.

A snapshot takes no lock while it reads. While it is open it has a pin among ``Pins``, which maintenance asks what it
may drop, and people who is in the way. Versions of named snapshots (named.py) are pinned by the state that ``apply``
makes.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, groupby
from operator import attrgetter
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

import numpy as np
import pyarrow as pa

from ..base.errors import Closed, Invalid, LimitExceeded
from ..base.limits import SNAPSHOTS_MAX
from .apply import State
from .catalog import Catalog
from .cells import TableStore
from .clock import wall_clock
from .computed import ComputedScan
from .export import Export
from .expression.node import Expression
from .horizon import HoldFacts, Horizon
from .index_scan import IndexScan, index_scan
from .scan import Scan
from .schema import Table
from .statistics import TableStatistics


class Holder(NamedTuple):
    """Who reads at a version, and as what."""

    kind: Literal["statement", "snapshot", "transaction", "feed"] = "statement"
    principal: str = ""


SOMEONE: Final = Holder()


class Pin(NamedTuple):
    """A version that somebody reads at; ``writes``: a transaction that may write. ``since`` is wall clock.

    ``number`` tells two pins apart.
    """

    version: int
    writes: bool
    holder: Holder
    since: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PinFacts:
    """A version that ``readers`` hold, ``writers`` of them transactions that may write; ``since`` is wall clock."""

    version: int
    since: int
    readers: int
    writers: int


class Pins:
    """Who reads at which version, and how far back versions can still be read.

    A version below ``floor`` can be pinned only if it is pinned already. What changed after the pins of transactions
    that may write must stay known. Versions of named snapshots are pinned without being in here.
    """

    def __init__(self, state: State, *, floor: int = 0) -> None:
        self._lock = threading.Lock()
        self._state = state
        self._pins: set[Pin] = set()
        self._numbers = count()
        self.floor = floor

    def __len__(self) -> int:
        return len(self._pins)

    def pin(self, version: int, *, writes: bool = False, holder: Holder = SOMEONE) -> Pin:
        with self._lock:
            if len(self._pins) >= SNAPSHOTS_MAX:
                raise LimitExceeded(
                    f"{SNAPSHOTS_MAX:,} snapshots and transactions are open",
                    hint="Close those that are done; use them as context managers.",
                    sqlstate="53300",
                )
            if version < self.floor and not self._is_held(version):
                raise Invalid(
                    f"version {version} can no longer be read: history goes back to version {self.floor}",
                    hint="Read a newer version; open the database with more history_seconds to keep more.",
                    sqlstate="72000",
                )
            pin = Pin(version, writes, holder, wall_clock(), next(self._numbers))
            self._pins.add(pin)
            return pin

    def unpin(self, pin: Pin) -> None:
        self._pins.remove(pin)  # without the lock: results that nobody has any more are closed wherever that is noticed

    def oldest(self, default: int) -> int:
        """The oldest pinned version, ``default`` when nothing is pinned."""
        return min((pin.version for pin in self.all()), default=default)

    def horizon(self, floor: int) -> Horizon:
        """What may be dropped when history goes back to ``floor``, which only grows."""
        with self._lock:
            self.floor = max(self.floor, floor)
            pins = self.all()
            versions = {pin.version for pin in pins} | set(self._state.named_versions)
            limit = min([floor, *(pin.version for pin in pins if pin.writes)])
            return Horizon.at(limit=limit, pins=list(versions), feeds=self._state.kept_after)

    def all(self) -> list[Pin]:
        """What is pinned now, the oldest version first."""
        return sorted(self._pins)  # nobody comes in between while a set becomes a list

    def facts(self) -> list[PinFacts]:
        """The versions that readers hold now, oldest first."""
        return [
            PinFacts(
                version=version,
                since=min(pin.since for pin in pins),
                readers=len(pins),
                writers=sum(pin.writes for pin in pins),
            )
            for version, found in groupby(self.all(), key=attrgetter("version"))
            for pins in (list(found),)
        ]

    def holds(self) -> list[HoldFacts]:
        """All that keeps row versions, the oldest version first."""
        named = [
            HoldFacts(kind="named snapshot", name=item.name, version=item.version, since=item.created)
            for item in list(self._state.named.values())
            if item.lost is None
        ]
        feeds = [
            HoldFacts(kind="feed", name=item.name, version=item.version, since=item.moved, everything=True)
            for item in list(self._state.positions.values())
            if item.lost is None and self._state.is_behind(item)
        ]
        pinned = [
            HoldFacts(
                kind=pin.holder.kind,
                principal=pin.holder.principal,
                version=pin.version,
                since=pin.since,
                everything=pin.writes,
            )
            for pin in self.all()
        ]
        history = HoldFacts(kind="history", version=self.floor, everything=True)
        return sorted([history, *named, *feeds, *pinned], key=lambda item: (item.version, item.since or 0))

    def _is_held(self, version: int) -> bool:
        return version in self._state.named_versions or any(pin.version == version for pin in self.all())


class Snapshot:
    """A Reader at one version. Close it, or use it as a context manager; it pins the version until then."""

    def __init__(
        self,
        *,
        state: State,
        pins: Pins,
        version: int | None = None,
        writes: bool = False,
        holder: Holder = SOMEONE,
    ) -> None:
        """At ``version``, the newest unless told. ``writes``: for a transaction that may write."""
        self._pins = pins
        self._pin = _pinned(state, pins, version, writes=writes, holder=holder)
        self._version = self._pin.version
        self._state = state
        self._catalog = state.catalog_at(self._version)
        self._closed = False

    @property
    def version(self) -> int:
        return self._version

    @property
    def catalog(self) -> Catalog:
        return self._catalog

    def scan(
        self,
        table: Table,
        *,
        columns: Sequence[int] | None = None,
        filter: Expression | None = None,
        row_ids: bool = False,
    ) -> Scan | IndexScan | ComputedScan:
        if table.stored is not None:
            rows = table.computed.scan(self.scan, columns, filter)
            self._state.note_served(table, groups=rows.rows_estimate)
            return rows
        store = self.store(table)
        scan = store.scan(version=self._version, columns=columns, filter=filter, row_ids=row_ids)
        if filter is None or not table.indexes:
            return scan
        found = index_scan(
            scan,
            store,
            self._state.stores,
            version=self._version,
            columns=columns,
            filter=filter,
            row_ids=row_ids,
        )
        return scan if found is None else found

    def statistics(self, table: Table) -> TableStatistics:
        return self.store(table).statistics()

    def get(self, table: Table, key: tuple[Any, ...]) -> dict[str, Any] | None:
        row = self.store(table).get(key, version=self._version)
        if table.derived_from is not None:
            self._state.note_served(table, groups=1)
        return row if table.stored is None or row is None else table.computed.row_of(row)

    def get_many(self, table: Table, keys: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray]:
        if table.stored is not None:
            rows, places = self.get_many(table.stored, table.computed.stored_keys(keys))
            self._state.note_served(table, groups=rows.num_rows)
            return table.computed.rows_of(rows), places
        return self.store(table).get_many(keys, version=self._version)

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
            if rows is None:
                return None
            self._state.note_served(table, groups=rows.num_rows)
            return table.computed.rows_of(rows, columns)
        return self.store(table).series(key, low, high, version=self._version, columns=columns)

    def windows(
        self,
        table: Table,
        windows: Sequence[tuple[int, int]],
        *,
        columns: Sequence[int],
        filter: Expression | None = None,
    ) -> tuple[pa.RecordBatch, np.ndarray] | None:
        return self.store(table).windows(windows, version=self._version, columns=columns, filter=filter)

    def export(self, table: Table, *, columns: Sequence[int] | None = None) -> Export | ComputedScan:
        """Rows of ``table`` in an order that depends on the version alone: see export.py. ``columns`` as for scan."""
        if table.stored is not None:
            return table.computed.scan(self._exported, columns, None)
        return self.store(table).export(version=self._version, columns=columns)

    def _exported(self, table: Table, *, columns: Sequence[int], filter: None) -> Any:
        del filter
        return self.export(table, columns=columns)

    def store(self, table: Table) -> TableStore:
        """The table's cells, read by the columns of ``table`` as this snapshot knows it."""
        if self._closed:
            raise Closed("the snapshot is closed", hint="Open a new one.")
        table = table.stored or table
        store = self._state.stores.get(table.id)
        if store is None:
            raise Invalid(f'table "{table.name}" was dropped', sqlstate="42P01")
        return store if store.table is table else store.with_definition(table)

    def close(self) -> None:
        """Release the pin. A second close does nothing."""
        if not self._closed:
            self._closed = True
            self._pins.unpin(self._pin)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _pinned(state: State, pins: Pins, version: int | None, *, writes: bool, holder: Holder) -> Pin:
    """Pin ``version``, or the newest: which may have become too old meanwhile, where there is no history."""
    while True:
        wanted = state.version if version is None else version
        try:
            return pins.pin(wanted, writes=writes, holder=holder)
        except Invalid:
            if version is None and wanted < state.version:
                continue
            raise
