"""Who is in whose way: commits that were refused with Conflict, counted by table and by row, in bounded memory.

    Conflict ──► per table and kind: exact ──► per row: the CONFLICT_ROWS_MAX that are met most often

Rows are counted by the space-saving algorithm (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and
Top-k Elements in Data Streams, 2005). A row that is met for the first time takes the place of the one with the lowest
count, and that count, as its error: so a count is too high by at most its error, and every row that had more than a
CONFLICT_ROWS_MAXth of all conflicts is there. What is told of a row is what is certain, count less error; what is left
of its table's exact number is told as that of no single row. So the numbers add up to all conflicts since the start.

A refused commit names one row that it met, of perhaps many: that one is counted.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

from ..base.errors import Conflict, ConflictKind
from ..base.limits import CONFLICT_ROWS_MAX, CONFLICT_TABLES_MAX
from .clock import wall_clock

KEY_CHARACTERS_MAX = 200

Place = tuple[str | None, ConflictKind]
"""A table, None for conflicts that concern no single one, and what met there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictFacts:
    """How many commits were refused. ``key`` is a row's primary key as text; None: all that is not told by row.

    ``at_most``: what the count may really be, where the row was not counted all the time. ``last`` is wall clock.
    """

    table: str | None
    key: str | None
    kind: ConflictKind
    count: int
    at_most: int
    last: int


@dataclass(slots=True, kw_only=True)
class _Row:
    count: int
    error: int
    last: int


class Contention:
    """Counts conflicts. Thread-safe."""

    def __init__(self, *, rows_max: int = CONFLICT_ROWS_MAX, tables_max: int = CONFLICT_TABLES_MAX) -> None:
        self._rows_max = rows_max
        self._tables_max = tables_max
        self._lock = threading.Lock()
        self._tables: Counter[Place] = Counter()
        self._last: dict[Place, int] = {}
        self._rows: dict[tuple[Place, str], _Row] = {}
        self._by_count: dict[int, dict[tuple[Place, str], None]] = {}  # there are few counts that rows share

    def note(self, error: Conflict) -> None:
        """Count what a commit was refused for."""
        place = error.table, error.kind
        now = wall_clock()
        with self._lock:
            if place not in self._tables and len(self._tables) >= self._tables_max:
                self._forget(min(self._tables, key=self._tables.__getitem__))
            self._tables[place] += 1
            self._last[place] = now
            if error.key is not None:
                self._note_row((place, _text(error.key)), now)

    def facts(self) -> list[ConflictFacts]:
        """What was counted, the most first."""
        with self._lock:
            rest = Counter(self._tables)
            facts: list[ConflictFacts] = []
            for (place, key), row in self._rows.items():
                sure = row.count - row.error
                rest[place] -= sure
                table, kind = place
                facts.append(
                    ConflictFacts(table=table, key=key, kind=kind, count=sure, at_most=row.count, last=row.last)
                )
            facts += [
                ConflictFacts(
                    table=table, key=None, kind=kind, count=count, at_most=count, last=self._last[table, kind]
                )
                for (table, kind), count in rest.items()
                if count
            ]
        return sorted(facts, key=lambda item: (-item.count, -item.at_most, -item.last))

    def _note_row(self, name: tuple[Place, str], now: int) -> None:
        row = self._take_out(name) if name in self._rows else None
        if row is None:
            error = 0
            if len(self._rows) >= self._rows_max:
                error = min(self._by_count)
                self._take_out(next(iter(self._by_count[error])))
            row = _Row(count=error, error=error, last=now)
        row.count += 1
        row.last = now
        self._rows[name] = row
        self._by_count.setdefault(row.count, {})[name] = None

    def _take_out(self, name: tuple[Place, str]) -> _Row:
        row = self._rows.pop(name)
        others = self._by_count[row.count]
        del others[name]
        if not others:
            del self._by_count[row.count]
        return row

    def _forget(self, place: Place) -> None:
        """Forget a table and its rows: many tables come and go."""
        del self._tables[place], self._last[place]
        for name in [name for name in self._rows if name[0] == place]:
            self._take_out(name)


def _text(key: tuple[object, ...]) -> str:
    text = ", ".join(map(str, key))
    return text if len(text) <= KEY_CHARACTERS_MAX else text[: KEY_CHARACTERS_MAX - 1] + "…"
