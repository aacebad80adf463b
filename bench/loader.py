"""A process that loads a history into WeftDB, watched from outside: commits are timed inside it, memory by its parent.

    parent   Loading(plan)  ── starts ──►  child   python -m weftdb.bench.loader PLAN
             memory and bytes written,             opens PLAN.folder, finds out how many commits are there, goes on with
             20 times a second, from /proc         the next one: makes it (not counted), commits it (counted)

The child's clock holds nothing but the commit: the rows are made between two commits, in the same process, and take
a twentieth of the time; what the engine does in the background meanwhile it does for free. Both times are recorded, so
a report can state the rate with that time as well.

Resumable: each commit's time goes to ``commits.bin`` beside the database as soon as the commit is acknowledged, and
what the parent measured to ``watched.json`` every second. A child that is started on the same folder again, after a
kill of either, goes on after the last commit that the database has. The database is the truth: a commit that it has but
of which the file knows nothing has no time (NaN).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from weftdb.bench.data import Totals
from weftdb.bench.history import History
from weftdb.bench.inside import bytes_on_disk
from weftdb.bench.process import Memory, bytes_written_of, memory_of
from weftdb.bench.weft import WEEKS, WeftStore

_RECORD: Final = np.dtype([("commit", "<f8"), ("making", "<f8"), ("wall", "<f8")])
"""Seconds that the commit took, seconds that making its rows took, wall clock when it was acknowledged."""

_SECONDS_BETWEEN_LOOKS: Final = 0.05
_SECONDS_BETWEEN_NOTES: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to load. ``commits`` is where to stop (None: after the whole history).

    ``snapshot_after``: a snapshot that is opened after so many commits and read again at the end. ``settle``: at the
    end, wait until all rows are in segments and background work has nothing left to do, and say how long that took;
    then have done what waits for a minute without commits, and say how long that took, too.
    """

    folder: str
    rows: int
    rows_per_commit: int
    cells: str = WEEKS
    memory_limit: int | None = None
    commits: int | None = None
    snapshot_after: int | None = None
    settle: bool = True

    @property
    def history(self) -> History:
        return History(rows=self.rows, rows_per_commit=self.rows_per_commit)

    @property
    def commits_wanted(self) -> int:
        return self.history.commits_count if self.commits is None else self.commits

    def store(self) -> WeftStore:
        return WeftStore(cells=self.cells, memory_limit=self.memory_limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the parent saw over all processes that worked on this folder: peaks in MiB, sums in bytes."""

    peak_anonymous: float = 0.0
    peak_total: float = 0.0
    peak_file: float = 0.0
    bytes_written: int = 0
    processes: int = 0

    def with_sample(self, memory: Memory) -> Watched:
        return replace(
            self,
            peak_anonymous=max(self.peak_anonymous, memory.anonymous),
            peak_total=max(self.peak_total, memory.total),
            peak_file=max(self.peak_file, memory.file),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A load that reached its end. Arrays have one element per commit, in order."""

    commit_seconds: np.ndarray
    making_seconds: np.ndarray
    wall: np.ndarray
    settle_seconds: float
    rest_seconds: float
    settled_bytes: dict[str, int]
    """On the disk before that rest, see ``inside.bytes_on_disk``."""
    watched: Watched
    snapshot_commits: int | None
    snapshot_totals: Totals | None
    facts: dict[str, Any]
    """What the store said about itself at the end; see ``WeftStore.facts``."""


class Loading:
    """A running load; ``wait`` for its end, or ``kill`` it."""

    def __init__(self, plan: Plan) -> None:
        """Start the child. Raises nothing for what happens in it: ``wait`` does."""
        self._plan = plan
        self._folder = Path(plan.folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._errors = self._folder / "loader.stderr"
        self._watched = _read_watched(self._folder)
        self._written_before = self._watched.bytes_written
        self._watched = replace(self._watched, processes=self._watched.processes + 1)
        self._noted = 0.0
        (self._folder / "result.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "weftdb.bench.loader", json.dumps(asdict(plan))]
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(command, stdout=errors, stderr=errors)

    @property
    def commits_acknowledged(self) -> int:
        """As far as the child has told."""
        file = self._folder / "commits.bin"
        return file.stat().st_size // _RECORD.itemsize if file.exists() else 0

    def watch(self) -> bool:
        """Look once; False when the child has ended."""
        pid = self._process.pid
        with contextlib.suppress(OSError, KeyError):  # it may end at any moment
            self._watched = self._watched.with_sample(memory_of(pid))
            written = self._written_before + bytes_written_of(pid)
            self._watched = replace(self._watched, bytes_written=max(written, self._watched.bytes_written))
        if time.monotonic() - self._noted > _SECONDS_BETWEEN_NOTES:
            self._note()
        return self._process.poll() is None

    def wait(self) -> Loaded:
        """Watch until the end. Raises RuntimeError with the last lines of what the child printed if it failed."""
        try:
            while self.watch():
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            self.kill()
        self._note()
        if self._process.returncode != 0:
            last = self._errors.read_text().strip().splitlines()[-5:]
            raise RuntimeError(f"the load of {self._folder} failed: {' / '.join(last) or 'it printed nothing'}")
        return _loaded(self._folder, self._watched)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def _note(self) -> None:
        self._noted = time.monotonic()
        _write_json(self._folder / "watched.json", asdict(self._watched))


def load(plan: Plan) -> Loaded:
    """Load what is not there yet, and return the figures of all of it."""
    folder = Path(plan.folder)
    result = folder / "result.json"
    if result.exists():
        known = json.loads(result.read_text())
        if known["plan"] == asdict(plan) and "rest_seconds" in known:
            return _loaded(folder, _read_watched(folder))
    return Loading(plan).wait()


def _loaded(folder: Path, watched: Watched) -> Loaded:
    result = json.loads((folder / "result.json").read_text())
    records = np.fromfile(folder / "commits.bin", _RECORD)
    totals = result["snapshot_totals"]
    return Loaded(
        commit_seconds=records["commit"],
        making_seconds=records["making"],
        wall=records["wall"],
        settle_seconds=result["settle_seconds"],
        rest_seconds=result["rest_seconds"],
        settled_bytes=result["settled_bytes"],
        watched=watched,
        snapshot_commits=result["snapshot_commits"],
        snapshot_totals=Totals(**totals) if totals else None,
        facts=result["facts"],
    )


def _read_watched(folder: Path) -> Watched:
    file = folder / "watched.json"
    return Watched(**json.loads(file.read_text())) if file.exists() else Watched()


def _write_json(file: Path, content: object) -> None:
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps(content))
    beside.replace(file)


# --- the child --------------------------------------------------------------------------------------------------------


def _main(text: str) -> None:
    plan = Plan(**json.loads(text))
    folder = Path(plan.folder)
    store = plan.store()
    store.open(folder)
    try:
        result = _load(plan, store, folder)
    finally:
        store.close()
    _write_json(folder / "result.json", {"plan": asdict(plan), **result})


def _load(plan: Plan, store: WeftStore, folder: Path) -> dict[str, Any]:
    history = plan.history
    done = history.commits_of(store.rows_count())
    parent = os.getppid()
    snapshot: Any = None
    snapshot_commits: int | None = None
    with _records_file(folder / "commits.bin", done) as records:
        for number in range(done, plan.commits_wanted):
            if snapshot is None and plan.snapshot_after is not None and number >= plan.snapshot_after:
                snapshot, snapshot_commits = store.database.snapshot(), number
            if os.getppid() != parent:
                raise SystemExit("the process that watches is gone")
            started = time.perf_counter()
            batch = history.commit(number)
            begin = time.perf_counter()
            store.write(batch)
            end = time.perf_counter()
            records.write(np.array([(end - begin, begin - started, time.time())], _RECORD).tobytes())
            records.flush()
    begin = time.perf_counter()
    if plan.settle:
        store.settle()
    settle_seconds = time.perf_counter() - begin
    settled_bytes = bytes_on_disk(folder / "weft")
    begin = time.perf_counter()
    if plan.settle:
        store.rest()
    rest_seconds = time.perf_counter() - begin
    totals = None
    if snapshot is not None:
        totals = asdict(store.totals_in(snapshot))
        snapshot.close()
    return {
        "settle_seconds": settle_seconds,
        "rest_seconds": rest_seconds,
        "settled_bytes": settled_bytes,
        "snapshot_commits": snapshot_commits,
        "snapshot_totals": totals,
        "facts": store.facts(),
    }


def _records_file(file: Path, done: int) -> Any:
    """``commits.bin`` with exactly ``done`` records, at its end."""
    stream = file.open("r+b" if file.exists() else "w+b")
    there = stream.seek(0, os.SEEK_END) // _RECORD.itemsize
    stream.truncate(min(there, done) * _RECORD.itemsize)
    stream.seek(0, os.SEEK_END)
    stream.write(np.full(3 * (done - min(there, done)), np.nan).tobytes())
    return stream


if __name__ == "__main__":
    _main(sys.argv[1])
