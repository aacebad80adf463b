"""What a workload asks of a system: keep the events table, take commits, answer gets and totals.

``Store`` is the Protocol; ``weft``, ``duck``, ``sqlite`` and ``postgres`` implement it. A store measures nothing: the
workload holds the clock and calls. What a store may do outside the clock (``prepare``, ``prepare_key``, ``decode``) is
apart from what it does inside (``write``, ``finish``, ``get``, ``get_many``), so that no system pays for the form
in which the benchmark keeps its data.

A system that cannot be used here raises ``Missing`` from its constructor or ``open``, with the reason in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from weftdb.bench.data import Event, Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A question of ``bench series``: one device's rows with ``lower`` <= event_time < ``upper``."""

    device: int
    lower: datetime
    upper: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What some clients of ``bench oltp`` did: ``latencies`` in seconds of each transaction, none from writers."""

    transactions: int
    seconds: float
    latencies: Sequence[float] = ()
    conflicts: int = 0


class Missing(Exception):
    """This peer cannot take part; the message says why."""


class WrongAnswer(Exception):
    """A system answered something else than the data says; the figures of the run are worth nothing."""


class Store(Protocol):
    """One system holding the table ``events`` with primary key (device, event_time) unless its name says otherwise.

    ``open`` makes the table in a new folder or finds the one that is there. Every ``write`` is one durable commit
    unless the store is pipelined: then it may return early, and ``finish`` returns when all is durable.
    """

    @property
    def name(self) -> str: ...

    @property
    def note(self) -> str:
        """What a reader must know to judge the figure: statement, durability, settings."""
        ...

    def open(self, folder: Path) -> None: ...

    def prepare(self, batch: pa.RecordBatch) -> Any:
        """The batch in the form that ``write`` takes."""
        ...

    def write(self, prepared: Any) -> None: ...

    def finish(self) -> None: ...

    def prepare_key(self, event: Event) -> Any:
        """The event's primary key in the form that ``get`` takes."""
        ...

    def get(self, key: Any) -> Any:
        """The row as the system's own driver returns it, or None."""
        ...

    def decode(self, row: Any) -> Event | None: ...

    def prepare_keys(self, events: Sequence[Event]) -> Any:
        """Many primary keys in the form that ``get_many`` takes."""
        ...

    def get_many(self, keys: Any) -> pa.Table | Sequence[Any] | None:
        """The rows found, in any order; None from a system that has no better way than one get after another."""
        ...

    def rows_count(self) -> int:
        """``count(*)`` of the table."""
        ...

    def totals(self) -> Totals: ...

    def close(self) -> None:
        """Release everything, the processes it started included. May be called twice."""
        ...


class SeriesStore(Protocol):
    """One system that answers ``bench series``: it was loaded before, ``open`` finds the table."""

    @property
    def name(self) -> str: ...

    @property
    def note(self) -> str: ...

    def open(self, folder: Path) -> None: ...

    def series(self, window: Window) -> Any:
        """The rows of one device in a window, in any order, as the system's own driver returns them."""
        ...

    def decode_series(self, answer: Any) -> list[Event]:
        """The same as events, in the order of their time."""
        ...

    def close(self) -> None: ...


def in_order(events: Iterable[Event]) -> list[Event]:
    return sorted(events, key=lambda event: event.event_time)


def check_store(store: Store, *, expected: Totals, present: Sequence[Event], absent: Sequence[Event]) -> None:
    """Raise WrongAnswer unless totals agree, rows of ``present`` come back as written and ``absent`` are absent."""
    found = store.totals()
    if found.differs_from(expected):
        raise WrongAnswer(f"{store.name}: totals are {found}, written were {expected}")
    for event in present:
        row = store.decode(store.get(store.prepare_key(event)))
        if row != event:
            raise WrongAnswer(f"{store.name}: wrote {event}, read {row}")
    for event in absent:
        row = store.decode(store.get(store.prepare_key(event)))
        if row is not None:
            raise WrongAnswer(f"{store.name}: never wrote device {event.device} at {event.event_time}, read {row}")


def never_written(present: Sequence[Event]) -> list[Event]:
    """Keys that no event has: the devices of some that exist, before time began."""
    return [
        Event(device=event.device, event_time=event.event_time - timedelta(days=10_000), kind=0, amount=0.0)
        for event in present[:20]
    ]
