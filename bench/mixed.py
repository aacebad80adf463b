"""``bench mixed``: rows come in while the twenty questions of ``bench query`` are asked, and how fresh the answers are.

Two writers commit batches of 10,000 clicks; one reader asks the questions in a loop, each in a snapshot of its own.
Four phases per system, in one process:

    ingest alone       as fast as it goes; the processor time per row includes flushes and merges until all has settled
    questions alone    before and after what follows, for the table grows then, too; the mean of both
    both               rows come at half the rate found before, at fixed times; questions as fast as they go
                       (a phase of questions ends with a whole loop)

**What the cores explain.** At its half rate ingest needs so many cores: that rate times the processor time per row.
What is left of the machine's is what questions can have. Their rate beside ingest is compared with the rate that they
reach alone, times the part of the cores they used alone that is left. At 1 neither lost anything but processor time.

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from weftdb.bench import clicks, inside
from weftdb.bench.asked import MEMORY, THREADS
from weftdb.bench.data import STEP_MICROSECONDS
from weftdb.bench.duck import DuckStore
from weftdb.bench.query import DDL
from weftdb.bench.questions import Question, questions
from weftdb.bench.report import Goal, Line, Report, figure
from weftdb.bench.systems import WrongAnswer
from weftdb.bench.weft import WeftStore
from weftdb.bench.workload import Size, fresh

WRITERS: Final = 2
COMMIT_ROWS: Final = 10_000
_SECONDS: Final = 8.0
_LOSS: Final = 0.9
"""Of what the cores leave, this much must arrive."""
_COUNTERS: Final = "CREATE TABLE counters (writer BIGINT PRIMARY KEY, transactions BIGINT NOT NULL)"
_SEEN: Final = "SELECT transactions FROM counters ORDER BY writer"

Write = Callable[[pa.RecordBatch, int], None]
"""Commits rows together with the number of the writer's transaction."""
Read = Callable[[str], list[int]]
"""Asks a question; the counters of its snapshot, by writer."""


class System(Protocol):
    name: str

    def open(self, folder: Path, *, rows: int) -> None:
        """With the first ``rows`` clicks in it, and counters of 0."""
        ...

    def writer(self, number: int) -> Write: ...

    def reader(self) -> Read: ...

    def settle(self) -> None:
        """Until nothing is left to do in the background."""
        ...

    def count(self) -> int: ...

    def close(self) -> None: ...


class WeftMixed:
    name = "WeftDB"

    def __init__(self) -> None:
        self._store = WeftStore(memory_limit=MEMORY, threads=THREADS)

    def open(self, folder: Path, *, rows: int) -> None:
        self._store.open_database(fresh(folder / "weft"))
        self._store.execute(f"CREATE TABLE clicks ({DDL}")
        for chunk in clicks.chunks(rows):
            self._store.append("clicks", chunk.final)
        self._store.execute(_COUNTERS)
        self._store.database.table("counters").insert([(number, 0) for number in range(WRITERS)])
        self._store.settle()

    def writer(self, number: int) -> Write:
        database = self._store.database

        def write(rows: pa.RecordBatch, done: int) -> None:
            with database.transaction() as transaction:
                transaction.table("clicks").insert(rows)
                transaction.table("counters").update(number, transactions=done)

        return write

    def reader(self) -> Read:
        session = inside.session(self._store.database, {"weft.tier": "auto"})

        def read(sql: str) -> list[int]:
            session.execute("BEGIN READ ONLY")
            session.execute(sql).arrow()
            seen = session.execute(_SEEN).rows()
            session.execute("COMMIT")
            return [transactions for (transactions,) in seen]

        return read

    def settle(self) -> None:
        self._store.settle()
        inside.await_kernels(self._store.database)

    def count(self) -> int:
        return self._store.database.execute("SELECT count(*) FROM clicks").scalar()

    def close(self) -> None:
        self._store.close()


class DuckMixed:
    name = "DuckDB"

    def __init__(self) -> None:
        self._store = DuckStore()

    def open(self, folder: Path, *, rows: int) -> None:
        self._store.open_database(fresh(folder / "duck"), threads=THREADS, memory_limit=f"{MEMORY // 10**6}MB")
        self._store.execute(f"CREATE TABLE clicks ({clicks.COLUMNS})")
        for chunk in clicks.chunks(rows):
            self._store.append("clicks", chunk.final)
        self._store.execute("ALTER TABLE clicks ADD PRIMARY KEY (customer, event_time)")
        self._store.execute(_COUNTERS)
        for number in range(WRITERS):
            self._store.execute(f"INSERT INTO counters VALUES ({number}, 0)")
        self.settle()

    def writer(self, number: int) -> Write:
        cursor = self._store.cursor()

        def write(rows: pa.RecordBatch, done: int) -> None:
            cursor.register("batch", pa.Table.from_batches([rows]))
            cursor.execute("BEGIN")
            cursor.execute("INSERT INTO clicks SELECT * FROM batch")
            cursor.execute("UPDATE counters SET transactions = ? WHERE writer = ?", [done, number])
            cursor.execute("COMMIT")

        return write

    def reader(self) -> Read:
        cursor = self._store.cursor()

        def read(sql: str) -> list[int]:
            cursor.execute("BEGIN")
            cursor.sql(sql).to_arrow_table()
            seen = cursor.execute(_SEEN).fetchall()
            cursor.execute("COMMIT")
            return [transactions for (transactions,) in seen]

        return read

    def settle(self) -> None:
        self._store.execute("CHECKPOINT")

    def count(self) -> int:
        return self._store.execute("SELECT count(*) AS n FROM clicks")["n"][0].as_py()

    def close(self) -> None:
        self._store.close()


