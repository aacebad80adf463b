"""Public sqllogictest scripts against WeftDB: ``python -m weftdb.bench.sqllogic PATH...``.

    PATH           scripts, or folders whose ``*.test`` files are run, each in an empty database
    --system S     what runs them: weft (as engine ``postgresql``), postgresql, or sqlite
    --judge S      postgresql: it runs every record first. What it refuses is no PostgreSQL, and is left out and counted
                   by its error; where it answers otherwise than the script, its answer is the right one
    --jobs N       processes, one file each at a time; as many as there are processors unless told
    --failures N   how many failures to print of each file (3)
    --records N    only the first N records of each file
    --json F       the same figures as JSON

Prints a line for each file, its first failures, and what was left out; the exit code is 1 if anything failed. Formats
and comparison: bench/sqllogic_script.py. The systems: bench/sqllogic_systems.py.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from weftdb.bench.postgres import PostgresStore
from weftdb.bench.report import aligned
from weftdb.bench.sqllogic_script import Answer, Malformed, Record, answer, read
from weftdb.bench.sqllogic_systems import Postgres, Refused, Sqlite, System, Weft
from weftdb.bench.systems import Missing

SYSTEMS: Final = ("weft", "postgresql", "sqlite")
_SQLSTATE: Final = re.compile(r"[0-9A-Z]{5} ")
_QUOTED: Final = re.compile(r'"[^"]*"')
_VALUES: Final = re.compile(r".*, not ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One record that did not pass: ``why`` in one line."""

    line: int
    sql: str
    why: str


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of one file's records. ``skipped``: not for this system. ``left_out``: by the judge's reasons.

    ``corrected`` of those that ran had the judge's answer in place of the script's.
    """

    path: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    corrected: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def records(self) -> int:
        return self.passed + self.failed + self.skipped + self.left_out.total()


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit code."""
    arguments = _parser().parse_args(argv)
    paths = [path for path in scripts(arguments.paths) if path.exists()]
    if not paths:
        print(f"no scripts at {', '.join(map(str, arguments.paths))}", file=sys.stderr)
        return 2
    begin = time.perf_counter()
    try:
        with _server(needed="postgresql" in (arguments.system, arguments.judge)) as address:
            outcomes = list(_outcomes(paths, arguments, address))
    except (Malformed, Missing) as error:
        print(error, file=sys.stderr)
        return 2
    print(summary(outcomes, seconds=time.perf_counter() - begin))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2) + "\n")
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def scripts(paths: Sequence[Path]) -> Iterator[Path]:
    """The files themselves, and the ``*.test`` files below the folders, in order of their names."""
    for path in paths:
        yield from sorted(path.rglob("*.test")) if path.is_dir() else [path]


def run_script(
    path: Path,
    system: System,
    *,
    judge: System | None = None,
    failures_max: int = 3,
    records_max: int | None = None,
) -> Outcome:
    """Run one script in an empty database. Raises Malformed."""
    outcome = Outcome(path=str(path))
    begin = time.perf_counter()
    system.reset()
    if judge is not None:
        judge.reset()
    labels: dict[str, Answer] = {}
    for record in itertools.islice(read(path), records_max):
        if record.halt:
            if record.is_for(system.name):
                break
        elif not record.is_for(system.name):
            outcome.skipped += 1
        else:
            why = _run(record, system, judge, labels, outcome)
            if why is None:
                continue
            outcome.failed += 1
            outcome.kinds[_kind(why)] += 1
            if len(outcome.failures) < failures_max:
                outcome.failures.append(Failure(line=record.line, sql=record.sql, why=why))
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _run(
    record: Record, system: System, judge: System | None, labels: dict[str, Answer], outcome: Outcome
) -> str | None:
    """Why the record failed, or None; whatever did not is counted in ``outcome``."""
    expected = record.expected
    fails = record.fails
    if judge is not None:
        judged = _outcome_of(record, judge)
        if isinstance(judged, Refused) and not fails:
            outcome.left_out[_kind(str(judged))] += 1
            return None
        if (judged != expected and expected is not None) or isinstance(judged, Refused) != fails:
            outcome.corrected += 1
        if not isinstance(judged, Refused):
            expected, fails = judged, False
    found = _outcome_of(record, system)
    why = _difference(found, expected, fails=fails)
    if why is None and record.label is not None and not isinstance(found, Refused):
        same = labels.setdefault(record.label, found)
        if judge is None and same != found:
            why = f"another answer than that of label {record.label} above: {found}, not {same}"
    if why is None:
        outcome.passed += 1
    return why


def _outcome_of(record: Record, system: System) -> Answer | Refused:
    """A system's answer to a record; a statement's is empty."""
    try:
        rows = system.execute(record.sql)
        return (
            answer((), types="", sort="")
            if record.types is None
            else answer(rows, types=record.types, sort=record.sort)
        )
    except Refused as error:
        return error
    except Malformed as error:
        return Refused("", str(error))


