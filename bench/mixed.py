"""``bench mixed``: rows come in while the twenty questions of ``bench query`` are asked, and how fresh the answers are.

Two writers commit batches of 10,000 clicks; one reader asks the questions in a loop, each in a snapshot of its own.
Five phases per system, in one process but for the neighbour:

    ingest alone       as fast as it goes; the processor time per row includes flushes and merges until all has settled
    questions alone    before and after what follows, for the table grows then, too; the mean of both
    apart              before and after, too: the same commits at half the rate found before by another process (see
                       ``bench/neighbour.py``) in a database of its own, questions as fast as they go
    both               rows come at half the rate found before, at fixed times; questions as fast as they go
                       (a phase of questions ends with a whole loop)

**What the cores explain.** Apart, questions and ingest share nothing but the machine: its cores, its memory, its disk.
What questions reach then is what this machine has left for them. At 1 it costs nothing that both are one engine, and
one table that grows. Beside it stands what arithmetic leaves: the rate alone, times the part of the cores used alone
that ingest's processor time per row leaves of the machine's; the two agree to a few hundredths.

**Freshness**, as HATtrick defines it (Milkai and others, "How Good is My HTAP System?", SIGMOD 2022): each writer
counts its transactions in a row of its own, within the transaction; each question reads the counters in its own
snapshot. The freshness of an answer is its start minus the moment at which the first transaction that it has not seen
was acknowledged, and 0 if none was by then. The paper's score is the 95th percentile; 0 means that every answer had
seen all that was acknowledged before it was asked.

DuckDB does the same with its own file: primary key, appends and counter in one transaction, a cursor per thread.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from weftdb.bench import clicks
from weftdb.bench.committing import (
    COMMIT_ROWS,
    WRITERS,
    DuckMixed,
    Read,
    System,
    WeftMixed,
    Writer,
    Written,
    write,
    writers_of,
)
from weftdb.bench.neighbour import Neighbour
from weftdb.bench.questions import Question, questions
from weftdb.bench.report import Goal, Line, Report, figure
from weftdb.bench.systems import WrongAnswer
from weftdb.bench.workload import Size, fresh

_SECONDS: Final = 8.0
_LOSS: Final = 0.9
"""Of what the cores leave, this much must arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question that was answered: when it began, and the counters that it saw."""

    began: float
    seen: Sequence[int]


@dataclass(slots=True, kw_only=True)
class _Phase:
    """What happened in some seconds. ``rows`` were committed, ``apart`` is what the neighbour took a second."""

    seconds: float = 0.0
    rows: int = 0
    apart: float = 0.0
    processor: float = 0.0
    asked: list[Asked] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Questions a second."""
        return len(self.asked) / self.seconds

    @property
    def cores(self) -> float:
        return self.processor / self.seconds


_Ask = Callable[[_Phase, float], None]
"""Asks the questions for so many seconds, and writes it into the phase."""


@dataclass(slots=True, kw_only=True)
class _Run:
    system: System
    phases: dict[str, _Phase] = field(default_factory=dict)
    writers: list[Writer] = field(default_factory=list)
    read: Read | None = None
    neighbour: Neighbour | None = None

    def close(self) -> None:
        self.system.close()
        if self.neighbour is not None:
            self.neighbour.close()
            self.neighbour = None


