"""In what order the conditions of a pipeline are asked: by what they cost and what they keep, as seen.

    conditions on the table's own columns ─ own_stages ─► stages: what is asked together
    stages, the share of the rows that each keeps ─ best_order ─► an order
    each morsel is asked in the order of that moment, and says how many rows came to each stage and how many passed

An AND of conditions may be asked in any order, and every order gives the same rows. Stages begin in the order of their
rank, (share - 1) / cost ("Predicate Migration: Optimizing Queries with Expensive Predicates", Hellerstein and
Stonebraker, 1993), which is best where what a condition costs is proportional to the rows that come to it. Here a
condition costs the whole chunk as long as more than a few rows of it are left (a dear one: half of them), then those
alone: so neighbours change places as long as that makes it cheaper. Kernels and programs take the order as an argument
(``asked``): there is one kernel for all orders, and no order waits for a compiler.

Shares are at first those that the table's conditions had when they were last asked (engine/shares.py), else what
statistics expect (engine/selectivity.py). They are counted while the pipeline runs, and looked at after the first,
fourth, sixteenth, ... morsel. What is counted of a stage speaks of the rows that those before it left: so what was
counted furthest in front counts, and an order gives way only to one that is a tenth cheaper, lest two take turns for
ever.

A condition that can fail, since it computes floats, stays behind those that stood before it, which may be there to keep
it from failing. If it fails the executor answers, in its own order: asking it of more rows, or of fewer, changes no
answer here.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from .bounds import columns_read
from .shape import Node, Shape

FEW: Final = 8
"""Where less than one row in so many is left, kernels read columns for those alone: a row by itself costs ten times
what it does in its chunk."""
FEW_DEAR: Final = 2
"""The same of dear conditions, which are then asked for those alone."""
DEAR: Final = 1.0
"""What costs more is dear, and not asked together with what costs less of the same columns."""
SURE_ROWS: Final = 1_000
"""So many rows tell what a condition keeps."""
CHEAPER: Final = 0.9
"""What of the cost of the order that there is another one has to have at most."""

_TURN: Final = 0.15
_READ: Final = 0.4
_PICKED: Final = 5.0
_NANOSECONDS: Final = {
    "compare": 0.1,
    "fcompare": 0.2,
    "text": 0.7,
    "mul": 0.3,
    "fadd": 1.5,
    "fsub": 1.5,
    "fmul": 1.5,
    "to_real": 0.2,
    "bucket": 1.5,
    "floor": 1.4,
    "modulo": 1.4,
    "quotient": 2.4,
    "remainder": 2.4,
    "months": 2.5,
    "month_day": 2.5,
    "case": 0.4,
    "fcase": 0.4,
}
"""As measured, about: a stage's turn, for each row of a chunk; reading a column in its chunk, and for a row by itself;
a row's of what is computed."""
_ELSE: Final = 0.1
_WIDE: Final = ("double", "single")
_WIDER: Final = 2.5
"""Times as much as packed integers cost, floats do to read."""
_FAILING: Final = ("fadd", "fsub", "fmul")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Conditions that are asked together. ``numbers``: theirs among the shape's filters.

    Of a row, in nanoseconds, about: ``read`` and ``picked`` are what its columns cost in their chunk and by itself,
    ``computed`` what is asked of them. ``after``: stages that have to come first.
    """

    numbers: tuple[int, ...]
    conditions: tuple[Node, ...]
    columns: frozenset[int]
    read: float
    picked: float
    computed: float
    after: frozenset[int] = frozenset()

    @property
    def is_dear(self) -> bool:
        return self.computed > DEAR

    def cost(self, left: float) -> float:
        """What it costs for each row of a chunk of which this share is left."""
        if left * FEW < 1.0:
            return _TURN + left * (self.picked + self.computed)
        return _TURN + self.read + self.computed * (left if self.is_dear and left * FEW_DEAR < 1.0 else 1.0)


def own_stages(shape: Shape) -> tuple[Stage, ...]:
    """Of the conditions on the table's own columns."""
    return _own_stages(shape.filters, frozenset(slot for probe in shape.probes for slot in probe.slots))


@lru_cache(maxsize=256)
def _own_stages(filters: tuple[Node, ...], joined: frozenset[int]) -> tuple[Stage, ...]:
    return stages([(number, node) for number, node in enumerate(filters) if not columns_read(node) & joined])


def stages(conditions: Sequence[tuple[int, Node]]) -> tuple[Stage, ...]:
    """Conditions, with their numbers, that read the same columns are asked together, the first of them first.

    What is dear is asked apart from what is cheap, and what can fail alone.
    """
    found: dict[tuple[frozenset[int], bool, int], list[tuple[int, Node]]] = {}
    for number, node in conditions:
        apart = number if _can_fail(node) else -1
        found.setdefault((frozenset(columns_read(node)), cost_of(node) > DEAR, apart), []).append((number, node))
    wide = {slot for _, node in conditions for slot in _floats(node)}
    made: list[Stage] = []
    for (columns, _, apart), parts in found.items():
        widths = sum(_WIDER if slot in wide else 1.0 for slot in columns)
        before = [place for place, stage in enumerate(made) if apart >= 0 and stage.numbers[0] < apart]
        made.append(
            Stage(
                numbers=tuple(number for number, _ in parts),
                conditions=tuple(node for _, node in parts),
                columns=columns,
                read=_READ * widths,
                picked=_PICKED * widths,
                computed=sum(cost_of(node) for _, node in parts),
                after=frozenset(before),
            )
        )
    return tuple(made)


