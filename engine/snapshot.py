"""Snapshots: a version to read at, and the pins that keep it readable.

A snapshot takes no lock while it reads. Opening and closing one counts its version in ``Pins``, which maintenance asks
what it may drop. Versions of named snapshots (named.py) are pinned by the state that ``apply`` makes.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from ..base.errors import Closed, Invalid, LimitExceeded
from ..base.limits import SNAPSHOTS_MAX
from .apply import State
from .catalog import Catalog
from .cells import TableStore
from .clock import wall_clock
from .expression.node import Expression
from .horizon import Horizon
from .scan import Scan
from .schema import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class PinFacts:
    """A version that ``readers`` hold, ``writers`` of them transactions that may write; ``since`` is wall clock."""

    version: int
    since: int
    readers: int
    writers: int


class Pins:
    """How many readers hold each version, and how far back versions can still be read.

    A version below ``floor`` can be pinned only if it is pinned already. Pins of transactions that may write count
    twice: what changed after them must stay known. Versions of named snapshots are pinned without being counted.
    """

    def __init__(self, state: State, *, floor: int = 0) -> None:
        self._lock = threading.Lock()
        self._state = state
        self._counts: Counter[int] = Counter()
        self._writers: Counter[int] = Counter()
        self._since: dict[int, int] = {}  # wall clock when a version was pinned first
        self.floor = floor

    def __len__(self) -> int:
        return self._counts.total()

    def pin(self, version: int, *, writes: bool = False) -> None:
        with self._lock:
            if self._counts.total() >= SNAPSHOTS_MAX:
                raise LimitExceeded(
                    f"{SNAPSHOTS_MAX:,} snapshots and transactions are open",
                    hint="Close those that are done; use them as context managers.",
                    sqlstate="53300",
                )
            if version < self.floor and version not in self._counts and version not in self._state.named_versions:
                raise Invalid(
                    f"version {version} can no longer be read: history goes back to version {self.floor}",
                    hint="Read a newer version; open the database with more history_seconds to keep more.",
                    sqlstate="72000",
                )
            if version not in self._counts:
                self._since[version] = wall_clock()
            self._counts[version] += 1
            if writes:
                self._writers[version] += 1

    def unpin(self, version: int, *, writes: bool = False) -> None:
        with self._lock:
            for counts in (self._counts, self._writers) if writes else (self._counts,):
                counts[version] -= 1
                if not counts[version]:
                    del counts[version]
            if version not in self._counts:
                self._since.pop(version, None)

    def oldest(self, default: int) -> int:
        """The oldest pinned version, ``default`` when nothing is pinned."""
        with self._lock:
            return min(self._counts, default=default)

    def horizon(self, floor: int) -> Horizon:
        """What may be dropped when history goes back to ``floor``, which only grows."""
        with self._lock:
            self.floor = max(self.floor, floor)
            pins = {*self._counts, *self._state.named_versions}
            return Horizon.of(limit=min([floor, *self._writers]), pins=list(pins))

    def facts(self) -> list[PinFacts]:
        """The versions that readers hold now, oldest first."""
        with self._lock:
            return [
                PinFacts(version=version, since=self._since[version], readers=count, writers=self._writers[version])
                for version, count in sorted(self._counts.items())
            ]


class Snapshot:
    """A Reader at one version. Close it, or use it as a context manager; it pins the version until then."""

    def __init__(self, *, state: State, pins: Pins, version: int | None = None, writes: bool = False) -> None:
        """At ``version``, the newest unless told. ``writes``: for a transaction that may write."""
        self._version = _pinned(state, pins, version, writes=writes)
        self._pins = pins
        self._writes = writes
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
    ) -> Scan:
        return self.store(table).scan(version=self._version, columns=columns, filter=filter, row_ids=row_ids)

    def get(self, table: Table, key: tuple[Any, ...]) -> dict[str, Any] | None:
        return self.store(table).get(key, version=self._version)

    def get_many(self, table: Table, keys: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray]:
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
        return self.store(table).series(key, low, high, version=self._version, columns=columns)

    def store(self, table: Table) -> TableStore:
        """The table's cells, read by the columns of ``table`` as this snapshot knows it."""
        if self._closed:
            raise Closed("the snapshot is closed", hint="Open a new one.")
        store = self._state.stores.get(table.id)
        if store is None:
            raise Invalid(f'table "{table.name}" was dropped', sqlstate="42P01")
        return store if store.table is table else store.with_definition(table)

    def close(self) -> None:
        """Release the pin. A second close does nothing."""
        if not self._closed:
            self._closed = True
            self._pins.unpin(self._version, writes=self._writes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _pinned(state: State, pins: Pins, version: int | None, *, writes: bool) -> int:
    """Pin ``version``, or the newest: which may have become too old meanwhile, where there is no history."""
    while True:
        wanted = state.version if version is None else version
        try:
            pins.pin(wanted, writes=writes)
        except Invalid:
            if version is None and wanted < state.version:
                continue
            raise
        return wanted
