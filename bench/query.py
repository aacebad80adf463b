"""``bench query``: twenty analytical questions about 20,000,000 clicks, beside DuckDB, Polars and ClickHouse.

One table with texts of few and of many values, integers, doubles, NUMERIC and NULLs (``clicks``), the questions that
analysts have about it (``questions``). WeftDB reads the newest committed snapshot of a table with a primary key, after
one row in twenty was written once more, and with the old versions still there, so that visibility is not free. The
peers have the rows as they are in the end, bulk loaded, which is their best case: DuckDB its own file in the order of
event time, without a key; ClickHouse merged parts (``clickhouse``); Polars a data frame in memory (``frames``). Each
has two threads and, but for Polars, 2 GB.

    auto         WeftDB with SET weft.tier = auto: a pipeline's kernel where there is one, else the relational executor
    relational   WeftDB with SET weft.tier = relational: DuckDB over our scans
    first        auto, asked for the first time: plans and compiled kernels are not there yet, segments have
                 been read before; each sample in a process of its own, beside DuckDB (``first``)
    touched      bytes of the columns that the question is about, encoded, in the part of the table that its window of
                 time is (``Question``); divided by the time of auto: the share of what memory can deliver
                 (``bandwidth``)

Systems take turns, question by question. Answers are compared cell by cell: floats to 1e-9, all else exactly; those of
``auto`` once its kernels are there. Ratios are the other's time ÷ that of auto; the means are geometric, so that no
question counts more than another, and of the twenty only. Three further questions join and rank.
"""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from weftdb.bench import clicks, first, frames, inside
from weftdb.bench.asked import HISTORY_SECONDS, MEMORY, THREADS, compare, geometric_mean, timed
from weftdb.bench.bandwidth import measured_bandwidth
from weftdb.bench.clickhouse import ClickHouseTables
from weftdb.bench.duck import DuckStore
from weftdb.bench.frames import PolarsFrame
from weftdb.bench.questions import Question, further_questions, questions
from weftdb.bench.report import Goal, Line, Report, figure, ratio_figure
from weftdb.bench.systems import Missing
from weftdb.bench.weft import WeftStore
from weftdb.bench.workload import Size, fresh, in_turn

DDL: Final = (
    f"{clicks.COLUMNS}, PRIMARY KEY (customer, event_time))"
    " WITH (key = 'customer', time = 'event_time', every = '7 days')"
)
_CLICKHOUSE = (
    "customer Int64, event_time DateTime64(6, 'UTC'), session Int64, action LowCardinality(String),"
    " channel LowCardinality(Nullable(String)), country LowCardinality(String), page Nullable(String),"
    " product Nullable(Int32), quantity Nullable(Int16), duration Nullable(Int32), score Nullable(Float64),"
    " price Nullable(Decimal(12, 2))",
    "PARTITION BY toYYYYMM(event_time) ORDER BY (customer, event_time)",
)
_CLICKHOUSE_CUSTOMERS = ("customer Int64, segment LowCardinality(String), birth_year Int32", "ORDER BY customer")

