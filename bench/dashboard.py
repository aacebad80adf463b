"""``bench dashboard``: a dashboard of thirty charts over 100,000,000 clicks, with view matching and without it.

The clicks of ``bench query``, but a million a day, and six materialized views (``charts``): by minute, by hour and by
day, action and channel; by hour and action; by hour and by day, country and action. Each chart asks the table, no view
by its name. Windows of time end at a moment that is no full hour, so their ends are read from smaller buckets, and from
rows.

    views       WeftDB, as it is: SET weft.match_views = on
    off         WeftDB with SET weft.match_views = off: pipelines' kernels, compiled before, over the table's rows
    DuckDB      on its own file, two threads, 2 GB

A *refresh* asks all charts one after another, as a dashboard does; the three refresh in alternating order. Every answer
is compared with that of ``off``, cell by cell (floats to 1e-9), and DuckDB's too. The goal of a refresh is at least 50
times the speed of ``off``.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from weftdb.bench import clicks, inside
from weftdb.bench.asked import HISTORY_SECONDS, MEMORY, THREADS, compare, geometric_mean, timed
from weftdb.bench.charts import VIEWS, Chart, charts
from weftdb.bench.duck import DuckStore
from weftdb.bench.query import DDL
from weftdb.bench.report import Goal, Line, Report, figure, ratio_figure
from weftdb.bench.weft import WeftStore
from weftdb.bench.workload import Size, fresh, seconds_of

VIEWED: Final = "views"
OFF: Final = "off"
DUCK: Final = "DuckDB"
DAYS: Final = 100
"""Over which all clicks are spread, so most of them are within the window of 90 days."""


class Dashboard:
    """All charts, by all three, ``rounds`` times in turn."""

    name = "dashboard"
    full = Size(rows=100_000_000, rounds=5)
    quick = Size(rows=1_000_000, rounds=3)

    def __init__(self, *, size: Size, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self._step = DAYS * 86_400_000_000 // size.rows
        self._charts = charts(clicks.bounds(size.rows, step=self._step))
        self._weft = WeftStore(write="put", memory_limit=MEMORY, threads=THREADS, history_seconds=HISTORY_SECONDS)
        self._duck = DuckStore(primary_key=False)
        self._sessions: dict[str, Any] = {}
        self._answers: dict[tuple[str, str], pa.Table] = {}
        self._samples: dict[tuple[str, str], list[float]] = {}
        self._made: dict[str, float] = {}
        self._cache = os.environ.get("WEFT_CACHE")

    @property
    def database(self) -> Any:
        """WeftDB's, once it is set up."""
        return self._weft.database

    @property
    def answers(self) -> dict[tuple[str, str], pa.Table]:
        """By chart and who answered."""
        return self._answers

    def setup(self) -> None:
        """Load both systems, unless an earlier run has done so in this folder, and make the views."""
        os.environ["WEFT_CACHE"] = str(fresh(self._folder / "cache"))
        folder = self._folder / f"dashboard-{self._size.rows}-{DAYS}"
        loaded = folder / "loaded"
        load = not loaded.exists()
        if load:
            for name in ("weft", "duck"):
                fresh(folder / name)
        self._weft.open_database(folder / "weft")
        self._duck.open_database(folder / "duck", threads=THREADS, memory_limit=f"{MEMORY // 10**6}MB")
        if load:
            self._load()
            loaded.touch()
        listed = "SELECT table_name FROM information_schema.tables"
        known = {name for (name,) in self._weft.database.execute(listed).rows()}
        for name, query in VIEWS.items():
            if name not in known:
                make = f"CREATE MATERIALIZED VIEW {name} AS {query}"
                self._made[name] = seconds_of(lambda make=make: self._weft.database.execute(make))
        self._weft.settle()
        for who, matched in ((VIEWED, "on"), (OFF, "off")):
            settings = {"weft.tier": "auto", "weft.match_views": matched}
            self._sessions[who] = inside.session(self._weft.database, settings)

    def run(self) -> Report:
        for _ in range(2):  # kernels are compiled when they are asked for
            for chart in self._charts:
                for who in (VIEWED, OFF, DUCK):
                    self._answers[chart.name, who] = self._ask(chart, who)[1]
            inside.await_kernels(self._weft.database)
        gc.collect()
        gc.freeze()  # as servers do
        for turn in range(self._size.rounds):
            for who in (VIEWED, OFF, DUCK) if turn % 2 else (DUCK, OFF, VIEWED):
                for chart in self._charts:
                    seconds, self._answers[chart.name, who] = self._ask(chart, who)
                    self._samples.setdefault((chart.name, who), []).append(seconds * 1e3)
        return self._report()

    def check(self) -> None:
        """Views and DuckDB gave the answers that rows gave."""
        for chart in self._charts:
            for who in (VIEWED, DUCK):
                compare(f"{chart.name}, {who}", self._answers[chart.name, who], self._answers[chart.name, OFF])

    def close(self) -> None:
        gc.unfreeze()
        for session in self._sessions.values():
            session.close()
        self._weft.close()
        self._duck.close()
        if self._cache is None:
            os.environ.pop("WEFT_CACHE", None)
        else:
            os.environ["WEFT_CACHE"] = self._cache

    def _load(self) -> None:
        self._weft.execute(f"CREATE TABLE clicks ({DDL}")
        self._duck.execute(f"CREATE TABLE clicks ({clicks.COLUMNS})")
        corrections: list[pa.Table] = []
        for chunk in clicks.chunks(self._size.rows, step=self._step):
            self._weft.append("clicks", chunk.first)
            self._duck.append("clicks", chunk.final)
            corrections.append(chunk.corrected)
        for corrected in corrections:
            self._weft.append("clicks", corrected)

    def _ask(self, chart: Chart, who: str) -> tuple[float, pa.Table]:
        if who == DUCK:
            return timed(lambda: self._duck.execute(chart.sql))
        return timed(lambda: self._sessions[who].execute(chart.sql).arrow())

    # The report.

    def _report(self) -> Report:
        report = Report(
            name=self.name,
            title="a dashboard of thirty charts, with view matching and without, WeftDB embedded beside DuckDB",
            rows=self._size.rows,
            rounds=self._size.rounds,
            reference=OFF,
        )
        report.table.append(("", VIEWED, OFF, f"x {OFF}", DUCK, f"x {DUCK}", "answered by"))
        for chart in self._charts:
            mine, off, duck = (self._median(chart.name, who) for who in (VIEWED, OFF, DUCK))
            report.table.append(
                (
                    chart.name,
                    f"{figure(mine)} ms",
                    f"{figure(off)} ms",
                    ratio_figure(off / mine),
                    f"{figure(duck)} ms",
                    ratio_figure(duck / mine),
                    self._answered_by(chart),
                )
            )
            for who in (VIEWED, OFF, DUCK):
                report.lines.append(
                    Line(
                        label=f"{chart.name}: {who}",
                        unit="ms",
                        samples=tuple(self._samples[chart.name, who]),
                        ratio=None if who == OFF else off / self._median(chart.name, who),
                    )
                )
        self._summarize(report)
        return report

    def _median(self, chart: str, who: str) -> float:
        return Line(label="", unit="ms", samples=tuple(self._samples[chart, who])).value

    def _answered_by(self, chart: Chart) -> str:
        """The views, as EXPLAIN says; nothing where it is answered by rows."""
        lines = [line for (line,) in self._sessions[VIEWED].execute(f"EXPLAIN {chart.sql}").rows()]
        words = [line.split() for line in lines if line.lstrip().startswith("View ") and " answers for " in line]
        return ", ".join(dict.fromkeys(found[1] for found in words))

    def _summarize(self, report: Report) -> None:
        sums = {who: sum(self._median(chart.name, who) for chart in self._charts) for who in (VIEWED, OFF, DUCK)}
        ratios = [self._median(chart.name, OFF) / self._median(chart.name, VIEWED) for chart in self._charts]
        report.table.append(
            (
                "all thirty",
                f"{figure(sums[VIEWED])} ms",
                f"{figure(sums[OFF])} ms",
                ratio_figure(sums[OFF] / sums[VIEWED]),
                f"{figure(sums[DUCK])} ms",
                ratio_figure(sums[DUCK] / sums[VIEWED]),
                "",
            )
        )
        report.goals.append(Goal(text="a refresh, x off", wanted=50.0, value=sums[OFF] / sums[VIEWED]))
        report.notes.append(f"times off, geometric mean of the charts: {figure(geometric_mean(ratios))}")
        for name, seconds in self._made.items():
            report.notes.append(f"{name} was made of the rows that there are in {figure(seconds)} s")
        for name in VIEWS:
            groups = self._weft.database.execute(f"SELECT count(*) FROM {name}").scalar()
            report.notes.append(f"{name}: {groups:,} groups")