@dataclass(slots=True, kw_only=True)
class _Writer:
    """One writer's transactions: ``acknowledged`` has the moment of each, the first counts 1."""

    write: Write
    batches: Iterator[pa.RecordBatch]
    acknowledged: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def once(self) -> None:
        batch = next(self.batches)
        began = time.perf_counter()
        self.write(batch, len(self.acknowledged) + 1)
        now = time.perf_counter()
        self.acknowledged.append(now)
        self.latencies.append(now - began)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question that was answered: when it began, and the counters that it saw."""

    began: float
    seen: Sequence[int]


@dataclass(slots=True, kw_only=True)
class _Phase:
    """What happened in some seconds."""

    seconds: float = 0.0
    rows: int = 0
    processor: float = 0.0
    asked: list[Asked] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _Run:
    system: System
    phases: dict[str, _Phase] = field(default_factory=dict)
    writers: list[_Writer] = field(default_factory=list)
    read: Read | None = None


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
            run.writers = [
                _Writer(write=run.system.writer(number), batches=_batches(number, rows=self._size.rows))
                for number in range(WRITERS)
            ]
            run.read = run.system.reader()
            self._phases(run)
            self._compare(run)
            run.system.close()
        return self._report()

    def check(self) -> None:
        """All that was acknowledged was found in the end, see ``run``."""

    def close(self) -> None:
        for run in self._runs:
            run.system.close()

    # The phases.

    def _phases(self, run: _Run) -> None:
        ask = self._question_loop(run)
        ask(0.0, _Phase())
        run.phases["ingest"] = ingest = self._ingest(run)
        ask(0.0, _Phase())
        run.system.settle()
        run.phases["before"] = self._alone(ask)
        run.phases["both"] = self._both(run, ask, rate=ingest.rows / ingest.seconds / 2)
        run.system.settle()
        ask(0.0, _Phase())
        run.phases["after"] = self._alone(ask)

    def _question_loop(self, run: _Run) -> Callable[[float, _Phase], None]:
        read = run.read
        assert read is not None, "it was made before"

        def ask(seconds: float, phase: _Phase) -> None:
            """Whole loops, at least one, until so many seconds have gone by."""
            began = time.perf_counter()
            while not phase.asked or time.perf_counter() - began < seconds:
                for question in self._questions:
                    at = time.perf_counter()
                    phase.asked.append(Asked(began=at, seen=read(question.sql)))
            phase.seconds = time.perf_counter() - began

        return ask

    def _alone(self, ask: Callable[[float, _Phase], None]) -> _Phase:
        phase, processor = _Phase(), time.process_time()
        ask(self._seconds, phase)
        phase.processor = time.process_time() - processor
        return phase

    def _ingest(self, run: _Run) -> _Phase:
        """As fast as it goes."""
        phase, processor, began = _Phase(), time.process_time(), time.perf_counter()
        self._write(run, phase, until=lambda: time.perf_counter() - began >= self._seconds, begun=began)
        run.system.settle()
        phase.processor = time.process_time() - processor
        return phase

    def _both(self, run: _Run, ask: Callable[[float, _Phase], None], *, rate: float) -> _Phase:
        phase, processor = _Phase(), time.process_time()
        ended = threading.Event()
        every = COMMIT_ROWS * WRITERS / rate
        writing = _Phase()
        writers = _Thread(lambda: self._write(run, writing, until=ended.is_set, begun=time.perf_counter(), every=every))
        writers.start()
        try:
            ask(self._seconds, phase)
        finally:
            ended.set()
            writers.join()
        writers.raise_error()
        phase.processor = time.process_time() - processor
        phase.rows, phase.latencies = writing.rows, writing.latencies
        phase.seconds = max(phase.seconds, writing.seconds)
        return phase

    def _write(self, run: _Run, phase: _Phase, *, until: Callable[[], bool], begun: float, every: float = 0.0) -> None:
        """All writers; with ``every`` each commits once in so many seconds, later ones at once where it is late."""
        before = sum(len(writer.acknowledged) for writer in run.writers)
        tails = [len(writer.latencies) for writer in run.writers]

        def work(writer: _Writer) -> None:
            number = 0
            while not until():
                time.sleep(max(begun + number * every - time.perf_counter(), 0))
                writer.once()
                number += 1

        threads = [_Thread(lambda writer=writer: work(writer)) for writer in run.writers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        phase.seconds = time.perf_counter() - begun
        for thread in threads:
            thread.raise_error()
        phase.rows = (sum(len(writer.acknowledged) for writer in run.writers) - before) * COMMIT_ROWS
        for writer, tail in zip(run.writers, tails, strict=True):
            phase.latencies += writer.latencies[tail:]

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
        kept, wanted = _rates(run)
        report.goals.append(Goal(text="ingest beside questions ÷ half its rate alone", wanted=0.95, value=kept))
        report.goals.append(Goal(text="questions ÷ what the cores explain", wanted=_LOSS, value=wanted))


class _Thread(threading.Thread):
    """One whose error is raised where it is waited for."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error


