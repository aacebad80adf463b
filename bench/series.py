"""``bench series``: one key's rows in a window of time, out of 100,000,000.

The history of ``bench growth``: a million devices, a hundred rows each, over two years in cells of 30 days. A question
is a device and a window, both drawn at random: of 30 days (some four rows, out of one or two cells) and of 300 days
(some forty rows, out of eleven cells). WeftDB is asked by ``table.scan(key=, time=)`` and by SQL, embedded and over
gRPC; DuckDB and PostgreSQL have the same rows with the same primary key (device, event_time), loaded in bulk in the
order of the rows, the key added after the load: their best case. What PostgreSQL does with it is one descent of its
B-tree and a heap page per row; DuckDB's index serves no ranges, it skips by its zone maps on event_time and filters.

One call at a time, timed alone, every system asked the same questions in the same order; the answers to the first of
them are compared with the rows that were written. Loading is not timed. With ``--resume DIR`` the loaded databases stay
in DIR, and ``growth`` and ``series`` share WeftDB's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pyarrow as pa
from weftdb.bench.data import Event
from weftdb.bench.duck import DuckStore
from weftdb.bench.growth import MEMORY_LIMIT, plan
from weftdb.bench.history import SCHEMA, History
from weftdb.bench.loader import load
from weftdb.bench.postgres import PostgresStore
from weftdb.bench.report import Goal, Line, Report
from weftdb.bench.systems import Missing, SeriesStore, Window, WrongAnswer
from weftdb.bench.weft import WeftServer, WeftSql, WeftStore
from weftdb.bench.workload import Size, fresh, in_turn

REFERENCE: Final = "DuckDB"
WINDOWS_DAYS: Final = (30, 300)
_QUESTIONS: Final = 2_000
_COMPARED: Final = 100
"""As many questions come first, untimed: their answers are compared, and nothing is measured cold."""
_SECONDS_PER_TURN: Final = 2.0
"""A system's turn ends after this many seconds, or after all questions."""


@dataclass(slots=True)
class _Runs:
    """One system: per window length, the first answers and per round the seconds of every call."""

    store: SeriesStore
    folder: Path
    answers: dict[int, list[list[Event]]] = field(default_factory=dict)
    seconds: dict[int, list[list[float]]] = field(default_factory=dict)


