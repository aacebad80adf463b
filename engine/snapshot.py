"""Snapshots: a version to read at, and the pins that keep it readable.

A snapshot takes no lock while it reads. Opening and closing one counts its version in ``Pins``; the oldest pinned
version bounds what maintenance may drop.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from ..base.errors import Closed, Invalid, LimitExceeded
from ..base.limits import SNAPSHOTS_MAX
from .apply import State
from .catalog import Catalog
from .cells import TableStore
from .expression.node import Expression
from .scan import Scan
from .schema import Table


class Pins:
    """How many readers hold each version."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[int] = Counter()

    def __len__(self) -> int:
        return self._counts.total()

    def pin(self, version: int) -> None:
        with self._lock:
            if self._counts.total() >= SNAPSHOTS_MAX:
                raise LimitExceeded(
                    f"{SNAPSHOTS_MAX:,} snapshots and transactions are open",
                    hint="Close those that are done; use them as context managers.",
                    sqlstate="53300",
                )
            self._counts[version] += 1

    def unpin(self, version: int) -> None:
        with self._lock:
            self._counts[version] -= 1
            if not self._counts[version]:
                del self._counts[version]

    def oldest(self, default: int) -> int:
        """The oldest pinned version, ``default`` when nothing is pinned."""
        with self._lock:
            return min(self._counts, default=default)


class Snapshot:
    """A Reader at one version. Close it, or use it as a context manager; it pins the version until then."""

    def __init__(self, *, state: State, pins: Pins, version: int) -> None:
        pins.pin(version)
        self._pins = pins
        self._state = state
        self._catalog = state.catalog_at(version)
        self._version = version
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
            self._pins.unpin(self._version)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
