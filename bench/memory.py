"""``bench memory``: what a server needs when idle, and what 10,000,000 rows of the ingest table add.

Both are read from the server's own process (``weft serve``, nothing else in it): idle is after a first connection and
one query, so that nothing is still to be imported; loaded is after all rows came over gRPC in commits, were counted by
SQL, and the process had a moment to give back what it could. ``VmRSS`` counts pages of the mapped commit log too,
which the kernel may drop at any time; the parts are stated beside the sum.

Goals: idle at most 350 MB, and 10,000,000 rows in at most 1 GB (1,000,000,000 bytes). Raw, a row is 26 bytes.
"""

from __future__ import annotations

import time
from pathlib import Path

from weftdb.bench.data import Totals, commits, events, totals_of
from weftdb.bench.process import Memory
from weftdb.bench.report import Goal, Line, Report
from weftdb.bench.systems import WrongAnswer
from weftdb.bench.weft import WeftServer
from weftdb.bench.workload import Size, fresh

_MB = 2**20 / 1e6
_SECONDS_TO_SETTLE = 2.0


class MemoryUse:
    """One server, measured empty and full."""

    name = "memory"
    full = Size(rows=10_000_000, rounds=1)
    quick = Size(rows=1_000_000, rounds=1)

    def __init__(self, *, size: Size, folder: Path, seconds_to_settle: float = _SECONDS_TO_SETTLE) -> None:
        self._size = size
        self._folder = folder
        self._seconds_to_settle = seconds_to_settle
        self.store = WeftServer()
        self._expected: Totals | None = None

    def setup(self) -> None:
        self.store.open(fresh(self._folder / "memory"))
        self.store.totals()

    def run(self) -> Report:
        time.sleep(self._seconds_to_settle)
        idle = self.store.server.memory
        table = events(self._size.rows)
        for batch in commits(table):
            self.store.write(batch)
        self.store.finish()
        self.store.totals()
        time.sleep(self._seconds_to_settle)
        self._expected = totals_of(table)
        return self._report(idle, self.store.server.memory)

    def check(self) -> None:
        """All rows are there."""
        assert self._expected is not None, "run() comes first"
        found = self.store.totals()
        if found.differs_from(self._expected):
            raise WrongAnswer(f"memory: totals are {found}, written were {self._expected}")

    def close(self) -> None:
        self.store.close()

    def _report(self, idle: Memory, loaded: Memory) -> Report:
        report = Report(
            name=self.name,
            title="memory of a server process",
            rows=self._size.rows,
            rounds=1,
            reference="",
        )
        grown = Memory(
            total=loaded.total - idle.total,
            anonymous=loaded.anonymous - idle.anonymous,
            file=loaded.file - idle.file,
        )
        for label, memory in (("idle", idle), ("loaded", loaded), ("grown by", grown)):
            note = f"allocated {memory.anonymous * _MB:,.0f} MB, mapped files {memory.file * _MB:,.0f} MB"
            report.lines.append(Line(label=label, unit="MB", samples=(memory.total * _MB,), note=note))
        per_row = grown.total * 2**20 / self._size.rows
        report.lines.append(Line(label="per row", unit="bytes", samples=(per_row,), note="raw: 26 bytes"))
        report.goals = [
            Goal(text="idle server, MB", wanted=350, value=idle.total * _MB, at_most=True),
            Goal(text="10,000,000 rows, MB (scaled from this run)", wanted=1000, value=per_row * 10, at_most=True),
        ]
        return report
