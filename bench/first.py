"""First times: what ``bench query`` asks, asked once of a process, by several processes one after another.

    python -m weftdb.bench.first FOLDER ROWS        one sample, as JSON, for whoever calls ``samples``

A first time can be had once: afterwards there are plans, numbers of texts, statistics, kernels. So each sample is a new
process over databases that are newly opened, with an empty folder for kernels. It reads each column once, since no
question shall pay for what all of them read and verify; it groups a few rows, which loads code; then it asks the
questions, each of DuckDB and of WeftDB, and after all of them once more of DuckDB alone, with the small grouping by
WeftDB before each. DuckDB's second time is what WeftDB's first is measured by: it has read its blocks, the other system
had the processor the moment before, as everywhere in ``bench query``, and both were taken within the same seconds of a
machine whose speed changes by the minute.

The databases must not be open elsewhere meanwhile.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow as pa
from weftdb.bench import clicks, inside
from weftdb.bench.asked import HISTORY_SECONDS, MEMORY, THREADS, compare, timed
from weftdb.bench.duck import DuckStore
from weftdb.bench.questions import Question, further_questions, questions
from weftdb.bench.report import Line
from weftdb.bench.systems import WrongAnswer
from weftdb.bench.weft import WeftStore

_GROUPS: Final = "SELECT quantity, sum(session) AS total FROM clicks WHERE customer < 1000 GROUP BY quantity"
_WRONG: Final = 3
"""Exit code of a process that was answered something else than DuckDB says."""


@dataclass(slots=True)
class Firsts:
    """Milliseconds by question, one of each process: WeftDB's first time, DuckDB's first and its second."""

    weft: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    duck: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    warm: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    loading: list[float] = field(default_factory=list[float])
    """The grouping of few rows that loads code."""

    def time(self, question: str) -> float:
        """WeftDB's, the median."""
        return _median(self.weft[question])

    def ratio(self, question: str) -> float:
        """WeftDB's first time ÷ DuckDB's time."""
        return self.time(question) / _median(self.warm[question])

    def duck_ratio(self, question: str) -> float:
        """DuckDB's first time ÷ DuckDB's time."""
        return _median(self.duck[question]) / _median(self.warm[question])


def samples(folder: Path, *, rows: int, count: int) -> Firsts:
    """So many first times of the databases in ``folder``. Raises WrongAnswer, RuntimeError where a process fails."""
    found = Firsts()
    for _ in range(count):
        command = [sys.executable, "-m", "weftdb.bench.first", str(folder), str(rows)]
        with TemporaryDirectory(prefix="weft-first-") as cache:
            environment = {**os.environ, "WEFT_CACHE": cache}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            kind = WrongAnswer if done.returncode == _WRONG else RuntimeError
            raise kind(f"a process that asks for the first time ended: {done.stderr[-2000:]}")
        times = json.loads(done.stdout)
        found.loading.append(times["loading"])
        for name, (weft, duck, warm) in times["questions"].items():
            found.weft.setdefault(name, []).append(weft)
            found.duck.setdefault(name, []).append(duck)
            found.warm.setdefault(name, []).append(warm)
    return found


def main(folder: Path, rows: int) -> dict[str, Any]:
    """One sample. Raises WrongAnswer."""
    weft = WeftStore(write="put", memory_limit=MEMORY, threads=THREADS, history_seconds=HISTORY_SECONDS)
    duck = DuckStore(primary_key=False)
    weft.open_database(folder / "weft")
    duck.open_database(folder / "duck", threads=THREADS, memory_limit=f"{MEMORY // 10**6}MB")
    weft.settle()
    relational, auto = (inside.session(weft.database, {"weft.tier": tier}) for tier in ("relational", "auto"))
    try:
        for table, columns in (("clicks", clicks.COLUMNS), ("customers", clicks.CUSTOMER_COLUMNS)):
            relational.execute(_all_of(table, columns)).arrow()
        loading, _ = timed(lambda: auto.execute(_GROUPS).arrow())
        gc.collect()
        gc.freeze()  # as in ``bench query``
        bounds = clicks.bounds(rows)
        asked = (*questions(bounds), *further_questions(bounds))
        times = _times(asked, lambda sql: auto.execute(sql).arrow(), duck.execute)
    finally:
        gc.unfreeze()
        for each in (relational, auto, weft, duck):
            each.close()
    return {"loading": loading * 1e3, "questions": times}


def _times(
    asked: Sequence[Question], weft: Callable[[str], pa.Table], duck: Callable[[str], pa.Table]
) -> dict[str, tuple[float, float, float]]:
    """Of each question WeftDB's first time, DuckDB's, and DuckDB's second, in milliseconds."""
    firsts: dict[str, tuple[float, float]] = {}
    for question in asked:
        its_first, expected = timed(lambda sql=question.sql: duck(sql))
        first, answer = timed(lambda sql=question.sql: weft(sql))
        compare(f"{question.name}, the first time", answer, expected)
        firsts[question.name] = first * 1e3, its_first * 1e3
    found: dict[str, tuple[float, float, float]] = {}
    for question in asked:
        weft(_GROUPS)  # nothing that would be compiled meanwhile
        second, _ = timed(lambda sql=question.sql: duck(sql))
        found[question.name] = *firsts[question.name], second * 1e3
    return found


def _all_of(table: str, columns: str) -> str:
    """A query that reads each column."""
    names = [column.split()[0] for column in columns.replace("12,2", "12").split(",")]
    return f"SELECT {', '.join(f'max({name})' for name in names)} FROM {table}"


def _median(samples: Sequence[float]) -> float:
    return Line(label="", unit="ms", samples=tuple(samples)).value


if __name__ == "__main__":
    try:
        print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
    except WrongAnswer as error:
        print(error, file=sys.stderr)
        sys.exit(_WRONG)
