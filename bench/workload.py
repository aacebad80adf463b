"""What a workload is, and the two loops that all of them share: rounds in turn, and stores that may be missing."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

from weftdb.bench.report import Report
from weftdb.bench.systems import Missing, Store

Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much: rows of the events table (or TPC-H's ``scale``), and rounds to take the median of."""

    rows: int
    rounds: int
    scale: float = 0.0


class Workload(Protocol):
    """One benchmark. ``setup``, then ``run``, then ``check``, then ``close``, each once.

    ``run`` returns the report; it stands only if ``check`` does not raise WrongAnswer. ``full`` is the size that the
    goals are stated for, ``quick`` the one that ``all`` uses.
    """

    name: ClassVar[str]
    full: ClassVar[Size]
    quick: ClassVar[Size]

    def __init__(self, *, size: Size, folder: Path) -> None: ...

    def setup(self) -> None: ...

    def run(self) -> Report: ...

    def check(self) -> None: ...

    def close(self) -> None: ...


def in_turn(subjects: Sequence[Subject], *, rounds: int) -> Iterator[tuple[int, Subject]]:
    """Each subject once per round, each round beginning one further: (round, subject)."""
    for turn in range(rounds):
        start = turn % len(subjects) if subjects else 0
        for subject in [*subjects[start:], *subjects[:start]]:
            yield turn, subject


def available(makers: Sequence[Callable[[], Store]], skipped: dict[str, str]) -> list[Store]:
    """The stores that can be made here; a missing one is named in ``skipped`` with its reason."""
    stores: list[Store] = []
    for maker in makers:
        try:
            stores.append(maker())
        except Missing as reason:
            skipped[_name_of(maker)] = str(reason)
    return stores


def _name_of(maker: object) -> str:
    return getattr(maker, "__name__", str(maker)).removesuffix("Store")


def fresh(folder: Path) -> Path:
    """The folder, empty, and open to a server that runs as another user."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    return folder


def seconds_of(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin
