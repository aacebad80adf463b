"""``bench restart``: how long until the first answer, after a clean stop and after SIGKILL in full ingest.

The history of ``bench growth`` (100,000,000 rows in cells of 30 days), loaded once and closed in good order. Then,
round by round:

    clean stop   a new process opens it, answers, and closes it again
    SIGKILL      a copy of it: a process goes on inserting as fast as it can and is killed at a random moment, at least
                 2,500,000 rows later; then a new process opens it, replays what no checkpoint has, and answers
    server       the same with ``weft serve``, answers over gRPC

The clock runs from the start of the new process; stated are interpreter and imports, opening, one row by its primary
key, ``count(*)``, and three sums over all rows, which is a scan of the whole table and no matter of restarting.

DuckDB and SQLite load the same rows in the same commits, are killed and recover from their write-ahead logs; they take
part up to 2,000,000 rows, since loading a hundred million with a primary key would take them many minutes. PostgreSQL
is left out: its recovery depends on when it made its last checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import weftdb
from weftdb.bench.data import SEED, Event, Totals
from weftdb.bench.duck import DuckStore
from weftdb.bench.growth import TIMED, VARIANTS, plan
from weftdb.bench.history import History
from weftdb.bench.loader import Loading, Plan, load
from weftdb.bench.report import Goal, Line, Report
from weftdb.bench.sqlite import SqliteStore
from weftdb.bench.systems import Store, WrongAnswer
from weftdb.bench.weft import WeftServer, WeftStore
from weftdb.bench.workload import Size, fresh, in_turn

CLEAN: Final = "WeftDB, clean stop"
KILLED: Final = "WeftDB, SIGKILL"
SERVER: Final = "WeftDB server, SIGKILL"
REFERENCE: Final = "DuckDB, SIGKILL"
PEERS: Final[dict[str, Callable[[], Store]]] = {REFERENCE: DuckStore, "SQLite, SIGKILL": SqliteStore}
_PEERS_ROWS_MAX: Final = 2_000_000
_STEPS: Final = ("imports", "open", "one row", "count", "sums")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start: when each step was done, in seconds from the start of the process, and what was answered.

    ``acknowledged`` are the commits that the process before was told were durable.
    """

    done: dict[str, float]
    totals: Totals
    acknowledged: int

    @property
    def first_answer(self) -> float:
        """One row and the count of all, from when the database began to open."""
        return self.done["count"] - self.done["imports"]


@dataclass(slots=True)
class _Runs:
    label: str
    starts: list[Start] = field(default_factory=list)