class Mixed:
    """Each system goes through its phases after the other is done and closed."""

    name = "mixed"
    full = Size(rows=5_000_000, rounds=1)
    quick = Size(rows=500_000, rounds=1)

    def __init__(
        self,
        *,
        size: Size,
        folder: Path,
        makers: Sequence[Callable[[], System]] = (WeftMixed, DuckMixed),
        seconds: float = _SECONDS,
    ) -> None:
        self._size = size
        self._folder = folder
        self._seconds = seconds
        self._questions: tuple[Question, ...] = questions(clicks.bounds(size.rows))
        self._runs = [_Run(system=make()) for make in makers]

    def setup(self) -> None:
        """Each system is loaded before its turn, so that only one needs memory."""

    def run(self) -> Report:
        for run in self._runs:
            run.system.open(self._folder, rows=self._size.rows)
            run.writers = writers_of(run.system, rows=self._size.rows)
            run.read = run.system.reader()
            run.neighbour = Neighbour(run.system.name, fresh(self._folder / "neighbour"), rows=self._size.rows)
            self._phases(run, run.neighbour)
            self._compare(run)
            run.close()
        return self._report()

    def check(self) -> None:
        """All that was acknowledged was found in the end, see ``run``."""

    def close(self) -> None:
        for run in self._runs:
            run.close()

    # The phases.

    def _phases(self, run: _Run, neighbour: Neighbour) -> None:
        ask = self._question_loop(run)
        ask(_Phase(), 0.0)
        run.phases["ingest"] = ingest = self._ingest(run)
        every = 2 * COMMIT_ROWS * WRITERS * ingest.seconds / ingest.rows
        ask(_Phase(), 0.0)
        run.system.settle()
        run.phases["before"] = self._alone(ask)
        run.phases["apart before"] = self._apart(ask, neighbour, every=every)
        run.phases["both"] = self._both(run, ask, every=every)
        run.system.settle()
        ask(_Phase(), 0.0)
        run.phases["after"] = self._alone(ask)
        run.phases["apart after"] = self._apart(ask, neighbour, every=every)

    def _question_loop(self, run: _Run) -> _Ask:
        read = run.read
        assert read is not None, "it was made before"

        def ask(phase: _Phase, seconds: float) -> None:
            """Whole loops, at least one, until so many seconds have gone by."""
            began = time.perf_counter()
            while not phase.asked or time.perf_counter() - began < seconds:
                for question in self._questions:
                    at = time.perf_counter()
                    phase.asked.append(Asked(began=at, seen=read(question.sql)))
            phase.seconds = time.perf_counter() - began

        return ask

    def _alone(self, ask: _Ask) -> _Phase:
        phase, processor = _Phase(), time.process_time()
        ask(phase, self._seconds)
        phase.processor = time.process_time() - processor
        return phase

    def _apart(self, ask: _Ask, neighbour: Neighbour, *, every: float) -> _Phase:
        with neighbour.writing(every) as taken:
            phase = self._alone(ask)
        [phase.apart] = taken
        return phase

    def _ingest(self, run: _Run) -> _Phase:
        """As fast as it goes."""
        processor, began = time.process_time(), time.perf_counter()
        phase = _written(write(run.writers, until=lambda: time.perf_counter() - began >= self._seconds))
        run.system.settle()
        phase.processor = time.process_time() - processor
        return phase

    def _both(self, run: _Run, ask: _Ask, *, every: float) -> _Phase:
        asking, processor = _Phase(), time.process_time()
        ended = threading.Event()
        with ThreadPoolExecutor(1) as beside:
            written = beside.submit(write, run.writers, until=ended.is_set, every=every)
            try:
                ask(asking, self._seconds)
            finally:
                ended.set()
        phase = _written(written.result())
        phase.processor = time.process_time() - processor
        phase.asked, phase.seconds = asking.asked, max(asking.seconds, phase.seconds)
        return phase

    def _compare(self, run: _Run) -> None:
        """Raise WrongAnswer unless the counters and the rows are those that were acknowledged."""
        assert run.read is not None, "it was made before"
        done = [len(writer.acknowledged) for writer in run.writers]
        seen = list(run.read("SELECT 1"))
        if seen != done:
            raise WrongAnswer(f"{run.system.name}: counters are {seen}, acknowledged were {done}")
        rows, wanted = run.system.count(), self._size.rows + sum(done) * COMMIT_ROWS
        if rows != wanted:
            raise WrongAnswer(f"{run.system.name}: {rows} rows, acknowledged were {wanted}")

    # The report.

    def _report(self) -> Report:
        report = Report(
            name=self.name,
            title=f"commits of {COMMIT_ROWS:,} clicks by {WRITERS} writers beside the questions of bench query",
            rows=self._size.rows,
            rounds=self._size.rounds,
            reference="DuckDB",
        )
        reference = next((run for run in self._runs if run.system.name == report.reference), None)
        for run in self._runs:
            figures, others = _figures(run), None if reference in (None, run) else _figures(reference)
            for at, (label, unit, value, note) in enumerate(figures):
                ratio = None if others is None or unit not in ("rows/s", "/s") else value / others[at][2]
                report.lines.append(
                    Line(label=f"{run.system.name}, {label}", unit=unit, samples=(value,), ratio=ratio, note=note)
                )
            if run.system.name == "WeftDB":
                self._goals(report, run)
        return report

    def _goals(self, report: Report, run: _Run) -> None:
        late = freshness(run.phases["both"].asked, [writer.acknowledged for writer in run.writers])
        report.goals.append(Goal(text="freshness of all answers, ms", wanted=0, value=max(late) * 1e3, at_most=True))
        report.goals.append(Goal(text="ingest beside questions ÷ half its rate alone", wanted=0.95, value=_kept(run)))
        apart, _ = _mean(run, "apart before", "apart after")
        text = "questions beside ingest ÷ those beside ingest in another process"
        report.goals.append(Goal(text=text, wanted=_LOSS, value=run.phases["both"].rate / apart))


