"""``bench restart``: how long until the first answer after a crash.

A process loads 2,000,000 rows in commits of 50,000 and is killed (SIGKILL), so that every system has to recover what it
recovers from: WeftDB its commit log, DuckDB and SQLite what lies in their write-ahead logs, PostgreSQL is left out as
its recovery depends on when it made its last checkpoint. Then a new process is started, and the clock runs from its
start until it has counted all rows and returned one of them: interpreter, imports, opening, recovery, first answer.

For the server it runs until a client that is already running has the same two answers over gRPC.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from weftdb.bench.data import Event, Totals, commits, events, sample, totals_of
from weftdb.bench.duck import DuckStore
from weftdb.bench.report import Line, Report
from weftdb.bench.sqlite import SqliteStore
from weftdb.bench.systems import Store, WrongAnswer
from weftdb.bench.weft import WeftServer, WeftStore
from weftdb.bench.workload import Size, fresh, in_turn

REFERENCE: Final = "DuckDB"
STORES: Final[dict[str, Callable[[], Store]]] = {
    "WeftDB": lambda: WeftStore(write="put"),
    "DuckDB": DuckStore,
    "SQLite": SqliteStore,
}
SERVER: Final = "WeftDB server"


@dataclass(slots=True)
class _Runs:
    """One system's rounds: seconds each, and what the first answers were."""

    label: str
    seconds: list[float] = field(default_factory=list)
    totals: list[Totals] = field(default_factory=list)


class Restart:
    """Kill each system once, then start it ``rounds`` times."""

    name = "restart"
    full = Size(rows=2_000_000, rounds=3)
    quick = Size(rows=300_000, rounds=3)

    def __init__(self, *, size: Size, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self.runs = [_Runs(label) for label in (*STORES, SERVER)]
        self._expected: Totals | None = None
        self._one: tuple[str, ...] = ()

    def setup(self) -> None:
        """Load each system in a process of its own, which kills itself. The server gets a copy of WeftDB's folder."""
        table = events(self._size.rows)
        self._expected = totals_of(table)
        [event] = sample(table, 1, seed=3)
        self._one = (str(event.device), event.event_time.isoformat(), str(event.kind), repr(event.amount))
        for label in STORES:
            command = _child("load", label, fresh(self._folder / label), str(self._size.rows))
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != -signal.SIGKILL:
                raise RuntimeError(f"loading {label} ended with {done.returncode}: {done.stderr[-2000:]}")
        shutil.copytree(self._folder / "WeftDB", self._folder / SERVER)

    def run(self) -> Report:
        for _, runs in in_turn(self.runs, rounds=self._size.rounds):
            folder = self._folder / runs.label
            start = self._start_server if runs.label == SERVER else self._start_child
            seconds, totals = start(runs.label, folder)
            runs.seconds.append(seconds)
            runs.totals.append(totals)
        return self._report()

    def _start_child(self, label: str, folder: Path) -> tuple[float, Totals]:
        begin = time.perf_counter()
        command = _child("answer", label, folder, *self._one)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            seconds = time.perf_counter() - begin
        if not line:
            raise WrongAnswer(f"restart of {label}: no answer; its error stands above")
        rows, devices, kinds, amounts = line.split()
        return seconds, Totals(rows=int(rows), devices=int(devices), kinds=int(kinds), amounts=float(amounts))

    def _start_server(self, label: str, folder: Path) -> tuple[float, Totals]:
        store = WeftServer()
        begin = time.perf_counter()
        try:
            store.open(folder)
            totals = store.totals()
            _read_one(store, *self._one)
            seconds = time.perf_counter() - begin
            store.server.kill()
        finally:
            store.close()
        return seconds, totals

    def check(self) -> None:
        """Each start found every row; one row was compared in the start itself."""
        for runs in self.runs:
            for totals in runs.totals:
                if self._expected is None or totals.differs_from(self._expected):
                    raise WrongAnswer(f"{runs.label}: after the restart {totals}, written were {self._expected}")

    def close(self) -> None:
        """Nothing is open between the rounds."""

    def _report(self) -> Report:
        report = Report(
            name=self.name,
            title="from process start to first answer after SIGKILL",
            rows=self._size.rows,
            rounds=self._size.rounds,
            reference=REFERENCE,
        )
        lines = {runs.label: Line(label=runs.label, unit="s", samples=tuple(runs.seconds)) for runs in self.runs}
        base = lines[REFERENCE].value
        for label, line in lines.items():
            ratio = None if label == REFERENCE else base / line.value
            note = "to the answer over gRPC" if label == SERVER else "one Python process, from its start"
            report.lines.append(Line(label=label, unit="s", samples=line.samples, ratio=ratio, note=note))
        return report


def _child(action: str, label: str, folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "weftdb.bench.restart", action, label, str(folder), *arguments]


def _read_one(store: Store, device: str, event_time: str, kind: str, amount: str) -> None:
    """One row, by its key, as it was written."""
    moment = datetime.fromisoformat(event_time)
    event = Event(device=int(device), event_time=moment, kind=int(kind), amount=float(amount))
    row = store.decode(store.get(store.prepare_key(event)))
    if row != event:
        raise WrongAnswer(f"{store.name}: wrote {event}, read {row} after the restart")


def _main(action: str, label: str, folder: str, *arguments: str) -> None:
    """The child: load, or answer; then be killed, so that nothing is closed in good order."""
    store = STORES[label]()
    store.open(Path(folder))
    if action == "load":
        for batch in commits(events(int(arguments[0]))):
            store.write(store.prepare(batch))
        store.finish()
    else:
        totals = store.totals()
        _read_one(store, *arguments)
        print(totals.rows, totals.devices, totals.kinds, repr(totals.amounts), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _main(*sys.argv[1:])
