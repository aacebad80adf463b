"""What a benchmark prints and writes: lines with a ratio each, goals reached or missed, the machine, the versions.

A report is data first; ``text`` is the table for people, ``as_json`` the same for programs. Nothing here decides
whether a figure is good: a missed goal is printed as missed and is no error, since a shared machine may be slow today.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

_PACKAGES: Final = ("weftdb", "duckdb", "chdb", "lmdb", "polars", "pyarrow", "numpy", "numba", "grpcio", "psycopg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One measured figure.

    ``value`` is the median of ``samples``, in ``unit``. ``ratio`` says how many times as good as the reference this is
    (more than 1: better), None for the reference itself and where there is none. ``note`` is for people.
    """

    label: str
    unit: str
    samples: tuple[float, ...]
    ratio: float | None = None
    note: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A stated goal beside what was measured; ``at_most`` for figures that should be small."""

    text: str
    wanted: float
    value: float
    at_most: bool = False

    @property
    def reached(self) -> bool:
        return self.value <= self.wanted if self.at_most else self.value >= self.wanted


@dataclass(slots=True, kw_only=True)
class Report:
    """One workload's outcome. ``reference`` names what ratios are against; ``skipped`` maps a peer to the reason.

    ``table``: printed in place of the lines where these are many, its header first.
    """

    name: str
    title: str
    rows: int
    rounds: int
    reference: str
    lines: list[Line] = field(default_factory=list)
    table: list[tuple[str, ...]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def text(self) -> str:
        """The table, the goals, the notes, as printed."""
        header = f"{self.title}: {self.rows:,} rows, median of {self.rounds}"
        header_row, *rows = self.table or [
            ("", "measured", f"x {self.reference}" if self.reference else "", ""),
            *((x.label, f"{figure(x.value)} {x.unit}", ratio_figure(x.ratio), x.note) for x in self.lines),
        ]
        table = aligned(header_row, rows)
        goals = [
            f"goal {'reached' if x.reached else 'MISSED'}: {x.text}: {figure(x.value)} "
            f"(wanted: {'at most' if x.at_most else 'at least'} {figure(x.wanted)})"
            for x in self.goals
        ]
        skipped = [f"skipped {peer}: {reason}" for peer, reason in self.skipped.items()]
        return "\n".join([header, "", table, "", *goals, *self.notes, *skipped])

    def as_json(self) -> dict[str, object]:
        """The same for programs: everything above, every sample, the machine and the versions."""
        return {
            **asdict(self),
            "lines": [{**asdict(line), "value": line.value} for line in self.lines],
            "goals": [{**asdict(goal), "reached": goal.reached} for goal in self.goals],
            "machine": machine(),
            "versions": versions(),
        }


def figure(value: float) -> str:
    """Three significant digits below 100, whole numbers with separators above."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def ratio_figure(ratio: float | None) -> str:
    """Two significant digits below 10, whole numbers above; nothing for no ratio."""
    return "" if ratio is None else f"{ratio:.2g}" if ratio < 10 else f"{ratio:,.0f}"


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain table: the first and the last column to the left, the others to the right."""
    widths = [max(len(row[at]) for row in [header, *rows]) for at in range(len(header))]
    last = len(header) - 1

    def line(cells: Sequence[str]) -> str:
        padded = [
            c.ljust(w) if at in (0, last) else c.rjust(w) for at, (c, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(header), "  ".join("-" * width for width in widths).rstrip(), *map(line, rows)])


def machine() -> dict[str, object]:
    """Processor, cores, memory, system; as the operating system names them."""
    model = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [x.split(":", 1)[1].strip() for x in info.read_text().splitlines() if x.startswith("model name")]
        model = names[0] if names else ""
    return {
        "processor": model or platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Of the installed packages that take part."""
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