def freshness(asked: Sequence[Asked], acknowledged: Sequence[Sequence[float]]) -> list[float]:
    """Per answer the seconds since the first transaction that it did not see was acknowledged; 0 if none was."""
    late: list[float] = []
    for one in asked:
        unseen = [
            moments[seen] for seen, moments in zip(one.seen, acknowledged, strict=True) if seen < len(moments)
        ]  # fmt: skip
        late.append(max(0.0, one.began - min(unseen)) if unseen else 0.0)
    return late


def _written(written: Written) -> _Phase:
    return _Phase(seconds=written.seconds, rows=written.rows, latencies=written.latencies)


def _kept(run: _Run) -> float:
    """Ingest beside questions over half its rate alone."""
    ingest, both = run.phases["ingest"], run.phases["both"]
    return both.rows / both.seconds / (ingest.rows / ingest.seconds / 2)


def _mean(run: _Run, *names: str) -> tuple[float, float]:
    """Questions a second, and cores."""
    phases = [run.phases[name] for name in names]
    return statistics.mean(phase.rate for phase in phases), statistics.mean(phase.cores for phase in phases)


def _left(run: _Run) -> float:
    """Questions a second that the cores leave by arithmetic."""
    ingest, both = run.phases["ingest"], run.phases["both"]
    cores = os.cpu_count() or 1
    taken = ingest.processor / ingest.rows * both.rows / both.seconds
    speed, used = _mean(run, "before", "after")
    return speed * min(1.0, max(cores - taken, 0.05) / used)


def _figures(run: _Run) -> list[tuple[str, str, float, str]]:
    """(label, unit, value, note)."""
    ingest, both = run.phases["ingest"], run.phases["both"]
    alone, used = _mean(run, "before", "after")
    apart, used_apart = _mean(run, "apart before", "apart after")
    taken = statistics.mean(run.phases[name].apart for name in ("apart before", "apart after"))
    late = sorted(freshness(both.asked, [writer.acknowledged for writer in run.writers]))
    return [
        ("ingest alone", "rows/s", ingest.rows / ingest.seconds, f"{_tail(ingest)}; {ingest.cores:.2f} cores"),
        ("ingest beside questions", "rows/s", both.rows / both.seconds, f"{_tail(both)}; {_kept(run):.2f} of the half"),
        ("questions alone", "/s", alone, f"{_twice(run, 'before', 'after')}; {used:.2f} cores"),
        (
            "questions, ingest in another process",
            "/s",
            apart,
            f"{_twice(run, 'apart before', 'apart after')}; {used_apart:.2f} cores beside {figure(taken)} rows/s; "
            f"{apart / _left(run):.2f} of what the cores leave by arithmetic",
        ),
        (
            "questions beside ingest",
            "/s",
            both.rate,
            f"{both.rate / apart:.2f} of those beside the other process, {both.rate / _left(run):.2f} of the "
            f"arithmetic; {both.cores:.2f} cores",
        ),
        (
            "freshness, 95th percentile",
            "ms",
            late[min(int(0.95 * len(late)), len(late) - 1)] * 1e3,
            f"worst {late[-1] * 1e3:.1f} ms, of {len(late)} answers",
        ),
    ]


def _twice(run: _Run, before: str, after: str) -> str:
    return f"{figure(run.phases[before].rate)} before, {figure(run.phases[after].rate)} after"


def _tail(phase: _Phase) -> str:
    ordered = sorted(phase.latencies)
    middle, last = ordered[len(ordered) // 2], ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)]
    return f"commit {middle * 1e3:.1f} ms, p99 {last * 1e3:.1f} ms"
