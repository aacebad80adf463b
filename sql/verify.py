"""EXPLAIN VERIFY: one query at one snapshot by two plans, whose answers must be the same.

    the plan             rules applied, filters pushed to the engine, the choice that was made
    without a planner    the query as it was bound: every column and every row of every table to the relational executor

Answers are compared as bags of rows: SQL gives an order only among keys that differ. Floats may differ by 1e-9 of the
greatest in their column, since sums depend on the order of their terms; all else is compared exactly. Where a query
lets answers vary (``varies``) a difference proves nothing, and that is said.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from ..base.errors import Invalid, LimitExceeded
from ..base.limits import VERIFY_ROWS_MAX
from ..base.rows import python_rows
from ..base.types import Kind, Type
from ..engine.clock import monotonic
from ..engine.expression.functions import FUNCTIONS, Volatility
from ..engine.expression.node import Call
from .bound import Aggregate, BoundQuery, Select, SetOperation, Values, Window
from .execution import Execution
from .parts import Grouped
from .plan import Plan, Relational
from .shown import Reason
from .walk import walk

TOLERANCE: Final = 1e-9
SHOWN_ROWS: Final = 3
BY_ORDER: Final = frozenset(("array_agg", "string_agg", "json_agg", "json_object_agg", "any_value"))
"""Aggregates whose value depends on the order of rows."""

WINDOWS_BY_ORDER: Final = BY_ORDER | {
    "row_number", "ntile", "lag", "lead", "first_value", "last_value", "nth_value"
}  # fmt: skip

PLAIN: Final = Relational(reason=Reason(text="nothing was planned, to verify what was"))

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """Rows of both answers, and some that only one has; ``varies`` is why they may differ, or None.

    ``grouped``: what pipelines did in the first run.
    """

    rows: int
    rows_plain: int
    missing: tuple[Row, ...]
    added: tuple[Row, ...]
    varies: str | None
    seconds: float
    seconds_plain: float
    grouped: tuple[Grouped, ...]

    @property
    def agree(self) -> bool:
        return not self.missing and not self.added

    def lines(self) -> list[str]:
        times = f"{self.seconds * 1000:.3f} ms by this plan, {self.seconds_plain * 1000:.3f} ms without a planner"
        if self.agree:
            return [f"Verify: both plans give the same {self.rows:,} rows ({times})"]
        why = f"which {self.varies} allows" if self.varies is not None else "WHICH IS A BUG: please report it"
        counts = f"{self.rows:,} rows by this plan, {self.rows_plain:,} without a planner"
        lines = [f"Verify: {counts} differ, {why} ({times})"]
        lines += [f"  only by this plan: {row}" for row in self.added]
        return [*lines, *(f"  only without a planner: {row}" for row in self.missing)]

    def document(self) -> dict[str, Any]:
        return {
            "Agree": self.agree,
            "Rows": self.rows,
            "Rows Without Planner": self.rows_plain,
            "Varies By": self.varies,
            "Time": round(self.seconds * 1000, 4),
            "Time Without Planner": round(self.seconds_plain * 1000, 4),
        }


def verify(plan: Plan, bound: BoundQuery, execution: Execution) -> Verified:
    """Run the query by ``plan`` and as it was ``bound``, and compare. Raises Invalid (0A000) for one that is never the
    same twice, LimitExceeded for too many rows.
    """
    for node in walk(bound.query):
        if isinstance(node, Call) and FUNCTIONS[node.function].volatility is Volatility.VOLATILE:
            raise Invalid(
                f"EXPLAIN VERIFY compares two runs, and {node.function}() gives something else each time",
                hint="Verify the query without it.",
                sqlstate="0A000",
            )
    began = monotonic()
    grouped: list[Grouped] = []
    one = _answer(plan, execution, note=grouped.append)
    between = monotonic()
    other = _answer(Plan(bound=bound, fired=(), choice=PLAIN, declined=()), execution)
    ended = monotonic()
    added, missing = difference(one, other, bound.types)
    return Verified(
        rows=one.num_rows,
        rows_plain=other.num_rows,
        added=tuple(added[:SHOWN_ROWS]),
        missing=tuple(missing[:SHOWN_ROWS]),
        varies=varies(bound),
        seconds=between - began,
        seconds_plain=ended - between,
        grouped=tuple(grouped),
    )


def difference(one: pa.Table, other: pa.Table, types: Sequence[Type]) -> tuple[list[Row], list[Row]]:
    """The rows that only ``one`` has, and those that only ``other`` has, as often as they have them more."""
    if one.equals(other):
        return [], []
    floats = [place for place, type in enumerate(types) if type.kind in (Kind.REAL, Kind.DOUBLE)]
    first, second = python_rows(one, types), python_rows(other, types)
    greatest = [_greatest(first, second, place) for place in floats]
    # Rows that are equal to the last digit go first; what is left is paired by what is not a float.
    left = Counter(map(repr, first)), Counter(map(repr, second))
    rest, other_rest = _left_over(first, left[0] - left[1]), _left_over(second, left[1] - left[0])
    pairs: dict[str, list[Row]] = {}
    for row in other_rest:
        pairs.setdefault(_exact_part(row, floats), []).append(row)
    added: list[Row] = []
    for row in rest:
        candidates = pairs.get(_exact_part(row, floats), [])
        for at, candidate in enumerate(candidates):
            near = zip(floats, greatest, strict=True)
            if floats and all(_near(row[place], candidate[place], scale) for place, scale in near):
                del candidates[at]
                break
        else:
            added.append(row)
    return added, [row for candidates in pairs.values() for row in candidates]


def varies(bound: BoundQuery) -> str | None:
    """What in a query lets its answer vary, or None."""
    for node in walk(bound.query):
        match node:
            case Select() | SetOperation() | Values() if node.limit is not None or node.offset is not None:
                return "LIMIT among rows with equal sort keys"
            case Select() if node.distinct_on:
                return "DISTINCT ON among rows with equal sort keys"
            case Window() if node.function in WINDOWS_BY_ORDER or (
                node.frame is not None and node.frame.unit == "ROWS"
            ):
                return "a window whose order leaves rows equal"
            case Aggregate() if node.function in BY_ORDER:
                return f"the order of rows in {node.function}"
            case _:
                pass
    return None


def _answer(plan: Plan, execution: Execution, *, note: Callable[[Grouped], None] | None = None) -> pa.Table:
    table = execution.run(plan, note=note).arrow()
    if table.num_rows > VERIFY_ROWS_MAX:
        raise LimitExceeded(
            f"EXPLAIN VERIFY compares at most {VERIFY_ROWS_MAX:,} rows, the query gives {table.num_rows:,}",
            hint="Verify an aggregate of it, or a part.",
        )
    return table


def _left_over(rows: Sequence[Row], counts: Counter[str]) -> list[Row]:
    found: list[Row] = []
    for row in rows if counts else ():
        text = repr(row)
        if counts[text] > 0:
            counts[text] -= 1
            found.append(row)
    return found


def _exact_part(row: Row, floats: Sequence[int]) -> str:
    return repr([value for place, value in enumerate(row) if place not in floats])


def _greatest(first: Sequence[Row], second: Sequence[Row], place: int) -> float:
    values = (abs(row[place]) for rows in (first, second) for row in rows if row[place] is not None)
    return max((value for value in values if math.isfinite(value)), default=0.0)


def _near(one: float | None, other: float | None, scale: float) -> bool:
    if one is None or other is None or not (math.isfinite(one) and math.isfinite(other)):
        return repr(one) == repr(other)
    return abs(one - other) <= TOLERANCE * scale