def cost_of(node: Any) -> float:
    """What computing a condition or a value costs a row, in nanoseconds, about, without reading its columns."""
    if not isinstance(node, tuple):
        return 0.0
    own = _NANOSECONDS.get(node[0], _ELSE) if node and isinstance(node[0], str) else 0.0
    if own and node[0] == "in":
        own *= len(node[2])
    return own + sum(cost_of(part) for part in node)


def _floats(node: Any) -> set[int]:
    """The slots that a node reads floats from."""
    if not isinstance(node, tuple):
        return set()
    return {node[1]} if node and node[0] in _WIDE else set().union(*map(_floats, node))


def _can_fail(node: Any) -> bool:
    """Whether a float may become infinite."""
    return isinstance(node, tuple) and ((bool(node) and node[0] in _FAILING) or any(_can_fail(part) for part in node))


def cost_in(order: Sequence[int], of: Sequence[Stage], shares: Sequence[float]) -> float:
    """What asking in an order costs for each row of a chunk, in nanoseconds, about."""
    left, found = 1.0, 0.0
    for number in order:
        found += of[number].cost(left)
        left *= shares[number]
    return found


def best_order(of: Sequence[Stage], shares: Sequence[float]) -> tuple[int, ...]:
    """The stages by rank, and neighbours the other way round where that is cheaper."""
    ranks = [(share - 1.0) / stage.cost(1.0) for stage, share in zip(of, shares, strict=True)]
    order: list[int] = []
    while len(order) < len(of):
        ready = [number for number, stage in enumerate(of) if number not in order and stage.after <= {*order}]
        order.append(min(ready, key=lambda number: ranks[number]))
    best, better = cost_in(order, of, shares), True
    while better:
        better = False
        for place in range(len(order) - 1):
            if order[place] in of[order[place + 1]].after:
                continue
            other = [*order[:place], order[place + 1], order[place], *order[place + 2 :]]
            cost = cost_in(other, of, shares)
            if cost < best * 0.999:
                order, best, better = other, cost, True
    return tuple(order)


class Order:
    """In what order a run asks its stages, and what it saw. Thread-safe. ``shares``: what each is expected to keep."""

    def __init__(self, of: Sequence[Stage], shares: Sequence[float]) -> None:
        self._stages = of
        self._expected = shares
        self._counts = [(len(of), 0, 0)] * len(of)
        """Of each stage the place at which it was counted, rows that came, and rows that passed."""
        self._morsels, self._next_look = 0, 1
        self._lock = threading.Lock()
        self.stages = best_order(of, shares) if len(of) > 1 else tuple(range(len(of)))

    def asked(self) -> np.ndarray:
        """What a kernel is given: int64[3n], the stages in their order; of each how many rows came and passed, by it.

        Nothing where there is but one order.
        """
        count = len(self._stages)
        if count < 2:
            return _NOTHING
        found = np.zeros(3 * count, np.int64)
        found[:count] = self.stages
        return found

    def after(self, asked: np.ndarray) -> np.ndarray:
        """What the next morsel is asked: mostly what this one was, which goes on counting."""
        if not len(asked):
            return asked
        self._morsels += 1  # of two threads that come at once perhaps one is counted
        if self._morsels >= self._next_look:
            self._next_look *= 4
            self.add(asked)
            self._look()
        elif asked[: len(self._stages)].tolist() != [*self.stages]:
            self.add(asked)
        else:
            return asked
        return self.asked()

    def add(self, asked: np.ndarray) -> None:
        """What kernels did with what they were given."""
        count = len(asked) // 3
        if not count:
            return
        seen = asked.tolist()
        with self._lock:
            for place, number in enumerate(seen[:count]):
                came, passed = seen[count + 2 * number : count + 2 * number + 2]
                known = self._counts[number]
                if known[0] == place:
                    self._counts[number] = place, known[1] + came, known[2] + passed
                elif came >= SURE_ROWS and (place < known[0] or known[1] < SURE_ROWS):
                    self._counts[number] = place, came, passed

    def seen(self) -> list[float | None]:
        """The share of the rows that each stage kept of those that came to it; None where few came."""
        return [passed / came if came >= SURE_ROWS else None for _, came, passed in self._counts]

    def shares(self) -> list[float]:
        """The same, and what is expected of those to which few came."""
        return [one if share is None else share for one, share in zip(self._expected, self.seen(), strict=True)]

    def _look(self) -> None:
        shares = self.shares()
        found = best_order(self._stages, shares)
        if cost_in(found, self._stages, shares) < CHEAPER * cost_in(self.stages, self._stages, shares):
            self.stages = found


_NOTHING: Final = np.zeros(0, np.int64)
