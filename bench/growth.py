"""``bench growth``: whether ingest stays as fast as it was while the table grows.

100,000,000 events of a million devices over two years (``history``: in the order of their time, 1 % of the rows up to
30 days late), primary key (device, event_time), ``insert`` in durable commits of 50,000 rows, under a memory limit of
2 GB. Twice: with ``WITH (time = 'event_time', every = '30 days')``, so that rows go to the cell of their month, and
without event time, so that all of them go to one cell that grows with the table. The difference is what cells are for.

Each table is loaded by a process of its own (``loader``). Its clock runs during the commits; making the rows lies
between them and is not counted. What is stated:

    all rows                 rows ÷ seconds of all commits, and of flushing and compacting what was left after the last
    10 % to 20 %, last 10 %  rows ÷ seconds of the commits that wrote them; the goal is that these two are the same
    commits                  the median, the 99th percentile and the slowest of all; the 99th percentile without the
                             first tenth, in which memory is touched for the first time and nothing is merged yet
    afterwards               flush and compaction from the last commit until nothing is left to do: the backlog
    rest                     what the database does after a minute without commits, and here at once: it merges the
                             cells that took rows until the end, and the log gives its room back
    peak memory              what the process had allocated (anonymous pages), apart from pages of mapped files, which
                             the system takes back when it needs them
    on disk                  after that: all files of the database, beside the plain Arrow size of the rows (26 bytes
                             each), with bytes per column and encoding
    written                  all that went to the disk, log and merges included ÷ the Arrow size: write amplification

A snapshot that is opened after a tenth of the rows stays open to the end; then it must still see exactly that tenth.

With ``--resume DIR`` the databases stay in DIR, and a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from weftdb.bench.data import ROWS_PER_COMMIT, Totals
from weftdb.bench.history import RAW_BYTES_PER_ROW, History
from weftdb.bench.inside import bytes_on_disk
from weftdb.bench.loader import Loaded, Plan, load
from weftdb.bench.report import Goal, Line, Report, aligned
from weftdb.bench.systems import WrongAnswer, check_store, never_written
from weftdb.bench.workload import Size

MEMORY_LIMIT: Final = 2 * 10**9
VARIANTS: Final = {
    "with event time": "key = 'device', time = 'event_time', every = '30 days'",
    "without event time": "key = 'device'",
}
TIMED: Final = "with event time"
_SIZE_GOAL: Final = 0.7
_SAMPLE: Final = 200
_MB: Final = 2**20 / 1e6
_METRICS: Final = (
    "weft_flushes",
    "weft_flushed_bytes",
    "weft_merges",
    "weft_merged_bytes",
    "weft_stall_seconds",
    "weft_maintenance_failures",
)


def plan(folder: Path, *, rows: int, variant: str = TIMED, memory_limit: int | None = MEMORY_LIMIT) -> Plan:
    """How a history of ``rows`` rows is loaded; ``series`` and ``restart`` find the same folder."""
    rows_per_commit = max(1, min(ROWS_PER_COMMIT, rows // 20))
    history = History(rows=rows, rows_per_commit=rows_per_commit)
    return Plan(
        folder=str(folder / f"history-{rows}-{variant.replace(' ', '-')}"),
        rows=rows,
        rows_per_commit=rows_per_commit,
        cells=VARIANTS[variant],
        memory_limit=memory_limit,
        snapshot_after=history.commits_count // 10,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    variant: str
    plan: Plan
    loaded: Loaded

    def rate(self, first: float, last: float) -> float:
        """Rows per second of the commits from one share of the history to another; those without a time left out."""
        count = len(self.loaded.commit_seconds)
        part = slice(int(count * first), max(int(count * first) + 1, int(count * last)))
        seconds = self.loaded.commit_seconds[part]
        rows = np.array([self.plan.history.rows_of(number) for number in range(count)[part]])
        known = np.isfinite(seconds)
        return float(rows[known].sum() / seconds[known].sum())

    def commit_milliseconds(self, share: float, *, first: float = 0.0) -> float:
        """A percentile of the commits from one share of the history on; those without a time left out."""
        seconds = self.loaded.commit_seconds[int(len(self.loaded.commit_seconds) * first) :]
        return float(np.nanpercentile(seconds, share)) * 1e3

    @property
    def kept(self) -> float:
        """The rate at the end over the rate at the beginning."""
        return self.rate(0.9, 1.0) / self.rate(0.1, 0.2)


class Growth:
    """Both tables, one after the other."""

    name = "growth"
    full = Size(rows=100_000_000, rounds=1)
    quick = Size(rows=2_000_000, rounds=1)

    def __init__(self, *, size: Size, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self.runs: list[_Run] = []

    def setup(self) -> None:
        """Nothing: a load is the measurement."""

    def run(self) -> Report:
        for variant in VARIANTS:
            wanted = plan(self._folder, rows=self._size.rows, variant=variant)
            self.runs.append(_Run(variant=variant, plan=wanted, loaded=load(wanted)))
        return self._report()

    def check(self) -> None:
        """Totals, a sample of rows, keys that are absent; and that the old snapshot saw what was there then."""
        for run in self.runs:
            history = run.plan.history
            _check_snapshot(run, history)
            present = history.sample(_SAMPLE, seed=1)
            store = run.plan.store()
            store.open(Path(run.plan.folder))
            try:
                check_store(store, expected=history.totals(), present=present, absent=never_written(present))
            finally:
                store.close()

    def close(self) -> None:
        """Nothing is open: each process has ended."""

    def _report(self) -> Report:
        report = Report(
            name=self.name,
            title="ingest while the table grows, insert in durable commits",
            rows=self._size.rows,
            rounds=1,
            reference="rate at the beginning",
        )
        for run in self.runs:
            report.lines += _lines(run)
            report.notes += _notes(run)
        timed = next(run for run in self.runs if run.variant == TIMED)
        report.goals = _goals(timed)
        return report


def _check_snapshot(run: _Run, history: History) -> None:
    commits, seen = run.loaded.snapshot_commits, run.loaded.snapshot_totals
    if commits is None or seen is None:
        return
    expected: Totals = history.totals(commits)
    if seen.differs_from(expected):
        raise WrongAnswer(f"{run.variant}: a snapshot after {commits} commits saw {seen} in the end, not {expected}")


def _lines(run: _Run) -> list[Line]:
    loaded, watched = run.loaded, run.loaded.watched
    seconds = loaded.commit_seconds[np.isfinite(loaded.commit_seconds)]
    p50, p99, slowest = (run.commit_milliseconds(share) for share in (50, 99, 100))
    later = run.commit_milliseconds(99, first=0.1)
    making = float(np.nansum(loaded.making_seconds))
    rows, spent = run.plan.rows, float(seconds.sum())
    disk = sum(bytes_on_disk(Path(run.plan.folder) / "weft").values())
    before = sum(loaded.settled_bytes.values())
    raw = rows * RAW_BYTES_PER_ROW

    def line(label: str, unit: str, value: float, note: str = "", ratio: float | None = None) -> Line:
        return Line(label=f"{run.variant}: {label}", unit=unit, samples=(value,), note=note, ratio=ratio)

    return [
        line(
            "all rows",
            "rows/s",
            rows / (spent + loaded.settle_seconds),
            f"{spent:.1f} s of commits, {loaded.settle_seconds:.1f} s until flushed and compacted; making the rows took"
            f" {making:.1f} s",
        ),
        line("rows from 10 % to 20 %", "rows/s", run.rate(0.1, 0.2)),
        line("last 10 %", "rows/s", run.rate(0.9, 1.0), ratio=run.kept),
        line(
            "commit",
            "ms",
            p50,
            f"p99 {p99:.1f} ms, {later:.1f} ms after the first tenth, slowest {slowest:.0f} ms, of {len(seconds):,}",
        ),
        line(
            "peak memory",
            "MB",
            watched.peak_anonymous * _MB,
            f"allocated; mapped files {watched.peak_file * _MB:,.0f} MB, at most {watched.peak_total * _MB:,.0f} MB"
            " together",
        ),
        line(
            "rest",
            "s",
            loaded.rest_seconds,
            "merges that wait until nobody commits, and the log gives its room back; before it"
            f" {before / 1e6:,.0f} MB on disk",
        ),
        line("on disk", "MB", disk / 1e6, f"{disk / rows:.1f} bytes a row, {disk / raw:.0%} of the Arrow size"),
        line(
            "written",
            "MB",
            watched.bytes_written / 1e6,
            f"{watched.bytes_written / raw:.1f} times the Arrow size: log, flushes and merges",
        ),
    ]


def _goals(run: _Run) -> list[Goal]:
    loaded = run.loaded
    raw = run.plan.rows * RAW_BYTES_PER_ROW
    disk = sum(bytes_on_disk(Path(run.plan.folder) / "weft").values())
    spent = float(np.nansum(loaded.commit_seconds))
    pause = run.commit_milliseconds(99, first=0.1) - run.commit_milliseconds(50, first=0.1)
    return [
        Goal(text="rate over the last tenth, of that over the second tenth", wanted=0.9, value=run.kept),
        Goal(
            text="backlog after the last commit, of the time of all commits",
            wanted=0.1,
            value=loaded.settle_seconds / spent,
            at_most=True,
        ),
        Goal(text="p99 of a commit above the median, after the first tenth, ms", wanted=10, value=pause, at_most=True),
        Goal(
            text="peak of allocated memory, MB",
            wanted=MEMORY_LIMIT / 1e6,
            value=loaded.watched.peak_anonymous * _MB,
            at_most=True,
        ),
        Goal(text="size on disk, of the Arrow size", wanted=_SIZE_GOAL, value=disk / raw, at_most=True),
    ]


def _notes(run: _Run) -> list[str]:
    """What the database said about itself, below the table."""
    facts: dict[str, Any] = run.loaded.facts
    notes: list[str] = []
    files = bytes_on_disk(Path(run.plan.folder) / "weft")
    parts = ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in sorted(files.items()))
    notes.append(f"{run.variant}: on disk: {parts}")
    rows = [
        (column, encoding, f"{blocks:,}", f"{size / 1e6:,.1f} MB", f"{size / run.plan.rows:.2f}")
        for column, encoding, blocks, size in facts["columns"]
    ]
    header = ("column", "encoding", "blocks", "size", "bytes per row of the table")
    notes.append(f"{run.variant}: columns in segments\n\n{aligned(header, rows)}\n")
    segments = facts["segments"]
    notes.append(f"{run.variant}: {len(segments)} cells, {sum(segments)} segments, at most {max(segments)} in a cell")
    metrics = [f"{name} {facts['metrics'][name]:,.6g}" for name in _METRICS if name in facts["metrics"]]
    notes.append(f"{run.variant}: {', '.join(metrics)}")
    return notes
