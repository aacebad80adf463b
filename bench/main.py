"""The door: ``python -m weftdb.bench NAME`` (and ``weft bench NAME``).

    NAME       growth, ingest, aggregate, group, large, series, get, point, oltp, hot, minute, query, dashboard, mixed,
               tpch, export, memory, restart, or all
    --rows N   another size than the one that the goals are stated for; --rounds N, likewise
    --scale F  the same for tpch, whose goal is stated for 1
    --json F   where the figures go, besides the screen; else bench-results/NAME.json under the current folder
    --folder D where the databases are made, for a disk of your choice; else a temporary folder, removed at the end
    --resume D the databases are made in D itself and stay there: growth, series and restart go on where an earlier run
               with the same --rows was interrupted, and share the table of 100,000,000 rows; group goes on with its own

``all`` runs every workload at its quick size, in about five minutes on two cores. A wrong answer ends the run with
exit code 1 and without figures; a missed goal does not, for no machine is the same. What a workload needs and is not
installed is named; alone it ends with exit code 1, too.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from weftdb.bench.aggregate import Aggregate
from weftdb.bench.dashboard import Dashboard
from weftdb.bench.export import Export
from weftdb.bench.get import Get
from weftdb.bench.group import Group
from weftdb.bench.growth import Growth
from weftdb.bench.hot_row import HotRow
from weftdb.bench.ingest import Ingest
from weftdb.bench.large import Large
from weftdb.bench.memory import MemoryUse
from weftdb.bench.minute import Minute
from weftdb.bench.mixed import Mixed
from weftdb.bench.oltp import Oltp
from weftdb.bench.point import Point
from weftdb.bench.query import Query
from weftdb.bench.report import Report, machine, versions
from weftdb.bench.restart import Restart
from weftdb.bench.series import Series
from weftdb.bench.systems import Missing, WrongAnswer
from weftdb.bench.tpch import Tpch
from weftdb.bench.workload import Size, Workload

WORKLOADS: Final = (
    Growth, Ingest, Aggregate, Group, Large, Series, Get, Point, Oltp, HotRow, Minute, Query, Dashboard, Mixed, Tpch,
    Export, MemoryUse, Restart,
)  # fmt: skip
RESULTS: Final = Path("bench-results")


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit code."""
    arguments = _parser().parse_args(argv)
    chosen = [kind for kind in WORKLOADS if arguments.name in (kind.name, "all")]
    print(_about(), flush=True)
    for kind in chosen:
        size = kind.quick if arguments.name == "all" else kind.full
        size = Size(
            rows=arguments.rows or size.rows,
            rounds=arguments.rounds or size.rounds,
            scale=arguments.scale or size.scale,
        )
        try:
            report = run(kind, size=size, folder=arguments.folder, resume=arguments.resume)
        except WrongAnswer as error:
            print(f"bench {kind.name}: WRONG ANSWER, no figures: {error}", file=sys.stderr)
            return 1
        except Missing as reason:
            print(f"bench {kind.name}: skipped: {reason}", file=sys.stderr)
            if len(chosen) == 1:
                return 1
            continue
        print(f"\n{report.text()}\n({report.seconds:.0f} s in all)", flush=True)
        write_json(report, arguments.json if len(chosen) == 1 else None)
    return 0


def run(kind: type[Workload], *, size: Size, folder: Path | None = None, resume: Path | None = None) -> Report:
    """Set one workload up, run it, check it. Raises WrongAnswer if a system answered something else than the data.

    ``folder`` is where a temporary folder is made, ``resume`` one that stays.
    """
    for parent in (folder, resume):
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
    scratch = resume.resolve() if resume else Path(tempfile.mkdtemp(prefix="weft-bench-", dir=folder))
    scratch.chmod(0o755)  # PostgreSQL runs as another user where we are root
    begin = time.perf_counter()
    workload = kind(size=size, folder=scratch)
    try:
        workload.setup()
        report = workload.run()
        workload.check()
    finally:
        workload.close()
        if resume is None:
            shutil.rmtree(scratch, ignore_errors=True)
    report.seconds = time.perf_counter() - begin
    return report


def write_json(report: Report, path: Path | None) -> Path:
    """The report as JSON, at ``path`` or in bench-results/; returns where."""
    target = path or RESULTS / f"{report.name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {"when": datetime.now(UTC).isoformat(timespec="seconds"), **report.as_json()}
    target.write_text(json.dumps(content, indent=2) + "\n")
    return target


def _about() -> str:
    facts = machine()
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    return (
        f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB, {facts['system']}, "
        f"Python {facts['python']}\n{packages}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="weft bench",
        description="WeftDB beside other systems, measured in one run; answers are compared.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [*(kind.name for kind in WORKLOADS), "all"]
    parser.add_argument("name", choices=names, metavar="NAME", help="what to measure, see below")
    parser.add_argument("--rows", type=_positive, metavar="N", help="another size than the one of the goals")
    parser.add_argument("--scale", type=_above_zero, metavar="F", help="scale of TPC-H's data, for tpch")
    parser.add_argument("--rounds", type=_positive, metavar="N", help="rounds to take the median of")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to make the databases")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="make them here, keep them, and go on next time")
    return parser


def _epilog() -> str:
    """What each workload measures, as its module says it first."""
    lines = ["measured are:"]
    for kind in WORKLOADS:
        about = str(sys.modules[kind.__module__].__doc__).split("\n\n")[0].partition(": ")[2].replace("``", "")
        lines += textwrap.wrap(f"{kind.name:<9}  {about}", 98, initial_indent="  ", subsequent_indent=" " * 13)
    lines.append("  all        every one of these, at a small size")
    return "\n".join([*lines, "", "examples:", "  weft bench ingest", "  weft bench query --rows 2000000"])


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _above_zero(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above zero")
    return value