class Series:
    """WeftDB and its peers answer the same questions, round by round; the server comes last, alone."""

    name = "series"
    full = Size(rows=100_000_000, rounds=3)
    quick = Size(rows=1_000_000, rounds=3)

    def __init__(self, *, size: Size, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self._skipped: dict[str, str] = {}
        self._plan = plan(folder, rows=size.rows)
        self._history = self._plan.history
        count = _COMPARED + _QUESTIONS
        self._questions = {days: self._history.windows(count, days=days, seed=days) for days in WINDOWS_DAYS}
        self.runs: list[_Runs] = []

    def setup(self) -> None:
        """Load every system that is not loaded yet."""
        load(self._plan)
        for maker, peer in ((DuckStore, "duckdb"), (PostgresStore, "postgres")):
            folder = self._folder / f"history-{self._size.rows}-{peer}"
            try:
                store = maker()
                self.runs.append(_Runs(store, folder))
                _load_peer(store, folder, self._history)
            except Missing as reason:
                self._skipped[peer] = str(reason)
                self.runs = [runs for runs in self.runs if runs.folder != folder]

    def run(self) -> Report:
        weft = Path(self._plan.folder)
        options = {"cells": self._plan.cells, "memory_limit": MEMORY_LIMIT}
        embedded = [_Runs(WeftStore(**options), weft), _Runs(WeftSql(**options), weft)]
        self.runs = embedded + self.runs
        for runs in embedded:
            runs.store.open(weft)
        self._rounds(self.runs)
        for runs in embedded:  # the server needs the folder
            runs.store.close()
        server = _Runs(WeftServer(), weft)
        self.runs.append(server)
        server.store.open(weft)
        self._rounds([server])
        return self._report()

    def _rounds(self, all_runs: list[_Runs]) -> None:
        for runs in all_runs:
            for days, questions in self._questions.items():
                first = questions[:_COMPARED]
                runs.answers[days] = [runs.store.decode_series(runs.store.series(one)) for one in first]
        for _, runs in in_turn(all_runs, rounds=self._size.rounds):
            for days, questions in self._questions.items():
                runs.seconds.setdefault(days, []).append(_ask(runs.store, questions[_COMPARED:]))

    def check(self) -> None:
        """The first answers of every system are the rows that were written."""
        first = {days: questions[:_COMPARED] for days, questions in self._questions.items()}
        devices = {window.device for windows in first.values() for window in windows}
        written = self._history.events_of(sorted(devices))
        for runs in self.runs:
            for days, windows in first.items():
                for window, found in zip(windows, runs.answers[days], strict=True):
                    wanted = [x for x in written[window.device] if window.lower <= x.event_time < window.upper]
                    if found != wanted:
                        raise WrongAnswer(f"{runs.store.name}: {window} are {found}, written were {wanted}")

    def close(self) -> None:
        for runs in self.runs:
            runs.store.close()

    def _report(self) -> Report:
        report = Report(
            name=self.name,
            title="one key's rows in a window of time, one call at a time",
            rows=self._size.rows,
            rounds=self._size.rounds,
            reference=REFERENCE,
            skipped=self._skipped,
        )
        for days in WINDOWS_DAYS:
            lines = {_label(runs.store): _line(runs, days) for runs in self.runs}
            base = lines[REFERENCE].value if REFERENCE in lines else None
            for name, line in lines.items():
                ratio = None if base is None or name == REFERENCE else base / line.value
                report.lines.append(replace(line, ratio=ratio))
        scans = {days: _line(self.runs[0], days).value for days in WINDOWS_DAYS}
        report.goals.append(
            Goal(text="embedded scan, slower window, µs", wanted=1_000, value=max(scans.values()), at_most=True)
        )
        for runs in self.runs:
            wanted = {DuckStore: 10.0, PostgresStore: 1.0}.get(type(runs.store))
            if wanted is not None:
                ratio = min(_line(runs, days).value / scans[days] for days in WINDOWS_DAYS)
                text = f"embedded scan over {_label(runs.store)}, the less favourable window"
                report.goals.append(Goal(text=text, wanted=wanted, value=ratio))
        return report


def _load_peer(store: DuckStore | PostgresStore, folder: Path, history: History) -> None:
    """All rows in bulk, unless an earlier run has done so; leaves the store open."""
    finished = folder / "finished"
    if not finished.exists():
        fresh(folder)
    store.open_database(folder)
    if not finished.exists():
        store.load_history(pa.RecordBatchReader.from_batches(SCHEMA, history.commits()))
        finished.touch()


def _ask(store: SeriesStore, questions: Sequence[Window]) -> list[float]:
    clock = time.perf_counter
    seconds: list[float] = []
    end = clock() + _SECONDS_PER_TURN
    for question in questions:
        begin = clock()
        store.series(question)
        now = clock()
        seconds.append(now - begin)
        if now > end:
            break
    return seconds


def _line(runs: _Runs, days: int) -> Line:
    calls = sorted(second for turn in runs.seconds[days] for second in turn)
    rows = statistics.mean(len(answer) for answer in runs.answers[days])
    return Line(
        label=f"{_label(runs.store)}, {days} days",
        unit="µs",
        samples=tuple(statistics.median(turn) * 1e6 for turn in runs.seconds[days]),
        note=f"p99 {calls[len(calls) * 99 // 100] * 1e6:,.0f} µs, of {len(calls):,}; {rows:.1f} rows on average",
    )


def _label(store: SeriesStore) -> str:
    match store:
        case WeftServer():
            return "WeftDB gRPC scan"
        case WeftSql():
            return "WeftDB SQL"
        case WeftStore():
            return "WeftDB scan"
        case DuckStore():
            return "DuckDB"
        case _:
            return store.name