Ask = Callable[[Question], tuple[float, pa.Table]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One column of the table: ``ask`` returns the seconds and the answer."""

    name: str
    ask: Ask


class Query:
    """All systems answer each question once to be compared, once for the first time, and ``rounds`` times in turn."""

    name = "query"
    full = Size(rows=20_000_000, rounds=5)
    quick = Size(rows=1_000_000, rounds=3)

    def __init__(self, *, size: Size, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self._bounds = clicks.bounds(size.rows)
        self._twenty = questions(self._bounds)
        self._further = further_questions(self._bounds)
        self._weft = WeftStore(write="put", memory_limit=MEMORY, threads=THREADS, history_seconds=HISTORY_SECONDS)
        self._duck = DuckStore(primary_key=False)
        self._clickhouse: ClickHouseTables | None = None
        self._polars: PolarsFrame | None = None
        self._skipped: dict[str, str] = {}
        self._sessions: list[Any] = []
        self._subjects: list[Subject] = []
        self._answers: dict[tuple[str, str], pa.Table] = {}
        self._samples: dict[tuple[str, str], list[float]] = {}
        self._firsts = first.Firsts()
        self._bandwidth = 0.0
        self._cache = os.environ.get("WEFT_CACHE")

    @property
    def database(self) -> Any:
        """WeftDB's, once it is set up."""
        return self._weft.database

    @property
    def answers(self) -> dict[tuple[str, str], pa.Table]:
        """By question and system."""
        return self._answers

    def setup(self) -> None:
        """Load all systems, unless an earlier run has done so in this folder; without any kernel."""
        os.environ["WEFT_CACHE"] = str(fresh(self._folder / "cache"))
        folder = self._data
        loaded = folder / "loaded"
        load = not loaded.exists()
        if load:
            for name in ("weft", "duck", "clickhouse"):
                fresh(folder / name)
        self._open()
        self._open_peers(folder)
        if load:
            self._load(folder)
            loaded.touch()
        self._weft.settle()
        self._take_firsts()
        if self._polars is not None:
            self._polars.open(folder / "polars")
        self._subjects = [
            *(Subject(name=tier, ask=self._weft_by(tier)) for tier in ("auto", "relational")),
            Subject(name="DuckDB", ask=lambda question: timed(lambda: self._duck.execute(question.sql))),
        ]
        if self._polars is not None:
            self._subjects.append(Subject(name="Polars", ask=self._by_polars))
        if self._clickhouse is not None:
            self._subjects.append(Subject(name="ClickHouse", ask=self._by_clickhouse))

    def run(self) -> Report:
        self._bandwidth = measured_bandwidth(threads=THREADS)
        everything = (*self._twenty, *self._further)
        auto, *others = self._subjects
        for question in everything:
            for subject in self._asked(others, question):
                self._answers[question.name, subject.name] = subject.ask(question)[1]
        gc.collect()
        gc.freeze()  # as servers do: else the one question in which Python looks through all imports takes 0.1 s more
        for question in everything:
            self._answers[question.name, "first"] = auto.ask(question)[1]
        for question in everything:
            auto.ask(question)
        inside.await_kernels(self._weft.database)  # compiled when they are asked for again
        for question in everything:
            self._answers[question.name, auto.name] = auto.ask(question)[1]
        for question in everything:
            for _, subject in in_turn(self._asked(self._subjects, question), rounds=self._size.rounds):
                seconds = subject.ask(question)[0]
                self._samples.setdefault((question.name, subject.name), []).append(seconds * 1e3)
        return self._report()

    def check(self) -> None:
        """All systems gave the answers that DuckDB gave."""
        for (question, system), answer in self._answers.items():
            compare(f"{question}, {system}", answer, self._answers[question, "DuckDB"])

    def close(self) -> None:
        gc.unfreeze()
        for session in self._sessions:
            session.close()
        for system in (self._weft, self._duck, self._clickhouse, self._polars):
            if system is not None:
                system.close()
        if self._cache is None:
            os.environ.pop("WEFT_CACHE", None)
        else:
            os.environ["WEFT_CACHE"] = self._cache

    @property
    def _data(self) -> Path:
        return self._folder / f"clicks-{self._size.rows}"

    def _open(self) -> None:
        self._weft.open_database(self._data / "weft")
        self._duck.open_database(self._data / "duck", threads=THREADS, memory_limit=f"{MEMORY // 10**6}MB")

    def _take_firsts(self) -> None:
        """By other processes, to which the databases are left meanwhile."""
        self._weft.close()
        self._duck.close()
        self._firsts = first.samples(self._data, rows=self._size.rows, count=self._size.rounds)
        self._open()

    def _open_peers(self, folder: Path) -> None:
        try:
            self._clickhouse = ClickHouseTables(threads=THREADS, memory=MEMORY)
            self._clickhouse.open_database(folder / "clickhouse")
        except Missing as reason:
            self._clickhouse = None
            self._skipped["ClickHouse"] = str(reason)
        try:
            self._polars = PolarsFrame(self._bounds, rows=self._size.rows, threads=THREADS)
        except Missing as reason:
            self._skipped["Polars"] = str(reason)

    def _load(self, folder: Path) -> None:
        people = clicks.customers(self._size.rows)
        self._weft.load("customers", f"{clicks.CUSTOMER_COLUMNS}, PRIMARY KEY (customer))", people)
        self._duck.load("customers", f"{clicks.CUSTOMER_COLUMNS})", people)
        self._weft.execute(f"CREATE TABLE clicks ({DDL}")
        self._duck.execute(f"CREATE TABLE clicks ({clicks.COLUMNS})")
        if self._clickhouse is not None:
            self._clickhouse.create("customers", *_CLICKHOUSE_CUSTOMERS)
            self._clickhouse.append("customers", people)
            self._clickhouse.create("clicks", *_CLICKHOUSE)
        corrections: list[pa.Table] = []
        for number, chunk in enumerate(clicks.chunks(self._size.rows)):
            self._weft.append("clicks", chunk.first)
            self._duck.append("clicks", chunk.final)
            corrections.append(chunk.corrected)
            if self._clickhouse is not None:
                self._clickhouse.append("clicks", chunk.final)
            if self._polars is not None:
                frames.store(folder / "polars", number, chunk.final)
        for corrected in corrections:
            self._weft.append("clicks", corrected)
        if self._clickhouse is not None:
            self._clickhouse.merge("clicks")

    def _weft_by(self, tier: str) -> Ask:
        session = inside.session(self._weft.database, {"weft.tier": tier})
        self._sessions.append(session)
        return lambda question: timed(lambda: session.execute(question.sql).arrow())

    def _by_polars(self, question: Question) -> tuple[float, pa.Table]:
        assert self._polars is not None, "it is a subject"
        polars = self._polars
        return timed(lambda: polars.execute(question.name))

    def _by_clickhouse(self, question: Question) -> tuple[float, pa.Table]:
        assert self._clickhouse is not None, "it is a subject"
        answer = self._clickhouse.ask(question.sql)
        return self._clickhouse.seconds, answer

    def _asked(self, subjects: Sequence[Subject], question: Question) -> list[Subject]:
        """Who answers it: Polars only what is written for it."""
        polars = self._polars
        return [x for x in subjects if x.name != "Polars" or (polars is not None and polars.answers(question.name))]

    # The report.

    def _report(self) -> Report:
        report = Report(
            name=self.name,
            title="analytical questions, WeftDB embedded beside DuckDB on its own file, Polars and ClickHouse",
            rows=self._size.rows,
            rounds=self._size.rounds,
            reference="DuckDB",
            skipped=self._skipped,
        )
        peers = [subject.name for subject in self._subjects[1:]]
        report.table.append(("", "auto", "x DuckDB", "first", *peers, "touched", "of memory's speed"))
        sizes: dict[str, int] = {}
        for column, _, _, size in inside.columns_of(self._weft.database, "clicks"):
            sizes[column] = sizes.get(column, 0) + size
        for question in (*self._twenty, *self._further):
            touched = sum(sizes.get(column, 0) for column in question.columns) * question.share
            report.table.append(self._row(question, peers, touched))
            report.lines += self._lines(question, touched)
        self._summarize(report, peers)
        return report

    def _median(self, question: str, system: str) -> float | None:
        samples = self._samples.get((question, system))
        return Line(label="", unit="ms", samples=tuple(samples)).value if samples else None

    def _ratio(self, question: str, system: str, ours: float | None = None) -> float:
        """How many times as long as auto, or as ``ours``, a system takes."""
        other = self._median(question, system)
        mine = self._median(question, "auto") if ours is None else ours
        assert other is not None, "it was asked"
        assert mine is not None, "it was asked"
        return other / mine

    def _row(self, question: Question, peers: Sequence[str], touched: float) -> tuple[str, ...]:
        auto = self._median(question.name, "auto") or math.nan
        others = [self._median(question.name, peer) for peer in peers]
        share = touched / (auto / 1e3) / self._bandwidth
        return (
            question.name,
            f"{figure(auto)} ms",
            ratio_figure(self._ratio(question.name, "DuckDB")),
            f"{figure(self._firsts.time(question.name))} ms",
            *("" if other is None else f"{figure(other)} ms" for other in others),
            f"{figure(touched / 1e6)} MB" if touched else "",
            f"{100 * share:.1f} %" if touched else "",
        )

    def _lines(self, question: Question, touched: float) -> list[Line]:
        firsts = self._firsts
        lines = [
            Line(
                label=f"{question.name}: first",
                unit="ms",
                samples=tuple(firsts.weft[question.name]),
                ratio=1 / firsts.ratio(question.name),
                note=f"DuckDB's first ÷ its time: {firsts.duck_ratio(question.name):.2f}",
            )
        ]
        for subject in self._subjects:
            samples = self._samples.get((question.name, subject.name))
            if samples:
                value = Line(label="", unit="ms", samples=tuple(samples)).value
                lines.append(
                    Line(
                        label=f"{question.name}: {subject.name}",
                        unit="ms",
                        samples=tuple(samples),
                        ratio=self._ratio(question.name, "DuckDB", value),
                        note=f"touches {touched:.0f} bytes" if subject.name == "auto" and touched else "",
                    )
                )
        return lines

    def _summarize(self, report: Report, peers: Sequence[str]) -> None:
        names = [question.name for question in self._twenty]
        for peer in peers:
            ratios = [self._ratio(name, peer) for name in names]
            text = f"geometric mean of {peer}'s time ÷ that of auto"
            if peer == "relational":
                report.notes.append(f"{text}: {geometric_mean(ratios):.2f}")
            else:
                report.goals.append(
                    Goal(text=text, wanted=2.0 if peer == "DuckDB" else 1.0, value=geometric_mean(ratios))
                )
        slowest = min(names, key=lambda name: self._ratio(name, "DuckDB"))
        report.goals.append(
            Goal(text=f"the least favourable, {slowest}", wanted=0.8, value=self._ratio(slowest, "DuckDB"))
        )
        firsts = {name: self._firsts.ratio(name) for name in names}
        latest = max(names, key=lambda name: firsts[name])
        report.goals.append(
            Goal(text=f"first ÷ DuckDB's time at worst, {latest}", wanted=1.5, value=firsts[latest], at_most=True)
        )
        report.notes.append(f"first ÷ DuckDB's time, geometric mean: {geometric_mean(list(firsts.values())):.2f}")
        of_duck = geometric_mean([self._firsts.duck_ratio(name) for name in names])
        report.notes.append(f"DuckDB's own first time ÷ its time, geometric mean: {of_duck:.2f}")
        loading = Line(label="", unit="ms", samples=tuple(self._firsts.loading)).value
        report.notes.append(f"a process's first grouping, of few rows, which loads code: {figure(loading)} ms")
        faster = sum(self._ratio(name, "DuckDB") >= 1 for name in names)
        report.notes.append(f"at least as fast as DuckDB: {faster} of {len(names)}")
        report.notes.append(f"memory's speed, two threads reading: {self._bandwidth / 1e9:.1f} GB/s")
        kernels = "SELECT state, count(*), sum(compile_seconds) FROM weft_kernels GROUP BY state ORDER BY state"
        for state, count, seconds in self._weft.database.execute(kernels).rows():
            report.notes.append(f"kernels {state}: {count}, {float(seconds):.1f} s of compiling")