def freshness(asked: Sequence[Asked], acknowledged: Sequence[Sequence[float]]) -> list[float]:
    """Per answer the seconds since the first transaction that it did not see was acknowledged; 0 if none was."""
    late: list[float] = []
    for one in asked:
        unseen = [
            moments[seen] for seen, moments in zip(one.seen, acknowledged, strict=True) if seen < len(moments)
        ]  # fmt: skip
        late.append(max(0.0, one.began - min(unseen)) if unseen else 0.0)
    return late


def _rates(run: _Run) -> tuple[float, float]:
    """Ingest beside questions over half its rate alone; questions beside ingest over what the cores explain."""
    ingest, both = run.phases["ingest"], run.phases["both"]
    half = ingest.rows / ingest.seconds / 2
    rate = both.rows / both.seconds
    cores = os.cpu_count() or 1
    taken = ingest.processor / ingest.rows * rate
    alone = [run.phases[name] for name in ("before", "after")]
    speed = statistics.mean(len(phase.asked) / phase.seconds for phase in alone)
    used = statistics.mean(phase.processor / phase.seconds for phase in alone)
    explained = speed * min(1.0, max(cores - taken, 0.05) / used)
    return rate / half, len(both.asked) / both.seconds / explained


def _figures(run: _Run) -> list[tuple[str, str, float, str]]:
    """(label, unit, value, note)."""
    ingest, both = run.phases["ingest"], run.phases["both"]
    before, after = (len(run.phases[name].asked) / run.phases[name].seconds for name in ("before", "after"))
    late = sorted(freshness(both.asked, [writer.acknowledged for writer in run.writers]))
    kept, explained = _rates(run)
    cores = ingest.processor / ingest.seconds
    used = statistics.mean(run.phases[name].processor / run.phases[name].seconds for name in ("before", "after"))
    return [
        ("ingest alone", "rows/s", ingest.rows / ingest.seconds, f"{_tail(ingest)}; {cores:.2f} cores"),
        ("ingest beside questions", "rows/s", both.rows / both.seconds, f"{_tail(both)}; {kept:.2f} of the half"),
        (
            "questions alone",
            "/s",
            (before + after) / 2,
            f"{figure(before)} before, {figure(after)} after; {used:.2f} cores",
        ),
        (
            "questions beside ingest",
            "/s",
            len(both.asked) / both.seconds,
            f"{explained:.2f} of what the cores explain; {both.processor / both.seconds:.2f} cores",
        ),
        (
            "freshness, 95th percentile",
            "ms",
            late[min(int(0.95 * len(late)), len(late) - 1)] * 1e3,
            f"worst {late[-1] * 1e3:.1f} ms, of {len(late)} answers",
        ),
    ]


def _tail(phase: _Phase) -> str:
    ordered = sorted(phase.latencies)
    middle, last = ordered[len(ordered) // 2], ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)]
    return f"commit {middle * 1e3:.1f} ms, p99 {last * 1e3:.1f} ms"


def _batches(number: int, *, rows: int) -> Iterator[pa.RecordBatch]:
    """Clicks after the first ``rows``, without end: one chunk again and again, each time later; a part per writer."""
    [chunk] = clicks.chunks(min(rows, clicks.CHUNK_ROWS // 4))
    count = chunk.final.num_rows
    batches = chunk.final.combine_chunks().to_batches(max_chunksize=COMMIT_ROWS)
    batches = [batch for batch in batches if batch.num_rows == COMMIT_ROWS] or batches
    later = rows * STEP_MICROSECONDS
    while True:
        for at, batch in enumerate(batches):
            if at % WRITERS == number:
                yield _later(batch, later)
        later += count * STEP_MICROSECONDS


def _later(batch: pa.RecordBatch, microseconds: int) -> pa.RecordBatch:
    at = batch.schema.get_field_index("event_time")
    moments = pc.add(batch.column(at), pa.scalar(microseconds, pa.duration("us")))
    return batch.set_column(at, "event_time", moments)
