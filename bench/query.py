"""``bench query``: analytical SQL on 10,000,000 events, beside DuckDB on its own file.

The table of ``bench ingest`` with a text column more (six different values), and a dimension table of devices. WeftDB
is embedded and reads the newest committed snapshot; DuckDB has the same rows in its own file, bulk loaded, without a
primary key and checkpointed, which is its best case. Both use all cores and return Arrow tables.

DuckDB is also WeftDB's relational executor, so this measures what transactions, versions and row-by-row freshness
cost on top of it, and where pruning by key and event time wins it back. Answers are compared cell by cell: floats to
1e-9, all else exactly. The questions are in ``questions``.
"""

from __future__ import annotations

import decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from weftdb.bench.data import close, devices, events
from weftdb.bench.duck import DuckStore
from weftdb.bench.questions import Question, questions
from weftdb.bench.report import Line, Report
from weftdb.bench.systems import WrongAnswer
from weftdb.bench.weft import WeftStore
from weftdb.bench.workload import Size, fresh, in_turn, seconds_of

_EVENTS = "device BIGINT, event_time TIMESTAMP, kind SMALLINT, amount DOUBLE PRECISION, channel TEXT"
_DEVICES = "device BIGINT, region TEXT, birth_year INTEGER"
# What follows the columns of each table: WeftDB's tables have primary keys, DuckDB's are best off without.
_WEFT_ENDINGS = (
    ", PRIMARY KEY (device, event_time)) WITH (key = 'device', time = 'event_time', every = '7 days')",
    ", PRIMARY KEY (device))",
)
_DUCK_ENDINGS = (")", ")")


class Query:
    """Both systems answer each question in turn, ``rounds`` times; the first, cold answers are the ones compared."""

    name = "query"
    full = Size(rows=10_000_000, rounds=5)
    quick = Size(rows=1_000_000, rounds=3)

    def __init__(self, *, size: Size, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self._weft = WeftStore(write="put")
        self._duck = DuckStore(primary_key=False)
        self._answers: dict[str, tuple[pa.Table, pa.Table]] = {}
        self._questions: tuple[Question, ...] = questions(size.rows)
        self._samples: dict[tuple[str, str], list[float]] = {}

    def setup(self) -> None:
        """Load both systems."""
        facts, dimension = events(self._size.rows, channel=True), devices(self._size.rows)
        self._weft.open_database(fresh(self._folder / "weft"))
        self._duck.open_database(fresh(self._folder / "duck"))
        for store, endings in ((self._weft, _WEFT_ENDINGS), (self._duck, _DUCK_ENDINGS)):
            store.load("events", _EVENTS + endings[0], facts)
            store.load("devices", _DEVICES + endings[1], dimension)

    def run(self) -> Report:
        systems = (self._weft, self._duck)
        for question in self._questions:
            weft, duck = (system.execute(question.sql) for system in systems)
            self._answers[question.name] = (weft, duck)
            for _, system in in_turn(systems, rounds=self._size.rounds):
                seconds = seconds_of(lambda system=system, sql=question.sql: system.execute(sql))
                self._samples.setdefault((question.name, system.name), []).append(seconds * 1e3)
        return self._report()

    def check(self) -> None:
        """Both systems gave the same answers."""
        for name, (weft, duck) in self._answers.items():
            compare(name, weft, duck)

    @property
    def answers(self) -> dict[str, tuple[pa.Table, pa.Table]]:
        """Per question WeftDB's answer and DuckDB's."""
        return self._answers

    def close(self) -> None:
        self._weft.close()
        self._duck.close()

    def _report(self) -> Report:
        report = Report(
            name=self.name,
            title="analytical queries, WeftDB embedded beside DuckDB on its own file",
            rows=self._size.rows,
            rounds=self._size.rounds,
            reference="DuckDB",
        )
        for question in self._questions:
            weft = tuple(self._samples[question.name, self._weft.name])
            duck = Line(label="", unit="ms", samples=tuple(self._samples[question.name, self._duck.name])).value
            line = Line(label=question.name, unit="ms", samples=weft)
            ratio = duck / line.value
            report.lines.append(
                Line(label=question.name, unit="ms", samples=weft, ratio=ratio, note=f"DuckDB {duck:.3g} ms")
            )
        faster = sum(1 for line in report.lines if line.ratio is not None and line.ratio >= 1)
        report.notes.append(f"WeftDB is at least as fast as DuckDB in {faster} of {len(report.lines)} questions")
        return report


def compare(question: str, weft: pa.Table, duck: pa.Table) -> None:
    """Raise WrongAnswer at the first cell that differs; columns are compared by place, their names too."""
    if weft.column_names != duck.column_names:
        raise WrongAnswer(f"{question}: columns {weft.column_names} and {duck.column_names}")
    if weft.num_rows != duck.num_rows:
        raise WrongAnswer(f"{question}: WeftDB returned {weft.num_rows} rows, DuckDB {duck.num_rows}")
    for name in weft.column_names:
        pairs = zip(weft[name].to_pylist(), duck[name].to_pylist(), strict=True)
        for row, (left, right) in enumerate(pairs, start=1):
            if not _equal(left, right):
                raise WrongAnswer(f"{question}: row {row}, column {name}: WeftDB {left!r}, DuckDB {right!r}")


def _equal(left: Any, right: Any) -> bool:
    numbers = (int, float, decimal.Decimal)
    if isinstance(left, numbers) and isinstance(right, numbers) and float in (type(left), type(right)):
        return close(float(left), float(right))
    return left == right
