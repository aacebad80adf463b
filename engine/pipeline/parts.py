"""Groups that are looked up: rounds of lanes, and what gave way in them merged part by part (engine/kernels/groups.py).

    a round: as many lanes as threads, each with a table and pages ─► parts, each with all lanes of the round in order
    └─ until there are no more lanes; then the groups of all parts

So what is kept of rows is that of one round, and what of groups is kept grows with their number alone. Which lanes are
in one round does not matter: in each part records are merged in the order of lanes.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import numpy as np

from ..kernels.groups import ADD_WIDE, PAGE, PARTS, counts_of, give_way_all, merge, place_again
from .answers import Groups
from .cut import Cut
from .generate import record_words, table_bits
from .pieces import Morsel
from .shape import Shape
from .states import STARTS, WHAT
from .work import Work

TASK_PARTS: Final = 8
"""Parts that a thread merges before it looks whether to go on."""


class Parts:
    """The groups of a shape with the sink "parts"."""

    def __init__(self, shape: Shape, work: Work) -> None:
        self._shape = shape
        self._work = work
        self._words = shape.key_words
        self._width = record_words(shape)
        self._layout, self._first = _layout(shape)
        self._used = np.zeros(PARTS, np.int64)
        self._slots = [np.zeros(1, np.uint32)] * PARTS
        self._groups = [np.empty((0, len(self._first)), np.int64)] * PARTS
        self._counted: np.ndarray | None = None
        self._free: list[_Pages] = []
        self._lock = threading.Lock()

    def groups(self, lanes: Sequence[Sequence[Morsel]], *, cut: Cut | None = None) -> Groups:
        """The groups of all lanes, those that are enough. Raises NotCovered, Corrupt."""
        for start in range(0, len(lanes), self._work.threads):
            filled = self._work.all(self._fill, lanes[start : start + self._work.threads])
            counts = np.zeros(PARTS, np.int64)
            for pages in filled:
                counts_of(pages.ends, pages.chain, counts)
            self._make_room(self._used + counts)
            tasks = [range(part, part + TASK_PARTS) for part in range(0, PARTS, TASK_PARTS)]
            self._work.all(lambda parts, filled=filled: self._merge(parts, filled), tasks)
            self._count()
            self._free = filled
        return self._all(cut)

    def _count(self) -> None:
        """What there is of groups, with their slots. Raises NotCovered where that is too much."""
        self._counted = None
        self._counted = self._work.counted(group_bytes(self._shape) * int(self._used.sum()))

    def _fill(self, lane: Sequence[Morsel]) -> _Pages:
        rows_count = sum(morsel.rows_count for morsel in lane)
        with self._lock:
            pages = self._free.pop() if self._free else _Pages(self._width << table_bits(self._shape), self._work)
        pages.begin(rows_count, self._width, self._work)
        self._work.lane(lane, pages.table, pages.pool, pages.ends, pages.chain)
        if self._work.keeps_records:
            pages.table.fill(0)
        else:
            give_way_all(pages.table, self._width, self._words, pages.pool, pages.ends, pages.chain)
        return pages

    def _merge(self, parts: range, filled: Sequence[_Pages]) -> None:
        for part in parts:
            for pages in filled:
                self._used[part] = merge(
                    part, self._words, self._width, self._layout, self._first, pages.pool, pages.ends, pages.chain,
                    self._slots[part], self._groups[part], self._used[part],
                )  # fmt: skip

    def _make_room(self, counts: np.ndarray) -> None:
        """Room for so many groups in each part: pages of memory that nobody touches cost nothing. Raises NotCovered."""
        for part, (count, used) in enumerate(zip(counts.tolist(), self._used.tolist(), strict=True)):
            before = self._groups[part]
            if count <= len(before):
                continue
            room = 1 << max((count - 1).bit_length(), 4)
            self._groups[part] = np.empty((room, len(self._first)), np.int64)
            self._groups[part][:used] = before[:used]
            self._slots[part] = np.zeros(2 * room, np.uint32)
            place_again(self._slots[part], self._groups[part], used, self._words)

    def _all(self, cut: Cut | None) -> Groups:
        parts = [of[:used] for of, used in zip(self._groups, self._used.tolist(), strict=True)]
        kinds = [kind for kind, _, _ in self._shape.accumulators]
        targets = self._layout[:, 2].tolist()

        def column(number: int) -> np.ndarray:
            of = targets[number]
            found = np.concatenate([rows[:, of] for rows in parts])
            return found.view(np.float64) if kinds[number][0] == "f" else found

        if cut is not None and self._fits(parts, cut.value):
            chosen = cut.chosen(column)
            if chosen is not None:
                ends = np.cumsum([len(rows) for rows in parts])[:-1]
                parts = [rows[there] for rows, there in zip(parts, np.split(chosen, ends), strict=True)]
        groups = Groups(sum(map(len, parts)))
        groups.words = [np.concatenate([rows[:, word] for rows in parts]) for word in range(self._words)]
        for number, kind in enumerate(kinds):
            (groups.reals if kind[0] == "f" else groups.low)[number] = column(number)
            if kind == "sum":
                groups.high[number] = np.concatenate([rows[:, targets[number] + 1] for rows in parts])
        return groups

    def _fits(self, parts: Sequence[np.ndarray], number: int) -> bool:
        """Whether all of an accumulator's values are one word."""
        if self._shape.accumulators[number][0] != "sum":
            return True
        at = int(self._layout[number, 2])
        return all(np.array_equal(rows[:, at] >> 63, rows[:, at + 1]) for rows in parts)


class _Pages:
    """A lane's table, and what gave way in it."""

    __slots__ = ("chain", "ends", "pool", "table")

    def __init__(self, words: int, work: Work) -> None:
        self.table = work.made(8 * words, lambda: np.zeros(words, np.int64))
        self.ends = np.empty(PARTS + 1, np.int64)
        self.pool = self.chain = np.empty(0, np.int64)

    def begin(self, rows_count: int, width: int, work: Work) -> None:
        """Empty pages, enough for as many records as rows."""
        count = PARTS + rows_count // PAGE + 1
        if count * PAGE * width > len(self.pool):
            words = count * PAGE * width
            self.pool = self.chain = np.empty(0, np.int64)
            self.pool = work.made(8 * words, lambda: np.empty(words, np.int64))
            self.chain = np.empty(count, np.int64)
        self.ends[:-1] = np.arange(PARTS) * PAGE
        self.ends[-1] = PARTS


def group_bytes(shape: Shape) -> int:
    """Of a group with its slots."""
    return 8 * len(_layout(shape)[1]) + 8


def _layout(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """What ``merge`` does with each accumulator, and the row of a group before its first record."""
    lines: list[tuple[int, int, int]] = []
    words = shape.key_words
    target = words
    for number, (kind, _, _) in enumerate(shape.accumulators):
        lines.append((ADD_WIDE if kind == "sum" else WHAT[kind], words + number, target))
        target += 1 + (kind == "sum")
    first = np.zeros(target, np.int64)
    for (kind, _, _), (_, _, place) in zip(shape.accumulators, lines, strict=True):
        (first.view(np.float64) if kind[0] == "f" else first)[place] = STARTS.get(kind, 0)
    return np.array(lines, np.int64), first
