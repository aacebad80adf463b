"""``bench get``: one row by its primary key, the way an application asks for it.

Each system holds the same 2,000,000 events. Keys are drawn at random from all of them, one in ten is of a row that was
never written. A single get is one call of the system's own driver for Python, timed alone, so that the 99th percentile
is known; what the call returns is what that driver returns (a dict, a tuple). Gets of many keys are calls with 1,000
keys at once, stated per row; a system without such a call (SQLite) has no line there.

Over a network there are two: WeftDB by gRPC and PostgreSQL, both with one connection on the loopback interface and one
call at a time. The ratio of each line is against SQLite, the reference for a local get; networked gets have PostgreSQL
beside them as well, in the goals' place.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from weftdb.bench.data import Event, commits, events, sample
from weftdb.bench.duck import DuckStore
from weftdb.bench.postgres import PostgresStore
from weftdb.bench.report import Line, Report
from weftdb.bench.sqlite import SqliteStore
from weftdb.bench.systems import Missing, Store, WrongAnswer, never_written
from weftdb.bench.weft import WeftServer, WeftStore
from weftdb.bench.workload import Size, available, fresh, in_turn

MAKERS: tuple[Callable[[], Store], ...] = (
    partial(WeftStore, write="put"),
    WeftServer,
    SqliteStore,
    PostgresStore,
    DuckStore,
)
REFERENCE = SqliteStore.name
_KEYS_PER_CALL = 1_000
_SECONDS_PER_TURN = 2.0
"""A store's turn ends after this many seconds, or after all keys: a slow get shall not take minutes."""


@dataclass(slots=True)
class _Runs:
    """One store's rounds: seconds of every single get, and per round the mean seconds per row of gets of many."""

    store: Store
    keys: list[Any]
    many: list[Any]
    singles: list[list[float]] = field(default_factory=list)
    bulks: list[float] = field(default_factory=list)


class Get:
    """Every store answers the same keys in the same order, round by round."""

    name = "get"
    full = Size(rows=2_000_000, rounds=3)
    quick = Size(rows=300_000, rounds=3)

    def __init__(self, *, size: Size, folder: Path, makers: Sequence[Callable[[], Store]] = MAKERS) -> None:
        self._size = size
        self._folder = folder
        self._makers = makers
        self._skipped: dict[str, str] = {}
        self._runs: list[_Runs] = []
        self._present: list[Event] = []
        self._wanted: list[tuple[Event, bool]] = []

    def setup(self) -> None:
        """Load every store by its own commits, and prepare the keys in its own form."""
        table = events(self._size.rows)
        self._present = sample(table, 20_000, seed=2)
        absent = never_written(self._present)
        self._wanted = [
            (absent[at // 10 % len(absent)], False) if at % 10 == 9 else (event, True)
            for at, event in enumerate(self._present)
        ]
        for store in available(self._makers, self._skipped):
            try:
                self._load(store, table)
            except Missing as reason:
                self._skipped[store.name] = str(reason)
                store.close()

    def _load(self, store: Store, table: pa.Table) -> None:
        store.open(fresh(self._folder / f"{len(self._runs)}"))
        for batch in commits(table):
            store.write(store.prepare(batch))
        store.finish()
        wanted = [event for event, _ in self._wanted]
        parts = [self._present[at : at + _KEYS_PER_CALL] for at in range(0, len(self._present), _KEYS_PER_CALL)]
        self._runs.append(
            _Runs(store, [store.prepare_key(event) for event in wanted], [store.prepare_keys(part) for part in parts])
        )

    def run(self) -> Report:
        for runs in self._runs:
            self._single(runs, keys=runs.keys[:200])  # warm: caches, prepared statements, first connections
        for _, runs in in_turn(self._runs, rounds=self._size.rounds):
            runs.singles.append(self._single(runs, keys=runs.keys))
            self._many(runs)
        return self._report()

    def _single(self, runs: _Runs, *, keys: Sequence[Any]) -> list[float]:
        get, clock = runs.store.get, time.perf_counter
        seconds: list[float] = []
        end = clock() + _SECONDS_PER_TURN
        for key in keys:
            begin = clock()
            get(key)
            now = clock()
            seconds.append(now - begin)
            if now > end:
                break
        return seconds

    def _many(self, runs: _Runs) -> None:
        begin = time.perf_counter()
        rows = 0
        for keys in runs.many:
            if runs.store.get_many(keys) is None:
                return
            rows += _KEYS_PER_CALL
            if time.perf_counter() - begin > _SECONDS_PER_TURN:
                break
        runs.bulks.append((time.perf_counter() - begin) / min(rows, len(self._present)))

    def check(self) -> None:
        """Every store returns, for each of 500 keys, the row that was written or none; and so it does for many."""
        for runs in self._runs:
            for (event, there), key in list(zip(self._wanted, runs.keys, strict=True))[:500]:
                row = runs.store.decode(runs.store.get(key))
                if row != (event if there else None):
                    raise WrongAnswer(f"{runs.store.name}: get {event.device}, {event.event_time} returned {row}")
            self._check_many(runs)

    def _check_many(self, runs: _Runs) -> None:
        part = self._present[:_KEYS_PER_CALL]
        found = runs.store.get_many(runs.many[0]) if part else None
        if found is None:
            return
        rows = [tuple(row.values()) for row in found.to_pylist()] if isinstance(found, pa.Table) else list(found)
        written = {(event.device, event.event_time, event.kind, event.amount) for event in part}
        if set(rows) != written or len(rows) != len(written):
            raise WrongAnswer(f"{runs.store.name}: {len(written)} keys at once returned other rows than were written")

    def close(self) -> None:
        for runs in self._runs:
            runs.store.close()

    @property
    def stores(self) -> list[Store]:
        return [runs.store for runs in self._runs]

    def _report(self) -> Report:
        report = Report(
            name=self.name,
            title="get by primary key, one call at a time",
            rows=self._size.rows,
            rounds=self._size.rounds,
            reference=REFERENCE,
            skipped=self._skipped,
        )
        singles = {r.store.name: tuple(statistics.median(turn) * 1e6 for turn in r.singles) for r in self._runs}
        bulks = {r.store.name: tuple(mean * 1e6 for mean in r.bulks) for r in self._runs if r.bulks}
        base = statistics.median(singles[REFERENCE]) if REFERENCE in singles else None
        for runs in self._runs:
            name = runs.store.name
            tail = sorted(second for turn in runs.singles for second in turn)
            note = f"p99 {tail[len(tail) * 99 // 100] * 1e6:.0f} µs, of {len(tail):,} gets"
            report.lines.append(_line(f"{_subject(runs.store)} get", singles[name], base, name == REFERENCE, note))
        for runs in self._runs:
            if runs.store.name in bulks:
                label = f"{_subject(runs.store)} get of {_KEYS_PER_CALL:,}, per row"
                report.lines.append(
                    _line(label, bulks[runs.store.name], base, False, f"x is against one {REFERENCE} get")
                )
        return report


def _subject(store: Store) -> str:
    if isinstance(store, WeftServer):
        return "WeftDB gRPC"
    if isinstance(store, WeftStore):
        return "WeftDB embedded"
    return "DuckDB" if isinstance(store, DuckStore) else store.name


def _line(label: str, samples: tuple[float, ...], base: float | None, is_base: bool, note: str) -> Line:
    ratio = None if base is None or is_base else base / statistics.median(samples)
    return Line(label=label, unit="µs", samples=samples, ratio=ratio, note=note)
