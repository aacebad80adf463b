"""``bench tpch``: the 22 queries of TPC-H, beside DuckDB on its own file.

The data are made here by ``tpchgen-cli`` (a program from PyPI, in the extra ``bench``): nothing is downloaded. WeftDB
has the tables with their primary keys, embedded, in segments; DuckDB has the same rows in its own file, bulk loaded,
without keys and checkpointed. Both use all cores and return Arrow tables. Answers are compared cell by cell: numbers to
1e-9 where one of the two is a float (DuckDB's averages and quotients are), all else exactly.

The goal is stated for the geometric mean of the ratios, so that no query counts more than another. WeftDB keeps the
plan of a text that it has answered, and has compiled kernels by the time that the rounds begin; DuckDB plans each text
anew: a note has the mean of the first times, too. Both answers of WeftDB, the first and one with kernels, are compared.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from weftdb.bench import inside
from weftdb.bench.asked import compare
from weftdb.bench.duck import DuckStore
from weftdb.bench.report import Goal, Line, Report
from weftdb.bench.systems import Missing
from weftdb.bench.tpch_queries import QUERIES, TABLES
from weftdb.bench.weft import WeftStore
from weftdb.bench.workload import Size, fresh, in_turn, seconds_of

SPEED_WANTED: Final = 0.9
_PROGRAM: Final = "tpchgen-cli"


class Tpch:
    """Both systems answer all queries once, then, when the kernels are there, each in turn ``rounds`` times."""

    name = "tpch"
    full = Size(rows=0, rounds=3, scale=1.0)
    quick = Size(rows=0, rounds=2, scale=0.1)

    def __init__(self, *, size: Size, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self._rows = 0
        self._weft = WeftStore(write="put")
        self._duck = DuckStore(primary_key=False)
        self._answers: dict[int, tuple[pa.Table, pa.Table]] = {}
        self._first_answers: dict[int, pa.Table] = {}
        self._samples: dict[tuple[int, str], list[float]] = {}
        self._first_ratios: list[float] = []

    def setup(self) -> None:
        """Make the data and load both systems, unless an earlier run has done so in this folder; without any kernel."""
        os.environ["WEFT_CACHE"] = str(fresh(self._folder / "cache"))
        folder = self._folder / f"scale-{self._size.scale:g}"
        loaded = folder / "loaded"
        if not loaded.exists():
            data = generate(fresh(folder) / "data", scale=self._size.scale)
            self._load(data, folder)
            shutil.rmtree(data)
            loaded.touch()
        else:
            self._weft.open_database(folder / "weft")
            self._duck.open_database(folder / "duck")
        self._weft.settle()
        counts = [self._weft.execute(f"SELECT count(*) AS n FROM {name}") for name in TABLES]
        self._rows = sum(count["n"][0].as_py() for count in counts)

    def run(self) -> Report:
        systems = (self._weft, self._duck)
        for number, sql in enumerate(QUERIES, start=1):
            (weft, one), (duck, other) = (_timed(system, sql) for system in systems)
            self._first_ratios.append(duck / weft)
            self._first_answers[number] = one
            self._answers[number] = (one, other)
        for sql in QUERIES:
            self._weft.execute(sql)
        inside.await_kernels(self._weft.database)  # compiled when they are asked for again
        for number, sql in enumerate(QUERIES, start=1):
            self._answers[number] = (self._weft.execute(sql), self._answers[number][1])
            for _, system in in_turn(systems, rounds=self._size.rounds):
                seconds = seconds_of(lambda system=system, sql=sql: system.execute(sql))
                self._samples.setdefault((number, system.name), []).append(seconds * 1e3)
        return self._report()

    def check(self) -> None:
        """Both systems gave the same answers."""
        for number, (weft, duck) in self._answers.items():
            compare(f"Q{number}", weft, duck)
            compare(f"Q{number}, for the first time", self._first_answers[number], duck)

    def ask(self, sql: str) -> pa.Table:
        """WeftDB's answer."""
        return self._weft.execute(sql)

    @property
    def answers(self) -> dict[int, tuple[pa.Table, pa.Table]]:
        """Per query, from 1, WeftDB's answer and DuckDB's."""
        return self._answers

    def close(self) -> None:
        self._weft.close()
        self._duck.close()

    def _load(self, data: Path, folder: Path) -> None:
        self._weft.open_database(fresh(folder / "weft"))
        self._duck.open_database(fresh(folder / "duck"))
        for name, (columns, key) in TABLES.items():
            rows = read(data, name)
            self._weft.load(name, f"{columns}, PRIMARY KEY ({key}))", rows)
            self._duck.load(name, f"{columns})", rows)

    def _report(self) -> Report:
        report = Report(
            name=self.name,
            title=f"TPC-H at scale {self._size.scale:g}, WeftDB embedded beside DuckDB on its own file",
            rows=self._rows,
            rounds=self._size.rounds,
            reference="DuckDB",
        )
        for number in range(1, len(QUERIES) + 1):
            weft, duck = (
                Line(label=f"Q{number}", unit="ms", samples=tuple(self._samples[number, system.name]))
                for system in (self._weft, self._duck)
            )
            ratio = duck.value / weft.value
            note = f"DuckDB {duck.value:.3g} ms"
            report.lines.append(Line(label=weft.label, unit="ms", samples=weft.samples, ratio=ratio, note=note))
        text = "geometric mean of DuckDB's time ÷ WeftDB's"
        mean = _geometric_mean([line.ratio or 0 for line in report.lines])
        report.goals.append(Goal(text=text, wanted=SPEED_WANTED, value=mean))
        report.notes.append(f"{text}, each query for the first time: {_geometric_mean(self._first_ratios):.2f}")
        return report


def _timed(system: WeftStore | DuckStore, sql: str) -> tuple[float, pa.Table]:
    began = time.perf_counter()
    answer = system.execute(sql)
    return time.perf_counter() - began, answer


def _geometric_mean(ratios: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def generate(folder: Path, *, scale: float) -> Path:
    """A Parquet file per table in ``folder``. Raises Missing where ``tpchgen-cli`` is not installed."""
    program = shutil.which(_PROGRAM, path=sysconfig.get_path("scripts")) or shutil.which(_PROGRAM)
    if program is None:
        raise Missing(f"{_PROGRAM}, which makes the data, is not installed: pip install 'weftdb[bench]'")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([program, "parquet", "-s", f"{scale:g}", "--output-dir", str(folder), "-q"], check=True)
    return folder


def read(folder: Path, table: str) -> pa.Table:
    """A table of ``generate``, text as plain strings."""
    rows = pq.read_table(folder / f"{table}.parquet")
    fields = [field.with_type(pa.string()) if pa.types.is_string_view(field.type) else field for field in rows.schema]
    return rows.cast(pa.schema(fields))