class Restart:
    """Load once; stop or kill, and start again, ``rounds`` times."""

    name = "restart"
    full = Size(rows=100_000_000, rounds=3)
    quick = Size(rows=500_000, rounds=3)

    def __init__(self, *, size: Size, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self._plan = plan(folder, rows=size.rows)
        self._random = np.random.default_rng(SEED)
        self._skipped: dict[str, str] = {}
        labels = [CLEAN, KILLED, SERVER]
        if size.rows <= _PEERS_ROWS_MAX:
            labels += PEERS
        else:
            self._skipped = dict.fromkeys(PEERS, f"takes part up to {_PEERS_ROWS_MAX:,} rows")
        self.runs = [_Runs(label) for label in labels]
        self._one: list[str] = []

    @property
    def history(self) -> History:
        return self._plan.history

    def setup(self) -> None:
        """Load WeftDB, copy it, and load each peer in a process that kills itself."""
        load(self._plan)
        [event] = self.history.sample(1, seed=3)
        self._one = [str(event.device), event.event_time.isoformat(), str(event.kind), repr(event.amount)]
        shutil.rmtree(self._killed.folder, ignore_errors=True)
        shutil.copytree(self._plan.folder, self._killed.folder)
        for label in [runs.label for runs in self.runs if runs.label in PEERS]:
            command = _child("load", label, fresh(self._folder / label), str(self._size.rows))
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != -signal.SIGKILL:
                raise RuntimeError(f"loading {label} ended with {done.returncode}: {done.stderr[-2000:]}")

    @property
    def _killed(self) -> Plan:
        """The copy: the same history, going on for ever."""
        return replace(self._plan, folder=f"{self._plan.folder}-killed", commits=2**40, snapshot_after=None)

    def run(self) -> Report:
        for _, runs in in_turn(self.runs, rounds=self._size.rounds):
            runs.starts.append(self._start(runs.label))
        return self._report()

    def _start(self, label: str) -> Start:
        every_commit = self.history.commits_count
        match label:
            case _ if label == CLEAN:
                return self._start_child(label, Path(self._plan.folder), every_commit)
            case _ if label == KILLED:
                return self._start_child(label, Path(self._killed.folder), self._ingest_and_kill())
            case _ if label == SERVER:
                return self._start_server(Path(self._killed.folder), self._ingest_and_kill())
            case _:
                return self._start_child(label, self._folder / label, every_commit)

    def _ingest_and_kill(self) -> int:
        """Go on with the history; kill the process in the middle of it. Returns the commits acknowledged until then."""
        loading = Loading(self._killed)
        least = max(1, self.history.commits_count // 40)
        enough = loading.commits_acknowledged + least + int(self._random.integers(0, 2 * least))
        try:
            while loading.commits_acknowledged < enough:
                if not loading.watch():
                    loading.wait()  # raises with what it printed
                    raise RuntimeError("the load ended before it was killed")
                time.sleep(0.005)
            time.sleep(self._random.random() * 0.05)
        finally:
            loading.kill()
        return loading.commits_acknowledged

    def _start_child(self, label: str, folder: Path, acknowledged: int) -> Start:
        begin = time.perf_counter()  # the same clock in all processes, on Linux
        with subprocess.Popen(
            _child("answer", label, folder, *self._one), stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
        if not line:
            raise WrongAnswer(f"{label}: no answer; its error stands above")
        answer = json.loads(line)
        done = {step: at - begin for step, at in answer["done"].items()}
        return Start(done=done, totals=Totals(**answer["totals"]), acknowledged=acknowledged)

    def _start_server(self, folder: Path, acknowledged: int) -> Start:
        store = WeftServer(cells=self._plan.cells)
        begin = time.perf_counter()
        done = {"imports": 0.0}
        try:
            store.open(folder)
            done["open"] = time.perf_counter() - begin
            totals = _answer(store, self._one, done, begin)
            store.server.kill()
        finally:
            store.close()
        return Start(done=done, totals=totals, acknowledged=acknowledged)

    def check(self) -> None:
        """Each start found every row that was acknowledged and nothing but rows of the history, up to one commit more.

        The one row was compared in the start itself.
        """
        for runs in self.runs:
            for start in runs.starts:
                commits = self.history.commits_of(start.totals.rows)
                if not start.acknowledged <= commits <= start.acknowledged + 1:
                    raise WrongAnswer(f"{runs.label}: {start.acknowledged} commits were acknowledged, found {commits}")
                expected = self.history.totals(commits)
                if start.totals.differs_from(expected):
                    raise WrongAnswer(f"{runs.label}: after the restart {start.totals}, written were {expected}")

    def close(self) -> None:
        """Nothing is open between the rounds."""

    def _report(self) -> Report:
        report = Report(
            name=self.name,
            title="from the start of a process to its first answers",
            rows=self._size.rows,
            rounds=self._size.rounds,
            reference="" if self._skipped else REFERENCE,
            skipped=self._skipped,
        )
        found = {runs.label: runs for runs in self.runs}
        for label, runs in found.items():
            seconds = tuple(start.done["count"] for start in runs.starts)
            line = Line(label=label, unit="s", samples=seconds, note=_steps_note(runs.starts))
            if REFERENCE in found and label != REFERENCE:
                base = float(np.median([start.done["count"] for start in found[REFERENCE].starts]))
                line = replace(line, ratio=base / line.value)
            report.lines.append(line)
        for label, wanted in ((CLEAN, 2.0), (KILLED, 5.0)):
            value = float(np.median([start.first_answer for start in found[label].starts]))
            text = f"{label}: from opening to one row and the count of all, s"
            report.goals.append(Goal(text=text, wanted=wanted, value=value, at_most=True))
        return report


def _steps_note(starts: list[Start]) -> str:
    """``imports 0.9, open 0.2, …``: seconds that each step took by itself, medians."""
    parts: list[str] = []
    for before, step in zip((None, *_STEPS), _STEPS, strict=False):
        took = [start.done[step] - (start.done[before] if before else 0.0) for start in starts]
        parts.append(f"{step} {np.median(took):.2f}")
    return ", ".join(parts)


def _child(action: str, label: str, folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "weftdb.bench.restart", action, label, str(folder), *arguments]


def _answer(store: Store, one: list[str], done: dict[str, float], begin: float) -> Totals:
    """One row, the count, the sums; notes in ``done`` when."""
    device, event_time, kind, amount = one
    moment = datetime.fromisoformat(event_time)
    event = Event(device=int(device), event_time=moment, kind=int(kind), amount=float(amount))
    row = store.decode(store.get(store.prepare_key(event)))
    done["one row"] = time.perf_counter() - begin
    if row != event:
        raise WrongAnswer(f"{store.name}: wrote {event}, read {row} after the restart")
    rows = store.rows_count()
    done["count"] = time.perf_counter() - begin
    totals = store.totals()
    done["sums"] = time.perf_counter() - begin
    if totals.rows != rows:
        raise WrongAnswer(f"{store.name}: count(*) is {rows}, and {totals.rows} beside the sums")
    return totals


def _main(action: str, label: str, folder: str, *arguments: str) -> None:
    """The child: load, or answer; then be killed, unless the next start shall find it closed in good order."""
    store = PEERS[label]() if label in PEERS else WeftStore(cells=VARIANTS[TIMED])
    assert label in PEERS or callable(weftdb.open)  # the package imports what it needs at the first use of a name
    done = {"imports": time.perf_counter()}
    store.open(Path(folder))
    if action == "load":
        for batch in plan(Path(), rows=int(arguments[0])).history.commits():
            store.write(store.prepare(batch))
        store.finish()
    else:
        done["open"] = time.perf_counter()
        totals = _answer(store, list(arguments), done, 0.0)
        print(json.dumps({"done": done, "totals": asdict(totals)}), flush=True)
        if label == CLEAN:
            store.close()
            return
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _main(*sys.argv[1:])