def _difference(found: Answer | Refused, expected: Answer | None, *, fails: bool) -> str | None:
    if isinstance(found, Refused):
        return None if fails and found.sqlstate != "XX000" else str(found)
    if fails:
        return "it must be refused, and was not"
    if expected is not None and found != expected:
        return f"{found}, not {expected}"
    return None


def _kind(why: str) -> str:
    """The reason without names and numbers, to count by."""
    if " values hashing to " in why or _VALUES.match(why):
        return "another answer"
    sqlstate, _, message = why.partition(" ") if _SQLSTATE.match(why) else ("", "", why)
    plain = re.sub(r"[0-9]+", "N", _QUOTED.sub('"…"', message[:160]))
    return f"{sqlstate} {plain}".strip()


# Processes

_worker: dict[str, System] = {}


def _outcomes(paths: list[Path], arguments: argparse.Namespace, address: str) -> Iterator[Outcome]:
    """Each file's outcome, printed as it comes."""
    tasks = [
        (path, arguments.system, arguments.judge, address, arguments.failures, arguments.records) for path in paths
    ]
    jobs = min(arguments.jobs, len(tasks))
    if jobs == 1:
        finished: Iterator[Outcome] = map(_task, tasks)
        yield from map(_printed, finished)
        return
    context = multiprocessing.get_context("spawn")  # threads and a database's state do not survive a fork
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield from map(_printed, pool.map(_task, tasks))


def _task(task: tuple[Path, str, str | None, str, int, int | None]) -> Outcome:
    path, system, judge, address, failures_max, records_max = task
    return run_script(
        path,
        _system(system, address),
        judge=None if judge is None else _system(judge, address),
        failures_max=failures_max,
        records_max=records_max,
    )


def _system(name: str, address: str) -> System:
    """This process's own, made once."""
    if name not in _worker:
        match name:
            case "weft":
                _worker[name] = Weft()
            case "postgresql":
                _worker[name] = Postgres(address)
            case _:
                _worker[name] = Sqlite()
    return _worker[name]


@contextmanager
def _server(*, needed: bool) -> Iterator[str]:
    """A PostgreSQL server of our own, and how to reach it. Raises Missing."""
    if not needed:
        yield ""
        return
    folder = Path(tempfile.mkdtemp(prefix="weft-sqllogic-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user where we are root
    try:
        store = PostgresStore()
        try:
            store.open_database(folder)
            yield f"host=127.0.0.1 port={store.port} user=bench dbname=postgres"
        finally:
            store.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# What is printed


def _printed(outcome: Outcome) -> Outcome:
    state = "FAILED" if outcome.failed else "ok"
    left_out = f", {outcome.left_out.total():,} left out" if outcome.left_out else ""
    skipped = f", {outcome.skipped:,} not for it" if outcome.skipped else ""
    print(
        f"{outcome.path}: {state}, {outcome.passed:,} passed, {outcome.failed:,} failed{left_out}{skipped}, "
        f"{outcome.seconds:.1f} s"
    )
    for failure in outcome.failures:
        print(f"  line {failure.line}: {' '.join(failure.sql.split())[:300]}\n    {failure.why[:300]}")
    sys.stdout.flush()
    return outcome


def summary(outcomes: Sequence[Outcome], *, seconds: float) -> str:
    """The totals, and the classes of what failed and of what was left out."""
    passed, failed = sum(x.passed for x in outcomes), sum(x.failed for x in outcomes)
    skipped, corrected = sum(x.skipped for x in outcomes), sum(x.corrected for x in outcomes)
    left_out = sum((x.left_out for x in outcomes), Counter[str]())
    kinds = sum((x.kinds for x in outcomes), Counter[str]())
    rows = [
        ("passed", f"{passed:,}", f"{100 * passed / max(passed + failed, 1):.3f} % of those that ran"),
        ("failed", f"{failed:,}", ""),
        ("not for this system", f"{skipped:,}", "skipif, onlyif"),
        ("left out", f"{left_out.total():,}", "refused by the judge"),
        ("corrected", f"{corrected:,}", "had the judge's answer, not the script's"),
    ]
    lines = ["", f"{len(outcomes):,} files, {sum(x.records for x in outcomes):,} records, {seconds:.0f} s"]
    lines.append(aligned(("", "records", ""), rows))
    for title, classes in (("failures", kinds), ("left out", left_out)):
        if classes:
            lines.append(f"\n{title} by reason")
            lines.extend(f"{count:9,}  {kind}" for kind, count in classes.most_common(40))
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m weftdb.bench.sqllogic", description="sqllogictest scripts against WeftDB."
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="scripts, or folders of *.test files")
    parser.add_argument("--system", choices=SYSTEMS, default="weft", help="what runs them (weft)")
    parser.add_argument("--judge", choices=("postgresql",), help="who says what is valid and what is right")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")
    parser.add_argument("--failures", type=int, default=3, metavar="N", help="failures to print of each file")
    parser.add_argument("--records", type=int, metavar="N", help="only the first N records of each file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go, besides the screen")
    return parser


if __name__ == "__main__":
    sys.exit(main())
